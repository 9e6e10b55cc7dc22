/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions: JSON Lines in, sealed batches out (docs/formats/decisions.md).
 *
 *   decisions/<deployment>/<first, 20 digits>.dcb
 *     "VCHDCB1\n" ‖ deployment 32 ‖ u64 first ‖ u32 count
 *     per decision: u32 length ‖ leaf ‖ u32 length ‖ input as JCS
 *     u32 crc32c of everything before
 *
 * The file is durable before the entry that names its root. */
#include <stdio.h>

#include "codec/cbor.h"
#include "codec/json.h"
#include "merkle/tree.h"
#include "node/use.h"

#define BATCH_MAX 65536u
#define LINE_MAX (1u << 20)
#define FILE_MAX (1u << 30)
#define HEAD 52

static const char magic[8] = {'V', 'C', 'H', 'D', 'C', 'B', '1', '\n'};

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

typedef struct {
    vch_ledger_t *l;
    const vch_signer_t *signer;
    vch_id_t deployment;
    vch_hash_t model;
    uint64_t next;  /* sequence number of the next decision */
    vch_buf_t file; /* the batch being built */
    vch_hash_t *leaf;
    uint32_t count;
    uint64_t first, from, to;
    uint64_t line;
    bool dry; /* only check the lines */
    vch_receipt_t receipt;
    vch_arena_t arena;
    vch_buf_t text;
    vch_err_t *err;
} dlog_t;

/* ---- one line ---------------------------------------------------------------------- */

/* The input's commitment: the leaf's salt, stretched to a row's. */
static vch_rc commit_input(vch_hash_t *ret, const uint8_t salt[VCH_SALT_LEN], vch_slice_t jcs)
{
    vch_sha256_t h;
    vch_hash_t stretched;
    static const char label[] = "vouchsafe input";
    vch_sha256_init(&h);
    vch_sha256_add(&h, label, sizeof label - 1);
    vch_sha256_add(&h, salt, VCH_SALT_LEN);
    vch_sha256_end(&h, &stretched);
    vch_row_commitment(ret, stretched.b, jcs);
    return VCH_OK;
}

static vch_rc take_reasons(dlog_t *d, const vch_json_t *reasons, vch_decision_t *ret)
{
    if (!reasons) return VCH_OK;
    if (reasons->type != VCH_JSON_ARRAY || reasons->count > 16)
        return vch_fail(d->err, VCH_ERR_FORMAT, "\"reasons\" must be a list of at most 16 texts");
    for (const vch_json_t *r = reasons->first; r; r = r->next) {
        if (r->type != VCH_JSON_STRING || r->text.n > 64)
            return vch_fail(d->err, VCH_ERR_FORMAT, "a reason is a text of at most 64 bytes");
        ret->reason[ret->reasons++] = r->text;
    }
    return VCH_OK;
}

static vch_rc put_sized(vch_buf_t *b, vch_slice_t s)
{
    uint8_t n[4];
    vch_put_u32(n, (uint32_t)s.n);
    VCH_TRY(vch_buf_put(b, n, 4));
    return vch_buf_put(b, s.p, s.n);
}

static vch_rc seal_line(dlog_t *d, vch_decision_t *decision, vch_slice_t input)
{
    uint8_t memory[8192];
    vch_buf_t leaf = {memory, 0, sizeof memory, sizeof memory};
    VCH_TRY(vch_random(d->l->port, decision->salt, VCH_SALT_LEN, d->err));
    VCH_TRY(commit_input(&decision->input, decision->salt, input));
    decision->sequence = d->next++;
    decision->time.ms = d->l->port->clock->wall_ms(d->l->port);
    if (decision->time.ms < d->to) decision->time.ms = d->to; /* never backwards inside a batch */
    decision->model = d->model;
    VCH_TRY(vch_decision_put(&leaf, decision));
    if (d->count == 0) d->from = decision->time.ms;
    d->to = decision->time.ms;
    vch_tree_leaf(&d->leaf[d->count++], vch_buf_slice(&leaf));
    VCH_TRY(put_sized(&d->file, vch_buf_slice(&leaf)));
    return put_sized(&d->file, input);
}

