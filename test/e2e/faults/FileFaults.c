/* FileFaults.c - preloaded, lets something happen at the calls of a program
 * that touch files.
 *
 *   FAULT_KILL=N        before its N-th call that changes a file or a folder,
 *                       counted from 1, the process is killed
 *   FAULT_TRUNCATE=PATH when the process maps this file, the file is cut to
 *                       nothing afterwards */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void changesFiles(void) {
  static int calls = 0;
  const char *at = getenv("FAULT_KILL");
  if (at && __sync_add_and_fetch(&calls, 1) == atoi(at))
    kill(getpid(), SIGKILL);
}

/* The definition that this one stands before. */
#define NEXT(name)                                                             \
  static __typeof__(name) *next = 0;                                           \
  if (!next)                                                                   \
  next = (__typeof__(next))dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                                             \
  int name(const char *path, int flags, ...) {                                 \
    NEXT(name);                                                                \
    va_list list;                                                              \
    va_start(list, flags);                                                     \
    const mode_t mode =                                                        \
        flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;              \
    va_end(list);                                                              \
    if (flags & O_CREAT)                                                       \
      changesFiles();                                                          \
    return next(path, flags, mode);                                            \
  }
OPEN(open)
OPEN(open64)

#define PWRITE(name, Offset)                                                   \
  ssize_t name(int fd, const void *bytes, size_t count, Offset offset) {       \
    NEXT(name);                                                                \
    changesFiles();                                                            \
    return next(fd, bytes, count, offset);                                     \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define FTRUNCATE(name, Offset)                                                \
  int name(int fd, Offset size) {                                              \
    NEXT(name);                                                                \
    changesFiles();                                                            \
    return next(fd, size);                                                     \
  }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

int fsync(int fd) {
  NEXT(fsync);
  changesFiles();
  return next(fd);
}

int rename(const char *from, const char *to) {
  NEXT(rename);
  changesFiles();
  return next(from, to);
}

int unlink(const char *path) {
  NEXT(unlink);
  changesFiles();
  return next(path);
}

int remove(const char *path) {
  NEXT(remove);
  changesFiles();
  return next(path);
}

static void truncateIfWanted(int fd) {
  const char *path = getenv("FAULT_TRUNCATE");
  struct stat mapped, wanted;
  if (path && fd >= 0 && fstat(fd, &mapped) == 0 && stat(path, &wanted) == 0 &&
      mapped.st_ino == wanted.st_ino && mapped.st_dev == wanted.st_dev)
    (void)!truncate(path, 0);
}

#define MMAP(name, Offset)                                                     \
  void *name(void *address, size_t size, int protection, int flags, int fd,    \
             Offset offset) {                                                  \
    NEXT(name);                                                                \
    void *result = next(address, size, protection, flags, fd, offset);         \
    truncateIfWanted(fd);                                                      \
    return result;                                                             \
  }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)
