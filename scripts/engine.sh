#!/bin/sh
# SPDX-License-Identifier: MIT
#
# engine.sh: finds llama-server, or installs it, and says what it is.
#
#   scripts/engine.sh                one line: version, devices, ok
#   scripts/engine.sh --print-path   the same search and installation; prints its path alone
#   scripts/engine.sh --find         installs nothing; prints its path, or exits 1
#
# Looked for, in this order: $RONZAL_ENGINE, the PATH, Homebrew, our own prefix. Installed from:
# Homebrew on macOS; the package llama.cpp-tools where Debian's release has it (14 and later);
# else the packages of Debian 14 (forky), unpacked into our own prefix with the C library that they
# need, the rest of the system untouched. The prefix is $RONZAL_ENGINE_PREFIX, or
# ~/.local/share/ronzal/engine. Remove that folder to have it fetched anew.
set -u

prefix=${RONZAL_ENGINE_PREFIX:-${XDG_DATA_HOME:-$HOME/.local/share}/ronzal/engine}
work=
# llama-fit-params, which tells the memory that a model will take, is in the second.
tools="llama.cpp-tools llama.cpp-tools-extra"
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

say() {
	printf 'engine   %s\n' "$*" >&2
}

die() {
	say "$*"
	exit 1
}

cleanup() {
	[ -z "$work" ] || rm -rf "$work"
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

# Search ------------------------------------------------------------------------------------

find_engine() {
	if [ -n "${RONZAL_ENGINE:-}" ]; then
		[ -x "$RONZAL_ENGINE" ] || die "RONZAL_ENGINE is $RONZAL_ENGINE, which is no program." \
			"Set it to a llama-server, or unset it."
		printf '%s\n' "$RONZAL_ENGINE"
		return
	fi
	command -v llama-server && return
	for candidate in /opt/homebrew/bin/llama-server /usr/local/bin/llama-server \
		"$prefix/bin/llama-server"; do
		if [ -x "$candidate" ]; then
			printf '%s\n' "$candidate"
			return
		fi
	done
	return 1
}

# Installation ------------------------------------------------------------------------------

has_gpu() {
	command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && return
	for node in /dev/dri/renderD*; do
		[ -e "$node" ] && return
	done
	command -v vulkaninfo >/dev/null 2>&1 && vulkaninfo --summary 2>/dev/null |
		grep -q 'deviceType.*_GPU'
}

# The mirror that this machine takes Debian from.
debian_mirror() {
	apt-get indextargets --format '$(COMPONENT) $(REPO_URI) $(ORIGIN)' 'Created-By: Packages' \
		2>/dev/null | awk '$1 == "main" && $2 ~ /\/debian\/?$/ { print $2; exit }'
}

debian_keyring() {
	for keyring in /usr/share/keyrings/debian-archive-keyring.pgp \
		/usr/share/keyrings/debian-archive-keyring.gpg; do
		if [ -r "$keyring" ]; then
			printf '%s\n' "$keyring"
			return
		fi
	done
	return 1
}

# An apt of its own: one source, an empty list of installed packages, nothing unsigned.
private_apt() { # MIRROR KEYRING
	mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/packages" || return
	chmod -R a+rX "$work"
	: >"$work/status"
	echo "deb [signed-by=$2 target=Packages] $1 forky main" >"$work/sources.list"
	cat >"$work/apt.conf" <<-CONF
		Dir::State "$work/state";
		Dir::State::status "$work/status";
		Dir::Cache "$work/cache";
		Dir::Etc::sourcelist "$work/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Acquire::Languages "none";
		Acquire::AllowInsecureRepositories "false";
		Acquire::AllowWeakRepositories "false";
		APT::Get::AllowUnauthenticated "false";
		APT::Sandbox::User "$(id -un)";
	CONF
	export APT_CONFIG="$work/apt.conf"
	apt-get -qq -o APT::Update::Error-Mode=any update >"$work/apt.log" 2>&1
}

apt_reason() {
	grep -m 1 '^[EW]:' "$work/apt.log" || echo 'no reason given'
}

# The libraries that the solver finds for libllama0 are those of the tools. The tools' own
# dependencies would add debconf and wget, which serve their package scripts only.
closure() { # PACKAGE...
	LC_ALL=C apt-get -s --no-install-recommends install "$@" 2>>"$work/apt.log" |
		awk '$1 == "Inst" { print $2 }'
}

quoted() { # TEXT, as one word for sh
	printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

# The unpacked programs run only through the loader that came with them. The engine looks for its
# back ends beside its executable, which then is that loader: hence the links.
write_launchers() { # UNPACKED, which will be $prefix
	loader=$(cd "$1" && find root/usr/lib root/usr/lib64 -name 'ld-linux-*.so.*' ! -type l 2>/dev/null |
		head -n 1)
	[ -n "$loader" ] || die "the unpacked packages have no loader (ld-linux): $prefix was not made"
	libraries=$(dirname "$loader")
	find "$1/root/usr/lib" -path '*/backends*' -name 'libggml-*.so' | while read -r backend; do
		ln -sf "${backend#"$1/$libraries/"}" "$1/$libraries/$(basename "$backend")"
	done
	mkdir -p "$1/bin"
	for program in "$1"/root/usr/bin/llama*; do
		name=$(basename "$program")
		cat >"$1/bin/$name" <<-LAUNCHER
			#!/bin/sh
			# Written by ronzal, scripts/engine.sh.
			root=$(quoted "$prefix")
			libraries=\$root/$libraries
			exec "\$root/$loader" --argv0 "\$0" --library-path "\$libraries:\$libraries/llama" \\
				"\$root/root/usr/bin/$name" "\$@"
		LAUNCHER
		chmod 755 "$1/bin/$name"
	done
}

install_private() {
	mirror=$(debian_mirror)
	[ -n "$mirror" ] || die "no llama-server here. It can be taken from Debian 14, but /etc/apt names" \
		"no Debian mirror. Install llama.cpp yourself and set RONZAL_ENGINE to its llama-server."
	keyring=$(debian_keyring) || die "no Debian archive keyring: apt-get install debian-archive-keyring"
	work=$(mktemp -d) || exit 1
	mkdir -p "$(dirname "$prefix")" || die "cannot make the folder for $prefix; RONZAL_ENGINE_PREFIX chooses another"
	say "reads Debian 14's package list"
	private_apt "$mirror" "$keyring" || die "Debian 14's package list: $(apt_reason)"
	wanted=libllama0
	# NVIDIA's Vulkan driver asks for libEGL also where nothing is drawn.
	! has_gpu || { wanted="$wanted libggml0-backend-vulkan libvulkan1" && tools="$tools libegl1 libglvnd0"; }
	# shellcheck disable=SC2086  # wanted is words
	packages=$(closure $wanted)
	[ -n "$packages" ] || die "Debian 14's packages do not resolve: $(apt_reason)"
	say "unpacks $tools with" "$(echo "$packages" | paste -s -d " " -)"
	# shellcheck disable=SC2086  # packages is words
	(cd "$work/packages" && apt-get -qq download $tools $packages >>"$work/apt.log" 2>&1) ||
		die "download from Debian 14: $(apt_reason)"
	new=$prefix.new
	rm -rf "$new"
	mkdir -p "$new/root"
	for package in "$work"/packages/*.deb; do
		dpkg-deb -x "$package" "$new/root" || die "cannot unpack $(basename "$package")"
	done
	write_launchers "$new"
	rm -rf "$new/root/usr/share/doc" "$new/root/usr/share/man" "$prefix"
	mv "$new" "$prefix" || die "cannot move the engine to $prefix"
}

install_engine() {
	if [ "$(uname -s)" = Darwin ]; then
		command -v brew >/dev/null 2>&1 || die "no llama-server here: install Homebrew" \
			"(https://brew.sh), or set RONZAL_ENGINE to your own."
		say "brew install llama.cpp"
		brew install --quiet llama.cpp >/dev/null || die "brew install llama.cpp failed"
		return
	fi
	command -v apt-get >/dev/null 2>&1 ||
		die "no llama-server here and no apt: install llama.cpp, or set RONZAL_ENGINE to your own."
	if LC_ALL=C apt-cache policy llama.cpp-tools 2>/dev/null | grep -q 'Candidate: [^(]'; then
		packages=$tools
		! has_gpu || packages="$packages libggml0-backend-vulkan libvulkan1"
		say "installs $packages"
		# shellcheck disable=SC2086  # packages is words
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y \
			--no-install-recommends $packages >/dev/null 2>&1 ||
			die "apt-get install $packages failed; run it yourself to see why"
		return
	fi
	install_private
}

# Report ------------------------------------------------------------------------------------

# "llama-server 0.7.0 (build 11669)" from what --version says.
version() { # PATH
	"$1" --version 2>&1 | sed -n 's/, commit [^)]*)/)/; s/^version: *//p' | head -n 1
}

# "MTL0 Apple M4 Pro, CUDA0 ..." or "none, CPU only".
devices() { # PATH
	"$1" --list-devices 2>/dev/null |
		sed -n 's/^ \{1,\}\([A-Za-z]*[0-9]\{1,\}\): \(.*\)$/\1 \2/p' |
		awk '{ sub(/ \([0-9]+ MiB.*/, ""); printf "%s%s", sep, $0; sep = ", " }
			END { if (NR == 0) printf "none, CPU only" }'
}

report() { # PATH
	found=$(version "$1")
	[ -n "$found" ] || die "$1 does not tell its version: $("$1" --version 2>&1 | head -n 3)"
	printf 'engine   llama-server %s   devices: %s   ok\n' "$found" "$(devices "$1")"
}

case ${1:-} in
--find) find_engine ;;
--print-path | '')
	engine=$(find_engine) || {
		[ -z "${RONZAL_ENGINE:-}" ] || exit 1
		install_engine
		engine=$(find_engine) || die "llama-server is still not found after its installation"
	}
	if [ -n "${1:-}" ]; then
		printf '%s\n' "$engine"
	else
		report "$engine"
	fi
	;;
*) die "unknown argument '$1'; see the head of scripts/engine.sh" ;;
esac
