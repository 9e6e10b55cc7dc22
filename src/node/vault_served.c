/* SPDX-License-Identifier: Apache-2.0 */
/* A vault whose roles are processes of their own, named by [vault] trustee.N and
 * storage.N: who serves under which key, and that the ledger knows them. */
#include <stdio.h>

#include "node/node_int.h"
#include "node/served.h"
#include "node/vault_int.h"

/* ---- settings ----------------------------------------------------------------------------- */

bool nd_vault_served(const vch_ledger_t *l) { return l->in->vault.mode == VCH_VAULT_SERVED; }

static vch_rc address(const vch_ledger_t *l, const char *role, unsigned i, char ret_url[256], vch_keyid_t *ret_id,
                      vch_err_t *err)
{
    const vch_vault_settings_t *s = &l->in->vault;
    const char *text = role[0] == 't' ? s->trustee[i] : s->server[i];
    if (!text[0])
        return vch_hint(err, vch_fail(err, VCH_ERR_USAGE, "vouch.conf: [vault] %s.%u is missing", role, i + 1),
                        "it is URL#KEYID, as vouch %s status prints it", role);
    return vch_served_url(ret_url, ret_id, text, err);
}

/* ---- open ---------------------------------------------------------------------------------------- */

static void gone(char why[120], const vch_err_t *err) { (void)snprintf(why, 120, "%.100s", err->text); }

static bool answers(vch_vault_t *v, const char *url, const vch_keyid_t *id, char why[120])
{
    vch_pubkey_t key;
    vch_err_t err = {0};
    if (vch_served_key(v->l->port, url, id, &key, &err) == VCH_OK) return true;
    gone(why, &err);
    return false;
}

static vch_rc open_trustee(vch_vault_t *v, unsigned i, vch_err_t *err)
{
    char url[256];
    VCH_TRY(address(v->l, "trustee", i, url, &v->trustee_id[i], err));
    if (!answers(v, url, &v->trustee_id[i], v->trustee_why[i])) return VCH_OK;
    return vch_peer_served(&v->trustee[i], v->l->port, url, &v->trustee_id[i], &v->as, err);
}

static vch_rc open_storage(vch_vault_t *v, unsigned i, vch_err_t *err)
{
    char url[256];
    VCH_TRY(address(v->l, "storage", i, url, &v->storage_id[i], err));
    if (!answers(v, url, &v->storage_id[i], v->storage_why[i])) return VCH_OK;
    return vch_backend_served(&v->storage[i], v->l->port, url, &v->storage_id[i], &v->as, err);
}

vch_rc nd_served_open(vch_vault_t *v, vch_err_t *err)
{
    for (unsigned i = 0; i < v->n; i++) VCH_TRY(open_trustee(v, i, err));
    for (unsigned i = 0; i < v->nodes; i++) VCH_TRY(open_storage(v, i, err));
    return VCH_OK;
}

/* ---- up -------------------------------------------------------------------------------------------- */

static vch_rc register_one(vch_ledger_t *l, const vch_signer_t *registrar, const char *role, unsigned i, vch_err_t *err)
{
    char url[256], name[32];
    vch_keyid_t id;
    vch_pubkey_t key;
    bool known;
    VCH_TRY(address(l, role, i, url, &id, err));
    VCH_TRY(nd_key_registered(l, &id, &known, err));
    if (known) return VCH_OK;
    VCH_TRY(vch_served_key(l->port, url, &id, &key, err));
    (void)snprintf(name, sizeof name, "%s-%u", role, i + 1);
    return nd_register_role(l, registrar, name, role, &key, err);
}

vch_rc nd_served_up(vch_ledger_t *l, const vch_signer_t *registrar, vch_err_t *err)
{
    const vch_vault_settings_t *s = &l->in->vault;
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_ledger_path(l, path, "vault"));
    VCH_TRY(vch_mkdirs(l->port, path, err)); /* for the lock of whoever puts in */
    for (unsigned i = 0; i < s->trustees; i++) VCH_TRY(register_one(l, registrar, "trustee", i, err));
    for (unsigned i = 0; i < s->storage; i++) VCH_TRY(register_one(l, registrar, "storage", i, err));
    return VCH_OK;
}
