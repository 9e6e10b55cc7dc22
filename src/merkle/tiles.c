/* SPDX-License-Identifier: Apache-2.0 */
#include "merkle/tree.h"

#include <stdio.h>

#define LEVEL_MAX 63
#define TILE_WIDTH 256

/* "tile/entries/x018/x446/x744/x073/x709/x551/615.p/255" and its zero */
#define PATH_MAX_BYTES 64

/* tlog-tiles "Merkle Tree": groups of three digits, all but the last behind
 * an x, so that 1234067 is x001/x234/067.  `at` points behind the text; the
 * digits are written from the right; returns where they start. */
static char *number_before(char *at, uint64_t n)
{
    for (bool last = true;; last = false) {
        unsigned group = (unsigned)(n % 1000);
        n /= 1000;
        at -= 3;
        at[0] = (char)('0' + group / 100);
        at[1] = (char)('0' + group / 10 % 10);
        at[2] = (char)('0' + group % 10);
        if (!last) *--at = 'x';
        if (n == 0) return at;
        *--at = '/';
    }
}

vch_rc vch_tile_path(char *ret, size_t ret_n, int level, uint64_t n, unsigned width)
{
    if (level > LEVEL_MAX || width == 0 || width > TILE_WIDTH) return VCH_ERR_USAGE;
    char digits[40], name[16] = "entries", partial[16] = "", path[PATH_MAX_BYTES];
    digits[sizeof digits - 1] = 0;
    const char *number = number_before(digits + sizeof digits - 1, n);
    if (level >= 0) snprintf(name, sizeof name, "%d", level);
    if (width < TILE_WIDTH) snprintf(partial, sizeof partial, ".p/%u", width);
    int len = snprintf(path, sizeof path, "tile/%s/%s%s", name, number, partial);
    if (len < 0 || (size_t)len >= sizeof path || (size_t)len >= ret_n) return VCH_ERR_LIMIT;
    memcpy(ret, path, (size_t)len + 1);
    return VCH_OK;
}
