/* SPDX-License-Identifier: Apache-2.0 */
/* What every vault is asked, and the embedded one: folders vault/trustee-N and
 * vault/storage-N, each with the key of its party in key.pem. */
#include <stdio.h>

#include "node/guard.h"
#include "node/node_int.h"
#include "node/remote_int.h"
#include "node/trustee.h"
#include "node/vault_int.h"

#define LOOK_AGAIN_MS 20u

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- asked of any vault ---------------------------------------------------------------- */

vch_rc vch_vault_all_storage(const vch_vault_t *v, vch_err_t *err)
{
    for (unsigned i = 0; i < v->nodes; i++)
        if (!v->storage[i])
            return vch_fail(err, VCH_ERR_UNREACHABLE, "storage node %u is gone, and new rows need all of them", i + 1);
    return VCH_OK;
}

vch_rc vch_vault_all_trustees(const vch_vault_t *v, vch_err_t *err)
{
    for (unsigned i = 0; i < v->n; i++)
        if (!v->trustee[i])
            return vch_fail(err, VCH_ERR_UNREACHABLE, "trustee %u is gone, and new rows need all of them", i + 1);
    return VCH_OK;
}

vch_rc vch_vault_key(vch_ledger_t *l, const vch_keyid_t *id, vch_pubkey_t *ret, vch_err_t *err)
{
    vch_buf_t value;
    vch_key_value_t key;
    vch_state_key_t at = vch_key_id('k', id->b);
    vch_buf_init(&value, 4096);
    VCH_TRY(vch_look_begin(l, err));
    vch_rc rc = vch_value(l, &at, &value, NULL);
    vch_look_end(l);
    if (rc == VCH_OK) rc = vch_key_get(&key, vch_buf_slice(&value));
    if (rc == VCH_OK) rc = vch_pubkey_get(ret, key.key);
    vch_buf_free(&value);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "a party of the vault is not on the ledger: %s", vch_rc_text(rc));
}

vch_rc vch_vault_holding(vch_ledger_t *l, const vch_id_t *dataset, uint32_t extent, vch_buf_t *value,
                         vch_holding_t *ret, vch_err_t *err)
{
    vch_state_key_t key = vch_key_id_u32('w', dataset->b, extent);
    vch_buf_clear(value);
    VCH_TRY(vch_look_begin(l, err));
    vch_rc rc = vch_value(l, &key, value, NULL);
    vch_look_end(l);
    if (rc == VCH_OK) rc = vch_holding_get(ret, vch_buf_slice(value));
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "extent %u is not in the vault", extent);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "who holds extent %u can't be read: %s", extent, vch_rc_text(rc));
}

/* ---- a trustee in this process ----------------------------------------------------------- */

typedef struct {
    vch_peer_t peer;
    vch_signer_t *key;
    vch_guard_t *guard;
    vch_trustee_t *trustee;
} embedded_t;

static vch_trustee_t *inside(vch_peer_t *p) { return ((embedded_t *)(void *)p)->trustee; }

static vch_rc peer_prekey(vch_peer_t *p, vch_buf_t *ret, vch_err_t *err)
{
    return vch_trustee_prekey(inside(p), ret, err);
}

static vch_rc peer_deal(vch_peer_t *p, vch_slice_t deal, vch_buf_t *ret, vch_err_t *err)
{
    return vch_trustee_deal(inside(p), deal, ret, err);
}

static vch_rc peer_release(vch_peer_t *p, vch_slice_t request, vch_buf_t *ret_answer, vch_buf_t *ret_box,
                           vch_err_t *err)
{
    return vch_trustee_release(inside(p), request, ret_answer, ret_box, err);
}

static vch_rc peer_path(vch_peer_t *p, const vch_hash_t *extent, uint8_t set, uint32_t leaf, vch_buf_t *ret,
                        vch_err_t *err)
{
    return vch_trustee_path(inside(p), extent, set, leaf, ret, err);
}

static vch_rc peer_withdraw(vch_peer_t *p, vch_slice_t tx, vch_err_t *err)
{
    return vch_trustee_withdraw(inside(p), tx, err);
}

static vch_rc peer_sweep(vch_peer_t *p, vch_err_t *err) { return vch_trustee_sweep(inside(p), err); }

static void peer_close(vch_peer_t *p)
{
    embedded_t *e = (embedded_t *)(void *)p;
    vch_trustee_close(e->trustee);
    vch_guard_close(e->guard);
    vch_signer_free(e->key);
    vch_free(e);
}

