/* SPDX-License-Identifier: Apache-2.0 */
/* A machine in memory, ruled by one seed.
 *
 * Each file keeps what is durable and the list of writes since its last sync.
 * vch_sim_crash() is a power cut: every unsynced write is, sector by sector
 * (512 bytes), kept, dropped or (tear) replaced by a mix of old and new
 * bytes; unsynced creations, renames and removals in a folder are kept or
 * undone.  Afterwards all open files are gone, as after a reboot. */
#ifndef VCH_PORT_SIM_H
#define VCH_PORT_SIM_H

#include "port/port.h"

typedef struct vch_sim vch_sim_t;

typedef enum { VCH_FAULT_NONE, VCH_FAULT_EIO, VCH_FAULT_ENOSPC, VCH_FAULT_EINTR, VCH_FAULT_SHORT } vch_fault_t;

/* ERR_MEMORY when refused.  The simulation's own bookkeeping uses the C
 * library's memory directly, never the counted allocator. */
VCH_MUST_USE vch_rc vch_sim_new(vch_sim_t **ret, uint64_t seed);
void vch_sim_free(vch_sim_t *);
vch_port_t *vch_sim_port(vch_sim_t *); /* borrowed */

void vch_sim_crash(vch_sim_t *);
/* The n-th disk call from now (1 = the next) fails once as told; 0 = never.
 * EINTR and SHORT are what the real port completes inside, so callers must
 * not notice them. */
void vch_sim_fail_io(vch_sim_t *, uint64_t nth, vch_fault_t how);
/* From the n-th disk call on, the power is off: nothing reaches the disk and
 * each call fails with ERR_IO, until vch_sim_crash().  0 = never. */
void vch_sim_cut_power_at(vch_sim_t *, uint64_t nth);
uint64_t vch_sim_io_calls(const vch_sim_t *);
/* The n-th allocation from now through vch_sim_mem() is refused; 0 = never. */
void vch_sim_fail_alloc(vch_sim_t *, uint64_t nth);
uint64_t vch_sim_alloc_calls(const vch_sim_t *);
const vch_mem_t *vch_sim_mem(vch_sim_t *); /* hand to vch_mem_use */
/* Bytes now allocated through vch_sim_mem: 0 means no leak. */
size_t vch_sim_mem_live(const vch_sim_t *);
void vch_sim_clock_jump(vch_sim_t *, int64_t wall_ms);
void vch_sim_clock_step(vch_sim_t *, uint64_t ms); /* both clocks go on */
/* Flip one bit of a durable byte; false when there is no such byte. */
bool vch_sim_flip(vch_sim_t *, const char *path, uint64_t at, uint8_t mask);
/* Deterministic stream for tests: the seed's own generator. */
uint64_t vch_sim_next(vch_sim_t *);
void vch_sim_net_faults(vch_sim_t *, unsigned drop_percent, unsigned double_percent, unsigned delay_ms_max);

#endif
