/* SPDX-License-Identifier: Apache-2.0 */
/* Notes, checkpoints, tlog proofs and trust policies: what we write we read
 * back, each damaged byte is noticed, each rule of the texts has a case that
 * keeps it and one that breaks it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "codec/text.h"
#include "entry/note.h"

#define ORIGIN "example.org/log"
#define N_W 4 /* witnesses w1..w4 */

static vch_signer_t *log_signer, *witness[N_W];
static char log_vkey[200], witness_vkey[N_W][200];

static vch_signer_t *new_signer(uint8_t fill)
{
    uint8_t seed[32];
    vch_signer_t *s;
    memset(seed, fill, sizeof seed);
    assert_int_equal(vch_signer_new(&s, VCH_ALG_ED25519, seed, NULL), VCH_OK);
    return s;
}

static void put_vkey(char ret[200], const char *name, vch_note_type_t type, const vch_signer_t *s)
{
    vch_buf_t b;
    vch_buf_init(&b, 199);
    assert_int_equal(vch_vkey_put(&b, name, type, vch_signer_public(s)->b + 2), VCH_OK);
    memcpy(ret, b.p, b.n);
    ret[b.n] = 0;
    vch_buf_free(&b);
}

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(vch_crypto_start(), VCH_OK);
    log_signer = new_signer(1);
    put_vkey(log_vkey, ORIGIN, VCH_NOTE_ED25519, log_signer);
    for (int i = 0; i < N_W; i++) {
        char name[40];
        snprintf(name, sizeof name, "w%d.example", i + 1);
        witness[i] = new_signer((uint8_t)(10 + i));
        put_vkey(witness_vkey[i], name, VCH_NOTE_COSIG_ED25519, witness[i]);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vch_signer_free(log_signer);
    for (int i = 0; i < N_W; i++) vch_signer_free(witness[i]);
    return 0;
}

/* A checkpoint by the log, cosigned by each witness whose time is not 0. */
static void make_note(vch_buf_t *b, const char *origin, const uint64_t times[N_W])
{
    vch_hash_t root = {{7}};
    vch_buf_init(b, VCH_NOTE_BYTES_MAX);
    assert_int_equal(vch_checkpoint_put(b, origin, 42, &root), VCH_OK);
    size_t n = b->n;
    uint8_t text[300];
    memcpy(text, b->p, n);
    assert_int_equal(vch_buf_u8(b, '\n'), VCH_OK);
    assert_int_equal(vch_note_sign(b, vch_slice(text, n), ORIGIN, log_signer), VCH_OK);
    for (int i = 0; i < N_W; i++) {
        char name[40];
        snprintf(name, sizeof name, "w%d.example", i + 1);
        if (!times[i]) continue;
        assert_int_equal(vch_note_cosign(b, vch_slice(text, n), name, witness[i], times[i]), VCH_OK);
    }
}

static vch_vkey_t vkey_of(const char *text)
{
    vch_vkey_t k;
    assert_int_equal(vch_vkey_get(&k, vch_str(text)), VCH_OK);
    return k;
}

/* ---- verifier keys ---- */

static void vkeys_come_back(void **state)
{
    (void)state;
    vch_vkey_t k = vkey_of(log_vkey);
    assert_int_equal(k.type, VCH_NOTE_ED25519);
    assert_true(vch_slice_eq(k.name, vch_str(ORIGIN)));
    assert_memory_equal(k.key, vch_signer_public(log_signer)->b + 2, 32);
    assert_int_equal(vkey_of(witness_vkey[0]).type, VCH_NOTE_COSIG_ED25519);
}

