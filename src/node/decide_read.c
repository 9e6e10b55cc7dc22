/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of decisions, read back and checked against the ledger. */
#include "node/decide.h"

#include <stdio.h>
#include <stdlib.h>

#include "merkle/tree.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

vch_rc dcb_path(vch_ledger_t *l, char ret[VCH_PATH_MAX], const vch_id_t *deployment, uint64_t first)
{
    char hex[65];
    vch_hex(hex, deployment->b, 32);
    return vch_ledger_path(l, ret, "decisions/%s/%020llu.dcb", hex, (unsigned long long)first);
}

void dcb_commit_input(vch_hash_t *ret, const uint8_t salt[VCH_SALT_LEN], vch_slice_t jcs)
{
    vch_sha256_t h;
    vch_hash_t stretched;
    static const char label[] = "vouchsafe input";
    vch_sha256_init(&h);
    vch_sha256_add(&h, label, sizeof label - 1);
    vch_sha256_add(&h, salt, VCH_SALT_LEN);
    vch_sha256_end(&h, &stretched);
    vch_row_commitment(ret, stretched.b, jcs);
}

/* ---- reading a batch's file --------------------------------------------------------------- */

typedef struct {
    vch_id_t deployment;
    uint64_t first;
    uint32_t count;
    vch_slice_t body;
} dcb_t;

/* *ret_byte says where what is wrong begins. */
static vch_rc parse_head(dcb_t *ret, vch_slice_t file, uint64_t *ret_byte)
{
    *ret_byte = file.n;
    if (file.n < DCB_HEAD + 4) return VCH_ERR_CORRUPT;
    *ret_byte = 0;
    if (memcmp(file.p, DCB_MAGIC, 8) != 0) return VCH_ERR_CORRUPT;
    memcpy(ret->deployment.b, file.p + 8, 32);
    ret->first = vch_get_u64(file.p + 40);
    ret->count = vch_get_u32(file.p + 48);
    ret->body = vch_slice(file.p + DCB_HEAD, file.n - DCB_HEAD - 4);
    return VCH_OK;
}

/* Last of all: whatever is damaged elsewhere is named more exactly before. */
static vch_rc check_sum(vch_slice_t file, uint64_t *ret_byte)
{
    *ret_byte = file.n - 4;
    return vch_crc32c(0, file.p, file.n - 4) == vch_get_u32(file.p + file.n - 4) ? VCH_OK : VCH_ERR_CORRUPT;
}

static bool take_sized(vch_slice_t *body, vch_slice_t *ret)
{
    if (body->n < 4) return false;
    size_t n = vch_get_u32(body->p);
    if (n > body->n - 4) return false;
    *ret = vch_slice(body->p + 4, n);
    *body = vch_slice(body->p + 4 + n, body->n - 4 - n);
    return true;
}

/* The next decision: its leaf and number, its input against the leaf's commitment. */
static vch_rc next_decision(vch_slice_t *body, uint64_t sequence, vch_slice_t *ret_leaf)
{
    vch_slice_t input;
    vch_decision_t d;
    vch_hash_t commitment;
    if (!take_sized(body, ret_leaf) || !take_sized(body, &input)) return VCH_ERR_CORRUPT;
    if (vch_decision_get(&d, *ret_leaf) != VCH_OK || d.sequence != sequence) return VCH_ERR_CORRUPT;
    dcb_commit_input(&commitment, d.salt, input);
    return vch_hash_eq(&commitment, &d.input) ? VCH_OK : VCH_ERR_CORRUPT;
}

static vch_rc load_file(vch_ledger_t *l, const vch_id_t *deployment, uint64_t first, vch_buf_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(dcb_path(l, path, deployment, first));
    vch_rc rc = vch_read_all(l->port, ret, path, DCB_FILE_MAX, err);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    vch_fail(err, rc, "the decisions from %llu on are not on this machine (%s)", (unsigned long long)first, path);
    return vch_hint(err, rc, "the ledger still holds their batch; only whoever keeps the leaves can show one");
}

