# SPDX-License-Identifier: MIT
#
# What the benchmarks share: programs in the background, and ronzal in front of the scripted engine.
# Expects $build, $port (and some behind it); all is ended and removed when the script ends.
last=$(($(nproc) - 1))
work=$(mktemp -d)
pids=
finish() {
	[ ! -S "$work/home/run/agent.sock" ] || "$build/ronzal" stop bench >>"$work/log" 2>&1 || :
	for pid in $pids; do kill "$pid" 2>/dev/null || :; done
	wait
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
# shellcheck disable=SC3045 # every shell that we meet has it
ulimit -n 20000 2>/dev/null || :

start() { # CORE COMMAND...
	core=$1
	shift
	taskset -c "$core" "$@" >>"$work/log" 2>&1 &
	pids="$! $pids"
}

wait_port() { # PORT
	n=0
	until curl -s -o "$work/null" "http://127.0.0.1:$1/v1/models"; do
		n=$((n + 1))
		[ $n -lt 300 ] || { echo "nothing listens on port $1"; cat "$work/log"; exit 1; }
		sleep 0.1
	done
}

# The gateway on $ronzal_port, its engine on $engine_port, its process in $ronzal_pid.
start_ronzal() { # [COMMAND... that runs the backend]
	ronzal_port=$((port + 4)) engine_port=$((port + 5))
	cp demo/ronzal-demo.gguf "$work/model.gguf"
	cat >"$work/registry.json" <<END
{"models":{"bench":{"file_path":"$work/model.gguf","port":$engine_port,"enabled":true}}}
END
	export RONZAL_HOME="$work/home" RONZAL_REGISTRY="$work/registry.json" \
		RONZAL_MODEL_ROOTS="$work" RONZAL_ENGINE="$build/bench/engine" \
		RONZAL_BACKEND_PORT=$ronzal_port RONZAL_CONNS_MAX=9900 RONZAL_BIND=127.0.0.1 \
		RONZAL_ENGINE_PORT_MIN=$engine_port RONZAL_ENGINE_PORT_MAX=$engine_port
	mkdir -p "$work/home"
	start "$last" "$build/ronzal" agent
	n=0
	until [ -S "$work/home/run/agent.sock" ] || [ $n -eq 100 ]; do sleep 0.1; n=$((n + 1)); done
	start 0 "$@" "$build/ronzal" backend --native
	ronzal_pid=${pids%% *}
	wait_port $ronzal_port
	"$build/ronzal" start bench >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
}

load() { # ARGUMENTS of loadgen...
	taskset -c "$last" "$build/bench/loadgen" "$@"
}

value() { # NAME LINE...
	name=$1
	shift
	for word in "$@"; do
		case $word in "$name="*) echo "${word#*=}" ;; esac
	done
}
