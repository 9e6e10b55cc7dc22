/* SPDX-License-Identifier: Apache-2.0 */
/* Small settings files: lines `key = value`, comments that begin with '#' or
 * ';'.  An unknown key is an error with its line, for a setting that has no
 * effect is worse than none. */
#ifndef VCH_INI_H
#define VCH_INI_H

#include "port/port.h"

/* Where a value goes: text of at most room - 1 bytes, or a number from min to
 * max times unit. */
typedef struct {
    const char *key;
    char *text;
    size_t room;
    uint64_t *number;
    uint64_t min, max, unit;
} vch_ini_t;

/* `at` ends with key NULL.  What the file doesn't name stays as it was.
 * ERR_FORMAT with file and line; ERR_NOT_FOUND, ERR_IO. */
VCH_MUST_USE vch_rc vch_ini_load(vch_port_t *, const char *path, const vch_ini_t *at, vch_err_t *);
/* The same of bytes; name: what errors call them. */
VCH_MUST_USE vch_rc vch_ini_read(vch_slice_t text, const char *name, const vch_ini_t *at, vch_err_t *);

#endif
