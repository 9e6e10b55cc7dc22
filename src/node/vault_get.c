/* SPDX-License-Identifier: Apache-2.0 */
/* Rows come out: commitments first, then window by window the seeds for the
 * rows that are wanted, their keys, their records.
 *
 *   window   rows whose nodes fit one request: 4,096 over the granted groups
 *   block    4,096 rows inside it, whose keys are derived at once
 *
 * Memory: a segment of each stream (about 1 MiB), one window's seeds, one
 * block's keys; whatever the extent's size. */
#include "node/vault_get_int.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- segments ------------------------------------------------------------------------------ */

static vch_rc bad_segment(const vch_opening_t *o, uint8_t stream, uint32_t row)
{
    return vch_fail(o->err, VCH_ERR_COMMITMENT,
                    "extent %u, group %u, near row %u: the custodian's segment is not well-formed", o->want.number,
                    stream, row);
}

static vch_rc place_records(vch_opening_t *o, part_t *p, uint8_t stream)
{
    size_t at = p->count;
    if (p->at_cap < p->count) {
        uint32_t *more = vch_resize(p->at, p->count * sizeof *more);
        if (!more) return no_memory(o->err);
        p->at = more;
        p->at_cap = p->count;
    }
    if (p->bytes.n < p->count) return bad_segment(o, stream, p->first);
    for (uint32_t i = 0; i < p->count; i++) {
        uint8_t class = p->bytes.p[i];
        if (class >= VCH_RECORD_CLASSES || at > p->bytes.n) return bad_segment(o, stream, p->first + i);
        p->at[i] = (uint32_t)at;
        at += vch_record_size(class) + VCH_RECORD_TAG;
    }
    return at == p->bytes.n ? VCH_OK : bad_segment(o, stream, p->first);
}

static vch_rc check_commitments(vch_opening_t *o, const part_t *p)
{
    if (p->bytes.n == (size_t)p->count * o->groups * 32) return VCH_OK;
    return bad_segment(o, VCH_STREAM_COMMITMENTS, p->first);
}

static vch_rc load(vch_opening_t *o, uint8_t stream, uint32_t row)
{
    part_t *p = &o->part[stream];
    uint32_t number;
    uint8_t *to;
    if (p->loaded && row - p->first < p->count) return VCH_OK;
    p->loaded = false;
    if (!vch_shards_find(o->shards, stream, row, &number)) return bad_segment(o, stream, row);
    const vch_segment_t *s = vch_shards_at(o->shards, number);
    p->number = number;
    p->first = s->first;
    p->count = s->count;
    vch_buf_clear(&p->bytes);
    if (vch_buf_extend(&p->bytes, s->length, &to) != VCH_OK) return no_memory(o->err);
    VCH_TRY(vch_shards_read(o->shards, number, to, NULL, o->err));
    VCH_TRY(stream == VCH_STREAM_COMMITMENTS ? check_commitments(o, p) : place_records(o, p, stream));
    p->loaded = true;
    return VCH_OK;
}

/* Every commitment of the extent against the ledger, before any is used. */
static vch_rc check_rows_root(vch_opening_t *o)
{
    vch_edge_t edge;
    vch_hash_t leaf, root;
    const part_t *p = &o->part[VCH_STREAM_COMMITMENTS];
    size_t size = (size_t)o->groups * 32;
    vch_edge_init(&edge);
    for (uint32_t row = 0; row < o->rows; row++) {
        VCH_TRY(load(o, VCH_STREAM_COMMITMENTS, row));
        vch_tree_leaf(&leaf, vch_slice(p->bytes.p + (row - p->first) * size, size));
        vch_edge_add(&edge, &leaf, 1);
    }
    vch_edge_root(&edge, &root);
    if (vch_hash_eq(&root, &o->rows_root)) return VCH_OK;
    return vch_fail(o->err, VCH_ERR_COMMITMENT, "extent %u: the stored commitments are not those on the ledger",
                    o->want.number);
}

