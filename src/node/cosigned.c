/* SPDX-License-Identifier: Apache-2.0 */
/* Which kept checkpoint to show for a part of the log.  The closer it stands
 * above that part, the better it says when; but a quorum outweighs that, since
 * without one it says nothing to whoever wants witnesses. */
#include "node/node.h"

#include "entry/note.h"

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

static vch_rc read_trust(vch_ledger_t *l, vch_trust_t *trust, vch_buf_t *text)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_ledger_path(l, path, "trust.policy"));
    VCH_TRY(vch_read_all(l->port, text, path, POLICY_BYTES_MAX, NULL));
    return vch_trust_get(trust, vch_buf_slice(text), NULL);
}

static vch_rc choose(vch_ledger_t *l, uint64_t size, look_t *k, vch_trust_t *trust, vch_err_t *err)
{
    vch_buf_t policy;
    vch_buf_init(&policy, POLICY_BYTES_MAX);
    k->trust = read_trust(l, trust, &policy) == VCH_OK ? trust : NULL;
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
