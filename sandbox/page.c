/*
 * The board's web page. Its files are embedded by the assembler, so the program runs from
 * anywhere; the Makefile names them as dependencies, which .incbin does not. The page gets
 * everything else from the control API.
 */
#include "page.h"

#include "answer.h"
#include "memory.h"

/*
 * Makes the file's bytes name and name_end. The path is relative to the directory that the compiler
 * runs in, the top of the repository.
 */
#define EMBED(name, file)                                                                \
    __asm__(".pushsection .rodata\n" #name ": .incbin \"sandbox/page/" file "\"\n" #name \
            "_end: .byte 0\n.popsection\n");                                             \
    extern const char(name)[];                                                           \
    extern const char name##_end[]

EMBED(page_html, "index.html");
EMBED(page_style, "app.css");
EMBED(page_script, "app.js");
EMBED(page_agents_script, "agents.js");
EMBED(page_text_script, "text.js");
EMBED(page_tour_script, "tour.js");

static const char script_type[] = "text/javascript; charset=utf-8";

static const struct {
    const char *path;
    const char *type;
    const char *bytes;
    const char *end;
} files[] = {
    {"/", "text/html; charset=utf-8", page_html, page_html_end},
    {"/app.css", "text/css; charset=utf-8", page_style, page_style_end},
    {"/app.js", script_type, page_script, page_script_end},
    {"/agents.js", script_type, page_agents_script, page_agents_script_end},
    {"/text.js", script_type, page_text_script, page_text_script_end},
    {"/tour.js", script_type, page_tour_script, page_tour_script_end},
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
