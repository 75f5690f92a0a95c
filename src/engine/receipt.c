/* SPDX-License-Identifier: MIT */
/*
 * Dialects (newest first; the older ones from llama.cpp's issue tracker):
 *   device   llama_prepare_model_devices: using device MTL0 (Apple M3 Pro) (id) - 13639 MiB free
 *            llama_model_load_from_file_impl: using device ...
 *            ggml_metal_device_init: GPU name:   MTL0 (Apple M4 Pro) | MTL0 | Apple M1
 *            ggml_metal_init: found device: Apple M1 Pro
 *            Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes
 *            ggml_vulkan: 0 = NVIDIA GeForce RTX 3060 (NVIDIA) | uma: 0 | ...
 *   layers   load_tensors: offloaded 23/23 layers to GPU       (llm_load_tensors)
 *   sizes    load_tensors:  Vulkan0 model buffer size = 1849.47 MiB  (without "model" before 2025)
 *            llama_kv_cache: Vulkan0 KV buffer size = 88.00 MiB
 *            sched_reserve: Vulkan0 compute buffer size = 53.01 MiB
 */
#include "engine/receipt.h"

#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/dialect.h"

/* Steps of a load in their order, and how much is behind when one is reached. */
static const struct {
	const char *words;
	float progress;
} load_steps[] = {
	{ "loading model '", 0.02f },
	{ "loaded meta data with", 0.05f },
	{ "loading model tensors", 0.10f },
	{ "model buffer size", 0.15f },
	{ "constructing llama_context", 0.80f },
	{ "KV buffer size", 0.85f },
	{ "compute buffer size", 0.90f },
	{ "warming up the model", 0.92f },
	{ "initializing, n_slots", 0.97f },
	{ "initializing slots", 0.97f },
	{ "model loaded", 1.0f },
};

/* From here on the log may repeat what a model's file or a client says. */
static const char *const settling_words[] = { "initializing, n_slots", "initializing slots",
					      "chat template", "model loaded" };

void receipt_parser_init(struct receipt_parser *p)
{
	*p = (struct receipt_parser){ .layers_offloaded = -1, .layers_total = -1 };
}

static void keep_evidence(struct receipt_parser *p, enum evidence_kind kind, struct span line,
			  uint64_t weight)
{
	if (weight > p->evidence_weight[kind]) {
		p->evidence_weight[kind] = weight;
		dialect_quote(span_trim(line), p->evidence[kind], RECEIPT_LINE_MAX_BYTES);
	}
}

static void forget_weights(struct receipt_parser *p)
{
	p->weights = (struct buffer_sizes){ 0 };
	p->has_strange_weights = false;
	p->evidence_weight[EVIDENCE_WEIGHTS_DEVICE] = 0;
	p->evidence_weight[EVIDENCE_WEIGHTS_HOST] = 0;
}

/* Devices */

/* Text up to the bracket that closes the first one: "(NVIDIA RTX (Laptop)) (0000:01)". */
static struct span in_brackets(struct span s)
{
	size_t open = span_find_char(s, '(');
	size_t depth = 0;

	for (size_t i = open; i < s.len; i++) {
		depth += s.ptr[i] == '(';
		depth -= s.ptr[i] == ')';
		if (depth == 0) {
			return (struct span){ s.ptr + open + 1, i - open - 1 };
		}
	}
	return (struct span){ NULL, 0 };
}

static struct span first_word(struct span s)
{
	return (struct span){ s.ptr, span_find_char(s, ' ') };
}

static void use_device(struct receipt_parser *p, struct span id, struct span name)
{
	if (p->devices_used++ == 0) {
		dialect_quote(id, p->device, sizeof(p->device));
		dialect_quote(name, p->device_name, sizeof(p->device_name));
	}
}

static void read_bare_name(struct receipt_parser *p, const struct dialect_line *l)
{
	struct span value = span_trim(span_from(l->body, span_find_char(l->body, ':') + 1));
	struct span name = dialect_is_gpu(first_word(value)) ? in_brackets(value) : value;

	if (name.len > 0) {
		dialect_quote(name, p->bare_name, sizeof(p->bare_name));
	}
	keep_evidence(p, EVIDENCE_DEVICE, l->text, 1);
}

