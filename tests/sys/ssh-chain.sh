#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Host API -> real ssh and sshd -> wrapper -> gate -> script -> agent -> shims -> two real
# llama-servers: starting, stopping, leases, and every way in which the chain breaks, each with the
# sentence that reaches the caller.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/setup-home.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
setup_begin 19500
RONZAL=$RONZAL_HOME/libexec/ronzal
API=http://127.0.0.1:19580

set_up >"$T/out" 2>&1 || { not_ok set_up "$(tail -3 "$T/out" | tr '\n' ' ')" && exit 1; }
register_models
client_config

# A second home stands for the container: it has the client's files and its own secret, no agent.
hostapi_start() {
	RONZAL_HOME=$T/container "$RONZAL_BUILD/ronzal" hostapi --hostapi-port 19580 \
		--ssh-config "$T/client_config" >>"$T/hostapi.log" 2>&1 &
	HOSTAPI=$!
}
hostapi_stop() {
	[ -z "${HOSTAPI:-}" ] || { kill "$HOSTAPI" 2>/dev/null && wait "$HOSTAPI" 2>/dev/null; }
	HOSTAPI=
}
trap 'hostapi_stop; setup_end; sshd_end' EXIT
now_ms() { # GNU date has %N; where it has not, whole seconds have to do
	case $(date +%N) in
	*N*) echo $(($(date +%s) * 1000)) ;;
	*) echo $(($(date +%s%N) / 1000000)) ;;
	esac
}
within() { # SECONDS COMMAND...: tries it until it is true
	tries=$(($1 * 10))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "waited in vain for: $*"; return 1; }
		sleep 0.1
	done
}
post() { # VERB [BODY]: the body of the answer; status in $T/status
	curl -s -m 60 -o "$T/body" -w '%{http_code}' -X POST -d "${2:-}" \
		-H "Authorization: Bearer $(cat "$T/container/state/host-api.secret")" \
		"$API/api/servers/$1" >"$T/status"
	cat "$T/body"
}
answered() { [ "$(cat "$T/status")" = "$1" ] || { echo "status $(cat "$T/status"): $(cat "$T/body")"; return 1; }; }
health_says() { curl -s -m 5 "$API/health" | grep -q "$1"; }
pids() { "$RONZAL" status --json 2>/dev/null | grep -o '"pid": *[1-9][0-9]*' | tr -dc '0-9\n' | sort; }
count_pids() { [ "$(pids | grep -c .)" -eq "$1" ]; }

hostapi_start
up() {
	within 10 health_says '"connected"' && curl -sf "$API/ready" >/dev/null && curl -sf "$API/healthz" >/dev/null
}
check the_host_api_finds_the_agent_over_ssh up

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
	curl -s -H "Authorization: Bearer $(cat "$T/container/state/host-api.secret")" \
		"$API/api/servers/status" >"$T/out"
	grep -q '"id":"demo"' "$T/out" && [ "$(grep -o '"phase":"ready"' "$T/out" | grep -c .)" -eq 2 ] &&
		grep -q '"verdict":' "$T/out" && grep -q '"by_controller":true' "$T/out"
}
check status_shows_real_states shows_states

# The ssh connection stands already, so a start over it costs what a start here does.
adds_little() {
	best_over=999999 best_here=999999
	for round in 1 2 3 4 5 6 7 8; do # a machine with other work needs more of them
		post stop >/dev/null
		from=$(now_ms)
		post start >/dev/null
		over=$(($(now_ms) - from))
		post stop >/dev/null
		from=$(now_ms)
		"$RONZAL" start >/dev/null 2>&1
		here=$(($(now_ms) - from))
		[ $over -ge $best_over ] || best_over=$over
		[ $here -ge $best_here ] || best_here=$here
		[ $round -lt 3 ] || [ $((best_over - best_here)) -ge 600 ] || break
	done
	echo "# start of two models: over ssh $best_over ms, here $best_here ms" >&3
	[ $((best_over - best_here)) -lt 600 ]
}
exec 3>&1
check start_over_ssh_adds_less_than_600_ms adds_little

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
	before=$(pids)
	kill -9 "$HOSTAPI"
	wait "$HOSTAPI" 2>/dev/null
	sleep 1
	[ "$before" = "$(pids)" ] || { echo 'gone before the lease was over'; return 1; }
	hostapi_start
	within 10 health_says '"connected"' || return 1
	sleep 4 # longer than the lease
	[ "$before" = "$(pids)" ] || { echo "were $before, are $(pids)"; return 1; }
}
check a_killed_host_api_that_is_back_within_the_lease_finds_the_same_pids sigkill

