/*
 * A real agent without client tools calls the runtime's HTTP API from its shell. Here a thread does
 * that for it, with libcurl, because the API asks the backend while it answers, and the backend is
 * this very process: the server's thread must go on. An eventfd tells it that an errand has ended.
 * One that nobody waits for any more is aborted, and its thread is joined at the next opportunity.
 */
#include "agent_errand.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/json.h"
#include "base/sync.h"
#include "base/text.h"
#include "memory.h"

enum { REQUEST_LIMIT_MS = 35000, ANSWER_LIMIT_BYTES = 1 << 20 };

/* A request; everything but answer is set before the thread begins. */
struct errand_request {
    char *url;
    char *body;
    struct text answer;
};

struct agent_errand {
    TAILQ_ENTRY(agent_errand) link;
    struct errand_request *requests;
    size_t count;
    char *key_header;
    atomic_size_t finished; /* of the requests; their answers are not written any more */
    atomic_bool has_ended;  /* the thread touches nothing any more */
    atomic_bool is_aborted;
    bool is_over; /* nobody waits for it */
    pthread_t thread;
    struct exchange *exchange;
    int wake_descriptor;
};

/* Copies the word after label in told; false if there is none, or it is too long. */
static bool copy_word_after(const char *told, const char *label, char *word, size_t word_bytes)
{
    const char *at = strstr(told, label);
    if (at == NULL)
        return false;
    at += strlen(label);
    size_t length = strcspn(at, " \t\r\n,");
    while (length > 0 && (at[length - 1] == '.' || at[length - 1] == '/'))
        length--;
    if (length == 0 || length >= word_bytes)
        return false;
    memcpy(word, at, length);
    word[length] = '\0';
    return true;
}

bool agent_errand_find_access(const char *told, struct errand_access *access)
{
    return told != NULL &&
           copy_word_after(told, "HTTP base URL: ", access->base_url, sizeof access->base_url) &&
           strncmp(access->base_url, "http://", 7) == 0 &&
           copy_word_after(
               told, "x-openclaw-session-key: ", access->session_key, sizeof access->session_key);
}

void agent_errand_path(const char *tool, char path[static ERRAND_PATH_BYTES])
{
    const char *name = strcmp(tool, "document_upsert") == 0 ? "document" : tool;
    snprintf(path, ERRAND_PATH_BYTES, "/agent/%s", name);
    for (char *at = path; *at != '\0'; at++)
        if (*at == '_')
            *at = '-';
}

static size_t take_bytes(char *bytes, size_t size, size_t count, void *context)
{
    struct text *answer = context;
    size_t length = size * count;
    if (answer->length_bytes + length > ANSWER_LIMIT_BYTES)
        return 0;
    text_append_bytes(answer, bytes, length);
    return length;
}

/* Not zero: abort. libcurl calls it about once a second. */
static int look_for_abort(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct agent_errand *errand = context;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(&errand->is_aborted) ? 1 : 0;
}

static void set_request(CURL *curl, struct agent_errand *errand, struct errand_request *request,
    struct curl_slist *headers)
{
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &request->answer);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_for_abort);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, errand);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L); /* or libcurl might repeat a POST */
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)REQUEST_LIMIT_MS);
}

/* What went wrong takes the form of an answer, so that the agent reports it like one. */
static void write_request_failure(struct text *answer, const char *reason)
{
    text_clear(answer);
    text_printf(answer, "{\"success\":false,\"error\":\"The HTTP request failed: %s\"}", reason);
}

static void perform(CURL *curl, struct agent_errand *errand, struct errand_request *request)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, errand->key_header);
    set_request(curl, errand, request, headers);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK)
        write_request_failure(&request->answer, curl_easy_strerror(code));
    curl_slist_free_all(headers);
}

static void *run_errand(void *argument)
{
    struct agent_errand *errand = argument;
    CURL *curl = curl_easy_init();
    for (size_t i = 0; curl != NULL && i < errand->count; i++) {
        if (atomic_load(&errand->is_aborted))
            break;
        perform(curl, errand, &errand->requests[i]);
        atomic_store(&errand->finished, i + 1);
    }
    curl_easy_cleanup(curl);
    atomic_store(&errand->has_ended, true);
    eventfd_write(errand->wake_descriptor, 1);
    return NULL;
}

