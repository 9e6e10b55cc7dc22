/* SPDX-License-Identifier: Apache-2.0 */
/* What is believed of a node, and remembered.
 *
 *   <memory>/logs/<SHA-256 of the origin>/log         origin, network, pinned key
 *                                        /checkpoint  the newest one seen, verbatim
 *                                        /lock        one process at a time compares
 *                                        /split-…     two notes that contradict each other
 *                                        /receipts/ /unsent/ /decisions/
 *   <memory>/nodes/<SHA-256 of the URL>               which log and key that URL showed
 *
 * Each session fetches the checkpoint, checks its signature, and has the node
 * prove that it extends the remembered one.  A node that can't is not used, and
 * both notes are kept: two of the same size, or two without a consistency
 * proof, convict the log's key. */
#include <stdio.h>

#include "codec/text.h"
#include "crypto/sha256.h"
#include "node/remote_int.h"

#define LOCK_WAIT_MS 10000u

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- files of the memory --------------------------------------------------------------- */

static void name_hash(char ret[65], vch_slice_t name)
{
    vch_hash_t h;
    vch_sha256(&h, name.p, name.n);
    vch_hex(ret, h.b, 32);
}

static vch_rc memory_path(vch_ledger_t *l, char ret[VCH_PATH_MAX], const char *folder, const char *name, vch_err_t *err)
{
    char dir[VCH_PATH_MAX];
    vch_rc rc = vch_ledger_path(l, dir, "%s", folder);
    if (rc == VCH_OK) rc = vch_path(ret, "%s/%s", dir, name);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path of the memory is too long");
    return vch_mkdirs(l->port, dir, err);
}

vch_rc rm_keep(vch_ledger_t *l, const char *folder, const char *name, vch_slice_t data, char ret_path[VCH_PATH_MAX],
               vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(memory_path(l, path, folder, name, err));
    VCH_TRY(vch_write_atomic(l->port, path, data, 0600, err));
    if (ret_path) memcpy(ret_path, path, sizeof path);
    return VCH_OK;
}

/* A line "name value\n" of a file; ERR_NOT_FOUND. */
static vch_rc line_get(vch_slice_t text, const char *name, char *ret, size_t max)
{
    size_t n = strlen(name);
    while (text.n) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        size_t line = end ? (size_t)(end - text.p) : text.n;
        if (line > n && memcmp(text.p, name, n) == 0 && text.p[n] == ' ') {
            if (line - n - 1 >= max) return VCH_ERR_LIMIT;
            memcpy(ret, text.p + n + 1, line - n - 1);
            ret[line - n - 1] = 0;
            return VCH_OK;
        }
        line += end != NULL;
        text = vch_slice(text.p + line, text.n - line);
    }
    return VCH_ERR_NOT_FOUND;
}

/* A remembered file; ERR_NOT_FOUND when there is none. */
static vch_rc recall(vch_ledger_t *l, const char *path, size_t max, vch_buf_t *ret, vch_err_t *err)
{
    vch_buf_init(ret, max);
    return vch_read_all(l->port, ret, path, max, err);
}

/* ---- signatures ----------------------------------------------------------------------------- */

static vch_rc by_trust(const vch_trust_t *t, const vch_note_t *note, vch_slice_t origin, bool *ret_quorum,
                       vch_err_t *err)
{
    vch_trust_result_t r;
    vch_checkpoint_t c = {.origin = origin};
    VCH_TRY(vch_trust_judge(t, note, &c, &r));
    if (r.forged)
        return vch_fail(err, VCH_ERR_SIGNATURE, "the node's checkpoint carries a forged signature of a trusted key");
    if (!r.log_known)
        return vch_hint(err,
                        vch_fail(err, VCH_ERR_KEY, "the node's log %.*s is not signed by a log of the trust policy",
                                 (int)vch_min(origin.n, 200), (const char *)origin.p),
                        "ask somebody you trust for this log's key, and name it in the policy");
    *ret_quorum = r.quorum;
    return VCH_OK;
}

