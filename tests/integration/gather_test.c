/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger gathers cosignatures from witnesses in this process, honest ones and
 * others: what verifies is kept and commits entries, the rest is named and
 * counts for nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "codec/text.h"
#include "node/node_int.h"
#include "node/witness.h"
#include "port/sim.h"

#include "ledger_help.h"
#include "toylog.h"

#define W 3
#define DIR "/l"
#define MS INT64_C(1700000000000)

typedef enum {
    HONEST,
    DOWN,
    FORGE,   /* one byte of the cosignature changed */
    ANOTHER, /* somebody else's cosignature */
    NO_TIME, /* a good cosignature of time 0 */
    GARBAGE, /* status 200, no signature line */
    TOLD,    /* status 409 with `told` */
    STATUS   /* `told` as the status */
} manner_t;

typedef struct {
    vch_witness_t *w;
    char name[32], dir[32];
    manner_t manner;
    const char *told;
    int status;
    unsigned asked;
} peer_t;

static vch_sim_t *sim;
static vch_port_t *port;
static vch_ledger_t *ledger;
static vch_signer_t *operator_;
static char log_vkey[300];
static peer_t peer[W];
static vch_transport_t transport;
static unsigned models;

/* ---- witnesses without a network ------------------------------------------------------- */

static void answer(vch_answer_t *a, int status, const void *p, size_t n)
{
    a->rc = vch_buf_put(&a->body, p, n) == VCH_OK ? VCH_OK : VCH_ERR_UNREACHABLE;
    a->status = status;
}

static void cosign_zero(vch_slice_t body, vch_answer_t *a)
{
    static const char head[] = "cosignature/v1\ntime 0\n";
    vch_witness_ask_t ask;
    vch_note_t note;
    uint8_t blob[4 + 8 + 64] = {0};
    vch_signer_t *key = kit_signer(77, VCH_ALG_ED25519);
    vch_buf_t message = toy_buf();
    KIT_OK(vch_witness_ask_get(&ask, body));
    KIT_OK(vch_note_get(&note, ask.note));
    KIT_OK(vch_buf_put(&message, head, sizeof head - 1));
    KIT_OK(vch_buf_put(&message, note.text.p, note.text.n));
    vch_note_key_id(blob, vch_str("zero.example"), VCH_NOTE_COSIG_ED25519, vch_signer_public(key)->b + 2);
    KIT_OK(vch_signer_sign(key, blob + 12, vch_buf_slice(&message)));
    KIT_OK(vch_buf_printf(&a->body, "\xe2\x80\x94 zero.example "));
    KIT_OK(vch_base64_put(&a->body, blob, sizeof blob));
    KIT_OK(vch_buf_u8(&a->body, '\n'));
    a->rc = VCH_OK;
    a->status = 200;
    vch_buf_free(&message);
    vch_signer_free(key);
}

static void honest(peer_t *p, vch_slice_t body, vch_answer_t *a)
{
    vch_buf_t b = toy_buf();
    int status = 0;
    vch_rc rc = vch_witness_add(p->w, body, &status, &b, NULL);
    if (rc == VCH_OK)
        answer(a, status, b.p, b.n);
    else
        answer(a, 500, "", 0);
    vch_buf_free(&b);
}

static void meet(peer_t *p, const vch_ask_t *ask, vch_answer_t *a)
{
    p->asked++;
    switch (p->manner) {
    case HONEST:
        honest(p, ask->body, a);
        break;
    case DOWN:
        vch_fail(&a->err, VCH_ERR_UNREACHABLE, "nobody there");
        break;
    case FORGE:
        honest(p, ask->body, a);
        if (a->status == 200) a->body.p[a->body.n - 10] = a->body.p[a->body.n - 10] == 'A' ? 'B' : 'A';
        break;
    case ANOTHER:
        honest(p == peer ? p + 1 : p - 1, ask->body, a);
        break;
    case NO_TIME:
        cosign_zero(ask->body, a);
        break;
    case GARBAGE:
        answer(a, 200, "thank you\n", 10);
        break;
    case TOLD:
        answer(a, 409, p->told, strlen(p->told));
        break;
    case STATUS:
        answer(a, p->status, "", 0);
        break;
    }
}

