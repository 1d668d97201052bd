#include "serve/page.h"

/* The files, found from the folder that the compiler runs in: the top of the repository. */
__asm__(".pushsection .rodata\n"
        "status_page_html: .incbin \"src/serve/page/index.html\"\n"
        "status_page_html_end:\n"
        "status_page_script: .incbin \"src/serve/page/page.js\"\n"
        "status_page_script_end:\n"
        "status_page_style: .incbin \"src/serve/page/page.css\"\n"
        "status_page_style_end:\n"
        "status_page_icon: .incbin \"src/serve/page/icon.svg\"\n"
        "status_page_icon_end: .byte 0\n"
        ".popsection\n");

extern const char status_page_html[];
extern const char status_page_html_end[];
extern const char status_page_script[];
extern const char status_page_script_end[];
extern const char status_page_style[];
extern const char status_page_style_end[];
extern const char status_page_icon[];
extern const char status_page_icon_end[];

struct page_file {
    const char *content_type;
    const char *bytes;
    const char *end;
};

const struct page_file page_html = {
    "text/html; charset=utf-8", status_page_html, status_page_html_end};
const struct page_file page_script = {
    "text/javascript; charset=utf-8", status_page_script, status_page_script_end};
const struct page_file page_style = {
    "text/css; charset=utf-8", status_page_style, status_page_style_end};
const struct page_file page_icon = {"image/svg+xml", status_page_icon, status_page_icon_end};

void page_handle(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)request;
    const struct page_file *file = context;
    reply->content_type = file->content_type;
    reply->content_policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    text_append_bytes(&reply->body, file->bytes, (size_t)(file->end - file->bytes));
}
