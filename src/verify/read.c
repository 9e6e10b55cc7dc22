/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes to the bag (docs/formats/bundle.cddl): exactly that form, every
 * count limited, nothing copied but the fixed-size pieces. */
#include "verify/verify_impl.h"

static vch_rc key_is(vch_cbor_t *c, uint64_t key)
{
    uint64_t k;
    VCH_TRY(vch_cbor_get_uint(c, &k));
    return k == key ? VCH_OK : VCH_ERR_FORMAT;
}

static vch_rc uint_at(vch_cbor_t *c, uint64_t key, uint64_t *ret)
{
    VCH_TRY(key_is(c, key));
    return vch_cbor_get_uint(c, ret);
}

static vch_rc bytes_at(vch_cbor_t *c, uint64_t key, vch_slice_t *ret)
{
    VCH_TRY(key_is(c, key));
    return vch_cbor_get_bytes(c, ret);
}

static vch_rc fixed_at(vch_cbor_t *c, uint64_t key, void *ret, size_t n)
{
    VCH_TRY(key_is(c, key));
    return vch_cbor_get_fixed(c, ret, n);
}

static vch_rc path_ok(vch_slice_t p, size_t hashes_max)
{
    return p.n % 32 == 0 && p.n / 32 <= hashes_max ? VCH_OK : VCH_ERR_FORMAT;
}

static vch_rc path_at(vch_cbor_t *c, uint64_t key, size_t hashes_max, vch_slice_t *ret)
{
    VCH_TRY(bytes_at(c, key, ret));
    return path_ok(*ret, hashes_max);
}

static vch_rc map_of(vch_cbor_t *c, uint64_t min, uint64_t max, uint64_t *ret_pairs)
{
    VCH_TRY(vch_cbor_get_map(c, ret_pairs));
    return *ret_pairs >= min && *ret_pairs <= max ? VCH_OK : VCH_ERR_FORMAT;
}

/* An array and the room for its elements. */
static vch_rc list_at(verify_t *v, vch_cbor_t *c, uint64_t key, size_t max, size_t size, void *ret, size_t *ret_n)
{
    uint64_t n;
    VCH_TRY(key_is(c, key));
    VCH_TRY(vch_cbor_get_array(c, &n));
    if (n > max) return VCH_ERR_LIMIT;
    void *p = vch_arena_array(v->arena, (size_t)n, size);
    if (!p) return VCH_ERR_MEMORY;
    memcpy(ret, &p, sizeof p);
    *ret_n = (size_t)n;
    return VCH_OK;
}

/* ---- the claim ---------------------------------------------------------------- */

static vch_rc read_id(verify_t *v, vch_cbor_t *c, uint64_t pairs)
{
    (void)pairs;
    return fixed_at(c, 1, v->claim.id.b, 32);
}

static vch_rc read_decision(verify_t *v, vch_cbor_t *c, uint64_t pairs)
{
    vfy_claim_t *k = &v->claim;
    VCH_TRY(read_id(v, c, pairs));
    VCH_TRY(uint_at(c, 2, &k->number));
    VCH_TRY(list_at(v, c, 3, VCH_BUNDLE_BYTES_MAX, sizeof *k->leaf, &k->leaf, &k->leaves));
    if (k->leaves == 0) return VCH_ERR_FORMAT;
    for (size_t i = 0; i < k->leaves; i++) VCH_TRY(vch_cbor_get_bytes(c, &k->leaf[i]));
    return path_at(c, 4, VCH_PATH_HASHES_MAX, &k->path);
}

static vch_rc read_consent(verify_t *v, vch_cbor_t *c, uint64_t pairs)
{
    vfy_claim_t *k = &v->claim;
    VCH_TRY(read_id(v, c, pairs));
    VCH_TRY(uint_at(c, 2, &k->number));
    VCH_TRY(uint_at(c, 3, &k->state));
    VCH_TRY(uint_at(c, 4, &k->commit));
    if (k->number > UINT32_MAX || k->state > 2 || pairs == 6) return VCH_ERR_FORMAT;
    k->has_cell = pairs == 7;
    if (!k->has_cell) return VCH_OK;
    VCH_TRY(bytes_at(c, 5, &k->cell));
    if (k->cell.n != VCH_CELL_LEN) return VCH_ERR_FORMAT;
    return path_at(c, 6, 12, &k->path);
}

