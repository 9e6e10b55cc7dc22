/* SPDX-License-Identifier: Apache-2.0 */
/* A trustee's store of seeds: what it gives, what it forgets for good, and that
 * no changed or older file ever gives a wrong seed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "seeds_help.h"

static vch_sim_t *sim;
static vch_port_t *port;
static vch_seeds_t *s;
static vch_err_t err;

static int setup(void **state)
{
    (void)state;
    if (vch_sim_new(&sim, 7) != VCH_OK) return -1;
    port = vch_sim_port(sim);
    err = (vch_err_t){0};
    return vch_seeds_open(&s, port, SH_DIR, NULL, &err) == VCH_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    vch_seeds_close(s);
    vch_sim_free(sim);
    return 0;
}

static vch_rc reopen_with(const vch_seeds_guard_t *guard)
{
    vch_seeds_close(s);
    s = NULL;
    err = (vch_err_t){0};
    return vch_seeds_open(&s, port, SH_DIR, guard, &err);
}

static void reopen(void)
{
    if (reopen_with(NULL) != VCH_OK) fail_msg("%s", err.text);
}

static void test_add(void **state)
{
    (void)state;
    vch_tree_about_t want = sh_about(1), got;
    uint8_t trustee = 9;
    vch_hash_t root[VCH_VAULT_HELD_MAX];
    vch_kt_seed_t seed;
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    assert_int_equal(sh_add(s, 1, &err), VCH_ERR_CONFLICT);
    reopen();
    assert_int_equal(sh_add(s, 1, &err), VCH_ERR_CONFLICT);
    assert_int_equal(vch_seeds_about(s, &want.extent, &got, &trustee, root, &err), VCH_OK);
    assert_memory_equal(&got.network, &want.network, 32);
    assert_true(got.n == 3 && got.t == 2 && got.groups == 2 && got.rows == 100 && trustee == 0);
    assert_int_equal(root[1].b[31], 1 ^ 0x55);
    assert_int_equal(sh_get(s, 1, 1, (vch_kt_node_t){0, 0}, &seed), VCH_OK);
    assert_int_equal(seed.key[0], 31);
    assert_int_equal(sh_get(s, 1, 2, (vch_kt_node_t){0, 0}, &seed), VCH_OK);
    assert_int_equal(seed.key[0], 31 + 32);
    assert_int_equal(sh_get(s, 1, 0, (vch_kt_node_t){0, 0}, &seed), VCH_ERR_NOT_FOUND); /* set 0 is trustee 0 */
    assert_int_equal(sh_get(s, 1, 3, (vch_kt_node_t){0, 0}, &seed), VCH_ERR_NOT_FOUND);
    assert_int_equal(sh_leaf(s, 2, 0, &seed), VCH_ERR_NOT_FOUND);
}

static void test_forget(void **state)
{
    (void)state;
    vch_kt_seed_t before[100], got;
    uint64_t done = 99;
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    for (uint32_t i = 0; i < 100; i++) assert_int_equal(sh_leaf(s, 1, i, &before[i]), VCH_OK);
    di_image_t *old = di_take(port);
    assert_true(sh_derivable(old, old, 1, SH_LEAF));
    assert_int_equal(sh_forget(s, 1, SH_LEAF, &done, &err), VCH_OK);
    assert_int_equal(done, 1);
    di_image_t *now = di_take(port);
    assert_false(sh_derivable(now, now, 1, SH_LEAF));
    assert_false(sh_derivable(now, old, 1, SH_LEAF));
    assert_true(sh_derivable(now, now, 1, SH_LEAF + 1));
    di_drop(old);
    di_drop(now);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 100; i++) {
            assert_int_equal(sh_leaf(s, 1, i, &got), i == SH_LEAF ? VCH_ERR_DENIED : VCH_OK);
            if (i != SH_LEAF) assert_memory_equal(got.key, before[i].key, 32);
        }
        assert_int_equal(sh_get(s, 1, 1, (vch_kt_node_t){22, 1}, &got), VCH_ERR_DENIED);
        assert_int_equal(sh_get(s, 1, 1, (vch_kt_node_t){22, 0}, &got), VCH_OK);
        assert_int_equal(sh_get(s, 1, 1, (vch_kt_node_t){0, 0}, &got), VCH_ERR_DENIED);
        assert_int_equal(sh_forget(s, 1, SH_LEAF, &done, &err), VCH_OK);
        assert_int_equal(done, 0);
        assert_int_equal(sh_forget(s, 2, SH_LEAF, &done, &err), VCH_OK); /* not held: stepped over */
        assert_int_equal(done, 0);
        reopen();
    }
}

