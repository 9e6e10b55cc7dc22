/* SPDX-License-Identifier: Apache-2.0 */
/* Access: asking, what grants permit now, permitted rows as CSV. */
#include "node/use.h"

#include "codec/cbor.h"
#include "codec/text.h"
#include "node/node_int.h"

#define CSV_BLOCK (1u << 20)

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- asking --------------------------------------------------------------------- */

static vch_rc put_text(vch_buf_t *b, uint64_t key, const char *s)
{
    VCH_TRY(vch_cbor_uint(b, key));
    return vch_cbor_text(b, s, strlen(s));
}

static vch_rc group_number(vch_slice_t dataset, const char *name, uint64_t *ret, vch_err_t *err)
{
    vch_list_t list;
    vch_slice_t item, s;
    VCH_TRY(vch_field_list(dataset, VCH_F_DATASET_GROUPS, &list));
    for (*ret = 0; vch_list_next(&list, &item) == VCH_OK; (*ret)++) {
        VCH_TRY(vch_item_bytes(item, &s));
        if (vch_slice_eq(s, vch_str(name))) return VCH_OK;
    }
    return vch_fail(err, VCH_ERR_NOT_FOUND, "the dataset has no group of columns \"%s\"", name);
}

static vch_rc put_groups(vch_buf_t *b, vch_slice_t dataset, const char *const *groups, size_t n, vch_err_t *err)
{
    vch_list_t all;
    uint32_t wanted = 0;
    VCH_TRY(vch_field_list(dataset, VCH_F_DATASET_GROUPS, &all));
    if (n == 0) wanted = (uint32_t)((1ull << all.left) - 1);
    for (size_t i = 0; i < n; i++) {
        uint64_t g;
        VCH_TRY(group_number(dataset, groups[i], &g, err));
        wanted |= 1u << g;
    }
    VCH_TRY(vch_cbor_uint(b, VCH_F_ACCESS_GROUPS));
    VCH_TRY(vch_cbor_array(b, (uint64_t)__builtin_popcount(wanted)));
    for (unsigned g = 0; g < VCH_GROUPS_MAX; g++)
        if (wanted >> g & 1) VCH_TRY(vch_cbor_uint(b, g));
    return VCH_OK;
}

static vch_rc version_dataset(vch_ledger_t *l, const vch_id_t *version, vch_version_value_t *ret, vch_err_t *err)
{
    vch_buf_t value;
    vch_state_key_t key = vch_key_id('v', version->b);
    vch_buf_init(&value, 4096);
    vch_rc rc = vch_value(l, &key, &value, err);
    if (rc == VCH_OK) rc = vch_version_get(ret, vch_buf_slice(&value));
    vch_buf_free(&value);
    return rc;
}

static vch_rc access_fields(vch_ledger_t *l, vch_buf_t *b, const char *version, const char *purpose,
                            const char *processing, const char *const *groups, size_t n, vch_err_t *err)
{
    vch_id_t id;
    vch_version_value_t v;
    vch_slice_t fields;
    vch_arena_t arena;
    vch_arena_init(&arena, 4u << 20);
    vch_rc rc = vch_look_begin(l, err);
    if (rc != VCH_OK) return rc;
    rc = vch_resolve(l, 'v', version, &id, err);
    if (rc == VCH_OK) rc = version_dataset(l, &id, &v, err);
    if (rc == VCH_OK) rc = vch_dataset_fields(l, &v.dataset, &arena, &fields, err);
    vch_look_end(l);
    if (rc == VCH_OK) rc = vch_cbor_map(b, 4);
    if (rc == VCH_OK) rc = vch_cbor_uint(b, VCH_F_ACCESS_VERSION);
    if (rc == VCH_OK) rc = vch_cbor_bytes(b, id.b, 32);
    if (rc == VCH_OK) rc = put_text(b, VCH_F_ACCESS_PURPOSE, purpose);
    if (rc == VCH_OK) rc = put_text(b, VCH_F_ACCESS_PROCESSING, processing);
    if (rc == VCH_OK) rc = put_groups(b, fields, groups, n, err);
    vch_arena_free(&arena);
    return rc;
}

