/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a CSV file as the next version.
 *
 *   row of the file          its place                      its salts
 *   key unknown              appended to a new extent       fresh
 *   key known, cells same    stays where it is              –
 *   key known, cells differ  appended; old bit cleared      carried where a group is the same
 *   key no longer there      old bit cleared                –
 *
 * Memory holds 24 bytes a row and 24 a person (digests, never names), the
 * bitmap, and 8 bytes a row of the extent being written.
 *
 * Where the ledger has a vault, rows go there and data/ keeps only commitments. */
#include <stdio.h>

#include "codec/cbor.h"
#include "crypto/sha256.h"
#include "merkle/tree.h"
#include "node/custody_int.h"
#include "node/node_int.h"
#include "node/vault.h"

#define SEEN (UINT64_C(1) << 62) /* beside a place in the table of keys */
#define PIECE_SUBJECTS 200000u
#define LEAVES_PER_VERSION 2048u
#define NEW_EXTENTS_MAX 1024u
#define SALTS_AT_ONCE 2048u

typedef struct {
    vch_hash_t id, rows_root, subjects_hash;
    uint32_t number, count, first;
    bool contiguous;
    vch_buf_t vault; /* who holds it; empty: its rows are in data/ */
} new_extent_t;

typedef struct {
    bool open;
    cwriter_t rows, salts, commitments, keys;
    vch_sealing_t *sealing; /* instead of rows */
    vch_edge_t edge;
    vch_sha256_t subjects;
    new_extent_t e;
} extent_writer_t;

typedef struct {
    vch_ledger_t *l;
    const vch_signer_t *signer;
    vch_err_t *err;
    dataset_t ds;
    spec_t spec;
    vch_file_t *lock;
    vch_vault_t *vault; /* NULL: there is none */
    csv_file_t csv;
    vch_arena_t arena;
    mapping_t map;
    csv_row_t row;
    readers_t readers;
    table_t keys, persons;
    /* owners' keys by person */
    table_t owners;
    vch_keyid_t *owner_key;
    uint64_t *owner_line;
    size_t owner_keys, owner_cap;
    const char *owners_path;
    /* what is new */
    vch_buf_t kept; /* like ds.live: rows that stay */
    extent_writer_t w;
    new_extent_t *extent;
    uint32_t extents, extent_rows;
    cwriter_t subjects;
    vch_edge_t range;
    uint32_t subjects_new;
    uint8_t salt[SALTS_AT_ONCE * VCH_ROW_SALT_LEN];
    size_t salt_used;
    vch_buf_t scratch;
    vch_ingest_t out;
    vch_progress_fn progress;
    void *progress_ctx;
} ingest_t;

static vch_rc no_memory(ingest_t *in) { return vch_fail(in->err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- what was there before -------------------------------------------------------- */

/* One ingest of a dataset at a time, whatever the process. */
static vch_rc lock_dataset(ingest_t *in)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_ledger_path(in->l, path, "data/%s", in->ds.hex));
    VCH_TRY(vch_mkdirs(in->l->port, path, in->err));
    VCH_TRY(vch_ledger_path(in->l, path, "custody/%s/lock", in->ds.hex));
    VCH_TRY(vch_file_open(in->l->port, &in->lock, path, VCH_OPEN_CREATE, in->err));
    vch_rc rc = in->l->port->disk->lock(in->l->port, in->lock, VCH_LOCK_EXCLUSIVE, in->l->lock_wait_ms);
    return rc == VCH_OK ? rc : vch_fail(in->err, rc, "another process is adding to this dataset");
}

typedef struct {
    ingest_t *in;
    const char *folder;
    uint32_t extents, subjects; /* the ledger's */
} sweep_t;

/* No version refers to it: left over from an ingest that was cut off. */
static vch_rc sweep_one(void *ctx, const char *name)
{
    sweep_t *s = ctx;
    cf_kind_t kind;
    uint32_t number;
    char path[VCH_PATH_MAX];
    if (!cf_parse_name(name, &kind, &number) || strcmp(cf_folder(kind), s->folder) != 0) return VCH_OK;
    if (number < (kind == CF_SUBJECTS ? s->subjects : s->extents)) return VCH_OK;
    VCH_TRY(vch_ledger_path(s->in->l, path, "%s/%s/%s", s->folder, s->in->ds.hex, name));
    return s->in->l->port->disk->remove(s->in->l->port, path);
}

static vch_rc sweep(ingest_t *in, uint32_t extents, uint32_t subjects)
{
    static const char *const folder[] = {"data", "custody"};
    for (int i = 0; i < 2; i++) {
        sweep_t s = {in, folder[i], extents, subjects};
        char path[VCH_PATH_MAX];
        VCH_TRY(vch_ledger_path(in->l, path, "%s/%s", folder[i], in->ds.hex));
        vch_rc rc = in->l->port->disk->list(in->l->port, path, sweep_one, &s);
        if (rc != VCH_OK) return vch_fail(in->err, rc, "cannot clear %s: %s", path, vch_rc_text(rc));
    }
    return VCH_OK;
}

