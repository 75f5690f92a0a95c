/* SPDX-License-Identifier: MIT */
/* Recorded texts of llama-server, from tests/data/engine. */
#ifndef ENGINE_DATA_H
#define ENGINE_DATA_H

#include "base/buf.h"
#include "engine/probe.h"

#define ENGINE_DATA_MAX_BYTES (1u << 20)

/* The file's bytes; ends the test when there is none. buf_finish it. */
struct buf engine_data(const char *name);

/* What a recorded help text says its build can do. */
struct engine_abilities engine_data_abilities(const char *help_name);

#endif
