/* SPDX-License-Identifier: Apache-2.0 */
/* A node's answers taken apart.  Whatever comes is somebody else's: every
 * member is looked at, every length has a bound, nothing is believed that the
 * answer itself could prove and doesn't. */
#include <stdio.h>

#include "codec/text.h"
#include "crypto/sha256.h"
#include "node/remote_int.h"

static vch_rc strange(vch_err_t *err, const char *what)
{
    return vch_fail(err, VCH_ERR_FORMAT, "the node's answer can't be understood: %s", what);
}

/* ---- members of a JSON object ---------------------------------------------------------- */

static vch_rc get_number(const vch_json_t *o, const char *name, uint64_t *ret, vch_err_t *err)
{
    const vch_json_t *m = vch_json_get(o, name);
    if (!m || m->type != VCH_JSON_NUMBER || vch_decimal_get(ret, m->text) != VCH_OK)
        return vch_fail(err, VCH_ERR_FORMAT, "the node's answer can't be understood: \"%s\" is no number", name);
    return VCH_OK;
}

static vch_rc get_u32(const vch_json_t *o, const char *name, uint32_t *ret, vch_err_t *err)
{
    uint64_t v;
    VCH_TRY(get_number(o, name, &v, err));
    if (v > UINT32_MAX) return strange(err, "a number is too large");
    *ret = (uint32_t)v;
    return VCH_OK;
}

static vch_rc get_bool(const vch_json_t *o, const char *name, bool *ret, vch_err_t *err)
{
    const vch_json_t *m = vch_json_get(o, name);
    if (!m || m->type != VCH_JSON_BOOL)
        return vch_fail(err, VCH_ERR_FORMAT, "the node's answer can't be understood: \"%s\" is no boolean", name);
    *ret = m->boolean;
    return VCH_OK;
}

static vch_rc unhex32(const vch_json_t *m, void *ret, vch_err_t *err)
{
    if (!m || m->type != VCH_JSON_STRING || !vch_unhex(ret, 32, (const char *)m->text.p, m->text.n))
        return strange(err, "a hash or an id has 64 hex digits");
    return VCH_OK;
}

static vch_rc get_id(const vch_json_t *o, const char *name, void *ret, vch_err_t *err)
{
    return unhex32(vch_json_get(o, name), ret, err);
}

static vch_rc get_text(const vch_json_t *o, const char *name, char *ret, size_t max, vch_err_t *err)
{
    const vch_json_t *m = vch_json_get(o, name);
    if (!m || m->type != VCH_JSON_STRING || m->text.n >= max || memchr(m->text.p, 0, m->text.n))
        return vch_fail(err, VCH_ERR_FORMAT, "the node's answer can't be understood: \"%s\" is no text, or too long",
                        name);
    if (m->text.n) memcpy(ret, m->text.p, m->text.n);
    ret[m->text.n] = 0;
    return VCH_OK;
}

static vch_rc get_hashes(const vch_json_t *o, const char *name, vch_hash_t *ret, size_t max, size_t *ret_n,
                         vch_err_t *err)
{
    const vch_json_t *m = vch_json_get(o, name);
    size_t n = 0;
    if (!m || m->type != VCH_JSON_ARRAY || m->count > max) return strange(err, "a path is a list of hashes");
    for (const vch_json_t *h = m->first; h; h = h->next) VCH_TRY(unhex32(h, ret[n++].b, err));
    *ret_n = n;
    return VCH_OK;
}

typedef vch_rc (*object_fn)(void *ret, const vch_json_t *, vch_err_t *);

/* Parse, hand the object over, forget it. */
static vch_rc with_object(void *ret, object_fn fn, vch_slice_t body, vch_err_t *err)
{
    const vch_json_t *o;
    vch_arena_t arena;
    vch_err_t why = {.rc = VCH_OK};
    vch_arena_init(&arena, RM_ANSWER_MAX);
    vch_rc rc = vch_json_parse(&arena, &o, body, &why);
    if (rc == VCH_OK)
        rc = o->type == VCH_JSON_OBJECT ? fn(ret, o, err) : strange(err, "it is no JSON object");
    else if (rc == VCH_ERR_FORMAT)
        rc = strange(err, why.text);
    else
        rc = vch_fail(err, rc, "reading the node's answer: %s", why.text);
    vch_arena_free(&arena);
    return rc;
}

