/* SPDX-License-Identifier: Apache-2.0 */
/* Submission receipts: kept, broken, forged, undecided; each of them has its
 * twin, and no byte of a receipt can be changed unnoticed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "entry/receipt.h"
#include "vouchsafe/verify.h"

#include "txkit.h"

#define ORIGIN "clinic-a.example/log"
#define LEAVES 11
#define PLACE 7 /* of the entry that most tests are about */
#define BY_MS 1700000000500u
#define IN_TIME 1700000300u /* the last second that is not too late */

static vch_signer_t *log_key, *witness[2];
static kit_tx_t entry[LEAVES];
static vch_slice_t leaf[LEAVES];
static vch_buf_t alone, watched; /* the policies: no witness; both witnesses */
static vch_buf_t receipt;

/* ---- a small log -------------------------------------------------------------- */

static vch_buf_t text_of(size_t max)
{
    vch_buf_t b;
    vch_buf_init(&b, max);
    return b;
}

static void put_vkey(vch_buf_t *b, const char *name, vch_note_type_t type, const vch_signer_t *s)
{
    KIT_OK(vch_vkey_put(b, name, type, vch_signer_public(s)->b + 2));
    KIT_OK(vch_buf_u8(b, '\n'));
}

static void make_policies(void)
{
    alone = text_of(4096);
    watched = text_of(4096);
    KIT_OK(vch_buf_printf(&alone, "log "));
    put_vkey(&alone, ORIGIN, VCH_NOTE_ED25519, log_key);
    KIT_OK(vch_buf_put(&watched, alone.p, alone.n));
    KIT_OK(vch_buf_printf(&alone, "quorum none\n"));
    for (int i = 0; i < 2; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d.example", i);
        KIT_OK(vch_buf_printf(&watched, "witness w%d ", i));
        put_vkey(&watched, name, VCH_NOTE_COSIG_ED25519, witness[i]);
    }
    KIT_OK(vch_buf_printf(&watched, "group both all w0 w1\nquorum both\n"));
}

/* A checkpoint of the first `size` leaves, cosigned by each witness at `seconds` (0: by none). */
static vch_buf_t checkpoint(const vch_slice_t *leaves, size_t size, const char *origin, const uint64_t seconds[2])
{
    vch_hash_t hash[LEAVES], root;
    vch_buf_t b = text_of(VCH_NOTE_BYTES_MAX), text = text_of(4096);
    for (size_t i = 0; i < size; i++) vch_tree_leaf(&hash[i], leaves[i]);
    vch_tree_root_in_place(&root, hash, size);
    KIT_OK(vch_checkpoint_put(&text, origin, size, &root));
    KIT_OK(vch_buf_put(&b, text.p, text.n));
    KIT_OK(vch_buf_u8(&b, '\n'));
    KIT_OK(vch_note_sign(&b, vch_buf_slice(&text), origin, log_key));
    for (int i = 0; i < 2; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d.example", i);
        if (seconds[i]) KIT_OK(vch_note_cosign(&b, vch_buf_slice(&text), name, witness[i], seconds[i]));
    }
    vch_buf_free(&text);
    return b;
}

/* A tlog-proof of leaf i with `extra`. */
static vch_buf_t proof(const vch_slice_t *leaves, size_t i, vch_slice_t extra, const uint64_t seconds[2])
{
    vch_hash_t hash[LEAVES], scratch[LEAVES], path[VCH_PATH_HASHES_MAX];
    vch_buf_t note = checkpoint(leaves, LEAVES, ORIGIN, seconds), b = text_of(200000);
    for (size_t k = 0; k < LEAVES; k++) vch_tree_leaf(&hash[k], leaves[k]);
    size_t n = vch_tree_path(path, hash, LEAVES, i, scratch);
    KIT_OK(vch_tlog_proof_put(&b, i, path, n, extra, vch_buf_slice(&note)));
    vch_buf_free(&note);
    return b;
}

static const uint64_t nobody[2] = {0, 0}, both[2] = {1700000100, 1700000200};

