/* SPDX-License-Identifier: Apache-2.0 */
/* A subject reads its own rows: its key says so on the ledger, naming a one-time
 * key, and the rows come out sealed to that one.  The pair lives as long as this
 * call; whoever was cut off says it again, for it is free. */
#include "node/node_int.h"
#include "node/use.h"
#include "node/vault.h"
#include "node/wallet_int.h"

typedef struct {
    vch_ledger_t *l;
    const vch_signer_t *carrier;
    const vch_wallet_t *wallet;
    uint32_t subject, owner;
    nd_own_ask_t ask;
    vch_once_t once;
    vch_err_t *err;
} own_t;

/* ---- what is asked for --------------------------------------------------------- */

static vch_rc read_groups(own_t *o, const char *const *groups, size_t n)
{
    vch_arena_t arena;
    vch_slice_t fields;
    vch_arena_init(&arena, 4u << 20);
    vch_rc rc = vch_dataset_fields(o->l, &o->ask.dataset, &arena, &fields, o->err);
    if (rc == VCH_OK) rc = vch_use_groups(fields, groups, n, &o->ask.groups, o->err);
    vch_arena_free(&arena);
    return rc;
}

static vch_rc read_version(own_t *o, const char *version, const char *const *groups, size_t n)
{
    vch_version_value_t v;
    VCH_TRY(vch_look_begin(o->l, o->err));
    vch_rc rc = vch_resolve(o->l, 'v', version, &o->ask.version, o->err);
    if (rc == VCH_OK) rc = vch_use_version(o->l, &o->ask.version, &v, o->err);
    if (rc == VCH_OK) {
        o->ask.dataset = v.dataset;
        rc = read_groups(o, groups, n);
    }
    vch_look_end(o->l);
    return rc;
}

/* Seen before anything is said: what is on the ledger stays there. */
static vch_rc is_free(own_t *o, const char *path)
{
    vch_stat_t st;
    vch_rc rc = o->l->port->disk->stat(o->l->port, path, &st);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    if (rc == VCH_OK) return vch_fail(o->err, VCH_ERR_CONFLICT, "%s exists already", path);
    return vch_fail(o->err, rc, "cannot look at %s: %s", path, vch_rc_text(rc));
}

/* ---- the rows --------------------------------------------------------------------- */

static vch_rc fetch_as(own_t *o, const vch_signer_t *key, const vch_id_t *grant, const char *path, uint64_t *ret_rows)
{
    vch_use_t u;
    VCH_TRY(vch_ledger_read_begin(o->l, o->err));
    vch_rc rc = vch_use_of_subject(&u, o->l, grant, o->err);
    vch_ledger_read_end(o->l);
    VCH_TRY(rc);
    u.once = &o->once;
    rc = vch_use_write_csv(&u, o->l, key, path, o->err);
    if (rc == VCH_OK) *ret_rows = u.count;
    vch_use_close(&u);
    return rc;
}

static vch_rc fetch(own_t *o, const vch_id_t *grant, const char *path, uint64_t *ret_rows)
{
    vch_signer_t *key;
    VCH_TRY(vch__wallet_signer(o->wallet, o->owner, &o->l->network, &o->ask.dataset, &key, o->err));
    vch_rc rc = fetch_as(o, key, grant, path, ret_rows);
    vch_signer_free(key);
    return rc == VCH_OK ? rc : vch_context(o->err, rc, "the own access is on the ledger; fetching its rows");
}

/* ---- both ----------------------------------------------------------------------------- */

static vch_rc ask_and_fetch(own_t *o, uint8_t *pair, const char *path, uint64_t *ret_rows, vch_receipt_t *ret)
{
    VCH_TRY(vch_random(o->l->port, pair + VCH_SEAL_KEY, 32, o->err));
    vch_rc rc = vch_seal_pair(o->once.key, pair, pair + VCH_SEAL_KEY);
    if (rc != VCH_OK) return vch_fail(o->err, rc, "a one-time key can't be made: %s", vch_rc_text(rc));
    o->once.secret = pair;
    memcpy(o->ask.once, o->once.key, sizeof o->ask.once);
    VCH_TRY(nd_say_own_access(o->l, o->carrier, o->wallet, o->subject, o->owner, &o->ask, ret, o->err));
    return ret->permit ? fetch(o, &ret->object, path, ret_rows) : VCH_OK;
}

static vch_rc own_access(own_t *o, const char *version, const char *const *groups, size_t n, const char *path,
                         uint64_t *ret_rows, vch_receipt_t *ret)
{
    VCH_TRY(vch_here(o->l, o->err));
    if (!o->wallet) return vch_fail(o->err, VCH_ERR_USAGE, "own access needs the owner's wallet");
    VCH_TRY(is_free(o, path));
    VCH_TRY(read_version(o, version, groups, n));
    uint8_t *pair = vch_secret_alloc(2 * VCH_SEAL_KEY); /* the secret, and the seed that it is made of */
    if (!pair) return vch_fail(o->err, VCH_ERR_MEMORY, "no secret memory");
    uint64_t rows = 0;
    vch_receipt_t receipt;
    vch_rc rc = ask_and_fetch(o, pair, path, &rows, &receipt);
    vch_secret_free(pair);
    VCH_TRY(rc);
    *ret_rows = rows;
    *ret = receipt;
    return VCH_OK;
}

VCH_API vch_rc vch_access_own(vch_ledger_t *l, const vch_signer_t *carrier, const vch_wallet_t *wallet,
                              const char *version, uint32_t subject, uint32_t owner, const char *const *groups,
                              size_t groups_n, const char *csv_path, uint64_t *ret_rows, vch_receipt_t *ret,
                              vch_err_t *err)
{
    own_t o = {.l = l, .carrier = carrier, .wallet = wallet, .subject = subject, .owner = owner, .err = err};
    return nd_told(own_access(&o, version, groups, groups_n, csv_path, ret_rows, ret), err);
}
