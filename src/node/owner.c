/* SPDX-License-Identifier: Apache-2.0 */
/* Consents, withdrawals, erasures: signed by owners' wallets and carried by
 * anybody, or recorded from paper by the custodian. */
#include "codec/cbor.h"
#include "node/custody_int.h"
#include "node/node_int.h"
#include "node/remote_int.h"
#include "node/wallet_int.h"

/* Statements of one entry: well below the limits of a transaction. */
#define STATEMENTS_AT_ONCE 1000u
#define BYTES_AT_ONCE (880u << 10)
#define STATEMENT_EXTRA 32u /* salt, kind and heads around the fields */

/* What one subject says, or what is recorded for one. */
typedef struct {
    const nd_own_ask_t *own; /* own access; NULL: none, and nothing else counts with it but the subject */
    uint32_t subject, owner; /* owner: of the wallet */
    bool give, erase, has_terms, has_evidence; /* neither give nor erase: withdraw */
    vch_hash_t terms, evidence;
    uint32_t until;
} saying_t;

typedef struct {
    vch_ledger_t *l;
    const vch_signer_t *signer;
    const vch_wallet_t *wallet; /* NULL: recorded by the custodian */
    vch_err_t *err;
    vch_id_t dataset;
    vch_key_tree_t *tree; /* NULL on a remote handle */
    bool as_owner;        /* the node tells only subjects themselves */
    vch_buf_t batch;      /* fields back to back */
    size_t ends[STATEMENTS_AT_ONCE];
    size_t n;
    table_t serials; /* subject -> the next serial, for what the batch holds already */
    vch_receipt_t receipt;
    uint64_t written;
} speech_t;

static vch_rc named(speech_t *s, vch_rc rc)
{
    return rc == VCH_OK ? rc : vch_fail(s->err, rc, "the statement can't be written: %s", vch_rc_text(rc));
}

/* ---- what the ledger knows of a subject ----------------------------------------------- */

typedef struct {
    uint32_t serial; /* of the statement that counts now */
    bool key_known;
    vch_keyid_t key;
    rm_subject_t told; /* by a node */
} standing_t;