static void damaged_vkeys_are_refused(void **state)
{
    (void)state;
    size_t n = strlen(log_vkey);
    vch_vkey_t k;
    for (size_t i = 0; i < n; i++) { /* each byte matters: name, hash and key hang together */
        char bad[200];
        memcpy(bad, log_vkey, n + 1);
        bad[i] = bad[i] == 'k' ? 'j' : 'k';
        assert_int_not_equal(vch_vkey_get(&k, vch_str(bad)), VCH_OK);
        assert_int_not_equal(vch_vkey_get(&k, vch_slice(log_vkey, i)), VCH_OK);
    }
    const char *bad[] = {"", "+", "++", "a", "a+b", "a+00000000", "a+00000000+", "+00000000+AQ=="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(vch_vkey_get(&k, vch_str(bad[i])), VCH_ERR_FORMAT);
}

static void weak_keys_are_refused(void **state)
{
    (void)state;
    const uint8_t weak[32] = {1}; /* the neutral element: everything verifies under it */
    vch_buf_t b;
    vch_vkey_t k;
    vch_buf_init(&b, 200);
    assert_int_equal(vch_vkey_put(&b, "weak", VCH_NOTE_ED25519, weak), VCH_OK);
    assert_int_equal(vch_vkey_get(&k, vch_buf_slice(&b)), VCH_ERR_KEY);
    vch_buf_free(&b);
}

static void names_without_spaces_and_plus(void **state)
{
    (void)state;
    const char *bad[] = {"",
                         "a b",
                         "a+b",
                         "a\nb",
                         "a\tb",
                         "a\xc2\x85",
                         "a\xc2\xa0",
                         "\xe1\x9a\x80",
                         "\xe2\x80\x80",
                         "\xe2\x80\x8a",
                         "\xe2\x80\xa8",
                         "\xe2\x80\xaf",
                         "\xe2\x81\x9f",
                         "x\xe3\x80\x80y",
                         "\xff",
                         "\xe2\x80"};
    const char *good[] = {"a", "a\xc2\xa1", "\xe2\x80\x8b", "\xe2\x80\x94", "\xe3\x80\x81", "k\xc3\xa4se/1"};
    const uint8_t *key = vch_signer_public(log_signer)->b + 2;
    vch_buf_t b;
    vch_buf_init(&b, 2000);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(vch_vkey_put(&b, bad[i], VCH_NOTE_ED25519, key), VCH_ERR_FORMAT);
        assert_int_equal(vch_note_sign(&b, vch_str("x\n"), bad[i], log_signer), VCH_ERR_FORMAT);
    }
    assert_int_equal(b.n, 0);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(vch_note_sign(&b, vch_str("x\n"), good[i], log_signer), VCH_OK);
    vch_buf_free(&b);
}

/* ---- notes ---- */

static void notes_verify(void **state)
{
    (void)state;
    const uint64_t times[N_W] = {1000, 0, 3000, 0};
    vch_buf_t b;
    vch_note_t note;
    make_note(&b, ORIGIN, times);
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_OK);
    assert_int_equal(note.sigs, 3);
    uint64_t seconds = 5;
    vch_vkey_t k = vkey_of(log_vkey), w1 = vkey_of(witness_vkey[0]), w2 = vkey_of(witness_vkey[1]);
    assert_int_equal(vch_note_verify(&note, &k, &seconds), VCH_SIG_GOOD);
    assert_int_equal(seconds, 5); /* a plain signature says nothing of time */
    assert_int_equal(vch_note_verify(&note, &w1, &seconds), VCH_SIG_GOOD);
    assert_int_equal(seconds, 1000);
    assert_int_equal(vch_note_verify(&note, &w2, &seconds), VCH_SIG_ABSENT);
    assert_int_equal(seconds, 1000);
    vch_buf_free(&b);
}

/* Whatever byte of the note is changed, nobody's signature stands for it: the
 * note is unreadable, or the log's or the witness's signature is bad or gone. */
static void every_flipped_byte_is_noticed(void **state)
{
    (void)state;
    const uint64_t times[N_W] = {1700000000};
    vch_buf_t b;
    vch_note_t note;
    make_note(&b, ORIGIN, times);
    vch_vkey_t k = vkey_of(log_vkey), w = vkey_of(witness_vkey[0]);
    for (size_t i = 0; i < b.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.p[i] ^= (uint8_t)(1 << bit);
            bool all = vch_note_get(&note, vch_buf_slice(&b)) == VCH_OK &&
                       vch_note_verify(&note, &k, NULL) == VCH_SIG_GOOD &&
                       vch_note_verify(&note, &w, NULL) == VCH_SIG_GOOD;
            assert_false(all);
            b.p[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t n = 0; n < b.n; n++) { /* cut anywhere */
        bool all = vch_note_get(&note, vch_slice(b.p, n)) == VCH_OK &&
                   vch_note_verify(&note, &k, NULL) == VCH_SIG_GOOD && vch_note_verify(&note, &w, NULL) == VCH_SIG_GOOD;
        assert_false(all);
    }
    vch_buf_free(&b);
}

static void text_may_hold_blank_lines(void **state)
{
    (void)state;
    const char *text = "one\n\ntwo\n";
    vch_buf_t b;
    vch_note_t note;
    vch_vkey_t k = vkey_of(log_vkey);
    vch_buf_init(&b, 1000);
    assert_int_equal(vch_buf_printf(&b, "%s\n", text), VCH_OK);
    assert_int_equal(vch_note_sign(&b, vch_str(text), ORIGIN, log_signer), VCH_OK);
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_OK);
    assert_true(vch_slice_eq(note.text, vch_str(text)));
    assert_int_equal(vch_note_verify(&note, &k, NULL), VCH_SIG_GOOD);
    vch_buf_free(&b);
}

