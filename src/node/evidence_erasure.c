/* SPDX-License-Identifier: Apache-2.0 */
/* The certificate of an erasure: what was erased, who asked, where the rows
 * lie, and what each trustee there said, at the newest state-commit. */
#include <stdlib.h>

#include "codec/cbor.h"
#include "codec/text.h"
#include "entry/holding.h"
#include "node/erasure.h"
#include "node/evidence.h"
#include "verify/verify_impl.h"

/* ---- which erasure ------------------------------------------------------------------ */

static vch_rc no_erasure(const char *id, vch_err_t *err)
{
    vch_fail(err, VCH_ERR_USAGE, "\"%.200s\" names no erasure", id);
    return vch_hint(err, VCH_ERR_USAGE,
                    "write DATASET/SUBJECT, or the id of an erase statement or entry: vouch erasure status DATASET");
}

static vch_rc add_subject(ev_erasure_t *e, const vch_id_t *dataset, uint64_t subject, vch_err_t *err)
{
    if (e->subjects == VFY_ERASED_MAX) {
        vch_fail(err, VCH_ERR_LIMIT, "a certificate covers at most %u subjects", VFY_ERASED_MAX);
        return vch_hint(err, VCH_ERR_LIMIT, "ask for them one by one: DATASET/SUBJECT");
    }
    if (e->subjects && !vch_id_eq(&e->dataset, dataset)) {
        vch_fail(err, VCH_ERR_CONFLICT, "this entry erases in several datasets");
        return vch_hint(err, VCH_ERR_CONFLICT, "ask by the ids of its statements: vouch erasure status DATASET");
    }
    e->dataset = *dataset;
    e->subject[e->subjects++] = (uint32_t)subject;
    return VCH_OK;
}

static vch_rc take_statements(ev_erasure_t *e, const vch_log_entry_t *entry, uint32_t from, uint32_t to, const char *id,
                              vch_err_t *err)
{
    vch_statement_t st;
    vch_id_t dataset;
    uint64_t subject;
    for (uint32_t i = from; i < to; i++) {
        if (entry->record.erased && entry->record.erased[i]) continue;
        VCH_TRY(vch_statement_read(&st, entry->record.statements[i], err));
        if (st.kind != VCH_KIND_ERASE) return no_erasure(id, err);
        VCH_TRY(vch_field_fixed(st.fields, VCH_F_CONSENT_DATASET, dataset.b, 32));
        VCH_TRY(vch_field_uint(st.fields, VCH_F_CONSENT_SUBJECT, &subject));
        VCH_TRY(add_subject(e, &dataset, subject, err));
    }
    return e->subjects ? VCH_OK : no_erasure(id, err);
}

/* The whole entry when it is the entry's id, else the one statement. */
static vch_rc take_entry(ev_erasure_t *e, vch_ledger_t *l, const char *id, vch_arena_t *arena, vch_err_t *err)
{
    uint64_t index;
    uint32_t number;
    vch_log_entry_t entry;
    vch_entry_t head;
    vch_kind_t kind;
    char hex[65];
    VCH_TRY(vch_entry_find(l, id, &index, &number, err));
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_log_read(l->log, index, arena, &entry, err);
    vch_ledger_read_end(l);
    if (rc == VCH_OK) rc = vch_leaf_kind(&kind, entry.record.entry);
    if (rc == VCH_OK && kind != VCH_KIND_ERASE) return no_erasure(id, err);
    if (rc == VCH_OK) rc = vch_entry_read(&head, entry.record.entry, err);
    VCH_TRY(rc);
    vch_hex(hex, head.id.b, 32);
    bool whole = strncmp(hex, id, strlen(id)) == 0;
    return take_statements(e, &entry, whole ? 0 : number, whole ? entry.record.count : number + 1, id, err);
}