static void free_errand(struct agent_errand *errand)
{
    for (size_t i = 0; i < errand->count; i++) {
        free(errand->requests[i].url);
        free(errand->requests[i].body);
        text_fini(&errand->requests[i].answer);
    }
    free(errand->requests);
    free(errand->key_header);
    free(errand);
}

/* Frees the errands that are over, all of them or those whose threads have ended. */
static void reap(struct agent_errands *errands, bool wait)
{
    struct agent_errand *next;
    for (struct agent_errand *errand = TAILQ_FIRST(&errands->list); errand != NULL; errand = next) {
        next = TAILQ_NEXT(errand, link);
        if (!wait && (!errand->is_over || !atomic_load(&errand->has_ended)))
            continue;
        TAILQ_REMOVE(&errands->list, errand, link);
        pthread_join(errand->thread, NULL);
        free_errand(errand);
    }
}

void agent_errands_init(struct agent_errands *errands)
{
    TAILQ_INIT(&errands->list);
    errands->wake_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (errands->wake_descriptor < 0) {
        perror("mission-control-sandbox: eventfd");
        abort();
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void agent_errands_fini(struct agent_errands *errands)
{
    struct agent_errand *errand = NULL;
    TAILQ_FOREACH (errand, &errands->list, link) {
        atomic_store(&errand->is_aborted, true);
    }
    reap(errands, true);
    close(errands->wake_descriptor);
    curl_global_cleanup();
}

void agent_errands_check(struct agent_errands *errands)
{
    eventfd_t count;
    struct agent_errand *errand = NULL;
    if (TAILQ_EMPTY(&errands->list))
        return;
    eventfd_read(errands->wake_descriptor, &count);
    TAILQ_FOREACH (errand, &errands->list, link) {
        if (!errand->is_over && atomic_load(&errand->has_ended))
            exchange_resume(errand->exchange);
    }
}

static void make_requests(
    struct agent_errand *errand, const struct errand_access *access, const json_t *calls)
{
    struct text header = {0};
    size_t index;
    const json_t *call;
    text_printf(&header, "x-openclaw-session-key: %s", access->session_key);
    errand->key_header = text_take(&header);
    errand->count = json_array_size(calls);
    errand->requests = memory_new(errand->count, sizeof *errand->requests);
    json_array_foreach (calls, index, call) {
        struct text url = {0};
        char path[ERRAND_PATH_BYTES];
        agent_errand_path(json_guard_string(call, "name"), path);
        text_printf(&url, "%s%s", access->base_url, path);
        errand->requests[index].url = text_take(&url);
        errand->requests[index].body = memory_json_dump(json_object_get(call, "arguments"));
    }
}

struct agent_errand *agent_errand_begin(struct agent_errands *errands,
    const struct errand_access *access, const json_t *calls, struct exchange *exchange,
    exchange_function then, void *argument)
{
    struct agent_errand *errand = memory_new(1, sizeof *errand);
    reap(errands, false);
    *errand =
        (struct agent_errand){.exchange = exchange, .wake_descriptor = errands->wake_descriptor};
    make_requests(errand, access, calls);
    if (pthread_create(&errand->thread, NULL, run_errand, errand) != 0) {
        fputs("mission-control-sandbox: cannot start a thread\n", stderr);
        abort();
    }
    TAILQ_INSERT_TAIL(&errands->list, errand, link);
    exchange_wait(exchange, SYNC_NO_DEADLINE, then, argument);
    return errand;
}

json_t *agent_errand_answers(const struct agent_errand *errand)
{
    json_t *answers = memory_json(json_array());
    size_t finished = atomic_load(&errand->finished);
    for (size_t i = 0; i < finished; i++) {
        const char *answer = errand->requests[i].answer.data;
        json_array_append_new(answers, memory_json_text(answer == NULL ? "" : answer));
    }
    return answers;
}

void agent_errand_end(struct agent_errand *errand)
{
    if (errand == NULL)
        return;
    errand->is_over = true;
    atomic_store(&errand->is_aborted, true);
}
