/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated disk: names, open files, locks, and when things last. */
#include <assert.h>

#include "port/sim_int.h"

#include <stdio.h>
#include <stdlib.h>

#define DIROPS_MAX 4096u /* beyond, the oldest half lasts by itself, as a journal commits in time */
#define FREE_SPACE ((uint64_t)1 << 40)
#define GC_MIN 256u

/* ---- nodes --------------------------------------------------------------------------- */

static sim_node_t *node_new(vch_sim_t *s, bool is_dir)
{
    sim_node_t *node = vch__sim_grow(NULL, sizeof *node);
    *node = (sim_node_t){.next = s->nodes, .is_dir = is_dir};
    s->nodes = node;
    s->n_nodes++;
    return node;
}

static void node_free(sim_node_t *node)
{
    for (size_t i = 0; i < node->n_entries; i++) free(node->entry[i].name);
    free(node->entry);
    vch__image_free(&node->now);
    vch__image_free(&node->durable);
    free(node->record);
    free(node->log);
    free(node);
}

static void mark(sim_node_t **todo, sim_node_t *node)
{
    if (!node || node->alive) return;
    node->alive = true;
    node->todo = *todo;
    *todo = node;
}

static void mark_all(vch_sim_t *s)
{
    sim_node_t *todo = NULL;
    for (sim_node_t *node = s->nodes; node; node = node->next) node->alive = false;
    mark(&todo, s->root);
    for (vch_file_t *f = s->files; f; f = f->next) mark(&todo, f->node);
    for (size_t i = 0; i < s->n_dirops; i++) {
        for (unsigned k = 0; k < s->dirop[i].n; k++) {
            mark(&todo, s->dirop[i].place[k].dir);
            mark(&todo, s->dirop[i].place[k].to);
        }
    }
    while (todo) {
        sim_node_t *node = todo;
        todo = node->todo;
        for (size_t i = 0; i < node->n_entries; i++) {
            mark(&todo, node->entry[i].now);
            mark(&todo, node->entry[i].durable);
        }
    }
}

static void purge_entries(sim_node_t *dir)
{
    size_t n = 0;
    for (size_t i = 0; i < dir->n_entries; i++) {
        if (dir->entry[i].now || dir->entry[i].durable)
            dir->entry[n++] = dir->entry[i];
        else
            free(dir->entry[i].name);
    }
    dir->n_entries = n;
}

/* A name that is gone may still be some node's home: forget that first. */
static void forget_homes(vch_sim_t *s)
{
    for (sim_node_t *node = s->nodes; node; node = node->next) {
        if (node->home && !node->home->alive) node->home = NULL;
    }
}

static void collect(vch_sim_t *s)
{
    mark_all(s);
    forget_homes(s);
    for (sim_node_t **link = &s->nodes; *link;) {
        sim_node_t *node = *link;
        if (!node->alive) {
            *link = node->next;
            s->n_nodes--;
            node_free(node);
            continue;
        }
        if (node->pending == 0) purge_entries(node);
        link = &node->next;
    }
    s->gc_at = s->n_nodes * 2 > GC_MIN ? s->n_nodes * 2 : GC_MIN;
}

static void collect_if_many(vch_sim_t *s)
{
    if (s->n_nodes > s->gc_at) collect(s);
}

/* ---- names ----------------------------------------------------------------------------- */

static size_t entry_place(const sim_node_t *dir, const char *name, size_t n, bool *ret_found)
{
    size_t lo = 0, hi = dir->n_entries;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int order = strncmp(dir->entry[mid].name, name, n);
        if (order == 0 && dir->entry[mid].name[n]) order = 1;
        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret_found = false;
    return lo;
}

static sim_entry_t *entry_get(sim_node_t *dir, const char *name, size_t n)
{
    bool found = false;
    size_t i = entry_place(dir, name, n, &found);
    return found ? &dir->entry[i] : NULL;
}

static sim_entry_t *entry_make(sim_node_t *dir, const char *name)
{
    bool found = false;
    assert(dir);
    size_t n = strlen(name), i = entry_place(dir, name, n, &found);
    if (found) return &dir->entry[i];
    vch__sim_room((void **)&dir->entry, dir->n_entries, &dir->cap_entries, sizeof *dir->entry);
    memmove(&dir->entry[i + 1], &dir->entry[i], (dir->n_entries - i) * sizeof *dir->entry);
    dir->entry[i] = (sim_entry_t){.name = vch__sim_grow(NULL, n + 1)};
    memcpy(dir->entry[i].name, name, n + 1);
    dir->n_entries++;
    return &dir->entry[i];
}

