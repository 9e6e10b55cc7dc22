/* SPDX-License-Identifier: Apache-2.0 */
/* A decision traced to the consents behind it, as a tree.  What a node says
 * comes from the same bag that a bundle is written from, and "verified" means
 * that the offline verifier has just accepted that bundle by this directory's
 * own trust.policy.  Should only the decision itself be refused, the rest is
 * judged once more without it. */
#include "codec/cbor.h"
#include "node/evidence.h"
#include "node/node_int.h"

#define TERMS_MAX 1024

typedef struct {
    bool ok;
    const char *code;
    const char *why;
} judged_t;

typedef struct {
    vch_hash_t terms;
    unsigned how;
    uint64_t rows;
} basis_t;

typedef struct {
    ev_t *ev;
    const ev_decisions_t *d;
    ev_batch_t batch;
    vch_buf_t *out;
    vch_report_t decision, chain; /* of the whole, and without the decision */
    judged_t leaf, rest;
    basis_t *basis;
    size_t bases;
    uint64_t granted, unknown; /* rows permitted by any grant; rows whose consents the bag does not hold */
} trace_t;

/* ---- small pieces of JSON ---------------------------------------------------------- */

static vch_rc put_text(trace_t *t, const char *name, vch_slice_t text)
{
    VCH_TRY(vch_buf_printf(t->out, "\"%s\":", name));
    VCH_TRY(vch_json_put_string(t->out, text));
    return vch_buf_u8(t->out, ',');
}

static vch_rc put_hex(trace_t *t, const char *name, const void *p)
{
    VCH_TRY(vch_buf_printf(t->out, "\"%s\":", name));
    VCH_TRY(nd_put_hex(t->out, p, 32));
    return vch_buf_u8(t->out, ',');
}

static vch_rc put_number(trace_t *t, const char *name, uint64_t v)
{
    return vch_buf_printf(t->out, "\"%s\":%llu,", name, (unsigned long long)v);
}

static vch_rc put_time(trace_t *t, const char *name, uint64_t ms)
{
    VCH_TRY(nd_put_time(t->out, name, (vch_time_t){ms}));
    return vch_buf_u8(t->out, ',');
}

static vch_rc put_verified(trace_t *t, const judged_t *j)
{
    VCH_TRY(vch_buf_printf(t->out, "\"verified\":%s", j->ok ? "true" : "false"));
    if (j->ok) return VCH_OK;
    VCH_TRY(vch_buf_printf(t->out, ",\"code\":\"%s\",\"why\":", j->code));
    return vch_json_put_string(t->out, vch_str(j->why));
}

static vch_rc put_open(trace_t *t, const char *name) { return vch_buf_printf(t->out, ",\"%s\":{", name); }

/* ---- judging ------------------------------------------------------------------------- */

static judged_t judged(const vch_report_t *r)
{
    const char *why = r->detail[0] ? r->detail : vch_verify_text(r->code);
    return (judged_t){r->status == VCH_VERIFY_OK, vch_verify_code(r->code), why};
}

