/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, appending, reading, taking in others' appends, closing. */
#include "log/log_impl.h"

#include "crypto/sha256.h"

#include <inttypes.h>
#include <stdio.h>

#define LOCK_WAIT_MS 5000
#define FILL_FIRST (64u << 10)
#define FILL_MAX (8u << 20)
#define FILL_GROUP_MAX (32u << 10)
#define ROLL_EARLY 8u        /* never before this part of a segment is used */
#define HASH_ASIDE 128       /* so many leaves are hashed while the disk works */
#define KEEP_BUF (16u << 20) /* a larger group's memory is given back */

vch_rc vch_log_alive(const vch_log_t *log, vch_err_t *err)
{
    if (!log->poisoned) return VCH_OK;
    return vch_hint(err,
                    vch_fail(err, VCH_ERR_IO, "the log stopped after a failed write; what it last wrote is unknown"),
                    "open the directory again; acknowledged entries are safe");
}

uint64_t vch_log_size(const vch_log_t *log)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&log->lock;
    pthread_mutex_lock(lock);
    uint64_t size = log->size;
    pthread_mutex_unlock(lock);
    return size;
}

vch_hash_t vch_log_network(const vch_log_t *log) { return log->network; }

/* ---- making and opening -------------------------------------------------------- */

vch_rc vch_log_create(vch_port_t *port, const char *dir, const vch_hash_t *network, vch_err_t *err)
{
    static const char *const folders[] = {"log/seg", "tlog/tile", "quarantine"};
    char path[VCH_PATH_MAX];
    uint8_t header[VCH_SEG_HEADER];
    vch_stat_t st;
    VCH_TRY(vch_seg_path(path, dir, 0, err));
    vch_rc rc = port->disk->stat(port, path, &st);
    if (rc == VCH_OK) return vch_fail(err, VCH_ERR_CONFLICT, "%s holds a log already", dir);
    if (rc != VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "looking for %s: %s", path, vch_rc_text(rc));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        if (vch_path(path, "%s/%s", dir, folders[i]) != VCH_OK)
            return vch_fail(err, VCH_ERR_LIMIT, "the path %s is too long", dir);
        VCH_TRY(vch_mkdirs(port, path, err));
    }
    VCH_TRY(vch_head_create(port, dir, err));
    /* The segment comes last: a creation that was cut off can be repeated. */
    vch_seg_header_put(header, 0, network);
    VCH_TRY(vch_seg_path(path, dir, 0, err));
    return vch_write_atomic(port, path, vch_slice(header, sizeof header), 0600, err);
}

static void log_free(vch_log_t *log)
{
    for (size_t i = 0; i < log->seg_n; i++) vch_seg_unload(log, &log->seg[i]);
    vch_free(log->seg);
    vch_tiles_free(log);
    vch_file_close(log->port, log->head_file);
    vch_worker_end(&log->hasher);
    vch_spare_end(log);
    vch_buf_free(&log->buf);
    vch_free(log->kept);
    pthread_mutex_destroy(&log->lock);
    pthread_mutex_destroy(&log->write_lock);
    pthread_mutex_destroy(&log->tiles_lock);
    pthread_mutex_destroy(&log->publish_lock);
    vch_free(log->dir);
    vch_free(log);
}

static vch_rc log_new(vch_log_t **ret, vch_port_t *port, const char *dir, const vch_log_options_t *options,
                      vch_err_t *err)
{
    vch_log_t *log = vch_alloc(sizeof *log);
    char *copy = vch_strdup(dir);
    vch_grow_t *tree = vch_alloc(sizeof *tree);
    if (!log || !copy || !tree) {
        vch_free(tree);
        vch_free(log);
        vch_free(copy);
        return vch_fail(err, VCH_ERR_MEMORY, "no memory to open the log in %s", dir);
    }
    log->port = port;
    log->dir = copy;
    log->tree = tree;
    vch_worker_init(&log->hasher);
    vch_spare_init(log);
    if (options) log->options = *options;
    if (log->options.segment_bytes == 0) log->options.segment_bytes = VCH_SEGMENT_BYTES;
    if (log->options.segment_bytes > VCH_SEGMENT_BYTES_MAX) log->options.segment_bytes = VCH_SEGMENT_BYTES_MAX;
    log->reserve = log->options.fill_bytes ? log->options.fill_bytes : FILL_FIRST;
    vch_buf_init(&log->buf, VCH_GROUP_BYTES_MAX);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&log->lock, &attr);
    pthread_mutex_init(&log->write_lock, &attr);
    pthread_mutex_init(&log->tiles_lock, &attr);
    pthread_mutex_init(&log->publish_lock, &attr);
    pthread_mutexattr_destroy(&attr);
    *ret = log;
    return VCH_OK;
}

