#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The agent as a systemd user unit: a container with systemd as its first process stands for a whole
# machine, into which a user logs in by ssh and runs set-up as he would there.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/docker.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
docker_begin
docker_base
NAME=ronzal-test-machine
IMAGE=ronzal-test-systemd
trap 'docker rm -f $NAME >/dev/null 2>&1; docker_end; rm -rf "$T"' EXIT

# Programs of here with their libraries, a user with a key, and an engine that all can read.
machine_image() {
	engine=$(scripts/engine.sh --print-path 2>/dev/null) || docker_skip 'no llama-server: scripts/engine.sh'
	mkdir -p "$T/machine/root/home/ann/.ssh" "$T/machine/root/usr/local"
	mkdir "$CHECKOUT/build"
	for program in ronzal ronzal-gate ronzal-shim ronzal-fetch; do
		deploy/collect.sh "$T/libraries" "$RONZAL_BUILD/$program"
		cp "$RONZAL_BUILD/$program" "$CHECKOUT/build/"
	done
	mkdir -p "$T/machine/root/usr/lib"
	[ ! -d "$T/libraries/lib" ] || cp -R "$T/libraries/lib/." "$T/machine/root/usr/lib/" # /lib is a link to it
	[ ! -d "$T/libraries/usr/lib" ] || cp -R "$T/libraries/usr/lib/." "$T/machine/root/usr/lib/"
	mv "$CHECKOUT" "$T/machine/root/home/ann/ronzal"
	CHECKOUT=
	case $engine in
	*/bin/llama-server)
		cp -R "${engine%/bin/llama-server}" "$T/machine/root/usr/local/engine"
		sed "s|^root=.*|root=/usr/local/engine|" "$engine" >"$T/machine/root/usr/local/engine/bin/llama-server"
		;;
	esac
	ssh-keygen -q -t ed25519 -N '' -f "$T/machine/root/home/ann/.ssh/id_ed25519"
	cp "$T/machine/root/home/ann/.ssh/id_ed25519.pub" "$T/machine/root/home/ann/.ssh/authorized_keys"
	cat >"$T/machine/Dockerfile" <<-END
		FROM ${RONZAL_BASE:-debian:trixie-slim}
		RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
			--no-install-recommends systemd systemd-sysv dbus dbus-user-session libpam-systemd polkitd \
			openssh-server openssh-client procps curl && useradd -m -s /bin/bash ann
		COPY root /
		RUN ln -sf /usr/local/engine/bin/llama-server /usr/local/bin/ && chown -R ann:ann /home/ann && \
			chmod 700 /home/ann/.ssh && chmod -R a+rX /usr/local
	END
	docker build --network host -q -t $IMAGE "$T/machine" >"$T/build.log" 2>&1
}

# Not privileged: systemd needs its cgroups and may mount, no more.
machine_runs() {
	docker run -d --name $NAME --cap-add SYS_ADMIN --security-opt seccomp=unconfined --cgroupns=host \
		-v /sys/fs/cgroup:/sys/fs/cgroup:rw --tmpfs /run:exec --tmpfs /run/lock --tmpfs /tmp \
		$IMAGE /sbin/init >/dev/null 2>"$T/out" || return 1
	within 60 as_ann true
}

as_ann() { # COMMAND: in a login of its own, as PAM and systemd make it
	docker exec -u ann $NAME ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR -o ConnectTimeout=5 \
		ann@127.0.0.1 "$1" </dev/null >"$T/out" 2>&1
}

RONZAL=.local/libexec/ronzal/ronzal
agent_pid() { as_ann "$RONZAL service status" && sed -n 's/.*(pid \([0-9]*\)).*/\1/p' "$T/out"; }
engines() { docker exec $NAME ps -eo pid,args | awk '/ --port / && !/ronzal-shim/ { print $1 }'; }

machine_image || docker_skip "no image with systemd: $(tail -n 1 "$T/build.log" | cut -c1-200)"
machine_runs || docker_skip "systemd does not run in a container here: $(head -c 200 "$T/out")"

sets_up() {
	as_ann 'cd ronzal && ./scripts/setup-ssh-automation.sh --yes' || { tail -12 "$T/out"; return 1; }
	grep -q 'as the systemd user unit' "$T/out" && grep -q 'the agent answers' "$T/out" &&
		grep -q '^did *linger' "$T/out" || { cat "$T/out"; return 1; }
}
check set_up_installs_the_agent_as_a_systemd_user_unit_that_lingers sets_up

outlives_logins() {
	before=$(agent_pid)
	as_ann "printf '{\"models\":{\"demo\":{\"file_path\":\"/models/ronzal-demo.gguf\",\"enabled\":true}}}' \
		>.local/state/ronzal/registry/model_registry.json && $RONZAL start" || { tail -5 "$T/out"; return 1; }
	[ "$(engines | grep -c .)" -eq 1 ] || { echo "engines: $(engines)"; return 1; }
	sleep 3 # no login is left
	[ -n "$before" ] && [ "$before" = "$(agent_pid)" ] && [ "$(engines | grep -c .)" -eq 1 ]
}
check it_outlives_the_login_that_made_it outlives_logins

comes_back() {
	before=$(engines)
	agent=$(agent_pid)
	docker exec $NAME kill -9 "$agent"
	other_agent() { now=$(agent_pid) && [ -n "$now" ] && [ "$now" != "$agent" ]; }
	within 30 other_agent || return 1
	[ "$before" = "$(engines)" ] || { echo "were $before, are $(engines)"; return 1; }
	as_ann 'systemctl --user restart ronzal' || { cat "$T/out"; return 1; }
	[ "$before" = "$(engines)" ] || { echo "were $before, after a restart $(engines)"; return 1; }
}
check systemd_starts_a_killed_agent_again_which_finds_the_same_engine comes_back

goes_away() {
	as_ann 'cd ronzal && ./scripts/setup-ssh-automation.sh --uninstall --yes' || { cat "$T/out"; return 1; }
	[ -z "$(engines)" ] && ! as_ann 'systemctl --user is-enabled ronzal'
}
check uninstall_takes_the_unit_away_and_ends_the_engine goes_away
