/* SPDX-License-Identifier: Apache-2.0 */
/* A dataset: registering it, and reading it back with its columns. */
#include "codec/cbor.h"
#include "codec/json.h"
#include "crypto/sha256.h"
#include "node/custody_int.h"
#include "node/node_int.h"

#define SPEC_MAX (4u << 20)
#define BITMAP_MAX (1u << 30)

/* ---- what the ledger says -------------------------------------------------------- */

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

static vch_rc read_columns(dataset_t *d)
{
    vch_list_t list;
    vch_slice_t item;
    uint64_t group;
    VCH_TRY(vch_field_list(d->fields, VCH_F_DATASET_COLUMNS, &list));
    d->column = vch_arena_array(&d->arena, (size_t)list.left, sizeof *d->column);
    d->group_of = vch_arena_alloc(&d->arena, (size_t)list.left);
    if (!d->column || !d->group_of) return VCH_ERR_MEMORY;
    while (vch_list_next(&list, &item) == VCH_OK) {
        VCH_TRY(vch_field_bytes(item, VCH_F_COLUMN_NAME, &d->column[d->columns]));
        VCH_TRY(vch_field_uint(item, VCH_F_COLUMN_GROUP, &group));
        d->group_of[d->columns++] = (uint8_t)group;
    }
    VCH_TRY(vch_field_list(d->fields, VCH_F_DATASET_GROUPS, &list));
    while (d->groups < VCH_GROUPS_MAX && vch_list_next(&list, &item) == VCH_OK)
        VCH_TRY(vch_item_bytes(item, &d->group[d->groups++]));
    vch_rc rc = vch_field_uint(d->fields, VCH_F_DATASET_LABEL, &group);
    d->has_label = rc == VCH_OK;
    d->label = d->has_label ? (uint32_t)group : 0;
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static vch_rc read_in_vault(dataset_t *d, vch_ledger_t *l, uint32_t extent)
{
    vch_buf_t value;
    vch_state_key_t key = vch_key_id_u32('w', d->id.b, extent);
    vch_rc rc = state_value(l, &key, &value, NULL);
    vch_buf_free(&value);
    d->in_vault[extent] = rc == VCH_OK;
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static vch_rc read_extents(dataset_t *d, vch_ledger_t *l, vch_err_t *err)
{
    d->extent = vch_arena_array(&d->arena, (size_t)d->head.extents + 1, sizeof *d->extent);
    d->in_vault = vch_arena_array(&d->arena, (size_t)d->head.extents + 1, sizeof *d->in_vault);
    d->bits_at = vch_arena_array(&d->arena, (size_t)d->head.extents + 1, sizeof *d->bits_at);
    if (!d->extent || !d->in_vault || !d->bits_at) return no_memory(err);
    for (uint32_t i = 0; i < d->head.extents; i++) {
        vch_state_key_t key = vch_key_id_u32('e', d->id.b, i);
        vch_buf_t value;
        vch_rc rc = state_value(l, &key, &value, err);
        if (rc == VCH_OK) rc = vch_extent_get(&d->extent[i], vch_buf_slice(&value));
        vch_buf_free(&value);
        if (rc == VCH_OK) rc = read_in_vault(d, l, i);
        if (rc != VCH_OK) return vch_fail(err, rc, "extent %u is not in the state", i);
        d->bits_at[i + 1] = d->bits_at[i] + 8 * vch_set_bytes(d->extent[i].count);
    }
    return VCH_OK;
}

static vch_rc read_head(dataset_t *d, vch_ledger_t *l, vch_err_t *err)
{
    vch_state_key_t key = vch_key_id('d', d->id.b);
    vch_buf_t value;
    vch_rc rc = state_value(l, &key, &value, err);
    if (rc == VCH_OK) rc = vch_dataset_get(&d->head, vch_buf_slice(&value));
    vch_buf_free(&value);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "there is no such dataset");
    VCH_TRY(rc);
    vch_hex(d->hex, d->id.b, 32);
    VCH_TRY(vch_dataset_fields(l, &d->id, &d->arena, &d->fields, err));
    rc = read_columns(d);
    if (rc != VCH_OK) return vch_fail(err, rc, "the dataset's columns can't be read: %s", vch_rc_text(rc));
    return read_extents(d, l, err);
}

static vch_rc read_version(dataset_t *d, vch_ledger_t *l, vch_err_t *err)
{
    vch_state_key_t key = vch_key_id('v', d->version_id.b);
    vch_buf_t value;
    vch_rc rc = state_value(l, &key, &value, err);
    if (rc == VCH_OK) rc = vch_version_get(&d->version, vch_buf_slice(&value));
    vch_buf_free(&value);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "there is no such version");
    VCH_TRY(rc);
    d->has_version = true;
    return vch_state_bitmap(l->state, &d->version_id, &d->live, err);
}

