/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated machine: seed, clock, memory, and the switches of a test. */
#include "port/sim_int.h"

#include <stdio.h>
#include <stdlib.h>

#define WALL_START_MS 1767225600000u /* 2026-01-01T00:00:00Z */
#define BOOT_START_MS 1000u
#define REBOOT_MS 5000u

/* ---- chance -------------------------------------------------------------------- */

/* SplitMix64: the state is a counter, so every seed gives a full period. */
uint64_t vch__sim_rng(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

bool vch__sim_chance(vch_sim_t *s, unsigned percent) { return vch__sim_rng(&s->rng_fault) % 100 < percent; }

static vch_rc sim_fill(vch_port_t *port, void *buf, size_t n)
{
    vch_sim_t *s = vch__sim_enter(port);
    uint8_t *p = buf;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = vch__sim_rng(&s->rng_fill);
        memcpy(p + i, &word, vch_min(8, n - i));
    }
    return vch__sim_leave(s, VCH_OK);
}

/* ---- books ---------------------------------------------------------------------- */

void *vch__sim_grow(void *old, size_t size)
{
    void *p = realloc(old, size);
    if (p) return p;
    fprintf(stderr, "simulation: no memory for %zu bytes\n", size);
    abort();
}

void vch__sim_room(void **array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) return;
    *cap = *cap ? *cap * 2 : 8;
    *array = vch__sim_grow(*array, *cap * size);
}

vch_sim_t *vch__sim_enter(vch_port_t *port)
{
    vch_sim_t *s = port->ctx;
    pthread_mutex_lock(&s->mutex);
    return s;
}

vch_rc vch__sim_leave(vch_sim_t *s, vch_rc rc)
{
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

/* ---- memory: each block carries its size in front --------------------------------- */

#define MEM_HEAD 16u

static void *mem_move(vch_sim_t *s, uint8_t *block, size_t size)
{
    size_t before = 0;
    if (block) memcpy(&before, block, sizeof before);
    if (size == 0) {
        s->mem_live -= before;
        free(block);
        return NULL;
    }
    s->alloc_calls++;
    if (s->alloc_fail_at == s->alloc_calls || size > SIZE_MAX - MEM_HEAD) return NULL;
    uint8_t *p = realloc(block, size + MEM_HEAD);
    if (!p) return NULL;
    s->mem_live += size - before;
    memcpy(p, &size, sizeof size);
    return p + MEM_HEAD;
}

static void *mem_resize(void *ctx, void *old, size_t size)
{
    vch_sim_t *s = ctx;
    pthread_mutex_lock(&s->mutex);
    void *p = mem_move(s, old ? (uint8_t *)old - MEM_HEAD : NULL, size);
    pthread_mutex_unlock(&s->mutex);
    return p;
}

/* ---- clock -------------------------------------------------------------------------- */

void vch__sim_pass_ms(vch_sim_t *s, uint64_t ms)
{
    s->wall_ms += ms;
    s->boot_ms += ms;
}

static uint64_t sim_wall_ms(vch_port_t *port)
{
    vch_sim_t *s = vch__sim_enter(port);
    uint64_t ms = s->wall_ms;
    vch__sim_leave(s, VCH_OK);
    return ms;
}

static uint64_t sim_boot_ms(vch_port_t *port)
{
    vch_sim_t *s = vch__sim_enter(port);
    uint64_t ms = s->boot_ms;
    vch__sim_leave(s, VCH_OK);
    return ms;
}

static void sim_sleep_ms(vch_port_t *port, uint64_t ms)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch__sim_pass_ms(s, ms);
    vch__sim_leave(s, VCH_OK);
}

static const vch_clock_ops_t sim_clock = {sim_wall_ms, sim_boot_ms, sim_sleep_ms};
static const vch_random_ops_t sim_random = {sim_fill};

/* ---- birth and end -------------------------------------------------------------------- */

