/* SPDX-License-Identifier: Apache-2.0 */
/* Whether seeds leave, and how. */
#include "node/node_int.h"
#include "node/trustee_int.h"

#define PERMITTED_MS 1000u /* what was computed may be used so long: consents end by the day, grants by the minute */

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- the grant ------------------------------------------------------------------------- */

typedef struct {
    bool own;       /* by the subject itself; then no party is meant */
    vch_id_t party; /* zeros, of a subject */
} asker_t;

/* A withdrawal or any other entry since, or a second gone by: computed anew. */
static bool still_known(const vch_trustee_t *t, const vch_release_t *r, const asker_t *who)
{
    const permitted_t *p = &t->permitted;
    vch_state_info_t info;
    vch_state_info(t->l->state, &info);
    uint64_t now = t->l->port->clock->boot_ms(t->l->port);
    return p->known && memcmp(p->grant.b, r->grant.b, 32) == 0 && vch_id_eq(&p->party, &who->party) &&
           p->own == who->own && p->applied == info.applied && now - p->boot_ms < PERMITTED_MS;
}

static vch_rc permitted_now(vch_trustee_t *t, const vch_release_t *r, const asker_t *who, vch_err_t *err)
{
    permitted_t *p = &t->permitted;
    vch_state_info_t info;
    if (still_known(t, r, who)) return VCH_OK;
    if (p->known) vch_use_close(&p->use);
    p->known = false;
    memcpy(p->grant.b, r->grant.b, 32);
    p->party = who->party;
    p->own = who->own;
    vch_state_info(t->l->state, &info);
    p->applied = info.applied;
    p->boot_ms = t->l->port->clock->boot_ms(t->l->port);
    vch_rc rc = who->own ? vch_use_of_subject(&p->use, t->l, &p->grant, err)
                         : vch_use_of_party(&p->use, t->l, &who->party, &p->grant, 1, err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "there is no such grant on the ledger");
    p->known = rc == VCH_OK;
    /* Who withdrew may still read the own rows. */
    if (rc == VCH_OK && !who->own && (rc = tr_hold_back(t, &p->use, err)) != VCH_OK) {
        vch_use_close(&p->use);
        p->known = false;
    }
    return rc;
}

/* The outcome stands right behind its request. */
static vch_rc is_committed(vch_trustee_t *t, const vch_release_t *r, vch_err_t *err)
{
    vch_id_t grant;
    uint64_t index, committed;
    uint32_t statement;
    memcpy(grant.b, r->grant.b, 32);
    VCH_TRY(vch_object_find(t->l, &grant, &index, &statement, err));
    VCH_TRY(nd_committed(t->l, &committed, err));
    if (index + 1 < committed) return VCH_OK;
    vch_fail(err, VCH_ERR_QUORUM,
             "the grant is not committed yet: no checkpoint that a quorum stands behind covers it");
    return vch_hint(err, VCH_ERR_QUORUM, "wait for the next checkpoint, or look at the witnesses: vouch doctor");
}

/* A trustee that follows a node may know less than that does. */
static vch_rc heard_lately(vch_trustee_t *t, vch_err_t *err)
{
    if (t->home == t->l) return VCH_OK;
    if (t->heard && t->l->port->clock->boot_ms(t->l->port) - t->heard_boot <= t->fresh_ms) return VCH_OK;
    vch_fail(err, VCH_ERR_QUORUM, "this trustee has not heard from its node for %llu s: it may be cut off",
             (unsigned long long)(t->fresh_ms / 1000));
    return vch_hint(err, VCH_ERR_QUORUM, "ask again when the node answers it");
}

static vch_rc is_fresh(vch_trustee_t *t, vch_err_t *err)
{
    bool wanted;
    uint64_t ms = 0, now = t->l->port->clock->wall_ms(t->l->port);
    VCH_TRY(nd_quorum_time(t->l, &wanted, &ms, err));
    if (!wanted || (ms + t->fresh_ms >= now && ms <= now + VCH_CLOCK_SKEW_MS)) return VCH_OK;
    vch_fail(err, VCH_ERR_QUORUM,
             "the newest checkpoint with a quorum is older than %llu s: this trustee may be cut off",
             (unsigned long long)(t->fresh_ms / 1000));
    return vch_hint(err, VCH_ERR_QUORUM,
                    "an unchanged checkpoint can be cosigned again; see the witnesses: vouch doctor");
}

