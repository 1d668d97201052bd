/*
 * The lower bound for the cost of a delivery on this machine: its four HTTP exchanges and its spool
 * file, and nothing else. Delivers everything that the sandbox lists, with a thread per agent, and
 * prints the CPU seconds per 1,000 deliveries, total and in the kernel.
 *
 * Usage: floor sockets|libcurl|libraries|durable PORT DIR
 *
 * "sockets" reads and writes sockets itself and only finds the end of an answer; "libcurl" uses
 * libcurl for that; "libraries" also parses each answer with Jansson. These three append the reply
 * to the file of the run and sync that, which a power failure in between can tear. "durable" is
 * "libraries" with the files that the runtime owes its users: the reply replaces the file of the
 * run, and the new file and its name are both synced. There is no queue, no JSON building, no
 * checks and no log: this is a yardstick, not a runtime.
 * ACCOUNT_ID, SERVICE_TOKEN and OPENCLAW_GATEWAY_TOKEN come from the environment.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AGENTS = 256, BYTES = 8192, FILLER_BYTES = 300, RECORD_BYTES = 600, NAME_BYTES = 128 };

static const char request_format[] =
    "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n%s"
    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n";

struct agent {
    pthread_t thread;
    char id[65];
    char slug[65];
    char authorization[256];
    int socket;    /* to the backend; -1: not connected */
    CURL *backend; /* the same with libcurl */
    CURL *gateway;
    char answer[BYTES * 8];
    size_t answer_bytes;
};

static bool by_libcurl;
static bool reads_json;
static bool replaces_files;
static int port;
static int dir_fd;
static json_t *list;
static char filler[FILLER_BYTES + 1];
static struct agent agents[AGENTS];
static size_t agent_count;

static void die(const char *what)
{
    fprintf(stderr, "floor: %s\n", what);
    exit(1);
}

static int connect_to_sandbox(void)
{
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("cannot connect to the sandbox");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* Reads until Content-Length bytes of body have arrived. */
static void read_answer(struct agent *agent, int fd)
{
    size_t used = 0;
    size_t needed = SIZE_MAX;
    while (used < needed) {
        ssize_t got = recv(fd, agent->answer + used, sizeof agent->answer - 1 - used, 0);
        if (got <= 0)
            die("truncated answer");
        used += (size_t)got;
        agent->answer[used] = '\0';
        const char *end = strstr(agent->answer, "\r\n\r\n");
        const char *length = strstr(agent->answer, "Content-Length: ");
        if (end != NULL && length != NULL)
            needed = (size_t)(end + 4 - agent->answer) + strtoul(length + 16, NULL, 10);
    }
    if (strncmp(agent->answer, "HTTP/1.1 200", 12) != 0)
        die(agent->answer);
}

static void exchange_by_sockets(struct agent *agent, bool gateway, const char *body)
{
    char request[BYTES];
    char authorization[sizeof agent->authorization + 2] = "";
    if (gateway)
        snprintf(authorization, sizeof authorization, "%s\r\n", agent->authorization);
    int head = snprintf(request, sizeof request, request_format,
        gateway ? "/v1/responses" : "/api/action", authorization, strlen(body));
    memcpy(request + head, body, strlen(body));
    if (agent->socket < 0)
        agent->socket = connect_to_sandbox();
    int fd = gateway ? connect_to_sandbox() : agent->socket;
    if (send(fd, request, (size_t)head + strlen(body), MSG_NOSIGNAL) < 0)
        die("cannot send a request");
    read_answer(agent, fd);
    if (gateway)
        close(fd);
}

static size_t append_body(char *bytes, size_t size, size_t count, void *context)
{
    struct agent *agent = context;
    if (agent->answer_bytes + count * size >= sizeof agent->answer)
        return 0;
    memcpy(agent->answer + agent->answer_bytes, bytes, count * size);
    agent->answer_bytes += count * size;
    agent->answer[agent->answer_bytes] = '\0';
    return count * size;
}

static CURL *make_handle(struct agent *agent, const char *path, bool fresh)
{
    char url[64];
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (fresh)
        headers = curl_slist_append(headers, agent->authorization);
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, agent);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, fresh ? 1L : 0L);
    return curl;
}

static void exchange_by_libcurl(struct agent *agent, bool gateway, const char *body)
{
    long status = 0;
    if (agent->backend == NULL) {
        agent->backend = make_handle(agent, "/api/action", false);
        agent->gateway = make_handle(agent, "/v1/responses", true);
    }
    CURL *curl = gateway ? agent->gateway : agent->backend;
    agent->answer_bytes = 0;
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    if (curl_easy_perform(curl) != CURLE_OK ||
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK || status != 200)
        die("exchange failed");
    if (!reads_json)
        return;
    json_t *answer = json_loadb(agent->answer, agent->answer_bytes, 0, NULL);
    if (answer == NULL)
        die("invalid JSON in an answer");
    json_decref(answer);
}

