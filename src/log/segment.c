/* SPDX-License-Identifier: Apache-2.0 */
/* Segment bytes: putting groups together, taking them apart, finding where
 * they end.  docs/formats/segment.md has the tables. */
#include "log/log_impl.h"

#include "crypto/sha256.h"

static const char seg_magic[8] = "VCHSEG1\n";

void vch_seg_header_put(uint8_t out[VCH_SEG_HEADER], uint64_t first, const vch_hash_t *network)
{
    memset(out, 0, VCH_SEG_HEADER);
    memcpy(out, seg_magic, 8);
    vch_put_u64(out + 8, first);
    memcpy(out + 16, network->b, 32);
    vch_put_u32(out + 508, vch_crc32c(0, out, 508));
}

bool vch_seg_header_get(const uint8_t in[VCH_SEG_HEADER], uint64_t *ret_first, vch_hash_t *ret_network)
{
    if (memcmp(in, seg_magic, 8) != 0 || vch_get_u32(in + 508) != vch_crc32c(0, in, 508)) return false;
    *ret_first = vch_get_u64(in + 8);
    memcpy(ret_network->b, in + 16, 32);
    return true;
}

uint64_t vch_group_bytes(uint32_t length)
{
    uint64_t bytes = (uint64_t)VCH_GROUP_HEAD + length + VCH_TRAILER;
    return (bytes + VCH_SECTOR - 1) / VCH_SECTOR * VCH_SECTOR;
}

static void group_head_put(uint8_t out[VCH_GROUP_HEAD], const vch_group_head_t *h)
{
    memset(out, 0, VCH_GROUP_HEAD);
    memcpy(out, "VGRP", 4);
    vch_put_u32(out + 4, 1);
    vch_put_u64(out + 8, h->height);
    vch_put_u64(out + 16, h->time.ms);
    vch_put_u64(out + 24, h->first);
    vch_put_u32(out + 32, h->count);
    vch_put_u32(out + 36, h->length);
    vch_put_u32(out + 60, vch_crc32c(0, out, 60));
}

bool vch_group_head_get(const uint8_t in[VCH_GROUP_HEAD], vch_group_head_t *ret)
{
    if (memcmp(in, "VGRP", 4) != 0 || vch_get_u32(in + 4) != 1) return false;
    if (vch_get_u32(in + 60) != vch_crc32c(0, in, 60)) return false;
    *ret = (vch_group_head_t){.height = vch_get_u64(in + 8),
                              .time = {vch_get_u64(in + 16)},
                              .first = vch_get_u64(in + 24),
                              .count = vch_get_u32(in + 32),
                              .length = vch_get_u32(in + 36)};
    return true;
}

/* ---- putting a group together ---------------------------------------------- */

static vch_rc record_bytes(const vch_record_t *r, size_t *ret, vch_err_t *err)
{
    if (r->entry.n == 0 || r->entry.n > VCH_ENTRY_BYTES_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "an entry has 1 to %u bytes, not %zu", VCH_ENTRY_BYTES_MAX, r->entry.n);
    if (r->count > VCH_TX_STATEMENTS_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "a transaction has at most %u statements", VCH_TX_STATEMENTS_MAX);
    size_t total = r->entry.n;
    for (uint32_t i = 0; i < r->count; i++) {
        size_t n = r->statements[i].n;
        if (r->erased && r->erased[i] && n != VCH_HASH_LEN)
            return vch_fail(err, VCH_ERR_FORMAT, "an erased statement is a hash of 32 bytes, not %zu", n);
        if (n > VCH_TX_BYTES_MAX || total + n > VCH_TX_BYTES_MAX)
            return vch_fail(err, VCH_ERR_LIMIT, "a transaction has at most %u bytes", VCH_TX_BYTES_MAX);
        total += n;
    }
    *ret = total + 8 + (size_t)4 * r->count;
    return VCH_OK;
}

static uint8_t record_flags(const vch_record_t *r)
{
    for (uint32_t i = 0; r->erased && i < r->count; i++)
        if (r->erased[i]) return VCH_FRAME_ERASED;
    return 0;
}

static uint8_t *put_bytes(uint8_t *at, vch_slice_t s)
{
    if (s.n) memcpy(at, s.p, s.n);
    return at + s.n;
}

