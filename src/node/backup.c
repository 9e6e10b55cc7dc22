/* SPDX-License-Identifier: Apache-2.0 */
/* Backups: a copy of the directory, cut at a signed checkpoint.
 *
 *   lock → checkpoint, where its last entry ends, log/head, log/cosigned → unlock
 *   → everything else, which only ever grows: whatever an entry below the cut
 *     refers to was durable before that entry
 *   → BACKUP, last of all */
#include "node/backup_int.h"

#include "codec/text.h"
#include "entry/note.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- copying --------------------------------------------------------------------- */

static vch_rc open_in(const bk_copy_t *c, const char *dir, const char *path, vch_open_t how, vch_file_t **ret)
{
    char whole[VCH_PATH_MAX];
    vch_rc rc = vch_path(whole, "%s/%s", dir, path);
    if (rc != VCH_OK) return vch_fail(c->err, rc, "the path %.80s… is too long", path);
    return vch_file_open(c->port, ret, whole, how, c->err);
}

/* Reads, hashes, and writes when there is an `out`. */
static vch_rc pump(bk_copy_t *c, const char *path, vch_file_t *in, vch_file_t *out, uint64_t size, vch_hash_t *ret)
{
    vch_sha256_t h;
    vch_sha256_init(&h);
    for (uint64_t at = 0; at < size;) {
        size_t want = (size_t)(size - at < BK_BLOCK ? size - at : BK_BLOCK);
        vch_rc rc = vch_file_read(c->port, in, c->block, want, at, c->err);
        if (rc == VCH_OK && out) {
            rc = c->port->disk->write(c->port, out, c->block, want, at);
            if (rc != VCH_OK) (void)vch_fail(c->err, rc, "writing the copy: %s", vch_rc_text(rc));
        }
        if (rc != VCH_OK) return vch_context(c->err, rc, "%s", path);
        vch_sha256_add(&h, c->block, want);
        at += want;
    }
    vch_sha256_end(&h, ret);
    return VCH_OK;
}

vch_rc bk_hash(bk_copy_t *c, const char *dir, const char *path, uint64_t size, vch_hash_t *ret)
{
    vch_file_t *in;
    VCH_TRY(open_in(c, dir, path, VCH_OPEN_READ, &in));
    vch_rc rc = pump(c, path, in, NULL, size, ret);
    vch_file_close(c->port, in);
    return rc;
}

static vch_rc size_of(const bk_copy_t *c, const char *dir, const char *path, uint64_t *ret)
{
    char whole[VCH_PATH_MAX];
    vch_stat_t st;
    VCH_TRY(vch_path(whole, "%s/%s", dir, path));
    VCH_TRY(c->port->disk->stat(c->port, whole, &st));
    if (st.is_dir) return VCH_ERR_CONFLICT;
    *ret = st.size;
    return VCH_OK;
}

/* Exactly these bytes lie there already. */
static bool same_there(bk_copy_t *c, const char *path, uint64_t size, vch_hash_t *ret)
{
    vch_hash_t there;
    uint64_t has;
    bk_copy_t quiet = *c;
    quiet.err = NULL;
    if (size_of(c, c->to, path, &has) != VCH_OK || has != size) return false;
    return bk_hash(&quiet, c->from, path, size, ret) == VCH_OK &&
           bk_hash(&quiet, c->to, path, size, &there) == VCH_OK && vch_hash_eq(ret, &there);
}

