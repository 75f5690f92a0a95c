#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What ronzal thinks that a load takes, against what the real engine says when it loads: models of
# many shapes whose weights are a hole in a file. By formula within 25 %, by llama-fit-params 10 %.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/setup-home.sh
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
find_engine || { skip memory 'no llama-server here: scripts/engine.sh' && exit 0; }
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
fit=$(dirname "$RONZAL_ENGINE")/llama-fit-params
[ -x "$fit" ] || fit=- # the formula alone

# KiB of weights, KV cache (and recurrent state) and compute buffers together, from a load's log.
engine_says() { # SETTING=VALUE...
	set -- $(for s; do case $s in
		ctx_size=*) echo --ctx-size ;; parallel=*) echo --parallel ;; flash_attention=*) echo --flash-attn ;;
		cache_type_k=*) echo --cache-type-k ;; cache_type_v=*) echo --cache-type-v ;; batch_size=*) echo --batch-size ;;
		esac && echo "${s#*=}"; done)
	: >"$T/log"
	"$RONZAL_ENGINE" --model "$T/model.gguf" --host 127.0.0.1 --port "$PORT" --verbosity 4 --no-warmup --device none \
		--n-gpu-layers 0 --cache-ram 0 "$@" >"$T/log" 2>&1 &
	engine=$!
	tries=0
	until grep -q 'model loaded' "$T/log" || [ $tries -eq 600 ] || ! kill -0 $engine 2>/dev/null; do
		sleep 0.1
		tries=$((tries + 1))
	done
	kill -9 $engine 2>/dev/null
	wait $engine 2>/dev/null
	awk '/buffer size =/ && !/ output buffer/ { for (i = 1; i < NF; i++) if ($i == "=") sum += $(i + 1) }
		END { printf "%d\n", sum * 1024 }' "$T/log"
}

within() { # WHAT GOT SAID PERCENT
	awk -v what="$1" -v got="$2" -v said="$3" -v most="$4" 'BEGIN { off = said > 0 ? (got / said - 1) * 100 : 999
		printf "# %s: %.1f MiB, the engine %.1f (%+.1f %%)\n", what, got / 1024, said / 1024, off
		exit !(off <= most && off >= -most) }'
}

agrees() { # SHAPE... -- SETTING=VALUE...
	shape=
	while [ "$1" != -- ]; do
		shape="$shape $1"
		shift
	done
	shift
	# shellcheck disable=SC2086  # shape is words
	"$RONZAL_BUILD/tests/tools/make-gguf" "$T/model.gguf" $shape sparse=1 || return
	said=$(engine_says "$@")
	"$RONZAL_BUILD/tests/tools/memory-of" "$T/model.gguf" "$fit" "$@" >"$T/ours" || return
	while read -r how weights kv compute; do
		most=25
		[ "$how" = formula ] || most=10
		within "$how$shape $*" $((weights + kv + compute)) "$said" $most || { tail -3 "$T/log"; return 1; }
	done <"$T/ours"
	[ "$fit" = - ] || grep -q asked "$T/ours"
}

