/* SPDX-License-Identifier: Apache-2.0 */
/* Guards of a trustee's root key, but for tokens: settings and secrets that are
 * taken and refused, the passphrase box byte by byte, and going from one guard
 * to another. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "crypto/keys.h"
#include "node/guard_int.h"
#include "seeds_help.h"

#define DIR "/t"
#define SECRET "correct horse"
static const gd_cost_t cheap = {1, 8};

static vch_sim_t *sim;
static vch_port_t *port;
static vch_err_t err;

static int setup(void **state)
{
    (void)state;
    err = (vch_err_t){0};
    if (vch_sim_new(&sim, 11) != VCH_OK) return -1;
    port = vch_sim_port(sim);
    return vch_mkdirs(port, DIR, &err) == VCH_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    vch_sim_free(sim);
    return 0;
}

/* Refused as told, in one line that holds these words. */
#define REFUSED(rc, words, call)                                                                                       \
    do {                                                                                                               \
        err = (vch_err_t){0};                                                                                          \
        vch_rc got_ = (call);                                                                                          \
        if (got_ != (rc)) fail_msg("%s: %s, not %s: %s", #call, vch_rc_name(got_), vch_rc_name(rc), err.text);         \
        if (!strstr(err.text, words) || strchr(err.text, '\n')) fail_msg("no \"%s\" in \"%s\"", words, err.text);      \
    } while (0)
#define GOOD(call)                                                                                                     \
    do {                                                                                                               \
        err = (vch_err_t){0};                                                                                          \
        vch_rc got_ = (call);                                                                                          \
        if (got_ != VCH_OK) fail_msg("%s: %s: %s", #call, vch_rc_name(got_), err.text);                                \
    } while (0)

static void put(const char *path, const char *text, unsigned mode)
{
    GOOD(vch_write_atomic(port, path, vch_str(text), mode, &err));
}

/* ---- settings ------------------------------------------------------------------------- */

static vch_rc parse(const char *text, gd_conf_t *ret) { return gd_conf_get(ret, vch_str(text), "guard.conf", &err); }

static void test_settings(void **state)
{
    (void)state;
    gd_conf_t c;
    GOOD(parse("guard = file", &c));
    assert_int_equal(c.kind, VCH_GUARD_FILE);
    GOOD(parse("# how it is kept\n\n  guard=passphrase\r\n\tsecret_file =  a b \n; end", &c));
    assert_int_equal(c.kind, VCH_GUARD_PASSPHRASE);
    assert_string_equal(c.secret_file, "a b");
    GOOD(parse("token = one=two\nmodule = /m.so\nsecret_file = s\nguard = token\n", &c));
    assert_int_equal(c.kind, VCH_GUARD_TOKEN);
    assert_string_equal(c.token, "one=two");
    assert_string_equal(c.module, "/m.so");
}

static void test_bad_settings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"", "no line \"guard"},
        {"guard = file\nmodul = x\n", "guard.conf, line 2: unknown key \"modul\""},
        {"\n\nguard\n", "line 3: a line is"},
        {"guard = vault\n", "line 1: guard = \"vault\": must be file, passphrase or token"},
        {"guard =\n", "line 1: guard = \"\""},
        {"guard = file\nguard = token\n", "line 2: guard stands on line 1 already"},
        {"guard = passphrase\n", "line 1: guard = passphrase needs a line \"secret_file"},
        {"guard = token\nsecret_file = s\nmodule = m\n", "needs a line \"token"},
        {"guard = token\nsecret_file = s\ntoken = t\n", "needs a line \"module"},
        {"guard = file\nsecret_file = s\n", "line 2: secret_file has no effect with guard = file"},
        {"guard = passphrase\nsecret_file = s\ntoken = t\n", "line 3: token has no effect"},
        {"guard = passphrase\nsecret_file =\n", "line 2: secret_file has 1 to 1023 bytes"},
        {"token = 123456789012345678901234567890123\n", "line 1: token has 1 to 32 bytes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gd_conf_t c = {.token = "untouched"};
        REFUSED(VCH_ERR_FORMAT, bad[i].words, parse(bad[i].text, &c));
        assert_string_equal(c.token, "untouched");
    }
}

static vch_rc opens(void)
{
    vch_guard_t *g = NULL;
    vch_rc rc = vch_guard_open(&g, port, DIR, &err);
    vch_guard_close(g);
    return rc;
}

