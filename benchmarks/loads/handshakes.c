/* Connections over TLS with one request each, as cheap for the client as OpenSSL lets them be.
 *
 *     handshakes PORT CONNECTIONS SECONDS full|resumed NAME BODY
 *
 * Prints how many there were, and in how many seconds. Of every connection it is seen that TLS 1.3 was spoken with the one cipher suite
 * that was offered, that it was resumed or was not, as was asked for, and that its answer was a 200 which ends with the body.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define SUITE "TLS_AES_256_GCM_SHA384"
#define MOST 2048
#define AT_ONCE 64
#define PATIENCE 10000 /* milliseconds */

struct client {
    int fd;
    SSL *ssl;
    int asked;
    size_t size;
    char answer[MOST + 1];
};

static SSL_CTX *context;
static SSL_SESSION *latest;
static int queue, resumed;
static struct sockaddr_in address = {.sin_family = AF_INET};
static const char *name, *body;
static char request[256];

static void fail(const char *what) {
    char words[256] = "";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, words, sizeof words);
    fprintf(stderr, "%s %s\n", what, words);
    exit(1);
}

static double now(void) {
    struct timespec read;
    clock_gettime(CLOCK_MONOTONIC, &read);
    return read.tv_sec + read.tv_nsec / 1e9;
}

/* The newest ticket, of whichever connection it came with. */
static int keep(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    if (latest)
        SSL_SESSION_free(latest);
    latest = session;
    return 1;
}

static void begin(struct client *client) {
    int on = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address))
        fail(strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(queue, EPOLL_CTL_ADD, client->fd, &event);
    client->asked = 0;
    client->size = 0;
    client->ssl = SSL_new(context);
    SSL_set_fd(client->ssl, client->fd);
    SSL_set_tlsext_host_name(client->ssl, name);
    if (resumed && latest) {
        /* A copy: OpenSSL uses a ticket once (RFC 8446, appendix C.4), but several begin together, and not every server sends new ones. */
        SSL_SESSION *copy = SSL_SESSION_dup(latest);
        SSL_set_session(client->ssl, copy);
        SSL_SESSION_free(copy);
    }
}

static void check_agreed(SSL *ssl, int first) {
    if (SSL_version(ssl) != TLS1_3_VERSION || strcmp(SSL_get_cipher_name(ssl), SUITE))
        fail("another version or cipher suite was agreed on");
    if (SSL_session_reused(ssl) != (resumed && !first))
        fail(resumed ? "a handshake was not resumed" : "a handshake was resumed");
}

static void check_answer(struct client *client) {
    size_t size = strlen(body);
    client->answer[client->size] = 0;
    if (strncmp(client->answer, "HTTP/1.1 200 ", 13) || client->size < size || strcmp(client->answer + client->size - size, body)) {
        fprintf(stderr, "the answer is %.200s\n", client->answer);
        exit(1);
    }
}

/* As far as it goes for now; whether the connection is over. */
static int go_on(struct client *client, int first) {
    if (!client->asked) {
        int done = SSL_connect(client->ssl);
        if (done != 1) {
            if (SSL_get_error(client->ssl, done) != SSL_ERROR_WANT_READ)
                fail("a handshake failed");
            return 0;
        }
        check_agreed(client->ssl, first);
        if (SSL_write(client->ssl, request, (int)strlen(request)) <= 0)
            fail("a request cannot be sent");
        client->asked = 1;
    }
    for (;;) {
        size_t read = 0;
        if (SSL_read_ex(client->ssl, client->answer + client->size, MOST - client->size, &read)) {
            client->size += read;
            continue;
        }
        int error = SSL_get_error(client->ssl, 0);
        if (error == SSL_ERROR_WANT_READ)
            return 0;
        if (error != SSL_ERROR_ZERO_RETURN)
            fail("a connection was lost");
        break;
    }
    check_answer(client);
    /* Else its session would count as broken. */
    SSL_set_shutdown(client->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(client->ssl);
    close(client->fd);
    return 1;
}

static void await(struct epoll_event *events, int *count) {
    *count = epoll_wait(queue, events, AT_ONCE, PATIENCE);
    if (*count <= 0)
        fail("nothing comes any more");
}

int main(int count_of_arguments, char **arguments) {
    if (count_of_arguments != 7)
        fail("PORT CONNECTIONS SECONDS full|resumed NAME BODY");
    address.sin_port = htons((unsigned short)atoi(arguments[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int connections = atoi(arguments[2]);
    double seconds = atof(arguments[3]);
    resumed = !strcmp(arguments[4], "resumed");
    name = arguments[5];
    body = arguments[6];
    snprintf(request, sizeof request, "GET /x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name);

    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep);
    queue = epoll_create1(EPOLL_CLOEXEC);
    struct client *clients = calloc((size_t)connections, sizeof *clients);
    struct epoll_event events[AT_ONCE];
    int came;

    /* One connection before all others brings a session. */
    double start = now();
    long count = 1;
    for (begin(clients); !go_on(clients, 1);)
        await(events, &came);
    for (int number = 0; number < connections; number++) {
        begin(clients + number);
        go_on(clients + number, 0);
    }
    for (int live = connections; live;) {
        await(events, &came);
        for (int number = 0; number < came; number++) {
            struct client *client = events[number].data.ptr;
            if (!go_on(client, 0))
                continue;
            count++;
            if (now() - start < seconds) {
                begin(client);
                go_on(client, 0);
            } else {
                live--;
            }
        }
    }
    printf("%ld %.6f\n", count, now() - start);
    return 0;
}
