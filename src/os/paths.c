/* SPDX-License-Identifier: MIT */
#include "os/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

static int place(struct paths *p, struct err *err)
{
	const char *own = getenv("RONZAL_HOME");
	const char *home = getenv("HOME");

	if (own != NULL && own[0] != '\0') {
		if (own[0] != '/') {
			return err_set(err, ERR_INVALID,
				       "RONZAL_HOME is '%s': set it to an absolute path", own);
		}
		p->state = fs_join(own, "state");
		p->run = fs_join(own, "run");
		p->logs = fs_join(own, "logs");
		p->config = fs_join(own, "config");
		return 0;
	}
	if (home == NULL || home[0] != '/') {
		return err_set(err, ERR_INVALID,
			       "HOME does not name a folder: set HOME, or RONZAL_HOME");
	}
	paths_below_home(p, home);
	return 0;
}

static int make_private(const char *path, struct err *err)
{
	struct stat st;
	int status = fs_mkdirs(path, 0700, err);

	if (status != 0) {
		err_prefix(err, "RONZAL_HOME can choose another place");
		return status;
	}
	if (stat(path, &st) != 0) {
		return err_set_os(err, -errno, "looking at %s", path);
	}
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		return err_set(err, ERR_DENIED,
			       "the folder %s belongs to another user: set RONZAL_HOME", path);
	}
	if ((st.st_mode & 077) != 0 && st.st_uid == geteuid() && chmod(path, 0700) != 0) {
		return err_set_os(err, -errno, "making the folder %s private", path);
	}
	return 0;
}

int paths_init(struct paths *p, struct err *err)
{
	size_t run_max = PATHS_SOCKET_MAX_BYTES - PATHS_SOCKET_NAME_MAX_BYTES - 1;
	int status;

	*p = (struct paths){ .state = NULL };
	status = place(p, err);
	if (status == 0 && strlen(p->run) > run_max) {
		status = err_set(err, ERR_INVALID,
				 "the folder %s is too long for sockets (%zu of %zu bytes): set "
				 "RONZAL_HOME to a shorter one",
				 p->run, strlen(p->run), run_max);
	}
	const char *const folders[] = { p->state, p->run, p->logs, p->config };

	for (size_t i = 0; status == 0 && i < ARRAY_LEN(folders); i++) {
		status = make_private(folders[i], err);
	}
	if (status != 0) {
		paths_finish(p);
	}
	return status;
}

void paths_finish(struct paths *p)
{
	if (p != NULL) {
		free(p->state);
		free(p->run);
		free(p->logs);
		free(p->config);
		*p = (struct paths){ .state = NULL };
	}
}
