/* SPDX-License-Identifier: Apache-2.0 */
/* The write path: whoever comes first leads, takes everything that queued up
 * while it waited, and makes it durable with as few syncs as there are blocks
 * in it; the others wait for their result.
 *
 *   queue → leader: mutex → writer lock → others' tail → verify, apply →
 *   one append per block part → unlock → results
 *
 * State runs ahead of the log only between apply and append, under the mutex;
 * if the append fails the two differ, and the handle is done for. */
#include "node/node_int.h"
#include "node/service.h"

#include "entry/note.h"
#include "merkle/tree.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- what holds before anything is done ------------------------------------------ */

vch_rc nd_alive(const vch_ledger_t *l, vch_err_t *err)
{
    VCH_TRY(vch_here(l, err));
    if (!l->poisoned) return VCH_OK;
    return vch_hint(err, vch_fail(err, VCH_ERR_IO, "the ledger stopped after a failed write"),
                    "close it and open it again; what was acknowledged is safe");
}

vch_rc nd_may_go_on(const vch_ledger_t *l, vch_err_t *err)
{
    if (l->mirror)
        return vch_hint(err, vch_fail(err, VCH_ERR_CONFLICT, "this directory mirrors another node's log"),
                        "submit to that node, and catch up with vouch log mirror");
    if (!l->restored) return VCH_OK;
    return vch_hint(
        err,
        vch_fail(err, VCH_ERR_CONFLICT, "the ledger was restored from a backup, and its log may have gone on since"),
        "catch up first: vouch log mirror URL; or restore it under a new name: vouch backup restore --new-origin");
}

uint64_t nd_now(vch_ledger_t *l) { return l->port->clock->wall_ms(l->port); }

static vch_rc check_room(vch_ledger_t *l, vch_err_t *err)
{
    uint64_t free_bytes;
    vch_rc rc = l->port->disk->free_space(l->port, l->dir, &free_bytes);
    if (rc != VCH_OK) return vch_fail(err, rc, "asking for free space in %s: %s", l->dir, vch_rc_text(rc));
    if (free_bytes >= l->min_free_bytes) return VCH_OK;
    return vch_hint(err,
                    vch_fail(err, VCH_ERR_FULL, "%llu MiB are free in %s, at least %llu are kept",
                             (unsigned long long)(free_bytes >> 20), l->dir,
                             (unsigned long long)(l->min_free_bytes >> 20)),
                    "free some space, or lower [ledger] min_free_mib in vouch.conf; nothing was written");
}

static vch_rc check_writable(const vch_ledger_t *l, vch_err_t *err)
{
    VCH_TRY(nd_alive(l, err));
    if (l->flags & VCH_LEDGER_READ_ONLY)
        return vch_fail(err, VCH_ERR_READ_ONLY, "the ledger was opened for reading only");
    return VCH_OK;
}

/* ---- the state follows the log ------------------------------------------------------ */

static vch_rc take_in(vch_ledger_t *l, vch_err_t *err)
{
    VCH_TRY(vch_log_refresh(l->log, err));
    if (l->in->suspect) return nd_rebuild(l, err);
    vch_rc rc = nd_catch_up(l, err);
    if (rc == VCH_OK) return rc;
    if (rc == VCH_ERR_CORRUPT) return nd_rebuild(l, err); /* derived data may be at fault: try without */
    l->poisoned = true;                                   /* half of a block may be in */
    return rc;
}

vch_rc nd_enter(vch_ledger_t *l, vch_err_t *err)
{
    VCH_TRY(check_writable(l, err));
    vch_rc rc = l->port->disk->lock(l->port, l->lock_file, VCH_LOCK_EXCLUSIVE, l->lock_wait_ms);
    if (rc != VCH_OK)
        return vch_hint(err, vch_fail(err, rc, "waiting for the writer lock of %s: %s", l->dir, vch_rc_text(rc)),
                        "another process is writing; try again");
    rc = take_in(l, err);
    if (rc != VCH_OK) nd_leave(l);
    return rc;
}

void nd_leave(vch_ledger_t *l) { l->port->disk->unlock(l->port, l->lock_file); }

/* ---- one sync group -------------------------------------------------------------------- */

typedef struct {
    vch_ledger_t *l;
    vch_record_t *record;
    size_t n, cap, bytes;
    uint64_t height, first;
    vch_time_t time;
    nd_request_t *pending; /* whose fate hangs on this group, newest first */
    vch_buf_t commit;      /* the state-commit that ends it, if any */
} group_t;

