/* SPDX-License-Identifier: Apache-2.0 */
/* A small trustee's store on a simulated machine, and what a thief of its disk
 * could derive: every 32 bytes of `root` are tried as the root key. */
#ifndef VCH_TEST_SEEDS_HELP_H
#define VCH_TEST_SEEDS_HELP_H

#include "disk_image.h"
#include "node/seeds_int.h"
#include "port/sim.h"

#define SH_DIR "/s"
#define SH_LEAF 5u /* the one that gets forgotten */

static inline vch_tree_about_t sh_about(uint8_t extent)
{
    vch_tree_about_t a = {.n = 3, .t = 2, .groups = 2, .rows = 100};
    memset(a.network.b, 9, 32);
    memset(a.extent.b, extent, 32);
    return a;
}

static inline vch_rc sh_add(vch_seeds_t *s, uint8_t extent, vch_err_t *err)
{
    vch_tree_about_t a = sh_about(extent);
    uint8_t seed[2 * VCH_KT_KEY];
    vch_hash_t root[2];
    for (size_t i = 0; i < sizeof seed; i++) seed[i] = (uint8_t)(extent * 31 + i);
    memset(root, extent ^ 0x55, sizeof root);
    return vch_seeds_add(s, &a, 0, seed, root, err);
}

static inline vch_rc sh_get(vch_seeds_t *s, uint8_t extent, uint8_t set, vch_kt_node_t node, vch_kt_seed_t *ret)
{
    vch_tree_about_t a = sh_about(extent);
    vch_err_t err = {0};
    return vch_seeds_get(s, &a.extent, set, node, ret, &err);
}

static inline vch_rc sh_leaf(vch_seeds_t *s, uint8_t extent, uint32_t leaf, vch_kt_seed_t *ret)
{
    return sh_get(s, extent, 1, (vch_kt_node_t){VCH_KT_LEAF_LEVEL, leaf}, ret);
}

static inline vch_rc sh_forget(vch_seeds_t *s, uint8_t extent, uint32_t leaf, uint64_t *done, vch_err_t *err)
{
    vch_forget_t f = {.extent = sh_about(extent).extent, .leaf = leaf};
    return vch_seeds_forget(s, &f, 1, done, err);
}

/* ---- the thief ---- */

static inline uint8_t *sh_bytes(const di_file_t *f)
{
    uint8_t *p = calloc(1, f->size + 1);
    if (!p) abort();
    for (size_t i = 0; i < f->pages; i++) memcpy(p + f->page[i].at, f->page[i].b, f->page[i].n);
    return p;
}

static inline const char *sh_name(const di_file_t *f)
{
    return strncmp(f->path, "//s/", 4) == 0 ? f->path + 4 : strncmp(f->path, SH_DIR "/", 3) == 0 ? f->path + 3 : "";
}

static inline bool sh_open(const di_file_t *f, const uint8_t *key, vch_buf_t *ret)
{
    uint8_t *p = sh_bytes(f), *to;
    bool good = f->size >= 8 + VCH_LOCKED_OVERHEAD;
    vch_buf_init(ret, SD_FILE_MAX);
    if (good) {
        assert_int_equal(vch_buf_extend(ret, f->size - 8 - VCH_LOCKED_OVERHEAD, &to), VCH_OK);
        good = vch_unlock_box(to, vch_slice(p + 8, f->size - 8), key, vch_str(sh_name(f))) == VCH_OK;
    }
    if (!good) vch_buf_free(ret);
    free(p);
    return good;
}

static inline bool sh_tree_gives(const di_file_t *f, const sd_place_t *place, uint32_t leaf)
{
    char name[96];
    vch_buf_t b;
    sd_tree_t t = {0};
    bool found = false;
    sd_tree_name(name, &place->extent, place->generation);
    if (strcmp(name, sh_name(f)) != 0 || !sh_open(f, place->key, &b)) return false;
    assert_int_equal(sd_get_tree(&t, vch_buf_slice(&b)), VCH_OK);
    const vch_kt_seed_t *seed = t.seed;
    for (unsigned i = 0; i < t.held; seed += t.n[i++])
        found |= vch_kt_find(seed, t.n[i], (vch_kt_node_t){VCH_KT_LEAF_LEVEL, leaf}) != NULL;
    sd_tree_free(&t);
    vch_buf_free(&b);
    return found;
}

static inline bool sh_table_gives(const di_image_t *files, const di_file_t *table, const uint8_t *key, uint8_t extent,
                                  uint32_t leaf)
{
    vch_buf_t b;
    sd_place_t *place = NULL;
    size_t n = 0;
    bool found = false;
    if (!sh_open(table, key, &b)) return false;
    assert_int_equal(sd_get_places(&place, &n, vch_buf_slice(&b)), VCH_OK);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; place[i].extent.b[0] == extent && k < files->files; k++)
            if (!files->file[k].is_dir) found |= sh_tree_gives(&files->file[k], &place[i], leaf);
    vch_secret_free(place);
    vch_buf_free(&b);
    return found;
}

/* Does any key that lies in `root` of one image lead to the leaf in another's files? */
static inline bool sh_derivable(const di_image_t *root, const di_image_t *files, uint8_t extent, uint32_t leaf)
{
    bool found = false;
    for (size_t i = 0; i < root->files; i++) {
        const di_file_t *r = &root->file[i];
        if (r->is_dir || strcmp(sh_name(r), "root") != 0) continue;
        uint8_t *p = sh_bytes(r);
        for (size_t at = 0; at + 32 <= r->size; at++)
            for (size_t k = 0; k < files->files; k++)
                if (strncmp(sh_name(&files->file[k]), "keys.", 5) == 0)
                    found |= sh_table_gives(files, &files->file[k], p + at, extent, leaf);
        free(p);
    }
    return found;
}

#endif
