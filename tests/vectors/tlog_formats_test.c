/* SPDX-License-Identifier: Apache-2.0 */
/* The transparency-dev/formats vectors, the C2SP examples, and Tessera's
 * small log: what others wrote verifies here, and does not once damaged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "codec/text.h"
#include "entry/note.h"
#include "merkle/tree.h"
#include "shared.h"

#define ZERO_ROOT "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/* ---- reading the files ---- */

static const char *shared_folder(void)
{
    const char *shared = vch_test_shared();
    if (shared) return shared;
    print_message("skipped: no shared/vectors here\n");
    skip();
    return NULL;
}

static json_t *load(const char *name)
{
    char path[1000];
    json_error_t err;
    snprintf(path, sizeof path, "%s/vectors/tlog-formats/%s", shared_folder(), name);
    json_t *root = json_load_file(path, 0, &err);
    if (!root) fail_msg("%s: %s", path, err.text);
    return root;
}

static const char *text_of(const json_t *v, const char *name)
{
    const char *s = json_string_value(json_object_get(v, name));
    if (!s) fail_msg("no text \"%s\"", name);
    return s ? s : "";
}

static bool flag_of(const json_t *v, const char *name) { return json_is_true(json_object_get(v, name)); }

/* A list that is there and not empty, so that no loop below runs zero times. */
static json_t *list_of(const json_t *v, const char *name)
{
    json_t *list = json_object_get(v, name);
    assert_true(json_array_size(list) > 0);
    return list;
}

static vch_vkey_t vkey_of(const char *text)
{
    vch_vkey_t k;
    if (vch_vkey_get(&k, vch_str(text)) != VCH_OK) fail_msg("refused: %s", text);
    return k;
}

static vch_sig_state_t state_of(const char *text, const vch_vkey_t *k)
{
    vch_note_t note;
    return vch_note_get(&note, vch_str(text)) == VCH_OK ? vch_note_verify(&note, k, NULL) : VCH_SIG_ABSENT;
}

/* "PRIVATE+KEY+name+hash+base64(type ‖ seed)" */
static vch_signer_t *signer_of(const char *skey)
{
    uint8_t raw[33];
    vch_signer_t *s;
    assert_int_equal(strncmp(skey, "PRIVATE+KEY+", 12), 0);
    const char *hash = strchr(skey + 12, '+');
    assert_non_null(hash);
    assert_int_equal(vch_base64_fixed(raw, sizeof raw, vch_str(hash + 10)), VCH_OK);
    assert_int_equal(vch_signer_new(&s, VCH_ALG_ED25519, raw + 1, NULL), VCH_OK);
    return s;
}

/* ---- note-verifier.json ---- */

static void verifier_keys(void **state)
{
    (void)state;
    json_t *root = load("note-verifier.json"), *v;
    size_t i, ours = 0;
    json_array_foreach(list_of(root, "parse_vkey"), i, v)
    {
        const char *type = json_string_value(json_object_get(v, "type"));
        bool valid = type && (strstr(type, "(type 1)") || strstr(type, "(type 4)"));
        vch_vkey_t k;
        vch_rc rc = vch_vkey_get(&k, vch_str(text_of(v, "vkey")));
        if (valid != (rc == VCH_OK)) fail_msg("%s: %s", text_of(v, "name"), vch_rc_name(rc));
        if (type && !valid) assert_int_equal(rc, VCH_ERR_UNSUPPORTED); /* ECDSA, RFC 6962, ML-DSA */
        if (!valid) assert_true(rc == VCH_ERR_UNSUPPORTED || rc == VCH_ERR_FORMAT);
        ours += valid;
    }
    assert_int_equal(ours, 4);
    json_decref(root);
}

/* Their keys are ECDSA, which is refused; their notes are read all the same,
 * and nobody's key stands under them. */