vch_rc rm_signed_by_log(vch_ledger_t *l, const vch_note_t *note, vch_slice_t origin, bool *ret_quorum, vch_err_t *err)
{
    if (l->remote->trust) return by_trust(l->remote->trust, note, origin, ret_quorum, err);
    return vch_fail(err, VCH_ERR_INTERNAL, "nobody is trusted yet");
}

/* A pinned key is a policy of one log without witnesses. */
static vch_rc trust_pinned(vch_ledger_t *l, const char *vkey, vch_err_t *err)
{
    vch_remote_t *r = l->remote;
    vch_err_t why = {.rc = VCH_OK};
    vch_trust_t *t = vch_alloc(sizeof *t);
    if (!t) return no_memory(err);
    vch_buf_clear(&r->trust_text);
    vch_rc rc = vch_buf_printf(&r->trust_text, "log %s\nquorum none\n", vkey);
    if (rc == VCH_OK) rc = vch_trust_get(t, vch_buf_slice(&r->trust_text), &why);
    if (rc != VCH_OK) {
        vch_free(t);
        return vch_fail(err, VCH_ERR_KEY, "\"%.100s\" is no key of a log", vkey);
    }
    vch_free(r->trust);
    r->trust = t;
    memcpy(r->pinned, vkey, strlen(vkey) + 1);
    return VCH_OK;
}

/* The note taken apart; its signature isn't looked at. */
static vch_rc note_read(vch_note_t *note, vch_checkpoint_t *c, vch_slice_t text, vch_err_t *err)
{
    vch_rc rc = vch_note_get(note, text);
    if (rc == VCH_OK) rc = vch_checkpoint_get(c, note->text);
    if (rc == VCH_OK && (c->size == 0 || c->origin.n >= 208)) rc = VCH_ERR_FORMAT;
    return rc == VCH_OK ? rc : vch_fail(err, VCH_ERR_FORMAT, "what the node shows is no checkpoint");
}

static vch_rc note_check(vch_ledger_t *l, vch_slice_t text, vch_checkpoint_t *ret, bool *ret_quorum, vch_err_t *err)
{
    vch_note_t *note = vch_alloc(sizeof *note);
    if (!note) return no_memory(err);
    vch_rc rc = note_read(note, ret, text, err);
    if (rc == VCH_OK && l->origin[0] && !vch_slice_eq(ret->origin, vch_str(l->origin)))
        rc = vch_fail(err, VCH_ERR_NETWORK, "the node shows a checkpoint of %.*s instead of %.200s",
                      (int)vch_min(ret->origin.n, 200), (const char *)ret->origin.p, l->origin);
    if (rc == VCH_OK) rc = rm_signed_by_log(l, note, ret->origin, ret_quorum, err);
    vch_free(note);
    return rc;
}

/* ---- two notes that contradict each other -------------------------------------------------------- */

typedef struct {
    vch_slice_t seen, now; /* notes */
    vch_slice_t answer;    /* to the question for a proof */
    const char *what;
} split_t;

static vch_rc split_text(vch_ledger_t *l, const split_t *s, vch_buf_t *b)
{
    VCH_TRY(
        vch_buf_printf(b, "vouchsafe-split-view@v1\norigin %s\nurl %s\nwhat %s\n", l->origin, l->remote->url, s->what));
    VCH_TRY(vch_buf_printf(b, "\n---- seen before: %zu bytes\n", s->seen.n));
    VCH_TRY(vch_buf_put(b, s->seen.p, s->seen.n));
    VCH_TRY(vch_buf_printf(b, "\n---- shown now: %zu bytes\n", s->now.n));
    VCH_TRY(vch_buf_put(b, s->now.p, s->now.n));
    VCH_TRY(vch_buf_printf(b, "\n---- the proof that one extends the other: %zu bytes\n", s->answer.n));
    return vch_buf_put(b, s->answer.p, vch_min(s->answer.n, RM_SMALL_MAX));
}

