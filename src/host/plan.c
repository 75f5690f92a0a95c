/* SPDX-License-Identifier: MIT */
#include "host/plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/launch.h"

#define HOSTS_MAX_BYTES 1024

static int fit(struct plan *plan, const struct supervisor_shared *shared,
	       const struct supervisor *who, const struct preflight *p, struct model *model,
	       struct err *err)
{
	struct memory_model wanted = { .id = model->id,
				       .gguf = &p->gguf,
				       .settings = model->settings,
				       .projector_bytes = p->mmproj_bytes,
				       .cache_ram_mib = shared->options->cache_ram_mib };
	struct memory_decision decision;
	size_t len = 0;

	shared->admit(shared->user, who, &wanted, &p->memory, &decision);
	plan->host_bytes = memory_share_bytes(&decision.estimate.host);
	plan->device_bytes = memory_share_bytes(&decision.estimate.device);
	if (decision.fits && decision.is_shrunk) {
		model->settings.ctx_size = (int32_t)decision.estimate.context;
		model->settings.n_gpu_layers = (int32_t)decision.estimate.layers_offloaded;
	}
	if (decision.fits) {
		return 0;
	}
	for (int i = 0; i < decision.suggestion_count && len < sizeof(plan->next_step); i++) {
		len += (size_t)snprintf(plan->next_step + len, sizeof(plan->next_step) - len,
					"%s%s", i > 0 ? ", or: " : "", decision.suggestions[i]);
	}
	return err_set(err, ERR_NO_MEMORY, "%s", decision.sentence);
}

int plan_make(struct plan *p, const struct supervisor_shared *shared, const struct supervisor *who,
	      const struct model *model, const struct preflight *preflight, struct err *err)
{
	const char *const *addresses = shared->options->addresses;
	struct model fitted;
	struct buf hosts;

	*p = (struct plan){ .next_step = "ronzal doctor" };
	if (model == NULL) {
		return err_set(err, ERR_NOT_FOUND, "it is no longer in the registry");
	}
	fitted = *model; /* borrows its texts */
	if (fit(p, shared, who, preflight, &fitted, err) != 0) {
		return ERR_NO_MEMORY;
	}
	buf_init(&hosts, HOSTS_MAX_BYTES);
	for (size_t i = 0; addresses[i] != NULL; i++) {
		if (i == 0 || shared->abilities.has[ABILITY_HOST_LIST]) {
			buf_printf(&hosts, "%s%s", i > 0 ? "," : "", addresses[i]);
		}
	}
	p->argv = launch_argv(
		&(struct launch_options){
			.abilities = &shared->abilities,
			.model = &fitted,
			.engine_path = preflight->engine_path,
			.model_path = preflight->model_path,
			.mmproj_path =
				preflight->mmproj_path[0] != '\0' ? preflight->mmproj_path : NULL,
			.hosts = buf_text(&hosts),
			.port = preflight->port,
			.api_key_file = preflight->key_path,
			.cache_ram_mib = (int32_t)shared->options->cache_ram_mib,
			.extra_arguments = shared->options->engine_flags,
		},
		err);
	buf_finish(&hosts);
	return p->argv != NULL ? 0 : err->code;
}

void plan_finish(struct plan *p)
{
	free(p->argv);
	p->argv = NULL;
}
