/* SPDX-License-Identifier: Apache-2.0 */
/* What the custodian forgets of erased subjects: the salts of their rows, the
 * rows' names and the persons.  Records keep their places and lengths, so files
 * are changed in place, each record by itself; one that a cut-off left torn is
 * written again, for what it must become is known. */
#include "node/custody_int.h"
#include "node/erasure.h"

typedef struct {
    vch_ledger_t *l;
    dataset_t ds;
    vch_erasures_t all;
    size_t from, to; /* of this dataset */
    vch_err_t *err;
} forget_t;

/* ---- one record --------------------------------------------------------------------------- */

typedef struct {
    cfile_t file;
    vch_file_t *out; /* the same, to be written; opened when first needed */
    bool fixed;
    vch_buf_t record;
} rewriter_t;

static vch_rc rewriter_open(forget_t *f, rewriter_t *r, cf_kind_t kind, uint32_t number)
{
    *r = (rewriter_t){.fixed = kind == CF_SALTS};
    vch_buf_init(&r->record, CF_RECORD_MAX);
    return cf_open(&r->file, f->l, f->ds.hex, kind, number, NULL, f->err);
}

static vch_rc rewriter_close(forget_t *f, rewriter_t *r)
{
    vch_rc rc = r->out ? f->l->port->disk->sync(f->l->port, r->out) : VCH_OK;
    if (rc != VCH_OK) vch_fail(f->err, rc, "%s can't be written: %s", r->file.name, vch_rc_text(rc));
    vch_file_close(f->l->port, r->out);
    cf_close(&r->file);
    vch_buf_free(&r->record);
    return rc;
}

static vch_rc write_record(forget_t *f, rewriter_t *r, uint64_t at)
{
    char path[VCH_PATH_MAX];
    vch_port_t *port = f->l->port;
    VCH_TRY(vch_ledger_path(f->l, path, "%s", r->file.name));
    if (!r->out) VCH_TRY(vch_file_open(port, &r->out, path, VCH_OPEN_WRITE, f->err));
    vch_rc rc = port->disk->write(port, r->out, r->record.p, r->record.n, at);
    return rc == VCH_OK ? rc : vch_fail(f->err, rc, "%s can't be written: %s", r->file.name, vch_rc_text(rc));
}

/* The record's bytes from `keep` on become zeros. */
static vch_rc zero_record(forget_t *f, rewriter_t *r, uint32_t i, size_t keep)
{
    vch_slice_t old;
    uint64_t at;
    bool torn, zero = true;
    uint8_t *to, crc[4];
    VCH_TRY(cf_get(&r->file, i, &old, &at, &torn, f->err));
    for (size_t k = keep; k < old.n; k++) zero = zero && old.p[k] == 0;
    if (zero && !torn) return VCH_OK;
    if (old.n < keep) return vch_fail(f->err, VCH_ERR_CORRUPT, "%s: a record is too short", r->file.name);
    size_t head = r->fixed ? 0 : 4;
    vch_buf_clear(&r->record);
    vch_rc rc = vch_buf_extend(&r->record, head + old.n, &to);
    if (rc != VCH_OK) return vch_fail(f->err, rc, "out of memory");
    if (head) vch_put_u32(to, (uint32_t)old.n);
    memcpy(to + head, old.p, keep);
    memset(to + head + keep, 0, old.n - keep);
    vch_put_u32(crc, vch_crc32c(0, to, head + old.n));
    rc = vch_buf_put(&r->record, crc, 4);
    return rc == VCH_OK ? write_record(f, r, at) : vch_fail(f->err, rc, "out of memory");
}

/* ---- rows: salts and names ------------------------------------------------------------------- */

static vch_rc forget_rows(forget_t *f, uint32_t number, cf_kind_t kind, size_t keep, const vch_subjects_t *s)
{
    rewriter_t r;
    VCH_TRY(rewriter_open(f, &r, kind, number));
    vch_rc rc = VCH_OK;
    for (size_t i = f->from; rc == VCH_OK && i < f->to; i++) {
        if (number >= f->all.one[i].extents) continue;
        for (uint32_t row = 0; rc == VCH_OK && vch_subjects_next(s, f->all.one[i].subject, &row); row++)
            rc = zero_record(f, &r, row, keep);
    }
    vch_rc closed = rewriter_close(f, &r);
    return rc == VCH_OK ? closed : rc;
}

static vch_rc forget_extent(forget_t *f, uint32_t number)
{
    vch_subjects_t s;
    VCH_TRY(vch_ledger_read_begin(f->l, f->err));
    vch_rc rc = vch_subjects_load(&s, f->l, &f->ds.id, number, f->err);
    vch_ledger_read_end(f->l);
    VCH_TRY(rc);
    rc = forget_rows(f, number, CF_SALTS, 0, &s);
    if (rc == VCH_OK) rc = forget_rows(f, number, CF_KEYS, 4, &s);
    vch_subjects_free(&s);
    return rc;
}

/* ---- persons -------------------------------------------------------------------------------------- */

static vch_rc forget_range(forget_t *f, uint32_t first, uint32_t *ret_count)
{
    rewriter_t r;
    VCH_TRY(rewriter_open(f, &r, CF_SUBJECTS, first));
    vch_rc rc = VCH_OK;
    *ret_count = r.file.count;
    for (size_t i = f->from; rc == VCH_OK && i < f->to; i++) {
        uint32_t subject = f->all.one[i].subject;
        if (subject >= first && subject - first < r.file.count) rc = zero_record(f, &r, subject - first, 32);
    }
    vch_rc closed = rewriter_close(f, &r);
    return rc == VCH_OK ? closed : rc;
}

static vch_rc forget_all(forget_t *f)
{
    for (uint32_t number = 0; number < f->ds.head.extents; number++) VCH_TRY(forget_extent(f, number));
    for (uint32_t first = 0, count; first < f->ds.head.subjects; first += count) {
        VCH_TRY(forget_range(f, first, &count));
        if (count == 0) return vch_fail(f->err, VCH_ERR_CORRUPT, "a list of subjects is empty");
    }
    return VCH_OK;
}

vch_rc vch_custody_forget(vch_ledger_t *l, const vch_id_t *dataset, vch_err_t *err)
{
    forget_t f = {.l = l, .err = err};
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_erasures_load(&f.all, l, err);
    vch_ledger_read_end(l);
    VCH_TRY(rc);
    while (f.from < f.all.n && !vch_id_eq(&f.all.one[f.from].dataset, dataset)) f.from++;
    for (f.to = f.from; f.to < f.all.n && vch_id_eq(&f.all.one[f.to].dataset, dataset);) f.to++;
    if (f.from < f.to) {
        rc = dataset_open_id(&f.ds, l, dataset, err);
        if (rc == VCH_OK) {
            rc = forget_all(&f);
            dataset_close(&f.ds);
        }
    }
    vch_erasures_free(&f.all);
    return rc;
}
