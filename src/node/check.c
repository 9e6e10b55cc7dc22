/* SPDX-License-Identifier: Apache-2.0 */
/* The whole directory, read again: settings and keys, the log, the state that
 * follows from it, documents, and what other services keep.  Nothing here
 * stops at the first finding unless what comes next needs what is broken. */
#include "node/node_int.h"

#include <stdio.h>

#include "crypto/sha256.h"
#include "entry/note.h"
#include "node/custody.h"
#include "node/mirror.h"
#include "node/use.h"
#include "node/wallet_int.h"

#define BLOCK (1u << 20)
#define TAGS "gpkqdDvestCcSaramybRx"

typedef struct {
    vch_port_t *port;
    const char *dir;
    bool full, repair;
    vch_finding_fn fn;
    void *ctx;
    uint64_t count, truth;
    vch_ledger_t *l; /* a bare handle: settings only, or NULL */
    vch_file_t *lock;
    vch_hash_t network;
    bool has_network, log_good;
    vch_log_t *log;
    vch_kv_t *kv, *saved_kv;
    vch_state_t *state, *saved;
    vch_state_info_t saved_info;
    bool saved_good;
    char origin[208];
    uint8_t *block;
    vch_err_t *err;
} check_t;

static void report(check_t *c, const vch_finding_t *f)
{
    c->count++;
    if (!f->derived) c->truth++;
    if (c->fn) c->fn(c->ctx, f);
}

static void found(check_t *c, const char *file, const char *text)
{
    vch_finding_t f = {.file = file, .text = text};
    report(c, &f);
}

static void found_derived(check_t *c, const char *file, const char *text, bool repaired)
{
    vch_finding_t f = {.file = file, .derived = 1, .repaired = repaired, .text = text};
    report(c, &f);
}

/* What stops the check itself, and is not damage. */
static bool is_ours(vch_rc rc) { return rc == VCH_ERR_MEMORY || rc == VCH_ERR_IO || rc == VCH_ERR_INTERNAL; }

static vch_rc stopped(const check_t *c, vch_rc rc, const vch_err_t *why)
{
    if (c->err) *c->err = *why;
    return rc;
}

static vch_rc at(const check_t *c, char ret[VCH_PATH_MAX], const char *name)
{
    vch_rc rc = vch_path(ret, "%s/%s", c->dir, name);
    return rc == VCH_OK ? rc : vch_fail(c->err, rc, "the path %.80s… is too long", c->dir);
}

/* ---- the small files ------------------------------------------------------------------ */

static vch_rc check_settings(check_t *c)
{
    vch_err_t why = {0};
    vch_rc rc = nd_format_read(c->port, c->dir, &c->network, &why);
    if (rc == VCH_ERR_NOT_FOUND || is_ours(rc)) return stopped(c, rc, &why);
    c->has_network = rc == VCH_OK;
    if (rc != VCH_OK) found(c, "FORMAT", why.text);
    rc = nd_ledger_new(&c->l, c->port, c->dir, VCH_LEDGER_READ_ONLY, &why);
    if (is_ours(rc)) return stopped(c, rc, &why);
    if (rc != VCH_OK) found(c, "vouch.conf", why.text);
    return VCH_OK;
}

/* Nobody may write meanwhile.  On a read-only medium nobody can. */
static vch_rc lock_out(check_t *c)
{
    char path[VCH_PATH_MAX];
    uint64_t wait = c->l ? c->l->lock_wait_ms : 5000;
    VCH_TRY(at(c, path, "lock"));
    vch_rc rc = vch_file_open(c->port, &c->lock, path, VCH_OPEN_WRITE, NULL);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    if (rc == VCH_ERR_READ_ONLY) {
        VCH_TRY(vch_file_open(c->port, &c->lock, path, VCH_OPEN_READ, c->err));
        rc = c->port->disk->lock(c->port, c->lock, VCH_LOCK_SHARED, wait);
    } else if (rc == VCH_OK) {
        rc = c->port->disk->lock(c->port, c->lock, VCH_LOCK_EXCLUSIVE, wait);
    }
    return rc == VCH_OK ? rc : vch_fail(c->err, rc, "locking %s: %s", path, vch_rc_text(rc));
}