static vch_rc known_key(speech_t *s, uint32_t subject, standing_t *ret)
{
    vch_state_key_t key = vch_key_id_u32('S', s->dataset.b, subject);
    vch_buf_t value;
    vch_rc rc = state_value(s->l, &key, &value, s->err);
    ret->key_known = rc == VCH_OK && value.n == 32;
    if (ret->key_known) memcpy(ret->key.b, value.p, 32);
    vch_buf_free(&value);
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

/* A node tells it the party that asks, or else the subject itself. */
static vch_rc told_standing(speech_t *s, uint32_t subject, const vch_signer_t *owner, standing_t *ret)
{
    vch_rc rc = s->as_owner ? VCH_ERR_ROLE : nd_remote_subject(s->l, &s->dataset, subject, NULL, &ret->told, s->err);
    if (rc == VCH_ERR_ROLE && owner) {
        s->as_owner = true;
        rc = nd_remote_subject(s->l, &s->dataset, subject, owner, &ret->told, s->err);
    }
    VCH_TRY(rc);
    ret->serial = ret->told.serial;
    ret->key_known = ret->told.known;
    ret->key = ret->told.key;
    return VCH_OK;
}

static vch_rc read_standing(speech_t *s, uint32_t subject, standing_t *ret)
{
    vch_cell_t cell;
    VCH_TRY(vch_ledger_read_begin(s->l, s->err));
    vch_rc rc = vch_state_cell(s->l->state, &s->dataset, subject, &cell, s->err);
    if (rc == VCH_OK) rc = known_key(s, subject, ret);
    vch_ledger_read_end(s->l);
    if (rc == VCH_OK) ret->serial = cell.serial;
    return rc;
}

/* ret->serial becomes that of the next statement. */
static vch_rc standing(speech_t *s, uint32_t subject, const vch_signer_t *owner, standing_t *ret)
{
    VCH_TRY(s->l->remote ? told_standing(s, subject, owner, ret) : read_standing(s, subject, ret));
    uint8_t digest[16];
    vch_slice_t name = vch_slice(&subject, sizeof subject);
    table_digest(digest, name);
    uint64_t *next = table_get(&s->serials, digest);
    if (!next && ret->serial == UINT32_MAX)
        return vch_fail(s->err, VCH_ERR_LIMIT, "subject %u has used all its serials", subject);
    ret->serial = next ? (uint32_t)(*next - 1) : ret->serial + 1;
    return named(s, table_put(&s->serials, digest, (uint64_t)ret->serial + 1));
}

/* ---- a statement ------------------------------------------------------------------------ */

typedef struct {
    const vch_signer_t *owner; /* NULL: recorded */
    standing_t standing;
    bool prove;
    uint32_t first;
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t path_n;
} authority_t;

static vch_rc put_proof(vch_buf_t *b, const authority_t *a)
{
    VCH_TRY(vch_cbor_uint(b, VCH_F_CONSENT_KEY_PROOF));
    VCH_TRY(vch_cbor_map(b, 2));
    VCH_TRY(vch_cbor_uint(b, VCH_F_KEYPROOF_FIRST));
    VCH_TRY(vch_cbor_uint(b, a->first));
    VCH_TRY(vch_cbor_uint(b, VCH_F_KEYPROOF_PATH));
    VCH_TRY(vch_cbor_array(b, a->path_n));
    for (size_t i = 0; i < a->path_n; i++) VCH_TRY(vch_cbor_bytes(b, a->path[i].b, 32));
    return VCH_OK;
}

static vch_rc put_bytes(vch_buf_t *b, uint64_t key, const void *p, size_t n)
{
    VCH_TRY(vch_cbor_uint(b, key));
    return vch_cbor_bytes(b, p, n);
}

static vch_rc put_uint(vch_buf_t *b, uint64_t key, uint64_t v)
{
    VCH_TRY(vch_cbor_uint(b, key));
    return vch_cbor_uint(b, v);
}

static vch_rc put_fields(vch_buf_t *b, const speech_t *s, const saying_t *w, const authority_t *a)
{
    unsigned pairs = 4u + w->has_terms + w->give + w->has_evidence + (a->owner ? 1 : 0) + a->prove;
    VCH_TRY(vch_cbor_map(b, pairs));
    VCH_TRY(put_bytes(b, VCH_F_CONSENT_DATASET, s->dataset.b, 32));
    VCH_TRY(put_uint(b, VCH_F_CONSENT_SUBJECT, w->subject));
    if (w->has_terms) VCH_TRY(put_bytes(b, VCH_F_CONSENT_TERMS, w->terms.b, 32));
    if (w->give) VCH_TRY(put_uint(b, VCH_F_CONSENT_UNTIL, w->until));
    VCH_TRY(put_uint(b, VCH_F_CONSENT_HOW, a->owner ? VCH_HOW_OWNER : VCH_HOW_RECORDED));
    if (w->has_evidence) VCH_TRY(put_bytes(b, VCH_F_CONSENT_EVIDENCE, w->evidence.b, 32));
    if (a->owner) {
        vch_slice_t key = vch_pubkey_bytes(vch_signer_public(a->owner));
        VCH_TRY(put_bytes(b, VCH_F_CONSENT_KEY, key.p, key.n));
    }
    if (a->prove) VCH_TRY(put_proof(b, a));
    return put_uint(b, VCH_F_CONSENT_SERIAL, a->standing.serial);
}

static vch_rc put_own_fields(vch_buf_t *b, const saying_t *w, const authority_t *a)
{
    vch_slice_t key = vch_pubkey_bytes(vch_signer_public(a->owner));
    VCH_TRY(vch_cbor_map(b, 6u + a->prove));
    VCH_TRY(put_bytes(b, VCH_F_OWN_VERSION, w->own->version.b, 32));
    VCH_TRY(put_uint(b, VCH_F_CONSENT_SUBJECT, w->subject));
    VCH_TRY(vch_cbor_uint(b, VCH_F_OWN_GROUPS));
    VCH_TRY(vch_cbor_array(b, (uint64_t)__builtin_popcount(w->own->groups)));
    for (unsigned g = 0; g < VCH_GROUPS_MAX; g++)
        if (w->own->groups >> g & 1) VCH_TRY(vch_cbor_uint(b, g));
    VCH_TRY(put_bytes(b, VCH_F_OWN_ONE_TIME_KEY, w->own->once, 32));
    VCH_TRY(put_bytes(b, VCH_F_CONSENT_KEY, key.p, key.n));
    if (a->prove) VCH_TRY(put_proof(b, a));
    return put_uint(b, VCH_F_CONSENT_SERIAL, a->standing.serial);
}

static vch_kind_t kind_of(const saying_t *w)
{
    if (w->own) return VCH_KIND_OWN_ACCESS;
    if (w->erase) return VCH_KIND_ERASE;
    return w->give ? VCH_KIND_CONSENT : VCH_KIND_WITHDRAW;
}

static vch_rc put_signed(speech_t *s, const saying_t *w, const authority_t *a)
{
    vch_kind_t kind = kind_of(w);
    vch_buf_t fields;
    vch_buf_init(&fields, 8192);
    vch_rc rc = named(s, w->own ? put_own_fields(&fields, w, a) : put_fields(&fields, s, w, a));
    if (rc == VCH_OK && a->owner)
        rc = vch_owner_sign(&s->batch, &s->l->network, kind, vch_buf_slice(&fields), a->owner, s->err);
    else if (rc == VCH_OK)
        rc = named(s, vch_buf_put(&s->batch, fields.p, fields.n));
    vch_buf_free(&fields);
    return rc;
}

/* An own key must be the one that the subject got at ingest, and the first
 * statement proves it. */
static vch_rc find_authority(speech_t *s, const saying_t *w, authority_t *a)
{
    if (!a->owner) return VCH_OK;
    vch_keyid_t mine = vch_pubkey_id(vch_signer_public(a->owner)), theirs = a->standing.key;
    const rm_subject_t *told = &a->standing.told;
    if (s->l->remote && !told->has_key)
        return vch_fail(s->err, VCH_ERR_KEY, "the node can't tell whose subject %u is", w->subject);
    if (!a->standing.key_known && s->l->remote) {
        a->first = told->first;
        a->path_n = told->path_n;
        memcpy(a->path, told->path, sizeof a->path);
        a->prove = true;
    } else if (!a->standing.key_known) {
        VCH_TRY(vch_key_tree_path(s->tree, w->subject, &theirs, &a->first, a->path, &a->path_n, s->err));
        a->prove = true;
    }
    if (vch_keyid_eq(&mine, &theirs)) return VCH_OK;
    vch_fail(s->err, VCH_ERR_KEY, "owner %u of the wallet does not hold the key of subject %u", w->owner, w->subject);
    return vch_hint(s->err, VCH_ERR_KEY, "a subject's key is given by the owners' file when its rows are added");
}

static vch_rc say(speech_t *s, const saying_t *w)
{
    authority_t a = {0};
    vch_signer_t *owner = NULL;
    if (s->wallet) VCH_TRY(vch__wallet_signer(s->wallet, w->owner, &s->l->network, &s->dataset, &owner, s->err));
    a.owner = owner;
    vch_rc rc = standing(s, w->subject, owner, &a.standing);
    if (rc == VCH_OK) rc = find_authority(s, w, &a);
    if (rc == VCH_OK) rc = put_signed(s, w, &a);
    vch_signer_free(owner);
    if (rc == VCH_OK) s->ends[s->n++] = s->batch.n;
    return rc;
}

/* ---- entries of many statements -------------------------------------------------------------- */

static void clear_batch(speech_t *s)
{
    vch_buf_clear(&s->batch);
    table_free(&s->serials);
    s->n = 0;
}

static vch_rc write_batch(speech_t *s, vch_kind_t kind)
{
    vch_slice_t fields[STATEMENTS_AT_ONCE];
    for (size_t i = 0; i < s->n; i++) {
        size_t start = i ? s->ends[i - 1] : 0;
        fields[i] = vch_slice(s->batch.p + start, s->ends[i] - start);
    }
    return vch_ledger_write(s->l, s->signer, kind, fields, s->n, &s->receipt, s->err);
}

/* The longest run that one entry holds: same kind, within the limits. */
static vch_rc fill_batch(speech_t *s, const saying_t *w, size_t n, size_t *ret)
{
    clear_batch(s);
    for (*ret = 0; *ret < n && s->n < STATEMENTS_AT_ONCE; ++*ret) {
        if (kind_of(&w[*ret]) != kind_of(&w[0])) break;
        if (s->batch.n + s->n * STATEMENT_EXTRA > BYTES_AT_ONCE) break;
        if (s->n && vch_schema(kind_of(&w[0]))->single) break;
        VCH_TRY(say(s, &w[*ret]));
    }
    return VCH_OK;
}

/* When another process took a serial in between, what is in force is read
 * again, once. */
static vch_rc say_some(speech_t *s, const saying_t *w, size_t n, size_t *ret)
{
    vch_kind_t kind = kind_of(&w[0]);
    VCH_TRY(fill_batch(s, w, n, ret));
    vch_rc rc = write_batch(s, kind);
    if (rc != VCH_ERR_REPLAY) return rc;
    VCH_TRY(fill_batch(s, w, n, ret));
    return write_batch(s, kind);
}

static vch_rc say_all(speech_t *s, const saying_t *w, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t said = 0;
        vch_rc rc = say_some(s, w + at, n - at, &said);
        if (rc != VCH_OK && s->written)
            return vch_context(s->err, rc, "%llu of %zu statements are on the ledger; the next",
                               (unsigned long long)s->written, n);
        VCH_TRY(rc);
        at += said;
        s->written += said;
    }
    return VCH_OK;
}

