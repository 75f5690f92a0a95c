/* SPDX-License-Identifier: MIT */
#include "engine/launch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

/* A vector in the making: texts one behind the other. */
struct launch {
	struct buf text; /* each with its terminator */
	size_t count;
	int status; /* 0, or the first error */
	const struct engine_abilities *abilities;
	struct err *err;
};

/* Given to an engine as they are. A name that ends with '_' stands for all that begin so. */
static const char *const environment_names[] = {
	"PATH",
	"HOME",
	"USER",
	"LOGNAME",
	"TMPDIR",
	"LANG",
	"LC_",
	/* which devices, and how much of them */
	"CUDA_VISIBLE_DEVICES",
	"CUDA_DEVICE_ORDER",
	"HIP_VISIBLE_DEVICES",
	"ROCR_VISIBLE_DEVICES",
	"HSA_OVERRIDE_GFX_VERSION",
	"GGML_VK_VISIBLE_DEVICES",
	"GGML_VK_PREFER_HOST_MEMORY",
	"GGML_CUDA_ENABLE_UNIFIED_MEMORY",
	/* which Vulkan driver */
	"VK_DRIVER_FILES",
	"VK_ADD_DRIVER_FILES",
	"VK_ICD_FILENAMES",
};

static void add(struct launch *l, const char *text)
{
	if (l->status == 0) {
		l->status = buf_add(&l->text, text, strlen(text) + 1);
		l->count++;
	}
}

static char **finish(struct launch *l, const char *what)
{
	char **block = NULL;

	if (l->status == 0) {
		block = mem_alloc((l->count + 1) * sizeof(*block) + l->text.len);
		char *text = (char *)(block + l->count + 1);

		memcpy(text, buf_text(&l->text), l->text.len);
		for (size_t i = 0; i < l->count; i++) {
			block[i] = text;
			text += strlen(text) + 1;
		}
	} else if (l->status == ERR_FULL) {
		err_set(l->err, ERR_FULL,
			"the engine's %s: longer than %d bytes; shorten host.conf's", what,
			LAUNCH_TEXT_MAX_BYTES);
	}
	buf_finish(&l->text);
	return block;
}

/* The flag, or a refusal when this engine has none. */
static void add_flag(struct launch *l, enum ability ability)
{
	if (!l->abilities->has[ability] && l->status == 0) {
		l->status = err_set(l->err, ERR_NO_ENGINE,
				    "%s has no %s, which the model asks for; install a newer "
				    "one or unset it",
				    l->abilities->version, ability_flag(ability));
	}
	add(l, ability_flag(ability));
}

static void add_text(struct launch *l, enum ability ability, const char *text)
{
	add_flag(l, ability);
	add(l, text);
}

static void add_number(struct launch *l, enum ability ability, int32_t number)
{
	char text[16];

	snprintf(text, sizeof(text), "%ld", (long)number);
	add_text(l, ability, text);
}

/* As it is set; a switch that is on is a flag alone. What is not set is left to the engine. */
static void add_setting(struct launch *l, const struct settings *s, const char *name,
			enum ability ability)
{
	const struct setting_row *row = setting_find(span_of(name));
	int32_t value = setting_get(s, row);
	char text[16];

	if (value == SETTING_UNSET) {
		return;
	}
	if (row->kind != SETTING_BOOL) {
		setting_print(row, value, text, sizeof(text));
		add_text(l, ability, text);
	} else if (value == 1) {
		add_flag(l, ability);
	}
}

static void add_flag_if_offered(struct launch *l, enum ability ability)
{
	if (l->abilities->has[ability]) {
		add_flag(l, ability);
	}
}

static void add_layers_and_context(struct launch *l, const struct settings *s)
{
	const bool *has = l->abilities->has;

	if (s->n_gpu_layers != SETTING_UNSET) {
		add_number(l, ABILITY_GPU_LAYERS, s->n_gpu_layers);
	} else if (has[ABILITY_GPU_LAYERS_AUTO]) {
		add_text(l, ABILITY_GPU_LAYERS, "auto");
	} else if (!has[ABILITY_FIT]) {
		add_number(l, ABILITY_GPU_LAYERS, setting_find(SPAN_LIT("n_gpu_layers"))->max);
	}
	add_number(l, ABILITY_CTX_SIZE,
		   s->ctx_size != SETTING_UNSET ? s->ctx_size
		   : has[ABILITY_FIT]		? 0
						: LAUNCH_CTX_WITHOUT_FIT);
}

static void add_flash_attention(struct launch *l, const struct settings *s)
{
	if (l->abilities->has[ABILITY_FLASH_ATTN_VALUE]) {
		add_setting(l, s, "flash_attention", ABILITY_FLASH_ATTN_VALUE);
	} else if (s->flash_attention == TRI_ON) {
		add_flag(l, ABILITY_FLASH_ATTN);
	}
}

static void add_load_mode(struct launch *l, const struct settings *s)
{
	const bool *has = l->abilities->has;

	if (has[ABILITY_LOAD_MODE]) {
		if (s->mlock == 1) {
			bool both = s->mmap != 0 && has[ABILITY_LOAD_MODE_BOTH];

			add_text(l, ABILITY_LOAD_MODE, both ? "mmap+mlock" : "mlock");
		} else if (s->mmap != SETTING_UNSET) {
			add_text(l, ABILITY_LOAD_MODE, s->mmap == 1 ? "mmap" : "none");
		}
		return;
	}
	add_setting(l, s, "mlock", ABILITY_MLOCK);
	if (s->mmap == 0) {
		add_flag(l, ABILITY_NO_MMAP);
	} else if (s->mmap == 1) {
		add_flag_if_offered(l, ABILITY_MMAP); /* the default where it has no flag */
	}
}

