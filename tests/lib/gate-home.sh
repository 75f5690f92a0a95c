# SPDX-License-Identifier: MIT
#
# A libexec folder as set-up makes it, in $T, but with scripts that only tell how they were called:
# for tests of what reaches them. Sourced; needs $T and $RONZAL_BUILD.
#
#   gate_home_make    makes $LIBEXEC (wrapper, gate, two telling scripts) and $RHOME (RONZAL_HOME)

gate_home_make() {
	LIBEXEC=$T/libexec/ronzal
	RHOME=$T/home
	mkdir -p "$LIBEXEC" "$RHOME/logs"
	cp scripts/ssh-wrapper.sh "$RONZAL_BUILD/ronzal-gate" "$LIBEXEC/"
	for gate_verb in start stop; do
		cat >"$LIBEXEC/$gate_verb-host-llama-servers.sh" <<-END
			#!/bin/sh
			echo "script: $gate_verb"
			echo "arguments: \$#"
			echo "folder: \$PWD"
			/usr/bin/env | /bin/grep -v -E '^(PWD|OLDPWD|SHLVL|_)=' | sed 's/^/env: /'
			echo "words from $gate_verb" >&2
			sed 's/^/stdin: /'
			exit 7
		END
		chmod 755 "$LIBEXEC/$gate_verb-host-llama-servers.sh"
	done
}
