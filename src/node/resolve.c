/* SPDX-License-Identifier: Apache-2.0 */
/* From names and ids to objects: by the state where it knows the name, by a
 * map of all objects of the log otherwise. */
#include "node/remote_int.h"

#include <stdio.h>

#include "codec/cbor.h"
#include "codec/text.h"
#include "crypto/sha256.h"

#define ENTRY_ARENA_MAX (16u << 20)
#define FITS_SHOWN 4u

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- the map ---------------------------------------------------------------------- */

static void insert(nd_object_slot_t *slot, size_t slots, uint64_t prefix, uint64_t place)
{
    size_t at = (size_t)prefix & (slots - 1);
    while (slot[at].place) at = (at + 1) & (slots - 1);
    slot[at] = (nd_object_slot_t){prefix, place};
}

static vch_rc map_room(nd_objects_t *o, size_t n)
{
    size_t slots = o->slots ? o->slots : 1024;
    while ((o->used + n) * 2 > slots) slots *= 2;
    if (slots == o->slots) return VCH_OK;
    nd_object_slot_t *slot = vch_alloc_array(slots, sizeof *slot);
    if (!slot) return VCH_ERR_MEMORY;
    for (size_t i = 0; i < o->slots; i++)
        if (o->slot[i].place) insert(slot, slots, o->slot[i].prefix, o->slot[i].place);
    vch_free(o->slot);
    o->slot = slot;
    o->slots = slots;
    return VCH_OK;
}

static void map_add(nd_objects_t *o, const vch_id_t *id, uint64_t index, uint32_t statement)
{
    insert(o->slot, o->slots, vch_get_u64(id->b), (index << 16 | statement) + 1);
    o->used++;
}

static bool is_listed(vch_kind_t kind)
{
    return kind != VCH_KIND_CONSENT && kind != VCH_KIND_WITHDRAW && kind != VCH_KIND_ERASE && kind != VCH_KIND_SUBJECTS;
}

static vch_rc list_room(nd_objects_t *o, size_t n)
{
    size_t cap = o->listed_cap ? o->listed_cap : 64;
    while (cap < o->listed_n + n) cap *= 2;
    if (cap == o->listed_cap) return VCH_OK;
    nd_listed_t *more = vch_resize(o->listed, cap * sizeof *more);
    if (!more) return VCH_ERR_MEMORY;
    o->listed = more;
    o->listed_cap = cap;
    return VCH_OK;
}

static vch_rc terms_hash(vch_slice_t statement, vch_id_t *ret)
{
    vch_statement_t st;
    vch_slice_t document;
    vch_hash_t hash;
    VCH_TRY(vch_statement_read(&st, statement, NULL));
    VCH_TRY(vch_field_bytes(st.fields, VCH_F_TERMS_DOCUMENT, &document));
    vch_sha256(&hash, document.p, document.n);
    memcpy(ret->b, hash.b, 32);
    return VCH_OK;
}

/* Genesis is one statement, but each of its parties is an object. */
static uint32_t objects_of(const vch_log_entry_t *e, vch_kind_t kind)
{
    vch_statement_t st;
    vch_list_t parties;
    if (kind != VCH_KIND_GENESIS || e->record.count != 1) return e->record.count;
    if (vch_statement_read(&st, e->record.statements[0], NULL) != VCH_OK) return 0;
    return vch_field_list(st.fields, VCH_F_GENESIS_PARTIES, &parties) == VCH_OK ? (uint32_t)parties.left : 0;
}

static vch_rc scan_entry(void *ctx, const vch_log_entry_t *e)
{
    nd_objects_t *o = ctx;
    vch_entry_t entry;
    o->scanned = e->index + 1;
    if (e->record.count == 0) return VCH_OK; /* unsigned leaves name no object */
    VCH_TRY(vch_entry_read(&entry, e->record.entry, NULL));
    uint32_t n = objects_of(e, entry.kind);
    VCH_TRY(map_room(o, (size_t)n + 1));
    if (is_listed(entry.kind)) VCH_TRY(list_room(o, n));
    map_add(o, &entry.id, e->index, ND_ENTRY_MARK);
    for (uint32_t i = 0; i < n; i++) {
        vch_id_t id = vch_object_id(&entry.id, (uint16_t)i);
        map_add(o, &id, e->index, i);
        if (!is_listed(entry.kind)) continue;
        if (entry.kind == VCH_KIND_TERMS) VCH_TRY(terms_hash(e->record.statements[i], &id));
        o->listed[o->listed_n++] = (nd_listed_t){id, entry.kind, e->index, i};
    }
    return VCH_OK;
}

