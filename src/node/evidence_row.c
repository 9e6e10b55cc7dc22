/* SPDX-License-Identifier: Apache-2.0 */
/* Two claims about one person's data: what is in force for a subject, and
 * whether a row was trained on. */
#include "codec/cbor.h"
#include "codec/text.h"
#include "node/custody.h"
#include "node/evidence.h"

#define AT(x) (unsigned long long)(x)

/* The part behind the last '/', as a number; *name keeps what is before. */
static vch_rc take_number(char *name, uint64_t max, uint64_t *ret, const char *what, vch_err_t *err)
{
    char *slash = strrchr(name, '/');
    if (!slash || vch_decimal_get(ret, vch_str(slash + 1)) != VCH_OK || *ret > max) {
        vch_fail(err, VCH_ERR_USAGE, "\"%.200s\" does not end in a %s number", name, what);
        return vch_hint(err, VCH_ERR_USAGE,
                        "consent: DATASET/SUBJECT, row: RUN/EXTENT/ROW, decision: DEPLOYMENT/NUMBER");
    }
    *slash = 0;
    return VCH_OK;
}

static vch_rc value_now(vch_ledger_t *l, const vch_state_key_t *key, vch_buf_t *ret, vch_err_t *err)
{
    vch_buf_clear(ret);
    return vch_state_get(l->state, vch_key_slice(key), ret, err);
}

/* ---- consent ---------------------------------------------------------------------- */

typedef struct {
    ev_t *ev;
    vch_id_t dataset;
    uint32_t subject;
    uint64_t commit;
    bool has_chunk;
    vch_cell_t cell;
    vch_slice_t path;
    unsigned status; /* 0 never, 1 in force, 2 withdrawn */
} consent_t;

static vch_rc take_cell(consent_t *c, vch_state_t *s)
{
    uint32_t number = c->subject / VCH_CHUNK, at = c->subject % VCH_CHUNK;
    vch_cell_t *cell = vch_alloc_array(VCH_CHUNK, sizeof *cell);
    vch_hash_t *leaf = vch_alloc_array(VCH_CHUNK, sizeof *leaf);
    vch_rc rc = cell && leaf ? vch_state_chunk(s, &c->dataset, number, cell, c->ev->err) : ev_no_memory(c->ev);
    for (size_t i = 0; rc == VCH_OK && i < VCH_CHUNK; i++) vch_cell_leaf(&leaf[i], &cell[i]);
    if (rc == VCH_OK) {
        c->cell = cell[at];
        rc = ev_tree_path(c->ev, leaf, VCH_CHUNK, at, &c->path);
    }
    vch_free(leaf);
    vch_free(cell);
    return rc;
}

static vch_rc take_set(consent_t *c)
{
    vch_palette_value_t set = {0};
    vch_slice_t value = {NULL, 0};
    if (c->cell.index) {
        vch_state_key_t key = vch_key_id_u16('c', c->dataset.b, c->cell.index);
        VCH_TRY(ev_value(c->ev, c->commit, &key, &value));
        VCH_TRY(vch_palette_get(&set, value));
    }
    for (size_t i = 0; i < set.items; i++) { /* so that whoever reads it can see what was agreed */
        vch_state_key_t key = vch_key_id('t', set.item[i].terms.b);
        VCH_TRY(ev_value(c->ev, c->commit, &key, &value));
    }
    c->status = set.items ? 1 : c->cell.index || c->cell.serial ? 2 : 0;
    return VCH_OK;
}

typedef struct {
    const vch_hash_t *hash;
    bool found;
    uint64_t index;
    uint32_t number;
} search_t;

static vch_rc look(void *ctx, const vch_log_entry_t *e)
{
    search_t *s = ctx;
    vch_kind_t kind;
    vch_hash_t leaf;
    VCH_TRY(vch_leaf_kind(&kind, e->record.entry));
    const vch_schema_t *schema = vch_schema(kind);
    if (!schema || !schema->owner_signed) return VCH_OK;
    for (uint32_t i = 0; i < e->record.count; i++) {
        bool erased = e->record.erased && e->record.erased[i];
        if (erased)
            memcpy(leaf.b, e->record.statements[i].p, 32);
        else
            vch_tree_leaf(&leaf, e->record.statements[i]);
        if (!vch_hash_eq(&leaf, s->hash)) continue;
        *s = (search_t){s->hash, true, e->index, i};
        return VCH_ERR_INTERRUPTED; /* enough */
    }
    return VCH_OK;
}

