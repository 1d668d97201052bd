/*
 * The board's web page. Its files are embedded by the assembler, so the program runs from
 * anywhere; the Makefile names them as dependencies, which .incbin does not. The page gets
 * everything else from the control API.
 */
#include "page.h"

#include "answer.h"
#include "memory.h"

/* Paths are relative to the directory that the compiler runs in, the top of the repository. */
__asm__(".pushsection .rodata\n"
        "page_html: .incbin \"sandbox/page/index.html\"\n"
        "page_html_end:\n"
        "page_script: .incbin \"sandbox/page/app.js\"\n"
        "page_script_end:\n"
        "page_style: .incbin \"sandbox/page/app.css\"\n"
        "page_style_end: .byte 0\n"
        ".popsection\n");

extern const char page_html[];
extern const char page_html_end[];
extern const char page_script[];
extern const char page_script_end[];
extern const char page_style[];
extern const char page_style_end[];

static const struct {
    const char *path;
    const char *type;
    const char *bytes;
    const char *end;
} files[] = {
    {"/", "text/html; charset=utf-8", page_html, page_html_end},
    {"/app.js", "text/javascript; charset=utf-8", page_script, page_script_end},
    {"/app.css", "text/css; charset=utf-8", page_style, page_style_end},
};

static void add_page_headers(struct exchange *exchange)
{
    exchange_add_header(exchange, "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src "
        "data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    exchange_add_header(exchange, "X-Content-Type-Options", "nosniff");
    exchange_add_header(exchange, "Referrer-Policy", "no-referrer");
    exchange_add_header(exchange, "Cache-Control", "no-cache");
}

void page_begin(struct exchange *exchange)
{
    const char *path = exchange_path(exchange);
    const char *method = exchange_method(exchange);
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (strcmp(files[i].path, path) != 0)
            continue;
        if (!reads) {
            exchange_add_header(exchange, "Allow", "GET, HEAD");
            answer_plain(exchange, 405, "Method Not Allowed");
            return;
        }
        size_t length_bytes = (size_t)(files[i].end - files[i].bytes);
        add_page_headers(exchange);
        exchange_add_header(exchange, "Content-Type", files[i].type);
        exchange_answer(
            exchange, 200, memory_copy_bytes(files[i].bytes, length_bytes), length_bytes);
        return;
    }
    answer_plain(exchange, 404, "Not Found");
}
