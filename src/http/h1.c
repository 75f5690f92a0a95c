/* SPDX-License-Identifier: MIT */
/*
 * Heads go three ways: scan_head finds the end and refuses what no line may hold, llhttp parses,
 * and what llhttp lets pass but we do not is refused by judge_*. llhttp lives on the stack of one
 * call and sees a whole head in one piece, so each name and value is one run of bytes. Bodies are
 * not given to llhttp: it neither counts the digits of a chunk's size nor limits its extensions.
 */
#include "http/h1.h"

#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define REQUEST_LINE_MAX_BYTES (H1_LINE_MAX_BYTES + 32) /* a target and what stands around it */
#define CHUNK_DIGITS_MAX 16
#define TLS_HANDSHAKE 0x16

static const struct span method_names[] = {
#define METHOD_NAME(name) SPAN_INIT(#name),
	H1_METHOD_TABLE(METHOD_NAME)
#undef METHOD_NAME
};

const char *h1_method_name(enum h1_method method)
{
	return method_names[method].ptr;
}

static bool is_text(char c)
{
	unsigned char u = (unsigned char)c;

	return (u >= 0x20 && u != 0x7f) || u == '\t';
}

/* RFC 9110 5.6.2: letters, digits and !#$%&'*+-.^_`|~, a bit each. */
static bool is_token_char(char c)
{
	static const uint64_t bits[4] = { 0x03ff6cfa00000000, 0x57ffffffc7fffffe };
	unsigned char u = (unsigned char)c;

	return bits[u / 64] >> u % 64 & 1;
}

/* Finding the end of a head */

/* 16 bytes at a time, by the vectors that gcc and clang have. */
typedef unsigned char bytes16 __attribute__((vector_size(16)));

/* Where the first control byte of 16 is, tabs included; 16: there is none. */
static size_t find_control(const char *bytes)
{
	bytes16 v;
	uint64_t halves[2];

	memcpy(&v, bytes, sizeof(v));
	bytes16 controls = (bytes16)(v < 0x20) | (bytes16)(v == 0x7f);

	memcpy(halves, &controls, sizeof(controls));
	if ((halves[0] | halves[1]) == 0) {
		return 16;
	}
	return halves[0] != 0 ? (size_t)__builtin_ctzll(halves[0]) / 8
			      : 8 + (size_t)__builtin_ctzll(halves[1]) / 8;
}

/* How many bytes at the front are text. The last few are looked at as part of 16. */
static size_t text_len(struct span s)
{
	size_t at = 0;

	while (at + 16 <= s.len) {
		size_t len = find_control(s.ptr + at);

		at += len;
		if (len < 16 && s.ptr[at++] != '\t') {
			return at - 1;
		}
	}
	if (s.len >= 16 && find_control(s.ptr + s.len - 16) == 16) {
		return s.len;
	}
	while (at < s.len && is_text(s.ptr[at])) {
		at++;
	}
	return at;
}

struct scan {
	size_t bytes;	   /* seen so far, the end included once it is found */
	size_t line_bytes; /* of the line at hand */
	size_t lines;	   /* complete ones, the empty last one not counted */
	bool after_cr;
};

static int refuse_byte(const struct scan *s, char c, struct err *err)
{
	if (s->bytes == 0 && c == TLS_HANDSHAKE) {
		return err_set(
			err, ERR_INVALID,
			"this port speaks plain HTTP, not TLS: use http:// instead of https://");
	}
	if (s->after_cr || c == '\n') {
		return err_set(err, ERR_INVALID, "line %zu of the head does not end in CR LF",
			       s->lines + 1);
	}
	return err_set(err, ERR_INVALID, "line %zu of the head holds the control byte 0x%02x",
		       s->lines + 1, (unsigned)(unsigned char)c);
}

