/* SPDX-License-Identifier: Apache-2.0 */
/* log/head: the last signed checkpoint, in two slots written in turn, so that
 * a torn write leaves the other one.  log/cosigned: every cosigned one, of one
 * size maybe several.  Records that only the log signed may stand in old files;
 * readers never get them.
 *
 *   slot    "VCHHEAD1" ‖ u64 sequence ‖ u64 size ‖ u32 length ‖ note ‖ zeros
 *           ‖ u32 crc32c of the 16,380 before                (16,384 bytes)
 *   kept    u32 length ‖ u32 crc32c of size and note ‖ u64 size ‖ note */
#include "log/log_impl.h"

#include "codec/text.h"

#include <inttypes.h>

#define SLOT_NOTE 28u
#define KEPT_HEAD 16u

vch_rc vch_head_create(vch_port_t *port, const char *dir, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    if (vch_path(path, "%s/log/head", dir) != VCH_OK)
        return vch_fail(err, VCH_ERR_LIMIT, "the path %s is too long", dir);
    uint8_t *empty = vch_alloc(2 * VCH_HEAD_SLOT);
    if (!empty) return vch_fail(err, VCH_ERR_MEMORY, "no memory for %s", path);
    vch_rc rc = vch_write_atomic(port, path, vch_slice(empty, 2 * VCH_HEAD_SLOT), 0600, err);
    if (rc == VCH_OK && vch_path(path, "%s/log/cosigned", dir) == VCH_OK)
        rc = vch_write_atomic(port, path, vch_slice(NULL, 0), 0600, err);
    vch_free(empty);
    return rc;
}

static bool slot_empty(const uint8_t *slot) { return slot[0] == 0 && memcmp(slot, slot + 1, VCH_HEAD_SLOT - 1) == 0; }

static bool slot_valid(const uint8_t *slot)
{
    return memcmp(slot, "VCHHEAD1", 8) == 0 && vch_get_u32(slot + 24) <= VCH_NOTE_MAX &&
           vch_get_u32(slot + VCH_HEAD_SLOT - 4) == vch_crc32c(0, slot, VCH_HEAD_SLOT - 4);
}

static vch_rc head_judge(const uint8_t *slots, vch_head_t *ret, vch_buf_t *ret_note, vch_err_t *err)
{
    vch_head_t head = {0};
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *slot = slots + i * VCH_HEAD_SLOT;
        if (!slot_valid(slot)) {
            head.torn[i] = !slot_empty(slot);
        } else if (!head.any || vch_get_u64(slot + 8) > head.sequence) {
            head = (vch_head_t){.any = true,
                                .torn = {head.torn[0], head.torn[1]},
                                .slot = i,
                                .sequence = vch_get_u64(slot + 8),
                                .size = vch_get_u64(slot + 16)};
        }
    }
    if (head.torn[0] && head.torn[1])
        return vch_hint(err, vch_fail(err, VCH_ERR_CORRUPT, "log/head, byte 0: both slots are damaged"),
                        "restore log/head from a backup or a mirror");
    const uint8_t *slot = slots + head.slot * VCH_HEAD_SLOT;
    if (head.any && vch_buf_put(ret_note, slot + SLOT_NOTE, vch_get_u32(slot + 24)) != VCH_OK)
        return vch_fail(err, VCH_ERR_MEMORY, "no memory for a checkpoint");
    *ret = head;
    return VCH_OK;
}

vch_rc vch_head_read(vch_port_t *port, vch_file_t *file, vch_head_t *ret, vch_buf_t *ret_note, vch_err_t *err)
{
    uint8_t *slots = vch_alloc(2 * VCH_HEAD_SLOT);
    if (!slots) return vch_fail(err, VCH_ERR_MEMORY, "no memory to read log/head");
    vch_rc rc = vch_file_read(port, file, slots, 2 * VCH_HEAD_SLOT, 0, err);
    rc = rc == VCH_OK ? head_judge(slots, ret, ret_note, err) : vch_context(err, rc, "reading log/head");
    vch_free(slots);
    return rc;
}

