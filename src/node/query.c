/* SPDX-License-Identifier: Apache-2.0 */
/* What there is, as JSON: lists, single entries, state values, proofs. */
#include "node/node_int.h"
#include "node/service.h"

#include "codec/text.h"
#include "entry/note.h"
#include "merkle/smt.h"

#define TEXT_MAX ((size_t)1 << 30)

typedef struct {
    vch_ledger_t *l;
    vch_buf_t *b;
    vch_arena_t *arena; /* of one item */
    const nd_listed_t *at;
    vch_statement_t statement;
    vch_log_entry_t entry;
    size_t items;
    vch_id_t of;
    bool bare; /* an entry without its statements */
    vch_err_t *err;
} query_t;

static vch_rc put_id(query_t *q, const char *name, const void *id)
{
    VCH_TRY(vch_buf_printf(q->b, ",\"%s\":", name));
    return nd_put_hex(q->b, id, 32);
}

static vch_rc put_text(query_t *q, const char *name, vch_slice_t text)
{
    VCH_TRY(vch_buf_printf(q->b, ",\"%s\":", name));
    return vch_json_put_string(q->b, text);
}

static vch_rc put_uint(query_t *q, const char *name, uint64_t v)
{
    return vch_buf_printf(q->b, ",\"%s\":%llu", name, (unsigned long long)v);
}

static vch_rc put_bool(query_t *q, const char *name, bool v)
{
    return vch_buf_printf(q->b, ",\"%s\":%s", name, v ? "true" : "false");
}

/* The state value of the item's object, in the item's arena. */
static vch_rc value_of(query_t *q, char tag, const void *id, vch_slice_t *ret)
{
    vch_state_key_t key = vch_key_id(tag, id);
    vch_buf_t value;
    vch_buf_init(&value, VCH_TX_BYTES_MAX);
    vch_rc rc = vch_state_get(q->l->state, vch_key_slice(&key), &value, q->err);
    if (rc == VCH_OK) {
        void *copy = vch_arena_copy(q->arena, value.p, value.n);
        rc = copy ? VCH_OK : vch_fail(q->err, VCH_ERR_MEMORY, "out of memory");
        if (copy) *ret = vch_slice(copy, value.n);
    }
    vch_buf_free(&value);
    return rc;
}

/* "name" of a party, or nothing when it is unknown. */
static vch_rc put_party(query_t *q, const char *name, const vch_id_t *id)
{
    vch_slice_t value;
    vch_party_value_t party;
    VCH_TRY(value_of(q, 'p', id->b, &value));
    VCH_TRY(vch_party_get(&party, value));
    VCH_TRY(put_text(q, name, party.name));
    VCH_TRY(vch_buf_printf(q->b, ",\"%s id\":", name));
    return nd_put_hex(q->b, id->b, 32);
}

/* ---- one function per list --------------------------------------------------------------- */

static vch_rc show_key(query_t *q, const vch_keyid_t *id)
{
    vch_slice_t value;
    vch_key_value_t key;
    VCH_TRY(value_of(q, 'k', id->b, &value));
    VCH_TRY(vch_key_get(&key, value));
    VCH_TRY(vch_buf_printf(q->b, "{\"key id\":"));
    VCH_TRY(nd_put_hex(q->b, id->b, 32));
    VCH_TRY(vch_buf_printf(q->b, ",\"multicodec\":"));
    VCH_TRY(nd_put_hex(q->b, key.key.p, key.key.n));
    VCH_TRY(vch_buf_printf(q->b, ",\"did\":\"did:key:"));
    VCH_TRY(vch_multibase_put(q->b, key.key.p, key.key.n));
    return vch_buf_printf(q->b, "\"}");
}

static vch_rc show_party(query_t *q)
{
    vch_slice_t value;
    vch_party_value_t party;
    VCH_TRY(value_of(q, 'p', q->at->id.b, &value));
    VCH_TRY(vch_party_get(&party, value));
    VCH_TRY(put_text(q, "name", party.name));
    VCH_TRY(vch_buf_printf(q->b, ",\"roles\":"));
    VCH_TRY(nd_put_roles(q->b, party.roles));
    VCH_TRY(vch_buf_printf(q->b, ",\"keys\":["));
    for (size_t i = 0; i < party.keys; i++) {
        if (i) VCH_TRY(vch_buf_u8(q->b, ','));
        VCH_TRY(show_key(q, &party.key[i]));
    }
    return vch_buf_u8(q->b, ']');
}

static vch_rc put_names(query_t *q, const char *name, uint64_t key, bool structs)
{
    vch_list_t list;
    vch_slice_t item, text;
    bool first = true;
    VCH_TRY(vch_field_list(q->statement.fields, key, &list));
    VCH_TRY(vch_buf_printf(q->b, ",\"%s\":[", name));
    while (vch_list_next(&list, &item) == VCH_OK) {
        VCH_TRY(structs ? vch_field_bytes(item, VCH_F_COLUMN_NAME, &text) : vch_item_bytes(item, &text));
        if (!first) VCH_TRY(vch_buf_u8(q->b, ','));
        VCH_TRY(vch_json_put_string(q->b, text));
        first = false;
    }
    return vch_buf_u8(q->b, ']');
}

