#!/bin/sh
# SPDX-License-Identifier: MIT
#
# ronzal bench with the real engine and the smoke model: what it measures, keeps, refuses, leaves.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/setup-home.sh
RONZAL=${RONZAL:-$PWD/build/ronzal}
find_engine || { skip bench 'no llama-server here: scripts/engine.sh' && exit 0; }
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
export RONZAL_HOME="$T/r" RONZAL_MODEL_ROOTS="$PWD/demo" NO_COLOR=1
export RONZAL_REGISTRY="$T/r/registry/model_registry.json"
mkdir -p "$T/r/state" "$T/r/registry"
echo '{"models":{"demo":{"model_id":"demo","file_path":"/models/ronzal-demo.gguf"}}}' >"$RONZAL_REGISTRY"

bench() {
	timeout 300 "$RONZAL" bench "$@" >"$T/out" 2>"$T/err"
}

left_nothing() {
	[ ! -e "$T/r/run/bench-key" ] && ! pgrep -f "$T/r/run/bench-key" >/dev/null
}

measures() {
	bench demo --runs 2 --a n_threads=1 --b n_threads=1,batch_size=64 || { cat "$T/err"; return 1; }
	number='[0-9.]+ tok/s [+]-[0-9]+%' time='[0-9.]+ s [+]-[0-9]+%'
	grep -Eq "^n_threads=1 +$time +$number +baseline" "$T/out" &&
		grep -Eq "^n_threads=1,batch_size=64 +$time +$number +[0-9.]+x" "$T/out" &&
		grep -Eq "^warm start +$time +$time" "$T/out" && grep -Eq "^prompt of 512 +$number +$number" "$T/out" &&
		grep -Eq "^4 streams +$number +$number" "$T/out" && grep -q 'run 2 of 2' "$T/err" && left_nothing ||
		{ cat "$T/out"; return 1; }
}
check measures_two_settings_side_by_side measures

keeps() {
	bench --runs 1 --a n_threads=1 --json && grep -q '"start":"warm","ms":[1-9]' "$T/out" &&
		grep -q '"streams":4,"tokens_per_second":[1-9]' "$T/out" || return 1
	[ "$(grep -o '"model_id"' "$T/r/registry/bench.json" | wc -l)" -eq 2 ] &&
		grep -q '^{"results":\[{"model_id":"demo".*"runs":1,.*"runs":2,' "$T/r/registry/bench.json"
}
check keeps_results_the_newest_first_beside_the_registry keeps

tells() {
	export RONZAL_BACKEND_PORT=18795 USE_EXTERNAL_SERVERS=true HOST_API_URL=http://127.0.0.1:18796
	"$RONZAL" backend >"$T/backend.log" 2>&1 &
	backend=$!
	url=http://127.0.0.1:$RONZAL_BACKEND_PORT tries=0
	until curl -sf "$url/health" >/dev/null || [ $tries -eq 300 ]; do sleep 0.1; tries=$((tries + 1)); done
	curl -s "$url/api/bench" >"$T/all"
	curl -s "$url/api/bench?model=other" >"$T/none"
	echo '{"results":[{' >"$T/r/registry/bench.json"
	curl -s -o "$T/broken" -w '%{http_code}' "$url/api/bench" >"$T/status"
	rm "$T/r/registry/bench.json"
	curl -s "$url/api/bench" >"$T/gone"
	kill $backend
	wait $backend
	unset RONZAL_BACKEND_PORT USE_EXTERNAL_SERVERS HOST_API_URL
	[ "$(grep -o '"model_id":"demo"' "$T/all" | wc -l)" -eq 2 ] && grep -q '"results":\[\]' "$T/none" &&
		grep -q '"results":\[\]' "$T/gone" && [ "$(cat "$T/status")" -ge 400 ] || { head -c 300 "$T/all" "$T/none" "$T/broken" "$T/gone"; return 1; }
}
check the_backend_tells_them_of_all_models_or_one tells

refuses() { # EXIT-CODE WORDS ARGUMENTS...
	code=$1 words=$2
	shift 2
	bench "$@"
	[ $? -eq "$code" ] && grep -q "$words" "$T/err" && left_nothing || { cat "$T/err"; return 1; }
}
check refuses_an_unknown_setting refuses 2 "'bogus=1' is not SETTING=VALUE" --a bogus=1
check refuses_an_unknown_model refuses 3 "there is no model 'other'" other
check refuses_what_memory_cannot_hold refuses 9 'needs' --a ctx_size=16777216,parallel=64

interrupted() {
	"$RONZAL" bench demo --runs 20 >"$T/out" 2>"$T/err" &
	pid=$!
	tries=0
	until [ -e "$T/r/run/bench-key" ] || [ $tries -eq 1200 ]; do sleep 0.05; tries=$((tries + 1)); done
	kill -TERM $pid
	wait $pid
	[ $? -eq 130 ] && left_nothing
}
check ends_its_engine_when_interrupted interrupted
