/* SPDX-License-Identifier: Apache-2.0 */
/* The index on LMDB: default flags, so each commit is fully synced and a crash
 * leaves the previous commit intact.  A read-only medium can't take LMDB's
 * reader lock, so read-only opening goes without it. */
#include <errno.h>
#include <lmdb.h>
#include <pthread.h>

#include "port/port.h"
#include "store/kv_impl.h"

#define MAP_START ((size_t)64 << 20)
#define MAP_MAX ((size_t)1 << 40)

typedef struct {
    vch_kv_t kv;
    MDB_env *env;
    MDB_dbi dbi;
    pthread_mutex_t mutex; /* of the next two, which readers look at */
    MDB_txn *txn;          /* the open batch */
    pthread_t owner;       /* of the batch: sees its own puts */
    size_t map;
} lmdb_kv_t;

static vch_rc fail_mdb(vch_err_t *err, int e, const char *what)
{
    vch_rc rc = VCH_ERR_IO;
    if (e == ENOMEM) rc = VCH_ERR_MEMORY;
    if (e == ENOSPC) rc = VCH_ERR_FULL;
    if (e == EROFS || e == EACCES) rc = VCH_ERR_READ_ONLY;
    if (e == ENOENT) rc = VCH_ERR_NOT_FOUND;
    if (e == MDB_CORRUPTED || e == MDB_INVALID || e == MDB_VERSION_MISMATCH || e == MDB_PAGE_NOTFOUND || e == MDB_PANIC)
        rc = VCH_ERR_CORRUPT;
    return vch_fail(err, rc, "index: %s: %s", what, mdb_strerror(e));
}

static MDB_val val(vch_slice_t s) { return (MDB_val){s.n, (void *)(uintptr_t)s.p}; }

static void set_batch(lmdb_kv_t *k, MDB_txn *txn)
{
    pthread_mutex_lock(&k->mutex);
    k->txn = txn;
    k->owner = pthread_self();
    pthread_mutex_unlock(&k->mutex);
}

/* The open batch if it is this thread's. */
static MDB_txn *own_batch(lmdb_kv_t *k)
{
    pthread_mutex_lock(&k->mutex);
    MDB_txn *txn = k->txn && pthread_equal(k->owner, pthread_self()) ? k->txn : NULL;
    pthread_mutex_unlock(&k->mutex);
    return txn;
}

static vch_rc lmdb_get(vch_kv_t *kv, vch_slice_t key, vch_buf_t *ret)
{
    lmdb_kv_t *k = (lmdb_kv_t *)kv;
    MDB_txn *txn = own_batch(k);
    bool in_batch = txn != NULL;
    MDB_val mk = val(key), mv;
    if (!in_batch && mdb_txn_begin(k->env, NULL, MDB_RDONLY, &txn) != 0) return VCH_ERR_IO;
    int e = mdb_get(txn, k->dbi, &mk, &mv);
    vch_rc rc = e == MDB_NOTFOUND ? VCH_ERR_NOT_FOUND : e ? VCH_ERR_CORRUPT : vch_buf_put(ret, mv.mv_data, mv.mv_size);
    if (!in_batch) mdb_txn_abort(txn);
    return rc;
}

static vch_rc lmdb_begin(vch_kv_t *kv, vch_err_t *err)
{
    lmdb_kv_t *k = (lmdb_kv_t *)kv;
    MDB_txn *txn;
    if (k->txn) return vch_fail(err, VCH_ERR_CONFLICT, "index: a batch is open already");
    int e = mdb_txn_begin(k->env, NULL, 0, &txn);
    if (e == MDB_MAP_RESIZED && (e = mdb_env_set_mapsize(k->env, 0)) == 0) e = mdb_txn_begin(k->env, NULL, 0, &txn);
    if (e) return fail_mdb(err, e, "begin");
    set_batch(k, txn);
    return VCH_OK;
}

static void lmdb_abort(vch_kv_t *kv)
{
    lmdb_kv_t *k = (lmdb_kv_t *)kv;
    if (!k->txn) return;
    mdb_txn_abort(k->txn);
    set_batch(k, NULL);
}

static vch_rc lmdb_put(vch_kv_t *kv, vch_slice_t key, vch_slice_t value, vch_err_t *err)
{
    lmdb_kv_t *k = (lmdb_kv_t *)kv;
    if (!k->txn) return vch_fail(err, VCH_ERR_CONFLICT, "index: no batch is open");
    MDB_val mk = val(key), mv = val(value);
    int e = mdb_put(k->txn, k->dbi, &mk, &mv, 0);
    if (e == 0) return VCH_OK;
    lmdb_abort(kv);
    return fail_mdb(err, e, "put");
}

static vch_rc lmdb_commit(vch_kv_t *kv, vch_err_t *err)
{
    lmdb_kv_t *k = (lmdb_kv_t *)kv;
    if (!k->txn) return vch_fail(err, VCH_ERR_CONFLICT, "index: no batch is open");
    int e = mdb_txn_commit(k->txn);
    set_batch(k, NULL);
    return e ? fail_mdb(err, e, "commit") : VCH_OK;
}

