/* SPDX-License-Identifier: Apache-2.0 */
/* State values are CBOR arrays of fixed length, fields in the order of their
 * struct; an optional field is null when absent.  docs/formats/state.cddl. */
#include "entry/value.h"

#include "codec/cbor.h"
#include "merkle/tree.h"

/* ---- keys ------------------------------------------------------------------- */

vch_state_key_t vch_key_plain(char tag) { return (vch_state_key_t){.b = {(uint8_t)tag}, .n = 1}; }

vch_state_key_t vch_key_id(char tag, const void *id32)
{
    vch_state_key_t k = {.b = {(uint8_t)tag}, .n = 33};
    memcpy(k.b + 1, id32, 32);
    return k;
}

vch_state_key_t vch_key_id_u32(char tag, const void *id32, uint32_t n)
{
    vch_state_key_t k = vch_key_id(tag, id32);
    vch_put_u32(k.b + 33, n);
    k.n = 37;
    return k;
}

vch_state_key_t vch_key_id_u16(char tag, const void *id32, uint16_t n)
{
    vch_state_key_t k = vch_key_id(tag, id32);
    vch_put_u16(k.b + 33, n);
    k.n = 35;
    return k;
}

/* ---- pieces ------------------------------------------------------------------ */

static vch_rc put32(vch_buf_t *b, const void *p) { return vch_cbor_bytes(b, p, 32); }
static vch_rc put_optional32(vch_buf_t *b, bool there, const void *p) { return there ? put32(b, p) : vch_cbor_null(b); }
static vch_rc put_text(vch_buf_t *b, vch_slice_t s) { return vch_cbor_text(b, (const char *)s.p, s.n); }

static vch_rc get_array_of(vch_cbor_t *c, uint64_t count)
{
    uint64_t n;
    VCH_TRY(vch_cbor_get_array(c, &n));
    return n == count ? VCH_OK : VCH_ERR_FORMAT;
}

static vch_rc get_number(vch_cbor_t *c, uint64_t max, uint64_t *ret)
{
    uint64_t v;
    VCH_TRY(vch_cbor_get_uint(c, &v));
    if (v > max) return VCH_ERR_FORMAT;
    *ret = v;
    return VCH_OK;
}

static vch_rc get_u32(vch_cbor_t *c, uint32_t *ret)
{
    uint64_t v;
    VCH_TRY(get_number(c, UINT32_MAX, &v));
    *ret = (uint32_t)v;
    return VCH_OK;
}

static vch_rc get_u8(vch_cbor_t *c, uint8_t max, uint8_t *ret)
{
    uint64_t v;
    VCH_TRY(get_number(c, max, &v));
    *ret = (uint8_t)v;
    return VCH_OK;
}

static vch_rc get_optional32(vch_cbor_t *c, bool *ret_there, void *ret)
{
    vch_cbor_type_t type;
    VCH_TRY(vch_cbor_peek(c, &type));
    *ret_there = type == VCH_CBOR_BYTES;
    if (*ret_there) return vch_cbor_get_fixed(c, ret, 32);
    vch_cbor_item_t item;
    VCH_TRY(vch_cbor_next(c, &item));
    return item.type == VCH_CBOR_SIMPLE && item.value == 22 ? VCH_OK : VCH_ERR_FORMAT;
}

static vch_rc finish(const vch_cbor_t *c) { return vch_cbor_done(c) ? VCH_OK : VCH_ERR_FORMAT; }

/* ---- parties and keys ---------------------------------------------------------- */

vch_rc vch_party_put(vch_buf_t *b, const vch_party_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 4));
    VCH_TRY(put_text(b, v->name));
    VCH_TRY(vch_cbor_uint(b, v->roles));
    VCH_TRY(vch_cbor_array(b, v->keys));
    for (size_t i = 0; i < v->keys; i++) VCH_TRY(put32(b, v->key[i].b));
    return put_optional32(b, v->has_next, v->next.b);
}

