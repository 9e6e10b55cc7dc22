/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 by every path this machine has, against OpenSSL and the standards. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include <sys/mman.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "crypto/sha256.h"

#define LEN_MAX 5000u
#define BATCH_MAX 70u
#define GUARD 65536u /* a multiple of every page size */
#define GUARDED (4 * GUARD)
#define POOL (BATCH_MAX * 128u + LEN_MAX)

static uint64_t seed, rng;
static uint8_t *guarded; /* GUARDED bytes, with nothing readable before and behind */
static uint8_t *pool;    /* random bytes that messages are cut from */

static uint64_t rnd(void)
{
    rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
    return rng;
}
static size_t below(size_t n) { return (size_t)(rnd() % n); }

static void openssl_sha(vch_hash_t *ret, const void *p, size_t n)
{
    assert_int_equal(EVP_Digest(p, n, ret->b, NULL, EVP_sha256(), NULL), 1);
}

static void expect(const vch_hash_t *got, const void *p, size_t n)
{
    vch_hash_t want;
    openssl_sha(&want, p, n);
    assert_memory_equal(got->b, want.b, 32);
}

static void expect_hex(const void *got, size_t n, const char *hex)
{
    uint8_t want[128];
    assert_true(n <= sizeof want && vch_unhex(want, n, hex, strlen(hex)));
    assert_memory_equal(got, want, n);
}

static size_t unhex(uint8_t *ret, const char *hex)
{
    assert_true(vch_unhex(ret, strlen(hex) / 2, hex, strlen(hex)));
    return strlen(hex) / 2;
}

/* ---- every path ----------------------------------------------------------- */

static const struct {
    vch_sha_path_t path;
    const char *name;
} paths[] = {
    {VCH_SHA_AUTO, "auto"}, {VCH_SHA_PORTABLE, "portable"}, {VCH_SHA_NI, "sha-ni"}, {VCH_SHA_AVX512, "avx512"}};

static void each_path(void (*check)(void))
{
    for (size_t i = 0; i < 4; i++) {
        if (!vch_sha256_use(paths[i].path)) {
            print_message("  left out: this processor has no %s\n", paths[i].name);
            continue;
        }
        if (i > 0) assert_string_equal(vch_sha256_path_name(), paths[i].name);
        check();
    }
    assert_true(vch_sha256_use(VCH_SHA_AUTO));
}

static void check_fips(void)
{
    static const struct {
        const char *text, *hex;
    } v[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqr"
         "stu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        vch_hash_t one, many;
        vch_sha256_msg_t msg = {{vch_str(v[i].text)}};
        vch_sha256(&one, v[i].text, strlen(v[i].text));
        vch_sha256_many(&many, &msg, 1);
        expect_hex(one.b, 32, v[i].hex);
        expect_hex(many.b, 32, v[i].hex);
    }
    vch_sha256_t s; /* a million times "a" */
    vch_hash_t got;
    vch_sha256_init(&s);
    for (int i = 0; i < 1000; i++) {
        char a[1000];
        memset(a, 'a', sizeof a);
        vch_sha256_add(&s, a, sizeof a);
    }
    vch_sha256_end(&s, &got);
    expect_hex(got.b, 32, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
static void test_fips(void **state) { (void)state, each_path(check_fips); }

/* ---- one stream ----------------------------------------------------------- */

static void check_lengths(void)
{
    for (size_t n = 0; n <= 300; n++) {
        vch_hash_t got;
        vch_sha256(&got, pool, n);
        expect(&got, pool, n);
    }
    for (int i = 0; i < 200; i++) {
        size_t n = below(LEN_MAX + 1), at = below(POOL - n);
        vch_hash_t got;
        vch_sha256(&got, pool + at, n);
        expect(&got, pool + at, n);
    }
}
static void test_lengths(void **state) { (void)state, each_path(check_lengths); }

static void check_pieces(void)
{
    for (int i = 0; i < 200; i++) {
        size_t n = below(LEN_MAX + 1), fork_at = n, most = 1 + below(300);
        vch_sha256_t s, fork;
        vch_sha256_init(&s);
        fork = s;
        for (size_t at = 0; at < n;) {
            size_t take = vch_min(below(most + 1), n - at);
            vch_sha256_add(&s, take ? pool + at : NULL, take);
            at += take;
            if (at >= n / 2 && fork_at == n) fork = s, fork_at = at;
        }
        if (fork_at < n) vch_sha256_add(&fork, pool + fork_at, n - fork_at);
        vch_hash_t got, forked;
        vch_sha256_end(&s, &got);
        expect(&got, pool, n);
        if (fork_at == n && n > 0) continue; /* the fork came too late to differ */
        vch_sha256_end(&fork, &forked);
        expect(&forked, pool, n);
    }
}
static void test_pieces(void **state) { (void)state, each_path(check_pieces); }

/* ---- many ----------------------------------------------------------------- */

/* Lengths near the block's edge, short, or anything. */
static size_t some_length(size_t max)
{
    size_t n = below(3) == 0 ? 48 + below(24) + 64 * below(3) : below(2) ? below(200) : below(max + 1);
    return vch_min(n, max);
}

static void check_many_once(size_t n)
{
    static uint8_t joined[3 * LEN_MAX];
    vch_sha256_msg_t msgs[BATCH_MAX] = {0};
    vch_hash_t got[BATCH_MAX + 1];
    memset(&got[n], 0x5a, sizeof got[n]);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 3; k++) {
            size_t len = below(4) == 0 ? 0 : some_length(LEN_MAX / 3);
            msgs[i].part[k] = len ? vch_slice(pool + below(POOL - len), len) : vch_slice(NULL, 0);
        }
    }
    vch_sha256_many(got, msgs, n);
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        for (size_t k = 0; k < 3; k++) {
            if (msgs[i].part[k].n) memcpy(joined + len, msgs[i].part[k].p, msgs[i].part[k].n);
            len += msgs[i].part[k].n;
        }
        expect(&got[i], joined, len);
    }
    for (size_t k = 0; k < 32; k++) assert_int_equal(got[n].b[k], 0x5a); /* nothing behind the last is touched */
}

