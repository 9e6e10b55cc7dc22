/* SPDX-License-Identifier: Apache-2.0 */
/* What to do about a last sync group that is not whole.
 *
 * Each append is synced before the next begins, so a power cut can leave at
 * most one group unfinished, and it is the last.  Only that one is cut, only
 * above the last signed checkpoint, and a copy is kept.  Whatever else is
 * wrong is damage and refused. */
#include "log/log_impl.h"

#include <inttypes.h>
#include <stdio.h>

/* First free name of quarantine/<name>-<at>[.k].cut. */
static vch_rc free_name(vch_port_t *port, const char *dir, const char *name, uint64_t at, char *ret, size_t ret_n,
                        vch_err_t *err)
{
    for (unsigned k = 1; k < 10000; k++) {
        char path[VCH_PATH_MAX], again[16] = "";
        vch_stat_t st;
        if (k > 1) snprintf(again, sizeof again, ".%u", k);
        int n = snprintf(ret, ret_n, "quarantine/%s-%" PRIu64 "%s.cut", name, at, again);
        if (n < 0 || (size_t)n >= ret_n)
            return vch_fail(err, VCH_ERR_LIMIT, "the name of a quarantine file is too long");
        if (vch_path(path, "%s/%s", dir, ret) != VCH_OK)
            return vch_fail(err, VCH_ERR_LIMIT, "the path %s is too long", dir);
        vch_rc rc = port->disk->stat(port, path, &st);
        if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
        if (rc != VCH_OK) return vch_fail(err, rc, "looking for %s: %s", path, vch_rc_text(rc));
    }
    return vch_fail(err, VCH_ERR_CONFLICT, "quarantine/ is full of cuts of %s", name);
}

vch_rc vch_quarantine(vch_port_t *port, const char *dir, const char *name, uint64_t at, vch_file_t *file, uint64_t end,
                      char *ret_name, size_t ret_n, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    if (vch_path(path, "%s/quarantine", dir) != VCH_OK)
        return vch_fail(err, VCH_ERR_LIMIT, "the path %s is too long", dir);
    VCH_TRY(vch_mkdirs(port, path, err));
    VCH_TRY(free_name(port, dir, name, at, ret_name, ret_n, err));
    if (vch_path(path, "%s/%s", dir, ret_name) != VCH_OK)
        return vch_fail(err, VCH_ERR_LIMIT, "the path %s is too long", dir);
    uint8_t *copy = vch_alloc((size_t)(end - at));
    if (!copy) return vch_fail(err, VCH_ERR_MEMORY, "no memory to keep %" PRIu64 " cut bytes", end - at);
    vch_rc rc = vch_file_read(port, file, copy, (size_t)(end - at), at, err);
    if (rc == VCH_OK) rc = vch_write_atomic(port, path, vch_slice(copy, (size_t)(end - at)), 0600, err);
    vch_free(copy);
    return rc;
}

/* Behind the last byte of [from, end of file) that is not zero; at least
 * from. */
static vch_rc used_end(vch_window_t *w, uint64_t from, uint64_t *ret, vch_err_t *err)
{
    uint64_t used = from;
    for (uint64_t at = from;; at += 65536) {
        const uint8_t *p = NULL;
        size_t got = 0;
        VCH_TRY(vch_window_get(w, at, 65536, &p, &got, err));
        size_t n = got;
        while (n > 0 && p[n - 1] == 0) n--;
        if (n) used = at + n;
        if (got < 65536) break;
    }
    *ret = used;
    return VCH_OK;
}

/* Is the bad group the unfinished last one?  *ret_end: behind its bytes. */
static vch_rc may_cut(vch_log_t *log, vch_window_t *w, const vch_scan_t *bad, uint64_t *ret_end, vch_err_t *err)
{
    const vch_seg_t *seg = vch_log_tail(log);
    uint64_t size = seg->first + seg->count, later = 0;
    bool follows, ours = bad->head_valid && bad->head.first == size;
    uint64_t extent = seg->end + (ours ? bad->bytes : VCH_SECTOR);
    if (size < log->head_size) return vch_log_damaged(err, seg->first, bad->bad_index, bad->bad_at, bad->what);
    VCH_TRY(vch_scan_header_after(w, extent, &follows, &later, err));
    VCH_TRY(used_end(w, seg->end, ret_end, err));
    if (follows || (ours && *ret_end > extent)) {
        vch_rc rc = vch_log_damaged(err, seg->first, bad->bad_index, bad->bad_at, bad->what);
        if (follows)
            return vch_hint(err, rc, "a sync group follows at byte %" PRIu64 ", so this was not the last", later);
        return rc;
    }
    return VCH_OK;
}

static vch_rc cut(vch_log_t *log, uint64_t end, vch_recovery_t *ret, vch_err_t *err)
{
    vch_seg_t *seg = vch_log_tail(log);
    vch_recovery_t done = {.cut = end > seg->end, .cut_segment = seg->first, .cut_at = seg->end};
    char name[32];
    snprintf(name, sizeof name, "%020" PRIu64, seg->first);
    if (done.cut) {
        done.cut_bytes = end - seg->end;
        VCH_TRY(vch_quarantine(log->port, log->dir, name, seg->end, seg->file, end, done.quarantine,
                               sizeof done.quarantine, err));
    }
    vch_rc rc = log->port->disk->truncate(log->port, seg->file, seg->end);
    if (rc == VCH_OK) rc = log->port->disk->sync(log->port, seg->file);
    if (rc != VCH_OK)
        return vch_fail(err, rc, "cutting log/seg/%s.seg at byte %" PRIu64 ": %s", name, seg->end, vch_rc_text(rc));
    log->filled = seg->end;
    log->tail_dirty = false;
    if (done.cut && ret) *ret = done;
    return VCH_OK;
}

vch_rc vch_recover(vch_log_t *log, const vch_scan_t *bad, bool do_cut, vch_recovery_t *ret, vch_err_t *err)
{
    vch_window_t w;
    uint64_t end = 0;
    vch_window_init(&w, log->port, vch_log_tail(log)->file);
    vch_rc rc = may_cut(log, &w, bad, &end, err);
    vch_window_free(&w);
    if (rc != VCH_OK || !do_cut) return rc;
    return cut(log, end, ret, err);
}
