/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- results and errors -------------------------------------------------- */

static const struct {
    const char *name, *text;
    int exit_code;
} rc_table[] = {
#define RC_ROW(name, exit_code, text) {#name, text, exit_code},
    VCH_RC_LIST(RC_ROW)
#undef RC_ROW
};

static size_t rc_row(vch_rc rc) { return (unsigned)rc < VCH_RC_COUNT ? (size_t)rc : (size_t)VCH_ERR_INTERNAL; }

const char *vch_rc_name(vch_rc rc) { return rc_table[rc_row(rc)].name; }
const char *vch_rc_text(vch_rc rc) { return rc_table[rc_row(rc)].text; }
int vch_rc_exit(vch_rc rc) { return rc_table[rc_row(rc)].exit_code; }

/* Texts quote what came from outside: it must not end the line, nor steer a
 * terminal. */
static void one_line(char *text)
{
    for (; *text; text++)
        if ((uint8_t)*text < 0x20 || *text == 0x7f) *text = '?';
}

vch_rc vch_fail(vch_err_t *err, vch_rc rc, const char *fmt, ...)
{
    if (!err) return rc;
    err->rc = rc;
    err->hint[0] = 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    one_line(err->text);
    return rc;
}

vch_rc vch_hint(vch_err_t *err, vch_rc rc, const char *fmt, ...)
{
    if (!err) return rc;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->hint, sizeof err->hint, fmt, ap);
    va_end(ap);
    one_line(err->hint);
    return rc;
}

vch_rc vch_context(vch_err_t *err, vch_rc rc, const char *fmt, ...)
{
    if (!err) return rc;
    char cause[VCH_ERR_TEXT_MAX];
    if (err->rc != rc) { /* the cause left no text of its own */
        err->rc = rc;
        err->hint[0] = 0;
        snprintf(err->text, sizeof err->text, "%s", vch_rc_text(rc));
    }
    memcpy(cause, err->text, sizeof cause);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    one_line(err->text);
    if (n < 0 || (size_t)n + 3 > sizeof err->text) return rc;
    memcpy(err->text + n, ": ", 2);
    size_t room = sizeof err->text - (size_t)n - 3;
    size_t len = vch_min(strlen(cause), room);
    memcpy(err->text + n + 2, cause, len);
    err->text[(size_t)n + 2 + len] = 0;
    return rc;
}

/* ---- memory --------------------------------------------------------------- */

static void *libc_resize(void *ctx, void *old, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

static const vch_mem_t libc_mem = {NULL, libc_resize};
static const vch_mem_t *mem_now = &libc_mem;

void vch_mem_use(const vch_mem_t *mem) { mem_now = mem ? mem : &libc_mem; }

void *vch_resize(void *old, size_t size) { return mem_now->resize(mem_now->ctx, old, size); }

void vch_free(void *p)
{
    if (p) (void)mem_now->resize(mem_now->ctx, p, 0);
}

void *vch_alloc(size_t size)
{
    if (size == 0) return NULL;
    void *p = vch_resize(NULL, size);
    if (p) memset(p, 0, size);
    return p;
}

void *vch_alloc_array(size_t count, size_t size)
{
    size_t total;
    return vch_mul_overflows(count, size, &total) ? NULL : vch_alloc(total);
}

char *vch_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = vch_alloc(n);
    if (copy) memcpy(copy, s, n);
    return copy;
}

void vch_wipe(void *p, size_t n)
{
    if (n == 0) return;
    memset(p, 0, n);
    __asm__ __volatile__("" : : "r"(p) : "memory");
}

/* ---- buffer ---------------------------------------------------------------- */

void vch_buf_init(vch_buf_t *b, size_t max) { *b = (vch_buf_t){.max = max}; }

void vch_buf_free(vch_buf_t *b)
{
    vch_free(b->p);
    vch_buf_init(b, b->max);
}

static vch_rc buf_grow(vch_buf_t *b, size_t need)
{
    if (need > b->max) return VCH_ERR_LIMIT;
    size_t cap = b->cap ? b->cap : vch_min(64, b->max);
    while (cap < need) cap = cap > b->max / 2 ? b->max : cap * 2;
    uint8_t *p = vch_resize(b->p, cap);
    if (!p) return VCH_ERR_MEMORY;
    b->p = p;
    b->cap = cap;
    return VCH_OK;
}

vch_rc vch_buf_extend(vch_buf_t *b, size_t n, uint8_t **ret)
{
    size_t need;
    if (vch_add_overflows(b->n, n, &need)) return VCH_ERR_LIMIT;
    if (need > b->cap) VCH_TRY(buf_grow(b, need));
    *ret = b->p ? b->p + b->n : NULL;
    b->n = need;
    return VCH_OK;
}

vch_rc vch_buf_put(vch_buf_t *b, const void *p, size_t n)
{
    uint8_t *to = NULL;
    VCH_TRY(vch_buf_extend(b, n, &to));
    if (to && n) memcpy(to, p, n);
    return VCH_OK;
}

vch_rc vch_buf_u8(vch_buf_t *b, uint8_t v) { return vch_buf_put(b, &v, 1); }

