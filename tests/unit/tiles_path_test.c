/* SPDX-License-Identifier: Apache-2.0 */
/* tlog-tiles paths: the specification's examples and the edges. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "merkle/tree.h"

static void paths_are_the_specification_s(void **state)
{
    (void)state;
    static const struct {
        int level;
        uint64_t n;
        unsigned width;
        const char *want;
    } cases[] = {
        {0, 0, 256, "tile/0/000"},
        {0, 0, 1, "tile/0/000.p/1"},
        {0, 1234067, 256, "tile/0/x001/x234/067"},
        {0, 1234067, 112, "tile/0/x001/x234/067.p/112"},
        {0, 273, 112, "tile/0/273.p/112"},
        {1, 1, 17, "tile/1/001.p/17"},
        {2, 0, 1, "tile/2/000.p/1"},
        {3, 999, 255, "tile/3/999.p/255"},
        {0, 1000, 256, "tile/0/x001/000"},
        {15, 999999, 256, "tile/15/x999/999"},
        {63, 1000000, 256, "tile/63/x001/x000/000"},
        {-1, 0, 256, "tile/entries/000"},
        {-1, 1234067, 8, "tile/entries/x001/x234/067.p/8"},
        {-1, UINT64_MAX, 255, "tile/entries/x018/x446/x744/x073/x709/x551/615.p/255"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[64];
        assert_int_equal(vch_tile_path(path, sizeof path, cases[i].level, cases[i].n, cases[i].width), VCH_OK);
        assert_string_equal(path, cases[i].want);
    }
}

static void room_is_kept_to_the_byte(void **state)
{
    (void)state;
    const char *want = "tile/0/x001/x234/067.p/112";
    char path[64];
    for (size_t room = 0; room <= strlen(want); room++) {
        memset(path, '#', sizeof path);
        assert_int_equal(vch_tile_path(path, room, 0, 1234067, 112), VCH_ERR_LIMIT);
        for (size_t i = 0; i < sizeof path; i++) assert_int_equal(path[i], '#');
    }
    assert_int_equal(vch_tile_path(path, strlen(want) + 1, 0, 1234067, 112), VCH_OK);
    assert_string_equal(path, want);
    assert_int_equal(path[strlen(want) + 1], '#');
}

static void what_is_no_tile_is_refused(void **state)
{
    (void)state;
    char path[64] = "kept";
    assert_int_equal(vch_tile_path(path, sizeof path, 0, 0, 0), VCH_ERR_USAGE); /* an empty tile must not exist */
    assert_int_equal(vch_tile_path(path, sizeof path, 0, 0, 257), VCH_ERR_USAGE);
    assert_int_equal(vch_tile_path(path, sizeof path, 64, 0, 256), VCH_ERR_USAGE);
    assert_string_equal(path, "kept");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_the_specification_s),
        cmocka_unit_test(room_is_kept_to_the_byte),
        cmocka_unit_test(what_is_no_tile_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
