/* SPDX-License-Identifier: MIT */
/*
 * The gate's decision over a generated corpus of more than 10^5 strings, and its quoting.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "base/err.h"
#include "gate/decide.h"
#include "wire/constants.h"

#define CORPUS_MIN 100000
#define STRING_MAX_BYTES 512

static const char *const verbs[] = { WIRE_SSH_START, WIRE_SSH_STOP };

/* Things that a shell, a terminal or a careless comparison would take for nothing. */
static const char *const decorations[] = {
	" ",
	"  ",
	"\t",
	"\n",
	"\r",
	"\r\n",
	"\v",
	"\f",
	"\b",
	"\x7f",
	"\x1b[0m",
	"\xc2\xa0",
	"\xe2\x80\x8b",
	"\xef\xbb\xbf",
	"\xcc\x81",
	";",
	"&",
	"&&",
	"|",
	"||",
	"`",
	"$()",
	"$(id)",
	"${IFS}",
	"\"",
	"'",
	"''",
	"\"\"",
	"\\",
	"/",
	"./",
	"*",
	"?",
	"[",
	"~",
	"#",
	"-",
	"--",
	"=",
	">",
	"<",
	">/dev/null",
	"<&1",
	"!",
	"{}",
	"%00",
	"\\0",
	";id",
	"\nid\n",
	"|sh",
	"&& rm -rf /",
	"env ",
	"exec ",
	"sh -c ",
	"command ",
	"/bin/sh -c ",
	"A=1 ",
	"LD_PRELOAD=x ",
	"internal-sftp",
	"scp -t .",
	" --stdio",
	" stop",
	"start-metal-servers",
	"stop-metal-servers",
};

struct tally {
	unsigned tried, accepted, wrong;
};

/* The oracle: lengths first, then each byte. */
static int is_same(const char *a, const char *b)
{
	size_t i;

	if (strlen(a) != strlen(b)) {
		return 0;
	}
	for (i = 0; a[i] != '\0'; i++) {
		if (a[i] != b[i]) {
			return 0;
		}
	}
	return 1;
}

static void try_one(struct tally *t, const char *s)
{
	enum gate_verdict expected = is_same(s, verbs[0])   ? GATE_START
				     : is_same(s, verbs[1]) ? GATE_STOP
							    : GATE_REFUSED;
	enum gate_verdict got = gate_decide(s);

	t->tried++;
	t->accepted += got != GATE_REFUSED;
	t->wrong += got != expected;
}

static void try_edits_of(struct tally *t, const char *verb)
{
	char s[STRING_MAX_BYTES];
	size_t len = strlen(verb), at;
	int byte;

	for (at = 0; at <= len; at++) {
		for (byte = 1; byte < 256; byte++) {
			snprintf(s, sizeof s, "%.*s%c%s", (int)at, verb, byte,
				 verb + at); /* insert */
			try_one(t, s);
			if (at < len && verb[at] != (char)byte) {
				s[0] = '\0';
				snprintf(s, sizeof s, "%s", verb); /* replace */
				s[at] = (char)byte;
				try_one(t, s);
			}
		}
		snprintf(s, sizeof s, "%.*s%s", (int)at, verb, at < len ? verb + at + 1 : "x");
		try_one(t, s); /* delete */
		snprintf(s, sizeof s, "%.*s", (int)at, at < len ? verb : "");
		try_one(t, s); /* cut */
	}
}

static void try_decorations_of(struct tally *t, const char *verb)
{
	char s[STRING_MAX_BYTES];
	size_t i, j, at, count = sizeof decorations / sizeof decorations[0];

	for (i = 0; i < count; i++) {
		for (at = 0; at <= strlen(verb); at++) {
			snprintf(s, sizeof s, "%.*s%s%s", (int)at, verb, decorations[i], verb + at);
			try_one(t, s);
		}
		for (j = 0; j < count; j++) {
			snprintf(s, sizeof s, "%s%s%s", decorations[i], verb, decorations[j]);
			try_one(t, s);
			snprintf(s, sizeof s, "%s%s%s", decorations[i], decorations[j], verb);
			try_one(t, s);
			snprintf(s, sizeof s, "%s%s%s", verb, decorations[i], decorations[j]);
			try_one(t, s);
		}
	}
}

