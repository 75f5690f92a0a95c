#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The shim with real processes as engines; see tests/tools/shim-test.c for the cases.
set -u

cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
exec "$build/tests/tools/shim-test" "$build/ronzal-shim"
