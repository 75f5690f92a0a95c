/* SPDX-License-Identifier: MIT */
/*
 * A scripted stand-in for llama-server, for the faults that a real one does not show on demand.
 * It understands the flags that ronzal passes, keeps the key of --api-key-file, listens before it
 * "loads", and answers /health, /props, /slots and any POST (as a stream of numbered events).
 *
 * Its script is the file MODEL.fake beside the file of --model, one `name value` a line:
 *
 *   listen_delay_ms N    listen only after that
 *   health_delay_ms N    answer 503 for that long after the start
 *   log FILE             print FILE's lines at the start (default: a load on the CPU)
 *   log_count N          print that many numbered lines once ready
 *   note_ready 1         write the moment (CLOCK_MONOTONIC, ms) of the first 200 to MODEL.ready
 *   crash_at_start N     exit with code N at once
 *   crash_after_ms N     die of SIGSEGV then
 *   exit_after_ms N      exit with code 1 then
 *   ignore_term 1        TERM does nothing (without this: the first TERM is ignored while a stream
 *                        runs, as llama-server does; the second ends it)
 *   any_key 1            accept every key
 *   refuse_key 1         refuse every key
 *   health_status N      answer /health with that status
 *   hang_health 1        accept connections, never answer
 *   busy_at_ms N         compute and answer nobody from then on for 6 s
 *   bad_props 1          /props is not JSON
 *   events N             of a stream (10), event_delay_ms N apart (20)
 *   die_in_event N       die of SIGKILL after so many events
 *   stall_in_event N     send nothing more after so many events
 *   grandchild 1         leave a child behind that holds stdout and ignores TERM; its pid is in
 *                        MODEL.grandchild
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNS_MAX 64
#define REQUEST_MAX_BYTES 65536
#define KEY_MAX_BYTES 256
#define BUSY_MS 6000

#define SCRIPT(X) \
	X(listen_delay_ms, 0) \
	X(health_delay_ms, 0) \
	X(log_count, 0) \
	X(note_ready, 0) \
	X(crash_at_start, -1) \
	X(crash_after_ms, -1) \
	X(exit_after_ms, -1) \
	X(ignore_term, 0) \
	X(any_key, 0) \
	X(refuse_key, 0) \
	X(health_status, 0) \
	X(hang_health, 0) \
	X(busy_at_ms, -1) \
	X(bad_props, 0) \
	X(events, 10) \
	X(event_delay_ms, 20) \
	X(die_in_event, -1) \
	X(stall_in_event, -1) \
	X(grandchild, 0)

#define FIELD(name, fallback) long name;
#define FALLBACK(name, fallback) .name = fallback,
static struct {
	SCRIPT(FIELD)
	char log[4096];
} script = { SCRIPT(FALLBACK).log = "" };

static struct {
	const char *host, *model, *alias;
	uint16_t port;
	char key[KEY_MAX_BYTES];
} options = { .host = "127.0.0.1", .model = "none", .alias = "fake" };

struct conn {
	int fd;
	size_t len;
	char request[REQUEST_MAX_BYTES];
	long event; /* of a stream; -1: none */
	int64_t due_ms;
};

static struct conn conns[CONNS_MAX];
static volatile sig_atomic_t terms;

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_term(int signum)
{
	(void)signum;
	terms = terms + 1;
}

/* What it says of itself */

static const char help[] =
	"----- common params -----\n"
	"-h,    --help, --usage    print usage and exit\n"
	"--version                 show version and build info\n"
	"-t,    --threads N        CPU threads\n"
	"-c,    --ctx-size N       size of the prompt context\n"
	"-b,    --batch-size N     logical maximum batch size\n"
	"-fa,   --flash-attn [on|off|auto]  set Flash Attention use ('on', 'off', or "
	"'auto', default: 'auto')\n"
	"-ngl,  --gpu-layers, --n-gpu-layers N  layers in VRAM, 'auto' or 'all'\n"
	"--fit [on|off]            adjust unset arguments to fit\n"
	"-m,    --model FNAME      model path to load\n"
	"-a,    --alias STRING     model name aliases\n"
	"--host HOST               addresses to listen on, comma-separated\n"
	"--port PORT               port to listen on\n"
	"--api-key-file FNAME      path to file containing API keys\n"
	"-np,   --parallel N       number of server slots\n"
	"--metrics                 enable metrics endpoint\n"
	"--slots, --no-slots       expose slots monitoring endpoint\n"
	"--no-ui                   disable the page\n"
	"-lv,   --verbosity N      set the verbosity: 0, 1, 2, 3, 4: trace, 5\n";

