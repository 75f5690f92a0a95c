/* SPDX-License-Identifier: MIT */
#include "model/memory.h"

#include <stdio.h>

#include "base/mem.h"

#define MIB ((uint64_t)1 << 20)
#define SLOTS_DEFAULT 4		 /* llama-server's -np auto, with one cache for all (unified) */
#define BATCH_DEFAULT 512	 /* tokens computed at once (its --ubatch-size) */
#define CELLS_STEP 256		 /* caches are rounded up to this */
#define CONTEXT_DEFAULT 4096	 /* of a model that does not say its own */
#define FIT_CONTEXT_MIN 4096	 /* an open context is shrunk no further, as by its --fit-ctx */
#define CONTEXT_MIN 512		 /* smaller ones are not worth a suggestion */
#define ENGINE_BYTES (24 * MIB)	 /* the process itself */
#define VOCABULARY_BYTES 256	 /* the tokenizer's tables, per token */
#define DEVICE_BYTES (128 * MIB) /* a driver's context; not calibrated */
#define PROJECTOR_COMPUTE_BYTES (256 * MIB) /* not calibrated */
#define HOST_KEEP_BYTES (256 * MIB)	    /* left to the system */

/* Figures of the engine's caches. */
struct layout {
	uint32_t batch, slots, streams; /* streams: separate caches; 1 when unified */
	uint32_t cells, cells_sliding;	/* per stream */
	uint32_t block_k, block_v;	/* bytes of 32 elements */
	bool has_flash_attention;
};

static uint32_t or_default(int32_t setting, uint32_t fallback)
{
	return setting == SETTING_UNSET ? fallback : (uint32_t)setting;
}

static uint32_t round_up(uint64_t value, uint32_t step)
{
	return (uint32_t)((value + step - 1) / step * step);
}

static struct layout layout_make(const struct memory_model *m, uint32_t context)
{
	const struct settings *s = &m->settings;
	struct layout l = {
		.batch = or_default(s->batch_size, BATCH_DEFAULT),
		.slots = or_default(s->parallel, SLOTS_DEFAULT),
		.streams = or_default(s->parallel, 1),
		.block_k = kv_type_block_bytes(or_default(s->cache_type_k, KV_F16)),
		.block_v = kv_type_block_bytes(or_default(s->cache_type_v, KV_F16)),
		.has_flash_attention = s->flash_attention != TRI_OFF,
	};
	uint64_t window = m->gguf->sliding_window;

	l.batch = l.batch < BATCH_DEFAULT ? l.batch : BATCH_DEFAULT;
	l.cells = round_up(context / l.streams, CELLS_STEP);
	l.cells_sliding = round_up(window * (l.streams == 1 ? l.slots : 1) + l.batch, CELLS_STEP);
	if (window == 0 || l.cells_sliding > l.cells) {
		l.cells_sliding = l.cells;
	}
	return l;
}

/* What one layer of a recurrent or hybrid model keeps for one slot, 4 bytes an element. */
static uint64_t state_bytes(const struct gguf *g)
{
	uint64_t conv = g->ssm_conv > 0 ? g->ssm_conv - 1 : 0;
	uint64_t elements = conv * (g->ssm_inner + 2 * (uint64_t)g->ssm_groups * g->ssm_state) +
			    (uint64_t)g->ssm_state * g->ssm_inner;

	if (g->shortconv_cache > 0) {
		elements += (uint64_t)g->embedding_length * (g->shortconv_cache - 1);
	}
	elements += (uint64_t)g->embedding_length * g->wkv_head_size;
	return elements * 4;
}

static uint64_t layer_kv_bytes(const struct gguf *g, const struct layout *l, uint32_t i)
{
	const struct gguf_layer *layer = &g->layers[i];
	bool own_length = layer->is_sliding && g->key_length_swa > 0;
	uint64_t key = own_length ? g->key_length_swa : g->key_length;
	uint64_t value =
		own_length && g->value_length_swa > 0 ? g->value_length_swa : g->value_length;
	uint64_t cells = (uint64_t)(layer->is_sliding ? l->cells_sliding : l->cells) * l->streams;
	bool is_recurrent = g->ssm_inner > 0 || g->shortconv_cache > 0 || g->wkv_head_size > 0;
	uint64_t state = is_recurrent && (layer->kv_heads == 0 || g->head_count == 0 ||
					  strcmp(g->architecture, "falcon-h1") == 0)
				 ? state_bytes(g) * l->slots
				 : 0;

	if (g->is_encoder || i + g->shared_kv_layers >= g->layer_count) {
		return state;
	}
	if (g->key_length_mla > 0) { /* one compressed row for all heads, V is a view of it */
		return state + cells * (g->kv_lora_rank + g->rope_dimensions) * l->block_k / 32;
	}
	return state + cells * layer->kv_heads * (key * l->block_k + value * l->block_v) / 32;
}