static sim_node_t *child(sim_node_t *dir, const char *name)
{
    sim_entry_t *e = entry_get(dir, name, strlen(name));
    return e ? e->now : NULL;
}

#define NAME_LEN_MAX 255u

/* Where a path ends: the folder and the last name; the root has name "". */
typedef struct {
    sim_node_t *dir;
    char name[NAME_LEN_MAX + 1];
} spot_t;

/* Relative and absolute paths both start at the root; "." is skipped, ".." unknown. */
static vch_rc walk(vch_sim_t *s, spot_t *ret, const char *path)
{
    *ret = (spot_t){.dir = s->root};
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n > NAME_LEN_MAX) return VCH_ERR_IO;
        if (n == 2 && p[0] == '.' && p[1] == '.') return VCH_ERR_NOT_FOUND;
        if (n && !(n == 1 && p[0] == '.')) {
            sim_node_t *next = ret->name[0] ? child(ret->dir, ret->name) : ret->dir;
            if (!next || !next->is_dir) return VCH_ERR_NOT_FOUND;
            ret->dir = next;
            memcpy(ret->name, p, n);
            ret->name[n] = 0;
        }
        p += n;
        while (*p == '/') p++;
    }
    return VCH_OK;
}

static sim_node_t *spot_node(const spot_t *spot) { return spot->name[0] ? child(spot->dir, spot->name) : spot->dir; }

sim_node_t *vch__disk_find(vch_sim_t *s, const char *path)
{
    spot_t spot;
    return walk(s, &spot, path) == VCH_OK ? spot_node(&spot) : NULL;
}

/* ---- changes of folders ------------------------------------------------------------------ */

/* Let an operation last.  A node has one durable name: when an earlier
 * renaming was dropped and a later one kept, the oldest name goes. */
static void dirop_commit(const sim_dirop_t *op)
{
    for (unsigned k = 0; k < op->n; k++) {
        sim_node_t *dir = op->place[k].dir, *to = op->place[k].to;
        const char *name = op->place[k].name;
        if (to && to->home) {
            sim_entry_t *old = entry_get(to->home, to->home_name, strlen(to->home_name));
            if (old && old->durable == to) old->durable = NULL;
        }
        sim_entry_t *e = entry_get(dir, name, strlen(name));
        if (e->durable && e->durable != to) e->durable->home = NULL;
        e->durable = to;
        if (!to) continue;
        to->home = dir;
        to->home_name = name;
    }
}

static void dirop_forget(const sim_dirop_t *op)
{
    for (unsigned k = 0; k < op->n; k++) op->place[k].dir->pending--;
}

static bool dirop_touches(const sim_dirop_t *op, const sim_node_t *dir)
{
    for (unsigned k = 0; k < op->n; k++)
        if (op->place[k].dir == dir) return true;
    return false;
}

static void dirops_commit_oldest(vch_sim_t *s)
{
    size_t n = s->n_dirops / 2;
    for (size_t i = 0; i < n; i++) {
        dirop_commit(&s->dirop[i]);
        dirop_forget(&s->dirop[i]);
    }
    memmove(s->dirop, s->dirop + n, (s->n_dirops - n) * sizeof *s->dirop);
    s->n_dirops -= n;
}

static sim_dirop_t *dirop_new(vch_sim_t *s)
{
    if (s->n_dirops >= DIROPS_MAX) dirops_commit_oldest(s);
    vch__sim_room((void **)&s->dirop, s->n_dirops, &s->cap_dirops, sizeof *s->dirop);
    sim_dirop_t *op = &s->dirop[s->n_dirops++];
    op->n = 0;
    return op;
}

static void dirop_place(sim_dirop_t *op, sim_node_t *dir, const char *name, sim_node_t *to)
{
    sim_entry_t *e = entry_make(dir, name);
    e->now = to;
    dir->pending++;
    op->place[op->n].dir = dir;
    op->place[op->n].name = e->name;
    op->place[op->n].to = to;
    op->n++;
}

