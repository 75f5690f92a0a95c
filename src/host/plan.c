/* SPDX-License-Identifier: MIT */
#include "host/plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/launch.h"
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
static void fit(struct plan *p, const struct memory_said *said, struct model *model,
		struct memory_decision *ret_decision)
{
	const struct supervisor_shared *shared = p->shared;
	struct memory_model wanted = { .id = model->id,
				       .gguf = &p->preflight->gguf,
				       .settings = model->settings,
				       .projector_bytes = p->preflight->mmproj_bytes,
				       .cache_ram_mib = shared->options->cache_ram_mib };
	struct memory_decision *d = ret_decision;

	if (said != NULL) {
		memory_correct(&wanted, shared->abilities.device_count > 0, said);
	}
	shared->admit(shared->user, p->who, &wanted, &p->preflight->memory, d);
	p->host_bytes = memory_share_bytes(&d->estimate.host);
	p->device_bytes = memory_share_bytes(&d->estimate.device);
	if (d->fits && d->is_shrunk) {
		model->settings.ctx_size = (int32_t)d->estimate.context;
		model->settings.n_gpu_layers = (int32_t)d->estimate.layers_offloaded;
	}
}

static void decide(struct plan *p, const struct memory_said *said);

static void on_answer(void *user, struct span text, int exit_code, const struct err *err)
{
	struct plan *p = user;
	struct memory_said said;
	bool is_said = err->code == 0 && exit_code == 0 && probe_fit_read(text, &said);

	errand_close(p->question);
	p->question = NULL;
	p->was_asked = true;
	decide(p, is_said ? &said : NULL);
}

/* False when there is nobody to be asked. */
static bool ask(struct plan *p, const struct launch_options *options)
{
	const char *program = p->preflight->fit_path;
	char **argv = program[0] != '\0' ? launch_fit_argv(options, program) : NULL;

	if (argv != NULL) {
		p->question =
			errand_start(p->shared->loop, &(struct errand_options){
							      .argv = (const char *const *)argv,
							      .env = p->shared->engine_env,
							      .text_max_bytes = ANSWER_MAX_BYTES,
							      .limit_ms = QUESTION_MS,
							      .on_end = on_answer,
							      .user = p,
						      });
	}
	free(argv);
	return argv != NULL;
}

static void decide(struct plan *p, const struct memory_said *said)
{
	const struct supervisor_shared *shared = p->shared;
	const struct preflight *found = p->preflight;
	const struct model *model = supervisor_model(p->who);
	const char *const *addresses = shared->options->addresses;
	struct memory_decision decision;
	struct buf hosts;

	if (model == NULL) {
		err_set(&p->err, ERR_NOT_FOUND, "it is no longer in the registry");
		p->done(p->who);
		return;
	}
	struct model fitted = *model; /* borrows its texts */
	struct launch_options options = {
		.abilities = &shared->abilities,
		.model = &fitted,
		.engine_path = found->engine_path,
		.model_path = found->model_path,
		.mmproj_path = found->mmproj_path[0] != '\0' ? found->mmproj_path : NULL,
		.port = found->port,
		.api_key_file = found->key_path,
		.cache_ram_mib = (int32_t)shared->options->cache_ram_mib,
		.extra_arguments = shared->options->engine_flags,
	};

	fit(p, said, &fitted, &decision);
	if (decision.is_doubtful && !p->was_asked && ask(p, &options)) {
		return;
	}
	if (!decision.fits) {
		say_what_fits(p, &decision);
		p->done(p->who);
		return;
	}
	buf_init(&hosts, HOSTS_MAX_BYTES);
	for (size_t i = 0; addresses[i] != NULL; i++) {
		if (i == 0 || shared->abilities.has[ABILITY_HOST_LIST]) {
			buf_printf(&hosts, "%s%s", i > 0 ? "," : "", addresses[i]);
		}
	}
	options.hosts = buf_text(&hosts);
	p->argv = launch_argv(&options, &p->err);
	buf_finish(&hosts);
	p->done(p->who);
}

void plan_start(struct plan *p, const struct supervisor_shared *shared, struct supervisor *who,
		const struct preflight *preflight, void (*done)(struct supervisor *who))
{
	*p = (struct plan){ .next_step = "ronzal doctor",
			    .shared = shared,
			    .who = who,
			    .preflight = preflight,
			    .done = done };
	decide(p, NULL);
}

void plan_finish(struct plan *p)
{
	errand_close(p->question);
	free(p->argv);
	p->question = NULL;
	p->argv = NULL;
}
