#include "config/env_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"

/* Beyond these it is some other file, and saying more about it helps nobody. */
enum { ENTRIES_MAX = 4096, WRONG_LINES_MAX = 20, QUOTED_PATH_BYTES = 256 };

/* Where the reading is. at..end is what remains of the line. */
struct reader {
    struct env_file *file;
    struct problems *problems;
    const char *path; /* fit for printing */
    unsigned line;
    unsigned wrong_lines;
    const char *at;
    const char *end;
};

static bool is_blank(char character)
{
    return character == ' ' || character == '\t';
}

static bool begins_name(char character)
{
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           character == '_';
}

static bool continues_name(char character)
{
    return begins_name(character) || (character >= '0' && character <= '9');
}

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->end && is_blank(*reader->at))
        reader->at++;
}

/* Says what is wrong with the line. The content stays untold: it may be a secret gone astray. */
static void complain(struct reader *reader, const char *what)
{
    problems_add(
        reader->problems, PROBLEM_ERROR, "%s line %u: %s", reader->path, reader->line, what);
    reader->wrong_lines++;
}

static struct env_entry *find_entry(const struct env_file *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->entries[i].name, name) == 0)
            return &file->entries[i];
    return NULL;
}

/* The name at the reader, which then stands behind it; empty when there is none. */
static struct text_span take_name(struct reader *reader)
{
    const char *start = reader->at;
    if (reader->at < reader->end && begins_name(*reader->at))
        while (reader->at < reader->end && continues_name(*reader->at))
            reader->at++;
    return (struct text_span){start, (size_t)(reader->at - start)};
}

static void skip_export(struct reader *reader)
{
    static const char word[] = "export";
    size_t length = sizeof word - 1;
    if ((size_t)(reader->end - reader->at) > length && memcmp(reader->at, word, length) == 0 &&
        is_blank(reader->at[length])) {
        reader->at += length;
        skip_blanks(reader);
    }
}

static void take_plain(struct reader *reader, struct text *value)
{
    const char *start = reader->at;
    const char *end = start;
    /* The caller skipped blanks before the value, so a '#' right here follows one or the '='. */
    for (; end < reader->end; end++)
        if (*end == '#' && is_blank(end[-1]))
            break;
    while (end > start && is_blank(end[-1]))
        end--;
    text_append_bytes(value, start, (size_t)(end - start));
}

/* The character that a backslash and escaped stand for in double quotes, or 0. */
static char unescape(char escaped)
{
    static const char from[] = "ntr\"\\$";
    static const char to[] = "\n\t\r\"\\$";
    const char *found = escaped != '\0' ? strchr(from, escaped) : NULL;
    if (found == NULL)
        return '\0';
    return to[found - from];
}

/* The reader stands on the opening quote. Returns what is wrong, or NULL. */
static const char *take_quoted(struct reader *reader, struct text *value)
{
    char quote = *reader->at++;
    while (reader->at < reader->end && *reader->at != quote) {
        char character = *reader->at++;
        if (quote == '"' && character == '\\' && reader->at < reader->end &&
            unescape(*reader->at) != '\0')
            character = unescape(*reader->at++);
        text_append_bytes(value, &character, 1);
    }
    if (reader->at == reader->end)
        return "a quote is opened and not closed on the same line";
    reader->at++;
    const char *behind = reader->at;
    skip_blanks(reader);
    bool is_comment = reader->at < reader->end && *reader->at == '#' && reader->at > behind;
    return reader->at == reader->end || is_comment ? NULL
                                                   : "there is text behind the closing quote";
}

static int store(struct reader *reader, char *name, char *value)
{
    struct env_file *file = reader->file;
    struct env_entry *entry = find_entry(file, name);
    if (entry != NULL) {
        problems_add(reader->problems, PROBLEM_WARNING, "%s line %u: %s was set on line %u already",
            reader->path, reader->line, name, entry->line);
        free(entry->name);
        free(entry->value);
        *entry = (struct env_entry){name, value, reader->line};
        return 0;
    }
    struct env_entry *entries = realloc(file->entries, (file->count + 1) * sizeof file->entries[0]);
    if (entries == NULL)
        return ERROR_NO_MEMORY;
    file->entries = entries;
    entries[file->count++] = (struct env_entry){name, value, reader->line};
    return 0;
}