/* ---- the extent ---------------------------------------------------------------------------- */

static vch_rc find_extent(const vch_use_t *u, const vch_hash_t *id, uint32_t *ret, vch_err_t *err)
{
    for (*ret = 0; *ret < u->extents; (*ret)++)
        if (vch_hash_eq(&u->id[*ret], id)) return VCH_OK;
    return vch_fail(err, VCH_ERR_NOT_FOUND, "the granted version has no such extent");
}

/* The ledger and this trustee must mean the same tree. */
static vch_rc same_tree(vch_trustee_t *t, const vch_holding_t *h, const vch_release_t *r, vch_err_t *err)
{
    vch_tree_about_t about;
    vch_hash_t root[VCH_VAULT_HELD_MAX];
    uint8_t position;
    size_t held = 0;
    VCH_TRY(vch_seeds_about(t->seeds, &r->extent, &about, &position, root, err));
    if (about.n != h->n || about.t != h->t || position >= h->n || !vch_keyid_eq(&h->trustee[position], &t->id))
        return vch_fail(err, VCH_ERR_NOT_FOUND, "the ledger does not name this trustee as the extent's holder");
    if (r->set >= h->sets || !vch_kt_holds(vch_kt_set(h->n, h->t, r->set), position))
        return vch_fail(err, VCH_ERR_NOT_FOUND, "this trustee does not hold that key tree");
    for (unsigned set = 0; set < r->set; set++) held += vch_kt_holds(vch_kt_set(h->n, h->t, set), position);
    if (vch_hash_eq(&root[held], &h->root[r->set])) return VCH_OK;
    return vch_fail(err, VCH_ERR_COMMITMENT, "the ledger has another root of this key tree than was signed here");
}

static vch_rc in_our_hands(vch_trustee_t *t, const vch_release_t *r, uint32_t number, vch_err_t *err)
{
    vch_buf_t value;
    vch_holding_t h;
    vch_state_key_t key = vch_key_id_u32('w', t->permitted.use.dataset.b, number);
    vch_buf_init(&value, 1u << 18);
    vch_rc rc = vch_state_get(t->l->state, vch_key_slice(&key), &value, NULL);
    if (rc == VCH_OK) rc = vch_holding_get(&h, vch_buf_slice(&value));
    rc = rc == VCH_OK ? same_tree(t, &h, r, err) : vch_fail(err, rc, "the extent is not in the vault");
    vch_buf_free(&value);
    return rc;
}

/* ---- the rows -------------------------------------------------------------------------------- */

static vch_rc node_permitted(const vch_use_t *u, uint32_t extent, vch_kt_node_t node, vch_err_t *err)
{
    uint32_t first = vch_kt_first(node), row = first & (VCH_KT_ROWS_MAX - 1), count = vch_kt_count(node);
    unsigned group = first >> VCH_KT_ROW_BITS;
    const uint8_t *bits = u->bits.p + u->at[extent];
    if (!(u->groups >> group & 1)) return vch_fail(err, VCH_ERR_DENIED, "group %u of columns is not granted", group);
    if (row >= u->rows[extent] || count > u->rows[extent] - row)
        return vch_fail(err, VCH_ERR_DENIED, "more rows are asked for than there are");
    for (uint32_t i = 0; i < count; i++)
        if (!vch_bit(bits, row + i))
            return vch_fail(err, VCH_ERR_DENIED, "row %u of extent %u is not granted, or not permitted any more",
                            row + i, extent);
    return VCH_OK;
}

static vch_rc nodes_permitted(const vch_use_t *u, uint32_t extent, const vch_release_t *r, uint64_t *ret_leaves,
                              vch_err_t *err)
{
    *ret_leaves = 0;
    for (uint32_t i = 0; i < r->nodes; i++) {
        VCH_TRY(node_permitted(u, extent, r->node[i], err));
        *ret_leaves += vch_kt_count(r->node[i]);
    }
    return VCH_OK;
}