static vch_rc group_room(group_t *g, size_t n, vch_err_t *err)
{
    if (g->n + n <= g->cap) return VCH_OK;
    size_t cap = g->cap ? 2 * g->cap : 64;
    vch_record_t *more = vch_resize(g->record, cap * sizeof *more);
    if (!more) return no_memory(err);
    g->record = more;
    g->cap = cap;
    return VCH_OK;
}

static void group_add(group_t *g, uint64_t index, const vch_record_t *record)
{
    if (g->n == 0) g->first = index;
    g->record[g->n++] = *record;
    g->bytes += record->entry.n;
    for (uint32_t i = 0; i < record->count; i++) g->bytes += record->statements[i].n;
}

static vch_rc group_append(group_t *g, vch_err_t *err)
{
    uint64_t first = 0;
    VCH_TRY(vch_log_append(g->l->log, g->height, g->time, g->record, g->n, &first, err));
    g->l->wrote = true;
    if (first == g->first) return VCH_OK;
    return vch_fail(err, VCH_ERR_INTERNAL, "leaf %llu was expected to be %llu", (unsigned long long)first,
                    (unsigned long long)g->first);
}

/* Make it durable and tell everybody in it; afterwards it is empty. */
static vch_rc group_flush(group_t *g, vch_err_t *err)
{
    vch_err_t why = {0};
    vch_rc rc = g->n ? group_append(g, &why) : VCH_OK;
    if (rc != VCH_OK) {
        g->l->poisoned = true;
        if (err) *err = why;
    }
    for (nd_request_t *r = g->pending; r; r = r->next_pending) {
        r->rc = rc;
        if (rc != VCH_OK) r->err = why;
    }
    g->pending = NULL;
    g->n = g->bytes = 0;
    vch_buf_clear(&g->commit);
    return rc;
}

/* ---- blocks -------------------------------------------------------------------------------- */

static vch_rc close_into(group_t *g, vch_err_t *err)
{
    vch_ledger_t *l = g->l;
    vch_state_info_t info;
    vch_state_info(l->state, &info);
    VCH_TRY(group_room(g, 1, err));
    vch_rc rc = vch_state_close_block(l->state, &g->commit, err);
    if (rc != VCH_OK) {
        l->poisoned = true; /* a block that can't be closed leaves no usable state */
        return rc;
    }
    g->height = info.height + 1;
    g->time = info.time;
    vch_record_t record = {.entry = vch_buf_slice(&g->commit)};
    group_add(g, info.applied, &record);
    return group_flush(g, err);
}

static void maybe_save(vch_ledger_t *l)
{
    /* A save that fails costs time at the next opening, nothing else. */
    nd_save_beside(l);
}

static vch_rc close_open(group_t *g, vch_err_t *err)
{
    vch_state_info_t info;
    vch_state_info(g->l->state, &info);
    if (info.open_count == 0) return VCH_OK;
    VCH_TRY(close_into(g, err));
    maybe_save(g->l);
    return VCH_OK;
}

/* Begun by another process, or old enough. */
static vch_rc close_stale(group_t *g, vch_err_t *err)
{
    vch_ledger_t *l = g->l;
    vch_state_info_t info;
    vch_state_info(l->state, &info);
    bool ours = l->in->ours && l->in->ours_first == info.open_first;
    bool young = ours && l->port->clock->boot_ms(l->port) - l->block_began_boot < l->block_ms;
    return young ? VCH_OK : close_open(g, err);
}

/* In one sync with what it ends; a refusal leaves it open, or the handle done for. */
static void close_large(group_t *g)
{
    vch_state_info_t info;
    vch_state_info(g->l->state, &info);
    if (!g->l->poisoned && info.open_count >= ND_BLOCK_ENTRIES) (void)close_open(g, NULL);
}

static vch_time_t block_time(vch_ledger_t *l, const vch_state_info_t *info)
{
    uint64_t now = nd_now(l);
    return info->open_count || now < info->time.ms ? info->time : (vch_time_t){now};
}

static void group_free(group_t *g)
{
    vch_free(g->record);
    vch_buf_free(&g->commit);
}

vch_rc nd_close_block(vch_ledger_t *l, vch_err_t *err)
{
    group_t g = {.l = l};
    vch_buf_init(&g.commit, 4096);
    vch_rc rc = l->restored || l->mirror ? VCH_OK : close_open(&g, err);
    group_free(&g);
    return rc;
}

/* ---- one transaction ------------------------------------------------------------------------ */

