/* A server on a free port of 127.0.0.1 that says the same to everybody, or nothing at all. */
#ifndef TEST_LIB_STUB_SERVER_H
#define TEST_LIB_STUB_SERVER_H

struct stub_server;

/*
 * Starts a server that reads what a client sends first, answers with answer (bytes as they go over
 * the line; borrowed) and closes. With NULL it takes connections and keeps silent. Fails the test
 * when it cannot start. Ended by stub_server_stop.
 */
struct stub_server *stub_server_start(const char *answer);

/*
 * The same with an answer for each request, which answer_to makes of its bytes (ended by NUL) in
 * the server's thread; borrowed until the next call. NULL closes without a word.
 */
typedef const char *stub_server_answer(void *context, const char *request);
struct stub_server *stub_server_start_with(stub_server_answer *answer_to, void *context);
unsigned stub_server_port(const struct stub_server *server);
void stub_server_stop(struct stub_server *server);

#endif
