/* One connection of a fuzz target to a server of ours. */
#ifndef TEST_FUZZ_HTTP_TALK_H
#define TEST_FUZZ_HTTP_TALK_H

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_TALK_ANSWER_BYTES = 16 * 1024 };

/*
 * Sends the bytes to that port of the loopback address while it reads the answer, which ends in a
 * NUL, and closes the connection. Returns the length of the answer; *closed tells whether the
 * server closed the connection first, or else nothing came for a while.
 */
size_t http_talk(unsigned port, const char *bytes, size_t size,
    char answer[static HTTP_TALK_ANSWER_BYTES], bool *closed);

#endif