vch_rc vch_party_get(vch_party_value_t *ret, vch_slice_t bytes)
{
    vch_party_value_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    uint64_t roles, keys;
    VCH_TRY(get_array_of(&c, 4));
    VCH_TRY(vch_cbor_get_text(&c, &v.name));
    VCH_TRY(get_number(&c, 255, &roles));
    VCH_TRY(vch_cbor_get_array(&c, &keys));
    if (keys > 8) return VCH_ERR_FORMAT;
    for (; v.keys < keys; v.keys++) VCH_TRY(vch_cbor_get_fixed(&c, v.key[v.keys].b, 32));
    VCH_TRY(get_optional32(&c, &v.has_next, v.next.b));
    VCH_TRY(finish(&c));
    v.roles = (unsigned)roles;
    *ret = v;
    return VCH_OK;
}

vch_rc vch_key_put(vch_buf_t *b, const vch_key_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 4));
    VCH_TRY(put32(b, v->party.b));
    VCH_TRY(vch_cbor_bool(b, v->revoked));
    VCH_TRY(vch_cbor_uint(b, v->since.ms));
    return vch_cbor_bytes(b, v->key.p, v->key.n);
}

vch_rc vch_key_get(vch_key_value_t *ret, vch_slice_t bytes)
{
    vch_key_value_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(get_array_of(&c, 4));
    VCH_TRY(vch_cbor_get_fixed(&c, v.party.b, 32));
    VCH_TRY(vch_cbor_get_bool(&c, &v.revoked));
    VCH_TRY(vch_cbor_get_uint(&c, &v.since.ms));
    VCH_TRY(vch_cbor_get_bytes(&c, &v.key));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

/* ---- sequence window -------------------------------------------------------------- */

vch_rc vch_sequences_put(vch_buf_t *b, const vch_sequences_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 2));
    VCH_TRY(vch_cbor_uint(b, v->high));
    return vch_cbor_bytes(b, v->used, sizeof v->used);
}

vch_rc vch_sequences_get(vch_sequences_value_t *ret, vch_slice_t bytes)
{
    vch_sequences_value_t v;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(get_array_of(&c, 2));
    VCH_TRY(vch_cbor_get_uint(&c, &v.high));
    VCH_TRY(vch_cbor_get_fixed(&c, v.used, sizeof v.used));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

/* Shift the 256-bit string right by n (1..256): what was `high - i` becomes
 * `high - (i + n)`. */
static void window_shift(uint8_t used[32], uint64_t n)
{
    uint8_t moved[32] = {0};
    for (size_t i = 0; i + n < 256; i++)
        if (vch_bit(used, i)) vch_bit_set(moved, i + (size_t)n);
    memcpy(used, moved, sizeof moved);
}

vch_rc vch_sequences_take(vch_sequences_value_t *w, uint64_t sequence)
{
    if (sequence == 0) return VCH_ERR_REPLAY;
    if (sequence > w->high) {
        uint64_t ahead = sequence - w->high;
        if (ahead > 256) return VCH_ERR_LIMIT;
        window_shift(w->used, ahead);
        w->high = sequence;
        vch_bit_set(w->used, 0);
        return VCH_OK;
    }
    uint64_t back = w->high - sequence;
    if (back >= 256 || vch_bit(w->used, (size_t)back)) return VCH_ERR_REPLAY;
    vch_bit_set(w->used, (size_t)back);
    return VCH_OK;
}

/* ---- datasets ------------------------------------------------------------------------ */

vch_rc vch_dataset_put(vch_buf_t *b, const vch_dataset_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 8));
    VCH_TRY(put32(b, v->custodian.b));
    VCH_TRY(put32(b, v->statement.b));
    VCH_TRY(vch_cbor_uint(b, v->groups));
    VCH_TRY(vch_cbor_uint(b, v->versions));
    VCH_TRY(vch_cbor_uint(b, v->extents));
    VCH_TRY(vch_cbor_uint(b, v->subjects));
    VCH_TRY(put_optional32(b, v->has_latest, v->latest.b));
    return vch_cbor_uint(b, v->palette);
}

