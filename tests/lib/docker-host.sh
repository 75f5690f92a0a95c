# SPDX-License-Identifier: MIT
#
# The host's side of the Docker tests: a user of his own with a home, and a real sshd on the Docker
# bridge that lets him in. Sourced after tests/lib/docker.sh; needs root.
#
#   seed_begin UID PORT    docker_begin, docker_images, host_begin
#   starts_all_on_the_host
#   host_begin UID PORT    adds the user, starts sshd; $HOST_HOME, $HOST_ENGINE (llama-server)
#   as_host COMMAND...     runs it as that user, in $CHECKOUT, with his environment
#   host_end               ends sshd, the agent, the engines; removes the user

# The images, that user, and this machine's ports: what a test of the whole path begins with.
seed_begin() { # UID PORT
	RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
	docker_begin
	docker_needs_ports
	docker_images >"$T/images" || { cat "$T/images"; exit 1; }
	host_begin "$1" "$2"
}

# The seed's edit and its call: two engines on the host, 8080 and 8081.
starts_all_on_the_host() {
	set_mode true
	up frontend backend host-api || return 1
	within 60 curl -sf "$API/ready" >/dev/null || { curl -s "$API/ready"; return 1; }
	curl -s -m 120 -X POST "$API/api/models/servers/start-all?wait=60" >"$T/out"
	[ "$(host_engines | grep -c .)" -eq 2 ] || { cat "$T/out"; return 1; }
	for engine_port in 8080 8081; do
		curl -sf "http://127.0.0.1:$engine_port/health" >/dev/null || { echo "nothing on $engine_port"; return 1; }
	done
}

host_begin() { # UID PORT
	[ "$(id -u)" -eq 0 ] || docker_skip 'needs root, to be the host and one of its users'
	HOST_USER=ronzal-test-$$ HOST_UID=$1 HOST_SSH_PORT=$2
	HOST_HOME=$T/home
	trap 'docker_end; host_end; rm -rf "$T"' EXIT
	while getent passwd "$HOST_UID" >/dev/null || getent group "$HOST_UID" >/dev/null; do
		HOST_UID=$((HOST_UID + 1)) # somebody has that one
	done
	echo "# the host's user is $HOST_UID"
	useradd -u "$HOST_UID" -M -d "$HOST_HOME" -s /bin/bash -p '*' "$HOST_USER" || exit 1
	mkdir -m 755 "$HOST_HOME" && chown -R "$HOST_USER" "$HOST_HOME" "$CHECKOUT"
	[ -d /run/sshd ] || mkdir -p -m 0755 /run/sshd
	[ -f "$T/host_key" ] || ssh-keygen -q -t ed25519 -N '' -f "$T/host_key"
	cat >"$T/sshd_config" <<-END
		Port $HOST_SSH_PORT
		ListenAddress 127.0.0.1
		ListenAddress $BRIDGE
		HostKey $T/host_key
		AuthorizedKeysFile .ssh/authorized_keys
		PidFile $T/sshd.pid
		StrictModes no
		UsePAM no
		PasswordAuthentication no
		AcceptEnv LANG LC_*
	END
	"$(sshd_program)" -D -e -f "$T/sshd_config" >>"$T/sshd.log" 2>&1 &
	SSHD=$!
	HOST_ENGINE=$(scripts/engine.sh --print-path 2>/dev/null) || docker_skip 'no llama-server: scripts/engine.sh'
	host_engine "$HOST_ENGINE"
}

# The user can neither see root's home nor this checkout: he gets copies.
host_engine() { # PATH
	case $1 in
	"$HOME"/*)
		mkdir -p "$HOST_HOME/.local/share/ronzal"
		cp -R "${1%/bin/llama-server}" "$HOST_HOME/.local/share/ronzal/engine"
		sed "s|'$HOME/|'$HOST_HOME/|" "$1" >"$HOST_HOME/.local/share/ronzal/engine/bin/llama-server"
		;;
	*) ln -s "$1" "$HOST_HOME/llama-server" ;;
	esac
	mkdir -p "$CHECKOUT/build"
	cp "$RONZAL_BUILD/ronzal" "$RONZAL_BUILD/ronzal-gate" "$RONZAL_BUILD/ronzal-shim" "$CHECKOUT/build/"
	[ ! -f "$RONZAL_BUILD/ronzal-fetch" ] || cp "$RONZAL_BUILD/ronzal-fetch" "$CHECKOUT/build/"
	chown -R "$HOST_USER" "$HOST_HOME" "$CHECKOUT"
}

as_host() {
	(cd "$CHECKOUT" && setpriv --reuid "$HOST_UID" --regid "$HOST_UID" --clear-groups \
		env -i HOME="$HOST_HOME" USER="$HOST_USER" LOGNAME="$HOST_USER" SHELL=/bin/bash \
		PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin NO_COLOR=1 RONZAL_SSH_PORT="$HOST_SSH_PORT" "$@")
}

host_end() {
	[ ! -x "$HOST_HOME/.local/libexec/ronzal/ronzal" ] ||
		as_host "$HOST_HOME/.local/libexec/ronzal/ronzal" service uninstall >/dev/null 2>&1
	if [ -n "${SSHD:-}" ]; then
		kill "$SSHD" 2>/dev/null
		wait "$SSHD" 2>/dev/null
		SSHD=
	fi
	userdel "$HOST_USER" >/dev/null 2>&1
}

# The user's engines outside of containers, by pid; their shims carry the same words, but later.
host_engines() {
	ps -u "$HOST_UID" -o pid=,args= | awk '/--alias/ && $2 !~ /ronzal-shim$/ { print $1 }' |
		while read -r pid; do
			grep -q docker "/proc/$pid/cgroup" 2>/dev/null || echo "$pid"
		done | sort
}
