/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of src/log share.  Not for other modules.
 *
 * Four locks, taken in this order, all recursive.  `tiles_lock`: the tiles on
 * the disk, written while others sign and append.  `publish_lock`: log/head and
 * log/cosigned.  `write_lock`: the end of the last segment (append, refresh,
 * close).  `lock`: what readers see (segment table, tree, caches); never held
 * while an append writes or syncs, nor while a tile is published. */
#ifndef VCH_LOG_IMPL_H
#define VCH_LOG_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "log/log.h"

#define VCH_SECTOR 512u
#define VCH_SEG_HEADER 512u
#define VCH_GROUP_HEAD 64u
#define VCH_FRAME_HEAD 20u
#define VCH_TRAILER 16u
#define VCH_GROUP_BYTES_MAX (256u << 20)
#define VCH_BODY_BYTES_MAX (VCH_TX_BYTES_MAX + 4u * (VCH_TX_STATEMENTS_MAX + 2u))
#define VCH_SEGMENT_BYTES (64u << 20)
#define VCH_SEGMENT_BYTES_MAX (1u << 30)
#define VCH_FRAME_ERASED 1u /* frame flag */
#define VCH_ERASED_BIT 0x80000000u

#define VCH_TILE_WIDTH 256u
#define VCH_TILE_LEVELS 8u /* 256^8 covers every 64-bit size */
#define VCH_TILE_NODES 511u
#define VCH_TILE_CACHE 64u
#define VCH_PENDING_MAX 1024u /* 8 MiB, the tiles of 261,120 entries */
#define VCH_SEGS_LOADED_MAX 8u

#define VCH_HEAD_SLOT 16384u
#define VCH_NOTE_MAX (VCH_HEAD_SLOT - 32u) /* a note fits a slot beside its 28 bytes and the CRC */

/* ---- segment.c: bytes of segments ----------------------------------------- */

typedef struct {
    uint64_t height, first;
    vch_time_t time;
    uint32_t count, length; /* frames, and their bytes */
} vch_group_head_t;

typedef struct {
    uint64_t index;
    uint8_t flags;
    vch_slice_t body; /* borrowed */
} vch_frame_t;

void vch_seg_header_put(uint8_t out[VCH_SEG_HEADER], uint64_t first, const vch_hash_t *network);
bool vch_seg_header_get(const uint8_t in[VCH_SEG_HEADER], uint64_t *ret_first, vch_hash_t *ret_network);
/* Bytes of a group on disk, padding included. */
uint64_t vch_group_bytes(uint32_t length);
bool vch_group_head_get(const uint8_t in[VCH_GROUP_HEAD], vch_group_head_t *ret);
/* The whole group into `ret` (cleared before); frame_at[i]: where frame i
 * begins, counted from the group. */
vch_rc vch_group_encode(vch_buf_t *ret, uint32_t *frame_at, const vch_group_head_t *place, const vch_record_t *records,
                        size_t n, vch_err_t *err);
/* Header of a frame at p with n bytes of room, checksum included. */
bool vch_frame_get(const uint8_t *p, size_t n, vch_frame_t *ret);
bool vch_body_valid(vch_slice_t body, uint8_t flags);
uint32_t vch_body_statements(vch_slice_t body);
/* Split a valid body; the arrays have room for its statements. */
void vch_body_split(vch_slice_t body, uint8_t flags, vch_slice_t *statements, bool *erased, vch_record_t *ret);
/* Leaf hashes of entries [from, to) of a checked group. */
void vch_group_leaves(vch_hash_t *ret, const vch_group_head_t *head, const uint8_t *frames, uint64_t from, uint64_t to);

/* A window over a file, so that scanning reads it in large pieces. */
typedef struct {
    vch_port_t *port;
    vch_file_t *file;
    uint64_t base;
    vch_buf_t buf;
} vch_window_t;
void vch_window_init(vch_window_t *w, vch_port_t *port, vch_file_t *file);
void vch_window_free(vch_window_t *w);
/* At most n bytes at `at`; fewer only at the end of the file.  Borrowed until
 * the next call. */