/* The lock on log/head says who may tidy up: a writable handle holds it
 * shared, so whoever gets it exclusively is alone and no append is under way. */
static vch_rc open_head(vch_log_t *log, bool *ret_alone, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    bool read_only = log->options.read_only, alone = false;
    vch_head_t head;
    vch_buf_t note;
    VCH_TRY(vch_log_path(log, path, "log/head", err));
    VCH_TRY(vch_file_open(log->port, &log->head_file, path, read_only ? VCH_OPEN_READ : VCH_OPEN_WRITE, err));
    if (!read_only) {
        alone = log->port->disk->lock(log->port, log->head_file, VCH_LOCK_EXCLUSIVE, 0) == VCH_OK;
        vch_rc rc = alone ? VCH_OK : log->port->disk->lock(log->port, log->head_file, VCH_LOCK_SHARED, LOCK_WAIT_MS);
        if (rc != VCH_OK) return vch_fail(err, rc, "locking %s: %s", path, vch_rc_text(rc));
    }
    vch_buf_init(&note, VCH_NOTE_MAX);
    vch_rc rc = vch_head_read(log->port, log->head_file, &head, &note, err);
    vch_buf_free(&note);
    if (rc != VCH_OK) return rc;
    log->head_size = head.any ? head.size : 0;
    *ret_alone = alone;
    return VCH_OK;
}

static vch_rc first_header(vch_log_t *log, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    uint8_t header[VCH_SEG_HEADER];
    uint64_t first;
    vch_file_t *file = NULL;
    VCH_TRY(vch_seg_path(path, log->dir, 0, err));
    VCH_TRY(vch_file_open(log->port, &file, path, VCH_OPEN_READ, err));
    vch_rc rc = vch_file_read(log->port, file, header, sizeof header, 0, err);
    vch_file_close(log->port, file);
    if (rc != VCH_OK) return rc;
    if (!vch_seg_header_get(header, &first, &log->network) || first != 0)
        return vch_log_damaged(err, 0, 0, 0, "the segment's header is damaged");
    return VCH_OK;
}

static vch_rc open_segments(vch_log_t *log, vch_err_t *err)
{
    uint64_t *first = NULL;
    size_t n = 0;
    VCH_TRY(vch_segs_list(log->port, log->dir, &first, &n, err));
    vch_rc rc = VCH_OK;
    if (n == 0 || first[0] != 0)
        rc = vch_fail(err, VCH_ERR_CORRUPT, "the first segment is missing in %s/log/seg", log->dir);
    for (size_t i = 0; rc == VCH_OK && i < n; i++) {
        rc = vch_seg_push(log, first[i], err);
        if (rc == VCH_OK && i > 0) log->seg[i - 1].count = first[i] - first[i - 1];
    }
    vch_free(first);
    if (rc == VCH_OK) rc = first_header(log, err);
    return rc;
}

#define LOOKS_UNFINISHED 3 /* at a group that may just be written */
#define LOOKS_DAMAGED 10   /* at one that has others behind it: by now it may be whole, and damage stays */

/* While another process appends, its group may be seen half written, and by the
 * time of the next look others stand behind it: what looks bad is looked at
 * again before it is judged. */
static vch_rc scan_tail(vch_log_t *log, bool alone, vch_scan_t *scan, vch_recovery_t *ret, vch_err_t *err)
{
    vch_rc rc = VCH_OK;
    for (int looks = 1;; looks++) {
        if (looks > 1) vch_seg_unload(log, vch_log_tail(log));
        vch_log_tail(log)->count = 0;
        VCH_TRY(vch_seg_load(log, log->seg_n - 1, scan, err));
        if (scan->kind == VCH_SCAN_END) return VCH_OK;
        rc = scan->kind == VCH_SCAN_BAD ? vch_recover(log, scan, alone, ret, err) : VCH_OK;
        if (alone || looks >= (rc == VCH_ERR_CORRUPT ? LOOKS_DAMAGED : LOOKS_UNFINISHED)) return rc;
        log->port->clock->sleep_ms(log->port, 5);
    }
}