static vch_rc load_keys_of(ingest_t *in, uint32_t extent)
{
    vch_rows_t *r;
    VCH_TRY(readers_at(&in->readers, extent, &r, in->err));
    for (uint32_t row = 0; row < r->extent.count; row++) {
        vch_slice_t name;
        uint8_t digest[16];
        if (!dataset_live(&in->ds, extent, row)) continue;
        VCH_TRY(vch_rows_name(r, row, &name, in->err));
        if (name_erased(name)) continue;
        table_digest(digest, name);
        if (table_put(&in->keys, digest, place_put(extent, row)) != VCH_OK) return no_memory(in);
    }
    return VCH_OK;
}

static vch_rc load_before(ingest_t *in)
{
    uint8_t *kept;
    VCH_TRY(readers_open(&in->readers, in->l, &in->ds, in->err));
    for (uint32_t e = 0; e < in->ds.head.extents; e++) VCH_TRY(load_keys_of(in, e));
    VCH_TRY(persons_table(in->l, &in->ds, &in->persons, in->err));
    if (vch_buf_extend(&in->kept, in->ds.live.n, &kept) != VCH_OK) return no_memory(in);
    if (in->ds.live.n) memset(kept, 0, in->ds.live.n);
    return VCH_OK;
}

/* ---- owners' keys --------------------------------------------------------------------- */

static vch_rc owner_room(ingest_t *in)
{
    if (in->owner_keys < in->owner_cap) return VCH_OK;
    size_t cap = in->owner_cap ? 2 * in->owner_cap : 256;
    vch_keyid_t *key = vch_resize(in->owner_key, cap * sizeof *key);
    if (!key) return no_memory(in);
    in->owner_key = key;
    uint64_t *line = vch_resize(in->owner_line, cap * sizeof *line);
    if (!line) return no_memory(in);
    in->owner_line = line;
    in->owner_cap = cap;
    return VCH_OK;
}

static vch_rc take_owner(ingest_t *in, const csv_file_t *f)
{
    uint8_t multicodec[VCH_PUBKEY_MAX], digest[16];
    vch_pubkey_t key;
    unsigned long long line = f->csv.line;
    if (f->csv.count != 2)
        return vch_fail(in->err, VCH_ERR_FORMAT, "%s line %llu: a line is SUBJECT,KEY", f->path, line);
    vch_slice_t person = vch_csv_cell(&f->csv, 0), hex = vch_csv_cell(&f->csv, 1);
    size_t n = hex.n / 2;
    if (n > sizeof multicodec || !vch_unhex(multicodec, n, (const char *)hex.p, hex.n) ||
        vch_pubkey_get(&key, vch_slice(multicodec, n)) != VCH_OK)
        return vch_fail(in->err, VCH_ERR_KEY, "%s line %llu: not a multicodec public key in hex", f->path, line);
    table_digest(digest, person);
    if (table_get(&in->owners, digest))
        return vch_fail(in->err, VCH_ERR_CONFLICT, "%s line %llu: \"%.*s\" has a key already", f->path, line,
                        (int)person.n, (const char *)person.p);
    VCH_TRY(owner_room(in));
    in->owner_key[in->owner_keys] = vch_pubkey_id(&key);
    in->owner_line[in->owner_keys] = f->csv.line;
    return table_put(&in->owners, digest, in->owner_keys++) == VCH_OK ? VCH_OK : no_memory(in);
}

static vch_rc load_owners(ingest_t *in, const char *path)
{
    csv_file_t f;
    bool got;
    if (!path) return VCH_OK;
    VCH_TRY(csv_open(&f, in->l->port, path, in->err));
    vch_rc rc;
    while ((rc = csv_next(&f, 2, &got, in->err)) == VCH_OK && got)
        if ((rc = take_owner(in, &f)) != VCH_OK) break;
    csv_close(&f);
    in->owners_path = path;
    return rc;
}

/* A key for nobody is most likely a person's name mistyped. */
static vch_rc owners_are_known(ingest_t *in)
{
    for (size_t i = 0; i < in->owners.cap; i++) {
        const table_slot_t *s = &in->owners.slot[i];
        if (!s->value || table_get(&in->persons, s->digest)) continue;
        return vch_fail(in->err, VCH_ERR_NOT_FOUND, "%s line %llu: no row is about this person", in->owners_path,
                        (unsigned long long)in->owner_line[s->value - 1]);
    }
    return VCH_OK;
}

/* ---- new subjects ------------------------------------------------------------------------ */

