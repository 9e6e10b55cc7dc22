/* SPDX-License-Identifier: Apache-2.0 */
/* Which segment holds an entry, and where in it.  A table of offsets is made
 * when a segment is first needed, by reading all of it once. */
#include "log/log_impl.h"

#include <inttypes.h>
#include <stdio.h>

vch_rc vch_log_path(const vch_log_t *log, char ret[VCH_PATH_MAX], const char *name, vch_err_t *err)
{
    vch_rc rc = vch_path(ret, "%s/%s", log->dir, name);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the path %s/%s is too long", log->dir, name);
}

vch_rc vch_seg_path(char ret[VCH_PATH_MAX], const char *dir, uint64_t first, vch_err_t *err)
{
    vch_rc rc = vch_path(ret, "%s/log/seg/%020" PRIu64 ".seg", dir, first);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the path %s is too long", dir);
}

vch_rc vch_log_damaged(vch_err_t *err, uint64_t seg_first, uint64_t index, uint64_t at, const char *what)
{
    vch_rc rc = vch_fail(err, VCH_ERR_CORRUPT, "log/seg/%020" PRIu64 ".seg, entry %" PRIu64 ", byte %" PRIu64 ": %s",
                         seg_first, index, at, what);
    return vch_hint(err, rc, "run `vouch check`, then restore this file from a backup or a mirror");
}

/* ---- the list of segments ---------------------------------------------------- */

typedef struct {
    uint64_t *first;
    size_t n, cap;
} list_t;

static vch_rc list_one(void *ctx, const char *name)
{
    list_t *list = ctx;
    uint64_t first = 0;
    if (strlen(name) != 24 || strcmp(name + 20, ".seg") != 0) return VCH_OK; /* not ours */
    for (int i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9') return VCH_OK;
        if (__builtin_mul_overflow(first, (uint64_t)10, &first)) return VCH_OK;
        if (__builtin_add_overflow(first, (uint64_t)(name[i] - '0'), &first)) return VCH_OK;
    }
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 16;
        uint64_t *more = vch_resize(list->first, cap * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        list->first = more;
        list->cap = cap;
    }
    list->first[list->n++] = first;
    return VCH_OK;
}

vch_rc vch_segs_list(vch_port_t *port, const char *dir, uint64_t **ret, size_t *ret_n, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    list_t list = {0};
    if (vch_path(path, "%s/log/seg", dir) != VCH_OK)
        return vch_fail(err, VCH_ERR_LIMIT, "the path %s is too long", dir);
    vch_rc rc = port->disk->list(port, path, list_one, &list);
    if (rc != VCH_OK) {
        vch_free(list.first);
        return vch_fail(err, rc, "listing %s: %s", path, vch_rc_text(rc));
    }
    *ret = list.first;
    *ret_n = list.n;
    return VCH_OK;
}

vch_rc vch_seg_push(vch_log_t *log, uint64_t first, vch_err_t *err)
{
    if (log->seg_n == log->seg_cap) {
        size_t cap = log->seg_cap ? 2 * log->seg_cap : 8;
        vch_seg_t *more = vch_resize(log->seg, cap * sizeof *more);
        if (!more) return vch_fail(err, VCH_ERR_MEMORY, "no memory for %zu segments", cap);
        log->seg = more;
        log->seg_cap = cap;
    }
    log->seg[log->seg_n++] = (vch_seg_t){.first = first};
    return VCH_OK;
}

/* ---- a segment's table ----------------------------------------------------------- */

static vch_rc grow_array(void *array, size_t *cap, size_t need, size_t size)
{
    void *old;
    memcpy(&old, array, sizeof old);
    if (need <= *cap) return VCH_OK;
    size_t want = *cap ? *cap : 64;
    while (want < need) want *= 2;
    void *more = vch_resize(old, want * size);
    if (!more) return VCH_ERR_MEMORY;
    memcpy(array, &more, sizeof more);
    *cap = want;
    return VCH_OK;
}

