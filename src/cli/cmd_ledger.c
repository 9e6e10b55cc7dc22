/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger as a whole: init, status, check, log, state, config. */
#include <stdio.h>

#include "cli/cli.h"

/* The ledger is made, whatever comes of this. */
static vch_rc put_vault_up(cli_t *cli, const char *dir, const char *operator_name)
{
    vch_ledger_t *l;
    vch_signer_t *signer = NULL;
    vch_err_t ignored;
    VCH_TRY(vch_ledger_open(&l, dir, 0, &cli->err));
    vch_rc rc = vch_identity_load(l, operator_name, NULL, &signer, &cli->err);
    if (rc == VCH_OK) rc = vch_vault_up(l, signer, &cli->err);
    vch_signer_free(signer);
    vch_rc closed = vch_ledger_close(l, rc == VCH_OK ? &cli->err : &ignored);
    return rc == VCH_OK ? closed : rc;
}

vch_rc cli_init(cli_t *cli)
{
    const char *operator_name, *origin = cli_get(cli, "origin");
    char made[220];
    uint64_t life_s;
    cli_json_t j;
    VCH_TRY(cli_need(cli, "operator", &operator_name));
    VCH_TRY(cli_number(cli, "grant-life", 1, 86400, 900, &life_s));
    (void)snprintf(made, sizeof made, "%.100s/ledger", operator_name);
    vch_init_t init = {.origin = origin ? origin : made,
                       .operator_name = operator_name,
                       .algorithm = cli_get(cli, "algorithm"),
                       .grant_life_ms = life_s * 1000};
    const char *dir = cli->args ? cli->arg[0] : cli->dir;
    VCH_TRY(vch_ledger_init(dir, &init, &cli->err));
    cli_say(cli, "made a ledger in %s; keys/ holds its private keys, so keep it to yourself", dir);
    bool vault = !cli_get(cli, "no-vault");
    if (vault) {
        vch_rc rc = put_vault_up(cli, dir, operator_name);
        if (rc != VCH_OK) return vch_context(&cli->err, rc, "the ledger is made, its vault isn't (vouch vault up)");
        cli_say(cli, "its vault runs in this process, one trust domain: it guards against lost folders, not against "
                     "whoever runs this machine");
    }
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "directory", dir);
    cj_text(&j, "origin", init.origin);
    cj_text(&j, "operator", operator_name);
    cj_text(&j, "rows", vault ? "in the embedded vault" : "in data/, in the clear");
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

static const char *where_rows_go(int vault)
{
    static const char *const text[] = {"lie in data/ in the clear",
                                       "go into the embedded vault: one trust domain, this process",
                                       "go into a vault whose trustees and storage nodes run elsewhere"};
    return vault >= 0 && vault <= 2 ? text[vault] : text[0];
}