static vch_rc do_sync_dir(vch_sim_t *s, const char *path)
{
    sim_node_t *dir = vch__disk_find(s, path);
    if (!dir || !dir->is_dir) return VCH_ERR_NOT_FOUND;
    size_t n = 0;
    for (size_t i = 0; i < s->n_dirops; i++) {
        sim_dirop_t op = s->dirop[i];
        if (!dirop_touches(&op, dir)) {
            s->dirop[n++] = op;
            continue;
        }
        dirop_commit(&op);
        dirop_forget(&op);
    }
    s->n_dirops = n;
    collect_if_many(s);
    return VCH_OK;
}

/* ---- the gate each disk call passes -------------------------------------------------------- */

static vch_rc admit(vch_sim_t *s)
{
    s->io_calls++;
    s->soft = VCH_FAULT_NONE;
    if (s->cut_at && s->io_calls >= s->cut_at) s->power_off = true;
    if (s->power_off) return VCH_ERR_IO;
    if (s->fail_at != s->io_calls) return VCH_OK;
    s->fail_at = 0;
    if (s->fail_how == VCH_FAULT_EIO) return VCH_ERR_IO;
    if (s->fail_how == VCH_FAULT_ENOSPC) return VCH_ERR_FULL;
    s->soft = s->fail_how;
    return VCH_OK;
}

static vch_rc admit_file(vch_sim_t *s, const vch_file_t *file, bool write)
{
    VCH_TRY(admit(s));
    return !file->node || (write && !file->writable) ? VCH_ERR_IO : VCH_OK;
}

/* How much one step of a read or write moves: all, or what the fault leaves.
 * The loops around it do what the real port does. */
static size_t one_step(vch_sim_t *s, size_t n)
{
    vch_fault_t how = s->soft;
    s->soft = VCH_FAULT_NONE;
    if (how == VCH_FAULT_EINTR) return 0;
    return how == VCH_FAULT_SHORT && n > 1 ? 1 + (size_t)(vch__sim_rng(&s->rng_fault) % (n - 1)) : n;
}

/* ---- files ------------------------------------------------------------------------------------ */

static vch_rc do_open(vch_sim_t *s, vch_file_t **ret, const char *path, vch_open_t how)
{
    spot_t spot;
    VCH_TRY(walk(s, &spot, path));
    sim_node_t *node = spot_node(&spot);
    if (node && how == VCH_OPEN_NEW) return VCH_ERR_CONFLICT;
    if (node && node->is_dir) return VCH_ERR_IO;
    if (!node && (how == VCH_OPEN_READ || how == VCH_OPEN_WRITE)) return VCH_ERR_NOT_FOUND;
    if (!node) {
        collect_if_many(s);
        node = node_new(s, false);
        dirop_place(dirop_new(s), spot.dir, spot.name, node);
    }
    vch_file_t *file = vch__sim_grow(NULL, sizeof *file);
    *file = (vch_file_t){.next = s->files, .node = node, .writable = how != VCH_OPEN_READ};
    if (s->files) s->files->prev = file;
    s->files = file;
    *ret = file;
    return VCH_OK;
}

static vch_rc sim_open(vch_port_t *port, vch_file_t **ret, const char *path, vch_open_t how, unsigned mode)
{
    (void)mode;
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit(s);
    if (rc == VCH_OK) rc = do_open(s, ret, path, how);
    return vch__sim_leave(s, rc);
}

static void sim_close(vch_port_t *port, vch_file_t *file)
{
    vch_sim_t *s = vch__sim_enter(port);
    if (file->prev)
        file->prev->next = file->next;
    else
        s->files = file->next;
    if (file->next) file->next->prev = file->prev;
    free(file);
    vch__sim_leave(s, VCH_OK);
}

static vch_rc sim_read(vch_port_t *port, vch_file_t *file, size_t *ret_n, void *buf, size_t n, uint64_t at)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit_file(s, file, false);
    if (rc == VCH_OK) {
        uint64_t size = file->node->now.size, there = at < size ? size - at : 0;
        if (n > there) n = (size_t)there;
        for (size_t done = 0, step; done < n; done += step) {
            step = one_step(s, n - done);
            vch__image_read(&file->node->now, (uint8_t *)buf + done, step, at + done);
        }
        *ret_n = n;
    }
    return vch__sim_leave(s, rc);
}

