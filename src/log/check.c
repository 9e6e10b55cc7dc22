/* SPDX-License-Identifier: Apache-2.0 */
/* Reading everything again.  The segments, log/head and log/cosigned are the
 * truth and can only be reported; tiles, bundles and tlog/checkpoint are
 * compared with what the segments give, and can be made again. */
#include "log/log_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A kept checkpoint says that the first `size` entries have this root. */
typedef struct {
    uint64_t size, at;
    vch_hash_t root;
} said_t;

typedef struct {
    vch_port_t *port;
    const char *dir;
    bool repair;
    vch_damage_fn fn;
    void *ctx;
    uint64_t damaged, truth;
    vch_err_t *err;

    uint64_t head_size;
    bool head_any;
    vch_hash_t head_root;
    vch_buf_t note;
    said_t *said; /* by size */
    size_t said_n, said_cap, said_next;

    vch_grow_t *grow;
    vch_hash_t network, *leaves;
    size_t leaves_cap;
    vch_buf_t bundle;
    uint32_t bundle_end[VCH_TILE_WIDTH]; /* behind entry i of the open bundle */
    vch_rc rc;                           /* of a callback that cannot return one */
} check_t;

static void report(check_t *c, const char *file, uint64_t index, uint64_t byte, bool derived, bool repaired,
                   const char *text)
{
    vch_damage_t d = {file, index, byte, derived, repaired, text};
    c->damaged++;
    if (!derived) c->truth++;
    if (c->fn) c->fn(c->ctx, &d);
}

static vch_rc read_file(check_t *c, const char *name, vch_buf_t *ret, size_t max)
{
    char path[VCH_PATH_MAX];
    if (vch_path(path, "%s/%s", c->dir, name) != VCH_OK) return VCH_ERR_LIMIT;
    return vch_read_all(c->port, ret, path, max, c->err);
}

/* ---- derived files ---------------------------------------------------------------- */

static void mend_file(check_t *c, const char *name, int level, uint64_t n, unsigned width, vch_slice_t want,
                      uint64_t index, uint64_t byte, const char *text)
{
    bool mended = c->repair && vch_tile_write(c->port, c->dir, level, n, width, want, NULL) == VCH_OK;
    report(c, name, index, byte, true, mended, text);
}

/* One file against what it must hold. */
static void compare(check_t *c, int level, uint64_t n, unsigned width, vch_slice_t want, bool needed)
{
    char tile[80], name[96];
    vch_buf_t got;
    uint64_t index = level < 0 ? n * VCH_TILE_WIDTH : n << (8 * (unsigned)level) << 8;
    if (vch_tile_path(tile, sizeof tile, level, n, width) != VCH_OK) return;
    snprintf(name, sizeof name, "tlog/%s", tile);
    vch_buf_init(&got, want.n + VCH_SECTOR);
    vch_rc rc = read_file(c, name, &got, want.n + VCH_SECTOR);
    size_t room = vch_min(got.n, want.n), same = room && memcmp(got.p, want.p, room) == 0 ? room : 0;
    while (same < room && got.p[same] == want.p[same]) same++;
    if (rc == VCH_ERR_NOT_FOUND) {
        if (needed) mend_file(c, name, level, n, width, want, index, 0, "the file is missing");
    } else if (rc == VCH_ERR_LIMIT || (rc == VCH_OK && (got.n != want.n || same < want.n))) {
        mend_file(c, name, level, n, width, want, index, same, "the file differs from what the entries give");
    } else if (rc != VCH_OK) {
        c->rc = rc;
    }
    vch_buf_free(&got);
}

typedef struct {
    check_t *c;
    int level;
    uint64_t n;
    unsigned width; /* hashes or entries known */
    const uint8_t *bytes;
    char folder[96];
} partials_t;

/* A power cut can leave a half-written file under its temporary name. */
static void remove_stray(check_t *c, const char *name)
{
    char path[VCH_PATH_MAX];
    bool removed = false;
    if (c->repair && vch_path(path, "%s/%s", c->dir, name) == VCH_OK) {
        vch_rc rc = c->port->disk->remove(c->port, path);
        removed = rc == VCH_OK || rc == VCH_ERR_NOT_FOUND; /* mending its neighbour may have taken it away */
    }
    report(c, name, 0, 0, true, removed, "no tile of this log has this name");
}

