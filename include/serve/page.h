/* The page for people: the files of src/serve/page, which are part of the program. */
#ifndef SERVE_PAGE_H
#define SERVE_PAGE_H

#include "serve/http_server.h"

/* One of the files, for the context of the route whose path it has; constant. */
struct page_file;
extern const struct page_file page_html;
extern const struct page_file page_script;
extern const struct page_file page_style;
extern const struct page_file page_icon;

/* Answers with the file that is the route's context, which it only reads. Does not block. */
http_server_handler page_handle;

#endif
