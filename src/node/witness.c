/* SPDX-License-Identifier: Apache-2.0 */
/* One request on its way: read strictly → which log → who signed → queue.
 * Whoever comes first leads: it judges all that queued up meanwhile, one after
 * the other against what was promised before, signs, makes them durable with
 * one sync, and only then is anything answered or remembered. */
#include "node/witness_int.h"

#include "codec/text.h"
#include "crypto/sha256.h"
#include "merkle/tree.h"
#include "node/node_int.h"

#define SMALL_FILE_MAX (4u << 20)

/* One request. */
typedef struct ask ask_t;
struct ask {
    ask_t *next;
    size_t log;
    vch_witness_ask_t body;
    vch_note_t note;
    vch_checkpoint_t checkpoint;
    int status;
    uint64_t told;  /* 409: the size */
    vch_buf_t kept; /* the note as it will be remembered, our line last */
    size_t line;    /* where our line begins in it */
    bool done;
    vch_rc rc;
    vch_err_t err;
};

struct vch_witness {
    vch_port_t *port;
    bool read_only;
    vch_file_t *lock;
    vch_signer_t *signer;
    char name[VCH_NOTE_NAME_MAX + 1], listen[256], vkey_text[VCH_NOTE_NAME_MAX + 80], said[160];
    vch_vkey_t vkey;
    vch_buf_t policy; /* what the keys borrow from */
    wt_log_t *log;
    size_t logs;
    wt_key_t *key;
    size_t keys;
    wt_file_t file;
    uint64_t seconds;      /* of the newest cosignature */
    pthread_mutex_t state; /* guards what was cosigned */
    pthread_mutex_t queue;
    pthread_cond_t moved;
    ask_t *first, *last;
    bool leader;
};

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- logs ---------------------------------------------------------------------- */

static wt_log_t *find_log(const vch_witness_t *w, vch_slice_t origin)
{
    for (size_t i = 0; i < w->logs; i++)
        if (vch_slice_eq(vch_str(w->log[i].origin), origin)) return &w->log[i];
    return NULL;
}

static vch_rc add_log(vch_witness_t *w, vch_slice_t origin, wt_log_t **ret, vch_err_t *err)
{
    wt_log_t *l = find_log(w, origin);
    if (!l) {
        if (w->logs == WT_LOGS_MAX || origin.n > VCH_NOTE_NAME_MAX)
            return vch_fail(err, VCH_ERR_LIMIT, "a witness serves at most %u logs, with names of at most %d bytes",
                            WT_LOGS_MAX, VCH_NOTE_NAME_MAX);
        l = vch_resize(w->log, (w->logs + 1) * sizeof *l);
        if (!l) return no_memory(err);
        w->log = l;
        l += w->logs++;
        *l = (wt_log_t){.any = false};
        memcpy(l->origin, origin.p, origin.n);
        vch_sha256(&l->id, origin.p, origin.n);
        vch_buf_init(&l->note, VCH_NOTE_BYTES_MAX);
    }
    *ret = l;
    return VCH_OK;
}

static bool next_line(vch_slice_t *rest, vch_slice_t *ret)
{
    if (rest->n == 0) return false;
    const uint8_t *end = memchr(rest->p, '\n', rest->n);
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    *ret = vch_slice(rest->p, n);
    *rest = vch_slice(rest->p + n + (end != NULL), rest->n - n - (end != NULL));
    return true;
}

static bool next_word(vch_slice_t *line, vch_slice_t *ret)
{
    while (line->n && (*line->p == ' ' || *line->p == '\t' || *line->p == '\r'))
        *line = vch_slice(line->p + 1, line->n - 1);
    if (line->n == 0 || *line->p == '#') return false;
    size_t n = 0;
    while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t' && line->p[n] != '\r') n++;
    *ret = vch_slice(line->p, n);
    *line = vch_slice(line->p + n, line->n - n);
    return true;
}

