#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The seed's page, step by step, with a real Docker engine and a real sshd: CPU first, then set-up,
# start-all through Host API and ssh to llama-servers outside of Docker, chats, stops, kills, auto.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/docker.sh
. tests/lib/docker-host.sh
exec 3>&1
seed_begin 1000 19598

before_set_up() {
	up frontend backend host-api || return 1
	within 60 chat_answers ronzal-demo || { cat "$T/chat"; return 1; }
	[ -z "$(host_engines)" ] || { echo 'an engine runs outside of Docker'; return 1; }
	curl -sf http://localhost:5173/ | grep -qi '<html' && curl -sf http://localhost:5173/api/models/servers >"$T/out" &&
		grep -q ronzal-demo "$T/out" || { cat "$T/out"; return 1; }
}
if compose_v2=$(command -v docker-compose-v2); then
	COMPOSE=$compose_v2
	check compose_v2_takes_the_same_file logs_on_failure before_set_up
	compose down -v -t 5 >/dev/null 2>&1
	COMPOSE=
elif docker-compose version --short | grep -q '^v*2'; then
	ok compose_v2_takes_the_same_file # all of this runs with it
else
	skip compose_v2_takes_the_same_file 'no compose v2 here: scripts/deps.sh --test'
fi
check before_any_set_up_it_is_healthy_and_answers_on_the_cpu logs_on_failure before_set_up

says_what_is_missing() {
	curl -s http://localhost:9090/health | grep -q 'setup-ssh-automation.sh'
}
check the_host_api_says_what_is_missing_for_the_gpu says_what_is_missing

set_up() {
	as_host ./scripts/setup-ssh-automation.sh --yes --background >"$T/out" 2>&1 || { tail -5 "$T/out"; return 1; }
	grep -q 'the agent answers' "$T/out"
}
check the_set_up_script_runs_as_a_plain_user set_up

check start_all_runs_two_llama_servers_on_8080_and_8081_outside_docker logs_on_failure starts_all_on_the_host

chats() {
	for model in ronzal-demo ronzal-demo-2; do
		chat_answers $model || { cat "$T/chat"; return 1; }
	done
}
check both_answer_through_8000_from_the_host chats

# CPU in Docker, where the stack is up, beside CPU on the host; it leaves no container behind.
measured() {
	mkdir -p "$T/bench/state"
	echo '{"models":{"demo":{"model_id":"demo","file_path":"/models/ronzal-demo.gguf"}}}' >"$T/bench/state/model_registry.json"
	RONZAL_HOME="$T/bench" RONZAL_MODEL_ROOTS="$CHECKOUT/demo" RONZAL_ENGINE="$HOST_ENGINE" \
		timeout 400 "$RONZAL_BUILD/ronzal" bench demo --runs 1 --json >"$T/out" 2>&1 || { cat "$T/out"; return 1; }
	grep -q '"mode":"cpu (docker)","startup":.*{"start":"warm","ms":[1-9].*"streams":1,"tokens_per_second":[1-9].*"mode":"cpu","startup"' \
		"$T/out" && [ -z "$(docker ps -aq --filter name=ronzal-bench)" ] || { cat "$T/out"; return 1; }
}
check bench_measures_the_cpu_in_docker_beside_the_host measured

doctors() {
	for service in backend host-api frontend; do
		docker exec "$(compose ps -q $service)" /usr/bin/ronzal doctor >"$T/out" 2>&1 &&
			grep -q '^0 failed, 0 warnings' "$T/out" || { echo "$service:"; grep -v '^ok' "$T/out"; return 1; }
	done
}
check doctor_has_nothing_to_say_in_any_container doctors

# With the key that a container needs, and no other tool than bash.
other_container() {
	key=$(docker exec "$(container backend)" /usr/bin/ronzal keys add test --json | grep -o 'rz-[A-Za-z0-9_-]*' | head -1)
	[ -n "$key" ] || { echo 'no key'; return 1; }
	body='{"model":"ronzal-demo","max_tokens":4,"messages":[{"role":"user","content":"hello"}]}'
	for authorization in "Bearer $key" 'Bearer wrong'; do
		docker run --rm --network "${COMPOSE_PROJECT_NAME}_default" --entrypoint bash \
			"${RONZAL_BASE:-debian:trixie-slim}" -c "exec 3<>/dev/tcp/backend/8000
printf 'POST /v1/chat/completions HTTP/1.1\r\nHost: backend:8000\r\nConnection: close\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' '$authorization' ${#body} '$body' >&3
cat <&3" >"$T/out" 2>&1
		case $authorization in
		*wrong) grep -q ' 401 ' "$T/out" || { echo 'let in with a wrong key'; cat "$T/out"; return 1; } ;;
		*) grep -q '"choices"' "$T/out" || { cat "$T/out"; return 1; } ;;
		esac
	done
}
check another_container_chats_with_its_key_and_not_without other_container

