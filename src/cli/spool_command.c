/*
 * The commands by which an operator decides: spool, about what the state directory holds, and hold
 * and release, about whether agents are asked.
 *
 * spool list and show (in spool_list.c) only read and work beside a running runtime. retry and drop
 * (delivery/dead_letter.h) take the directory's lock for as long as they run. A runtime that has it
 * keeps the records in memory as well, so that one is asked to do it instead, over its control
 * socket (base/control_socket.h).
 *
 * Root runs these with the rights of the directory's owner only: what that user may have put there,
 * such as a symbolic link, must not make root read or write elsewhere, and a file that root made
 * would be in the runtime's way.
 *
 * Ids are processed one by one, each reported before the next is touched: a failed id does not hold
 * up the others, but once output cannot be written nothing more is changed, because the operator
 * would not see it.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "delivery/dead_letter.h"
#include "spool/spool.h"

enum { QUOTED_ID_BYTES = 80 };

/* A subcommand either reads or changes; read is NULL for one that changes. */
static const struct subcommand {
    const char *name;
    int (*read)(struct spool *spool, const struct config *config, const struct arguments *arguments,
        struct text *text, struct error *error);
    enum dead_letter_change change;
} subcommands[] = {
    {"list", spool_list_records, 0},
    {"show", spool_show_record, 0},
    {"retry", NULL, DEAD_LETTER_RETRY},
    {"drop", NULL, DEAD_LETTER_DROP},
};

/* How the changes of one command are made. */
struct changer {
    const struct subcommand *subcommand;
    struct spool *spool;
    const struct config *config;
    bool by_runtime; /* one holds the directory, and is asked */
};

/* The first operand is one of them, or the arguments would have been refused. */
static const struct subcommand *find_subcommand(const char *name)
{
    size_t i = 0;
    while (i < sizeof subcommands / sizeof subcommands[0] - 1 &&
           strcmp(name, subcommands[i].name) != 0)
        i++;
    return &subcommands[i];
}

static int spool_exit_status(enum error_code code)
{
    switch (code) {
    case ERROR_CLOSED:
        return EXIT_FAILURE;
    case ERROR_LOCKED:
        return EX_TEMPFAIL;
    case ERROR_INVALID:
        return EX_CONFIG;
    default:
        return EX_OSERR;
    }
}

static int report_spool_error(const struct error *error)
{
    fprintf(stderr, "mission-control-runtime: spool: %s\n", error->text);
    return spool_exit_status(error->code);
}

/* Ids become file names, so one that is not valid is refused before it gets near a path. */
static int check_id(const char *id, struct error *error)
{
    char quoted[QUOTED_ID_BYTES];
    if (id_is_valid(id))
        return 0;
    text_quote(quoted, sizeof quoted, id, strlen(id));
    return error_set(error, ERROR_CLOSED, "\"%s\" is not a notification id", quoted);
}

static int read_spool(const struct subcommand *subcommand, struct spool *spool,
    const struct config *config, const struct arguments *arguments)
{
    struct text text = {0};
    struct error error;
    int result = arguments->operand_count > 1 ? check_id(arguments->operands[1], &error) : 0;
    if (result == 0)
        result = subcommand->read(spool, config, arguments, &text, &error);
    int status = result == 0 ? print_text(&text) : report_spool_error(&error);
    text_fini(&text);
    return status;
}

/* Sends a request for the id to the runtime that holds the directory. */
static int ask_for_change(
    const struct changer *changer, const char *id, char message[static ERROR_TEXT_BYTES])
{
    char request[ID_BYTES + 16];
    enum control_result result;
    struct error error;
    int code = check_id(id, &error);
    snprintf(request, sizeof request, "%s %s", changer->subcommand->name, id);
    if (code == 0)
        code = spool_ask_runtime(
            changer->spool, changer->config->state_dir, request, &result, message, &error);
    if (code == 0)
        return result == CONTROL_DONE ? 0 : ERROR_CLOSED;
    if (code == ERROR_TIMEOUT || code == ERROR_REMOTE)
        error_wrap(&error, "%s: it is not known whether this was done; see spool list", id);
    text_copy(message, ERROR_TEXT_BYTES, error.text);
    return code;
}

/* Retries or drops one id; message receives the outcome or the error. */
static int change_letter_of(
    const struct changer *changer, const char *id, char message[static ERROR_TEXT_BYTES])
{
    const struct dead_letter_parts parts = {.spool = changer->spool};
    if (changer->by_runtime)
        return ask_for_change(changer, id, message);
    return dead_letter_change(&parts, changer->subcommand->change, id, message);
}

