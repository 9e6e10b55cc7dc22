/* SPDX-License-Identifier: Apache-2.0 */
/* The consent column: subject -> palette index, in chunks of 4,096 subjects.
 *
 * In memory, all indices of a dataset in use lie in one array (decisions read
 * nothing else); the cells of a chunk, with serials and last statements, are
 * loaded only when one of them is read or changed. */
#include "merkle/tree.h"
#include "state/state_impl.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

static size_t chunks_for(uint32_t subjects) { return ((size_t)subjects + VCH_CHUNK - 1) / VCH_CHUNK; }

/* ---- the palette ------------------------------------------------------------- */

static uint32_t palette_bucket(const vch_palette_value_t *p)
{
    uint32_t crc = vch_crc32c(0, &p->owner_withdrew, sizeof p->owner_withdrew);
    for (size_t i = 0; i < p->items; i++) {
        uint8_t joined[37];
        memcpy(joined, p->item[i].terms.b, 32);
        vch_put_u32(joined + 32, p->item[i].until_day);
        joined[36] = p->item[i].how;
        crc = vch_crc32c(crc, joined, sizeof joined);
    }
    return crc & 1023;
}

static void palette_link(column_t *c, uint16_t i)
{
    uint32_t b = palette_bucket(&c->palette[i]);
    c->hash_next[i] = c->hash_head[b];
    c->hash_head[b] = i;
}

static void palette_unlink(column_t *c, uint16_t i)
{
    uint16_t *at = &c->hash_head[palette_bucket(&c->palette[i])];
    while (*at != i) at = &c->hash_next[*at];
    *at = c->hash_next[i];
}

static vch_rc palette_reserve(column_t *c, uint32_t n, vch_err_t *err)
{
    if (n < c->palette_cap) return VCH_OK;
    uint32_t cap = c->palette_cap ? c->palette_cap : 64;
    while (cap <= n) cap *= 2;
    vch_palette_value_t *palette = vch_resize(c->palette, cap * sizeof *palette);
    if (palette) c->palette = palette;
    uint32_t *refs = vch_resize(c->refs, cap * sizeof *refs);
    if (refs) c->refs = refs;
    uint16_t *links = vch_resize(c->hash_next, cap * sizeof *links);
    if (links) c->hash_next = links;
    if (!palette || !refs || !links) return no_memory(err);
    memset(c->palette + c->palette_cap, 0, (cap - c->palette_cap) * sizeof *palette);
    memset(c->refs + c->palette_cap, 0, (cap - c->palette_cap) * sizeof *refs);
    c->palette_cap = cap;
    return VCH_OK;
}

static uint16_t palette_find(const column_t *c, const vch_palette_value_t *set)
{
    uint16_t i = c->hash_head[palette_bucket(set)];
    while (i && !vch_palette_eq(&c->palette[i], set)) i = c->hash_next[i];
    return i;
}

static vch_rc palette_free_index(const column_t *c, uint16_t *ret, vch_err_t *err)
{
    for (uint32_t i = 1; i <= c->palette_n; i++)
        if (c->refs[i] == 0) {
            *ret = (uint16_t)i;
            return VCH_OK;
        }
    if (c->palette_n == UINT16_MAX)
        return vch_fail(err, VCH_ERR_LIMIT,
                        "the dataset's palette is full: 65,535 different sets of consents are in use");
    *ret = (uint16_t)(c->palette_n + 1);
    return VCH_OK;
}

/* The dataset's head carries how many indices were ever used. */
static vch_rc palette_count_put(vch_state_t *s, const column_t *c, uint32_t n, vch_err_t *err)
{
    vch_state_key_t key = vch_key_id('d', c->dataset.b);
    vch_slice_t bytes;
    vch_dataset_value_t d;
    VCH_TRY(st_get(s, &key, &bytes, err));
    VCH_TRY(vch_dataset_get(&d, bytes));
    d.palette = (uint16_t)n;
    return ST_SET(s, &key, vch_dataset_put, &d, err);
}

static vch_rc palette_new(vch_state_t *s, column_t *c, const vch_palette_value_t *set, uint16_t *ret, vch_err_t *err)
{
    uint16_t i = 0;
    VCH_TRY(palette_free_index(c, &i, err));
    VCH_TRY(palette_reserve(c, i, err));
    undo_t u = {.kind = UNDO_PALETTE, .column = c, .number = i, .palette = c->palette[i], .palette_n = c->palette_n};
    vch_state_key_t key = vch_key_id_u16('c', c->dataset.b, i);
    VCH_TRY(ST_SET(s, &key, vch_palette_put, set, err));
    if (i > c->palette_n) VCH_TRY(palette_count_put(s, c, i, err));
    if (st_log_undo(s, &u) != VCH_OK) return no_memory(err);
    if (i <= c->palette_n)
        palette_unlink(c, i);
    else
        c->palette_n = i;
    c->palette[i] = *set;
    palette_link(c, i);
    *ret = i;
    return VCH_OK;
}

