/* Moves the wall clock of one process by the seconds in the file that MOVED_CLOCK names, read at every look. The
 * monotonic clock goes on as ever: so it is when somebody sets a machine's clock. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int answer = (int)syscall(SYS_clock_gettime, clock, time);
    const char *path = getenv("MOVED_CLOCK");
    if (answer == 0 && clock == CLOCK_REALTIME && path != NULL) {
        FILE *file = fopen(path, "r");
        long by = 0;
        if (file != NULL) {
            if (fscanf(file, "%ld", &by) == 1) {
                time->tv_sec += by;
            }
            fclose(file);
        }
    }
    return answer;
}
