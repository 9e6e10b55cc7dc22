/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors: another node's log into a directory of our own.
 *
 *   its checkpoint, judged by our trust.policy → what we have is its beginning
 *   → records, a few MiB at a time: statements against each entry's root, entries
 *     against the checkpoint by a consistency proof → append → … → publish
 *   → replay, which checks every state root
 *
 * Nothing is written that the checkpoint doesn't vouch for; cut off anywhere, it
 * goes on where it stopped. */
#include "node/mirror.h"

#include <stdio.h>

#include "codec/cbor.h"
#include "codec/json.h"
#include "codec/text.h"
#include "crypto/sha256.h"
#include "entry/note.h"
#include "merkle/tree.h"
#include "node/node_int.h"
#include "node/service.h"

#define PIECE_BYTES (4u << 20)
#define PIECE_MAX (PIECE_BYTES + 2u * VCH_TX_BYTES_MAX)
#define ARENA_MAX (64u << 20)

typedef struct {
    vch_ledger_t *node;
    vch_port_t *port;
    const char *dir;
    vch_progress_fn progress;
    void *ctx;
    vch_file_t *lock;
    vch_log_t *log;
    vch_hash_t network;
    vch_text_t note;
    uint64_t size; /* of the node's checkpoint */
    vch_hash_t root;
    size_t witnesses; /* known ones that cosigned it */
    vch_edge_t edge;  /* of what is here */
    vch_buf_t piece;
    vch_arena_t arena;
    vch_log_entry_t *entry; /* of the piece, in the arena */
    size_t entries;
    vch_err_t *err;
} mirror_t;

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

static vch_rc lies(const mirror_t *m, uint64_t index, const char *how)
{
    (void)vch_fail(m->err, VCH_ERR_CORRUPT, "the node's entry %llu %s", (unsigned long long)index, how);
    return vch_hint(m->err, VCH_ERR_CORRUPT,
                    "nothing of it was kept; try another mirror, and tell the node's operator");
}

/* ---- the node's checkpoint ------------------------------------------------------------ */

static vch_rc judge_note(mirror_t *m, const vch_trust_t *trust, vch_note_t *note)
{
    vch_checkpoint_t c;
    vch_trust_result_t result;
    vch_rc rc = vch_note_get(note, vch_slice(m->note.p, m->note.n));
    if (rc == VCH_OK) rc = vch_checkpoint_get(&c, note->text);
    if (rc == VCH_OK) rc = vch_trust_judge(trust, note, &c, &result);
    if (rc != VCH_OK) return vch_fail(m->err, rc, "the node's checkpoint can't be read: %s", vch_rc_text(rc));
    if (!result.log_known || result.forged)
        return vch_hint(
            m->err, vch_fail(m->err, VCH_ERR_SIGNATURE, "the node's checkpoint is not signed by a log of trust.policy"),
            "trust.policy in the directory says whose log this is");
    m->size = c.size;
    m->root = c.root;
    m->witnesses = result.witnesses;
    return VCH_OK;
}

static vch_rc read_trust(const mirror_t *m, vch_buf_t *text, vch_trust_t *ret)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_path(path, "%s/trust.policy", m->dir));
    VCH_TRY(vch_read_all(m->port, text, path, ND_SMALL_FILE_MAX, m->err));
    vch_rc rc = vch_trust_get(ret, vch_buf_slice(text), m->err);
    return rc == VCH_OK ? rc : vch_context(m->err, rc, "trust.policy");
}

/* A directory that is only read signs nothing; its last checkpoint will do. */
static vch_rc fetch_note(mirror_t *m)
{
    vch_buf_t note;
    if (!(m->node->flags & VCH_LEDGER_READ_ONLY)) return vch_ledger_checkpoint(m->node, &m->note, m->err);
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_checkpoint_into(m->node, &note, m->err);
    if (rc == VCH_OK) rc = vch_text_take(&m->note, &note);
    vch_buf_free(&note);
    return rc;
}