static vch_rc take_named(ev_erasure_t *e, vch_ledger_t *l, const char *id, const char *slash, vch_err_t *err)
{
    char name[512];
    vch_id_t dataset;
    uint64_t subject;
    size_t n = (size_t)(slash - id);
    if (n == 0 || n >= sizeof name || vch_decimal_get(&subject, vch_str(slash + 1)) != VCH_OK || subject > UINT32_MAX)
        return no_erasure(id, err);
    memcpy(name, id, n);
    name[n] = 0;
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_resolve(l, 'd', name, &dataset, err);
    vch_ledger_read_end(l);
    return rc == VCH_OK ? add_subject(e, &dataset, subject, err) : rc;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

vch_rc ev_erasure_find(ev_erasure_t *e, vch_ledger_t *l, const char *id, vch_err_t *err)
{
    const char *slash = strrchr(id, '/');
    vch_arena_t arena;
    *e = (ev_erasure_t){.subjects = 0};
    e->subject = vch_alloc_array(VFY_ERASED_MAX, sizeof *e->subject);
    if (!e->subject) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    if (slash) return take_named(e, l, id, slash, err);
    vch_arena_init(&arena, (size_t)64 << 20);
    vch_rc rc = take_entry(e, l, id, &arena, err);
    vch_arena_free(&arena);
    if (rc == VCH_OK) qsort(e->subject, e->subjects, sizeof *e->subject, by_number);
    return rc;
}

void ev_erasure_free(ev_erasure_t *e)
{
    vch_free(e->subject);
    e->subject = NULL;
}

/* ---- what the bag needs ---------------------------------------------------------------- */

typedef struct {
    ev_t *ev;
    const ev_erasure_t *e;
    uint64_t commit, first; /* where the first erase entry stands */
    vch_erasure_value_t *erased;
    vch_hash_t *extent_id; /* of the extents in the list */
    uint32_t *extent;
    size_t extents;
    bool *has_rows; /* of each subject */
    unsigned state, grade;
    size_t words;
} cert_t;

static vch_rc take_subject(cert_t *c, size_t i)
{
    uint32_t subject = c->e->subject[i];
    vch_state_key_t key = vch_key_id_u32('z', c->e->dataset.b, subject);
    vch_slice_t value = {NULL, 0};
    vch_statement_t st;
    uint64_t index, how;
    bool present;
    VCH_TRY(ev_item(c->ev, c->commit, &key, &value, &present));
    if (!present) return vch_fail(c->ev->err, VCH_ERR_NOT_FOUND, "subject %u was not erased", subject);
    VCH_TRY(vch_erasure_get(&c->erased[i], value));
    VCH_TRY(ev_object(c->ev, &c->erased[i].erase, VCH_KIND_ERASE, &st, &index));
    if (i == 0 || index < c->first) c->first = index;
    VCH_TRY(vch_field_uint(st.fields, VCH_F_CONSENT_HOW, &how));
    key = how == VCH_HOW_OWNER ? vch_key_id_u32('S', c->e->dataset.b, subject) : vch_key_id('d', c->e->dataset.b);
    return ev_value(c->ev, c->commit, &key, &value);
}

static vch_rc take_trustees(cert_t *c, size_t i, const vch_hash_t *extent, const vch_holding_t *h)
{
    vch_slice_t value = {NULL, 0};
    unsigned said = 0;
    for (unsigned t = 0; t < h->n; t++) {
        bool present;
        vch_state_key_t key = vch_destroyed_key(&c->erased[i].erase, extent, &h->trustee[t]);
        VCH_TRY(ev_item(c->ev, c->commit, &key, &value, &present));
        if (!present) continue;
        said++;
        if (value.n != 1 || value.p[0] != VCH_GRADE_A) c->grade = VCH_GRADE_B;
    }
    unsigned state = said == h->n ? 2 : said >= vch_holding_holders(h) ? 1 : 0;
    c->words += said;
    c->state = (unsigned)vch_min(c->state, state);
    return VCH_OK;
}

/* Its holders, and for each subject with rows in it what they said. */
static vch_rc take_holders(cert_t *c, uint32_t number, const vch_hash_t *extent, const bool *has)
{
    vch_state_key_t key = vch_key_id_u32('w', c->e->dataset.b, number);
    vch_slice_t value = {NULL, 0};
    vch_holding_t h;
    bool present;
    VCH_TRY(ev_item(c->ev, c->commit, &key, &value, &present));
    if (present) VCH_TRY(vch_holding_get(&h, value));
    for (size_t i = 0; i < c->e->subjects; i++) {
        if (!has[i]) continue;
        if (present) VCH_TRY(take_trustees(c, i, extent, &h));
        c->has_rows[i] = true;
    }
    if (!present) c->state = 0; /* its rows lie in the clear */
    return VCH_OK;
}

static vch_rc put_list(cert_t *c, const vch_subjects_t *s)
{
    vch_buf_t list;
    if (s->extent.contiguous) return VCH_OK;
    vch_buf_init(&list, s->listed.n);
    vch_rc rc = VCH_OK;
    for (uint32_t row = 0; row < s->extent.count && rc == VCH_OK; row++) {
        uint8_t number[4];
        vch_put_u32(number, vch_subjects_of_row(s, row));
        rc = vch_buf_put(&list, number, sizeof number);
    }
    if (rc == VCH_OK) rc = ev_subjects(c->ev, &s->extent.id, vch_buf_slice(&list));
    vch_buf_free(&list);
    return rc;
}

static vch_rc look_at_extent(cert_t *c, uint32_t number, const vch_subjects_t *s, bool *has)
{
    vch_state_key_t key = vch_key_id_u32('e', c->e->dataset.b, number);
    vch_slice_t value = {NULL, 0};
    bool any = false;
    VCH_TRY(ev_value(c->ev, c->commit, &key, &value));
    VCH_TRY(put_list(c, s));
    for (size_t i = 0; i < c->e->subjects; i++) {
        uint32_t row = 0;
        has[i] = number < c->erased[i].extents && vch_subjects_next(s, c->e->subject[i], &row);
        any = any || has[i];
    }
    if (!any) return VCH_OK;
    if (c->extents == VFY_ERASED_MAX)
        return vch_fail(c->ev->err, VCH_ERR_LIMIT, "a certificate covers at most %u extents", VFY_ERASED_MAX);
    c->extent_id[c->extents] = s->extent.id;
    c->extent[c->extents++] = number;
    return take_holders(c, number, &s->extent.id, has);
}

static vch_rc take_extents(cert_t *c)
{
    uint32_t extents = 0;
    bool *has = vch_arena_array(&c->ev->arena, c->e->subjects, sizeof *has);
    if (!has) return ev_no_memory(c->ev);
    for (size_t i = 0; i < c->e->subjects; i++)
        if (c->erased[i].extents > extents) extents = c->erased[i].extents;
    for (uint32_t number = 0; number < extents; number++) {
        vch_subjects_t s;
        VCH_TRY(vch_subjects_load(&s, c->ev->l, &c->e->dataset, number, c->ev->err));
        vch_rc rc = look_at_extent(c, number, &s, has);
        vch_subjects_free(&s);
        VCH_TRY(rc);
    }
    return VCH_OK;
}

/* ---- the words --------------------------------------------------------------------------- */

typedef struct {
    uint64_t index;
    uint32_t number;
} place_t;

typedef struct {
    const cert_t *c;
    place_t *place;
    size_t n;
} search_t;

static bool is_ours(const cert_t *c, const vch_statement_t *st)
{
    vch_id_t erase;
    vch_list_t extents;
    vch_slice_t item, id;
    bool ours = false;
    if (vch_field_fixed(st->fields, VCH_F_DESTROYED_ERASE, erase.b, 32) != VCH_OK) return false;
    for (size_t i = 0; i < c->e->subjects && !ours; i++) ours = vch_id_eq(&erase, &c->erased[i].erase);
    if (!ours || vch_field_list(st->fields, VCH_F_DESTROYED_EXTENTS, &extents) != VCH_OK) return false;
    while (vch_list_next(&extents, &item) == VCH_OK && vch_item_bytes(item, &id) == VCH_OK)
        for (size_t i = 0; i < c->extents; i++)
            if (vch_slice_eq(id, vch_slice(c->extent_id[i].b, 32))) return true;
    return false;
}

static vch_rc look_for_words(void *ctx, const vch_log_entry_t *e)
{
    search_t *s = ctx;
    vch_kind_t kind;
    vch_statement_t st;
    VCH_TRY(vch_leaf_kind(&kind, e->record.entry));
    if (kind != VCH_KIND_KEY_DESTROYED) return VCH_OK;
    for (uint32_t i = 0; i < e->record.count; i++) {
        if (e->record.erased && e->record.erased[i]) continue;
        VCH_TRY(vch_statement_read(&st, e->record.statements[i], NULL));
        if (!is_ours(s->c, &st)) continue;
        if (s->n == VFY_LEAVES_MAX) return VCH_ERR_LIMIT;
        s->place[s->n++] = (place_t){e->index, i};
    }
    return VCH_OK;
}

static vch_rc too_much(ev_t *ev)
{
    vch_fail(ev->err, VCH_ERR_LIMIT, "the words of all trustees are more than one file takes");
    return vch_hint(ev->err, VCH_ERR_LIMIT, "ask for the subjects one by one: DATASET/SUBJECT");
}

static vch_rc take_words(cert_t *c)
{
    ev_t *ev = c->ev;
    vch_statement_t st;
    search_t s = {.c = c, .place = vch_arena_array(&ev->arena, VFY_LEAVES_MAX, sizeof(place_t))};
    if (!s.place) return ev_no_memory(ev);
    vch_rc rc = vch_log_replay(ev->l->log, c->first, c->commit, look_for_words, &s, NULL);
    if (rc == VCH_ERR_LIMIT) return too_much(ev);
    if (rc != VCH_OK) return vch_fail(ev->err, rc, "the log can't be searched: %s", vch_rc_text(rc));
    for (size_t i = 0; i < s.n; i++) VCH_TRY(ev_statement(ev, s.place[i].index, s.place[i].number, &st));
    return VCH_OK;
}

/* ---- the claim ------------------------------------------------------------------------------ */

static vch_rc put_numbers(vch_buf_t *b, uint64_t key, const uint32_t *number, size_t n)
{
    VCH_TRY(vch_cbor_uint(b, key));
    VCH_TRY(vch_cbor_array(b, n));
    for (size_t i = 0; i < n; i++) VCH_TRY(vch_cbor_uint(b, number[i]));
    return VCH_OK;
}

static vch_rc put_claim(const cert_t *c)
{
    vch_buf_t *b = &c->ev->claim;
    const uint64_t number[] = {c->state, c->grade, c->commit};
    VCH_TRY(vch_cbor_map(b, 7));
    VCH_TRY(vch_cbor_uint(b, 0));
    VCH_TRY(vch_cbor_uint(b, VFY_ERASURE));
    VCH_TRY(vch_cbor_uint(b, 1));
    VCH_TRY(vch_cbor_bytes(b, c->e->dataset.b, 32));
    VCH_TRY(put_numbers(b, 2, c->e->subject, c->e->subjects));
    VCH_TRY(put_numbers(b, 3, c->extent, c->extents));
    for (uint64_t i = 0; i < 3; i++) {
        VCH_TRY(vch_cbor_uint(b, 4 + i));
        VCH_TRY(vch_cbor_uint(b, number[i]));
    }
    return VCH_OK;
}

static vch_rc fill(cert_t *c)
{
    vch_arena_t *a = &c->ev->arena;
    c->erased = vch_arena_array(a, c->e->subjects, sizeof *c->erased);
    c->has_rows = vch_arena_array(a, c->e->subjects, sizeof *c->has_rows);
    c->extent = vch_arena_array(a, VFY_ERASED_MAX, sizeof *c->extent);
    c->extent_id = vch_arena_array(a, VFY_ERASED_MAX, sizeof *c->extent_id);
    if (!c->erased || !c->has_rows || !c->extent || !c->extent_id) return ev_no_memory(c->ev);
    for (size_t i = 0; i < c->e->subjects; i++) VCH_TRY(take_subject(c, i));
    VCH_TRY(take_extents(c));
    VCH_TRY(take_words(c));
    for (size_t i = 0; i < c->e->subjects; i++)
        if (!c->has_rows[i]) c->state = 0; /* there was nothing to destroy */
    if (c->words == 0) c->grade = VCH_GRADE_B;
    VCH_TRY(ev_signers(c->ev, c->commit));
    bool fits =
        c->ev->leaves <= VFY_LEAVES_MAX && c->ev->items <= VFY_ITEMS_MAX && c->ev->subject_lists <= VFY_SUBJECTS_MAX;
    return fits ? put_claim(c) : too_much(c->ev);
}

vch_rc ev_claim_erasure(ev_t *ev, const ev_erasure_t *e)
{
    cert_t c = {.ev = ev, .e = e, .commit = ev->size - 1, .state = 2, .grade = VCH_GRADE_A};
    return fill(&c);
}
