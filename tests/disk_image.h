/* SPDX-License-Identifier: Apache-2.0 */
/* All that lies on a simulated machine's disk, kept and laid out on another. */
#ifndef VCH_TEST_DISK_IMAGE_H
#define VCH_TEST_DISK_IMAGE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port/port.h"

#define DI_PAGE 4096u
#define DI_FILES_MAX 256u

typedef struct {
    uint64_t at;
    size_t n;
    uint8_t b[DI_PAGE];
} di_page_t;

typedef struct {
    char path[320];
    bool is_dir;
    uint64_t size;
    di_page_t *page; /* those that are not all zero */
    size_t pages, cap;
} di_file_t;

typedef struct {
    di_file_t file[DI_FILES_MAX];
    size_t files;
} di_image_t;

#define DI_DO(call)                                                                                                    \
    do {                                                                                                               \
        vch_rc di_rc_ = (call);                                                                                        \
        if (di_rc_ != VCH_OK) fail_msg("%s: %s", #call, vch_rc_name(di_rc_));                                          \
    } while (0)

static inline void di_keep_page(di_file_t *f, const di_page_t *p)
{
    if (p->n == 0 || (p->b[0] == 0 && memcmp(p->b, p->b + 1, p->n - 1) == 0)) return;
    if (f->pages == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 4;
        f->page = realloc(f->page, f->cap * sizeof *f->page);
        if (!f->page) abort();
    }
    f->page[f->pages++] = *p;
}

static inline void di_keep_file(vch_port_t *port, di_file_t *f)
{
    vch_file_t *file;
    DI_DO(port->disk->open(port, &file, f->path, VCH_OPEN_READ, 0600));
    for (uint64_t at = 0; at < f->size; at += DI_PAGE) {
        di_page_t page = {.at = at};
        DI_DO(port->disk->read(port, file, &page.n, page.b, sizeof page.b, at));
        di_keep_page(f, &page);
    }
    port->disk->close(port, file);
}

typedef struct {
    vch_port_t *port;
    di_image_t *image;
    const char *folder;
} di_walk_t;

static inline vch_rc di_keep_one(void *ctx, const char *name)
{
    di_walk_t *w = ctx;
    vch_stat_t st;
    assert_true(w->image->files < DI_FILES_MAX);
    di_file_t *f = &w->image->file[w->image->files++];
    *f = (di_file_t){.size = 0};
    snprintf(f->path, sizeof f->path, "%.230s/%.80s", w->folder, name);
    DI_DO(w->port->disk->stat(w->port, f->path, &st));
    f->is_dir = st.is_dir;
    f->size = st.is_dir ? 0 : st.size;
    if (!f->is_dir) {
        di_keep_file(w->port, f);
        return VCH_OK;
    }
    di_walk_t below = {w->port, w->image, f->path};
    return w->port->disk->list(w->port, f->path, di_keep_one, &below);
}

/* All that lies on a simulated disk. */
static inline di_image_t *di_take(vch_port_t *port)
{
    di_image_t *image = calloc(1, sizeof *image);
    if (!image) abort();
    di_walk_t walk = {port, image, ""};
    DI_DO(port->disk->list(port, "/", di_keep_one, &walk));
    return image;
}

static inline void di_drop(di_image_t *image)
{
    for (size_t i = 0; i < image->files; i++) free(image->file[i].page);
    free(image);
}

static inline void di_lay_file(vch_port_t *port, const di_file_t *f)
{
    vch_file_t *file;
    DI_DO(port->disk->open(port, &file, f->path, VCH_OPEN_NEW, 0600));
    DI_DO(port->disk->truncate(port, file, f->size));
    for (size_t i = 0; i < f->pages; i++)
        DI_DO(port->disk->write(port, file, f->page[i].b, f->page[i].n, f->page[i].at));
    DI_DO(port->disk->sync(port, file));
    port->disk->close(port, file);
}

/* Onto an empty disk, so that a power cut leaves all of it. */
static inline void di_lay(vch_port_t *port, const di_image_t *image)
{
    for (size_t i = 0; i < image->files; i++) {
        const di_file_t *f = &image->file[i];
        if (f->is_dir)
            DI_DO(port->disk->mkdir(port, f->path, 0700));
        else
            di_lay_file(port, f);
    }
    for (size_t i = 0; i < image->files; i++)
        if (image->file[i].is_dir) DI_DO(port->disk->sync_dir(port, image->file[i].path));
    DI_DO(port->disk->sync_dir(port, "/"));
}

#endif