static void frame_put(uint8_t *out, uint64_t index, const vch_record_t *r, size_t body_n)
{
    vch_put_u32(out, (uint32_t)body_n);
    vch_put_u64(out + 4, index);
    vch_put_u32(out + 12, 0);
    out[12] = record_flags(r);
    uint8_t *at = out + VCH_FRAME_HEAD;
    vch_put_u32(at, (uint32_t)r->entry.n);
    at = put_bytes(at + 4, r->entry);
    vch_put_u32(at, r->count);
    at += 4;
    for (uint32_t i = 0; i < r->count; i++) {
        uint32_t bit = r->erased && r->erased[i] ? VCH_ERASED_BIT : 0;
        vch_put_u32(at, (uint32_t)r->statements[i].n | bit);
        at = put_bytes(at + 4, r->statements[i]);
    }
    vch_put_u32(out + 16, vch_crc32c(vch_crc32c(0, out, 16), out + VCH_FRAME_HEAD, body_n));
}

static vch_rc frames_put(vch_buf_t *ret, uint32_t *frame_at, uint64_t first, const vch_record_t *records, size_t n,
                         vch_err_t *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t body_n = 0;
        uint8_t *out;
        VCH_TRY(record_bytes(&records[i], &body_n, err));
        frame_at[i] = (uint32_t)ret->n;
        vch_rc rc = vch_buf_extend(ret, VCH_FRAME_HEAD + body_n, &out);
        if (rc == VCH_ERR_LIMIT)
            return vch_hint(err, vch_fail(err, rc, "%zu transactions are too large for one sync group", n),
                            "append fewer at once");
        if (rc != VCH_OK) return vch_fail(err, rc, "no memory for a sync group");
        frame_put(out, first + i, &records[i], body_n);
    }
    return VCH_OK;
}

vch_rc vch_group_encode(vch_buf_t *ret, uint32_t *frame_at, const vch_group_head_t *place, const vch_record_t *records,
                        size_t n, vch_err_t *err)
{
    uint8_t *out;
    vch_buf_clear(ret);
    if (vch_buf_extend(ret, VCH_GROUP_HEAD, &out) != VCH_OK)
        return vch_fail(err, VCH_ERR_MEMORY, "no memory for a sync group");
    VCH_TRY(frames_put(ret, frame_at, place->first, records, n, err));
    vch_group_head_t head = *place;
    head.count = (uint32_t)n;
    head.length = (uint32_t)(ret->n - VCH_GROUP_HEAD);
    size_t body_end = ret->n, total = (size_t)vch_group_bytes(head.length);
    vch_rc rc = vch_buf_extend(ret, total - ret->n, &out);
    if (rc != VCH_OK) return vch_fail(err, rc, "no room for a sync group of %zu bytes", total);
    memset(out, 0, total - body_end);
    group_head_put(ret->p, &head);
    memcpy(out, "VEND", 4);
    vch_put_u32(out + 4, head.count);
    vch_put_u32(out + 8, head.length);
    vch_put_u32(out + 12, vch_crc32c(0, ret->p, body_end + 12));
    return VCH_OK;
}

/* ---- taking one apart --------------------------------------------------------- */

bool vch_frame_get(const uint8_t *p, size_t n, vch_frame_t *ret)
{
    if (n < VCH_FRAME_HEAD) return false;
    uint32_t body_n = vch_get_u32(p);
    if (body_n > VCH_BODY_BYTES_MAX || body_n > n - VCH_FRAME_HEAD) return false;
    if (vch_get_u32(p + 16) != vch_crc32c(vch_crc32c(0, p, 16), p + VCH_FRAME_HEAD, body_n)) return false;
    *ret = (vch_frame_t){vch_get_u64(p + 4), p[12], vch_slice(p + VCH_FRAME_HEAD, body_n)};
    return (p[12] & ~VCH_FRAME_ERASED) == 0 && p[13] == 0 && p[14] == 0 && p[15] == 0;
}

bool vch_body_valid(vch_slice_t body, uint8_t flags)
{
    if (body.n < 8) return false;
    size_t at = 4, entry_n = vch_get_u32(body.p);
    if (entry_n == 0 || entry_n > VCH_ENTRY_BYTES_MAX || entry_n > body.n - 8) return false;
    at += entry_n;
    uint32_t count = vch_get_u32(body.p + at);
    bool erased = false;
    at += 4;
    for (uint32_t i = 0; i < count; i++) {
        if (body.n - at < 4) return false;
        uint32_t len = vch_get_u32(body.p + at);
        size_t n = len & ~VCH_ERASED_BIT;
        at += 4;
        if (n > body.n - at) return false;
        if ((len & VCH_ERASED_BIT) && n != VCH_HASH_LEN) return false;
        if (len & VCH_ERASED_BIT) erased = true;
        at += n;
    }
    return at == body.n && count <= VCH_TX_STATEMENTS_MAX && erased == ((flags & VCH_FRAME_ERASED) != 0);
}

