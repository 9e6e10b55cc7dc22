/* SPDX-License-Identifier: Apache-2.0 */
/* vouch.conf: INI with [sections], key = value, and comments that begin with
 * '#' or ';'.  An unknown section, key or value is an error with its line, for
 * a setting that has no effect is worse than none. */
#include "node/node_int.h"

#include "codec/text.h"
#include "entry/holding.h"

const char nd_conf_default[] = "# Settings of this ledger; an unknown key is an error.\n"
                               "\n"
                               "[ledger]\n"
                               "checkpoint_ms = 1000\n"
                               "block_ms = 100\n"
                               "segment_mib = 64\n"
                               "lock_wait_ms = 5000\n"
                               "min_free_mib = 256\n"
                               "read = parties\n"
                               "\n"
                               "[identity]\n"
                               "default =\n"
                               "keys = keys/\n"
                               "\n"
                               "[serve]\n"
                               "listen = 127.0.0.1:7117\n"
                               "tls_cert =\n"
                               "tls_key =\n"
                               "public_plain = no\n"
                               "max_body_kib = 1024\n"
                               "connections = 1024\n"
                               "timeout_ms = 10000\n"
                               "queue = 4096\n"
                               "workers = 2\n"
                               "promise_s = 60\n"
                               "\n"
                               "[witness]\n"
                               "policy = trust.policy\n"
                               "timeout_ms = 3000\n"
                               "\n"
                               "[vault]\n"
                               "mode = embedded\n"
                               "trustees = 3\n"
                               "threshold = 2\n"
                               "storage = 3\n"
                               "data = 2\n"
                               "fresh_s = 60\n"
                               "\n"
                               "[clock]\n"
                               "max_step_s = 60\n";

typedef struct {
    vch_ledger_t *l;
    vch_slice_t section;
    size_t line;
    vch_err_t *err;
} parser_t;

static bool is(vch_slice_t s, const char *word) { return vch_slice_eq(s, vch_str(word)); }

static vch_slice_t trim(vch_slice_t s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) s = vch_slice(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r')) s.n--;
    return s;
}

#define SHOW(s) (int)vch_min((s).n, 100), (const char *)(s).p

static vch_rc bad_value(const parser_t *p, vch_slice_t key, vch_slice_t value, const char *want)
{
    return vch_fail(p->err, VCH_ERR_FORMAT, "vouch.conf, line %zu: %.*s = \"%.*s\": must be %s", p->line, SHOW(key),
                    SHOW(value), want);
}

typedef struct {
    const char *section, *key;
    uint64_t min, max, unit;
    size_t at; /* in vch_ledger_t, or in vch_inside_t */
    bool inside;
} number_t;

static const number_t numbers[] = {
    {"ledger", "checkpoint_ms", 1, 86400000, 1, offsetof(vch_ledger_t, checkpoint_ms), false},
    {"ledger", "block_ms", 1, 60000, 1, offsetof(vch_ledger_t, block_ms), false},
    {"ledger", "segment_mib", 1, 1024, 1u << 20, offsetof(vch_inside_t, segment_bytes), true},
    {"ledger", "lock_wait_ms", 0, 3600000, 1, offsetof(vch_ledger_t, lock_wait_ms), false},
    {"ledger", "min_free_mib", 0, 1u << 30, 1u << 20, offsetof(vch_ledger_t, min_free_bytes), false},
    {"serve", "max_body_kib", 64, 65536, 1024, offsetof(vch_inside_t, serve.max_body_bytes), true},
    {"serve", "connections", 8, 1000000, 1, offsetof(vch_inside_t, serve.connections), true},
    {"serve", "timeout_ms", 100, 3600000, 1, offsetof(vch_inside_t, serve.timeout_ms), true},
    {"serve", "queue", 1, 1000000, 1, offsetof(vch_inside_t, serve.queue), true},
    {"serve", "workers", 1, 64, 1, offsetof(vch_inside_t, serve.workers), true},
    {"serve", "promise_s", 1, 86400, 1000, offsetof(vch_inside_t, serve.promise_ms), true},
    {"witness", "timeout_ms", 100, 600000, 1, offsetof(vch_inside_t, witness_timeout_ms), true},
    {"vault", "trustees", 3, VCH_KT_SETS_MAX, 1, offsetof(vch_inside_t, vault.trustees), true},
    {"vault", "threshold", 2, 4, 1, offsetof(vch_inside_t, vault.threshold), true},
    {"vault", "storage", 1, VCH_STORAGE_MAX, 1, offsetof(vch_inside_t, vault.storage), true},
    {"vault", "data", 1, VCH_STORAGE_MAX - 1, 1, offsetof(vch_inside_t, vault.data), true},
    {"vault", "fresh_s", 1, 86400, 1000, offsetof(vch_inside_t, vault.fresh_ms), true},
    {"clock", "max_step_s", 1, 31536000, 1000, offsetof(vch_ledger_t, max_step_ms), false},
};

