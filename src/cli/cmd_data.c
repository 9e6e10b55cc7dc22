/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets and terms: the custodian's side. */
#include "cli/cli.h"

#define GROUPS_MAX 16

vch_rc cli_dataset_create(cli_t *cli)
{
    const char *group[GROUPS_MAX];
    vch_receipt_t receipt;
    vch_dataset_spec_t spec = {.name = cli->arg[0],
                               .subject_col = cli_get(cli, "subject-col"),
                               .key_col = cli_get(cli, "key-col"),
                               .label_col = cli_get(cli, "label-col"),
                               .group = group};
    VCH_TRY(cli_need(cli, "header", &spec.header_csv));
    spec.groups = cli_all(cli, "group", group, GROUPS_MAX);
    VCH_TRY(vch_dataset_create(cli->l, cli->signer, &spec, &receipt, &cli->err));
    return cli_show_receipt(cli, &receipt);
}

vch_rc cli_dataset_add(cli_t *cli)
{
    vch_ingest_t in;
    cli_json_t j;
    cli_progress_t p;
    cli_progress_begin(&p, cli, "rows");
    vch_rc rc = vch_dataset_add(cli->l, cli->signer, cli->arg[0], cli->arg[1], cli_get(cli, "owners"), cli_progress, &p,
                                &in, &cli->err);
    cli_progress_end(&p);
    VCH_TRY(rc);
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "dataset", cli->arg[0]);
    cj_number(&j, "version", in.version);
    cj_hex(&j, "id", in.id.b, 32);
    cj_number(&j, "rows", in.rows);
    cj_number(&j, "added", in.added);
    cj_number(&j, "removed", in.removed);
    cj_number(&j, "changed", in.changed);
    cj_number(&j, "new subjects", in.subjects_new);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

vch_rc cli_dataset_list(cli_t *cli) { return cli_list(cli, "datasets", NULL); }
vch_rc cli_dataset_show(cli_t *cli) { return cli_show_one(cli, "datasets", NULL, cli->arg[0]); }
vch_rc cli_dataset_versions(cli_t *cli) { return cli_list(cli, "versions", cli->arg[0]); }

vch_rc cli_dataset_check(cli_t *cli)
{
    uint64_t rows = 0;
    cli_json_t j;
    VCH_TRY(vch_dataset_check(cli->l, cli->arg[0], &rows, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "version", cli->arg[0]);
    cj_number(&j, "rows", rows);
    cj_bool(&j, "good", true);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

vch_rc cli_dataset_diff(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_dataset_diff(cli->l, cli->arg[0], cli->arg[1], &text, &cli->err));
    return cli_show_text(cli, &text);
}

/* ---- terms ----------------------------------------------------------------------------- */

vch_rc cli_terms_add(cli_t *cli)
{
    vch_hash_t hash;
    vch_receipt_t receipt;
    vch_buf_t b;
    cli_json_t j;
    VCH_TRY(cli_read_file(cli, cli->arg[0], 1u << 20, &b));
    vch_rc rc = vch_terms_add(cli->l, cli->signer, (const char *)b.p, b.n, &hash, &receipt, &cli->err);
    vch_buf_free(&b);
    VCH_TRY(rc);
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_hex(&j, "terms", hash.b, 32);
    cj_receipt(&j, &receipt);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

vch_rc cli_terms_list(cli_t *cli) { return cli_list(cli, "terms", NULL); }
vch_rc cli_terms_show(cli_t *cli) { return cli_show_one(cli, "terms", NULL, cli->arg[0]); }