vch_rc rm_json_check(vch_slice_t body, vch_json_type_t type, vch_err_t *err)
{
    const vch_json_t *v;
    vch_arena_t arena;
    vch_err_t why = {.rc = VCH_OK};
    vch_arena_init(&arena, (size_t)1 << 30);
    vch_rc rc = vch_json_parse(&arena, &v, body, &why);
    if (rc == VCH_OK && v->type != type) rc = vch_fail(&why, VCH_ERR_FORMAT, "it is JSON of another kind");
    vch_arena_free(&arena);
    if (rc == VCH_ERR_FORMAT) return strange(err, why.text);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "reading the node's answer: %s", why.text);
}

/* ---- errors --------------------------------------------------------------------------------- */

/* For answers that name no result of ours: from a proxy, or not a node at all. */
static const struct {
    int status;
    vch_rc rc;
} by_status[] = {
    {400, VCH_ERR_USAGE},       {401, VCH_ERR_ROLE},        {403, VCH_ERR_ROLE},        {404, VCH_ERR_NOT_FOUND},
    {405, VCH_ERR_UNSUPPORTED}, {408, VCH_ERR_UNREACHABLE}, {409, VCH_ERR_CONFLICT},    {413, VCH_ERR_LIMIT},
    {414, VCH_ERR_LIMIT},       {415, VCH_ERR_USAGE},       {422, VCH_ERR_FORMAT},      {429, VCH_ERR_UNREACHABLE},
    {431, VCH_ERR_LIMIT},       {500, VCH_ERR_INTERNAL},    {501, VCH_ERR_UNSUPPORTED}, {502, VCH_ERR_UNREACHABLE},
    {503, VCH_ERR_UNREACHABLE}, {504, VCH_ERR_UNREACHABLE}, {507, VCH_ERR_FULL},
};

static vch_rc rc_of_status(int status)
{
    for (size_t i = 0; i < sizeof by_status / sizeof *by_status; i++)
        if (by_status[i].status == status) return by_status[i].rc;
    return VCH_ERR_UNREACHABLE;
}

static vch_rc rc_of_name(const char *name)
{
    for (int rc = VCH_OK + 1; rc < VCH_RC_COUNT; rc++)
        if (strcmp(vch_rc_name((vch_rc)rc), name) == 0) return (vch_rc)rc;
    return VCH_OK;
}

typedef struct {
    vch_rc rc;
    char text[VCH_ERR_TEXT_MAX], hint[VCH_ERR_TEXT_MAX];
} told_t;

static vch_rc read_error(void *ctx, const vch_json_t *o, vch_err_t *err)
{
    told_t *t = ctx;
    char name[40];
    VCH_TRY(get_text(o, "error", name, sizeof name, err));
    VCH_TRY(get_text(o, "text", t->text, sizeof t->text, err));
    if (vch_json_get(o, "hint")) VCH_TRY(get_text(o, "hint", t->hint, sizeof t->hint, err));
    t->rc = rc_of_name(name);
    return t->rc == VCH_OK ? strange(err, "an error of unknown name") : VCH_OK;
}

static vch_rc hint_who(vch_err_t *err, vch_rc rc, int status)
{
    if (status != 401 && status != 403) return rc;
    return vch_hint(err, rc, "say who asks: --as NAME signs the questions with a party's key, or --token-file FILE");
}

vch_rc rm_error_get(vch_err_t *err, int status, vch_slice_t body)
{
    told_t t = {.rc = VCH_OK};
    if (body.n <= 16384 && with_object(&t, read_error, body, NULL) == VCH_OK) {
        vch_fail(err, t.rc, "%s", t.text);
        return t.hint[0] ? vch_hint(err, t.rc, "%s", t.hint) : hint_who(err, t.rc, status);
    }
    vch_rc rc = rc_of_status(status);
    if (status >= 300 && status < 400)
        return vch_hint(err, vch_fail(err, rc, "the node sends elsewhere (HTTP %d), and nobody follows", status),
                        "give the node's own URL");
    return hint_who(err, vch_fail(err, rc, "the node answered HTTP %d", status), status);
}

