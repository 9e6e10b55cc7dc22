/* SPDX-License-Identifier: Apache-2.0 */
/* The ground floor: errors, checked arithmetic, slices, buffers with a
 * maximum, arenas, and the one place where memory comes from.  No I/O. */
#ifndef VCH_BASE_H
#define VCH_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vouchsafe/types.h"

/* ---- limits of the formats (docs/formats) ------------------------------ */

#define VCH_HASH_LEN 32
#define VCH_TX_BYTES_MAX (960u * 1024u) /* entry and its statements together */
#define VCH_TX_STATEMENTS_MAX 65535u    /* statements of one transaction */
#define VCH_ENTRY_BYTES_MAX 65535u      /* a leaf fits a tlog-tiles bundle */
#define VCH_SALT_LEN 16                 /* a statement's salt */
#define VCH_ROW_SALT_LEN 32             /* a row commitment's salt */
#define VCH_EXTENT_ROWS_MAX (1u << 20)  /* rows of one extent */
#define VCH_GROUPS_MAX 16               /* column groups of a dataset */
#define VCH_BITMAP_LEAF 256             /* bytes of a bitmap leaf: 2,048 rows */
#define VCH_CHUNK 4096u                 /* subjects of one consent chunk */
#define VCH_PALETTE_SET_MAX 16          /* consents in one palette entry */

/* ---- errors ------------------------------------------------------------ */

/* Fill `err` (may be NULL) with rc and a one-line text; returns rc, so that a
 * failing function ends in `return vch_fail(err, VCH_ERR_…, "…", …);`. */
VCH_PRINTF(3, 4) vch_rc vch_fail(vch_err_t *err, vch_rc rc, const char *fmt, ...);
/* Add what to do next to an error already filled; returns err's rc. */
VCH_PRINTF(3, 4) vch_rc vch_hint(vch_err_t *err, vch_rc rc, const char *fmt, ...);
/* Put "context: " before the text, keeping the cause; returns rc. */
VCH_PRINTF(3, 4) vch_rc vch_context(vch_err_t *err, vch_rc rc, const char *fmt, ...);

/* Leave at once when a step fails.  The only check macro of the project. */
#define VCH_TRY(call)                                                                                                  \
    do {                                                                                                               \
        vch_rc try_rc_ = (call);                                                                                       \
        if (try_rc_ != VCH_OK) return try_rc_;                                                                         \
    } while (0)

/* ---- checked arithmetic: true when the result does not fit -------------- */

static inline bool vch_add_overflows(size_t a, size_t b, size_t *ret) { return __builtin_add_overflow(a, b, ret); }
static inline bool vch_mul_overflows(size_t a, size_t b, size_t *ret) { return __builtin_mul_overflow(a, b, ret); }
static inline size_t vch_min(size_t a, size_t b) { return a < b ? a : b; }

/* ---- numbers as bytes --------------------------------------------------- */

static inline void vch_put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void vch_put_u32(uint8_t *p, uint32_t v)
{
    vch_put_u16(p, (uint16_t)(v >> 16));
    vch_put_u16(p + 2, (uint16_t)v);
}
static inline void vch_put_u64(uint8_t *p, uint64_t v)
{
    vch_put_u32(p, (uint32_t)(v >> 32));
    vch_put_u32(p + 4, (uint32_t)v);
}
static inline uint16_t vch_get_u16(const uint8_t *p) { return (uint16_t)((p[0] << 8) | p[1]); }
static inline uint32_t vch_get_u32(const uint8_t *p) { return ((uint32_t)vch_get_u16(p) << 16) | vch_get_u16(p + 2); }
static inline uint64_t vch_get_u64(const uint8_t *p) { return ((uint64_t)vch_get_u32(p) << 32) | vch_get_u32(p + 4); }

/* ---- slices ------------------------------------------------------------- */

