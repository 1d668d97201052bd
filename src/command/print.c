#include "command/print.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static int refuse(const char *problem)
{
    fprintf(stderr, "mission-control-runtime: standard output cannot be written: %s\n", problem);
    return EX_OSERR;
}

int print_bytes(const char *bytes, size_t length_bytes)
{
    if (fwrite(bytes, 1, length_bytes, stdout) == length_bytes && fflush(stdout) == 0)
        return EX_OK;
    return refuse(strerror(errno));
}

int print_text(const struct text *text)
{
    if (text->failed)
        return refuse("no memory");
    return print_bytes(text->data != NULL ? text->data : "", text->length_bytes);
}