static vch_rc read_disclosed(verify_t *v, vch_cbor_t *c, vfy_claim_t *k)
{
    uint64_t pairs;
    VCH_TRY(list_at(v, c, 2, VCH_GROUPS_MAX, sizeof *k->group, &k->group, &k->groups));
    for (size_t i = 0; i < k->groups; i++) {
        VCH_TRY(map_of(c, 3, 3, &pairs));
        VCH_TRY(uint_at(c, 0, &k->group[i].number));
        VCH_TRY(fixed_at(c, 1, k->group[i].salt, VCH_ROW_SALT_LEN));
        VCH_TRY(bytes_at(c, 2, &k->group[i].bytes));
    }
    return VCH_OK;
}

static vch_rc read_row(verify_t *v, vch_cbor_t *c, uint64_t pairs)
{
    vfy_claim_t *k = &v->claim;
    VCH_TRY(read_id(v, c, pairs));
    VCH_TRY(uint_at(c, 2, &k->number));
    VCH_TRY(uint_at(c, 3, &k->state));
    VCH_TRY(key_is(c, 4));
    VCH_TRY(vch_cbor_get_bool(c, &k->in_set));
    VCH_TRY(bytes_at(c, 5, &k->bits));
    VCH_TRY(path_at(c, 6, VCH_PATH_HASHES_MAX, &k->path));
    if (k->bits.n != VCH_BITMAP_LEAF || k->number > UINT32_MAX) return VCH_ERR_FORMAT;
    k->has_row = pairs == 8;
    if (!k->has_row) return VCH_OK;
    VCH_TRY(key_is(c, 7));
    VCH_TRY(map_of(c, 3, 3, &pairs));
    VCH_TRY(bytes_at(c, 0, &k->commitments));
    VCH_TRY(path_at(c, 1, VCH_PATH_HASHES_MAX, &k->row_path));
    VCH_TRY(path_ok(k->commitments, VCH_GROUPS_MAX));
    return read_disclosed(v, c, k);
}

/* Numbers below 2^32, strictly ascending. */
static vch_rc read_numbers(verify_t *v, vch_cbor_t *c, uint64_t key, uint64_t **ret, size_t *ret_n)
{
    VCH_TRY(list_at(v, c, key, VFY_ERASED_MAX, sizeof **ret, ret, ret_n));
    for (size_t i = 0; i < *ret_n; i++) {
        VCH_TRY(vch_cbor_get_uint(c, &(*ret)[i]));
        if ((*ret)[i] > UINT32_MAX || (i > 0 && (*ret)[i] <= (*ret)[i - 1])) return VCH_ERR_FORMAT;
    }
    return VCH_OK;
}

static vch_rc read_erasure(verify_t *v, vch_cbor_t *c, uint64_t pairs)
{
    vfy_claim_t *k = &v->claim;
    VCH_TRY(read_id(v, c, pairs));
    VCH_TRY(read_numbers(v, c, 2, &k->subject, &k->subjects));
    VCH_TRY(read_numbers(v, c, 3, &k->extent, &k->extents));
    VCH_TRY(uint_at(c, 4, &k->state));
    VCH_TRY(uint_at(c, 5, &k->grade));
    VCH_TRY(uint_at(c, 6, &k->commit));
    return k->subjects > 0 && k->state <= 2 && k->grade <= VCH_GRADE_B ? VCH_OK : VCH_ERR_FORMAT;
}

static vch_rc read_claim(verify_t *v, vch_cbor_t *c)
{
    static const struct {
        uint8_t min, max; /* pairs */
        vch_rc (*read)(verify_t *, vch_cbor_t *, uint64_t pairs);
    } form[] = {{0, 0, NULL},     {5, 5, read_decision}, {2, 2, read_id},     {5, 7, read_consent},
                {7, 8, read_row}, {2, 2, read_id},       {7, 7, read_erasure}};
    uint64_t pairs, type;
    VCH_TRY(key_is(c, 2));
    VCH_TRY(map_of(c, 2, 8, &pairs));
    VCH_TRY(uint_at(c, 0, &type));
    if (type < VFY_DECISION || type > VFY_ERASURE) return VCH_ERR_VERSION;
    if (pairs < form[type].min || pairs > form[type].max) return VCH_ERR_FORMAT;
    v->claim.type = (vfy_type_t)type;
    return form[type].read(v, c, pairs);
}

/* ---- the bag -------------------------------------------------------------------- */

static vch_rc read_checkpoints(verify_t *v, vch_cbor_t *c)
{
    VCH_TRY(list_at(v, c, 3, VFY_CHECKPOINTS_MAX, sizeof *v->checkpoint, &v->checkpoint, &v->checkpoints));
    if (v->checkpoints == 0) return VCH_ERR_FORMAT;
    for (size_t i = 0; i < v->checkpoints; i++) VCH_TRY(vch_cbor_get_bytes(c, &v->checkpoint[i].note));
    return VCH_OK;
}