static vch_rc show_dataset(query_t *q)
{
    vch_slice_t value, name;
    vch_dataset_value_t d;
    VCH_TRY(value_of(q, 'd', q->at->id.b, &value));
    VCH_TRY(vch_dataset_get(&d, value));
    VCH_TRY(vch_field_bytes(q->statement.fields, VCH_F_DATASET_NAME, &name));
    VCH_TRY(put_text(q, "name", name));
    VCH_TRY(put_party(q, "custodian", &d.custodian));
    VCH_TRY(put_names(q, "groups", VCH_F_DATASET_GROUPS, false));
    VCH_TRY(put_names(q, "columns", VCH_F_DATASET_COLUMNS, true));
    VCH_TRY(put_uint(q, "versions", d.versions));
    VCH_TRY(put_uint(q, "extents", d.extents));
    VCH_TRY(put_uint(q, "subjects", d.subjects));
    return d.has_latest ? put_id(q, "latest", d.latest.b) : VCH_OK;
}

static vch_rc show_version(query_t *q)
{
    vch_slice_t value;
    vch_version_value_t v;
    VCH_TRY(value_of(q, 'v', q->at->id.b, &value));
    VCH_TRY(vch_version_get(&v, value));
    VCH_TRY(put_id(q, "dataset", v.dataset.b));
    VCH_TRY(put_uint(q, "number", v.number));
    VCH_TRY(put_uint(q, "rows", v.live));
    VCH_TRY(put_uint(q, "extents", v.extents));
    VCH_TRY(put_id(q, "live root", v.live_root.b));
    return v.has_previous ? put_id(q, "previous", v.previous.b) : VCH_OK;
}

static vch_rc show_terms(query_t *q)
{
    vch_slice_t document, title;
    VCH_TRY(vch_field_bytes(q->statement.fields, VCH_F_TERMS_DOCUMENT, &document));
    VCH_TRY(vch_field_bytes(document, VCH_F_DOC_TITLE, &title));
    VCH_TRY(put_text(q, "name", title));
    VCH_TRY(put_id(q, "hash", q->at->id.b));
    VCH_TRY(vch_buf_printf(q->b, ",\"document\":"));
    return vch_fields_to_json(q->b, vch_terms_fields, vch_terms_fields_n, document, q->err);
}

static vch_rc put_groups(query_t *q, unsigned groups)
{
    bool first = true;
    VCH_TRY(vch_buf_printf(q->b, ",\"groups\":["));
    for (unsigned i = 0; i < VCH_GROUPS_MAX; i++) {
        if (!(groups >> i & 1)) continue;
        VCH_TRY(vch_buf_printf(q->b, "%s%u", first ? "" : ",", i));
        first = false;
    }
    return vch_buf_u8(q->b, ']');
}

/* It stands right behind its request. */
static vch_rc put_outcome(query_t *q)
{
    vch_log_entry_t next;
    vch_outcome_t o;
    VCH_TRY(vch_log_read(q->l->log, q->at->index + 1, q->arena, &next, q->err));
    VCH_TRY(vch_outcome_get(&o, next.record.entry));
    VCH_TRY(put_bool(q, "permit", o.permit));
    VCH_TRY(put_text(q, "rule", vch_str(o.rule)));
    VCH_TRY(put_uint(q, "rows", o.count));
    VCH_TRY(put_id(q, "set root", o.set_root.b));
    VCH_TRY(vch_buf_u8(q->b, ','));
    return nd_put_time(q->b, "expires", o.expires);
}

static vch_rc show_grant(query_t *q)
{
    vch_slice_t value;
    vch_grant_value_t g;
    VCH_TRY(value_of(q, 'a', q->at->id.b, &value));
    VCH_TRY(vch_grant_get(&g, value));
    VCH_TRY(put_id(q, "version", g.version.b));
    VCH_TRY(put_party(q, "party", &g.party));
    VCH_TRY(put_text(q, "purpose", g.purpose));
    VCH_TRY(put_text(q, "processing", g.processing));
    VCH_TRY(put_groups(q, g.groups));
    return put_outcome(q);
}

/* Whose own it is, its statement says to those who may read it. */
static vch_rc show_own(query_t *q)
{
    vch_slice_t value;
    vch_own_value_t own;
    VCH_TRY(value_of(q, 'o', q->at->id.b, &value));
    VCH_TRY(vch_own_get(&own, value));
    VCH_TRY(put_id(q, "version", own.version.b));
    VCH_TRY(put_bool(q, "own", true));
    VCH_TRY(put_groups(q, own.groups));
    return put_outcome(q);
}

