/*
 * getaddrinfo blocks for as long as the resolver likes and cannot be cancelled. It is therefore
 * called in a thread of its own, for which nobody needs to wait: a request that runs out of time
 * leaves, and the thread frees its lookup once it is answered. libcurl does the same for names that
 * it looks up, but does not say when a thread that it abandoned has ended, so those of a resolver
 * that never answers cannot be counted.
 *
 * All lookups under way are in one list. A request joins the youngest one of its name, whose answer
 * is as new as that of a lookup of its own would be, since it arrives after the request began; an
 * answered lookup leaves the list, so no answer is ever used again. When that one is overdue a
 * second is begun, as the resolver may have come back meanwhile; when both are, requests fail at
 * once until one of them is answered. So a resolver that is slow or has a dead server serves every
 * request, and one that never answers costs two threads for each name.
 *
 * The threads are detached, the only ones of the program: the shutdown does not wait for them, and
 * the end of the process ends them. An answered lookup is freed by the last request that holds it,
 * an abandoned one by its thread.
 */
#include "http/lookups.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/sync.h"
#include "base/watch.h"

struct lookup {
    /* Set before any other thread has it. */
    int64_t began_ms;
    char *name;

    /* The answer: written by the thread, constant once answered. */
    struct text addresses;
    struct error failure; /* code 0: none */

    /* Guarded by lookups_lock. */
    TAILQ_ENTRY(lookup) link; /* while it is not answered */
    unsigned joined;          /* how many requests hold it; its thread does until it is answered */
    bool is_answered;
    struct cond answered;
};

/* Guards the list, oldest first, and the fields above that say so. */
static struct mutex lookups_lock = MUTEX_INITIALIZER;
static TAILQ_HEAD(lookup_list, lookup) lookups = TAILQ_HEAD_INITIALIZER(lookups);

static void lookup_destroy(struct lookup *lookup)
{
    text_fini(&lookup->addresses);
    cond_fini(&lookup->answered);
    free(lookup->name);
    free(lookup);
}

/* Held by the caller. */
static struct lookup *lookup_create(const char *name, int64_t now_ms)
{
    struct lookup *created = calloc(1, sizeof *created);
    if (created == NULL)
        return NULL;
    cond_init(&created->answered);
    created->began_ms = now_ms;
    created->joined = 1;
    created->name = strdup(name);
    if (created->name != NULL)
        return created;
    lookup_destroy(created);
    return NULL;
}

/* False if libcurl cannot be told the address: it takes no interface, and no other families. */
static bool append_address(struct text *addresses, const struct addrinfo *info)
{
    char text[INET6_ADDRSTRLEN];
    const char *separator = addresses->length_bytes > 0 ? "," : "";
    if (info->ai_family == AF_INET) {
        const struct sockaddr_in *address = (const void *)info->ai_addr;
        inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
        text_printf(addresses, "%s%s", separator, text);
        return true;
    }
    const struct sockaddr_in6 *address = (const void *)info->ai_addr;
    if (info->ai_family != AF_INET6 || address->sin6_scope_id != 0)
        return false;
    inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof text);
    text_printf(addresses, "%s[%s]", separator, text);
    return true;
}

static void read_addresses(struct lookup *lookup, const struct addrinfo *found)
{
    for (const struct addrinfo *info = found; info != NULL; info = info->ai_next)
        if (!append_address(&lookup->addresses, info)) {
            text_clear(&lookup->addresses);
            return;
        }
    if (lookup->addresses.failed)
        error_set(
            &lookup->failure, ERROR_NO_MEMORY, "no memory for the addresses of %s", lookup->name);
}

static void ask_resolver(struct lookup *lookup)
{
    /* The type keeps each address from being listed once per protocol. */
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    watch_pause();
    int result = getaddrinfo(lookup->name, NULL, &hints, &found);
    watch_resume();
    if (result == EAI_SYSTEM)
        error_set_errno(
            &lookup->failure, ERROR_UNREACHABLE, errno, "cannot resolve %s", lookup->name);
    else if (result != 0)
        error_set(&lookup->failure, ERROR_UNREACHABLE, "cannot resolve %s: %s", lookup->name,
            gai_strerror(result));
    if (result != 0)
        return;
    read_addresses(lookup, found);
    freeaddrinfo(found);
}

