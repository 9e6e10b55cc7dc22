/* SPDX-License-Identifier: Apache-2.0 */
/* Arbitrary bytes as the only segment of a log.  The first byte of the input
 * says whether checksums are put right first, so that mutations reach what
 * lies behind them.  Whatever opens can be read, appended to and read again. */
#include <assert.h>
#include <stdlib.h>

#include "log/log_impl.h"
#include "port/sim.h"

#define INPUT_MAX (1u << 16)
#define FIX_HEADER 1u
#define FIX_GROUPS 2u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void fix_group(uint8_t *p, size_t n)
{
    vch_put_u32(p + 60, vch_crc32c(0, p, 60));
    size_t length = vch_get_u32(p + 36), at = 0;
    if (length > n - VCH_GROUP_HEAD - VCH_TRAILER) return;
    for (uint8_t *f = p + VCH_GROUP_HEAD; length - at >= VCH_FRAME_HEAD; f = p + VCH_GROUP_HEAD + at) {
        size_t body = vch_get_u32(f);
        if (body > length - at - VCH_FRAME_HEAD) break;
        vch_put_u32(f + 16, vch_crc32c(vch_crc32c(0, f, 16), f + VCH_FRAME_HEAD, body));
        at += VCH_FRAME_HEAD + body;
    }
    vch_put_u32(p + VCH_GROUP_HEAD + length + 12, vch_crc32c(0, p, VCH_GROUP_HEAD + length + 12));
}

static void fix(uint8_t *p, size_t n, uint8_t how)
{
    if (n < VCH_SEG_HEADER) return;
    if (how & FIX_HEADER) vch_put_u32(p + 508, vch_crc32c(0, p, 508));
    for (size_t at = VCH_SEG_HEADER; (how & FIX_GROUPS) && n - at >= VCH_GROUP_HEAD + VCH_TRAILER;) {
        fix_group(p + at, n - at);
        uint64_t step = vch_group_bytes(vch_get_u32(p + at + 36));
        if (step > n - at) break;
        at += (size_t)step;
    }
}

static volatile uint8_t touched; /* each last byte is read, so a length beyond the memory shows */

static vch_rc count_entry(void *ctx, const vch_log_entry_t *e)
{
    uint64_t *next = ctx;
    assert(e->index == *next);
    assert(e->record.entry.n > 0 && e->record.entry.n <= VCH_ENTRY_BYTES_MAX);
    for (uint32_t i = 0; i < e->record.count; i++)
        if (e->record.statements[i].n) touched ^= e->record.statements[i].p[e->record.statements[i].n - 1];
    (*next)++;
    return VCH_OK;
}

/* Everything is readable, one way and the other; returns the size. */
static uint64_t read_all(vch_log_t *log)
{
    uint64_t size = vch_log_size(log), next = 0;
    assert(vch_log_replay(log, 0, size, count_entry, &next, NULL) == VCH_OK && next == size);
    for (uint64_t i = 0; i < size; i += 1 + size / 16) {
        vch_arena_t arena;
        vch_log_entry_t e;
        vch_hash_t path[VCH_PATH_HASHES_MAX];
        size_t n;
        vch_arena_init(&arena, 4u << 20);
        assert(vch_log_read(log, i, &arena, &e, NULL) == VCH_OK && e.index == i);
        assert(vch_log_inclusion(log, i, size, path, &n, NULL) == VCH_OK);
        vch_arena_free(&arena);
    }
    return size;
}

static void use(vch_port_t *port)
{
    vch_log_t *log = NULL;
    vch_log_options_t reading = {.read_only = true};
    vch_record_t record = {.entry = vch_str("one more")};
    uint64_t damaged = 0, first = 0, size = UINT64_MAX;
    assert(vch_log_check(port, "d", false, NULL, NULL, &damaged, NULL) == VCH_OK);
    if (vch_log_open(&log, port, "d", &reading, NULL, NULL) == VCH_OK) {
        size = read_all(log);
        vch_log_close(log);
    }
    vch_rc rc = vch_log_open(&log, port, "d", NULL, NULL, NULL);
    assert((rc == VCH_OK) == (size != UINT64_MAX)); /* both open it, or neither */
    if (rc != VCH_OK) {
        assert(damaged > 0);
        return;
    }
    assert(read_all(log) == size);
    assert(vch_log_append(log, 1, (vch_time_t){1}, &record, 1, &first, NULL) == VCH_OK && first == size);
    vch_log_close(log);
    assert(vch_log_check(port, "d", false, NULL, NULL, &damaged, NULL) == VCH_OK && damaged == 0);
    assert(vch_log_open(&log, port, "d", NULL, NULL, NULL) == VCH_OK);
    assert(read_all(log) == size + 1);
    vch_log_close(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_sim_t *sim = NULL;
    vch_hash_t network = {{0}};
    if (n < 1 || n > INPUT_MAX || vch_sim_new(&sim, 1) != VCH_OK) return 0;
    vch_port_t *port = vch_sim_port(sim);
    uint8_t *copy = malloc(n);
    if (copy && vch_log_create(port, "d", &network, NULL) == VCH_OK) {
        memcpy(copy, data + 1, n - 1);
        fix(copy, n - 1, data[0]);
        vch_rc rc = vch_write_atomic(port, "d/log/seg/00000000000000000000.seg", vch_slice(copy, n - 1), 0600, NULL);
        assert(rc == VCH_OK);
        use(port);
    }
    free(copy);
    vch_sim_free(sim);
    return 0;
}
