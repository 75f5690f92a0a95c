#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The forced command of ronzal's key in authorized_keys (setup-ssh-automation.sh writes that line,
# with the path of the installed copy). ronzal-gate beside it decides what may run.
exec "${0%/*}/ronzal-gate" "$@"
