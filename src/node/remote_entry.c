/* SPDX-License-Identifier: Apache-2.0 */
/* An entry as a node tells it, held against the leaf in the signed log: its kind,
 * key, sequence and every statement, which are put together again from their
 * fields and salts.  Block height, block time and the signer's name are the
 * node's word. */
#include "codec/text.h"
#include "node/remote_int.h"

typedef struct {
    const vch_json_t *json;
    vch_entry_t entry;
    vch_kind_t kind;
    vch_hash_t *leaf; /* of the statements */
    vch_err_t *err;
} told_t;

static vch_rc not_so(const told_t *t, const char *what)
{
    return vch_fail(t->err, VCH_ERR_COMMITMENT, "the node tells another %s than the one in its signed log", what);
}

static bool is_hex(const vch_json_t *object, const char *name, const uint8_t *want, size_t n)
{
    uint8_t got[32];
    const vch_json_t *m = vch_json_get(object, name);
    return m && m->type == VCH_JSON_STRING && n <= sizeof got &&
           vch_unhex(got, n, (const char *)m->text.p, m->text.n) && memcmp(got, want, n) == 0;
}

static bool is_number(const vch_json_t *object, const char *name, uint64_t want)
{
    uint64_t got;
    const vch_json_t *m = vch_json_get(object, name);
    return m && m->type == VCH_JSON_NUMBER && vch_decimal_get(&got, m->text) == VCH_OK && got == want;
}

static bool is_text(const vch_json_t *object, const char *name, const char *want)
{
    const vch_json_t *m = vch_json_get(object, name);
    return m && m->type == VCH_JSON_STRING && vch_slice_eq(m->text, vch_str(want));
}

/* ---- statements ------------------------------------------------------------------------ */

/* Put together again: salt and fields give the bytes, these the leaf. */
static vch_rc statement_leaf(const told_t *t, const vch_json_t *statement, vch_hash_t *ret)
{
    uint8_t salt[VCH_SALT_LEN];
    vch_buf_t fields, bytes;
    const vch_schema_t *schema = vch_schema(t->kind);
    const vch_json_t *given = vch_json_get(statement, "fields"), *s = vch_json_get(statement, "salt");
    if (!given || !s || s->type != VCH_JSON_STRING || !vch_unhex(salt, sizeof salt, (const char *)s->text.p, s->text.n))
        return not_so(t, "statement");
    vch_buf_init(&fields, VCH_TX_BYTES_MAX);
    vch_buf_init(&bytes, VCH_TX_BYTES_MAX);
    vch_rc rc = vch_fields_from_json(&fields, schema->field, schema->fields, given, t->err);
    if (rc == VCH_OK) rc = vch_statement_put(&bytes, t->kind, salt, vch_buf_slice(&fields));
    if (rc == VCH_OK) vch_tree_leaf(ret, vch_buf_slice(&bytes));
    vch_buf_free(&fields);
    vch_buf_free(&bytes);
    return rc == VCH_OK || rc == VCH_ERR_MEMORY ? rc : not_so(t, "statement");
}

static vch_rc check_statement(const told_t *t, const vch_json_t *statement, uint16_t i)
{
    vch_id_t id = vch_object_id(&t->entry.id, i);
    const vch_json_t *erased = vch_json_get(statement, "erased");
    if (!is_hex(statement, "id", id.b, 32)) return not_so(t, "statement");
    if (!erased) return statement_leaf(t, statement, &t->leaf[i]);
    bool good =
        erased->type == VCH_JSON_STRING && vch_unhex(t->leaf[i].b, 32, (const char *)erased->text.p, erased->text.n);
    return good ? VCH_OK : not_so(t, "statement");
}

