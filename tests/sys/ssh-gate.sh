#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The restricted key through a real sshd on loopback: what runs, what does not, and what the client
# is told.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/gate-home.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
sshd_begin 19500
gate_home_make
printf 'restrict,command="%s/ssh-wrapper.sh %s" %s\n' "$LIBEXEC" "$RHOME" "$(cat "$T/key.pub")" \
	>"$T/authorized_keys"
LOG=$RHOME/logs/gate.log

host() { # SSH-OPTIONS... host [COMMAND]
	timeout 60 ssh -F "$T/ssh_config" "$@"
}
accepted() { grep -c ' accepted ' "$LOG" 2>/dev/null; }
nothing_new_ran() { # the number of accepted calls before
	[ "$(accepted)" = "$1" ] || { echo "something ran"; tail -2 "$LOG"; return 1; }
}

both_verbs() {
	for verb in start stop; do
		echo "from the client" | host host $verb-metal-servers >"$T/out" 2>"$T/err"
		[ $? -eq 7 ] || { echo "status of $verb"; cat "$T/err"; return 1; }
		grep -qx "script: $verb" "$T/out" && grep -qx 'stdin: from the client' "$T/out" &&
			grep -q "words from $verb" "$T/err" || { cat "$T/out" "$T/err"; return 1; }
	done
}
check both_verbs_run_and_status_output_and_input_come_through both_verbs

any_folder() {
	for folder in / /proc "$T"; do
		(cd "$folder" && host -n host start-metal-servers) >"$T/out" 2>&1
		[ $? -eq 7 ] && ! grep -q "env: [^HPR]" "$T/out" || { cat "$T/out"; return 1; }
	done
	env -i PATH="$PATH" ssh -F "$T/ssh_config" -n host stop-metal-servers >"$T/out" 2>&1
	[ $? -eq 7 ]
}
check runs_from_any_folder_and_with_an_empty_environment any_folder

# No command at all is refused at once, and refused commands have a status of their own.
refuses() {
	before=$(accepted)
	for command in id 'start-metal-servers;id' 'start-metal-servers ' 'start-metal-servers
id' 'stop-metal-servers && id' '$(start-metal-servers)' 'STOP-METAL-SERVERS' 'start-metal-servers x' \
		"'start-metal-servers'" 'sh -c start-metal-servers' "$(printf 'stop-metal-servers\r')" \
		"start-metal-servers$(head -c 100000 /dev/zero | tr '\0' ' ')"; do
		host -n host "$command" >"$T/out" 2>"$T/err"
		[ $? -eq 4 ] && [ ! -s "$T/out" ] && grep -q 'nothing else$' "$T/err" ||
			{ printf 'not refused: %.40s\n' "$command"; return 1; }
	done
	host -n host </dev/null >"$T/out" 2>"$T/err"
	[ $? -eq 4 ] || { echo 'not refused: a login'; cat "$T/err"; return 1; }
	nothing_new_ran "$before"
}
check other_commands_and_logins_are_refused_with_their_own_status refuses

forwards() {
	before=$(accepted)
	# A remote forward is refused by sshd, and the client leaves.
	host -N -o ExitOnForwardFailure=yes -R 19590:127.0.0.1:1 host </dev/null >"$T/err" 2>&1 &&
		{ echo 'forwards -R'; return 1; }
	grep -q 'remote port forwarding failed' "$T/err" || { cat "$T/err"; return 1; }
	# The others open a channel to a place, which sshd prohibits. The place is this very sshd.
	host -o LogLevel=INFO -W "127.0.0.1:$PORT" host </dev/null >"$T/out" 2>"$T/err" && { echo 'forwards -W'; return 1; }
	! grep -q SSH- "$T/out" && grep -q 'prohibited' "$T/err" || { cat "$T/out" "$T/err"; return 1; }
	ssh-keyscan -T 20 -p "$PORT" 127.0.0.1 2>/dev/null | grep -q ed25519 || { echo keyscan; return 1; }
	timeout 60 ssh -F "$T/ssh_config" -o LogLevel=INFO -N -L 19591:127.0.0.1:"$PORT" -D 19592 host </dev/null \
		>"$T/err" 2>&1 &
	tunnel=$!
	curl -s --retry 100 --retry-delay 1 --retry-connrefused -m 2 -o /dev/null http://127.0.0.1:19592/ # until it listens
	ssh-keyscan -T 2 -p 19591 127.0.0.1 >"$T/out" 2>/dev/null
	curl -s -m 2 --http0.9 -x socks5h://127.0.0.1:19592 "http://127.0.0.1:$PORT/" >>"$T/out" 2>&1
	kill $tunnel 2>/dev/null
	wait $tunnel 2>/dev/null
	[ ! -s "$T/out" ] && [ "$(grep -c prohibited "$T/err")" -ge 2 ] ||
		{ cat "$T/out" "$T/err"; return 1; }
	nothing_new_ran "$before"
}
if command -v curl >/dev/null 2>&1; then
	check no_port_is_forwarded_by_L_R_D_or_W forwards