/* ---- a window: which nodes ------------------------------------------------------------------- */

typedef struct {
    vch_opening_t *o;
    uint32_t first; /* row */
} cover_t;

/* The cover was made as if the window began at row 0. */
static vch_rc take_node(void *ctx, vch_kt_node_t node)
{
    const cover_t *c = ctx;
    vch_release_t *r = c->o->ask;
    if (r->nodes == NODES_MAX) return VCH_ERR_LIMIT;
    node.number += c->first >> (VCH_KT_LEAF_LEVEL - node.level);
    r->node[r->nodes++] = node;
    return VCH_OK;
}

static vch_rc cover(vch_opening_t *o, uint32_t first, uint32_t n)
{
    cover_t c = {o, first};
    o->ask->nodes = 0;
    for (unsigned g = 0; g < o->groups; g++)
        if (o->want.groups >> g & 1) VCH_TRY(vch_kt_cover(o->want.bits + first / 8, n, g, take_node, &c));
    return VCH_OK;
}

/* The largest aligned window at this row that fits one request: one of 256 rows
 * always does. */
static vch_rc choose_window(vch_opening_t *o, uint32_t row)
{
    uint32_t first, size = VCH_KT_ROWS_MAX;
    vch_rc rc;
    for (;; size /= 2) {
        first = row & ~(size - 1);
        rc = first < o->window + o->window_n && o->window_n ? VCH_ERR_LIMIT
                                                            : cover(o, first, (uint32_t)vch_min(size, o->rows - first));
        if (rc != VCH_ERR_LIMIT || size == 256) break;
    }
    if (rc != VCH_OK) return vch_fail(o->err, rc, "the rows of a window can't be covered");
    o->window = first;
    o->window_n = size;
    return VCH_OK;
}

/* ---- a window: its seeds ------------------------------------------------------------------------ */

/* A fresh pair, whose seed lies behind the secret, or the one of the statement. */
static vch_rc take_pair(vch_opening_t *o)
{
    const vch_once_t *once = o->want.once;
    if (!once) return vch_seal_pair(o->ask->key, o->secret, o->secret + 32);
    memcpy(o->ask->key, once->key, VCH_SEAL_KEY);
    memcpy(o->secret, once->secret, VCH_SEAL_KEY);
    return VCH_OK;
}

vch_rc og_sign_request(vch_opening_t *o, vch_buf_t *ret)
{
    vch_buf_t payload;
    if (!o->want.once) VCH_TRY(vch_random(o->v->l->port, o->secret + 32, 32, o->err));
    vch_rc rc = take_pair(o);
    vch_buf_init(&payload, 1u << 17);
    if (rc == VCH_OK) rc = vch_release_put(&payload, o->ask);
    if (rc == VCH_OK)
        rc = vch_cose_sign(ret, o->user, vch_buf_slice(&payload), o->err);
    else
        vch_fail(o->err, rc, "a request for seeds can't be made: %s", vch_rc_text(rc));
    vch_buf_free(&payload);
    return rc;
}

static vch_rc take_answer(vch_opening_t *o, unsigned position, vch_slice_t answer, vch_slice_t box, uint8_t *to)
{
    vch_cose_t m;
    vch_seeds_answer_t a;
    vch_rc rc = vch_cose_read(&m, answer);
    if (rc == VCH_OK) rc = vch_cose_verify(&m, &o->key[position], NULL);
    if (rc == VCH_OK) rc = vch_answer_get(&a, m.payload);
    if (rc == VCH_OK) rc = vch_answer_open(to, o->leaf, o->ask, &a, box, o->secret);
    return rc == VCH_OK ? rc
                        : vch_fail(o->err, rc, "trustee %u's answer is not good: %s", position + 1, vch_rc_text(rc));
}