/* Receipts for all leaves as one batch; that of PLACE is kept. */
static vch_buf_t make_receipt(const vch_signer_t *signer, uint64_t by_ms)
{
    vch_placed_t place[LEAVES];
    vch_promises_t promises;
    vch_hash_t network = {{3}};
    vch_buf_t note = text_of(4096), b = text_of(VCH_RECEIPT_BYTES_MAX);
    for (size_t i = 0; i < LEAVES; i++) place[i] = (vch_placed_t){entry[i].id, i};
    KIT_OK(vch_promises_make(&promises, place, LEAVES));
    KIT_OK(vch_promise_sign(&note, &promises, ORIGIN, &network, by_ms, signer));
    KIT_OK(vch_promise_put(&b, &promises, PLACE, vch_buf_slice(&note)));
    vch_promises_free(&promises);
    vch_buf_free(&note);
    return b;
}

static int set_up(void **state)
{
    (void)state;
    vch_hash_t network = {{3}};
    KIT_OK(vch_crypto_start());
    log_key = kit_signer(1, VCH_ALG_ED25519);
    for (unsigned i = 0; i < 2; i++) witness[i] = kit_signer(10 + i, VCH_ALG_ED25519);
    for (unsigned i = 0; i < LEAVES; i++) {
        kit_fields_t f = kit_fields();
        kit_uint(&f, 0, i);
        vch_buf_t fields = kit_done(&f);
        entry[i] = kit_tx(&network, VCH_KIND_MODEL, i + 1, log_key, &fields, 1, 0);
        leaf[i] = entry[i].tx.entry;
    }
    make_policies();
    receipt = make_receipt(log_key, BY_MS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LEAVES; i++) kit_free_tx(&entry[i]);
    for (unsigned i = 0; i < 2; i++) vch_signer_free(witness[i]);
    vch_signer_free(log_key);
    vch_buf_free(&alone);
    vch_buf_free(&watched);
    vch_buf_free(&receipt);
    return 0;
}

/* ---- verdicts -------------------------------------------------------------------- */

static vch_report_t judge(vch_slice_t file, const vch_buf_t *policy, vch_slice_t evidence)
{
    vch_report_t r;
    KIT_OK(vch_receipt_verify(&r, file.p, file.n, (const char *)policy->p, policy->n, evidence.p, evidence.n, NULL));
    return r;
}

/* What the receipt of PLACE is worth beside `evidence`, which is freed. */
static void is(vch_verify_code_t code, const vch_buf_t *policy, vch_buf_t evidence)
{
    vch_report_t r = judge(vch_buf_slice(&receipt), policy, vch_buf_slice(&evidence));
    if (r.code != code) print_error("wanted %s: %s %s\n", vch_verify_code(code), vch_verify_code(r.code), r.detail);
    assert_int_equal(r.code, code);
    assert_int_equal(r.status, vch_verify_status(code));
    assert_int_equal(r.time_ms, BY_MS);
    vch_buf_free(&evidence);
}

static void kept_promises(void **state)
{
    (void)state;
    is(VCH_V_OK, &alone, proof(leaf, PLACE, leaf[PLACE], nobody));
    is(VCH_V_OK, &watched, proof(leaf, PLACE, leaf[PLACE], both));
    vch_buf_t p = proof(leaf, PLACE, leaf[PLACE], both);
    vch_report_t r = judge(vch_buf_slice(&receipt), &watched, vch_buf_slice(&p));
    assert_true(r.witnessed && r.witness_s == both[1] && r.newest_size == LEAVES);
    assert_non_null(strstr(r.claim, "stands at 7"));
    r = judge(vch_buf_slice(&receipt), &alone, vch_buf_slice(&p));
    assert_false(r.witnessed); /* the policy asks for none, so none counts */
    vch_buf_free(&p);
}

/* The twin of the tests above: the log put something else where it had promised. */
static void a_suppressed_entry_is_proven(void **state)
{
    (void)state;
    vch_slice_t other[LEAVES];
    memcpy(other, leaf, sizeof other);
    other[PLACE] = leaf[PLACE + 1];
    is(VCH_V_F_PROMISE, &alone, proof(other, PLACE, other[PLACE], nobody));
    is(VCH_V_F_PROMISE, &watched, proof(other, PLACE, other[PLACE], nobody)); /* its own signature convicts it */
    vch_state_commit_t c = {.height = 1, .time = {5}, .first = 1, .count = 6};
    vch_buf_t commit = text_of(4096);
    KIT_OK(vch_state_commit_put(&commit, &c));
    other[PLACE] = vch_buf_slice(&commit);
    is(VCH_V_F_PROMISE, &alone, proof(other, PLACE, other[PLACE], nobody));
    vch_buf_free(&commit);
    other[PLACE] = vch_str("no entry at all");
    is(VCH_V_F_PROMISE, &alone, proof(other, PLACE, other[PLACE], nobody));
}

