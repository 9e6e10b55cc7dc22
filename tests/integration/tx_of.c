/* SPDX-License-Identifier: Apache-2.0 */
/* tx_of LEDGER INDEX FILE: an entry with its statements, as it was submitted. */
#include <stdio.h>
#include <stdlib.h>

#include "node/node_int.h"

static vch_rc copy(vch_ledger_t *l, uint64_t index, vch_buf_t *ret, vch_err_t *err)
{
    vch_arena_t arena;
    vch_log_entry_t e;
    vch_arena_init(&arena, 16u << 20);
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_log_read(l->log, index, &arena, &e, err);
    if (rc == VCH_OK)
        rc = vch_tx_put(
            ret, &(vch_tx_t){.entry = e.record.entry, .statements = e.record.statements, .count = e.record.count});
    vch_ledger_read_end(l);
    vch_arena_free(&arena);
    return rc;
}

int main(int argc, char **argv)
{
    vch_ledger_t *l;
    vch_err_t err = {0};
    vch_buf_t b;
    if (argc != 4 || vch_ledger_open(&l, argv[1], VCH_LEDGER_READ_ONLY, &err) != VCH_OK) return 2;
    vch_buf_init(&b, 2 * VCH_TX_BYTES_MAX);
    vch_rc rc = copy(l, strtoull(argv[2], NULL, 10), &b, &err);
    FILE *f = rc == VCH_OK ? fopen(argv[3], "wb") : NULL;
    bool good = f && fwrite(b.p, 1, b.n, f) == b.n && fclose(f) == 0;
    if (!good) fprintf(stderr, "tx_of: %s\n", err.text);
    vch_buf_free(&b);
    return vch_ledger_close(l, NULL) != VCH_OK || !good;
}
