/* SPDX-License-Identifier: Apache-2.0 */
/* Texts for callers: hex, times, roles. */
#include "node/node_int.h"

const char *vch_version(void) { return VCH_VERSION_TEXT; }

void vch_text_free(vch_text_t *t)
{
    if (!t) return;
    vch_free(t->p);
    *t = (vch_text_t){NULL, 0};
}

vch_rc nd_told(vch_rc rc, vch_err_t *err)
{
    if (rc == VCH_OK || !err || (err->rc == rc && err->text[0])) return rc;
    return vch_fail(err, rc, "%s", vch_rc_text(rc));
}

vch_rc vch_text_take(vch_text_t *ret, vch_buf_t *b)
{
    char *p = vch_alloc(b->n + 1);
    if (!p) return VCH_ERR_MEMORY;
    if (b->n) memcpy(p, b->p, b->n);
    *ret = (vch_text_t){p, b->n};
    vch_buf_free(b);
    return VCH_OK;
}

vch_rc nd_put_hex(vch_buf_t *b, const void *p, size_t n)
{
    static const char digit[] = "0123456789abcdef";
    const uint8_t *from = p;
    uint8_t *to;
    VCH_TRY(vch_buf_extend(b, 2 * n + 2, &to));
    *to++ = '"';
    for (size_t i = 0; i < n; i++) {
        *to++ = (uint8_t)digit[from[i] >> 4];
        *to++ = (uint8_t)digit[from[i] & 15];
    }
    *to = '"';
    return VCH_OK;
}

vch_rc nd_put_time(vch_buf_t *b, const char *name, vch_time_t t)
{
    char text[VCH_UTC_LEN];
    vch_utc(text, t.ms);
    return vch_buf_printf(b, "\"%s\":\"%s\",\"%s ms\":%llu", name, text, name, (unsigned long long)t.ms);
}

static const char *const roles[] = {"custodian", "user", "node", "trustee", "storage", "witness", "auditor", "owner"};

vch_rc nd_put_roles(vch_buf_t *b, unsigned set)
{
    bool first = true;
    VCH_TRY(vch_buf_u8(b, '['));
    for (unsigned i = 0; i < 8; i++) {
        if (!(set >> i & 1)) continue;
        VCH_TRY(vch_buf_printf(b, "%s\"%s\"", first ? "" : ",", roles[i]));
        first = false;
    }
    return vch_buf_u8(b, ']');
}

bool nd_role_get(vch_slice_t name, unsigned *ret)
{
    for (unsigned i = 0; i < 8; i++)
        if (vch_slice_eq(name, vch_str(roles[i]))) {
            *ret = 1u << i;
            return true;
        }
    return false;
}
