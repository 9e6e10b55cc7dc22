/* SPDX-License-Identifier: Apache-2.0 */
/* A process gives up what it will never need: for servers that hold secrets.
 * Linux only; what the kernel can't do is left out and told. */
#ifndef VCH_CONFINE_H
#define VCH_CONFINE_H

#include "base/base.h"

#define VCH_CONFINED_CALLS 1u /* system calls: no other program, no look into other processes, no kernel interfaces */
#define VCH_CONFINED_FILES 2u /* files: these folders, and what a system's libraries read */

/* All threads that there are and will be, for good.  write: folders that may be
 * written, n of them; those that don't exist are left out.  *ret: what was done;
 * nothing under a sanitizer, which needs what is given up here.  Core dumps and
 * debuggers of the same user are refused in any case. */
VCH_MUST_USE vch_rc vch_confine(const char *const *write, size_t n, unsigned *ret, vch_err_t *);

#endif
