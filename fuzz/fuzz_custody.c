/* SPDX-License-Identifier: Apache-2.0 */
/* A custodian's file of records.  The first byte of the input says the kind, and
 * whether checksums are put right first, so that mutations reach what lies
 * behind them.
 *
 * Records of a file that opens lie one behind the other from the header to the
 * table, and, all being whole, are written again as the same bytes. */
#include <assert.h>
#include <stdlib.h>

#include "node/custody_int.h"
#include "port/sim.h"

#define INPUT_MAX (1u << 16)
#define FIX_HEADER 1u
#define FIX_TABLE 2u
#define FIX_RECORDS 4u
#define NUMBER 7u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char folder[] = "00000000000000000000000000000000000000000000000000000000000000c1";
static vch_ledger_t ledger = {.dir = "l"};
static volatile uint8_t touched; /* every byte is read, so a length beyond the memory shows */

static bool is_fixed(cf_kind_t kind) { return kind == CF_SALTS || kind == CF_COMMITMENTS; }

/* ---- checksums ------------------------------------------------------------------ */

static void fix_record(uint8_t *p, size_t n) { vch_put_u32(p + n - 4, vch_crc32c(0, p, n - 4)); }

static void fix_fixed(uint8_t *p, size_t n)
{
    size_t step = (size_t)vch_get_u32(p + 48) + 4;
    for (size_t at = CF_HEADER; step <= n - at; at += step) fix_record(p + at, step);
}

static void fix_variable(uint8_t *p, size_t n, uint8_t how)
{
    uint64_t table = vch_get_u64(p + 52), bytes = (uint64_t)vch_get_u32(p + 44) * 8;
    if (table > n || table < CF_HEADER) return;
    for (size_t at = CF_HEADER; (how & FIX_RECORDS) && table - at >= 8;) {
        size_t length = vch_get_u32(p + at);
        if (length > table - at - 8) break;
        fix_record(p + at, length + 8);
        at += length + 8;
    }
    if ((how & FIX_TABLE) && bytes + 4 <= n - table) fix_record(p + table, (size_t)bytes + 4);
}

static void fix(uint8_t *p, size_t n, cf_kind_t kind, uint8_t how)
{
    if (n < CF_HEADER) return;
    if (how & FIX_HEADER) vch_put_u32(p + 60, vch_crc32c(0, p, 60));
    if (!is_fixed(kind)) fix_variable(p, n, how);
    if (is_fixed(kind) && (how & FIX_RECORDS)) fix_fixed(p, n);
}

/* ---- what opens ------------------------------------------------------------------- */

/* Record i lies at *at and moves it to its end; true when its checksum is right. */
static bool read_record(cfile_t *f, uint32_t i, uint64_t *at, vch_slice_t *ret)
{
    vch_err_t err = {.rc = VCH_OK};
    uint64_t byte = 0;
    bool unchecked = true;
    vch_rc rc = cf_get(f, i, ret, &byte, &unchecked, &err);
    if (rc == VCH_ERR_CORRUPT) return false; /* longer than a record may be */
    assert(rc == VCH_OK && byte == *at && ret->n > 0 && ret->n <= CF_RECORD_MAX - 8);
    for (size_t k = 0; k < ret->n; k++) touched ^= ret->p[k];
    *at += ret->n + (is_fixed(f->kind) ? 4 : 8);
    assert(*at <= f->size && (!is_fixed(f->kind) || ret->n == f->width));
    rc = cf_get(f, i, ret, NULL, NULL, &err);
    assert(rc == (unchecked ? VCH_ERR_CORRUPT : VCH_OK));
    return !unchecked;
}

/* true: every record is whole. */
static bool read_all(cfile_t *f)
{
    vch_slice_t record;
    uint64_t at = CF_HEADER;
    bool whole = true;
    for (uint32_t i = 0; i < f->count && whole; i++) whole = read_record(f, i, &at, &record);
    assert(!whole || at == f->table);
    assert(cf_get(f, f->count, &record, NULL, NULL, NULL) == VCH_ERR_NOT_FOUND);
    return whole;
}

static void write_again(cfile_t *f, vch_slice_t before)
{
    cwriter_t w;
    vch_slice_t record;
    vch_buf_t now;
    char name[VCH_PATH_MAX], path[VCH_PATH_MAX], dir[VCH_PATH_MAX];
    vch_rc rc = vch_path(dir, "l/%s/copy", cf_folder(f->kind));
    if (rc == VCH_OK) rc = cf_name(name, "copy", f->kind, NUMBER);
    if (rc == VCH_OK) rc = vch_path(path, "l/%s", name);
    if (rc == VCH_OK) rc = vch_mkdirs(f->port, dir, NULL);
    if (rc == VCH_OK) rc = cw_open(&w, &ledger, "copy", f->kind, NUMBER, &f->id, f->width, NULL);
    for (uint32_t i = 0; rc == VCH_OK && i < f->count; i++) {
        rc = cf_get(f, i, &record, NULL, NULL, NULL);
        if (rc == VCH_OK) rc = cw_put(&w, record, NULL);
    }
    if (rc == VCH_OK) rc = cw_finish(&w, NULL);
    vch_buf_init(&now, INPUT_MAX);
    if (rc == VCH_OK) rc = vch_read_all(f->port, &now, path, INPUT_MAX, NULL);
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&now), before));
    vch_buf_free(&now);
}

static void use(cf_kind_t kind, vch_slice_t bytes)
{
    cfile_t f;
    vch_err_t err = {.rc = VCH_OK};
    uint64_t byte = UINT64_MAX;
    vch_rc rc = cf_open(&f, &ledger, folder, kind, NUMBER, &byte, &err);
    assert(rc == VCH_OK || (rc == VCH_ERR_CORRUPT && err.text[0] && byte <= bytes.n));
    if (rc != VCH_OK) return;
    assert(f.size == bytes.n && f.number == NUMBER && f.table <= f.size);
    if (read_all(&f)) write_again(&f, bytes);
    cf_close(&f);
}

static void put_file(vch_port_t *port, cf_kind_t kind, vch_slice_t bytes)
{
    char name[VCH_PATH_MAX], path[VCH_PATH_MAX], dir[VCH_PATH_MAX];
    vch_rc rc = cf_name(name, folder, kind, NUMBER);
    if (rc == VCH_OK) rc = vch_path(path, "l/%s", name);
    if (rc == VCH_OK) rc = vch_path(dir, "l/%s/%s", cf_folder(kind), folder);
    if (rc == VCH_OK) rc = vch_mkdirs(port, dir, NULL);
    if (rc == VCH_OK) rc = vch_write_atomic(port, path, bytes, 0600, NULL);
    assert(rc == VCH_OK);
}

/* The first byte: kind in the upper half, what to put right in the lower. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_sim_t *sim = NULL;
    if (n < 1 || n > INPUT_MAX || vch_sim_new(&sim, 1) != VCH_OK) return 0;
    cf_kind_t kind = (cf_kind_t)((data[0] >> 4) % CF_KINDS);
    uint8_t *copy = malloc(n);
    if (copy) {
        memcpy(copy, data + 1, n - 1);
        fix(copy, n - 1, kind, data[0] & 15);
        ledger.port = vch_sim_port(sim);
        put_file(ledger.port, kind, vch_slice(copy, n - 1));
        use(kind, vch_slice(copy, n - 1));
    }
    free(copy);
    vch_sim_free(sim);
    return 0;
}