static vch_rc judge(trace_t *t, vch_report_t *ret)
{
    vch_buf_t bundle;
    vch_buf_init(&bundle, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = ev_write(t->ev, &bundle);
    if (rc == VCH_OK) rc = ev_judge(t->ev->l, vch_buf_slice(&bundle), ret, t->ev->err);
    vch_buf_free(&bundle);
    return rc;
}

static vch_rc judge_all(trace_t *t)
{
    VCH_TRY(ev_claim_decision(t->ev, t->d));
    VCH_TRY(judge(t, &t->decision));
    t->chain = t->decision;
    if (t->decision.status != VCH_VERIFY_OK) {
        VCH_TRY(ev_claim_id(t->ev, 5, &t->batch.model.id));
        VCH_TRY(judge(t, &t->chain));
    }
    t->leaf = judged(&t->decision);
    t->rest = judged(&t->chain);
    return VCH_OK;
}

/* ---- the consents behind the rows ------------------------------------------------------ */

typedef struct {
    const trace_t *t;
    const ev_access_t *a;
    vch_vocabulary_t *purposes, *processings;
    vch_terms_t *terms; /* the one asked for last */
    vch_request_t request;
} decider_t;

static vch_slice_t bag_value(const ev_t *ev, uint64_t commit, const vch_state_key_t *key)
{
    for (size_t i = 0; i < ev->items; i++) {
        const ev_item_t *it = &ev->item[i];
        if (it->commit == commit && vch_slice_eq(vch_key_slice(&it->key), vch_key_slice(key))) return it->value;
    }
    return vch_slice(NULL, 0);
}

static vch_slice_t terms_document(const trace_t *t, uint64_t commit, const vch_hash_t *hash)
{
    vch_state_key_t key = vch_key_id('t', hash->b);
    return bag_value(t->ev, commit, &key);
}

static const vch_terms_t *find_terms(void *ctx, const vch_hash_t *hash)
{
    decider_t *d = ctx;
    vch_slice_t document = terms_document(d->t, d->a->index - 1, hash);
    return vch_terms_read(d->terms, document, d->purposes, d->processings, NULL) == VCH_OK ? d->terms : NULL;
}

static vch_rc begin_decider(decider_t *d, ev_t *ev)
{
    uint64_t commit = d->a->index - 1;
    vch_state_key_t genesis = vch_key_plain('g'), key = vch_key_id('k', ev_find_leaf(ev, d->a->index)->signer.b);
    vch_slice_t fields = bag_value(ev, commit, &genesis);
    vch_key_value_t signer;
    vch_state_commit_t block;
    d->purposes = vch_arena_alloc(&ev->arena, sizeof *d->purposes);
    d->processings = vch_arena_alloc(&ev->arena, sizeof *d->processings);
    d->terms = vch_arena_alloc(&ev->arena, sizeof *d->terms);
    if (!d->purposes || !d->processings || !d->terms) return ev_no_memory(ev);
    VCH_TRY(vch_vocabulary_get(d->purposes, fields, VCH_F_GENESIS_PURPOSES));
    VCH_TRY(vch_vocabulary_get(d->processings, fields, VCH_F_GENESIS_PROCESSINGS));
    VCH_TRY(vch_word_find(d->purposes, d->a->purpose, &d->request.purpose));
    VCH_TRY(vch_word_find(d->processings, d->a->processing, &d->request.processing));
    VCH_TRY(vch_key_get(&signer, bag_value(ev, commit, &key)));
    VCH_TRY(vch_state_commit_get(&block, ev_find_leaf(ev, ev_find_leaf(ev, d->a->index)->commit)->bytes));
    d->request.recipient = signer.party;
    d->request.now = block.time;
    return VCH_OK;
}

static vch_rc add_basis(trace_t *t, const vch_hash_t *terms, unsigned how, uint64_t rows)
{
    for (size_t i = 0; i < t->bases; i++)
        if (t->basis[i].how == how && vch_hash_eq(&t->basis[i].terms, terms)) {
            t->basis[i].rows += rows;
            return VCH_OK;
        }
    if (t->bases == TERMS_MAX)
        return vch_fail(t->ev->err, VCH_ERR_LIMIT, "the rows rest on more than %u terms", TERMS_MAX);
    t->basis[t->bases++] = (basis_t){*terms, how, rows};
    return VCH_OK;
}

static vch_rc explain(trace_t *t, decider_t *d, uint16_t index, uint64_t rows)
{
    vch_palette_value_t set;
    vch_verdict_t verdict;
    unsigned how = 0;
    VCH_TRY(vch_palette_get(&set, d->a->palette[index]));
    vch_decide(&verdict, &set, &d->request, d->purposes, d->processings, find_terms, d);
    if (!verdict.permit) {
        t->unknown += rows;
        return VCH_OK;
    }
    for (size_t i = 0; i < set.items; i++)
        if (vch_hash_eq(&set.item[i].terms, &verdict.terms)) how = set.item[i].how;
    return add_basis(t, &verdict.terms, how, rows);
}

/* Rows that this grant permits, that the run used, and that no grant before
 * has explained (`left`), by palette index. */
static void count_rows(trace_t *t, const ev_access_t *a, uint8_t *left, uint64_t *rows)
{
    size_t at = 0;
    for (uint32_t e = 0; e < a->value.extents; e++) {
        const vch_extent_value_t *x = &a->extent[e];
        for (uint32_t r = 0; r < x->count; r++) {
            size_t bit = at * 8 + r;
            if (!vch_bit(left, bit) || !vch_bit(a->set.p, bit)) continue;
            uint32_t subject = a->subjects[e] ? a->subjects[e][r] : x->first + r;
            vch_bit_clear(left, bit);
            if (subject < a->column_n && a->palette[a->column[subject]].n)
                rows[a->column[subject]]++;
            else
                t->unknown++;
        }
        at += vch_set_bytes(x->count);
    }
}

static vch_rc weigh_grant(trace_t *t, const ev_access_t *a, uint8_t *left)
{
    decider_t d = {.t = t, .a = a};
    if (!a->has_inputs) return VCH_OK;
    uint64_t *rows = vch_arena_array(&t->ev->arena, 65536, sizeof *rows);
    if (!rows) return ev_no_memory(t->ev);
    VCH_TRY(begin_decider(&d, t->ev));
    count_rows(t, a, left, rows);
    for (uint32_t i = 1; i < 65536; i++)
        if (rows[i]) VCH_TRY(explain(t, &d, (uint16_t)i, rows[i]));
    return VCH_OK;
}

static uint64_t ones(const uint8_t *p, size_t n)
{
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++) count += (uint64_t)__builtin_popcount(p[i]);
    return count;
}

