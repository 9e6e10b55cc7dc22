/* SPDX-License-Identifier: Apache-2.0 */
/* tlog-policy: which logs, which witnesses, how many of them. */
#include "entry/note_int.h"

#include "codec/text.h"

#define SHOWN_MAX 60 /* bytes of a name that an error repeats */
#define SHOW(s) (int)vch_min((s).n, SHOWN_MAX), (const char *)(s).p

typedef struct {
    vch_trust_t t;
    bool quorum_seen;
    size_t line; /* from 1 */
    vch_err_t *err;
} parser_t;

/* ---- items of a line ----------------------------------------------------------- */

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t'; }

/* The next item, or false at the end.  A comment may also follow the items of
 * a line, as other readers of these files have it; no name is lost by that,
 * since then none can begin with "#". */
static bool next_item(vch_slice_t *line, vch_slice_t *ret)
{
    while (line->n && is_blank(line->p[0])) *line = vch_slice(line->p + 1, line->n - 1);
    if (line->n == 0 || line->p[0] == '#') return false;
    size_t n = 0;
    while (n < line->n && !is_blank(line->p[n])) n++;
    *ret = vch_slice(line->p, n);
    *line = vch_slice(line->p + n, line->n - n);
    return true;
}

static bool is_word(vch_slice_t item, const char *word) { return vch_slice_eq(item, vch_str(word)); }

/* "Character set": tab, and all but control characters; names are octets. */
static bool octets_ok(vch_slice_t line)
{
    for (size_t i = 0; i < line.n; i++)
        if ((line.p[i] < 0x20 && line.p[i] != '\t') || line.p[i] == 0x7f) return false;
    return true;
}

static vch_rc bad_line(parser_t *p, const char *why)
{
    return vch_fail(p->err, VCH_ERR_FORMAT, "line %zu: %s", p->line, why);
}

/* "[<url>]" and nothing behind it. */
static vch_rc get_url(parser_t *p, vch_slice_t *line, vch_slice_t *ret_url)
{
    vch_slice_t more;
    if (!next_item(line, ret_url)) *ret_url = vch_slice(NULL, 0);
    return next_item(line, &more) ? bad_line(p, "more items than this kind of line has") : VCH_OK;
}

static vch_rc get_vkey(parser_t *p, vch_slice_t *line, vch_vkey_t *ret)
{
    vch_slice_t item;
    if (!next_item(line, &item)) return bad_line(p, "the verifier key is missing");
    vch_rc rc = vch_vkey_get(ret, item);
    if (rc == VCH_OK) return VCH_OK;
    const char *why = rc == VCH_ERR_UNSUPPORTED ? "is of a type that is not supported here (1 and 4 are)"
                      : rc == VCH_ERR_KEY       ? "holds a point that is no good Ed25519 key"
                      : rc == VCH_ERR_LIMIT     ? "has a name that is too long"
                                                : "is not name+hash+base64 with the hash that belongs to it";
    return vch_fail(p->err, rc, "line %zu: the verifier key \"%.*s\" %s", p->line, SHOW(item), why);
}

/* ---- names ------------------------------------------------------------------------ */

static int find_node(const vch_trust_t *t, vch_slice_t name)
{
    for (size_t i = 0; i < t->nodes; i++)
        if (vch_slice_eq(t->node[i].name, name)) return (int)i;
    return -1;
}

/* Room for one more node, under a name that is free. */
static vch_rc new_node(parser_t *p, vch_slice_t *line, vch_policy_node_t **ret)
{
    vch_slice_t name;
    if (!next_item(line, &name)) return bad_line(p, "the name is missing");
    if (is_word(name, "none") || is_word(name, "all") || is_word(name, "any"))
        return vch_fail(p->err, VCH_ERR_FORMAT, "line %zu: \"%.*s\" means something else and names nothing", p->line,
                        SHOW(name));
    if (find_node(&p->t, name) >= 0)
        return vch_fail(p->err, VCH_ERR_FORMAT, "line %zu: \"%.*s\" is defined twice", p->line, SHOW(name));
    if (p->t.nodes == VCH_POLICY_NODES_MAX)
        return vch_fail(p->err, VCH_ERR_LIMIT, "line %zu: more than %d witnesses and groups", p->line,
                        VCH_POLICY_NODES_MAX);
    vch_policy_node_t *n = &p->t.node[p->t.nodes];
    *n = (vch_policy_node_t){.name = name, .parent = -1};
    *ret = n;
    return VCH_OK;
}