static vch_rc one_partial(void *ctx, const char *name)
{
    const partials_t *p = ctx;
    check_t *c = p->c;
    unsigned width = 0;
    char file[192];
    for (size_t i = 0; i < 4 && name[i] >= '0' && name[i] <= '9'; i++) width = 10 * width + (unsigned)(name[i] - '0');
    char again[16];
    snprintf(again, sizeof again, "%u", width);
    if (strcmp(again, name) != 0 || width == 0 || width > p->width || width == VCH_TILE_WIDTH) {
        snprintf(file, sizeof file, "%s/%.60s", p->folder, name);
        remove_stray(c, file);
        return VCH_OK;
    }
    size_t n = p->level < 0 ? c->bundle_end[width - 1] : (size_t)width * VCH_HASH_LEN;
    compare(c, p->level, p->n, width, vch_slice(p->bytes, n), true);
    return VCH_OK;
}

/* Every partial tile that lies beside tile n. */
static void compare_partials(check_t *c, int level, uint64_t n, unsigned width, const uint8_t *bytes)
{
    char tile[80], path[VCH_PATH_MAX];
    partials_t p = {c, level, n, width, bytes, ""};
    if (vch_tile_path(tile, sizeof tile, level, n, VCH_TILE_WIDTH) != VCH_OK) return;
    snprintf(p.folder, sizeof p.folder, "tlog/%s.p", tile);
    if (vch_path(path, "%s/%s", c->dir, p.folder) != VCH_OK) return;
    vch_rc rc = c->port->disk->list(c->port, path, one_partial, &p);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) c->rc = rc;
}

static void check_full(void *ctx, unsigned level, uint64_t n, const vch_hash_t node[VCH_TILE_NODES])
{
    check_t *c = ctx;
    bool needed = ((n + 1) << (8 * (level + 1))) <= c->head_size;
    vch_slice_t want = vch_slice(node, VCH_TILE_WIDTH * sizeof *node);
    if (c->truth) return;
    compare(c, (int)level, n, VCH_TILE_WIDTH, want, needed);
    compare_partials(c, (int)level, n, VCH_TILE_WIDTH, want.p);
}

static vch_rc check_bundle(check_t *c, vch_slice_t entry, uint64_t index)
{
    uint8_t len[2];
    unsigned at = (unsigned)(index % VCH_TILE_WIDTH);
    vch_put_u16(len, (uint16_t)entry.n);
    VCH_TRY(vch_buf_put(&c->bundle, len, 2));
    VCH_TRY(vch_buf_put(&c->bundle, entry.p, entry.n));
    c->bundle_end[at] = (uint32_t)c->bundle.n;
    if (index + 1 == c->head_size && at + 1 < VCH_TILE_WIDTH && !c->truth)
        compare(c, -1, index / VCH_TILE_WIDTH, at + 1, vch_buf_slice(&c->bundle), true);
    if (at + 1 < VCH_TILE_WIDTH) return VCH_OK;
    if (!c->truth) {
        compare(c, -1, index / VCH_TILE_WIDTH, VCH_TILE_WIDTH, vch_buf_slice(&c->bundle), index < c->head_size);
        compare_partials(c, -1, index / VCH_TILE_WIDTH, VCH_TILE_WIDTH, c->bundle.p);
    }
    vch_buf_clear(&c->bundle);
    return VCH_OK;
}

/* At the signed size: the root, and the partial tiles that must be there. */
static void check_signed_size(check_t *c)
{
    vch_hash_t root;
    vch_grow_root(c->grow, &root);
    if (!vch_hash_eq(&root, &c->head_root)) {
        report(c, "log/head", c->head_size, 0, false, false, "the signed root is not that of the entries");
        return;
    }
    for (unsigned l = 0; l < VCH_TILE_LEVELS; l++) {
        unsigned width = c->grow->level[l].count;
        if (width == 0) continue;
        compare(c, (int)l, c->head_size >> (8 * (l + 1) - 1) >> 1, width,
                vch_slice(c->grow->level[l].node, width * sizeof(vch_hash_t)), true);
    }
}