static vch_rc keep_subject(ingest_t *in, uint32_t subject, const uint8_t digest[16])
{
    vch_keyid_t key = {{0}};
    vch_hash_t leaf;
    uint64_t *owner = table_get(&in->owners, digest);
    if (owner) key = in->owner_key[*owner - 1];
    if (!in->subjects.file) {
        vch_hash_t id;
        memcpy(id.b, in->ds.id.b, 32);
        VCH_TRY(cw_open(&in->subjects, in->l, in->ds.hex, CF_SUBJECTS, in->ds.head.subjects, &id, 0, in->err));
    }
    vch_buf_clear(&in->scratch);
    if (vch_buf_put(&in->scratch, key.b, 32) != VCH_OK ||
        vch_buf_put(&in->scratch, in->row.person.p, in->row.person.n) != VCH_OK)
        return no_memory(in);
    VCH_TRY(cw_put(&in->subjects, vch_buf_slice(&in->scratch), in->err));
    vch_subject_leaf(&leaf, subject, &key);
    vch_edge_add(&in->range, &leaf, 1);
    in->subjects_new++;
    return VCH_OK;
}

static vch_rc subject_of_row(ingest_t *in, uint32_t *ret)
{
    uint8_t digest[16];
    table_digest(digest, in->row.person);
    uint64_t *known = table_get(&in->persons, digest);
    if (known) {
        *ret = (uint32_t)(*known - 1);
        return VCH_OK;
    }
    uint64_t next = (uint64_t)in->ds.head.subjects + in->subjects_new;
    if (next >= UINT32_MAX) return vch_fail(in->err, VCH_ERR_LIMIT, "a dataset has at most 2^32 - 1 subjects");
    if (table_put(&in->persons, digest, next) != VCH_OK) return no_memory(in);
    VCH_TRY(keep_subject(in, (uint32_t)next, digest));
    *ret = (uint32_t)next;
    return VCH_OK;
}

/* ---- new extents --------------------------------------------------------------------------- */

static vch_rc extent_begin(ingest_t *in)
{
    extent_writer_t *w = &in->w;
    const char *hex = in->ds.hex;
    uint32_t groups = (uint32_t)in->ds.groups;
    if (in->extents == NEW_EXTENTS_MAX)
        return vch_fail(in->err, VCH_ERR_LIMIT, "one file brings at most %u extents of rows", NEW_EXTENTS_MAX);
    w->e = (new_extent_t){.number = in->ds.head.extents + in->extents, .contiguous = true};
    vch_buf_init(&w->e.vault, VCH_TX_BYTES_MAX);
    VCH_TRY(vch_random(in->l->port, w->e.id.b, 32, in->err));
    w->open = true;
    vch_edge_init(&w->edge);
    vch_sha256_init(&w->subjects);
    if (in->vault)
        VCH_TRY(vch_sealing_begin(&w->sealing, in->vault, &in->ds.id, &w->e.id, groups, in->err));
    else
        VCH_TRY(cw_open(&w->rows, in->l, hex, CF_ROWS, w->e.number, &w->e.id, groups, in->err));
    VCH_TRY(cw_open(&w->salts, in->l, hex, CF_SALTS, w->e.number, &w->e.id, groups * VCH_ROW_SALT_LEN, in->err));
    VCH_TRY(cw_open(&w->commitments, in->l, hex, CF_COMMITMENTS, w->e.number, &w->e.id, groups * 32, in->err));
    return cw_open(&w->keys, in->l, hex, CF_KEYS, w->e.number, &w->e.id, 0, in->err);
}

/* The rows are durable: in data/, or sealed, strewn and their keys dealt. */
static vch_rc finish_rows(ingest_t *in)
{
    extent_writer_t *w = &in->w;
    vch_sealing_t *sealing = w->sealing;
    if (!sealing) return cw_finish(&w->rows, in->err);
    w->sealing = NULL;
    return vch_sealing_end(sealing, in->signer, &w->e.vault, in->err);
}

static vch_rc extent_end(ingest_t *in)
{
    extent_writer_t *w = &in->w;
    if (!w->open) return VCH_OK;
    VCH_TRY(finish_rows(in));
    VCH_TRY(cw_finish(&w->salts, in->err));
    VCH_TRY(cw_finish(&w->commitments, in->err));
    VCH_TRY(cw_finish(&w->keys, in->err));
    vch_edge_root(&w->edge, &w->e.rows_root);
    vch_sha256_end(&w->subjects, &w->e.subjects_hash);
    in->extent[in->extents++] = w->e;
    w->open = false;
    return VCH_OK;
}

static vch_rc fresh_salt(ingest_t *in, uint8_t ret[VCH_ROW_SALT_LEN])
{
    if (in->salt_used == SALTS_AT_ONCE) {
        VCH_TRY(vch_random(in->l->port, in->salt, sizeof in->salt, in->err));
        in->salt_used = 0;
    }
    memcpy(ret, in->salt + VCH_ROW_SALT_LEN * in->salt_used++, VCH_ROW_SALT_LEN);
    return VCH_OK;
}

