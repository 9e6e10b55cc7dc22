/* SPDX-License-Identifier: Apache-2.0 */
/* The next segment, filled with zeros before it is needed.
 *
 * Overwriting blocks that exist takes about half of the time of growing a
 * file, since a sync then has no new blocks to note.  So while one segment is
 * written, a thread fills the next under a name of its own.  It writes and
 * syncs nothing but that file, which no other handle knows: it can neither
 * overwrite an entry nor make a sync of entries carry its zeros.  It works
 * between appends: beside them it would take as much of the disk as it saves.
 * Under any port but the machine's the filling happens in line, so that it
 * can be repeated. */
#include "log/log_impl.h"

#define SPARE_SYNC_BYTES (1u << 20) /* so much is made durable at once, and may delay an append */
#define SPARE_QUIET_MS 2u           /* so long no append, and filling goes on */
#define SPARE_BYTES_MAX (64u << 20)
#define SPARE_BEGIN 16u    /* filling begins after this part of a segment was appended, */
#define SPARE_ROOM 4u      /* if there is room for as many segments, */
#define SPARE_NAMES 16u    /* under one of as many names, */
#define SPARE_TRIES_MAX 3u /* and not again after as many failures */

static const uint8_t zeros[64u << 10];

/* ---- a thread for one job at a time ---------------------------------------------- */

static void *worker_run(void *ctx)
{
    vch_worker_t *w = ctx;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->busy && !w->stop) pthread_cond_wait(&w->wake, &w->lock);
        if (!w->busy) break;
        pthread_mutex_unlock(&w->lock);
        w->job(w->arg);
        pthread_mutex_lock(&w->lock);
        w->busy = false;
        pthread_cond_broadcast(&w->done);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

void vch_worker_init(vch_worker_t *w)
{
    *w = (vch_worker_t){.arg = NULL};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    pthread_cond_init(&w->done, NULL);
}

