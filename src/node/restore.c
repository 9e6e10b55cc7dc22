/* SPDX-License-Identifier: Apache-2.0 */
/* Backups: judging one, and making a ledger of it again.
 *
 * A restored log may be older than what others have seen of it.  Until it has
 * caught up it carries a file RESTORED and refuses to write; or it goes on
 * under another name and key, so that nobody takes it for the old one. */
#include <stdio.h>

#include "node/backup_int.h"

#include "entry/note.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

typedef struct {
    bk_copy_t copy;
    vch_buf_t text;
    bk_list_t list;
    vch_finding_fn fn;
    void *ctx;
    uint64_t bad;
} restore_t;

static vch_rc begin(restore_t *r, vch_port_t *port, const char *from, const char *to, vch_backup_t *sum, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    r->copy = (bk_copy_t){.port = port, .from = from, .to = to, .sum = sum, .err = err};
    vch_buf_init(&r->text, BK_LIST_MAX);
    r->copy.block = vch_alloc(BK_BLOCK);
    if (!r->copy.block) return no_memory(err);
    VCH_TRY(vch_crypto_start());
    if (vch_path(path, "%s/" BK_LIST, from) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_rc rc = vch_read_all(port, &r->text, path, BK_LIST_MAX, err);
    if (rc == VCH_ERR_NOT_FOUND)
        return vch_hint(err, rc, "a backup has a file " BK_LIST "; one that was cut off has none: make it again");
    if (rc == VCH_OK) rc = bk_list_get(&r->list, vch_buf_slice(&r->text), err);
    if (rc != VCH_OK) return rc;
    sum->size = r->list.entries;
    sum->time = r->list.time;
    return VCH_OK;
}

static void end(restore_t *r)
{
    vch_buf_free(&r->text);
    vch_free(r->copy.block);
}

static vch_rc path_text(char ret[VCH_PATH_MAX], const bk_file_t *file)
{
    return vch_path(ret, "%.*s", (int)file->path.n, (const char *)file->path.p);
}

/* ---- judging -------------------------------------------------------------------------- */

static void found(restore_t *r, const char *file, const char *text)
{
    vch_finding_t f = {.file = file, .text = text};
    r->bad++;
    if (r->fn) r->fn(r->ctx, &f);
}

/* Longer files are as bad as shorter ones. */
static vch_rc judge_file(restore_t *r, const bk_file_t *file)
{
    char path[VCH_PATH_MAX], whole[VCH_PATH_MAX];
    vch_hash_t hash;
    vch_stat_t st;
    VCH_TRY(path_text(path, file));
    VCH_TRY(vch_path(whole, "%s/%s", r->copy.from, path));
    r->copy.sum->files++;
    r->copy.sum->bytes += file->size;
    if (r->copy.port->disk->stat(r->copy.port, whole, &st) != VCH_OK || st.is_dir)
        found(r, path, "it is missing from the backup");
    else if (st.size != file->size)
        found(r, path, "it has another length than " BK_LIST " says");
    else if (bk_hash(&r->copy, r->copy.from, path, file->size, &hash) != VCH_OK)
        found(r, path, "it can't be read");
    else if (!vch_hash_eq(&hash, &file->hash))
        found(r, path, "its bytes are not those that were saved");
    return VCH_OK;
}

static vch_rc judge_files(restore_t *r)
{
    vch_slice_t left = r->list.files;
    bk_file_t file;
    while (bk_list_next(&left, &file)) VCH_TRY(judge_file(r, &file));
    if (r->copy.err) *r->copy.err = (vch_err_t){0};
    return VCH_OK;
}

typedef struct {
    restore_t *r;
} pass_t;

/* What is derived was left out on purpose. */
static void pass_on(void *ctx, const vch_finding_t *f)
{
    restore_t *r = ((pass_t *)ctx)->r;
    if (f->derived) return;
    r->bad++;
    if (r->fn) r->fn(r->ctx, f);
}

static vch_rc judge(restore_t *r)
{
    uint64_t findings = 0;
    pass_t pass = {r};
    vch_err_t why = {0};
    VCH_TRY(judge_files(r));
    if (r->bad == 0) {
        vch_rc rc = vch_ledger_check(r->copy.from, 1, 0, pass_on, &pass, &findings, &why);
        if (rc != VCH_OK && rc != VCH_ERR_CORRUPT) {
            if (r->copy.err) *r->copy.err = why;
            return rc;
        }
    }
    if (r->bad == 0) return VCH_OK;
    (void)vch_fail(r->copy.err, VCH_ERR_CORRUPT, "%llu files of the backup are damaged", (unsigned long long)r->bad);
    return vch_hint(r->copy.err, VCH_ERR_CORRUPT, "make the backup again into the same place; it copies what differs");
}

vch_rc vch_backup_check(const char *from, vch_finding_fn fn, void *ctx, vch_backup_t *ret, vch_err_t *err)
{
    vch_backup_t sum = {0};
    restore_t r = {.fn = fn, .ctx = ctx};
    vch_rc rc = begin(&r, vch_port_real(), from, from, &sum, err);
    if (rc == VCH_OK) rc = judge(&r);
    end(&r);
    if (rc == VCH_OK || rc == VCH_ERR_CORRUPT) *ret = sum;
    return nd_told(rc, err);
}

/* ---- restoring --------------------------------------------------------------------------- */

static vch_rc any_name(void *ctx, const char *name)
{
    *(bool *)ctx = strcmp(name, ND_RESTORED) != 0;
    return *(bool *)ctx ? VCH_ERR_CONFLICT : VCH_OK;
}

/* Empty, absent, or what an earlier try left, which has no FORMAT yet. */
static vch_rc check_target(const restore_t *r)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    bool any = false;
    VCH_TRY(vch_path(path, "%s/" ND_RESTORED, r->copy.to));
    bool begun = r->copy.port->disk->stat(r->copy.port, path, &st) == VCH_OK;
    VCH_TRY(vch_path(path, "%s/FORMAT", r->copy.to));
    bool whole = r->copy.port->disk->stat(r->copy.port, path, &st) == VCH_OK;
    vch_rc rc = r->copy.port->disk->list(r->copy.port, r->copy.to, any_name, &any);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND && rc != VCH_ERR_CONFLICT)
        return vch_fail(r->copy.err, rc, "looking into %s: %s", r->copy.to, vch_rc_text(rc));
    if (!any || (begun && !whole)) return vch_mkdirs(r->copy.port, r->copy.to, r->copy.err);
    return vch_hint(r->copy.err, vch_fail(r->copy.err, VCH_ERR_CONFLICT, "%s is not empty", r->copy.to),
                    "choose a folder that doesn't exist yet");
}

