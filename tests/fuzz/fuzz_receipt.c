/* SPDX-License-Identifier: MIT */
/* Whatever an engine prints, its receipt is sound: a GPU is never claimed without its evidence. */
#include "base/err.h"
#include "engine/obituary.h"
#include "engine/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct receipt_parser *p)
{
	const struct receipt_wish wish = { .n_gpu_layers = SETTING_UNSET, .has_device = true };
	struct receipt r = { 0 };
	char line[RECEIPT_LINE_MAX_BYTES];

	receipt_parser_read(p, &wish, &r);
	receipt_print(&r, line, sizeof(line));
	ENSURE(r.evidence_count <= RECEIPT_EVIDENCE_MAX);
	ENSURE(span_is_utf8(span_of(line)));
	for (int i = 0; i < r.evidence_count; i++) {
		ENSURE(span_is_utf8(span_of(r.evidence[i])));
	}
	ENSURE(r.wanted == (r.verdict == RECEIPT_GPU));
	ENSURE(r.verdict == RECEIPT_UNKNOWN || r.evidence_count > 0);
	ENSURE((r.verdict == RECEIPT_GPU || r.verdict == RECEIPT_PARTIAL) == (r.device[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data, size };
	struct receipt_parser parser;
	struct obituary_parser deaths;
	struct obituary obituary;

	receipt_parser_init(&parser);
	obituary_parser_init(&deaths);
	while (rest.ptr != NULL) {
		struct span line = span_split(&rest, '\n');

		receipt_parser_feed(&parser, line);
		obituary_parser_feed(&deaths, line);
	}
	check(&parser);
	obituary_read(&deaths, size % 2 == 0 ? 1 : -11, &obituary);
	ENSURE(obituary.sentence[0] != '\0' && span_is_utf8(span_of(obituary.sentence)));
	return 0;
}