static void test_files(void **state)
{
    (void)state;
    char line[1200];
    GOOD(opens()); /* none: the file itself */
    put(DIR "/guard.conf", "guard = passphrase\nsecret_file = secret\n", 0600);
    REFUSED(VCH_ERR_NOT_FOUND, DIR "/secret", opens());
    put(DIR "/secret", "", 0600);
    REFUSED(VCH_ERR_FORMAT, "first line is empty", opens());
    put(DIR "/secret", "\nsecond line\n", 0600);
    REFUSED(VCH_ERR_FORMAT, "first line is empty", opens());
    memset(line, 'x', sizeof line);
    line[1025] = 0;
    put(DIR "/secret", line, 0600);
    REFUSED(VCH_ERR_FORMAT, "over 1024 bytes", opens());
    line[1024] = 0;
    put(DIR "/secret", line, 0600);
    GOOD(opens());
    put("/elsewhere", SECRET "\n", 0600);
    put(DIR "/guard.conf", "guard = passphrase\nsecret_file = /elsewhere\n", 0600);
    GOOD(opens());
}

/* Only its first line counts, whatever ends it. */
static void test_secret_line(void **state)
{
    (void)state;
    static const char *const same[] = {SECRET, SECRET "\n", SECRET "\r\n", SECRET "\nmore\n"};
    gd_secret_t s;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        put(DIR "/secret", same[i], 0600);
        GOOD(gd_secret_read(&s, port, DIR, "secret", &err));
        assert_int_equal(s.n, strlen(SECRET));
        assert_string_equal((const char *)s.p, SECRET);
        vch_secret_free(s.p);
    }
}

/* On a real disk: who may read it, and a descriptor. */
static void test_modes_and_descriptors(void **state)
{
    (void)state;
    char dir[] = "/tmp/vch-guard-XXXXXX", path[64], fd[32];
    int pipe_fd[2];
    gd_secret_t s;
    gd_conf_t c;
    vch_port_t *real = vch_port_real();
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/secret", dir);
    GOOD(vch_write_atomic(real, path, vch_str(SECRET "\n"), 0600, &err));
    static const unsigned refused[] = {0604, 0606, 0644, 0602, 0601};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(chmod(path, refused[i]), 0);
        REFUSED(VCH_ERR_KEY, "others can read it", gd_secret_read(&s, real, dir, path, &err));
    }
    assert_int_equal(chmod(path, 0640), 0);
    GOOD(gd_secret_read(&s, real, dir, "secret", &err));
    vch_secret_free(s.p);
    assert_int_equal(pipe(pipe_fd), 0);
    assert_int_equal(write(pipe_fd[1], SECRET "\n", sizeof SECRET), sizeof SECRET);
    close(pipe_fd[1]);
    snprintf(fd, sizeof fd, "/dev/fd/%d", pipe_fd[0]);
    GOOD(gd_secret_read(&s, real, dir, fd, &err));
    assert_string_equal((const char *)s.p, SECRET);
    vch_secret_free(s.p);
    close(pipe_fd[0]);
    snprintf(path, sizeof path, "%s/guard.conf", dir);
    GOOD(vch_write_atomic(real, path, vch_str("guard = file\n"), 0600, &err));
    GOOD(gd_conf_read(&c, real, dir, "guard.conf", &err));
    assert_int_equal(chmod(path, 0662), 0);
    REFUSED(VCH_ERR_KEY, "others can write it", gd_conf_read(&c, real, dir, "guard.conf", &err));
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/secret", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* ---- the passphrase box ------------------------------------------------------------------ */

static vch_guard_t *under(const char *passphrase, gd_cost_t cost)
{
    vch_guard_t *g = NULL;
    gd_secret_t s = {vch_secret_alloc(GD_SECRET_MAX), strlen(passphrase)};
    memcpy(s.p, passphrase, s.n + 1);
    GOOD(gd_passphrase(&g, port, &s, cost, &err));
    return g;
}

static vch_rc wrap(const vch_guard_t *g, vch_buf_t *ret, const uint8_t key[32])
{
    vch_buf_init(ret, VCH_WRAPPED_MAX);
    return g->seeds.wrap(g->seeds.ctx, ret, key, &err);
}

