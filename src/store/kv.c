/* SPDX-License-Identifier: Apache-2.0 */
#include "store/kv_impl.h"

vch_rc vch_kv_get(vch_kv_t *kv, vch_slice_t key, vch_buf_t *ret) { return kv->ops->get(kv, key, ret); }
vch_rc vch_kv_begin(vch_kv_t *kv, vch_err_t *err) { return kv->ops->begin(kv, err); }
vch_rc vch_kv_put(vch_kv_t *kv, vch_slice_t key, vch_slice_t value, vch_err_t *err)
{
    return kv->ops->put(kv, key, value, err);
}
vch_rc vch_kv_commit(vch_kv_t *kv, vch_err_t *err) { return kv->ops->commit(kv, err); }
vch_rc vch_kv_commit_gently(vch_kv_t *kv, vch_err_t *err) { return kv->ops->commit_gently(kv, err); }
void vch_kv_abort(vch_kv_t *kv) { kv->ops->abort(kv); }
vch_rc vch_kv_each(vch_kv_t *kv, vch_slice_t prefix, vch_kv_fn fn, void *ctx)
{
    return kv->ops->each(kv, prefix, fn, ctx);
}
vch_rc vch_kv_clear(vch_kv_t *kv, vch_err_t *err) { return kv->ops->clear(kv, err); }

void vch_kv_close(vch_kv_t *kv)
{
    if (kv) kv->ops->close(kv);
}