static vch_rc make_folder(const bk_copy_t *c, const char *path, char ret_folder[VCH_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    vch_rc rc = vch_path(ret_folder, "%s%s%.*s", c->to, n ? "/" : "", (int)n, path);
    if (rc != VCH_OK) return vch_fail(c->err, rc, "the path %.80s… is too long", path);
    return vch_mkdirs(c->port, ret_folder, c->err);
}

static vch_rc write_part(bk_copy_t *c, const char *path, const char *part, uint64_t size, vch_hash_t *ret)
{
    vch_file_t *in, *out = NULL;
    VCH_TRY(open_in(c, c->from, path, VCH_OPEN_READ, &in));
    vch_rc rc = vch_file_open(c->port, &out, part, VCH_OPEN_CREATE, c->err);
    if (rc == VCH_OK) rc = c->port->disk->truncate(c->port, out, 0);
    if (rc == VCH_OK) rc = pump(c, path, in, out, size, ret);
    if (rc == VCH_OK) {
        rc = c->port->disk->sync(c->port, out);
        if (rc != VCH_OK) (void)vch_fail(c->err, rc, "syncing %s: %s", part, vch_rc_text(rc));
    }
    vch_file_close(c->port, out);
    vch_file_close(c->port, in);
    return rc;
}

vch_rc bk_copy(bk_copy_t *c, const char *path, uint64_t size, vch_hash_t *ret)
{
    char folder[VCH_PATH_MAX], part[VCH_PATH_MAX], whole[VCH_PATH_MAX];
    c->sum->files++;
    c->sum->bytes += size;
    if (same_there(c, path, size, ret)) return VCH_OK;
    VCH_TRY(make_folder(c, path, folder));
    if (vch_path(whole, "%s/%s", c->to, path) != VCH_OK || vch_path(part, "%s.part", whole) != VCH_OK)
        return vch_fail(c->err, VCH_ERR_LIMIT, "the path %.80s… is too long", path);
    VCH_TRY(write_part(c, path, part, size, ret));
    vch_rc rc = c->port->disk->rename(c->port, part, whole);
    if (rc == VCH_OK) rc = c->port->disk->sync_dir(c->port, folder);
    if (rc != VCH_OK) return vch_fail(c->err, rc, "naming %s: %s", whole, vch_rc_text(rc));
    c->sum->copied++;
    c->sum->copied_bytes += size;
    if (c->progress) c->progress(c->ctx, c->sum->files, c->sum->bytes, 0);
    return VCH_OK;
}

/* ---- the list ----------------------------------------------------------------------- */

vch_rc bk_list_put_file(vch_buf_t *b, uint64_t size, const vch_hash_t *hash, const char *path)
{
    char hex[65];
    vch_hex(hex, hash->b, 32);
    return vch_buf_printf(b, "file %llu %s %s\n", (unsigned long long)size, hex, path);
}

static vch_slice_t line_of(vch_slice_t *left)
{
    const uint8_t *end = left->n ? memchr(left->p, '\n', left->n) : NULL;
    size_t n = end ? (size_t)(end - left->p) : left->n, used = end ? n + 1 : n;
    vch_slice_t line = vch_slice(left->p, n);
    *left = vch_slice(left->p + used, left->n - used);
    return line;
}

/* What stands before the next blank; *s goes on behind it. */
static vch_slice_t word_of(vch_slice_t *s)
{
    const uint8_t *blank = s->n ? memchr(s->p, ' ', s->n) : NULL;
    size_t n = blank ? (size_t)(blank - s->p) : s->n, used = blank ? n + 1 : n;
    vch_slice_t word = vch_slice(s->p, n);
    *s = vch_slice(s->p + used, s->n - used);
    return word;
}

static bool is_word(vch_slice_t *s, const char *want) { return vch_slice_eq(word_of(s), vch_str(want)); }

static bool hash_of(vch_slice_t word, vch_hash_t *ret)
{
    return word.n == 64 && vch_unhex(ret->b, 32, (const char *)word.p, 64);
}

/* A path of a backup stays inside it. */
static bool safe_path(vch_slice_t p)
{
    if (p.n == 0 || p.n >= VCH_PATH_MAX / 2 || p.p[0] == '/') return false;
    for (size_t i = 0, from = 0; i <= p.n; i++) {
        if (i < p.n && p.p[i] < 0x20) return false;
        if (i < p.n && p.p[i] != '/') continue;
        vch_slice_t name = vch_slice(p.p + from, i - from);
        if (name.n == 0 || vch_slice_eq(name, vch_str(".")) || vch_slice_eq(name, vch_str(".."))) return false;
        from = i + 1;
    }
    return true;
}

static bool file_line(vch_slice_t line, bk_file_t *ret)
{
    if (!is_word(&line, "file") || vch_decimal_get(&ret->size, word_of(&line)) != VCH_OK) return false;
    if (!hash_of(word_of(&line), &ret->hash)) return false;
    ret->path = line;
    return safe_path(line);
}

bool bk_list_next(vch_slice_t *left, bk_file_t *ret) { return left->n > 0 && file_line(line_of(left), ret); }

static bool list_head(bk_list_t *ret, vch_slice_t *text)
{
    vch_slice_t line = line_of(text);
    if (!vch_slice_eq(line, vch_str("vouchsafe-backup 1"))) return false;
    line = line_of(text);
    if (!is_word(&line, "network") || !hash_of(line, &ret->network)) return false;
    line = line_of(text);
    if (!is_word(&line, "size") || vch_decimal_get(&ret->entries, word_of(&line)) != VCH_OK) return false;
    return vch_decimal_get(&ret->time.ms, line) == VCH_OK;
}

static vch_rc bad_list(vch_err_t *err, const char *why)
{
    (void)vch_fail(err, VCH_ERR_CORRUPT, BK_LIST ": %s", why);
    return vch_hint(err, VCH_ERR_CORRUPT, "make the backup again into the same place; it copies what is missing");
}

vch_rc bk_list_get(bk_list_t *ret, vch_slice_t text, vch_err_t *err)
{
    const vch_slice_t whole = text;
    vch_hash_t want, got;
    bk_file_t file;
    if (!list_head(ret, &text)) return bad_list(err, "it does not begin like the list of a backup");
    ret->files = text;
    while (text.n >= 4 && memcmp(text.p, "end ", 4) != 0)
        if (!file_line(line_of(&text), &file)) return bad_list(err, "a line names no file");
    ret->files.n = (size_t)(text.p - ret->files.p);
    vch_sha256(&got, whole.p, (size_t)(text.p - whole.p));
    if (text.n != 69 || text.p[68] != '\n' || !hash_of(vch_slice(text.p + 4, 64), &want) || !vch_hash_eq(&want, &got))
        return bad_list(err, "its last line is not the hash of the others");
    return VCH_OK;
}

/* ---- the cut ---------------------------------------------------------------------------- */

typedef struct {
    uint64_t size, segment, bytes;
    vch_time_t time;
    vch_buf_t head, cosigned; /* the two files as they were then */
} cut_t;

static vch_rc read_file(vch_ledger_t *l, const char *name, vch_buf_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_ledger_path(l, path, "%s", name));
    vch_rc rc = vch_read_all(l->port, ret, path, ret->max, err);
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

static vch_rc cut_inside(vch_ledger_t *l, cut_t *cut, vch_err_t *err)
{
    vch_state_info_t info;
    vch_buf_t note;
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    vch_rc rc = l->log_key ? nd_checkpoint(l, &note, err) : VCH_OK;
    vch_buf_clear(&note);
    if (rc == VCH_OK) rc = vch_log_head(l->log, &note, &cut->size, err);
    vch_buf_free(&note);
    if (rc == VCH_OK) rc = vch_log_cut(l->log, cut->size, &cut->segment, &cut->bytes, err);
    if (rc == VCH_OK) rc = read_file(l, "log/head", &cut->head, err);
    if (rc == VCH_OK) rc = read_file(l, "log/cosigned", &cut->cosigned, err);
    vch_state_info(l->state, &info);
    cut->time = info.time;
    return rc;
}

static vch_rc take_cut(vch_ledger_t *l, cut_t *cut, vch_err_t *err)
{
    bool lock = !(l->flags & VCH_LEDGER_READ_ONLY);
    if (!lock) VCH_TRY(vch_ledger_read_begin(l, err));
    if (lock) {
        pthread_mutex_lock(&l->mutex);
        vch_rc rc = nd_enter(l, err);
        if (rc != VCH_OK) pthread_mutex_unlock(&l->mutex);
        if (rc != VCH_OK) return rc;
    }
    vch_rc rc = cut_inside(l, cut, err);
    if (lock) nd_leave(l);
    pthread_mutex_unlock(&l->mutex);
    return rc;
}

/* ---- walking the directory ------------------------------------------------------------------ */

typedef struct {
    bk_copy_t copy;
    const cut_t *cut;
    bool keys;
    vch_buf_t list;
    const char *folder; /* being walked, "" at the top */
    unsigned depth;
} walk_t;

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* What a trustee remembers is a key: a copy of it would undo every erasure. */
static bool private_part(const char *path, const char *name)
{
    static const char trustee[] = "vault/trustee-", storage[] = "vault/storage-";
    if (strcmp(path, "keys") == 0 || strncmp(path, trustee, sizeof trustee - 1) == 0) return true;
    return strncmp(path, storage, sizeof storage - 1) == 0 && strcmp(name, "key.pem") == 0;
}

/* Derived, private, or not ours to keep. */
static bool skipped(const walk_t *w, const char *path, const char *name)
{
    static const char *const top[] = {"lock", "state", "tlog", "run", "log", "quarantine", BK_LIST, ND_RESTORED};
    if (ends_in(name, ".tmp") || ends_in(name, ".part") || strcmp(name, "lock") == 0) return true;
    if (strncmp(path, "vault/", 6) == 0 && strncmp(name, "up-", 3) == 0) return true; /* an upload under way */
    if (!w->keys && private_part(path, name)) return true;
    for (size_t i = 0; i < sizeof top / sizeof *top; i++)
        if (strcmp(path, top[i]) == 0) return true;
    return false;
}

static vch_rc add_file(walk_t *w, const char *path, uint64_t size)
{
    vch_hash_t hash;
    VCH_TRY(bk_copy(&w->copy, path, size, &hash));
    vch_rc rc = bk_list_put_file(&w->list, size, &hash, path);
    return rc == VCH_OK ? rc : vch_fail(w->copy.err, rc, "the list of files is too long");
}

/* A folder with a FORMAT of its own is another ledger, or this very backup. */
static bool is_ledger(const walk_t *w, const char *folder)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    return *folder && vch_path(path, "%s/%s/FORMAT", w->copy.from, folder) == VCH_OK &&
           w->copy.port->disk->stat(w->copy.port, path, &st) == VCH_OK;
}