static void carry(vch_transport_t *t, const vch_ask_t *ask, vch_answer_t *a, size_t n, uint64_t timeout_ms)
{
    (void)t;
    assert_int_not_equal(timeout_ms, 0);
    for (size_t i = 0; i < n; i++) {
        char url[64];
        a[i].rc = VCH_ERR_UNREACHABLE;
        assert_true(ask[i].post && strcmp(ask[i].type, "text/plain; charset=utf-8") == 0);
        for (size_t k = 0; k < W; k++) {
            snprintf(url, sizeof url, "http://%s/add-checkpoint", peer[k].name);
            if (strcmp(url, ask[i].url) == 0) meet(&peer[k], &ask[i], &a[i]);
        }
    }
}

/* ---- a ledger and its policy ---------------------------------------------------------------- */

static void write_policy(const char *file, const char *quorum)
{
    char path[64];
    vch_buf_t b = toy_buf();
    KIT_OK(vch_buf_printf(&b, "log %s\n", log_vkey));
    for (size_t i = 0; i < W; i++)
        KIT_OK(vch_buf_printf(&b, "witness w%zu %s http://%s%s\n", i, vch_witness_vkey(peer[i].w), peer[i].name,
                              i == 1 ? "/" : ""));
    KIT_OK(vch_buf_printf(&b, "%s\n", quorum));
    snprintf(path, sizeof path, DIR "/%s", file);
    LH_OK(vch_write_atomic(port, path, vch_buf_slice(&b), 0644, &lh_err));
    vch_buf_free(&b);
}

#define TWO_OF_THREE "group most 2 w0 w1 w2\nquorum most"
#define ALL "group all- all w0 w1 w2\nquorum all-"

static void read_log_vkey(void)
{
    vch_buf_t b = toy_buf();
    LH_OK(vch_read_all(port, &b, DIR "/trust.policy", 4096, &lh_err));
    KIT_OK(vch_buf_u8(&b, 0));
    const char *at = strstr((const char *)b.p, "log ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "log %299s", log_vkey), 1);
    vch_buf_free(&b);
}

static void open_ledger(void) { LH_OK(vch_ledger_open_on(&ledger, port, DIR, 0, &lh_err)); }

static int set_up(void **state)
{
    (void)state;
    vch_init_t init = lh_init();
    const char *logs[1] = {log_vkey};
    KIT_OK(vch_crypto_start());
    KIT_OK(vch_sim_new(&sim, 7));
    port = vch_sim_port(sim);
    vch_sim_clock_jump(sim, MS - (int64_t)port->clock->wall_ms(port));
    LH_OK(vch_ledger_init_on(port, DIR, &init, &lh_err));
    read_log_vkey();
    for (size_t i = 0; i < W; i++) {
        peer[i] = (peer_t){.manner = HONEST};
        snprintf(peer[i].name, sizeof peer[i].name, "w%zu.example", i);
        snprintf(peer[i].dir, sizeof peer[i].dir, "/w%zu", i);
        LH_OK(vch_witness_init_on(port, peer[i].dir, peer[i].name, logs, 1, &lh_err));
        LH_OK(vch_witness_open_on(&peer[i].w, port, peer[i].dir, false, &lh_err));
    }
    write_policy("trust.policy", TWO_OF_THREE);
    LH_OK(nd_key_load(port, DIR "/keys/clinic-a.pem", NULL, &operator_, &lh_err));
    transport = (vch_transport_t){.ask = carry};
    open_ledger();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (ledger) LH_OK(vch_ledger_close(ledger, &lh_err));
    ledger = NULL;
    for (size_t i = 0; i < W; i++) vch_witness_close(peer[i].w);
    vch_signer_free(operator_);
    vch_sim_free(sim);
    return 0;
}

static void reopen(void)
{
    LH_OK(vch_ledger_close(ledger, &lh_err));
    open_ledger();
}

static uint64_t submit(void)
{
    vch_receipt_t r;
    LH_OK(lh_submit(ledger, operator_, ++models, &r, &lh_err));
    return r.index;
}

static vch_gather_t gather(void)
{
    vch_gather_t g;
    LH_OK(vch_ledger_gather(ledger, &transport, 1000, &g, &lh_err));
    return g;
}

static uint64_t committed(void)
{
    uint64_t size = 0;
    vch_ledger_info_t info;
    LH_OK(vch_ledger_committed(ledger, &size, &lh_err));
    LH_OK(vch_ledger_info(ledger, &info, &lh_err));
    assert_int_equal(info.committed, size);
    return size;
}

/* Witnesses whose good cosignature stands under the published checkpoint; its newest time. */
static size_t published(uint64_t *ret_seconds)
{
    vch_buf_t b = toy_buf();
    vch_note_t n;
    size_t good = 0;
    LH_OK(vch_read_all(port, &b, DIR "/tlog/checkpoint", 65536, &lh_err));
    LH_OK(vch_note_get(&n, vch_buf_slice(&b)));
    for (size_t i = 0; i < W; i++) {
        vch_vkey_t k;
        uint64_t seconds = 0;
        KIT_OK(vch_vkey_get(&k, vch_str(vch_witness_vkey(peer[i].w))));
        vch_sig_state_t state = vch_note_verify(&n, &k, &seconds);
        assert_int_not_equal(state, VCH_SIG_BAD); /* what is forged is never shown */
        good += state == VCH_SIG_GOOD;
        if (ret_seconds && seconds > *ret_seconds) *ret_seconds = seconds;
    }
    assert_int_equal(n.sigs, 1 + good); /* the log, they, and nobody else */
    vch_buf_free(&b);
    return good;
}

static uint64_t mark(void)
{
    uint64_t m;
    LH_OK(vch_log_cosigned_mark(ledger->log, &m, &lh_err));
    return m;
}

static unsigned asked(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < W; i++) {
        n += peer[i].asked;
        peer[i].asked = 0;
    }
    return n;
}

