/* SPDX-License-Identifier: MIT */
/*
 * ronzal-shim: see host/shim.h for what it is and says. One thread, one poll(2) loop, no timer but
 * the one deadline of its phase; while an agent is connected and nothing is printed it sleeps.
 *
 *   RUNNING --lease over, SIGTERM--> TERM_SENT --1.5 s--> TERM_AGAIN --3 s--> KILLED
 *      |                                 |                    |                 |
 *      | engine gone                     +--------- engine gone ----------------+
 *      v                                                      v
 *     GONE ------ release, lease over, SIGTERM ------------> LEFT (files removed, exit)
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/lines.h"
#include "base/mem.h"
#include "host/shim.h"
#include "host/shim_engine.h"
#include "host/shim_log.h"
#include "os/peer.h"

#define SIGNAL_FD 10 /* the handler's end of the self-pipe: a constant, so that nothing is global */
#define FOREVER_MS (-1)
#define READ_CHUNK_BYTES 16384u
#define LAST_WORDS_MAX_BYTES \
	(1u << 20)		 /* read after the engine's death; others may hold its pipe */
#define QUEUE_RESERVE_BYTES 128u /* for dropped and exit in a queue that is full */
#define LOG_MIN_BYTES 65536u
#define INHERITED_FDS_MAX 1024
#define BACKLOG 4
#define USAGE "ronzal-shim RUN_FOLDER PORT MODEL LOG_FILE LOG_MAX_BYTES LEASE_S ENGINE [ARG...]"

enum phase { RUNNING, TERM_SENT, TERM_AGAIN, KILLED, GONE, LEFT };

struct shim {
	const char *run_folder;
	const char *model;
	uint16_t port;
	uint64_t log_max_bytes;
	int64_t lease_ms;

	enum phase phase;
	int64_t deadline_ms; /* FOREVER_MS: none */
	struct shim_engine engine;
	int64_t started_unix_ms;
	struct shim_log log;

	int lock_fd, listen_fd, signal_fd;
	int agent_fd;	 /* -1: no agent */
	struct lines in; /* from the agent */
	struct buf out;	 /* to it */
	struct buf note;
	uint64_t dropped; /* lines that the agent was too slow for */
};

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Phases */

/* What happens when a phase's deadline has come. */
static const struct {
	enum phase next;
	int signum; /* to the engine; 0: none */
	int64_t wait_ms;
} on_deadline[] = {
	[RUNNING] = { TERM_SENT, SIGTERM, SHIM_TERM_AGAIN_MS },
	[TERM_SENT] = { TERM_AGAIN, SIGTERM, SHIM_KILL_MS - SHIM_TERM_AGAIN_MS },
	[TERM_AGAIN] = { KILLED, SIGKILL, FOREVER_MS },
	[KILLED] = { KILLED, 0, FOREVER_MS },
	[GONE] = { LEFT, 0, FOREVER_MS },
	[LEFT] = { LEFT, 0, FOREVER_MS },
};

static bool is_under_lease(const struct shim *s)
{
	return s->phase == RUNNING || s->phase == GONE;
}

static void start_lease(struct shim *s)
{
	if (is_under_lease(s)) {
		s->deadline_ms = clock_ms(CLOCK_MONOTONIC) + s->lease_ms;
	}
}

static void advance(struct shim *s)
{
	int64_t wait_ms = on_deadline[s->phase].wait_ms;

	shim_engine_signal(&s->engine, on_deadline[s->phase].signum);
	s->phase = on_deadline[s->phase].next;
	s->deadline_ms = wait_ms == FOREVER_MS ? FOREVER_MS : clock_ms(CLOCK_MONOTONIC) + wait_ms;
}

static void check_deadline(struct shim *s)
{
	int64_t late_ms = clock_ms(CLOCK_MONOTONIC) - s->deadline_ms;

	if (s->deadline_ms == FOREVER_MS || late_ms < 0) {
		return;
	}
	if (is_under_lease(s) && late_ms > SHIM_SLEEP_GAP_MS) {
		start_lease(s); /* the machine slept, and so did every agent */
		return;
	}
	advance(s);
}

/* Agent */

static void drop_agent(struct shim *s)
{
	if (s->agent_fd >= 0) {
		close(s->agent_fd);
		s->agent_fd = -1;
		start_lease(s);
	}
}

static void report_dropped(struct shim *s)
{
	struct shim_message m = { .verb = SHIM_DROPPED, .number = (int64_t)s->dropped };

	if (s->dropped > 0 && shim_encode(&m, &s->out) == 0) {
		s->dropped = 0;
	}
}