static void answer_questions(const char *flag)
{
	if (strcmp(flag, "--version") == 0) {
		fputs("version: 0.7.0 (build 11669, commit fake)\nbuilt with C for tests\n",
		      stderr);
		exit(0);
	}
	if (strcmp(flag, "--help") == 0) {
		fputs(help, stdout);
		exit(0);
	}
	if (strcmp(flag, "--list-devices") == 0) {
		fputs("Available devices:\n", stdout);
		exit(0);
	}
}

static void read_key(const char *path)
{
	FILE *f = fopen(path, "r");

	if (f == NULL || fgets(options.key, sizeof(options.key), f) == NULL) {
		fprintf(stderr, "error: cannot read the key file\n");
		exit(1);
	}
	options.key[strcspn(options.key, "\r\n")] = '\0';
	fclose(f);
}

static void read_options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		answer_questions(argv[i]);
		if (strcmp(argv[i], "--model") == 0) {
			options.model = value;
		} else if (strcmp(argv[i], "--alias") == 0) {
			options.alias = value;
		} else if (strcmp(argv[i], "--port") == 0) {
			options.port = (uint16_t)strtol(value, NULL, 10);
		} else if (strcmp(argv[i], "--api-key-file") == 0) {
			read_key(value);
		}
	}
}

static void read_script(void)
{
	char path[4096], line[4200];
	FILE *f;

	snprintf(path, sizeof(path), "%s.fake", options.model);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		char *value = strchr(line, ' ');

		if (value == NULL) {
			continue;
		}
		*value++ = '\0';
		value[strcspn(value, "\n")] = '\0';
		if (strcmp(line, "log") == 0) {
			snprintf(script.log, sizeof(script.log), "%s", value);
		}
#define READ(name, fallback) \
	if (strcmp(line, #name) == 0) { \
		script.name = strtol(value, NULL, 10); \
	}
		SCRIPT(READ)
#undef READ
	}
	if (f != NULL) {
		fclose(f);
	}
}

/* For the test: a number in the file MODEL.NAME. */
static void tell(const char *name, long long number)
{
	char path[4096], text[32];
	int len = snprintf(text, sizeof(text), "%lld\n", number);
	int fd;

	snprintf(path, sizeof(path), "%s.%s", options.model, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd >= 0) {
		if (write(fd, text, (size_t)len) != len) {
			fputs("a number for the test could not be written\n", stderr);
		}
		close(fd);
	}
}

static void print_log(void)
{
	FILE *f = script.log[0] != '\0' ? fopen(script.log, "r") : NULL;
	char line[4096];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		fputs(line, stderr);
	}
	if (f != NULL) {
		fclose(f);
	} else {
		fputs("load_tensors: offloaded 0/5 layers to GPU\n"
		      "load_tensors:          CPU model buffer size =     4.05 MiB\n",
		      stderr);
	}
}

/* Answers */

static void send_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);

		if (sent <= 0) {
			return;
		}
		text += sent;
		len -= (size_t)sent;
	}
}

static void reply(struct conn *c, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void reply(struct conn *c, int status, const char *format, ...)
{
	char body[4096], answer[4400];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(body, sizeof(body), format, args);
	va_end(args);
	len = snprintf(answer, sizeof(answer),
		       "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
		       "Content-Length: %d\r\n\r\n%s",
		       status, len, body);
	send_all(c->fd, answer, (size_t)len);
}

/* The value of a header field, or NULL. */
static const char *field(const char *request, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = strstr(request, "\r\n");
	     at != NULL && strncmp(at, "\r\n\r\n", 4) != 0; at = strstr(at + 2, "\r\n")) {
		if (strncasecmp(at + 2, name, len) == 0 && at[2 + len] == ':') {
			at += 3 + len;
			return at + strspn(at, " ");
		}
	}
	return NULL;
}

