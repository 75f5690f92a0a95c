#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The shim with real processes as engines; see tests/tools/shim-test.c for the cases.
set -u

cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
if engine=$(scripts/engine.sh --find 2>/dev/null); then
	export RONZAL_TEST_ENGINE="$engine" RONZAL_TEST_MODEL="$PWD/demo/ronzal-demo.gguf"
fi
exec "$build/tests/tools/shim-test" "$build/ronzal-shim" "$@"