static vch_rc speech_begin(vch_ledger_t *l, const vch_signer_t *signer, const vch_wallet_t *wallet,
                           const vch_id_t *dataset, speech_t **ret, vch_err_t *err)
{
    speech_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    s->l = l;
    s->signer = signer;
    s->wallet = wallet;
    s->dataset = *dataset;
    s->err = err;
    vch_buf_init(&s->batch, VCH_TX_BYTES_MAX);
    vch_rc rc = wallet && !l->remote ? vch_key_tree_open(&s->tree, l, dataset, err) : VCH_OK;
    if (rc == VCH_OK)
        *ret = s;
    else
        vch_free(s);
    return rc;
}

static void speech_end(speech_t *s)
{
    vch_key_tree_close(s->tree);
    table_free(&s->serials);
    vch_buf_free(&s->batch);
    vch_free(s);
}

static vch_rc find_named(vch_ledger_t *l, char tag, const char *name, vch_id_t *ret, vch_err_t *err)
{
    VCH_TRY(vch_look_begin(l, err));
    vch_rc rc = vch_resolve(l, tag, name, ret, err);
    vch_look_end(l);
    return rc;
}

/* ---- owners' own ------------------------------------------------------------------------------ */

typedef struct {
    const vch_wallet_t *wallet;
    const uint32_t *subjects, *owners;
    size_t n;
    const char *terms;
    uint32_t until;
    bool give, erase;
} own_t;

