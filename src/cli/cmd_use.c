/* SPDX-License-Identifier: Apache-2.0 */
/* The user's side: access, runs, models, deployments. */
#include <stdio.h>

#include "cli/cli.h"

#define GROUPS_MAX 16
#define GRANTS_MAX 64

/* ---- access -------------------------------------------------------------------------- */

/* The grant of a receipt, fetched at once. */
static vch_rc fetch_now(cli_t *cli, const vch_receipt_t *r, const char *path, uint64_t *ret_rows)
{
    char grant[65];
    vch_hex(grant, r->object.b, 32);
    return vch_access_fetch(cli->l, cli->signer, grant, path, ret_rows, &cli->err);
}

vch_rc cli_access_request(cli_t *cli)
{
    const char *purpose, *processing, *group[GROUPS_MAX], *path = cli_get(cli, "fetch");
    vch_receipt_t receipt;
    uint64_t rows = 0;
    cli_json_t j;
    VCH_TRY(cli_need(cli, "purpose", &purpose));
    VCH_TRY(cli_need(cli, "processing", &processing));
    size_t groups = cli_all(cli, "group", group, GROUPS_MAX);
    VCH_TRY(vch_access_request(cli->l, cli->signer, cli->arg[0], purpose, processing, groups ? group : NULL, groups,
                               &receipt, &cli->err));
    if (path && receipt.permit) VCH_TRY(fetch_now(cli, &receipt, path, &rows));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_receipt(&j, &receipt);
    if (path && receipt.permit) cj_number(&j, "rows fetched", rows);
    cj_close(&j, '}');
    if (!receipt.permit) cli->exit = vch_rc_exit(VCH_ERR_DENIED);
    return cj_show(cli, &j);
}

vch_rc cli_access_list(cli_t *cli) { return cli_list(cli, "grants", NULL); }
vch_rc cli_access_show(cli_t *cli) { return cli_show_one(cli, "grants", NULL, cli->arg[0]); }

vch_rc cli_access_fetch(cli_t *cli)
{
    const char *path;
    uint64_t rows = 0;
    cli_json_t j;
    VCH_TRY(cli_need(cli, "output", &path));
    VCH_TRY(vch_access_fetch(cli->l, cli->signer, cli->arg[0], path, &rows, &cli->err));
    if (strstr(vch_ledger_note(cli->l), "wrong seeds")) cli_say(cli, "vouch: %s", vch_ledger_note(cli->l));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_number(&j, "rows", rows);
    cj_text(&j, "file", path);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

/* ---- runs --------------------------------------------------------------------------------- */

static vch_rc show_run(cli_t *cli, const vch_run_result_t *r)
{
    cli_json_t j;
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_hex(&j, "run", r->run.b, 32);
    if (r->has_model) cj_hex(&j, "model", r->model.b, 32);
    cj_number(&j, "rows", r->rows);
    cj_number(&j, "held out", r->held_out);
    cj_number(&j, "exit", (uint64_t)(r->exit_code < 0 ? 255 : r->exit_code));
    if (r->holdout_path[0]) cj_text(&j, "held-out file", r->holdout_path);
    if (r->out_dir[0]) cj_text(&j, "outputs", r->out_dir);
    cj_close(&j, '}');
    if (r->exit_code != 0) cli->exit = 1;
    return cj_show(cli, &j);
}

vch_rc cli_run_exec(cli_t *cli)
{
    const char *grant[GRANTS_MAX];
    uint64_t holdout;
    vch_run_result_t result = {.exit_code = 0};
    vch_run_spec_t spec = {.grant = grant,
                           .has_seed = cli_get(cli, "seed") != NULL,
                           .work_dir = cli_get(cli, "work"),
                           .argv = (const char *const *)cli->rest};
    VCH_TRY(cli_need(cli, "name", &spec.name));
    VCH_TRY(cli_number(cli, "seed", 0, UINT64_MAX, 0, &spec.seed));
    VCH_TRY(cli_number(cli, "holdout", 0, UINT32_MAX, 0, &holdout));
    spec.holdout = (uint32_t)holdout;
    spec.grants = cli_all(cli, "grant", grant, GRANTS_MAX);
    if (spec.grants == 0) return cli_usage(cli, "--grant is missing");
    if (holdout && !spec.has_seed) return cli_usage(cli, "--holdout needs --seed, which chooses the rows");
    VCH_TRY(vch_run_exec(cli->l, cli->signer, &spec, &result, &cli->err));
    if (result.exit_code != 0) cli_say(cli, "vouch: the command ended with %d", result.exit_code);
    return show_run(cli, &result);
}

vch_rc cli_run_list(cli_t *cli) { return cli_list(cli, "runs", NULL); }
vch_rc cli_run_show(cli_t *cli) { return cli_show_one(cli, "runs", NULL, cli->arg[0]); }

/* ---- models ---------------------------------------------------------------------------------- */

vch_rc cli_model_add(cli_t *cli)
{
    const char *digest, *run = cli_get(cli, "run");
    char id[65];
    cli_json_t j;
    VCH_TRY(cli_need(cli, "digest", &digest));
    if (run) VCH_TRY(cli_id_of(cli, "runs", run, id));
    if (!run) cli_say(cli, "without --run this is recorded as an unproven import");
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    if (run) cj_text(&j, "run", id);
    cj_text(&j, "digest", digest);
    cj_text(&j, "name", cli->arg[0]);
    cj_close(&j, '}');
    return cli_submit(cli, "model", &j);
}

vch_rc cli_model_list(cli_t *cli) { return cli_list(cli, "models", NULL); }
vch_rc cli_model_show(cli_t *cli) { return cli_show_one(cli, "models", NULL, cli->arg[0]); }

vch_rc cli_model_affected(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_models_affected(cli->l, &text, &cli->err));
    return cli_show_text(cli, &text);
}

vch_rc cli_model_remedy(cli_t *cli)
{
    const char *action, *reference;
    char id[65];
    cli_json_t j;
    VCH_TRY(cli_need(cli, "action", &action));
    VCH_TRY(cli_need(cli, "reference", &reference));
    VCH_TRY(cli_id_of(cli, "models", cli->arg[0], id));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "model", id);
    cj_text(&j, "action", action);
    cj_text(&j, "reference", reference);
    cj_close(&j, '}');
    return cli_submit(cli, "remedy", &j);
}

/* ---- deployments ---------------------------------------------------------------------------------- */

vch_rc cli_deployment_add(cli_t *cli)
{
    char id[65];
    cli_json_t j;
    VCH_TRY(cli_id_of(cli, "models", cli->arg[0], id));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "model", id);
    cj_text(&j, "scope", cli->arg[1]);
    cj_close(&j, '}');
    return cli_submit(cli, "deployment", &j);
}

vch_rc cli_deployment_end(cli_t *cli)
{
    const char *reason = cli_get(cli, "reason");
    char id[65];
    cli_json_t j;
    VCH_TRY(cli_id_of(cli, "deployments", cli->arg[0], id));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "deployment", id);
    cj_text(&j, "reason", reason ? reason : "retired");
    cj_close(&j, '}');
    return cli_submit(cli, "deployment-end", &j);
}

vch_rc cli_deployment_list(cli_t *cli) { return cli_list(cli, "deployments", NULL); }