static vch_rc read_consistency(verify_t *v, vch_cbor_t *c)
{
    VCH_TRY(list_at(v, c, 4, VFY_CHECKPOINTS_MAX, sizeof *v->consistency, &v->consistency, &v->consistencies));
    if (v->consistencies != v->checkpoints - 1) return VCH_ERR_FORMAT;
    for (size_t i = 0; i < v->consistencies; i++) {
        VCH_TRY(vch_cbor_get_bytes(c, &v->consistency[i]));
        VCH_TRY(path_ok(v->consistency[i], VCH_PATH_HASHES_MAX));
    }
    return VCH_OK;
}

static vch_rc read_leaf(verify_t *v, vch_cbor_t *c, vfy_leaf_t *l)
{
    uint64_t pairs;
    VCH_TRY(map_of(c, 5, 5, &pairs));
    VCH_TRY(uint_at(c, 0, &l->index));
    VCH_TRY(bytes_at(c, 1, &l->bytes));
    VCH_TRY(uint_at(c, 2, &l->checkpoint));
    VCH_TRY(path_at(c, 3, VCH_PATH_HASHES_MAX, &l->path));
    if (l->bytes.n > VCH_ENTRY_BYTES_MAX || l->checkpoint >= v->checkpoints) return VCH_ERR_FORMAT;
    VCH_TRY(list_at(v, c, 4, VCH_TX_STATEMENTS_MAX, sizeof *l->statement, &l->statement, &l->statements));
    for (size_t i = 0; i < l->statements; i++) {
        vfy_statement_t *s = &l->statement[i];
        s->leaf = l;
        VCH_TRY(map_of(c, 3, 3, &pairs));
        VCH_TRY(uint_at(c, 0, &s->number));
        VCH_TRY(bytes_at(c, 1, &s->bytes));
        VCH_TRY(path_at(c, 2, VCH_PATH_HASHES_MAX, &s->path));
        if (i > 0 && s->number <= s[-1].number) return VCH_ERR_FORMAT;
    }
    return VCH_OK;
}

static vch_rc read_leaves(verify_t *v, vch_cbor_t *c)
{
    VCH_TRY(list_at(v, c, 5, VFY_LEAVES_MAX, sizeof *v->leaf, &v->leaf, &v->leaves));
    for (size_t i = 0; i < v->leaves; i++) {
        VCH_TRY(read_leaf(v, c, &v->leaf[i]));
        if (i > 0 && v->leaf[i].index <= v->leaf[i - 1].index) return VCH_ERR_FORMAT;
    }
    return VCH_OK;
}

/* {0 index, 1 key, ?2 value, 3 path, ?4 other}: with a value there is no other. */
static vch_rc read_item(vch_cbor_t *c, vfy_item_t *it)
{
    uint64_t pairs, key;
    VCH_TRY(map_of(c, 3, 4, &pairs));
    VCH_TRY(uint_at(c, 0, &it->index));
    VCH_TRY(bytes_at(c, 1, &it->key));
    if (it->key.n == 0 || it->key.n > VCH_STATE_KEY_MAX) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_uint(c, &key));
    it->present = key == 2;
    if (it->present) {
        VCH_TRY(vch_cbor_get_bytes(c, &it->value));
        if (pairs != 4) return VCH_ERR_FORMAT;
        return path_at(c, 3, VCH_SMT_PATH_MAX, &it->path);
    }
    if (key != 3) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_bytes(c, &it->path));
    VCH_TRY(path_ok(it->path, VCH_SMT_PATH_MAX));
    if (pairs == 3) return VCH_OK;
    VCH_TRY(bytes_at(c, 4, &it->other));
    return it->other.n == 64 ? VCH_OK : VCH_ERR_FORMAT;
}

static vch_rc read_items(verify_t *v, vch_cbor_t *c)
{
    VCH_TRY(list_at(v, c, 6, VFY_ITEMS_MAX, sizeof *v->item, &v->item, &v->items));
    for (size_t i = 0; i < v->items; i++) VCH_TRY(read_item(c, &v->item[i]));
    return VCH_OK;
}