static int refuse_size(const struct scan *s, struct err *err)
{
	if (s->lines == 0) {
		return err_set(err, ERR_TOO_LONG, "the request target is longer than %d bytes",
			       H1_LINE_MAX_BYTES);
	}
	return err_set(err, ERR_FULL,
		       "the head is too large: at most %d fields, %d bytes a line, %d bytes in all",
		       H1_FIELDS_MAX, H1_LINE_MAX_BYTES, H1_HEAD_MAX_BYTES);
}

static bool is_too_large(const struct scan *s)
{
	size_t line_max = s->lines == 0 ? REQUEST_LINE_MAX_BYTES : H1_LINE_MAX_BYTES;

	return s->line_bytes > line_max || s->bytes > H1_HEAD_MAX_BYTES ||
	       s->lines > H1_FIELDS_MAX + 1;
}

/* 1: it was the head's last. */
static int end_line(struct scan *s, struct err *err)
{
	if (s->line_bytes == 0) {
		return s->lines > 0
			       ? 1
			       : err_set(err, ERR_INVALID, "the head begins with an empty line");
	}
	s->lines++;
	s->line_bytes = 0;
	return 0;
}

/* 1: the head is complete, 0: more is needed, negative: refused. */
static int scan_head(struct scan *s, struct span more, struct err *err)
{
	int status = 0;

	while (more.len > 0 && status == 0) {
		size_t len = s->after_cr ? 0 : text_len(more);
		struct span rest = span_from(more, len);

		if (s->line_bytes == 0 && len > 0 && (more.ptr[0] == ' ' || more.ptr[0] == '\t')) {
			return err_set(err, ERR_INVALID, "line %zu of the head begins with a blank",
				       s->lines + 1);
		}
		s->line_bytes += len;
		s->bytes += len;
		bool is_pair = rest.len >= 2 && rest.ptr[0] == '\r' && rest.ptr[1] == '\n';
		bool is_end = rest.len > 0 && (s->after_cr ? rest.ptr[0] == '\n' : is_pair);

		if (rest.len > 0 && !is_end && (s->after_cr || rest.ptr[0] != '\r')) {
			return refuse_byte(s, rest.ptr[0], err);
		}
		more = span_from(rest, is_pair ? 2 : 1);
		s->bytes += rest.len - more.len;
		s->after_cr = rest.len > 0 && !is_end;
		if (is_too_large(s)) {
			return refuse_size(s, err);
		}
		status = is_end ? end_line(s, err) : 0;
	}
	return status;
}

/* Parsing a head */

struct collector {
	struct h1_head *head;
	struct h1_field *fields;
	size_t fields_max;
};

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
	struct collector *c = parser->data;

	c->head->target = (struct span){ at, len };
	return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
	struct collector *c = parser->data;

	if (c->head->field_count == c->fields_max) {
		return -1;
	}
	c->fields[c->head->field_count] = (struct h1_field){ .name = { at, len } };
	return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
	struct collector *c = parser->data;
	struct span *value = &c->fields[c->head->field_count].value;

	if (value->ptr == NULL) {
		value->ptr = at;
	} else if (value->ptr + value->len != at) {
		return -1;
	}
	value->len += len;
	return 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
	struct collector *c = parser->data;
	struct h1_field *field = &c->fields[c->head->field_count++];

	field->value = field->value.ptr != NULL ? span_trim(field->value) : SPAN_LIT("");
	c->head->names |= h1_name_bit(field->name);
	return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
	(void)parser;
	return HPE_PAUSED; /* bodies are not llhttp's business */
}

static const llhttp_settings_t settings = {
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_header_value_complete = on_header_value_complete,
	.on_headers_complete = on_headers_complete,
};

/* Copies the head into its block and lets llhttp find the parts. NULL: ERR_INVALID. */
static struct h1_head *parse(llhttp_type_t type, struct span bytes, size_t lines, struct err *err)
{
	size_t fields_max = lines;
	size_t fields_bytes = fields_max * sizeof(struct h1_field);
	struct h1_head *head = mem_resize(NULL, sizeof(*head) + fields_bytes + bytes.len, 1);
	struct h1_field *fields = (struct h1_field *)(void *)(head + 1);
	char *text = (char *)fields + fields_bytes;
	struct collector collector = { head, fields, fields_max };
	llhttp_t parser;