static vch_rc peer_erase(vch_peer_t *p, vch_err_t *err) { return vch_trustee_erase(inside(p), err); }

static const vch_peer_ops_t embedded_ops = {peer_prekey,   peer_deal,  peer_release, peer_path,
                                            peer_withdraw, peer_sweep, peer_erase,   peer_close};

vch_rc vch_peer_embedded(vch_peer_t **ret, vch_ledger_t *l, const char *dir, vch_keyid_t *ret_id, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_rc rc = vch_path(path, "%s/key.pem", dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    embedded_t *e = vch_alloc(sizeof *e);
    if (!e) return no_memory(err);
    e->peer.ops = &embedded_ops;
    rc = nd_key_load(l->port, path, NULL, &e->key, err);
    if (rc == VCH_OK) rc = vch_guard_open(&e->guard, l->port, dir, err);
    if (rc == VCH_OK)
        rc = vch_trustee_open(&e->trustee, l, dir, e->key, vch_guard_seeds(e->guard), l->in->vault.fresh_ms, err);
    if (rc != VCH_OK) {
        peer_close(&e->peer);
        return rc;
    }
    *ret_id = vch_pubkey_id(vch_signer_public(e->key));
    *ret = &e->peer;
    return VCH_OK;
}

/* ---- up -------------------------------------------------------------------------------------- */

vch_rc nd_key_registered(vch_ledger_t *l, const vch_keyid_t *id, bool *ret, vch_err_t *err)
{
    vch_pubkey_t key;
    vch_rc rc = vch_vault_key(l, id, &key, NULL);
    *ret = rc == VCH_OK;
    if (rc == VCH_OK || rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    return vch_fail(err, rc, "whether a key is registered can't be read: %s", vch_rc_text(rc));
}

vch_rc nd_register_role(vch_ledger_t *l, const vch_signer_t *registrar, const char *name, const char *role,
                        const vch_pubkey_t *public, vch_err_t *err)
{
    char json[512], hex[2 * VCH_PUBKEY_MAX + 1];
    vch_receipt_t receipt;
    vch_hex(hex, public->b, public->n);
    int n = snprintf(json, sizeof json, "{\"name\":\"%s\",\"roles\":[\"%s\"],\"keys\":[\"%s\"]}", name, role, hex);
    return vch_submit_json(l, registrar, "party", json, (size_t)n, &receipt, err);
}

/* Who was away meanwhile carries out what was erased. */
static vch_rc catch_up(vch_ledger_t *l, const vch_signer_t *registrar, vch_err_t *err)
{
    vch_vault_t *v;
    if (l->in->vault.mode == VCH_VAULT_NONE) return VCH_OK;
    VCH_TRY(vch_vault_open(&v, l, err));
    v->as = registrar;
    vch_rc rc = vch_vault_erase(v, err);
    vch_vault_close(v);
    return rc;
}

/* The ledger knows a party of this name. */
static vch_rc named(vch_ledger_t *l, const char *name, bool *ret, vch_err_t *err)
{
    vch_id_t party;
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_resolve(l, 'p', name, &party, NULL);
    vch_ledger_read_end(l);
    *ret = rc == VCH_OK;
    if (rc == VCH_OK || rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    return vch_fail(err, rc, "whether there is a party %s can't be read: %s", name, vch_rc_text(rc));
}

/* A key that exists is used; a party that exists is not registered again, and
 * one whose folder is lost is not made anew under its name. */
static vch_rc put_up(vch_ledger_t *l, const vch_signer_t *registrar, const char *role, unsigned number, vch_err_t *err)
{
    char name[32], dir[VCH_PATH_MAX], path[VCH_PATH_MAX];
    vch_signer_t *key = NULL;
    bool known = false, lost = false;
    snprintf(name, sizeof name, "%s-%u", role, number);
    VCH_TRY(vch_ledger_path(l, dir, "vault/%s", name));
    VCH_TRY(vch_ledger_path(l, path, "vault/%s/key.pem", name));
    vch_rc rc = nd_key_load(l->port, path, NULL, &key, err);
    if (rc == VCH_ERR_NOT_FOUND) VCH_TRY(named(l, name, &lost, err));
    if (lost) return VCH_OK; /* `vault status` says so */
    if (rc == VCH_ERR_NOT_FOUND) VCH_TRY(vch_mkdirs(l->port, dir, err));
    if (rc == VCH_ERR_NOT_FOUND) rc = nd_key_make(l->port, path, "ed25519", NULL, &key, err);
    vch_keyid_t id = rc == VCH_OK ? vch_pubkey_id(vch_signer_public(key)) : (vch_keyid_t){{0}};
    if (rc == VCH_OK) rc = nd_key_registered(l, &id, &known, err);
    if (rc == VCH_OK && !known) rc = nd_register_role(l, registrar, name, role, vch_signer_public(key), err);
    vch_signer_free(key);
    return rc;
}

vch_rc vch_vault_up(vch_ledger_t *l, const vch_signer_t *registrar, vch_err_t *err)
{
    const vch_vault_settings_t *s = &l->in->vault;
    VCH_TRY(vch_here(l, err));
    if (vch_kt_sets((unsigned)s->trustees, (unsigned)s->threshold) == 0)
        return vch_fail(
            err, VCH_ERR_USAGE,
            "[vault] trustees = %llu, threshold = %llu: at least 2 of 3, 3 of 5, …, and 35 key trees at most",
            (unsigned long long)s->trustees, (unsigned long long)s->threshold);
    if (s->data > s->storage || (s->storage > 1 && s->data == s->storage))
        return vch_fail(err, VCH_ERR_USAGE, "[vault] data = %llu, storage = %llu: fewer nodes must do than there are",
                        (unsigned long long)s->data, (unsigned long long)s->storage);
    if (nd_vault_served(l)) return nd_served_up(l, registrar, err);
    for (unsigned i = 1; i <= s->trustees; i++) VCH_TRY(put_up(l, registrar, "trustee", i, err));
    for (unsigned i = 1; i <= s->storage; i++) VCH_TRY(put_up(l, registrar, "storage", i, err));
    return catch_up(l, registrar, err);
}

/* ---- open, close ----------------------------------------------------------------------------------- */

/* A lost or damaged folder is one party less; trouble of this process is not. */
static bool only_that_one(vch_rc rc)
{
    return rc == VCH_ERR_NOT_FOUND || rc == VCH_ERR_CORRUPT || rc == VCH_ERR_KEY || rc == VCH_ERR_FORMAT ||
           rc == VCH_ERR_VERSION || rc == VCH_ERR_READ_ONLY || rc == VCH_ERR_IO || rc == VCH_ERR_UNREACHABLE ||
           rc == VCH_ERR_UNSUPPORTED;
}

static vch_rc open_trustees(vch_vault_t *v, vch_err_t *err)
{
    for (unsigned i = 0; i < v->n; i++) {
        char dir[VCH_PATH_MAX];
        vch_err_t why = {0};
        VCH_TRY(vch_ledger_path(v->l, dir, "vault/trustee-%u", i + 1));
        vch_rc rc = vch_peer_embedded(&v->trustee[i], v->l, dir, &v->trustee_id[i], &why);
        if (rc != VCH_OK && !only_that_one(rc)) {
            if (err) *err = why;
            return rc;
        }
        if (rc != VCH_OK) snprintf(v->trustee_why[i], sizeof v->trustee_why[i], "%.100s", why.text);
    }
    return VCH_OK;
}

static vch_rc open_store(vch_vault_t *v, unsigned i, vch_err_t *err)
{
    char dir[VCH_PATH_MAX], path[VCH_PATH_MAX];
    vch_signer_t *key;
    VCH_TRY(vch_ledger_path(v->l, dir, "vault/storage-%u/shards", i + 1));
    VCH_TRY(vch_ledger_path(v->l, path, "vault/storage-%u/key.pem", i + 1));
    VCH_TRY(nd_key_load(v->l->port, path, NULL, &key, err));
    v->storage_id[i] = vch_pubkey_id(vch_signer_public(key));
    vch_signer_free(key);
    return vch_backend_dir(&v->storage[i], v->l->port, dir, err);
}

static vch_rc open_storage(vch_vault_t *v, vch_err_t *err)
{
    for (unsigned i = 0; i < v->nodes; i++) {
        vch_err_t why = {0};
        vch_rc rc = open_store(v, i, &why);
        if (rc != VCH_OK && !only_that_one(rc)) {
            if (err) *err = why;
            return rc;
        }
        if (rc != VCH_OK) snprintf(v->storage_why[i], sizeof v->storage_why[i], "%.100s", why.text);
    }
    return VCH_OK;
}

bool nd_has_vault(const vch_ledger_t *l)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    return l->in->vault.mode != VCH_VAULT_NONE && vch_ledger_path(l, path, "vault") == VCH_OK &&
           l->port->disk->stat(l->port, path, &st) == VCH_OK;
}

static vch_rc has_vault(vch_ledger_t *l, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    if (l->remote) return rm_vault(l, err);
    VCH_TRY(vch_ledger_path(l, path, "vault"));
    vch_rc rc = l->port->disk->stat(l->port, path, &st);
    if (rc == VCH_OK && l->in->vault.mode != VCH_VAULT_NONE) return VCH_OK;
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "looking for %s: %s", path, vch_rc_text(rc));
    vch_fail(err, VCH_ERR_NOT_FOUND, "this ledger has no vault");
    return vch_hint(err, VCH_ERR_NOT_FOUND, "make one: vouch vault up");
}

static vch_rc open_now(vch_vault_t **ret, vch_ledger_t *l, vch_err_t *err)
{
    vch_vault_t *v = vch_alloc(sizeof *v);
    if (!v) return no_memory(err);
    const vch_vault_settings_t *s = &l->in->vault;
    v->l = l;
    v->n = (uint8_t)s->trustees;
    v->t = (uint8_t)s->threshold;
    v->nodes = (uint8_t)s->storage;
    v->k = (uint8_t)s->data;
    vch_rc rc = nd_vault_served(l) ? nd_served_open(v, err) : open_trustees(v, err);
    if (rc == VCH_OK && !nd_vault_served(l)) rc = open_storage(v, err);
    if (rc == VCH_OK)
        *ret = v;
    else
        vch_vault_close(v);
    return rc;
}

/* Another process has the trustees for as long as it fetches or puts in. */
vch_rc vch_vault_open(vch_vault_t **ret, vch_ledger_t *l, vch_err_t *err)
{
    VCH_TRY(has_vault(l, err));
    uint64_t began = l->port->clock->boot_ms(l->port);
    for (;;) {
        vch_rc rc = open_now(ret, l, err);
        if (rc != VCH_ERR_LOCKED || l->port->clock->boot_ms(l->port) - began >= l->lock_wait_ms) return rc;
        l->port->clock->sleep_ms(l->port, LOOK_AGAIN_MS);
    }
}

void vch_vault_close(vch_vault_t *v)
{
    if (!v) return;
    for (unsigned i = 0; i < VCH_KT_SETS_MAX; i++)
        if (v->trustee[i]) v->trustee[i]->ops->close(v->trustee[i]);
    for (unsigned i = 0; i < VCH_STORAGE_MAX; i++) vch_backend_close(v->storage[i]);
    vch_file_close(v->l->port, v->lock);
    vch_free(v);
}

/* ---- how it stands --------------------------------------------------------------------------------- */

static vch_rc put_members(vch_buf_t *b, const char *role, unsigned n, const char (*why)[120])
{
    for (unsigned i = 0; i < n; i++) {
        VCH_TRY(vch_buf_printf(b, "%s{\"name\":\"%s-%u\",\"here\":%s", i ? "," : "", role, i + 1,
                               why[i][0] ? "false" : "true"));
        if (why[i][0]) {
            VCH_TRY(vch_buf_printf(b, ",\"why\":"));
            VCH_TRY(vch_json_put_string(b, vch_str(why[i])));
        }
        VCH_TRY(vch_buf_u8(b, '}'));
    }
    return VCH_OK;
}

static vch_rc put_status(vch_buf_t *b, const vch_vault_t *v)
{
    bool served = nd_vault_served(v->l);
    VCH_TRY(vch_buf_printf(b, "{\"mode\":\"%s\",\"trustees\":[", served ? "served" : "embedded"));
    VCH_TRY(put_members(b, "trustee", v->n, v->trustee_why));
    VCH_TRY(vch_buf_printf(b, "],\"threshold\":%u,\"storage\":[", v->t));
    VCH_TRY(put_members(b, "storage", v->nodes, v->storage_why));
    return vch_buf_printf(b, "],\"data\":%u,\"trust\":\"%s\"}", v->k,
                          served ? "as many domains as different people run these servers"
                                 : "one domain: all parties of this vault run in this process");
}

vch_rc vch_vault_status(vch_ledger_t *l, vch_text_t *ret_json, vch_err_t *err)
{
    vch_vault_t *v = NULL;
    vch_buf_t b;
    VCH_TRY(vch_vault_open(&v, l, err));
    vch_buf_init(&b, 1u << 16);
    vch_rc rc = put_status(&b, v);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &b);
    vch_buf_free(&b);
    vch_vault_close(v);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the vault's state can't be told: %s", vch_rc_text(rc));
}