bool vch_worker_begin(vch_worker_t *w, void (*job)(void *), void *arg)
{
    pthread_mutex_lock(&w->lock);
    if (!w->started) w->started = pthread_create(&w->thread, NULL, worker_run, w) == 0;
    bool begun = w->started && !w->busy;
    if (begun) {
        w->job = job;
        w->arg = arg;
        w->busy = true;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    return begun;
}

bool vch_worker_busy(vch_worker_t *w)
{
    pthread_mutex_lock(&w->lock);
    bool busy = w->busy;
    pthread_mutex_unlock(&w->lock);
    return busy;
}

void vch_worker_wait(vch_worker_t *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->busy) pthread_cond_wait(&w->done, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void vch_worker_end(vch_worker_t *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (w->started) pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->done);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
}

bool vch_log_threads(const vch_log_t *log) { return log->port == vch_port_real(); }

/* ---- filling ----------------------------------------------------------------------- */

static uint64_t spare_bytes(const vch_log_t *log)
{
    uint64_t n = log->options.segment_bytes;
    return n < SPARE_BYTES_MAX ? n : SPARE_BYTES_MAX;
}

/* Handles of several processes may each fill one. */
static vch_rc spare_open(vch_log_t *log, vch_file_t **ret)
{
    vch_rc rc = VCH_ERR_CONFLICT;
    for (unsigned k = 0; rc == VCH_ERR_CONFLICT && k < SPARE_NAMES; k++) {
        VCH_TRY(vch_path(log->spare.path, "%s/log/seg/" VCH_SPARE_NAME "%u", log->dir, k));
        rc = log->port->disk->open(log->port, ret, log->spare.path, VCH_OPEN_NEW, 0600);
    }
    return rc;
}

/* Until no append is under way nor came for a moment. */
static void wait_for_quiet(vch_log_t *log, uint64_t *seen)
{
    for (;;) {
        uint64_t now = atomic_load(&log->turns);
        bool quiet = now == *seen && now % 2 == 0;
        *seen = now;
        if (quiet || atomic_load(&log->spare.cancel)) return;
        log->port->clock->sleep_ms(log->port, SPARE_QUIET_MS);
    }
}

static vch_rc spare_fill(vch_log_t *log, vch_file_t *file, uint64_t bytes)
{
    vch_port_t *port = log->port;
    uint64_t seen = UINT64_MAX;
    for (uint64_t at = 0; at < bytes;) {
        size_t n = bytes - at < sizeof zeros ? (size_t)(bytes - at) : sizeof zeros;
        if (at % SPARE_SYNC_BYTES == 0 && vch_log_threads(log)) wait_for_quiet(log, &seen);
        if (atomic_load(&log->spare.cancel)) return VCH_ERR_INTERRUPTED;
        VCH_TRY(port->disk->write(port, file, zeros, n, at));
        at += n;
        if (at % SPARE_SYNC_BYTES == 0 || at == bytes) VCH_TRY(port->disk->sync(port, file));
    }
    return VCH_OK;
}

static void spare_make(void *ctx)
{
    vch_log_t *log = ctx;
    vch_file_t *file = NULL;
    uint64_t bytes = spare_bytes(log), room = 0;
    vch_rc rc = log->port->disk->free_space(log->port, log->dir, &room);
    if (rc == VCH_OK && room < SPARE_ROOM * bytes) rc = VCH_ERR_FULL;
    if (rc == VCH_OK) rc = spare_open(log, &file);
    if (rc == VCH_OK) rc = spare_fill(log, file, bytes);
    if (rc == VCH_OK) {
        log->spare.file = file;
        log->spare.bytes = bytes;
        return;
    }
    log->spare.failures++;
    if (!file) return;
    vch_file_close(log->port, file);
    (void)log->port->disk->remove(log->port, log->spare.path); /* else the next to open alone removes it */
}

void vch_spare_want(vch_log_t *log)
{
    vch_spare_t *s = &log->spare;
    if (log->options.fill_bytes != 0 || log->appended < spare_bytes(log) / SPARE_BEGIN) return;
    if (vch_worker_busy(&s->worker) || s->file || s->failures >= SPARE_TRIES_MAX) return;
    if (!vch_log_threads(log)) {
        spare_make(log);
    } else if (!vch_worker_begin(&s->worker, spare_make, log)) {
        s->failures++; /* no thread: the segments grow */
    }
}

bool vch_spare_ready(vch_log_t *log) { return !vch_worker_busy(&log->spare.worker) && log->spare.file; }

bool vch_spare_take(vch_log_t *log, vch_file_t **ret, char ret_path[VCH_PATH_MAX], uint64_t *ret_bytes)
{
    vch_spare_t *s = &log->spare;
    if (!vch_spare_ready(log)) return false;
    *ret = s->file;
    *ret_bytes = s->bytes;
    memcpy(ret_path, s->path, sizeof s->path);
    s->file = NULL;
    return true;
}

void vch_spare_drop(vch_log_t *log)
{
    vch_spare_t *s = &log->spare;
    atomic_store(&s->cancel, true);
    vch_worker_wait(&s->worker);
    atomic_store(&s->cancel, false);
    if (!s->file) return;
    vch_file_close(log->port, s->file);
    s->file = NULL;
    (void)log->port->disk->remove(log->port, s->path);
}

/* ---- what a process that died left ------------------------------------------------------ */

static vch_rc sweep_one(void *ctx, const char *name)
{
    vch_log_t *log = ctx;
    char path[VCH_PATH_MAX];
    if (strncmp(name, VCH_SPARE_NAME, sizeof VCH_SPARE_NAME - 1) != 0) return VCH_OK;
    if (vch_path(path, "%s/log/seg/%s", log->dir, name) != VCH_OK) return VCH_OK;
    (void)log->port->disk->remove(log->port, path); /* it does no harm */
    return VCH_OK;
}

vch_rc vch_spare_sweep(vch_log_t *log, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_log_path(log, path, "log/seg", err));
    vch_rc rc = log->port->disk->list(log->port, path, sweep_one, log);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "listing %s: %s", path, vch_rc_text(rc));
}
