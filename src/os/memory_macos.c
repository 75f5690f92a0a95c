/* SPDX-License-Identifier: MIT */
#include "os/memory.h"

#include <errno.h>
#include <mach/mach.h>
#include <stdbool.h>
#include <sys/sysctl.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define LARGE_BYTES (36 * GIB) /* from here on a GPU may wire 3/4 by default, below it 2/3 */
#define PRESSURE_WARN 2	       /* kern.memorystatus_vm_pressure_level: 1, 2, 4 */
#define PRESSURE_CRITICAL 4

/* Reads an integer of 4 or 8 bytes. */
static bool read_sysctl(const char *name, uint64_t *ret_value)
{
	union {
		uint32_t narrow;
		uint64_t wide;
	} value = { .wide = 0 };
	size_t len = sizeof(value);

	if (sysctlbyname(name, &value, &len, NULL, 0) != 0 ||
	    (len != sizeof(value.narrow) && len != sizeof(value.wide))) {
		return false;
	}
	*ret_value = len == sizeof(value.narrow) ? value.narrow : value.wide;
	return true;
}

/* Free pages, cached files and what programs marked as purgeable. 0 or -errno. */
static int read_available(uint64_t *ret_bytes)
{
	vm_statistics64_data_t vm;
	mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
	mach_port_t host = mach_host_self();
	kern_return_t status = host_statistics64(host, HOST_VM_INFO64, (host_info64_t)&vm, &count);

	mach_port_deallocate(mach_task_self(), host);
	if (status != KERN_SUCCESS) {
		return -EIO;
	}
	uint64_t free_pages =
		vm.free_count > vm.speculative_count ? vm.free_count - vm.speculative_count : 0;

	*ret_bytes = (free_pages + vm.external_page_count + vm.purgeable_count) *
		     (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

/*
 * iogpu.wired_limit_mb is 0 as long as nobody has set it; without unified memory it is not there.
 */
static uint64_t gpu_limit(uint64_t total_bytes)
{
	uint64_t limit_mib;

	if (!read_sysctl("iogpu.wired_limit_mb", &limit_mib)) {
		return 0;
	}
	if (limit_mib > 0) {
		return limit_mib * MIB;
	}
	return total_bytes >= LARGE_BYTES ? total_bytes / 4 * 3 : total_bytes / 3 * 2;
}

int memory_read(struct memory *ret_memory)
{
	struct memory m = { .pressure = MEMORY_NORMAL };
	uint64_t level = 0;
	int status;

	if (!read_sysctl("hw.memsize", &m.total_bytes)) {
		return -errno;
	}
	status = read_available(&m.available_bytes);
	if (status != 0) {
		return status;
	}
	m.gpu_wired_limit_bytes = gpu_limit(m.total_bytes);
	if (read_sysctl("kern.memorystatus_vm_pressure_level", &level)) {
		m.pressure = level >= PRESSURE_CRITICAL ? MEMORY_CRITICAL
			     : level >= PRESSURE_WARN	? MEMORY_WARN
							: MEMORY_NORMAL;
	}
	*ret_memory = m;
	return 0;
}
