/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions: JSON Lines in, sealed batches out.  The file of a batch is durable
 * before the entry that names its root. */
#include "node/decide.h"

#include "codec/cbor.h"
#include "codec/json.h"
#include "merkle/tree.h"
#include "node/node_int.h"

#define BATCH_MAX 65536u
#define BATCH_BYTES (64u << 20) /* a batch is sealed once its file has grown to this */
#define LINE_MAX (1u << 20)
#define READ_SIZE 65536u

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

typedef struct {
    vch_ledger_t *l;
    const vch_signer_t *signer;
    vch_id_t deployment;
    vch_hash_t model;
    vch_file_t *lock; /* of the deployment's folder */
    uint64_t next;    /* sequence number of the next decision */
    vch_buf_t file;   /* the batch being built */
    vch_hash_t *leaf;
    uint32_t count;
    uint64_t first, from, to, since; /* since: of the deployment, in the ledger's time */
    uint64_t line, batch_line;       /* now, and of the batch's first decision */
    bool dry;                        /* only check the lines */
    vch_receipt_t receipt;
    vch_arena_t arena;
    vch_buf_t text;
    vch_err_t *err;
} dlog_t;

/* ---- one line ---------------------------------------------------------------------- */

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
    dcb_commit_input(&decision->input, decision->salt, input);
    decision->sequence = d->next++;
    decision->time.ms = d->l->port->clock->wall_ms(d->l->port);
    if (decision->time.ms < d->since) decision->time.ms = d->since; /* the clock was set back since */
    if (decision->time.ms < d->to) decision->time.ms = d->to;       /* never backwards inside a batch */
    decision->model = d->model;
    VCH_TRY(vch_decision_put(&leaf, decision));
    if (d->count == 0) {
        d->from = decision->time.ms;
        d->batch_line = d->line;
    }
    d->to = decision->time.ms;
    vch_tree_leaf(&d->leaf[d->count++], vch_buf_slice(&leaf));
    VCH_TRY(put_sized(&d->file, vch_buf_slice(&leaf)));
    return put_sized(&d->file, input);
}

/* Nothing that somebody wrote is left out silently. */
static vch_rc known_members(dlog_t *d, const vch_json_t *line)
{
    if (line->type != VCH_JSON_OBJECT) return vch_fail(d->err, VCH_ERR_FORMAT, "a decision is a JSON object");
    for (const vch_json_t *m = line->first; m; m = m->next)
        if (!vch_slice_eq(m->name, vch_str("input")) && !vch_slice_eq(m->name, vch_str("output")) &&
            !vch_slice_eq(m->name, vch_str("reasons")))
            return vch_fail(d->err, VCH_ERR_FORMAT,
                            "\"%.*s\" is no member of a decision: it has \"input\", \"output\" and \"reasons\"",
                            (int)vch_min(m->name.n, 100), (const char *)m->name.p);
    return VCH_OK;
}

static vch_rc put_canonical(dlog_t *d, const vch_json_t *value, const char *name)
{
    vch_rc rc = vch_jcs_put(&d->text, value);
    if (rc == VCH_ERR_FORMAT) return vch_fail(d->err, rc, "\"%s\" holds a number beyond the range of a double", name);
    return rc == VCH_OK ? rc : vch_fail(d->err, rc, "\"%s\": %s", name, vch_rc_text(rc));
}

static vch_rc take_line(dlog_t *d, vch_slice_t line)
{
    const vch_json_t *json;
    vch_decision_t decision = {.sequence = 0};
    vch_arena_reset(&d->arena);
    vch_buf_clear(&d->text);
    VCH_TRY(vch_json_parse(&d->arena, &json, line, d->err));
    VCH_TRY(known_members(d, json));
    const vch_json_t *input = vch_json_get(json, "input"), *output = vch_json_get(json, "output");
    if (!input || !output) return vch_fail(d->err, VCH_ERR_FORMAT, "\"input\" or \"output\" is missing");
    VCH_TRY(take_reasons(d, vch_json_get(json, "reasons"), &decision));
    VCH_TRY(put_canonical(d, output, "output"));
    size_t split = d->text.n;
    if (split > 4096) return vch_fail(d->err, VCH_ERR_LIMIT, "the output has more than 4,096 bytes");
    VCH_TRY(put_canonical(d, input, "input"));
    decision.output = vch_slice(d->text.p, split);
    return d->dry ? VCH_OK : seal_line(d, &decision, vch_slice(d->text.p + split, d->text.n - split));
}