static vch_rc read_named(dataset_t *d, vch_ledger_t *l, const char *name, bool is_version, vch_err_t *err)
{
    if (is_version) {
        VCH_TRY(vch_resolve(l, 'v', name, &d->version_id, err));
        VCH_TRY(read_version(d, l, err));
        d->id = d->version.dataset;
        return read_head(d, l, err);
    }
    if (name) VCH_TRY(vch_resolve(l, 'd', name, &d->id, err));
    VCH_TRY(read_head(d, l, err));
    d->version_id = d->head.latest;
    return d->head.has_latest ? read_version(d, l, err) : VCH_OK;
}

static vch_rc open_dataset(dataset_t *ret, vch_ledger_t *l, const vch_id_t *id, const char *name, bool is_version,
                           vch_err_t *err)
{
    *ret = (dataset_t){0};
    if (id) ret->id = *id;
    vch_arena_init(&ret->arena, 64u << 20);
    vch_buf_init(&ret->live, BITMAP_MAX);
    vch_rc rc = vch_ledger_read_begin(l, err);
    if (rc == VCH_OK) {
        rc = read_named(ret, l, name, is_version, err);
        vch_ledger_read_end(l);
    }
    if (rc != VCH_OK) dataset_close(ret);
    return rc;
}

vch_rc dataset_open(dataset_t *ret, vch_ledger_t *l, const char *name, bool is_version, vch_err_t *err)
{
    if (!name || !*name) return vch_fail(err, VCH_ERR_USAGE, "no dataset is named");
    return open_dataset(ret, l, NULL, name, is_version, err);
}

vch_rc dataset_open_id(dataset_t *ret, vch_ledger_t *l, const vch_id_t *id, vch_err_t *err)
{
    return open_dataset(ret, l, id, NULL, false, err);
}

void dataset_close(dataset_t *d)
{
    vch_arena_free(&d->arena);
    vch_buf_free(&d->live);
    *d = (dataset_t){0};
}

bool dataset_live(const dataset_t *d, uint32_t extent, uint32_t row)
{
    if (extent >= d->head.extents || row >= d->extent[extent].count) return false;
    size_t bit = d->bits_at[extent] + row;
    return bit < d->live.n * 8 && vch_bit(d->live.p, bit);
}

/* ---- spec.json: what only the custodian knows -------------------------------------- */

/* One text for one content, so that a check compares bytes. */
static vch_rc spec_text(vch_buf_t *b, const spec_t *s)
{
    char hex[65];
    vch_hash_t hash;
    VCH_TRY(vch_buf_printf(b, "{\"format\":1,\"columns\":["));
    for (size_t i = 0; i < s->columns; i++) {
        if (i) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(vch_json_put_string(b, s->column[i]));
    }
    VCH_TRY(vch_buf_printf(b, "],\"subject\":"));
    VCH_TRY(s->has_subject ? vch_json_put_string(b, s->subject) : vch_buf_printf(b, "null"));
    VCH_TRY(vch_buf_printf(b, ",\"key\":"));
    VCH_TRY(s->has_key ? vch_json_put_string(b, s->key) : vch_buf_printf(b, "null"));
    vch_sha256(&hash, b->p, b->n);
    vch_hex(hex, hash.b, 32);
    return vch_buf_printf(b, ",\"sha256\":\"%s\"}\n", hex);
}

static vch_rc spec_column(const vch_json_t *root, const char *member, bool *ret_has, vch_slice_t *ret)
{
    const vch_json_t *j = vch_json_get(root, member);
    if (!j || (j->type != VCH_JSON_NULL && j->type != VCH_JSON_STRING)) return VCH_ERR_FORMAT;
    *ret_has = j->type == VCH_JSON_STRING;
    *ret = j->text;
    return VCH_OK;
}

