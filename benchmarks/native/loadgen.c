/* loadgen.c - a load generator for echo servers on this machine.
 *
 *     loadgen mode=tcp port=1234 connections=100 size=64 pid=4321
 *
 * Closed loop: each connection sends a message, waits for all of its echo,
 * checks it and sends the next. One thread and edge-triggered epoll, so that
 * it costs less than the server it loads. Modes:
 *
 *     tcp      echo over TCP
 *     udp      echo of datagrams, each connection a socket of its own
 *     connect  connect, send one message, read the echo to end-of-file, close
 *     tls      echo over TLS (if built with -DWITH_TLS)
 *
 * Other arguments: idle=N opens N more connections that exchange one message
 * and then only stay; warmup=S and seconds=S say how long to run before and
 * while measuring; messages=N ends after so many messages instead, all of
 * them measured. pid= is the server's, for its CPU time.
 *
 * Prints one JSON object: messages, seconds, rate (per second), p50_us,
 * p99_us, errors, server_cpu_us (per message), and server_busy and
 * client_busy, the share of the time that each of the two was on a CPU.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

#define SECOND 1000000000ull
#define EVENTS 1024
#define DATAGRAM_MAX 65536
/* Up to this size every echo is compared, above it each connection's first:
 * a client that reads all the bytes once more would be the bottleneck. */
#define COMPARE_MAX 4096
/* Nothing has come for so long: datagrams were lost. */
#define RESEND_MS 200
#define STALLED (10 * SECOND)

typedef struct {
    int fd;
    SSL *ssl;                /* owned or NULL */
    size_t sent;             /* of the message under way */
    size_t received;
    uint64_t began;          /* when it was sent */
    uint32_t sequence;       /* tells a datagram from a late duplicate */
    uint64_t echoes;         /* so far, since this connection was opened */
    uint64_t left;           /* messages still to send */
} connection;

typedef enum { TCP, UDP, CONNECT, TLS, MODES } loadgen_mode;

static const char *const MODE_NAMES[MODES] = {"tcp", "udp", "connect", "tls"};

static struct {
    loadgen_mode mode;
    uint16_t port;
    pid_t pid;
    unsigned connections, idle;
    size_t size;
    uint64_t messages;
    double warmup, seconds;
} options = {.connections = 1, .size = 64, .warmup = 0.5, .seconds = 2};

static int epoll_fd;
static char *message;        /* what is sent; options.size bytes */
static char *buffer;         /* what is received */
static unsigned unfinished;  /* connections with messages left */
static unsigned opened;
static clockid_t server_clock;
static int has_server_clock;

/* --- the end --------------------------------------------------------- */

static _Noreturn void
fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "loadgen: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static _Noreturn void
fail_errno(const char *what)
{
    fail("%s: %s", what, strerror(errno));
}

/* --- clocks ---------------------------------------------------------- */

static uint64_t
clock_read(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) < 0) {
        fail_errno("clock_gettime");
    }
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t
now(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

/* --- what is measured ------------------------------------------------ */

/* Latencies in buckets of 3 % and less: values below 32 ns one by one, then
 * 32 buckets for each power of two. */
#define PER_OCTAVE 32
#define BUCKETS (64 * PER_OCTAVE)

static struct {
    int on;
    uint64_t began, ended;
    uint64_t server_cpu, client_cpu;
    uint64_t messages, errors;
    uint64_t histogram[BUCKETS];
} measured;

static void
measure_latency(uint64_t ns)
{
    if (!measured.on) {
        return;
    }
    unsigned bucket = (unsigned)ns;
    if (ns >= PER_OCTAVE) {
        unsigned exponent = 63 - (unsigned)__builtin_clzll(ns);
        bucket = (exponent - 4) * PER_OCTAVE
                 + (unsigned)((ns >> (exponent - 5)) & (PER_OCTAVE - 1));
    }
    measured.histogram[bucket]++;
    measured.messages++;
}

/* The latency in µs that a share of all messages does not exceed. */
static double
percentile(double share)
{
    uint64_t wanted = (uint64_t)((double)measured.messages * share), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += measured.histogram[i];
        if (seen > wanted) {
            if (i < PER_OCTAVE) {
                return i / 1e3;
            }
            unsigned shift = i / PER_OCTAVE - 1;
            uint64_t low = (uint64_t)(PER_OCTAVE + i % PER_OCTAVE) << shift;
            uint64_t width = 1ull << shift;
            return ((double)low + (double)width / 2) / 1e3;
        }
    }
    return 0;
}

