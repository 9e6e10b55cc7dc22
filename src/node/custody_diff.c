/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two versions, by commitments alone; every row of a
 * version against its commitments. */
#include "codec/json.h"
#include "node/custody_int.h"
#include "node/node_int.h"

#define DIFF_MAX (1u << 30)

typedef struct {
    vch_ledger_t *l;
    vch_err_t *err;
    dataset_t a, b;
    readers_t readers; /* of a: extents are the dataset's, whatever the version */
    table_t only_a;    /* key -> place of rows that are in A and not, at the same place, in B */
    vch_buf_t added, removed, features, label, owner;
} diff_t;

#define MATCHED (UINT64_C(1) << 62)

static vch_rc no_room(diff_t *d, vch_rc rc)
{
    return rc == VCH_OK ? rc : vch_fail(d->err, rc, "the difference can't be told: %s", vch_rc_text(rc));
}

/* ---- lists of names ------------------------------------------------------------------ */

static vch_rc put_name(vch_buf_t *list, vch_slice_t name)
{
    if (list->n) VCH_TRY(vch_buf_u8(list, ','));
    return vch_json_put_string(list, name);
}

static vch_rc put_groups(vch_buf_t *b, const dataset_t *ds, const bool *changed)
{
    bool first = true;
    for (size_t g = 0; g < ds->groups; g++) {
        if (!changed[g]) continue;
        if (!first) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(vch_json_put_string(b, ds->group[g]));
        first = false;
    }
    return VCH_OK;
}

static vch_rc put_features(const diff_t *d, vch_buf_t *list, vch_slice_t name, const bool *changed)
{
    VCH_TRY(vch_buf_printf(list, "%s{\"row\":", list->n ? "," : ""));
    VCH_TRY(vch_json_put_string(list, name));
    VCH_TRY(vch_buf_printf(list, ",\"groups\":["));
    VCH_TRY(put_groups(list, &d->a, changed));
    return vch_buf_printf(list, "]}");
}

static vch_rc put_label(vch_buf_t *list, vch_slice_t name, bool features_same)
{
    VCH_TRY(vch_buf_printf(list, "%s{\"row\":", list->n ? "," : ""));
    VCH_TRY(vch_json_put_string(list, name));
    return vch_buf_printf(list, ",\"features\":\"%s\"}", features_same ? "same" : "changed");
}

/* A row of both versions whose groups differ where `changed` says. */
static vch_rc put_changed(diff_t *d, vch_slice_t name, const bool *changed, bool other_owner)
{
    bool label = false, features = false;
    for (size_t g = 0; g < d->a.groups; g++) {
        if (!changed[g]) continue;
        if (d->a.has_label && g == d->a.label)
            label = true;
        else
            features = true;
    }
    vch_rc rc = VCH_OK;
    if (features) rc = put_features(d, &d->features, name, changed);
    if (rc == VCH_OK && label) rc = put_label(&d->label, name, !features);
    if (rc == VCH_OK && other_owner) rc = put_name(&d->owner, name);
    return no_room(d, rc);
}

static vch_rc put_result(const diff_t *d, vch_buf_t *b)
{
    const struct {
        const char *name;
        const vch_buf_t *list;
    } part[] = {{"added", &d->added},
                {"removed", &d->removed},
                {"features changed", &d->features},
                {"label changed", &d->label},
                {"owner changed", &d->owner}};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        VCH_TRY(vch_buf_printf(b, "%s\"%s\":[", i ? "," : "{", part[i].name));
        VCH_TRY(vch_buf_put(b, part[i].list->p, part[i].list->n));
        VCH_TRY(vch_buf_u8(b, ']'));
    }
    return vch_buf_u8(b, '}');
}

/* ---- rows of A ------------------------------------------------------------------------- */

static vch_rc row_name(diff_t *d, uint32_t extent, uint32_t row, vch_slice_t *ret)
{
    vch_rows_t *r;
    VCH_TRY(readers_at(&d->readers, extent, &r, d->err));
    VCH_TRY(vch_rows_name(r, row, ret, d->err));
    if (name_erased(*ret)) *ret = vch_str("(erased)");
    return VCH_OK;
}

/* Rows of A that `skip` doesn't have at the same place. */
static vch_rc load_a(diff_t *d, const dataset_t *skip)
{
    for (uint32_t e = 0; e < d->a.head.extents; e++) {
        for (uint32_t row = 0; row < d->a.extent[e].count; row++) {
            vch_slice_t name;
            uint8_t digest[16];
            if (!dataset_live(&d->a, e, row) || (skip && dataset_live(skip, e, row))) continue;
            VCH_TRY(row_name(d, e, row, &name));
            table_digest(digest, name);
            VCH_TRY(no_room(d, table_put(&d->only_a, digest, place_put(e, row))));
        }
    }
    return VCH_OK;
}

