/* SPDX-License-Identifier: Apache-2.0 */
/* Which kept checkpoint to show for a part of the log.  The closer it stands
 * above that part, the better it says when; but a quorum outweighs that, since
 * without one it says nothing to whoever wants witnesses. */
#include "node/node_int.h"
#include "node/witness.h"

#include "crypto/sha256.h"

#define LOOKS 1024 /* kept notes that are judged, signature by signature */
#define POLICY_BYTES_MAX (1u << 20)

/* What a note is worth to those who trust as this directory does. */
enum { WORTHLESS, SIGNED, KNOWN, QUORUM };

typedef struct {
    const vch_trust_t *trust; /* NULL: can't be read, so all others are strangers */
    vch_note_t *note;
    vch_buf_t *best;
    unsigned looks, worth, top;
    uint64_t size, since; /* since when the quorum stood, s */
    size_t known;
    vch_rc rc;
} look_t;

/* The best that this policy can say of any note. */
static unsigned top_of(const vch_trust_t *t)
{
    if (!t || t->nodes == 0) return SIGNED;
    return t->quorum >= 0 ? QUORUM : KNOWN;
}

static unsigned worth_of(const look_t *k, vch_slice_t bytes, vch_trust_result_t *r)
{
    vch_checkpoint_t c;
    *r = (vch_trust_result_t){0};
    if (vch_note_get(k->note, bytes) != VCH_OK || vch_checkpoint_get(&c, k->note->text) != VCH_OK) return WORTHLESS;
    if (!k->trust) return SIGNED;
    if (vch_trust_judge(k->trust, k->note, &c, r) != VCH_OK || r->forged || !r->log_known) return WORTHLESS;
    if (r->wants_witness && r->quorum) return QUORUM;
    return r->witnesses ? KNOWN : SIGNED;
}

/* Of one size more known witnesses win, of as many the earlier quorum. */
static bool better(const look_t *k, uint64_t size, unsigned worth, const vch_trust_result_t *r)
{
    if (worth != k->worth) return worth > k->worth;
    if (worth == WORTHLESS || size != k->size) return false;
    if (r->witnesses != k->known) return r->witnesses > k->known;
    return r->quorum_time < k->since;
}

static bool look(void *ctx, uint64_t size, vch_slice_t bytes)
{
    look_t *k = ctx;
    vch_trust_result_t r;
    if (k->worth == k->top && size != k->size) return false;
    if (k->looks++ == LOOKS) return false;
    unsigned worth = worth_of(k, bytes, &r);
    if (!better(k, size, worth, &r)) return true;
    vch_buf_clear(k->best);
    k->rc = vch_buf_put(k->best, bytes.p, bytes.n);
    k->worth = worth;
    k->size = size;
    k->known = r.witnesses;
    k->since = r.quorum_time;
    return k->rc == VCH_OK;
}

vch_rc nd_witness_policy(vch_ledger_t *l, vch_trust_t *ret, vch_buf_t *text, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    const char *name = l->in->witness_policy;
    VCH_TRY(name[0] == '/' ? vch_path(path, "%s", name) : vch_ledger_path(l, path, "%s", name));
    VCH_TRY(vch_read_all(l->port, text, path, POLICY_BYTES_MAX, err));
    vch_rc rc = vch_trust_get(ret, vch_buf_slice(text), err);
    return rc == VCH_OK ? rc : vch_context(err, rc, "%s", path);
}

static vch_rc choose(vch_ledger_t *l, uint64_t size, look_t *k, vch_trust_t *trust, vch_err_t *err)
{
    vch_buf_t policy;
    vch_buf_init(&policy, POLICY_BYTES_MAX);
    k->trust = nd_witness_policy(l, trust, &policy, NULL) == VCH_OK ? trust : NULL;
    k->top = top_of(k->trust);
    vch_rc rc = vch_log_cosigned_each(l->log, size, look, k, err);
    vch_buf_free(&policy);
    if (rc == VCH_OK && k->rc != VCH_OK) rc = vch_fail(err, k->rc, "no memory for a checkpoint");
    if (rc != VCH_OK || (k->worth != WORTHLESS && k->size <= vch_log_size(l->log))) return rc;
    return vch_fail(err, VCH_ERR_NOT_FOUND, "no cosigned checkpoint covers %llu entries", (unsigned long long)size);
}

