#!/bin/sh
# SPDX-License-Identifier: MIT
#
# How fast starts, readiness and deaths are.
#
#   start all: COUNT (8) smoke models by `ronzal start`, from the command to its exit, against the
#              same llama-servers with the same arguments started by a shell loop until each says
#              200, each in a session of its own as ronzal's are (the scheduler may share the cores
#              by session). In turns, ROUNDS (7) times; medians. Aim: at most 1.15 times + 150 ms.
#   noticed:   from an engine's first 200 to the client's `ready`; from SIGKILL to its `backoff`.
#
# BUILD=build, COUNT, ROUNDS, PORT (19750).
set -eu
cd "$(dirname "$0")/.."
build=$PWD/${BUILD:-build}
count=${COUNT:-8}
rounds=${ROUNDS:-7}
port=${PORT:-19750}
RONZAL_TEST_FULL=1 "$build/tests/tools/agent-test" "$build" demo/ronzal-demo.gguf \
	readiness_is_noticed a_killed_engine | sed -n 's/^# //p; /^not ok/p'
[ -r /proc/self/cmdline ] || { echo 'skip starts: it reads arguments in /proc' && exit 0; }
engine=$(scripts/engine.sh --find 2>/dev/null) ||
	{ echo 'skip starts: there is no llama-server (scripts/engine.sh installs it)' && exit 0; }
work=$(mktemp -d)
pids=
agent=
end() { # PID...
	kill "$@" 2>/dev/null || :
	wait "$@" 2>/dev/null || :
}
finish() {
	[ -z "$pids" ] || end $pids
	[ -z "$agent" ] || { "$build/ronzal" stop >>"$work/log" 2>&1 || : && end "$agent"; }
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

mkdir "$work/models"
last=$((port + count - 1))
ports=$(seq "$port" "$last")
for p in $ports; do
	cp demo/ronzal-demo.gguf "$work/models/m$p.gguf"
	printf ',"m%s":{"file_path":"/models/m%s.gguf","port":%s,"enabled":true}' "$p" "$p" "$p"
done | sed 's/^,/{"models":{/; s/$/}}/' >"$work/registry.json"
export RONZAL_HOME="$work/home" RONZAL_REGISTRY="$work/registry.json" RONZAL_BIND=127.0.0.1 \
	RONZAL_MODEL_ROOTS="$work/models" RONZAL_ENGINE="$engine" \
	RONZAL_ENGINE_PORT_MIN="$port" RONZAL_ENGINE_PORT_MAX="$last"
"$build/ronzal" agent >>"$work/log" 2>&1 &
agent=$!
n=0
until [ -S "$work/home/run/agent.sock" ] || [ $n -eq 100 ]; do sleep 0.1 && n=$((n + 1)); done
"$build/ronzal" start >>"$work/log" 2>&1 || { cat "$work/log" && exit 1; }

# The engines' own arguments; their key files are gone once they are read.
for p in $ports; do
	pid=$(cut -d ' ' -f 4 "$work/home/run/shim-$p.id")
	tr '\0' '\n' <"/proc/$pid/cmdline" | sed "s/'/'\\\\''/g; s/.*/'&'/" | tr '\n' ' ' >"$work/argv.$p"
	echo secret >"$work/home/run/key-$p.loop"
	sed -i "s,/run/key-$p',/run/key-$p.loop'," "$work/argv.$p"
done
"$build/ronzal" stop >>"$work/log" 2>&1

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}
median() { # FILE
	sort -n "$1" | sed -n "$(((rounds + 1) / 2))p"
}

i=0
while [ $i -lt "$rounds" ]; do
	begun=$(now_ms)
	for p in $ports; do
		setsid sh -c "exec $(cat "$work/argv.$p")" >"$work/engine.$p" 2>&1 </dev/null &
		pids="$pids $!"
	done
	"$build/bench/until-ready" $ports
	echo $(($(now_ms) - begun)) >>"$work/loop"
	end $pids
	pids=
	begun=$(now_ms)
	"$build/ronzal" start >>"$work/log" 2>&1
	echo $(($(now_ms) - begun)) >>"$work/ronzal"
	"$build/ronzal" stop >>"$work/log" 2>&1
	i=$((i + 1))
done
ours=$(median "$work/ronzal")
loop=$(median "$work/loop")
awk -v n="$count" -v o="$ours" -v l="$loop" 'BEGIN { printf "start all of %d: %d ms; by a shell loop: %d ms; aim: %d ms at most: %s\n",
	n, o, l, l * 1.15 + 150, o <= l * 1.15 + 150 ? "met" : "MISSED" }'