static vch_rc unwrap(const vch_guard_t *g, uint8_t ret[32], vch_slice_t w)
{
    return g->seeds.unwrap(g->seeds.ctx, ret, w, &err);
}

static void test_passphrase(void **state)
{
    (void)state;
    uint8_t key[32], got[32] = {0}, none[32] = {0};
    vch_buf_t w, again;
    vch_guard_t *g = under(SECRET, cheap), *other = under(SECRET "s", cheap), *later = under(SECRET, cheap);
    for (int i = 0; i < 32; i++) key[i] = (uint8_t)(i + 1);
    GOOD(wrap(g, &w, key));
    assert_int_equal(w.n, GD_PASS_SIZE);
    assert_false(memmem(w.p, w.n, key, 8) != NULL);
    GOOD(wrap(g, &again, key));
    assert_int_not_equal(memcmp(w.p + 32, again.p + 32, w.n - 32), 0); /* another nonce */
    REFUSED(VCH_ERR_KEY, "passphrase is wrong", unwrap(other, got, vch_buf_slice(&w)));
    REFUSED(VCH_ERR_KEY, "not under a passphrase", unwrap(g, got, vch_slice(key, 32)));
    REFUSED(VCH_ERR_KEY, "not under a passphrase", unwrap(g, got, vch_slice(w.p, w.n - 1)));
    assert_memory_equal(got, none, 32);
    GOOD(unwrap(later, got, vch_buf_slice(&w)));
    assert_memory_equal(got, key, 32);
    vch_buf_free(&w);
    vch_buf_free(&again);
    vch_guard_close(g);
    vch_guard_close(other);
    vch_guard_close(later);
}

static void test_every_bit(void **state)
{
    (void)state;
    uint8_t key[32] = {7}, got[32];
    vch_buf_t w;
    vch_guard_t *g = under(SECRET, cheap);
    GOOD(wrap(g, &w, key));
    for (size_t bit = 0; bit < 8 * w.n; bit++) {
        if (bit / 8 >= 8 && bit / 8 < 16) continue; /* the cost: below */
        memset(got, 0, sizeof got);
        w.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        REFUSED(VCH_ERR_KEY, bit / 8 < 8 ? "not under a passphrase" : "damaged", unwrap(g, got, vch_buf_slice(&w)));
        assert_int_equal(got[0], 0);
        w.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    GOOD(unwrap(g, got, vch_buf_slice(&w)));
    vch_buf_free(&w);
    vch_guard_close(g);
}

/* A planted file asks for no more than the limits; at the edges it is only wrong. */
static void test_cost(void **state)
{
    (void)state;
    static const struct {
        uint32_t passes, kib;
        bool in_range;
    } t[] = {{1, 8, true},
             {1, 7, false},
             {0, 8, false},
             {GD_PASSES_MAX, 8, true},
             {GD_PASSES_MAX + 1, 8, false},
             {1, 0, false},
             {1, GD_KIB_MAX, true},
             {1, GD_KIB_MAX + 1, false},
             {1, 1u << 30, false},
             {1, UINT32_MAX, false},
             {UINT32_MAX, 8, false}};
    uint8_t key[32] = {7}, got[32];
    gd_cost_t cost;
    vch_buf_t w;
    vch_guard_t *g = under(SECRET, cheap);
    GOOD(wrap(g, &w, key));
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        vch_put_u32(w.p + 8, t[i].passes);
        vch_put_u32(w.p + 12, t[i].kib);
        if (t[i].in_range) {
            GOOD(gd_pass_get(&cost, vch_buf_slice(&w), &err));
            assert_true(cost.passes == t[i].passes && cost.kib == t[i].kib);
        } else {
            REFUSED(VCH_ERR_CORRUPT, "root is damaged: it asks for", unwrap(g, got, vch_buf_slice(&w)));
        }
    }
    assert_true(gd_moderate.passes >= 3 && gd_moderate.kib >= 256u << 10 && gd_moderate.kib <= GD_KIB_MAX);
    vch_buf_free(&w);
    vch_guard_close(g);
}

