/* SPDX-License-Identifier: Apache-2.0 */
/* An extent goes in: record keys, sealed records, segments; then the deal. */
#include "crypto/record.h"
#include "node/vault_int.h"

#define SEGMENT_TARGET (1u << 20)
#define SEGMENT_ROWS 65536u

/* One stream's segment in the making: classes in front, ciphertexts behind. */
typedef struct {
    vch_buf_t classes, data;
    uint32_t first, count;
} stream_t;

struct vch_sealing {
    vch_vault_t *v;
    vch_record_about_t about;
    unsigned groups, sets;
    uint32_t rows;
    vch_kt_seed_t *root; /* secret: the tree of each set */
    uint8_t *key;        /* secret: groups × 4,096 record keys of the block that rows are in */
    uint8_t *leaf;       /* secret: 4,096 leaves of one tree */
    vch_cipher_t *cipher;
    vch_shards_writer_t *shards;
    stream_t stream[VCH_STREAMS];
    vch_buf_t segment;
    vch_err_t *err;
};

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- keys ------------------------------------------------------------------------------ */

static vch_rc draw_roots(vch_sealing_t *s)
{
    for (unsigned i = 0; i < s->sets; i++) {
        s->root[i].node = (vch_kt_node_t){0, 0};
        VCH_TRY(vch_random(s->v->l->port, s->root[i].key, VCH_KT_KEY, s->err));
    }
    return VCH_OK;
}

static bool derive_group(vch_sealing_t *s, unsigned group)
{
    uint8_t *key = s->key + (size_t)group * VCH_KT_BLOCK * VCH_KT_KEY;
    uint32_t first = vch_kt_leaf(group, s->rows);
    memset(key, 0, (size_t)VCH_KT_BLOCK * VCH_KT_KEY);
    for (unsigned i = 0; i < s->sets; i++) {
        if (!vch_kt_leaves(s->leaf, &s->root[i], first, VCH_KT_BLOCK)) return false;
        vch_kt_add(key, s->leaf, VCH_KT_BLOCK);
    }
    vch_kt_record_keys(key, key, &s->about.extent, first, VCH_KT_BLOCK);
    return true;
}

static vch_rc derive_block(vch_sealing_t *s)
{
    for (unsigned g = 0; g < s->groups; g++)
        if (!derive_group(s, g)) return vch_fail(s->err, VCH_ERR_INTERNAL, "record keys can't be derived");
    return VCH_OK;
}

/* ---- segments ---------------------------------------------------------------------------- */

static vch_rc flush(vch_sealing_t *s, uint8_t number)
{
    stream_t *st = &s->stream[number];
    if (st->count == 0) return VCH_OK;
    vch_buf_clear(&s->segment);
    if (vch_buf_put(&s->segment, st->classes.p, st->classes.n) != VCH_OK ||
        vch_buf_put(&s->segment, st->data.p, st->data.n) != VCH_OK)
        return no_memory(s->err);
    vch_segment_t about = {number, st->first, st->count, (uint32_t)s->segment.n};
    VCH_TRY(vch_shards_put(s->shards, &about, s->segment.p, s->err));
    st->first += st->count;
    st->count = 0;
    vch_buf_clear(&st->classes);
    vch_buf_clear(&st->data);
    return VCH_OK;
}

static vch_rc make_room(vch_sealing_t *s, uint8_t number, size_t more)
{
    const stream_t *st = &s->stream[number];
    if (st->classes.n + st->data.n + more <= SEGMENT_TARGET && st->count < SEGMENT_ROWS) return VCH_OK;
    return flush(s, number);
}

static vch_rc put_record(vch_sealing_t *s, uint8_t group, const uint8_t *salt, vch_slice_t canonical)
{
    stream_t *st = &s->stream[group];
    const uint8_t *key = s->key + ((size_t)group * VCH_KT_BLOCK + s->rows % VCH_KT_BLOCK) * VCH_KT_KEY;
    uint8_t class, *to;
    vch_rc rc = vch_record_class(&class, canonical.n);
    if (rc != VCH_OK) return vch_fail(s->err, rc, "a group of columns holds more than 1 MiB in row %u", s->rows);
    size_t size = vch_record_size(class) + VCH_RECORD_TAG;
    VCH_TRY(make_room(s, group, size + 1));
    if (vch_buf_u8(&st->classes, class) != VCH_OK || vch_buf_extend(&st->data, size, &to) != VCH_OK)
        return no_memory(s->err);
    s->about.leaf = vch_kt_leaf(group, s->rows);
    rc = vch_record_seal(s->cipher, to, class, key, &s->about, salt, canonical);
    if (rc != VCH_OK) return vch_fail(s->err, rc, "a record can't be sealed: %s", vch_rc_text(rc));
    st->count++;
    return VCH_OK;
}