static vch_rc put_plain(ingest_t *in, const uint8_t *salts, const vch_hash_t *commitments)
{
    uint8_t length[4];
    if (in->w.sealing) return vch_sealing_put(in->w.sealing, salts, in->row.canonical, commitments, in->err);
    vch_buf_clear(&in->scratch);
    for (size_t g = 0; g < in->ds.groups; g++) {
        vch_slice_t c = in->row.canonical[g];
        vch_put_u32(length, (uint32_t)c.n);
        if (vch_buf_put(&in->scratch, length, 4) != VCH_OK || vch_buf_put(&in->scratch, c.p, c.n) != VCH_OK)
            return vch_fail(in->err, VCH_ERR_LIMIT, "%s line %llu: the row is too large", in->csv.path,
                            (unsigned long long)in->csv.csv.line);
    }
    return cw_put(&in->w.rows, vch_buf_slice(&in->scratch), in->err);
}

static vch_rc put_key(ingest_t *in, uint32_t subject)
{
    uint8_t number[4];
    vch_put_u32(number, subject);
    vch_buf_clear(&in->scratch);
    if (vch_buf_put(&in->scratch, number, 4) != VCH_OK ||
        vch_buf_put(&in->scratch, in->row.key.p, in->row.key.n) != VCH_OK)
        return no_memory(in);
    vch_sha256_add(&in->w.subjects, number, 4);
    new_extent_t *e = &in->w.e;
    if (e->count == 0) e->first = subject;
    e->contiguous = e->contiguous && subject == e->first + e->count;
    return cw_put(&in->w.keys, vch_buf_slice(&in->scratch), in->err);
}

/* The row's place-to-be is in->w.e; salts and commitments are complete. */
static vch_rc extent_put(ingest_t *in, uint32_t subject, const uint8_t *salts, const vch_hash_t *commitments)
{
    size_t groups = in->ds.groups;
    vch_hash_t leaf;
    vch_slice_t data = vch_slice(commitments, groups * 32);
    VCH_TRY(put_plain(in, salts, commitments));
    VCH_TRY(put_key(in, subject));
    VCH_TRY(cw_put(&in->w.salts, vch_slice(salts, groups * VCH_ROW_SALT_LEN), in->err));
    VCH_TRY(cw_put(&in->w.commitments, data, in->err));
    vch_tree_leaf(&leaf, data);
    vch_edge_add(&in->w.edge, &leaf, 1);
    if (++in->w.e.count == in->extent_rows) return extent_end(in);
    return VCH_OK;
}

/* ---- one row ---------------------------------------------------------------------------------- */

typedef struct {
    uint8_t salts[VCH_GROUPS_MAX * VCH_ROW_SALT_LEN];
    vch_hash_t commitment[VCH_GROUPS_MAX];
    bool same;
} compared_t;

/* Under its old salts the row either gives its old commitments or has changed. */
static vch_rc compare(ingest_t *in, uint64_t place, uint32_t subject, compared_t *ret)
{
    vch_rows_t *r;
    vch_slice_t salts, commitments;
    uint32_t old_subject;
    VCH_TRY(readers_at(&in->readers, place_extent(place), &r, in->err));
    VCH_TRY(rows_secrets(r, place_row(place), &salts, &commitments, in->err));
    memcpy(ret->salts, salts.p, salts.n);
    ret->same = true;
    for (size_t g = 0; g < in->ds.groups; g++) {
        uint8_t *salt = ret->salts + g * VCH_ROW_SALT_LEN;
        vch_row_commitment(&ret->commitment[g], salt, in->row.canonical[g]);
        if (memcmp(ret->commitment[g].b, commitments.p + 32 * g, 32) == 0) continue;
        ret->same = false;
        VCH_TRY(fresh_salt(in, salt));
        vch_row_commitment(&ret->commitment[g], salt, in->row.canonical[g]);
    }
    VCH_TRY(vch_rows_subject(r, place_row(place), &old_subject, in->err));
    ret->same = ret->same && old_subject == subject;
    return VCH_OK;
}

static vch_rc commit_fresh(ingest_t *in, compared_t *ret)
{
    for (size_t g = 0; g < in->ds.groups; g++) {
        VCH_TRY(fresh_salt(in, ret->salts + g * VCH_ROW_SALT_LEN));
        vch_row_commitment(&ret->commitment[g], ret->salts + g * VCH_ROW_SALT_LEN, in->row.canonical[g]);
    }
    return VCH_OK;
}

static vch_rc append_row(ingest_t *in, const uint8_t digest[16], uint32_t subject, const compared_t *c)
{
    if (!in->w.open) VCH_TRY(extent_begin(in));
    uint64_t place = place_put(in->w.e.number, in->w.e.count);
    if (table_put(&in->keys, digest, place | SEEN) != VCH_OK) return no_memory(in);
    return extent_put(in, subject, c->salts, c->commitment);
}