/* All at once is one by one: nodes of several blocks, some strewn, some close. */
static void test_get_all(void **state)
{
    (void)state;
    static vch_kt_node_t node[700];
    static uint8_t got[700 * 32];
    vch_hash_t extent = sh_about(1).extent;
    vch_kt_seed_t one;
    size_t n = 0;
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    node[n++] = (vch_kt_node_t){13, 0};                                                     /* half a block */
    for (uint32_t i = 0; i < 600; i++) node[n++] = (vch_kt_node_t){24, 2048 + 3 * i};       /* many in it */
    node[n++] = (vch_kt_node_t){12, 1};                                                     /* a whole one */
    node[n++] = (vch_kt_node_t){8, 1};                                                      /* more than one */
    for (uint32_t i = 0; i < 5; i++) node[n++] = (vch_kt_node_t){23, (1u << 17) + 100 * i}; /* few */
    for (int round = 0; round < 2; round++) {
        assert_int_equal(vch_seeds_get_all(s, &extent, 1, node, n, got, &err), VCH_OK);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(sh_get(s, 1, 1, node[i], &one), VCH_OK);
            assert_memory_equal(got + 32 * i, one.key, 32);
        }
        /* A leaf between those asked for is forgotten: its block is no whole tree any more. */
        vch_forget_t f = {extent, 2049};
        assert_int_equal(vch_seeds_forget(s, &f, 1, NULL, &err), VCH_OK);
    }
    vch_forget_t f = {extent, 2048 + 3 * 300};
    assert_int_equal(vch_seeds_forget(s, &f, 1, NULL, &err), VCH_OK);
    assert_int_equal(vch_seeds_get_all(s, &extent, 1, node, n, got, &err), VCH_ERR_DENIED);
    for (size_t i = 0; i < 32 * n; i++) assert_int_equal(got[i], 0);
    assert_int_equal(vch_seeds_get_all(s, &extent, 0, node, n, got, &err), VCH_ERR_NOT_FOUND);
    extent.b[0] ^= 1;
    assert_int_equal(vch_seeds_get_all(s, &extent, 1, node, n, got, &err), VCH_ERR_NOT_FOUND);
}

static void test_order(void **state)
{
    (void)state;
    vch_kt_seed_t got;
    uint64_t done = 99;
    vch_forget_t f[3] = {{sh_about(1).extent, 1}, {sh_about(2).extent, 1}, {sh_about(1).extent, 2}};
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    assert_int_equal(sh_add(s, 2, &err), VCH_OK);
    assert_int_equal(vch_seeds_forget(s, f, 3, &done, &err), VCH_ERR_USAGE);
    assert_int_equal(done, 99);
    assert_int_equal(sh_leaf(s, 1, 1, &got), VCH_OK);
    f[2].extent = f[1].extent;
    assert_int_equal(vch_seeds_forget(s, f, 3, &done, &err), VCH_OK);
    assert_int_equal(done, 3);
    reopen();
    assert_int_equal(sh_leaf(s, 1, 1, &got), VCH_ERR_DENIED);
    assert_int_equal(sh_leaf(s, 2, 1, &got), VCH_ERR_DENIED);
    assert_int_equal(sh_leaf(s, 2, 2, &got), VCH_ERR_DENIED);
    assert_int_equal(sh_leaf(s, 1, 2, &got), VCH_OK);
}

static void test_many(void **state)
{
    (void)state;
    static vch_forget_t f[10000];
    vch_kt_seed_t got;
    uint64_t done;
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    for (uint32_t i = 0; i < 10000; i++) f[i] = (vch_forget_t){sh_about(1).extent, i * 104 + i % 97};
    clock_t from = clock();
    assert_int_equal(vch_seeds_forget(s, f, 10000, &done, &err), VCH_OK);
    print_message("10,000 leaves in two trees: %.3f s\n", (double)(clock() - from) / CLOCKS_PER_SEC);
    assert_int_equal(done, 10000);
    reopen();
    for (uint32_t i = 0; i < 10000; i += 99) {
        assert_int_equal(sh_leaf(s, 1, f[i].leaf, &got), VCH_ERR_DENIED);
        assert_int_equal(sh_leaf(s, 1, f[i].leaf + 1, &got), VCH_OK);
    }
}

static vch_rc count(void *ctx, const vch_hash_t *extent)
{
    return extent->b[0] ? (++*(unsigned *)ctx, VCH_OK) : VCH_ERR_CORRUPT;
}

