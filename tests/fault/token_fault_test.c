/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a token that fails at each of its calls, or lies: it is told in
 * words, nothing is lost, no key stays behind, and nothing is said to be
 * destroyed that isn't.  And allocations that are refused. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "crypto/keys.h"
#include "fake_token.h"
#include "node/guard_int.h"
#include "seeds_help.h"

static const char *module; /* its path */
static fake_token_t *fake;
static vch_sim_t *sim;
static vch_port_t *port;
static vch_err_t err;

/* A new machine; keys of the test before are destroyed. */
static vch_rc open_token(vch_guard_t **ret, const char *pin)
{
    gd_conf_t conf = {.kind = VCH_GUARD_TOKEN, .token = "fake"};
    gd_secret_t secret = {vch_secret_alloc(8), strlen(pin)};
    *ret = NULL;
    err = (vch_err_t){0};
    assert_true(strlen(module) < sizeof conf.module && secret.n < 8);
    memcpy(conf.module, module, strlen(module) + 1);
    memcpy(secret.p, pin, secret.n + 1);
    vch_rc rc = gd_token(ret, port, &conf, &secret, &err);
    vch_secret_free(secret.p);
    return rc;
}

static int setup(void **state)
{
    (void)state;
    vch_rc rc = vch_sim_new(&sim, 5);
    port = rc == VCH_OK ? vch_sim_port(sim) : NULL;
    unsigned keys = fake->keys;
    *fake = (fake_token_t){.with = CKR_DEVICE_ERROR, .keys = keys};
    return rc == VCH_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    vch_sim_free(sim);
    return 0;
}

#define IS(want, words, call)                                                                                          \
    do {                                                                                                               \
        err = (vch_err_t){0};                                                                                          \
        vch_rc got_ = (call);                                                                                          \
        if (got_ != (want)) fail_msg("%s: %s, not %s: %s", #call, vch_rc_name(got_), vch_rc_name(want), err.text);     \
        if (!strstr(err.text, words)) fail_msg("no \"%s\" in \"%s\"", words, err.text);                                \
    } while (0)
#define OK(call) IS(VCH_OK, "", call)

/* ---- a store ---------------------------------------------------------------------------- */

static vch_rc steps(bool *ret_forgot)
{
    vch_guard_t *g;
    vch_seeds_t *s = NULL;
    *ret_forgot = false;
    VCH_TRY(open_token(&g, "1234"));
    vch_rc rc = vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err);
    if (rc == VCH_OK) rc = sh_add(s, 1, &err);
    if (rc == VCH_ERR_CONFLICT) rc = VCH_OK; /* of the try before */
    if (rc == VCH_OK) rc = sh_forget(s, 1, SH_LEAF, NULL, &err);
    *ret_forgot = rc == VCH_OK;
    if (rc == VCH_OK) rc = vch_seeds_rewrap(s, &err);
    vch_seeds_close(s);
    vch_guard_close(g);
    return rc;
}

static void all_is_well(unsigned keys)
{
    vch_guard_t *g;
    vch_seeds_t *s;
    vch_kt_seed_t got;
    bool forgot;
    OK(steps(&forgot));
    OK(open_token(&g, "1234"));
    OK(vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err));
    assert_int_equal(sh_leaf(s, 1, SH_LEAF, &got), VCH_ERR_DENIED);
    assert_int_equal(sh_leaf(s, 1, SH_LEAF + 1, &got), VCH_OK);
    vch_seeds_close(s);
    assert_true(fake->keys >= keys + 1 && fake->keys <= keys + 2); /* one may be of a making that was cut off */
    vch_guard_close(g);
    assert_int_equal(fake->sessions, 0);
}

static void destroy_all(void)
{
    vch_guard_t *g;
    vch_seeds_t *s;
    OK(open_token(&g, "1234"));
    OK(vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err));
    vch_slice_t now = vch_slice(s->root[SD_NOW].wrapped, s->root[SD_NOW].n), none = vch_slice(NULL, 0);
    OK(g->seeds.settle(g->seeds.ctx, none, now, &err));
    vch_seeds_close(s);
    vch_guard_close(g);
}

static void each_call_fails_once(void **state)
{
    bool forgot, beyond = false;
    unsigned failed = 0;
    for (unsigned at = 1; !beyond; at++) {
        unsigned keys = fake->keys;
        fake->calls = 0;
        fake->fail_at = at;
        err = (vch_err_t){0};
        vch_rc rc = steps(&forgot);
        beyond = fake->calls < at;
        fake->fail_at = 0;
        if (rc != VCH_OK) {
            failed++;
            if (err.rc != rc || !err.text[0]) fail_msg("call %u: %s, %s", at, vch_rc_name(rc), err.text);
        }
        assert_int_equal(fake->sessions, 0);
        assert_int_equal(fake->starts, fake->ends);
        all_is_well(keys);
        destroy_all();
        assert_true(fake->keys <= keys + 1);
        (void)teardown(state);
        assert_int_equal(vch_sim_new(&sim, 5 + at), VCH_OK);
        port = vch_sim_port(sim);
        if (fake->keys > FAKE_KEYS_MAX / 2) fail_msg("%u keys stay behind after %u calls", fake->keys, at);
    }
    assert_true(failed > 30);
}

