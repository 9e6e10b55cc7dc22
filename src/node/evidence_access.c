/* SPDX-License-Identifier: Apache-2.0 */
/* An access decision and all that it rested on, as of the block before it:
 * genesis, the signer's key, version, dataset, extents, the consent column,
 * the palette entries and terms in use, the live rows.  When the request did
 * not stand first in its block, or all this is too much for one bundle, the
 * decision stays attested by the log. */
#include "node/evidence.h"

typedef struct {
    ev_t *ev;
    ev_access_t *a;
    uint64_t commit;
    vch_dataset_value_t dataset;
    size_t bits_n, subjects_n;
    vch_state_t *state;
} inputs_t;

static vch_rc read_request(ev_t *ev, ev_access_t *a)
{
    vch_statement_t st;
    vch_kind_t kind;
    VCH_TRY(ev_object(ev, &a->request, VCH_KIND_ACCESS, &st, &a->index));
    VCH_TRY(vch_field_fixed(st.fields, VCH_F_ACCESS_VERSION, a->version.b, 32));
    VCH_TRY(vch_field_bytes(st.fields, VCH_F_ACCESS_PURPOSE, &a->purpose));
    VCH_TRY(vch_field_bytes(st.fields, VCH_F_ACCESS_PROCESSING, &a->processing));
    VCH_TRY(ev_leaf(ev, a->index + 1, &kind));
    const ev_leaf_t *after = ev_find_leaf(ev, a->index + 1);
    if (kind != VCH_KIND_OUTCOME || vch_outcome_get(&a->outcome, after->bytes) != VCH_OK)
        return vch_fail(ev->err, VCH_ERR_CORRUPT, "no outcome follows the access request at entry %llu",
                        (unsigned long long)a->index);
    return VCH_OK;
}