static vch_rc take_line(dlog_t *d, vch_slice_t line)
{
    const vch_json_t *json;
    vch_decision_t decision = {.sequence = 0};
    vch_arena_reset(&d->arena);
    vch_buf_clear(&d->text);
    VCH_TRY(vch_json_parse(&d->arena, &json, line, d->err));
    const vch_json_t *input = vch_json_get(json, "input"), *output = vch_json_get(json, "output");
    if (!input || !output) return vch_fail(d->err, VCH_ERR_FORMAT, "\"input\" or \"output\" is missing");
    VCH_TRY(take_reasons(d, vch_json_get(json, "reasons"), &decision));
    VCH_TRY(vch_jcs_put(&d->text, output));
    size_t split = d->text.n;
    if (split > 4096) return vch_fail(d->err, VCH_ERR_LIMIT, "the output has more than 4,096 bytes");
    VCH_TRY(vch_jcs_put(&d->text, input));
    decision.output = vch_slice(d->text.p, split);
    return d->dry ? VCH_OK : seal_line(d, &decision, vch_slice(d->text.p + split, d->text.n - split));
}

/* ---- one batch ------------------------------------------------------------------------ */

static vch_rc begin_batch(dlog_t *d)
{
    uint8_t head[HEAD];
    memcpy(head, magic, 8);
    memcpy(head + 8, d->deployment.b, 32);
    vch_put_u64(head + 40, d->next);
    vch_put_u32(head + 48, 0);
    vch_buf_clear(&d->file);
    d->first = d->next;
    d->count = 0;
    return vch_buf_put(&d->file, head, HEAD);
}

static vch_rc batch_path(vch_ledger_t *l, char ret[VCH_PATH_MAX], const vch_id_t *deployment, uint64_t first)
{
    char hex[65];
    vch_hex(hex, deployment->b, 32);
    return vch_ledger_path(l, ret, "decisions/%s/%020llu.dcb", hex, (unsigned long long)first);
}

static vch_rc store_batch(dlog_t *d)
{
    char path[VCH_PATH_MAX], dir[VCH_PATH_MAX], hex[65];
    uint8_t crc[4];
    vch_put_u32(d->file.p + 48, d->count);
    vch_put_u32(crc, vch_crc32c(0, d->file.p, d->file.n));
    VCH_TRY(vch_buf_put(&d->file, crc, 4));
    vch_hex(hex, d->deployment.b, 32);
    VCH_TRY(vch_ledger_path(d->l, dir, "decisions/%s", hex));
    VCH_TRY(vch_mkdirs(d->l->port, dir, d->err));
    VCH_TRY(batch_path(d->l, path, &d->deployment, d->first));
    return vch_write_atomic(d->l->port, path, vch_buf_slice(&d->file), 0600, d->err);
}

static vch_rc put_batch(const dlog_t *d, vch_buf_t *b, const vch_hash_t *root)
{
    const uint64_t number[][2] = {{VCH_F_DECISIONS_FIRST, d->first}, {VCH_F_DECISIONS_COUNT, d->count}};
    const uint64_t after[][2] = {
        {VCH_F_DECISIONS_FROM, d->from}, {VCH_F_DECISIONS_TO, d->to}, {VCH_F_DECISIONS_LOST, 0}};
    VCH_TRY(vch_cbor_map(b, 7));
    VCH_TRY(vch_cbor_uint(b, VCH_F_DECISIONS_DEPLOYMENT));
    VCH_TRY(vch_cbor_bytes(b, d->deployment.b, 32));
    for (size_t i = 0; i < 2; i++) {
        VCH_TRY(vch_cbor_uint(b, number[i][0]));
        VCH_TRY(vch_cbor_uint(b, number[i][1]));
    }
    VCH_TRY(vch_cbor_uint(b, VCH_F_DECISIONS_ROOT));
    VCH_TRY(vch_cbor_bytes(b, root->b, 32));
    for (size_t i = 0; i < 3; i++) {
        VCH_TRY(vch_cbor_uint(b, after[i][0]));
        VCH_TRY(vch_cbor_uint(b, after[i][1]));
    }
    return VCH_OK;
}

static vch_rc end_batch(dlog_t *d)
{
    vch_hash_t root;
    vch_buf_t b;
    if (d->count == 0) return VCH_OK;
    VCH_TRY(store_batch(d));
    vch_tree_root_in_place(&root, d->leaf, d->count);
    vch_buf_init(&b, 4096);
    vch_rc rc = put_batch(d, &b, &root);
    vch_slice_t fields = vch_buf_slice(&b);
    if (rc == VCH_OK) rc = vch_ledger_write(d->l, d->signer, VCH_KIND_DECISIONS, &fields, 1, &d->receipt, d->err);
    vch_buf_free(&b);
    return rc;
}

/* ---- the file of lines -------------------------------------------------------------------- */

