/* SPDX-License-Identifier: Apache-2.0 */
/* "Of this subject, this was in force when that block closed", and the last statement about it. */
#include "verify/verify_impl.h"

enum { NEVER = 0, IN_FORCE = 1, WITHDRAWN = 2 };

typedef struct {
    verify_t *v;
    const vfy_claim_t *k;
    const vfy_leaf_t *commit;
    vch_cell_t cell;
    vch_palette_value_t set; /* of the cell's index; empty for 0 */
    bool by_owner, has_last;
} consent_t;

/* The cell of the subject, by proof; all zeros where the chunk is absent. */
static vch_rc find_cell(consent_t *c)
{
    verify_t *v = c->v;
    vch_state_key_t key = vch_key_id_u32('C', c->k->id.b, (uint32_t)(c->k->number / VCH_CHUNK));
    const vfy_item_t *it = vfy_find_item(v, c->k->commit, &key);
    if (!it) return vfy_stop(v, VCH_V_I_MISSING, "the chunk of consents with subject %llu", AT(c->k->number));
    if (!it->present && c->k->has_cell) return vfy_stop(v, VCH_V_F_COMMITMENT, "a cell of an absent chunk");
    if (!it->present) return VCH_OK;
    if (!c->k->has_cell) return vfy_stop(v, VCH_V_I_MISSING, "the subject's cell");
    vch_hash_t leaf, root;
    vch_cell_get(&c->cell, c->k->cell.p);
    vch_cell_leaf(&leaf, &c->cell);
    if (it->value.n != 64) return vfy_stop(v, VCH_V_F_STATE, "the chunk of consents is malformed");
    memcpy(root.b, it->value.p + 32, 32);
    if (!vch_inclusion_verify(c->k->number % VCH_CHUNK, VCH_CHUNK, &leaf, vfy_path(c->k->path), vfy_path_n(c->k->path),
                              &root))
        return vfy_stop(v, VCH_V_F_COMMITMENT, "the cell of subject %llu", AT(c->k->number));
    vfy_link(v, "cell of subject %llu: in the consents of dataset %s", AT(c->k->number), SHORT(&c->k->id));
    return VCH_OK;
}

static vch_rc find_set(consent_t *c)
{
    if (c->cell.index == 0) return VCH_OK;
    vch_state_key_t key = vch_key_id_u16('c', c->k->id.b, c->cell.index);
    const vfy_item_t *it = vfy_find_item(c->v, c->k->commit, &key);
    if (!it) return vfy_stop(c->v, VCH_V_I_MISSING, "palette entry %u", c->cell.index);
    if (!it->present || vch_palette_get(&c->set, it->value) != VCH_OK)
        return vfy_stop(c->v, VCH_V_F_STATE, "palette entry %u is not one", c->cell.index);
    return VCH_OK;
}

static const vfy_statement_t *find_last(const consent_t *c)
{
    const vfy_statement_t *s;
    vfy_cursor_t at = {0, 0};
    while ((s = vfy_each(c->v, &at)) && !vch_hash_eq(&s->hash, &c->cell.last)) continue;
    return s;
}

/* An own access names a version: of which dataset, the state must say. */
static vch_verify_code_t speaks_of(const consent_t *c, const vfy_statement_t *s)
{
    vch_id_t of;
    vch_version_value_t version;
    uint64_t subject, serial;
    if (!s->known || !vch_schema(s->st.kind)->owner_signed || s->leaf->index >= c->k->commit ||
        vch_field_fixed(s->st.fields, VCH_F_CONSENT_DATASET, of.b, 32) != VCH_OK ||
        vch_field_uint(s->st.fields, VCH_F_CONSENT_SUBJECT, &subject) != VCH_OK || subject != c->k->number ||
        vch_field_uint(s->st.fields, VCH_F_CONSENT_SERIAL, &serial) != VCH_OK || serial != c->cell.serial)
        return VCH_V_F_REFERENCE;
    vch_state_key_t key = vch_key_id('v', of.b);
    const vfy_item_t *it = vfy_find_item(c->v, c->k->commit, &key);
    if (s->st.kind == VCH_KIND_OWN_ACCESS && !it) return VCH_V_I_MISSING;
    if (it && vch_version_get(&version, it->value) == VCH_OK) of = version.dataset;
    return vch_id_eq(&of, &c->k->id) ? VCH_V_OK : VCH_V_F_REFERENCE;
}

