/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens for programs that hold no party's key.  DIR/tokens, mode 0600:
 *
 *   vouchsafe tokens 1
 *   <name> <scope> <made, ms> <ends, ms> <SHA-256 of the token's text, hex>
 *   end <SHA-256 of all lines above, hex>
 *
 * A token's text is 32 random bytes in base64url and is shown once.  The file is
 * read at each use, so a revoked one is refused at once; a damaged one lets
 * nobody in (docs/formats/tokens.md). */
#include "codec/text.h"
#include "crypto/sha256.h"
#include "node/node_int.h"
#include "node/service.h"

#define TOKEN_LEN 43
#define FILE_MAX (256u << 10)
#define TOKENS_MAX 1000u
#define NAME_MAX_BYTES 64u
#define DAYS_MAX 3650u
#define DAY_MS 86400000u

static const char head[] = "vouchsafe tokens 1\n";
#define HEAD_LEN (sizeof head - 1)
#define END_LEN 69

static const char *const scopes[] = {"read", "statements", "operator"};
#define SCOPES (sizeof scopes / sizeof *scopes)

typedef struct {
    vch_slice_t line; /* with its newline */
    vch_slice_t name;
    vch_scope_t scope;
    uint64_t made, ends;
    vch_hash_t hash;
} token_t;

/* ---- the file ----------------------------------------------------------------------- */

static bool scope_get(vch_slice_t text, vch_scope_t *ret)
{
    for (size_t i = 0; i < SCOPES; i++)
        if (vch_slice_eq(text, vch_str(scopes[i]))) {
            *ret = (vch_scope_t)i;
            return true;
        }
    return false;
}

static bool name_is_good(vch_slice_t name)
{
    if (name.n == 0 || name.n > NAME_MAX_BYTES) return false;
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (i == 0 || (c != '-' && c != '_' && c != '.'))) return false;
    }
    return true;
}

/* The word before the next blank or newline. */
static vch_slice_t take_word(vch_slice_t *rest)
{
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\n') n++;
    vch_slice_t word = vch_slice(rest->p, n);
    if (n < rest->n) n++;
    *rest = vch_slice(rest->p + n, rest->n - n);
    return word;
}

static bool token_get(token_t *t, vch_slice_t line)
{
    char hex[65];
    vch_slice_t rest = line;
    t->line = line;
    t->name = take_word(&rest);
    if (!name_is_good(t->name) || !scope_get(take_word(&rest), &t->scope)) return false;
    if (vch_decimal_get(&t->made, take_word(&rest)) != VCH_OK) return false;
    if (vch_decimal_get(&t->ends, take_word(&rest)) != VCH_OK) return false;
    vch_slice_t hash = take_word(&rest);
    if (rest.n || !vch_unhex(t->hash.b, 32, (const char *)hash.p, hash.n)) return false;
    vch_hex(hex, t->hash.b, 32);
    return memcmp(hash.p, hex, 64) == 0; /* in small letters, as it is written */
}

typedef vch_rc (*token_fn)(void *ctx, const token_t *);

static vch_rc damaged(vch_err_t *err, const char *what)
{
    return vch_hint(err, vch_fail(err, VCH_ERR_CORRUPT, "tokens: %s", what),
                    "remove the file and make new tokens; nobody gets in by one until then");
}

static void put_end(char ret[END_LEN + 1], vch_slice_t above)
{
    vch_hash_t hash;
    vch_sha256(&hash, above.p, above.n);
    memcpy(ret, "end ", 4);
    vch_hex(ret + 4, hash.b, 32);
    memcpy(ret + 68, "\n", 2);
}

/* Each token in the file's text, which must be whole. */
static vch_rc each(vch_slice_t text, token_fn fn, void *ctx, vch_err_t *err)
{
    char end[END_LEN + 1];
    if (text.n == 0) return VCH_OK;
    if (text.n < HEAD_LEN + END_LEN || memcmp(text.p, head, HEAD_LEN) != 0)
        return damaged(err, "this is no list of tokens");
    text.n -= END_LEN;
    put_end(end, text);
    if (memcmp(text.p + text.n, end, END_LEN) != 0) return damaged(err, "it is not what was written");
    text = vch_slice(text.p + HEAD_LEN, text.n - HEAD_LEN);
    for (unsigned seen = 0; text.n; seen++) {
        token_t t;
        if (seen == TOKENS_MAX) return damaged(err, "there are more than it may hold");
        const uint8_t *newline = memchr(text.p, '\n', text.n);
        size_t n = newline ? (size_t)(newline - text.p) + 1 : text.n;
        if (!newline || !token_get(&t, vch_slice(text.p, n))) return damaged(err, "a line is malformed");
        VCH_TRY(fn(ctx, &t));
        text = vch_slice(text.p + n, text.n - n);
    }
    return VCH_OK;
}