/* What was wrapped cheaply is wrapped again at today's cost. */
static void test_cost_rises(void **state)
{
    (void)state;
    static const gd_cost_t more = {2, 16};
    uint8_t key[32] = {7}, got[32];
    gd_cost_t cost;
    vch_buf_t w, again;
    vch_guard_t *g = under(SECRET, cheap), *h = under(SECRET, more);
    GOOD(wrap(g, &w, key));
    GOOD(unwrap(h, got, vch_buf_slice(&w)));
    GOOD(wrap(h, &again, key));
    GOOD(gd_pass_get(&cost, vch_buf_slice(&again), &err));
    assert_true(cost.passes == 2 && cost.kib == 16);
    assert_int_not_equal(memcmp(w.p + 16, again.p + 16, 16), 0); /* the salt, too */
    GOOD(unwrap(g, got, vch_buf_slice(&again)));
    assert_int_equal(got[0], 7);
    vch_buf_free(&w);
    vch_buf_free(&again);
    vch_guard_close(g);
    vch_guard_close(h);
}

/* ---- a store under it ---------------------------------------------------------------------- */

static vch_rc store_opens(const vch_guard_t *g, vch_seeds_t **ret)
{
    *ret = NULL;
    return vch_seeds_open(ret, port, DIR "/seeds", g ? vch_guard_seeds(g) : NULL, &err);
}

static void test_store(void **state)
{
    (void)state;
    vch_guard_t *g = under(SECRET, cheap), *other = under("wrong", cheap);
    vch_seeds_t *s;
    vch_kt_seed_t seed;
    GOOD(store_opens(g, &s));
    GOOD(sh_add(s, 1, &err));
    GOOD(sh_forget(s, 1, SH_LEAF, NULL, &err));
    vch_hash_t extent = sh_about(1).extent;
    assert_false(vch_seeds_destroys(s, &extent)); /* a copy and the passphrase bring it back */
    vch_seeds_close(s);
    di_image_t *before = di_take(port);
    REFUSED(VCH_ERR_KEY, "passphrase is wrong", store_opens(other, &s));
    REFUSED(VCH_ERR_KEY, "no guard was given", store_opens(NULL, &s));
    GOOD(opens()); /* guard.conf is missing: the file itself, which this isn't */
    vch_guard_t *file;
    GOOD(vch_guard_open(&file, port, DIR, &err));
    REFUSED(VCH_ERR_KEY, "guard.conf names neither", store_opens(file, &s));
    vch_guard_close(file);
    di_image_t *after = di_take(port);
    assert_int_equal(before->files, after->files);
    for (size_t i = 0; i < before->files; i++) {
        assert_int_equal(before->file[i].size, after->file[i].size);
        for (size_t k = 0; k < before->file[i].pages; k++)
            assert_memory_equal(before->file[i].page[k].b, after->file[i].page[k].b, DI_PAGE);
    }
    GOOD(store_opens(g, &s)); /* nothing was lost by it */
    assert_int_equal(sh_leaf(s, 1, SH_LEAF, &seed), VCH_ERR_DENIED);
    assert_int_equal(sh_leaf(s, 1, SH_LEAF + 1, &seed), VCH_OK);
    vch_seeds_close(s);
    di_drop(before);
    di_drop(after);
    vch_guard_close(g);
    vch_guard_close(other);
}

/* ---- from one guard to another --------------------------------------------------------------- */

static bool there(const char *path)
{
    vch_stat_t st;
    return port->disk->stat(port, path, &st) == VCH_OK;
}

static void fill_store(void)
{
    vch_seeds_t *s;
    GOOD(store_opens(NULL, &s));
    GOOD(sh_add(s, 1, &err));
    GOOD(sh_add(s, 2, &err));
    vch_seeds_close(s);
}

static void still_there(void)
{
    vch_guard_t *g;
    vch_seeds_t *s;
    vch_kt_seed_t seed;
    GOOD(vch_guard_open(&g, port, DIR, &err));
    GOOD(store_opens(g, &s));
    assert_int_equal(sh_leaf(s, 1, 1, &seed), VCH_OK);
    assert_int_equal(sh_leaf(s, 2, 1, &seed), VCH_OK);
    vch_seeds_close(s);
    vch_guard_close(g);
}