vch_rc vch_next_sequence(vch_ledger_t *l, const vch_id_t *party, uint64_t *ret, vch_err_t *err)
{
    vch_sequences_value_t w = {0};
    vch_buf_t value;
    vch_state_key_t key = vch_key_id('q', party->b);
    vch_buf_init(&value, 256);
    vch_rc rc = vch_state_get(l->state, vch_key_slice(&key), &value, err);
    if (rc == VCH_OK) rc = vch_sequences_get(&w, vch_buf_slice(&value));
    vch_buf_free(&value);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    *ret = w.high + 1;
    return VCH_OK;
}

static vch_rc sign(vch_ledger_t *l, nd_request_t *r)
{
    vch_entry_head_t head = {.network = l->network, .kind = r->kind};
    vch_id_t party;
    VCH_TRY(vch_party_of(l, r->signer, &party, &r->err));
    VCH_TRY(vch_next_sequence(l, &party, &head.sequence, &r->err));
    vch_buf_clear(&r->entry);
    VCH_TRY(vch_entry_sign(&r->entry, &head, r->tx.statements, r->tx.count, r->signer, &r->err));
    r->tx.entry = vch_buf_slice(&r->entry);
    return vch_tx_prepare(&r->prepared, &r->tx, &r->arena, &r->err);
}

static vch_rc receipt_outcome(vch_receipt_t *ret, vch_slice_t leaf)
{
    vch_outcome_t o;
    VCH_TRY(vch_outcome_get(&o, leaf));
    ret->has_outcome = 1;
    ret->permit = o.permit;
    ret->rows = o.count;
    ret->expires = o.expires;
    memcpy(ret->rule, o.rule, sizeof ret->rule);
    return VCH_OK;
}

static vch_rc apply(group_t *g, nd_request_t *r, vch_state_info_t *info)
{
    vch_ledger_t *l = g->l;
    vch_state_info(l->state, info);
    vch_time_t time = block_time(l, info);
    VCH_TRY(group_room(g, 2, &r->err));
    VCH_TRY(vch_state_apply(l->state, &r->prepared, time, &r->outcome, &r->err));
    if (info->open_count == 0) {
        l->in->ours = true;
        l->in->ours_first = info->applied;
        l->block_began_boot = l->port->clock->boot_ms(l->port);
    }
    g->height = info->height + 1;
    g->time = time;
    return VCH_OK;
}

static vch_rc accept_one(group_t *g, nd_request_t *r)
{
    vch_state_info_t before;
    VCH_TRY(apply(g, r, &before));
    const vch_id_t *id = &r->prepared.entry.id;
    r->receipt = (vch_receipt_t){.entry = *id,
                                 .index = before.applied,
                                 .time = g->time,
                                 .object = vch_object_id(id, 0),
                                 .count = r->prepared.tx.count};
    vch_record_t record = {.entry = r->tx.entry, .statements = r->tx.statements, .count = r->tx.count};
    group_add(g, before.applied, &record);
    r->next_pending = g->pending;
    g->pending = r;
    if (r->outcome.n == 0) return VCH_OK;
    vch_record_t outcome = {.entry = vch_buf_slice(&r->outcome)};
    group_add(g, before.applied + 1, &outcome);
    return receipt_outcome(&r->receipt, outcome.entry);
}

static vch_rc verify_and_accept(group_t *g, nd_request_t *r)
{
    vch_ledger_t *l = g->l;
    if (r->signer) VCH_TRY(sign(l, r));
    vch_rc rc = vch_state_find(l->state, &r->prepared.entry.id, &r->place);
    if (rc == VCH_OK) {
        r->again = true;
        return VCH_OK;
    }
    if (rc != VCH_ERR_NOT_FOUND) return vch_fail(&r->err, rc, "looking for the entry: %s", vch_rc_text(rc));
    VCH_TRY(vch_state_verify(l->state, &r->prepared, &r->err));
    nd_signatures_learn(l->in->signatures, &r->prepared);
    /* A request is decided on the state that the last state-commit names. */
    if (vch_schema(r->prepared.entry.kind)->decided) VCH_TRY(close_open(g, &r->err));
    return accept_one(g, r);
}

