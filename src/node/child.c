/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that starts another program: the command of a run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/use.h"

extern char **environ;

/* "NAME=" the same in both? */
static bool same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=") + 1;
    return strncmp(a, b, n) == 0;
}

static bool is_set(const char *const *settings, const char *name)
{
    for (size_t i = 0; settings[i]; i++)
        if (same_name(settings[i], name)) return true;
    return false;
}

/* Ours first, then what we were given, made before the fork: the child of a
 * program with threads may not allocate. */
static const char **environment(const char *const *settings)
{
    size_t own = 0, given = 0, n = 0;
    while (settings[own]) own++;
    while (environ && environ[given]) given++;
    const char **all = vch_alloc_array(own + given + 1, sizeof *all);
    if (!all) return NULL;
    for (; n < own; n++) all[n] = settings[n];
    for (size_t i = 0; i < given; i++)
        if (!is_set(settings, environ[i])) all[n++] = environ[i];
    all[n] = NULL;
    return all;
}

static void become(const char *const *argv, const char *const *all)
{
    if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0) _exit(126);
    environ = (char **)(uintptr_t)all;
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "vouch: %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

vch_rc vch_child_run(const char *const *argv, const char *const *settings, int *ret_exit, vch_err_t *err)
{
    int status;
    const char **all = environment(settings);
    if (!all) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    pid_t pid = fork();
    if (pid == 0) become(argv, all);
    vch_free((void *)(uintptr_t)all);
    if (pid < 0) return vch_fail(err, VCH_ERR_IO, "the command can't be started: %s", strerror(errno));
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

vch_rc vch_child_absolute(char ret[VCH_PATH_MAX], const char *path)
{
    char here[VCH_PATH_MAX];
    if (path[0] == '/') return vch_path(ret, "%s", path);
    if (!getcwd(here, sizeof here)) return errno == ERANGE ? VCH_ERR_LIMIT : VCH_ERR_IO;
    return vch_path(ret, "%s/%s", here, path);
}

vch_rc vch_child_system(vch_buf_t *ret)
{
    struct utsname u;
    const char *path = getenv("PATH");
    if (uname(&u) != 0) return VCH_ERR_IO;
    return vch_buf_printf(ret, "%s %s %s\nPATH=%s\n", u.sysname, u.release, u.machine, path ? path : "");
}
