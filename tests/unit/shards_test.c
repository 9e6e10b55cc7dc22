/* SPDX-License-Identifier: Apache-2.0 */
/* Shards on simulated disks: what went in comes out of any k nodes; a node that
 * has something else is named; nothing half-made stays; repair gives the same
 * bytes; an audit can't be answered without the shard. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port/sim.h"
#include "store/shards_int.h"

#define NODES 4u
#define K 2u
#define SEGMENTS 5u

static vch_err_t err;
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        err = (vch_err_t){0};                                                                                          \
        vch_rc rc_ = (call);                                                                                           \
        if (rc_ != VCH_OK) fail_msg("%s: %s: %s", #call, vch_rc_name(rc_), err.text);                                  \
    } while (0)

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    vch_backend_t *node[NODES];
    vch_hash_t extent, root;
    uint8_t *data[SEGMENTS];
    vch_segment_t about[SEGMENTS];
} store_t;

static void open_nodes(store_t *s)
{
    for (unsigned i = 0; i < NODES; i++) {
        char path[16];
        snprintf(path, sizeof path, "/n%u", i);
        OK(vch_backend_dir(&s->node[i], s->port, path, &err));
    }
}

static void close_nodes(store_t *s)
{
    for (unsigned i = 0; i < NODES; i++) {
        vch_backend_close(s->node[i]);
        s->node[i] = NULL;
    }
}

/* Streams alternate; lengths around chunks and blocks. */
static void invent(store_t *s)
{
    static const uint32_t length[SEGMENTS] = {1, 8191, 8192, 20000, 300001};
    static const uint8_t stream[SEGMENTS] = {0, 16, 0, 1, 16};
    uint32_t next[32] = {0};
    for (unsigned i = 0; i < SEGMENTS; i++) {
        s->about[i] = (vch_segment_t){stream[i], next[stream[i]], 10 + i, length[i]};
        next[stream[i]] += 10 + i;
        s->data[i] = malloc(length[i]);
        for (uint32_t at = 0; at < length[i]; at++) s->data[i][at] = (uint8_t)(at * 7 + at / 251 + i);
    }
}

static vch_rc write_all(store_t *s)
{
    vch_shards_writer_t *w;
    VCH_TRY(vch_shards_begin(&w, s->node, K, NODES, &s->extent, &err));
    for (unsigned i = 0; i < SEGMENTS; i++) {
        vch_rc rc = vch_shards_put(w, &s->about[i], s->data[i], &err);
        if (rc == VCH_OK) continue;
        vch_shards_abort(w);
        return rc;
    }
    return vch_shards_finish(w, &s->root, &err);
}

static int set_up_bare(void **state)
{
    store_t *s = calloc(1, sizeof *s);
    *state = s;
    OK(vch_sim_new(&s->sim, 77));
    s->port = vch_sim_port(s->sim);
    memset(s->extent.b, 0xab, 32);
    open_nodes(s);
    invent(s);
    return 0;
}

static int set_up(void **state)
{
    set_up_bare(state);
    OK(write_all(*state));
    return 0;
}

static int tear_down(void **state)
{
    store_t *s = *state;
    close_nodes(s);
    for (unsigned i = 0; i < SEGMENTS; i++) free(s->data[i]);
    vch_sim_free(s->sim);
    free(s);
    return 0;
}

/* Every segment as it went in, and who was named on the way. */
static uint32_t reads_whole(store_t *s)
{
    vch_shards_t *r;
    uint32_t named = 0;
    OK(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err));
    assert_int_equal(vch_shards_count(r), SEGMENTS);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        uint32_t bad = 0, found;
        uint8_t *got = malloc(s->about[i].length);
        assert_memory_equal(vch_shards_at(r, i), &s->about[i], sizeof s->about[i]);
        assert_true(vch_shards_find(r, s->about[i].stream, s->about[i].first + s->about[i].count - 1, &found));
        assert_int_equal(found, i);
        OK(vch_shards_read(r, i, got, &bad, &err));
        assert_memory_equal(got, s->data[i], s->about[i].length);
        named |= bad;
        free(got);
    }
    uint32_t found;
    assert_false(vch_shards_find(r, 0, 22, &found));
    assert_false(vch_shards_find(r, 2, 0, &found));
    vch_shards_close(r);
    return named;
}

