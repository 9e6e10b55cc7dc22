/* SPDX-License-Identifier: Apache-2.0 */
/* The next segments, filled with zeros before they are needed.
 *
 * Overwriting blocks that exist takes about half of the time of growing a
 * file, since a sync then has no new blocks to note.  So while one segment is
 * written, a thread fills the next under a name of its own: one at first, and
 * one more, up to four, each time that a burst of appends used up what was
 * there.  It writes and syncs nothing but that file, which no other handle
 * knows: it can neither overwrite an entry nor make a sync of entries carry its
 * zeros.  It works between appends: beside them it would take as much of the
 * disk as it saves.
 * Under any port but the machine's the filling happens in line, so that it
 * can be repeated. */
#include "log/log_impl.h"

#include <limits.h>

#define SPARE_SYNC_BYTES (1u << 20) /* so much is made durable at once, and may delay an append */
#define SPARE_QUIET_MS 2u           /* so long no append, and filling goes on */
#define SPARE_BYTES_MAX (64u << 20)
#define SPARE_BEGIN 16u    /* filling begins after this part of a segment was appended, */
#define SPARE_ROOM 4u      /* if there is room for as many segments for each, */
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

/* Handles of several processes may each fill some. */
static vch_rc spare_open(vch_log_t *log, vch_spare_file_t *ret)
{
    vch_rc rc = VCH_ERR_CONFLICT;
    for (unsigned k = 0; rc == VCH_ERR_CONFLICT && k < SPARE_NAMES; k++) {
        VCH_TRY(vch_path(ret->path, "%s/log/seg/" VCH_SPARE_NAME "%u", log->dir, k));
        rc = log->port->disk->open(log->port, &ret->file, ret->path, VCH_OPEN_NEW, 0600);
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

static void spare_close(vch_log_t *log, const vch_spare_file_t *f)
{
    if (!f->file) return;
    vch_file_close(log->port, f->file);
    (void)log->port->disk->remove(log->port, f->path); /* else the next to open alone removes it */
}

static vch_rc spare_make(vch_log_t *log, vch_spare_file_t *ret, unsigned beside)
{
    uint64_t room = 0;
    ret->bytes = spare_bytes(log);
    VCH_TRY(log->port->disk->free_space(log->port, log->dir, &room));
    if (room < (1 + beside) * SPARE_ROOM * ret->bytes) return VCH_ERR_FULL;
    VCH_TRY(spare_open(log, ret));
    return spare_fill(log, ret->file, ret->bytes);
}

/* How many there are, or UINT_MAX when no more are to be made. */
static unsigned spare_lacks(vch_spare_t *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->ready_n < s->want && s->failures < SPARE_TRIES_MAX ? s->ready_n : UINT_MAX;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void spare_work(void *ctx)
{
    vch_log_t *log = ctx;
    vch_spare_t *s = &log->spare;
    for (unsigned n; (n = spare_lacks(s)) != UINT_MAX && !atomic_load(&s->cancel);) {
        vch_spare_file_t made = {0};
        vch_rc rc = spare_make(log, &made, n);
        pthread_mutex_lock(&s->lock);
        if (rc == VCH_OK)
            s->ready[s->ready_n++] = made;
        else
            s->failures++;
        pthread_mutex_unlock(&s->lock);
        if (rc == VCH_OK) continue;
        spare_close(log, &made);
        return;
    }
}

void vch_spare_want(vch_log_t *log)
{
    vch_spare_t *s = &log->spare;
    if (log->options.fill_bytes != 0 || log->appended < spare_bytes(log) / SPARE_BEGIN) return;
    if (vch_worker_busy(&s->worker) || spare_lacks(s) == UINT_MAX) return;
    if (!vch_log_threads(log)) {
        spare_work(log);
    } else if (!vch_worker_begin(&s->worker, spare_work, log)) {
        pthread_mutex_lock(&s->lock);
        s->failures++; /* no thread: the segments grow */
        pthread_mutex_unlock(&s->lock);
    }
}

bool vch_spare_ready(vch_log_t *log)
{
    pthread_mutex_lock(&log->spare.lock);
    bool ready = log->spare.ready_n > 0;
    pthread_mutex_unlock(&log->spare.lock);
    return ready;
}

bool vch_spare_take(vch_log_t *log, vch_spare_file_t *ret)
{
    vch_spare_t *s = &log->spare;
    pthread_mutex_lock(&s->lock);
    bool any = s->ready_n > 0;
    if (any)
        *ret = s->ready[--s->ready_n];
    else if (s->want < VCH_SPARES_MAX)
        s->want++;
    pthread_mutex_unlock(&s->lock);
    return any;
}

void vch_spare_drop(vch_log_t *log)
{
    vch_spare_t *s = &log->spare;
    atomic_store(&s->cancel, true);
    vch_worker_wait(&s->worker);
    atomic_store(&s->cancel, false);
    while (s->ready_n) spare_close(log, &s->ready[--s->ready_n]);
}

void vch_spare_init(vch_log_t *log)
{
    vch_worker_init(&log->spare.worker);
    pthread_mutex_init(&log->spare.lock, NULL);
    log->spare.want = 1;
}

void vch_spare_end(vch_log_t *log)
{
    vch_worker_end(&log->spare.worker);
    pthread_mutex_destroy(&log->spare.lock);
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