vch_rc vch_decisions_load(vch_ledger_t *l, const vch_id_t *deployment, uint64_t first, uint64_t count,
                          vch_arena_t *arena, vch_slice_t *ret_leaf, vch_err_t *err)
{
    vch_buf_t file;
    dcb_t d;
    uint64_t byte = 0;
    vch_buf_init(&file, DCB_FILE_MAX);
    vch_rc rc = load_file(l, deployment, first, &file, err);
    if (rc == VCH_OK) rc = parse_head(&d, vch_buf_slice(&file), &byte);
    if (rc == VCH_OK && (d.count != count || d.first != first || !vch_id_eq(&d.deployment, deployment))) {
        byte = 8;
        rc = VCH_ERR_CORRUPT;
    }
    for (uint64_t i = 0; rc == VCH_OK && i < count; i++) {
        vch_slice_t leaf;
        byte = (uint64_t)(d.body.p - file.p);
        rc = next_decision(&d.body, first + i, &leaf);
        void *copy = rc == VCH_OK ? vch_arena_copy(arena, leaf.p, leaf.n) : NULL;
        if (rc == VCH_OK && !copy) rc = no_memory(err);
        if (rc == VCH_OK) ret_leaf[i] = vch_slice(copy, leaf.n);
    }
    if (rc == VCH_OK && d.body.n) {
        byte = (uint64_t)(d.body.p - file.p);
        rc = VCH_ERR_CORRUPT;
    }
    if (rc == VCH_OK) rc = check_sum(vch_buf_slice(&file), &byte);
    if (rc == VCH_ERR_CORRUPT)
        vch_fail(err, rc, "the file of the decisions from %llu on is damaged at byte %llu", (unsigned long long)first,
                 (unsigned long long)byte);
    vch_buf_free(&file);
    return rc;
}

/* ---- checking all of them --------------------------------------------------------------------- */

typedef struct {
    vch_id_t deployment;
    uint64_t first, count;
    vch_hash_t root;
    bool seen;
} batch_t;

typedef struct {
    vch_ledger_t *l;
    vch_finding_fn fn;
    void *ctx;
    uint64_t findings;
    batch_t *batch; /* all that the ledger has, by deployment and first */
    size_t n, cap;
    char folder[65]; /* deployment in hex */
    vch_id_t deployment;
    vch_err_t *err;
} dcheck_t;

static void tell(dcheck_t *c, const char *name, bool has_byte, uint64_t byte, bool leftover, const char *text)
{
    char file[400];
    snprintf(file, sizeof file, "decisions/%.64s%s%.255s", c->folder, *c->folder ? "/" : "", name);
    vch_finding_t f = {.file = file, .byte = byte, .has_byte = has_byte, .derived = leftover, .text = text};
    if (!leftover) c->findings++;
    if (c->fn) c->fn(c->ctx, &f);
}

static int by_place(const void *a, const void *b)
{
    const batch_t *x = a, *y = b;
    int d = memcmp(x->deployment.b, y->deployment.b, 32);
    return d ? d : (x->first > y->first) - (x->first < y->first);
}

static vch_rc take_batch(void *ctx, vch_slice_t key, vch_slice_t value)
{
    (void)key;
    dcheck_t *c = ctx;
    vch_batch_value_t b;
    VCH_TRY(vch_batch_get(&b, value));
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        batch_t *more = vch_resize(c->batch, cap * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        c->batch = more;
        c->cap = cap;
    }
    c->batch[c->n++] = (batch_t){b.deployment, b.first, b.count, b.root, false};
    return VCH_OK;
}

static vch_rc take_batches(dcheck_t *c)
{
    VCH_TRY(vch_ledger_read_begin(c->l, c->err));
    vch_rc rc = vch_state_each(c->l->state, 'b', take_batch, c);
    vch_ledger_read_end(c->l);
    if (rc != VCH_OK) return vch_fail(c->err, rc, "the batches can't be listed: %s", vch_rc_text(rc));
    if (c->n > 1) qsort(c->batch, c->n, sizeof *c->batch, by_place);
    return VCH_OK;
}

static vch_rc check_root(const dcb_t *d, vch_slice_t file, const batch_t *b, vch_hash_t *leaf, uint64_t *ret_byte,
                         const char **ret_text)
{
    vch_slice_t body = d->body, bytes;
    vch_hash_t root;
    *ret_text = "a decision, or its input, is not as it was logged";
    for (uint32_t i = 0; i < d->count; i++) {
        *ret_byte = (uint64_t)(body.p - file.p);
        VCH_TRY(next_decision(&body, d->first + i, &bytes));
        vch_tree_leaf(&leaf[i], bytes);
    }
    *ret_byte = (uint64_t)(body.p - file.p);
    *ret_text = "there is more behind the last decision";
    if (body.n) return VCH_ERR_CORRUPT;
    *ret_byte = DCB_HEAD;
    *ret_text = "one or more of the decisions from here on are not those of the batch on the ledger";
    vch_tree_root_in_place(&root, leaf, d->count);
    if (!vch_hash_eq(&root, &b->root)) return VCH_ERR_CORRUPT;
    *ret_text = "the checksum is damaged, the decisions are not";
    return check_sum(file, ret_byte);
}

/* VCH_ERR_CORRUPT with the byte and text of what is wrong. */
static vch_rc check_body(const dcb_t *d, vch_slice_t file, const batch_t *b, uint64_t *ret_byte, const char **ret_text)
{
    *ret_byte = 48;
    *ret_text = "it does not hold as many decisions as its batch";
    if (d->count != b->count) return VCH_ERR_CORRUPT;
    vch_hash_t *leaf = vch_alloc_array((size_t)d->count + 1, sizeof *leaf);
    if (!leaf) return VCH_ERR_MEMORY;
    vch_rc rc = check_root(d, file, b, leaf, ret_byte, ret_text);
    vch_free(leaf);
    return rc;
}

