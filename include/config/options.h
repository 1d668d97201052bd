/* The table of options: what each setting is called, may be, and is when nobody sets it. */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "config/config.h"

/* The kind decides how a value is checked and the type of its field in struct config. */
enum option_kind {
    OPTION_TEXT,     /* char *: anything but control characters */
    OPTION_URL,      /* char *: config/url.h, '/' at the end removed */
    OPTION_PATH,     /* char *: '/' at the end removed */
    OPTION_NUMBER,   /* unsigned: least..most */
    OPTION_DURATION, /* int64_t: least..most milliseconds */
    OPTION_CHOICE,   /* an enum: position in choices, read in any case */
};

enum option_flag {
    OPTION_REQUIRED = 1 << 0,
    OPTION_SECRET = 1 << 1,   /* never printed */
    OPTION_OR_FILE = 1 << 2,  /* NAME_FILE may name a file that holds the value */
    OPTION_UNQUOTED = 1 << 3, /* loses one pair of quotes around it, and blanks outside and in */
    OPTION_RAW = 1 << 4,      /* keeps blanks around it; else they go */
    OPTION_MAY_BE_EMPTY = 1 << 5, /* an empty value is a value, not an absence */
};

enum option_section {
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
    enum option_section section;
    enum option_kind kind;
    unsigned flags;             /* enum option_flag */
    size_t offset;              /* of the field in struct config */
    int64_t min, max;           /* of a number or duration */
    const char *const *choices; /* of a choice; ended by NULL */
    const char *fallback;       /* the default as one would write it, or NULL */
    const char *computed;       /* words for a default that depends on something, or NULL */
    const char *example;        /* of a value that has no default, or NULL */
    const char *help;           /* one line, without a full stop */
};

/* By enum option_id. */
extern const struct option config_options[CONFIG_OPTIONS];

/* The row called name, or NULL. */
const struct option *option_find(const char *name);

/* The heading of a section. */
const char *option_section_title(enum option_section section);

/* What is allowed, e.g. "10..86400000 ms". */
void option_append_range(const struct option *option, struct text *text);

/* The section's table in Markdown as docs/configuration.md has it. */
void option_append_markdown(enum option_section section, struct text *text);

/* The option's entry in .env.example: a comment and the assignment, itself a comment if unneeded.
 */
void option_append_env_example(const struct option *option, struct text *text);

/* The option's entry in --help. */
void option_append_help(const struct option *option, struct text *text);

#endif
