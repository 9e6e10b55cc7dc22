/* SPDX-License-Identifier: Apache-2.0 */
/* A table of digests, CSV files by record, days. */
#include "crypto/sha256.h"
#include "node/custody_int.h"

#define CSV_CELLS_MAX 4100u
#define CSV_RECORD_MAX (1u << 20)
#define CSV_BUF (256u << 10)

/* ---- digests -> numbers ------------------------------------------------------- */

void table_free(table_t *t)
{
    vch_free(t->slot);
    *t = (table_t){0};
}

void table_digest(uint8_t ret[16], vch_slice_t text)
{
    vch_hash_t h;
    vch_sha256(&h, text.p, text.n);
    memcpy(ret, h.b, 16);
}

/* The slot of a digest, or the empty one where it belongs. */
static table_slot_t *table_place(const table_t *t, const uint8_t digest[16])
{
    size_t i = (size_t)vch_get_u64(digest) & (t->cap - 1);
    while (t->slot[i].value && memcmp(t->slot[i].digest, digest, 16) != 0) i = (i + 1) & (t->cap - 1);
    return &t->slot[i];
}

uint64_t *table_get(const table_t *t, const uint8_t digest[16])
{
    if (!t->cap) return NULL;
    table_slot_t *s = table_place(t, digest);
    return s->value ? &s->value : NULL;
}

static vch_rc table_grow(table_t *t)
{
    table_t bigger = {.cap = t->cap ? t->cap * 2 : 1024, .used = t->used};
    bigger.slot = vch_alloc_array(bigger.cap, sizeof *bigger.slot);
    if (!bigger.slot) return VCH_ERR_MEMORY;
    for (size_t i = 0; i < t->cap; i++)
        if (t->slot[i].value) *table_place(&bigger, t->slot[i].digest) = t->slot[i];
    vch_free(t->slot);
    *t = bigger;
    return VCH_OK;
}

vch_rc table_put(table_t *t, const uint8_t digest[16], uint64_t value)
{
    if (t->used >= t->cap / 4 * 3) VCH_TRY(table_grow(t));
    table_slot_t *s = table_place(t, digest);
    t->used += s->value == 0;
    memcpy(s->digest, digest, 16);
    s->value = value + 1;
    return VCH_OK;
}

/* ---- CSV files ------------------------------------------------------------------ */

static vch_rc csv_fill(csv_file_t *f, vch_err_t *err)
{
    size_t got;
    vch_rc rc = f->port->disk->read(f->port, f->file, &got, f->buf, CSV_BUF, f->at);
    if (rc != VCH_OK) return vch_fail(err, rc, "cannot read %s: %s", f->path, vch_rc_text(rc));
    if (got == 0 && f->at < f->size) return vch_fail(err, VCH_ERR_IO, "%s became shorter while it was read", f->path);
    f->used = 0;
    f->have = got;
    f->at += got;
    return VCH_OK;
}

/* A byte order mark says only "UTF-8" and is no part of the first cell. */
static vch_rc csv_begin(csv_file_t *f, vch_err_t *err)
{
    vch_rc rc = f->port->disk->size(f->port, f->file, &f->size);
    if (rc != VCH_OK) return vch_fail(err, rc, "cannot read %s: %s", f->path, vch_rc_text(rc));
    f->buf = vch_alloc(CSV_BUF);
    if (!f->buf) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    rc = vch_csv_init(&f->csv, CSV_CELLS_MAX, CSV_RECORD_MAX);
    if (rc != VCH_OK) return vch_fail(err, rc, "out of memory");
    VCH_TRY(csv_fill(f, err));
    if (f->have >= 3 && memcmp(f->buf, "\xef\xbb\xbf", 3) == 0) f->used = 3;
    return VCH_OK;
}

vch_rc csv_open(csv_file_t *ret, vch_port_t *port, const char *path, vch_err_t *err)
{
    *ret = (csv_file_t){.port = port, .path = path};
    VCH_TRY(vch_file_open(port, &ret->file, path, VCH_OPEN_READ, err));
    vch_rc rc = csv_begin(ret, err);
    if (rc != VCH_OK) csv_close(ret);
    return rc;
}

void csv_close(csv_file_t *f)
{
    if (!f->file) return;
    vch_file_close(f->port, f->file);
    vch_csv_free(&f->csv);
    vch_free(f->buf);
    *f = (csv_file_t){0};
}

static bool blank(const vch_csv_t *c) { return c->count == 1 && vch_csv_cell(c, 0).n == 0; }

vch_rc csv_next(csv_file_t *f, size_t columns, bool *ret_got, vch_err_t *err)
{
    for (;;) {
        size_t eaten;
        bool done;
        if (f->used == f->have && f->at < f->size) VCH_TRY(csv_fill(f, err));
        vch_slice_t in = vch_slice(f->buf + f->used, f->have - f->used);
        vch_rc rc = vch_csv_feed(&f->csv, in, f->at >= f->size, &eaten, &done, err);
        if (rc != VCH_OK) return vch_context(err, rc, "%s", f->path);
        f->used += eaten;
        bool end = f->used == f->have && f->at >= f->size;
        if (done && columns > 1 && blank(&f->csv)) done = false;
        if (!done && !end) continue;
        *ret_got = done;
        return VCH_OK;
    }
}

/* ---- others ---------------------------------------------------------------------- */

vch_rc state_value(vch_ledger_t *l, const vch_state_key_t *key, vch_buf_t *ret, vch_err_t *err)
{
    vch_buf_init(ret, 1u << 20);
    return vch_state_get(l->state, vch_key_slice(key), ret, err);
}

static bool digits(vch_slice_t text, size_t at, size_t n, unsigned *ret)
{
    *ret = 0;
    for (size_t i = at; i < at + n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return false;
        *ret = *ret * 10 + (unsigned)(text.p[i] - '0');
    }
    return true;
}

static bool leap(unsigned y) { return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0; }

vch_rc vch_day_get(uint32_t *ret, vch_slice_t text)
{
    static const unsigned before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    static const unsigned length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned y, m, d;
    if (text.n != 10 || text.p[4] != '-' || text.p[7] != '-') return VCH_ERR_FORMAT;
    if (!digits(text, 0, 4, &y) || !digits(text, 5, 2, &m) || !digits(text, 8, 2, &d)) return VCH_ERR_FORMAT;
    if (y < 1970 || m < 1 || m > 12 || d < 1) return VCH_ERR_FORMAT;
    if (d > length[m - 1] + (m == 2 && leap(y) ? 1 : 0)) return VCH_ERR_FORMAT;
    unsigned past = y - 1; /* whole years before this one, by the Gregorian rule */
    unsigned days = past * 365 + past / 4 - past / 100 + past / 400 - 719162;
    *ret = days + before[m - 1] + d - 1 + (m > 2 && leap(y) ? 1 : 0);
    return VCH_OK;
}
