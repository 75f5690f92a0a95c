/* SPDX-License-Identifier: MIT */
/* Texts of /proc and cgroup v2, as Linux 6.1 wrote them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "os/procfs.h"

static const char STAT_PLAIN[] =
	"4312 (python3) S 4200 4312 4200 34816 4312 4194304 1433 0 0 0 12 3 0 0 20 0 1 0 8123456 "
	"18345984 2412 18446744073709551615 94204 97000 140722 0 0 0 0 16781312 2 0 0 0 17 1 0 0 0 "
	"0 0 98 99 100 140 141 142 143 0\n";
static const char STAT_ODD_NAME[] =
	"77 (a) R 1 (b c) Z 4200 77 4200 0 -1 4227084 0 0 0 0 0 0 0 0 20 0 1 0 991 0 0 0 0 0 0 0\n";

static const char TCP[] = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
			  "retrnsmt   uid  timeout "
			  "inode                                                     \n"
			  "   0: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000 00:00000000 "
			  "00000000  1000        0 "
			  "111 1 0000000000000000 20 4 30 10 -1\n"
			  "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 "
			  "00000000  1000        0 "
			  "36817 1 0000000000000000 100 0 0 10 0\n"
			  "   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 "
			  "00000000     0        0 "
			  "777 1 0000000000000000 100 0 0 10 0\n";
static const char TCP6[] =
	"  sl  local_address                         remote_address                        st\n"
	"   0: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A "
	"00000000:00000000 00:00000000 00000000     0        0 40404 1 0000000000000000 100 0 0 10 "
	"0\n";

static void stat_gives_name_state_and_start(void **state)
{
	struct procfs_stat stat;

	(void)state;
	assert_true(procfs_read_stat(SPAN_LIT(STAT_PLAIN), &stat));
	assert_string_equal(stat.name, "python3");
	assert_int_equal(stat.state, 'S');
	assert_int_equal(stat.start_ticks, 8123456);
}

static void stat_survives_a_bracket_in_the_name(void **state)
{
	struct procfs_stat stat;

	(void)state;
	assert_true(procfs_read_stat(SPAN_LIT(STAT_ODD_NAME), &stat));
	assert_string_equal(stat.name, "a) R 1 (b c");
	assert_int_equal(stat.state, 'Z');
	assert_int_equal(stat.start_ticks, 991);
}

static void stat_refuses_every_shorter_text(void **state)
{
	size_t start_ends = span_find(SPAN_LIT(STAT_PLAIN), "8123456") + strlen("8123456");
	struct procfs_stat stat;

	(void)state;
	for (size_t len = 0; len <= start_ends - strlen("8123456"); len++) {
		assert_false(procfs_read_stat((struct span){ STAT_PLAIN, len }, &stat));
	}
	assert_true(procfs_read_stat((struct span){ STAT_PLAIN, start_ends }, &stat));
	assert_false(procfs_read_stat(SPAN_LIT("1 ) S ("), &stat));
}

static void stat_clips_a_long_name(void **state)
{
	char text[512];
	struct procfs_stat stat;

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "9 (", 3);
	static const char rest[] = ") S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 55 0";

	memcpy(text + sizeof(text) - sizeof(rest), rest, sizeof(rest) - 1);
	assert_true(procfs_read_stat((struct span){ text, sizeof(text) - 1 }, &stat));
	assert_int_equal(strlen(stat.name), PROC_NAME_MAX_BYTES - 1);
	assert_int_equal(stat.start_ticks, 55);
}

static void statm_gives_resident_pages(void **state)
{
	uint64_t pages = 0;

	(void)state;
	assert_true(procfs_read_resident(SPAN_LIT("4479 2412 1460 740 0 1053 0\n"), &pages));
	assert_int_equal(pages, 2412);
	assert_false(procfs_read_resident(SPAN_LIT("4479"), &pages));
	assert_false(procfs_read_resident(SPAN_LIT(""), &pages));
}

static void meminfo_matches_whole_names(void **state)
{
	struct span text = SPAN_LIT("MemTotal:       24619104 kB\nMemFree:   1 kB\n"
				    "MemAvailable:   23986308 kB\nSwapTotal: x kB\n");
	uint64_t kib = 0;

	(void)state;
	assert_true(procfs_read_field(text, "MemTotal:", &kib));
	assert_int_equal(kib, 24619104);
	assert_true(procfs_read_field(text, "MemAvailable:", &kib));
	assert_int_equal(kib, 23986308);
	assert_false(procfs_read_field(text, "MemTotal", &kib));
	assert_false(procfs_read_field(text, "SwapTotal:", &kib));
}

static void tcp_table_finds_listeners_only(void **state)
{
	uint64_t inode = 0;

	(void)state;
	assert_true(procfs_find_listener(SPAN_LIT(TCP), 8080, &inode));
	assert_int_equal(inode, 36817);
	assert_true(procfs_find_listener(SPAN_LIT(TCP), 22, &inode));
	assert_int_equal(inode, 777);
	assert_false(procfs_find_listener(SPAN_LIT(TCP), 53999, &inode));
	assert_true(procfs_find_listener(SPAN_LIT(TCP6), 8081, &inode));
	assert_int_equal(inode, 40404);
	assert_false(procfs_find_listener(SPAN_LIT(TCP6), 0, &inode));
}

static void cgroup_texts_are_read(void **state)
{
	struct span path = { NULL, 0 };
	uint64_t value = 7;

	(void)state;
	assert_true(procfs_read_cgroup(SPAN_LIT("1:name=systemd:/x\n0::/user.slice/a.scope\n"),
				       &path));
	assert_true(span_is(path, "/user.slice/a.scope"));
	assert_false(procfs_read_cgroup(SPAN_LIT("4:memory:/docker/abc\n"), &path));
	assert_false(procfs_read_limit(SPAN_LIT("max\n"), &value));
	assert_int_equal(value, 7);
	assert_true(procfs_read_limit(SPAN_LIT("536870912\n"), &value));
	assert_int_equal(value, 536870912);
	assert_true(procfs_read_field(SPAN_LIT("anon 5\nfile 6\ninactive_file 4096\n"),
				      "inactive_file", &value));
	assert_int_equal(value, 4096);
	assert_false(procfs_read_field(SPAN_LIT("anon 5\n"), "ano", &value));
}

#define ROUTES \
	"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" \
	"eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n" \
	"eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"

static void gateway_is_that_of_the_default_route(void **state)
{
	uint32_t address = 7;

	(void)state;
	assert_true(procfs_read_gateway(SPAN_LIT(ROUTES), &address));
	assert_int_equal(address, 0x010012ac);
	address = 7;
	assert_false(procfs_read_gateway(SPAN_LIT(""), &address));
	assert_false(procfs_read_gateway(SPAN_LIT("eth0\t00000000\t00000000\t0001\n"), &address));
	assert_false(procfs_read_gateway(SPAN_LIT("eth0\t00000000\t01001\t0003\n"), &address));
	assert_false(procfs_read_gateway(SPAN_LIT("eth0\t00000000\t0100zzAC\t0003\n"), &address));
	assert_int_equal(address, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_gives_name_state_and_start),
		cmocka_unit_test(stat_survives_a_bracket_in_the_name),
		cmocka_unit_test(stat_refuses_every_shorter_text),
		cmocka_unit_test(stat_clips_a_long_name),
		cmocka_unit_test(statm_gives_resident_pages),
		cmocka_unit_test(meminfo_matches_whole_names),
		cmocka_unit_test(tcp_table_finds_listeners_only),
		cmocka_unit_test(cgroup_texts_are_read),
		cmocka_unit_test(gateway_is_that_of_the_default_route),
	};
	return cmocka_run_group_tests_name("procfs", tests, NULL, NULL);
}