/* ---- the plain way --------------------------------------------------------------------------- */

static void entries_become_committed(void **state)
{
    (void)state;
    vch_text_t text;
    uint64_t index = submit();
    assert_int_equal(committed(), 0);
    vch_gather_t g = gather();
    assert_true(g.asked == 3 && g.cosigned == 3 && g.quorum && g.note[0] == 0);
    assert_true(g.size > index && g.committed == g.size && committed() == g.size);
    assert_int_equal(published(NULL), 3);
    assert_int_equal(asked(), 3);
    uint64_t later = submit();
    LH_OK(vch_entry_show(ledger, index, &text, &lh_err));
    assert_non_null(strstr(text.p, "\"committed\":true"));
    vch_text_free(&text);
    LH_OK(vch_entry_show(ledger, later, &text, &lh_err));
    assert_non_null(strstr(text.p, "\"committed\":false"));
    vch_text_free(&text);
    g = gather();
    assert_true(g.size > later && g.committed == g.size && g.cosigned == 3);
    assert_int_equal(asked(), 3); /* nobody had to say its size */
}

static void what_is_known_survives(void **state)
{
    (void)state;
    submit();
    uint64_t size = gather().size;
    assert_int_equal(asked(), 3);
    reopen();
    assert_int_equal(committed(), size);
    submit();
    assert_int_equal(gather().cosigned, 3);
    assert_int_equal(asked(), 3); /* the kept notes say what they signed last */
}

static void sizes_are_learnt(void **state)
{
    (void)state;
    submit();
    vch_text_t note;
    LH_OK(vch_ledger_checkpoint(ledger, &note, &lh_err));
    for (size_t i = 0; i < 2; i++) { /* somebody else had them cosign it */
        vch_buf_t body = toy_buf(), ret = toy_buf();
        int status;
        KIT_OK(vch_witness_ask_put(&body, 0, NULL, 0, vch_slice(note.p, note.n)));
        LH_OK(vch_witness_add(peer[i].w, vch_buf_slice(&body), &status, &ret, &lh_err));
        assert_int_equal(status, 200);
        vch_buf_free(&body);
        vch_buf_free(&ret);
    }
    vch_text_free(&note);
    submit();
    vch_gather_t g = gather();
    assert_true(g.cosigned == 3 && g.quorum && g.note[0] == 0);
    assert_int_equal(asked(), 5); /* two of them twice */
}

static void an_idle_ledger_stays_fresh(void **state)
{
    (void)state;
    uint64_t first = 0, again = 0;
    submit();
    uint64_t size = gather().size, kept = mark();
    published(&first);
    vch_sim_clock_step(sim, 90000);
    vch_gather_t g = gather();
    assert_true(g.size == size && g.cosigned == 3 && g.quorum);
    assert_int_equal(published(&again), 3);
    assert_int_equal(again, first + 90);
    assert_int_equal(mark(), kept); /* it says nothing new, so nothing grows */
}

/* ---- without all of them ------------------------------------------------------------------------ */

