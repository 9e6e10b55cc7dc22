/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the simulated machine.  Only for src/port/sim*.c. */
#ifndef VCH_PORT_SIM_INT_H
#define VCH_PORT_SIM_INT_H

#include "port/sim.h"

#include <pthread.h>

/* ---- contents of a file: pages shared between what is now and what is
 * durable, copied when written.  A missing page is zeros. ------------------- */

#define SIM_PAGE 4096u
#define SIM_SECTOR 512u
#define SIM_FILE_MAX ((uint64_t)4 << 30)

typedef struct {
    unsigned refs;
    uint8_t b[SIM_PAGE];
} sim_page_t;

typedef struct {
    sim_page_t **page;
    size_t n; /* slots of `page`; pages beyond are zeros */
    uint64_t size;
} sim_image_t;

void vch__image_write(sim_image_t *, const void *p, size_t n, uint64_t at); /* p NULL: zeros; may grow size */
void vch__image_read(const sim_image_t *, void *p, size_t n, uint64_t at);  /* zeros where there is nothing */
void vch__image_resize(sim_image_t *, uint64_t size);
void vch__image_share(sim_image_t *to, const sim_image_t *from, uint64_t at, uint64_t n); /* pages touching at..at+n */
void vch__image_assign(sim_image_t *to, const sim_image_t *from);
void vch__image_free(sim_image_t *);

/* ---- files and folders ------------------------------------------------------ */

/* One write or truncation since the last sync.  Its bytes lie at `data` in
 * the node's log, unless they are all zero. */
typedef struct {
    enum { SIM_WRITE, SIM_ZEROS, SIM_RESIZE } kind;
    uint64_t at; /* SIM_RESIZE: the new size */
    size_t n, data;
} sim_record_t;

typedef struct sim_node sim_node_t;
typedef struct {
    char *name;
    sim_node_t *now, *durable; /* NULL: not there */
} sim_entry_t;

struct sim_node {
    sim_node_t *next, *todo;
    bool is_dir, alive;
    /* a folder: entries in byte order of the names */
    sim_entry_t *entry;
    size_t n_entries, cap_entries;
    size_t pending; /* places in unsynced folder operations */
    /* a file */
    sim_image_t now, durable;
    sim_record_t *record;
    size_t n_records, cap_records;
    uint8_t *log;
    size_t log_n, log_cap;
    bool resized;     /* a SIM_RESIZE is among the records */
    bool lost;        /* a sync failed: `now` shows what may never reach the disk */
    bool differs;     /* `now` may differ from `durable` */
    sim_node_t *home; /* where its durable name lies */
    const char *home_name;
};

/* An unsynced creation, renaming or removal: one or two names that change
 * together. */
typedef struct {
    struct {
        sim_node_t *dir;
        const char *name; /* the entry's own */
        sim_node_t *to;
    } place[2];
    unsigned n;
} sim_dirop_t;

struct vch_file {
    vch_file_t *next, *prev;
    sim_node_t *node; /* NULL after a crash */
    bool writable;
    enum { SIM_UNLOCKED, SIM_SHARED, SIM_EXCLUSIVE } lock;
};

/* ---- the machine ------------------------------------------------------------- */

struct vch_sim {
    vch_port_t port;
    vch_mem_t mem;
    pthread_mutex_t mutex;
    uint64_t rng_test, rng_fault, rng_fill;
    uint64_t wall_ms, boot_ms;
    /* disk */
    uint64_t io_calls, fail_at, cut_at;
    vch_fault_t fail_how, soft; /* soft: EINTR or SHORT for the call now running */
    bool power_off;
    sim_node_t *root, *nodes;
    size_t n_nodes, gc_at;
    vch_file_t *files;
    sim_dirop_t *dirop;
    size_t n_dirops, cap_dirops;
    /* memory */
    uint64_t alloc_calls, alloc_fail_at;
    size_t mem_live;
    /* network */
    vch_conn_t *conns;
    unsigned drop_percent, double_percent, delay_ms_max;
};

extern const vch_disk_ops_t vch__sim_disk;
extern const vch_net_ops_t vch__sim_net;

vch_sim_t *vch__sim_enter(vch_port_t *); /* takes the mutex */
vch_rc vch__sim_leave(vch_sim_t *, vch_rc rc);
void vch__sim_pass_ms(vch_sim_t *, uint64_t ms);
uint64_t vch__sim_rng(uint64_t *state);
bool vch__sim_chance(vch_sim_t *, unsigned percent);

/* The C library's memory for the simulation's own books; ends the program
 * when there is none, for a test machine without memory proves nothing. */
void *vch__sim_grow(void *old, size_t size);
/* Make room for one more element of an array. */
void vch__sim_room(void **array, size_t n, size_t *cap, size_t size);

bool vch__disk_start(vch_sim_t *); /* false: no memory */
void vch__disk_crash(vch_sim_t *);
void vch__disk_free(vch_sim_t *);
void vch__file_crash(vch_sim_t *, sim_node_t *); /* settle what reaches the durable image */
sim_node_t *vch__disk_find(vch_sim_t *, const char *path);
void vch__net_crash(vch_sim_t *);
void vch__net_free(vch_sim_t *);

#endif
