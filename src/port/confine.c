/* SPDX-License-Identifier: Apache-2.0 */
#include "port/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* ---- system calls ------------------------------------------------------------------------ */

static const char *const allowed[] = {
    /* files */
    "access", "close", "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchmod",
    "fcntl", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd", "getdents64", "ioctl", "lseek",
    "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat", "pread64", "preadv", "pwrite64", "pwritev", "read",
    "readlink", "readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir", "stat", "statfs", "statx", "umask",
    "unlink", "unlinkat", "write", "writev",
    /* memory */
    "brk", "madvise", "membarrier", "mlock", "mlock2", "mmap", "mprotect", "mremap", "msync", "munlock", "munmap",
    /* threads, signals, time */
    "arch_prctl", "clock_getres", "clock_gettime", "clock_nanosleep", "clone", "clone3", "exit", "exit_group", "futex",
    "get_robust_list", "getpid", "getppid", "gettid", "gettimeofday", "nanosleep", "restart_syscall", "rseq",
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sched_getaffinity",
    "sched_yield", "set_robust_list", "set_tid_address", "sigaltstack", "tgkill", "time",
    /* the machine */
    "getegid", "geteuid", "getgid", "getrandom", "getrlimit", "getuid", "prlimit64", "sysinfo", "uname",
    /* sockets but for their making */
    "accept", "accept4", "bind", "connect", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2",
    "getpeername", "getsockname", "getsockopt", "listen", "pipe", "pipe2", "poll", "ppoll", "pselect6", "recvfrom",
    "recvmmsg", "recvmsg", "select", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socketpair"};

/* Nobody calls these by mistake. */
static const char *const fatal[] = {
    "execve",     "execveat",    "fork",         "vfork",  "ptrace", "process_vm_readv", "process_vm_writev",
    "kexec_load", "init_module", "finit_module", "bpf",    "mount",  "umount2",          "pivot_root",
    "chroot",     "setns",       "unshare",      "reboot", "swapon", "userfaultfd",      "perf_event_open",
    "add_key",    "request_key", "keyctl"};

static int add_all(scmp_filter_ctx filter, const char *const *name, size_t n, uint32_t action)
{
    for (size_t i = 0; i < n; i++) {
        int call = seccomp_syscall_resolve_name(name[i]);
        if (call < 0) continue; /* this machine has none of that name */
        int failed = seccomp_rule_add(filter, action, call, 0);
        if (failed) return failed;
    }
    return 0;
}

/* What is harmless with these arguments only. */
static int add_some(scmp_filter_ctx filter)
{
    static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}; /* the last to look names up */
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        int failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, families[i]));
        if (failed) return failed;
    }
    int failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_GET_DUMPABLE));
    return failed ? failed
                  : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
}

static int load_filter(scmp_filter_ctx filter)
{
    int failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!failed) failed = add_all(filter, allowed, sizeof allowed / sizeof *allowed, SCMP_ACT_ALLOW);
    if (!failed) failed = add_all(filter, fatal, sizeof fatal / sizeof *fatal, SCMP_ACT_KILL_PROCESS);
    if (!failed) failed = add_some(filter);
    return failed ? failed : seccomp_load(filter);
}

static bool filter_calls(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int failed = filter ? load_filter(filter) : -ENOMEM;
    if (filter) seccomp_release(filter);
    return !failed;
}

/* ---- files ----------------------------------------------------------------------------------- */

#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITING                                                                                                        \
    (READING | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |        \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK)
#define HANDLED                                                                                                        \
    (WRITING | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_MAKE_CHAR |               \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO)

static bool allow_below(int rules, const char *path, uint64_t access)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT || errno == EACCES;
    struct landlock_path_beneath_attr below = {.allowed_access = access, .parent_fd = fd};
    long failed = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0);
    close(fd);
    return failed == 0;
}

static bool allow_folders(int rules, const char *const *write, size_t n)
{
    static const char *const system[] = {"/etc", "/usr",  "/lib", "/lib64", "/run/systemd/resolve",
                                         "/dev", "/proc", "/sys"};
    bool good = true;
    for (size_t i = 0; good && i < sizeof system / sizeof *system; i++)
        good = allow_below(rules, system[i], READING | LANDLOCK_ACCESS_FS_EXECUTE);
    for (size_t i = 0; good && i < n; i++) good = allow_below(rules, write[i], WRITING);
    return good && syscall(SYS_landlock_restrict_self, rules, 0) == 0;
}

/* Only the calling thread and those that it makes: before there are others. */
static bool filter_files(const char *const *write, size_t n)
{
    struct landlock_ruleset_attr all = {.handled_access_fs = HANDLED};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all.handled_access_fs, 0);
    if (rules < 0) return false;
    bool good = allow_folders(rules, write, n);
    close(rules);
    return good;
}

vch_rc vch_confine(const char *const *write, size_t n, unsigned *ret, vch_err_t *err)
{
    const struct rlimit none = {0, 0};
    *ret = 0;
    if (prctl(PR_SET_DUMPABLE, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
        return vch_fail(err, VCH_ERR_IO, "core dumps can't be refused");
    if (SANITIZED) return VCH_OK;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return vch_fail(err, VCH_ERR_IO, "privileges can't be given up");
    if (filter_files(write, n)) *ret |= VCH_CONFINED_FILES;
    if (filter_calls()) *ret |= VCH_CONFINED_CALLS;
    return VCH_OK;
}