static void
measure_begin(void)
{
    measured.on = 1;
    measured.server_cpu = has_server_clock ? clock_read(server_clock) : 0;
    measured.client_cpu = clock_read(CLOCK_PROCESS_CPUTIME_ID);
    measured.began = now();
}

static void
measure_end(void)
{
    measured.ended = now();
    if (has_server_clock) {
        measured.server_cpu = clock_read(server_clock) - measured.server_cpu;
    }
    measured.client_cpu
        = clock_read(CLOCK_PROCESS_CPUTIME_ID) - measured.client_cpu;
}

static void
measure_print(void)
{
    if (measured.messages == 0) {
        fail("no echo while measuring");
    }
    double time = (double)(measured.ended - measured.began);
    double messages = (double)measured.messages;
    printf("{\"messages\": %.0f, \"seconds\": %.6f, \"rate\": %.1f, "
           "\"p50_us\": %.3f, \"p99_us\": %.3f, \"errors\": %llu, "
           "\"server_cpu_us\": %.4f, \"server_busy\": %.3f, "
           "\"client_busy\": %.3f}\n",
           messages, time / SECOND, messages / time * SECOND, percentile(0.5),
           percentile(0.99), (unsigned long long)measured.errors,
           (double)measured.server_cpu / 1e3 / messages,
           (double)measured.server_cpu / time,
           (double)measured.client_cpu / time);
}

/* --- transports ------------------------------------------------------ */

#ifdef WITH_TLS
static SSL_CTX *tls_context;

static void
tls_prepare(void)
{
    tls_context = SSL_CTX_new(TLS_client_method());
    if (tls_context == NULL) {
        fail("TLS: no context");
    }
    /* The server is ours, on this machine: nothing to verify. */
    SSL_CTX_set_verify(tls_context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE
                                      | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

/* The handshake, on a socket that still blocks. */
static void
tls_open(connection *c)
{
    c->ssl = SSL_new(tls_context);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1
        || SSL_connect(c->ssl) != 1) {
        ERR_print_errors_fp(stderr);
        fail("TLS handshake failed");
    }
}

static ssize_t
tls_result(connection *c, int result)
{
    if (result > 0) {
        return result;
    }
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        errno = EPROTO;
        return -1;
    }
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
connection_recv(connection *c, char *data, size_t size)
{
    if (c->ssl != NULL) {
        return tls_result(c, SSL_read(c->ssl, data, (int)size));
    }
    return recv(c->fd, data, size, 0);
}
#else
static void
tls_prepare(void)
{
    fail("built without TLS");
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
connection_recv(connection *c, char *data, size_t size)
{
    return recv(c->fd, data, size, 0);
}
#endif

/* --- connections ----------------------------------------------------- */

static void
set_option(int fd, int level, int name)
{
    int one = 1;
    if (setsockopt(fd, level, name, &one, sizeof(one)) < 0) {
        fail_errno("setsockopt");
    }
}

/* Takes another address of this machine each time, so that connections that
 * come and go do not run out of ports. */
static void
bind_to_some_address(int fd)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + opened++ % 240),
    };
    set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        fail_errno("bind");
    }
}

static void
make_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        fail_errno("fcntl");
    }
}

static void
connection_open(connection *c)
{
    int type = options.mode == UDP ? SOCK_DGRAM : SOCK_STREAM;
    c->fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        fail_errno("socket");
    }
    if (options.mode != UDP) {
        set_option(c->fd, IPPROTO_TCP, TCP_NODELAY);
    }
    c->sent = c->received = 0;
    c->echoes = 0;
    if (options.mode == CONNECT) {
        bind_to_some_address(c->fd);
        make_nonblocking(c->fd);
        c->began = now();
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(options.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0
        && errno != EINPROGRESS) {
        fail_errno("connect");
    }
    if (options.mode == TLS) {
        tls_open(c);
    }
    if (options.mode != CONNECT) {
        make_nonblocking(c->fd);
    }
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLET,
        .data.ptr = c,
    };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) {
        fail_errno("epoll_ctl");
    }
}

static void
connection_close(connection *c)
{
    if (close(c->fd) < 0) {
        fail_errno("close");
    }
}

/* Sends what is left of the message, as far as it can without waiting.
 * -1 if the connection is broken. */
static int
connection_write(connection *c)
{
    if (options.mode == UDP) {
        memcpy(message, &c->sequence, sizeof(c->sequence));
    }
    while (c->sent < options.size) {
        ssize_t n = connection_send(c, message + c->sent,
                                    options.size - c->sent);
        if (n < 0) {
            return errno == EAGAIN ? 0 : -1;
        }
        c->sent += (size_t)n;
    }
    return 0;
}

