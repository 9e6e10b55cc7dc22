/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a batch of decisions (docs/formats/decisions.md):
 *
 *   decisions/<deployment>/<first, 20 digits>.dcb
 *     "VCHDCB1\n" ‖ deployment 32 ‖ u64 first ‖ u32 count
 *     per decision: u32 length ‖ leaf ‖ u32 length ‖ input as JCS
 *     u32 crc32c of everything before */
#ifndef VCH_DECIDE_H
#define VCH_DECIDE_H

#include "node/use.h"

#define DCB_MAGIC "VCHDCB1\n"
#define DCB_HEAD 52
#define DCB_FILE_MAX (1u << 30)
#define DCB_LOCK "lock" /* beside the files of a deployment, held while decisions are logged */

vch_rc dcb_path(vch_ledger_t *, char ret[VCH_PATH_MAX], const vch_id_t *deployment, uint64_t first);
/* The commitment to an input: the leaf's salt, stretched to a row's. */
void dcb_commit_input(vch_hash_t *ret, const uint8_t salt[VCH_SALT_LEN], vch_slice_t jcs);

#endif
