/* SPDX-License-Identifier: Apache-2.0 */
/* run exec: granted ∩ permitted now -> checked rows in committed order -> run
 * entry -> command -> run-end -> model.  The run entry is on the ledger before
 * the command sees a row. */
#include "node/run.h"

#include <stdio.h>

#include "codec/cbor.h"
#include "node/node_int.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- order and hold-out: Fisher–Yates driven by SHA-256(seed ‖ counter) ----------- */

typedef struct {
    uint64_t seed, counter;
} stream_t;

static uint64_t stream_next(stream_t *s)
{
    uint8_t data[16];
    vch_hash_t h;
    vch_put_u64(data, s->seed);
    vch_put_u64(data + 8, s->counter++);
    vch_sha256(&h, data, sizeof data);
    return vch_get_u64(h.b);
}

/* Uniform below n: what would favour small numbers is drawn again. */
static uint64_t stream_below(stream_t *s, uint64_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, v;
    do v = stream_next(s);
    while (v >= limit);
    return v % n;
}

static void shuffle(uint32_t (*row)[2], size_t n, uint64_t seed)
{
    stream_t s = {seed, 0};
    for (size_t i = n; i > 1; i--) {
        size_t k = (size_t)stream_below(&s, i);
        uint32_t e = row[i - 1][0], r = row[i - 1][1];
        row[i - 1][0] = row[k][0];
        row[i - 1][1] = row[k][1];
        row[k][0] = e;
        row[k][1] = r;
    }
}

static vch_rc choose_rows(run_t *r)
{
    r->rows = (size_t)r->use.count;
    r->holdout = r->spec->holdout;
    if (r->rows <= r->holdout)
        return vch_fail(r->err, VCH_ERR_DENIED, "%zu rows are permitted now and %zu are to be held out: none is left",
                        r->rows, r->holdout);
    r->order = vch_alloc_array(r->rows, sizeof *r->order);
    if (!r->order) return no_memory(r->err);
    size_t n = 0;
    for (uint32_t e = 0; e < r->use.extents; e++)
        for (uint32_t row = 0; row < r->use.rows[e]; row++)
            if (vch_bit(r->use.bits.p + r->use.at[e], row)) {
                r->order[n][0] = e;
                r->order[n++][1] = row;
            }
    shuffle(r->order, r->rows, r->seed);
    return VCH_OK;
}

static vch_rc commit_rows(run_t *r)
{
    uint8_t *bits;
    vch_arena_t scratch;
    size_t used = r->rows - r->holdout;
    VCH_TRY(vch_buf_extend(&r->bits, r->use.bits.n, &bits));
    memset(bits, 0, r->use.bits.n);
    for (size_t i = r->holdout; i < r->rows; i++) vch_bit_set(bits + r->use.at[r->order[i][0]], r->order[i][1]);
    vch_arena_init(&scratch, used * 48 + (r->bits.n / 8) + 65536);
    vch_rc rc = vch_set_root(&r->set_root, r->bits.p, r->bits.n, &scratch);
    if (rc == VCH_OK)
        rc = vch_order_root(&r->order_root, (const uint32_t(*)[2])(r->order + r->holdout), used, &scratch);
    vch_arena_free(&scratch);
    if (rc == VCH_OK) rc = vch_set_keep(r->l, &r->set_root, vch_buf_slice(&r->bits), r->err);
    return rc;
}

/* ---- files in -------------------------------------------------------------------------- */

static vch_rc write_files(run_t *r, vch_fetch_t *f)
{
    char path[VCH_PATH_MAX];
    const uint32_t(*order)[2] = (const uint32_t(*)[2])r->order;
    VCH_TRY(vch_path(path, "%s/in/train.csv", r->work));
    VCH_TRY(vch_fetch_write_csv(f, path, order + r->holdout, r->rows - r->holdout, r->err));
    r->made_train = true;
    if (r->holdout == 0) return VCH_OK;
    VCH_TRY(vch_path(path, "%s/in/holdout.csv", r->work));
    VCH_TRY(vch_fetch_write_csv(f, path, order, r->holdout, r->err));
    r->made_holdout = true;
    return VCH_OK;
}

