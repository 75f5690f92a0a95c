/* SPDX-License-Identifier: MIT */
#include "fetch/fits.h"

#include <stdlib.h>

#include "base/mem.h"

#define WINDOW_BYTES (2u << 20)

/* A file's head, fetched as it is read. */
struct head {
	struct transfer *transfer;
	const char *what, *url;
	struct buf window;
	uint64_t offset; /* of the window */
	uint64_t bytes;	 /* of the file */
};

static ssize_t read_head(void *context, uint64_t offset, void *to, size_t len)
{
	struct head *h = context;

	if (offset >= h->bytes) {
		return 0;
	}
	if (offset < h->offset || offset >= h->offset + h->window.len) {
		h->offset = offset;
		if (transfer_text(h->transfer, h->what, h->url, offset, WINDOW_BYTES, &h->window,
				  NULL) != 0 ||
		    h->window.len == 0) {
			return ERR_CLOSED;
		}
	}
	size_t from = (size_t)(offset - h->offset);
	size_t there = h->window.len - from;

	len = len < there ? len : there;
	memcpy(to, h->window.data + from, len);
	return (ssize_t)len;
}

/* The smallest model in one file tells the most; else the first part of the smallest. */
static const struct hub_model *model_to_ask(const struct hub_repo *r)
{
	for (size_t i = 0; i < r->model_count; i++) {
		if (r->models[i].parts == 1) {
			return &r->models[i];
		}
	}
	return &r->models[0];
}

static int ask_head(const struct hub_repo *r, const char *endpoint, struct transfer *t,
		    struct gguf *g)
{
	const struct hub_file *f = &r->files[model_to_ask(r)->first];
	char *url = hub_url(endpoint, r, f);
	struct head h = { .transfer = t, .what = f->path, .url = url, .bytes = f->bytes };
	struct gguf_source source = { &h, f->bytes, read_head };

	buf_init(&h.window, WINDOW_BYTES);
	int status = gguf_read(g, &source, NULL);

	buf_finish(&h.window);
	free(url);
	return status;
}

static uint64_t scaled(uint64_t bytes, double factor)
{
	return (uint64_t)((double)bytes * factor);
}

/* What the model with that head would be, were its tensors `bytes` large. */
static struct gguf resized(const struct gguf *head, uint64_t bytes)
{
	double factor = (double)bytes / (double)(head->tensor_bytes > 0 ? head->tensor_bytes : 1);
	struct gguf g = *head;

	g.tensor_bytes = bytes;
	g.input_bytes = scaled(head->input_bytes, factor);
	g.output_bytes = scaled(head->output_bytes, factor);
	g.layers = mem_alloc((g.layer_count + 1) * sizeof(*g.layers));
	for (uint32_t i = 0; i < g.layer_count; i++) {
		g.layers[i] = head->layers[i];
		g.layers[i].bytes = scaled(head->layers[i].bytes, factor);
	}
	return g;
}

static void judge(struct pull_choice *c, const struct gguf *head,
		  const struct fits_machine *machine, uint64_t projector_bytes)
{
	struct gguf g = resized(head, c->bytes);
	struct memory_model m = { .id = c->name,
				  .gguf = &g,
				  .projector_bytes = projector_bytes,
				  .cache_ram_mib = machine->cache_ram_mib };
	struct memory_decision d;

	settings_init(&m.settings);
	m.settings.ctx_size = g.context_length > 0 && g.context_length < FITS_CONTEXT
				      ? (int32_t)g.context_length
				      : FITS_CONTEXT;
	memory_decide(&m, &machine->memory, &d);
	c->memory_bytes = memory_estimate_bytes(&d.estimate);
	if (d.fits && !d.is_shrunk) {
		c->verdict = PULL_FITS;
	} else {
		m.settings.ctx_size = SETTING_UNSET;
		memory_decide(&m, &machine->memory, &d);
		c->verdict = d.fits ? PULL_TIGHT : PULL_TOO_LARGE;
	}
	gguf_finish(&g);
}

/* Of a quantization's name: "F16", "BF16", "FP32" and the like. */
static bool is_unquantized(const char *name)
{
	return strchr(name, 'F') != NULL && (strstr(name, "16") != NULL || strstr(name, "32"));
}

static int best_of(const struct pull *p)
{
	int best[2] = { -1, -1 }; /* that fits; that is tight */

	for (int i = 0; i < p->choice_count; i++) {
		const struct pull_choice *c = &p->choices[i];

		if (c->verdict == PULL_FITS && (best[0] < 0 || !is_unquantized(c->name))) {
			best[0] = i;
		} else if (c->verdict == PULL_TIGHT) {
			best[1] = i;
		}
	}
	return best[0] >= 0 ? best[0] : best[1];
}

void fits_fill(struct pull *p, const struct hub_repo *repo, const char *endpoint,
	       const struct fits_machine *machine, struct transfer *t)
{
	struct gguf head = { 0 };
	bool is_known =
		machine->memory.host_free_bytes > 0 && ask_head(repo, endpoint, t, &head) == 0;

	for (size_t i = 0; i < repo->model_count && i < PULL_CHOICES_MAX; i++) {
		struct pull_choice *c = &p->choices[p->choice_count++];
		uint64_t projector = repo->projector != NULL ? repo->projector->bytes : 0;

		*c = (struct pull_choice){ .bytes = repo->models[i].bytes };
		span_copy(span_of(repo->models[i].name), c->name, sizeof(c->name));
		if (is_known) {
			judge(c, &head, machine, projector);
		}
		c->bytes += projector;
	}
	p->best = best_of(p);
	gguf_finish(&head);
}