/* ---- the log -------------------------------------------------------------------------------- */

static void log_damage(void *ctx, const vch_damage_t *d)
{
    check_t *c = ctx;
    vch_finding_t f = {.file = d->file,
                       .entry = d->index,
                       .byte = d->byte,
                       .has_entry = 1,
                       .has_byte = 1,
                       .derived = d->derived,
                       .repaired = d->repaired,
                       .text = d->text};
    report(c, &f);
}

static vch_rc check_log(check_t *c)
{
    uint64_t damaged = 0, truth = c->truth;
    vch_log_options_t options = {.read_only = true};
    vch_err_t why = {0};
    vch_rc rc = vch_log_check(c->port, c->dir, c->repair, log_damage, c, &damaged, &why);
    if (is_ours(rc)) return stopped(c, rc, &why);
    if (rc != VCH_OK && c->truth == truth) found(c, "log", why.text);
    if (c->truth > truth) return VCH_OK;
    rc = vch_log_open(&c->log, c->port, c->dir, &options, NULL, &why);
    if (rc != VCH_OK) {
        found(c, "log", why.text);
        return VCH_OK;
    }
    vch_hash_t network = vch_log_network(c->log);
    c->log_good = true;
    if (c->has_network && !vch_hash_eq(&network, &c->network)) {
        found(c, "FORMAT", "names another network than the log");
        c->has_network = false; /* nobody opens this */
    }
    c->network = network;
    return VCH_OK;
}

/* ---- the state ---------------------------------------------------------------------------------- */

/* Opens what was saved, if it is still what was saved. */
static vch_rc open_saved(check_t *c)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    VCH_TRY(at(c, path, "state/data.mdb"));
    if (c->port != vch_port_real()) return VCH_OK;
    vch_rc rc = c->port->disk->stat(c->port, path, &st);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    if (rc != VCH_OK) return vch_fail(c->err, rc, "looking for %s: %s", path, vch_rc_text(rc));
    rc = nd_sum_good(c->port, c->dir) ? VCH_OK : VCH_ERR_CORRUPT;
    if (rc == VCH_OK) rc = vch_kv_open(&c->saved_kv, path, true, NULL);
    if (rc == VCH_OK) rc = vch_state_open(&c->saved, c->saved_kv, NULL);
    if (rc == VCH_ERR_MEMORY) return vch_fail(c->err, rc, "out of memory");
    c->saved_good = rc == VCH_OK;
    if (rc == VCH_OK)
        vch_state_info(c->saved, &c->saved_info);
    else
        c->saved_info.applied = UINT64_MAX;
    return VCH_OK;
}

static vch_rc load_only(void *ctx, vch_slice_t key, vch_slice_t value)
{
    (void)ctx;
    (void)key;
    (void)value; /* loading has checked it against the state tree */
    return VCH_OK;
}

/* The replayed state has reached the saved one: they must be the same. */
static void compare_saved(check_t *c)
{
    vch_state_info_t now;
    vch_state_info(c->state, &now);
    const vch_state_info_t *s = &c->saved_info;
    c->saved_good = now.height == s->height && vch_hash_eq(&now.root, &s->root) &&
                    vch_hash_eq(&now.network, &s->network) && vch_hash_eq(&now.last_commit, &s->last_commit);
    for (const char *tag = TAGS; c->full && c->saved_good && *tag; tag++)
        c->saved_good = vch_state_each(c->saved, *tag, load_only, NULL) == VCH_OK;
}

typedef struct {
    check_t *c;
    uint64_t index;
    vch_err_t why;
} replay_t;

