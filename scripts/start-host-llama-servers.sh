#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Starts every enabled model and waits until all are ready (exit 0) or one is not.
# ronzal-gate runs the installed copy for the restricted key; a person may run either by hand.
# The work is the agent's: this only connects standard input and output with it.
here=$(cd "$(dirname "$0")" && pwd) || exit 14
for ronzal in "$here/ronzal" "$here/../../bin/ronzal" "$here/../build/ronzal"; do
	[ ! -x "$ronzal" ] || exec "$ronzal" start --stdio
done
echo "ronzal: no ronzal program near $here: run 'make build' or scripts/setup-ssh-automation.sh" >&2
exit 14