static void one_may_be_away(void **state)
{
    (void)state;
    peer[1].manner = DOWN;
    submit();
    vch_gather_t g = gather();
    assert_true(g.asked == 3 && g.cosigned == 2 && g.quorum && g.committed == g.size);
    assert_non_null(strstr(g.note, "witness w1 can't be reached: nobody there"));
    assert_int_equal(published(NULL), 2);
}

static void too_few_commit_nothing(void **state)
{
    (void)state;
    submit();
    uint64_t size = gather().size;
    peer[0].manner = peer[1].manner = DOWN;
    submit();
    vch_gather_t g = gather();
    assert_true(g.cosigned == 1 && !g.quorum && g.size > size && g.committed == size);
    assert_int_equal(committed(), size);
    assert_non_null(strstr(g.note, "w0"));
    assert_non_null(strstr(g.note, "w1"));
    peer[0].manner = HONEST; /* one more is enough, whoever answered before is remembered */
    peer[2].manner = DOWN;
    g = gather();
    assert_true(g.cosigned == 1 && g.quorum && g.committed == g.size);
    assert_int_equal(published(NULL), 2);
    reopen();
    assert_int_equal(committed(), g.size);
}

/* Notes without a quorum come every second while witnesses are away: they are not all kept. */
static void partial_notes_are_kept_now_and_then(void **state)
{
    (void)state;
    peer[0].manner = peer[1].manner = DOWN;
    uint64_t before = mark();
    for (unsigned i = 0; i < 10; i++) {
        submit();
        vch_sim_clock_step(sim, 1000);
        gather();
    }
    uint64_t after = mark();
    assert_true(after > before && after - before < 800); /* one */
    vch_sim_clock_step(sim, 61000);
    submit();
    gather();
    assert_true(mark() > after);
}

static void policies_change(void **state)
{
    (void)state;
    peer[2].manner = DOWN;
    submit();
    uint64_t size = gather().size;
    assert_int_equal(committed(), size);
    write_policy("trust.policy", ALL);
    assert_int_equal(committed(), 0); /* nothing here ever met that */
    write_policy("trust.policy", "quorum none");
    assert_int_equal(committed(), size); /* the log's word is enough */
    submit();
    peer[0].manner = peer[1].manner = DOWN;
    vch_gather_t g = gather();
    assert_true(g.quorum && g.cosigned == 0 && g.committed == g.size);
    write_policy("trust.policy", TWO_OF_THREE);
    assert_int_equal(committed(), size);
    LH_OK(vch_write_atomic(port, DIR "/trust.policy", vch_str("believe everybody\n"), 0644, &lh_err));
    vch_ledger_info_t info;
    LH_OK(vch_ledger_info(ledger, &info, &lh_err)); /* shown, with nobody believed */
    assert_int_equal(info.committed, 0);
    LH_IS(VCH_ERR_FORMAT, vch_ledger_gather(ledger, &transport, 1000, &g, &lh_err));
}

static void a_policy_of_its_own(void **state)
{
    (void)state;
    vch_buf_t conf = toy_buf();
    LH_OK(vch_read_all(port, &conf, DIR "/vouch.conf", 65536, &lh_err));
    size_t n = conf.n;
    LH_OK(vch_ledger_close(ledger, &lh_err));
    ledger = NULL;
    static const char *const bad[] = {"policy =\n", "timeout_ms = 0\n", "timeout_ms = soon\n", "urgency = high\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        conf.n = n;
        KIT_OK(vch_buf_printf(&conf, "\n[witness]\n%s", bad[i]));
        LH_OK(vch_write_atomic(port, DIR "/vouch.conf", vch_buf_slice(&conf), 0644, &lh_err));
        LH_IS(VCH_ERR_FORMAT, vch_ledger_open_on(&ledger, port, DIR, 0, &lh_err));
    }
    conf.n = n;
    KIT_OK(vch_buf_printf(&conf, "\n[witness]\npolicy = watch.policy\ntimeout_ms = 500\n"));
    LH_OK(vch_write_atomic(port, DIR "/vouch.conf", vch_buf_slice(&conf), 0644, &lh_err));
    write_policy("watch.policy", ALL);
    open_ledger();
    peer[2].manner = DOWN;
    submit();
    vch_gather_t g;
    LH_OK(vch_ledger_gather(ledger, &transport, 0, &g, &lh_err)); /* 0: as the setting says */
    assert_true(g.cosigned == 2 && !g.quorum && committed() == 0);
    vch_buf_free(&conf);
}

