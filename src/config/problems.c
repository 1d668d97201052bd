#include "config/problems.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/text.h"

static bool append(struct problems *problems, struct problem problem)
{
    struct problem *items =
        realloc(problems->items, (problems->count + 1) * sizeof problems->items[0]);
    if (items == NULL)
        return false;
    problems->items = items;
    items[problems->count++] = problem;
    return true;
}

void problems_add(
    struct problems *problems, enum problem_severity severity, const char *format, ...)
{
    struct text line = {0};
    va_list arguments;
    va_start(arguments, format);
    text_vprintf(&line, format, arguments);
    va_end(arguments);
    char *text = text_take(&line);
    if (text == NULL || !append(problems, (struct problem){severity, text})) {
        free(text);
        problems->failed = true;
    }
}

bool problems_have_error(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        if (problems->items[i].severity == PROBLEM_ERROR)
            return true;
    return problems->failed;
}

void problems_write(const struct problems *problems, FILE *stream)
{
    for (size_t i = 0; i < problems->count; i++)
        fprintf(stream, "%s: %s\n",
            problems->items[i].severity == PROBLEM_ERROR ? "error" : "warning",
            problems->items[i].text);
    if (problems->failed)
        fprintf(stream, "error: no memory to say what is wrong with the settings\n");
}

void problems_fini(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        free(problems->items[i].text);
    free(problems->items);
    *problems = (struct problems){0};
}