static vch_rc each_line(dlog_t *d, vch_slice_t line)
{
    d->line++;
    if (line.n && line.p[line.n - 1] == '\r') line.n--;
    if (line.n == 0) return VCH_OK;
    vch_rc rc = take_line(d, line);
    if (rc != VCH_OK) return vch_context(d->err, rc, "line %llu", (unsigned long long)d->line);
    if (d->dry || d->count < BATCH_MAX) return VCH_OK;
    VCH_TRY(end_batch(d));
    return begin_batch(d);
}

static vch_rc read_lines(dlog_t *d, vch_file_t *file, vch_buf_t *part)
{
    uint64_t at = 0;
    size_t got;
    do {
        uint8_t *to;
        size_t kept = part->n;
        VCH_TRY(vch_buf_extend(part, 65536, &to));
        VCH_TRY(d->l->port->disk->read(d->l->port, file, &got, to, 65536, at));
        at += got;
        part->n = kept + got;
        size_t done = 0;
        const uint8_t *end;
        while ((end = memchr(part->p + done, '\n', part->n - done))) {
            size_t n = (size_t)(end - (part->p + done));
            VCH_TRY(each_line(d, vch_slice(part->p + done, n)));
            done += n + 1;
        }
        memmove(part->p, part->p + done, part->n - done);
        part->n -= done;
    } while (got);
    return part->n ? each_line(d, vch_buf_slice(part)) : VCH_OK;
}

static vch_rc pass(dlog_t *d, const char *path)
{
    vch_file_t *file;
    vch_buf_t part;
    VCH_TRY(vch_file_open(d->l->port, &file, path, VCH_OPEN_READ, d->err));
    vch_buf_init(&part, LINE_MAX + 131072);
    d->line = 0;
    vch_rc rc = read_lines(d, file, &part);
    if (rc == VCH_ERR_LIMIT && (!d->err || d->err->rc != rc))
        rc = vch_fail(d->err, rc, "line %llu is longer than a megabyte", (unsigned long long)d->line + 1);
    vch_buf_free(&part);
    vch_file_close(d->l->port, file);
    return rc;
}

static vch_rc find_deployment(dlog_t *d, const char *name)
{
    vch_buf_t value;
    vch_deployment_value_t y;
    vch_model_value_t m;
    vch_buf_init(&value, 8192);
    vch_rc rc = vch_resolve(d->l, 'y', name, &d->deployment, d->err);
    vch_state_key_t key = vch_key_id('y', d->deployment.b);
    if (rc == VCH_OK) rc = vch_state_get(d->l->state, vch_key_slice(&key), &value, d->err);
    if (rc == VCH_OK) rc = vch_deployment_get(&y, vch_buf_slice(&value));
    vch_buf_clear(&value);
    if (rc == VCH_OK) {
        d->next = y.next;
        key = vch_key_id('m', y.model.b);
        rc = vch_state_get(d->l->state, vch_key_slice(&key), &value, d->err);
    }
    if (rc == VCH_OK) rc = vch_model_get(&m, vch_buf_slice(&value));
    if (rc == VCH_OK) d->model = m.digest;
    vch_buf_free(&value);
    return rc;
}

static vch_rc log_lines(dlog_t *d, const char *deployment, const char *path, uint64_t *ret_first)
{
    VCH_TRY(vch_ledger_read_begin(d->l, d->err));
    vch_rc rc = find_deployment(d, deployment);
    vch_ledger_read_end(d->l);
    VCH_TRY(rc);
    d->dry = true;
    VCH_TRY(pass(d, path)); /* one bad line refuses the whole file */
    d->dry = false;
    *ret_first = d->next;
    VCH_TRY(begin_batch(d));
    VCH_TRY(pass(d, path));
    return end_batch(d);
}