static void send_exit(struct shim *s)
{
	struct shim_message m = { .verb = SHIM_EXIT, .number = s->engine.exit_status };

	report_dropped(s);
	shim_encode(&m, &s->out);
}

static void on_log_line(void *user, struct span encoded)
{
	struct shim *s = user;

	if (s->agent_fd < 0) {
		return;
	}
	if (s->dropped > 0 && s->out.len <= SHIM_QUEUE_MAX_BYTES / 2) {
		report_dropped(s);
	}
	if (s->dropped > 0 || buf_room(&s->out) < encoded.len + QUEUE_RESERVE_BYTES) {
		s->dropped++;
		return;
	}
	buf_add_span(&s->out, encoded);
}

static void greet_agent(struct shim *s)
{
	struct shim_message hello = { .verb = SHIM_HELLO,
				      .hello = { .version = SHIM_VERSION,
						 .port = s->port,
						 .engine = s->engine.proc,
						 .started_unix_ms = s->started_unix_ms } };
	struct shim_message note = { .verb = SHIM_NOTE, .text = buf_span(&s->note) };
	struct shim_message live = { .verb = SHIM_LIVE };

	memcpy(hello.hello.model, s->model, strlen(s->model) + 1);
	shim_encode(&hello, &s->out);
	if (s->note.len > 0) {
		shim_encode(&note, &s->out);
	}
	buf_add_span(&s->out, buf_span(&s->log.ring));
	shim_encode(&live, &s->out);
	if (!s->engine.is_running) {
		send_exit(s);
	}
}

static void on_connection(struct shim *s)
{
	int fd = accept(s->listen_fd, NULL, NULL);
	struct peer peer;

	if (fd < 0) {
		return;
	}
	if (peer_of(fd, &peer) != 0 || (peer.uid != geteuid() && peer.uid != 0)) {
		close(fd);
		return;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	drop_agent(s);
	s->agent_fd = fd;
	s->dropped = 0;
	lines_finish(&s->in);
	lines_init(&s->in, SHIM_LINE_MAX_BYTES);
	buf_clear(&s->out);
	if (is_under_lease(s)) {
		s->deadline_ms = FOREVER_MS;
	}
	greet_agent(s);
}

static void on_writable(struct shim *s)
{
	ssize_t put = write(s->agent_fd, s->out.data, s->out.len);

	if (put < 0 && errno != EINTR && errno != EAGAIN) {
		drop_agent(s);
		return;
	}
	buf_consume(&s->out, put > 0 ? (size_t)put : 0);
	if (s->out.len == 0) {
		report_dropped(s);
	}
}

static void obey(struct shim *s, const struct shim_message *m)
{
	switch (m->verb) {
	case SHIM_NOTE:
		buf_clear(&s->note);
		buf_add_span(&s->note, m->text);
		break;
	case SHIM_LOG:
		shim_log_say(&s->log, m->text);
		break;
	case SHIM_SIGNAL:
		shim_engine_signal(&s->engine, (int)m->number);
		break;
	case SHIM_RELEASE:
		s->phase = s->phase == GONE ? LEFT : s->phase;
		break;
	case SHIM_HELLO:
	case SHIM_LIVE:
	case SHIM_DROPPED:
	case SHIM_EXIT:
		break; /* ours to say */
	}
}

static void on_agent_line(struct shim *s, struct span line)
{
	char complaint[ERR_TEXT_MAX_BYTES + 64];
	struct shim_message m;
	struct err err;
	int status = shim_decode(line, &m, &err);

	if (status == 0) {
		obey(s, &m);
	} else if (status != ERR_NOT_FOUND) {
		snprintf(complaint, sizeof(complaint),
			 "ronzal: the agent sent %s; its connection is closed", err.text);
		shim_log_say(&s->log, span_of(complaint));
		drop_agent(s);
	}
}

static void on_readable(struct shim *s)
{
	char chunk[READ_CHUNK_BYTES];
	ssize_t got = read(s->agent_fd, chunk, sizeof(chunk));
	struct span line;

	if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
		return;
	}
	if (got <= 0) {
		drop_agent(s);
		return;
	}
	if (lines_add(&s->in, (struct span){ chunk, (size_t)got }) != 0) {
		shim_log_say(&s->log, SPAN_LIT("ronzal: the agent sent a line that is too long; "
					       "its connection is closed"));
		drop_agent(s);
	}
	while (s->agent_fd >= 0 && lines_next(&s->in, &line)) {
		on_agent_line(s, line);
	}
}

/* Engine */

