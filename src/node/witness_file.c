/* SPDX-License-Identifier: Apache-2.0 */
#include "node/witness_int.h"

#define FILE_MAX (256u << 20)
#define GROUP_HEAD 20u
#define HEADER_MAGIC "VCHWIT1\n"

static uint64_t padded(uint64_t n) { return (n + WT_SECTOR - 1) / WT_SECTOR * WT_SECTOR; }

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- bytes of the file ------------------------------------------------------- */

static vch_rc put_header(vch_buf_t *b, uint64_t first, const uint8_t key[32])
{
    uint8_t *p = NULL;
    VCH_TRY(vch_buf_extend(b, WT_SECTOR, &p));
    memset(p, 0, WT_SECTOR);
    memcpy(p, HEADER_MAGIC, 8);
    vch_put_u64(p + 8, first);
    memcpy(p + 16, key, 32);
    vch_put_u32(p + WT_SECTOR - 4, vch_crc32c(0, p, WT_SECTOR - 4));
    return VCH_OK;
}

static bool header_good(const uint8_t *p)
{
    if (vch_get_u64(p + 8) >> 63) return false; /* no witness counts that far, and sums with it would wrap around */
    return memcmp(p, HEADER_MAGIC, 8) == 0 && vch_get_u32(p + WT_SECTOR - 4) == vch_crc32c(0, p, WT_SECTOR - 4);
}

static uint32_t group_sum(const uint8_t *p, uint32_t length)
{
    return vch_crc32c(vch_crc32c(0, p + 4, 12), p + GROUP_HEAD, length);
}

static vch_rc put_zeros(vch_buf_t *b, size_t n)
{
    uint8_t *p = NULL;
    VCH_TRY(vch_buf_extend(b, n, &p));
    memset(p, 0, n);
    return VCH_OK;
}

/* Both copies. */
static vch_rc put_group(vch_buf_t *b, uint64_t number, const vch_slice_t *notes, size_t n)
{
    size_t start = b->n;
    uint8_t word[4];
    VCH_TRY(put_zeros(b, GROUP_HEAD));
    for (size_t i = 0; i < n; i++) {
        vch_put_u32(word, (uint32_t)notes[i].n);
        VCH_TRY(vch_buf_put(b, word, sizeof word));
        VCH_TRY(vch_buf_put(b, notes[i].p, notes[i].n));
    }
    size_t length = b->n - start - GROUP_HEAD;
    VCH_TRY(put_zeros(b, (size_t)padded(b->n - start) - (b->n - start)));
    uint8_t *p = b->p + start;
    memcpy(p, "WGRP", 4);
    vch_put_u64(p + 4, number);
    vch_put_u32(p + 12, (uint32_t)length);
    vch_put_u32(p + 16, group_sum(p, (uint32_t)length));
    size_t copy = b->n - start;
    uint8_t *again = NULL;
    VCH_TRY(vch_buf_extend(b, copy, &again));
    memcpy(again, b->p + start, copy);
    return VCH_OK;
}

/* ---- reading ------------------------------------------------------------------- */

/* Bytes up to the boundary behind the whole copy that begins at `at`, 0 when
 * none does.  The file may end before that boundary: what is written next
 * belongs behind it all the same, for nothing is looked for elsewhere. */
static size_t copy_at(vch_slice_t data, size_t at)
{
    if (data.n - at < GROUP_HEAD || memcmp(data.p + at, "WGRP", 4) != 0) return 0;
    const uint8_t *p = data.p + at;
    uint32_t length = vch_get_u32(p + 12);
    if (length > data.n - at - GROUP_HEAD || vch_get_u32(p + 16) != group_sum(p, length)) return 0;
    return (size_t)padded(GROUP_HEAD + length);
}

static vch_rc read_group(vch_slice_t body, wt_note_fn fn, void *ctx, vch_err_t *err)
{
    while (body.n) {
        uint32_t n = body.n < 4 ? 0 : vch_get_u32(body.p);
        if (body.n < 4 || n > body.n - 4)
            return vch_fail(err, VCH_ERR_CORRUPT, "cosigned: a group's notes don't fill it");
        VCH_TRY(fn(ctx, vch_slice(body.p + 4, n), err));
        body = vch_slice(body.p + 4 + n, body.n - 4 - n);
    }
    return VCH_OK;
}