static vch_rc take_note(mirror_t *m)
{
    vch_buf_t text;
    vch_trust_t *trust = vch_alloc(sizeof *trust);
    vch_note_t *note = vch_alloc(sizeof *note);
    vch_buf_init(&text, ND_SMALL_FILE_MAX);
    vch_rc rc = trust && note ? read_trust(m, &text, trust) : no_memory(m->err);
    if (rc == VCH_OK) rc = fetch_note(m);
    if (rc == VCH_OK) rc = judge_note(m, trust, note);
    vch_buf_free(&text);
    vch_free(note);
    vch_free(trust);
    return rc;
}

/* ---- what is here is the beginning of what is there ------------------------------------- */

static bool read_hash(const vch_json_t *v, vch_hash_t *ret)
{
    return v && v->type == VCH_JSON_STRING && v->text.n == 64 && vch_unhex(ret->b, 32, (const char *)v->text.p, 64);
}

/* The node's proof that its first `size` entries, whose root is `root`, are the
 * beginning of its checkpoint. */
static vch_rc prove_prefix(mirror_t *m, uint64_t size, const vch_hash_t *root, bool *ret)
{
    const vch_json_t *v, *path;
    vch_hash_t hash[VCH_PATH_HASHES_MAX];
    size_t n = 0;
    vch_text_t text;
    vch_arena_t arena;
    *ret = size == m->size && vch_hash_eq(root, &m->root);
    if (size == m->size) return VCH_OK;
    VCH_TRY(vch_prove_consistency(m->node, size, m->size, &text, m->err));
    vch_arena_init(&arena, 1u << 20);
    vch_rc rc = vch_json_parse(&arena, &v, vch_slice(text.p, text.n), m->err);
    path = rc == VCH_OK ? vch_json_get(v, "path") : NULL;
    bool good = path && path->type == VCH_JSON_ARRAY && path->count <= VCH_PATH_HASHES_MAX;
    for (const vch_json_t *h = good ? path->first : NULL; h && good; h = h->next) good = read_hash(h, &hash[n++]);
    *ret = good && vch_consistency_verify(size, m->size, root, &m->root, hash, n);
    vch_arena_free(&arena);
    vch_text_free(&text);
    return rc;
}

/* The right edge of the log here, from the path of its last leaf. */
static vch_rc edge_here(mirror_t *m, uint64_t size)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX], h;
    vch_log_entry_t last;
    size_t n = 0, at = 0;
    vch_edge_init(&m->edge);
    if (size == 0) return VCH_OK;
    VCH_TRY(vch_log_read(m->log, size - 1, &m->arena, &last, m->err));
    VCH_TRY(vch_log_inclusion(m->log, size - 1, size, path, &n, m->err));
    vch_tree_leaf(&h, last.record.entry);
    unsigned low = (unsigned)__builtin_ctzll(size);
    for (; at < low && at < n; at++) vch_tree_node(&h, &path[at], &h);
    m->edge.size = size;
    m->edge.peak[low] = h;
    for (unsigned bit = low + 1; bit < 64 && at < n; bit++)
        if (size >> bit & 1) m->edge.peak[bit] = path[at++];
    return VCH_OK;
}

static vch_rc check_beginning(mirror_t *m)
{
    uint64_t here = vch_log_size(m->log);
    vch_hash_t root;
    bool good = true;
    VCH_TRY(edge_here(m, here));
    vch_edge_root(&m->edge, &root);
    if (here > m->size)
        return vch_hint(m->err,
                        vch_fail(m->err, VCH_ERR_CONFLICT, "the node has signed %llu entries, %llu are here already",
                                 (unsigned long long)m->size, (unsigned long long)here),
                        "it is behind, or was rolled back: compare its checkpoint with the one in log/head");
    if (here) VCH_TRY(prove_prefix(m, here, &root, &good));
    if (good) return VCH_OK;
    (void)vch_fail(m->err, VCH_ERR_CORRUPT, "the node's log does not continue the one that is here (%llu entries)",
                   (unsigned long long)here);
    return vch_hint(m->err, VCH_ERR_CORRUPT, "keep both checkpoints: together they prove that the log was forked");
}

