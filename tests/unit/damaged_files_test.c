/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose checksums are right and whose contents are not: each is refused,
 * and one like it that is right is read. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "crypto/sha256.h"
#include "node/custody_int.h"
#include "node/decide.h"
#include "node/node_int.h"
#include "node/service.h"
#include "node/witness_int.h"
#include "port/sim.h"

static vch_sim_t *sim;
static vch_port_t *port;
static vch_err_t err;
static vch_ledger_t ledger = {.dir = "l"};

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(vch_sim_new(&sim, 1), VCH_OK);
    port = ledger.port = vch_sim_port(sim);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vch_sim_free(sim);
    return 0;
}

static void put_file(const char *folder, const char *path, const void *p, size_t n)
{
    assert_int_equal(vch_mkdirs(port, folder, NULL), VCH_OK);
    assert_int_equal(vch_write_atomic(port, path, vch_slice(p, n), 0600, NULL), VCH_OK);
}

/* ---- records (custody_file.c) ------------------------------------------------------ */

#define DATASET "c1"

typedef struct {
    uint8_t b[256];
    size_t n;
} bytes_t;

static bytes_t header(const char *magic, uint32_t count, uint32_t width, uint64_t table)
{
    bytes_t f = {.n = CF_HEADER};
    memcpy(f.b, magic, 8);
    vch_put_u32(f.b + 40, 7);
    vch_put_u32(f.b + 44, count);
    vch_put_u32(f.b + 48, width);
    vch_put_u64(f.b + 52, table);
    vch_put_u32(f.b + 60, vch_crc32c(0, f.b, 60));
    return f;
}

static vch_rc open_records(const bytes_t *f, cf_kind_t kind, uint64_t *ret_byte)
{
    cfile_t c;
    char name[VCH_PATH_MAX], path[VCH_PATH_MAX], folder[VCH_PATH_MAX];
    assert_int_equal(cf_name(name, DATASET, kind, 7), VCH_OK);
    assert_int_equal(vch_path(path, "l/%s", name), VCH_OK);
    assert_int_equal(vch_path(folder, "l/%s/" DATASET, cf_folder(kind)), VCH_OK);
    put_file(folder, path, f->b, f->n);
    *ret_byte = UINT64_MAX;
    vch_rc rc = cf_open(&c, &ledger, DATASET, kind, 7, ret_byte, &err);
    if (rc == VCH_OK) cf_close(&c);
    return rc;
}

static void records_end_where_the_header_says(void **state)
{
    (void)state;
    uint64_t byte;
    bytes_t f = header("VCHSALT1", 1, 4, 72);
    f.n = 72;
    vch_put_u32(f.b + 68, vch_crc32c(0, f.b + 64, 4));
    assert_int_equal(open_records(&f, CF_SALTS, &byte), VCH_OK);
    f = header("VCHSALT1", 1, 4, 71);
    f.n = 72;
    assert_int_equal(open_records(&f, CF_SALTS, &byte), VCH_ERR_CORRUPT);
    assert_int_equal(byte, 52);
    f = header("VCHKEYS1", 0, 0, CF_HEADER - 1);
    f.n = CF_HEADER + 3;
    assert_int_equal(open_records(&f, CF_KEYS, &byte), VCH_ERR_CORRUPT);
    assert_int_equal(byte, 52);
}

/* width + 4, and table + 8 * count + 4, come out as the size of the file once
 * they have wrapped around. */
static void records_have_no_size_that_wraps(void **state)
{
    (void)state;
    uint64_t byte;
    bytes_t f = header("VCHSALT1", 1, UINT32_MAX, 67);
    f.n = 67;
    assert_int_equal(open_records(&f, CF_SALTS, &byte), VCH_ERR_CORRUPT);
    assert_int_equal(byte, 48);
    f = header("VCHCOMM1", 1, 0, 68);
    f.n = 68;
    assert_int_equal(open_records(&f, CF_COMMITMENTS, &byte), VCH_ERR_CORRUPT);
    assert_int_equal(byte, 48);
    f = header("VCHKEYS1", 16, 0, UINT64_MAX - 63);
    f.n = CF_HEADER + 4;
    assert_int_equal(open_records(&f, CF_KEYS, &byte), VCH_ERR_CORRUPT);
    assert_int_equal(byte, f.n);
}

/* ---- what a witness remembers (witness_file.c) --------------------------------------- */

static const uint8_t key[32] = {5};

typedef struct {
    unsigned notes;
    size_t bytes;
} seen_t;

static vch_rc see(void *ctx, vch_slice_t note, vch_err_t *why)
{
    (void)why;
    seen_t *s = ctx;
    s->notes++;
    s->bytes += note.n;
    return VCH_OK;
}