static vch_rc walk_folder(walk_t *w, const char *folder);

static vch_rc walk_one(void *ctx, const char *name)
{
    walk_t *w = ctx;
    char path[VCH_PATH_MAX], whole[VCH_PATH_MAX];
    vch_stat_t st;
    vch_rc rc = vch_path(path, "%s%s%s", w->folder, *w->folder ? "/" : "", name);
    if (rc == VCH_OK) rc = vch_path(whole, "%s/%s", w->copy.from, path);
    if (rc != VCH_OK) return vch_fail(w->copy.err, rc, "the path %.80s… is too long", name);
    if (skipped(w, path, name)) return VCH_OK;
    rc = w->copy.port->disk->stat(w->copy.port, whole, &st);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK; /* went meanwhile, so no entry refers to it */
    if (rc != VCH_OK) return vch_fail(w->copy.err, rc, "looking at %s: %s", whole, vch_rc_text(rc));
    return st.is_dir ? walk_folder(w, path) : add_file(w, path, st.size);
}

static vch_rc walk_folder(walk_t *w, const char *folder)
{
    char whole[VCH_PATH_MAX];
    const char *before = w->folder;
    if (is_ledger(w, folder)) return VCH_OK;
    if (w->depth == 16) return vch_fail(w->copy.err, VCH_ERR_LIMIT, "%s: folders lie too deep", folder);
    VCH_TRY(vch_path(whole, "%s/%s", w->copy.from, folder));
    w->folder = folder;
    w->depth++;
    vch_rc rc = w->copy.port->disk->list(w->copy.port, whole, walk_one, w);
    w->depth--;
    w->folder = before;
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

/* "00000000000000000000.seg" */
static bool segment_of(const char *name, uint64_t *ret)
{
    uint64_t v = 0;
    if (strlen(name) != 24 || strcmp(name + 20, ".seg") != 0) return false;
    for (size_t i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9') return false;
        v = v * 10 + (uint64_t)(name[i] - '0');
    }
    *ret = v;
    return true;
}

static vch_rc add_segment(void *ctx, const char *name)
{
    walk_t *w = ctx;
    char path[VCH_PATH_MAX];
    uint64_t first, size;
    if (!segment_of(name, &first) || first > w->cut->segment) return VCH_OK;
    VCH_TRY(vch_path(path, "log/seg/%s", name));
    size = w->cut->bytes;
    if (first < w->cut->segment) VCH_TRY(size_of(&w->copy, w->copy.from, path, &size));
    return add_file(w, path, size);
}

/* A file whose bytes were read at the cut. */
static vch_rc add_bytes(walk_t *w, const char *name, const vch_buf_t *b)
{
    char folder[VCH_PATH_MAX], path[VCH_PATH_MAX];
    vch_hash_t hash;
    VCH_TRY(make_folder(&w->copy, name, folder));
    VCH_TRY(vch_path(path, "%s/%s", w->copy.to, name));
    VCH_TRY(vch_write_atomic(w->copy.port, path, vch_buf_slice(b), 0600, w->copy.err));
    vch_sha256(&hash, b->p, b->n);
    w->copy.sum->files++;
    w->copy.sum->bytes += b->n;
    return bk_list_put_file(&w->list, b->n, &hash, name);
}

static vch_rc walk_all(walk_t *w)
{
    char segments[VCH_PATH_MAX];
    VCH_TRY(vch_path(segments, "%s/log/seg", w->copy.from));
    VCH_TRY(w->copy.port->disk->list(w->copy.port, segments, add_segment, w));
    VCH_TRY(add_bytes(w, "log/head", &w->cut->head));
    VCH_TRY(add_bytes(w, "log/cosigned", &w->cut->cosigned)); /* mostly empty, but it belongs to a log */
    return walk_folder(w, "");
}

static vch_rc finish_list(walk_t *w)
{
    char hex[65], path[VCH_PATH_MAX];
    vch_hash_t hash;
    vch_sha256(&hash, w->list.p, w->list.n);
    vch_hex(hex, hash.b, 32);
    VCH_TRY(vch_buf_printf(&w->list, "end %s\n", hex));
    VCH_TRY(vch_path(path, "%s/%s", w->copy.to, BK_LIST));
    return vch_write_atomic(w->copy.port, path, vch_buf_slice(&w->list), 0600, w->copy.err);
}

/* ---- all of it --------------------------------------------------------------------------------- */

/* A folder that holds something else stays as it is. */
static vch_rc check_target(const bk_copy_t *c, const vch_ledger_t *l)
{
    char path[VCH_PATH_MAX];
    vch_hash_t network;
    vch_stat_t st;
    VCH_TRY(vch_path(path, "%s/FORMAT", c->to));
    vch_rc rc = c->port->disk->stat(c->port, path, &st);
    if (rc == VCH_ERR_NOT_FOUND) return vch_mkdirs(c->port, c->to, c->err);
    if (rc == VCH_OK) rc = nd_format_read(c->port, c->to, &network, c->err);
    if (rc != VCH_OK) return rc;
    VCH_TRY(vch_path(path, "%s/lock", c->to));
    bool live = c->port->disk->stat(c->port, path, &st) == VCH_OK;
    if (!live && vch_hash_eq(&network, &l->network)) return VCH_OK;
    return vch_hint(c->err,
                    vch_fail(c->err, VCH_ERR_CONFLICT, "%s holds %s", c->to,
                             live ? "a ledger that is in use, not a backup" : "a backup of another ledger"),
                    "choose an empty folder");
}

static vch_rc list_head_put(walk_t *w, const vch_ledger_t *l)
{
    char hex[65], path[VCH_PATH_MAX];
    vch_hex(hex, l->network.b, 32);
    VCH_TRY(vch_path(path, "%s/%s", w->copy.to, BK_LIST));
    vch_rc rc = w->copy.port->disk->remove(w->copy.port, path); /* until the new one is written it is no backup */
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND)
        return vch_fail(w->copy.err, rc, "replacing %s: %s", path, vch_rc_text(rc));
    return vch_buf_printf(&w->list, "vouchsafe-backup 1\nnetwork %s\nsize %llu %llu\n", hex,
                          (unsigned long long)w->cut->size, (unsigned long long)w->cut->time.ms);
}

