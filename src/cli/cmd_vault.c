/* SPDX-License-Identifier: Apache-2.0 */
/* The vault: putting it up, who of it is there, what its storage nodes hold. */
#include "cli/cli.h"

vch_rc cli_vault_status(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_vault_status(cli->l, &text, &cli->err));
    return cli_show_text(cli, &text);
}

vch_rc cli_vault_up(cli_t *cli)
{
    VCH_TRY(vch_vault_up(cli->l, cli->signer, &cli->err));
    return cli_vault_status(cli);
}

vch_rc cli_storage_audit(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_storage_audit(cli->l, &text, &cli->err));
    return cli_show_text(cli, &text);
}

vch_rc cli_storage_repair(cli_t *cli)
{
    uint64_t number, repaired;
    cli_json_t j;
    if (cli_parse_u64(cli->arg[0], &number) != VCH_OK || number < 1 || number > 16)
        return cli_usage(cli, "a storage node's number is 1 to 16, not \"%.40s\"", cli->arg[0]);
    VCH_TRY(vch_storage_repair(cli->l, (unsigned)number, &repaired, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_number(&j, "node", number);
    cj_number(&j, "repaired", repaired);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}