static void check_many(void)
{
    for (size_t n = 0; n <= BATCH_MAX; n++) check_many_once(n);
}
static void test_many(void **state) { (void)state, each_path(check_many); }

static void check_leaves(void)
{
    static uint8_t joined[1 + LEN_MAX];
    for (size_t n = 0; n <= BATCH_MAX; n++) {
        vch_slice_t data[BATCH_MAX] = {0};
        vch_hash_t got[BATCH_MAX];
        for (size_t i = 0; i < n; i++) {
            size_t len = some_length(LEN_MAX);
            data[i] = vch_slice(pool + below(POOL - len), len);
        }
        vch_sha256_leaves(got, data, n);
        for (size_t i = 0; i < n; i++) {
            joined[0] = 0x00;
            memcpy(joined + 1, data[i].p, data[i].n);
            expect(&got[i], joined, 1 + data[i].n);
        }
    }
}
static void test_leaves(void **state) { (void)state, each_path(check_leaves); }

/* The messages begin or end right at a page that cannot be read: vector loads
 * are nothing an address sanitizer sees, but the processor does. */
static void check_fixed_once(size_t len, size_t n)
{
    static uint8_t joined[1 + LEN_MAX];
    size_t stride = len + below(3) * below(20), size = n ? (n - 1) * stride + len : 0;
    assert_true(size <= GUARDED);
    uint8_t *data = guarded + (below(2) ? GUARDED - size : 0), prefix = (uint8_t)rnd();
    vch_hash_t got[BATCH_MAX + 1];
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)rnd();
    memset(&got[n], 0x5a, sizeof got[n]);
    vch_sha256_fixed(got, prefix, data, len, stride, n);
    for (size_t i = 0; i < n; i++) {
        joined[0] = prefix;
        memcpy(joined + 1, data + i * stride, len);
        expect(&got[i], joined, 1 + len);
    }
    for (size_t k = 0; k < 32; k++) assert_int_equal(got[n].b[k], 0x5a);
}

static void check_fixed(void)
{
    for (size_t len = 0; len <= 330; len++) check_fixed_once(len, below(40));
    for (size_t n = 0; n <= BATCH_MAX; n++) check_fixed_once(some_length(700), n);
    check_fixed_once(LEN_MAX, 19);
}
static void test_fixed(void **state) { (void)state, each_path(check_fixed); }

static void check_nodes(void)
{
    for (size_t n = 0; n <= BATCH_MAX; n++) {
        vch_hash_t pairs[2 * BATCH_MAX], apart[BATCH_MAX], in_place[2 * BATCH_MAX];
        for (size_t i = 0; i < 2 * n; i++) memcpy(pairs[i].b, pool + below(POOL - 32), 32);
        memcpy(in_place, pairs, 2 * n * sizeof pairs[0]);
        vch_sha256_nodes(apart, pairs, n);
        vch_sha256_nodes(in_place, in_place, n);
        for (size_t i = 0; i < n; i++) {
            uint8_t joined[65] = {0x01};
            memcpy(joined + 1, pairs[2 * i].b, 64);
            expect(&apart[i], joined, sizeof joined);
            assert_memory_equal(in_place[i].b, apart[i].b, 32);
        }
        if (n > 0) assert_memory_equal(in_place + n, pairs + n, n * sizeof pairs[0]);
    }
}
static void test_nodes(void **state) { (void)state, each_path(check_nodes); }

