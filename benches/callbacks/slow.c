/* A disk that takes 4 ms more for each sync, for LD_PRELOAD. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait(void) {
    struct timespec more = {0, 4 * 1000 * 1000};
    nanosleep(&more, NULL);
}

int fsync(int descriptor) {
    wait();
    return syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
    wait();
    return syscall(SYS_fdatasync, descriptor);
}