/* Header, and one group in two copies with this body. */
static size_t put_cosigned(uint8_t b[3 * WT_SECTOR], uint64_t first, const char *body, uint32_t n)
{
    memset(b, 0, (size_t)3 * WT_SECTOR);
    memcpy(b, "VCHWIT1\n", 8);
    vch_put_u64(b + 8, first);
    memcpy(b + 16, key, 32);
    vch_put_u32(b + 508, vch_crc32c(0, b, 508));
    uint8_t *g = b + WT_SECTOR;
    memcpy(g, "WGRP", 4);
    vch_put_u64(g + 4, first);
    vch_put_u32(g + 12, n);
    memcpy(g + 20, body, n);
    vch_put_u32(g + 16, vch_crc32c(vch_crc32c(0, g + 4, 12), g + 20, n));
    memcpy(g + WT_SECTOR, g, WT_SECTOR);
    return (size_t)3 * WT_SECTOR;
}

static vch_rc open_cosigned(wt_file_t *f, seen_t *s)
{
    uint64_t cut, mended;
    *s = (seen_t){0};
    return wt_file_open(f, port, "w/cosigned", true, key, see, s, &cut, &mended, &err);
}

static void notes_fill_their_group(void **state)
{
    (void)state;
    uint8_t b[3 * WT_SECTOR];
    wt_file_t f;
    seen_t s;
    put_file("w", "w/cosigned", b, put_cosigned(b, 1, "\0\0\0\2ab", 6));
    assert_int_equal(open_cosigned(&f, &s), VCH_OK);
    assert_true(s.notes == 1 && s.bytes == 2);
    wt_file_close(&f);
    for (uint32_t n = 1; n < 6; n++) { /* a note, or its length, ends early */
        put_file("w", "w/cosigned", b, put_cosigned(b, 1, "\0\0\0\2ab", n));
        assert_int_equal(open_cosigned(&f, &s), VCH_ERR_CORRUPT);
        assert_int_equal(s.notes, 0);
    }
}

/* The file ends inside the zeros behind a group; the next one lies on a boundary
 * all the same, or nobody would find it. */
static void group_behind_a_short_end_is_found(void **state)
{
    (void)state;
    uint8_t b[3 * WT_SECTOR];
    wt_file_t f;
    seen_t s;
    const vch_slice_t note = vch_str("more");
    size_t n = put_cosigned(b, 1, "\0\0\0\2ab", 6);
    put_file("w", "w/cosigned", b, n - 400);
    assert_int_equal(open_cosigned(&f, &s), VCH_OK);
    assert_int_equal(s.notes, 1);
    assert_int_equal(wt_file_append(&f, &note, 1, &err), VCH_OK);
    wt_file_close(&f);
    assert_int_equal(open_cosigned(&f, &s), VCH_OK);
    assert_true(s.notes == 2 && s.bytes == 6);
    wt_file_close(&f);
}

/* After two groups the numbers would begin anew, below the header's. */
static void groups_have_no_number_that_wraps(void **state)
{
    (void)state;
    uint8_t b[3 * WT_SECTOR];
    wt_file_t f;
    seen_t s;
    (void)put_cosigned(b, UINT64_MAX >> 1, "", 0);
    put_file("w", "w/cosigned", b, WT_SECTOR);
    assert_int_equal(open_cosigned(&f, &s), VCH_OK);
    wt_file_close(&f);
    (void)put_cosigned(b, (UINT64_MAX >> 1) + 1, "", 0);
    put_file("w", "w/cosigned", b, WT_SECTOR);
    assert_int_equal(open_cosigned(&f, &s), VCH_ERR_CORRUPT);
}

/* Neither a third copy nor a group before the first is of this witness's making. */
static void groups_stand_there_twice(void **state)
{
    (void)state;
    uint8_t b[4 * WT_SECTOR];
    wt_file_t f;
    seen_t s;
    size_t n = put_cosigned(b, 2, "\0\0\0\2ab", 6);
    memcpy(b + n, b + n - WT_SECTOR, WT_SECTOR);
    put_file("w", "w/cosigned", b, n);
    assert_int_equal(open_cosigned(&f, &s), VCH_OK);
    wt_file_close(&f);
    put_file("w", "w/cosigned", b, sizeof b);
    assert_int_equal(open_cosigned(&f, &s), VCH_ERR_CORRUPT);
    vch_put_u64(b + 8, 3);
    vch_put_u32(b + 508, vch_crc32c(0, b, 508));
    put_file("w", "w/cosigned", b, n);
    assert_int_equal(open_cosigned(&f, &s), VCH_ERR_CORRUPT);
}

/* ---- tokens (tokens.c) ------------------------------------------------------------------ */

#define HASH_16 "0123456789abcdef"
#define HASH HASH_16 HASH_16 HASH_16 HASH_16