	memcpy(text, bytes.ptr, bytes.len);
	memset(head, 0, sizeof(*head) + fields_bytes);
	head->fields = fields;
	head->text = (struct span){ text, bytes.len };
	llhttp_init(&parser, type, &settings);
	parser.data = &collector;
	llhttp_errno_t status = llhttp_execute(&parser, text, bytes.len);

	if (status != HPE_PAUSED || llhttp_get_http_major(&parser) != 1 ||
	    llhttp_get_http_minor(&parser) > 1) {
		const char *why = llhttp_get_error_reason(&parser);

		err_set(err, ERR_INVALID, "the head is not HTTP/1.1: %s",
			status != HPE_PAUSED && why != NULL ? why : "wrong version");
		free(head);
		return NULL;
	}
	head->minor = llhttp_get_http_minor(&parser);
	head->status = type == HTTP_RESPONSE ? llhttp_get_status_code(&parser) : 0;
	return head;
}

static int judge_fields(const struct h1_head *head, struct err *err)
{
	for (size_t i = 0; i < head->field_count; i++) {
		struct span name = head->fields[i].name;
		bool is_token = name.len > 0 && name.ptr[name.len] == ':';

		for (size_t k = 0; is_token && k < name.len; k++) {
			is_token = is_token_char(name.ptr[k]);
		}
		if (!is_token) {
			return err_set(err, ERR_INVALID, "field %zu of the head has no proper name",
				       i + 1);
		}
	}
	return 0;
}

/* Message body length, RFC 9112 6.3, with every doubtful case refused. */
static int judge_framing(struct h1_head *head, enum h1_framing without, struct err *err)
{
	struct span length, encoding;
	size_t lengths = h1_count(head, "content-length", &length);
	size_t encodings = h1_count(head, "transfer-encoding", &encoding);

	head->framing = without;
	if (encodings > 0) {
		if (encodings > 1 || lengths > 0 || head->minor == 0 ||
		    !span_is_nocase(encoding, "chunked")) {
			return err_set(err, ERR_INVALID,
				       "Transfer-Encoding must be `chunked`, once, without "
				       "Content-Length, in HTTP/1.1");
		}
		head->framing = H1_CHUNKED;
	} else if (lengths > 0) {
		if (lengths > 1 || span_to_u64(length, INT64_MAX, &head->content_length) != 0) {
			return err_set(err, ERR_INVALID,
				       "Content-Length must be one plain number, given once");
		}
		head->framing = H1_LENGTH;
	}
	return 0;
}

static int judge_request_line(const struct h1_head *head, struct err *err)
{
	size_t method_len = method_names[head->method].len;
	const char *target = head->text.ptr + method_len + 1;
	struct span rest = span_from(head->text, method_len + 1 + head->target.len);

	/* One blank each: llhttp would take several. */
	if (head->target.ptr != target || head->target.len == 0 ||
	    !span_has_prefix(rest, " HTTP/1.")) {
		return err_set(
			err, ERR_INVALID,
			"the request line is not METHOD, target and version, one blank between");
	}
	if (head->target.len > H1_LINE_MAX_BYTES) {
		return err_set(err, ERR_TOO_LONG, "the request target is longer than %d bytes",
			       H1_LINE_MAX_BYTES);
	}
	return 0;
}

/* "HTTP/1.1 200 OK": digits in places 9 to 11 and a blank or the end behind. */
static int judge_status_line(const struct h1_head *head, struct err *err)
{
	const char *line = head->text.ptr;

	if (line[8] != ' ' || (line[12] != ' ' && line[12] != '\r') || head->status < 100 ||
	    head->status > 599) {
		return err_set(err, ERR_INVALID, "the status line is not HTTP/1.1");
	}
	return 0;
}