static bool has_key(const char *request)
{
	char wanted[KEY_MAX_BYTES + 64];
	const char *value = field(request, "Authorization");

	snprintf(wanted, sizeof(wanted), "Bearer %s\r\n", options.key);
	if (script.refuse_key != 0) {
		return false;
	}
	return script.any_key != 0 ||
	       (value != NULL && strncmp(value, wanted, strlen(wanted)) == 0);
}

static int busy_slots(void)
{
	int busy = 0;

	for (int i = 0; i < CONNS_MAX; i++) {
		busy += conns[i].fd > 0 && conns[i].event >= 0;
	}
	return busy;
}

static void begin_stream(struct conn *c)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
				   "Transfer-Encoding: chunked\r\n\r\n";

	send_all(c->fd, head, sizeof(head) - 1);
	c->event = 0;
	c->due_ms = now_ms();
}

static void serve(struct conn *c, int64_t begun_ms)
{
	bool is_loading = now_ms() - begun_ms < script.health_delay_ms;

	if (script.hang_health != 0) {
		return;
	}
	if (is_loading) {
		reply(c, 503,
		      "{\"error\":{\"code\":503,\"message\":\"Loading model\","
		      "\"type\":\"unavailable_error\"}}");
	} else if (strncmp(c->request, "GET /health ", 12) == 0) {
		reply(c, script.health_status != 0 ? (int)script.health_status : 200,
		      "{\"status\":\"ok\"}");
	} else if (!has_key(c->request)) {
		reply(c, 401, "{\"error\":{\"code\":401,\"message\":\"Invalid API Key\"}}");
	} else if (strncmp(c->request, "GET /props ", 11) == 0) {
		reply(c, 200,
		      script.bad_props != 0 ? "<html>%s</html>"
					    : "{\"default_generation_settings\":"
					      "{\"n_ctx\":4096},\"total_slots\":2,"
					      "\"model_path\":\"%s\"}",
		      options.model);
	} else if (strncmp(c->request, "GET /slots ", 11) == 0) {
		reply(c, 200,
		      "[{\"id\":0,\"n_ctx\":4096,\"is_processing\":%s},"
		      "{\"id\":1,\"n_ctx\":4096,\"is_processing\":false}]",
		      busy_slots() > 0 ? "true" : "false");
	} else if (strncmp(c->request, "POST ", 5) == 0) {
		begin_stream(c);
	} else {
		reply(c, 404, "{\"error\":{\"code\":404,\"message\":\"not found\"}}");
	}
}

/* Streams */

static void close_conn(struct conn *c)
{
	close(c->fd);
	c->fd = 0;
	c->event = -1;
}

static void send_event(struct conn *c)
{
	char data[256], chunk[320];
	int len;

	if (script.die_in_event >= 0 && c->event == script.die_in_event) {
		raise(SIGKILL);
	}
	if (script.stall_in_event >= 0 && c->event == script.stall_in_event) {
		c->due_ms = INT64_MAX;
		return;
	}
	if (c->event < script.events) {
		len = snprintf(
			data, sizeof(data),
			"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%ld \"}}]}"
			"\n\n",
			c->event);
		c->event++;
		c->due_ms = now_ms() + script.event_delay_ms;
	} else {
		len = snprintf(data, sizeof(data), "data: [DONE]\n\n");
		c->event = -1;
	}
	len = snprintf(chunk, sizeof(chunk), "%x\r\n%s\r\n%s", (unsigned)len, data,
		       c->event < 0 ? "0\r\n\r\n" : "");
	send_all(c->fd, chunk, (size_t)len);
}

