/* Counters of the calls to each backend function and of their outcomes. */
#ifndef SANDBOX_COUNTS_H
#define SANDBOX_COUNTS_H

#include <jansson.h>
#include <stdint.h>

#include "map.h"

struct count {
    char name[48];
    int64_t calls; /* requests for the function, whatever their outcome */
    int64_t ok;
    int64_t errors;      /* function errors, injected ones included */
    int64_t faults;      /* calls that a fault rule matched */
    int64_t last_ms;     /* wall clock */
    int64_t first_us;    /* monotonic; 0: not called yet */
    char last_trace[64]; /* traceparent header of the last call; "" for none */
};

/* Used by the server's thread only. Zero-initialise. */
struct counts {
    struct map by_name;
};

void counts_fini(struct counts *counts);

/* Sets every count to 0; pointers from counts_of stay valid. */
void counts_reset(struct counts *counts, const char *const *names);

/* The counter of a function, created at its first use. Names are truncated to 47 bytes. */
struct count *counts_of(struct counts *counts, const char *name);

/* How often a function was called; NULL: all functions together. */
int64_t counts_calls(const struct counts *counts, const char *name);

/* When any function was called last, wall clock in milliseconds; 0: none was. */
int64_t counts_last_ms(const struct counts *counts);

/*
 * A new object {name: {calls, ok, errors, faults, lastAt, firstUs, lastTrace}} of the functions in
 * names.
 */
json_t *counts_describe(const struct counts *counts, const char *const *names);

#endif
