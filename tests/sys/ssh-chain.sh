#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The chain from the backend over ssh to two real llama-servers (tests/lib/chain.sh): starting,
# stopping, leases, and what the way costs. How it breaks: ssh-faults.sh.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/setup-home.sh
. tests/lib/chain.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
exec 3>&1
chain_begin 19500

up() {
	connected && curl -sf "$API/ready" >/dev/null && curl -sf "$API/healthz" >/dev/null
}
check the_host_api_finds_the_agent_over_ssh_and_the_backend_the_host_api up

starts_both() {
	post start >"$T/out"
	answered 200 && count_pids 2 || { cat "$T/out"; return 1; }
	for port in "$RONZAL_ENGINE_PORT_MIN" $((RONZAL_ENGINE_PORT_MIN + 1)); do
		curl -sf "http://127.0.0.1:$port/health" | grep -q ok || return 1
		[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/props")" = 401 ] ||
			{ echo "port $port takes no key"; return 1; }
	done
}
check start_runs_two_engines_with_keys starts_both

listeners() { # PID[,PID]...
	lsof -nP -a -iTCP -sTCP:LISTEN -p "$1" -Fn | sed -n 's/^n//p' | sort
}
listens_where_it_should() {
	listeners "$HOSTAPI,$BACKEND_PID,$(agent_pid)" >"$T/listeners"
	printf '127.0.0.1:%s\n' "$HOSTAPI_PORT" "$BACKEND_PORT" | diff - "$T/listeners" || return 1
	for pid in $(pids); do
		listeners "$pid" >"$T/listeners"
		grep -q '^127\.0\.0\.1:' "$T/listeners" && ! grep -q '^\*\|^0\.0\|^\[' "$T/listeners" || { cat "$T/listeners"; return 1; }
	done
}
if command -v lsof >/dev/null 2>&1; then
	check listeners_are_exactly_those_configured listens_where_it_should
else
	skip listeners_are_exactly_those_configured 'no lsof here: scripts/deps.sh --test'
fi

works_with_its_key() {
	post credentials '{"models":["demo"]}' >"$T/out"
	answered 200 || return 1
	key=$(sed -n 's/.*"key":"\([^"]*\)".*/\1/p' "$T/out")
	curl -sf -m 20 -H "Authorization: Bearer $key" -d '{"messages":[{"role":"user","content":"hello"}],"max_tokens":4}' \
		"http://127.0.0.1:$RONZAL_ENGINE_PORT_MIN/v1/chat/completions" | grep -q '"choices"' || return 1
	! grep -rq -- "$key" "$RONZAL_HOME/logs" "$T/hostapi.log" "$T/container" ||
		{ echo 'the key is in a log'; return 1; }
}
check an_engine_answers_with_the_key_from_credentials works_with_its_key

shows_states() {
	secretly "$API/api/servers/status" >"$T/out"
	grep -q '"id":"demo"' "$T/out" && [ "$(grep -o '"phase":"ready"' "$T/out" | grep -c .)" -eq 2 ] &&
		grep -q '"verdict":' "$T/out" && grep -q '"by_controller":true' "$T/out"
}
check status_shows_real_states shows_states

# The seed's call: page -> backend -> Host API -> ssh -> agent. The same call here has no ssh in it.
start_all() { # COMMAND...: how long it took, in $took
	post stop >/dev/null
	count_pids 0 || { echo 'not stopped'; return 1; }
	from=$(now_ms)
	"$@" >"$T/out" 2>&1 || { tail -3 "$T/out"; return 1; }
	took=$(($(now_ms) - from))
	count_pids 2 || { echo "$* started $(pids | grep -c .)"; return 1; }
}
adds_little() {
	best_over=999999 best_here=999999
	for round in 1 2 3 4 5 6 7 8; do # a machine with other work needs more of them
		start_all curl -sf -m 60 -X POST "$BACKEND/api/models/servers/start-all?wait=60" || return 1
		[ $took -ge $best_over ] || best_over=$took
		start_all "$RONZAL" start || return 1
		[ $took -ge $best_here ] || best_here=$took
		[ $round -lt 3 ] || [ $((best_over - best_here)) -ge 600 ] || break
	done
	echo "# start-all of two models: over ssh $best_over ms, here $best_here ms" >&3
	[ $((best_over - best_here)) -lt 600 ]
}
check start_all_over_ssh_adds_less_than_600_ms adds_little

both_chat() {
	for model in demo demo-2; do
		chat $model >"$T/out"
		grep -q '"choices"' "$T/out" || { cat "$T/out"; return 1; }
	done
}
check both_answer_through_the_backend both_chat

person_by_key() {
	post stop >/dev/null
	host_command start-metal-servers </dev/null >"$T/out" 2>&1 || { tail -2 "$T/out"; return 1; }
	count_pids 2 || return 1
	host_command stop-metal-servers </dev/null >"$T/out" 2>&1 || { tail -2 "$T/out"; return 1; }
	count_pids 0
}
check the_two_commands_alone_start_and_stop_everything person_by_key

# A person at a terminal, or a script that keeps stdin open, says nothing.
silent_person() {
	(sleep 6) | host_command start-metal-servers >"$T/out" 2>&1 || { tail -2 "$T/out"; return 1; }
	count_pids 2 || return 1
	host_command stop-metal-servers </dev/null >"$T/out" 2>&1
}
check silence_at_an_open_input_means_start_everything silent_person

sigkill() {
	post start >/dev/null
	both_chat || return 1 # so that the backend has the keys
	before=$(pids)
	hostapi_kill
	chat demo | grep -q '"choices"' || { echo 'no answer while the Host API is away'; return 1; }
	[ "$before" = "$(pids)" ] || { echo 'gone before the lease was over'; return 1; }
	hostapi_start
	connected || return 1
	sleep $((RONZAL_CONTROLLER_LEASE_S + 1))
	[ "$before" = "$(pids)" ] || { echo "were $before, are $(pids)"; return 1; }
}
check a_killed_host_api_that_is_back_within_the_lease_finds_the_same_pids sigkill

lease_over() {
	post start >/dev/null
	hostapi_kill
	count_pids 2 || { echo 'gone before the lease was over'; return 1; }
	within $((RONZAL_CONTROLLER_LEASE_S + 20)) count_pids 0
}
check servers_of_a_killed_host_api_end_with_the_lease lease_over

sigterm() {
	hostapi_start
	connected || return 1
	post start >/dev/null
	engines=$(pids)
	from=$(now_ms)
	kill "$HOSTAPI"
	wait "$HOSTAPI"
	status=$?
	took=$(($(now_ms) - from))
	echo "# SIGTERM to exit with two models: $took ms" >&3
	HOSTAPI=
	[ $status -eq 0 ] && [ $took -lt 8000 ] || { echo "status $status after $took ms"; return 1; }
	for pid in $engines; do
		! kill -0 "$pid" 2>/dev/null || { echo "engine $pid lives"; return 1; }
	done
}
check sigterm_stops_all_and_exits_within_8_s sigterm
