/* Writes a line into the file that COUNTED_SYNCS names for each file that has been synced to disk: its path. For
 * LD_PRELOAD. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int counted(int file, long synced) {
    const char *to = getenv("COUNTED_SYNCS");
    char link[32], line[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, line, sizeof line - 1);
    int list = to == NULL ? -1 : open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (synced == 0 && length > 0 && list >= 0) {
        line[length] = '\n';
        if (write(list, line, length + 1) < 0) {
            abort();
        }
    }
    if (list >= 0) {
        close(list);
    }
    return (int)synced;
}

int fdatasync(int file) {
    return counted(file, syscall(SYS_fdatasync, file));
}

int fsync(int file) {
    return counted(file, syscall(SYS_fsync, file));
}