static vch_rc served_of(vch_trustee_t *t, const vch_release_t *r, served_t **ret, vch_err_t *err)
{
    for (size_t i = t->served_n; i-- > 0;)
        if (t->served[i].set == r->set && vch_hash_eq(&t->served[i].grant, &r->grant) &&
            vch_hash_eq(&t->served[i].extent, &r->extent)) {
            *ret = &t->served[i];
            return VCH_OK;
        }
    if (t->served_n == t->served_cap) {
        size_t cap = t->served_cap ? 2 * t->served_cap : 64;
        served_t *more = vch_resize(t->served, cap * sizeof *more);
        if (!more) return no_memory(err);
        t->served = more;
        t->served_cap = cap;
    }
    *ret = &t->served[t->served_n++];
    **ret = (served_t){.grant = r->grant, .extent = r->extent, .set = r->set};
    return VCH_OK;
}

static vch_rc count_fetch(vch_trustee_t *t, const vch_release_t *r, uint32_t extent, uint64_t leaves, vch_err_t *err)
{
    const vch_use_t *u = &t->permitted.use;
    served_t *s = NULL;
    uint64_t rows = 0;
    for (size_t i = 0; i < vch_set_bytes(u->rows[extent]); i++)
        rows += (uint64_t)__builtin_popcount(u->bits.p[u->at[extent] + i]);
    VCH_TRY(served_of(t, r, &s, err));
    if (s->leaves + leaves > rows * (uint64_t)__builtin_popcount(u->groups) * VCH_FETCHES_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "this grant's rows were fetched %u times already: ask for another grant",
                        VCH_FETCHES_MAX);
    s->leaves += leaves;
    return VCH_OK;
}

/* ---- the answer --------------------------------------------------------------------------------- */

static vch_rc sign_answer(vch_trustee_t *t, const vch_release_t *r, const uint8_t *seed, vch_buf_t *ret, vch_err_t *err)
{
    vch_seeds_answer_t a;
    vch_buf_t payload;
    vch_hash_t *leaf = vch_alloc_array(r->nodes, sizeof *leaf);
    if (!leaf) return no_memory(err);
    vch_buf_init(&payload, 1024);
    vch_rc rc = vch_answer_make(&a, r, seed, leaf);
    if (rc == VCH_OK) rc = vch_answer_put(&payload, &a);
    if (rc == VCH_OK) rc = vch_cose_sign(ret, t->key, vch_buf_slice(&payload), err);
    vch_buf_free(&payload);
    vch_free(leaf);
    return rc;
}

static vch_rc seal_answer(vch_trustee_t *t, const vch_release_t *r, const uint8_t *seed, vch_buf_t *ret, vch_err_t *err)
{
    uint8_t *random = vch_secret_alloc(32);
    if (!random) return no_memory(err);
    vch_rc rc = vch_random(t->l->port, random, 32, err);
    if (rc == VCH_OK) rc = vch_answer_seal(ret, r, seed, random);
    vch_secret_free(random);
    return rc;
}

static vch_rc answer(vch_trustee_t *t, const vch_release_t *r, vch_buf_t *ret_answer, vch_buf_t *ret_box,
                     vch_err_t *err)
{
    uint8_t *seed = vch_secret_alloc((size_t)r->nodes * VCH_KT_KEY);
    if (!seed) return no_memory(err);
    vch_rc rc = vch_seeds_get_all(t->seeds, &r->extent, r->set, r->node, r->nodes, seed, err);
    if (rc == VCH_OK) rc = sign_answer(t, r, seed, ret_answer, err);
    if (rc == VCH_OK) rc = seal_answer(t, r, seed, ret_box, err);
    vch_secret_free(seed);
    return rc == VCH_OK ? rc : nd_told(rc, err);
}

/* ---- who asks --------------------------------------------------------------------------------------- */

/* The subject's key of the statement and no other, and sealed to the key that
 * it named there: so neither who carried the statement nor who sees this
 * request can have the rows. */