static vch_rc replay_one(void *ctx, const vch_log_entry_t *e)
{
    replay_t *r = ctx;
    r->index = e->index;
    if (r->c->saved_good && e->index == r->c->saved_info.applied) compare_saved(r->c);
    return vch_state_replay(r->c->state, e, r->c->full, &r->why);
}

static vch_rc replay_all(check_t *c)
{
    replay_t r = {.c = c};
    uint64_t size = vch_log_size(c->log);
    VCH_TRY(vch_kv_open_memory(&c->kv, c->err));
    VCH_TRY(vch_state_open(&c->state, c->kv, c->err));
    vch_rc rc = vch_log_replay(c->log, 0, size, replay_one, &r, NULL);
    if (rc == VCH_OK) {
        if (c->saved_good && c->saved_info.applied == size) compare_saved(c);
        if (c->saved_good && c->saved_info.applied > size) c->saved_good = false;
        return VCH_OK;
    }
    if (is_ours(rc)) return vch_fail(c->err, rc, "replaying entry %llu: %s", (unsigned long long)r.index, r.why.text);
    vch_finding_t f = {.file = "log", .entry = r.index, .has_entry = 1, .text = r.why.text};
    report(c, &f);
    c->log_good = false;
    return VCH_OK;
}

static bool rebuild(check_t *c)
{
    static const char *const name[] = {"state/data.sum", "state/data.mdb", "state/data.mdb-lock"};
    char path[VCH_PATH_MAX];
    vch_ledger_t *l;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (at(c, path, name[i]) != VCH_OK || c->port->disk->remove(c->port, path) == VCH_ERR_READ_ONLY) return false;
    return vch_ledger_open_on(&l, c->port, c->dir, 0, NULL) == VCH_OK && vch_ledger_close(l, NULL) == VCH_OK;
}

/* Last of all, for mending opens the ledger. */
static void judge_saved(check_t *c)
{
    if (c->saved_info.applied == 0 || c->saved_good) return;
    bool mend = c->repair && c->log_good && c->truth == 0;
    vch_file_close(c->port, c->lock);
    c->lock = NULL;
    found_derived(c, "state/data.mdb", "it is not the state that follows from the log", mend && rebuild(c));
}

/* ---- who signs the checkpoints ---------------------------------------------------------------------- */

static bool signed_by(vch_slice_t head, const char *origin, const uint8_t key[32])
{
    vch_vkey_t vkey = {.name = vch_str(origin), .type = VCH_NOTE_ED25519};
    vch_note_t *note = vch_alloc(sizeof *note);
    memcpy(vkey.key, key, 32);
    vch_note_key_id(vkey.id, vkey.name, VCH_NOTE_ED25519, key);
    bool good = note && vch_note_get(note, head) == VCH_OK && vch_note_verify(note, &vkey, NULL) == VCH_SIG_GOOD;
    vch_free(note);
    return good;
}

/* A backup, a mirror and what was restored may do without the signing key. */
static bool is_copy(check_t *c)
{
    static const char *const mark[] = {"BACKUP", ND_RESTORED, ND_MIRROR};
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    for (size_t i = 0; i < sizeof mark / sizeof *mark; i++)
        if (at(c, path, mark[i]) == VCH_OK && c->port->disk->stat(c->port, path, &st) == VCH_OK) return true;
    return false;
}

/* Three must agree: the policy, the key file, and the last checkpoint; the
 * one that stands alone is named. */