static vch_rc take_row(ingest_t *in)
{
    uint8_t digest[16];
    uint32_t subject = 0;
    compared_t c;
    table_digest(digest, in->row.key);
    uint64_t *known = table_get(&in->keys, digest);
    if (known && (*known - 1) & SEEN)
        return vch_fail(in->err, VCH_ERR_CONFLICT, "%s line %llu: the key \"%.*s\" is there already", in->csv.path,
                        (unsigned long long)in->csv.csv.line, (int)vch_min(in->row.key.n, 100),
                        (const char *)in->row.key.p);
    VCH_TRY(subject_of_row(in, &subject));
    if (!known) {
        in->out.added++;
        VCH_TRY(commit_fresh(in, &c));
        return append_row(in, digest, subject, &c);
    }
    uint64_t place = *known - 1;
    VCH_TRY(compare(in, place, subject, &c));
    if (!c.same) {
        in->out.changed++;
        return append_row(in, digest, subject, &c);
    }
    *known = (place | SEEN) + 1;
    vch_bit_set(in->kept.p, in->ds.bits_at[place_extent(place)] + place_row(place));
    return VCH_OK;
}

static void tell(ingest_t *in)
{
    if (in->progress) in->progress(in->progress_ctx, in->out.rows, in->csv.csv.offset, in->csv.size);
}

static vch_rc take_rows(ingest_t *in)
{
    bool got;
    VCH_TRY(csv_next(&in->csv, 1, &got, in->err));
    if (!got)
        return vch_fail(in->err, VCH_ERR_FORMAT, "%s is empty: its first line must name the columns", in->csv.path);
    VCH_TRY(mapping_make(&in->map, &in->ds, &in->spec, &in->csv, &in->arena, in->err));
    for (;;) {
        VCH_TRY(csv_next(&in->csv, in->map.cells, &got, in->err));
        if (!got) break;
        VCH_TRY(csv_row_read(&in->row, &in->map, &in->csv, ++in->out.rows, in->err));
        VCH_TRY(take_row(in));
        if (in->out.rows % 8192 == 0) tell(in);
    }
    tell(in);
    if (in->out.rows == 0) return vch_fail(in->err, VCH_ERR_FORMAT, "%s has no rows", in->csv.path);
    return extent_end(in);
}

/* ---- onto the ledger ------------------------------------------------------------------------- */

static vch_rc sync_folders(ingest_t *in)
{
    static const char *const folder[] = {"data", "custody"};
    for (int i = 0; i < 2; i++) {
        char path[VCH_PATH_MAX];
        VCH_TRY(vch_ledger_path(in->l, path, "%s/%s", folder[i], in->ds.hex));
        vch_rc rc = in->l->port->disk->sync_dir(in->l->port, path);
        if (rc != VCH_OK) return vch_fail(in->err, rc, "cannot sync %s: %s", path, vch_rc_text(rc));
    }
    return VCH_OK;
}

static vch_rc write_one(ingest_t *in, vch_kind_t kind, const vch_buf_t *fields, vch_receipt_t *ret)
{
    vch_slice_t statement = vch_buf_slice(fields);
    return vch_ledger_write(in->l, in->signer, kind, &statement, 1, ret, in->err);
}

static vch_rc put_piece(ingest_t *in, const new_extent_t *e, uint32_t offset, const uint8_t *list, size_t n)
{
    vch_receipt_t receipt;
    vch_buf_t b;
    vch_buf_init(&b, VCH_TX_BYTES_MAX);
    vch_rc rc = vch_cbor_map(&b, 3);
    if (rc == VCH_OK) rc = vch_cbor_uint(&b, VCH_F_PIECE_EXTENT);
    if (rc == VCH_OK) rc = vch_cbor_bytes(&b, e->id.b, 32);
    if (rc == VCH_OK) rc = vch_cbor_uint(&b, VCH_F_PIECE_OFFSET);
    if (rc == VCH_OK) rc = vch_cbor_uint(&b, offset);
    if (rc == VCH_OK) rc = vch_cbor_uint(&b, VCH_F_PIECE_LIST);
    if (rc == VCH_OK) rc = vch_cbor_bytes(&b, list, n);
    if (rc == VCH_OK)
        rc = write_one(in, VCH_KIND_SUBJECTS, &b, &receipt);
    else
        vch_fail(in->err, rc, "a list of subjects can't be written: %s", vch_rc_text(rc));
    vch_buf_free(&b);
    return rc;
}

/* The row -> subject column, read back from the file just written. */
static vch_rc log_subjects_of(ingest_t *in, const new_extent_t *e, cfile_t *keys, uint8_t *list)
{
    for (uint32_t row = 0; row < e->count;) {
        uint32_t from = row;
        for (; row < e->count && row - from < PIECE_SUBJECTS; row++) {
            vch_slice_t record;
            VCH_TRY(cf_get(keys, row, &record, NULL, NULL, in->err));
            memcpy(list + 4 * (size_t)(row - from), record.p, 4);
        }
        VCH_TRY(put_piece(in, e, from, list, 4 * (size_t)(row - from)));
    }
    return VCH_OK;
}