static void notes_by_keys_that_we_do_not_know(void **state)
{
    (void)state;
    json_t *root = load("note-verifier.json"), *v;
    vch_vkey_t k, known = vkey_of("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    size_t i;
    json_array_foreach(list_of(root, "open_note"), i, v)
    {
        vch_note_t note;
        assert_int_equal(vch_vkey_get(&k, vch_str(text_of(v, "vkey"))), VCH_ERR_UNSUPPORTED);
        bool valid = flag_of(v, "valid");
        vch_rc rc = vch_note_get(&note, vch_str(text_of(v, "note")));
        if (valid) assert_int_equal(rc, VCH_OK);
        if (rc == VCH_OK) assert_int_equal(vch_note_verify(&note, &known, NULL), VCH_SIG_ABSENT);
    }
    json_decref(root);
}

/* The vector gives the blob alone; the time is what stands behind the id, and
 * only a blob of a cosignature's length can be one. */
static void cosignature_times(void **state)
{
    (void)state;
    json_t *root = load("note-verifier.json"), *v;
    size_t i;
    json_array_foreach(list_of(root, "cosignature_v1_timestamp"), i, v)
    {
        uint8_t blob[4 + 8 + 64];
        json_t *time = json_object_get(v, "unix_time");
        vch_rc rc = vch_base64_fixed(blob, sizeof blob, vch_str(text_of(v, "signature")));
        assert_int_equal(rc == VCH_OK, json_is_integer(time));
        if (rc == VCH_OK) assert_int_equal(vch_get_u64(blob + 4), json_integer_value(time));
    }
    json_decref(root);
}

static void published_pairs_belong_together(void **state)
{
    (void)state;
    json_t *root = load("note-verifier.json"), *v;
    size_t i;
    json_array_foreach(list_of(root, "private_keys_published_in_the_tests"), i, v)
    {
        vch_vkey_t k = vkey_of(text_of(v, "vkey"));
        vch_signer_t *s = signer_of(text_of(v, "skey"));
        assert_memory_equal(vch_signer_public(s)->b + 2, k.key, 32);
        vch_signer_free(s);
    }
    json_decref(root);
}

/* ---- checkpoint.json ---- */

/* Their hashes have any length, ours 32 bytes: each text is refused as it is
 * and read with a hash put in its place. */
static void check_body(const json_t *v, const char *text, bool valid)
{
    vch_checkpoint_t c;
    assert_int_equal(vch_checkpoint_get(&c, vch_str(text)), VCH_ERR_FORMAT);
    const char *second = strchr(text, '\n'), *third = second ? strchr(second + 1, '\n') : NULL;
    const char *end = third ? strchr(third + 1, '\n') : NULL;
    if (!end) {
        assert_false(valid);
        return;
    }
    char ours[500];
    bool is_base64 = !memchr(third, '\'', (size_t)(end - third));
    snprintf(ours, sizeof ours, "%.*s%s%s", (int)(third + 1 - text), text, is_base64 ? ZERO_ROOT : "'", end);
    vch_rc rc = vch_checkpoint_get(&c, vch_str(ours));
    /* tlog-checkpoint: extension lines are not empty; the Go reader lets them pass */
    if (!valid || strstr(end, "\n\n")) {
        assert_int_equal(rc, VCH_ERR_FORMAT);
        return;
    }
    assert_int_equal(rc, VCH_OK);
    assert_true(vch_slice_eq(c.origin, vch_str(text_of(v, "origin"))));
    assert_true(c.size == (uint64_t)json_integer_value(json_object_get(v, "size")));
    assert_true(vch_slice_eq(c.extension, vch_str(text_of(v, "rest"))));
}

static void checkpoint_bodies(void **state)
{
    (void)state;
    json_t *root = load("checkpoint.json"), *v;
    size_t i;
    json_array_foreach(list_of(root, "unmarshal"), i, v) check_body(v, text_of(v, "text"), flag_of(v, "valid"));
    v = json_object_get(root, "extended_checkpoint");
    check_body(v, text_of(v, "text"), true);
    const vch_hash_t zero = {{0}};
    json_array_foreach(list_of(root, "marshal"), i, v)
    {
        vch_buf_t b;
        char want[300];
        const char *text = text_of(v, "want"), *second = strchr(text, '\n'), *third = strchr(second + 1, '\n');
        vch_buf_init(&b, 300);
        snprintf(want, sizeof want, "%.*s" ZERO_ROOT "\n", (int)(third + 1 - text), text);
        uint64_t size = (uint64_t)json_integer_value(json_object_get(v, "size"));
        assert_int_equal(vch_checkpoint_put(&b, text_of(v, "origin"), size, &zero), VCH_OK);
        assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str(want)));
        vch_buf_free(&b);
    }
    json_decref(root);
}

