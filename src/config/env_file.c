/*
 * A line-by-line parser for .env files; the header has the grammar, a subset of what other readers
 * of such files accept. Other programs read the same file and have a grammar of their own, so a
 * line is only judged if it is about one of our settings: it assigns one, or would if it were
 * valid. Any other invalid line is skipped without a word. A quoted value of another program that
 * spans lines is such a sequence of lines: each is judged on its own.
 *
 * Parsing continues after invalid lines, so that all of them are reported at once. The name of an
 * invalid value is kept, with a NULL value, so that the setting is not also reported as missing.
 *
 * The content of a line is never reported: it may be a secret.
 */
#include "config/env_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "config/options.h"

/* Beyond these it is probably not a .env file, and further reports would not help. */
enum { MAX_ENTRIES = 4096, MAX_WRONG_LINES = 20, QUOTED_PATH_BYTES = 256 };

/* The parser's position. at..end is the rest of the current line. */
struct env_reader {
    struct env_file *file;
    struct problems *problems;
    const char *path; /* quoted for display */
    unsigned line;
    unsigned wrong_lines;
    unsigned skipped_lines; /* invalid, but about no setting of ours */
    const char *at;
    const char *end;
};

static bool env_is_blank(char character)
{
    return character == ' ' || character == '\t';
}

static bool env_starts_name(char character)
{
    return text_is_letter(character) || character == '_';
}

static void env_skip_blanks(struct env_reader *reader)
{
    while (reader->at < reader->end && env_is_blank(*reader->at))
        reader->at++;
}

/* Reports the current line, without its content. */
static void env_report_line(struct env_reader *reader, const char *what)
{
    problems_add(
        reader->problems, PROBLEM_ERROR, "%s line %u: %s", reader->path, reader->line, what);
    reader->wrong_lines++;
}

static struct env_entry *env_find_entry(const struct env_file *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->entries[i].name, name) == 0)
            return &file->entries[i];
    return NULL;
}

/* Consumes the name at the reader; empty if there is none. */
static struct text_span env_take_name(struct env_reader *reader)
{
    const char *start = reader->at;
    if (reader->at < reader->end && env_starts_name(*reader->at))
        while (reader->at < reader->end &&
               (env_starts_name(*reader->at) || text_is_digit(*reader->at)))
            reader->at++;
    return (struct text_span){start, (size_t)(reader->at - start)};
}

static void env_skip_export(struct env_reader *reader)
{
    static const char word[] = "export";
    size_t length = sizeof word - 1;
    if ((size_t)(reader->end - reader->at) > length && memcmp(reader->at, word, length) == 0 &&
        env_is_blank(reader->at[length])) {
        reader->at += length;
        env_skip_blanks(reader);
    }
}

static void env_take_unquoted(struct env_reader *reader, struct text *value)
{
    const char *start = reader->at;
    const char *end = start;
    /* A '#' at the start is preceded by the '=' or by a blank that the caller skipped. */
    for (; end < reader->end; end++)
        if (*end == '#' && env_is_blank(end[-1]))
            break;
    while (end > start && env_is_blank(end[-1]))
        end--;
    text_append_bytes(value, start, (size_t)(end - start));
}

/* The character for which a backslash and escaped stand in double quotes, or 0. */
static char env_unescape(char escaped)
{
    static const char from[] = "ntr\"\\$";
    static const char to[] = "\n\t\r\"\\$";
    const char *found = escaped != '\0' ? strchr(from, escaped) : NULL;
    if (found == NULL)
        return '\0';
    return to[found - from];
}

/* Called at the opening quote. Returns what is wrong, or NULL. */
static const char *env_take_quoted(struct env_reader *reader, struct text *value)
{
    char quote = *reader->at++;
    while (reader->at < reader->end && *reader->at != quote) {
        char character = *reader->at++;
        if (quote == '"' && character == '\\' && reader->at < reader->end &&
            env_unescape(*reader->at) != '\0')
            character = env_unescape(*reader->at++);
        text_append_bytes(value, &character, 1);
    }
    if (reader->at == reader->end)
        return "unterminated quote (it must end on the same line)";
    reader->at++;
    const char *after_quote = reader->at;
    env_skip_blanks(reader);
    bool is_comment = reader->at < reader->end && *reader->at == '#' && reader->at > after_quote;
    return reader->at == reader->end || is_comment ? NULL
                                                   : "unexpected text after the closing quote";
}