static vch_rc objects_refresh(vch_ledger_t *l, vch_err_t *err)
{
    nd_objects_t *o = &l->in->objects;
    uint64_t size = vch_log_size(l->log);
    if (o->scanned >= size) return VCH_OK;
    uint64_t from = o->scanned;
    vch_rc rc = vch_log_replay(l->log, from, size, scan_entry, o, err);
    if (rc == VCH_OK) return rc;
    /* Half an entry may be in: begin again next time. */
    vch_free(o->slot);
    o->slot = NULL;
    o->slots = o->used = o->listed_n = 0;
    o->scanned = 0;
    return rc == VCH_ERR_MEMORY
               ? no_memory(err)
               : vch_context(err, rc, "looking for objects from entry %llu on", (unsigned long long)from);
}

vch_rc nd_objects_refresh(vch_ledger_t *l, vch_err_t *err)
{
    pthread_mutex_lock(&l->in->objects.mutex);
    vch_rc rc = objects_refresh(l, err);
    pthread_mutex_unlock(&l->in->objects.mutex);
    return rc;
}

void nd_objects_free(vch_ledger_t *l)
{
    vch_free(l->in->objects.slot);
    vch_free(l->in->objects.listed);
}

/* ---- finding ------------------------------------------------------------------------------ */

static vch_rc id_at(vch_ledger_t *l, uint64_t index, uint32_t statement, vch_id_t *ret, vch_err_t *err)
{
    vch_arena_t arena;
    vch_log_entry_t e;
    vch_entry_t entry;
    vch_arena_init(&arena, ENTRY_ARENA_MAX);
    vch_rc rc = vch_log_read(l->log, index, &arena, &e, err);
    if (rc == VCH_OK) rc = vch_entry_read(&entry, e.record.entry, err);
    if (rc == VCH_OK) *ret = statement == ND_ENTRY_MARK ? entry.id : vch_object_id(&entry.id, (uint16_t)statement);
    vch_arena_free(&arena);
    return rc;
}

typedef struct {
    uint8_t bytes[32]; /* the digits given, the last one in the high half */
    size_t digits;
} prefix_t;

static bool prefix_get(prefix_t *ret, const char *text)
{
    char even[65];
    size_t n = strlen(text);
    if (n < 8 || n > 64) return false;
    memset(even, '0', sizeof even);
    memcpy(even, text, n);
    ret->digits = n;
    return vch_unhex(ret->bytes, 32, even, 64);
}

static bool prefix_fits(const prefix_t *p, const uint8_t *id)
{
    size_t whole = p->digits / 2;
    return memcmp(p->bytes, id, whole) == 0 && (p->digits % 2 == 0 || p->bytes[whole] >> 4 == id[whole] >> 4);
}

typedef struct {
    size_t count;
    uint64_t index;
    uint32_t statement;
} hit_t;

static vch_rc slot_hit(vch_ledger_t *l, const nd_object_slot_t *slot, const prefix_t *p, hit_t *hit, vch_err_t *err)
{
    vch_id_t id;
    uint64_t index = (slot->place - 1) >> 16;
    uint32_t statement = (uint32_t)((slot->place - 1) & 0xffff);
    uint8_t first[8];
    vch_put_u64(first, slot->prefix);
    prefix_t head = {.digits = p->digits < 16 ? p->digits : 16};
    memcpy(head.bytes, p->bytes, 8);
    if (!prefix_fits(&head, first)) return VCH_OK;
    VCH_TRY(id_at(l, index, statement, &id, err));
    if (!prefix_fits(p, id.b)) return VCH_OK;
    *hit = (hit_t){hit->count + 1, index, statement};
    return VCH_OK;
}

