/* SPDX-License-Identifier: MIT */
/*
 * The shim: one small process per engine, its parent and keeper, which outlives the agent.
 *
 *   ronzal-shim RUN_FOLDER PORT MODEL LOG_FILE LOG_MAX_BYTES LEASE_S ENGINE [ARG...]
 *
 * The agent spawns it in a session of its own with the engine's environment and reads one line from
 * its stdout: "ok" (the engine was executed; connect now) or "error: sentence" (nothing runs; exit
 * status 1). Then stdout is closed.
 *
 * In RUN_FOLDER, named by the port: shim-PORT.lock (flock, held as long as the shim lives),
 * shim-PORT.sock (0600), shim-PORT.id (who runs here; see struct shim_identity).
 * LOG_FILE is fresh at each start, the old one is LOG_FILE.1. When a run outgrows LOG_MAX_BYTES its
 * head is kept as LOG_FILE.1 and the piece before the present one as LOG_FILE.2.
 *
 * The socket serves one agent at a time, a newer one replaces an older. Lines end in '\n'; text is
 * the rest of its line as it is. Verbs that a side does not know are skipped, so that versions N
 * and N+-1 work together.
 *
 *   shim: hello VERSION MODEL PORT ENGINE_PID ENGINE_STARTED STARTED_UNIX_MS    first, always
 *         note TEXT        what an agent stored here, if one did
 *         log TEXT         the engine's last lines (<= SHIM_RING_MAX_BYTES), then
 *         live             what follows happens now
 *         log TEXT         as they come; a slow agent loses lines:
 *         dropped COUNT    so many lines are missing here
 *         exit STATUS      the engine and its process group are gone: its exit code, or -signal
 *   agent: note TEXT       replaces the note; one opaque line, <= SHIM_NOTE_MAX_BYTES
 *          log TEXT        adds a line of ronzal's own to the log; it comes back as the others do
 *          signal NAME     TERM or KILL, to the engine's process group
 *          release         the exit is understood, the shim may go; nothing while the engine runs
 *
 * Without an agent for the length of the lease, or on SIGTERM, SIGINT or SIGHUP, the shim ends the
 * engine: TERM, again at SHIM_TERM_AGAIN_MS, KILL at SHIM_KILL_MS; then it removes its files and
 * exits. A gap of more than SHIM_SLEEP_GAP_MS in its clock (the machine slept) starts the lease
 * anew.
 */
#ifndef HOST_SHIM_H
#define HOST_SHIM_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "os/proc.h"

#define SHIM_VERSION 1
#define SHIM_MODEL_MAX_BYTES 129 /* 128 characters and the terminator */
#define SHIM_NOTE_MAX_BYTES 32768u
#define SHIM_LOG_LINE_MAX_BYTES 4096u /* ... longer ones are cut; the file has them whole */
#define SHIM_LINE_MAX_BYTES (SHIM_NOTE_MAX_BYTES + 64) /* any line, with its '\n' */
#define SHIM_RING_MAX_BYTES 65536u		       /* the last lines, as "log TEXT\n" */
#define SHIM_QUEUE_MAX_BYTES (256u << 10)	       /* to an agent that reads slowly */
#define SHIM_LEASE_MAX_S 86400u
#define SHIM_TERM_AGAIN_MS 1500
#define SHIM_KILL_MS 3000
#define SHIM_SLEEP_GAP_MS 5000

/* X(name, word, what follows the word) */
#define SHIM_VERB_TABLE(X) \
	X(HELLO, "hello", SHIM_HELLO_FIELDS) \
	X(NOTE, "note", SHIM_TEXT) \
	X(LOG, "log", SHIM_TEXT) \
	X(LIVE, "live", SHIM_NOTHING) \
	X(DROPPED, "dropped", SHIM_COUNT) \
	X(EXIT, "exit", SHIM_STATUS) \
	X(SIGNAL, "signal", SHIM_SIGNAL_NAME) \
	X(RELEASE, "release", SHIM_NOTHING)

#define SHIM_VERB_ENUM(name, word, payload) SHIM_##name,
enum shim_verb { SHIM_VERB_TABLE(SHIM_VERB_ENUM) };
#undef SHIM_VERB_ENUM

struct shim_hello {
	unsigned version;
	char model[SHIM_MODEL_MAX_BYTES];
	uint16_t port;
	struct proc engine;
	int64_t started_unix_ms;
};

struct shim_message {
	enum shim_verb verb;
	struct span text;	 /* note, log: without '\n', borrowed */
	int64_t number;		 /* dropped, exit; signal: SIGTERM or SIGKILL */
	struct shim_hello hello; /* hello */
};

/* Adds one line with its '\n' to out. 0; ERR_FULL (out is as it was). */
int shim_encode(const struct shim_message *m, struct buf *out);

/*
 * Reads one line (without '\n'), from which the text is borrowed. ERR_NOT_FOUND for a verb that is
 * not known (skip the line), ERR_PROTOCOL for anything that is not as above (end the connection).
 */
int shim_decode(struct span line, struct shim_message *ret_message, struct err *err);

/* Whether text is 1..128 printable ASCII characters without a space. */
bool shim_model_is_valid(struct span text);

/* Files */

/* The one line of shim-PORT.id: VERSION SHIM_PID SHIM_STARTED ENGINE_PID ENGINE_STARTED MODEL. */
struct shim_identity {
	struct proc shim;
	struct proc engine;
	char model[SHIM_MODEL_MAX_BYTES];
};

#define SHIM_IDENTITY_MAX_BYTES 512

void shim_identity_print(const struct shim_identity *id, char line[SHIM_IDENTITY_MAX_BYTES]);
/* 0 or ERR_INVALID. */
int shim_identity_parse(struct span line, struct shim_identity *ret_id);

/* Of the shim that keeps that port. 0, -errno or ERR_INVALID. */
int shim_identity_read(const char *run_folder, uint16_t port, struct shim_identity *ret_id);

/* RUN_FOLDER/shim-PORT.SUFFIX, for "lock", "sock", "id"; free() it. */
char *shim_path(const char *run_folder, uint16_t port, const char *suffix);
/* The port in a file's name shim-PORT.SUFFIX, for the scan of a folder. false: another file. */
bool shim_port_of(const char *file_name, const char *suffix, uint16_t *ret_port);

/*
 * Takes the lock of a port for as long as the descriptor *ret_fd is open, ends what a dead shim
 * left there (KILL to the process group of the engine in its .id) and removes its files. ERR_BUSY
 * with the holder's pid and model while a shim lives; one whose engine is gone is waited for.
 * ERR_TIMEOUT, with the lock and all files as they were, when the old engine is not gone after
 * wait_ms. The shim begins with it; an agent that
 * finds a socket on which nobody listens uses it with a wait of 0, later again if need be, and
 * gives the lock back with shim_unlock.
 */
#define SHIM_ORPHAN_WAIT_MS 5000 /* the shim's own: the memory of a large model takes its time */
int shim_lock(const char *run_folder, uint16_t port, int wait_ms, int *ret_fd, struct err *err);
/* Removes shim-PORT.* and closes the descriptor. */
void shim_unlock(const char *run_folder, uint16_t port, int fd);

#endif