static void no_allocation_is_taken_for_granted(void **state)
{
    (void)state;
    vch_guard_t *g;
    unsigned failed = 0;
    for (uint64_t at = 1; at < 20; at++) {
        vch_mem_use(vch_sim_mem(sim));
        vch_sim_fail_alloc(sim, at);
        vch_rc rc = open_token(&g, "1234");
        vch_buf_t b;
        vch_buf_init(&b, VCH_WRAPPED_MAX);
        uint8_t key[32] = {1};
        if (rc == VCH_OK) rc = g->seeds.wrap(g->seeds.ctx, &b, key, &err);
        if (rc == VCH_OK) rc = g->seeds.settle(g->seeds.ctx, vch_slice(NULL, 0), vch_buf_slice(&b), &err);
        vch_sim_fail_alloc(sim, 0);
        vch_buf_free(&b);
        vch_guard_close(g);
        assert_int_equal(vch_sim_mem_live(sim), 0);
        vch_mem_use(NULL);
        if (rc != VCH_OK) {
            assert_int_equal(rc, VCH_ERR_MEMORY);
            assert_string_equal(err.text, "out of memory");
            failed++;
        }
    }
    assert_int_equal(failed, 2); /* the guard, the buffer */
    assert_int_equal(fake->sessions, 0);
}

/* ---- PINs ------------------------------------------------------------------------------------ */

static void a_pin_is_not_used_up(void **state)
{
    (void)state;
    vch_guard_t *g;
    IS(VCH_ERR_KEY, "the PIN is wrong", open_token(&g, "4321"));
    assert_int_equal(fake->logins, 1);
    fake->flags = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY;
    IS(VCH_ERR_KEY, "one try is left", open_token(&g, "1234"));
    fake->flags = CKF_USER_PIN_LOCKED;
    IS(VCH_ERR_KEY, "the PIN is locked", open_token(&g, "1234"));
    assert_int_equal(fake->logins, 1);
    fake->flags = CKF_USER_PIN_COUNT_LOW;
    OK(open_token(&g, "1234"));
    vch_guard_close(g);
    assert_int_equal(fake->sessions, 0);
}

/* Whoever initialized the module ends it. */
static void somebody_elses_module(void **state)
{
    (void)state;
    vch_guard_t *g, *h;
    fake->in_use = true;
    OK(open_token(&g, "1234"));
    vch_guard_close(g);
    assert_int_equal(fake->ends, 0);
    fake->in_use = false;
    OK(open_token(&g, "1234"));
    OK(open_token(&h, "1234"));
    assert_int_equal(fake->starts, 2);
    vch_guard_close(g);
    assert_int_equal(fake->ends, 0);
    vch_guard_close(h);
    assert_int_equal(fake->ends, 1);
}

/* ---- tokens that don't do ------------------------------------------------------------------------ */

static void what_a_token_must_do(void **state)
{
    (void)state;
    vch_guard_t *g;
    vch_seeds_t *s;
    unsigned keys = fake->keys;
    fake->leaky = true;
    OK(open_token(&g, "1234"));
    IS(VCH_ERR_KEY, "could leave it", vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err));
    fake->leaky = false;
    fake->no_gcm = true;
    IS(VCH_ERR_UNSUPPORTED, "AES-GCM", vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err));
    fake->no_gcm = false;
    fake->no_tag = true;
    IS(VCH_ERR_UNSUPPORTED, "without a tag", vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err));
    fake->no_tag = false;
    assert_int_equal(fake->keys, keys);
    OK(vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err));
    vch_seeds_close(s);
    fake->leaky = true; /* it was made so, whatever it says now */
    IS(VCH_ERR_KEY, "could leave it", vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err));
    fake->leaky = false;
    vch_guard_close(g);
    destroy_all();
    assert_int_equal(fake->keys, keys);
}

/* The token's "destroyed" is looked at: while the key is there, nothing is said to be forgotten. */
static void a_key_that_does_not_die(void **state)
{
    (void)state;
    vch_guard_t *g;
    vch_seeds_t *s;
    vch_kt_seed_t got;
    uint64_t done = 99;
    OK(open_token(&g, "1234"));
    OK(vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err));
    OK(sh_add(s, 1, &err));
    fake->undying = true;
    IS(VCH_ERR_UNREACHABLE, "still there", sh_forget(s, 1, SH_LEAF, &done, &err));
    assert_int_equal(done, 99);
    IS(VCH_ERR_UNREACHABLE, "still there", sh_forget(s, 1, SH_LEAF, &done, &err)); /* nor when nothing is left to do */
    fake->undying = false;
    OK(sh_forget(s, 1, SH_LEAF, &done, &err));
    assert_int_equal(done, 0);
    OK(sh_forget(s, 1, SH_LEAF + 2, &done, &err));
    fake->undying = true;
    IS(VCH_ERR_UNREACHABLE, "still there", sh_forget(s, 1, SH_LEAF + 3, NULL, &err));
    vch_seeds_close(s);
    IS(VCH_ERR_UNREACHABLE, "still there", vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err));
    fake->undying = false;
    OK(vch_seeds_open(&s, port, SH_DIR, vch_guard_seeds(g), &err));
    assert_int_equal(sh_leaf(s, 1, SH_LEAF, &got), VCH_ERR_DENIED);
    vch_seeds_close(s);
    vch_guard_close(g);
    destroy_all();
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(int argc, char **argv)
{
    module = argc > 1 ? argv[1] : "";
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    fake = library ? dlsym(library, "fake_token") : NULL;
    if (!fake || vch_crypto_start() != VCH_OK) {
        fprintf(stderr, "no module %s: %s\n", module, dlerror());
        return 1;
    }
    const struct CMUnitTest tests[] = {
        T(each_call_fails_once), T(no_allocation_is_taken_for_granted),
        T(a_pin_is_not_used_up), T(somebody_elses_module),
        T(what_a_token_must_do), T(a_key_that_does_not_die),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