/* At sixteen digits the slot follows from the prefix; below, all are looked at. */
static vch_rc find_slot(vch_ledger_t *l, const prefix_t *p, hit_t *hit, vch_err_t *err)
{
    const nd_objects_t *o = &l->in->objects;
    if (p->digits < 16) {
        for (size_t i = 0; i < o->slots; i++)
            if (o->slot[i].place) VCH_TRY(slot_hit(l, &o->slot[i], p, hit, err));
        return VCH_OK;
    }
    if (o->slots == 0) return VCH_OK;
    size_t at = (size_t)vch_get_u64(p->bytes) & (o->slots - 1);
    for (; o->slot[at].place; at = (at + 1) & (o->slots - 1)) VCH_TRY(slot_hit(l, &o->slot[at], p, hit, err));
    return VCH_OK;
}

static vch_rc find(vch_ledger_t *l, const prefix_t *p, hit_t *hit, vch_err_t *err)
{
    VCH_TRY(vch_here(l, err));
    pthread_mutex_lock(&l->in->objects.mutex);
    vch_rc rc = objects_refresh(l, err);
    if (rc == VCH_OK) rc = find_slot(l, p, hit, err);
    pthread_mutex_unlock(&l->in->objects.mutex);
    return rc;
}

vch_rc vch_object_find(vch_ledger_t *l, const vch_id_t *object, uint64_t *ret_index, uint32_t *ret_statement,
                       vch_err_t *err)
{
    prefix_t p = {.digits = 64};
    hit_t hit = {0};
    memcpy(p.bytes, object->b, 32);
    VCH_TRY(find(l, &p, &hit, err));
    if (hit.count == 0 || hit.statement == ND_ENTRY_MARK)
        return vch_fail(err, VCH_ERR_NOT_FOUND, "there is no such object");
    *ret_index = hit.index;
    *ret_statement = hit.statement;
    return VCH_OK;
}

vch_rc vch_object_read(vch_ledger_t *l, const vch_id_t *object, vch_arena_t *arena, vch_statement_t *ret,
                       uint64_t *ret_index, vch_err_t *err)
{
    uint64_t index = 0;
    uint32_t statement = 0;
    vch_log_entry_t e;
    VCH_TRY(vch_object_find(l, object, &index, &statement, err));
    VCH_TRY(vch_log_read(l->log, index, arena, &e, err));
    if (statement >= e.record.count) statement = 0; /* a party of genesis */
    if (e.record.count == 0)
        return vch_fail(err, VCH_ERR_CORRUPT, "entry %llu has no statement", (unsigned long long)index);
    if (e.record.erased && e.record.erased[statement])
        return vch_fail(err, VCH_ERR_NOT_FOUND, "statement %u of entry %llu was erased", statement,
                        (unsigned long long)index);
    VCH_TRY(vch_statement_read(ret, e.record.statements[statement], err));
    if (ret_index) *ret_index = index;
    return VCH_OK;
}

vch_rc vch_entry_find(vch_ledger_t *l, const char *id, uint64_t *ret_index, uint32_t *ret_statement, vch_err_t *err)
{
    prefix_t p;
    hit_t hit = {0};
    if (!prefix_get(&p, id)) return vch_fail(err, VCH_ERR_USAGE, "\"%.80s\" is no id: 8 to 64 hex digits", id);
    if (l->remote) return nd_remote_find(l, id, ret_index, ret_statement, err);
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = find(l, &p, &hit, err);
    vch_ledger_read_end(l);
    if (rc != VCH_OK) return rc;
    if (hit.count == 0)
        return vch_fail(err, VCH_ERR_NOT_FOUND, "no entry or object has an id that begins with %.64s", id);
    if (hit.count > 1)
        return vch_hint(err, vch_fail(err, VCH_ERR_CONFLICT, "%zu ids begin with %.64s", hit.count, id),
                        "give more digits");
    *ret_index = hit.index;
    if (ret_statement) *ret_statement = hit.statement == ND_ENTRY_MARK ? 0 : hit.statement;
    return VCH_OK;
}

