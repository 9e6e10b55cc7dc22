/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a directory: settings, log with its recovery, index, state, keys.
 *
 * The index (state/data.mdb) is derived.  A handle holds state/lock shared
 * while it reads the index; only who can have it exclusively saves, so the
 * index never changes under a reader, which keeps its own overlay on top.
 * state/data.sum tells whether the file is still what was saved; a file that
 * is not is never handed to LMDB, but made again from the log. */
#include "node/mirror.h"
#include "node/node_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "entry/note.h"
#include "merkle/tree.h"

#define FORMAT_VERSION 1u

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

vch_rc vch_ledger_path(const vch_ledger_t *l, char ret[VCH_PATH_MAX], const char *fmt, ...)
{
    char name[VCH_PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof name) return VCH_ERR_LIMIT;
    return vch_path(ret, "%s/%s", l->dir, name);
}

void nd_note(vch_ledger_t *l, const char *fmt, ...)
{
    char *note = l->opened.note;
    size_t used = strlen(note), room = sizeof l->opened.note - used;
    va_list ap;
    if (used && room > 3) {
        memcpy(note + used, "; ", 3);
        used += 2;
        room -= 2;
    }
    va_start(ap, fmt);
    vsnprintf(note + used, room, fmt, ap);
    va_end(ap);
}

/* ---- FORMAT ------------------------------------------------------------------------ */

/* As it was written, in small letters. */
static bool hex_get(vch_hash_t *ret, const char *hex)
{
    char again[65];
    if (!vch_unhex(ret->b, 32, hex, 64)) return false;
    vch_hex(again, ret->b, 32);
    return memcmp(again, hex, 64) == 0;
}

static vch_rc format_parse(vch_slice_t text, vch_hash_t *ret_network, vch_err_t *err)
{
    static const char version[] = "vouchsafe ", network[] = "\nnetwork ";
    const size_t v = sizeof version - 1, n = sizeof network - 1;
    const uint8_t *end = text.n ? memchr(text.p, '\n', text.n) : NULL;
    if (text.n < v || memcmp(text.p, version, v) != 0 || !end)
        return vch_fail(err, VCH_ERR_CORRUPT, "FORMAT, byte 0: this is not a ledger's FORMAT file");
    size_t digits = (size_t)(end - text.p) - v;
    if (digits != 1 || text.p[v] != '0' + FORMAT_VERSION)
        return vch_hint(err,
                        vch_fail(err, VCH_ERR_VERSION, "FORMAT names version %.*s; this program knows version %u",
                                 (int)vch_min(digits, 20), (const char *)text.p + v, FORMAT_VERSION),
                        "use a newer program");
    size_t at = v + 1;
    if (text.n != at + n + 64 + 1 || memcmp(text.p + at, network, n) != 0 || text.p[text.n - 1] != '\n' ||
        !hex_get(ret_network, (const char *)text.p + at + n))
        return vch_fail(err, VCH_ERR_CORRUPT, "FORMAT, byte %zu: the network's id is damaged", at);
    return VCH_OK;
}

vch_rc nd_format_read(vch_port_t *port, const char *dir, vch_hash_t *ret_network, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t text;
    if (vch_path(path, "%s/FORMAT", dir) != VCH_OK)
        return vch_fail(err, VCH_ERR_LIMIT, "the path %.80s… is too long", dir);
    vch_buf_init(&text, 4096);
    vch_rc rc = vch_read_all(port, &text, path, 4096, err);
    if (rc == VCH_ERR_NOT_FOUND)
        rc = vch_hint(err, vch_fail(err, rc, "%s holds no ledger", dir),
                      "make one with vouch init, or name another folder");
    else if (rc == VCH_OK)
        rc = format_parse(vch_buf_slice(&text), ret_network, err);
    vch_buf_free(&text);
    return rc;
}

/* ---- the handle ------------------------------------------------------------------------ */