vch_rc vch_dataset_get(vch_dataset_value_t *ret, vch_slice_t bytes)
{
    vch_dataset_value_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    uint64_t palette;
    VCH_TRY(get_array_of(&c, 8));
    VCH_TRY(vch_cbor_get_fixed(&c, v.custodian.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, v.statement.b, 32));
    VCH_TRY(get_u32(&c, &v.groups));
    VCH_TRY(get_u32(&c, &v.versions));
    VCH_TRY(get_u32(&c, &v.extents));
    VCH_TRY(get_u32(&c, &v.subjects));
    VCH_TRY(get_optional32(&c, &v.has_latest, v.latest.b));
    VCH_TRY(get_number(&c, UINT16_MAX, &palette));
    VCH_TRY(finish(&c));
    v.palette = (uint16_t)palette;
    *ret = v;
    return VCH_OK;
}

vch_rc vch_erasure_put(vch_buf_t *b, const vch_erasure_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 2));
    VCH_TRY(put32(b, v->erase.b));
    return vch_cbor_uint(b, v->extents);
}

vch_rc vch_erasure_get(vch_erasure_value_t *ret, vch_slice_t bytes)
{
    vch_erasure_value_t v;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(get_array_of(&c, 2));
    VCH_TRY(vch_cbor_get_fixed(&c, v.erase.b, 32));
    VCH_TRY(get_u32(&c, &v.extents));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

vch_state_key_t vch_destroyed_key(const vch_id_t *erase, const vch_hash_t *extent, const vch_keyid_t *trustee)
{
    uint8_t joined[96];
    vch_hash_t hash;
    memcpy(joined, erase->b, 32);
    memcpy(joined + 32, extent->b, 32);
    memcpy(joined + 64, trustee->b, 32);
    vch_sha256(&hash, joined, sizeof joined);
    return vch_key_id('Z', hash.b);
}

vch_rc vch_version_put(vch_buf_t *b, const vch_version_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 6));
    VCH_TRY(put32(b, v->dataset.b));
    VCH_TRY(vch_cbor_uint(b, v->number));
    VCH_TRY(vch_cbor_uint(b, v->extents));
    VCH_TRY(put32(b, v->live_root.b));
    VCH_TRY(vch_cbor_uint(b, v->live));
    return put_optional32(b, v->has_previous, v->previous.b);
}

vch_rc vch_version_get(vch_version_value_t *ret, vch_slice_t bytes)
{
    vch_version_value_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(get_array_of(&c, 6));
    VCH_TRY(vch_cbor_get_fixed(&c, v.dataset.b, 32));
    VCH_TRY(get_u32(&c, &v.number));
    VCH_TRY(get_u32(&c, &v.extents));
    VCH_TRY(vch_cbor_get_fixed(&c, v.live_root.b, 32));
    VCH_TRY(vch_cbor_get_uint(&c, &v.live));
    VCH_TRY(get_optional32(&c, &v.has_previous, v.previous.b));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

vch_rc vch_extent_put(vch_buf_t *b, const vch_extent_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 4));
    VCH_TRY(put32(b, v->id.b));
    VCH_TRY(vch_cbor_uint(b, v->count));
    VCH_TRY(v->contiguous ? vch_cbor_uint(b, v->first) : put32(b, v->subjects_hash.b));
    return put32(b, v->rows_root.b);
}

vch_rc vch_extent_get(vch_extent_value_t *ret, vch_slice_t bytes)
{
    vch_extent_value_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    vch_cbor_type_t type;
    VCH_TRY(get_array_of(&c, 4));
    VCH_TRY(vch_cbor_get_fixed(&c, v.id.b, 32));
    VCH_TRY(get_u32(&c, &v.count));
    if (v.count > VCH_EXTENT_ROWS_MAX) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_peek(&c, &type));
    v.contiguous = type == VCH_CBOR_UINT;
    VCH_TRY(v.contiguous ? get_u32(&c, &v.first) : vch_cbor_get_fixed(&c, v.subjects_hash.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, v.rows_root.b, 32));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

