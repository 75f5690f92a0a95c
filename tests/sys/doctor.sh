#!/bin/sh
# SPDX-License-Identifier: MIT
#
# ronzal doctor on a whole set-up (real sshd, agent, engines): nothing but ok while all is well, and
# each fault that is planted here is found by its name, with what to do about it.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/setup-home.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
setup_begin 18700
export RONZAL_BACKEND_PORT=18740 RONZAL_FRONTEND_PORT=18741 RONZAL_HOSTAPI_PORT=18742
TAKEN=18743
THIRD=$((RONZAL_ENGINE_PORT_MIN + 2))

# Copies, so that one can be taken away.
rm "$CHECKOUT/build"
mkdir "$CHECKOUT/build"
cp "$RONZAL_BUILD/ronzal" "$RONZAL_BUILD/ronzal-gate" "$RONZAL_BUILD/ronzal-shim" \
	"$RONZAL_BUILD/ronzal-fetch" "$CHECKOUT/build/"

doctor() { # VARIABLE=VALUE...
	env "$@" "$CHECKOUT/build/ronzal" doctor >"$T/out" 2>&1
}

# The planted fault is said under its name with these words and a fix, and the exit code fits.
said() { # EXIT-CODE LEVEL NAME WORDS
	[ "$1" -eq "$([ "$2" = FAIL ] && echo 1 || echo 0)" ] &&
		grep -A1 "^$2 *$3  .*$4" "$T/out" | grep -q '^ *fix: ..' || { echo "exit $1"; cat "$T/out"; return 1; }
}

finds() { # LEVEL NAME WORDS VARIABLE=VALUE...: and says nothing else
	f_level=$1 f_name=$2 f_words=$3
	shift 3
	doctor "$@"
	said $? "$f_level" "$f_name" "$f_words" &&
		[ "$(grep -c '^FAIL\|^warn\|^ronzal:' "$T/out")" -eq 1 ] || { cat "$T/out"; return 1; }
}

finds_among_others() { # LEVEL NAME WORDS VARIABLE=VALUE...
	f_level=$1 f_name=$2 f_words=$3
	shift 3
	doctor "$@"
	said $? "$f_level" "$f_name" "$f_words"
}

well() {
	doctor "$@" && ! grep -q '^FAIL\|^warn' "$T/out" && grep -q '^0 failed, 0 warnings, [1-9]' "$T/out" ||
		{ cat "$T/out"; return 1; }
}

# Registers a third model beside the two that run.
third() { # MEMBERS
	sed "s|^{\"models\":{|&\"third\":{\"model_id\":\"third\",\"enabled\":true,$1},|" "$T/registry.good" >"$REGISTRY"
}

mended() { # puts the registry back
	cat "$T/registry.good" >"$REGISTRY"
}

set_up_all() {
	set_up && register_models && mkdir -p "$RONZAL_HOME/state" && client_config &&
		"$RONZAL_HOME/libexec/ronzal" start
}
check is_set_up_with_two_models_running set_up_all
[ -d "$RONZAL_HOME/state/registry" ] || exit 1
REGISTRY=$RONZAL_HOME/state/registry/model_registry.json
cp "$REGISTRY" "$T/registry.good"
"$RONZAL_HOME/libexec/ronzal" keys token >/dev/null
check says_nothing_but_ok_while_all_is_well well

json() {
	"$CHECKOUT/build/ronzal" doctor --json >"$T/out" && grep -q '"warn":0,"fail":0,"findings":\[{"name":"options","level":"ok"' "$T/out"
}
check says_the_same_as_json json

# Settings and programs; without the key, whose checks take a login each

mv "$RONZAL_HOME/config/ssh" "$T/ssh.away"

unknown_option() {
	echo 'bakend_port = 1' >>"$RONZAL_HOME/config/host.conf"
	finds_among_others FAIL options 'Did you mean backend_port'
	result=$?
	sed '/^bakend/d' "$RONZAL_HOME/config/host.conf" >"$T/conf"
	cat "$T/conf" >"$RONZAL_HOME/config/host.conf"
	return $result
}
check finds_an_unknown_option unknown_option
check finds_an_unknown_mode finds FAIL options 'none of true, false, auto' USE_EXTERNAL_SERVERS=maybe
check finds_a_port_range_that_is_upside_down \
	finds_among_others FAIL options 'no port lies in' RONZAL_ENGINE_PORT_MIN=18799 RONZAL_ENGINE_PORT_MAX=18798

