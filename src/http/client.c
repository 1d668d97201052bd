#include "http/client.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sync.h"

enum {
    CONNECT_TIMEOUT_MS = 10000,
    BODY_KEPT_BYTES = 64 * 1024, /* larger buffers are given back before the next request */
    RETRY_AFTER_LIMIT_S = 24 * 3600,
    CONNECTIONS_KEPT = 2,
    LOOK_FOR_ABORT_MS = 1000,
};

/*
 * Each request has a handle of its own, a copy of the one with the fixed options: libcurl 7.88
 * remembers a pointer to the last header of an answer and, when the next answer on that handle
 * begins with a folded line, uses the memory, which it has freed by then.
 */
struct http_client {
    CURLM *connections; /* kept from request to request */
    CURLSH *sessions;   /* of TLS, to be resumed by a new connection */
    CURL *fixed_options;
    CURL *curl; /* of the request under way, else NULL */
    struct ca_store *store;
    const atomic_bool *abort;
    const atomic_bool *extra_abort; /* of the request under way */
    struct text body;
    size_t body_limit_bytes;
    bool body_too_large;
    bool tls_begun;
    char reason[CURL_ERROR_SIZE];
};

int http_client_library_start(struct error *error)
{
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
        return error_set(error, ERROR_SYSTEM, "libcurl cannot start");
    return 0;
}

void http_client_library_stop(void)
{
    curl_global_cleanup();
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct http_client *client = context;
    size_t length = size * count;
    if (length > client->body_limit_bytes - client->body.length_bytes) {
        client->body_too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    text_append_bytes(&client->body, bytes, length);
    return client->body.failed ? CURL_WRITEFUNC_ERROR : length;
}

static bool is_set(const atomic_bool *flag)
{
    return flag != NULL && atomic_load_explicit(flag, memory_order_relaxed);
}

bool http_client_is_aborted(const struct http_client *client, const atomic_bool *extra_abort)
{
    return is_set(client->abort) || is_set(extra_abort);
}

static int look_for_abort(
    void *context, curl_off_t d_total, curl_off_t d_now, curl_off_t u_total, curl_off_t u_now)
{
    (void)d_total, (void)d_now, (void)u_total, (void)u_now;
    const struct http_client *client = context;
    return http_client_is_aborted(client, client->extra_abort) ? 1 : 0;
}

static CURLcode trust_store(CURL *curl, void *ssl_context, void *context)
{
    (void)curl;
    struct http_client *client = context;
    client->tls_begun = true;
    ca_store_attach(client->store, ssl_context);
    return CURLE_OK;
}

/* What is the same for every request. NULL paths keep libcurl from loading the bundle itself. */
static CURLcode set_fixed_options(struct http_client *client)
{
    CURL *curl = client->fixed_options;
    CURLcode code = CURLE_OK;
#define SET(option, value) code = code == CURLE_OK ? curl_easy_setopt(curl, option, value) : code
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_CAINFO, NULL);
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_SSL_CTX_FUNCTION, trust_store);
    SET(CURLOPT_SSL_CTX_DATA, client);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, client);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, look_for_abort);
    SET(CURLOPT_XFERINFODATA, client);
    SET(CURLOPT_ERRORBUFFER, client->reason);
    SET(CURLOPT_TCP_NODELAY, 1L);
#undef SET
    return code;
}

int http_client_create(struct http_client **client, struct ca_store *store,
    const atomic_bool *abort, struct error *error)
{
    struct http_client *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for an HTTP client");
    created->store = store;
    created->abort = abort;
    created->connections = curl_multi_init();
    created->fixed_options = curl_easy_init();
    created->sessions = curl_share_init();
    if (created->connections == NULL || created->fixed_options == NULL ||
        created->sessions == NULL ||
        curl_share_setopt(created->sessions, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) !=
            CURLSHE_OK ||
        curl_multi_setopt(created->connections, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT) !=
            CURLM_OK ||
        set_fixed_options(created) != CURLE_OK) {
        http_client_destroy(created);
        return error_set(error, ERROR_NO_MEMORY, "libcurl cannot make a client");
    }
    *client = created;
    return 0;
}

void http_client_destroy(struct http_client *client)
{
    if (client == NULL)
        return;
    curl_easy_cleanup(client->fixed_options);
    curl_multi_cleanup(client->connections);
    curl_share_cleanup(client->sessions);
    text_fini(&client->body);
    free(client);
}