/* Prints at once, or adds to answers if --json; false when that fails. */
static bool report_change(json_t *answers, const char *id, bool done, const char *message)
{
    char quoted[QUOTED_ID_BYTES];
    text_quote(quoted, sizeof quoted, id, strlen(id));
    if (answers != NULL)
        return json_array_append_new(answers,
                   json_pack("{s:s, s:b, s:s}", "id", quoted, "done", done, "text", message)) == 0;
    fprintf(done ? stdout : stderr, "%s\n", message);
    return !done || print_bytes("", 0) == EX_OK;
}

static int change_letters(
    const struct changer *changer, const struct arguments *arguments, json_t *answers)
{
    int status = EX_OK;
    for (unsigned i = 1; i < arguments->operand_count; i++) {
        char message[ERROR_TEXT_BYTES];
        bool done = change_letter_of(changer, arguments->operands[i], message) == 0;
        status = done ? status : EXIT_FAILURE;
        if (!report_change(answers, arguments->operands[i], done, message))
            return EX_OSERR;
    }
    return status;
}

/* Takes the reference. */
static int print_answers(json_t *answers)
{
    struct text text = {0};
    text_append_json(&text, answers, 0);
    int status = print_text(&text);
    text_fini(&text);
    return status;
}

/* Whether a runtime holds the directory and can be asked; *error, as the lock left it, if not. */
static bool runtime_can_be_asked(const struct changer *changer, struct error *error)
{
    char answer[CONTROL_ANSWER_BYTES];
    enum control_result result;
    struct error unused;
    if (error->code != ERROR_LOCKED)
        return false;
    if (spool_ask_runtime(
            changer->spool, changer->config->state_dir, "ping", &result, answer, &unused) == 0)
        return true;
    error_wrap(error, "%s: the runtime cannot be asked (%s), so it has to be stopped first",
        changer->subcommand->name, unused.text);
    return false;
}

static int change_spool(const struct subcommand *subcommand, struct spool *spool,
    const struct config *config, const struct arguments *arguments)
{
    struct changer changer = {.subcommand = subcommand, .spool = spool, .config = config};
    struct state_dir dir;
    struct error error;
    if (spool_lock(spool, &dir, config->state_dir, &error) != 0) {
        changer.by_runtime = runtime_can_be_asked(&changer, &error);
        if (!changer.by_runtime)
            return report_spool_error(&error);
    }
    json_t *answers = arguments->json ? json_array() : NULL;
    int status = change_letters(&changer, arguments, answers);
    state_dir_close(&dir);
    int printed = answers != NULL ? print_answers(answers) : EX_OK;
    return printed != EX_OK ? printed : status;
}

int command_spool(const struct config *config, const struct arguments *arguments)
{
    const struct subcommand *subcommand = find_subcommand(arguments->operands[0]);
    struct spool *spool;
    struct error error;
    if (spool_open_existing(&spool, config->state_dir, config->account_id, &error) != 0)
        return report_spool_error(&error);
    int status;
    if (spool_drop_privileges(spool, &error) != 0)
        status = report_spool_error(&error);
    else if (subcommand->read != NULL)
        status = read_spool(subcommand, spool, config, arguments);
    else
        status = change_spool(subcommand, spool, config, arguments);
    spool_close(spool);
    return status;
}

/* The answer goes to standard output; a runtime that is not there is "unavailable". */
static int ask_to_hold(const struct spool *spool, const struct config *config, const char *request)
{
    char answer[CONTROL_ANSWER_BYTES + 1];
    enum control_result result;
    struct error error;
    int code = spool_ask_runtime(spool, config->state_dir, request, &result, answer, &error);
    if (code != 0) {
        fprintf(stderr, "mission-control-runtime: %s: %s\n", request, error.text);
        return code == ERROR_CLOSED ? EX_UNAVAILABLE : EX_OSERR;
    }
    if (result == CONTROL_REFUSED) {
        fprintf(stderr, "mission-control-runtime: %s: %s\n", request, answer);
        return EXIT_FAILURE;
    }
    struct text text = {0};
    text_printf(&text, "%s\n", answer);
    int status = print_text(&text);
    text_fini(&text);
    return status;
}

int command_hold(const struct config *config, bool held)
{
    struct spool *spool;
    struct error error;
    if (access(config->state_dir, F_OK) != 0 && errno == ENOENT) {
        fprintf(stderr, "mission-control-runtime: no runtime uses %s: it does not exist\n",
            config->state_dir);
        return EX_UNAVAILABLE;
    }
    if (spool_open_existing(&spool, config->state_dir, config->account_id, &error) != 0)
        return report_spool_error(&error);
    int status = spool_drop_privileges(spool, &error) != 0
                     ? report_spool_error(&error)
                     : ask_to_hold(spool, config, held ? "hold" : "release");
    spool_close(spool);
    return status;
}