static void exchange(struct agent *agent, bool gateway, const char *format, ...)
{
    char body[BYTES / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(body, sizeof body, format, arguments);
    va_end(arguments);
    if (by_libcurl)
        exchange_by_libcurl(agent, gateway, body);
    else
        exchange_by_sockets(agent, gateway, body);
}

/* The body of an action: a format for its own arguments, then account and token. */
#define CALL(action, arguments)                                   \
    "{\"path\":\"service/actions:" action                         \
    "\",\"format\":\"convex_encoded_json\",\"args\":[{" arguments \
    "\"accountId\":\"%s\",\"serviceToken\":\"%s\"}]}"

/* Extracts the agent's slug from the context. */
static void read_slug(struct agent *agent)
{
    static const char key[] = "\"slug\":\"";
    const char *slug = strstr(agent->answer, key);
    if (slug == NULL || sscanf(slug + sizeof key - 1, "%64[^\"]", agent->slug) != 1)
        die("no agent in the context");
}

/* Puts a file of size bytes under its name at once; returns its descriptor. */
static int replace_file(const char *name, size_t size, bool synced)
{
    char temporary[NAME_BYTES + 8];
    static char bytes[RECORD_BYTES];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size || (synced && fsync(fd) != 0) ||
        renameat(dir_fd, temporary, dir_fd, name) != 0 || (synced && fsync(dir_fd) != 0))
        die("cannot write a spool file");
    return fd;
}

/* fd: of the file of the run. */
static void save_reply(int fd, const char *name)
{
    if (replaces_files)
        close(replace_file(name, RECORD_BYTES, true));
    else if (pwrite(fd, filler, FILLER_BYTES, FILLER_BYTES) != FILLER_BYTES || fsync(fd) != 0)
        die("cannot sync a spool file");
    close(fd);
}

static void deliver_one(struct agent *agent, const char *id, const char *task_id)
{
    char name[NAME_BYTES];
    const char *account = getenv("ACCOUNT_ID");
    const char *token = getenv("SERVICE_TOKEN");
    exchange(agent, false, CALL("getNotificationForDelivery", "\"notificationId\":\"%s\","), id,
        account, token);
    read_slug(agent);
    snprintf(name, sizeof name, "%s.json", id);
    int fd = replace_file(name, FILLER_BYTES, false);
    exchange(agent, true, "{\"model\":\"openclaw:%s\",\"input\":\"%s\",\"user\":\"%s\"}",
        agent->slug, filler, agent->slug);
    save_reply(fd, name);
    exchange(agent, false,
        CALL("createMessageFromAgent", "\"taskId\":\"%s\",\"agentId\":\"%s\",\"content\":\"%s\","
                                       "\"sourceNotificationId\":\"%s\","),
        task_id, agent->id, filler, id, account, token);
    exchange(agent, false, CALL("markNotificationDelivered", "\"notificationId\":\"%s\","), id,
        account, token);
    unlinkat(dir_fd, name, 0);
}

static const char *string_field(const json_t *row, const char *key)
{
    const char *value = json_string_value(json_object_get(row, key));
    return value != NULL ? value : "";
}

static void *deliver_all_of_agent(void *argument)
{
    struct agent *agent = argument;
    size_t i;
    const json_t *row;
    json_array_foreach (list, i, row)
        if (strcmp(string_field(row, "recipientId"), agent->id) == 0)
            deliver_one(agent, string_field(row, "_id"), string_field(row, "taskId"));
    return NULL;
}

static void add_agent(const char *id)
{
    for (size_t i = 0; i < agent_count; i++)
        if (strcmp(agents[i].id, id) == 0)
            return;
    if (agent_count == AGENTS)
        die("too many agents");
    struct agent *agent = &agents[agent_count++];
    agent->socket = -1;
    snprintf(agent->id, sizeof agent->id, "%s", id);
    snprintf(agent->authorization, sizeof agent->authorization, "Authorization: Bearer %s",
        getenv("OPENCLAW_GATEWAY_TOKEN"));
}

static void read_list(void)
{
    static struct agent reader = {.socket = -1};
    static char body[BYTES];
    snprintf(body, sizeof body, CALL("listUndeliveredNotifications", "\"limit\":8000,"),
        getenv("ACCOUNT_ID"), getenv("SERVICE_TOKEN"));
    char *bytes = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&bytes, &length);
    CURL *curl = make_handle(&reader, "/api/action", false);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, fwrite);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, memory);
    bool answered = curl_easy_perform(curl) == CURLE_OK;
    fclose(memory);
    list = answered ? json_object_get(json_loadb(bytes, length, 0, NULL), "value") : NULL;
    size_t i;
    const json_t *row;
    json_array_foreach (list, i, row)
        add_agent(string_field(row, "recipientId"));
    curl_easy_cleanup(curl);
}

static double to_seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    struct rusage before;
    struct rusage after;
    if (argc != 4)
        die("usage: floor sockets|libcurl|libraries|durable PORT DIR");
    replaces_files = strcmp(argv[1], "durable") == 0;
    reads_json = replaces_files || strcmp(argv[1], "libraries") == 0;
    by_libcurl = reads_json || strcmp(argv[1], "libcurl") == 0;
    port = (int)strtol(argv[2], NULL, 10);
    dir_fd = open(argv[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    memset(filler, 'w', FILLER_BYTES);
    curl_global_init(CURL_GLOBAL_ALL);
    read_list();
    if (dir_fd < 0 || json_array_size(list) == 0)
        die("cannot open the directory, or nothing to deliver");
    getrusage(RUSAGE_SELF, &before);
    for (size_t i = 0; i < agent_count; i++)
        if (pthread_create(&agents[i].thread, NULL, deliver_all_of_agent, &agents[i]) != 0)
            die("cannot start a thread");
    for (size_t i = 0; i < agent_count; i++)
        pthread_join(agents[i].thread, NULL);
    getrusage(RUSAGE_SELF, &after);
    double kernel_s = to_seconds(after.ru_stime) - to_seconds(before.ru_stime);
    double all_s = kernel_s + to_seconds(after.ru_utime) - to_seconds(before.ru_utime);
    double thousands = (double)json_array_size(list) / 1000;
    printf("%.3f %.3f\n", all_s / thousands, kernel_s / thousands);
    return 0;
}
