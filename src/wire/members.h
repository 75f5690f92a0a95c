/* SPDX-License-Identifier: MIT */
/*
 * Structs as JSON objects by tables of their members: one table feeds writer and reader, so that
 * the two cannot drift apart. Only inside wire/.
 */
#ifndef WIRE_MEMBERS_H
#define WIRE_MEMBERS_H

#include <stddef.h>

#include "base/json.h"

enum member_kind {
	MEMBER_TEXT, /* char[]; longer texts are clipped when read */
	MEMBER_SPAN, /* struct span, borrowed from what was read */
	MEMBER_BOOL,
	MEMBER_INT, /* int or int32_t */
	MEMBER_I64,
	MEMBER_U16,
	MEMBER_U32,
	MEMBER_U64,
	MEMBER_FLOAT,
	MEMBER_PHASE,	/* enum server_phase as its name */
	MEMBER_VERDICT, /* enum receipt_verdict as its name */
	MEMBER_CODE,	/* int of enum err_code as its name; 0 as null */
};

struct member {
	const char *name;
	enum member_kind kind;
	size_t offset;
	size_t size;
};

#define MEMBER_AS(type, name, field, kind) \
	{ \
		name, MEMBER_##kind, offsetof(struct type, field), \
			sizeof(((struct type *)NULL)->field) \
	}
#define MEMBER(type, field, kind) MEMBER_AS(type, #field, field, kind)

/* Into the object that is open in w. */
void members_write(struct json_writer *w, const struct member *rows, size_t count,
		   const void *object);

/* An absent member leaves what is there; one of a wrong kind is ERR_INVALID and named. */
int members_read(const struct json_value *object, const struct member *rows, size_t count,
		 void *ret_object, struct err *err);

#endif
