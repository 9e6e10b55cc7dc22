/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions, bundles and the offline verifier. */
#include <stdio.h>

#include "cli/cli.h"
#include "vouchsafe/verify.h"

#define TRUST_MAX (1u << 20)

/* ---- decisions ------------------------------------------------------------------------ */

vch_rc cli_decision_log(cli_t *cli)
{
    uint64_t first = 0, count = 0;
    vch_receipt_t receipt;
    cli_json_t j;
    VCH_TRY(vch_decisions_log(cli->l, cli->signer, cli->arg[0], cli->arg[1], &first, &count, &receipt, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "deployment", cli->arg[0]);
    cj_number(&j, "first", first);
    cj_number(&j, "count", count);
    cj_receipt(&j, &receipt);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

vch_rc cli_decision_list(cli_t *cli) { return cli_list(cli, "batches", NULL); }

vch_rc cli_decision_trace(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_decision_trace(cli->l, cli->arg[0], &text, &cli->err));
    vch_rc rc = cli_show_tree(cli, vch_slice(text.p, text.n));
    vch_text_free(&text);
    return rc;
}

/* The decision itself, without what lies behind it. */
static void put_decision(cli_json_t *j, const vch_json_t *decision)
{
    cj_open(j, NULL, '{');
    for (const vch_json_t *m = decision ? decision->first : NULL; m; m = m->next) {
        char name[64];
        (void)snprintf(name, sizeof name, "%.*s", (int)vch_min(m->name.n, 60), (const char *)m->name.p);
        if (m->type == VCH_JSON_STRING) cj_slice(j, name, m->text);
        if (m->type == VCH_JSON_NUMBER) cj_raw(j, name, m->text);
        if (m->type == VCH_JSON_BOOL) cj_bool(j, name, m->boolean);
        if (m->type != VCH_JSON_ARRAY) continue;
        cj_open(j, name, '[');
        for (const vch_json_t *v = m->first; v; v = v->next)
            if (v->type == VCH_JSON_STRING) cj_slice(j, NULL, v->text);
        cj_close(j, ']');
    }
    cj_close(j, '}');
}

vch_rc cli_decision_show(cli_t *cli)
{
    const vch_json_t *v;
    vch_text_t text;
    vch_arena_t arena;
    cli_json_t j;
    VCH_TRY(vch_decision_trace(cli->l, cli->arg[0], &text, &cli->err));
    vch_arena_init(&arena, 256u << 20);
    cj_begin(&j);
    vch_rc rc = vch_json_parse(&arena, &v, vch_slice(text.p, text.n), &cli->err);
    if (rc == VCH_OK) put_decision(&j, vch_json_get(v, "decision"));
    vch_arena_free(&arena);
    vch_text_free(&text);
    if (rc == VCH_OK) return cj_show(cli, &j);
    cj_free(&j);
    return rc;
}

/* ---- bundles ------------------------------------------------------------------------------ */

vch_rc cli_bundle_make(cli_t *cli)
{
    const char *path;
    cli_json_t j;
    VCH_TRY(cli_need(cli, "output", &path));
    VCH_TRY(vch_bundle_make(cli->l, cli->arg[0], cli->arg[1], path, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "claim", cli->arg[0]);
    cj_text(&j, "of", cli->arg[1]);
    cj_text(&j, "file", path);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

typedef struct {
    cli_t *cli;
    cli_json_t links;
    bool print;
} watching_t;

static void on_link(void *ctx, const char *link, vch_verify_code_t code)
{
    watching_t *w = ctx;
    bool good = vch_verify_status(code) == VCH_VERIFY_OK;
    cj_open(&w->links, NULL, '{');
    cj_text(&w->links, "link", link);
    cj_text(&w->links, "code", vch_verify_code(code));
    cj_close(&w->links, '}');
    if (w->print)
        (void)printf("%s %s%s%s\n", cli_mark(w->cli, good), link, good ? "" : "  ", good ? "" : vch_verify_text(code));
}

static vch_rc judge(watching_t *w, vch_slice_t bundle, vch_slice_t trust, uint64_t as_of, vch_report_t *ret)
{
    vch_verify_options_t options = {.as_of_ms = as_of, .link = on_link, .ctx = w};
    size_t n = bundle.n + (16u << 20);
    void *arena = vch_alloc(n);
    if (!arena) return vch_fail(&w->cli->err, VCH_ERR_MEMORY, "no memory for %zu bytes to verify in", n);
    vch_rc rc =
        vch_bundle_verify(ret, bundle.p, bundle.n, (const char *)trust.p, trust.n, &options, arena, n, &w->cli->err);
    vch_free(arena);
    return rc;
}

static const char *status_name(vch_verify_status_t status)
{
    if (status == VCH_VERIFY_OK) return "OK";
    return status == VCH_VERIFY_FAIL ? "FAIL" : "INCONCLUSIVE";
}

static void put_report(cli_json_t *j, const vch_report_t *r)
{
    cj_text(j, "status", status_name(r->status));
    cj_text(j, "code", vch_verify_code(r->code));
    cj_text(j, "text", vch_verify_text(r->code));
    cj_text(j, "claim", r->claim);
    cj_text(j, "detail", r->detail);
    cj_bool(j, "recomputed", r->recomputed);
    cj_bool(j, "witnessed", r->witnessed);
    cj_text(j, "time source", r->witnessed ? "a quorum of witnesses" : "the operator's clock");
    cj_number(j, "log size", r->newest_size);
    if (r->time_ms) cj_time(j, "time", r->time_ms);
    if (r->witness_s) cj_time(j, "witnessed at", r->witness_s * 1000);
    cj_number(j, "links", r->links);
}

static vch_rc report(watching_t *w, const vch_report_t *r)
{
    cli_json_t j;
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    put_report(&j, r);
    cj_close(&w->links, ']');
    if (w->cli->json) cj_raw(&j, "list", vch_buf_slice(&w->links.b));
    cj_close(&j, '}');
    if (j.rc == VCH_OK) j.rc = w->links.rc;
    return cj_show(w->cli, &j);
}

static vch_rc judge_bundle(cli_t *cli, vch_slice_t bundle, vch_slice_t trust)
{
    watching_t w = {.cli = cli, .print = !cli->json && !cli->quiet};
    vch_report_t r = {.status = VCH_VERIFY_OK};
    const char *as_of = cli_get(cli, "as-of");
    uint64_t as_of_ms = 0;
    if (as_of) VCH_TRY(cli_moment(cli, as_of, &as_of_ms));
    cj_begin(&w.links);
    cj_open(&w.links, NULL, '[');
    vch_rc rc = judge(&w, bundle, trust, as_of_ms, &r);
    if (rc == VCH_OK) rc = report(&w, &r);
    cj_free(&w.links);
    if (rc == VCH_OK) cli->exit = vch_verify_exit(r.status);
    return rc;
}

/* ---- receipts -------------------------------------------------------------------------- */

static vch_rc show_receipt(cli_t *cli, const vch_report_t *r)
{
    cli_json_t j;
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "status", status_name(r->status));
    cj_text(&j, "code", vch_verify_code(r->code));
    cj_text(&j, "text", vch_verify_text(r->code));
    cj_text(&j, "claim", r->claim);
    cj_text(&j, "detail", r->detail);
    if (r->time_ms) cj_time(&j, "promised by", r->time_ms);
    if (r->newest_size) cj_number(&j, "log size", r->newest_size);
    cj_bool(&j, "witnessed", r->witnessed);
    if (r->witness_s) cj_time(&j, "witnessed at", r->witness_s * 1000);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

static vch_rc judge_receipt(cli_t *cli, vch_slice_t receipt, vch_slice_t trust)
{
    const char *path = cli_get(cli, "against");
    vch_report_t r = {.status = VCH_VERIFY_OK};
    vch_buf_t shown;
    if (path)
        VCH_TRY(cli_read_file(cli, path, TRUST_MAX, &shown));
    else
        vch_buf_init(&shown, 0);
    vch_rc rc =
        vch_receipt_verify(&r, receipt.p, receipt.n, (const char *)trust.p, trust.n, shown.p, shown.n, &cli->err);
    vch_buf_free(&shown);
    if (rc == VCH_OK) rc = show_receipt(cli, &r);
    if (rc == VCH_OK) cli->exit = vch_verify_exit(r.status);
    return rc;
}

static vch_rc judge_file(cli_t *cli, const char *path, vch_slice_t trust)
{
    vch_buf_t file;
    VCH_TRY(cli_read_file(cli, path, VCH_BUNDLE_BYTES_MAX, &file));
    vch_slice_t bytes = vch_buf_slice(&file);
    vch_rc rc = VCH_OK;
    if (vch_receipt_is(bytes.p, bytes.n))
        rc = judge_receipt(cli, bytes, trust);
    else if (cli_get(cli, "against"))
        rc = cli_usage(cli, "--against goes with a receipt, and %.200s is none", path);
    else
        rc = judge_bundle(cli, bytes, trust);
    vch_buf_free(&file);
    return rc;
}

vch_rc cli_verify(cli_t *cli)
{
    const char *path;
    vch_buf_t trust;
    VCH_TRY(cli_need(cli, "trust", &path));
    VCH_TRY(cli_read_file(cli, path, TRUST_MAX, &trust));
    vch_rc rc = judge_file(cli, cli->arg[0], vch_buf_slice(&trust));
    vch_buf_free(&trust);
    return rc;
}

vch_rc cli_bundle_show(cli_t *cli)
{
    vch_buf_t file;
    vch_text_t text;
    VCH_TRY(cli_read_file(cli, cli->arg[0], VCH_BUNDLE_BYTES_MAX, &file));
    vch_rc rc = vch_bundle_show(file.p, file.n, &text, &cli->err);
    vch_buf_free(&file);
    VCH_TRY(rc);
    cli_say(cli, "vouch: shown, not verified; vouch verify FILE --trust POLICY judges it");
    return cli_show_text(cli, &text);
}
