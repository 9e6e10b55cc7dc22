/* SPDX-License-Identifier: Apache-2.0 */
/* CSV as RFC 4180 means it, in one piece and in every two. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "codec/text.h"

/* All records of `in`, cells in <> and records ended by |, or NULL when refused.
 * The input arrives in pieces that end at `cut` and at the end. */
static const char *dump(vch_buf_t *out, vch_slice_t in, size_t cut, vch_rc *ret_rc, vch_err_t *err)
{
    vch_csv_t c;
    assert_int_equal(vch_csv_init(&c, 8, 64), VCH_OK);
    vch_buf_clear(out);
    vch_rc rc = VCH_OK;
    for (size_t at = 0, eaten = 0; rc == VCH_OK; at += eaten) {
        size_t end = at < cut ? cut : in.n;
        bool done = false, last = end == in.n;
        rc = vch_csv_feed(&c, vch_slice(in.n ? in.p + at : NULL, end - at), last, &eaten, &done, err);
        if (rc != VCH_OK) break;
        assert_int_equal(c.offset, at + eaten);
        for (size_t i = 0; done && i < c.count; i++) {
            vch_slice_t cell = vch_csv_cell(&c, i);
            assert_int_equal(vch_buf_printf(out, "<%.*s>", (int)cell.n, (const char *)cell.p), VCH_OK);
        }
        if (done) assert_int_equal(vch_buf_printf(out, "%llu|", (unsigned long long)c.line), VCH_OK);
        if (!done && last) break;
    }
    vch_csv_free(&c);
    *ret_rc = rc;
    if (rc != VCH_OK) return NULL;
    assert_int_equal(vch_buf_u8(out, 0), VCH_OK);
    return (const char *)out->p;
}

static const struct {
    const char *in, *records;
} accepted[] = {
    {"", ""},
    {"a", "<a>1|"},
    {"a,b\n", "<a><b>1|"},
    {"a,b\r\nc,d\r\n", "<a><b>1|<c><d>2|"},
    {"a,b\nc,d", "<a><b>1|<c><d>2|"},
    {"a,b,c\nd\ne,f\n", "<a><b><c>1|<d>2|<e><f>3|"}, /* missing columns are the caller's to count */
    {",\n", "<><>1|"},
    {",,", "<><><>1|"},
    {"\n\na\n", "<>1|<>2|<a>3|"},
    {"\"\"", "<>1|"},
    {"\"\"\r\n", "<>1|"},
    {"\"a,b\",c\n", "<a,b><c>1|"},
    {"\"a\"\"b\",\"\"\"\"\n", "<a\"b><\">1|"},
    {"\"a\nb\r\nc\",d\ne\n", "<a\nb\r\nc><d>1|<e>4|"},
    {"\"a\rb\"\n", "<a\rb>1|"},
    {" a , b \n", "< a >< b >1|"}, /* spaces are part of the cell */
    {"\xc3\xbc,\"\xe6\xb0\xb4\"\n", "<\xc3\xbc><\xe6\xb0\xb4>1|"},
    {"1,2,3,4,5,6,7,8\n", "<1><2><3><4><5><6><7><8>1|"},
};

static const struct {
    const char *in;
    size_t n;
    vch_rc rc;
    const char *place, *why;
} refused[] = {
    {"a\"b\n", 4, VCH_ERR_FORMAT, "line 1, cell 1", "quote inside"},
    {"a,b\nc,d\"\n", 9, VCH_ERR_FORMAT, "line 2, cell 2", "quote inside"},
    {"\"a\"b\n", 5, VCH_ERR_FORMAT, "line 1, cell 1", "after the closing quote"},
    {"\"a\" ,b\n", 7, VCH_ERR_FORMAT, "line 1, cell 1", "after the closing quote"},
    {"x\n\"a", 4, VCH_ERR_FORMAT, "line 2, cell 1", "inside quotes"},
    {"\"a\nb", 4, VCH_ERR_FORMAT, "line 1, cell 1", "inside quotes"},
    {"\"a\n\nb\"\nc\"\n", 10, VCH_ERR_FORMAT, "line 4, cell 1", "quote inside"},
    {"a\0b\n", 4, VCH_ERR_FORMAT, "line 1, cell 1", "NUL"},
    {"a,\"\0\"\n", 6, VCH_ERR_FORMAT, "line 1, cell 2", "NUL"},
    {"\"a\"\0", 4, VCH_ERR_FORMAT, "line 1, cell 1", "NUL"},
    {"a,\xff\n", 4, VCH_ERR_FORMAT, "line 1, cell 2", "not UTF-8"},
    {"\xc3,\xbc\n", 4, VCH_ERR_FORMAT, "line 1, cell 1", "not UTF-8"}, /* halves in two cells */
    {"ok\n\xc0\x80\n", 6, VCH_ERR_FORMAT, "line 2, cell 1", "not UTF-8"},
    {"a\rb\n", 4, VCH_ERR_FORMAT, "line 1, cell 1", "carriage return"},
    {"a\r", 2, VCH_ERR_FORMAT, "line 1, cell 1", "carriage return"},
    {"1,2,3,4,5,6,7,8,9\n", 18, VCH_ERR_LIMIT, "line 1", "8 cells"},
    {"1,2,3,4,5,6,7,8,\n", 17, VCH_ERR_LIMIT, "line 1", "8 cells"},
    {"1234567890123456789012345678901234567890123456789012345678901234,5", 66, VCH_ERR_LIMIT, "line 1", "64 bytes"},
};