uint32_t vch_body_statements(vch_slice_t body) { return vch_get_u32(body.p + 4 + vch_get_u32(body.p)); }

void vch_body_split(vch_slice_t body, uint8_t flags, vch_slice_t *statements, bool *erased, vch_record_t *ret)
{
    size_t entry_n = vch_get_u32(body.p), at = entry_n + 8;
    uint32_t count = vch_get_u32(body.p + 4 + entry_n);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = vch_get_u32(body.p + at);
        erased[i] = (len & VCH_ERASED_BIT) != 0;
        statements[i] = vch_slice(body.p + at + 4, len & ~VCH_ERASED_BIT);
        at += 4 + statements[i].n;
    }
    *ret = (vch_record_t){.entry = vch_slice(body.p + 4, entry_n),
                          .statements = statements,
                          .erased = flags & VCH_FRAME_ERASED ? erased : NULL,
                          .count = count};
}

void vch_group_leaves(vch_hash_t *ret, const vch_group_head_t *head, const uint8_t *frames, uint64_t from, uint64_t to)
{
    vch_slice_t data[64];
    size_t n = 0;
    const uint8_t *p = frames;
    for (uint64_t i = head->first; i < head->first + head->count && i < to; i++) {
        uint32_t body_n = vch_get_u32(p);
        const uint8_t *body = p + VCH_FRAME_HEAD;
        p = body + body_n;
        if (i < from) continue;
        data[n++] = vch_slice(body + 4, vch_get_u32(body));
        if (n < 64) continue;
        vch_sha256_leaves(ret, data, n);
        ret += n;
        n = 0;
    }
    if (n) vch_sha256_leaves(ret, data, n);
}

/* ---- reading a file in large pieces --------------------------------------------- */

#define WINDOW_BYTES (256u << 10)

void vch_window_init(vch_window_t *w, vch_port_t *port, vch_file_t *file)
{
    *w = (vch_window_t){.port = port, .file = file};
    vch_buf_init(&w->buf, VCH_GROUP_BYTES_MAX + VCH_SECTOR);
}

void vch_window_free(vch_window_t *w) { vch_buf_free(&w->buf); }

vch_rc vch_window_get(vch_window_t *w, uint64_t at, size_t n, const uint8_t **ret, size_t *ret_n, vch_err_t *err)
{
    if (at < w->base || at - w->base > w->buf.n || w->buf.n - (at - w->base) < n) {
        size_t want = n > WINDOW_BYTES ? n : WINDOW_BYTES, got = 0;
        uint8_t *to;
        vch_buf_clear(&w->buf);
        vch_rc rc = vch_buf_extend(&w->buf, want, &to);
        if (rc != VCH_OK) return vch_fail(err, rc, "no memory to read %zu bytes of a segment", want);
        rc = w->port->disk->read(w->port, w->file, &got, to, want, at);
        w->buf.n = rc == VCH_OK ? got : 0;
        w->base = at;
        if (rc != VCH_OK) return vch_fail(err, rc, "reading a segment: %s", vch_rc_text(rc));
    }
    *ret = w->buf.p + (at - w->base);
    *ret_n = vch_min(n, w->buf.n - (size_t)(at - w->base));
    return VCH_OK;
}

/* ---- scanning --------------------------------------------------------------------- */

static bool all_zero(const uint8_t *p, size_t n) { return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0); }

static vch_rc scan_bad(vch_scan_t *s, uint64_t index, uint64_t at, const char *what)
{
    s->kind = VCH_SCAN_BAD;
    s->bad_index = index;
    s->bad_at = at;
    s->what = what;
    return VCH_OK;
}

/* The frames fill the group exactly, each with its own checksum and index. */
static vch_rc scan_frames(vch_scan_t *s, uint64_t at)
{
    size_t used = 0;
    for (uint32_t i = 0; i < s->head.count; i++) {
        vch_frame_t f;
        uint64_t index = s->head.first + i, frame_at = at + VCH_GROUP_HEAD + used;
        if (!vch_frame_get(s->frames + used, s->head.length - used, &f))
            return scan_bad(s, index, frame_at, "the frame's checksum does not match");
        if (f.index != index) return scan_bad(s, index, frame_at, "the frame has another entry's index");
        if (!vch_body_valid(f.body, f.flags)) return scan_bad(s, index, frame_at, "the frame's body is malformed");
        used += VCH_FRAME_HEAD + f.body.n;
    }
    if (used != s->head.length) return scan_bad(s, s->head.first, at, "the frames do not fill the sync group");
    return VCH_OK;
}