static void judge_log_key(check_t *c, vch_slice_t head)
{
    char path[VCH_PATH_MAX];
    uint8_t trusted[32];
    vch_err_t policy = {0}, pem = {0};
    vch_signer_t *key = NULL;
    bool has_trust = nd_trust_key(c->port, c->dir, c->origin, trusted, &policy) == VCH_OK;
    if (!has_trust) found(c, "trust.policy", policy.text);
    vch_rc rc = at(c, path, "keys/log.pem");
    if (rc == VCH_OK) rc = nd_key_load(c->port, path, NULL, &key, &pem);
    if (rc != VCH_OK && !(rc == VCH_ERR_NOT_FOUND && is_copy(c))) found(c, "keys/log.pem", pem.text);
    bool by_trust = has_trust && signed_by(head, c->origin, trusted);
    bool by_key = key && vch_signer_public(key)->alg == VCH_ALG_ED25519 &&
                  signed_by(head, c->origin, vch_signer_public(key)->b + 2);
    if (key && !by_key && (by_trust || !has_trust))
        found(c, "keys/log.pem", "it is not the key that signed the last checkpoint");
    if (has_trust && !by_trust && (by_key || !key))
        found(c, "trust.policy", "its key for this log did not sign the last checkpoint");
    if (key && has_trust && !by_key && !by_trust)
        found(c, "log/head", "the last checkpoint is signed by neither trust.policy's key nor keys/log.pem");
    vch_signer_free(key);
}

static void check_log_key(check_t *c)
{
    vch_buf_t head;
    uint64_t size;
    vch_err_t why = {0};
    if (!c->log_good) return;
    if (nd_origin(c->port, c->dir, c->state, c->origin, &why) != VCH_OK) {
        found(c, "ORIGIN", why.text);
        return;
    }
    vch_buf_init(&head, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_log_head(c->log, &head, &size, &why);
    if (rc == VCH_OK)
        judge_log_key(c, vch_buf_slice(&head));
    else if (rc != VCH_ERR_NOT_FOUND)
        found(c, "log/head", why.text);
    vch_buf_free(&head);
}

/* ---- identities ------------------------------------------------------------------------------------------ */

typedef struct {
    const char *name;
    size_t n;
    bool named;
} party_t;

static vch_rc is_named(void *ctx, vch_slice_t key, vch_slice_t value)
{
    party_t *p = ctx;
    vch_party_value_t party;
    (void)key;
    if (vch_party_get(&party, value) == VCH_OK && vch_slice_eq(party.name, vch_slice(p->name, p->n))) p->named = true;
    return VCH_OK;
}

/* A key that opens but is none of its party's: a flipped seed is a good seed
 * of another key. */
static void judge_identity(check_t *c, const char *file, const char *name, size_t name_n, const vch_signer_t *s)
{
    vch_keyid_t id = vch_pubkey_id(vch_signer_public(s));
    vch_state_key_t key = vch_key_id('k', id.b);
    vch_buf_t value;
    party_t p = {name, name_n, false};
    vch_buf_init(&value, 4096);
    vch_rc rc = vch_state_get(c->state, vch_key_slice(&key), &value, NULL);
    vch_buf_free(&value);
    if (rc != VCH_ERR_NOT_FOUND || vch_state_each(c->state, 'p', is_named, &p) != VCH_OK || !p.named) return;
    found(c, file, "the ledger knows a party of this name, but not this key");
}

/* What lies behind a passphrase has only its hash to go by; *ret stays NULL. */
static vch_rc open_key(vch_slice_t file, vch_signer_t **ret, vch_err_t *err)
{
    static const char sealed[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
    vch_slice_t pem;
    bool foreign;
    VCH_TRY(nd_key_text(file, &pem, &foreign, err));
    if (foreign) return vch_fail(err, VCH_ERR_CORRUPT, "there is text before the key that is not as vouch wrote it");
    vch_rc rc = vch_signer_from_pem(ret, pem, NULL, err);
    bool encrypted = pem.n > sizeof sealed && memcmp(pem.p, sealed, sizeof sealed - 1) == 0;
    return encrypted && rc == VCH_ERR_KEY ? VCH_OK : rc;
}

static vch_rc check_identity(check_t *c, const char *name)
{
    char path[VCH_PATH_MAX], file[300];
    vch_err_t why = {0};
    vch_signer_t *s = NULL;
    vch_buf_t text;
    size_t n = strlen(name);
    (void)snprintf(file, sizeof file, "keys/%s", name);
    VCH_TRY(at(c, path, file));
    vch_buf_init(&text, 32768);
    vch_rc rc = vch_read_all(c->port, &text, path, 32768, &why);
    if (rc == VCH_OK) rc = open_key(vch_buf_slice(&text), &s, &why);
    if (text.p) vch_wipe(text.p, text.cap);
    vch_buf_free(&text);
    if (is_ours(rc)) return stopped(c, rc, &why);
    if (rc != VCH_OK) found(c, file, why.text);
    if (s && c->log_good && strcmp(name, "log.pem") != 0) judge_identity(c, file, name, n - 4, s);
    vch_signer_free(s);
    return VCH_OK;
}

static vch_rc check_wallet(check_t *c, const char *name)
{
    char path[VCH_PATH_MAX], file[300];
    vch_err_t why = {0};
    (void)snprintf(file, sizeof file, "keys/%s", name);
    VCH_TRY(at(c, path, file));
    vch_rc rc = vch__wallet_check(c->port, path, &why);
    if (is_ours(rc)) return stopped(c, rc, &why);
    if (rc != VCH_OK) found(c, file, why.text);
    return VCH_OK;
}

static vch_rc check_key_file(void *ctx, const char *name)
{
    size_t n = strlen(name);
    if (n > 4 && n <= 200 && strcmp(name + n - 4, ".pem") == 0) return check_identity(ctx, name);
    if (n > 7 && n <= 200 && strcmp(name + n - 7, ".wallet") == 0) return check_wallet(ctx, name);
    return VCH_OK;
}

/* ---- lists of checksums ------------------------------------------------------------------------------------ */

static void setting_differs(void *ctx, const char *path, vch_rc how)
{
    found(ctx, path,
          how == VCH_ERR_NOT_FOUND
              ? "it is gone since vouch wrote or accepted it; if you removed it yourself: vouch config accept"
              : "changed since vouch wrote or accepted it; if you edited it yourself: vouch config accept");
}

/* A ledger of an earlier version has no list until somebody writes to it;
 * BACKUP vouches for a backup's own files. */
static vch_rc check_settings_sums(check_t *c)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    vch_err_t why = {0};
    VCH_TRY(at(c, path, "BACKUP"));
    if (c->port->disk->stat(c->port, path, &st) == VCH_OK) return VCH_OK;
    vch_rc rc = nd_sums_check(c->port, c->dir, ND_SUMS, setting_differs, c, &why);
    if (is_ours(rc)) return stopped(c, rc, &why);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND)
        found_derived(c, ND_SUMS, "it is damaged; look at vouch.conf and trust.policy, then: vouch config accept",
                      false);
    return VCH_OK;
}