static void end_output(struct shim *s)
{
	if (s->engine.output_fd >= 0) {
		close(s->engine.output_fd);
		s->engine.output_fd = -1;
		shim_log_end_line(&s->log);
	}
}

/* Returns how many bytes came; 0 when there are none now, or never again. */
static size_t read_output(struct shim *s)
{
	char chunk[READ_CHUNK_BYTES];
	ssize_t got = read(s->engine.output_fd, chunk, sizeof(chunk));

	if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
		return 0;
	}
	if (got <= 0) {
		end_output(s);
		return 0;
	}
	shim_log_add(&s->log, (struct span){ chunk, (size_t)got });
	return (size_t)got;
}

static void on_engine_gone(struct shim *s)
{
	for (size_t all = 0, got = 1; got > 0 && all < LAST_WORDS_MAX_BYTES; all += got) {
		got = s->engine.output_fd >= 0 ? read_output(s) : 0;
	}
	end_output(s);
	s->phase = s->phase == RUNNING ? GONE : LEFT;
	if (s->agent_fd >= 0) {
		send_exit(s);
		on_writable(s);
	}
}

static void on_signal(struct shim *s)
{
	unsigned char signums[64];
	ssize_t got = read(s->signal_fd, signums, sizeof(signums));

	for (ssize_t i = 0; i < got; i++) {
		if (signums[i] != SIGCHLD && is_under_lease(s)) {
			advance(s);
		}
	}
	if (shim_engine_bury(&s->engine)) {
		on_engine_gone(s);
	}
}

static void run(struct shim *s)
{
	while (s->phase != LEFT) {
		int64_t left_ms = s->deadline_ms - clock_ms(CLOCK_MONOTONIC);
		short wanted = s->out.len > 0 ? POLLIN | POLLOUT : POLLIN;
		struct pollfd fds[] = { { .fd = s->signal_fd, .events = POLLIN },
					{ .fd = s->listen_fd, .events = POLLIN },
					{ .fd = s->engine.output_fd, .events = POLLIN },
					{ .fd = s->agent_fd, .events = wanted } };

		left_ms = s->deadline_ms == FOREVER_MS ? FOREVER_MS : left_ms > 0 ? left_ms : 0;
		if (poll(fds, ARRAY_LEN(fds), (int)left_ms) > 0) {
			if (fds[2].revents != 0) {
				read_output(s);
			}
			if ((fds[3].revents & POLLOUT) != 0) {
				on_writable(s);
			}
			if (s->agent_fd >= 0 && (fds[3].revents & ~POLLOUT) != 0) {
				on_readable(s);
			}
			if (fds[0].revents != 0) {
				on_signal(s);
			}
			if (fds[1].revents != 0) {
				on_connection(s);
			}
		}
		check_deadline(s);
	}
}

/* Start */

static void tell_self(int signum)
{
	int saved_errno = errno;
	unsigned char byte = (unsigned char)signum;
	ssize_t put = write(SIGNAL_FD, &byte, 1);

	(void)put; /* full: it will wake up and look anyway */
	errno = saved_errno;
}

/* Descriptors 0-2 are open, all others closed: an agent's leak must not live on in an engine. */
static void tidy_descriptors(void)
{
	int fd = open("/dev/null", O_RDWR);

	while (fd >= 0 && fd <= 2) {
		fd = dup(fd);
	}
	for (fd = 3; fd < INHERITED_FDS_MAX; fd++) {
		close(fd);
	}
}

static int catch_signals(struct shim *s, struct err *err)
{
	static const int caught[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP };
	struct sigaction action = { .sa_handler = tell_self,
				    .sa_flags = SA_NOCLDSTOP | SA_RESTART };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t none;
	int fds[2];

	if (pipe(fds) != 0 || dup2(fds[1], SIGNAL_FD) < 0) {
		return err_set_os(err, -errno, "making a pipe for signals");
	}
	close(fds[1]);
	fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	fcntl(SIGNAL_FD, F_SETFD, FD_CLOEXEC);
	fcntl(SIGNAL_FD, F_SETFL, O_NONBLOCK);
	s->signal_fd = fds[0];
	for (size_t i = 0; i < ARRAY_LEN(caught); i++) {
		sigaction(caught[i], &action, NULL);
	}
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL); /* a limit on files is a full disk to us */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return 0;
}

