#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What the shim tells and logs; the cases are in tests/tools/shim-log-test.c.
set -u

cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
exec "$build/tests/tools/shim-log-test" "$build/ronzal-shim" "$@"
