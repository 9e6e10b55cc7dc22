/* SPDX-License-Identifier: Apache-2.0 */
/* Files of records: written once, read by number. */
#include <stdio.h>

#include "node/custody_int.h"

#define WINDOW (64u << 10)
#define OUT_MAX (256u << 10)

static const struct {
    const char *magic, *folder, *suffix;
    bool fixed;
} kinds[CF_KINDS] = {
    [CF_ROWS] = {"VCHROWS1", "data", ".rows", false},
    [CF_SALTS] = {"VCHSALT1", "custody", ".salts", true},
    [CF_COMMITMENTS] = {"VCHCOMM1", "data", ".commitments", true},
    [CF_KEYS] = {"VCHKEYS1", "custody", ".keys", false},
    [CF_SUBJECTS] = {"VCHSUBJ1", "custody", ".subjects", false},
};

const char *cf_folder(cf_kind_t kind) { return kinds[kind].folder; }

vch_rc cf_name(char ret[VCH_PATH_MAX], const char *dataset_hex, cf_kind_t kind, uint32_t number)
{
    return vch_path(ret, "%s/%s/%06u%s", kinds[kind].folder, dataset_hex, number, kinds[kind].suffix);
}

bool cf_parse_name(const char *name, cf_kind_t *ret_kind, uint32_t *ret_number)
{
    uint64_t number = 0;
    size_t digits = 0;
    for (; name[digits] >= '0' && name[digits] <= '9' && digits < 10; digits++)
        number = number * 10 + (uint64_t)(name[digits] - '0');
    if (digits < 6 || number > UINT32_MAX) return false;
    for (int k = 0; k < CF_KINDS; k++) {
        if (strcmp(name + digits, kinds[k].suffix) != 0) continue;
        *ret_kind = (cf_kind_t)k;
        *ret_number = (uint32_t)number;
        return true;
    }
    return false;
}

/* ---- writing ---------------------------------------------------------------- */

static vch_rc write_failed(const cwriter_t *w, vch_rc rc, vch_err_t *err)
{
    return vch_fail(err, rc, "cannot write %s: %s", w->path, vch_rc_text(rc));
}

static vch_rc cw_flush(cwriter_t *w, vch_err_t *err)
{
    if (w->out.n == 0) return VCH_OK;
    vch_rc rc = w->port->disk->write(w->port, w->file, w->out.p, w->out.n, w->at);
    if (rc != VCH_OK) return write_failed(w, rc, err);
    w->at += w->out.n;
    vch_buf_clear(&w->out);
    return VCH_OK;
}

vch_rc cw_open(cwriter_t *ret, vch_ledger_t *l, const char *dataset_hex, cf_kind_t kind, uint32_t number,
               const vch_hash_t *id, uint32_t width, vch_err_t *err)
{
    cwriter_t w = {.port = l->port, .kind = kind, .id = *id, .number = number, .width = width, .at = CF_HEADER};
    char name[VCH_PATH_MAX];
    VCH_TRY(cf_name(name, dataset_hex, kind, number));
    VCH_TRY(vch_ledger_path(l, w.path, "%s", name));
    vch_buf_init(&w.out, OUT_MAX + CF_RECORD_MAX);
    vch_buf_init(&w.offsets, (size_t)8 << 32);
    VCH_TRY(vch_file_open(l->port, &w.file, w.path, VCH_OPEN_CREATE, err));
    vch_rc rc = l->port->disk->truncate(l->port, w.file, 0);
    *ret = w;
    if (rc == VCH_OK) return VCH_OK;
    write_failed(ret, rc, err);
    cw_abort(ret);
    return rc;
}

/* Where the record being put will begin is known before it is buffered. */
static vch_rc put_offset(cwriter_t *w)
{
    uint8_t b[8];
    vch_put_u64(b, w->at + w->out.n);
    return vch_buf_put(&w->offsets, b, sizeof b);
}