static vch_rc add_key(vch_witness_t *w, vch_slice_t text, vch_err_t *err)
{
    vch_vkey_t k;
    wt_log_t *l = NULL;
    if (vch_vkey_get(&k, text) != VCH_OK || k.type != VCH_NOTE_ED25519)
        return vch_fail(err, VCH_ERR_FORMAT, "\"%.*s\" is no log's verifier key (name+hash+base64, Ed25519)",
                        (int)vch_min(text.n, 100), (const char *)text.p);
    for (size_t i = 0; i < w->keys; i++)
        if (memcmp(w->key[i].vkey.key, k.key, 32) == 0)
            return vch_fail(err, VCH_ERR_FORMAT, "this public key is listed already");
    VCH_TRY(add_log(w, k.name, &l, err));
    wt_key_t *more = vch_resize(w->key, (w->keys + 1) * sizeof *more);
    if (!more) return no_memory(err);
    w->key = more;
    w->key[w->keys++] = (wt_key_t){k, (size_t)(l - w->log)};
    return VCH_OK;
}

/* "log <vkey> [url]"; the quorum line of a whole tlog-policy says nothing here. */
static vch_rc policy_line(vch_witness_t *w, vch_slice_t line, vch_err_t *err)
{
    vch_slice_t word, key;
    if (!next_word(&line, &word) || vch_slice_eq(word, vch_str("quorum"))) return VCH_OK;
    if (!vch_slice_eq(word, vch_str("log")) || !next_word(&line, &key))
        return vch_fail(err, VCH_ERR_FORMAT, "a line is \"log <vkey> [url]\" or a # comment");
    return add_key(w, key, err);
}