vch_rc vch_range_put(vch_buf_t *b, const vch_range_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 2));
    VCH_TRY(vch_cbor_uint(b, v->count));
    return put32(b, v->root.b);
}

vch_rc vch_range_get(vch_range_value_t *ret, vch_slice_t bytes)
{
    vch_range_value_t v;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(get_array_of(&c, 2));
    VCH_TRY(get_u32(&c, &v.count));
    VCH_TRY(vch_cbor_get_fixed(&c, v.root.b, 32));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

void vch_subject_leaf(vch_hash_t *ret, uint32_t subject, const vch_keyid_t *key)
{
    uint8_t data[36];
    vch_put_u32(data, subject);
    memcpy(data + 4, key->b, 32);
    vch_tree_leaf(ret, vch_slice(data, sizeof data));
}

/* ---- the consent column ------------------------------------------------------------------ */

vch_rc vch_palette_put(vch_buf_t *b, const vch_palette_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 2));
    VCH_TRY(vch_cbor_array(b, v->items));
    for (size_t i = 0; i < v->items; i++) {
        VCH_TRY(vch_cbor_array(b, 3));
        VCH_TRY(put32(b, v->item[i].terms.b));
        VCH_TRY(vch_cbor_uint(b, v->item[i].until_day));
        VCH_TRY(vch_cbor_uint(b, v->item[i].how));
    }
    return vch_cbor_bool(b, v->owner_withdrew);
}

static vch_rc get_palette_item(vch_cbor_t *c, vch_palette_item_t *ret)
{
    VCH_TRY(get_array_of(c, 3));
    VCH_TRY(vch_cbor_get_fixed(c, ret->terms.b, 32));
    VCH_TRY(get_u32(c, &ret->until_day));
    return get_u8(c, VCH_HOW_DELEGATE, &ret->how);
}

vch_rc vch_palette_get(vch_palette_value_t *ret, vch_slice_t bytes)
{
    vch_palette_value_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    uint64_t items;
    VCH_TRY(get_array_of(&c, 2));
    VCH_TRY(vch_cbor_get_array(&c, &items));
    if (items > VCH_PALETTE_SET_MAX) return VCH_ERR_FORMAT;
    for (; v.items < items; v.items++) {
        VCH_TRY(get_palette_item(&c, &v.item[v.items]));
        if (v.items && memcmp(v.item[v.items - 1].terms.b, v.item[v.items].terms.b, 32) >= 0) return VCH_ERR_FORMAT;
    }
    VCH_TRY(vch_cbor_get_bool(&c, &v.owner_withdrew));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

bool vch_palette_eq(const vch_palette_value_t *a, const vch_palette_value_t *b)
{
    if (a->items != b->items || a->owner_withdrew != b->owner_withdrew) return false;
    for (size_t i = 0; i < a->items; i++) {
        const vch_palette_item_t *x = &a->item[i], *y = &b->item[i];
        if (!vch_hash_eq(&x->terms, &y->terms) || x->until_day != y->until_day || x->how != y->how) return false;
    }
    return true;
}

void vch_cell_put(uint8_t ret[VCH_CELL_LEN], const vch_cell_t *cell)
{
    vch_put_u16(ret, cell->index);
    vch_put_u32(ret + 2, cell->serial);
    memcpy(ret + 6, cell->last.b, 32);
}

void vch_cell_get(vch_cell_t *ret, const uint8_t b[VCH_CELL_LEN])
{
    ret->index = vch_get_u16(b);
    ret->serial = vch_get_u32(b + 2);
    memcpy(ret->last.b, b + 6, 32);
}

void vch_cell_leaf(vch_hash_t *ret, const vch_cell_t *cell)
{
    uint8_t data[VCH_CELL_LEN];
    vch_cell_put(data, cell);
    vch_tree_leaf(ret, vch_slice(data, sizeof data));
}

void vch_chunk_flat(vch_hash_t *ret, const uint16_t index[VCH_CHUNK])
{
    uint8_t flat[512];
    vch_sha256_t h;
    vch_sha256_init(&h);
    for (size_t at = 0; at < VCH_CHUNK; at += sizeof flat / 2) {
        for (size_t i = 0; i < sizeof flat / 2; i++) vch_put_u16(flat + 2 * i, index[at + i]);
        vch_sha256_add(&h, flat, sizeof flat);
    }
    vch_sha256_end(&h, ret);
}

/* ---- access and lineage --------------------------------------------------------------------- */

vch_rc vch_grant_put(vch_buf_t *b, const vch_grant_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 9));
    VCH_TRY(put32(b, v->version.b));
    VCH_TRY(put32(b, v->party.b));
    VCH_TRY(vch_cbor_uint(b, v->groups));
    VCH_TRY(put_text(b, v->purpose));
    VCH_TRY(put_text(b, v->processing));
    VCH_TRY(vch_cbor_bool(b, v->permit));
    VCH_TRY(put32(b, v->set_root.b));
    VCH_TRY(vch_cbor_uint(b, v->count));
    return vch_cbor_uint(b, v->expires.ms);
}

