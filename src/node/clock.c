/* SPDX-License-Identifier: Apache-2.0 */
/* The wall clock may not run away from the boot clock: a grant would expire,
 * or a wrong time be sealed, and block time never goes back.
 *
 *   run/clock   "boot <id> <boot clock ms> wall <wall clock ms>\n"
 *
 * holds both clocks as they last agreed, so that the next process compares with
 * them too, not only with the moment in which it opened the directory.  It is
 * of this machine, since it was started (Linux tells one start from another by
 * boot_id); derived, not synced, in no backup.  After a restart, on another
 * machine, or where the system has no such id there is nothing to compare with:
 * how long a machine was off, nobody knows. */
#include "node/node_int.h"

#include <stdio.h>

#include "codec/text.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LEN 36
#define CLOCK_FILE_MAX 160

/* A file of /proc says nothing about its size. */
static bool boot_id(vch_port_t *port, char ret[BOOT_ID_LEN + 1])
{
    vch_file_t *file;
    size_t n = 0;
    if (vch_file_open(port, &file, BOOT_ID_FILE, VCH_OPEN_READ, NULL) != VCH_OK) return false;
    bool there = port->disk->read(port, file, &n, ret, BOOT_ID_LEN, 0) == VCH_OK && n == BOOT_ID_LEN;
    vch_file_close(port, file);
    ret[BOOT_ID_LEN] = 0;
    return there && memchr(ret, ' ', BOOT_ID_LEN) == NULL;
}

/* The next word of a line, which a space or its end closes. */
static vch_slice_t word(vch_slice_t *rest)
{
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\n') n++;
    vch_slice_t w = vch_slice(rest->p, n);
    n += n < rest->n;
    *rest = vch_slice(rest->p + n, rest->n - n);
    return w;
}

static bool agreed_get(vch_slice_t text, const char *id, uint64_t *ret_boot, uint64_t *ret_wall)
{
    if (!vch_slice_eq(word(&text), vch_str("boot")) || !vch_slice_eq(word(&text), vch_str(id))) return false;
    if (vch_decimal_get(ret_boot, word(&text)) != VCH_OK || !vch_slice_eq(word(&text), vch_str("wall"))) return false;
    return vch_decimal_get(ret_wall, word(&text)) == VCH_OK && text.n == 0;
}

static bool agreed_read(vch_ledger_t *l, const char *id, uint64_t *ret_boot, uint64_t *ret_wall)
{
    char path[VCH_PATH_MAX];
    vch_buf_t text;
    if (vch_ledger_path(l, path, "run/clock") != VCH_OK) return false;
    vch_buf_init(&text, CLOCK_FILE_MAX);
    bool there = vch_read_all(l->port, &text, path, CLOCK_FILE_MAX, NULL) == VCH_OK &&
                 agreed_get(vch_buf_slice(&text), id, ret_boot, ret_wall);
    vch_buf_free(&text);
    return there;
}

static uint64_t jumped_ms(const vch_ledger_t *l, uint64_t boot, uint64_t wall)
{
    uint64_t expected = l->wall_agreed + (boot - l->boot_agreed);
    return boot < l->boot_agreed || wall <= expected ? 0 : wall - expected;
}

static bool too_far(const vch_ledger_t *l, uint64_t jumped)
{
    return !(l->flags & VCH_LEDGER_ACCEPT_CLOCK) && jumped > l->max_step_ms;
}

static vch_rc agreed_write(vch_ledger_t *l)
{
    char path[VCH_PATH_MAX], id[BOOT_ID_LEN + 1], text[CLOCK_FILE_MAX];
    if (!boot_id(l->port, id)) return VCH_OK;
    VCH_TRY(vch_ledger_path(l, path, "run"));
    VCH_TRY(vch_mkdirs(l->port, path, NULL));
    VCH_TRY(vch_ledger_path(l, path, "run/clock"));
    int n = snprintf(text, sizeof text, "boot %s %llu wall %llu\n", id, (unsigned long long)l->boot_agreed,
                     (unsigned long long)l->wall_agreed);
    return vch_write_derived(l->port, path, vch_slice(text, (size_t)n), NULL);
}

void nd_clock_keep(vch_ledger_t *l)
{
    uint64_t boot = l->port->clock->boot_ms(l->port), wall = nd_now(l);
    if ((l->flags & VCH_LEDGER_READ_ONLY) || too_far(l, jumped_ms(l, boot, wall))) return;
    l->boot_agreed = boot;
    l->wall_agreed = wall;
    (void)agreed_write(l); /* without it the next process has nothing to compare with, no more than that */
}

void nd_clock_start(vch_ledger_t *l)
{
    char id[BOOT_ID_LEN + 1];
    uint64_t boot = l->port->clock->boot_ms(l->port), wall = nd_now(l), then_boot, then_wall;
    l->boot_agreed = boot;
    l->wall_agreed = wall;
    if (!(l->flags & VCH_LEDGER_READ_ONLY) && boot_id(l->port, id) && agreed_read(l, id, &then_boot, &then_wall)) {
        l->boot_agreed = then_boot;
        l->wall_agreed = then_wall;
    }
    nd_clock_keep(l);
}

vch_rc nd_clock_check(vch_ledger_t *l, vch_err_t *err)
{
    uint64_t jumped = jumped_ms(l, l->port->clock->boot_ms(l->port), nd_now(l));
    if (!too_far(l, jumped)) return VCH_OK;
    (void)vch_fail(err, VCH_ERR_CLOCK, "the clock jumped forward by %llu s since the ledger was last written",
                   (unsigned long long)(jumped / 1000));
    return vch_hint(err, VCH_ERR_CLOCK, "set the clock right, or go on with --accept-clock");
}
