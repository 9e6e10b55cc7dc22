/* SPDX-License-Identifier: Apache-2.0 */
/* The log for others: tiles, bundles of entries, records; and the ledger as it
 * stands. */
#include "node/service.h"

#include "codec/cbor.h"
#include "entry/note.h"
#include "merkle/tree.h"
#include "node/custody.h"
#include "node/node_int.h"

#define TILE_WIDTH 256u
#define BUNDLE_BYTES_MAX ((size_t)TILE_WIDTH * (VCH_ENTRY_BYTES_MAX + 2))

/* ---- checkpoint --------------------------------------------------------------------- */

vch_rc vch_checkpoint_into(vch_ledger_t *l, vch_buf_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    uint64_t size;
    size_t at = ret->n;
    if (vch_ledger_path(l, path, "tlog/checkpoint") != VCH_OK)
        return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_rc rc = vch_read_all(l->port, ret, path, VCH_NOTE_BYTES_MAX, NULL);
    if (rc == VCH_OK && ret->n > at) return rc;
    ret->n = at;
    rc = vch_log_head(l->log, ret, &size, err); /* derived files may be missing */
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "nothing was signed yet");
    return nd_told(rc, err);
}

vch_rc vch_log_vkey_into(vch_ledger_t *l, vch_buf_t *ret, vch_err_t *err)
{
    uint8_t key[32];
    if (l->log_key)
        memcpy(key, vch_signer_public(l->log_key)->b + 2, 32);
    else
        VCH_TRY(nd_trust_key(l->port, l->dir, l->origin, key, err));
    vch_rc rc = vch_vkey_put(ret, l->origin, VCH_NOTE_ED25519, key);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the log's key can't be written: %s", vch_rc_text(rc));
}

/* ---- tiles ------------------------------------------------------------------------------ */

static vch_rc no_tile(vch_err_t *err)
{
    return vch_fail(err, VCH_ERR_NOT_FOUND, "there is no such tile under a signed checkpoint");
}

/* How many nodes of this level a tree of `size` entries has. */
static uint64_t nodes_of(uint64_t size, unsigned level) { return level < 8 ? size >> (8 * level) : 0; }