static void record(sim_node_t *node, sim_record_t r, const uint8_t *bytes)
{
    if (r.kind == SIM_WRITE && bytes[0] == 0 && memcmp(bytes, bytes + 1, r.n - 1) == 0) r.kind = SIM_ZEROS;
    if (r.kind == SIM_WRITE) {
        size_t need = node->log_n + r.n;
        if (need > node->log_cap) {
            node->log_cap = need > node->log_cap * 2 ? need : node->log_cap * 2;
            node->log = vch__sim_grow(node->log, node->log_cap);
        }
        memcpy(node->log + node->log_n, bytes, r.n);
        r.data = node->log_n;
        node->log_n = need;
    }
    vch__sim_room((void **)&node->record, node->n_records, &node->cap_records, sizeof *node->record);
    node->record[node->n_records++] = r;
    node->differs = true;
}

static vch_rc do_write(vch_sim_t *s, sim_node_t *node, const uint8_t *p, size_t n, uint64_t at)
{
    if (at > SIM_FILE_MAX || n > SIM_FILE_MAX - at) return VCH_ERR_IO;
    for (size_t done = 0, step; done < n; done += step) {
        step = one_step(s, n - done);
        if (step == 0) continue;
        record(node, (sim_record_t){.kind = SIM_WRITE, .at = at + done, .n = step}, p + done);
        vch__image_write(&node->now, p + done, step, at + done);
    }
    return VCH_OK;
}

static vch_rc sim_write(vch_port_t *port, vch_file_t *file, const void *buf, size_t n, uint64_t at)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit_file(s, file, true);
    if (rc == VCH_OK) rc = do_write(s, file->node, buf, n, at);
    return vch__sim_leave(s, rc);
}

static vch_rc sim_truncate(vch_port_t *port, vch_file_t *file, uint64_t size)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit_file(s, file, true);
    if (rc == VCH_OK && size > SIM_FILE_MAX) rc = VCH_ERR_IO;
    if (rc == VCH_OK && size != file->node->now.size) {
        record(file->node, (sim_record_t){.kind = SIM_RESIZE, .at = size}, NULL);
        file->node->resized = true;
        vch__image_resize(&file->node->now, size);
    }
    return vch__sim_leave(s, rc);
}

static void do_sync(sim_node_t *node)
{
    if (node->resized) {
        vch__image_assign(&node->durable, &node->now);
        node->lost = false;
    }
    for (size_t i = 0; !node->resized && i < node->n_records; i++) {
        const sim_record_t *r = &node->record[i];
        vch__image_share(&node->durable, &node->now, r->at, r->n);
        if (r->at + r->n > node->durable.size) node->durable.size = r->at + r->n;
    }
    node->n_records = 0;
    node->log_n = 0;
    node->resized = false;
    node->differs = node->lost;
}

/* A failed sync leaves the pages clean though they never reached the disk:
 * what is lost then stays lost, and a second sync does not bring it back. */
static vch_rc sim_sync(vch_port_t *port, vch_file_t *file)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit_file(s, file, false);
    if (rc == VCH_OK) {
        do_sync(file->node);
    } else if (file->node && !s->power_off) {
        vch__file_crash(s, file->node);
        file->node->lost = file->node->differs;
    }
    return vch__sim_leave(s, rc);
}

static vch_rc sim_size(vch_port_t *port, vch_file_t *file, uint64_t *ret)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit_file(s, file, false);
    if (rc == VCH_OK) *ret = file->node->now.size;
    return vch__sim_leave(s, rc);
}

/* ---- locks: nobody else runs while we wait, so waiting only takes time ---------------------- */

static bool lock_refused(const vch_sim_t *s, const vch_file_t *file, vch_lock_t how)
{
    for (const vch_file_t *f = s->files; f; f = f->next) {
        if (f == file || f->node != file->node || f->lock == SIM_UNLOCKED) continue;
        if (how == VCH_LOCK_EXCLUSIVE || f->lock == SIM_EXCLUSIVE) return true;
    }
    return false;
}

static vch_rc sim_lock(vch_port_t *port, vch_file_t *file, vch_lock_t how, uint64_t wait_ms)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit_file(s, file, how == VCH_LOCK_EXCLUSIVE);
    if (rc == VCH_OK && lock_refused(s, file, how)) {
        vch__sim_pass_ms(s, wait_ms);
        rc = VCH_ERR_LOCKED;
    }
    if (rc == VCH_OK) file->lock = how == VCH_LOCK_EXCLUSIVE ? SIM_EXCLUSIVE : SIM_SHARED;
    return vch__sim_leave(s, rc);
}

