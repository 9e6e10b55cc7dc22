/* SPDX-License-Identifier: Apache-2.0 */
/* Who a key belongs to, what a question is about, and who may know that. */
#include "node/service.h"

#include "codec/text.h"
#include "node/custody.h"
#include "node/node_int.h"
#include "node/use.h"

#define NAME_MAX_BYTES 512

static vch_rc get_value(vch_ledger_t *l, const vch_state_key_t *key, vch_buf_t *ret, vch_err_t *err)
{
    vch_buf_clear(ret);
    return vch_state_get(l->state, vch_key_slice(key), ret, err);
}

/* ---- keys ------------------------------------------------------------------------- */

static vch_rc known_key(vch_ledger_t *l, const vch_keyid_t *id, vch_known_t *ret, vch_buf_t *value, vch_err_t *err)
{
    vch_state_key_t at = vch_key_id('k', id->b);
    vch_key_value_t key = {.revoked = false};
    vch_party_value_t party = {.roles = 0};
    VCH_TRY(get_value(l, &at, value, err));
    VCH_TRY(vch_key_get(&key, vch_buf_slice(value)));
    vch_known_t known = {.party = key.party, .revoked = key.revoked};
    at = vch_key_id('p', key.party.b);
    VCH_TRY(get_value(l, &at, value, err));
    VCH_TRY(vch_party_get(&party, vch_buf_slice(value)));
    known.roles = party.roles;
    *ret = known;
    return VCH_OK;
}

vch_rc vch_known_key(vch_ledger_t *l, const vch_keyid_t *id, vch_known_t *ret, vch_err_t *err)
{
    vch_buf_t value;
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_buf_init(&value, VCH_TX_BYTES_MAX);
    vch_rc rc = known_key(l, id, ret, &value, err);
    vch_buf_free(&value);
    vch_ledger_read_end(l);
    return nd_told(rc, err);
}

vch_rc vch_ledger_operator(vch_ledger_t *l, vch_id_t *ret, vch_err_t *err)
{
    vch_arena_t arena;
    vch_log_entry_t e;
    vch_entry_t genesis;
    vch_arena_init(&arena, 16u << 20);
    vch_rc rc = vch_log_read(l->log, 0, &arena, &e, err);
    if (rc == VCH_OK) rc = vch_entry_read(&genesis, e.record.entry, err);
    if (rc == VCH_OK) *ret = vch_object_id(&genesis.id, 0);
    vch_arena_free(&arena);
    return nd_told(rc, err);
}

/* ---- what a question is about -------------------------------------------------------- */

static void add_dataset(vch_about_t *a, const vch_id_t *dataset)
{
    for (size_t i = 0; i < a->datasets; i++)
        if (vch_id_eq(&a->dataset[i], dataset)) return;
    if (a->datasets == VCH_ABOUT_MAX)
        a->unclear = true;
    else
        a->dataset[a->datasets++] = *dataset;
}

static void set_owner(vch_about_t *a, const vch_id_t *party)
{
    a->has_owner = true;
    a->owner = *party;
}

/* What is read between read_begin and _end. */
typedef struct {
    vch_ledger_t *l;
    vch_buf_t value;
    vch_about_t about;
    vch_err_t *err;
} asked_t;

static vch_rc about_version(asked_t *q, const vch_id_t *version)
{
    vch_version_value_t v;
    vch_state_key_t key = vch_key_id('v', version->b);
    VCH_TRY(get_value(q->l, &key, &q->value, q->err));
    VCH_TRY(vch_version_get(&v, vch_buf_slice(&q->value)));
    add_dataset(&q->about, &v.dataset);
    return VCH_OK;
}

/* A subject's own access is that subject's. */
static vch_rc about_own(asked_t *q, const vch_id_t *grant)
{
    vch_own_value_t own;
    VCH_TRY(vch_own_load(q->l, grant, &q->value, &own));
    vch_id_t version = own.version;
    q->about.has_subject = true;
    q->about.subject = own.subject;
    return about_version(q, &version);
}