/* Stores name with the value at the reader, or with none when that is wrong. */
static int take_value(struct reader *reader, struct text_span name)
{
    struct text value = {0};
    const char *wrong = NULL;
    if (reader->at < reader->end && (*reader->at == '"' || *reader->at == '\''))
        wrong = take_quoted(reader, &value);
    else
        take_plain(reader, &value);
    char *value_copy = text_take(&value);
    char *name_copy = strndup(name.bytes, name.length_bytes);
    int result = ERROR_NO_MEMORY;
    if (wrong != NULL) {
        complain(reader, wrong);
        free(value_copy);
        value_copy = NULL;
    } else if (value_copy == NULL) {
        goto err_copies;
    }
    if (name_copy == NULL)
        goto err_copies;
    result = store(reader, name_copy, value_copy);
    if (result == 0)
        return 0;
err_copies:
    free(name_copy);
    free(value_copy);
    return result;
}

static int take_line(struct reader *reader)
{
    skip_blanks(reader);
    if (reader->at == reader->end || *reader->at == '#')
        return 0;
    skip_export(reader);
    struct text_span name = take_name(reader);
    skip_blanks(reader);
    if (name.length_bytes == 0 || reader->at == reader->end || *reader->at != '=') {
        complain(reader, "this is not NAME=value with a name of letters, digits and '_'");
        return 0;
    }
    reader->at++;
    skip_blanks(reader);
    return take_value(reader, name);
}

/* The next line without its end; the reader's at and end enclose it. False behind the last one. */
static bool next_line(struct reader *reader, const char **rest, const char *end)
{
    if (*rest == end)
        return false;
    const char *newline = memchr(*rest, '\n', (size_t)(end - *rest));
    const char *line_end = newline != NULL ? newline : end;
    reader->at = *rest;
    reader->end = line_end > *rest && line_end[-1] == '\r' ? line_end - 1 : line_end;
    reader->line++;
    *rest = newline != NULL ? newline + 1 : end;
    return true;
}

static int refuse(struct reader *reader, enum error_code code, const char *what)
{
    problems_add(reader->problems, PROBLEM_ERROR, "%s %s; is it a .env file?", reader->path, what);
    return code;
}

int env_file_parse(struct env_file *file, const char *name, const char *bytes, size_t length_bytes,
    struct problems *problems)
{
    static const char mark[] = "\xEF\xBB\xBF";
    char path[QUOTED_PATH_BYTES];
    text_quote(path, sizeof path, name, strlen(name));
    struct reader reader = {.file = file, .problems = problems, .path = path};
    if (length_bytes == 0)
        return 0;
    if (memchr(bytes, '\0', length_bytes) != NULL)
        return refuse(&reader, ERROR_INVALID, "contains NUL bytes");
    const char *rest = bytes;
    if (length_bytes >= 3 && memcmp(bytes, mark, 3) == 0)
        rest += 3;
    while (next_line(&reader, &rest, bytes + length_bytes)) {
        if (take_line(&reader) != 0)
            return ERROR_NO_MEMORY;
        if (reader.wrong_lines >= WRONG_LINES_MAX)
            return refuse(&reader, ERROR_INVALID, "has too many wrong lines");
        if (file->count >= ENTRIES_MAX)
            return refuse(&reader, ERROR_TOO_LARGE, "has too many lines");
    }
    return 0;
}

int env_file_load(struct env_file *file, const char *path, struct problems *problems)
{
    struct file_content content;
    struct error error;
    int result = file_read(path, ENV_FILE_BYTES_MAX, &content, &error);
    if (result != 0) {
        problems_add(
            problems, PROBLEM_ERROR, "%s; --env-file wants a readable .env file", error.text);
        return result;
    }
    file->world_readable = content.world_readable;
    result = env_file_parse(file, path, content.bytes, content.length_bytes, problems);
    free(content.bytes);
    return result;
}

const struct env_entry *env_file_find(const struct env_file *file, const char *name)
{
    return find_entry(file, name);
}

void env_file_fini(struct env_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        free(file->entries[i].name);
        free(file->entries[i].value);
    }
    free(file->entries);
    *file = (struct env_file){0};
}
