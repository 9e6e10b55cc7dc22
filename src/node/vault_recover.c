/* SPDX-License-Identifier: Apache-2.0 */
/* When a record doesn't open: the shards are the ledger's, so a seed was wrong.
 * Which trustee's can't be told from one answer, but at most t - 1 of them lie,
 * each tree has n - t + 1 holders, and a record that opens and matches its
 * commitment says that this choice of answers is right.  Who lied is proven
 * afterwards, by the roots that all of them signed (vault_blame.c). */
#include "node/vault_get_int.h"

static uint8_t *answer_of(const vch_opening_t *o, unsigned set, unsigned holder)
{
    size_t place = (size_t)set * vch_holding_holders(&o->h) + holder;
    return o->all + place * NODES_MAX * VCH_KT_KEY;
}

/* ---- everybody's answers --------------------------------------------------------------- */

static vch_rc ask_holders(vch_opening_t *o, unsigned set, vch_slice_t request)
{
    vch_err_t *err = o->err;
    o->answered[set] = 0;
    for (unsigned i = 0; i < vch_holding_holders(&o->h); i++) {
        vch_err_t said = {0};
        o->err = &said;
        vch_buf_t *told = &o->told[set * vch_holding_holders(&o->h) + i];
        vch_buf_clear(told);
        vch_rc rc = og_ask_one(o, vch_holding_holder(&o->h, set, i), request, answer_of(o, set, i), told);
        o->err = err;
        if (rc == VCH_OK) o->answered[set] |= UINT64_C(1) << i;
        if (rc == VCH_ERR_MEMORY) return vch_fail(err, rc, "out of memory");
    }
    return VCH_OK;
}

static vch_buf_t *new_told(size_t n)
{
    vch_buf_t *told = vch_alloc_array(n, sizeof *told);
    for (size_t i = 0; told && i < n; i++) vch_buf_init(&told[i], 1024);
    return told;
}

static vch_rc ask_all(vch_opening_t *o)
{
    size_t answers = (size_t)o->h.sets * vch_holding_holders(&o->h);
    if (o->has_all) return VCH_OK;
    if (!o->all) o->all = vch_secret_alloc(answers * NODES_MAX * VCH_KT_KEY);
    if (!o->told) o->told = new_told(answers);
    if (!o->all || !o->told) return vch_fail(o->err, VCH_ERR_MEMORY, "out of memory");
    for (unsigned set = 0; set < o->h.sets; set++) {
        vch_buf_t request;
        o->ask->set = (uint8_t)set;
        vch_buf_init(&request, 1u << 17);
        vch_rc rc = og_sign_request(o, &request);
        if (rc == VCH_OK) rc = ask_holders(o, set, vch_buf_slice(&request));
        vch_buf_free(&request);
        vch_wipe(o->secret, 64);
        VCH_TRY(rc);
    }
    o->has_all = true;
    return VCH_OK;
}

/* ---- one guess ------------------------------------------------------------------------------ */

/* The first answer for a set by nobody of `liars`; false when there is none. */
static bool choose(const vch_opening_t *o, uint64_t liars, unsigned set, unsigned *ret)
{
    for (*ret = 0; *ret < vch_holding_holders(&o->h); ++*ret) {
        unsigned position = vch_holding_holder(&o->h, set, *ret);
        if (o->answered[set] >> *ret & 1 && !(liars >> position & 1)) return true;
    }
    return false;
}

static bool node_of(const vch_opening_t *o, uint32_t leaf, uint32_t *ret)
{
    for (*ret = 0; *ret < o->ask->nodes; ++*ret) {
        vch_kt_node_t node = o->ask->node[*ret];
        if (leaf - vch_kt_first(node) < vch_kt_count(node)) return true;
    }
    return false;
}

/* The record key of a leaf from the answers of those who aren't in `liars`. */
static bool key_without(vch_opening_t *o, uint64_t liars, uint32_t node, uint32_t leaf, uint8_t key[VCH_KT_KEY])
{
    uint8_t one[VCH_KT_KEY];
    bool good = true;
    memset(key, 0, VCH_KT_KEY);
    for (unsigned set = 0, holder; good && set < o->h.sets; set++) {
        vch_kt_seed_t seed = {.node = o->ask->node[node]};
        good = choose(o, liars, set, &holder);
        if (good) memcpy(seed.key, answer_of(o, set, holder) + (size_t)node * VCH_KT_KEY, VCH_KT_KEY);
        good = good && vch_kt_leaves(one, &seed, leaf, 1);
        vch_wipe(&seed, sizeof seed);
        if (good) vch_kt_add(key, one, 1);
    }
    vch_wipe(one, sizeof one);
    if (good) vch_kt_record_keys(key, key, &o->about.extent, leaf, 1);
    return good;
}

/* At most 35 trustees lack one tree each (t = 2), or at most 8 lack more. */
static bool next_guess(const vch_opening_t *o, uint64_t *liars)
{
    uint64_t end = UINT64_C(1) << o->h.n;
    if (o->h.t == 2) {
        *liars = *liars ? *liars << 1 : 1;
        return *liars < end;
    }
    do ++*liars;
    while (*liars < end && __builtin_popcountll(*liars) > o->h.t - 1);
    return *liars < end;
}

/* ---- and what follows ------------------------------------------------------------------------ */

static void adopt(vch_opening_t *o, uint64_t liars)
{
    for (unsigned set = 0, holder; set < o->h.sets; set++) {
        if (!choose(o, liars, set, &holder)) continue;
        memcpy(o->seed + (size_t)set * NODES_MAX * VCH_KT_KEY, answer_of(o, set, holder),
               (size_t)o->ask->nodes * VCH_KT_KEY);
        o->prefer[set] = holder;
    }
    o->set_aside |= liars;
    o->has_block = false;
}

static vch_rc guess(vch_opening_t *o, uint32_t row, uint8_t group, uint32_t node, uint8_t key[VCH_KT_KEY])
{
    vch_opened_t ignored = {.salt = {NULL}};
    uint32_t leaf = vch_kt_leaf(group, row);
    uint64_t liars = 0;
    do {
        if (!key_without(o, liars, node, leaf, key)) continue;
        vch_rc rc = og_open_under(o, row, group, key, &ignored);
        if (rc == VCH_OK) adopt(o, liars);
        if (rc != VCH_ERR_KEY) return rc;
    } while (next_guess(o, &liars));
    return vch_fail(o->err, VCH_ERR_COMMITMENT,
                    "extent %u, row %u, group %u: the record opens under no choice of the trustees' answers: more than "
                    "%u of them answer wrong, or the custodian dealt badly",
                    o->want.number, row, group, o->h.t - 1u);
}

vch_rc og_recover(vch_opening_t *o, uint32_t row, uint8_t group)
{
    uint32_t node;
    VCH_TRY(ask_all(o));
    if (!node_of(o, vch_kt_leaf(group, row), &node)) return VCH_ERR_INTERNAL;
    uint8_t *key = vch_secret_alloc(VCH_KT_KEY);
    if (!key) return vch_fail(o->err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = guess(o, row, group, node, key);
    vch_secret_free(key);
    og_accuse(o, node, vch_kt_leaf(group, row));
    return rc;
}