#define DASH "\xe2\x80\x94"

static void malformed_notes_are_refused(void **state)
{
    (void)state;
    const char *bad[] = {
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",                    /* no signature */
        "text\n" DASH " a AAAAAAA=\n", /* no empty line */
        "text\n\n" DASH " a AAAAAAA=\n" DASH " a AAAAAAA=",
        "text\n\n" DASH " a AAAAAAA=",    /* cut newline */
        "text\n\n" DASH " a AAAAAA==\n",  /* four bytes: an id and no signature */
        "text\n\n" DASH " a AAAAAAB=\n",  /* not canonical */
        "text\n\n" DASH " a AAAAAAA\n",   /* not padded */
        "text\n\n" DASH " a AAAAAAA= \n", /* blank behind */
        "text\n\n" DASH "  a AAAAAAA=\n", /* two blanks */
        "text\n\n" DASH " a  AAAAAAA=\n",
        "text\n\n" DASH " AAAAAAA=\n",
        "text\n\n- a AAAAAAA=\n",
        "text\n\n" DASH " a+b AAAAAAA=\n",
        "te\rxt\n\n" DASH " a AAAAAAA=\n",
        "te\xffxt\n\n" DASH " a AAAAAAA=\n",
        "text\n\n" DASH " a AAAAAAA=\nmore\n", /* not a signature */
        "text\n\n" DASH " a AAAAAAA=\n\n",     /* the last empty line has no signature behind */
    };
    vch_note_t note;
    assert_int_equal(vch_note_get(&note, vch_str("text\n\n" DASH " a AAAAAAA=\n")), VCH_OK); /* the twin */
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(vch_note_get(&note, vch_str(bad[i])), VCH_ERR_FORMAT);
}

static void limits_of_a_note(void **state)
{
    (void)state;
    vch_buf_t b;
    vch_note_t note;
    vch_buf_init(&b, 2 * VCH_NOTE_BYTES_MAX);
    assert_int_equal(vch_buf_printf(&b, "text\n\n"), VCH_OK);
    for (int i = 0; i < VCH_NOTE_SIGS_MAX; i++) assert_int_equal(vch_buf_printf(&b, DASH " a AAAAAAA=\n"), VCH_OK);
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_OK);
    assert_int_equal(note.sigs, VCH_NOTE_SIGS_MAX);
    assert_int_equal(vch_buf_printf(&b, DASH " a AAAAAAA=\n"), VCH_OK);
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_ERR_LIMIT);
    vch_buf_clear(&b);
    uint8_t *to;
    assert_int_equal(vch_buf_extend(&b, VCH_NOTE_BYTES_MAX, &to), VCH_OK);
    memset(to, 'a', VCH_NOTE_BYTES_MAX);
    const char *end = "\n\n" DASH " a AAAAAAA=\n";
    memcpy(to + VCH_NOTE_BYTES_MAX - strlen(end), end, strlen(end));
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_OK);
    assert_int_equal(vch_buf_u8(&b, '\n'), VCH_OK);
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_ERR_LIMIT);
    vch_buf_free(&b);
}

static void signing_wants_a_text_and_a_time(void **state)
{
    (void)state;
    vch_buf_t b;
    vch_buf_init(&b, 1000);
    assert_int_equal(vch_note_sign(&b, vch_str(""), "a", log_signer), VCH_ERR_FORMAT);
    assert_int_equal(vch_note_sign(&b, vch_str("no newline"), "a", log_signer), VCH_ERR_FORMAT);
    assert_int_equal(vch_note_sign(&b, vch_str("\x01\n"), "a", log_signer), VCH_ERR_FORMAT);
    assert_int_equal(vch_note_cosign(&b, vch_str("x\n"), "a", log_signer, 0), VCH_ERR_USAGE);
    assert_int_equal(vch_note_cosign(&b, vch_str("x\n"), "a", log_signer, UINT64_MAX), VCH_ERR_USAGE);
    const uint8_t seed[32] = {1};
    vch_signer_t *p256;
    assert_int_equal(vch_signer_new(&p256, VCH_ALG_P256, seed, NULL), VCH_OK);
    assert_int_equal(vch_note_sign(&b, vch_str("x\n"), "a", p256), VCH_ERR_KEY);
    vch_signer_free(p256);
    assert_int_equal(b.n, 0);
    vch_buf_t tiny; /* what does not fit leaves nothing behind */
    vch_buf_init(&tiny, 60);
    assert_int_equal(vch_note_sign(&tiny, vch_str("x\n"), "a", log_signer), VCH_ERR_LIMIT);
    assert_int_equal(tiny.n, 0);
    vch_buf_free(&tiny);
    vch_buf_free(&b);
}

