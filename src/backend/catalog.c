/* SPDX-License-Identifier: MIT */
#include "backend/catalog.h"

#include <time.h>

#include "backend/show.h"

static void write_created(const struct server *s, struct json_writer *w)
{
	time_t at_s = (time_t)(s->phase_unix_ms / 1000);
	char text[sizeof("1970-01-01T00:00:00Z") + 8];
	struct tm tm;

	gmtime_r(&at_s, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	jsonw_member_i64(w, "created", at_s);
	jsonw_member_text(w, "created_at", text);
}

static void write_model(const struct fleet *f, const struct fleet_model *m, struct json_writer *w)
{
	const struct model *model = registry_find(fleet_registry(f), span_of(m->server.id));

	jsonw_object(w);
	jsonw_member_text(w, "id", m->server.id);
	jsonw_member_text(w, "object", "model");
	jsonw_member_text(w, "type", "model");
	jsonw_member_text(w, "display_name", m->server.name);
	write_created(&m->server, w);
	jsonw_member_text(w, "owned_by", "ronzal");
	jsonw_member_text(w, "state", server_phase_name(m->server.phase));
	jsonw_member_text(w, "device", receipt_verdict_name(m->server.receipt.verdict));
	show_positive(w, "context_length", m->server.receipt.context_tokens, 0);
	if (model != NULL) {
		jsonw_member_text(w, "quantization", model->quantization);
		show_positive(w, "parameters_billion", model->size_params, 3);
		jsonw_member_array(w, "aliases");
		for (int i = 0; i < model->alias_count; i++) {
			jsonw_text(w, model->aliases[i]);
		}
		jsonw_end(w);
	}
	jsonw_end(w);
}

void catalog_write_model(const struct fleet *f, const struct fleet_model *m, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	write_model(f, m, &w);
	jsonw_end_all(&w);
}

void catalog_write(const struct fleet *f, const struct key *key, struct buf *out)
{
	const char *first = NULL, *last = NULL;
	struct json_writer w;

	jsonw_init(&w, out);
	jsonw_object(&w);
	jsonw_member_text(&w, "object", "list");
	jsonw_member_array(&w, "data");
	FLEET_EACH (m, f) {
		if (key == NULL || key_opens(key, m->server.id)) {
			write_model(f, m, &w);
			first = first != NULL ? first : m->server.id;
			last = m->server.id;
		}
	}
	jsonw_end(&w);
	jsonw_member_bool(&w, "has_more", false);
	jsonw_member_text(&w, "first_id", first);
	jsonw_member_text(&w, "last_id", last);
	jsonw_end_all(&w);
}