static void comes_out_of_any_two(void **state)
{
    store_t *s = *state;
    assert_int_equal(reads_whole(s), 0);
    for (uint32_t have = 0; have < 1u << NODES; have++) {
        vch_backend_t *all[NODES];
        vch_shards_t *r;
        memcpy(all, s->node, sizeof all);
        for (unsigned i = 0; i < NODES; i++)
            if (!(have >> i & 1)) s->node[i] = NULL;
        if (__builtin_popcount(have) >= (int)K)
            assert_int_equal(reads_whole(s), 0);
        else if (have == 0)
            assert_int_equal(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err), VCH_ERR_UNREACHABLE);
        else {
            uint8_t got[8192] = {0};
            OK(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err));
            assert_int_equal(vch_shards_read(r, 1, got, NULL, &err), VCH_ERR_UNREACHABLE);
            for (size_t i = 0; i < sizeof got; i++) assert_int_equal(got[i], 0);
            vch_shards_close(r);
        }
        memcpy(s->node, all, sizeof all);
    }
}

static void shard_path(const store_t *s, unsigned node, char ret[128])
{
    char name[72];
    sh_name(name, &s->extent);
    snprintf(ret, 128, "/n%u/%s", node, name);
}

static uint64_t shard_size(store_t *s, unsigned node)
{
    char name[72];
    uint64_t size;
    sh_name(name, &s->extent);
    OK(s->node[node]->ops->size(s->node[node], name, &size, &err));
    return size;
}

/* One byte of one node: the data are right, and where it is a block's byte that
 * was read, the node is named. */
static void one_nodes_flipped_byte(void **state)
{
    store_t *s = *state;
    char path[128];
    uint64_t size = shard_size(s, 0), blocks = size - SH_TRAILER - SEGMENTS * sh_row_size(NODES);
    shard_path(s, 0, path);
    for (uint64_t at = 0; at < size; at += at < 9000 || at >= blocks ? 37 : 4999) {
        assert_true(vch_sim_flip(s->sim, path, at, 0x40));
        assert_int_equal(reads_whole(s), at < blocks ? 1 : 0);
        assert_true(vch_sim_flip(s->sim, path, at, 0x40));
    }
    assert_int_equal(reads_whole(s), 0);
}

static void too_many_flipped(void **state)
{
    store_t *s = *state;
    char path[128];
    uint8_t got[8192] = {0};
    uint32_t bad;
    vch_shards_t *r;
    for (unsigned i = 0; i < 3; i++) {
        shard_path(s, i, path);
        assert_true(vch_sim_flip(s->sim, path, 1000, 1)); /* in segment 1 */
    }
    OK(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err));
    assert_int_equal(vch_shards_read(r, 1, got, &bad, &err), VCH_ERR_UNREACHABLE);
    assert_int_equal(bad, 7);
    for (size_t i = 0; i < sizeof got; i++) assert_int_equal(got[i], 0);
    assert_int_equal(vch_shards_read(r, SEGMENTS, got, NULL, &err), VCH_ERR_NOT_FOUND);
    vch_shards_close(r);
}

/* Every manifest gone or another one: nothing is believed. */
static void another_root(void **state)
{
    store_t *s = *state;
    vch_shards_t *r = NULL;
    s->root.b[0] ^= 1;
    assert_int_equal(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err), VCH_ERR_UNREACHABLE);
    s->root.b[0] ^= 1;
    assert_int_equal(vch_shards_open(&r, s->node, K + 1, NODES, &s->extent, &s->root, &err), VCH_ERR_UNREACHABLE);
    s->extent.b[0] ^= 1;
    assert_int_equal(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err), VCH_ERR_UNREACHABLE);
    s->extent.b[0] ^= 1;
    /* nodes changed places: their blocks are not their own, and each says so */
    vch_backend_t *swap = s->node[0];
    s->node[0] = s->node[1];
    s->node[1] = swap;
    assert_int_equal(reads_whole(s), 3);
    s->node[1] = s->node[0];
    s->node[0] = swap;
    assert_null(r);
}