/* Does the note open for the log, with its origin, and how many known keys stand under it? */
static bool opens(const json_t *keys, const json_t *v, size_t *ret_count)
{
    static const char *const known[] = {"log", "known1", "known2"};
    const char *text = text_of(v, "note"), *origin = text_of(v, "expect_origin");
    bool by_log = false, origin_ok = strncmp(text, origin, strlen(origin)) == 0 && text[strlen(origin)] == '\n';
    *ret_count = 0;
    for (size_t i = 0; i < 3; i++) {
        vch_vkey_t k = vkey_of(text_of(json_object_get(keys, known[i]), "vkey"));
        vch_sig_state_t s = state_of(text, &k);
        assert_int_not_equal(s, VCH_SIG_BAD);
        *ret_count += s == VCH_SIG_GOOD;
        if (i == 0) by_log = s == VCH_SIG_GOOD;
    }
    return by_log && origin_ok;
}

static void signed_checkpoints(void **state)
{
    (void)state;
    json_t *root = load("checkpoint.json"), *signed_ = json_object_get(root, "parse_signed"), *v;
    size_t i, count;
    json_array_foreach(list_of(signed_, "cases"), i, v)
    {
        bool open = opens(json_object_get(signed_, "keys"), v, &count);
        bool body_bad = strcmp(text_of(v, "desc"), "bad body good sigs") == 0; /* the signatures are fine there */
        assert_int_equal(open, flag_of(v, "valid") && !body_bad);
        assert_int_equal(count, json_integer_value(json_object_get(v, "want_signatures")));
    }
    json_decref(root);
}

/* The same signatures come out of the published keys: Ed25519 is deterministic. */
static void signed_checkpoints_again(void **state)
{
    (void)state;
    json_t *root = load("checkpoint.json"), *signed_ = json_object_get(root, "parse_signed"), *v, *name;
    size_t i, j;
    json_array_foreach(list_of(signed_, "cases"), i, v)
    {
        const char *want = text_of(v, "note"), *end = strstr(want, "\n\n");
        vch_slice_t text = vch_slice(want, (size_t)(end - want) + 1);
        vch_buf_t b;
        vch_buf_init(&b, 4096);
        assert_int_equal(vch_buf_put(&b, want, text.n + 1), VCH_OK);
        json_array_foreach(json_object_get(v, "signers"), j, name)
        {
            const json_t *key = json_object_get(json_object_get(signed_, "keys"), json_string_value(name));
            vch_vkey_t k = vkey_of(text_of(key, "vkey"));
            char key_name[100];
            snprintf(key_name, sizeof key_name, "%.*s", (int)k.name.n, (const char *)k.name.p);
            vch_signer_t *s = signer_of(text_of(key, "skey"));
            assert_int_equal(vch_note_sign(&b, text, key_name, s), VCH_OK);
            vch_signer_free(s);
        }
        assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str(want)));
        vch_buf_free(&b);
    }
    json_decref(root);
}

static void the_checksum_database(void **state)
{
    (void)state;
    json_t *root = load("checkpoint.json"), *db = json_object_get(root, "sumdb"), *v;
    vch_vkey_t k = vkey_of(text_of(db, "vkey"));
    vch_note_t note;
    vch_checkpoint_t c;
    size_t i;
    assert_int_equal(vch_note_get(&note, vch_str(text_of(db, "note"))), VCH_OK);
    assert_int_equal(vch_note_verify(&note, &k, NULL), VCH_SIG_GOOD);
    assert_int_equal(vch_checkpoint_get(&c, note.text), VCH_OK);
    json_array_foreach(list_of(db, "cases"), i, v)
    {
        bool same = vch_slice_eq(c.origin, vch_str(text_of(v, "expect_origin")));
        assert_int_equal(same, flag_of(v, "valid"));
        if (same) assert_int_equal(c.size, json_integer_value(json_object_get(v, "size")));
    }
    json_decref(root);
}

/* ---- tlog-proof.json ---- */