/* What an owner signed goes with the key that the state ties to the subject;
 * that there is none would say nothing. */
static vch_rc take_owner(consent_t *c, const vch_statement_t *st)
{
    vch_slice_t value;
    if (!vch_owner_speaks(st->kind, st->fields)) return VCH_OK;
    vch_state_key_t key = vch_key_id_u32('S', c->dataset.b, c->subject);
    return ev_value(c->ev, c->commit, &key, &value);
}

/* An own access names a version, and only that says of which dataset. */
static vch_rc take_version(consent_t *c, const vch_statement_t *st)
{
    vch_id_t version;
    vch_slice_t value;
    if (st->kind != VCH_KIND_OWN_ACCESS) return VCH_OK;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_OWN_VERSION, version.b, 32));
    vch_state_key_t key = vch_key_id('v', version.b);
    return ev_value(c->ev, c->commit, &key, &value);
}

static vch_rc take_last(consent_t *c)
{
    static const vch_hash_t none;
    search_t s = {.hash = &c->cell.last};
    vch_statement_t st;
    if (vch_hash_eq(&c->cell.last, &none)) return VCH_OK;
    vch_rc rc = vch_log_replay(c->ev->l->log, 0, c->commit, look, &s, NULL);
    if (!s.found && rc != VCH_OK) return vch_fail(c->ev->err, rc, "the log can't be searched: %s", vch_rc_text(rc));
    if (!s.found) return vch_fail(c->ev->err, VCH_ERR_CORRUPT, "the statement behind a consent is not in the log");
    VCH_TRY(ev_statement(c->ev, s.index, s.number, &st));
    VCH_TRY(take_version(c, &st));
    return take_owner(c, &st);
}

static vch_rc put_consent(const consent_t *c)
{
    vch_buf_t *b = &c->ev->claim;
    uint8_t cell[VCH_CELL_LEN];
    const uint64_t number[] = {c->subject, c->status, c->commit};
    VCH_TRY(vch_cbor_map(b, c->has_chunk ? 7 : 5));
    VCH_TRY(vch_cbor_uint(b, 0));
    VCH_TRY(vch_cbor_uint(b, 3));
    VCH_TRY(vch_cbor_uint(b, 1));
    VCH_TRY(vch_cbor_bytes(b, c->dataset.b, 32));
    for (uint64_t i = 0; i < 3; i++) {
        VCH_TRY(vch_cbor_uint(b, 2 + i));
        VCH_TRY(vch_cbor_uint(b, number[i]));
    }
    if (!c->has_chunk) return VCH_OK;
    vch_cell_put(cell, &c->cell);
    VCH_TRY(vch_cbor_uint(b, 5));
    VCH_TRY(vch_cbor_bytes(b, cell, sizeof cell));
    VCH_TRY(vch_cbor_uint(b, 6));
    return vch_cbor_bytes(b, c->path.p, c->path.n);
}