static vch_rc open_tail(vch_log_t *log, bool alone, vch_recovery_t *ret, vch_err_t *err)
{
    vch_scan_t scan = {.kind = VCH_SCAN_END};
    VCH_TRY(scan_tail(log, alone, &scan, ret, err));
    vch_seg_t *seg = vch_log_tail(log);
    if (scan.kind == VCH_SCAN_BAD && !alone) log->tail_dirty = true;
    uint64_t size = seg->first + seg->count;
    if (size < log->head_size)
        return vch_log_damaged(err, seg->first, size, seg->end, "the log ends below its last signed checkpoint");
    if (log->options.read_only) return VCH_OK;
    vch_rc rc = log->port->disk->size(log->port, seg->file, &log->filled);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "reading the size of a segment: %s", vch_rc_text(rc));
}

/* A group above the signed size may have been written by a process that died
 * before, or failed at, its sync, and then the system may believe it clean:
 * write the same bytes once more, so that this sync means something. */
static vch_rc settle_tail(vch_log_t *log, vch_err_t *err)
{
    vch_seg_t *seg = vch_log_tail(log);
    if (seg->group_n == 0 || seg->first + seg->count <= log->head_size) return VCH_OK;
    uint32_t at = seg->group[seg->group_n - 1].at;
    size_t n = (size_t)(seg->end - at);
    uint8_t *copy = vch_alloc(n);
    if (!copy) return vch_fail(err, VCH_ERR_MEMORY, "no memory for the last sync group");
    vch_rc rc = vch_file_read(log->port, seg->file, copy, n, at, err);
    if (rc == VCH_OK) {
        rc = log->port->disk->write(log->port, seg->file, copy, n, at);
        if (rc == VCH_OK) rc = log->port->disk->sync(log->port, seg->file);
        if (rc != VCH_OK) (void)vch_fail(err, rc, "making the last sync group durable: %s", vch_rc_text(rc));
    }
    vch_free(copy);
    return rc;
}

static vch_rc open_steps(vch_log_t *log, vch_recovery_t *ret, vch_err_t *err)
{
    bool alone = false;
    VCH_TRY(open_head(log, &alone, err));
    VCH_TRY(open_segments(log, err));
    VCH_TRY(open_tail(log, alone, ret, err));
    if (alone) VCH_TRY(settle_tail(log, err));
    if (alone) VCH_TRY(vch_spare_sweep(log, err));
    VCH_TRY(vch_tiles_restore(log, err));
    if (!alone) return VCH_OK;
    vch_rc rc = log->port->disk->lock(log->port, log->head_file, VCH_LOCK_SHARED, LOCK_WAIT_MS);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "locking log/head: %s", vch_rc_text(rc));
}

vch_rc vch_log_open(vch_log_t **ret, vch_port_t *port, const char *dir, const vch_log_options_t *options,
                    vch_recovery_t *ret_recovery, vch_err_t *err)
{
    vch_log_t *log = NULL;
    vch_recovery_t recovery = {0};
    VCH_TRY(log_new(&log, port, dir, options, err));
    vch_rc rc = open_steps(log, &recovery, err);
    if (rc != VCH_OK) {
        log_free(log);
        return vch_context(err, rc, "opening the log in %s", dir);
    }
    if (ret_recovery) *ret_recovery = recovery;
    *ret = log;
    return VCH_OK;
}

/* Cut the zeros off, if no other process could be writing into them. */
static void tidy(vch_log_t *log)
{
    uint64_t size = 0;
    if (log->port->disk->lock(log->port, log->head_file, VCH_LOCK_EXCLUSIVE, 0) != VCH_OK) return;
    if (vch_log_refresh(log, NULL) != VCH_OK || log->tail_dirty) return;
    vch_seg_t *seg = vch_log_tail(log);
    if (log->port->disk->size(log->port, seg->file, &size) != VCH_OK || size <= seg->end) return;
    /* If this fails the zeros stay; they do no harm. */
    (void)log->port->disk->truncate(log->port, seg->file, seg->end);
}

void vch_log_close(vch_log_t *log)
{
    if (!log) return;
    pthread_mutex_lock(&log->tiles_lock);
    pthread_mutex_lock(&log->publish_lock);
    pthread_mutex_lock(&log->write_lock);
    vch_spare_drop(log);
    if (!log->options.read_only && !log->poisoned) {
        vch_tiles_flush(log);
        tidy(log);
    }
    pthread_mutex_unlock(&log->write_lock);
    pthread_mutex_unlock(&log->publish_lock);
    pthread_mutex_unlock(&log->tiles_lock);
    log_free(log);
}

/* ---- taking in what others appended ---------------------------------------------- */