static vch_rc keep_split(vch_ledger_t *l, const split_t *s, char ret_path[VCH_PATH_MAX], vch_err_t *err)
{
    char hash[65], name[64];
    vch_buf_t b;
    vch_buf_init(&b, 2 * RM_SMALL_MAX);
    vch_rc rc = split_text(l, s, &b);
    if (rc == VCH_OK) {
        name_hash(hash, vch_buf_slice(&b));
        (void)snprintf(name, sizeof name, "split-%.16s.txt", hash);
        rc = rm_keep(l, ".", name, vch_buf_slice(&b), ret_path, err);
    }
    vch_buf_free(&b);
    return rc;
}

/* The log is refused, and the proof against it kept. */
static vch_rc refuse(vch_ledger_t *l, const split_t *s, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_err_t why = {.rc = VCH_OK};
    vch_rc kept = keep_split(l, s, path, &why);
    vch_fail(err, VCH_ERR_CORRUPT, "the node at %.150s %s", l->remote->url, s->what);
    if (kept != VCH_OK) return vch_hint(err, VCH_ERR_CORRUPT, "both checkpoints could not be kept: %.200s", why.text);
    return vch_hint(err, VCH_ERR_CORRUPT,
                    "both checkpoints are kept in %.240s; show them to whoever runs or audits this log", path);
}

/* ---- consistency --------------------------------------------------------------------------------- */

vch_rc rm_consistent(vch_ledger_t *l, uint64_t size1, const vch_hash_t *root1, uint64_t size2, const vch_hash_t *root2,
                     vch_buf_t *ret_answer, vch_err_t *err)
{
    rm_ask_t a;
    rm_consistency_t c;
    rm_path_t path = rm_path("/v1/proof/consistency?from=");
    if (size1 == size2) return vch_hash_eq(root1, root2) ? VCH_OK : VCH_ERR_COMMITMENT;
    rm_path_uint(&path, size1);
    rm_path_add(&path, "&to=");
    rm_path_uint(&path, size2);
    vch_rc rc = rm_get(l, &a, path.text, RM_SMALL_MAX, err);
    if (rc == VCH_OK && ret_answer) rc = vch_buf_put(ret_answer, a.answer.p, a.answer.n);
    if (rc == VCH_OK) rc = rm_consistency_get(&c, vch_buf_slice(&a.answer), err);
    if (rc == VCH_OK &&
        (c.size1 != size1 || c.size2 != size2 || !vch_consistency_verify(size1, size2, root1, root2, c.path, c.n)))
        rc = vch_fail(err, VCH_ERR_COMMITMENT, "the node's consistency proof does not hold");
    rm_free(&a, 1);
    return rc;
}

/* Nobody is accused because a line was down, or a key unknown. */
static bool is_no_proof(vch_rc rc)
{
    return rc == VCH_ERR_COMMITMENT || rc == VCH_ERR_USAGE || rc == VCH_ERR_NOT_FOUND || rc == VCH_ERR_FORMAT ||
           rc == VCH_ERR_CONFLICT;
}

/* Does `now` lie on one line with what was seen?  Newer or older, both may be
 * (a proof can come under an older checkpoint), but not beside it. */
static vch_rc compare(vch_ledger_t *l, vch_slice_t text, const vch_checkpoint_t *now, vch_err_t *err)
{
    vch_remote_t *r = l->remote;
    vch_buf_t answer;
    split_t s = {.seen = vch_buf_slice(&r->note), .now = text, .what = "shows another log than the one seen before"};
    bool newer = now->size >= r->size;
    if (now->size == r->size && !vch_hash_eq(&now->root, &r->root)) {
        s.what = "shows another log of the same size than the one seen before: a split view";
        return refuse(l, &s, err);
    }
    vch_buf_init(&answer, RM_SMALL_MAX);
    vch_rc rc = newer ? rm_consistent(l, r->size, &r->root, now->size, &now->root, &answer, err)
                      : rm_consistent(l, now->size, &now->root, r->size, &r->root, &answer, err);
    s.answer = vch_buf_slice(&answer);
    if (is_no_proof(rc)) {
        s.what = newer ? "can't prove that its log extends the one seen before"
                       : "shows an older log than before, which may not be its beginning: a rollback";
        rc = refuse(l, &s, err);
    }
    vch_buf_free(&answer);
    return rc;
}

/* ---- the newest one ------------------------------------------------------------------------------------ */