static void put_again(const json_t *v, const vch_tlog_proof_t *p)
{
    vch_buf_t b;
    vch_buf_init(&b, 4096);
    assert_int_equal(vch_tlog_proof_put(&b, p->index, p->path, p->n, vch_str(""), p->note), VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str(text_of(v, "want"))));
    vch_buf_free(&b);
}

static void check_extra(const json_t *v, const vch_tlog_proof_t *p)
{
    json_t *extra = json_object_get(v, "extra_utf8");
    if (!json_is_string(extra)) {
        assert_int_equal(p->extra.n, 0);
        put_again(v, p);
        return;
    }
    vch_buf_t b;
    vch_buf_init(&b, 4096);
    assert_int_equal(vch_base64_get(&b, p->extra), VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str(json_string_value(extra))));
    vch_buf_free(&b);
}

static void proofs(void **state)
{
    (void)state;
    static vch_tlog_proof_t p;
    json_t *root = load("tlog-proof.json"), *v, *hash;
    size_t i, j;
    json_array_foreach(list_of(root, "marshal"), i, v)
    {
        vch_hash_t want;
        assert_int_equal(vch_tlog_proof_get(&p, vch_str(text_of(v, "want"))), VCH_OK);
        assert_int_equal(p.index, json_integer_value(json_object_get(v, "index")));
        assert_int_equal(p.n, json_array_size(json_object_get(v, "hashes")));
        assert_true(vch_slice_eq(p.note, vch_str(text_of(v, "checkpoint"))));
        json_array_foreach(json_object_get(v, "hashes"), j, hash)
        {
            assert_true(vch_unhex(want.b, 32, json_string_value(hash), json_string_length(hash)));
            assert_true(vch_hash_eq(&want, &p.path[j]));
        }
        check_extra(v, &p);
    }
    json_array_foreach(list_of(root, "unmarshal_errors"), i, v)
        assert_int_equal(vch_tlog_proof_get(&p, vch_str(text_of(v, "text"))), VCH_ERR_FORMAT);
    json_decref(root);
    vch_buf_t b; /* and the case that the file tells in words */
    uint8_t *to;
    vch_buf_init(&b, 100000);
    assert_int_equal(vch_buf_printf(&b, "c2sp.org/tlog-proof@v1\nindex 0\n"), VCH_OK);
    assert_int_equal(vch_buf_extend(&b, 65536, &to), VCH_OK);
    memset(to, 'a', 65536);
    assert_int_equal(vch_tlog_proof_get(&p, vch_buf_slice(&b)), VCH_ERR_FORMAT);
    vch_buf_free(&b);
}

/* ---- witness-policy.json ---- */

static void policies(void **state)
{
    (void)state;
    static vch_trust_t t;
    json_t *root = load("witness-policy.json"), *v;
    size_t i, accepted = 0, twice = 0;
    json_array_foreach(list_of(root, "parse"), i, v)
    {
        bool duplicate = flag_of(v, "c2sp_duplicate_key"), valid = flag_of(v, "valid") && !duplicate;
        vch_err_t err = {0};
        vch_rc rc = vch_trust_get(&t, vch_str(text_of(v, "policy")), &err);
        if (valid != (rc == VCH_OK)) fail_msg("%s: %s", text_of(v, "name"), err.text);
        if (!valid) assert_non_null(strstr(err.text, "line "));
        if (duplicate) assert_non_null(strstr(err.text, "line 4: this witness's public key is listed already"));
        twice += duplicate;
        if (!valid) continue;
        accepted++;
        assert_int_equal(t.node[t.quorum].need, json_integer_value(json_object_get(v, "quorum_threshold")));
        assert_int_equal(t.node[t.quorum].of, json_integer_value(json_object_get(v, "quorum_members")));
    }
    assert_true(accepted == 2 && twice == 3);
    json_decref(root);
}

/* One level of [threshold, members...] as policy lines, subgroups first; the
 * vectors go two levels deep. */