static vch_rc read_keys(verify_t *v, vch_cbor_t *c)
{
    vch_slice_t bytes;
    VCH_TRY(list_at(v, c, 7, VFY_KEYS_MAX, sizeof *v->key, &v->key, &v->keys));
    for (size_t i = 0; i < v->keys; i++) {
        VCH_TRY(vch_cbor_get_bytes(c, &bytes));
        VCH_TRY(vch_pubkey_get(&v->key[i].key, bytes));
        v->key[i].id = vch_pubkey_id(&v->key[i].key);
    }
    return VCH_OK;
}

static vch_rc read_blobs(verify_t *v, vch_cbor_t *c, uint64_t key, size_t max, vfy_blob_t **ret, size_t *ret_n)
{
    uint64_t pairs;
    VCH_TRY(list_at(v, c, key, max, sizeof **ret, ret, ret_n));
    for (size_t i = 0; i < *ret_n; i++) {
        VCH_TRY(map_of(c, 2, 2, &pairs));
        VCH_TRY(fixed_at(c, 0, (*ret)[i].id.b, 32));
        VCH_TRY(bytes_at(c, 1, &(*ret)[i].bytes));
    }
    return VCH_OK;
}

static vch_rc read_sets(verify_t *v, vch_cbor_t *c)
{
    VCH_TRY(read_blobs(v, c, 8, VFY_SETS_MAX, &v->set, &v->sets));
    for (size_t i = 0; i < v->sets; i++)
        if (v->set[i].bytes.n % VCH_BITMAP_LEAF != 0) return VCH_ERR_FORMAT;
    return VCH_OK;
}

static vch_rc read_columns(verify_t *v, vch_cbor_t *c)
{
    uint64_t pairs;
    VCH_TRY(list_at(v, c, 9, VFY_COLUMNS_MAX, sizeof *v->column, &v->column, &v->columns));
    for (size_t i = 0; i < v->columns; i++) {
        vfy_column_t *k = &v->column[i];
        VCH_TRY(map_of(c, 4, 4, &pairs));
        VCH_TRY(fixed_at(c, 0, k->dataset.b, 32));
        VCH_TRY(uint_at(c, 1, &k->chunk));
        VCH_TRY(bytes_at(c, 2, &k->flat));
        VCH_TRY(fixed_at(c, 3, k->value + 32, 32));
        if (k->flat.n != 2 * VCH_CHUNK || k->chunk > UINT32_MAX) return VCH_ERR_FORMAT;
    }
    return VCH_OK;
}

static vch_rc read_subjects(verify_t *v, vch_cbor_t *c)
{
    return read_blobs(v, c, 10, VFY_SUBJECTS_MAX, &v->subjects, &v->subject_lists);
}

/* ---- all of it ------------------------------------------------------------------- */

static vch_rc read_head(verify_t *v, vch_cbor_t *c)
{
    uint64_t pairs, format;
    VCH_TRY(vch_cbor_get_map(c, &pairs));
    VCH_TRY(uint_at(c, 0, &format));
    if (format != 1) return VCH_ERR_VERSION;
    if (pairs != 11) return VCH_ERR_FORMAT;
    return fixed_at(c, 1, v->network.b, 32);
}

static vch_rc read_all(verify_t *v, vch_cbor_t *c)
{
    static const struct {
        const char *name;
        vch_rc (*read)(verify_t *, vch_cbor_t *);
    } part[] = {{"its head", read_head},     {"the claim", read_claim}, {"checkpoints", read_checkpoints},
                {"paths", read_consistency}, {"leaves", read_leaves},   {"state", read_items},
                {"keys", read_keys},         {"row sets", read_sets},   {"columns", read_columns},
                {"subjects", read_subjects}};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        v->section = part[i].name;
        VCH_TRY(part[i].read(v, c));
    }
    return vch_cbor_done(c) ? VCH_OK : VCH_ERR_FORMAT;
}

vch_rc vfy_read(verify_t *v, vch_slice_t bundle)
{
    if (bundle.n > VCH_BUNDLE_BYTES_MAX)
        return vfy_stop(v, VCH_V_F_FORMAT, "%zu bytes, a bundle has at most %u", bundle.n, VCH_BUNDLE_BYTES_MAX);
    if (vch_cbor_check(bundle) != VCH_OK) return vfy_stop(v, VCH_V_F_FORMAT, "not one item of deterministic CBOR");
    vch_cbor_t c = vch_cbor_over(bundle);
    vch_rc rc = read_all(v, &c);
    if (rc == VCH_OK) return rc;
    if (rc == VCH_ERR_MEMORY) return vfy_no_memory(v);
    return vfy_stop(v, rc == VCH_ERR_VERSION ? VCH_V_I_VERSION : VCH_V_F_FORMAT, "%s: %s", v->section, vch_rc_text(rc));
}