static vch_rc scan_whole(vch_window_t *w, uint64_t at, vch_scan_t *s, vch_err_t *err)
{
    const uint8_t *p = NULL;
    size_t got = 0, end = (size_t)VCH_GROUP_HEAD + s->head.length;
    VCH_TRY(vch_window_get(w, at, (size_t)s->bytes, &p, &got, err));
    if (got < s->bytes) return scan_bad(s, s->head.first, at + got, "the file ends within a sync group");
    s->frames = p + VCH_GROUP_HEAD;
    VCH_TRY(scan_frames(s, at));
    if (s->kind == VCH_SCAN_BAD) return VCH_OK;
    const uint8_t *t = p + end;
    if (memcmp(t, "VEND", 4) != 0 || vch_get_u32(t + 4) != s->head.count || vch_get_u32(t + 8) != s->head.length ||
        vch_get_u32(t + 12) != vch_crc32c(0, p, end + 12))
        return scan_bad(s, s->head.first, at + end, "the sync group's trailer does not match");
    if (!all_zero(t + VCH_TRAILER, (size_t)s->bytes - end - VCH_TRAILER))
        return scan_bad(s, s->head.first, at + end + VCH_TRAILER, "the padding of a sync group is not zero");
    return VCH_OK;
}

vch_rc vch_scan_group(vch_window_t *w, uint64_t at, uint64_t first, bool whole, vch_scan_t *ret, vch_err_t *err)
{
    const uint8_t *p = NULL;
    size_t got = 0;
    vch_scan_t s = {.kind = VCH_SCAN_GROUP};
    VCH_TRY(vch_window_get(w, at, VCH_GROUP_HEAD, &p, &got, err));
    if (all_zero(p, got)) {
        *ret = (vch_scan_t){.kind = VCH_SCAN_END};
        return VCH_OK;
    }
    s.head_valid = got == VCH_GROUP_HEAD && vch_group_head_get(p, &s.head);
    s.bytes = s.head_valid ? vch_group_bytes(s.head.length) : 0;
    if (!s.head_valid) {
        (void)scan_bad(&s, first, at, "no sync group begins here");
    } else if (s.head.first != first) {
        (void)scan_bad(&s, first, at, "the sync group begins with another entry");
    } else if (s.head.count == 0 || s.bytes > VCH_GROUP_BYTES_MAX ||
               s.head.count > s.head.length / (VCH_FRAME_HEAD + 9)) {
        (void)scan_bad(&s, first, at, "the sync group's length is impossible");
    } else if (whole) {
        VCH_TRY(scan_whole(w, at, &s, err));
    }
    *ret = s;
    return VCH_OK;
}

vch_rc vch_scan_zeros(vch_window_t *w, uint64_t from, uint64_t *ret_at, uint64_t *ret_end, vch_err_t *err)
{
    uint64_t at = from, bad = UINT64_MAX;
    for (;;) {
        const uint8_t *p = NULL;
        size_t got = 0;
        VCH_TRY(vch_window_get(w, at, WINDOW_BYTES, &p, &got, err));
        if (bad == UINT64_MAX && !all_zero(p, got)) {
            size_t i = 0;
            while (p[i] == 0) i++;
            bad = at + i;
        }
        at += got;
        if (got < WINDOW_BYTES) break;
    }
    *ret_at = bad == UINT64_MAX ? at : bad;
    *ret_end = at;
    return VCH_OK;
}

vch_rc vch_scan_header_after(vch_window_t *w, uint64_t from, bool *ret, uint64_t *ret_at, vch_err_t *err)
{
    for (uint64_t at = (from + VCH_SECTOR - 1) / VCH_SECTOR * VCH_SECTOR;; at += VCH_SECTOR) {
        const uint8_t *p = NULL;
        size_t got = 0;
        vch_group_head_t head;
        VCH_TRY(vch_window_get(w, at, VCH_GROUP_HEAD, &p, &got, err));
        if (got < VCH_GROUP_HEAD) break;
        if (!vch_group_head_get(p, &head)) continue;
        *ret = true;
        *ret_at = at;
        return VCH_OK;
    }
    *ret = false;
    return VCH_OK;
}
