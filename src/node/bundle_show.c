/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in a bundle, for people who have no policy to judge it by.  It is
 * read by the verifier's own strict reader, and what it shows must hang together:
 * entries lead to their checkpoints, statements to their entries, checkpoints to
 * each other.  Whether anybody signed them is not asked. */
#include "merkle/tree.h"
#include "node/node_int.h"
#include "verify/verify_impl.h"

#define SHOWN_MAX ((size_t)256 << 20)

typedef struct {
    const verify_t *v;
    vch_buf_t b;
    bool comma;
    uint64_t salts;
    vch_err_t *err;
} show_t;

static vch_rc damaged(const show_t *s, const char *what, uint64_t number)
{
    return vch_fail(s->err, VCH_ERR_COMMITMENT, "the bundle is damaged: %s %llu", what, AT(number));
}

/* ---- JSON ------------------------------------------------------------------------ */

static vch_rc put_name(show_t *s, const char *name)
{
    if (s->comma) VCH_TRY(vch_buf_u8(&s->b, ','));
    s->comma = true;
    return name ? vch_buf_printf(&s->b, "\"%s\":", name) : VCH_OK;
}

static vch_rc begin(show_t *s, const char *name, char bracket)
{
    VCH_TRY(put_name(s, name));
    s->comma = false;
    return vch_buf_u8(&s->b, (uint8_t)bracket);
}

static vch_rc end(show_t *s, char bracket)
{
    s->comma = true;
    return vch_buf_u8(&s->b, (uint8_t)bracket);
}

static vch_rc put_uint(show_t *s, const char *name, uint64_t n)
{
    VCH_TRY(put_name(s, name));
    return vch_buf_printf(&s->b, "%llu", AT(n));
}

static vch_rc put_bool(show_t *s, const char *name, bool yes)
{
    VCH_TRY(put_name(s, name));
    return vch_buf_printf(&s->b, yes ? "true" : "false");
}

static vch_rc put_text(show_t *s, const char *name, vch_slice_t text)
{
    VCH_TRY(put_name(s, name));
    return vch_json_put_string(&s->b, text);
}

static vch_rc put_hex(show_t *s, const char *name, const void *id32)
{
    VCH_TRY(put_name(s, name));
    return nd_put_hex(&s->b, id32, 32);
}

/* ---- the claim ------------------------------------------------------------------------ */

static vch_rc put_what(show_t *s, const char *type, const char *of, const vfy_claim_t *k)
{
    VCH_TRY(put_text(s, "type", vch_str(type)));
    return put_hex(s, of, k->id.b);
}

static vch_rc show_consent(show_t *s, const vfy_claim_t *k)
{
    static const char *const said[] = {"never given", "in force", "withdrawn"};
    VCH_TRY(put_what(s, "consent", "dataset", k));
    VCH_TRY(put_uint(s, "subject", k->number));
    VCH_TRY(put_text(s, "state", vch_str(k->state < 3 ? said[k->state] : "unknown")));
    return put_uint(s, "at entry", k->commit);
}

static vch_rc show_row(show_t *s, const vfy_claim_t *k)
{
    VCH_TRY(put_what(s, "row", "run", k));
    VCH_TRY(put_uint(s, "extent", k->number));
    VCH_TRY(put_uint(s, "row", k->state));
    VCH_TRY(put_bool(s, "used", k->in_set));
    s->salts += k->groups;
    return put_uint(s, "groups disclosed", k->groups);
}

static vch_rc put_numbers(show_t *s, const char *name, const uint64_t *number, size_t n)
{
    VCH_TRY(begin(s, name, '['));
    for (size_t i = 0; i < n; i++) VCH_TRY(put_uint(s, NULL, number[i]));
    return end(s, ']');
}

static vch_rc show_erasure(show_t *s, const vfy_claim_t *k)
{
    static const char *const states[] = {"pending", "provisional", "complete"};
    VCH_TRY(put_what(s, "erasure", "dataset", k));
    VCH_TRY(put_numbers(s, "subjects", k->subject, k->subjects));
    VCH_TRY(put_numbers(s, "extents", k->extent, k->extents));
    VCH_TRY(put_text(s, "state", vch_str(k->state < 3 ? states[k->state] : "unknown")));
    VCH_TRY(put_text(s, "grade", vch_str(k->grade == VCH_GRADE_A ? "A" : "B")));
    return put_uint(s, "at entry", k->commit);
}