static vch_rc read_conf(vch_ledger_t *l, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t text;
    if (vch_ledger_path(l, path, "vouch.conf") != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_buf_init(&text, ND_SMALL_FILE_MAX);
    vch_rc rc = vch_read_all(l->port, &text, path, ND_SMALL_FILE_MAX, err);
    if (rc == VCH_OK) rc = nd_conf_read(l, vch_buf_slice(&text), err);
    if (rc == VCH_ERR_NOT_FOUND) rc = VCH_OK; /* no file: the defaults */
    vch_buf_free(&text);
    return rc;
}

static void inside_init(vch_inside_t *in)
{
    pthread_mutex_init(&in->queue_mutex, NULL);
    pthread_cond_init(&in->queue_moved, NULL);
    pthread_mutex_init(&in->objects.mutex, NULL);
    pthread_mutex_init(&in->witnesses.mutex, NULL);
    memcpy(in->keys, "keys", 5);
}

vch_rc nd_ledger_bare(vch_ledger_t **ret, vch_port_t *port, vch_err_t *err)
{
    vch_ledger_t *l = vch_alloc(sizeof *l);
    vch_inside_t *in = vch_alloc(sizeof *in);
    nd_signatures_t *signatures = nd_signatures_new(port);
    if (!l || !in || !signatures) {
        vch_free(l);
        vch_free(in);
        nd_signatures_free(signatures);
        return no_memory(err);
    }
    in->signatures = signatures;
    in->save_bytes = ND_SAVE_BYTES;
    l->port = port;
    l->in = in;
    pthread_mutex_init(&l->mutex, NULL);
    inside_init(in);
    *ret = l;
    return VCH_OK;
}

vch_rc nd_ledger_new(vch_ledger_t **ret, vch_port_t *port, const char *dir, unsigned flags, vch_err_t *err)
{
    vch_ledger_t *l = NULL;
    VCH_TRY(nd_ledger_bare(&l, port, err));
    l->flags = flags;
    vch_rc rc = vch_path(l->dir, "%s", dir);
    if (rc != VCH_OK) (void)vch_fail(err, rc, "the path %.80s… is too long", dir);
    if (rc == VCH_OK) rc = nd_conf_read(l, vch_str(nd_conf_default), err);
    if (rc == VCH_OK) rc = read_conf(l, err);
    if (rc != VCH_OK) {
        nd_ledger_free(l);
        return rc;
    }
    *ret = l;
    return VCH_OK;
}

void nd_ledger_free(vch_ledger_t *l)
{
    if (!l) return;
    nd_remote_free(l);
    nd_save_wait(l);
    vch_state_free(l->state);
    if (l->kv) vch_kv_close(l->kv);
    vch_log_close(l->log);
    vch_signer_free(l->log_key);
    vch_file_close(l->port, l->in->state_lock);
    vch_file_close(l->port, l->lock_file);
    nd_objects_free(l);
    nd_signatures_free(l->in->signatures);
    vch_free(l->in->witnesses.one);
    pthread_mutex_destroy(&l->in->witnesses.mutex);
    pthread_mutex_destroy(&l->in->objects.mutex);
    pthread_cond_destroy(&l->in->queue_moved);
    pthread_mutex_destroy(&l->in->queue_mutex);
    pthread_mutex_destroy(&l->mutex);
    vch_free(l->in);
    vch_free(l);
}

/* ---- the index file and its sum ------------------------------------------------------------ */

static vch_rc sum_file(vch_port_t *port, vch_file_t *file, uint8_t *block, size_t block_n, vch_buf_t *ret)
{
    uint32_t crc = 0;
    uint64_t at = 0;
    size_t got;
    do {
        VCH_TRY(port->disk->read(port, file, &got, block, block_n, at));
        crc = vch_crc32c(crc, block, got);
        at += got;
    } while (got);
    return vch_buf_printf(ret, "crc32c %08x size %llu\n", crc, (unsigned long long)at);
}

vch_rc nd_sum_make(vch_port_t *port, const char *dir, vch_buf_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_file_t *file;
    const size_t block_n = 1u << 20;
    if (vch_path(path, "%s/state/data.mdb", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    uint8_t *block = vch_alloc(block_n);
    if (!block) return no_memory(err);
    vch_rc rc = vch_file_open(port, &file, path, VCH_OPEN_READ, err);
    if (rc == VCH_OK) {
        rc = sum_file(port, file, block, block_n, ret);
        if (rc != VCH_OK) (void)vch_fail(err, rc, "reading state/data.mdb: %s", vch_rc_text(rc));
        vch_file_close(port, file);
    }
    vch_free(block);
    return rc;
}

bool nd_sum_good(vch_port_t *port, const char *dir)
{
    char path[VCH_PATH_MAX];
    vch_buf_t want, got;
    vch_buf_init(&want, 128);
    vch_buf_init(&got, 128);
    bool good = vch_path(path, "%s/state/data.sum", dir) == VCH_OK &&
                vch_read_all(port, &want, path, 128, NULL) == VCH_OK && nd_sum_make(port, dir, &got, NULL) == VCH_OK &&
                vch_slice_eq(vch_buf_slice(&want), vch_buf_slice(&got));
    vch_buf_free(&want);
    vch_buf_free(&got);
    return good;
}

static vch_rc sum_write(vch_ledger_t *l, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t sum;
    vch_buf_init(&sum, 128);
    vch_rc rc = vch_ledger_path(l, path, "state/data.sum");
    if (rc == VCH_OK) rc = nd_sum_make(l->port, l->dir, &sum, err);
    if (rc == VCH_OK) rc = vch_write_atomic(l->port, path, vch_buf_slice(&sum), 0600, err);
    vch_buf_free(&sum);
    return rc;
}

static vch_rc lock_state(vch_ledger_t *l, vch_lock_t how, uint64_t wait_ms)
{
    return l->port->disk->lock(l->port, l->in->state_lock, how, wait_ms);
}

static bool may_save(const vch_ledger_t *l, const vch_state_info_t *info)
{
    return !l->kv_in_memory && !(l->flags & VCH_LEDGER_READ_ONLY) && !info->open_count && info->applied != l->saved_at;
}

static vch_rc save_inside(vch_ledger_t *l, uint64_t applied, vch_err_t *err)
{
    VCH_TRY(vch_state_save(l->state, err));
    VCH_TRY(sum_write(l, err));
    l->saved_at = applied;
    return VCH_OK;
}

vch_rc nd_save(vch_ledger_t *l, vch_err_t *err)
{
    vch_state_info_t info;
    nd_save_wait(l);
    vch_state_info(l->state, &info);
    if (!may_save(l, &info)) return VCH_OK;
    vch_rc rc = lock_state(l, VCH_LOCK_EXCLUSIVE, 0);
    if (rc == VCH_ERR_LOCKED) return VCH_OK; /* others read the index: the last of them saves */
    if (rc != VCH_OK) return vch_fail(err, rc, "locking state/lock: %s", vch_rc_text(rc));
    rc = save_inside(l, info.applied, err);
    vch_rc back = lock_state(l, VCH_LOCK_SHARED, 0);
    if (rc == VCH_OK && back != VCH_OK) rc = vch_fail(err, back, "unlocking state/lock: %s", vch_rc_text(back));
    return rc;
}

/* ---- saving beside the writers -----------------------------------------------------------------
 * What changed is frozen under the mutex, which takes no time; a thread of its
 * own writes it to the index and lets others read that again.  Whoever saves
 * next, or closes, takes note of how it went. */

static void *save_beside(void *ctx)
{
    vch_ledger_t *l = ctx;
    nd_saver_t *s = &l->in->saver;
    s->rc = vch_state_save_frozen(l->state, NULL);
    if (s->rc == VCH_OK) s->rc = sum_write(l, NULL);
    vch_rc back = lock_state(l, VCH_LOCK_SHARED, 0);
    if (s->rc == VCH_OK) s->rc = back;
    atomic_store(&s->done, true);
    return NULL;
}

void nd_save_wait(vch_ledger_t *l)
{
    nd_saver_t *s = &l->in->saver;
    if (!s->running) return;
    pthread_join(s->thread, NULL);
    s->running = false;
    if (s->rc != VCH_OK) return; /* still frozen: the next save takes it along */
    vch_state_drop_frozen(l->state);
    l->saved_at = s->applied;
}

static bool saver_start(vch_ledger_t *l, uint64_t applied)
{
    nd_saver_t *s = &l->in->saver;
    if (!vch_state_is_frozen(l->state)) {
        if (vch_state_freeze(l->state, NULL) != VCH_OK) return false;
        s->applied = applied;
    }
    atomic_store(&s->done, false);
    s->running = pthread_create(&s->thread, NULL, save_beside, l) == 0;
    return s->running;
}

void nd_save_beside(vch_ledger_t *l)
{
    vch_state_info_t info;
    nd_saver_t *s = &l->in->saver;
    size_t dirty = vch_state_dirty(l->state);
    if (s->running && (atomic_load(&s->done) || dirty >= ND_SAVE_BYTES_MOST)) nd_save_wait(l);
    if (s->running || dirty < l->in->save_bytes) return;
    vch_state_info(l->state, &info);
    if (!may_save(l, &info) || lock_state(l, VCH_LOCK_EXCLUSIVE, 0) != VCH_OK) return;
    if (!saver_start(l, info.applied)) (void)lock_state(l, VCH_LOCK_SHARED, 0); /* the next block tries again */
}

/* ---- opening the index ------------------------------------------------------------------------ */

static vch_rc use_memory(vch_ledger_t *l, vch_err_t *err)
{
    if (l->kv) vch_kv_close(l->kv);
    l->kv = NULL;
    VCH_TRY(vch_kv_open_memory(&l->kv, err));
    l->kv_in_memory = true;
    return VCH_OK;
}

static vch_rc open_state_lock(vch_ledger_t *l, bool read_only)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_ledger_path(l, path, "state"));
    if (!read_only) VCH_TRY(vch_mkdirs(l->port, path, NULL));
    VCH_TRY(vch_ledger_path(l, path, "state/lock"));
    VCH_TRY(vch_file_open(l->port, &l->in->state_lock, path, read_only ? VCH_OPEN_READ : VCH_OPEN_CREATE, NULL));
    return lock_state(l, VCH_LOCK_SHARED, l->lock_wait_ms);
}

static vch_rc remove_index(vch_ledger_t *l)
{
    static const char *const name[] = {"data.sum", "data.mdb", "data.mdb-lock"};
    char path[VCH_PATH_MAX];
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        VCH_TRY(vch_ledger_path(l, path, "state/%s", name[i]));
        vch_rc rc = l->port->disk->remove(l->port, path);
        if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    }
    return VCH_OK;
}

