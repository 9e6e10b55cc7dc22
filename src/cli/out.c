/* SPDX-License-Identifier: Apache-2.0 */
/* JSON under construction. */
#include <stdio.h>

#include "cli/cli.h"

#define OUT_MAX (256u << 20)

static void keep(cli_json_t *j, vch_rc rc)
{
    if (j->rc == VCH_OK) j->rc = rc;
}

void cj_begin(cli_json_t *j)
{
    *j = (cli_json_t){.rc = VCH_OK};
    vch_buf_init(&j->b, OUT_MAX);
}

void cj_free(cli_json_t *j) { vch_buf_free(&j->b); }

static void before(cli_json_t *j, const char *name)
{
    if (j->comma) keep(j, vch_buf_u8(&j->b, ','));
    j->comma = true;
    if (!name) return;
    keep(j, vch_json_put_string(&j->b, vch_str(name)));
    keep(j, vch_buf_u8(&j->b, ':'));
}

void cj_open(cli_json_t *j, const char *name, char bracket)
{
    before(j, name);
    keep(j, vch_buf_u8(&j->b, (uint8_t)bracket));
    j->comma = false;
}

void cj_close(cli_json_t *j, char bracket)
{
    keep(j, vch_buf_u8(&j->b, (uint8_t)bracket));
    j->comma = true;
}

/* Paths and messages need not be UTF-8; what isn't becomes '?'. */
void cj_slice(cli_json_t *j, const char *name, vch_slice_t text)
{
    before(j, name);
    if (vch_utf8_valid(text)) {
        keep(j, vch_json_put_string(&j->b, text));
        return;
    }
    keep(j, vch_buf_u8(&j->b, '"'));
    for (size_t i = 0; i < text.n; i++) {
        bool plain = text.p[i] >= ' ' && text.p[i] < 127 && text.p[i] != '"' && text.p[i] != '\\';
        keep(j, vch_buf_u8(&j->b, plain ? text.p[i] : '?'));
    }
    keep(j, vch_buf_u8(&j->b, '"'));
}

void cj_text(cli_json_t *j, const char *name, const char *text) { cj_slice(j, name, vch_str(text)); }

void cj_number(cli_json_t *j, const char *name, uint64_t v)
{
    before(j, name);
    keep(j, vch_buf_printf(&j->b, "%llu", (unsigned long long)v));
}

void cj_bool(cli_json_t *j, const char *name, bool v)
{
    before(j, name);
    keep(j, vch_buf_printf(&j->b, v ? "true" : "false"));
}

void cj_hex(cli_json_t *j, const char *name, const uint8_t *p, size_t n)
{
    char digits[3];
    before(j, name);
    keep(j, vch_buf_u8(&j->b, '"'));
    for (size_t i = 0; i < n; i++) {
        vch_hex(digits, p + i, 1);
        keep(j, vch_buf_put(&j->b, digits, 2));
    }
    keep(j, vch_buf_u8(&j->b, '"'));
}

void cj_raw(cli_json_t *j, const char *name, vch_slice_t json)
{
    before(j, name);
    keep(j, vch_buf_put(&j->b, json.p, json.n));
}

void cj_time(cli_json_t *j, const char *name, uint64_t ms)
{
    char text[VCH_UTC_LEN];
    vch_utc(text, ms);
    cj_text(j, name, text);
    (void)snprintf(text, sizeof text, "%.24s ms", name);
    cj_number(j, text, ms);
}

void cj_receipt(cli_json_t *j, const vch_receipt_t *r)
{
    cj_hex(j, "object", r->object.b, 32);
    cj_hex(j, "entry", r->entry.b, 32);
    cj_number(j, "index", r->index);
    cj_number(j, "statements", r->count);
    cj_time(j, "time", r->time.ms);
    if (r->again) cj_bool(j, "already there", true);
    if (!r->has_outcome) return;
    cj_bool(j, "permit", r->permit);
    cj_text(j, "rule", r->rule);
    cj_number(j, "rows", r->rows);
    if (r->permit) cj_time(j, "expires", r->expires.ms);
}

vch_rc cj_show(cli_t *cli, cli_json_t *j)
{
    vch_rc rc = j->rc;
    if (rc != VCH_OK)
        rc = vch_fail(&cli->err, rc, "the answer can't be written: %s", vch_rc_text(rc));
    else
        rc = cli_show(cli, vch_buf_slice(&j->b));
    cj_free(j);
    return rc;
}