/* A key that signs twice: one bad line spoils it, of two times the earlier counts. */
static void a_key_that_signs_twice(void **state)
{
    (void)state;
    const char *text = "x\n";
    vch_vkey_t w = vkey_of(witness_vkey[0]);
    vch_buf_t b;
    vch_note_t note;
    uint64_t seconds;
    vch_buf_init(&b, 2000);
    assert_int_equal(vch_buf_printf(&b, "%s\n", text), VCH_OK);
    assert_int_equal(vch_note_cosign(&b, vch_str(text), "w1.example", witness[0], 200), VCH_OK);
    assert_int_equal(vch_note_cosign(&b, vch_str(text), "w1.example", witness[0], 100), VCH_OK);
    assert_int_equal(vch_note_cosign(&b, vch_str(text), "w1.example", witness[0], 150), VCH_OK);
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_OK);
    assert_int_equal(vch_note_verify(&note, &w, &seconds), VCH_SIG_GOOD);
    assert_int_equal(seconds, 100);
    assert_int_equal(vch_note_cosign(&b, vch_str("y\n"), "w1.example", witness[0], 50), VCH_OK);
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_OK);
    assert_int_equal(vch_note_verify(&note, &w, &seconds), VCH_SIG_BAD);
    assert_int_equal(seconds, 100);
    vch_buf_free(&b);
}

/* ---- checkpoints and proofs ---- */

#define ROOT "BwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void checkpoints_come_back(void **state)
{
    (void)state;
    vch_checkpoint_t c;
    vch_hash_t root = {{7}};
    const char *extended = "o\n18446744073709551615\n" ROOT "\nmore\n";
    assert_int_equal(vch_checkpoint_get(&c, vch_str(extended)), VCH_OK);
    assert_true(c.size == UINT64_MAX && vch_hash_eq(&c.root, &root) && vch_slice_eq(c.origin, vch_str("o")));
    assert_true(vch_slice_eq(c.extension, vch_str("more\n")));
    vch_buf_t b;
    vch_buf_init(&b, 200);
    assert_int_equal(vch_checkpoint_put(&b, "go.sum database tree", 0, &root), VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str("go.sum database tree\n0\n" ROOT "\n")));
    assert_int_equal(vch_checkpoint_get(&c, vch_buf_slice(&b)), VCH_OK);
    assert_int_equal(c.extension.n, 0);
    assert_int_equal(vch_checkpoint_put(&b, "", 0, &root), VCH_ERR_FORMAT);
    assert_int_equal(vch_checkpoint_put(&b, "a\nb", 0, &root), VCH_ERR_FORMAT);
    vch_buf_free(&b);
}

static void malformed_checkpoints_are_refused(void **state)
{
    (void)state;
    const char *bad[] = {"",
                         "o\n",
                         "o\n1\n",
                         "o\n1\n" ROOT,
                         "\n1\n" ROOT "\n",
                         "o\n01\n" ROOT "\n",
                         "o\n+1\n" ROOT "\n",
                         "o\n1 \n" ROOT "\n",
                         "o\n18446744073709551616\n" ROOT "\n",
                         "o\n\n" ROOT "\n",
                         "o\n1\n\n",
                         "o\n1\nAAAA\n",
                         "o\n1\n" ROOT "\n\n",
                         "o\n1\n" ROOT "\nmore",
                         "o\n1\n" ROOT "\nmore\n\n",
                         "o\t\n1\n" ROOT "\n",
                         "\xff\n1\n" ROOT "\n",
                         "o\n1\nBwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n"};
    vch_checkpoint_t c;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(vch_checkpoint_get(&c, vch_str(bad[i])), VCH_ERR_FORMAT);
}