static vch_rc take_lock(vch_ledger_t *l, vch_file_t **ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_file_t *lock;
    VCH_TRY(memory_path(l, path, ".", "lock", err));
    VCH_TRY(vch_file_open(l->port, &lock, path, VCH_OPEN_CREATE, err));
    vch_rc rc = l->port->disk->lock(l->port, lock, VCH_LOCK_EXCLUSIVE, LOCK_WAIT_MS);
    if (rc == VCH_OK)
        *ret = lock;
    else
        vch_file_close(l->port, lock);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "waiting for %s: %s", path, vch_rc_text(rc));
}

/* The file never goes back: another process may have seen more. */
static vch_rc keep_larger(vch_ledger_t *l, vch_slice_t text, uint64_t size, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_checkpoint_t c = {.size = 0};
    vch_buf_t old;
    vch_note_t *note = vch_alloc(sizeof *note);
    if (!note) return no_memory(err);
    vch_rc rc = memory_path(l, path, ".", "checkpoint", err);
    if (rc == VCH_OK && recall(l, path, VCH_NOTE_BYTES_MAX, &old, NULL) == VCH_OK)
        if (note_read(note, &c, vch_buf_slice(&old), NULL) != VCH_OK) c.size = 0;
    if (rc == VCH_OK) vch_buf_free(&old);
    if (rc == VCH_OK && c.size <= size) rc = rm_keep(l, ".", "checkpoint", text, NULL, err);
    vch_free(note);
    return rc;
}

static vch_rc keep_checkpoint(vch_ledger_t *l, vch_slice_t text, uint64_t size, vch_err_t *err)
{
    vch_file_t *lock = NULL;
    if (l->remote->locked) return keep_larger(l, text, size, err);
    VCH_TRY(take_lock(l, &lock, err));
    vch_rc rc = keep_larger(l, text, size, err);
    vch_file_close(l->port, lock);
    return rc;
}

static vch_rc adopt(vch_ledger_t *l, vch_slice_t text, const vch_checkpoint_t *c, bool quorum, vch_err_t *err)
{
    vch_remote_t *r = l->remote;
    vch_buf_t note;
    r->quorum = quorum;
    if (quorum && c->size > r->committed) r->committed = c->size;
    if (vch_slice_eq(text, vch_buf_slice(&r->note))) return VCH_OK;
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_buf_put(&note, text.p, text.n);
    if (rc != VCH_OK) return no_memory(err);
    rc = keep_checkpoint(l, text, c->size, err);
    if (rc != VCH_OK) {
        vch_buf_free(&note);
        return rc;
    }
    vch_buf_free(&r->note);
    r->note = note;
    r->size = c->size;
    r->root = c->root;
    return VCH_OK;
}

vch_rc rm_believe(vch_ledger_t *l, vch_slice_t text, vch_checkpoint_t *ret, vch_err_t *err)
{
    vch_checkpoint_t c;
    bool quorum = false;
    VCH_TRY(note_check(l, text, &c, &quorum, err));
    if (l->remote->size) VCH_TRY(compare(l, text, &c, err));
    bool worse = c.size == l->remote->size && l->remote->quorum && !quorum;
    if (c.size >= l->remote->size && !worse) VCH_TRY(adopt(l, text, &c, quorum, err));
    *ret = c;
    return VCH_OK;
}

static vch_rc fetch(vch_ledger_t *l, rm_ask_t *ret, vch_err_t *err)
{
    vch_rc rc = rm_get(l, ret, "/checkpoint", VCH_NOTE_BYTES_MAX, err);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    return vch_fail(err, VCH_ERR_UNREACHABLE, "%.200s shows no checkpoint: it is no node, or has just begun",
                    l->remote->url);
}

/* Older than what this session saw: whoever answers has gone back. */
static vch_rc rolled_back(vch_ledger_t *l, vch_slice_t text, vch_err_t *err)
{
    split_t s = {
        .seen = vch_buf_slice(&l->remote->note), .now = text, .what = "shows an older log than before: a rollback"};
    return refuse(l, &s, err);
}