static vch_rc find_subject(consent_t *c, const char *id)
{
    char name[512];
    uint64_t subject;
    vch_buf_t value;
    vch_dataset_value_t head = {0};
    if (strlen(id) >= sizeof name) return vch_fail(c->ev->err, VCH_ERR_USAGE, "a name of %zu bytes", strlen(id));
    memcpy(name, id, strlen(id) + 1);
    VCH_TRY(take_number(name, UINT32_MAX, &subject, "subject's", c->ev->err));
    VCH_TRY(vch_resolve(c->ev->l, 'd', name, &c->dataset, c->ev->err));
    vch_state_key_t key = vch_key_id('d', c->dataset.b);
    vch_buf_init(&value, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = value_now(c->ev->l, &key, &value, c->ev->err);
    if (rc == VCH_OK) rc = vch_dataset_get(&head, vch_buf_slice(&value));
    vch_buf_free(&value);
    VCH_TRY(rc);
    c->subject = (uint32_t)subject;
    if (subject < head.subjects) return VCH_OK;
    vch_fail(c->ev->err, VCH_ERR_NOT_FOUND, "dataset \"%.200s\" has %u subjects, there is no number %llu", name,
             head.subjects, AT(subject));
    return vch_hint(c->ev->err, VCH_ERR_NOT_FOUND, "numbers begin at 0; see them with: vouch consent list");
}

vch_rc ev_claim_consent(ev_t *ev, const char *id)
{
    consent_t c = {.ev = ev, .commit = ev->size - 1};
    vch_state_t *s;
    vch_slice_t value = {NULL, 0};
    VCH_TRY(find_subject(&c, id));
    VCH_TRY(ev_state(ev, c.commit, &s));
    vch_state_key_t key = vch_key_id_u32('C', c.dataset.b, c.subject / VCH_CHUNK);
    VCH_TRY(ev_item(ev, c.commit, &key, &value, &c.has_chunk));
    if (c.has_chunk) VCH_TRY(take_cell(&c, s));
    VCH_TRY(take_set(&c));
    VCH_TRY(take_last(&c));
    VCH_TRY(ev_signers(ev, c.commit));
    return put_consent(&c);
}

/* ---- a row: what is read before the lock is taken ------------------------------------- */

static vch_rc find_row(ev_row_t *r, vch_ledger_t *l, const char *run, vch_buf_t *value, vch_err_t *err)
{
    vch_run_value_t run_value;
    vch_version_value_t version;
    vch_extent_value_t extent;
    VCH_TRY(vch_resolve(l, 'r', run, &r->run, err));
    vch_state_key_t key = vch_key_id('r', r->run.b);
    VCH_TRY(value_now(l, &key, value, err));
    VCH_TRY(vch_run_get(&run_value, vch_buf_slice(value)));
    key = vch_key_id('v', run_value.version.b);
    VCH_TRY(value_now(l, &key, value, err));
    VCH_TRY(vch_version_get(&version, vch_buf_slice(value)));
    r->dataset = version.dataset;
    if (r->extent >= version.extents)
        return vch_fail(err, VCH_ERR_NOT_FOUND, "the run's version has extents 0 to %u, not %u", version.extents - 1,
                        r->extent);
    key = vch_key_id_u32('e', version.dataset.b, r->extent);
    VCH_TRY(value_now(l, &key, value, err));
    VCH_TRY(vch_extent_get(&extent, vch_buf_slice(value)));
    if (r->row < extent.count) return VCH_OK;
    return vch_fail(err, VCH_ERR_NOT_FOUND, "extent %u has rows 0 to %u, not %u", r->extent, extent.count - 1, r->row);
}

static vch_rc copy_row(ev_row_t *r, vch_rows_t *rows, vch_err_t *err)
{
    vch_row_t row;
    VCH_TRY(vch_rows_get(rows, r->row, &row, err));
    r->groups = row.groups;
    for (size_t g = 0; g < row.groups; g++) {
        r->commitment[g] = row.commitment[g];
        memcpy(r->salt[g], row.salt[g], VCH_ROW_SALT_LEN);
        VCH_TRY(vch_buf_put(&r->canonical[g], row.canonical[g].p, row.canonical[g].n));
    }
    return VCH_OK;
}

static vch_rc rows_path(ev_row_t *r, const vch_hash_t *commitment, uint32_t rows, uint32_t groups)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    vch_hash_t *leaf = vch_alloc_array(rows, sizeof *leaf), *work = vch_alloc_array(rows, sizeof *work);
    vch_rc rc = leaf && work ? VCH_OK : VCH_ERR_MEMORY;
    if (rc == VCH_OK) {
        for (size_t i = 0; i < rows; i++)
            vch_tree_leaf(&leaf[i], vch_slice(commitment + i * groups, groups * sizeof *commitment));
        size_t n = vch_tree_path(path, leaf, rows, r->row, work);
        void *copy = vch_arena_copy(&r->arena, path, n * sizeof *path);
        r->path = vch_slice(copy, n * sizeof *path);
        if (!copy) rc = VCH_ERR_MEMORY;
    }
    vch_free(work);
    vch_free(leaf);
    return rc;
}