static struct curl_slist *build_headers(const char *const *headers)
{
    /* An empty Expect keeps libcurl from waiting a second for "100 Continue". */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    for (; list != NULL && *headers != NULL; headers++) {
        struct curl_slist *longer = curl_slist_append(list, *headers);
        if (longer == NULL)
            curl_slist_free_all(list);
        list = longer;
    }
    return list;
}

static CURLcode set_request_options(
    struct http_client *client, const struct http_request *request, struct curl_slist *headers)
{
    CURL *curl = client->curl;
    long timeout_ms = (long)request->timeout_ms;
    long connect_ms = timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS;
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, request->url);
#define SET(option, value) code = code == CURLE_OK ? curl_easy_setopt(curl, option, value) : code
    /* Copies of a handle do not inherit it. */
    SET(CURLOPT_SHARE, client->sessions);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_TIMEOUT_MS, timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    SET(CURLOPT_FRESH_CONNECT, request->single_use_connection ? 1L : 0L);
    SET(CURLOPT_FORBID_REUSE, request->single_use_connection ? 1L : 0L);
    SET(CURLOPT_NOPROXY, request->ignore_proxy ? "*" : NULL);
    if (request->body == NULL) {
        SET(CURLOPT_HTTPGET, 1L);
    } else {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, request->body);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_bytes);
    }
#undef SET
    return code;
}

static void reset_body(struct http_client *client, size_t limit_bytes)
{
    if (client->body.capacity_bytes > BODY_KEPT_BYTES)
        text_fini(&client->body);
    text_clear(&client->body);
    client->body_limit_bytes = limit_bytes;
    client->body_too_large = false;
    client->tls_begun = false;
    client->reason[0] = '\0';
}

/*
 * Seconds from now, or a date. libcurl's own reading takes a number with too many digits for 0, and
 * a date that is over for a time before now.
 */
static int64_t retry_after_s(const char *value)
{
    if (*value >= '0' && *value <= '9') {
        errno = 0;
        long long seconds = strtoll(value, NULL, 10);
        return errno == 0 && seconds < RETRY_AFTER_LIMIT_S ? seconds : RETRY_AFTER_LIMIT_S;
    }
    time_t at = curl_getdate(value, NULL);
    int64_t seconds = at > 0 ? (int64_t)at - clock_wall_ms() / 1000 : 0;
    if (seconds < 0)
        return 0;
    return seconds < RETRY_AFTER_LIMIT_S ? seconds : RETRY_AFTER_LIMIT_S;
}