static vch_rc show_request(query_t *q) { return q->at->kind == VCH_KIND_OWN_ACCESS ? show_own(q) : show_grant(q); }

static vch_rc show_run(query_t *q)
{
    static const char *const status[] = {"open", "completed", "failed"};
    vch_slice_t value, name;
    vch_run_value_t r;
    VCH_TRY(value_of(q, 'r', q->at->id.b, &value));
    VCH_TRY(vch_run_get(&r, value));
    VCH_TRY(vch_field_bytes(q->statement.fields, VCH_F_RUN_NAME, &name));
    VCH_TRY(put_text(q, "name", name));
    VCH_TRY(put_id(q, "version", r.version.b));
    VCH_TRY(put_party(q, "party", &r.party));
    VCH_TRY(put_uint(q, "rows", r.count));
    VCH_TRY(put_id(q, "set root", r.set_root.b));
    return vch_buf_printf(q->b, ",\"status\":\"%s\"", status[r.status < 3 ? r.status : 2]);
}

static vch_rc show_model(query_t *q)
{
    vch_slice_t value;
    vch_model_value_t m;
    VCH_TRY(value_of(q, 'm', q->at->id.b, &value));
    VCH_TRY(vch_model_get(&m, value));
    VCH_TRY(put_text(q, "name", m.name));
    VCH_TRY(put_party(q, "party", &m.party));
    VCH_TRY(put_id(q, "digest", m.digest.b));
    VCH_TRY(put_bool(q, "proven", m.proven));
    if (m.proven) VCH_TRY(put_id(q, "run", m.run.b));
    return put_uint(q, "remedies", m.remedies);
}

static vch_rc show_deployment(query_t *q)
{
    vch_slice_t value, scope;
    vch_deployment_value_t d;
    VCH_TRY(value_of(q, 'y', q->at->id.b, &value));
    VCH_TRY(vch_deployment_get(&d, value));
    VCH_TRY(vch_field_bytes(q->statement.fields, VCH_F_DEPLOYMENT_SCOPE, &scope));
    VCH_TRY(put_text(q, "name", scope));
    VCH_TRY(put_id(q, "model", d.model.b));
    VCH_TRY(put_party(q, "party", &d.party));
    VCH_TRY(put_bool(q, "ended", d.ended));
    return put_uint(q, "next", d.next);
}

static vch_rc show_batch(query_t *q)
{
    vch_slice_t value;
    vch_batch_value_t v;
    VCH_TRY(value_of(q, 'b', q->at->id.b, &value));
    VCH_TRY(vch_batch_get(&v, value));
    VCH_TRY(put_id(q, "deployment", v.deployment.b));
    VCH_TRY(put_uint(q, "first", v.first));
    VCH_TRY(put_uint(q, "count", v.count));
    VCH_TRY(put_uint(q, "lost", v.lost));
    return put_id(q, "root", v.root.b);
}

static vch_rc show_remedy(query_t *q)
{
    const vch_schema_t *schema = vch_schema(VCH_KIND_REMEDY);
    VCH_TRY(vch_buf_printf(q->b, ",\"fields\":"));
    return vch_fields_to_json(q->b, schema->field, schema->fields, q->statement.fields, q->err);
}

typedef struct {
    const char *what;
    vch_kind_t kind, also;
    vch_rc (*show)(query_t *);
    uint64_t of_field; /* 32 bytes that must be `of`; UINT64_MAX: none */
    char of_tag;
} list_t;

static const list_t lists[] = {
    {"parties", VCH_KIND_PARTY, VCH_KIND_GENESIS, show_party, UINT64_MAX, 0},
    {"datasets", VCH_KIND_DATASET, VCH_KIND_DATASET, show_dataset, UINT64_MAX, 0},
    {"versions", VCH_KIND_VERSION, VCH_KIND_VERSION, show_version, VCH_F_VERSION_DATASET, 'd'},
    {"terms", VCH_KIND_TERMS, VCH_KIND_TERMS, show_terms, UINT64_MAX, 0},
    {"grants", VCH_KIND_ACCESS, VCH_KIND_OWN_ACCESS, show_request, VCH_F_ACCESS_VERSION, 'v'},
    {"runs", VCH_KIND_RUN, VCH_KIND_RUN, show_run, UINT64_MAX, 0},
    {"models", VCH_KIND_MODEL, VCH_KIND_MODEL, show_model, VCH_F_MODEL_RUN, 'r'},
    {"deployments", VCH_KIND_DEPLOYMENT, VCH_KIND_DEPLOYMENT, show_deployment, VCH_F_DEPLOYMENT_MODEL, 'm'},
    {"batches", VCH_KIND_DECISIONS, VCH_KIND_DECISIONS, show_batch, VCH_F_DECISIONS_DEPLOYMENT, 'y'},
    {"remedies", VCH_KIND_REMEDY, VCH_KIND_REMEDY, show_remedy, VCH_F_REMEDY_MODEL, 'm'},
};