/* What somebody deleted, to save room or to keep no rows, is not missed. */
static void left_differs(void *ctx, const char *path, vch_rc how)
{
    if (how != VCH_ERR_NOT_FOUND) found(ctx, path, "changed since its run left it");
}

static vch_rc check_run_sums(void *ctx, const char *name)
{
    check_t *c = ctx;
    char file[VCH_PATH_MAX];
    vch_err_t why = {0};
    size_t n = strlen(name);
    if (n < 5 || strcmp(name + n - 5, ".sums") != 0) return VCH_OK;
    VCH_TRY(vch_path(file, "runs/%s", name));
    vch_rc rc = nd_sums_check(c->port, c->dir, file, left_differs, c, &why);
    if (is_ours(rc)) return stopped(c, rc, &why);
    if (rc != VCH_OK) found(c, file, why.text);
    return VCH_OK;
}

/* ---- documents ---------------------------------------------------------------------------------------------- */

static bool name_is_hash(const char *name, vch_hash_t *ret) { return vch_unhex(ret->b, 32, name, strlen(name)); }

static vch_rc hash_file(check_t *c, const char *path, vch_hash_t *ret)
{
    vch_file_t *file;
    vch_sha256_t sha;
    uint64_t from = 0;
    size_t got = 0;
    VCH_TRY(vch_file_open(c->port, &file, path, VCH_OPEN_READ, NULL));
    vch_sha256_init(&sha);
    vch_rc rc;
    do {
        rc = c->port->disk->read(c->port, file, &got, c->block, BLOCK, from);
        if (rc == VCH_OK) vch_sha256_add(&sha, c->block, got);
        from += got;
    } while (rc == VCH_OK && got);
    vch_file_close(c->port, file);
    if (rc == VCH_OK) vch_sha256_end(&sha, ret);
    return rc;
}