/* The index is missing or not what was saved: take it away, alone.  *ret_fresh
 * says that the lock is now exclusive and the file gone; otherwise another
 * handle mended it meanwhile, or ERR_LOCKED. */
static vch_rc replace_index(vch_ledger_t *l, bool *ret_fresh)
{
    l->port->disk->unlock(l->port, l->in->state_lock); /* two who wait for each other both let go */
    vch_rc rc = lock_state(l, VCH_LOCK_EXCLUSIVE, 0);
    if (rc == VCH_OK) {
        *ret_fresh = !nd_sum_good(l->port, l->dir);
        return *ret_fresh ? remove_index(l) : lock_state(l, VCH_LOCK_SHARED, 0);
    }
    VCH_TRY(lock_state(l, VCH_LOCK_SHARED, l->lock_wait_ms));
    *ret_fresh = false;
    return nd_sum_good(l->port, l->dir) ? VCH_OK : VCH_ERR_LOCKED;
}

/* *ret_fresh: the index is empty and to be filled and saved at once. */
static vch_rc open_index(vch_ledger_t *l, bool *ret_fresh, bool *ret_damaged, vch_err_t *err)
{
    char path[VCH_PATH_MAX], sum[VCH_PATH_MAX];
    vch_stat_t st;
    bool read_only = l->flags & VCH_LEDGER_READ_ONLY, fresh = false;
    *ret_fresh = *ret_damaged = false;
    if (l->port != vch_port_real()) return use_memory(l, err);
    if (vch_ledger_path(l, path, "state/data.mdb") != VCH_OK) return use_memory(l, err);
    vch_rc rc = open_state_lock(l, read_only);
    if (rc == VCH_OK && !nd_sum_good(l->port, l->dir)) {
        *ret_damaged = l->port->disk->stat(l->port, path, &st) == VCH_OK &&
                       vch_ledger_path(l, sum, "state/data.sum") == VCH_OK &&
                       l->port->disk->stat(l->port, sum, &st) == VCH_OK;
        if (*ret_damaged && (l->flags & VCH_LEDGER_NO_REBUILD))
            return vch_fail(err, VCH_ERR_CORRUPT, "state/data.mdb is not what was saved");
        rc = read_only ? VCH_ERR_READ_ONLY : replace_index(l, &fresh);
    }
    if (rc == VCH_OK) rc = vch_kv_open(&l->kv, path, read_only, NULL);
    if (rc == VCH_ERR_MEMORY) return no_memory(err);
    if (rc != VCH_OK) return use_memory(l, err);
    *ret_fresh = fresh;
    return VCH_OK;
}

