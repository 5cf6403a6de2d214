/* The load generator: opens WebSockets, reads them in one epoll loop, and prints message counts and ages.
 *
 * The age of a message is CLOCK_REALTIME minus the stamp in its text, so sender and reader must share a machine.
 * Healthy clients read at once; slow ones at a given rate, with a small receive buffer, as behind a slow link; stalled
 * ones never read, and as they do not notice a disconnect either, they leave after a while. A client that is
 * disconnected or leaves connects again. Compressed messages are counted, not inflated, and so have no age. Contents
 * are not checked: the tests do that. With several paths the clients use them in turn. With `source` they connect from
 * that address: each has its own 28,000 ports, and a server's limits per address apply to each. With `gate` the first
 * window begins at a line on stdin, so that several generators measure together.
 *
 *   load PORT PATH[,PATH...] key=value...    see `options` below
 *
 * Prints one JSON object per line: connected, begin, then one per measuring window; ends when stdin does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEALTHY, SLOW, STALLED, VISITOR, KINDS };
enum { CLOSED, CONNECTING, HANDSHAKE, OPEN };
#define BUFFER_MAX (1 << 20)         /* of one client: more than any message */
#define PENDING_MAX 64               /* handshakes at once: fewer than a listener's backlog */
#define FINE_US (1 << 20)            /* ages up to a second are counted by the microsecond, */
#define COARSE_MS 200000             /* those beyond by the millisecond */
#define REFUSED_MAX 100
#define TICK_NS 20000000ull          /* how often slow clients read, and visitors come and go */
#define STALL_S 20                   /* how long a stalled client stays connected */
#define SLOW_BUFFER 8192
#define PIECE 65536
#define PATHS_MAX 100

static struct {
  int port, clients, slow, stalled, slow_bytes, join_every_ms, deflate, windows, gate;
  double scale, connect_s, warmup_s, window_s;
  const char *stamp, *subscribe, *source;
} options = {.clients = 1, .slow_bytes = 20000, .windows = 1, .scale = 1, .connect_s = 60, .warmup_s = 1, .window_s = 1,
             .stamp = "", .subscribe = "", .source = ""};

struct client {
  int fd, kind, state;
  const char *path;
  size_t used, room;
  char *buffer;
  double newest, credit;
  uint64_t opened_ns;
};
struct ages { uint32_t fine[FINE_US], coarse[COARSE_MS]; uint64_t count; double worst_s; };

static struct client *clients;
static const char *paths[PATHS_MAX];
static int path_count;
static struct ages ages[2]; /* of healthy clients, and of slow ones */
static uint64_t messages, wire_bytes, compressed, joined, cut[KINDS], refused;
static int poller, open_count, pending, visitors, total, last_status, has_begun;

static uint64_t now_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t in_s(double seconds) {
  return now_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);
}

static double cpu_s(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void watch(struct client *c, uint32_t events, int operation) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  epoll_ctl(poller, operation, c->fd, &event);
}

static void disconnect(struct client *c) {
  if (c->state == OPEN) open_count--;
  else pending--;
  close(c->fd);
  free(c->buffer);
  c->buffer = NULL;
  c->used = c->room = 0;
  c->state = CLOSED;
}

static void drop_client(struct client *c) {
  if (c->state == OPEN) cut[c->kind]++;
  else refused++;
  disconnect(c);
}

