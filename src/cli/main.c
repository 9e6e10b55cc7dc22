/* SPDX-License-Identifier: Apache-2.0 */
/* From the command line to a handler and back to an exit code. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"

/* ---- what stdout can show ------------------------------------------------------------ */

static bool says_utf8(const char *value)
{
    return value &&
           (strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "UTF8") || strstr(value, "utf-8"));
}

/* As the C library would choose, without a locale being set. */
static bool wants_utf8(void)
{
    const char *names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return says_utf8(value);
    }
    return false;
}

static bool wants_color(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

/* ---- one command ---------------------------------------------------------------------------- */

static vch_rc open_ledger(cli_t *cli)
{
    vch_ledger_info_t info;
    unsigned flags = cli->command->needs & CLI_WRITE ? 0 : VCH_LEDGER_READ_ONLY;
    if (cli_get(cli, "accept-clock")) flags |= VCH_LEDGER_ACCEPT_CLOCK;
    vch_rc rc = vch_ledger_open(&cli->l, cli->dir, flags, &cli->err);
    if (rc == VCH_ERR_NOT_FOUND && !cli->err.hint[0])
        return vch_hint(&cli->err, rc, "-C DIR names the ledger's directory; vouch init makes one");
    if (rc != VCH_OK) return rc;
    VCH_TRY(vch_ledger_info(cli->l, &info, &cli->err));
    if (info.note[0]) cli_say(cli, "vouch: note: %s", info.note);
    return VCH_OK;
}

/* Who asks: the identity named, or the only one there is, or nobody. */
static vch_rc ask_as(cli_t *cli, vch_ledger_t *node)
{
    bool must = cli->as || cli->command->needs & CLI_SIGN;
    vch_rc rc = cli_load_signer_of(cli, node);
    if (rc == VCH_OK) vch_ledger_ask_as(node, cli->signer);
    if (rc == VCH_OK || must) return rc;
    cli->err = (vch_err_t){.rc = VCH_OK};
    return VCH_OK;
}

vch_rc cli_connect(cli_t *cli, const char *url, vch_ledger_t **ret)
{
    const vch_connect_t how = {.trust_path = cli_get(cli, "trust"),
                               .token_path = cli_get(cli, "token-file"),
                               .ca_path = cli_get(cli, "ca-file"),
                               .cert_path = cli_get(cli, "cert-file"),
                               .cert_key_path = cli_get(cli, "cert-key-file"),
                               .keys_dir = cli->keys};
    vch_ledger_t *node;
    VCH_TRY(vch_ledger_connect(&node, url, &how, &cli->err));
    vch_rc rc = cli->command->needs & CLI_KEYS ? VCH_OK : ask_as(cli, node);
    if (rc == VCH_OK) {
        *ret = node;
        return VCH_OK;
    }
    vch_rc closed = vch_ledger_close(node, NULL); /* nothing was asked yet, so there is nothing to lose */
    return closed == VCH_OK || rc != VCH_OK ? rc : closed;
}

/* What a node's handle found out is known only after it was used. */
static void say_note(cli_t *cli)
{
    const char *note = cli->l && cli->node ? vch_ledger_note(cli->l) : "";
    if (*note) cli_say(cli, "vouch: note: %s", note);
}

/* Closing signs a checkpoint; its failure must not hide an earlier one. */
static vch_rc close_ledger(cli_t *cli, vch_rc rc)
{
    vch_err_t closing = {.rc = VCH_OK};
    if (!cli->l) return rc;
    say_note(cli);
    vch_rc closed = vch_ledger_close(cli->l, &closing);
    cli->l = NULL;
    if (rc != VCH_OK || closed == VCH_OK) return rc;
    cli->err = closing;
    return closed;
}

static vch_rc run_command(cli_t *cli)
{
    unsigned needs = cli->command->needs;
    vch_rc rc = VCH_OK;
    if (needs & (CLI_READ | CLI_WRITE)) rc = cli->node ? cli_connect(cli, cli->node, &cli->l) : open_ledger(cli);
    if (rc == VCH_OK && (needs & CLI_SIGN)) rc = cli_load_signer(cli);
    if (rc == VCH_OK) rc = cli->command->run(cli);
    rc = close_ledger(cli, rc);
    vch_signer_free(cli->signer); /* after the handle that may ask as it */
    cli->signer = NULL;
    return rc;
}

static vch_rc answer(cli_t *cli, int argc, char **argv)
{
    VCH_TRY(cli_parse(cli, argc, argv));
    if (cli_get(cli, "version")) return cli_version(cli);
    if (!cli_get(cli, "help")) return run_command(cli);
    if (cli->command)
        cli_help_command(cli->command);
    else if (cli->args)
        cli_help_noun(cli->arg[0]);
    else
        cli_help_all();
    return VCH_OK;
}

int vch_cli_main(int argc, char **argv)
{
    cli_t cli = {.err = {.rc = VCH_OK}};
    (void)signal(SIGPIPE, SIG_DFL); /* `vouch log cat | head` ends quietly */
    cli.utf8 = wants_utf8();
    cli.color = wants_color();
    if (argc < 2) {
        cli_help_all();
        return vch_rc_exit(VCH_ERR_USAGE);
    }
    vch_rc rc = answer(&cli, argc, argv);
    vch_free(cli.given);
    if (fflush(stdout) != 0 && rc == VCH_OK)
        rc = vch_fail(&cli.err, VCH_ERR_IO, "writing to stdout failed; the output is not complete");
    if (rc == VCH_OK) return cli.exit;
    cli_complain(&cli, rc);
    return vch_rc_exit(rc);
}