static vch_rc show_claim(show_t *s)
{
    const vfy_claim_t *k = &s->v->claim;
    switch (k->type) {
    case VFY_DECISION:
        VCH_TRY(put_what(s, "decision", "batch", k));
        VCH_TRY(put_uint(s, "first", k->number));
        return put_uint(s, "decisions", k->leaves);
    case VFY_ACCESS:
        return put_what(s, "access", "request", k);
    case VFY_CONSENT:
        return show_consent(s, k);
    case VFY_ROW:
        return show_row(s, k);
    case VFY_LINEAGE:
        return put_what(s, "lineage", "model", k);
    case VFY_ERASURE:
        return show_erasure(s, k);
    }
    return VCH_ERR_INTERNAL;
}

static vch_rc show_claims(show_t *s)
{
    VCH_TRY(begin(s, "claims", '['));
    VCH_TRY(begin(s, NULL, '{'));
    VCH_TRY(show_claim(s));
    VCH_TRY(end(s, '}'));
    return end(s, ']');
}

static vch_rc show_decision(show_t *s, vch_slice_t leaf, uint64_t number)
{
    vch_decision_t d;
    if (vch_decision_get(&d, leaf) != VCH_OK) return damaged(s, "it can't be read as decision", number);
    s->salts++;
    VCH_TRY(begin(s, NULL, '{'));
    VCH_TRY(put_uint(s, "number", d.sequence));
    VCH_TRY(put_name(s, NULL));
    VCH_TRY(nd_put_time(&s->b, "time", d.time));
    VCH_TRY(put_hex(s, "model", d.model.b));
    VCH_TRY(put_text(s, "output", d.output));
    VCH_TRY(begin(s, "reasons", '['));
    for (size_t i = 0; i < d.reasons; i++) VCH_TRY(put_text(s, NULL, d.reason[i]));
    VCH_TRY(end(s, ']'));
    return end(s, '}');
}

static vch_rc show_decisions(show_t *s)
{
    const vfy_claim_t *k = &s->v->claim;
    if (k->type != VFY_DECISION) return VCH_OK;
    VCH_TRY(begin(s, "decisions", '['));
    for (size_t i = 0; i < k->leaves; i++) VCH_TRY(show_decision(s, k->leaf[i], k->number + i));
    return end(s, ']');
}

/* ---- checkpoints ------------------------------------------------------------------------- */

static vch_rc show_checkpoint(show_t *s, size_t i)
{
    vfy_checkpoint_t *c = &s->v->checkpoint[i];
    vch_note_t *note = vch_arena_alloc(s->v->arena, sizeof *note);
    if (!note) return VCH_ERR_MEMORY;
    if (vch_note_get(note, c->note) != VCH_OK || vch_checkpoint_get(&c->text, note->text) != VCH_OK)
        return damaged(s, "it can't be read as checkpoint", i);
    VCH_TRY(begin(s, NULL, '{'));
    VCH_TRY(put_uint(s, "size", c->text.size));
    VCH_TRY(put_text(s, "origin", c->text.origin));
    VCH_TRY(put_hex(s, "root", c->text.root.b));
    VCH_TRY(begin(s, "signers", '['));
    for (size_t k = 0; k < note->sigs; k++) VCH_TRY(put_text(s, NULL, note->sig[k].name));
    VCH_TRY(end(s, ']'));
    return end(s, '}');
}

static vch_rc check_line(const show_t *s)
{
    const verify_t *v = s->v;
    if (v->consistencies + 1 != v->checkpoints) return damaged(s, "paths between checkpoints:", v->consistencies);
    for (size_t i = 0; i < v->consistencies; i++) {
        const vch_checkpoint_t *a = &v->checkpoint[i].text, *b = &v->checkpoint[i + 1].text;
        vch_slice_t path = v->consistency[i];
        if (a->size >= b->size ||
            !vch_consistency_verify(a->size, b->size, &a->root, &b->root, vfy_path(path), vfy_path_n(path)))
            return damaged(s, "nothing leads from one checkpoint to that of size", b->size);
    }
    return VCH_OK;
}

static vch_rc show_checkpoints(show_t *s)
{
    VCH_TRY(begin(s, "checkpoints", '['));
    for (size_t i = 0; i < s->v->checkpoints; i++) VCH_TRY(show_checkpoint(s, i));
    VCH_TRY(end(s, ']'));
    return check_line(s);
}

/* ---- entries and statements ------------------------------------------------------------------ */

static const char *kind_name(vch_kind_t kind)
{
    const vch_schema_t *schema = vch_schema(kind);
    if (kind == VCH_KIND_STATE_COMMIT) return "state-commit";
    return schema ? schema->name : "outcome";
}