static void same_records_however_split(void **state)
{
    (void)state;
    vch_buf_t out;
    vch_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        vch_slice_t in = vch_str(accepted[i].in);
        for (size_t cut = 0; cut <= in.n; cut++) {
            vch_rc rc;
            vch_err_t err = {0};
            const char *found = dump(&out, in, cut, &rc, &err);
            if (!found) fail_msg("\"%s\" cut at %zu: %s", accepted[i].in, cut, err.text);
            assert_string_equal(found, accepted[i].records);
        }
    }
    vch_buf_free(&out);
}

static void refusals_name_the_place(void **state)
{
    (void)state;
    vch_buf_t out;
    vch_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        for (size_t cut = 0; cut <= refused[i].n; cut++) {
            vch_rc rc;
            vch_err_t err = {0};
            if (dump(&out, vch_slice(refused[i].in, refused[i].n), cut, &rc, &err))
                fail_msg("\"%s\" cut at %zu was not refused", refused[i].in, cut);
            assert_int_equal(rc, refused[i].rc);
            if (!strstr(err.text, refused[i].place) || !strstr(err.text, refused[i].why))
                fail_msg("\"%s\" cut at %zu: %s", refused[i].in, cut, err.text);
        }
    }
    vch_buf_free(&out);
}

static void a_refused_input_stays_refused(void **state)
{
    (void)state;
    vch_csv_t c;
    size_t eaten = 7;
    bool done = true;
    assert_int_equal(vch_csv_init(&c, 4, 16), VCH_OK);
    assert_int_equal(vch_csv_feed(&c, vch_str("a\"\n"), false, &eaten, &done, NULL), VCH_ERR_FORMAT);
    assert_true(eaten == 7 && done); /* outputs untouched */
    assert_int_equal(vch_csv_feed(&c, vch_str("a\n"), true, &eaten, &done, NULL), VCH_ERR_FORMAT);
    assert_int_equal(vch_csv_cell(&c, 0).n, 0);
    vch_csv_free(&c);
    assert_int_equal(vch_csv_init(&c, 0, 16), VCH_ERR_USAGE);
}

/* Endless quotes and an endless line stop at the bound, not at the memory. */
static void a_record_is_bounded(void **state)
{
    (void)state;
    static const char *const endless[] = {"\"\"", "x", ","};
    for (size_t k = 0; k < 3; k++) {
        vch_csv_t c;
        vch_rc rc = VCH_OK;
        size_t eaten, fed = 0;
        bool done;
        assert_int_equal(vch_csv_init(&c, 100, 1000), VCH_OK);
        if (k == 0) assert_int_equal(vch_csv_feed(&c, vch_str("\""), false, &eaten, &done, NULL), VCH_OK);
        for (; rc == VCH_OK && fed < 5000; fed++)
            rc = vch_csv_feed(&c, vch_str(endless[k]), false, &eaten, &done, NULL);
        assert_int_equal(rc, VCH_ERR_LIMIT);
        assert_true(c.text.cap <= 1000);
        vch_csv_free(&c);
    }
}

static void cells_survive_the_round_trip(void **state)
{
    (void)state;
    static const char *const cells[] = {"", "a", "a b", "a,b", "\"", "a\"\"b", "\n", "\r\n", "x\r", "\xc3\xbc", "\"\""};
    vch_buf_t b;
    vch_buf_init(&b, 256);
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        vch_buf_clear(&b);
        assert_int_equal(vch_csv_put_cell(&b, vch_str(cells[i])), VCH_OK);
        assert_int_equal(vch_buf_put(&b, ",end\r\n", 6), VCH_OK);
        vch_csv_t c;
        size_t eaten = 0;
        bool done = false;
        assert_int_equal(vch_csv_init(&c, 4, 64), VCH_OK);
        assert_int_equal(vch_csv_feed(&c, vch_buf_slice(&b), true, &eaten, &done, NULL), VCH_OK);
        assert_true(done && eaten == b.n && c.count == 2);
        assert_true(vch_slice_eq(vch_csv_cell(&c, 0), vch_str(cells[i])));
        assert_true(vch_slice_eq(vch_csv_cell(&c, 1), vch_str("end")));
        vch_csv_free(&c);
    }
    vch_buf_clear(&b);
    assert_int_equal(vch_csv_put_cell(&b, vch_slice("a\0", 2)), VCH_ERR_FORMAT);
    assert_int_equal(vch_csv_put_cell(&b, vch_str("\xff")), VCH_ERR_FORMAT);
    assert_int_equal(b.n, 0);
    vch_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_records_however_split),    cmocka_unit_test(refusals_name_the_place),
        cmocka_unit_test(a_refused_input_stays_refused), cmocka_unit_test(a_record_is_bounded),
        cmocka_unit_test(cells_survive_the_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
