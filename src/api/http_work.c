/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that call the service.  Requests that join wait for one thread,
 * which takes all that came while it was busy: the longer a sync takes, the
 * more share the next one. */
#include <event2/util.h>

#include "api/http_int.h"

#define WORKERS_MAX 64

uint64_t hs_micros(void)
{
    struct timeval now;
    return evutil_gettimeofday(&now, NULL) == 0 ? (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_usec : 0;
}

/* ---- jobs --------------------------------------------------------------------------- */

hs_job_t *hs_job_new(size_t max_answer)
{
    hs_job_t *job = vch_alloc(sizeof *job);
    if (!job) return NULL;
    vch_buf_init(&job->body, 0);
    vch_buf_init(&job->response.body, max_answer);
    job->began_us = hs_micros();
    return job;
}

void hs_job_free(hs_job_t *job)
{
    if (!job) return;
    vch_free(job->head);
    vch_buf_free(&job->body);
    vch_buf_free(&job->response.body);
    vch_free(job);
}

static void put(hs_jobs_t *jobs, hs_job_t *job)
{
    job->next = NULL;
    if (jobs->last)
        jobs->last->next = job;
    else
        jobs->first = job;
    jobs->last = job;
    jobs->n++;
}

static hs_job_t *take(hs_jobs_t *jobs)
{
    hs_job_t *job = jobs->first;
    jobs->first = job->next;
    if (!jobs->first) jobs->last = NULL;
    jobs->n--;
    job->next = NULL;
    return job;
}

static hs_jobs_t take_all(hs_jobs_t *jobs)
{
    hs_jobs_t all = *jobs;
    *jobs = (hs_jobs_t){.n = 0};
    return all;
}

/* ---- the queue ------------------------------------------------------------------------- */

bool hs_work_put(hs_work_t *w, hs_job_t *job, bool joins, size_t waiting_max)
{
    pthread_mutex_lock(&w->mutex);
    bool room = w->single.n + w->joined.n < waiting_max;
    if (room) put(joins ? &w->joined : &w->single, job);
    if (room) pthread_cond_signal(joins ? &w->joined_came : &w->single_came);
    atomic_store(&w->server->waiting, (unsigned)(w->single.n + w->joined.n));
    pthread_mutex_unlock(&w->mutex);
    return room;
}

hs_job_t *hs_work_done(hs_work_t *w)
{
    pthread_mutex_lock(&w->mutex);
    hs_jobs_t all = take_all(&w->done);
    pthread_mutex_unlock(&w->mutex);
    return all.first;
}

/* ---- doing ------------------------------------------------------------------------------- */

static void told(hs_work_t *w, hs_job_t *job)
{
    const http_service_t *s = &w->server->service;
    if (job->response.status == 0) job->response.status = 500;
    if (!s->done) return;
    uint64_t now = hs_micros(); /* the wall clock may step back meanwhile */
    uint64_t micros = now > job->began_us ? now - job->began_us : 0;
    s->done(s->ctx, &job->request, job->response.status, job->response.body.n, micros);
}

/* With the mutex held. */
static void hand_back(hs_work_t *w, hs_job_t *job)
{
    bool first = w->done.n == 0;
    put(&w->done, job);
    if (first) hs_wake(w->server);
}

static void *work(void *ctx)
{
    hs_work_t *w = ctx;
    const http_service_t *s = &w->server->service;
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        while (!w->single.n && !w->quit) pthread_cond_wait(&w->single_came, &w->mutex);
        if (!w->single.n) break;
        hs_job_t *job = take(&w->single);
        atomic_store(&w->server->waiting, (unsigned)(w->single.n + w->joined.n));
        pthread_mutex_unlock(&w->mutex);
        s->handle(s->ctx, &job->request, &job->response);
        told(w, job);
        pthread_mutex_lock(&w->mutex);
        hand_back(w, job);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static void run_batch(hs_work_t *w, const hs_jobs_t *jobs)
{
    const http_service_t *s = &w->server->service;
    size_t n = 0;
    const http_request_t **request = vch_alloc_array(jobs->n, sizeof *request);
    http_response_t **response = vch_alloc_array(jobs->n, sizeof *response);
    for (hs_job_t *job = jobs->first; job; job = job->next) {
        const http_request_t *one = &job->request;
        http_response_t *answer = &job->response;
        if (request && response) {
            request[n] = one;
            response[n++] = answer;
        } else {
            s->batch(s->ctx, &one, &answer, 1); /* no memory to do them together */
        }
    }
    if (n) s->batch(s->ctx, request, response, n);
    vch_free(request);
    vch_free(response);
}

static void *work_in_batches(void *ctx)
{
    hs_work_t *w = ctx;
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        while (!w->joined.n && !w->quit) pthread_cond_wait(&w->joined_came, &w->mutex);
        if (!w->joined.n) break;
        hs_jobs_t all = take_all(&w->joined);
        atomic_store(&w->server->waiting, (unsigned)w->single.n);
        pthread_mutex_unlock(&w->mutex);
        run_batch(w, &all);
        for (hs_job_t *job = all.first; job; job = job->next) told(w, job);
        pthread_mutex_lock(&w->mutex);
        while (all.n) hand_back(w, take(&all));
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* ---- starting, stopping ------------------------------------------------------------------- */

vch_rc hs_work_start(hs_work_t *w, http_server_t *server, unsigned workers, vch_err_t *err)
{
    workers = workers == 0 ? 2 : workers > WORKERS_MAX ? WORKERS_MAX : workers;
    w->server = server;
    w->worker = vch_alloc_array(workers, sizeof *w->worker);
    if (!w->worker) return vch_fail(err, VCH_ERR_MEMORY, "no memory for %u workers", workers);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->single_came, NULL);
    pthread_cond_init(&w->joined_came, NULL);
    if (server->service.joins && server->service.batch)
        w->batching = pthread_create(&w->batcher, NULL, work_in_batches, w) == 0;
    while (w->workers < workers && pthread_create(&w->worker[w->workers], NULL, work, w) == 0) w->workers++;
    if (w->workers == workers && (w->batching || !server->service.batch)) return VCH_OK;
    return vch_hint(err, vch_fail(err, VCH_ERR_MEMORY, "starting thread %zu of %u", w->workers + 1, workers + 1),
                    "allow this user more processes (ulimit -u, TasksMax=)");
}

void hs_work_stop(hs_work_t *w)
{
    if (!w->server) return;
    if (w->worker) {
        pthread_mutex_lock(&w->mutex);
        w->quit = true;
        pthread_cond_broadcast(&w->single_came);
        pthread_cond_broadcast(&w->joined_came);
        pthread_mutex_unlock(&w->mutex);
        for (size_t i = 0; i < w->workers; i++) pthread_join(w->worker[i], NULL);
        if (w->batching) pthread_join(w->batcher, NULL);
        for (hs_job_t *job = hs_work_done(w), *next; job; job = next) {
            next = job->next;
            hs_job_free(job);
        }
        pthread_cond_destroy(&w->joined_came);
        pthread_cond_destroy(&w->single_came);
        pthread_mutex_destroy(&w->mutex);
    }
    vch_free(w->worker);
}
