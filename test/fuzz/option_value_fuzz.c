/*
 * Any value for any option (the first byte selects it): stored, so that what is printed for it can
 * be stored again, or refused with a one-line error that names the option.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/values.h"

static void check_problem(const struct problems *problems, const struct option *option)
{
    const char *text = problems->items[0].text;
    assert(problems->items[0].severity == PROBLEM_ERROR);
    assert(strchr(text, '\n') == NULL);
    assert(strncmp(text, option->name, strlen(option->name)) == 0);
}

/* A stored value's printed form must parse to the same value. */
static void check_stored(const struct option *option, struct config *config)
{
    struct problems problems = {0};
    struct text once = {0};
    struct text twice = {0};
    option_append_value(option, config, &once);
    assert(!once.failed);
    assert(option_store(option, once.data != NULL ? once.data : "", config, &problems) == 0);
    option_append_value(option, config, &twice);
    assert(once.length_bytes == twice.length_bytes);
    if (once.data != NULL && twice.data != NULL)
        assert(memcmp(once.data, twice.data, once.length_bytes) == 0);
    text_fini(&once);
    text_fini(&twice);
    problems_fini(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct option *option = &config_options[data[0] % CONFIG_OPTIONS];
    char *value = strndup((const char *)data + 1, size - 1);
    assert(value != NULL);
    struct config config = {0};
    struct problems problems = {0};
    int result = option_store(option, value, &config, &problems);
    assert((result == 0) == (problems.count == 0));
    if (result == 0)
        check_stored(option, &config);
    else
        check_problem(&problems, option);
    problems_fini(&problems);
    config_fini(&config);
    free(value);
    return 0;
}