static void put_group(char *out, size_t room, const json_t *group, const char *name)
{
    char members[200] = "";
    size_t i, used = strlen(out);
    json_t *m;
    json_array_foreach(group, i, m)
    {
        if (i == 0) continue;
        size_t n = strlen(members);
        if (json_is_string(m)) snprintf(members + n, sizeof members - n, " %s", json_string_value(m));
        if (!json_is_array(m)) continue;
        assert_string_equal(name, "top");
        snprintf(members + n, sizeof members - n, " sub%zu", i);
        put_group(out, room, m, members + n + 1);
    }
    used = strlen(out);
    snprintf(out + used, room - used, "group %s %d%s\n", name, (int)json_integer_value(json_array_get(group, 0)),
             members);
}

static void make_policy(char *out, size_t room, const json_t *keys, const json_t *group)
{
    out[0] = 0;
    for (int w = 1; w <= 3; w++) {
        char name[20];
        snprintf(name, sizeof name, "wit%d_vkey", w);
        size_t n = strlen(out);
        snprintf(out + n, room - n, "witness wit%d %s\n", w, text_of(keys, name));
    }
    bool none = json_integer_value(json_array_get(group, 0)) == 0; /* tlog-policy spells "0 of n" as "none" */
    if (!none) put_group(out, room, group, "top");
    size_t n = strlen(out);
    snprintf(out + n, room - n, "quorum %s\n", none ? "none" : "top");
}

static vch_trust_result_t judge_group(const json_t *keys, const json_t *v)
{
    static vch_trust_t t;
    const char *text = "sign me\n1\n" ZERO_ROOT "\n";
    char policy[2000], name[20], skey[20];
    vch_buf_t b;
    vch_note_t note;
    vch_checkpoint_t c;
    vch_trust_result_t r;
    json_t *signer;
    size_t i;
    vch_buf_init(&b, 4096);
    /* a signer whom the policy does not know, so that a note without witnesses is one too */
    assert_int_equal(vch_buf_printf(&b, "%s\n\xe2\x80\x94 somebody AAAAAAA=\n", text), VCH_OK);
    json_array_foreach(json_object_get(v, "signers"), i, signer)
    {
        const char *who = json_string_value(signer);
        snprintf(name, sizeof name, "W%s", who + 1);
        snprintf(skey, sizeof skey, "%s_skey", who);
        vch_signer_t *s = signer_of(text_of(keys, skey));
        assert_int_equal(vch_note_cosign(&b, vch_str(text), name, s, 1700000000), VCH_OK);
        vch_signer_free(s);
    }
    make_policy(policy, sizeof policy, keys, json_object_get(v, "group"));
    assert_int_equal(vch_trust_get(&t, vch_str(policy), NULL), VCH_OK);
    assert_int_equal(vch_note_get(&note, vch_buf_slice(&b)), VCH_OK);
    assert_int_equal(vch_checkpoint_get(&c, note.text), VCH_OK);
    assert_int_equal(vch_trust_judge(&t, &note, &c, &r), VCH_OK);
    assert_int_equal(r.witnesses, json_array_size(json_object_get(v, "signers")));
    vch_buf_free(&b);
    return r;
}

static void groups(void **state)
{
    (void)state;
    json_t *root = load("witness-policy.json"), *satisfied = json_object_get(root, "group_satisfied"), *v;
    size_t i;
    json_array_foreach(list_of(satisfied, "cases"), i, v)
    {
        vch_trust_result_t r = judge_group(json_object_get(satisfied, "keys"), v);
        assert_false(r.forged);
        if (r.quorum != flag_of(v, "satisfied")) fail_msg("%s", text_of(v, "desc"));
    }
    json_decref(root);
}

/* ---- c2sp-examples.json ---- */

static const char *example(const json_t *root, const char *path)
{
    size_t i;
    json_t *v;
    json_array_foreach(list_of(root, "format_examples"), i,
                       v) if (strcmp(text_of(v, "path"), path) == 0) return text_of(v, "text");
    fail_msg("no example of %s", path);
    return NULL;
}

