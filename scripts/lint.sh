#!/bin/sh
# SPDX-License-Identifier: MIT
#
# lint.sh: holds the house rules. Each rule is one line, ok or FAIL, and FAIL is followed by what
# to mend. "skip" names the tool that is not here.
#
#   scripts/lint.sh            all rules
#   scripts/lint.sh --quick    without clang-tidy and the second compiler
#   scripts/lint.sh RULE...    these rules alone; the names are those that it prints
#
# Run it by "make lint": the rules about objects and documents look at build/.
set -u

cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
lines_aim=16000
lines_max=42800 # the aim is missed (ARCHITECTURE.md, Size); this keeps it from growing further
file_lines_max=800
function_lines_max=100
function_lines_review=60
review_per_cent_max=4
columns_max=100
page_kib_max=60

# Who may include whom: a folder, then the folders (or single headers) beside itself.
include_table='
base
os        base
conf      base
model     base
wire      base
io        base os
http      base io
engine    base model wire
link      base io http wire
host      base os io http engine model wire fetch
hostapi   base io http link wire
backend   base io http link wire model engine fetch
frontend  base io http
fetch     base io model os wire
gate      wire/constants.h
cli       base os io conf model wire http engine link host hostapi backend frontend fetch
'

# Third-party headers and the files that may include them.
door_table='
uv.h         src/io/*
llhttp.h     src/http/h1.c
yyjson.h     src/base/json.c
sqlite3.h    src/backend/usage_db.c
nettle/.*    src/base/digest.c
curl/curl.h  src/fetch/*.c
'

# File-scope variables that change are allowed here alone.
mutable_allowed='cli/main.o base/log.o'

banned='strcpy|strcat|sprintf|vsprintf|strtok|gets|atoi|atol|atof|system|popen|tmpnam|alloca'

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

c_files() { # FOLDER...
	find "$@" -name '*.[ch]' -type f 2>/dev/null | sort
}

shell_files() {
	find scripts tests bench deploy packaging .ci -name node_modules -prune -o -type f -print 2>/dev/null |
		while read -r file; do
			case $(head -c 20 "$file" | head -n 1) in '#!/bin/sh'* | '#!/bin/bash'*) echo "$file" ;; esac
		done | sort
}

# The flags with which the Makefile compiles.
compile_flags() {
	make -s print-flags
}

# Rules: what they print is wrong; a rule that prints nothing holds. ---------------------------

rule_spdx() {
	{
		c_files src tests bench
		shell_files
		find web tests/e2e -name node_modules -prune -o -name dist -prune -o \
			\( -name '*.ts' -o -name '*.tsx' \) -print 2>/dev/null
	} | while read -r file; do
		head -n 2 "$file" | grep -q 'SPDX-License-Identifier: MIT' ||
			echo "$file:1: has no SPDX line"
	done
}

rule_layout() {
	case $(clang-format --version 2>/dev/null) in
	*'version 14.'*) ;;
	*) echo 'skip: clang-format 14, whose layout this is, is not installed' && return ;;
	esac
	c_files src tests bench | xargs clang-format --dry-run -Werror 2>&1 | grep 'error:' |
		awk -F: '{ n[$1]++ } END { for (f in n) printf "%s: %d places: make format FILES=%s\n", f, n[f], f }' | sort
}

rule_columns() {
	for file in $(c_files src tests bench); do
		expand -t 8 "$file" | LC_ALL=C awk -v file="$file" -v max="$columns_max" '
			{ gsub(/[\200-\277]/, "") } # the later bytes of UTF-8
			length($0) > max { printf "%s:%d: %d columns, %d at most\n", file, NR, length($0), max }'
	done
}

# A function is what lies between a brace in column 1 and the next one that closes there.
rule_limits() {
	# shellcheck disable=SC2046  # no file of ours has a blank in its name
	awk -v file_max="$file_lines_max" -v max="$function_lines_max" -v review="$function_lines_review" \
		-v per_cent="$review_per_cent_max" '
		FNR == 1 { if (file != "") end_of_file(); file = FILENAME }
		/^[a-zA-Z_].*\(/ { head = $0 }
		/^{$/ { start = FNR }
		/^}$/ && start {
			lines = FNR - start + 1
			functions++
			if (lines > review) { long++; seen = seen sprintf("\n%s:%d: %d lines", file, start, lines) }
			if (lines > max) printf "%s:%d: %d lines, %d at most: %s\n", file, start, lines, max, head
			start = 0
		}
		{ last = FNR }
		END {
			end_of_file()
			if (long * 100 > functions * per_cent)
				printf "%d of %d functions are over %d lines, %d %% at most:%s\n", long, functions, review, per_cent, seen
		}
		function end_of_file() {
			if (last > file_max) printf "%s: %d lines, %d at most\n", file, last, file_max
		}' $(c_files src tests bench) </dev/null
}

rule_total() {
	total=$(c_files src | xargs cat | wc -l)
	[ "$total" -le "$lines_max" ] ||
		echo "src has $total lines of C, $lines_max at most; the aim is $lines_aim"
}

rule_includes() {
	c_files src | xargs grep -n '^ *# *include "' | while IFS=: read -r file line text; do
		folder=${file#src/}
		folder=${folder%%/*}
		header=${text#*\"}
		header=${header%%\"*}
		[ "$header $folder" = 'version.h cli' ] && continue
		allowed=$(printf '%s' "$include_table" | awk -v folder="$folder" '$1 == folder')
		for word in $allowed; do
			case $header in "$word" | "$word"/*) continue 2 ;; esac
		done
		echo "$file:$line: src/$folder may not include $header"
	done
}

rule_doors() {
	printf '%s' "$door_table" | while read -r header door; do
		[ -n "$header" ] || continue
		for file in $(grep -l "^ *# *include [<\"]${header}[>\"]" $(c_files src) /dev/null); do
			# shellcheck disable=SC2254  # the door is a pattern
			case $file in $door) ;; *) echo "$file: includes $header, whose door is $door" ;; esac
		done
	done
	users=$(grep -l '<curl/curl.h>' $(c_files src) /dev/null | wc -l)
	[ "$users" -le 1 ] || echo "curl/curl.h is included by $users files, 1 at most"
}

rule_banned() {
	# shellcheck disable=SC2046
	grep -nE "(^|[^a-zA-Z0-9_.>\"])($banned) ?\(" $(c_files src bench tests) /dev/null |
		grep -vE ':[0-9]+:[ 	]*(/?\*|//)'
}

rule_platform() {
	grep -nE '^ *# *(if|ifdef|ifndef|elif).*(__APPLE__|__linux__)' $(c_files src) /dev/null |
		grep -v '^src/os/'
}

rule_leftovers() {
	grep -nE '(^ *# *if 0|TODO|FIXME|(^|[^X])XXX([^X]|$))' $(c_files src tests bench) $(shell_files) /dev/null |
		grep -v '^scripts/lint.sh'
}

# Changing data that a translation unit keeps for itself: no daemon state outside structs.
rule_mutable() {
	find "$BUILD/obj" -name '*.o' ! -path '*/tests/*' 2>/dev/null | sort | while read -r object; do
		source=${object#"$BUILD/obj/"}
		[ -f "src/${source%.o}.c" ] || continue
		case " $mutable_allowed " in *" $source "*) continue ;; esac
		if [ "$(uname -s)" = Darwin ]; then
			nm -m "$object" | awk -v o="$object" '/\(__DATA,__(data|bss|common|thread)/ { print o ": " $NF }'
		else
			objdump -t "$object" | awk -v o="$object" '
				/ O / || /\*COM\*/ {
					for (i = 1; i <= NF; i++)
						if ($i ~ /^\.(data|bss|tdata|tbss)/ && $i !~ /^\.data\.rel\.ro/ || $i == "*COM*")
							print o ": " $NF " in " $i
				}'
		fi
	done | sed 's/$/ is a mutable variable at file scope/'
}