/* ---- names ------------------------------------------------------------------------------------ */

typedef struct {
    vch_ledger_t *l;
    char tag;
    const char *name;
    bool is_prefix;
    prefix_t prefix;
    vch_id_t by_id, by_name, fits[FITS_SHOWN];
    size_t ids, names;
    vch_err_t *err;
} resolve_t;

static void fits_id(resolve_t *r, const vch_id_t *id)
{
    if (!r->is_prefix || !prefix_fits(&r->prefix, id->b)) return;
    if (r->names + r->ids < FITS_SHOWN) r->fits[r->names + r->ids] = *id;
    r->ids++;
    r->by_id = *id;
}

static void fits_name(resolve_t *r, const vch_id_t *id, vch_slice_t name)
{
    if (!name.n || !vch_slice_eq(name, vch_str(r->name))) return;
    if (r->names + r->ids < FITS_SHOWN) r->fits[r->names + r->ids] = *id;
    r->names++;
    r->by_name = *id;
}

static vch_rc statement_name(resolve_t *r, const vch_id_t *id, uint64_t key, vch_arena_t *arena, vch_slice_t *ret)
{
    vch_statement_t st;
    VCH_TRY(vch_object_read(r->l, id, arena, &st, NULL, r->err));
    return vch_field_bytes(st.fields, key, ret);
}

/* ERR_NOT_FOUND: objects of this kind have no names. */
static vch_rc name_of(resolve_t *r, const vch_id_t *id, vch_slice_t value, vch_arena_t *arena, vch_slice_t *ret)
{
    vch_party_value_t party;
    vch_model_value_t model;
    switch (r->tag) {
    case 'p':
        VCH_TRY(vch_party_get(&party, value));
        *ret = party.name;
        return VCH_OK;
    case 'm':
        VCH_TRY(vch_model_get(&model, value));
        *ret = model.name;
        return VCH_OK;
    case 'D':
        return vch_field_bytes(value, VCH_F_DATASET_NAME, ret);
    case 't':
        return vch_field_bytes(value, VCH_F_DOC_TITLE, ret);
    case 'r':
        return statement_name(r, id, VCH_F_RUN_NAME, arena, ret);
    case 'y':
        return statement_name(r, id, VCH_F_DEPLOYMENT_SCOPE, arena, ret);
    default:
        return VCH_ERR_NOT_FOUND;
    }
}

