/* SPDX-License-Identifier: MIT */
/*
 * What both ends of the ssh gate and of the control channel must agree on. Plain constants without
 * any other header: ronzal-gate includes nothing else of ours.
 */
#ifndef WIRE_CONSTANTS_H
#define WIRE_CONSTANTS_H

/* The two byte strings that the restricted ssh key may ask for. */
#define WIRE_SSH_START "start-metal-servers"
#define WIRE_SSH_STOP "stop-metal-servers"

/*
 * The script behind each, beside the gate, and the exit codes that ssh hands back (its own: 255).
 */
#define WIRE_SSH_START_SCRIPT "start-host-llama-servers.sh"
#define WIRE_SSH_STOP_SCRIPT "stop-host-llama-servers.sh"
#define WIRE_EXIT_REFUSED 4 /* ERR_DENIED: the command is neither of the two */
#define WIRE_EXIT_BROKEN 14 /* ERR_IO: the installed copy is damaged */

/*
 * Set-up and doctor send variables with this value, which no program minds, and the gate refuses
 * and names the one that arrived: an sshd with `AcceptEnv *` runs BASH_ENV before any forced
 * command.
 */
#define WIRE_SSH_CANARY "/nonexistent/ronzal-canary"

/* The control channel: newline-delimited JSON. A side speaks WIRE_VERSION and the one before. */
#define WIRE_VERSION 1
#define WIRE_VERSION_MIN 1
#define WIRE_LINE_MAX_BYTES 65536  /* the newline included */
#define WIRE_NOISE_MAX_BYTES 65536 /* foreign output before the first line (login scripts print) */
#define WIRE_IDS_MAX 128	   /* models named in one request; more: ask for all */

#define WIRE_SILENCE_MS 2000	 /* no hello for that long: the one-shot form, said by the relay */
#define WIRE_HELLO_MS 5000	 /* ... and so the agent waits longer */
#define WIRE_PING_MS 5000	 /* a controller says ping that often */
#define WIRE_PING_GRACE_MS 15000 /* without one for that long the other side is gone */

/* Sockets in the run folder. */
#define WIRE_AGENT_SOCKET "agent.sock"	   /* the user's: every verb */
#define WIRE_CONTROL_SOCKET "control.sock" /* what comes through ssh: see VERB_TABLE */

#endif
