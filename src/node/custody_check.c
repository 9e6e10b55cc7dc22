/* SPDX-License-Identifier: Apache-2.0 */
/* Every file of the custodian, byte for byte. */
#include <stdio.h>

#include "merkle/tree.h"
#include "node/custody_int.h"

typedef struct {
    vch_ledger_t *l;
    vch_finding_fn fn;
    void *ctx;
    uint64_t findings;
    dataset_t ds;
    vch_buf_t ids; /* of all datasets */
} check_t;

static void tell(check_t *c, const char *file, const uint64_t *byte, bool derived, const char *text)
{
    vch_finding_t f = {.file = file, .derived = derived, .text = text, .has_byte = byte != NULL};
    if (byte) f.byte = *byte;
    c->findings += !derived;
    if (c->fn) c->fn(c->ctx, &f);
}

/* Damage becomes a finding; what keeps us from checking stays a failure. */
static vch_rc found(check_t *c, vch_rc rc, const char *file, const uint64_t *byte, const vch_err_t *damage,
                    vch_err_t *err)
{
    bool is_damage = rc == VCH_ERR_CORRUPT || rc == VCH_ERR_COMMITMENT || rc == VCH_ERR_FORMAT;
    if (rc == VCH_ERR_NOT_FOUND) {
        tell(c, file, NULL, false, "the file is missing");
        return VCH_OK;
    }
    if (is_damage) {
        tell(c, file, byte, false, damage->text);
        return VCH_OK;
    }
    if (err) *err = *damage;
    return rc;
}

/* ---- one file by itself ---------------------------------------------------------------- */

/* Header, size, table and every record's checksum; *ret_open when the file can
 * be read at all. */
static vch_rc check_file(check_t *c, cfile_t *f, cf_kind_t kind, uint32_t number, bool *ret_open, vch_err_t *err)
{
    vch_err_t damage = {0};
    uint64_t byte = 0;
    char name[VCH_PATH_MAX];
    *ret_open = false;
    VCH_TRY(cf_name(name, c->ds.hex, kind, number));
    vch_rc rc = cf_open(f, c->l, c->ds.hex, kind, number, &byte, &damage);
    if (rc != VCH_OK) return found(c, rc, name, &byte, &damage, err);
    *ret_open = true;
    if (kind == CF_ROWS || kind == CF_SALTS) return VCH_OK; /* their records are checked row by row */
    for (uint32_t i = 0; i < f->count; i++) {
        vch_slice_t record;
        bool bad;
        char text[160];
        VCH_TRY(cf_get(f, i, &record, &byte, &bad, err));
        if (!bad) continue;
        snprintf(text, sizeof text, "%s %u: the record's checksum is wrong", kind == CF_SUBJECTS ? "subject" : "row",
                 kind == CF_SUBJECTS ? number + i : i);
        tell(c, name, &byte, false, text);
    }
    return VCH_OK;
}

static bool is_extents(check_t *c, const cfile_t *f, const vch_extent_value_t *e, uint32_t width)
{
    uint64_t byte = 8;
    if (vch_hash_eq(&f->id, &e->id) && f->count == e->count && f->width == width) return true;
    tell(c, f->name, &byte, false, "the file belongs to another extent than the ledger's");
    return false;
}

/* ---- an extent ----------------------------------------------------------------------------- */

static vch_rc check_root(check_t *c, cfile_t *f, const vch_extent_value_t *e, vch_err_t *err)
{
    vch_edge_t edge;
    vch_hash_t leaf, root;
    vch_edge_init(&edge);
    for (uint32_t i = 0; i < f->count; i++) {
        vch_slice_t data;
        bool bad;
        VCH_TRY(cf_get(f, i, &data, NULL, &bad, err));
        vch_tree_leaf(&leaf, data);
        vch_edge_add(&edge, &leaf, 1);
    }
    vch_edge_root(&edge, &root);
    if (!vch_hash_eq(&root, &e->rows_root))
        tell(c, f->name, NULL, false, "the commitments are not those on the ledger");
    return VCH_OK;
}

static vch_rc check_rows(check_t *c, vch_rows_t *r, vch_err_t *err)
{
    for (uint32_t i = 0; i < r->extent.count; i++) {
        vch_row_t row;
        vch_err_t damage = {0};
        r->bad_file = r->rows.name;
        r->bad_byte = 0;
        vch_rc rc = vch_rows_get(r, i, &row, &damage);
        if (rc == VCH_ERR_CORRUPT) continue; /* the commitments' own record: told already */
        if (rc != VCH_OK) VCH_TRY(found(c, rc, r->bad_file, &r->bad_byte, &damage, err));
    }
    return VCH_OK;
}