static void what_cannot_be_written(void **state)
{
    store_t *s = *state;
    vch_shards_writer_t *w;
    uint8_t byte = 0;
    vch_segment_t bad[] = {
        {0, 1, 1, 1}, {0, 0, 0, 1}, {0, 0, 1, 0}, {0, 0, 1, VCH_SEGMENT_MAX + 1}, {0, 0, UINT32_MAX, 1}};
    OK(vch_shards_begin(&w, s->node, K, NODES, &s->extent, &err));
    for (size_t i = 0; i < 4; i++) assert_int_equal(vch_shards_put(w, &bad[i], &byte, &err), VCH_ERR_LIMIT);
    OK(vch_shards_put(w, &bad[4], &byte, &err));
    assert_int_equal(vch_shards_put(w, &(vch_segment_t){0, UINT32_MAX, 1, 1}, &byte, &err), VCH_ERR_LIMIT);
    vch_shards_abort(w);
    OK(vch_shards_begin(&w, s->node, K, NODES, &s->extent, &err));
    assert_int_equal(vch_shards_finish(w, &s->root, &err), VCH_ERR_LIMIT); /* no segment */
    assert_int_equal(vch_shards_begin(&w, s->node, K, 0, &s->extent, &err), VCH_ERR_LIMIT);
    assert_int_equal(vch_shards_begin(&w, s->node, K, 17, &s->extent, &err), VCH_ERR_LIMIT);
    assert_int_equal(vch_shards_begin(&w, s->node, 4, NODES, &s->extent, &err), VCH_ERR_LIMIT);
    OK(write_all(s));
    assert_int_equal(vch_shards_begin(&w, s->node, K, NODES, &s->extent, &err), VCH_ERR_CONFLICT);
    assert_int_equal(reads_whole(s), 0);
}

static vch_rc count_object(void *ctx, const char *name)
{
    (void)name;
    ++*(unsigned *)ctx;
    return VCH_OK;
}

static unsigned objects(store_t *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < NODES; i++) OK(s->node[i]->ops->list(s->node[i], count_object, &n, &err));
    return n;
}

static unsigned files(store_t *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < NODES; i++) {
        char path[16];
        snprintf(path, sizeof path, "/n%u", i);
        OK(s->port->disk->list(s->port, path, count_object, &n));
    }
    return n;
}

/* A put that failed half-way leaves a writer of which nothing comes. */
static void a_failed_put_sticks(void **state)
{
    store_t *s = *state;
    vch_shards_writer_t *w;
    vch_segment_t large = {0, 0, 1, 3u << 20}, next = {0, 1, 1, 1};
    uint8_t *data = calloc(1, large.length);
    OK(vch_shards_begin(&w, s->node, K, NODES, &s->extent, &err));
    vch_sim_fail_io(s->sim, 2, VCH_FAULT_EIO); /* the second node's block */
    assert_int_equal(vch_shards_put(w, &large, data, &err), VCH_ERR_IO);
    vch_sim_fail_io(s->sim, 0, VCH_FAULT_NONE);
    assert_int_equal(vch_shards_put(w, &large, data, &err), VCH_ERR_IO);
    assert_int_equal(vch_shards_put(w, &next, data, &err), VCH_ERR_IO);
    assert_int_not_equal(vch_shards_finish(w, &s->root, &err), VCH_OK);
    assert_int_equal(files(s), 0);
    free(data);
}

/* An object whose last sync fails is no object. */
static void an_unsure_finish_leaves_nothing(void **state)
{
    store_t *s = *state;
    for (uint64_t n = 1; n < 10; n++) {
        vch_upload_t *u;
        OK(s->node[0]->ops->create(s->node[0], &u, "thing", &err));
        OK(s->node[0]->ops->append(u, vch_str("abc"), &err));
        vch_sim_fail_io(s->sim, n, VCH_FAULT_EIO);
        vch_rc rc = s->node[0]->ops->finish(u, &err);
        vch_sim_fail_io(s->sim, 0, VCH_FAULT_NONE);
        if (rc == VCH_OK) break;
        assert_int_equal(files(s), 0);
    }
    OK(s->node[0]->ops->remove(s->node[0], "thing", &err));
}

/* ---- faults --------------------------------------------------------------------------- */

/* Each disk call of writing fails once: all or nothing, and nothing is left. */
static void a_failing_disk(void **state)
{
    store_t *s = *state;
    static const vch_fault_t how[] = {VCH_FAULT_EIO, VCH_FAULT_ENOSPC};
    for (unsigned h = 0; h < 2; h++)
        for (uint64_t n = 1;; n++) {
            vch_sim_fail_io(s->sim, n, how[h]);
            uint64_t before = vch_sim_io_calls(s->sim);
            err = (vch_err_t){0};
            vch_rc rc = write_all(s);
            bool reached = vch_sim_io_calls(s->sim) - before >= n;
            vch_sim_fail_io(s->sim, 0, VCH_FAULT_NONE);
            if (rc == VCH_OK) {
                assert_int_equal(reads_whole(s), 0);
                vch_shards_remove(s->node, NODES, &s->extent);
                assert_int_equal(files(s), 0);
                if (!reached) break;
                continue;
            }
            assert_true(err.text[0] != 0);
            assert_int_equal(objects(s), 0);
        }
}

