/* SPDX-License-Identifier: Apache-2.0 */
/* vouch witness: cosigning the logs of others; and asking others to. */
#include "cli/cli.h"
#include "vouchsafe/witness.h"

#define LOGS_MAX 256

vch_rc cli_witness_init(cli_t *cli)
{
    const char *name, *log[LOGS_MAX];
    vch_text_t text;
    VCH_TRY(cli_need(cli, "name", &name));
    size_t logs = cli_all(cli, "log", log, LOGS_MAX);
    VCH_TRY(vch_witness_init(cli->arg[0], name, log, logs, &cli->err));
    cli_say(cli, "made a witness in %s; witness.pem is its private key, so keep it to yourself", cli->arg[0]);
    VCH_TRY(vch_witness_show(cli->arg[0], &text, &cli->err));
    return cli_show_text(cli, &text);
}

vch_rc cli_witness_show(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_witness_show(cli->arg[0], &text, &cli->err));
    return cli_show_text(cli, &text);
}

vch_rc cli_log_cosign(cli_t *cli)
{
    vch_cosigned_t c;
    cli_json_t j;
    VCH_TRY(vch_ledger_cosign(cli->l, 0, &c, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_number(&j, "checkpoint at", c.size);
    cj_number(&j, "asked", c.asked);
    cj_number(&j, "cosigned", c.cosigned);
    cj_bool(&j, "quorum", c.quorum);
    cj_number(&j, "committed", c.committed);
    cj_text(&j, "note", c.note);
    cj_close(&j, '}');
    if (!c.quorum) cli->exit = vch_rc_exit(VCH_ERR_QUORUM);
    return cj_show(cli, &j);
}

vch_rc cli_witness_serve(cli_t *cli)
{
    vch_serve_t o;
    VCH_TRY(cli_serving(cli, &o));
    return vch_witness_serve(cli->arg[0], &o, &cli->err);
}