static void nobody_to_ask(void **state)
{
    (void)state;
    vch_buf_t b = toy_buf();
    KIT_OK(vch_buf_printf(&b, "log %s\nwitness w0 %s\nquorum none\n", log_vkey, vch_witness_vkey(peer[0].w)));
    LH_OK(vch_write_atomic(port, DIR "/trust.policy", vch_buf_slice(&b), 0644, &lh_err));
    submit();
    vch_gather_t g = gather();
    assert_true(g.asked == 0 && g.cosigned == 0 && g.quorum && g.committed == g.size);
    vch_buf_free(&b);
}

/* ---- those that do wrong ---------------------------------------------------------------------------- */

/* w2 behaves in this manner: it is named with this text, and the others go on. */
static void wrong(manner_t manner, const char *told, int status, const char *text)
{
    peer[2].manner = manner;
    peer[2].told = told;
    peer[2].status = status;
    submit();
    vch_gather_t g = gather();
    if (!strstr(g.note, text)) print_error("\"%s\" is not in \"%s\"\n", text, g.note);
    assert_non_null(strstr(g.note, text));
    assert_non_null(strstr(g.note, "witness w2 "));
    assert_true(g.cosigned == 2 && g.quorum);
    assert_int_equal(published(NULL), 2);
    peer[2].manner = HONEST;
    submit();
    assert_int_equal(gather().cosigned, 3); /* twin */
}

static void liars_are_named(void **state)
{
    (void)state;
    wrong(FORGE, NULL, 0, "sent a forged cosignature");
    wrong(ANOTHER, NULL, 0, "answers without its cosignature");
    wrong(GARBAGE, NULL, 0, "answers something unreadable");
    wrong(TOLD, "1\n", 0, "says that it cosigned 1 entries last, but its cosignature of");
    wrong(TOLD, "0\n", 0, "says that it cosigned 0 entries last, but its cosignature of");
    wrong(TOLD, "99999\n", 0, "has cosigned 99999 entries of this log, which has");
    wrong(TOLD, "", 0, "answers 409 without a size");
    wrong(TOLD, "12", 0, "answers 409 without a size");
    wrong(TOLD, "012\n", 0, "answers 409 without a size");
    wrong(TOLD, "12\n\n", 0, "answers 409 without a size");
    wrong(STATUS, NULL, 404, "does not serve this log");
    wrong(STATUS, NULL, 403, "does not know this log's key");
    wrong(STATUS, NULL, 422, "knows another history of this log at");
    wrong(STATUS, NULL, 500, "answers with status 500");
    wrong(STATUS, NULL, 302, "answers with status 302");
}

static void a_witness_that_refuses_what_it_names(void **state)
{
    (void)state;
    char size[32];
    submit();
    gather();
    snprintf(size, sizeof size, "%llu\n", (unsigned long long)gather().size);
    wrong(TOLD, size, 0, "contradicts itself");
}

/* A lie about a size that nobody can disprove is asked once more, and no longer. */
static void a_false_size_is_tried_once(void **state)
{
    (void)state;
    char size[32];
    peer[2].manner = DOWN;
    submit();
    snprintf(size, sizeof size, "%llu\n", (unsigned long long)gather().size);
    asked();
    peer[2].manner = TOLD;
    peer[2].told = size;
    submit();
    vch_gather_t g = gather();
    assert_non_null(strstr(g.note, "contradicts itself"));
    assert_int_equal(peer[2].asked, 2);
    assert_true(g.cosigned == 2 && g.quorum);
}

static void a_cosignature_of_no_time_counts_for_nothing(void **state)
{
    (void)state;
    char vkey[200];
    vch_buf_t b = toy_buf();
    vch_signer_t *key = kit_signer(77, VCH_ALG_ED25519);
    toy_vkey(vkey, "zero.example", VCH_NOTE_COSIG_ED25519, key);
    KIT_OK(vch_buf_printf(&b, "log %s\nwitness z %s http://%s\nquorum z\n", log_vkey, vkey, peer[0].name));
    LH_OK(vch_write_atomic(port, DIR "/trust.policy", vch_buf_slice(&b), 0644, &lh_err));
    peer[0].manner = NO_TIME;
    submit();
    vch_gather_t g = gather();
    assert_true(g.cosigned == 0 && !g.quorum && g.committed == 0);
    assert_non_null(strstr(g.note, "without a time"));
    vch_signer_free(key);
    vch_buf_free(&b);
}

