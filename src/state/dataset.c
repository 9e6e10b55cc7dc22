/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets, versions with their extents and live rows, subjects. */
#include "state/state_impl.h"

/* ---- dataset --------------------------------------------------------------------- */

static vch_rc names_differ(apply_t *a, vch_slice_t fields, uint64_t key, bool structs, const char *what)
{
    vch_list_t list;
    vch_slice_t item;
    VCH_TRY(vch_field_list(fields, key, &list));
    size_t n = (size_t)list.left, slots = 16;
    while (slots < 2 * n) slots *= 2;
    vch_slice_t *at = vch_arena_array(&a->s->scratch, slots, sizeof *at);
    if (!at) return vch_fail(a->err, VCH_ERR_MEMORY, "out of memory");
    while (vch_list_next(&list, &item) == VCH_OK) {
        vch_slice_t name;
        vch_hash_t hash; /* a strong one: names are chosen by strangers */
        VCH_TRY(structs ? vch_field_bytes(item, VCH_F_COLUMN_NAME, &name) : vch_item_bytes(item, &name));
        vch_sha256(&hash, name.p, name.n);
        size_t i = vch_get_u32(hash.b) & (slots - 1);
        for (; at[i].p && !vch_slice_eq(at[i], name); i = (i + 1) & (slots - 1)) continue;
        if (at[i].p)
            return vch_fail(a->err, VCH_ERR_CONFLICT, "two %s have the same name \"%.*s\"", what, (int)name.n,
                            (const char *)name.p);
        at[i] = name;
    }
    return VCH_OK;
}

static vch_rc groups_exist(apply_t *a, vch_slice_t fields, uint64_t groups)
{
    vch_list_t columns;
    vch_slice_t column;
    uint64_t group;
    VCH_TRY(vch_field_list(fields, VCH_F_DATASET_COLUMNS, &columns));
    while (vch_list_next(&columns, &column) == VCH_OK) {
        VCH_TRY(vch_field_uint(column, VCH_F_COLUMN_GROUP, &group));
        if (group >= groups) return vch_fail(a->err, VCH_ERR_REFERENCE, "a column is in a group that is not there");
    }
    vch_rc rc = vch_field_uint(fields, VCH_F_DATASET_LABEL, &group);
    if (rc == VCH_OK && group >= groups) return vch_fail(a->err, VCH_ERR_REFERENCE, "the label group is not there");
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

vch_rc rule_dataset(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    vch_dataset_value_t v = {.statement = *leaf};
    vch_list_t groups;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_DATASET_CUSTODIAN, v.custodian.b, 32));
    if (!vch_id_eq(&v.custodian, &a->party))
        return vch_fail(a->err, VCH_ERR_ROLE, "a dataset is registered by the custodian that it names");
    VCH_TRY(vch_field_list(st->fields, VCH_F_DATASET_GROUPS, &groups));
    v.groups = (uint32_t)groups.left;
    VCH_TRY(groups_exist(a, st->fields, groups.left));
    VCH_TRY(names_differ(a, st->fields, VCH_F_DATASET_COLUMNS, true, "columns"));
    VCH_TRY(names_differ(a, st->fields, VCH_F_DATASET_GROUPS, false, "groups"));
    vch_state_key_t key = vch_key_id('d', object->b), statement = vch_key_id('D', object->b);
    VCH_TRY(ST_SET(a->s, &key, vch_dataset_put, &v, a->err));
    return st_set(a->s, &statement, st->fields, a->err);
}