static void test_drop_and_cache(void **state)
{
    (void)state;
    vch_kt_seed_t got;
    unsigned n = 0;
    vch_hash_t gone = sh_about(3).extent;
    for (uint8_t i = 1; i <= 8; i++) assert_int_equal(sh_add(s, i, &err), VCH_OK);
    for (uint8_t i = 1; i <= 8; i++) assert_int_equal(sh_leaf(s, i, 0, &got), VCH_OK);
    assert_int_equal(vch_seeds_drop(s, &gone, &err), VCH_OK);
    assert_int_equal(vch_seeds_drop(s, &gone, &err), VCH_ERR_NOT_FOUND);
    reopen();
    assert_int_equal(sh_leaf(s, 3, 0, &got), VCH_ERR_NOT_FOUND);
    assert_int_equal(vch_seeds_each(s, count, &n, &err), VCH_OK);
    assert_int_equal(n, 7);
}

static void test_lock(void **state)
{
    (void)state;
    vch_seeds_t *other = NULL;
    assert_int_equal(vch_seeds_open(&other, port, SH_DIR, NULL, &err), VCH_ERR_LOCKED);
    assert_null(other);
}

static vch_rc wrap(void *ctx, vch_buf_t *ret, const uint8_t key[32], vch_err_t *e)
{
    uint8_t b[33] = {*(uint8_t *)ctx};
    (void)e;
    for (int i = 0; i < 32; i++) b[i + 1] = key[i] ^ b[0];
    return vch_buf_put(ret, b, 33);
}

static vch_rc unwrap(void *ctx, uint8_t ret[32], vch_slice_t w, vch_err_t *e)
{
    if (w.n != 33 || w.p[0] != *(uint8_t *)ctx) return vch_fail(e, VCH_ERR_KEY, "wrapped by another guard");
    for (int i = 0; i < 32; i++) ret[i] = w.p[i + 1] ^ w.p[0];
    return VCH_OK;
}

static void test_guard(void **state)
{
    (void)state;
    uint8_t mine = 77, yours = 78;
    vch_seeds_guard_t a = {wrap, unwrap, &mine}, b = {wrap, unwrap, &yours};
    vch_kt_seed_t got;
    assert_int_equal(reopen_with(&b), VCH_ERR_KEY); /* never wrapped by it */
    assert_int_equal(reopen_with(NULL), VCH_OK);
    vch_seeds_close(s);
    s = NULL;
    assert_int_equal(vch_seeds_open(&s, port, "/g", &a, &err), VCH_OK);
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    vch_seeds_close(s);
    s = NULL;
    assert_int_equal(vch_seeds_open(&s, port, "/g", &b, &err), VCH_ERR_KEY);
    assert_int_equal(vch_seeds_open(&s, port, "/g", NULL, &err), VCH_ERR_KEY);
    assert_int_equal(vch_seeds_open(&s, port, "/g", &a, &err), VCH_OK);
    assert_int_equal(sh_leaf(s, 1, 3, &got), VCH_OK);
}

/* One bit of one file: told with the file's name, or (the slot that isn't in force) nothing changes. */
static void flipped(const di_image_t *image, const di_file_t *f, uint64_t at, const vch_kt_seed_t *want)
{
    vch_sim_t *m;
    vch_seeds_t *t = NULL;
    vch_kt_seed_t got;
    vch_hash_t extent = sh_about(1).extent;
    vch_err_t e = {0};
    assert_int_equal(vch_sim_new(&m, 1), VCH_OK);
    di_lay(vch_sim_port(m), image);
    assert_true(vch_sim_flip(m, f->path, at, 1));
    vch_rc rc = vch_seeds_open(&t, vch_sim_port(m), SH_DIR, NULL, &e);
    if (rc == VCH_OK) rc = vch_seeds_get(t, &extent, 1, want->node, &got, &e);
    if (rc == VCH_OK) {
        assert_string_equal(sh_name(f), "root");
        assert_memory_equal(got.key, want->key, 32);
    } else {
        assert_true(rc == VCH_ERR_CORRUPT || rc == VCH_ERR_KEY);
        if (!strstr(e.text, sh_name(f))) fail_msg("%s byte %llu: %s", f->path, (unsigned long long)at, e.text);
    }
    vch_seeds_close(t);
    vch_sim_free(m);
}