/* The batch that a file's name promises (the head may be what is damaged);
 * NULL when the ledger has none. */
static batch_t *batch_of(dcheck_t *c, const char *name)
{
    batch_t wanted = {.deployment = c->deployment};
    size_t n = strlen(name);
    if (n != 24 || strcmp(name + 20, ".dcb") != 0) return NULL;
    for (size_t i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9') return NULL;
        wanted.first = wanted.first * 10 + (uint64_t)(name[i] - '0');
    }
    return c->n ? bsearch(&wanted, c->batch, c->n, sizeof wanted, by_place) : NULL;
}

static vch_rc check_file(dcheck_t *c, const char *name, const batch_t *b, vch_slice_t file)
{
    dcb_t d;
    uint64_t byte = 0;
    const char *text = "this is no file of decisions";
    vch_rc rc = parse_head(&d, file, &byte);
    if (rc == VCH_OK && !vch_id_eq(&d.deployment, &b->deployment)) {
        byte = 8;
        text = "it names another deployment than its folder";
        rc = VCH_ERR_CORRUPT;
    } else if (rc == VCH_OK && d.first != b->first) {
        byte = 40;
        text = "it names another first decision than its file's name";
        rc = VCH_ERR_CORRUPT;
    }
    if (rc == VCH_OK) rc = check_body(&d, file, b, &byte, &text);
    if (rc == VCH_ERR_MEMORY) return no_memory(c->err);
    if (rc == VCH_ERR_CORRUPT) tell(c, name, true, byte, false, text);
    return rc == VCH_ERR_CORRUPT ? VCH_OK : rc;
}

static vch_rc check_one(void *ctx, const char *name)
{
    dcheck_t *c = ctx;
    char path[VCH_PATH_MAX];
    vch_buf_t file;
    if (strcmp(name, DCB_LOCK) == 0) return VCH_OK;
    batch_t *b = batch_of(c, name);
    if (!b) { /* written, but the crash or refusal came before its entry */
        tell(c, name, false, 0, true, "the ledger has no batch for this file: left over from logging that was cut off");
        return VCH_OK;
    }
    b->seen = true;
    VCH_TRY(dcb_path(c->l, path, &b->deployment, b->first));
    vch_buf_init(&file, DCB_FILE_MAX);
    vch_rc rc = vch_read_all(c->l->port, &file, path, DCB_FILE_MAX, c->err);
    if (rc == VCH_OK) rc = check_file(c, name, b, vch_buf_slice(&file));
    vch_buf_free(&file);
    return rc;
}

/* A deployment whose decisions are kept here at all has all of them here. */
static void check_missing(dcheck_t *c)
{
    char name[40];
    for (size_t i = 0; i < c->n; i++) {
        if (c->batch[i].seen || !vch_id_eq(&c->batch[i].deployment, &c->deployment)) continue;
        snprintf(name, sizeof name, "%020llu.dcb", (unsigned long long)c->batch[i].first);
        tell(c, name, false, 0, false, "the file is missing: the ledger holds only the root of these decisions");
    }
}

static vch_rc check_folder(void *ctx, const char *name)
{
    dcheck_t *c = ctx;
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    c->folder[0] = 0;
    VCH_TRY(vch_ledger_path(c->l, path, "decisions/%s", name));
    VCH_TRY(c->l->port->disk->stat(c->l->port, path, &st));
    if (!st.is_dir || strlen(name) != 64 || !vch_unhex(c->deployment.b, 32, name, 64)) {
        tell(c, name, false, 0, true, "it is no folder of a deployment's decisions");
        return VCH_OK;
    }
    snprintf(c->folder, sizeof c->folder, "%.64s", name);
    VCH_TRY(c->l->port->disk->list(c->l->port, path, check_one, c));
    check_missing(c);
    return VCH_OK;
}

vch_rc vch_decisions_check(vch_ledger_t *l, vch_finding_fn fn, void *ctx, uint64_t *ret_findings, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    dcheck_t c = {.l = l, .fn = fn, .ctx = ctx, .err = err};
    vch_stat_t st;
    VCH_TRY(vch_ledger_path(l, path, "decisions"));
    vch_rc rc = take_batches(&c);
    vch_rc any = l->port->disk->stat(l->port, path, &st); /* not there: nothing was ever decided here */
    if (rc == VCH_OK && any != VCH_OK && any != VCH_ERR_NOT_FOUND)
        rc = vch_fail(err, any, "looking for %s: %s", path, vch_rc_text(any));
    if (rc == VCH_OK && any == VCH_OK) rc = l->port->disk->list(l->port, path, check_folder, &c);
    vch_free(c.batch);
    if (rc == VCH_OK) *ret_findings = c.findings;
    return rc;
}
