#!/bin/sh
# SPDX-License-Identifier: MIT
#
# dist.sh RELEASE FOLDER: packs what is committed and the page that was built into
# FOLDER/ronzal-RELEASE.tar.gz, and writes FOLDER/ronzal.rb, the Homebrew formula for it. Who builds
# from it needs no node. Called by "make dist".
set -eu

release=$1
folder=$2
name=ronzal-$release
cd "$(dirname "$0")/.."
[ -f web/dist/index.html ] || {
	echo 'dist.sh: there is no page in web/dist: install node 18.19 or later and npm, then make web' >&2
	exit 1
}

rm -rf "$folder"
mkdir -p "$folder"
git archive --prefix="$name/" HEAD | tar -x -C "$folder"
cp -R web/dist "$folder/$name/web/dist"
find "$folder/$name/web/dist" -exec touch {} + # newer than what it is made from
echo "$release" >"$folder/$name/VERSION"
tar -C "$folder" -czf "$folder/$name.tar.gz" "$name"
rm -rf "${folder:?}/$name"

sum=$({ sha256sum "$folder/$name.tar.gz" 2>/dev/null || shasum -a 256 "$folder/$name.tar.gz"; } |
	cut -d ' ' -f 1)
sed "s|\"URL\"|\"file://$folder/$name.tar.gz\"|; s|\"SHA256\"|\"$sum\"|" packaging/homebrew/ronzal.rb \
	>"$folder/ronzal.rb"
echo "$folder/$name.tar.gz"
echo "$folder/ronzal.rb"