/* ---- walking a list --------------------------------------------------------------------------- */

static vch_rc load_item(query_t *q)
{
    uint32_t i = q->at->statement;
    VCH_TRY(vch_log_read(q->l->log, q->at->index, q->arena, &q->entry, q->err));
    if (i >= q->entry.record.count) i = 0; /* a party of genesis */
    if (q->entry.record.count == 0 || (q->entry.record.erased && q->entry.record.erased[i]))
        return vch_fail(q->err, VCH_ERR_NOT_FOUND, "a statement was erased");
    return vch_statement_read(&q->statement, q->entry.record.statements[i], q->err);
}

static bool is_of(const query_t *q, const list_t *list)
{
    vch_id_t id;
    if (vch_field_fixed(q->statement.fields, list->of_field, id.b, 32) != VCH_OK) return false;
    return vch_id_eq(&id, &q->of);
}

static vch_rc show_item(query_t *q, const list_t *list, bool filtered)
{
    VCH_TRY(load_item(q));
    if (filtered && !is_of(q, list)) return VCH_OK;
    VCH_TRY(vch_buf_printf(q->b, "%s{\"id\":", q->items++ ? "," : ""));
    VCH_TRY(nd_put_hex(q->b, q->at->id.b, 32));
    VCH_TRY(list->show(q));
    VCH_TRY(put_uint(q, "index", q->at->index));
    VCH_TRY(vch_buf_u8(q->b, ','));
    VCH_TRY(nd_put_time(q->b, "time", q->entry.time));
    return vch_buf_u8(q->b, '}');
}

static vch_rc show_list(query_t *q, const list_t *list, bool filtered)
{
    VCH_TRY(nd_objects_refresh(q->l, q->err));
    const nd_objects_t *o = &q->l->in->objects;
    for (size_t i = 0; i < o->listed_n; i++) {
        nd_listed_t at = o->listed[i];
        if (at.kind != list->kind && at.kind != list->also) continue;
        q->at = &at;
        vch_arena_reset(q->arena);
        VCH_TRY(show_item(q, list, filtered));
    }
    return VCH_OK;
}

static vch_rc query_list(query_t *q, const list_t *list, const char *of)
{
    bool filtered = of && *of;
    if (filtered && !list->of_tag)
        return vch_fail(q->err, VCH_ERR_USAGE, "%s are not listed by anything else", list->what);
    if (filtered) VCH_TRY(vch_resolve(q->l, list->of_tag, of, &q->of, q->err));
    return show_list(q, list, filtered);
}

/* ---- consents: what is in force, subject by subject ---------------------------------------------- */

static vch_rc load_palette(query_t *q, uint16_t index, vch_palette_value_t *ret)
{
    vch_state_key_t key = vch_key_id_u16('c', q->of.b, index);
    vch_buf_t value;
    vch_buf_init(&value, 1u << 16);
    vch_rc rc = vch_state_get(q->l->state, vch_key_slice(&key), &value, q->err);
    if (rc == VCH_OK) rc = vch_palette_get(ret, vch_buf_slice(&value));
    vch_buf_free(&value);
    return rc;
}

static vch_rc show_consent(query_t *q, const vch_palette_item_t *item)
{
    static const char *const how[] = {"owner", "recorded", "delegate"};
    char day[24];
    vch_buf_t text;
    vch_slice_t document, title = vch_str("");
    if (value_of(q, 't', item->terms.b, &document) == VCH_OK)
        VCH_TRY(vch_field_bytes(document, VCH_F_DOC_TITLE, &title));
    vch_buf_init(&text, 256);
    vch_rc rc = nd_put_time(&text, "d", (vch_time_t){(uint64_t)item->until_day * 86400000});
    if (rc == VCH_OK) { /* "d":"YYYY-MM-DDT… */
        memcpy(day, text.p + 5, 10);
        day[10] = 0;
    }
    vch_buf_free(&text);
    VCH_TRY(rc);
    VCH_TRY(vch_buf_printf(q->b, "{\"terms\":"));
    VCH_TRY(nd_put_hex(q->b, item->terms.b, 32));
    VCH_TRY(put_text(q, "title", title));
    return vch_buf_printf(q->b, ",\"until\":\"%s\",\"how\":\"%s\"}", day, how[item->how < 3 ? item->how : 2]);
}

static vch_rc show_subject(query_t *q, uint32_t subject, const vch_cell_t *cell)
{
    vch_palette_value_t palette = {.items = 0};
    vch_arena_reset(q->arena);
    if (cell->index) VCH_TRY(load_palette(q, cell->index, &palette));
    VCH_TRY(vch_buf_printf(q->b, "%s{\"subject\":%u,\"serial\":%u,\"owner withdrew\":%s,\"last\":",
                           q->items++ ? "," : "", subject, cell->serial, palette.owner_withdrew ? "true" : "false"));
    VCH_TRY(nd_put_hex(q->b, cell->last.b, 32));
    VCH_TRY(vch_buf_printf(q->b, ",\"consents\":["));
    for (size_t i = 0; i < palette.items; i++) {
        if (i) VCH_TRY(vch_buf_u8(q->b, ','));
        VCH_TRY(show_consent(q, &palette.item[i]));
    }
    return vch_buf_printf(q->b, "]}");
}

