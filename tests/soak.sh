#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A mixed soak of the gateway, built with ASan and UBSan: streams, slow readers, clients that leave,
# bodies over the limit, nonsense (tests/tools/soak-load.c), while the engine is killed every few
# seconds. No report, every request answered or cleanly ended, descriptors and memory flat.
#
# BUILD=build-asan-gcc (what "make soak" builds), SOAK_SECONDS=120, PORT (19870; and one behind it).
set -u
cd "$(dirname "$0")/.." || exit 1
build=${RONZAL_BUILD:-$PWD/${BUILD:-build-asan-gcc}}
seconds=${SOAK_SECONDS:-120}
port=${PORT:-19870}
rounds=6 # the first one warms up
fds_spare=8
rss_spare_kib=16384 # and an eighth: what a heap under ASan may wander by

T=$(mktemp -d) || exit 1
pids=
finish() {
	for pid in $pids; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
	rm -rf "$T"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

export RONZAL_HOME="$T/home" RONZAL_BACKEND_PORT=$port RONZAL_BODY_MAX_MIB=1 RONZAL_CONNS_MAX=1000
export RONZAL_ENGINE="$build/bench/engine" RONZAL_MODEL_ROOTS="$PWD/demo"
export RONZAL_ENGINE_PORT_MIN=$((port + 1)) RONZAL_ENGINE_PORT_MAX=$((port + 1))
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
export ASAN_OPTIONS="log_path=$T/report:quarantine_size_mb=8:detect_leaks=1:detect_stack_use_after_return=1"
unset USE_EXTERNAL_SERVERS
mkdir -p "$RONZAL_HOME/state"
chmod 700 "$RONZAL_HOME" "$RONZAL_HOME/state"
printf '{"models":{"bench":{"file_path":"/models/ronzal-demo.gguf","port":%d,"enabled":true}}}' \
	$((port + 1)) >"$RONZAL_HOME/state/model_registry.json"

servers() {
	curl -s -m 10 "http://127.0.0.1:$port/api/models/servers"
}

engine_pid() {
	servers | sed -n 's/.*"pid":\([1-9][0-9]*\).*/\1/p'
}

# Ends the engine's process as a crash would, waits a while, and has it started if it stays away.
kill_engines() {
	while :; do
		sleep 4
		victim=$(engine_pid)
		[ -z "$victim" ] || kill -9 "$victim" && echo killed >>"$T/kills"
		sleep 3
		curl -s -m 10 -o /dev/null -X POST "http://127.0.0.1:$port/api/models/servers/start-all"
	done
}

fds() {
	find "/proc/$backend/fd" -mindepth 1 2>/dev/null | wc -l
}

rss_kib() {
	awk '/^VmRSS/ { print $2 }' "/proc/$backend/status"
}

wait_ready() {
	n=0
	until servers | grep -q '"is_ready":true'; do
		n=$((n + 1))
		[ $n -lt 200 ] || return 1
		sleep 0.1
		curl -s -m 10 -o /dev/null -X POST "http://127.0.0.1:$port/api/models/servers/start-all?wait=5"
	done
}

"$build/ronzal" backend >"$T/log" 2>&1 &
backend=$!
pids=$backend
curl -s -m 60 --retry 60 --retry-connrefused --retry-delay 1 -o /dev/null "http://127.0.0.1:$port/health"
wait_ready || { echo 'not ok engine_starts'; cat "$T/log" "$T"/report.*; exit 1; }
kill_engines &
killer=$!

failed=0
round=0
while [ $round -lt $rounds ]; do
	"$build/tests/tools/soak-load" "$port" $((seconds / rounds)) $((round + $$)) >"$T/line" 2>"$T/said" ||
		failed=1
	echo "# round $((round + 1)) of $rounds: $(cat "$T/line")" && sed 's/^/# /' "$T/said"
	[ $round -eq 0 ] || [ $round -eq $((rounds - 1)) ] || { round=$((round + 1)) && continue; }
	# Kept connections to the engine close after 3 s, those of the load at once.
	sleep 5
	[ $round -ne 0 ] || { fds_first=$(fds) rss_first=$(rss_kib); }
	round=$((round + 1))
done
fds_last=$(fds) rss_last=$(rss_kib)
kill $killer && wait $killer 2>/dev/null
kill "$backend" 2>/dev/null && wait "$backend"
status=$?
pids=

judge() { # NAME WHY COMMAND...
	name=$1 why=$2
	shift 2
	if "$@"; then echo "ok $name"; else echo "not ok $name: $why"; fi
}
kills=$(wc -l <"$T/kills")
echo "# $kills engines killed; descriptors $fds_first, then $fds_last; RSS $rss_first KiB, then $rss_last KiB"
judge every_request_is_answered_or_cleanly_ended 'see above' [ $failed -eq 0 ]
judge engines_were_killed_meanwhile "$kills" [ "$kills" -gt 0 ]
judge descriptors_stay_flat "$fds_first, then $fds_last" [ "$fds_last" -le $((fds_first + fds_spare)) ]
judge memory_stays_flat "$rss_first KiB, then $rss_last KiB" \
	[ "$rss_last" -le $((rss_first + rss_first / 8 + rss_spare_kib)) ]
judge the_backend_ends_well "status $status" [ $status -eq 0 ]
cat "$T"/report.* >"$T/reports" 2>/dev/null
cat "$T/reports"
judge no_sanitizer_reports 'see above' [ ! -s "$T/reports" ]