static void sim_unlock(vch_port_t *port, vch_file_t *file)
{
    vch_sim_t *s = vch__sim_enter(port);
    file->lock = SIM_UNLOCKED;
    vch__sim_leave(s, VCH_OK);
}

/* ---- calls on names ------------------------------------------------------------------------------ */

static vch_rc sim_stat(vch_port_t *port, const char *path, vch_stat_t *ret)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit(s);
    sim_node_t *node = rc == VCH_OK ? vch__disk_find(s, path) : NULL;
    if (rc == VCH_OK && !node) rc = VCH_ERR_NOT_FOUND;
    if (rc == VCH_OK)
        *ret = (vch_stat_t){.size = node->now.size, .is_dir = node->is_dir, .mode = node->is_dir ? 0700 : 0600};
    return vch__sim_leave(s, rc);
}

static bool is_empty(const sim_node_t *dir)
{
    for (size_t i = 0; i < dir->n_entries; i++)
        if (dir->entry[i].now) return false;
    return true;
}

/* Does `path` lie below the folder `above`? */
static bool lies_below(vch_sim_t *s, const char *path, const sim_node_t *above)
{
    char part[VCH_PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof part) return true;
    memcpy(part, path, n + 1);
    for (; n > 0; n--) {
        if (part[n] != '/') continue;
        part[n] = 0;
        if (vch__disk_find(s, part) == above) return true;
    }
    return false;
}

/* May `node` take the place of `old`?  The errors are those of rename(2). */
static vch_rc may_replace(const sim_node_t *node, const sim_node_t *old)
{
    if (!old) return VCH_OK;
    if (node->is_dir && !old->is_dir) return VCH_ERR_NOT_FOUND;
    if (!node->is_dir && old->is_dir) return VCH_ERR_IO;
    return old->is_dir && !is_empty(old) ? VCH_ERR_CONFLICT : VCH_OK;
}

static vch_rc do_rename(vch_sim_t *s, const char *from, const char *to)
{
    spot_t a, b;
    VCH_TRY(walk(s, &a, from));
    VCH_TRY(walk(s, &b, to));
    sim_node_t *node = spot_node(&a), *old = spot_node(&b);
    if (!node) return VCH_ERR_NOT_FOUND;
    if (!a.name[0] || !b.name[0]) return VCH_ERR_IO;
    if (node == old) return VCH_OK;
    if (node->is_dir && lies_below(s, to, node)) return VCH_ERR_IO;
    VCH_TRY(may_replace(node, old));
    sim_dirop_t *op = dirop_new(s);
    dirop_place(op, a.dir, a.name, NULL);
    dirop_place(op, b.dir, b.name, node);
    return VCH_OK;
}

static vch_rc sim_rename(vch_port_t *port, const char *from, const char *to)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit(s);
    if (rc == VCH_OK) rc = do_rename(s, from, to);
    return vch__sim_leave(s, rc);
}

static vch_rc do_remove(vch_sim_t *s, const char *path)
{
    spot_t spot;
    VCH_TRY(walk(s, &spot, path));
    sim_node_t *node = spot_node(&spot);
    if (!node) return VCH_ERR_NOT_FOUND;
    if (!spot.name[0]) return VCH_ERR_IO;
    if (node->is_dir && !is_empty(node)) return VCH_ERR_CONFLICT;
    dirop_place(dirop_new(s), spot.dir, spot.name, NULL);
    collect_if_many(s);
    return VCH_OK;
}

static vch_rc sim_remove(vch_port_t *port, const char *path)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit(s);
    if (rc == VCH_OK) rc = do_remove(s, path);
    return vch__sim_leave(s, rc);
}

static vch_rc do_mkdir(vch_sim_t *s, const char *path)
{
    spot_t spot;
    VCH_TRY(walk(s, &spot, path));
    if (spot_node(&spot)) return VCH_ERR_CONFLICT;
    dirop_place(dirop_new(s), spot.dir, spot.name, node_new(s, true));
    return VCH_OK;
}

