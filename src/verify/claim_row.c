/* SPDX-License-Identifier: Apache-2.0 */
/* "This row was, or was not, in what the run trained on", and what it held. */
#include "verify/verify_impl.h"

/* The run's version: as its state value says, or by its first grant. */
static vch_rc find_version(verify_t *v, const vfy_statement_t *run, vch_id_t *ret)
{
    vch_state_key_t key = vch_key_id('r', v->claim.id.b);
    const vfy_item_t *it = vfy_find_item(v, VFY_ANY, &key);
    vch_run_value_t value;
    vch_list_t grants;
    vch_id_t grant;
    const vfy_statement_t *request;
    if (it && vch_run_get(&value, it->value) == VCH_OK) {
        *ret = value.version;
        return VCH_OK;
    }
    VCH_TRY(vch_field_list(run->st.fields, VCH_F_RUN_GRANTS, &grants));
    VCH_TRY(vfy_next_id(&grants, &grant));
    VCH_TRY(vfy_find_object(v, &grant, VCH_KIND_ACCESS, run->leaf, &request));
    return vch_field_fixed(request->st.fields, VCH_F_ACCESS_VERSION, ret->b, 32);
}

static vch_rc check_bit(verify_t *v, const vfy_statement_t *run, const vch_version_value_t *version,
                        const vch_extent_value_t *extent)
{
    const vfy_claim_t *k = &v->claim;
    uint64_t before = 0, total = 0;
    vch_hash_t leaf, root;
    for (uint32_t i = 0; i < version->extents; i++) {
        total += vch_set_bytes(extent[i].count) / VCH_BITMAP_LEAF;
        if (i < k->number) before = total;
    }
    VCH_TRY(vch_field_fixed(run->st.fields, VCH_F_RUN_SET_ROOT, root.b, 32));
    vch_tree_leaf(&leaf, k->bits);
    if (!vch_inclusion_verify(before + k->state / 2048, total, &leaf, vfy_path(k->path), vfy_path_n(k->path), &root))
        return vfy_stop(v, VCH_V_F_COMMITMENT, "the piece of the training set with the row");
    vfy_link(v, "row %llu of extent %llu: its bit is in the training set %s", AT(k->state), AT(k->number),
             SHORT(&root));
    if (vch_bit(k->bits.p, k->state % 2048) == k->in_set) return VCH_OK;
    return vfy_stop(v, VCH_V_F_CLAIM, "the row was %s the training set", k->in_set ? "not in" : "in");
}

/* The row's commitments lie under the extent's root; each disclosed group
 * matches its own. */
static vch_rc check_row(verify_t *v, const vch_extent_value_t *e)
{
    const vfy_claim_t *k = &v->claim;
    vch_hash_t leaf;
    vch_tree_leaf(&leaf, k->commitments);
    if (!vch_inclusion_verify(k->state, e->count, &leaf, vfy_path(k->row_path), vfy_path_n(k->row_path), &e->rows_root))
        return vfy_stop(v, VCH_V_F_COMMITMENT, "the commitments of row %llu", AT(k->state));
    for (size_t i = 0; i < k->groups; i++) {
        const vfy_group_t *g = &k->group[i];
        vch_row_commitment(&leaf, g->salt, g->bytes);
        if (g->number >= vfy_path_n(k->commitments) || !vch_hash_eq(&leaf, &vfy_path(k->commitments)[g->number]))
            return vfy_stop(v, VCH_V_F_COMMITMENT, "what is disclosed of group %llu", AT(g->number));
        vfy_link(v, "row %llu: what is disclosed of group %llu matches its commitment", AT(k->state), AT(g->number));
    }
    return VCH_OK;
}

vch_rc vfy_claim_row(verify_t *v)
{
    const vfy_claim_t *k = &v->claim;
    const vfy_statement_t *run;
    vch_id_t id;
    vch_version_value_t version;
    vch_extent_value_t *extent;
    VCH_TRY(vfy_find_object(v, &k->id, VCH_KIND_RUN, NULL, &run));
    VCH_TRY(vfy_time(v, run->leaf, &v->report->time_ms));
    VCH_TRY(find_version(v, run, &id));
    vch_rc rc = vfy_find_extents(v, VFY_ANY, &id, &version, &extent);
    if (rc == VCH_ERR_NOT_FOUND) return vfy_stop(v, VCH_V_I_MISSING, "version %s and its extents", SHORT(&id));
    VCH_TRY(rc);
    if (k->number >= version.extents || k->state >= extent[k->number].count)
        return vfy_stop(v, VCH_V_F_REFERENCE, "version %s has no such row", SHORT(&id));
    vfy_claim(v, "row %llu of extent %llu (%s) was %s the training set of run %s%s", AT(k->state), AT(k->number),
              SHORT(&extent[k->number].id), k->in_set ? "in" : "not in", SHORT(&k->id),
              k->has_row ? "; its content is disclosed" : "");
    VCH_TRY(check_bit(v, run, &version, extent));
    return k->has_row ? check_row(v, &extent[k->number]) : VCH_OK;
}
