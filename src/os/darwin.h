/* SPDX-License-Identifier: MIT */
/*
 * What the files for macOS make of the kernel's numbers and of paths. Pure, so that it is tested on
 * every system.
 */
#ifndef OS_DARWIN_H
#define OS_DARWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "os/memory.h"

/* sysctlbyname's answer: an integer of 4 or 8 bytes, in the machine's own order; else false. */
bool darwin_read_number(struct span bytes, uint64_t *ret_value);

/* Of host_statistics64(HOST_VM_INFO64); `free` counts the speculative ones as well. */
struct darwin_pages {
	uint64_t free, speculative, file_backed, purgeable, page_bytes;
};

/* Free pages, cached files and what programs marked as purgeable. */
uint64_t darwin_available_bytes(const struct darwin_pages *pages);

/*
 * What a GPU may wire, by iogpu.wired_limit_mb: 0 as long as nobody has set it, and then two thirds
 * of the memory, three quarters from 36 GiB on.
 */
uint64_t darwin_wired_limit_bytes(uint64_t total_bytes, uint64_t limit_mib);

/* kern.memorystatus_vm_pressure_level: 1, 2, 4. */
enum memory_pressure darwin_pressure(uint64_t level);

/*
 * .../Cellar/NAME/VERSION/REST is gone after `brew upgrade`, .../opt/NAME/REST stays and leads to
 * the newest. False when the path is no such one or has no room.
 */
bool darwin_lasting_path(const char *path, char *ret_path, size_t room);

/*
 * The folder on the way to `path` that privacy settings (TCC) close to background programs:
 * "Documents", "Desktop", "Downloads" or "Library" (iCloud) in the home folder, "Volumes". NULL:
 * none.
 */
const char *darwin_guarded_folder(const char *path, const char *home);

#endif