static vch_rc get_dataset(apply_t *a, const vch_id_t *id, vch_dataset_value_t *ret)
{
    vch_state_key_t key = vch_key_id('d', id->b);
    vch_slice_t bytes;
    vch_rc rc = st_get(a->s, &key, &bytes, a->err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(a->err, VCH_ERR_REFERENCE, "there is no such dataset");
    VCH_TRY(rc);
    return vch_dataset_get(ret, bytes);
}

/* ---- subjects of an extent, in pieces before their version ------------------------ */

/* Each custodian stages alone, so that nobody can spoil another one's list. */
static vch_hash_t staging_place(const vch_id_t *party, const vch_hash_t *extent)
{
    uint8_t joined[64];
    vch_hash_t ret;
    memcpy(joined, party->b, 32);
    memcpy(joined + 32, extent->b, 32);
    vch_sha256(&ret, joined, sizeof joined);
    return ret;
}

vch_rc rule_subjects(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    (void)object;
    vch_hash_t extent;
    uint64_t offset;
    vch_slice_t list, staged = {NULL, 0};
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_PIECE_EXTENT, extent.b, 32));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_PIECE_OFFSET, &offset));
    VCH_TRY(vch_field_bytes(st->fields, VCH_F_PIECE_LIST, &list));
    vch_rc rc = st_get_at(a->s, 'E', extent.b, &staged, a->err);
    if (rc == VCH_OK) return vch_fail(a->err, VCH_ERR_CONFLICT, "the extent is in a version already");
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    vch_hash_t place = staging_place(&a->party, &extent);
    rc = st_get_at(a->s, 'j', place.b, &staged, a->err);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    if (list.n % 4) return vch_fail(a->err, VCH_ERR_FORMAT, "a list of subjects is a run of 4-byte numbers");
    if (offset * 4 != staged.n)
        return vch_fail(a->err, VCH_ERR_CONFLICT,
                        "pieces of subjects come in order: %zu are there, this one begins at %llu", staged.n / 4,
                        (unsigned long long)offset);
    if (staged.n + list.n > 4u * VCH_EXTENT_ROWS_MAX)
        return vch_fail(a->err, VCH_ERR_LIMIT, "an extent has at most %u rows", VCH_EXTENT_ROWS_MAX);
    a->copied += staged.n + list.n;
    if (a->copied > TX_COPIES_MAX)
        return vch_fail(a->err, VCH_ERR_LIMIT, "too many pieces of subjects in one transaction: send larger ones");
    uint8_t *joined = vch_arena_alloc(&a->s->scratch, staged.n + list.n);
    if (!joined) return vch_fail(a->err, VCH_ERR_MEMORY, "out of memory");
    if (staged.n) memcpy(joined, staged.p, staged.n);
    memcpy(joined + staged.n, list.p, list.n);
    return st_set_at(a->s, 'j', place.b, vch_slice(joined, staged.n + list.n), a->err);
}

/* ---- version ------------------------------------------------------------------------ */

typedef struct {
    size_t at;
    uint32_t rows;
} place_t;

typedef struct {
    apply_t *a;
    vch_slice_t fields;
    vch_id_t dataset;
    place_t *place; /* of each extent in the bitmap */
    vch_dataset_value_t head;
    vch_version_value_t v;
    vch_buf_t bits;
    bool changed;
} version_t;

static vch_rc check_previous(version_t *w)
{
    vch_rc rc = vch_field_fixed(w->fields, VCH_F_VERSION_PREVIOUS, w->v.previous.b, 32);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    w->v.has_previous = rc == VCH_OK;
    if (w->v.has_previous != w->head.has_latest || (w->v.has_previous && !vch_id_eq(&w->v.previous, &w->head.latest)))
        return vch_fail(w->a->err, VCH_ERR_CONFLICT, "a version names the dataset's latest version as its previous");
    if (!w->v.has_previous) return VCH_OK;
    vch_slice_t bits;
    VCH_TRY(st_get_at(w->a->s, 'B', w->v.previous.b, &bits, w->a->err));
    return vch_buf_put(&w->bits, bits.p, bits.n);
}

/* New subjects take the next numbers. */
static vch_rc add_subjects(version_t *w)
{
    vch_slice_t range;
    uint64_t first, count;
    vch_range_value_t v;
    vch_rc rc = vch_field_map(w->fields, VCH_F_VERSION_SUBJECTS, &range);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    VCH_TRY(rc);
    VCH_TRY(vch_field_uint(range, VCH_F_SUBJECTS_FIRST, &first));
    VCH_TRY(vch_field_uint(range, VCH_F_SUBJECTS_COUNT, &count));
    VCH_TRY(vch_field_fixed(range, VCH_F_SUBJECTS_ROOT, v.root.b, 32));
    if (first != w->head.subjects)
        return vch_fail(w->a->err, VCH_ERR_CONFLICT, "new subjects begin at %u, not %llu", w->head.subjects,
                        (unsigned long long)first);
    if (first + count > UINT32_MAX)
        return vch_fail(w->a->err, VCH_ERR_LIMIT, "a dataset has at most 2^32 - 1 subjects");
    w->a->subjects += count;
    if (w->a->subjects > TX_BRINGS_MAX)
        return vch_fail(w->a->err, VCH_ERR_LIMIT, "a transaction brings at most %u subjects", TX_BRINGS_MAX);
    v.count = (uint32_t)count;
    w->head.subjects = (uint32_t)(first + count);
    vch_state_key_t key = vch_key_id_u32('s', w->dataset.b, (uint32_t)first);
    return ST_SET(w->a->s, &key, vch_range_put, &v, w->a->err);
}

