/* A server on a free port of 127.0.0.1 with a canned response, or with none at all. */
#ifndef TEST_LIB_STUB_SERVER_H
#define TEST_LIB_STUB_SERVER_H

struct stub_server;

/*
 * Starts a server that reads a request, answers with the raw bytes of answer (borrowed) and closes.
 * With NULL it accepts connections and never answers. Fails the test when it cannot start. Ended by
 * stub_server_stop.
 */
struct stub_server *stub_server_start(const char *answer);

/*
 * The same with an answer per request: answer_to is called in the server's thread with the
 * request's bytes, NUL-terminated; its result is borrowed until the next call. NULL closes without
 * an answer.
 */
typedef const char *stub_server_answer(void *context, const char *request);
struct stub_server *stub_server_start_with(stub_server_answer *answer_to, void *context);

/* A gateway whose endpoint is off: its control UI serves a page for every GET, 405 otherwise. */
struct stub_server *stub_server_start_control_ui(void);

unsigned stub_server_port(const struct stub_server *server);
void stub_server_stop(struct stub_server *server);

#endif
