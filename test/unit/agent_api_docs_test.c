/*
 * The documents about agents' tools are those that the table gives. With GOLDEN_UPDATE=1 they are
 * written instead, for a person to read the difference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../tools/agent_api.h"
#include "../lib/test_file.h"

#define REFERENCE "docs/agent-tools.md"
#define DESCRIPTION "docs/agent-api.yaml"

/* What follows this heading in the reference is made from the table. */
static const char heading[] = "\n## The tools\n";

static void compare_file(const char *path, struct text *text)
{
    assert_false(text->failed);
    if (getenv("GOLDEN_UPDATE") != NULL)
        test_file_write(path, text->data);
    char *found = test_file_read(path);
    if (strcmp(found, text->data) != 0)
        fail_msg("%s is not what the table of tools gives; GOLDEN_UPDATE=1 writes it:\n%s", path,
            text->data);
    free(found);
    text_fini(text);
}

static void test_description_is_that_of_the_table(void **state)
{
    (void)state;
    struct text text = {0};
    agent_api_append_openapi(&text, &tool_catalog);
    compare_file(DESCRIPTION, &text);
}

static void test_reference_is_that_of_the_table(void **state)
{
    (void)state;
    struct text text = {0};
    char *found = test_file_read(REFERENCE);
    const char *begin = strstr(found, heading);
    assert_non_null(begin);
    text_append_bytes(&text, found, (size_t)(begin - found) + strlen(heading));
    agent_api_append_tools(&text, &tool_catalog);
    free(found);
    compare_file(REFERENCE, &text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_description_is_that_of_the_table),
        cmocka_unit_test(test_reference_is_that_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
