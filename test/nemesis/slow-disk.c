/*
 * Preloaded into a broker: each of its writes and syncs first waits so many milliseconds as the file SLOW_CONTROL says, which can be changed at any
 * time. How many have waited is counted there too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* 0: milliseconds; 1: how many have waited. */
static volatile uint64_t *control;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("SLOW_CONTROL");
  int file = path ? open(path, O_RDWR) : -1;
  if (file < 0) return;
  void *mapped = mmap(0, 2 * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) control = mapped;
  close(file);
}

static void wait_for_disk(void) {
  uint64_t ms = control ? control[0] : 0;
  if (ms == 0) return;
  __atomic_add_fetch(&control[1], 1, __ATOMIC_RELAXED);
  struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
  nanosleep(&time, 0);
}

ssize_t pwrite64(int file, const void *from, size_t bytes, off64_t at) {
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
  wait_for_disk();
  return real(file, from, bytes, at);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) {
  static ssize_t (*real)(int, const struct iovec *, int, off_t);
  if (!real) real = dlsym(RTLD_NEXT, "pwritev");
  wait_for_disk();
  return real(file, parts, count, at);
}

int fdatasync(int file) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
  wait_for_disk();
  return real(file);
}

int fsync(int file) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fsync");
  wait_for_disk();
  return real(file);
}