static vch_rc take_group(vch_log_t *log, const vch_scan_t *scan, vch_err_t *err)
{
    vch_seg_t *seg = vch_log_tail(log);
    vch_hash_t *leaves = vch_alloc_array(scan->head.count, sizeof *leaves);
    if (!leaves) return vch_fail(err, VCH_ERR_MEMORY, "no memory for %u leaf hashes", scan->head.count);
    vch_group_leaves(leaves, &scan->head, scan->frames, 0, UINT64_MAX);
    pthread_mutex_lock(&log->lock);
    vch_rc rc = vch_seg_take(seg, scan, seg->end, err);
    if (rc == VCH_OK) vch_log_grow(log, leaves, scan->head.count);
    pthread_mutex_unlock(&log->lock);
    vch_free(leaves);
    return rc;
}

/* Groups behind our end; *ret_n counts them. */
static vch_rc take_tail(vch_log_t *log, size_t *ret_n, vch_err_t *err)
{
    vch_seg_t *seg = vch_log_tail(log);
    vch_window_t w;
    vch_scan_t scan = {.kind = VCH_SCAN_END};
    vch_window_init(&w, log->port, seg->file);
    vch_rc rc = VCH_OK;
    for (*ret_n = 0;; (*ret_n)++) {
        rc = vch_scan_group(&w, seg->end, seg->first + seg->count, true, &scan, err);
        if (rc != VCH_OK || scan.kind != VCH_SCAN_GROUP) break;
        if (seg->end + scan.bytes > UINT32_MAX) {
            rc = vch_log_damaged(err, seg->first, scan.head.first, seg->end, "the segment is longer than 4 GiB");
            break;
        }
        rc = take_group(log, &scan, err);
        if (rc != VCH_OK) break;
    }
    if (rc == VCH_OK) log->tail_dirty = scan.kind == VCH_SCAN_BAD;
    vch_window_free(&w);
    return rc;
}

/* The segment that another process began at our end, if any. */
static vch_rc take_segment(vch_log_t *log, bool *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    vch_scan_t scan;
    uint64_t next = vch_log_tail(log)->first + vch_log_tail(log)->count;
    *ret = false;
    if (vch_log_tail(log)->count == 0) return VCH_OK;
    VCH_TRY(vch_seg_path(path, log->dir, next, err));
    vch_rc rc = log->port->disk->stat(log->port, path, &st);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    if (rc != VCH_OK) return vch_fail(err, rc, "looking for %s: %s", path, vch_rc_text(rc));
    pthread_mutex_lock(&log->lock);
    rc = vch_seg_push(log, next, err);
    if (rc == VCH_OK && (rc = vch_seg_load(log, log->seg_n - 1, &scan, err)) != VCH_OK) log->seg_n--;
    if (rc == VCH_OK) { /* its groups are taken in like any others */
        vch_seg_t *seg = vch_log_tail(log);
        seg->count = 0;
        seg->group_n = 0;
        seg->end = VCH_SEG_HEADER;
    }
    pthread_mutex_unlock(&log->lock);
    *ret = rc == VCH_OK;
    return rc;
}

static vch_rc refresh(vch_log_t *log, vch_err_t *err)
{
    bool again = true;
    while (again) {
        uint8_t magic[4] = {0};
        size_t got = 0, taken = 0;
        vch_seg_t *seg = vch_log_tail(log);
        vch_rc rc = log->port->disk->read(log->port, seg->file, &got, magic, sizeof magic, seg->end);
        if (rc != VCH_OK) return vch_fail(err, rc, "reading a segment: %s", vch_rc_text(rc));
        /* Zeros, as nearly always, end here: one small read.  Whoever begins
         * the next segment cuts them off first. */
        if (got && memcmp(magic, "\0\0\0\0", got) == 0) return VCH_OK;
        if (got) VCH_TRY(take_tail(log, &taken, err));
        /* What another process wrote counts only once it is durable. */
        if (taken && !log->options.read_only && (rc = log->port->disk->sync(log->port, seg->file)) != VCH_OK) {
            log->poisoned = true;
            return vch_fail(err, rc, "making others' entries durable: %s", vch_rc_text(rc));
        }
        VCH_TRY(take_segment(log, &again, err));
        if (again) log->filled = 0;
    }
    return VCH_OK;
}

vch_rc vch_log_refresh(vch_log_t *log, vch_err_t *err)
{
    VCH_TRY(vch_log_alive(log, err));
    pthread_mutex_lock(&log->write_lock);
    vch_rc rc = refresh(log, err);
    pthread_mutex_unlock(&log->write_lock);
    return rc;
}

/* ---- appending ---------------------------------------------------------------------- */

static const uint8_t zeros[64u << 10];

