/* SPDX-License-Identifier: Apache-2.0 */
/* What a line of progress says, for any figures: nothing overflows, nothing is
 * promised that isn't known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"

typedef struct {
    uint64_t from_units, from_done, units, done, total, ms;
    const char *want;
} line_t;

static void lines(void **state)
{
    (void)state;
    static const line_t line[] = {
        {0, 0, 0, 0, 0, 0, "0 rows"},
        {0, 0, 8192, 100, 1000, 0, "8192 rows, 10 %"},
        {0, 0, 8192, 100000, 1000000, 499, "8192 rows, 10 %"},
        {0, 0, 8192, 100000, 1000000, 500, "8192 rows, 10 %, 16384 rows/s, 5 s left"},
        {0, 0, 500, 100000, 1000000, 2000, "500 rows, 10 %, 250 rows/s, 18 s left"},
        {0, 0, 500, 100000, 1000000, 10000, "500 rows, 10 %, 50 rows/s, 90 s left"},
        {0, 0, 500, 100000, 1000000, 40000, "500 rows, 10 %, 12 rows/s, 7 min left"},
        {0, 0, 500, 100000, 1000000000, 2000, "500 rows, 0 %, 250 rows/s, 5 h left"},
        {0, 0, 500, 1000000, 1000000, 2000, "500 rows, 100 %, 250 rows/s"},
        {0, 0, 500, 1000001, 1000000, 2000, "500 rows, 100 %, 250 rows/s"},
        {0, 0, 500, 7, 9, 2000, "500 rows, 77 %, 250 rows/s"},
        {0, 0, 500, 7, 0, 2000, "500 rows, 250 rows/s"},
        {400, 90000, 500, 100000, 1000000, 1000, "500 rows, 10 %, 100 rows/s, 90 s left"},
        {400, 90000, 399, 89999, 1000000, 1000, "399 rows, 8 %"},
        {0, 0, 1, 1, UINT64_MAX, 1000000, "1 rows, 0 %, 0 rows/s"},
        {0, 0, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX, "18446744073709551615 rows, 100 %, 1000 rows/s"},
        {0, 0, UINT64_MAX, 1000, UINT64_MAX, 1000,
         "18446744073709551615 rows, 0 %, 18446744073709551615 rows/s, 5124095576030 h left"},
    };
    for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
        const line_t *l = &line[i];
        cli_progress_t p = {.unit = "rows", .from_units = l->from_units, .from_done = l->from_done};
        char text[CLI_PROGRESS_MAX];
        size_t n = cli_progress_text(text, &p, l->units, l->done, l->total, l->ms);
        assert_int_equal(n, strlen(text));
        assert_string_equal(text, l->want);
    }
}

/* Not on a terminal here, so nothing is ever on. */
static void off_without_a_terminal(void **state)
{
    (void)state;
    cli_t cli = {.quiet = true};
    cli_progress_t p;
    cli_progress_begin(&p, &cli, "rows");
    assert_false(p.on);
    cli_progress(&p, 1, 1, 2);
    assert_int_equal(p.width, 0);
    cli_progress_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(off_without_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
