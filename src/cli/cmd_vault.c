/* SPDX-License-Identifier: Apache-2.0 */
/* The vault: putting it up, who of it is there, what its storage nodes hold;
 * and its roles as processes of their own. */
#include <limits.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "vouchsafe/vault.h"

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
    uint64_t times;
    const char *given = cli_get(cli, "challenges");
    if (given && (cli_parse_u64(given, &times) != VCH_OK || times < 1 || times > 1000000))
        return cli_usage(cli, "--challenges is a number from 1 to 1000000, not \"%.40s\"", given);
    VCH_TRY(given ? vch_storage_challenge(cli->l, (unsigned)times, &text, &cli->err)
                  : vch_storage_audit(cli->l, &text, &cli->err));
    return cli_show_text(cli, &text);
}

vch_rc cli_storage_repair(cli_t *cli)
{
    uint64_t number, repaired;
    cli_json_t j;
    if (cli_parse_u64(cli->arg[0], &number) != VCH_OK || number < 1 || number > 16)
        return cli_usage(cli, "a storage node's number is 1 to 16, not \"%.40s\"", cli->arg[0]);
    if (cli->as) VCH_TRY(cli_load_signer(cli)); /* a served node wants to know who writes */
    VCH_TRY(vch_storage_repair(cli->l, cli->signer, (unsigned)number, &repaired, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_number(&j, "node", number);
    cj_number(&j, "repaired", repaired);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

#define TX_MAX (1u << 20)

vch_rc cli_vault_withdraw(cli_t *cli)
{
    vch_buf_t tx;
    cli_json_t j;
    unsigned told = 0, trustees = 0;
    VCH_TRY(cli_read_file(cli, cli->arg[0], TX_MAX, &tx));
    vch_rc rc = vch_withdraw_now(cli->l, tx.p, tx.n, &told, &trustees, &cli->err);
    vch_buf_free(&tx);
    VCH_TRY(rc);
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_number(&j, "trustees that hold back", told);
    cj_number(&j, "of", trustees);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

/* ---- proofs against trustees ------------------------------------------------------------ */

#define BLAME_MAX 16384u

vch_rc cli_blame_list(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_blame_list(cli->l, &text, &cli->err));
    return cli_show_text(cli, &text);
}

vch_rc cli_blame_verify(cli_t *cli)
{
    vch_buf_t file;
    vch_text_t text;
    int convicts = 0;
    VCH_TRY(cli_read_file(cli, cli->arg[0], BLAME_MAX, &file));
    vch_rc rc = vch_blame_judge(cli->l, file.p, file.n, &convicts, &text, &cli->err);
    vch_buf_free(&file);
    VCH_TRY(rc);
    if (!convicts) cli->exit = vch_rc_exit(VCH_ERR_COMMITMENT);
    return cli_show_text(cli, &text);
}

/* ---- roles ------------------------------------------------------------------------------ */

vch_rc cli_trustee_status(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_trustee_status(cli->arg[0], &text, &cli->err));
    return cli_show_text(cli, &text);
}

vch_rc cli_trustee_init(cli_t *cli)
{
    vch_trustee_spec_t spec = {.ca = cli_get(cli, "ca-file"), .listen = cli_get(cli, "listen")};
    VCH_TRY(cli_need(cli, "follow", &spec.node));
    VCH_TRY(cli_need(cli, "trust", &spec.trust));
    VCH_TRY(vch_trustee_init(cli->arg[0], &spec, &cli->err));
    cli_say(cli, "made a trustee in %s; whoever reads that folder has its keys, so keep it to yourself", cli->arg[0]);
    return cli_trustee_status(cli);
}

vch_rc cli_trustee_serve(cli_t *cli)
{
    vch_serve_t o;
    VCH_TRY(cli_serving(cli, &o));
    return vch_trustee_serve(cli->arg[0], &o, &cli->err);
}

#define WRITERS_MAX 16

vch_rc cli_storage_status(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_storage_status(cli->arg[0], &text, &cli->err));
    return cli_show_text(cli, &text);
}

vch_rc cli_storage_init(cli_t *cli)
{
    const char *writer[WRITERS_MAX];
    size_t n = cli_all(cli, "writer", writer, WRITERS_MAX);
    VCH_TRY(vch_storage_init(cli->arg[0], cli_get(cli, "listen"), writer, n, &cli->err));
    cli_say(cli, "made a storage node in %s", cli->arg[0]);
    return cli_storage_status(cli);
}

vch_rc cli_storage_serve(cli_t *cli)
{
    vch_serve_t o;
    VCH_TRY(cli_serving(cli, &o));
    return vch_storage_serve(cli->arg[0], &o, &cli->err);
}

/* ---- a trustee's root key ---------------------------------------------------------- */

static vch_rc put_setting(cli_t *cli, vch_buf_t *b, const char *key, const char *value)
{
    vch_rc rc = value ? vch_buf_printf(b, "%s = %s\n", key, value) : VCH_OK;
    return rc == VCH_OK ? rc : vch_fail(&cli->err, rc, "the settings are too long");
}

/* A file named on the command line is meant from here, not from the trustee's folder. */
static vch_rc put_path(cli_t *cli, vch_buf_t *b, const char *key, const char *value)
{
    char whole[PATH_MAX];
    if (!value) return VCH_OK;
    if (!realpath(value, whole)) return vch_fail(&cli->err, VCH_ERR_NOT_FOUND, "%.300s is not there", value);
    return put_setting(cli, b, key, whole);
}

/* The text of a guard.conf; empty when no option is given. */
static vch_rc guard_settings(cli_t *cli, vch_buf_t *b)
{
    const char *module = cli_get(cli, "module"); /* a bare name is looked for where libraries lie */
    VCH_TRY(put_setting(cli, b, "guard", cli_get(cli, "guard")));
    VCH_TRY(put_path(cli, b, "secret_file", cli_get(cli, "secret-file")));
    VCH_TRY(module && strchr(module, '/') ? put_path(cli, b, "module", module) : put_setting(cli, b, "module", module));
    VCH_TRY(put_setting(cli, b, "token", cli_get(cli, "token")));
    if (b->n && !cli_get(cli, "guard")) return cli_usage(cli, "--guard is missing");
    return vch_buf_u8(b, 0);
}

vch_rc cli_trustee_rewrap(cli_t *cli)
{
    char dir[CLI_PATH_MAX];
    uint64_t number;
    vch_text_t text;
    vch_buf_t b;
    if (cli_parse_u64(cli->arg[0], &number) == VCH_OK)
        VCH_TRY(cli_path(cli, dir, "%s/vault/trustee-%llu", cli->dir, (unsigned long long)number));
    else
        VCH_TRY(cli_path(cli, dir, "%s", cli->arg[0]));
    vch_buf_init(&b, 8192);
    vch_rc rc = guard_settings(cli, &b);
    if (rc == VCH_OK) rc = vch_trustee_rewrap(dir, b.n > 1 ? (const char *)b.p : NULL, &text, &cli->err);
    vch_buf_free(&b);
    return rc == VCH_OK ? cli_show_text(cli, &text) : rc;
}
