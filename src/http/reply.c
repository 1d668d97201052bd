/*
 * A reply is the same bytes whichever way it goes out: the headers are in one table, which either
 * libmicrohttpd gets or reply_send writes. Every reply closes its connection.
 */
#include "http/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { HEADERS = 7, NUMBER_BYTES = 16 };

struct reply_header {
    const char *name;
    const char *value;
};

/* The headers of a reply, ended by one without a name. */
struct reply_headers {
    struct reply_header items[HEADERS + 1];
    char retry_after[NUMBER_BYTES];
};

static void reply_list_headers(const struct http_server_reply *reply, struct reply_headers *headers)
{
    const struct reply_header always[] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type},
        {MHD_HTTP_HEADER_CONTENT_SECURITY_POLICY, reply->content_policy},
        {MHD_HTTP_HEADER_X_CONTENT_TYPE_OPTIONS, "nosniff"},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
        {MHD_HTTP_HEADER_CONNECTION, "close"},
    };
    size_t count = sizeof always / sizeof always[0];
    *headers = (struct reply_headers){0};
    for (size_t i = 0; i < count; i++)
        headers->items[i] = always[i];
    if (reply->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        headers->items[count++] = (struct reply_header){
            MHD_HTTP_HEADER_ALLOW, reply->allow != NULL ? reply->allow : "GET, HEAD"};
    if (reply->retry_after_s == 0)
        return;
    snprintf(headers->retry_after, sizeof headers->retry_after, "%u", reply->retry_after_s);
    headers->items[count] =
        (struct reply_header){MHD_HTTP_HEADER_RETRY_AFTER, headers->retry_after};
}

void reply_init(struct http_server_reply *reply)
{
    *reply = (struct http_server_reply){
        .status = MHD_HTTP_OK,
        .content_type = "application/json",
        .content_policy = "default-src 'none'",
    };
}

void reply_set_error(struct http_server_reply *reply, unsigned status, const char *reason)
{
    reply->status = status;
    reply->content_type = "application/json";
    text_clear(&reply->body);
    text_printf(&reply->body, "{\"error\":\"%s\"}", reason);
}

static enum MHD_Result reply_add_headers(
    struct MHD_Response *response, const struct http_server_reply *reply)
{
    struct reply_headers headers;
    reply_list_headers(reply, &headers);
    for (const struct reply_header *at = headers.items; at->name != NULL; at++)
        if (MHD_add_response_header(response, at->name, at->value) != MHD_YES)
            return MHD_NO;
    return MHD_YES;
}

enum MHD_Result reply_queue(struct MHD_Connection *handle, struct http_server_reply *reply)
{
    size_t length_bytes = reply->body.length_bytes;
    char *body = text_take(&reply->body);
    if (body == NULL)
        return MHD_NO;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length_bytes, body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(body);
        return MHD_NO;
    }
    enum MHD_Result result = reply_add_headers(response, reply);
    if (result == MHD_YES)
        result = MHD_queue_response(handle, reply->status, response);
    MHD_destroy_response(response);
    return result;
}

void reply_send(int fd, struct http_server_reply *reply)
{
    struct text bytes = {0};
    struct reply_headers headers;
    reply_list_headers(reply, &headers);
    text_printf(
        &bytes, "HTTP/1.1 %u %s\r\n", reply->status, MHD_get_reason_phrase_for(reply->status));
    for (const struct reply_header *at = headers.items; at->name != NULL; at++)
        text_printf(&bytes, "%s: %s\r\n", at->name, at->value);
    text_printf(&bytes, "Content-Length: %zu\r\n\r\n", reply->body.length_bytes);
    text_append_bytes(&bytes, reply->body.data, reply->body.length_bytes);
    if (!bytes.failed && !reply->body.failed) {
        ssize_t sent = send(fd, bytes.data, bytes.length_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)sent;
    }
    shutdown(fd, SHUT_WR);
    text_fini(&bytes);
    text_fini(&reply->body);
}