static vch_rc put_record(cwriter_t *w, vch_slice_t record)
{
    uint8_t *to;
    size_t head = kinds[w->kind].fixed ? 0 : 4;
    if (head) VCH_TRY(put_offset(w));
    VCH_TRY(vch_buf_extend(&w->out, head + record.n + 4, &to));
    if (head) vch_put_u32(to, (uint32_t)record.n);
    memcpy(to + head, record.p, record.n);
    vch_put_u32(to + head + record.n, vch_crc32c(0, to, head + record.n));
    w->count++;
    return VCH_OK;
}

vch_rc cw_put(cwriter_t *w, vch_slice_t record, vch_err_t *err)
{
    if (record.n == 0 || record.n > CF_RECORD_MAX - 8 || (kinds[w->kind].fixed && record.n != w->width))
        return vch_fail(err, VCH_ERR_LIMIT, "a record of %zu bytes does not fit into %s", record.n, w->path);
    vch_rc rc = put_record(w, record);
    if (rc != VCH_OK) return write_failed(w, rc, err);
    return w->out.n >= OUT_MAX ? cw_flush(w, err) : VCH_OK;
}

static void put_header(const cwriter_t *w, uint64_t table, uint8_t h[CF_HEADER])
{
    memcpy(h, kinds[w->kind].magic, 8);
    memcpy(h + 8, w->id.b, 32);
    vch_put_u32(h + 40, w->number);
    vch_put_u32(h + 44, w->count);
    vch_put_u32(h + 48, w->width);
    vch_put_u64(h + 52, table);
    vch_put_u32(h + 60, vch_crc32c(0, h, 60));
}

static vch_rc write_ends(cwriter_t *w, vch_err_t *err)
{
    uint8_t header[CF_HEADER], crc[4];
    uint64_t table = w->at;
    vch_port_t *port = w->port;
    vch_rc rc = VCH_OK;
    if (!kinds[w->kind].fixed) {
        vch_put_u32(crc, vch_crc32c(0, w->offsets.p, w->offsets.n));
        if (w->offsets.n) rc = port->disk->write(port, w->file, w->offsets.p, w->offsets.n, table);
        if (rc == VCH_OK) rc = port->disk->write(port, w->file, crc, 4, table + w->offsets.n);
    }
    put_header(w, table, header);
    if (rc == VCH_OK) rc = port->disk->write(port, w->file, header, sizeof header, 0);
    if (rc == VCH_OK) rc = port->disk->sync(port, w->file);
    return rc == VCH_OK ? rc : write_failed(w, rc, err);
}

static void cw_release(cwriter_t *w)
{
    vch_file_close(w->port, w->file);
    vch_buf_free(&w->out);
    vch_buf_free(&w->offsets);
    w->file = NULL;
}

vch_rc cw_finish(cwriter_t *w, vch_err_t *err)
{
    VCH_TRY(cw_flush(w, err));
    VCH_TRY(write_ends(w, err));
    cw_release(w);
    return VCH_OK;
}

/* Removing is best effort: the caller reports its own failure, and the next
 * ingest removes what is left over. */
void cw_abort(cwriter_t *w)
{
    if (!w->file) return;
    cw_release(w);
    (void)w->port->disk->remove(w->port, w->path);
}

/* ---- reading ----------------------------------------------------------------- */

static vch_rc damaged(const cfile_t *f, uint64_t byte, uint64_t *ret_byte, vch_err_t *err, const char *what)
{
    if (ret_byte) *ret_byte = byte;
    return vch_fail(err, VCH_ERR_CORRUPT, "%s, byte %llu: %s", f->name, (unsigned long long)byte, what);
}

static vch_rc window_grow(window_t *w, size_t n)
{
    if (n <= w->cap) return VCH_OK;
    uint8_t *p = vch_resize(w->p, n);
    if (!p) return VCH_ERR_MEMORY;
    w->p = p;
    w->cap = n;
    return VCH_OK;
}

