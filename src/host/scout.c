/* SPDX-License-Identifier: MIT */
#include "host/scout.h"

#include <stdlib.h>

#include "base/mem.h"
#include "io/errand.h"

enum question { ASK_VERSION, ASK_HELP, ASK_DEVICES, QUESTION_COUNT };

static const char *const flags[QUESTION_COUNT] = { "--version", "--help", "--list-devices" };

struct scout {
	struct loop *loop;
	struct asked {
		struct scout *scout;
		struct errand *errand;
		struct span text;
	} asked[QUESTION_COUNT];
	int open; /* questions without an answer */
	struct engine_abilities abilities;
	struct err err;
	scout_fn *on_end;
	void *user;
};

static void on_answer(void *user, struct span text, int exit_code, const struct err *err)
{
	struct asked *asked = user;
	struct scout *s = asked->scout;
	struct asked *a = s->asked;

	(void)exit_code;
	asked->text = text;
	if (err->code == ERR_TIMEOUT) {
		err_set(&s->err, ERR_NO_ENGINE, "llama-server did not say what it can do in %d s",
			SCOUT_MS / 1000);
	} else if (err->code != 0) {
		err_set(&s->err, ERR_NO_ENGINE, "%s", err->text);
	}
	if (--s->open > 0) {
		return;
	}
	if (s->err.code == 0) {
		probe_read(a[ASK_VERSION].text, a[ASK_HELP].text, a[ASK_DEVICES].text,
			   &s->abilities, &s->err);
	}
	s->on_end(s->user, &s->abilities, &s->err);
}

struct scout *scout_start(struct loop *loop, const char *engine_path, const char *const *env,
			  scout_fn *on_end, void *user)
{
	struct scout *s = mem_alloc(sizeof(*s));

	s->loop = loop;
	s->on_end = on_end;
	s->user = user;
	s->open = QUESTION_COUNT;
	for (int i = 0; i < QUESTION_COUNT; i++) {
		const char *argv[] = { engine_path, flags[i], NULL };

		s->asked[i].scout = s;
		s->asked[i].errand =
			errand_start(loop, &(struct errand_options){
						   .argv = argv,
						   .env = env,
						   .with_stderr = true,
						   .text_max_bytes = PROBE_TEXT_MAX_BYTES,
						   .limit_ms = SCOUT_MS,
						   .on_end = on_answer,
						   .user = &s->asked[i],
					   });
	}
	return s;
}

void scout_close(struct scout *s)
{
	if (s != NULL) {
		for (int i = 0; i < QUESTION_COUNT; i++) {
			errand_close(s->asked[i].errand);
		}
		loop_defer(s->loop, free, s);
	}
}
