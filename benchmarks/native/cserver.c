/* cserver.c - an echo server in C, as the bound that no Python server passes.
 *
 *     cserver MODE [CERTIFICATE]
 *
 * MODE is one of loadgen.c's: tcp, udp, connect or tls (which needs the
 * certificate and its key in a PEM file, and to be built with -DWITH_TLS).
 * Prints the port that it listens on, and serves until it is killed. One
 * thread, edge-triggered epoll, no system call more than it needs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

#define EVENTS 1024
#define BUFFER_SIZE 65536

typedef struct {
    int fd;
    SSL *ssl;                /* owned or NULL */
    char *pending;           /* owned: what could not be sent yet, or NULL */
    size_t size, offset;     /* of it */
} connection;

static int epoll_fd;
static int listener;
static int one_request;      /* close each connection after its first echo */
static char buffer[BUFFER_SIZE];

static _Noreturn void
fail(const char *what)
{
    perror(what);
    exit(1);
}

/* --- transports ------------------------------------------------------ */

#ifdef WITH_TLS
static SSL_CTX *tls_context; /* NULL: plain */

static void
tls_prepare(const char *certificate)
{
    tls_context = SSL_CTX_new(TLS_server_method());
    if (tls_context == NULL
        || SSL_CTX_use_certificate_chain_file(tls_context, certificate) != 1
        || SSL_CTX_use_PrivateKey_file(tls_context, certificate,
                                       SSL_FILETYPE_PEM)
               != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE
                                      | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls_context, 1);
}

static void
tls_open(connection *c)
{
    if (tls_context == NULL) {
        return;
    }
    c->ssl = SSL_new(tls_context);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_set_accept_state(c->ssl);
}

static ssize_t
tls_result(connection *c, int result)
{
    if (result > 0) {
        return result;
    }
    int error = SSL_get_error(c->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    ERR_clear_error();
    return 0;
}

static ssize_t
connection_send(connection *c, const char *data, size_t size)
{
    if (c->ssl != NULL) {
        return tls_result(c, SSL_write(c->ssl, data, (int)size));
    }
    return send(c->fd, data, size, MSG_NOSIGNAL);
}

static ssize_t
connection_recv(connection *c)
{
    if (c->ssl != NULL) {
        return tls_result(c, SSL_read(c->ssl, buffer, BUFFER_SIZE));
    }
    return recv(c->fd, buffer, BUFFER_SIZE, 0);
}

static void
tls_close(connection *c)
{
    SSL_free(c->ssl);
}
#else
static void
tls_prepare(const char *certificate)
{
    (void)certificate;
    fprintf(stderr, "cserver: built without TLS\n");
    exit(1);
}

static void
tls_open(connection *c)
{
    (void)c;
}

static ssize_t
connection_send(connection *c, const char *data, size_t size)
{
    return send(c->fd, data, size, MSG_NOSIGNAL);
}

static ssize_t
connection_recv(connection *c)
{
    return recv(c->fd, buffer, BUFFER_SIZE, 0);
}

static void
tls_close(connection *c)
{
    (void)c;
}
#endif

/* --- connections ----------------------------------------------------- */

static void
watch(int fd, uint32_t events, void *data)
{
    struct epoll_event event = {
        .events = events | EPOLLET,
        .data.ptr = data,
    };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        fail("epoll_ctl");
    }
}

static void
accept_all(void)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN) {
                return;
            }
            if (errno == ECONNABORTED || errno == EINTR) {
                continue;
            }
            fail("accept4");
        }
        int one = 1;
        connection *c = calloc(1, sizeof(connection));
        if (c == NULL
            || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
                   < 0) {
            fail("a new connection");
        }
        c->fd = fd;
        tls_open(c);
        watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, c);
    }
}

static void
connection_close(connection *c)
{
    tls_close(c);
    close(c->fd);
    free(c->pending);
    free(c);
}

