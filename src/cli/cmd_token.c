/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: what programs without a key show to this ledger's service. */
#include "cli/cli.h"

#define DAYS_MAX 3650u

vch_rc cli_token_new(cli_t *cli)
{
    const char *scope;
    uint64_t days;
    vch_token_t token;
    cli_json_t j;
    VCH_TRY(cli_need(cli, "scope", &scope));
    VCH_TRY(cli_number(cli, "days", 1, DAYS_MAX, 90, &days));
    VCH_TRY(vch_token_new(cli->l, cli->arg[0], scope, (uint32_t)days, &token, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "name", cli->arg[0]);
    cj_text(&j, "scope", scope);
    cj_number(&j, "days", days);
    cj_text(&j, "token", token.text);
    cj_close(&j, '}');
    vch_wipe(&token, sizeof token);
    cli_say(cli, "vouch: this token is shown once and never again");
    vch_rc rc = cli_show(cli, vch_buf_slice(&j.b));
    if (j.b.p) vch_wipe(j.b.p, j.b.cap);
    cj_free(&j);
    return rc;
}

vch_rc cli_token_list(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_token_list(cli->l, &text, &cli->err));
    return cli_show_text(cli, &text);
}

vch_rc cli_token_revoke(cli_t *cli)
{
    cli_json_t j;
    VCH_TRY(vch_token_revoke(cli->l, cli->arg[0], &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "name", cli->arg[0]);
    cj_bool(&j, "revoked", true);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}
