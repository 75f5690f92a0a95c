#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Measures the gateway beside nginx and HAProxy, all in front of the same scripted engine, in turns.
# The proxy has the first core, load and engine the last. Medians of ROUNDS (7).
#
#   cpu per request, cpu per event: the scheduler's own count, of all threads that ever ran
#   latency: of a request, or from an event's stamp in the engine to its arrival; less that without
#   a proxy. With 16 at once the proxy is the bottleneck, so that is its CPU once more; 200 streams
#   come in bursts of up to 100 events, so that is how load and engine share their core. 20 streams
#   are what a busy host's slots send.
#   cancel: from a client's leaving to the end of its connection at the engine, CANCELS (1000) times
#   memory: growth of RSS per stream over what the rounds left, while all streams are open
#
# BUILD=build, ROUNDS, REQUESTS, STREAMS (for memory; needs twice as many descriptors), PORT (19730).
set -eu
cd "$(dirname "$0")/.."
build=$PWD/${BUILD:-build}
rounds=${ROUNDS:-7}
requests=${REQUESTS:-2000} # fewer than may wait for the usage database: none is dropped
port=${PORT:-19730}
sizes=${STREAMS:-1000 5000 9500}
cancels=${CANCELS:-1000}
for tool in taskset nginx haproxy; do
	PATH=$PATH:/usr/sbin command -v $tool >/dev/null || { echo "skip bench: $tool is not installed"; exit 0; }
done
PATH=$PATH:/usr/sbin
work='' last='' pids='' ronzal_pid='' ronzal_port='' engine_port='' # the rig sets them
. bench/lib/rig.sh

alone=$((port + 1)) nginx_port=$((port + 2)) haproxy_port=$((port + 3))
# In a session of its own, as the engine behind ronzal is: a scheduler that groups by session counts both alike.
start "$last" setsid "$build/bench/engine" --port $alone

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

start_ronzal
wait_port $nginx_port
wait_port $haproxy_port
nginx_pid=$(pgrep -P "$nginx_master")

cpu_us() { # PID
	"$build/bench/cputime" "$1"
}

# A run and what it cost: appends to the results of NAME.
measure() { # NAME PID PORT ENGINE-PORT plain|single|stream|few|cancel
	before=$(cpu_us "$2")
	count=20000
	case $5 in
	plain) count=$requests && line=$(load "$3" plain "$requests" 16) ;;
	single) count=1000 && line=$(load "$3" plain 1000 1) ;;
	stream)
		line=$(load "$3" stream 200 100 10)
		[ "$(value events $line)" = 20000 ] || { echo "$1: $line"; exit 1; }
		;;
	few) count=2000 && line=$(load "$3" stream 20 100 20) ;;
	cancel) line=$(load "$3" cancel "$cancels" "$4") ;;
	esac
	[ "$5" != plain ] || sleep 1 # what is written behind a request (SQLite) is part of its cost
	after=$(cpu_us "$2")
	awk -v c=$((after - before)) -v n="$count" 'BEGIN { printf "%.2f\n", c / n }' \
		>>"$work/$1.$5.cpu"
	value p50_us $line >>"$work/$1.$5.p50"
	value p99_us $line >>"$work/$1.$5.p99"
}

median() { # FILE
	sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

self=$$
round=0
turns='direct nginx haproxy ronzal' # another is first in each round
while [ $round -lt "$rounds" ]; do
	round=$((round + 1))
	for kind in plain single stream few cancel; do
		for turn in $turns; do
			case $turn in
			direct) measure direct $self $alone $alone $kind ;;
			nginx) measure nginx "$nginx_pid" $nginx_port $alone $kind ;;
			haproxy) measure haproxy "$haproxy_pid" $haproxy_port $alone $kind ;;
			ronzal) measure ronzal "$ronzal_pid" $ronzal_port $engine_port $kind ;;
			esac
		done
	done
	turns="${turns#* } ${turns%% *}"
	echo "round $round of $rounds" >&2
done

# All that was asked must have been written, or the cost of writing is not in the figures.
curl -s "http://127.0.0.1:$ronzal_port/metrics" | grep -q '^ronzal_requests_not_kept_total 0$' || {
	echo 'bench: the usage database had no room for some requests; use fewer REQUESTS' >&2
	exit 1
}

# Values of nginx, HAProxy and ronzal, and ours as a share of theirs.
row() { # WHAT FILE-SUFFIX [MINUS-DIRECT]
	minus=0
	[ -z "${3:-}" ] || minus=$(median "$work/direct.$2")
	awk -v what="$1" -v minus="$minus" -v n="$(median "$work/nginx.$2")" \
		-v h="$(median "$work/haproxy.$2")" -v r="$(median "$work/ronzal.$2")" '
		function share(of) { return of - minus > 0 ? sprintf("%.2f", (r - minus) / (of - minus)) : "-" }
		BEGIN { printf "| %s | %g | %g | %g | %s | %s |\n", what, n - minus, h - minus, r - minus, share(n), share(h) }'
}

echo "| median of $rounds | nginx | HAProxy | ronzal | of nginx | of HAProxy |"
echo '|---|---|---|---|---|---|'
row 'CPU per request, us' plain.cpu
row 'CPU per event, us' stream.cpu
row 'added latency of a request, one at a time, p50, us' single.p50 minus
row 'added latency of a request, one at a time, p99, us' single.p99 minus
row 'added latency of a request, 16 at once, p50, us' plain.p50 minus
row 'added latency of a request, 16 at once, p99, us' plain.p99 minus
row 'added latency of an event, 20 streams, p50, us' few.p50 minus
row 'added latency of an event, 20 streams, p99, us' few.p99 minus
row 'added latency of an event, 200 streams, p50, us' stream.p50 minus
row 'added latency of an event, 200 streams, p99, us' stream.p99 minus
row 'cancel delay, p50, us' cancel.p50
row 'cancel delay, p99, us' cancel.p99

rss_kib() { # PID
	awk '/^VmRSS/ { print $2 }' /proc/"$1"/status
}

# A process keeps what it once had: each proxy's sizes grow, and all are measured from one base.
for who in nginx haproxy ronzal; do
	eval "rss_kib \$${who}_pid" >"$work/$who.base"
done
for size in $sizes; do
	printf '| KiB of RSS per stream, %s streams |' "$size"
	for who in nginx haproxy ronzal; do
		pid='' to=''
		eval "pid=\$${who}_pid to=\$${who}_port"
		line=$(load "$to" stream "$size" 4 4000 "$pid" 2>>"$work/log") || :
		if [ "$(value events $line)" != $((size * 4)) ]; then
			printf " %s failed |" "$(value failed $line)"
			[ "$who" != ronzal ] || exit 1
			continue
		fi
		awk -v a="$(value rss_kib $line)" -v b="$(cat "$work/$who.base")" -v n="$size" \
			'BEGIN { printf " %.2f |", (a - b) / n }'
	done
	echo
done
