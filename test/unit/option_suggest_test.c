/* Suggestions for misspelt option names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "config/values.h"

static void test_closest_name_is_suggested(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"log_level", "LOG_LEVEL"},
        {"LOGLEVEL", "LOG_LEVEL"},
        {"SERVICE_TOKENFILE", "SERVICE_TOKEN_FILE"},
        {"DELIVERY_MAX_CONCURENT_SESSION", "DELIVERY_MAX_CONCURRENT_SESSIONS"},
        {"OPENCLAW_GATEWAY_TOKNE", "OPENCLAW_GATEWAY_TOKEN"},
        {"CAFILE", "CA_FILE"},
        {"LOG_LEVEL", NULL},
        {"SERVICE_TOKEN_FILE", NULL},
        {"DROPLET_IP", NULL},
        {"STATE_DIRECTORY", NULL},
        {"LOG_FILE", NULL},
        {"C_FILES", NULL},
        {"OPENCLAW_GATEWAY_PORT", NULL},
        {"DELIVERY_MAX_RUNS", NULL},
        {"OPENCLAW_FALLBACK_AGENT", NULL},
        {"HOME", NULL},
        {"", NULL},
        {"A_NAME_THAT_IS_LONGER_THAN_EVERY_NAME_OF_A_SETTING_IS", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *suggested = option_closest(cases[i][0], strlen(cases[i][0]));
        if (cases[i][1] == NULL)
            assert_null(suggested);
        else
            assert_string_equal(suggested != NULL ? suggested : "nothing", cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closest_name_is_suggested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
