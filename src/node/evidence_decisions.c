/* SPDX-License-Identifier: Apache-2.0 */
/* "DEPLOYMENT/N" to the batch that holds decision N, and its leaves. */
#include "codec/text.h"
#include "node/evidence.h"
#include "node/use.h"

#define AT(x) (unsigned long long)(x)

/* ---- names ------------------------------------------------------------------------ */

static vch_rc bad_name(const char *id, vch_err_t *err)
{
    vch_fail(err, VCH_ERR_USAGE, "\"%.200s\" names no decision", id);
    return vch_hint(err, VCH_ERR_USAGE, "write DEPLOYMENT/NUMBER, or DEPLOYMENT/FIRST-LAST for a whole batch");
}

static vch_rc split(const char *id, char *name, size_t name_n, ev_decisions_t *d, vch_err_t *err)
{
    const char *slash = strrchr(id, '/'), *dash = slash ? strchr(slash, '-') : NULL;
    if (!slash || slash == id || (size_t)(slash - id) >= name_n) return bad_name(id, err);
    vch_slice_t first = dash ? vch_slice(slash + 1, (size_t)(dash - slash) - 1) : vch_str(slash + 1);
    if (vch_decimal_get(&d->first, first) != VCH_OK) return bad_name(id, err);
    d->last = d->first;
    if (dash && vch_decimal_get(&d->last, vch_str(dash + 1)) != VCH_OK) return bad_name(id, err);
    if (d->last < d->first) return bad_name(id, err);
    memcpy(name, id, (size_t)(slash - id));
    name[slash - id] = 0;
    return VCH_OK;
}

/* ---- the batch ---------------------------------------------------------------------- */

typedef struct {
    ev_decisions_t *d;
    bool found, lost;
    uint64_t end; /* behind the newest decision of the deployment */
} search_t;

static vch_rc look(void *ctx, vch_slice_t key, vch_slice_t value)
{
    search_t *s = ctx;
    vch_batch_value_t b;
    VCH_TRY(vch_batch_get(&b, value));
    if (!vch_id_eq(&b.deployment, &s->d->deployment) || key.n != 33) return VCH_OK;
    uint64_t end = b.first + b.count;
    if (end + b.lost > s->end) s->end = end + b.lost;
    if (s->d->first < b.first || s->d->first >= end + b.lost) return VCH_OK;
    s->lost = s->d->first >= end;
    s->found = true;
    s->d->value = b;
    memcpy(s->d->batch.b, key.p + 1, 32);
    return VCH_OK;
}

static vch_rc find_batch(ev_decisions_t *d, vch_ledger_t *l, const char *id, vch_err_t *err)
{
    char name[512];
    search_t s = {.d = d};
    VCH_TRY(split(id, name, sizeof name, d, err));
    VCH_TRY(vch_resolve(l, 'y', name, &d->deployment, err));
    vch_rc rc = vch_state_each(l->state, 'b', look, &s);
    if (rc != VCH_OK) return vch_fail(err, rc, "the batches can't be read: %s", vch_rc_text(rc));
    if (!s.found) {
        vch_fail(err, VCH_ERR_NOT_FOUND, "deployment \"%.200s\" has %llu decisions, there is no number %llu", name,
                 AT(s.end), AT(d->first));
        return vch_hint(err, VCH_ERR_NOT_FOUND, "see what there is: vouch decision list %.200s", name);
    }
    if (s.lost)
        return vch_fail(err, VCH_ERR_NOT_FOUND, "decision %llu was lost before it was sealed: its batch says so",
                        AT(d->first));
    if (d->first == d->last || (d->first == d->value.first && d->last == d->value.first + d->value.count - 1))
        return VCH_OK;
    vch_fail(err, VCH_ERR_USAGE, "decisions %llu to %llu are neither one nor a whole batch", AT(d->first), AT(d->last));
    return vch_hint(err, VCH_ERR_USAGE, "the batch with the first of them is %llu-%llu", AT(d->value.first),
                    AT(d->value.first + d->value.count - 1));
}

/* The log keeps a batch's root; its leaves are only where they were written. */
static vch_rc read_leaves(ev_decisions_t *d, vch_ledger_t *l, vch_err_t *err)
{
    d->leaf = vch_arena_array(&d->arena, (size_t)d->value.count, sizeof *d->leaf);
    if (!d->leaf) return vch_fail(err, VCH_ERR_MEMORY, "out of memory for a batch of decisions");
    vch_rc rc = vch_decisions_load(l, &d->deployment, d->value.first, d->value.count, &d->arena, d->leaf, err);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    vch_fail(err, rc, "the file with decisions %llu to %llu is not in this directory: the log holds only their root",
             AT(d->value.first), AT(d->value.first + d->value.count - 1));
    return vch_hint(err, rc, "restore decisions/ from a backup, or ask where the decisions were logged");
}

vch_rc ev_decisions_read(ev_decisions_t *d, vch_ledger_t *l, const char *id, vch_err_t *err)
{
    *d = (ev_decisions_t){0};
    vch_arena_init(&d->arena, (size_t)1 << 30);
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = find_batch(d, l, id, err);
    vch_ledger_read_end(l);
    return rc == VCH_OK ? read_leaves(d, l, err) : rc;
}

void ev_decisions_free(ev_decisions_t *d) { vch_arena_free(&d->arena); }
