/* The web page of the board, built into the program. */
#ifndef SANDBOX_PAGE_H
#define SANDBOX_PAGE_H

#include "server.h"

/* Answers a request for one of the page's files, and 404 to every other path. */
void page_begin(struct exchange *exchange);

#endif
