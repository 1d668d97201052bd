/* The versions of the backend that the sandbox can play. */
#ifndef SANDBOX_VERSION_H
#define SANDBOX_VERSION_H

enum backend_version { BACKEND_V0, BACKEND_V1 };

#endif
