/* SPDX-License-Identifier: Apache-2.0 */
/* A training run from the inside: its order, its files, what it left. */
#ifndef VCH_RUN_H
#define VCH_RUN_H

#include "node/use.h"

#define RUN_OUTPUTS_MAX 256

typedef struct {
    char name[200];
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
    vch_buf_t bits; /* the training rows */
    vch_hash_t set_root, order_root, code, environment;
    char work[VCH_PATH_MAX];
    run_output_t *output;
    size_t outputs;
    vch_buf_t metrics; /* CBOR array of {0 name, 1 value}, or empty */
    vch_id_t run;
    vch_err_t *err;
} run_t;

/* SHA-256 of a file's bytes and its size. */
vch_rc run_hash_file(vch_port_t *, const char *path, vch_hash_t *ret, uint64_t *ret_size, vch_err_t *);
/* What the command is and where it runs (run_files.c). */
vch_rc run_code_hash(run_t *);
vch_rc run_environment_hash(run_t *);
/* What it left in out/, metrics.json apart. */
vch_rc run_collect(run_t *);
/* Remove a folder with the files in it; what is not there is fine. */
void run_remove(vch_ledger_t *, const char *path);

#endif