vch_rc vch_buf_printf(vch_buf_t *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    uint8_t *to = NULL;
    vch_rc rc = n < 0 ? VCH_ERR_FORMAT : vch_buf_extend(b, (size_t)n + 1, &to);
    if (rc == VCH_OK) {
        vsnprintf((char *)to, (size_t)n + 1, fmt, again);
        b->n--; /* the terminating zero is not part of the contents */
    }
    va_end(again);
    return rc;
}

/* ---- arena ------------------------------------------------------------------ */

struct vch_arena_block {
    vch_arena_block_t *next;
    size_t size;
    _Alignas(16) uint8_t bytes[];
};

#define ARENA_BLOCK (64u * 1024u)

void vch_arena_init(vch_arena_t *a, size_t max) { *a = (vch_arena_t){.max = max}; }

void vch_arena_over(vch_arena_t *a, void *memory, size_t n)
{
    *a = (vch_arena_t){0};
    size_t skip = (16 - ((uintptr_t)memory & 15)) & 15;
    if (skip >= n) return;
    a->p = (uint8_t *)memory + skip;
    a->cap = n - skip;
}

static bool arena_more(vch_arena_t *a, size_t n)
{
    size_t left = a->max - vch_min(a->total, a->max), size;
    if (n > left) return false;
    size_t want = vch_min(n > ARENA_BLOCK ? n : ARENA_BLOCK, left);
    if (vch_add_overflows(want, sizeof(vch_arena_block_t), &size)) return false;
    vch_arena_block_t *block = vch_resize(NULL, size);
    if (!block) return false;
    *block = (vch_arena_block_t){a->blocks, want};
    a->blocks = block;
    a->p = block->bytes;
    a->used = 0;
    a->cap = want;
    a->total += want;
    return true;
}

void *vch_arena_alloc(vch_arena_t *a, size_t n)
{
    if (n > SIZE_MAX - 16) return NULL;
    size_t size = n ? (n + 15) & ~(size_t)15 : 16;
    if (size > a->cap - a->used && !arena_more(a, size)) return NULL;
    void *p = a->p + a->used;
    a->used += size;
    memset(p, 0, size);
    return p;
}

void *vch_arena_array(vch_arena_t *a, size_t count, size_t size)
{
    size_t total;
    return vch_mul_overflows(count, size, &total) ? NULL : vch_arena_alloc(a, total);
}

void *vch_arena_copy(vch_arena_t *a, const void *p, size_t n)
{
    void *copy = vch_arena_alloc(a, n);
    if (copy && n) memcpy(copy, p, n);
    return copy;
}

static void arena_drop_blocks(vch_arena_t *a, vch_arena_block_t *keep)
{
    for (vch_arena_block_t *b = a->blocks, *next; b; b = next) {
        next = b->next;
        if (b != keep) vch_free(b);
    }
}

void vch_arena_reset(vch_arena_t *a)
{
    vch_arena_block_t *keep = a->blocks;
    arena_drop_blocks(a, keep);
    a->used = 0;
    if (!keep) return;
    keep->next = NULL;
    a->total = keep->size;
}

void vch_arena_free(vch_arena_t *a)
{
    arena_drop_blocks(a, NULL);
    *a = (vch_arena_t){.max = a->max};
}

/* ---- text -------------------------------------------------------------------- */

/* Days since 1970 to a date of the Gregorian calendar: whole 400-year eras,
 * years counted from March so that the leap day comes last. */
void vch_utc(char ret[VCH_UTC_LEN], uint64_t ms)
{
    uint64_t z = ms / 86400000 + 719468, era = z / 146097, of_era = z % 146097;
    uint64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
    uint8_t day = (uint8_t)(of_year - (153 * m + 2) / 5 + 1), month = (uint8_t)(m < 10 ? m + 3 : m - 9);
    unsigned year = (unsigned)(y + era * 400 + (month <= 2)), of_day = (unsigned)(ms % 86400000);
    (void)snprintf(ret, VCH_UTC_LEN, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year, month, day, of_day / 3600000,
                   of_day / 60000 % 60, of_day / 1000 % 60, of_day % 1000);
}

void vch_hex(char *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool vch_unhex(uint8_t *out, size_t n, const char *hex, size_t hex_len)
{
    if (hex_len / 2 != n || hex_len % 2) return false;
    for (size_t i = 0; i < n; i++)
        if (hex_value(hex[2 * i]) < 0 || hex_value(hex[2 * i + 1]) < 0) return false;
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
    return true;
}

/* Length of the well-formed sequence at p, or 0 (RFC 3629 section 4). */
static size_t utf8_sequence(const uint8_t *p, size_t n)
{
    uint8_t c = p[0];
    size_t len = c < 0x80 ? 1 : c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (len == 0 || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (c == 0xe0 && p[1] < 0xa0) return 0; /* over-long */
    if (c == 0xed && p[1] > 0x9f) return 0; /* surrogate */
    if (c == 0xf0 && p[1] < 0x90) return 0; /* over-long */
    if (c == 0xf4 && p[1] > 0x8f) return 0; /* above U+10FFFF */
    return len;
}

bool vch_utf8_valid(vch_slice_t s)
{
    for (size_t i = 0; i < s.n;) {
        size_t len = utf8_sequence(s.p + i, s.n - i);
        if (len == 0) return false;
        i += len;
    }
    return true;
}