seed_commands() {
	PATH=$(dirname "${HOST_ENGINE:-}"):$PATH
	llama-server --version 2>&1 | grep -qi version || { echo 'llama-server --version'; return 1; }
	if command -v lsof >/dev/null 2>&1; then
		lsof -i :9090 | grep -q LISTEN || { echo 'lsof -i :9090 shows nothing'; return 1; }
	fi
	curl -s http://localhost:9090/health >"$T/out" && grep -q '"connected"' "$T/out" || { cat "$T/out"; return 1; }
	grep -q 'ronzal: .* layers\|ronzal: ' "$HOST_HOME/.local/state/ronzal/logs/ronzal-demo.log"
}
check the_seed_s_other_commands_work seed_commands

kill_and_back() {
	before=$(host_engines)
	docker kill -s KILL "$(container host-api)" >/dev/null
	sleep 3
	[ "$before" = "$(host_engines)" ] || { echo 'engines ended at once'; return 1; }
	chat_answers ronzal-demo || { echo 'no answer while the Host API is away'; return 1; }
	up host-api && within 60 curl -sf "$API/ready" >/dev/null || return 1
	[ "$before" = "$(host_engines)" ] || { echo "were $before, are $(host_engines)"; return 1; }
}
check a_killed_host_api_comes_back_to_the_same_pids logs_on_failure kill_and_back

stop_leaves_nothing() {
	from=$(date +%s)
	compose stop >"$T/out" 2>&1
	took=$(($(date +%s) - from))
	echo "# docker-compose stop: $took s" >&3
	[ -z "$(host_engines)" ] || { echo "still there: $(host_engines)"; return 1; }
	for service in frontend backend host-api; do
		id=$(compose ps -aq $service)
		[ "$(docker inspect -f '{{.State.ExitCode}}' "$id")" = 0 ] ||
			{ echo "$service ended with $(docker inspect -f '{{.State.ExitCode}}' "$id")"; return 1; }
	done
	[ $took -lt 30 ] # three containers, 10 s each before Docker would have killed them
}
check docker_compose_stop_leaves_no_llama_server_behind stop_leaves_nothing

lease_runs_out() {
	echo 'controller_lease_s = 10' >>"$HOST_HOME/.config/ronzal/host.conf"
	as_host "$HOST_HOME/.local/libexec/ronzal/ronzal" service install --background >/dev/null || return 1
	up backend && within 60 curl -sf "$API/ready" >/dev/null || return 1
	curl -s -m 120 -X POST "$API/api/models/servers/start-all?wait=60" >"$T/out"
	[ "$(host_engines | grep -c .)" -eq 2 ] || { cat "$T/out"; return 1; }
	docker update --restart=no "$(container host-api)" >/dev/null
	docker kill -s KILL "$(container host-api)" >/dev/null
	[ "$(host_engines | grep -c .)" -eq 2 ] || { echo 'gone before the lease was over'; return 1; }
	none_left() { [ -z "$(host_engines)" ]; }
	within 60 none_left
}
check after_the_lease_the_servers_of_a_killed_host_api_are_gone lease_runs_out

host_is_away() {
	chat ronzal-demo >"$T/chat"
	grep -q 'External server not running' "$T/chat" && grep -q 'lsof -i :9090' "$T/chat" ||
		{ cat "$T/chat"; return 1; }
}
check a_host_that_is_away_is_said_with_what_to_check host_is_away

auto_mode() {
	compose up -d >/dev/null 2>&1
	set_mode auto
	# The lease that the backend waits for, shortened as the host's was.
	printf 'version: "3.8"\nservices:\n  backend:\n    environment:\n      - RONZAL_CONTROLLER_LEASE_S=5\n' \
		>"$CHECKOUT/docker-compose.override.yml"
	up backend host-api || return 1
	on_host() { chat_answers ronzal-demo && [ -n "$(host_engines)" ]; }
	within 120 on_host || { cat "$T/chat"; return 1; }
	as_host "$HOST_HOME/.local/libexec/ronzal/ronzal" service uninstall >/dev/null
	on_cpu() { chat_answers ronzal-demo && [ -z "$(host_engines)" ]; }
	within 120 on_cpu || { cat "$T/chat"; return 1; }
	curl -sD - -o /dev/null -m 60 "$API/v1/chat/completions" -H 'Content-Type: application/json' \
		-d '{"model":"ronzal-demo","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}' |
		grep -i ronzal | sed 's/^/# marked: /' >&3
	as_host "$HOST_HOME/.local/libexec/ronzal/ronzal" service install --background >/dev/null
	within 120 on_host
}
check auto_answers_from_the_cpu_while_the_agent_is_away_and_returns logs_on_failure auto_mode