static vch_rc about_grant(asked_t *q, const char *id)
{
    vch_id_t grant;
    vch_grant_value_t g;
    VCH_TRY(vch_resolve(q->l, 'a', id, &grant, q->err));
    vch_rc own = about_own(q, &grant);
    if (own != VCH_ERR_NOT_FOUND) return own;
    vch_state_key_t key = vch_key_id('a', grant.b);
    VCH_TRY(get_value(q->l, &key, &q->value, q->err));
    VCH_TRY(vch_grant_get(&g, vch_buf_slice(&q->value)));
    vch_id_t version = g.version;
    set_owner(&q->about, &g.party);
    return about_version(q, &version);
}

static vch_rc about_run(asked_t *q, const vch_id_t *run)
{
    vch_run_value_t r;
    vch_state_key_t key = vch_key_id('r', run->b);
    VCH_TRY(get_value(q->l, &key, &q->value, q->err));
    VCH_TRY(vch_run_get(&r, vch_buf_slice(&q->value)));
    vch_id_t version = r.version;
    return about_version(q, &version);
}

/* An unproven import is about no dataset: only its own party and auditors know. */
static vch_rc about_model(asked_t *q, const vch_id_t *model)
{
    vch_model_value_t m;
    vch_state_key_t key = vch_key_id('m', model->b);
    VCH_TRY(get_value(q->l, &key, &q->value, q->err));
    VCH_TRY(vch_model_get(&m, vch_buf_slice(&q->value)));
    vch_id_t run = m.run;
    set_owner(&q->about, &m.party);
    if (!m.proven) q->about.unclear = true;
    return m.proven ? about_run(q, &run) : VCH_OK;
}

static vch_rc about_lineage(asked_t *q, const char *id)
{
    vch_id_t model;
    VCH_TRY(vch_resolve(q->l, 'm', id, &model, q->err));
    return about_model(q, &model);
}

static vch_rc no_such_name(asked_t *q, const char *id)
{
    return vch_hint(q->err, vch_fail(q->err, VCH_ERR_USAGE, "\"%.200s\" names nothing of this kind", id),
                    "decision: DEPLOYMENT/NUMBER, access: GRANT, consent: DATASET/SUBJECT, row: RUN/EXTENT/ROW, "
                    "lineage: MODEL");
}

/* What stands before the last `parts` slashes; the parts' numbers into `number`,
 * last one first. */
static vch_rc split(asked_t *q, const char *id, unsigned parts, char name[NAME_MAX_BYTES], uint64_t *number)
{
    size_t n = strlen(id);
    if (n >= NAME_MAX_BYTES) return no_such_name(q, id);
    memcpy(name, id, n + 1);
    for (unsigned i = 0; i < parts; i++) {
        char *slash = strrchr(name, '/');
        if (!slash) return no_such_name(q, id);
        if (number && (vch_decimal_get(&number[i], vch_str(slash + 1)) != VCH_OK || number[i] > UINT32_MAX))
            return no_such_name(q, id);
        *slash = 0;
    }
    return *name ? VCH_OK : no_such_name(q, id);
}

static vch_rc about_decision(asked_t *q, const char *id)
{
    char name[NAME_MAX_BYTES];
    vch_id_t deployment;
    vch_deployment_value_t d;
    VCH_TRY(split(q, id, 1, name, NULL));
    VCH_TRY(vch_resolve(q->l, 'y', name, &deployment, q->err));
    vch_state_key_t key = vch_key_id('y', deployment.b);
    VCH_TRY(get_value(q->l, &key, &q->value, q->err));
    VCH_TRY(vch_deployment_get(&d, vch_buf_slice(&q->value)));
    vch_id_t model = d.model, party = d.party;
    VCH_TRY(about_model(q, &model));
    set_owner(&q->about, &party);
    return VCH_OK;
}

