# SPDX-License-Identifier: MIT
#
# A real sshd on loopback for the tests that source this file: own configuration, own host key, own
# authorized_keys, a high port, everything in a temporary folder. Works as root and as a plain user,
# who logs in as himself. Nothing of the machine's own sshd or ~/.ssh is read or changed.
#
#   sshd_begin PORT_FROM    makes $T and the keys, writes the files below, starts sshd on a free port
#   sshd_restart            after a change of $T/sshd_config.more: settings that go before ours and win
#   SSHD_PREFIX             words before the program, for a namespace of its own
#   sshd_end                ends sshd and removes $T; also done at exit
#
#   $T/sshd_config  $T/authorized_keys  $T/host_key  $T/key (the client's)  $T/known_hosts
#   $T/ssh_config   for "ssh -F $T/ssh_config host ..."        $PORT  the port
#
# Results: ok NAME, not_ok NAME WHY, skip NAME WHY; check NAME COMMAND... (output shown on failure).

ok() { echo "ok $1"; }
not_ok() { printf 'not ok %s: %s\n' "$1" "$2"; }
skip() { printf 'skip %s: %s\n' "$1" "$2"; }

check() { # NAME COMMAND...
	check_name=$1
	shift
	if "$@" >"$T/check.log" 2>&1; then
		ok "$check_name"
	else
		not_ok "$check_name" "$(head -c 600 "$T/check.log" | tr '\n' ' ')"
	fi
}

sshd_program() {
	for sshd_path in /usr/sbin/sshd /usr/local/sbin/sshd /opt/homebrew/sbin/sshd; do
		[ ! -x "$sshd_path" ] || { echo "$sshd_path" && return; }
	done
	return 1
}

sshd_write_config() { # PORT
	: >"$T/sshd_config"
	[ ! -f "$T/sshd_config.more" ] || cp "$T/sshd_config.more" "$T/sshd_config"
	cat >>"$T/sshd_config" <<-END
		Port $1
		ListenAddress 127.0.0.1
		HostKey $T/host_key
		AuthorizedKeysFile $T/authorized_keys
		PidFile $T/sshd.pid
		StrictModes no
		UsePAM no
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		PermitRootLogin prohibit-password
		AcceptEnv LANG LC_*
		X11Forwarding yes
		AllowAgentForwarding yes
		AllowTcpForwarding yes
		PermitTunnel yes
		MaxStartups 100
		Subsystem sftp internal-sftp
	END
}

sshd_write_client() { # PORT
	printf '[127.0.0.1]:%s %s\n' "$1" "$(cut -d' ' -f1,2 "$T/host_key.pub")" >"$T/known_hosts"
	cat >"$T/ssh_config" <<-END
		Host host
		HostName 127.0.0.1
		Port $1
		User $(id -un)
		IdentityFile $T/key
		IdentitiesOnly yes
		BatchMode yes
		PreferredAuthentications publickey
		StrictHostKeyChecking yes
		UserKnownHostsFile $T/known_hosts
		GlobalKnownHostsFile /dev/null
		ConnectTimeout 5
		LogLevel ERROR
	END
}

# Starts sshd on the first port from $1 on that it can have. 1 when it cannot run.
sshd_start() { # PORT_FROM
	PORT=$1
	while [ "$PORT" -lt $(($1 + 20)) ]; do
		sshd_write_config "$PORT"
		rm -f "$T/sshd.pid"
		# shellcheck disable=SC2086 # a command and its words
		${SSHD_PREFIX:-} "$(sshd_program)" -D -e -f "$T/sshd_config" >>"$T/sshd.log" 2>&1 &
		SSHD=$!
		sshd_tries=0
		while kill -0 "$SSHD" 2>/dev/null && [ $sshd_tries -lt 100 ]; do
			if [ -s "$T/sshd.pid" ]; then
				sshd_write_client "$PORT"
				return 0
			fi
			sleep 0.05
			sshd_tries=$((sshd_tries + 1))
		done
		sshd_stop
		PORT=$((PORT + 1))
	done
	return 1
}

sshd_stop() {
	if [ -n "${SSHD:-}" ]; then
		kill "$SSHD" 2>/dev/null
		wait "$SSHD" 2>/dev/null
		SSHD=
	fi
}

sshd_restart() {
	sshd_stop
	sshd_start "$PORT"
}

sshd_begin() { # PORT_FROM
	T=$(mktemp -d /tmp/ronzal-test.XXXXXX) || exit 1
	trap sshd_end EXIT
	trap 'exit 1' HUP INT TERM
	if ! sshd_program >/dev/null; then
		skip "$(basename "$0" .sh)" 'no sshd here: scripts/deps.sh --test'
		exit 0
	fi
	if [ "$(id -u)" -eq 0 ] && [ ! -d /run/sshd ] && [ "$(uname)" = Linux ]; then
		mkdir -p -m 0755 /run/sshd # where a root sshd separates its privileges
	fi
	ssh-keygen -q -t ed25519 -N '' -C host -f "$T/host_key"
	ssh-keygen -q -t ed25519 -N '' -C ronzal -f "$T/key"
	: >"$T/authorized_keys"
	sshd_start "$1" || { not_ok 'sshd runs on loopback' "$(tail -3 "$T/sshd.log")" && exit 1; }
}

sshd_end() {
	sshd_stop
	[ -z "${T:-}" ] || rm -rf "$T"
}
