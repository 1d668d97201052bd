#include "base/log_fold.h"

#include <stddef.h>
#include <string.h>

#include "base/sync.h"

/* Initialised without a call, as the first line may come before anything else. */
static struct mutex lock = MUTEX_INITIALIZER;
/* Both guarded by lock. The first count items are in use, oldest first. */
static struct log_fold_item items[LOG_FOLD_TEXTS];
static size_t count;

static bool is_over(const struct log_fold_item *item, int64_t now_ms)
{
    return now_ms - LOG_FOLD_WINDOW_MS >= item->since_ms;
}

/*
 * Convex gives each failed call of a function a number, in brackets: messages that differ in that
 * alone say the same.
 */
static bool says_the_same(const char *one, const char *other)
{
    static const char label[] = "[Request ID: ";
    for (;;) {
        const char *at_one = strstr(one, label);
        const char *at_other = strstr(other, label);
        if (at_one == NULL || at_other == NULL)
            return strcmp(one, other) == 0;
        if (at_one - one != at_other - other || memcmp(one, other, (size_t)(at_one - one)) != 0)
            return false;
        one = at_one + strcspn(at_one, "]");
        other = at_other + strcspn(at_other, "]");
    }
}

/* The position of the message's item, or count. */
static size_t find_locked(enum log_level level, const char *component, const char *message)
{
    mutex_assert_held(&lock);
    size_t i = 0;
    while (i < count && (items[i].level != level || !says_the_same(items[i].message, message) ||
                            strcmp(items[i].component, component) != 0))
        i++;
    return i;
}

static void remove_locked(size_t position, struct log_fold_item *removed)
{
    mutex_assert_held(&lock);
    *removed = items[position];
    count--;
    memmove(&items[position], &items[position + 1], (count - position) * sizeof items[0]);
}

static void add_locked(
    enum log_level level, const char *component, const char *message, int64_t now_ms)
{
    mutex_assert_held(&lock);
    struct log_fold_item *item = &items[count++];
    item->level = level;
    memcpy(item->component, component, strlen(component) + 1);
    memcpy(item->message, message, strlen(message) + 1);
    item->since_ms = now_ms;
    item->repeats = 0;
}

bool log_fold_admit(enum log_level level, const char *component, const char *message,
    int64_t now_ms, struct log_fold_item *ended)
{
    ended->repeats = 0;
    if (strlen(component) >= LOG_FOLD_COMPONENT_BYTES || strlen(message) >= LOG_FOLD_TEXT_BYTES)
        return true;
    mutex_lock(&lock);
    size_t position = find_locked(level, component, message);
    bool repeats = position < count && !is_over(&items[position], now_ms);
    if (repeats) {
        items[position].repeats++;
    } else {
        if (position < count)
            remove_locked(position, ended);
        else if (count == LOG_FOLD_TEXTS)
            remove_locked(0, ended);
        add_locked(level, component, message, now_ms);
    }
    mutex_unlock(&lock);
    return !repeats;
}

bool log_fold_take(int64_t now_ms, struct log_fold_item *ended)
{
    ended->repeats = 0;
    mutex_lock(&lock);
    while (count > 0 && ended->repeats == 0 && (now_ms == INT64_MAX || is_over(&items[0], now_ms)))
        remove_locked(0, ended);
    mutex_unlock(&lock);
    return ended->repeats > 0;
}

int64_t log_fold_due_ms(void)
{
    int64_t due_ms = INT64_MAX;
    mutex_lock(&lock);
    for (size_t i = 0; i < count && due_ms == INT64_MAX; i++)
        if (items[i].repeats > 0)
            due_ms = items[i].since_ms + LOG_FOLD_WINDOW_MS;
    mutex_unlock(&lock);
    return due_ms;
}
