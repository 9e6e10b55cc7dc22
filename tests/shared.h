/* SPDX-License-Identifier: Apache-2.0 */
/* Where public test vectors and real inputs lie, when they are there. */
#ifndef VCH_TEST_SHARED_H
#define VCH_TEST_SHARED_H

#include <stdlib.h>
#include <unistd.h>

/* The folder, or NULL: then the test skips itself and says so. */
static inline const char *vch_test_shared(void)
{
    const char *named = getenv("VOUCHSAFE_SHARED");
    if (named && access(named, R_OK) == 0) return named;
    return access("../shared/vectors", R_OK) == 0 ? "../shared" : NULL;
}

#endif
