/* SPDX-License-Identifier: Apache-2.0 */
/* What is accepted is written again as the same bytes; what is refused leaves
 * the index empty. */
#include <assert.h>

#include "state/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

typedef struct {
    vch_slice_t left;
    size_t piece;
} source_t;

static vch_rc give(void *ctx, uint8_t *ret, size_t n, size_t *ret_n, vch_err_t *err)
{
    source_t *s = ctx;
    (void)err;
    *ret_n = vch_min(vch_min(n, s->piece), s->left.n);
    if (*ret_n == 0) return VCH_OK;
    memcpy(ret, s->left.p, *ret_n);
    s->left = vch_slice(s->left.p + *ret_n, s->left.n - *ret_n);
    return VCH_OK;
}

static vch_rc take(void *ctx, vch_slice_t bytes, vch_err_t *err)
{
    (void)err;
    return vch_buf_put(ctx, bytes.p, bytes.n);
}

static vch_rc there(void *ctx, vch_slice_t key, vch_slice_t value)
{
    (void)ctx;
    (void)key;
    (void)value;
    return VCH_ERR_CONFLICT;
}

/* The first byte says how much comes at a time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_kv_t *kv;
    vch_state_t *s = NULL;
    vch_err_t err = {0};
    vch_buf_t again;
    if (n == 0 || vch_kv_open_memory(&kv, NULL) != VCH_OK) return 0;
    source_t from = {vch_slice(data + 1, n - 1), 1u + data[0]};
    vch_rc rc = vch_snapshot_read(&s, kv, give, &from, &err);
    if (rc == VCH_OK) {
        vch_buf_init(&again, 1u << 26);
        rc = vch_snapshot_write(s, take, &again, &err);
        assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&again), vch_slice(data + 1, n - 1)));
        vch_buf_free(&again);
        vch_state_free(s);
    } else {
        assert(err.text[0] && vch_kv_each(kv, vch_slice(NULL, 0), there, NULL) == VCH_OK);
    }
    vch_kv_close(kv);
    return 0;
}