/* Full disks and wrong clocks don't pass by themselves. */
bool rm_error_passes(int status, unsigned retry_after_s, vch_rc rc)
{
    if (status == 429 || status == 502 || status == 504) return true;
    if (status != 503 || rc == VCH_ERR_FULL || rc == VCH_ERR_CLOCK || rc == VCH_ERR_READ_ONLY) return false;
    return retry_after_s || rc == VCH_ERR_UNREACHABLE || rc == VCH_ERR_LOCKED;
}

/* ---- who the node is -------------------------------------------------------------------------- */

static vch_rc read_info(void *ctx, const vch_json_t *o, vch_err_t *err)
{
    rm_info_t *ret = ctx;
    VCH_TRY(get_text(o, "origin", ret->origin, sizeof ret->origin, err));
    VCH_TRY(get_text(o, "log key", ret->vkey, sizeof ret->vkey, err));
    VCH_TRY(get_id(o, "network", ret->network.b, err));
    return get_number(o, "size", &ret->size, err);
}

vch_rc rm_info_get(rm_info_t *ret, vch_slice_t body, vch_err_t *err)
{
    rm_info_t info = {.size = 0};
    VCH_TRY(with_object(&info, read_info, body, err));
    *ret = info;
    return VCH_OK;
}

/* ---- receipts ------------------------------------------------------------------------------------ */

static vch_rc read_outcome(vch_receipt_t *r, const vch_json_t *o, vch_err_t *err)
{
    bool permit = false;
    if (!vch_json_get(o, "permit")) return VCH_OK;
    r->has_outcome = 1;
    VCH_TRY(get_bool(o, "permit", &permit, err));
    r->permit = permit;
    VCH_TRY(get_text(o, "rule", r->rule, sizeof r->rule, err));
    VCH_TRY(get_number(o, "rows", &r->rows, err));
    return vch_json_get(o, "expires ms") ? get_number(o, "expires ms", &r->expires.ms, err) : VCH_OK;
}

static vch_rc read_receipt(void *ctx, const vch_json_t *o, vch_err_t *err)
{
    rm_receipt_t *ret = ctx;
    vch_receipt_t *r = &ret->receipt;
    bool again = false;
    VCH_TRY(get_id(o, "entry", r->entry.b, err));
    VCH_TRY(get_id(o, "object", r->object.b, err));
    VCH_TRY(get_number(o, "index", &r->index, err));
    VCH_TRY(get_number(o, "time ms", &r->time.ms, err));
    VCH_TRY(get_u32(o, "statements", &r->count, err));
    if (vch_json_get(o, "already there")) VCH_TRY(get_bool(o, "already there", &again, err));
    r->again = again;
    VCH_TRY(read_outcome(r, o, err));
    const vch_json_t *promise = vch_json_get(o, "receipt");
    if (!promise) return VCH_OK;
    if (promise->type != VCH_JSON_STRING) return strange(err, "\"receipt\" is no text");
    vch_rc rc = vch_buf_put(&ret->promise, promise->text.p, promise->text.n);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the node's receipt is too long");
}

vch_rc rm_receipt_get(rm_receipt_t *ret, vch_slice_t body, vch_err_t *err)
{
    rm_receipt_t r = {.receipt = {.index = 0}};
    vch_buf_init(&r.promise, VCH_NOTE_BYTES_MAX * 2);
    vch_rc rc = with_object(&r, read_receipt, body, err);
    if (rc == VCH_OK)
        *ret = r;
    else
        vch_buf_free(&r.promise);
    return rc;
}

/* ---- numbers and places ------------------------------------------------------------------------------ */

typedef struct {
    const char *name;
    uint64_t v;
} number_t;

