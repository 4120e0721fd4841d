/* Many clients of one server in one thread; counts what comes back and what is lost.
 *
 *     clients PORT CONNECTIONS REQUEST EVENTS EACH WARM SECONDS PATIENCE
 *
 * REQUEST is a file with one whole HTTP/1.1 request. EACH 0: every connection asks again as soon as it has its
 * answer, WARM seconds uncounted and SECONDS counted. EACH n: every connection asks n times, all of it counted
 * (WARM and SECONDS are not looked at). Then what is under way has PATIENCE seconds to end; what has not is lost.
 * EVENTS is how often the word "tick" comes in an answer; 0 for answers that are not streamed. `first` is the
 * time to the first of them, or to the first byte of an answer that is not streamed.
 * Writes the line "counting" when counting begins, and one JSON object at the end; times are milliseconds.
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

#define MOST_HEAD 16384
#define MOST_FD 65536

enum state { IDLE, ASKED, HEAD, LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER };

struct connection {
    enum state state;
    char head[MOST_HEAD];
    size_t held;
    size_t left;        /* of the body, or of the chunk */
    size_t sent;        /* of the request */
    int status, closes, matched, counted, done, seen;
    long events, asked;
    double began, first;
};

static const char WORD[] = "tick", END[] = "[DONE]";
static struct connection *connections[MOST_FD];
static char *request;
static size_t request_size;
static long most_events, each;
static int poller, port, counting, ending;
static long begun, answered, in_time, refused, cut, unconnected, open_now, streaming, peak_streaming, events, short_streams, closed;
static double *whole, *firsts;
static size_t kept, room;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void keep(double first, double all) {
    if (kept == room) {
        room = room ? 2 * room : 65536;
        whole = realloc(whole, room * sizeof *whole);
        firsts = realloc(firsts, room * sizeof *firsts);
        if (!whole || !firsts) abort();
    }
    firsts[kept] = first;
    whole[kept++] = all;
}

static void lose(int fd);

static void ask_more(int fd) {
    struct connection *c = connections[fd];
    while (c->sent < request_size) {
        ssize_t n = send(fd, request + c->sent, request_size - c->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) lose(fd);
            return;
        }
        c->sent += n;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
}

static void ask(int fd) {
    struct connection *c = connections[fd];
    if (ending || (each && c->asked >= each)) {
        c->state = IDLE;
        return;
    }
    c->asked++;
    c->state = ASKED;
    c->held = c->sent = 0;
    c->matched = c->done = c->seen = c->closes = 0;
    c->events = 0;
    c->began = now();
    c->first = 0;
    c->counted = counting;
    if (c->counted) begun++;
    ask_more(fd);
}

static int dial(long asked) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || fd >= MOST_FD) {
        if (fd >= 0) close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    if (!(connections[fd] = calloc(1, sizeof **connections))) abort();
    connections[fd]->asked = asked;
    struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    open_now++;
    return 0;
}

/* Close, and open another in its place as long as there is something to ask. */
static void replace(int fd) {
    struct connection *c = connections[fd];
    long asked = c->asked;
    if (c->seen && most_events) streaming--;
    free(c);
    connections[fd] = NULL;
    close(fd);
    open_now--;
    if (!ending && !(each && asked >= each) && dial(asked)) unconnected++;
}

static void lose(int fd) {
    struct connection *c = connections[fd];
    if (c->state == ASKED && !c->began) unconnected++;
    else if (c->counted && c->state != IDLE) cut++, events += c->events;
    else closed++;
    replace(fd);
}

static void complete(int fd) {
    struct connection *c = connections[fd];
    if (c->counted) {
        double end = now();
        if (c->status != 200) refused++;
        else {
            answered++;
            if (counting) in_time++;
            keep(c->first - c->began, end - c->began);
        }
        events += c->events;
        if (c->status == 200 && most_events && (c->events != most_events || !c->done)) short_streams++;
    }
    if (c->seen && most_events) streaming--;
    c->seen = 0;
    if (c->closes) {
        c->state = IDLE;
        replace(fd);
    } else ask(fd);
}

/* Looks for WORD and END, which may be spread over several reads. */
static void look(struct connection *c, const char *data, size_t size) {
    if (!most_events) return;
    for (size_t i = 0; i < size; i++) {
        int word = c->matched & 15, end = c->matched >> 4;
        word = data[i] == WORD[word] ? word + 1 : data[i] == WORD[0];
        end = data[i] == END[end] ? end + 1 : data[i] == END[0];
        if (!WORD[word]) {
            word = 0;
            c->events++;
            if (!c->seen) {
                c->seen = 1;
                c->first = now();
                if (++streaming > peak_streaming) peak_streaming = streaming;
            }
        }
        if (!END[end]) {
            end = 0;
            c->done = 1;
        }
        c->matched = word | end << 4;
    }
}

static int read_head(struct connection *c) {
    c->head[c->held] = 0;
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->status = !strncmp(c->head, "HTTP/1.1 ", 9) ? atoi(c->head + 9) : 0;
    c->closes = strcasestr(c->head, "\r\nconnection: close") != NULL;
    if (strcasestr(c->head, "\r\ntransfer-encoding: chunked")) c->state = CHUNK_SIZE;
    else if (length) c->state = LENGTH, c->left = strtoul(length + 17, NULL, 10);
    else return -1;
    c->held = 0;
    return c->status ? 0 : -1;
}

