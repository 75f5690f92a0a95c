#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The wrapper and the gate as programs, without sshd: what they run, refuse, log and cost.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/gate-home.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
T=$(mktemp -d /tmp/ronzal-test.XXXXXX) || exit 1
trap 'rm -rf "$T"' EXIT
gate_home_make
LOG=$RHOME/logs/gate.log

# As sshd would call it; the command is $1.
gate() {
	SSH_ORIGINAL_COMMAND=$1 SSH_CONNECTION='192.0.2.7 5022 192.0.2.1 22' \
		"$LIBEXEC/ssh-wrapper.sh" "$RHOME" </dev/null
}

runs_the_script_of_the_verb() {
	for verb in start stop; do
		gate $verb-metal-servers >"$T/out" 2>"$T/err"
		[ $? -eq 7 ] || { echo "status of $verb"; return 1; }
		grep -qx "script: $verb" "$T/out" && grep -qx 'arguments: 0' "$T/out" &&
			grep -qx "words from $verb" "$T/err" || { cat "$T/out" "$T/err"; return 1; }
	done
}
check runs_the_script_of_the_verb_and_hands_back_its_status runs_the_script_of_the_verb

passes_nothing_of_the_environment() {
	home=$(getent passwd "$(id -un)" 2>/dev/null | cut -d: -f6)
	SSH_ORIGINAL_COMMAND=start-metal-servers LC_ALL=C.UTF-8 ENV=$T/evil BASH_ENV=$T/evil IFS=/ \
		PATH=$T:$PATH HOME=$T RONZAL_HOME=$T/evil LLAMA_ARG_TOOLS=all XDG_RUNTIME_DIR=$T \
		CDPATH=$T GLIBC_TUNABLES=x=y "$LIBEXEC/ssh-wrapper.sh" "$RHOME" </dev/null 2>&1 |
		grep '^env:' | sort >"$T/out"
	printf 'env: %s\n' "HOME=${home:-$HOME}" PATH=/usr/bin:/bin:/usr/sbin:/sbin "RONZAL_HOME=$RHOME" |
		sort >"$T/expected"
	diff "$T/expected" "$T/out"
}
check passes_nothing_of_the_environment_on passes_nothing_of_the_environment

refuses() { # COMMAND
	gate "$1" >"$T/out" 2>"$T/err"
	status=$?
	[ $status -eq 4 ] && [ ! -s "$T/out" ] &&
		grep -q '^ronzal: this key runs start-metal-servers and stop-metal-servers, nothing else$' \
			"$T/err"
}
refuses_everything_else() {
	newline='
'
	huge=$(head -c 131000 /dev/zero | tr '\0' a)
	for command in '' ' ' id 'start-metal-servers ' ' start-metal-servers' "start-metal-servers$newline" \
		"${newline}stop-metal-servers" 'start-metal-servers; id' 'start-metal-servers && id' \
		'start-metal-servers$(id)' '`start-metal-servers`' 'start-metal-server[s]' \
		'start-metal-servers*' '"start-metal-servers"' "'start-metal-servers'" START-METAL-SERVERS \
		'start-metal-servers --stdio' "$(printf 'start-metal-servers\r')" \
		"$(printf 'start\342\200\220metal\342\200\220servers')" 'start metal servers' start stop \
		internal-sftp /usr/lib/openssh/sftp-server 'scp -t /tmp' 'rsync --server' "$huge" \
		"start-metal-servers$huge"; do
		refuses "$command" || { printf 'not refused: %.60s (%s)\n' "$command" "$status"; return 1; }
	done
	env -u SSH_ORIGINAL_COMMAND "$LIBEXEC/ssh-wrapper.sh" "$RHOME" >"$T/out" 2>&1
	[ $? -eq 4 ] || { echo 'not refused: no command at all'; return 1; }
}
check refuses_everything_but_the_two_commands refuses_everything_else

writes_one_line_a_call() {
	rm -f "$LOG"
	gate start-metal-servers >/dev/null 2>&1
	gate "$(printf 'rm -rf "/"\033[2J\nforged line')" >/dev/null 2>&1
	[ "$(wc -l <"$LOG")" -eq 2 ] || { cat "$LOG"; return 1; }
	grep -q '^20[0-9-]*T[0-9:]*Z accepted "start-metal-servers" (19 bytes) from 192.0.2.7 5022 ' "$LOG" &&
		grep -qF 'refused "rm -rf \x22/\x22\x1b[2J\x0aforged line" (26 bytes) from 192.0.2.7' "$LOG" &&
		[ "$(find "$LOG" -perm 600)" = "$LOG" ] || { cat "$LOG"; return 1; }
}
check writes_one_audit_line_a_call_which_cannot_be_forged writes_one_line_a_call

keeps_the_log_small() {
	head -c 1048576 /dev/zero | tr '\0' a >"$LOG"
	gate start-metal-servers >/dev/null 2>&1
	gate stop-metal-servers >/dev/null 2>&1
	[ "$(wc -c <"$LOG")" -lt 200 ] && [ "$(wc -c <"$LOG.1")" -gt 1048576 ] || { ls -l "$LOG"*; return 1; }
}
check keeps_the_audit_log_small keeps_the_log_small

goes_on_without_a_log() {
	rm -f "$LOG"
	ln -s "$T/elsewhere" "$LOG"
	gate stop-metal-servers >"$T/out" 2>"$T/err"
	[ $? -eq 7 ] && grep -q "^ronzal: gate: no line in $LOG: " "$T/err" && [ ! -e "$T/elsewhere" ]
	result=$?
	rm -f "$LOG"
	return $result
}
check a_log_that_cannot_be_written_keeps_nobody_from_a_stop goes_on_without_a_log

says_what_is_damaged() {
	mkdir "$T/bare"
	cp scripts/ssh-wrapper.sh "$RONZAL_BUILD/ronzal-gate" "$T/bare/"
	SSH_ORIGINAL_COMMAND=start-metal-servers "$T/bare/ssh-wrapper.sh" "$RHOME" 2>"$T/err"
	[ $? -eq 14 ] && grep -q 'start-host-llama-servers.sh: No such file.*run setup-ssh-automation.sh' \
		"$T/err" || { cat "$T/err"; return 1; }
	(cd "$T/bare" && SSH_ORIGINAL_COMMAND=start-metal-servers ./ronzal-gate 2>"$T/err")
	[ $? -eq 14 ] && grep -q 'full path' "$T/err" || { cat "$T/err"; return 1; }
}
check a_damaged_copy_says_so_with_an_exit_code_of_its_own says_what_is_damaged

costs_little() {
	times=$(SSH_ORIGINAL_COMMAND=id "$RONZAL_BUILD/tests/tools/spawn-time" 300 "$LIBEXEC/ronzal-gate" \
		"$RHOME") || return 1
	echo "# gate, from spawn to exit: $times" >&3
	set -- $times
	[ "$6" -eq 4 ] && [ "$4" -lt 5000 ] || { echo "$times"; return 1; }
}
exec 3>&1
check takes_under_five_milliseconds_of_its_own costs_little
