/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Lines in one piece and in every two; cells in canonical bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "codec/jsonl.h"

#define LINE_MAX_ 48

/* All records of `in` as "line:JCS|", in pieces that end at `cut` and at the end. */
static vch_rc dump(vch_buf_t *out, vch_slice_t in, size_t cut, vch_err_t *err)
{
    vch_jsonl_t j;
    vch_rc rc = VCH_OK;
    vch_jsonl_init(&j, LINE_MAX_);
    vch_buf_clear(out);
    for (size_t at = 0, eaten = 0; rc == VCH_OK; at += eaten) {
        size_t end = at < cut ? cut : in.n;
        bool done = false, last = end == in.n;
        rc = vch_jsonl_feed(&j, vch_slice(in.n ? in.p + at : NULL, end - at), last, &eaten, &done, err);
        if (rc != VCH_OK) break;
        assert_int_equal(j.offset, at + eaten);
        if (done) rc = vch_buf_printf(out, "%llu:", (unsigned long long)j.line);
        if (done && rc == VCH_OK) rc = vch_jcs_put(out, j.object);
        if (done && rc == VCH_OK) rc = vch_buf_u8(out, '|');
        if (!done && last) break;
    }
    vch_jsonl_free(&j);
    return rc == VCH_OK ? vch_buf_u8(out, 0) : rc;
}

static const struct {
    const char *in, *records;
} accepted[] = {
    {"", ""},
    {"\n\r\n\n", ""},
    {"{}", "1:{}|"},
    {"{\"b\":1,\"a\":2}\n", "1:{\"a\":2,\"b\":1}|"},
    {"{\"a\":1}\r\n{\"a\":2}", "1:{\"a\":1}|2:{\"a\":2}|"},
    {"{\"a\":1}\n\n\r\n{\"a\":2}\r", "1:{\"a\":1}|4:{\"a\":2}|"},
    {" {\"a\" : [1.50, null] } \n", "1:{\"a\":[1.5,null]}|"},
    {"{\"a\":\"\\n\"}\n", "1:{\"a\":\"\\n\"}|"},
    {"{\"a\":\"1234567890123456789012345678901234567890\"}\r\n",
     "1:{\"a\":\"1234567890123456789012345678901234567890\"}|"}, /* 49 bytes with its CR */
};

static const struct {
    const char *in;
    size_t n;
    vch_rc rc;
    const char *place;
} refused[] = {
    {"[1]\n", 4, VCH_ERR_FORMAT, "line 1: not an object"},
    {"{}\n\n7", 5, VCH_ERR_FORMAT, "line 3: not an object"},
    {"{}\n{\"a\":1,\"a\":2}\n", 17, VCH_ERR_FORMAT, "line 2"},
    {"{\"a\":1,\"\\u0061\":2}\n", 19, VCH_ERR_FORMAT, "line 1"}, /* the same name, written otherwise */
    {"{\"a\":\n1}\n", 9, VCH_ERR_FORMAT, "line 1"},              /* one object over two lines */
    {"{}{}\n", 5, VCH_ERR_FORMAT, "line 1"},
    {"  \n", 3, VCH_ERR_FORMAT, "line 1"},
    {"{}\n{\"a\":", 8, VCH_ERR_FORMAT, "line 2"},
    {"{\"a\":\"\xff\"}\n", 10, VCH_ERR_FORMAT, "line 1"},
    {"\xef\xbb\xbf{}\n", 6, VCH_ERR_FORMAT, "line 1"},
    {"{\"a\":\"\0\"}\n", 10, VCH_ERR_FORMAT, "line 1"},
    {"{}\n{\"a\":\"12345678901234567890123456789012345678901\"}\n", 53, VCH_ERR_LIMIT, "line 2 has more than 48"},
};

static void same_records_however_split(void **state)
{
    (void)state;
    vch_buf_t out;
    vch_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        vch_slice_t in = vch_str(accepted[i].in);
        for (size_t cut = 0; cut <= in.n; cut++) {
            vch_err_t err = {0};
            if (dump(&out, in, cut, &err) != VCH_OK) fail_msg("\"%s\" cut at %zu: %s", accepted[i].in, cut, err.text);
            assert_string_equal((const char *)out.p, accepted[i].records);
        }
    }
    vch_buf_free(&out);
}

