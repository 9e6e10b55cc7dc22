/* SPDX-License-Identifier: Apache-2.0 */
/* What a back end of the key/value index provides. */
#ifndef VCH_KV_IMPL_H
#define VCH_KV_IMPL_H

#include "store/kv.h"

typedef struct {
    vch_rc (*get)(vch_kv_t *, vch_slice_t key, vch_buf_t *ret);
    vch_rc (*begin)(vch_kv_t *, vch_err_t *);
    vch_rc (*put)(vch_kv_t *, vch_slice_t key, vch_slice_t value, vch_err_t *);
    vch_rc (*commit)(vch_kv_t *, vch_err_t *);
    vch_rc (*commit_gently)(vch_kv_t *, vch_err_t *);
    void (*abort)(vch_kv_t *);
    vch_rc (*each)(vch_kv_t *, vch_slice_t prefix, vch_kv_fn, void *ctx);
    vch_rc (*clear)(vch_kv_t *, vch_err_t *);
    void (*close)(vch_kv_t *);
} vch_kv_ops_t;

struct vch_kv {
    const vch_kv_ops_t *ops;
};

#endif
