/*
 * Preloaded into a broker: of its reads and writes at a place in a file, one in four comes back short, as the kernel may let any of them. Direct writes are
 * cut at whole sectors, and never below a block. LMDB's files are left alone: LMDB takes a short write for EIO. What was cut is counted in the
 * file SHORT_COUNT, which outlives the process; SHORT_SEED says which.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { one_in = 4, sector = 512, block = 4096 };
enum { reads = 0, writes = 1 };

static uint64_t state;
static uint64_t *counts;

__attribute__((constructor)) static void begin(void) {
  const char *seed = getenv("SHORT_SEED"), *path = getenv("SHORT_COUNT");
  state = (seed ? strtoull(seed, 0, 10) : 1) * 0x9e3779b97f4a7c15ull + (uint64_t)getpid();
  int file = path ? open(path, O_RDWR) : -1;
  if (file < 0) return;
  void *mapped = mmap(0, 2 * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) counts = mapped;
  close(file);
}

static uint64_t next(void) {
  uint64_t x = __atomic_add_fetch(&state, 0x9e3779b97f4a7c15ull, __ATOMIC_RELAXED);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

static int is_lmdb(int file) {
  char link[64], name[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, name, sizeof name - 1);
  if (length < 4) return 1;
  name[length] = 0;
  return strcmp(name + length - 4, ".mdb") == 0;
}

/* How many of these bytes the call is to be for. */
static size_t shortened(int file, size_t bytes, int which) {
  if (!counts || bytes < 2 || next() % one_in != 0 || is_lmdb(file)) return bytes;
  size_t some = 1 + next() % (bytes - 1);
  if (fcntl(file, F_GETFL) & O_DIRECT) {
    if (bytes <= block) return bytes;
    some -= some % sector;
    if (some < block) some = block;
  }
  __atomic_add_fetch(&counts[which], 1, __ATOMIC_RELAXED);
  return some;
}

ssize_t pread64(int file, void *target, size_t bytes, off64_t at) {
  static ssize_t (*real)(int, void *, size_t, off64_t);
  if (!real) real = dlsym(RTLD_NEXT, "pread64");
  return real(file, target, shortened(file, bytes, reads), at);
}

ssize_t pwrite64(int file, const void *from, size_t bytes, off64_t at) {
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
  return real(file, from, shortened(file, bytes, writes), at);
}

/* The first parts, and of the last of them a piece. */
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) {
  static ssize_t (*real)(int, const struct iovec *, int, off_t);
  if (!real) real = dlsym(RTLD_NEXT, "pwritev");
  size_t bytes = 0;
  for (int part = 0; part < count; part++) bytes += parts[part].iov_len;
  size_t left = shortened(file, bytes, writes);
  if (left == bytes) return real(file, parts, count, at);
  struct iovec some[count];
  int taken = 0;
  for (; taken < count && left > 0; taken++) {
    some[taken] = parts[taken];
    if (some[taken].iov_len > left) some[taken].iov_len = left;
    left -= some[taken].iov_len;
  }
  return real(file, some, taken, at);
}
