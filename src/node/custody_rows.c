/* SPDX-License-Identifier: Apache-2.0 */
/* Reading rows, and making a row from a CSV record. */
#include <stdio.h>

#include "codec/cbor.h"
#include "crypto/sha256.h"
#include "merkle/tree.h"
#include "node/custody_int.h"

/* ---- from a CSV record ------------------------------------------------------------- */

void csv_row_init(csv_row_t *r)
{
    *r = (csv_row_t){0};
    vch_buf_init(&r->bytes, CF_RECORD_MAX);
}

void csv_row_free(csv_row_t *r) { vch_buf_free(&r->bytes); }

static vch_rc cell_count(const mapping_t *m, const csv_file_t *f, vch_err_t *err)
{
    size_t n = f->csv.count;
    unsigned long long line = f->csv.line;
    if (n == m->cells) return VCH_OK;
    if (n > m->cells)
        return vch_fail(err, VCH_ERR_FORMAT, "%s line %llu: %zu cells for %zu columns", f->path, line, n, m->cells);
    vch_slice_t first = m->name[n], last = m->name[m->cells - 1];
    if (n + 1 == m->cells)
        return vch_fail(err, VCH_ERR_FORMAT, "%s line %llu: %zu cells for %zu columns: \"%.*s\" is missing", f->path,
                        line, n, m->cells, (int)first.n, (const char *)first.p);
    return vch_fail(err, VCH_ERR_FORMAT, "%s line %llu: %zu cells for %zu columns: \"%.*s\" to \"%.*s\" are missing",
                    f->path, line, n, m->cells, (int)first.n, (const char *)first.p, (int)last.n, (const char *)last.p);
}

/* Canonical bytes of a group: CBOR array of its cells in schema order. */
static vch_rc put_groups(csv_row_t *r, const mapping_t *m, const csv_file_t *f)
{
    size_t end[VCH_GROUPS_MAX];
    vch_buf_clear(&r->bytes);
    for (size_t g = 0; g < m->groups; g++) {
        VCH_TRY(vch_cbor_array(&r->bytes, m->n[g]));
        for (size_t i = 0; i < m->n[g]; i++) {
            vch_slice_t cell = vch_csv_cell(&f->csv, m->cell[g][i]);
            VCH_TRY(vch_cbor_text(&r->bytes, cell.n ? (const char *)cell.p : "", cell.n));
        }
        end[g] = r->bytes.n;
    }
    for (size_t g = 0; g < m->groups; g++) {
        size_t start = g ? end[g - 1] : 0;
        r->canonical[g] = vch_slice(r->bytes.p + start, end[g] - start);
    }
    return VCH_OK;
}

static vch_rc name_fits(const csv_file_t *f, vch_slice_t name, const char *what, vch_err_t *err)
{
    if (name.n >= 1 && name.n <= VCH_ROW_NAME_MAX) return VCH_OK;
    return vch_fail(err, VCH_ERR_FORMAT, "%s line %llu: the %s %s", f->path, (unsigned long long)f->csv.line, what,
                    name.n ? "is too long" : "is empty");
}

vch_rc csv_row_read(csv_row_t *r, const mapping_t *m, const csv_file_t *f, uint64_t number, vch_err_t *err)
{
    VCH_TRY(cell_count(m, f, err));
    vch_rc rc = put_groups(r, m, f);
    if (rc != VCH_OK)
        return vch_fail(err, rc, "%s line %llu: the row can't be kept: %s", f->path, (unsigned long long)f->csv.line,
                        vch_rc_text(rc));
    snprintf(r->number, sizeof r->number, "%llu", (unsigned long long)number);
    if (m->has_key)
        r->key = vch_csv_cell(&f->csv, m->key);
    else if (m->has_subject)
        r->key = vch_csv_cell(&f->csv, m->subject);
    else
        r->key = vch_str(r->number);
    r->person = m->has_subject ? vch_csv_cell(&f->csv, m->subject) : r->key;
    VCH_TRY(name_fits(f, r->key, "row's key", err));
    return name_fits(f, r->person, "row's subject", err);
}

/* ---- opening an extent --------------------------------------------------------------- */

