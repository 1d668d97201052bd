#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "spool/spool.h"

/* A record of dead/ that is to be changed. */
struct letter {
    struct spool_record record; /* of a damaged one only the id is known */
    bool damaged;
    char agent[ID_BYTES]; /* its slug, fit for a line */
};

/* What came of one id, as a line for the operator. */
typedef char spoken[ERROR_TEXT_BYTES];

static const char asked_anew[] =
    "if the backend still lists the notification, the next start has the agent asked anew";

/* Returns 0 and says what happened, or an error; then nothing was changed. */
typedef int change_letter(
    struct spool *spool, const struct letter *letter, spoken said, struct error *error);

static int retry(struct spool *spool, const struct letter *letter, spoken said, struct error *error)
{
    const char *id = letter->record.id;
    const char *reply = letter->record.reply;
    int result =
        reply != NULL ? spool_exhume(spool, id, error) : spool_remove_dead(spool, id, error);
    if (result != 0)
        return result;
    if (reply != NULL)
        snprintf(said, sizeof(spoken),
            "%s: back in spool/; the next start writes its reply (%zu bytes, by %s) into the "
            "thread "
            "without asking the agent",
            id, strlen(reply), letter->agent);
    else
        snprintf(said, sizeof(spoken), "%s: removed from dead/, as it is %s; %s", id,
            letter->damaged ? "damaged" : "without a reply", asked_anew);
    return 0;
}

static int drop(struct spool *spool, const struct letter *letter, spoken said, struct error *error)
{
    const char *id = letter->record.id;
    int result = spool_remove_dead(spool, id, error);
    if (result != 0)
        return result;
    if (letter->damaged)
        snprintf(said, sizeof(spoken),
            "%s: dropped; it was damaged, so nobody can say what is lost; %s", id, asked_anew);
    else if (letter->record.reply == NULL)
        snprintf(said, sizeof(spoken), "%s: dropped; it held no reply of %s; %s", id, letter->agent,
            asked_anew);
    else
        snprintf(said, sizeof(spoken), "%s: dropped; lost is a reply of %zu bytes by %s; %s", id,
            strlen(letter->record.reply), letter->agent, asked_anew);
    return 0;
}

typedef int look_at(const struct spool_listing *look, struct text *out, struct error *error);

/* Either looks or changes. */
static const struct verb {
    const char *name;
    unsigned min_ids;
    unsigned max_ids;
    look_at *look;
    change_letter *change;
} verbs[] = {
    {"list", 0, 0, spool_listing_print, NULL},
    {"show", 1, 1, spool_listing_show, NULL},
    {"retry", 1, ARGUMENTS_MAX_OPERANDS, NULL, retry},
    {"drop", 1, ARGUMENTS_MAX_OPERANDS, NULL, drop},
};

/* The verb that arguments name with as many ids as it takes; NULL if they do not. */
static const struct verb *find_verb(const struct arguments *arguments)
{
    if (arguments->operand_count == 0)
        return NULL;
    unsigned ids = arguments->operand_count - 1;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(arguments->operands[0], verbs[i].name) == 0)
            return ids >= verbs[i].min_ids && ids <= verbs[i].max_ids ? &verbs[i] : NULL;
    return NULL;
}

static int exit_status_of(enum error_code code)
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

static int refuse(const struct error *error)
{
    fprintf(stderr, "mission-control-runtime: spool: %s\n", error->text);
    return exit_status_of(error->code);
}

/* An id as it was typed may hold anything; one that is none cannot be the name of a record. */
static int check_id(const char *id, struct error *error)
{
    char quoted[80];
    if (id_is_valid(id))
        return 0;
    text_quote(quoted, sizeof quoted, id, strlen(id));
    return error_set(error, ERROR_CLOSED, "\"%s\" is no id of a notification", quoted);
}

static int look(const struct verb *verb, struct spool *spool, const struct config *config,
    const struct arguments *arguments)
{
    struct text out = {0};
    struct error error;
    const struct spool_listing request = {
        .spool = spool,
        .state_dir = config->state_dir,
        .id = arguments->operand_count > 1 ? arguments->operands[1] : NULL,
        .json = arguments->json,
        .visible = isatty(STDOUT_FILENO) == 1,
    };
    int result = request.id != NULL ? check_id(request.id, &error) : 0;
    if (result == 0)
        result = verb->look(&request, &out, &error);
    int status = result == 0 ? print_text(&out) : refuse(&error);
    text_fini(&out);
    return status;
}