vch_rc vch_seg_reserve(vch_seg_t *seg, size_t frames, size_t groups, vch_err_t *err)
{
    if (grow_array(&seg->frame_at, &seg->frame_cap, (size_t)seg->count + frames, sizeof *seg->frame_at) != VCH_OK ||
        grow_array(&seg->group, &seg->group_cap, seg->group_n + groups, sizeof *seg->group) != VCH_OK)
        return vch_fail(err, VCH_ERR_MEMORY, "no memory for the index of a segment");
    return VCH_OK;
}

void vch_seg_note_group(vch_seg_t *seg, const vch_group_head_t *head, uint64_t at, const uint32_t *frame_at)
{
    for (uint32_t i = 0; i < head->count; i++) seg->frame_at[seg->count + i] = (uint32_t)at + frame_at[i];
    seg->group[seg->group_n++] = (vch_group_ref_t){head->first, head->height, head->time, (uint32_t)at, head->count};
    seg->count += head->count;
    seg->end = at + vch_group_bytes(head->length);
}

vch_rc vch_seg_take(vch_seg_t *seg, const vch_scan_t *scan, uint64_t at, vch_err_t *err)
{
    const vch_group_head_t *head = &scan->head;
    VCH_TRY(vch_seg_reserve(seg, head->count, 1, err));
    uint32_t used = VCH_GROUP_HEAD;
    for (uint32_t i = 0; i < head->count; i++) {
        seg->frame_at[seg->count + i] = (uint32_t)at + used;
        used += VCH_FRAME_HEAD + vch_get_u32(scan->frames + (used - VCH_GROUP_HEAD));
    }
    seg->group[seg->group_n++] = (vch_group_ref_t){head->first, head->height, head->time, (uint32_t)at, head->count};
    seg->count += head->count;
    seg->end = at + scan->bytes;
    return VCH_OK;
}

static vch_rc seg_header_check(vch_log_t *log, vch_seg_t *seg, vch_window_t *w, vch_err_t *err)
{
    const uint8_t *p = NULL;
    size_t got = 0;
    uint64_t first;
    vch_hash_t network;
    VCH_TRY(vch_window_get(w, 0, VCH_SEG_HEADER, &p, &got, err));
    if (got < VCH_SEG_HEADER || !vch_seg_header_get(p, &first, &network))
        return vch_log_damaged(err, seg->first, seg->first, 0, "the segment's header is damaged");
    if (first != seg->first)
        return vch_log_damaged(err, seg->first, seg->first, 8, "the header names another first entry than the file");
    if (seg == log->seg)
        log->network = network;
    else if (!vch_hash_eq(&network, &log->network))
        return vch_log_damaged(err, seg->first, seg->first, 16, "the segment belongs to another network");
    return VCH_OK;
}

static vch_rc seg_scan(vch_log_t *log, vch_seg_t *seg, vch_window_t *w, vch_scan_t *ret, vch_err_t *err)
{
    VCH_TRY(seg_header_check(log, seg, w, err));
    seg->count = 0;
    seg->group_n = 0;
    seg->end = VCH_SEG_HEADER;
    for (;;) {
        vch_scan_t scan;
        VCH_TRY(vch_scan_group(w, seg->end, seg->first + seg->count, true, &scan, err));
        if (scan.kind == VCH_SCAN_GROUP && seg->end + scan.bytes > UINT32_MAX)
            return vch_log_damaged(err, seg->first, scan.head.first, seg->end, "the segment is longer than 4 GiB");
        if (scan.kind != VCH_SCAN_GROUP) {
            *ret = scan;
            return VCH_OK;
        }
        VCH_TRY(vch_seg_take(seg, &scan, seg->end, err));
    }
}