static vch_rc weigh(trace_t *t, const ev_run_t *r)
{
    uint8_t *left = vch_arena_copy(&t->ev->arena, r->set.p, r->set.n);
    uint8_t *any = vch_arena_alloc(&t->ev->arena, r->set.n);
    t->basis = vch_arena_array(&t->ev->arena, TERMS_MAX, sizeof *t->basis);
    if (!left || !any || !t->basis) return ev_no_memory(t->ev);
    for (size_t g = 0; g < r->grants; g++) {
        if (r->grant[g].set.n != r->set.n)
            return vch_fail(t->ev->err, VCH_ERR_CORRUPT, "run and grant speak of different rows");
        for (size_t i = 0; i < r->set.n; i++) any[i] |= r->grant[g].set.p[i];
        VCH_TRY(weigh_grant(t, &r->grant[g], left));
    }
    t->granted = ones(any, r->set.n);
    t->unknown += ones(left, r->set.n);
    return VCH_OK;
}

/* ---- nodes, innermost first ---------------------------------------------------------------- */

static vch_slice_t title_of(const trace_t *t, const ev_run_t *r, const vch_hash_t *terms)
{
    vch_slice_t title = vch_str("");
    for (size_t g = 0; g < r->grants; g++) {
        vch_slice_t document = terms_document(t, r->grant[g].index - 1, terms);
        if (document.n && vch_field_bytes(document, VCH_F_DOC_TITLE, &title) == VCH_OK) return title;
    }
    return title;
}

static judged_t consents_judged(const trace_t *t)
{
    judged_t j = t->rest;
    if (j.ok && t->unknown)
        j = (judged_t){false, "I-MISSING", "the consents of some rows are attested, not shown here"};
    if (j.ok && !t->chain.recomputed)
        j = (judged_t){false, "I-MISSING", "the access decisions are attested by the log, not recomputed here"};
    return j;
}

static vch_rc put_consents(trace_t *t, const ev_run_t *r)
{
    static const char *const how[] = {"owner", "recorded", "delegate"};
    judged_t j = consents_judged(t);
    VCH_TRY(vch_buf_printf(t->out, ",\"consents\":["));
    for (size_t i = 0; i < t->bases; i++) {
        const basis_t *b = &t->basis[i];
        VCH_TRY(vch_buf_printf(t->out, "%s{", i ? "," : ""));
        VCH_TRY(put_text(t, "terms title", title_of(t, r, &b->terms)));
        VCH_TRY(put_hex(t, "terms", b->terms.b));
        VCH_TRY(put_number(t, "rows", b->rows));
        VCH_TRY(put_text(t, "how", vch_str(b->how < 3 ? how[b->how] : "unknown")));
        VCH_TRY(put_verified(t, &j));
        VCH_TRY(vch_buf_u8(t->out, '}'));
    }
    return vch_buf_u8(t->out, ']');
}

static vch_rc put_version(trace_t *t, const ev_run_t *r)
{
    const ev_access_t *a = &r->grant[0];
    vch_slice_t name = {NULL, 0};
    judged_t j = t->rest;
    VCH_TRY(put_open(t, "version"));
    VCH_TRY(put_hex(t, "id", r->version.b));
    if (a->has_inputs) {
        VCH_TRY(vch_field_bytes(a->dataset, VCH_F_DATASET_NAME, &name));
        VCH_TRY(put_text(t, "dataset", name));
        VCH_TRY(put_hex(t, "dataset id", a->value.dataset.b));
        VCH_TRY(put_number(t, "number", a->value.number));
        VCH_TRY(put_number(t, "live rows", a->value.live));
    } else if (j.ok) {
        j = (judged_t){false, "I-MISSING", "the version's state before the grant is not shown here"};
    }
    VCH_TRY(put_verified(t, &j));
    return vch_buf_u8(t->out, '}');
}