static void a_log_too_short_after_the_time(void **state)
{
    (void)state;
    const uint64_t late[2] = {IN_TIME - 50, IN_TIME + 1}, timely[2] = {IN_TIME, IN_TIME}, one[2] = {IN_TIME + 1, 0};
    is(VCH_V_F_PROMISE, &watched, checkpoint(leaf, PLACE, ORIGIN, late));
    is(VCH_V_I_TIME, &watched, checkpoint(leaf, PLACE, ORIGIN, timely));
    is(VCH_V_I_QUORUM, &watched, checkpoint(leaf, PLACE, ORIGIN, one));
    is(VCH_V_I_TIME, &alone, checkpoint(leaf, PLACE, ORIGIN, late));
    is(VCH_V_I_MISSING, &watched, checkpoint(leaf, PLACE + 1, ORIGIN, late)); /* long enough */
}

static void what_decides_nothing(void **state)
{
    (void)state;
    uint64_t off[2] = {1700000100, 0};
    is(VCH_V_I_MISSING, &alone, text_of(0));
    is(VCH_V_I_QUORUM, &watched, proof(leaf, PLACE, leaf[PLACE], off));
    is(VCH_V_I_MISSING, &alone, proof(leaf, PLACE, vch_str(""), nobody));         /* no leaf */
    is(VCH_V_I_MISSING, &alone, proof(leaf, PLACE, leaf[PLACE + 1], nobody));     /* one that isn't there */
    is(VCH_V_I_MISSING, &alone, proof(leaf, PLACE + 1, leaf[PLACE + 1], nobody)); /* of another place */
    is(VCH_V_I_LOG, &alone, checkpoint(leaf, 3, "clinic-b.example/log", nobody));
    vch_buf_t b = text_of(100);
    KIT_OK(vch_buf_printf(&b, "neither proof nor note\n"));
    is(VCH_V_I_MISSING, &alone, b);
}

static void forged_evidence_decides_nothing(void **state)
{
    (void)state;
    vch_buf_t p = proof(leaf, PLACE, leaf[PLACE], nobody);
    size_t wrong = 0;
    for (size_t i = 0; i < p.n; i++) {
        p.p[i] ^= 2;
        wrong += judge(vch_buf_slice(&receipt), &alone, vch_buf_slice(&p)).status != VCH_VERIFY_INCONCLUSIVE;
        p.p[i] ^= 2;
    }
    assert_int_equal(wrong, 0);
    vch_buf_free(&p);
}

static void receipts_of_others(void **state)
{
    (void)state;
    vch_buf_t p = proof(leaf, PLACE, leaf[PLACE], nobody), stranger = make_receipt(witness[0], BY_MS), policy;
    assert_int_equal(judge(vch_buf_slice(&stranger), &alone, vch_buf_slice(&p)).code, VCH_V_F_RECEIPT);
    policy = text_of(4096); /* knows another log only */
    KIT_OK(vch_buf_printf(&policy, "log "));
    put_vkey(&policy, "clinic-b.example/log", VCH_NOTE_ED25519, witness[0]);
    KIT_OK(vch_buf_printf(&policy, "quorum none\n"));
    assert_int_equal(judge(vch_buf_slice(&receipt), &policy, vch_buf_slice(&p)).code, VCH_V_I_LOG);
    vch_buf_free(&p);
    vch_buf_free(&stranger);
    vch_buf_free(&policy);
}

/* Beside a proof that would say "kept": each byte, each bit, each shorter file. */
static void every_changed_byte_is_noticed(void **state)
{
    (void)state;
    vch_buf_t p = proof(leaf, PLACE, leaf[PLACE], nobody), damaged = make_receipt(log_key, BY_MS);
    size_t wrong = 0;
    for (size_t i = 0; i < damaged.n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            damaged.p[i] ^= (uint8_t)(1 << bit);
            wrong += judge(vch_buf_slice(&damaged), &alone, vch_buf_slice(&p)).status != VCH_VERIFY_FAIL;
            damaged.p[i] ^= (uint8_t)(1 << bit);
        }
        wrong += judge(vch_slice(damaged.p, i), &alone, vch_buf_slice(&p)).status != VCH_VERIFY_FAIL;
    }
    assert_int_equal(wrong, 0);
    vch_buf_free(&p);
    vch_buf_free(&damaged);
}