static void proofs_come_back(void **state)
{
    (void)state;
    vch_hash_t path[65] = {{{1}}, {{2}}};
    static vch_tlog_proof_t p;
    vch_buf_t b;
    vch_buf_init(&b, 10000);
    for (size_t n = 0; n <= 64; n++) {
        vch_buf_clear(&b);
        assert_int_equal(vch_tlog_proof_put(&b, n * 7, path, n, vch_str(""), vch_str("the note\n")), VCH_OK);
        assert_int_equal(vch_tlog_proof_get(&p, vch_buf_slice(&b)), VCH_OK);
        assert_true(p.index == n * 7 && p.n == n && p.extra.n == 0 && memcmp(p.path, path, n * 32) == 0);
        assert_true(vch_slice_eq(p.note, vch_str("the note\n")));
    }
    vch_buf_clear(&b);
    assert_int_equal(vch_tlog_proof_put(&b, 3, path, 1, vch_str("leaf"), vch_str("the note\n")), VCH_OK);
    assert_int_equal(vch_tlog_proof_get(&p, vch_buf_slice(&b)), VCH_OK);
    assert_true(p.n == 1 && vch_slice_eq(p.extra, vch_str("bGVhZg==")));
    assert_int_equal(vch_tlog_proof_put(&b, 0, path, 65, vch_str(""), vch_str("the note\n")), VCH_ERR_LIMIT);
    assert_int_equal(vch_tlog_proof_put(&b, 0, path, 1, vch_str(""), vch_str("")), VCH_ERR_FORMAT);
    vch_buf_clear(&b);
    assert_int_equal(vch_buf_printf(&b, "c2sp.org/tlog-proof@v1\nindex 1\n"), VCH_OK);
    for (int i = 0; i < 65; i++) assert_int_equal(vch_buf_printf(&b, ROOT "\n"), VCH_OK);
    assert_int_equal(vch_buf_printf(&b, "\nnote\n"), VCH_OK);
    assert_int_equal(vch_tlog_proof_get(&p, vch_buf_slice(&b)), VCH_ERR_LIMIT);
    vch_buf_free(&b);
}

#define HEAD "c2sp.org/tlog-proof@v1\n"

static void malformed_proofs_are_refused(void **state)
{
    (void)state;
    const char *bad[] = {"",
                         HEAD,
                         HEAD "index 1\n",
                         HEAD "index 1\n\n",
                         HEAD "index 01\n\nn\n",
                         HEAD "index  1\n\nn\n",
                         HEAD "index 1\r\n\nn\n",
                         HEAD "extra \nindex 1\n\nn\n",
                         HEAD "extra AB==\nindex 1\n\nn\n",
                         HEAD "extra AA==\nextra AA==\nindex 1\n\nn\n",
                         HEAD "index 1\nextra AA==\n\nn\n",
                         HEAD "index 1\n" ROOT "\nn\n",
                         "c2sp.org/tlog-proof@v2\nindex 1\n\nn\n",
                         HEAD "index 1\nAAAA\n\nn\n"};
    static vch_tlog_proof_t p;
    assert_int_equal(vch_tlog_proof_get(&p, vch_str(HEAD "extra AA==\nindex 1\n" ROOT "\n\nn\n")), VCH_OK); /* twin */
    assert_true(vch_slice_eq(p.extra, vch_str("AA==")));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(vch_tlog_proof_get(&p, vch_str(bad[i])), VCH_ERR_FORMAT);
}

/* ---- trust policies ---- */

/* L stands for the log's key, 1..4 for the witnesses' keys, each after a "$". */
static char *expand(const char *pattern)
{
    static char out[8192];
    size_t n = 0;
    for (const char *p = pattern; *p; p++) {
        if (*p != '$') {
            out[n++] = *p;
            continue;
        }
        p++;
        const char *key = *p == 'L' ? log_vkey : witness_vkey[*p - '1'];
        memcpy(out + n, key, strlen(key));
        n += strlen(key);
    }
    out[n] = 0;
    return out;
}

#define W4 "log $L\nwitness a $1\nwitness b $2 https://b.example/\nwitness c $3\nwitness d $4\n"

static vch_trust_result_t judge(const char *pattern, const vch_buf_t *bytes)
{
    static vch_trust_t t;
    vch_note_t note;
    vch_checkpoint_t c;
    vch_trust_result_t r;
    vch_err_t err = {0};
    char *text = expand(pattern);
    assert_int_equal(vch_trust_get(&t, vch_str(text), &err), VCH_OK);
    assert_int_equal(vch_note_get(&note, vch_buf_slice(bytes)), VCH_OK);
    assert_int_equal(vch_checkpoint_get(&c, note.text), VCH_OK);
    assert_int_equal(vch_trust_judge(&t, &note, &c, &r), VCH_OK);
    return r;
}