vch_rc og_ask_one(vch_opening_t *o, unsigned position, vch_slice_t request, uint8_t *to, vch_buf_t *ret_told)
{
    vch_buf_t answer, box;
    vch_peer_t *peer = o->peer[position];
    if (!peer) return vch_fail(o->err, VCH_ERR_UNREACHABLE, "trustee %u is gone", position + 1);
    vch_buf_init(&answer, 4096);
    vch_buf_init(&box, 1u << 18);
    vch_rc rc = peer->ops->release(peer, request, &answer, &box, o->err);
    if (rc == VCH_OK) rc = take_answer(o, position, vch_buf_slice(&answer), vch_buf_slice(&box), to);
    if (rc == VCH_OK && ret_told && vch_buf_put(ret_told, answer.p, answer.n) != VCH_OK) rc = no_memory(o->err);
    vch_buf_free(&answer);
    vch_buf_free(&box);
    return rc;
}

/* A refusal says more than a silence. */
static bool tells_more(vch_rc rc, vch_rc than) { return than == VCH_OK || than == VCH_ERR_UNREACHABLE || rc == than; }

static vch_rc ask_holders(vch_opening_t *o, unsigned set, vch_slice_t request)
{
    unsigned holders = vch_holding_holders(&o->h);
    uint8_t *to = o->seed + (size_t)set * NODES_MAX * VCH_KT_KEY;
    vch_err_t worst = {0};
    vch_rc why = VCH_OK;
    for (unsigned i = 0; i < holders; i++) {
        unsigned which = (o->prefer[set] + i) % holders;
        vch_err_t said = {0}, *err = o->err;
        o->err = &said;
        vch_rc rc = og_ask_one(o, vch_holding_holder(&o->h, set, which), request, to, NULL);
        o->err = err;
        if (rc == VCH_OK) {
            o->prefer[set] = which;
            return VCH_OK;
        }
        if (tells_more(rc, why)) {
            worst = said;
            why = rc;
        }
    }
    if (o->err) *o->err = worst;
    return vch_context(o->err, why, "no holder of key tree %u answers", set);
}

static vch_rc ask_set(vch_opening_t *o, unsigned set)
{
    vch_buf_t request;
    o->ask->set = (uint8_t)set;
    vch_buf_init(&request, 1u << 17);
    vch_rc rc = og_sign_request(o, &request);
    if (rc == VCH_OK) rc = ask_holders(o, set, vch_buf_slice(&request));
    vch_buf_free(&request);
    vch_wipe(o->secret, 64);
    return rc;
}

static vch_rc open_window(vch_opening_t *o, uint32_t row)
{
    o->has_block = o->has_all = false;
    VCH_TRY(choose_window(o, row));
    for (unsigned set = 0; set < o->h.sets; set++) VCH_TRY(ask_set(o, set));
    return VCH_OK;
}

/* ---- a block: its record keys ------------------------------------------------------------------- */

/* Nodes of the request that have leaves in this block: [*ret_from, *ret_to). */
static void nodes_of(const vch_opening_t *o, uint32_t first, uint32_t *ret_from, uint32_t *ret_to)
{
    uint32_t i = 0;
    while (i < o->ask->nodes && vch_kt_first(o->ask->node[i]) + vch_kt_count(o->ask->node[i]) <= first) i++;
    *ret_from = i;
    while (i < o->ask->nodes && vch_kt_first(o->ask->node[i]) < first + VCH_KT_BLOCK) i++;
    *ret_to = i;
}

/* Leaves of the block in the tree of one set into o->leaves. */
static bool block_leaves(vch_opening_t *o, unsigned set, uint32_t first, uint32_t from, uint32_t to,
                         vch_kt_seed_t *seed)
{
    for (uint32_t i = from; i < to; i++) {
        seed[i - from].node = o->ask->node[i];
        memcpy(seed[i - from].key, o->seed + ((size_t)set * NODES_MAX + i) * VCH_KT_KEY, VCH_KT_KEY);
    }
    bool whole = to - from == 1 && seed->node.level <= VCH_KT_BLOCK_LEVEL;
    return whole ? vch_kt_leaves(o->leaves, seed, first, VCH_KT_BLOCK)
                 : vch_kt_spread(o->leaves, seed, to - from, first / VCH_KT_BLOCK);
}