static vch_rc put_grant(trace_t *t, const ev_access_t *a)
{
    VCH_TRY(vch_buf_u8(t->out, '{'));
    VCH_TRY(put_hex(t, "id", a->request.b));
    VCH_TRY(put_number(t, "entry", a->index));
    VCH_TRY(put_text(t, "purpose", a->purpose));
    VCH_TRY(put_text(t, "processing", a->processing));
    VCH_TRY(put_number(t, "rows permitted", a->outcome.count));
    VCH_TRY(put_time(t, "expires", a->outcome.expires.ms));
    VCH_TRY(put_verified(t, &t->rest));
    return vch_buf_u8(t->out, '}');
}

static vch_rc put_rows(trace_t *t, const ev_run_t *r)
{
    VCH_TRY(put_open(t, "rows"));
    VCH_TRY(put_number(t, "used", r->count));
    VCH_TRY(put_number(t, "granted", t->granted));
    VCH_TRY(put_number(t, "held out", t->granted > r->count ? t->granted - r->count : 0));
    VCH_TRY(put_verified(t, &t->rest));
    return vch_buf_u8(t->out, '}');
}

static vch_rc put_run(trace_t *t, const ev_run_t *r)
{
    vch_slice_t name;
    vch_hash_t order;
    uint64_t status = 2;
    static const char *const says[] = {"completed", "failed", "open"};
    VCH_TRY(vch_field_bytes(r->st.fields, VCH_F_RUN_NAME, &name));
    VCH_TRY(vch_field_fixed(r->st.fields, VCH_F_RUN_ORDER_ROOT, order.b, 32));
    if (r->has_end) VCH_TRY(vch_field_uint(r->end.fields, VCH_F_RUNEND_STATUS, &status));
    VCH_TRY(put_open(t, "run"));
    VCH_TRY(put_hex(t, "id", r->id.b));
    VCH_TRY(put_number(t, "entry", r->index));
    VCH_TRY(put_text(t, "name", name));
    VCH_TRY(put_number(t, "rows used", r->count));
    VCH_TRY(put_hex(t, "order root", order.b));
    VCH_TRY(put_text(t, "status", vch_str(says[status < 2 ? status : 2])));
    VCH_TRY(put_verified(t, &t->rest));
    VCH_TRY(vch_buf_printf(t->out, ",\"grants\":["));
    for (size_t i = 0; i < r->grants; i++) {
        if (i) VCH_TRY(vch_buf_u8(t->out, ','));
        VCH_TRY(put_grant(t, &r->grant[i]));
    }
    VCH_TRY(vch_buf_u8(t->out, ']'));
    VCH_TRY(put_version(t, r));
    VCH_TRY(put_rows(t, r));
    VCH_TRY(put_consents(t, r));
    return vch_buf_u8(t->out, '}');
}

static vch_rc put_model(trace_t *t)
{
    const ev_model_t *m = &t->batch.model;
    vch_slice_t name;
    vch_hash_t digest;
    VCH_TRY(vch_field_bytes(m->st.fields, VCH_F_MODEL_NAME, &name));
    VCH_TRY(vch_field_fixed(m->st.fields, VCH_F_MODEL_DIGEST, digest.b, 32));
    VCH_TRY(put_open(t, "model"));
    VCH_TRY(put_hex(t, "id", m->id.b));
    VCH_TRY(put_number(t, "entry", m->index));
    VCH_TRY(put_text(t, "name", name));
    VCH_TRY(put_hex(t, "digest", digest.b));
    VCH_TRY(put_text(t, "origin", vch_str(m->has_run ? "run" : "unproven import")));
    VCH_TRY(put_verified(t, &t->rest));
    if (m->has_run) VCH_TRY(put_run(t, &m->run));
    return vch_buf_u8(t->out, '}');
}

static vch_rc put_batch(trace_t *t)
{
    vch_slice_t scope;
    VCH_TRY(vch_field_bytes(t->batch.deployment.fields, VCH_F_DEPLOYMENT_SCOPE, &scope));
    VCH_TRY(put_open(t, "batch"));
    VCH_TRY(put_hex(t, "id", t->d->batch.b));
    VCH_TRY(put_number(t, "entry", t->batch.index));
    VCH_TRY(put_number(t, "first", t->d->value.first));
    VCH_TRY(put_number(t, "count", t->d->value.count));
    VCH_TRY(put_number(t, "lost", t->d->value.lost));
    VCH_TRY(put_verified(t, &t->rest));
    VCH_TRY(put_open(t, "deployment"));
    VCH_TRY(put_hex(t, "id", t->d->deployment.b));
    VCH_TRY(put_text(t, "scope", scope));
    VCH_TRY(put_verified(t, &t->rest));
    VCH_TRY(put_model(t));
    return vch_buf_printf(t->out, "}}");
}