static vch_rc read_policy(vch_witness_t *w, const char *dir, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_slice_t rest, line;
    vch_buf_init(&w->policy, SMALL_FILE_MAX);
    if (vch_path(path, "%s/logs.policy", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    VCH_TRY(vch_read_all(w->port, &w->policy, path, SMALL_FILE_MAX, err));
    rest = vch_buf_slice(&w->policy);
    for (size_t number = 1; next_line(&rest, &line); number++) {
        vch_rc rc = policy_line(w, line, err);
        if (rc != VCH_OK) return vch_context(err, rc, "%s, line %zu", path, number);
    }
    return VCH_OK;
}

/* ---- life ------------------------------------------------------------------------- */

static vch_rc take_setting(vch_witness_t *w, vch_slice_t line, vch_err_t *err)
{
    vch_slice_t key, eq, value, more;
    if (!next_word(&line, &key)) return VCH_OK;
    bool whole = next_word(&line, &eq) && vch_slice_eq(eq, vch_str("=")) && next_word(&line, &value);
    if (!whole || next_word(&line, &more)) return vch_fail(err, VCH_ERR_FORMAT, "a line is \"key = value\"");
    bool is_name = vch_slice_eq(key, vch_str("name"));
    if (!is_name && !vch_slice_eq(key, vch_str("listen")))
        return vch_fail(err, VCH_ERR_FORMAT, "unknown key \"%.*s\"", (int)vch_min(key.n, 60), (const char *)key.p);
    char *to = is_name ? w->name : w->listen;
    if (value.n >= (is_name ? sizeof w->name : sizeof w->listen)) return vch_fail(err, VCH_ERR_LIMIT, "too long");
    memcpy(to, value.p, value.n);
    to[value.n] = 0;
    return VCH_OK;
}

static vch_rc read_conf(vch_witness_t *w, const char *dir, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_slice_t rest, line;
    vch_buf_t text;
    if (vch_path(path, "%s/witness.conf", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_buf_init(&text, SMALL_FILE_MAX);
    vch_rc rc = vch_read_all(w->port, &text, path, SMALL_FILE_MAX, err);
    if (rc != VCH_OK) rc = vch_hint(err, rc, "make one with: vouch witness init %.300s --name NAME", dir);
    rest = vch_buf_slice(&text);
    for (size_t number = 1; rc == VCH_OK && next_line(&rest, &line); number++) {
        rc = take_setting(w, line, err);
        if (rc != VCH_OK) (void)vch_context(err, rc, "%s, line %zu", path, number);
    }
    vch_buf_free(&text);
    if (rc == VCH_OK && !w->name[0]) rc = vch_fail(err, VCH_ERR_FORMAT, "%s names no witness", path);
    return rc;
}

static vch_rc put_vkey(vch_witness_t *w, vch_err_t *err)
{
    vch_buf_t b;
    if (vch_signer_public(w->signer)->alg != VCH_ALG_ED25519)
        return vch_fail(err, VCH_ERR_KEY, "witness.pem is no Ed25519 key");
    vch_buf_init(&b, sizeof w->vkey_text - 1);
    vch_rc rc = vch_vkey_put(&b, w->name, VCH_NOTE_COSIG_ED25519, vch_signer_public(w->signer)->b + 2);
    if (rc == VCH_OK) {
        memcpy(w->vkey_text, b.p, b.n);
        w->vkey_text[b.n] = 0;
        rc = vch_vkey_get(&w->vkey, vch_str(w->vkey_text));
    }
    vch_buf_free(&b);
    if (rc == VCH_OK) return rc;
    return vch_fail(err, rc, "\"%.100s\" can't name a witness: no spaces, no +, at most %d bytes", w->name,
                    VCH_NOTE_NAME_MAX);
}

static vch_rc read_key(vch_witness_t *w, const char *dir, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    if (vch_path(path, "%s/witness.pem", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    VCH_TRY(nd_key_load(w->port, path, NULL, &w->signer, err));
    return put_vkey(w, err);
}

/* What the file says was cosigned. */
static vch_rc remember(void *ctx, vch_slice_t bytes, vch_err_t *err)
{
    vch_witness_t *w = ctx;
    vch_note_t note;
    vch_checkpoint_t c;
    wt_log_t *l = NULL;
    uint64_t seconds = 0;
    if (vch_note_get(&note, bytes) != VCH_OK || vch_checkpoint_get(&c, note.text) != VCH_OK ||
        vch_note_verify(&note, &w->vkey, &seconds) != VCH_SIG_GOOD)
        return vch_fail(err, VCH_ERR_CORRUPT, "cosigned holds a checkpoint that this witness did not sign");
    VCH_TRY(add_log(w, c.origin, &l, err));
    vch_buf_clear(&l->note);
    if (vch_buf_put(&l->note, bytes.p, bytes.n) != VCH_OK) return no_memory(err);
    l->any = true;
    l->size = c.size;
    l->root = c.root;
    if (seconds > w->seconds) w->seconds = seconds;
    return VCH_OK;
}

static vch_rc compact(vch_witness_t *w, vch_err_t *err)
{
    size_t n = 0;
    vch_slice_t *note = vch_alloc_array(w->logs + 1, sizeof *note);
    if (!note) return no_memory(err);
    for (size_t i = 0; i < w->logs; i++)
        if (w->log[i].any) note[n++] = vch_buf_slice(&w->log[i].note);
    vch_rc rc = wt_file_rewrite(&w->file, w->vkey.key, note, n, err);
    vch_free(note);
    return rc;
}

static vch_rc read_cosigned(vch_witness_t *w, const char *dir, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    uint64_t unfinished = 0, mended = 0;
    vch_buf_t said;
    if (vch_path(path, "%s/cosigned", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    VCH_TRY(wt_file_open(&w->file, w->port, path, !w->read_only, w->vkey.key, remember, w, &unfinished, &mended, err));
    if (w->read_only || (unfinished == 0 && mended == 0)) return VCH_OK;
    vch_buf_init(&said, sizeof w->said - 1);
    vch_rc rc = vch_buf_printf(&said, "cosigned: %llu bytes of an unfinished record cut off, %llu records mended",
                               (unsigned long long)unfinished, (unsigned long long)mended);
    if (rc == VCH_OK) memcpy(w->said, said.p, said.n);
    vch_buf_free(&said);
    return compact(w, err);
}

static vch_rc take_lock(vch_witness_t *w, const char *dir, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    if (w->read_only) return VCH_OK;
    if (vch_path(path, "%s/lock", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    VCH_TRY(vch_file_open(w->port, &w->lock, path, VCH_OPEN_CREATE, err));
    vch_rc rc = w->port->disk->lock(w->port, w->lock, VCH_LOCK_EXCLUSIVE, 0);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "another process serves the witness in %s", dir);
}

static vch_rc open_all(vch_witness_t *w, const char *dir, vch_err_t *err)
{
    VCH_TRY(read_conf(w, dir, err));
    VCH_TRY(take_lock(w, dir, err));
    VCH_TRY(read_key(w, dir, err));
    VCH_TRY(read_policy(w, dir, err));
    return read_cosigned(w, dir, err);
}

vch_rc vch_witness_open_on(vch_witness_t **ret, vch_port_t *port, const char *dir, bool read_only, vch_err_t *err)
{
    vch_witness_t *w = vch_alloc(sizeof *w);
    if (!w) return no_memory(err);
    w->port = port;
    w->read_only = read_only;
    (void)pthread_mutex_init(&w->state, NULL);
    (void)pthread_mutex_init(&w->queue, NULL);
    (void)pthread_cond_init(&w->moved, NULL);
    vch_rc rc = open_all(w, dir, err);
    if (rc == VCH_OK)
        *ret = w;
    else
        vch_witness_close(w);
    return rc;
}

void vch_witness_close(vch_witness_t *w)
{
    if (!w) return;
    wt_file_close(&w->file);
    for (size_t i = 0; i < w->logs; i++) vch_buf_free(&w->log[i].note);
    vch_free(w->log);
    vch_free(w->key);
    vch_buf_free(&w->policy);
    vch_signer_free(w->signer);
    if (w->lock) {
        w->port->disk->unlock(w->port, w->lock);
        vch_file_close(w->port, w->lock);
    }
    (void)pthread_mutex_destroy(&w->state);
    (void)pthread_mutex_destroy(&w->queue);
    (void)pthread_cond_destroy(&w->moved);
    vch_free(w);
}

const char *vch_witness_vkey(const vch_witness_t *w) { return w->vkey_text; }
const char *vch_witness_listen(const vch_witness_t *w) { return w->listen; }
const char *vch_witness_note(const vch_witness_t *w) { return w->said; }

/* ---- a new one ---------------------------------------------------------------------- */

static vch_rc write_text(vch_port_t *port, const char *dir, const char *name, vch_buf_t *text, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    if (vch_path(path, "%s/%s", dir, name) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    return vch_write_atomic(port, path, vch_buf_slice(text), 0644, err);
}

static vch_rc init_policy(vch_witness_t *w, const char *dir, const char *const *log, size_t logs, vch_err_t *err)
{
    vch_buf_t text;
    vch_buf_init(&text, SMALL_FILE_MAX);
    vch_rc rc = vch_buf_printf(&text, "# Logs to serve, one a line: log <vkey> [url]\n");
    for (size_t i = 0; rc == VCH_OK && i < logs; i++) {
        rc = add_key(w, vch_str(log[i]), err);
        if (rc == VCH_OK) rc = vch_buf_printf(&text, "log %s\n", log[i]);
    }
    if (rc == VCH_OK) rc = vch_buf_printf(&text, "quorum none\n");
    if (rc == VCH_OK) rc = write_text(w->port, dir, "logs.policy", &text, err);
    vch_buf_free(&text);
    return nd_told(rc, err);
}

static vch_rc init_conf(vch_witness_t *w, const char *dir, vch_err_t *err)
{
    vch_buf_t text;
    vch_buf_init(&text, 4096);
    vch_rc rc = vch_buf_printf(&text, "name = %s\nlisten = 127.0.0.1:7118\n", w->name);
    if (rc == VCH_OK) rc = write_text(w->port, dir, "witness.conf", &text, err);
    vch_buf_free(&text);
    return nd_told(rc, err);
}

/* A key of an attempt that broke off has signed nothing yet: it is taken. */
static vch_rc init_key(vch_witness_t *w, const char *dir, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    if (vch_path(path, "%s/witness.pem", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    bool there = w->port->disk->stat(w->port, path, &st) == VCH_OK;
    VCH_TRY(there ? nd_key_load(w->port, path, NULL, &w->signer, err)
                  : nd_key_make(w->port, path, "ed25519", NULL, &w->signer, err));
    return put_vkey(w, err);
}

/* witness.conf comes last: without it there is no witness. */
static vch_rc init_all(vch_witness_t *w, const char *dir, const char *const *log, size_t logs, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    if (vch_path(path, "%s/witness.conf", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    if (w->port->disk->stat(w->port, path, &st) == VCH_OK)
        return vch_hint(err, vch_fail(err, VCH_ERR_CONFLICT, "%s holds a witness already", dir),
                        "more logs are lines in its logs.policy");
    if (vch_path(path, "%s/cosigned", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    VCH_TRY(vch_mkdirs(w->port, dir, err));
    VCH_TRY(init_policy(w, dir, log, logs, err));
    VCH_TRY(init_key(w, dir, err));
    VCH_TRY(wt_file_create(w->port, path, w->vkey.key, err));
    return init_conf(w, dir, err);
}

/* The name is tried before anything is written. */
static vch_rc check_name(const char *name, vch_err_t *err)
{
    const uint8_t key[32] = {1};
    vch_buf_t b;
    vch_buf_init(&b, 1024);
    vch_rc rc = vch_vkey_put(&b, name, VCH_NOTE_COSIG_ED25519, key);
    vch_buf_free(&b);
    if (rc == VCH_OK && name[0] != '#') return rc;
    return vch_fail(err, VCH_ERR_USAGE, "\"%.100s\" can't name a witness: no spaces, no +, at most %d bytes", name,
                    VCH_NOTE_NAME_MAX);
}

vch_rc vch_witness_init_on(vch_port_t *port, const char *dir, const char *name, const char *const *log, size_t logs,
                           vch_err_t *err)
{
    VCH_TRY(check_name(name, err));
    vch_witness_t *w = vch_alloc(sizeof *w);
    if (!w) return no_memory(err);
    w->port = port;
    memcpy(w->name, name, strlen(name) + 1);
    (void)pthread_mutex_init(&w->state, NULL);
    (void)pthread_mutex_init(&w->queue, NULL);
    (void)pthread_cond_init(&w->moved, NULL);
    vch_rc rc = vch_crypto_start();
    rc = rc == VCH_OK ? init_all(w, dir, log, logs, err) : vch_fail(err, rc, "the cryptography library did not start");
    vch_witness_close(w);
    return rc;
}

/* ---- one request ----------------------------------------------------------------------- */

/* Every trusted signature of this origin that stands there must be good, and at
 * least one must stand there (tlog-witness, "add-checkpoint"). */
static int judge_signatures(const vch_witness_t *w, const ask_t *a)
{
    bool good = false;
    for (size_t i = 0; i < w->keys; i++) {
        if (w->key[i].log != a->log) continue;
        vch_sig_state_t state = vch_note_verify(&a->note, &w->key[i].vkey, NULL);
        if (state == VCH_SIG_BAD) return 403;
        good = good || state == VCH_SIG_GOOD;
    }
    return good ? 200 : 403;
}

static bool is_served(const vch_witness_t *w, size_t log)
{
    for (size_t i = 0; i < w->keys; i++)
        if (w->key[i].log == log) return true;
    return false;
}

/* What can be said without knowing what was cosigned; 200: the rest decides. */
static int judge_alone(const vch_witness_t *w, vch_slice_t body, ask_t *a)
{
    if (vch_witness_ask_get(&a->body, body) != VCH_OK || vch_note_get(&a->note, a->body.note) != VCH_OK ||
        vch_checkpoint_get(&a->checkpoint, a->note.text) != VCH_OK)
        return 400;
    const wt_log_t *l = find_log(w, a->checkpoint.origin);
    if (!l || !is_served(w, (size_t)(l - w->log))) return 404;
    a->log = (size_t)(l - w->log);
    int status = judge_signatures(w, a);
    if (status != 200) return status;
    return a->body.old > a->checkpoint.size ? 400 : 200;
}

/* Where a log stands when earlier requests of the batch count. */
typedef struct {
    bool any;
    uint64_t size;
    vch_hash_t root;
} stand_t;

static stand_t stand_of(const vch_witness_t *w, const ask_t *list, const ask_t *a)
{
    const wt_log_t *l = &w->log[a->log];
    stand_t s = {l->any, l->any ? l->size : 0, l->root};
    for (const ask_t *b = list; b != a; b = b->next)
        if (b->log == a->log && b->status == 200) s = (stand_t){true, b->checkpoint.size, b->checkpoint.root};
    return s;
}

static int judge_history(const stand_t *s, ask_t *a)
{
    const vch_checkpoint_t *c = &a->checkpoint;
    const vch_witness_ask_t *b = &a->body;
    vch_hash_t empty;
    a->told = s->size;
    vch_tree_empty(&empty);
    if (b->old != s->size) return 409;
    if (c->size == 0 && !vch_hash_eq(&c->root, &empty)) return 422;
    if (b->old == 0 || b->old == c->size) {
        bool same = !s->any || b->old == 0 || vch_hash_eq(&s->root, &c->root);
        return b->n == 0 && same ? 200 : 422;
    }
    return vch_consistency_verify(b->old, c->size, &s->root, &c->root, b->path, b->n) ? 200 : 422;
}

/* Text, the log's signatures that were verified, our own. */
static vch_rc build_note(const vch_witness_t *w, ask_t *a, uint64_t seconds)
{
    vch_buf_init(&a->kept, VCH_NOTE_BYTES_MAX);
    VCH_TRY(vch_buf_put(&a->kept, a->note.text.p, a->note.text.n));
    VCH_TRY(vch_buf_u8(&a->kept, '\n'));
    for (size_t i = 0; i < a->note.sigs; i++) {
        const vch_note_sig_t *s = &a->note.sig[i];
        bool counts = false;
        for (size_t k = 0; k < w->keys && !counts; k++)
            counts = w->key[k].log == a->log && memcmp(w->key[k].vkey.id, s->id, 4) == 0 &&
                     vch_slice_eq(w->key[k].vkey.name, s->name);
        if (!counts) continue;
        VCH_TRY(vch_buf_printf(&a->kept, "\xe2\x80\x94 %.*s %.*s\n", (int)s->name.n, (const char *)s->name.p,
                               (int)s->blob_base64.n, (const char *)s->blob_base64.p));
    }
    a->line = a->kept.n;
    return vch_note_cosign(&a->kept, a->note.text, w->name, w->signer, seconds);
}

/* Time never goes back, and never is 0 (tlog-witness). */
static vch_rc now(const vch_witness_t *w, uint64_t *ret, vch_err_t *err)
{
    uint64_t seconds = w->port->clock->wall_ms(w->port) / 1000;
    if (seconds < w->seconds) seconds = w->seconds;
    if (seconds == 0) return vch_fail(err, VCH_ERR_CLOCK, "the clock stands at zero");
    *ret = seconds;
    return VCH_OK;
}

static void judge_one(vch_witness_t *w, const ask_t *list, ask_t *a, uint64_t seconds)
{
    stand_t s = stand_of(w, list, a);
    a->status = judge_history(&s, a);
    if (a->status != 200) return;
    a->rc = build_note(w, a, seconds);
    if (a->rc == VCH_OK) return;
    a->status = a->rc == VCH_ERR_LIMIT ? 400 : 500;
    if (a->rc == VCH_ERR_LIMIT) a->rc = VCH_OK; /* no room for our line under so long a text */
    if (a->rc != VCH_OK) (void)vch_fail(&a->err, a->rc, "cosigning: %s", vch_rc_text(a->rc));
}

/* ---- a batch --------------------------------------------------------------------------- */

static vch_rc make_durable(vch_witness_t *w, const ask_t *list, vch_err_t *err)
{
    vch_slice_t note[WT_BATCH_MAX];
    size_t n = 0;
    for (const ask_t *a = list; a; a = a->next)
        if (a->status == 200) note[n++] = vch_buf_slice(&a->kept);
    return n ? wt_file_append(&w->file, note, n, err) : VCH_OK;
}

static void commit(vch_witness_t *w, ask_t *list, uint64_t seconds)
{
    pthread_mutex_lock(&w->state);
    for (ask_t *a = list; a; a = a->next) {
        if (a->status != 200) continue;
        wt_log_t *l = &w->log[a->log];
        vch_buf_clear(&l->note);
        /* No memory: what is shown is older than what is remembered. */
        if (vch_buf_put(&l->note, a->kept.p, a->kept.n) != VCH_OK) w->file.poisoned = true;
        l->any = true;
        l->size = a->checkpoint.size;
        l->root = a->checkpoint.root;
        w->seconds = seconds;
    }
    pthread_mutex_unlock(&w->state);
}

static void run_batch(vch_witness_t *w, ask_t *list)
{
    uint64_t seconds = 0;
    vch_err_t why = {0};
    vch_rc rc = now(w, &seconds, &why);
    for (ask_t *a = list; a && rc == VCH_OK; a = a->next) judge_one(w, list, a, seconds);
    if (rc == VCH_OK) rc = make_durable(w, list, &why);
    if (rc == VCH_OK) {
        commit(w, list, seconds);
        /* A file that can't be made smaller goes on growing; nothing is lost. */
        if (w->file.end > w->file.compact_bytes && !w->file.poisoned) (void)compact(w, NULL);
        return;
    }
    for (ask_t *a = list; a; a = a->next) {
        a->rc = rc;
        a->err = why;
    }
}

/* At most WT_BATCH_MAX of those that wait. */
static ask_t *take_batch(vch_witness_t *w)
{
    ask_t *list = w->first, *end = list;
    for (unsigned n = 1; n < WT_BATCH_MAX && end->next; n++) end = end->next;
    w->first = end->next;
    if (!w->first) w->last = NULL;
    end->next = NULL;
    return list;
}

static void lead(vch_witness_t *w)
{
    w->leader = true;
    ask_t *list = take_batch(w);
    pthread_mutex_unlock(&w->queue);
    run_batch(w, list);
    pthread_mutex_lock(&w->queue);
    for (ask_t *a = list, *next; a; a = next) {
        next = a->next; /* a request may vanish as soon as it is done */
        a->done = true;
    }
    w->leader = false;
    pthread_cond_broadcast(&w->moved);
}

static void wait_for(vch_witness_t *w, ask_t *a)
{
    pthread_mutex_lock(&w->queue);
    if (w->last)
        w->last->next = a;
    else
        w->first = a;
    w->last = a;
    while (!a->done) {
        if (w->leader)
            pthread_cond_wait(&w->moved, &w->queue);
        else
            lead(w);
    }
    pthread_mutex_unlock(&w->queue);
}

static vch_rc answer(const ask_t *a, int *ret_status, vch_buf_t *ret, vch_err_t *err)
{
    vch_rc rc = a->rc;
    if (rc != VCH_OK) {
        if (err) *err = a->err;
        return rc;
    }
    if (a->status == 200) rc = vch_buf_put(ret, a->kept.p + a->line, a->kept.n - a->line);
    if (a->status == 409) rc = vch_buf_printf(ret, "%llu\n", (unsigned long long)a->told);
    if (rc != VCH_OK) return vch_fail(err, rc, "answering: %s", vch_rc_text(rc));
    *ret_status = a->status;
    return VCH_OK;
}

vch_rc vch_witness_add(vch_witness_t *w, vch_slice_t body, int *ret_status, vch_buf_t *ret, vch_err_t *err)
{
    if (w->read_only) return vch_fail(err, VCH_ERR_READ_ONLY, "the witness was opened for looking only");
    ask_t *a = vch_alloc(sizeof *a);
    if (!a) return no_memory(err);
    a->status = judge_alone(w, body, a);
    if (a->status == 200) wait_for(w, a);
    vch_rc rc = answer(a, ret_status, ret, err);
    vch_buf_free(&a->kept);
    vch_free(a);
    return rc;
}

void vch_witness__compact_at(vch_witness_t *w, uint64_t bytes) { w->file.compact_bytes = bytes; }

/* ---- looking ------------------------------------------------------------------------------- */

vch_rc vch_witness_latest(vch_witness_t *w, const vch_hash_t *origin, vch_buf_t *ret, vch_err_t *err)
{
    vch_rc rc = VCH_ERR_NOT_FOUND;
    pthread_mutex_lock(&w->state);
    for (size_t i = 0; i < w->logs; i++)
        if (w->log[i].any && vch_hash_eq(&w->log[i].id, origin))
            rc = vch_buf_put(ret, w->log[i].note.p, w->log[i].note.n);
    pthread_mutex_unlock(&w->state);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "nothing of such a log was cosigned here");
    return rc == VCH_OK ? rc : vch_fail(err, rc, "no memory for a checkpoint");
}

void vch_witness_list(vch_witness_t *w, vch_witnessed_fn fn, void *ctx)
{
    pthread_mutex_lock(&w->state);
    for (size_t i = 0; i < w->logs; i++) {
        const wt_log_t *l = &w->log[i];
        vch_witnessed_t one = {.origin = l->origin, .id = l->id, .served = is_served(w, i), .any = l->any};
        vch_note_t note;
        if (l->any && vch_note_get(&note, vch_buf_slice(&l->note)) == VCH_OK)
            (void)vch_note_verify(&note, &w->vkey, &one.seconds);
        one.size = l->size;
        fn(ctx, &one);
    }
    pthread_mutex_unlock(&w->state);
}