static void run_one(group_t *g, nd_request_t *r)
{
    vch_ledger_t *l = g->l;
    r->rc = nd_alive(l, &r->err);
    if (r->rc != VCH_OK) return;
    vch_rc rc = verify_and_accept(g, r);
    if (rc == VCH_ERR_CORRUPT && !l->poisoned) {
        /* A value of the derived state was damaged: make it again and retry. */
        if (group_flush(g, &r->err) == VCH_OK && nd_rebuild(l, &r->err) == VCH_OK) {
            r->err = (vch_err_t){0};
            rc = verify_and_accept(g, r);
        }
    }
    r->rc = rc;
    if (rc != VCH_OK && !r->err.text[0]) (void)vch_fail(&r->err, rc, "the entry was refused: %s", vch_rc_text(rc));
    if (rc == VCH_OK && (g->n >= ND_RECORDS_MAX || g->bytes >= ND_GROUP_BYTES_MAX)) (void)group_flush(g, NULL);
}

/* The old place of an entry that came again. */
static vch_rc read_again(vch_ledger_t *l, nd_request_t *r)
{
    vch_log_entry_t e, next;
    vch_arena_t arena;
    const vch_id_t *id = &r->prepared.entry.id;
    vch_arena_init(&arena, 16u << 20);
    vch_rc rc = vch_log_read(l->log, r->place, &arena, &e, &r->err);
    if (rc == VCH_OK) {
        r->receipt = (vch_receipt_t){.entry = *id,
                                     .index = r->place,
                                     .time = e.time,
                                     .object = vch_object_id(id, 0),
                                     .count = e.record.count,
                                     .again = 1};
        if (vch_schema(r->prepared.entry.kind)->decided) {
            rc = vch_log_read(l->log, r->place + 1, &arena, &next, &r->err);
            if (rc == VCH_OK) rc = receipt_outcome(&r->receipt, next.record.entry);
        }
    }
    vch_arena_free(&arena);
    return rc;
}

/* ---- a batch ------------------------------------------------------------------------------------ */

static void maybe_checkpoint(vch_ledger_t *l)
{
    uint64_t boot = l->port->clock->boot_ms(l->port);
    if (l->in->tended || !l->log_key || boot - l->in->checkpointed_boot < l->checkpoint_ms) return;
    /* What was asked for is done; closing, or the next turn, tries again. */
    (void)nd_checkpoint(l, NULL, NULL);
    l->in->checkpointed_boot = boot;
}

static vch_rc batch_begin(group_t *g, vch_err_t *err)
{
    vch_ledger_t *l = g->l;
    VCH_TRY(check_writable(l, err));
    VCH_TRY(nd_may_go_on(l, err));
    VCH_TRY(nd_clock_check(l, err));
    VCH_TRY(check_room(l, err));
    VCH_TRY(nd_enter(l, err));
    vch_rc rc = close_stale(g, err);
    if (rc != VCH_OK) nd_leave(l);
    return rc;
}

static void batch_run(vch_ledger_t *l, nd_request_t *list)
{
    group_t g = {.l = l};
    vch_err_t why = {0};
    vch_buf_init(&g.commit, 4096);
    vch_rc rc = batch_begin(&g, &why);
    if (rc != VCH_OK) {
        for (nd_request_t *r = list; r; r = r->next) {
            r->rc = rc;
            r->err = why;
        }
        group_free(&g);
        return;
    }
    nd_signatures_batch(l, list);
    for (nd_request_t *r = list; r; r = r->next) run_one(&g, r);
    close_large(&g);
    (void)group_flush(&g, NULL); /* each request has been told */
    for (nd_request_t *r = list; r; r = r->next)
        if (r->rc == VCH_OK && r->again) r->rc = nd_alive(l, &r->err) == VCH_OK ? read_again(l, r) : VCH_ERR_IO;
    if (!l->poisoned) maybe_checkpoint(l);
    nd_leave(l);
    group_free(&g);
}

/* ---- the queue -------------------------------------------------------------------------------------- */

static void lead(vch_ledger_t *l)
{
    vch_inside_t *in = l->in;
    in->leader = true;
    pthread_mutex_unlock(&in->queue_mutex);
    pthread_mutex_lock(&l->mutex);
    pthread_mutex_lock(&in->queue_mutex); /* taken only now: all that came while we waited */
    nd_request_t *list = in->first;
    in->first = in->last = NULL;
    pthread_mutex_unlock(&in->queue_mutex);
    batch_run(l, list);
    pthread_mutex_unlock(&l->mutex);
    pthread_mutex_lock(&in->queue_mutex);
    for (nd_request_t *r = list, *next; r; r = next) {
        next = r->next; /* a request may vanish as soon as it is done */
        r->done = true;
    }
    in->leader = false;
    pthread_cond_broadcast(&in->queue_moved);
}