static vch_rc sim_mkdir(vch_port_t *port, const char *path, unsigned mode)
{
    (void)mode;
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit(s);
    if (rc == VCH_OK) rc = do_mkdir(s, path);
    return vch__sim_leave(s, rc);
}

static vch_rc sim_sync_dir(vch_port_t *port, const char *path)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit(s);
    if (rc == VCH_OK) rc = do_sync_dir(s, path);
    return vch__sim_leave(s, rc);
}

static vch_rc copy_names(vch_sim_t *s, char ***ret, size_t *ret_n, const char *path)
{
    sim_node_t *dir = vch__disk_find(s, path);
    if (!dir || !dir->is_dir) return VCH_ERR_NOT_FOUND;
    char **names = vch__sim_grow(NULL, (dir->n_entries + 1) * sizeof *names);
    size_t n = 0;
    for (size_t i = 0; i < dir->n_entries; i++) {
        if (!dir->entry[i].now) continue;
        size_t len = strlen(dir->entry[i].name) + 1;
        names[n] = vch__sim_grow(NULL, len);
        memcpy(names[n++], dir->entry[i].name, len);
    }
    *ret = names;
    *ret_n = n;
    return VCH_OK;
}

/* The names are copied first, for the callback may itself use the disk. */
static vch_rc sim_list(vch_port_t *port, const char *path, vch_list_fn fn, void *ctx)
{
    char **names = NULL;
    size_t n = 0;
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit(s);
    if (rc == VCH_OK) rc = copy_names(s, &names, &n, path);
    vch__sim_leave(s, rc);
    for (size_t i = 0; i < n; i++) {
        if (rc == VCH_OK) rc = fn(ctx, names[i]);
        free(names[i]);
    }
    free(names);
    return rc;
}

static vch_rc sim_free_space(vch_port_t *port, const char *path, uint64_t *ret_bytes)
{
    vch_sim_t *s = vch__sim_enter(port);
    vch_rc rc = admit(s);
    if (rc == VCH_OK && !vch__disk_find(s, path)) rc = VCH_ERR_NOT_FOUND;
    if (rc == VCH_OK) *ret_bytes = FREE_SPACE;
    return vch__sim_leave(s, rc);
}

const vch_disk_ops_t vch__sim_disk = {
    .open = sim_open,
    .close = sim_close,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .truncate = sim_truncate,
    .size = sim_size,
    .lock = sim_lock,
    .unlock = sim_unlock,
    .stat = sim_stat,
    .rename = sim_rename,
    .remove = sim_remove,
    .mkdir = sim_mkdir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .free_space = sim_free_space,
};

/* ---- birth, power cut, end -------------------------------------------------------------------------- */

bool vch__disk_start(vch_sim_t *s)
{
    s->root = calloc(1, sizeof *s->root);
    if (!s->root) return false;
    s->root->is_dir = true;
    s->nodes = s->root;
    s->n_nodes = 1;
    s->gc_at = GC_MIN;
    return true;
}

static void crash_names(vch_sim_t *s)
{
    static const unsigned keeps[] = {0, 30, 50, 70, 100};
    unsigned keep = keeps[vch__sim_rng(&s->rng_fault) % 5];
    for (size_t i = 0; i < s->n_dirops; i++)
        if (vch__sim_chance(s, keep)) dirop_commit(&s->dirop[i]);
    for (sim_node_t *node = s->nodes; node; node = node->next) {
        for (size_t i = 0; node->pending && i < node->n_entries; i++) node->entry[i].now = node->entry[i].durable;
        node->pending = 0;
    }
    s->n_dirops = 0;
}

void vch__disk_crash(vch_sim_t *s)
{
    for (vch_file_t *f = s->files; f; f = f->next) {
        f->node = NULL;
        f->lock = SIM_UNLOCKED;
    }
    crash_names(s);
    collect(s);
    for (sim_node_t *node = s->nodes; node; node = node->next) {
        if (node->is_dir || !node->differs) continue;
        vch__file_crash(s, node);
        vch__image_assign(&node->now, &node->durable);
        node->differs = node->lost = false;
    }
}

void vch__disk_free(vch_sim_t *s)
{
    for (sim_node_t *node = s->nodes, *next; node; node = next) {
        next = node->next;
        node_free(node);
    }
    for (vch_file_t *f = s->files, *next; f; f = next) {
        next = f->next;
        free(f);
    }
    free(s->dirop);
}