/* The largest step of the graph, by its widest tensors; fitted to the engine's logs. */
static uint64_t compute_bytes(const struct gguf *g, const struct layout *l)
{
	uint64_t width = 5 * (uint64_t)g->embedding_length + 5 * (uint64_t)g->ssm_inner;
	uint64_t experts = g->expert_count > 0 ? g->expert_used_count : 0;
	uint64_t expert_width = g->expert_feed_forward_length > 0 ? g->expert_feed_forward_length
								  : g->feed_forward_length;
	uint64_t forward = experts > 0 ? experts * (3 * expert_width + g->embedding_length)
				       : 3 * (uint64_t)g->feed_forward_length;
	uint64_t scores = l->has_flash_attention ? 0 : (uint64_t)g->head_count * l->cells;

	return l->batch * 4 * (width + (forward > scores ? forward : scores));
}

static uint64_t mask_bytes(const struct gguf *g, const struct layout *l)
{
	bool has_sliding = g->sliding_window > 0;
	uint64_t cells = g->head_count > 0 ? l->cells + (has_sliding ? l->cells_sliding : 0) : 0;

	return l->batch * cells * (l->has_flash_attention ? 2 : 4);
}

/* Layers go to the device from the last on, the output layer first. */
static void place_layers(const struct memory_model *m, const struct layout *l, bool has_device,
			 struct memory_estimate *e)
{
	const struct gguf *g = m->gguf;
	uint32_t all = g->layer_count + 1;
	uint32_t wanted = has_device ? or_default(m->settings.n_gpu_layers, all) : 0;

	e->layers_offloaded = wanted < all ? wanted : all;
	for (uint32_t i = 0; i < g->layer_count; i++) {
		bool on_device = i + e->layers_offloaded > g->layer_count;
		struct memory_share *share = on_device ? &e->device : &e->host;

		share->weights += g->layers[i].bytes;
		share->kv += layer_kv_bytes(g, l, i);
	}
	e->host.weights += g->input_bytes;
	bool repacks = m->correction.repacks || strcmp(g->quantization, "Q4_0") == 0;
	struct memory_share *end = e->layers_offloaded > 0 ? &e->device : &e->host;

	end->weights += g->output_bytes;
	if (!g->has_output && (e->layers_offloaded > 0 || repacks)) {
		end->weights += g->input_bytes; /* a copy serves as the output layer */
	}
}

static void correct(uint64_t *host, uint64_t *device, double factor)
{
	if (factor > 0) {
		*host = (uint64_t)((double)*host * factor);
		*device = (uint64_t)((double)*device * factor);
	}
}

void memory_estimate_make(const struct memory_model *m, bool has_device,
			  struct memory_estimate *ret_estimate)
{
	const struct gguf *g = m->gguf;
	uint32_t own = g->context_length > 0 ? g->context_length : CONTEXT_DEFAULT;
	uint32_t context = or_default(m->settings.ctx_size, 0);
	struct memory_estimate e = { .context = context > 0 ? context : own };
	struct layout l = layout_make(m, e.context);
	uint64_t compute = compute_bytes(g, &l), mask = mask_bytes(g, &l);

	place_layers(m, &l, has_device, &e);
	struct memory_share *projector = e.layers_offloaded > 0 ? &e.device : &e.host;

	e.host.compute = mask + compute;
	if (e.layers_offloaded >
	    0) { /* the host only carries the input; layers left there borrow */
		e.device.compute = compute + (e.layers_offloaded <= g->layer_count ? mask : 0);
		e.host.compute = mask + (uint64_t)l.batch * 4 * 4 * g->embedding_length;
		e.device.other = DEVICE_BYTES;
	}
	e.host.other += ENGINE_BYTES + (uint64_t)VOCABULARY_BYTES * g->vocabulary +
			or_default(m->settings.cache_ram_mib, m->cache_ram_mib) * MIB;
	if (m->projector_bytes > 0) {
		projector->other += m->projector_bytes + PROJECTOR_COMPUTE_BYTES;
	}
	correct(&e.host.kv, &e.device.kv, m->correction.kv);
	correct(&e.host.compute, &e.device.compute, m->correction.compute);
	*ret_estimate = e;
}