static vch_rc take_bitmap(ev_t *ev, vch_state_t *s, const vch_id_t *id, vch_slice_t *ret)
{
    vch_buf_t bits;
    vch_buf_init(&bits, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = vch_state_bitmap(s, id, &bits, ev->err);
    if (rc == VCH_OK) rc = ev_copy(ev, vch_buf_slice(&bits), ret);
    vch_buf_free(&bits);
    return rc == VCH_OK ? ev_set(ev, *ret) : rc;
}

/* ---- sizes, before anything is taken -------------------------------------------- */

static vch_rc state_value(inputs_t *in, const vch_state_key_t *key, vch_slice_t *ret)
{
    vch_buf_t value;
    vch_buf_init(&value, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = vch_state_get(in->state, vch_key_slice(key), &value, in->ev->err);
    if (rc == VCH_OK) rc = ev_copy(in->ev, vch_buf_slice(&value), ret);
    vch_buf_free(&value);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    return vch_fail(in->ev->err, VCH_ERR_CORRUPT, "the state before entry %llu lacks a \"%c\" value",
                    (unsigned long long)in->a->index, key->b[0]);
}

static vch_rc read_extents(inputs_t *in)
{
    ev_access_t *a = in->a;
    vch_slice_t bytes = {NULL, 0};
    a->extent = vch_arena_array(&in->ev->arena, a->value.extents, sizeof *a->extent);
    a->subjects = vch_arena_array(&in->ev->arena, a->value.extents, sizeof *a->subjects);
    if (!a->extent || !a->subjects) return ev_no_memory(in->ev);
    for (uint32_t i = 0; i < a->value.extents; i++) {
        vch_state_key_t key = vch_key_id_u32('e', a->value.dataset.b, i);
        VCH_TRY(state_value(in, &key, &bytes));
        VCH_TRY(vch_extent_get(&a->extent[i], bytes));
        in->bits_n += vch_set_bytes(a->extent[i].count);
        if (!a->extent[i].contiguous) in->subjects_n += 4 * (size_t)a->extent[i].count;
    }
    return VCH_OK;
}

static vch_rc read_sizes(inputs_t *in)
{
    vch_state_key_t key = vch_key_id('v', in->a->version.b);
    vch_slice_t bytes = {NULL, 0};
    VCH_TRY(ev_state(in->ev, in->commit, &in->state));
    VCH_TRY(state_value(in, &key, &bytes));
    VCH_TRY(vch_version_get(&in->a->value, bytes));
    key = vch_key_id('d', in->a->value.dataset.b);
    VCH_TRY(state_value(in, &key, &bytes));
    VCH_TRY(vch_dataset_get(&in->dataset, bytes));
    return read_extents(in);
}

static size_t chunks_of(const inputs_t *in) { return ((size_t)in->dataset.subjects + VCH_CHUNK - 1) / VCH_CHUNK; }

static bool fits(const inputs_t *in)
{
    size_t chunks = chunks_of(in), room = EV_BULK_MAX > in->ev->bulk ? EV_BULK_MAX - in->ev->bulk : 0;
    size_t need = chunks * (2 * VCH_CHUNK + 1024) + in->bits_n + in->subjects_n + in->a->value.extents * 1200u;
    return need <= room;
}

/* ---- the values --------------------------------------------------------------------- */

static vch_rc put_values(inputs_t *in)
{
    const ev_access_t *a = in->a;
    vch_slice_t value = {NULL, 0};
    vch_state_key_t key[] = {vch_key_plain('g'), vch_key_id('k', ev_find_leaf(in->ev, a->index)->signer.b),
                             vch_key_id('v', a->version.b), vch_key_id('d', a->value.dataset.b)};
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) VCH_TRY(ev_value(in->ev, in->commit, &key[i], &value));
    for (uint32_t i = 0; i < a->value.extents; i++) {
        vch_state_key_t extent = vch_key_id_u32('e', a->value.dataset.b, i);
        VCH_TRY(ev_value(in->ev, in->commit, &extent, &value));
    }
    vch_state_key_t fields = vch_key_id('D', a->value.dataset.b); /* its name, for people */
    return ev_value(in->ev, in->commit, &fields, &in->a->dataset);
}

static vch_rc put_subjects(inputs_t *in, uint32_t i)
{
    const vch_extent_value_t *e = &in->a->extent[i];
    vch_buf_t list;
    if (e->contiguous) return VCH_OK;
    vch_buf_init(&list, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = vch_state_subjects(in->state, &e->id, &list, in->ev->err);
    uint32_t *numbers = rc == VCH_OK ? vch_arena_copy(&in->ev->arena, list.p, list.n) : NULL;
    if (rc == VCH_OK && !numbers) rc = ev_no_memory(in->ev);
    for (size_t k = 0; rc == VCH_OK && numbers && k < list.n / 4; k++) vch_put_u32(list.p + 4 * k, numbers[k]);
    if (rc == VCH_OK) rc = ev_subjects(in->ev, &e->id, vch_buf_slice(&list));
    vch_buf_free(&list);
    in->a->subjects[i] = numbers;
    return rc;
}

/* ---- the consents --------------------------------------------------------------------- */

static vch_rc put_chunk(inputs_t *in, uint32_t number, vch_cell_t *cell, uint8_t *flat)
{
    vch_state_key_t key = vch_key_id_u32('C', in->a->value.dataset.b, number);
    ev_column_t c = {.dataset = in->a->value.dataset, .chunk = number, .flat = vch_slice(flat, 2 * VCH_CHUNK)};
    vch_slice_t value = {NULL, 0};
    bool present = false;
    uint16_t *column = in->a->column;
    if (!column || !cell || !flat) return ev_no_memory(in->ev);
    VCH_TRY(ev_item(in->ev, in->commit, &key, &value, &present));
    if (!present) return VCH_OK; /* nobody there ever said a word */
    if (value.n != 64) return vch_fail(in->ev->err, VCH_ERR_CORRUPT, "a chunk of consents in the state is malformed");
    VCH_TRY(vch_state_chunk(in->state, &c.dataset, number, cell, in->ev->err));
    for (size_t i = 0; i < VCH_CHUNK; i++) {
        vch_put_u16(flat + 2 * i, cell[i].index);
        column[number * (size_t)VCH_CHUNK + i] = cell[i].index;
    }
    memcpy(c.cells.b, value.p + 32, 32);
    return ev_column(in->ev, &c);
}

static vch_rc put_chunks(inputs_t *in)
{
    size_t chunks = chunks_of(in);
    in->a->column_n = in->dataset.subjects;
    in->a->column = vch_arena_array(&in->ev->arena, chunks * VCH_CHUNK, sizeof *in->a->column);
    if (!in->a->column) return ev_no_memory(in->ev);
    vch_cell_t *cell = vch_alloc_array(VCH_CHUNK, sizeof *cell);
    uint8_t *flat = vch_alloc(2 * VCH_CHUNK);
    vch_rc rc = cell && flat ? VCH_OK : ev_no_memory(in->ev);
    for (size_t i = 0; rc == VCH_OK && i < chunks; i++) rc = put_chunk(in, (uint32_t)i, cell, flat);
    vch_free(flat);
    vch_free(cell);
    return rc;
}

static vch_rc put_terms(inputs_t *in, vch_slice_t entry)
{
    vch_palette_value_t set;
    vch_slice_t value = {NULL, 0};
    VCH_TRY(vch_palette_get(&set, entry));
    for (size_t i = 0; i < set.items; i++) {
        vch_state_key_t key = vch_key_id('t', set.item[i].terms.b);
        VCH_TRY(ev_value(in->ev, in->commit, &key, &value));
    }
    return VCH_OK;
}

static vch_rc put_palette(inputs_t *in)
{
    ev_access_t *a = in->a;
    a->palette = vch_arena_array(&in->ev->arena, 65536, sizeof *a->palette);
    if (!a->palette) return ev_no_memory(in->ev);
    for (uint32_t s = 0; s < a->column_n; s++) {
        uint16_t index = a->column[s];
        if (index == 0 || a->palette[index].n) continue;
        vch_state_key_t key = vch_key_id_u16('c', a->value.dataset.b, index);
        VCH_TRY(ev_value(in->ev, in->commit, &key, &a->palette[index]));
        VCH_TRY(put_terms(in, a->palette[index]));
    }
    return VCH_OK;
}

static vch_rc put_inputs(inputs_t *in)
{
    vch_slice_t live;
    VCH_TRY(put_values(in));
    VCH_TRY(take_bitmap(in->ev, in->state, &in->a->version, &live));
    for (uint32_t i = 0; i < in->a->value.extents; i++) VCH_TRY(put_subjects(in, i));
    VCH_TRY(put_chunks(in));
    VCH_TRY(put_palette(in));
    in->a->has_inputs = true;
    return VCH_OK;
}

vch_rc ev_access(ev_t *ev, const vch_id_t *request, ev_access_t *ret)
{
    ev_access_t *a = ret;
    vch_kind_t kind;
    vch_state_t *after;
    *a = (ev_access_t){.request = *request};
    VCH_TRY(read_request(ev, a));
    inputs_t in = {.ev = ev, .a = a, .commit = a->index - 1};
    VCH_TRY(ev_leaf(ev, in.commit, &kind));
    if (kind == VCH_KIND_STATE_COMMIT) {
        VCH_TRY(read_sizes(&in));
        if (fits(&in)) VCH_TRY(put_inputs(&in));
    }
    VCH_TRY(ev_state(ev, ev_find_leaf(ev, a->index)->commit, &after));
    return take_bitmap(ev, after, request, &a->set);
}
