/*
 * A blocking HTTP client on libcurl's multi interface: one transfer at a time per client, one
 * client per thread. The multi handle keeps the idle connections, and a share handle the TLS
 * sessions, so that even a connection used once resumes an earlier handshake.
 *
 * Two questions decide what happens to a delivery, and both are answered here:
 *
 * - Was any byte of the request sent? Only HTTP_NOT_SENT proves that an agent did not run. libcurl
 *   by itself repeats a POST if a reused connection dies before the first byte of the response, so
 *   requests that must not run twice set single_use_connection.
 * - Why did it fail, and in which step? struct http_response carries the failure class, the last
 *   step begun and a reason for an operator.
 *
 * The calling thread blocks in curl_multi_poll, which returns at least every ABORT_CHECK_MS for a
 * look at the abort flags. Deadlines and aborts are this file's, not libcurl's: it checks its
 * timers before it reads, so a response that arrived while the process was stopped or starved would
 * be thrown away unread. Here a request ends early only once nothing more is in the socket.
 *
 * Names are looked up for each new connection: a cached address may by now be somebody else's, who
 * would get the token. libcurl only reports that it needs a name (client_on_lookup), which ends
 * that transfer; the next one is told the addresses (CURLOPT_RESOLVE). Its own threads would leave
 * one behind for each request that a resolver does not answer (names.c, lookups.c). Connections
 * that are kept have a longest life for the same reason, and keep alive probes (RFC 9293,
 * section 3.8.4) that a silent NAT between us and a long run needs.
 *
 * Each request has an easy handle of its own: libcurl 7.88 keeps a pointer to the last header of a
 * response and, if the next response on that handle begins with a folded line, uses it after it was
 * freed. So a worker that waits for work holds none.
 */
#include "http/client.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/sync.h"
#include "base/watch.h"
#include "http/names.h"

static const char aborted[] = "aborted by shutdown";

enum {
    CONNECT_TIMEOUT_MS = 15000,
    RETRY_AFTER_LIMIT_S = 24 * 3600,
    CONNECTIONS_KEPT = 2,
    ABORT_CHECK_MS = 1000,
    OVERTIME_MS = 1000, /* to read what is in the socket at the deadline */
    /* One for each request in flight, and most answers are smaller; libcurl's default is 16 KiB. */
    RECEIVE_BUFFER_BYTES = 8 * 1024,
    KEEP_ALIVE_S = 30,
    KEEP_ALIVE_GAP_S = 10,
    MAX_CONNECTION_AGE_S = 60,
};

struct http_client {
    CURLM *connections; /* kept from request to request */
    CURLSH *sessions;   /* of TLS, resumed by new connections */
    struct ca_store *store;
    const atomic_bool *abort;

    /* The rest is of the request in flight. */
    const struct http_request *request;
    int64_t deadline_ms;
    int64_t connect_until_ms;     /* from the lookup of a name to the end of the TLS handshake */
    CURL *curl;                   /* NULL while there is no request */
    struct names names;           /* that it may need */
    struct curl_slist *addresses; /* of these, as far as they are known; libcurl has it */
    bool name_wanted;             /* the transfer ended because it needs one of them */
    struct text body;
    bool body_too_large;
    int socket_error; /* errno of a socket that it could not open, else 0 */
    bool tls_begun;   /* its handshake */
    char reason[CURL_ERROR_SIZE];
};

int http_client_library_start(struct error *error)
{
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
        return error_set(error, ERROR_SYSTEM, "cannot initialize libcurl");
    return 0;
}

void http_client_library_stop(void)
{
    curl_global_cleanup();
}

static size_t client_on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct http_client *client = context;
    size_t length = size * count;
    if (length > client->request->response_limit_bytes - client->body.length_bytes) {
        client->body_too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    text_append_bytes(&client->body, bytes, length);
    return client->body.failed ? CURL_WRITEFUNC_ERROR : length;
}

bool http_client_is_aborted(const struct http_client *client, const atomic_bool *extra_abort)
{
    return atomic_load_explicit(client->abort, memory_order_relaxed) ||
           (extra_abort != NULL && atomic_load_explicit(extra_abort, memory_order_relaxed));
}

/*
 * Called before libcurl looks a name up. While there are names whose addresses we can give it, the
 * transfer ends here, to be repeated once client_look_up has found them.
 */
static int client_on_lookup(void *resolver, void *reserved, void *context)
{
    struct http_client *client = context;
    (void)resolver, (void)reserved;
    client->name_wanted = client->names.count > 0 && names_are_missing(&client->names);
    return client->name_wanted ? 1 : 0;
}