/* Put `n` requests into the queue and wait until all are done. */
static void submit(vch_ledger_t *l, nd_request_t *const *request, size_t n)
{
    vch_inside_t *in = l->in;
    if (n == 0) return;
    pthread_mutex_lock(&in->queue_mutex);
    for (size_t i = 0; i < n; i++) {
        if (in->last)
            in->last->next = request[i];
        else
            in->first = request[i];
        in->last = request[i];
    }
    for (size_t i = 0; i < n; i++)
        while (!request[i]->done) {
            if (in->leader)
                pthread_cond_wait(&in->queue_moved, &in->queue_mutex);
            else
                lead(l);
        }
    pthread_mutex_unlock(&in->queue_mutex);
}

static nd_request_t *request_new(void)
{
    nd_request_t *r = vch_alloc(sizeof *r);
    if (!r) return NULL;
    vch_arena_init(&r->arena, 64u << 20);
    vch_buf_init(&r->entry, VCH_ENTRY_BYTES_MAX);
    vch_buf_init(&r->outcome, 4096);
    return r;
}

static void request_free(nd_request_t *r)
{
    if (!r) return;
    for (uint32_t i = 0; r->statement && i < r->tx.count; i++) vch_buf_free(&r->statement[i]);
    vch_arena_free(&r->arena);
    vch_buf_free(&r->entry);
    vch_buf_free(&r->outcome);
    vch_free(r);
}

/* ---- an entry of this process's own -------------------------------------------------------------------- */

static vch_rc build(vch_ledger_t *l, nd_request_t *r, const vch_slice_t *fields, size_t n, vch_err_t *err)
{
    vch_slice_t *slice = vch_arena_array(&r->arena, n, sizeof *slice);
    vch_buf_t *statement = vch_arena_array(&r->arena, n, sizeof *statement);
    uint8_t salt[VCH_SALT_LEN];
    if (!slice || !statement) return no_memory(err);
    r->statement = statement;
    r->tx.statements = slice;
    r->tx.count = (uint32_t)n;
    for (size_t i = 0; i < n; i++) vch_buf_init(&statement[i], VCH_TX_BYTES_MAX);
    const vch_schema_t *schema = vch_schema(r->kind);
    if (!schema) return vch_fail(err, VCH_ERR_UNSUPPORTED, "kind %d can't be submitted", (int)r->kind);
    for (size_t i = 0; i < n; i++) {
        VCH_TRY(vch_fields_check(fields[i], schema->field, schema->fields, err));
        VCH_TRY(vch_random(l->port, salt, sizeof salt, err));
        vch_rc rc = vch_statement_put(&statement[i], r->kind, salt, fields[i]);
        if (rc != VCH_OK) return vch_fail(err, rc, "encoding a statement: %s", vch_rc_text(rc));
        slice[i] = vch_buf_slice(&statement[i]);
    }
    return VCH_OK;
}

vch_rc vch_ledger_write(vch_ledger_t *l, const vch_signer_t *signer, vch_kind_t kind, const vch_slice_t *fields,
                        size_t n, vch_receipt_t *ret, vch_err_t *err)
{
    if (n == 0 || n > VCH_TX_STATEMENTS_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "an entry has 1 to %u statements", VCH_TX_STATEMENTS_MAX);
    nd_request_t *r = request_new();
    if (!r) return no_memory(err);
    r->signer = signer;
    r->kind = kind;
    vch_rc rc = build(l, r, fields, n, err);
    if (rc == VCH_OK) {
        if (l->remote)
            nd_remote_write(l, r);
        else
            submit(l, &r, 1);
        rc = r->rc;
        if (rc == VCH_OK && ret) *ret = r->receipt;
        if (rc != VCH_OK && err) *err = r->err;
    }
    request_free(r);
    return nd_told(rc, err);
}

/* ---- transactions signed elsewhere ------------------------------------------------------------------------ */

static vch_rc submit_all(vch_ledger_t *l, nd_request_t **request, nd_request_t **ready, const uint8_t *const *tx,
                         const size_t *tx_n, size_t n, vch_err_t *err)
{
    size_t ready_n = 0;
    for (size_t i = 0; i < n; i++) {
        nd_request_t *r = request[i] = request_new();
        if (!r) return no_memory(err);
        r->rc = vch_tx_get(&r->tx, vch_slice(tx[i], tx_n[i]), &r->arena, &r->err);
        if (r->rc == VCH_OK) r->rc = vch_tx_prepare(&r->prepared, &r->tx, &r->arena, &r->err);
        if (r->rc == VCH_OK) ready[ready_n++] = r;
    }
    nd_signatures_ahead(l->in->signatures, ready, ready_n);
    submit(l, ready, ready_n);
    return VCH_OK;
}