static void a_policy_is_read(void **state)
{
    (void)state;
    static vch_trust_t t;
    assert_int_equal(vch_trust_get(&t,
                                   vch_str(expand("# comment\n\n \t log\t$L  https://l.example/ # here\nwitness a $1\n"
                                                  "witness \xff $2 u\ngroup g any a \xff\nquorum g")),
                                   NULL),
                     VCH_OK);
    assert_true(t.logs == 1 && t.nodes == 3 && t.quorum == 2);
    assert_true(vch_slice_eq(t.log_url[0], vch_str("https://l.example/")));
    assert_true(vch_slice_eq(t.node[1].url, vch_str("u")) && t.node[0].url.n == 0);
    assert_true(t.node[2].is_group && t.node[2].need == 1 && t.node[2].of == 2 && t.node[2].parent == -1);
    assert_true(t.node[0].parent == 2 && t.node[1].parent == 2);
}

static void malformed_policies_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *says;
    } bad[] = {
        {"", "without a quorum"},
        {"log $L\n", "without a quorum"},
        {"quorum none\nquorum none\n", "line 2: a second quorum"},
        {"quorum\n", "line 1"},
        {"quorum none none\n", "line 1"},
        {"quorum a\nwitness a $1\n", "line 1: quorum \"a\" is not defined"},
        {"logs $L\nquorum none\n", "line 1: begins"},
        {"log\nquorum none\n", "missing"},
        {"log $L u more\nquorum none\n", "more items"},
        {"log $1\nquorum none\n", "type 1"},
        {"log $L\nlog $L\nquorum none\n", "line 2: this log's public key"},
        {"witness a $1\nwitness b $1\nquorum a\n", "line 2: this witness's public key"},
        {"witness a $1\nwitness a $2\nquorum a\n", "defined twice"},
        {"witness none $1\nquorum none\n", "means something else"},
        {"witness a\nquorum none\n", "missing"},
        {"witness a $1x\nquorum none\n", "line 1: the verifier key"},
        {"witness a $1\ngroup g all b\nquorum g\n", "not defined above"},
        {"witness a $1\ngroup g all g\nquorum g\n", "not defined above"},
        {"witness a $1\ngroup g all none\nquorum g\n", "not defined above"},
        {"witness a $1\ngroup g all a a\nquorum g\n", "member already"},
        {"witness a $1\ngroup g all a\ngroup h all a\nquorum g\n", "member already"},
        {"witness a $1\ngroup g all\nquorum g\n", "without members"},
        {"witness a $1\ngroup g\nquorum g\n", "line 2"},
        {"witness a $1\ngroup g 0 a\nquorum g\n", "threshold"},
        {"witness a $1\ngroup g 2 a\nquorum g\n", "threshold"},
        {"witness a $1\ngroup g 01 a\nquorum g\n", "threshold"},
        {"witness a $1\ngroup g some a\nquorum g\n", "threshold"},
        {"witness a $1\r\nquorum a\n", "line 1: a control character"},
        {"# \x7f\nquorum none\n", "line 1: a control character"},
        {"# \x01\nquorum none\n", "line 1: a control character"},
    };
    static vch_trust_t t;
    t.quorum = 77;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        vch_err_t err = {0};
        assert_int_not_equal(vch_trust_get(&t, vch_str(expand(bad[i].pattern)), &err), VCH_OK);
        if (!strstr(err.text, bad[i].says)) fail_msg("%s: %s", bad[i].pattern, err.text);
    }
    assert_int_equal(t.quorum, 77);
}

static void limits_of_a_policy(void **state)
{
    (void)state;
    static vch_trust_t t;
    static char text[65536];
    for (int extra = 0; extra < 2; extra++) {
        size_t n = 0;
        for (int i = 0; i < VCH_POLICY_NODES_MAX / 3 + extra; i++) {
            vch_signer_t *s = new_signer((uint8_t)(100 + i));
            char key[200];
            put_vkey(key, "w", VCH_NOTE_COSIG_ED25519, s);
            n += (size_t)snprintf(text + n, sizeof text - n, "witness w%d %s\ngroup g%d all w%d\n", i, key, i, i);
            n += (size_t)snprintf(text + n, sizeof text - n, "group h%d all g%d\n", i, i);
            vch_signer_free(s);
        }
        snprintf(text + n, sizeof text - n, "quorum h0\n");
        assert_int_equal(vch_trust_get(&t, vch_str(text), NULL), extra ? VCH_ERR_LIMIT : VCH_OK);
        n = 0;
        for (int i = 0; i < VCH_POLICY_LOGS_MAX + extra; i++) {
            vch_signer_t *s = new_signer((uint8_t)(100 + i));
            char key[200];
            put_vkey(key, "l", VCH_NOTE_ED25519, s);
            n += (size_t)snprintf(text + n, sizeof text - n, "log %s\n", key);
            vch_signer_free(s);
        }
        snprintf(text + n, sizeof text - n, "quorum none\n");
        assert_int_equal(vch_trust_get(&t, vch_str(text), NULL), extra ? VCH_ERR_LIMIT : VCH_OK);
    }
}