/* In the order of the rows, not of the table. */
static vch_rc list_removed(diff_t *d, const dataset_t *skip)
{
    for (uint32_t e = 0; e < d->a.head.extents; e++) {
        for (uint32_t row = 0; row < d->a.extent[e].count; row++) {
            vch_slice_t name;
            uint8_t digest[16];
            if (!dataset_live(&d->a, e, row) || (skip && dataset_live(skip, e, row))) continue;
            VCH_TRY(row_name(d, e, row, &name));
            table_digest(digest, name);
            uint64_t *place = table_get(&d->only_a, digest);
            if (place && (*place - 1) & MATCHED) continue;
            VCH_TRY(no_room(d, put_name(&d->removed, name)));
        }
    }
    return VCH_OK;
}

/* ---- B is a version ----------------------------------------------------------------------- */

static vch_rc compare_places(diff_t *d, uint64_t in_a, uint32_t extent, uint32_t row)
{
    vch_rows_t *ra, *rb;
    vch_slice_t salts, ca, cb, name;
    uint32_t subject_a, subject_b;
    bool changed[VCH_GROUPS_MAX];
    VCH_TRY(readers_at(&d->readers, place_extent(in_a), &ra, d->err));
    VCH_TRY(readers_at(&d->readers, extent, &rb, d->err));
    VCH_TRY(vch_rows_subject(ra, place_row(in_a), &subject_a, d->err));
    VCH_TRY(rows_secrets(ra, place_row(in_a), &salts, &ca, d->err));
    uint8_t was[VCH_GROUPS_MAX * 32]; /* both rows may lie in one reader */
    memcpy(was, ca.p, ca.n);
    VCH_TRY(rows_secrets(rb, row, &salts, &cb, d->err));
    for (size_t g = 0; g < d->a.groups; g++) changed[g] = memcmp(was + 32 * g, cb.p + 32 * g, 32) != 0;
    VCH_TRY(vch_rows_subject(rb, row, &subject_b, d->err));
    VCH_TRY(vch_rows_name(rb, row, &name, d->err));
    return put_changed(d, name, changed, subject_a != subject_b);
}

static vch_rc compare_b(diff_t *d, uint32_t extent, uint32_t row)
{
    vch_slice_t name;
    uint8_t digest[16];
    VCH_TRY(row_name(d, extent, row, &name));
    table_digest(digest, name);
    uint64_t *known = table_get(&d->only_a, digest);
    if (!known) return no_room(d, put_name(&d->added, name));
    uint64_t place = *known - 1;
    *known = (place | MATCHED) + 1;
    return compare_places(d, place, extent, row);
}

static vch_rc diff_versions(diff_t *d, const char *b)
{
    VCH_TRY(dataset_open(&d->b, d->l, b, true, d->err));
    if (!vch_id_eq(&d->a.id, &d->b.id))
        return vch_fail(d->err, VCH_ERR_USAGE, "the two versions belong to different datasets");
    VCH_TRY(load_a(d, &d->b));
    for (uint32_t e = 0; e < d->b.head.extents && e < d->a.head.extents; e++)
        for (uint32_t row = 0; row < d->b.extent[e].count; row++)
            if (dataset_live(&d->b, e, row) && !dataset_live(&d->a, e, row)) VCH_TRY(compare_b(d, e, row));
    return list_removed(d, &d->b);
}

/* ---- B is a CSV file ------------------------------------------------------------------------- */

/* The file's cells under A's salts either give A's commitments or differ. */
static vch_rc compare_csv_row(diff_t *d, const csv_file_t *f, const csv_row_t *row)
{
    uint8_t digest[16];
    bool changed[VCH_GROUPS_MAX];
    vch_rows_t *r;
    vch_slice_t salts, commitments;
    bool any = false;
    table_digest(digest, row->key);
    uint64_t *known = table_get(&d->only_a, digest);
    if (known && (*known - 1) & MATCHED)
        return vch_fail(d->err, VCH_ERR_CONFLICT, "%s line %llu: the key \"%.*s\" is there already", f->path,
                        (unsigned long long)f->csv.line, (int)vch_min(row->key.n, 100), (const char *)row->key.p);
    if (!known) return no_room(d, put_name(&d->added, row->key));
    uint64_t place = *known - 1;
    *known = (place | MATCHED) + 1;
    VCH_TRY(readers_at(&d->readers, place_extent(place), &r, d->err));
    VCH_TRY(rows_secrets(r, place_row(place), &salts, &commitments, d->err));
    for (size_t g = 0; g < d->a.groups; g++) {
        vch_hash_t h;
        vch_row_commitment(&h, salts.p + g * VCH_ROW_SALT_LEN, row->canonical[g]);
        changed[g] = memcmp(h.b, commitments.p + 32 * g, 32) != 0;
        any = any || changed[g];
    }
    return any ? put_changed(d, row->key, changed, false) : VCH_OK;
}