static vch_rc fits_extent(const vch_rows_t *r, const cfile_t *f, uint32_t width, vch_err_t *err)
{
    if (vch_hash_eq(&f->id, &r->extent.id) && f->count == r->extent.count && f->width == width) return VCH_OK;
    return vch_fail(err, VCH_ERR_CORRUPT, "%s belongs to another extent than the ledger's", f->name);
}

/* The stored commitments against the ledger: what lets everything else be
 * checked row by row. */
static vch_rc commitments_fit(vch_rows_t *r, vch_err_t *err)
{
    vch_edge_t edge;
    vch_hash_t leaf, root;
    vch_slice_t data;
    vch_edge_init(&edge);
    for (uint32_t i = 0; i < r->extent.count; i++) {
        VCH_TRY(cf_get(&r->commitments, i, &data, NULL, NULL, err));
        vch_tree_leaf(&leaf, data);
        vch_edge_add(&edge, &leaf, 1);
    }
    vch_edge_root(&edge, &root);
    if (vch_hash_eq(&root, &r->extent.rows_root)) return VCH_OK;
    return vch_fail(err, VCH_ERR_COMMITMENT, "%s: the commitments are not those on the ledger", r->commitments.name);
}

static vch_rc open_files(vch_rows_t *r, vch_ledger_t *l, vch_err_t *err)
{
    uint32_t groups = (uint32_t)r->ds->groups;
    const char *hex = r->ds->hex;
    VCH_TRY(cf_open(&r->commitments, l, hex, CF_COMMITMENTS, r->number, NULL, err));
    VCH_TRY(fits_extent(r, &r->commitments, groups * 32, err));
    if (!r->in_vault) {
        VCH_TRY(cf_open(&r->rows, l, hex, CF_ROWS, r->number, NULL, err));
        VCH_TRY(fits_extent(r, &r->rows, groups, err));
    }
    VCH_TRY(cf_open(&r->salts, l, hex, CF_SALTS, r->number, NULL, err));
    VCH_TRY(fits_extent(r, &r->salts, groups * VCH_ROW_SALT_LEN, err));
    VCH_TRY(cf_open(&r->keys, l, hex, CF_KEYS, r->number, NULL, err));
    VCH_TRY(fits_extent(r, &r->keys, 0, err));
    return commitments_fit(r, err);
}

vch_rc rows_open_in(vch_rows_t **ret, vch_ledger_t *l, dataset_t *ds, uint32_t extent, vch_err_t *err)
{
    if (extent >= ds->head.extents) return vch_fail(err, VCH_ERR_NOT_FOUND, "the dataset has no extent %u", extent);
    vch_rows_t *r = vch_alloc(sizeof *r);
    if (!r) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    r->ds = ds;
    r->number = extent;
    r->extent = ds->extent[extent];
    r->in_vault = ds->in_vault[extent];
    vch_rc rc = open_files(r, l, err);
    if (rc == VCH_OK)
        *ret = r;
    else
        vch_rows_close(r);
    return rc;
}

vch_rc vch_rows_open(vch_rows_t **ret, vch_ledger_t *l, const vch_id_t *dataset, uint32_t extent, vch_err_t *err)
{
    vch_rows_t *r;
    dataset_t *ds = vch_alloc(sizeof *ds);
    if (!ds) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = dataset_open_id(ds, l, dataset, err);
    if (rc == VCH_OK) {
        rc = rows_open_in(&r, l, ds, extent, err);
        if (rc == VCH_OK) {
            r->own_ds = true;
            *ret = r;
            return VCH_OK;
        }
        dataset_close(ds);
    }
    vch_free(ds);
    return rc;
}

void vch_rows_close(vch_rows_t *r)
{
    if (!r) return;
    cf_close(&r->rows);
    cf_close(&r->salts);
    cf_close(&r->commitments);
    cf_close(&r->keys);
    if (r->own_ds) {
        dataset_close(r->ds);
        vch_free(r->ds);
    }
    vch_free(r);
}

bool vch_rows_in_vault(const vch_rows_t *r) { return r->in_vault; }
uint32_t vch_rows_count(const vch_rows_t *r) { return r->extent.count; }
uint32_t vch_rows_groups(const vch_rows_t *r) { return (uint32_t)r->ds->groups; }

/* ---- one row --------------------------------------------------------------------------- */