static vch_rc about_consent(asked_t *q, const char *id)
{
    char name[NAME_MAX_BYTES];
    uint64_t subject;
    vch_id_t dataset;
    VCH_TRY(split(q, id, 1, name, &subject));
    VCH_TRY(vch_resolve(q->l, 'd', name, &dataset, q->err));
    add_dataset(&q->about, &dataset);
    q->about.has_subject = true;
    q->about.subject = (uint32_t)subject;
    return VCH_OK;
}

static vch_rc about_dataset(asked_t *q, const char *name)
{
    vch_id_t dataset;
    VCH_TRY(vch_resolve(q->l, 'd', name, &dataset, q->err));
    add_dataset(&q->about, &dataset);
    return VCH_OK;
}

static vch_rc about_row(asked_t *q, const char *id)
{
    char name[NAME_MAX_BYTES];
    uint64_t number[2];
    vch_id_t run;
    VCH_TRY(split(q, id, 2, name, number));
    VCH_TRY(vch_resolve(q->l, 'r', name, &run, q->err));
    q->about.closed = true;
    return about_run(q, &run);
}

static vch_rc ask(vch_ledger_t *l, vch_rc (*about)(asked_t *, const char *), const char *id, vch_about_t *ret,
                  vch_err_t *err)
{
    asked_t q = {.l = l, .err = err};
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_buf_init(&q.value, VCH_TX_BYTES_MAX);
    vch_rc rc = about(&q, id);
    vch_buf_free(&q.value);
    vch_ledger_read_end(l);
    if (rc == VCH_OK) *ret = q.about;
    return nd_told(rc, err);
}

vch_rc vch_about_consents(vch_ledger_t *l, const char *of, vch_about_t *ret, vch_err_t *err)
{
    if (!of || !*of) return vch_fail(err, VCH_ERR_USAGE, "consents are listed of DATASET or DATASET/SUBJECT");
    return ask(l, strchr(of, '/') ? about_consent : about_dataset, of, ret, err);
}

/* The row's subject is looked up outside of the lock. */
static vch_rc about_row_subject(vch_ledger_t *l, const char *id, vch_about_t *ret, vch_err_t *err)
{
    char name[NAME_MAX_BYTES];
    uint64_t number[2];
    asked_t q = {.l = l, .err = err};
    VCH_TRY(ask(l, about_row, id, ret, err));
    VCH_TRY(split(&q, id, 2, name, number));
    VCH_TRY(vch_row_subject(l, &ret->dataset[0], (uint32_t)number[1], (uint32_t)number[0], &ret->subject, err));
    ret->has_subject = true;
    return VCH_OK;
}

/* The rows of all others in its extents are listed beside: it is the dataset's. */
static vch_rc about_erasure(vch_ledger_t *l, const char *id, vch_about_t *ret, vch_err_t *err)
{
    uint64_t index;
    bool personal = false;
    if (strchr(id, '/')) {
        VCH_TRY(ask(l, about_consent, id, ret, err));
    } else {
        VCH_TRY(vch_entry_find(l, id, &index, NULL, err));
        VCH_TRY(vch_about_entry(l, index, &personal, ret, err));
        if (!personal) return vch_fail(err, VCH_ERR_USAGE, "entry %llu erases nothing", (unsigned long long)index);
    }
    ret->has_subject = false;
    return VCH_OK;
}

vch_rc vch_about_bundle(vch_ledger_t *l, const char *what, const char *id, vch_about_t *ret, vch_err_t *err)
{
    static const struct {
        const char *what;
        vch_rc (*about)(asked_t *, const char *);
    } kind[] = {
        {"decision", about_decision}, {"access", about_grant}, {"consent", about_consent}, {"lineage", about_lineage}};
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++)
        if (strcmp(what, kind[i].what) == 0) return ask(l, kind[i].about, id, ret, err);
    if (strcmp(what, "row") == 0) return about_row_subject(l, id, ret, err);
    if (strcmp(what, "erasure") == 0) return about_erasure(l, id, ret, err);
    return vch_fail(err, VCH_ERR_USAGE,
                    "evidence of a \"%.40s\"? There is: decision, access, consent, row, lineage, "
                    "erasure",
                    what);
}

