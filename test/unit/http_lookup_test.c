/* The HTTP client's lookups: one for each connection, of the right name, and few at a time, also
 * with a resolver that fails, is slow or never answers. */
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>

#include "../lib/alloc_fault.h"
#include "../lib/loopback.h"
#include "../lib/stub_server.h"
#include "base/process.h"
#include "base/sync.h"
#include "http/client.h"
#include "http/lookups.h"

enum { LIMIT_BYTES = 4096, TIMEOUT_MS = 10000, SHORT_MS = 40, TRIES = 12, WAIT_MS = 20000 };

static const char answer_bytes[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/*
 * The fake resolver. Names that begin with "hang" are answered once gate_open is set, "stuck" ones
 * never, "absent" ones do not exist, "both" ones have an address of each family, and "scoped" ones
 * a link-local one; all others have name_address.
 */
static atomic_uint name_address = INADDR_LOOPBACK;
static struct mutex resolver_lock = MUTEX_INITIALIZER; /* guards what follows */
static struct cond resolver_changed;
static bool gate_open;
static unsigned lookups; /* begun */
static unsigned hanging; /* begun and not answered */
static char asked_names[256];

/* In place of the C library's, also for libcurl. */
int fake_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
    struct addrinfo **found) __asm__("getaddrinfo");
void fake_freeaddrinfo(struct addrinfo *info) __asm__("freeaddrinfo");

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static struct addrinfo *create_info(int family, const char *service)
{
    struct addrinfo *info = calloc(1, sizeof *info);
    struct sockaddr_in6 *address = calloc(1, sizeof *address);
    if (info == NULL || address == NULL)
        abort();
    /* Family and port are in the same place as in a struct sockaddr_in. */
    address->sin6_family = (sa_family_t)family;
    address->sin6_port = htons(service != NULL ? (uint16_t)strtoul(service, NULL, 10) : 0);
    info->ai_family = family;
    info->ai_socktype = SOCK_STREAM;
    info->ai_addrlen = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof *address;
    info->ai_addr = (struct sockaddr *)address;
    return info;
}

static struct addrinfo *create_v4(const char *service)
{
    struct addrinfo *info = create_info(AF_INET, service);
    struct sockaddr_in *address = (struct sockaddr_in *)info->ai_addr;
    address->sin_addr.s_addr = htonl(atomic_load(&name_address));
    return info;
}

static struct addrinfo *create_v6(const char *service, struct in6_addr bytes, unsigned scope)
{
    struct addrinfo *info = create_info(AF_INET6, service);
    struct sockaddr_in6 *address = (struct sockaddr_in6 *)info->ai_addr;
    address->sin6_addr = bytes;
    address->sin6_scope_id = scope;
    return info;
}

static void record_and_hang(const char *node)
{
    mutex_lock(&resolver_lock);
    size_t used = strlen(asked_names);
    snprintf(asked_names + used, sizeof asked_names - used, "%s ", node);
    lookups++;
    hanging++;
    cond_broadcast(&resolver_changed);
    while (begins_with(node, "stuck") || (begins_with(node, "hang") && !gate_open))
        cond_wait(&resolver_changed, &resolver_lock);
    hanging--;
    mutex_unlock(&resolver_lock);
}

int fake_getaddrinfo(
    const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    static const struct in6_addr link_local = {{{0xFE, 0x80, [15] = 1}}};
    (void)hints;
    record_and_hang(node);
    if (begins_with(node, "absent"))
        return EAI_NONAME;
    if (begins_with(node, "scoped")) {
        *found = create_v6(service, link_local, 1);
        return 0;
    }
    *found = create_v4(service);
    if (begins_with(node, "both")) {
        struct addrinfo *first = create_v6(service, in6addr_loopback, 0);
        first->ai_next = *found;
        *found = first;
    }
    return 0;
}

void fake_freeaddrinfo(struct addrinfo *info)
{
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;
        free(info->ai_addr);
        free(info);
        info = next;
    }
}

static int reset_resolver(void **state)
{
    (void)state;
    mutex_lock(&resolver_lock);
    gate_open = false;
    lookups = 0;
    asked_names[0] = '\0';
    mutex_unlock(&resolver_lock);
    atomic_store(&name_address, INADDR_LOOPBACK);
    unsetenv("http_proxy");
    unsetenv("no_proxy");
    return 0;
}

static void answer_all(void)
{
    mutex_lock(&resolver_lock);
    gate_open = true;
    cond_broadcast(&resolver_changed);
    mutex_unlock(&resolver_lock);
}

static unsigned lookup_count(void)
{
    mutex_lock(&resolver_lock);
    unsigned count = lookups;
    mutex_unlock(&resolver_lock);
    return count;
}