VCH_API vch_rc vch_access_request(vch_ledger_t *l, const vch_signer_t *signer, const char *version, const char *purpose,
                                  const char *processing, const char *const *groups, size_t groups_n,
                                  vch_receipt_t *ret, vch_err_t *err)
{
    vch_buf_t b;
    vch_buf_init(&b, VCH_TX_BYTES_MAX);
    vch_rc rc = access_fields(l, &b, version, purpose, processing, groups, groups_n, err);
    vch_slice_t fields = vch_buf_slice(&b);
    if (rc == VCH_OK) rc = vch_ledger_write(l, signer, VCH_KIND_ACCESS, &fields, 1, ret, err);
    vch_buf_free(&b);
    return nd_told(rc, err);
}

/* ---- what grants permit now ---------------------------------------------------------- */

static uint64_t now_ms(vch_ledger_t *l)
{
    vch_state_info_t info;
    vch_state_info(l->state, &info);
    uint64_t wall = l->port->clock->wall_ms(l->port);
    return wall > info.time.ms ? wall : info.time.ms;
}

static vch_rc check_grant(const vch_grant_value_t *g, const vch_id_t *party, uint64_t now, vch_err_t *err)
{
    if (!vch_id_eq(&g->party, party)) return vch_fail(err, VCH_ERR_ROLE, "the grant belongs to another party");
    if (!g->permit) return vch_fail(err, VCH_ERR_DENIED, "the access request was denied: there is no grant");
    if (g->expires.ms >= now) return VCH_OK;
    vch_fail(err, VCH_ERR_EXPIRED, "the grant has expired");
    return vch_hint(err, VCH_ERR_EXPIRED, "ask again: vouch access request");
}

/* One grant's rows: granted then and permitted now. */
static vch_rc grant_rows(vch_ledger_t *l, const vch_id_t *id, const vch_grant_value_t *g, uint64_t now, vch_buf_t *ret,
                         vch_err_t *err)
{
    vch_buf_t then;
    uint64_t count;
    vch_rule_t rule;
    vch_buf_init(&then, 1u << 30);
    vch_rc rc = vch_state_bitmap(l->state, id, &then, err);
    if (rc == VCH_OK)
        rc = vch_state_permitted(l->state, &g->version, &g->party, g->purpose, g->processing, (vch_time_t){now}, ret,
                                 &count, &rule, err);
    if (rc == VCH_OK && then.n != ret->n) rc = vch_fail(err, VCH_ERR_CORRUPT, "a grant's rows are not its version's");
    for (size_t i = 0; rc == VCH_OK && i < then.n; i++) ret->p[i] &= then.p[i];
    vch_buf_free(&then);
    return rc;
}

static vch_rc add_grant(vch_use_t *u, vch_ledger_t *l, const vch_id_t *id, const vch_id_t *party, bool first,
                        vch_err_t *err)
{
    vch_buf_t value, rows;
    vch_grant_value_t g;
    uint64_t now = now_ms(l);
    vch_state_key_t key = vch_key_id('a', id->b);
    vch_buf_init(&value, 4096);
    vch_buf_init(&rows, 1u << 30);
    vch_rc rc = vch_state_get(l->state, vch_key_slice(&key), &value, err);
    if (rc == VCH_OK) rc = vch_grant_get(&g, vch_buf_slice(&value));
    if (rc == VCH_OK) rc = check_grant(&g, party, now, err);
    if (rc == VCH_OK && !first && !vch_id_eq(&g.version, &u->version))
        rc = vch_fail(err, VCH_ERR_CONFLICT, "a run's grants are of one version");
    if (rc == VCH_OK) rc = grant_rows(l, id, &g, now, &rows, err);
    if (rc == VCH_OK && first) {
        u->version = g.version;
        u->groups = g.groups;
        rc = vch_buf_put(&u->bits, rows.p, rows.n);
    } else if (rc == VCH_OK) {
        u->groups &= g.groups;
        for (size_t i = 0; i < rows.n; i++) u->bits.p[i] |= rows.p[i];
    }
    vch_buf_free(&value);
    vch_buf_free(&rows);
    return rc;
}