/* ---- entries ---------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *extent;
    vch_id_t dataset;
    bool found;
} extent_search_t;

static vch_rc match_extent(void *ctx, vch_slice_t key, vch_slice_t value)
{
    extent_search_t *s = ctx;
    vch_extent_value_t e;
    VCH_TRY(vch_extent_get(&e, value));
    if (s->found || key.n != 37 || memcmp(e.id.b, s->extent, 32) != 0) return VCH_OK;
    s->found = true;
    memcpy(s->dataset.b, key.p + 1, 32);
    return VCH_OK;
}

/* A piece of a row -> subject column names an extent, whose dataset is known
 * once its version is logged. */
static vch_rc about_piece(asked_t *q, const vch_statement_t *st)
{
    vch_hash_t extent;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_PIECE_EXTENT, extent.b, 32));
    extent_search_t s = {.extent = extent.b};
    VCH_TRY(vch_state_each(q->l->state, 'e', match_extent, &s));
    if (s.found)
        add_dataset(&q->about, &s.dataset);
    else
        q->about.unclear = true;
    return VCH_OK;
}

static vch_rc about_saying(asked_t *q, const vch_statement_t *st, bool first)
{
    vch_id_t named; /* a version by own access, else the dataset */
    uint64_t subject;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_CONSENT_DATASET, named.b, 32));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_CONSENT_SUBJECT, &subject));
    if (st->kind == VCH_KIND_OWN_ACCESS)
        VCH_TRY(about_version(q, &named));
    else
        add_dataset(&q->about, &named);
    if (first) {
        q->about.has_subject = true;
        q->about.subject = (uint32_t)subject;
    }
    if (q->about.datasets != 1 || q->about.subject != subject) q->about.has_subject = false;
    return VCH_OK;
}

static vch_rc about_statements(asked_t *q, const vch_log_entry_t *e, bool pieces)
{
    for (uint32_t i = 0; i < e->record.count; i++) {
        vch_statement_t st;
        if (e->record.erased && e->record.erased[i]) continue; /* says nothing any more */
        VCH_TRY(vch_statement_read(&st, e->record.statements[i], q->err));
        VCH_TRY(pieces ? about_piece(q, &st) : about_saying(q, &st, i == 0));
    }
    return VCH_OK;
}

