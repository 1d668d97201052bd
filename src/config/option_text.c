#include <inttypes.h>

#include "config/options.h"

static void append_choices(const struct option *option, struct text *text)
{
    for (const char *const *choice = option->choices; *choice != NULL; choice++)
        text_printf(text, "%s%s", choice == option->choices ? "" : ", ", *choice);
}

void option_append_range(const struct option *option, struct text *text)
{
    switch (option->kind) {
    case OPTION_TEXT:
        text_append(text, (option->flags & OPTION_SECRET) != 0 ? "secret" : "text");
        return;
    case OPTION_URL:
        text_append(text, "http or https URL");
        return;
    case OPTION_PATH:
        text_append(text, "path");
        return;
    case OPTION_NUMBER:
        text_printf(text, "%" PRId64 "..%" PRId64, option->least, option->most);
        return;
    case OPTION_DURATION:
        text_printf(text, "%" PRId64 "..%" PRId64 " ms", option->least, option->most);
        return;
    case OPTION_CHOICE:
        append_choices(option, text);
        return;
    }
}

static const char *default_words(const struct option *option)
{
    if (option->fallback != NULL)
        return option->fallback;
    return option->computed != NULL ? option->computed : "required";
}

static void append_markdown_row(const struct option *option, struct text *text)
{
    const char *tick = option->fallback != NULL ? "`" : "";
    text_printf(text, "| `%s`", option->name);
    if ((option->flags & OPTION_OR_FILE) != 0)
        text_printf(text, ", `%s_FILE`", option->name);
    text_printf(text, " | %s%s%s | ", tick, default_words(option), tick);
    option_append_range(option, text);
    text_printf(text, " | %s |\n", option->help);
}

void option_append_markdown(enum option_section section, struct text *text)
{
    text_append(text, "| variable | default | values | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (config_options[i].section == section)
            append_markdown_row(&config_options[i], text);
}

/* Name=value as one would write it: the default, else an example, else nothing. */
static void append_assignment(const struct option *option, struct text *text)
{
    const char *value = option->fallback != NULL ? option->fallback : option->example;
    text_printf(text, "%s=%s", option->name, value != NULL ? value : "");
}

/* "(10..86400000 ms; default: 5000)" */
static void append_facts(const struct option *option, struct text *text)
{
    text_append(text, "(");
    option_append_range(option, text);
    bool is_required = (option->flags & OPTION_REQUIRED) != 0;
    text_printf(text, "; %s%s)", is_required ? "" : "default: ", default_words(option));
}

void option_append_env_example(const struct option *option, struct text *text)
{
    text_printf(text, "# %s ", option->help);
    append_facts(option, text);
    text_append(text, "\n");
    /* Those that somebody has to look at stand there as assignments (contract ops-v0, section 3).
     */
    bool given = option == &config_options[OPTION_HEALTH_PORT] ||
                 option == &config_options[OPTION_DELIVERY_INTERVAL] ||
                 option == &config_options[OPTION_HEALTH_CHECK_INTERVAL];
    if ((option->flags & OPTION_REQUIRED) != 0) {
        text_printf(text, "%s=\n", option->name);
        return;
    }
    text_append(text, given ? "" : "# ");
    append_assignment(option, text);
    text_append(text, "\n");
}

void option_append_help(const struct option *option, struct text *text)
{
    text_printf(text, "  %s", option->name);
    if ((option->flags & OPTION_OR_FILE) != 0)
        text_printf(text, ", %s_FILE", option->name);
    text_append(text, " ");
    append_facts(option, text);
    text_printf(text, "\n      %s\n", option->help);
}