/* Keep zeros ready behind the end: overwriting blocks that exist takes about
 * two thirds of the time of growing the file.  Large groups are not filled
 * for in line, which would cost what it saves; they are what the spare segment
 * is for.  Failing is no failure: the next append then grows the file, and
 * says so if it cannot. */
static void fill_ahead(vch_log_t *log, uint64_t group_bytes)
{
    vch_seg_t *seg = vch_log_tail(log);
    bool adaptive = log->options.fill_bytes == 0;
    uint64_t limit = log->options.segment_bytes;
    if (log->reserve == 0 || (adaptive && group_bytes > FILL_GROUP_MAX) || log->filled >= seg->end + log->reserve / 2)
        return;
    uint64_t to = seg->end + log->reserve;
    if (to > limit) to = limit;
    for (uint64_t at = log->filled > seg->end ? log->filled : seg->end; at < to;) {
        size_t n = to - at < sizeof zeros ? (size_t)(to - at) : sizeof zeros;
        if (log->port->disk->write(log->port, seg->file, zeros, n, at) != VCH_OK) {
            log->reserve = 0;
            return;
        }
        at += n;
        log->filled = at;
    }
    if (adaptive && log->reserve < FILL_MAX) log->reserve *= 2;
}

/* The new segment out of a spare one.  Whatever fails before the rename
 * leaves nothing behind but a spare file less. */
static vch_rc begin_filled(vch_log_t *log, const char *path, const uint8_t *header, vch_file_t **ret,
                           uint64_t *ret_bytes)
{
    char folder[VCH_PATH_MAX];
    vch_spare_file_t spare;
    const vch_disk_ops_t *disk = log->port->disk;
    if (!vch_spare_take(log, &spare)) return VCH_ERR_NOT_FOUND;
    vch_rc rc = vch_log_path(log, folder, "log/seg", NULL);
    if (rc == VCH_OK) rc = disk->write(log->port, spare.file, header, VCH_SEG_HEADER, 0);
    if (rc == VCH_OK) rc = disk->sync(log->port, spare.file);
    if (rc == VCH_OK) rc = disk->rename(log->port, spare.path, path);
    if (rc == VCH_OK) rc = disk->sync_dir(log->port, folder);
    if (rc == VCH_OK) {
        *ret = spare.file;
        *ret_bytes = spare.bytes;
        return VCH_OK;
    }
    vch_file_close(log->port, spare.file);
    (void)disk->remove(log->port, spare.path);
    return rc;
}

/* Put the segment that was just begun behind the others. */
static vch_rc push_begun(vch_log_t *log, uint64_t first, vch_file_t *file, vch_err_t *err)
{
    vch_scan_t scan;
    vch_rc rc = vch_seg_push(log, first, err);
    if (rc != VCH_OK) {
        vch_file_close(log->port, file);
        return rc;
    }
    vch_seg_t *seg = vch_log_tail(log);
    if (file) { /* what is in it is known */
        seg->file = file;
        seg->loaded = true;
        seg->end = VCH_SEG_HEADER;
        seg->used = ++log->tick;
    } else if ((rc = vch_seg_load(log, log->seg_n - 1, &scan, err)) != VCH_OK) {
        log->seg_n--;
    }
    return rc;
}

/* Begin the next segment.  Its file appears whole or not at all. */
static vch_rc roll(vch_log_t *log, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    uint8_t header[VCH_SEG_HEADER];
    vch_stat_t st;
    vch_file_t *file = NULL;
    vch_seg_t *old = vch_log_tail(log);
    uint64_t first = old->first + old->count, filled = VCH_SEG_HEADER;
    VCH_TRY(vch_seg_path(path, log->dir, first, err));
    /* Zeros behind its end tell other handles that there is no next one. */
    vch_rc rc = log->port->disk->truncate(log->port, old->file, old->end);
    if (rc != VCH_OK) return vch_fail(err, rc, "cutting off the zeros of a segment: %s", vch_rc_text(rc));
    log->filled = old->end;
    vch_seg_header_put(header, first, &log->network);
    rc = begin_filled(log, path, header, &file, &filled);
    /* If the new file is there after a failure, appending to the old one would
     * leave entries behind the new one's first. */
    if (rc != VCH_OK && log->port->disk->stat(log->port, path, &st) == VCH_ERR_NOT_FOUND)
        rc = vch_write_atomic(log->port, path, vch_slice(header, sizeof header), 0600, err);
    if (rc != VCH_OK) {
        if (log->port->disk->stat(log->port, path, &st) != VCH_ERR_NOT_FOUND) log->poisoned = true;
        return vch_context(err, vch_fail(err, rc, "%s: %s", path, vch_rc_text(rc)), "beginning a segment");
    }
    pthread_mutex_lock(&log->lock);
    rc = push_begun(log, first, file, err);
    pthread_mutex_unlock(&log->lock);
    if (rc != VCH_OK) log->poisoned = true;
    log->filled = file ? filled : VCH_SEG_HEADER;
    if (log->reserve == 0 && log->options.fill_bytes == 0) log->reserve = FILL_FIRST;
    return rc;
}