static void test_rewrap(void **state)
{
    (void)state;
    vch_rewrap_t r;
    vch_seeds_t *s;
    REFUSED(VCH_ERR_NOT_FOUND, "no trustee's folder", vch_guard_rewrap(port, DIR, "guard = file\n", &r, &err));
    fill_store();
    REFUSED(VCH_ERR_NOT_FOUND, "no guard.conf.new", vch_guard_rewrap(port, DIR, NULL, &r, &err));
    REFUSED(VCH_ERR_FORMAT, "guard.conf.new, line 1", vch_guard_rewrap(port, DIR, "guard = x", &r, &err));
    static const char pass[] = "guard = passphrase\nsecret_file = secret\n";
    REFUSED(VCH_ERR_NOT_FOUND, "/secret", vch_guard_rewrap(port, DIR, pass, &r, &err));
    GOOD(store_opens(NULL, &s));
    put(DIR "/secret", SECRET "\n", 0600);
    REFUSED(VCH_ERR_LOCKED, "another process", vch_guard_rewrap(port, DIR, pass, &r, &err));
    vch_seeds_close(s);
    assert_false(there(DIR "/guard.conf.new")); /* nothing was left behind */
    GOOD(vch_guard_rewrap(port, DIR, pass, &r, &err));
    assert_true(r.was == VCH_GUARD_FILE && r.now == VCH_GUARD_PASSPHRASE && r.extents == 2 && r.destroys == 0);
    assert_true(there(DIR "/guard.conf") && !there(DIR "/guard.conf.new"));
    REFUSED(VCH_ERR_KEY, "no guard was given", store_opens(NULL, &s));
    still_there();
    put(DIR "/guard.conf.new", "guard = file\n", 0600);
    REFUSED(VCH_ERR_CONFLICT, "is there already", vch_guard_rewrap(port, DIR, pass, &r, &err));
    GOOD(vch_guard_rewrap(port, DIR, NULL, &r, &err));
    assert_true(r.was == VCH_GUARD_PASSPHRASE && r.now == VCH_GUARD_FILE);
    still_there();
}

/* Another passphrase: the old one opens nothing from then on, and settings that
 * were left behind are brought along by doing it again. */
static void test_new_passphrase(void **state)
{
    (void)state;
    static const char old_conf[] = "guard = passphrase\nsecret_file = secret\n";
    static const char new_conf[] = "guard = passphrase\nsecret_file = second\n";
    vch_rewrap_t r;
    vch_guard_t *g;
    vch_seeds_t *s;
    fill_store();
    put(DIR "/secret", SECRET "\n", 0600);
    put(DIR "/second", "battery staple\n", 0600);
    GOOD(vch_guard_rewrap(port, DIR, old_conf, &r, &err));
    GOOD(vch_guard_rewrap(port, DIR, new_conf, &r, &err));
    still_there();
    put(DIR "/guard.conf", old_conf, 0600);
    GOOD(vch_guard_open(&g, port, DIR, &err));
    REFUSED(VCH_ERR_KEY, "passphrase is wrong", store_opens(g, &s));
    vch_guard_close(g);
    put(DIR "/guard.conf.new", new_conf, 0600);
    GOOD(vch_guard_rewrap(port, DIR, NULL, &r, &err));
    still_there();
}

/* A trustee that doesn't open because a rewrap was cut off says so. */
static void test_told(void **state)
{
    (void)state;
    assert_int_equal(vch_fail(&err, VCH_ERR_KEY, "why"), VCH_ERR_KEY);
    assert_int_equal(vch_guard_told(port, DIR, VCH_ERR_KEY, &err), VCH_ERR_KEY);
    assert_string_equal(err.text, "why");
    put(DIR "/guard.conf.new", "guard = file\n", 0600);
    assert_int_equal(vch_fail(&err, VCH_ERR_KEY, "why"), VCH_ERR_KEY);
    assert_int_equal(vch_guard_told(port, DIR, VCH_ERR_KEY, &err), VCH_ERR_KEY);
    assert_non_null(strstr(err.text, "cut off"));
    assert_non_null(strstr(err.text, "why"));
    assert_int_equal(vch_guard_told(port, DIR, VCH_ERR_CORRUPT, &err), VCH_ERR_CORRUPT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    if (vch_crypto_start() != VCH_OK) return 1;
    const struct CMUnitTest tests[] = {
        T(test_settings),   T(test_bad_settings),   T(test_files), T(test_secret_line), T(test_modes_and_descriptors),
        T(test_passphrase), T(test_every_bit),      T(test_cost),  T(test_cost_rises),  T(test_store),
        T(test_rewrap),     T(test_new_passphrase), T(test_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
