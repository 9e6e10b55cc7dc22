/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: what is read again is the state that was written, and goes on as
 * it would have; whatever was changed, cut or added is refused, and leaves
 * nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "state/snapshot.h"
#include "world.h"

#define ROWS 9000 /* three chunks of consents */

typedef struct {
    vch_slice_t bytes;
    size_t at, piece; /* at most so many at a time */
    size_t fails_at;  /* 0: never */
} stream_t;

static vch_rc give(void *ctx, uint8_t *ret, size_t n, size_t *ret_n, vch_err_t *err)
{
    stream_t *s = ctx;
    if (s->fails_at && s->at >= s->fails_at) return vch_fail(err, VCH_ERR_IO, "the disk fails here");
    *ret_n = vch_min(vch_min(n, s->piece), s->bytes.n - s->at);
    memcpy(ret, s->bytes.p + s->at, *ret_n);
    s->at += *ret_n;
    return VCH_OK;
}

static vch_rc take(void *ctx, vch_slice_t bytes, vch_err_t *err)
{
    (void)err;
    return vch_buf_put(ctx, bytes.p, bytes.n);
}

static vch_rc refuse(void *ctx, vch_slice_t bytes, vch_err_t *err)
{
    (void)bytes;
    return --*(int *)ctx < 0 ? vch_fail(err, VCH_ERR_FULL, "the disk is full") : VCH_OK;
}

static world_t *a_world(void)
{
    vch_kv_t *kv;
    KIT_OK(vch_kv_open_memory(&kv, NULL));
    world_t *w = world_new_on(12, kv);
    KIT_OK(world_say(w, 0, VCH_KIND_DATASET, kit_dataset("many", &w->party_id[0])));
    w->dataset = w->last;
    KIT_OK(world_say(w, 0, VCH_KIND_VERSION, world_version(w, NULL, ROWS, 0, true, 2)));
    w->version = w->last;
    for (uint32_t i = 0; i < 40; i++) {
        say_t s = {.subject = i * 211, .serial = 1, .terms = &w->terms[0], .until = 30000 + i, .how = VCH_HOW_RECORDED};
        KIT_OK(world_say(w, 0, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)));
    }
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    (void)world_root(w);
    return w;
}

static vch_buf_t snapshot_of(world_t *w)
{
    vch_buf_t b;
    vch_err_t err = {0};
    vch_buf_init(&b, 64u << 20);
    if (vch_snapshot_write(w->state, take, &b, &err) != VCH_OK) fail_msg("%s", err.text);
    return b;
}

static vch_rc read_from(vch_state_t **ret, vch_kv_t *kv, vch_slice_t bytes, size_t piece, vch_err_t *err)
{
    stream_t s = {.bytes = bytes, .piece = piece};
    *err = (vch_err_t){0};
    return vch_snapshot_read(ret, kv, give, &s, err);
}

static vch_rc one_more(void *ctx, vch_slice_t key, vch_slice_t value)
{
    (void)key;
    (void)value;
    ++*(size_t *)ctx;
    return VCH_OK;
}

static size_t pairs_in(vch_kv_t *kv)
{
    size_t n = 0;
    KIT_OK(vch_kv_each(kv, vch_slice(NULL, 0), one_more, &n));
    return n;
}

static void permitted(world_t *w, vch_state_t *s, vch_buf_t *bits, uint64_t *count)
{
    vch_rule_t rule;
    vch_err_t err = {0};
    vch_buf_init(bits, 1u << 20);
    if (vch_state_permitted(s, &w->version, &w->party_id[1], vch_str(KIT_SCIENCE), vch_str(KIT_TRAINING), w->now, bits,
                            count, &rule, &err) != VCH_OK)
        fail_msg("%s", err.text);
}

static void what_is_read_is_what_was_written(void **state)
{
    (void)state;
    world_t *w = a_world();
    vch_buf_t b = snapshot_of(w), bits[2];
    static const size_t piece[] = {1u << 20, 4096, 1};
    for (size_t i = 0; i < 3; i++) {
        vch_kv_t *kv;
        vch_state_t *s;
        vch_state_info_t was, is;
        vch_err_t err;
        uint64_t count[2] = {0};
        KIT_OK(vch_kv_open_memory(&kv, NULL));
        if (read_from(&s, kv, vch_buf_slice(&b), piece[i], &err) != VCH_OK) fail_msg("%s", err.text);
        vch_state_info(w->state, &was);
        vch_state_info(s, &is);
        assert_memory_equal(&was, &is, sizeof was);
        assert_int_equal(pairs_in(kv), pairs_in(w->kv));
        permitted(w, w->state, &bits[0], &count[0]);
        permitted(w, s, &bits[1], &count[1]);
        assert_int_equal(count[0], 40);
        assert_int_equal(count[1], 40);
        assert_true(vch_slice_eq(vch_buf_slice(&bits[0]), vch_buf_slice(&bits[1])));
        for (int k = 0; k < 2; k++) vch_buf_free(&bits[k]);
        vch_state_free(s);
        vch_kv_close(kv);
    }
    vch_buf_free(&b);
    world_free(w);
}