/* Takes bytes of the answer; 1: it is complete, -1: it is no HTTP, 0: more is to come. */
static int feed(struct connection *c, const char *data, size_t size) {
    size_t i = 0;
    if (size && !c->first && !most_events) c->first = now();
    while (i < size || (c->state == LENGTH && !c->left)) {
        if (c->state == ASKED || c->state == HEAD) {
            c->state = HEAD;
            if (c->held >= MOST_HEAD - 1) return -1;
            c->head[c->held++] = data[i++];
            if (c->held >= 4 && !memcmp(c->head + c->held - 4, "\r\n\r\n", 4) && read_head(c) < 0) return -1;
        } else if (c->state == LENGTH || c->state == CHUNK) {
            size_t n = size - i < c->left ? size - i : c->left;
            look(c, data + i, n);
            i += n;
            c->left -= n;
            if (!c->left) {
                if (c->state == LENGTH) return 1;
                c->state = CHUNK_END;
            }
        } else if (c->state == CHUNK_END) {
            if (data[i++] == '\n') c->state = CHUNK_SIZE;
        } else if (c->state == CHUNK_SIZE) {
            char b = data[i++];
            if (b != '\n') {
                if (c->held < 32) c->head[c->held++] = b;
                continue;
            }
            c->head[c->held] = 0;
            c->left = strtoul(c->head, NULL, 16);
            c->held = 0;
            c->state = c->left ? CHUNK : TRAILER;
        } else if (c->state == TRAILER) {
            if (data[i++] == '\n') return 1;
        } else return -1;
    }
    return 0;
}

static void hear(int fd) {
    static char data[262144];
    struct connection *c = connections[fd];
    ssize_t n = recv(fd, data, sizeof data, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        lose(fd);
        return;
    }
    int end = feed(c, data, n);
    if (end < 0) lose(fd);
    else if (end) complete(fd);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void percentiles(const char *name, double *values) {
    qsort(values, kept, sizeof *values, by_size);
    printf(", \"%s\": {", name);
    const double at[] = {0.5, 0.9, 0.99, 1};
    const char *names[] = {"p50", "p90", "p99", "max"};
    for (int i = 0; i < 4; i++) {
        size_t which = at[i] * kept;
        if (which >= kept) which = kept ? kept - 1 : 0;
        printf("%s\"%s\": %.4f", i ? ", " : "", names[i], kept ? values[which] * 1000 : 0.0);
    }
    printf("}");
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: %s PORT CONNECTIONS REQUEST EVENTS EACH WARM SECONDS PATIENCE\n", argv[0]);
        return 2;
    }
    port = atoi(argv[1]);
    long wanted = atol(argv[2]);
    most_events = atol(argv[4]);
    each = atol(argv[5]);
    double warm = atof(argv[6]), seconds = atof(argv[7]), patience = atof(argv[8]);
    FILE *file = fopen(argv[3], "rb");
    request = malloc(1 << 20);
    if (!file || !request || !(request_size = fread(request, 1, 1 << 20, file))) {
        perror(argv[3]);
        return 1;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < MOST_FD ? files.rlim_max : MOST_FD;
    setrlimit(RLIMIT_NOFILE, &files);
    if ((long)files.rlim_cur < wanted + 16) {
        fprintf(stderr, "clients: the limit of open files, %ld, is too low for %ld connections\n", (long)files.rlim_cur, wanted);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    struct epoll_event events_now[512];
    long dialled = 0;
    double from = 0, opened = 0, until = 0, next_dial = 0;
    if (each) {
        counting = 1;
        from = now();
        puts("counting");
        fflush(stdout);
    }
    for (;;) {
        double t = now();
        if (dialled < wanted && t >= next_dial) {
            for (int i = 0; i < 32 && dialled < wanted; i++, dialled++)
                if (dial(0)) unconnected++;
            next_dial = t + 0.005;
            if (dialled == wanted) opened = t;
        }
        if (!each && opened) {
            if (!from && t >= opened + warm) {
                counting = 1;
                from = t;
                puts("counting");
                fflush(stdout);
            }
            if (from && !ending && t >= from + seconds) {
                counting = 0;
                ending = 1;
                until = t;
            }
        }
        if (each && opened && !until) until = t;
        long busy = 0;
        if (ending || each)
            for (int fd = 0; fd < MOST_FD; fd++) {
                if (!connections[fd]) continue;
                if (each ? connections[fd]->state != IDLE || connections[fd]->asked < each : connections[fd]->counted && connections[fd]->state != IDLE) {
                    busy = 1;
                    break;
                }
            }
        if (until && (!busy || t >= until + patience)) break;
        int n = epoll_wait(poller, events_now, 512, dialled < wanted ? 5 : 10);
        for (int i = 0; i < n; i++) {
            int fd = events_now[i].data.fd;
            struct connection *c = connections[fd];
            if (!c) continue;
            if (events_now[i].events & EPOLLOUT && !c->began) {
                int problem = 0;
                socklen_t size = sizeof problem;
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size);
                if (problem) {
                    c->state = ASKED;
                    lose(fd);
                    continue;
                }
                ask(fd);
            } else if (events_now[i].events & EPOLLOUT && c->state == ASKED) ask_more(fd);
            else if (events_now[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hear(fd);
        }
    }
    double took = each ? now() - from : until - from;
    long lost = 0;
    for (int fd = 0; fd < MOST_FD; fd++)
        if (connections[fd] && connections[fd]->counted && connections[fd]->state != IDLE) lost++, events += connections[fd]->events;
    printf("{\"seconds\": %.4f, \"begun\": %ld, \"answered\": %ld, \"in_time\": %ld, \"refused\": %ld, \"cut\": %ld, \"unanswered\": %ld,"
           " \"unconnected\": %ld, \"closed\": %ld, \"events\": %ld, \"short\": %ld, \"peak_streams\": %ld",
           took, begun, answered, in_time, refused, cut, lost, unconnected, closed, events, short_streams, peak_streaming);
    percentiles("first", firsts);
    percentiles("whole", whole);
    puts("}");
    return 0;
}