static vch_rc disclose(ev_row_t *r, vch_ledger_t *l, vch_err_t *err)
{
    vch_rows_t *rows;
    vch_hash_t *commitment;
    uint32_t n, groups;
    vch_rc rc = vch_rows_open(&rows, l, &r->dataset, r->extent, err);
    if (rc == VCH_ERR_NOT_FOUND) { /* another directory is the custodian's: the row itself stays there */
        if (err) *err = (vch_err_t){0};
        return VCH_OK;
    }
    VCH_TRY(rc);
    if (vch_rows_in_vault(rows)) { /* who may see it brings a grant of its own */
        vch_rows_close(rows);
        return VCH_OK;
    }
    rc = copy_row(r, rows, err);
    vch_rows_close(rows);
    VCH_TRY(rc);
    VCH_TRY(vch_rows_commitments(l, &r->dataset, r->extent, &commitment, &n, &groups, err));
    rc = r->row < n && groups == r->groups ? rows_path(r, commitment, n, groups) : VCH_ERR_CORRUPT;
    vch_free(commitment);
    r->disclosed = rc == VCH_OK;
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the commitments of extent %u: %s", r->extent, vch_rc_text(rc));
}

vch_rc ev_row_read(ev_row_t *r, vch_ledger_t *l, const char *id, vch_err_t *err)
{
    char name[512];
    uint64_t extent = 0, row = 0;
    vch_buf_t value;
    *r = (ev_row_t){0};
    vch_arena_init(&r->arena, 1u << 20);
    for (size_t g = 0; g < VCH_GROUPS_MAX; g++) vch_buf_init(&r->canonical[g], VCH_BUNDLE_BYTES_MAX / 2);
    if (strlen(id) >= sizeof name) return vch_fail(err, VCH_ERR_USAGE, "a name of %zu bytes", strlen(id));
    memcpy(name, id, strlen(id) + 1);
    VCH_TRY(take_number(name, UINT32_MAX, &row, "row", err));
    VCH_TRY(take_number(name, UINT32_MAX, &extent, "extent", err));
    r->extent = (uint32_t)extent;
    r->row = (uint32_t)row;
    vch_buf_init(&value, VCH_BUNDLE_BYTES_MAX);
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = find_row(r, l, name, &value, err);
    vch_ledger_read_end(l);
    vch_buf_free(&value);
    return rc == VCH_OK ? disclose(r, l, err) : rc;
}

void ev_row_free(ev_row_t *r)
{
    for (size_t g = 0; g < VCH_GROUPS_MAX; g++) {
        if (r->canonical[g].p) vch_wipe(r->canonical[g].p, r->canonical[g].n);
        vch_buf_free(&r->canonical[g]);
    }
    vch_wipe(r->salt, sizeof r->salt);
    vch_arena_free(&r->arena);
}

/* ---- a row: the claim ------------------------------------------------------------------ */

typedef struct {
    vch_slice_t leaf, path;
    bool in_set;
} bit_t;

static vch_rc find_bit(ev_t *ev, const ev_row_t *r, uint64_t commit, vch_slice_t set, bit_t *ret)
{
    vch_state_key_t key = vch_key_id('r', r->run.b);
    vch_run_value_t run;
    vch_version_value_t version;
    vch_extent_value_t extent;
    vch_slice_t value = {NULL, 0};
    size_t leaves = 0, at = 0;
    VCH_TRY(ev_value(ev, commit, &key, &value));
    VCH_TRY(vch_run_get(&run, value));
    key = vch_key_id('v', run.version.b);
    VCH_TRY(ev_value(ev, commit, &key, &value));
    VCH_TRY(vch_version_get(&version, value));
    for (uint32_t i = 0; i < version.extents; i++) {
        key = vch_key_id_u32('e', version.dataset.b, i);
        VCH_TRY(ev_value(ev, commit, &key, &value));
        VCH_TRY(vch_extent_get(&extent, value));
        if (i == r->extent) at = leaves + r->row / 2048;
        leaves += vch_set_bytes(extent.count) / VCH_BITMAP_LEAF;
    }
    if (set.n != leaves * VCH_BITMAP_LEAF || at >= leaves)
        return vch_fail(ev->err, VCH_ERR_CORRUPT, "the run's set of rows is not one of its version");
    vch_hash_t *hash = vch_arena_array(&ev->arena, leaves, sizeof *hash);
    if (!hash) return ev_no_memory(ev);
    for (size_t i = 0; i < leaves; i++)
        vch_tree_leaf(&hash[i], vch_slice(set.p + i * VCH_BITMAP_LEAF, VCH_BITMAP_LEAF));
    ret->leaf = vch_slice(set.p + at * VCH_BITMAP_LEAF, VCH_BITMAP_LEAF);
    ret->in_set = vch_bit(ret->leaf.p, r->row % 2048);
    return ev_tree_path(ev, hash, leaves, at, &ret->path);
}

