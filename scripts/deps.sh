#!/bin/sh
# SPDX-License-Identifier: MIT
#
# deps.sh: installs what ronzal is built from, by brew on macOS and apt on Debian and Ubuntu.
#
#   scripts/deps.sh            install what is missing to build; silent when nothing is
#   scripts/deps.sh --test     also what the tests, the linter and the benchmarks use
#   scripts/deps.sh --check    install nothing; name what is missing, exit 1 if anything is
#   scripts/deps.sh --show     one line with the versions that are used
#
# A row of a table below is: probe, apt package, brew formula, reason. A probe is cmd:PROGRAM,
# lib:HEADER:LIBRARY (compiled and linked) or fn:FUNCTION of this script; "-" means that the
# package manager has nothing for it. What is already there, from wherever, is left alone.
set -u

build_table='
cmd:cc                   gcc                   -          C compiler
cmd:make                 make                  -          the front door
cmd:pkg-config           pkg-config            pkgconf    finds the libraries
cmd:ssh                  openssh-client        -          the channel to the host
lib:stdlib.h:c           libc6-dev             -          C library headers
lib:uv.h:uv              libuv1-dev            libuv      event loop
lib:llhttp.h:llhttp      libllhttp-dev         llhttp     HTTP/1 parser
lib:yyjson.h:yyjson      libyyjson-dev         yyjson     JSON
lib:sqlite3.h:sqlite3    libsqlite3-dev        sqlite     usage records
lib:nettle/sha2.h:nettle  nettle-dev            nettle     SHA-256 and base64
lib:curl/curl.h:curl     libcurl4-openssl-dev  curl       downloads
'

test_table='
lib:cmocka.h:cmocka      libcmocka-dev         cmocka       unit tests
cmd:clang                clang                 -            second compiler, fuzzers
fn:has_fuzzer            libclang-rt-dev       llvm         sanitizers and libFuzzer for clang
fn:has_asan              gcc                   -            sanitizers for the C compiler
cmd:clang-tidy           clang-tidy            llvm         lint
cmd:clang-format         clang-format          clang-format lint
cmd:shellcheck           shellcheck            shellcheck   lint of shell scripts
cmd:varnishtest          varnish               varnish      wire tests
cmd:sshd                 openssh-server        -            gate tests over a real sshd
fn:has_chromium          chromium              -            browser tests
fn:has_node              nodejs                node         end-to-end tests, the page
cmd:npm                  npm                   node         end-to-end tests, the page
cmd:curl                 curl                  -            system tests
cmd:lsof                 lsof                  -            descriptor checks
cmd:valgrind             valgrind              -            memory checks
cmd:wrk                  wrk                   wrk          benchmarks
cmd:nginx                nginx                 nginx        peer in the benchmarks
cmd:haproxy              haproxy               haproxy      peer in the benchmarks
cmd:slowhttptest         slowhttptest          slowhttptest slow client tests
cmd:promtool             -                     prometheus   checks /metrics
fn:has_venv              python3-venv          -            Zig, for the Mac binaries
cmd:tclsh                tcl                   -            SQLite, for the Mac binaries
cmd:llvm-objdump         llvm                  -            looks into the Mac binaries
cmd:systemd-analyze      systemd               -            checks the unit of the agent
cmd:debootstrap          debootstrap           -            bare systems for the tests of images and packages
cmd:dh                   debhelper             -            the Debian package
cmd:ruby                 ruby                  -            the Homebrew formula
fn:has_docker            docker.io             -            Docker tests
fn:has_compose           docker-compose        -            Docker tests
fn:has_compose_v2        -                     -            Docker tests with compose v2 as well
'

# The packages that Debian 12 lacks. They need only libc 2.14, so Debian 13's are taken.
borrowed='libllhttp-dev libllhttp9.2 libyyjson-dev libyyjson0'

