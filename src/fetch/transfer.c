/* SPDX-License-Identifier: MIT */
#include "fetch/transfer.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define CONNECT_S 30L
#define SILENT_S 60L /* no byte for that long: broken */
#define REDIRECTS_MAX 10L
#define ANEW_MAX 3
#define READ_BYTES (256L << 10) /* of curl's own buffer */

struct transfer {
	struct transfer_options options;
	CURL *curl;
	char why[CURL_ERROR_SIZE];
	struct buf *text;	    /* where what comes goes to, or ... */
	struct transfer_file *file; /* ... */
	uint64_t got_bytes;	    /* of this try */
	int write_status;	    /* why our side ended it */
};

/* What comes */

static bool is_success(struct transfer *t)
{
	long status = 0;

	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status < 300;
}

static int put_file(struct transfer *t, const char *bytes, size_t len)
{
	struct transfer_file *f = t->file;

	if (f->have + len > f->bytes) {
		return ERR_PROTOCOL;
	}
	while (len > 0) {
		ssize_t put = pwrite(f->fd, bytes, len, (off_t)f->have);

		if (put < 0 && errno != EINTR) {
			return -errno;
		}
		bytes += put > 0 ? put : 0;
		len -= put > 0 ? (size_t)put : 0;
		f->have += put > 0 ? (uint64_t)put : 0;
	}
	f->on_bytes(f->user, f->have);
	return 0;
}

/* Error pages are dropped. */
static size_t on_write(char *bytes, size_t one, size_t len, void *user)
{
	struct transfer *t = user;

	(void)one;
	if (!is_success(t)) {
		return len;
	}
	t->got_bytes += len;
	if (t->file != NULL) {
		t->write_status = put_file(t, bytes, len);
	} else if (t->text != NULL) {
		t->write_status = buf_add(t->text, bytes, len);
	}
	return t->write_status == 0 ? len : 0;
}

/* What went wrong */

static const char *header(struct transfer *t, const char *name)
{
	struct curl_header *h;

	return curl_easy_header(t->curl, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value
										     : "";
}

static int say_refused(struct transfer *t, const char *what, long status, struct err *err)
{
	const char *code = header(t, "X-Error-Code");
	bool has_token = t->options.token != NULL;

	if (strcmp(code, "GatedRepo") == 0) {
		return err_set(err, ERR_DENIED,
			       "%s is gated (%ld): accept its terms on its page at %s, then %s",
			       what, status, t->options.endpoint,
			       has_token ? "try again; HF_TOKEN must belong to that account"
					 : "set HF_TOKEN to a token of that account");
	}
	if (status == 401 && !has_token) {
		return err_set(
			err, ERR_UNAUTHENTICATED,
			"%s is private, or is not there (401). Check the name; for a private "
			"one set HF_TOKEN",
			what);
	}
	return err_set(err, status == 401 ? ERR_UNAUTHENTICATED : ERR_DENIED,
		       "%s is not for this HF_TOKEN (%ld). Check the name, and what the token may "
		       "read",
		       what, status);
}

static int say_status(struct transfer *t, const char *what, long status, struct err *err)
{
	curl_off_t wait_s = 0;

	curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &wait_s);
	switch (status) {
	case 401:
	case 403:
		return say_refused(t, what, status, err);
	case 404:
	case 410:
		return err_set(err, ERR_NOT_FOUND, "%s is not there (%ld). Check the name at %s",
			       what, status, t->options.endpoint);
	case 429:
		return err_set(err, ERR_RATE,
			       "the hub lets no more through (429)%s. Wait %lld s and say the same "
			       "again%s",
			       t->options.token == NULL ? "; with HF_TOKEN set it lets more" : "",
			       (long long)(wait_s > 0 ? wait_s : 60),
			       t->file != NULL ? ": what is there is kept" : "");
	default:
		return err_set(err, status >= 500 ? ERR_UNAVAILABLE : ERR_PROTOCOL,
			       "%s: the hub answered %ld. Try again later", what, status);
	}
}