/* ---- state ---------------------------------------------------------------------------------------- */

typedef struct {
    vch_ledger_t *l;
    vch_err_t *err;
} replay_t;

static vch_rc replay_one(void *ctx, const vch_log_entry_t *e)
{
    replay_t *r = ctx;
    return vch_state_replay(r->l->state, e, false, r->err);
}

vch_rc nd_catch_up(vch_ledger_t *l, vch_err_t *err)
{
    vch_state_info_t info;
    replay_t r = {l, err};
    uint64_t size = vch_log_size(l->log);
    vch_state_info(l->state, &info);
    if (info.applied > size)
        return vch_fail(err, VCH_ERR_CORRUPT, "the state is ahead of the log: %llu of %llu entries",
                        (unsigned long long)info.applied, (unsigned long long)size);
    return info.applied == size ? VCH_OK : vch_log_replay(l->log, info.applied, size, replay_one, &r, err);
}

/* A saved state belongs to this log when its last leaf is the state-commit
 * that the state remembers. */
static vch_rc check_belongs(vch_ledger_t *l, vch_err_t *err)
{
    vch_state_info_t info;
    vch_log_entry_t e;
    vch_arena_t arena;
    vch_hash_t leaf;
    vch_state_info(l->state, &info);
    if (info.applied == 0) return VCH_OK;
    if (info.applied > vch_log_size(l->log) || !vch_hash_eq(&info.network, &l->network))
        return vch_fail(err, VCH_ERR_CORRUPT, "the saved state is not of this log");
    vch_arena_init(&arena, 8u << 20);
    vch_rc rc = vch_log_read(l->log, info.applied - 1, &arena, &e, err);
    if (rc == VCH_OK) {
        vch_tree_leaf(&leaf, e.record.entry);
        if (!vch_hash_eq(&leaf, &info.last_commit))
            rc = vch_fail(err, VCH_ERR_CORRUPT, "the saved state is not of this log");
    }
    vch_arena_free(&arena);
    return rc;
}

