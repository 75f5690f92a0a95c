#!/bin/sh
# SPDX-License-Identifier: MIT
#
# collect.sh FOLDER PROGRAM...: copies programs and the shared libraries that they load into FOLDER,
# under the paths that they have here, so that FOLDER can be the root of an image that holds nothing
# else. Used by the Dockerfile.
set -eu

folder=$1
shift

put() { # FILE: under its own path, links followed
	[ -e "$folder$1" ] && return
	mkdir -p "$folder$(dirname "$1")"
	cp -L "$1" "$folder$1"
}

for program; do
	put "$program"
	ldd "$program" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:blank:]]*\(\/[^ ]*\) .*/\1/p' |
		while read -r library; do
			put "$library"
		done
done
