/* SPDX-License-Identifier: Apache-2.0 */
/* What several commands do: lists, one of a list, receipts, keys by any name. */
#include <stdio.h>

#include "cli/cli.h"

#define ARENA_MAX (1u << 30)
#define PREFIX_MIN 8

/* ---- lists of the ledger ----------------------------------------------------------- */

vch_rc cli_list(cli_t *cli, const char *what, const char *of)
{
    vch_text_t text;
    VCH_TRY(vch_query(cli->l, what, of, &text, &cli->err));
    if (!cli->json && text.n <= 3) cli_say(cli, "there are no %s yet", what);
    if (!cli->json && text.n <= 3) {
        vch_text_free(&text);
        return VCH_OK;
    }
    return cli_show_text(cli, &text);
}

static bool is_text(const vch_json_t *v, const char *name, const char *want)
{
    const vch_json_t *m = vch_json_get(v, name);
    return m && m->type == VCH_JSON_STRING && vch_slice_eq(m->text, vch_str(want));
}

static bool begins(const vch_json_t *v, const char *name, const char *prefix)
{
    const vch_json_t *m = vch_json_get(v, name);
    size_t n = strlen(prefix);
    return n >= PREFIX_MIN && m && m->type == VCH_JSON_STRING && m->text.n >= n && memcmp(m->text.p, prefix, n) == 0;
}

/* By name the newest one counts, for that is what the library takes too. */
static const vch_json_t *pick(const vch_json_t *list, const char *name, bool *ret_several)
{
    const vch_json_t *found = NULL, *by_id = NULL;
    *ret_several = false;
    for (const vch_json_t *v = list->first; v; v = v->next) {
        if (is_text(v, "name", name)) found = v;
        if (!begins(v, "id", name) && !begins(v, "hash", name)) continue;
        *ret_several = by_id != NULL;
        by_id = v;
    }
    if (found) *ret_several = false;
    return found ? found : by_id;
}

typedef vch_rc (*found_fn)(cli_t *, void *ctx, const vch_json_t *);

static vch_rc found_none(cli_t *cli, const char *what, const char *name)
{
    (void)vch_fail(&cli->err, VCH_ERR_NOT_FOUND, "\"%.100s\" is not among the %s of this ledger", name, what);
    return vch_hint(&cli->err, VCH_ERR_NOT_FOUND, "a name, or at least %d digits of an id; the list command shows both",
                    PREFIX_MIN);
}

static vch_rc with_one(cli_t *cli, const char *what, const char *of, const char *name, found_fn fn, void *ctx)
{
    const vch_json_t *list, *one;
    vch_text_t text;
    vch_arena_t arena;
    bool several = false;
    VCH_TRY(vch_query(cli->l, what, of, &text, &cli->err));
    vch_arena_init(&arena, ARENA_MAX);
    vch_rc rc = vch_json_parse(&arena, &list, vch_slice(text.p, text.n), &cli->err);
    if (rc == VCH_OK) {
        one = pick(list, name, &several);
        if (several)
            rc = vch_fail(&cli->err, VCH_ERR_CONFLICT, "more than one id begins with %.64s", name);
        else
            rc = one ? fn(cli, ctx, one) : found_none(cli, what, name);
    }
    vch_arena_free(&arena);
    vch_text_free(&text);
    return rc;
}

static vch_rc show_found(cli_t *cli, void *ctx, const vch_json_t *v)
{
    (void)ctx;
    return cli_show_value(cli, v);
}

vch_rc cli_show_one(cli_t *cli, const char *what, const char *of, const char *name)
{
    return with_one(cli, what, of, name, show_found, NULL);
}

static vch_rc copy_id(cli_t *cli, void *ctx, const vch_json_t *v)
{
    const vch_json_t *id = vch_json_get(v, "id");
    if (!id || id->type != VCH_JSON_STRING || id->text.n != 64)
        return vch_fail(&cli->err, VCH_ERR_INTERNAL, "an item of a list has no id");
    char *ret = ctx;
    memcpy(ret, id->text.p, 64);
    ret[64] = 0;
    return VCH_OK;
}

