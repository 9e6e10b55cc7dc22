/* SPDX-License-Identifier: Apache-2.0 */
/* Included before each file clang-tidy looks at, and by nothing else.  The
 * analyzer sees one file at a time and takes it that vch_fail() and its kin, defined in
 * another, may answer VCH_OK; here it reads what they promise. */
#include "base/base.h"

#define vch_fail(err, rc, ...) ((void)(vch_fail)(err, rc, __VA_ARGS__), (rc))
#define vch_hint(err, rc, ...) ((void)(vch_hint)(err, rc, __VA_ARGS__), (rc))
#define vch_context(err, rc, ...) ((void)(vch_context)(err, rc, __VA_ARGS__), (rc))