static vch_rc subject_once(table_t *seen, uint32_t subject, vch_err_t *err)
{
    uint8_t digest[16];
    table_digest(digest, vch_slice(&subject, sizeof subject));
    if (table_get(seen, digest)) return vch_fail(err, VCH_ERR_USAGE, "subject %u is named twice", subject);
    vch_rc rc = table_put(seen, digest, 0);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "out of memory");
}

static vch_rc own_sayings(vch_ledger_t *l, const own_t *o, saying_t *w, vch_err_t *err)
{
    vch_id_t terms = {{0}};
    table_t seen = {0};
    vch_rc rc = VCH_OK;
    if (o->terms) VCH_TRY(find_named(l, 't', o->terms, &terms, err));
    for (size_t i = 0; rc == VCH_OK && i < o->n; i++) {
        w[i] = (saying_t){.subject = o->subjects[i], .give = o->give, .erase = o->erase, .until = o->until};
        if (o->owners) w[i].owner = o->owners[i];
        w[i].has_terms = o->terms != NULL;
        memcpy(w[i].terms.b, terms.b, 32);
        rc = subject_once(&seen, o->subjects[i], err);
    }
    table_free(&seen);
    return rc;
}

static vch_rc say_own(vch_ledger_t *l, const vch_signer_t *carrier, const char *dataset, const own_t *o,
                      vch_receipt_t *ret, vch_err_t *err)
{
    vch_id_t id;
    speech_t *s = NULL;
    if (o->n == 0) return vch_fail(err, VCH_ERR_USAGE, "no subject is named");
    if (!o->wallet && !o->erase) return vch_fail(err, VCH_ERR_USAGE, "owners' own statements need their wallet");
    VCH_TRY(find_named(l, 'd', dataset, &id, err));
    saying_t *w = vch_alloc_array(o->n, sizeof *w);
    if (!w) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = own_sayings(l, o, w, err);
    if (rc == VCH_OK) rc = speech_begin(l, carrier, o->wallet, &id, &s, err);
    if (rc == VCH_OK) {
        rc = say_all(s, w, o->n);
        if (rc == VCH_OK) {
            *ret = s->receipt;
            ret->count = (uint32_t)o->n;
        }
        speech_end(s);
    }
    vch_free(w);
    return rc;
}