vch_rc vch_submit(vch_ledger_t *l, const uint8_t *const *tx, const size_t *tx_n, size_t n, vch_receipt_t *ret,
                  vch_rc *ret_rc, vch_err_t *err)
{
    if (n == 0) return VCH_OK;
    if (l->remote) return nd_remote_submit(l, tx, tx_n, n, ret, ret_rc, err);
    nd_request_t **request = vch_alloc_array(2 * n, sizeof *request);
    if (!request) return no_memory(err);
    vch_rc rc = submit_all(l, request, request + n, tx, tx_n, n, err), refused = VCH_OK;
    for (size_t i = 0; i < n; i++) {
        const nd_request_t *r = request[i];
        if (rc == VCH_OK) {
            ret[i] = r->rc == VCH_OK ? r->receipt : (vch_receipt_t){.index = 0};
            if (ret_rc) ret_rc[i] = r->rc;
            if (r->rc != VCH_OK && refused == VCH_OK) {
                refused = r->rc;
                if (err) *err = r->err;
                if (n > 1) (void)vch_context(err, refused, "transaction %zu", i);
            }
        }
        request_free(request[i]);
    }
    vch_free(request);
    return nd_told(rc == VCH_OK ? refused : rc, err);
}

vch_rc vch_submit_each(vch_ledger_t *l, const uint8_t *const *tx, const size_t *tx_n, size_t n, vch_receipt_t *ret,
                       vch_err_t *ret_err, vch_err_t *err)
{
    if (n == 0) return VCH_OK;
    nd_request_t **request = vch_alloc_array(2 * n, sizeof *request);
    if (!request) return no_memory(err);
    vch_rc rc = submit_all(l, request, request + n, tx, tx_n, n, err);
    for (size_t i = 0; i < n; i++) {
        const nd_request_t *r = request[i];
        if (rc == VCH_OK) {
            ret[i] = r->rc == VCH_OK ? r->receipt : (vch_receipt_t){.index = 0};
            ret_err[i] = r->rc == VCH_OK ? (vch_err_t){.rc = VCH_OK} : r->err;
            (void)nd_told(r->rc, &ret_err[i]);
        }
        request_free(request[i]);
    }
    vch_free(request);
    return nd_told(rc, err);
}

/* Would a submission be taken now?  Says so without a path of this machine. */
vch_rc vch_ledger_ready(vch_ledger_t *l, vch_err_t *err)
{
    vch_err_t why = {.rc = VCH_OK};
    pthread_mutex_lock(&l->mutex);
    vch_rc rc = check_writable(l, &why);
    if (rc == VCH_OK) rc = nd_clock_check(l, &why);
    if (rc == VCH_OK) rc = check_room(l, &why);
    pthread_mutex_unlock(&l->mutex);
    if (rc == VCH_OK) return rc;
    if (rc == VCH_ERR_FULL)
        return vch_fail(err, rc, "less than the %llu MiB that are kept free are left on the disk",
                        (unsigned long long)(l->min_free_bytes >> 20));
    return rc == VCH_ERR_IO && !l->poisoned ? vch_fail(err, rc, "the disk can't be asked for its free space")
                                            : vch_fail(err, rc, "%s", why.text);
}

/* ---- reading ---------------------------------------------------------------------------------------------- */

vch_rc vch_ledger_read_begin(vch_ledger_t *l, vch_err_t *err)
{
    pthread_mutex_lock(&l->mutex);
    vch_rc rc = nd_alive(l, err);
    if (rc == VCH_OK) rc = take_in(l, err);
    if (rc != VCH_OK) pthread_mutex_unlock(&l->mutex);
    return nd_told(rc, err);
}

void vch_ledger_read_end(vch_ledger_t *l) { pthread_mutex_unlock(&l->mutex); }

static vch_rc settle(vch_ledger_t *l, vch_err_t *err)
{
    vch_state_info_t info;
    vch_state_info(l->state, &info);
    if (info.open_count == 0) return VCH_OK;
    if (l->flags & VCH_LEDGER_READ_ONLY)
        return vch_hint(err,
                        vch_fail(err, VCH_ERR_READ_ONLY, "the last block is still open, so nothing can be proven yet"),
                        "open the ledger for writing once, which closes the block");
    VCH_TRY(nd_enter(l, err));
    vch_rc rc = nd_close_block(l, err);
    nd_leave(l);
    return rc;
}

vch_rc vch_ledger_settle(vch_ledger_t *l, vch_err_t *err)
{
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = settle(l, err);
    if (rc != VCH_OK) vch_ledger_read_end(l);
    return rc;
}

