/* SPDX-License-Identifier: Apache-2.0 */
/* A training run from the inside: its order, its files, what it left.
 * docs/formats/decisions.md says how order, code and environment are hashed. */
#ifndef VCH_RUN_H
#define VCH_RUN_H

#include "node/use.h"

#define RUN_OUTPUTS_MAX 256
#define RUN_OUTPUT_DEPTH_MAX 8 /* folders inside each other */
#define RUN_PARAMETERS_MAX 4096
#define RUN_METRICS_FILE "metrics.json"

typedef struct {
    char name[257]; /* path below out/ */
    vch_hash_t digest;
    uint64_t size;
} run_output_t;

typedef struct {
    vch_ledger_t *l;
    const vch_signer_t *signer;
    const vch_run_spec_t *spec;
    vch_id_t *grant;
    vch_use_t use;
    uint32_t (*order)[2]; /* shuffled: the first `holdout` are kept back */
    size_t rows, holdout;
    uint64_t seed;  /* 0 when none was given */
    vch_buf_t bits; /* the training rows */
    vch_hash_t set_root, order_root, code, environment;
    char work[VCH_PATH_MAX], out[VCH_PATH_MAX]; /* absolute; out moves once there is a model */
    bool made_train, made_holdout;
    run_output_t *output;
    size_t outputs;
    vch_buf_t parameters; /* argv as a JSON list */
    vch_buf_t metrics;    /* CBOR array of {0 name, 1 value}, or empty */
    bool has_metrics;     /* metrics.json: its hash and size */
    vch_hash_t metrics_digest;
    uint64_t metrics_size;
    vch_id_t run;
    vch_err_t *err;
} run_t;

/* What the command is and where it runs (run_files.c). */
vch_rc run_parameters(run_t *);
vch_rc run_code_hash(run_t *);
vch_rc run_environment_hash(run_t *);
/* work/in and work/out; out must be empty. */
vch_rc run_make_work(run_t *);
/* Every file that it left in out/, synced and hashed, in order of names;
 * metrics.json apart. */
vch_rc run_collect(run_t *);
/* The outputs become models/<digest>/, unless that is there already. */
vch_rc run_keep(run_t *, const vch_hash_t *digest);
/* runs/<run>.sums: the held-out rows and what the run left, synced. */
vch_rc run_keep_sums(run_t *);
/* The rows in clear that the run wrote: train.csv, and holdout.csv if asked.
 * False when some of them are still there; then it may be tried again. */
bool run_remove_rows(run_t *, bool holdout);
/* Says so beside the cause, or as the cause when all else went well. */
vch_rc run_rows_stay(run_t *, vch_rc cause);
/* The folder of a run that was not logged, because of `cause`. */
void run_remove_work(run_t *, vch_rc cause);

#endif