/* After the last group there is nothing but zeros. */
static vch_rc seg_rest(const vch_seg_t *seg, vch_window_t *w, vch_scan_t *ret, vch_err_t *err)
{
    uint64_t at, end;
    VCH_TRY(vch_scan_zeros(w, seg->end, &at, &end, err));
    if (at < end)
        *ret = (vch_scan_t){.kind = VCH_SCAN_BAD,
                            .bad_index = seg->first + seg->count,
                            .bad_at = at,
                            .what = "bytes behind the last sync group are not zero"};
    return VCH_OK;
}

static void seg_drop_table(vch_log_t *log, vch_seg_t *seg)
{
    vch_file_close(log->port, seg->file);
    vch_free(seg->frame_at);
    vch_free(seg->group);
    *seg = (vch_seg_t){.first = seg->first, .count = seg->count};
}

void vch_seg_unload(vch_log_t *log, vch_seg_t *seg) { seg_drop_table(log, seg); }

vch_rc vch_seg_load(vch_log_t *log, size_t i, vch_scan_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_seg_t *seg = &log->seg[i];
    bool write = i + 1 == log->seg_n && !log->options.read_only;
    uint64_t count = seg->count;
    vch_window_t w;
    vch_scan_t scan = {.kind = VCH_SCAN_END};
    VCH_TRY(vch_seg_path(path, log->dir, seg->first, err));
    VCH_TRY(vch_file_open(log->port, &seg->file, path, write ? VCH_OPEN_WRITE : VCH_OPEN_READ, err));
    vch_window_init(&w, log->port, seg->file);
    vch_rc rc = seg_scan(log, seg, &w, &scan, err);
    if (rc == VCH_OK && scan.kind == VCH_SCAN_END) rc = seg_rest(seg, &w, &scan, err);
    vch_window_free(&w);
    if (rc != VCH_OK) {
        seg->count = count;
        seg_drop_table(log, seg);
        return rc;
    }
    seg->loaded = true;
    seg->used = ++log->tick;
    *ret = scan;
    return VCH_OK;
}

/* Only a few tables are kept; the one not used for longest goes. */
static void segs_evict(vch_log_t *log)
{
    size_t loaded = 0;
    vch_seg_t *oldest = NULL;
    for (size_t i = 0; i + 1 < log->seg_n; i++) {
        vch_seg_t *seg = &log->seg[i];
        if (!seg->loaded) continue;
        loaded++;
        if (!oldest || seg->used < oldest->used) oldest = seg;
    }
    if (loaded >= VCH_SEGS_LOADED_MAX) seg_drop_table(log, oldest);
}

static size_t seg_find(const vch_log_t *log, uint64_t index)
{
    size_t low = 0, high = log->seg_n; /* seg[low].first <= index < seg[high].first */
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (log->seg[mid].first <= index)
            low = mid;
        else
            high = mid;
    }
    return low;
}

vch_rc vch_seg_of(vch_log_t *log, uint64_t index, vch_seg_t **ret, vch_err_t *err)
{
    size_t i = seg_find(log, index);
    vch_seg_t *seg = &log->seg[i];
    if (!seg->loaded) {
        vch_scan_t scan;
        uint64_t count = seg->count;
        segs_evict(log);
        VCH_TRY(vch_seg_load(log, i, &scan, err));
        uint64_t found = seg->count, bad_at = seg->end;
        if (scan.kind == VCH_SCAN_BAD || found != count) {
            seg->count = count;
            seg_drop_table(log, seg);
        }
        if (scan.kind == VCH_SCAN_BAD) return vch_log_damaged(err, seg->first, scan.bad_index, scan.bad_at, scan.what);
        if (found != count)
            return vch_log_damaged(err, seg->first, seg->first + found, bad_at, "entries are missing at its end");
    }
    seg->used = ++log->tick;
    *ret = seg;
    return VCH_OK;
}

/* ---- walking groups ------------------------------------------------------------------ */

typedef struct {
    uint64_t first, end_index, at, expect; /* where to begin: the group at `at` starts with entry `expect` */
} walk_t;