/* A consent just given must be in the set with what it says. */
static bool is_in_set(const consent_t *c, const vfy_statement_t *s)
{
    vch_hash_t terms;
    uint64_t until, how;
    if (vch_field_fixed(s->st.fields, VCH_F_CONSENT_TERMS, terms.b, 32) != VCH_OK ||
        vch_field_uint(s->st.fields, VCH_F_CONSENT_UNTIL, &until) != VCH_OK ||
        vch_field_uint(s->st.fields, VCH_F_CONSENT_HOW, &how) != VCH_OK)
        return false;
    for (size_t i = 0; i < c->set.items; i++) {
        const vch_palette_item_t *p = &c->set.item[i];
        if (vch_hash_eq(&p->terms, &terms)) return p->until_day == until && p->how == how;
    }
    return false;
}

static vch_rc check_last(consent_t *c)
{
    static const vch_hash_t none;
    if (vch_hash_eq(&c->cell.last, &none)) {
        if (c->cell.serial == 0 && c->cell.index == 0) return VCH_OK;
        return vfy_stop(c->v, VCH_V_F_REFERENCE, "the cell names no statement that made it");
    }
    const vfy_statement_t *s = find_last(c);
    vch_verify_code_t code = s ? speaks_of(c, s) : VCH_V_I_MISSING;
    if (code != VCH_V_OK)
        return vfy_stop(c->v, code, "the last statement about the subject, %s, or what it names", SHORT(&c->cell.last));
    if (s->st.kind == VCH_KIND_CONSENT && !is_in_set(c, s))
        return vfy_stop(c->v, VCH_V_F_REFERENCE, "the last statement gave what the set does not hold");
    c->by_owner = vch_owner_speaks(s->st.kind, s->st.fields);
    c->has_last = true;
    /* Where the state ties a key to the subject, the owner signed with that one. */
    vch_rc rc = c->by_owner ? vfy_owner_key(c->v, c->k->commit, &c->k->id, c->k->number, s) : VCH_OK;
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    vfy_link(c->v, "the last statement about subject %llu is a %s at %llu, number %u", AT(c->k->number),
             vch_schema(s->st.kind)->name, AT(s->leaf->index), c->cell.serial);
    return VCH_OK;
}

static unsigned shown_state(const consent_t *c)
{
    return c->set.items ? IN_FORCE : c->cell.index == 0 && c->cell.serial == 0 ? NEVER : WITHDRAWN;
}

vch_rc vfy_claim_consent(verify_t *v)
{
    static const char *const says[] = {"nothing was ever given", "consent is in force", "consent is withdrawn"};
    consent_t c = {.v = v, .k = &v->claim};
    c.commit = vfy_find_commit(v, c.k->commit);
    if (!c.commit) return vfy_stop(v, VCH_V_I_MISSING, "the state-commit at %llu", AT(c.k->commit));
    VCH_TRY(vfy_time(v, c.commit, &v->report->time_ms));
    VCH_TRY(find_cell(&c));
    VCH_TRY(find_set(&c));
    VCH_TRY(check_last(&c));
    if (v->options && c.commit->commit.time.ms < v->options->as_of_ms && c.commit->index + 1 < v->report->newest_size)
        vfy_doubt(v, VCH_V_I_STALE, "there are later blocks than that at %llu, which is older", AT(c.k->commit));
    vfy_claim(v, "subject %llu of dataset %s: %s (%u terms, not judged) as of the block at %llu%s", AT(c.k->number),
              SHORT(&c.k->id), says[c.k->state], c.set.items, AT(c.k->commit),
              !c.has_last  ? ""
              : c.by_owner ? "; last statement signed by the owner"
                           : "; last statement recorded by the custodian");
    unsigned shown = shown_state(&c);
    if (shown != c.k->state) return vfy_stop(v, VCH_V_F_CLAIM, "the state shows that %s", says[shown]);
    return VCH_OK;
}