/* True when the line was about a device. */
static bool read_device(struct receipt_parser *p, const struct dialect_line *l)
{
	struct span text = span_trim(l->text);
	struct host_device *listed = &p->listed[p->listed_count];

	if (span_has_prefix(l->body, "using device ")) {
		struct span rest = span_from(l->body, strlen("using device "));
		struct span id = first_word(rest);

		if (id.len > 0 && !dialect_is_host(id)) {
			use_device(p, id, in_brackets(rest));
			keep_evidence(p, EVIDENCE_DEVICE, l->text, 2);
		}
		return true;
	}
	if (span_has(l->function, "ggml_metal") &&
	    (span_has_prefix(l->body, "GPU name:") || span_has_prefix(l->body, "found device:") ||
	     span_has_prefix(l->body, "picking default device:"))) {
		read_bare_name(p, l);
		return true;
	}
	if (span_has_prefix(text, "Device 0: ") || span_has_prefix(text, "ggml_vulkan: 0 = ")) {
		struct span name = span_from(text, span_has_prefix(text, "Device") ? 10 : 17);

		name.len = span_find_char(name, span_has_prefix(text, "Device") ? ',' : '|');
		dialect_quote(span_trim(name), p->bare_name, sizeof(p->bare_name));
		keep_evidence(p, EVIDENCE_DEVICE, l->text, 1);
		return true;
	}
	if (p->listed_count < HOST_DEVICES_MAX && span_has_prefix(l->body, "- ") &&
	    dialect_device_read(span_from(l->body, 2), listed)) {
		p->listed_count++;
		return true;
	}
	return false;
}

/* Layers and sizes */

static bool read_layers(struct receipt_parser *p, const struct dialect_line *l)
{
	struct span rest = span_from(l->body, strlen("offloaded "));
	uint64_t offloaded, total;

	if (!span_has_suffix(l->function, "load_tensors") ||
	    !span_has_prefix(l->body, "offloaded ") || !dialect_number_take(&rest, &offloaded) ||
	    !span_has_prefix(rest, "/")) {
		return false;
	}
	rest = span_from(rest, 1);
	if (!dialect_number_take(&rest, &total) || !span_has_prefix(rest, " layers to GPU") ||
	    total > INT32_MAX || offloaded > INT32_MAX) {
		return false;
	}
	forget_weights(p); /* a new load's sizes follow */
	p->layers_offloaded = (int64_t)offloaded;
	p->layers_total = (int64_t)total;
	p->evidence_weight[EVIDENCE_LAYERS] = 0;
	keep_evidence(p, EVIDENCE_LAYERS, l->text, 1);
	return true;
}

static void add_size(struct buffer_sizes *sizes, bool is_device, uint64_t bytes)
{
	uint64_t *sum = is_device ? &sizes->device_bytes : &sizes->host_bytes;

	*sum = *sum > UINT64_MAX - bytes ? UINT64_MAX : *sum + bytes;
}

/* Of a known family, or on the device that the model was given. */
static bool is_device_buffer(const struct receipt_parser *p, struct span name)
{
	return dialect_is_gpu(name) ||
	       (p->devices_used > 0 && span_is(dialect_device_of_buffer(name), p->device));
}

/* "MTL0_Mapped model buffer size =  1918.35 MiB" */
static bool read_size(struct receipt_parser *p, const struct dialect_line *l)
{
	struct span name = first_word(l->body);
	size_t at = span_find(l->body, " buffer size =");
	uint64_t bytes;

	if (at == l->body.len || l->function.len == 0 ||
	    !dialect_mib_read(span_from(l->body, at + strlen(" buffer size =")), &bytes)) {
		return false;
	}
	struct span kind = span_trim((struct span){ l->body.ptr + name.len,
						    at > name.len ? at - name.len : 0 });
	bool is_device = is_device_buffer(p, name);

	if (span_has_suffix(l->function, "load_tensors")) {
		p->has_strange_weights |= !is_device && !dialect_is_host(name);
		add_size(&p->weights, is_device, bytes);
		if (is_device && p->devices_used == 0) {
			dialect_quote(dialect_device_of_buffer(name), p->device, sizeof(p->device));
		}
		keep_evidence(p, is_device ? EVIDENCE_WEIGHTS_DEVICE : EVIDENCE_WEIGHTS_HOST,
			      l->text, bytes + 1);
	} else if (span_is(kind, "KV")) {
		add_size(&p->kv, is_device, bytes);
		keep_evidence(p, EVIDENCE_KV, l->text, bytes + 1);
	} else {
		add_size(&p->other, is_device, bytes);
	}
	return true;
}

