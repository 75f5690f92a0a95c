/* SPDX-License-Identifier: MIT */
/*
 * cmocka with the headers that it wants before itself. A unit test is a file test_X.c of this
 * folder: static test functions named in words, one table, and
 *
 *     int main(void) { return cmocka_run_group_tests_name("X", tests, NULL, NULL); }
 *
 * Other .c files of the folder are helpers that are linked into every test.
 */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