void memory_correct(struct memory_model *m, bool has_device, const struct memory_said *said)
{
	struct memory_estimate e;

	m->correction = (struct memory_correction){ 0 };
	memory_estimate_make(m, has_device, &e);
	uint64_t logits = 4 * (uint64_t)layout_make(m, e.context).batch * m->gguf->vocabulary;
	uint64_t kv = e.host.kv + e.device.kv, compute = e.host.compute + e.device.compute;
	uint64_t bounded = compute > said->compute	      ? said->compute
			   : compute + logits < said->compute ? said->compute - logits
							      : compute;

	m->correction = (struct memory_correction){
		.kv = kv > 0 && said->kv > kv ? (double)said->kv / (double)kv : 1,
		.compute = compute > 0 ? (double)bounded / (double)compute : 1,
		.repacks = said->weights < (e.host.weights + e.device.weights) / 10 * 9,
	};
}

uint64_t memory_share_bytes(const struct memory_share *share)
{
	return share->weights + share->kv + share->compute + share->other;
}

uint64_t memory_estimate_bytes(const struct memory_estimate *e)
{
	return memory_share_bytes(&e->host) + memory_share_bytes(&e->device);
}

/* Admission */

static uint64_t host_room(const struct memory_machine *machine)
{
	return machine->host_free_bytes > HOST_KEEP_BYTES
		       ? machine->host_free_bytes - HOST_KEEP_BYTES
		       : 0;
}

/* With so much given back by a server that is stopped first. */
static bool estimate_fits(const struct memory_estimate *e, const struct memory_machine *machine,
			  uint64_t host_back, uint64_t device_back)
{
	uint64_t host = memory_share_bytes(&e->host), device = memory_share_bytes(&e->device);
	uint64_t back = host_back + device_back;

	if (host + device > back && host + device - back > machine->budget_free_bytes) {
		return false;
	}
	if (device > machine->device_free_bytes + device_back) {
		return false;
	}
	return machine->is_unified ? host + device <= host_room(machine) + back
				   : host <= host_room(machine) + host_back;
}

static bool model_fits(const struct memory_model *m, const struct memory_machine *machine,
		       struct memory_estimate *ret_estimate)
{
	memory_estimate_make(m, machine->device_free_bytes > 0, ret_estimate);
	return estimate_fits(ret_estimate, machine, 0, 0);
}

static bool is_doubtful(const struct memory_model *m, const struct memory_machine *machine)
{
	struct memory_model more = *m, less = *m;
	struct memory_estimate e;
	double up = 1 + MEMORY_DOUBT, down = 1 - MEMORY_DOUBT;

	more.correction = (struct memory_correction){ up, up, true };
	less.correction = (struct memory_correction){ down, down, false };
	return m->correction.kv <= 0 && m->correction.compute <= 0 &&
	       model_fits(&more, machine, &e) != model_fits(&less, machine, &e);
}

/* The largest power of two below the context that fits, or 0. */
static uint32_t fitting_context(struct memory_model *m, const struct memory_machine *machine,
				uint32_t context, uint32_t least,
				struct memory_estimate *ret_estimate)
{
	uint32_t tokens = 1;

	while (tokens < context / 2 + context % 2) {
		tokens *= 2;
	}
	for (; tokens >= least; tokens /= 2) {
		m->settings.ctx_size = (int32_t)tokens;
		if (model_fits(m, machine, ret_estimate)) {
			return tokens;
		}
	}
	return 0;
}

/* What the settings leave open gives way: first the context, then layers on the device. */
static bool shrink(const struct memory_model *wish, const struct memory_machine *machine,
		   struct memory_estimate *ret_estimate)
{
	struct memory_model m = *wish;
	struct memory_estimate e = *ret_estimate;
	uint32_t layers = e.layers_offloaded;

	if (or_default(m.settings.ctx_size, 0) == 0 && e.context > FIT_CONTEXT_MIN) {
		if (fitting_context(&m, machine, e.context, FIT_CONTEXT_MIN, ret_estimate) > 0) {
			return true;
		}
		m.settings.ctx_size = FIT_CONTEXT_MIN;
	}
	while (wish->settings.n_gpu_layers == SETTING_UNSET && layers > 0) {
		m.settings.n_gpu_layers = (int32_t)--layers;
		if (model_fits(&m, machine, ret_estimate)) {
			return true;
		}
	}
	*ret_estimate = e;
	return false;
}