/* ---- what a cut-off ingest left ------------------------------------------------------------------------ */

typedef struct {
    vch_vault_t *v;
    vch_hash_t *extent;
    size_t n, cap;
} lost_t;

static vch_rc find_lost(void *ctx, const char *name)
{
    lost_t *lost = ctx;
    vch_hash_t id;
    vch_id_t dataset;
    uint32_t number;
    if (strlen(name) != 70 || strcmp(name + 64, ".shard") != 0 || !vch_unhex(id.b, 32, name, 64)) return VCH_OK;
    vch_rc rc = vch_state_extent(lost->v->l->state, &id, &dataset, &number, NULL);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    if (lost->n == lost->cap) {
        size_t cap = lost->cap ? 2 * lost->cap : 16;
        vch_hash_t *more = vch_resize(lost->extent, cap * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        lost->extent = more;
        lost->cap = cap;
    }
    lost->extent[lost->n++] = id;
    return VCH_OK;
}

static vch_rc sweep_storage(vch_vault_t *v, vch_err_t *err)
{
    lost_t lost = {.v = v};
    VCH_TRY(vch_ledger_read_begin(v->l, err));
    vch_rc rc = VCH_OK;
    for (unsigned i = 0; rc == VCH_OK && i < v->nodes; i++)
        if (v->storage[i]) rc = v->storage[i]->ops->list(v->storage[i], find_lost, &lost, err);
    vch_ledger_read_end(v->l);
    for (size_t i = 0; rc == VCH_OK && i < lost.n; i++) vch_shards_remove(v->storage, v->nodes, &lost.extent[i]);
    vch_free(lost.extent);
    return rc;
}

vch_rc vch_vault_lock(vch_vault_t *v, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_ledger_path(v->l, path, "vault/lock"));
    VCH_TRY(vch_file_open(v->l->port, &v->lock, path, VCH_OPEN_CREATE, err));
    vch_rc rc = v->l->port->disk->lock(v->l->port, v->lock, VCH_LOCK_EXCLUSIVE, v->l->lock_wait_ms);
    if (rc != VCH_OK) return vch_fail(err, rc, "another process is putting rows into the vault");
    return vch_vault_sweep(v, err);
}