static vch_rc subjects_of(check_t *c, const vch_extent_value_t *e, vch_buf_t *ret, vch_err_t *err)
{
    if (e->contiguous) return VCH_OK;
    VCH_TRY(vch_ledger_read_begin(c->l, err));
    vch_rc rc = vch_state_subjects(c->l->state, &e->id, ret, err);
    vch_ledger_read_end(c->l);
    return rc;
}

static vch_rc check_keys(check_t *c, cfile_t *f, const vch_extent_value_t *e, vch_err_t *err)
{
    vch_buf_t list;
    vch_buf_init(&list, 4u * VCH_EXTENT_ROWS_MAX);
    vch_rc rc = subjects_of(c, e, &list, err);
    for (uint32_t i = 0; rc == VCH_OK && i < f->count; i++) {
        vch_slice_t record;
        uint64_t byte;
        bool bad;
        uint32_t subject = e->first + i;
        char text[160];
        rc = cf_get(f, i, &record, &byte, &bad, err);
        if (rc != VCH_OK || bad) continue;
        if (!e->contiguous && 4 * (size_t)i + 4 <= list.n) memcpy(&subject, list.p + 4 * (size_t)i, 4);
        if (record.n >= 5 && vch_get_u32(record.p) == subject) continue;
        snprintf(text, sizeof text, "row %u: the subject is not the ledger's", i);
        tell(c, f->name, &byte, false, text);
    }
    vch_buf_free(&list);
    return rc;
}

static vch_rc check_extent(check_t *c, uint32_t number, vch_err_t *err)
{
    vch_rows_t r = {.ds = &c->ds, .number = number, .extent = c->ds.extent[number], .in_vault = c->ds.in_vault[number]};
    uint32_t groups = (uint32_t)c->ds.groups;
    bool rows = false, salts, commitments, keys;
    vch_rc rc = check_file(c, &r.commitments, CF_COMMITMENTS, number, &commitments, err);
    if (rc == VCH_OK && !r.in_vault) rc = check_file(c, &r.rows, CF_ROWS, number, &rows, err);
    if (rc == VCH_OK) rc = check_file(c, &r.salts, CF_SALTS, number, &salts, err);
    if (rc == VCH_OK) rc = check_file(c, &r.keys, CF_KEYS, number, &keys, err);
    if (rc == VCH_OK) {
        commitments = commitments && is_extents(c, &r.commitments, &r.extent, groups * 32);
        rows = rows && is_extents(c, &r.rows, &r.extent, groups);
        salts = salts && is_extents(c, &r.salts, &r.extent, groups * VCH_ROW_SALT_LEN);
        keys = keys && is_extents(c, &r.keys, &r.extent, 0);
        if (commitments) rc = check_root(c, &r.commitments, &r.extent, err);
        if (rc == VCH_OK && keys) rc = check_keys(c, &r.keys, &r.extent, err);
        if (rc == VCH_OK && commitments && rows && salts) rc = check_rows(c, &r, err);
    }
    cf_close(&r.rows);
    cf_close(&r.salts);
    cf_close(&r.commitments);
    cf_close(&r.keys);
    return rc;
}

/* ---- subjects -------------------------------------------------------------------------------- */

static vch_rc range_value(check_t *c, uint32_t first, vch_range_value_t *ret, vch_err_t *err)
{
    vch_state_key_t key = vch_key_id_u32('s', c->ds.id.b, first);
    vch_buf_t value;
    VCH_TRY(vch_ledger_read_begin(c->l, err));
    vch_rc rc = state_value(c->l, &key, &value, err);
    vch_ledger_read_end(c->l);
    if (rc == VCH_OK) rc = vch_range_get(ret, vch_buf_slice(&value));
    vch_buf_free(&value);
    return rc;
}

static vch_rc check_range_root(check_t *c, cfile_t *f, const vch_range_value_t *range, vch_err_t *err)
{
    vch_edge_t edge;
    vch_hash_t leaf, root;
    vch_edge_init(&edge);
    for (uint32_t i = 0; i < f->count; i++) {
        vch_slice_t record;
        vch_keyid_t key = {{0}};
        bool bad;
        VCH_TRY(cf_get(f, i, &record, NULL, &bad, err));
        if (record.n > 32) memcpy(key.b, record.p, 32);
        vch_subject_leaf(&leaf, f->number + i, &key);
        vch_edge_add(&edge, &leaf, 1);
    }
    vch_edge_root(&edge, &root);
    if (!vch_hash_eq(&root, &range->root))
        tell(c, f->name, NULL, false, "the subjects' keys are not those on the ledger");
    return VCH_OK;
}

