/* The table of options: the name, kind, range, default and help text of every setting. */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "config/config.h"

enum {
    OPTION_REQUIRED = 1 << 0,
    OPTION_SECRET = 1 << 1,  /* never printed */
    OPTION_OR_FILE = 1 << 2, /* NAME_FILE may name a file that contains the value */
    OPTION_UNQUOTED =
        1 << 3, /* one pair of surrounding quotes is removed, with blanks around and in it */
    OPTION_RAW = 1 << 4,          /* surrounding blanks are kept; otherwise they are removed */
    OPTION_MAY_BE_EMPTY = 1 << 5, /* an empty value counts as set */
};

enum {
    SECTION_BACKEND,
    SECTION_GATEWAY,
    SECTION_DELIVERY,
    SECTION_STATUS,
    SECTION_HEALTH,
    SECTION_PROCESS,
    SECTION_MACHINE,
    OPTION_SECTIONS,
};

struct option {
    const char *name;
    unsigned section; /* SECTION_BACKEND or the like */
    /* Determines how a value is checked and the type of its field in struct config. */
    enum {
        OPTION_TEXT,     /* char *: anything but control characters */
        OPTION_URL,      /* char *: see config/url.h; '/' at the end removed */
        OPTION_PATH,     /* char *: '/' at the end removed */
        OPTION_NUMBER,   /* unsigned: min..max */
        OPTION_DURATION, /* int64_t: min..max milliseconds */
        OPTION_CHOICE,   /* unsigned or an enum: the index in choices, case-insensitive */
        OPTION_BOOLEAN,  /* bool: true, yes, on or 1, or their opposites, case-insensitive */
    } kind;
    unsigned flags;             /* of OPTION_REQUIRED and the like */
    size_t offset;              /* of the field in struct config */
    int64_t min, max;           /* of a number or duration */
    const char *const *choices; /* of a choice; NULL-terminated */
    const char *fallback;       /* the default as a user would write it, or NULL */
    const char *computed;       /* describes a default that depends on other things, or NULL */
    const char *example;        /* of a value without a fixed default, or NULL */
    const char *help;           /* one line, without a full stop */
};

/* Indexed by enum option_id. */
extern const struct option config_options[CONFIG_OPTIONS];

/* The row called name, or NULL. */
const struct option *option_find(const char *name);

/* Whether it is the name of a setting, or NAME_FILE of one that may be read from a file. Pure. */
bool option_owns_name(const char *name, size_t length_bytes);

/* The heading of a section (SECTION_BACKEND or the like). */
const char *option_section_title(unsigned section);

/* Appends the allowed values, e.g. "10..86400000 ms". */
void option_append_range(const struct option *option, struct text *text);

/* Appends the section's table in Markdown, as in docs/configuration.md. */
void option_append_markdown(unsigned section, struct text *text);

/* Appends the entry in .env.example: a comment and an assignment, commented out if optional. */
void option_append_env_example(const struct option *option, struct text *text);

/* Appends the entry in --help. */
void option_append_help(const struct option *option, struct text *text);

#endif