static vch_rc make(walk_t *w, vch_ledger_t *l, cut_t *cut)
{
    VCH_TRY(check_target(&w->copy, l));
    VCH_TRY(take_cut(l, cut, w->copy.err));
    w->copy.sum->size = cut->size;
    w->copy.sum->time = cut->time;
    VCH_TRY(list_head_put(w, l));
    VCH_TRY(walk_all(w));
    return finish_list(w);
}

vch_rc vch_backup_make(vch_ledger_t *l, const char *to, int keys, vch_progress_fn progress, void *ctx,
                       vch_backup_t *ret, vch_err_t *err)
{
    vch_backup_t sum = {0};
    cut_t cut = {.size = 0};
    walk_t w = {.cut = &cut, .keys = keys != 0, .folder = ""};
    w.copy = (bk_copy_t){
        .port = l->port, .from = l->dir, .to = to, .progress = progress, .ctx = ctx, .sum = &sum, .err = err};
    w.copy.block = vch_alloc(BK_BLOCK);
    if (!w.copy.block) return no_memory(err);
    vch_buf_init(&cut.head, 1u << 20);
    vch_buf_init(&cut.cosigned, (size_t)1 << 30);
    vch_buf_init(&w.list, BK_LIST_MAX);
    vch_rc rc = make(&w, l, &cut);
    vch_buf_free(&w.list);
    vch_buf_free(&cut.cosigned);
    vch_buf_free(&cut.head);
    vch_free(w.copy.block);
    if (rc == VCH_OK) *ret = sum;
    return nd_told(rc, err);
}