/* Begins the next message, if there is one. */
static int
connection_next(connection *c)
{
    c->sent = c->received = 0;
    if (options.messages != 0) {
        if (c->left == 0) {
            unfinished--;
            c->sent = options.size;
            return 0;
        }
        c->left--;
    }
    c->sequence++;
    c->began = now();
    return connection_write(c);
}

static void
connection_check(connection *c, size_t size)
{
    if (options.size > COMPARE_MAX && c->echoes != 0) {
        return;
    }
    if (memcmp(buffer, message + c->received, size) != 0) {
        fail("the echo is not what was sent");
    }
}

/* What a step says about its connection. */
typedef enum { WAITING, BROKEN } progress;

static progress
stream_progress(connection *c)
{
    if (connection_write(c) < 0) {
        return BROKEN;
    }
    while (c->received < options.size) {
        size_t wanted = options.size - c->received;
        ssize_t n = connection_recv(c, buffer, wanted);
        if (n <= 0) {
            return n < 0 && errno == EAGAIN ? WAITING : BROKEN;
        }
        connection_check(c, (size_t)n);
        c->received += (size_t)n;
        if ((size_t)n < wanted && c->ssl == NULL) {
            return WAITING; /* that was all; more is another event */
        }
    }
    if (c->sent < options.size) {
        return BROKEN; /* more came back than was sent */
    }
    measure_latency(now() - c->began);
    c->echoes++;
    return connection_next(c) < 0 ? BROKEN : WAITING;
}

static progress
datagram_progress(connection *c)
{
    if (connection_write(c) < 0) {
        return BROKEN;
    }
    uint32_t sequence;
    do {
        ssize_t n = connection_recv(c, buffer, DATAGRAM_MAX);
        if (n < 0) {
            return errno == EAGAIN ? WAITING : BROKEN;
        }
        if ((size_t)n != options.size) {
            fail("an echo of another size");
        }
        memcpy(&sequence, buffer, sizeof(sequence));
    } while (sequence != c->sequence);
    memcpy(message, &sequence, sizeof(sequence));
    connection_check(c, options.size);
    measure_latency(now() - c->began);
    return connection_next(c) < 0 ? BROKEN : WAITING;
}

static progress
request_progress(connection *c)
{
    if (connection_write(c) < 0) {
        return BROKEN;
    }
    for (;;) {
        ssize_t n = connection_recv(c, buffer, options.size + 1);
        if (n < 0) {
            return errno == EAGAIN ? WAITING : BROKEN;
        }
        if (c->received + (size_t)n > options.size) {
            return BROKEN; /* more came back than was sent */
        }
        connection_check(c, (size_t)n);
        c->received += (size_t)n;
        if (n == 0) {
            break;
        }
    }
    if (c->received < options.size) {
        return BROKEN;
    }
    measure_latency(now() - c->began);
    connection_close(c);
    if (options.messages != 0 && c->left-- == 0) {
        unfinished--;
        return WAITING;
    }
    connection_open(c);
    return connection_write(c) < 0 ? BROKEN : WAITING;
}

static void
connection_progress(connection *c)
{
    progress result;
    switch (options.mode) {
    case UDP:
        result = datagram_progress(c);
        break;
    case CONNECT:
        result = request_progress(c);
        break;
    default:
        result = stream_progress(c);
        break;
    }
    if (result == BROKEN) {
        if (options.mode != CONNECT) {
            fail("a connection broke: %s", strerror(errno));
        }
        measured.errors++;
        connection_close(c);
        connection_open(c);
    }
}

/* --- the run --------------------------------------------------------- */

/* Connections that have nothing to say; the server has accepted them all when
 * this returns. They stay open until the process ends. */
static void
open_idle_connections(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(options.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    for (unsigned i = 0; i < options.idle; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            fail_errno("socket");
        }
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
            fail_errno("connect");
        }
        if (send(fd, message, options.size, MSG_NOSIGNAL)
                != (ssize_t)options.size
            || recv(fd, buffer, options.size, MSG_WAITALL)
                   != (ssize_t)options.size) {
            fail("no echo on an idle connection");
        }
    }
}