static vch_rc mark(const restore_t *r)
{
    char path[VCH_PATH_MAX], text[96];
    (void)snprintf(text, sizeof text, "restored at %llu\n", (unsigned long long)r->list.entries);
    VCH_TRY(vch_path(path, "%s/" ND_RESTORED, r->copy.to));
    return vch_write_atomic(r->copy.port, path, vch_str(text), 0600, r->copy.err);
}

static vch_rc restore_one(restore_t *r, const bk_file_t *file)
{
    char path[VCH_PATH_MAX];
    vch_hash_t hash;
    VCH_TRY(path_text(path, file));
    VCH_TRY(bk_copy(&r->copy, path, file->size, &hash));
    if (vch_hash_eq(&hash, &file->hash)) return VCH_OK;
    return vch_fail(r->copy.err, VCH_ERR_CORRUPT, "%s: its bytes are not those that were saved", path);
}

/* FORMAT makes a directory a ledger, so it comes last. */
static vch_rc restore_files(restore_t *r)
{
    bk_file_t file, format = {.size = 0};
    vch_slice_t left = r->list.files;
    while (bk_list_next(&left, &file)) {
        if (vch_slice_eq(file.path, vch_str("FORMAT")))
            format = file;
        else
            VCH_TRY(restore_one(r, &file));
    }
    if (format.size) return restore_one(r, &format);
    return vch_fail(r->copy.err, VCH_ERR_CORRUPT, "the backup holds no FORMAT");
}

static vch_rc rebuild(const restore_t *r)
{
    uint64_t findings;
    vch_ledger_t *l;
    VCH_TRY(vch_ledger_check(r->copy.to, 0, 1, NULL, NULL, &findings, r->copy.err));
    VCH_TRY(vch_ledger_open_on(&l, r->copy.port, r->copy.to, 0, r->copy.err));
    return vch_ledger_close(l, r->copy.err);
}

/* ---- under another name --------------------------------------------------------------------- */

static vch_rc put_text(const restore_t *r, const char *name, vch_slice_t text)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_path(path, "%s/%s", r->copy.to, name));
    return vch_write_atomic(r->copy.port, path, text, 0600, r->copy.err);
}

static vch_rc trust_new(const restore_t *r, const char *origin, const vch_signer_t *key)
{
    char path[VCH_PATH_MAX];
    vch_buf_t text;
    VCH_TRY(vch_path(path, "%s/trust.policy", r->copy.to));
    vch_buf_init(&text, ND_SMALL_FILE_MAX);
    vch_rc rc = vch_buf_printf(&text, "log ");
    if (rc == VCH_OK) rc = vch_vkey_put(&text, origin, VCH_NOTE_ED25519, vch_signer_public(key)->b + 2);
    if (rc == VCH_OK) rc = vch_buf_u8(&text, '\n');
    if (rc == VCH_OK) rc = vch_read_all(r->copy.port, &text, path, ND_SMALL_FILE_MAX / 2, r->copy.err);
    if (rc == VCH_OK) rc = put_text(r, "trust.policy", vch_buf_slice(&text));
    vch_buf_free(&text);
    return rc;
}

