/* SPDX-License-Identifier: Apache-2.0 */
/* Permitted rows as CSV.  Rows of extents in the clear are read as they are
 * wanted.  Rows in the vault come in the order of their extents, each fetched
 * once; a run wants them in the order of its seed, so their lines wait in a
 * spool file beside the result, which is removed at the end. */
#include "codec/cbor.h"
#include "codec/text.h"
#include "node/node_int.h"
#include "node/use.h"
#include "node/vault_int.h"

#define CSV_BLOCK (1u << 20)
#define LINE_MAX_ ((1u << 24) - 1) /* of a spooled line: its length is kept in 24 bits beside its place */

struct vch_fetch {
    const vch_use_t *use;
    vch_ledger_t *l;
    vch_rows_t **reader; /* one an extent, opened when first needed */
    bool *in_vault;
    /* the spool: place[extent][row] = offset << 24 | length, 0: not fetched */
    uint64_t **place;
    vch_file_t *spool;
    char spool_path[VCH_PATH_MAX];
    uint64_t spooled;
    vch_buf_t text;
};

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- a line ------------------------------------------------------------------------------ */

/* The names of the granted columns in the schema's order. */
static vch_rc put_header(const vch_use_t *u, vch_buf_t *text, vch_err_t *err)
{
    vch_list_t columns;
    vch_slice_t column, name;
    uint64_t group;
    bool first = true;
    VCH_TRY(vch_field_list(u->fields, VCH_F_DATASET_COLUMNS, &columns));
    while (vch_list_next(&columns, &column) == VCH_OK) {
        VCH_TRY(vch_field_uint(column, VCH_F_COLUMN_GROUP, &group));
        if (!(u->groups >> group & 1)) continue;
        VCH_TRY(vch_field_bytes(column, VCH_F_COLUMN_NAME, &name));
        if (!first) VCH_TRY(vch_buf_u8(text, ','));
        first = false;
        VCH_TRY(vch_csv_put_cell(text, name));
    }
    if (first) return vch_fail(err, VCH_ERR_DENIED, "the grants have no group of columns in common");
    return vch_buf_u8(text, '\n');
}

/* canonical: of each group; those that aren't granted are not looked at. */
static vch_rc put_cells(const vch_use_t *u, vch_buf_t *text, const vch_slice_t *canonical)
{
    vch_cbor_t cursor[VCH_GROUPS_MAX];
    vch_list_t columns;
    vch_slice_t column, cell;
    uint64_t group, ignored;
    bool first = true;
    for (size_t g = 0; g < VCH_GROUPS_MAX; g++) {
        if (!(u->groups >> g & 1)) continue;
        cursor[g] = vch_cbor_over(canonical[g]);
        VCH_TRY(vch_cbor_get_array(&cursor[g], &ignored));
    }
    VCH_TRY(vch_field_list(u->fields, VCH_F_DATASET_COLUMNS, &columns));
    while (vch_list_next(&columns, &column) == VCH_OK) {
        VCH_TRY(vch_field_uint(column, VCH_F_COLUMN_GROUP, &group));
        if (!(u->groups >> group & 1)) continue;
        VCH_TRY(vch_cbor_get_text(&cursor[group], &cell));
        if (!first) VCH_TRY(vch_buf_u8(text, ','));
        first = false;
        VCH_TRY(vch_csv_put_cell(text, cell));
    }
    return vch_buf_u8(text, '\n');
}

static vch_rc told_row(vch_rc rc, uint32_t extent, uint32_t row, vch_err_t *err)
{
    if (rc == VCH_OK) return rc;
    return vch_fail(err, rc, "row %u of extent %u can't be written: %s", row, extent, vch_rc_text(rc));
}

/* ---- the spool ------------------------------------------------------------------------------ */

static vch_rc flush_spool(vch_fetch_t *f, vch_err_t *err)
{
    vch_rc rc = f->l->port->disk->write(f->l->port, f->spool, f->text.p, f->text.n, f->spooled);
    if (rc != VCH_OK) return vch_fail(err, rc, "%s can't be written: %s", f->spool_path, vch_rc_text(rc));
    f->spooled += f->text.n;
    vch_buf_clear(&f->text);
    return VCH_OK;
}

static vch_rc spool_row(vch_fetch_t *f, uint32_t extent, uint32_t row, const vch_opened_t *opened, vch_err_t *err)
{
    size_t before = f->text.n;
    VCH_TRY(told_row(put_cells(f->use, &f->text, opened->canonical), extent, row, err));
    size_t n = f->text.n - before;
    if (n > LINE_MAX_) return told_row(VCH_ERR_LIMIT, extent, row, err);
    f->place[extent][row] = (f->spooled + before) << 24 | n;
    return f->text.n < CSV_BLOCK ? VCH_OK : flush_spool(f, err);
}

static bool any_row(const uint8_t *bits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bits[i]) return true;
    return false;
}

