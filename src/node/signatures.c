/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures, checked before the leader of a batch comes to them.
 *
 *   who brings a transaction    checks it before it queues, beside the others,
 *                               if its key was seen before
 *   the leader                  has what is left of its batch checked, if that
 *                               is much, before it applies one after the other
 *
 * A key's id is the key's hash: a remembered key can't be the wrong one.  It may
 * have been revoked since; that is asked of the state when the transaction's
 * turn comes.  What does not pass here is checked again there, which then says
 * why.
 *
 * Many signatures are shared out among a few threads, which begin with the
 * first such list and end with the handle; under a simulation there are none. */
#include "node/node_int.h"

#include <stdatomic.h>

#define KNOWN 4096u  /* keys remembered, each at one place */
#define SHARE_MIN 8u /* fewer signatures are not worth waking a thread */
#define HELPERS_MAX 15u

typedef struct {
    const vch_prepared_t *tx;
    uint32_t number;
    bool good;
} job_t;

struct nd_signatures {
    unsigned cores;
    pthread_mutex_t known_lock;
    vch_pubkey_t known[KNOWN]; /* n = 0: none */

    pthread_mutex_t lock; /* of what follows; the jobs are read outside while `working` or by who gave them */
    pthread_cond_t wake, idle;
    pthread_t helper[HELPERS_MAX];
    unsigned helpers, working;
    bool begun, given, stop;
    uint64_t turn; /* counts the lists given out */
    job_t *job;
    size_t jobs;
    atomic_size_t next;
};

/* ---- one after the other, or shared out ------------------------------------------ */

static void do_job(job_t *j) { j->good = vch_tx_check(j->tx, j->number, &j->tx->key, NULL) == VCH_OK; }

static void do_jobs(nd_signatures_t *s)
{
    for (;;) {
        size_t i = atomic_fetch_add(&s->next, 1);
        if (i >= s->jobs) return;
        do_job(&s->job[i]);
    }
}

static void *help(void *ctx)
{
    nd_signatures_t *s = ctx;
    uint64_t seen = 0;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->stop && s->turn == seen) pthread_cond_wait(&s->wake, &s->lock);
        if (s->stop) break;
        seen = s->turn;
        if (!s->given) continue; /* woke too late: all is done */
        s->working++;
        pthread_mutex_unlock(&s->lock);
        do_jobs(s);
        pthread_mutex_lock(&s->lock);
        if (--s->working == 0) pthread_cond_signal(&s->idle);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Fewer threads than wanted, or none, only make it slower. */
static void begin_helpers(nd_signatures_t *s)
{
    if (s->begun) return;
    s->begun = true;
    unsigned want = (unsigned)vch_min(s->cores - 1, HELPERS_MAX);
    while (s->helpers < want && pthread_create(&s->helper[s->helpers], NULL, help, s) == 0) s->helpers++;
}

/* False when another list is under way, or nobody is there to help. */
static bool share(nd_signatures_t *s, job_t *job, size_t n)
{
    if (s->cores < 2) return false;
    pthread_mutex_lock(&s->lock);
    begin_helpers(s);
    bool mine = !s->given && s->helpers > 0;
    if (mine) {
        s->given = true;
        s->job = job;
        s->jobs = n;
        atomic_store(&s->next, 0);
        s->turn++;
        pthread_cond_broadcast(&s->wake);
        pthread_mutex_unlock(&s->lock);
        do_jobs(s);
        pthread_mutex_lock(&s->lock);
        while (s->working) pthread_cond_wait(&s->idle, &s->lock);
        s->given = false;
    }
    pthread_mutex_unlock(&s->lock);
    return mine;
}

/* ---- the signatures of some transactions ----------------------------------------- */

/* To be checked, and with a key that its id names. */
static bool open_for(const vch_prepared_t *p) { return !p->checked && p->key.n; }

static size_t count_jobs(nd_request_t *const *request, size_t n)
{
    size_t jobs = 0;
    for (size_t i = 0; i < n; i++)
        if (open_for(&request[i]->prepared)) jobs += vch_tx_signatures(&request[i]->prepared);
    return jobs;
}