static int say_broken(struct transfer *t, const char *what, CURLcode code, struct err *err)
{
	const char *why = t->why[0] != '\0' ? t->why : curl_easy_strerror(code);
	const struct transfer_file *f = t->file;

	switch ((int)code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
		return err_set(err, ERR_UNAVAILABLE,
			       "%s cannot be reached: %s. Check the network, HF_ENDPOINT and "
			       "https_proxy",
			       t->options.endpoint, why);
	case CURLE_UNSUPPORTED_PROTOCOL:
		return err_set(err, ERR_DENIED, "%s leads away from https, and is not followed: %s",
			       what, why);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
		return err_set(
			err, ERR_UNAVAILABLE,
			"%s: no trusted connection: %s. Check the clock, ca-certificates and "
			"any proxy",
			what, why);
	case CURLE_TOO_MANY_REDIRECTS:
		return err_set(err, ERR_PROTOCOL, "%s leads in a circle. Check HF_ENDPOINT", what);
	default:
		break;
	}
	if (f != NULL) {
		return err_set(err, ERR_CLOSED,
			       "%s broke off at %llu of %llu bytes: %s. What is there is kept: say "
			       "the same again to go on",
			       what, (unsigned long long)f->have, (unsigned long long)f->bytes,
			       why);
	}
	return err_set(err, ERR_CLOSED, "%s: the connection broke: %s. Try again", what, why);
}

static int say_ours(struct transfer *t, const char *what, struct err *err)
{
	if (t->write_status == ERR_PROTOCOL) {
		return err_set(
			err, ERR_PROTOCOL,
			"%s is longer than the hub said. Try again; if that does not help, a "
			"proxy on the way changes it",
			what);
	}
	return t->write_status == ERR_FULL
		       ? err_set(err, ERR_PROTOCOL, "the answer about %s is too long", what)
		       : err_set(err, ERR_IO,
				 "%s cannot be written: %s. Mend that and say the same again: what "
				 "is there is kept",
				 what, err_sentence(t->write_status));
}

/* Trying again */

static bool is_passing(const struct transfer *t, CURLcode code, bool has_come)
{
	switch ((int)code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
		return has_come; /* else there is no network, or no such hub: say so at once */
	case CURLE_PARTIAL_FILE:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return t->write_status == 0;
	default:
		return false;
	}
}

static void pause_for(struct transfer *t, const char *why, int64_t seconds)
{
	char text[256];

	for (; seconds > 0; seconds--) {
		snprintf(text, sizeof(text), "%s; again in %lld s", why, (long long)seconds);
		t->options.on_wait(t->options.user, text);
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	}
	t->options.on_wait(t->options.user, "");
}

static int64_t seconds_to_wait(struct transfer *t, long status, int tries)
{
	curl_off_t wait_s = 0;

	curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &wait_s);
	return (status == 429 || status == 503) && wait_s > 0 ? wait_s : (int64_t)1 << tries;
}

static void begin_try(struct transfer *t)
{
	t->got_bytes = 0;
	t->write_status = 0;
	t->why[0] = '\0';
	if (t->file != NULL) {
		curl_easy_setopt(t->curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->file->have);
	} else if (t->text != NULL) {
		buf_clear(t->text);
	}
}

/* The server cannot go on where we are, or thinks that we are behind the end. */
static bool begin_anew(struct transfer *t, CURLcode code, long status)
{
	struct transfer_file *f = t->file;

	if (f == NULL || f->have == 0 || (code != CURLE_RANGE_ERROR && status != 416)) {
		return false;
	}
	f->have = 0;
	f->on_bytes(f->user, 0);
	return ftruncate(f->fd, 0) == 0;
}

static int perform(struct transfer *t, const char *what, const char *url, struct err *err)
{
	bool has_come = false;
	int anew = 0;

	curl_easy_setopt(t->curl, CURLOPT_URL, url);
	for (int tries = 0;; tries++) {
		long status = 0;

		begin_try(t);
		CURLcode code = curl_easy_perform(t->curl);

		curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
		has_come = has_come || t->got_bytes > 0;
		tries = t->got_bytes > 0 ? 0 : tries;
		if (anew < ANEW_MAX && begin_anew(t, code, status)) {
			anew++;
			continue;
		}
		if (t->write_status != 0) {
			return say_ours(t, what, err);
		}
		if (code == CURLE_OK && status >= 200 && status < 300) {
			return 0;
		}
		bool is_busy = code == CURLE_OK && (status == 429 || status >= 500);
		int64_t wait_s = seconds_to_wait(t, status, tries);

		if (tries + 1 >= TRANSFER_TRIES || wait_s > TRANSFER_WAIT_MAX_S ||
		    (!is_busy && !is_passing(t, code, has_come))) {
			return code == CURLE_OK ? say_status(t, what, status, err)
						: say_broken(t, what, code, err);
		}
		pause_for(t,
			  status == 429 ? "the hub asks to wait"
			  : is_busy	? "the hub is not available"
					: "the connection broke",
			  wait_s);
	}
}

