/* SPDX-License-Identifier: MIT */
#include "host/plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/launch.h"
#include "host/agent_inside.h"
#include "io/errand.h"

#define HOSTS_MAX_BYTES 1024
#define QUESTION_MS 10000 /* then the formula decides alone */
#define ANSWER_MAX_BYTES 4096

static void say_what_fits(struct plan *p, const struct memory_decision *d)
{
	size_t len = 0;

	for (int i = 0; i < d->suggestion_count && len < sizeof(p->next_step); i++) {
		len += (size_t)snprintf(p->next_step + len, sizeof(p->next_step) - len, "%s%s",
					i > 0 ? ", or: " : "", d->suggestions[i]);
	}
	err_set(&p->err, ERR_NO_MEMORY, "%s", d->sentence);
}

/* What does not fit as it is may fit with less: the model's settings are changed then. */
static void fit(struct supervisor *s, const struct memory_said *said, struct model *model,
		struct memory_decision *d)
{
	const struct preflight *found = s->preflight;
	struct memory_model wanted = { .id = model->id,
				       .gguf = &found->gguf,
				       .settings = model->settings,
				       .projector_bytes = found->mmproj_bytes,
				       .cache_ram_mib = s->agent->options.cache_ram_mib };

	if (said != NULL) {
		memory_correct(&wanted, s->agent->engine.abilities.device_count > 0, said);
	}
	agent_admit(s->agent, s, &wanted, &found->memory, d);
	s->plan.host_bytes = memory_share_bytes(&d->estimate.host);
	s->plan.device_bytes = memory_share_bytes(&d->estimate.device);
	if (d->fits && d->is_shrunk) {
		model->settings.ctx_size = (int32_t)d->estimate.context;
		model->settings.n_gpu_layers = (int32_t)d->estimate.layers_offloaded;
	}
}

static void decide(struct supervisor *s, const struct memory_said *said);

static void on_answer(void *user, struct span text, int exit_code, const struct err *err)
{
	struct supervisor *s = user;
	struct memory_said said;
	bool is_said = err->code == 0 && exit_code == 0 && probe_fit_read(text, &said);

	errand_close(s->plan.question);
	s->plan.question = NULL;
	s->plan.was_asked = true;
	decide(s, is_said ? &said : NULL);
	supervisor_on_planned(s);
}

/* False when there is nobody to be asked. */
static bool ask(struct supervisor *s, const struct launch_options *options)
{
	const char *program = s->preflight->fit_path;
	char **argv = program[0] != '\0' ? launch_fit_argv(options, program) : NULL;

	if (argv != NULL) {
		s->plan.question =
			errand_start(s->agent->loop,
				     &(struct errand_options){
					     .argv = (const char *const *)argv,
					     .env = (const char *const *)s->agent->engine_env,
					     .text_max_bytes = ANSWER_MAX_BYTES,
					     .limit_ms = QUESTION_MS,
					     .on_end = on_answer,
					     .user = s,
				     });
	}
	free(argv);
	return argv != NULL;
}

static void decide(struct supervisor *s, const struct memory_said *said)
{
	const struct engine_abilities *abilities = &s->agent->engine.abilities;
	const struct agent_options *o = &s->agent->options;
	const struct preflight *found = s->preflight;
	struct plan *p = &s->plan;
	struct memory_decision decision;
	struct buf hosts;

	if (s->model == NULL) {
		err_set(&p->err, ERR_NOT_FOUND, "it is no longer in the registry");
		return;
	}
	struct model fitted = *s->model; /* borrows its texts */
	struct launch_options options = {
		.abilities = abilities,
		.model = &fitted,
		.engine_path = found->engine_path,
		.model_path = found->model_path,
		.mmproj_path = found->mmproj_path[0] != '\0' ? found->mmproj_path : NULL,
		.port = found->port,
		.api_key_file = found->key_path,
		.cache_ram_mib = (int32_t)o->cache_ram_mib,
		.extra_arguments = o->engine_flags,
	};

	fit(s, said, &fitted, &decision);
	if (decision.is_doubtful && !p->was_asked && ask(s, &options)) {
		return;
	}
	if (!decision.fits) {
		say_what_fits(p, &decision);
		return;
	}
	buf_init(&hosts, HOSTS_MAX_BYTES);
	for (size_t i = 0; o->addresses[i] != NULL; i++) {
		if (i == 0 || abilities->has[ABILITY_HOST_LIST]) {
			buf_printf(&hosts, "%s%s", i > 0 ? "," : "", o->addresses[i]);
		}
	}
	options.hosts = buf_text(&hosts);
	p->argv = launch_argv(&options, &p->err);
	buf_finish(&hosts);
}

void plan_start(struct supervisor *s)
{
	s->plan = (struct plan){ .next_step = "ronzal doctor" };
	decide(s, NULL);
	if (s->plan.question == NULL) {
		supervisor_on_planned(s);
	}
}

void plan_finish(struct plan *p)
{
	errand_close(p->question);
	free(p->argv);
	p->question = NULL;
	p->argv = NULL;
}