cd "$(dirname "$0")/.." || exit 1
tools=$PWD/.cache/bin
PATH=$PATH:/usr/sbin:/sbin:$tools
work=$(mktemp -d) || exit 1
policy=
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

say() {
	printf 'deps     %s\n' "$*" >&2
}

die() {
	say "$*"
	exit 1
}

cleanup() {
	[ -z "$policy" ] || as_root rm -f "$policy"
	rm -rf "$work"
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		die "needs root to run: $*   (neither root nor sudo here)"
	fi
}

# Probes ------------------------------------------------------------------------------------

has_lib() { # HEADER LIBRARY
	command -v cc >/dev/null 2>&1 || return 1
	flags=$(pkg-config --cflags --libs "$(pc_name "$2")" 2>/dev/null) || flags=-l$2
	printf '#include <%s>\n' stdarg.h stddef.h stdint.h setjmp.h "$1" >"$work/probe.c"
	echo 'int main(void) { return 0; }' >>"$work/probe.c"
	# shellcheck disable=SC2086  # flags are words
	cc "$work/probe.c" -o "$work/probe" $flags >/dev/null 2>&1
}

pc_name() { # LIBRARY
	case $1 in
	sqlite3 | yyjson | nettle) echo "$1" ;;
	*) echo "lib$1" ;;
	esac
}

has_fuzzer() {
	command -v clang >/dev/null 2>&1 || return 1
	printf '%s\n' '#include <stddef.h>' '#include <stdint.h>' \
		'int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);' \
		'int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)' \
		'{ return data == 0 && size == 1; }' >"$work/fuzz.c"
	clang -fsanitize=fuzzer,address,undefined "$work/fuzz.c" -o "$work/fuzz" >/dev/null 2>&1
}

has_asan() {
	printf 'int main(void) { return 0; }\n' >"$work/asan.c"
	cc -fsanitize=address,undefined "$work/asan.c" -o "$work/asan" >/dev/null 2>&1
}

has_venv() { python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

# A client alone is not enough where the tests start the daemon themselves.
has_docker() {
	command -v dockerd >/dev/null 2>&1 || docker info >/dev/null 2>&1
}

has_chromium() {
	[ -d '/Applications/Google Chrome.app' ] || [ -d /Applications/Chromium.app ] ||
		command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1
}

has_compose() {
	docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null 2>&1
}

has_compose_v2() {
	command -v docker-compose-v2 >/dev/null 2>&1 || docker compose version >/dev/null 2>&1
}

# The end-to-end tests load TypeScript by "node --import", which came with 18.19.
has_node() {
	command -v node >/dev/null 2>&1 || return 1
	node -e 'const [a, b] = process.versions.node.split(".").map(Number);
		process.exit(a > 18 || (a === 18 && b >= 19) ? 0 : 1)' >/dev/null 2>&1
}

probe() { # PROBE
	case $1 in
	cmd:*) command -v "${1#cmd:}" >/dev/null 2>&1 ;;
	lib:*)
		header=${1#lib:}
		has_lib "${header%%:*}" "${header##*:}"
		;;
	fn:*) "${1#fn:}" ;;
	esac
}

# Prints the rows of TABLE whose probe fails.
missing_rows() { # TABLE
	printf '%s' "$1" | while read -r what apt brew reason; do
		[ -n "$what" ] || continue
		probe "$what" || printf '%s %s %s %s\n' "$what" "$apt" "$brew" "$reason"
	done
}

column() { # N, rows on stdin; unique words, no "-"
	awk -v n="$1" '$n != "-" && !seen[$n]++ { printf "%s%s", sep, $n; sep = " " }'
}

# apt ---------------------------------------------------------------------------------------

apt_quiet() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Use-Pty=0 "$@" >"$work/apt.log" 2>&1
}

apt_update() {
	apt_quiet update || say "warning: apt-get update: $(tail -n 1 "$work/apt.log")"
}

apt_knows() { # PACKAGE
	LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'
}