static vch_rc log_subjects(ingest_t *in, const new_extent_t *e)
{
    cfile_t keys;
    uint8_t *list;
    if (e->contiguous) return VCH_OK;
    VCH_TRY(cf_open(&keys, in->l, in->ds.hex, CF_KEYS, e->number, NULL, in->err));
    list = vch_alloc(4u * PIECE_SUBJECTS);
    vch_rc rc = list ? log_subjects_of(in, e, &keys, list) : no_memory(in);
    vch_free(list);
    cf_close(&keys);
    return rc;
}

static vch_rc put_extent(vch_buf_t *b, const new_extent_t *e)
{
    VCH_TRY(vch_cbor_map(b, e->vault.n ? 5 : 4));
    VCH_TRY(vch_cbor_uint(b, VCH_F_EXTENT_ID));
    VCH_TRY(vch_cbor_bytes(b, e->id.b, 32));
    VCH_TRY(vch_cbor_uint(b, VCH_F_EXTENT_COUNT));
    VCH_TRY(vch_cbor_uint(b, e->count));
    VCH_TRY(vch_cbor_uint(b, e->contiguous ? VCH_F_EXTENT_FIRST : VCH_F_EXTENT_SUBJECTS_HASH));
    VCH_TRY(e->contiguous ? vch_cbor_uint(b, e->first) : vch_cbor_bytes(b, e->subjects_hash.b, 32));
    VCH_TRY(vch_cbor_uint(b, VCH_F_EXTENT_ROWS_ROOT));
    VCH_TRY(vch_cbor_bytes(b, e->rows_root.b, 32));
    if (e->vault.n == 0) return VCH_OK;
    VCH_TRY(vch_cbor_uint(b, VCH_F_EXTENT_VAULT));
    return vch_cbor_raw(b, vch_buf_slice(&e->vault));
}

typedef struct {
    uint32_t extent, leaf;
} leaf_place_t;

static vch_rc put_leaf(const ingest_t *in, vch_buf_t *b, leaf_place_t at)
{
    size_t byte = in->ds.bits_at[at.extent] / 8 + (size_t)at.leaf * VCH_BITMAP_LEAF;
    VCH_TRY(vch_cbor_map(b, 3));
    VCH_TRY(vch_cbor_uint(b, VCH_F_BITLEAF_EXTENT));
    VCH_TRY(vch_cbor_uint(b, at.extent));
    VCH_TRY(vch_cbor_uint(b, VCH_F_BITLEAF_LEAF));
    VCH_TRY(vch_cbor_uint(b, at.leaf));
    VCH_TRY(vch_cbor_uint(b, VCH_F_BITLEAF_BITS));
    return vch_cbor_bytes(b, in->kept.p + byte, VCH_BITMAP_LEAF);
}

static vch_rc put_range(const ingest_t *in, vch_buf_t *b)
{
    vch_hash_t root;
    vch_edge_root(&in->range, &root);
    VCH_TRY(vch_cbor_uint(b, VCH_F_VERSION_SUBJECTS));
    VCH_TRY(vch_cbor_map(b, 3));
    VCH_TRY(vch_cbor_uint(b, VCH_F_SUBJECTS_FIRST));
    VCH_TRY(vch_cbor_uint(b, in->ds.head.subjects));
    VCH_TRY(vch_cbor_uint(b, VCH_F_SUBJECTS_COUNT));
    VCH_TRY(vch_cbor_uint(b, in->subjects_new));
    VCH_TRY(vch_cbor_uint(b, VCH_F_SUBJECTS_ROOT));
    return vch_cbor_bytes(b, root.b, 32);
}

/* Extents and subjects come with the last part. */
static vch_rc put_version(const ingest_t *in, vch_buf_t *b, const leaf_place_t *leaf, size_t leaves, bool last)
{
    bool range = last && in->subjects_new;
    size_t extents = last ? in->extents : 0;
    VCH_TRY(vch_cbor_map(b, 3u + in->ds.has_version + range));
    VCH_TRY(vch_cbor_uint(b, VCH_F_VERSION_DATASET));
    VCH_TRY(vch_cbor_bytes(b, in->ds.id.b, 32));
    if (in->ds.has_version) {
        VCH_TRY(vch_cbor_uint(b, VCH_F_VERSION_PREVIOUS));
        VCH_TRY(vch_cbor_bytes(b, in->ds.version_id.b, 32));
    }
    VCH_TRY(vch_cbor_uint(b, VCH_F_VERSION_EXTENTS));
    VCH_TRY(vch_cbor_array(b, extents));
    for (size_t i = 0; i < extents; i++) VCH_TRY(put_extent(b, &in->extent[i]));
    VCH_TRY(vch_cbor_uint(b, VCH_F_VERSION_BITMAP));
    VCH_TRY(vch_cbor_array(b, leaves));
    for (size_t i = 0; i < leaves; i++) VCH_TRY(put_leaf(in, b, leaf[i]));
    return range ? put_range(in, b) : VCH_OK;
}