/* Keys of the group's records in the block; those that weren't asked for are no keys. */
static bool derive_group(vch_opening_t *o, unsigned group, vch_kt_seed_t *seed)
{
    uint32_t first = vch_kt_leaf(group, o->block), from, to;
    uint8_t *key = o->record_key + (size_t)group * VCH_KT_BLOCK * VCH_KT_KEY;
    nodes_of(o, first, &from, &to);
    memset(key, 0, (size_t)VCH_KT_BLOCK * VCH_KT_KEY);
    if (from == to) return true;
    for (unsigned set = 0; set < o->h.sets; set++) {
        if (!block_leaves(o, set, first, from, to, seed)) return false;
        vch_kt_add(key, o->leaves, VCH_KT_BLOCK);
    }
    vch_kt_record_keys(key, key, &o->about.extent, first, VCH_KT_BLOCK);
    return true;
}

static vch_rc open_block(vch_opening_t *o, uint32_t row)
{
    vch_kt_seed_t *seed = vch_secret_alloc(NODES_MAX * sizeof *seed);
    bool good = seed != NULL;
    o->block = row / VCH_KT_BLOCK * VCH_KT_BLOCK;
    if (!seed) return no_memory(o->err);
    for (unsigned g = 0; good && g < o->groups; g++)
        if (o->want.groups >> g & 1) good = derive_group(o, g, seed);
    vch_secret_free(seed);
    if (!good) return vch_fail(o->err, VCH_ERR_INTERNAL, "record keys can't be derived");
    o->has_block = true;
    return VCH_OK;
}

/* ---- a row ------------------------------------------------------------------------------------------ */

static vch_rc room_for(vch_opening_t *o, unsigned group, size_t size, uint8_t **ret)
{
    vch_buf_t *b = &o->plain[group];
    vch_buf_clear(b);
    return vch_buf_extend(b, size, ret) == VCH_OK ? VCH_OK : no_memory(o->err);
}

static vch_rc wrong(vch_opening_t *o, uint32_t row, unsigned group, const char *what)
{
    return vch_fail(o->err, VCH_ERR_COMMITMENT, "extent %u, row %u, group %u: %s", o->want.number, row, group, what);
}

vch_rc og_open_under(vch_opening_t *o, uint32_t row, uint8_t group, const uint8_t key[VCH_KT_KEY], vch_opened_t *ret)
{
    const part_t *p = &o->part[group], *c = &o->part[VCH_STREAM_COMMITMENTS];
    vch_hash_t commitment;
    uint8_t *plain, class = p->bytes.p[row - p->first];
    VCH_TRY(room_for(o, group, vch_record_size(class), &plain));
    o->about.leaf = vch_kt_leaf(group, row);
    vch_rc rc = vch_record_open(o->cipher, plain, class, key, &o->about, p->bytes.p + p->at[row - p->first],
                                &ret->salt[group], &ret->canonical[group]);
    if (rc != VCH_OK) return rc;
    vch_row_commitment(&commitment, ret->salt[group], ret->canonical[group]);
    if (memcmp(commitment.b, c->bytes.p + ((size_t)(row - c->first) * o->groups + group) * 32, 32) == 0) return VCH_OK;
    vch_wipe(plain, vch_record_size(class));
    return wrong(o, row, group, "the record does not match its commitment");
}

static uint8_t *key_of(vch_opening_t *o, uint32_t row, uint8_t group)
{
    return o->record_key + ((size_t)group * VCH_KT_BLOCK + row % VCH_KT_BLOCK) * VCH_KT_KEY;
}