/* Rather into a filled segment than behind the end of one that is not. */
static bool roll_early(vch_log_t *log)
{
    uint64_t end = vch_log_tail(log)->end;
    return log->buf.n > FILL_GROUP_MAX && end + log->buf.n > log->filled &&
           end >= log->options.segment_bytes / ROLL_EARLY && vch_spare_ready(log);
}

/* Nothing of a write that failed was acknowledged: take it back. */
static vch_rc take_back(vch_log_t *log, vch_rc rc, vch_err_t *err)
{
    vch_seg_t *seg = vch_log_tail(log);
    vch_rc back = log->port->disk->truncate(log->port, seg->file, seg->end);
    if (back == VCH_OK) back = log->port->disk->sync(log->port, seg->file);
    if (back != VCH_OK) log->poisoned = true;
    log->filled = seg->end;
    if (rc == VCH_ERR_FULL) vch_spare_drop(log); /* its room may be what is missing */
    (void)vch_fail(err, rc, "appending %zu bytes to the log: %s", log->buf.n, vch_rc_text(rc));
    return rc == VCH_ERR_FULL ? vch_hint(err, rc, "free some space; nothing was lost") : rc;
}

static vch_rc write_group(vch_log_t *log, vch_err_t *err)
{
    vch_seg_t *seg = vch_log_tail(log);
    vch_rc rc = log->port->disk->write(log->port, seg->file, log->buf.p, log->buf.n, seg->end);
    if (rc != VCH_OK) return take_back(log, rc, err);
    rc = log->port->disk->sync(log->port, seg->file);
    if (rc == VCH_OK) return VCH_OK;
    /* A failed sync is reported once and the pages are then marked clean:
     * trying again would prove nothing. */
    log->poisoned = true;
    return vch_hint(err, vch_fail(err, rc, "making %zu bytes of the log durable: %s", log->buf.n, vch_rc_text(rc)),
                    "open the directory again; acknowledged entries are safe");
}

static vch_rc clean_tail(vch_log_t *log, vch_err_t *err)
{
    vch_window_t w;
    vch_scan_t scan = {.kind = VCH_SCAN_END};
    vch_seg_t *seg = vch_log_tail(log);
    vch_window_init(&w, log->port, seg->file);
    vch_rc rc = vch_scan_group(&w, seg->end, seg->first + seg->count, true, &scan, err);
    vch_window_free(&w);
    if (rc != VCH_OK) return rc;
    if (scan.kind == VCH_SCAN_GROUP) return vch_fail(err, VCH_ERR_CONFLICT, "another process appended meanwhile");
    scan.what = scan.kind == VCH_SCAN_BAD ? scan.what : "bytes behind the last sync group are not zero";
    return vch_recover(log, &scan, true, NULL, err);
}

typedef struct {
    vch_log_t *log;
    uint32_t *frame_at;
    vch_hash_t *leaves;
    vch_slice_t *entries;
    size_t n;
    bool aside; /* being hashed */
} batch_t;

static void batch_hash(void *ctx)
{
    batch_t *b = ctx;
    vch_sha256_leaves(b->leaves, b->entries, b->n);
    if (b->n >= HASH_ASIDE) vch_ahead_grow(b->log, b->leaves, b->n);
}

static void batch_free(batch_t *b)
{
    if (b->aside) vch_worker_wait(&b->log->hasher);
    vch_free(b->frame_at);
    vch_free(b->leaves);
    vch_free(b->entries);
}

/* A large group is hashed into a copy of the tree by a thread of its own while
 * this one puts the group together and waits for the disk; without a thread,
 * before. */