static vch_rc load_extents(vch_use_t *u, vch_ledger_t *l, uint32_t extents, vch_err_t *err)
{
    u->extents = extents;
    u->rows = vch_arena_array(&u->arena, extents, sizeof *u->rows);
    u->at = vch_arena_array(&u->arena, extents, sizeof *u->at);
    if (!u->rows || !u->at) return no_memory(err);
    size_t at = 0;
    for (uint32_t i = 0; i < extents; i++) {
        vch_buf_t value;
        vch_extent_value_t e;
        vch_state_key_t key = vch_key_id_u32('e', u->dataset.b, i);
        vch_buf_init(&value, 4096);
        vch_rc rc = vch_state_get(l->state, vch_key_slice(&key), &value, err);
        if (rc == VCH_OK) rc = vch_extent_get(&e, vch_buf_slice(&value));
        vch_buf_free(&value);
        VCH_TRY(rc);
        u->rows[i] = e.count;
        u->at[i] = at;
        at += vch_set_bytes(e.count);
    }
    return at == u->bits.n ? VCH_OK : vch_fail(err, VCH_ERR_CORRUPT, "a grant's rows are not its version's");
}

static vch_rc use_read(vch_use_t *u, vch_ledger_t *l, const vch_signer_t *signer, const vch_id_t *grants, size_t n,
                       vch_err_t *err)
{
    vch_id_t party;
    vch_version_value_t v;
    VCH_TRY(vch_party_of(l, signer, &party, err));
    for (size_t i = 0; i < n; i++) VCH_TRY(add_grant(u, l, &grants[i], &party, i == 0, err));
    VCH_TRY(version_dataset(l, &u->version, &v, err));
    u->dataset = v.dataset;
    VCH_TRY(load_extents(u, l, v.extents, err));
    for (size_t i = 0; i < u->bits.n; i++) u->count += (uint64_t)__builtin_popcount(u->bits.p[i]);
    return vch_dataset_fields(l, &u->dataset, &u->arena, &u->fields, err);
}

vch_rc vch_use_open(vch_use_t *ret, vch_ledger_t *l, const vch_signer_t *signer, const vch_id_t *grants, size_t n,
                    vch_err_t *err)
{
    *ret = (vch_use_t){.count = 0};
    vch_buf_init(&ret->bits, 1u << 30);
    vch_arena_init(&ret->arena, 64u << 20);
    vch_rc rc = vch_ledger_read_begin(l, err);
    if (rc == VCH_OK) {
        rc = use_read(ret, l, signer, grants, n, err);
        vch_ledger_read_end(l);
    }
    if (rc != VCH_OK) vch_use_close(ret);
    return rc;
}

void vch_use_close(vch_use_t *u)
{
    vch_buf_free(&u->bits);
    vch_arena_free(&u->arena);
}

/* ---- rows as CSV ------------------------------------------------------------------------ */

typedef struct {
    const vch_use_t *use;
    vch_ledger_t *l;
    vch_file_t *file;
    uint64_t at;
    vch_buf_t text;
    vch_rows_t **reader; /* one an extent, opened when first needed */
} csv_t;

static vch_rc flush(csv_t *c, vch_err_t *err)
{
    vch_rc rc = c->l->port->disk->write(c->l->port, c->file, c->text.p, c->text.n, c->at);
    if (rc != VCH_OK) return vch_fail(err, rc, "the CSV file can't be written: %s", vch_rc_text(rc));
    c->at += c->text.n;
    vch_buf_clear(&c->text);
    return VCH_OK;
}

/* Call fn for each granted column in the schema's order. */
static vch_rc put_header(csv_t *c, vch_err_t *err)
{
    vch_list_t columns;
    vch_slice_t column, name;
    uint64_t group;
    bool first = true;
    VCH_TRY(vch_field_list(c->use->fields, VCH_F_DATASET_COLUMNS, &columns));
    while (vch_list_next(&columns, &column) == VCH_OK) {
        VCH_TRY(vch_field_uint(column, VCH_F_COLUMN_GROUP, &group));
        if (!(c->use->groups >> group & 1)) continue;
        VCH_TRY(vch_field_bytes(column, VCH_F_COLUMN_NAME, &name));
        if (!first) VCH_TRY(vch_buf_u8(&c->text, ','));
        first = false;
        VCH_TRY(vch_csv_put_cell(&c->text, name));
    }
    if (first) return vch_fail(err, VCH_ERR_DENIED, "the grants have no group of columns in common");
    return vch_buf_u8(&c->text, '\n');
}