static int method_of(struct span line, enum h1_method *ret_method, struct err *err)
{
	struct span word = { line.ptr, span_find_char(line, ' ') };

	for (size_t i = 0; i < ARRAY_LEN(method_names); i++) {
		if (span_equal(word, method_names[i])) {
			*ret_method = (enum h1_method)i;
			return 0;
		}
	}
	if (span_has_prefix(line, "PRI * HTTP/2")) {
		return err_set(err, ERR_INVALID, "HTTP/2 is not spoken here: use HTTP/1.1");
	}
	for (size_t i = 0; i < word.len; i++) {
		if (word.len == line.len || !is_token_char(word.ptr[i])) {
			return err_set(err, ERR_INVALID,
				       "the request does not begin with a method");
		}
	}
	return err_set(err, ERR_METHOD, "the method is not known here");
}

static void note_connection(struct h1_head *head)
{
	struct span expected;

	head->keep_alive =
		head->minor == 1 && !h1_lists(head, SPAN_LIT("connection"), SPAN_LIT("close"));
	head->wants_upgrade = h1_get(head, "upgrade").ptr != NULL ||
			      h1_lists(head, SPAN_LIT("connection"), SPAN_LIT("upgrade"));
	head->expects_continue = h1_count(head, "expect", &expected) == 1 &&
				 span_is_nocase(expected, "100-continue");
}

static int parse_head(llhttp_type_t type, struct span bytes, size_t lines,
		      struct h1_head **ret_head, struct err *err)
{
	bool is_request = type == HTTP_REQUEST;
	enum h1_method method = H1_GET;
	int status = is_request ? method_of(bytes, &method, err) : 0;
	struct h1_head *head = status == 0 ? parse(type, bytes, lines, err) : NULL;

	if (head == NULL) {
		return status != 0 ? status : ERR_INVALID;
	}
	head->method = method;
	status = is_request ? judge_request_line(head, err) : judge_status_line(head, err);
	status = status != 0 ? status : judge_fields(head, err);
	status = status != 0 ? status
			     : judge_framing(head, is_request ? H1_NO_BODY : H1_UNTIL_CLOSE, err);
	if (status != 0) {
		free(head);
		return status;
	}
	note_connection(head);
	*ret_head = head;
	return 0;
}

/* Reading a head */

struct h1_reader {
	struct scan scan;
	struct buf bytes; /* all that has come */
};

void h1_reader_free(struct h1_reader *reader)
{
	if (reader != NULL) {
		buf_finish(&reader->bytes);
		free(reader);
	}
}

/* Puts a part of a head behind what came before; all of it so far. */
static struct span gather(struct h1_reader **reader, const struct scan *scan, struct span part)
{
	if (*reader == NULL) {
		*reader = mem_alloc(sizeof(**reader));
		buf_init(&(*reader)->bytes, H1_HEAD_MAX_BYTES);
	}
	(*reader)->scan = *scan;
	ENSURE(buf_add_span(&(*reader)->bytes, part) == 0);
	return buf_span(&(*reader)->bytes);
}

static int read_head(llhttp_type_t type, struct h1_reader **reader, struct span *input,
		     struct h1_head **ret_head, struct err *err)
{
	struct scan scan = *reader != NULL ? (*reader)->scan : (struct scan){ 0 };
	size_t before = scan.bytes;
	int status = scan_head(&scan, *input, err);
	struct span head = { input->ptr, status == 1 ? scan.bytes - before : input->len };

	*input = span_from(*input, head.len);
	if (status == 0 || (status == 1 && *reader != NULL)) {
		head = gather(reader, &scan, head);
	}
	if (status == 1) {
		status = parse_head(type, head, scan.lines, ret_head, err);
		status = status == 0 ? 1 : status;
	}
	if (status != 0) {
		h1_reader_free(*reader);
		*reader = NULL;
	}
	return status;
}

int h1_read_request(struct h1_reader **reader, struct span *input, struct h1_head **ret_head,
		    struct err *err)
{
	return read_head(HTTP_REQUEST, reader, input, ret_head, err);
}

