/* SPDX-License-Identifier: Apache-2.0 */
/* docs/api.md and the OpenAPI document are what the table of routes makes.
 * With --openapi or --markdown it prints that instead. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "codec/json.h"

static void the_page_is_the_table(void **state)
{
    const char *source = getenv("VOUCHSAFE_SOURCE");
    char path[1024];
    vch_buf_t page;
    (void)state;
    assert_non_null(source);
    snprintf(path, sizeof path, "%s/docs/api.md", source);
    vch_buf_init(&page, 1u << 20);
    assert_int_equal(api_markdown(&page), VCH_OK);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = calloc(1, page.n + 2);
    size_t n = fread(text, 1, page.n + 1, f);
    fclose(f);
    if (n != page.n || memcmp(text, page.p, n) != 0)
        fail_msg(
            "docs/api.md is not what the routes say; make it: tests/integration/api_doc_test --markdown > docs/api.md");
    free(text);
    vch_buf_free(&page);
}

static const vch_json_t *member(const vch_json_t *o, const char *name)
{
    const vch_json_t *m = vch_json_get(o, name);
    if (!m) fail_msg("no \"%s\"", name);
    return m;
}

static void check_operation(const api_route_t *r, const vch_json_t *paths)
{
    const vch_json_t *o = member(member(paths, r->path), r->method == HTTP_POST ? "post" : "get");
    size_t params = 0, open = 0;
    for (const api_param_t *p = r->param; p && p->name; p++) params++;
    const vch_json_t *given = vch_json_get(o, "parameters");
    assert_int_equal(given ? given->count : 0, params);
    assert_true((vch_json_get(o, "requestBody") != NULL) == (r->body != NULL));
    assert_non_null(vch_json_get(member(member(member(o, "responses"), "200"), "content"), r->answer));
    for (const vch_json_t *s = member(o, "security")->first; s; s = s->next) open += s->count == 0;
    assert_true(open == (r->who == API_OPEN || r->who == API_READ));
    /* each name in braces is a parameter of the path, and the other way round */
    for (const vch_json_t *p = given ? given->first : NULL; p; p = p->next) {
        char braced[64];
        vch_slice_t name = member(p, "name")->text;
        snprintf(braced, sizeof braced, "{%.*s}", (int)name.n, (const char *)name.p);
        assert_true((strstr(r->path, braced) != NULL) == vch_slice_eq(member(p, "in")->text, vch_str("path")));
    }
}

static void the_openapi_document_has_every_route(void **state)
{
    vch_buf_t doc;
    vch_arena_t arena;
    const vch_json_t *o;
    size_t routes = 0;
    (void)state;
    vch_buf_init(&doc, 1u << 20);
    vch_arena_init(&arena, 16u << 20);
    assert_int_equal(api_openapi(&doc), VCH_OK);
    assert_int_equal(vch_json_parse(&arena, &o, vch_buf_slice(&doc), NULL), VCH_OK);
    assert_true(vch_slice_eq(member(o, "openapi")->text, vch_str("3.1.0")));
    for (const api_route_t *r = api_routes; r->path; r++, routes++) check_operation(r, member(o, "paths"));
    assert_int_equal(member(o, "paths")->count, routes);
    vch_arena_free(&arena);
    vch_buf_free(&doc);
}

/* The table itself: what the dispatcher counts on. */
static void the_table_is_well_formed(void **state)
{
    (void)state;
    for (const api_route_t *r = api_routes; r->path; r++) {
        size_t params = 0;
        assert_true(r->path[0] == '/' && r->path[strlen(r->path) - 1] != '/');
        assert_true(r->method == HTTP_GET || r->method == HTTP_POST);
        assert_true((r->method == HTTP_POST) == (r->body != NULL) && (r->body != NULL) == (r->takes != NULL));
        assert_true(r->run && r->summary && r->answer && r->gives && r->gives[0]);
        assert_true(r->summary[strlen(r->summary) - 1] != '.');
        for (const api_param_t *p = r->param; p && p->name; p++, params++) assert_true(p->help && p->help[0]);
        assert_true(params <= 4);
        for (const api_route_t *other = api_routes; other->path; other++)
            assert_true(other == r || strcmp(other->path, r->path) != 0);
    }
}

static int print(vch_rc (*make)(vch_buf_t *))
{
    vch_buf_t text;
    vch_buf_init(&text, 1u << 20);
    vch_rc rc = make(&text);
    bool good = rc == VCH_OK && fwrite(text.p, 1, text.n, stdout) == text.n;
    vch_buf_free(&text);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_is_the_table),
        cmocka_unit_test(the_openapi_document_has_every_route),
        cmocka_unit_test(the_table_is_well_formed),
    };
    if (argc == 2 && strcmp(argv[1], "--openapi") == 0) return print(api_openapi);
    if (argc == 2 && strcmp(argv[1], "--markdown") == 0) return print(api_markdown);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