/* n bytes at `at`, which lie before `end`; reads ahead. */
static vch_rc window_read(cfile_t *f, window_t *w, uint64_t at, size_t n, uint64_t end, const uint8_t **ret,
                          vch_err_t *err)
{
    if (at < w->at || at + n > w->at + w->n) {
        size_t ahead = n > WINDOW ? n : WINDOW;
        if (ahead > end - at) ahead = (size_t)(end - at);
        if (window_grow(w, ahead) != VCH_OK) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
        w->n = 0;
        vch_rc rc = vch_file_read(f->port, f->file, w->p, ahead, at, err);
        if (rc != VCH_OK) return vch_context(err, rc, "%s", f->name);
        w->at = at;
        w->n = ahead;
    }
    *ret = w->p + (at - w->at);
    return VCH_OK;
}

static vch_rc read_header(cfile_t *f, uint64_t *ret_byte, vch_err_t *err)
{
    uint8_t h[CF_HEADER];
    if (f->size < CF_HEADER) return damaged(f, f->size, ret_byte, err, "the file ends inside its header");
    VCH_TRY(vch_file_read(f->port, f->file, h, sizeof h, 0, err));
    if (memcmp(h, kinds[f->kind].magic, 8) != 0) return damaged(f, 0, ret_byte, err, "not a file of its kind");
    if (vch_get_u32(h + 60) != vch_crc32c(0, h, 60)) return damaged(f, 0, ret_byte, err, "the header is damaged");
    if (vch_get_u32(h + 40) != f->number) return damaged(f, 40, ret_byte, err, "the file is another one's");
    memcpy(f->id.b, h + 8, 32);
    f->count = vch_get_u32(h + 44);
    f->width = vch_get_u32(h + 48);
    f->table = vch_get_u64(h + 52);
    return VCH_OK;
}

/* The header's sizes are bounded first: none of the sums below wraps around. */
static vch_rc check_size(cfile_t *f, uint64_t *ret_byte, vch_err_t *err)
{
    bool fixed = kinds[f->kind].fixed;
    uint64_t end = CF_HEADER + (uint64_t)f->count * ((uint64_t)f->width + 4);
    if (fixed && f->count && (f->width == 0 || f->width > CF_RECORD_MAX - 8))
        return damaged(f, 48, ret_byte, err, "no record has this width");
    if (f->table < CF_HEADER || (fixed && f->table != end))
        return damaged(f, 52, ret_byte, err, "the records don't end where the header says");
    if (f->table > f->size) return damaged(f, f->size, ret_byte, err, "the file ends early");
    uint64_t want = fixed ? end : f->table + (uint64_t)f->count * 8 + 4;
    if (f->size < want) return damaged(f, f->size, ret_byte, err, "the file ends early");
    if (f->size > want) return damaged(f, want, ret_byte, err, "there are bytes behind the file's end");
    return VCH_OK;
}

/* The table's checksum, and that its offsets ascend inside the records' part. */
static vch_rc check_table(cfile_t *f, uint64_t *ret_byte, vch_err_t *err)
{
    if (kinds[f->kind].fixed) return VCH_OK;
    const uint8_t *p = NULL;
    uint64_t end = f->table + (uint64_t)f->count * 8, before = CF_HEADER;
    uint32_t crc = 0;
    for (uint64_t at = f->table; at < end; at += 8) {
        VCH_TRY(window_read(f, &f->offsets, at, 8, end, &p, err));
        crc = vch_crc32c(crc, p, 8);
        uint64_t offset = vch_get_u64(p);
        if (offset > f->table || (at == f->table ? offset != CF_HEADER : offset < before + 9))
            return damaged(f, at, ret_byte, err, "the table of records is damaged");
        before = offset;
    }
    uint8_t stored[4];
    VCH_TRY(vch_file_read(f->port, f->file, stored, 4, end, err));
    if (vch_get_u32(stored) != crc) return damaged(f, f->table, ret_byte, err, "the table of records is damaged");
    if (f->count ? f->table < before + 9 : f->table != CF_HEADER)
        return damaged(f, f->table, ret_byte, err, "the table of records is damaged");
    return VCH_OK;
}