/* ---- a piece: read, judge, append ----------------------------------------------------------- */

static vch_rc read_statements(mirror_t *m, vch_cbor_t *c, vch_record_t *ret)
{
    uint64_t n;
    VCH_TRY(vch_cbor_get_array(c, &n));
    if (n > VCH_TX_STATEMENTS_MAX || n > (uint64_t)(c->end - c->p)) return VCH_ERR_LIMIT;
    vch_slice_t *statement = vch_arena_array(&m->arena, (size_t)n + 1, sizeof *statement);
    if (!statement) return VCH_ERR_MEMORY;
    for (uint64_t i = 0; i < n; i++) VCH_TRY(vch_cbor_get_bytes(c, &statement[i]));
    ret->statements = statement;
    ret->count = (uint32_t)n;
    return VCH_OK;
}

static vch_rc read_record(mirror_t *m, vch_cbor_t *c, vch_log_entry_t *ret)
{
    uint64_t n;
    *ret = (vch_log_entry_t){.index = 0};
    VCH_TRY(vch_cbor_get_array(c, &n));
    if (n != 5) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_uint(c, &ret->index));
    VCH_TRY(vch_cbor_get_uint(c, &ret->height));
    VCH_TRY(vch_cbor_get_uint(c, &ret->time.ms));
    VCH_TRY(vch_cbor_get_bytes(c, &ret->record.entry));
    if (ret->record.entry.n > VCH_ENTRY_BYTES_MAX) return VCH_ERR_LIMIT;
    return read_statements(m, c, &ret->record);
}

/* The statements are those that the entry was signed over. */
static vch_rc check_record(mirror_t *m, const vch_log_entry_t *e)
{
    vch_kind_t kind;
    vch_entry_t entry;
    vch_hash_t root;
    if (vch_leaf_kind(&kind, e->record.entry) != VCH_OK) return lies(m, e->index, "is no entry");
    if (kind == VCH_KIND_STATE_COMMIT || kind == VCH_KIND_OUTCOME)
        return e->record.count ? lies(m, e->index, "carries statements, which its kind never does") : VCH_OK;
    if (vch_entry_read(&entry, e->record.entry, NULL) != VCH_OK || entry.count != e->record.count || entry.count == 0)
        return lies(m, e->index, "does not have the statements that it names");
    VCH_TRY(vch_statements_root(&root, e->record.statements, e->record.count, &m->arena));
    return vch_hash_eq(&root, &entry.root) ? VCH_OK
                                           : lies(m, e->index, "comes with other statements than it was signed over");
}

static vch_rc read_piece(mirror_t *m, uint64_t from)
{
    vch_buf_clear(&m->piece);
    vch_arena_reset(&m->arena);
    VCH_TRY(vch_records_into(m->node, from, m->size, PIECE_BYTES, &m->piece, m->err));
    size_t cap = (size_t)(m->size - from < m->piece.n / 8 + 1 ? m->size - from : m->piece.n / 8 + 1);
    vch_cbor_t c = vch_cbor_over(vch_buf_slice(&m->piece));
    m->entries = 0;
    m->entry = vch_arena_array(&m->arena, cap, sizeof *m->entry);
    if (!m->entry) return no_memory(m->err);
    while (!vch_cbor_done(&c)) {
        uint64_t index = from + m->entries;
        if (m->entries == cap) return lies(m, index, "was not asked for");
        vch_rc rc = read_record(m, &c, &m->entry[m->entries]);
        if (rc == VCH_ERR_MEMORY) return no_memory(m->err);
        if (rc != VCH_OK || m->entry[m->entries].index != index) return lies(m, index, "can't be read");
        VCH_TRY(check_record(m, &m->entry[m->entries]));
        m->entries++;
    }
    return m->entries ? VCH_OK : lies(m, from, "is missing");
}