static bool next_line(vch_slice_t *rest, vch_slice_t *ret)
{
    const uint8_t *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    if (!end) return false;
    *ret = vch_slice(rest->p, (size_t)(end - rest->p));
    *rest = vch_slice(end + 1, rest->n - ret->n - 1);
    return true;
}

/* tlog-checkpoint: origin, size in decimal, root in base64. */
bool vch_note_parse(vch_slice_t note, uint64_t *ret_size, vch_hash_t *ret_root)
{
    vch_slice_t origin, digits, root;
    if (!next_line(&note, &origin) || !next_line(&note, &digits) || !next_line(&note, &root)) return false;
    if (origin.n == 0 || digits.n == 0 || (digits.n > 1 && digits.p[0] == '0')) return false;
    uint64_t size = 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9') return false;
        if (__builtin_mul_overflow(size, (uint64_t)10, &size)) return false;
        if (__builtin_add_overflow(size, (uint64_t)(digits.p[i] - '0'), &size)) return false;
    }
    vch_hash_t hash;
    if (vch_base64_fixed(hash.b, sizeof hash.b, root) != VCH_OK) return false;
    *ret_size = size;
    *ret_root = hash;
    return true;
}

/* How many signatures under the note are by another name than its origin.  Who
 * they are, and whether they are any good, is for those to say who know keys. */
static uint32_t cosignatures(vch_slice_t note)
{
    static const char dash[] = "\xe2\x80\x94 ";
    const size_t dash_n = sizeof dash - 1;
    vch_slice_t origin, line;
    uint32_t n = 0;
    bool below = false; /* the signatures stand below the last empty line */
    if (!next_line(&note, &origin)) return 0;
    while (next_line(&note, &line)) {
        bool is_sig = line.n > dash_n && memcmp(line.p, dash, dash_n) == 0;
        bool is_own = line.n > dash_n + origin.n && memcmp(line.p + dash_n, origin.p, origin.n) == 0 &&
                      line.p[dash_n + origin.n] == ' ';
        if (line.n == 0) n = 0;
        below = below || line.n == 0;
        n += below && is_sig && !is_own;
    }
    return n;
}

/* ---- publishing -------------------------------------------------------------- */

static vch_rc head_write(vch_log_t *log, const vch_head_t *head, uint64_t size, vch_slice_t note, vch_err_t *err)
{
    unsigned to = head->any ? 1 - head->slot : 0;
    uint8_t *slot = vch_alloc(VCH_HEAD_SLOT);
    if (!slot) return vch_fail(err, VCH_ERR_MEMORY, "no memory for a checkpoint");
    memcpy(slot, "VCHHEAD1", 8);
    vch_put_u64(slot + 8, head->sequence + 1);
    vch_put_u64(slot + 16, size);
    vch_put_u32(slot + 24, (uint32_t)note.n);
    memcpy(slot + SLOT_NOTE, note.p, note.n);
    vch_put_u32(slot + VCH_HEAD_SLOT - 4, vch_crc32c(0, slot, VCH_HEAD_SLOT - 4));
    vch_rc rc = log->port->disk->write(log->port, log->head_file, slot, VCH_HEAD_SLOT, (uint64_t)to * VCH_HEAD_SLOT);
    if (rc == VCH_OK && (rc = log->port->disk->sync(log->port, log->head_file)) != VCH_OK) log->poisoned = true;
    vch_free(slot);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "writing log/head: %s", vch_rc_text(rc));
}

/* Is it a checkpoint of this log's first `size` entries? */
static vch_rc note_check(vch_log_t *log, uint64_t size, vch_slice_t note, vch_err_t *err)
{
    uint64_t said = 0;
    vch_hash_t root, want;
    if (note.n > VCH_NOTE_MAX) return vch_fail(err, VCH_ERR_LIMIT, "a checkpoint has at most %u bytes", VCH_NOTE_MAX);
    if (!vch_note_parse(note, &said, &root) || said != size)
        return vch_fail(err, VCH_ERR_FORMAT, "this is not a checkpoint of %" PRIu64 " entries", size);
    VCH_TRY(vch_log_root(log, size, &want, err));
    if (vch_hash_eq(&root, &want)) return VCH_OK;
    return vch_fail(err, VCH_ERR_CONFLICT, "the checkpoint's root is not that of the first %" PRIu64 " entries", size);
}

