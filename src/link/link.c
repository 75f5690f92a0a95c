/* SPDX-License-Identifier: MIT */
#include "link/link.h"

void link_send(struct link *link, const struct link_request *request, link_reply_fn *on_reply,
	       void *user)
{
	link->ops->send(link, request, on_reply, user);
}

void link_follow_logs(struct link *link, const char *const *ids, size_t count, uint32_t tail)
{
	link->ops->follow_logs(link, ids, count, tail);
}

const struct err *link_error(const struct link *link)
{
	return &link->down;
}

bool link_is_up(const struct link *link)
{
	return link->down.code == 0;
}

void link_close(struct link *link)
{
	if (link != NULL) {
		link->ops->close(link);
	}
}
