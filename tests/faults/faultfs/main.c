/* faultfs BACKING MOUNTPOINT CONTROL [writeback]
 *
 * Shows the tree of BACKING at MOUNTPOINT, answers commands at the Unix socket CONTROL, and prints "ready". One thread
 * does all of it, so one order of requests gives one outcome.
 */
#include "faultfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define POLLED_MAX 16

static int serve(struct fuse_session *session)
{
    struct fuse_buf request = {.mem = NULL};
    while (!world.ended && !fuse_session_exited(session)) {
        struct pollfd polled[POLLED_MAX] = {{fuse_session_fd(session), POLLIN, 0}};
        int count = 1 + control_descriptors(polled + 1, POLLED_MAX - 1);
        if (poll(polled, (nfds_t)count, -1) < 0 && errno != EINTR)
            return 1;
        if (polled[0].revents) {
            int received = fuse_session_receive_buf(session, &request);
            if (received == -EINTR || received == -EAGAIN)
                continue;
            if (received <= 0)
                return received ? 1 : 0;
            if (!intercept(&request))
                fuse_session_process_buf(session, &request);
        }
        serve_control(polled + 1, count - 1);
    }
    free(request.mem);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: faultfs BACKING MOUNTPOINT CONTROL [writeback]\n");
        return 2;
    }
    char store[PAGE];
    snprintf(store, sizeof store, "%s.store", argv[1]);
    world.backing = argv[1];
    world.store = store;
    world.writeback = argc == 5 && !strcmp(argv[4], "writeback");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int result = load_tree();
    if (!result)
        result = open_control(argv[3]);
    if (result) {
        fprintf(stderr, "faultfs: %s: %s\n", argv[1], strerror(-result));
        return 1;
    }
    char *options[] = {"faultfs", "-o", "default_permissions,allow_other,dev,suid,fsname=faultfs"};
    struct fuse_args arguments = FUSE_ARGS_INIT(3, options);
    struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
    if (!session || fuse_session_mount(session, argv[2])) {
        fprintf(stderr, "faultfs: %s can't be mounted; this needs /dev/fuse and root\n", argv[2]);
        return 1;
    }
    world.session = session;
    fuse_set_signal_handlers(session);
    printf("ready\n");
    fflush(stdout);
    result = serve(session);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return result;
}
