/* SPDX-License-Identifier: MIT */
/*
 * Private to registry*.c: the members of a model in the file that ronzal knows, and what their
 * values may be. The typed settings stand behind the others; what they may be settings.h says.
 */
#ifndef MODEL_REGISTRY_FIELDS_H
#define MODEL_REGISTRY_FIELDS_H

#include "model/registry.h"

#define FIELD_NAME_MAX_BYTES 159 /* as wire/server.h shows it, without the terminator */
#define FIELD_WORD_MAX_BYTES 63
#define FIELD_PATH_MAX_BYTES 1023
#define FIELD_PARAMS_MAX 1e6 /* billions of parameters */

/* X(json name, kind, member of struct model, most bytes of a text) */
#define FIELD_TABLE(X) \
	X("file_path", PATH, file_path, FIELD_PATH_MAX_BYTES) \
	X("mmproj_path", PATH, mmproj_path, FIELD_PATH_MAX_BYTES) \
	X("name", TEXT, name, FIELD_NAME_MAX_BYTES) \
	X("family", TEXT, family, FIELD_WORD_MAX_BYTES) \
	X("size_params", PARAMS, size_params, 0) \
	X("quantization", TEXT, quantization, FIELD_WORD_MAX_BYTES) \
	X("aliases", ALIASES, aliases, 0) \
	X("port", PORT, port, 0) \
	X("enabled", ENABLED, enabled, 0) \
	X("model_id", ID, id, 0)

enum field_kind {
	FIELD_PATH,
	FIELD_TEXT,
	FIELD_PARAMS,
	FIELD_ALIASES,
	FIELD_PORT,
	FIELD_ENABLED,
	FIELD_ID,
	FIELD_SETTING,
};

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset; /* in struct model */
	size_t max_bytes;
};

extern const struct field field_rows[];
extern const size_t field_row_count;

const struct field *field_find(struct span name); /* NULL: unknown */

/* NULL when it may stand in the registry, else what is wrong with it. */
const char *field_text_fault(struct span text, size_t max_bytes);
const char *field_path_fault(struct span path);

/* Whose port it is, or NULL. */
const struct model *registry_port_holder(const struct registry *r, int64_t port);
/* The lowest free port from `from` on, or 0. */
uint16_t registry_free_port(const struct registry *r, uint16_t from);
/* Moves a model to the end of the list; the registry owns it from then on. */
void registry_append(struct registry *r, const struct model *m);

#endif