static vch_rc fetch_rows(vch_fetch_t *f, vch_opening_t *o, uint32_t extent, vch_err_t *err)
{
    vch_opened_t opened;
    uint32_t row;
    vch_rc rc;
    while ((rc = vch_opening_next(o, &row, &opened, err)) == VCH_OK) VCH_TRY(spool_row(f, extent, row, &opened, err));
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static vch_rc keep_blames(vch_ledger_t *l, const vch_opening_t *o, vch_err_t *err)
{
    vch_slice_t proof;
    vch_rc rc = VCH_OK;
    for (size_t i = 0; rc == VCH_OK && vch_opening_blame(o, i, &proof); i++) rc = nd_blame_keep(l, proof, err);
    return rc;
}

/* Rows that more than one grant permits are fetched under the first. */
static vch_rc fetch_extent(vch_fetch_t *f, vch_vault_t *v, const vch_signer_t *user, uint32_t extent, vch_err_t *err)
{
    const vch_use_t *u = f->use;
    f->place[extent] = vch_alloc_array(u->rows[extent], sizeof **f->place);
    if (!f->place[extent]) return no_memory(err);
    for (size_t i = 0; i < u->parts; i++) {
        vch_opening_t *o;
        vch_wanted_t want = {.dataset = u->dataset,
                             .number = extent,
                             .groups = u->groups,
                             .bits = u->part[i].bits.p + u->at[extent],
                             .once = u->once};
        memcpy(want.grant.b, u->part[i].id.b, 32);
        if (!any_row(want.bits, vch_set_bytes(u->rows[extent]))) continue;
        VCH_TRY(vch_opening_begin(&o, v, user, &want, err));
        vch_rc rc = fetch_rows(f, o, extent, err);
        vch_rc kept = keep_blames(f->l, o, rc == VCH_OK ? err : NULL); /* also when nothing came out */
        if (rc == VCH_OK) rc = kept;
        vch_opening_end(o);
        VCH_TRY(rc);
    }
    return VCH_OK;
}

/* One of a fetch that was cut off may lie there. */
static vch_rc open_spool(vch_fetch_t *f, vch_err_t *err)
{
    vch_rc rc = f->l->port->disk->remove(f->l->port, f->spool_path);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND)
        return vch_fail(err, rc, "%s can't be removed: %s", f->spool_path, vch_rc_text(rc));
    return vch_file_open(f->l->port, &f->spool, f->spool_path, VCH_OPEN_NEW, err);
}

static vch_rc fetch_all(vch_fetch_t *f, const vch_signer_t *user, vch_err_t *err)
{
    vch_vault_t *v;
    VCH_TRY(vch_vault_open(&v, f->l, err));
    v->as = user;
    vch_rc rc = open_spool(f, err);
    for (uint32_t e = 0; rc == VCH_OK && e < f->use->extents; e++)
        if (f->in_vault[e]) rc = fetch_extent(f, v, user, e, err);
    if (rc == VCH_OK) rc = flush_spool(f, err);
    vch_vault_close(v);
    return rc;
}

static vch_rc spooled_line(vch_fetch_t *f, uint32_t extent, uint32_t row, vch_err_t *err)
{
    uint8_t *to;
    uint64_t place = f->place[extent] ? f->place[extent][row] : 0;
    if (place == 0) return vch_fail(err, VCH_ERR_DENIED, "row %u of extent %u was not granted", row, extent);
    size_t n = place & LINE_MAX_;
    if (vch_buf_extend(&f->text, n, &to) != VCH_OK) return no_memory(err);
    return vch_file_read(f->l->port, f->spool, to, n, place >> 24, err);
}

/* ---- which extents are in the vault ---------------------------------------------------------- */

/* Trustees want the grant under a checkpoint: sign one now, if that is ours to do. */
static vch_rc sign_what_is_there(vch_ledger_t *l, vch_err_t *err)
{
    return l->log_key && !(l->flags & VCH_LEDGER_READ_ONLY) ? vch_ledger_checkpoint(l, NULL, err) : VCH_OK;
}

static vch_rc look_for_vault(vch_fetch_t *f, bool *ret_any, vch_err_t *err)
{
    const vch_use_t *u = f->use;
    vch_buf_t value;
    vch_rc rc = VCH_OK;
    vch_buf_init(&value, 1u << 18);
    *ret_any = false;
    VCH_TRY(vch_look_begin(f->l, err));
    for (uint32_t e = 0; rc == VCH_OK && e < u->extents; e++) {
        vch_state_key_t key = vch_key_id_u32('w', u->dataset.b, e);
        vch_buf_clear(&value);
        rc = vch_value(f->l, &key, &value, NULL);
        f->in_vault[e] = rc == VCH_OK;
        *ret_any = *ret_any || (f->in_vault[e] && any_row(u->bits.p + u->at[e], vch_set_bytes(u->rows[e])));
        if (rc == VCH_ERR_NOT_FOUND) rc = VCH_OK;
    }
    vch_look_end(f->l);
    vch_buf_free(&value);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "where the rows are can't be read: %s", vch_rc_text(rc));
}

