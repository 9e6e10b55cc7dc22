/* SPDX-License-Identifier: Apache-2.0 */
/* A trustee's directory, prekeys and deals. */
#include "codec/cbor.h"
#include "merkle/keyroot.h"
#include "node/guard.h"
#include "node/node_int.h"
#include "node/trustee_int.h"

#define DEALT_RECORD 36u /* extent id ‖ u32 crc32c */

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- extents dealt, ever ------------------------------------------------------------ */

static vch_rc room_for_one(vch_trustee_t *t, vch_err_t *err)
{
    if (t->dealt_n < t->dealt_cap) return VCH_OK;
    size_t cap = t->dealt_cap ? 2 * t->dealt_cap : 64;
    vch_hash_t *more = vch_resize(t->dealt, cap * sizeof *more);
    if (!more) return no_memory(err);
    t->dealt = more;
    t->dealt_cap = cap;
    return VCH_OK;
}

static bool was_dealt(const vch_trustee_t *t, const vch_hash_t *extent)
{
    for (size_t i = 0; i < t->dealt_n; i++)
        if (vch_hash_eq(&t->dealt[i], extent)) return true;
    return false;
}

/* What a cut-off write left behind the last whole record was never acknowledged. */
static vch_rc load_dealt(vch_trustee_t *t, vch_err_t *err)
{
    vch_port_t *port = t->l->port;
    char path[VCH_PATH_MAX];
    uint64_t size;
    vch_rc rc = vch_path(path, "%s/dealt", t->dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(vch_file_open(port, &t->dealt_file, path, VCH_OPEN_CREATE, err));
    rc = port->disk->size(port, t->dealt_file, &size);
    if (rc != VCH_OK) return vch_fail(err, rc, "cannot read %s: %s", path, vch_rc_text(rc));
    for (uint64_t at = 0; at + DEALT_RECORD <= size; at += DEALT_RECORD) {
        uint8_t record[DEALT_RECORD];
        VCH_TRY(vch_file_read(port, t->dealt_file, record, sizeof record, at, err));
        bool whole = vch_crc32c(0, record, 32) == vch_get_u32(record + 32);
        if (!whole && at + 2 * DEALT_RECORD > size) break;
        if (!whole) return vch_fail(err, VCH_ERR_CORRUPT, "%s, byte %llu: damaged", path, (unsigned long long)at);
        VCH_TRY(room_for_one(t, err));
        memcpy(t->dealt[t->dealt_n++].b, record, 32);
    }
    return VCH_OK;
}

static vch_rc keep_dealt(vch_trustee_t *t, const vch_hash_t *extent, vch_err_t *err)
{
    vch_port_t *port = t->l->port;
    uint8_t record[DEALT_RECORD];
    VCH_TRY(room_for_one(t, err));
    memcpy(record, extent->b, 32);
    vch_put_u32(record + 32, vch_crc32c(0, record, 32));
    vch_rc rc = port->disk->write(port, t->dealt_file, record, sizeof record, t->dealt_n * DEALT_RECORD);
    if (rc == VCH_OK) rc = port->disk->sync(port, t->dealt_file);
    if (rc == VCH_OK) rc = port->disk->sync_dir(port, t->dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "a trustee can't keep an extent's id: %s", vch_rc_text(rc));
    t->dealt[t->dealt_n++] = *extent;
    return VCH_OK;
}

/* ---- opening ---------------------------------------------------------------------------- */

static vch_rc open_parts(vch_trustee_t *t, const char *dir, const vch_seeds_guard_t *guard, vch_err_t *err)
{
    char seeds[VCH_PATH_MAX];
    vch_rc rc = vch_path(t->dir, "%s", dir);
    if (rc == VCH_OK) rc = vch_path(seeds, "%s/seeds", dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    t->secret = vch_secret_alloc((size_t)TR_PREKEYS * VCH_SEAL_KEY);
    if (!t->secret) return no_memory(err);
    VCH_TRY(vch_mkdirs(t->l->port, dir, err));
    rc = vch_seeds_open(&t->seeds, t->l->port, seeds, guard, err);
    if (rc != VCH_OK) return vch_guard_told(t->l->port, dir, rc, err);
    VCH_TRY(load_dealt(t, err));
    return tr_load_held(t, err);
}

vch_rc vch_trustee_open(vch_trustee_t **ret, vch_ledger_t *l, const char *dir, const vch_signer_t *key,
                        const vch_seeds_guard_t *guard, uint64_t fresh_ms, vch_err_t *err)
{
    VCH_TRY(vch_here(l, err));
    vch_trustee_t *t = vch_alloc(sizeof *t);
    if (!t) return no_memory(err);
    t->l = t->home = l;
    t->key = key;
    t->id = vch_pubkey_id(vch_signer_public(key));
    t->fresh_ms = fresh_ms;
    vch_rc rc = open_parts(t, dir, guard, err);
    if (rc == VCH_OK)
        *ret = t;
    else
        vch_trustee_close(t);
    return rc;
}

void vch_trustee_follows(vch_trustee_t *t, vch_ledger_t *home)
{
    t->home = home;
    t->heard = false;
}

void vch_trustee_heard(vch_trustee_t *t)
{
    t->heard = true;
    t->heard_boot = t->l->port->clock->boot_ms(t->l->port);
}

void vch_trustee_close(vch_trustee_t *t)
{
    if (!t) return;
    if (t->permitted.known) vch_use_close(&t->permitted.use);
    vch_seeds_close(t->seeds);
    vch_file_close(t->l->port, t->dealt_file);
    vch_secret_free(t->secret);
    vch_free(t->dealt);
    vch_free(t->waiting);
    vch_free(t->held);
    vch_free(t->served);
    vch_free(t);
}

/* ---- messages --------------------------------------------------------------------------- */

vch_rc tr_read(vch_cose_t *ret, vch_slice_t message, vch_err_t *err)
{
    vch_rc rc = vch_cose_read(ret, message);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "not a signed message of the vault");
}

vch_rc tr_network(const vch_trustee_t *t, const vch_hash_t *network, vch_err_t *err)
{
    if (vch_hash_eq(network, &t->l->network)) return VCH_OK;
    return vch_fail(err, VCH_ERR_NETWORK, "the message is of another network");
}

vch_rc tr_signer(vch_trustee_t *t, const vch_cose_t *m, vch_pubkey_t *ret, vch_id_t *ret_party, unsigned *ret_roles,
                 vch_err_t *err)
{
    vch_buf_t value;
    vch_key_value_t key = {.revoked = true};
    vch_party_value_t party = {.roles = 0};
    vch_state_key_t at = vch_key_id('k', m->kid.b);
    vch_buf_init(&value, 1u << 16);
    vch_rc rc = vch_state_get(t->l->state, vch_key_slice(&at), &value, NULL);
    if (rc == VCH_OK) rc = vch_key_get(&key, vch_buf_slice(&value));
    if (rc == VCH_OK) rc = vch_pubkey_get(ret, key.key);
    if (rc == VCH_OK && !key.revoked) {
        *ret_party = key.party;
        at = vch_key_id('p', key.party.b);
        vch_buf_clear(&value);
        rc = vch_state_get(t->l->state, vch_key_slice(&at), &value, NULL);
        if (rc == VCH_OK) rc = vch_party_get(&party, vch_buf_slice(&value));
        *ret_roles = party.roles;
    }
    vch_buf_free(&value);
    if (rc == VCH_ERR_NOT_FOUND || (rc == VCH_OK && key.revoked))
        return vch_fail(err, VCH_ERR_KEY, "the signer's key is not registered, or was revoked");
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the signer's key can't be read: %s", vch_rc_text(rc));
}

/* ---- prekeys ------------------------------------------------------------------------------ */

static uint8_t *secret_of(const vch_trustee_t *t, unsigned i) { return t->secret + (size_t)i * VCH_SEAL_KEY; }

static vch_rc fresh_prekey(vch_trustee_t *t, unsigned i, vch_err_t *err)
{
    uint8_t *seed = vch_secret_alloc(32);
    if (!seed) return no_memory(err);
    t->prekey[i].given = false;
    vch_rc rc = vch_random(t->l->port, seed, 32, err);
    if (rc == VCH_OK) rc = vch_seal_pair(t->prekey[i].key, secret_of(t, i), seed);
    vch_secret_free(seed);
    return rc;
}

/* Which one it is; false: none that is out. */
static bool find_prekey(const vch_trustee_t *t, const uint8_t key[VCH_SEAL_KEY], unsigned *ret)
{
    for (*ret = 0; *ret < TR_PREKEYS; ++*ret)
        if (t->prekey[*ret].given && memcmp(t->prekey[*ret].key, key, VCH_SEAL_KEY) == 0) return true;
    return false;
}

/* Numbers needn't be kept: a prekey doesn't outlive the process, and a deal
 * names the key itself.  They go on from the clock, so that none comes twice. */
static uint64_t next_number(vch_trustee_t *t)
{
    uint64_t now = t->l->port->clock->wall_ms(t->l->port);
    t->prekeys = now > t->prekeys ? now : t->prekeys + 1;
    return t->prekeys;
}

vch_rc vch_trustee_prekey(vch_trustee_t *t, vch_buf_t *ret, vch_err_t *err)
{
    vch_buf_t payload;
    unsigned i = t->next_prekey;
    VCH_TRY(fresh_prekey(t, i, err));
    vch_prekey_t message = {.network = t->l->network, .number = next_number(t)};
    memcpy(message.key, t->prekey[i].key, sizeof message.key);
    vch_buf_init(&payload, 1024);
    vch_rc rc = vch_prekey_put(&payload, &message);
    if (rc == VCH_OK)
        rc = vch_cose_sign(ret, t->key, vch_buf_slice(&payload), err);
    else
        vch_fail(err, rc, "a prekey can't be written: %s", vch_rc_text(rc));
    vch_buf_free(&payload);
    t->prekey[i].given = rc == VCH_OK;
    if (rc == VCH_OK) t->next_prekey = (i + 1) % TR_PREKEYS;
    return rc;
}

/* ---- deals ---------------------------------------------------------------------------------- */

static vch_rc dealer_may(vch_trustee_t *t, const vch_cose_t *m, vch_err_t *err)
{
    vch_pubkey_t key;
    vch_id_t party;
    unsigned roles;
    VCH_TRY(tr_signer(t, m, &key, &party, &roles, err));
    VCH_TRY(vch_cose_verify(m, &key, err));
    if (roles & VCH_ROLE_CUSTODIAN) return VCH_OK;
    return vch_fail(err, VCH_ERR_ROLE, "only a custodian deals keys");
}

static vch_rc root_of(vch_hash_t *ret, const vch_tree_about_t *about, const uint8_t *seed)
{
    vch_kt_seed_t top = {.node = {0, 0}};
    vch_hash_t group[VCH_KT_GROUPS_MAX];
    bool good = true;
    memcpy(top.key, seed, VCH_KT_KEY);
    for (unsigned g = 0; good && g < about->groups; g++) good = vch_keyroot_group(&group[g], &top, g, about->rows);
    good = good && vch_keyroot(ret, group, about->groups);
    vch_wipe(&top, sizeof top);
    return good ? VCH_OK : VCH_ERR_INTERNAL;
}

static vch_rc put_root(vch_trustee_t *t, vch_buf_t *ret, const vch_root_t *root, vch_err_t *err)
{
    vch_buf_t payload, cose;
    vch_buf_init(&payload, 1024);
    vch_buf_init(&cose, 2048);
    vch_rc rc = vch_root_put(&payload, root);
    if (rc == VCH_OK) rc = vch_cose_sign(&cose, t->key, vch_buf_slice(&payload), err);
    if (rc == VCH_OK) rc = vch_cbor_bytes(ret, cose.p, cose.n);
    vch_buf_free(&payload);
    vch_buf_free(&cose);
    return rc;
}

static vch_rc sign_roots(vch_trustee_t *t, const vch_deal_t *d, const vch_hash_t *root, vch_buf_t *ret, vch_err_t *err)
{
    size_t held = 0;
    VCH_TRY(vch_cbor_array(ret, vch_vault_held(d->about.n, d->about.t)));
    for (unsigned set = 0; set < vch_kt_sets(d->about.n, d->about.t); set++) {
        if (!vch_kt_holds(vch_kt_set(d->about.n, d->about.t, set), d->trustee)) continue;
        vch_root_t message = {.about = d->about, .set = (uint8_t)set, .root = root[held++]};
        VCH_TRY(put_root(t, ret, &message, err));
    }
    return VCH_OK;
}

/* The id is kept before the seeds are: whatever happens in between, no second
 * root is ever signed for this extent. */
static vch_rc take_seeds(vch_trustee_t *t, const vch_deal_t *d, const uint8_t *seed, vch_buf_t *ret, vch_err_t *err)
{
    vch_hash_t root[VCH_VAULT_HELD_MAX];
    unsigned held = vch_vault_held(d->about.n, d->about.t);
    for (unsigned i = 0; i < held; i++) {
        vch_rc rc = root_of(&root[i], &d->about, seed + (size_t)i * VCH_KT_KEY);
        if (rc != VCH_OK) return vch_fail(err, rc, "a key tree's root can't be computed");
    }
    VCH_TRY(keep_dealt(t, &d->about.extent, err));
    VCH_TRY(vch_seeds_add(t->seeds, &d->about, d->trustee, seed, root, err));
    return sign_roots(t, d, root, ret, err);
}

static vch_rc open_deal(vch_trustee_t *t, const vch_deal_t *d, unsigned prekey, vch_buf_t *ret, vch_err_t *err)
{
    uint8_t *seed = vch_secret_alloc((size_t)VCH_VAULT_HELD_MAX * VCH_KT_KEY);
    if (!seed) return no_memory(err);
    vch_rc rc = vch_deal_open(seed, d, secret_of(t, prekey));
    vch_wipe(secret_of(t, prekey), VCH_SEAL_KEY);
    t->prekey[prekey].given = false;
    if (rc == VCH_OK)
        rc = take_seeds(t, d, seed, ret, err);
    else
        vch_fail(err, rc, "the deal's seeds don't open: %s", vch_rc_text(rc));
    vch_secret_free(seed);
    return rc;
}

vch_rc vch_trustee_deal(vch_trustee_t *t, vch_slice_t message, vch_buf_t *ret, vch_err_t *err)
{
    vch_cose_t m;
    vch_deal_t d;
    VCH_TRY(tr_read(&m, message, err));
    vch_rc rc = vch_deal_get(&d, m.payload);
    if (rc != VCH_OK) return vch_fail(err, rc, "not a deal");
    VCH_TRY(tr_network(t, &d.about.network, err));
    VCH_TRY(vch_ledger_read_begin(t->l, err));
    rc = dealer_may(t, &m, err);
    vch_ledger_read_end(t->l);
    VCH_TRY(rc);
    unsigned prekey;
    if (!find_prekey(t, d.prekey, &prekey))
        return vch_fail(err, VCH_ERR_KEY, "the deal is sealed to a prekey that is not, or no longer, this trustee's");
    if (was_dealt(t, &d.about.extent))
        return vch_fail(err, VCH_ERR_CONFLICT, "a deal for this extent was taken before: begin again under a new id");
    return open_deal(t, &d, prekey, ret, err);
}

/* ---- left-overs ------------------------------------------------------------------------------ */

typedef struct {
    vch_trustee_t *t;
    vch_hash_t *extent;
    size_t n, cap;
} lost_t;

static vch_rc find_lost(void *ctx, const vch_hash_t *extent)
{
    lost_t *lost = ctx;
    vch_id_t dataset;
    uint32_t number;
    vch_rc rc = vch_state_extent(lost->t->l->state, extent, &dataset, &number, NULL);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    if (lost->n == lost->cap) {
        size_t cap = lost->cap ? 2 * lost->cap : 16;
        vch_hash_t *more = vch_resize(lost->extent, cap * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        lost->extent = more;
        lost->cap = cap;
    }
    lost->extent[lost->n++] = *extent;
    return VCH_OK;
}

static vch_rc find_all_lost(vch_trustee_t *t, lost_t *ret, vch_err_t *err)
{
    *ret = (lost_t){.t = t};
    VCH_TRY(vch_ledger_read_begin(t->l, err));
    vch_rc rc = vch_seeds_each(t->seeds, find_lost, ret, err);
    vch_ledger_read_end(t->l);
    if (rc != VCH_OK) vch_free(ret->extent);
    return rc;
}

vch_rc vch_trustee_sweep(vch_trustee_t *t, vch_err_t *err)
{
    lost_t lost;
    VCH_TRY(find_all_lost(t, &lost, err));
    vch_rc rc = VCH_OK;
    for (size_t i = 0; rc == VCH_OK && i < lost.n; i++) rc = vch_seeds_drop(t->seeds, &lost.extent[i], err);
    vch_free(lost.extent);
    return rc;
}

static bool among(const vch_hash_t *extent, const vch_hash_t *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (vch_hash_eq(extent, &all[i])) return true;
    return false;
}

vch_rc vch_trustee_sweep_old(vch_trustee_t *t, vch_err_t *err)
{
    lost_t lost;
    size_t kept = 0;
    vch_rc rc = VCH_OK;
    VCH_TRY(find_all_lost(t, &lost, err));
    for (size_t i = 0; rc == VCH_OK && i < lost.n; i++) {
        if (among(&lost.extent[i], t->waiting, t->waiting_n))
            rc = vch_seeds_drop(t->seeds, &lost.extent[i], err);
        else
            lost.extent[kept++] = lost.extent[i];
    }
    vch_free(t->waiting);
    t->waiting = lost.extent;
    t->waiting_n = rc == VCH_OK ? kept : 0;
    return rc;
}
