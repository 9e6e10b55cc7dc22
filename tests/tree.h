/* SPDX-License-Identifier: Apache-2.0 */
/* Remove a folder with all that is in it, after a test or a measurement. */
#ifndef VCH_TEST_TREE_H
#define VCH_TEST_TREE_H

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

static inline int tree_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* 0 when it is gone (also when it never was). */
static inline int tree_remove(const char *path)
{
    return access(path, F_OK) != 0 ? 0 : nftw(path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