# Services that come with the test tools (nginx, varnish, sshd, ...) must not start by themselves.
hold_services() {
	[ -e /usr/sbin/policy-rc.d ] && return
	printf '#!/bin/sh\nexit 101\n' >"$work/policy-rc.d"
	as_root install -m 755 "$work/policy-rc.d" /usr/sbin/policy-rc.d &&
		policy=/usr/sbin/policy-rc.d
}

# Adds Debian 13 beside Debian 12, pinned so that nothing but the borrowed packages can come from
# it, on the mirror and under the keyring that the machine's own Debian 12 source uses.
borrow_from_trixie() {
	list=/etc/apt/sources.list.d/ronzal-trixie.list
	[ -e "$list" ] && return
	apt_update
	mirror=$(apt-get indextargets --format '$(RELEASE) $(CODENAME) $(COMPONENT) $(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null |
		awk '($1 == "bookworm" || $2 == "bookworm") && $3 == "main" { print $4; exit }')
	[ -n "$mirror" ] || die "Debian 12 has no $borrowed. They come from Debian 13, but no source for" \
		"bookworm main was found in /etc/apt to take its mirror from."
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$keyring" ] || keyring=/etc/apt/trusted.gpg.d/debian-archive-trixie-stable.asc
	[ -r "$keyring" ] || die "no Debian archive keyring here: install debian-archive-keyring"
	say "adds Debian 13 on the same mirror, pinned to: $borrowed"
	{
		echo '# Added by ronzal, scripts/deps.sh; see /etc/apt/preferences.d/ronzal-trixie.pref'
		echo "deb [signed-by=$keyring] $mirror trixie main"
	} >"$work/trixie.list"
	{
		echo '# Added by ronzal, scripts/deps.sh. Debian 13 gives these packages and no other.'
		printf 'Package: %s\nPin: release n=trixie\nPin-Priority: 500\n\n' "$borrowed"
		printf 'Package: *\nPin: release n=trixie\nPin-Priority: -1\n'
	} >"$work/trixie.pref"
	as_root install -m 644 "$work/trixie.pref" /etc/apt/preferences.d/ronzal-trixie.pref &&
		as_root install -m 644 "$work/trixie.list" "$list" || die "cannot write to /etc/apt"
}

os_field() { # FIELD
	[ -r /etc/os-release ] && sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" /etc/os-release
}

# Prints the packages of WORDS that apt cannot install.
apt_unknown() { # WORDS
	for package in $1; do
		apt_knows "$package" || printf '%s ' "$package"
	done
}

install_apt() { # ROWS OPTIONAL_ROWS
	wanted=$(printf '%s\n' "$1" | column 2)
	if [ -n "$wanted" ] && [ "$(os_field ID)$(os_field VERSION_ID)" = debian12 ]; then
		case $wanted in *libllhttp-dev* | *libyyjson-dev*) borrow_from_trixie ;; esac
	fi
	apt_update
	if [ -n "$wanted" ]; then
		unknown=$(apt_unknown "$wanted")
		[ -z "$unknown" ] || die "$(os_field PRETTY_NAME) has no package" \
			"$unknown: build it from source and run this again, or use Debian 12 or later," \
			"or an Ubuntu that has it."
		say "installs $wanted"
		# shellcheck disable=SC2086  # wanted is words
		apt_quiet install -y --no-install-recommends $wanted ||
			die "apt-get install failed: $(grep -m 1 '^E:' "$work/apt.log")"
	fi
	[ -z "$2" ] || install_apt_tests "$2"
}

