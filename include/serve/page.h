/* The page for people: the files of src/serve/page, which are part of the program. */
#ifndef SERVE_PAGE_H
#define SERVE_PAGE_H

#include "serve/http_server.h"

/* The handler of each of their paths; needs no context. */
http_server_handler page_handle;

#endif
