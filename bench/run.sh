#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Measures the gateway beside nginx and HAProxy, all in front of the same scripted engine, in turns.
# The proxy has the first core, load and engine the last. Medians of ROUNDS (7).
#
#   cpu per request, cpu per event: the scheduler's own count (/proc/PID/task/*/schedstat)
#   latency: from an event's stamp in the engine to its arrival, less that without a proxy
#   memory: growth of RSS per stream, while all streams are open
#
# BUILD=build, ROUNDS, REQUESTS, STREAMS (for memory; needs twice as many descriptors), PORT (19730).
set -eu
cd "$(dirname "$0")/.."
build=$PWD/${BUILD:-build}
rounds=${ROUNDS:-7}
requests=${REQUESTS:-4000}
port=${PORT:-19730}
sizes=${STREAMS:-1000 5000 9500}
last=$(($(nproc) - 1))
for tool in taskset nginx haproxy; do
	PATH=$PATH:/usr/sbin command -v $tool >/dev/null || { echo "skip bench: $tool is not installed"; exit 0; }
done
PATH=$PATH:/usr/sbin
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
		[ $n -lt 100 ] || { echo "nothing listens on port $1"; cat "$work/log"; exit 1; }
		sleep 0.1
	done
}

alone=$((port + 1)) nginx_port=$((port + 2)) haproxy_port=$((port + 3)) ronzal_port=$((port + 4))
start "$last" "$build/bench/engine" --port $alone

mkdir "$work/nginx"
cat >"$work/nginx.conf" <<END
daemon off; worker_processes 1; pid $work/nginx/pid; error_log $work/log;
worker_rlimit_nofile 20000;
events { worker_connections 20000; }
http {
	access_log off; tcp_nodelay on; keepalive_requests 100000000; client_body_buffer_size 64k;
	client_body_temp_path $work/nginx; proxy_temp_path $work/nginx; fastcgi_temp_path $work/nginx;
	uwsgi_temp_path $work/nginx; scgi_temp_path $work/nginx;
	upstream engine { server 127.0.0.1:$alone; keepalive 64; }
	server {
		listen 127.0.0.1:$nginx_port backlog=4096;
		location / {
			proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
			proxy_buffering off; proxy_read_timeout 600s;
		}
	}
}
END
start 0 nginx -c "$work/nginx.conf" -p "$work/nginx"
nginx_master=${pids%% *}

cat >"$work/haproxy.cfg" <<END
global
	nbthread 1
	maxconn 9900
defaults
	mode http
	option http-no-delay
	http-reuse always
	timeout connect 5s
	timeout client 600s
	timeout server 600s
frontend front
	bind 127.0.0.1:$haproxy_port backlog 4096
	default_backend engine
backend engine
	server one 127.0.0.1:$alone
END
start 0 haproxy -db -f "$work/haproxy.cfg"
haproxy_pid=${pids%% *}

: >"$work/model.gguf"
cp demo/ronzal-demo.gguf "$work/model.gguf"
cat >"$work/registry.json" <<END
{"models":{"bench":{"file_path":"$work/model.gguf","port":$((port + 5)),"enabled":true}}}
END
export RONZAL_HOME="$work/home" RONZAL_REGISTRY="$work/registry.json" RONZAL_MODEL_ROOTS="$work" \
	RONZAL_ENGINE="$build/bench/engine" RONZAL_BACKEND_PORT=$ronzal_port RONZAL_CONNS_MAX=9900 \
	RONZAL_ENGINE_PORT_MIN=$((port + 5)) RONZAL_ENGINE_PORT_MAX=$((port + 5)) RONZAL_BIND=127.0.0.1
mkdir -p "$work/home"
start "$last" "$build/ronzal" agent
sleep 1
start 0 "$build/ronzal" backend --native
ronzal_pid=${pids%% *}
wait_port $ronzal_port
wait_port $nginx_port
wait_port $haproxy_port
"$build/ronzal" start bench >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
nginx_pid=$(pgrep -P "$nginx_master")

cpu_us() { # PID
	cat /proc/"$1"/task/*/schedstat | awk '{ s += $1 } END { printf "%d\n", s / 1000 }'
}

load() {
	taskset -c "$last" "$build/bench/loadgen" "$@"
}

value() { # NAME LINE...
	name=$1
	shift
	for word in "$@"; do
		case $word in "$name="*) echo "${word#*=}" ;; esac
	done
}

# A run and what it cost: appends to the results of NAME.
measure() { # NAME PID PORT PLAIN|STREAM
	before=$(cpu_us "$2")
	if [ "$4" = plain ]; then
		line=$(load "$3" plain "$requests" 16)
		count=$requests
	else
		line=$(load "$3" stream 200 100 10)
		count=20000
		[ "$(value events $line)" = 20000 ] || { echo "$1: $line"; exit 1; }
	fi
	after=$(cpu_us "$2")
	awk -v c=$((after - before)) -v n="$count" 'BEGIN { printf "%.2f\n", c / n }' \
		>>"$work/$1.$4.cpu"
	value p50_us $line >>"$work/$1.$4.p50"
	value p99_us $line >>"$work/$1.$4.p99"
}

median() { # FILE
	sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

self=$$
round=0
while [ $round -lt "$rounds" ]; do
	round=$((round + 1))
	for kind in plain stream; do
		measure direct $self $alone $kind
		measure nginx "$nginx_pid" $nginx_port $kind
		measure haproxy "$haproxy_pid" $haproxy_port $kind
		measure ronzal "$ronzal_pid" $ronzal_port $kind
	done
done

row() { # WHAT FILE-SUFFIX [MINUS-DIRECT]
	printf '| %s |' "$1"
	for who in nginx haproxy ronzal; do
		minus=0
		[ -z "${3:-}" ] || minus=$(median "$work/direct.$2")
		awk -v a="$(median "$work/$who.$2")" -v b="$minus" 'BEGIN { printf " %g |", a - b }'
	done
	echo
}

echo "| median of $rounds | nginx | HAProxy | ronzal |"
echo '|---|---|---|---|'
row 'CPU per request, us' plain.cpu
row 'CPU per event, us' stream.cpu
row 'added latency of a request, p50, us' plain.p50 minus
row 'added latency of a request, p99, us' plain.p99 minus
row 'added latency of an event, p50, us' stream.p50 minus
row 'added latency of an event, p99, us' stream.p99 minus

rss_kib() { # PID
	awk '/^VmRSS/ { print $2 }' /proc/"$1"/status
}

for size in $sizes; do
	printf '| KiB of RSS per stream, %s streams |' "$size"
	for who in nginx haproxy ronzal; do
		to=
		eval "pid=\$${who}_pid to=\$${who}_port"
		base=$(rss_kib "$pid")
		line=$(load "$to" stream "$size" 4 4000 "$pid" 2>>"$work/log") || :
		if [ "$(value events $line)" != $((size * 4)) ]; then
			printf " %s failed |" "$(value failed $line)"
			[ "$who" != ronzal ] || exit 1
			continue
		fi
		awk -v a="$(value rss_kib $line)" -v b="$base" -v n="$size" \
			'BEGIN { printf " %.2f |", (a - b) / n }'
	done
	echo
done
load $ronzal_port cancel 1000 >"$work/cancel"
echo "1,000 streams left after their first event: $(cat "$work/cancel")"