/* ---- checkpoints --------------------------------------------------------------------------------------------- */

vch_rc nd_checkpoint_text(vch_buf_t *ret, vch_log_t *log, const char *origin, const vch_signer_t *key, uint64_t size,
                          vch_err_t *err)
{
    vch_hash_t root;
    VCH_TRY(vch_log_root(log, size, &root, err));
    vch_rc rc = vch_checkpoint_put(ret, origin, size, &root);
    vch_buf_t text;
    vch_buf_init(&text, VCH_NOTE_BYTES_MAX);
    if (rc == VCH_OK) rc = vch_buf_put(&text, ret->p, ret->n);
    if (rc == VCH_OK) rc = vch_buf_u8(ret, '\n'); /* the blank line before the signatures */
    if (rc == VCH_OK) rc = vch_note_sign(ret, vch_buf_slice(&text), origin, key);
    vch_buf_free(&text);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "signing a checkpoint: %s", vch_rc_text(rc));
}

static vch_rc head_root(const vch_ledger_t *l, vch_slice_t head, vch_hash_t *ret, vch_err_t *err)
{
    vch_note_t *note = vch_alloc(sizeof *note);
    vch_checkpoint_t c;
    if (!note) return no_memory(err);
    vch_rc rc = vch_note_get(note, head);
    if (rc == VCH_OK) rc = vch_checkpoint_get(&c, note->text);
    if (rc == VCH_OK && !vch_slice_eq(c.origin, vch_str(l->origin))) rc = VCH_ERR_FORMAT;
    vch_free(note);
    if (rc != VCH_OK) return vch_fail(err, VCH_ERR_CORRUPT, "log/head holds no checkpoint of this log");
    *ret = c.root;
    return VCH_OK;
}

/* What was signed once binds for ever: the log must still extend it. */
static vch_rc check_extends(vch_ledger_t *l, vch_slice_t head, uint64_t head_size, uint64_t size, vch_err_t *err)
{
    vch_hash_t old, now, path[VCH_PATH_HASHES_MAX];
    size_t path_n = 0;
    VCH_TRY(head_root(l, head, &old, err));
    VCH_TRY(vch_log_root(l->log, size, &now, err));
    VCH_TRY(vch_log_consistency(l->log, head_size, size, path, &path_n, err));
    if (vch_consistency_verify(head_size, size, &old, &now, path, path_n)) return VCH_OK;
    return vch_hint(err,
                    vch_fail(err, VCH_ERR_CORRUPT, "the log does not extend its last signed checkpoint of %llu entries",
                             (unsigned long long)head_size),
                    "nothing was signed; restore the directory from a backup or a mirror");
}

static vch_rc sign_head(vch_ledger_t *l, uint64_t size, vch_buf_t *head, vch_err_t *err)
{
    if (!l->log_key)
        return vch_hint(err, vch_fail(err, VCH_ERR_KEY, "keys/log.pem can't be used, so no checkpoint can be signed"),
                        "vouch check says what is wrong with it");
    VCH_TRY(nd_may_go_on(l, err));
    vch_buf_clear(head);
    VCH_TRY(nd_checkpoint_text(head, l->log, l->origin, l->log_key, size, err));
    VCH_TRY(vch_log_sign(l->log, size, vch_buf_slice(head), err));
    nd_clock_keep(l);
    l->wrote = false;
    l->in->checkpointed_boot = l->port->clock->boot_ms(l->port);
    return VCH_OK;
}

static vch_rc checkpoint(vch_ledger_t *l, vch_buf_t *head, vch_err_t *err)
{
    uint64_t head_size = 0;
    VCH_TRY(nd_close_block(l, err));
    uint64_t size = vch_log_size(l->log);
    vch_rc rc = vch_log_head(l->log, head, &head_size, err);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    if (rc == VCH_OK) {
        VCH_TRY(check_extends(l, vch_buf_slice(head), head_size, size, err));
        if (head_size == size) return VCH_OK;
    }
    return sign_head(l, size, head, err);
}

vch_rc nd_sign(vch_ledger_t *l, vch_buf_t *ret_note, vch_err_t *err)
{
    vch_buf_t head;
    vch_buf_init(&head, VCH_NOTE_BYTES_MAX);
    vch_rc rc = checkpoint(l, &head, err);
    if (rc == VCH_OK && ret_note) rc = vch_buf_put(ret_note, head.p, head.n);
    vch_buf_free(&head);
    return rc;
}