/* Sends what is pending. 1 if that was all, 0 if it has to wait, -1 if the
 * connection is broken. */
static int
flush_pending(connection *c)
{
    while (c->offset < c->size) {
        ssize_t n = connection_send(c, c->pending + c->offset,
                                    c->size - c->offset);
        if (n <= 0) {
            return n < 0 && errno == EAGAIN ? 0 : -1;
        }
        c->offset += (size_t)n;
    }
    free(c->pending);
    c->pending = NULL;
    c->offset = c->size = 0;
    return 1;
}

/* Sends the first `size` bytes of the buffer; as flush_pending(). */
static int
echo(connection *c, size_t size)
{
    size_t sent = 0;
    while (sent < size) {
        ssize_t n = connection_send(c, buffer + sent, size - sent);
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        if (n <= 0) {
            return -1;
        }
        sent += (size_t)n;
        if (sent < size && c->ssl == NULL) {
            break; /* the kernel's buffer is full */
        }
    }
    if (sent == size) {
        return 1;
    }
    c->pending = malloc(size - sent);
    if (c->pending == NULL) {
        fail("malloc");
    }
    memcpy(c->pending, buffer + sent, size - sent);
    c->size = size - sent;
    return 0;
}

static void
connection_progress(connection *c)
{
    for (;;) {
        int state = flush_pending(c);
        if (state == 0) {
            return;
        }
        if (state < 0) {
            break;
        }
        ssize_t n = connection_recv(c);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n <= 0 || echo(c, (size_t)n) < 0 || one_request) {
            break;
        }
        if (n < BUFFER_SIZE && c->ssl == NULL && c->pending == NULL) {
            return; /* that was all; more is another event */
        }
    }
    connection_close(c);
}

static void
echo_datagrams(void)
{
    for (;;) {
        struct sockaddr_in sender;
        socklen_t size = sizeof(sender);
        ssize_t n = recvfrom(listener, buffer, sizeof(buffer), 0,
                             (struct sockaddr *)&sender, &size);
        if (n < 0) {
            if (errno != EAGAIN) {
                fail("recvfrom");
            }
            return;
        }
        if (sendto(listener, buffer, (size_t)n, 0, (struct sockaddr *)&sender,
                   size)
                < 0
            && errno != EAGAIN) {
            fail("sendto");
        }
    }
}

/* --- the run --------------------------------------------------------- */

static void
open_listener(int datagrams)
{
    int one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof(address);
    int type = datagrams ? SOCK_DGRAM : SOCK_STREAM;
    listener = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0
        || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))
               < 0
        || bind(listener, (struct sockaddr *)&address, size) < 0
        || (!datagrams && listen(listener, SOMAXCONN) < 0)
        || getsockname(listener, (struct sockaddr *)&address, &size) < 0) {
        fail("listen");
    }
    printf("%d\n", ntohs(address.sin_port));
    if (fflush(stdout) != 0) {
        fail("stdout");
    }
}

static void
raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        fail("getrlimit");
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        fail("setrlimit");
    }
}

int
main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    int datagrams = strcmp(mode, "udp") == 0;
    int tls = strcmp(mode, "tls") == 0;
    one_request = strcmp(mode, "connect") == 0;
    if ((!datagrams && !tls && !one_request && strcmp(mode, "tcp") != 0)
        || (tls && argc < 3)) {
        fprintf(stderr, "usage: cserver tcp|udp|connect|tls [certificate]\n");
        return 2;
    }
    if (tls) {
        tls_prepare(argv[2]);
    }
    raise_file_limit();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        fail("epoll_create1");
    }
    open_listener(datagrams);
    watch(listener, EPOLLIN, NULL);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (n < 0) {
            fail("epoll_wait");
        }
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            if (c != NULL) {
                connection_progress(c);
            }
            else if (datagrams) {
                echo_datagrams();
            }
            else {
                accept_all();
            }
        }
    }
}