static void policies_must_be_readable(void **state)
{
    (void)state;
    vch_report_t r;
    vch_err_t err = {0};
    const char *bad = "believe everybody\n";
    assert_int_equal(vch_receipt_verify(&r, receipt.p, receipt.n, bad, strlen(bad), NULL, 0, &err), VCH_ERR_FORMAT);
    assert_non_null(strstr(err.text, "line 1"));
    assert_int_equal(r.status, VCH_VERIFY_INCONCLUSIVE);
}

/* ---- the file ------------------------------------------------------------------------ */

/* Every place of every small batch, and some of large ones. */
static void every_place_of_a_batch(void **state)
{
    (void)state;
    static vch_placed_t place[VCH_RECEIPT_BATCH_MAX];
    static const size_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33, 1000, VCH_RECEIPT_BATCH_MAX};
    vch_hash_t network = {{3}};
    vch_trust_t *trust = calloc(1, sizeof *trust);
    KIT_OK(vch_trust_get(trust, vch_buf_slice(&alone), NULL));
    for (size_t i = 0; i < VCH_RECEIPT_BATCH_MAX; i++) {
        vch_put_u64(place[i].entry.b, i);
        place[i].index = 5 * i;
    }
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        vch_promises_t all;
        vch_buf_t note = text_of(4096), file = text_of(VCH_RECEIPT_BYTES_MAX), again = text_of(VCH_RECEIPT_BYTES_MAX);
        KIT_OK(vch_promises_make(&all, place, sizes[k]));
        KIT_OK(vch_promise_sign(&note, &all, ORIGIN, &network, BY_MS, log_key));
        for (size_t i = 0; i < sizes[k]; i += 1 + sizes[k] / 20) {
            vch_promise_t p;
            vch_promise_finding_t f;
            vch_buf_clear(&file);
            vch_buf_clear(&again);
            KIT_OK(vch_promise_put(&file, &all, i, vch_buf_slice(&note)));
            assert_true(vch_promise_is(vch_buf_slice(&file)));
            KIT_OK(vch_promise_get(&p, vch_buf_slice(&file)));
            assert_true(p.index == 5 * i && p.position == i && p.count == sizes[k] && p.by_ms == BY_MS);
            assert_true(vch_slice_eq(p.origin, vch_str(ORIGIN)) && vch_hash_eq(&p.network, &network));
            KIT_OK(vch_promise_write(&again, &p));
            assert_true(vch_slice_eq(vch_buf_slice(&file), vch_buf_slice(&again)));
            KIT_OK(vch_promise_judge(&p, trust, vch_str(""), &f));
            assert_int_equal(f.verdict, VCH_PROMISE_INCONCLUSIVE); /* the log's word; the log itself isn't shown */
            p.index++;
            KIT_OK(vch_promise_judge(&p, trust, vch_str(""), &f));
            assert_int_equal(f.verdict, VCH_PROMISE_FORGED);
        }
        assert_int_equal(vch_promise_put(&file, &all, sizes[k], vch_buf_slice(&note)), VCH_ERR_USAGE);
        vch_promises_free(&all);
        vch_buf_free(&note);
        vch_buf_free(&file);
        vch_buf_free(&again);
    }
    free(trust);
}

static void *refuse(void *ctx, void *old, size_t size)
{
    (void)ctx;
    if (size == 0) free(old);
    return NULL;
}

static void limits(void **state)
{
    (void)state;
    const vch_mem_t none = {.resize = refuse};
    vch_placed_t place = {entry[0].id, 0};
    vch_promises_t all;
    vch_buf_t note = text_of(4096), small = text_of(100);
    vch_hash_t network = {{3}};
    assert_int_equal(vch_promises_make(&all, &place, 0), VCH_ERR_LIMIT);
    assert_int_equal(vch_promises_make(&all, &place, VCH_RECEIPT_BATCH_MAX + 1), VCH_ERR_LIMIT);
    vch_mem_use(&none);
    vch_rc rc = vch_promises_make(&all, &place, 1);
    vch_mem_use(NULL);
    assert_int_equal(rc, VCH_ERR_MEMORY);
    KIT_OK(vch_promises_make(&all, &place, 1));
    assert_int_equal(vch_promise_sign(&small, &all, ORIGIN, &network, BY_MS, log_key), VCH_ERR_LIMIT);
    assert_int_equal(small.n, 0);
    assert_int_equal(vch_promise_sign(&note, &all, "two\nlines", &network, BY_MS, log_key), VCH_ERR_FORMAT);
    assert_int_equal(vch_promise_sign(&note, &all, "with space", &network, BY_MS, log_key), VCH_ERR_FORMAT);
    assert_int_equal(note.n, 0);
    KIT_OK(vch_promise_sign(&note, &all, ORIGIN, &network, BY_MS, log_key));
    assert_int_equal(vch_promise_put(&small, &all, 0, vch_buf_slice(&note)), VCH_ERR_LIMIT);
    assert_int_equal(small.n, 0);
    vch_promises_free(&all);
    vch_buf_free(&note);
    vch_buf_free(&small);
}