static vch_rc listed_subjects_fit(version_t *w, const vch_extent_value_t *e)
{
    vch_slice_t list;
    vch_hash_t hash;
    vch_hash_t place = staging_place(&w->a->party, &e->id);
    vch_rc rc = st_get_at(w->a->s, 'j', place.b, &list, w->a->err);
    if (rc == VCH_ERR_NOT_FOUND)
        return vch_fail(w->a->err, VCH_ERR_REFERENCE, "the extent's subjects were not given before its version");
    VCH_TRY(rc);
    vch_sha256(&hash, list.p, list.n);
    if (list.n != 4 * (size_t)e->count || !vch_hash_eq(&hash, &e->subjects_hash))
        return vch_fail(w->a->err, VCH_ERR_COMMITMENT, "the extent's subjects are not those that its version names");
    for (size_t i = 0; i < list.n; i += 4)
        if (vch_get_u32(list.p + i) >= w->head.subjects)
            return vch_fail(w->a->err, VCH_ERR_REFERENCE, "row %zu belongs to a subject that is not in the dataset",
                            i / 4);
    VCH_TRY(st_set_at(w->a->s, 'J', e->id.b, list, w->a->err));
    return st_set_at(w->a->s, 'j', place.b, vch_slice(NULL, 0), w->a->err); /* its room is free again */
}

static vch_rc read_extent(version_t *w, vch_slice_t item, vch_extent_value_t *ret)
{
    vch_extent_value_t e = {0};
    uint64_t count, first = 0;
    VCH_TRY(vch_field_fixed(item, VCH_F_EXTENT_ID, e.id.b, 32));
    VCH_TRY(vch_field_uint(item, VCH_F_EXTENT_COUNT, &count));
    VCH_TRY(vch_field_fixed(item, VCH_F_EXTENT_ROWS_ROOT, e.rows_root.b, 32));
    vch_rc contiguous = vch_field_uint(item, VCH_F_EXTENT_FIRST, &first);
    vch_rc listed = vch_field_fixed(item, VCH_F_EXTENT_SUBJECTS_HASH, e.subjects_hash.b, 32);
    if ((contiguous == VCH_OK) == (listed == VCH_OK))
        return vch_fail(w->a->err, VCH_ERR_FORMAT, "an extent has either a first subject or a hash of its subjects");
    e.count = (uint32_t)count;
    e.contiguous = contiguous == VCH_OK;
    e.first = (uint32_t)first;
    *ret = e;
    if (!e.contiguous) return listed_subjects_fit(w, &e);
    if (first + count <= w->head.subjects) return VCH_OK;
    return vch_fail(w->a->err, VCH_ERR_REFERENCE, "an extent's rows belong to subjects that are not in the dataset");
}

/* An extent's id is used once on the ledger: its mark is in the index. */
static vch_rc claim_extent_id(version_t *w, const vch_hash_t *id, uint32_t number)
{
    uint8_t place[36];
    vch_slice_t known;
    vch_rc rc = st_get_at(w->a->s, 'E', id->b, &known, w->a->err);
    if (rc == VCH_OK) return vch_fail(w->a->err, VCH_ERR_CONFLICT, "an extent of this id exists already");
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    memcpy(place, w->dataset.b, 32);
    vch_put_u32(place + 32, number);
    return st_set_at(w->a->s, 'E', id->b, vch_slice(place, sizeof place), w->a->err);
}

