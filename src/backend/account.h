/* SPDX-License-Identifier: MIT */
/*
 * One request to the gateway as it is counted: filled by the gateway while the request lives, then
 * read by metrics, usage (SQLite) and the page's live view. No prompt and no answer is ever in it.
 */
#ifndef BACKEND_ACCOUNT_H
#define BACKEND_ACCOUNT_H

#include "base/json.h"
#include "wire/server.h"

#define ACCOUNT_KEY_MAX_BYTES 64

enum account_phase { ACCOUNT_QUEUED, ACCOUNT_PROMPT, ACCOUNT_GENERATING, ACCOUNT_DONE };

/* The texts are borrowed until ACCOUNT_DONE was told; never NULL. */
struct account {
	uint64_t id; /* grows; never used twice, also not after a restart */
	int64_t at_unix_ms;
	const char *model; /* "" while it is not known */
	const char *key;   /* the API key's name; "" without */
	const char *path;  /* of the route table, not the client's text */
	bool stream;
	enum account_phase phase;
	int status;	   /* HTTP; 0: not answered yet; 499: the client left */
	const char *error; /* one sentence; "" */
	int64_t prompt_tokens, cached_tokens, generated_tokens; /* -1: not said */
	uint64_t begin_us, routed_us, first_us, end_us;		/* loop_turn_us; 0: not yet */
	double tokens_per_second;				/* of generation; 0: not said */
};

/* From one to the other; -1: one of them is not yet. */
int64_t account_ms(uint64_t from_us, uint64_t to_us);
/* As the API shows it, in flight or done. */
void account_write(struct json_writer *w, const struct account *a);

/* Told by the gateway: at each change of phase. */
struct account_sink {
	void (*on_account)(void *user, const struct account *a);
	/* Each token-bearing event after the first: time since the one before. */
	void (*on_gap)(void *user, const char *model, uint64_t gap_us);
	void *user;
};

#endif