rule_headers() {
	flags=$(compile_flags)
	for header in $(c_files src | grep '\.h$'); do
		printf '#include "%s"\ntypedef int not_empty;\n' "${header#src/}" >"$work/header.c"
		# shellcheck disable=SC2086  # flags are words
		${CC:-cc} $flags -fsyntax-only "$work/header.c" >"$work/header.log" 2>&1 ||
			echo "$header: does not compile alone: $(grep -m 1 error "$work/header.log")"
	done
}

# The files of src that this system compiles.
our_sources() {
	other=_macos.c
	[ "$(uname -s)" != Darwin ] || other=_linux.c
	c_files src | grep '\.c$' | grep -v "^src/os/.*$other\$"
}

rule_warnings() {
	flags=$(compile_flags)
	for compiler in gcc clang; do
		command -v "$compiler" >/dev/null 2>&1 || continue
		# shellcheck disable=SC2086  # flags are words
		our_sources | xargs -P 2 -n 4 "$compiler" $flags "-I$BUILD" -fsyntax-only 2>&1 |
			grep -E '(error|warning):'
	done
}

# Without -O2: it turns tolower() and others into macros whose blocks would count as nesting.
rule_tidy() {
	command -v clang-tidy >/dev/null 2>&1 || { echo 'skip: clang-tidy is not installed' && return; }
	our_sources | xargs -P 2 -n 2 sh -c 'flags=$1; shift; clang-tidy --quiet "$@" -- $flags' sh \
		"$(compile_flags | sed 's/ -O[0-9]//') -I$BUILD" 2>/dev/null |
		grep -E '(error|warning):' | sed "s|^$PWD/||" | sort -u
}