VCH_API vch_rc vch_decisions_log(vch_ledger_t *l, const vch_signer_t *signer, const char *deployment,
                                 const char *jsonl_path, uint64_t *ret_first, uint64_t *ret_count, vch_receipt_t *ret,
                                 vch_err_t *err)
{
    dlog_t d = {.l = l, .signer = signer, .err = err};
    uint64_t first = 0;
    vch_buf_init(&d.file, FILE_MAX);
    vch_buf_init(&d.text, 4u << 20);
    vch_arena_init(&d.arena, 64u << 20);
    d.leaf = vch_alloc_array(BATCH_MAX, sizeof *d.leaf);
    vch_rc rc = d.leaf ? log_lines(&d, deployment, jsonl_path, &first) : no_memory(err);
    if (rc == VCH_OK && d.next == first) rc = vch_fail(err, VCH_ERR_FORMAT, "%s holds no decision", jsonl_path);
    if (rc == VCH_OK) {
        *ret_first = first;
        *ret_count = d.next - first;
        *ret = d.receipt;
    }
    vch_free(d.leaf);
    vch_buf_free(&d.file);
    vch_buf_free(&d.text);
    vch_arena_free(&d.arena);
    return rc;
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
    *ret_byte = 0;
    if (file.n < HEAD + 4 || memcmp(file.p, magic, 8) != 0) return VCH_ERR_CORRUPT;
    *ret_byte = file.n - 4;
    if (vch_crc32c(0, file.p, file.n - 4) != vch_get_u32(file.p + file.n - 4)) return VCH_ERR_CORRUPT;
    memcpy(ret->deployment.b, file.p + 8, 32);
    ret->first = vch_get_u64(file.p + 40);
    ret->count = vch_get_u32(file.p + 48);
    ret->body = vch_slice(file.p + HEAD, file.n - HEAD - 4);
    return VCH_OK;
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

/* The next decision: its leaf, and its input against the leaf's commitment. */
static vch_rc next_decision(vch_slice_t *body, vch_slice_t *ret_leaf)
{
    vch_slice_t input;
    vch_decision_t d;
    vch_hash_t commitment;
    if (!take_sized(body, ret_leaf) || !take_sized(body, &input)) return VCH_ERR_CORRUPT;
    if (vch_decision_get(&d, *ret_leaf) != VCH_OK) return VCH_ERR_CORRUPT;
    VCH_TRY(commit_input(&commitment, d.salt, input));
    return vch_hash_eq(&commitment, &d.input) ? VCH_OK : VCH_ERR_CORRUPT;
}

static vch_rc load_file(vch_ledger_t *l, const vch_id_t *deployment, uint64_t first, vch_buf_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(batch_path(l, path, deployment, first));
    vch_rc rc = vch_read_all(l->port, ret, path, FILE_MAX, err);
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
    vch_buf_init(&file, FILE_MAX);
    vch_rc rc = load_file(l, deployment, first, &file, err);
    if (rc == VCH_OK) rc = parse_head(&d, vch_buf_slice(&file), &byte);
    if (rc == VCH_OK && (d.count != count || d.first != first || !vch_id_eq(&d.deployment, deployment)))
        rc = VCH_ERR_CORRUPT;
    for (uint64_t i = 0; rc == VCH_OK && i < count; i++) {
        vch_slice_t leaf;
        byte = (uint64_t)(d.body.p - file.p);
        rc = next_decision(&d.body, &leaf);
        void *copy = rc == VCH_OK ? vch_arena_copy(arena, leaf.p, leaf.n) : NULL;
        if (rc == VCH_OK && !copy) rc = no_memory(err);
        if (rc == VCH_OK) ret_leaf[i] = vch_slice(copy, leaf.n);
    }
    if (rc == VCH_ERR_CORRUPT)
        vch_fail(err, rc, "the file of the decisions from %llu on is damaged at byte %llu", (unsigned long long)first,
                 (unsigned long long)byte);
    vch_buf_free(&file);
    return rc;
}

/* ---- checking all of them --------------------------------------------------------------------- */

typedef struct {
    vch_ledger_t *l;
    vch_finding_fn fn;
    void *ctx;
    uint64_t findings;
    char folder[72]; /* deployment in hex */
    vch_err_t *err;
} dcheck_t;

static void dcheck_found(dcheck_t *c, const char *name, uint64_t byte, const char *text)
{
    char file[400];
    snprintf(file, sizeof file, "decisions/%s/%s", c->folder, name);
    vch_finding_t f = {.file = file, .byte = byte, .has_byte = 1, .text = text};
    c->findings++;
    if (c->fn) c->fn(c->ctx, &f);
}

typedef struct {
    const vch_id_t *deployment;
    uint64_t first;
    bool found;
    vch_batch_value_t value;
} find_t;

static vch_rc find_batch(void *ctx, vch_slice_t key, vch_slice_t value)
{
    (void)key;
    find_t *f = ctx;
    vch_batch_value_t b;
    VCH_TRY(vch_batch_get(&b, value));
    if (b.first != f->first || !vch_id_eq(&b.deployment, f->deployment)) return VCH_OK;
    f->found = true;
    f->value = b;
    return VCH_OK;
}

static vch_rc logged_batch(dcheck_t *c, find_t *f)
{
    VCH_TRY(vch_ledger_read_begin(c->l, c->err));
    vch_rc rc = vch_state_each(c->l->state, 'b', find_batch, f);
    vch_ledger_read_end(c->l);
    return rc;
}

/* VCH_ERR_CORRUPT with the byte and text of what is wrong. */
static vch_rc check_body(const dcb_t *d, const vch_buf_t *file, const vch_batch_value_t *b, uint64_t *ret_byte,
                         const char **ret_text)
{
    vch_hash_t *leaf = vch_alloc_array((size_t)d->count + 1, sizeof *leaf), root;
    vch_slice_t body = d->body, bytes;
    vch_rc rc = leaf ? VCH_OK : VCH_ERR_MEMORY;
    *ret_text = "a decision or its input does not match its commitment";
    for (uint32_t i = 0; rc == VCH_OK && i < d->count; i++) {
        *ret_byte = (uint64_t)(body.p - file->p);
        rc = next_decision(&body, &bytes);
        if (rc == VCH_OK) vch_tree_leaf(&leaf[i], bytes);
    }
    if (rc == VCH_OK && (body.n || d->count != b->count)) {
        *ret_text = "it does not hold as many decisions as its batch";
        rc = VCH_ERR_CORRUPT;
    }
    if (rc == VCH_OK) vch_tree_root_in_place(&root, leaf, d->count);
    if (rc == VCH_OK && !vch_hash_eq(&root, &b->root)) {
        *ret_byte = HEAD;
        *ret_text = "its decisions are not those of the batch on the ledger";
        rc = VCH_ERR_CORRUPT;
    }
    vch_free(leaf);
    return rc;
}

static vch_rc check_file(dcheck_t *c, const char *name, const vch_buf_t *file)
{
    dcb_t d;
    uint64_t byte = 0;
    const char *text = "the head or the checksum is damaged";
    char expected[40];
    vch_rc rc = parse_head(&d, vch_buf_slice(file), &byte);
    if (rc == VCH_OK) {
        char hex[65];
        vch_hex(hex, d.deployment.b, 32);
        snprintf(expected, sizeof expected, "%020llu.dcb", (unsigned long long)d.first);
        if (strcmp(hex, c->folder) != 0 || strcmp(expected, name) != 0) {
            byte = 8;
            text = "the file lies under another name than its batch";
            rc = VCH_ERR_CORRUPT;
        }
    }
    find_t f = {.deployment = &d.deployment, .first = rc == VCH_OK ? d.first : 0};
    if (rc == VCH_OK) {
        VCH_TRY(logged_batch(c, &f));
        /* A file without its entry is left over from a crash in between. */
        if (!f.found) return VCH_OK;
        rc = check_body(&d, file, &f.value, &byte, &text);
    }
    if (rc == VCH_ERR_CORRUPT) {
        dcheck_found(c, name, byte, text);
        return VCH_OK;
    }
    return rc;
}

static vch_rc check_one(void *ctx, const char *name)
{
    dcheck_t *c = ctx;
    char path[VCH_PATH_MAX];
    vch_buf_t file;
    VCH_TRY(vch_ledger_path(c->l, path, "decisions/%s/%s", c->folder, name));
    vch_buf_init(&file, FILE_MAX);
    vch_rc rc = vch_read_all(c->l->port, &file, path, FILE_MAX, c->err);
    if (rc == VCH_OK) rc = check_file(c, name, &file);
    vch_buf_free(&file);
    return rc;
}

static vch_rc check_folder(void *ctx, const char *name)
{
    dcheck_t *c = ctx;
    char path[VCH_PATH_MAX];
    snprintf(c->folder, sizeof c->folder, "%s", name);
    VCH_TRY(vch_ledger_path(c->l, path, "decisions/%s", name));
    return c->l->port->disk->list(c->l->port, path, check_one, c);
}

vch_rc vch_decisions_check(vch_ledger_t *l, vch_finding_fn fn, void *ctx, uint64_t *ret_findings, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    dcheck_t c = {.l = l, .fn = fn, .ctx = ctx, .err = err};
    VCH_TRY(vch_ledger_path(l, path, "decisions"));
    vch_rc rc = l->port->disk->list(l->port, path, check_folder, &c);
    if (rc == VCH_ERR_NOT_FOUND) rc = VCH_OK; /* nothing was ever decided */
    if (rc == VCH_OK) *ret_findings = c.findings;
    return rc;
}