else
	skip no_port_is_forwarded_by_L_R_D_or_W 'no curl here'
fi

no_agent_no_display_no_terminal() {
	for flag in -A -X -Y; do
		DISPLAY=127.0.0.1:7 host -n $flag host start-metal-servers >"$T/out" 2>&1
		[ $? -eq 7 ] && ! grep -q 'SSH_AUTH_SOCK\|DISPLAY\|XAUTH' "$T/out" ||
			{ echo "$flag"; cat "$T/out"; return 1; }
	done
	before=$(accepted)
	host -tt host 'start-metal-servers' </dev/null >"$T/out" 2>&1
	grep -q 'PTY allocation request failed' "$T/out" && ! grep -q 'env: \(SSH_TTY\|TERM\)' "$T/out" ||
		{ cat "$T/out"; return 1; }
	# The client leaves at once; wait until the command that it had asked for was logged.
	tries=150
	while [ $tries -gt 0 ]; do
		[ "$(accepted)" = "$before" ] || return 0
		tries=$((tries - 1))
		sleep 0.2
	done
	echo 'the command of -tt was never logged'
	return 1
}
check agent_display_and_terminal_are_not_given no_agent_no_display_no_terminal

no_files() {
	before=$(accepted)
	echo x >"$T/file"
	echo "put $T/file $T/stolen" | timeout 60 sftp -q -F "$T/ssh_config" -b - host >"$T/out" 2>&1 &&
		{ echo sftp; return 1; }
	timeout 60 scp -q -F "$T/ssh_config" "$T/file" "host:$T/stolen" >"$T/out" 2>&1 &&
		{ echo scp; return 1; }
	timeout 60 scp -O -q -F "$T/ssh_config" "host:$T/host_key" "$T/stolen" >"$T/out" 2>&1 &&
		{ echo 'scp -O'; return 1; }
	host -n -s host sftp >"$T/out" 2>&1 && { echo subsystem; return 1; }
	[ ! -e "$T/stolen" ] && nothing_new_ran "$before"
}
check sftp_scp_and_subsystems_are_refused no_files

nothing_runs_with_N() {
	before=$(accepted)
	lines=$(wc -l <"$LOG")
	timeout 60 ssh -F "$T/ssh_config" -N -v -E "$T/ssh.log" host </dev/null >"$T/out" 2>&1 &
	waits=$!
	tries=150
	until grep -q 'Entering interactive session' "$T/ssh.log" 2>/dev/null || [ $tries -eq 0 ]; do
		tries=$((tries - 1))
		sleep 0.2
	done
	sleep 0.5
	kill $waits
	wait $waits 2>/dev/null
	grep -q 'Entering interactive session' "$T/ssh.log" || { tail -2 "$T/ssh.log"; return 1; }
	[ ! -s "$T/out" ] && [ "$(wc -l <"$LOG")" -eq "$lines" ] && nothing_new_ran "$before"
}
check a_connection_without_a_command_runs_nothing nothing_runs_with_N

environment_is_ours() {
	host -n -o 'SetEnv LC_ALL=x LC_EVIL=/tmp/x' -o 'SendEnv LC_*' host start-metal-servers \
		>"$T/out" 2>&1
	[ $? -eq 7 ] && ! grep -q 'env: LC_' "$T/out" || { cat "$T/out"; return 1; }
	for setting in ENV=$T/evil BASH_ENV=$T/evil PATH=$T LD_PRELOAD=$T/evil.so RONZAL_HOME=$T \
		SSH_ORIGINAL_COMMAND=id HOME=$T; do
		host -n -o "SetEnv $setting" host start-metal-servers >"$T/out" 2>&1
		[ $? -eq 7 ] && grep -qx "env: RONZAL_HOME=$RHOME" "$T/out" &&
			grep -qx 'env: PATH=/usr/bin:/bin:/usr/sbin:/sbin' "$T/out" &&
			! grep -q evil "$T/out" || { echo "$setting"; cat "$T/out"; return 1; }
	done
}
check variables_sent_by_the_client_reach_nothing environment_is_ours

