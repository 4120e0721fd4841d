/* An engine that costs next to nothing: what a gateway adds is what is left of a measurement.
 *
 *     upstream PORT
 *
 * One thread, epoll, HTTP/1.1 with kept connections, bodies with Content-Length. POST is a chat: whole, or with
 * "stream": true as `max_tokens` events with `seed` of them a second, a usage event and [DONE]. GET is 200.
 * Nothing else of a request is looked at.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_REQUEST 65536
#define MOST_FD 65536

static const char WHOLE[] =
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\","
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Gravity is the force by which a "
    "planet or other body draws objects toward its centre. It keeps the planets in orbit.\"},"
    "\"logprobs\":null,\"finish_reason\":\"stop\"}],"
    "\"usage\":{\"prompt_tokens\":24,\"total_tokens\":48,\"completion_tokens\":24}}";
#define CHUNK "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\","
static const char EVENT[] =
    CHUNK "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" tick %ld\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
static const char LAST[] =
    CHUNK "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n";
static const char USAGE[] =
    CHUNK "\"choices\":[],\"usage\":{\"prompt_tokens\":24,\"total_tokens\":%ld,\"completion_tokens\":%ld}}\n\n";
static const char DONE[] = "data: [DONE]\n\n";
static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

struct connection {
    char *request;      /* what has come of it */
    size_t held;
    char *unsent;       /* what the socket did not take */
    size_t unsent_size;
    long left;          /* events that are still to be sent */
    long all;
    double every;       /* seconds between two events */
    double due;
    unsigned long life; /* tells this connection from an earlier one with the same number */
};

/* Streams by when their next event is due. */
struct entry { double due; int fd; unsigned long life; };
static struct entry *heap;
static size_t heap_size, heap_room;
static struct connection connections[MOST_FD];
static unsigned long lives;
static int poller;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void push(double due, int fd, unsigned long life) {
    if (heap_size == heap_room) {
        heap_room = heap_room ? 2 * heap_room : 1024;
        if (!(heap = realloc(heap, heap_room * sizeof *heap))) abort();
    }
    size_t at = heap_size++;
    for (; at && heap[(at - 1) / 2].due > due; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = (struct entry){due, fd, life};
}

static struct entry pop(void) {
    struct entry first = heap[0], last = heap[--heap_size];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap_size) break;
        if (child + 1 < heap_size && heap[child + 1].due < heap[child].due) child++;
        if (heap[child].due >= last.due) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return first;
}

static void drop(int fd) {
    struct connection *c = &connections[fd];
    free(c->request);
    free(c->unsent);
    memset(c, 0, sizeof *c);
    close(fd);
}

static int flush(int fd) {
    struct connection *c = &connections[fd];
    size_t sent = 0;
    while (sent < c->unsent_size) {
        ssize_t n = send(fd, c->unsent + sent, c->unsent_size - sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) break;
            drop(fd);
            return -1;
        }
        sent += n;
    }
    memmove(c->unsent, c->unsent + sent, c->unsent_size - sent);
    c->unsent_size -= sent;
    struct epoll_event event = {.events = EPOLLIN | (c->unsent_size ? EPOLLOUT : 0), .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
    return 0;
}

static int put(int fd, const char *data, size_t size) {
    struct connection *c = &connections[fd];
    if (!c->unsent_size) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n == (ssize_t)size) return 0;
        if (n < 0 && errno != EAGAIN) {
            drop(fd);
            return -1;
        }
        if (n > 0) data += n, size -= n;
    }
    if (!(c->unsent = realloc(c->unsent, c->unsent_size + size))) abort();
    memcpy(c->unsent + c->unsent_size, data, size);
    c->unsent_size += size;
    return flush(fd);
}

static size_t chunk(char *to, const char *data, size_t size) {
    size_t head = sprintf(to, "%zx\r\n", size);
    memcpy(to + head, data, size);
    memcpy(to + head + size, "\r\n", 2);
    return head + size + 2;
}

