#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Controllers and other peers of the agent; the cases are in tests/tools/agent-peer-test.c.
set -u

cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
exec "$build/tests/tools/agent-peer-test" "$build" demo/ronzal-demo.gguf "$@"
