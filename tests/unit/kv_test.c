/* SPDX-License-Identifier: Apache-2.0 */
/* Both back ends of the key/value index keep the same promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/kv.h"

typedef struct {
    vch_kv_t *kv;
    char dir[64], file[96], lock[96];
} box_t;

static void open_box(box_t *b, bool memory)
{
    memset(b, 0, sizeof *b);
    if (memory) {
        assert_int_equal(vch_kv_open_memory(&b->kv, NULL), VCH_OK);
        return;
    }
    snprintf(b->dir, sizeof b->dir, "/tmp/vch-kv-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    snprintf(b->file, sizeof b->file, "%s/data.mdb", b->dir);
    snprintf(b->lock, sizeof b->lock, "%s/data.mdb-lock", b->dir);
    assert_int_equal(vch_kv_open(&b->kv, b->file, false, NULL), VCH_OK);
}

static void close_box(box_t *b)
{
    vch_kv_close(b->kv);
    if (!b->dir[0]) return;
    unlink(b->file);
    unlink(b->lock);
    rmdir(b->dir);
}

static vch_rc get(vch_kv_t *kv, const char *key, char out[64])
{
    vch_buf_t v;
    vch_buf_init(&v, 63);
    vch_rc rc = vch_kv_get(kv, vch_str(key), &v);
    if (rc == VCH_OK) {
        memcpy(out, v.p, v.n);
        out[v.n] = 0;
    }
    vch_buf_free(&v);
    return rc;
}

static void put(vch_kv_t *kv, const char *key, const char *value)
{
    assert_int_equal(vch_kv_put(kv, vch_str(key), vch_str(value), NULL), VCH_OK);
}

static void batches_are_all_or_nothing(bool memory)
{
    box_t b;
    char v[64];
    open_box(&b, memory);
    assert_int_equal(vch_kv_put(b.kv, vch_str("a"), vch_str("1"), NULL), VCH_ERR_CONFLICT); /* no batch */
    assert_int_equal(vch_kv_begin(b.kv, NULL), VCH_OK);
    assert_int_equal(vch_kv_begin(b.kv, NULL), VCH_ERR_CONFLICT);
    put(b.kv, "a", "1");
    put(b.kv, "a", "2");
    assert_int_equal(get(b.kv, "a", v), VCH_OK); /* the writer sees its own */
    assert_string_equal(v, "2");
    assert_int_equal(vch_kv_commit(b.kv, NULL), VCH_OK);
    assert_int_equal(vch_kv_begin(b.kv, NULL), VCH_OK);
    put(b.kv, "a", "3");
    put(b.kv, "b", "4");
    vch_kv_abort(b.kv);
    assert_int_equal(get(b.kv, "a", v), VCH_OK);
    assert_string_equal(v, "2");
    assert_int_equal(get(b.kv, "b", v), VCH_ERR_NOT_FOUND);
    close_box(&b);
}

typedef struct {
    char seen[512];
} walk_t;

static vch_rc note_key(void *ctx, vch_slice_t key, vch_slice_t value)
{
    walk_t *w = ctx;
    size_t n = strlen(w->seen);
    snprintf(w->seen + n, sizeof w->seen - n, "%.*s=%.*s ", (int)key.n, (const char *)key.p, (int)value.n,
             (const char *)value.p);
    return VCH_OK;
}

static void walks_are_ordered_and_prefixed(bool memory)
{
    box_t b;
    walk_t w = {{0}};
    open_box(&b, memory);
    assert_int_equal(vch_kv_begin(b.kv, NULL), VCH_OK);
    put(b.kv, "pb", "2");
    put(b.kv, "q", "9");
    put(b.kv, "pa", "1");
    put(b.kv, "o", "8");
    put(b.kv, "pc", "3");
    assert_int_equal(vch_kv_commit(b.kv, NULL), VCH_OK);
    assert_int_equal(vch_kv_each(b.kv, vch_str("p"), note_key, &w), VCH_OK);
    assert_string_equal(w.seen, "pa=1 pb=2 pc=3 ");
    w.seen[0] = 0;
    assert_int_equal(vch_kv_each(b.kv, vch_str(""), note_key, &w), VCH_OK);
    assert_string_equal(w.seen, "o=8 pa=1 pb=2 pc=3 q=9 ");
    assert_int_equal(vch_kv_clear(b.kv, NULL), VCH_OK);
    w.seen[0] = 0;
    assert_int_equal(vch_kv_each(b.kv, vch_str(""), note_key, &w), VCH_OK);
    assert_string_equal(w.seen, "");
    close_box(&b);
}

static void thousands_of_keys_stay(bool memory)
{
    box_t b;
    char key[32], v[64];
    open_box(&b, memory);
    for (int round = 0; round < 4; round++) {
        assert_int_equal(vch_kv_begin(b.kv, NULL), VCH_OK);
        for (int i = round; i < 2000; i += 1 + round) {
            snprintf(key, sizeof key, "key-%d", i * 7919 % 2000);
            char value[32];
            snprintf(value, sizeof value, "%d/%d", round, i);
            put(b.kv, key, value);
        }
        assert_int_equal(vch_kv_commit(b.kv, NULL), VCH_OK);
    }
    for (int i = 0; i < 2000; i++) {
        int round = i >= 3 && (i - 3) % 4 == 0   ? 3
                    : i >= 2 && (i - 2) % 3 == 0 ? 2
                    : i >= 1 && (i - 1) % 2 == 0 ? 1
                                                 : 0;
        char expected[32];
        snprintf(key, sizeof key, "key-%d", i * 7919 % 2000);
        snprintf(expected, sizeof expected, "%d/%d", round, i);
        assert_int_equal(get(b.kv, key, v), VCH_OK);
        assert_string_equal(v, expected);
    }
    close_box(&b);
}

static void memory_batches(void **s)
{
    (void)s;
    batches_are_all_or_nothing(true);
}
static void lmdb_batches(void **s)
{
    (void)s;
    batches_are_all_or_nothing(false);
}
static void memory_walks(void **s)
{
    (void)s;
    walks_are_ordered_and_prefixed(true);
}
static void lmdb_walks(void **s)
{
    (void)s;
    walks_are_ordered_and_prefixed(false);
}
static void memory_thousands(void **s)
{
    (void)s;
    thousands_of_keys_stay(true);
}
static void lmdb_thousands(void **s)
{
    (void)s;
    thousands_of_keys_stay(false);
}

static void a_damaged_file_is_refused(void **s)
{
    (void)s;
    box_t b;
    vch_err_t err;
    open_box(&b, false);
    vch_kv_close(b.kv);
    FILE *f = fopen(b.file, "wb");
    assert_non_null(f);
    for (int i = 0; i < 10000; i++) fputc(0x5a, f);
    fclose(f);
    assert_int_equal(vch_kv_open(&b.kv, b.file, false, &err), VCH_ERR_CORRUPT);
    assert_int_equal(vch_kv_open_memory(&b.kv, NULL), VCH_OK);
    close_box(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_batches),
        cmocka_unit_test(lmdb_batches),
        cmocka_unit_test(memory_walks),
        cmocka_unit_test(lmdb_walks),
        cmocka_unit_test(memory_thousands),
        cmocka_unit_test(lmdb_thousands),
        cmocka_unit_test(a_damaged_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
