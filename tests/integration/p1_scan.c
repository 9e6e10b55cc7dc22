/* SPDX-License-Identifier: Apache-2.0 */
/* p1_scan SEEDS… -- TEXT… -- FILE…: derives every record key from the seed
 * stores of enough trustees and looks for each of them, and for each TEXT, at
 * every byte of every FILE.  Prints "keys N", and "found WHAT FILE BYTE" for the
 * first find of each file.  Exit 0: looked; anything else: couldn't. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/keytree.h"
#include "node/seeds.h"
#include "port/real.h"

#define STORES_MAX 8
#define SLOTS (1u << 24)

static vch_seeds_t *store[STORES_MAX];
static int stores;
static uint8_t (*key)[32];
static size_t keys, keys_cap;
static uint32_t *slot; /* by the first bytes: number of a key + 1 */

static void die(const char *what, const vch_err_t *err)
{
    fprintf(stderr, "p1_scan: %s: %s\n", what, err ? err->text : "failed");
    exit(1);
}

static uint32_t place(const uint8_t *p) { return vch_get_u32(p) % SLOTS; }

static void add_key(const uint8_t *k)
{
    if (keys == keys_cap) {
        keys_cap = keys_cap ? 2 * keys_cap : 4096;
        key = realloc(key, keys_cap * sizeof *key);
        if (!key) die("keys", NULL);
    }
    memcpy(key[keys++], k, 32);
    for (uint32_t at = place(k);; at = (at + 1) % SLOTS)
        if (slot[at] == 0) {
            slot[at] = (uint32_t)keys;
            return;
        }
}

/* ---- every record key ---- */

static bool node_seed(const vch_hash_t *extent, unsigned set, vch_kt_node_t node, vch_kt_seed_t *ret)
{
    for (int i = 0; i < stores; i++)
        if (vch_seeds_get(store[i], extent, (uint8_t)set, node, ret, NULL) == VCH_OK) return true;
    return false;
}

static void one_group(const vch_tree_about_t *about, unsigned group)
{
    uint8_t *sum = calloc(about->rows, 32), *leaf = malloc((size_t)about->rows * 32);
    if (!sum || !leaf) die("memory", NULL);
    for (unsigned set = 0; set < vch_kt_sets(about->n, about->t); set++) {
        vch_kt_seed_t seed;
        if (!node_seed(&about->extent, set, (vch_kt_node_t){4, group}, &seed)) die("too few trustees", NULL);
        if (!vch_kt_leaves(leaf, &seed, vch_kt_leaf(group, 0), about->rows)) die("leaves", NULL);
        vch_kt_add(sum, leaf, about->rows);
    }
    vch_kt_record_keys(sum, sum, &about->extent, vch_kt_leaf(group, 0), about->rows);
    for (uint32_t i = 0; i < about->rows; i++) add_key(sum + (size_t)i * 32);
    free(sum);
    free(leaf);
}

static vch_rc one_extent(void *ctx, const vch_hash_t *extent)
{
    vch_tree_about_t about;
    uint8_t position;
    vch_err_t err = {0};
    if (vch_seeds_about(ctx, extent, &about, &position, NULL, &err) != VCH_OK) die("about", &err);
    for (unsigned g = 0; g < about.groups; g++) one_group(&about, g);
    return VCH_OK;
}

/* ---- looking ---- */

static bool is_key(const uint8_t *p)
{
    for (uint32_t at = place(p); slot[at]; at = (at + 1) % SLOTS)
        if (memcmp(key[slot[at] - 1], p, 32) == 0) return true;
    return false;
}

static void look(const char *path, char **text, int texts)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) die(path, NULL);
    size_t n = (size_t)st.st_size;
    const uint8_t *p = n ? mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (n && p == MAP_FAILED) die(path, NULL);
    for (int i = 0; n && i < texts; i++) {
        const uint8_t *at = memmem(p, n, text[i], strlen(text[i]));
        if (at) printf("found text %s %zu\n", path, (size_t)(at - p));
    }
    for (size_t i = 0; n >= 32 && i <= n - 32; i++)
        if (is_key(p + i)) {
            printf("found key %s %zu\n", path, i);
            break;
        }
    if (n) munmap((void *)(uintptr_t)p, n);
    close(fd);
}

int main(int argc, char **argv)
{
    vch_err_t err = {0};
    int at = 1;
    slot = calloc(SLOTS, sizeof *slot);
    if (!slot || vch_crypto_start() != VCH_OK) die("start", NULL);
    for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (stores == STORES_MAX) die("too many stores", NULL);
        if (vch_seeds_open(&store[stores++], vch_port_real(), argv[at], NULL, &err) != VCH_OK) die(argv[at], &err);
    }
    if (stores == 0 || vch_seeds_each(store[0], one_extent, store[0], &err) != VCH_OK) die("extents", &err);
    printf("keys %zu\n", keys);
    char **text = argv + ++at;
    int texts = 0;
    for (; at < argc && strcmp(argv[at], "--") != 0; at++) texts++;
    /* The control: what is looked for is found where it is. */
    if (keys && !is_key(key[keys / 2])) die("control", NULL);
    for (at++; at < argc; at++) look(argv[at], text, texts);
    if (getenv("P1_PLANT") && keys) { /* one key for the caller's own control */
        FILE *f = fopen(getenv("P1_PLANT"), "wb");
        if (!f || fwrite("xyz", 1, 3, f) != 3 || fwrite(key[keys - 1], 1, 32, f) != 32 || fclose(f) != 0)
            die("plant", NULL);
    }
    for (int i = 0; i < stores; i++) vch_seeds_close(store[i]);
    free(key);
    free(slot);
    return 0;
}
