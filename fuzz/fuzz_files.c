/* SPDX-License-Identifier: Apache-2.0 */
/* Text files of a ledger that people edit or copy.  The first byte of the input
 * says which: 0 settings, 1 the list of a backup, 2 the same with its last line
 * put right, so that mutations reach what lies behind the hash.
 *
 * Accepted settings are in their ranges and end in a zero; a refusal names its
 * line.  No path of an accepted list leaves the backup, and what is read is
 * written again as the same bytes. */
#include <assert.h>
#include <string.h>

#include "crypto/sha256.h"
#include "node/backup_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define INPUT_MAX (1u << 16)

static bool ends(const char *text, size_t room) { return memchr(text, 0, room) != NULL; }

static void check_settings(vch_slice_t text)
{
    static struct vch_inside in;
    static vch_ledger_t l;
    vch_err_t err = {.rc = VCH_OK};
    memset(&in, 0xff, sizeof in);
    l.in = &in;
    assert(nd_conf_read(&l, vch_str(nd_conf_default), &err) == VCH_OK);
    vch_rc rc = nd_conf_read(&l, text, &err);
    const vch_serve_settings_t *s = &in.serve;
    assert(s->connections >= 8 && s->connections <= 1000000 && s->queue >= 1 && s->queue <= 1000000);
    assert(s->workers >= 1 && s->workers <= 64 && s->max_body_bytes >= 65536 && s->max_body_bytes <= 64u << 20);
    assert(l.read <= VCH_READ_PUBLIC && l.block_ms >= 1 && in.segment_bytes >= 1u << 20);
    assert(ends(s->listen, sizeof s->listen) && ends(s->tls_cert, sizeof s->tls_cert));
    assert(ends(s->tls_key, sizeof s->tls_key) && ends(in.witness_policy, sizeof in.witness_policy));
    assert(ends(in.keys, sizeof in.keys) && ends(l.identity_default, sizeof l.identity_default));
    if (rc == VCH_OK) return;
    assert(rc == VCH_ERR_FORMAT && strncmp(err.text, "vouch.conf, line ", 17) == 0);
}

static bool stays_inside(vch_slice_t path)
{
    if (path.n == 0 || *path.p == '/' || memchr(path.p, 0, path.n)) return false;
    if (path.n == 2 && memcmp(path.p, "..", 2) == 0) return false;
    if (path.n > 2 && (memcmp(path.p, "../", 3) == 0 || memcmp(path.p + path.n - 3, "/..", 3) == 0)) return false;
    return !memmem(path.p, path.n, "/../", 4);
}

static void check_list(vch_slice_t text)
{
    bk_list_t list;
    bk_file_t file;
    vch_err_t err = {.rc = VCH_OK};
    vch_rc rc = bk_list_get(&list, text, &err);
    assert(rc == VCH_OK || (rc == VCH_ERR_CORRUPT && err.text[0]));
    if (rc != VCH_OK) return;
    vch_buf_t again;
    vch_buf_init(&again, 2 * INPUT_MAX);
    for (vch_slice_t left = list.files; bk_list_next(&left, &file);) {
        char path[VCH_PATH_MAX] = {0};
        assert(file.path.n < sizeof path && stays_inside(file.path));
        memcpy(path, file.path.p, file.path.n);
        rc = bk_list_put_file(&again, file.size, &file.hash, path);
        assert(rc == VCH_OK);
    }
    assert(again.n == list.files.n);
    vch_buf_free(&again);
}

/* The lines, and under them the hash that belongs there. */
static void check_mended_list(vch_slice_t lines)
{
    vch_buf_t b;
    vch_hash_t hash;
    char hex[65];
    vch_buf_init(&b, 2 * INPUT_MAX);
    vch_rc rc = vch_buf_put(&b, lines.p, lines.n);
    vch_sha256(&hash, lines.p, lines.n);
    vch_hex(hex, hash.b, 32);
    if (rc == VCH_OK) rc = vch_buf_printf(&b, "end %s\n", hex);
    assert(rc == VCH_OK);
    check_list(vch_buf_slice(&b));
    vch_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0 || n > INPUT_MAX) return 0;
    vch_slice_t rest = vch_slice(data + 1, n - 1);
    if (*data % 3 == 0) check_settings(rest);
    if (*data % 3 == 1) check_list(rest);
    if (*data % 3 == 2) check_mended_list(rest);
    return 0;
}