__attribute__((format(printf, 2, 3))) static void suggest(struct memory_decision *d,
							  const char *format, ...)
{
	va_list args;

	if (d->suggestion_count < MEMORY_SUGGESTIONS_MAX) {
		va_start(args, format);
		vsnprintf(d->suggestions[d->suggestion_count++], sizeof(d->suggestions[0]), format,
			  args);
		va_end(args);
	}
}

static void suggest_settings(const struct memory_model *wish, const struct memory_machine *machine,
			     struct memory_decision *d)
{
	struct memory_model m = *wish;
	struct memory_estimate e;
	bool has_wide_kv = or_default(m.settings.cache_type_k, KV_F16) <= KV_BF16 &&
			   m.settings.flash_attention != TRI_OFF;

	m.settings.cache_type_k = KV_Q8_0;
	m.settings.cache_type_v = KV_Q8_0;
	if (has_wide_kv && model_fits(&m, machine, &e)) {
		suggest(d, "ronzal set %s cache_type_k=q8_0 cache_type_v=q8_0", wish->id);
	}
	m = *wish;
	uint32_t tokens = fitting_context(&m, machine, d->estimate.context, CONTEXT_MIN, &e);

	if (tokens > 0) {
		suggest(d, "ronzal set %s ctx_size=%u", wish->id, tokens);
	}
}

/* The smallest of the running servers whose end makes room. */
static void suggest_stop(const struct memory_machine *machine, struct memory_decision *d)
{
	const struct memory_running *best = NULL;

	for (size_t i = 0; i < machine->running_count; i++) {
		const struct memory_running *r = &machine->running[i];

		if (estimate_fits(&d->estimate, machine, r->host_bytes, r->device_bytes) &&
		    (best == NULL ||
		     r->host_bytes + r->device_bytes < best->host_bytes + best->device_bytes)) {
			best = r;
		}
	}
	if (best != NULL) {
		suggest(d, "ronzal stop %s", best->id);
	}
}

static double gib(uint64_t bytes)
{
	return (double)bytes / (1024.0 * 1024.0 * 1024.0);
}

static void say_sum(const struct memory_model *m, const struct memory_machine *machine,
		    struct memory_decision *d)
{
	const struct memory_estimate *e = &d->estimate;
	uint64_t host = memory_share_bytes(&e->host), device = memory_share_bytes(&e->device);
	int len = snprintf(d->sentence, sizeof(d->sentence),
			   "%s needs %.1f GiB (weights %.1f, KV cache %.1f for %u tokens, compute "
			   "%.1f, prompt cache and other %.1f)",
			   m->id, gib(host + device), gib(e->host.weights + e->device.weights),
			   gib(e->host.kv + e->device.kv), e->context,
			   gib(e->host.compute + e->device.compute),
			   gib(e->host.other + e->device.other));
	size_t room = sizeof(d->sentence) - (size_t)len;
	char *rest = d->sentence + len;

	if (host + device > machine->budget_free_bytes) {
		snprintf(rest, room, "; the memory budget leaves %.1f GiB",
			 gib(machine->budget_free_bytes));
	} else if (device > machine->device_free_bytes) {
		snprintf(rest, room, ", %.1f GiB of them on the GPU, where %.1f GiB are free",
			 gib(device), gib(machine->device_free_bytes));
	} else if (!machine->is_unified && device > 0) {
		snprintf(rest, room, ", %.1f GiB of them in main memory, where %.1f GiB are free",
			 gib(host), gib(host_room(machine)));
	} else {
		snprintf(rest, room, "; %.1f GiB are free", gib(host_room(machine)));
	}
}

void memory_decide(const struct memory_model *m, const struct memory_machine *machine,
		   struct memory_decision *ret_decision)
{
	struct memory_decision d = { 0 };

	d.is_doubtful = is_doubtful(m, machine);
	d.fits = model_fits(m, machine, &d.estimate);
	if (!d.fits) {
		d.is_shrunk = shrink(m, machine, &d.estimate);
		d.fits = d.is_shrunk;
	}
	say_sum(m, machine, &d);
	if (!d.fits) {
		suggest_settings(m, machine, &d);
		suggest_stop(machine, &d);
	}
	*ret_decision = d;
}