void st_undo_palette(const undo_t *u)
{
    column_t *c = u->column;
    palette_unlink(c, (uint16_t)u->number);
    c->palette[u->number] = u->palette;
    c->palette_n = u->palette_n;
    if (u->number <= c->palette_n) palette_link(c, (uint16_t)u->number);
}

vch_rc st_palette_index(vch_state_t *s, column_t *c, const vch_palette_value_t *set, uint16_t *ret, vch_err_t *err)
{
    if (set->items == 0 && !set->owner_withdrew) {
        *ret = 0;
        return VCH_OK;
    }
    uint16_t i = palette_find(c, set);
    if (i == 0) return palette_new(s, c, set, ret, err);
    *ret = i;
    return VCH_OK;
}

static vch_rc palette_load(vch_state_t *s, column_t *c, uint16_t n, vch_err_t *err)
{
    VCH_TRY(palette_reserve(c, n, err));
    for (uint32_t i = 1; i <= n; i++) {
        vch_state_key_t key = vch_key_id_u16('c', c->dataset.b, (uint16_t)i);
        vch_slice_t bytes;
        VCH_TRY(st_get(s, &key, &bytes, err));
        VCH_TRY(vch_palette_get(&c->palette[i], bytes));
        c->palette_n = i;
        palette_link(c, (uint16_t)i);
    }
    return VCH_OK;
}

/* ---- chunks --------------------------------------------------------------------- */

static vch_state_key_t blob_key(const column_t *c, size_t number)
{
    return vch_key_id_u32('H', c->dataset.b, (uint32_t)number);
}

static void tree_build(chunk_t *ch)
{
    vch_sha256_fixed(ch->tree + VCH_CHUNK, 0, ch->cell[0], VCH_CELL_LEN, VCH_CELL_LEN, VCH_CHUNK);
    for (size_t level = VCH_CHUNK / 2; level; level /= 2)
        vch_sha256_nodes(ch->tree + level, ch->tree + 2 * level, level);
}

/* Hash again only what stale cells lie under. */
static void tree_update(chunk_t *ch)
{
    uint8_t stale[TREE_NODES / 8] = {0};
    for (size_t i = 0; i < VCH_CHUNK; i++) {
        if (!vch_bit(ch->stale, i)) continue;
        vch_tree_leaf(&ch->tree[VCH_CHUNK + i], vch_slice(ch->cell[i], VCH_CELL_LEN));
        vch_bit_set(stale, (VCH_CHUNK + i) / 2);
    }
    for (size_t i = VCH_CHUNK - 1; i; i--) {
        if (!vch_bit(stale, i)) continue;
        vch_tree_node(&ch->tree[i], &ch->tree[2 * i], &ch->tree[2 * i + 1]);
        vch_bit_set(stale, i / 2);
    }
    memset(ch->stale, 0, sizeof ch->stale);
    ch->any_stale = false;
}

static vch_rc chunk_value(vch_state_t *s, const column_t *c, size_t number, uint8_t ret[64], bool *ret_there,
                          vch_err_t *err)
{
    vch_state_key_t key = vch_key_id_u32('C', c->dataset.b, (uint32_t)number);
    vch_slice_t value;
    vch_rc rc = st_get(s, &key, &value, err);
    *ret_there = rc == VCH_OK;
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    VCH_TRY(rc);
    if (value.n != 64) return vch_fail(err, VCH_ERR_CORRUPT, "a chunk's value has %zu bytes", value.n);
    memcpy(ret, value.p, 64);
    return VCH_OK;
}

static vch_rc chunk_load(vch_state_t *s, const column_t *c, size_t number, chunk_t *ch, vch_err_t *err)
{
    uint8_t value[64];
    bool there;
    VCH_TRY(chunk_value(s, c, number, value, &there, err));
    if (there) {
        vch_state_key_t key = blob_key(c, number);
        vch_buf_clear(&s->page);
        vch_rc rc = st_saved(s, vch_key_slice(&key), &s->page);
        if (rc != VCH_OK || s->page.n != sizeof ch->cell)
            return vch_fail(err, VCH_ERR_CORRUPT, "the cells of chunk %zu are not in the index", number);
        memcpy(ch->cell, s->page.p, sizeof ch->cell);
    }
    tree_build(ch);
    if (there && memcmp(ch->tree[1].b, value + 32, 32) != 0)
        return vch_fail(err, VCH_ERR_CORRUPT, "the cells of chunk %zu do not match the state tree", number);
    return VCH_OK;
}