/* ---- what must fail: another bit, another digest -------------------------- */

static void check_flip_one(void)
{
    uint8_t data[150];
    for (size_t n = 1; n <= sizeof data; n += 1 + below(9)) {
        vch_hash_t before, after;
        memcpy(data, pool, sizeof data);
        vch_sha256(&before, data, n);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            vch_sha256(&after, data, n);
            data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_memory_not_equal(before.b, after.b, 32);
        }
    }
}
static void test_flip_one(void **state) { (void)state, each_path(check_flip_one); }

/* Each bit of one pair of a batch changes that node's hash and no other's. */
static void check_flip_nodes(void)
{
    enum { N = 18 };
    vch_hash_t pairs[2 * N], before[N], after[N];
    memcpy(pairs, pool, sizeof pairs);
    vch_sha256_nodes(before, pairs, N);
    for (size_t bit = 0; bit < 512; bit++) {
        size_t i = below(N);
        uint8_t *byte = pairs[2 * i + bit / 256].b + bit % 256 / 8, mask = (uint8_t)(1u << bit % 8);
        *byte ^= mask;
        vch_sha256_nodes(after, pairs, N);
        *byte ^= mask;
        for (size_t k = 0; k < N; k++) assert_int_equal(vch_hash_eq(&before[k], &after[k]), k != i);
    }
}
static void test_flip_nodes(void **state) { (void)state, each_path(check_flip_nodes); }

/* The prefix, the length, and where a part ends are told apart where they must be. */
static void check_distinct(void)
{
    uint8_t zeros[64] = {0};
    vch_hash_t node, other, leaf, joined, moved;
    vch_sha256_fixed(&node, 0x01, zeros, 64, 64, 1);
    vch_sha256_fixed(&other, 0x00, zeros, 64, 64, 1);
    vch_sha256_leaves(&leaf, &(vch_slice_t){zeros, 63}, 1);
    assert_memory_not_equal(node.b, other.b, 32);
    assert_memory_not_equal(leaf.b, other.b, 32);
    vch_sha256_msg_t a = {{vch_str("ab"), vch_str("c")}}, b = {{vch_str("a"), vch_str(""), vch_str("bc")}};
    vch_sha256_msg_t c = {{vch_str("b"), vch_str("ac")}};
    vch_sha256_many(&joined, &a, 1);
    vch_sha256_many(&moved, &b, 1);
    assert_memory_equal(joined.b, moved.b, 32);
    vch_sha256_many(&moved, &c, 1);
    assert_memory_not_equal(joined.b, moved.b, 32);
}
static void test_distinct(void **state) { (void)state, each_path(check_distinct); }

/* ---- HMAC and HKDF -------------------------------------------------------- */

