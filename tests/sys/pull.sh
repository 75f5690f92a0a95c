#!/bin/sh
# SPDX-License-Identifier: MIT
#
# `ronzal pull`, `models add`, `models rm` and the backend's downloads, against a hub on loopback
# that does wrong what a hub can do wrong (tests/lib/fake-hub.mjs).
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/lib/words.sh
build=${BUILD:-build}
command -v node >/dev/null 2>&1 || { echo 'skip pull: node is not installed' && exit 0; }
command -v curl >/dev/null 2>&1 || { echo 'skip pull: curl is not installed' && exit 0; }

T=$(mktemp -d) || exit 1
hub=
backend=
finish() {
	for p in $hub $backend; do kill "$p" 2>/dev/null && wait "$p" 2>/dev/null; done
	rm -rf "$T"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

commit=0123456789abcdef0123456789abcdef01234567
export RONZAL_HOME="$T/home" RONZAL_ENGINE_PORT_MIN=19930 RONZAL_ENGINE_PORT_MAX=19949
export RONZAL_MODEL_ROOTS="$T/models:$T/hub" HF_HUB_CACHE="$T/hub" RONZAL_BACKEND_PORT=19950
unset HF_TOKEN HF_HOME HF_ENDPOINT USE_EXTERNAL_SERVERS http_proxy https_proxy all_proxy
mkdir -p "$T/models" "$T/repos/tiny" "$T/repos/parts/q8" "$T/repos/one" "$T/repos/large"
mkdir -p "$RONZAL_HOME/state"
chmod 700 "$RONZAL_HOME" "$RONZAL_HOME/state"

make_model() { # FILE KEY=VALUE...
	"$build/tests/tools/make-gguf" "$@" || exit 1
}
make_model "$T/repos/tiny/Tiny-Q8_0.gguf" name=tiny type=q8_0
make_model "$T/repos/tiny/Tiny-F16.gguf" name=tiny type=f16 seed=2
make_model "$T/repos/one/Only-Q4_0.gguf" name=only type=q4_0 seed=3
make_model "$T/repos/parts/q8/Big-Q8_0-00001-of-00002.gguf" name=big type=q8_0 parts=2
make_model "$T/repos/parts/q8/Big-Q8_0-00002-of-00002.gguf" type=q8_0 part=1 parts=2 seed=4
make_model "$T/repos/parts/mmproj-Big-F16.gguf" layers=1 seed=5
make_model "$T/repos/parts/Big-F16.gguf" name=big seed=6

node tests/lib/fake-hub.mjs "$T/repos" "$T/port" "$T/log" &
hub=$!

check() { # NAME COMMAND...
	name=$1
	shift
	if "$@"; then echo "ok $name"; else
		echo "not ok $name"
		sed 's/^/# out: /' "$T/out" | tail -n 12
	fi
}
until_true 20 test -s "$T/port" || { echo 'not ok pull: the hub on loopback does not start' && exit 1; }
HF_ENDPOINT=http://127.0.0.1:$(cat "$T/port")
export HF_ENDPOINT

pull() { # WORDS...
	timeout 120 "$build/ronzal" pull "$@" >"$T/out" 2>&1 </dev/null
}
fresh() { # an empty registry and nothing downloaded
	rm -rf "$T/hub" "$T/models"
	mkdir -p "$T/models"
	: >"$T/log"
	printf '{"models":{}}' >"$RONZAL_HOME/state/model_registry.json"
}
snapshot() { # REPO FILE, by its place in the hub's cache
	echo "$T/hub/models--$(echo "$1" | sed 's|/|--|')/snapshots/$commit/$2"
}
registered() { # TEXT
	"$build/ronzal" models | has "$1"
}
is_empty_handed() { # no model, registered or on the disk, under a name that counts
	! registered 'gguf' && [ -z "$(find "$T/hub" "$T/models" -name '*.gguf' 2>/dev/null)" ] &&
		[ -z "$(find "$T/hub" -path '*/blobs/*' ! -name '*.incomplete' 2>/dev/null)" ]
}
# One line of error, which names the repository's trouble and what to do.
fails() { # SOURCE EXIT-CODE TEXT NEXT-STEP
	fresh
	pull "$1"
	status=$?
	[ $status = "$2" ] && [ "$(grep -c '^ronzal: ' "$T/out")" = 1 ] &&
		[ "$(sed -n '/^ronzal: /,$p' "$T/out" | wc -l)" = 1 ] &&
		has "$3" "$T/out" && has "$4" "$T/out" && is_empty_handed
}

lists_what_there_is_with_a_verdict_for_this_machine() {
	fresh
	pull good/tiny && has 'Q8_0 .*fits' "$T/out" && has 'F16 .*fits' "$T/out" &&
		has 'best$' "$T/out" && has '^ronzal pull good/tiny:Q8_0$' "$T/out" && is_empty_handed
}
calls_too_large_what_the_budget_does_not_hold() {
	fresh
	RONZAL_MEMORY_BUDGET_MIB=1 pull good/tiny && has 'Q8_0 .*too large' "$T/out" &&
		has 'None is known to fit' "$T/out"
}
takes_the_best_when_told_to_agree() {
	fresh
	pull good/tiny --yes && cmp "$T/repos/tiny/Tiny-Q8_0.gguf" "$(snapshot good/tiny Tiny-Q8_0.gguf)"
}
takes_the_only_model_of_a_repository() {
	fresh
	pull good/one && registered 'q4_0' && has '^ronzal start ' "$T/out"
}
stores_as_the_hubs_own_tools_do() {
	fresh
	file=$(snapshot good/tiny Tiny-Q8_0.gguf)
	sum=$(sha256sum "$T/repos/tiny/Tiny-Q8_0.gguf" | cut -d ' ' -f 1)
	pull good/tiny:q8_0 && [ "$(readlink "$file")" = "../../blobs/$sum" ] &&
		[ "$(cat "$T/hub/models--good--tiny/refs/main")" = $commit ] &&
		cmp "$T/repos/tiny/Tiny-Q8_0.gguf" "$file" && registered "yes .*19930 .*$file"
}
downloads_nothing_twice() {
	: >"$T/log"
	pull good/tiny:Q8_0 && has 'on port 19930' "$T/out" && ! has cdn "$T/log" &&
		[ "$("$build/ronzal" models | grep -c gguf)" = 1 ]
}
brings_all_parts_and_the_projector() {
	fresh
	pull good/parts:Q8_0 || return 1
	for file in q8/Big-Q8_0-00001-of-00002.gguf q8/Big-Q8_0-00002-of-00002.gguf mmproj-Big-F16.gguf; do
		cmp "$T/repos/parts/$file" "$(snapshot good/parts $file)" || return 1
	done
	[ ! -e "$(snapshot good/parts Big-F16.gguf)" ] &&
		has '"mmproj_path": *"[^"]*mmproj-Big-F16.gguf"' "$RONZAL_HOME/state/model_registry.json"
}
goes_on_after_a_break_to_the_same_bytes() {
	fresh
	pull cut/tiny:F16 && cmp "$T/repos/tiny/Tiny-F16.gguf" "$(snapshot cut/tiny Tiny-F16.gguf)" &&
		has 'cdn/x/Tiny-F16.gguf bytes=[1-9][0-9]*- ' "$T/log"
}
goes_on_through_many_breaks() {
	fresh
	pull broken/one && cmp "$T/repos/one/Only-Q4_0.gguf" "$(snapshot broken/one Only-Q4_0.gguf)" &&
		[ "$(grep -c 'cdn/x/.* bytes=' "$T/log")" -ge 2 ]
}
begins_anew_where_the_hub_knows_no_ranges() {
	fresh
	pull norange/tiny:F16 && cmp "$T/repos/tiny/Tiny-F16.gguf" "$(snapshot norange/tiny Tiny-F16.gguf)"
}
keeps_what_is_there_when_interrupted() {
	fresh
	(trap - INT; exec "$build/ronzal" pull slow/tiny:Q8_0) >"$T/out" 2>&1 </dev/null &
	puller=$!
	until_true 60 find_incomplete || return 1
	kill -INT $puller
	wait $puller
	[ $? = 130 ] && has 'What is there is kept' "$T/out" && find_incomplete && ! registered gguf
}
find_incomplete() {
	part=$(find "$T/hub" -name '*.incomplete' -size +127k) && [ -n "$part" ]
}
goes_on_where_the_interrupted_one_ended() {
	find_incomplete || return 1
	bytes=$(wc -c <"$part")
	: >"$T/log"
	pull slow/tiny:Q8_0 && has "bytes=$bytes- " "$T/log" &&
		cmp "$T/repos/tiny/Tiny-Q8_0.gguf" "$(snapshot slow/tiny Tiny-Q8_0.gguf)"
}
finds_damage_in_what_was_there_before() {
	fresh
	sum=$(sha256sum "$T/repos/one/Only-Q4_0.gguf" | cut -d ' ' -f 1)
	mkdir -p "$T/hub/models--good--one/blobs"
	head -c 5000 /dev/zero >"$T/hub/models--good--one/blobs/$sum.incomplete"
	! pull good/one && has 'SHA-256' "$T/out" && is_empty_handed &&
		pull good/one && registered q4_0
}
never_lets_two_write_to_one_file() {
	fresh
	"$build/ronzal" pull slow/tiny:Q8_0 >"$T/first" 2>&1 </dev/null &
	puller=$!
	until_true 60 find_incomplete || return 1
	pull slow/tiny:Q8_0
	[ $? = 5 ] && has 'another program' "$T/out"
	status=$?
	kill -INT $puller
	wait $puller
	return $status
}
waits_as_long_as_the_hub_asks() {
	fresh
	pull busy/one && registered q4_0 && pull ill/one && has 'not available; again in' "$T/out"
}
gives_the_token_to_the_hub_alone() {
	fresh
	HF_TOKEN=hf_secret pull good/one && has 'resolve/.* Bearer hf_secret ' "$T/log" &&
		! has 'cdn/.*hf_secret' "$T/log" && ! has 'hf_secret' "$T/out"
}
finds_the_token_of_the_hubs_own_login() {
	fresh
	mkdir -p "$T/hf"
	echo hf_login >"$T/hf/token"
	HF_HOME=$T/hf pull good/one && has 'resolve/.* Bearer hf_login ' "$T/log"
}
takes_the_address_of_a_file() {
	fresh
	pull "$HF_ENDPOINT/broken/tiny/cdn/x/Tiny-F16.gguf" &&
		cmp "$T/repos/tiny/Tiny-F16.gguf" "$T/models/Tiny-F16.gguf" &&
		registered 'yes .*/models/Tiny-F16.gguf' && has 'bytes=[1-9][0-9]*- ' "$T/log"
}
goes_through_a_proxy() {
	fresh
	proxy=$HF_ENDPOINT
	http_proxy=$proxy HF_ENDPOINT=http://hub.invalid pull good/one && registered q4_0 &&
		has 'api/models/good/one.* hub.invalid$' "$T/log"
}
says_when_there_is_no_room() {
	[ "$(id -u)" = 0 ] && mkdir -p "$T/small" && mount -t tmpfs -o size=1m none "$T/small" 2>/dev/null ||
		{ echo '# no mount here' && return 0; }
	fresh
	HF_HUB_CACHE=$T/small RONZAL_MODEL_ROOTS=$T/small pull good/one
	status=$?
	umount "$T/small"
	[ $status = 14 ] && has 'no room' "$T/out" && has 'Make room' "$T/out" && is_empty_handed
}

is_small_and_keeps_up_with_curl() {
	[ -r /proc/self/status ] || { echo '# no /proc here' && return 0; }
	fresh
	make_model "$T/repos/large/Large-F16.gguf" name=large sparse=1 embd=2048 ff=8192 vocab=2000 layers=2
	curl -sf -m 60 -o "$T/out" "$HF_ENDPOINT/api/models/good/large/revision/main" # hashed once
	begin=$(date +%s)
	curl -sL -m 120 -o "$T/curl" "$HF_ENDPOINT/good/large/resolve/main/Large-F16.gguf" || return 1
	limit=$((($(date +%s) - begin) * 5 + 20))
	"$build/ronzal" pull good/large:F16 >"$T/out" 2>&1 </dev/null &
	puller=$!
	begin=$(date +%s)
	while has 'State:.[RSD]' "/proc/$puller/status" 2>/dev/null; do
		for pid in $(cat "/proc/$puller/task/$puller/children" 2>/dev/null); do
			sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null
		done
		sleep 0.05
	done >"$T/peaks"
	wait $puller || return 1
	took=$(($(date +%s) - begin)) peak=$(sort -n "$T/peaks" | tail -n 1)
	echo "# $(($(wc -c <"$T/curl") / 1048576)) MiB in $took s, $peak KiB"
	cmp "$T/curl" "$(snapshot good/large Large-F16.gguf)" && rm -f "$T/curl" &&
		[ $took -le $limit ] && [ "$peak" -le 32768 ]
}

adds_a_file_of_the_model_folders() {
	fresh
	cp "$T/repos/one/Only-Q4_0.gguf" "$T/models/mine.gguf"
	(cd "$T/models" && "$OLDPWD/$build/ronzal" models add mine.gguf) >"$T/out" 2>&1 &&
		registered 'yes .*/models/mine.gguf' && has '^ronzal start ' "$T/out"
}
finds_what_other_tools_have_and_says_what_it_cannot_use() {
	mkdir -p "$T/elsewhere/models--a--b/snapshots/c"
	cp "$T/repos/tiny/Tiny-Q8_0.gguf" "$T/elsewhere/models--a--b/snapshots/c/"
	HF_HUB_CACHE=$T/elsewhere "$build/ronzal" models scan >"$T/out" 2>&1 </dev/null &&
		has "1 more in $T/elsewhere.*model_roots" "$T/out" && ! registered tiny &&
		RONZAL_MODEL_ROOTS=$T/models:$T/elsewhere "$build/ronzal" models scan >"$T/out" 2>&1 </dev/null &&
		has 'added  *tiny-q8_0 ' "$T/out" && "$build/ronzal" models rm tiny-q8_0 </dev/null >"$T/out" 2>&1
}
refuses_to_add_what_is_no_model_or_lies_elsewhere() {
	echo nonsense >"$T/models/bad.gguf"
	! "$build/ronzal" models add "$T/models/bad.gguf" >"$T/out" 2>&1 && has 'cannot be used' "$T/out" &&
		! "$build/ronzal" models add "$T/repos/one/Only-Q4_0.gguf" >"$T/out" 2>&1 &&
		has 'model_roots' "$T/out" && [ "$("$build/ronzal" models | grep -c gguf)" = 1 ]
}
deletes_no_file_unasked() {
	id=$("$build/ronzal" models | awk '/mine/ { print $1 }')
	! "$build/ronzal" models rm "$id" --delete-file >"$T/out" 2>&1 </dev/null &&
		has "$T/models/mine.gguf" "$T/out" && has 'yes' "$T/out" && registered mine &&
		"$build/ronzal" models rm "$id" >"$T/out" 2>&1 </dev/null && ! registered mine &&
		[ -f "$T/models/mine.gguf" ]
}
deletes_a_file_and_says_who_shares_it() {
	fresh
	pull good/one && ln "$(readlink -f "$(snapshot good/one Only-Q4_0.gguf)")" "$T/models/two.gguf" || return 1
	id=$("$build/ronzal" models | awk '/gguf/ { print $1 }')
	"$build/ronzal" models rm "$id" --delete-file --yes >"$T/out" 2>&1 </dev/null &&
		has 'Hugging Face cache' "$T/out" && has '1 more name' "$T/out" && ! registered gguf &&
		[ -z "$(find "$T/hub" -path '*/blobs/*' -o -name '*.gguf')" ] && [ -f "$T/models/two.gguf" ]
}

api() { # PATH CURL-OPTIONS...
	path=$1
	shift
	curl -sS -m 30 "$@" "http://127.0.0.1:19950$path" >"$T/out" 2>&1
}
ask_for() { # SOURCE CURL-OPTIONS...
	source=$1
	shift
	api /api/models/pull -H 'Content-Type: application/json' -d "{\"model\":\"$source\"}" "$@"
}
pulls_have() { # TEXT
	api /api/models/pulls && has "$1" "$T/out"
}
downloads_for_the_page() {
	fresh
	"$build/ronzal" backend >"$T/backend" 2>&1 &
	backend=$!
	until_true 60 curl -sf http://127.0.0.1:19950/health || return 1
	curl -sN -m 300 http://127.0.0.1:19950/api/events >"$T/events" 2>/dev/null &
	reader=$!
	ask_for good/tiny:Q8_0 && has '"phase":"asking"' "$T/out" &&
		until_true 60 pulls_have '"phase":"done"' && has '"model":"[a-z]' "$T/out" &&
		api /api/models/registry && has '"enabled":true' "$T/out" && has "$T/hub" "$T/out" &&
		until_true 20 has '"phase":"done"' "$T/events" && has 'event: pulls' "$T/events"
	status=$?
	kill $reader
	return $status
}
knows_the_host() {
	api /api/host && has '"state":"up"' "$T/out" && has '"memory_available_bytes":[1-9]' "$T/out"
}
tells_the_page_what_there_is() {
	until_true 60 knows_the_host || return 1
	ask_for good/tiny && until_true 60 pulls_have '"phase":"choosing"' && has '"verdict":"fits"' "$T/out"
}
cancels_for_the_page() {
	ask_for slow/tiny:F16 && until_true 60 pulls_have '"bytes_per_s":[1-9]' &&
		id=$(sed 's/.*{"id":"\([0-9]*\)","source":"slow.*/\1/' "$T/out") &&
		ask_for slow/tiny:F16 -w '%{http_code}' && has 409 "$T/out" &&
		api "/api/models/pulls/$id" -X DELETE && ! pulls_have 'slow/tiny' &&
		api "/api/models/pulls/$id" -X DELETE -w '%{http_code}' && has 404 "$T/out" && find_incomplete
}
takes_no_path_and_no_address_from_the_page() {
	for source in /etc/passwd "$HF_ENDPOINT/good/tiny" ../../x 'a/b/c' 'good/tiny:'; do
		ask_for "$source" -w '%{http_code}' && has 400 "$T/out" || return 1
	done
	api /api/models/pull -H 'Content-Type: application/json' -d '{"model":"a/b","path":"/x"}' \
		-w '%{http_code}' && has 400 "$T/out"
}
says_the_page_why_a_download_failed() {
	ask_for gated/tiny:Q8_0 && until_true 60 pulls_have '"phase":"failed"' &&
		has '"error_code":"DENIED"' "$T/out" && has 'accept its terms' "$T/out"
}

for name in lists_what_there_is_with_a_verdict_for_this_machine \
	calls_too_large_what_the_budget_does_not_hold takes_the_best_when_told_to_agree \
	takes_the_only_model_of_a_repository stores_as_the_hubs_own_tools_do downloads_nothing_twice \
	brings_all_parts_and_the_projector goes_on_after_a_break_to_the_same_bytes \
	goes_on_through_many_breaks begins_anew_where_the_hub_knows_no_ranges \
	keeps_what_is_there_when_interrupted goes_on_where_the_interrupted_one_ended \
	finds_damage_in_what_was_there_before never_lets_two_write_to_one_file \
	waits_as_long_as_the_hub_asks gives_the_token_to_the_hub_alone \
	finds_the_token_of_the_hubs_own_login takes_the_address_of_a_file goes_through_a_proxy \
	says_when_there_is_no_room \
	is_small_and_keeps_up_with_curl; do
	check $name $name
done

check never_takes_a_wrong_hash_for_a_model \
	fails liar/tiny:Q8_0 8 'SHA-256' 'say the same again'
check names_the_terms_of_a_gated_repository \
	fails gated/tiny:Q8_0 4 'gated (403)' 'accept its terms'
check asks_for_a_token_for_a_private_repository fails private/tiny 4 '(401)' 'HF_TOKEN'
check says_that_a_repository_is_not_there fails good/nobody 3 '(404)' 'Check the name'
check says_what_else_a_repository_has fails good/tiny:Q5_K_M 3 'Q5_K_M' 'It has: Q8_0, F16'
check says_how_long_a_busy_hub_asks_to_wait fails stuck/tiny 6 '(429)' 'Wait 3600 s'
check leaves_a_circle_of_redirects fails circle/tiny:Q8_0 8 'in a circle' 'Check HF_ENDPOINT'
check refuses_paths_out_of_the_repository fails evil/tiny 8 'path' 'is it a hub'
check notices_a_file_that_is_too_short fails short/tiny:Q8_0 8 'shorter' 'Try again'
check notices_a_file_that_is_too_long fails long/tiny:Q8_0 8 'longer' 'Try again'
check takes_no_page_for_a_model \
	fails "$HF_ENDPOINT/page/tiny/cdn/x/Tiny-Q8_0.gguf" 2 'no GGUF' 'address of the file itself'
check refuses_what_is_neither_repository_nor_address fails a/b/c 2 "'a/b/c'" 'ORG/REPO'
check refuses_plain_http fails http://192.0.2.1/x.gguf 4 'away from https' 'not followed'
HF_ENDPOINT=http://127.0.0.1:1 check says_that_the_hub_cannot_be_reached \
	fails good/tiny 6 'cannot be reached' 'Check the network'

for name in adds_a_file_of_the_model_folders \
	finds_what_other_tools_have_and_says_what_it_cannot_use refuses_to_add_what_is_no_model_or_lies_elsewhere \
	deletes_no_file_unasked deletes_a_file_and_says_who_shares_it downloads_for_the_page \
	tells_the_page_what_there_is cancels_for_the_page takes_no_path_and_no_address_from_the_page \
	says_the_page_why_a_download_failed; do
	check $name $name
done
