/* SPDX-License-Identifier: MIT */
/*
 * `ronzal doctor`: finds what is wrong and says how to mend it. The same on the host and in a
 * container; rows that make no sense at a place are left out there.
 */
#include "cli/doctor.h"

#include <stdio.h>

#include "cli/models.h"
#include "cli/scouting.h"
#include "cli/term.h"
#include "io/errand.h"

#define FINDINGS_MAX_BYTES (1u << 19)
#define SAID_MAX_BYTES 2048 /* of a sentence and its fix */
#define SETUP_MAX_BYTES 65536
#define SETUP_MS 120000
#define SETUP_NAME_AT 6 /* columns of the script's lines: "ok    key        text" */
#define SETUP_TEXT_AT 17

static const char *const level_names[] = { "ok", "warn", "fail" };

static void add_line(struct doctor *d, enum level level, struct span why, struct span fix)
{
	static const enum term_color colors[] = { TERM_GREEN, TERM_YELLOW, TERM_RED };

	buf_printf(&d->findings, "%s%-5s%s %-13s %.*s\n", term_color(colors[level]),
		   level == LEVEL_FAIL ? "FAIL" : level_names[level], term_color(TERM_PLAIN),
		   d->name, SPAN_ARG(why));
	if (fix.len > 0) {
		buf_printf(&d->findings, "                    fix: %.*s\n", SPAN_ARG(fix));
	}
}

static void add_object(struct doctor *d, enum level level, struct span why, struct span fix)
{
	struct json_writer *w = &d->json;

	jsonw_object(w);
	jsonw_member_text(w, "name", d->name);
	jsonw_member_text(w, "level", level_names[level]);
	jsonw_member_span(w, "why", why);
	jsonw_member_span(w, "fix", fix);
	jsonw_end(w);
}

static void add(struct doctor *d, enum level level, struct span why, struct span fix)
{
	d->counts[level]++;
	(d->cli->json ? add_object : add_line)(d, level, why, fix);
}

__attribute__((format(printf, 3, 0))) static void say(struct doctor *d, enum level level,
						      const char *format, va_list args)
{
	char text[SAID_MAX_BYTES];

	vsnprintf(text, sizeof(text), format, args);
	struct span fix = span_of(text), why = span_split(&fix, FIX[0]);

	add(d, level, why, fix);
}

void doctor_say(struct doctor *d, enum level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(d, level, format, args);
	va_end(args);
}

static size_t troubles(const struct doctor *d)
{
	return d->counts[LEVEL_WARN] + d->counts[LEVEL_FAIL];
}

void doctor_well(struct doctor *d, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (troubles(d) == d->troubles) {
		say(d, LEVEL_OK, format, args);
	}
	va_end(args);
}

/* The set-up script */

/* What the script says of things that are well is one row; its failures are rows of their own. */
static void read_setup(struct doctor *d, struct span text)
{
	const char *check = d->name;

	while (text.ptr != NULL) {
		struct span line = span_split(&text, '\n');
		struct span next = text, fix = span_split(&next, '\n');

		if (span_has_prefix(line, "FAIL ") && line.len > SETUP_TEXT_AT) {
			struct span what = { line.ptr + SETUP_NAME_AT,
					     SETUP_TEXT_AT - SETUP_NAME_AT };

			what = span_trim(what);
			struct words name = term_words("ssh %.*s", SPAN_ARG(what));

			d->name = name.text;
			add(d, LEVEL_FAIL, span_from(line, SETUP_TEXT_AT),
			    span_from(fix, span_find(fix, "fix: ") + 5));
		}
	}
	d->name = check;
	doctor_well(d, "as set up: key, its line, host key, both commands");
}

void doctor_run_setup(struct doctor *d, const char *script)
{
	const char *const argv[] = { "sh", script, "--check", NULL };
	struct errand_options options = { .argv = argv,
					  .text_max_bytes = SETUP_MAX_BYTES,
					  .limit_ms = SETUP_MS };
	struct err err = { 0 };
	struct buf text;

	if (errand_run(&options, &text, &err) < 0) {
		doctor_say(d, LEVEL_WARN, "%s --check: %s", script, err.text);
	} else {
		read_setup(d, buf_span(&text));
	}
	buf_finish(&text);
}

/* Facts */

/* Where another machine or container has the agent, this one's lack of it is no fault. */
static enum place where_am_i(const struct config *c)
{
	return c->ssh_config[0] != '\0'			  ? AT_HOSTAPI
	       : c->backend_url[0] != '\0'		  ? AT_PAGE
	       : c->use_external_servers == EXTERNAL_TRUE ? AT_BACKEND
							  : AT_HOST;
}

static void learn(struct doctor *d)
{
	models_load(&d->registry, d->cli, &d->registry_err);
	if (d->place == AT_HOST) {
		scouting_ask(d->cli, d->engine_path, &d->engine, &d->engine_err);
		visit_open(&d->visit, d->cli, &d->agent_err);
	}
}

/* Output */

static void print_text(const struct doctor *d, struct buf *out)
{
	buf_add_span(out, buf_span(&d->findings));
	buf_printf(out, "%zu failed, %zu warning%s, %zu ok\n", d->counts[LEVEL_FAIL],
		   d->counts[LEVEL_WARN], d->counts[LEVEL_WARN] == 1 ? "" : "s",
		   d->counts[LEVEL_OK]);
}

static void print_json(const struct doctor *d, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	jsonw_object(&w);
	for (int i = 0; i < LEVEL_COUNT; i++) {
		jsonw_member_u64(&w, level_names[i], d->counts[i]);
	}
	jsonw_key(&w, "findings");
	jsonw_raw(&w, buf_span(&d->findings));
	jsonw_end_all(&w);
}

int command_doctor(struct cli *cli, struct args *args, struct err *err)
{
	struct doctor d = { .cli = cli, .place = where_am_i(&cli->config) };

	(void)args;
	(void)err;
	buf_init(&d.findings, FINDINGS_MAX_BYTES);
	jsonw_init(&d.json, &d.findings);
	if (cli->json) {
		jsonw_array(&d.json);
	}
	learn(&d);
	for (const struct check *check = doctor_checks; check->name != NULL; check++) {
		d.name = check->name;
		d.troubles = troubles(&d);
		if ((check->where & d.place) != 0) {
			check->look(&d);
		}
	}
	jsonw_end_all(&d.json);
	(cli->json ? print_json : print_text)(&d, &cli->out);
	visit_close(&d.visit);
	registry_finish(&d.registry);
	buf_finish(&d.findings);
	return d.counts[LEVEL_FAIL] > 0 ? ERR_UNHEALTHY : 0;
}