/* RFC 4231 sections 4.2 to 4.8; case 5 shows 128 bits only. */
static const struct {
    const char *key, *data, *mac;
} hmac_vectors[] = {
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
     "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
    {"0102030405060708090a0b0c0d0e0f10111213141516171819",
     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
     "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
    {"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c", "546573742057697468205472756e636174696f6e",
     "a3b6167473100ee06e0c796c2955552b"},
};

static void check_hmac(void)
{
    uint8_t key[64], data[64], long_key[131];
    vch_hash_t got;
    for (size_t i = 0; i < sizeof hmac_vectors / sizeof hmac_vectors[0]; i++) {
        size_t key_n = unhex(key, hmac_vectors[i].key), data_n = unhex(data, hmac_vectors[i].data);
        vch_hmac(&got, vch_slice(key, key_n), vch_slice(data, data_n));
        expect_hex(got.b, strlen(hmac_vectors[i].mac) / 2, hmac_vectors[i].mac);
    }
    memset(long_key, 0xaa, sizeof long_key);
    vch_hmac(&got, vch_slice(long_key, 131), vch_str("Test Using Larger Than Block-Size Key - Hash Key First"));
    expect_hex(got.b, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    vch_hmac(&got, vch_slice(long_key, 131),
             vch_str("This is a test using a larger than block-size key and a larger than block-size data. The key "
                     "needs to be hashed before being used by the HMAC algorithm."));
    expect_hex(got.b, 32, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

/* A key is filled up with zeros to a block (RFC 2104 section 2), so one more
 * zero changes nothing until the block is full; any other byte does. */
static void check_hmac_key(size_t key_n, vch_slice_t data)
{
    uint8_t other[151];
    vch_hash_t got, want, wrong;
    vch_hmac(&got, vch_slice(pool, key_n), data);
    assert_non_null(HMAC(EVP_sha256(), pool, (int)key_n, data.p, data.n, want.b, NULL));
    assert_memory_equal(got.b, want.b, 32);
    memcpy(other, pool, key_n);
    other[key_n] = 0;
    vch_hmac(&wrong, vch_slice(other, key_n + 1), data);
    assert_int_equal(vch_hash_eq(&wrong, &got), key_n < 64);
    other[key_n] = (uint8_t)(1 + below(255));
    vch_hmac(&wrong, vch_slice(other, key_n + 1), data);
    assert_memory_not_equal(wrong.b, got.b, 32);
    if (key_n == 0) return;
    other[below(key_n)] ^= (uint8_t)(1u << below(8));
    vch_hmac(&wrong, vch_slice(other, key_n), data);
    assert_memory_not_equal(wrong.b, got.b, 32);
}

static void check_hmac_random(void)
{
    for (size_t key_n = 0; key_n < 150; key_n++) check_hmac_key(key_n, vch_slice(pool + 200, some_length(LEN_MAX)));
}
static void test_hmac(void **state) { (void)state, each_path(check_hmac), each_path(check_hmac_random); }

static void hkdf_case(size_t from, size_t each, const char *okm)
{
    uint8_t ikm[80], salt[80], info[80], out[82];
    for (size_t i = 0; i < 80; i++) ikm[i] = (uint8_t)i, salt[i] = (uint8_t)(0x60 + i), info[i] = (uint8_t)(0xb0 + i);
    size_t n = strlen(okm) / 2;
    if (from == 2) {
        vch_hkdf(out, n, vch_slice(salt, each), vch_slice(ikm, each), vch_slice(info, each));
        expect_hex(out, n, okm);
        info[each - 1] ^= 1;
        vch_hkdf(out, n, vch_slice(salt, each), vch_slice(ikm, each), vch_slice(info, each));
    } else {
        memset(ikm, 0x0b, 22);
        for (size_t i = 0; i < 13; i++) salt[i] = (uint8_t)i, info[i] = (uint8_t)(0xf0 + i);
        size_t salt_n = from == 1 ? 13 : 0, info_n = from == 1 ? 10 : 0;
        vch_hkdf(out, n, vch_slice(salt, salt_n), vch_slice(ikm, 22), vch_slice(info, info_n));
        expect_hex(out, n, okm);
        ikm[0] ^= 0x80;
        vch_hkdf(out, n, vch_slice(salt, salt_n), vch_slice(ikm, 22), vch_slice(info, info_n));
    }
    uint8_t want[82];
    unhex(want, okm);
    assert_memory_not_equal(out, want, n);
}

/* RFC 5869 appendices A.1 to A.3. */
static void check_hkdf(void)
{
    hkdf_case(1, 0, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    hkdf_case(2, 80,
              "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
              "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
    hkdf_case(3, 0, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

/* A longer output begins with the shorter one, up to the most there may be. */
static void check_hkdf_long(void)
{
    static uint8_t most[8160], some[8160];
    vch_slice_t salt = vch_str("salt"), ikm = vch_str("key"), info = vch_str("info");
    vch_hkdf(most, sizeof most, salt, ikm, info);
    for (int i = 0; i < 20; i++) {
        size_t n = below(sizeof some + 1);
        memset(some, 0, sizeof some);
        vch_hkdf(some, n, salt, ikm, info);
        assert_memory_equal(some, most, n);
        if (n < sizeof some) assert_int_equal(some[n], 0);
    }
}
static void test_hkdf(void **state) { (void)state, each_path(check_hkdf), each_path(check_hkdf_long); }

static int set_up(void **state)
{
    (void)state;
    const char *given = getenv("VOUCHSAFE_SEED");
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
    rng = seed | 1;
    print_message("seed: VOUCHSAFE_SEED=%llu; auto is %s\n", (unsigned long long)seed, vch_sha256_path_name());
    uint8_t *map = mmap(NULL, GUARDED + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return -1;
    guarded = map + GUARD;
    if (mprotect(guarded, GUARDED, PROT_READ | PROT_WRITE) != 0) return -1;
    pool = malloc(POOL);
    if (!pool) return -1;
    for (size_t i = 0; i < POOL; i++) pool[i] = (uint8_t)(rnd() >> 32);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(pool);
    return munmap(guarded - GUARD, GUARDED + 2 * GUARD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fips),     cmocka_unit_test(test_lengths),  cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_many),     cmocka_unit_test(test_leaves),   cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_nodes),    cmocka_unit_test(test_flip_one), cmocka_unit_test(test_flip_nodes),
        cmocka_unit_test(test_distinct), cmocka_unit_test(test_hmac),     cmocka_unit_test(test_hkdf),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
