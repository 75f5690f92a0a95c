/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>

#include "http/feed.h"
#include "http_rig.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

/* A topic says its number. */
struct number {
	struct topic topic;
	int value;
};

struct scene {
	struct rig rig; /* first: on_request gets it */
	struct feed feed;
	struct number first, second;
	struct feed_reader *reader; /* the last that came; NULL: it was refused */
	struct err err;
	int leaves;
};

static const char *write_number(struct feed *f, struct topic *t, struct json_writer *w)
{
	(void)f;
	jsonw_object(w);
	jsonw_member_i64(w, "n", CONTAINER_OF(t, struct number, topic)->value);
	return t->rank == 0 ? "first" : "second";
}

static void on_leave(struct feed *f)
{
	CONTAINER_OF(f, struct scene, feed)->leaves++;
}

static const struct feed_kind kind = { .of = "numbers",
				       .readers_max = 2,
				       .heartbeat_ms = 20,
				       .event_max_bytes = 5000,
				       .lagged = "lagged",
				       .write = write_number,
				       .on_leave = on_leave };

static void on_request(struct rig *rig, struct exchange *x)
{
	struct scene *s = CONTAINER_OF(rig, struct scene, rig);

	s->reader = feed_add(&s->feed, x, &s->err);
	if (s->reader == NULL) {
		exchange_fail(x, &s->err);
	}
}

static void put(struct scene *s, int rank, int value)
{
	struct number *n = rank == 0 ? &s->first : &s->second;

	n->value = value;
	feed_put(&s->feed, rank, &n->topic);
}

static void tell(struct scene *s, const char *text, bool changes_picture)
{
	struct json_writer *w = feed_begin(&s->feed);

	jsonw_object(w);
	jsonw_member_text(w, "text", text);
	feed_tell(&s->feed, "told", changes_picture);
}

/* Sends as much of it as there is room for. */
static void fill(struct scene *s, const char *text)
{
	int sent = 0;

	do {
		struct json_writer *w = feed_begin(&s->feed);

		jsonw_object(w);
		jsonw_member_text(w, "text", text);
		assert_true(++sent < 5000);
	} while (feed_send(s->reader, "told") == 0);
}

static void begin(struct scene *s)
{
	*s = (struct scene){ .rig.on_request = on_request };
	rig_start(&s->rig, &(struct http_server_options){ 0 });
	feed_init(&s->feed, s->rig.loop, &kind);
	put(s, 1, 1);
	put(s, 0, 2);
}

static void end(struct scene *s)
{
	feed_finish(&s->feed);
	rig_finish(&s->rig);
}

static size_t place(const struct raw *raw, const char *text)
{
	return span_find(buf_span(&raw->got), text);
}

static void a_fresh_reader_gets_the_picture_by_ranks_and_then_each_change(void **state)
{
	struct scene s;
	struct raw raw;

	(void)state;
	begin(&s);
	raw_start(&raw, &s.rig, SPAN_LIT(GET), 1000);
	raw_wait(&raw, "event: second\ndata: {\"n\":1}\n\n");
	assert_true(place(&raw, "event: first\ndata: {\"n\":2}\n\n") < place(&raw, "second"));
	assert_true(s.reader->is_whole);
	assert_non_null(strstr(buf_text(&raw.got), "Content-Type: text/event-stream\r\n"));
	raw_wait(&raw, "\r\n:\n\n");
	put(&s, 1, 3);
	tell(&s, "hello", false);
	raw_wait(&raw, "event: told\ndata: {\"text\":\"hello\"}\n\n");
	assert_true(place(&raw, "event: second\ndata: {\"n\":3}\n\n") < place(&raw, "told"));
	feed_drop(&s.second.topic);
	feed_end(&s.feed);
	raw_wait(&raw, "0\r\n\r\n");
	assert_int_equal(s.leaves, 1);
	raw_finish(&raw);
	raw_start(&raw, &s.rig, SPAN_LIT(GET), 1000);
	raw_wait(&raw, "event: first\ndata: {\"n\":2}\n\n");
	rig_run(&s.rig, 20);
	assert_int_equal(place(&raw, "second"), raw.got.len);
	raw_finish(&raw);
	end(&s);
}

static void a_slow_reader_gets_last_words_what_it_missed_and_all_again(void **state)
{
	struct scene s;
	struct raw raw;
	char big[4000] = { 0 };

	(void)state;
	begin(&s);
	raw_start(&raw, &s.rig, SPAN_LIT(GET), 1000);
	raw_wait(&raw, "{\"n\":1}\n\n");
	conn_pause(raw.conn);
	memset(big, 'b', sizeof(big) - 1);
	fill(&s, big);
	fill(&s, "");
	for (int i = 10; i < 60; i++) {
		put(&s, 0, i);
		put(&s, 1, i);
	}
	assert_int_equal(s.reader->dropped, 0);
	tell(&s, "missed", true);
	tell(&s, "missed", false);
	assert_int_equal(s.reader->dropped, 2);
	conn_resume(raw.conn);
	raw_wait(&raw, "event: lagged\ndata: {\"dropped\":2}\n\n");
	raw_wait(&raw, "event: second\ndata: {\"n\":59}\n\n");
	rig_run(&s.rig, 20);
	assert_int_equal(place(&raw, "missed"), raw.got.len);
	assert_int_equal(place(&raw, "{\"n\":10}"), raw.got.len);
	assert_int_equal(s.reader->dropped, 0);
	assert_true(s.reader->is_whole);
	tell(&s, "after", false);
	raw_wait(&raw, "{\"text\":\"after\"}");
	raw_finish(&raw);
	end(&s);
}

static void there_are_only_so_many_readers(void **state)
{
	struct scene s;
	struct raw raws[3];

	(void)state;
	begin(&s);
	for (size_t i = 0; i < 2; i++) {
		raw_start(&raws[i], &s.rig, SPAN_LIT(GET), 1000);
		raw_wait(&raws[i], "{\"n\":1}\n\n");
	}
	raw_start(&raws[2], &s.rig, SPAN_LIT(GET), 1000);
	raw_wait(&raws[2], "2 readers of numbers are connected already");
	assert_null(s.reader);
	raw_finish(&raws[0]);
	rig_run(&s.rig, 50);
	assert_int_equal(s.feed.reader_count, 1);
	assert_int_equal(s.leaves, 1);
	raw_finish(&raws[1]);
	raw_finish(&raws[2]);
	rig_run(&s.rig, 50);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fresh_reader_gets_the_picture_by_ranks_and_then_each_change),
		cmocka_unit_test(a_slow_reader_gets_last_words_what_it_missed_and_all_again),
		cmocka_unit_test(there_are_only_so_many_readers),
	};

	return cmocka_run_group_tests_name("http_feed", tests, NULL, NULL);
}