static void read_retry_after(CURL *curl, struct http_response *answer)
{
    struct curl_header *header;
    if (curl_easy_header(curl, "Retry-After", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return;
    answer->has_retry_after = true;
    answer->retry_after_ms = retry_after_s(header->value) * 1000;
}

static void read_date(CURL *curl, struct http_response *answer)
{
    struct curl_header *header;
    if (curl_easy_header(curl, "Date", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return;
    time_t seconds = curl_getdate(header->value, NULL);
    answer->date_ms = seconds > 0 ? (int64_t)seconds * 1000 : 0;
}

/* libcurl notes the time at which each step was over, and 0 until then. */
static bool is_over(CURL *curl, CURLINFO step)
{
    curl_off_t after_us = 0;
    return curl_easy_getinfo(curl, step, &after_us) == CURLE_OK && after_us > 0;
}

static enum http_step find_step(const struct http_client *client, bool sent)
{
    CURL *curl = client->curl;
    /* A request to a proxy may have been sent before TLS begins. */
    if (client->tls_begun && !is_over(curl, CURLINFO_APPCONNECT_TIME_T))
        return HTTP_STEP_TLS;
    if (sent || is_over(curl, CURLINFO_CONNECT_TIME_T))
        return HTTP_STEP_EXCHANGE;
    return is_over(curl, CURLINFO_NAMELOOKUP_TIME_T) ? HTTP_STEP_CONNECT : HTTP_STEP_LOOKUP;
}

static void read_peer(CURL *curl, struct http_response *answer)
{
    const char *address = NULL;
    long port = 0;
    if (curl_easy_getinfo(curl, CURLINFO_PRIMARY_IP, &address) != CURLE_OK || address == NULL ||
        address[0] == '\0' || curl_easy_getinfo(curl, CURLINFO_PRIMARY_PORT, &port) != CURLE_OK)
        return;
    snprintf(answer->peer, sizeof answer->peer, "%s port %ld", address, port);
}

/* libcurl takes any number, even a negative one; and 1xx announces an answer, but is none. */
static bool is_final_status(long status)
{
    return status >= 200 && status <= 999;
}

static enum http_failure classify(
    const struct http_client *client, CURLcode code, long status, bool sent)
{
    if (code == CURLE_OK)
        return is_final_status(status) ? HTTP_ANSWERED : HTTP_LOST;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return HTTP_ABORTED;
    if (!sent)
        return HTTP_NOT_SENT;
    if (client->body_too_large)
        return HTTP_TOO_LARGE;
    return code == CURLE_OPERATION_TIMEDOUT ? HTTP_TIMED_OUT : HTTP_LOST;
}

static void explain(const struct http_client *client, const struct http_request *request,
    CURLcode code, struct http_response *answer)
{
    if (answer->failure == HTTP_ANSWERED)
        return;
    const char *words = client->reason[0] != '\0' ? client->reason : curl_easy_strerror(code);
    if (code == CURLE_OK)
        words = "the answer has no proper status";
    if (answer->failure == HTTP_TOO_LARGE)
        snprintf(answer->reason, sizeof answer->reason, "the answer is larger than %zu bytes",
            request->response_limit_bytes);
    else if (answer->failure == HTTP_ABORTED)
        snprintf(answer->reason, sizeof answer->reason, "interrupted by the stop");
    else
        text_quote(answer->reason, sizeof answer->reason, words, strlen(words));
}

static void read_answer(struct http_client *client, const struct http_request *request,
    CURLcode code, struct http_response *answer)
{
    long request_bytes = 0;
    long status = 0;
    curl_easy_getinfo(client->curl, CURLINFO_REQUEST_SIZE, &request_bytes);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    answer->sent = request_bytes > 0;
    answer->status = is_final_status(status) ? (int)status : 0;
    answer->failure = classify(client, code, status, answer->sent);
    answer->step = find_step(client, answer->sent);
    answer->certificate_refused = code == CURLE_PEER_FAILED_VERIFICATION;
    if (answer->failure == HTTP_ANSWERED)
        answer->body = (struct text_span){
            client->body.data != NULL ? client->body.data : "", client->body.length_bytes};
    read_retry_after(client->curl, answer);
    if (request->wants_details) {
        read_date(client->curl, answer);
        read_peer(client->curl, answer);
    }
    explain(client, request, code, answer);
}

/* Blocks until the transfer is over. */
static CURLcode transfer(struct http_client *client)
{
    CURLM *connections = client->connections;
    int running = 1;
    int unread = 0;
    CURLMcode code = curl_multi_add_handle(connections, client->curl);
    while (code == CURLM_OK && running > 0) {
        code = curl_multi_perform(connections, &running);
        if (code == CURLM_OK && running > 0)
            code = curl_multi_poll(connections, NULL, 0, LOOK_FOR_ABORT_MS, NULL);
    }
    const CURLMsg *ended = curl_multi_info_read(connections, &unread);
    return ended != NULL ? ended->data.result : CURLE_OUT_OF_MEMORY;
}

static void perform(struct http_client *client, const struct http_request *request,
    struct curl_slist *headers, struct http_response *answer)
{
    client->curl = curl_easy_duphandle(client->fixed_options);
    if (client->curl == NULL)
        return;
    if (set_request_options(client, request, headers) == CURLE_OK) {
        answer->reason[0] = '\0';
        read_answer(client, request, transfer(client), answer);
        curl_multi_remove_handle(client->connections, client->curl);
    }
    curl_easy_cleanup(client->curl);
    client->curl = NULL;
}

void http_client_perform(
    struct http_client *client, const struct http_request *request, struct http_response *answer)
{
    assert(request->timeout_ms >= 1);
    *answer = (struct http_response){.failure = HTTP_NO_MEMORY, .reason = "out of memory"};
    if (http_client_is_aborted(client, request->extra_abort)) {
        answer->failure = HTTP_ABORTED;
        text_copy(answer->reason, sizeof answer->reason, "interrupted by the stop");
        return;
    }
    struct curl_slist *headers = build_headers(request->headers);
    if (headers == NULL)
        return;
    reset_body(client, request->response_limit_bytes);
    client->extra_abort = request->extra_abort;
    perform(client, request, headers, answer);
    curl_slist_free_all(headers);
}