/*
 * Opens a socket as libcurl does, which only reports a failure as "couldn't connect", and sets how
 * long what is sent may go unacknowledged. If that fails, a dead connection is noticed later.
 */
static curl_socket_t client_on_open(
    void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_client *client = context;
    (void)purpose;
    unsigned user_timeout_ms = (unsigned)client->request->user_timeout_ms;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    client->socket_error = fd < 0 ? errno : 0;
    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (user_timeout_ms > 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
    return fd;
}

/* Called when a TLS handshake is about to begin. */
static CURLcode client_on_tls(CURL *curl, void *ssl_context, void *context)
{
    (void)curl;
    struct http_client *client = context;
    client->tls_begun = true;
    ca_store_attach(client->store, ssl_context);
    return CURLE_OK;
}

/* A new set of connections; NULL when out of memory. */
static CURLM *create_connections(void)
{
    CURLM *connections = curl_multi_init();
    if (connections == NULL ||
        curl_multi_setopt(connections, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT) == CURLM_OK)
        return connections;
    curl_multi_cleanup(connections);
    return NULL;
}

int http_client_create(struct http_client **client, struct ca_store *store,
    const atomic_bool *abort, struct error *error)
{
    struct http_client *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory creating an HTTP client");
    created->store = store;
    created->abort = abort;
    created->connections = create_connections();
    created->sessions = curl_share_init();
    if (created->connections == NULL || created->sessions == NULL ||
        curl_share_setopt(created->sessions, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) !=
            CURLSHE_OK) {
        http_client_destroy(created);
        return error_set(error, ERROR_NO_MEMORY, "libcurl cannot create a client");
    }
    *client = created;
    return 0;
}

void http_client_close_connections(struct http_client *client)
{
    CURLM *connections = create_connections();
    if (connections == NULL)
        return;
    curl_multi_cleanup(client->connections);
    client->connections = connections;
}

void http_client_destroy(struct http_client *client)
{
    if (client == NULL)
        return;
    curl_multi_cleanup(client->connections);
    curl_share_cleanup(client->sessions);
    text_fini(&client->body);
    names_fini(&client->names);
    free(client);
}

/* NULL when out of memory. */
static struct curl_slist *client_build_headers(const char *const *headers)
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

static CURLcode client_set_options(struct http_client *client, struct curl_slist *headers)
{
    const struct http_request *request = client->request;
    CURL *curl = client->curl;
    /* Spread, so that the connections of many workers do not all end at once. */
    long age_s = MAX_CONNECTION_AGE_S - (long)(backoff_random_unit() * MAX_CONNECTION_AGE_S / 4);
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, request->url);
#define SET(option, value) code = code == CURLE_OK ? curl_easy_setopt(curl, option, value) : code
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    /* Else libcurl would load the CA bundle itself. */
    SET(CURLOPT_CAINFO, NULL);
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_SSL_CTX_FUNCTION, client_on_tls);
    SET(CURLOPT_SSL_CTX_DATA, client);
    SET(CURLOPT_WRITEFUNCTION, client_on_body);
    SET(CURLOPT_WRITEDATA, client);
    SET(CURLOPT_RESOLVER_START_FUNCTION, client_on_lookup);
    SET(CURLOPT_RESOLVER_START_DATA, client);
    SET(CURLOPT_OPENSOCKETFUNCTION, client_on_open);
    SET(CURLOPT_OPENSOCKETDATA, client);
    SET(CURLOPT_ERRORBUFFER, client->reason);
    SET(CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER_BYTES);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, (long)KEEP_ALIVE_S);
    SET(CURLOPT_TCP_KEEPINTVL, (long)KEEP_ALIVE_GAP_S);
    SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    SET(CURLOPT_SHARE, client->sessions);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_MAXLIFETIME_CONN, age_s);
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

/*
 * Seconds from now, or a date. libcurl's own parser reads a number with too many digits as 0, and a
 * date in the past as a negative time.
 */
