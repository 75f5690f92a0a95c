#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Compiles and links ronzal for a Mac with Apple silicon, on Linux, by Zig's C compiler, and looks
# into the Mach-O files that come out. Nothing here can run them: docs/macos.md.
#
# libuv, llhttp (out of nodejs), yyjson, SQLite and nettle are compiled from Debian's sources, which
# apt verifies. libcurl is part of macOS: a stub stands for it that exports what the libcurl of this
# machine exports. All of that lies in $XDG_CACHE_HOME/ronzal-cross, outside the tree, and is kept.
set -u

zig_version=0.17.1
suite=trixie
target=aarch64-macos.13.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ronzal-cross
prefix=$cache/prefix
bin=$cache/bin
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

cd "$(dirname "$0")/../.." || exit 1
mkdir -p "$cache" "$bin" && work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
export ZIG_GLOBAL_CACHE_DIR="$cache/zig"

skip() { # WHY
	echo "skip mac_binaries: $1"
	exit 0
}

note() {
	echo "# $*"
}

[ "$(uname -s)" = Linux ] || skip 'a Mac links for itself'
for tool in python3 apt-get tclsh llvm-objdump llvm-nm; do
	command -v "$tool" >/dev/null 2>&1 || skip "no $tool here (scripts/deps.sh --test)"
done

# The compiler, and the names under which configure scripts and make look for its parts.
get_zig() {
	[ -x "$bin/ranlib" ] && [ -e "$cache/zig-$zig_version" ] && return
	note "gets Zig $zig_version"
	python3 -m venv "$cache/venv" >"$work/log" 2>&1 &&
		"$cache/venv/bin/pip" install -q "ziglang==$zig_version" >"$work/log" 2>&1 ||
		skip "ziglang $zig_version could not be installed: $(tail -n 1 "$work/log")"
	for part in ar ranlib "cc -target $target"; do
		printf '#!/bin/sh\nexec "%s/venv/bin/python" -m ziglang %s "$@"\n' "$cache" "$part" >"$work/part"
		install -m 755 "$work/part" "$bin/${part%% *}"
	done
	touch "$cache/zig-$zig_version"
}

# Sources, by an apt of our own that knows nothing but them ------------------------------------

apt_init() {
	mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ { print $3; exit }')
	[ -n "$mirror" ] || skip 'apt here knows no mirror of Debian'
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial" "$cache/src"
	echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
		"$mirror $suite main" >"$cache/apt/sources.list"
	cat >"$cache/apt/conf" <<-EOF
		Dir::Etc::SourceList "$cache/apt/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		Dir::State::Lists "$cache/apt/lists";
		Dir::Cache "$cache/apt";
		APT::Sandbox::User "$(id -un)";
	EOF
	APT_CONFIG=$cache/apt/conf apt-get -qq update >"$work/log" 2>&1 ||
		skip "the list of Debian's sources: $(tail -n 1 "$work/log")"
}

# Unpacks the upstream tarball of a package, or a part of it, into src/PACKAGE. Only that file is
# fetched, by the name and digest that the signed list of sources gives.
unpack() { # PACKAGE [PART]
	set -- "$1" "${2:-}" "$(APT_CONFIG=$cache/apt/conf apt-get source --print-uris "$1" 2>/dev/null |
		tr -d "'" | awk '$2 ~ /\.orig\.tar\.[gx]z$/ { print $1, $2, $4 }')"
	# shellcheck disable=SC2086  # three words
	(cd "$cache/src" && set -- "$1" "$2" $3 &&
		/usr/lib/apt/apt-helper download-file "$3" "$4" "$5" >"$work/log" 2>&1 &&
		rm -rf "$1" && mkdir "$1" && tar -xf "$4" -C "$1" --wildcards --strip-components=1 "*/$2*" &&
		rm -f "$4") || skip "the source of $1: $(tail -n 1 "$work/log")"
}

# Libraries ------------------------------------------------------------------------------------

compile() { # LIBRARY FLAGS SOURCE...
	library=$prefix/lib/lib$1.a
	flags=$2
	rm -rf "$cache/obj" && mkdir -p "$cache/obj" && shift 2
	printf '%s\n' "$@" | xargs -P "$jobs" -I '{}' sh -c \
		'"$0/cc" -O1 '"$flags"' -c -o "$1/$(basename "$2").o" "$2"' "$bin" "$cache/obj" '{}' &&
		"$bin/ar" rcs "$library" "$cache"/obj/*.o
}

make_libuv() {
	cd "$cache/src/libuv1" || return
	mac='async core dl fs getaddrinfo getnameinfo loop-watcher loop pipe poll process signal stream tcp
		thread tty udp proctitle random-devurandom random-getentropy bsd-ifaddrs kqueue darwin
		darwin-proctitle fsevents'
	# shellcheck disable=SC2046,SC2086  # words
	compile uv '-D_DARWIN_USE_64_BIT_INODE=1 -Iinclude -Isrc' src/*.c $(printf 'src/unix/%s.c ' $mac) &&
		cp -R include/. "$prefix/include"
}

make_nodejs() {
	cd "$cache/src/nodejs/deps/llhttp" &&
		compile llhttp -Iinclude src/*.c && cp include/llhttp.h "$prefix/include"
}

make_yyjson() {
	cd "$cache/src/yyjson" && compile yyjson -Isrc src/yyjson.c && cp src/yyjson.h "$prefix/include"
}

make_sqlite3() {
	cd "$cache/src/sqlite3" &&
		make -s -f main.mk TOP=. TCLSH_CMD=tclsh BCC=cc TCC=cc sqlite3.c sqlite3.h >/dev/null &&
		compile sqlite3 -I. sqlite3.c && cp sqlite3.h "$prefix/include"
}

make_nettle() {
	cd "$cache/src/nettle" &&
		./configure --host=aarch64-apple-darwin --prefix="$prefix" CC="$bin/cc" AR="$bin/ar" \
			RANLIB="$bin/ranlib" CC_FOR_BUILD=cc --disable-shared --disable-public-key \
			--disable-assembler --disable-openssl --disable-documentation &&
		make -j "$jobs" libnettle.a && make install-headers && cp libnettle.a "$prefix/lib"
}

# The functions that the libcurl of this machine has, in a stub as Apple's SDK has them.
make_libcurl() {
	library=$(pkg-config --variable=libdir libcurl)/libcurl.so
	symbols=$(nm -D --defined-only "$library" | sed -n 's/.* T \(curl_[a-z0-9_]*\).*/_\1/p' | paste -s -d ,)
	[ -n "$symbols" ] && cp -R "$(dirname "$(echo '#include <curl/curl.h>' | cc -E - |
		sed -n 's/.*"\(.*\/curl\/curl\.h\)".*/\1/p' | head -n 1)")" "$prefix/include" &&
		cat >"$prefix/lib/libcurl.tbd" <<-EOF
			--- !tapi-tbd
			tbd-version: 4
			targets: [ arm64-macos ]
			install-name: '/usr/lib/libcurl.4.dylib'
			current-version: 9
			compatibility-version: 7
			exports:
			  - targets: [ arm64-macos ]
			    symbols: [ $symbols ]
			...
		EOF
}

