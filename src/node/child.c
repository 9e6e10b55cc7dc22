/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that starts another program: the command of a run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/use.h"

static void become(const char *const *argv, const char *const *settings)
{
    for (size_t i = 0; settings[i]; i++)
        if (putenv((char *)(uintptr_t)settings[i]) != 0) _exit(126);
    if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0) _exit(126);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "vouch: %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

vch_rc vch_child_run(const char *const *argv, const char *const *settings, int *ret_exit, vch_err_t *err)
{
    int status;
    pid_t pid = fork();
    if (pid < 0) return vch_fail(err, VCH_ERR_IO, "the command can't be started: %s", strerror(errno));
    if (pid == 0) become(argv, settings);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return vch_fail(err, VCH_ERR_IO, "the command can't be waited for: %s", strerror(errno));
    *ret_exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return VCH_OK;
}

bool vch_child_find(const char *name, char ret[VCH_PATH_MAX])
{
    if (strchr(name, '/')) return vch_path(ret, "%s", name) == VCH_OK && access(ret, X_OK) == 0;
    const char *path = getenv("PATH");
    for (const char *at = path ? path : ""; *at;) {
        size_t n = strcspn(at, ":");
        if (n && vch_path(ret, "%.*s/%s", (int)n, at, name) == VCH_OK && access(ret, X_OK) == 0) return true;
        at += n + (at[n] == ':');
    }
    return false;
}

void vch_child_system(char *ret, size_t n)
{
    struct utsname u;
    if (uname(&u) != 0) u = (struct utsname){.sysname = "unknown"};
    snprintf(ret, n, "%s %s %s", u.sysname, u.release, u.machine);
}