/* A leaf that can't be read any more is shown as what it is. */
static vch_rc put_decision(trace_t *t)
{
    vch_decision_t d;
    VCH_TRY(vch_buf_printf(t->out, "{\"decision\":{"));
    VCH_TRY(put_number(t, "sequence", t->d->first));
    if (vch_decision_get(&d, t->d->leaf[t->d->first - t->d->value.first]) == VCH_OK) {
        VCH_TRY(put_time(t, "time", d.time.ms));
        VCH_TRY(put_text(t, "output", d.output));
        VCH_TRY(put_hex(t, "input commitment", d.input.b));
        VCH_TRY(vch_buf_printf(t->out, "\"reasons\":["));
        for (size_t i = 0; i < d.reasons; i++) {
            if (i) VCH_TRY(vch_buf_u8(t->out, ','));
            VCH_TRY(vch_json_put_string(t->out, d.reason[i]));
        }
        VCH_TRY(vch_buf_printf(t->out, "],"));
    }
    VCH_TRY(put_verified(t, &t->leaf));
    VCH_TRY(put_batch(t));
    VCH_TRY(vch_buf_u8(t->out, '}'));
    return VCH_OK;
}

static vch_rc put_verdict(trace_t *t)
{
    static const char *const says[] = {"OK", "INCONCLUSIVE", "FAIL"};
    const vch_report_t *r = &t->decision;
    VCH_TRY(put_open(t, "verdict"));
    VCH_TRY(put_text(t, "status", vch_str(says[r->status])));
    VCH_TRY(put_text(t, "code", vch_str(vch_verify_code(r->code))));
    VCH_TRY(put_text(t, "claim", vch_str(r->claim)));
    VCH_TRY(put_text(t, "detail", vch_str(r->detail)));
    VCH_TRY(put_number(t, "checkpoint size", r->newest_size));
    VCH_TRY(put_number(t, "links", r->links));
    return vch_buf_printf(t->out, "\"recomputed\":%s,\"witnessed\":%s}}", r->recomputed ? "true" : "false",
                          r->witnessed ? "true" : "false");
}

static vch_rc trace(trace_t *t)
{
    VCH_TRY(ev_batch(t->ev, t->d, &t->batch));
    VCH_TRY(judge_all(t));
    if (t->batch.model.has_run) VCH_TRY(weigh(t, &t->batch.model.run));
    vch_rc rc = put_decision(t);
    if (rc == VCH_OK) rc = put_verdict(t);
    if (rc == VCH_OK || (t->ev->err && t->ev->err->rc != VCH_OK)) return rc;
    return vch_fail(t->ev->err, rc, "the tree can't be written: %s", vch_rc_text(rc));
}

static vch_rc trace_with(vch_ledger_t *l, const ev_decisions_t *d, vch_buf_t *out, vch_err_t *err)
{
    ev_t ev;
    trace_t t = {.ev = &ev, .d = d, .out = out};
    if (d->first != d->last) {
        vch_fail(err, VCH_ERR_USAGE, "one decision is traced at a time");
        return vch_hint(err, VCH_ERR_USAGE, "name one: DEPLOYMENT/%llu", (unsigned long long)d->first);
    }
    VCH_TRY(ev_begin(&ev, l, err));
    vch_rc rc = trace(&t);
    ev_free(&ev);
    vch_ledger_read_end(l);
    return rc;
}

VCH_API vch_rc vch_decision_trace(vch_ledger_t *l, const char *id, vch_text_t *ret_json, vch_err_t *err)
{
    ev_decisions_t d;
    vch_buf_t out;
    if (l->remote) return nd_remote_trace(l, id, ret_json, err);
    VCH_TRY(ev_cover(l, err));
    vch_buf_init(&out, 16u << 20);
    vch_rc rc = ev_decisions_read(&d, l, id, err);
    if (rc == VCH_OK) rc = trace_with(l, &d, &out, err);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &out);
    vch_buf_free(&out);
    ev_decisions_free(&d);
    return nd_told(rc, err);
}