static vch_rc open_checked(cfile_t *f, uint64_t *ret_byte, vch_err_t *err)
{
    vch_rc rc = f->port->disk->size(f->port, f->file, &f->size);
    if (rc != VCH_OK) return vch_fail(err, rc, "cannot read %s: %s", f->name, vch_rc_text(rc));
    VCH_TRY(read_header(f, ret_byte, err));
    VCH_TRY(check_size(f, ret_byte, err));
    return check_table(f, ret_byte, err);
}

vch_rc cf_open(cfile_t *ret, vch_ledger_t *l, const char *dataset_hex, cf_kind_t kind, uint32_t number,
               uint64_t *ret_byte, vch_err_t *err)
{
    cfile_t f = {.port = l->port, .kind = kind, .number = number};
    char path[VCH_PATH_MAX];
    VCH_TRY(cf_name(f.name, dataset_hex, kind, number));
    VCH_TRY(vch_ledger_path(l, path, "%s", f.name));
    VCH_TRY(vch_file_open(l->port, &f.file, path, VCH_OPEN_READ, err));
    vch_rc rc = open_checked(&f, ret_byte, err);
    if (rc == VCH_OK)
        *ret = f;
    else
        cf_close(&f);
    return rc;
}

void cf_close(cfile_t *f)
{
    if (!f->file) return;
    vch_file_close(f->port, f->file);
    if (f->records.p && f->kind == CF_SALTS) vch_wipe(f->records.p, f->records.cap);
    vch_free(f->records.p);
    vch_free(f->offsets.p);
    *f = (cfile_t){0};
}

static vch_rc record_place(cfile_t *f, uint32_t i, uint64_t *ret_at, size_t *ret_n, vch_err_t *err)
{
    const uint8_t *p = NULL;
    uint64_t table_end = f->table + (uint64_t)f->count * 8, next = f->table;
    VCH_TRY(window_read(f, &f->offsets, f->table + 8 * (uint64_t)i, 8, table_end, &p, err));
    uint64_t at = vch_get_u64(p);
    if (i + 1 < f->count) {
        VCH_TRY(window_read(f, &f->offsets, f->table + 8 * (uint64_t)i + 8, 8, table_end, &p, err));
        next = vch_get_u64(p);
    }
    if (next < at + 9 || next > f->table || next - at > CF_RECORD_MAX) /* changed since it was opened */
        return vch_fail(err, VCH_ERR_CORRUPT, "%s: the table of records is damaged", f->name);
    *ret_at = at;
    *ret_n = (size_t)(next - at);
    return VCH_OK;
}

vch_rc cf_get(cfile_t *f, uint32_t i, vch_slice_t *ret, uint64_t *ret_byte, bool *unchecked, vch_err_t *err)
{
    bool fixed = kinds[f->kind].fixed;
    uint64_t at = CF_HEADER + (uint64_t)i * (f->width + 4);
    size_t n = f->width + 4, head = fixed ? 0 : 4;
    const uint8_t *p = NULL;
    if (i >= f->count) return vch_fail(err, VCH_ERR_NOT_FOUND, "%s has no record %u", f->name, i);
    if (!fixed) VCH_TRY(record_place(f, i, &at, &n, err));
    VCH_TRY(window_read(f, &f->records, at, n, fixed ? f->size : f->table, &p, err));
    bool good = vch_crc32c(0, p, n - 4) == vch_get_u32(p + n - 4);
    if (head) good = good && vch_get_u32(p) == n - 8;
    if (ret_byte) *ret_byte = at;
    if (unchecked) *unchecked = !good;
    if (!good && !unchecked) return damaged(f, at, ret_byte, err, "a record is damaged");
    *ret = vch_slice(p + head, n - head - 4);
    return VCH_OK;
}
