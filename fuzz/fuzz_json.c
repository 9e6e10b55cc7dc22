/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical form of accepted JSON is accepted and is its own canonical form. */
#include <assert.h>

#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static vch_rc canonical(vch_buf_t *out, vch_slice_t text, bool *ret_parsed)
{
    vch_arena_t arena;
    vch_arena_init(&arena, 1u << 20);
    const vch_json_t *tree = NULL;
    vch_err_t err;
    vch_rc rc = vch_json_parse(&arena, &tree, text, &err);
    *ret_parsed = rc == VCH_OK;
    if (rc == VCH_OK) rc = vch_jcs_put(out, tree);
    if (*ret_parsed && tree->type == VCH_JSON_OBJECT && tree->count > 0) assert(tree->order[0]->name.n <= text.n);
    vch_arena_free(&arena);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_buf_t first, second;
    vch_buf_init(&first, 1u << 20);
    vch_buf_init(&second, 1u << 20);
    bool parsed;
    vch_rc rc = canonical(&first, vch_slice(data, n), &parsed);
    if (rc == VCH_OK) {
        assert(vch_utf8_valid(vch_buf_slice(&first)));
        rc = canonical(&second, vch_buf_slice(&first), &parsed);
        assert(rc == VCH_OK);
        assert(vch_slice_eq(vch_buf_slice(&first), vch_buf_slice(&second)));
    } else {
        assert(first.n == 0); /* nothing halfway */
    }
    vch_buf_free(&first);
    vch_buf_free(&second);
    return 0;
}