vch_rc vch_window_get(vch_window_t *w, uint64_t at, size_t n, const uint8_t **ret, size_t *ret_n, vch_err_t *err);

typedef enum { VCH_SCAN_GROUP, VCH_SCAN_END, VCH_SCAN_BAD } vch_scan_kind_t;
typedef struct {
    vch_scan_kind_t kind;
    vch_group_head_t head;
    bool head_valid;       /* also of a bad group */
    const uint8_t *frames; /* borrowed from the window */
    uint64_t bytes;        /* on disk, padding included */
    const char *what;      /* bad: why, which entry, which byte of the file */
    uint64_t bad_index, bad_at;
} vch_scan_t;
/* The group at `at`, which must begin with entry `first`.  `whole` false: only
 * its header is looked at. */
vch_rc vch_scan_group(vch_window_t *w, uint64_t at, uint64_t first, bool whole, vch_scan_t *ret, vch_err_t *err);
/* Where the first byte other than zero lies in [from, end of file), or the
 * end of the file. */
vch_rc vch_scan_zeros(vch_window_t *w, uint64_t from, uint64_t *ret_at, uint64_t *ret_end, vch_err_t *err);
/* Does a group header with a good checksum begin on a sector at or after
 * `from`? */
vch_rc vch_scan_header_after(vch_window_t *w, uint64_t from, bool *ret, uint64_t *ret_at, vch_err_t *err);

/* ---- tiles.c: the tree ------------------------------------------------------ */

/* Open tiles of all levels, with every inner node computed:
 *
 *   node[0..255] level 0, node[256..383] their parents, … node[510] the root */
typedef struct {
    uint64_t size;
    struct {
        unsigned count;
        vch_hash_t node[VCH_TILE_NODES];
    } level[VCH_TILE_LEVELS];
} vch_grow_t;
typedef void (*vch_full_fn)(void *ctx, unsigned level, uint64_t n, const vch_hash_t node[VCH_TILE_NODES]);
void vch_grow_add(vch_grow_t *, const vch_hash_t *leaves, size_t n, vch_full_fn full, void *ctx);
void vch_grow_root(const vch_grow_t *, vch_hash_t *ret);

typedef struct {
    unsigned level;
    uint64_t n, used; /* used: 0 = empty slot */
    vch_hash_t node[VCH_TILE_NODES];
} vch_tile_t;

typedef struct {
    unsigned level;
    uint64_t n;
    vch_hash_t hash[VCH_TILE_WIDTH];
} vch_pending_t;

/* ---- the log ------------------------------------------------------------------ */

typedef struct {
    uint64_t first, height;
    vch_time_t time;
    uint32_t at, count;
} vch_group_ref_t;

typedef struct {
    uint64_t first, count;
    bool loaded; /* what follows is there; always so for the last segment */
    vch_file_t *file;
    uint32_t *frame_at;
    size_t frame_cap;
    vch_group_ref_t *group;
    size_t group_n, group_cap;
    uint64_t end; /* behind the last group */
    uint64_t used;
} vch_seg_t;

typedef struct {
    uint64_t size, at;
    uint32_t n, others; /* its bytes; cosignatures */
} vch_kept_t;           /* a cosigned note in log/cosigned */

/* A thread for one job at a time; it begins with the first. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    pthread_t thread;
    bool started, stop, busy;
    void (*job)(void *arg);
    void *arg;
} vch_worker_t;

#define VCH_SPARE_NAME "next-" /* log/seg/next-<k>: no segment yet */

#define VCH_SPARES_MAX 4u

typedef struct {
    vch_file_t *file;
    uint64_t bytes;
    char path[VCH_PATH_MAX];
} vch_spare_file_t;

/* The next segments, zeros throughout and durable. */
typedef struct {
    vch_worker_t worker;
    pthread_mutex_t lock; /* of what follows */
    vch_spare_file_t ready[VCH_SPARES_MAX];
    unsigned ready_n, failures;
    unsigned want; /* 1 to VCH_SPARES_MAX: one more each time that none was left */
    atomic_bool cancel;
} vch_spare_t;