/* The group stands when its k-th member came, whatever the order of lines. */
static void quorum_and_its_time(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        uint64_t times[N_W];
        uint64_t since; /* 0: no quorum */
    } cases[] = {
        {"quorum a", {500}, 500},
        {"quorum a", {0, 500}, 0},
        {"group g any a b c d\nquorum g", {40, 10, 30, 20}, 10},
        {"group g 2 a b c d\nquorum g", {40, 10, 30, 20}, 20},
        {"group g 3 d c b a\nquorum g", {40, 10, 30, 20}, 30},
        {"group g all a b c d\nquorum g", {40, 10, 30, 20}, 40},
        {"group g all a b c d\nquorum g", {40, 10, 0, 20}, 0},
        {"group g 3 a b c d\nquorum g", {40, 10, 0, 20}, 40},
        {"group g 3 a b c d\nquorum g", {40, 0, 0, 20}, 0},
        {"group g any a b\ngroup h any c d\ngroup q all g h\nquorum q", {40, 10, 30, 20}, 20},
        {"group g any a b\ngroup h any c d\ngroup q all g h\nquorum q", {40, 10, 0, 0}, 0},
        {"group g all a b\ngroup h all c d\ngroup q any h g\nquorum q", {40, 10, 30, 20}, 30},
        {"group g all a b\ngroup h all c d\ngroup q any h g\nquorum q", {40, 10, 30, 0}, 40},
        {"group g 2 a b c\nquorum d", {40, 10, 30, 0}, 0}, /* the group is not the quorum */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char pattern[1000];
        vch_buf_t b;
        size_t given = 0;
        for (int w = 0; w < N_W; w++) given += cases[i].times[w] != 0;
        snprintf(pattern, sizeof pattern, "%s%s\n", W4, cases[i].rule);
        make_note(&b, ORIGIN, cases[i].times);
        vch_trust_result_t r = judge(pattern, &b);
        assert_true(r.log_known && !r.forged && r.wants_witness);
        assert_int_equal(r.witnesses, given);
        assert_int_equal(r.quorum, cases[i].since != 0);
        assert_int_equal(r.quorum_time, cases[i].since);
        vch_buf_free(&b);
    }
}

static void no_quorum_wanted(void **state)
{
    (void)state;
    const uint64_t times[N_W] = {5};
    vch_buf_t b;
    make_note(&b, ORIGIN, times);
    vch_trust_result_t r = judge(W4 "quorum none\n", &b);
    assert_true(r.log_known && !r.forged && r.quorum && !r.wants_witness && r.quorum_time == 0 && r.witnesses == 1);
    r = judge("quorum none\n", &b);
    assert_true(!r.log_known && !r.forged && r.quorum && r.witnesses == 0);
    vch_buf_free(&b);
    make_note(&b, "example.org/another", times); /* the log's key is good for its own origin alone */
    r = judge(W4 "quorum none\n", &b);
    assert_true(!r.log_known && !r.forged);
    vch_buf_free(&b);
}

/* A known name and id over a signature that fails: the note is to be refused. */
static void forgeries_are_told(void **state)
{
    (void)state;
    const uint64_t times[N_W] = {5, 6};
    vch_buf_t b;
    make_note(&b, ORIGIN, times);
    vch_note_t note;
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_OK);
    for (size_t i = 0; i < note.sigs; i++) {
        uint8_t *at = b.p + (note.sig[i].blob_base64.p - b.p) + 40, was = *at;
        *at = was == 'A' ? 'B' : 'A';
        vch_trust_result_t r = judge(W4 "group g 2 a b\nquorum g\n", &b);
        assert_true(r.forged);
        assert_int_equal(r.log_known, i != 0);
        assert_int_equal(r.quorum, i == 0);
        r = judge("witness d $4\nquorum d\n", &b); /* keys that nobody knows are ignored */
        assert_true(!r.forged && !r.log_known && !r.quorum && r.witnesses == 0);
        *at = was;
    }
    assert_false(judge(W4 "quorum none\n", &b).forged);
    vch_buf_free(&b);
}