static vch_rc signed_size(vch_ledger_t *l, uint64_t *ret, vch_err_t *err)
{
    vch_buf_t note;
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    *ret = 0;
    vch_rc rc = vch_log_head(l->log, &note, ret, err);
    vch_buf_free(&note);
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

/* May a checkpoint of exactly this size have been signed?  Only where a block ends. */
static bool may_be_signed(vch_ledger_t *l, uint64_t size)
{
    vch_arena_t arena;
    vch_log_entry_t e;
    vch_kind_t kind;
    vch_arena_init(&arena, 16u << 20);
    bool may = vch_log_read(l->log, size - 1, &arena, &e, NULL) == VCH_OK &&
               vch_leaf_kind(&kind, e.record.entry) == VCH_OK && kind == VCH_KIND_STATE_COMMIT;
    vch_arena_free(&arena);
    return may;
}

static vch_rc put_bundled(void *ctx, const vch_log_entry_t *e)
{
    uint8_t length[2];
    vch_put_u16(length, (uint16_t)e->record.entry.n);
    VCH_TRY(vch_buf_put(ctx, length, sizeof length));
    return vch_buf_put(ctx, e->record.entry.p, e->record.entry.n);
}

static vch_rc make_bundle(vch_ledger_t *l, uint64_t n, unsigned width, uint64_t size, vch_buf_t *ret, vch_err_t *err)
{
    uint64_t from = n * TILE_WIDTH, to = from + width;
    if (width < TILE_WIDTH && to != size && !may_be_signed(l, to)) return no_tile(err);
    return vch_log_replay(l->log, from, to, put_bundled, ret, err);
}

vch_rc vch_tile_into(vch_ledger_t *l, int level, uint64_t n, unsigned width, vch_buf_t *ret, vch_err_t *err)
{
    char tile[80], path[VCH_PATH_MAX];
    uint64_t size;
    size_t at = ret->n;
    bool bundle = level < 0;
    if (n >= UINT64_MAX / TILE_WIDTH || vch_tile_path(tile, sizeof tile, level, n, width) != VCH_OK)
        return no_tile(err);
    VCH_TRY(signed_size(l, &size, err));
    if (n * TILE_WIDTH + width > nodes_of(size, bundle ? 0 : (unsigned)level)) return no_tile(err);
    if (vch_ledger_path(l, path, "tlog/%s", tile) != VCH_OK)
        return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_rc rc = vch_read_all(l->port, ret, path, BUNDLE_BYTES_MAX, err);
    if (rc == VCH_OK && !bundle && ret->n - at != (size_t)width * VCH_HASH_LEN)
        return vch_fail(err, VCH_ERR_CORRUPT, "tlog/%s is damaged", tile);
    if (rc != VCH_ERR_NOT_FOUND) return nd_told(rc, err);
    ret->n = at;
    return bundle ? make_bundle(l, n, width, size, ret, err) : no_tile(err);
}

/* ---- records ------------------------------------------------------------------------------ */

typedef struct {
    vch_buf_t *out;
    size_t begin, bytes;
} records_t;

static vch_rc put_record(void *ctx, const vch_log_entry_t *e)
{
    const records_t *r = ctx;
    const vch_record_t *record = &e->record;
    if (r->out->n > r->begin && r->out->n - r->begin >= r->bytes) return VCH_ERR_INTERRUPTED; /* enough */
    VCH_TRY(vch_cbor_array(r->out, 5));
    VCH_TRY(vch_cbor_uint(r->out, e->index));
    VCH_TRY(vch_cbor_uint(r->out, e->height));
    VCH_TRY(vch_cbor_uint(r->out, e->time.ms));
    VCH_TRY(vch_cbor_bytes(r->out, record->entry.p, record->entry.n));
    VCH_TRY(vch_cbor_array(r->out, record->count));
    for (uint32_t i = 0; i < record->count; i++) {
        if (record->erased && record->erased[i]) VCH_TRY(vch_cbor_array(r->out, 1));
        VCH_TRY(vch_cbor_bytes(r->out, record->statements[i].p, record->statements[i].n));
    }
    return VCH_OK;
}

vch_rc vch_records_into(vch_ledger_t *l, uint64_t from, uint64_t to, size_t bytes, vch_buf_t *ret, vch_err_t *err)
{
    records_t r = {.out = ret, .begin = ret->n, .bytes = bytes};
    vch_err_t why = {.rc = VCH_OK};
    if (l->remote) return nd_remote_records(l, from, to, ret, err);
    VCH_TRY(vch_ledger_read_begin(l, err)); /* takes in what other processes appended */
    vch_ledger_read_end(l);
    uint64_t size = vch_log_size(l->log);
    if (to > size) to = size;
    if (from > to)
        return vch_fail(err, VCH_ERR_USAGE, "there are no entries from %llu on; the ledger has %llu",
                        (unsigned long long)from, (unsigned long long)size);
    vch_rc rc = vch_log_replay(l->log, from, to, put_record, &r, &why);
    if (rc == VCH_OK || rc == VCH_ERR_INTERRUPTED) return VCH_OK;
    if (err) *err = why;
    return nd_told(rc, err);
}

/* ---- what a subject's device needs ------------------------------------------------------------ */

typedef struct {
    vch_ledger_t *l;
    const vch_id_t *dataset;
    uint32_t subject;
    vch_cell_t cell;
    bool known, given; /* the key stands in the state, or in the custodian's files */
    vch_keyid_t key;
    uint32_t first;
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t path_n;
} standing_t;

static vch_rc read_standing(standing_t *s, vch_err_t *err)
{
    vch_dataset_value_t d;
    vch_buf_t value;
    vch_state_key_t key = vch_key_id('d', s->dataset->b);
    vch_buf_init(&value, VCH_TX_BYTES_MAX);
    vch_rc rc = vch_state_get(s->l->state, vch_key_slice(&key), &value, err);
    if (rc == VCH_OK) rc = vch_dataset_get(&d, vch_buf_slice(&value));
    if (rc == VCH_OK && s->subject >= d.subjects)
        rc = vch_fail(err, VCH_ERR_NOT_FOUND, "the dataset has %u subjects: no %u", d.subjects, s->subject);
    if (rc == VCH_OK) rc = vch_state_cell(s->l->state, s->dataset, s->subject, &s->cell, err);
    if (rc == VCH_OK) {
        key = vch_key_id_u32('S', s->dataset->b, s->subject);
        vch_buf_clear(&value);
        rc = vch_state_get(s->l->state, vch_key_slice(&key), &value, err);
        s->known = rc == VCH_OK && value.n == 32;
        if (s->known) memcpy(s->key.b, value.p, 32);
        if (rc == VCH_ERR_NOT_FOUND) rc = VCH_OK;
    }
    vch_buf_free(&value);
    return rc;
}

/* ERR_NOT_FOUND: somebody else is the custodian. */
static vch_rc read_given(standing_t *s, vch_err_t *err)
{
    vch_key_tree_t *tree;
    vch_err_t why = {.rc = VCH_OK};
    vch_rc rc = vch_key_tree_open(&tree, s->l, s->dataset, &why);
    if (rc == VCH_OK) {
        rc = vch_key_tree_path(tree, s->subject, &s->key, &s->first, s->path, &s->path_n, &why);
        vch_key_tree_close(tree);
    }
    s->given = rc == VCH_OK;
    if (rc == VCH_OK || rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    if (err) *err = why;
    return nd_told(rc, err);
}

static vch_rc put_path(const standing_t *s, vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b, ",\"first\":%u,\"path\":[", s->first));
    for (size_t i = 0; i < s->path_n; i++) {
        if (i) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(nd_put_hex(b, s->path[i].b, 32));
    }
    return vch_buf_u8(b, ']');
}

