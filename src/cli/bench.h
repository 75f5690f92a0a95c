/* SPDX-License-Identifier: MIT */
/*
 * What `ronzal bench` measures, and the run of it. bench.c chooses the modes and tells the results;
 * bench_run.c starts engines beside whatever runs, each on a free port and with a key of its own,
 * and asks them. What counts is the engine's own clock, and for starts ours: from spawn to the
 * first token.
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "base/fs.h"
#include "cli/cli.h"
#include "engine/probe.h"
#include "model/gguf.h"
#include "model/registry.h"

#define BENCH_RUNS_MAX 20
#define BENCH_MODES_MAX 3
#define BENCH_STREAMS_MAX 4

enum bench_kind { BENCH_STARTUP, BENCH_PROMPT, BENCH_GENERATION, BENCH_KIND_COUNT };
enum { BENCH_COLD, BENCH_WARM }; /* the file on the disk, or in the system's memory */

#define BENCH_MEASURES 8
#define BENCH_CONTEXT_TOKENS 2304 /* of a slot: the longest prompt and more */

/* Those of a kind stand together; starts come first. */
extern const struct bench_measure {
	enum bench_kind kind;
	int n; /* BENCH_COLD or BENCH_WARM, tokens, streams */
	const char *name;
} bench_measures[BENCH_MEASURES];

struct bench_series {
	int count;
	double values[BENCH_RUNS_MAX]; /* ms of starts, else tokens a second */
};

struct bench_mode {
	char name[64];
	struct settings settings;
	bool no_device;	 /* --device none */
	char image[128]; /* of the container that it runs in; "": here */
	struct bench_series series[BENCH_MEASURES];
};

struct bench {
	struct cli *cli;
	const struct model *model;
	char engine_path[FS_PATH_MAX_BYTES], model_path[FS_PATH_MAX_BYTES];
	struct engine_abilities abilities;
	struct gguf gguf;
	struct bench_mode modes[BENCH_MODES_MAX];
	int mode_count, runs;
};

/* Fills the series of all modes, run by run, and tells on stderr where it is. Blocks. */
int bench_run(struct bench *b, struct err *err);

#endif