static vch_rc keys_record(vch_rows_t *r, uint32_t row, vch_slice_t *ret, vch_err_t *err)
{
    VCH_TRY(cf_get(&r->keys, row, ret, NULL, NULL, err));
    if (ret->n >= 5 && ret->n <= 4 + VCH_ROW_NAME_MAX) return VCH_OK;
    return vch_fail(err, VCH_ERR_CORRUPT, "%s: the record of row %u is damaged", r->keys.name, row);
}

vch_rc vch_rows_name(vch_rows_t *r, uint32_t row, vch_slice_t *ret, vch_err_t *err)
{
    vch_slice_t record;
    VCH_TRY(keys_record(r, row, &record, err));
    *ret = vch_slice(record.p + 4, record.n - 4);
    return VCH_OK;
}

vch_rc vch_rows_subject(vch_rows_t *r, uint32_t row, uint32_t *ret, vch_err_t *err)
{
    vch_slice_t record;
    VCH_TRY(keys_record(r, row, &record, err));
    *ret = vch_get_u32(record.p);
    return VCH_OK;
}

vch_rc rows_secrets(vch_rows_t *r, uint32_t row, vch_slice_t *ret_salts, vch_slice_t *ret_commitments, vch_err_t *err)
{
    VCH_TRY(cf_get(&r->salts, row, ret_salts, NULL, NULL, err));
    return cf_get(&r->commitments, row, ret_commitments, NULL, NULL, err);
}

/* "data/…/000000.rows, byte 4711: row 17 (patient-9), group "label": why" */
static vch_rc changed_row(vch_rows_t *r, const cfile_t *f, uint64_t byte, uint32_t row, size_t group, vch_err_t *err,
                          const char *why)
{
    vch_slice_t name = vch_str("?"), in = vch_str("?");
    if (vch_rows_name(r, row, &name, NULL) != VCH_OK) name = vch_str("its name is damaged too");
    if (group < r->ds->groups) in = r->ds->group[group];
    r->bad_file = f->name;
    r->bad_byte = byte;
    if (group >= r->ds->groups)
        return vch_fail(err, VCH_ERR_COMMITMENT, "%s, byte %llu: row %u (%.*s): %s", f->name, (unsigned long long)byte,
                        row, (int)vch_min(name.n, 100), (const char *)name.p, why);
    return vch_fail(err, VCH_ERR_COMMITMENT, "%s, byte %llu: row %u (%.*s), group \"%.*s\": %s", f->name,
                    (unsigned long long)byte, row, (int)vch_min(name.n, 100), (const char *)name.p, (int)in.n,
                    (const char *)in.p, why);
}

static bool split_groups(vch_slice_t record, size_t groups, vch_row_t *ret)
{
    size_t at = 0;
    for (size_t g = 0; g < groups; g++) {
        if (record.n - at < 4) return false;
        size_t n = vch_get_u32(record.p + at);
        at += 4;
        if (record.n - at < n) return false;
        ret->canonical[g] = vch_slice(record.p + at, n);
        at += n;
    }
    return at == record.n;
}

vch_rc vch_rows_get(vch_rows_t *r, uint32_t row, vch_row_t *ret, vch_err_t *err)
{
    vch_row_t out = {.groups = r->ds->groups};
    vch_slice_t record, salts, commitments;
    uint64_t at, salt_at;
    bool bad_record, bad_salt;
    if (r->in_vault)
        return vch_fail(err, VCH_ERR_UNSUPPORTED, "extent %u is in the vault: its rows are not kept here", r->number);
    VCH_TRY(cf_get(&r->rows, row, &record, &at, &bad_record, err));
    VCH_TRY(cf_get(&r->salts, row, &salts, &salt_at, &bad_salt, err));
    VCH_TRY(cf_get(&r->commitments, row, &commitments, NULL, NULL, err));
    if (!split_groups(record, out.groups, &out))
        return changed_row(r, &r->rows, at, row, SIZE_MAX, err, "the row's record is damaged");
    for (size_t g = 0; g < out.groups; g++) {
        out.salt[g] = salts.p + g * VCH_ROW_SALT_LEN;
        vch_row_commitment(&out.commitment[g], out.salt[g], out.canonical[g]);
        if (memcmp(out.commitment[g].b, commitments.p + 32 * g, 32) == 0) continue;
        if (bad_salt) return changed_row(r, &r->salts, salt_at, row, g, err, "the salt was changed");
        return changed_row(r, &r->rows, (uint64_t)(out.canonical[g].p - record.p) + at + 4, row, g, err,
                           "the row does not match its commitment");
    }
    if (bad_record) return changed_row(r, &r->rows, at, row, SIZE_MAX, err, "the row's checksum is wrong");
    if (bad_salt) return changed_row(r, &r->salts, salt_at, row, SIZE_MAX, err, "the salts' checksum is wrong");
    *ret = out;
    return VCH_OK;
}

