/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching rows through a node: it says where the vault's servers are and which
 * rows there are to ask for.  Neither has to be believed: the keys of those who
 * hold an extent are on the ledger, trustees decide which rows are permitted, and
 * what comes out must match the ledger's commitments. */
#include <stdio.h>

#include "codec/json.h"
#include "entry/holding.h"
#include "node/node_int.h"
#include "node/remote_int.h"

static vch_rc strange(vch_err_t *err)
{
    return vch_fail(err, VCH_ERR_FORMAT, "the node's answer about its vault is not well-formed");
}

static bool take_addresses(const vch_json_t *list, char (*to)[VCH_ROLE_URL_MAX], size_t max, uint64_t *ret_n)
{
    *ret_n = 0;
    if (!list || list->type != VCH_JSON_ARRAY || list->count == 0 || list->count > max) return false;
    for (const vch_json_t *one = list->first; one; one = one->next) {
        if (one->type != VCH_JSON_STRING || one->text.n >= VCH_ROLE_URL_MAX || memchr(one->text.p, 0, one->text.n))
            return false;
        memcpy(to[*ret_n], one->text.p, one->text.n);
        to[(*ret_n)++][one->text.n] = 0;
    }
    return true;
}

vch_rc rm_vault_get(vch_vault_settings_t *ret, vch_slice_t body, vch_err_t *err)
{
    const vch_json_t *v;
    vch_arena_t arena;
    vch_arena_init(&arena, 1u << 20);
    vch_rc rc = vch_json_parse(&arena, &v, body, err);
    if (rc == VCH_OK) {
        bool good = v->type == VCH_JSON_OBJECT &&
                    take_addresses(vch_json_get(v, "trustees"), ret->trustee, VCH_KT_SETS_MAX, &ret->trustees) &&
                    take_addresses(vch_json_get(v, "storage"), ret->server, VCH_STORAGE_MAX, &ret->storage);
        if (!good) rc = strange(err);
    }
    vch_arena_free(&arena);
    return rc;
}

vch_rc rm_vault(vch_ledger_t *l, vch_err_t *err)
{
    rm_ask_t a = {0};
    vch_vault_settings_t *s = &l->in->vault;
    vch_rc rc = rm_get(l, &a, "/v1/vault", RM_SMALL_MAX, err);
    if (rc == VCH_OK) rc = rm_vault_get(s, vch_buf_slice(&a.answer), err);
    rm_free(&a, 1);
    s->mode = rc == VCH_OK ? VCH_VAULT_SERVED : VCH_VAULT_NONE;
    return rc;
}

vch_rc rm_grant_rows(vch_ledger_t *l, const vch_id_t *grant, vch_buf_t *ret, vch_err_t *err)
{
    rm_ask_t a = {0};
    rm_path_t path = rm_path("/v1/grant/rows?grant=");
    rm_path_hex(&path, grant->b, 32);
    VCH_TRY(rm_path_check(&path, err));
    vch_rc rc = rm_get(l, &a, path.text, RM_ANSWER_MAX, err);
    if (rc == VCH_OK && vch_buf_put(ret, a.answer.p, a.answer.n) != VCH_OK)
        rc = vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    rm_free(&a, 1);
    return rc;
}