/* The log forks: the witness that saw the other branch says so. */
static void a_forked_log_is_told(void **state)
{
    (void)state;
    toylog_t *fork = toy_new(LH_ORIGIN, 1);
    vch_buf_t note = toy_buf(), body = toy_buf(), ret = toy_buf();
    vch_hash_t root;
    int status;
    toy_grow(fork, 3, 9);
    root = toy_root(fork, 3);
    toy_note_of(&note, fork, 3, &root, ledger->log_key); /* signed by the log itself */
    KIT_OK(vch_witness_ask_put(&body, 0, NULL, 0, vch_buf_slice(&note)));
    LH_OK(vch_witness_add(peer[2].w, vch_buf_slice(&body), &status, &ret, &lh_err));
    assert_int_equal(status, 200);
    for (unsigned i = 0; i < 5; i++) submit();
    vch_gather_t g = gather();
    assert_non_null(strstr(g.note, "witness w2 knows another history of this log at 3 entries"));
    assert_true(g.cosigned == 2 && g.quorum);
    vch_buf_free(&note);
    vch_buf_free(&body);
    vch_buf_free(&ret);
    toy_free(fork);
}

/* ---- disks and memory that fail --------------------------------------------------------------------------- */

static void every_disk_call_fails_once(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (uint64_t nth = 1; nth <= 60; nth++) {
        vch_gather_t g = {.size = 0};
        submit();
        uint64_t before = committed();
        vch_sim_fail_io(sim, nth, nth % 2 ? VCH_FAULT_EIO : VCH_FAULT_ENOSPC);
        vch_rc rc = vch_ledger_gather(ledger, &transport, 1000, &g, &lh_err);
        vch_sim_fail_io(sim, 0, VCH_FAULT_NONE);
        failed += rc != VCH_OK;
        if (rc == VCH_OK) assert_true(g.quorum || g.cosigned < 2);
        for (size_t i = 0; i < W; i++) { /* one that failed to write starts again */
            vch_witness_close(peer[i].w);
            LH_OK(vch_witness_open_on(&peer[i].w, port, peer[i].dir, false, &lh_err));
        }
        vch_rc closed = vch_ledger_close(ledger, NULL); /* it may have failed for good; opened again it goes on */
        assert_true(closed == VCH_OK || closed == VCH_ERR_IO);
        open_ledger();
        assert_true(committed() >= before);
        assert_int_equal(gather().cosigned, 3);
    }
    assert_true(failed > 5 && failed < 60);
}

static void close_all(void)
{
    LH_OK(vch_ledger_close(ledger, &lh_err));
    ledger = NULL;
    for (size_t i = 0; i < W; i++) {
        vch_witness_close(peer[i].w);
        peer[i].w = NULL;
    }
    vch_signer_free(operator_);
    operator_ = NULL;
}

static void open_all(void)
{
    for (size_t i = 0; i < W; i++) LH_OK(vch_witness_open_on(&peer[i].w, port, peer[i].dir, false, &lh_err));
    LH_OK(nd_key_load(port, DIR "/keys/clinic-a.pem", NULL, &operator_, &lh_err));
    open_ledger();
}

/* The result of a gathering whose nth allocation is refused, with nothing left behind. */
static vch_rc gather_without(uint64_t nth)
{
    vch_gather_t g;
    vch_mem_use(vch_sim_mem(sim));
    open_all();
    submit();
    vch_sim_fail_alloc(sim, nth);
    vch_rc rc = vch_ledger_gather(ledger, &transport, 1000, &g, &lh_err);
    vch_sim_fail_alloc(sim, 0);
    close_all();
    size_t left = vch_sim_mem_live(sim);
    vch_mem_use(NULL);
    assert_int_equal(left, 0);
    return rc;
}

static void every_allocation_refused_once(void **state)
{
    (void)state;
    unsigned failed = 0;
    close_all();
    for (uint64_t nth = 1; nth <= 80; nth++) {
        vch_rc rc = gather_without(nth);
        if (rc != VCH_OK && rc != VCH_ERR_MEMORY) print_error("%s %s\n", vch_rc_name(rc), lh_err.text);
        assert_true(rc == VCH_OK || rc == VCH_ERR_MEMORY);
        failed += rc != VCH_OK;
    }
    assert_true(failed > 5 && failed < 80);
    open_all();
    assert_int_equal(gather().cosigned, 3);
}

