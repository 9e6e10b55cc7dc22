/* SPDX-License-Identifier: Apache-2.0 */
/* A witness on a simulated machine: every row of the specification's table,
 * time, restarts, power cuts at every disk call, damage to every byte, a full
 * disk, refused memory.  Whatever happens it never signs two histories. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "codec/text.h"
#include "node/witness_int.h"
#include "port/sim.h"

#include "toylog.h"

#define DIR "/w"
#define ORIGIN "log.example/one"
#define MS UINT64_C(1700000000000)

static vch_sim_t *sim;
static vch_port_t *port;
static vch_err_t err;
static toylog_t *one, *fork_; /* the same origin and key; they part after 5 leaves */

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        err = (vch_err_t){0};                                                                                          \
        vch_rc ok_rc_ = (call);                                                                                        \
        if (ok_rc_ != VCH_OK) print_error("%s: %s %s\n", #call, vch_rc_name(ok_rc_), err.text);                        \
        assert_int_equal(ok_rc_, VCH_OK);                                                                              \
    } while (0)

static void new_machine(uint64_t seed)
{
    OK(vch_sim_new(&sim, seed));
    port = vch_sim_port(sim);
    vch_sim_clock_jump(sim, (int64_t)(MS - port->clock->wall_ms(port)));
}