static vch_rc write_inputs(run_t *r)
{
    char spool[VCH_PATH_MAX];
    vch_fetch_t *f;
    VCH_TRY(vch_path(spool, "%s/rows.vouch-spool", r->work));
    VCH_TRY(vch_fetch_open(&f, &r->use, r->l, r->signer, spool, r->err));
    vch_rc rc = write_files(r, f);
    vch_rc closed = vch_fetch_close(f, rc == VCH_OK ? r->err : NULL);
    return rc == VCH_OK ? closed : rc;
}

/* ---- entries ------------------------------------------------------------------------------ */

static vch_rc key_id(vch_buf_t *b, uint64_t key, const void *id)
{
    VCH_TRY(vch_cbor_uint(b, key));
    return vch_cbor_bytes(b, id, 32);
}

static vch_rc key_uint(vch_buf_t *b, uint64_t key, uint64_t v)
{
    VCH_TRY(vch_cbor_uint(b, key));
    return vch_cbor_uint(b, v);
}

static vch_rc key_text(vch_buf_t *b, uint64_t key, const char *s)
{
    VCH_TRY(vch_cbor_uint(b, key));
    return vch_cbor_text(b, s, strlen(s));
}

static vch_rc put_run(const run_t *r, vch_buf_t *b)
{
    const vch_run_spec_t *s = r->spec;
    VCH_TRY(vch_cbor_map(b, 9));
    VCH_TRY(vch_cbor_uint(b, VCH_F_RUN_GRANTS));
    VCH_TRY(vch_cbor_array(b, s->grants));
    for (size_t i = 0; i < s->grants; i++) VCH_TRY(vch_cbor_bytes(b, r->grant[i].b, 32));
    VCH_TRY(key_id(b, VCH_F_RUN_SET_ROOT, r->set_root.b));
    VCH_TRY(key_uint(b, VCH_F_RUN_COUNT, r->rows - r->holdout));
    VCH_TRY(key_id(b, VCH_F_RUN_ORDER_ROOT, r->order_root.b));
    VCH_TRY(key_id(b, VCH_F_RUN_CODE, r->code.b));
    VCH_TRY(vch_cbor_uint(b, VCH_F_RUN_PARAMETERS));
    VCH_TRY(vch_cbor_text(b, (const char *)r->parameters.p, r->parameters.n));
    VCH_TRY(key_uint(b, VCH_F_RUN_SEED, r->seed));
    VCH_TRY(key_id(b, VCH_F_RUN_ENVIRONMENT, r->environment.b));
    return key_text(b, VCH_F_RUN_NAME, s->name);
}

static vch_rc put_run_end(const run_t *r, vch_buf_t *b, unsigned status)
{
    VCH_TRY(vch_cbor_map(b, 4));
    VCH_TRY(key_id(b, VCH_F_RUNEND_RUN, r->run.b));
    VCH_TRY(key_uint(b, VCH_F_RUNEND_STATUS, status));
    VCH_TRY(vch_cbor_uint(b, VCH_F_RUNEND_METRICS));
    VCH_TRY(r->metrics.n ? vch_cbor_raw(b, vch_buf_slice(&r->metrics)) : vch_cbor_array(b, 0));
    VCH_TRY(vch_cbor_uint(b, VCH_F_RUNEND_OUTPUTS));
    VCH_TRY(vch_cbor_array(b, r->outputs));
    for (size_t i = 0; i < r->outputs; i++) {
        VCH_TRY(vch_cbor_map(b, 3));
        VCH_TRY(key_text(b, VCH_F_OUTPUT_NAME, r->output[i].name));
        VCH_TRY(key_id(b, VCH_F_OUTPUT_DIGEST, r->output[i].digest.b));
        VCH_TRY(key_uint(b, VCH_F_OUTPUT_SIZE, r->output[i].size));
    }
    return VCH_OK;
}

static vch_rc write_entry(run_t *r, vch_kind_t kind, vch_buf_t *b, vch_id_t *ret_object)
{
    vch_receipt_t receipt;
    vch_slice_t fields = vch_buf_slice(b);
    vch_rc rc = vch_ledger_write(r->l, r->signer, kind, &fields, 1, &receipt, r->err);
    if (rc == VCH_OK) *ret_object = receipt.object;
    return rc;
}