static void refusals_name_the_line(void **state)
{
    (void)state;
    vch_buf_t out;
    vch_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        for (size_t cut = 0; cut <= refused[i].n; cut++) {
            vch_err_t err = {0};
            vch_rc rc = dump(&out, vch_slice(refused[i].in, refused[i].n), cut, &err);
            if (rc != refused[i].rc || !strstr(err.text, refused[i].place))
                fail_msg("\"%s\" cut at %zu: %d %s", refused[i].in, cut, (int)rc, err.text);
        }
    }
    vch_buf_free(&out);
}

static void a_refused_input_stays_refused(void **state)
{
    (void)state;
    vch_jsonl_t j;
    size_t eaten = 7;
    bool done = true;
    vch_jsonl_init(&j, 16);
    assert_int_equal(vch_jsonl_feed(&j, vch_str("1\n"), false, &eaten, &done, NULL), VCH_ERR_FORMAT);
    assert_true(eaten == 7 && done); /* outputs untouched */
    assert_int_equal(vch_jsonl_feed(&j, vch_str("{}\n"), true, &eaten, &done, NULL), VCH_ERR_FORMAT);
    assert_int_equal(vch_jsonl_cells(&j, NULL, NULL, 0, NULL), VCH_ERR_USAGE);
    vch_jsonl_free(&j);
}

static void a_line_is_bounded(void **state)
{
    (void)state;
    vch_jsonl_t j;
    vch_rc rc = VCH_OK;
    size_t eaten, fed = 0;
    bool done;
    vch_jsonl_init(&j, 1000);
    for (; rc == VCH_OK && fed < 5000; fed++) rc = vch_jsonl_feed(&j, vch_str(" "), false, &eaten, &done, NULL);
    assert_int_equal(rc, VCH_ERR_LIMIT);
    assert_true(j.text.cap <= 1001);
    vch_jsonl_free(&j);
}

/* ---- cells -------------------------------------------------------------------------- */

/* A reader that holds the one record of `text`. */
static void read_one(vch_jsonl_t *j, const char *text)
{
    size_t eaten;
    bool done = false;
    vch_jsonl_init(j, 4096);
    assert_int_equal(vch_jsonl_feed(j, vch_str(text), true, &eaten, &done, NULL), VCH_OK);
    assert_true(done);
}