rule_shell() {
	for file in $(shell_files); do
		case $(head -n 1 "$file") in
		*bash*) bash -n "$file" 2>&1 ;;
		*) sh -n "$file" 2>&1 ;;
		esac
	done
	command -v shellcheck >/dev/null 2>&1 || return
	shell_files | xargs shellcheck -S warning -e SC1010,SC2034,SC2046,SC2174 -f gcc
}

# The built page, gzipped; its own build holds the same limit.
rule_page() {
	[ -d web/dist ] || { echo 'skip: the page is not built (make web)' && return; }
	bytes=$(find web/dist -name '*.gz' -exec cat {} + | wc -c)
	[ "$bytes" -le $((page_kib_max * 1024)) ] ||
		echo "web/dist has $bytes bytes gzipped, $page_kib_max KiB at most"
}

# Reference pages are what the tables say.
rule_documents() {
	[ -x "$BUILD/ronzal" ] || return
	"$BUILD/ronzal" help options --markdown >"$work/options.md" 2>&1
	cmp -s "$work/options.md" docs/options.md ||
		echo "docs/options.md is stale: $BUILD/ronzal help options --markdown >docs/options.md"
	printf '%s' "$include_table" | grep -v '^cli' | while read -r folder allowed; do
		[ -z "$folder" ] || grep -qF "| \`$folder\` | ${allowed:--} |" ARCHITECTURE.md ||
			echo "ARCHITECTURE.md: $folder may include $allowed, as this script's table says"
	done
}

# The management API's routes and its description name the same things.
rule_routes() {
	sed -n 's/^\tX(\([A-Z]*\), "\([^"]*\)".*/\1 \2/p' src/backend/manage.h | sort >"$work/routes"
	awk '/^paths:/ { on = 1 } /^components:/ { on = 0 }
		on && /^  \// { path = $1; sub(/:$/, "", path) }
		on && /^    (get|put|post|delete):$/ { method = $1; sub(/:$/, "", method); print toupper(method), path }
		' docs/openapi.yaml | sort >"$work/described"
	comm -23 "$work/routes" "$work/described" | sed 's/$/: is a route, and not in docs\/openapi.yaml/'
	comm -13 "$work/routes" "$work/described" | sed 's/$/: is in docs\/openapi.yaml, and no route/'
}

quick='spdx layout columns limits total includes doors banned platform leftovers mutable headers shell documents routes page'
case ${1:-} in
--quick) set -- $quick ;;
'') set -- $quick warnings tidy ;;
esac
for rule; do
	"rule_$rule" >"$work/wrong" 2>&1
	if [ ! -s "$work/wrong" ]; then
		echo "ok $rule"
	elif grep -q '^skip: ' "$work/wrong"; then
		echo "skip $rule: $(sed -n 's/^skip: //p' "$work/wrong")"
	else
		echo "FAIL $rule"
		sed 's/^/    /' "$work/wrong"
		failed=1
	fi
done
exit $failed