static vch_rc compare_csv(diff_t *d, csv_file_t *f, const spec_t *spec, vch_arena_t *arena, csv_row_t *row)
{
    bool got;
    mapping_t map;
    VCH_TRY(csv_next(f, 1, &got, d->err));
    if (!got) return vch_fail(d->err, VCH_ERR_FORMAT, "%s is empty: its first line must name the columns", f->path);
    VCH_TRY(mapping_make(&map, &d->a, spec, f, arena, d->err));
    for (uint64_t n = 1;; n++) {
        VCH_TRY(csv_next(f, map.cells, &got, d->err));
        if (!got) return list_removed(d, NULL);
        VCH_TRY(csv_row_read(row, &map, f, n, d->err));
        VCH_TRY(compare_csv_row(d, f, row));
    }
}

static vch_rc diff_file(diff_t *d, const char *path)
{
    spec_t spec;
    csv_file_t f;
    csv_row_t row;
    vch_arena_t arena;
    VCH_TRY(spec_open(&spec, d->l, &d->a, d->err));
    vch_rc rc = csv_open(&f, d->l->port, path, d->err);
    if (rc == VCH_OK) {
        csv_row_init(&row);
        vch_arena_init(&arena, 64u << 20);
        rc = load_a(d, NULL);
        if (rc == VCH_OK) rc = compare_csv(d, &f, &spec, &arena, &row);
        csv_row_free(&row);
        vch_arena_free(&arena);
        csv_close(&f);
    }
    spec_close(&spec);
    return rc;
}

static vch_rc diff(diff_t *d, const char *a, const char *b, vch_text_t *ret_json)
{
    VCH_TRY(dataset_open(&d->a, d->l, a, true, d->err));
    VCH_TRY(readers_open(&d->readers, d->l, &d->a, d->err));
    VCH_TRY(strncmp(b, "file:", 5) == 0 ? diff_file(d, b + 5) : diff_versions(d, b));
    vch_buf_t out;
    vch_buf_init(&out, DIFF_MAX);
    vch_rc rc = no_room(d, put_result(d, &out));
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &out);
    vch_buf_free(&out);
    return rc;
}

vch_rc vch_dataset_diff(vch_ledger_t *l, const char *a, const char *b, vch_text_t *ret_json, vch_err_t *err)
{
    diff_t d = {.l = l, .err = err};
    vch_buf_t *list[] = {&d.added, &d.removed, &d.features, &d.label, &d.owner};
    if (!b || !*b) return vch_fail(err, VCH_ERR_USAGE, "two versions, or a version and a file, are compared");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) vch_buf_init(list[i], DIFF_MAX);
    vch_rc rc = diff(&d, a, b, ret_json);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) vch_buf_free(list[i]);
    table_free(&d.only_a);
    readers_close(&d.readers);
    dataset_close(&d.a);
    dataset_close(&d.b);
    return nd_told(rc, err);
}

/* ---- a version against its commitments -------------------------------------------------------- */

static vch_rc check_extent(vch_ledger_t *l, dataset_t *ds, uint32_t extent, uint64_t *rows, vch_err_t *err)
{
    vch_rows_t *r;
    vch_rc rc = VCH_OK;
    VCH_TRY(rows_open_in(&r, l, ds, extent, err));
    for (uint32_t row = 0; !r->in_vault && rc == VCH_OK && row < r->extent.count; row++) {
        vch_row_t plain;
        if (!dataset_live(ds, extent, row)) continue;
        rc = vch_rows_get(r, row, &plain, err);
        *rows += rc == VCH_OK;
    }
    vch_rows_close(r);
    return rc;
}

vch_rc vch_dataset_check(vch_ledger_t *l, const char *version, uint64_t *ret_rows, vch_err_t *err)
{
    dataset_t ds;
    uint64_t rows = 0;
    vch_rc rc = dataset_open(&ds, l, version, true, err);
    if (rc == VCH_OK) {
        for (uint32_t e = 0; rc == VCH_OK && e < ds.version.extents; e++) rc = check_extent(l, &ds, e, &rows, err);
        dataset_close(&ds);
    }
    if (rc == VCH_OK) *ret_rows = rows;
    return nd_told(rc, err);
}