static void check_open_tiles(check_t *c)
{
    uint64_t size = c->grow->size;
    for (unsigned l = 0; l < VCH_TILE_LEVELS; l++)
        compare_partials(c, (int)l, size >> (8 * (l + 1) - 1) >> 1, c->grow->level[l].count,
                         (const uint8_t *)c->grow->level[l].node);
    compare_partials(c, -1, size / VCH_TILE_WIDTH, (unsigned)(size % VCH_TILE_WIDTH), c->bundle.p);
}

static void check_checkpoint(check_t *c)
{
    vch_buf_t got;
    char path[VCH_PATH_MAX];
    if (!c->head_any) return;
    vch_buf_init(&got, 2 * VCH_HEAD_SLOT);
    vch_rc rc = read_file(c, "tlog/checkpoint", &got, 2 * VCH_HEAD_SLOT);
    size_t same = 0;
    while (same < got.n && same < c->note.n && got.p[same] == c->note.p[same]) same++;
    if (rc != VCH_OK || got.n != c->note.n || same < got.n) {
        bool mended = c->repair && vch_path(path, "%s/tlog/checkpoint", c->dir) == VCH_OK &&
                      vch_write_derived(c->port, path, vch_buf_slice(&c->note), NULL) == VCH_OK;
        report(c, "tlog/checkpoint", c->head_size, same, true, mended,
               rc == VCH_OK ? "the file differs from log/head" : "the file is missing");
    }
    vch_buf_free(&got);
}

/* ---- the truth ------------------------------------------------------------------------ */

/* What others cosigned binds the log as much as its own head. */
static void check_said(check_t *c, uint64_t size)
{
    vch_hash_t root;
    if (c->said_next == c->said_n || c->said[c->said_next].size > size) return;
    vch_grow_root(c->grow, &root);
    for (; c->said_next < c->said_n && c->said[c->said_next].size <= size; c->said_next++) {
        const said_t *s = &c->said[c->said_next];
        if (s->size == size && !vch_hash_eq(&root, &s->root))
            report(c, "log/cosigned", size, s->at, false, false, "a cosigned root is not that of the entries");
    }
}

/* Stops at each size that somebody signed. */
static void grow_to(check_t *c, uint64_t at, uint64_t end)
{
    const vch_hash_t *leaf = c->leaves;
    while (at < end) {
        uint64_t stop = end;
        if (c->head_any && at < c->head_size) stop = vch_min(stop, c->head_size);
        if (c->said_next < c->said_n && at < c->said[c->said_next].size)
            stop = vch_min(stop, c->said[c->said_next].size);
        vch_grow_add(c->grow, leaf, (size_t)(stop - at), check_full, c);
        leaf += stop - at;
        at = stop;
        if (c->head_any && at == c->head_size) check_signed_size(c);
        check_said(c, at);
    }
}