# As set-up and doctor do it: variables that no program minds, which the gate looks out for.
canary() {
	host -n -o "SetEnv BASH_ENV=/nonexistent/ronzal-canary ZDOTDIR=/nonexistent/ronzal-canary" host \
		start-metal-servers >"$T/out" 2>&1
}
canary_does_not_arrive() {
	canary
	[ $? -eq 7 ] && ! grep -q canary "$T/out" || { cat "$T/out"; return 1; }
}
check an_ordinary_sshd_lets_no_canary_in canary_does_not_arrive

accept_env_all() {
	printf 'AcceptEnv *\n' >"$T/sshd_config.more"
	sshd_restart || return 1
	canary
	status=$?
	cp "$T/out" "$T/canary"
	host -n -o "SetEnv PATH=$T SSH_ORIGINAL_COMMAND=id RONZAL_HOME=$T LLAMA_ARG_TOOLS=all" host \
		start-metal-servers >"$T/out" 2>&1
	status="$status $?"
	rm "$T/sshd_config.more"
	sshd_restart || return 1
	[ "$status" = '4 7' ] && grep -q 'canary: sshd let in [A-Z_]*=/nonexistent' "$T/canary" &&
		grep -qx "env: RONZAL_HOME=$RHOME" "$T/out" && ! grep -q LLAMA "$T/out" ||
		{ echo "status $status"; cat "$T/canary" "$T/out"; return 1; }
}
check an_sshd_that_takes_every_variable_is_found_and_still_passes_none_on accept_env_all

host_key_changed() {
	before=$(accepted)
	mv "$T/host_key" "$T/host_key.old"
	mv "$T/host_key.pub" "$T/host_key.old.pub"
	ssh-keygen -q -t ed25519 -N '' -f "$T/host_key"
	cp "$T/known_hosts" "$T/known_hosts.old"
	sshd_restart || return 1
	cp "$T/known_hosts.old" "$T/known_hosts"
	host -n host start-metal-servers >"$T/out" 2>&1
	status=$?
	mv "$T/host_key.old" "$T/host_key"
	mv "$T/host_key.old.pub" "$T/host_key.pub"
	sshd_restart || return 1
	[ $status -eq 255 ] && grep -q 'Host key verification failed' "$T/out" || { cat "$T/out"; return 1; }
	nothing_new_ran "$before"
}
check a_changed_host_key_is_refused_by_the_client host_key_changed

other_key() {
	ssh-keygen -q -t ed25519 -N '' -f "$T/other"
	host -n -o IdentityFile="$T/other" -o IdentityFile=none host start-metal-servers >"$T/out" 2>&1
	ssh -F "$T/ssh_config" -i "$T/other" -o IdentityFile=/dev/null -n host id >/dev/null 2>&1
	sed "s|$T/key|$T/other|" "$T/ssh_config" >"$T/ssh_config.other"
	ssh -F "$T/ssh_config.other" -n host start-metal-servers >"$T/out" 2>&1
	[ $? -eq 255 ] && grep -q 'Permission denied (publickey)' "$T/out" || { cat "$T/out"; return 1; }
}
check another_key_gets_nowhere other_key

# In a home of its own (a mount of this test's namespace), for files that a login reads.
login_files() {
	mkdir -p "$T/loginhome/.ssh"
	echo "touch $T/rc-ran" >"$T/loginhome/.ssh/rc"
	for file in .bashrc .profile .bash_profile .zshenv; do
		echo 'echo noise of a login file; PATH=/nowhere; alias exec=false' >"$T/loginhome/$file"
	done
	echo 'PATH=/nowhere' >"$T/loginhome/.ssh/environment"
	printf 'PermitUserRC yes\nPermitUserEnvironment yes\n' >"$T/sshd_config.more"
	sshd_stop
	SSHD_PREFIX="unshare -m $T/in-own-home"
	cat >"$T/in-own-home" <<-END
		#!/bin/sh
		mount --bind "$T/loginhome" "$HOME" && exec "\$@"
	END
	chmod +x "$T/in-own-home"
	sshd_start "$PORT" || { tail -3 "$T/sshd.log"; return 1; }
	host -n host start-metal-servers >"$T/out" 2>&1
	[ $? -eq 7 ] && [ ! -e "$T/rc-ran" ] && grep -qx 'script: start' "$T/out" &&
		grep -qx 'env: PATH=/usr/bin:/bin:/usr/sbin:/sbin' "$T/out" || { cat "$T/out"; return 1; }
	grep -c noise "$T/out" | sed 's/^/# lines of noise before ours: /' >&3
}
exec 3>&1
if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
	check ssh_rc_is_not_run_and_shell_start_files_change_nothing login_files
else
	skip ssh_rc_is_not_run_and_shell_start_files_change_nothing 'needs root, for a home of its own'
fi