static vch_rc is_the_subject(const vch_cose_t *m, const vch_release_t *r, const vch_own_value_t *own, vch_err_t *err)
{
    vch_pubkey_t key;
    vch_rc rc = vch_pubkey_get(&key, own->key);
    if (rc != VCH_OK) return vch_fail(err, VCH_ERR_CORRUPT, "an own access has a key that is none");
    vch_keyid_t id = vch_pubkey_id(&key);
    if (!vch_keyid_eq(&id, &m->kid))
        return vch_fail(err, VCH_ERR_ROLE, "this is a subject's own access: only that subject's key may ask for it");
    VCH_TRY(vch_cose_verify(m, &key, err));
    if (memcmp(r->key, own->once, sizeof own->once) == 0) return VCH_OK;
    return vch_fail(err, VCH_ERR_KEY, "an own access is answered to the one-time key of its statement only");
}

static vch_rc is_a_party(vch_trustee_t *t, const vch_cose_t *m, vch_id_t *ret, vch_err_t *err)
{
    vch_pubkey_t key;
    unsigned roles;
    VCH_TRY(tr_signer(t, m, &key, ret, &roles, err));
    return vch_cose_verify(m, &key, err);
}

static vch_rc who_asks(vch_trustee_t *t, const vch_cose_t *m, const vch_release_t *r, asker_t *ret, vch_err_t *err)
{
    vch_buf_t value;
    vch_own_value_t own;
    vch_id_t grant;
    *ret = (asker_t){.own = true};
    memcpy(grant.b, r->grant.b, 32);
    vch_buf_init(&value, 4096);
    vch_rc rc = vch_own_load(t->l, &grant, &value, &own);
    if (rc == VCH_OK)
        rc = is_the_subject(m, r, &own, err);
    else if (rc == VCH_ERR_NOT_FOUND) {
        ret->own = false;
        rc = is_a_party(t, m, &ret->party, err);
    } else
        vch_fail(err, rc, "the grant can't be read: %s", vch_rc_text(rc));
    vch_buf_free(&value);
    return rc;
}

/* ---- all of it ------------------------------------------------------------------------------------ */

/* Between read_begin and _end. */
static vch_rc may(vch_trustee_t *t, const vch_cose_t *m, const vch_release_t *r, vch_err_t *err)
{
    asker_t who;
    uint32_t extent;
    uint64_t leaves;
    VCH_TRY(who_asks(t, m, r, &who, err));
    VCH_TRY(permitted_now(t, r, &who, err));
    VCH_TRY(is_committed(t, r, err));
    VCH_TRY(heard_lately(t, err));
    VCH_TRY(is_fresh(t, err));
    VCH_TRY(find_extent(&t->permitted.use, &r->extent, &extent, err));
    VCH_TRY(in_our_hands(t, r, extent, err));
    VCH_TRY(nodes_permitted(&t->permitted.use, extent, r, &leaves, err));
    return count_fetch(t, r, extent, leaves, err);
}

static vch_rc release(vch_trustee_t *t, vch_slice_t request, vch_release_t *r, vch_buf_t *ret_answer,
                      vch_buf_t *ret_box, vch_err_t *err)
{
    vch_cose_t m;
    VCH_TRY(tr_read(&m, request, err));
    vch_rc rc = vch_release_get(r, m.payload);
    if (rc != VCH_OK) return vch_fail(err, rc, "not a request for seeds");
    VCH_TRY(tr_network(t, &r->network, err));
    VCH_TRY(tr_catch_up(t, err));
    VCH_TRY(vch_ledger_read_begin(t->l, err));
    rc = may(t, &m, r, err);
    vch_ledger_read_end(t->l);
    return rc == VCH_OK ? answer(t, r, ret_answer, ret_box, err) : rc;
}

vch_rc vch_trustee_release(vch_trustee_t *t, vch_slice_t request, vch_buf_t *ret_answer, vch_buf_t *ret_box,
                           vch_err_t *err)
{
    vch_release_t *r = vch_alloc(sizeof *r);
    if (!r) return no_memory(err);
    vch_rc rc = release(t, request, r, ret_answer, ret_box, err);
    vch_free(r);
    return nd_told(rc, err);
}
