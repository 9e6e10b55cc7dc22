/* SPDX-License-Identifier: Apache-2.0 */
/* Names on a remote handle: what the node lists.  Which object has a name is
 * the node's word; what a hash says is not, so terms are hashed again. */
#include "codec/text.h"
#include "crypto/sha256.h"
#include "node/remote_int.h"

typedef struct {
    char tag;
    rm_listed_fn fn;
    void *ctx;
    vch_err_t *err;
} each_t;

static const char *list_of(char tag)
{
    switch (tag) {
    case 'd':
        return "datasets";
    case 'v':
        return "versions";
    case 't':
        return "terms";
    case 'm':
        return "models";
    case 'y':
        return "deployments";
    case 'a':
        return "grants";
    case 'r':
        return "runs";
    default:
        return "parties";
    }
}

static vch_rc strange(vch_err_t *err)
{
    return vch_fail(err, VCH_ERR_FORMAT, "the node's answer can't be understood: an item of a list has no id");
}

/* Owners sign the hash of terms that they know by their title. */
static vch_rc check_terms(const each_t *e, const vch_json_t *item, const vch_id_t *id)
{
    vch_hash_t hash;
    vch_buf_t document;
    const vch_json_t *m = vch_json_get(item, "document");
    if (!m || m->type != VCH_JSON_OBJECT) return strange(e->err);
    vch_buf_init(&document, 65536);
    vch_rc rc = vch_fields_from_json(&document, vch_terms_fields, vch_terms_fields_n, m, e->err);
    vch_sha256(&hash, document.p, document.n);
    vch_buf_free(&document);
    if (rc != VCH_OK) return vch_context(e->err, rc, "terms that the node shows");
    if (memcmp(hash.b, id->b, 32) == 0) return VCH_OK;
    return vch_fail(e->err, VCH_ERR_COMMITMENT, "the node shows terms that are not those of their hash");
}

static vch_rc each_item(const each_t *e, const vch_json_t *item)
{
    vch_id_t of;
    uint64_t number = 0;
    vch_slice_t name = {NULL, 0};
    const vch_json_t *id = vch_json_get(item, "id"), *m = vch_json_get(item, "name"), *n = vch_json_get(item, "number");
    if (!id || id->type != VCH_JSON_STRING || !vch_unhex(of.b, 32, (const char *)id->text.p, id->text.n))
        return strange(e->err);
    if (m && m->type == VCH_JSON_STRING) name = m->text;
    if (n && (n->type != VCH_JSON_NUMBER || vch_decimal_get(&number, n->text) != VCH_OK)) return strange(e->err);
    if (e->tag == 't') VCH_TRY(check_terms(e, item, &of));
    return e->fn(e->ctx, &of, name, number);
}

static vch_rc each_of(const each_t *e, vch_slice_t answer)
{
    const vch_json_t *list;
    vch_arena_t arena;
    vch_arena_init(&arena, (size_t)1 << 30);
    vch_rc rc = vch_json_parse(&arena, &list, answer, e->err);
    if (rc == VCH_OK && list->type != VCH_JSON_ARRAY) rc = strange(e->err);
    for (const vch_json_t *item = rc == VCH_OK ? list->first : NULL; rc == VCH_OK && item; item = item->next)
        rc = each_item(e, item);
    vch_arena_free(&arena);
    return rc;
}

vch_rc rm_each(vch_ledger_t *l, char tag, const vch_id_t *of, rm_listed_fn fn, void *ctx, vch_err_t *err)
{
    rm_ask_t a;
    each_t e = {tag, fn, ctx, err};
    rm_path_t path = rm_path("/v1/list/");
    rm_path_add(&path, list_of(tag));
    if (of) {
        rm_path_add(&path, "?of=");
        rm_path_hex(&path, of->b, 32);
    }
    vch_rc rc = rm_get(l, &a, path.text, 0, err);
    if (rc == VCH_OK) rc = each_of(&e, vch_buf_slice(&a.answer));
    rm_free(&a, 1);
    return rc;
}