vch_rc vch_consent_give(vch_ledger_t *l, const vch_signer_t *carrier, const vch_wallet_t *wallet, const char *dataset,
                        const uint32_t *subjects, const uint32_t *owners, size_t n, const char *terms,
                        uint32_t until_day, vch_receipt_t *ret, vch_err_t *err)
{
    own_t o = {wallet, subjects, owners, n, terms, until_day, true, false};
    if (!terms || !*terms) return vch_fail(err, VCH_ERR_USAGE, "a consent names its terms");
    return nd_told(say_own(l, carrier, dataset, &o, ret, err), err);
}

vch_rc vch_consent_withdraw(vch_ledger_t *l, const vch_signer_t *carrier, const vch_wallet_t *wallet,
                            const char *dataset, const uint32_t *subjects, const uint32_t *owners, size_t n,
                            const char *terms, vch_receipt_t *ret, vch_err_t *err)
{
    own_t o = {wallet, subjects, owners, n, terms, 0, false, false};
    return nd_told(say_own(l, carrier, dataset, &o, ret, err), err);
}

vch_rc nd_say_erase(vch_ledger_t *l, const vch_signer_t *carrier, const vch_wallet_t *wallet, const char *dataset,
                    const uint32_t *subjects, const uint32_t *owners, size_t n, vch_receipt_t *ret, vch_err_t *err)
{
    own_t o = {wallet, subjects, owners, n, NULL, 0, false, true};
    return say_own(l, carrier, dataset, &o, ret, err);
}

vch_rc nd_say_own_access(vch_ledger_t *l, const vch_signer_t *carrier, const vch_wallet_t *wallet, uint32_t subject,
                         uint32_t owner, const nd_own_ask_t *ask, vch_receipt_t *ret, vch_err_t *err)
{
    speech_t *s = NULL;
    saying_t w = {.own = ask, .subject = subject, .owner = owner};
    VCH_TRY(speech_begin(l, carrier, wallet, &ask->dataset, &s, err));
    vch_rc rc = say_all(s, &w, 1);
    if (rc == VCH_OK) *ret = s->receipt;
    speech_end(s);
    return rc;
}

/* ---- recorded from paper ------------------------------------------------------------------------- */

#define TERMS_KEPT 64u

typedef struct {
    vch_ledger_t *l;
    vch_err_t *err;
    csv_file_t csv;
    dataset_t ds;
    table_t persons;
    saying_t *w;
    size_t n, cap;
    struct {
        char name[260];
        vch_id_t id;
    } terms[TERMS_KEPT];
    size_t terms_n;
} paper_t;

static vch_rc refuse_line(paper_t *p, vch_rc rc, const char *why, vch_slice_t what)
{
    return vch_fail(p->err, rc, "%s line %llu: %s \"%.*s\"", p->csv.path, (unsigned long long)p->csv.csv.line, why,
                    (int)vch_min(what.n, 100), (const char *)what.p);
}

static vch_rc find_terms(paper_t *p, vch_slice_t name, vch_hash_t *ret)
{
    for (size_t i = 0; i < p->terms_n; i++) {
        if (!vch_slice_eq(vch_str(p->terms[i].name), name)) continue;
        memcpy(ret->b, p->terms[i].id.b, 32);
        return VCH_OK;
    }
    size_t at = p->terms_n < TERMS_KEPT ? p->terms_n : TERMS_KEPT - 1;
    if (name.n >= sizeof p->terms[at].name) return refuse_line(p, VCH_ERR_LIMIT, "no terms have so long a name:", name);
    memcpy(p->terms[at].name, name.p, name.n);
    p->terms[at].name[name.n] = 0;
    vch_rc rc = find_named(p->l, 't', p->terms[at].name, &p->terms[at].id, p->err);
    if (rc != VCH_OK) return vch_context(p->err, rc, "%s line %llu", p->csv.path, (unsigned long long)p->csv.csv.line);
    p->terms_n = at + 1;
    memcpy(ret->b, p->terms[at].id.b, 32);
    return VCH_OK;
}