/* Bitmap leaves that are no longer what they were, and how many rows went. */
static size_t changed_leaves(const ingest_t *in, leaf_place_t *ret, uint64_t *ret_cleared)
{
    size_t n = 0;
    *ret_cleared = 0;
    for (uint32_t e = 0; e < in->ds.head.extents; e++) {
        size_t begin = in->ds.bits_at[e] / 8, end = in->ds.bits_at[e + 1] / 8;
        for (size_t at = begin; at < end && at < in->kept.n; at += VCH_BITMAP_LEAF) {
            const uint8_t *is = in->kept.p + at, *was = in->ds.live.p + at;
            if (memcmp(is, was, VCH_BITMAP_LEAF) == 0) continue;
            for (size_t i = 0; i < VCH_BITMAP_LEAF; i++)
                *ret_cleared += (uint64_t)__builtin_popcount(was[i] & ~is[i] & 0xff);
            ret[n++] = (leaf_place_t){e, (uint32_t)((at - begin) / VCH_BITMAP_LEAF)};
        }
    }
    return n;
}

static vch_rc log_part(ingest_t *in, const leaf_place_t *leaf, size_t leaves, bool last)
{
    vch_receipt_t receipt;
    vch_buf_t fields;
    vch_buf_init(&fields, VCH_TX_BYTES_MAX);
    vch_rc rc = put_version(in, &fields, leaf, leaves, last);
    if (rc != VCH_OK)
        vch_fail(in->err, rc, "the version can't be written: %s", vch_rc_text(rc));
    else
        rc = write_one(in, VCH_KIND_VERSION, &fields, &receipt);
    vch_buf_free(&fields);
    VCH_TRY(rc);
    in->ds.has_version = true;
    in->ds.version_id = receipt.object;
    in->out.id = receipt.object;
    in->out.version = ++in->ds.head.versions;
    return VCH_OK;
}

/* One version holds 2,048 changed leaves (more than 4 million rows); changes
 * strewn wider come as several versions, of which the last is the file. */
static vch_rc log_version(ingest_t *in, const leaf_place_t *leaf, size_t leaves)
{
    for (; leaves > LEAVES_PER_VERSION; leaf += LEAVES_PER_VERSION, leaves -= LEAVES_PER_VERSION)
        VCH_TRY(log_part(in, leaf, LEAVES_PER_VERSION, false));
    return log_part(in, leaf, leaves, true);
}