vch_rc cli_status(cli_t *cli)
{
    vch_ledger_info_t info;
    cli_json_t j;
    VCH_TRY(vch_ledger_info(cli->l, &info, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, cli->node ? "node" : "directory", cli->node ? cli->node : cli->dir);
    cj_text(&j, "origin", info.origin);
    cj_hex(&j, "network", info.network.b, 32);
    cj_number(&j, "entries", info.size);
    cj_number(&j, "blocks", info.height);
    cj_number(&j, "checkpoint at", info.checkpoint_size);
    cj_number(&j, "committed", info.committed);
    cj_time(&j, "newest block", info.time.ms);
    cj_hex(&j, "state root", info.state_root.b, 32);
    cj_bool(&j, "rebuilt", info.rebuilt);
    cj_bool(&j, "recovered", info.recovered);
    cj_text(&j, "note", info.note);
    cj_text(&j, "time source", "the operator's clock");
    if (!cli->node) cj_text(&j, "rows", where_rows_go(info.vault));
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

/* ---- check -------------------------------------------------------------------------------- */

static void put_finding(void *ctx, const vch_finding_t *f)
{
    cli_json_t *j = ctx;
    cj_open(j, NULL, '{');
    cj_text(j, "file", f->file ? f->file : "");
    if (f->has_entry) cj_number(j, "entry", f->entry);
    if (f->has_byte) cj_number(j, "byte", f->byte);
    cj_bool(j, "derived", f->derived);
    cj_bool(j, "repaired", f->repaired);
    cj_text(j, "text", f->text ? f->text : "");
    cj_close(j, '}');
}

vch_rc cli_check(cli_t *cli)
{
    uint64_t count = 0;
    cli_json_t findings, j;
    cj_begin(&findings);
    cj_open(&findings, NULL, '[');
    vch_rc rc = vch_ledger_check(cli->dir, cli_get(cli, "full") != NULL, cli_get(cli, "repair") != NULL, put_finding,
                                 &findings, &count, &cli->err);
    cj_close(&findings, ']');
    if (rc != VCH_OK && rc != VCH_ERR_CORRUPT) {
        cj_free(&findings);
        return rc;
    }
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_bool(&j, "good", rc == VCH_OK && count == 0);
    cj_number(&j, "findings", count);
    if (count || cli->json) cj_raw(&j, "list", vch_buf_slice(&findings.b));
    cj_close(&j, '}');
    if (j.rc == VCH_OK) j.rc = findings.rc;
    cj_free(&findings);
    vch_rc shown = cj_show(cli, &j);
    return rc != VCH_OK ? rc : shown;
}

/* ---- log ----------------------------------------------------------------------------------- */

vch_rc cli_log_head(cli_t *cli)
{
    vch_text_t note;
    cli_json_t j;
    VCH_TRY(vch_ledger_checkpoint(cli->l, &note, &cli->err));
    if (!cli->json) {
        vch_rc rc = cli_write_file(cli, "-", vch_slice(note.p, note.n));
        vch_text_free(&note);
        return rc;
    }
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_slice(&j, "checkpoint", vch_slice(note.p, note.n));
    cj_close(&j, '}');
    vch_text_free(&note);
    return cj_show(cli, &j);
}

static vch_rc cat_range(cli_t *cli, uint64_t first, uint64_t end)
{
    cli_json_t j;
    cj_begin(&j);
    cj_open(&j, NULL, '[');
    for (uint64_t i = first; i < end; i++) {
        vch_text_t one;
        vch_rc rc = vch_entry_show(cli->l, i, &one, &cli->err);
        if (rc != VCH_OK) {
            cj_free(&j);
            return rc;
        }
        cj_raw(&j, NULL, vch_slice(one.p, one.n));
        vch_text_free(&one);
    }
    cj_close(&j, ']');
    return cj_show(cli, &j);
}

static vch_rc index_arg(cli_t *cli, const char *text, uint64_t *ret)
{
    uint32_t statement;
    if (strlen(text) < 8 && cli_parse_u64(text, ret) == VCH_OK) return VCH_OK;
    return vch_entry_find(cli->l, text, ret, &statement, &cli->err);
}

vch_rc cli_log_cat(cli_t *cli)
{
    vch_ledger_info_t info;
    uint64_t first = 0, last;
    vch_text_t one;
    VCH_TRY(vch_ledger_info(cli->l, &info, &cli->err));
    if (cli->args == 0) return cat_range(cli, 0, info.size);
    VCH_TRY(index_arg(cli, cli->arg[0], &first));
    if (cli->args == 2) {
        VCH_TRY(index_arg(cli, cli->arg[1], &last));
        if (last < first || last >= info.size)
            return vch_fail(&cli->err, VCH_ERR_NOT_FOUND, "the log ends at entry %llu", (unsigned long long)info.size);
        return cat_range(cli, first, last + 1);
    }
    VCH_TRY(vch_entry_show(cli->l, first, &one, &cli->err));
    return cli_show_text(cli, &one);
}

static vch_rc submit_signed(cli_t *cli, vch_slice_t tx)
{
    vch_receipt_t receipt;
    vch_rc result = VCH_OK;
    const uint8_t *p[1] = {tx.p};
    size_t n[1] = {tx.n};
    VCH_TRY(vch_submit(cli->l, p, n, 1, &receipt, &result, &cli->err));
    if (result == VCH_OK) return cli_show_receipt(cli, &receipt);
    return cli->err.rc == result ? result
                                 : vch_fail(&cli->err, result, "the transaction is refused: %s", vch_rc_text(result));
}

vch_rc cli_log_submit(cli_t *cli)
{
    vch_receipt_t receipt;
    vch_buf_t b;
    bool is_signed = strcmp(cli->arg[0], "signed") == 0;
    if (!is_signed) VCH_TRY(cli_load_signer(cli));
    VCH_TRY(cli_read_file(cli, cli->arg[1], CLI_FILE_MAX, &b));
    vch_rc rc;
    if (is_signed)
        rc = submit_signed(cli, vch_buf_slice(&b));
    else {
        rc = vch_submit_json(cli->l, cli->signer, cli->arg[0], (const char *)b.p, b.n, &receipt, &cli->err);
        if (rc == VCH_OK) rc = cli_show_receipt(cli, &receipt);
    }
    vch_buf_free(&b);
    return rc;
}

/* JSON Lines, one entry a line, so that it streams. */
vch_rc cli_log_export(cli_t *cli)
{
    vch_ledger_info_t info;
    VCH_TRY(vch_ledger_info(cli->l, &info, &cli->err));
    for (uint64_t i = 0; i < info.size; i++) {
        vch_text_t one;
        VCH_TRY(vch_entry_show(cli->l, i, &one, &cli->err));
        bool good = fwrite(one.p, 1, one.n, stdout) == one.n && fputc('\n', stdout) != EOF;
        vch_text_free(&one);
        if (!good) return vch_fail(&cli->err, VCH_ERR_IO, "writing to stdout failed");
    }
    return VCH_OK;
}

static vch_rc show_proof(cli_t *cli, vch_text_t *proof, bool is_json)
{
    const char *path = cli_get(cli, "output");
    vch_slice_t text = vch_slice(proof->p, proof->n);
    vch_rc rc;
    if (path)
        rc = cli_write_file(cli, path, text);
    else if (is_json)
        rc = cli_show(cli, text);
    else if (!cli->json)
        rc = cli_write_file(cli, "-", text);
    else {
        cli_json_t j;
        cj_begin(&j);
        cj_open(&j, NULL, '{');
        cj_slice(&j, "proof", text);
        cj_close(&j, '}');
        rc = cj_show(cli, &j);
    }
    vch_text_free(proof);
    return rc;
}

vch_rc cli_log_prove(cli_t *cli)
{
    uint64_t a, b;
    vch_text_t proof;
    if (strcmp(cli->arg[0], "inclusion") == 0 && cli->args == 2) {
        VCH_TRY(index_arg(cli, cli->arg[1], &a));
        VCH_TRY(vch_prove_inclusion(cli->l, a, &proof, &cli->err));
        return show_proof(cli, &proof, false);
    }
    if (strcmp(cli->arg[0], "consistency") != 0 || cli->args != 3)
        return cli_usage(cli, "what is proved is \"inclusion INDEX\" or \"consistency SIZE1 SIZE2\"");
    if (cli_parse_u64(cli->arg[1], &a) != VCH_OK || cli_parse_u64(cli->arg[2], &b) != VCH_OK)
        return cli_usage(cli, "sizes of the log are numbers");
    VCH_TRY(vch_prove_consistency(cli->l, a, b, &proof, &cli->err));
    return show_proof(cli, &proof, true);
}

/* ---- state -------------------------------------------------------------------------------------- */

/* "g", "d:<hex>", or the whole key as hex. */
static vch_rc state_key(cli_t *cli, const char *text, uint8_t ret[256], size_t *ret_n)
{
    size_t n = strlen(text), tag = n == 1 || (n > 1 && text[1] == ':') ? 1 : 0, from = tag ? 2 : 0;
    size_t hex = n > from ? n - from : 0;
    if (hex % 2 == 0 && hex / 2 + tag <= 255 && hex + tag > 0 &&
        vch_unhex(ret + tag, hex / 2, text + vch_min(from, n), hex)) {
        if (tag) ret[0] = (uint8_t)text[0];
        *ret_n = hex / 2 + tag;
        return VCH_OK;
    }
    return cli_usage(cli, "a state key is TAG, TAG:HEX or HEX, as docs/formats tells");
}

static vch_rc show_state(cli_t *cli, bool proof)
{
    static const char *const shown[] = {"key", "present", "value"};
    const vch_json_t *v, *m;
    vch_text_t text;
    vch_arena_t arena;
    uint8_t key[256];
    size_t n = 0;
    cli_json_t j;
    VCH_TRY(state_key(cli, cli->arg[0], key, &n));
    VCH_TRY(vch_state_show(cli->l, key, n, &text, &cli->err));
    if (proof) return cli_show_text(cli, &text);
    vch_arena_init(&arena, 256u << 20);
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    vch_rc rc = vch_json_parse(&arena, &v, vch_slice(text.p, text.n), &cli->err);
    for (size_t i = 0; rc == VCH_OK && i < 3; i++) {
        m = vch_json_get(v, shown[i]);
        if (m && m->type == VCH_JSON_STRING) cj_slice(&j, shown[i], m->text);
        if (m && m->type == VCH_JSON_BOOL) cj_bool(&j, shown[i], m->boolean);
    }
    cj_close(&j, '}');
    vch_arena_free(&arena);
    vch_text_free(&text);
    if (rc == VCH_OK) return cj_show(cli, &j);
    cj_free(&j);
    return rc;
}

vch_rc cli_state_get(cli_t *cli) { return show_state(cli, false); }
vch_rc cli_state_prove(cli_t *cli) { return show_state(cli, true); }

/* ---- config --------------------------------------------------------------------------------------- */

static vch_slice_t trimmed(const uint8_t *p, size_t n)
{
    while (n && (*p == ' ' || *p == '\t')) {
        p++;
        n--;
    }
    while (n && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r')) n--;
    return vch_slice(p, n);
}

static void put_setting(cli_json_t *j, vch_slice_t section, vch_slice_t line)
{
    const uint8_t *eq = memchr(line.p, '=', line.n);
    char name[256];
    if (!eq) return;
    vch_slice_t key = trimmed(line.p, (size_t)(eq - line.p));
    vch_slice_t value = trimmed(eq + 1, line.n - (size_t)(eq - line.p) - 1);
    (void)snprintf(name, sizeof name, "%.*s.%.*s", (int)vch_min(section.n, 100), (const char *)section.p,
                   (int)vch_min(key.n, 100), (const char *)key.p);
    cj_slice(j, name, value);
}

/* The library reads the same file strictly whenever it opens the ledger, so
 * what gets here is well-formed. */
vch_rc cli_config_show(cli_t *cli)
{
    char path[CLI_PATH_MAX];
    vch_buf_t b;
    cli_json_t j;
    vch_slice_t section = vch_str("");
    VCH_TRY(cli_path(cli, path, "%s/vouch.conf", cli->dir));
    VCH_TRY(cli_read_file(cli, path, 1u << 20, &b));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    for (size_t at = 0; at < b.n;) {
        const uint8_t *end = memchr(b.p + at, '\n', b.n - at);
        size_t n = end ? (size_t)(end - (b.p + at)) : b.n - at;
        vch_slice_t line = trimmed(b.p + at, n);
        at += n + 1;
        if (line.n == 0 || *line.p == '#' || *line.p == ';') continue;
        if (*line.p == '[')
            section = vch_slice(line.p + 1, line.n > 1 ? line.n - 2 : 0);
        else
            put_setting(&j, section, line);
    }
    cj_close(&j, '}');
    vch_buf_free(&b);
    return cj_show(cli, &j);
}

/* Until somebody says so, the check takes an edit for damage. */
vch_rc cli_config_accept(cli_t *cli)
{
    cli_json_t j;
    VCH_TRY(vch_settings_accept(cli->dir, &cli->err));
    cli_say(cli, "vouch.conf and trust.policy are accepted as they are now");
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_bool(&j, "accepted", true);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}