static vch_rc read_file(vch_port_t *port, const char *dir, vch_buf_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    if (vch_path(path, "%s/tokens", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_rc rc = vch_read_all(port, ret, path, FILE_MAX, err);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    if (err) *err = (vch_err_t){.rc = VCH_OK};
    return VCH_OK;
}

static vch_rc write_file(vch_ledger_t *l, vch_buf_t *text, vch_err_t *err)
{
    char path[VCH_PATH_MAX], end[END_LEN + 1];
    if (vch_ledger_path(l, path, "tokens") != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    put_end(end, vch_buf_slice(text));
    VCH_TRY(vch_buf_put(text, end, END_LEN));
    return vch_write_atomic(l->port, path, vch_buf_slice(text), 0600, err);
}

static vch_rc look_at(void *ctx, const token_t *t)
{
    (void)ctx;
    (void)t;
    return VCH_OK;
}

vch_rc nd_tokens_check(vch_port_t *port, const char *dir, vch_err_t *err)
{
    vch_buf_t text;
    vch_buf_init(&text, FILE_MAX);
    vch_rc rc = read_file(port, dir, &text, err);
    if (rc == VCH_OK) rc = each(vch_buf_slice(&text), look_at, NULL, err);
    vch_buf_free(&text);
    return nd_told(rc, err);
}

/* ---- asking ---------------------------------------------------------------------------- */

typedef struct {
    vch_hash_t hash;
    vch_time_t now;
    vch_scope_t scope;
    bool found;
} search_t;

static vch_rc match(void *ctx, const token_t *t)
{
    search_t *s = ctx;
    if (!vch_hash_eq(&t->hash, &s->hash) || t->ends <= s->now.ms) return VCH_OK;
    s->found = true;
    s->scope = t->scope;
    return VCH_OK;
}

/* What is compared is a hash: how long that takes tells nothing of the token. */
vch_rc vch_token_scope(vch_ledger_t *l, vch_slice_t secret, vch_time_t now, vch_scope_t *ret, vch_err_t *err)
{
    search_t s = {.now = now};
    vch_buf_t text;
    if (secret.n != TOKEN_LEN) return vch_fail(err, VCH_ERR_KEY, "this is no token");
    vch_sha256(&s.hash, secret.p, secret.n);
    vch_buf_init(&text, FILE_MAX);
    vch_rc rc = read_file(l->port, l->dir, &text, err);
    if (rc == VCH_OK) rc = each(vch_buf_slice(&text), match, &s, err);
    vch_buf_free(&text);
    if (rc != VCH_OK) return rc;
    if (!s.found) return vch_fail(err, VCH_ERR_KEY, "this token is unknown or expired");
    *ret = s.scope;
    return VCH_OK;
}

/* ---- changing ----------------------------------------------------------------------------- */

typedef struct {
    const char *name; /* to be left out */
    vch_buf_t *out;
    size_t kept;
    bool found;
} rewrite_t;

static vch_rc keep(void *ctx, const token_t *t)
{
    rewrite_t *r = ctx;
    if (vch_slice_eq(t->name, vch_str(r->name))) {
        r->found = true;
        return VCH_OK;
    }
    r->kept++;
    return vch_buf_put(r->out, t->line.p, t->line.n);
}

/* All lines but the one of this name, into `out`. */
static vch_rc rewrite(vch_ledger_t *l, rewrite_t *r, vch_err_t *err)
{
    vch_buf_t text;
    vch_buf_init(&text, FILE_MAX);
    vch_rc rc = read_file(l->port, l->dir, &text, err);
    if (rc == VCH_OK) rc = vch_buf_put(r->out, head, HEAD_LEN);
    if (rc == VCH_OK) rc = each(vch_buf_slice(&text), keep, r, err);
    vch_buf_free(&text);
    return rc;
}

/* One writer at a time, also among processes. */
static vch_rc begin(vch_ledger_t *l, vch_err_t *err)
{
    if (l->flags & VCH_LEDGER_READ_ONLY)
        return vch_fail(err, VCH_ERR_READ_ONLY, "the ledger was opened for reading only");
    pthread_mutex_lock(&l->mutex);
    vch_rc rc = l->port->disk->lock(l->port, l->lock_file, VCH_LOCK_EXCLUSIVE, l->lock_wait_ms);
    if (rc == VCH_OK) return rc;
    pthread_mutex_unlock(&l->mutex);
    return vch_hint(err, vch_fail(err, rc, "waiting for the writer lock of %s: %s", l->dir, vch_rc_text(rc)),
                    "another process is writing; try again");
}

static void end(vch_ledger_t *l)
{
    l->port->disk->unlock(l->port, l->lock_file);
    pthread_mutex_unlock(&l->mutex);
}

static vch_rc draw(vch_ledger_t *l, vch_token_t *ret, vch_err_t *err)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bytes[33] = {0}; /* base64url without padding: 43 digits of 6 bits, the last 2 bits zero */
    vch_rc rc = vch_random(l->port, bytes, 32, err);
    for (size_t i = 0; rc == VCH_OK && i < sizeof ret->text - 1; i++) {
        unsigned bit = (unsigned)(6 * i), two = (unsigned)(bytes[bit / 8] << 8 | bytes[bit / 8 + 1]);
        ret->text[i] = digit[two >> (10 - bit % 8) & 63];
    }
    ret->text[sizeof ret->text - 1] = 0;
    vch_wipe(bytes, sizeof bytes);
    return rc;
}

static vch_rc add(vch_ledger_t *l, const char *name, const char *scope, uint32_t days, const vch_token_t *token,
                  vch_buf_t *out, vch_err_t *err)
{
    rewrite_t r = {.name = name, .out = out};
    uint64_t now = l->port->clock->wall_ms(l->port);
    vch_hash_t hash;
    char hex[65];
    VCH_TRY(rewrite(l, &r, err));
    if (r.found)
        return vch_hint(err, vch_fail(err, VCH_ERR_CONFLICT, "there is a token named \"%s\" already", name),
                        "choose another name, or revoke that one first");
    if (r.kept >= TOKENS_MAX)
        return vch_hint(err, vch_fail(err, VCH_ERR_LIMIT, "there are %u tokens already", TOKENS_MAX),
                        "revoke those that nobody uses");
    vch_sha256(&hash, token->text, strlen(token->text));
    vch_hex(hex, hash.b, 32);
    VCH_TRY(vch_buf_printf(out, "%s %s %llu %llu %s\n", name, scope, (unsigned long long)now,
                           (unsigned long long)(now + (uint64_t)days * DAY_MS), hex));
    return write_file(l, out, err);
}

vch_rc vch_token_new(vch_ledger_t *l, const char *name, const char *scope, uint32_t days, vch_token_t *ret,
                     vch_err_t *err)
{
    vch_scope_t known;
    vch_token_t token;
    vch_buf_t out;
    if (!name || !name_is_good(vch_str(name)))
        return vch_fail(err, VCH_ERR_USAGE, "\"%.80s\" can't name a token: 1 to 64 letters, digits, '.', '_' or '-'",
                        name ? name : "");
    if (!scope || !scope_get(vch_str(scope), &known))
        return vch_fail(err, VCH_ERR_USAGE, "a token's scope is read, statements or operator, not \"%.40s\"",
                        scope ? scope : "");
    if (days == 0 || days > DAYS_MAX)
        return vch_fail(err, VCH_ERR_USAGE, "a token lasts 1 to %u days, not %u", DAYS_MAX, days);
    VCH_TRY(draw(l, &token, err));
    vch_buf_init(&out, FILE_MAX);
    vch_rc rc = begin(l, err);
    if (rc == VCH_OK) {
        rc = nd_told(add(l, name, scope, days, &token, &out, err), err);
        end(l);
    }
    if (rc == VCH_OK) *ret = token;
    vch_wipe(&token, sizeof token);
    vch_buf_free(&out);
    return rc;
}

static vch_rc drop(vch_ledger_t *l, const char *name, vch_buf_t *out, vch_err_t *err)
{
    rewrite_t r = {.name = name, .out = out};
    VCH_TRY(rewrite(l, &r, err));
    if (!r.found)
        return vch_hint(err, vch_fail(err, VCH_ERR_NOT_FOUND, "there is no token named \"%.80s\"", name),
                        "list them: vouch token list");
    return write_file(l, out, err);
}

vch_rc vch_token_revoke(vch_ledger_t *l, const char *name, vch_err_t *err)
{
    vch_buf_t out;
    vch_buf_init(&out, FILE_MAX);
    vch_rc rc = begin(l, err);
    if (rc == VCH_OK) {
        rc = nd_told(drop(l, name, &out, err), err);
        end(l);
    }
    vch_buf_free(&out);
    return rc;
}

/* ---- listing --------------------------------------------------------------------------------- */

typedef struct {
    vch_buf_t *out;
    uint64_t now;
    bool any;
} list_t;

static vch_rc show(void *ctx, const token_t *t)
{
    list_t *list = ctx;
    VCH_TRY(vch_buf_printf(list->out, "%s{\"name\":\"%.*s\",\"scope\":\"%s\",", list->any ? "," : "", (int)t->name.n,
                           (const char *)t->name.p, scopes[t->scope]));
    list->any = true;
    VCH_TRY(nd_put_time(list->out, "made", (vch_time_t){t->made}));
    VCH_TRY(vch_buf_u8(list->out, ','));
    VCH_TRY(nd_put_time(list->out, "ends", (vch_time_t){t->ends}));
    return vch_buf_printf(list->out, ",\"expired\":%s}", t->ends <= list->now ? "true" : "false");
}

vch_rc vch_token_list(vch_ledger_t *l, vch_text_t *ret_json, vch_err_t *err)
{
    vch_buf_t text, out;
    list_t list = {.out = &out, .now = l->port->clock->wall_ms(l->port)};
    vch_buf_init(&text, FILE_MAX);
    vch_buf_init(&out, 4 * FILE_MAX);
    vch_rc rc = read_file(l->port, l->dir, &text, err);
    if (rc == VCH_OK) rc = vch_buf_u8(&out, '[');
    if (rc == VCH_OK) rc = each(vch_buf_slice(&text), show, &list, err);
    if (rc == VCH_OK) rc = vch_buf_u8(&out, ']');
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &out);
    vch_buf_free(&text);
    vch_buf_free(&out);
    return nd_told(rc, err);
}
