#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh: runs layers of tests and folds their results into one last line.
#
#   tests/run.sh LAYER[@BUILD]...      for example  tests/run.sh unit replay@build-asan sys
#
# Layers: build lint lint-quick unit replay wire sys e2e docker cross fuzz soak. BUILD (build) holds
# the programs. ONLY=text runs only the test files whose name contains it.
#
# A test program says its results in lines on its output:
#
#   ok NAME | not ok NAME: why | skip NAME: why      our own scripts
#   ok N - NAME | not ok N - NAME | ... # SKIP why    TAP, nested or not, of cmocka and node
#
# Every result is shown as it comes. A program that fails is shown with all it wrote; one that
# ends badly, runs too long or tells no result has failed even if it named no failure. The exit
# status is 0 when something passed and nothing failed.
set -u

cd "$(dirname "$0")/.." || exit 1
root=$PWD
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
: >"$work/tally"

export CMOCKA_MESSAGE_OUTPUT=TAP
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export PATH="$PATH:/usr/sbin:/sbin:$root/.cache/bin"

# Shows a result and counts it. RESULT is ok, FAIL or skip.
record() { # RESULT NAME WHY
	echo "$1" >>"$work/tally"
	printf '%-4s %s %s%s\n' "$1" "$label" "$2" "${3:+: $3}"
}

# A line of TAP that closes a group only repeats its members, unless it alone failed: then
# something around them (a hook, a time limit) did.
tap_result() { # INDENT RESULT NAME WHY
	if [ "$previous_indent" -gt "$1" ]; then
		[ "$2$member_failed" = FAIL ] && record FAIL "$3" "$4"
		[ "$1" -gt 0 ] || member_failed=
	else
		record "$2" "$3" "$4"
		[ "$2" != FAIL ] || [ "$1" -eq 0 ] || member_failed=1
	fi
	previous_indent=$1
}

tap_line() { # INDENT RESULT REST, where REST is "N", "N - NAME" or "N # SKIP NAME"
	result=$2
	name=${3#"${3%%[!0-9]*}"}
	name=${name# }
	name=${name#- }
	why=
	case $name in
	*'# SKIP'*)
		result=skip
		why=${name#*# SKIP}
		name=${name%%# SKIP*}
		[ -n "$name" ] || { name=$why && why=; }
		;;
	esac
	name=${name# }
	tap_result "$1" "$result" "${name% }" "${why# }"
}

own_line() { # RESULT REST
	case $2 in
	*': '*) record "$1" "${2%%: *}" "${2#*: }" ;;
	*) record "$1" "$2" '' ;;
	esac
}

# Reads what a program writes.
results() {
	previous_indent=0
	member_failed=
	while IFS= read -r line || [ -n "$line" ]; do
		text=${line#"${line%%[! ]*}"}
		indent=$((${#line} - ${#text}))
		case $text in
		'ok '[0-9]*) tap_line "$indent" ok "${text#ok }" ;;
		'not ok '[0-9]*) tap_line "$indent" FAIL "${text#not ok }" ;;
		esac
		case $line in
		*'ok '[0-9]*) ;;
		'ok '*) own_line ok "${line#ok }" ;;
		'not ok '*) own_line FAIL "${line#not ok }" ;;
		'FAIL '*) own_line FAIL "${line#FAIL }" ;;
		'skip '*) own_line skip "${line#skip }" ;;
		esac
	done
}

count() { # RESULT
	grep -c "^$1\$" "$work/tally"
}

# Runs a program for at most limit_s, where the system has timeout(1).
limited() { # COMMAND...
	if command -v timeout >/dev/null 2>&1; then
		timeout -k 10 "$limit_s" "$@"
	else
		"$@"
	fi
}

# How a program ended, in words.
ending() { # STATUS
	case $1 in
	124 | 137) echo "did not end within $limit_s s" ;;
	*) echo "ended with status $1" ;;
	esac
}

# Runs one program, which tells its results itself (COMMAND is limited ...) or by its exit
# status (judge ...).
run() { # NAME LIMIT_SECONDS COMMAND...
	label=$layer/$1
	limit_s=$2
	shift 2
	case $label in *"${ONLY:-}"*) ;; *) return ;; esac
	failed_before=$(count FAIL)
	told_before=$(wc -l <"$work/tally")
	{
		"$@" </dev/null 2>&1
		echo $? >"$work/status"
	} | tee "$work/log" | results
	status=$(cat "$work/status")
	if [ "$(count FAIL)" -eq "$failed_before" ]; then
		case $status in
		0) [ "$(wc -l <"$work/tally")" -gt "$told_before" ] || record FAIL 'told no result' '' ;;
		*) record FAIL "$(ending "$status")" '' ;;
		esac
	fi
	[ "$(count FAIL)" -eq "$failed_before" ] || {
		printf '%s\n' "---- output of $label"
		cat "$work/log"
		printf '%s\n' "---- end of $label"
	}
}

