/*
 * Build-time generator of the manual page and the bash completion. Both come from the text of
 * --help and from the table of options, so that they cannot contradict the program: arguments and
 * commands are parsed out of the help text, settings are read from the table.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "config/options.h"
#include "config/usage.h"

enum { MAX_WORD_BYTES = 64 };

/* An iterator over the arguments in --help: lines "  NAME...  meaning" before the settings. */
struct usage_lines {
    struct text help;
    char *next;
};

static void usage_lines_start(struct usage_lines *lines)
{
    *lines = (struct usage_lines){0};
    usage_append(&lines->help);
    lines->next = lines->help.failed ? NULL : lines->help.data;
}

/* *name and *meaning point into the help text. False after the last argument. */
static bool usage_lines_next(struct usage_lines *lines, char **name, char **meaning)
{
    char last_heading[MAX_WORD_BYTES];
    snprintf(last_heading, sizeof last_heading, "%s:", option_section_title(SECTION_BACKEND));
    for (char *line; (line = strsep(&lines->next, "\n")) != NULL;) {
        if (strcmp(line, last_heading) == 0)
            return false;
        char *gap = strncmp(line, "  ", 2) == 0 && line[2] != ' ' ? strstr(line + 2, "  ") : NULL;
        if (gap == NULL)
            continue;
        *gap = '\0';
        *name = line + 2;
        *meaning = gap + strspn(gap + 1, " ") + 1;
        return true;
    }
    return false;
}

/* Escapes text for roff. */
static void print_roff(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void print_argument(const char *name, const char *meaning)
{
    fputs(".TP\n.B ", stdout);
    print_roff(name);
    putchar('\n');
    print_roff(meaning);
    fputs(".\n", stdout);
}

static void print_setting(const struct option *option)
{
    struct text facts = {0};
    option_append_range(option, &facts);
    printf(".TP\n.B %s", option->name);
    if ((option->flags & OPTION_OR_FILE) != 0)
        printf("\\fR, \\fB%s_FILE", option->name);
    putchar('\n');
    print_roff(option->help);
    fputs(".\n(", stdout);
    print_roff(facts.data != NULL ? facts.data : "");
    fputs("; ", stdout);
    if ((option->flags & OPTION_REQUIRED) == 0)
        fputs("default: ", stdout);
    print_roff(option->fallback != NULL   ? option->fallback
               : option->computed != NULL ? option->computed
                                          : "required");
    fputs(")\n", stdout);
    text_fini(&facts);
}

static void print_settings(void)
{
    fputs(".SH ENVIRONMENT\nEach setting is an environment variable. Besides,\n.B "
          "MISSION_CONTROL_DEBUG_CORE=on\nallows debuggers and core dumps, which otherwise could "
          "show tokens to other processes of the same user.\n",
        stdout);
    for (unsigned section = 0; section < OPTION_SECTIONS; section++) {
        printf(".SS %s\n", option_section_title(section));
        for (size_t i = 0; i < CONFIG_OPTIONS; i++)
            if (config_options[i].section == section)
                print_setting(&config_options[i]);
    }
}

static void print_manual(const char *date)
{
    struct usage_lines lines;
    char *name, *meaning;
    printf(".TH MISSION-CONTROL-RUNTIME 8 \"%s\" \"mission-control-runtime %s\"\n", date,
        MISSION_CONTROL_VERSION);
    fputs(
        ".SH NAME\nmission-control-runtime \\- carries work from a Mission Control board to AI "
        "agents\n"
        ".SH SYNOPSIS\n.B mission-control-runtime\n"
        "[\\fB\\-\\-env\\-file\\fR \\fIFILE\\fR] [\\fIOPTION\\fR | \\fICOMMAND\\fR]\n"
        ".SH DESCRIPTION\n"
        "Carries the notifications of one account of a Mission Control board to AI agents at\n"
        "an OpenClaw gateway, and their replies back. Without a command it runs until SIGTERM or\n"
        "SIGINT, and notifies systemd when it is ready, alive and stopping. Only one runtime may\n"
        "serve an account at a time.\n"
        ".SH OPTIONS AND COMMANDS\n",
        stdout);
    usage_lines_start(&lines);
    while (usage_lines_next(&lines, &name, &meaning))
        print_argument(name, meaning);
    text_fini(&lines.help);
    print_settings();
    fputs(".SH FILES\n.TP\n.I /etc/mission-control/\nSettings and tokens read by the shipped "
          "systemd units.\n"
          ".SH EXIT STATUS\n"
          "0 success or orderly shutdown; 1 a command found a problem; 64 invalid arguments; 69 a\n"
          "required service or port is unavailable; 71 operating system error; 75 the state "
          "directory\n"
          "is in use; 78 invalid settings; 128 + n terminated by a second signal n.\n"
          ".SH SEE ALSO\n.BR systemd.service (5)\n",
        stdout);
}

static void print_completion(void)
{
    struct usage_lines lines;
    char *name, *meaning;
    fputs("# Completion of mission-control-runtime for bash.\n\n"
          "# Prints the ids in the directories of STATE_DIR that match, read by the program itself "
          "with\n"
          "# the settings of the line so far; nothing if it cannot read them.\n"
          "_mission_control_ids() {\n"
          "    local i settings=()\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        case ${COMP_WORDS[i]} in\n"
          "        --env-file) settings=(--env-file \"${COMP_WORDS[i + 1]}\") ;;\n"
          "        --env-file=*) settings=(\"${COMP_WORDS[i]}\") ;;\n"
          "        esac\n"
          "    done\n"
          "    \"${COMP_WORDS[0]}\" \"${settings[@]}\" spool list 2>/dev/null |\n"
          "        awk -v where=\"^($1)$\" '$1 ~ where { print $2 }'\n"
          "}\n\n"
          "_mission_control_runtime() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local words='",
        stdout);
    usage_lines_start(&lines);
    for (const char *gap = ""; usage_lines_next(&lines, &name, &meaning); gap = " ")
        printf("%s%.*s", gap, (int)strcspn(name, " ,"), name);
    text_fini(&lines.help);
    fputs("'\n"
          "    COMPREPLY=()\n"
          "    if [[ $before == --env-file ]]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
          "        return\n"
          "    fi\n"
          "    case \" ${COMP_WORDS[*]:0:COMP_CWORD} \" in\n"
          "    *' spool '*'show '*) words=$(_mission_control_ids 'spool|dead') ;;\n"
          "    *' spool '*'retry '* | *' spool '*'drop '*) words=$(_mission_control_ids dead) ;;\n"
          "    *' spool '*) words='list show retry drop --json --env-file' ;;\n"
          "    esac\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
          "}\n\n"
          "complete -o filenames -F _mission_control_runtime mission-control-runtime\n",
        stdout);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "man") == 0) {
        print_manual(argv[2]);
    } else if (argc == 2 && strcmp(argv[1], "completion") == 0) {
        print_completion();
    } else {
        fputs("usage: manual man DATE | manual completion\n", stderr);
        return EX_USAGE;
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? EX_OK : EX_IOERR;
}