static void cells_come_in_the_columns_order(void **state)
{
    (void)state;
    const vch_slice_t column[] = {vch_str("a"), vch_str("b"), vch_str("c")};
    const vch_json_t *cell[3];
    vch_jsonl_t j;
    vch_buf_t out, scratch;
    vch_buf_init(&out, 256);
    vch_buf_init(&scratch, 256);
    read_one(&j, "{\"c\":null,\"a\":{\"y\":1.0,\"x\":[]}}");
    assert_int_equal(vch_jsonl_cells(&j, cell, column, 3, NULL), VCH_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(vch_jsonl_put_cell(&out, &scratch, cell[i]), VCH_OK);
    /* a: the bytes of {"x":[],"y":1}; b: missing, so null; c: the bytes of null */
    assert_true(vch_slice_eq(vch_buf_slice(&out), vch_str("\x4e{\"x\":[],\"y\":1}\xf6\x44null")));
    vch_jsonl_free(&j);
    vch_buf_free(&out);
    vch_buf_free(&scratch);
}

static void a_member_without_a_column_is_refused(void **state)
{
    (void)state;
    const vch_slice_t column[] = {vch_str("a")};
    const vch_json_t mark, *cell[1] = {&mark};
    vch_err_t err = {0};
    vch_jsonl_t j;
    read_one(&j, "\n{\"a\":1,\"A\":2}");
    assert_int_equal(vch_jsonl_cells(&j, cell, column, 1, &err), VCH_ERR_FORMAT);
    assert_non_null(strstr(err.text, "line 2: there is no column \"A\""));
    assert_ptr_equal(cell[0], &mark);
    vch_jsonl_free(&j);
}

static void what_has_no_canonical_form_is_no_cell(void **state)
{
    (void)state;
    vch_jsonl_t j;
    vch_buf_t out, small, scratch;
    vch_buf_init(&out, 256);
    vch_buf_init(&small, 3);
    vch_buf_init(&scratch, 256);
    read_one(&j, "{\"a\":1e999,\"b\":\"long\"}");
    const vch_json_t *a = j.object->first;
    assert_int_equal(vch_jsonl_put_cell(&out, &scratch, a), VCH_ERR_FORMAT);
    assert_int_equal(vch_jsonl_put_cell(&small, &scratch, a->next), VCH_ERR_LIMIT);
    assert_true(out.n == 0 && small.n == 0);
    vch_jsonl_free(&j);
    vch_buf_free(&out);
    vch_buf_free(&small);
    vch_buf_free(&scratch);
}

static void names_are_strings_or_integers(void **state)
{
    (void)state;
    static const struct {
        const char *record, *name; /* NULL: refused with why */
        const char *why;
    } try[] = {
        {"{\"k\":\"person-7\"}", "person-7", NULL},
        {"{\"k\":7}", "7", NULL},
        {"{\"k\":-7}", "-7", NULL},
        {"{\"k\":9007199254740991}", "9007199254740991", NULL},
        {"{\"k\":9007199254740992}", NULL, "neither"},
        {"{\"k\":-9007199254740992}", NULL, "neither"},
        {"{\"k\":7.0}", NULL, "neither"},
        {"{\"k\":7e0}", NULL, "neither"},
        {"{\"k\":true}", NULL, "neither"},
        {"{\"k\":null}", NULL, "neither"},
        {"{\"k\":[\"x\"]}", NULL, "neither"},
        {"{\"k\":{}}", NULL, "neither"},
        {"{\"k\":\"\"}", NULL, "empty"},
        {"{\"k\":\"\\u0000x\"}", NULL, "NUL"},
        {"{}", NULL, "missing"},
    };
    vch_buf_t b;
    vch_buf_init(&b, 64);
    for (size_t i = 0; i < sizeof try / sizeof *try; i++) {
        vch_jsonl_t j;
        vch_err_t err = {0};
        read_one(&j, try[i].record);
        vch_buf_clear(&b);
        vch_rc rc = vch_jsonl_put_name(&j, &b, j.object->first, "key", &err);
        if (try[i].name) {
            assert_int_equal(rc, VCH_OK);
            assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str(try[i].name)));
        } else if (rc != VCH_ERR_FORMAT || b.n != 0 || !strstr(err.text, try[i].why)) {
            fail_msg("%s: %d %s", try[i].record, (int)rc, err.text);
        }
        vch_jsonl_free(&j);
    }
    vch_buf_free(&b);
}

/* ---- memory ------------------------------------------------------------------------- */

static size_t allocations_left, alive;

static void *grudging(void *ctx, void *old, size_t size)
{
    (void)ctx;
    if (size == 0) {
        alive -= old != NULL;
        free(old);
        return NULL;
    }
    if (allocations_left == 0) return NULL;
    allocations_left--;
    void *p = realloc(old, size);
    if (p && !old) alive++;
    return p;
}

/* Whichever allocation is refused, it is told and nothing leaks. */
static void each_allocation_may_be_refused(void **state)
{
    (void)state;
    static const vch_mem_t mem = {.resize = grudging};
    size_t refusals = 0;
    vch_mem_use(&mem);
    for (size_t k = 0;; k++) {
        vch_buf_t out;
        vch_err_t err = {0};
        vch_buf_init(&out, 4096);
        allocations_left = k;
        alive = 0;
        vch_rc rc = dump(&out, vch_str("{\"a\":[1,\"\\u00e9\"]}\n{\"b\":{\"c\":2}}\n"), 5, &err);
        vch_buf_free(&out);
        assert_int_equal(alive, 0);
        if (rc == VCH_OK) break;
        assert_true(rc == VCH_ERR_MEMORY || rc == VCH_ERR_LIMIT);
        refusals++;
    }
    vch_mem_use(NULL);
    assert_true(refusals >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_records_however_split),
        cmocka_unit_test(refusals_name_the_line),
        cmocka_unit_test(a_refused_input_stays_refused),
        cmocka_unit_test(a_line_is_bounded),
        cmocka_unit_test(cells_come_in_the_columns_order),
        cmocka_unit_test(a_member_without_a_column_is_refused),
        cmocka_unit_test(what_has_no_canonical_form_is_no_cell),
        cmocka_unit_test(names_are_strings_or_integers),
        cmocka_unit_test(each_allocation_may_be_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