static vch_rc check_leaves(check_t *c, const vch_scan_t *scan)
{
    if (c->leaves_cap < scan->head.count) {
        vch_hash_t *more = vch_resize(c->leaves, scan->head.count * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        c->leaves = more;
        c->leaves_cap = scan->head.count;
    }
    vch_group_leaves(c->leaves, &scan->head, scan->frames, 0, UINT64_MAX);
    grow_to(c, scan->head.first, scan->head.first + scan->head.count);
    const uint8_t *p = scan->frames;
    for (uint32_t i = 0; i < scan->head.count; i++) {
        const uint8_t *body = p + VCH_FRAME_HEAD;
        VCH_TRY(check_bundle(c, vch_slice(body + 4, vch_get_u32(body)), scan->head.first + i));
        p = body + vch_get_u32(p);
    }
    return c->rc;
}

static bool check_header(check_t *c, const char *name, uint64_t first, const uint8_t *p, size_t n)
{
    uint64_t said;
    vch_hash_t network;
    const char *text = NULL;
    if (n < VCH_SEG_HEADER || !vch_seg_header_get(p, &said, &network))
        text = "the segment's header is damaged";
    else if (said != first)
        text = "the header names another first entry than the file";
    else if (first > 0 && !vch_hash_eq(&network, &c->network))
        text = "the segment belongs to another network";
    else
        c->network = network;
    if (text) report(c, name, first, 0, false, false, text);
    return !text;
}

/* Groups, then zeros; *ret_next: the entry that must follow. */
static vch_rc check_groups(check_t *c, const char *name, vch_window_t *w, uint64_t first, uint64_t *ret_next)
{
    uint64_t at = VCH_SEG_HEADER, next = first, bad, end;
    vch_scan_t scan;
    for (;;) {
        VCH_TRY(vch_scan_group(w, at, next, true, &scan, c->err));
        if (scan.kind != VCH_SCAN_GROUP) break;
        if (!c->truth) VCH_TRY(check_leaves(c, &scan));
        at += scan.bytes;
        next += scan.head.count;
    }
    if (scan.kind == VCH_SCAN_BAD) {
        report(c, name, scan.bad_index, scan.bad_at, false, false, scan.what);
    } else {
        VCH_TRY(vch_scan_zeros(w, at, &bad, &end, c->err));
        if (bad < end) report(c, name, next, bad, false, false, "bytes behind the last sync group are not zero");
    }
    *ret_next = next;
    return VCH_OK;
}

static vch_rc check_segment(check_t *c, uint64_t first, uint64_t *ret_next)
{
    char path[VCH_PATH_MAX], name[64];
    vch_file_t *file = NULL;
    const uint8_t *p = NULL;
    size_t n = 0;
    vch_window_t w;
    snprintf(name, sizeof name, "log/seg/%020" PRIu64 ".seg", first);
    VCH_TRY(vch_seg_path(path, c->dir, first, c->err));
    VCH_TRY(vch_file_open(c->port, &file, path, VCH_OPEN_READ, c->err));
    vch_window_init(&w, c->port, file);
    *ret_next = first;
    vch_rc rc = vch_window_get(&w, 0, VCH_SEG_HEADER, &p, &n, c->err);
    if (rc == VCH_OK && check_header(c, name, first, p, n)) rc = check_groups(c, name, &w, first, ret_next);
    vch_window_free(&w);
    vch_file_close(c->port, file);
    return rc;
}

static vch_rc check_segments(check_t *c)
{
    uint64_t *first = NULL, next = 0;
    size_t n = 0;
    VCH_TRY(vch_segs_list(c->port, c->dir, &first, &n, c->err));
    vch_rc rc = VCH_OK;
    if (n == 0) report(c, "log/seg", 0, 0, false, false, "there is no segment");
    for (size_t i = 0; rc == VCH_OK && i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "log/seg/%020" PRIu64 ".seg", first[i]);
        if (first[i] != next && c->truth == 0)
            report(c, name, next, 0, false, false, "the entries before this segment are missing");
        rc = check_segment(c, first[i], &next);
    }
    if (rc == VCH_OK && next < c->head_size && c->truth == 0)
        report(c, "log/seg", next, 0, false, false, "the log ends below its last signed checkpoint");
    if (rc == VCH_OK && c->said_n && c->said[c->said_n - 1].size > next && c->truth == 0)
        report(c, "log/cosigned", c->said[c->said_n - 1].size, c->said[c->said_n - 1].at, false, false,
               "the log ends below a cosigned checkpoint");
    vch_free(first);
    return rc;
}

static vch_rc check_head(check_t *c)
{
    char path[VCH_PATH_MAX];
    vch_file_t *file = NULL;
    vch_head_t head = {0};
    uint64_t size = 0, bytes = 0;
    if (vch_path(path, "%s/log/head", c->dir) != VCH_OK) return vch_fail(c->err, VCH_ERR_LIMIT, "the path is too long");
    VCH_TRY(vch_file_open(c->port, &file, path, VCH_OPEN_READ, c->err));
    vch_rc rc = c->port->disk->size(c->port, file, &bytes);
    if (rc == VCH_OK) rc = vch_head_read(c->port, file, &head, &c->note, c->err);
    vch_file_close(c->port, file);
    if (rc == VCH_ERR_CORRUPT) {
        report(c, "log/head", 0, 0, false, false, "both slots are damaged");
        return VCH_OK;
    }
    if (rc != VCH_OK) return rc;
    if (bytes != 2 * VCH_HEAD_SLOT) report(c, "log/head", 0, bytes, false, false, "the file has the wrong length");
    for (unsigned i = 0; i < 2; i++)
        if (head.torn[i]) report(c, "log/head", 0, i * VCH_HEAD_SLOT, false, false, "one of the two slots is damaged");
    c->head_any = head.any;
    c->head_size = head.size;
    if (head.any && (!vch_note_parse(vch_buf_slice(&c->note), &size, &c->head_root) || size != head.size))
        report(c, "log/head", head.size, 0, false, false, "it holds something else than a checkpoint of its size");
    return VCH_OK;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = ((const said_t *)a)->size, y = ((const said_t *)b)->size;
    return x < y ? -1 : x > y;
}