typedef struct {
    check_t *c;
    char folder[80];
} folder_t;

/* A power cut can leave a half-written file under its temporary name. */
static void stray(check_t *c, const char *file)
{
    char path[VCH_PATH_MAX];
    size_t n = strlen(file);
    bool temporary = n > 4 && strcmp(file + n - 4, ".tmp") == 0;
    bool removed =
        c->repair && temporary && at(c, path, file) == VCH_OK && c->port->disk->remove(c->port, path) == VCH_OK;
    found_derived(c, file, temporary ? "left over from a write that was cut off" : "no document has this name",
                  removed);
}

static vch_rc check_blob(void *ctx, const char *name)
{
    const folder_t *f = ctx;
    char file[VCH_PATH_MAX], path[VCH_PATH_MAX];
    vch_hash_t want, got;
    VCH_TRY(vch_path(file, "%s/%s", f->folder, name));
    VCH_TRY(at(f->c, path, file));
    if (!name_is_hash(name, &want) || strncmp(name, f->folder + 6, 2) != 0) {
        stray(f->c, file);
        return VCH_OK;
    }
    vch_rc rc = hash_file(f->c, path, &got);
    if (rc != VCH_OK)
        found(f->c, file, "it can't be read");
    else if (!vch_hash_eq(&want, &got))
        found(f->c, file, "its bytes do not have the hash that it is named by");
    return VCH_OK;
}

static vch_rc list_in(check_t *c, const char *name, vch_list_fn fn, void *ctx)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(at(c, path, name));
    vch_rc rc = c->port->disk->list(c->port, path, fn, ctx);
    if (rc == VCH_OK || rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    return vch_fail(c->err, rc, "listing %s: %s", path, vch_rc_text(rc));
}

static vch_rc check_blob_folder(void *ctx, const char *name)
{
    folder_t f = {.c = ctx};
    if (strlen(name) != 2) {
        found_derived(ctx, "blobs", "a folder that holds no documents", false);
        return VCH_OK;
    }
    memcpy(f.folder, "blobs/", 6);
    memcpy(f.folder + 6, name, 3);
    return list_in(ctx, f.folder, check_blob, &f);
}

static vch_rc check_set(void *ctx, const char *name)
{
    check_t *c = ctx;
    char file[VCH_PATH_MAX], path[VCH_PATH_MAX];
    vch_hash_t want, got;
    vch_buf_t bits;
    vch_arena_t arena;
    VCH_TRY(vch_path(file, "sets/%s", name));
    VCH_TRY(at(c, path, file));
    if (!name_is_hash(name, &want)) {
        stray(c, file);
        return VCH_OK;
    }
    vch_buf_init(&bits, 1u << 30);
    vch_arena_init(&arena, 1u << 30);
    vch_rc rc = vch_read_all(c->port, &bits, path, 1u << 30, NULL);
    if (rc == VCH_OK) rc = bits.n % VCH_BITMAP_LEAF ? VCH_ERR_FORMAT : vch_set_root(&got, bits.p, bits.n, &arena);
    if (rc != VCH_OK || !vch_hash_eq(&want, &got)) found(c, file, "its bits do not have the root that it is named by");
    vch_arena_free(&arena);
    vch_buf_free(&bits);
    return VCH_OK;
}