static vch_rc sign(vch_log_t *log, uint64_t size, vch_slice_t note, vch_err_t *err)
{
    vch_head_t head;
    vch_buf_t old;
    VCH_TRY(note_check(log, size, note, err));
    vch_buf_init(&old, VCH_NOTE_MAX);
    vch_rc rc = vch_head_read(log->port, log->head_file, &head, &old, err);
    vch_buf_free(&old);
    if (rc != VCH_OK) return rc;
    if (head.any && size < head.size)
        return vch_fail(err, VCH_ERR_CONFLICT, "a checkpoint of %" PRIu64 " entries was published before", head.size);
    VCH_TRY(head_write(log, &head, size, note, err));
    log->head_size = size;
    return VCH_OK;
}

static vch_rc may_publish(vch_log_t *log, vch_err_t *err)
{
    if (log->options.read_only) return vch_fail(err, VCH_ERR_READ_ONLY, "the log was opened for reading only");
    return vch_log_alive(log, err);
}

vch_rc vch_log_sign(vch_log_t *log, uint64_t size, vch_slice_t note, vch_err_t *err)
{
    VCH_TRY(may_publish(log, err));
    pthread_mutex_lock(&log->publish_lock);
    vch_rc rc = sign(log, size, note, err);
    pthread_mutex_unlock(&log->publish_lock);
    return rc;
}

uint64_t vch_log_signed(const vch_log_t *log) { return log->head_size; }

vch_rc vch_log_publish_tiles(vch_log_t *log, uint64_t size, vch_err_t *err)
{
    VCH_TRY(may_publish(log, err));
    pthread_mutex_lock(&log->tiles_lock);
    vch_rc rc = size > log->tiles_size ? vch_tiles_publish(log, size, err) : VCH_OK;
    pthread_mutex_unlock(&log->tiles_lock);
    return rc;
}

/* What another handle signed meanwhile is for that one to publish. */
vch_rc vch_log_publish_head(vch_log_t *log, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_head_t head = {0};
    vch_buf_t note;
    VCH_TRY(may_publish(log, err));
    VCH_TRY(vch_log_path(log, path, "tlog/checkpoint", err));
    vch_buf_init(&note, VCH_NOTE_MAX);
    pthread_mutex_lock(&log->tiles_lock);
    pthread_mutex_lock(&log->publish_lock);
    vch_rc rc = vch_head_read(log->port, log->head_file, &head, &note, err);
    if (rc == VCH_OK && head.any && head.size <= log->tiles_size)
        rc = vch_write_derived(log->port, path, vch_buf_slice(&note), err);
    pthread_mutex_unlock(&log->publish_lock);
    pthread_mutex_unlock(&log->tiles_lock);
    vch_buf_free(&note);
    return rc;
}

vch_rc vch_log_publish(vch_log_t *log, uint64_t size, vch_slice_t note, vch_err_t *err)
{
    VCH_TRY(vch_log_sign(log, size, note, err));
    VCH_TRY(vch_log_publish_tiles(log, size, err));
    return vch_log_publish_head(log, err);
}

vch_rc vch_log_head(vch_log_t *log, vch_buf_t *ret_note, uint64_t *ret_size, vch_err_t *err)
{
    vch_head_t head = {0};
    VCH_TRY(vch_log_alive(log, err));
    pthread_mutex_lock(&log->publish_lock);
    vch_rc rc = vch_head_read(log->port, log->head_file, &head, ret_note, err);
    pthread_mutex_unlock(&log->publish_lock);
    if (rc != VCH_OK) return rc;
    if (!head.any) return vch_fail(err, VCH_ERR_NOT_FOUND, "no checkpoint has been published yet");
    *ret_size = head.size;
    return VCH_OK;
}