static vch_rc put_standing(const standing_t *s, vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b, "{\"network\":"));
    VCH_TRY(nd_put_hex(b, s->l->network.b, 32));
    VCH_TRY(vch_buf_printf(b, ",\"dataset\":"));
    VCH_TRY(nd_put_hex(b, s->dataset->b, 32));
    VCH_TRY(vch_buf_printf(b, ",\"subject\":%u,\"serial\":%u,\"next serial\":%llu,\"known\":%s", s->subject,
                           s->cell.serial, (unsigned long long)s->cell.serial + 1, s->known ? "true" : "false"));
    if (s->known || s->given) {
        VCH_TRY(vch_buf_printf(b, ",\"key\":"));
        VCH_TRY(nd_put_hex(b, s->key.b, 32));
    }
    if (s->given) VCH_TRY(put_path(s, b));
    return vch_buf_u8(b, '}');
}

vch_rc vch_subject_into(vch_ledger_t *l, const vch_id_t *dataset, uint32_t subject, vch_buf_t *ret, vch_err_t *err)
{
    standing_t s = {.l = l, .dataset = dataset, .subject = subject};
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = read_standing(&s, err);
    vch_ledger_read_end(l);
    if (rc == VCH_OK && !s.known) rc = read_given(&s, err);
    if (rc == VCH_OK) rc = put_standing(&s, ret);
    return nd_told(rc, err);
}

/* ---- the ledger as it stands --------------------------------------------------------------------- */

static vch_rc time_of(vch_ledger_t *l, uint64_t index, vch_time_t *ret, vch_err_t *err)
{
    vch_arena_t arena;
    vch_log_entry_t e;
    vch_arena_init(&arena, 16u << 20);
    vch_rc rc = vch_log_read(l->log, index, &arena, &e, err);
    if (rc == VCH_OK) *ret = e.time;
    vch_arena_free(&arena);
    return rc;
}