static vch_rc batch_begin(batch_t *b, vch_log_t *log, const vch_record_t *records, size_t n, vch_err_t *err)
{
    *b = (batch_t){.log = log, .n = n};
    b->frame_at = vch_alloc_array(n, sizeof *b->frame_at);
    b->leaves = vch_alloc_array(n, sizeof *b->leaves);
    b->entries = vch_alloc_array(n, sizeof *b->entries);
    if (!b->frame_at || !b->leaves || !b->entries)
        return vch_fail(err, VCH_ERR_MEMORY, "no memory to append %zu entries", n);
    if (n >= HASH_ASIDE) VCH_TRY(vch_ahead_reserve(log, n, err));
    for (size_t i = 0; i < n; i++) b->entries[i] = records[i].entry;
    b->aside = n >= HASH_ASIDE && vch_log_threads(log) && vch_worker_begin(&log->hasher, batch_hash, b);
    return VCH_OK;
}

/* Everything that can fail for want of memory comes before the write. */
static vch_rc batch_write(batch_t *b, const vch_group_head_t *place, const vch_record_t *records, vch_err_t *err)
{
    vch_log_t *log = b->log;
    VCH_TRY(vch_group_encode(&log->buf, b->frame_at, place, records, b->n, err));
    vch_seg_t *seg = vch_log_tail(log);
    if (seg->count > 0 && (seg->end + log->buf.n > log->options.segment_bytes || roll_early(log)))
        VCH_TRY(roll(log, err));
    pthread_mutex_lock(&log->lock);
    vch_rc rc = vch_seg_reserve(vch_log_tail(log), b->n, 1, err);
    pthread_mutex_unlock(&log->lock);
    if (rc != VCH_OK) return rc;
    if (!b->aside) batch_hash(b);
    rc = write_group(log, err);
    if (b->aside) vch_worker_wait(&log->hasher);
    return rc;
}

static vch_rc append(vch_log_t *log, uint64_t height, vch_time_t time, const vch_record_t *records, size_t n,
                     uint64_t *ret_first, vch_err_t *err)
{
    batch_t batch;
    vch_group_head_t head = {.height = height, .time = time, .first = log->size};
    if (log->tail_dirty) VCH_TRY(clean_tail(log, err));
    vch_rc rc = batch_begin(&batch, log, records, n, err);
    if (rc == VCH_OK) rc = batch_write(&batch, &head, records, err);
    if (rc == VCH_OK) {
        head.count = (uint32_t)n;
        head.length = vch_get_u32(log->buf.p + 36);
        pthread_mutex_lock(&log->lock);
        vch_seg_note_group(vch_log_tail(log), &head, vch_log_tail(log)->end, batch.frame_at);
        if (n >= HASH_ASIDE)
            vch_ahead_take(log);
        else
            vch_log_grow(log, batch.leaves, n);
        pthread_mutex_unlock(&log->lock);
        *ret_first = head.first;
        if (log->filled < vch_log_tail(log)->end) log->filled = vch_log_tail(log)->end;
        log->appended += log->buf.n;
        fill_ahead(log, log->buf.n);
        vch_spare_want(log);
    }
    if (log->buf.cap > KEEP_BUF) vch_buf_free(&log->buf);
    batch_free(&batch);
    return rc;
}

vch_rc vch_log_append(vch_log_t *log, uint64_t height, vch_time_t time, const vch_record_t *records, size_t n,
                      uint64_t *ret_first, vch_err_t *err)
{
    if (log->options.read_only) return vch_fail(err, VCH_ERR_READ_ONLY, "the log was opened for reading only");
    if (n == 0 || n > VCH_GROUP_BYTES_MAX / VCH_FRAME_HEAD)
        return vch_fail(err, VCH_ERR_USAGE, "a sync group cannot hold %zu entries", n);
    VCH_TRY(vch_log_alive(log, err));
    pthread_mutex_lock(&log->write_lock);
    log->turns++;
    vch_rc rc = append(log, height, time, records, n, ret_first, err);
    log->turns++;
    pthread_mutex_unlock(&log->write_lock);
    return rc;
}

/* ---- reading --------------------------------------------------------------------------- */

static const vch_group_ref_t *group_of(const vch_seg_t *seg, uint64_t index)
{
    size_t low = 0, high = seg->group_n;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (seg->group[mid].first <= index)
            low = mid;
        else
            high = mid;
    }
    return &seg->group[low];
}

static vch_rc no_room(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "no memory to read an entry"); }