gone() { # PROGRAM FINDS: and how
	mv "$CHECKOUT/build/$1" "$T/$1"
	"$2" FAIL programs "$1 is missing"
	result=$?
	mv "$T/$1" "$CHECKOUT/build/$1"
	return $result
}
check finds_a_missing_program gone ronzal-shim finds_among_others
check finds_a_missing_downloader gone ronzal-fetch finds
check finds_a_missing_engine finds FAIL engine 'cannot be run' RONZAL_ENGINE="$T/nowhere"
check finds_an_engine_that_is_none finds FAIL engine . RONZAL_ENGINE=/bin/true

other_engine() {
	printf '#!/bin/sh\nexec "%s" "$@"\n' "$RONZAL_ENGINE" >"$T/other-engine"
	chmod 755 "$T/other-engine"
	finds warn agent 'not what is set here' RONZAL_ENGINE="$T/other-engine"
}
check finds_an_agent_that_uses_another_engine other_engine

# Registry, models, ports

broken() {
	echo '{"models":' >"$REGISTRY"
	finds FAIL registry model_registry.json
}
check finds_a_broken_registry broken

linked() {
	mv "$REGISTRY" "$REGISTRY.old"
	ln -s "$REGISTRY.old" "$REGISTRY"
	finds FAIL registry model_registry.json
	result=$?
	rm "$REGISTRY"
	mv "$REGISTRY.old" "$REGISTRY"
	return $result
}
mended
check finds_a_registry_that_is_a_link linked

third '"file_path":"/models/ronzal-demo.gguf","port":70000'
check finds_a_model_with_a_port_that_cannot_be finds FAIL registry 'third.*70000'
third "\"file_path\":\"/models/lost.gguf\",\"port\":$THIRD"
check finds_a_missing_model_file finds FAIL models 'third: .*not there'
echo 'no model' >"$RONZAL_HOME/models/text.gguf"
third "\"file_path\":\"/models/text.gguf\",\"port\":$THIRD"
check finds_a_file_that_is_no_gguf finds FAIL models 'third: .*text.gguf cannot be used'
ln -s "$CHECKOUT/demo/ronzal-demo.gguf" "$RONZAL_HOME/models/outside.gguf"
third "\"file_path\":\"/models/outside.gguf\",\"port\":$THIRD"
check finds_a_model_outside_its_folder finds FAIL models 'third: .*outside'
third "\"file_path\":\"/models/ronzal-demo.gguf\",\"port\":$THIRD"
check finds_a_model_that_does_not_fit finds FAIL memory third: RONZAL_MEMORY_BUDGET_MIB=1

taken() {
	third "\"file_path\":\"/models/ronzal-demo.gguf\",\"port\":$TAKEN"
	"$RONZAL_BUILD/tests/tools/http-echo" "$TAKEN" >/dev/null 2>&1 &
	echo_pid=$!
	tries=0
	until curl -s "http://127.0.0.1:$TAKEN/" >/dev/null || [ $tries -eq 100 ]; do sleep 0.1; tries=$((tries + 1)); done
	finds FAIL ports "$TAKEN (third) is taken by http-echo (pid $echo_pid)" RONZAL_ENGINE_PORT_MAX=$TAKEN
	result=$?
	mended
	finds FAIL ports "$TAKEN (backend_port) is taken" RONZAL_BACKEND_PORT=$TAKEN || result=1
	kill "$echo_pid"
	return $result
}
check finds_ports_that_others_hold taken
mended

# The machine

small_disk() {
	mount -t tmpfs -o size=1m tmpfs "$RONZAL_HOME/logs" || return
	finds FAIL disk "free at $RONZAL_HOME/logs"
	result=$?
	umount "$RONZAL_HOME/logs"
	return $result
}
mkdir "$T/mount"
if mount -t tmpfs -o size=1m tmpfs "$T/mount" 2>/dev/null; then
	umount "$T/mount"
	check finds_a_full_disk small_disk