static vch_rc said_one(void *ctx, uint64_t size, uint64_t at, vch_slice_t note)
{
    check_t *c = ctx;
    said_t s = {.at = at};
    if (!vch_note_parse(note, &s.size, &s.root) || s.size != size) {
        report(c, "log/cosigned", size, at, false, false, "it holds something else than a checkpoint of its size");
        return VCH_OK;
    }
    if (c->said_n == c->said_cap) {
        size_t cap = c->said_cap ? 2 * c->said_cap : 64;
        said_t *more = vch_resize(c->said, cap * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        c->said = more;
        c->said_cap = cap;
    }
    c->said[c->said_n++] = s;
    return VCH_OK;
}

static vch_rc check_cosigned(check_t *c)
{
    vch_buf_t data;
    uint64_t end = 0;
    vch_buf_init(&data, VCH_COSIGNED_MAX);
    vch_rc rc = read_file(c, "log/cosigned", &data, VCH_COSIGNED_MAX);
    if (rc == VCH_ERR_NOT_FOUND) {
        report(c, "log/cosigned", 0, 0, false, false, "the file is missing");
        rc = VCH_OK;
    } else if (rc == VCH_OK) {
        vch_err_t why = {0};
        rc = vch_cosigned_scan(vch_buf_slice(&data), 0, &end, said_one, c, &why);
        if (rc == VCH_ERR_CORRUPT) report(c, "log/cosigned", 0, end, false, false, why.text);
        if (rc == VCH_OK && end < data.n) report(c, "log/cosigned", 0, end, false, false, "the last record is damaged");
        rc = rc == VCH_ERR_CORRUPT ? VCH_OK : rc;
    }
    if (c->said_n) qsort(c->said, c->said_n, sizeof *c->said, by_size);
    vch_buf_free(&data);
    return rc;
}

static vch_rc check_all(check_t *c)
{
    VCH_TRY(check_head(c));
    VCH_TRY(check_cosigned(c));
    uint64_t before = c->truth;
    c->truth = 0; /* a damaged spare slot does not keep the tiles from being compared */
    VCH_TRY(check_segments(c));
    if (c->truth == 0 && c->head_any && c->head_size == 0) check_signed_size(c);
    if (c->truth == 0) check_open_tiles(c);
    if (c->truth == 0) check_checkpoint(c);
    c->truth += before;
    return c->rc;
}

vch_rc vch_log_check(vch_port_t *port, const char *dir, bool repair, vch_damage_fn fn, void *ctx, uint64_t *ret_damaged,
                     vch_err_t *err)
{
    check_t *c = vch_alloc(sizeof *c);
    vch_grow_t *grow = vch_alloc(sizeof *grow);
    vch_rc rc = VCH_ERR_MEMORY;
    if (c && grow) {
        *c = (check_t){.port = port, .dir = dir, .repair = repair, .fn = fn, .ctx = ctx, .err = err, .grow = grow};
        vch_buf_init(&c->note, VCH_NOTE_MAX);
        vch_buf_init(&c->bundle, (size_t)VCH_TILE_WIDTH * (VCH_ENTRY_BYTES_MAX + 2));
        rc = check_all(c);
        if (rc == VCH_OK) *ret_damaged = c->damaged;
        vch_buf_free(&c->bundle);
        vch_buf_free(&c->note);
        vch_free(c->said);
        vch_free(c->leaves);
    }
    vch_free(grow);
    vch_free(c);
    return rc == VCH_OK ? rc : vch_context(err, rc, "checking the log in %s", dir);
}