/* The tree as it will be when the group being written is durable. */
typedef struct {
    vch_grow_t *tree;
    vch_pending_t *full; /* its new full tiles, as many as there is room for */
    size_t full_n, full_cap;
} vch_ahead_t;

struct vch_log {
    vch_port_t *port;
    char *dir;
    vch_log_options_t options;
    vch_hash_t network;
    pthread_mutex_t tiles_lock, publish_lock, write_lock, lock;

    /* under lock */
    uint64_t size, tick;
    vch_seg_t *seg;
    size_t seg_n, seg_cap;
    vch_grow_t *tree;
    vch_tile_t *cache[VCH_TILE_CACHE];
    vch_pending_t *pending; /* full tiles not yet written, as many as there is room for */
    size_t pending_n, pending_cap;

    /* under write_lock */
    _Atomic bool poisoned; /* a sync failed; read by all */
    bool tail_dirty;       /* a group that is not whole lies behind the end */
    uint64_t filled;       /* the last segment is zeros from its end to here */
    uint64_t reserve;      /* zeros to keep ready */
    uint64_t appended;     /* bytes of groups this handle wrote */
    vch_buf_t buf;         /* the group being written */
    vch_ahead_t ahead;
    vch_worker_t hasher;
    vch_spare_t spare;
    _Atomic uint64_t turns; /* appends begun and ended: odd while one is under way; read by the filler */

    /* under tiles_lock */
    uint64_t tiles_size; /* tiles of this published size are on disk, */
    uint64_t distrust;   /* but full ones below this size may be torn */

    /* under publish_lock */
    vch_file_t *head_file;
    _Atomic uint64_t head_size; /* read by all */
    vch_kept_t *kept;           /* by size */
    size_t kept_n, kept_cap;
    uint64_t kept_end;
};

vch_rc vch_log_path(const vch_log_t *, char ret[VCH_PATH_MAX], const char *name, vch_err_t *err);
vch_rc vch_log_alive(const vch_log_t *, vch_err_t *err); /* ERR_IO when poisoned */
vch_rc vch_seg_path(char ret[VCH_PATH_MAX], const char *dir, uint64_t first, vch_err_t *err);
/* "log/seg/<first>.seg, entry <index>, byte <at>: what"; ERR_CORRUPT. */
vch_rc vch_log_damaged(vch_err_t *err, uint64_t seg_first, uint64_t index, uint64_t at, const char *what);

/* index.c */
static inline vch_seg_t *vch_log_tail(vch_log_t *log) { return &log->seg[log->seg_n - 1]; }
vch_rc vch_segs_list(vch_port_t *port, const char *dir, uint64_t **ret, size_t *ret_n, vch_err_t *err);
vch_rc vch_seg_push(vch_log_t *, uint64_t first, vch_err_t *err);
vch_rc vch_seg_reserve(vch_seg_t *, size_t frames, size_t groups, vch_err_t *err);
/* Room must be reserved; frame_at counts from `at`. */
void vch_seg_note_group(vch_seg_t *, const vch_group_head_t *, uint64_t at, const uint32_t *frame_at);
/* Same from the frames of a checked group. */
vch_rc vch_seg_take(vch_seg_t *, const vch_scan_t *, uint64_t at, vch_err_t *err);
/* Open and read a segment up to its end or first bad group. */
vch_rc vch_seg_load(vch_log_t *, size_t i, vch_scan_t *ret, vch_err_t *err);
void vch_seg_unload(vch_log_t *, vch_seg_t *);
/* The loaded segment that holds `index`. */
vch_rc vch_seg_of(vch_log_t *, uint64_t index, vch_seg_t **ret, vch_err_t *err);
/* Groups that overlap [from, to), checked, in order. */
typedef vch_rc (*vch_group_fn)(void *ctx, const vch_group_head_t *, const uint8_t *frames, vch_err_t *err);
vch_rc vch_log_groups(vch_log_t *, uint64_t from, uint64_t to, vch_group_fn, void *ctx, vch_err_t *err);

