/* SPDX-License-Identifier: Apache-2.0 */
/* Trustees whose root keys are in a PKCS#11 token (SoftHSM, a token directory of
 * its own in the test's folder), under a passphrase, or in the file: what an
 * erasure destroys, what a copy of the folder is worth then, and which grade is
 * claimed; and secrets, tokens and files that are wrong or missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/erasure.h"
#include "node/guard_int.h"
#include "ledger_help.h"
#include "vault_world.h"

#define ERASED 7u
#define PIN "87654321"
#define MODULE "/usr/lib/softhsm/libsofthsm2.so"

/* ---- the token ------------------------------------------------------------------------ */

static void shell(const char *fmt, const char *a, const char *b)
{
    char command[800];
    snprintf(command, sizeof command, fmt, a, b);
    if (lh_shell(command) != 0) fail_msg("%s", command);
}

static void put_file(world_t *w, const char *name, const char *text, unsigned mode)
{
    char path[VCH_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    OK(vch_write_atomic(vch_port_real(), path, vch_str(text), mode, &w->err));
}

static void init_token(const char *label)
{
    shell("softhsm2-util --init-token --free --label %s --so-pin 12345678 --pin " PIN " >/dev/null%s", label, "");
}

static void make_token(world_t *w)
{
    char text[300], path[128];
    snprintf(path, sizeof path, "%s/tokens", w->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(text, sizeof text, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", path);
    put_file(w, "softhsm.conf", text, 0600);
    snprintf(path, sizeof path, "%s/softhsm.conf", w->dir);
    assert_int_equal(setenv("SOFTHSM2_CONF", path, 1), 0);
    init_token("vault");
    put_file(w, "pin", PIN "\n", 0600);
    put_file(w, "phrase", "correct horse\n", 0600);
}

/* Root keys in the token, as an outsider counts them; their numbers in `list`. */
static unsigned keys_in_token(world_t *w, const char *label, const char *list)
{
    char command[600], path[128], line[300];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/%s", w->dir, list);
    snprintf(command, sizeof command,
             "pkcs11-tool --module " MODULE " --token-label %s --login --pin " PIN
             " --list-objects 2>/dev/null | grep '^ *ID:' | sort >'%s'",
             label, path);
    assert_int_equal(lh_shell(command), 0);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) n++;
    fclose(f);
    return n;
}

static unsigned same_keys(world_t *w, const char *a, const char *b)
{
    char command[300], path[128], line[300];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/both", w->dir);
    snprintf(command, sizeof command, "cd '%s' && comm -12 %s %s >both", w->dir, a, b);
    assert_int_equal(lh_shell(command), 0);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) n++;
    fclose(f);
    return n;
}

/* ---- guards ---------------------------------------------------------------------------- */

static void trustee_dir(world_t *w, unsigned number, char ret[160])
{
    snprintf(ret, 160, "%s/vault/trustee-%u", w->ledger, number);
}

static void settings_of(world_t *w, vch_guard_kind_t kind, char ret[600])
{
    if (kind == VCH_GUARD_FILE) snprintf(ret, 600, "guard = file\n");
    if (kind == VCH_GUARD_PASSPHRASE) snprintf(ret, 600, "guard = passphrase\nsecret_file = %s/phrase\n", w->dir);
    if (kind == VCH_GUARD_TOKEN)
        snprintf(ret, 600, "guard = token\nmodule = " MODULE "\ntoken = vault\nsecret_file = %s/pin\n", w->dir);
}

static void rewrap(world_t *w, unsigned number, vch_guard_kind_t kind, const char *wanted)
{
    char dir[160], text[600];
    vch_text_t json;
    trustee_dir(w, number, dir);
    settings_of(w, kind, text);
    OK(vch_trustee_rewrap(dir, text, &json, &w->err));
    if (!strstr(json.p, wanted)) fail_msg("no %s in %s", wanted, json.p);
    vch_text_free(&json);
}

static void all_in_token(world_t *w)
{
    make_token(w);
    for (unsigned i = 1; i <= 3; i++) rewrap(w, i, VCH_GUARD_TOKEN, "\"was\":\"file\",\"now\":\"token\",\"extents\":0");
    assert_int_equal(keys_in_token(w, "vault", "keys-first"), 3);
}

static void two_in_token(world_t *w)
{
    make_token(w);
    for (unsigned i = 1; i <= 2; i++) rewrap(w, i, VCH_GUARD_TOKEN, "\"now\":\"token\"");
    rewrap(w, 3, VCH_GUARD_PASSPHRASE, "\"was\":\"file\",\"now\":\"passphrase\"");
}

static int set_up_tokens(void **state)
{
    before_data = all_in_token;
    return set_up(state);
}

static int set_up_mixed(void **state)
{
    before_data = two_in_token;
    return set_up(state);
}

static int set_up_files(void **state)
{
    before_data = make_token;
    return set_up(state);
}

static void erase(world_t *w)
{
    vch_receipt_t r;
    uint32_t subject = ERASED;
    OK(vch_erasure_request(w->l, w->key, w->w, "cohort", &subject, &subject, 1, &r, &w->err));
}

static void status_is(world_t *w, const char *wanted)
{
    vch_text_t text;
    OK(vch_erasure_status(w->l, "cohort", &text, &w->err));
    if (!strstr(text.p, wanted)) fail_msg("no %s in %s", wanted, text.p);
    vch_text_free(&text);
}

static void rows_come_out(world_t *w, uint64_t want)
{
    uint64_t rows;
    vch_id_t grant = ask_for(w, w->key, NULL, want);
    OK(fetch(w, w->key, &grant, &rows));
    assert_int_equal(rows, want);
}

/* Opens the seeds in a folder with the guard of trustee 1. */
static vch_rc opens(world_t *w, const char *seeds)
{
    char dir[160];
    vch_guard_t *g = NULL;
    vch_seeds_t *s = NULL;
    trustee_dir(w, 1, dir);
    w->err = (vch_err_t){0};
    vch_rc rc = vch_guard_open(&g, vch_port_real(), dir, &w->err);
    if (rc == VCH_OK) rc = vch_seeds_open(&s, vch_port_real(), seeds, vch_guard_seeds(g), &w->err);
    vch_seeds_close(s);
    vch_guard_close(g);
    return rc;
}

/* ---- grade A -------------------------------------------------------------------------------- */

static void erasing_destroys_in_the_token(void **state)
{
    world_t *w = *state;
    char dir[160], old[160];
    trustee_dir(w, 1, dir);
    snprintf(old, sizeof old, "%s/old", w->dir);
    shell("cp -r '%s/seeds' '%s'", dir, old);
    assert_int_equal(keys_in_token(w, "vault", "keys-before"), 3);
    assert_int_equal(same_keys(w, "keys-first", "keys-before"), 3); /* adding takes no new key */
    OK(opens(w, old));                                              /* until then the copy opens */
    erase(w);
    assert_int_equal(keys_in_token(w, "vault", "keys-after"), 3);
    assert_int_equal(same_keys(w, "keys-before", "keys-after"), 0);
    IS(VCH_ERR_KEY, opens(w, old));
    assert_non_null(strstr(w->err.text, "was destroyed"));
    status_is(w, "\"state\":\"complete\",\"grade\":\"A: keys in a token, destroyed there\"");
    rows_come_out(w, GIVEN - 1);
    assert_int_equal(keys_in_token(w, "vault", "keys-last"), 3);
    assert_int_equal(same_keys(w, "keys-after", "keys-last"), 3);
}

static void one_without_a_token_is_b(void **state)
{
    world_t *w = *state;
    erase(w);
    status_is(w, "\"state\":\"complete\",\"grade\":\"B: files, live copy only\"");
    assert_int_equal(keys_in_token(w, "vault", "keys"), 2);
    rows_come_out(w, GIVEN - 1);
}

/* A copy of the file from before would still open what was dealt then. */
static void dealt_before_the_token_is_b(void **state)
{
    world_t *w = *state;
    vch_ingest_t in;
    for (unsigned i = 1; i <= 3; i++)
        rewrap(w, i, VCH_GUARD_TOKEN, "\"was\":\"file\",\"now\":\"token\",\"extents\":1,\"of grade A\":0");
    erase(w);
    status_is(w, "\"grade\":\"B: files, live copy only\"");
    rows_come_out(w, GIVEN - 1);
    /* what is dealt from then on is of grade A; in one trustee both are told apart */
    FILE *f = fopen(w->csv, "ab");
    fprintf(f, "owner-77,1,2,0\n");
    fclose(f);
    OK(vch_dataset_add(w->l, w->key, "cohort", w->csv, w->owners, NULL, NULL, &in, &w->err));
    uint32_t last;
    vch_receipt_t r;
    OK(vch_subject_find(w->l, "cohort", "owner-77", &last, &w->err));
    OK(vch_erasure_request(w->l, w->key, NULL, "cohort", &last, NULL, 1, &r, &w->err));
    status_is(w, "\"grade\":\"A: keys in a token, destroyed there\"");
    status_is(w, "\"grade\":\"B: files, live copy only\"");
}

static void out_of_the_token_and_back_is_b(void **state)
{
    world_t *w = *state;
    rewrap(w, 1, VCH_GUARD_FILE, "\"was\":\"token\",\"now\":\"file\",\"extents\":1,\"of grade A\":0");
    assert_int_equal(keys_in_token(w, "vault", "keys"), 2);
    rewrap(w, 1, VCH_GUARD_TOKEN, "\"was\":\"file\",\"now\":\"token\",\"extents\":1,\"of grade A\":0");
    assert_int_equal(keys_in_token(w, "vault", "keys"), 3);
    rewrap(w, 2, VCH_GUARD_TOKEN, "\"was\":\"token\",\"now\":\"token\",\"extents\":1,\"of grade A\":1");
    assert_int_equal(keys_in_token(w, "vault", "keys"), 3);
    erase(w);
    status_is(w, "\"grade\":\"B: files, live copy only\"");
    rows_come_out(w, GIVEN - 1);
}

/* ---- what is wrong is told, and nothing is lost ------------------------------------------------- */

/* Trustee 1 is away for this reason, the others go on; and then it is there again. */
static void away(world_t *w, const char *why)
{
    vch_text_t text;
    OK(vch_vault_status(w->l, &text, &w->err));
    if (!strstr(text.p, "\"trustee-1\",\"here\":false") || !strstr(text.p, why)) fail_msg("no %s in %s", why, text.p);
    vch_text_free(&text);
    rows_come_out(w, GIVEN);
}

static void back(world_t *w)
{
    vch_text_t text;
    OK(vch_vault_status(w->l, &text, &w->err));
    if (strstr(text.p, "\"here\":false")) fail_msg("%s", text.p);
    vch_text_free(&text);
    assert_int_equal(keys_in_token(w, "vault", "keys-now"), 3);
    assert_int_equal(same_keys(w, "keys-first", "keys-now"), 3);
}

static void conf_of_one(world_t *w, const char *fmt, const char *arg)
{
    char dir[160], path[200], text[600];
    trustee_dir(w, 1, dir);
    snprintf(path, sizeof path, "%s/guard.conf", dir);
    snprintf(text, sizeof text, fmt, arg);
    OK(vch_write_atomic(vch_port_real(), path, vch_str(text), 0600, &w->err));
}

#define TOKEN_CONF "guard = token\nmodule = " MODULE "\ntoken = vault\nsecret_file = %s/pin-1\n"

static void wrong_secrets(void **state)
{
    world_t *w = *state;
    conf_of_one(w, TOKEN_CONF, w->dir);
    away(w, "secret_file: not found");
    put_file(w, "pin-1", "87654320\n", 0600);
    away(w, "token vault: logging in: the PIN is wrong");
    put_file(w, "pin-1", PIN "\n", 0644);
    away(w, "secret_file: others can read it (mode 0644)");
    put_file(w, "pin-1", PIN "\n", 0600);
    back(w);
}

static void wrong_tokens(void **state)
{
    world_t *w = *state;
    conf_of_one(w, "guard = token\nmodule = " MODULE "\ntoken = vaultt\nsecret_file = %s/pin\n", w->dir);
    away(w, "token vaultt: it is not there");
    conf_of_one(w, "guard = token\nmodule = /nowhere/module.so\ntoken = vault\nsecret_file = %s/pin\n", w->dir);
    away(w, "module can't be loaded");
    conf_of_one(w, "guard = token\nmodule = libz.so.1\ntoken = vault\nsecret_file = %s/pin\n", w->dir);
    away(w, "module is no PKCS#11 library");
    init_token("second");
    conf_of_one(w, "guard = token\nmodule = " MODULE "\ntoken = second\nsecret_file = %s/pin\n", w->dir);
    away(w, "token second: the key of this root was destroyed, or is in another token");
    conf_of_one(w, "guard = passphrase\nsecret_file = %s/phrase\n", w->dir);
    away(w, "the root key is not under a passphrase");
    conf_of_one(w, "guard = token\nmodul%s", " = x\n");
    away(w, "guard.conf, line 2: unknown key");
    init_token("vault");
    conf_of_one(w, "guard = token\nmodule = " MODULE "\ntoken = second\nsecret_file = %s/pin\n", w->dir);
    vch_text_t text;
    OK(vch_vault_status(w->l, &text, &w->err)); /* trustees 2 and 3: which of the two tokens is not guessed */
    if (!strstr(text.p, "token vault: two have that label")) fail_msg("%s", text.p);
    vch_text_free(&text);
}

static void a_missing_token(void **state)
{
    world_t *w = *state;
    char here[100], there[100];
    vch_text_t text;
    snprintf(here, sizeof here, "%s/tokens", w->dir);
    snprintf(there, sizeof there, "%s/tokens-away", w->dir);
    shell("mv '%s' '%s'", here, there);
    assert_int_equal(mkdir(here, 0700), 0);
    OK(vch_vault_status(w->l, &text, &w->err));
    if (!strstr(text.p, "token vault: it is not there")) fail_msg("%s", text.p);
    vch_text_free(&text);
    uint64_t rows;
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    assert_int_not_equal(fetch(w, w->key, &grant, &rows), VCH_OK); /* all three are in it */
    assert_int_equal(rmdir(here), 0);
    shell("mv '%s' '%s'", there, here);
    back(w);
    rows_come_out(w, GIVEN);
}

/* A folder whose seeds are mislaid begins anew, and does not touch the key that opens them. */
static void mislaid_seeds(void **state)
{
    world_t *w = *state;
    char dir[160], away_at[100];
    vch_text_t text;
    trustee_dir(w, 1, dir);
    snprintf(away_at, sizeof away_at, "%s/seeds-away", w->dir);
    shell("mv '%s/seeds' '%s'", dir, away_at);
    OK(vch_vault_status(w->l, &text, &w->err));
    vch_text_free(&text);
    assert_int_equal(keys_in_token(w, "vault", "keys"), 4);
    rows_come_out(w, GIVEN);
    shell("rm -r '%s/seeds'%s", dir, "");
    shell("mv '%s' '%s/seeds'", away_at, dir);
    OK(vch_vault_status(w->l, &text, &w->err));
    if (strstr(text.p, "\"here\":false")) fail_msg("%s", text.p);
    vch_text_free(&text);
    erase(w);
    status_is(w, "\"state\":\"complete\",\"grade\":\"A");
}

/* Gone while the trustee wants to forget: the word isn't given; once it is back, all is done. */
static void no_word_without_the_token(void **state)
{
    world_t *w = *state;
    char here[100], there[100];
    vch_receipt_t r;
    uint32_t subject = ERASED;
    snprintf(here, sizeof here, "%s/tokens", w->dir);
    snprintf(there, sizeof there, "%s/tokens-away", w->dir);
    shell("mv '%s' '%s'", here, there);
    assert_int_equal(mkdir(here, 0700), 0);
    OK(vch_erasure_request(w->l, w->key, w->w, "cohort", &subject, &subject, 1, &r, &w->err));
    status_is(w, "\"destroyed by\":0,\"of\":3,\"provisional at\":2}],\"state\":\"pending\",\"grade\":\"none yet\"");
    assert_int_equal(rmdir(here), 0);
    shell("mv '%s' '%s'", there, here);
    OK(vch_vault_up(w->l, w->key, &w->err));
    status_is(w, "\"state\":\"complete\",\"grade\":\"A");
    assert_int_equal(keys_in_token(w, "vault", "keys-after"), 3);
    assert_int_equal(same_keys(w, "keys-first", "keys-after"), 0);
}

/* ---- the guard alone ------------------------------------------------------------------------------- */

static vch_guard_t *token_guard(world_t *w)
{
    char dir[160];
    vch_guard_t *g;
    trustee_dir(w, 1, dir);
    OK(vch_guard_open(&g, vch_port_real(), dir, &w->err));
    return g;
}

static void every_bit_of_a_wrapped_key(void **state)
{
    world_t *w = *state;
    uint8_t key[32], got[32];
    vch_buf_t b;
    vch_guard_t *g = token_guard(w);
    const vch_seeds_guard_t *s = vch_guard_seeds(g);
    for (int i = 0; i < 32; i++) key[i] = (uint8_t)(i + 1);
    vch_buf_init(&b, VCH_WRAPPED_MAX);
    OK(s->wrap(s->ctx, &b, key, &w->err));
    assert_int_equal(b.n, GD_TOKEN_SIZE);
    assert_null(memmem(b.p, b.n, key, 8));
    for (size_t bit = 0; bit < 8 * b.n; bit++) {
        memset(got, 0, sizeof got);
        b.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        IS(VCH_ERR_KEY, s->unwrap(s->ctx, got, vch_buf_slice(&b), &w->err));
        assert_null(strchr(w->err.text, '\n'));
        assert_int_equal(got[0], 0);
        b.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    OK(s->unwrap(s->ctx, got, vch_buf_slice(&b), &w->err));
    assert_memory_equal(got, key, 32);
    IS(VCH_ERR_KEY, s->unwrap(s->ctx, got, vch_slice(b.p, b.n - 1), &w->err));
    IS(VCH_ERR_KEY, s->unwrap(s->ctx, got, vch_slice(key, 32), &w->err));
    /* settling for it destroys it alone of its own store's; settling for none, it too */
    assert_int_equal(keys_in_token(w, "vault", "keys"), 4);
    OK(s->settle(s->ctx, vch_buf_slice(&b), vch_slice(NULL, 0), &w->err));
    assert_int_equal(keys_in_token(w, "vault", "keys"), 4);
    OK(s->settle(s->ctx, vch_slice(key, 32), vch_buf_slice(&b), &w->err));
    assert_int_equal(keys_in_token(w, "vault", "keys"), 3);
    IS(VCH_ERR_KEY, s->unwrap(s->ctx, got, vch_buf_slice(&b), &w->err));
    vch_buf_free(&b);
    vch_guard_close(g);
}

/* More keys than are looked at in one go, none of them another store's. */
static void many_keys_are_destroyed(void **state)
{
    world_t *w = *state;
    uint8_t key[32] = {1};
    vch_buf_t b;
    vch_guard_t *g = token_guard(w);
    const vch_seeds_guard_t *s = vch_guard_seeds(g);
    vch_buf_init(&b, VCH_WRAPPED_MAX);
    for (unsigned i = 0; i < 70; i++) {
        vch_buf_clear(&b);
        OK(s->wrap(s->ctx, &b, key, &w->err));
    }
    assert_int_equal(keys_in_token(w, "vault", "keys"), 73);
    OK(s->settle(s->ctx, vch_buf_slice(&b), vch_slice(NULL, 0), &w->err));
    assert_int_equal(keys_in_token(w, "vault", "keys"), 4);
    OK(s->unwrap(s->ctx, key, vch_buf_slice(&b), &w->err));
    vch_buf_free(&b);
    vch_guard_close(g);
}

/* A key that somebody brought along is of no use: its value is known outside. */
static void a_planted_key_is_refused(void **state)
{
    world_t *w = *state;
    uint8_t key[32] = {1};
    char command[900], store[33], id[33];
    vch_buf_t b;
    vch_guard_t *g = token_guard(w);
    const vch_seeds_guard_t *s = vch_guard_seeds(g);
    vch_buf_init(&b, VCH_WRAPPED_MAX);
    OK(s->wrap(s->ctx, &b, key, &w->err));
    vch_hex(store, b.p + 8, 16);
    vch_hex(id, b.p + 24, 16);
    OK(s->settle(s->ctx, vch_slice(key, 32), vch_buf_slice(&b), &w->err));
    put_file(w, "value", "0123456789abcdef0123456789abcdef", 0600);
    snprintf(command, sizeof command,
             "pkcs11-tool --module " MODULE " --token-label vault --login --pin " PIN
             " --write-object '%s/value' --type "
             "secrkey --key-type AES:32 --id %s --label 'vouchsafe root %s' >/dev/null 2>&1",
             w->dir, id, store);
    assert_int_equal(lh_shell(command), 0);
    IS(VCH_ERR_KEY, s->unwrap(s->ctx, key, vch_buf_slice(&b), &w->err));
    if (!strstr(w->err.text, "was not made inside")) fail_msg("%s", w->err.text);
    vch_buf_free(&b);
    vch_guard_close(g);
}

#define T(set_up, name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    if (access(MODULE, R_OK) != 0 || lh_shell("command -v softhsm2-util pkcs11-tool >/dev/null") != 0) {
        printf("skipped: no SoftHSM or OpenSC on this machine; tools/setup.sh test installs both\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        T(set_up_tokens, erasing_destroys_in_the_token),
        T(set_up_mixed, one_without_a_token_is_b),
        T(set_up_files, dealt_before_the_token_is_b),
        T(set_up_tokens, out_of_the_token_and_back_is_b),
        T(set_up_tokens, wrong_secrets),
        T(set_up_tokens, wrong_tokens),
        T(set_up_tokens, a_missing_token),
        T(set_up_tokens, mislaid_seeds),
        T(set_up_tokens, no_word_without_the_token),
        T(set_up_tokens, every_bit_of_a_wrapped_key),
        T(set_up_tokens, many_keys_are_destroyed),
        T(set_up_tokens, a_planted_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