static vch_rc read_frame(vch_log_t *log, const vch_seg_t *seg, uint64_t index, vch_arena_t *arena, vch_frame_t *ret,
                         vch_err_t *err)
{
    uint32_t at = seg->frame_at[index - seg->first];
    uint8_t head[VCH_FRAME_HEAD];
    VCH_TRY(vch_file_read(log->port, seg->file, head, sizeof head, at, err));
    uint32_t body_n = vch_get_u32(head);
    if (body_n > VCH_BODY_BYTES_MAX)
        return vch_log_damaged(err, seg->first, index, at, "the frame's length is impossible");
    uint8_t *p = vch_arena_alloc(arena, VCH_FRAME_HEAD + body_n);
    if (!p) return no_room(err);
    memcpy(p, head, sizeof head);
    VCH_TRY(vch_file_read(log->port, seg->file, p + VCH_FRAME_HEAD, body_n, at + VCH_FRAME_HEAD, err));
    if (!vch_frame_get(p, VCH_FRAME_HEAD + body_n, ret))
        return vch_log_damaged(err, seg->first, index, at, "the frame's checksum does not match");
    if (ret->index != index || !vch_body_valid(ret->body, ret->flags))
        return vch_log_damaged(err, seg->first, index, at, "the frame is malformed");
    return VCH_OK;
}

static vch_rc read_entry(vch_log_t *log, uint64_t index, vch_arena_t *arena, vch_log_entry_t *ret, vch_err_t *err)
{
    vch_seg_t *seg = NULL;
    vch_frame_t frame = {0};
    if (index >= log->size)
        return vch_fail(err, VCH_ERR_NOT_FOUND, "there is no entry %" PRIu64 "; the log has %" PRIu64, index,
                        log->size);
    VCH_TRY(vch_seg_of(log, index, &seg, err));
    VCH_TRY(read_frame(log, seg, index, arena, &frame, err));
    uint32_t count = vch_body_statements(frame.body);
    vch_slice_t *statements = vch_arena_array(arena, count, sizeof *statements);
    bool *erased = vch_arena_array(arena, count, sizeof *erased);
    if (!statements || !erased) return no_room(err);
    const vch_group_ref_t *group = group_of(seg, index);
    ret->index = index;
    ret->height = group->height;
    ret->time = group->time;
    vch_body_split(frame.body, frame.flags, statements, erased, &ret->record);
    return VCH_OK;
}

vch_rc vch_log_read(vch_log_t *log, uint64_t index, vch_arena_t *arena, vch_log_entry_t *ret, vch_err_t *err)
{
    VCH_TRY(vch_log_alive(log, err));
    pthread_mutex_lock(&log->lock);
    vch_rc rc = read_entry(log, index, arena, ret, err);
    pthread_mutex_unlock(&log->lock);
    return rc;
}

typedef struct {
    uint64_t from, to;
    vch_log_fn fn;
    void *ctx;
    vch_slice_t *statements;
    bool *erased;
    size_t cap;
} replay_t;

static vch_rc replay_room(replay_t *r, uint32_t count, vch_err_t *err)
{
    if (count <= r->cap) return VCH_OK;
    vch_slice_t *statements = vch_resize(r->statements, count * sizeof *statements);
    if (!statements) return no_room(err);
    r->statements = statements;
    bool *erased = vch_resize(r->erased, count * sizeof *erased);
    if (!erased) return no_room(err);
    r->erased = erased;
    r->cap = count;
    return VCH_OK;
}

static vch_rc replay_group(void *ctx, const vch_group_head_t *head, const uint8_t *frames, vch_err_t *err)
{
    replay_t *r = ctx;
    size_t used = 0;
    for (uint32_t i = 0; i < head->count; i++) {
        const uint8_t *p = frames + used;
        vch_log_entry_t entry = {.index = head->first + i, .height = head->height, .time = head->time};
        vch_slice_t body = vch_slice(p + VCH_FRAME_HEAD, vch_get_u32(p));
        used += VCH_FRAME_HEAD + body.n;
        if (entry.index < r->from || entry.index >= r->to) continue;
        VCH_TRY(replay_room(r, vch_body_statements(body), err));
        vch_body_split(body, p[12], r->statements, r->erased, &entry.record);
        vch_rc rc = r->fn(r->ctx, &entry);
        if (rc != VCH_OK) return vch_context(err, rc, "entry %" PRIu64, entry.index);
    }
    return VCH_OK;
}

vch_rc vch_log_replay(vch_log_t *log, uint64_t from, uint64_t to, vch_log_fn fn, void *ctx, vch_err_t *err)
{
    replay_t r = {.from = from, .to = to, .fn = fn, .ctx = ctx};
    VCH_TRY(vch_log_alive(log, err));
    if (from > to || to > vch_log_size(log))
        return vch_fail(err, VCH_ERR_USAGE, "the log has no entries %" PRIu64 " to %" PRIu64, from, to);
    vch_rc rc = vch_log_groups(log, from, to, replay_group, &r, err);
    vch_free(r.statements);
    vch_free(r.erased);
    return rc;
}
