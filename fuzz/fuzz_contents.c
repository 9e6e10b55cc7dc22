/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in a bundle: JSON, or one clear line and the exit code of a failed
 * verification. */
#include <assert.h>

#include "base/base.h"
#include "codec/json.h"
#include "vouchsafe/vouchsafe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_text_t text = {NULL, 0};
    vch_err_t err = {.rc = VCH_OK};
    const vch_json_t *json;
    vch_arena_t arena;
    vch_rc rc = vch_bundle_show(data, n, &text, &err);
    if (rc != VCH_OK) {
        assert(rc == VCH_ERR_COMMITMENT || rc == VCH_ERR_VERSION);
        assert(rc != VCH_ERR_COMMITMENT || vch_rc_exit(rc) == 3);
        assert(err.text[0] && !strchr(err.text, '\n') && !text.p);
        return 0;
    }
    vch_arena_init(&arena, 1u << 28);
    assert(vch_json_parse(&arena, &json, vch_slice(text.p, text.n), &err) == VCH_OK && json->type == VCH_JSON_OBJECT);
    assert(vch_json_get(json, "claims")->count == 1 && vch_json_get(json, "checkpoints")->count > 0);
    vch_arena_free(&arena);
    vch_text_free(&text);
    return 0;
}