static void read_request(struct conn *c, int64_t begun_ms)
{
	ssize_t got = recv(c->fd, c->request + c->len, sizeof(c->request) - 1 - c->len, 0);
	const char *length;
	char *end;
	size_t whole;

	if (got <= 0) {
		close_conn(c);
		return;
	}
	c->len += (size_t)got;
	c->request[c->len] = '\0';
	end = strstr(c->request, "\r\n\r\n");
	if (end == NULL || c->event >= 0) {
		return;
	}
	length = field(c->request, "Content-Length");
	whole = (size_t)(end - c->request) + 4 + (length != NULL ? strtoul(length, NULL, 10) : 0);
	if (c->len >= whole) {
		serve(c, begun_ms);
		c->len = 0;
	}
}

/* The loop */

static int listen_on_port(void)
{
	struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons(options.port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	inet_pton(AF_INET, options.host, &where.sin_addr);
	if (bind(fd, (struct sockaddr *)&where, sizeof(where)) != 0 || listen(fd, 64) != 0) {
		fprintf(stderr, "couldn't bind HTTP server socket, hostname: %s, port: %u\n",
			options.host, options.port);
		exit(1);
	}
	return fd;
}

static void accept_conn(int listener)
{
	int fd = accept(listener, NULL, NULL);

	for (int i = 0; i < CONNS_MAX && fd >= 0; i++) {
		if (conns[i].fd == 0) {
			conns[i].fd = fd;
			conns[i].len = 0;
			conns[i].event = -1;
			return;
		}
	}
	if (fd >= 0) {
		close(fd);
	}
}

static void keep_time(int64_t begun_ms, bool *told_ready)
{
	int64_t age_ms = now_ms() - begun_ms;

	if (terms > 0 && script.ignore_term == 0 && (terms > 1 || busy_slots() == 0)) {
		exit(0);
	}
	if (script.crash_after_ms >= 0 && age_ms >= script.crash_after_ms) {
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
	}
	while (script.busy_at_ms >= 0 && age_ms >= script.busy_at_ms &&
	       now_ms() - begun_ms < script.busy_at_ms + BUSY_MS) {
		/* as in a long prompt */
	}
	if (script.exit_after_ms >= 0 && age_ms >= script.exit_after_ms) {
		exit(1);
	}
	if (!*told_ready && age_ms >= script.health_delay_ms) {
		*told_ready = true;
		if (script.note_ready) {
			tell("ready", (long long)(begun_ms + script.health_delay_ms));
		}
		fputs("model loaded\nserver is listening\n", stderr);
		for (long i = 0; i < script.log_count; i++) {
			fprintf(stderr, "line %ld\n", i);
		}
	}
	for (int i = 0; i < CONNS_MAX; i++) {
		if (conns[i].fd > 0 && conns[i].event >= 0 && now_ms() >= conns[i].due_ms) {
			send_event(&conns[i]);
		}
	}
}

static void run(int listener)
{
	struct pollfd polls[CONNS_MAX + 1];
	int64_t begun_ms = now_ms();
	bool told_ready = false;

	for (;;) {
		keep_time(begun_ms, &told_ready);
		polls[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
		for (int i = 0; i < CONNS_MAX; i++) {
			polls[i + 1] = (struct pollfd){ .fd = conns[i].fd > 0 ? conns[i].fd : -1,
							.events = POLLIN };
		}
		if (poll(polls, CONNS_MAX + 1, 5) <= 0) {
			continue;
		}
		if (polls[0].revents != 0) {
			accept_conn(listener);
		}
		for (int i = 0; i < CONNS_MAX; i++) {
			if (polls[i + 1].revents != 0 && conns[i].fd > 0) {
				read_request(&conns[i], begun_ms);
			}
		}
	}
}

static void leave_a_grandchild(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGTERM, SIG_IGN);
		for (;;) {
			pause();
		}
	}
	tell("grandchild", pid);
}

static void wait_ms(long ms)
{
	struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&pause, NULL);
}

int main(int argc, char **argv)
{
	read_options(argc, argv);
	read_script();
	if (script.crash_at_start >= 0) {
		exit((int)script.crash_at_start);
	}
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_term }, NULL);
	if (script.grandchild != 0) {
		leave_a_grandchild();
	}
	print_log();
	wait_ms(script.listen_delay_ms);
	run(listen_on_port());
}