/* A cosignature key's plain signature over the text is no cosignature: the
 * blob lacks its time, so it fails (tlog-cosignature, "Format"). */
static void a_plain_signature_is_no_cosignature(void **state)
{
    (void)state;
    vch_vkey_t w = vkey_of(witness_vkey[0]);
    uint8_t blob[68];
    vch_buf_t b;
    vch_note_t note;
    vch_buf_init(&b, 1000);
    memcpy(blob, w.id, 4);
    assert_int_equal(vch_signer_sign(witness[0], blob + 4, vch_str("x\n")), VCH_OK);
    assert_int_equal(vch_buf_printf(&b, "x\n\n" DASH " w1.example "), VCH_OK);
    assert_int_equal(vch_base64_put(&b, blob, sizeof blob), VCH_OK);
    assert_int_equal(vch_buf_u8(&b, '\n'), VCH_OK);
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_OK);
    assert_int_equal(vch_note_verify(&note, &w, NULL), VCH_SIG_BAD);
    vch_buf_free(&b);
}

/* Cosignatures that vch_note_cosign would not make, signed all the same. */
static void odd_times(void **state)
{
    (void)state;
    static const struct {
        uint64_t seconds;
        vch_sig_state_t state;
        size_t witnesses; /* that the judge counts */
    } cases[] = {
        {0, VCH_SIG_GOOD, 0}, /* says nothing about when */
        {1, VCH_SIG_GOOD, 1},
        {INT64_MAX, VCH_SIG_GOOD, 1},
        {(uint64_t)INT64_MAX + 1, VCH_SIG_BAD, 0}, /* tlog-cosignature, "Format" */
        {UINT64_MAX, VCH_SIG_BAD, 0},
    };
    const char *text = ORIGIN "\n42\n" ROOT "\n";
    vch_vkey_t w = vkey_of(witness_vkey[0]);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[300];
        uint8_t blob[76];
        vch_buf_t b;
        vch_note_t note;
        vch_buf_init(&b, 1000);
        snprintf(message, sizeof message, "cosignature/v1\ntime %llu\n%s", (unsigned long long)cases[i].seconds, text);
        memcpy(blob, w.id, 4);
        vch_put_u64(blob + 4, cases[i].seconds);
        assert_int_equal(vch_signer_sign(witness[0], blob + 12, vch_str(message)), VCH_OK);
        assert_int_equal(vch_buf_printf(&b, "%s\n" DASH " w1.example ", text), VCH_OK);
        assert_int_equal(vch_base64_put(&b, blob, sizeof blob), VCH_OK);
        assert_int_equal(vch_buf_u8(&b, '\n'), VCH_OK);
        assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_OK);
        assert_int_equal(vch_note_verify(&note, &w, NULL), cases[i].state);
        vch_trust_result_t r = judge(W4 "quorum a\n", &b);
        assert_int_equal(r.witnesses, cases[i].witnesses);
        assert_int_equal(r.quorum, cases[i].witnesses);
        assert_int_equal(r.forged, cases[i].state == VCH_SIG_BAD);
        vch_buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vkeys_come_back),
        cmocka_unit_test(damaged_vkeys_are_refused),
        cmocka_unit_test(weak_keys_are_refused),
        cmocka_unit_test(names_without_spaces_and_plus),
        cmocka_unit_test(notes_verify),
        cmocka_unit_test(every_flipped_byte_is_noticed),
        cmocka_unit_test(text_may_hold_blank_lines),
        cmocka_unit_test(malformed_notes_are_refused),
        cmocka_unit_test(limits_of_a_note),
        cmocka_unit_test(signing_wants_a_text_and_a_time),
        cmocka_unit_test(a_key_that_signs_twice),
        cmocka_unit_test(checkpoints_come_back),
        cmocka_unit_test(malformed_checkpoints_are_refused),
        cmocka_unit_test(proofs_come_back),
        cmocka_unit_test(malformed_proofs_are_refused),
        cmocka_unit_test(a_policy_is_read),
        cmocka_unit_test(malformed_policies_are_refused),
        cmocka_unit_test(limits_of_a_policy),
        cmocka_unit_test(quorum_and_its_time),
        cmocka_unit_test(no_quorum_wanted),
        cmocka_unit_test(forgeries_are_told),
        cmocka_unit_test(a_plain_signature_is_no_cosignature),
        cmocka_unit_test(odd_times),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