static vch_rc spec_parse(spec_t *s, vch_slice_t text)
{
    const vch_json_t *root, *columns;
    VCH_TRY(vch_json_parse(&s->arena, &root, text, NULL));
    columns = vch_json_get(root, "columns");
    if (!columns || columns->type != VCH_JSON_ARRAY || columns->count == 0) return VCH_ERR_FORMAT;
    s->column = vch_arena_array(&s->arena, columns->count, sizeof *s->column);
    if (!s->column) return VCH_ERR_MEMORY;
    for (const vch_json_t *c = columns->first; c; c = c->next) {
        if (c->type != VCH_JSON_STRING) return VCH_ERR_FORMAT;
        s->column[s->columns++] = c->text;
    }
    VCH_TRY(spec_column(root, "subject", &s->has_subject, &s->subject));
    return spec_column(root, "key", &s->has_key, &s->key);
}

static vch_rc spec_check(spec_t *s, vch_slice_t text)
{
    vch_buf_t again;
    VCH_TRY(spec_parse(s, text));
    vch_buf_init(&again, SPEC_MAX);
    vch_rc rc = spec_text(&again, s);
    if (rc == VCH_OK && !vch_slice_eq(vch_buf_slice(&again), text)) rc = VCH_ERR_CORRUPT;
    vch_buf_free(&again);
    return rc;
}

/* Before its entry is signed, a dataset's id is not known; its description
 * waits under the hash of its fields and moves when the id is there. */
static vch_rc pending_path(vch_ledger_t *l, vch_slice_t fields, char ret[VCH_PATH_MAX])
{
    vch_hash_t hash;
    char hex[65];
    vch_sha256(&hash, fields.p, fields.n);
    vch_hex(hex, hash.b, 32);
    return vch_ledger_path(l, ret, "custody/new-%s.json", hex);
}

static vch_rc spec_move(vch_ledger_t *l, const char *pending, const char *dataset_hex, vch_err_t *err)
{
    char folder[VCH_PATH_MAX], path[VCH_PATH_MAX], above[VCH_PATH_MAX];
    VCH_TRY(vch_ledger_path(l, above, "custody"));
    VCH_TRY(vch_ledger_path(l, folder, "custody/%s", dataset_hex));
    VCH_TRY(vch_ledger_path(l, path, "custody/%s/spec.json", dataset_hex));
    VCH_TRY(vch_mkdirs(l->port, folder, err));
    vch_rc rc = l->port->disk->rename(l->port, pending, path);
    if (rc == VCH_OK) rc = l->port->disk->sync_dir(l->port, folder);
    if (rc == VCH_OK) rc = l->port->disk->sync_dir(l->port, above);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "cannot make %s: %s", path, vch_rc_text(rc));
}

/* Creation was cut off between the entry and the move: go on with it, or, who
 * may only read, read it where it lies. */
static vch_rc spec_recover(vch_ledger_t *l, const dataset_t *d, char path[VCH_PATH_MAX], vch_err_t *err)
{
    char pending[VCH_PATH_MAX];
    vch_stat_t st;
    VCH_TRY(pending_path(l, d->fields, pending));
    bool there = l->port->disk->stat(l->port, pending, &st) == VCH_OK;
    if (there && l->flags & VCH_LEDGER_READ_ONLY) return vch_path(path, "%s", pending);
    if (there) return spec_move(l, pending, d->hex, err);
    vch_fail(err, VCH_ERR_NOT_FOUND, "custody/%s/spec.json is not here: this directory is not the dataset's custodian",
             d->hex);
    return vch_hint(err, VCH_ERR_NOT_FOUND, "use the directory in which the dataset was created");
}