static void test_every_byte(void **state)
{
    (void)state;
    vch_kt_seed_t want;
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    assert_int_equal(sh_leaf(s, 1, 3, &want), VCH_OK);
    di_image_t *image = di_take(port);
    for (size_t i = 0; i < image->files; i++)
        for (uint64_t at = 0; at < image->file[i].size; at++) flipped(image, &image->file[i], at, &want);
    di_drop(image);
}

/* The newer machine with an older file, under the name that is wanted now. */
static vch_rc with_old(const di_image_t *now, const char *name, const di_image_t *old, const char *old_prefix)
{
    vch_sim_t *m;
    vch_seeds_t *t = NULL;
    vch_kt_seed_t got;
    vch_err_t e = {0};
    char path[VCH_PATH_MAX];
    vch_hash_t extent = sh_about(1).extent;
    assert_int_equal(vch_sim_new(&m, 1), VCH_OK);
    vch_port_t *p = vch_sim_port(m);
    di_lay(p, now);
    assert_int_equal(vch_path(path, SH_DIR "/%s", name), VCH_OK);
    assert_int_equal(p->disk->remove(p, path), VCH_OK);
    for (size_t i = 0; i < old->files; i++) {
        if (strncmp(sh_name(&old->file[i]), old_prefix, strlen(old_prefix)) != 0) continue;
        uint8_t *b = sh_bytes(&old->file[i]);
        assert_int_equal(vch_write_atomic(p, path, vch_slice(b, old->file[i].size), 0600, &e), VCH_OK);
        free(b);
    }
    vch_rc rc = vch_seeds_open(&t, p, SH_DIR, NULL, &e);
    if (rc == VCH_OK) rc = vch_seeds_get(t, &extent, 1, (vch_kt_node_t){VCH_KT_LEAF_LEVEL, 3}, &got, &e);
    if (rc != VCH_OK && !strstr(e.text, name)) fail_msg("%s is not named: %s", name, e.text);
    vch_seeds_close(t);
    vch_sim_free(m);
    return rc;
}

static void test_old_copies(void **state)
{
    (void)state;
    char keys[96], tree[96];
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    di_image_t *old = di_take(port);
    assert_int_equal(sh_forget(s, 1, SH_LEAF, NULL, &err), VCH_OK);
    di_image_t *now = di_take(port);
    sd_keys_name(keys, s->generation);
    sd_tree_name(tree, &s->place[0].extent, s->place[0].generation);
    assert_int_equal(with_old(now, keys, now, keys), VCH_OK); /* its own copy */
    assert_int_equal(with_old(now, tree, now, tree), VCH_OK);
    assert_int_equal(with_old(now, keys, old, "keys."), VCH_ERR_CORRUPT);
    assert_int_equal(with_old(now, tree, old, "0101"), VCH_ERR_CORRUPT);
    assert_int_equal(with_old(now, keys, old, "none"), VCH_ERR_CORRUPT); /* missing */
    assert_int_equal(with_old(now, tree, old, "none"), VCH_ERR_CORRUPT);
    di_drop(old);
    di_drop(now);
}

/* The zeros over the old root key were torn by a power cut: its head is gone, the key is there. */
static void test_torn_zeros(void **state)
{
    (void)state;
    static const uint8_t zeros[8];
    uint8_t slot[512];
    vch_file_t *f;
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    unsigned was = s->slot;
    di_image_t *old = di_take(port);
    assert_int_equal(vch_file_open(port, &f, SH_DIR "/root", VCH_OPEN_WRITE, &err), VCH_OK);
    assert_int_equal(vch_file_read(port, f, slot, 512, was * 512u, &err), VCH_OK);
    assert_int_equal(sh_forget(s, 1, SH_LEAF, NULL, &err), VCH_OK);
    assert_int_not_equal(s->slot, was);
    memcpy(slot, zeros, sizeof zeros);
    assert_int_equal(port->disk->write(port, f, slot, 512, was * 512u), VCH_OK);
    assert_int_equal(port->disk->sync(port, f), VCH_OK);
    vch_file_close(port, f);
    di_image_t *torn = di_take(port);
    assert_true(sh_derivable(torn, old, 1, SH_LEAF)); /* so there is something to clean up */
    reopen();
    di_image_t *now = di_take(port);
    assert_false(sh_derivable(now, old, 1, SH_LEAF));
    di_drop(old);
    di_drop(torn);
    di_drop(now);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_add),        T(test_forget),         T(test_get_all),    T(test_order),
        T(test_many),       T(test_drop_and_cache), T(test_lock),       T(test_guard),
        T(test_every_byte), T(test_old_copies),     T(test_torn_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