/* The receipt with one piece of text replaced by another. */
static vch_rc read_with(const char *from, const char *to)
{
    vch_promise_t p;
    char text[4096], *at;
    vch_buf_t b = text_of(8192);
    memcpy(text, receipt.p, receipt.n);
    text[receipt.n] = 0;
    at = strstr(text, from);
    assert_non_null(at);
    KIT_OK(vch_buf_put(&b, text, (size_t)(at - text)));
    KIT_OK(vch_buf_put(&b, to, strlen(to)));
    KIT_OK(vch_buf_put(&b, at + strlen(from), strlen(at + strlen(from))));
    vch_rc rc = vch_promise_get(&p, vch_buf_slice(&b));
    vch_buf_free(&b);
    return rc;
}

static void malformed_receipts(void **state)
{
    (void)state;
    KIT_OK(read_with("index 7\n", "index 7\n")); /* twin */
    static const char *const bad[][2] = {
        {"receipt@v1\n", "receipt@v2\n"},
        {"entry ", "entry  "},
        {"entry ", "Entry "},
        {"index 7\n", "index 07\n"},
        {"index 7\n", "index -7\n"},
        {"index 7\n", ""},
        {"position 7", "position 11"},
        {"position 7", "position 07"},
        {"\n11\n", "\n7\n"},
        {"\n11\n", "\n011\n"},
        {"\n11\n", "\n\n"},
        {"by 17", "by 017"},
        {"by 17", "By 17"},
        {"by 17", "more\nby 17"},
        {"=\n\nvouchsafe/", "=\nvouchsafe/"},
        {"receipt/v1\n", "receipt/v2\n"},
        {"\n" ORIGIN "\n", "\n\n"},
        {"500\n\n", "500\nmore\n\n"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (read_with(bad[i][0], bad[i][1]) != VCH_ERR_FORMAT) print_error("%s -> %s\n", bad[i][0], bad[i][1]);
        assert_int_equal(read_with(bad[i][0], bad[i][1]), VCH_ERR_FORMAT);
    }
    assert_int_equal(read_with("\n11\n", "\n65537\n"), VCH_ERR_LIMIT);
    char paths[11 + 65 * 45 + 1] = "position 7\n";
    for (size_t i = 0; i < 65; i++) memcpy(paths + 11 + 45 * i, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 45);
    assert_int_equal(read_with("position 7\n", paths), VCH_ERR_LIMIT);
    vch_buf_t large = text_of(2 * VCH_RECEIPT_BYTES_MAX);
    uint8_t *to;
    vch_promise_t p;
    KIT_OK(vch_buf_extend(&large, VCH_RECEIPT_BYTES_MAX + 1, &to));
    memset(to, 'a', large.n);
    assert_int_equal(vch_promise_get(&p, vch_buf_slice(&large)), VCH_ERR_LIMIT);
    vch_buf_free(&large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_promises),
        cmocka_unit_test(a_suppressed_entry_is_proven),
        cmocka_unit_test(a_log_too_short_after_the_time),
        cmocka_unit_test(what_decides_nothing),
        cmocka_unit_test(forged_evidence_decides_nothing),
        cmocka_unit_test(receipts_of_others),
        cmocka_unit_test(every_changed_byte_is_noticed),
        cmocka_unit_test(policies_must_be_readable),
        cmocka_unit_test(every_place_of_a_batch),
        cmocka_unit_test(limits),
        cmocka_unit_test(malformed_receipts),
    };
    return cmocka_run_group_tests_name("receipt", tests, set_up, tear_down);
}
