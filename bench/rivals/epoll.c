/* The lower bound: one message framed once and written to every socket by a C program with epoll.
 *
 * It upgrades every client that sends the RFC sample key, stamps a text of the given size, and has no flow control:
 * a client whose socket is full is disconnected.
 *
 *   epoll PORT MESSAGE_BYTES MESSAGES_PER_S
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 65536
static const char ANSWER[] =
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static char is_open[FILES_MAX];
static int highest;

static void drop(int fd) {
  is_open[fd] = 0;
  close(fd);
}

static void broadcast(char *frame, size_t size) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  char stamp[64];
  snprintf(stamp, sizeof stamp, "%10ld.%06ld", (long)now.tv_sec, now.tv_nsec / 1000);
  memcpy(frame + 4 + strlen("{\"timestamp\":"), stamp, 17);
  for (int fd = 0; fd <= highest; fd++)
    if (is_open[fd] && write(fd, frame, size) != (ssize_t)size) drop(fd);
}

static char *make_frame(size_t size) {
  char *frame = malloc(size + 5);
  frame[0] = (char)0x81, frame[1] = 126, frame[2] = size >> 8, frame[3] = size & 255;
  int head = sprintf(frame + 4, "{\"timestamp\":%17s,\"pad\":\"", "");
  memset(frame + 4 + head, 'x', size - head - 2);
  memcpy(frame + 4 + size - 2, "\"}", 2);
  return frame;
}

static void read_client(int fd) {
  char text[4096];
  ssize_t got = read(fd, text, sizeof text);
  if (got <= 0 && !(got < 0 && errno == EAGAIN)) { drop(fd); return; }
  if (got > 0 && !is_open[fd] && memmem(text, got, "\r\n\r\n", 4)) {
    if (write(fd, ANSWER, sizeof ANSWER - 1) < 0) { drop(fd); return; }
    is_open[fd] = 1;
    if (fd > highest) highest = fd;
  }
}

int main(int count, char **arguments) {
  if (count != 4) { fprintf(stderr, "epoll PORT MESSAGE_BYTES MESSAGES_PER_S\n"); return 2; }
  size_t size = strtoul(arguments[2], NULL, 10);
  if (size < 100 || size > 65535) { fprintf(stderr, "expected 100 to 65535 bytes\n"); return 2; }
  char *frame = make_frame(size);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
  setrlimit(RLIMIT_NOFILE, &files);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) { perror("listen"); return 1; }
  long period = 1000000000L / atol(arguments[3]);
  struct itimerspec every = {{period / 1000000000, period % 1000000000}, {period / 1000000000, period % 1000000000}};
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), poller = epoll_create1(0);
  timerfd_settime(timer, 0, &every, NULL);
  int own[] = {listener, timer};
  for (int i = 0; i < 2; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = own[i]};
    epoll_ctl(poller, EPOLL_CTL_ADD, own[i], &event);
  }
  for (;;) {
    struct epoll_event events[512];
    int ready = epoll_wait(poller, events, 512, -1);
    for (int i = 0; i < ready; i++) {
      int fd = events[i].data.fd;
      uint64_t passed;
      if (fd == timer) { if (read(timer, &passed, sizeof passed) > 0) broadcast(frame, size + 4); continue; }
      if (fd != listener) { read_client(fd); continue; }
      while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
      }
    }
  }
}
