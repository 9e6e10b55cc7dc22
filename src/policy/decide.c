/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#define MS_PER_DAY 86400000u

const char *vch_rule_name(vch_rule_t rule)
{
    static const char *const names[] = {
#define RULE_NAME(name, text) text,
        VCH_RULE_LIST(RULE_NAME)
#undef RULE_NAME
    };
    return (unsigned)rule < VCH_RULE_COUNT ? names[rule] : names[VCH_RULE_NOT_UNDERSTOOD];
}

static bool names_recipient(const vch_terms_t *t, const vch_id_t *who)
{
    if (t->recipients == 0) return true;
    for (size_t i = 0; i < t->recipients; i++)
        if (vch_id_eq(&t->recipient[i], who)) return true;
    return false;
}

/* The word asked for and its kin, found once a decision: terms may list many
 * words, and a palette many terms. */
typedef struct {
    uint8_t above[VCH_WORDS_MAX / 8], below[VCH_WORDS_MAX / 8]; /* both with the word itself */
} kin_t;

static void find_kin(kin_t *ret, const vch_vocabulary_t *v, vch_word_t asked)
{
    memset(ret, 0, sizeof *ret);
    if (asked >= v->n) return;
    vch_bit_set(ret->above, asked);
    vch_bit_set(ret->below, asked);
    for (size_t w = asked + 1u; w-- > 0;) /* a parent stands before its child */
        for (uint8_t i = 0; vch_bit(ret->above, w) && i < v->parents[w]; i++) vch_bit_set(ret->above, v->parent[w][i]);
    for (size_t w = asked + 1u; w < v->n; w++)
        for (uint8_t i = 0; i < v->parents[w]; i++)
            if (vch_bit(ret->below, v->parent[w][i])) vch_bit_set(ret->below, w);
}

typedef struct {
    kin_t purpose, processing;
} asked_t;

/* Empty list: any.  Permits cover what lies below the word they name. */
static bool covers(const kin_t *kin, const vch_word_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] < VCH_WORDS_MAX && vch_bit(kin->above, list[i])) return true;
    return n == 0;
}

/* A prohibition also meets a broader request, because that would include what
 * is forbidden. */
static bool touches(const kin_t *kin, const vch_word_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] < VCH_WORDS_MAX && (vch_bit(kin->above, list[i]) || vch_bit(kin->below, list[i]))) return true;
    return n == 0;
}

static bool expired(const vch_terms_t *t, const vch_palette_item_t *item, vch_time_t now)
{
    return now.ms / MS_PER_DAY > item->until_day || (t->has_until && now.ms > t->until.ms);
}

static bool forbids(const vch_terms_t *t, const vch_palette_item_t *item, const vch_request_t *r, const asked_t *q)
{
    if (!t->forbid || expired(t, item, r->now)) return false;
    if (t->unknown) return true; /* what can't be judged must not open a door */
    if (t->has_from && r->now.ms < t->from.ms) return false;
    return names_recipient(t, &r->recipient) && touches(&q->purpose, t->purpose, t->purposes) &&
           touches(&q->processing, t->processing, t->processings);
}

static vch_rule_t permits(const vch_terms_t *t, const vch_palette_item_t *item, const vch_request_t *r,
                          const asked_t *q)
{
    if (t->unknown) return VCH_RULE_NOT_UNDERSTOOD;
    if (!names_recipient(t, &r->recipient)) return VCH_RULE_RECIPIENT;
    if (!covers(&q->purpose, t->purpose, t->purposes)) return VCH_RULE_PURPOSE;
    if (!covers(&q->processing, t->processing, t->processings)) return VCH_RULE_PROCESSING;
    if (t->has_from && r->now.ms < t->from.ms) return VCH_RULE_NOT_YET;
    if (expired(t, item, r->now)) return VCH_RULE_EXPIRED;
    return VCH_RULE_PERMIT;
}

static const vch_verdict_t *deny(vch_verdict_t *v, vch_rule_t rule, const vch_hash_t *terms)
{
    *v = (vch_verdict_t){.permit = false, .rule = rule};
    if (terms) v->terms = *terms;
    return v;
}

/* The denial that came closest to a permission explains best: rules are listed
 * in the order in which permits() asks them, so the highest one wins. */
static void permit_or_explain(vch_verdict_t *ret, const vch_palette_value_t *p, const vch_request_t *r,
                              const asked_t *q, vch_terms_fn terms, void *ctx)
{
    for (size_t i = 0; i < p->items; i++) {
        const vch_terms_t *t = terms(ctx, &p->item[i].terms);
        if (!t || t->forbid) continue;
        vch_rule_t rule = permits(t, &p->item[i], r, q);
        if (rule == VCH_RULE_PERMIT) {
            *ret = (vch_verdict_t){true, rule, p->item[i].terms};
            return;
        }
        if (rule > ret->rule) deny(ret, rule, &p->item[i].terms);
    }
}

void vch_decide(vch_verdict_t *ret, const vch_palette_value_t *p, const vch_request_t *r,
                const vch_vocabulary_t *purposes, const vch_vocabulary_t *processings, vch_terms_fn terms, void *ctx)
{
    asked_t q;
    deny(ret, p->owner_withdrew ? VCH_RULE_WITHDRAWN : VCH_RULE_NO_CONSENT, NULL);
    if (p->items == 0) return;
    find_kin(&q.purpose, purposes, r->purpose);
    find_kin(&q.processing, processings, r->processing);
    for (size_t i = 0; i < p->items; i++) {
        const vch_terms_t *t = terms(ctx, &p->item[i].terms);
        if (!t) {
            deny(ret, VCH_RULE_NOT_UNDERSTOOD, &p->item[i].terms);
            return;
        }
        if (forbids(t, &p->item[i], r, &q)) {
            deny(ret, VCH_RULE_FORBIDDEN, &p->item[i].terms);
            return;
        }
    }
    permit_or_explain(ret, p, r, &q, terms, ctx);
}