/* The next transaction gives the same root on either. */
static void it_goes_on_as_it_would_have(void **state)
{
    (void)state;
    world_t *w = a_world();
    vch_buf_t b = snapshot_of(w);
    vch_kv_t *kv;
    vch_err_t err;
    KIT_OK(vch_kv_open_memory(&kv, NULL));
    say_t ends = {.subject = 211, .serial = 2, .how = VCH_HOW_RECORDED};
    KIT_OK(world_say(w, 0, VCH_KIND_WITHDRAW, world_statement(w, VCH_KIND_WITHDRAW, &ends)));
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    assert_int_equal(w->outcome.count, 39);
    vch_hash_t want = world_root(w), got;
    vch_state_t *s;
    KIT_OK(read_from(&s, kv, vch_buf_slice(&b), 4096, &err));
    vch_state_free(s);
    if (world_replay(w, kv, true, &got, &err) != VCH_OK) fail_msg("%s", err.text); /* from the snapshot on */
    assert_memory_equal(got.b, want.b, 32);
    vch_kv_close(kv);
    vch_buf_free(&b);
    world_free(w);
}

static void is_refused(vch_slice_t bytes, const char *what)
{
    vch_kv_t *kv;
    vch_state_t *s = NULL;
    vch_err_t err;
    KIT_OK(vch_kv_open_memory(&kv, NULL));
    vch_rc rc = read_from(&s, kv, bytes, 1u << 20, &err);
    if (rc != VCH_ERR_FORMAT && rc != VCH_ERR_CORRUPT && rc != VCH_ERR_LIMIT)
        fail_msg("%s: %s %s", what, vch_rc_name(rc), err.text);
    assert_true(err.text[0] != 0);
    assert_null(s);
    assert_int_equal(pairs_in(kv), 0);
    vch_kv_close(kv);
}

static void whatever_was_changed_is_refused(void **state)
{
    (void)state;
    world_t *w = a_world();
    vch_buf_t b = snapshot_of(w);
    for (size_t at = 0; at < b.n; at += 1 + (at > 200 && b.n - at > 200 ? b.n / 400 : 0)) {
        b.p[at] ^= 0x20;
        is_refused(vch_buf_slice(&b), "a changed byte");
        b.p[at] ^= 0x20;
    }
    for (size_t n = 0; n < b.n; n += 1 + b.n / 100) is_refused(vch_slice(b.p, n), "cut");
    is_refused(vch_slice(b.p, b.n - 1), "cut by one");
    KIT_OK(vch_buf_u8(&b, 0x40));
    is_refused(vch_buf_slice(&b), "something behind it");
    vch_buf_free(&b);
    world_free(w);
}

/* A forger can make the checksum fit, but not the values and the root. */
static void a_root_of_other_values_is_refused(void **state)
{
    (void)state;
    world_t *w = a_world();
    vch_buf_t b = snapshot_of(w);
    vch_state_info_t info;
    vch_state_info(w->state, &info);
    size_t at = 0;
    while (at + 32 <= b.n && memcmp(b.p + at, info.root.b, 32) != 0) at++;
    assert_true(at + 32 < b.n);
    b.p[at] ^= 1;
    vch_hash_t sum;
    vch_sha256(&sum, b.p, b.n - 34);
    memcpy(b.p + b.n - 32, sum.b, 32);
    is_refused(vch_buf_slice(&b), "another root");
    vch_buf_free(&b);
    world_free(w);
}

static void failures_of_either_side_arrive(void **state)
{
    (void)state;
    world_t *w = a_world();
    vch_buf_t b = snapshot_of(w);
    vch_err_t err;
    vch_kv_t *kv;
    vch_state_t *s = NULL;
    for (int after = 0; after < 5; after++) {
        int left = after;
        assert_int_equal(vch_snapshot_write(w->state, refuse, &left, &err), VCH_ERR_FULL);
    }
    KIT_OK(vch_kv_open_memory(&kv, NULL));
    stream_t broken = {.bytes = vch_buf_slice(&b), .piece = 1000, .fails_at = b.n / 2};
    assert_int_equal(vch_snapshot_read(&s, kv, give, &broken, &err), VCH_ERR_IO);
    assert_int_equal(pairs_in(kv), 0);
    assert_int_equal(read_from(&s, w->kv, vch_buf_slice(&b), 1000, &err), VCH_ERR_CONFLICT); /* not empty */
    KIT_OK(world_say(w, 0, VCH_KIND_DATASET, kit_dataset("more", &w->party_id[0])));
    assert_int_equal(vch_snapshot_write(w->state, take, &b, &err), VCH_ERR_CONFLICT); /* in the midst of a block */
    vch_kv_close(kv);
    vch_buf_free(&b);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_what_was_written), cmocka_unit_test(it_goes_on_as_it_would_have),
        cmocka_unit_test(whatever_was_changed_is_refused),  cmocka_unit_test(a_root_of_other_values_is_refused),
        cmocka_unit_test(failures_of_either_side_arrive),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