/* Only the tag tells that a key is wrong, and then a trustee's answer was. */
static vch_rc open_record(vch_opening_t *o, uint32_t row, uint8_t group, vch_opened_t *ret)
{
    VCH_TRY(load(o, group, row));
    VCH_TRY(load(o, VCH_STREAM_COMMITMENTS, row));
    vch_rc rc = og_open_under(o, row, group, key_of(o, row, group), ret);
    if (rc != VCH_ERR_KEY) return rc == VCH_ERR_FORMAT ? wrong(o, row, group, "the record is not well-formed") : rc;
    VCH_TRY(og_recover(o, row, group));
    VCH_TRY(open_block(o, row));
    rc = og_open_under(o, row, group, key_of(o, row, group), ret);
    return rc == VCH_OK ? rc : wrong(o, row, group, "the record does not open");
}

static vch_rc open_row(vch_opening_t *o, uint32_t row, vch_opened_t *ret)
{
    *ret = (vch_opened_t){.salt = {NULL}};
    if (row - o->window >= o->window_n || o->window_n == 0) VCH_TRY(open_window(o, row));
    if (!o->has_block || row / VCH_KT_BLOCK != o->block / VCH_KT_BLOCK) VCH_TRY(open_block(o, row));
    for (unsigned g = 0; g < o->groups; g++)
        if (o->want.groups >> g & 1) VCH_TRY(open_record(o, row, (uint8_t)g, ret));
    return VCH_OK;
}

vch_rc vch_opening_next(vch_opening_t *o, uint32_t *ret_row, vch_opened_t *ret, vch_err_t *err)
{
    o->err = err;
    while (o->row < o->rows && !vch_bit(o->want.bits, o->row)) o->row++;
    if (o->row == o->rows) return VCH_ERR_NOT_FOUND;
    VCH_TRY(open_row(o, o->row, ret));
    *ret_row = o->row++;
    return VCH_OK;
}

/* ---- birth and end ------------------------------------------------------------------------------------ */

/* Between look_begin and _end. */
static vch_rc read_extent(vch_opening_t *o)
{
    vch_buf_t value;
    vch_extent_value_t e = {0};
    vch_dataset_value_t d = {0};
    vch_ledger_t *l = o->v->l;
    vch_state_key_t key = vch_key_id_u32('e', o->want.dataset.b, o->want.number);
    vch_buf_init(&value, 1u << 16);
    vch_rc rc = vch_value(l, &key, &value, o->err);
    if (rc == VCH_OK) rc = vch_extent_get(&e, vch_buf_slice(&value));
    key = vch_key_id('d', o->want.dataset.b);
    vch_buf_clear(&value);
    if (rc == VCH_OK) rc = vch_value(l, &key, &value, o->err);
    if (rc == VCH_OK) rc = vch_dataset_get(&d, vch_buf_slice(&value));
    vch_buf_free(&value);
    o->about = (vch_record_about_t){.extent = e.id, .dataset = o->want.dataset};
    o->rows = e.count;
    o->rows_root = e.rows_root;
    o->groups = d.groups;
    return rc;
}

static vch_rc find_parties(vch_opening_t *o)
{
    vch_vault_t *v = o->v;
    for (unsigned p = 0; p < o->h.n; p++) {
        VCH_TRY(vch_vault_key(v->l, &o->h.trustee[p], &o->key[p], o->err));
        for (unsigned i = 0; i < v->n; i++)
            if (vch_keyid_eq(&v->trustee_id[i], &o->h.trustee[p])) o->peer[p] = v->trustee[i];
    }
    for (unsigned p = 0; p < o->h.nodes; p++)
        for (unsigned i = 0; i < v->nodes; i++)
            if (vch_keyid_eq(&v->storage_id[i], &o->h.storage[p])) o->node[p] = v->storage[i];
    return VCH_OK;
}

