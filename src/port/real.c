/* SPDX-License-Identifier: Apache-2.0 */
/* The machine itself: files, clocks and randomness of Linux. */
#include "port/port.h"
#include "port/real.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define LOCK_POLL_MS 10u
#define CORES_MAX 64
#define IO_MAX ((size_t)1 << 30) /* bytes given to one system call */

struct vch_file {
    int fd;
};

vch_rc vch__real_rc(int error)
{
    switch (error) {
    case 0:
        return VCH_OK;
    case ENOENT:
    case ENOTDIR:
        return VCH_ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return VCH_ERR_CONFLICT;
    case ENOSPC:
    case EDQUOT:
        return VCH_ERR_FULL;
    case EROFS:
    case EACCES:
    case EPERM:
        return VCH_ERR_READ_ONLY;
    case ENOMEM:
        return VCH_ERR_MEMORY;
    case ENAMETOOLONG:
        return VCH_ERR_LIMIT;
    default:
        return VCH_ERR_IO;
    }
}

/* The result of a call that gives -1 and sets errno. */
static vch_rc rc_of(int result) { return result < 0 ? vch__real_rc(errno) : VCH_OK; }

static bool off_fits(uint64_t at, size_t n) { return at <= INT64_MAX && n <= INT64_MAX - at; }

/* ---- files ------------------------------------------------------------------- */