static void refused_memory(void **state)
{
    store_t *s = *state;
    close_nodes(s);
    vch_mem_use(vch_sim_mem(s->sim));
    open_nodes(s);
    size_t live = vch_sim_mem_live(s->sim);
    for (uint64_t n = 1;; n++) {
        vch_sim_fail_alloc(s->sim, n);
        uint64_t before = vch_sim_alloc_calls(s->sim);
        vch_rc rc = write_all(s);
        bool reached = vch_sim_alloc_calls(s->sim) - before >= n;
        vch_sim_fail_alloc(s->sim, 0);
        assert_int_equal(vch_sim_mem_live(s->sim), live);
        if (rc == VCH_OK) {
            vch_shards_remove(s->node, NODES, &s->extent);
            if (!reached) break;
            continue;
        }
        assert_int_equal(rc, VCH_ERR_MEMORY);
        assert_int_equal(objects(s), 0);
        assert_int_equal(files(s), 0);
    }
    OK(write_all(s));
    for (uint64_t n = 1;; n++) {
        vch_shards_t *r;
        vch_sim_fail_alloc(s->sim, n);
        vch_rc rc = vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err);
        vch_sim_fail_alloc(s->sim, 0);
        if (rc == VCH_OK) {
            vch_shards_close(r);
            break;
        }
        assert_int_equal(rc, VCH_ERR_MEMORY);
        assert_int_equal(vch_sim_mem_live(s->sim), live);
    }
    close_nodes(s);
    vch_mem_use(NULL);
}

/* The power goes at each disk call: afterwards a shard is whole or not there. */
static void cut_power(void **state)
{
    store_t *s = *state;
    unsigned whole = 0, none = 0;
    OK(write_all(s)); /* for its root: the same each time */
    vch_shards_remove(s->node, NODES, &s->extent);
    for (uint64_t n = 1;; n++) {
        vch_sim_cut_power_at(s->sim, n);
        vch_rc rc = write_all(s);
        close_nodes(s);
        vch_sim_crash(s->sim);
        open_nodes(s);
        unsigned there = objects(s);
        assert_int_equal(files(s), there); /* what was begun is cleared away */
        if (rc == VCH_OK) assert_int_equal(there, NODES);
        if (there == NODES) {
            assert_int_equal(reads_whole(s), 0);
            whole++;
        } else {
            none++;
        }
        vch_shards_remove(s->node, NODES, &s->extent);
        if (rc == VCH_OK) break;
    }
    assert_true(whole >= 1);
    assert_true(none > 10);
}

/* Each byte of a shard counts for the check of that node alone. */
static void a_check_finds_it(void **state)
{
    store_t *s = *state;
    char path[128];
    vch_shards_t *r;
    uint32_t good;
    uint64_t size = shard_size(s, 2), blocks = size - SH_TRAILER - SEGMENTS * sh_row_size(NODES);
    shard_path(s, 2, path);
    OK(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err));
    for (uint64_t at = 0; at < size; at += at < 9000 || at >= blocks ? 41 : 5003) {
        assert_true(vch_sim_flip(s->sim, path, at, 0x08));
        vch_rc rc = vch_shards_check(r, 2, &good, &err);
        assert_int_equal(rc, at < blocks ? VCH_OK : VCH_ERR_CORRUPT);
        if (rc == VCH_OK) assert_int_equal(good, SEGMENTS - 1);
        OK(vch_shards_check(r, 1, &good, &err));
        assert_int_equal(good, SEGMENTS);
        assert_true(vch_sim_flip(s->sim, path, at, 0x08));
    }
    OK(vch_shards_check(r, 2, &good, &err));
    assert_int_equal(good, SEGMENTS);
    vch_shards_close(r);
}

/* ---- repair ---------------------------------------------------------------------------------- */

static uint8_t *object_bytes(store_t *s, unsigned node, uint64_t *ret_n)
{
    char name[72];
    sh_name(name, &s->extent);
    *ret_n = shard_size(s, node);
    uint8_t *b = malloc(*ret_n);
    OK(s->node[node]->ops->read(s->node[node], name, b, *ret_n, 0, &err));
    return b;
}