/* ---- while others write --------------------------------------------------------------------------------------- */

typedef struct {
    vch_ledger_t *l;
    const vch_signer_t *s;
    atomic_bool stop;
    unsigned bad, done;
} writer_t;

static void *write_on(void *ctx)
{
    writer_t *w = ctx;
    vch_err_t err;
    vch_receipt_t r;
    while (!atomic_load(&w->stop)) {
        w->bad += lh_submit(w->l, w->s, 5000 + w->done, &r, &err) != VCH_OK;
        w->done++;
    }
    return NULL;
}

static void while_others_write(void **state)
{
    (void)state;
    char dir[64], path[128];
    vch_init_t init = lh_init();
    writer_t w = {.stop = false};
    pthread_t thread;
    vch_signer_t *s;
    vch_ledger_t *l;
    lh_folder(dir);
    snprintf(path, sizeof path, "%s/l", dir);
    LH_OK(vch_ledger_init(path, &init, &lh_err));
    LH_OK(vch_ledger_open(&l, path, 0, &lh_err));
    vch_buf_t policy = toy_buf();
    vch_witness_t *mine[W];
    snprintf(path, sizeof path, "%s/l/trust.policy", dir);
    LH_OK(vch_read_all(vch_port_real(), &policy, path, 4096, &lh_err));
    KIT_OK(vch_buf_u8(&policy, 0));
    char vkey[300];
    assert_int_equal(sscanf(strstr((const char *)policy.p, "log "), "log %299s", vkey), 1);
    vch_buf_clear(&policy);
    KIT_OK(vch_buf_printf(&policy, "log %s\n", vkey));
    const char *logs[1] = {vkey};
    for (size_t i = 0; i < W; i++) {
        char wdir[128];
        snprintf(wdir, sizeof wdir, "%s/w%zu", dir, i);
        LH_OK(vch_witness_init_on(vch_port_real(), wdir, peer[i].name, logs, 1, &lh_err));
        LH_OK(vch_witness_open_on(&mine[i], vch_port_real(), wdir, false, &lh_err));
        KIT_OK(vch_buf_printf(&policy, "witness w%zu %s http://%s\n", i, vch_witness_vkey(mine[i]), peer[i].name));
        vch_witness_t *was = peer[i].w;
        peer[i].w = mine[i];
        mine[i] = was;
    }
    KIT_OK(vch_buf_printf(&policy, TWO_OF_THREE "\n"));
    LH_OK(vch_write_atomic(vch_port_real(), path, vch_buf_slice(&policy), 0644, &lh_err));
    snprintf(path, sizeof path, "%s/l/keys/clinic-a.pem", dir);
    LH_OK(nd_key_load(vch_port_real(), path, NULL, &s, &lh_err));
    w.l = l;
    w.s = s;
    assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
    uint64_t before = 0;
    for (unsigned i = 0; i < 30; i++) {
        vch_gather_t g;
        LH_OK(vch_ledger_gather(l, &transport, 1000, &g, &lh_err));
        assert_true(g.cosigned == 3 && g.quorum && g.committed >= before && g.note[0] == 0);
        before = g.committed;
    }
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(w.bad, 0);
    LH_OK(vch_ledger_close(l, &lh_err));
    for (size_t i = 0; i < W; i++) {
        vch_witness_close(peer[i].w);
        peer[i].w = mine[i];
    }
    vch_signer_free(s);
    vch_buf_free(&policy);
    lh_remove(dir);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(entries_become_committed),
        T(what_is_known_survives),
        T(sizes_are_learnt),
        T(an_idle_ledger_stays_fresh),
        T(one_may_be_away),
        T(too_few_commit_nothing),
        T(partial_notes_are_kept_now_and_then),
        T(policies_change),
        T(a_policy_of_its_own),
        T(nobody_to_ask),
        T(liars_are_named),
        T(a_witness_that_refuses_what_it_names),
        T(a_false_size_is_tried_once),
        T(a_cosignature_of_no_time_counts_for_nothing),
        T(a_forked_log_is_told),
        T(every_disk_call_fails_once),
        T(every_allocation_refused_once),
        T(while_others_write),
    };
    return cmocka_run_group_tests_name("gather", tests, NULL, NULL);
}