int h1_read_response(struct h1_reader **reader, struct span *input, struct h1_head **ret_head,
		     struct err *err)
{
	return read_head(HTTP_RESPONSE, reader, input, ret_head, err);
}

/* Inspecting a head */

size_t h1_search(const struct h1_head *head, struct span name, size_t from)
{
	while (from < head->field_count && !span_equal_nocase(head->fields[from].name, name)) {
		from++;
	}
	return from;
}

static bool list_has(struct span list, struct span element)
{
	while (list.ptr != NULL) {
		if (span_equal_nocase(span_trim(span_split(&list, ',')), element)) {
			return true;
		}
	}
	return false;
}

bool h1_lists(const struct h1_head *head, struct span name, struct span element)
{
	for (size_t at = 0; (at = h1_find(head, name, at)) < head->field_count; at++) {
		if (list_has(head->fields[at].value, element)) {
			return true;
		}
	}
	return false;
}

bool h1_is_hop_by_hop(const struct h1_head *head, struct span name)
{
	static const struct span names[] = {
		SPAN_INIT("connection"),
		SPAN_INIT("keep-alive"),
		SPAN_INIT("proxy-connection"),
		SPAN_INIT("proxy-authenticate"),
		SPAN_INIT("proxy-authorization"),
		SPAN_INIT("te"),
		SPAN_INIT("trailer"),
		SPAN_INIT("transfer-encoding"),
		SPAN_INIT("upgrade"),
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (span_equal_nocase(name, names[i])) {
			return true;
		}
	}
	return h1_lists(head, SPAN_LIT("connection"), name);
}

bool h1_has_no_body(const struct h1_head *response, enum h1_method asked)
{
	return asked == H1_HEAD || response->status < 200 || response->status == 204 ||
	       response->status == 304;
}

/* Bodies */

enum chunk_state {
	CHUNK_SIZE, /* the digits */
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	TRAILER_START,
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	BODY_LF, /* the very last byte */
	BODY_DONE,
};

void h1_body_init(struct h1_body *b, enum h1_framing framing, uint64_t content_length)
{
	*b = (struct h1_body){ .framing = framing, .left = content_length };
}

bool h1_body_is_done(const struct h1_body *b)
{
	switch (b->framing) {
	case H1_NO_BODY:
		return true;
	case H1_LENGTH:
		return b->left == 0;
	case H1_CHUNKED:
		return b->state == BODY_DONE;
	case H1_UNTIL_CLOSE:
		return false;
	}
	return true;
}

int h1_hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte of a chunk's size line. False: refused. */
static bool chunk_size_byte(struct h1_body *b, char c)
{
	int digit = h1_hex_digit(c);

	if (b->state == CHUNK_SIZE_LF) {
		b->state = b->left > 0 ? CHUNK_DATA : TRAILER_START;
		b->digits = 0;
		return c == '\n';
	}
	if (b->state == CHUNK_SIZE && digit >= 0) {
		b->left = b->left << 4 | (uint64_t)digit;
		return ++b->digits <= CHUNK_DIGITS_MAX;
	}
	if (c == '\r') {
		b->state = CHUNK_SIZE_LF;
		return b->digits > 0;
	}
	if (b->state == CHUNK_SIZE && (c != ';' || b->digits == 0)) {
		return false;
	}
	b->state = CHUNK_EXTENSION;
	return is_text(c) && ++b->extensions <= H1_CHUNK_EXTENSIONS_MAX_BYTES;
}

/* A byte behind the last chunk. False: refused. */
static bool trailer_byte(struct h1_body *b, char c)
{
	if (++b->trailers > H1_TRAILERS_MAX_BYTES) {
		return false;
	}
	if (b->state == TRAILER_START && c == '\r') {
		b->state = BODY_LF;
		return true;
	}
	if (b->state == BODY_LF || b->state == TRAILER_LF) {
		b->state = b->state == BODY_LF ? BODY_DONE : TRAILER_START;
		return c == '\n';
	}
	if (b->state == TRAILER_NAME && c == ':') {
		b->state = TRAILER_VALUE;
		return true;
	}
	if (b->state == TRAILER_VALUE) {
		b->state = c == '\r' ? TRAILER_LF : TRAILER_VALUE;
		return c == '\r' || is_text(c);
	}
	b->state = TRAILER_NAME;
	return is_token_char(c);
}

