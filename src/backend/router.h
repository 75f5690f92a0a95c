/* SPDX-License-Identifier: MIT */
/*
 * What a request to the gateway asks for: the route by its path, the model by its body. Pure.
 */
#ifndef BACKEND_ROUTER_H
#define BACKEND_ROUTER_H

#include "backend/error_body.h"
#include "backend/fleet.h"
#include "backend/keys.h"
#include "http/h1.h"

/* ROUTE_MODELS lists models; ROUTE_JSON has its model in a JSON body; ROUTE_FORM in a multipart. */
enum route_kind { ROUTE_MODELS, ROUTE_JSON, ROUTE_FORM };

/* X(path, method, kind, dialect); there are no other paths, engine control ones least of all. */
#define ROUTE_TABLE(X) \
	X("/v1/models", GET, MODELS, OPENAI) \
	X("/models", GET, MODELS, OPENAI) \
	X("/v1/chat/completions", POST, JSON, OPENAI) \
	X("/v1/chat/completions/input_tokens", POST, JSON, OPENAI) \
	X("/v1/completions", POST, JSON, OPENAI) \
	X("/v1/embeddings", POST, JSON, OPENAI) \
	X("/v1/responses", POST, JSON, OPENAI) \
	X("/v1/responses/input_tokens", POST, JSON, OPENAI) \
	X("/v1/rerank", POST, JSON, OPENAI) \
	X("/v1/reranking", POST, JSON, OPENAI) \
	X("/rerank", POST, JSON, OPENAI) \
	X("/reranking", POST, JSON, OPENAI) \
	X("/v1/messages", POST, JSON, ANTHROPIC) \
	X("/v1/messages/count_tokens", POST, JSON, ANTHROPIC) \
	X("/v1/audio/transcriptions", POST, FORM, OPENAI) \
	X("/chat/completions", POST, JSON, OPENAI) \
	X("/completions", POST, JSON, OPENAI) \
	X("/embeddings", POST, JSON, OPENAI) \
	X("/responses", POST, JSON, OPENAI) \
	X("/audio/transcriptions", POST, FORM, OPENAI) \
	X("/completion", POST, JSON, LLAMA) \
	X("/embedding", POST, JSON, LLAMA) \
	X("/tokenize", POST, JSON, LLAMA) \
	X("/detokenize", POST, JSON, LLAMA) \
	X("/apply-template", POST, JSON, LLAMA) \
	X("/infill", POST, JSON, LLAMA)

struct route {
	const char *path;
	enum h1_method method;
	enum route_kind kind;
	enum dialect dialect;
};

/* NULL: there is none. "/v1/models/ID" is the route of "/v1/models". */
const struct route *route_find(const char *path);
/* That of the route, or where there is none that of the API whose path it could be. */
enum dialect route_dialect(const char *path);

/* What a body says. `model` is "" when it says none. */
struct routing {
	char model[SERVER_ID_MAX_BYTES];
	bool stream;
};

/*
 * The top-level members of a JSON body. ERR_INVALID: it is not JSON, or `model` or `stream` stand
 * twice or are of another type, or a member is there that reaches into the engine (files,
 * adapters).
 */
int routing_read_json(struct span body, struct routing *ret_routing, struct err *err);
/* The `model` field of a multipart/form-data body; content_type names the boundary. */
int routing_read_form(struct span body, struct span content_type, struct routing *ret_routing,
		      struct err *err);

/*
 * The model that is meant: by id or alias; without a name the only one that runs, or the only one
 * that is enabled. ERR_NOT_FOUND with the nearest name and those there are, as far as the key opens
 * them (NULL: all); ERR_DENIED if it does not open the model.
 */
int routing_choose(const struct fleet *f, const struct key *key, const char *name,
		   struct fleet_model **ret_model, struct err *err);

#endif