static vch_rc check_leaf(const show_t *s, const vfy_leaf_t *l)
{
    vch_hash_t hash;
    if (l->checkpoint >= s->v->checkpoints) return damaged(s, "no checkpoint is there for entry", l->index);
    const vch_checkpoint_t *c = &s->v->checkpoint[l->checkpoint].text;
    vch_tree_leaf(&hash, l->bytes);
    if (vch_inclusion_verify(l->index, c->size, &hash, vfy_path(l->path), vfy_path_n(l->path), &c->root)) return VCH_OK;
    return damaged(s, "the checkpoint's root does not hold entry", l->index);
}

static bool is_unsigned(vch_kind_t kind) { return kind == VCH_KIND_STATE_COMMIT || kind == VCH_KIND_OUTCOME; }

/* Kind, and of a signed one its head. */
static vch_rc read_leaf(const show_t *s, const vfy_leaf_t *l, vch_kind_t *ret_kind, vch_entry_t *ret)
{
    vch_state_commit_t commit;
    vch_outcome_t outcome;
    vch_rc rc = vch_leaf_kind(ret_kind, l->bytes);
    if (rc == VCH_OK && !is_unsigned(*ret_kind)) rc = vch_entry_read(ret, l->bytes, NULL);
    if (rc == VCH_OK && *ret_kind == VCH_KIND_STATE_COMMIT) rc = vch_state_commit_get(&commit, l->bytes);
    if (rc == VCH_OK && *ret_kind == VCH_KIND_OUTCOME) rc = vch_outcome_get(&outcome, l->bytes);
    if (rc != VCH_OK) return damaged(s, "it can't be read as entry", l->index);
    return check_leaf(s, l);
}

static vch_rc show_entry(show_t *s, const vfy_leaf_t *l)
{
    vch_kind_t kind;
    vch_entry_t e = {.count = 0}; /* an unsigned entry has no head */
    VCH_TRY(read_leaf(s, l, &kind, &e));
    VCH_TRY(begin(s, NULL, '{'));
    VCH_TRY(put_uint(s, "index", l->index));
    VCH_TRY(put_text(s, "kind", vch_str(kind_name(kind))));
    VCH_TRY(put_uint(s, "under", s->v->checkpoint[l->checkpoint].text.size));
    if (!is_unsigned(kind)) {
        VCH_TRY(put_uint(s, "statements", e.count));
        VCH_TRY(put_uint(s, "disclosed", l->statements));
        VCH_TRY(put_hex(s, "key id", e.cose.kid.b));
    }
    return end(s, '}');
}

static vch_rc show_entries(show_t *s)
{
    VCH_TRY(begin(s, "entries", '['));
    for (size_t i = 0; i < s->v->leaves; i++) VCH_TRY(show_entry(s, &s->v->leaf[i]));
    return end(s, ']');
}

static vch_rc check_statement(const show_t *s, const vfy_leaf_t *l, const vfy_statement_t *t, const vch_entry_t *e)
{
    vch_hash_t hash;
    vch_tree_leaf(&hash, t->bytes);
    if (t->number < e->count &&
        vch_inclusion_verify(t->number, e->count, &hash, vfy_path(t->path), vfy_path_n(t->path), &e->root))
        return VCH_OK;
    return damaged(s, "a statement does not belong to entry", l->index);
}

static vch_rc show_statement(show_t *s, const vfy_leaf_t *l, const vfy_statement_t *t, const vch_entry_t *e)
{
    vch_statement_t st;
    VCH_TRY(check_statement(s, l, t, e));
    if (vch_statement_read(&st, t->bytes, NULL) != VCH_OK || st.kind != e->kind)
        return damaged(s, "a statement can't be read, of entry", l->index);
    vch_id_t object = vch_object_id(&e->id, (uint16_t)t->number);
    const vch_schema_t *schema = vch_schema(st.kind);
    s->salts++;
    VCH_TRY(begin(s, NULL, '{'));
    VCH_TRY(put_uint(s, "entry", l->index));
    VCH_TRY(put_uint(s, "number", t->number));
    VCH_TRY(put_text(s, "kind", vch_str(schema->name)));
    VCH_TRY(put_hex(s, "id", object.b));
    VCH_TRY(put_name(s, "fields"));
    VCH_TRY(vch_fields_to_json(&s->b, schema->field, schema->fields, st.fields, s->err));
    return end(s, '}');
}

static vch_rc show_disclosed(show_t *s)
{
    vch_kind_t kind;
    vch_entry_t e;
    VCH_TRY(begin(s, "statements", '['));
    for (size_t i = 0; i < s->v->leaves; i++) {
        const vfy_leaf_t *l = &s->v->leaf[i];
        if (l->statements == 0) continue;
        VCH_TRY(read_leaf(s, l, &kind, &e));
        if (is_unsigned(kind)) return damaged(s, "it has statements, entry", l->index);
        for (size_t k = 0; k < l->statements; k++) VCH_TRY(show_statement(s, l, &l->statement[k], &e));
    }
    return end(s, ']');
}

