/* SPDX-License-Identifier: Apache-2.0 */
/* Own access: a subject's key is a permission for that subject's rows, whatever
 * was consented to or withdrawn.  Only of an erased subject nothing is left.
 *
 * What is decided lies under 'o', not under 'a', so that nothing which asks for
 * a party's grant can ever take one of these for it. */
#include "policy/policy.h"
#include "state/state_impl.h"

typedef struct {
    apply_t *a;
    vch_slice_t fields;
    uint64_t subject, serial;
    vch_version_value_t version;
    bool erased;
    vch_own_value_t own;
    vch_outcome_t outcome;
} own_t;

static vch_rc read_own(own_t *o)
{
    VCH_TRY(vch_field_fixed(o->fields, VCH_F_OWN_VERSION, o->own.version.b, 32));
    VCH_TRY(vch_field_uint(o->fields, VCH_F_CONSENT_SUBJECT, &o->subject));
    VCH_TRY(vch_field_fixed(o->fields, VCH_F_OWN_ONE_TIME_KEY, o->own.once, sizeof o->own.once));
    VCH_TRY(vch_field_bytes(o->fields, VCH_F_CONSENT_KEY, &o->own.key));
    VCH_TRY(vch_field_uint(o->fields, VCH_F_CONSENT_SERIAL, &o->serial));
    VCH_TRY(st_version(o->a->s, &o->own.version, &o->version, o->a->err));
    o->own.subject = (uint32_t)o->subject;
    return st_groups(o->a, o->fields, VCH_F_OWN_GROUPS, &o->version, &o->own.groups);
}

static vch_rc is_erased(own_t *o)
{
    vch_rc rc = VCH_OK;
    vch_state_key_t key = vch_key_id_u32('z', o->version.dataset.b, o->own.subject);
    o->erased = st_has(o->a->s, &key, &rc, o->a->err);
    return rc;
}

/* ---- the rows -------------------------------------------------------------------- */

static uint64_t rows_of_part(const own_t *o, const st_part_t *p, const uint8_t *live, uint8_t *out)
{
    uint32_t subject = o->own.subject, from = 0, to = p->extent.count;
    uint64_t n = 0;
    if (!p->subjects) { /* row r is subject first + r */
        if (subject < p->extent.first || subject - p->extent.first >= p->extent.count) return 0;
        from = subject - p->extent.first;
        to = from + 1;
    }
    for (uint32_t row = from; row < to; row++) {
        if ((p->subjects && p->subjects[row] != subject) || !vch_bit(live, row)) continue;
        vch_bit_set(out, row);
        n++;
    }
    return n;
}

/* None, of an erased subject. */
static vch_rc find_rows(own_t *o, vch_buf_t *ret_bits)
{
    vch_state_t *s = o->a->s;
    st_part_t *part = NULL;
    size_t bytes = 0;
    vch_slice_t live;
    uint8_t *out;
    VCH_TRY(st_parts(s, &o->version, &part, &bytes, o->a->err));
    VCH_TRY(st_live(s, &o->own.version, &o->version, bytes, &live, o->a->err));
    VCH_TRY(vch_buf_extend(ret_bits, bytes, &out));
    memset(out, 0, bytes);
    for (uint32_t i = 0; !o->erased && i < o->version.extents; i++)
        o->own.count += rows_of_part(o, &part[i], live.p + part[i].at, out + part[i].at);
    return VCH_OK;
}

/* ---- the outcome ------------------------------------------------------------------- */

static void decide(own_t *o, const vch_id_t *object)
{
    const char *rule = o->erased ? VCH_RULE_OWN_ERASED : o->own.count ? VCH_RULE_OWN : VCH_RULE_OWN_NO_ROWS;
    o->own.permit = o->own.count > 0;
    o->own.expires.ms = o->a->now.ms + o->a->s->grant_life_ms;
    o->outcome = (vch_outcome_t){.network = o->a->s->info.network,
                                 .request = *object,
                                 .permit = o->own.permit,
                                 .set_root = o->own.set_root,
                                 .count = o->own.count,
                                 .expires = o->own.expires};
    strncpy(o->outcome.rule, rule, VCH_RULE_MAX);
}

static vch_rc keep(own_t *o, const vch_id_t *object, vch_buf_t *bits)
{
    VCH_TRY(st_vocabulary(o->a->s, o->a->err)); /* the grant's life came with it */
    VCH_TRY(find_rows(o, bits));
    VCH_TRY(vch_set_root(&o->own.set_root, bits->p, bits->n, &o->a->s->scratch));
    decide(o, object);
    vch_state_key_t key = vch_key_id('o', object->b);
    VCH_TRY(ST_SET(o->a->s, &key, vch_own_put, &o->own, o->a->err));
    VCH_TRY(st_set_at(o->a->s, 'B', object->b, vch_buf_slice(bits), o->a->err));
    return vch_outcome_put(o->a->outcome, &o->outcome);
}

/* The statement becomes the last one about its subject, whose consents stay as
 * they are; after an erasure that one stays the last. */
vch_rc rule_own_access(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    own_t o = {.a = a, .fields = st->fields};
    column_t *column = NULL;
    vch_cell_t cell;
    vch_buf_t bits;
    VCH_TRY(read_own(&o));
    VCH_TRY(is_erased(&o));
    VCH_TRY(st_column(a->s, &o.version.dataset, &column, a->err));
    VCH_TRY(st_cell(a->s, column, o.own.subject, &cell, a->err));
    VCH_TRY(st_next_serial(a, o.own.subject, &cell, o.serial));
    VCH_TRY(st_owner(a, st->fields, &o.version.dataset, o.own.subject));
    vch_buf_init(&bits, 1u << 30);
    vch_rc rc = keep(&o, object, &bits);
    vch_buf_free(&bits);
    if (rc != VCH_OK || o.erased) return rc;
    cell.serial++;
    cell.last = *leaf;
    return st_set_cell(a->s, column, o.own.subject, &cell, a->err);
}