static void put_jobs(job_t *job, nd_request_t *const *request, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const vch_prepared_t *p = &request[i]->prepared;
        for (uint32_t k = 0; open_for(p) && k < vch_tx_signatures(p); k++) *job++ = (job_t){.tx = p, .number = k};
    }
}

static void take_results(const job_t *job, nd_request_t *const *request, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        vch_prepared_t *p = &request[i]->prepared;
        if (!open_for(p)) continue;
        bool good = true;
        for (uint32_t k = 0; k < vch_tx_signatures(p); k++) good &= (job++)->good;
        p->checked = good;
    }
}

static void check(nd_signatures_t *s, nd_request_t *const *request, size_t n)
{
    job_t few[SHARE_MIN] = {0};
    size_t jobs = count_jobs(request, n);
    if (jobs == 0) return;
    job_t *job = jobs <= SHARE_MIN ? few : vch_alloc_array(jobs, sizeof *job);
    if (!job) return; /* it is all done later, one after the other */
    put_jobs(job, request, n);
    if (jobs <= SHARE_MIN || !share(s, job, jobs))
        for (size_t i = 0; i < jobs; i++) do_job(&job[i]);
    take_results(job, request, n);
    if (job != few) vch_free(job);
}

/* ---- keys seen before ---------------------------------------------------------------- */

static size_t place_of(const vch_keyid_t *id) { return vch_get_u16(id->b) % KNOWN; }

static bool recall(nd_signatures_t *s, const vch_keyid_t *id, vch_pubkey_t *ret)
{
    pthread_mutex_lock(&s->known_lock);
    vch_pubkey_t key = s->known[place_of(id)];
    pthread_mutex_unlock(&s->known_lock);
    if (key.n == 0) return false;
    vch_keyid_t its = vch_pubkey_id(&key);
    if (!vch_keyid_eq(&its, id)) return false;
    *ret = key;
    return true;
}

void nd_signatures_learn(nd_signatures_t *s, const vch_prepared_t *verified)
{
    vch_pubkey_t *at = &s->known[place_of(&verified->entry.cose.kid)];
    pthread_mutex_lock(&s->known_lock);
    *at = verified->key;
    pthread_mutex_unlock(&s->known_lock);
}

/* ---- where it is done ----------------------------------------------------------------- */

void nd_signatures_ahead(nd_signatures_t *s, nd_request_t *const *request, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        vch_prepared_t *p = &request[i]->prepared;
        (void)recall(s, &p->entry.cose.kid, &p->key);
    }
    check(s, request, n);
}

void nd_signatures_batch(vch_ledger_t *l, nd_request_t *list)
{
    nd_signatures_t *s = l->in->signatures;
    size_t n = 0, signatures = 0;
    for (nd_request_t *r = list; r; r = r->next)
        if (!r->signer && !r->prepared.checked) signatures += vch_tx_signatures(&r->prepared), n++;
    if (signatures <= SHARE_MIN || s->cores < 2) return; /* checked as each one's turn comes */
    nd_request_t **request = vch_alloc_array(n, sizeof *request);
    if (!request) return;
    n = 0;
    for (nd_request_t *r = list; r; r = r->next) {
        vch_prepared_t *p = &r->prepared;
        if (r->signer || p->checked) continue;
        /* A key that an earlier one of them registers is not there yet. */
        if (p->key.n == 0 && vch_state_signer(l->state, p, &p->key, NULL) != VCH_OK) continue;
        request[n++] = r;
    }
    check(s, request, n);
    vch_free(request);
}

/* ---- life -------------------------------------------------------------------------------- */

nd_signatures_t *nd_signatures_new(const vch_port_t *port)
{
    nd_signatures_t *s = vch_alloc(sizeof *s);
    if (!s) return NULL;
    s->cores = vch_port_cores(port);
    pthread_mutex_init(&s->known_lock, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    pthread_cond_init(&s->idle, NULL);
    return s;
}

void nd_signatures_free(nd_signatures_t *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->helpers; i++) pthread_join(s->helper[i], NULL);
    pthread_cond_destroy(&s->idle);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->known_lock);
    vch_free(s);
}
