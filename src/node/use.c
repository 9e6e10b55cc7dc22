/* SPDX-License-Identifier: Apache-2.0 */
/* Access: asking, and what grants permit now. */
#include "node/use.h"

#include "codec/cbor.h"
#include "node/node_int.h"
#include "node/remote_int.h"

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

vch_rc vch_use_groups(vch_slice_t dataset, const char *const *groups, size_t n, uint32_t *ret, vch_err_t *err)
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
    *ret = wanted;
    return VCH_OK;
}

static vch_rc put_groups(vch_buf_t *b, vch_slice_t dataset, const char *const *groups, size_t n, vch_err_t *err)
{
    uint32_t wanted;
    VCH_TRY(vch_use_groups(dataset, groups, n, &wanted, err));
    VCH_TRY(vch_cbor_uint(b, VCH_F_ACCESS_GROUPS));
    VCH_TRY(vch_cbor_array(b, (uint64_t)__builtin_popcount(wanted)));
    for (unsigned g = 0; g < VCH_GROUPS_MAX; g++)
        if (wanted >> g & 1) VCH_TRY(vch_cbor_uint(b, g));
    return VCH_OK;
}

vch_rc vch_use_version(vch_ledger_t *l, const vch_id_t *version, vch_version_value_t *ret, vch_err_t *err)
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
    if (rc == VCH_OK) rc = vch_use_version(l, &id, &v, err);
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
    uint64_t wall = l->port->clock->wall_ms(l->port);
    if (l->remote) return wall;
    vch_state_info(l->state, &info);
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
    if (l->remote) return rm_grant_rows(l, id, ret, err);
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

/* Takes the rows over, less those that an earlier grant permits. */
static vch_rc add_part(vch_use_t *u, const vch_id_t *id, vch_buf_t *rows)
{
    vch_use_part_t *p = &u->part[u->parts];
    if (u->parts == 0) VCH_TRY(vch_buf_put(&u->bits, rows->p, rows->n));
    for (size_t i = 0; u->parts && i < rows->n; i++) {
        rows->p[i] = (uint8_t)(rows->p[i] & ~u->bits.p[i]);
        u->bits.p[i] |= rows->p[i];
    }
    u->parts++;
    p->id = *id;
    p->bits = *rows;
    vch_buf_init(rows, 0);
    return VCH_OK;
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
    vch_rc rc = vch_value(l, &key, &value, err);
    if (rc == VCH_OK) rc = vch_grant_get(&g, vch_buf_slice(&value));
    if (rc == VCH_OK) rc = check_grant(&g, party, now, err);
    if (rc == VCH_OK && !first && !vch_id_eq(&g.version, &u->version))
        rc = vch_fail(err, VCH_ERR_CONFLICT, "a run's grants are of one version");
    if (rc == VCH_OK) rc = grant_rows(l, id, &g, now, &rows, err);
    if (rc == VCH_OK && first) u->version = g.version;
    if (rc == VCH_OK) u->groups = first ? g.groups : u->groups & g.groups;
    if (rc == VCH_OK) rc = add_part(u, id, &rows);
    vch_buf_free(&value);
    vch_buf_free(&rows);
    return rc;
}

/* There is no row behind an extent's last one, whoever says so. */
static vch_rc check_padding(const vch_use_t *u, size_t at, uint32_t rows, vch_err_t *err)
{
    size_t n = vch_set_bytes(rows);
    bool good = at <= u->bits.n && n <= u->bits.n - at;
    for (size_t row = rows; good && row < 8 * n; row++) good = !vch_bit(u->bits.p + at, (uint32_t)row);
    return good ? VCH_OK : vch_fail(err, VCH_ERR_CORRUPT, "a grant's rows are not its version's");
}

static vch_rc load_extents(vch_use_t *u, vch_ledger_t *l, uint32_t extents, vch_err_t *err)
{
    u->extents = extents;
    u->id = vch_arena_array(&u->arena, extents, sizeof *u->id);
    u->rows = vch_arena_array(&u->arena, extents, sizeof *u->rows);
    u->at = vch_arena_array(&u->arena, extents, sizeof *u->at);
    if (!u->id || !u->rows || !u->at) return no_memory(err);
    size_t at = 0;
    for (uint32_t i = 0; i < extents; i++) {
        vch_buf_t value;
        vch_extent_value_t e;
        vch_state_key_t key = vch_key_id_u32('e', u->dataset.b, i);
        vch_buf_init(&value, 4096);
        vch_rc rc = vch_value(l, &key, &value, err);
        if (rc == VCH_OK) rc = vch_extent_get(&e, vch_buf_slice(&value));
        vch_buf_free(&value);
        VCH_TRY(rc);
        VCH_TRY(check_padding(u, at, e.count, err));
        u->id[i] = e.id;
        u->rows[i] = e.count;
        u->at[i] = at;
        at += vch_set_bytes(e.count);
    }
    return at == u->bits.n ? VCH_OK : vch_fail(err, VCH_ERR_CORRUPT, "a grant's rows are not its version's");
}

