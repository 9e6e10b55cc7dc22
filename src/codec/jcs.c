/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- canonical numbers -------------------------------------------------------------
 *
 * RFC 8785 section 3.2.2.3 prints a number as ECMAScript does: the fewest
 * digits that read back as the same double.  Digits travel as integers with a
 * decimal exponent, so no locale's decimal point ever gets in. */

#define DOUBLE_EXACT_MAX ((int64_t)1 << 53)

static double to_double(uint64_t digits, long exponent)
{
    char text[48];
    snprintf(text, sizeof text, "%llue%ld", (unsigned long long)digits, exponent);
    return strtod(text, NULL);
}

/* The value of a number as written, rounded once. */
static double number_value(vch_slice_t text)
{
    char plain[VCH_JSON_NUMBER_MAX + 32];
    size_t n = 0, i = 0;
    long shift = 0, exponent = 0;
    bool fraction = false;
    for (; i < text.n && (text.p[i] | 0x20) != 'e'; i++) {
        if (fraction) shift--;
        if (text.p[i] == '.')
            fraction = true;
        else
            plain[n++] = (char)text.p[i];
    }
    bool negative = i + 1 < text.n && text.p[i + 1] == '-';
    for (i++; i < text.n; i++)
        if (text.p[i] >= '0' && text.p[i] <= '9' && exponent < 100000) exponent = exponent * 10 + (text.p[i] - '0');
    snprintf(plain + n, sizeof plain - n, "e%ld", (negative ? -exponent : exponent) + shift);
    return strtod(plain, NULL);
}

/* v > 0 as `digits` times ten to the `exponent`, `count` digits.  The nearest
 * decimal of a length may miss where the doubles below lie twice as dense (at
 * a power of two) while its upper neighbour hits, so both are tried. */
static void shortest(double v, uint64_t *digits, int *count, long *exponent)
{
    for (int k = 1; k <= 17; k++) {
        char text[40], *at = text;
        snprintf(text, sizeof text, "%.*e", k - 1, v);
        uint64_t s = 0;
        for (; *at != 'e'; at++)
            if (*at >= '0' && *at <= '9') s = s * 10 + (uint64_t)(*at - '0');
        *exponent = strtol(at + 1, NULL, 10) - (k - 1);
        *digits = s;
        *count = k;
        if (to_double(s, *exponent) == v) return;
        *digits = s + 1;
        if (to_double(s + 1, *exponent) == v) return;
    }
}

/* ECMAScript's Number::toString: `n` digits before the decimal point. */
static vch_rc put_digits(vch_buf_t *b, const char *s, int k, long n)
{
    if (k <= n && n <= 21) return vch_buf_printf(b, "%s%.*s", s, (int)n - k, "00000000000000000000");
    if (0 < n && n <= 21) return vch_buf_printf(b, "%.*s.%s", (int)n, s, s + n);
    if (-6 < n && n <= 0) return vch_buf_printf(b, "0.%.*s%s", (int)-n, "00000", s);
    return vch_buf_printf(b, "%c%s%se%+ld", s[0], k > 1 ? "." : "", s + 1, n - 1);
}

static vch_rc put_number(vch_buf_t *b, const vch_json_t *number)
{
    if (number->integral && number->integer >= -DOUBLE_EXACT_MAX && number->integer <= DOUBLE_EXACT_MAX)
        return vch_buf_printf(b, "%lld", (long long)number->integer);
    double v = number_value(number->text);
    if (!isfinite(v)) return VCH_ERR_FORMAT;
    if (v == 0) return vch_buf_u8(b, '0'); /* minus zero too */
    uint64_t digits = 0;
    int count = 0;
    long exponent = 0;
    shortest(fabs(v), &digits, &count, &exponent);
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)digits);
    if (v < 0) VCH_TRY(vch_buf_u8(b, '-'));
    return put_digits(b, text, count, count + exponent);
}

/* ---- canonical text ------------------------------------------------------------------ */

static vch_rc put_escape(vch_buf_t *b, uint8_t c)
{
    static const char values[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    const char *found = c ? strchr(values, c) : NULL;
    if (found) return vch_buf_printf(b, "\\%c", names[found - values]);
    return vch_buf_printf(b, "\\u%04x", c);
}

static vch_rc put_string(vch_buf_t *b, vch_slice_t s)
{
    VCH_TRY(vch_buf_u8(b, '"'));
    for (size_t i = 0; i < s.n;) {
        size_t from = i;
        while (i < s.n && s.p[i] >= 0x20 && s.p[i] != '"' && s.p[i] != '\\') i++;
        if (i > from)
            VCH_TRY(vch_buf_put(b, s.p + from, i - from));
        else
            VCH_TRY(put_escape(b, s.p[i++]));
    }
    return vch_buf_u8(b, '"');
}

/* A failure halfway takes back what was appended. */
static vch_rc keep_or_undo(vch_buf_t *b, size_t before, vch_rc rc)
{
    if (rc != VCH_OK) b->n = before;
    return rc;
}

vch_rc vch_json_put_string(vch_buf_t *b, vch_slice_t s)
{
    size_t before = b->n;
    if (!vch_utf8_valid(s)) return VCH_ERR_FORMAT;
    return keep_or_undo(b, before, put_string(b, s));
}

static vch_rc put_value(vch_buf_t *b, const vch_json_t *v);

static vch_rc put_container(vch_buf_t *b, const vch_json_t *v, char open, char close)
{
    VCH_TRY(vch_buf_u8(b, (uint8_t)open));
    const vch_json_t *child = v->first;
    for (size_t i = 0; i < v->count; i++) {
        if (v->type == VCH_JSON_OBJECT) child = v->order[i];
        if (i > 0) VCH_TRY(vch_buf_u8(b, ','));
        if (v->type == VCH_JSON_OBJECT) {
            VCH_TRY(put_string(b, child->name));
            VCH_TRY(vch_buf_u8(b, ':'));
        }
        VCH_TRY(put_value(b, child));
        child = child->next;
    }
    return vch_buf_u8(b, (uint8_t)close);
}

/* As deep as the tree, and the reader's trees are VCH_JSON_DEPTH_MAX at most. */
static vch_rc put_value(vch_buf_t *b, const vch_json_t *v)
{
    switch (v->type) {
    case VCH_JSON_NULL:
        return vch_buf_put(b, "null", 4);
    case VCH_JSON_BOOL:
        return v->boolean ? vch_buf_put(b, "true", 4) : vch_buf_put(b, "false", 5);
    case VCH_JSON_NUMBER:
        return put_number(b, v);
    case VCH_JSON_STRING:
        return put_string(b, v->text);
    case VCH_JSON_ARRAY:
        return put_container(b, v, '[', ']');
    case VCH_JSON_OBJECT:
        return put_container(b, v, '{', '}');
    }
    return VCH_ERR_INTERNAL;
}

vch_rc vch_jcs_put(vch_buf_t *b, const vch_json_t *value)
{
    size_t before = b->n;
    return keep_or_undo(b, before, put_value(b, value));
}