# Each test tool by itself, so that one that is missing leaves the others.
install_apt_tests() { # ROWS
	hold_services
	printf '%s\n' "$1" | while read -r what package _ reason; do
		[ "$package" = - ] && continue
		probe "$what" && continue
		if ! apt_knows "$package"; then
			say "warning: no package $package here ($reason): its tests will be skipped"
			continue
		fi
		say "installs $package ($reason)"
		apt_quiet install -y --no-install-recommends "$package" </dev/null ||
			say "warning: $package: $(grep -m 1 '^E:' "$work/apt.log")"
	done
	command -v promtool >/dev/null 2>&1 || unpack_program prometheus usr/bin/promtool promtool
	has_compose_v2 || unpack_program docker-compose/trixie \
		usr/libexec/docker/cli-plugins/docker-compose docker-compose-v2
}

# One program of a package that is not installed: prometheus would run a server on the Host API's
# port, and Debian 13's compose v2 would take the place of the v1 that is tested as well.
unpack_program() { # PACKAGE PATH NAME: into .cache/bin, when apt knows it
	mkdir -p "$tools" "$work/$3" && cd "$work/$3" || return
	if apt-get -qq download "$1" >/dev/null 2>&1; then
		say "unpacks $3 into .cache/bin"
		dpkg-deb -x ./*.deb . && cp "$2" "$tools/$3" || say "warning: $3 could not be unpacked"
	fi
	cd - >/dev/null || exit 1
}

# brew --------------------------------------------------------------------------------------

install_brew() { # ROWS OPTIONAL_ROWS
	command -v brew >/dev/null 2>&1 ||
		die "ronzal takes its libraries from Homebrew. Install it (https://brew.sh), then again."
	xcode-select -p >/dev/null 2>&1 ||
		die "no command line tools: run xcode-select --install, then again."
	for formula in $(printf '%s\n' "$1" | column 3); do
		say "installs $formula"
		brew install --quiet "$formula" >/dev/null || die "brew install $formula failed"
	done
	for formula in $(printf '%s\n' "$2" | column 3); do
		say "installs $formula"
		brew install --quiet "$formula" >/dev/null || say "warning: brew install $formula failed"
	done
}

# -------------------------------------------------------------------------------------------

# Libraries without a pkg-config file tell their version in their header.
llhttp_version() {
	pkg-config --modversion libllhttp 2>/dev/null && return
	printf '#include <llhttp.h>\nv LLHTTP_VERSION_MAJOR LLHTTP_VERSION_MINOR LLHTTP_VERSION_PATCH\n' |
		cc -E - 2>/dev/null | sed -n 's/^v \([0-9]*\) \([0-9]*\) \([0-9]*\)$/\1.\2.\3/p'
}

show() {
	printf 'deps     libuv %s  llhttp %s  yyjson %s  sqlite %s  curl %s   ok\n' \
		"$(pkg-config --modversion libuv)" "$(llhttp_version)" "$(pkg-config --modversion yyjson)" \
		"$(pkg-config --modversion sqlite3)" "$(pkg-config --modversion libcurl)"
}

mode=install
tests=
for arg; do
	case $arg in
	--test) tests=1 ;;
	--check) mode=check ;;
	--show) mode=show ;;
	*) die "unknown argument '$arg'; see the head of scripts/deps.sh" ;;
	esac
done

[ "$mode" = show ] && {
	show
	exit
}

rows=$(missing_rows "$build_table")
optional=
[ -z "$tests" ] || optional=$(missing_rows "$test_table")
[ -n "$rows$optional" ] || exit 0

if [ "$mode" = check ]; then
	printf '%s\n' "$rows" "$optional" | while read -r what apt _ reason; do
		[ -z "$what" ] || say "missing: $what, package $apt ($reason)"
	done
	exit 1
fi

case $(uname -s) in
Darwin) install_brew "$rows" "$optional" ;;
*)
	command -v apt-get >/dev/null 2>&1 || die "no apt and no brew here. Install by hand:" \
		"$(printf '%s\n' "$rows" "$optional" | column 2)"
	install_apt "$rows" "$optional"
	;;
esac

rows=$(missing_rows "$build_table")
[ -z "$rows" ] || die "still missing after the installation: $(printf '%s\n' "$rows" | column 1)"