static vch_rc read_number(void *ctx, const vch_json_t *o, vch_err_t *err)
{
    number_t *n = ctx;
    return get_number(o, n->name, &n->v, err);
}

vch_rc rm_number_get(uint64_t *ret, const char *name, vch_slice_t body, vch_err_t *err)
{
    number_t n = {name, 0};
    VCH_TRY(with_object(&n, read_number, body, err));
    *ret = n.v;
    return VCH_OK;
}

static vch_rc read_place(void *ctx, const vch_json_t *o, vch_err_t *err)
{
    rm_place_t *p = ctx;
    VCH_TRY(get_number(o, "index", &p->index, err));
    return get_u32(o, "statement", &p->statement, err);
}

vch_rc rm_place_get(rm_place_t *ret, vch_slice_t body, vch_err_t *err)
{
    rm_place_t p = {.index = 0};
    VCH_TRY(with_object(&p, read_place, body, err));
    *ret = p;
    return VCH_OK;
}

/* ---- a subject ------------------------------------------------------------------------------------------- */

static vch_rc read_subject(void *ctx, const vch_json_t *o, vch_err_t *err)
{
    rm_subject_t *s = ctx;
    VCH_TRY(get_u32(o, "subject", &s->subject, err));
    VCH_TRY(get_u32(o, "serial", &s->serial, err));
    s->has_key = vch_json_get(o, "key") != NULL;
    if (!s->has_key) return VCH_OK;
    VCH_TRY(get_id(o, "key", s->key.b, err));
    VCH_TRY(get_bool(o, "known", &s->known, err));
    if (s->known) return VCH_OK;
    VCH_TRY(get_u32(o, "first", &s->first, err));
    return get_hashes(o, "path", s->path, VCH_PATH_HASHES_MAX, &s->path_n, err);
}

vch_rc rm_subject_get(rm_subject_t *ret, vch_slice_t body, vch_err_t *err)
{
    rm_subject_t s = {.subject = 0};
    VCH_TRY(with_object(&s, read_subject, body, err));
    *ret = s;
    return VCH_OK;
}

/* ---- proofs ---------------------------------------------------------------------------------------------- */

static vch_rc read_consistency(void *ctx, const vch_json_t *o, vch_err_t *err)
{
    rm_consistency_t *c = ctx;
    VCH_TRY(get_number(o, "size1", &c->size1, err));
    VCH_TRY(get_number(o, "size2", &c->size2, err));
    VCH_TRY(get_id(o, "root1", c->root1.b, err));
    VCH_TRY(get_id(o, "root2", c->root2.b, err));
    return get_hashes(o, "path", c->path, VCH_PATH_HASHES_MAX, &c->n, err);
}

vch_rc rm_consistency_get(rm_consistency_t *ret, vch_slice_t body, vch_err_t *err)
{
    rm_consistency_t c = {.n = 0};
    VCH_TRY(with_object(&c, read_consistency, body, err));
    *ret = c;
    return VCH_OK;
}

typedef struct {
    rm_state_t state;
    vch_slice_t key;
    vch_buf_t *value;
    vch_smt_proof_t proof;
} state_reader_t;

static vch_rc read_value(state_reader_t *s, const vch_json_t *o, vch_err_t *err)
{
    const vch_json_t *m = vch_json_get(o, "value");
    uint8_t *to;
    if (!s->state.present) return m && m->type == VCH_JSON_NULL ? VCH_OK : strange(err, "a value that is not there");
    if (!m || m->type != VCH_JSON_STRING || m->text.n % 2) return strange(err, "\"value\" is no hex");
    size_t n = m->text.n / 2;
    vch_rc rc = vch_buf_extend(s->value, n, &to);
    if (rc != VCH_OK) return vch_fail(err, rc, "the node's value is too long");
    return n == 0 || vch_unhex(to, n, (const char *)m->text.p, m->text.n) ? VCH_OK
                                                                          : strange(err, "\"value\" is no hex");
}