static void c2sp_notes(void **state)
{
    (void)state;
    json_t *root = load("c2sp-examples.json"), *v = json_array_get(list_of(root, "verify"), 0);
    vch_vkey_t k = vkey_of(text_of(v, "vkey"));
    assert_int_equal(state_of(text_of(v, "note"), &k), VCH_SIG_GOOD);
    char bad[1000];
    snprintf(bad, sizeof bad, "%s", text_of(v, "note"));
    bad[0] ^= 1;
    assert_int_equal(state_of(bad, &k), VCH_SIG_BAD);
    vch_note_t note;
    vch_checkpoint_t c;
    assert_int_equal(vch_note_get(&note, vch_str(example(root, "tlog-cosignature.md"))), VCH_OK);
    assert_int_equal(note.sigs, 2);
    assert_int_equal(note.sig[1].blob_base64.n, 104); /* id, time and signature: 76 bytes */
    assert_int_equal(vch_note_get(&note, vch_str(example(root, "tlog-checkpoint.md"))), VCH_OK);
    assert_int_equal(vch_checkpoint_get(&c, note.text), VCH_OK);
    assert_int_equal(c.size, 20852163);
    json_decref(root);
}

/* The specification's proof has its signatures cut short: the layout reads, the
 * note in it does not. */
static void c2sp_proof(void **state)
{
    (void)state;
    static vch_tlog_proof_t p;
    json_t *root = load("c2sp-examples.json");
    const char *text = example(root, "tlog-proof.md");
    assert_int_equal(vch_tlog_proof_get(&p, vch_str(text)), VCH_OK);
    assert_true(p.index == 73894 && p.n == 5 && p.extra.n == 52);
    vch_note_t note;
    assert_int_equal(vch_note_get(&note, p.note), VCH_ERR_FORMAT); /* cut signatures */
    vch_checkpoint_t c;
    const char *body = strstr(text, "\n\n") + 2;
    assert_int_equal(vch_checkpoint_get(&c, vch_slice(body, (size_t)(strstr(body, "\n\n") - body) + 1)), VCH_OK);
    assert_int_equal(c.size, 109482);
    json_decref(root);
}

/* ---- Tessera's log ---- */

static size_t read_log_file(uint8_t *ret, size_t room, const char *name)
{
    char path[1000];
    snprintf(path, sizeof path, "%s/vectors/tessera-log/%s", shared_folder(), name);
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s does not open", path);
    size_t n = fread(ret, 1, room, f);
    fclose(f);
    assert_true(n < room);
    return n;
}

static size_t read_bundle(vch_hash_t *ret_leaves, const uint8_t *bundle, size_t n)
{
    size_t count = 0;
    for (size_t at = 0; at < n; count++) {
        assert_true(n - at >= 2);
        size_t len = vch_get_u16(bundle + at);
        assert_true(len <= n - at - 2);
        vch_tree_leaf(&ret_leaves[count], vch_slice(bundle + at + 2, len));
        at += 2 + len;
    }
    return count;
}

/* Leaves of the bundle equal the tile's, and their root the checkpoint's. */
static bool log_agrees(unsigned size, const vch_checkpoint_t *c, size_t flip_at)
{
    uint8_t bundle[4096], tile[4096];
    char name[100];
    vch_hash_t leaves[256], root;
    if (size == 0) {
        vch_tree_empty(&root);
        return vch_hash_eq(&root, &c->root);
    }
    assert_int_equal(vch_tile_path(name, sizeof name, -1, 0, size), VCH_OK);
    size_t n = read_log_file(bundle, sizeof bundle, name);
    if (flip_at < n) bundle[flip_at] ^= 0x40;
    assert_int_equal(read_bundle(leaves, bundle, n), size);
    assert_int_equal(vch_tile_path(name, sizeof name, 0, 0, size), VCH_OK);
    assert_int_equal(read_log_file(tile, sizeof tile, name), size * 32);
    bool same = memcmp(leaves, tile, size * 32) == 0;
    vch_tree_root_in_place(&root, leaves, size);
    return same && vch_hash_eq(&root, &c->root);
}

static vch_vkey_t log_key(char *room, size_t n)
{
    size_t len = read_log_file((uint8_t *)room, n, "vkey.txt");
    while (len && room[len - 1] == '\n') len--;
    room[len] = 0;
    return vkey_of(room);
}

