/* SPDX-License-Identifier: MIT */
#include "engine/obituary.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/dialect.h"

/*
 * Words of a log line, the code, what happened, what to do. Order matters within one line only: the
 * first row whose words are in it is the cause. Never a bare "oom": it is in "room".
 */
static const struct cause {
	const char *words;
	int code;
	const char *sentence, *next_step;
} causes[] = {
#define MEMORY \
	ERR_NO_MEMORY, "the engine ran out of memory", \
		"lower ctx_size or n_gpu_layers, stop another model, or take a smaller " \
		"quantization"
	{ "cudaMalloc failed", MEMORY },
	{ "CUDA error: out of memory", MEMORY },
	{ "failed to allocate", MEMORY },
	{ "unable to allocate", MEMORY },
	{ "out of device memory", MEMORY },
	{ "ErrorOutOfDeviceMemory", MEMORY },
	{ "ErrorOutOfHostMemory", MEMORY },
	{ "CallbackErrorOutOfMemory", MEMORY },
	{ "std::bad_alloc", MEMORY },
#undef MEMORY
	{ "invalid magic characters", ERR_INVALID, "the model's file is not a GGUF",
	  "download the model again as GGUF" },
#define TORN \
	ERR_INVALID, "the model's file is damaged or incomplete", \
		"download it again and compare its size"
	{ "corrupted or incomplete", TORN },
	{ "failed to read key-value pairs", TORN },
	{ "failed to read tensor", TORN },
	{ "exceeds remaining file size", TORN },
#undef TORN
#define TOO_NEW \
	ERR_NO_ENGINE, "this engine is too old for the model", \
		"install a newer llama-server (brew upgrade llama.cpp, or scripts/engine.sh)"
	{ "unknown model architecture", TOO_NEW },
	{ "unknown pre-tokenizer type", TOO_NEW },
	{ "invalid ggml type", TOO_NEW },
#undef TOO_NEW
	{ "V cache requires flash_attn", ERR_INVALID, "a quantized V cache needs flash attention",
	  "set flash_attention to on, or cache_type_v to f16" },
	{ "couldn't bind", ERR_BUSY, "the engine could not listen on its port",
	  "free the port or set another one; if bind in host.conf names an address, check "
	  "that this machine has it" },
	{ "error: invalid argument:", ERR_NO_ENGINE, "the engine does not know one of its flags",
	  "check the extra flags in host.conf, or install another build of llama-server" },
	{ "error while handling argument", ERR_INVALID, "the engine refused the value of a flag",
	  "correct the model's setting or the extra flags in host.conf" },
	{ "error while loading shared libraries", ERR_NO_ENGINE,
	  "a library of the engine is missing",
	  "install llama-server again, or set library_path in host.conf" },
	{ "Library not loaded", ERR_NO_ENGINE, "a library of the engine is missing",
	  "install llama-server again (brew reinstall llama.cpp)" },
	{ "no backends are loaded", ERR_NO_ENGINE, "the engine found none of its back ends",
	  "install llama-server again together with its ggml back ends" },
	{ "ErrorDeviceLost", ERR_ENGINE_FAILED, "the GPU's driver gave up (device lost)",
	  "start the model again; if it comes back, update the driver" },
	{ "CUDA error", ERR_ENGINE_FAILED, "the GPU reported an error",
	  "start the model again; if it comes back, update the driver" },
	{ "(No such file or directory)", ERR_NOT_FOUND, "the model's file is not there",
	  "rescan, or put the file back" },
	{ "(Operation not permitted)", ERR_DENIED,
	  "the system does not let the engine read the file",
	  "move the model out of Documents, Downloads or an external volume, or give the "
	  "agent full disk access" },
	{ "(Permission denied)", ERR_DENIED, "the engine may not read the model's file",
	  "give the agent's user the right to read it" },
};

/* Signals that an engine gets without being asked to end. */
static const struct {
	int signum;
	const char *sentence, *next_step;
} signals[] = {
	{ SIGKILL, "the engine was killed by the system or by a person (SIGKILL)",
	  "most often memory was short: lower ctx_size, or take a smaller model" },
	{ SIGILL, "the engine uses instructions that this processor lacks (SIGILL)",
	  "install a llama-server that was built for this processor" },
	{ SIGABRT, "the engine gave up over an internal fault (SIGABRT)",
	  "see its log; another build of llama-server may do better" },
	{ SIGSEGV, "the engine crashed (SIGSEGV)",
	  "see its log; another build of llama-server may do better" },
	{ SIGBUS, "the engine crashed (SIGBUS): its model's file may have changed under it",
	  "start the model again; do not replace a model's file while it runs" },
	{ SIGTERM, "the engine was told to end by somebody else (SIGTERM)", "start it again" },
};

void obituary_parser_init(struct obituary_parser *p)
{
	*p = (struct obituary_parser){ .cause = -1 };
}

static int find_cause(struct span text)
{
	for (size_t i = 0; i < ARRAY_LEN(causes); i++) {
		if (span_has(text, causes[i].words)) {
			return (int)i;
		}
	}
	return -1;
}

void obituary_parser_feed(struct obituary_parser *p, struct span line)
{
	struct dialect_line l = dialect_read(line);

	if (span_is(l.body, "model loaded")) {
		/* What was survived is no cause of death: builds try again with less. */
		obituary_parser_init(p);
		p->is_ready = true;
	}
	int cause = p->cause < 0 ? find_cause(l.text) : -1;
	bool is_error = l.level == 'E' || span_has(l.text, "GGML_ASSERT") ||
			span_has(l.text, "error: ") || span_has(l.text, "terminate called");

	if (cause >= 0 || (p->cause < 0 && is_error)) {
		dialect_quote(span_trim(l.text), p->line, sizeof(p->line));
		p->cause = cause;
	}
}

void obituary_read(const struct obituary_parser *p, int exit_code, struct obituary *ret_obituary)
{
	struct obituary *o = ret_obituary;
	char end[64];
	const char *sentence = end, *next_step = "see the model's log";

	snprintf(end, sizeof(end),
		 exit_code < 0 ? "the engine was ended by signal %d"
			       : "the engine ended with exit code %d",
		 abs(exit_code));
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		if (signals[i].signum == -exit_code) {
			sentence = signals[i].sentence;
			next_step = signals[i].next_step;
		}
	}
	*o = (struct obituary){ .code = ERR_ENGINE_FAILED };
	if (p->cause >= 0) {
		o->code = causes[p->cause].code;
		sentence = causes[p->cause].sentence;
		next_step = causes[p->cause].next_step;
	}
	snprintf(o->sentence, sizeof(o->sentence), "%s%s%s%s", sentence,
		 p->is_ready ? ", while it served" : ", before it was ready",
		 p->line[0] != '\0' ? ": " : "", p->line);
	snprintf(o->next_step, sizeof(o->next_step), "%s", next_step);
}