static int open_retry(const char *path, int flags, unsigned mode)
{
    int fd;
    do fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static vch_rc real_open(vch_port_t *port, vch_file_t **ret, const char *path, vch_open_t how, unsigned mode)
{
    (void)port;
    int flags = how == VCH_OPEN_READ ? O_RDONLY : O_RDWR;
    if (how == VCH_OPEN_CREATE) flags |= O_CREAT;
    if (how == VCH_OPEN_NEW) flags |= O_CREAT | O_EXCL;
    vch_file_t *file = vch_alloc(sizeof *file);
    if (!file) return VCH_ERR_MEMORY;
    file->fd = open_retry(path, flags, mode);
    if (file->fd < 0) {
        vch_rc rc = vch__real_rc(errno);
        vch_free(file);
        return rc;
    }
    struct stat st;
    if (fstat(file->fd, &st) < 0 || S_ISDIR(st.st_mode)) { /* a folder is no file, even for reading */
        close(file->fd);
        vch_free(file);
        return VCH_ERR_IO;
    }
    *ret = file;
    return VCH_OK;
}

static void real_close(vch_port_t *port, vch_file_t *file)
{
    (void)port;
    close(file->fd); /* Linux: the descriptor is gone even after EINTR */
    vch_free(file);
}

static vch_rc real_read(vch_port_t *port, vch_file_t *file, size_t *ret_n, void *buf, size_t n, uint64_t at)
{
    (void)port;
    if (!off_fits(at, n)) return VCH_ERR_LIMIT;
    size_t done = 0;
    while (done < n) {
        size_t want = vch_min(n - done, IO_MAX);
        ssize_t got = pread(file->fd, (uint8_t *)buf + done, want, (off_t)(at + done));
        if (got < 0 && errno == ESPIPE && at == 0)
            got = read(file->fd, (uint8_t *)buf + done, want); /* a pipe's next */
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return vch__real_rc(errno);
        if (got == 0) break;
        done += (size_t)got;
    }
    *ret_n = done;
    return VCH_OK;
}

static vch_rc real_write(vch_port_t *port, vch_file_t *file, const void *buf, size_t n, uint64_t at)
{
    (void)port;
    if (!off_fits(at, n)) return VCH_ERR_LIMIT;
    size_t done = 0;
    while (done < n) {
        size_t want = vch_min(n - done, IO_MAX);
        ssize_t put = pwrite(file->fd, (const uint8_t *)buf + done, want, (off_t)(at + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return vch__real_rc(errno);
        if (put == 0) return VCH_ERR_IO;
        done += (size_t)put;
    }
    return VCH_OK;
}

static vch_rc real_sync(vch_port_t *port, vch_file_t *file)
{
    (void)port;
    int result;
    do result = fdatasync(file->fd);
    while (result < 0 && errno == EINTR);
    return rc_of(result);
}

static vch_rc real_truncate(vch_port_t *port, vch_file_t *file, uint64_t size)
{
    (void)port;
    if (!off_fits(size, 0)) return VCH_ERR_LIMIT;
    int result;
    do result = ftruncate(file->fd, (off_t)size);
    while (result < 0 && errno == EINTR);
    return rc_of(result);
}

static vch_rc real_size(vch_port_t *port, vch_file_t *file, uint64_t *ret)
{
    (void)port;
    struct stat st;
    VCH_TRY(rc_of(fstat(file->fd, &st)));
    *ret = (uint64_t)st.st_size;
    return VCH_OK;
}

/* ---- clock and randomness ------------------------------------------------------ */

static uint64_t clock_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static uint64_t real_wall_ms(vch_port_t *port)
{
    (void)port;
    return clock_ms(CLOCK_REALTIME);
}

uint64_t vch__real_boot_ms(void) { return clock_ms(CLOCK_BOOTTIME); }

static uint64_t real_boot_ms(vch_port_t *port)
{
    (void)port;
    return vch__real_boot_ms();
}

static void real_sleep_ms(vch_port_t *port, uint64_t ms)
{
    (void)port;
    struct timespec left = {.tv_sec = (time_t)(ms / 1000u), .tv_nsec = (long)(ms % 1000u) * 1000000L};
    while (nanosleep(&left, &left) < 0 && errno == EINTR) continue;
}

static vch_rc real_fill(vch_port_t *port, void *buf, size_t n)
{
    (void)port;
    size_t done = 0;
    while (done < n) {
        ssize_t got = getrandom((uint8_t *)buf + done, vch_min(n - done, 256), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return VCH_ERR_IO;
        done += (size_t)got;
    }
    return VCH_OK;
}

/* ---- locks: open-file-description locks belong to the handle, not to the
 * process, so two handles of one process exclude each other as well. --------- */

static vch_rc lock_once(int fd, short type)
{
    struct flock whole = {.l_type = type, .l_whence = SEEK_SET};
    int result;
    do result = fcntl(fd, F_OFD_SETLK, &whole);
    while (result < 0 && errno == EINTR);
    if (result < 0 && (errno == EAGAIN || errno == EACCES)) return VCH_ERR_LOCKED;
    return rc_of(result);
}

static vch_rc real_lock(vch_port_t *port, vch_file_t *file, vch_lock_t how, uint64_t wait_ms)
{
    short type = how == VCH_LOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK;
    uint64_t start = vch__real_boot_ms();
    for (;;) {
        vch_rc rc = lock_once(file->fd, type);
        uint64_t waited = vch__real_boot_ms() - start;
        if (rc != VCH_ERR_LOCKED || waited >= wait_ms) return rc;
        uint64_t left = wait_ms - waited;
        real_sleep_ms(port, left < LOCK_POLL_MS ? left : LOCK_POLL_MS);
    }
}

static void real_unlock(vch_port_t *port, vch_file_t *file)
{
    (void)port;
    (void)lock_once(file->fd, F_UNLCK); /* fails only on a bad descriptor */
}

/* ---- names ----------------------------------------------------------------------- */

static vch_rc real_stat(vch_port_t *port, const char *path, vch_stat_t *ret)
{
    (void)port;
    struct stat st;
    VCH_TRY(rc_of(stat(path, &st)));
    *ret = (vch_stat_t){.size = S_ISDIR(st.st_mode) ? 0 : (uint64_t)st.st_size,
                        .is_dir = S_ISDIR(st.st_mode),
                        .mode = (unsigned)st.st_mode & 07777u};
    return VCH_OK;
}

static vch_rc real_rename(vch_port_t *port, const char *from, const char *to)
{
    (void)port;
    return rc_of(rename(from, to));
}

static vch_rc real_remove(vch_port_t *port, const char *path)
{
    (void)port;
    if (unlink(path) == 0) return VCH_OK;
    return errno == EISDIR ? rc_of(rmdir(path)) : vch__real_rc(errno);
}

static vch_rc real_mkdir(vch_port_t *port, const char *path, unsigned mode)
{
    (void)port;
    return rc_of(mkdir(path, mode));
}

static vch_rc real_sync_dir(vch_port_t *port, const char *path)
{
    (void)port;
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return vch__real_rc(errno);
    int result;
    do result = fsync(fd);
    while (result < 0 && errno == EINTR);
    vch_rc rc = rc_of(result);
    close(fd);
    return rc;
}

static vch_rc real_free_space(vch_port_t *port, const char *path, uint64_t *ret_bytes)
{
    (void)port;
    struct statvfs st;
    int result;
    do result = statvfs(path, &st);
    while (result < 0 && errno == EINTR);
    VCH_TRY(rc_of(result));
    *ret_bytes = (uint64_t)st.f_bavail * (uint64_t)st.f_frsize;
    return VCH_OK;
}

typedef struct {
    char **name;
    size_t n, cap;
} names_t;

static void names_free(names_t *names)
{
    for (size_t i = 0; i < names->n; i++) vch_free(names->name[i]);
    vch_free(names->name);
}

static vch_rc names_add(names_t *names, const char *name)
{
    if (names->n == names->cap) {
        size_t cap = names->cap ? names->cap * 2 : 64, bytes;
        if (vch_mul_overflows(cap, sizeof *names->name, &bytes)) return VCH_ERR_MEMORY;
        char **more = vch_resize(names->name, bytes);
        if (!more) return VCH_ERR_MEMORY;
        names->name = more;
        names->cap = cap;
    }
    char *copy = vch_strdup(name);
    if (!copy) return VCH_ERR_MEMORY;
    names->name[names->n++] = copy;
    return VCH_OK;
}

static int names_order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static vch_rc names_read(names_t *names, const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) return vch__real_rc(errno);
    vch_rc rc = VCH_OK;
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(dir);
        if (!e && errno) rc = vch__real_rc(errno);
        if (!e || rc != VCH_OK) break;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        rc = names_add(names, e->d_name);
    }
    closedir(dir);
    return rc;
}

static vch_rc real_list(vch_port_t *port, const char *path, vch_list_fn fn, void *ctx)
{
    (void)port;
    names_t names = {0};
    vch_rc rc = names_read(&names, path);
    if (names.n > 1) qsort(names.name, names.n, sizeof *names.name, names_order);
    for (size_t i = 0; rc == VCH_OK && i < names.n; i++) rc = fn(ctx, names.name[i]);
    names_free(&names);
    return rc;
}

/* ---- the table --------------------------------------------------------------------- */

static const vch_disk_ops_t real_disk = {
    .open = real_open,
    .close = real_close,
    .read = real_read,
    .write = real_write,
    .sync = real_sync,
    .truncate = real_truncate,
    .size = real_size,
    .lock = real_lock,
    .unlock = real_unlock,
    .stat = real_stat,
    .rename = real_rename,
    .remove = real_remove,
    .mkdir = real_mkdir,
    .sync_dir = real_sync_dir,
    .list = real_list,
    .free_space = real_free_space,
};
static const vch_clock_ops_t real_clock = {real_wall_ms, real_boot_ms, real_sleep_ms};
static const vch_random_ops_t real_random = {real_fill};

/* ---- writing back ------------------------------------------------------------- */

#ifdef SYNC_FILE_RANGE_WRITE
#define PIECE_BYTES (256 << 10)
#define PIECE_HOW (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)
#define PIECE_WRITTEN_US 30u /* less: there was nothing to write */
#define PIECE_PAUSE_NS 1000000

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

void vch_real_write_back(int fd)
{
    const struct timespec pause = {0, PIECE_PAUSE_NS};
    struct stat st;
    if (fstat(fd, &st) != 0) return;
    for (off_t at = 0; at < st.st_size; at += PIECE_BYTES) {
        uint64_t began = now_us();
        if (sync_file_range(fd, at, PIECE_BYTES, PIECE_HOW) != 0) return;
        if (now_us() - began >= PIECE_WRITTEN_US) (void)nanosleep(&pause, NULL);
    }
}
#else
void vch_real_write_back(int fd) { (void)fd; }
#endif

vch_port_t *vch_port_real(void)
{
    static vch_port_t port = {&real_disk, &real_clock, &real_random, &vch__real_net, NULL, NULL};
    return &port;
}

unsigned vch_port_cores(const vch_port_t *port)
{
    if (port != vch_port_real()) return 1;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > CORES_MAX ? CORES_MAX : (unsigned)n;
}