vch_rc vch_grant_get(vch_grant_value_t *ret, vch_slice_t bytes)
{
    vch_grant_value_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    uint64_t groups;
    VCH_TRY(get_array_of(&c, 9));
    VCH_TRY(vch_cbor_get_fixed(&c, v.version.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, v.party.b, 32));
    VCH_TRY(get_number(&c, UINT16_MAX, &groups));
    VCH_TRY(vch_cbor_get_text(&c, &v.purpose));
    VCH_TRY(vch_cbor_get_text(&c, &v.processing));
    VCH_TRY(vch_cbor_get_bool(&c, &v.permit));
    VCH_TRY(vch_cbor_get_fixed(&c, v.set_root.b, 32));
    VCH_TRY(vch_cbor_get_uint(&c, &v.count));
    VCH_TRY(vch_cbor_get_uint(&c, &v.expires.ms));
    VCH_TRY(finish(&c));
    v.groups = (uint16_t)groups;
    *ret = v;
    return VCH_OK;
}

vch_rc vch_own_put(vch_buf_t *b, const vch_own_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 9));
    VCH_TRY(put32(b, v->version.b));
    VCH_TRY(vch_cbor_uint(b, v->subject));
    VCH_TRY(vch_cbor_uint(b, v->groups));
    VCH_TRY(vch_cbor_bytes(b, v->key.p, v->key.n));
    VCH_TRY(put32(b, v->once));
    VCH_TRY(vch_cbor_bool(b, v->permit));
    VCH_TRY(put32(b, v->set_root.b));
    VCH_TRY(vch_cbor_uint(b, v->count));
    return vch_cbor_uint(b, v->expires.ms);
}

vch_rc vch_own_get(vch_own_value_t *ret, vch_slice_t bytes)
{
    vch_own_value_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    uint64_t groups;
    VCH_TRY(get_array_of(&c, 9));
    VCH_TRY(vch_cbor_get_fixed(&c, v.version.b, 32));
    VCH_TRY(get_u32(&c, &v.subject));
    VCH_TRY(get_number(&c, UINT16_MAX, &groups));
    VCH_TRY(vch_cbor_get_bytes(&c, &v.key));
    if (v.key.n < 34 || v.key.n > VCH_PUBKEY_MAX) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_fixed(&c, v.once, 32));
    VCH_TRY(vch_cbor_get_bool(&c, &v.permit));
    VCH_TRY(vch_cbor_get_fixed(&c, v.set_root.b, 32));
    VCH_TRY(vch_cbor_get_uint(&c, &v.count));
    VCH_TRY(vch_cbor_get_uint(&c, &v.expires.ms));
    VCH_TRY(finish(&c));
    v.groups = (uint16_t)groups;
    *ret = v;
    return VCH_OK;
}

