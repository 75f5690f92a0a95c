#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The agent with scripted and real engines; the cases are in tests/tools/agent-test.c.
set -u

cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
if engine=$(scripts/engine.sh --find 2>/dev/null); then
	export RONZAL_TEST_ENGINE="$engine"
fi
exec "$build/tests/tools/agent-test" "$build" demo/ronzal-demo.gguf "$@"
