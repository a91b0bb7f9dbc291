/* Lets one look at a clock fail in the thread whose name is in the file that FAILING_THREAD names; the file is deleted then.
 * Rust's standard library panics where a clock cannot be read. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int is_to_fail(void) {
    const char *path = getenv("FAILING_THREAD");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    char wanted[17] = {0}, name[17] = {0};
    if (file < 0) {
        return 0;
    }
    ssize_t length = read(file, wanted, 16);
    close(file);
    prctl(PR_GET_NAME, name);
    return length > 0 && strcmp(wanted, name) == 0 && unlink(path) == 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (is_to_fail()) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_clock_gettime, clock, time);
}