/* Why an id that dead/ does not have cannot be changed. */
static int explain_absence(struct spool *spool, const char *id, struct error *error)
{
    struct spool_record record;
    struct error unused;
    int result = spool_load(spool, id, &record, &unused);
    free(record.reply);
    if (result == ERROR_CLOSED)
        return error_set(
            error, ERROR_CLOSED, "%s: neither spool/ nor dead/ has a record of it", id);
    return error_set(error, ERROR_CLOSED,
        "%s: left as it is, since it is in spool/, not in dead/: the runtime goes on with it by "
        "itself",
        id);
}

static int load_letter(
    struct spool *spool, const char *id, struct letter *letter, struct error *error)
{
    int result = spool_load_dead(spool, id, &letter->record, error);
    if (result == ERROR_CLOSED)
        return explain_absence(spool, id, error);
    if (result != 0 && result != ERROR_INVALID)
        return result;
    letter->damaged = result != 0;
    text_copy(letter->record.id, sizeof letter->record.id, id);
    text_quote(letter->agent, sizeof letter->agent, letter->record.agent_slug,
        strlen(letter->record.agent_slug));
    return 0;
}

static int change_one(change_letter *change, struct spool *spool, const char *id, spoken said)
{
    struct letter letter;
    struct error error;
    int result = check_id(id, &error);
    if (result == 0)
        result = load_letter(spool, id, &letter, &error);
    if (result == 0) {
        result = change(spool, &letter, said, &error);
        if (result != 0)
            error_wrap(&error, "%s", id);
        free(letter.record.reply);
    }
    if (result != 0)
        text_copy(said, sizeof(spoken), error.text);
    return result;
}

/* At once, so that what was done is said even if the process is killed before the next one. */
static bool tell(json_t *answers, const char *id, bool done, const char *said)
{
    char quoted[80];
    text_quote(quoted, sizeof quoted, id, strlen(id));
    if (answers != NULL)
        return json_array_append_new(answers,
                   json_pack("{s:s, s:b, s:s}", "id", quoted, "done", done, "text", said)) == 0;
    fprintf(done ? stdout : stderr, "%s\n", said);
    return !done || print_bytes("", 0) == EX_OK;
}

/* Once it cannot be said what is done, no more is done. */
static int change_all(
    change_letter *change, struct spool *spool, const struct arguments *arguments, json_t *answers)
{
    int status = EX_OK;
    for (unsigned i = 1; i < arguments->operand_count; i++) {
        spoken said;
        bool done = change_one(change, spool, arguments->operands[i], said) == 0;
        status = done ? status : EXIT_FAILURE;
        if (!tell(answers, arguments->operands[i], done, said))
            return EX_OSERR;
    }
    return status;
}

/* Takes the reference. */
static int print_answers(json_t *answers)
{
    struct text text = {0};
    char *dumped = json_dumps(answers, JSON_INDENT(2));
    text_printf(&text, "%s\n", dumped != NULL ? dumped : "");
    text.failed = text.failed || dumped == NULL;
    int status = print_text(&text);
    free(dumped);
    text_fini(&text);
    json_decref(answers);
    return status;
}

static int change(const struct verb *verb, struct spool *spool, const struct config *config,
    const struct arguments *arguments)
{
    struct state_dir dir;
    struct error error;
    if (state_dir_open(&dir, config->state_dir, &error) != 0) {
        if (error.code == ERROR_LOCKED)
            error_wrap(
                &error, "%s is for when no runtime runs, so stop that one first", verb->name);
        return refuse(&error);
    }
    json_t *answers = arguments->json ? json_array() : NULL;
    int status = change_all(verb->change, spool, arguments, answers);
    state_dir_close(&dir);
    int printed = answers != NULL ? print_answers(answers) : EX_OK;
    return printed != EX_OK ? printed : status;
}

int command_spool(const struct config *config, const struct arguments *arguments)
{
    const struct verb *verb = find_verb(arguments);
    struct spool *spool;
    struct error error;
    if (verb == NULL) {
        fprintf(stderr, "mission-control-runtime: spool: right is one of list, show ID, retry "
                        "ID..., drop ID...\n");
        return EX_USAGE;
    }
    if (spool_open_existing(&spool, config->state_dir, config->account_id, &error) != 0)
        return refuse(&error);
    int status = verb->look != NULL ? look(verb, spool, config, arguments)
                                    : change(verb, spool, config, arguments);
    spool_close(spool);
    return status;
}