static vch_rc start_state(vch_ledger_t *l, vch_err_t *err)
{
    vch_state_info_t info;
    VCH_TRY(vch_state_open(&l->state, l->kv, err));
    vch_state_info(l->state, &info);
    l->saved_at = info.applied;
    VCH_TRY(check_belongs(l, err));
    return nd_catch_up(l, err);
}

vch_rc nd_rebuild(vch_ledger_t *l, vch_err_t *err)
{
    if (l->flags & VCH_LEDGER_NO_REBUILD)
        return vch_fail(err, VCH_ERR_CORRUPT, "the derived state is damaged and may not be rebuilt");
    nd_save_wait(l);
    vch_state_free(l->state);
    l->state = NULL;
    bool alone =
        !l->kv_in_memory && !(l->flags & VCH_LEDGER_READ_ONLY) && lock_state(l, VCH_LOCK_EXCLUSIVE, 0) == VCH_OK;
    vch_rc rc = alone || l->kv_in_memory ? vch_kv_clear(l->kv, NULL) : VCH_ERR_LOCKED;
    if (rc != VCH_OK) rc = use_memory(l, err);
    if (rc == VCH_OK) rc = start_state(l, err);
    if (alone) {
        vch_rc back = lock_state(l, VCH_LOCK_SHARED, 0);
        if (rc == VCH_OK && back != VCH_OK) rc = vch_fail(err, back, "unlocking state/lock: %s", vch_rc_text(back));
    }
    if (rc == VCH_OK) {
        l->opened.rebuilt = 1;
        l->in->suspect = false;
        return nd_save(l, err);
    }
    l->poisoned = true;
    return rc;
}