static int set_up(void **state)
{
    (void)state;
    const char *logs[1];
    one = toy_new(ORIGIN, 1);
    fork_ = toy_new(ORIGIN, 1);
    toy_grow(one, 40, 0);
    toy_grow(fork_, 5, 0);
    toy_grow(fork_, 40, 1);
    logs[0] = one->vkey;
    new_machine(1);
    OK(vch_witness_init_on(port, DIR, "w.example", logs, 1, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vch_sim_free(sim);
    toy_free(one);
    toy_free(fork_);
    return 0;
}

static vch_witness_t *open_witness(void)
{
    vch_witness_t *w = NULL;
    OK(vch_witness_open_on(&w, port, DIR, false, &err));
    return w;
}

/* ---- asking ------------------------------------------------------------------------ */

/* Status of one request, -1 for a failure; the answer in *ret when wanted. */
static int ask(vch_witness_t *w, vch_slice_t body, vch_buf_t *ret)
{
    vch_buf_t answer = toy_buf();
    int status = -1;
    vch_rc rc = vch_witness_add(w, body, &status, &answer, &err);
    if (rc != VCH_OK) status = -1;
    if (ret) KIT_OK(vch_buf_put(ret, answer.p, answer.n));
    vch_buf_free(&answer);
    return status;
}

static int grow(vch_witness_t *w, toylog_t *l, uint64_t old, size_t size)
{
    vch_buf_t body = toy_ask(l, old, size);
    int status = ask(w, vch_buf_slice(&body), NULL);
    vch_buf_free(&body);
    return status;
}

/* Size and time of what was cosigned last; the note must verify. */
static uint64_t latest(vch_witness_t *w, const char *origin, uint64_t *ret_time)
{
    vch_hash_t id;
    vch_buf_t b = toy_buf();
    vch_note_t note;
    vch_checkpoint_t c;
    vch_vkey_t k;
    uint64_t seconds = 0;
    vch_sha256(&id, origin, strlen(origin));
    vch_rc rc = vch_witness_latest(w, &id, &b, &err);
    if (rc == VCH_ERR_NOT_FOUND) {
        vch_buf_free(&b);
        return 0;
    }
    OK(rc);
    OK(vch_note_get(&note, vch_buf_slice(&b)));
    OK(vch_checkpoint_get(&c, note.text));
    OK(vch_vkey_get(&k, vch_str(vch_witness_vkey(w))));
    assert_int_equal(k.type, VCH_NOTE_COSIG_ED25519);
    assert_int_equal(vch_note_verify(&note, &k, &seconds), VCH_SIG_GOOD);
    assert_int_not_equal(seconds, 0);
    if (ret_time) *ret_time = seconds;
    vch_buf_free(&b);
    return c.size;
}

/* ---- the table of the specification ------------------------------------------------------ */

static void a_cosignature_verifies(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    vch_buf_t body = toy_ask(one, 0, 7), line = toy_buf(), note = toy_buf();
    vch_note_t n;
    vch_vkey_t k;
    uint64_t seconds = 0;
    assert_int_equal(latest(w, ORIGIN, NULL), 0);
    assert_int_equal(ask(w, vch_buf_slice(&body), &line), 200);
    toy_note(&note, one, 7);
    KIT_OK(vch_buf_put(&note, line.p, line.n));
    OK(vch_note_get(&n, vch_buf_slice(&note)));
    OK(vch_vkey_get(&k, vch_str(vch_witness_vkey(w))));
    assert_int_equal(n.sigs, 2);
    assert_int_equal(vch_note_verify(&n, &k, &seconds), VCH_SIG_GOOD);
    assert_int_equal(seconds, MS / 1000);
    assert_int_equal(latest(w, ORIGIN, NULL), 7);
    vch_buf_free(&body);
    vch_buf_free(&line);
    vch_buf_free(&note);
    vch_witness_close(w);
}

/* The body with one text replaced: what a careless client sends. */
static int ask_with(vch_witness_t *w, toylog_t *l, uint64_t old, size_t size, const char *from, const char *to)
{
    vch_buf_t body = toy_ask(l, old, size), b = toy_buf();
    KIT_OK(vch_buf_u8(&body, 0));
    char *text = (char *)body.p, *at = strstr(text, from);
    assert_non_null(at);
    KIT_OK(vch_buf_put(&b, text, (size_t)(at - text)));
    KIT_OK(vch_buf_put(&b, to, strlen(to)));
    KIT_OK(vch_buf_put(&b, at + strlen(from), strlen(at + strlen(from))));
    int status = ask(w, vch_buf_slice(&b), NULL);
    vch_buf_free(&b);
    vch_buf_free(&body);
    return status;
}

static void malformed_requests_get_400(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    static const char *const bad[][2] = {
        {"old 0\n", ""},
        {"old 0\n", "old 00\n"},
        {"old 0\n", "old -1\n"},
        {"old 0\n", "old  0\n"},
        {"old 0\n", "Old 0\n"},
        {"old 0\n", "old 0\r\n"},
        {"old 0\n\n", "old 0\n"},
        {"old 0\n", "old 0\nAAAA\n"},
        {"\n7\n", "\n07\n"},
        {"\n7\n", "\nseven\n"},
        {ORIGIN "\n7\n", "\n7\n"},
        {"\xe2\x80\x94 ", "- "},
        {"old 0\n", "old 18446744073709551616\n"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int status = ask_with(w, one, 0, 7, bad[i][0], bad[i][1]);
        if (status != 400) print_error("%zu: %d\n", i, status);
        assert_int_equal(status, 400);
    }
    assert_int_equal(ask(w, vch_str(""), NULL), 400);
    assert_int_equal(ask(w, vch_str("old 0\n\n"), NULL), 400);
    assert_int_equal(grow(w, one, 8, 7), 400); /* old larger than the checkpoint */
    vch_buf_t body = toy_buf();
    for (unsigned n = 63; n <= 64; n++) { /* 63 hashes are read, and then refused for what they are */
        vch_buf_t note = toy_buf();
        vch_buf_clear(&body);
        KIT_OK(vch_buf_printf(&body, "old 3\n"));
        for (unsigned i = 0; i < n; i++)
            KIT_OK(vch_buf_printf(&body, "%.43s=\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
        toy_note(&note, one, 7);
        KIT_OK(vch_buf_printf(&body, "\n%.*s", (int)note.n, (const char *)note.p));
        assert_int_equal(ask(w, vch_buf_slice(&body), NULL), n == 63 ? 409 : 400);
        vch_buf_free(&note);
    }
    vch_buf_free(&body);
    assert_int_equal(latest(w, ORIGIN, NULL), 0);
    vch_witness_close(w);
}

static void strangers_get_404_and_403(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    toylog_t *other = toy_new("log.example/two", 1), *thief = toy_new(ORIGIN, 2);
    toy_grow(other, 9, 0);
    toy_grow(thief, 9, 0);
    assert_int_equal(grow(w, other, 0, 9), 404);
    assert_int_equal(grow(w, thief, 0, 9), 403); /* the origin is right, the key isn't */
    /* a signature of the trusted key that is false */
    vch_buf_t body = toy_ask(one, 0, 7);
    body.p[body.n - 20] = body.p[body.n - 20] == 'A' ? 'B' : 'A';
    assert_int_equal(ask(w, vch_buf_slice(&body), NULL), 403);
    /* a good one beside a false one of the same key */
    vch_buf_t twice = toy_ask(one, 0, 7);
    const uint8_t *line = memmem(body.p, body.n, "\xe2\x80\x94 ", 4);
    KIT_OK(vch_buf_put(&twice, line, (size_t)(body.p + body.n - line)));
    assert_int_equal(ask(w, vch_buf_slice(&twice), NULL), 403);
    assert_int_equal(latest(w, ORIGIN, NULL), 0);
    assert_int_equal(grow(w, one, 0, 7), 200); /* twin */
    vch_buf_free(&body);
    vch_buf_free(&twice);
    toy_free(other);
    toy_free(thief);
    vch_witness_close(w);
}

static void an_unexpected_old_size_gets_409_and_the_size(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    vch_buf_t body = toy_ask(one, 3, 7), told = toy_buf();
    assert_int_equal(ask(w, vch_buf_slice(&body), &told), 409);
    assert_true(vch_slice_eq(vch_buf_slice(&told), vch_str("0\n")));
    assert_int_equal(grow(w, one, 0, 7), 200);
    vch_buf_clear(&told);
    assert_int_equal(ask(w, vch_buf_slice(&body), &told), 409);
    assert_true(vch_slice_eq(vch_buf_slice(&told), vch_str("7\n")));
    assert_int_equal(grow(w, one, 0, 9), 409);
    assert_int_equal(grow(w, one, 6, 9), 409);
    assert_int_equal(grow(w, one, 7, 9), 200);
    assert_int_equal(grow(w, one, 7, 9), 409); /* the same request again: it was answered already */
    assert_int_equal(grow(w, one, 5, 5), 409); /* a rollback */
    assert_int_equal(latest(w, ORIGIN, NULL), 9);
    vch_buf_free(&body);
    vch_buf_free(&told);
    vch_witness_close(w);
}

static void another_history_gets_422(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    assert_int_equal(grow(w, one, 0, 9), 200);
    assert_int_equal(grow(w, fork_, 9, 9), 422);  /* the same size, another root */
    assert_int_equal(grow(w, fork_, 9, 20), 422); /* a proof of the other branch */
    vch_buf_t good = toy_ask(one, 9, 20);
    const uint8_t *end = memmem(good.p, good.n, "\n\n", 2);
    size_t from = 6, refused = 0, tried = 0; /* behind "old 9\n" */
    for (size_t i = from; i < (size_t)(end - good.p); i += 3, tried++) {
        uint8_t was = good.p[i];
        if (was == '\n' || was == '=') continue;
        good.p[i] = was == 'A' ? 'C' : 'A';
        int status = ask(w, vch_buf_slice(&good), NULL);
        refused += status == 422 || status == 400; /* 400: no canonical base64 any more */
        assert_true(status == 422 || status == 400 || good.p[i] == was);
        good.p[i] = was;
    }
    assert_true(refused > 10);
    assert_int_equal(ask_with(w, one, 9, 20, "old 9\n", "old 9\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 422);
    assert_int_equal(latest(w, ORIGIN, NULL), 9);
    assert_int_equal(ask(w, vch_buf_slice(&good), NULL), 200); /* twin */
    assert_int_equal(ask_with(w, one, 20, 20, "old 20\n", "old 20\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"),
                     422);
    vch_buf_free(&good);
    vch_witness_close(w);
}

static void first_sight_and_empty_logs(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    vch_buf_t body = toy_buf(), note = toy_buf();
    vch_hash_t wrong = {{1}}, path = {{2}};
    toy_note_of(&note, one, 0, &wrong, one->key); /* size 0 has one root only */
    KIT_OK(vch_witness_ask_put(&body, 0, NULL, 0, vch_buf_slice(&note)));
    assert_int_equal(ask(w, vch_buf_slice(&body), NULL), 422);
    vch_buf_clear(&note);
    vch_buf_clear(&body);
    toy_note(&note, one, 7); /* old 0 goes without a proof */
    KIT_OK(vch_witness_ask_put(&body, 0, &path, 1, vch_buf_slice(&note)));
    assert_int_equal(ask(w, vch_buf_slice(&body), NULL), 422);
    assert_int_equal(grow(w, one, 0, 0), 200);
    assert_int_equal(grow(w, one, 0, 0), 200);
    assert_int_equal(grow(w, one, 0, 7), 200);
    vch_buf_free(&note);
    vch_buf_free(&body);
    vch_witness_close(w);
}

/* Several keys may sign one origin, as the validators of a consortium do. */
static void any_of_several_keys(void **state)
{
    (void)state;
    toylog_t *same = toy_new("log.example/many", 5), *also = toy_new("log.example/many", 6);
    const char *logs[] = {same->vkey, also->vkey, one->vkey};
    vch_witness_t *w = NULL;
    OK(vch_witness_init_on(port, "/many", "w.example", logs, 3, &err));
    OK(vch_witness_open_on(&w, port, "/many", false, &err));
    toy_grow(same, 9, 0);
    toy_grow(also, 9, 0);
    assert_int_equal(grow(w, same, 0, 4), 200);
    assert_int_equal(grow(w, also, 4, 9), 200);
    assert_int_equal(grow(w, one, 0, 7), 200); /* each log for itself */
    assert_int_equal(latest(w, "log.example/many", NULL), 9);
    assert_int_equal(latest(w, ORIGIN, NULL), 7);
    vch_witness_close(w);
    toy_free(same);
    toy_free(also);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void an_unchanged_checkpoint_gets_a_fresh_time(void **state)
{
    (void)state;
    uint64_t first = 0, again = 0, back = 0, after = 0;
    vch_witness_t *w = open_witness();
    assert_int_equal(grow(w, one, 0, 7), 200);
    latest(w, ORIGIN, &first);
    vch_sim_clock_step(sim, 90000);
    assert_int_equal(grow(w, one, 7, 7), 200);
    latest(w, ORIGIN, &again);
    assert_int_equal(again, first + 90);
    vch_sim_clock_jump(sim, -3600000); /* the clock goes back, what it says doesn't */
    assert_int_equal(grow(w, one, 7, 7), 200);
    latest(w, ORIGIN, &back);
    assert_int_equal(back, again);
    vch_witness_close(w);
    w = open_witness();
    assert_int_equal(grow(w, one, 7, 9), 200);
    latest(w, ORIGIN, &after);
    assert_int_equal(after, again);
    vch_sim_clock_jump(sim, 7200000);
    assert_int_equal(grow(w, one, 9, 9), 200);
    latest(w, ORIGIN, &after);
    assert_true(after > again);
    vch_witness_close(w);
}

static void a_clock_at_zero_signs_nothing(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    vch_sim_clock_jump(sim, -(int64_t)port->clock->wall_ms(port));
    assert_int_equal(grow(w, one, 0, 7), -1);
    assert_int_equal(err.rc, VCH_ERR_CLOCK);
    vch_sim_clock_jump(sim, (int64_t)MS);
    assert_int_equal(grow(w, one, 0, 7), 200);
    vch_witness_close(w);
}

/* ---- restarts, power cuts, damage --------------------------------------------------------------- */

static void what_was_cosigned_survives(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    for (size_t n = 1; n <= 30; n++) assert_int_equal(grow(w, one, n - 1, n), 200);
    vch_witness_close(w);
    vch_sim_crash(sim); /* nothing was unsynced */
    w = open_witness();
    assert_string_equal(vch_witness_note(w), "");
    assert_int_equal(latest(w, ORIGIN, NULL), 30);
    assert_int_equal(grow(w, fork_, 30, 31), 422);
    assert_int_equal(grow(w, one, 30, 31), 200);
    vch_witness_close(w);
}

/* Sizes 1, 2, … until the power goes; returns the last that was answered. */
static size_t grow_until_cut(vch_witness_t *w, size_t from, size_t to)
{
    size_t answered = from;
    for (size_t n = from + 1; n <= to; n++) {
        if (grow(w, one, n - 1, n) != 200) break;
        answered = n;
    }
    return answered;
}

/* The power goes at each of the disk calls in turn, several times each. */
static void power_cuts_at_every_call(void **state)
{
    (void)state;
    const char *logs[] = {one->vkey};
    size_t kept_more = 0, cut_off = 0;
    for (uint64_t at = 1; at <= 60; at++)
        for (uint64_t seed = 1; seed <= 6; seed++) {
            vch_sim_free(sim);
            new_machine(1000 * at + seed);
            OK(vch_witness_init_on(port, DIR, "w.example", logs, 1, &err));
            vch_witness_t *w = open_witness();
            vch_sim_cut_power_at(sim, at);
            size_t answered = grow_until_cut(w, 0, 12);
            vch_witness_close(w);
            vch_sim_crash(sim);
            w = open_witness();
            uint64_t now = latest(w, ORIGIN, NULL);
            assert_true(now == answered || now == answered + 1); /* an unanswered one may count */
            kept_more += now > answered;
            cut_off += vch_witness_note(w)[0] != 0;
            if (now > 5) assert_int_equal(grow(w, fork_, now, now), 422);
            assert_int_equal(grow(w, one, now, now + 1), 200);
            vch_witness_close(w);
        }
    assert_true(kept_more > 0 && cut_off > 0); /* both happened, or nothing was tested */
}

/* Each byte of a file with several groups: what it says doesn't change, or the
 * witness doesn't start; it never knows less than before. */
static void damage_to_every_byte(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    for (size_t n = 1; n <= 4; n++) assert_int_equal(grow(w, one, n - 1, n), 200);
    uint64_t end = 512 + 4 * 1024, refused = 0;
    vch_witness_close(w);
    for (uint64_t at = 0; at < end; at += at < 600 ? 1 : 7) {
        assert_true(vch_sim_flip(sim, DIR "/cosigned", at, 0x10));
        w = NULL;
        vch_rc rc = vch_witness_open_on(&w, port, DIR, true, &err);
        if (rc == VCH_OK)
            assert_int_equal(latest(w, ORIGIN, NULL), 4);
        else
            assert_true((rc == VCH_ERR_CORRUPT || rc == VCH_ERR_CONFLICT) && at < 512);
        refused += rc != VCH_OK;
        vch_witness_close(w);
        assert_true(vch_sim_flip(sim, DIR "/cosigned", at, 0x10));
    }
    assert_true(refused > 50); /* the header */
    /* One copy damaged: mended at once when it is opened for serving. */
    assert_true(vch_sim_flip(sim, DIR "/cosigned", 512 + 3 * 1024 + 700, 1));
    w = open_witness();
    assert_non_null(strstr(vch_witness_note(w), "1 records mended"));
    assert_int_equal(latest(w, ORIGIN, NULL), 4);
    vch_witness_close(w);
    w = open_witness();
    assert_string_equal(vch_witness_note(w), "");
    vch_witness_close(w);
}

static void both_copies_damaged_is_refused(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    for (size_t n = 1; n <= 4; n++) assert_int_equal(grow(w, one, n - 1, n), 200);
    vch_witness_close(w);
    assert_true(vch_sim_flip(sim, DIR "/cosigned", 512 + 1024 + 30, 1));
    assert_true(vch_sim_flip(sim, DIR "/cosigned", 512 + 1024 + 512 + 30, 1));
    w = NULL;
    assert_int_equal(vch_witness_open_on(&w, port, DIR, false, &err), VCH_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "group 2"));
    assert_true(vch_sim_flip(sim, DIR "/cosigned", 512 + 1024 + 30, 1));
    w = open_witness();
    assert_int_equal(latest(w, ORIGIN, NULL), 4);
    vch_witness_close(w);
}

/* A file of another witness says nothing about what this key signed. */
static void the_file_of_another_key_is_refused(void **state)
{
    (void)state;
    vch_buf_t file = toy_buf();
    vch_witness_t *w = NULL;
    OK(vch_witness_init_on(port, "/other", "w.example", NULL, 0, &err));
    OK(vch_read_all(port, &file, "/other/cosigned", 4096, &err));
    OK(vch_write_atomic(port, DIR "/cosigned", vch_buf_slice(&file), 0600, &err));
    assert_int_equal(vch_witness_open_on(&w, port, DIR, false, &err), VCH_ERR_CONFLICT);
    vch_buf_free(&file);
}

/* Written anew as soon as it is larger than two groups; the power goes meanwhile. */
static void compaction_forgets_nothing(void **state)
{
    (void)state;
    toylog_t *two = toy_new("log.example/two", 7);
    const char *logs[] = {one->vkey, two->vkey};
    toy_grow(two, 40, 0);
    for (uint64_t at = 1; at <= 80; at++) {
        vch_sim_free(sim);
        new_machine(at);
        OK(vch_witness_init_on(port, DIR, "w.example", logs, 2, &err));
        vch_witness_t *w = open_witness();
        assert_int_equal(grow(w, two, 0, 33), 200);
        vch_witness__compact_at(w, 2048);
        vch_sim_cut_power_at(sim, at);
        size_t answered = grow_until_cut(w, 0, 25);
        vch_witness_close(w);
        vch_sim_crash(sim);
        w = open_witness();
        uint64_t now = latest(w, ORIGIN, NULL);
        assert_true(now == answered || now == answered + 1);
        assert_int_equal(latest(w, "log.example/two", NULL), 33);
        assert_int_equal(grow(w, one, now, now + 1), 200);
        vch_witness_close(w);
        vch_stat_t st;
        OK(port->disk->stat(port, DIR "/cosigned", &st));
    }
    toy_free(two);
}

/* What it cosigned for a log that it doesn't serve any more is remembered. */
static void logs_come_and_go(void **state)
{
    (void)state;
    vch_buf_t line = toy_buf();
    vch_witness_t *w = open_witness();
    assert_int_equal(grow(w, one, 0, 9), 200);
    vch_witness_close(w);
    OK(vch_write_atomic(port, DIR "/logs.policy", vch_str("# nobody\n"), 0644, &err));
    w = open_witness();
    assert_int_equal(grow(w, one, 9, 10), 404);
    assert_int_equal(latest(w, ORIGIN, NULL), 9);
    vch_witness_close(w);
    KIT_OK(vch_buf_printf(&line, "log\t%s https://log.example/one # comes back\nquorum none", one->vkey));
    OK(vch_write_atomic(port, DIR "/logs.policy", vch_buf_slice(&line), 0644, &err));
    w = open_witness();
    assert_int_equal(grow(w, fork_, 0, 9), 409);
    assert_int_equal(grow(w, fork_, 9, 9), 422);
    assert_int_equal(grow(w, one, 9, 10), 200);
    vch_witness_close(w);
    vch_buf_free(&line);
}

/* ---- disks and memory that fail ------------------------------------------------------------------- */

static void a_full_disk_passes(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    assert_int_equal(grow(w, one, 0, 1), 200);
    vch_sim_fail_io(sim, 1, VCH_FAULT_ENOSPC); /* the write itself */
    assert_int_equal(grow(w, one, 1, 2), -1);
    assert_int_equal(err.rc, VCH_ERR_FULL);
    assert_int_equal(latest(w, ORIGIN, NULL), 1);
    assert_int_equal(grow(w, one, 1, 2), 200); /* without a restart */
    vch_witness_close(w);
    w = open_witness();
    assert_int_equal(latest(w, ORIGIN, NULL), 2);
    vch_witness_close(w);
}

static void a_failed_sync_is_final(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness();
    assert_int_equal(grow(w, one, 0, 1), 200);
    vch_sim_fail_io(sim, 2, VCH_FAULT_EIO); /* write, then sync */
    assert_int_equal(grow(w, one, 1, 2), -1);
    assert_int_equal(err.rc, VCH_ERR_IO);
    assert_int_equal(grow(w, one, 1, 2), -1);
    vch_witness_close(w);
    w = open_witness();
    uint64_t now = latest(w, ORIGIN, NULL);
    assert_true(now == 1 || now == 2);
    assert_int_equal(grow(w, one, now, 3), 200);
    vch_witness_close(w);
}

/* Interrupted and short calls are nothing that a caller notices. */
static void every_io_call_fails_once(void **state)
{
    (void)state;
    static const vch_fault_t faults[] = {VCH_FAULT_EIO, VCH_FAULT_ENOSPC, VCH_FAULT_EINTR, VCH_FAULT_SHORT};
    for (size_t f = 0; f < 4; f++)
        for (uint64_t nth = 1; nth <= 12; nth++) {
            vch_witness_t *w = NULL;
            vch_sim_fail_io(sim, nth, faults[f]);
            vch_rc rc = vch_witness_open_on(&w, port, DIR, false, &err);
            if (f >= 2) assert_int_equal(rc, VCH_OK);
            uint64_t now = rc == VCH_OK ? latest(w, ORIGIN, NULL) : 0, answered = now;
            if (rc == VCH_OK && grow(w, one, now, now + (now < 39)) == 200) answered = now + (now < 39);
            if (f >= 2) assert_int_equal(answered, now + (now < 39));
            vch_witness_close(w);
            vch_sim_fail_io(sim, 0, VCH_FAULT_NONE);
            w = open_witness();
            assert_true(rc != VCH_OK || latest(w, ORIGIN, NULL) >= answered);
            vch_witness_close(w);
        }
}

static void every_allocation_refused_once(void **state)
{
    (void)state;
    vch_buf_t body = toy_ask(one, 0, 9);
    uint64_t refused = 0;
    for (uint64_t nth = 1; nth <= 60; nth++) {
        vch_witness_t *w = NULL;
        vch_buf_t answer = toy_buf();
        int status = -1;
        vch_mem_use(vch_sim_mem(sim));
        vch_sim_fail_alloc(sim, nth);
        vch_rc rc = vch_witness_open_on(&w, port, DIR, false, &err);
        if (rc == VCH_OK) rc = vch_witness_add(w, vch_buf_slice(&body), &status, &answer, &err);
        refused += rc != VCH_OK;
        assert_true(rc == VCH_OK || rc == VCH_ERR_MEMORY);
        assert_true(rc != VCH_OK || status == 200 || status == 409);
        vch_sim_fail_alloc(sim, 0);
        vch_witness_close(w);
        vch_buf_free(&answer);
        assert_int_equal(vch_sim_mem_live(sim), 0);
        vch_mem_use(NULL);
    }
    assert_true(refused > 5 && refused < 60);
    vch_witness_t *w = open_witness();
    assert_int_equal(latest(w, ORIGIN, NULL), 9);
    vch_witness_close(w);
    vch_buf_free(&body);
}

/* ---- the directory ------------------------------------------------------------------------------------ */

static void one_process_serves(void **state)
{
    (void)state;
    vch_witness_t *w = open_witness(), *second = NULL, *look = NULL;
    assert_int_equal(grow(w, one, 0, 9), 200);
    assert_int_equal(vch_witness_open_on(&second, port, DIR, false, &err), VCH_ERR_LOCKED);
    OK(vch_witness_open_on(&look, port, DIR, true, &err)); /* looking is free */
    assert_int_equal(latest(look, ORIGIN, NULL), 9);
    assert_int_equal(grow(look, one, 9, 10), -1);
    assert_int_equal(err.rc, VCH_ERR_READ_ONLY);
    vch_witness_close(look);
    vch_witness_close(w);
    w = open_witness();
    vch_witness_close(w);
}

typedef struct {
    size_t n, served, any;
    uint64_t size;
} seen_t;

static void see(void *ctx, const vch_witnessed_t *l)
{
    seen_t *s = ctx;
    s->n++;
    s->served += l->served;
    s->any += l->any;
    s->size += l->size;
    assert_true(!l->any || l->seconds >= MS / 1000);
}

static void it_lists_its_logs(void **state)
{
    (void)state;
    seen_t seen = {0};
    vch_witness_t *w = open_witness();
    vch_witness_list(w, see, &seen);
    assert_true(seen.n == 1 && seen.served == 1 && seen.any == 0);
    assert_int_equal(grow(w, one, 0, 9), 200);
    seen = (seen_t){0};
    vch_witness_list(w, see, &seen);
    assert_true(seen.n == 1 && seen.any == 1 && seen.size == 9);
    vch_witness_close(w);
}

static void bad_beginnings(void **state)
{
    (void)state;
    static const char *const names[] = {"", "a b", "a+b", "a\nb", "#w"};
    static const char *const conf[] = {"", "name\n", "name =\n", "name = a b\n", "color = red\n", "listen = here\n"};
    const char *bad[] = {"nonsense"}, *twice[] = {one->vkey, one->vkey};
    vch_witness_t *w = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(vch_witness_init_on(port, "/new", names[i], NULL, 0, &err), VCH_ERR_USAGE);
    assert_int_equal(vch_witness_init_on(port, "/new", "w", bad, 1, &err), VCH_ERR_FORMAT);
    assert_int_equal(vch_witness_init_on(port, "/new", "w", twice, 2, &err), VCH_ERR_FORMAT);
    assert_int_equal(vch_witness_open_on(&w, port, "/new", false, &err), VCH_ERR_NOT_FOUND);
    assert_non_null(strstr(err.hint, "witness init"));
    assert_int_equal(vch_witness_init_on(port, DIR, "w.example", NULL, 0, &err), VCH_ERR_CONFLICT);
    for (size_t i = 0; i < sizeof conf / sizeof *conf; i++) {
        OK(vch_write_atomic(port, DIR "/witness.conf", vch_str(conf[i]), 0644, &err));
        assert_int_equal(vch_witness_open_on(&w, port, DIR, false, &err), VCH_ERR_FORMAT);
    }
    OK(vch_write_atomic(port, DIR "/witness.conf", vch_str("# a comment\nname = w.example\n"), 0644, &err));
    w = open_witness(); /* twin */
    vch_witness_close(w);
    OK(vch_write_atomic(port, DIR "/logs.policy", vch_str("log here\n"), 0644, &err));
    assert_int_equal(vch_witness_open_on(&w, port, DIR, false, &err), VCH_ERR_FORMAT);
    assert_non_null(strstr(err.text, "line 1"));
}

/* A power cut while it is made: made again, with whatever key got there. */
static void an_unfinished_beginning(void **state)
{
    (void)state;
    const char *logs[] = {one->vkey};
    for (uint64_t at = 1; at <= 40; at++) {
        vch_witness_t *w = NULL;
        vch_sim_free(sim);
        new_machine(at);
        vch_sim_cut_power_at(sim, at);
        bool made = vch_witness_init_on(port, DIR, "w.example", logs, 1, &err) == VCH_OK;
        vch_sim_crash(sim);
        vch_rc rc = vch_witness_init_on(port, DIR, "w.example", logs, 1, &err);
        assert_true(rc == VCH_ERR_CONFLICT || (!made && rc == VCH_OK));
        OK(vch_witness_open_on(&w, port, DIR, false, &err));
        assert_int_equal(grow(w, one, 0, 9), 200);
        vch_witness_close(w);
    }
}

/* ---- many at once ---------------------------------------------------------------------------------------- */

#define THREADS 8
#define ROUNDS 40

typedef struct {
    vch_witness_t *w;
    toylog_t *log;
    unsigned bad;
} crowd_t;

/* Its own log must grow each time, and the shared one only by whoever is right about its size. */
static void *crowd(void *ctx)
{
    crowd_t *c = ctx;
    vch_err_t why;
    for (size_t n = 1; n <= ROUNDS; n++) {
        vch_buf_t body = toy_ask(c->log, n - 1, n), answer = toy_buf();
        int status = -1;
        vch_rc rc = vch_witness_add(c->w, vch_buf_slice(&body), &status, &answer, &why);
        c->bad += rc != VCH_OK || status != 200;
        vch_buf_free(&body);
        body = toy_ask(n % 2 ? one : fork_, 0, 6 + n % 30); /* a split view, all at once */
        rc = vch_witness_add(c->w, vch_buf_slice(&body), &status, &answer, &why);
        c->bad += rc != VCH_OK || (status != 200 && status != 409);
        vch_buf_free(&body);
        vch_buf_free(&answer);
    }
    return NULL;
}

static void many_at_once(void **state)
{
    (void)state;
    char dir[] = "/tmp/vouch-witness-XXXXXX", name[64];
    const char *logs[THREADS + 1];
    crowd_t c[THREADS];
    pthread_t thread[THREADS];
    vch_witness_t *w = NULL;
    assert_non_null(mkdtemp(dir));
    for (unsigned i = 0; i < THREADS; i++) {
        snprintf(name, sizeof name, "log.example/%u", i);
        c[i] = (crowd_t){.log = toy_new(name, 100 + i)};
        toy_grow(c[i].log, ROUNDS, i);
        logs[i] = c[i].log->vkey;
    }
    logs[THREADS] = one->vkey;
    OK(vch_witness_init_on(vch_port_real(), dir, "w.example", logs, THREADS + 1, &err));
    OK(vch_witness_open_on(&w, vch_port_real(), dir, false, &err));
    for (unsigned i = 0; i < THREADS; i++) {
        c[i].w = w;
        assert_int_equal(pthread_create(&thread[i], NULL, crowd, &c[i]), 0);
    }
    unsigned bad = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        bad += c[i].bad;
    }
    assert_int_equal(bad, 0);
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < THREADS; i++) assert_int_equal(latest(w, c[i].log->origin, NULL), ROUNDS);
        assert_true(latest(w, ORIGIN, NULL) > 0); /* exactly one of the two histories got in */
        uint64_t size = latest(w, ORIGIN, NULL);
        assert_int_equal((grow(w, one, size, (size_t)size) == 200) + (grow(w, fork_, size, (size_t)size) == 200), 1);
        vch_witness_close(w);
        w = NULL;
        OK(vch_witness_open_on(&w, vch_port_real(), dir, false, &err));
    }
    vch_witness_close(w);
    for (unsigned i = 0; i < THREADS; i++) toy_free(c[i].log);
    static const char *const files[] = {"witness.pem", "witness.conf", "logs.policy", "cosigned", "lock", ""};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)vch_port_real()->disk->remove(vch_port_real(), path);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_cosignature_verifies),
        T(malformed_requests_get_400),
        T(strangers_get_404_and_403),
        T(an_unexpected_old_size_gets_409_and_the_size),
        T(another_history_gets_422),
        T(first_sight_and_empty_logs),
        T(any_of_several_keys),
        T(an_unchanged_checkpoint_gets_a_fresh_time),
        T(a_clock_at_zero_signs_nothing),
        T(what_was_cosigned_survives),
        T(power_cuts_at_every_call),
        T(damage_to_every_byte),
        T(both_copies_damaged_is_refused),
        T(the_file_of_another_key_is_refused),
        T(compaction_forgets_nothing),
        T(logs_come_and_go),
        T(a_full_disk_passes),
        T(a_failed_sync_is_final),
        T(every_io_call_fails_once),
        T(every_allocation_refused_once),
        T(one_process_serves),
        T(it_lists_its_logs),
        T(bad_beginnings),
        T(an_unfinished_beginning),
        T(many_at_once),
    };
    return cmocka_run_group_tests_name("witness", tests, NULL, NULL);
}