/* ---- cosigned checkpoints --------------------------------------------------------- */

/* Bytes of the record at `at`, 0 when none is there. */
static size_t kept_at(vch_slice_t data, size_t at)
{
    if (data.n - at < KEPT_HEAD) return 0;
    const uint8_t *p = data.p + at;
    size_t n = vch_get_u32(p);
    if (n == 0 || n > VCH_NOTE_MAX || n > data.n - at - KEPT_HEAD) return 0;
    return vch_get_u32(p + 4) == vch_crc32c(0, p + 8, 8 + n) ? KEPT_HEAD + n : 0;
}

vch_rc vch_cosigned_scan(vch_slice_t data, uint64_t base, uint64_t *ret_end, vch_cosigned_fn fn, void *ctx,
                         vch_err_t *err)
{
    size_t at = 0, n;
    for (; (n = kept_at(data, at)) > 0; at += n)
        if (fn)
            VCH_TRY(fn(ctx, vch_get_u64(data.p + at + 8), base + at + KEPT_HEAD,
                       vch_slice(data.p + at + KEPT_HEAD, n - KEPT_HEAD)));
    for (size_t later = at + 1; later < data.n; later++)
        if (kept_at(data, later))
            return vch_hint(
                err, vch_fail(err, VCH_ERR_CORRUPT, "log/cosigned, byte %" PRIu64 ": the record is damaged", base + at),
                "restore this file from a backup or a mirror");
    *ret_end = base + at;
    return VCH_OK;
}

static vch_rc kept_note(void *ctx, uint64_t size, uint64_t at, vch_slice_t note)
{
    vch_log_t *log = ctx;
    uint32_t others = cosignatures(note);
    if (others == 0) return VCH_OK;
    if (log->kept_n == log->kept_cap) {
        size_t cap = log->kept_cap ? 2 * log->kept_cap : 16;
        vch_kept_t *more = vch_resize(log->kept, cap * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        log->kept = more;
        log->kept_cap = cap;
    }
    log->kept[log->kept_n++] = (vch_kept_t){size, at, (uint32_t)note.n, others};
    return VCH_OK;
}

/* By size, of one size as they were kept.  A cosignature that came late stands
 * near the end, so little moves. */
static void kept_order(vch_log_t *log, size_t from)
{
    for (size_t i = from; i < log->kept_n; i++) {
        vch_kept_t k = log->kept[i];
        size_t j = i;
        for (; j > 0 && log->kept[j - 1].size > k.size; j--) log->kept[j] = log->kept[j - 1];
        log->kept[j] = k;
    }
}

/* Take in the records behind those known; *ret_size: bytes of the file. */
static vch_rc kept_refresh(vch_log_t *log, vch_file_t *file, uint64_t *ret_size, vch_err_t *err)
{
    uint64_t size = 0;
    vch_rc rc = log->port->disk->size(log->port, file, &size);
    if (rc != VCH_OK) return vch_fail(err, rc, "reading log/cosigned: %s", vch_rc_text(rc));
    *ret_size = size;
    if (size <= log->kept_end) return VCH_OK;
    size_t n = (size_t)(size - log->kept_end), had = log->kept_n;
    uint8_t *data = vch_alloc(n);
    if (!data) return vch_fail(err, VCH_ERR_MEMORY, "no memory for %zu bytes of log/cosigned", n);
    rc = vch_file_read(log->port, file, data, n, log->kept_end, err);
    if (rc == VCH_OK) rc = vch_cosigned_scan(vch_slice(data, n), log->kept_end, &log->kept_end, kept_note, log, err);
    if (rc == VCH_OK) {
        kept_order(log, had);
    } else {
        log->kept_n = had;
        (void)vch_context(err, rc, "reading log/cosigned");
    }
    vch_free(data);
    return rc;
}

/* A record that a power cut left unfinished is moved away. */
static vch_rc cosigned_mend(vch_log_t *log, vch_file_t *file, uint64_t end, uint64_t size, vch_err_t *err)
{
    char kept[160];
    if (size == end) return VCH_OK;
    VCH_TRY(vch_quarantine(log->port, log->dir, "cosigned", end, file, size, kept, sizeof kept, err));
    vch_rc rc = log->port->disk->truncate(log->port, file, end);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "cutting log/cosigned: %s", vch_rc_text(rc));
}

