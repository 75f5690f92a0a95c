#!/bin/sh
# SPDX-License-Identifier: MIT
#
# setup-ssh-automation.sh with a real sshd, the real agent and a real llama-server: a bare home, a
# second run, things that others own, things that broke, and the way back.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/setup-home.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
setup_begin 19540
OWNER=$(id -u) # whom containers run as: never root
[ "$OWNER" -ne 0 ] || OWNER=1000

# What set-up may have changed, in one number.
fingerprint() {
	find "$T/user" "$RONZAL_HOME/config" "$RONZAL_HOME/libexec" "$CHECKOUT/.env" -type f \
		-exec cksum {} + -exec ls -ln {} + | sort | cksum
}

refused_says() { # WORDS: --check fails with these words and changes nothing
	before=$(fingerprint)
	"$SETUP" --check </dev/null >"$T/out" 2>&1 && { echo "--check passed: $1"; return 1; }
	grep -q "^FAIL .*$1" "$T/out" && grep -q '^ *fix: ..' "$T/out" || { cat "$T/out"; return 1; }
	[ "$before" = "$(fingerprint)" ] || { echo '--check changed something'; return 1; }
}

nobody_to_ask() {
	before=$(find "$T/user" "$T/checkout" -type f | sort | cksum)
	"$SETUP" </dev/null >"$T/out" 2>&1 && return 1
	grep -q 'with --yes' "$T/out" && [ ! -e "$RONZAL_HOME" ] &&
		[ "$before" = "$(find "$T/user" "$T/checkout" -type f | sort | cksum)" ]
}
check does_nothing_when_nobody_can_be_asked nobody_to_ask

bare_home() {
	set_up >"$T/out" 2>&1 || { cat "$T/out"; return 1; }
	for word in copies key line client host.conf .env; do
		grep -q "^did *$word" "$T/out" || { echo "silent about $word"; cat "$T/out"; return 1; }
	done
	grep -q '^ok *connect .*the agent answers' "$T/out" && grep -q USE_EXTERNAL_SERVERS=true "$T/out"
}
check sets_up_a_bare_home_and_says_each_thing bare_home

one_line() {
	[ "$(wc -l <"$AUTHORIZED")" -eq 2 ] && grep -q '^ssh-ed25519 .*ISomebodyElse else@where$' "$AUTHORIZED" &&
		grep -q "^restrict,command=\"'$RONZAL_HOME/libexec/ssh-wrapper.sh' '$RONZAL_HOME'\" ssh-ed25519 " \
			"$AUTHORIZED" || { cat "$AUTHORIZED"; return 1; }
	[ "$(find "$AUTHORIZED" -perm 600)" ] || [ "$(find "$AUTHORIZED" -perm 644)" ]
}
check adds_one_restricted_line_beside_the_others one_line

what_containers_read() {
	[ "$(find "$RONZAL_HOME/config/ssh/id_ed25519" -perm 600)" ] &&
		grep -q "^ronzal:x:$OWNER:[1-9][0-9]*:ronzal:/:/sbin/nologin\$" "$RONZAL_HOME/config/ssh/passwd" &&
		[ -z "$(find "$RONZAL_HOME/config/ssh" "$RONZAL_HOME/state/registry" ! -user "$OWNER")" ] &&
		grep -q '^ronzal-host ssh-ed25519 ' "$RONZAL_HOME/config/ssh/known_hosts" &&
		grep -qx "RONZAL_UID=$OWNER" "$CHECKOUT/.env" && grep -qx RONZAL_BACKEND_PORT=8000 "$CHECKOUT/.env" &&
		grep -qx "RONZAL_MODELS_FOLDER=$RONZAL_HOME/models" "$CHECKOUT/.env" || return 1
	# The configuration as ssh itself understands it.
	ssh -G -F "$RONZAL_HOME/config/ssh/config" ronzal-host >"$T/out" || return 1
	for setting in 'batchmode yes' 'identitiesonly yes' 'stricthostkeychecking true' \
		'userknownhostsfile /ssh/known_hosts' 'identityfile /ssh/id_ed25519' \
		'hostname host.docker.internal' 'preferredauthentications publickey' \
		'serveraliveinterval 5' 'forwardagent no' "port $PORT"; do
		grep -qix "$setting" "$T/out" || { echo "no $setting"; return 1; }
	done
}
check writes_what_the_containers_need what_containers_read

