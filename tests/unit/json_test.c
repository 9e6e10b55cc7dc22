/* SPDX-License-Identifier: Apache-2.0 */
/* The strict reader: what it takes, what it refuses, and its bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "codec/json.h"

static void refuses_what_is_not_strict(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "", " ", "{", "}", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",
        "{'a':1}", "{\"a\" 1}", "{1:2}", "[}", "{]", "nul", "nulll", "True", "NaN", "Infinity", "-Infinity", "-", "+1",
        "01", "-01", "1.", ".5", "1.e3", "1e", "1e+", "0x10", "1_000", "1 1", "null null", "{} []", "[] ,", "\"", "\"a",
        "\"\\\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\U0041\"", "\"a\nb\"", "\"\t\"", "\"\x1f\"",
        /* names used twice, also when spelt differently */
        "{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":2,\"c\":3,\"a\":4}", "{\"a\":1,\"\\u0061\":2}",
        "[{\"x\":{\"\":1,\"\":2}}]",
        /* surrogates without their other half */
        "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800x\"", "\"\\ud800\\n\"", "\"\\ud800\\u0041\"", "\"\\udc00\\ud800\"",
        "\"\\ud800\\ud800\"", "{\"\\udead\":1}",
        /* bytes that are not UTF-8, and what JSON does not call white space */
        "\"\xff\"", "\"\xc3\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "{\"\x80\":1}",
        "\xef\xbb\xbf{}", "\xc2\xa0{}", "\v1", "\f1", "// c\n1", "/* c */1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        vch_arena_t arena;
        vch_arena_init(&arena, 1 << 16);
        const vch_json_t *tree = NULL;
        vch_err_t err = {0};
        if (vch_json_parse(&arena, &tree, vch_str(wrong[i]), &err) != VCH_ERR_FORMAT)
            fail_msg("'%s' was not refused", wrong[i]);
        assert_null(tree);
        assert_non_null(strstr(err.text, "JSON, byte "));
        vch_arena_free(&arena);
    }
    vch_arena_t arena;
    vch_arena_init(&arena, 1 << 16);
    const vch_json_t *tree = NULL;
    assert_int_equal(vch_json_parse(&arena, &tree, vch_slice("1\0", 2), NULL), VCH_ERR_FORMAT);
    assert_int_equal(vch_json_parse(&arena, &tree, vch_slice("\"\\\0\"", 4), NULL), VCH_ERR_FORMAT);
    assert_int_equal(vch_json_parse(&arena, &tree, vch_slice("\"\0\"", 3), NULL), VCH_ERR_FORMAT);
    vch_arena_free(&arena);
}

static void reads_a_document(void **state)
{
    (void)state;
    static const char text[] =
        " {\"z\" : [1, -2.5e3 ,true,\tfalse,null,[],{}],\r\n\"a\":\"\\u00e9\\ud83d\\ude00\\/\\u0000\","
        "\"n\":-9223372036854775808,\"big\":9223372036854775808, \"\":0, \"neg\":-0} \n";
    vch_arena_t arena;
    vch_arena_init(&arena, 1 << 16);
    const vch_json_t *doc = NULL;
    vch_err_t err = {0};
    if (vch_json_parse(&arena, &doc, vch_str(text), &err) != VCH_OK) fail_msg("%s", err.text);
    assert_true(doc->type == VCH_JSON_OBJECT && doc->count == 6);
    assert_true(vch_slice_eq(doc->first->name, vch_str("z"))); /* the input's order stays */
    const vch_json_t *z = vch_json_get(doc, "z"), *e = z->first;
    assert_int_equal(z->count, 7);
    assert_true(e->type == VCH_JSON_NUMBER && e->integral && e->integer == 1);
    e = e->next;
    assert_true(e->type == VCH_JSON_NUMBER && !e->integral && vch_slice_eq(e->text, vch_str("-2.5e3")));
    e = e->next;
    assert_true(e->type == VCH_JSON_BOOL && e->boolean);
    e = e->next;
    assert_true(e->type == VCH_JSON_BOOL && !e->boolean);
    e = e->next;
    assert_true(e->type == VCH_JSON_NULL);
    e = e->next;
    assert_true(e->type == VCH_JSON_ARRAY && e->count == 0 && !e->first);
    e = e->next;
    assert_true(e->type == VCH_JSON_OBJECT && e->count == 0 && !e->next && !vch_json_get(e, "a"));
    assert_true(vch_slice_eq(vch_json_get(doc, "a")->text, vch_slice("\xc3\xa9\xf0\x9f\x98\x80/\0", 8)));
    assert_true(vch_json_get(doc, "n")->integral && vch_json_get(doc, "n")->integer == INT64_MIN);
    assert_false(vch_json_get(doc, "big")->integral);
    assert_true(vch_json_get(doc, "neg")->integral && vch_json_get(doc, "neg")->integer == 0);
    assert_non_null(vch_json_get(doc, ""));
    assert_null(vch_json_get(doc, "zz"));
    assert_null(vch_json_get(z, "a"));
    assert_null(vch_json_get(NULL, "a"));
    vch_arena_free(&arena);
}