vch_rc vch_ledger_cosigned(vch_ledger_t *l, uint64_t size, vch_buf_t *ret_note, uint64_t *ret_size, vch_err_t *err)
{
    vch_buf_t best;
    look_t k = {.best = &best};
    vch_buf_init(&best, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_log_cosigned(l->log, size, &best, &k.size, err); /* mostly there is none, which costs nothing */
    vch_trust_t *trust = rc == VCH_OK ? vch_alloc(sizeof *trust) : NULL;
    k.note = rc == VCH_OK ? vch_alloc(sizeof *k.note) : NULL;
    if (rc == VCH_OK && (!trust || !k.note)) rc = vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    if (rc == VCH_OK) rc = choose(l, size, &k, trust, err);
    if (rc == VCH_OK && vch_buf_put(ret_note, best.p, best.n) != VCH_OK)
        rc = vch_fail(err, VCH_ERR_MEMORY, "no memory for a checkpoint");
    if (rc == VCH_OK) *ret_size = k.size;
    vch_free(trust);
    vch_free(k.note);
    vch_buf_free(&best);
    return rc;
}

/* ---- what is committed --------------------------------------------------------------- */

typedef struct {
    look_t look;
    uint64_t size; /* of the largest note with a quorum; 0: none */
} search_t;

/* Never endless: a policy that no kept note meets would be asked of each. */
static bool find_quorum(void *ctx, uint64_t size, vch_slice_t bytes)
{
    search_t *s = ctx;
    vch_trust_result_t r;
    if (worth_of(&s->look, bytes, &r) == QUORUM) s->size = size;
    return s->size == 0 && ++s->look.looks < LOOKS;
}

static vch_rc search(vch_ledger_t *l, const vch_trust_t *trust, uint64_t *ret, vch_err_t *err)
{
    search_t s = {.look = {.trust = trust, .note = vch_alloc(sizeof *s.look.note)}};
    if (!s.look.note) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = vch_log_cosigned_back(l->log, find_quorum, &s, err);
    vch_free(s.look.note);
    if (rc == VCH_OK) *ret = s.size;
    return rc;
}

static vch_rc signed_size(vch_ledger_t *l, uint64_t *ret, vch_err_t *err)
{
    vch_buf_t note;
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_log_head(l->log, &note, ret, err);
    vch_buf_free(&note);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    *ret = 0;
    return VCH_OK;
}

/* Judged again only when the policy, the kept notes or the head changed. */
static vch_rc committed(vch_ledger_t *l, vch_trust_t *trust, vch_buf_t *policy, uint64_t *ret, vch_err_t *err)
{
    nd_witnesses_t *w = &l->in->witnesses;
    nd_witnesses_t now = {.known = true};
    VCH_TRY(nd_witness_policy(l, trust, policy, err));
    VCH_TRY(vch_log_cosigned_mark(l->log, &now.mark, err));
    VCH_TRY(signed_size(l, &now.signed_size, err));
    vch_sha256(&now.policy, policy->p, policy->n);
    bool judged = w->known && vch_hash_eq(&w->policy, &now.policy);
    if (judged && w->mark == now.mark && w->signed_size == now.signed_size) {
        *ret = w->committed;
        return VCH_OK;
    }
    if (trust->quorum >= 0) VCH_TRY(search(l, trust, &now.committed, err));
    if (trust->quorum < 0) now.committed = now.signed_size;                   /* nobody else is asked for */
    if (judged && w->committed > now.committed) now.committed = w->committed; /* once is for ever */
    w->known = true;
    w->policy = now.policy;
    w->mark = now.mark;
    w->signed_size = now.signed_size;
    *ret = w->committed = now.committed;
    return VCH_OK;
}

vch_rc nd_committed(vch_ledger_t *l, uint64_t *ret, vch_err_t *err)
{
    vch_buf_t policy;
    vch_trust_t *trust = vch_alloc(sizeof *trust);
    if (!trust) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_buf_init(&policy, POLICY_BYTES_MAX);
    vch_rc rc = committed(l, trust, &policy, ret, err);
    vch_buf_free(&policy);
    vch_free(trust);
    return rc;
}

/* ---- how fresh the quorum is ----------------------------------------------------------- */

typedef struct {
    look_t look;
    uint64_t since; /* newest time by which a quorum stood, s */
} newest_t;

static bool find_newest(void *ctx, uint64_t size, vch_slice_t bytes)
{
    newest_t *s = ctx;
    vch_trust_result_t r;
    (void)size;
    if (worth_of(&s->look, bytes, &r) == QUORUM && r.quorum_time > s->since) s->since = r.quorum_time;
    return s->since == 0 && ++s->look.looks < LOOKS;
}

static vch_rc newest_quorum(vch_ledger_t *l, vch_trust_t *trust, uint64_t *ret_ms, vch_err_t *err)
{
    newest_t s = {.look = {.trust = trust, .note = vch_alloc(sizeof *s.look.note)}};
    if (!s.look.note) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = vch_log_cosigned_back(l->log, find_newest, &s, err);
    vch_free(s.look.note);
    *ret_ms = s.since * 1000;
    return rc;
}

vch_rc nd_quorum_time(vch_ledger_t *l, bool *ret_wanted, uint64_t *ret_ms, vch_err_t *err)
{
    vch_buf_t policy;
    vch_trust_t *trust = vch_alloc(sizeof *trust);
    if (!trust) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_buf_init(&policy, POLICY_BYTES_MAX);
    vch_rc rc = nd_witness_policy(l, trust, &policy, err);
    *ret_wanted = rc == VCH_OK && trust->quorum >= 0;
    if (*ret_wanted) rc = newest_quorum(l, trust, ret_ms, err);
    vch_buf_free(&policy);
    vch_free(trust);
    return rc;
}

vch_rc vch_ledger_committed(vch_ledger_t *l, uint64_t *ret_size, vch_err_t *err)
{
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = nd_committed(l, ret_size, err);
    vch_ledger_read_end(l);
    return nd_told(rc, err);
}