static vch_rc check_subjects(check_t *c, vch_err_t *err)
{
    for (uint32_t first = 0; first < c->ds.head.subjects;) {
        cfile_t f = {0};
        bool open;
        uint64_t byte = 8;
        vch_range_value_t range;
        VCH_TRY(range_value(c, first, &range, err));
        vch_rc rc = check_file(c, &f, CF_SUBJECTS, first, &open, err);
        if (rc == VCH_OK && open) {
            if (memcmp(f.id.b, c->ds.id.b, 32) != 0 || f.count != range.count)
                tell(c, f.name, &byte, false, "the file belongs to other subjects than the ledger's");
            else
                rc = check_range_root(c, &f, &range, err);
        }
        cf_close(&f);
        VCH_TRY(rc);
        first += range.count;
    }
    return VCH_OK;
}

/* ---- what else lies there ---------------------------------------------------------------------- */

typedef struct {
    check_t *c;
    const char *folder;
} stray_t;

static vch_rc check_stray(void *ctx, const char *name)
{
    stray_t *s = ctx;
    cf_kind_t kind;
    uint32_t number;
    char path[VCH_PATH_MAX], proper[VCH_PATH_MAX];
    const dataset_t *ds = &s->c->ds;
    VCH_TRY(vch_path(path, "%s/%s/%s", s->folder, ds->hex, name));
    if (strcmp(s->folder, "custody") == 0 && (strcmp(name, "spec.json") == 0 || strcmp(name, "lock") == 0))
        return VCH_OK;
    bool ours = cf_parse_name(name, &kind, &number) && strcmp(cf_folder(kind), s->folder) == 0;
    if (ours) VCH_TRY(cf_name(proper, ds->hex, kind, number));
    if (!ours || strcmp(proper, path) != 0)
        tell(s->c, path, NULL, true, "no file of this ledger");
    else if (number >= (kind == CF_SUBJECTS ? ds->head.subjects : ds->head.extents))
        tell(s->c, path, NULL, true, "left over from an ingest that was cut off; the next one removes it");
    return VCH_OK;
}

static vch_rc check_strays(check_t *c, vch_err_t *err)
{
    static const char *const folder[] = {"data", "custody"};
    for (int i = 0; i < 2; i++) {
        stray_t s = {c, folder[i]};
        char path[VCH_PATH_MAX];
        VCH_TRY(vch_ledger_path(c->l, path, "%s/%s", folder[i], c->ds.hex));
        vch_rc rc = c->l->port->disk->list(c->l->port, path, check_stray, &s);
        if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND)
            return vch_fail(err, rc, "cannot list %s: %s", path, vch_rc_text(rc));
    }
    return VCH_OK;
}

/* ---- all datasets -------------------------------------------------------------------------------- */

static vch_rc check_spec(check_t *c, vch_err_t *err)
{
    spec_t spec;
    vch_err_t damage = {0};
    char name[VCH_PATH_MAX];
    VCH_TRY(vch_path(name, "custody/%s/spec.json", c->ds.hex));
    vch_rc rc = spec_open(&spec, c->l, &c->ds, &damage);
    if (rc != VCH_OK) return found(c, rc, name, NULL, &damage, err);
    spec_close(&spec);
    return VCH_OK;
}

static vch_rc check_dataset(check_t *c, const vch_id_t *id, vch_err_t *err)
{
    VCH_TRY(dataset_open_id(&c->ds, c->l, id, err));
    vch_rc rc = check_spec(c, err);
    for (uint32_t e = 0; rc == VCH_OK && e < c->ds.head.extents; e++) rc = check_extent(c, e, err);
    if (rc == VCH_OK) rc = check_subjects(c, err);
    if (rc == VCH_OK) rc = check_strays(c, err);
    dataset_close(&c->ds);
    return rc;
}

static vch_rc note_id(void *ctx, vch_slice_t key, vch_slice_t value)
{
    check_t *c = ctx;
    (void)value;
    return key.n == 33 ? vch_buf_put(&c->ids, key.p + 1, 32) : VCH_OK;
}

static vch_rc list_datasets(check_t *c, vch_err_t *err)
{
    VCH_TRY(vch_ledger_read_begin(c->l, err));
    vch_rc rc = vch_state_each(c->l->state, 'd', note_id, c);
    vch_ledger_read_end(c->l);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the datasets can't be listed: %s", vch_rc_text(rc));
}

vch_rc vch_custody_check(vch_ledger_t *l, vch_finding_fn fn, void *ctx, uint64_t *ret_findings, vch_err_t *err)
{
    check_t c = {.l = l, .fn = fn, .ctx = ctx};
    vch_buf_init(&c.ids, 64u << 20);
    vch_rc rc = list_datasets(&c, err);
    for (size_t at = 0; rc == VCH_OK && at + 32 <= c.ids.n; at += 32) {
        vch_id_t id;
        memcpy(id.b, c.ids.p + at, 32);
        rc = check_dataset(&c, &id, err);
    }
    vch_buf_free(&c.ids);
    if (rc == VCH_OK) *ret_findings = c.findings;
    return rc;
}
