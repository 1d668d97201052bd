/* How the server's replies go out: through libmicrohttpd, or ahead of it. */
#ifndef HTTP_REPLY_H
#define HTTP_REPLY_H

#include <microhttpd.h>

#include "http/server.h"

/* An empty 200 in JSON. Its body is freed by reply_queue, reply_send or text_fini. */
void reply_init(struct http_server_reply *reply);

/* Replaces the reply by an error: {"error": reason}. */
void reply_set_error(struct http_server_reply *reply, unsigned status, const char *reason);

/*
 * Hands the reply to libmicrohttpd and empties its body; possible at the first call for a request
 * and at the last. MHD_NO makes the library close the connection.
 */
enum MHD_Result reply_queue(struct MHD_Connection *handle, struct http_server_reply *reply);

/*
 * Writes the reply to the socket, of whose response nothing has been sent, and ends the sending
 * side; empties its body. For the time between these calls, in which the library cannot answer.
 * Does not block: small replies fit into the socket's buffer, and any other is cut.
 */
void reply_send(int fd, struct http_server_reply *reply);

#endif