static bool framing_byte(struct h1_body *b, char c)
{
	if (b->state < CHUNK_DATA) {
		return chunk_size_byte(b, c);
	}
	if (b->state > CHUNK_DATA_LF) {
		return trailer_byte(b, c);
	}
	b->state = b->state == CHUNK_DATA_CR ? CHUNK_DATA_LF : CHUNK_SIZE;
	return c == (b->state == CHUNK_DATA_LF ? '\r' : '\n');
}

/* As much of the input as belongs to the run of bytes at hand. */
static struct span take_run(struct h1_body *b, struct span *input)
{
	struct span piece = *input;

	if (b->framing != H1_UNTIL_CLOSE) {
		piece.len = piece.len < b->left ? piece.len : (size_t)b->left;
		b->left -= piece.len;
	}
	*input = span_from(*input, piece.len);
	return piece;
}

int h1_body_next(struct h1_body *b, struct span *input, struct span *ret_piece, struct err *err)
{
	*ret_piece = (struct span){ input->ptr, 0 };
	if (b->framing != H1_CHUNKED) {
		if (b->framing != H1_NO_BODY) {
			*ret_piece = take_run(b, input);
		}
		return 0;
	}
	while (input->len > 0 && b->state != BODY_DONE) {
		if (b->state == CHUNK_DATA) {
			*ret_piece = take_run(b, input);
			b->state = b->left == 0 ? CHUNK_DATA_CR : CHUNK_DATA;
			return 0;
		}
		if (!framing_byte(b, input->ptr[0])) {
			return err_set(err, ERR_INVALID, "the chunked body is not well framed");
		}
		*input = span_from(*input, 1);
	}
	return 0;
}

/* Writing */

size_t h1_frame(struct span *parts, size_t count, struct span bytes, bool is_last,
		char size_line[H1_FRAME_MAX_BYTES + 1])
{
	if (bytes.len > 0) {
		int len = snprintf(size_line, H1_FRAME_MAX_BYTES + 1, "%zx\r\n", bytes.len);

		parts[count++] = (struct span){ size_line, (size_t)len };
		parts[count++] = bytes;
		parts[count++] = is_last ? SPAN_LIT("\r\n0\r\n\r\n") : SPAN_LIT("\r\n");
	} else if (is_last) {
		parts[count++] = SPAN_LIT("0\r\n\r\n");
	}
	return count;
}

void h1_add_request_line(struct buf *out, enum h1_method method, struct span target)
{
	buf_add_span(out, method_names[method]);
	buf_add_char(out, ' ');
	buf_add_span(out, target);
	buf_add_text(out, " HTTP/1.1\r\n");
}

static char *put(char *at, struct span s)
{
	if (s.len > 0) {
		memcpy(at, s.ptr, s.len);
	}
	return at + s.len;
}

void h1_add_field(struct buf *out, struct span name, struct span value)
{
	size_t len = name.len + value.len + strlen(": \r\n");
	char *at = buf_reserve(out, len);

	if (at == NULL) {
		return;
	}
	at = put(put(at, name), SPAN_LIT(": "));
	put(put(at, value), SPAN_LIT("\r\n"));
	value.ptr = at;
	while ((value = span_from(value, text_len(value))).len > 0) {
		at[value.ptr - at] = ' ';
	}
	buf_added(out, len);
}

void h1_add_length(struct buf *out, uint64_t content_length)
{
	buf_add_text(out, "Content-Length: ");
	buf_add_u64(out, content_length);
	buf_add_text(out, "\r\n");
}

void h1_add_fields(struct buf *out, const struct h1_field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		h1_add_field(out, fields[i].name, fields[i].value);
	}
}
