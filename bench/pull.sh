#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A download from loopback, beside curl's of the same file, in turns: medians of ROUNDS (3).
#
#   download: until the last byte is written, by either
#   whole: until its SHA-256 is checked, it is on the disk (fsync) and the model registered
#   memory: the peak of ronzal-fetch (VmHWM)
#
# BUILD=build, ROUNDS, MIB (1024).
set -eu
cd "$(dirname "$0")/.."
build=$PWD/${BUILD:-build}
rounds=${ROUNDS:-3}
mib=${MIB:-1024}
for tool in node curl; do
	command -v $tool >/dev/null || { echo "skip pull: $tool is not installed"; exit 0; }
done
work=$(mktemp -d)
hub=
finish() {
	[ -z "$hub" ] || { kill "$hub" 2>/dev/null && wait "$hub" 2>/dev/null; }
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

# Zeros behind a real head: nobody on the way compresses, and the disk of the hub is not measured.
mkdir -p "$work/repos/big"
"$build/tests/tools/make-gguf" "$work/repos/big/Big-F16.gguf" sparse=1 embd=4096 ff=16384 heads=32 \
	vocab=32000 layers=$(((mib - 500) / 480)) name=big
node tests/lib/fake-hub.mjs "$work/repos" "$work/port" "$work/log" &
hub=$!
until [ -s "$work/port" ]; do sleep 0.1; done
HF_ENDPOINT=http://127.0.0.1:$(cat "$work/port")
export HF_ENDPOINT HF_HUB_CACHE="$work/hub" RONZAL_HOME="$work/ronzal" RONZAL_MODEL_ROOTS="$work/hub"
unset http_proxy https_proxy HF_TOKEN HF_HOME
url=$HF_ENDPOINT/good/big/resolve/main/Big-F16.gguf
curl -s -o "$work/null" "$HF_ENDPOINT/api/models/good/big/revision/main" # it hashes once

now_ms() { echo $(($(date +%s%N) / 1000000)); }
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# The peak memory in KiB of the ronzal-fetch under PARENT.
watch() { # PARENT
	while :; do
		for pid in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
			awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" >>"$work/peaks" 2>/dev/null || :
		done
		sleep 0.05
	done
}

mkfifo "$work/pipe"
i=0
while [ $i -lt "$rounds" ]; do
	rm -f "$work/out"
	begin=$(now_ms)
	curl -sL -o "$work/out" "$url"
	echo $(($(now_ms) - begin)) >>"$work/curl"
	rm -rf "$work/out" "$work/hub" "$work/ronzal"
	begin=$(now_ms)
	"$build/ronzal" pull good/big:F16 --json >"$work/pipe" 2>&1 </dev/null &
	pid=$!
	watch $pid &
	watcher=$!
	while read -r line; do
		case $line in
		*'"phase":"checking"'*) [ -s "$work/last" ] || echo $(($(now_ms) - begin)) >"$work/last" ;;
		*'"port"'*) echo $(($(now_ms) - begin)) >>"$work/whole" ;;
		*'"error_code":"'*) echo "$line" && exit 1 ;;
		esac
	done <"$work/pipe"
	wait $pid
	kill $watcher
	cat "$work/last" >>"$work/ronzal"
	: >"$work/last"
	i=$((i + 1))
done
bytes=$(wc -c <"$work/repos/big/Big-F16.gguf")
awk -v bytes="$bytes" -v curl="$(median "$work/curl")" -v ours="$(median "$work/ronzal")" \
	-v whole="$(median "$work/whole")" -v peak="$(sort -n "$work/peaks" | tail -n 1)" 'BEGIN {
	mib = bytes / 1048576
	printf "%.0f MiB from loopback\n", mib
	printf "  curl           %5.2f s  %5.0f MiB/s\n", curl / 1000, mib * 1000 / curl
	printf "  ronzal pull    %5.2f s  %5.0f MiB/s, %.2f of curl\n", ours / 1000, mib * 1000 / ours, curl / ours
	printf "  ... whole      %5.2f s  checked, on the disk, registered\n", whole / 1000
	printf "  ronzal-fetch   %5.1f MiB at its peak\n", peak / 1024
}'
