#include "command/print.h"

#include <stdio.h>
#include <sysexits.h>

int print_bytes(const char *bytes, size_t length_bytes)
{
    if (fwrite(bytes, 1, length_bytes, stdout) == length_bytes && fflush(stdout) == 0)
        return EX_OK;
    fprintf(stderr, "mission-control-runtime: the answer cannot be written\n");
    return EX_OSERR;
}

int print_text(const struct text *text)
{
    if (!text->failed)
        return print_bytes(text->data != NULL ? text->data : "", text->length_bytes);
    fprintf(stderr, "mission-control-runtime: no memory for the answer\n");
    return EX_OSERR;
}
