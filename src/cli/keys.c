/* SPDX-License-Identifier: MIT */
/*
 * `ronzal keys`: who may use the gateway. Works on the file; a backend that runs notices.
 */
#include "backend/keys.h"

#include <stdio.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/term.h"

static void list_as_table(const struct keys *k, struct buf *out)
{
	struct table t;

	table_init(&t, "ID\tNAME\tMADE\tMODELS");
	for (size_t i = 0; i < k->count; i++) {
		const struct key *key = &k->items[i];
		time_t made = (time_t)(key->made_unix_ms / 1000);
		char day[16];
		struct tm utc;

		strftime(day, sizeof(day), "%Y-%m-%d", gmtime_r(&made, &utc));
		table_row(&t, TERM_PLAIN, "%s\t%s\t%s\t%s%s", key->id, key->name, day,
			  key->model_count > 0 ? key->models[0] : "all",
			  key->model_count > 1 ? ", ..." : "");
	}
	table_print(&t, out);
	if (k->count == 0) {
		buf_add_text(out, "There is no key yet. Clients on this machine need none; for "
				  "others: ronzal keys add NAME\n");
	}
}

static void list_as_json(const struct keys *k, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	w.pretty = true;
	keys_write(k, &w);
}

static int add_key(const struct cli *cli, struct keys *k, const struct args *args, struct err *err)
{
	char secret[KEY_SECRET_BYTES];
	int status = keys_add(k, args->items[1], &args->items[2], args->count - 2, secret, err);

	if (status == 0 && cli->json) {
		printf("{\"secret\":\"%s\"}\n", secret);
	} else if (status == 0) {
		printf("%s\n", secret);
		fprintf(stderr, "This is the only time that the key is shown. Clients send it as "
				"their API key.\n");
	}
	return status;
}

int command_keys(struct cli *cli, struct args *args, struct err *err)
{
	const char *verb = args->count > 0 ? args->items[0] : "list";
	struct keys k;
	int status = keys_open(&k, cli->paths.state, err);

	if (status != 0) {
		return status;
	}
	if (strcmp(verb, "list") == 0) {
		(cli->json ? list_as_json : list_as_table)(&k, &cli->out);
	} else if (strcmp(verb, "token") == 0) {
		printf("%s\n", k.token);
	} else if (args->count < 2) {
		status = err_set(
			err, ERR_INVALID,
			"ronzal keys knows list, token, add NAME [MODEL...] and revoke NAME");
	} else if (strcmp(verb, "add") == 0) {
		status = add_key(cli, &k, args, err);
	} else if (strcmp(verb, "revoke") == 0) {
		status = keys_revoke(&k, args->items[1], err);
	} else {
		status =
			err_set(err, ERR_INVALID, "'%s' is none of list, token, add, revoke", verb);
	}
	keys_close(&k);
	return status;
}
