#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Instructions of the gateway's hot path, counted by callgrind: a figure without noise. What a
# request, and an event of a stream, costs is the difference of two runs of different length, so
# that start and end cancel out. All threads, SQLite included; the kernel is not in it.
#
# BUILD=build, PORT (19730).
set -eu
cd "$(dirname "$0")/.."
build=$PWD/${BUILD:-build}
port=${PORT:-19730}
command -v valgrind >/dev/null || { echo 'skip callgrind: valgrind is not installed'; exit 0; }
work='' last='' pids='' ronzal_pid='' ronzal_port='' engine_port='' # the rig sets them
. bench/lib/rig.sh

total() { # ARGUMENTS of loadgen...
	rm -f "$work/counts"
	start_ronzal valgrind --tool=callgrind --callgrind-out-file="$work/counts"
	load "$ronzal_port" "$@" >>"$work/log"
	"$build/ronzal" stop bench >>"$work/log" 2>&1
	for pid in $pids; do kill "$pid"; wait "$pid" || :; done
	pids=
	awk '/^(summary|totals):/ { n = $2 } END { print n }' "$work/counts"
}

per() { # MORE FEWER COUNT
	echo $((($1 - $2) / $3))
}

few=$(total plain 200 16)
many=$(total plain 1200 16)
echo "instructions per request: $(per "$many" "$few" 1000)"
few=$(total stream 20 10 10)
many=$(total stream 20 110 10)
echo "instructions per event: $(per "$many" "$few" 2000)"
