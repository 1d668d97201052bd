/* The board's web page, embedded in the program. */
#ifndef SANDBOX_PAGE_H
#define SANDBOX_PAGE_H

#include "server.h"

/* Answers a request for one of the page's files; any other path gets a 404. */
void page_begin(struct exchange *exchange);

#endif