vch_rc spec_open(spec_t *ret, vch_ledger_t *l, const dataset_t *d, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    spec_t s = {0};
    vch_buf_t text;
    VCH_TRY(vch_ledger_path(l, path, "custody/%s/spec.json", d->hex));
    if (l->port->disk->stat(l->port, path, &st) == VCH_ERR_NOT_FOUND) VCH_TRY(spec_recover(l, d, path, err));
    vch_buf_init(&text, SPEC_MAX);
    vch_arena_init(&s.arena, 4 * SPEC_MAX);
    vch_rc rc = vch_read_all(l->port, &text, path, SPEC_MAX, err);
    if (rc == VCH_OK) { /* what the tree borrows must live as long as the arena */
        const void *kept = vch_arena_copy(&s.arena, text.p, text.n);
        rc = kept ? spec_check(&s, vch_slice(kept, text.n)) : VCH_ERR_MEMORY;
        if (rc == VCH_ERR_FORMAT || rc == VCH_ERR_CORRUPT)
            rc = vch_fail(err, VCH_ERR_CORRUPT, "custody/%s/spec.json is damaged: its checksum is wrong", d->hex);
        else if (rc != VCH_OK)
            vch_fail(err, rc, "custody/%s/spec.json can't be read: %s", d->hex, vch_rc_text(rc));
    }
    vch_buf_free(&text);
    if (rc == VCH_OK)
        *ret = s;
    else
        spec_close(&s);
    return rc;
}

void spec_close(spec_t *s)
{
    vch_arena_free(&s->arena);
    *s = (spec_t){0};
}

/* ---- registering --------------------------------------------------------------------- */

typedef struct {
    const vch_dataset_spec_t *in;
    csv_file_t csv;
    vch_arena_t arena;
    spec_t spec;
    size_t groups;
    vch_slice_t group[VCH_GROUPS_MAX];
    uint8_t *group_of; /* by column; NO_GROUP: identifies, stays here */
    bool has_label;
    uint32_t label;
} create_t;
#define NO_GROUP 0xff
#define FEATURES 0xfe /* "the rest", until its number is known */

static vch_rc find_column(const create_t *c, vch_slice_t name, size_t *ret, vch_err_t *err)
{
    for (*ret = 0; *ret < c->spec.columns; ++*ret)
        if (vch_slice_eq(c->spec.column[*ret], name)) return VCH_OK;
    vch_fail(err, VCH_ERR_NOT_FOUND, "%s has no column \"%.*s\"", c->in->header_csv, (int)name.n, (const char *)name.p);
    return vch_hint(err, VCH_ERR_NOT_FOUND, "names of columns are taken exactly as in the file's first line");
}

static vch_rc read_header(create_t *c, vch_err_t *err)
{
    bool got;
    VCH_TRY(csv_next(&c->csv, 1, &got, err));
    if (!got) return vch_fail(err, VCH_ERR_FORMAT, "%s is empty: its first line must name the columns", c->csv.path);
    c->spec.columns = c->csv.csv.count;
    c->spec.column = vch_arena_array(&c->arena, c->spec.columns, sizeof *c->spec.column);
    c->group_of = vch_arena_alloc(&c->arena, c->spec.columns);
    if (!c->spec.column || !c->group_of) return no_memory(err);
    memset(c->group_of, FEATURES, c->spec.columns);
    for (size_t i = 0; i < c->spec.columns; i++) {
        vch_slice_t cell = vch_csv_cell(&c->csv.csv, i);
        const void *p = vch_arena_copy(&c->arena, cell.p, cell.n);
        if (!p) return no_memory(err);
        if (cell.n == 0 || cell.n > 128)
            return vch_fail(err, VCH_ERR_FORMAT, "%s line 1: the name of column %zu must have 1 to 128 bytes",
                            c->csv.path, i + 1);
        c->spec.column[i] = vch_slice(p, cell.n);
        for (size_t j = 0; j < i; j++)
            if (vch_slice_eq(c->spec.column[j], c->spec.column[i]))
                return vch_fail(err, VCH_ERR_FORMAT, "%s line 1: column \"%.*s\" is there twice", c->csv.path,
                                (int)cell.n, (const char *)p);
    }
    return VCH_OK;
}

static vch_rc add_group(create_t *c, vch_slice_t name, uint8_t *ret, vch_err_t *err)
{
    for (size_t i = 0; i < c->groups; i++) {
        *ret = (uint8_t)i;
        if (vch_slice_eq(c->group[i], name)) return VCH_OK;
    }
    if (c->groups == VCH_GROUPS_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "a dataset has at most %u groups of columns", VCH_GROUPS_MAX);
    if (name.n == 0 || name.n > 128) return vch_fail(err, VCH_ERR_USAGE, "a group's name has 1 to 128 bytes");
    *ret = (uint8_t)c->groups;
    c->group[c->groups++] = name;
    return VCH_OK;
}