static vch_rc check_piece(mirror_t *m)
{
    vch_edge_t edge = m->edge;
    vch_hash_t root, *leaf = vch_arena_array(&m->arena, m->entries, sizeof *leaf);
    vch_slice_t *data = vch_arena_array(&m->arena, m->entries, sizeof *data);
    bool good = false;
    if (!leaf || !data) return no_memory(m->err);
    for (size_t i = 0; i < m->entries; i++) data[i] = m->entry[i].record.entry;
    vch_sha256_leaves(leaf, data, m->entries);
    vch_edge_add(&edge, leaf, m->entries);
    vch_edge_root(&edge, &root);
    VCH_TRY(prove_prefix(m, edge.size, &root, &good));
    if (!good) return lies(m, m->entry[0].index, "or one of those after it is not the one under its checkpoint");
    m->edge = edge;
    return VCH_OK;
}

/* Records of one block go together, as they were written. */
static vch_rc append_piece(mirror_t *m)
{
    vch_record_t *record = vch_arena_array(&m->arena, m->entries, sizeof *record);
    uint64_t first;
    if (!record) return no_memory(m->err);
    for (size_t i = 0; i < m->entries; i++) record[i] = m->entry[i].record;
    for (size_t i = 0, n; i < m->entries; i += n) {
        const vch_log_entry_t *e = &m->entry[i];
        for (n = 1; i + n < m->entries && e[n].height == e->height && e[n].time.ms == e->time.ms;) n++;
        VCH_TRY(vch_log_append(m->log, e->height, e->time, record + i, n, &first, m->err));
    }
    if (m->progress) m->progress(m->ctx, m->edge.size, m->edge.size, m->size);
    return VCH_OK;
}

typedef struct {
    vch_slice_t note;
    bool there;
} kept_t;

static bool same_note(void *ctx, uint64_t size, vch_slice_t note)
{
    kept_t *k = ctx;
    (void)size;
    k->there = k->there || vch_slice_eq(note, k->note);
    return !k->there;
}

/* Whose quorum stood when, for those who want it fresh. */
static vch_rc keep_cosigned(mirror_t *m)
{
    kept_t k = {.note = vch_slice(m->note.p, m->note.n)};
    if (m->witnesses == 0) return VCH_OK;
    VCH_TRY(vch_log_cosigned_each(m->log, m->size, same_note, &k, m->err));
    return k.there ? VCH_OK : vch_log_keep_cosigned(m->log, m->size, k.note, m->err);
}

static vch_rc copy_log(mirror_t *m)
{
    uint64_t signed_size = 0;
    vch_buf_t head;
    VCH_TRY(check_beginning(m));
    while (m->edge.size < m->size) {
        VCH_TRY(read_piece(m, m->edge.size));
        VCH_TRY(check_piece(m));
        VCH_TRY(append_piece(m));
    }
    vch_buf_init(&head, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_log_head(m->log, &head, &signed_size, m->err);
    vch_buf_free(&head);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    if (rc != VCH_OK || signed_size < m->size)
        VCH_TRY(vch_log_publish(m->log, m->size, vch_slice(m->note.p, m->note.n), m->err));
    return keep_cosigned(m);
}

/* ---- the directory ------------------------------------------------------------------------------ */

static vch_rc put_file(const mirror_t *m, const char *name, vch_slice_t text)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_path(path, "%s/%s", m->dir, name));
    return vch_write_atomic(m->port, path, text, 0600, m->err);
}