/* A load or a context begins (anew): sizes that were printed before belong to a trial. */
static void read_beginning(struct receipt_parser *p, const struct dialect_line *l)
{
	if (span_has_suffix(l->function, "load_tensors") &&
	    span_has_prefix(l->body, "loading model tensors")) {
		forget_weights(p);
		p->layers_offloaded = -1;
		p->layers_total = -1;
		p->evidence_weight[EVIDENCE_LAYERS] = 0;
	} else if (span_has_prefix(l->body, "constructing llama_context")) {
		p->kv = (struct buffer_sizes){ 0 };
		p->other = (struct buffer_sizes){ 0 };
		p->evidence_weight[EVIDENCE_KV] = 0;
	}
}

/* --log-jsonl wraps each line: {"type":"log",...,"msg":"load_tensors: ...\n"} */
static struct json *unwrap(struct span *line)
{
	struct json *json = NULL;

	if (span_has_prefix(*line, "{\"") && line->len <= DIALECT_LINE_MAX_BYTES) {
		json = json_parse(*line, NULL);
		json_to_span(json_get(json_root(json), "msg"), line);
	}
	return json;
}

static void feed_message(struct receipt_parser *p, struct span line)
{
	struct dialect_line l = dialect_read(line);

	for (size_t i = 0; i < ARRAY_LEN(load_steps); i++) {
		if (load_steps[i].progress > p->progress && span_has(l.body, load_steps[i].words)) {
			p->progress = load_steps[i].progress;
		}
	}
	if (span_has(l.text, "no usable GPU found")) {
		p->has_no_gpu_warning = true;
		keep_evidence(p, EVIDENCE_NO_GPU, l.text, 1);
	}
	read_beginning(p, &l);
	if (!read_device(p, &l) && !read_layers(p, &l)) {
		read_size(p, &l);
	}
	for (size_t i = 0; i < ARRAY_LEN(settling_words); i++) {
		p->is_settled = p->is_settled || span_has(l.body, settling_words[i]);
	}
}

void receipt_parser_feed(struct receipt_parser *p, struct span line)
{
	if (p->is_settled) {
		return;
	}
	struct json *json = unwrap(&line);

	feed_message(p, line);
	json_destroy(json);
}

/* The verdict */

/* For builds that print no sizes. Where others were printed, the weights' line was lost. */
static enum receipt_verdict verdict_by_count(const struct receipt_parser *p)
{
	bool has_sizes = p->kv.device_bytes + p->kv.host_bytes + p->other.device_bytes +
				 p->other.host_bytes >
			 0;

	if (p->layers_offloaded == 0) {
		return RECEIPT_CPU;
	}
	if (p->devices_used == 0 || has_sizes) {
		return RECEIPT_UNKNOWN;
	}
	return p->layers_offloaded == p->layers_total ? RECEIPT_GPU : RECEIPT_PARTIAL;
}

static enum receipt_verdict decide(const struct receipt_parser *p)
{
	bool on_device = p->weights.device_bytes > 0, on_host = p->weights.host_bytes > 0;
	bool is_counted = p->layers_total >= 0;

	if (p->has_strange_weights ||
	    (is_counted && (p->layers_total == 0 || p->layers_offloaded > p->layers_total))) {
		return RECEIPT_UNKNOWN;
	}
	if (on_device) {
		bool is_backed = p->devices_used > 0 || p->kv.device_bytes > 0;
		bool is_mostly_host = p->weights.host_bytes / 2 > p->weights.device_bytes;
		bool is_whole = is_counted
					? p->layers_offloaded == p->layers_total && !is_mostly_host
					: p->kv.host_bytes == 0;

		if (p->has_no_gpu_warning || !is_backed ||
		    (is_counted ? p->layers_offloaded == 0 : p->kv.device_bytes == 0)) {
			return RECEIPT_UNKNOWN;
		}
		return is_whole ? RECEIPT_GPU : RECEIPT_PARTIAL;
	}
	if (on_host || p->has_no_gpu_warning) {
		return RECEIPT_CPU;
	}
	return is_counted ? verdict_by_count(p) : RECEIPT_UNKNOWN;
}

static enum receipt_verdict wished(const struct receipt_wish *wish, int total)
{
	if (wish->require_gpu) {
		return RECEIPT_GPU;
	}
	if (!wish->has_device || wish->n_gpu_layers == 0) {
		return RECEIPT_CPU;
	}
	if (wish->n_gpu_layers == SETTING_UNSET || total < 0 || wish->n_gpu_layers >= total) {
		return RECEIPT_GPU;
	}
	return RECEIPT_PARTIAL;
}

static void explain(const struct receipt_parser *p, const struct receipt_wish *wish,
		    struct receipt *r)
{
	char part[48] = "a part of the weights";
	char asked[48] = "the GPU was asked for";

