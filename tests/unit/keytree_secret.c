/* SPDX-License-Identifier: Apache-2.0 */
/* Under valgrind's memcheck, with seeds that count as uninitialised: a branch or
 * an address that depends on one of them is an error.  With the argument "leak"
 * there is such a branch, which must be found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "crypto/keytree.h"
#include "merkle/keyroot.h"

static uint8_t leaves[VCH_KT_BLOCK * VCH_KT_KEY];

static void must(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

static void derive(const vch_kt_seed_t *root)
{
    vch_kt_seed_t piece[VCH_KT_LEAF_LEVEL], s;
    uint8_t sum[64 * VCH_KT_KEY] = {0};
    vch_hash_t extent = {{7}}, group;
    must(vch_kt_descend(&s, root, (vch_kt_node_t){12, 5}), "descending");
    must(vch_kt_leaves(leaves, root, 5 * VCH_KT_BLOCK, VCH_KT_BLOCK), "leaves");
    must(vch_kt_puncture(piece, root, 99) == VCH_KT_LEAF_LEVEL, "a puncture");
    must(vch_kt_find(piece, VCH_KT_LEAF_LEVEL, (vch_kt_node_t){24, 98}) != NULL, "finding");
    vch_kt_add(sum, leaves, 64);
    vch_kt_record_keys(sum, sum, &extent, 5 * VCH_KT_BLOCK, 64);
    must(vch_keyroot_group(&group, root, 0, 600), "a root");
}

int main(int argc, char **argv)
{
    vch_kt_seed_t root = {.node = {0, 0}};
    memset(root.key, 0x5a, sizeof root.key);
    if (!RUNNING_ON_VALGRIND) {
        fprintf(stderr, "run this under valgrind\n");
        return 1;
    }
    (void)VALGRIND_MAKE_MEM_UNDEFINED(root.key, sizeof root.key);
    derive(&root);
    if (argc > 1 && strcmp(argv[1], "leak") == 0 && root.key[3] > 9) puts("a branch that nobody should take");
    return 0;
}