static vch_rc cosigned_write(vch_log_t *log, vch_file_t *file, uint64_t end, uint64_t size, vch_slice_t note,
                             vch_err_t *err)
{
    uint8_t *record = vch_alloc(KEPT_HEAD + note.n);
    if (!record) return vch_fail(err, VCH_ERR_MEMORY, "no memory for a checkpoint");
    vch_put_u32(record, (uint32_t)note.n);
    vch_put_u64(record + 8, size);
    memcpy(record + KEPT_HEAD, note.p, note.n);
    vch_put_u32(record + 4, vch_crc32c(0, record + 8, 8 + note.n));
    vch_rc rc = log->port->disk->write(log->port, file, record, KEPT_HEAD + note.n, end);
    if (rc != VCH_OK) {
        if (log->port->disk->truncate(log->port, file, end) != VCH_OK) log->poisoned = true;
    } else if ((rc = log->port->disk->sync(log->port, file)) != VCH_OK) {
        log->poisoned = true;
    }
    vch_free(record);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "writing log/cosigned: %s", vch_rc_text(rc));
}

static vch_rc keep_cosigned(vch_log_t *log, uint64_t size, vch_slice_t note, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_file_t *file = NULL;
    uint64_t had = 0;
    VCH_TRY(note_check(log, size, note, err));
    VCH_TRY(vch_log_path(log, path, "log/cosigned", err));
    VCH_TRY(vch_file_open(log->port, &file, path, VCH_OPEN_WRITE, err));
    vch_rc rc = kept_refresh(log, file, &had, err);
    if (rc == VCH_OK) rc = cosigned_mend(log, file, log->kept_end, had, err);
    if (rc == VCH_OK) rc = cosigned_write(log, file, log->kept_end, size, note, err);
    vch_file_close(log->port, file);
    return rc;
}

vch_rc vch_log_keep_cosigned(vch_log_t *log, uint64_t size, vch_slice_t note, vch_err_t *err)
{
    if (log->options.read_only) return vch_fail(err, VCH_ERR_READ_ONLY, "the log was opened for reading only");
    if (note.n == 0 || note.n > VCH_NOTE_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "a checkpoint has 1 to %u bytes", VCH_NOTE_MAX);
    if (cosignatures(note) == 0)
        return vch_fail(err, VCH_ERR_FORMAT, "nobody but the log signed this checkpoint of %" PRIu64 " entries", size);
    VCH_TRY(vch_log_alive(log, err));
    pthread_mutex_lock(&log->publish_lock);
    vch_rc rc = keep_cosigned(log, size, note, err);
    pthread_mutex_unlock(&log->publish_lock);
    return rc;
}