/* Takes ownership of name and value on success. */
static int env_store(struct env_reader *reader, char *name, char *value)
{
    struct env_file *file = reader->file;
    struct env_entry *entry = env_find_entry(file, name);
    if (entry != NULL) {
        if (option_owns_name(name, strlen(name)))
            problems_add(reader->problems, PROBLEM_WARNING,
                "%s line %u: %s was already set on line %u", reader->path, reader->line, name,
                entry->line);
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

/* Stores name with the value at the reader, or with NULL if that is invalid. */
static int env_take_value(struct env_reader *reader, struct text_span name)
{
    struct text value = {0};
    const char *wrong = NULL;
    if (reader->at < reader->end && (*reader->at == '"' || *reader->at == '\''))
        wrong = env_take_quoted(reader, &value);
    else
        env_take_unquoted(reader, &value);
    char *value_copy = text_take(&value);
    char *name_copy = strndup(name.bytes, name.length_bytes);
    int result = ERROR_NO_MEMORY;
    if (wrong != NULL) {
        if (option_owns_name(name.bytes, name.length_bytes))
            env_report_line(reader, wrong);
        free(value_copy);
        value_copy = NULL;
    } else if (value_copy == NULL) {
        goto err_copies;
    }
    if (name_copy == NULL)
        goto err_copies;
    result = env_store(reader, name_copy, value_copy);
    if (result == 0)
        return 0;
err_copies:
    free(name_copy);
    free(value_copy);
    return result;
}

/* Part of a name in any program's sense: "my-var" and "spring.x" are names, too. */
static bool env_continues_name(char character)
{
    return env_starts_name(character) || text_is_digit(character) || character == '-' ||
           character == '.';
}

/*
 * Whether a line that is not NAME=value is about one of our settings: its name is the first word
 * ("NAME: value", "NAME"), or the word before the first '=' ("set NAME=value", or NAME after a
 * blank that is not ASCII). A comment of another style (';') is not.
 */
static bool env_line_concerns_us(const char *line, const char *end)
{
    if (*line == ';')
        return false;
    const char *word_end = line;
    while (word_end < end && env_continues_name(*word_end))
        word_end++;
    if (option_owns_name(line, (size_t)(word_end - line)))
        return true;
    const char *stop = memchr(line, '=', (size_t)(end - line));
    if (stop == NULL)
        return false;
    while (stop > line && env_is_blank(stop[-1]))
        stop--;
    const char *start = stop;
    while (start > line && env_continues_name(start[-1]))
        start--;
    return option_owns_name(start, (size_t)(stop - start));
}

static int env_take_line(struct env_reader *reader)
{
    env_skip_blanks(reader);
    if (reader->at == reader->end || *reader->at == '#')
        return 0;
    const char *line = reader->at;
    env_skip_export(reader);
    struct text_span name = env_take_name(reader);
    env_skip_blanks(reader);
    if (name.length_bytes == 0 || reader->at == reader->end || *reader->at != '=') {
        if (env_line_concerns_us(line, reader->end))
            env_report_line(reader, "expected NAME=value, with a name of letters, digits and '_'");
        else
            reader->skipped_lines++;
        return 0;
    }
    reader->at++;
    env_skip_blanks(reader);
    return env_take_value(reader, name);
}

/* Moves the reader to the next line, without its end. False after the last one. */
static bool env_next_line(struct env_reader *reader, const char **rest, const char *end)
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

static int env_reject_file(struct env_reader *reader, enum error_code code, const char *what)
{
    problems_add(reader->problems, PROBLEM_ERROR, "%s %s; is it a .env file?", reader->path, what);
    return code;
}

/* Whether the bytes begin with the byte order mark of UTF-16, as some editors write it. */
static bool env_is_utf16(const char *bytes, size_t length_bytes)
{
    return length_bytes >= 2 &&
           (memcmp(bytes, "\xFF\xFE", 2) == 0 || memcmp(bytes, "\xFE\xFF", 2) == 0);
}

int env_file_parse(struct env_file *file, const char *name, const char *bytes, size_t length_bytes,
    struct problems *problems)
{
    static const char mark[] = "\xEF\xBB\xBF";
    char path[QUOTED_PATH_BYTES];
    text_quote(path, sizeof path, name, strlen(name));
    struct env_reader reader = {.file = file, .problems = problems, .path = path};
    if (length_bytes == 0)
        return 0;
    if (env_is_utf16(bytes, length_bytes))
        return env_reject_file(&reader, ERROR_INVALID, "is UTF-16 text, not UTF-8");
    if (memchr(bytes, '\0', length_bytes) != NULL)
        return env_reject_file(&reader, ERROR_INVALID, "contains NUL bytes");
    const char *rest = bytes;
    if (length_bytes >= 3 && memcmp(bytes, mark, 3) == 0)
        rest += 3;
    while (env_next_line(&reader, &rest, bytes + length_bytes)) {
        if (env_take_line(&reader) != 0)
            return ERROR_NO_MEMORY;
        if (reader.wrong_lines >= MAX_WRONG_LINES)
            return env_reject_file(&reader, ERROR_INVALID, "has too many invalid lines");
        if (file->count >= MAX_ENTRIES)
            return env_reject_file(&reader, ERROR_TOO_LARGE, "has too many lines");
    }
    if (file->count == 0 && reader.wrong_lines == 0 && reader.skipped_lines > 0)
        return env_reject_file(&reader, ERROR_INVALID, "has no line of the form NAME=value");
    return 0;
}

int env_file_load(struct env_file *file, const char *path, struct problems *problems)
{
    struct text content;
    struct error error;
    int result = file_read(path, ENV_FILE_BYTES_MAX, &content, &file->world_readable, &error);
    if (result != 0) {
        problems_add(problems, problem_of_code(result), "%s; --env-file needs a readable .env file",
            error.text);
        return result;
    }
    result = env_file_parse(file, path, content.data, content.length_bytes, problems);
    text_fini(&content);
    return result;
}

const struct env_entry *env_file_find(const struct env_file *file, const char *name)
{
    return env_find_entry(file, name);
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