static void connect_client(struct client *c) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options.port)};
  int one = 1, small = SLOW_BUFFER;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) { perror("socket"); exit(1); }
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (c->kind == SLOW || c->kind == STALLED) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  if (*options.source) {
    struct sockaddr_in own = {.sin_family = AF_INET};
    inet_pton(AF_INET, options.source, &own.sin_addr);
    /* The port is chosen at connect: a port may then serve connections to several servers. */
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&own, sizeof own) < 0) { perror("bind"); exit(1); }
  }
  c->state = CONNECTING;
  c->newest = c->credit = 0;
  pending++;
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
    drop_client(c);
    return;
  }
  watch(c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void send_upgrade(struct client *c) {
  char request[1024];
  const char *offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
  int size = snprintf(request, sizeof request,
    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
    c->path, options.port, options.deflate ? offer : "");
  if (write(c->fd, request, size) != size) { drop_client(c); return; }
  c->state = HANDSHAKE;
  watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

/* Send a frame, masked with zeros, which leave the text as it is. */
static void send_frame(struct client *c, int opcode, const char *text, size_t size) {
  unsigned char frame[4096] = {0x80 | opcode, 0x80 | (size < 126 ? size : 126)};
  size_t head = 2;
  if (size >= 126) { frame[2] = size >> 8; frame[3] = size & 255; head = 4; }
  head += 4;
  if (head + size > sizeof frame) return;
  memcpy(frame + head, text, size);
  if (write(c->fd, frame, head + size) < 0) return; /* the next read detects a loss */
}

static void note_age(struct client *c, const char *text, size_t size, double now_s) {
  size_t key = strlen(options.stamp);
  const char *end = text + size, *at = text;
  while ((at = memmem(at, end - at, options.stamp, key)) != NULL) {
    at += key;
    if (at < end && *at >= '0' && *at <= '9') break; /* the key may come with a text value elsewhere */
  }
  if (at == NULL) return;
  char digits[32] = {0};
  memcpy(digits, at, (size_t)(end - at) < sizeof digits - 1 ? (size_t)(end - at) : sizeof digits - 1);
  double stamp = strtod(digits, NULL) * options.scale;
  if (stamp <= c->newest) return; /* repeated, for example by a heartbeat */
  int is_first = c->newest == 0;
  c->newest = stamp;
  if (is_first || c->kind > SLOW) return; /* the first one is a stored message: its age is arbitrary */
  struct ages *a = &ages[c->kind == SLOW];
  double age_s = now_s - stamp > 0 ? now_s - stamp : 0;
  if (age_s < 1) a->fine[(int)(age_s * 1e6) < FINE_US ? (int)(age_s * 1e6) : FINE_US - 1]++;
  else a->coarse[age_s * 1e3 < COARSE_MS ? (int)(age_s * 1e3) : COARSE_MS - 1]++;
  a->count++;
  if (age_s > a->worst_s) a->worst_s = age_s;
}

/* Parse whole frames from the front of the buffer; return their size in bytes, or -1 at a close frame. */
static long parse_frames(struct client *c, double now_s) {
  size_t at = 0;
  for (;;) {
    unsigned char *f = (unsigned char *)c->buffer + at;
    size_t left = c->used - at, head = 2, size;
    if (left < 2) break;
    size = f[1] & 127;
    if (size == 126) { if (left < 4) break; size = (size_t)f[2] << 8 | f[3]; head = 4; }
    else if (size == 127) {
      if (left < 10) break;
      size = 0;
      for (int i = 2; i < 10; i++) size = size << 8 | f[i];
      head = 10;
    }
    if (left < head + size) break;
    int opcode = f[0] & 15;
    if (opcode == 8) return -1;
    if (opcode == 9) send_frame(c, 10, (char *)f + head, size);
    if (opcode == 1 || opcode == 2) {
      messages++;
      if (f[0] & 0x40) compressed++;
      else if (*options.stamp) note_age(c, (char *)f + head, size, now_s);
    }
    at += head + size;
  }
  return at;
}

static void finish_handshake(struct client *c) {
  c->buffer[c->used < c->room ? c->used : c->room - 1] = 0;
  char *end = memmem(c->buffer, c->used, "\r\n\r\n", 4);
  if (end == NULL) return;
  if (sscanf(c->buffer, "HTTP/1.1 %d", &last_status) != 1 || last_status != 101) { drop_client(c); return; }
  size_t head = end + 4 - c->buffer;
  memmove(c->buffer, c->buffer + head, c->used - head);
  c->used -= head;
  c->state = OPEN;
  c->opened_ns = now_ns(CLOCK_MONOTONIC);
  pending--, open_count++, joined++;
  if (*options.subscribe) send_frame(c, 1, options.subscribe, strlen(options.subscribe));
  if (c->kind == SLOW || c->kind == STALLED) watch(c, 0, EPOLL_CTL_MOD);
}

/* Read at most `limit` bytes; return how many. */
static size_t read_client(struct client *c, size_t limit) {
  size_t taken = 0;
  while (taken < limit) {
    if (c->room - c->used < PIECE + 1 && c->room < BUFFER_MAX) {
      c->room = c->used + 2 * PIECE;
      c->buffer = realloc(c->buffer, c->room);
      if (c->buffer == NULL) { perror("realloc"); exit(1); }
    }
    size_t want = limit - taken < PIECE ? limit - taken : PIECE;
    ssize_t got = read(c->fd, c->buffer + c->used, want);
    if (got == 0 || (got < 0 && errno != EAGAIN)) { drop_client(c); return taken; }
    if (got < 0) break;
    double now_s = now_ns(CLOCK_REALTIME) / 1e9;
    taken += got, c->used += got, wire_bytes += got;
    if (c->state == HANDSHAKE) finish_handshake(c);
    if (c->state != OPEN) return taken;
    long done = parse_frames(c, now_s);
    if (done < 0 || c->used - done > BUFFER_MAX - PIECE) { drop_client(c); return taken; }
    memmove(c->buffer, c->buffer + done, c->used - done);
    c->used -= done;
    if ((size_t)got < want) break;
  }
  if (c->used == 0) { free(c->buffer); c->buffer = NULL; c->room = 0; }
  return taken;
}

static void connect_missing(void) {
  for (int i = 0; i < total && pending < PENDING_MAX; i++)
    if (clients[i].state == CLOSED) connect_client(&clients[i]);
}

/* Disconnect `due` of the clients from `first` on, the longest connected first; they reconnect at once. Return the
 * remainder. */
static double disconnect_oldest(int first, int count, double due) {
  for (; count && due >= 1; due--) {
    struct client *c = &clients[first];
    for (int i = first; i < first + count; i++)
      if (clients[i].state == OPEN && (c->state != OPEN || clients[i].opened_ns < c->opened_ns)) c = &clients[i];
    if (c->state == OPEN) disconnect(c);
  }
  return due;
}

static void tick(double passed_s) {
  for (int i = options.clients; i < options.clients + options.slow; i++) {
    struct client *c = &clients[i];
    if (c->state != OPEN) continue;
    c->credit += passed_s * options.slow_bytes;
    if (c->credit >= 1) c->credit -= read_client(c, (size_t)c->credit);
    if (c->credit > options.slow_bytes) c->credit = options.slow_bytes; /* unused bandwidth is not carried over */
  }
  int stalled_from = options.clients + options.slow, visitors_from = total - visitors;
  static double due_stalled, due_visitors;
  due_stalled = disconnect_oldest(stalled_from, options.stalled, due_stalled + passed_s * options.stalled / STALL_S);
  if (visitors)
    due_visitors = disconnect_oldest(visitors_from, visitors, due_visitors + passed_s * 1000 / options.join_every_ms);
}

static double percentile_s(const struct ages *a, double share) {
  uint64_t rank = (uint64_t)(share * a->count), seen = 0;
  for (int i = 0; i < FINE_US; i++) if ((seen += a->fine[i]) > rank) return i / 1e6;
  for (int i = 0; i < COARSE_MS; i++) if ((seen += a->coarse[i]) > rank) return i / 1e3;
  return a->worst_s;
}

static void print_ages(const char *name, const struct ages *a) {
  printf(",\"%s\":", name);
  if (!a->count) { printf("null"); return; }
  printf("{\"count\":%llu,\"p50_s\":%.6f,\"p99_s\":%.6f,\"worst_s\":%.6f}", (unsigned long long)a->count,
         percentile_s(a, 0.5), percentile_s(a, 0.99), a->worst_s);
}

static void print_window(double seconds, double cpu) {
  printf("{\"event\":\"window\",\"seconds\":%.3f,\"clients\":%d,\"messages\":%llu,\"bytes\":%llu,\"compressed\":%llu,"
         "\"cpu_s\":%.3f,\"joined\":%llu,\"refused\":%llu,\"cut_healthy\":%llu,\"cut_slow\":%llu,\"cut_stalled\":%llu",
         seconds, open_count, (unsigned long long)messages, (unsigned long long)wire_bytes,
         (unsigned long long)compressed, cpu, (unsigned long long)joined, (unsigned long long)refused,
         (unsigned long long)(cut[HEALTHY] + cut[VISITOR]), (unsigned long long)cut[SLOW],
         (unsigned long long)cut[STALLED]);
  print_ages("healthy", &ages[0]);
  print_ages("slow", &ages[1]);
  printf("}\n");
  fflush(stdout);
}

static void reset_counts(void) {
  memset(ages, 0, sizeof ages);
  memset(cut, 0, sizeof cut);
  messages = wire_bytes = compressed = joined = refused = 0;
}

/* Run the loop until a time, or with `is_connecting` until all clients are connected; return 0 when stdin has ended. */
static int run_until(uint64_t end_ns, int is_connecting) {
  static uint64_t ticked_ns;
  struct epoll_event events[512];
  for (;;) {
    uint64_t now = now_ns(CLOCK_MONOTONIC);
    if (!ticked_ns) ticked_ns = now;
    if (now >= end_ns || (is_connecting && (open_count == total || refused > REFUSED_MAX))) return 1;
    if (now - ticked_ns >= TICK_NS) { tick((now - ticked_ns) / 1e9); ticked_ns = now; }
    if (open_count + pending < total) connect_missing();
    int count = epoll_wait(poller, events, 512, 5);
    for (int i = 0; i < count; i++) {
      struct client *c = events[i].data.ptr;
      if (c == NULL) { char byte; if (read(0, &byte, 1) <= 0) return 0; has_begun = 1; continue; }
      if (c->state == CLOSED) continue;
      if (c->state == CONNECTING) {
        if (events[i].events & (EPOLLERR | EPOLLHUP)) drop_client(c);
        else send_upgrade(c);
      } else if (c->state == OPEN && (c->kind == SLOW || c->kind == STALLED)) drop_client(c); /* only its end is polled */
      else read_client(c, 4 * PIECE);
    }
  }
}

static void read_options(int count, char **arguments) {
  if (count < 3) { fprintf(stderr, "load PORT PATH key=value...\n"); exit(2); }
  options.port = atoi(arguments[1]);
  for (char *path = strtok(arguments[2], ","); path; path = strtok(NULL, ",")) {
    if (path_count == PATHS_MAX) { fprintf(stderr, "expected at most %d paths\n", PATHS_MAX); exit(2); }
    paths[path_count++] = path;
  }
  if (!path_count) { fprintf(stderr, "expected a path\n"); exit(2); }
  for (int i = 3; i < count; i++) {
    char *value = strchr(arguments[i], '=');
    if (value == NULL) { fprintf(stderr, "expected key=value, got %s\n", arguments[i]); exit(2); }
    *value++ = 0;
    const char *key = arguments[i];
    if (!strcmp(key, "clients")) options.clients = atoi(value);
    else if (!strcmp(key, "slow")) options.slow = atoi(value);
    else if (!strcmp(key, "slow_bytes_s")) options.slow_bytes = atoi(value);
    else if (!strcmp(key, "stalled")) options.stalled = atoi(value);
    else if (!strcmp(key, "join_every_ms")) options.join_every_ms = atoi(value);
    else if (!strcmp(key, "deflate")) options.deflate = atoi(value);
    else if (!strcmp(key, "stamp")) options.stamp = value;
    else if (!strcmp(key, "scale")) options.scale = atof(value);
    else if (!strcmp(key, "subscribe")) options.subscribe = value;
    else if (!strcmp(key, "connect_s")) options.connect_s = atof(value);
    else if (!strcmp(key, "warmup_s")) options.warmup_s = atof(value);
    else if (!strcmp(key, "window_s")) options.window_s = atof(value);
    else if (!strcmp(key, "windows")) options.windows = atoi(value);
    else if (!strcmp(key, "source")) options.source = value;
    else if (!strcmp(key, "gate")) options.gate = atoi(value);
    else { fprintf(stderr, "unknown option %s\n", key); exit(2); }
  }
}

static void place_clients(void) {
  visitors = options.join_every_ms ? 1 + 2000 / options.join_every_ms : 0; /* each stays about two seconds */
  total = options.clients + options.slow + options.stalled + visitors;
  clients = calloc(total, sizeof *clients);
  for (int i = 0; i < total; i++) {
    clients[i].path = paths[i % path_count];
    clients[i].kind = i < options.clients ? HEALTHY
                      : i < options.clients + options.slow ? SLOW
                      : i < total - visitors ? STALLED : VISITOR;
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

int main(int count, char **arguments) {
  read_options(count, arguments);
  place_clients();
  poller = epoll_create1(0);
  struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input);
  if (!run_until(in_s(options.connect_s), 1)) return 0;
  if (!open_count || refused > REFUSED_MAX) {
    printf("{\"event\":\"refused\",\"status\":%d}\n", last_status);
    return 3;
  }
  printf("{\"event\":\"connected\",\"clients\":%d}\n", open_count);
  fflush(stdout);
  if (!run_until(in_s(options.warmup_s), 0)) return 0;
  while (options.gate && !has_begun)
    if (!run_until(in_s(0.01), 0)) return 0;
  printf("{\"event\":\"begin\"}\n");
  fflush(stdout);
  for (int i = 0; i < options.windows; i++) {
    reset_counts();
    double cpu = cpu_s();
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    if (!run_until(in_s(options.window_s), 0)) return 0;
    print_window((now_ns(CLOCK_MONOTONIC) - start) / 1e9, cpu_s() - cpu);
  }
  while (run_until(in_s(1), 0)) {}
  return 0;
}