# A program whose exit status is its only result, which gets a NAME here.
judge() { # NAME COMMAND...
	judged=$1
	shift
	limited "$@"
	status=$?
	case $status in
	0) echo "ok $judged" ;;
	77) echo "skip $judged: it says that it cannot run here" ;;
	*) echo "not ok $judged: $(ending $status)" ;;
	esac
	return $status
}

is_there() { # FILE; false when a wildcard matched nothing
	[ -e "$1" ]
}

# A build is judged too: the layers that follow would run what an earlier one left.
run_build() {
	jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
	run programs 1200 judge built env MAKEFLAGS= make -k -j "$jobs" "programs-$(basename "$build")"
}

run_unit() {
	for source in tests/unit/test_*.c; do
		is_there "$source" || return
		name=$(basename "$source" .c)
		run "${name#test_}" 120 limited "$build/tests/$name"
	done
}

run_replay() {
	for source in tests/fuzz/fuzz_*.c; do
		is_there "$source" || return
		name=$(basename "$source" .c)
		name=${name#fuzz_}
		run "$name" 120 limited "$build/fuzz/replay_$name" "tests/fuzz/corpus/$name"
	done
}

run_wire() {
	for script in tests/wire/*.vtc; do
		is_there "$script" || return
		name=$(basename "$script" .vtc)
		if command -v varnishtest >/dev/null 2>&1; then
			run "$name" 120 judge exchange varnishtest -t 60 -Dronzal="$build/ronzal" -Dbuild="$build" \
				-Dtools="$build/tests/tools" -Droot="$root" "$script"
		else
			label=$layer/$name
			record skip exchange 'varnishtest is not installed: scripts/deps.sh --test'
		fi
	done
}

run_scripts() { # FOLDER LIMIT_SECONDS
	for script in "tests/$1"/*.sh; do
		is_there "$script" || return
		name=$(basename "$script" .sh)
		[ "$name" = lib ] || run "$name" "$2" limited sh "$script"
	done
}

run_e2e() {
	for script in tests/e2e/*.test.ts; do
		is_there "$script" || return
		name=$(basename "$script" .test.ts)
		if [ -d tests/e2e/node_modules ]; then
			run "$name" 600 limited sh -c 'cd tests/e2e && exec node --import tsx --test-reporter=tap "$1"' \
				sh "$name.test.ts"
		else
			label=$layer/$name
			record skip all 'no tests/e2e/node_modules: needs node 18.19 or later and npm'
		fi
	done
}

# Finds are kept in build-fuzz; a crash is also what the next run starts with. With FUZZ_SEED a run
# can be repeated; without it each one looks elsewhere.
run_fuzz() {
	for source in tests/fuzz/fuzz_*.c; do
		is_there "$source" || return
		name=$(basename "$source" .c)
		short=${name#fuzz_}
		found=build-fuzz/corpus/$short
		mkdir -p "$found" "tests/fuzz/corpus/$short"
		set -- -seed="${FUZZ_SEED:-0}" -max_total_time="${FUZZ_SECONDS:-30}" \
			-timeout=10 -rss_limit_mb=2048 -error_exitcode=1 \
			-print_final_stats=1 -artifact_prefix="build-fuzz/$short-"
		[ ! -f "tests/fuzz/$short.dict" ] || set -- "$@" -dict="tests/fuzz/$short.dict"
		run "$short" $((${FUZZ_SECONDS:-30} + 120)) judge "fuzzed for ${FUZZ_SECONDS:-30} s" \
			"build-fuzz/fuzz/$name" "$@" "$found" "tests/fuzz/corpus/$short"
	done
}

[ $# -gt 0 ] || set -- unit replay wire sys e2e
engine=$(scripts/engine.sh --find 2>/dev/null) && export RONZAL_ENGINE="$engine"
for argument; do
	kind=${argument%%@*}
	layer=$argument
	build=build
	case $argument in *@?*) build=${argument#*@} ;; esac
	[ "$build" != build ] || layer=$kind
	case $build in /*) ;; *) build=$root/$build ;; esac
	export RONZAL_BUILD="$build" RONZAL="$build/ronzal"
	case $kind in
	lint) run all 1800 limited scripts/lint.sh ;;
	lint-quick) run quick 600 limited scripts/lint.sh --quick ;;
	build) run_build ;;
	unit) run_unit ;;
	replay) run_replay ;;
	wire) run_wire ;;
	sys) run_scripts sys 300 ;;
	docker) run_scripts docker 900 ;;
	cross) run_scripts cross 900 ;;
	e2e) run_e2e ;;
	fuzz) run_fuzz ;;
	soak) run mixed $((${SOAK_SECONDS:-120} * 2 + 300)) limited sh tests/soak.sh ;;
	*)
		echo "tests/run.sh: unknown layer '$kind'" >&2
		exit 2
		;;
	esac
done

printf '%d passed, %d failed, %d skipped\n' "$(count ok)" "$(count FAIL)" "$(count skip)"
[ "$(count FAIL)" -eq 0 ] && [ "$(count ok)" -gt 0 ]
