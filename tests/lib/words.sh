# SPDX-License-Identifier: MIT
#
# Small words for the tests that talk to a backend by curl.
#
#   until_true SECONDS COMMAND...   tries it until it is true, about so long
#   has TEXT [FILE]                 in the file, or in what is piped in

until_true() {
	tries=$(($1 * 20))
	shift
	while [ $tries -gt 0 ]; do
		"$@" >/dev/null 2>&1 && return
		tries=$((tries - 1))
		sleep 0.05
	done
	return 1
}

has() {
	grep -q -- "$1" ${2:+"$2"}
}