static vch_rc take_identifying(create_t *c, const char *name, bool *ret_has, vch_slice_t *ret, vch_err_t *err)
{
    size_t i;
    if (!name) return VCH_OK;
    VCH_TRY(find_column(c, vch_str(name), &i, err));
    c->group_of[i] = NO_GROUP;
    *ret_has = true;
    *ret = c->spec.column[i];
    return VCH_OK;
}

static vch_rc put_in_group(create_t *c, vch_slice_t name, uint8_t group, vch_err_t *err)
{
    size_t i;
    VCH_TRY(find_column(c, name, &i, err));
    if (c->group_of[i] != FEATURES)
        return vch_fail(err, VCH_ERR_USAGE, "column \"%.*s\" %s", (int)name.n, (const char *)name.p,
                        c->group_of[i] == NO_GROUP ? "identifies persons or rows and belongs to no group"
                                                   : "is in two groups");
    c->group_of[i] = group;
    return VCH_OK;
}

/* "G=C1,C2" */
static vch_rc take_group(create_t *c, const char *text, vch_err_t *err)
{
    const char *is = strchr(text, '=');
    uint8_t group = 0;
    if (!is || is == text || !is[1])
        return vch_fail(err, VCH_ERR_USAGE, "a group is given as NAME=COLUMN,COLUMN, not \"%s\"", text);
    VCH_TRY(add_group(c, vch_slice(text, (size_t)(is - text)), &group, err));
    for (const char *p = is + 1;; p++) {
        size_t n = strcspn(p, ",");
        VCH_TRY(put_in_group(c, vch_slice(p, n), group, err));
        p += n;
        if (!*p) return VCH_OK;
    }
}

/* "features" comes first, then the groups named, the label last. */
static vch_rc make_groups(create_t *c, vch_err_t *err)
{
    uint8_t group = 0, features = 0;
    VCH_TRY(take_identifying(c, c->in->subject_col, &c->spec.has_subject, &c->spec.subject, err));
    VCH_TRY(take_identifying(c, c->in->key_col, &c->spec.has_key, &c->spec.key, err));
    VCH_TRY(add_group(c, vch_str("features"), &features, err));
    for (size_t i = 0; i < c->in->groups; i++) VCH_TRY(take_group(c, c->in->group[i], err));
    if (c->in->label_col) {
        VCH_TRY(add_group(c, vch_str("label"), &group, err));
        VCH_TRY(put_in_group(c, vch_str(c->in->label_col), group, err));
        c->has_label = true;
        c->label = group;
    }
    bool used[VCH_GROUPS_MAX] = {false};
    for (size_t i = 0; i < c->spec.columns; i++) {
        if (c->group_of[i] == FEATURES) c->group_of[i] = features;
        if (c->group_of[i] != NO_GROUP) used[c->group_of[i]] = true;
    }
    if (used[features]) return VCH_OK;
    if (c->groups == 1) return vch_fail(err, VCH_ERR_USAGE, "no column is left that holds data");
    c->groups--; /* nothing is left for "features": the others move up */
    memmove(&c->group[0], &c->group[1], c->groups * sizeof c->group[0]);
    for (size_t i = 0; i < c->spec.columns; i++)
        if (c->group_of[i] != NO_GROUP) c->group_of[i]--;
    if (c->has_label) c->label--;
    return VCH_OK;
}

static vch_rc put_column(vch_buf_t *b, vch_slice_t name, uint8_t group)
{
    VCH_TRY(vch_cbor_map(b, 2));
    VCH_TRY(vch_cbor_uint(b, VCH_F_COLUMN_NAME));
    VCH_TRY(vch_cbor_text(b, (const char *)name.p, name.n));
    VCH_TRY(vch_cbor_uint(b, VCH_F_COLUMN_GROUP));
    return vch_cbor_uint(b, group);
}