# Each once; a mark says which of them are there.
libraries() {
	mkdir -p "$prefix/lib/pkgconfig" "$prefix/include" "$cache/done"
	for package in libuv1 nodejs yyjson sqlite3 nettle libcurl; do
		case $package in
		libuv1) maker=make_libuv name=libuv flag=-luv part= ;;
		nodejs) maker=make_nodejs name=libllhttp flag=-lllhttp part=deps/llhttp/ ;;
		*) maker=make_$package name=$package flag=-l${package#lib} part= ;;
		esac
		[ ! -e "$cache/done/$package" ] || continue
		if [ $package != libcurl ]; then
			[ -e "$cache/apt/conf" ] || apt_init
			unpack $package $part
		fi
		note "compiles $package"
		(set -e && $maker) >"$work/log" 2>&1 || {
			cat "$work/log"
			echo "not ok mac_libraries: $package does not compile"
			exit 1
		}
		printf 'Name: %s\nDescription: %s\nVersion: 1\nCflags: -I%s\nLibs: -L%s %s\n' $name $name \
			"$prefix/include" "$prefix/lib" $flag >"$prefix/lib/pkgconfig/$name.pc"
		rm -rf "$cache/src/$package" && touch "$cache/done/$package"
	done
}

# ----------------------------------------------------------------------------------------------

build() {
	MAKEFLAGS='' PKG_CONFIG_LIBDIR=$prefix/lib/pkgconfig make -j "$jobs" QUIET=1 OS=Darwin \
		BUILD=build-macos CC="$bin/cc" AR="$bin/ar" build 2>&1
}

result() { # NAME WRONG, where nothing is right
	[ -z "$2" ] && echo "ok $1" || echo "not ok $1: $(echo "$2" | tr '\n' ' ')"
}

# What the kernel and dyld of a Mac would refuse.
wrong_header() { # FILE
	llvm-objdump --macho --private-header "$1" | grep -q 'ARM64 .* EXECUTE .* PIE' ||
		echo 'is no arm64 program'
	llvm-objdump --macho --private-headers "$1" >"$work/commands"
	grep -q 'platform macos' "$work/commands" || echo 'is not for macOS'
	grep -q 'minos 13.0' "$work/commands" || echo 'wants another macOS than 13.0'
	grep -q 'LC_CODE_SIGNATURE' "$work/commands" || echo 'is not signed, not even ad hoc'
}

wrong_libraries() { # FILE
	case $1 in
	*-fetch) allowed='/usr/lib/libSystem.B.dylib|/usr/lib/libcurl.4.dylib' ;;
	*) allowed='/usr/lib/libSystem.B.dylib' ;;
	esac
	llvm-objdump --macho --dylibs-used "$1" | sed 1d | grep -vE "^[[:space:]]*($allowed) "
}

# Symbols that no stub of macOS exports.
wrong_symbols() { # FILE
	llvm-nm --undefined-only --just-symbol-name "$1" | sort -u >"$work/undefined"
	[ -s "$work/undefined" ] || echo 'has no undefined symbols at all'
	comm -23 "$work/undefined" "$work/exported"
}

get_zig
libraries
build >"$work/log" || {
	cat "$work/log"
	echo 'not ok mac_binaries_are_linked: see above'
	exit 1
}
cat "$work/log"
find "$cache/venv" -name libSystem.tbd -exec cat {} + | cat - "$prefix/lib/libcurl.tbd" |
	grep -oE '[_a-zA-Z$][a-zA-Z0-9_$]*' | sort -u >"$work/exported"
for program in ronzal ronzal-gate ronzal-shim ronzal-fetch; do
	file=build-macos/$program
	[ -f "$file" ] || continue
	result "${program}_is_a_signed_arm64_program_for_macos_13" "$(wrong_header "$file")"
	result "${program}_links_only_what_macos_has" "$(wrong_libraries "$file")"
	result "${program}_asks_only_for_symbols_that_macos_exports" "$(wrong_symbols "$file")"
done
