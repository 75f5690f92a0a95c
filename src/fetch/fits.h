/* SPDX-License-Identifier: MIT */
/*
 * Which of the models that a repository offers would run on this machine: the head of one of its
 * files is read over the network, and the memory estimate made for each with its size.
 */
#ifndef FETCH_FITS_H
#define FETCH_FITS_H

#include "fetch/hub.h"
#include "fetch/transfer.h"
#include "model/memory.h"
#include "wire/pull.h"

#define FITS_CONTEXT 8192 /* tokens that a choice must have room for, to fit */

struct fits_machine {
	struct memory_machine memory;
	uint32_t cache_ram_mib;
};

/*
 * Fills the choices of p, smallest first, and the one to propose: the largest that fits among those
 * of at most 8 bits (more is not better to the ear), else the largest that is tight. Where the head
 * cannot be read, or nothing is known of the machine, the verdicts are unknown.
 */
void fits_fill(struct pull *p, const struct hub_repo *repo, const char *endpoint,
	       const struct fits_machine *machine, struct transfer *t);

#endif