static vch_rc take_number(const parser_t *p, const number_t *n, vch_slice_t key, vch_slice_t value)
{
    uint64_t v;
    char want[80];
    if (vch_decimal_get(&v, value) != VCH_OK || v < n->min || v > n->max) {
        vch_buf_t text;
        vch_buf_init(&text, sizeof want);
        vch_rc rc =
            vch_buf_printf(&text, "a number from %llu to %llu", (unsigned long long)n->min, (unsigned long long)n->max);
        memset(want, 0, sizeof want);
        if (rc == VCH_OK) memcpy(want, text.p, vch_min(text.n, sizeof want - 1));
        vch_buf_free(&text);
        return bad_value(p, key, value, rc == VCH_OK ? want : "a number in range");
    }
    uint8_t *base = n->inside ? (uint8_t *)p->l->in : (uint8_t *)p->l;
    v *= n->unit;
    memcpy(base + n->at, &v, sizeof v);
    return VCH_OK;
}

static vch_rc take_text(const parser_t *p, char *to, size_t room, vch_slice_t key, vch_slice_t value)
{
    if (value.n >= room || memchr(value.p, 0, value.n)) return bad_value(p, key, value, "shorter text");
    memcpy(to, value.p, value.n);
    to[value.n] = 0;
    return VCH_OK;
}

static vch_rc take_keys(const parser_t *p, vch_slice_t key, vch_slice_t value)
{
    while (value.n > 1 && value.p[value.n - 1] == '/') value.n--;
    if (value.n == 0) return bad_value(p, key, value, "a folder");
    return take_text(p, p->l->in->keys, sizeof p->l->in->keys, key, value);
}

static vch_rc take_read(const parser_t *p, vch_slice_t key, vch_slice_t value)
{
    static const char *const name[] = {"loopback", "parties", "public"};
    for (unsigned i = 0; i < sizeof name / sizeof *name; i++)
        if (is(value, name[i])) {
            p->l->read = (vch_read_t)i;
            return VCH_OK;
        }
    return bad_value(p, key, value, "loopback, parties or public");
}

static vch_rc take_serve(const parser_t *p, vch_slice_t key, vch_slice_t value)
{
    vch_serve_settings_t *s = &p->l->in->serve;
    if (is(key, "listen")) return take_text(p, s->listen, sizeof s->listen, key, value);
    if (is(key, "tls_cert")) return take_text(p, s->tls_cert, sizeof s->tls_cert, key, value);
    if (is(key, "tls_key")) return take_text(p, s->tls_key, sizeof s->tls_key, key, value);
    if (is(key, "public_plain")) {
        if (!is(value, "yes") && !is(value, "no")) return bad_value(p, key, value, "yes or no");
        s->public_plain = is(value, "yes");
        return VCH_OK;
    }
    return vch_fail(p->err, VCH_ERR_FORMAT, "vouch.conf, line %zu: unknown key \"%.*s\" in [serve]", p->line,
                    SHOW(key));
}

static vch_rc take_mode(const parser_t *p, vch_slice_t key, vch_slice_t value)
{
    static const char *const name[] = {"none", "embedded", "served"};
    for (unsigned i = 0; i < sizeof name / sizeof *name; i++)
        if (is(value, name[i])) {
            p->l->in->vault.mode = (vch_vault_mode_t)i;
            return VCH_OK;
        }
    return bad_value(p, key, value, "embedded, served or none");
}