static vch_rc subjects_of(query_t *q, uint32_t *ret)
{
    vch_slice_t value;
    vch_dataset_value_t d;
    vch_arena_reset(q->arena);
    VCH_TRY(value_of(q, 'd', q->of.b, &value));
    VCH_TRY(vch_dataset_get(&d, value));
    *ret = d.subjects;
    return VCH_OK;
}

/* Everybody about whom anything was ever said. */
static vch_rc all_consents(query_t *q, uint32_t subjects)
{
    vch_cell_t *cell = vch_alloc_array(VCH_CHUNK, sizeof *cell);
    if (!cell) return vch_fail(q->err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = VCH_OK;
    for (uint64_t first = 0; rc == VCH_OK && first < subjects; first += VCH_CHUNK) {
        rc = vch_state_chunk(q->l->state, &q->of, (uint32_t)(first / VCH_CHUNK), cell, q->err);
        for (uint32_t i = 0; rc == VCH_OK && i < VCH_CHUNK && first + i < subjects; i++)
            if (cell[i].serial) rc = show_subject(q, (uint32_t)first + i, &cell[i]);
    }
    vch_free(cell);
    return rc;
}

static vch_rc query_consents(query_t *q, const char *of)
{
    char dataset[256];
    uint32_t subjects;
    uint64_t subject = 0;
    vch_cell_t cell;
    const char *slash = of ? strrchr(of, '/') : NULL;
    size_t n = slash ? (size_t)(slash - of) : of ? strlen(of) : 0;
    if (n == 0 || n >= sizeof dataset)
        return vch_fail(q->err, VCH_ERR_USAGE, "consents are listed of DATASET or DATASET/SUBJECT");
    memcpy(dataset, of, n);
    dataset[n] = 0;
    if (slash && vch_decimal_get(&subject, vch_str(slash + 1)) != VCH_OK)
        return vch_fail(q->err, VCH_ERR_USAGE, "\"%.40s\" is no subject's number", slash + 1);
    VCH_TRY(vch_resolve(q->l, 'd', dataset, &q->of, q->err));
    VCH_TRY(subjects_of(q, &subjects));
    if (!slash) return all_consents(q, subjects);
    if (subject >= subjects)
        return vch_fail(q->err, VCH_ERR_NOT_FOUND, "the dataset %s has subjects 0 to %lld", dataset,
                        (long long)subjects - 1);
    VCH_TRY(vch_state_cell(q->l->state, &q->of, (uint32_t)subject, &cell, q->err));
    return show_subject(q, (uint32_t)subject, &cell);
}

/* ---- the public functions ------------------------------------------------------------------------------ */

static vch_rc query(query_t *q, const char *what, const char *of)
{
    VCH_TRY(vch_buf_u8(q->b, '['));
    vch_rc rc = VCH_ERR_USAGE;
    const list_t *list = NULL;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (strcmp(lists[i].what, what) == 0) list = &lists[i];
    if (list)
        rc = query_list(q, list, of);
    else if (strcmp(what, "consents") == 0)
        rc = query_consents(q, of);
    else
        return vch_fail(q->err, rc, "there is no list of \"%.40s\"", what);
    return rc == VCH_OK ? vch_buf_u8(q->b, ']') : rc;
}

/* A failure without a text gets one; a damaged state value is rebuilt next time. */
static vch_rc told(vch_ledger_t *l, vch_rc rc, vch_err_t *why, vch_err_t *err)
{
    if (rc == VCH_OK) return rc;
    if (rc == VCH_ERR_CORRUPT) l->in->suspect = true;
    if (!why->text[0]) (void)vch_fail(why, rc, "reading the ledger: %s", vch_rc_text(rc));
    why->rc = rc;
    if (err) *err = *why;
    return rc;
}

vch_rc vch_query_into(vch_ledger_t *l, const char *what, const char *of, vch_buf_t *ret, vch_err_t *err)
{
    vch_arena_t arena;
    vch_err_t why = {0};
    query_t q = {.l = l, .b = ret, .arena = &arena, .err = &why};
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_arena_init(&arena, 32u << 20);
    vch_rc rc = query(&q, what, of);
    vch_arena_free(&arena);
    rc = told(l, rc, &why, err);
    vch_ledger_read_end(l);
    return rc;
}

static vch_rc take_text(vch_rc rc, vch_buf_t *b, vch_text_t *ret, vch_err_t *err)
{
    if (rc == VCH_OK && vch_text_take(ret, b) != VCH_OK) rc = vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_buf_free(b);
    return rc;
}

vch_rc vch_query(vch_ledger_t *l, const char *what, const char *of, vch_text_t *ret_json, vch_err_t *err)
{
    vch_buf_t b;
    if (l->remote) return nd_remote_query(l, what, of, ret_json, err);
    vch_buf_init(&b, TEXT_MAX);
    vch_rc rc = vch_query_into(l, what, of, &b, err);
    return take_text(rc, &b, ret_json, err);
}

/* ---- one entry ---------------------------------------------------------------------------------------------- */

static vch_rc show_statement(query_t *q, uint32_t i, const vch_id_t *entry_id)
{
    const vch_record_t *r = &q->entry.record;
    vch_statement_t st;
    vch_id_t object = vch_object_id(entry_id, (uint16_t)i);
    VCH_TRY(vch_buf_printf(q->b, "%s{\"id\":", i ? "," : ""));
    VCH_TRY(nd_put_hex(q->b, object.b, 32));
    if (r->erased && r->erased[i]) {
        VCH_TRY(vch_buf_printf(q->b, ",\"erased\":"));
        VCH_TRY(nd_put_hex(q->b, r->statements[i].p, r->statements[i].n));
        return vch_buf_u8(q->b, '}');
    }
    VCH_TRY(vch_statement_read(&st, r->statements[i], q->err));
    const vch_schema_t *schema = vch_schema(st.kind);
    VCH_TRY(vch_buf_printf(q->b, ",\"salt\":"));
    VCH_TRY(nd_put_hex(q->b, st.salt.p, st.salt.n));
    VCH_TRY(vch_buf_printf(q->b, ",\"fields\":"));
    VCH_TRY(vch_fields_to_json(q->b, schema->field, schema->fields, st.fields, q->err));
    return vch_buf_u8(q->b, '}');
}

static vch_rc show_signer(query_t *q, const vch_keyid_t *kid)
{
    vch_slice_t value;
    vch_key_value_t key;
    VCH_TRY(put_id(q, "key id", kid->b));
    vch_rc rc = value_of(q, 'k', kid->b, &value);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    VCH_TRY(rc);
    VCH_TRY(vch_key_get(&key, value));
    return put_party(q, "signer", &key.party);
}

static vch_rc show_signed(query_t *q)
{
    vch_entry_t e;
    VCH_TRY(vch_entry_read(&e, q->entry.record.entry, q->err));
    VCH_TRY(vch_buf_printf(q->b, ",\"kind\":\"%s\"", vch_schema(e.kind)->name));
    VCH_TRY(put_id(q, "id", e.id.b));
    VCH_TRY(show_signer(q, &e.cose.kid));
    VCH_TRY(put_uint(q, "sequence", e.sequence));
    if (e.has_not_after) {
        VCH_TRY(vch_buf_u8(q->b, ','));
        VCH_TRY(nd_put_time(q->b, "not after", e.not_after));
    }
    VCH_TRY(put_id(q, "statements root", e.root.b));
    if (q->bare) return put_uint(q, "count", q->entry.record.count);
    VCH_TRY(vch_buf_printf(q->b, ",\"statements\":["));
    for (uint32_t i = 0; i < q->entry.record.count; i++) VCH_TRY(show_statement(q, i, &e.id));
    return vch_buf_u8(q->b, ']');
}

static vch_rc show_commit(query_t *q)
{
    vch_state_commit_t c;
    VCH_TRY(vch_state_commit_get(&c, q->entry.record.entry));
    VCH_TRY(vch_buf_printf(q->b, ",\"kind\":\"state-commit\""));
    VCH_TRY(put_uint(q, "first", c.first));
    VCH_TRY(put_uint(q, "count", c.count));
    VCH_TRY(put_id(q, "state root", c.state_root.b));
    return put_id(q, "previous", c.previous.b);
}

static vch_rc show_outcome(query_t *q)
{
    vch_outcome_t o;
    VCH_TRY(vch_outcome_get(&o, q->entry.record.entry));
    VCH_TRY(vch_buf_printf(q->b, ",\"kind\":\"outcome\""));
    VCH_TRY(put_id(q, "request", o.request.b));
    VCH_TRY(put_bool(q, "permit", o.permit));
    VCH_TRY(put_text(q, "rule", vch_str(o.rule)));
    VCH_TRY(put_id(q, "set root", o.set_root.b));
    VCH_TRY(put_uint(q, "rows", o.count));
    VCH_TRY(vch_buf_u8(q->b, ','));
    return nd_put_time(q->b, "expires", o.expires);
}

static vch_rc show_entry(query_t *q, uint64_t index)
{
    vch_kind_t kind;
    VCH_TRY(vch_log_read(q->l->log, index, q->arena, &q->entry, q->err));
    VCH_TRY(vch_leaf_kind(&kind, q->entry.record.entry));
    VCH_TRY(vch_buf_printf(q->b, "{\"index\":%llu", (unsigned long long)index));
    VCH_TRY(put_uint(q, "height", q->entry.height));
    VCH_TRY(vch_buf_u8(q->b, ','));
    VCH_TRY(nd_put_time(q->b, "time", q->entry.time));
    uint64_t committed = 0;
    if (nd_committed(q->l, &committed, NULL) != VCH_OK) committed = 0; /* no readable policy: nobody is believed */
    VCH_TRY(put_bool(q, "committed", index < committed));
    if (kind == VCH_KIND_STATE_COMMIT)
        VCH_TRY(show_commit(q));
    else if (kind == VCH_KIND_OUTCOME)
        VCH_TRY(show_outcome(q));
    else
        VCH_TRY(show_signed(q));
    return vch_buf_u8(q->b, '}');
}

vch_rc vch_entry_into(vch_ledger_t *l, uint64_t index, bool statements, vch_buf_t *ret, vch_err_t *err)
{
    vch_arena_t arena;
    vch_err_t why = {0};
    query_t q = {.l = l, .b = ret, .arena = &arena, .bare = !statements, .err = &why};
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_arena_init(&arena, 64u << 20);
    vch_rc rc = show_entry(&q, index);
    vch_arena_free(&arena);
    rc = told(l, rc, &why, err);
    vch_ledger_read_end(l);
    return rc;
}

vch_rc vch_entry_show(vch_ledger_t *l, uint64_t index, vch_text_t *ret_json, vch_err_t *err)
{
    vch_buf_t b;
    if (l->remote) return nd_remote_entry(l, index, ret_json, err);
    vch_buf_init(&b, TEXT_MAX);
    vch_rc rc = vch_entry_into(l, index, true, &b, err);
    return take_text(rc, &b, ret_json, err);
}

/* ---- state values and proofs ------------------------------------------------------------------------------------ */

static vch_rc show_proof(vch_buf_t *b, const vch_smt_proof_t *p, const vch_state_info_t *info)
{
    static const char *const end[] = {"member", "other", "empty"};
    VCH_TRY(vch_buf_printf(b, ",\"root\":"));
    VCH_TRY(nd_put_hex(b, info->root.b, 32));
    /* No block is open, so the newest leaf is the state-commit of this root. */
    VCH_TRY(vch_buf_printf(b, ",\"height\":%llu,\"entry\":%llu,\"end\":\"%s\"", (unsigned long long)info->height,
                           (unsigned long long)info->applied - 1, end[p->end]));
    if (p->end == VCH_SMT_OTHER) {
        VCH_TRY(vch_buf_printf(b, ",\"other path\":"));
        VCH_TRY(nd_put_hex(b, p->leaf.path.b, 32));
        VCH_TRY(vch_buf_printf(b, ",\"other value hash\":"));
        VCH_TRY(nd_put_hex(b, p->leaf.value_hash.b, 32));
    }
    VCH_TRY(vch_buf_printf(b, ",\"siblings\":["));
    for (size_t i = 0; i < p->depth; i++) {
        if (i) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(nd_put_hex(b, p->sibling[i].b, 32));
    }
    return vch_buf_printf(b, "]}");
}

static vch_rc show_state(vch_ledger_t *l, vch_slice_t key, vch_smt_proof_t *proof, vch_buf_t *b, vch_err_t *err)
{
    vch_state_info_t info;
    vch_buf_t value;
    vch_state_info(l->state, &info);
    vch_buf_init(&value, 64u << 20);
    vch_rc rc = vch_state_get(l->state, key, &value, err);
    bool present = rc == VCH_OK;
    if (rc == VCH_ERR_NOT_FOUND) rc = VCH_OK;
    if (rc == VCH_OK) rc = vch_state_prove(l->state, key, proof, err);
    if (rc == VCH_OK) rc = vch_buf_printf(b, "{\"key\":");
    if (rc == VCH_OK) rc = nd_put_hex(b, key.p, key.n);
    if (rc == VCH_OK) rc = vch_buf_printf(b, ",\"present\":%s,\"value\":", present ? "true" : "false");
    if (rc == VCH_OK) rc = present ? nd_put_hex(b, value.p, value.n) : vch_buf_printf(b, "null");
    if (rc == VCH_OK) rc = show_proof(b, proof, &info);
    vch_buf_free(&value);
    return rc;
}

vch_rc vch_state_into(vch_ledger_t *l, vch_slice_t key, vch_buf_t *ret, vch_err_t *err)
{
    vch_err_t why = {0};
    vch_smt_proof_t *proof = vch_alloc(sizeof *proof);
    if (!proof) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = vch_ledger_settle(l, err);
    if (rc == VCH_OK) {
        rc = show_state(l, key, proof, ret, &why);
        rc = told(l, rc, &why, err);
        vch_ledger_read_end(l);
    }
    vch_free(proof);
    return rc;
}

vch_rc vch_state_show(vch_ledger_t *l, const uint8_t *key, size_t key_n, vch_text_t *ret_json, vch_err_t *err)
{
    vch_buf_t b;
    if (l->remote) return nd_remote_state(l, vch_slice(key, key_n), ret_json, err);
    vch_buf_init(&b, 256u << 20);
    vch_rc rc = vch_state_into(l, vch_slice(key, key_n), &b, err);
    return take_text(rc, &b, ret_json, err);
}

static vch_rc prove(vch_ledger_t *l, uint64_t index, vch_buf_t *b, vch_err_t *err)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t path_n = 0;
    uint64_t size = 0;
    vch_log_entry_t e;
    vch_arena_t arena;
    vch_buf_t note;
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    vch_arena_init(&arena, 16u << 20);
    vch_rc rc = vch_ledger_cosigned(l, index + 1, &note, &size, NULL);
    if (rc == VCH_ERR_NOT_FOUND) rc = vch_log_head(l->log, &note, &size, err);
    if (rc == VCH_OK && index >= size) rc = VCH_ERR_NOT_FOUND;
    if (rc == VCH_OK) rc = vch_log_inclusion(l->log, index, size, path, &path_n, err);
    if (rc == VCH_OK) rc = vch_log_read(l->log, index, &arena, &e, err);
    if (rc == VCH_OK) {
        rc = vch_tlog_proof_put(b, index, path, path_n, e.record.entry, vch_buf_slice(&note));
        if (rc != VCH_OK) (void)vch_fail(err, rc, "writing a proof: %s", vch_rc_text(rc));
    }
    vch_arena_free(&arena);
    vch_buf_free(&note);
    return rc;
}