again() {
	before=$(fingerprint)
	pid=$("$RONZAL_HOME/libexec/ronzal" service status)
	set_up >"$T/out" 2>&1 && ! grep -q ^did "$T/out" || { cat "$T/out"; return 1; }
	[ "$before" = "$(fingerprint)" ] && [ "$pid" = "$("$RONZAL_HOME/libexec/ronzal" service status)" ]
}
check a_second_run_changes_nothing again

checked() {
	before=$(fingerprint)
	"$SETUP" --check </dev/null >"$T/out" 2>&1 && ! grep -q '^FAIL\|^did' "$T/out" &&
		[ "$before" = "$(fingerprint)" ] || { cat "$T/out"; return 1; }
}
check check_finds_nothing_wrong_with_it checked

ours_and_older() {
	blob=$(cut -d' ' -f2 "$RONZAL_HOME/config/ssh/id_ed25519.pub")
	{
		printf '# a comment of the user\nssh-ed25519 %s pasted without its restriction\n' "$blob"
		echo 'restrict,command="/old/ssh-wrapper.sh" ssh-ed25519 AAAAold ronzal-restricted-key'
		printf 'ssh-rsa AAAAlast no-newline'
	} >>"$AUTHORIZED"
	set_up >"$T/out" 2>&1 || { cat "$T/out"; return 1; }
	[ "$(grep -c "$blob" "$AUTHORIZED")" -eq 1 ] && ! grep -q 'AAAAold\|pasted' "$AUTHORIZED" &&
		grep -qx '# a comment of the user' "$AUTHORIZED" &&
		grep -qx 'ssh-rsa AAAAlast no-newline' "$AUTHORIZED" &&
		grep -q 'ISomebodyElse' "$AUTHORIZED" || { cat "$AUTHORIZED"; return 1; }
}
check replaces_older_and_unrestricted_lines_of_ours_and_leaves_the_others ours_and_older

keeps_env() {
	printf 'OTHER=1\n%s\n' "$(cat "$CHECKOUT/.env")" >"$T/env"
	sed 's/^RONZAL_GID=.*/RONZAL_GID=99999/; s/^RONZAL_BACKEND_PORT=.*/RONZAL_BACKEND_PORT=8123/' \
		"$T/env" >"$CHECKOUT/.env"
	set_up >"$T/out" 2>&1 || { cat "$T/out"; return 1; }
	grep -qx OTHER=1 "$CHECKOUT/.env" && grep -qx RONZAL_BACKEND_PORT=8123 "$CHECKOUT/.env" &&
		[ "$(grep -c ^RONZAL_GID= "$CHECKOUT/.env")" -eq 1 ] && ! grep -q 99999 "$CHECKOUT/.env"
}
check keeps_the_other_lines_of_env keeps_env

key_permissions() {
	chmod 644 "$RONZAL_HOME/config/ssh/id_ed25519"
	refused_says 'readable by others' || return 1
	set_up >"$T/out" 2>&1 && grep -q '^did *key *permissions' "$T/out" &&
		[ "$(find "$RONZAL_HOME/config/ssh/id_ed25519" -perm 600)" ]
}
check a_key_that_others_can_read_is_found_and_mended key_permissions

changed_copy() {
	echo '# changed' >>"$RONZAL_HOME/libexec/ssh-wrapper.sh"
	refused_says 'not of this build: ssh-wrapper.sh' || return 1
	set_up >"$T/out" 2>&1 && cmp -s scripts/ssh-wrapper.sh "$RONZAL_HOME/libexec/ssh-wrapper.sh"
}
check a_changed_copy_is_found_and_mended changed_copy

lost_line() {
	grep -v ronzal-restricted-key "$AUTHORIZED" >"$T/keys"
	cat "$T/keys" >"$AUTHORIZED"
	refused_says 'missing or not as it should be' || return 1
	set_up >"$T/out" 2>&1
}
check a_lost_line_is_found_and_mended lost_line

agent_away() {
	"$RONZAL_HOME/libexec/ronzal" service uninstall >/dev/null || return 1
	refused_says 'it does not run' || return 1
	set_up >"$T/out" 2>&1
}
check an_agent_that_is_away_is_found_and_started agent_away

other_host_key() {
	cp "$T/host_key" "$T/host_key.first"
	cp "$T/host_key.pub" "$T/host_key.first.pub"
	ssh-keygen -q -t ed25519 -N '' -f "$T/fresh"
	cp "$T/fresh" "$T/host_key"
	cp "$T/fresh.pub" "$T/host_key.pub"
	sshd_restart || return 1
	refused_says 'not the one pinned' || return 1
	set_up >"$T/out" 2>&1 && grep -q '^did *host key *CHANGED' "$T/out" || { cat "$T/out"; return 1; }
}
check a_changed_host_key_is_found_and_a_new_set_up_pins_it other_host_key