static vch_rc log_run(run_t *r)
{
    vch_buf_t b;
    vch_buf_init(&b, VCH_TX_BYTES_MAX);
    vch_rc rc = put_run(r, &b);
    if (rc == VCH_OK) rc = write_entry(r, VCH_KIND_RUN, &b, &r->run);
    vch_buf_free(&b);
    return rc;
}

static vch_rc log_end(run_t *r, unsigned status)
{
    vch_id_t ignored;
    vch_buf_t b;
    vch_buf_init(&b, VCH_TX_BYTES_MAX);
    vch_rc rc = put_run_end(r, &b, status);
    if (rc == VCH_OK) rc = write_entry(r, VCH_KIND_RUN_END, &b, &ignored);
    vch_buf_free(&b);
    return rc;
}

static const run_output_t *model_file(const run_t *r)
{
    for (size_t i = 0; i < r->outputs; i++)
        if (strcmp(r->output[i].name, "model") == 0 || strncmp(r->output[i].name, "model.", 6) == 0)
            return &r->output[i];
    return r->outputs == 1 ? &r->output[0] : NULL;
}

static vch_rc log_model(run_t *r, const run_output_t *file, vch_id_t *ret)
{
    vch_buf_t b;
    vch_buf_init(&b, VCH_TX_BYTES_MAX);
    vch_rc rc = vch_cbor_map(&b, 3);
    if (rc == VCH_OK) rc = key_id(&b, VCH_F_MODEL_RUN, r->run.b);
    if (rc == VCH_OK) rc = key_id(&b, VCH_F_MODEL_DIGEST, file->digest.b);
    if (rc == VCH_OK) rc = key_text(&b, VCH_F_MODEL_NAME, r->spec->name);
    if (rc == VCH_OK) rc = write_entry(r, VCH_KIND_MODEL, &b, ret);
    vch_buf_free(&b);
    return rc;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* Once the run has an id, its folder is named by it; if that fails, the name
 * it has will do. */
static void name_work(run_t *r)
{
    char hex[65], at[VCH_PATH_MAX], path[VCH_PATH_MAX], out[VCH_PATH_MAX];
    if (r->spec->work_dir) return;
    vch_hex(hex, r->run.b, 32);
    if (vch_ledger_path(r->l, at, "runs/%s", hex) != VCH_OK || vch_child_absolute(path, at) != VCH_OK) return;
    if (vch_path(out, "%s/out", path) != VCH_OK) return;
    if (r->l->port->disk->rename(r->l->port, r->work, path) != VCH_OK) return;
    memcpy(r->work, path, sizeof path);
    memcpy(r->out, out, sizeof out);
}

static vch_rc run_command(run_t *r, int *ret_exit)
{
    char in[VCH_PATH_MAX + 16], out[VCH_PATH_MAX + 16], seed[48], run[80], hex[65];
    vch_hex(hex, r->run.b, 32);
    snprintf(in, sizeof in, "VOUCH_IN=%s/in", r->work);
    snprintf(out, sizeof out, "VOUCH_OUT=%s", r->out);
    snprintf(seed, sizeof seed, "VOUCH_SEED=%llu", (unsigned long long)r->seed);
    snprintf(run, sizeof run, "VOUCH_RUN=%s", hex);
    const char *const settings[] = {in, out, seed, run, NULL};
    return vch_child_run(r->spec->argv, settings, ret_exit, r->err);
}

/* The end belongs on the ledger whatever went wrong; what went wrong is what
 * the caller is told. */
static vch_rc fail_run(run_t *r, vch_rc cause)
{
    vch_err_t *err = r->err, ignored;
    r->outputs = 0;
    vch_buf_clear(&r->metrics);
    if (cause != VCH_OK) r->err = &ignored;
    vch_rc rc = log_end(r, VCH_RUN_FAILED);
    r->err = err;
    return cause != VCH_OK ? cause : rc;
}

static vch_rc conclude(run_t *r, vch_run_result_t *ret, vch_rc rc)
{
    if (rc == VCH_OK && ret->exit_code == 0) rc = run_collect(r);
    if (rc != VCH_OK || ret->exit_code != 0) return fail_run(r, rc);
    rc = log_end(r, VCH_RUN_COMPLETED);
    if (rc == VCH_ERR_LIMIT || rc == VCH_ERR_FORMAT) return fail_run(r, rc); /* its outputs make no entry */
    VCH_TRY(rc);
    const run_output_t *file = model_file(r);
    if (!file) return VCH_OK;
    VCH_TRY(log_model(r, file, &ret->model));
    ret->has_model = 1;
    return run_keep(r, &file->digest);
}

/* The rows stay with the custodian: gone before anything else is done, and
 * tried once more if they are not. */
static vch_rc finish(run_t *r, vch_run_result_t *ret)
{
    vch_rc rc = run_command(r, &ret->exit_code);
    bool gone = run_remove_rows(r, false);
    rc = conclude(r, ret, rc);
    if (rc == VCH_OK) rc = run_keep_sums(r);
    return gone || run_remove_rows(r, false) ? rc : run_rows_stay(r, rc);
}

static vch_rc prepare(run_t *r)
{
    VCH_TRY(run_parameters(r));
    VCH_TRY(run_environment_hash(r));
    VCH_TRY(vch_use_open(&r->use, r->l, r->signer, r->grant, r->spec->grants, r->err));
    VCH_TRY(choose_rows(r));
    VCH_TRY(run_code_hash(r));
    VCH_TRY(run_make_work(r));
    VCH_TRY(write_inputs(r));
    return commit_rows(r);
}

static vch_rc exec_run(run_t *r, vch_run_result_t *ret)
{
    vch_rc rc = prepare(r);
    if (rc == VCH_OK) rc = log_run(r);
    if (rc != VCH_OK) {
        run_remove_work(r, rc);
        return rc;
    }
    name_work(r);
    vch_run_result_t done = {.run = r->run, .rows = r->rows - r->holdout, .held_out = r->holdout};
    rc = finish(r, &done);
    if (r->made_holdout) snprintf(done.holdout_path, sizeof done.holdout_path, "%.1000s/in/holdout.csv", r->work);
    snprintf(done.out_dir, sizeof done.out_dir, "%s", r->out);
    if (rc == VCH_OK) *ret = done;
    return rc;
}

static vch_rc resolve_grants(run_t *r)
{
    VCH_TRY(vch_ledger_read_begin(r->l, r->err));
    vch_rc rc = VCH_OK;
    for (size_t i = 0; rc == VCH_OK && i < r->spec->grants; i++)
        rc = vch_resolve(r->l, 'a', r->spec->grant[i], &r->grant[i], r->err);
    vch_ledger_read_end(r->l);
    return rc;
}

VCH_API vch_rc vch_run_exec(vch_ledger_t *l, const vch_signer_t *signer, const vch_run_spec_t *spec,
                            vch_run_result_t *ret, vch_err_t *err)
{
    run_t r = {.l = l, .signer = signer, .spec = spec, .seed = spec->has_seed ? spec->seed : 0, .err = err};
    if (spec->grants == 0 || spec->grants > 64 || !spec->name || !spec->argv || !spec->argv[0])
        return vch_fail(err, VCH_ERR_USAGE, "a run needs 1 to 64 grants, a name and a command");
    VCH_TRY(vch_here(l, err));
    if (l->flags & VCH_LEDGER_READ_ONLY)
        return vch_fail(err, VCH_ERR_READ_ONLY, "the ledger is open for reading only: a run would have to be logged");
    vch_buf_init(&r.parameters, 1u << 20);
    vch_buf_init(&r.bits, 1u << 30);
    vch_buf_init(&r.metrics, 1u << 16);
    r.grant = vch_alloc_array(spec->grants, sizeof *r.grant);
    r.output = vch_alloc_array(RUN_OUTPUTS_MAX, sizeof *r.output);
    vch_rc rc = r.grant && r.output ? resolve_grants(&r) : no_memory(err);
    if (rc == VCH_OK) rc = exec_run(&r, ret);
    vch_use_close(&r.use);
    vch_buf_free(&r.bits);
    vch_buf_free(&r.metrics);
    vch_buf_free(&r.parameters);
    vch_free(r.grant);
    vch_free(r.output);
    vch_free(r.order);
    return nd_told(rc, err);
}
