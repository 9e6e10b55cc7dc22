/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger on a real disk, as a program would use it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/mount.h>

#include "codec/text.h"
#include "entry/note.h"
#include "node/node_int.h"
#include "merkle/tree.h"
#include "port/sim.h"

#include "ledger_help.h"

typedef struct {
    char dir[64];
    vch_ledger_t *l;
    vch_signer_t *s;
} box_t;

static void box_open(box_t *b, unsigned flags)
{
    LH_OK(vch_ledger_open(&b->l, b->dir, flags, &lh_err));
    LH_OK(vch_identity_load(b->l, NULL, NULL, &b->s, &lh_err));
}

static void box_close(box_t *b)
{
    vch_signer_free(b->s);
    b->s = NULL;
    LH_OK(vch_ledger_close(b->l, &lh_err));
    b->l = NULL;
}

static int set_up(void **state)
{
    box_t *b = calloc(1, sizeof *b);
    vch_init_t init = lh_init();
    lh_folder(b->dir);
    LH_OK(vch_ledger_init(b->dir, &init, &lh_err));
    lh_run("sed -i 's/^min_free_mib.*/min_free_mib = 0/' %s/vouch.conf", b->dir);
    LH_OK(vch_settings_accept(b->dir, &lh_err));
    box_open(b, 0);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    box_t *b = *state;
    vch_signer_free(b->s);
    if (b->l && vch_ledger_close(b->l, &lh_err) != VCH_OK) print_message("closing: %s\n", lh_err.text);
    lh_remove(b->dir);
    free(b);
    return 0;
}

static vch_ledger_info_t info_of(vch_ledger_t *l)
{
    vch_ledger_info_t info;
    LH_OK(vch_ledger_info(l, &info, &lh_err));
    return info;
}

/* ---- init ------------------------------------------------------------------------- */