vch_rc st_chunk(vch_state_t *s, column_t *c, size_t number, chunk_t **ret, vch_err_t *err)
{
    if (number >= c->chunks) return vch_fail(err, VCH_ERR_REFERENCE, "no such chunk of subjects");
    if (!c->chunk[number]) {
        chunk_t *ch = vch_alloc(sizeof *ch);
        if (!ch) return no_memory(err);
        vch_rc rc = chunk_load(s, c, number, ch, err);
        if (rc != VCH_OK) {
            vch_free(ch);
            return rc;
        }
        c->chunk[number] = ch;
    }
    *ret = c->chunk[number];
    return VCH_OK;
}

/* ---- cells ------------------------------------------------------------------------ */

vch_rc st_cell(vch_state_t *s, column_t *c, uint32_t subject, vch_cell_t *ret, vch_err_t *err)
{
    chunk_t *ch = NULL;
    if (subject >= c->subjects)
        return vch_fail(err, VCH_ERR_REFERENCE, "subject %u is not in the dataset, which has %u", subject, c->subjects);
    VCH_TRY(st_chunk(s, c, subject / VCH_CHUNK, &ch, err));
    vch_cell_get(ret, ch->cell[subject % VCH_CHUNK]);
    return VCH_OK;
}

static void write_cell(vch_state_t *s, column_t *c, uint32_t subject, const vch_cell_t *cell)
{
    chunk_t *ch = c->chunk[subject / VCH_CHUNK];
    size_t at = subject % VCH_CHUNK;
    if (!ch->unsaved) s->dirty_bytes += sizeof ch->cell;
    vch_cell_put(ch->cell[at], cell);
    vch_bit_set(ch->stale, at);
    ch->any_stale = ch->unsaved = true;
    c->refs[c->index[subject]]--;
    c->index[subject] = cell->index;
    c->refs[cell->index]++;
}

vch_rc st_set_cell(vch_state_t *s, column_t *c, uint32_t subject, const vch_cell_t *cell, vch_err_t *err)
{
    undo_t u = {.kind = UNDO_CELL, .column = c, .number = subject};
    VCH_TRY(st_cell(s, c, subject, &u.cell, err));
    const chunk_t *ch = c->chunk[subject / VCH_CHUNK];
    u.cell_stale = vch_bit(ch->stale, subject % VCH_CHUNK);
    u.any_stale = ch->any_stale;
    if (st_log_undo(s, &u) != VCH_OK) return no_memory(err);
    write_cell(s, c, subject, cell);
    return VCH_OK;
}

/* A chunk that nobody touched but a refused transaction must not be hashed:
 * it would appear in the state, and a replay, which never sees the refused
 * one, would come to another root. */
void st_undo_cell(vch_state_t *s, const undo_t *u)
{
    chunk_t *ch = u->column->chunk[u->number / VCH_CHUNK];
    write_cell(s, u->column, u->number, &u->cell);
    if (!u->cell_stale) vch_bit_clear(ch->stale, u->number % VCH_CHUNK);
    ch->any_stale = u->any_stale;
}

/* ---- columns ------------------------------------------------------------------------ */

static vch_rc column_room(column_t *c, uint32_t subjects, vch_err_t *err)
{
    size_t chunks = chunks_for(subjects);
    if (chunks <= c->chunks) return VCH_OK;
    uint16_t *index = vch_resize(c->index, chunks * VCH_CHUNK * sizeof *index);
    if (!index) return no_memory(err);
    c->index = index;
    chunk_t **chunk = vch_resize(c->chunk, chunks * sizeof *chunk);
    if (!chunk) return no_memory(err);
    c->chunk = chunk;
    memset(c->index + c->chunks * VCH_CHUNK, 0, (chunks - c->chunks) * VCH_CHUNK * sizeof *index);
    memset(c->chunk + c->chunks, 0, (chunks - c->chunks) * sizeof(chunk_t *));
    if (c->refs) c->refs[0] += (uint32_t)((chunks - c->chunks) * VCH_CHUNK);
    c->chunks = chunks;
    return VCH_OK;
}

vch_rc st_column_grow(vch_state_t *s, column_t *c, uint32_t subjects, vch_err_t *err)
{
    undo_t u = {.kind = UNDO_SUBJECTS, .column = c, .number = c->subjects};
    VCH_TRY(column_room(c, subjects, err));
    if (st_log_undo(s, &u) != VCH_OK) return no_memory(err);
    c->subjects = subjects;
    return VCH_OK;
}