/* ---- the four kinds of lines ---------------------------------------------------------- */

static vch_rc get_log(parser_t *p, vch_slice_t line)
{
    vch_vkey_t k;
    vch_slice_t url;
    vch_trust_t *t = &p->t;
    VCH_TRY(get_vkey(p, &line, &k));
    VCH_TRY(get_url(p, &line, &url));
    if (k.type != VCH_NOTE_ED25519)
        return vch_fail(p->err, VCH_ERR_UNSUPPORTED, "line %zu: a log's key must be of type 1 (Ed25519)", p->line);
    for (size_t i = 0; i < t->logs; i++)
        if (memcmp(t->log[i].key, k.key, 32) == 0) return bad_line(p, "this log's public key is listed already");
    if (t->logs == VCH_POLICY_LOGS_MAX)
        return vch_fail(p->err, VCH_ERR_LIMIT, "line %zu: more than %d logs", p->line, VCH_POLICY_LOGS_MAX);
    t->log[t->logs] = k;
    t->log_url[t->logs++] = url;
    return VCH_OK;
}

/* Witness keys are seen in the wild as plain Ed25519 keys (type 1), meaning
 * the cosignature key with the same bytes; either way only cosignatures
 * count, under the id of type 4 (tlog-cosignature, "Format"). */
static void as_cosigner(vch_vkey_t *k)
{
    k->type = VCH_NOTE_COSIG_ED25519;
    vch_note_key_id(k->id, k->name, k->type, k->key);
}

static vch_rc get_witness(parser_t *p, vch_slice_t line)
{
    vch_policy_node_t *n;
    VCH_TRY(new_node(p, &line, &n));
    VCH_TRY(get_vkey(p, &line, &n->vkey));
    VCH_TRY(get_url(p, &line, &n->url));
    as_cosigner(&n->vkey);
    for (size_t i = 0; i < p->t.nodes; i++)
        if (!p->t.node[i].is_group && memcmp(p->t.node[i].vkey.key, n->vkey.key, 32) == 0)
            return bad_line(p, "this witness's public key is listed already");
    p->t.nodes++;
    return VCH_OK;
}

static vch_rc get_members(parser_t *p, vch_slice_t line, unsigned *ret_count)
{
    vch_slice_t name;
    unsigned count = 0;
    for (; next_item(&line, &name); count++) {
        int m = find_node(&p->t, name);
        if (m < 0)
            return vch_fail(p->err, VCH_ERR_FORMAT, "line %zu: member \"%.*s\" is not defined above", p->line,
                            SHOW(name));
        if (p->t.node[m].parent >= 0)
            return vch_fail(p->err, VCH_ERR_FORMAT, "line %zu: \"%.*s\" is a group's member already", p->line,
                            SHOW(name));
        p->t.node[m].parent = (int)p->t.nodes; /* the group that this line makes */
    }
    *ret_count = count;
    return VCH_OK;
}

static vch_rc get_group(parser_t *p, vch_slice_t line)
{
    vch_policy_node_t *n;
    vch_slice_t threshold;
    VCH_TRY(new_node(p, &line, &n));
    if (!next_item(&line, &threshold)) return bad_line(p, "a group wants all, any or a number, then its members");
    n->is_group = true;
    VCH_TRY(get_members(p, line, &n->of));
    if (n->of == 0) return bad_line(p, "a group without members");
    uint64_t k = is_word(threshold, "any") ? 1 : n->of;
    if (!is_word(threshold, "any") && !is_word(threshold, "all") && vch_decimal_get(&k, threshold) != VCH_OK)
        return bad_line(p, "the threshold is none of all, any and a decimal number");
    if (k < 1 || k > n->of) return bad_line(p, "the threshold is not between 1 and the number of members");
    n->need = (unsigned)k;
    p->t.nodes++;
    return VCH_OK;
}