vch_rc rm_refresh(vch_ledger_t *l, vch_err_t *err)
{
    rm_ask_t a;
    vch_checkpoint_t c;
    bool fresh = l->remote->fresh;
    l->remote->fresh = false;
    if (fresh) return VCH_OK;
    uint64_t before = l->remote->size;
    vch_rc rc = fetch(l, &a, err);
    if (rc == VCH_OK) rc = rm_believe(l, vch_buf_slice(&a.answer), &c, err);
    if (rc == VCH_OK && c.size < before) rc = rolled_back(l, vch_buf_slice(&a.answer), err);
    rm_free(&a, 1);
    return rc;
}

/* ---- the first time ---------------------------------------------------------------------------------------- */

static vch_rc get_info(vch_ledger_t *l, rm_info_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    vch_rc rc = rm_get(l, &a, "/v1/info", RM_SMALL_MAX, err);
    if (rc == VCH_OK) rc = rm_info_get(ret, vch_buf_slice(&a.answer), err);
    rm_free(&a, 1);
    if (rc == VCH_OK && strcmp(ret->origin, l->origin) != 0)
        rc = vch_fail(err, VCH_ERR_NETWORK, "the node calls its log %.100s, but shows a checkpoint of %.100s",
                      ret->origin, l->origin);
    return rc;
}

/* Nobody said which key to believe: the first one seen counts from now on. */
static vch_rc pin(vch_ledger_t *l, const rm_info_t *info, vch_slice_t text, vch_err_t *err)
{
    vch_checkpoint_t c;
    bool quorum;
    VCH_TRY(trust_pinned(l, info->vkey, err));
    VCH_TRY(note_check(l, text, &c, &quorum, err));
    nd_note(l, "first time at this log: its key %.100s is believed from now on; --trust FILE says whom to believe",
            info->vkey);
    return VCH_OK;
}

/* The newest leaf under a checkpoint is a state-commit, and says which network
 * it belongs to: a node must not have statements signed for another one. */
static vch_rc prove_network(vch_ledger_t *l, vch_err_t *err)
{
    vch_state_commit_t commit;
    vch_buf_t leaf;
    vch_buf_init(&leaf, VCH_ENTRY_BYTES_MAX);
    uint64_t index = l->remote->size - 1;
    vch_rc rc = rm_leaf(l, index, &leaf, err);
    if (rc == VCH_OK && vch_state_commit_get(&commit, vch_buf_slice(&leaf)) != VCH_OK)
        rc = vch_fail(err, VCH_ERR_FORMAT, "the node's log is no ledger: entry %llu closes no block",
                      (unsigned long long)index);
    if (rc == VCH_OK) l->network = commit.network;
    vch_buf_free(&leaf);
    return rc;
}

static vch_rc remember_log(vch_ledger_t *l, vch_err_t *err)
{
    char hex[65];
    vch_buf_t b;
    vch_buf_init(&b, 4096);
    vch_hex(hex, l->network.b, 32);
    vch_rc rc = vch_buf_printf(&b, "vouchsafe-memory 1\norigin %s\nnetwork %s\n", l->origin, hex);
    if (rc == VCH_OK && l->remote->pinned[0]) rc = vch_buf_printf(&b, "key %s\n", l->remote->pinned);
    if (rc == VCH_OK) rc = rm_keep(l, ".", "log", vch_buf_slice(&b), NULL, err);
    vch_buf_free(&b);
    return rc;
}

static vch_rc url_file(vch_ledger_t *l, char ret[VCH_PATH_MAX], vch_err_t *err)
{
    char hash[65];
    name_hash(hash, vch_str(l->remote->url));
    vch_rc rc = vch_path(ret, "%s/nodes/%s", l->remote->memory, hash);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the path of the memory is too long");
}

static vch_rc remember_url(vch_ledger_t *l, vch_err_t *err)
{
    char path[VCH_PATH_MAX], folder[VCH_PATH_MAX];
    vch_buf_t b;
    VCH_TRY(url_file(l, path, err));
    vch_rc rc = vch_path(folder, "%s/nodes", l->remote->memory);
    if (rc == VCH_OK) rc = vch_mkdirs(l->port, folder, err);
    vch_buf_init(&b, 4096);
    if (rc == VCH_OK) rc = vch_buf_printf(&b, "url %s\norigin %s\n", l->remote->url, l->origin);
    if (rc == VCH_OK) rc = vch_write_atomic(l->port, path, vch_buf_slice(&b), 0600, err);
    vch_buf_free(&b);
    return rc;
}

