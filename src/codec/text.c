/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/text.h"

/* ---- base64, RFC 4648 section 4 -------------------------------------------- */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

vch_rc vch_base64_put(vch_buf_t *b, const void *p, size_t n)
{
    size_t size;
    if (vch_mul_overflows(n / 3 + (n % 3 != 0), 4, &size)) return VCH_ERR_LIMIT;
    const uint8_t *in = p;
    uint8_t *to;
    VCH_TRY(vch_buf_extend(b, size, &to));
    for (; n > 0; to += 4) {
        size_t take = vch_min(n, 3);
        uint32_t v = (uint32_t)in[0] << 16;
        if (take > 1) v |= (uint32_t)in[1] << 8;
        if (take > 2) v |= in[2];
        for (unsigned i = 0; i < 4; i++) to[i] = (uint8_t)base64_digits[v >> (18 - 6 * i) & 63];
        memset(to + 1 + take, '=', 3 - take);
        in += take;
        n -= take;
    }
    return VCH_OK;
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Only digits, padded to whole quartets, and the bits no byte uses are zero
 * (section 3.5), so that each byte string has one spelling. */
static bool base64_canonical(vch_slice_t text, size_t *ret_n)
{
    if (text.n % 4) return false;
    size_t digits = text.n;
    while (digits > 0 && text.n - digits < 2 && text.p[digits - 1] == '=') digits--;
    for (size_t i = 0; i < digits; i++)
        if (base64_value(text.p[i]) < 0) return false;
    size_t pad = text.n - digits;
    if (pad == 1 && (base64_value(text.p[digits - 1]) & 3)) return false;
    if (pad == 2 && (base64_value(text.p[digits - 1]) & 15)) return false;
    *ret_n = text.n / 4 * 3 - pad;
    return true;
}

/* Text already found canonical, into exactly n bytes. */
static void base64_decode(uint8_t *to, size_t n, const uint8_t *text)
{
    uint32_t v = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < n; text++) {
        v = (v << 6 | (uint32_t)base64_value(*text)) & 0xffff;
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        to[i++] = (uint8_t)(v >> bits);
    }
}

vch_rc vch_base64_get(vch_buf_t *ret, vch_slice_t text)
{
    size_t n;
    uint8_t *to;
    if (!base64_canonical(text, &n)) return VCH_ERR_FORMAT;
    VCH_TRY(vch_buf_extend(ret, n, &to));
    base64_decode(to, n, text.p);
    return VCH_OK;
}

vch_rc vch_base64_fixed(void *ret, size_t n, vch_slice_t text)
{
    size_t found;
    if (!base64_canonical(text, &found) || found != n) return VCH_ERR_FORMAT;
    base64_decode(ret, n, text.p);
    return VCH_OK;
}

/* ---- multibase "z": base58btc ------------------------------------------------ */

#define BASE58_BYTES_MAX 128
#define BASE58_DIGITS_MAX 176 /* ceil(128 * log 256 / log 58) */

static const char base58_digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

static size_t leading(vch_slice_t s, uint8_t what)
{
    size_t n = 0;
    while (n < s.n && s.p[n] == what) n++;
    return n;
}

/* number = number * base + digit, in places of `radix`, least place first. */
static size_t push_digit(uint8_t *places, size_t count, unsigned radix, unsigned base, unsigned digit)
{
    unsigned carry = digit;
    for (size_t i = 0; i < count; i++) {
        carry += places[i] * base;
        places[i] = (uint8_t)(carry % radix);
        carry /= radix;
    }
    for (; carry > 0; carry /= radix) places[count++] = (uint8_t)(carry % radix);
    return count;
}

vch_rc vch_multibase_put(vch_buf_t *b, const void *p, size_t n)
{
    if (n > BASE58_BYTES_MAX) return VCH_ERR_LIMIT;
    vch_slice_t in = vch_slice(p, n);
    size_t zeros = leading(in, 0), count = 0;
    uint8_t places[BASE58_DIGITS_MAX + 2], *to;
    for (size_t i = zeros; i < n; i++) count = push_digit(places, count, 58, 256, in.p[i]);
    VCH_TRY(vch_buf_extend(b, 1 + zeros + count, &to));
    *to++ = 'z';
    memset(to, '1', zeros); /* each leading zero byte stays visible as a "1" */
    for (size_t i = 0; i < count; i++) to[zeros + i] = (uint8_t)base58_digits[places[count - 1 - i]];
    return VCH_OK;
}

vch_rc vch_multibase_get(vch_buf_t *ret, vch_slice_t text)
{
    if (text.n == 0 || text.p[0] != 'z') return VCH_ERR_FORMAT;
    vch_slice_t in = vch_slice(text.p + 1, text.n - 1);
    if (in.n > BASE58_DIGITS_MAX) return VCH_ERR_LIMIT;
    size_t zeros = leading(in, '1'), count = 0;
    uint8_t places[BASE58_DIGITS_MAX], *to;
    for (size_t i = zeros; i < in.n; i++) {
        const char *digit = in.p[i] ? strchr(base58_digits, in.p[i]) : NULL;
        if (!digit) return VCH_ERR_FORMAT;
        count = push_digit(places, count, 256, 58, (unsigned)(digit - base58_digits));
    }
    if (zeros + count > BASE58_BYTES_MAX) return VCH_ERR_LIMIT;
    VCH_TRY(vch_buf_extend(ret, zeros + count, &to));
    if (zeros) memset(to, 0, zeros);
    for (size_t i = 0; i < count; i++) to[zeros + i] = places[count - 1 - i];
    return VCH_OK;
}

/* ---- decimal ------------------------------------------------------------------ */

vch_rc vch_decimal_get(uint64_t *ret, vch_slice_t text)
{
    if (text.n == 0 || (text.n > 1 && text.p[0] == '0')) return VCH_ERR_FORMAT;
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return VCH_ERR_FORMAT;
        uint64_t digit = (uint64_t)(text.p[i] - '0');
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v)) return VCH_ERR_FORMAT;
    }
    *ret = v;
    return VCH_OK;
}