static vch_rc copy_trust(const mirror_t *m, const char *trust_path)
{
    vch_buf_t text;
    if (!trust_path)
        return vch_hint(m->err, vch_fail(m->err, VCH_ERR_USAGE, "a new mirror needs a trust policy"),
                        "--trust POLICY says whose log this must be");
    vch_buf_init(&text, ND_SMALL_FILE_MAX);
    vch_rc rc = vch_read_all(m->port, &text, trust_path, ND_SMALL_FILE_MAX, m->err);
    if (rc == VCH_OK) rc = put_file(m, "trust.policy", vch_buf_slice(&text));
    vch_buf_free(&text);
    return rc;
}

/* FORMAT last: without it the directory is no ledger yet. */
static vch_rc make_dir(mirror_t *m, const char *trust_path)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    VCH_TRY(vch_path(path, "%s/FORMAT", m->dir));
    vch_rc rc = m->port->disk->stat(m->port, path, &st);
    if (rc == VCH_OK) return nd_format_read(m->port, m->dir, &m->network, m->err);
    if (rc != VCH_ERR_NOT_FOUND) return vch_fail(m->err, rc, "looking for %s: %s", path, vch_rc_text(rc));
    VCH_TRY(vch_mkdirs(m->port, m->dir, m->err));
    VCH_TRY(copy_trust(m, trust_path));
    VCH_TRY(put_file(m, ND_MIRROR, vch_str("a copy of another node's log\n")));
    VCH_TRY(put_file(m, "vouch.conf", vch_str(nd_conf_default)));
    rc = vch_log_create(m->port, m->dir, &m->network, m->err);
    return rc == VCH_ERR_CONFLICT ? VCH_OK : rc; /* of a try that was cut off */
}

static vch_rc open_log(mirror_t *m)
{
    char path[VCH_PATH_MAX];
    vch_log_options_t options = {.segment_bytes = 0};
    VCH_TRY(vch_path(path, "%s/lock", m->dir));
    VCH_TRY(vch_file_open(m->port, &m->lock, path, VCH_OPEN_CREATE, m->err));
    vch_rc rc = m->port->disk->lock(m->port, m->lock, VCH_LOCK_EXCLUSIVE, 5000);
    if (rc != VCH_OK) return vch_fail(m->err, rc, "locking %s: %s", path, vch_rc_text(rc));
    VCH_TRY(vch_log_open(&m->log, m->port, m->dir, &options, NULL, m->err));
    vch_hash_t here = vch_log_network(m->log);
    if (vch_hash_eq(&here, &m->network)) return VCH_OK;
    return vch_fail(m->err, VCH_ERR_NETWORK, "the directory belongs to another network than the node");
}

/* Replayed, every state root is checked; the index is saved. */
static vch_rc replay(const mirror_t *m)
{
    vch_ledger_t *l;
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    VCH_TRY(vch_path(path, "%s/FORMAT", m->dir));
    if (m->port->disk->stat(m->port, path, &st) != VCH_OK) VCH_TRY(nd_format_put(m->port, m->dir, &m->network, m->err));
    VCH_TRY(vch_ledger_open_on(&l, m->port, m->dir, 0, m->err));
    return vch_ledger_close(l, m->err);
}

static void close_log(mirror_t *m)
{
    vch_log_close(m->log);
    m->log = NULL;
    vch_file_close(m->port, m->lock);
    m->lock = NULL;
}

static vch_rc copy(mirror_t *m, vch_mirror_t *ret)
{
    VCH_TRY(take_note(m));
    VCH_TRY(open_log(m));
    ret->from = vch_log_size(m->log);
    VCH_TRY(copy_log(m));
    ret->size = m->size;
    close_log(m);
    return VCH_OK;
}

static vch_rc mirror(mirror_t *m, const char *trust_path, vch_mirror_t *ret)
{
    vch_ledger_info_t info;
    VCH_TRY(vch_ledger_info(m->node, &info, m->err));
    m->network = info.network;
    VCH_TRY(make_dir(m, trust_path));
    if (!vch_hash_eq(&m->network, &info.network))
        return vch_fail(m->err, VCH_ERR_NETWORK, "the directory belongs to another network than the node");
    VCH_TRY(copy(m, ret));
    return replay(m);
}