static vch_rc put_cells(csv_t *c, const vch_row_t *row)
{
    vch_cbor_t cursor[VCH_GROUPS_MAX];
    vch_list_t columns;
    vch_slice_t column, cell;
    uint64_t group, ignored;
    bool first = true;
    for (size_t g = 0; g < row->groups; g++) {
        cursor[g] = vch_cbor_over(row->canonical[g]);
        VCH_TRY(vch_cbor_get_array(&cursor[g], &ignored));
    }
    VCH_TRY(vch_field_list(c->use->fields, VCH_F_DATASET_COLUMNS, &columns));
    while (vch_list_next(&columns, &column) == VCH_OK) {
        VCH_TRY(vch_field_uint(column, VCH_F_COLUMN_GROUP, &group));
        if (group >= row->groups) return VCH_ERR_CORRUPT;
        VCH_TRY(vch_cbor_get_text(&cursor[group], &cell));
        if (!(c->use->groups >> group & 1)) continue;
        if (!first) VCH_TRY(vch_buf_u8(&c->text, ','));
        first = false;
        VCH_TRY(vch_csv_put_cell(&c->text, cell));
    }
    return vch_buf_u8(&c->text, '\n');
}

static vch_rc put_row(csv_t *c, uint32_t extent, uint32_t row, vch_err_t *err)
{
    vch_row_t r;
    if (!c->reader[extent]) VCH_TRY(vch_rows_open(&c->reader[extent], c->l, &c->use->dataset, extent, err));
    VCH_TRY(vch_rows_get(c->reader[extent], row, &r, err));
    vch_rc rc = put_cells(c, &r);
    if (rc != VCH_OK)
        return vch_fail(err, rc, "row %u of extent %u can't be written: %s", row, extent, vch_rc_text(rc));
    return c->text.n < CSV_BLOCK ? VCH_OK : flush(c, err);
}

static vch_rc write_rows(csv_t *c, const char *path, const uint32_t (*row)[2], size_t n, vch_err_t *err)
{
    c->reader = vch_alloc_array((size_t)c->use->extents + 1, sizeof *c->reader);
    if (!c->reader) return no_memory(err);
    VCH_TRY(vch_file_open(c->l->port, &c->file, path, VCH_OPEN_NEW, err));
    VCH_TRY(put_header(c, err));
    for (size_t i = 0; i < n; i++) VCH_TRY(put_row(c, row[i][0], row[i][1], err));
    return flush(c, err);
}

vch_rc vch_use_write_csv(const vch_use_t *u, vch_ledger_t *l, const char *path, const uint32_t (*row)[2], size_t n,
                         vch_err_t *err)
{
    csv_t c = {.use = u, .l = l};
    vch_buf_init(&c.text, 64u << 20);
    vch_rc rc = write_rows(&c, path, row, n, err);
    for (uint32_t i = 0; c.reader && i < u->extents; i++) vch_rows_close(c.reader[i]);
    vch_free(c.reader);
    bool made = c.file != NULL;
    vch_file_close(l->port, c.file);
    vch_buf_free(&c.text);
    if (rc != VCH_OK && made) (void)l->port->disk->remove(l->port, path); /* nothing half-checked stays */
    return rc;
}

static vch_rc all_rows(const vch_use_t *u, uint32_t (**ret)[2], vch_err_t *err)
{
    uint32_t(*row)[2] = vch_alloc_array((size_t)u->count + 1, sizeof *row);
    size_t n = 0;
    if (!row) return no_memory(err);
    for (uint32_t e = 0; e < u->extents; e++)
        for (uint32_t r = 0; r < u->rows[e]; r++)
            if (vch_bit(u->bits.p + u->at[e], r)) {
                row[n][0] = e;
                row[n++][1] = r;
            }
    *ret = row;
    return VCH_OK;
}

VCH_API vch_rc vch_access_fetch(vch_ledger_t *l, const vch_signer_t *signer, const char *grant, const char *csv_path,
                                uint64_t *ret_rows, vch_err_t *err)
{
    vch_id_t id;
    vch_use_t u;
    uint32_t(*row)[2] = NULL;
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_resolve(l, 'a', grant, &id, err);
    vch_ledger_read_end(l);
    if (rc == VCH_OK) rc = vch_use_open(&u, l, signer, &id, 1, err);
    if (rc != VCH_OK) return nd_told(rc, err);
    rc = all_rows(&u, &row, err);
    if (rc == VCH_OK) rc = vch_use_write_csv(&u, l, csv_path, row, (size_t)u.count, err);
    if (rc == VCH_OK) *ret_rows = u.count;
    vch_free(row);
    vch_use_close(&u);
    return nd_told(rc, err);
}
