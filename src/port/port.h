/* SPDX-License-Identifier: Apache-2.0 */
/* The one door to the world: disk, clock, randomness, network and memory.
 *
 * Nothing above this rank calls the operating system.  vch_port_real() is the
 * machine; vch_port_sim() (sim.h) is a machine in memory that drops, tears,
 * reorders and fails from one seed.  A port is shared by all threads.
 *
 * Files are addressed by path.  Results: VCH_OK, ERR_NOT_FOUND, ERR_IO,
 * ERR_FULL (ENOSPC, EDQUOT), ERR_READ_ONLY (EROFS, EACCES, EPERM),
 * ERR_INTERRUPTED never escapes (EINTR is retried inside), ERR_LOCKED,
 * ERR_CONFLICT (exists), ERR_MEMORY.  Short reads and writes are completed
 * inside; a read past the end yields fewer bytes in *ret_n. */
#ifndef VCH_PORT_H
#define VCH_PORT_H

#include "base/base.h"

typedef struct vch_file vch_file_t;

typedef enum {
    VCH_OPEN_READ = 0,
    VCH_OPEN_WRITE = 1,  /* read and write; must exist */
    VCH_OPEN_CREATE = 2, /* read and write; made when missing */
    VCH_OPEN_NEW = 4     /* read and write; ERR_CONFLICT when it exists */
} vch_open_t;

typedef enum { VCH_LOCK_SHARED, VCH_LOCK_EXCLUSIVE } vch_lock_t;

typedef struct {
    uint64_t size;
    bool is_dir;
    unsigned mode; /* permission bits; 0600 or 0700 in the simulation */
} vch_stat_t;

/* Called once per name (not "." or ".."), in byte order of the names; a
 * result other than VCH_OK ends the walk and is returned. */
typedef vch_rc (*vch_list_fn)(void *ctx, const char *name);

typedef struct vch_port vch_port_t;

typedef struct {
    vch_rc (*open)(vch_port_t *, vch_file_t **ret, const char *path, vch_open_t how, unsigned mode);
    void (*close)(vch_port_t *, vch_file_t *);
    vch_rc (*read)(vch_port_t *, vch_file_t *, size_t *ret_n, void *buf, size_t n, uint64_t at);
    vch_rc (*write)(vch_port_t *, vch_file_t *, const void *buf, size_t n, uint64_t at);
    vch_rc (*sync)(vch_port_t *, vch_file_t *); /* fdatasync: data and size */
    vch_rc (*truncate)(vch_port_t *, vch_file_t *, uint64_t size);
    vch_rc (*size)(vch_port_t *, vch_file_t *, uint64_t *ret);
    /* Advisory whole-file lock that dies with the process; waits at most
     * wait_ms, then ERR_LOCKED. */
    vch_rc (*lock)(vch_port_t *, vch_file_t *, vch_lock_t how, uint64_t wait_ms);
    void (*unlock)(vch_port_t *, vch_file_t *);
    vch_rc (*stat)(vch_port_t *, const char *path, vch_stat_t *ret);
    vch_rc (*rename)(vch_port_t *, const char *from, const char *to);
    vch_rc (*remove)(vch_port_t *, const char *path);               /* a file or an empty folder */
    vch_rc (*mkdir)(vch_port_t *, const char *path, unsigned mode); /* ERR_CONFLICT when there */
    vch_rc (*sync_dir)(vch_port_t *, const char *path);
    vch_rc (*list)(vch_port_t *, const char *path, vch_list_fn fn, void *ctx);
    vch_rc (*free_space)(vch_port_t *, const char *path, uint64_t *ret_bytes);
} vch_disk_ops_t;

typedef struct {
    uint64_t (*wall_ms)(vch_port_t *); /* since 1970, may jump */
    uint64_t (*boot_ms)(vch_port_t *); /* since boot incl. sleep, never steps back */
    void (*sleep_ms)(vch_port_t *, uint64_t ms);
} vch_clock_ops_t;

