/* SPDX-License-Identifier: Apache-2.0 */
/* Entries, lists, state and proofs: the library's own answers. */
#include "api/api_int.h"

#define JSON "application/json"
#define RECORDS_BYTES (8u << 20)
#define PREFIX_OF_STRANGERS 16

static vch_rc json(api_call_t *c, vch_rc rc)
{
    if (rc == VCH_OK) api_answer(c, 200, JSON, NULL);
    return rc;
}

/* The library's text becomes the answer. */
static vch_rc take_text(api_call_t *c, vch_rc rc, vch_text_t *text)
{
    if (rc != VCH_OK) return rc;
    rc = vch_buf_put(&c->res->body, text->p, text->n);
    vch_text_free(text);
    return rc;
}

static vch_rc too_large(api_call_t *c, vch_rc rc, const char *hint)
{
    if (rc != VCH_ERR_LIMIT) return rc;
    return vch_hint(&c->err, vch_fail(&c->err, rc, "the answer is larger than %zu bytes", c->res->body.max), "%s",
                    hint);
}

/* ---- entries --------------------------------------------------------------------------- */

vch_rc api_get_entry(api_call_t *c)
{
    return json(c, vch_entry_into(c->l, api_number(c, "index"), false, &c->res->body, &c->err));
}

/* What organisations said is for any party; what is about subjects is not. */
vch_rc api_get_statements(api_call_t *c)
{
    uint64_t index = api_number(c, "index");
    vch_about_t about;
    bool personal;
    vch_rc rc = vch_about_entry(c->l, index, &personal, &about, &c->err);
    if (rc != VCH_OK) return api_not_there(c, rc);
    VCH_TRY(personal ? api_may_know(c, &about) : api_admit(c, API_PARTY));
    rc = vch_entry_into(c->l, index, true, &c->res->body, &c->err);
    return json(c, too_large(c, rc, "GET /v1/records gives it to auditors in pieces"));
}

/* A short prefix makes the node look through all ids. */
vch_rc api_get_find(api_call_t *c)
{
    const char *id = api_get(c, "id");
    uint64_t index;
    uint32_t statement;
    bool known = c->who.kind == API_MEMBER || c->who.kind == API_TOKEN || c->who.local;
    if (!known && strlen(id) < PREFIX_OF_STRANGERS)
        return vch_fail(&c->err, VCH_ERR_USAGE, "give at least %d digits of the id", PREFIX_OF_STRANGERS);
    VCH_TRY(vch_entry_find(c->l, id, &index, &statement, &c->err));
    return json(
        c, vch_buf_printf(&c->res->body, "{\"index\":%llu,\"statement\":%u}", (unsigned long long)index, statement));
}

/* ---- lists ------------------------------------------------------------------------------- */

static vch_rc list(api_call_t *c, const char *what, const char *of)
{
    vch_rc rc = vch_query_into(c->l, what, of, &c->res->body, &c->err);
    return json(c, too_large(c, rc, "ask for less with of="));
}

vch_rc api_get_list(api_call_t *c) { return list(c, api_get(c, "what"), api_get(c, "of")); }

vch_rc api_get_consents(api_call_t *c)
{
    vch_about_t about;
    vch_rc rc = vch_about_consents(c->l, api_get(c, "of"), &about, &c->err);
    if (rc != VCH_OK) return api_not_there(c, rc);
    VCH_TRY(api_may_know(c, &about));
    return list(c, "consents", api_get(c, "of"));
}

/* ---- state and proofs ----------------------------------------------------------------------- */

vch_rc api_get_state(api_call_t *c)
{
    uint8_t key[VCH_STATE_KEY_MAX];
    const char *hex = api_get(c, "key");
    size_t n = strlen(hex);
    if (n % 2 || n > 2 * sizeof key || !vch_unhex(key, n / 2, hex, n))
        return vch_fail(&c->err, VCH_ERR_USAGE, "\"key\" is a state key in hex, at most %d bytes", VCH_STATE_KEY_MAX);
    return json(c, vch_state_into(c->l, vch_slice(key, n / 2), &c->res->body, &c->err));
}