else
	skip finds_a_full_disk 'no file system can be mounted here'
fi

open_secret() {
	chmod 644 "$RONZAL_HOME/state/management.token"
	finds FAIL secrets 'management.token is open to others'
	result=$?
	chmod 600 "$RONZAL_HOME/state/management.token"
	return $result
}
check finds_a_secret_that_others_can_read open_secret

old_clock() {
	touch -t 203801010000 "$REGISTRY"
	finds warn clock 's behind the last change of'
	result=$?
	touch "$REGISTRY"
	return $result
}
check finds_a_clock_that_is_behind old_clock
check finds_an_address_of_another_machine finds FAIL bind 'cannot listen on 192.0.2.1' RONZAL_BIND=192.0.2.1
check finds_engines_open_to_the_network finds warn bind 'listen on 0.0.0.0' RONZAL_BIND=0.0.0.0

# What runs

failed_server() {
	printf 'GGUFnothing behind it' >"$RONZAL_HOME/models/stump.gguf"
	third "\"file_path\":\"/models/stump.gguf\",\"port\":$THIRD"
	"$RONZAL_HOME/libexec/ronzal" start third >/dev/null 2>&1 && return 1
	finds_among_others FAIL servers third:
	result=$?
	"$RONZAL_HOME/libexec/ronzal" stop third >/dev/null 2>&1
	mended
	return $result
}

hung() {
	pid=$("$RONZAL_HOME/libexec/ronzal" show demo --json | grep -o '"pid": *[1-9][0-9]*' | tr -dc '0-9')
	kill -STOP "$pid" || return 1
	finds FAIL reach 'demo does not answer'
	result=$?
	kill -CONT "$pid"
	return $result
}
check finds_an_engine_that_hangs hung
check finds_a_server_that_failed failed_server

# The way of containers

mv "$T/ssh.away" "$RONZAL_HOME/config/ssh"

key_mode() {
	chmod 644 "$RONZAL_HOME/config/ssh/id_ed25519"
	finds_among_others FAIL 'ssh key' 'readable by others'
	result=$?
	chmod 600 "$RONZAL_HOME/config/ssh/id_ed25519"
	return $result
}
check finds_a_key_that_others_can_read key_mode

lost_line() {
	cp "$AUTHORIZED" "$T/keys"
	grep -v ronzal-restricted-key "$T/keys" >"$AUTHORIZED"
	finds FAIL 'ssh line' 'missing or not as it should be'
	result=$?
	cat "$T/keys" >"$AUTHORIZED"
	return $result
}
check finds_a_lost_line_of_the_key lost_line

other_host_key() {
	cp "$RONZAL_HOME/config/ssh/known_hosts" "$T/known"
	sed 's/AAAA.*/AAAAC3NzaC1lZDI1NTE5AAAAIOther/' "$T/known" >"$RONZAL_HOME/config/ssh/known_hosts"
	finds FAIL 'ssh host key' 'not the one pinned'
	result=$?
	cp "$T/known" "$RONZAL_HOME/config/ssh/known_hosts"
	return $result
}
check finds_another_host_key other_host_key

changed_copy() {
	echo '# changed' >>"$RONZAL_HOME/libexec/ssh-wrapper.sh"
	finds_among_others FAIL 'ssh copies' ssh-wrapper.sh
	result=$?
	cp "$CHECKOUT/scripts/ssh-wrapper.sh" "$RONZAL_HOME/libexec/"
	return $result
}
check finds_a_changed_wrapper changed_copy

takes_all() {
	cp "$T/sshd_config.more" "$T/more"
	echo 'AcceptEnv *' >>"$T/sshd_config.more"
	sshd_restart && finds FAIL 'ssh sshd' 'set any variable'
	result=$?
	cp "$T/more" "$T/sshd_config.more"
	sshd_restart && return $result
}
check finds_an_sshd_that_lets_any_variable_in takes_all

no_sshd() {
	sshd_stop
	finds FAIL 'ssh sshd' 'nothing answers on port'
	result=$?
	sshd_start "$PORT" && return $result
}
check finds_a_missing_sshd no_sshd