static vch_rc lost(size_t at, uint64_t number, vch_err_t *err)
{
    return vch_hint(err,
                    vch_fail(err, VCH_ERR_CORRUPT, "cosigned, byte %zu: both copies of group %llu are damaged", at,
                             (unsigned long long)number),
                    "a witness that doesn't know what it cosigned must not go on: make a new one, with a new key");
}

typedef struct {
    uint64_t copies; /* seen of the newest group: 1 or 2, 0 before the first */
    size_t end;      /* behind the newest good copy */
} scan_t;

/* Copies may be damaged, so what follows is looked for at every boundary. */
static vch_rc scan(wt_file_t *f, vch_slice_t data, wt_note_fn fn, void *ctx, scan_t *s, uint64_t *ret_mended,
                   vch_err_t *err)
{
    size_t n;
    for (size_t at = WT_SECTOR; at < data.n; at += n) {
        n = copy_at(data, at);
        if (n == 0) {
            n = WT_SECTOR;
            continue;
        }
        uint64_t number = vch_get_u64(data.p + at + 4);
        if (number > f->number) return lost(s->end, f->number, err);
        if (number == f->number) {
            *ret_mended += f->number > vch_get_u64(data.p + 8) && s->copies != 2;
            VCH_TRY(read_group(vch_slice(data.p + at + GROUP_HEAD, vch_get_u32(data.p + at + 12)), fn, ctx, err));
            f->number++;
            s->copies = 0;
        } else if (number + 1 != f->number || s->copies != 1) {
            return vch_fail(err, VCH_ERR_CORRUPT, "cosigned, byte %zu: group %llu stands there again", at,
                            (unsigned long long)number);
        }
        s->copies++;
        s->end = at + n;
    }
    return VCH_OK;
}

/* A second copy that never got whole: its place is left alone. */
static uint64_t end_of(const wt_file_t *f, vch_slice_t data, const scan_t *s, uint64_t *ret_mended)
{
    bool half = s->copies == 1 && f->number > vch_get_u64(data.p + 8);
    *ret_mended += half;
    return s->end;
}

static uint64_t waste(vch_slice_t data, uint64_t end)
{
    while (data.n > end && data.p[data.n - 1] == 0) data.n--;
    return data.n > end ? data.n - end : 0;
}

static vch_rc read_file(wt_file_t *f, vch_slice_t data, const uint8_t key[32], wt_note_fn fn, void *ctx,
                        uint64_t *ret_cut, uint64_t *ret_mended, vch_err_t *err)
{
    scan_t s = {.end = WT_SECTOR};
    if (data.n < WT_SECTOR || !header_good(data.p))
        return vch_fail(err, VCH_ERR_CORRUPT, "cosigned, byte 0: the header is damaged");
    if (memcmp(data.p + 16, key, 32) != 0)
        return vch_fail(err, VCH_ERR_CONFLICT, "cosigned belongs to another witness's key");
    f->number = vch_get_u64(data.p + 8);
    *ret_mended = 0;
    VCH_TRY(scan(f, data, fn, ctx, &s, ret_mended, err));
    f->end = end_of(f, data, &s, ret_mended);
    f->room = data.n;
    *ret_cut = waste(data, f->end);
    return VCH_OK;
}

/* What an unfinished write left behind must not stand behind the next group. */
static vch_rc cut(wt_file_t *f, vch_err_t *err)
{
    vch_rc rc = f->port->disk->truncate(f->port, f->file, f->end);
    if (rc == VCH_OK) rc = f->port->disk->sync(f->port, f->file);
    if (rc != VCH_OK) return vch_fail(err, rc, "cutting %s: %s", f->path, vch_rc_text(rc));
    f->room = f->end;
    return VCH_OK;
}