sshd_down() {
	sshd_stop
	refused_says "nothing answers on port $PORT"
	result=$?
	sshd_start "$PORT"
	return $result
}
check a_missing_sshd_is_found sshd_down

takes_all() {
	echo 'AcceptEnv *' >>"$T/sshd_config.more"
	sshd_restart || return 1
	refused_says 'lets clients set any variable' || return 1
	set_up >"$T/out" 2>&1 && { echo 'set up although any variable gets in'; return 1; }
	! grep -q ronzal-restricted-key "$AUTHORIZED" && grep -q ISomebodyElse "$AUTHORIZED" || return 1
	sed '/AcceptEnv/d' "$T/sshd_config.more" >"$T/more"
	cp "$T/more" "$T/sshd_config.more"
	sshd_restart && set_up >"$T/out" 2>&1
}
check an_sshd_that_lets_any_variable_in_is_refused_and_keeps_no_key takes_all

odd_users() {
	[ "$(id -u)" -eq 0 ] || return 0
	SUDO_USER=ann "$SETUP" --yes </dev/null >"$T/out" 2>&1 && return 1
	grep -q 'without sudo' "$T/out" || return 1
	RONZAL_UID=0 "$SETUP" --yes </dev/null >"$T/out" 2>&1 && return 1
	grep -q "RONZAL_UID is '0'" "$T/out"
}
check containers_never_run_as_root odd_users

odd_places() {
	for place in "$T/it's" "$T/a\"b" "$T/a\$b" "$T/a\`b"; do
		RONZAL_HOME=$place "$SETUP" --yes </dev/null >"$T/out" 2>&1 && return 1
		grep -q 'plain paths' "$T/out" && [ ! -e "$place" ] || { cat "$T/out"; return 1; }
	done
	RONZAL_SSH_PORT=22x "$SETUP" --yes </dev/null >"$T/out" 2>&1 && return 1
	"$SETUP" --yess </dev/null >"$T/out" 2>&1
	[ $? -eq 2 ]
}
check places_that_cannot_be_quoted_are_refused odd_places

upgrade() {
	register_models
	client_config
	host_command start-metal-servers </dev/null >"$T/out" 2>&1 || { tail -3 "$T/out"; return 1; }
	before=$("$RONZAL_HOME/libexec/ronzal" status --json | grep -o '"pid": *[1-9][0-9]*' | sort) &&
		[ "$(echo "$before" | grep -c .)" -eq 2 ] || { echo "runs: $before"; return 1; }
	agent=$("$RONZAL_HOME/libexec/ronzal" service status)
	"$RONZAL_HOME/libexec/ronzal" service install --background >/dev/null || return 1
	[ "$agent" != "$("$RONZAL_HOME/libexec/ronzal" service status)" ] || { echo 'same agent'; return 1; }
	[ "$before" = "$("$RONZAL_HOME/libexec/ronzal" status --json | grep -o '"pid": *[1-9][0-9]*' | sort)" ] ||
		{ echo "other engines than $before"; return 1; }
}
check a_new_agent_is_put_under_running_models upgrade

way_back() {
	engines=$("$RONZAL_HOME/libexec/ronzal" status --json | grep -o '"pid": *[1-9][0-9]*' | tr -dc '0-9\n')
	"$SETUP" --uninstall --yes </dev/null >"$T/out" 2>&1 || { cat "$T/out"; return 1; }
	! grep -q ronzal-restricted-key "$AUTHORIZED" && grep -q ISomebodyElse "$AUTHORIZED" &&
		[ ! -e "$RONZAL_HOME/libexec" ] && [ ! -e "$RONZAL_HOME/config/ssh" ] &&
		[ -f "$RONZAL_HOME/models/ronzal-demo.gguf" ] && [ -f "$RONZAL_HOME/config/host.conf" ] &&
		grep -qx OTHER=1 "$CHECKOUT/.env" && ! grep -q RONZAL_SSH_FOLDER "$CHECKOUT/.env" ||
		{ cat "$T/out"; return 1; }
	for pid in $engines; do
		! kill -0 "$pid" 2>/dev/null || { echo "engine $pid still runs"; return 1; }
	done
}
check uninstall_takes_back_what_is_ours_and_nothing_else way_back