/* Under a cosigned checkpoint if one covers the entry, else under the last one,
 * and one is signed first when that doesn't cover it either. */
static vch_rc prove_or_sign(vch_ledger_t *l, uint64_t index, vch_buf_t *b, vch_err_t *err)
{
    if (index >= vch_log_size(l->log))
        return vch_fail(err, VCH_ERR_NOT_FOUND, "there is no entry %llu; the ledger has %llu",
                        (unsigned long long)index, (unsigned long long)vch_log_size(l->log));
    vch_rc rc = prove(l, index, b, err);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    VCH_TRY(nd_enter(l, err));
    rc = nd_checkpoint(l, NULL, err);
    nd_leave(l);
    return rc == VCH_OK ? prove(l, index, b, err) : rc;
}

vch_rc vch_prove_inclusion(vch_ledger_t *l, uint64_t index, vch_text_t *ret_proof, vch_err_t *err)
{
    vch_buf_t b;
    if (l->remote) return nd_remote_inclusion(l, index, ret_proof, err);
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_buf_init(&b, 1u << 20);
    vch_rc rc = prove_or_sign(l, index, &b, err);
    if (rc == VCH_OK) rc = vch_text_take(ret_proof, &b);
    vch_buf_free(&b);
    vch_ledger_read_end(l);
    return nd_told(rc, err);
}