/* Where to begin in the segment of `from`; the table helps if it is there. */
static void walk_start(vch_log_t *log, uint64_t from, walk_t *ret)
{
    pthread_mutex_lock(&log->lock);
    const vch_seg_t *seg = &log->seg[seg_find(log, from)];
    *ret = (walk_t){seg->first, seg->first + seg->count, VCH_SEG_HEADER, seg->first};
    if (seg->loaded && seg->group_n > 0) {
        size_t low = 0, high = seg->group_n;
        while (high - low > 1) {
            size_t mid = low + (high - low) / 2;
            if (seg->group[mid].first <= from)
                low = mid;
            else
                high = mid;
        }
        ret->at = seg->group[low].at;
        ret->expect = seg->group[low].first;
    }
    pthread_mutex_unlock(&log->lock);
}

static vch_rc walk_segment(vch_window_t *w, walk_t *walk, uint64_t from, uint64_t to, vch_group_fn fn, void *ctx,
                           vch_err_t *err)
{
    while (walk->expect < to) {
        vch_scan_t scan;
        VCH_TRY(vch_scan_group(w, walk->at, walk->expect, false, &scan, err));
        bool wanted = scan.kind == VCH_SCAN_GROUP && scan.head.first + scan.head.count > from;
        if (wanted) VCH_TRY(vch_scan_group(w, walk->at, walk->expect, true, &scan, err));
        if (scan.kind == VCH_SCAN_BAD) return vch_log_damaged(err, walk->first, scan.bad_index, scan.bad_at, scan.what);
        if (scan.kind == VCH_SCAN_END)
            return vch_log_damaged(err, walk->first, walk->expect, walk->at, "entries are missing at its end");
        if (wanted) VCH_TRY(fn(ctx, &scan.head, scan.frames, err));
        walk->at += scan.bytes;
        walk->expect += scan.head.count;
    }
    return VCH_OK;
}

vch_rc vch_log_groups(vch_log_t *log, uint64_t from, uint64_t to, vch_group_fn fn, void *ctx, vch_err_t *err)
{
    while (from < to) {
        walk_t walk;
        char path[VCH_PATH_MAX];
        vch_file_t *file = NULL;
        vch_window_t w;
        walk_start(log, from, &walk);
        uint64_t end = walk.end_index < to ? walk.end_index : to;
        VCH_TRY(vch_seg_path(path, log->dir, walk.first, err));
        VCH_TRY(vch_file_open(log->port, &file, path, VCH_OPEN_READ, err));
        vch_window_init(&w, log->port, file);
        vch_rc rc = walk_segment(&w, &walk, from, end, fn, ctx, err);
        vch_window_free(&w);
        vch_file_close(log->port, file);
        if (rc != VCH_OK) return rc;
        from = end;
    }
    return VCH_OK;
}

/* The group that ends at `size`, if one does. */
static vch_rc group_end(const vch_seg_t *seg, uint64_t size, uint64_t *ret)
{
    for (size_t i = seg->group_n; i-- > 0;) {
        const vch_group_ref_t *g = &seg->group[i];
        if (g->first + g->count > size) continue;
        if (g->first + g->count < size) break;
        *ret = i + 1 < seg->group_n ? seg->group[i + 1].at : seg->end;
        return VCH_OK;
    }
    return VCH_ERR_NOT_FOUND;
}

vch_rc vch_log_cut(vch_log_t *log, uint64_t size, uint64_t *ret_segment, uint64_t *ret_bytes, vch_err_t *err)
{
    vch_seg_t *seg;
    uint64_t end = 0;
    vch_rc rc = VCH_ERR_NOT_FOUND;
    pthread_mutex_lock(&log->lock);
    if (size > 0 && size <= log->size) rc = vch_seg_of(log, size - 1, &seg, err);
    if (rc == VCH_OK) rc = group_end(seg, size, &end);
    if (rc == VCH_OK) {
        *ret_segment = seg->first;
        *ret_bytes = end;
    }
    pthread_mutex_unlock(&log->lock);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    return vch_fail(err, rc, "no sync group ends at entry %llu", (unsigned long long)size);
}