/* spare.c */
bool vch_log_threads(const vch_log_t *); /* background work has threads of its own, or is done in line */
void vch_worker_init(vch_worker_t *);
bool vch_worker_begin(vch_worker_t *, void (*job)(void *), void *arg); /* false: busy, or no thread to be had */
bool vch_worker_busy(vch_worker_t *);
void vch_worker_wait(vch_worker_t *);
void vch_worker_end(vch_worker_t *); /* after its job; an initialised one that never began is fine */
void vch_spare_init(vch_log_t *);
void vch_spare_end(vch_log_t *);
/* Under write_lock: begin to fill the next segments, if it is time. */
void vch_spare_want(vch_log_t *);
bool vch_spare_ready(vch_log_t *);
/* A filled file, now the caller's, still under the name of a spare. */
bool vch_spare_take(vch_log_t *, vch_spare_file_t *ret);
void vch_spare_drop(vch_log_t *);
vch_rc vch_spare_sweep(vch_log_t *, vch_err_t *err); /* only when alone */

/* recover.c: the torn last group, under the caller's directory lock. */
vch_rc vch_recover(vch_log_t *, const vch_scan_t *bad, bool cut, vch_recovery_t *ret, vch_err_t *err);
vch_rc vch_quarantine(vch_port_t *, const char *dir, const char *name, uint64_t at, vch_file_t *, uint64_t end,
                      char *ret_name, size_t ret_n, vch_err_t *err);

/* tiles.c */
/* Hash the entries in and count them; takes lock. */
void vch_log_grow(vch_log_t *, const vch_hash_t *leaves, size_t n);
/* The same in three steps: room; hashing, beside readers; taking it over. */
vch_rc vch_ahead_reserve(vch_log_t *, size_t n, vch_err_t *err);
void vch_ahead_grow(vch_log_t *, const vch_hash_t *leaves, size_t n);
void vch_ahead_take(vch_log_t *);
void vch_tiles_flush(vch_log_t *);                     /* best effort */
vch_rc vch_tiles_restore(vch_log_t *, vch_err_t *err); /* at open */
vch_rc vch_tiles_publish(vch_log_t *, uint64_t size, vch_err_t *err);
void vch_tiles_free(vch_log_t *);
vch_rc vch_tile_file(char ret[VCH_PATH_MAX], const char *dir, int level, uint64_t n, unsigned width);
vch_rc vch_tile_write(vch_port_t *, const char *dir, int level, uint64_t n, unsigned width, vch_slice_t data,
                      vch_err_t *err);

/* head.c */
typedef struct {
    bool any, torn[2];
    unsigned slot; /* of the newest */
    uint64_t sequence, size;
} vch_head_t;
/* Both slots; the newest note goes into `ret_note` (appended). */
vch_rc vch_head_read(vch_port_t *, vch_file_t *, vch_head_t *ret, vch_buf_t *ret_note, vch_err_t *err);
/* Size and root as the checkpoint's second and third line say. */
bool vch_note_parse(vch_slice_t note, uint64_t *ret_size, vch_hash_t *ret_root);
vch_rc vch_head_create(vch_port_t *, const char *dir, vch_err_t *err);
/* A kept note at `at` of the file. */
typedef vch_rc (*vch_cosigned_fn)(void *ctx, uint64_t size, uint64_t at, vch_slice_t note);
/* Every valid record of `data`, which begins at byte `base` of log/cosigned;
 * *ret_end: behind the last one.  A bad record before a valid one is
 * ERR_CORRUPT. */
vch_rc vch_cosigned_scan(vch_slice_t data, uint64_t base, uint64_t *ret_end, vch_cosigned_fn fn, void *ctx,
                         vch_err_t *err);
#define VCH_COSIGNED_MAX ((size_t)1 << 30)

#endif
