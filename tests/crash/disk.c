/* A disk between SQLite and the kernel, for LD_PRELOAD: it fails when told to, and can write down what
 * happens to it. Only files named books.db, books.db-wal and books.db-journal are its concern.
 *
 * DISK_FAULT  a path. While that file exists, its text says what fails: "CALL NTH ERRNO HOW" with CALL
 *             write, sync or sync-books (of the file, not the log), counted from 1 since the file came; HOW is once (the file is then deleted)
 *             or on (this one and all that follow).
 * DISK_LOG    a file to append to: for each call that was made a head, and for writes what was written. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOT_OURS, BOOKS, WAL, JOURNAL };
enum { WRITE = 1, TRUNCATE, SYNC, SYNC_FAILED, UNLINK };
enum { DESCRIPTORS = 1 << 16 };

struct head {
    uint32_t kind, file;
    uint64_t offset, length;
};

static unsigned char files[DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *fault_path;
static int log_descriptor = -1;
static int counted;

__attribute__((constructor)) static void begin(void) {
    const char *log_path = getenv("DISK_LOG");
    fault_path = getenv("DISK_FAULT");
    if (log_path != NULL)
        log_descriptor = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

static int file_of(const char *path) {
    if (ends_with(path, "books.db")) return BOOKS;
    if (ends_with(path, "books.db-wal")) return WAL;
    return ends_with(path, "books.db-journal") ? JOURNAL : NOT_OURS;
}

static int file_at(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS ? files[descriptor] : NOT_OURS;
}

/* With the lock held. Sets errno and answers 1 if this call is to fail. */
static int fails(const char *call) {
    char text[64] = "", wanted[16] = "", how[16] = "";
    int nth = 0, number = 0, fault;
    if (fault_path == NULL) return 0;
    fault = syscall(SYS_openat, AT_FDCWD, fault_path, O_RDONLY | O_CLOEXEC);
    if (fault < 0) {
        counted = 0;
        return 0;
    }
    (void)!syscall(SYS_read, fault, text, sizeof text - 1);
    syscall(SYS_close, fault);
    if (sscanf(text, "%15s %d %d %15s", wanted, &nth, &number, how) != 4 || strcmp(wanted, call) != 0) return 0;
    if (++counted < nth) return 0;
    if (strcmp(how, "once") == 0) syscall(SYS_unlinkat, AT_FDCWD, fault_path, 0);
    errno = number;
    return 1;
}

/* With the lock held: the order of the log is the order of the calls. */
static void note(uint32_t kind, int file, uint64_t offset, uint64_t length, const void *bytes) {
    struct head head = {kind, file, offset, length};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)bytes, bytes == NULL ? 0 : length}};
    int before = errno;
    if (log_descriptor >= 0 && syscall(SYS_writev, log_descriptor, parts, 2) < 0) abort();
    errno = before;
}

static int opened(int descriptor, const char *path) {
    if (descriptor >= 0 && descriptor < DESCRIPTORS) files[descriptor] = file_of(path);
    return descriptor;
}

#define OPEN(name, ...)                                                        \
    int name(__VA_ARGS__, int flags, ...) {                                    \
        va_list more;                                                          \
        va_start(more, flags);                                                 \
        int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;      \
        va_end(more);                                                          \
        return opened(syscall(SYS_openat, FOLDER, path, flags, mode), path);   \
    }
#define FOLDER AT_FDCWD
OPEN(open, const char *path)
OPEN(open64, const char *path)
#undef FOLDER
#define FOLDER folder
OPEN(openat, int folder, const char *path)
OPEN(openat64, int folder, const char *path)

int close(int descriptor) {
    if (file_at(descriptor) != NOT_OURS) files[descriptor] = NOT_OURS;
    return syscall(SYS_close, descriptor);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t offset) {
    int file = file_at(descriptor);
    if (file == NOT_OURS) return syscall(SYS_pwrite64, descriptor, bytes, length, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = fails("write") ? -1 : syscall(SYS_pwrite64, descriptor, bytes, length, offset);
    if (done > 0) note(WRITE, file, offset, done, bytes);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset) {
    return pwrite64(descriptor, bytes, length, offset);
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
    /* SQLite writes at places; another way of writing would be missing from the log. */
    if (file_at(descriptor) != NOT_OURS) abort();
    return syscall(SYS_write, descriptor, bytes, length);
}

static int synced(int descriptor, long call) {
    int file = file_at(descriptor);
    if (file == NOT_OURS) return syscall(call, descriptor);
    pthread_mutex_lock(&lock);
    int done = fails("sync") || (file == BOOKS && fails("sync-books")) ? -1 : syscall(call, descriptor);
    note(done == 0 ? SYNC : SYNC_FAILED, file, 0, 0, NULL);
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int descriptor) { return synced(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return synced(descriptor, SYS_fdatasync); }

int ftruncate64(int descriptor, off64_t length) {
    int file = file_at(descriptor);
    if (file == NOT_OURS) return syscall(SYS_ftruncate, descriptor, length);
    pthread_mutex_lock(&lock);
    int done = syscall(SYS_ftruncate, descriptor, length);
    if (done == 0) note(TRUNCATE, file, length, 0, NULL);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int descriptor, off_t length) { return ftruncate64(descriptor, length); }

int unlink(const char *path) {
    int file = file_of(path);
    if (file == NOT_OURS) return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&lock);
    int done = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (done == 0) note(UNLINK, file, 0, 0, NULL);
    pthread_mutex_unlock(&lock);
    return done;
}