/* ---- look-ups -------------------------------------------------------------------------- */

static vch_rc copy_commitments(vch_rows_t *r, vch_hash_t **ret, vch_err_t *err)
{
    size_t groups = r->ds->groups;
    vch_hash_t *all = vch_alloc_array((size_t)r->extent.count * groups, sizeof *all);
    if (!all) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; i < r->extent.count; i++) {
        vch_slice_t data;
        vch_rc rc = cf_get(&r->commitments, i, &data, NULL, NULL, err);
        if (rc != VCH_OK) {
            vch_free(all);
            return rc;
        }
        memcpy(all + (size_t)i * groups, data.p, data.n);
    }
    *ret = all;
    return VCH_OK;
}

vch_rc vch_rows_commitments(vch_ledger_t *l, const vch_id_t *dataset, uint32_t extent, vch_hash_t **ret,
                            uint32_t *ret_rows, uint32_t *ret_groups, vch_err_t *err)
{
    vch_rows_t *r;
    VCH_TRY(vch_rows_open(&r, l, dataset, extent, err));
    vch_rc rc = copy_commitments(r, ret, err);
    if (rc == VCH_OK) {
        *ret_rows = r->extent.count;
        *ret_groups = (uint32_t)r->ds->groups;
    }
    vch_rows_close(r);
    return rc;
}

vch_rc vch_row_name(vch_ledger_t *l, const vch_id_t *dataset, uint32_t extent, uint32_t row,
                    char ret[VCH_ROW_NAME_MAX + 1], vch_err_t *err)
{
    char hex[65];
    cfile_t f;
    vch_slice_t record;
    vch_hex(hex, dataset->b, 32);
    VCH_TRY(cf_open(&f, l, hex, CF_KEYS, extent, NULL, err));
    vch_rc rc = cf_get(&f, row, &record, NULL, NULL, err);
    if (rc == VCH_OK && (record.n < 5 || record.n > 4 + VCH_ROW_NAME_MAX))
        rc = vch_fail(err, VCH_ERR_CORRUPT, "%s: the record of row %u is damaged", f.name, row);
    if (rc == VCH_OK) {
        memcpy(ret, record.p + 4, record.n - 4);
        ret[record.n - 4] = 0;
    }
    cf_close(&f);
    return rc;
}

static vch_rc listed_subject(vch_ledger_t *l, const vch_extent_value_t *e, uint32_t row, uint32_t *ret, vch_err_t *err)
{
    vch_buf_t list;
    vch_buf_init(&list, 4u * VCH_EXTENT_ROWS_MAX);
    vch_rc rc = vch_state_subjects(l->state, &e->id, &list, err);
    if (rc == VCH_OK && list.n / 4 <= row) rc = vch_fail(err, VCH_ERR_CORRUPT, "row %u has no subject", row);
    if (rc == VCH_OK) memcpy(ret, list.p + 4 * (size_t)row, 4);
    vch_buf_free(&list);
    return rc;
}

static vch_rc row_subject(vch_ledger_t *l, const vch_id_t *dataset, uint32_t extent, uint32_t row, uint32_t *ret,
                          vch_err_t *err)
{
    vch_state_key_t key = vch_key_id_u32('e', dataset->b, extent);
    vch_extent_value_t e = {0};
    vch_buf_t value;
    vch_rc rc = state_value(l, &key, &value, err);
    if (rc == VCH_OK) rc = vch_extent_get(&e, vch_buf_slice(&value));
    vch_buf_free(&value);
    if (rc != VCH_OK) return vch_fail(err, rc, "the dataset has no extent %u", extent);
    if (row >= e.count) return vch_fail(err, VCH_ERR_NOT_FOUND, "extent %u has no row %u", extent, row);
    if (!e.contiguous) return listed_subject(l, &e, row, ret, err);
    *ret = e.first + row;
    return VCH_OK;
}

