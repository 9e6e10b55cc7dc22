/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of this directory, and the parties that the ledger knows. */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

#define ROLES_MAX 16

/* ---- id --------------------------------------------------------------------------- */

static vch_rc show_identity(cli_t *cli, const char *name, cli_json_t *j)
{
    vch_signer_t *signer = NULL;
    vch_text_t text;
    char *passphrase = NULL;
    VCH_TRY(cli_passphrase(cli, "passphrase-file", &passphrase));
    vch_rc rc = vch_identity_load(cli->l, name, passphrase, &signer, &cli->err);
    cli_passphrase_free(passphrase);
    VCH_TRY(rc);
    rc = vch_signer_show(signer, &text, &cli->err);
    vch_signer_free(signer);
    VCH_TRY(rc);
    cj_open(j, NULL, '{');
    cj_text(j, "name", name ? name : "(default)");
    /* the members of the library's object, without its braces */
    if (text.n > 2) cj_raw(j, NULL, vch_slice(text.p + 1, text.n - 2));
    cj_close(j, '}');
    vch_text_free(&text);
    return VCH_OK;
}

static vch_rc show_and_end(cli_t *cli, const char *name)
{
    cli_json_t j;
    cj_begin(&j);
    vch_rc rc = show_identity(cli, name, &j);
    if (rc == VCH_OK) return cj_show(cli, &j);
    cj_free(&j);
    return rc;
}

vch_rc cli_id_new(cli_t *cli)
{
    char *passphrase = NULL;
    VCH_TRY(cli_passphrase(cli, "passphrase-file", &passphrase));
    vch_rc rc = vch_identity_new(cli->l, cli->arg[0], cli_get(cli, "algorithm"), passphrase, &cli->err);
    cli_passphrase_free(passphrase);
    return rc == VCH_OK ? show_and_end(cli, cli->arg[0]) : rc;
}

vch_rc cli_id_show(cli_t *cli) { return show_and_end(cli, cli->args ? cli->arg[0] : cli->as); }

static vch_rc put_identity(cli_t *cli, void *ctx, const char *name)
{
    cli_json_t *j = ctx;
    if (strcmp(name, "log") == 0) return VCH_OK; /* signs checkpoints and nothing else */
    size_t at = j->b.n;
    bool comma = j->comma;
    if (show_identity(cli, name, j) == VCH_OK) return VCH_OK;
    j->b.n = at; /* behind a passphrase, or unreadable: still listed */
    j->comma = comma;
    cj_open(j, NULL, '{');
    cj_text(j, "name", name);
    cj_text(j, "note", cli->err.text);
    cj_close(j, '}');
    cli->err = (vch_err_t){.rc = VCH_OK};
    return VCH_OK;
}

vch_rc cli_id_list(cli_t *cli)
{
    cli_json_t j;
    cj_begin(&j);
    cj_open(&j, NULL, '[');
    vch_rc rc = cli_keys_each(cli, ".pem", put_identity, &j);
    cj_close(&j, ']');
    if (rc == VCH_OK) return cj_show(cli, &j);
    cj_free(&j);
    return rc;
}

/* ---- party ---------------------------------------------------------------------------- */

/* --role user,custodian --role auditor, as a list of names. */
static void put_roles(cli_json_t *j, const char *const *role, size_t n)
{
    cj_open(j, "roles", '[');
    for (size_t i = 0; i < n; i++)
        for (const char *p = role[i]; *p;) {
            size_t len = strcspn(p, ",");
            if (len) cj_slice(j, NULL, vch_slice(p, len));
            p += len + (p[len] == ',');
        }
    cj_close(j, ']');
}

vch_rc cli_party_add(cli_t *cli)
{
    const char *role[ROLES_MAX], *key;
    char hex[80];
    cli_json_t j;
    size_t n = cli_all(cli, "role", role, ROLES_MAX);
    if (n == 0) return cli_usage(cli, "--role is missing");
    key = cli_get(cli, "key");
    VCH_TRY(cli_key_hex(cli, key ? key : cli->arg[0], hex));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "name", cli->arg[0]);
    put_roles(&j, role, n);
    cj_open(&j, "keys", '[');
    cj_text(&j, NULL, hex);
    cj_close(&j, ']');
    cj_close(&j, '}');
    return cli_submit(cli, "party", &j);
}

vch_rc cli_party_list(cli_t *cli) { return cli_list(cli, "parties", NULL); }
vch_rc cli_party_show(cli_t *cli) { return cli_show_one(cli, "parties", NULL, cli->arg[0]); }

static void put_key_action(cli_json_t *j, const char *party, const char *action, const char *key, const char *reason)
{
    cj_open(j, NULL, '{');
    cj_text(j, "party", party);
    cj_text(j, "action", action);
    cj_text(j, "key", key);
    cj_text(j, "reason", reason);
}

vch_rc cli_party_rotate(cli_t *cli)
{
    const char *key;
    char party[65], fresh[80], old[80];
    cli_json_t j;
    VCH_TRY(cli_need(cli, "key", &key));
    VCH_TRY(cli_id_of(cli, "parties", cli->arg[0], party));
    VCH_TRY(cli_key_hex(cli, key, fresh));
    VCH_TRY(cli_signer_hex(cli, cli->signer, old));
    cj_begin(&j);
    cj_open(&j, NULL, '[');
    put_key_action(&j, party, "add", fresh, "routine");
    cj_close(&j, '}');
    put_key_action(&j, party, "revoke", old, "routine");
    cj_close(&j, '}');
    cj_close(&j, ']');
    return cli_submit(cli, "party-key", &j);
}

/* Nothing brings a revoked key back, so a person at a terminal types the name again. */
static vch_rc confirm(cli_t *cli, const char *name)
{
    char line[256];
    if (cli_get(cli, "yes")) return VCH_OK;
    if (cli->no_input || !isatty(STDIN_FILENO)) {
        (void)vch_fail(&cli->err, VCH_ERR_USAGE, "a revoked key never comes back, and nobody is here to confirm it");
        return vch_hint(&cli->err, VCH_ERR_USAGE, "add --yes to do it without a question");
    }
    (void)fprintf(stderr, "A revoked key never comes back. Type the party's name (%s) to go on: ", name);
    if (!fgets(line, sizeof line, stdin)) return vch_fail(&cli->err, VCH_ERR_INTERRUPTED, "nothing was revoked");
    line[strcspn(line, "\r\n")] = 0;
    if (strcmp(line, name) == 0) return VCH_OK;
    return vch_fail(&cli->err, VCH_ERR_INTERRUPTED, "that is another name; nothing was revoked");
}

vch_rc cli_party_revoke(cli_t *cli)
{
    const char *key, *reason = cli_get(cli, "reason"), *since = cli_get(cli, "since");
    char party[65], hex[80];
    uint64_t ms = 0;
    cli_json_t j;
    VCH_TRY(cli_need(cli, "key", &key));
    if (since) VCH_TRY(cli_moment(cli, since, &ms));
    VCH_TRY(cli_id_of(cli, "parties", cli->arg[0], party));
    VCH_TRY(cli_key_hex(cli, key, hex));
    VCH_TRY(confirm(cli, cli->arg[0]));
    cj_begin(&j);
    put_key_action(&j, party, "revoke", hex, reason ? reason : "routine");
    if (since) cj_number(&j, "compromised-since", ms);
    cj_close(&j, '}');
    return cli_submit(cli, "party-key", &j);
}