static vch_rc read_action(paper_t *p, saying_t *w)
{
    vch_slice_t action = vch_csv_cell(&p->csv.csv, 3), terms = vch_csv_cell(&p->csv.csv, 1);
    vch_slice_t until = vch_csv_cell(&p->csv.csv, 2);
    w->give = vch_slice_eq(action, vch_str("give"));
    if (!w->give && !vch_slice_eq(action, vch_str("withdraw")))
        return refuse_line(p, VCH_ERR_FORMAT, "the action is give or withdraw, not", action);
    w->has_terms = terms.n > 0;
    if (w->give && !w->has_terms) return refuse_line(p, VCH_ERR_FORMAT, "a consent names its terms, not", terms);
    if (w->has_terms) VCH_TRY(find_terms(p, terms, &w->terms));
    if (w->give && vch_day_get(&w->until, until) != VCH_OK)
        return refuse_line(p, VCH_ERR_FORMAT, "until is a day like 2027-12-31, not", until);
    return VCH_OK;
}

static vch_rc read_line(paper_t *p, saying_t *w)
{
    uint8_t digest[16];
    const vch_csv_t *c = &p->csv.csv;
    if (c->count != 4 && c->count != 5)
        return refuse_line(p, VCH_ERR_FORMAT, "a line is SUBJECT,TERMS,UNTIL,give|withdraw[,EVIDENCE], not one of",
                           vch_csv_cell(c, 0));
    table_digest(digest, vch_csv_cell(c, 0));
    uint64_t *subject = table_get(&p->persons, digest);
    if (!subject) return refuse_line(p, VCH_ERR_NOT_FOUND, "the dataset has no subject", vch_csv_cell(c, 0));
    w->subject = (uint32_t)(*subject - 1);
    VCH_TRY(read_action(p, w));
    vch_slice_t evidence = c->count == 5 ? vch_csv_cell(c, 4) : vch_slice(NULL, 0);
    w->has_evidence = evidence.n > 0;
    if (w->has_evidence && !vch_unhex(w->evidence.b, 32, (const char *)evidence.p, evidence.n))
        return refuse_line(p, VCH_ERR_FORMAT, "evidence is a SHA-256 in hex, not", evidence);
    return VCH_OK;
}

static vch_rc more_room(paper_t *p)
{
    if (p->n < p->cap) return VCH_OK;
    size_t cap = p->cap ? 2 * p->cap : 256;
    saying_t *w = vch_resize(p->w, cap * sizeof *w);
    if (!w) return vch_fail(p->err, VCH_ERR_MEMORY, "out of memory");
    p->w = w;
    p->cap = cap;
    return VCH_OK;
}

/* A first line that names the columns is stepped over. */
static bool is_heading(const vch_csv_t *c)
{
    return c->line == 1 && vch_slice_eq(vch_csv_cell(c, 0), vch_str("subject")) &&
           vch_slice_eq(vch_csv_cell(c, 1), vch_str("terms"));
}

/* The whole file is understood before anything is written. */
static vch_rc read_paper(paper_t *p, const char *dataset, const char *path)
{
    bool got;
    VCH_TRY(dataset_open(&p->ds, p->l, dataset, false, p->err));
    VCH_TRY(persons_table(p->l, &p->ds, &p->persons, p->err));
    VCH_TRY(csv_open(&p->csv, p->l->port, path, p->err));
    for (;;) {
        VCH_TRY(csv_next(&p->csv, 4, &got, p->err));
        if (!got) break;
        if (is_heading(&p->csv.csv)) continue;
        VCH_TRY(more_room(p));
        p->w[p->n] = (saying_t){0};
        VCH_TRY(read_line(p, &p->w[p->n]));
        p->n++;
    }
    return p->n ? VCH_OK : vch_fail(p->err, VCH_ERR_FORMAT, "%s holds no consents", path);
}

vch_rc vch_consent_record(vch_ledger_t *l, const vch_signer_t *custodian, const char *dataset, const char *csv_path,
                          uint64_t *ret_count, vch_err_t *err)
{
    speech_t *s = NULL;
    paper_t *p = vch_alloc(sizeof *p);
    if (!p) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    p->l = l;
    p->err = err;
    vch_rc rc = read_paper(p, dataset, csv_path);
    if (rc == VCH_OK) rc = speech_begin(l, custodian, NULL, &p->ds.id, &s, err);
    if (rc == VCH_OK) {
        rc = say_all(s, p->w, p->n);
        if (rc == VCH_OK) *ret_count = s->written;
        speech_end(s);
    }
    csv_close(&p->csv);
    table_free(&p->persons);
    dataset_close(&p->ds);
    vch_free(p->w);
    vch_free(p);
    return nd_told(rc, err);
}