typedef struct {
    vch_rc (*fill)(vch_port_t *, void *buf, size_t n);
} vch_random_ops_t;

typedef struct vch_conn vch_conn_t;

/* Byte streams.  Addresses: "unix:/path" or "tcp:127.0.0.1:7117". */
typedef struct {
    vch_rc (*listen)(vch_port_t *, vch_conn_t **ret, const char *address);
    vch_rc (*accept)(vch_port_t *, vch_conn_t *listener, vch_conn_t **ret, uint64_t wait_ms);
    vch_rc (*connect)(vch_port_t *, vch_conn_t **ret, const char *address, uint64_t wait_ms);
    vch_rc (*send)(vch_port_t *, vch_conn_t *, const void *buf, size_t n);
    /* 1..n bytes in *ret_n, 0 at the end; ERR_UNREACHABLE after wait_ms. */
    vch_rc (*recv)(vch_port_t *, vch_conn_t *, size_t *ret_n, void *buf, size_t n, uint64_t wait_ms);
    void (*close)(vch_port_t *, vch_conn_t *);
} vch_net_ops_t;

struct vch_port {
    const vch_disk_ops_t *disk;
    const vch_clock_ops_t *clock;
    const vch_random_ops_t *random;
    const vch_net_ops_t *net;
    const vch_mem_t *mem;
    void *ctx;
};

/* The machine itself.  Static; never freed; any thread. */
vch_port_t *vch_port_real(void);
/* How many threads can work at once on this port: the machine's processors, at
 * most 64; 1 under a simulation, whose order must stay repeatable. */
unsigned vch_port_cores(const vch_port_t *);

/* For a library that does its own I/O: what it wrote to this open file, and the
 * system still keeps in memory, goes to the disk in pieces of 256 KiB with
 * pauses, so that syncs of other files stay quick meanwhile.  No promise of
 * durability: a sync must follow, and has little left to do.  Where the system
 * has no such call, that sync does it all. */
void vch_real_write_back(int fd);

/* ---- what callers actually write: the table's calls with errors named ---- */

VCH_MUST_USE vch_rc vch_file_open(vch_port_t *, vch_file_t **ret, const char *path, vch_open_t how, vch_err_t *);
void vch_file_close(vch_port_t *, vch_file_t *); /* NULL is fine */
/* Exactly n bytes or ERR_CORRUPT ("ends early"). */
VCH_MUST_USE vch_rc vch_file_read(vch_port_t *, vch_file_t *, void *buf, size_t n, uint64_t at, vch_err_t *);
/* A whole file of at most max bytes, appended to ret (whose own max holds too). */
VCH_MUST_USE vch_rc vch_read_all(vch_port_t *, vch_buf_t *ret, const char *path, size_t max, vch_err_t *);
/* Write to "path.tmp", sync, rename, sync the folder: after it returns, the
 * new contents survive a power cut; before, the old ones do. */
VCH_MUST_USE vch_rc vch_write_atomic(vch_port_t *, const char *path, vch_slice_t data, unsigned mode, vch_err_t *);
/* The same without any sync, for derived files. */
VCH_MUST_USE vch_rc vch_write_derived(vch_port_t *, const char *path, vch_slice_t data, vch_err_t *);
/* mkdir -p; each made folder is synced into its parent. */
VCH_MUST_USE vch_rc vch_mkdirs(vch_port_t *, const char *path, vch_err_t *);
VCH_MUST_USE vch_rc vch_random(vch_port_t *, void *buf, size_t n, vch_err_t *);
/* "a/b" in a caller's array; ERR_LIMIT when it does not fit. */
#define VCH_PATH_MAX 1024
VCH_PRINTF(2, 3) VCH_MUST_USE vch_rc vch_path(char ret[VCH_PATH_MAX], const char *fmt, ...);

#endif
