#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The first minute: ronzal up in a fresh home with the real engine, and that neither Ctrl-C nor
# SIGKILL leaves anything; and what the command line says to mistyped words.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/setup-home.sh
RONZAL=${RONZAL:-$PWD/build/ronzal}
find_engine || { skip up 'no llama-server here: scripts/engine.sh' && exit 0; }
T=$(mktemp -d) || exit 1
UP=
trap '[ -z "$UP" ] || kill "$UP" 2>/dev/null; wait; rm -rf "$T"' EXIT
export RONZAL_HOME="$T/r" NO_COLOR=1
export RONZAL_BACKEND_PORT=18760 RONZAL_FRONTEND_PORT=18761
export RONZAL_ENGINE_PORT_MIN=18762 RONZAL_ENGINE_PORT_MAX=18769

# Runs COMMAND until it is true; for a minute.
await() { # COMMAND...
	tries=0
	until "$@"; do
		[ $((tries += 1)) -lt 600 ] || return 1
		sleep 0.1
	done
}

says() { # WORDS
	grep -q "$1" "$T/out" || { cat "$T/out" "$T/err"; return 1; }
}

comes_up() {
	rm -f "$T/out"
	"$RONZAL" up >"$T/out" 2>"$T/err" &
	UP=$!
	await grep -q 'Ctrl-C stops everything' "$T/out" || { cat "$T/out" "$T/err"; return 1; }
	says 'ronzal-demo: ready after .* on :18762' && says 'ronzal-demo-2: ready after .* on :18763' &&
		says 'API .*http://localhost:18760/v1'
}
check brings_two_models_and_the_gateway_up_in_a_fresh_home comes_up

answers() {
	line=$(sed -n 's/^  try *//p' "$T/out")
	[ -n "$line" ] && sh -c "$line" 2>/dev/null | grep -q '^data: \[DONE\]'
}
check the_line_that_it_offers_to_try_works answers

shows() {
	"$RONZAL" status >"$T/status" && [ "$(grep -c '^ronzal-demo.* ready ' "$T/status")" -eq 2 ]
}
check status_shows_both_ready shows

again() {
	"$RONZAL" up >"$T/again" 2>&1
	[ $? -eq 5 ] && grep -q 'port 18760 is taken by ronzal (pid [0-9]*)' "$T/again" &&
		grep -q 'ronzal up --backend-port 18[0-9]*$' "$T/again" || { cat "$T/again"; return 1; }
}
check a_second_one_says_who_has_its_port again

ends() { # PART: SIGKILL
	pid=$(pgrep -P "$UP" -f "ronzal $1 --kept") && kill -KILL "$pid" &&
		await grep -q "the $1 ended (signal 9); starting it again" "$T/err"
}

back() {
	ends backend && await curl -sf "http://localhost:18760/health" >/dev/null
}
check a_killed_backend_comes_back back

page_back() {
	ends frontend && await curl -sf "http://localhost:18761/" >/dev/null
}
if grep -q 'page  *http' "$T/out"; then
	check a_killed_page_comes_back page_back
else
	skip a_killed_page_comes_back 'the page is not built here: make web'
fi

engines() {
	pgrep -f "ronzal-demo.*--port|--port 1876[23]" | sort
}

agent_back() {
	engines >"$T/before"
	ends agent && await shows && engines >"$T/after" &&
		[ -s "$T/before" ] && cmp "$T/before" "$T/after"
}
check a_killed_agent_comes_back_to_the_same_engines agent_back

# Whatever was started here inherited the home or, shims and engines, names it; without /proc only
# the latter are seen.
none_left() {
	! pgrep -f "$T/r" >/dev/null &&
		! env -u RONZAL_HOME grep -qs "RONZAL_HOME=$T/r" /proc/[0-9]*/environ
}

leaves() {
	kill -INT "$UP"
	wait "$UP"
	status=$?
	UP=
	[ $status -eq 0 ] && await none_left && [ -z "$(find "$T/r/run" -name 'shim-*' -o -name '*.sock')" ] ||
		{ echo "status $status"; pgrep -af "$T/r"; find "$T/r/run"; return 1; }
}
check ctrl_c_leaves_no_process_and_no_socket leaves

leaves_agentless() {
	comes_up && ends agent && leaves
}
check ctrl_c_right_after_the_agent_died_leaves_no_process leaves_agentless

killed() {
	kill -KILL "$UP"
	wait "$UP" 2>/dev/null
	UP=
}

leaves_none() {
	comes_up && killed && await none_left || { pgrep -af "$T/r|$RONZAL"; tail "$T"/r/logs/*.log; return 1; }
}
check a_kill_leaves_no_process leaves_none

no_part() {
	! curl -s "http://localhost:18760/health" >/dev/null && ! curl -s "http://localhost:18761/" >/dev/null
}

lives_on() {
	"$RONZAL" agent <&- >"$T/agent" 2>&1 & # by hand, without an input
	AGENT=$!
	await "$RONZAL" status >/dev/null 2>&1 && comes_up && ! pgrep -P "$UP" -f 'ronzal agent' &&
		killed && await no_part && shows
	result=$?
	"$RONZAL" stop >/dev/null 2>&1
	kill "$AGENT" && wait "$AGENT" && await none_left && [ $result -eq 0 ] || { cat "$T/agent"; return 1; }
}
check an_agent_that_was_there_outlives_a_kill lives_on

meant() { # EXIT-CODE WORDS ARGUMENTS...
	code=$1 words=$2
	shift 2
	"$RONZAL" "$@" >"$T/out" 2>&1
	[ $? -eq "$code" ] && grep -q -e "$words" "$T/out" || { cat "$T/out"; return 1; }
}
check a_mistyped_command_is_told_the_nearest meant 2 "Did you mean 'status'?" stauts
check a_mistyped_flag_is_told_the_nearest meant 2 'Did you mean --follow?' logs demo --folow
check a_mistyped_option_is_told_the_nearest meant 2 'Did you mean --backend_port?' up --bakend-port 1
check a_missing_word_is_told meant 2 'a word is missing: ronzal show MODEL' show
check a_mistyped_model_is_told_the_nearest meant 3 "Did you mean 'ronzal-demo'?" models show ronzal-dmo
