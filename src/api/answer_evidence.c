/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence: traces, bundles, models affected by withdrawals.
 *
 * Making it replays part of the log.  So it is made on a second handle, which
 * holds up nobody who submits or reads, and one question at a time: the others
 * are pushed back. */
#include "api/api_int.h"
#include "node/evidence.h"

#define JSON "application/json"

typedef struct {
    const char *what, *id;
} wanted_t;

typedef vch_rc (*make_fn)(api_call_t *, vch_ledger_t *, const wanted_t *);

static vch_rc make_on_second(api_call_t *c, make_fn make, const wanted_t *w)
{
    vch_ledger_t *second;
    VCH_TRY(ev_cover(c->l, &c->err)); /* for reading only, it can't sign a checkpoint itself */
    VCH_TRY(vch_ledger_open_on(&second, c->l->port, c->l->dir, VCH_LEDGER_READ_ONLY, &c->err));
    vch_rc rc = make(c, second, w);
    vch_rc closed = vch_ledger_close(second, rc == VCH_OK ? &c->err : NULL);
    return rc == VCH_OK ? closed : rc;
}

static vch_rc make_alone(api_call_t *c, make_fn make, const wanted_t *w)
{
    if (pthread_mutex_trylock(&c->api->heavy) != 0) return api_push_back(c, 2, "other evidence is being made");
    vch_rc rc = make_on_second(c, make, w);
    pthread_mutex_unlock(&c->api->heavy);
    return rc;
}

static vch_rc admit(api_call_t *c, const wanted_t *w)
{
    vch_about_t about;
    vch_rc rc = vch_about_bundle(c->l, w->what, w->id, &about, &c->err);
    return rc == VCH_OK ? api_may_know(c, &about) : api_not_there(c, rc);
}

static vch_rc take_text(api_call_t *c, vch_text_t *text)
{
    vch_rc rc = vch_buf_put(&c->res->body, text->p, text->n);
    vch_text_free(text);
    if (rc == VCH_OK) api_answer(c, 200, JSON, NULL);
    return rc;
}

/* ---- a decision's trace ----------------------------------------------------------------- */

static vch_rc make_trace(api_call_t *c, vch_ledger_t *l, const wanted_t *w)
{
    vch_text_t text;
    VCH_TRY(vch_decision_trace(l, w->id, &text, &c->err));
    return take_text(c, &text);
}

vch_rc api_get_trace(api_call_t *c)
{
    wanted_t w = {"decision", api_get(c, "decision")};
    VCH_TRY(admit(c, &w));
    return make_alone(c, make_trace, &w);
}

/* ---- bundles ------------------------------------------------------------------------------- */

/* Nobody is handed a bundle that this ledger itself can't believe. */
static vch_rc make_bundle(api_call_t *c, vch_ledger_t *l, const wanted_t *w)
{
    vch_report_t report;
    VCH_TRY(vch_bundle_build(l, w->what, w->id, &c->res->body, &c->err));
    VCH_TRY(ev_judge(l, vch_buf_slice(&c->res->body), &report, &c->err));
    if (report.status == VCH_VERIFY_FAIL)
        return vch_fail(&c->err, VCH_ERR_CORRUPT, "the evidence does not verify (%s)", vch_verify_code(report.code));
    api_answer(c, 200, "application/cbor", NULL);
    return VCH_OK;
}

static vch_rc name_of(api_call_t *c, const vch_json_t *o, const char *name, size_t max, char *ret)
{
    const vch_json_t *m = vch_json_get(o, name);
    if (!m || m->type != VCH_JSON_STRING || m->text.n == 0 || m->text.n >= max || memchr(m->text.p, 0, m->text.n))
        return vch_fail(&c->err, VCH_ERR_FORMAT, "\"%s\" is a text of at most %zu bytes", name, max - 1);
    memcpy(ret, m->text.p, m->text.n);
    ret[m->text.n] = 0;
    return VCH_OK;
}