/* What the version says, once version, groups and rows are known. */
static vch_rc describe(vch_use_t *u, vch_ledger_t *l, vch_err_t *err)
{
    vch_version_value_t v;
    VCH_TRY(vch_use_version(l, &u->version, &v, err));
    u->dataset = v.dataset;
    VCH_TRY(load_extents(u, l, v.extents, err));
    for (size_t i = 0; i < u->bits.n; i++) u->count += (uint64_t)__builtin_popcount(u->bits.p[i]);
    return vch_dataset_fields(l, &u->dataset, &u->arena, &u->fields, err);
}

static vch_rc use_grants(vch_use_t *u, vch_ledger_t *l, const vch_id_t *party, const vch_id_t *grants, size_t n,
                         vch_err_t *err)
{
    for (size_t i = 0; i < n; i++) VCH_TRY(add_grant(u, l, &grants[i], party, i == 0, err));
    return describe(u, l, err);
}

static vch_rc begin_use(vch_use_t *u, size_t parts, vch_err_t *err)
{
    *u = (vch_use_t){.count = 0};
    vch_buf_init(&u->bits, 1u << 30);
    vch_arena_init(&u->arena, 64u << 20);
    u->part = vch_alloc_array(parts, sizeof *u->part);
    return u->part ? VCH_OK : no_memory(err);
}

vch_rc vch_use_of_party(vch_use_t *ret, vch_ledger_t *l, const vch_id_t *party, const vch_id_t *grants, size_t n,
                        vch_err_t *err)
{
    vch_rc rc = begin_use(ret, n, err);
    if (rc == VCH_OK) rc = use_grants(ret, l, party, grants, n, err);
    if (rc != VCH_OK) vch_use_close(ret);
    return rc;
}

/* ---- a subject's own ------------------------------------------------------------------ */

static vch_rc check_own(vch_ledger_t *l, const vch_own_value_t *own, vch_err_t *err)
{
    vch_buf_t value;
    vch_version_value_t v;
    if (!own->permit) return vch_fail(err, VCH_ERR_DENIED, "the own access was denied");
    if (own->expires.ms < now_ms(l)) {
        vch_fail(err, VCH_ERR_EXPIRED, "the own access has expired");
        return vch_hint(err, VCH_ERR_EXPIRED, "ask again: vouch access own");
    }
    VCH_TRY(vch_use_version(l, &own->version, &v, err));
    vch_state_key_t key = vch_key_id_u32('z', v.dataset.b, own->subject);
    vch_buf_init(&value, 1024);
    vch_rc rc = vch_state_get(l->state, vch_key_slice(&key), &value, NULL);
    vch_buf_free(&value);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    if (rc == VCH_OK) return vch_fail(err, VCH_ERR_DENIED, "the subject was erased since");
    return vch_fail(err, rc, "whether the subject was erased can't be read: %s", vch_rc_text(rc));
}

/* Rows in the index are derived, and here nothing else is asked: they must be
 * those that the state names. */
static vch_rc are_decided(vch_use_t *u, const vch_own_value_t *own, const vch_buf_t *rows, vch_err_t *err)
{
    vch_hash_t root;
    vch_rc rc = vch_set_root(&root, rows->p, rows->n, &u->arena);
    if (rc == VCH_ERR_MEMORY) return no_memory(err);
    if (rc == VCH_OK && vch_hash_eq(&root, &own->set_root)) return VCH_OK;
    return vch_fail(err, VCH_ERR_CORRUPT, "the rows of an own access in the index are not those on the ledger");
}

static vch_rc use_own(vch_use_t *u, vch_ledger_t *l, const vch_own_value_t *own, const vch_id_t *grant, vch_err_t *err)
{
    vch_buf_t rows;
    VCH_TRY(check_own(l, own, err));
    u->version = own->version;
    u->groups = own->groups;
    vch_buf_init(&rows, 1u << 30);
    vch_rc rc = vch_state_bitmap(l->state, grant, &rows, err);
    if (rc == VCH_OK) rc = are_decided(u, own, &rows, err);
    if (rc == VCH_OK) rc = add_part(u, grant, &rows);
    vch_buf_free(&rows);
    return rc == VCH_OK ? describe(u, l, err) : rc;
}

