/*
 * The command spool: lets an operator see what the state directory holds and decide about dead
 * letters. list and show (in spool_list.c) only read and work beside a running runtime. retry and
 * drop take the directory's lock for as long as they run, because a runtime keeps the records in
 * memory as well.
 *
 *   retry   moves a reply from dead/ back to spool/, from where the next start posts it; a record
 *           without a reply is removed, so that the agent is asked again if the notification is
 *           still listed; a record of a newer release, which may hold a reply, stays
 *   drop    removes a record from dead/ and reports what is lost
 *
 * Root runs it with the rights of the directory's owner only: what that user may have put there,
 * such as a symbolic link, must not make root read or write elsewhere, and a file that root made
 * would be in the runtime's way.
 *
 * Ids are processed one by one, each reported before the next is touched: a failed id does not hold
 * up the others, but once output cannot be written nothing more is changed, because the operator
 * would not see it.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "spool/spool.h"

enum { QUOTED_ID_BYTES = 80 };

/* A record of dead/ that is to be retried or dropped. */
struct dead_letter {
    struct spool_record record;
    enum error_code unreadable; /* 0, or why only its id is known */
    char agent[ID_BYTES];       /* its slug, quoted */
};

static const char asked_again[] =
    "if the backend still lists the notification, the agent is asked again after the next start";

/* Returns 0 with a message for the operator, or an error; then nothing was changed. */
typedef int spool_change(struct spool *spool, const struct dead_letter *letter,
    char message[static ERROR_TEXT_BYTES], struct error *error);

static int retry_letter(struct spool *spool, const struct dead_letter *letter,
    char message[static ERROR_TEXT_BYTES], struct error *error)
{
    const char *id = letter->record.id;
    const char *reply = letter->record.reply;
    if (letter->unreadable == ERROR_NEWER)
        return error_set(error, ERROR_NEWER,
            "unchanged: it was written by a newer release; retry it with that release");
    int result =
        reply != NULL ? spool_exhume(spool, id, error) : spool_remove_dead(spool, id, error);
    if (result != 0)
        return result;
    if (reply != NULL)
        snprintf(message, ERROR_TEXT_BYTES,
            "%s: back in spool/; the next start posts its reply (%zu bytes, by %s) without asking "
            "the agent",
            id, strlen(reply), letter->agent);
    else
        snprintf(message, ERROR_TEXT_BYTES, "%s: removed from dead/, because it %s; %s", id,
            letter->unreadable != 0 ? "is damaged" : "has no reply", asked_again);
    return 0;
}

static int drop_letter(struct spool *spool, const struct dead_letter *letter,
    char message[static ERROR_TEXT_BYTES], struct error *error)
{
    const char *id = letter->record.id;
    int result = spool_remove_dead(spool, id, error);
    if (result != 0)
        return result;
    if (letter->unreadable != 0)
        snprintf(message, ERROR_TEXT_BYTES,
            "%s: dropped; it was %s, so what it held is unknown; %s", id,
            letter->unreadable == ERROR_NEWER ? "written by a newer release" : "damaged",
            asked_again);
    else if (letter->record.reply == NULL)
        snprintf(message, ERROR_TEXT_BYTES, "%s: dropped; it held no reply by %s; %s", id,
            letter->agent, asked_again);
    else
        snprintf(message, ERROR_TEXT_BYTES, "%s: dropped with a reply of %zu bytes by %s; %s", id,
            strlen(letter->record.reply), letter->agent, asked_again);
    return 0;
}

/* A subcommand either reads or changes; the other function is NULL. */
static const struct subcommand {
    const char *name;
    unsigned min_ids;
    unsigned max_ids;
    int (*read)(struct spool *spool, const struct config *config, const struct arguments *arguments,
        struct text *text, struct error *error);
    spool_change *change;
} subcommands[] = {
    {"list", 0, 0, spool_list_records, NULL},
    {"show", 1, 1, spool_show_record, NULL},
    {"retry", 1, ARGUMENTS_MAX_OPERANDS, NULL, retry_letter},
    {"drop", 1, ARGUMENTS_MAX_OPERANDS, NULL, drop_letter},
};

