/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors with the real transport. */
#include "api/http.h"
#include "node/mirror.h"

#define WITNESS_MS 5000u

static vch_rc release(const char *dir, const char *origin, int complete, vch_mirror_t *ret, vch_err_t *err)
{
    vch_transport_t *transport;
    const http_client_options_t options = {.max_answer = 1u << 20};
    VCH_TRY(http_client_new(&transport, &options, err));
    vch_rc rc = vch_mirror_release(vch_port_real(), dir, origin, transport, WITNESS_MS, complete != 0, ret, err);
    transport->free(transport);
    return rc;
}

vch_rc vch_mirror(vch_ledger_t *node, const char *dir, const char *trust_path, int complete, vch_progress_fn progress,
                  void *ctx, vch_mirror_t *ret, vch_err_t *err)
{
    vch_ledger_info_t info;
    vch_mirror_t done;
    VCH_TRY(vch_mirror_on(vch_port_real(), node, dir, trust_path, progress, ctx, &done, err));
    VCH_TRY(vch_ledger_info(node, &info, err));
    VCH_TRY(release(dir, info.origin, complete, &done, err));
    *ret = done;
    return VCH_OK;
}