static vch_rc commit(ingest_t *in)
{
    uint64_t cleared;
    leaf_place_t *leaf = vch_alloc_array(in->kept.n / VCH_BITMAP_LEAF + 1, sizeof *leaf);
    if (!leaf) return no_memory(in);
    size_t leaves = changed_leaves(in, leaf, &cleared);
    in->out.removed = cleared - in->out.changed;
    in->out.subjects_new = in->subjects_new;
    vch_rc rc = VCH_OK;
    if (leaves == 0 && in->extents == 0) {
        rc = vch_fail(in->err, VCH_ERR_CONFLICT, "%s holds exactly the rows of version %u: nothing to add",
                      in->csv.path, in->ds.version.number);
    }
    for (uint32_t i = 0; rc == VCH_OK && i < in->extents; i++) rc = log_subjects(in, &in->extent[i]);
    if (rc == VCH_OK) rc = log_version(in, leaf, leaves);
    vch_free(leaf);
    return rc;
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static vch_rc is_custodian(ingest_t *in)
{
    vch_id_t party;
    VCH_TRY(vch_ledger_read_begin(in->l, in->err));
    vch_rc rc = vch_party_of(in->l, in->signer, &party, in->err);
    vch_ledger_read_end(in->l);
    VCH_TRY(rc);
    if (vch_id_eq(&party, &in->ds.head.custodian)) return VCH_OK;
    return vch_fail(in->err, VCH_ERR_ROLE, "only the dataset's custodian may add a version");
}

/* The big tables go before the version is logged: the state needs room too. */
static void forget_tables(ingest_t *in)
{
    table_free(&in->keys);
    table_free(&in->persons);
    table_free(&in->owners);
}

static vch_rc reopen_locked(ingest_t *in)
{
    vch_id_t id = in->ds.id;
    dataset_close(&in->ds);
    return dataset_open_id(&in->ds, in->l, &id, in->err);
}

/* Held until the version is logged, so that nobody takes its extents for left-overs. */
static vch_rc open_vault(ingest_t *in)
{
    vch_err_t why = {0};
    vch_rc rc = vch_vault_open(&in->vault, in->l, &why);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    if (rc == VCH_OK) {
        in->vault->as = in->signer;
        return vch_vault_lock(in->vault, in->err);
    }
    if (in->err) *in->err = why;
    return rc;
}

static vch_rc ingest(ingest_t *in, const char *dataset, const char *csv_path, const char *owners_csv)
{
    VCH_TRY(dataset_open(&in->ds, in->l, dataset, false, in->err));
    VCH_TRY(is_custodian(in));
    VCH_TRY(spec_open(&in->spec, in->l, &in->ds, in->err));
    VCH_TRY(lock_dataset(in));
    VCH_TRY(reopen_locked(in)); /* another process may have added a version while we waited */
    VCH_TRY(sweep(in, in->ds.head.extents, in->ds.head.subjects));
    VCH_TRY(open_vault(in));
    in->extent = vch_alloc_array(NEW_EXTENTS_MAX, sizeof *in->extent);
    if (!in->extent) return no_memory(in);
    VCH_TRY(csv_open(&in->csv, in->l->port, csv_path, in->err));
    VCH_TRY(load_owners(in, owners_csv));
    VCH_TRY(load_before(in));
    VCH_TRY(take_rows(in));
    VCH_TRY(owners_are_known(in));
    forget_tables(in);
    if (in->subjects.file) VCH_TRY(cw_finish(&in->subjects, in->err));
    VCH_TRY(sync_folders(in));
    return commit(in);
}

static void ingest_free(ingest_t *in)
{
    vch_sealing_abort(in->w.sealing);
    cw_abort(&in->w.rows);
    cw_abort(&in->w.salts);
    cw_abort(&in->w.commitments);
    cw_abort(&in->w.keys);
    cw_abort(&in->subjects);
    readers_close(&in->readers);
    forget_tables(in);
    if (in->w.open) vch_buf_free(&in->w.e.vault);
    for (uint32_t i = 0; i < in->extents; i++) vch_buf_free(&in->extent[i].vault);
    vch_vault_close(in->vault);
    vch_free(in->owner_key);
    vch_free(in->owner_line);
    vch_free(in->extent);
    vch_buf_free(&in->kept);
    vch_buf_free(&in->scratch);
    csv_row_free(&in->row);
    csv_close(&in->csv);
    vch_wipe(in->salt, sizeof in->salt);
    vch_file_close(in->l->port, in->lock);
    spec_close(&in->spec);
    dataset_close(&in->ds);
    vch_arena_free(&in->arena);
}

/* A refused file leaves nothing behind: what was written, no version names. */
static void undo(ingest_t *in)
{
    dataset_t now;
    if (!in->lock || dataset_open_id(&now, in->l, &in->ds.id, NULL) != VCH_OK) return;
    vch_err_t *err = in->err;
    in->err = NULL;
    (void)sweep(in, now.head.extents, now.head.subjects); /* best effort: the next ingest does it again */
    vch_rc ignored = in->vault ? vch_vault_sweep(in->vault, NULL) : VCH_OK;
    (void)ignored;
    in->err = err;
    dataset_close(&now);
}

vch_rc vch_dataset_add_split(vch_ledger_t *l, const vch_signer_t *signer, const char *dataset, const char *csv_path,
                             const char *owners_csv, uint32_t extent_rows, vch_progress_fn progress, void *ctx,
                             vch_ingest_t *ret, vch_err_t *err)
{
    VCH_TRY(vch_here(l, err));
    if (extent_rows == 0 || extent_rows > VCH_EXTENT_ROWS_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "an extent has 1 to %u rows", VCH_EXTENT_ROWS_MAX);
    ingest_t *in = vch_alloc(sizeof *in);
    if (!in) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    in->l = l;
    in->signer = signer;
    in->err = err;
    in->extent_rows = extent_rows;
    in->progress = progress;
    in->progress_ctx = ctx;
    in->salt_used = SALTS_AT_ONCE;
    vch_arena_init(&in->arena, 64u << 20);
    vch_buf_init(&in->kept, 1u << 30);
    vch_buf_init(&in->scratch, CF_RECORD_MAX);
    csv_row_init(&in->row);
    vch_edge_init(&in->range);
    vch_rc rc = ingest(in, dataset, csv_path, owners_csv);
    if (rc == VCH_OK)
        *ret = in->out;
    else
        undo(in);
    ingest_free(in);
    vch_free(in);
    return nd_told(rc, err);
}

vch_rc vch_dataset_add(vch_ledger_t *l, const vch_signer_t *signer, const char *dataset, const char *csv_path,
                       const char *owners_csv, vch_progress_fn progress, void *ctx, vch_ingest_t *ret, vch_err_t *err)
{
    return vch_dataset_add_split(l, signer, dataset, csv_path, owners_csv, VCH_EXTENT_ROWS_MAX, progress, ctx, ret,
                                 err);
}
