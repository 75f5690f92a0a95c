/* SPDX-License-Identifier: MIT */
/*
 * A download of a model as everybody sees it: ronzal-fetch says it, one line at each change; the
 * agent, links, the backend, the page and the command line pass it on. A value without pointers.
 *
 *   asking -> choosing                               the repository offers several: name one
 *          -> downloading -> checking -> done | failed | canceled
 */
#ifndef WIRE_PULL_H
#define WIRE_PULL_H

#include "wire/server.h"

#define PULL_SOURCE_MAX_BYTES 512
#define PULL_PATH_MAX_BYTES 1024
#define PULL_CHOICES_MAX 64

/* X(name, text, is running) */
#define PULL_PHASE_TABLE(X) \
	X(ASKING, "asking", true) \
	X(CHOOSING, "choosing", false) \
	X(DOWNLOADING, "downloading", true) \
	X(CHECKING, "checking", true) \
	X(DONE, "done", false) \
	X(FAILED, "failed", false) \
	X(CANCELED, "canceled", false)

#define PULL_PHASE_ENUM(name, text, running) PULL_##name,
enum pull_phase { PULL_PHASE_TABLE(PULL_PHASE_ENUM) };
#undef PULL_PHASE_ENUM

const char *pull_phase_name(enum pull_phase phase);
bool pull_phase_is_running(enum pull_phase phase);

/* Whether a choice would run on this machine: whole, with less context or layers, or not at all. */
enum pull_verdict { PULL_UNKNOWN, PULL_FITS, PULL_TIGHT, PULL_TOO_LARGE };

/* One of the models that a repository offers. */
struct pull_choice {
	char name[96];	       /* what to say behind "ORG/REPO:" */
	uint64_t bytes;	       /* of all its files */
	uint64_t memory_bytes; /* estimate of what it takes; 0: none */
	enum pull_verdict verdict;
};

struct pull {
	char id[16];
	char source[PULL_SOURCE_MAX_BYTES]; /* as it was asked for */
	enum pull_phase phase;
	uint64_t done_bytes, total_bytes; /* of all files; what was there before counts */
	uint64_t bytes_per_s;		  /* lately; 0: not known */
	char note[256];			  /* what it waits for; "" */
	char path[PULL_PATH_MAX_BYTES];	  /* of the (first) file, from done on */
	char mmproj_path[PULL_PATH_MAX_BYTES];
	char model[SERVER_ID_MAX_BYTES]; /* done: its id in the registry */
	int error_code;			 /* enum err_code, or 0 */
	char error[ERR_TEXT_MAX_BYTES];	 /* one line with what to do */
	int choice_count; /* more than there is room for are left out, largest first */
	int best;	  /* of the choices the one to propose; -1: none */
	struct pull_choice choices[PULL_CHOICES_MAX];
};

void pull_init(struct pull *p, const char *source);
/* Failed; a system's code becomes ERR_IO. */
void pull_fail(struct pull *p, const struct err *why);
/* Milliseconds until the end at the present speed; -1: not known. */
int64_t pull_eta_ms(const struct pull *p);

/* One object. Unknown members are ignored when read. */
void pull_write(struct json_writer *w, const struct pull *p);
/* 0 or ERR_INVALID naming the member; absent members leave what is there. */
int pull_read(const struct json_value *v, struct pull *ret_pull, struct err *err);

#endif