/* A whole document stays refused until its last byte has come. */
static void refuses_each_truncation(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,\"\\ud83d\\ude00\",{\"b\":null}],\"\xc3\xa9\":true}";
    for (size_t n = 0; n <= strlen(text); n++) {
        uint8_t *exact = vch_alloc(n); /* of this size, so that a reader past the end is caught */
        if (n) memcpy(exact, text, n);
        vch_arena_t arena;
        vch_arena_init(&arena, 1 << 16);
        const vch_json_t *doc;
        vch_rc rc = vch_json_parse(&arena, &doc, vch_slice(exact, n), NULL);
        assert_int_equal(rc, n == strlen(text) ? VCH_OK : VCH_ERR_FORMAT);
        vch_arena_free(&arena);
        vch_free(exact);
    }
}

static vch_rc parse_nested(char open, char close, size_t depth, size_t memory)
{
    static char text[1 << 18];
    size_t n = 0;
    for (size_t i = 0; i < depth; i++) {
        text[n++] = open;
        if (open == '{') {
            memcpy(text + n, "\"\":", 3);
            n += 3;
        }
    }
    text[n++] = '0';
    for (size_t i = 0; i < depth; i++) text[n++] = close;
    vch_arena_t arena;
    vch_arena_init(&arena, memory);
    const vch_json_t *doc;
    vch_rc rc = vch_json_parse(&arena, &doc, vch_slice(text, n), NULL);
    vch_arena_free(&arena);
    return rc;
}

static void limits_hold(void **state)
{
    (void)state;
    assert_int_equal(parse_nested('[', ']', VCH_JSON_DEPTH_MAX, 1 << 20), VCH_OK);
    assert_int_equal(parse_nested('[', ']', VCH_JSON_DEPTH_MAX + 1, 1 << 20), VCH_ERR_LIMIT);
    assert_int_equal(parse_nested('{', '}', VCH_JSON_DEPTH_MAX, 1 << 20), VCH_OK);
    assert_int_equal(parse_nested('{', '}', VCH_JSON_DEPTH_MAX + 1, 1 << 20), VCH_ERR_LIMIT);
    assert_int_equal(parse_nested('[', ']', 100000, 1 << 20), VCH_ERR_LIMIT);

    static char text[VCH_JSON_NUMBER_MAX + 1];
    memset(text, '7', sizeof text);
    vch_arena_t arena;
    vch_arena_init(&arena, 1 << 16);
    const vch_json_t *doc;
    assert_int_equal(vch_json_parse(&arena, &doc, vch_slice(text, VCH_JSON_NUMBER_MAX), NULL), VCH_OK);
    assert_int_equal(vch_json_parse(&arena, &doc, vch_slice(text, VCH_JSON_NUMBER_MAX + 1), NULL), VCH_ERR_LIMIT);
    vch_arena_free(&arena);

    static uint8_t memory[1024]; /* a tree that does not fit is refused, not cut */
    vch_arena_over(&arena, memory, sizeof memory);
    assert_int_equal(vch_json_parse(&arena, &doc, vch_str("[1,2]"), NULL), VCH_OK);
    vch_arena_over(&arena, memory, sizeof memory);
    assert_int_equal(vch_json_parse(&arena, &doc, vch_str("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]"), NULL),
                     VCH_ERR_LIMIT);
}

/* Many members in the worst order, so that a double far away is found. */
static void many_members(void **state)
{
    (void)state;
    vch_buf_t b;
    vch_buf_init(&b, 1 << 20);
    assert_int_equal(vch_buf_u8(&b, '{'), VCH_OK);
    for (int i = 5000; i-- > 0;) assert_int_equal(vch_buf_printf(&b, "\"%d\":%d,", i, i), VCH_OK);
    size_t common = b.n;
    vch_arena_t arena;
    vch_arena_init(&arena, 4 << 20);
    const vch_json_t *doc;
    assert_int_equal(vch_buf_put(&b, "\"x\":0}", 6), VCH_OK);
    assert_int_equal(vch_json_parse(&arena, &doc, vch_buf_slice(&b), NULL), VCH_OK);
    assert_int_equal(doc->count, 5001);
    assert_int_equal(vch_json_get(doc, "0")->integer, 0);
    assert_int_equal(vch_json_get(doc, "4999")->integer, 4999);
    assert_null(vch_json_get(doc, "5000"));
    b.n = common;
    assert_int_equal(vch_buf_put(&b, "\"4999\":0}", 9), VCH_OK);
    assert_int_equal(vch_json_parse(&arena, &doc, vch_buf_slice(&b), NULL), VCH_ERR_FORMAT);
    vch_arena_free(&arena);
    vch_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_not_strict),
        cmocka_unit_test(reads_a_document),
        cmocka_unit_test(refuses_each_truncation),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(many_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