vch_rc api_get_inclusion(api_call_t *c)
{
    vch_text_t text;
    vch_rc rc = vch_prove_inclusion(c->l, api_number(c, "index"), &text, &c->err);
    VCH_TRY(take_text(c, rc, &text));
    api_answer(c, 200, "text/plain; charset=utf-8", NULL);
    return VCH_OK;
}

vch_rc api_get_consistency(api_call_t *c)
{
    vch_text_t text;
    vch_rc rc = vch_prove_consistency(c->l, api_number(c, "from"), api_number(c, "to"), &text, &c->err);
    return json(c, take_text(c, rc, &text));
}

/* ---- records ----------------------------------------------------------------------------------- */

vch_rc api_get_records(api_call_t *c)
{
    uint64_t from = api_number(c, "from"), to = api_get(c, "to") ? api_number(c, "to") : UINT64_MAX;
    VCH_TRY(vch_records_into(c->l, from, to, RECORDS_BYTES, &c->res->body, &c->err));
    api_answer(c, 200, "application/cbor-seq", NULL);
    return VCH_OK;
}

/* ---- a subject's own ----------------------------------------------------------------------------- */

/* Whom the custodian calls so.  Names of persons are the custodian's: a grant
 * does not open them, and a key only its own. */
static vch_rc find_person(api_call_t *c, const char *dataset, const char *person, uint32_t *ret)
{
    vch_about_t about;
    VCH_TRY(vch_about_consents(c->l, dataset, &about, &c->err));
    about.closed = true;
    if (c->who.kind != API_KEY) VCH_TRY(api_may_know(c, &about));
    if (c->who.kind != API_KEY) return vch_subject_find(c->l, dataset, person, ret, &c->err);
    if (pthread_mutex_trylock(&c->api->strangers) != 0)
        return api_push_back(c, 1, "another subject's question is being looked at");
    vch_rc rc = vch_subject_find(c->l, dataset, person, ret, &c->err);
    pthread_mutex_unlock(&c->api->strangers);
    return rc;
}

static vch_rc which_subject(api_call_t *c, const char *dataset, uint32_t *ret)
{
    const char *person = api_get(c, "person");
    if (!person == !api_get(c, "subject"))
        return vch_fail(&c->err, VCH_ERR_USAGE, "either \"subject\" or \"person\" says who it is");
    if (person) return find_person(c, dataset, person, ret);
    if (api_number(c, "subject") > UINT32_MAX) return vch_fail(&c->err, VCH_ERR_NOT_FOUND, "there is no such subject");
    *ret = (uint32_t)api_number(c, "subject");
    return VCH_OK;
}

static vch_rc about_subject(api_call_t *c, const char *dataset, vch_about_t *ret)
{
    uint32_t subject = 0;
    VCH_TRY(which_subject(c, dataset, &subject));
    VCH_TRY(vch_about_consents(c->l, dataset, ret, &c->err));
    ret->has_subject = true;
    ret->subject = subject;
    return VCH_OK;
}

vch_rc api_get_subject(api_call_t *c)
{
    vch_about_t about;
    vch_rc rc = about_subject(c, api_get(c, "dataset"), &about);
    if (rc == VCH_ERR_NOT_FOUND) return api_not_there(c, rc);
    VCH_TRY(rc);
    VCH_TRY(api_may_know(c, &about));
    return json(c, vch_subject_into(c->l, &about.dataset[0], about.subject, &c->res->body, &c->err));
}

/* ---- a served vault ------------------------------------------------------------------- */

vch_rc api_get_vault(api_call_t *c) { return json(c, vch_vault_into(c->l, &c->res->body, &c->err)); }

vch_rc api_get_grant_rows(api_call_t *c)
{
    vch_id_t grant;
    const char *hex = api_get(c, "grant");
    if (c->who.kind != API_MEMBER) return api_forbid(c, "a grant's rows are for the party that has it");
    if (strlen(hex) != 64 || !vch_unhex(grant.b, 32, hex, 64))
        return vch_fail(&c->err, VCH_ERR_USAGE, "a grant's id has 64 hex digits");
    VCH_TRY(vch_grant_rows_into(c->l, &c->who.party, &grant, &c->res->body, &c->err));
    api_answer(c, 200, "application/octet-stream", NULL);
    return VCH_OK;
}