static vch_rc put_commitments(vch_sealing_t *s, const vch_hash_t *commitment)
{
    stream_t *st = &s->stream[VCH_STREAM_COMMITMENTS];
    size_t size = (size_t)s->groups * sizeof *commitment;
    VCH_TRY(make_room(s, VCH_STREAM_COMMITMENTS, size));
    if (vch_buf_put(&st->data, commitment, size) != VCH_OK) return no_memory(s->err);
    st->count++;
    return VCH_OK;
}

vch_rc vch_sealing_put(vch_sealing_t *s, const uint8_t *salts, const vch_slice_t *canonical,
                       const vch_hash_t *commitment, vch_err_t *err)
{
    s->err = err;
    if (s->rows == VCH_EXTENT_ROWS_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "an extent has at most %u rows", VCH_EXTENT_ROWS_MAX);
    if (s->rows % VCH_KT_BLOCK == 0) VCH_TRY(derive_block(s));
    for (unsigned g = 0; g < s->groups; g++)
        VCH_TRY(put_record(s, (uint8_t)g, salts + (size_t)g * VCH_ROW_SALT_LEN, canonical[g]));
    VCH_TRY(put_commitments(s, commitment));
    s->rows++;
    return VCH_OK;
}

/* ---- birth and end ---------------------------------------------------------------------------- */

static vch_rc allocate(vch_sealing_t *s)
{
    size_t keys = (size_t)VCH_KT_BLOCK * VCH_KT_KEY;
    s->root = vch_secret_alloc(s->sets * sizeof *s->root);
    s->key = vch_secret_alloc(s->groups * keys);
    s->leaf = vch_secret_alloc(keys);
    if (!s->root || !s->key || !s->leaf || vch_cipher_new(&s->cipher) != VCH_OK) return no_memory(s->err);
    return draw_roots(s);
}

vch_rc vch_sealing_begin(vch_sealing_t **ret, vch_vault_t *v, const vch_id_t *dataset, const vch_hash_t *extent,
                         unsigned groups, vch_err_t *err)
{
    vch_sealing_t *s = vch_alloc(sizeof *s);
    if (!s) return no_memory(err);
    s->v = v;
    s->about = (vch_record_about_t){.extent = *extent, .dataset = *dataset};
    s->groups = groups;
    s->sets = vch_kt_sets(v->n, v->t);
    s->err = err;
    vch_buf_init(&s->segment, VCH_SEGMENT_MAX);
    for (size_t i = 0; i < VCH_STREAMS; i++) {
        vch_buf_init(&s->stream[i].classes, SEGMENT_ROWS);
        vch_buf_init(&s->stream[i].data, VCH_SEGMENT_MAX);
    }
    vch_rc rc = vch_vault_all_storage(v, err);
    if (rc == VCH_OK) rc = allocate(s);
    if (rc == VCH_OK) rc = vch_shards_begin(&s->shards, v->storage, v->k, v->nodes, extent, err);
    if (rc == VCH_OK)
        *ret = s;
    else
        vch_sealing_abort(s);
    return rc;
}

static void forget(vch_sealing_t *s)
{
    for (size_t i = 0; i < VCH_STREAMS; i++) {
        vch_buf_free(&s->stream[i].classes);
        vch_buf_free(&s->stream[i].data);
    }
    vch_buf_free(&s->segment);
    vch_cipher_free(s->cipher);
    vch_secret_free(s->root);
    vch_secret_free(s->key);
    vch_secret_free(s->leaf);
    vch_free(s);
}

void vch_sealing_abort(vch_sealing_t *s)
{
    if (!s) return;
    vch_shards_abort(s->shards);
    forget(s);
}

static vch_rc finish_shards(vch_sealing_t *s, vch_hash_t *ret_root)
{
    for (uint8_t i = 0; i < VCH_STREAMS; i++) VCH_TRY(flush(s, i));
    vch_shards_writer_t *w = s->shards;
    s->shards = NULL;
    return vch_shards_finish(w, ret_root, s->err);
}

static vch_rc end(vch_sealing_t *s, const vch_signer_t *custodian, vch_buf_t *ret)
{
    vch_hash_t shards_root;
    if (s->rows == 0) return vch_fail(s->err, VCH_ERR_FORMAT, "an extent has at least one row");
    VCH_TRY(finish_shards(s, &shards_root));
    vch_tree_about_t tree = {.network = s->v->l->network,
                             .extent = s->about.extent,
                             .n = s->v->n,
                             .t = s->v->t,
                             .groups = (uint8_t)s->groups,
                             .rows = s->rows};
    vch_rc rc = vch_vault_deal(s->v, custodian, &tree, s->root, &shards_root, ret, s->err);
    if (rc != VCH_OK) vch_shards_remove(s->v->storage, s->v->nodes, &s->about.extent);
    return rc;
}

vch_rc vch_sealing_end(vch_sealing_t *s, const vch_signer_t *custodian, vch_buf_t *ret, vch_err_t *err)
{
    s->err = err;
    vch_rc rc = end(s, custodian, ret);
    vch_sealing_abort(s);
    return rc;
}