static vch_rc check_statements(told_t *t, vch_arena_t *arena)
{
    vch_hash_t root;
    uint16_t i = 0;
    const vch_json_t *list = vch_json_get(t->json, "statements");
    if (!list || list->type != VCH_JSON_ARRAY || list->count != t->entry.count || list->count == 0)
        return not_so(t, "number of statements");
    t->leaf = vch_arena_array(arena, list->count, sizeof *t->leaf);
    if (!t->leaf) return vch_fail(t->err, VCH_ERR_MEMORY, "out of memory");
    for (const vch_json_t *s = list->first; s; s = s->next) VCH_TRY(check_statement(t, s, i++));
    vch_tree_root_in_place(&root, t->leaf, list->count);
    return vch_hash_eq(&root, &t->entry.root) ? VCH_OK : not_so(t, "statement");
}

/* ---- the three forms of a leaf --------------------------------------------------------------- */

static vch_rc check_signed(told_t *t, vch_slice_t leaf, vch_arena_t *arena)
{
    const vch_schema_t *schema = vch_schema(t->kind);
    vch_rc rc = vch_entry_read(&t->entry, leaf, t->err);
    if (rc != VCH_OK || !schema) return not_so(t, "kind of entry");
    const vch_entry_t *e = &t->entry;
    bool good = is_text(t->json, "kind", schema->name) && is_hex(t->json, "id", e->id.b, 32) &&
                is_hex(t->json, "key id", e->cose.kid.b, 32) && is_number(t->json, "sequence", e->sequence) &&
                is_hex(t->json, "statements root", e->root.b, 32) &&
                (!e->has_not_after || is_number(t->json, "not after ms", e->not_after.ms));
    return good ? check_statements(t, arena) : not_so(t, "entry");
}

static vch_rc check_commit(const told_t *t, vch_slice_t leaf)
{
    vch_state_commit_t c;
    if (vch_state_commit_get(&c, leaf) != VCH_OK) return not_so(t, "state-commit");
    bool good = is_text(t->json, "kind", "state-commit") && is_number(t->json, "height", c.height) &&
                is_number(t->json, "time ms", c.time.ms) && is_number(t->json, "first", c.first) &&
                is_number(t->json, "count", c.count) && is_hex(t->json, "state root", c.state_root.b, 32) &&
                is_hex(t->json, "previous", c.previous.b, 32);
    return good ? VCH_OK : not_so(t, "state-commit");
}

static vch_rc check_outcome(const told_t *t, vch_slice_t leaf)
{
    vch_outcome_t o;
    if (vch_outcome_get(&o, leaf) != VCH_OK) return not_so(t, "outcome");
    const vch_json_t *permit = vch_json_get(t->json, "permit");
    bool good = is_text(t->json, "kind", "outcome") && is_hex(t->json, "request", o.request.b, 32) && permit &&
                permit->type == VCH_JSON_BOOL && permit->boolean == o.permit && is_text(t->json, "rule", o.rule) &&
                is_hex(t->json, "set root", o.set_root.b, 32) && is_number(t->json, "rows", o.count) &&
                is_number(t->json, "expires ms", o.expires.ms);
    return good ? VCH_OK : not_so(t, "outcome");
}

vch_rc rm_entry_check(uint64_t index, vch_slice_t leaf, vch_slice_t body, vch_err_t *err)
{
    told_t t = {.err = err};
    vch_arena_t arena;
    vch_arena_init(&arena, (size_t)1 << 30);
    vch_rc rc = vch_json_parse(&arena, &t.json, body, err);
    if (rc == VCH_OK) rc = vch_leaf_kind(&t.kind, leaf);
    if (rc == VCH_OK && !is_number(t.json, "index", index)) rc = not_so(&t, "place");
    if (rc == VCH_OK && t.kind == VCH_KIND_STATE_COMMIT)
        rc = check_commit(&t, leaf);
    else if (rc == VCH_OK && t.kind == VCH_KIND_OUTCOME)
        rc = check_outcome(&t, leaf);
    else if (rc == VCH_OK)
        rc = check_signed(&t, leaf, &arena);
    vch_arena_free(&arena);
    return nd_told(rc, err);
}