static void repair_gives_the_same_bytes(void **state)
{
    store_t *s = *state;
    char name[72], path[128];
    sh_name(name, &s->extent);
    for (unsigned node = 0; node < NODES; node++)
        for (unsigned damage = 0; damage < 2; damage++) {
            uint64_t n, m;
            uint8_t *before = object_bytes(s, node, &n);
            vch_shards_t *r;
            shard_path(s, node, path);
            if (damage)
                assert_true(vch_sim_flip(s->sim, path, 100, 1));
            else
                OK(s->node[node]->ops->remove(s->node[node], name, &err));
            OK(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err));
            OK(vch_shards_repair(r, node, s->node[node], &err));
            vch_shards_close(r);
            uint8_t *after = object_bytes(s, node, &m);
            assert_int_equal(n, m);
            assert_memory_equal(before, after, n);
            free(before);
            free(after);
        }
    assert_int_equal(reads_whole(s), 0);
}

/* Too little is left to make it anew: the damaged one stays where it is. */
static void no_repair_from_one(void **state)
{
    store_t *s = *state;
    vch_shards_t *r;
    char path[128];
    for (unsigned i = 0; i < 3; i++) {
        shard_path(s, i, path);
        assert_true(vch_sim_flip(s->sim, path, 5000, 1));
    }
    OK(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err));
    assert_int_equal(vch_shards_repair(r, 0, s->node[0], &err), VCH_ERR_UNREACHABLE);
    assert_int_equal(objects(s), NODES);
    assert_int_equal(vch_shards_repair(r, NODES, s->node[0], &err), VCH_ERR_NOT_FOUND);
    vch_shards_close(r);
}

/* ---- audit ------------------------------------------------------------------------------------- */

static void audits_are_answered_by_who_holds_it(void **state)
{
    store_t *s = *state;
    vch_shards_t *r;
    static vch_audit_t a;
    unsigned seen[SEGMENTS] = {0}, same = 0;
    OK(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err));
    for (unsigned i = 0; i < 400; i++) {
        vch_hash_t nonce = {{(uint8_t)i, (uint8_t)(i >> 8), 1}}, other = {{(uint8_t)i, (uint8_t)(i >> 8), 2}};
        unsigned node = i % NODES;
        OK(vch_shards_audit(r, node, &nonce, &a, &err));
        OK(vch_shards_audit_verify(r, node, &nonce, &a, &err));
        seen[a.segment]++;
        vch_rc rc = vch_shards_audit_verify(r, node, &other, &a, &err);
        if (rc == VCH_OK) { /* both nonces ask for the same chunk: one in as many as there are */
            same++;
            continue;
        }
        assert_int_equal(rc, VCH_ERR_FORMAT);
        a.data[a.n / 2] ^= 1;
        assert_int_equal(vch_shards_audit_verify(r, node, &nonce, &a, &err), VCH_ERR_COMMITMENT);
        a.data[a.n / 2] ^= 1;
        if (a.hashes) {
            a.path[a.hashes - 1].b[3] ^= 1;
            assert_int_equal(vch_shards_audit_verify(r, node, &nonce, &a, &err), VCH_ERR_COMMITMENT);
            a.path[a.hashes - 1].b[3] ^= 1;
            a.hashes--;
            assert_int_equal(vch_shards_audit_verify(r, node, &nonce, &a, &err), VCH_ERR_COMMITMENT);
            a.hashes++;
        }
        a.n ^= 1;
        assert_int_equal(vch_shards_audit_verify(r, node, &nonce, &a, &err), VCH_ERR_FORMAT);
        a.n ^= 1;
        a.hashes = VCH_AUDIT_PATH_MAX + 1;
        assert_int_equal(vch_shards_audit_verify(r, node, &nonce, &a, &err), VCH_ERR_FORMAT);
    }
    assert_true(same < 40);
    assert_true(seen[4] > 200); /* the largest segment has most of the chunks */
    assert_true(seen[3] > 0);
    vch_shards_close(r);
}

