/* SPDX-License-Identifier: Apache-2.0 */
/* The vault: putting it up, and who of it is there. */
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
