#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The seed's path for a user whose number is no container's usual one: 501, a Mac's first user.
# Everything in containers runs as him, or ssh would refuse its key. For 1000: seed.sh.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/docker.sh
. tests/lib/docker-host.sh
seed_begin 501 19578

on_the_host() {
	as_host ./scripts/setup-ssh-automation.sh --yes --background >"$T/out" 2>&1 || { tail -5 "$T/out"; return 1; }
	grep -qx "RONZAL_UID=$HOST_UID" "$CHECKOUT/.env" || { cat "$CHECKOUT/.env"; return 1; }
	starts_all_on_the_host || return 1
	for service in frontend backend host-api; do
		[ "$(docker inspect -f '{{.Config.User}}' "$(container $service)")" = "$HOST_UID:$HOST_UID" ] || return 1
	done
	chat_answers ronzal-demo || { cat "$T/chat"; return 1; }
}
check a_user_501_sets_up_starts_all_on_the_host_and_chats logs_on_failure on_the_host

stops() {
	compose stop >"$T/out" 2>&1
	[ -z "$(host_engines)" ]
}
check docker_compose_stop_ends_his_servers stops