	if (wish->n_gpu_layers != SETTING_UNSET) {
		snprintf(asked, sizeof(asked), "%d GPU layers were asked for",
			 (int)wish->n_gpu_layers);
	}
	if (r->layers_offloaded < r->layers_total) {
		snprintf(part, sizeof(part), "a part (%d of %d layers)", r->layers_offloaded,
			 r->layers_total);
	}
	switch (r->verdict) {
	case RECEIPT_UNKNOWN:
		snprintf(r->why, sizeof(r->why),
			 "the engine's log does not prove where the layers are");
		break;
	case RECEIPT_CPU:
		snprintf(r->why, sizeof(r->why), "runs on the CPU although %s%s", asked,
			 p->has_no_gpu_warning || p->devices_used == 0
				 ? ": the engine found no GPU"
				 : ": the engine left all weights in main memory");
		break;
	case RECEIPT_PARTIAL:
		snprintf(r->why, sizeof(r->why), "only %s is on the GPU although %s", part, asked);
		break;
	case RECEIPT_GPU:
		snprintf(r->why, sizeof(r->why),
			 "runs on the GPU although fewer layers were asked for");
		break;
	}
}

/* Which device, once it is known that one is used. */
static void name_device(const struct receipt_parser *p, struct receipt *r)
{
	const char *name = p->device_name;

	for (int i = 0; i < p->listed_count && name[0] == '\0'; i++) {
		name = strcmp(p->listed[i].id, p->device) == 0 ? p->listed[i].name : name;
	}
	name = name[0] != '\0' ? name : p->bare_name;
	span_copy(span_of(p->device), r->device, sizeof(r->device));
	span_copy(span_of(name), r->device_name, sizeof(r->device_name));
	size_t len = strlen(r->device_name);

	if (p->devices_used > 1) {
		snprintf(r->device_name + len, sizeof(r->device_name) - len, " and %d more",
			 p->devices_used - 1);
	}
}

void receipt_parser_read(const struct receipt_parser *p, const struct receipt_wish *wish,
			 struct receipt *r)
{
	r->verdict = decide(p);
	r->layers_offloaded = (int)p->layers_offloaded;
	r->layers_total = (int)p->layers_total;
	if (r->verdict == RECEIPT_CPU && r->layers_total >= 0) {
		r->layers_offloaded = 0; /* whatever the count claims */
	}
	r->device_bytes = p->weights.device_bytes + p->kv.device_bytes + p->other.device_bytes;
	r->host_bytes = p->weights.host_bytes + p->kv.host_bytes + p->other.host_bytes;
	r->device[0] = r->device_name[0] = r->why[0] = '\0';
	if (r->verdict == RECEIPT_GPU || r->verdict == RECEIPT_PARTIAL) {
		name_device(p, r);
	}
	r->wanted = r->verdict != RECEIPT_UNKNOWN && r->verdict == wished(wish, r->layers_total);
	if (!r->wanted) {
		explain(p, wish, r);
	}
	r->evidence_count = 0;
	for (int i = 0; i < EVIDENCE_KIND_COUNT; i++) {
		if (p->evidence_weight[i] > 0) {
			memcpy(r->evidence[r->evidence_count++], p->evidence[i],
			       RECEIPT_LINE_MAX_BYTES);
		}
	}
}

void receipt_print(const struct receipt *r, char *text, size_t room)
{
	char layers[64] = "layers not counted";
	const char *name = r->device_name[0] != '\0' ? r->device_name : "not told";

	if (r->layers_total >= 0) {
		snprintf(layers, sizeof(layers), "%d/%d layers on the GPU", r->layers_offloaded,
			 r->layers_total);
	}
	switch (r->verdict) {
	case RECEIPT_GPU:
		snprintf(text, room, "ronzal: GPU name: %s (%s), %s", name, r->device, layers);
		break;
	case RECEIPT_PARTIAL:
		snprintf(text, room, "ronzal: GPU name: %s (%s), %s, %s", name, r->device, layers,
			 r->layers_offloaded < r->layers_total
				 ? "the rest on the CPU"
				 : "but most of the weights in main memory");
		break;
	case RECEIPT_CPU:
		snprintf(text, room, "ronzal: no GPU in use, all layers on the CPU%s%s",
			 r->wanted ? "" : "; ", r->why);
		break;
	case RECEIPT_UNKNOWN:
		snprintf(text, room, "ronzal: GPU not proven; %s", r->why);
		break;
	}
}