static vch_rc about_signer(asked_t *q, const vch_log_entry_t *e)
{
    vch_entry_t entry;
    vch_known_t known;
    VCH_TRY(vch_entry_read(&entry, e->record.entry, q->err));
    vch_rc rc = known_key(q->l, &entry.cose.kid, &known, &q->value, NULL);
    if (rc == VCH_OK) set_owner(&q->about, &known.party);
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

/* Only of kinds about subjects is more asked than what kind it is.  Whoever
 * signed a piece of a column is its custodian; whoever carried a consent got no
 * right over it. */
static vch_rc about_entry(asked_t *q, uint64_t index, vch_arena_t *arena, bool *ret_personal)
{
    vch_log_entry_t e;
    vch_kind_t kind;
    VCH_TRY(vch_log_read(q->l->log, index, arena, &e, q->err));
    VCH_TRY(vch_leaf_kind(&kind, e.record.entry));
    const vch_schema_t *schema = vch_schema(kind); /* none for what the state machine wrote */
    *ret_personal = kind == VCH_KIND_SUBJECTS || (schema && schema->owner_signed);
    if (!*ret_personal) return VCH_OK;
    if (kind == VCH_KIND_SUBJECTS) VCH_TRY(about_signer(q, &e));
    return about_statements(q, &e, kind == VCH_KIND_SUBJECTS);
}

vch_rc vch_about_entry(vch_ledger_t *l, uint64_t index, bool *ret_personal, vch_about_t *ret, vch_err_t *err)
{
    asked_t q = {.l = l, .err = err};
    vch_arena_t arena;
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_buf_init(&q.value, VCH_TX_BYTES_MAX);
    vch_arena_init(&arena, 64u << 20);
    vch_rc rc = about_entry(&q, index, &arena, ret_personal);
    vch_arena_free(&arena);
    vch_buf_free(&q.value);
    vch_ledger_read_end(l);
    if (rc == VCH_OK) *ret = q.about;
    return nd_told(rc, err);
}

/* ---- who may know ---------------------------------------------------------------------------- */

typedef struct {
    const vch_asker_t *asker;
    vch_id_t *version; /* of the asker's live grants */
    size_t n, cap;
} live_t;

static vch_rc take_live(void *ctx, vch_slice_t key, vch_slice_t value)
{
    live_t *t = ctx;
    vch_grant_value_t g;
    (void)key;
    VCH_TRY(vch_grant_get(&g, value));
    if (!g.permit || g.expires.ms <= t->asker->now.ms || !vch_id_eq(&g.party, t->asker->party)) return VCH_OK;
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 8;
        vch_id_t *more = vch_resize(t->version, cap * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        t->version = more;
        t->cap = cap;
    }
    t->version[t->n++] = g.version;
    return VCH_OK;
}

/* *ret: a live grant on this dataset; dataset NULL: on any. */
static vch_rc has_grant(asked_t *q, const vch_asker_t *asker, const vch_id_t *dataset, bool *ret)
{
    live_t t = {.asker = asker};
    vch_rc rc = vch_state_each(q->l->state, 'a', take_live, &t);
    bool found = !dataset && t.n;
    for (size_t i = 0; rc == VCH_OK && dataset && !found && i < t.n; i++) {
        vch_version_value_t v;
        vch_state_key_t key = vch_key_id('v', t.version[i].b);
        rc = get_value(q->l, &key, &q->value, q->err);
        if (rc == VCH_OK) rc = vch_version_get(&v, vch_buf_slice(&q->value));
        if (rc == VCH_OK) found = vch_id_eq(&v.dataset, dataset);
    }
    vch_free(t.version);
    *ret = found;
    return rc;
}

static vch_rc is_custodian(asked_t *q, const vch_id_t *dataset, const vch_id_t *party, bool *ret)
{
    vch_dataset_value_t d;
    vch_state_key_t key = vch_key_id('d', dataset->b);
    *ret = false;
    vch_rc rc = get_value(q->l, &key, &q->value, q->err);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    VCH_TRY(rc);
    VCH_TRY(vch_dataset_get(&d, vch_buf_slice(&q->value)));
    *ret = vch_id_eq(&d.custodian, party);
    return VCH_OK;
}

static vch_rc as_party(asked_t *q, const vch_about_t *a, const vch_asker_t *asker, bool *ret)
{
    *ret = a->has_owner && vch_id_eq(&a->owner, asker->party);
    if (*ret || a->unclear || a->datasets == 0) return VCH_OK;
    for (size_t i = 0; i < a->datasets; i++) {
        bool may;
        VCH_TRY(is_custodian(q, &a->dataset[i], asker->party, &may));
        if (!may && !a->closed) VCH_TRY(has_grant(q, asker, &a->dataset[i], &may));
        if (!may) return VCH_OK;
    }
    *ret = true;
    return VCH_OK;
}

/* The key that the state knows; before the subject's first own statement only
 * the custodian's files tell it.  *ret_known: the state does. */
static vch_rc state_key(asked_t *q, const vch_about_t *a, vch_keyid_t *ret, bool *ret_known)
{
    vch_state_key_t key = vch_key_id_u32('S', a->dataset[0].b, a->subject);
    vch_rc rc = get_value(q->l, &key, &q->value, q->err);
    *ret_known = rc == VCH_OK && q->value.n == 32;
    if (*ret_known) memcpy(ret->b, q->value.p, 32);
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static vch_rc subject_exists(asked_t *q, const vch_about_t *a, bool *ret)
{
    vch_dataset_value_t d;
    vch_state_key_t key = vch_key_id('d', a->dataset[0].b);
    *ret = false;
    vch_rc rc = get_value(q->l, &key, &q->value, q->err);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    VCH_TRY(rc);
    VCH_TRY(vch_dataset_get(&d, vch_buf_slice(&q->value)));
    *ret = a->subject < d.subjects;
    return VCH_OK;
}

/* *ret_ask: only the custodian's files can tell. */
static vch_rc as_subject(asked_t *q, const vch_about_t *a, const vch_asker_t *asker, bool *ret, bool *ret_ask)
{
    vch_keyid_t key;
    bool exists, known;
    VCH_TRY(subject_exists(q, a, &exists));
    if (!exists) return VCH_OK;
    VCH_TRY(state_key(q, a, &key, &known));
    *ret = known && vch_keyid_eq(&key, asker->key);
    *ret_ask = !known;
    return VCH_OK;
}

static vch_rc may_know(asked_t *q, const vch_about_t *a, const vch_asker_t *asker, vch_may_t *ret, bool *ret_ask)
{
    bool may = false;
    if (asker->party) VCH_TRY(as_party(q, a, asker, &may));
    if (may) *ret = VCH_MAY_AS_PARTY;
    if (may || !asker->key || !a->has_subject || a->datasets != 1 || a->unclear) return VCH_OK;
    VCH_TRY(as_subject(q, a, asker, &may, ret_ask));
    if (may) *ret = VCH_MAY_AS_SUBJECT;
    return VCH_OK;
}

vch_rc vch_may_know(vch_ledger_t *l, const vch_about_t *a, const vch_asker_t *asker, vch_may_t *ret, vch_err_t *err)
{
    asked_t q = {.l = l, .err = err};
    vch_may_t may = VCH_MAY_NOT;
    vch_keyid_t key;
    bool look = false;
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_buf_init(&q.value, VCH_TX_BYTES_MAX);
    vch_rc rc = may_know(&q, a, asker, &may, &look);
    vch_buf_free(&q.value);
    vch_ledger_read_end(l);
    if (rc != VCH_OK) return nd_told(rc, err);
    if (look && vch_subject_given_key(l, &a->dataset[0], a->subject, &key, NULL) == VCH_OK &&
        vch_keyid_eq(&key, asker->key))
        may = VCH_MAY_AS_SUBJECT;
    *ret = may;
    return VCH_OK;
}

typedef struct {
    const vch_id_t *party;
    char tag;
    bool found;
} some_t;

static vch_rc match_some(void *ctx, vch_slice_t key, vch_slice_t value)
{
    some_t *s = ctx;
    vch_dataset_value_t d;
    vch_model_value_t m;
    (void)key;
    if (s->found) return VCH_OK;
    if (s->tag == 'd') {
        VCH_TRY(vch_dataset_get(&d, value));
        s->found = vch_id_eq(&d.custodian, s->party);
    } else {
        VCH_TRY(vch_model_get(&m, value));
        s->found = vch_id_eq(&m.party, s->party);
    }
    return VCH_OK;
}

static vch_rc may_know_some(asked_t *q, const vch_asker_t *asker, bool *ret)
{
    some_t s = {.party = asker->party, .tag = 'd'};
    VCH_TRY(vch_state_each(q->l->state, 'd', match_some, &s));
    s.tag = 'm';
    if (!s.found) VCH_TRY(vch_state_each(q->l->state, 'm', match_some, &s));
    *ret = s.found;
    return s.found ? VCH_OK : has_grant(q, asker, NULL, ret);
}

vch_rc vch_may_know_some(vch_ledger_t *l, const vch_asker_t *asker, bool *ret, vch_err_t *err)
{
    asked_t q = {.l = l, .err = err};
    *ret = false;
    if (!asker->party) return VCH_OK;
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_buf_init(&q.value, VCH_TX_BYTES_MAX);
    vch_rc rc = may_know_some(&q, asker, ret);
    vch_buf_free(&q.value);
    vch_ledger_read_end(l);
    return nd_told(rc, err);
}