/* ---- a session begins ------------------------------------------------------------------------------------------ */

/* A URL shows the same log for ever. */
static vch_rc check_url(vch_ledger_t *l, bool *ret_known, vch_err_t *err)
{
    char path[VCH_PATH_MAX], origin[256];
    vch_buf_t text;
    VCH_TRY(url_file(l, path, err));
    vch_rc rc = recall(l, path, 4096, &text, err);
    *ret_known = rc == VCH_OK;
    if (rc == VCH_OK) rc = line_get(vch_buf_slice(&text), "origin", origin, sizeof origin);
    vch_buf_free(&text);
    if (!*ret_known) return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
    if (rc != VCH_OK) return vch_fail(err, VCH_ERR_CORRUPT, "%s is damaged", path);
    if (strcmp(origin, l->origin) == 0) return VCH_OK;
    vch_fail(err, VCH_ERR_NETWORK, "%.150s showed the log %.100s before, and shows %.100s now", l->remote->url, origin,
             l->origin);
    return vch_hint(err, VCH_ERR_NETWORK, "if that is meant to be, remove %.300s", path);
}

/* *ret_known: the log was seen before, and its network and key are recalled. */
static vch_rc recall_log(vch_ledger_t *l, bool *ret_known, vch_err_t *err)
{
    char path[VCH_PATH_MAX], hex[80], vkey[512];
    vch_buf_t text;
    bool trusted = l->remote->trust != NULL, pinned;
    VCH_TRY(memory_path(l, path, ".", "log", err));
    vch_rc rc = recall(l, path, 4096, &text, err);
    *ret_known = rc == VCH_OK;
    if (rc == VCH_OK) rc = line_get(vch_buf_slice(&text), "network", hex, sizeof hex);
    if (rc == VCH_OK && !vch_unhex(l->network.b, 32, hex, strlen(hex))) rc = VCH_ERR_FORMAT;
    pinned = rc == VCH_OK && line_get(vch_buf_slice(&text), "key", vkey, sizeof vkey) == VCH_OK;
    vch_buf_free(&text);
    if (!*ret_known) return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
    if (rc != VCH_OK) return vch_fail(err, VCH_ERR_CORRUPT, "%s is damaged", path);
    return pinned && !trusted ? trust_pinned(l, vkey, err) : VCH_OK;
}