static vch_rc open_state(vch_ledger_t *l, vch_err_t *err)
{
    bool fresh, damaged;
    vch_err_t why = {0};
    VCH_TRY(open_index(l, &fresh, &damaged, err));
    vch_rc rc = start_state(l, &why);
    if (rc == VCH_ERR_CORRUPT && l->saved_at) {
        if (!(l->flags & VCH_LEDGER_NO_REBUILD)) damaged = true;
        rc = nd_rebuild(l, &why);
    }
    if (rc != VCH_OK) {
        if (err) *err = why;
        return rc;
    }
    if (fresh) {
        VCH_TRY(nd_save(l, err)); /* leaves the lock shared */
        vch_rc back = lock_state(l, VCH_LOCK_SHARED, 0);
        if (back != VCH_OK) return vch_fail(err, back, "unlocking state/lock: %s", vch_rc_text(back));
    }
    if (!damaged && !(fresh && vch_log_size(l->log) > 2)) return VCH_OK;
    l->opened.rebuilt = 1;
    nd_note(l, "the derived state was %s and was rebuilt from the log", damaged ? "damaged" : "missing");
    return VCH_OK;
}

/* ---- keys and names ------------------------------------------------------------------------------------ */

static vch_rc genesis_origin(vch_state_t *state, char ret[208], vch_err_t *err)
{
    vch_state_key_t key = vch_key_plain('g');
    vch_buf_t genesis;
    vch_slice_t origin = {NULL, 0};
    vch_buf_init(&genesis, 16u << 20);
    vch_rc rc = vch_state_get(state, vch_key_slice(&key), &genesis, err);
    if (rc == VCH_OK) rc = vch_field_bytes(vch_buf_slice(&genesis), VCH_F_GENESIS_ORIGIN, &origin);
    if (rc == VCH_OK && origin.n < 208) {
        memcpy(ret, origin.p, origin.n);
        ret[origin.n] = 0;
    }
    vch_buf_free(&genesis);
    return rc == VCH_OK ? rc : vch_fail(err, VCH_ERR_CORRUPT, "the log does not begin with a genesis entry");
}