/* Random strings over the verbs' own alphabet, so that many are close. */
static void try_random(struct tally *t, unsigned count)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz- -SEMT\n\t0";
	char s[64];
	uint32_t state = 20261123;
	unsigned i;

	for (i = 0; i < count; i++) {
		size_t len, at;

		state = state * 1664525 + 1013904223;
		len = state >> 27;
		for (at = 0; at < len; at++) {
			state = state * 1664525 + 1013904223;
			s[at] = alphabet[(state >> 16) % (sizeof alphabet - 1)];
		}
		s[len] = '\0';
		try_one(t, s);
	}
}

static void accepts_exactly_two_of_a_hundred_thousand_strings(void **state)
{
	struct tally t = { 0, 0, 0 };
	char *huge = malloc(128 * 1024 + 1);
	size_t i;

	(void)state;
	assert_non_null(huge);
	memset(huge, 'a', 128 * 1024);
	huge[128 * 1024] = '\0';
	memcpy(huge, WIRE_SSH_START, strlen(WIRE_SSH_START));
	try_one(&t, huge);
	free(huge);
	try_one(&t, "");
	for (i = 0; i < 2; i++) {
		try_edits_of(&t, verbs[i]);
		try_decorations_of(&t, verbs[i]);
	}
	try_random(&t, 80000);
	assert_int_equal(t.accepted, 0); /* the two are not in the corpus yet */
	try_one(&t, verbs[0]);
	try_one(&t, verbs[1]);
	assert_int_equal(t.accepted, 2);
	assert_int_equal(t.wrong, 0);
	assert_true(t.tried >= CORPUS_MIN);
	printf("# %u strings tried, %u accepted\n", t.tried, t.accepted);
}

static void quotes_foreign_text_harmlessly(void **state)
{
	char text[96], tiny[8];
	char all[256];
	int i;

	(void)state;
	gate_quote("", text, sizeof text);
	assert_string_equal(text, "");
	gate_quote("start metal-servers", text, sizeof text);
	assert_string_equal(text, "start metal-servers");
	gate_quote("a\"b\\c\nd\x1b[31m\xc3\xa9", text, sizeof text);
	assert_string_equal(text, "a\\x22b\\x5cc\\x0ad\\x1b[31m\\xc3\\xa9");
	for (i = 0; i < 255; i++) {
		all[i] = (char)(255 - i);
	}
	all[255] = '\0';
	gate_quote(all, text, sizeof text);
	assert_true(strlen(text) < sizeof text);
	assert_string_equal(text + strlen(text) - 3, "...");
	gate_quote("123456789", tiny, sizeof tiny);
	assert_string_equal(tiny, "1...");
}

static void finds_a_canary_by_its_value_alone(void **state)
{
	char harmless[] = "A=/nonexistent/ronzal-canary2", none[] = "NONSENSE",
	     path[] = "PATH=/bin";
	char caught[] = "BASH_ENV=" WIRE_SSH_CANARY;
	char *without[] = { harmless, none, path, NULL };
	char *with[] = { harmless, none, caught, path, NULL };

	(void)state;
	assert_null(gate_find_canary(without));
	assert_ptr_equal(gate_find_canary(with), caught);
}

static void exit_codes_are_those_of_the_error_table(void **state)
{
	(void)state;
	assert_int_equal(err_exit_code(ERR_DENIED), WIRE_EXIT_REFUSED);
	assert_int_equal(err_exit_code(ERR_IO), WIRE_EXIT_BROKEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_exactly_two_of_a_hundred_thousand_strings),
		cmocka_unit_test(quotes_foreign_text_harmlessly),
		cmocka_unit_test(finds_a_canary_by_its_value_alone),
		cmocka_unit_test(exit_codes_are_those_of_the_error_table),
	};

	return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