/* The first that is kept of at least `size` entries; kept_n: none. */
static size_t kept_from(const vch_log_t *log, uint64_t size)
{
    size_t lo = 0, hi = log->kept_n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (log->kept[mid].size < size)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Of one size the one with the most cosignatures, of equals the earliest. */
static size_t kept_best(const vch_log_t *log, size_t first)
{
    size_t best = first;
    for (size_t i = first + 1; i < log->kept_n && log->kept[i].size == log->kept[first].size; i++)
        if (log->kept[i].others > log->kept[best].others) best = i;
    return best;
}

static vch_rc kept_read(vch_log_t *log, vch_file_t *file, const vch_kept_t *k, vch_buf_t *ret_note, vch_err_t *err)
{
    uint8_t *to;
    size_t had = ret_note->n;
    vch_rc rc = vch_buf_extend(ret_note, k->n, &to);
    if (rc != VCH_OK) return vch_fail(err, rc, "no memory for a checkpoint");
    rc = vch_file_read(log->port, file, to, k->n, k->at, err);
    if (rc != VCH_OK) ret_note->n = had;
    return rc;
}

static vch_rc find_kept(vch_log_t *log, vch_file_t *file, uint64_t size, vch_buf_t *ret_note, uint64_t *ret_size,
                        vch_err_t *err)
{
    size_t i = kept_from(log, size);
    if (i == log->kept_n)
        return vch_fail(err, VCH_ERR_NOT_FOUND, "no cosigned checkpoint covers %" PRIu64 " entries", size);
    VCH_TRY(kept_read(log, file, &log->kept[kept_best(log, i)], ret_note, err));
    *ret_size = log->kept[i].size;
    return VCH_OK;
}

/* The kept ones from number `first` on, or from the last one back. */
static vch_rc walk_kept(vch_log_t *log, vch_file_t *file, size_t first, bool back, vch_kept_fn fn, void *ctx,
                        vch_err_t *err)
{
    vch_buf_t note;
    bool on = true;
    vch_rc rc = VCH_OK;
    vch_buf_init(&note, VCH_NOTE_MAX);
    for (size_t i = first; on && rc == VCH_OK && i < log->kept_n; i++) {
        const vch_kept_t *k = &log->kept[back ? log->kept_n - 1 - i : i];
        vch_buf_clear(&note);
        rc = kept_read(log, file, k, &note, err);
        if (rc == VCH_OK) on = fn(ctx, k->size, vch_buf_slice(&note));
    }
    vch_buf_free(&note);
    return rc;
}

/* The file with what others added to it, under the lock that guards the list. */
static vch_rc kept_open(vch_log_t *log, vch_file_t **ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    uint64_t bytes;
    VCH_TRY(vch_log_alive(log, err));
    VCH_TRY(vch_log_path(log, path, "log/cosigned", err));
    VCH_TRY(vch_file_open(log->port, ret, path, VCH_OPEN_READ, err));
    pthread_mutex_lock(&log->publish_lock);
    vch_rc rc = kept_refresh(log, *ret, &bytes, err);
    if (rc == VCH_OK) return rc;
    pthread_mutex_unlock(&log->publish_lock);
    vch_file_close(log->port, *ret);
    return rc;
}

static void kept_close(vch_log_t *log, vch_file_t *file)
{
    pthread_mutex_unlock(&log->publish_lock);
    vch_file_close(log->port, file);
}

vch_rc vch_log_cosigned(vch_log_t *log, uint64_t size, vch_buf_t *ret_note, uint64_t *ret_size, vch_err_t *err)
{
    vch_file_t *file = NULL;
    VCH_TRY(kept_open(log, &file, err));
    vch_rc rc = find_kept(log, file, size, ret_note, ret_size, err);
    kept_close(log, file);
    return rc;
}

vch_rc vch_log_cosigned_each(vch_log_t *log, uint64_t size, vch_kept_fn fn, void *ctx, vch_err_t *err)
{
    vch_file_t *file = NULL;
    VCH_TRY(kept_open(log, &file, err));
    vch_rc rc = walk_kept(log, file, kept_from(log, size), false, fn, ctx, err);
    kept_close(log, file);
    return rc;
}

vch_rc vch_log_cosigned_back(vch_log_t *log, vch_kept_fn fn, void *ctx, vch_err_t *err)
{
    vch_file_t *file = NULL;
    VCH_TRY(kept_open(log, &file, err));
    vch_rc rc = walk_kept(log, file, 0, true, fn, ctx, err);
    kept_close(log, file);
    return rc;
}

vch_rc vch_log_cosigned_mark(vch_log_t *log, uint64_t *ret, vch_err_t *err)
{
    vch_file_t *file = NULL;
    VCH_TRY(kept_open(log, &file, err));
    *ret = log->kept_end;
    kept_close(log, file);
    return VCH_OK;
}
