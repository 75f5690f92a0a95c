#!/bin/sh
# SPDX-License-Identifier: MIT
#
# deb.sh RELEASE FOLDER: makes FOLDER/ronzal_RELEASE_ARCH.deb out of FOLDER/ronzal-RELEASE.tar.gz.
# Called by "make deb".
set -eu

release=$1
folder=$2
command -v dh >/dev/null 2>&1 || {
	echo 'deb.sh: debhelper is not installed: scripts/deps.sh --test, or apt-get install debhelper' >&2
	exit 1
}

cd "$(dirname "$0")"
work=$folder/deb
rm -rf "$work"
mkdir -p "$work"
tar -xf "$folder/ronzal-$release.tar.gz" -C "$work"
cp -R debian "$work/ronzal-$release/"
cd "$work/ronzal-$release"
cat >debian/changelog <<-END
	ronzal ($release) unstable; urgency=medium

	  * What changed: git log.

	 -- The ronzal developers <ronzal@localhost>  $(LC_ALL=C date -R -d "@$(stat -c %Y VERSION)")
END
MAKEFLAGS='' dpkg-buildpackage --build=binary --no-sign --jobs=auto >"$work/log" 2>&1 || {
	tail -n 40 "$work/log" >&2
	exit 1
}
mv "$work"/ronzal_*.deb "$folder"
rm -rf "$work"
ls "$folder"/*.deb