static vch_rc check_tokens(const vch_buf_t *lines)
{
    vch_buf_t b;
    vch_hash_t hash;
    char hex[65];
    vch_buf_init(&b, 256u << 10);
    assert_int_equal(vch_buf_printf(&b, "vouchsafe tokens 1\n"), VCH_OK);
    assert_int_equal(vch_buf_put(&b, lines->p, lines->n), VCH_OK);
    vch_sha256(&hash, b.p, b.n);
    vch_hex(hex, hash.b, 32);
    assert_int_equal(vch_buf_printf(&b, "end %s\n", hex), VCH_OK);
    put_file("l", "l/tokens", b.p, b.n);
    vch_buf_free(&b);
    return nd_tokens_check(port, "l", &err);
}

static void tokens_hash_is_in_small_letters(void **state)
{
    (void)state;
    vch_buf_t b;
    vch_buf_init(&b, 1024);
    assert_int_equal(vch_buf_printf(&b, "robot-7 read 1 2 " HASH "\n"), VCH_OK);
    assert_int_equal(check_tokens(&b), VCH_OK);
    b.p[b.n - 2] = 'F';
    assert_int_equal(check_tokens(&b), VCH_ERR_CORRUPT);
    vch_buf_free(&b);
}

static void tokens_are_at_most_a_thousand(void **state)
{
    (void)state;
    vch_buf_t b;
    vch_buf_init(&b, 256u << 10);
    for (unsigned i = 0; i < 1000; i++) assert_int_equal(vch_buf_printf(&b, "robot-%u read 1 2 " HASH "\n", i), VCH_OK);
    assert_int_equal(check_tokens(&b), VCH_OK);
    assert_int_equal(vch_buf_printf(&b, "robot-1000 read 1 2 " HASH "\n"), VCH_OK);
    assert_int_equal(check_tokens(&b), VCH_ERR_CORRUPT);
    vch_buf_free(&b);
}

/* ---- decisions (decide_read.c) ------------------------------------------------------------ */

static vch_rc load_one(vch_buf_t *file)
{
    static const vch_id_t nobody;
    uint8_t sum[4];
    char path[VCH_PATH_MAX];
    vch_slice_t leaf;
    vch_arena_t arena;
    vch_arena_init(&arena, 4096);
    vch_put_u32(sum, vch_crc32c(0, file->p, file->n));
    assert_int_equal(vch_buf_put(file, sum, sizeof sum), VCH_OK);
    assert_int_equal(dcb_path(&ledger, path, &nobody, 0), VCH_OK);
    char folder[VCH_PATH_MAX];
    assert_int_equal(vch_path(folder, "%.*s", (int)(strrchr(path, '/') - path), path), VCH_OK);
    put_file(folder, path, file->p, file->n);
    vch_rc rc = vch_decisions_load(&ledger, &nobody, 0, 1, &arena, &leaf, &err);
    vch_arena_free(&arena);
    return rc;
}

static void put_sized(vch_buf_t *b, vch_slice_t s)
{
    uint8_t length[4];
    vch_put_u32(length, (uint32_t)s.n);
    assert_int_equal(vch_buf_put(b, length, sizeof length), VCH_OK);
    assert_int_equal(vch_buf_put(b, s.p, s.n), VCH_OK);
}

/* One decision whose input is "{}". */
static void put_batch(vch_buf_t *b)
{
    uint8_t head[DCB_HEAD] = {0};
    vch_decision_t d = {.output = vch_str("approve")};
    vch_buf_t leaf;
    vch_buf_init(&leaf, 1024);
    dcb_commit_input(&d.input, d.salt, vch_str("{}"));
    assert_int_equal(vch_decision_put(&leaf, &d), VCH_OK);
    memcpy(head, DCB_MAGIC, 8);
    vch_put_u32(head + 48, 1);
    vch_buf_init(b, 4096);
    assert_int_equal(vch_buf_put(b, head, sizeof head), VCH_OK);
    put_sized(b, vch_buf_slice(&leaf));
    put_sized(b, vch_str("{}"));
    vch_buf_free(&leaf);
}

static void decisions_fill_their_file(void **state)
{
    (void)state;
    vch_buf_t b;
    put_batch(&b);
    assert_int_equal(load_one(&b), VCH_OK);
    vch_buf_free(&b);
    put_batch(&b);
    put_sized(&b, vch_str("more"));
    assert_int_equal(load_one(&b), VCH_ERR_CORRUPT);
    vch_buf_free(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_end_where_the_header_says),
        TEST(records_have_no_size_that_wraps),
        TEST(notes_fill_their_group),
        TEST(group_behind_a_short_end_is_found),
        TEST(groups_have_no_number_that_wraps),
        TEST(groups_stand_there_twice),
        TEST(tokens_hash_is_in_small_letters),
        TEST(tokens_are_at_most_a_thousand),
        TEST(decisions_fill_their_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
