#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every way in which the chain of tests/lib/chain.sh breaks, each with the one sentence that reaches
# who calls the Host API or the backend over HTTP; and a registry that a hostile container wrote.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/setup-home.sh
. tests/lib/chain.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
exec 3>&1
chain_begin 19660
SSH_FILES=$T/ssh # the container's copy

# WORDS: what the Host API's health and start, the backend's start-all and a chat are told.
callers_hear() {
	within 40 health_says "$1" || { curl -s "$API/health"; return 1; }
	post start >/dev/null
	answered 503 && grep -q "$1" "$T/body" || { cat "$T/body"; return 1; }
	[ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$API/ready")" = 503 ] || { echo 'ready'; return 1; }
	start_all_says() {
		curl -s -m 20 -X POST "$BACKEND/api/models/servers/start-all" >"$T/out"
		grep -q "External server not running.*$1" "$T/out" && grep -q 'lsof -i :9090' "$T/out"
	}
	within 20 start_all_says "$1" || { cat "$T/out"; return 1; }
	grep -o '"message":"[^"]*"' "$T/out" | head -1 | cut -c12-200 | sed 's/^/# /' >&3
	chat demo >"$T/out"
	grep -q "$1" "$T/out" || grep -q '"choices"' "$T/out" || { cat "$T/out"; return 1; }
}

# A connection that stands is not looked at again, so a fresh Host API has to dial.
reconnect() {
	hostapi_kill
	hostapi_start
}

away() { # WORDS MEND-COMMAND...
	callers_hear "$1"
	heard=$?
	shift
	"$@" && connected && [ $heard -eq 0 ]
}

check the_chain_is_up connected

agent_down() {
	post start >/dev/null
	engines=$(pids)
	"$RONZAL" service uninstall >/dev/null
	for pid in $engines; do
		! kill -0 "$pid" 2>/dev/null || { echo "engine $pid outlives uninstall"; return 1; }
	done
	away 'the agent is not running on the host.*ronzal service install' \
		"$RONZAL" service install --background
}
check an_agent_that_is_down_is_said_and_found_again agent_down

sshd_down() {
	sshd_stop
	reconnect
	away 'no sshd answers on the host' sshd_start "$PORT"
}
check an_sshd_that_is_down_is_said_and_found_again sshd_down

key_open() {
	chmod 644 "$SSH_FILES/id_ed25519"
	reconnect
	away 'others can read it' chmod 600 "$SSH_FILES/id_ed25519"
}
check a_key_with_wrong_permissions_is_said key_open

key_unknown() {
	cp "$AUTHORIZED" "$T/authorized.kept"
	sed -i.old '/ronzal-restricted-key$/d' "$AUTHORIZED"
	reconnect
	away 'does not accept ronzal.s key' cp "$T/authorized.kept" "$AUTHORIZED"
}
check a_key_that_the_host_no_longer_takes_is_said key_unknown

new_host_key() { # FROM: a key pair
	cp "$1" "$T/host_key" && cp "$1.pub" "$T/host_key.pub" && sshd_restart
}
host_key_changed() {
	cp "$T/host_key" "$T/kept" && cp "$T/host_key.pub" "$T/kept.pub"
	[ -f "$T/fresh" ] || ssh-keygen -q -t ed25519 -N '' -f "$T/fresh"
	new_host_key "$T/fresh"
	before=$(grep -c accepted "$RONZAL_HOME/logs/gate.log")
	reconnect
	away 'another ssh key than the one pinned' new_host_key "$T/kept" &&
		[ "$(grep -c accepted "$RONZAL_HOME/logs/gate.log")" -eq $((before + 1)) ]
}
check a_changed_host_key_is_said_and_nothing_runs host_key_changed

two_controllers() {
	post start >/dev/null
	before=$(pids)
	RONZAL_HOME=$T/other "$RONZAL_BUILD/ronzal" hostapi --hostapi-port $((HOSTAPI_PORT + 2)) \
		--ssh-config "$T/client_config" >>"$T/other.log" 2>&1 &
	other=$!
	first=$API
	API=http://127.0.0.1:$((HOSTAPI_PORT + 2))
	within 30 health_says 'host-api'
	result=$?
	curl -s "$API/health" >"$T/out"
	API=$first
	kill $other
	wait $other 2>/dev/null
	grep -o '"agent":"[^"]*"' "$T/out" | sed 's/^/# the second controller is told: /' >&3
	[ $result -eq 0 ] && health_says '"connected"' && [ "$before" = "$(pids)" ] || { cat "$T/out"; return 1; }
}
check a_second_controller_is_told_that_the_host_is_taken two_controllers