lease_over() {
	post start >/dev/null
	kill -9 "$HOSTAPI"
	wait "$HOSTAPI" 2>/dev/null
	HOSTAPI=
	sleep 1.5
	count_pids 2 || { echo 'gone before the lease was over'; return 1; }
	within 12 count_pids 0
}
check servers_of_a_killed_host_api_end_with_the_lease lease_over

sigterm() {
	hostapi_start
	within 10 health_says '"connected"' || return 1
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

hostapi_start
within 10 health_says '"connected"' >/dev/null

agent_down() {
	post start >/dev/null
	engines=$(pids)
	"$RONZAL" service uninstall >/dev/null
	for pid in $engines; do
		! kill -0 "$pid" 2>/dev/null || { echo "engine $pid outlives uninstall"; return 1; }
	done
	within 15 health_says 'the agent is not running on the host' || return 1
	post start >"$T/out"
	grep -q 'ronzal service install' "$T/out" && answered 503 || return 1
	[ "$(curl -s -o /dev/null -w '%{http_code}' "$API/ready")" = 503 ] || return 1
	"$RONZAL" service install --background >/dev/null && within 20 health_says '"connected"'
}
check an_agent_that_is_down_is_said_and_found_again agent_down

sshd_down() {
	sshd_stop
	# The connection that stands is served by a child of its own, so a fresh Host API has to dial.
	kill "$HOSTAPI" && wait "$HOSTAPI" 2>/dev/null
	hostapi_start
	within 15 health_says 'no sshd answers on the host' || return 1
	post start >"$T/out"
	answered 503 || return 1
	sshd_start "$PORT" && within 20 health_says '"connected"'
}
check an_sshd_that_is_down_is_said_and_found_again sshd_down

reconnect_with() { # WORDS: what a fresh Host API is told
	kill "$HOSTAPI" && wait "$HOSTAPI" 2>/dev/null
	hostapi_start
	within 15 health_says "$1"
}

key_open() {
	chmod 644 "$RONZAL_HOME/config/ssh/id_ed25519"
	reconnect_with 'others can read it'
	result=$?
	chmod 600 "$RONZAL_HOME/config/ssh/id_ed25519"
	[ $result -eq 0 ] && within 20 health_says '"connected"'
}
check a_key_with_wrong_permissions_is_said key_open

host_key_changed() {
	cp "$T/host_key" "$T/kept"
	cp "$T/host_key.pub" "$T/kept.pub"
	ssh-keygen -q -t ed25519 -N '' -f "$T/fresh"
	cp "$T/fresh" "$T/host_key"
	cp "$T/fresh.pub" "$T/host_key.pub"
	sshd_restart
	reconnect_with 'another ssh key than the one pinned'
	result=$?
	cp "$T/kept" "$T/host_key"
	cp "$T/kept.pub" "$T/host_key.pub"
	sshd_restart
	[ $result -eq 0 ] && within 20 health_says '"connected"'
}
check a_changed_host_key_is_said_and_nothing_runs host_key_changed

two_controllers() {
	post start >/dev/null
	RONZAL_HOME=$T/other "$RONZAL_BUILD/ronzal" hostapi --hostapi-port 19581 \
		--ssh-config "$T/client_config" >>"$T/other.log" 2>&1 &
	other=$!
	API=http://127.0.0.1:19581
	within 10 health_says 'host-api'
	result=$?
	curl -s "$API/health" >"$T/out"
	API=http://127.0.0.1:19580
	kill $other
	wait $other 2>/dev/null
	[ $result -eq 0 ] && health_says '"connected"' && count_pids 2 || { cat "$T/out"; return 1; }
	grep -o '"agent":"[^"]*"' "$T/out" | sed 's/^/# the second controller is told: /' >&3
}
check a_second_controller_is_told_that_the_host_is_taken two_controllers

# What a hostile container could write; each entry is refused by itself, the good one starts.
hostile_registry() {
	post stop >/dev/null
	file=$RONZAL_HOME/state/registry/model_registry.json
	cp "$file" "$T/registry.good"
	mkfifo "$RONZAL_HOME/models/fifo.gguf"
	ln -s "$RONZAL_HOME/config/ssh/id_ed25519" "$RONZAL_HOME/models/link.gguf"
	cp "$RONZAL_HOME/models/ronzal-demo.gguf" "$T/outside.gguf"
	{
		printf '{"models":{'
		printf '"good":{"file_path":"/models/ronzal-demo.gguf","enabled":true,"port":%s},' \
			"$RONZAL_ENGINE_PORT_MIN"
		printf '"up":{"file_path":"/models/../../outside.gguf","enabled":true},'
		printf '"abs":{"file_path":"%s","enabled":true},' "$T/outside.gguf"
		printf '"link":{"file_path":"/models/link.gguf","enabled":true},'
		printf '"fifo":{"file_path":"/models/fifo.gguf","enabled":true},'
		printf '"port":{"file_path":"/models/ronzal-demo.gguf","enabled":true,"port":22},'
		printf '"huge":{"file_path":"/models/ronzal-demo.gguf","enabled":true,"ctx_size":1e300},'
		printf '"flag":{"file_path":"/models/ronzal-demo.gguf","enabled":true,"n_gpu_layers":"9 --host 0.0.0.0"},'
		printf '"--host":{"file_path":"/models/ronzal-demo.gguf","enabled":true},'
		printf '"dash":{"file_path":"--api-key-file","enabled":true}}}'
	} >"$file"
	post start >"$T/out"
	count_pids 1 || { echo "$(pids)"; cat "$T/out"; cp "$T/registry.good" "$file"; return 1; }
	key_text=$(sed -n 2p "$RONZAL_HOME/config/ssh/id_ed25519")
	! grep -qF "$key_text" "$T/out" "$RONZAL_HOME/logs/agent.log" || { echo 'quotes the key'; return 1; }
	! ps -eo args | grep -- '--port' | grep -q 'host 0.0.0.0' || return 1
	rm -f "$file"
	mkfifo "$file" # and a file that can never be read to its end
	from=$(now_ms)
	post start >"$T/out"
	[ $(($(now_ms) - from)) -lt 5000 ] && count_pids 1 || { echo 'hung on a FIFO'; return 1; }
	rm -f "$file"
	cp "$T/registry.good" "$file"
	post stop >/dev/null
	rm -f "$RONZAL_HOME/models/fifo.gguf" "$RONZAL_HOME/models/link.gguf"
	post start >"$T/out"
	answered 200 && count_pids 2
}
check a_hostile_registry_is_refused_model_by_model hostile_registry

unreadable_registry() {
	file=$RONZAL_HOME/state/registry/model_registry.json
	before=$(pids)
	echo '{"models": [[[' >"$file"
	post reload >"$T/out"
	curl -s -H "Authorization: Bearer $(cat "$T/container/state/host-api.secret")" \
		"$API/api/servers/status" >"$T/out"
	grep -q 'last good registry stays' "$T/out" && [ "$before" = "$(pids)" ] || { head -c 500 "$T/out"; return 1; }
	cp "$T/registry.good" "$file"
}
check an_unreadable_registry_is_said_and_running_models_stay unreadable_registry
