#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The seed's path for a user whose number is no container's usual one: 501, a Mac's first user.
# Everything in containers runs as him, or ssh would refuse its key. For 1000: seed.sh.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/docker.sh
. tests/lib/docker-host.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
docker_begin
docker_needs_ports
docker_images >"$T/images" || { cat "$T/images"; exit 1; }
host_begin 501 19578
exec 3>&1

on_the_host() {
	as_host ./scripts/setup-ssh-automation.sh --yes --background >"$T/out" 2>&1 || { tail -5 "$T/out"; return 1; }
	grep -qx "RONZAL_UID=$HOST_UID" "$CHECKOUT/.env" || { cat "$CHECKOUT/.env"; return 1; }
	set_mode true
	up frontend backend host-api || return 1
	for service in frontend backend host-api; do
		[ "$(docker inspect -f '{{.Config.User}}' "$(container $service)")" = "$HOST_UID:$HOST_UID" ] || return 1
	done
	within 60 curl -sf "$API/ready" >/dev/null || { curl -s "$API/ready"; return 1; }
	curl -s -m 120 -X POST "$API/api/models/servers/start-all?wait=60" >"$T/out"
	[ "$(host_engines | grep -c .)" -eq 2 ] || { cat "$T/out"; return 1; }
	chat_answers ronzal-demo || { cat "$T/chat"; return 1; }
}
check a_user_501_sets_up_starts_all_on_the_host_and_chats logs_on_failure on_the_host

stops() {
	compose stop >"$T/out" 2>&1
	[ -z "$(host_engines)" ]
}
check docker_compose_stop_ends_his_servers stops