static int64_t retry_after_s(const char *value)
{
    /* Of a folded header that begins with an empty line, libcurl keeps the line end. */
    value += strspn(value, " \t\r\n");
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

static void response_read_retry_after(CURL *curl, struct http_response *response)
{
    struct curl_header *header;
    if (curl_easy_header(curl, "Retry-After", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return;
    response->has_retry_after = true;
    response->retry_after_ms = retry_after_s(header->value) * 1000;
}

static void response_read_date(CURL *curl, struct http_response *response)
{
    struct curl_header *header;
    if (curl_easy_header(curl, "Date", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return;
    time_t seconds = curl_getdate(header->value, NULL);
    response->date_ms = seconds > 0 ? (int64_t)seconds * 1000 : 0;
}

/* libcurl records when each step completed, and 0 until then. */
static bool step_is_done(CURL *curl, CURLINFO step)
{
    curl_off_t after_us = 0;
    return curl_easy_getinfo(curl, step, &after_us) == CURLE_OK && after_us > 0;
}

/* The last step that was begun. */
static enum http_step client_find_step(const struct http_client *client, bool sent)
{
    CURL *curl = client->curl;
    /* First, as a CONNECT request may have been sent to a proxy before TLS begins. */
    if (client->tls_begun && !step_is_done(curl, CURLINFO_APPCONNECT_TIME_T))
        return HTTP_STEP_TLS;
    if (sent || step_is_done(curl, CURLINFO_CONNECT_TIME_T))
        return HTTP_STEP_EXCHANGE;
    return step_is_done(curl, CURLINFO_NAMELOOKUP_TIME_T) ? HTTP_STEP_CONNECT : HTTP_STEP_LOOKUP;
}

static void response_read_peer(CURL *curl, struct http_response *response)
{
    const char *address = NULL;
    long port = 0;
    if (curl_easy_getinfo(curl, CURLINFO_PRIMARY_IP, &address) != CURLE_OK || address == NULL ||
        address[0] == '\0' || curl_easy_getinfo(curl, CURLINFO_PRIMARY_PORT, &port) != CURLE_OK)
        return;
    snprintf(response->peer, sizeof response->peer, "%s port %ld", address, port);
}

static enum http_failure client_classify(
    const struct http_client *client, CURLcode code, bool answered, bool sent)
{
    if (code == CURLE_OK)
        return answered ? HTTP_ANSWERED : HTTP_LOST;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return HTTP_ABORTED;
    if (!sent)
        return HTTP_NOT_SENT;
    if (client->body_too_large)
        return HTTP_TOO_LARGE;
    return code == CURLE_OPERATION_TIMEDOUT ? HTTP_TIMED_OUT : HTTP_LOST;
}

static bool has_any(const char *reason, const char *const *signs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(reason, signs[i]) != NULL)
            return true;
    return false;
}

/* How OpenSSL takes bytes that are not TLS; plain servers answer with HTTP/1 in this way. */
static bool reason_is_plain_http(const char *reason)
{
    static const char *const signs[] = {
        "wrong version number", "packet length too long", "http request", "record layer failure"};
    return has_any(reason, signs, sizeof signs / sizeof signs[0]);
}

/*
 * A plain server may as well end the connection at once: whether its answer is read before that
 * depends on which is faster. A TLS server that dies looks the same, and one that refuses us does
 * not, as it sends an alert.
 */
static bool reason_is_broken_handshake(const char *reason)
{
    static const char *const signs[] = {"SSL_ERROR_SYSCALL", "unexpected eof", "onnection reset",
        "roken pipe", "onnection aborted"};
    return has_any(reason, signs, sizeof signs / sizeof signs[0]);
}

/* Why the TLS handshake, or for a reset what came right before it, did not succeed. */
static void response_set_tls_reason(
    CURLcode code, const char *reason, struct http_response *response)
{
    char quote[CURL_ERROR_SIZE];
    text_quote(quote, sizeof quote, reason, strlen(reason));
    for (size_t end = strlen(quote); end > 0 && quote[end - 1] == ' '; end--)
        quote[end - 1] = '\0';
    if (reason_is_plain_http(reason))
        snprintf(response->reason, sizeof response->reason,
            "the URL says https, but this port does not answer with TLS: it is probably plain "
            "http, or the wrong port");
    else if (code == CURLE_OPERATION_TIMEDOUT)
        snprintf(response->reason, sizeof response->reason,
            "no answer to the TLS handshake (%s): the server hangs, or speaks http, not https",
            quote);
    else if (reason_is_broken_handshake(reason))
        snprintf(response->reason, sizeof response->reason,
            "the connection ended in the TLS handshake (%s): the server has a problem, or speaks "
            "http, not https",
            quote);
    else
        text_copy(response->reason, sizeof response->reason, quote);
}

static void response_set_reason(
    const struct http_client *client, CURLcode code, struct http_response *response)
{
    const char *reason = client->reason[0] != '\0' ? client->reason : curl_easy_strerror(code);
    if (code == CURLE_OK)
        reason = "invalid HTTP status";
    if (response->failure == HTTP_TOO_LARGE)
        snprintf(response->reason, sizeof response->reason, "response larger than %zu bytes",
            client->request->response_limit_bytes);
    else if (response->failure == HTTP_ABORTED)
        text_copy(response->reason, sizeof response->reason, aborted);
    else if (response->step == HTTP_STEP_TLS)
        response_set_tls_reason(code, reason, response);
    else
        text_quote(response->reason, sizeof response->reason, reason, strlen(reason));
}

/* EMFILE or ENFILE if that is why the request was not sent, else 0. A resolver does not say. */
static int client_find_shortage(const struct http_client *client, enum http_step step)
{
    if (step == HTTP_STEP_LOOKUP)
        return fd_find_shortage();
    return client->socket_error == EMFILE || client->socket_error == ENFILE ? client->socket_error
                                                                            : 0;
}

/* What is known of a request that was not answered. */
static void client_read_failure(
    const struct http_client *client, CURLcode code, struct http_response *response)
{
    response->step = client_find_step(client, response->sent);
    response->timed_out = code == CURLE_OPERATION_TIMEDOUT;
    response->certificate_refused = code == CURLE_PEER_FAILED_VERIFICATION;
    response_set_reason(client, code, response);
    int shortage =
        response->failure == HTTP_NOT_SENT ? client_find_shortage(client, response->step) : 0;
    response->short_of_descriptors = shortage != 0;
    if (shortage != 0)
        snprintf(response->reason, sizeof response->reason, "cannot open a socket: %s",
            strerrordesc_np(shortage));
}

static void client_read_response(
    struct http_client *client, CURLcode code, struct http_response *response)
{
    long request_bytes = 0;
    long status = 0;
    curl_easy_getinfo(client->curl, CURLINFO_REQUEST_SIZE, &request_bytes);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    response->sent = request_bytes > 0;
    /* libcurl accepts any number, even a negative one; and 1xx only announces a response. */
    response->status = status >= 200 && status <= 999 ? (int)status : 0;
    response->failure = client_classify(client, code, response->status != 0, response->sent);
    /* With success it means nothing (RFC 9110, section 10.2.3). */
    if (response->status >= 300)
        response_read_retry_after(client->curl, response);
    if (client->request->wants_details) {
        response_read_date(client->curl, response);
        response_read_peer(client->curl, response);
    }
    if (response->failure != HTTP_ANSWERED) {
        client_read_failure(client, code, response);
        return;
    }
    response->step = HTTP_STEP_EXCHANGE;
    response->body = (struct text_span){
        client->body.data != NULL ? client->body.data : "", client->body.length_bytes};
}

/*
 * Waits for the transfer. False when it has to end, with the reason in *why: its time has come and
 * nothing is in the socket, or reading what was there has taken OVERTIME_MS.
 */
static bool client_wait(struct http_client *client, int64_t *overtime_ms, CURLcode *why)
{
    int active = 0;
    int64_t now_ms = clock_monotonic_ms();
    *why = CURLE_OK;
    if (http_client_is_aborted(client, client->request->extra_abort))
        *why = CURLE_ABORTED_BY_CALLBACK;
    else if (now_ms >= client->deadline_ms)
        *why = CURLE_OPERATION_TIMEDOUT;
    if (*why == CURLE_OK) {
        int64_t left_ms = client->deadline_ms - now_ms;
        int wait_ms = left_ms < ABORT_CHECK_MS ? (int)left_ms : ABORT_CHECK_MS;
        curl_multi_poll(client->connections, NULL, 0, wait_ms, NULL);
        return true;
    }
    if (*overtime_ms == 0)
        *overtime_ms = now_ms + OVERTIME_MS;
    curl_multi_poll(client->connections, NULL, 0, 0, &active);
    return active > 0 && now_ms < *overtime_ms;
}

/* Blocks until the transfer has ended, or is to end. */
static CURLcode client_transfer(struct http_client *client)
{
    int64_t overtime_ms = 0;
    int running = 1;
    int unread = 0;
    CURLcode why = CURLE_OK;
    CURLMcode code = curl_multi_add_handle(client->connections, client->curl);
    while (code == CURLM_OK && running > 0) {
        code = curl_multi_perform(client->connections, &running);
        if (code == CURLM_OK && running > 0 && !client_wait(client, &overtime_ms, &why))
            break;
    }
    const CURLMsg *ended = curl_multi_info_read(client->connections, &unread);
    if (ended != NULL)
        return ended->data.result;
    if (why == CURLE_OPERATION_TIMEDOUT)
        snprintf(client->reason, sizeof client->reason, "timed out after %lld ms",
            (long long)client->request->timeout_ms);
    return why != CURLE_OK ? why : CURLE_OUT_OF_MEMORY;
}

static bool client_wait_is_aborted(const void *context)
{
    const struct http_client *client = context;
    return http_client_is_aborted(client, client->request->extra_abort);
}

/* Looks up one of the names that the request may need. Blocks as connecting does. */
static CURLcode client_look_up(struct http_client *client)
{
    struct error error;
    int result = names_look_up(
        &client->names, client->connect_until_ms, client_wait_is_aborted, client, &error);
    if (result != 0)
        text_copy(client->reason, sizeof client->reason, error.text);
    if (result == ERROR_INTERRUPTED)
        return CURLE_ABORTED_BY_CALLBACK;
    if (result == ERROR_TIMEOUT)
        return CURLE_OPERATION_TIMEDOUT;
    return result == 0 ? CURLE_OK : CURLE_COULDNT_RESOLVE_HOST;
}

/* Replaces what libcurl is told of the addresses of the names. */
static CURLcode client_set_addresses(struct http_client *client)
{
    struct text entry = {0};
    CURLcode code = CURLE_OK;
    curl_slist_free_all(client->addresses);
    client->addresses = NULL;
    for (unsigned i = 0; i < client->names.count && code == CURLE_OK; i++) {
        text_clear(&entry);
        names_write(&client->names.items[i], &entry);
        struct curl_slist *longer =
            entry.failed ? NULL : curl_slist_append(client->addresses, entry.data);
        if (longer == NULL)
            code = CURLE_OUT_OF_MEMORY;
        else
            client->addresses = longer;
    }
    text_fini(&entry);
    return code == CURLE_OK ? curl_easy_setopt(client->curl, CURLOPT_RESOLVE, client->addresses)
                            : code;
}

/* One transfer, with the addresses that are known. */
static CURLcode client_try(struct http_client *client)
{
    int64_t left_ms = client->connect_until_ms - clock_monotonic_ms();
    CURLcode code = client->names.count > 0 ? client_set_addresses(client) : CURLE_OK;
    client->name_wanted = false;
    if (code == CURLE_OK)
        code = curl_easy_setopt(
            client->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(left_ms > 1 ? left_ms : 1));
    return code == CURLE_OK ? client_transfer(client) : code;
}

/* Repeats the transfer with each name that it needs; nothing is sent before the last. */
static CURLcode client_exchange(struct http_client *client)
{
    CURLcode code = client_try(client);
    while (client->name_wanted) {
        curl_multi_remove_handle(client->connections, client->curl);
        client->reason[0] = '\0';
        code = client_look_up(client);
        if (code != CURLE_OK)
            break;
        code = client_try(client);
    }
    return code;
}

/* Leaves *response as it is when out of memory before anything was sent. */
static void client_run(
    struct http_client *client, struct curl_slist *headers, struct http_response *response)
{
    client->curl = curl_easy_init();
    if (client->curl == NULL)
        return;
    if (client_set_options(client, headers) == CURLE_OK) {
        response->reason[0] = '\0';
        CURLcode code = client_exchange(client);
        client_read_response(client, code, response);
        curl_multi_remove_handle(client->connections, client->curl);
    }
    curl_easy_cleanup(client->curl);
    client->curl = NULL;
    curl_slist_free_all(client->addresses);
    client->addresses = NULL;
}

void http_client_perform(
    struct http_client *client, const struct http_request *request, struct http_response *response)
{
    assert(request->timeout_ms >= 1);
    *response = (struct http_response){.failure = HTTP_NO_MEMORY, .reason = "out of memory"};
    if (http_client_is_aborted(client, request->extra_abort)) {
        response->failure = HTTP_ABORTED;
        text_copy(response->reason, sizeof response->reason, aborted);
        return;
    }
    struct curl_slist *headers = client_build_headers(request->headers);
    if (headers == NULL)
        return;
    int64_t now_ms = clock_monotonic_ms();
    int64_t connect_ms =
        request->timeout_ms < CONNECT_TIMEOUT_MS ? request->timeout_ms : CONNECT_TIMEOUT_MS;
    /* Not kept for reuse: the next answer may be minutes away, once for each worker. */
    text_fini(&client->body);
    client->request = request;
    client->deadline_ms = now_ms + request->timeout_ms;
    client->connect_until_ms = now_ms + connect_ms;
    names_find(&client->names, request->url, request->ignore_proxy);
    client->body_too_large = false;
    client->socket_error = 0;
    client->tls_begun = false;
    client->reason[0] = '\0';
    watch_pause();
    client_run(client, headers, response);
    watch_resume();
    curl_slist_free_all(headers);
}