#define FETCH_AT_ONCE 16384u
#define FLATS_AT_ONCE 16u /* hashed side by side */
#define FLAT_BYTES (2u * VCH_CHUNK)
#define TALLIES 4u /* counted side by side: the same index often comes many times on end */

static vch_state_key_t value_key(const column_t *c, size_t palette, size_t i)
{
    if (i < palette) return vch_key_id_u16('c', c->dataset.b, (uint16_t)(i + 1));
    return vch_key_id_u32('C', c->dataset.b, (uint32_t)(i - palette));
}

/* Palette and chunk values, checked against the state tree in one walk. */
static vch_rc fetch_values(vch_state_t *s, const column_t *c, size_t palette, vch_err_t *err)
{
    size_t all = palette + c->chunks;
    if (all == 0) return VCH_OK;
    vch_state_key_t *key = vch_alloc_array(vch_min(all, FETCH_AT_ONCE), sizeof *key);
    if (!key) return no_memory(err);
    vch_rc rc = VCH_OK;
    for (size_t i = 0; rc == VCH_OK && i < all;) {
        size_t n = 0;
        while (n < FETCH_AT_ONCE && i < all) key[n++] = value_key(c, palette, i++);
        rc = st_fetch(s, key, n, err);
    }
    vch_free(key);
    return rc;
}

static vch_rc flat_mismatch(size_t number, vch_err_t *err)
{
    return vch_fail(err, VCH_ERR_CORRUPT, "the consent indices of chunk %zu do not match the state tree", number);
}

static void get_indices(uint16_t *restrict ret, const uint8_t *restrict p)
{
    for (size_t i = 0; i < VCH_CHUNK; i++) ret[i] = vch_get_u16(p + 2 * i);
}

/* The indices of up to FLATS_AT_ONCE chunks. */
static vch_rc load_indices(vch_state_t *s, column_t *c, size_t from, size_t to, vch_err_t *err)
{
    size_t number[FLATS_AT_ONCE], n = 0;
    uint8_t value[FLATS_AT_ONCE][64];
    vch_sha256_msg_t msg[FLATS_AT_ONCE] = {0};
    vch_hash_t flat[FLATS_AT_ONCE];
    vch_buf_clear(&s->page);
    for (size_t i = from; i < to; i++) {
        bool there;
        VCH_TRY(chunk_value(s, c, i, value[n], &there, err));
        if (!there) continue;
        vch_state_key_t key = vch_key_id_u32('F', c->dataset.b, (uint32_t)i);
        vch_rc rc = st_saved(s, vch_key_slice(&key), &s->page);
        if (rc != VCH_OK || s->page.n != (n + 1) * FLAT_BYTES) return flat_mismatch(i, err);
        number[n++] = i;
    }
    for (size_t k = 0; k < n; k++) msg[k].part[0] = vch_slice(s->page.p + k * FLAT_BYTES, FLAT_BYTES);
    vch_sha256_many(flat, msg, n);
    for (size_t k = 0; k < n; k++) {
        if (memcmp(flat[k].b, value[k], 32) != 0) return flat_mismatch(number[k], err);
        get_indices(c->index + number[k] * VCH_CHUNK, msg[k].part[0].p);
    }
    return VCH_OK;
}

static bool tally_chunk(uint32_t *tally, size_t stride, const uint16_t *index)
{
    uint16_t highest = 0;
    for (size_t i = 0; i < VCH_CHUNK; i++)
        if (index[i] > highest) highest = index[i];
    if (highest >= stride) return false;
    for (size_t i = 0; i < VCH_CHUNK; i += TALLIES)
        for (size_t k = 0; k < TALLIES; k++) tally[k * stride + index[i + k]]++;
    return true;
}

static vch_rc count_refs(column_t *c, vch_err_t *err)
{
    size_t stride = c->palette_n + 1;
    uint32_t *tally = vch_alloc_array(TALLIES * stride, sizeof *tally);
    if (!tally) return no_memory(err);
    vch_rc rc = VCH_OK;
    for (size_t i = 0; rc == VCH_OK && i < c->chunks; i++)
        if (!tally_chunk(tally, stride, c->index + i * VCH_CHUNK))
            rc = vch_fail(err, VCH_ERR_CORRUPT, "a consent index is not in the palette");
    for (size_t i = 0; i < TALLIES * stride; i++) c->refs[i % stride] += tally[i];
    vch_free(tally);
    return rc;
}