/* ---- one batch ------------------------------------------------------------------------ */

static vch_rc begin_batch(dlog_t *d)
{
    uint8_t head[DCB_HEAD];
    memcpy(head, DCB_MAGIC, 8);
    memcpy(head + 8, d->deployment.b, 32);
    vch_put_u64(head + 40, d->next);
    vch_put_u32(head + 48, 0);
    vch_buf_clear(&d->file);
    d->first = d->next;
    d->count = 0;
    return vch_buf_put(&d->file, head, DCB_HEAD);
}

static vch_rc store_batch(dlog_t *d)
{
    char path[VCH_PATH_MAX];
    uint8_t crc[4];
    VCH_TRY(dcb_path(d->l, path, &d->deployment, d->first));
    vch_put_u32(d->file.p + 48, d->count);
    vch_put_u32(crc, vch_crc32c(0, d->file.p, d->file.n));
    VCH_TRY(vch_buf_put(&d->file, crc, 4));
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

static vch_rc in_lines(dlog_t *d, vch_rc rc)
{
    return vch_context(d->err, rc, "the decisions of lines %llu to %llu are not logged",
                       (unsigned long long)d->batch_line, (unsigned long long)d->line);
}

static vch_rc end_batch(dlog_t *d)
{
    vch_hash_t root;
    vch_buf_t b;
    if (d->count == 0) return VCH_OK;
    vch_rc stored = store_batch(d);
    if (stored != VCH_OK) return in_lines(d, stored);
    vch_tree_root_in_place(&root, d->leaf, d->count);
    vch_buf_init(&b, 4096);
    vch_rc rc = put_batch(d, &b, &root);
    vch_slice_t fields = vch_buf_slice(&b);
    if (rc == VCH_OK) rc = vch_ledger_write(d->l, d->signer, VCH_KIND_DECISIONS, &fields, 1, &d->receipt, d->err);
    vch_buf_free(&b);
    return rc == VCH_OK ? rc : in_lines(d, rc);
}

/* ---- the file of lines -------------------------------------------------------------------- */

static vch_rc each_line(dlog_t *d, vch_slice_t line)
{
    d->line++;
    if (line.n && line.p[line.n - 1] == '\r') line.n--;
    if (line.n == 0) return VCH_OK;
    vch_rc rc =
        line.n <= LINE_MAX ? take_line(d, line) : vch_fail(d->err, VCH_ERR_LIMIT, "it is longer than a megabyte");
    if (rc != VCH_OK) return vch_context(d->err, rc, "line %llu", (unsigned long long)d->line);
    if (d->dry || (d->count < BATCH_MAX && d->file.n < BATCH_BYTES)) return VCH_OK;
    VCH_TRY(end_batch(d));
    return begin_batch(d);
}

/* Whole lines out of `part`; what remains moves to its beginning. */
static vch_rc take_lines(dlog_t *d, vch_buf_t *part)
{
    size_t done = 0;
    const uint8_t *end;
    while ((end = memchr(part->p + done, '\n', part->n - done))) {
        size_t n = (size_t)(end - (part->p + done));
        VCH_TRY(each_line(d, vch_slice(part->p + done, n)));
        done += n + 1;
    }
    memmove(part->p, part->p + done, part->n - done);
    part->n -= done;
    return part->n <= LINE_MAX + 1 ? VCH_OK : each_line(d, vch_buf_slice(part)); /* which refuses it */
}

static vch_rc read_lines(dlog_t *d, vch_file_t *file, vch_buf_t *part)
{
    uint64_t at = 0;
    size_t got;
    do {
        uint8_t *to;
        size_t kept = part->n;
        vch_rc rc = vch_buf_extend(part, READ_SIZE, &to);
        if (rc == VCH_OK) rc = d->l->port->disk->read(d->l->port, file, &got, to, READ_SIZE, at);
        if (rc != VCH_OK) return vch_fail(d->err, rc, "the decisions can't be read: %s", vch_rc_text(rc));
        at += got;
        part->n = kept + got;
        VCH_TRY(take_lines(d, part));
    } while (got);
    return part->n ? each_line(d, vch_buf_slice(part)) : VCH_OK;
}

static vch_rc pass(dlog_t *d, const char *path)
{
    vch_file_t *file;
    vch_buf_t part;
    VCH_TRY(vch_file_open(d->l->port, &file, path, VCH_OPEN_READ, d->err));
    vch_buf_init(&part, LINE_MAX + 4 * READ_SIZE);
    d->line = 0;
    vch_rc rc = read_lines(d, file, &part);
    vch_buf_free(&part);
    vch_file_close(d->l->port, file);
    return rc;
}

static vch_rc may_log(dlog_t *d, const vch_deployment_value_t *y)
{
    vch_id_t party;
    VCH_TRY(vch_party_of(d->l, d->signer, &party, d->err));
    if (!vch_id_eq(&party, &y->party)) return vch_fail(d->err, VCH_ERR_ROLE, "the deployment belongs to another party");
    return y->ended ? vch_fail(d->err, VCH_ERR_CONFLICT, "the deployment has ended") : VCH_OK;
}

/* Which model decides, and with what number. */
static vch_rc read_deployment(dlog_t *d)
{
    vch_buf_t value;
    vch_deployment_value_t y;
    vch_model_value_t m;
    vch_buf_init(&value, 8192);
    vch_state_key_t key = vch_key_id('y', d->deployment.b);
    vch_rc rc = vch_value(d->l, &key, &value, d->err);
    if (rc == VCH_OK) rc = vch_deployment_get(&y, vch_buf_slice(&value));
    if (rc == VCH_OK) rc = may_log(d, &y);
    vch_buf_clear(&value);
    if (rc == VCH_OK) {
        d->next = y.next;
        d->since = y.since.ms;
        key = vch_key_id('m', y.model.b);
        rc = vch_value(d->l, &key, &value, d->err);
    }
    if (rc == VCH_OK) rc = vch_model_get(&m, vch_buf_slice(&value));
    if (rc == VCH_OK) d->model = m.digest;
    vch_buf_free(&value);
    return rc;
}

static vch_rc find_deployment(dlog_t *d, const char *name)
{
    VCH_TRY(vch_look_begin(d->l, d->err));
    vch_rc rc = name ? vch_resolve(d->l, 'y', name, &d->deployment, d->err) : VCH_OK;
    if (rc == VCH_OK) rc = read_deployment(d);
    vch_look_end(d->l);
    return rc;
}

/* One logger a deployment: a second one would write its leaves over those of
 * the first, before the ledger refuses its batch. */
static vch_rc lock_deployment(dlog_t *d)
{
    char path[VCH_PATH_MAX], hex[65];
    vch_port_t *port = d->l->port;
    vch_hex(hex, d->deployment.b, 32);
    VCH_TRY(vch_ledger_path(d->l, path, "decisions/%s", hex));
    VCH_TRY(vch_mkdirs(port, path, d->err));
    VCH_TRY(vch_ledger_path(d->l, path, "decisions/%s/" DCB_LOCK, hex));
    VCH_TRY(vch_file_open(port, &d->lock, path, VCH_OPEN_CREATE, d->err));
    vch_rc rc = port->disk->lock(port, d->lock, VCH_LOCK_EXCLUSIVE, d->l->lock_wait_ms);
    if (rc != VCH_OK)
        return vch_fail(d->err, rc, "another program logs decisions of this deployment: %s", vch_rc_text(rc));
    return find_deployment(d, NULL); /* it may have logged while we waited */
}

static vch_rc log_lines(dlog_t *d, const char *deployment, const char *path, uint64_t *ret_first)
{
    if (d->l->flags & VCH_LEDGER_READ_ONLY)
        return vch_fail(d->err, VCH_ERR_READ_ONLY, "the ledger is open for reading only");
    VCH_TRY(find_deployment(d, deployment));
    d->dry = true;
    VCH_TRY(pass(d, path)); /* one bad line refuses the whole file */
    d->dry = false;
    VCH_TRY(lock_deployment(d));
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
    vch_buf_init(&d.file, DCB_FILE_MAX);
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
    vch_file_close(l->port, d.lock);
    vch_free(d.leaf);
    vch_buf_free(&d.file);
    vch_buf_free(&d.text);
    vch_arena_free(&d.arena);
    return nd_told(rc, err);
}