static void a_new_ledger_has_genesis_and_a_checkpoint(void **state)
{
    box_t *b = *state;
    vch_ledger_info_t info = info_of(b->l);
    struct stat st;
    char path[128];
    assert_string_equal(info.origin, LH_ORIGIN);
    assert_int_equal(info.size, 2);
    assert_int_equal(info.height, 1);
    assert_int_equal(info.checkpoint_size, 2);
    assert_int_equal(info.rebuilt, 0);
    assert_string_equal(info.note, "");
    snprintf(path, sizeof path, "%s/keys/clinic-a.pem", b->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(path, sizeof path, "%s/FORMAT.part", b->dir);
    assert_int_not_equal(stat(path, &st), 0);
}

static void init_refuses_what_is_there_and_what_is_wrong(void **state)
{
    box_t *b = *state;
    vch_init_t init = lh_init();
    char dir[80];
    LH_IS(VCH_ERR_CONFLICT, vch_ledger_init(b->dir, &init, &lh_err));
    lh_run("mv %s/FORMAT /tmp/vch-test-format-away", b->dir); /* a lost FORMAT is no invitation */
    LH_IS(VCH_ERR_CONFLICT, vch_ledger_init(b->dir, &init, &lh_err));
    lh_run("mv /tmp/vch-test-format-away %s/FORMAT", b->dir);
    snprintf(dir, sizeof dir, "%s/new", b->dir);
    static const char *const bad[] = {"", "a b", "a+b", "a\n", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        init.origin = bad[i];
        LH_IS(VCH_ERR_USAGE, vch_ledger_init(dir, &init, &lh_err));
    }
    init = lh_init();
    static const char *const names[] = {"", "log", "../x", ".hidden", "a/b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        init.operator_name = names[i];
        LH_IS(VCH_ERR_USAGE, vch_ledger_init(dir, &init, &lh_err));
    }
    init = lh_init();
    init.algorithm = "rsa";
    LH_IS(VCH_ERR_UNSUPPORTED, vch_ledger_init(dir, &init, &lh_err));
    init.algorithm = "p256"; /* what that try left is replaced */
    LH_OK(vch_ledger_init(dir, &init, &lh_err));
    vch_ledger_t *l;
    LH_OK(vch_ledger_open(&l, dir, 0, &lh_err));
    LH_OK(vch_ledger_close(l, &lh_err));
}

/* ---- submitting -------------------------------------------------------------------- */

static void entries_are_taken_and_kept(void **state)
{
    box_t *b = *state;
    vch_receipt_t r;
    for (unsigned i = 0; i < 20; i++) {
        LH_OK(lh_submit(b->l, b->s, i, &r, &lh_err));
        assert_int_equal(r.count, 1);
        assert_false(r.again);
    }
    uint64_t last = r.index;
    vch_id_t object = r.object;
    box_close(b);
    box_open(b, 0);
    vch_ledger_info_t info = info_of(b->l);
    assert_int_equal(info.rebuilt, 0);
    assert_true(info.size > last);
    assert_int_equal(info.checkpoint_size, info.size);
    uint64_t index;
    uint32_t statement;
    LH_OK(vch_object_find(b->l, &object, &index, &statement, &lh_err));
    assert_int_equal(index, last);
    assert_int_equal(statement, 0);
}

/* What is listed after the kinds above, and what can't be asked. */
static void lists_say_what_there_is(box_t *b)
{
    static const struct {
        const char *what;
        size_t n;
    } want[] = {{"parties", 2}, {"datasets", 1}, {"versions", 0},    {"terms", 1},   {"grants", 0},
                {"runs", 0},    {"models", 2},   {"deployments", 1}, {"batches", 1}, {"remedies", 0}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        vch_text_t list;
        vch_arena_t arena;
        const vch_json_t *tree;
        LH_OK(vch_query(b->l, want[i].what, NULL, &list, &lh_err));
        vch_arena_init(&arena, 1u << 20);
        LH_OK(vch_json_parse(&arena, &tree, vch_slice(list.p, list.n), &lh_err));
        assert_int_equal(tree->type, VCH_JSON_ARRAY);
        assert_int_equal(tree->count, want[i].n);
        vch_arena_free(&arena);
        vch_text_free(&list);
    }
    vch_text_t list;
    LH_OK(vch_query(b->l, "consents", "wine", &list, &lh_err));
    assert_string_equal(list.p, "[]");
    vch_text_free(&list);
    LH_IS(VCH_ERR_USAGE, vch_query(b->l, "things", NULL, &list, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_query(b->l, "versions", "beer", &list, &lh_err));
}

static void every_entry_is_json(box_t *b)
{
    for (uint64_t i = 0; i < info_of(b->l).size; i++) {
        vch_text_t entry;
        vch_arena_t arena;
        const vch_json_t *tree;
        LH_OK(vch_entry_show(b->l, i, &entry, &lh_err));
        vch_arena_init(&arena, 4u << 20);
        LH_OK(vch_json_parse(&arena, &tree, vch_slice(entry.p, entry.n), &lh_err));
        assert_non_null(vch_json_get(tree, "kind"));
        vch_arena_free(&arena);
        vch_text_free(&entry);
    }
}

static void key_of(box_t *b, const char *name, char ret[72])
{
    vch_signer_t *s;
    vch_text_t shown;
    if (vch_identity_load(b->l, name, NULL, &s, &lh_err) != VCH_OK) {
        LH_OK(vch_identity_new(b->l, name, "p256", NULL, &lh_err));
        LH_OK(vch_identity_load(b->l, name, NULL, &s, &lh_err));
    }
    LH_OK(vch_signer_show(s, &shown, &lh_err));
    const char *key = strstr(shown.p, "\"multicodec\":\"");
    assert_non_null(key);
    snprintf(ret, 72, "%.70s", key + 14);
    vch_text_free(&shown);
    vch_signer_free(s);
}

static vch_rc add_party(box_t *b, const char *name, const char *identity, vch_id_t *ret)
{
    char json[256], key[72];
    vch_receipt_t r;
    key_of(b, identity, key);
    snprintf(json, sizeof json, "{\"name\":\"%s\",\"roles\":[\"user\"],\"keys\":[\"%s\"]}", name, key);
    lh_err = (vch_err_t){0};
    vch_rc rc = vch_submit_json(b->l, b->s, "party", json, strlen(json), &r, &lh_err);
    if (rc == VCH_OK) *ret = r.object;
    return rc;
}

static void revoke_key(box_t *b, const vch_id_t *party, const char *identity)
{
    char json[320], key[72], id[65];
    vch_receipt_t r;
    key_of(b, identity, key);
    vch_hex(id, party->b, 32);
    snprintf(json, sizeof json, "{\"party\":\"%s\",\"action\":\"revoke\",\"key\":\"%s\",\"reason\":\"compromised\"}",
             id, key);
    LH_OK(vch_submit_json(b->l, b->s, "party-key", json, strlen(json), &r, &lh_err));
}

static void name_is(box_t *b, const char *name, const vch_id_t *want)
{
    vch_id_t id;
    LH_OK(vch_ledger_read_begin(b->l, &lh_err));
    LH_OK(vch_resolve(b->l, 'p', name, &id, &lh_err));
    assert_memory_equal(id.b, want->b, 32);
    vch_ledger_read_end(b->l);
}

/* Of two that ever had a name, the living one is meant by it. */
static void a_name_goes_to_one_party(void **state)
{
    box_t *b = *state;
    vch_id_t first, second;
    LH_OK(add_party(b, "team", "team-1", &first));
    LH_IS(VCH_ERR_CONFLICT, add_party(b, "team", "team-2", &second));
    assert_non_null(strstr(lh_err.text, "the name \"team\" is taken"));
    name_is(b, "team", &first);
    revoke_key(b, &first, "team-1");
    name_is(b, "team", &first);
    LH_OK(add_party(b, "team", "team-2", &second));
    name_is(b, "team", &second);
    LH_IS(VCH_ERR_CONFLICT, add_party(b, "team", "team-3", &second));
}

static void every_simple_kind_is_taken(void **state)
{
    box_t *b = *state;
    vch_receipt_t r;
    char json[2048], id[65], party[65];
    vch_id_t me;
    LH_OK(vch_ledger_read_begin(b->l, &lh_err));
    LH_OK(vch_resolve(b->l, 'p', "clinic-a", &me, &lh_err));
    vch_ledger_read_end(b->l);
    vch_hex(party, me.b, 32);
    LH_OK(vch_identity_new(b->l, "lab", "p256", NULL, &lh_err));
    vch_signer_t *lab;
    vch_text_t shown;
    LH_OK(vch_identity_load(b->l, "lab", NULL, &lab, &lh_err));
    LH_OK(vch_signer_show(lab, &shown, &lh_err));
    char *key = strstr(shown.p, "\"multicodec\":\"");
    assert_non_null(key);
    key += 14;
    LH_IS(VCH_ERR_KEY, lh_submit(b->l, lab, 1, &r, &lh_err)); /* not registered yet */
    snprintf(json, sizeof json, "{\"name\":\"lab\",\"roles\":[\"user\"],\"keys\":[\"%.70s\"]}", key);
    LH_OK(vch_submit_json(b->l, b->s, "party", json, strlen(json), &r, &lh_err));
    LH_OK(lh_submit(b->l, lab, 1, &r, &lh_err));
    snprintf(json, sizeof json,
             "{\"name\":\"wine\",\"custodian\":\"%s\",\"columns\":[{\"name\":\"a\",\"group\":0},{\"name\":\"y\","
             "\"group\":1}],"
             "\"groups\":[\"features\",\"label\"],\"label-group\":1}",
             party);
    LH_IS(VCH_ERR_ROLE, vch_submit_json(b->l, lab, "dataset", json, strlen(json), &r, &lh_err));
    LH_OK(vch_submit_json(b->l, b->s, "dataset", json, strlen(json), &r, &lh_err));
    static const char terms[] =
        "[{\"document\":{\"version\":1,\"title\":\"research\",\"effect\":\"permit\",\"recipients\":[],"
        "\"purposes\":[\"https://w3id.org/dpv#ResearchAndDevelopment\"],"
        "\"processings\":[\"https://w3id.org/dpv/ai#ModelTraining\"]}}]";
    LH_OK(vch_submit_json(b->l, b->s, "terms", terms, sizeof terms - 1, &r, &lh_err));
    LH_OK(lh_submit(b->l, b->s, 7, &r, &lh_err));
    vch_hex(id, r.object.b, 32);
    snprintf(json, sizeof json, "{\"model\":\"%s\",\"scope\":\"triage\"}", id);
    LH_OK(vch_submit_json(b->l, b->s, "deployment", json, strlen(json), &r, &lh_err));
    vch_hex(id, r.object.b, 32);
    unsigned long long since = r.time.ms;
    static const char batch[] = "{\"deployment\":\"%s\",\"first\":0,\"count\":3,\"root\":\"%064x\",\"from\":%llu,"
                                "\"to\":%llu,\"lost\":0}";
    snprintf(json, sizeof json, batch, id, 9, 1ull, since);
    LH_IS(VCH_ERR_CLOCK, vch_submit_json(b->l, b->s, "decisions", json, strlen(json), &r, &lh_err));
    snprintf(json, sizeof json, batch, id, 9, since, since + 86400000);
    LH_IS(VCH_ERR_CLOCK, vch_submit_json(b->l, b->s, "decisions", json, strlen(json), &r, &lh_err));
    snprintf(json, sizeof json, batch, id, 9, since, since);
    LH_OK(vch_submit_json(b->l, b->s, "decisions", json, strlen(json), &r, &lh_err));
    snprintf(json, sizeof json, "{\"deployment\":\"%s\",\"reason\":\"retired\"}", id);
    LH_OK(vch_submit_json(b->l, b->s, "deployment-end", json, strlen(json), &r, &lh_err));

    lists_say_what_there_is(b);
    every_entry_is_json(b);
    vch_text_free(&shown);
    vch_signer_free(lab);
}

static void wrong_json_is_refused_and_named(void **state)
{
    static const struct {
        const char *json, *names;
    } bad[] = {{"{}", "digest"},
               {"{\"name\":\"m\",\"digest\":\"00\"}", "digest"},
               {"{\"name\":\"m\",\"digest\":\"zz\"}", "digest"},
               {"{\"name\":\"m\",\"digest\":7}", "digest"},
               {"{\"name\":\"m\",\"colour\":1}", "colour"},
               {"{\"name\":\"m\"", ""},
               {"[]", "statements"}};
    box_t *b = *state;
    vch_receipt_t r;
    uint64_t size = info_of(b->l).size;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lh_err = (vch_err_t){0};
        vch_rc rc = vch_submit_json(b->l, b->s, "model", bad[i].json, strlen(bad[i].json), &r, &lh_err);
        assert_true(rc == VCH_ERR_FORMAT || rc == VCH_ERR_LIMIT);
        if (!strstr(lh_err.text, bad[i].names)) fail_msg("%s: %s", bad[i].json, lh_err.text);
    }
    LH_IS(VCH_ERR_UNSUPPORTED, vch_submit_json(b->l, b->s, "genesis", "{}", 2, &r, &lh_err));
    LH_IS(VCH_ERR_UNSUPPORTED, vch_submit_json(b->l, b->s, "poem", "{}", 2, &r, &lh_err));
    assert_int_equal(info_of(b->l).size, size);
}

/* ---- transactions made elsewhere ------------------------------------------------------- */

static void make_tx(vch_buf_t *ret, const vch_hash_t *network, const vch_signer_t *s, uint64_t sequence, unsigned i)
{
    static const uint8_t salt[VCH_SALT_LEN] = {1};
    const vch_schema_t *schema = vch_schema(VCH_KIND_MODEL);
    char json[160];
    int n = snprintf(json, sizeof json, "{\"name\":\"tx-%u\",\"digest\":\"%064x\"}", i, i);
    vch_arena_t arena;
    const vch_json_t *tree;
    vch_buf_t fields, statement, entry;
    vch_arena_init(&arena, 1u << 16);
    vch_buf_init(&fields, 4096);
    vch_buf_init(&statement, 4096);
    vch_buf_init(&entry, 65535);
    LH_OK(vch_json_parse(&arena, &tree, vch_slice(json, (size_t)n), &lh_err));
    LH_OK(vch_fields_from_json(&fields, schema->field, schema->fields, tree, &lh_err));
    LH_OK(vch_statement_put(&statement, VCH_KIND_MODEL, salt, vch_buf_slice(&fields)));
    vch_entry_head_t head = {.network = *network, .kind = VCH_KIND_MODEL, .sequence = sequence};
    vch_slice_t one = vch_buf_slice(&statement);
    LH_OK(vch_entry_sign(&entry, &head, &one, 1, s, &lh_err));
    vch_tx_t tx = {vch_buf_slice(&entry), &one, 1};
    vch_buf_init(ret, 1u << 16);
    LH_OK(vch_tx_put(ret, &tx));
    vch_buf_free(&fields);
    vch_buf_free(&statement);
    vch_buf_free(&entry);
    vch_arena_free(&arena);
}

static void submitted_again_it_keeps_its_place(void **state)
{
    box_t *b = *state;
    vch_ledger_info_t info = info_of(b->l);
    vch_hash_t other = {{7}};
    vch_buf_t tx[5];
    make_tx(&tx[0], &info.network, b->s, 1, 0);
    make_tx(&tx[1], &info.network, b->s, 1, 1); /* the same sequence number */
    make_tx(&tx[2], &other, b->s, 2, 2);        /* another network */
    make_tx(&tx[3], &info.network, b->s, 2, 3);
    make_tx(&tx[4], &info.network, b->s, 2, 3); /* the one before, once more */
    const uint8_t *p[5];
    size_t n[5];
    vch_receipt_t r[5], again;
    vch_rc rc[5], one;
    for (size_t i = 0; i < 5; i++) {
        p[i] = tx[i].p;
        n[i] = tx[i].n;
    }
    LH_IS(VCH_ERR_REPLAY, vch_submit(b->l, p, n, 5, r, rc, &lh_err)); /* the first refusal */
    static const vch_rc want[] = {VCH_OK, VCH_ERR_REPLAY, VCH_ERR_NETWORK, VCH_OK, VCH_OK};
    for (size_t i = 0; i < 5; i++) assert_int_equal(rc[i], want[i]);
    assert_int_equal(r[3].index, r[0].index + 1);
    assert_int_equal(r[4].again, 1);
    assert_int_equal(r[4].index, r[3].index);
    LH_OK(vch_submit(b->l, p, n, 1, &again, &one, &lh_err));
    assert_int_equal(again.again, 1);
    assert_int_equal(again.index, r[0].index);
    assert_memory_equal(again.entry.b, r[0].entry.b, 32);
    tx[3].p[tx[3].n - 1] ^= 1; /* a statement that was not signed */
    tx[3].p[60] ^= 1;
    LH_IS(VCH_ERR_FORMAT, vch_submit(b->l, &p[3], &n[3], 1, &again, &one, &lh_err) == VCH_OK ? VCH_OK : VCH_ERR_FORMAT);
    for (size_t i = 0; i < 5; i++) vch_buf_free(&tx[i]);
}

/* ---- names ------------------------------------------------------------------------------ */

static void names_and_prefixes_resolve(void **state)
{
    box_t *b = *state;
    vch_receipt_t r;
    vch_id_t id;
    char hex[65];
    uint64_t index;
    uint32_t statement;
    LH_OK(lh_submit(b->l, b->s, 1, &r, &lh_err));
    vch_hex(hex, r.object.b, 32);
    LH_OK(vch_entry_find(b->l, hex, &index, &statement, &lh_err));
    assert_int_equal(index, r.index);
    hex[9] = 0;
    LH_OK(vch_entry_find(b->l, hex, &index, &statement, &lh_err));
    assert_int_equal(index, r.index);
    vch_hex(hex, r.entry.b, 32);
    LH_OK(vch_entry_find(b->l, hex, &index, &statement, &lh_err));
    assert_int_equal(index, r.index);
    LH_IS(VCH_ERR_USAGE, vch_entry_find(b->l, "1234567", &index, &statement, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_entry_find(b->l, "00000000000000000000", &index, &statement, &lh_err));
    LH_OK(vch_ledger_read_begin(b->l, &lh_err));
    LH_OK(vch_resolve(b->l, 'm', "model-1", &id, &lh_err));
    assert_memory_equal(id.b, r.object.b, 32);
    vch_hex(hex, r.object.b, 32);
    hex[8] = 0;
    LH_OK(vch_resolve(b->l, 'm', hex, &id, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_resolve(b->l, 'm', "model-2", &id, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_resolve(b->l, 'd', "model-1", &id, &lh_err));
    vch_ledger_read_end(b->l);
    LH_OK(lh_submit(b->l, b->s, 1, &r, &lh_err)); /* a second one of that name */
    LH_OK(vch_ledger_read_begin(b->l, &lh_err));
    hex[8] = 0;
    LH_IS(VCH_ERR_CONFLICT, vch_resolve(b->l, 'm', "model-1", &id, &lh_err));
    assert_non_null(strstr(lh_err.text, hex)); /* both ids are named */
    vch_hex(hex, r.object.b, 8);
    assert_non_null(strstr(lh_err.text, hex));
    vch_ledger_read_end(b->l);
}

/* ---- proofs -------------------------------------------------------------------------------- */

static void proofs_verify(void **state)
{
    box_t *b = *state;
    vch_receipt_t r;
    vch_text_t text;
    for (unsigned i = 0; i < 5; i++) LH_OK(lh_submit(b->l, b->s, i, &r, &lh_err));
    for (uint64_t i = 0; i <= r.index; i++) {
        vch_tlog_proof_t *p = calloc(1, sizeof *p);
        vch_note_t *note = calloc(1, sizeof *note);
        vch_checkpoint_t c;
        vch_log_entry_t e;
        vch_arena_t arena;
        vch_hash_t leaf;
        LH_OK(vch_prove_inclusion(b->l, i, &text, &lh_err));
        LH_OK(vch_tlog_proof_get(p, vch_slice(text.p, text.n)));
        LH_OK(vch_note_get(note, p->note));
        LH_OK(vch_checkpoint_get(&c, note->text));
        vch_arena_init(&arena, 1u << 20);
        LH_OK(vch_log_read(b->l->log, i, &arena, &e, &lh_err));
        vch_tree_leaf(&leaf, e.record.entry);
        assert_true(vch_inclusion_verify(i, c.size, &leaf, p->path, p->n, &c.root));
        leaf.b[0] ^= 1;
        assert_false(vch_inclusion_verify(i, c.size, &leaf, p->path, p->n, &c.root));
        uint8_t extra[4096]; /* the leaf itself travels along */
        assert_in_range(e.record.entry.n, 1, sizeof extra);
        LH_OK(vch_base64_fixed(extra, e.record.entry.n, p->extra));
        assert_memory_equal(extra, e.record.entry.p, e.record.entry.n);
        vch_arena_free(&arena);
        vch_text_free(&text);
        free(note);
        free(p);
    }
    LH_IS(VCH_ERR_NOT_FOUND, vch_prove_inclusion(b->l, 1000, &text, &lh_err));
    LH_OK(vch_prove_consistency(b->l, 2, r.index, &text, &lh_err));
    vch_text_free(&text);
    LH_IS(VCH_ERR_USAGE, vch_prove_consistency(b->l, 0, 2, &text, &lh_err));
    LH_IS(VCH_ERR_USAGE, vch_prove_consistency(b->l, 3, 2, &text, &lh_err));
    LH_OK(vch_state_show(b->l, (const uint8_t *)"g", 1, &text, &lh_err));
    assert_non_null(strstr(text.p, "\"present\":true"));
    vch_text_free(&text);
    LH_OK(vch_state_show(b->l, (const uint8_t *)"zzz", 3, &text, &lh_err));
    assert_non_null(strstr(text.p, "\"present\":false"));
    vch_text_free(&text);
}

static void a_checkpoint_is_kept_until_something_changes(void **state)
{
    box_t *b = *state;
    vch_text_t one, two, three;
    vch_receipt_t r;
    LH_OK(vch_ledger_checkpoint(b->l, &one, &lh_err));
    LH_OK(vch_ledger_checkpoint(b->l, &two, &lh_err));
    assert_string_equal(one.p, two.p);
    LH_OK(lh_submit(b->l, b->s, 1, &r, &lh_err));
    LH_OK(vch_ledger_checkpoint(b->l, &three, &lh_err));
    assert_string_not_equal(one.p, three.p);
    assert_int_equal(info_of(b->l).checkpoint_size, info_of(b->l).size);
    vch_text_free(&one);
    vch_text_free(&two);
    vch_text_free(&three);
}

/* ---- derived state ------------------------------------------------------------------------------ */

static void flip_file(const char *dir, const char *name, long at)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDWR);
    uint8_t c;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 0x10;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static void lost_or_damaged_state_is_rebuilt(void **state)
{
    box_t *b = *state;
    vch_receipt_t r;
    for (unsigned i = 0; i < 10; i++) LH_OK(lh_submit(b->l, b->s, i, &r, &lh_err));
    box_close(b);
    box_open(b, 0);
    vch_hash_t root = info_of(b->l).state_root;
    box_close(b);
    lh_run("rm %s/state/data.mdb", b->dir);
    box_open(b, 0);
    assert_int_equal(info_of(b->l).rebuilt, 1);
    assert_memory_equal(info_of(b->l).state_root.b, root.b, 32);
    box_close(b);
    for (long at = 0; at < 16384; at += 1777) { /* any byte: LMDB itself wouldn't notice */
        flip_file(b->dir, "state/data.mdb", at);
        LH_IS(VCH_ERR_CORRUPT, vch_ledger_open(&b->l, b->dir, VCH_LEDGER_NO_REBUILD, &lh_err));
        b->l = NULL;
        box_open(b, 0);
        assert_int_equal(info_of(b->l).rebuilt, 1);
        assert_memory_equal(info_of(b->l).state_root.b, root.b, 32);
        box_close(b);
    }
    lh_run("truncate -s 4096 %s/state/data.mdb", b->dir);
    box_open(b, 0);
    assert_int_equal(info_of(b->l).rebuilt, 1);
    LH_OK(lh_submit(b->l, b->s, 99, &r, &lh_err));
    box_close(b);
    box_open(b, 0);
    assert_int_equal(info_of(b->l).rebuilt, 0);
}

/* A state of another moment, put back beside a log that went another way. */
static void a_state_of_another_log_is_not_used(void **state)
{
    box_t *b = *state;
    vch_receipt_t r;
    box_close(b);
    lh_run("cp -r %1$s/log %1$s/old-log", b->dir);
    box_open(b, 0);
    for (unsigned i = 0; i < 3; i++) LH_OK(lh_submit(b->l, b->s, i, &r, &lh_err));
    box_close(b);
    lh_run("rm -r %1$s/log && mv %1$s/old-log %1$s/log", b->dir);
    box_open(b, 0);
    assert_int_equal(info_of(b->l).rebuilt, 1);
    assert_int_equal(info_of(b->l).size, 2);
}

static void damage_of_the_truth_is_refused(void **state)
{
    box_t *b = *state;
    vch_receipt_t r;
    LH_OK(lh_submit(b->l, b->s, 1, &r, &lh_err));
    box_close(b);
    flip_file(b->dir, "log/seg/00000000000000000000.seg", 700);
    LH_IS(VCH_ERR_CORRUPT, vch_ledger_open(&b->l, b->dir, 0, &lh_err));
    b->l = NULL;
}

/* ---- settings, versions, places --------------------------------------------------------------------- */

static void wrong_files_are_named(void **state)
{
    box_t *b = *state;
    box_close(b);
    lh_run("cp %1$s/FORMAT %1$s/F", b->dir);
    lh_run("sed -i 's/^vouchsafe 1/vouchsafe 2/' %s/FORMAT", b->dir);
    LH_IS(VCH_ERR_VERSION, vch_ledger_open(&b->l, b->dir, 0, &lh_err));
    assert_non_null(strstr(lh_err.text, "version 2"));
    lh_run("tr 0123456789abcdef 123456789abcdef0 < %1$s/F | sed 's/.*ork /network /; 1s/.*/vouchsafe 1/' > %1$s/FORMAT",
           b->dir);
    LH_IS(VCH_ERR_NETWORK, vch_ledger_open(&b->l, b->dir, 0, &lh_err));
    lh_run("cp %1$s/F %1$s/FORMAT", b->dir);
    lh_run("sed -i '5i colour = blue' %s/vouch.conf", b->dir);
    LH_IS(VCH_ERR_FORMAT, vch_ledger_open(&b->l, b->dir, 0, &lh_err));
    assert_non_null(strstr(lh_err.text, "line 5: unknown key"));
    lh_run("sed -i 's/^colour.*/block_ms = soon/' %s/vouch.conf", b->dir);
    LH_IS(VCH_ERR_FORMAT, vch_ledger_open(&b->l, b->dir, 0, &lh_err));
    assert_non_null(strstr(lh_err.text, "line 5: block_ms"));
    lh_run("sed -i '5d' %s/vouch.conf", b->dir);
    LH_IS(VCH_ERR_NOT_FOUND, vch_ledger_open(&b->l, "/tmp", 0, &lh_err));
    b->l = NULL;
    box_open(b, 0);
}

static void identities_are_never_overwritten(void **state)
{
    box_t *b = *state;
    vch_signer_t *s;
    LH_OK(vch_identity_new(b->l, "nurse", NULL, "secret", &lh_err));
    LH_IS(VCH_ERR_CONFLICT, vch_identity_new(b->l, "nurse", NULL, NULL, &lh_err));
    LH_IS(VCH_ERR_USAGE, vch_identity_new(b->l, "log", NULL, NULL, &lh_err));
    LH_IS(VCH_ERR_USAGE, vch_identity_load(b->l, NULL, NULL, &s, &lh_err)); /* two now: which? */
    LH_IS(VCH_ERR_KEY, vch_identity_load(b->l, "nurse", NULL, &s, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_identity_load(b->l, "doctor", NULL, &s, &lh_err));
    LH_OK(vch_identity_load(b->l, "nurse", "secret", &s, &lh_err));
    vch_signer_free(s);
}

static void a_read_only_folder_can_be_read(void **state)
{
    box_t *b = *state;
    vch_receipt_t r;
    vch_text_t text;
    LH_OK(lh_submit(b->l, b->s, 1, &r, &lh_err));
    box_close(b);
    lh_run("chmod -R a-w %s", b->dir);
    box_open(b, VCH_LEDGER_READ_ONLY);
    assert_true(info_of(b->l).size > r.index);
    LH_OK(vch_entry_show(b->l, r.index, &text, &lh_err));
    vch_text_free(&text);
    LH_OK(vch_prove_inclusion(b->l, r.index, &text, &lh_err));
    vch_text_free(&text);
    LH_IS(VCH_ERR_READ_ONLY, lh_submit(b->l, b->s, 2, &r, &lh_err));
    LH_IS(VCH_ERR_READ_ONLY, vch_ledger_checkpoint(b->l, NULL, &lh_err));
    box_close(b);
    if (geteuid() != 0) { /* permissions do not bind root */
        LH_IS(VCH_ERR_READ_ONLY, vch_ledger_open(&b->l, b->dir, 0, &lh_err));
        b->l = NULL;
    }
    lh_run("chmod -R u+w %s", b->dir);
}

/* ---- the clock (simulated) --------------------------------------------------------------------------- */

typedef struct {
    vch_sim_t *sim;
    vch_ledger_t *l;
    vch_signer_t *s;
} sim_box_t;

static void sim_open(sim_box_t *b, unsigned flags)
{
    LH_OK(vch_ledger_open_on(&b->l, vch_sim_port(b->sim), "d", flags, &lh_err));
    LH_OK(vch_identity_load(b->l, NULL, NULL, &b->s, &lh_err));
}

static void sim_close(sim_box_t *b)
{
    vch_signer_free(b->s);
    LH_OK(vch_ledger_close(b->l, &lh_err));
}

static void time_never_runs_back_and_never_jumps(void **state)
{
    (void)state;
    sim_box_t b;
    vch_init_t init = lh_init();
    vch_receipt_t r1, r2, r3;
    LH_OK(vch_sim_new(&b.sim, 1));
    LH_OK(vch_ledger_init_on(vch_sim_port(b.sim), "d", &init, &lh_err));
    sim_open(&b, 0);
    LH_OK(lh_submit(b.l, b.s, 1, &r1, &lh_err));
    vch_sim_clock_jump(b.sim, -3600000);
    vch_sim_clock_step(b.sim, 1000);
    LH_OK(lh_submit(b.l, b.s, 2, &r2, &lh_err));
    assert_int_equal(r2.time.ms, r1.time.ms);
    sim_close(&b);
    sim_open(&b, 0);
    assert_non_null(strstr(info_of(b.l).note, "behind"));
    vch_sim_clock_jump(b.sim, 3600000);
    LH_IS(VCH_ERR_CLOCK, lh_submit(b.l, b.s, 3, &r3, &lh_err));
    LH_IS(VCH_ERR_CLOCK, lh_submit(b.l, b.s, 3, &r3, &lh_err));
    sim_close(&b);
    sim_open(&b, VCH_LEDGER_ACCEPT_CLOCK);
    vch_sim_clock_jump(b.sim, 3600000);
    LH_OK(lh_submit(b.l, b.s, 3, &r3, &lh_err));
    assert_true(r3.time.ms >= r1.time.ms);
    sim_close(&b);
    vch_sim_free(b.sim);
}

/* The machine was started once more, or for the first time. */
static void machine_starts(const sim_box_t *b, char digit)
{
    char id[38];
    memset(id, digit, 36);
    memcpy(id + 36, "\n", 2);
    vch_port_t *port = vch_sim_port(b->sim);
    LH_OK(vch_mkdirs(port, "/proc/sys/kernel/random", &lh_err));
    LH_OK(vch_write_atomic(port, "/proc/sys/kernel/random/boot_id", vch_str(id), 0444, &lh_err));
}

/* Another handle writes, as another process would. */
static vch_rc write_anew(sim_box_t *b, unsigned flags, unsigned i)
{
    vch_receipt_t r;
    sim_open(b, flags);
    lh_err = (vch_err_t){0};
    vch_rc rc = lh_submit(b->l, b->s, i, &r, &lh_err);
    vch_err_t why = lh_err;
    sim_close(b);
    lh_err = why;
    return rc;
}

static void a_jump_is_seen_by_the_next_process(void **state)
{
    (void)state;
    sim_box_t b, other;
    vch_init_t init = lh_init();
    vch_receipt_t r;
    LH_OK(vch_sim_new(&b.sim, 2));
    other.sim = b.sim;
    machine_starts(&b, 'a');
    LH_OK(vch_ledger_init_on(vch_sim_port(b.sim), "d", &init, &lh_err));
    LH_OK(write_anew(&b, 0, 1));
    vch_sim_clock_step(b.sim, 86400000); /* a day goes by on both clocks */
    vch_sim_clock_jump(b.sim, 60000);    /* as far as is allowed */
    LH_OK(write_anew(&b, 0, 2));
    vch_sim_clock_jump(b.sim, 60001);
    LH_IS(VCH_ERR_CLOCK, write_anew(&b, 0, 3));
    assert_non_null(strstr(lh_err.hint, "--accept-clock"));
    LH_IS(VCH_ERR_CLOCK, write_anew(&b, 0, 3)); /* opening again is no way out */
    vch_sim_clock_jump(b.sim, -60001);
    LH_OK(write_anew(&b, 0, 3)); /* setting it right is */
    vch_sim_clock_jump(b.sim, 3600000);
    LH_OK(write_anew(&b, VCH_LEDGER_ACCEPT_CLOCK, 4));
    LH_OK(write_anew(&b, 0, 5)); /* and accepting, for the others as well */
    sim_open(&b, 0);
    LH_OK(lh_submit(b.l, b.s, 6, &r, &lh_err));
    vch_sim_clock_jump(b.sim, 3600000);
    LH_IS(VCH_ERR_CLOCK, lh_submit(b.l, b.s, 7, &r, &lh_err)); /* seen by who has it open … */
    LH_IS(VCH_ERR_CLOCK, write_anew(&other, 0, 7));            /* … and by who opens it beside */
    sim_close(&b);
    LH_IS(VCH_ERR_CLOCK, write_anew(&b, 0, 7));
    machine_starts(&b, 'b');
    LH_OK(write_anew(&b, 0, 7)); /* after a restart nobody can tell */
    vch_sim_clock_jump(b.sim, 3600000);
    LH_IS(VCH_ERR_CLOCK, write_anew(&b, 0, 8));
    LH_OK(vch_write_atomic(vch_sim_port(b.sim), "d/run/clock", vch_str("boot bbbb 1 wall"), 0600, &lh_err));
    LH_OK(write_anew(&b, 0, 8)); /* nor from what is no such file */
    vch_sim_free(b.sim);
}

/* ---- no room ---------------------------------------------------------------------------------------------- */

static void a_full_disk_loses_nothing(void **state)
{
    (void)state;
    char dir[64], inner[80];
    vch_init_t init = lh_init();
    vch_ledger_t *l;
    vch_signer_t *s;
    vch_receipt_t r, last = {0};
    lh_folder(dir);
    if (mount("tmpfs", dir, "tmpfs", 0, "size=2m") != 0) {
        print_message("no tmpfs can be mounted here; the simulated disk stands in (ledger_fault_test)\n");
        lh_remove(dir);
        skip();
    }
    snprintf(inner, sizeof inner, "%s/l", dir);
    LH_OK(vch_ledger_init(inner, &init, &lh_err));
    lh_run("sed -i 's/^min_free_mib.*/min_free_mib = 0/' %s/vouch.conf", inner);
    LH_OK(vch_ledger_open(&l, inner, 0, &lh_err));
    LH_OK(vch_identity_load(l, NULL, NULL, &s, &lh_err));
    vch_rc rc;
    unsigned taken = 0;
    while ((rc = lh_submit(l, s, taken, &r, &lh_err)) == VCH_OK && taken < 20000) {
        last = r;
        taken++;
    }
    assert_int_equal(rc, VCH_ERR_FULL);
    assert_true(taken > 100);
    vch_signer_free(s);
    /* What was acknowledged is there, whether or not there was room to tidy up. */
    rc = vch_ledger_close(l, &lh_err);
    assert_true(rc == VCH_OK || rc == VCH_ERR_FULL);
    LH_OK(vch_ledger_open(&l, inner, VCH_LEDGER_READ_ONLY, &lh_err));
    assert_true(info_of(l).size > last.index);
    LH_OK(vch_ledger_close(l, &lh_err));
    assert_int_equal(umount(dir), 0);
    lh_remove(dir);
}

static void little_room_is_refused_beforehand(void **state)
{
    box_t *b = *state;
    vch_receipt_t r;
    box_close(b);
    lh_run("sed -i 's/^min_free_mib.*/min_free_mib = 1000000000/' %s/vouch.conf", b->dir);
    box_open(b, 0);
    LH_IS(VCH_ERR_FULL, lh_submit(b->l, b->s, 1, &r, &lh_err));
    LH_IS(VCH_ERR_FULL, lh_submit(b->l, b->s, 1, &r, &lh_err)); /* and it goes on living */
    assert_int_equal(info_of(b->l).size, 2);
}

/* ---- threads and processes -------------------------------------------------------------------------------- */

#define EACH 25

typedef struct {
    box_t *b;
    unsigned from;
    vch_receipt_t r[EACH];
    vch_rc rc;
} worker_t;

static void *work(void *arg)
{
    worker_t *w = arg;
    for (unsigned i = 0; i < EACH && w->rc == VCH_OK; i++)
        w->rc = lh_submit(w->b->l, w->b->s, w->from + i, &w->r[i], NULL);
    return NULL;
}

static void write_from_threads(box_t *b)
{
    worker_t w[8] = {0};
    pthread_t thread[8];
    for (unsigned i = 0; i < 8; i++) {
        w[i] = (worker_t){.b = b, .from = i * 1000};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) pthread_join(thread[i], NULL);
    uint8_t seen[4096] = {0};
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(w[i].rc, VCH_OK);
        for (unsigned k = 0; k < EACH; k++) {
            uint64_t index;
            uint32_t statement;
            LH_OK(vch_object_find(b->l, &w[i].r[k].object, &index, &statement, &lh_err));
            assert_int_equal(index, w[i].r[k].index);
            assert_true(index < sizeof seen);
            assert_int_equal(seen[index]++, 0);
        }
    }
}

static void check_finds_nothing(box_t *b)
{
    uint64_t findings;
    box_close(b);
    LH_OK(vch_ledger_check(b->dir, 1, 0, NULL, NULL, &findings, &lh_err));
    assert_int_equal(findings, 0);
    box_open(b, 0);
}

static void threads_share_a_ledger(void **state)
{
    write_from_threads(*state);
    check_finds_nothing(*state);
}

/* Each block is old at once, and worth saving: saves run beside the writers all the time. */
static void saves_beside_the_writers(void **state)
{
    box_t *b = *state;
    uint64_t saved = b->l->saved_at;
    b->l->block_ms = 0;
    b->l->in->save_bytes = 1;
    write_from_threads(b);
    assert_true(b->l->saved_at > saved); /* long before it is closed */
    check_finds_nothing(b);
    assert_int_equal(info_of(b->l).rebuilt, 0);
}

/* A child that appends, and looks at what others appended in between. */
static void child(const char *dir, const char *identity, unsigned from)
{
    vch_ledger_t *l = NULL;
    vch_signer_t *s = NULL;
    vch_receipt_t r;
    vch_ledger_info_t info;
    vch_err_t err = {0};
    uint64_t size = 0;
    int bad = vch_ledger_open(&l, dir, 0, &err) != VCH_OK || vch_identity_load(l, identity, NULL, &s, &err) != VCH_OK;
    for (unsigned i = 0; !bad && i < 40; i++) {
        bad = lh_submit(l, s, from + i, &r, &err) != VCH_OK || vch_ledger_info(l, &info, &err) != VCH_OK;
        if (!bad && (info.size <= r.index || info.size < size)) bad = 2;
        size = info.size;
        if (!bad && i % 10 == 9) bad = vch_ledger_checkpoint(l, NULL, &err) != VCH_OK;
    }
    vch_signer_free(s);
    if (l && vch_ledger_close(l, &err) != VCH_OK) bad = 1;
    if (bad) fprintf(stderr, "child %u: %s\n", from, err.text);
    _exit(bad);
}

static void processes_share_a_directory(void **state)
{
    box_t *b = *state;
    vch_ledger_info_t info;
    uint64_t findings;
    pid_t pid[2];
    box_close(b);
    for (unsigned i = 0; i < 2; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0) child(b->dir, "clinic-a", (i + 1) * 1000);
    }
    LH_OK(vch_ledger_open(&b->l, b->dir, VCH_LEDGER_READ_ONLY, &lh_err));
    uint64_t size = 0;
    for (unsigned looks = 0; looks < 50; looks++) {
        LH_OK(vch_ledger_info(b->l, &info, &lh_err));
        assert_true(info.size >= size);
        size = info.size;
        usleep(2000);
    }
    for (unsigned i = 0; i < 2; i++) {
        int status;
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    LH_OK(vch_ledger_close(b->l, &lh_err));
    box_open(b, 0);
    info = info_of(b->l);
    assert_true(info.size >= 2 + 80);
    vch_text_t list;
    vch_arena_t arena;
    const vch_json_t *tree;
    LH_OK(vch_query(b->l, "models", NULL, &list, &lh_err));
    vch_arena_init(&arena, 16u << 20);
    LH_OK(vch_json_parse(&arena, &tree, vch_slice(list.p, list.n), &lh_err));
    assert_int_equal(tree->count, 80);
    vch_arena_free(&arena);
    vch_text_free(&list);
    box_close(b);
    LH_OK(vch_ledger_check(b->dir, 1, 0, NULL, NULL, &findings, &lh_err));
    assert_int_equal(findings, 0);
    box_open(b, 0);
}

static void two_handles_of_one_process_see_each_other(void **state)
{
    box_t *b = *state, other = {0};
    vch_receipt_t r1, r2;
    snprintf(other.dir, sizeof other.dir, "%s", b->dir);
    box_open(&other, 0);
    for (unsigned i = 0; i < 5; i++) {
        LH_OK(lh_submit(b->l, b->s, 2 * i, &r1, &lh_err));
        LH_OK(lh_submit(other.l, other.s, 2 * i + 1, &r2, &lh_err));
        assert_true(r2.index > r1.index);
        assert_true(info_of(b->l).size > r2.index);
    }
    box_close(&other);
}

/* ---- check --------------------------------------------------------------------------------------------------- */

typedef struct {
    char file[128], text[200];
    size_t n, truth;
    uint64_t byte;
} found_t;

static void note_finding(void *ctx, const vch_finding_t *f)
{
    found_t *found = ctx;
    if (found->n++ == 0 || !f->derived) {
        snprintf(found->file, sizeof found->file, "%s", f->file);
        snprintf(found->text, sizeof found->text, "%s", f->text);
        found->byte = f->byte;
    }
    if (!f->derived) found->truth++;
}

static void check_names_the_file(void **state)
{
    static const struct {
        const char *file;
        long at;
        int truth;
    } damage[] = {{"log/seg/00000000000000000000.seg", 700, 1},
                  {"log/seg/00000000000000000000.seg", 20, 1},
                  {"FORMAT", 3, 1},
                  {"FORMAT", 25, 1},
                  {"vouch.conf", 66, 1},
                  {"trust.policy", 40, 1},
                  {"keys/log.pem", 40, 1},
                  {"keys/clinic-a.pem", 60, 1},
                  {"tlog/checkpoint", 30, 0},
                  {"state/data.mdb", 4200, 0}};
    box_t *b = *state;
    vch_receipt_t r;
    uint64_t findings;
    for (unsigned i = 0; i < 4; i++) LH_OK(lh_submit(b->l, b->s, i, &r, &lh_err));
    box_close(b);
    LH_OK(vch_ledger_check(b->dir, 1, 0, NULL, NULL, &findings, &lh_err));
    assert_int_equal(findings, 0);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        found_t found = {.n = 0};
        flip_file(b->dir, damage[i].file, damage[i].at);
        lh_err = (vch_err_t){0};
        vch_rc rc = vch_ledger_check(b->dir, 1, 0, note_finding, &found, &findings, &lh_err);
        if (rc != (damage[i].truth ? VCH_ERR_CORRUPT : VCH_OK) || found.n == 0 || findings != found.n)
            fail_msg("%s, byte %ld: %s, %zu findings: %s", damage[i].file, damage[i].at, vch_rc_name(rc), found.n,
                     lh_err.text);
        if (!strstr(found.file, damage[i].file)) fail_msg("%s reported as %s", damage[i].file, found.file);
        assert_int_equal(found.truth > 0, damage[i].truth);
        flip_file(b->dir, damage[i].file, damage[i].at);
    }
    flip_file(b->dir, "state/data.mdb", 4200);
    LH_OK(vch_ledger_check(b->dir, 1, 1, NULL, NULL, &findings, &lh_err));
    assert_true(findings > 0);
    LH_OK(vch_ledger_check(b->dir, 1, 0, NULL, NULL, &findings, &lh_err));
    assert_int_equal(findings, 0);
    box_open(b, 0);
    vch_hash_t hash;
    char hex[65], name[128];
    LH_OK(vch_blob_put(b->l, vch_str("a document"), &hash, &lh_err));
    vch_hex(hex, hash.b, 32);
    snprintf(name, sizeof name, "blobs/%.2s/%s", hex, hex);
    box_close(b);
    LH_OK(vch_ledger_check(b->dir, 0, 0, NULL, NULL, &findings, &lh_err));
    flip_file(b->dir, name, 2);
    found_t found = {.n = 0};
    LH_IS(VCH_ERR_CORRUPT, vch_ledger_check(b->dir, 0, 0, note_finding, &found, &findings, &lh_err));
    assert_string_equal(found.file, name);
    box_open(b, 0);
    vch_buf_t got;
    vch_buf_init(&got, 100);
    LH_IS(VCH_ERR_CORRUPT, vch_blob_get(b->l, &hash, 100, &got, &lh_err));
    LH_OK(vch_blob_put(b->l, vch_str("a document"), &hash, &lh_err)); /* writes it again */
    LH_OK(vch_blob_get(b->l, &hash, 100, &got, &lh_err));
    assert_int_equal(got.n, 10);
    vch_buf_free(&got);
}

/* ---- settings edited by hand ---------------------------------------------------------------------------------- */

static void one_finding(box_t *b, const char *file, int derived, const char *says)
{
    found_t found = {.n = 0};
    uint64_t findings;
    lh_err = (vch_err_t){0};
    vch_rc rc = vch_ledger_check(b->dir, 0, 0, note_finding, &found, &findings, &lh_err);
    assert_int_equal(rc, derived ? VCH_OK : VCH_ERR_CORRUPT);
    assert_int_equal(found.n, 1);
    assert_string_equal(found.file, file);
    if (!strstr(found.text, says)) fail_msg("%s: %s", file, found.text);
}

static void no_finding(box_t *b)
{
    uint64_t findings;
    LH_OK(vch_ledger_check(b->dir, 0, 0, NULL, NULL, &findings, &lh_err));
    assert_int_equal(findings, 0);
}

static void edited_settings_are_named_until_accepted(void **state)
{
    box_t *b = *state;
    box_close(b);
    no_finding(b);
    lh_run("echo '# mine' >> %s/vouch.conf", b->dir);
    box_open(b, 0); /* an edit keeps nobody out */
    box_close(b);
    one_finding(b, "vouch.conf", 0, "vouch config accept");
    LH_OK(vch_settings_accept(b->dir, &lh_err));
    no_finding(b);
    lh_run("echo '# mine too' >> %s/trust.policy", b->dir);
    one_finding(b, "trust.policy", 0, "vouch config accept");
    LH_OK(vch_settings_accept(b->dir, &lh_err));
    no_finding(b);
    lh_run("mv %1$s/vouch.conf %1$s/away", b->dir);
    one_finding(b, "vouch.conf", 0, "gone");
    lh_run("mv %1$s/away %1$s/vouch.conf", b->dir);
    /* What can't be opened is not accepted. */
    lh_run("echo 'colour = blue' >> %s/vouch.conf", b->dir);
    LH_IS(VCH_ERR_FORMAT, vch_settings_accept(b->dir, &lh_err));
    assert_non_null(strstr(lh_err.text, "colour"));
    lh_run("sed -i '$d' %s/vouch.conf", b->dir);
    lh_run("echo 'witness nobody' >> %s/trust.policy", b->dir);
    LH_IS(VCH_ERR_FORMAT, vch_settings_accept(b->dir, &lh_err));
    lh_run("sed -i '$d' %s/trust.policy", b->dir);
    no_finding(b);
    LH_IS(VCH_ERR_NOT_FOUND, vch_settings_accept("/tmp", &lh_err));
    /* The list itself: damaged, lost, made again. */
    flip_file(b->dir, "SUMS", 40);
    one_finding(b, "SUMS", 1, "damaged");
    lh_run("rm %s/SUMS", b->dir); /* as an earlier version made it: whoever writes makes one */
    no_finding(b);
    box_open(b, 0);
    lh_run("echo '# mine' >> %s/vouch.conf", b->dir);
    one_finding(b, "vouch.conf", 0, "vouch config accept");
}

/* A damaged key file says so, and not that the passphrase is wrong. */
static void a_damaged_key_file_is_told_from_a_wrong_passphrase(void **state)
{
    box_t *b = *state;
    vch_signer_t *s;
    LH_OK(vch_identity_new(b->l, "sealed", NULL, "open sesame", &lh_err));
    LH_OK(vch_identity_load(b->l, "sealed", "open sesame", &s, &lh_err));
    vch_signer_free(s);
    LH_IS(VCH_ERR_KEY, vch_identity_load(b->l, "sealed", "open barley", &s, &lh_err));
    flip_file(b->dir, "keys/sealed.pem", 300);
    LH_IS(VCH_ERR_CORRUPT, vch_identity_load(b->l, "sealed", "open sesame", &s, &lh_err));
    flip_file(b->dir, "keys/sealed.pem", 300);
    flip_file(b->dir, "keys/sealed.pem", 3); /* its first line only: the key is good, the check names it */
    LH_OK(vch_identity_load(b->l, "sealed", "open sesame", &s, &lh_err));
    vch_signer_free(s);
    one_finding(b, "keys/sealed.pem", 0, "text before the key");
    /* A key file made elsewhere has no such line. */
    lh_run("sed -i 1d %s/keys/sealed.pem", b->dir);
    LH_OK(vch_identity_load(b->l, "sealed", "open sesame", &s, &lh_err));
    vch_signer_free(s);
    no_finding(b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_new_ledger_has_genesis_and_a_checkpoint),
        T(init_refuses_what_is_there_and_what_is_wrong),
        T(entries_are_taken_and_kept),
        T(every_simple_kind_is_taken),
        T(wrong_json_is_refused_and_named),
        T(submitted_again_it_keeps_its_place),
        T(names_and_prefixes_resolve),
        T(a_name_goes_to_one_party),
        T(proofs_verify),
        T(a_checkpoint_is_kept_until_something_changes),
        T(lost_or_damaged_state_is_rebuilt),
        T(a_state_of_another_log_is_not_used),
        T(damage_of_the_truth_is_refused),
        T(wrong_files_are_named),
        T(identities_are_never_overwritten),
        T(a_read_only_folder_can_be_read),
        cmocka_unit_test(time_never_runs_back_and_never_jumps),
        cmocka_unit_test(a_jump_is_seen_by_the_next_process),
        cmocka_unit_test(a_full_disk_loses_nothing),
        T(little_room_is_refused_beforehand),
        T(threads_share_a_ledger),
        T(saves_beside_the_writers),
        T(processes_share_a_directory),
        T(edited_settings_are_named_until_accepted),
        T(a_damaged_key_file_is_told_from_a_wrong_passphrase),
        T(two_handles_of_one_process_see_each_other),
        T(check_names_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
