/* SPDX-License-Identifier: Apache-2.0 */
/* What the C2SP text formats share.  Private to src/entry. */
#ifndef VCH_NOTE_INT_H
#define VCH_NOTE_INT_H

#include "entry/note.h"

/* Cut the next line off *rest; the line comes without its newline.  False
 * when no newline is left, and then nothing changes. */
bool vch_note__line(vch_slice_t *rest, vch_slice_t *ret_line);
/* Cut `prefix` off *s; false, and nothing changed, when it is not there. */
bool vch_note__cut(vch_slice_t *s, const char *prefix);
/* UTF-8 without control characters (those below U+0020) but newline. */
bool vch_note__text_ok(vch_slice_t s);
/* Canonical base64 of any length, and how many bytes it stands for. */
bool vch_note__base64_ok(vch_slice_t text, size_t *ret_n);

#endif