static void check_log_size(unsigned size, const vch_vkey_t *k)
{
    uint8_t text[1000];
    char name[100];
    vch_note_t note;
    vch_checkpoint_t c;
    snprintf(name, sizeof name, "checkpoint.%u", size);
    size_t n = read_log_file(text, sizeof text, name);
    assert_int_equal(vch_note_get(&note, vch_slice(text, n)), VCH_OK);
    assert_int_equal(vch_note_verify(&note, k, NULL), VCH_SIG_GOOD);
    assert_int_equal(vch_checkpoint_get(&c, note.text), VCH_OK);
    assert_true(c.size == size && vch_slice_eq(c.origin, k->name) && c.extension.n == 0);
    assert_true(log_agrees(size, &c, SIZE_MAX));
    if (size > 0) assert_false(log_agrees(size, &c, 2)); /* the first entry's first byte */
    c.root.b[5] ^= 1;
    assert_false(log_agrees(size, &c, SIZE_MAX));
    for (size_t i = 0; i < n; i++) { /* the must-fail twin: any byte of the note */
        text[i] ^= 1;
        bool good =
            vch_note_get(&note, vch_slice(text, n)) == VCH_OK && vch_note_verify(&note, k, NULL) == VCH_SIG_GOOD;
        assert_false(good);
        text[i] ^= 1;
    }
}

static void tessera_log(void **state)
{
    (void)state;
    char room[200];
    vch_vkey_t k = log_key(room, sizeof room);
    for (unsigned size = 0; size <= 15; size++) check_log_size(size, &k);
    uint8_t newest[1000], last[1000];
    size_t n = read_log_file(newest, sizeof newest, "checkpoint");
    assert_int_equal(n, read_log_file(last, sizeof last, "checkpoint.15"));
    assert_memory_equal(newest, last, n);
}

/* A proof of each leaf as a tlog-proof file, read back and judged as a
 * stranger would: key, origin, inclusion. */
static void tessera_proofs(void **state)
{
    (void)state;
    static vch_tlog_proof_t p;
    char room[200];
    uint8_t text[1000], bundle[4096];
    vch_vkey_t k = log_key(room, sizeof room);
    vch_hash_t leaves[256], scratch[256], path[VCH_PATH_HASHES_MAX];
    size_t note_n = read_log_file(text, sizeof text, "checkpoint.15");
    size_t bundle_n = read_log_file(bundle, sizeof bundle, "tile/entries/000.p/15");
    assert_int_equal(read_bundle(leaves, bundle, bundle_n), 15);
    for (size_t i = 0; i < 15; i++) {
        vch_buf_t b;
        vch_note_t note;
        vch_checkpoint_t c;
        size_t n = vch_tree_path(path, leaves, 15, i, scratch);
        vch_buf_init(&b, 4096);
        assert_int_equal(vch_tlog_proof_put(&b, i, path, n, vch_str(""), vch_slice(text, note_n)), VCH_OK);
        assert_int_equal(vch_tlog_proof_get(&p, vch_buf_slice(&b)), VCH_OK);
        assert_int_equal(vch_note_get(&note, p.note), VCH_OK);
        assert_int_equal(vch_note_verify(&note, &k, NULL), VCH_SIG_GOOD);
        assert_int_equal(vch_checkpoint_get(&c, note.text), VCH_OK);
        assert_true(vch_inclusion_verify(p.index, c.size, &leaves[i], p.path, p.n, &c.root));
        p.path[0].b[0] ^= 1;
        assert_false(vch_inclusion_verify(p.index, c.size, &leaves[i], p.path, p.n, &c.root));
        vch_buf_free(&b);
    }
}

static int set_up(void **state)
{
    (void)state;
    return vch_crypto_start() == VCH_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verifier_keys),
        cmocka_unit_test(notes_by_keys_that_we_do_not_know),
        cmocka_unit_test(cosignature_times),
        cmocka_unit_test(published_pairs_belong_together),
        cmocka_unit_test(checkpoint_bodies),
        cmocka_unit_test(signed_checkpoints),
        cmocka_unit_test(signed_checkpoints_again),
        cmocka_unit_test(the_checksum_database),
        cmocka_unit_test(proofs),
        cmocka_unit_test(policies),
        cmocka_unit_test(groups),
        cmocka_unit_test(c2sp_notes),
        cmocka_unit_test(c2sp_proof),
        cmocka_unit_test(tessera_log),
        cmocka_unit_test(tessera_proofs),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