vch_rc vch_vault_sweep(vch_vault_t *v, vch_err_t *err)
{
    for (unsigned i = 0; i < v->n; i++)
        if (v->trustee[i]) VCH_TRY(v->trustee[i]->ops->sweep(v->trustee[i], err));
    return sweep_storage(v, err);
}

vch_rc vch_vault_erase(vch_vault_t *v, vch_err_t *err)
{
    /* Others see what a checkpoint covers. */
    if (nd_vault_served(v->l)) VCH_TRY(vch_ledger_checkpoint(v->l, NULL, err));
    for (unsigned i = 0; i < v->n; i++)
        if (v->trustee[i]) VCH_TRY(v->trustee[i]->ops->erase(v->trustee[i], err));
    return VCH_OK;
}

vch_rc vch_vault_withdraw(vch_vault_t *v, vch_slice_t tx, unsigned *ret_told, vch_err_t *err)
{
    vch_rc first = VCH_ERR_UNREACHABLE;
    vch_err_t why = {0};
    *ret_told = 0;
    vch_fail(&why, first, "no trustee answers");
    for (unsigned i = 0; i < v->n; i++) {
        vch_err_t said = {0};
        if (!v->trustee[i]) continue;
        vch_rc rc = v->trustee[i]->ops->withdraw(v->trustee[i], tx, &said);
        if (rc == VCH_OK) ++*ret_told;
        if (rc != VCH_OK && first == VCH_ERR_UNREACHABLE) {
            first = rc;
            why = said;
        }
    }
    if (*ret_told) return VCH_OK;
    if (err) *err = why;
    return first;
}

vch_rc vch_withdraw_now(vch_ledger_t *l, const uint8_t *tx, size_t n, unsigned *ret_told, unsigned *ret_trustees,
                        vch_err_t *err)
{
    vch_vault_t *v;
    VCH_TRY(vch_vault_open(&v, l, err));
    *ret_trustees = v->n;
    vch_rc rc = vch_vault_withdraw(v, vch_slice(tx, n), ret_told, err);
    vch_vault_close(v);
    return nd_told(rc, err);
}
