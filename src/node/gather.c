/* SPDX-License-Identifier: Apache-2.0 */
/* The log's side of tlog-witness: send the newest checkpoint around, believe
 * only what verifies, keep what came back.
 *
 *   lock: checkpoint, proofs │ ask all │ lock: proofs │ ask again who named another size │ lock: keep
 *
 * A witness's word about what it cosigned is held against its own signatures:
 * one that names a smaller size than it has signed forgot or lies, and one that
 * names a size which this log never had saw another log of this name. */
#include "node/node_int.h"
#include "node/witness.h"

#include <stdarg.h>
#include <stdio.h>

#include "codec/text.h"

#define POLICY_BYTES_MAX (1u << 20)
#define URL_MAX 1100
#define ANSWER_MAX (64u << 10)
#define LOOKS 256        /* kept notes that are asked for what the witnesses signed */
#define PARTIAL_MS 60000 /* notes without the quorum are kept no more often */

typedef struct {
    const vch_policy_node_t *node;
    nd_witness_t *known;
    char url[URL_MAX];
    vch_buf_t body;
    vch_answer_t answer;
    uint64_t sent;  /* the old size in the request */
    bool ask, good; /* to be asked in this turn; its line is in `line` */
    vch_buf_t line;
} one_t;

typedef struct {
    vch_ledger_t *l;
    vch_trust_t *trust;
    vch_buf_t policy, head; /* head: the newest checkpoint, with whatever signatures it has by now */
    vch_note_t *note;       /* of head */
    vch_checkpoint_t checkpoint;
    vch_buf_t bare; /* the checkpoint with the log's own signatures */
    one_t *one;
    size_t n;
    uint64_t timeout_ms;
    vch_gather_t *ret;
    vch_err_t *err;
} gather_t;

/* Several may have gone wrong; the first ones fit. */
VCH_PRINTF(3, 4)
static void tell(gather_t *g, const one_t *o, const char *fmt, ...)
{
    char text[160];
    size_t had = strlen(g->ret->note);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)snprintf(g->ret->note + had, sizeof g->ret->note - had, "%switness %.*s %s", had ? "; " : "",
                   (int)vch_min(o->node->name.n, 60), (const char *)o->node->name.p, text);
}