# From the containers' side: their parts as compose starts them, the doctor as exec runs it.
hostapi_begin() {
	sed "s|/ssh/|$T/ssh/|g; s|host.docker.internal|127.0.0.1|g" "$RONZAL_HOME/config/ssh/config" >"$T/ssh/config"
	RONZAL_SSH_CONFIG="$T/ssh/config" RONZAL_SSH_HOST=ronzal-host "$RONZAL_BUILD/ronzal" hostapi >"$T/hostapi.log" 2>&1 &
	hostapi_pid=$!
	tries=0
	until curl -s "http://127.0.0.1:$RONZAL_HOSTAPI_PORT/health" | grep -q '"connected"' || [ $tries -eq 100 ]; do
		sleep 0.3
		tries=$((tries + 1))
	done
}
hostapi_end() {
	kill "$hostapi_pid"
	wait "$hostapi_pid"
}

backend_container() {
	set -- USE_EXTERNAL_SERVERS=true HOST_API_URL=http://127.0.0.1:$RONZAL_HOSTAPI_PORT RONZAL_ENGINE_HOST=127.0.0.1
	finds FAIL 'host api' 'External server not running' "$@" || return 1
	hostapi_begin
	well "$@" && finds FAIL 'engine host' 'not known here' "$@" RONZAL_ENGINE_HOST=no-such-host.invalid &&
		finds warn 'engine host' '2 of 2 enabled engines do not answer' "$@" RONZAL_ENGINE_HOST=127.0.0.9 &&
		finds_among_others warn models 'demo: .*not there' "$@" RONZAL_MODEL_ROOTS="$T" && finds FAIL registry . "$@" RONZAL_REGISTRY="$T/sshd.log"
	result=$?
	hostapi_end
	return $result
}
check finds_what_keeps_the_backend_s_container_from_the_host backend_container

hostapi_container() {
	set -- RONZAL_SSH_CONFIG="$T/ssh/config"
	finds FAIL 'host api' 'External server not running' "$@" || return 1
	hostapi_begin
	well "$@"
	result=$?
	chmod 644 "$T/ssh/id_ed25519"
	finds FAIL key 'id_ed25519 is open to others' "$@" || result=1
	chmod 600 "$T/ssh/id_ed25519"
	mv "$T/ssh/known_hosts" "$T/known.away"
	finds FAIL key 'known_hosts cannot be read' "$@" || result=1
	mv "$T/known.away" "$T/ssh/known_hosts"
	hostapi_end
	return $result
}
check finds_what_keeps_the_host_api_s_container_from_the_host hostapi_container

page_container() {
	finds FAIL backend 'does not answer' RONZAL_BACKEND_URL=http://127.0.0.1:$RONZAL_BACKEND_PORT
}
check finds_a_backend_that_the_page_cannot_reach page_container

# A Host API whose machine slept: its clock stands still.
old_container() {
	cat >"$T/clock.mjs" <<-END
		import http from "node:http";
		http.createServer((q, r) => r.end(JSON.stringify({ agent: "connected", unix_ms: Date.now() - 900000 })))
			.listen(Number(process.argv[2]), "127.0.0.1");
	END
	node "$T/clock.mjs" "$RONZAL_HOSTAPI_PORT" &
	clock_pid=$!
	tries=0
	until curl -s "http://127.0.0.1:$RONZAL_HOSTAPI_PORT/" >/dev/null || [ $tries -eq 100 ]; do sleep 0.1; tries=$((tries + 1)); done
	doctor # and that a stranger has the port
	grep -q "^warn *clock .*containers' clock is [0-9]* s behind this machine's" "$T/out"
	result=$?
	kill $clock_pid
	wait $clock_pid 2>/dev/null
	return $result
}
if command -v node >/dev/null 2>&1; then
	check finds_a_clock_of_containers_that_stood_still old_container
else
	skip finds_a_clock_of_containers_that_stood_still 'no node here'
fi
check still_says_nothing_but_ok_when_all_is_mended well

agent_gone() {
	"$RONZAL_HOME/libexec/ronzal" service uninstall >/dev/null
	finds_among_others FAIL agent 'no agent listens'
}
check finds_a_missing_agent agent_gone