static vch_rc prepare(vch_fetch_t *f, const vch_signer_t *user, vch_err_t *err)
{
    size_t n = (size_t)f->use->extents + 1;
    bool any;
    f->reader = vch_alloc_array(n, sizeof *f->reader);
    f->in_vault = vch_alloc_array(n, sizeof *f->in_vault);
    f->place = vch_alloc_array(n, sizeof *f->place);
    if (!f->reader || !f->in_vault || !f->place) return no_memory(err);
    VCH_TRY(look_for_vault(f, &any, err));
    if (!any) return VCH_OK;
    VCH_TRY(sign_what_is_there(f->l, err));
    return fetch_all(f, user, err);
}

vch_rc vch_fetch_open(vch_fetch_t **ret, const vch_use_t *u, vch_ledger_t *l, const vch_signer_t *user,
                      const char *spool, vch_err_t *err)
{
    vch_fetch_t *f = vch_alloc(sizeof *f);
    if (!f) return no_memory(err);
    f->use = u;
    f->l = l;
    vch_buf_init(&f->text, 64u << 20);
    vch_rc rc = vch_path(f->spool_path, "%s", spool);
    rc = rc == VCH_OK ? prepare(f, user, err) : vch_fail(err, rc, "the path is too long");
    if (rc == VCH_OK) {
        *ret = f;
        return rc;
    }
    vch_err_t left = {0};
    vch_rc stays = vch_fetch_close(f, &left);
    return stays == VCH_OK ? rc : vch_context(err, rc, "%.200s; and before that", left.text);
}

/* Tried twice, and told when it stays. */
static vch_rc remove_spool(vch_fetch_t *f, vch_err_t *err)
{
    if (!f->spool) return VCH_OK;
    vch_file_close(f->l->port, f->spool);
    vch_rc rc = f->l->port->disk->remove(f->l->port, f->spool_path);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) rc = f->l->port->disk->remove(f->l->port, f->spool_path);
    if (rc == VCH_OK || rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    vch_fail(err, rc, "rows in the clear are left in %s: %s", f->spool_path, vch_rc_text(rc));
    return vch_hint(err, rc, "remove it");
}

vch_rc vch_fetch_close(vch_fetch_t *f, vch_err_t *err)
{
    if (!f) return VCH_OK;
    for (uint32_t i = 0; i < f->use->extents; i++) {
        if (f->reader) vch_rows_close(f->reader[i]);
        if (f->place) vch_free(f->place[i]);
    }
    vch_rc rc = remove_spool(f, err);
    if (f->text.p) vch_wipe(f->text.p, f->text.cap);
    vch_buf_free(&f->text);
    vch_free(f->reader);
    vch_free(f->in_vault);
    vch_free(f->place);
    vch_free(f);
    return rc;
}

/* ---- the CSV file -------------------------------------------------------------------------------- */

typedef struct {
    vch_fetch_t *f;
    vch_file_t *file;
    uint64_t at;
    vch_err_t *err;
} csv_t;

static vch_rc flush(csv_t *c)
{
    vch_buf_t *text = &c->f->text;
    vch_rc rc = c->f->l->port->disk->write(c->f->l->port, c->file, text->p, text->n, c->at);
    if (rc != VCH_OK) return vch_fail(c->err, rc, "the CSV file can't be written: %s", vch_rc_text(rc));
    c->at += text->n;
    vch_buf_clear(text);
    return VCH_OK;
}

static vch_rc clear_line(vch_fetch_t *f, uint32_t extent, uint32_t row, vch_err_t *err)
{
    vch_row_t r;
    if (!f->reader[extent]) VCH_TRY(vch_rows_open(&f->reader[extent], f->l, &f->use->dataset, extent, err));
    VCH_TRY(vch_rows_get(f->reader[extent], row, &r, err));
    return told_row(put_cells(f->use, &f->text, r.canonical), extent, row, err);
}

static vch_rc put_row(csv_t *c, uint32_t extent, uint32_t row)
{
    vch_fetch_t *f = c->f;
    VCH_TRY(f->in_vault[extent] ? spooled_line(f, extent, row, c->err) : clear_line(f, extent, row, c->err));
    return f->text.n < CSV_BLOCK ? VCH_OK : flush(c);
}

static vch_rc write_rows(csv_t *c, const char *path, const uint32_t (*row)[2], size_t n)
{
    vch_buf_clear(&c->f->text);
    VCH_TRY(vch_file_open(c->f->l->port, &c->file, path, VCH_OPEN_NEW, c->err));
    VCH_TRY(put_header(c->f->use, &c->f->text, c->err));
    for (size_t i = 0; i < n; i++) VCH_TRY(put_row(c, row[i][0], row[i][1]));
    return flush(c);
}

vch_rc vch_fetch_write_csv(vch_fetch_t *f, const char *path, const uint32_t (*row)[2], size_t n, vch_err_t *err)
{
    csv_t c = {.f = f, .err = err};
    vch_rc rc = write_rows(&c, path, row, n);
    bool made = c.file != NULL;
    vch_file_close(f->l->port, c.file);
    if (rc != VCH_OK && made) (void)f->l->port->disk->remove(f->l->port, path); /* nothing half-checked stays */
    return rc;
}