/* Requests */

static bool is_loopback(const char *url)
{
	static const char *const hosts[] = { "http://127.0.0.1", "http://localhost",
					     "http://[::1]" };

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		size_t len = strlen(hosts[i]);

		if (strncasecmp(url, hosts[i], len) == 0 && strchr(":/", url[len]) != NULL) {
			return true;
		}
	}
	return false;
}

/* A handle as new, but for its connections. */
static void prepare(struct transfer *t, const char *url)
{
	size_t len = strlen(t->options.endpoint);
	bool is_ours = strncasecmp(url, t->options.endpoint, len) == 0 &&
		       (url[len] == '/' || url[len] == '\0');
	bool is_plain = (is_ours && strncasecmp(url, "http:", 5) == 0) || is_loopback(url);

	t->text = NULL;
	t->file = NULL;
	curl_easy_reset(t->curl);
	curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, t->why);
	curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, on_write);
	curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->curl, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(t->curl, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
	curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, is_plain ? "http,https" : "https");
	curl_easy_setopt(t->curl, CURLOPT_REDIR_PROTOCOLS_STR, is_plain ? "http,https" : "https");
	curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_TIME, SILENT_S);
	curl_easy_setopt(t->curl, CURLOPT_BUFFERSIZE, READ_BYTES);
	curl_easy_setopt(t->curl, CURLOPT_USERAGENT, "ronzal");
	if (is_ours && t->options.token != NULL) {
		curl_easy_setopt(t->curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		curl_easy_setopt(t->curl, CURLOPT_XOAUTH2_BEARER, t->options.token);
	}
}

int transfer_text(struct transfer *t, const char *what, const char *url, uint64_t from, size_t len,
		  struct buf *out, struct err *err)
{
	char range[64];

	prepare(t, url);
	if (len > 0) {
		snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)from,
			 (unsigned long long)(from + len - 1));
		curl_easy_setopt(t->curl, CURLOPT_RANGE, range);
	} else {
		curl_easy_setopt(t->curl, CURLOPT_ACCEPT_ENCODING, "");
	}
	t->text = out;
	return perform(t, what, url, err);
}

int transfer_look(struct transfer *t, const char *what, const char *url, uint64_t *ret_bytes,
		  char ret_etag[128], struct err *err)
{
	curl_off_t bytes = -1;

	prepare(t, url);
	curl_easy_setopt(t->curl, CURLOPT_NOBODY, 1L);
	int status = perform(t, what, url, err);

	curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &bytes);
	if (status == 0 && bytes <= 0) {
		return err_set(err, ERR_PROTOCOL,
			       "the server does not say how large %s is. Download it with another "
			       "tool, then: ronzal models add PATH",
			       what);
	}
	if (status == 0) {
		*ret_bytes = (uint64_t)bytes;
		span_copy(span_of(header(t, "ETag")), ret_etag, 128);
	}
	return status;
}

int transfer_file(struct transfer *t, struct transfer_file *f, struct err *err)
{
	if (f->have == f->bytes) {
		return 0;
	}
	prepare(t, f->url);
	t->file = f;
	int status = perform(t, f->what, f->url, err);

	if (status == 0 && f->have < f->bytes) {
		return err_set(err, ERR_PROTOCOL,
			       "%s is shorter than the hub said: %llu of %llu bytes. Try again; if "
			       "that does not help, a proxy on the way changes it",
			       f->what, (unsigned long long)f->have, (unsigned long long)f->bytes);
	}
	return status;
}

/* Life */

struct transfer *transfer_create(const struct transfer_options *options, struct err *err)
{
	struct transfer *t = mem_alloc(sizeof(*t));

	t->options = *options;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
	    (t->curl = curl_easy_init()) == NULL) {
		free(t);
		err_set(err, ERR_INTERNAL, "libcurl cannot be used");
		return NULL;
	}
	return t;
}

void transfer_destroy(struct transfer *t)
{
	if (t != NULL) {
		curl_easy_cleanup(t->curl);
		curl_global_cleanup();
		free(t);
	}
}
