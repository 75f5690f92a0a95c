/* SPDX-License-Identifier: MIT */
#include "os/memory.h"

#include <errno.h>
#include <mach/mach.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include "os/darwin.h"

static bool read_sysctl(const char *name, uint64_t *ret_value)
{
	char bytes[sizeof(*ret_value)];
	size_t len = sizeof(bytes);

	return sysctlbyname(name, bytes, &len, NULL, 0) == 0 &&
	       darwin_read_number((struct span){ bytes, len }, ret_value);
}

/* 0 or -errno. */
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
	*ret_bytes = darwin_available_bytes(&(struct darwin_pages){
		.free = vm.free_count,
		.speculative = vm.speculative_count,
		.file_backed = vm.external_page_count,
		.purgeable = vm.purgeable_count,
		.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE) });
	return 0;
}

int memory_read(struct memory *ret_memory)
{
	struct memory m = { .pressure = MEMORY_NORMAL };
	uint64_t level, limit_mib;
	int status;

	if (!read_sysctl("hw.memsize", &m.total_bytes)) {
		return -errno;
	}
	status = read_available(&m.available_bytes);
	if (status != 0) {
		return status;
	}
	if (read_sysctl("iogpu.wired_limit_mb", &limit_mib)) { /* absent: no unified memory */
		m.gpu_wired_limit_bytes = darwin_wired_limit_bytes(m.total_bytes, limit_mib);
	}
	if (read_sysctl("kern.memorystatus_vm_pressure_level", &level)) {
		m.pressure = darwin_pressure(level);
	}
	*ret_memory = m;
	return 0;
}

int memory_forget_file(const char *path)
{
	(void)path;
	return -ENOTSUP;
}

void memory_return_large_blocks(void)
{
	/* libmalloc maps large blocks one by one, and its threshold does not move */
}