/* Whether a request still holds it; otherwise it is the caller's to destroy. */
static bool publish_answer(struct lookup *lookup)
{
    mutex_lock(&lookups_lock);
    TAILQ_REMOVE(&lookups, lookup, link);
    lookup->is_answered = true;
    cond_broadcast(&lookup->answered);
    bool is_held = lookup->joined > 0;
    mutex_unlock(&lookups_lock);
    return is_held;
}

static void *run_lookup(void *argument)
{
    ask_resolver(argument);
    if (!publish_answer(argument))
        lookup_destroy(argument);
    return NULL;
}

static void start_lookup(struct lookup *lookup)
{
    pthread_t thread;
    struct error error;
    if (thread_start(&thread, "mc-lookup", run_lookup, lookup, &error) == 0) {
        pthread_detach(thread);
        return;
    }
    lookup->failure = error;
    error_wrap(&lookup->failure, "cannot resolve %s", lookup->name);
    publish_answer(lookup);
}

/*
 * Joins a lookup, or lists created and joins that. *under_way is how many there are of the name;
 * NULL when that is too many.
 */
static struct lookup *join_locked(struct lookup *created, unsigned *under_way)
{
    struct lookup *lookup;
    struct lookup *youngest = NULL;
    mutex_assert_held(&lookups_lock);
    *under_way = 0;
    TAILQ_FOREACH (lookup, &lookups, link)
        if (strcasecmp(lookup->name, created->name) == 0) {
            youngest = lookup;
            ++*under_way;
        }
    if (youngest != NULL && created->began_ms - youngest->began_ms < LOOKUP_OVERDUE_MS) {
        youngest->joined++;
        return youngest;
    }
    if (*under_way >= LOOKUPS_PER_NAME)
        return NULL;
    TAILQ_INSERT_TAIL(&lookups, created, link);
    return created;
}

struct lookup *lookup_join(const char *name, int64_t now_ms, struct error *error)
{
    unsigned under_way;
    struct lookup *created = lookup_create(name, now_ms);
    if (created == NULL) {
        error_set(error, ERROR_NO_MEMORY, "no memory to resolve %s", name);
        return NULL;
    }
    mutex_lock(&lookups_lock);
    struct lookup *joined = join_locked(created, &under_way);
    mutex_unlock(&lookups_lock);
    if (joined == created)
        start_lookup(created);
    else
        lookup_destroy(created);
    if (joined == NULL)
        error_set(error, ERROR_UNREACHABLE,
            "cannot resolve %s: %u earlier lookups are still unanswered", name, under_way);
    return joined;
}

bool lookup_wait(struct lookup *lookup, int64_t until_ms)
{
    mutex_lock(&lookups_lock);
    while (!lookup->is_answered && cond_wait_until(&lookup->answered, &lookups_lock, until_ms))
        ;
    bool is_answered = lookup->is_answered;
    mutex_unlock(&lookups_lock);
    return is_answered;
}

int lookup_read(struct lookup *lookup, struct text *addresses, struct error *error)
{
    if (lookup->failure.code != 0)
        return error_set(error, lookup->failure.code, "%s", lookup->failure.text);
    text_append_bytes(addresses, lookup->addresses.data, lookup->addresses.length_bytes);
    return addresses->failed ? error_set(error, ERROR_NO_MEMORY,
                                   "no memory for the addresses of %s", lookup->name)
                             : 0;
}

void lookup_leave(struct lookup *lookup)
{
    mutex_lock(&lookups_lock);
    bool was_last = --lookup->joined == 0 && lookup->is_answered;
    mutex_unlock(&lookups_lock);
    if (was_last)
        lookup_destroy(lookup);
}