static vch_rc bundle(api_call_t *c, const vch_json_t *o)
{
    char what[16], id[512];
    wanted_t w = {what, id};
    if (o->count != 2) return vch_fail(&c->err, VCH_ERR_FORMAT, "exactly \"what\" and \"id\" are wanted");
    VCH_TRY(name_of(c, o, "what", sizeof what, what));
    VCH_TRY(name_of(c, o, "id", sizeof id, id));
    VCH_TRY(admit(c, &w));
    return make_alone(c, make_bundle, &w);
}

vch_rc api_post_bundle(api_call_t *c) { return api_with_json(c, bundle); }

/* ---- models affected by withdrawals ------------------------------------------------------------ */

/* Which of the models are theirs to know. */
static vch_rc may_know_model(api_call_t *c, const vch_json_t *model, bool *ret)
{
    char id[65] = "";
    vch_about_t about;
    vch_may_t may = VCH_MAY_NOT;
    vch_asker_t asker = {.party = &c->who.party, .now = c->now};
    const vch_json_t *m = vch_json_get(model, "model");
    *ret = api_knows_all(&c->who);
    if (*ret) return VCH_OK;
    if (!m || m->text.n != 64) return vch_fail(&c->err, VCH_ERR_INTERNAL, "a model without id");
    memcpy(id, m->text.p, 64);
    VCH_TRY(vch_about_bundle(c->l, "lineage", id, &about, &c->err));
    VCH_TRY(vch_may_know(c->l, &about, &asker, &may, &c->err));
    *ret = may == VCH_MAY_AS_PARTY;
    return VCH_OK;
}

/* Members in the order in which the library has them, as everywhere else.  The
 * reader bounds the depth. */
static vch_rc put_in_order(vch_buf_t *b, const vch_json_t *v)
{
    bool object = v->type == VCH_JSON_OBJECT;
    if (!object && v->type != VCH_JSON_ARRAY) return vch_jcs_put(b, v);
    VCH_TRY(vch_buf_u8(b, object ? '{' : '['));
    for (const vch_json_t *m = v->first; m; m = m->next) {
        if (m != v->first) VCH_TRY(vch_buf_u8(b, ','));
        if (object) VCH_TRY(vch_json_put_string(b, m->name));
        if (object) VCH_TRY(vch_buf_u8(b, ':'));
        VCH_TRY(put_in_order(b, m));
    }
    return vch_buf_u8(b, object ? '}' : ']');
}

static vch_rc keep_theirs(api_call_t *c, const vch_json_t *list)
{
    vch_buf_t *b = &c->res->body;
    bool first = true;
    VCH_TRY(vch_buf_u8(b, '['));
    for (const vch_json_t *model = list->first; model; model = model->next) {
        bool may;
        VCH_TRY(may_know_model(c, model, &may));
        if (!may) continue;
        if (!first) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(put_in_order(b, model));
        first = false;
    }
    return vch_buf_u8(b, ']');
}

static vch_rc make_affected(api_call_t *c, vch_ledger_t *l, const wanted_t *w)
{
    vch_text_t text;
    vch_arena_t arena;
    const vch_json_t *list;
    (void)w;
    VCH_TRY(vch_models_affected(l, &text, &c->err));
    vch_arena_init(&arena, (size_t)1 << 30);
    vch_rc rc = vch_json_parse(&arena, &list, vch_slice(text.p, text.n), &c->err);
    if (rc == VCH_OK) rc = keep_theirs(c, list);
    vch_arena_free(&arena);
    vch_text_free(&text);
    if (rc == VCH_OK) api_answer(c, 200, JSON, NULL);
    return rc;
}

vch_rc api_get_affected(api_call_t *c)
{
    bool some = false;
    vch_asker_t asker = {.party = &c->who.party, .now = c->now};
    if (!api_knows_all(&c->who)) {
        if (c->who.kind == API_MEMBER) VCH_TRY(vch_may_know_some(c->l, &asker, &some, &c->err));
        if (!some) return api_forbid(c, "it is for custodians, holders of live grants, users of models, and auditors");
    }
    return make_alone(c, make_affected, NULL);
}
