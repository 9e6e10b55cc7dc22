/* SPDX-License-Identifier: Apache-2.0 */
/* The transparency-dev/merkle proof vectors: each verifies exactly when its
 * file says so. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "merkle/tree.h"
#include "shared.h"

static int base64_value(char c)
{
    const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Some vectors name things that are no hashes ("WrongRoot1" in base64); their
 * first 32 bytes with zeros behind stand for them, so that it is the verifier
 * that refuses, not this reader.  A hash of no bytes at all equals no other,
 * and gets a value of its own each time. */
static vch_hash_t hash_of(const json_t *text)
{
    static uint32_t missing;
    vch_hash_t h = {{0}};
    const char *s = json_string_value(text);
    assert_non_null(s);
    if (!*s) vch_put_u32(h.b, ++missing);
    uint32_t bits = 0;
    for (size_t i = 0, n = 0, have = 0; s[i] && s[i] != '=' && n < 32; i++) {
        int value = base64_value(s[i]);
        assert_true(value >= 0);
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            h.b[n++] = (uint8_t)(bits >> have);
        }
    }
    return h;
}

/* One index is 2^64 - 1, beyond jansson's integers, so numbers are read as
 * reals: exact below 2^53, and that one rounds to 2^64. */
static uint64_t number_of(const json_t *v, const char *name)
{
    const json_t *n = json_object_get(v, name);
    assert_true(json_is_real(n));
    double value = json_real_value(n);
    if (value == 0x1p64) return UINT64_MAX;
    assert_true(value >= 0 && value < 0x1p53);
    return (uint64_t)value;
}

static size_t path_of(const json_t *v, vch_hash_t path[VCH_PATH_HASHES_MAX])
{
    const json_t *list = json_object_get(v, "proof");
    size_t n = json_array_size(list);
    assert_true(n <= VCH_PATH_HASHES_MAX);
    for (size_t i = 0; i < n; i++) path[i] = hash_of(json_array_get(list, i));
    return n;
}

static bool inclusion_verifies(const json_t *v)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n = path_of(v, path);
    vch_hash_t leaf = hash_of(json_object_get(v, "leafHash")), root = hash_of(json_object_get(v, "root"));
    return vch_inclusion_verify(number_of(v, "leafIdx"), number_of(v, "treeSize"), &leaf, path, n, &root);
}

static bool consistency_verifies(const json_t *v)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n = path_of(v, path);
    vch_hash_t root1 = hash_of(json_object_get(v, "root1")), root2 = hash_of(json_object_get(v, "root2"));
    return vch_consistency_verify(number_of(v, "size1"), number_of(v, "size2"), &root1, &root2, path, n);
}

typedef struct {
    bool (*verifies)(const json_t *);
    unsigned good, bad;
} run_t;

static void run_file(run_t *run, const char *name)
{
    json_error_t error;
    json_t *v = json_load_file(name, JSON_DECODE_INT_AS_REAL, &error);
    if (!v) fail_msg("%s: %s", name, error.text);
    const json_t *want_error = json_object_get(v, "wantErr");
    assert_true(json_is_boolean(want_error));
    bool refuse = json_is_true(want_error);
    if (run->verifies(v) == refuse) fail_msg("%s: should %s", name, refuse ? "be refused" : "verify");
    *(refuse ? &run->bad : &run->good) += 1;
    json_decref(v);
}

static void run_folder(run_t *run, const char *name)
{
    DIR *dir = opendir(name);
    if (!dir) fail_msg("%s: cannot be read", name);
    for (const struct dirent *e; (e = readdir(dir));) {
        char path[600];
        size_t n = strlen(e->d_name);
        assert_true(snprintf(path, sizeof path, "%s/%s", name, e->d_name) < (int)sizeof path);
        if (n > 5 && strcmp(e->d_name + n - 5, ".json") == 0) run_file(run, path);
    }
    closedir(dir);
}

static void run_folders(run_t *run, const char *kind, const char *const *folders, size_t n)
{
    const char *shared = vch_test_shared();
    if (!shared) {
        print_message("shared test vectors are not here\n");
        skip();
    }
    for (size_t i = 0; i < n; i++) {
        char name[400];
        assert_true(snprintf(name, sizeof name, "%s/vectors/merkle/%s/%s", shared, kind, folders[i]) <
                    (int)sizeof name);
        run_folder(run, name);
    }
}

static void inclusion_vectors(void **state)
{
    (void)state;
    static const char *const folders[] = {
        "0", "1", "2", "3", "4", "additional/0", "additional/1", "additional/2", "additional/3", "single-entry"};
    run_t run = {.verifies = inclusion_verifies};
    run_folders(&run, "inclusion", folders, sizeof folders / sizeof folders[0]);
    assert_int_equal(run.good, 6);
    assert_int_equal(run.good + run.bad, 98);
}

static void consistency_vectors(void **state)
{
    (void)state;
    static const char *const folders[] = {"0", "1", "2", "3", "4", "additional"};
    run_t run = {.verifies = consistency_verifies};
    run_folders(&run, "consistency", folders, sizeof folders / sizeof folders[0]);
    assert_int_equal(run.good, 6);
    assert_int_equal(run.good + run.bad, 98);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inclusion_vectors),
        cmocka_unit_test(consistency_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
