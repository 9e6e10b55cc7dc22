/* SPDX-License-Identifier: Apache-2.0 */
/* What a user on another machine needs to fetch rows: who serves the vault, and
 * which rows of a grant there are to ask for. */
#include "node/node_int.h"
#include "node/service.h"
#include "node/use.h"
#include "node/vault_int.h"

static vch_rc put_addresses(vch_buf_t *b, const char *what, const char (*at)[VCH_ROLE_URL_MAX], uint64_t n)
{
    VCH_TRY(vch_buf_printf(b, "\"%s\":[", what));
    for (uint64_t i = 0; i < n; i++) {
        if (i) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(vch_json_put_string(b, vch_str(at[i])));
    }
    return vch_buf_printf(b, "]");
}

static vch_rc put_vault(vch_buf_t *b, const vch_vault_settings_t *s)
{
    VCH_TRY(vch_buf_u8(b, '{'));
    VCH_TRY(put_addresses(b, "trustees", s->trustee, s->trustees));
    VCH_TRY(vch_buf_printf(b, ",\"threshold\":%llu,", (unsigned long long)s->threshold));
    VCH_TRY(put_addresses(b, "storage", s->server, s->storage));
    return vch_buf_printf(b, ",\"data\":%llu}", (unsigned long long)s->data);
}

vch_rc vch_vault_into(vch_ledger_t *l, vch_buf_t *ret, vch_err_t *err)
{
    vch_vault_settings_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    pthread_mutex_lock(&l->mutex);
    *s = l->in->vault; /* they may be read again meanwhile */
    pthread_mutex_unlock(&l->mutex);
    vch_rc rc = s->mode == VCH_VAULT_SERVED ? put_vault(ret, s) : VCH_ERR_NOT_FOUND;
    vch_free(s);
    if (rc == VCH_ERR_NOT_FOUND)
        return vch_hint(err, vch_fail(err, VCH_ERR_NOT_FOUND, "this node's ledger has no vault that others can reach"),
                        "the custodian sets [vault] mode = served");
    return rc == VCH_OK ? rc : vch_fail(err, rc, "out of memory");
}

vch_rc vch_grant_rows_into(vch_ledger_t *l, const vch_id_t *party, const vch_id_t *grant, vch_buf_t *ret,
                           vch_err_t *err)
{
    vch_use_t u;
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_use_of_party(&u, l, party, grant, 1, err);
    vch_ledger_read_end(l);
    if (rc != VCH_OK) return nd_told(rc, err);
    rc = vch_buf_put(ret, u.bits.p, u.bits.n);
    vch_use_close(&u);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the rows are too many for one answer");
}
