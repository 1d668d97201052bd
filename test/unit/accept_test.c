/* Content negotiation at /health: which Accept headers of real clients get metrics, which JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "serve/serve.h"

static void must_get_metrics(const char *accept)
{
    if (!accept_prefers_metrics(accept))
        fail_msg("JSON for \"%s\"", accept);
}

static void must_get_json(const char *accept)
{
    if (accept_prefers_metrics(accept))
        fail_msg("metrics for \"%s\"", accept);
}

static void test_prometheus_gets_metrics(void **state)
{
    (void)state;
    must_get_metrics("application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
                     "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
    must_get_metrics("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,"
                     "*/*;q=0.1");
    must_get_metrics("text/plain;version=0.0.4;q=1,*/*;q=0.1");
    must_get_metrics("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                     "application/openmetrics-text;version=0.0.1;q=0.5,"
                     "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                     "text/plain;version=0.0.4;q=0.3,*/*;q=0.2");
    must_get_metrics("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
                     "encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2");
}

static void test_browsers_and_programs_get_json(void **state)
{
    (void)state;
    must_get_json("");
    must_get_json("*/*");
    must_get_json("application/json");
    must_get_json("text/plain");
    must_get_json("application/json, text/plain, */*");
    must_get_json("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
                  "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7");
    must_get_json("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
}

static void test_weights_decide(void **state)
{
    (void)state;
    must_get_json("text/plain;version=0.0.4;q=0.5,application/json");
    must_get_metrics("text/plain;version=0.0.4,application/json;q=0.9");
    must_get_json("text/plain;version=0.0.4,application/json");
    must_get_metrics("*/*, application/json;q=0.1, text/plain;version=0.0.4;q=0.5");
    must_get_json("application/*;q=0.8, */*;q=0.1, text/plain;version=0.0.4;q=0.5");
    must_get_json("text/plain;version=0.0.4;q=0");
    must_get_metrics("TEXT/Plain ; Version=0.0.4 ; Q=0.5 , */* ; q=0.1");
}

static void test_malformed_headers_are_tolerated(void **state)
{
    (void)state;
    char many[5000];
    memset(many, ';', sizeof many);
    many[sizeof many - 1] = '\0';
    must_get_json(many);
    memset(many, ',', sizeof many - 1);
    must_get_json(many);
    must_get_json(",;,=;q=;q");
    must_get_json("text/plain;version=0.0.4;q=nan");
    must_get_json("text/plain;version=0.0.4;q=7");
    must_get_json("text/plain;version=0.0.4;q=-1");
    must_get_metrics(",,text/plain;version=0.0.4,,");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prometheus_gets_metrics),
        cmocka_unit_test(test_browsers_and_programs_get_json),
        cmocka_unit_test(test_weights_decide),
        cmocka_unit_test(test_malformed_headers_are_tolerated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
