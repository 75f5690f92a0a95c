#!/bin/sh
# SPDX-License-Identifier: MIT
#
# scripts/deps.sh and scripts/engine.sh as a Mac runs them, with stubs of uname, xcode-select, brew
# and of a compiler that finds a library once brew "installed" it. What is under test is which
# formulas are asked for, when, and what is said; Homebrew itself is not here. formula.rb stands for
# it where the formula is evaluated, whose test block runs on the programs of this build.
cd "$(dirname "$0")/../.." || exit 1

T=$(mktemp -d /tmp/ronzal-test.XXXXXX) || exit 1
trap 'rm -rf "$T"' EXIT
trap 'exit 1' HUP INT TERM
RONZAL_BUILD=${RONZAL_BUILD:-$PWD/build}
mkdir "$T/bin" "$T/xcode" "$T/brew" "$T/installed"

check() { # NAME COMMAND...
	check_name=$1
	shift
	if "$@" >"$T/check.log" 2>&1; then
		echo "ok $check_name"
	else
		printf 'not ok %s: %s\n' "$check_name" "$(tail -c 400 "$T/check.log" | tr '\n' ' ')"
	fi
}

stub() { # FOLDER NAME, its text on stdin
	{
		echo '#!/bin/sh'
		echo "T=$T"
		cat
	} >"$T/$1/$2"
	chmod +x "$T/$1/$2"
}

stub bin uname <<'END'
[ "${1:-}" = -m ] && echo arm64 || echo Darwin
END
stub bin pkg-config <<'END'
exit 1
END
# The library that the probe includes last is there when its formula is.
stub bin cc <<'END'
for word; do case $word in *.c) probe=$word ;; esac; done
case $(sed -n 's/^#include <\(.*\)>$/\1/p' "$probe" | tail -n 1) in
uv.h) formula=libuv ;;
llhttp.h | yyjson.h) formula=$(sed -n 's/^#include <\(.*\)\.h>$/\1/p' "$probe" | tail -n 1) ;;
nettle/*) formula=nettle ;;
*) exit 0 ;; # part of macOS: the C library, SQLite, curl
esac
[ -e "$T/installed/$formula" ]
END
stub xcode xcode-select <<'END'
echo /Library/Developer/CommandLineTools
END
stub brew brew <<'END'
echo "$*" >>"$T/asked"
for formula; do :; done
[ ! -e "$T/refuses" ] || exit 1
touch "$T/installed/$formula"
[ "$formula" != llama.cpp ] || cp "$T/llama-server" "$T/brew/"
END
stub . llama-server <<'END'
case $1 in
--version) echo 'version: 6210 (a1b2c3d)' >&2 ;;
--list-devices) printf 'Available devices:\n  MTL0: Apple M4 Pro (53084 MiB, 53083 MiB free)\n' ;;
esac
END

deps() { # FOLDERS ARGUMENT...
	folders=$1
	shift
	rm -f "$T/asked"
	PATH=$folders:$T/bin:/usr/bin:/bin scripts/deps.sh "$@" >"$T/said" 2>&1
}

without_homebrew() {
	! deps "$T/xcode" && grep 'https://brew.sh' "$T/said"
}
check says_where_homebrew_is_to_be_had without_homebrew

without_tools() {
	! deps "$T/brew" && grep 'xcode-select --install' "$T/said" && [ ! -e "$T/asked" ]
}
check asks_for_the_command_line_tools_first without_tools

refused() {
	touch "$T/refuses"
	! deps "$T/brew:$T/xcode" && grep 'brew install libuv failed' "$T/said"
	status=$?
	rm "$T/refuses"
	return $status
}
check names_the_formula_that_could_not_be_installed refused

installs() {
	deps "$T/brew:$T/xcode" || { cat "$T/said" && return 1; }
	cat "$T/asked"
	[ "$(tr '\n' ' ' <"$T/asked")" = 'install --quiet libuv install --quiet llhttp install --quiet yyjson install --quiet nettle ' ]
}
check installs_the_libraries_that_macos_lacks_and_no_other installs

again() {
	deps "$T/brew:$T/xcode" && [ ! -s "$T/said" ] && [ ! -e "$T/asked" ]
}
check a_second_run_is_silent_and_asks_for_nothing again

formulas() { # those that packaging/homebrew/ronzal.rb names, without what only runs or builds
	sed -n 's/^  depends_on "\([a-z.]*\)"$/\1/p' packaging/homebrew/ronzal.rb | grep -vx llama.cpp
}

same_as_formula() {
	(cd "$T/installed" && ls) | sort >"$T/one"
	formulas | sort >"$T/two"
	diff "$T/one" "$T/two"
}
check the_formula_names_the_same_libraries same_as_formula

engine() {
	rm -f "$T/asked"
	HOME=$T XDG_DATA_HOME='' RONZAL_ENGINE='' RONZAL_ENGINE_PREFIX='' PATH=$T/brew:$T/bin:/usr/bin:/bin \
		scripts/engine.sh >"$T/said" 2>&1 || { cat "$T/said" && return 1; }
	cat "$T/said"
	grep -qx 'install --quiet llama.cpp' "$T/asked" && grep -q 'MTL0.*ok$' "$T/said"
}
if [ -x /usr/bin/llama-server ]; then
	echo 'skip installs_llama_cpp_and_shows_its_metal_device: this machine has a llama-server in /usr/bin'
else
	check installs_llama_cpp_and_shows_its_metal_device engine
fi

evaluates() {
	mkdir "$T/formula" && ruby -c packaging/homebrew/ronzal.rb &&
		ruby tests/cross/formula.rb "$PWD/packaging/homebrew/ronzal.rb" "$RONZAL_BUILD" "$T/formula" >"$T/said" &&
		grep -q '^system make install PREFIX=' "$T/said" && grep -qx 'test passed' "$T/said"
}
if command -v ruby >/dev/null 2>&1; then
	check the_formula_is_ruby_and_its_test_holds evaluates
else
	echo 'skip the_formula_is_ruby_and_its_test_holds: no ruby here (scripts/deps.sh --test)'
fi