static vch_rc allocate(vch_opening_t *o)
{
    size_t keys = (size_t)VCH_KT_BLOCK * VCH_KT_KEY;
    o->ask = vch_alloc(sizeof *o->ask);
    o->leaf = vch_alloc_array(NODES_MAX, sizeof *o->leaf);
    o->seed = vch_secret_alloc((size_t)o->h.sets * NODES_MAX * VCH_KT_KEY);
    o->secret = vch_secret_alloc(64);
    o->record_key = vch_secret_alloc(o->groups * keys);
    o->leaves = vch_secret_alloc(keys);
    if (!o->ask || !o->leaf || !o->seed || !o->secret || !o->record_key || !o->leaves) return no_memory(o->err);
    if (vch_cipher_new(&o->cipher) != VCH_OK) return no_memory(o->err);
    o->ask->network = o->v->l->network;
    o->ask->grant = o->want.grant;
    o->ask->extent = o->about.extent;
    return VCH_OK;
}

static vch_rc begin(vch_opening_t *o)
{
    vch_ledger_t *l = o->v->l;
    VCH_TRY(vch_look_begin(l, o->err));
    vch_rc rc = read_extent(o);
    vch_look_end(l);
    VCH_TRY(rc);
    VCH_TRY(vch_vault_holding(l, &o->want.dataset, o->want.number, &o->holding_bytes, &o->h, o->err));
    VCH_TRY(find_parties(o));
    VCH_TRY(allocate(o));
    VCH_TRY(vch_shards_open(&o->shards, o->node, o->h.k, o->h.nodes, &o->about.extent, &o->h.shards_root, o->err));
    return check_rows_root(o);
}

vch_rc vch_opening_begin(vch_opening_t **ret, vch_vault_t *v, const vch_signer_t *user, const vch_wanted_t *want,
                         vch_err_t *err)
{
    vch_opening_t *o = vch_alloc(sizeof *o);
    if (!o) return no_memory(err);
    o->v = v;
    o->user = user;
    o->want = *want;
    o->err = err;
    vch_buf_init(&o->holding_bytes, 1u << 18);
    for (size_t i = 0; i < VCH_STREAMS; i++) vch_buf_init(&o->part[i].bytes, VCH_SEGMENT_MAX);
    for (size_t i = 0; i < VCH_GROUPS_MAX; i++) vch_buf_init(&o->plain[i], VCH_RECORD_MAX);
    vch_rc rc = begin(o);
    if (rc == VCH_OK)
        *ret = o;
    else
        vch_opening_end(o);
    return nd_told(rc, err);
}

uint64_t vch_opening_set_aside(const vch_opening_t *o) { return o->set_aside; }

void vch_opening_end(vch_opening_t *o)
{
    if (!o) return;
    vch_shards_close(o->shards);
    for (size_t i = 0; i < VCH_STREAMS; i++) {
        vch_buf_free(&o->part[i].bytes);
        vch_free(o->part[i].at);
    }
    for (size_t i = 0; i < VCH_GROUPS_MAX; i++) {
        if (o->plain[i].p) vch_wipe(o->plain[i].p, o->plain[i].cap);
        vch_buf_free(&o->plain[i]);
    }
    vch_cipher_free(o->cipher);
    vch_secret_free(o->seed);
    vch_secret_free(o->secret);
    vch_secret_free(o->record_key);
    vch_secret_free(o->leaves);
    vch_secret_free(o->all);
    for (size_t i = 0; o->told && i < (size_t)o->h.sets * vch_holding_holders(&o->h); i++) vch_buf_free(&o->told[i]);
    vch_free(o->told);
    for (size_t i = 0; i < o->blames; i++) vch_buf_free(&o->blame[i]);
    vch_buf_free(&o->holding_bytes);
    vch_free(o->leaf);
    vch_free(o->ask);
    vch_free(o);
}
