/* SPDX-License-Identifier: Apache-2.0 */
/* "This request was decided so": the request, and its outcome in the next leaf. */
#include "verify/verify_impl.h"

static vch_rc find_outcome(verify_t *v, const vch_id_t *request, vfy_access_t *a)
{
    const vfy_leaf_t *after = vfy_find_leaf(v, a->leaf->index + 1);
    if (!after) return vfy_stop(v, VCH_V_I_MISSING, "the outcome of request %s", SHORT(request));
    if (!after->known || after->kind != VCH_KIND_OUTCOME || !vch_id_eq(&after->outcome.request, request))
        return vfy_stop(v, VCH_V_F_REFERENCE, "the leaf behind request %s is not its outcome", SHORT(request));
    if (after->outcome.expires.ms <= a->time_ms)
        return vfy_stop(v, VCH_V_F_TIME, "the grant of request %s expired before it began", SHORT(request));
    if (!after->outcome.permit && after->outcome.count > 0)
        return vfy_stop(v, VCH_V_F_DECISION, "request %s was denied, yet rows are permitted", SHORT(request));
    a->after = after;
    return VCH_OK;
}

vch_rc vfy_access(verify_t *v, const vch_id_t *request, const vfy_leaf_t *before, vfy_access_t *ret)
{
    vfy_access_t a = {0};
    VCH_TRY(vfy_find_object(v, request, VCH_KIND_ACCESS, before, &a.st));
    a.leaf = a.st->leaf;
    VCH_TRY(vch_field_fixed(a.st->st.fields, VCH_F_ACCESS_VERSION, a.version.b, 32));
    VCH_TRY(vch_field_bytes(a.st->st.fields, VCH_F_ACCESS_PURPOSE, &a.purpose));
    VCH_TRY(vch_field_bytes(a.st->st.fields, VCH_F_ACCESS_PROCESSING, &a.processing));
    VCH_TRY(vfy_time(v, a.leaf, &a.time_ms));
    VCH_TRY(find_outcome(v, request, &a));
    vfy_link(v, "request %s at %llu -> outcome at %llu: %s, %llu rows of version %s", SHORT(request), AT(a.leaf->index),
             AT(a.after->index), a.after->outcome.permit ? "permitted" : "denied", AT(a.after->outcome.count),
             SHORT(&a.version));
    VCH_TRY(vfy_recompute(v, &a));
    *ret = a;
    return VCH_OK;
}

vch_rc vfy_claim_access(verify_t *v)
{
    vfy_access_t a;
    VCH_TRY(vfy_access(v, &v->claim.id, NULL, &a));
    const vch_outcome_t *o = &a.after->outcome;
    v->report->time_ms = a.time_ms;
    v->report->recomputed = a.recomputed;
    vfy_claim(v, "request %s was %s (%s): %llu rows of version %s, for %s by %s", SHORT(&v->claim.id),
              o->permit ? "permitted" : "denied", vfy_name(vch_str(o->rule)).s, AT(o->count), SHORT(&a.version),
              vfy_name(a.purpose).s, vfy_name(a.processing).s);
    return VCH_OK;
}