vch_rc cli_id_of(cli_t *cli, const char *what, const char *name, char ret[65])
{
    return with_one(cli, what, NULL, name, copy_id, ret);
}

/* ---- receipts --------------------------------------------------------------------------- */

vch_rc cli_show_receipt(cli_t *cli, const vch_receipt_t *r)
{
    cli_json_t j;
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_receipt(&j, r);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

vch_rc cli_submit(cli_t *cli, const char *kind, cli_json_t *fields)
{
    vch_receipt_t receipt;
    vch_rc rc = fields->rc;
    if (rc != VCH_OK)
        rc = vch_fail(&cli->err, rc, "the statement can't be written: %s", vch_rc_text(rc));
    else
        rc = vch_submit_json(cli->l, cli->signer, kind, (const char *)fields->b.p, fields->b.n, &receipt, &cli->err);
    cj_free(fields);
    return rc == VCH_OK ? cli_show_receipt(cli, &receipt) : rc;
}

/* ---- keys ---------------------------------------------------------------------------------- */

vch_rc cli_signer_hex(cli_t *cli, const vch_signer_t *signer, char ret[80])
{
    const vch_json_t *v, *m;
    vch_text_t text;
    vch_arena_t arena;
    VCH_TRY(vch_signer_show(signer, &text, &cli->err));
    vch_arena_init(&arena, 1u << 16);
    vch_rc rc = vch_json_parse(&arena, &v, vch_slice(text.p, text.n), &cli->err);
    if (rc == VCH_OK) {
        m = vch_json_get(v, "multicodec");
        if (!m || m->type != VCH_JSON_STRING || m->text.n >= 80)
            rc = vch_fail(&cli->err, VCH_ERR_INTERNAL, "the key does not show its multicodec form");
        else {
            memcpy(ret, m->text.p, m->text.n);
            ret[m->text.n] = 0;
        }
    }
    vch_arena_free(&arena);
    vch_text_free(&text);
    return rc;
}

vch_rc cli_load_signer(cli_t *cli) { return cli_load_signer_of(cli, cli->l); }

vch_rc cli_load_signer_of(cli_t *cli, vch_ledger_t *l)
{
    char *passphrase = NULL;
    if (cli->signer) return VCH_OK;
    VCH_TRY(cli_passphrase(cli, "passphrase-file", &passphrase));
    vch_rc rc = vch_identity_load(l, cli->as, passphrase, &cli->signer, &cli->err);
    cli_passphrase_free(passphrase);
    if (rc != VCH_OK && !cli->as && !cli->err.hint[0])
        return vch_hint(&cli->err, rc, "say who signs with --as NAME; vouch id list shows the names");
    return rc;
}

static bool is_key_hex(const char *key)
{
    uint8_t bytes[35];
    size_t n = strlen(key);
    return (n == 68 && vch_unhex(bytes, 34, key, n)) || (n == 70 && vch_unhex(bytes, 35, key, n));
}

vch_rc cli_key_hex(cli_t *cli, const char *key, char ret[80])
{
    vch_signer_t *signer = NULL;
    char *passphrase = NULL;
    if (is_key_hex(key)) {
        memcpy(ret, key, strlen(key) + 1);
        return VCH_OK;
    }
    VCH_TRY(cli_passphrase(cli, "key-passphrase-file", &passphrase));
    vch_rc rc = strchr(key, '/') || strchr(key, '.') ? vch_signer_load(&signer, key, passphrase, &cli->err)
                                                     : vch_identity_load(cli->l, key, passphrase, &signer, &cli->err);
    cli_passphrase_free(passphrase);
    if (rc == VCH_OK) rc = cli_signer_hex(cli, signer, ret);
    vch_signer_free(signer);
    return rc;
}
