/* SPDX-License-Identifier: Apache-2.0 */
/* What a confined process can still do, and what not: each in a child. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port/confine.h"

static char mine[64], other[64];

static int make_folders(void **state)
{
    (void)state;
    snprintf(mine, sizeof mine, "/tmp/vch-mine-XXXXXX");
    snprintf(other, sizeof other, "/tmp/vch-other-XXXXXX");
    return mkdtemp(mine) && mkdtemp(other) ? 0 : -1;
}

static int remove_folders(void **state)
{
    char path[80];
    (void)state;
    snprintf(path, sizeof path, "%s/file", mine);
    unlink(path);
    snprintf(path, sizeof path, "%s/file", other);
    unlink(path);
    return rmdir(mine) == 0 && rmdir(other) == 0 ? 0 : -1;
}

/* How a child ends that confines itself and then does this; `what` gets what was
 * given up.  Exit codes: what `act` returns, 99 when it couldn't be confined. */
static int child(int (*act)(unsigned what))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        unsigned what = 0;
        const char *const write[] = {mine, "/nowhere/at-all"};
        if (vch_confine(write, 2, &what, NULL) != VCH_OK) _exit(99);
        _exit(act(what));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status); }

static bool can_write(const char *folder)
{
    char path[80];
    snprintf(path, sizeof path, "%s/file", folder);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, "x", 1) == 1 && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    return good;
}

static void *nothing(void *ctx) { return ctx; }

static int work(unsigned what)
{
    pthread_t thread;
    (void)what;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    return can_write(mine) && s >= 0 && pthread_create(&thread, NULL, nothing, NULL) == 0 &&
                   pthread_join(thread, NULL) == 0 && malloc(1u << 20)
               ? 0
               : 1;
}

static int is_not_dumpable(unsigned what)
{
    (void)what;
    return prctl(PR_GET_DUMPABLE) == 0 ? 0 : 1;
}

static int write_elsewhere(unsigned what)
{
    if (!(what & VCH_CONFINED_FILES)) return 77;
    return can_write(other) ? 1 : 0;
}

static int read_elsewhere(unsigned what)
{
    if (!(what & VCH_CONFINED_FILES)) return 77;
    int fd = open("/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 && errno == EACCES ? 0 : 1;
}

static int run_a_program(unsigned what)
{
    char *const argv[] = {(char *)(uintptr_t) "true", NULL};
    if (!(what & VCH_CONFINED_CALLS)) return 77;
    execv("/bin/true", argv);
    return 1;
}

static int look_into_others(unsigned what)
{
    if (!(what & VCH_CONFINED_CALLS)) return 77;
    (void)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
    return 1;
}

static int raw_socket(unsigned what)
{
    if (!(what & VCH_CONFINED_CALLS)) return 77;
    return socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EPERM ? 0 : 1;
}

static void its_own_work_goes_on(void **state)
{
    (void)state;
    assert_int_equal(exit_code(child(work)), 0);
    assert_int_equal(exit_code(child(is_not_dumpable)), 0);
}

/* 77: not given up here, by a sanitizer or an old kernel. */
static void refused(int (*act)(unsigned), int how)
{
    int code = exit_code(child(act));
    if (code == 77) {
        print_message("not given up here\n");
        skip();
    }
    assert_int_equal(code, how);
}

static void no_file_elsewhere(void **state)
{
    (void)state;
    refused(write_elsewhere, 0);
    if (getuid() == 0) refused(read_elsewhere, 0);
}

static void no_other_program(void **state)
{
    (void)state;
    refused(run_a_program, 200 + SIGSYS);
}

static void no_other_process(void **state)
{
    (void)state;
    refused(look_into_others, 200 + SIGSYS);
}

static void no_strange_socket(void **state)
{
    (void)state;
    refused(raw_socket, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_own_work_goes_on), cmocka_unit_test(no_file_elsewhere), cmocka_unit_test(no_other_program),
        cmocka_unit_test(no_other_process),     cmocka_unit_test(no_strange_socket),
    };
    return cmocka_run_group_tests(tests, make_folders, remove_folders);
}
