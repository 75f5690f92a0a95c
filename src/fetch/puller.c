/* SPDX-License-Identifier: MIT */
/*
 * The end of a download is the end of the child's output; a child that said no end has failed.
 */
#include "fetch/puller.h"

#include <signal.h>
#include <stdlib.h>

#include "base/lines.h"
#include "base/mem.h"
#include "io/child.h"

#define LINE_MAX_BYTES 65536
#define REQUEST_MAX_BYTES 16384

struct puller {
	struct child *child;
	struct conn *output;
	struct lines lines;
	struct pull pull;
	void (*on_change)(void *user, const struct pull *p);
	void *user;
};

static void end_child(struct puller *p)
{
	conn_close(p->output);
	p->output = NULL;
	if (p->child != NULL) {
		child_kill(p->child, SIGTERM);
	}
	child_close(p->child);
	p->child = NULL;
}

/* True once it no longer runs: then nothing more is told. */
static bool take_line(struct puller *p, struct span line)
{
	struct err err = { 0 };
	struct json *doc = json_parse(line, &err);

	if (doc == NULL || pull_read(json_root(doc), &p->pull, &err) != 0) {
		err_prefix(&err, "ronzal-fetch");
		pull_fail(&p->pull, &err);
	}
	json_destroy(doc);
	return !pull_phase_is_running(p->pull.phase);
}

static void on_data(void *user, struct span data)
{
	struct puller *p = user;
	struct span line;
	bool is_over = lines_add(&p->lines, data) != 0, has_changed = false;

	if (is_over) {
		pull_fail(&p->pull, &(struct err){ ERR_PROTOCOL, "ronzal-fetch talks nonsense" });
	}
	while (!is_over && lines_next(&p->lines, &line)) {
		has_changed = true;
		is_over = take_line(p, line);
	}
	if (is_over) {
		end_child(p);
	}
	if (is_over || has_changed) {
		p->on_change(p->user, &p->pull);
	}
}

static void on_end(void *user, int status)
{
	struct puller *p = user;

	(void)status;
	end_child(p);
	pull_fail(&p->pull, &(struct err){ ERR_CLOSED, "the download was ended from outside. What "
						       "is there is kept: say the same again" });
	p->on_change(p->user, &p->pull);
}

static const struct conn_callbacks output_calls = { .on_data = on_data, .on_end = on_end };

struct memory_machine puller_machine(const struct host_info *h, uint64_t engines_bytes)
{
	struct memory_machine m = {
		.is_unified =
			h->device_count > 0 && span_has_prefix(span_of(h->devices[0].id), "MTL"),
		.host_free_bytes = h->memory_available_bytes + engines_bytes,
		.budget_free_bytes =
			h->memory_budget_bytes > 0 ? h->memory_budget_bytes : UINT64_MAX,
	};

	for (int i = 0; i < h->device_count; i++) {
		m.device_free_bytes += h->devices[i].free_bytes;
	}
	return m;
}

static void write_request(const struct puller_options *o, struct buf *out)
{
	const struct memory_machine *m = &o->machine;
	struct json_writer w;

	jsonw_init(&w, out);
	jsonw_object(&w);
	jsonw_member_text(&w, "source", o->source);
	jsonw_member_text(&w, "cache", o->place->cache);
	jsonw_member_text(&w, "folder", o->place->folder);
	jsonw_member_u64(&w, "host_free_bytes", m->host_free_bytes);
	jsonw_member_u64(&w, "device_free_bytes", m->device_free_bytes);
	if (m->budget_free_bytes <= INT64_MAX) {
		jsonw_member_u64(&w, "budget_free_bytes", m->budget_free_bytes);
	}
	jsonw_member_bool(&w, "is_unified", m->is_unified);
	jsonw_member_u64(&w, "cache_ram_mib", o->cache_ram_mib);
	jsonw_end_all(&w);
}

struct puller *puller_start(struct loop *loop, const struct puller_options *options,
			    struct err *err)
{
	struct puller *p = mem_alloc(sizeof(*p));
	struct buf request;

	buf_init(&request, REQUEST_MAX_BYTES);
	write_request(options, &request);
	const char *argv[] = { options->place->program, buf_text(&request), NULL };
	struct child_options child = { .argv = argv,
				       .stdio = { CHILD_NULL, CHILD_PIPE, CHILD_INHERIT } };

	p->on_change = options->on_change;
	p->user = options->user;
	pull_init(&p->pull, options->source);
	lines_init(&p->lines, LINE_MAX_BYTES);
	p->child = child_start(loop, &child, err);
	buf_finish(&request);
	if (p->child == NULL) {
		err_prefix(err, "downloads are not installed here; where they are: ronzal pull %s",
			   options->source);
		puller_close(p);
		return NULL;
	}
	p->output = child_take_pipe(p->child, 1);
	conn_start(p->output, &output_calls, p);
	return p;
}

const struct pull *puller_pull(const struct puller *p)
{
	return &p->pull;
}

void puller_close(struct puller *p)
{
	if (p == NULL) {
		return;
	}
	end_child(p);
	lines_finish(&p->lines);
	free(p);
}