static vch_rc consistency(vch_ledger_t *l, uint64_t size1, uint64_t size2, vch_buf_t *b, vch_err_t *err)
{
    vch_hash_t root1, root2, path[VCH_PATH_HASHES_MAX];
    size_t n = 0;
    if (size1 == 0 || size1 > size2 || size2 > vch_log_size(l->log))
        return vch_fail(err, VCH_ERR_USAGE, "sizes must be in order, from 1 to %llu",
                        (unsigned long long)vch_log_size(l->log));
    VCH_TRY(vch_log_root(l->log, size1, &root1, err));
    VCH_TRY(vch_log_root(l->log, size2, &root2, err));
    VCH_TRY(vch_log_consistency(l->log, size1, size2, path, &n, err));
    VCH_TRY(vch_buf_printf(b, "{\"size1\":%llu,\"root1\":", (unsigned long long)size1));
    VCH_TRY(nd_put_hex(b, root1.b, 32));
    VCH_TRY(vch_buf_printf(b, ",\"size2\":%llu,\"root2\":", (unsigned long long)size2));
    VCH_TRY(nd_put_hex(b, root2.b, 32));
    VCH_TRY(vch_buf_printf(b, ",\"path\":["));
    for (size_t i = 0; i < n; i++) {
        if (i) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(nd_put_hex(b, path[i].b, 32));
    }
    return vch_buf_printf(b, "]}");
}

vch_rc vch_prove_consistency(vch_ledger_t *l, uint64_t size1, uint64_t size2, vch_text_t *ret_json, vch_err_t *err)
{
    vch_buf_t b;
    if (l->remote) return nd_remote_consistency(l, size1, size2, ret_json, err);
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_buf_init(&b, 1u << 20);
    vch_rc rc = consistency(l, size1, size2, &b, err);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &b);
    vch_buf_free(&b);
    vch_ledger_read_end(l);
    return nd_told(rc, err);
}