/* ---- the rest ------------------------------------------------------------------------------------ */

/* As vouch state get takes it. */
static vch_rc put_key(show_t *s, vch_slice_t key)
{
    VCH_TRY(put_name(s, "key"));
    VCH_TRY(vch_buf_u8(&s->b, '"'));
    bool letter = key.n && ((key.p[0] >= 'a' && key.p[0] <= 'z') || (key.p[0] >= 'A' && key.p[0] <= 'Z'));
    if (letter) VCH_TRY(vch_buf_printf(&s->b, key.n > 1 ? "%c:" : "%c", key.p[0]));
    for (size_t i = letter; i < key.n; i++) VCH_TRY(vch_buf_printf(&s->b, "%02x", key.p[i]));
    return vch_buf_u8(&s->b, '"');
}

static vch_rc show_state(show_t *s)
{
    VCH_TRY(begin(s, "state", '['));
    for (size_t i = 0; i < s->v->items; i++) {
        const vfy_item_t *it = &s->v->item[i];
        VCH_TRY(begin(s, NULL, '{'));
        VCH_TRY(put_uint(s, "at entry", it->index));
        VCH_TRY(put_key(s, it->key));
        VCH_TRY(put_bool(s, "present", it->present));
        VCH_TRY(put_uint(s, "bytes", it->value.n));
        VCH_TRY(end(s, '}'));
    }
    return end(s, ']');
}

static uint64_t rows_in(vch_slice_t bits)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < bits.n; i++) rows += (uint64_t)__builtin_popcount(bits.p[i]);
    return rows;
}

static vch_rc show_rows(show_t *s)
{
    const verify_t *v = s->v;
    VCH_TRY(begin(s, "row sets", '['));
    for (size_t i = 0; i < v->sets; i++) {
        VCH_TRY(begin(s, NULL, '{'));
        VCH_TRY(put_hex(s, "root", v->set[i].id.b));
        VCH_TRY(put_uint(s, "rows", rows_in(v->set[i].bytes)));
        VCH_TRY(end(s, '}'));
    }
    VCH_TRY(end(s, ']'));
    VCH_TRY(put_uint(s, "keys", v->keys));
    VCH_TRY(put_uint(s, "consent chunks", v->columns));
    VCH_TRY(put_uint(s, "lists of subjects", v->subject_lists));
    return put_uint(s, "salts", s->salts);
}

static vch_rc show_all(show_t *s)
{
    VCH_TRY(begin(s, NULL, '{'));
    VCH_TRY(put_uint(s, "format", 1));
    VCH_TRY(put_hex(s, "network", s->v->network.b));
    VCH_TRY(show_claims(s));
    VCH_TRY(show_decisions(s));
    VCH_TRY(show_checkpoints(s));
    VCH_TRY(show_entries(s));
    VCH_TRY(show_disclosed(s));
    VCH_TRY(show_state(s));
    VCH_TRY(show_rows(s));
    return end(s, '}');
}

static vch_rc read_bag(verify_t *v, vch_slice_t bundle, vch_err_t *err)
{
    if (vfy_read(v, bundle) == VCH_OK) return VCH_OK;
    if (v->report->code == VCH_V_I_MEMORY) return vch_fail(err, VCH_ERR_MEMORY, "no memory to read a bundle");
    if (v->report->code == VCH_V_I_VERSION)
        return vch_fail(err, VCH_ERR_VERSION, "the bundle is of a format that this program doesn't know");
    return vch_fail(err, VCH_ERR_COMMITMENT, "this is no bundle, or a damaged one: %s", v->report->detail);
}

vch_rc vch_bundle_show(const uint8_t *bundle, size_t bundle_n, vch_text_t *ret_json, vch_err_t *err)
{
    vch_arena_t arena;
    vch_report_t report = {.status = VCH_VERIFY_OK, .code = VCH_V_OK};
    verify_t v = {.report = &report, .arena = &arena, .section = "bundle"};
    show_t s = {.v = &v, .err = err};
    vch_arena_init(&arena, bundle_n + (32u << 20));
    vch_buf_init(&s.b, SHOWN_MAX);
    vch_rc rc = read_bag(&v, vch_slice(bundle, bundle_n), err);
    if (rc == VCH_OK) rc = show_all(&s);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &s.b);
    vch_buf_free(&s.b);
    vch_arena_free(&arena);
    return nd_told(rc, err);
}
