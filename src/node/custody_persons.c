/* SPDX-License-Identifier: Apache-2.0 */
/* Persons behind subject numbers, and proofs of their keys. */
#include "crypto/sha256.h"
#include "merkle/tree.h"
#include "node/custody_int.h"
#include "node/node_int.h"

/* One pass over the persons, however many are looked for: the table holds those. */
typedef struct {
    table_t wanted;  /* digest of a name -> where it stands first in the caller's list */
    uint64_t *found; /* for each of those: subject + 1; 0: not seen */
} search_t;

static vch_rc match_person(void *ctx, uint32_t subject, vch_slice_t person, const vch_keyid_t *key, vch_err_t *err)
{
    search_t *s = ctx;
    uint8_t digest[16];
    (void)key;
    (void)err;
    table_digest(digest, person);
    const uint64_t *at = table_get(&s->wanted, digest);
    if (at && !s->found[*at - 1]) s->found[*at - 1] = (uint64_t)subject + 1;
    return VCH_OK;
}

static vch_rc want_persons(search_t *s, const char *const *person, size_t n, vch_err_t *err)
{
    uint8_t digest[16];
    s->found = vch_alloc_array(n ? n : 1, sizeof *s->found);
    if (!s->found) return vch_fail(err, VCH_ERR_MEMORY, "no memory for %zu persons", n);
    for (size_t i = 0; i < n; i++) {
        table_digest(digest, vch_str(person[i]));
        if (table_get(&s->wanted, digest)) continue;
        vch_rc rc = table_put(&s->wanted, digest, i);
        if (rc != VCH_OK) return vch_fail(err, rc, "no memory for %zu persons", n);
    }
    return VCH_OK;
}

/* All of them or none. */
static vch_rc tell_subjects(const search_t *s, const char *const *person, size_t n, uint32_t *ret, vch_err_t *err)
{
    uint8_t digest[16];
    for (size_t i = 0; i < n; i++)
        if (!s->found[i]) {
            table_digest(digest, vch_str(person[i]));
            s->found[i] = s->found[*table_get(&s->wanted, digest) - 1]; /* named twice, or nobody */
            if (!s->found[i])
                return vch_fail(err, VCH_ERR_NOT_FOUND, "the dataset has no subject \"%.200s\"", person[i]);
        }
    for (size_t i = 0; i < n; i++) ret[i] = (uint32_t)(s->found[i] - 1);
    return VCH_OK;
}

static vch_rc ask_each(vch_ledger_t *l, const char *dataset, const char *const *person, size_t n, uint32_t *ret,
                       vch_err_t *err)
{
    uint32_t *found = vch_alloc_array(n ? n : 1, sizeof *found);
    vch_rc rc = found ? VCH_OK : vch_fail(err, VCH_ERR_MEMORY, "no memory for %zu persons", n);
    for (size_t i = 0; i < n && rc == VCH_OK; i++) rc = nd_remote_person(l, dataset, person[i], &found[i], err);
    if (rc == VCH_OK && n) memcpy(ret, found, n * sizeof *found);
    vch_free(found);
    return rc;
}

vch_rc vch_subjects_find(vch_ledger_t *l, const char *dataset, const char *const *person, size_t n, uint32_t *ret,
                         vch_err_t *err)
{
    dataset_t ds;
    search_t s = {.found = NULL};
    if (l->remote) return ask_each(l, dataset, person, n, ret, err);
    VCH_TRY(dataset_open(&ds, l, dataset, false, err));
    vch_rc rc = want_persons(&s, person, n, err);
    if (rc == VCH_OK) rc = persons_each(l, &ds, match_person, &s, err);
    if (rc == VCH_OK) rc = tell_subjects(&s, person, n, ret, err);
    vch_free(s.found);
    table_free(&s.wanted);
    dataset_close(&ds);
    return rc;
}

vch_rc vch_subject_find(vch_ledger_t *l, const char *dataset, const char *person, uint32_t *ret, vch_err_t *err)
{
    return vch_subjects_find(l, dataset, &person, 1, ret, err);
}

/* ---- proofs of keys -------------------------------------------------------------------
 * The tree of one range is kept with all its levels, so that many proofs from
 * it cost one pass over its file. */

struct vch_key_tree {
    vch_ledger_t *l;
    dataset_t ds;
    cfile_t file;
    bool open;
    vch_hash_t *level[33];
    size_t n[33];
    unsigned levels;
};

static void forget_range(vch_key_tree_t *t)
{
    if (t->open) cf_close(&t->file);
    for (unsigned i = 0; i < t->levels; i++) vch_free(t->level[i]);
    t->levels = 0;
    t->open = false;
}