/* The next event of a stream; its closing events with the last one. */
static void tell(int fd) {
    struct connection *c = &connections[fd];
    char out[4096], event[512], usage[512];
    /* Each says something else: LiteLLM gives a stream up that repeats itself. */
    size_t size = chunk(out, event, snprintf(event, sizeof event, EVENT, c->all - c->left));
    if (--c->left == 0) {
        int length = snprintf(usage, sizeof usage, USAGE, 24 + c->all, c->all);
        size += chunk(out + size, LAST, sizeof LAST - 1);
        size += chunk(out + size, usage, length);
        size += chunk(out + size, DONE, sizeof DONE - 1);
        size += sprintf(out + size, "0\r\n\r\n");
    } else {
        c->due += c->every;
        push(c->due, fd, c->life);
    }
    put(fd, out, size);
}

static double number(const char *body, const char *name, double otherwise) {
    const char *at = strstr(body, name);
    return at ? strtod(at + strlen(name), NULL) : otherwise;
}

static int has_stream(const char *body) {
    const char *at = strstr(body, "\"stream\":");
    return at && !strncmp(at + 9 + (at[9] == ' '), "true", 4);
}

static int respond(int fd, const char *request, const char *body) {
    struct connection *c = &connections[fd];
    char out[2048];
    if (!strncmp(request, "GET ", 4)) {
        const char *models = "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\",\"created\":1,\"owned_by\":\"bench\"}]}";
        int size = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                            strlen(models), models);
        return put(fd, out, size);
    }
    if (!has_stream(body)) {
        int size = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                            sizeof WHOLE - 1, WHOLE);
        return put(fd, out, size);
    }
    double rate = number(body, "\"seed\":", 0);
    c->all = c->left = number(body, "\"max_tokens\":", 1);
    if (c->all < 1) c->all = c->left = 1;
    c->every = rate > 0 ? 1 / rate : 0;
    c->due = now() + c->every;
    if (put(fd, STREAM_HEAD, sizeof STREAM_HEAD - 1) == 0) push(c->due, fd, c->life);
    return 0;
}

/* Answers every request that is there in full. */
static void take(int fd) {
    struct connection *c = &connections[fd];
    for (;;) {
        if (c->left) return;
        c->request[c->held] = 0;
        char *end = strstr(c->request, "\r\n\r\n");
        if (!end) return;
        *end = 0;
        char *length = strcasestr(c->request, "\r\ncontent-length:");
        size_t size = length ? strtoul(length + 17, NULL, 10) : 0;
        size_t whole = end + 4 - c->request + size;
        if (whole > MOST_REQUEST) {
            drop(fd);
            return;
        }
        if (c->held < whole) {
            *end = '\r';
            return;
        }
        char after = c->request[whole];
        c->request[whole] = 0;
        if (respond(fd, c->request, end + 4) < 0) return;
        c->request[whole] = after;
        memmove(c->request, c->request + whole, c->held - whole);
        c->held -= whole;
        if (!c->held) return;
    }
}

static void hear(int fd) {
    struct connection *c = &connections[fd];
    ssize_t n = recv(fd, c->request + c->held, MOST_REQUEST - c->held, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        drop(fd);
        return;
    }
    c->held += n;
    take(fd);
}

static void greet(int listener) {
    int on = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct connection *c = &connections[fd];
        if (fd >= MOST_FD || !(c->request = malloc(MOST_REQUEST + 1))) {
            close(fd);
            continue;
        }
        c->life = ++lives;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < MOST_FD ? files.rlim_max : MOST_FD;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&where, sizeof where) || listen(listener, 4096)) {
        perror("upstream");
        return 1;
    }
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        double t = now();
        while (heap_size && heap[0].due <= t) {
            struct entry e = pop();
            struct connection *c = &connections[e.fd];
            if (c->life != e.life || !c->left) continue;
            tell(e.fd);
            if (c->life == e.life && !c->left && c->held) take(e.fd);
        }
        int wait = -1;
        if (heap_size) {
            double ahead = (heap[0].due - now()) * 1000;
            wait = ahead < 0 ? 0 : (int)ahead + 1;
        }
        int n = epoll_wait(poller, events, 512, wait);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                greet(fd);
                continue;
            }
            if (!connections[fd].life) continue;
            if (events[i].events & EPOLLOUT && flush(fd) < 0) continue;
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hear(fd);
        }
    }
}