static vch_rc get_quorum(parser_t *p, vch_slice_t line)
{
    vch_slice_t name, more;
    if (p->quorum_seen) return bad_line(p, "a second quorum");
    if (!next_item(&line, &name) || next_item(&line, &more)) return bad_line(p, "quorum wants one name, or none");
    p->t.quorum = find_node(&p->t, name);
    if (p->t.quorum < 0 && !is_word(name, "none"))
        return vch_fail(p->err, VCH_ERR_FORMAT, "line %zu: quorum \"%.*s\" is not defined above", p->line, SHOW(name));
    p->quorum_seen = true;
    return VCH_OK;
}

static vch_rc get_line(parser_t *p, vch_slice_t line)
{
    vch_slice_t kind;
    if (!octets_ok(line)) return bad_line(p, "a control character");
    if (!next_item(&line, &kind)) return VCH_OK;
    if (is_word(kind, "log")) return get_log(p, line);
    if (is_word(kind, "witness")) return get_witness(p, line);
    if (is_word(kind, "group")) return get_group(p, line);
    if (is_word(kind, "quorum")) return get_quorum(p, line);
    return bad_line(p, "begins with none of log, witness, group and quorum");
}

vch_rc vch_trust_get(vch_trust_t *ret, vch_slice_t text, vch_err_t *err)
{
    parser_t p = {.t = {.quorum = -1}, .err = err};
    vch_slice_t rest = text, line;
    while (vch_note__line(&rest, &line)) {
        p.line++;
        VCH_TRY(get_line(&p, line));
    }
    p.line++;
    VCH_TRY(get_line(&p, rest)); /* editors leave the last newline out */
    if (!p.quorum_seen) return bad_line(&p, "the policy ends without a quorum line");
    *ret = p.t;
    return VCH_OK;
}

/* ---- judging ------------------------------------------------------------------------------ */

/* Since when each node has witnessed the checkpoint; 0: it has not. */
typedef struct {
    uint64_t since[VCH_POLICY_NODES_MAX];
} standing_t;

static void sort_times(uint64_t *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t x = v[i];
        size_t j = i;
        for (; j > 0 && v[j - 1] > x; j--) v[j] = v[j - 1];
        v[j] = x;
    }
}

/* k of n stood when the k-th member came. */
static uint64_t group_since(const vch_trust_t *t, const standing_t *s, size_t group)
{
    uint64_t times[VCH_POLICY_NODES_MAX] = {0};
    size_t n = 0;
    for (size_t i = 0; i < group; i++)
        if (t->node[i].parent == (int)group && s->since[i]) times[n++] = s->since[i];
    if (n < t->node[group].need) return 0;
    sort_times(times, n);
    return times[t->node[group].need - 1];
}

/* A cosignature with time 0 says nothing about when, so it does not count. */
static uint64_t witness_since(const vch_vkey_t *k, const vch_note_t *note, vch_trust_result_t *r)
{
    uint64_t seconds = 0;
    vch_sig_state_t state = vch_note_verify(note, k, &seconds);
    if (state == VCH_SIG_BAD) r->forged = true;
    if (state != VCH_SIG_GOOD || seconds == 0) return 0;
    r->witnesses++;
    return seconds;
}

static void judge_logs(const vch_trust_t *t, const vch_note_t *note, vch_slice_t origin, vch_trust_result_t *r)
{
    for (size_t i = 0; i < t->logs; i++) {
        vch_sig_state_t state = vch_note_verify(note, &t->log[i], NULL);
        if (state == VCH_SIG_BAD) r->forged = true;
        if (state == VCH_SIG_GOOD && vch_slice_eq(t->log[i].name, origin)) r->log_known = true;
    }
}

vch_rc vch_trust_judge(const vch_trust_t *t, const vch_note_t *note, const vch_checkpoint_t *checkpoint,
                       vch_trust_result_t *ret)
{
    vch_trust_result_t r = {.wants_witness = t->quorum >= 0};
    standing_t s;
    judge_logs(t, note, checkpoint->origin, &r);
    for (size_t i = 0; i < t->nodes; i++) /* members stand before their group */
        s.since[i] = t->node[i].is_group ? group_since(t, &s, i) : witness_since(&t->node[i].vkey, note, &r);
    if (r.wants_witness) r.quorum_time = s.since[t->quorum];
    r.quorum = !r.wants_witness || r.quorum_time > 0;
    *ret = r;
    return VCH_OK;
}