static vch_rc more(mirror_t *m, vch_mirror_t *ret)
{
    VCH_TRY(nd_format_read(m->port, m->dir, &m->network, m->err));
    return copy(m, ret);
}

static vch_rc begin(mirror_t *m, vch_port_t *port, vch_ledger_t *node, const char *dir, vch_err_t *err)
{
    *m = (mirror_t){.node = node, .port = port, .dir = dir, .err = err};
    if (vch_crypto_start() != VCH_OK) return vch_fail(err, VCH_ERR_INTERNAL, "the cryptography library did not start");
    vch_buf_init(&m->piece, PIECE_MAX);
    vch_arena_init(&m->arena, ARENA_MAX);
    return VCH_OK;
}

static void end(mirror_t *m)
{
    close_log(m);
    vch_arena_free(&m->arena);
    vch_buf_free(&m->piece);
    vch_text_free(&m->note);
}

vch_rc vch_mirror_on(vch_port_t *port, vch_ledger_t *node, const char *dir, const char *trust_path,
                     vch_progress_fn progress, void *ctx, vch_mirror_t *ret, vch_err_t *err)
{
    vch_mirror_t done = {.size = 0};
    mirror_t m;
    VCH_TRY(begin(&m, port, node, dir, err));
    m.progress = progress;
    m.ctx = ctx;
    vch_rc rc = mirror(&m, trust_path, &done);
    end(&m);
    if (rc == VCH_OK) *ret = done;
    return nd_told(rc, err);
}

vch_rc vch_mirror_more(vch_port_t *port, vch_ledger_t *node, const char *dir, vch_mirror_t *ret, vch_err_t *err)
{
    vch_mirror_t done = {.size = 0};
    mirror_t m;
    VCH_TRY(begin(&m, port, node, dir, err));
    vch_rc rc = more(&m, &done);
    end(&m);
    if (rc == VCH_OK) *ret = done;
    return nd_told(rc, err);
}

/* ---- may a restored log write again? ------------------------------------------------------------------ */

/* The size of a witness's latest checkpoint of this log, if it shows one that
 * the log signed. */
static bool told_size(const vch_trust_t *t, const vch_answer_t *a, const char *origin, uint64_t *ret)
{
    vch_note_t *note = vch_alloc(sizeof *note);
    vch_checkpoint_t c;
    vch_trust_result_t result;
    bool good = note && vch_note_get(note, vch_buf_slice(&a->body)) == VCH_OK &&
                vch_checkpoint_get(&c, note->text) == VCH_OK && vch_slice_eq(c.origin, vch_str(origin)) &&
                vch_trust_judge(t, note, &c, &result) == VCH_OK && result.log_known && !result.forged;
    if (good) *ret = c.size;
    vch_free(note);
    return good;
}

/* What each witness says, or why nobody can say. */
static vch_rc judge_answers(const vch_trust_t *t, const size_t *node, const vch_answer_t *answer, size_t n,
                            const char *origin, vch_mirror_t *ret)
{
    for (size_t i = 0; i < n; i++) {
        const vch_slice_t name = t->node[node[i]].name;
        uint64_t size = 0;
        if (answer[i].rc == VCH_OK && answer[i].status == 404) continue; /* it never saw this log */
        if (answer[i].rc != VCH_OK || answer[i].status != 200 || !told_size(t, &answer[i], origin, &size)) {
            (void)snprintf(ret->note, sizeof ret->note, "witness %.*s can't be asked what it has seen",
                           (int)vch_min(name.n, 80), (const char *)name.p);
            return VCH_ERR_UNREACHABLE;
        }
        if (size <= ret->size) continue;
        (void)snprintf(ret->note, sizeof ret->note, "witness %.*s has seen %llu entries, %llu are here",
                       (int)vch_min(name.n, 80), (const char *)name.p, (unsigned long long)size,
                       (unsigned long long)ret->size);
        return VCH_ERR_CONFLICT;
    }
    return VCH_OK;
}