# To those who wait a machine that sleeps is one that stopped: nothing moves, nothing is closed.
asleep() {
	post start >/dev/null
	before=$(pids)
	agent=$(agent_pid)
	kill -STOP "$agent" || return 1
	away 'gave no sign\|no longer answers' kill -CONT "$agent" || return 1
	[ "$before" = "$(pids)" ] || { echo "were $before, are $(pids)"; return 1; }
}
check a_host_that_slept_is_said_and_has_kept_its_servers asleep

# What a hostile container could write; each entry is refused by itself, the good one starts.
hostile_models() {
	printf '"good":{"file_path":"/models/ronzal-demo.gguf","enabled":true,"port":%s}' \
		"$RONZAL_ENGINE_PORT_MIN"
	while read -r id rest; do
		printf ',"%s":{"enabled":true,%s}' "$id" "$rest"
	done <<-END
		up "file_path":"/models/../../outside.gguf"
		abs "file_path":"$T/outside.gguf"
		link "file_path":"/models/link.gguf"
		fifo "file_path":"/models/fifo.gguf"
		device "file_path":"/models/null.gguf"
		port "file_path":"/models/ronzal-demo.gguf","port":22
		huge "file_path":"/models/ronzal-demo.gguf","ctx_size":1e300
		flag "file_path":"/models/ronzal-demo.gguf","n_gpu_layers":"9 --host 0.0.0.0"
		--host "file_path":"/models/ronzal-demo.gguf"
		dash "file_path":"--api-key-file"
	END
}
hostile_files() {
	cp "$REGISTRY" "$T/registry.good"
	cp "$MODELS/ronzal-demo.gguf" "$T/outside.gguf"
	mkfifo "$MODELS/fifo.gguf"
	ln -s "$RONZAL_HOME/config/ssh/id_ed25519" "$MODELS/link.gguf"
	ln -s /dev/null "$MODELS/null.gguf"
}
refused_but_good() { # what a start of all of them leaves running and says
	post start >"$T/out"
	count_pids 1 || { echo "runs $(pids | grep -c .)"; cut -c1-600 "$T/out"; return 1; }
	key_text=$(sed -n 2p "$RONZAL_HOME/config/ssh/id_ed25519")
	! grep -qF "$key_text" "$T/out" "$RONZAL_HOME/logs/agent.log" || { echo 'quotes the key'; return 1; }
	! ps -eo args | grep -- '--port' | grep -q 'host 0.0.0.0' || { echo 'a flag came through'; return 1; }
	post stop >/dev/null
}
hostile_registry() {
	post stop >/dev/null
	hostile_files
	{ printf '{"models":{' && hostile_models && printf '}}'; } >"$REGISTRY"
	refused_but_good || return 1
	secretly "$API/api/servers/status" >"$T/out"
	for id in abs link fifo device; do
		grep -o "\"id\":\"$id\"[^}]*" "$T/out" | grep -q '"error":"..' || { echo "no reason for $id"; return 1; }
	done
	grep -q '"registry_error":"6 refused: models.up.file_path: ' "$T/out" || { cut -c1-400 "$T/out"; return 1; }
	for field in .up.file_path: .port.port: .huge.ctx_size: .flag.n_gpu_layers: .dash.file_path: '\[9\]: its id'; do
		grep -q "registry: models$field" "$RONZAL_HOME/logs/agent.log" || { echo "no reason for $field"; return 1; }
	done
}
check a_hostile_registry_is_refused_model_by_model_with_reasons hostile_registry

ten_thousand() {
	{
		printf '{"models":{' && hostile_models
		awk 'BEGIN { for (i = 0; i < 10000; i++)
			printf ",\"m%d\":{\"file_path\":\"/models/../m%d.gguf\",\"enabled\":true}", i, i }'
		printf '}}'
	} >"$REGISTRY"
	from=$(now_ms)
	refused_but_good || return 1
	echo "# a registry of 10,000 models: start to stop of the good one in $(($(now_ms) - from)) ms" >&3
	health_says '"connected"' && connected
}
check ten_thousand_models_are_refused_one_by_one_and_the_good_one_starts ten_thousand

# The one file that can never be read to its end, and one that makes no sense.
unreadable_registry() {
	cp "$T/registry.good" "$REGISTRY"
	post start >/dev/null
	answered 200 && count_pids 2 || return 1
	before=$(pids)
	rm -f "$REGISTRY"
	mkfifo "$REGISTRY"
	post start >/dev/null
	[ "$before" = "$(pids)" ] || { echo 'a FIFO'; return 1; }
	rm -f "$REGISTRY"
	echo '{"models": [[[' >"$REGISTRY"
	post reload >/dev/null
	told() { secretly "$API/api/servers/status" | grep -q 'last good registry stays'; }
	within 20 told && [ "$before" = "$(pids)" ] || { secretly "$API/api/servers/status" | head -c 500; return 1; }
	cp "$T/registry.good" "$REGISTRY"
}
check an_unreadable_registry_is_said_and_running_models_stay unreadable_registry