static uint64_t count_waiting(vch_ledger_t *l)
{
    uint64_t n = 0;
    pthread_mutex_lock(&l->in->queue_mutex);
    for (const nd_request_t *r = l->in->first; r; r = r->next) n++;
    pthread_mutex_unlock(&l->in->queue_mutex);
    return n;
}

vch_rc vch_ledger_facts(vch_ledger_t *l, vch_ledger_facts_t *ret, vch_err_t *err)
{
    vch_state_info_t info;
    vch_ledger_facts_t f = {.waiting = count_waiting(l)};
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_state_info(l->state, &info);
    f.kept_bytes = l->min_free_bytes;
    vch_ledger_read_end(l);
    f.size = info.applied;
    f.height = info.height;
    f.time = info.time;
    VCH_TRY(signed_size(l, &f.signed_size, err));
    if (f.signed_size) VCH_TRY(time_of(l, f.signed_size - 1, &f.signed_time, err));
    if (f.signed_size < f.size) VCH_TRY(time_of(l, f.signed_size, &f.unsigned_time, err));
    vch_rc rc = l->port->disk->free_space(l->port, l->dir, &f.free_bytes);
    if (rc != VCH_OK) return vch_fail(err, rc, "the disk can't be asked for its free space");
    *ret = f;
    return VCH_OK;
}

vch_rc vch_ledger_now(vch_ledger_t *l, vch_time_t *ret, vch_err_t *err)
{
    vch_state_info_t info;
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_state_info(l->state, &info);
    vch_ledger_read_end(l);
    uint64_t wall = nd_now(l);
    ret->ms = wall > info.time.ms ? wall : info.time.ms;
    return VCH_OK;
}

static vch_rc put_info(vch_ledger_t *l, const vch_ledger_info_t *info, const char *version, vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b, "{\"origin\":"));
    VCH_TRY(vch_json_put_string(b, vch_str(info->origin)));
    VCH_TRY(vch_buf_printf(b, ",\"network\":"));
    VCH_TRY(nd_put_hex(b, info->network.b, 32));
    VCH_TRY(vch_buf_printf(b, ",\"version\":"));
    VCH_TRY(vch_json_put_string(b, vch_str(version)));
    VCH_TRY(vch_buf_printf(b, ",\"size\":%llu,\"height\":%llu,\"checkpoint size\":%llu,\"committed\":%llu,",
                           (unsigned long long)info->size, (unsigned long long)info->height,
                           (unsigned long long)info->checkpoint_size, (unsigned long long)info->committed));
    VCH_TRY(nd_put_time(b, "time", info->time));
    VCH_TRY(vch_buf_printf(b, ",\"log key\":\""));
    VCH_TRY(vch_log_vkey_into(l, b, NULL));
    return vch_buf_printf(b, "\"}");
}

vch_rc vch_info_into(vch_ledger_t *l, const char *version, vch_buf_t *ret, vch_err_t *err)
{
    vch_ledger_info_t info;
    VCH_TRY(vch_ledger_info(l, &info, err));
    return nd_told(put_info(l, &info, version, ret), err);
}

vch_rc vch_ledger_reload(vch_ledger_t *l, vch_err_t *err)
{
    vch_ledger_t *fresh;
    VCH_TRY(nd_ledger_new(&fresh, l->port, l->dir, l->flags, err));
    pthread_mutex_lock(&l->mutex);
    l->checkpoint_ms = fresh->checkpoint_ms;
    l->block_ms = fresh->block_ms;
    l->lock_wait_ms = fresh->lock_wait_ms;
    l->min_free_bytes = fresh->min_free_bytes;
    l->max_step_ms = fresh->max_step_ms;
    l->read = fresh->read;
    l->in->serve = fresh->in->serve;
    memcpy(l->in->witness_policy, fresh->in->witness_policy, sizeof l->in->witness_policy);
    l->in->witness_timeout_ms = fresh->in->witness_timeout_ms;
    l->in->vault = fresh->in->vault;
    pthread_mutex_unlock(&l->mutex);
    nd_ledger_free(fresh);
    return VCH_OK;
}
