/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds an extent, inside a version statement that the table of kinds has
 * passed: what is accepted is exactly what would be written. */
#include <assert.h>

#include "entry/holding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void look(vch_slice_t map)
{
    static uint8_t signature[VCH_KT_SETS_MAX * VCH_KT_SETS_MAX][VCH_SIG_LEN];
    vch_holding_t h;
    vch_buf_t out;
    if (vch_holding_get(&h, map) != VCH_OK) return;
    unsigned holders = vch_holding_holders(&h);
    assert(h.n >= 3 && h.k >= 1 && h.k <= h.nodes && (unsigned)h.sets * holders <= 1190);
    for (unsigned set = 0; set < h.sets; set++)
        for (unsigned i = 0; i < holders; i++) {
            assert(vch_holding_holder(&h, set, i) < h.n);
            memcpy(signature[set * holders + i], vch_holding_signature(&h, set, i), VCH_SIG_LEN);
        }
    vch_buf_init(&out, 1u << 20);
    assert(vch_holding_put(&out, &h, (const uint8_t(*)[VCH_SIG_LEN])signature) == VCH_OK);
    assert(vch_slice_eq(vch_buf_slice(&out), map));
    vch_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_statement_t st;
    vch_list_t extents;
    vch_slice_t extent, map;
    if (vch_statement_read(&st, vch_slice(data, n), NULL) != VCH_OK || st.kind != VCH_KIND_VERSION) return 0;
    if (vch_field_list(st.fields, VCH_F_VERSION_EXTENTS, &extents) != VCH_OK) return 0;
    while (vch_list_next(&extents, &extent) == VCH_OK)
        if (vch_field_map(extent, VCH_F_EXTENT_VAULT, &map) == VCH_OK) look(map);
    return 0;
}
