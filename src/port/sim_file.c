/* SPDX-License-Identifier: Apache-2.0 */
/* Contents of simulated files, and what a power cut makes of them. */
#include "port/sim_int.h"

#include <stdlib.h>

/* ---- pages ------------------------------------------------------------------------ */

static void page_drop(sim_page_t *page)
{
    if (page && --page->refs == 0) free(page);
}

static bool all_zero(const uint8_t *p, size_t n) { return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0); }

static void image_slots(sim_image_t *im, size_t need)
{
    if (need <= im->n) return;
    size_t n = im->n ? im->n : 1;
    while (n < need) n *= 2;
    im->page = vch__sim_grow(im->page, n * sizeof(sim_page_t *));
    memset(im->page + im->n, 0, (n - im->n) * sizeof(sim_page_t *));
    im->n = n;
}

/* The page to write into: made when missing, copied when shared. */
static sim_page_t *page_own(sim_image_t *im, size_t i)
{
    image_slots(im, i + 1);
    sim_page_t *old = im->page[i];
    if (old && old->refs == 1) return old;
    sim_page_t *page = vch__sim_grow(NULL, sizeof *page);
    if (old)
        memcpy(page->b, old->b, SIM_PAGE);
    else
        memset(page->b, 0, SIM_PAGE);
    page->refs = 1;
    page_drop(old);
    im->page[i] = page;
    return page;
}

static bool page_missing(const sim_image_t *im, size_t i) { return i >= im->n || !im->page[i]; }

void vch__image_write(sim_image_t *im, const void *p, size_t n, uint64_t at)
{
    const uint8_t *from = p;
    for (size_t done = 0, step; done < n; done += step) {
        size_t i = (size_t)((at + done) / SIM_PAGE), in = (size_t)((at + done) % SIM_PAGE);
        step = vch_min(n - done, SIM_PAGE - in);
        if (page_missing(im, i) && (!from || all_zero(from + done, step))) continue;
        sim_page_t *page = page_own(im, i);
        if (from)
            memcpy(page->b + in, from + done, step);
        else
            memset(page->b + in, 0, step);
    }
    if (n && at + n > im->size) im->size = at + n;
}

void vch__image_read(const sim_image_t *im, void *p, size_t n, uint64_t at)
{
    uint8_t *to = p;
    for (size_t done = 0, step; done < n; done += step) {
        size_t i = (size_t)((at + done) / SIM_PAGE), in = (size_t)((at + done) % SIM_PAGE);
        step = vch_min(n - done, SIM_PAGE - in);
        if (page_missing(im, i))
            memset(to + done, 0, step);
        else
            memcpy(to + done, im->page[i]->b + in, step);
    }
}

/* Bytes beyond the size are always zero, so growing again shows zeros. */
void vch__image_resize(sim_image_t *im, uint64_t size)
{
    if (size < im->size) {
        size_t keep = (size_t)((size + SIM_PAGE - 1) / SIM_PAGE);
        for (size_t i = keep; i < im->n; i++) {
            page_drop(im->page[i]);
            im->page[i] = NULL;
        }
        size_t in = (size_t)(size % SIM_PAGE);
        if (in && !page_missing(im, keep - 1)) memset(page_own(im, keep - 1)->b + in, 0, SIM_PAGE - in);
    }
    im->size = size;
}

static void slot_share(sim_image_t *to, const sim_image_t *from, size_t i)
{
    sim_page_t *page = page_missing(from, i) ? NULL : from->page[i];
    if (!page && page_missing(to, i)) return;
    image_slots(to, i + 1);
    if (to->page[i] == page) return;
    page_drop(to->page[i]);
    to->page[i] = page;
    if (page) page->refs++;
}

void vch__image_share(sim_image_t *to, const sim_image_t *from, uint64_t at, uint64_t n)
{
    if (n == 0) return;
    for (uint64_t i = at / SIM_PAGE; i <= (at + n - 1) / SIM_PAGE; i++) slot_share(to, from, (size_t)i);
}

void vch__image_assign(sim_image_t *to, const sim_image_t *from)
{
    size_t n = to->n > from->n ? to->n : from->n;
    for (size_t i = 0; i < n; i++) slot_share(to, from, i);
    to->size = from->size;
}

void vch__image_free(sim_image_t *im)
{
    for (size_t i = 0; i < im->n; i++) page_drop(im->page[i]);
    free(im->page);
    *im = (sim_image_t){0};
}

/* ---- a power cut ---------------------------------------------------------------------- */

/* How cruel this cut is to this file; one cut keeps nearly all, another one
 * nearly nothing, for the states between are not the only dangerous ones. */
typedef struct {
    unsigned keep, tear; /* percent */
} mood_t;

static mood_t mood_of(vch_sim_t *s)
{
    static const unsigned keeps[] = {0, 20, 50, 80, 100};
    mood_t mood = {keeps[vch__sim_rng(&s->rng_fault) % 5], 0};
    if (mood.keep > 0 && mood.keep < 100) mood.tear = vch__sim_chance(s, 50) ? 15 : 0;
    return mood;
}

/* One sector's share of a write: kept, dropped, or only its head or tail. */
static void settle_piece(vch_sim_t *s, sim_image_t *disk, mood_t mood, const uint8_t *p, size_t n, uint64_t at)
{
    unsigned die = (unsigned)(vch__sim_rng(&s->rng_fault) % 100);
    if (die < mood.tear && n > 1) {
        size_t cut = 1 + (size_t)(vch__sim_rng(&s->rng_fault) % (n - 1));
        bool head = vch__sim_chance(s, 50);
        size_t skip = head ? 0 : cut;
        vch__image_write(disk, p ? p + skip : NULL, head ? cut : n - cut, at + skip);
    } else if (die >= 100 - mood.keep) {
        vch__image_write(disk, p, n, at);
    }
}

static void settle_write(vch_sim_t *s, sim_node_t *node, mood_t mood, const sim_record_t *r)
{
    const uint8_t *p = r->kind == SIM_ZEROS ? NULL : node->log + r->data;
    for (size_t done = 0, step; done < r->n; done += step) {
        uint64_t at = r->at + done;
        step = vch_min(r->n - done, SIM_SECTOR - (size_t)(at % SIM_SECTOR));
        settle_piece(s, &node->durable, mood, p ? p + done : NULL, step, at);
    }
    /* The size may reach the disk without the bytes: then they read as zeros. */
    if (r->at + r->n > node->durable.size && mood.keep > 0 && vch__sim_chance(s, 25)) {
        vch__image_resize(&node->durable, r->at + r->n);
    }
}

void vch__file_crash(vch_sim_t *s, sim_node_t *node)
{
    mood_t mood = mood_of(s);
    for (size_t i = 0; i < node->n_records; i++) {
        const sim_record_t *r = &node->record[i];
        if (r->kind != SIM_RESIZE)
            settle_write(s, node, mood, r);
        else if (vch__sim_chance(s, mood.keep))
            vch__image_resize(&node->durable, r->at);
    }
    node->n_records = 0;
    node->log_n = 0;
    node->resized = false;
}