static vch_rc build_levels(vch_key_tree_t *t, vch_err_t *err)
{
    for (;;) {
        size_t n = t->n[t->levels - 1], up = n / 2 + n % 2;
        const vch_hash_t *below = t->level[t->levels - 1];
        if (n <= 1) return VCH_OK;
        vch_hash_t *above = vch_alloc_array(up, sizeof *above);
        if (!above) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
        vch_sha256_nodes(above, below, n / 2);
        if (n % 2) above[n / 2] = below[n - 1]; /* moves up unchanged, RFC 6962 section 2.1 */
        t->n[t->levels] = up;
        t->level[t->levels++] = above;
    }
}

static vch_rc read_leaves(vch_key_tree_t *t, vch_err_t *err)
{
    t->level[0] = vch_alloc_array(t->file.count, sizeof *t->level[0]);
    if (!t->level[0]) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    t->levels = 1;
    t->n[0] = t->file.count;
    for (uint32_t i = 0; i < t->file.count; i++) {
        vch_slice_t record;
        vch_keyid_t key;
        VCH_TRY(cf_get(&t->file, i, &record, NULL, NULL, err));
        if (record.n < 33) return vch_fail(err, VCH_ERR_CORRUPT, "%s: a record is too short", t->file.name);
        memcpy(key.b, record.p, 32);
        vch_subject_leaf(&t->level[0][i], t->file.number + i, &key);
    }
    return build_levels(t, err);
}

/* The file with this subject's record, open.  Ranges follow each other; each
 * file says how many it holds. */
static vch_rc find_range(cfile_t *ret, vch_ledger_t *l, const char *dataset_hex, uint32_t subject, vch_err_t *err)
{
    for (uint32_t first = 0; first <= subject;) {
        VCH_TRY(cf_open(ret, l, dataset_hex, CF_SUBJECTS, first, NULL, err));
        if (ret->count && subject - first < ret->count) return VCH_OK;
        vch_rc rc = ret->count ? VCH_OK : vch_fail(err, VCH_ERR_CORRUPT, "%s is empty", ret->name);
        first += ret->count;
        cf_close(ret);
        VCH_TRY(rc);
    }
    return vch_fail(err, VCH_ERR_NOT_FOUND, "the dataset has no subject %u", subject);
}

static vch_rc open_range(vch_key_tree_t *t, uint32_t subject, vch_err_t *err)
{
    if (t->open && subject >= t->file.number && subject - t->file.number < t->file.count) return VCH_OK;
    forget_range(t);
    VCH_TRY(find_range(&t->file, t->l, t->ds.hex, subject, err));
    t->open = true;
    return read_leaves(t, err);
}

static vch_rc given_key(cfile_t *file, uint32_t subject, vch_keyid_t *ret, vch_err_t *err)
{
    vch_slice_t record;
    VCH_TRY(cf_get(file, subject - file->number, &record, NULL, NULL, err));
    if (record.n < 33) return vch_fail(err, VCH_ERR_CORRUPT, "%s: a record is too short", file->name);
    memcpy(ret->b, record.p, 32);
    return VCH_OK;
}

vch_rc vch_subject_given_key(vch_ledger_t *l, const vch_id_t *dataset, uint32_t subject, vch_keyid_t *ret_key,
                             vch_err_t *err)
{
    char hex[65];
    cfile_t file;
    vch_hex(hex, dataset->b, 32);
    VCH_TRY(find_range(&file, l, hex, subject, err));
    vch_rc rc = given_key(&file, subject, ret_key, err);
    cf_close(&file);
    return rc;
}

vch_rc vch_key_tree_open(vch_key_tree_t **ret, vch_ledger_t *l, const vch_id_t *dataset, vch_err_t *err)
{
    vch_key_tree_t *t = vch_alloc(sizeof *t);
    if (!t) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    t->l = l;
    vch_rc rc = dataset_open_id(&t->ds, l, dataset, err);
    if (rc == VCH_OK)
        *ret = t;
    else
        vch_free(t);
    return rc;
}

void vch_key_tree_close(vch_key_tree_t *t)
{
    if (!t) return;
    forget_range(t);
    dataset_close(&t->ds);
    vch_free(t);
}

vch_rc vch_key_tree_path(vch_key_tree_t *t, uint32_t subject, vch_keyid_t *ret_key, uint32_t *ret_first,
                         vch_hash_t ret_path[VCH_PATH_HASHES_MAX], size_t *ret_n, vch_err_t *err)
{
    if (subject >= t->ds.head.subjects)
        return vch_fail(err, VCH_ERR_NOT_FOUND, "the dataset has %u subjects: no %u", t->ds.head.subjects, subject);
    vch_rc rc = open_range(t, subject, err);
    if (rc != VCH_OK) {
        forget_range(t);
        return rc;
    }
    size_t i = subject - t->file.number, count = 0;
    VCH_TRY(given_key(&t->file, subject, ret_key, err));
    for (unsigned level = 0; level + 1 < t->levels; level++, i /= 2)
        if ((i ^ 1) < t->n[level]) ret_path[count++] = t->level[level][i ^ 1];
    *ret_first = t->file.number;
    *ret_n = count;
    return VCH_OK;
}