static vch_rc read_end(state_reader_t *s, const vch_json_t *o, vch_err_t *err)
{
    char end[16];
    VCH_TRY(get_text(o, "end", end, sizeof end, err));
    s->proof.end = strcmp(end, "member") == 0  ? VCH_SMT_MEMBER
                   : strcmp(end, "other") == 0 ? VCH_SMT_OTHER
                                               : VCH_SMT_EMPTY;
    if (s->proof.end == VCH_SMT_EMPTY && strcmp(end, "empty") != 0) return strange(err, "a proof of unknown kind");
    if (s->proof.end != VCH_SMT_OTHER) return VCH_OK;
    VCH_TRY(get_id(o, "other path", s->proof.leaf.path.b, err));
    return get_id(o, "other value hash", s->proof.leaf.value_hash.b, err);
}

static vch_rc read_state(void *ctx, const vch_json_t *o, vch_err_t *err)
{
    state_reader_t *s = ctx;
    size_t n = 0;
    const vch_json_t *key = vch_json_get(o, "key");
    char hex[2 * 255 + 1];
    if (s->key.n > 255 || !key || key->type != VCH_JSON_STRING) return strange(err, "it is about no key");
    vch_hex(hex, s->key.p, s->key.n);
    if (!vch_slice_eq(key->text, vch_str(hex))) return strange(err, "it is about another key");
    VCH_TRY(get_bool(o, "present", &s->state.present, err));
    VCH_TRY(get_number(o, "height", &s->state.height, err));
    VCH_TRY(get_number(o, "entry", &s->state.entry, err));
    VCH_TRY(get_id(o, "root", s->state.root.b, err));
    VCH_TRY(get_hashes(o, "siblings", s->proof.sibling, VCH_SMT_PATH_MAX, &n, err));
    s->proof.depth = (uint16_t)n;
    VCH_TRY(read_end(s, o, err));
    return read_value(s, o, err);
}

static bool proof_holds(const state_reader_t *s, vch_slice_t value)
{
    const vch_smt_proof_t *p = &s->proof;
    vch_hash_t path, hash;
    vch_sha256(&path, s->key.p, s->key.n);
    if (s->state.present != (p->end == VCH_SMT_MEMBER)) return false;
    if (!s->state.present)
        return vch_smt_verify_absent(&s->state.root, &path, p->end == VCH_SMT_OTHER ? &p->leaf : NULL, p->sibling,
                                     p->depth);
    vch_sha256(&hash, value.p, value.n);
    return vch_smt_verify_member(&s->state.root, &path, &hash, p->sibling, p->depth);
}

vch_rc rm_state_get(rm_state_t *ret, vch_buf_t *ret_value, vch_slice_t key, vch_slice_t body, vch_err_t *err)
{
    size_t at = ret_value->n;
    state_reader_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    s->key = key;
    s->value = ret_value;
    vch_rc rc = with_object(s, read_state, body, err);
    vch_slice_t value = ret_value->n > at ? vch_slice(ret_value->p + at, ret_value->n - at) : vch_slice(NULL, 0);
    if (rc == VCH_OK && !proof_holds(s, value))
        rc = vch_fail(err, VCH_ERR_COMMITMENT, "the node's proof of a state value does not lead to the root it names");
    if (rc == VCH_OK)
        *ret = s->state;
    else
        ret_value->n = at;
    vch_free(s);
    return rc;
}

vch_rc rm_bundle_get(vch_slice_t *ret, vch_slice_t bundle, unsigned width, unsigned i, vch_err_t *err)
{
    size_t at = 0;
    vch_slice_t found = {NULL, 0};
    for (unsigned k = 0; k < width; k++) {
        if (bundle.n - at < 2) return strange(err, "a bundle of entries ends early");
        size_t n = vch_get_u16(bundle.p + at);
        at += 2;
        if (bundle.n - at < n) return strange(err, "a bundle of entries ends early");
        if (k == i) found = vch_slice(bundle.p + at, n);
        at += n;
    }
    if (at != bundle.n || i >= width) return strange(err, "a bundle holds more entries than it should");
    *ret = found;
    return VCH_OK;
}