static int64_t thread_count(void)
{
    struct process_stat stat;
    assert_int_equal(process_stat_read(getpid(), &stat), PROCESS_RUNNING);
    return stat.threads;
}

static int64_t descriptor_count(void)
{
    int64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void wait_for_threads(int64_t count)
{
    int64_t deadline_ms = clock_monotonic_ms() + WAIT_MS;
    while (thread_count() > count) {
        assert_true(clock_monotonic_ms() < deadline_ms);
        usleep(1000);
    }
}

static atomic_bool aborted;

static void fetch_within(
    const char *url, int64_t timeout_ms, bool ignore_proxy, struct http_response *response)
{
    static const char *const headers[] = {NULL};
    struct http_client *client;
    const struct http_request request = {.url = url,
        .headers = headers,
        .timeout_ms = timeout_ms,
        .response_limit_bytes = LIMIT_BYTES,
        .single_use_connection = true,
        .ignore_proxy = ignore_proxy};
    assert_int_equal(http_client_create(&client, NULL, &aborted, NULL), 0);
    http_client_perform(client, &request, response);
    http_client_destroy(client);
}

static void fetch(const char *host, unsigned port, struct http_response *response)
{
    char url[128];
    snprintf(url, sizeof url, "http://%s:%u/", host, port);
    fetch_within(url, TIMEOUT_MS, true, response);
}

static void assert_not_sent(const struct http_response *response, const char *reason)
{
    assert_int_equal(response->failure, HTTP_NOT_SENT);
    assert_int_equal(response->step, HTTP_STEP_LOOKUP);
    assert_false(response->sent);
    if (strstr(response->reason, reason) == NULL)
        fail_msg("no \"%s\" in: %s", reason, response->reason);
}

/* What a cached address would cost: nobody listens at the first one any more. */
static void test_name_is_looked_up_for_each_connection(void **state)
{
    (void)state;
    struct http_response response;
    struct stub_server *server = stub_server_start(answer_bytes);
    unsigned port = stub_server_port(server);
    for (unsigned i = 0; i < 3; i++) {
        atomic_store(&name_address, INADDR_LOOPBACK + (i == 1 ? 0 : 1));
        fetch("moving.test", port, &response);
        assert_int_equal(response.failure, i == 1 ? HTTP_ANSWERED : HTTP_NOT_SENT);
        assert_int_equal(response.step, i == 1 ? HTTP_STEP_EXCHANGE : HTTP_STEP_CONNECT);
    }
    assert_int_equal(lookup_count(), 3);
    stub_server_stop(server);
}

/* Answers two requests on each of two connections, then ends. */
static void *serve_pairs(void *argument)
{
    const int *listen_fd = argument;
    char request[4096];
    for (unsigned connection = 0; connection < 2; connection++) {
        int fd = accept4(*listen_fd, NULL, NULL, SOCK_CLOEXEC);
        for (unsigned i = 0; i < 2 && read(fd, request, sizeof request) > 0; i++)
            (void)!write(fd, answer_bytes, sizeof answer_bytes - 1);
        close(fd);
    }
    return NULL;
}

static void test_kept_connection_needs_no_lookup(void **state)
{
    static const char *const headers[] = {NULL};
    (void)state;
    struct http_client *client;
    struct http_response response;
    pthread_t thread;
    unsigned port;
    char url[128];
    int listen_fd = loopback_listen(2, &port);
    snprintf(url, sizeof url, "http://kept.test:%u/", port);
    const struct http_request request = {.url = url,
        .headers = headers,
        .timeout_ms = TIMEOUT_MS,
        .response_limit_bytes = LIMIT_BYTES,
        .ignore_proxy = true};
    assert_int_equal(thread_start(&thread, "pairs", serve_pairs, &listen_fd, NULL), 0);
    assert_int_equal(http_client_create(&client, NULL, &aborted, NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        http_client_perform(client, &request, &response);
        assert_int_equal(response.failure, HTTP_ANSWERED);
        assert_int_equal(lookup_count(), 1 + i / 2);
    }
    http_client_destroy(client);
    thread_join(thread);
    close(listen_fd);
}

static void test_addresses_of_both_families_are_tried(void **state)
{
    (void)state;
    struct http_response response;
    struct stub_server *server = stub_server_start(answer_bytes);
    fetch("both.test", stub_server_port(server), &response);
    assert_int_equal(response.failure, HTTP_ANSWERED);
    assert_int_equal(lookup_count(), 1);
    stub_server_stop(server);
}

/*
 * Its interface cannot be handed over, so libcurl gets it from the resolver itself: recent releases
 * ask for each family.
 */
static void test_link_local_address_is_left_to_libcurl(void **state)
{
    (void)state;
    struct http_response response;
    fetch("scoped.test", 1, &response);
    assert_int_equal(response.failure, HTTP_NOT_SENT);
    assert_int_equal(response.step, HTTP_STEP_CONNECT);
    assert_in_range(lookup_count(), 2, 3);
}

static void test_literals_are_not_looked_up(void **state)
{
    (void)state;
    struct http_response response;
    struct stub_server *server = stub_server_start(answer_bytes);
    fetch("127.0.0.1", stub_server_port(server), &response);
    assert_int_equal(response.failure, HTTP_ANSWERED);
    fetch("localhost", stub_server_port(server), &response);
    assert_int_equal(response.failure, HTTP_ANSWERED);
    fetch("[::1]", stub_server_port(server), &response);
    assert_int_equal(response.step, HTTP_STEP_CONNECT);
    assert_int_equal(lookup_count(), 0);
    stub_server_stop(server);
}

static void test_name_that_does_not_exist_is_reported(void **state)
{
    (void)state;
    struct http_response response;
    fetch("absent.test", 1, &response);
    assert_not_sent(&response, "cannot resolve absent.test: Name or service not known");
    assert_false(response.timed_out);
}

static void test_unanswered_lookups_leave_no_threads(void **state)
{
    (void)state;
    struct http_response response;
    fetch("warm-up.test", 1, &response);
    int64_t threads = thread_count();
    int64_t descriptors = descriptor_count();
    for (unsigned i = 0; i < TRIES; i++) {
        fetch_within("http://hang-1.test/", SHORT_MS, true, &response);
        assert_not_sent(&response, "timed out");
        assert_true(response.timed_out);
    }
    assert_in_range(thread_count() - threads, 0, LOOKUPS_PER_NAME);
    assert_in_range(descriptor_count() - descriptors, 0, LOOKUPS_PER_NAME);
    answer_all();
    wait_for_threads(threads);
    assert_int_equal(descriptor_count(), descriptors);
}

static void test_abandoned_lookup_serves_the_next_request(void **state)
{
    (void)state;
    struct error error;
    struct text addresses = {0};
    int64_t now_ms = clock_monotonic_ms();
    struct lookup *first = lookup_join("hang-2.test", now_ms, &error);
    assert_non_null(first);
    assert_false(lookup_wait(first, now_ms + SHORT_MS));
    lookup_leave(first);
    struct lookup *second = lookup_join("HANG-2.test", now_ms + LOOKUP_OVERDUE_MS - 1, &error);
    assert_ptr_equal(second, first);
    answer_all();
    assert_true(lookup_wait(second, now_ms + WAIT_MS));
    assert_int_equal(lookup_read(second, &addresses, &error), 0);
    assert_string_equal(addresses.data, "127.0.0.1");
    assert_int_equal(lookup_count(), 1);
    lookup_leave(second);
    text_fini(&addresses);
}

/* Neither the name's case nor a healthy one beside it matters. */
static void test_third_lookup_of_a_name_fails_at_once(void **state)
{
    (void)state;
    struct error error;
    struct http_response response;
    int64_t now_ms = clock_monotonic_ms();
    struct stub_server *server = stub_server_start(answer_bytes);
    struct lookup *first = lookup_join("hang-3.test", now_ms - 2L * LOOKUP_OVERDUE_MS, &error);
    struct lookup *second = lookup_join("hang-3.test", now_ms - LOOKUP_OVERDUE_MS, &error);
    assert_true(first != NULL && second != NULL && first != second);
    for (unsigned i = 0; i < TRIES; i++) {
        fetch("Hang-3.test", stub_server_port(server), &response);
        assert_not_sent(
            &response, "cannot resolve Hang-3.test: 2 earlier lookups are still unanswered");
        assert_false(response.timed_out);
        fetch("healthy.test", stub_server_port(server), &response);
        assert_int_equal(response.failure, HTTP_ANSWERED);
    }
    assert_true(clock_monotonic_ms() - now_ms < TIMEOUT_MS);
    assert_int_equal(lookup_count(), 2 + TRIES);
    answer_all();
    assert_true(lookup_wait(first, now_ms + WAIT_MS) && lookup_wait(second, now_ms + WAIT_MS));
    fetch("hang-3.test", stub_server_port(server), &response);
    assert_int_equal(response.failure, HTTP_ANSWERED);
    lookup_leave(first);
    lookup_leave(second);
    stub_server_stop(server);
}

static void *abort_once_hanging(void *argument)
{
    (void)argument;
    mutex_lock(&resolver_lock);
    while (hanging == 0)
        cond_wait(&resolver_changed, &resolver_lock);
    mutex_unlock(&resolver_lock);
    atomic_store(&aborted, true);
    return NULL;
}

static void test_abort_ends_the_wait_for_a_lookup(void **state)
{
    (void)state;
    pthread_t thread;
    struct http_response response;
    int64_t began_ms = clock_monotonic_ms();
    assert_int_equal(thread_start(&thread, "abort", abort_once_hanging, NULL, NULL), 0);
    fetch("hang-4.test", 1, &response);
    thread_join(thread);
    atomic_store(&aborted, false);
    assert_int_equal(response.failure, HTTP_ABORTED);
    assert_false(response.sent);
    assert_true(clock_monotonic_ms() - began_ms < TIMEOUT_MS);
    answer_all();
}

static void fetch_through_proxy(
    const char *proxy_host, unsigned port, const char *no_proxy, struct http_response *response)
{
    char proxy[128];
    char url[128];
    snprintf(proxy, sizeof proxy, "http://user:word@%s:%u/", proxy_host, port);
    snprintf(url, sizeof url, "http://backend.test:%u/", port);
    setenv("http_proxy", proxy, 1);
    setenv("no_proxy", no_proxy, 1);
    fetch_within(url, TIMEOUT_MS, false, response);
}

static void test_name_of_a_proxy_is_looked_up_instead(void **state)
{
    (void)state;
    struct http_response response;
    struct stub_server *server = stub_server_start(answer_bytes);
    unsigned port = stub_server_port(server);
    fetch_through_proxy("proxy.test", port, "other.test", &response);
    assert_int_equal(response.failure, HTTP_ANSWERED);
    assert_string_equal(asked_names, "proxy.test ");
    fetch_through_proxy("127.0.0.1", port, "other.test", &response);
    assert_int_equal(response.failure, HTTP_ANSWERED);
    assert_string_equal(asked_names, "proxy.test ");
    fetch_through_proxy("absent-proxy.test", port, "other.test", &response);
    assert_not_sent(&response, "cannot resolve absent-proxy.test: ");
    stub_server_stop(server);
}

static void test_host_without_a_proxy_does_not_need_its_name(void **state)
{
    (void)state;
    struct http_response response;
    struct stub_server *server = stub_server_start(answer_bytes);
    fetch_through_proxy("absent.test", stub_server_port(server), "backend.test", &response);
    assert_int_equal(response.failure, HTTP_ANSWERED);
    assert_string_equal(asked_names, "absent.test backend.test ");
    stub_server_stop(server);
}

static int attempt_lookup(unsigned number)
{
    struct error error = {0};
    struct text addresses = {0};
    alloc_fault_arm(number);
    struct lookup *lookup = lookup_join("name.test", clock_monotonic_ms(), &error);
    alloc_fault_disarm();
    if (lookup == NULL)
        return error.code;
    assert_true(lookup_wait(lookup, clock_monotonic_ms() + WAIT_MS));
    int result = lookup_read(lookup, &addresses, &error);
    lookup_leave(lookup);
    text_fini(&addresses);
    return result;
}

static void test_failed_allocation_or_thread_is_reported(void **state)
{
    (void)state;
    alloc_fault_sweep(attempt_lookup);
}

/* The last test: its thread is still there when the process ends, which must not mind. */
static void test_lookup_is_still_unanswered_at_the_end(void **state)
{
    (void)state;
    struct http_response response;
    fetch_within("http://stuck.test/", SHORT_MS, true, &response);
    assert_not_sent(&response, "timed out resolving stuck.test");
}

#define LOOKUP_TEST(test) cmocka_unit_test_setup(test, reset_resolver)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOKUP_TEST(test_name_is_looked_up_for_each_connection),
        LOOKUP_TEST(test_kept_connection_needs_no_lookup),
        LOOKUP_TEST(test_addresses_of_both_families_are_tried),
        LOOKUP_TEST(test_link_local_address_is_left_to_libcurl),
        LOOKUP_TEST(test_literals_are_not_looked_up),
        LOOKUP_TEST(test_name_that_does_not_exist_is_reported),
        LOOKUP_TEST(test_unanswered_lookups_leave_no_threads),
        LOOKUP_TEST(test_abandoned_lookup_serves_the_next_request),
        LOOKUP_TEST(test_third_lookup_of_a_name_fails_at_once),
        LOOKUP_TEST(test_abort_ends_the_wait_for_a_lookup),
        LOOKUP_TEST(test_name_of_a_proxy_is_looked_up_instead),
        LOOKUP_TEST(test_host_without_a_proxy_does_not_need_its_name),
        LOOKUP_TEST(test_failed_allocation_or_thread_is_reported),
        LOOKUP_TEST(test_lookup_is_still_unanswered_at_the_end),
    };
    cond_init(&resolver_changed);
    assert_int_equal(http_client_library_start(NULL), 0);
    int failures = cmocka_run_group_tests_name("http_lookup", tests, NULL, NULL);
    http_client_library_stop();
    return failures;
}