/* What was verified when it was kept is believed again. */
static vch_rc recall_checkpoint(vch_ledger_t *l, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_checkpoint_t c;
    vch_remote_t *r = l->remote;
    vch_note_t *note = vch_alloc(sizeof *note);
    if (!note) return no_memory(err);
    vch_buf_free(&r->note);
    r->size = 0;
    vch_rc rc = memory_path(l, path, ".", "checkpoint", err);
    if (rc == VCH_OK) rc = recall(l, path, VCH_NOTE_BYTES_MAX, &r->note, err);
    if (rc == VCH_OK && note_read(note, &c, vch_buf_slice(&r->note), NULL) != VCH_OK)
        rc = vch_fail(err, VCH_ERR_CORRUPT, "%s is damaged", path);
    if (rc == VCH_OK) {
        r->size = c.size;
        r->root = c.root;
        r->quorum = false; /* the policy may have changed */
    }
    vch_free(note);
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static vch_rc check_network(vch_ledger_t *l, const rm_info_t *info, vch_err_t *err)
{
    if (vch_hash_eq(&info->network, &l->network)) return VCH_OK;
    return vch_fail(err, VCH_ERR_NETWORK, "the node names another network than the ledger seen before under %.150s",
                    l->origin);
}

/* What a log seen for the first time, or without a key so far, must show. */
static vch_rc first_look(vch_ledger_t *l, vch_slice_t text, rm_info_t *ret, vch_err_t *err)
{
    VCH_TRY(get_info(l, ret, err));
    return l->remote->trust ? VCH_OK : pin(l, ret, text, err);
}

/* Under the lock.  `text` was fetched before it was taken: when it looks older
 * than what is remembered, another process may simply have been faster. */
static vch_rc compare_all(vch_ledger_t *l, vch_slice_t text, bool known, vch_err_t *err)
{
    rm_info_t info;
    bool quorum = false, keyed = l->remote->trust != NULL;
    vch_checkpoint_t c;
    VCH_TRY(recall_checkpoint(l, err));
    if (!known || !keyed) VCH_TRY(first_look(l, text, &info, err));
    VCH_TRY(note_check(l, text, &c, &quorum, err));
    if (c.size < l->remote->size)
        VCH_TRY(rm_refresh(l, err));
    else
        VCH_TRY(rm_believe(l, text, &c, err));
    if (known && keyed) return VCH_OK;
    if (!known) VCH_TRY(prove_network(l, err));
    VCH_TRY(check_network(l, &info, err));
    return remember_log(l, err);
}

static vch_rc with_lock(vch_ledger_t *l, vch_slice_t text, bool known, vch_err_t *err)
{
    vch_file_t *lock = NULL;
    VCH_TRY(take_lock(l, &lock, err));
    l->remote->locked = true;
    vch_rc rc = compare_all(l, text, known, err);
    l->remote->locked = false;
    vch_file_close(l->port, lock);
    return rc;
}

static vch_rc learn_origin(vch_ledger_t *l, vch_slice_t text, vch_err_t *err)
{
    char hash[65];
    vch_checkpoint_t c;
    vch_note_t *note = vch_alloc(sizeof *note);
    if (!note) return no_memory(err);
    vch_rc rc = note_read(note, &c, text, err);
    if (rc == VCH_OK) {
        memcpy(l->origin, c.origin.p, c.origin.n);
        l->origin[c.origin.n] = 0;
        name_hash(hash, c.origin);
        rc = vch_path(l->dir, "%s/logs/%s", l->remote->memory, hash);
        if (rc != VCH_OK) (void)vch_fail(err, rc, "the path of the memory is too long");
    }
    vch_free(note);
    return rc;
}

static vch_rc start(vch_ledger_t *l, vch_slice_t text, vch_err_t *err)
{
    bool url_known, log_known;
    VCH_TRY(learn_origin(l, text, err));
    VCH_TRY(check_url(l, &url_known, err));
    VCH_TRY(recall_log(l, &log_known, err));
    VCH_TRY(with_lock(l, text, log_known, err));
    return url_known ? VCH_OK : remember_url(l, err);
}

vch_rc rm_start(vch_ledger_t *l, vch_err_t *err)
{
    rm_ask_t a;
    vch_rc rc = fetch(l, &a, err);
    if (rc == VCH_OK) rc = start(l, vch_buf_slice(&a.answer), err);
    rm_free(&a, 1);
    if (rc != VCH_OK) {
        l->origin[0] = 0; /* nothing half-believed stays */
        l->remote->size = 0;
        vch_buf_free(&l->remote->note);
        if (l->remote->pinned[0]) {
            vch_free(l->remote->trust);
            l->remote->trust = NULL;
            l->remote->pinned[0] = 0;
        }
        return rc;
    }
    l->remote->started = l->remote->fresh = true;
    if (!l->remote->quorum) nd_note(l, "the newest checkpoint has no quorum of the trust policy's witnesses yet");
    return VCH_OK;
}

vch_rc vch_remote_head(vch_ledger_t *l, uint64_t *ret_size, vch_hash_t *ret_root, vch_buf_t *ret_note, vch_err_t *err)
{
    VCH_TRY(rm_begin(l, err));
    vch_rc rc = rm_refresh(l, err);
    if (rc == VCH_OK && ret_note) {
        rc = vch_buf_put(ret_note, l->remote->note.p, l->remote->note.n);
        if (rc != VCH_OK) (void)no_memory(err);
    }
    if (rc == VCH_OK && ret_size) *ret_size = l->remote->size;
    if (rc == VCH_OK && ret_root) *ret_root = l->remote->root;
    rm_end(l);
    return rc;
}
