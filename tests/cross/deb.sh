#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The Debian package: built from a release tarball, installed by apt in a bare Debian 13 (which has
# all libraries that it needs), used there by a plain user, and removed again.
#
# The bare system is made by debootstrap and kept in $XDG_CACHE_HOME/ronzal-cross, outside the tree.
cd "$(dirname "$0")/../.." || exit 1
suite=trixie
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ronzal-cross

ok() { echo "ok $1"; }
not_ok() { printf 'not ok %s: %s\n' "$1" "$2"; }
skip() {
	printf 'skip debian_package: %s\n' "$1"
	exit 0
}

check() { # NAME COMMAND...
	check_name=$1
	shift
	if "$@" >"$T/check.log" 2>&1; then
		ok "$check_name"
	else
		not_ok "$check_name" "$(tail -c 600 "$T/check.log" | tr '\n' ' ')"
	fi
}

[ "$(id -u)" -eq 0 ] && [ "$(uname -s)" = Linux ] || skip 'needs root on Linux, for a bare system'
for tool in debootstrap dh curl git; do
	command -v "$tool" >/dev/null 2>&1 || skip "no $tool here (scripts/deps.sh --test)"
done
engine=$(scripts/engine.sh --find) || skip 'no llama-server: scripts/engine.sh'

T=$(mktemp -d /tmp/ronzal-test.XXXXXX) || exit 1
root=$T/root
UP=
EXEC=
cleanup() {
	[ -z "$UP" ] || { kill "$UP" 2>/dev/null && wait "$UP" 2>/dev/null; }
	umount "$root/proc" 2>/dev/null
	rm -rf "$T"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# A bare system -------------------------------------------------------------------------------

make_root() {
	mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ { print $3; exit }')
	[ -s "$cache/root-$suite.tar" ] || {
		mkdir -p "$cache"
		debootstrap --variant=minbase "$suite" "$T/new" ${mirror:+"$mirror"} \
			>"$T/debootstrap.log" 2>&1 || skip "debootstrap: $(tail -n 1 "$T/debootstrap.log")"
		tar -C "$T/new" -cf "$cache/root-$suite.tar.new" . && rm -rf "$T/new" &&
			mv "$cache/root-$suite.tar.new" "$cache/root-$suite.tar"
	}
	mkdir "$root" && tar -C "$root" -xf "$cache/root-$suite.tar" &&
		cp /etc/resolv.conf "$root/etc/" && cp /etc/apt/apt.conf.d/* "$root/etc/apt/apt.conf.d/" &&
		mount -t proc proc "$root/proc" || skip 'a bare system cannot be set up here'
}

in_root() {
	chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
		HOME=/root "$@"
}

as_ann() {
	$EXEC chroot --userspec=ann:ann "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/home/ann USER=ann \
		RONZAL_ENGINE=/opt/engine/bin/llama-server RONZAL_BACKEND_PORT=28000 \
		RONZAL_FRONTEND_PORT=25173 RONZAL_ENGINE_PORT_MIN=28080 RONZAL_ENGINE_PORT_MAX=28089 "$@"
}

# llama-server with its own libraries, as engine.sh unpacked it; it is no part of the package.
give_engine() {
	case $engine in
	*/bin/llama-server) [ -e "${engine%/bin/llama-server}/bin" ] || return 1 ;;
	*) return 1 ;;
	esac
	cp -R "${engine%/bin/llama-server}" "$root/opt/engine" &&
		sed -i "s|${engine%/bin/llama-server}|/opt/engine|g" "$root/opt/engine/bin/llama-server"
}

# ---------------------------------------------------------------------------------------------

# The page is built into the tarball; from there on nothing may ask for node.
build() {
	make MAKEFLAGS='' QUIET=1 DIST="$T/dist" dist || return 1
	mkdir "$T/bin" && for tool in node npm; do
		printf '#!/bin/sh\necho "%s is asked for" >&2\nexit 1\n' $tool >"$T/bin/$tool" && chmod +x "$T/bin/$tool"
	done
	PATH=$T/bin:$PATH make MAKEFLAGS='' QUIET=1 DIST="$T/dist" deb
}

contents() {
	dpkg-deb -c "$T"/dist/ronzal_*.deb >"$T/contents"
	for file in bin/ronzal libexec/ronzal/ronzal-gate libexec/ronzal/ronzal-shim share/ronzal/web/index.html \
		share/ronzal/demo/ronzal-demo.gguf lib/systemd/user/ronzal.service; do
		grep -q "/usr/$file\$" "$T/contents" || { echo "no /usr/$file" && return 1; }
	done
	! grep -v ' \./usr/\| \./$' "$T/contents" # nothing but in /usr
}

install() {
	in_root apt-get -q update && cp "$T"/dist/ronzal_*.deb "$root/tmp/" &&
		in_root sh -c 'apt-get -q install -y --no-install-recommends /tmp/ronzal_*.deb' &&
		in_root useradd -m ann && give_engine
}

await_up() {
	tries=0
	until grep -q 'localhost:28000/v1' "$T/up.log"; do
		tries=$((tries + 1))
		kill -0 "$UP" 2>/dev/null && [ $tries -lt 300 ] || { cat "$T/up.log" && return 1; }
		sleep 0.2
	done
}

answers() {
	curl -sS -m 60 http://127.0.0.1:28000/v1/chat/completions -d '{"model":"ronzal-demo","max_tokens":8,
		"messages":[{"role":"user","content":"hello"}]}' | grep '"completion_tokens":[1-9]'
}

shows_page() {
	curl -sS -m 20 http://127.0.0.1:25173/ | grep -i '<title>.*ronzal'
}

tells_state() {
	as_ann ronzal status && as_ann ronzal status | grep -q 'ronzal-demo *ready'
}

stops() {
	kill "$UP" && wait "$UP"
	UP=
	! as_ann ronzal status >"$T/status" 2>&1 && grep 'agent' "$T/status"
}

purge() {
	in_root apt-get -q purge -y ronzal || return 1
	rm -f "$root"/tmp/ronzal_*.deb
	left=$(find "$root" -xdev -path "$root/home" -prune -o -path "$root/opt" -prune -o -name '*ronzal*' -print)
	[ -z "$left" ] || { echo "left: $left" && return 1; }
	! in_root dpkg -l ronzal
}

make_root
check package_is_built_from_the_release_tarball build
ls "$T"/dist/ronzal_*.deb >/dev/null || exit 1
check holds_programs_page_model_and_unit_below_usr contents
check installs_in_a_bare_debian_13 install
EXEC='exec' as_ann ronzal up >"$T/up.log" 2>&1 &
UP=$!
check runs_the_demo_for_a_plain_user await_up
check answers_a_chat answers
check shows_the_page_that_was_built_in_advance shows_page
check tells_what_runs tells_state
check stops_what_it_started stops
check leaves_nothing_when_it_is_purged purge