vch_rc vch_row_subject(vch_ledger_t *l, const vch_id_t *dataset, uint32_t extent, uint32_t row, uint32_t *ret,
                       vch_err_t *err)
{
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = row_subject(l, dataset, extent, row, ret, err);
    vch_ledger_read_end(l);
    return rc;
}

/* ---- all extents ------------------------------------------------------------------------ */

vch_rc readers_open(readers_t *ret, vch_ledger_t *l, dataset_t *ds, vch_err_t *err)
{
    *ret = (readers_t){.l = l, .ds = ds};
    if (ds->head.extents == 0) return VCH_OK;
    ret->reader = vch_alloc_array(ds->head.extents, sizeof *ret->reader);
    return ret->reader ? VCH_OK : vch_fail(err, VCH_ERR_MEMORY, "out of memory");
}

vch_rc readers_at(readers_t *r, uint32_t extent, vch_rows_t **ret, vch_err_t *err)
{
    if (extent >= r->ds->head.extents) return vch_fail(err, VCH_ERR_NOT_FOUND, "the dataset has no extent %u", extent);
    if (!r->reader[extent]) {
        uint32_t *place = &r->open[r->next];
        if (*place) {
            vch_rows_close(r->reader[*place - 1]);
            r->reader[*place - 1] = NULL;
            *place = 0;
        }
        VCH_TRY(rows_open_in(&r->reader[extent], r->l, r->ds, extent, err));
        *place = extent + 1;
        r->next = (r->next + 1) % READERS_OPEN;
    }
    *ret = r->reader[extent];
    return VCH_OK;
}

void readers_close(readers_t *r)
{
    for (uint32_t i = 0; r->reader && i < r->ds->head.extents; i++) vch_rows_close(r->reader[i]);
    vch_free(r->reader);
    *r = (readers_t){0};
}

/* ---- persons ------------------------------------------------------------------------------ */

static vch_rc range_persons(cfile_t *f, person_fn fn, void *ctx, vch_err_t *err)
{
    for (uint32_t i = 0; i < f->count; i++) {
        vch_slice_t record;
        vch_keyid_t key;
        VCH_TRY(cf_get(f, i, &record, NULL, NULL, err));
        if (record.n < 33)
            return vch_fail(err, VCH_ERR_CORRUPT, "%s: the record of subject %u is damaged", f->name, f->number + i);
        memcpy(key.b, record.p, 32);
        if (name_erased(vch_slice(record.p + 32, record.n - 32))) continue;
        VCH_TRY(fn(ctx, f->number + i, vch_slice(record.p + 32, record.n - 32), &key, err));
    }
    return VCH_OK;
}

vch_rc persons_each(vch_ledger_t *l, const dataset_t *ds, person_fn fn, void *ctx, vch_err_t *err)
{
    for (uint32_t first = 0; first < ds->head.subjects;) {
        cfile_t f;
        VCH_TRY(cf_open(&f, l, ds->hex, CF_SUBJECTS, first, NULL, err));
        uint32_t count = f.count;
        vch_rc rc = VCH_OK;
        if (memcmp(f.id.b, ds->id.b, 32) != 0 || count == 0 || count > ds->head.subjects - first)
            rc = vch_fail(err, VCH_ERR_CORRUPT, "%s belongs to other subjects than the ledger's", f.name);
        if (rc == VCH_OK) rc = range_persons(&f, fn, ctx, err);
        cf_close(&f);
        VCH_TRY(rc);
        first += count;
    }
    return VCH_OK;
}

static vch_rc put_person(void *ctx, uint32_t subject, vch_slice_t person, const vch_keyid_t *key, vch_err_t *err)
{
    uint8_t digest[16];
    (void)key;
    table_digest(digest, person);
    vch_rc rc = table_put(ctx, digest, subject);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "out of memory for the names of persons");
}

vch_rc persons_table(vch_ledger_t *l, const dataset_t *ds, table_t *ret, vch_err_t *err)
{
    *ret = (table_t){0};
    vch_rc rc = persons_each(l, ds, put_person, ret, err);
    if (rc != VCH_OK) table_free(ret);
    return rc;
}
