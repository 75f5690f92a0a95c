/* SPDX-License-Identifier: MIT */
#include "os/service.h"

enum service_manager service_manager(void)
{
	return SERVICE_LAUNCHD;
}