static void write_back(const lmdb_kv_t *k)
{
    int fd;
    if (mdb_env_get_fd(k->env, &fd) == 0) vch_real_write_back(fd);
}

static vch_rc lmdb_commit_gently(vch_kv_t *kv, vch_err_t *err)
{
    lmdb_kv_t *k = (lmdb_kv_t *)kv;
    int e = mdb_env_set_flags(k->env, MDB_NOSYNC, 1);
    if (e) {
        lmdb_abort(kv);
        return fail_mdb(err, e, "commit");
    }
    vch_rc rc = lmdb_commit(kv, err);
    if (rc == VCH_OK) write_back(k);
    e = mdb_env_set_flags(k->env, MDB_NOSYNC, 0);
    if (e == 0 && rc == VCH_OK) e = mdb_env_sync(k->env, 1);
    return rc == VCH_OK && e ? fail_mdb(err, e, "sync") : rc;
}

static vch_rc each_in(MDB_cursor *cursor, vch_slice_t prefix, vch_kv_fn fn, void *ctx)
{
    MDB_val mk = val(prefix), mv;
    int e = mdb_cursor_get(cursor, &mk, &mv, prefix.n ? MDB_SET_RANGE : MDB_FIRST);
    for (; e == 0; e = mdb_cursor_get(cursor, &mk, &mv, MDB_NEXT)) {
        if (mk.mv_size < prefix.n || (prefix.n && memcmp(mk.mv_data, prefix.p, prefix.n) != 0)) return VCH_OK;
        VCH_TRY(fn(ctx, vch_slice(mk.mv_data, mk.mv_size), vch_slice(mv.mv_data, mv.mv_size)));
    }
    return e == MDB_NOTFOUND ? VCH_OK : VCH_ERR_CORRUPT;
}

static vch_rc lmdb_each(vch_kv_t *kv, vch_slice_t prefix, vch_kv_fn fn, void *ctx)
{
    lmdb_kv_t *k = (lmdb_kv_t *)kv;
    MDB_txn *txn;
    MDB_cursor *cursor;
    if (mdb_txn_begin(k->env, NULL, MDB_RDONLY, &txn) != 0) return VCH_ERR_IO;
    vch_rc rc = mdb_cursor_open(txn, k->dbi, &cursor) == 0 ? VCH_OK : VCH_ERR_IO;
    if (rc == VCH_OK) {
        rc = each_in(cursor, prefix, fn, ctx);
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return rc;
}

static vch_rc lmdb_clear(vch_kv_t *kv, vch_err_t *err)
{
    lmdb_kv_t *k = (lmdb_kv_t *)kv;
    VCH_TRY(lmdb_begin(kv, err));
    int e = mdb_drop(k->txn, k->dbi, 0);
    if (e == 0) return lmdb_commit(kv, err);
    lmdb_abort(kv);
    return fail_mdb(err, e, "clear");
}

static void lmdb_close(vch_kv_t *kv)
{
    lmdb_kv_t *k = (lmdb_kv_t *)kv;
    lmdb_abort(kv);
    if (k->env) mdb_env_close(k->env);
    pthread_mutex_destroy(&k->mutex);
    vch_free(k);
}

static const vch_kv_ops_t lmdb_ops = {lmdb_get,   lmdb_begin, lmdb_put,   lmdb_commit, lmdb_commit_gently,
                                      lmdb_abort, lmdb_each,  lmdb_clear, lmdb_close};

static int open_env(lmdb_kv_t *k, const char *path, bool read_only)
{
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | (read_only ? MDB_RDONLY | MDB_NOLOCK : 0);
    int e = mdb_env_create(&k->env);
    if (e == 0) e = mdb_env_set_mapsize(k->env, MAP_MAX);
    if (e == 0) e = mdb_env_open(k->env, path, flags, 0600);
    /* A small address space can't hold the full map: fall back. */
    if (e == ENOMEM) {
        mdb_env_close(k->env);
        k->env = NULL;
        e = mdb_env_create(&k->env);
        if (e == 0) e = mdb_env_set_mapsize(k->env, MAP_START * 64);
        if (e == 0) e = mdb_env_open(k->env, path, flags, 0600);
    }
    return e;
}

static int open_dbi(lmdb_kv_t *k, bool read_only)
{
    MDB_txn *txn;
    int e = mdb_txn_begin(k->env, NULL, read_only ? MDB_RDONLY : 0, &txn);
    if (e) return e;
    e = mdb_dbi_open(txn, NULL, 0, &k->dbi);
    if (e) {
        mdb_txn_abort(txn);
        return e;
    }
    return mdb_txn_commit(txn);
}

vch_rc vch_kv_open(vch_kv_t **ret, const char *path, bool read_only, vch_err_t *err)
{
    lmdb_kv_t *k = vch_alloc(sizeof *k);
    if (!k) return vch_fail(err, VCH_ERR_MEMORY, "index: out of memory");
    k->kv.ops = &lmdb_ops;
    pthread_mutex_init(&k->mutex, NULL);
    int e = open_env(k, path, read_only);
    if (e == 0) e = open_dbi(k, read_only);
    if (e) {
        lmdb_close(&k->kv);
        return fail_mdb(err, e, path);
    }
    *ret = &k->kv;
    return VCH_OK;
}