static vch_rc ask_all(const vch_trust_t *t, vch_transport_t *transport, const char *origin, uint64_t timeout_ms,
                      vch_mirror_t *ret, size_t *ret_asked)
{
    vch_ask_t ask[VCH_POLICY_NODES_MAX] = {{0}};
    static const size_t url_max = 1200;
    size_t node[VCH_POLICY_NODES_MAX], n = 0;
    char hex[65];
    vch_hash_t hash;
    vch_rc rc = VCH_OK;
    vch_answer_t *answer = vch_alloc_array(VCH_POLICY_NODES_MAX, sizeof *answer);
    char *url = vch_alloc_array(VCH_POLICY_NODES_MAX, url_max);
    vch_sha256(&hash, origin, strlen(origin));
    vch_hex(hex, hash.b, 32);
    for (size_t i = 0; answer && url && i < t->nodes; i++) {
        const vch_policy_node_t *w = &t->node[i];
        if (w->is_group || w->url.n == 0 || w->url.n > 1000) continue;
        bool slash = w->url.p[w->url.n - 1] == '/';
        (void)snprintf(url + n * url_max, url_max, "%.*s%s%s/checkpoint", (int)w->url.n, (const char *)w->url.p,
                       slash ? "" : "/", hex);
        ask[n] = (vch_ask_t){.url = url + n * url_max};
        vch_buf_init(&answer[n].body, VCH_NOTE_BYTES_MAX);
        node[n++] = i;
    }
    if (!answer || !url)
        rc = VCH_ERR_MEMORY;
    else if (n) {
        transport->ask(transport, ask, answer, n, timeout_ms);
        rc = judge_answers(t, node, answer, n, origin, ret);
    }
    for (size_t i = 0; i < n; i++) vch_buf_free(&answer[i].body);
    vch_free(url);
    vch_free(answer);
    *ret_asked = n;
    return rc;
}

static vch_rc may_write(vch_port_t *port, const char *dir, const char *origin, vch_transport_t *transport,
                        uint64_t timeout_ms, vch_mirror_t *ret, size_t *ret_asked, vch_err_t *err)
{
    mirror_t m = {.port = port, .dir = dir, .err = err};
    vch_buf_t text;
    vch_trust_t *trust = vch_alloc(sizeof *trust);
    vch_buf_init(&text, ND_SMALL_FILE_MAX);
    vch_rc rc = trust ? read_trust(&m, &text, trust) : no_memory(err);
    if (rc == VCH_OK) {
        rc = ask_all(trust, transport, origin, timeout_ms, ret, ret_asked);
        if (rc == VCH_ERR_MEMORY) (void)no_memory(err);
    }
    vch_buf_free(&text);
    vch_free(trust);
    return rc;
}

vch_rc vch_mirror_release(vch_port_t *port, const char *dir, const char *origin, vch_transport_t *transport,
                          uint64_t timeout_ms, bool complete, vch_mirror_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    size_t asked = 0;
    VCH_TRY(vch_path(path, "%s/" ND_RESTORED, dir));
    vch_rc rc = port->disk->stat(port, path, &st);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    rc = may_write(port, dir, origin, transport, timeout_ms, ret, &asked, err);
    if (rc == VCH_ERR_UNREACHABLE || rc == VCH_ERR_CONFLICT) return VCH_OK; /* ret->note says why not */
    if (rc != VCH_OK) return rc;
    if (asked == 0 && !complete) {
        (void)snprintf(ret->note, sizeof ret->note,
                       "trust.policy names no witness to ask whether this is all; say --complete if you know it");
        return VCH_OK;
    }
    rc = port->disk->remove(port, path);
    if (rc == VCH_OK) rc = port->disk->sync_dir(port, dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "removing %s: %s", path, vch_rc_text(rc));
    ret->caught_up = 1;
    return VCH_OK;
}