/* Others' cosignatures are of the old name; they stay for whoever asks. */
static vch_rc set_aside(const restore_t *r)
{
    char from[VCH_PATH_MAX], folder[VCH_PATH_MAX], to[VCH_PATH_MAX];
    VCH_TRY(vch_path(from, "%s/log/cosigned", r->copy.to));
    VCH_TRY(vch_path(folder, "%s/quarantine", r->copy.to));
    VCH_TRY(vch_path(to, "%s/cosigned-before-restore", folder));
    VCH_TRY(vch_mkdirs(r->copy.port, folder, r->copy.err));
    vch_rc rc = r->copy.port->disk->rename(r->copy.port, from, to);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND)
        return vch_fail(r->copy.err, rc, "moving %s: %s", from, vch_rc_text(rc));
    return put_text(r, "log/cosigned", vch_slice(NULL, 0));
}

static vch_rc sign_under(const restore_t *r, const char *origin, const vch_signer_t *key)
{
    vch_log_options_t options = {.segment_bytes = 0};
    vch_log_t *log;
    vch_buf_t note;
    VCH_TRY(vch_log_open(&log, r->copy.port, r->copy.to, &options, NULL, r->copy.err));
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    vch_rc rc = nd_checkpoint_text(&note, log, origin, key, r->list.entries, r->copy.err);
    if (rc == VCH_OK) rc = vch_log_publish(log, r->list.entries, vch_buf_slice(&note), r->copy.err);
    vch_buf_free(&note);
    vch_log_close(log);
    return rc;
}

static vch_rc rename_log(const restore_t *r, const char *origin)
{
    char path[VCH_PATH_MAX], line[256];
    vch_signer_t *key;
    VCH_TRY(vch_path(path, "%s/keys", r->copy.to));
    VCH_TRY(vch_mkdirs(r->copy.port, path, r->copy.err));
    VCH_TRY(vch_path(path, "%s/keys/log.pem", r->copy.to));
    vch_rc rc = r->copy.port->disk->remove(r->copy.port, path); /* the old name's key, if it was in the backup */
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND)
        return vch_fail(r->copy.err, rc, "removing %s: %s", path, vch_rc_text(rc));
    VCH_TRY(nd_key_make(r->copy.port, path, "ed25519", NULL, &key, r->copy.err));
    (void)snprintf(line, sizeof line, "%s\n", origin);
    rc = trust_new(r, origin, key);
    if (rc == VCH_OK) rc = set_aside(r);
    if (rc == VCH_OK) rc = sign_under(r, origin, key);
    if (rc == VCH_OK) rc = put_text(r, ND_ORIGIN, vch_str(line));
    vch_signer_free(key);
    if (rc != VCH_OK) return rc;
    VCH_TRY(vch_path(path, "%s/" ND_RESTORED, r->copy.to));
    rc = r->copy.port->disk->remove(r->copy.port, path);
    return rc == VCH_OK ? r->copy.port->disk->sync_dir(r->copy.port, r->copy.to) : rc;
}

/* Before anything is copied: may the log go on under this name? */
static vch_rc check_origin(const restore_t *r, const char *origin)
{
    char old[208];
    vch_ledger_t *l;
    vch_ledger_info_t info;
    if (!origin) return VCH_OK;
    VCH_TRY(vch_ledger_open_on(&l, r->copy.port, r->copy.from, VCH_LEDGER_READ_ONLY, r->copy.err));
    vch_rc rc = vch_ledger_info(l, &info, r->copy.err);
    memcpy(old, info.origin, sizeof old);
    if (rc == VCH_OK) rc = vch_ledger_close(l, r->copy.err);
    if (rc != VCH_OK) return rc;
    if (strlen(origin) <= 200 && strcmp(origin, old) != 0 && vch_origin_goes_on(vch_str(origin), vch_str(old)))
        return VCH_OK;
    return vch_hint(r->copy.err,
                    vch_fail(r->copy.err, VCH_ERR_USAGE, "a restored log can't go on as \"%.80s\"", origin),
                    "choose a name like %s/restored-1", old);
}

static vch_rc restore(restore_t *r, const char *new_origin)
{
    VCH_TRY(check_origin(r, new_origin));
    VCH_TRY(check_target(r));
    VCH_TRY(mark(r));
    VCH_TRY(restore_files(r));
    if (new_origin) VCH_TRY(rename_log(r, new_origin));
    VCH_TRY(nd_settings_keep(r->copy.port, r->copy.to, r->copy.err)); /* the backup vouched for them */
    return rebuild(r);
}

vch_rc vch_backup_restore(const char *from, const char *to, const char *new_origin, vch_backup_t *ret, vch_err_t *err)
{
    vch_backup_t sum = {0};
    restore_t r = {.fn = NULL};
    vch_rc rc = begin(&r, vch_port_real(), from, to, &sum, err);
    if (rc == VCH_OK) rc = restore(&r, new_origin);
    end(&r);
    if (rc == VCH_OK) *ret = sum;
    return nd_told(rc, err);
}