static vch_rc resolve_one(void *ctx, vch_slice_t key, vch_slice_t value)
{
    resolve_t *r = ctx;
    vch_id_t id;
    vch_arena_t arena;
    vch_slice_t name;
    if (key.n != 33) return VCH_OK;
    memcpy(id.b, key.p + 1, 32);
    fits_id(r, &id);
    vch_arena_init(&arena, ENTRY_ARENA_MAX);
    vch_rc rc = name_of(r, &id, value, &arena, &name);
    if (rc == VCH_OK) fits_name(r, &id, name);
    vch_arena_free(&arena);
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

/* The same from a node's list. */
static vch_rc resolve_listed(void *ctx, const vch_id_t *id, vch_slice_t name, uint64_t number)
{
    resolve_t *r = ctx;
    (void)number;
    fits_id(r, id);
    fits_name(r, id, name);
    return VCH_OK;
}

static const char *what_is(char tag)
{
    switch (tag) {
    case 'd':
        return "dataset";
    case 'v':
        return "version";
    case 't':
        return "terms";
    case 'm':
        return "model";
    case 'y':
        return "deployment";
    case 'a':
        return "grant";
    case 'r':
        return "run";
    default:
        return "party";
    }
}

static vch_rc suspect(vch_ledger_t *l, vch_rc rc, vch_err_t *err)
{
    if (rc == VCH_ERR_CORRUPT) l->in->suspect = true;
    return rc == VCH_OK ? rc : vch_hint(err, vch_fail(err, rc, "reading the state: %s", vch_rc_text(rc)), "try again");
}

/* Of several parties of one name, that name is one's alone: the others lost
 * all their keys.  The state says whose it is. */
static vch_rc whose_name(vch_ledger_t *l, resolve_t *r, vch_err_t *err)
{
    vch_hash_t hash;
    vch_buf_t value;
    vch_sha256(&hash, r->name, strlen(r->name));
    vch_state_key_t key = vch_key_id('n', hash.b);
    vch_buf_init(&value, 64);
    vch_rc rc = vch_state_get(l->state, vch_key_slice(&key), &value, err);
    if (rc == VCH_OK && value.n == 32) {
        memcpy(r->by_name.b, value.p, 32);
        r->names = 1;
    }
    vch_buf_free(&value);
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : suspect(l, rc, err);
}

static vch_rc ambiguous(const resolve_t *r, char tag, vch_err_t *err)
{
    char list[FITS_SHOWN * 18 + 8] = "", hex[17];
    size_t n = r->names + r->ids, at = 0;
    for (size_t i = 0; i < n && i < FITS_SHOWN; i++) {
        vch_hex(hex, r->fits[i].b, 8);
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", hex);
    }
    (void)vch_fail(err, VCH_ERR_CONFLICT, "%zu of the %s fit \"%.100s\": %s%s", n,
                   tag == 't'   ? "terms"
                   : tag == 'p' ? "parties"
                                : "objects",
                   r->name, list, n > FITS_SHOWN ? ", …" : "");
    return vch_hint(err, VCH_ERR_CONFLICT, "name it by its id");
}

static vch_rc resolve_tag(vch_ledger_t *l, char tag, const char *name, vch_id_t *ret, vch_err_t *err)
{
    resolve_t r = {.l = l, .tag = tag == 'd' ? 'D' : tag, .name = name};
    r.is_prefix = prefix_get(&r.prefix, name);
    if (l->remote)
        VCH_TRY(rm_each(l, tag, NULL, resolve_listed, &r, err));
    else
        VCH_TRY(suspect(l, vch_state_each(l->state, r.tag, resolve_one, &r), err));
    if (tag == 'a' && !l->remote) VCH_TRY(suspect(l, vch_state_each(l->state, 'o', resolve_one, &r), err));
    if (tag == 'p' && r.names > 1 && !l->remote) VCH_TRY(whose_name(l, &r, err));
    if (r.names + r.ids == 0)
        return vch_hint(err, vch_fail(err, VCH_ERR_NOT_FOUND, "there is no %s \"%.100s\"", what_is(tag), name),
                        "list them: vouch %s list", what_is(tag));
    if (r.names == 1 || (r.names == 0 && r.ids == 1)) {
        *ret = r.names ? r.by_name : r.by_id;
        return VCH_OK;
    }
    return ambiguous(&r, tag, err);
}

/* ---- versions: DATASET, DATASET@N, or an id -------------------------------------------------------- */

typedef struct {
    vch_id_t dataset, found;
    uint64_t number;
    bool any;
} version_t;

static vch_rc version_one(void *ctx, vch_slice_t key, vch_slice_t value)
{
    version_t *v = ctx;
    vch_version_value_t got;
    if (key.n != 33) return VCH_OK;
    VCH_TRY(vch_version_get(&got, value));
    if (!vch_id_eq(&got.dataset, &v->dataset) || got.number != v->number) return VCH_OK;
    memcpy(v->found.b, key.p + 1, 32);
    v->any = true;
    return VCH_OK;
}

static vch_rc version_listed(void *ctx, const vch_id_t *id, vch_slice_t name, uint64_t number)
{
    version_t *v = ctx;
    (void)name;
    if (number != v->number) return VCH_OK;
    v->found = *id;
    v->any = true;
    return VCH_OK;
}

static vch_rc version_numbered(vch_ledger_t *l, const char *name, const char *at, vch_id_t *ret, vch_err_t *err)
{
    char dataset[256];
    version_t v = {.any = false};
    size_t n = (size_t)(at - name);
    if (n >= sizeof dataset || vch_decimal_get(&v.number, vch_str(at + 1)) != VCH_OK)
        return vch_fail(err, VCH_ERR_USAGE, "\"%.100s\" names no version: DATASET@NUMBER", name);
    memcpy(dataset, name, n);
    dataset[n] = 0;
    VCH_TRY(resolve_tag(l, 'd', dataset, &v.dataset, err));
    if (l->remote)
        VCH_TRY(rm_each(l, 'v', &v.dataset, version_listed, &v, err));
    else
        VCH_TRY(suspect(l, vch_state_each(l->state, 'v', version_one, &v), err));
    if (!v.any)
        return vch_hint(err, vch_fail(err, VCH_ERR_NOT_FOUND, "the dataset %s has no version %s", dataset, at + 1),
                        "list them: vouch dataset versions %s", dataset);
    *ret = v.found;
    return VCH_OK;
}

static vch_rc version_latest(vch_ledger_t *l, const char *name, vch_id_t *ret, vch_err_t *err)
{
    vch_id_t dataset;
    vch_dataset_value_t d;
    vch_buf_t value;
    VCH_TRY(resolve_tag(l, 'd', name, &dataset, err));
    vch_state_key_t key = vch_key_id('d', dataset.b);
    vch_buf_init(&value, 1u << 16);
    vch_rc rc = vch_value(l, &key, &value, err);
    if (rc == VCH_OK) rc = vch_dataset_get(&d, vch_buf_slice(&value));
    vch_buf_free(&value);
    if (rc != VCH_OK) return rc;
    if (!d.has_latest) return vch_fail(err, VCH_ERR_NOT_FOUND, "the dataset %s has no version yet", name);
    *ret = d.latest;
    return VCH_OK;
}

static vch_rc resolve_version(vch_ledger_t *l, const char *name, vch_id_t *ret, vch_err_t *err)
{
    prefix_t p;
    const char *at = strrchr(name, '@');
    if (at) return version_numbered(l, name, at, ret, err);
    if (prefix_get(&p, name) && resolve_tag(l, 'v', name, ret, NULL) == VCH_OK) return VCH_OK;
    return version_latest(l, name, ret, err);
}

vch_rc vch_resolve(vch_ledger_t *l, char tag, const char *name, vch_id_t *ret, vch_err_t *err)
{
    if (!name || !*name) return vch_fail(err, VCH_ERR_USAGE, "a name for the %s is missing", what_is(tag));
    return tag == 'v' ? resolve_version(l, name, ret, err) : resolve_tag(l, tag, name, ret, err);
}

/* ---- single values -------------------------------------------------------------------------------------- */

vch_rc vch_dataset_fields(vch_ledger_t *l, const vch_id_t *dataset, vch_arena_t *arena, vch_slice_t *ret_fields,
                          vch_err_t *err)
{
    vch_state_key_t key = vch_key_id('D', dataset->b);
    vch_buf_t value;
    vch_buf_init(&value, VCH_TX_BYTES_MAX);
    vch_rc rc = vch_value(l, &key, &value, err);
    if (rc == VCH_OK) {
        void *copy = vch_arena_copy(arena, value.p, value.n);
        if (copy)
            *ret_fields = vch_slice(copy, value.n);
        else
            rc = no_memory(err);
    }
    vch_buf_free(&value);
    return rc;
}

vch_rc vch_party_of(vch_ledger_t *l, const vch_signer_t *signer, vch_id_t *ret, vch_err_t *err)
{
    vch_keyid_t id = vch_pubkey_id(vch_signer_public(signer));
    vch_state_key_t key = vch_key_id('k', id.b);
    vch_key_value_t k = {.revoked = false};
    vch_buf_t value;
    vch_buf_init(&value, 4096);
    vch_rc rc = vch_value(l, &key, &value, err);
    if (rc == VCH_OK) rc = vch_key_get(&k, vch_buf_slice(&value));
    vch_buf_free(&value);
    if (rc == VCH_ERR_NOT_FOUND)
        return vch_hint(err, vch_fail(err, VCH_ERR_KEY, "this key belongs to no party of the ledger"),
                        "a registrar adds a party with vouch party add");
    if (rc != VCH_OK) return rc;
    if (k.revoked) return vch_fail(err, VCH_ERR_KEY, "this key is revoked");
    *ret = k.party;
    return VCH_OK;
}