/* What the size of a load depends on. */
static void add_sizes(struct launch *l, const struct settings *s)
{
	add_layers_and_context(l, s);
	add_setting(l, s, "parallel", ABILITY_PARALLEL);
	add_setting(l, s, "batch_size", ABILITY_BATCH_SIZE);
	add_flash_attention(l, s);
	add_setting(l, s, "cache_type_k", ABILITY_CACHE_TYPE_K);
	add_setting(l, s, "cache_type_v", ABILITY_CACHE_TYPE_V);
}

static void add_settings(struct launch *l, const struct settings *s, int32_t cache_ram_mib)
{
	add_sizes(l, s);
	add_setting(l, s, "n_threads", ABILITY_THREADS);
	if (l->abilities->has[ABILITY_CACHE_RAM]) {
		add_number(l, ABILITY_CACHE_RAM,
			   s->cache_ram_mib != SETTING_UNSET ? s->cache_ram_mib : cache_ram_mib);
	}
	add_load_mode(l, s);
	add_setting(l, s, "embeddings", ABILITY_EMBEDDING);
	add_setting(l, s, "reranking", ABILITY_RERANKING);
}

/* Texts of others go behind flags only, and must not look like one even there. */
static int check_texts(const struct launch_options *o, struct err *err)
{
	if (!registry_id_is_valid(span_of(o->model->id))) {
		return err_set(err, ERR_INVALID, "the model's id is not one that can be started");
	}
	if (o->model_path[0] != '/' || (o->mmproj_path != NULL && o->mmproj_path[0] != '/')) {
		return err_set(err, ERR_INVALID, "model %s: its file's path is not absolute",
			       o->model->id);
	}
	if (strchr(o->hosts, ',') != NULL && !o->abilities->has[ABILITY_HOST_LIST]) {
		return err_set(err, ERR_NO_ENGINE,
			       "%s listens on one address only, not on %s; install a newer one or "
			       "set bind in host.conf to one address",
			       o->abilities->version, o->hosts);
	}
	return 0;
}

char **launch_argv(const struct launch_options *o, struct err *err)
{
	struct launch l = { .abilities = o->abilities, .err = err };

	ENSURE(o->model != NULL);
	if (check_texts(o, err) != 0) {
		return NULL;
	}
	buf_init(&l.text, LAUNCH_TEXT_MAX_BYTES);
	add(&l, o->engine_path);
	add_text(&l, ABILITY_HOST, o->hosts);
	add_number(&l, ABILITY_PORT, o->port);
	add_text(&l, ABILITY_API_KEY_FILE, o->api_key_file);
	add_text(&l, ABILITY_ALIAS, o->model->id);
	add_text(&l, ABILITY_MODEL, o->model_path);
	if (o->mmproj_path != NULL) {
		add_text(&l, ABILITY_MMPROJ, o->mmproj_path);
	}
	add_settings(&l, &o->model->settings, o->cache_ram_mib);
	if (o->abilities->has[ABILITY_LOG_TRACE]) {
		add_text(&l, ABILITY_LOG_TRACE, "4");
	}
	add_flag_if_offered(&l, ABILITY_METRICS);
	add_flag_if_offered(&l, ABILITY_SLOTS);
	add_flag_if_offered(&l, ABILITY_JINJA);
	add_flag_if_offered(&l,
			    o->abilities->has[ABILITY_NO_UI] ? ABILITY_NO_UI : ABILITY_NO_WEBUI);
	for (size_t i = 0; o->extra_arguments != NULL && o->extra_arguments[i] != NULL; i++) {
		add(&l, o->extra_arguments[i]);
	}
	return finish(&l, "arguments");
}

char **launch_fit_argv(const struct launch_options *o, const char *fit_path)
{
	struct launch l = { .abilities = o->abilities };

	buf_init(&l.text, LAUNCH_TEXT_MAX_BYTES);
	add(&l, fit_path);
	add_text(&l, ABILITY_FIT, "off");
	add(&l, "--fit-print");
	add(&l, "on");
	add_text(&l, ABILITY_MODEL, o->model_path);
	add_sizes(&l, &o->model->settings);
	return finish(&l, "arguments");
}

static bool is_environment_allowed(struct span entry)
{
	struct span name = { entry.ptr, span_find_char(entry, '=') };

	for (size_t i = 0; i < ARRAY_LEN(environment_names); i++) {
		const char *allowed = environment_names[i];

		if (allowed[strlen(allowed) - 1] == '_' ? span_has_prefix(name, allowed)
							: span_is(name, allowed)) {
			return name.len < entry.len;
		}
	}
	return false;
}

char **launch_environment(const char *const *from, const char *library_path, struct err *err)
{
	struct launch l = { .err = err };

	buf_init(&l.text, LAUNCH_TEXT_MAX_BYTES);
	for (size_t i = 0; from[i] != NULL; i++) {
		if (is_environment_allowed(span_of(from[i]))) {
			add(&l, from[i]);
		}
	}
	/* An abort would start a debugger otherwise. */
	add(&l, "GGML_NO_BACKTRACE=1");
	if (library_path != NULL) {
		char *entry = mem_printf("LD_LIBRARY_PATH=%s", library_path);

		add(&l, entry);
		free(entry);
	}
	return finish(&l, "environment");
}