static int listen_for_agents(struct shim *s, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *path = shim_path(s->run_folder, s->port, "sock");
	int status = 0;

	if (strlen(path) >= sizeof(address.sun_path)) {
		status = err_set(err, ERR_INVALID, "the socket path %s is too long", path);
		goto out;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	mode_t before = umask(0177);

	if (s->listen_fd < 0 ||
	    bind(s->listen_fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(s->listen_fd, BACKLOG) != 0) {
		status = err_set_os(err, -errno, "listening on %s", path);
	}
	umask(before);
	fcntl(s->listen_fd, F_SETFD, FD_CLOEXEC);
	fcntl(s->listen_fd, F_SETFL, O_NONBLOCK);
out:
	free(path);
	return status;
}

static int write_identity(const struct shim *s, struct err *err)
{
	struct shim_identity id = { .engine = s->engine.proc };
	char line[SHIM_IDENTITY_MAX_BYTES];
	char *path = shim_path(s->run_folder, s->port, "id");
	int status = proc_identify(getpid(), &id.shim);

	if (status != 0) {
		err_set_os(err, status, "looking at this process");
	} else {
		memcpy(id.model, s->model, strlen(s->model) + 1);
		shim_identity_print(&id, line);
		status = fs_replace(path, span_of(line), 0600, err);
	}
	free(path);
	return status;
}

static int start_engine(struct shim *s, char *const *argv, struct err *err)
{
	int status = shim_engine_fork(&s->engine, argv, err);

	if (status != 0) {
		return status;
	}
	status = write_identity(s, err);
	if (status != 0) {
		shim_engine_cancel(&s->engine);
		return status;
	}
	s->started_unix_ms = clock_ms(CLOCK_REALTIME);
	return shim_engine_exec(&s->engine, argv[0], err);
}

static int read_options(struct shim *s, int argc, char **argv, struct err *err)
{
	uint64_t port, lease_s;

	if (argc < 8) {
		return err_set(err, ERR_INVALID, "usage: " USAGE);
	}
	if (span_to_u64(span_of(argv[2]), UINT16_MAX, &port) != 0 || port == 0) {
		return err_set(err, ERR_INVALID, "PORT '%s' is outside 1..65535", argv[2]);
	}
	if (!shim_model_is_valid(span_of(argv[3]))) {
		return err_set(err, ERR_INVALID, "MODEL must be 1..128 characters without spaces");
	}
	if (span_to_u64(span_of(argv[5]), INT64_MAX, &s->log_max_bytes) != 0 ||
	    s->log_max_bytes < LOG_MIN_BYTES) {
		return err_set(err, ERR_INVALID, "LOG_MAX_BYTES '%s' is below %u", argv[5],
			       LOG_MIN_BYTES);
	}
	if (span_to_u64(span_of(argv[6]), SHIM_LEASE_MAX_S, &lease_s) != 0) {
		return err_set(err, ERR_INVALID, "LEASE_S '%s' is outside 0..%u", argv[6],
			       SHIM_LEASE_MAX_S);
	}
	s->run_folder = argv[1];
	s->port = (uint16_t)port;
	s->model = argv[3];
	s->lease_ms = (int64_t)lease_s * 1000;
	return 0;
}

/* The lock is held when it returns 0, and not when it fails. */
static int start(struct shim *s, int argc, char **argv, struct err *err)
{
	int status = read_options(s, argc, argv, err);

	if (status == 0) {
		status = catch_signals(s, err);
	}
	if (status == 0) {
		status = shim_lock(s->run_folder, s->port, SHIM_ORPHAN_WAIT_MS, &s->lock_fd, err);
	}
	if (status != 0) {
		return status;
	}
	status = listen_for_agents(s, err);
	if (status == 0) {
		status = start_engine(s, argv + 7, err);
	}
	if (status != 0) {
		shim_unlock(s->run_folder, s->port, s->lock_fd);
	}
	return status;
}

int main(int argc, char **argv)
{
	struct shim s = { .phase = RUNNING, .agent_fd = -1 };
	struct err err;

	tidy_descriptors();
	setsid();
	if (start(&s, argc, argv, &err) != 0) {
		printf("error: %s\n", err.text);
		return EXIT_FAILURE;
	}
	lines_init(&s.in, SHIM_LINE_MAX_BYTES);
	buf_init(&s.out, SHIM_QUEUE_MAX_BYTES);
	buf_init(&s.note, SHIM_NOTE_MAX_BYTES);
	shim_log_init(&s.log, argv[4], s.log_max_bytes, on_log_line, &s);
	printf("ok\n");
	fflush(stdout);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	close(null);
	start_lease(&s);
	run(&s);
	drop_agent(&s);
	shim_log_finish(&s.log);
	lines_finish(&s.in);
	buf_finish(&s.out);
	buf_finish(&s.note);
	shim_unlock(s.run_folder, s.port, s.lock_fd);
	return EXIT_SUCCESS;
}