static vch_rc put_fields(const create_t *c, const vch_id_t *custodian, vch_buf_t *b)
{
    size_t columns = 0;
    for (size_t i = 0; i < c->spec.columns; i++) columns += c->group_of[i] != NO_GROUP;
    VCH_TRY(vch_cbor_map(b, c->has_label ? 5 : 4));
    VCH_TRY(vch_cbor_uint(b, VCH_F_DATASET_NAME));
    VCH_TRY(vch_cbor_text(b, c->in->name, strlen(c->in->name)));
    VCH_TRY(vch_cbor_uint(b, VCH_F_DATASET_CUSTODIAN));
    VCH_TRY(vch_cbor_bytes(b, custodian->b, 32));
    VCH_TRY(vch_cbor_uint(b, VCH_F_DATASET_COLUMNS));
    VCH_TRY(vch_cbor_array(b, columns));
    for (size_t i = 0; i < c->spec.columns; i++)
        if (c->group_of[i] != NO_GROUP) VCH_TRY(put_column(b, c->spec.column[i], c->group_of[i]));
    VCH_TRY(vch_cbor_uint(b, VCH_F_DATASET_GROUPS));
    VCH_TRY(vch_cbor_array(b, c->groups));
    for (size_t i = 0; i < c->groups; i++) VCH_TRY(vch_cbor_text(b, (const char *)c->group[i].p, c->group[i].n));
    if (!c->has_label) return VCH_OK;
    VCH_TRY(vch_cbor_uint(b, VCH_F_DATASET_LABEL));
    return vch_cbor_uint(b, c->label);
}

static vch_rc name_is_free(vch_ledger_t *l, const vch_signer_t *signer, const char *name, vch_id_t *ret_party,
                           vch_err_t *err)
{
    vch_id_t other;
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_resolve(l, 'd', name, &other, NULL);
    if (rc == VCH_OK)
        rc = vch_fail(err, VCH_ERR_CONFLICT, "there is a dataset \"%s\" already", name);
    else if (rc == VCH_ERR_NOT_FOUND)
        rc = VCH_OK;
    if (rc == VCH_OK) rc = vch_party_of(l, signer, ret_party, err);
    vch_ledger_read_end(l);
    return rc;
}

static vch_rc keep_spec(vch_ledger_t *l, const create_t *c, const char *pending, vch_err_t *err)
{
    char folder[VCH_PATH_MAX];
    vch_buf_t text;
    VCH_TRY(vch_ledger_path(l, folder, "custody"));
    VCH_TRY(vch_mkdirs(l->port, folder, err));
    vch_buf_init(&text, SPEC_MAX);
    vch_rc rc = spec_text(&text, &c->spec);
    if (rc != VCH_OK)
        rc = vch_fail(err, rc, "the columns' names can't be kept: %s", vch_rc_text(rc));
    else
        rc = vch_write_atomic(l->port, pending, vch_buf_slice(&text), 0600, err);
    vch_buf_free(&text);
    return rc;
}

static vch_rc register_dataset(vch_ledger_t *l, const vch_signer_t *signer, const create_t *c, vch_buf_t *fields,
                               vch_receipt_t *ret, vch_err_t *err)
{
    char pending[VCH_PATH_MAX], hex[65];
    vch_id_t party;
    VCH_TRY(name_is_free(l, signer, c->in->name, &party, err));
    vch_rc rc = put_fields(c, &party, fields);
    if (rc != VCH_OK) return vch_fail(err, rc, "the dataset can't be described: %s", vch_rc_text(rc));
    vch_slice_t statement = vch_buf_slice(fields);
    VCH_TRY(pending_path(l, statement, pending));
    VCH_TRY(keep_spec(l, c, pending, err));
    rc = vch_ledger_write(l, signer, VCH_KIND_DATASET, &statement, 1, ret, err);
    if (rc != VCH_OK) {
        /* After a failed write the entry may be on the ledger all the same;
         * then whoever opens the dataset goes on from here. */
        if (nd_alive(l, NULL) == VCH_OK) (void)l->port->disk->remove(l->port, pending);
        return rc;
    }
    vch_hex(hex, ret->object.b, 32);
    return spec_move(l, pending, hex, err);
}

static vch_rc create(vch_ledger_t *l, const vch_signer_t *signer, create_t *c, vch_receipt_t *ret, vch_err_t *err)
{
    vch_buf_t fields;
    VCH_TRY(csv_open(&c->csv, l->port, c->in->header_csv, err));
    VCH_TRY(read_header(c, err));
    VCH_TRY(make_groups(c, err));
    vch_buf_init(&fields, VCH_TX_BYTES_MAX);
    vch_rc rc = register_dataset(l, signer, c, &fields, ret, err);
    vch_buf_free(&fields);
    return rc;
}