/* The subcommand that the operands name, with as many ids as it takes; NULL if there is none. */
static const struct subcommand *find_subcommand(const struct arguments *arguments)
{
    if (arguments->operand_count == 0)
        return NULL;
    unsigned ids = arguments->operand_count - 1;
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++)
        if (strcmp(arguments->operands[0], subcommands[i].name) == 0)
            return ids >= subcommands[i].min_ids && ids <= subcommands[i].max_ids ? &subcommands[i]
                                                                                  : NULL;
    return NULL;
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

/* Why there is no dead letter of that id. */
static int explain_missing_letter(struct spool *spool, const char *id, struct error *error)
{
    struct spool_record record;
    struct error unused;
    int result = spool_load(spool, id, &record, &unused);
    spool_record_fini(&record);
    if (result == ERROR_CLOSED)
        return error_set(error, ERROR_CLOSED, "%s: no record in spool/ or dead/", id);
    if (result == ERROR_NEWER)
        return error_set(error, ERROR_CLOSED,
            "%s: unchanged: it is in spool/, not in dead/, and was written by a newer release, "
            "which "
            "will continue with it",
            id);
    return error_set(error, ERROR_CLOSED,
        "%s: unchanged: it is in spool/, not in dead/, and the runtime continues with it by itself",
        id);
}

static int load_letter(
    struct spool *spool, const char *id, struct dead_letter *letter, struct error *error)
{
    int result = spool_load_dead(spool, id, &letter->record, error);
    if (result == ERROR_CLOSED)
        return explain_missing_letter(spool, id, error);
    if (result != 0 && result != ERROR_INVALID && result != ERROR_NEWER)
        return result;
    letter->unreadable = result;
    text_copy(letter->record.id, sizeof letter->record.id, id);
    text_quote(letter->agent, sizeof letter->agent, letter->record.agent_slug,
        strlen(letter->record.agent_slug));
    return 0;
}

/* Retries or drops one id; message receives the outcome or the error. */
static int change_letter(spool_change *change, struct spool *spool, const char *id,
    char message[static ERROR_TEXT_BYTES])
{
    struct dead_letter letter;
    struct error error;
    int result = check_id(id, &error);
    if (result == 0)
        result = load_letter(spool, id, &letter, &error);
    if (result == 0) {
        result = change(spool, &letter, message, &error);
        if (result != 0)
            error_wrap(&error, "%s", id);
        free(letter.record.reply);
    }
    if (result != 0)
        text_copy(message, ERROR_TEXT_BYTES, error.text);
    return result;
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
    spool_change *change, struct spool *spool, const struct arguments *arguments, json_t *answers)
{
    int status = EX_OK;
    for (unsigned i = 1; i < arguments->operand_count; i++) {
        char message[ERROR_TEXT_BYTES];
        bool done = change_letter(change, spool, arguments->operands[i], message) == 0;
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

static int change_spool(const struct subcommand *subcommand, struct spool *spool,
    const struct config *config, const struct arguments *arguments)
{
    struct state_dir dir;
    struct error error;
    if (spool_lock(spool, &dir, config->state_dir, &error) != 0) {
        if (error.code == ERROR_LOCKED)
            error_wrap(&error, "%s needs the runtime stopped", subcommand->name);
        return report_spool_error(&error);
    }
    json_t *answers = arguments->json ? json_array() : NULL;
    int status = change_letters(subcommand->change, spool, arguments, answers);
    state_dir_close(&dir);
    int printed = answers != NULL ? print_answers(answers) : EX_OK;
    return printed != EX_OK ? printed : status;
}

int command_spool(const struct config *config, const struct arguments *arguments)
{
    const struct subcommand *subcommand = find_subcommand(arguments);
    struct spool *spool;
    struct error error;
    if (subcommand == NULL) {
        fprintf(stderr, "mission-control-runtime: spool: expected one of list, show ID, retry "
                        "ID..., drop ID...\n");
        return EX_USAGE;
    }
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