vch_rc vch_run_put(vch_buf_t *b, const vch_run_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 7));
    VCH_TRY(put32(b, v->version.b));
    VCH_TRY(put32(b, v->party.b));
    VCH_TRY(put32(b, v->set_root.b));
    VCH_TRY(vch_cbor_uint(b, v->count));
    VCH_TRY(vch_cbor_uint(b, v->status));
    VCH_TRY(put32(b, v->statement.b));
    return put32(b, v->end.b);
}

vch_rc vch_run_get(vch_run_value_t *ret, vch_slice_t bytes)
{
    vch_run_value_t v;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(get_array_of(&c, 7));
    VCH_TRY(vch_cbor_get_fixed(&c, v.version.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, v.party.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, v.set_root.b, 32));
    VCH_TRY(vch_cbor_get_uint(&c, &v.count));
    VCH_TRY(get_u8(&c, 2, &v.status));
    VCH_TRY(vch_cbor_get_fixed(&c, v.statement.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, v.end.b, 32));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

vch_rc vch_model_put(vch_buf_t *b, const vch_model_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 5));
    VCH_TRY(put_optional32(b, v->proven, v->run.b));
    VCH_TRY(put32(b, v->party.b));
    VCH_TRY(put32(b, v->digest.b));
    VCH_TRY(put_text(b, v->name));
    return vch_cbor_uint(b, v->remedies);
}

vch_rc vch_model_get(vch_model_value_t *ret, vch_slice_t bytes)
{
    vch_model_value_t v = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(get_array_of(&c, 5));
    VCH_TRY(get_optional32(&c, &v.proven, v.run.b));
    VCH_TRY(vch_cbor_get_fixed(&c, v.party.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, v.digest.b, 32));
    VCH_TRY(vch_cbor_get_text(&c, &v.name));
    VCH_TRY(get_u32(&c, &v.remedies));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

vch_rc vch_deployment_put(vch_buf_t *b, const vch_deployment_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 5));
    VCH_TRY(put32(b, v->model.b));
    VCH_TRY(put32(b, v->party.b));
    VCH_TRY(vch_cbor_bool(b, v->ended));
    VCH_TRY(vch_cbor_uint(b, v->next));
    return vch_cbor_uint(b, v->since.ms);
}

vch_rc vch_deployment_get(vch_deployment_value_t *ret, vch_slice_t bytes)
{
    vch_deployment_value_t v;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(get_array_of(&c, 5));
    VCH_TRY(vch_cbor_get_fixed(&c, v.model.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, v.party.b, 32));
    VCH_TRY(vch_cbor_get_bool(&c, &v.ended));
    VCH_TRY(vch_cbor_get_uint(&c, &v.next));
    VCH_TRY(vch_cbor_get_uint(&c, &v.since.ms));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}

vch_rc vch_batch_put(vch_buf_t *b, const vch_batch_value_t *v)
{
    VCH_TRY(vch_cbor_array(b, 5));
    VCH_TRY(put32(b, v->deployment.b));
    VCH_TRY(vch_cbor_uint(b, v->first));
    VCH_TRY(vch_cbor_uint(b, v->count));
    VCH_TRY(vch_cbor_uint(b, v->lost));
    return put32(b, v->root.b);
}

vch_rc vch_batch_get(vch_batch_value_t *ret, vch_slice_t bytes)
{
    vch_batch_value_t v;
    vch_cbor_t c = vch_cbor_over(bytes);
    VCH_TRY(get_array_of(&c, 5));
    VCH_TRY(vch_cbor_get_fixed(&c, v.deployment.b, 32));
    VCH_TRY(vch_cbor_get_uint(&c, &v.first));
    VCH_TRY(vch_cbor_get_uint(&c, &v.count));
    VCH_TRY(vch_cbor_get_uint(&c, &v.lost));
    VCH_TRY(vch_cbor_get_fixed(&c, v.root.b, 32));
    VCH_TRY(finish(&c));
    *ret = v;
    return VCH_OK;
}