/* "trustee.3": 2, when there may be so many. */
static bool numbered(vch_slice_t key, const char *role, unsigned max, uint64_t *ret)
{
    size_t n = strlen(role);
    if (key.n <= n || memcmp(key.p, role, n) != 0) return false;
    if (vch_decimal_get(ret, vch_slice(key.p + n, key.n - n)) != VCH_OK || *ret < 1 || *ret > max) return false;
    --*ret;
    return true;
}

static vch_rc take_vault(const parser_t *p, vch_slice_t key, vch_slice_t value)
{
    vch_vault_settings_t *s = &p->l->in->vault;
    uint64_t i;
    if (is(key, "mode")) return take_mode(p, key, value);
    if (numbered(key, "trustee.", VCH_KT_SETS_MAX, &i))
        return take_text(p, s->trustee[i], VCH_ROLE_URL_MAX, key, value);
    if (numbered(key, "storage.", VCH_STORAGE_MAX, &i)) return take_text(p, s->server[i], VCH_ROLE_URL_MAX, key, value);
    return vch_fail(p->err, VCH_ERR_FORMAT, "vouch.conf, line %zu: unknown key \"%.*s\" in [vault]", p->line,
                    SHOW(key));
}

static vch_rc take_setting(const parser_t *p, vch_slice_t key, vch_slice_t value)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (is(p->section, numbers[i].section) && is(key, numbers[i].key))
            return take_number(p, &numbers[i], key, value);
    if (is(p->section, "ledger") && is(key, "read")) return take_read(p, key, value);
    if (is(p->section, "serve")) return take_serve(p, key, value);
    if (is(p->section, "vault")) return take_vault(p, key, value);
    if (is(p->section, "witness") && is(key, "policy")) {
        if (value.n == 0) return bad_value(p, key, value, "a file");
        return take_text(p, p->l->in->witness_policy, sizeof p->l->in->witness_policy, key, value);
    }
    if (is(p->section, "identity") && is(key, "default"))
        return take_text(p, p->l->identity_default, sizeof p->l->identity_default, key, value);
    if (is(p->section, "identity") && is(key, "keys")) return take_keys(p, key, value);
    return vch_fail(p->err, VCH_ERR_FORMAT, "vouch.conf, line %zu: unknown key \"%.*s\" in [%.*s]", p->line, SHOW(key),
                    SHOW(p->section));
}

static vch_rc take_section(parser_t *p, vch_slice_t line)
{
    vch_slice_t name = vch_slice(line.p + 1, line.n - 1);
    if (name.n == 0 || name.p[name.n - 1] != ']')
        return vch_fail(p->err, VCH_ERR_FORMAT, "vouch.conf, line %zu: a section ends in ]", p->line);
    name.n--;
    if (!is(name, "ledger") && !is(name, "identity") && !is(name, "serve") && !is(name, "witness") &&
        !is(name, "vault") && !is(name, "clock"))
        return vch_fail(p->err, VCH_ERR_FORMAT, "vouch.conf, line %zu: unknown section [%.*s]", p->line, SHOW(name));
    p->section = name;
    return VCH_OK;
}

static vch_rc take_line(parser_t *p, vch_slice_t line)
{
    line = trim(line);
    if (line.n == 0 || *line.p == '#' || *line.p == ';') return VCH_OK;
    if (*line.p == '[') return take_section(p, line);
    const uint8_t *eq = memchr(line.p, '=', line.n);
    if (!eq)
        return vch_fail(p->err, VCH_ERR_FORMAT, "vouch.conf, line %zu: neither key = value nor [section]", p->line);
    size_t n = (size_t)(eq - line.p);
    return take_setting(p, trim(vch_slice(line.p, n)), trim(vch_slice(eq + 1, line.n - n - 1)));
}

vch_rc nd_conf_read(vch_ledger_t *l, vch_slice_t text, vch_err_t *err)
{
    parser_t p = {.l = l, .section = vch_str("ledger"), .line = 1, .err = err};
    for (; text.n; p.line++) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        VCH_TRY(take_line(&p, vch_slice(text.p, n)));
        size_t used = end ? n + 1 : n;
        text = vch_slice(text.p + used, text.n - used);
    }
    return VCH_OK;
}

void vch_ledger_serve_settings(vch_ledger_t *l, vch_serve_settings_t *ret)
{
    pthread_mutex_lock(&l->mutex);
    *ret = l->in->serve;
    pthread_mutex_unlock(&l->mutex);
}
