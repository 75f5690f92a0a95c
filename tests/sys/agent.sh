#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The agent with scripted and real engines; the cases are in tests/tools/agent-test.c and
# agent-peer-test.c.
set -u

cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
if engine=$(scripts/engine.sh --find 2>/dev/null); then
	export RONZAL_TEST_ENGINE="$engine"
fi
"$build/tests/tools/agent-test" "$build" demo/ronzal-demo.gguf "$@"
status=$?
"$build/tests/tools/agent-peer-test" "$build" demo/ronzal-demo.gguf "$@" && exit "$status"