static vch_rc keep_holding(version_t *w, vch_slice_t item, const vch_extent_value_t *e)
{
    vch_slice_t map;
    vch_rc rc = vch_field_map(item, VCH_F_EXTENT_VAULT, &map);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK; /* its rows stay with the custodian */
    VCH_TRY(rc);
    return st_holding(w->a, &w->dataset, w->head.groups, e, w->head.extents, map);
}

static vch_rc append_live(version_t *w, uint32_t rows)
{
    uint8_t *part;
    size_t n = vch_set_bytes(rows);
    VCH_TRY(vch_buf_extend(&w->bits, n, &part));
    memset(part, 0, n);
    memset(part, 0xff, rows / 8);
    for (size_t i = rows / 8 * 8; i < rows; i++) vch_bit_set(part, i);
    return VCH_OK;
}

static vch_rc add_extents(version_t *w)
{
    vch_list_t list;
    vch_slice_t item;
    VCH_TRY(vch_field_list(w->fields, VCH_F_VERSION_EXTENTS, &list));
    vch_rc rc;
    while ((rc = vch_list_next(&list, &item)) == VCH_OK) {
        vch_extent_value_t e;
        if (w->head.extents > UINT16_MAX)
            return vch_fail(w->a->err, VCH_ERR_LIMIT, "a dataset has at most 65,536 extents");
        VCH_TRY(read_extent(w, item, &e));
        w->a->rows += e.count;
        if (w->a->rows > TX_BRINGS_MAX)
            return vch_fail(w->a->err, VCH_ERR_LIMIT, "a transaction brings at most %u rows", TX_BRINGS_MAX);
        VCH_TRY(claim_extent_id(w, &e.id, w->head.extents));
        vch_state_key_t key = vch_key_id_u32('e', w->dataset.b, w->head.extents);
        VCH_TRY(ST_SET(w->a->s, &key, vch_extent_put, &e, w->a->err));
        VCH_TRY(keep_holding(w, item, &e));
        VCH_TRY(append_live(w, e.count));
        w->head.extents++;
        w->changed = true;
    }
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

/* Where each extent's part of the bitmap begins, and its rows: read once, for
 * a version changes up to 2,048 leaves of up to 65,536 extents. */
static vch_rc place_extents(version_t *w)
{
    size_t at = 0;
    w->place = vch_arena_array(&w->a->s->scratch, w->head.extents, sizeof *w->place);
    if (!w->place) return vch_fail(w->a->err, VCH_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; i < w->head.extents; i++) {
        vch_state_key_t key = vch_key_id_u32('e', w->dataset.b, i);
        vch_slice_t bytes;
        vch_extent_value_t e;
        VCH_TRY(st_get(w->a->s, &key, &bytes, w->a->err));
        VCH_TRY(vch_extent_get(&e, bytes));
        w->place[i] = (place_t){at, e.count};
        at += vch_set_bytes(e.count);
    }
    return VCH_OK;
}

static bool padding_clear(const uint8_t *leaf, uint32_t rows_left)
{
    for (size_t i = rows_left; i < 8 * VCH_BITMAP_LEAF; i++)
        if (vch_bit(leaf, i)) return false;
    return true;
}

static vch_rc change_bits(version_t *w, vch_slice_t item)
{
    uint64_t extent, leaf;
    uint8_t bits[VCH_BITMAP_LEAF];
    VCH_TRY(vch_field_uint(item, VCH_F_BITLEAF_EXTENT, &extent));
    VCH_TRY(vch_field_uint(item, VCH_F_BITLEAF_LEAF, &leaf));
    VCH_TRY(vch_field_fixed(item, VCH_F_BITLEAF_BITS, bits, sizeof bits));
    if (extent >= w->head.extents)
        return vch_fail(w->a->err, VCH_ERR_REFERENCE, "a bitmap leaf of an extent that is not there");
    size_t at = w->place[extent].at;
    uint32_t rows = w->place[extent].rows;
    if (leaf * 2048 >= rows) return vch_fail(w->a->err, VCH_ERR_REFERENCE, "a bitmap leaf beyond the extent's rows");
    if (!padding_clear(bits, rows - (uint32_t)leaf * 2048))
        return vch_fail(w->a->err, VCH_ERR_FORMAT, "a bitmap leaf has bits beyond the extent's rows");
    memcpy(w->bits.p + at + leaf * VCH_BITMAP_LEAF, bits, sizeof bits);
    w->changed = true;
    return VCH_OK;
}

static vch_rc change_live(version_t *w)
{
    vch_list_t list;
    vch_slice_t item;
    VCH_TRY(vch_field_list(w->fields, VCH_F_VERSION_BITMAP, &list));
    if (list.left) VCH_TRY(place_extents(w));
    vch_rc rc;
    while ((rc = vch_list_next(&list, &item)) == VCH_OK) VCH_TRY(change_bits(w, item));
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static uint64_t count_bits(const vch_buf_t *b)
{
    uint64_t n = 0;
    for (size_t i = 0; i < b->n; i++) n += (uint64_t)__builtin_popcount(b->p[i]);
    return n;
}

static vch_rc keep_version(version_t *w, const vch_id_t *object)
{
    column_t *column;
    w->v.dataset = w->dataset;
    w->v.number = ++w->head.versions;
    w->v.extents = w->head.extents;
    w->v.live = count_bits(&w->bits);
    VCH_TRY(vch_set_root(&w->v.live_root, w->bits.p, w->bits.n, &w->a->s->scratch));
    VCH_TRY(st_set_at(w->a->s, 'B', object->b, vch_buf_slice(&w->bits), w->a->err));
    vch_state_key_t key = vch_key_id('v', object->b), head = vch_key_id('d', w->dataset.b);
    VCH_TRY(ST_SET(w->a->s, &key, vch_version_put, &w->v, w->a->err));
    VCH_TRY(st_column(w->a->s, &w->dataset, &column, w->a->err));
    VCH_TRY(st_column_grow(w->a->s, column, w->head.subjects, w->a->err));
    w->head.latest = *object;
    w->head.has_latest = true;
    return ST_SET(w->a->s, &head, vch_dataset_put, &w->head, w->a->err);
}

static vch_rc make_version(version_t *w, const vch_id_t *object)
{
    apply_t *a = w->a;
    VCH_TRY(vch_field_fixed(w->fields, VCH_F_VERSION_DATASET, w->dataset.b, 32));
    VCH_TRY(get_dataset(a, &w->dataset, &w->head));
    if (!vch_id_eq(&w->head.custodian, &a->party))
        return vch_fail(a->err, VCH_ERR_ROLE, "only the dataset's custodian may add a version");
    VCH_TRY(check_previous(w));
    VCH_TRY(add_subjects(w));
    VCH_TRY(add_extents(w));
    VCH_TRY(change_live(w));
    if (!w->changed) return vch_fail(a->err, VCH_ERR_FORMAT, "a version changes nothing");
    return keep_version(w, object);
}

vch_rc rule_version(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    version_t w = {.a = a, .fields = st->fields};
    vch_buf_init(&w.bits, 1u << 30);
    vch_rc rc = make_version(&w, object);
    vch_buf_free(&w.bits);
    return rc;
}

static vch_rc custodian_of_version(apply_t *a, const vch_id_t *id)
{
    vch_state_key_t key = vch_key_id('v', id->b);
    vch_slice_t bytes;
    vch_version_value_t v;
    vch_dataset_value_t d;
    vch_rc rc = st_get(a->s, &key, &bytes, a->err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(a->err, VCH_ERR_REFERENCE, "there is no such version");
    VCH_TRY(rc);
    VCH_TRY(vch_version_get(&v, bytes));
    VCH_TRY(get_dataset(a, &v.dataset, &d));
    if (vch_id_eq(&d.custodian, &a->party)) return VCH_OK;
    return vch_fail(a->err, VCH_ERR_ROLE, "a transform is recorded by the custodian of both versions");
}

vch_rc rule_transform(apply_t *a, const vch_statement_t *st, const vch_hash_t *leaf, const vch_id_t *object)
{
    (void)leaf;
    vch_id_t from, to;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_TRANSFORM_FROM, from.b, 32));
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_TRANSFORM_TO, to.b, 32));
    VCH_TRY(custodian_of_version(a, &from));
    VCH_TRY(custodian_of_version(a, &to));
    vch_state_key_t key = vch_key_id('x', object->b);
    return st_set(a->s, &key, st->fields, a->err);
}