static void column_free(column_t *c)
{
    for (size_t i = 0; i < c->chunks; i++) vch_free(c->chunk[i]);
    vch_free(c->chunk);
    vch_free(c->index);
    vch_free(c->palette);
    vch_free(c->refs);
    vch_free(c->hash_next);
    vch_free(c);
}

static vch_rc column_load(vch_state_t *s, column_t *c, vch_err_t *err)
{
    vch_state_key_t key = vch_key_id('d', c->dataset.b);
    vch_slice_t bytes;
    vch_dataset_value_t d;
    vch_rc rc = st_get(s, &key, &bytes, err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, VCH_ERR_REFERENCE, "there is no such dataset");
    VCH_TRY(rc);
    VCH_TRY(vch_dataset_get(&d, bytes));
    VCH_TRY(column_room(c, d.subjects, err));
    c->subjects = d.subjects;
    VCH_TRY(fetch_values(s, c, d.palette, err));
    VCH_TRY(palette_load(s, c, d.palette, err));
    for (size_t i = 0; i < c->chunks; i += FLATS_AT_ONCE)
        VCH_TRY(load_indices(s, c, i, vch_min(i + FLATS_AT_ONCE, c->chunks), err));
    return count_refs(c, err);
}

vch_rc st_column(vch_state_t *s, const vch_id_t *dataset, column_t **ret, vch_err_t *err)
{
    for (column_t *c = s->columns; c; c = c->next)
        if (vch_id_eq(&c->dataset, dataset)) {
            *ret = c;
            return VCH_OK;
        }
    column_t *c = vch_alloc(sizeof *c);
    if (!c) return no_memory(err);
    c->dataset = *dataset;
    vch_rc rc = column_load(s, c, err);
    if (rc != VCH_OK) {
        column_free(c);
        return rc;
    }
    c->next = s->columns;
    s->columns = c;
    *ret = c;
    return VCH_OK;
}

static vch_rc chunk_hash(vch_state_t *s, column_t *c, size_t number, vch_err_t *err)
{
    uint8_t value[64];
    vch_hash_t flat;
    chunk_t *ch = c->chunk[number];
    tree_update(ch);
    vch_chunk_flat(&flat, c->index + number * VCH_CHUNK);
    memcpy(value, flat.b, 32);
    memcpy(value + 32, ch->tree[1].b, 32);
    vch_state_key_t key = vch_key_id_u32('C', c->dataset.b, (uint32_t)number);
    return st_set(s, &key, vch_slice(value, sizeof value), err);
}

vch_rc st_columns_hash(vch_state_t *s, vch_err_t *err)
{
    for (column_t *c = s->columns; c; c = c->next)
        for (size_t i = 0; i < c->chunks; i++)
            if (c->chunk[i] && c->chunk[i]->any_stale) VCH_TRY(chunk_hash(s, c, i, err));
    return VCH_OK;
}

static vch_rc chunk_keep(vch_state_t *s, const column_t *c, size_t number, vch_err_t *err)
{
    uint8_t flat[2 * VCH_CHUNK];
    const uint16_t *index = c->index + number * VCH_CHUNK;
    for (size_t i = 0; i < VCH_CHUNK; i++) vch_put_u16(flat + 2 * i, index[i]);
    vch_state_key_t cells = blob_key(c, number), indices = vch_key_id_u32('F', c->dataset.b, (uint32_t)number);
    const chunk_t *ch = c->chunk[number];
    VCH_TRY(st_keep_slot(s, vch_key_slice(&cells), vch_slice(ch->cell, sizeof ch->cell), err));
    return st_keep_slot(s, vch_key_slice(&indices), vch_slice(flat, sizeof flat), err);
}

vch_rc st_columns_keep(vch_state_t *s, vch_err_t *err)
{
    for (column_t *c = s->columns; c; c = c->next)
        for (size_t i = 0; i < c->chunks; i++)
            if (c->chunk[i] && c->chunk[i]->unsaved) VCH_TRY(chunk_keep(s, c, i, err));
    return VCH_OK;
}

/* Once a save has begun the cells are among what is frozen; the indices stay for decisions. */
void st_columns_trim(vch_state_t *s)
{
    for (column_t *c = s->columns; c; c = c->next)
        for (size_t i = 0; i < c->chunks; i++) {
            vch_free(c->chunk[i]);
            c->chunk[i] = NULL;
        }
}

void st_columns_free(vch_state_t *s)
{
    for (column_t *c = s->columns, *next; c; c = next) {
        next = c->next;
        column_free(c);
    }
    s->columns = NULL;
}
