#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The registry of the first minute: made by `ronzal up` where there is none, mended where it names
# the smoke model of a checkout that is gone. Engines are scripted.
set -u

cd "$(dirname "$0")/../.." || exit 1
build=$PWD/${BUILD:-build}
case ${BUILD:-} in /*) build=$BUILD ;; esac
T=$(mktemp -d) || exit 1
pid=
finish() {
	[ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; }
	rm -rf "$T"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
export RONZAL_HOME="$T/home" RONZAL_ENGINE="$build/tests/tools/fake-engine" RONZAL_BIND=127.0.0.1 \
	RONZAL_ENGINE_PORT_MIN=19880 RONZAL_ENGINE_PORT_MAX=19889 RONZAL_BACKEND_PORT=19890 \
	RONZAL_FRONTEND_PORT=19891 RONZAL_HOSTAPI_PORT=19892
registry=$RONZAL_HOME/state/model_registry.json
unset RONZAL_MODEL_ROOTS RONZAL_REGISTRY
demo=$PWD/demo/ronzal-demo.gguf

both_are_ready() {
	[ "$(grep -c ': ready after' "$T/out")" -eq 2 ] && grep -q '^Ctrl-C stops' "$T/out"
}

up() { # until both are ready, then Ctrl-C
	"$build/ronzal" up >"$T/out" 2>&1 &
	pid=$!
	tries=600
	until both_are_ready || [ $tries -eq 0 ]; do
		tries=$((tries - 1))
		sleep 0.05
	done
	kill -INT "$pid"
	wait "$pid"
	pid=
	[ $tries -gt 0 ] || { sed 's/^/# /' "$T/out" && return 1; }
}

count() { # TEXT
	grep -o -- "$1" "$registry" | wc -l
}

check() { # NAME COMMAND...
	if "$2"; then echo "ok $1"; else echo "not ok $1"; fi
}

makes() {
	up && [ "$(count "$demo")" -eq 2 ] &&
		grep -q "^model    ronzal-demo ([0-9.]* M parameters, $(mib "$demo") MiB)   ok\$" "$T/out"
}
mib() { # FILE
	wc -c <"$1" | awk '{ printf "%.1f", $1 / 1048576 }'
}
check makes_a_registry_with_the_smoke_model_twice makes

mends() {
	sed "s,$demo,/gone/demo/ronzal-demo.gguf,g; s/{\"models\"/{\"mine\":1,\"models\"/" "$registry" >"$T/old"
	sed 's/"ronzal-demo":/"other":{"file_path":"\/gone\/demo\/ronzal-demo.gguf","port":19885},&/' \
		"$T/old" >"$registry"
	up && [ "$(count "$demo")" -eq 2 ] && [ "$(count /gone/demo/ronzal-demo.gguf)" -eq 1 ]
}
check mends_the_entries_of_a_checkout_that_is_gone_and_no_other mends
