#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The seed's page, step by step, with a real Docker engine and a real sshd: CPU first, then set-up,
# start-all through Host API and ssh to llama-servers outside of Docker, chats, stops, kills, auto.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/docker.sh
. tests/lib/docker-host.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
docker_begin
for port in 5173 8000 9090 8080 8081; do
	! curl -s -m 1 "http://127.0.0.1:$port/" >/dev/null || docker_skip "port $port is taken on this machine"
done
docker_images >"$T/images" || { cat "$T/images"; exit 1; }
host_begin 1000 19598
exec 3>&1

API=http://localhost:8000
within() { # SECONDS COMMAND...
	tries=$(($1 * 5))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "waited in vain for: $*"; return 1; }
		sleep 0.2
	done
}
compose() { (cd "$CHECKOUT" && docker-compose "$@"); }
healthy() { # SERVICE...
	for service; do
		id=$(compose ps -q "$service" 2>/dev/null) && [ -n "$id" ] &&
			[ "$(docker inspect -f '{{.State.Health.Status}}' "$id")" = healthy ] || return 1
	done
}
# One answer of one model, from the host, by the OpenAI form.
chat() { # MODEL
	curl -s -m 60 "$API/v1/chat/completions" -H 'Content-Type: application/json' \
		-d "{\"model\":\"$1\",\"max_tokens\":4,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}"
}
chat_answers() { chat "$1" >"$T/chat" && grep -q '"choices"' "$T/chat"; }
set_mode() { # true, false, auto: the edit that the seed asks for
	sed "s/USE_EXTERNAL_SERVERS=[a-z]*/USE_EXTERNAL_SERVERS=$1/" "$CHECKOUT/docker-compose.yml" >"$T/c.yml" &&
		cat "$T/c.yml" >"$CHECKOUT/docker-compose.yml"
}
logs_on_failure() { # TEST
	"$1" || { compose logs --tail 15 2>&1 | cut -c1-240 | tail -40; return 1; }
}

before_set_up() {
	compose up -d >"$T/out" 2>&1 || { tail -5 "$T/out"; return 1; }
	within 60 healthy frontend backend host-api || return 1
	within 30 chat_answers ronzal-demo || { cat "$T/chat"; return 1; }
	[ -z "$(host_engines)" ] || { echo 'an engine runs outside of Docker'; return 1; }
	curl -sf http://localhost:5173/ | grep -qi '<html' && curl -sf http://localhost:5173/api/models/servers >"$T/out" &&
		grep -q ronzal-demo "$T/out" || { cat "$T/out"; return 1; }
}
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

on_the_host() {
	set_mode true
	compose up -d >"$T/out" 2>&1 || { tail -5 "$T/out"; return 1; }
	within 60 healthy frontend backend host-api || return 1
	within 20 curl -sf "$API/ready" >/dev/null || { curl -s "$API/ready"; return 1; }
	curl -s -m 120 -X POST "$API/api/models/servers/start-all?wait=60" >"$T/out"
	[ "$(host_engines | grep -c .)" -eq 2 ] || { cat "$T/out"; return 1; }
	for port in 8080 8081; do
		curl -sf "http://127.0.0.1:$port/health" >/dev/null || { echo "nothing on $port"; return 1; }
	done
}
check start_all_runs_two_llama_servers_on_8080_and_8081_outside_docker logs_on_failure on_the_host

chats() {
	for model in ronzal-demo ronzal-demo-2; do
		chat_answers $model || { cat "$T/chat"; return 1; }
	done
}
check both_answer_through_8000_from_the_host chats

# With the key that a container needs, and no other tool than bash.
other_container() {
	key=$(docker exec "$(compose ps -q backend)" /usr/bin/ronzal keys add test --json | grep -o 'rz-[A-Za-z0-9_-]*' | head -1)
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
	if command -v lsof >/dev/null 2>&1; then
		lsof -i :9090 | grep -q LISTEN || { echo 'lsof -i :9090 shows nothing'; return 1; }
	fi
	curl -s http://localhost:9090/health >"$T/out" && grep -q '"connected"' "$T/out" || { cat "$T/out"; return 1; }
	grep -q 'ronzal: .* layers\|ronzal: ' "$HOST_HOME/.local/state/ronzal/logs/ronzal-demo.log"
}
check the_seed_s_troubleshooting_commands_work seed_commands

kill_and_back() {
	before=$(host_engines)
	docker kill -s KILL "$(compose ps -q host-api)" >/dev/null
	sleep 3
	[ "$before" = "$(host_engines)" ] || { echo 'engines ended at once'; return 1; }
	chat_answers ronzal-demo || { echo 'no answer while the Host API is away'; return 1; }
	compose up -d >/dev/null 2>&1
	within 40 healthy host-api && within 20 curl -sf "$API/ready" >/dev/null || return 1
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
		id=$(compose ps -q $service)
		[ "$(docker inspect -f '{{.State.ExitCode}}' "$id")" = 0 ] ||
			{ echo "$service ended with $(docker inspect -f '{{.State.ExitCode}}' "$id")"; return 1; }
	done
	[ $took -lt 20 ]
}
check docker_compose_stop_leaves_no_llama_server_behind stop_leaves_nothing

lease_runs_out() {
	echo 'controller_lease_s = 5' >>"$HOST_HOME/.config/ronzal/host.conf"
	as_host "$HOST_HOME/.local/libexec/ronzal/ronzal" service install --background >/dev/null || return 1
	compose up -d >/dev/null 2>&1
	within 40 curl -sf "$API/ready" >/dev/null || return 1
	curl -s -m 120 -X POST "$API/api/models/servers/start-all?wait=60" >"$T/out"
	[ "$(host_engines | grep -c .)" -eq 2 ] || { cat "$T/out"; return 1; }
	docker update --restart=no "$(compose ps -q host-api)" >/dev/null
	docker kill -s KILL "$(compose ps -q host-api)" >/dev/null
	sleep 2
	[ "$(host_engines | grep -c .)" -eq 2 ] || { echo 'gone before the lease was over'; return 1; }
	none_left() { [ -z "$(host_engines)" ]; }
	within 25 none_left
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
	compose up -d >"$T/out" 2>&1 || return 1
	within 60 healthy backend host-api || return 1
	on_host() { chat_answers ronzal-demo && [ -n "$(host_engines)" ]; }
	within 40 on_host || { cat "$T/chat"; return 1; }
	as_host "$HOST_HOME/.local/libexec/ronzal/ronzal" service uninstall >/dev/null
	on_cpu() { chat_answers ronzal-demo && [ -z "$(host_engines)" ]; }
	within 90 on_cpu || { cat "$T/chat"; return 1; }
	curl -sD - -o /dev/null -m 60 "$API/v1/chat/completions" -H 'Content-Type: application/json' \
		-d '{"model":"ronzal-demo","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}' |
		grep -i ronzal | sed 's/^/# marked: /' >&3
	as_host "$HOST_HOME/.local/libexec/ronzal/ronzal" service install --background >/dev/null
	within 120 on_host
}
check auto_answers_from_the_cpu_while_the_agent_is_away_and_returns logs_on_failure auto_mode
