# SPDX-License-Identifier: MIT
#
# The whole chain in one place, without Docker: backend -> Host API -> real ssh and sshd -> wrapper ->
# gate -> script -> agent -> shims -> real llama-servers. Sourced after tests/lib/setup-home.sh.
#
#   chain_begin PORT_FROM   set-up with two models, the Host API on $API, the backend on $BACKEND;
#                           both have a second home, as the containers have: no agent, own secrets
#   post VERB [BODY]        asks the Host API; body also in $T/body, HTTP status in $T/status
#   pids, count_pids N      of the engines that the agent keeps

chain_begin() { # PORT_FROM
	setup_begin "$1"
	trap 'backend_stop; hostapi_stop; setup_end; sshd_end' EXIT
	RONZAL=$RONZAL_HOME/libexec/ronzal REGISTRY=$RONZAL_HOME/state/registry/model_registry.json
	MODELS=$RONZAL_HOME/models
	HOSTAPI_PORT=$(($1 + 22)) BACKEND_PORT=$(($1 + 23))
	API=http://127.0.0.1:$HOSTAPI_PORT BACKEND=http://127.0.0.1:$BACKEND_PORT
	mkdir -p "$RONZAL_HOME/state/registry"
	register_models # first, so that the agent knows them from its start
	set_up >"$T/out" 2>&1 || { not_ok set_up "$(tail -3 "$T/out" | tr '\n' ' ')" && exit 1; }
	client_config
	hostapi_start
	backend_start
}

hostapi_start() {
	RONZAL_HOME=$T/container "$RONZAL_BUILD/ronzal" hostapi --hostapi-port "$HOSTAPI_PORT" \
		--ssh-config "$T/client_config" >>"$T/hostapi.log" 2>&1 &
	HOSTAPI=$!
}

hostapi_stop() {
	[ -z "${HOSTAPI:-}" ] || { kill "$HOSTAPI" 2>/dev/null && wait "$HOSTAPI" 2>/dev/null; }
	HOSTAPI=
}

hostapi_kill() {
	kill -9 "$HOSTAPI"
	wait "$HOSTAPI" 2>/dev/null
	HOSTAPI=
}

backend_start() {
	RONZAL_HOME=$T/container USE_EXTERNAL_SERVERS=true HOST_API_URL=$API RONZAL_ENGINE_HOST=127.0.0.1 \
		RONZAL_REGISTRY=$REGISTRY RONZAL_MODEL_ROOTS=$MODELS \
		"$RONZAL_BUILD/ronzal" backend --backend-port "$BACKEND_PORT" >>"$T/backend.log" 2>&1 &
	BACKEND_PID=$!
}

backend_stop() {
	[ -z "${BACKEND_PID:-}" ] || { kill "$BACKEND_PID" 2>/dev/null && wait "$BACKEND_PID" 2>/dev/null; }
	BACKEND_PID=
}

now_ms() { # GNU date has %N; where it has not, whole seconds have to do
	case $(date +%N) in
	*N*) echo $(($(date +%s) * 1000)) ;;
	*) echo $(($(date +%s%N) / 1000000)) ;;
	esac
}

within() { # SECONDS COMMAND...: tries it until it is true
	within_until=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$within_until" ] || { echo "waited in vain for: $*"; return 1; }
		sleep 0.1
	done
}

secretly() { # CURL-OPTIONS...: with the secret of the Host API
	curl -s -m 60 -H "Authorization: Bearer $(cat "$T/container/state/host-api.secret")" "$@"
}

post() { # VERB [BODY]
	secretly -o "$T/body" -w '%{http_code}' -X POST -d "${2:-}" "$API/api/servers/$1" >"$T/status"
	cat "$T/body"
}

answered() { # STATUS: of the last post
	[ "$(cat "$T/status")" = "$1" ] || { echo "status $(cat "$T/status"): $(cat "$T/body")"; return 1; }
}

health_says() { curl -s -m 5 "$API/health" | grep -q "$1"; }

backend_is_up() { curl -s -m 5 "$BACKEND/api/host" | grep -q '"state":"up"'; }

connected() { # the Host API with the agent, and the backend with the Host API
	within 30 health_says '"connected"' && within 30 backend_is_up
}

pids() {
	"$RONZAL" status --json 2>/dev/null | grep -o '"pid": *[1-9][0-9]*' | tr -dc '0-9\n' | sort
}

agent_pid() { "$RONZAL" service status | sed -n 's/.*(pid \([0-9]*\)).*/\1/p'; }

count_pids() { [ "$(pids | grep -c .)" -eq "$1" ]; }

chat() { # MODEL
	curl -s -m 30 "$BACKEND/v1/chat/completions" -H 'Content-Type: application/json' \
		-d "{\"model\":\"$1\",\"max_tokens\":4,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}"
}