static vch_rc no_memory(gather_t *g) { return vch_fail(g->err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- what the witnesses signed before ------------------------------------------------ */

typedef struct {
    gather_t *g;
    vch_note_t *note;
    unsigned looks;
} past_t;

static bool look_at_past(void *ctx, uint64_t size, vch_slice_t bytes)
{
    past_t *p = ctx;
    size_t missing = 0;
    bool readable = vch_note_get(p->note, bytes) == VCH_OK;
    for (size_t i = 0; i < p->g->n; i++) {
        nd_witness_t *w = p->g->one[i].known;
        if (w->seen) continue;
        if (readable && vch_note_verify(p->note, &p->g->one[i].node->vkey, NULL) == VCH_SIG_GOOD)
            w->seen = w->old = size;
        missing += w->seen == 0;
    }
    return missing > 0 && ++p->looks < LOOKS;
}

static vch_rc recall(gather_t *g)
{
    past_t p = {.g = g, .note = vch_alloc(sizeof *p.note)};
    if (!p.note) return no_memory(g);
    vch_rc rc = vch_log_cosigned_back(g->l->log, look_at_past, &p, g->err);
    vch_free(p.note);
    return rc;
}

/* Its entry, made when it is new.  Room was made for all. */
static nd_witness_t *known_of(nd_witnesses_t *w, const vch_vkey_t *vkey, bool *ret_fresh)
{
    for (size_t i = 0; i < w->n; i++)
        if (memcmp(w->one[i].key, vkey->key, 32) == 0) return &w->one[i];
    nd_witness_t *fresh = &w->one[w->n++];
    *fresh = (nd_witness_t){.old = 0};
    memcpy(fresh->key, vkey->key, 32);
    *ret_fresh = true;
    return fresh;
}

static vch_rc know_all(gather_t *g)
{
    nd_witnesses_t *w = &g->l->in->witnesses;
    bool fresh = false;
    if (g->n == 0) return VCH_OK;
    nd_witness_t *more = vch_resize(w->one, (w->n + g->n) * sizeof *more);
    if (!more) return no_memory(g);
    w->one = more;
    for (size_t i = 0; i < g->n; i++) g->one[i].known = known_of(w, &g->one[i].node->vkey, &fresh);
    return fresh ? recall(g) : VCH_OK;
}

/* ---- before anybody is asked ------------------------------------------------------------ */

static vch_rc name_witnesses(gather_t *g)
{
    const vch_trust_t *t = g->trust;
    g->one = vch_alloc_array(t->nodes + 1, sizeof *g->one);
    if (!g->one) return no_memory(g);
    for (size_t i = 0; i < t->nodes; i++) {
        const vch_policy_node_t *node = &t->node[i];
        if (node->is_group || node->url.n == 0) continue;
        one_t *o = &g->one[g->n];
        size_t n = node->url.n;
        while (n > 0 && node->url.p[n - 1] == '/') n--;
        if (n > sizeof o->url - sizeof "/add-checkpoint")
            return vch_fail(g->err, VCH_ERR_LIMIT, "the URL of witness %.*s is too long",
                            (int)vch_min(node->name.n, 100), (const char *)node->name.p);
        o->node = node;
        (void)snprintf(o->url, sizeof o->url, "%.*s/add-checkpoint", (int)n, (const char *)node->url.p);
        vch_buf_init(&o->body, VCH_ASK_BYTES_MAX);
        vch_buf_init(&o->line, ANSWER_MAX);
        vch_buf_init(&o->answer.body, ANSWER_MAX);
        g->n++;
    }
    return VCH_OK;
}

static vch_rc put_line(vch_buf_t *b, const vch_note_sig_t *s)
{
    return vch_buf_printf(b, "\xe2\x80\x94 %.*s %.*s\n", (int)s->name.n, (const char *)s->name.p, (int)s->blob_base64.n,
                          (const char *)s->blob_base64.p);
}

/* Text and the log's own signatures. */
static vch_rc put_bare(gather_t *g)
{
    const vch_note_t *n = g->note;
    VCH_TRY(vch_buf_put(&g->bare, n->text.p, n->text.n));
    VCH_TRY(vch_buf_u8(&g->bare, '\n'));
    for (size_t i = 0; i < n->sigs; i++)
        if (vch_slice_eq(n->sig[i].name, g->checkpoint.origin)) VCH_TRY(put_line(&g->bare, &n->sig[i]));
    return VCH_OK;
}

static vch_rc take_checkpoint(gather_t *g)
{
    VCH_TRY(nd_may_go_on(g->l, g->err));
    VCH_TRY(nd_enter(g->l, g->err));
    vch_rc rc = nd_sign(g->l, &g->head, g->err);
    nd_leave(g->l);
    VCH_TRY(rc);
    g->note = vch_alloc(sizeof *g->note);
    if (!g->note) return no_memory(g);
    if (vch_note_get(g->note, vch_buf_slice(&g->head)) != VCH_OK ||
        vch_checkpoint_get(&g->checkpoint, g->note->text) != VCH_OK)
        return vch_fail(g->err, VCH_ERR_CORRUPT, "log/head holds no checkpoint");
    g->ret->size = g->checkpoint.size;
    return put_bare(g) == VCH_OK ? VCH_OK : no_memory(g);
}

/* The request from `old`, with the proof that leads from there. */
static vch_rc put_request(gather_t *g, one_t *o, uint64_t old)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n = 0;
    if (old > 0 && old < g->checkpoint.size)
        VCH_TRY(vch_log_consistency(g->l->log, old, g->checkpoint.size, path, &n, g->err));
    vch_buf_clear(&o->body);
    o->sent = old;
    o->ask = true;
    vch_rc rc = vch_witness_ask_put(&o->body, old, path, n, vch_buf_slice(&g->bare));
    return rc == VCH_OK ? rc : vch_fail(g->err, rc, "writing a request: %s", vch_rc_text(rc));
}

static vch_rc prepare(gather_t *g)
{
    VCH_TRY(nd_witness_policy(g->l, g->trust, &g->policy, g->err));
    VCH_TRY(name_witnesses(g));
    VCH_TRY(take_checkpoint(g));
    VCH_TRY(know_all(g));
    for (size_t i = 0; i < g->n; i++) {
        uint64_t old = g->one[i].known->old;
        VCH_TRY(put_request(g, &g->one[i], old < g->checkpoint.size ? old : g->checkpoint.size));
    }
    g->ret->asked = (unsigned)g->n;
    return VCH_OK;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Those whose turn it is, all at once. */
static vch_rc ask(gather_t *g, vch_transport_t *transport, uint64_t timeout_ms)
{
    vch_ask_t *ask = vch_alloc_array(g->n + 1, sizeof *ask);
    vch_answer_t *answer = vch_alloc_array(g->n + 1, sizeof *answer);
    size_t n = 0;
    for (size_t i = 0; ask && answer && i < g->n; i++) {
        one_t *o = &g->one[i];
        if (!o->ask) continue;
        ask[n] = (vch_ask_t){
            .url = o->url, .post = true, .type = "text/plain; charset=utf-8", .body = vch_buf_slice(&o->body)};
        vch_buf_clear(&o->answer.body);
        answer[n++] = (vch_answer_t){.rc = VCH_ERR_UNREACHABLE, .body = o->answer.body};
    }
    vch_rc rc = ask && answer ? VCH_OK : no_memory(g);
    if (n > 0) transport->ask(transport, ask, answer, n, timeout_ms);
    for (size_t i = 0, k = 0; rc == VCH_OK && i < g->n; i++)
        if (g->one[i].ask) g->one[i].answer = answer[k++];
    vch_free(ask);
    vch_free(answer);
    return rc;
}

/* The lines of an answer that are this witness's and verify under the checkpoint. */
static vch_rc take_lines(gather_t *g, one_t *o, vch_note_t *note, vch_buf_t *whole)
{
    uint64_t seconds = 0;
    const vch_vkey_t *k = &o->node->vkey;
    vch_slice_t body = vch_buf_slice(&o->answer.body);
    if (vch_buf_put(whole, g->note->text.p, g->note->text.n) != VCH_OK || vch_buf_u8(whole, '\n') != VCH_OK ||
        vch_buf_put(whole, body.p, body.n) != VCH_OK)
        return no_memory(g);
    if (vch_note_get(note, vch_buf_slice(whole)) != VCH_OK) {
        tell(g, o, "answers something unreadable");
        return VCH_OK;
    }
    vch_sig_state_t state = vch_note_verify(note, k, &seconds);
    if (state == VCH_SIG_BAD || (state == VCH_SIG_GOOD && seconds == 0))
        tell(g, o, state == VCH_SIG_BAD ? "sent a forged cosignature" : "sent a cosignature without a time");
    else if (state == VCH_SIG_ABSENT)
        tell(g, o, "answers without its cosignature");
    else {
        for (size_t i = 0; i < note->sigs; i++)
            if (vch_slice_eq(note->sig[i].name, k->name) && memcmp(note->sig[i].id, k->id, 4) == 0)
                if (put_line(&o->line, &note->sig[i]) != VCH_OK) return no_memory(g);
        o->good = true;
        o->known->old = o->known->seen = g->checkpoint.size;
    }
    return VCH_OK;
}

static vch_rc take_cosignature(gather_t *g, one_t *o)
{
    vch_buf_t whole;
    vch_note_t *note = vch_alloc(sizeof *note);
    if (!note) return no_memory(g);
    vch_buf_init(&whole, VCH_NOTE_BYTES_MAX + ANSWER_MAX);
    vch_rc rc = take_lines(g, o, note, &whole);
    vch_buf_free(&whole);
    vch_free(note);
    return rc;
}

/* "409": the size that it cosigned last, as it says. */
static vch_rc take_size(gather_t *g, one_t *o, bool again)
{
    uint64_t told = 0;
    vch_slice_t body = vch_buf_slice(&o->answer.body);
    bool whole = body.n > 1 && body.p[body.n - 1] == '\n';
    if (!whole || vch_decimal_get(&told, vch_slice(body.p, body.n - 1)) != VCH_OK)
        tell(g, o, "answers 409 without a size");
    else if (told == o->sent)
        tell(g, o, "contradicts itself: it refuses the size %llu and names it", (unsigned long long)told);
    else if (told < o->known->seen)
        tell(g, o, "says that it cosigned %llu entries last, but its cosignature of %llu is kept here",
             (unsigned long long)told, (unsigned long long)o->known->seen);
    else if (told > vch_log_size(g->l->log))
        tell(g, o,
             "has cosigned %llu entries of this log, which has %llu: the log was copied or rolled back, or the "
             "witness lies",
             (unsigned long long)told, (unsigned long long)vch_log_size(g->l->log));
    else if (!again && told <= g->checkpoint.size)
        return put_request(g, o, told); /* else somebody else is sending a checkpoint around, too */
    return VCH_OK;
}

static vch_rc judge_answer(gather_t *g, one_t *o, bool again)
{
    const vch_answer_t *a = &o->answer;
    o->ask = false;
    if (a->rc != VCH_OK)
        tell(g, o, "can't be reached%s%.100s", a->err.text[0] ? ": " : "", a->err.text);
    else if (a->status == 200)
        return take_cosignature(g, o);
    else if (a->status == 409)
        return take_size(g, o, again);
    else if (a->status == 422)
        tell(g, o, "knows another history of this log at %llu entries", (unsigned long long)o->sent);
    else if (a->status == 404)
        tell(g, o, "does not serve this log");
    else if (a->status == 403)
        tell(g, o, "does not know this log's key");
    else
        tell(g, o, "answers with status %d", a->status);
    return VCH_OK;
}

static vch_rc judge_answers(gather_t *g, bool again)
{
    vch_rc rc = VCH_OK;
    pthread_mutex_lock(&g->l->mutex);
    for (size_t i = 0; i < g->n && rc == VCH_OK; i++)
        if (g->one[i].ask) rc = judge_answer(g, &g->one[i], again);
    pthread_mutex_unlock(&g->l->mutex);
    return rc;
}

static vch_rc ask_all(gather_t *g, vch_transport_t *transport)
{
    const vch_clock_ops_t *clock = g->l->port->clock;
    uint64_t timeout_ms = g->timeout_ms;
    uint64_t began = clock->boot_ms(g->l->port);
    if (g->n == 0) return VCH_OK;
    VCH_TRY(ask(g, transport, timeout_ms));
    VCH_TRY(judge_answers(g, false));
    bool more = false;
    for (size_t i = 0; i < g->n; i++) more = more || g->one[i].ask;
    uint64_t gone = clock->boot_ms(g->l->port) - began;
    if (!more) return VCH_OK;
    VCH_TRY(ask(g, transport, gone < timeout_ms ? timeout_ms - gone : 1));
    return judge_answers(g, true);
}

/* ---- keeping what came back ---------------------------------------------------------------------- */

/* New lines, and of those that gave none now what they gave for this checkpoint before. */
static vch_rc put_cosigned(gather_t *g, const vch_note_t *before, vch_buf_t *b)
{
    VCH_TRY(vch_buf_put(b, g->bare.p, g->bare.n));
    for (size_t i = 0; i < g->trust->nodes; i++) {
        const vch_policy_node_t *node = &g->trust->node[i];
        const one_t *o = NULL;
        for (size_t k = 0; k < g->n; k++)
            if (g->one[k].node == node) o = &g->one[k];
        if (node->is_group) continue;
        if (o && o->good) {
            VCH_TRY(vch_buf_put(b, o->line.p, o->line.n));
            continue;
        }
        if (vch_note_verify(before, &node->vkey, NULL) != VCH_SIG_GOOD) continue;
        for (size_t k = 0; k < before->sigs; k++)
            if (vch_slice_eq(before->sig[k].name, node->vkey.name) && memcmp(before->sig[k].id, node->vkey.id, 4) == 0)
                VCH_TRY(put_line(b, &before->sig[k]));
    }
    return VCH_OK;
}

static vch_rc judge_note(gather_t *g, vch_note_t *note, vch_slice_t bytes, vch_trust_result_t *ret)
{
    vch_checkpoint_t c;
    vch_rc rc = vch_note_get(note, bytes);
    if (rc == VCH_OK) rc = vch_checkpoint_get(&c, note->text);
    if (rc == VCH_OK) rc = vch_trust_judge(g->trust, note, &c, ret);
    return rc == VCH_OK ? rc : vch_fail(g->err, rc, "reading a cosigned checkpoint: %s", vch_rc_text(rc));
}

/* More witnesses than anything kept of this size; without the quorum only now
 * and then, for such notes could come every second, and prove little. */
static vch_rc is_news(gather_t *g, vch_note_t *note, const vch_trust_result_t *now, bool *ret)
{
    uint64_t size = 0, boot = g->l->port->clock->boot_ms(g->l->port);
    vch_trust_result_t was = {.witnesses = 0};
    vch_buf_t kept;
    vch_buf_init(&kept, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_ledger_cosigned(g->l, g->checkpoint.size, &kept, &size, NULL);
    if (rc == VCH_OK && size == g->checkpoint.size) rc = judge_note(g, note, vch_buf_slice(&kept), &was);
    vch_buf_free(&kept);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    nd_witnesses_t *w = &g->l->in->witnesses;
    *ret = now->witnesses > was.witnesses && (now->quorum || !w->partial_boot || boot - w->partial_boot >= PARTIAL_MS);
    if (*ret && !now->quorum) w->partial_boot = boot;
    return VCH_OK;
}

/* Into log/cosigned first; then, if it is still the newest, into log/head and tlog/checkpoint. */
static vch_rc keep_note(gather_t *g, vch_note_t *note, vch_slice_t bytes, const vch_trust_result_t *now,
                        uint64_t head_size)
{
    bool news = false;
    VCH_TRY(is_news(g, note, now, &news));
    if (news) VCH_TRY(vch_log_keep_cosigned(g->l->log, g->checkpoint.size, bytes, g->err));
    if (head_size != g->checkpoint.size) return VCH_OK;
    VCH_TRY(vch_log_sign(g->l->log, head_size, bytes, g->err));
    return vch_log_publish_head(g->l->log, g->err);
}

static vch_rc keep_inside(gather_t *g, vch_note_t *note, vch_buf_t *head, vch_buf_t *cosigned)
{
    vch_trust_result_t now;
    uint64_t head_size = 0;
    VCH_TRY(vch_log_head(g->l->log, head, &head_size, g->err));
    vch_slice_t before = vch_buf_slice(head_size == g->checkpoint.size ? head : &g->head);
    if (vch_note_get(note, before) != VCH_OK || !vch_slice_eq(note->text, g->note->text))
        return vch_fail(g->err, VCH_ERR_CORRUPT, "log/head holds another checkpoint of %llu entries",
                        (unsigned long long)head_size);
    if (put_cosigned(g, note, cosigned) != VCH_OK) return no_memory(g);
    VCH_TRY(judge_note(g, note, vch_buf_slice(cosigned), &now));
    g->ret->cosigned = 0;
    for (size_t i = 0; i < g->n; i++) g->ret->cosigned += g->one[i].good;
    g->ret->quorum = now.quorum;
    if (g->ret->cosigned > 0) VCH_TRY(keep_note(g, note, vch_buf_slice(cosigned), &now, head_size));
    return nd_committed(g->l, &g->ret->committed, g->err);
}

static vch_rc keep(gather_t *g)
{
    vch_buf_t head, cosigned;
    vch_note_t *note = vch_alloc(sizeof *note);
    if (!note) return no_memory(g);
    vch_buf_init(&head, VCH_NOTE_BYTES_MAX);
    vch_buf_init(&cosigned, VCH_NOTE_BYTES_MAX);
    pthread_mutex_lock(&g->l->mutex);
    vch_rc rc = nd_enter(g->l, g->err);
    if (rc == VCH_OK) {
        rc = keep_inside(g, note, &head, &cosigned);
        nd_leave(g->l);
    }
    pthread_mutex_unlock(&g->l->mutex);
    vch_buf_free(&head);
    vch_buf_free(&cosigned);
    vch_free(note);
    return rc;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

static void free_all(gather_t *g)
{
    for (size_t i = 0; i < g->n; i++) {
        vch_buf_free(&g->one[i].body);
        vch_buf_free(&g->one[i].line);
        vch_buf_free(&g->one[i].answer.body);
    }
    vch_free(g->one);
    vch_free(g->trust);
    vch_free(g->note);
    vch_buf_free(&g->policy);
    vch_buf_free(&g->head);
    vch_buf_free(&g->bare);
}

static vch_rc gather(gather_t *g, vch_transport_t *transport)
{
    pthread_mutex_lock(&g->l->mutex);
    vch_rc rc = g->trust ? prepare(g) : no_memory(g);
    if (g->timeout_ms == 0) g->timeout_ms = g->l->in->witness_timeout_ms;
    pthread_mutex_unlock(&g->l->mutex);
    if (rc == VCH_OK) rc = nd_publish(g->l, g->err);
    if (rc == VCH_OK) rc = ask_all(g, transport);
    return rc == VCH_OK ? keep(g) : rc;
}

vch_rc vch_ledger_gather(vch_ledger_t *l, vch_transport_t *transport, uint64_t timeout_ms, vch_gather_t *ret,
                         vch_err_t *err)
{
    VCH_TRY(vch_here(l, err));
    vch_gather_t found = {.size = 0};
    gather_t g = {.l = l, .trust = vch_alloc(sizeof *g.trust), .timeout_ms = timeout_ms, .ret = &found, .err = err};
    vch_buf_init(&g.policy, POLICY_BYTES_MAX);
    vch_buf_init(&g.head, VCH_NOTE_BYTES_MAX);
    vch_buf_init(&g.bare, VCH_NOTE_BYTES_MAX);
    pthread_mutex_lock(&l->in->witnesses.mutex);
    vch_rc rc = gather(&g, transport);
    pthread_mutex_unlock(&l->in->witnesses.mutex);
    free_all(&g);
    if (rc == VCH_OK) *ret = found;
    return nd_told(rc, err);
}