vch_rc vch_dataset_create(vch_ledger_t *l, const vch_signer_t *signer, const vch_dataset_spec_t *spec,
                          vch_receipt_t *ret, vch_err_t *err)
{
    create_t c = {.in = spec};
    VCH_TRY(vch_here(l, err));
    if (!spec->name || !*spec->name) return vch_fail(err, VCH_ERR_USAGE, "a dataset needs a name");
    if (!spec->header_csv) return vch_fail(err, VCH_ERR_USAGE, "a CSV file must say which columns there are");
    vch_arena_init(&c.arena, 16u << 20);
    vch_rc rc = create(l, signer, &c, ret, err);
    csv_close(&c.csv);
    vch_arena_free(&c.arena);
    return nd_told(rc, err);
}

/* ---- from a CSV record to a row --------------------------------------------------------- */

static bool is_identifying(const spec_t *s, vch_slice_t name)
{
    return (s->has_subject && vch_slice_eq(name, s->subject)) || (s->has_key && vch_slice_eq(name, s->key));
}

/* The position of a column among the file's cells. */
static vch_rc cell_of(const mapping_t *m, const csv_file_t *f, vch_slice_t name, size_t *ret, vch_err_t *err)
{
    for (*ret = 0; *ret < m->cells; ++*ret)
        if (vch_slice_eq(m->name[*ret], name)) return VCH_OK;
    return vch_fail(err, VCH_ERR_FORMAT, "%s line %llu: column \"%.*s\" of the dataset is missing", f->path,
                    (unsigned long long)f->csv.line, (int)name.n, (const char *)name.p);
}

static vch_rc known_columns(const mapping_t *m, const dataset_t *d, const spec_t *s, const csv_file_t *f,
                            vch_err_t *err)
{
    for (size_t i = 0; i < m->cells; i++) {
        bool known = is_identifying(s, m->name[i]);
        for (size_t j = 0; !known && j < d->columns; j++) known = vch_slice_eq(m->name[i], d->column[j]);
        for (size_t j = 0; j < i; j++)
            if (vch_slice_eq(m->name[i], m->name[j]))
                return vch_fail(err, VCH_ERR_FORMAT, "%s line %llu: column \"%.*s\" is there twice", f->path,
                                (unsigned long long)f->csv.line, (int)m->name[i].n, (const char *)m->name[i].p);
        if (known) continue;
        vch_fail(err, VCH_ERR_FORMAT, "%s line %llu: the dataset has no column \"%.*s\"", f->path,
                 (unsigned long long)f->csv.line, (int)m->name[i].n, (const char *)m->name[i].p);
        return vch_hint(err, VCH_ERR_FORMAT, "another set of columns is another dataset: create one for it");
    }
    return VCH_OK;
}

vch_rc mapping_make(mapping_t *ret, const dataset_t *d, const spec_t *s, const csv_file_t *f, vch_arena_t *arena,
                    vch_err_t *err)
{
    mapping_t m = {.cells = f->csv.count, .groups = d->groups, .has_subject = s->has_subject, .has_key = s->has_key};
    m.name = vch_arena_array(arena, m.cells, sizeof *m.name);
    if (!m.name) return no_memory(err);
    for (size_t i = 0; i < m.cells; i++) {
        vch_slice_t cell = vch_csv_cell(&f->csv, i);
        const void *p = vch_arena_copy(arena, cell.p, cell.n);
        if (!p) return no_memory(err);
        m.name[i] = vch_slice(p, cell.n);
    }
    VCH_TRY(known_columns(&m, d, s, f, err));
    for (size_t g = 0; g < d->groups; g++) {
        m.cell[g] = vch_arena_array(arena, d->columns, sizeof *m.cell[g]);
        if (!m.cell[g]) return no_memory(err);
    }
    for (size_t i = 0; i < d->columns; i++) {
        uint8_t g = d->group_of[i];
        VCH_TRY(cell_of(&m, f, d->column[i], &m.cell[g][m.n[g]++], err));
    }
    if (s->has_subject) VCH_TRY(cell_of(&m, f, s->subject, &m.subject, err));
    if (s->has_key) VCH_TRY(cell_of(&m, f, s->key, &m.key, err));
    *ret = m;
    return VCH_OK;
}