static vch_rc put_content(vch_buf_t *b, const ev_row_t *r)
{
    VCH_TRY(vch_cbor_uint(b, 7));
    VCH_TRY(vch_cbor_map(b, 3));
    VCH_TRY(vch_cbor_uint(b, 0));
    VCH_TRY(vch_cbor_bytes(b, r->commitment, r->groups * sizeof *r->commitment));
    VCH_TRY(vch_cbor_uint(b, 1));
    VCH_TRY(vch_cbor_bytes(b, r->path.p, r->path.n));
    VCH_TRY(vch_cbor_uint(b, 2));
    VCH_TRY(vch_cbor_array(b, r->groups));
    for (size_t g = 0; g < r->groups; g++) {
        VCH_TRY(vch_cbor_map(b, 3));
        VCH_TRY(vch_cbor_uint(b, 0));
        VCH_TRY(vch_cbor_uint(b, g));
        VCH_TRY(vch_cbor_uint(b, 1));
        VCH_TRY(vch_cbor_bytes(b, r->salt[g], VCH_ROW_SALT_LEN));
        VCH_TRY(vch_cbor_uint(b, 2));
        VCH_TRY(vch_cbor_bytes(b, r->canonical[g].p, r->canonical[g].n));
    }
    return VCH_OK;
}

static vch_rc put_row(ev_t *ev, const ev_row_t *r, const bit_t *bit)
{
    vch_buf_t *b = &ev->claim;
    VCH_TRY(vch_cbor_map(b, r->disclosed ? 8 : 7));
    VCH_TRY(vch_cbor_uint(b, 0));
    VCH_TRY(vch_cbor_uint(b, 4));
    VCH_TRY(vch_cbor_uint(b, 1));
    VCH_TRY(vch_cbor_bytes(b, r->run.b, 32));
    VCH_TRY(vch_cbor_uint(b, 2));
    VCH_TRY(vch_cbor_uint(b, r->extent));
    VCH_TRY(vch_cbor_uint(b, 3));
    VCH_TRY(vch_cbor_uint(b, r->row));
    VCH_TRY(vch_cbor_uint(b, 4));
    VCH_TRY(vch_cbor_bool(b, bit->in_set));
    VCH_TRY(vch_cbor_uint(b, 5));
    VCH_TRY(vch_cbor_bytes(b, bit->leaf.p, bit->leaf.n));
    VCH_TRY(vch_cbor_uint(b, 6));
    VCH_TRY(vch_cbor_bytes(b, bit->path.p, bit->path.n));
    return r->disclosed ? put_content(b, r) : VCH_OK;
}

static vch_rc load_set(ev_t *ev, const vch_statement_t *run, vch_slice_t *ret)
{
    vch_hash_t root;
    vch_buf_t bits;
    VCH_TRY(vch_field_fixed(run->fields, VCH_F_RUN_SET_ROOT, root.b, 32));
    vch_buf_init(&bits, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = vch_set_load(ev->l, &root, &bits, ev->err);
    if (rc == VCH_OK) rc = ev_copy(ev, vch_buf_slice(&bits), ret);
    vch_buf_free(&bits);
    return rc;
}

vch_rc ev_claim_row(ev_t *ev, const ev_row_t *r)
{
    vch_statement_t run;
    uint64_t index;
    vch_slice_t set;
    bit_t bit = {.in_set = false};
    VCH_TRY(ev_object(ev, &r->run, VCH_KIND_RUN, &run, &index));
    VCH_TRY(load_set(ev, &run, &set));
    uint64_t commit = ev_find_leaf(ev, index)->commit;
    VCH_TRY(find_bit(ev, r, commit, set, &bit));
    VCH_TRY(ev_signers(ev, commit));
    return put_row(ev, r, &bit);
}