static void a_node_that_lost_it_fails_the_audit(void **state)
{
    store_t *s = *state;
    vch_shards_t *r;
    static vch_audit_t a;
    vch_hash_t nonce = {{9}};
    char path[128];
    unsigned failed = 0;
    shard_path(s, 1, path);
    for (uint64_t at = 20; at < 150000; at += 4096) assert_true(vch_sim_flip(s->sim, path, at, 1));
    OK(vch_shards_open(&r, s->node, K, NODES, &s->extent, &s->root, &err));
    for (unsigned i = 0; i < 50; i++) {
        nonce.b[1] = (uint8_t)i;
        OK(vch_shards_audit(r, 1, &nonce, &a, &err));
        failed += vch_shards_audit_verify(r, 1, &nonce, &a, &err) == VCH_ERR_COMMITMENT;
    }
    assert_true(failed > 30);
    vch_shards_close(r);
}

/* ---- names ------------------------------------------------------------------------------------------ */

static void names_stay_in_the_folder(void **state)
{
    store_t *s = *state;
    static const char *const bad[] = {"", ".", "..", "../x", "a/b", "A", "up-1", ".hidden", "x y", "caf\xc3\xa9"};
    char longest[90];
    vch_upload_t *u = NULL;
    uint64_t size;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(s->node[0]->ops->create(s->node[0], &u, bad[i], &err), VCH_ERR_USAGE);
        assert_int_equal(s->node[0]->ops->size(s->node[0], bad[i], &size, &err), VCH_ERR_USAGE);
        assert_int_equal(s->node[0]->ops->remove(s->node[0], bad[i], &err), VCH_ERR_USAGE);
    }
    memset(longest, 'a', sizeof longest);
    longest[81] = 0;
    assert_int_equal(s->node[0]->ops->create(s->node[0], &u, longest, &err), VCH_ERR_USAGE);
    longest[80] = 0;
    OK(s->node[0]->ops->create(s->node[0], &u, longest, &err));
    OK(s->node[0]->ops->append(u, vch_str("abc"), &err));
    OK(s->node[0]->ops->finish(u, &err));
    OK(s->node[0]->ops->size(s->node[0], longest, &size, &err));
    assert_int_equal(size, 3);
    assert_int_equal(s->node[0]->ops->create(s->node[0], &u, longest, &err), VCH_ERR_CONFLICT);
    uint8_t got[4];
    assert_int_equal(s->node[0]->ops->read(s->node[0], longest, got, 4, 0, &err), VCH_ERR_CORRUPT);
    assert_int_equal(s->node[0]->ops->read(s->node[0], "nothing", got, 1, 0, &err), VCH_ERR_NOT_FOUND);
    assert_int_equal(s->node[0]->ops->remove(s->node[0], "nothing", &err), VCH_ERR_NOT_FOUND);
}

/* k = 1 is copies; one node alone is one copy. */
static void copies(void **state)
{
    store_t *s = *state;
    for (unsigned n = 1; n <= NODES; n++) {
        vch_shards_writer_t *w;
        vch_shards_t *r;
        uint8_t got[8191];
        s->extent.b[1] = (uint8_t)n;
        OK(vch_shards_begin(&w, s->node, 1, n, &s->extent, &err));
        OK(vch_shards_put(w, &(vch_segment_t){3, 0, 5, 8191}, s->data[1], &err));
        OK(vch_shards_finish(w, &s->root, &err));
        for (unsigned alone = 0; alone < n; alone++) {
            vch_backend_t *one[NODES] = {NULL};
            one[alone] = s->node[alone];
            OK(vch_shards_open(&r, one, 1, n, &s->extent, &s->root, &err));
            OK(vch_shards_read(r, 0, got, NULL, &err));
            assert_memory_equal(got, s->data[1], sizeof got);
            vch_shards_close(r);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f, up) cmocka_unit_test_setup_teardown(f, up, tear_down)
        T(comes_out_of_any_two, set_up),
        T(one_nodes_flipped_byte, set_up),
        T(too_many_flipped, set_up),
        T(another_root, set_up),
        T(what_cannot_be_written, set_up_bare),
        T(a_failed_put_sticks, set_up_bare),
        T(an_unsure_finish_leaves_nothing, set_up_bare),
        T(a_failing_disk, set_up_bare),
        T(refused_memory, set_up_bare),
        T(cut_power, set_up_bare),
        T(a_check_finds_it, set_up),
        T(repair_gives_the_same_bytes, set_up),
        T(no_repair_from_one, set_up),
        T(audits_are_answered_by_who_holds_it, set_up),
        T(a_node_that_lost_it_fails_the_audit, set_up),
        T(names_stay_in_the_folder, set_up_bare),
        T(copies, set_up_bare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
