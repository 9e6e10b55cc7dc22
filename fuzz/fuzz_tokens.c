/* SPDX-License-Identifier: Apache-2.0 */
/* The file of tokens: what is listed, who gets in, and what is left of it after
 * a token came and went.  The first byte of the input says whether head and end
 * are put around it first, so that mutations reach the lines behind the hash.
 *
 * A file that anything reads, everything reads; then its lines are those of its
 * format, one by one, a secret opens it only by its hash, and a token that is
 * added and revoked leaves the same bytes.  A refused one lets nobody in. */
#include <assert.h>

#include "codec/json.h"
#include "crypto/sha256.h"
#include "node/node_int.h"
#include "node/service.h"
#include "port/sim.h"

#define INPUT_MAX (1u << 16)
#define TOKENS_MAX 1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static vch_ledger_t ledger = {.dir = "l", .mutex = PTHREAD_MUTEX_INITIALIZER};
static const char secret[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"; /* of the seeds */

/* ---- the format once more ------------------------------------------------------------ */

static size_t span(vch_slice_t s, const char *of)
{
    size_t n = 0;
    while (n < s.n && s.p[n] && strchr(of, s.p[n])) n++;
    return n;
}

/* Takes one word of these characters and the `end` behind it; 0: it is none. */
static size_t word(vch_slice_t *s, const char *of, char end)
{
    size_t n = span(*s, of);
    if (n == s->n || s->p[n] != end) return 0;
    *s = vch_slice(s->p + n + 1, s->n - n - 1);
    return n;
}

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static void check_line(vch_slice_t *s)
{
    vch_slice_t name = *s;
    size_t n = word(s, LETTERS DIGITS "._-", ' ');
    assert(n >= 1 && n <= 64 && !strchr("._-", name.p[0]));
    assert(word(s, "adehmnoprst", ' ') > 0);
    for (unsigned i = 0; i < 2; i++) {
        bool zero = s->n && s->p[0] == '0';
        n = word(s, DIGITS, ' ');
        assert(n >= 1 && n <= 20 && (!zero || n == 1));
    }
    assert(word(s, DIGITS "abcdef", '\n') == 64);
}

static size_t check_lines(vch_slice_t file)
{
    size_t lines = 0;
    if (file.n == 0) return 0;
    assert(file.n >= 19 + 69);
    vch_slice_t s = vch_slice(file.p + 19, file.n - 19 - 69);
    for (; s.n; lines++) check_line(&s);
    return lines;
}

/* ---- using it ---------------------------------------------------------------------------- */

static vch_rc scope_of(const char *text, vch_scope_t *ret)
{
    vch_err_t err = {.rc = VCH_OK};
    vch_time_t now = {ledger.port->clock->wall_ms(ledger.port)};
    vch_rc rc = vch_token_scope(&ledger, vch_str(text), now, ret, &err);
    assert(rc == VCH_OK || err.text[0]);
    return rc;
}

static vch_rc list(size_t lines)
{
    vch_err_t err = {.rc = VCH_OK};
    vch_text_t json;
    size_t found = 0;
    vch_rc rc = vch_token_list(&ledger, &json, &err);
    if (rc != VCH_OK) return rc;
    vch_slice_t left = vch_slice((const uint8_t *)json.p, json.n);
    for (const uint8_t *p; (p = memmem(left.p, left.n, "{\"name\":\"", 9)) != NULL; found++)
        left = vch_slice(p + 1, left.n - (size_t)(p + 1 - left.p));
    assert(found == lines && json.n >= 2 && json.p[0] == '[' && json.p[json.n - 1] == ']');
    vch_text_free(&json);
    return rc;
}

/* A name that the file may hold already, or has no room for, is refused. */
static void come_and_go(vch_slice_t before, size_t lines)
{
    vch_token_t token;
    vch_scope_t scope = VCH_SCOPE_READ;
    vch_err_t err = {.rc = VCH_OK};
    vch_buf_t now;
    vch_rc rc = vch_token_new(&ledger, "guest", "statements", 1, &token, &err);
    bool there = before.n && memmem(before.p, before.n, "\nguest ", 7) != NULL;
    assert(rc == (there ? VCH_ERR_CONFLICT : lines >= TOKENS_MAX ? VCH_ERR_LIMIT : VCH_OK));
    if (rc != VCH_OK) return;
    rc = scope_of(token.text, &scope);
    assert(rc == VCH_OK && scope == VCH_SCOPE_STATEMENTS);
    rc = vch_token_revoke(&ledger, "guest", &err);
    assert(rc == VCH_OK && scope_of(token.text, &scope) == VCH_ERR_KEY);
    vch_buf_init(&now, 2 * INPUT_MAX);
    rc = vch_read_all(ledger.port, &now, "l/tokens", 2 * INPUT_MAX, &err);
    assert(rc == VCH_OK && (before.n == 0 || vch_slice_eq(vch_buf_slice(&now), before)));
    vch_buf_free(&now);
}

static void use(vch_slice_t file)
{
    vch_err_t err = {.rc = VCH_OK};
    vch_scope_t scope = VCH_SCOPE_READ;
    vch_hash_t hash;
    char hex[65];
    vch_rc rc = nd_tokens_check(ledger.port, ledger.dir, &err), known = scope_of(secret, &scope);
    assert(rc == VCH_OK || (rc == VCH_ERR_CORRUPT && err.text[0]));
    size_t lines = rc == VCH_OK ? check_lines(file) : 0;
    assert(list(lines) == rc);
    if (rc != VCH_OK) {
        vch_token_t token;
        assert(known == rc && vch_token_new(&ledger, "guest", "read", 1, &token, &err) == rc);
        assert(vch_token_revoke(&ledger, "robot-7", &err) == rc);
        return;
    }
    vch_sha256(&hash, secret, sizeof secret - 1);
    vch_hex(hex, hash.b, 32);
    assert(known == VCH_ERR_KEY || (known == VCH_OK && memmem(file.p, file.n, hex, 64)));
    come_and_go(file, lines);
}

/* Head and end around the lines. */
static vch_rc mend(vch_buf_t *b, vch_slice_t lines)
{
    vch_hash_t hash;
    char hex[65];
    VCH_TRY(vch_buf_printf(b, "vouchsafe tokens 1\n"));
    VCH_TRY(vch_buf_put(b, lines.p, lines.n));
    vch_sha256(&hash, b->p, b->n);
    vch_hex(hex, hash.b, 32);
    return vch_buf_printf(b, "end %s\n", hex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_sim_t *sim = NULL;
    vch_buf_t file;
    if (n < 1 || n > INPUT_MAX || vch_sim_new(&sim, 1) != VCH_OK) return 0;
    vch_slice_t in = vch_slice(data + 1, n - 1);
    vch_port_t *port = ledger.port = vch_sim_port(sim);
    vch_buf_init(&file, 2 * INPUT_MAX);
    vch_rc rc = data[0] & 1 ? mend(&file, in) : vch_buf_put(&file, in.p, in.n);
    if (rc == VCH_OK) rc = vch_mkdirs(port, "l", NULL);
    if (rc == VCH_OK) rc = vch_write_atomic(port, "l/tokens", vch_buf_slice(&file), 0600, NULL);
    if (rc == VCH_OK) rc = vch_file_open(port, &ledger.lock_file, "l/lock", VCH_OPEN_CREATE, NULL);
    assert(rc == VCH_OK);
    use(vch_buf_slice(&file));
    vch_file_close(port, ledger.lock_file);
    vch_buf_free(&file);
    vch_sim_free(sim);
    return 0;
}