static void
start(connection *connections)
{
    unfinished = options.connections;
    for (unsigned i = 0; i < options.connections; i++) {
        connection *c = &connections[i];
        /* The rest of the division goes to the first ones. */
        c->left = options.messages / options.connections
                  + (i < options.messages % options.connections);
        connection_open(c);
    }
    if (options.messages != 0) {
        measure_begin();
    }
    for (unsigned i = 0; i < options.connections; i++) {
        connection *c = &connections[i];
        if (options.mode == CONNECT) {
            c->left -= options.messages != 0;
            connection_progress(c);
        }
        else if (connection_next(c) < 0) {
            fail_errno("send");
        }
    }
}

static void
resend_all(connection *connections)
{
    for (unsigned i = 0; i < options.connections; i++) {
        measured.errors++;
        connections[i].sent = 0;
        if (connection_write(&connections[i]) < 0) {
            fail_errno("send");
        }
    }
}

static void
run(connection *connections)
{
    struct epoll_event events[EVENTS];
    uint64_t last_event = now();
    uint64_t begin = last_event + (uint64_t)(options.warmup * SECOND);
    uint64_t end = UINT64_MAX;

    while (options.messages == 0 || unfinished > 0) {
        int n = epoll_wait(epoll_fd, events, EVENTS, RESEND_MS);
        if (n < 0) {
            fail_errno("epoll_wait");
        }
        uint64_t time = now();
        if (!measured.on && time >= begin) {
            measure_begin();
            end = time + (uint64_t)(options.seconds * SECOND);
        }
        else if (time >= end) {
            break;
        }
        if (n > 0) {
            last_event = time;
        }
        else if (time - last_event > STALLED) {
            fail("the server does not answer");
        }
        else if (options.mode == UDP) {
            resend_all(connections);
        }
        for (int i = 0; i < n; i++) {
            connection_progress(events[i].data.ptr);
        }
    }
    measure_end();
}

/* --- arguments ------------------------------------------------------- */

static double
number(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0)) {
        fail("not a number: %s", text);
    }
    return value;
}

static void
parse_argument(char *argument)
{
    char *value = strchr(argument, '=');
    if (value == NULL) {
        fail("not name=value: %s", argument);
    }
    *value++ = '\0';
    if (strcmp(argument, "mode") == 0) {
        int mode = 0;
        while (mode < MODES && strcmp(value, MODE_NAMES[mode]) != 0) {
            mode++;
        }
        if (mode == MODES) {
            fail("no such mode: %s", value);
        }
        options.mode = (loadgen_mode)mode;
    }
    else if (strcmp(argument, "port") == 0) {
        options.port = (uint16_t)number(value);
    }
    else if (strcmp(argument, "pid") == 0) {
        options.pid = (pid_t)number(value);
    }
    else if (strcmp(argument, "connections") == 0) {
        options.connections = (unsigned)number(value);
    }
    else if (strcmp(argument, "idle") == 0) {
        options.idle = (unsigned)number(value);
    }
    else if (strcmp(argument, "size") == 0) {
        options.size = (size_t)number(value);
    }
    else if (strcmp(argument, "messages") == 0) {
        options.messages = (uint64_t)number(value);
    }
    else if (strcmp(argument, "warmup") == 0) {
        options.warmup = number(value);
    }
    else if (strcmp(argument, "seconds") == 0) {
        options.seconds = number(value);
    }
    else {
        fail("no such argument: %s", argument);
    }
}

/* Lets this process have as many connections as it may. */
static void
raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        fail_errno("getrlimit");
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        fail_errno("setrlimit");
    }
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        parse_argument(argv[i]);
    }
    if (options.port == 0 || options.connections == 0
        || options.size < sizeof(uint32_t)
        || (options.messages != 0
            && options.messages < options.connections)) {
        fail("usage: loadgen mode=MODE port=PORT [name=number ...]");
    }
    if (options.pid != 0) {
        int error = clock_getcpuclockid(options.pid, &server_clock);
        if (error != 0) {
            fail("no CPU clock of process %d: %s", (int)options.pid,
                 strerror(error));
        }
        has_server_clock = 1;
    }
    if (options.mode == TLS) {
        tls_prepare();
    }
    raise_file_limit();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        fail_errno("epoll_create1");
    }
    size_t room = options.size + 1;
    connection *connections = calloc(options.connections, sizeof(connection));
    message = malloc(options.size);
    buffer = malloc(room > DATAGRAM_MAX ? room : DATAGRAM_MAX);
    if (connections == NULL || message == NULL || buffer == NULL) {
        fail("no memory");
    }
    for (size_t i = 0; i < options.size; i++) {
        message[i] = (char)(i * 131 + 7);
    }
    open_idle_connections();
    start(connections);
    run(connections);
    measure_print();
    return 0; /* which also frees and closes everything */
}