static inline vch_slice_t vch_slice(const void *p, size_t n) { return (vch_slice_t){(const uint8_t *)p, n}; }
static inline vch_slice_t vch_str(const char *s) { return vch_slice(s, strlen(s)); }
static inline bool vch_slice_eq(vch_slice_t a, vch_slice_t b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool vch_hash_eq(const vch_hash_t *a, const vch_hash_t *b) { return memcmp(a->b, b->b, 32) == 0; }
static inline bool vch_id_eq(const vch_id_t *a, const vch_id_t *b) { return memcmp(a->b, b->b, 32) == 0; }
static inline bool vch_keyid_eq(const vch_keyid_t *a, const vch_keyid_t *b) { return memcmp(a->b, b->b, 32) == 0; }

/* ---- memory --------------------------------------------------------------
 * Every allocation of the project goes through these, so that a test can
 * refuse the n-th one.  The table is process-wide and may only be exchanged
 * while no object of the library is alive. */

typedef struct {
    void *ctx;
    void *(*resize)(void *ctx, void *old, size_t size); /* size 0 frees; NULL = refused */
} vch_mem_t;

void vch_mem_use(const vch_mem_t *mem); /* NULL: the C library's */
void *vch_alloc(size_t size);           /* zeroed; NULL when refused; size 0 gives NULL */
void *vch_alloc_array(size_t count, size_t size);
void *vch_resize(void *old, size_t size); /* new bytes are not zeroed; old stays valid on NULL */
void vch_free(void *p);                   /* NULL is fine */
char *vch_strdup(const char *s);
void vch_wipe(void *p, size_t n); /* never optimised away */

/* ---- a growing buffer, born with its maximum ----------------------------- */

typedef struct {
    uint8_t *p;
    size_t n, cap, max;
} vch_buf_t;

void vch_buf_init(vch_buf_t *b, size_t max);
void vch_buf_free(vch_buf_t *b); /* also resets to empty; keeps max */
static inline void vch_buf_clear(vch_buf_t *b) { b->n = 0; }
static inline vch_slice_t vch_buf_slice(const vch_buf_t *b) { return vch_slice(b->p, b->n); }
/* ERR_LIMIT beyond the maximum, ERR_MEMORY when refused; contents stay. */
VCH_MUST_USE vch_rc vch_buf_put(vch_buf_t *b, const void *p, size_t n);
VCH_MUST_USE vch_rc vch_buf_u8(vch_buf_t *b, uint8_t v);
/* Make room for n more bytes and hand out where they go; they count at once. */
VCH_MUST_USE vch_rc vch_buf_extend(vch_buf_t *b, size_t n, uint8_t **ret);
VCH_MUST_USE VCH_PRINTF(2, 3) vch_rc vch_buf_printf(vch_buf_t *b, const char *fmt, ...);

/* ---- arena: memory that lives exactly as long as one request -------------
 * Either over the caller's fixed memory (vch_arena_over: never allocates) or
 * growing in blocks up to `max` bytes (vch_arena_init). */

typedef struct vch_arena_block vch_arena_block_t;
typedef struct {
    vch_arena_block_t *blocks; /* newest first; NULL in fixed mode */
    uint8_t *p;
    size_t used, cap, total, max;
} vch_arena_t;

void vch_arena_init(vch_arena_t *a, size_t max);
void vch_arena_over(vch_arena_t *a, void *memory, size_t n);
void *vch_arena_alloc(vch_arena_t *a, size_t n); /* zeroed, 16-aligned; NULL when full */
void *vch_arena_array(vch_arena_t *a, size_t count, size_t size);
void *vch_arena_copy(vch_arena_t *a, const void *p, size_t n); /* n = 0 gives a valid pointer */
void vch_arena_reset(vch_arena_t *a);                          /* forget all, keep one block */
void vch_arena_free(vch_arena_t *a);

/* ---- checks ------------------------------------------------------------- */

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4); start with crc = 0. */
uint32_t vch_crc32c(uint32_t crc, const void *p, size_t n);
/* Well-formed UTF-8 per RFC 3629: no surrogates, no over-long forms. */
bool vch_utf8_valid(vch_slice_t s);
/* Hex, lower case; out needs 2n + 1 bytes. */
void vch_hex(char *out, const uint8_t *p, size_t n);
/* Milliseconds since 1970 as "2026-11-23T10:34:29.095Z"; years beyond 9999 have more digits. */
#define VCH_UTC_LEN 40
void vch_utc(char ret[VCH_UTC_LEN], uint64_t ms);
/* Exactly 2n hex digits, either case; false otherwise. */
bool vch_unhex(uint8_t *out, size_t n, const char *hex, size_t hex_len);

#endif