vch_rc nd_origin(vch_port_t *port, const char *dir, vch_state_t *state, char ret[208], vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t text;
    VCH_TRY(genesis_origin(state, ret, err));
    if (vch_path(path, "%s/ORIGIN", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_buf_init(&text, 256);
    vch_rc rc = vch_read_all(port, &text, path, 256, NULL);
    bool there = rc == VCH_OK;
    if (there && text.n && text.p[text.n - 1] == '\n') text.n--;
    if (there && (text.n >= 208 || !vch_origin_goes_on(vch_buf_slice(&text), vch_str(ret))))
        rc = vch_fail(err, VCH_ERR_CORRUPT, "ORIGIN: the log of %.80s can't go on under that name", ret);
    if (there && rc == VCH_OK) {
        memcpy(ret, text.p, text.n);
        ret[text.n] = 0;
    }
    vch_buf_free(&text);
    if (there || rc == VCH_ERR_NOT_FOUND) return there ? rc : VCH_OK;
    return vch_fail(err, rc, "reading ORIGIN: %s", vch_rc_text(rc));
}

static vch_rc read_mark(const vch_ledger_t *l, const char *name, bool *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    if (vch_ledger_path(l, path, "%s", name) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_rc rc = l->port->disk->stat(l->port, path, &st);
    *ret = rc == VCH_OK;
    return rc == VCH_OK || rc == VCH_ERR_NOT_FOUND ? VCH_OK
                                                   : vch_fail(err, rc, "looking for %s: %s", path, vch_rc_text(rc));
}

/* A restored log that others may know more of must not fork, nor a mirror. */
static vch_rc read_marks(vch_ledger_t *l, vch_err_t *err)
{
    VCH_TRY(read_mark(l, ND_RESTORED, &l->restored, err));
    VCH_TRY(read_mark(l, ND_MIRROR, &l->mirror, err));
    if (l->restored) nd_note(l, "restored from a backup and not caught up yet: it can be read, not written");
    return VCH_OK;
}

static vch_rc trust_key(const vch_trust_t *t, const char *origin, uint8_t ret_key[32], vch_err_t *err)
{
    for (size_t i = 0; i < t->logs; i++) {
        if (!vch_slice_eq(t->log[i].name, vch_str(origin)) || t->log[i].type != VCH_NOTE_ED25519) continue;
        memcpy(ret_key, t->log[i].key, 32);
        return VCH_OK;
    }
    return vch_fail(err, VCH_ERR_KEY, "trust.policy names no key for the log %s", origin);
}

vch_rc nd_trust_key(vch_port_t *port, const char *dir, const char *origin, uint8_t ret_key[32], vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t text;
    vch_trust_t *t = vch_alloc(sizeof *t);
    if (!t) return no_memory(err);
    vch_buf_init(&text, ND_SMALL_FILE_MAX);
    vch_rc rc = vch_path(path, "%s/trust.policy", dir);
    if (rc == VCH_OK) rc = vch_read_all(port, &text, path, ND_SMALL_FILE_MAX, err);
    if (rc == VCH_OK) {
        rc = vch_trust_get(t, vch_buf_slice(&text), err);
        rc = rc == VCH_OK ? trust_key(t, origin, ret_key, err) : vch_context(err, rc, "trust.policy");
    }
    vch_buf_free(&text);
    vch_free(t);
    return rc;
}

/* Without the right key there are no checkpoints, all else works.  A key that
 * trust.policy doesn't name would only sign what nobody believes. */
static vch_rc load_log_key(vch_ledger_t *l)
{
    char path[VCH_PATH_MAX];
    uint8_t trusted[32];
    vch_err_t why = {0};
    if ((l->flags & VCH_LEDGER_READ_ONLY) || l->mirror) return VCH_OK;
    VCH_TRY(vch_ledger_path(l, path, "keys/log.pem"));
    vch_rc rc = nd_key_load(l->port, path, NULL, &l->log_key, &why);
    if (rc == VCH_OK) {
        const vch_pubkey_t *key = vch_signer_public(l->log_key);
        rc = nd_trust_key(l->port, l->dir, l->origin, trusted, &why);
        if (rc == VCH_OK && (key->alg != VCH_ALG_ED25519 || memcmp(key->b + 2, trusted, 32) != 0))
            rc = vch_fail(&why, VCH_ERR_KEY, "keys/log.pem is not the log's key in trust.policy");
    }
    if (rc == VCH_OK) return VCH_OK;
    vch_signer_free(l->log_key);
    l->log_key = NULL;
    if (rc == VCH_ERR_MEMORY) return rc;
    nd_note(l, "no checkpoints: %.120s", why.text);
    return VCH_OK;
}

/* What an earlier version made has no list of its settings yet.  It is no
 * failure if it can't be written: the next one to open tries again. */
static void keep_settings(vch_ledger_t *l)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    if (l->flags & VCH_LEDGER_READ_ONLY || vch_ledger_path(l, path, ND_SUMS) != VCH_OK) return;
    if (l->port->disk->stat(l->port, path, &st) == VCH_ERR_NOT_FOUND) (void)nd_settings_keep(l->port, l->dir, NULL);
}

/* ---- opening ----------------------------------------------------------------------------------------------- */

static vch_rc open_lock(vch_ledger_t *l, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    if (l->flags & VCH_LEDGER_READ_ONLY) return VCH_OK;
    if (vch_ledger_path(l, path, "lock") != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_rc rc = vch_file_open(l->port, &l->lock_file, path, VCH_OPEN_CREATE, err);
    if (rc == VCH_ERR_READ_ONLY) return vch_hint(err, rc, "open the ledger for reading only");
    if (rc != VCH_OK) return rc;
    rc = l->port->disk->lock(l->port, l->lock_file, VCH_LOCK_EXCLUSIVE, l->lock_wait_ms);
    if (rc == VCH_OK) return rc;
    return vch_hint(err, vch_fail(err, rc, "locking %s: %s", path, vch_rc_text(rc)),
                    "another process is writing; try again");
}

static vch_rc open_log(vch_ledger_t *l, vch_err_t *err)
{
    vch_recovery_t recovery;
    vch_log_options_t options = {.segment_bytes = (size_t)l->in->segment_bytes,
                                 .read_only = l->flags & VCH_LEDGER_READ_ONLY};
    VCH_TRY(vch_log_open(&l->log, l->port, l->dir, &options, &recovery, err));
    vch_hash_t network = vch_log_network(l->log);
    if (!vch_hash_eq(&network, &l->network))
        return vch_fail(err, VCH_ERR_NETWORK, "FORMAT and the log name different networks");
    if (!recovery.cut) return VCH_OK;
    l->opened.recovered = 1;
    nd_note(l, "%llu bytes of an unacknowledged sync group were cut off to %s", (unsigned long long)recovery.cut_bytes,
            recovery.quarantine);
    return VCH_OK;
}

static void start_clock(vch_ledger_t *l)
{
    vch_state_info_t info;
    vch_state_info(l->state, &info);
    uint64_t wall = nd_now(l);
    l->in->checkpointed_boot = l->port->clock->boot_ms(l->port);
    if (wall < info.time.ms)
        nd_note(l, "the clock is %llu ms behind the newest block, whose time is kept until it catches up",
                (unsigned long long)(info.time.ms - wall));
    nd_clock_start(l);
}

static vch_rc open_steps(vch_ledger_t *l, vch_err_t *err)
{
    VCH_TRY(open_lock(l, err));
    VCH_TRY(open_log(l, err));
    VCH_TRY(open_state(l, err));
    VCH_TRY(nd_origin(l->port, l->dir, l->state, l->origin, err));
    VCH_TRY(read_marks(l, err));
    VCH_TRY(load_log_key(l));
    keep_settings(l);
    start_clock(l);
    return VCH_OK;
}

vch_rc vch_ledger_open_on(vch_ledger_t **ret, vch_port_t *port, const char *dir, unsigned flags, vch_err_t *err)
{
    vch_hash_t network;
    vch_ledger_t *l;
    vch_rc rc = vch_crypto_start();
    if (rc != VCH_OK) return vch_fail(err, rc, "the cryptography library did not start");
    VCH_TRY(nd_format_read(port, dir, &network, err));
    VCH_TRY(nd_ledger_new(&l, port, dir, flags, err));
    l->network = network;
    rc = open_steps(l, err);
    if (rc != VCH_OK) {
        nd_ledger_free(l);
        return nd_told(rc, err);
    }
    if (l->lock_file) port->disk->unlock(port, l->lock_file);
    *ret = l;
    return VCH_OK;
}

vch_rc vch_ledger_open(vch_ledger_t **ret, const char *dir, unsigned flags, vch_err_t *err)
{
    return vch_ledger_open_on(ret, vch_port_real(), dir, flags, err);
}