vch_rc vch_sim_new(vch_sim_t **ret, uint64_t seed)
{
    vch_sim_t *s = calloc(1, sizeof *s);
    if (!s) return VCH_ERR_MEMORY;
    if (pthread_mutex_init(&s->mutex, NULL) != 0 || !vch__disk_start(s)) {
        free(s);
        return VCH_ERR_MEMORY;
    }
    s->port = (vch_port_t){&vch__sim_disk, &sim_clock, &sim_random, &vch__sim_net, &s->mem, s};
    s->mem = (vch_mem_t){s, mem_resize};
    uint64_t root = seed; /* three streams, so that a test's own draws do not move the faults */
    s->rng_test = vch__sim_rng(&root);
    s->rng_fault = vch__sim_rng(&root);
    s->rng_fill = vch__sim_rng(&root);
    s->wall_ms = WALL_START_MS;
    s->boot_ms = BOOT_START_MS;
    *ret = s;
    return VCH_OK;
}

void vch_sim_free(vch_sim_t *s)
{
    if (!s) return;
    vch__net_free(s);
    vch__disk_free(s);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

vch_port_t *vch_sim_port(vch_sim_t *s) { return &s->port; }

const vch_mem_t *vch_sim_mem(vch_sim_t *s) { return &s->mem; }

/* ---- switches ---------------------------------------------------------------------------- */

void vch_sim_crash(vch_sim_t *s)
{
    vch__sim_enter(&s->port);
    vch__disk_crash(s);
    vch__net_crash(s);
    s->power_off = false;
    s->cut_at = 0;
    s->boot_ms = BOOT_START_MS;
    s->wall_ms += REBOOT_MS;
    vch__sim_leave(s, VCH_OK);
}

void vch_sim_fail_io(vch_sim_t *s, uint64_t nth, vch_fault_t how)
{
    vch__sim_enter(&s->port);
    s->fail_at = nth ? s->io_calls + nth : 0;
    s->fail_how = how;
    vch__sim_leave(s, VCH_OK);
}

void vch_sim_cut_power_at(vch_sim_t *s, uint64_t nth)
{
    vch__sim_enter(&s->port);
    s->cut_at = nth ? s->io_calls + nth : 0;
    vch__sim_leave(s, VCH_OK);
}

void vch_sim_fail_alloc(vch_sim_t *s, uint64_t nth)
{
    vch__sim_enter(&s->port);
    s->alloc_fail_at = nth ? s->alloc_calls + nth : 0;
    vch__sim_leave(s, VCH_OK);
}

uint64_t vch_sim_io_calls(const vch_sim_t *s) { return s->io_calls; }
uint64_t vch_sim_alloc_calls(const vch_sim_t *s) { return s->alloc_calls; }
size_t vch_sim_mem_live(const vch_sim_t *s) { return s->mem_live; }

void vch_sim_clock_jump(vch_sim_t *s, int64_t wall_ms)
{
    vch__sim_enter(&s->port);
    s->wall_ms += (uint64_t)wall_ms; /* modulo 2^64: a negative jump goes back */
    vch__sim_leave(s, VCH_OK);
}

void vch_sim_clock_step(vch_sim_t *s, uint64_t ms) { sim_sleep_ms(&s->port, ms); }

uint64_t vch_sim_next(vch_sim_t *s)
{
    vch__sim_enter(&s->port);
    uint64_t value = vch__sim_rng(&s->rng_test);
    vch__sim_leave(s, VCH_OK);
    return value;
}

static bool flip(vch_sim_t *s, const char *path, uint64_t at, uint8_t mask)
{
    sim_node_t *node = vch__disk_find(s, path);
    if (!node || node->is_dir || at >= node->durable.size) return false;
    uint8_t byte;
    vch__image_read(&node->durable, &byte, 1, at);
    byte ^= mask;
    vch__image_write(&node->durable, &byte, 1, at);
    if (at >= node->now.size) return true;
    vch__image_read(&node->now, &byte, 1, at);
    byte ^= mask;
    vch__image_write(&node->now, &byte, 1, at);
    return true;
}

bool vch_sim_flip(vch_sim_t *s, const char *path, uint64_t at, uint8_t mask)
{
    vch__sim_enter(&s->port);
    bool done = flip(s, path, at, mask);
    vch__sim_leave(s, VCH_OK);
    return done;
}

void vch_sim_net_faults(vch_sim_t *s, unsigned drop_percent, unsigned double_percent, unsigned delay_ms_max)
{
    vch__sim_enter(&s->port);
    s->drop_percent = drop_percent;
    s->double_percent = double_percent;
    s->delay_ms_max = delay_ms_max;
    vch__sim_leave(s, VCH_OK);
}