PORT=18790
dense='arch=llama layers=8 embd=1024 heads=16 kv=16 ff=2816 vocab=32000 ctx=32768'
grouped='arch=llama layers=8 embd=1024 heads=16 kv=4 ff=4096 vocab=64000 ctx=65536'
qwen='arch=qwen3 layers=12 embd=1024 heads=16 kv=8 dim=128 ff=3072 vocab=64000 ctx=40960 type=q4_0'
experts='arch=qwen3moe layers=6 embd=1024 heads=16 kv=4 dim=128 ff=512 vocab=32000 experts=16 used=4 ctx=32768 type=q8_0'
sliding='arch=gemma3 layers=12 embd=1024 heads=4 kv=1 dim=256 ff=4096 vocab=64000 window=512 ctx=32768'
half_sliding='arch=gemma2 layers=8 embd=1024 heads=8 kv=4 dim=128 ff=4096 vocab=64000 window=4096 ctx=8192'
recurrent='arch=mamba layers=12 embd=768 vocab=32000 ctx=8192'
row() { # NAME SHAPE SETTING=VALUE...
	name=$1 model=$2
	shift 2
	# shellcheck disable=SC2086  # model is words
	check "$name" agrees $model -- "$@"
}
row dense_4096 "$dense" ctx_size=4096
row dense_16384_in_q8_0 "$dense" ctx_size=16384 cache_type_k=q8_0 cache_type_v=q8_0
row grouped_query_8192 "$grouped" ctx_size=8192
row grouped_query_32768 "$grouped" ctx_size=32768
row grouped_query_32768_in_q4_0 "$grouped" ctx_size=32768 cache_type_k=q4_0 cache_type_v=q4_0
row grouped_query_8192_without_flash_attention "$grouped" ctx_size=8192 flash_attention=off
row grouped_query_8192_in_3_slots "$grouped" ctx_size=8192 parallel=3
row quantized_16384 "$qwen" ctx_size=16384
row quantized_40960_in_q8_0 "$qwen" ctx_size=40960 cache_type_k=q8_0 cache_type_v=q8_0
row experts_8192 "$experts" ctx_size=8192
row experts_32768 "$experts" ctx_size=32768
row sliding_window_8192 "$sliding" ctx_size=8192
row sliding_window_32768_in_2_slots "$sliding" ctx_size=32768 parallel=2
row every_other_layer_sliding_8192 "$half_sliding" ctx_size=8192
row recurrent_4096 "$recurrent" ctx_size=4096

# The agent asks the tool where, and only where, the formula's error could decide.
export RONZAL_HOME="$T/r" RONZAL_MODEL_ROOTS="$T" RONZAL_ENGINE_PORT_MIN=$((PORT + 1)) RONZAL_ENGINE_PORT_MAX=$((PORT + 2))
mkdir -p "$T/r/state" "$T/bin"
echo '{"models":{"m":{"model_id":"m","file_path":"/models/model.gguf","ctx_size":4096,"cache_ram_mib":0}}}' \
	>"$T/r/state/model_registry.json"
printf '#!/bin/sh\nexec "%s" "$@"\n' "$RONZAL_ENGINE" >"$T/bin/llama-server"
printf '#!/bin/sh\necho asked "$@" >>"%s"\ncat "%s"\n' "$T/asked" "$T/answer" >"$T/bin/llama-fit-params"
chmod 755 "$T/bin/llama-server" "$T/bin/llama-fit-params"
started() { # BUDGET-MIB ANSWER: whether the model was started
	rm -f "$T/asked"
	echo "$2" >"$T/answer"
	RONZAL_ENGINE="$T/bin/llama-server" RONZAL_MEMORY_BUDGET_MIB=$1 "$RONZAL_BUILD/ronzal" agent >"$T/agent.log" 2>&1 &
	agent=$!
	tries=0
	until [ -S "$T/r/run/agent.sock" ] || [ $tries -eq 300 ]; do sleep 0.1; tries=$((tries + 1)); done
	timeout 120 "$RONZAL_BUILD/ronzal" start m >"$T/out" 2>&1
	is_started=$?
	timeout 60 "$RONZAL_BUILD/ronzal" stop m >/dev/null 2>&1
	kill $agent
	wait $agent 2>/dev/null
	return $is_started
}
asks_in_doubt() {
	# shellcheck disable=SC2086  # dense is words
	"$RONZAL_BUILD/tests/tools/make-gguf" "$T/model.gguf" $dense sparse=1 || return # about 510 MiB
	started 4000 'Host 320 128 31' && [ ! -e "$T/asked" ] || { echo 'asked without need'; cat "$T/out"; return 1; }
	! started 100 'Host 320 128 31' && [ ! -e "$T/asked" ] || { echo 'asked in vain'; cat "$T/out"; return 1; }
	started 530 'Host 320 128 31' && grep -q 'asked --fit off .*--ctx-size 4096' "$T/asked" || { cat "$T/out"; return 1; }
	! started 530 'Host 320 512 31' && grep -q "m needs .*budget" "$T/out" && grep -q 'ctx_size=' "$T/out" ||
		{ cat "$T/out"; return 1; }
	started 530 'no figures' || { cat "$T/out"; return 1; }
}
check the_agent_asks_the_engine_s_tool_only_when_in_doubt asks_in_doubt