vch_rc vch_own_load(vch_ledger_t *l, const vch_id_t *grant, vch_buf_t *value, vch_own_value_t *ret)
{
    vch_state_key_t key = vch_key_id('o', grant->b);
    vch_buf_clear(value);
    VCH_TRY(vch_value(l, &key, value, NULL));
    return vch_own_get(ret, vch_buf_slice(value));
}

vch_rc vch_use_of_subject(vch_use_t *ret, vch_ledger_t *l, const vch_id_t *grant, vch_err_t *err)
{
    vch_buf_t value;
    vch_own_value_t own;
    vch_buf_init(&value, 4096);
    vch_rc rc = begin_use(ret, 1, err);
    if (rc == VCH_OK) rc = vch_own_load(l, grant, &value, &own);
    if (rc == VCH_OK) rc = use_own(ret, l, &own, grant, err);
    vch_buf_free(&value);
    if (rc != VCH_OK) vch_use_close(ret);
    return rc;
}

/* ---- a party's -------------------------------------------------------------------------- */

/* A subject's own access is no party's, and is fetched as it is made. */
static vch_rc none_is_own(vch_ledger_t *l, const vch_id_t *grants, size_t n, vch_err_t *err)
{
    vch_buf_t value;
    vch_own_value_t own;
    vch_rc rc = VCH_ERR_NOT_FOUND;
    vch_buf_init(&value, 4096);
    for (size_t i = 0; rc == VCH_ERR_NOT_FOUND && i < n; i++) rc = vch_own_load(l, &grants[i], &value, &own);
    vch_buf_free(&value);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    VCH_TRY(rc);
    vch_fail(err, VCH_ERR_ROLE, "this is a subject's own access: its key alone may fetch the rows, no party's");
    return vch_hint(err, VCH_ERR_ROLE, "own rows come out as they are asked for: vouch access own");
}

vch_rc vch_use_open(vch_use_t *ret, vch_ledger_t *l, const vch_signer_t *signer, const vch_id_t *grants, size_t n,
                    vch_err_t *err)
{
    vch_id_t party;
    *ret = (vch_use_t){.count = 0};
    VCH_TRY(vch_look_begin(l, err));
    vch_rc rc = vch_party_of(l, signer, &party, err);
    if (rc == VCH_OK) rc = none_is_own(l, grants, n, err);
    if (rc == VCH_OK) rc = vch_use_of_party(ret, l, &party, grants, n, err);
    vch_look_end(l);
    return rc;
}

void vch_use_close(vch_use_t *u)
{
    for (size_t i = 0; i < u->parts; i++) vch_buf_free(&u->part[i].bits);
    vch_free(u->part);
    vch_buf_free(&u->bits);
    vch_arena_free(&u->arena);
    *u = (vch_use_t){.count = 0};
}

/* ---- rows of one grant ---------------------------------------------------------------------- */

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

vch_rc vch_use_write_csv(vch_use_t *u, vch_ledger_t *l, const vch_signer_t *signer, const char *path, vch_err_t *err)
{
    char spool[VCH_PATH_MAX];
    uint32_t(*row)[2] = NULL;
    vch_fetch_t *f;
    if (vch_path(spool, "%s.vouch-spool", path) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    VCH_TRY(all_rows(u, &row, err));
    vch_rc rc = vch_fetch_open(&f, u, l, signer, spool, err);
    if (rc == VCH_OK) {
        rc = vch_fetch_write_csv(f, path, (const uint32_t(*)[2])row, (size_t)u->count, err);
        vch_rc closed = vch_fetch_close(f, rc == VCH_OK ? err : NULL);
        if (rc == VCH_OK) rc = closed;
    }
    vch_free(row);
    return rc;
}

VCH_API vch_rc vch_access_fetch(vch_ledger_t *l, const vch_signer_t *signer, const char *grant, const char *csv_path,
                                uint64_t *ret_rows, vch_err_t *err)
{
    vch_id_t id;
    vch_use_t u;
    VCH_TRY(vch_look_begin(l, err));
    vch_rc rc = vch_resolve(l, 'a', grant, &id, err);
    vch_look_end(l);
    if (rc == VCH_OK) rc = vch_use_open(&u, l, signer, &id, 1, err);
    if (rc != VCH_OK) return nd_told(rc, err);
    rc = vch_use_write_csv(&u, l, signer, csv_path, err);
    if (rc == VCH_OK) *ret_rows = u.count;
    vch_use_close(&u);
    return nd_told(rc, err);
}