vch_rc nd_checkpoint(vch_ledger_t *l, vch_buf_t *ret_note, vch_err_t *err)
{
    VCH_TRY(nd_sign(l, ret_note, err));
    VCH_TRY(vch_log_publish_tiles(l->log, vch_log_signed(l->log), err));
    return vch_log_publish_head(l->log, err);
}

/* Another process may have signed more than this one: once others cosigned it,
 * it is this one's to publish. */
static vch_rc signed_size(vch_ledger_t *l, uint64_t *ret, vch_err_t *err)
{
    uint64_t head_size = 0;
    vch_buf_t head;
    vch_buf_init(&head, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_log_head(l->log, &head, &head_size, err);
    vch_buf_free(&head);
    *ret = vch_log_signed(l->log);
    if (rc == VCH_OK && head_size > *ret && head_size <= vch_log_size(l->log)) *ret = head_size;
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

vch_rc nd_publish(vch_ledger_t *l, vch_err_t *err)
{
    uint64_t size;
    VCH_TRY(signed_size(l, &size, err));
    VCH_TRY(vch_log_publish_tiles(l->log, size, err));
    pthread_mutex_lock(&l->mutex);
    vch_rc rc = nd_enter(l, err);
    if (rc == VCH_OK) {
        rc = vch_log_publish_head(l->log, err);
        nd_leave(l);
    }
    pthread_mutex_unlock(&l->mutex);
    return rc;
}

vch_rc vch_ledger_checkpoint(vch_ledger_t *l, vch_text_t *ret_note, vch_err_t *err)
{
    vch_buf_t note;
    if (l->remote) return nd_remote_checkpoint(l, ret_note, err);
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    pthread_mutex_lock(&l->mutex);
    vch_rc rc = nd_enter(l, err);
    if (rc == VCH_OK) {
        rc = nd_sign(l, &note, err);
        nd_leave(l);
    }
    pthread_mutex_unlock(&l->mutex);
    if (rc == VCH_OK) rc = nd_publish(l, err);
    if (rc == VCH_OK && ret_note) rc = vch_text_take(ret_note, &note);
    vch_buf_free(&note);
    return nd_told(rc, err);
}

/* ---- closing and telling ----------------------------------------------------------------------------------------- */

static vch_rc finish(vch_ledger_t *l, vch_err_t *err)
{
    vch_state_info_t info;
    if (l->poisoned || (l->flags & VCH_LEDGER_READ_ONLY)) return VCH_OK; /* what was acknowledged is on the disk */
    vch_state_info(l->state, &info);
    bool changed = l->wrote || info.open_count;
    if (!changed && (l->kv_in_memory || info.applied == l->saved_at)) return VCH_OK;
    VCH_TRY(nd_enter(l, err)); /* also for saving: vouch check reads the index under this lock */
    vch_rc rc = !changed ? VCH_OK : l->log_key ? nd_checkpoint(l, NULL, err) : nd_close_block(l, err);
    if (rc == VCH_OK && !l->poisoned) rc = nd_save(l, err);
    nd_leave(l);
    return rc;
}

vch_rc vch_ledger_close(vch_ledger_t *l, vch_err_t *err)
{
    if (!l) return VCH_OK;
    pthread_mutex_lock(&l->mutex);
    vch_rc rc = l->remote ? VCH_OK : finish(l, err);
    pthread_mutex_unlock(&l->mutex);
    nd_ledger_free(l);
    return nd_told(rc, err);
}

vch_rc vch_ledger_info(vch_ledger_t *l, vch_ledger_info_t *ret, vch_err_t *err)
{
    vch_state_info_t info;
    vch_buf_t head;
    uint64_t head_size = 0;
    if (l->remote) return nd_remote_info(l, ret, err);
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_state_info(l->state, &info);
    vch_buf_init(&head, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_log_head(l->log, &head, &head_size, err);
    vch_buf_free(&head);
    if (rc == VCH_ERR_NOT_FOUND) rc = VCH_OK;
    if (rc == VCH_OK) {
        *ret = l->opened;
        memcpy(ret->origin, l->origin, sizeof ret->origin);
        ret->network = l->network;
        ret->state_root = info.root;
        ret->size = info.applied;
        ret->height = info.height;
        ret->checkpoint_size = head_size;
        if (nd_committed(l, &ret->committed, NULL) != VCH_OK) ret->committed = 0; /* no readable policy */
        ret->time = info.time;
        ret->vault = nd_has_vault(l) ? (int)l->in->vault.mode : 0;
    }
    vch_ledger_read_end(l);
    return rc;
}
