#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Downloads by the host for a container: page -> backend -> Host API -> ssh -> agent, which runs
# ronzal-fetch where the models are (tests/lib/chain.sh), from a hub on loopback. Only if the host's
# allow_pull says so. What the downloads themselves do: pull.sh.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/setup-home.sh
. tests/lib/chain.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
command -v node >/dev/null 2>&1 || { skip pull-host 'node is not installed' && exit 0; }

work=$(mktemp -d) || exit 1
mkdir -p "$work/repos/tiny"
"$RONZAL_BUILD/tests/tools/make-gguf" "$work/repos/tiny/Tiny-Q8_0.gguf" name=tiny type=q8_0
"$RONZAL_BUILD/tests/tools/make-gguf" "$work/repos/tiny/Tiny-F16.gguf" name=tiny seed=2
node tests/lib/fake-hub.mjs "$work/repos" "$work/port" "$work/log" &
hub=$!
until [ -s "$work/port" ] || ! kill -0 $hub; do sleep 0.1; done
HF_ENDPOINT=http://127.0.0.1:$(cat "$work/port")
export HF_ENDPOINT
unset HF_TOKEN HF_HOME HF_HUB_CACHE
chain_begin 19300
trap 'backend_stop; hostapi_stop; setup_end; sshd_end; kill $hub; rm -rf "$work"' EXIT
connected || { not_ok pull-host 'the chain does not come up' && exit 1; }

ask_for() { # SOURCE
	curl -s -m 30 -H 'Content-Type: application/json' -d "{\"model\":\"$1\"}" "$BACKEND/api/models/pull"
}
pulls_have() { # TEXT
	curl -s -m 30 "$BACKEND/api/models/pulls" >"$T/pulls"
	grep -q -- "$1" "$T/pulls"
}

refused() {
	ask_for good/tiny:Q8_0
	within 60 pulls_have '"phase":"failed"' && grep -q '"error_code":"DENIED"' "$T/pulls" &&
		grep -q 'allow_pull = on' "$T/pulls" && ! grep -q cdn "$work/log"
}
check a_host_downloads_nothing_for_containers_by_default refused

person() {
	"$RONZAL" pull good/tiny:F16 </dev/null && find "$MODELS" "$T/user" -name Tiny-F16.gguf | grep -q .
}
check a_person_at_the_host_may_all_the_same person

allowed() {
	echo 'allow_pull = on' >>"$RONZAL_HOME/config/host.conf"
	"$RONZAL" service uninstall && "$RONZAL" service install --background || return 1
	connected && ask_for good/tiny:Q8_0 && within 60 pulls_have '"source":"good/tiny:Q8_0".*"phase":"done"' &&
		cat "$T/pulls" && grep -q '"model":"tiny-q8_0"' "$T/pulls" && grep -q 'tiny-q8_0' "$REGISTRY"
}
check a_host_that_allows_it_downloads_and_the_backend_registers allowed

choices() {
	ask_for good/tiny && within 60 pulls_have '"phase":"choosing"' && grep -q '"verdict":"fits"' "$T/pulls"
}
check the_choices_are_judged_for_the_host choices

runs() {
	curl -s -m 120 -X POST "$BACKEND/api/models/servers/tiny-q8_0/start?wait=100" | grep '"phase":"ready"' &&
		chat tiny-q8_0 | grep '"choices"'
}
check what_came_runs_on_the_host_and_answers runs

canceled() {
	ask_for slow/tiny:F16 && within 60 pulls_have '"bytes_per_s":[1-9]' &&
		id=$(sed 's/.*{"id":"\([0-9]*\)","source":"slow.*/\1/' "$T/pulls") &&
		curl -s -m 30 -X DELETE "$BACKEND/api/models/pulls/$id" && within 20 no_fetch_runs
}
no_fetch_runs() {
	! grep -lsa 'slow/[t]iny' /proc/[0-9]*/cmdline | grep -q .
}
check canceled_on_the_page_it_ends_on_the_host canceled

only_names() {
	for source in /etc/passwd "$HF_ENDPOINT/good/tiny" '../../x'; do
		post pull "{\"source\":\"$source\",\"begin\":true}" >"$T/out"
		answered 400 || return 1
	done
}
check the_control_channel_takes_names_of_repositories_alone only_names