vch_rc wt_file_open(wt_file_t *ret, vch_port_t *port, const char *path, bool write, const uint8_t key[32],
                    wt_note_fn fn, void *ctx, uint64_t *ret_cut, uint64_t *ret_mended, vch_err_t *err)
{
    wt_file_t f = {.port = port, .compact_bytes = WT_COMPACT_BYTES};
    vch_buf_t data;
    if (vch_path(f.path, "%s", path) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_buf_init(&data, FILE_MAX);
    vch_rc rc = vch_read_all(port, &data, path, FILE_MAX, err);
    if (rc == VCH_OK) rc = read_file(&f, vch_buf_slice(&data), key, fn, ctx, ret_cut, ret_mended, err);
    vch_buf_free(&data);
    if (rc == VCH_OK) rc = vch_file_open(port, &f.file, path, write ? VCH_OPEN_WRITE : VCH_OPEN_READ, err);
    if (rc == VCH_OK && write && *ret_cut) rc = cut(&f, err);
    if (rc == VCH_OK)
        *ret = f;
    else
        vch_file_close(port, f.file);
    return rc;
}

void wt_file_close(wt_file_t *f)
{
    if (f->file) vch_file_close(f->port, f->file);
    f->file = NULL;
}

/* ---- writing ---------------------------------------------------------------------- */

vch_rc wt_file_create(vch_port_t *port, const char *path, const uint8_t key[32], vch_err_t *err)
{
    vch_buf_t b;
    vch_buf_init(&b, WT_SECTOR);
    vch_rc rc = put_header(&b, 1, key);
    rc = rc == VCH_OK ? vch_write_atomic(port, path, vch_buf_slice(&b), 0600, err) : no_memory(err);
    vch_buf_free(&b);
    return rc;
}

/* The size of the file doesn't change with most writes, which makes their sync
 * cheaper.  Without room for the zeros it just does. */
static void fill_ahead(wt_file_t *f, uint64_t end)
{
    static const uint8_t zeros[16384];
    if (end <= f->room) return;
    for (uint64_t at = end; at < end + WT_AHEAD_BYTES; at += sizeof zeros) {
        if (f->port->disk->write(f->port, f->file, zeros, sizeof zeros, at) != VCH_OK) return;
        f->room = at + sizeof zeros;
    }
}

static vch_rc write_group(wt_file_t *f, const vch_buf_t *b, vch_err_t *err)
{
    fill_ahead(f, f->end + b->n);
    vch_rc rc = f->port->disk->write(f->port, f->file, b->p, b->n, f->end);
    if (rc != VCH_OK) {
        f->poisoned = f->port->disk->truncate(f->port, f->file, f->end) != VCH_OK;
        f->room = f->end;
    } else if ((rc = f->port->disk->sync(f->port, f->file)) != VCH_OK) {
        f->poisoned = true; /* never retried: the pages may be gone */
    }
    if (rc != VCH_OK) return vch_fail(err, rc, "writing %s: %s", f->path, vch_rc_text(rc));
    f->end += b->n;
    f->number++;
    return VCH_OK;
}

vch_rc wt_file_append(wt_file_t *f, const vch_slice_t *notes, size_t n, vch_err_t *err)
{
    vch_buf_t b;
    if (f->poisoned) return vch_fail(err, VCH_ERR_IO, "the witness stopped after a failed write: start it again");
    vch_buf_init(&b, FILE_MAX);
    vch_rc rc = put_group(&b, f->number, notes, n);
    rc = rc == VCH_OK ? write_group(f, &b, err) : no_memory(err);
    vch_buf_free(&b);
    return rc;
}

/* The old file serves until the new one has its name. */
vch_rc wt_file_rewrite(wt_file_t *f, const uint8_t key[32], const vch_slice_t *notes, size_t n, vch_err_t *err)
{
    vch_buf_t b;
    vch_file_t *file = NULL;
    vch_buf_init(&b, FILE_MAX);
    vch_rc rc = put_header(&b, f->number, key);
    if (rc == VCH_OK) rc = put_group(&b, f->number, notes, n);
    rc = rc == VCH_OK ? vch_write_atomic(f->port, f->path, vch_buf_slice(&b), 0600, err) : no_memory(err);
    size_t bytes = b.n;
    vch_buf_free(&b);
    VCH_TRY(rc);
    rc = vch_file_open(f->port, &file, f->path, VCH_OPEN_WRITE, err);
    if (rc != VCH_OK) {
        f->poisoned = true; /* the open file is not the named one any more */
        return rc;
    }
    vch_file_close(f->port, f->file);
    f->file = file;
    f->number++;
    f->end = f->room = bytes;
    return VCH_OK;
}
