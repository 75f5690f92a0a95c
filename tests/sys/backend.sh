#!/bin/sh
# SPDX-License-Identifier: MIT
#
# `ronzal backend` with its own agent and the real llama-server: the management API by curl.
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/lib/words.sh
build=${BUILD:-build}
engine=$(scripts/engine.sh --find 2>/dev/null) || {
	echo 'skip backend: there is no llama-server (scripts/engine.sh installs it)'
	exit 0
}
command -v curl >/dev/null 2>&1 || { echo 'skip backend: curl is not installed' && exit 0; }

T=$(mktemp -d) || exit 1
pid=
finish() {
	[ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; }
	rm -rf "$T"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

B=http://127.0.0.1:19820
export RONZAL_HOME="$T/home" RONZAL_BACKEND_PORT=19820 RONZAL_ENGINE="$engine"
export RONZAL_ENGINE_PORT_MIN=19830 RONZAL_ENGINE_PORT_MAX=19839 RONZAL_MODEL_ROOTS="$PWD/demo"
unset USE_EXTERNAL_SERVERS
mkdir -p -m 700 "$RONZAL_HOME/state" # an empty registry: none with the smoke model is made then
printf '{"models":{}}' >"$RONZAL_HOME/state/model_registry.json"

get() { # PATH CURL-OPTIONS...
	path=$1
	shift
	curl -sS -m 120 "$@" "$B$path"
}
put() { # PATH JSON
	get "$1" -X PUT -H 'Content-Type: application/json' -d "$2"
}
post() { # PATH [JSON]
	get "$1" -X POST ${2:+-H 'Content-Type: application/json' -d "$2"}
}
code() { # PATH CURL-OPTIONS...
	get "$@" -o /dev/null -w '%{http_code}'
}
phase() { # MODEL
	get /api/models/servers | grep -o "\"id\":\"$1\"[^}]*\"phase\":\"[a-z]*\"" |
		sed 's/.*"phase":"//; s/"//'
}
check() { # NAME COMMAND...
	name=$1
	shift
	if "$@"; then
		echo "ok $name"
	else
		echo "not ok $name"
		tail -5 "$T/log" | sed 's/^/# /'
	fi
}
start_backend() {
	"$build/ronzal" backend >>"$T/log" 2>&1 &
	pid=$!
	until_true 60 get /health && until_true 60 up
}
up() { get /api/host | has '"state":"up"'; }

is_up_with_an_agent_of_its_own() {
	start_backend && get /api/host | has '"mode":"false"' && get /api/host | has '"gpu_help":{'
}

answers_ready_only_when_a_model_could_serve() {
	[ "$(code /ready)" = 503 ] && post /api/models/rescan | has '"added":\[".*"problems":\[\]' || return 1
	MODEL=$(get /api/models/registry | sed 's/^{"models":{"\([^"]*\)".*/\1/')
	get /api/models/registry | has '"architecture":"llama"' || return 1
	put "/api/models/$MODEL/enabled" '{"enabled":true}' | has '"enabled":true' || return 1
	until_true 60 ready
}
ready() { [ "$(code /ready)" = 200 ]; }

starts_all_and_waits_for_each() {
	post '/api/models/servers/start-all?wait=120' >"$T/out"
	has '"ok":true,"phase":"ready"' "$T/out" && get /api/models/servers | has '"ready_servers":1'
}

stream() { # TOKENS OUTPUT
	get /v1/chat/completions -N -o "$2" -d "{\"model\":\"$MODEL\",\"stream\":true,\"ignore_eos\":true,
		\"max_tokens\":$1,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}" 2>/dev/null
}

lets_a_stream_end_before_a_stop() {
	stream 100 "$T/stream" &
	reader=$!
	until_true 60 has data "$T/stream" || return 1
	post "/api/models/servers/$MODEL/stop?drain_ms=20000" | has '"phase":"draining"' || return 1
	wait $reader && has '^data: \[DONE\]' "$T/stream" || return 1
	until_true 60 is_phase stopped
}
is_phase() { [ "$(phase "$MODEL")" = "$1" ]; }

ends_a_stream_with_an_error_when_the_drain_is_over() {
	post "/api/models/servers/$MODEL/start?wait=120" | has '"phase":"ready"' || return 1
	stream 900 "$T/cut" &
	reader=$!
	until_true 60 has data "$T/cut" || return 1
	post "/api/models/servers/$MODEL/stop?wait=20&drain_ms=0" | has '"phase":"stopped"' || return 1
	wait $reader
	has '"error"' "$T/cut" && ! has '^data: \[DONE\]' "$T/cut"
}

says_that_new_settings_need_a_restart() {
	post "/api/models/servers/$MODEL/start?wait=120" >/dev/null
	put "/api/models/$MODEL/runtime-settings" '{"ctx_size":512}' |
		has '"restart_needed":true' || return 1
	post "/api/models/servers/$MODEL/restart?wait=120" | has '"phase":"ready"' || return 1
	get /api/models/servers >"$T/out"
	has '"restart_needed":false' "$T/out" && has '"context_tokens":512' "$T/out"
}

notices_a_change_of_the_registry_by_the_command_line() {
	"$build/ronzal" set "$MODEL" ctx_size=1024 >/dev/null || return 1
	until_true 60 restart_needed
}
restart_needed() { get /api/models/servers | has '"restart_needed":true'; }

refuses_settings_with_their_bounds() {
	put "/api/models/$MODEL/runtime-settings" '{"parallel":65}' | has 'parallel.*64' &&
		put "/api/models/$MODEL/runtime-settings" '{"tools":"all"}' | has 'no setting' &&
		put "/api/models/$MODEL/port" '{"port":1}' | has 'outside 19830..19839' &&
		post "/api/models/$MODEL/estimate" '{"ctx_size":256}' | has '"fits":true'
}

# What is mistyped is not taken for something else; and what is said helps on.
refuses_what_it_does_not_know() {
	put "/api/models/$MODEL/enabled" '{"enabled":true,"x":1}' | has 'it takes: enabled' &&
		post /api/keys '{"name":"wide","model":["none"]}' | has 'it takes: name models' &&
		post /api/keys '{"name":"cut\u0000off"}' | has '"INVALID"' &&
		get /api/keys | has '{"keys":\[\]}' &&
		[ "$(code '/api/requests?failed=maybe')" = 400 ] &&
		[ "$(code "/api/models/servers/$MODEL/logs?follow=no")" = 400 ] &&
		get /api/keys -X PUT -i >"$T/out" &&
		has '^Allow: GET, POST' "$T/out" && has '/api/keys takes GET, POST, not PUT' "$T/out" &&
		get /api/models/rescan | has '/api/models/rescan takes POST, not GET' &&
		get /api/host -H 'Authorization: Bearer x' | has 'ronzal keys token'
}

finds_requests_by_a_key_of_any_name() {
	secret=$(post /api/keys '{"name":"my app+1"}' | sed 's/.*"secret":"\([^"]*\)".*/\1/')
	get /v1/chat/completions -H "Authorization: Bearer $secret" -d '{"model":"none"}' | has 'not here' || return 1
	until_true 60 finds_the_key
	status=$?
	get /api/keys | sed 's/.*"id":"\([^"]*\)".*/\1/' >"$T/out"
	[ "$(code "/api/keys/$(cat "$T/out")" -X DELETE)" = 204 ] && return $status
}
finds_the_key() {
	get '/api/requests?key=my+app%2B1' | has '"key_name":"my app+1"' &&
		get '/api/requests?key=my%20app%2b1' | has '"key_name":"my app+1"'
}

keeps_strangers_out_without_a_trace() {
	[ "$(code /api/host -H 'Host: evil.com')" = 403 ] &&
		[ "$(code /api/host -H 'Host: 127.0.0.1.evil.com')" = 403 ] &&
		[ "$(code /api/host -H 'Origin: null')" = 403 ] &&
		[ "$(code /api/host -H 'Authorization: Bearer x')" = 401 ] &&
		[ "$(code "/api/models/$MODEL/enabled" -X PUT -H 'Content-Type: text/plain' \
			-d '{"enabled":false}')" = 403 ] &&
		[ "$(code /api//host)" != 200 ] && [ "$(code '/api/models/../host' --path-as-is)" = 400 ] &&
		[ "$(code /api/models/servers/stop-all -X POST -H 'Origin: http://evil.com')" = 403 ] &&
		get /api/models/registry | has '"enabled":true' && is_phase ready
}

opens_to_the_management_token() {
	token=$(cat "$RONZAL_HOME/state/management.token")
	[ "$(code /api/host -H "Authorization: Bearer $token")" = 200 ] &&
		[ "$(code /api/host -H "Authorization: Bearer ${token%?}")" = 401 ]
}

makes_and_revokes_keys() {
	secret=$(post /api/keys '{"name":"notes"}' | sed 's/.*"secret":"\([^"]*\)".*/\1/')
	[ "$(code /v1/models -H "Authorization: Bearer $secret")" = 200 ] || return 1
	[ "$(code /api/host -H "Authorization: Bearer $secret")" = 401 ] || return 1
	[ "$(code /api/keys/notes -X DELETE)" = 204 ] || return 1
	until_true 60 is_revoked
}
is_revoked() { [ "$(code /v1/models -H "Authorization: Bearer $secret")" = 401 ]; }

tells_events_from_a_full_picture_on() {
	get /api/events -N -m 120 >"$T/events" 2>/dev/null &
	reader=$!
	until_true 60 has 'event: synced' "$T/events" || return 1
	put "/api/models/$MODEL/enabled" '{"enabled":true}' >/dev/null
	post "/api/models/servers/$MODEL/restart?wait=120" >/dev/null
	stream 20 "$T/out"
	until_true 60 has '"phase":"done"' "$T/events"
	for event in hello host server synced registry traffic request; do
		until_true 60 has "^event: $event\$" "$T/events" || { echo "# no event $event" && return 1; }
	done
	kill $reader
	has '"phase":"loading"' "$T/events" && has '"phase":"done"' "$T/events"
}

# What each second was told adds up to no more than what was asked for.
tells_the_speed_of_whole_answers() {
	get /api/events -N -m 120 >"$T/speed" 2>/dev/null &
	reader=$!
	until_true 60 has 'event: synced' "$T/speed" || return 1
	for i in 1 2 3 4 5 6; do
		post /v1/chat/completions "{\"model\":\"$MODEL\",\"ignore_eos\":true,\"max_tokens\":8,
			\"messages\":[{\"role\":\"user\",\"content\":\"$i\"}]}" >/dev/null || return 1
	done
	until_true 60 has '"tokens_per_second":0.0,"active_requests":0' "$T/speed"
	kill $reader
	sum=$(awk -F'"tokens_per_second":' '
		/^event:/ { is_traffic = /traffic/ }
		/^data:/ && is_traffic { for (i = 2; i <= NF; i++) sum += $i }
		END { print int(sum) }' "$T/speed")
	[ "$sum" -gt 0 ] && [ "$sum" -le 48 ] || { echo "# $sum tokens told" && return 1; }
}

follows_a_log_for_two_readers() {
	get "/api/models/servers/$MODEL/logs?tail=5" -N -m 120 >"$T/log1" 2>/dev/null &
	first=$!
	until_true 60 has 'event: synced' "$T/log1" || return 1
	get "/api/models/servers/$MODEL/logs?tail=5" -N -m 120 >"$T/log2" 2>/dev/null &
	second=$!
	until_true 60 has 'event: synced' "$T/log2" || return 1
	before=$(grep -c '^event: log' "$T/log1")
	post "/api/models/servers/$MODEL/restart?wait=120" >/dev/null
	until_true 60 has 'layers on the CPU' "$T/log2"
	status=$?
	kill $first $second
	[ "$before" = 5 ] && [ $status = 0 ] && has 'layers on the CPU' "$T/log1" &&
		get "/api/models/servers/$MODEL/logs?follow=false&tail=2" >"$T/out" &&
		[ "$(wc -l <"$T/out")" = 2 ]
}

keeps_what_was_used() {
	until_true 60 was_kept && get "/api/usage?step=minute" | has '"errors":[1-9]' &&
		get "/api/models/$MODEL/history" | has '"verdict":"cpu"' &&
		get /metrics | has '^ronzal_'
}

was_kept() {
	get "/api/requests?limit=1" | has '"model_id":"'"$MODEL"'".*"generated_tokens":20'
}

resident() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status"; } # KiB

gives_the_memory_of_a_large_body_back() {
	before=$(resident)
	head -c 25000000 /dev/zero | tr '\0' ' ' >"$T/large"
	printf '{"model":"none"}' >>"$T/large"
	for _ in 1 2 3; do
		get /v1/chat/completions -H 'Content-Type: application/json' \
			--data-binary "@$T/large" | has 'none' || return 1
	done
	until_true 20 is_back
	status=$?
	echo "# resident: $before KiB, after large bodies $(resident) KiB"
	return $status
}
is_back() { [ "$(resident)" -lt $((before + 8192)) ]; }

is_small_and_quiet_when_idle() {
	rss=$(resident)
	turns() { sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "/proc/$pid/status"; }
	for _ in 1 2 3; do # the requests before this one may have left something to do
		before=$(turns)
		begin=$(date +%s)
		sleep 5
		woken=$(($(turns) - before))
		seconds=$(($(date +%s) - begin))
		[ $woken -gt $((seconds + 1)) ] || break
	done
	echo "# resident: $rss KiB; woken $woken times in $seconds s"
	[ "$rss" -lt 10240 ] && [ $woken -le $((seconds + 1)) ]
}

ends_all_within_8_s_of_a_signal() {
	stream 900 "$T/last" &
	reader=$!
	until_true 60 has data "$T/last" || return 1
	engine_pid=$(get /api/models/servers | sed 's/.*"pid":\([0-9]*\).*/\1/')
	begin=$(date +%s%N)
	kill "$pid"
	wait "$pid"
	status=$?
	took=$((($(date +%s%N) - begin) / 1000000))
	wait $reader
	pid=
	echo "# took $took ms"
	[ $status = 0 ] && [ $took -lt 8000 ] && ! kill -0 "$engine_pid" 2>/dev/null
}

lives_without_its_usage_database() {
	rm -f "$RONZAL_HOME"/state/usage.db*
	echo 'no database' >"$RONZAL_HOME/state/usage.db"
	start_backend && [ "$(code /api/usage)" = 500 ] && get /api/usage | has 'usage.db' &&
		post '/api/models/servers/start-all?wait=120' | has '"phase":"ready"' &&
		stream 5 "$T/out" && has 'DONE' "$T/out"
}

takes_its_agent_along_when_it_is_killed() {
	pgrep -P "$pid" -f 'agent --stop-on-exit' >/dev/null && pgrep -f "$RONZAL_HOME" >/dev/null || return 1
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
	pid=
	until_true 60 none_left || { pgrep -af "$RONZAL_HOME" && return 1; }
}
none_left() { # shims and engines name the home, the agent has it in its environment
	! pgrep -f "$RONZAL_HOME" && ! env -u RONZAL_HOME grep -qs "RONZAL_HOME=$T/home" /proc/[0-9]*/environ
}

refuses_an_unknown_mode() {
	USE_EXTERNAL_SERVERS=maybe "$build/ronzal" backend >"$T/out" 2>&1
	[ $? = 2 ] && has '"maybe"' "$T/out"
}

for name in is_up_with_an_agent_of_its_own answers_ready_only_when_a_model_could_serve \
	starts_all_and_waits_for_each lets_a_stream_end_before_a_stop \
	ends_a_stream_with_an_error_when_the_drain_is_over says_that_new_settings_need_a_restart \
	notices_a_change_of_the_registry_by_the_command_line refuses_settings_with_their_bounds \
	refuses_what_it_does_not_know finds_requests_by_a_key_of_any_name \
	keeps_strangers_out_without_a_trace opens_to_the_management_token makes_and_revokes_keys \
	follows_a_log_for_two_readers tells_events_from_a_full_picture_on \
	keeps_what_was_used tells_the_speed_of_whole_answers \
	gives_the_memory_of_a_large_body_back is_small_and_quiet_when_idle \
	ends_all_within_8_s_of_a_signal lives_without_its_usage_database \
	takes_its_agent_along_when_it_is_killed refuses_an_unknown_mode; do
	check $name $name
done