/* ---- what other services keep --------------------------------------------------------------------------------- */

typedef vch_rc (*vch_check_fn)(vch_ledger_t *, vch_finding_fn, void *, uint64_t *, vch_err_t *);

static const vch_check_fn services[] = {vch_custody_check, vch_decisions_check};

static void pass_on(void *ctx, const vch_finding_t *f) { report(ctx, f); }

static vch_rc check_services(check_t *c)
{
    vch_ledger_t *l;
    vch_rc rc = vch_ledger_open_on(&l, c->port, c->dir, VCH_LEDGER_READ_ONLY, c->err);
    if (rc != VCH_OK) return rc;
    bool keeps = !l->mirror; /* a mirror holds the log, no records */
    for (size_t i = 0; keeps && rc == VCH_OK && i < sizeof services / sizeof *services; i++) {
        uint64_t n = 0;
        rc = services[i](l, pass_on, c, &n, c->err);
    }
    vch_rc closed = vch_ledger_close(l, NULL);
    return rc == VCH_OK ? closed : rc;
}

/* ---- all of it ------------------------------------------------------------------------------------------------------
 */

static void check_tokens(check_t *c)
{
    vch_err_t why = {0};
    if (nd_tokens_check(c->port, c->dir, &why) != VCH_OK) found(c, "tokens", why.text);
}

static vch_rc check_all(check_t *c)
{
    VCH_TRY(check_settings(c));
    VCH_TRY(lock_out(c));
    VCH_TRY(check_log(c));
    if (c->log_good) {
        VCH_TRY(open_saved(c));
        VCH_TRY(replay_all(c));
        check_log_key(c);
    }
    VCH_TRY(check_settings_sums(c));
    check_tokens(c);
    VCH_TRY(list_in(c, "keys", check_key_file, c));
    VCH_TRY(list_in(c, "runs", check_run_sums, c));
    VCH_TRY(list_in(c, "blobs", check_blob_folder, c));
    VCH_TRY(list_in(c, "sets", check_set, c));
    if (c->log_good && c->has_network && c->l) VCH_TRY(check_services(c));
    judge_saved(c);
    return VCH_OK;
}

static void check_free(check_t *c)
{
    vch_state_free(c->saved);
    if (c->saved_kv) vch_kv_close(c->saved_kv);
    vch_state_free(c->state);
    if (c->kv) vch_kv_close(c->kv);
    vch_log_close(c->log);
    vch_file_close(c->port, c->lock);
    nd_ledger_free(c->l);
    vch_free(c->block);
}

vch_rc vch_ledger_check_on(vch_port_t *port, const char *dir, int full, int repair, vch_finding_fn fn, void *ctx,
                           uint64_t *ret_findings, vch_err_t *err)
{
    check_t c = {.port = port, .dir = dir, .full = full, .repair = repair, .fn = fn, .ctx = ctx, .err = err};
    vch_rc rc = vch_crypto_start();
    c.block = vch_alloc(BLOCK);
    if (rc == VCH_OK && !c.block) rc = vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    if (rc == VCH_OK) rc = check_all(&c);
    check_free(&c);
    if (rc != VCH_OK) return rc;
    if (ret_findings) *ret_findings = c.count;
    if (c.truth == 0) return VCH_OK;
    return vch_hint(err, vch_fail(err, VCH_ERR_CORRUPT, "%llu places are damaged", (unsigned long long)c.truth),
                    "restore the files named from a backup or a mirror");
}

vch_rc vch_ledger_check(const char *dir, int full, int repair, vch_finding_fn fn, void *ctx, uint64_t *ret_findings,
                        vch_err_t *err)
{
    return vch_ledger_check_on(vch_port_real(), dir, full, repair, fn, ctx, ret_findings, err);
}
