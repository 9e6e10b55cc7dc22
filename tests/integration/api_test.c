/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger over HTTP, without a socket: what each route answers, and what is
 * refused how. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "api/api_int.h"
#include "api_world.h"
#include "codec/cbor.h"
#include "codec/text.h"
#include "crypto/sha256.h"
#include "entry/receipt.h"
#include "merkle/tree.h"
#include "node/custody_int.h"
#include "tree.h"
#include "vouchsafe/verify.h"

static api_world_t *w;

/* ---- helpers --------------------------------------------------------------------------- */

static const vch_signer_t *auditor(void) { return w->party[AW_AUDITOR]; }

static aw_answer_t get(const char *path) { return aw_get(w, path, auditor()); }

static aw_answer_t post(const char *path, const char *type, vch_slice_t body)
{
    return aw_ask(
        w, &(aw_ask_t){
               .method = HTTP_POST, .path = path, .type = type, .body = body.p, .body_n = body.n, .signer = auditor()});
}

static void is_status(aw_answer_t a, int status)
{
    if (a.status != status) fail_msg("%d instead of %d: %.300s", a.status, status, a.text);
    aw_free(&a);
}

/* A refusal of this kind, in the one form that refusals have. */
static void is_refused(aw_answer_t a, int status, const char *error)
{
    vch_arena_t arena;
    const vch_json_t *o;
    if (a.status != status) fail_msg("%d instead of %d: %.300s", a.status, status, a.text);
    assert_string_equal(a.type, "application/json");
    assert_null(a.cache);
    vch_arena_init(&arena, 1u << 20);
    assert_int_equal(vch_json_parse(&arena, &o, vch_slice(a.text, a.n), NULL), VCH_OK);
    assert_int_equal(o->count, 3);
    const vch_json_t *name = vch_json_get(o, "error"), *text = vch_json_get(o, "text"), *hint = vch_json_get(o, "hint");
    assert_true(name && text && hint && text->text.n > 0);
    if (!vch_slice_eq(name->text, vch_str(error))) fail_msg("%.200s instead of %s", a.text, error);
    assert_null(strstr(a.text, w->dir)); /* where the ledger lies is nobody's business */
    vch_arena_free(&arena);
    aw_free(&a);
}

static uint64_t number_in(const aw_answer_t *a, const char *member)
{
    char name[64];
    snprintf(name, sizeof name, "\"%s\":", member);
    const char *at = strstr(a->text, name);
    if (!at) fail_msg("no %s in %.300s", member, a->text);
    return strtoull(at + strlen(name), NULL, 10);
}

static vch_buf_t base64_in(const vch_json_t *v)
{
    vch_buf_t b;
    vch_buf_init(&b, 1u << 20);
    assert_true(v && v->type == VCH_JSON_STRING);
    assert_int_equal(vch_base64_get(&b, v->text), VCH_OK);
    return b;
}

/* ---- paths, queries, methods ------------------------------------------------------------- */

static void unknown_paths_and_methods_are_refused(void **state)
{
    static const char *const unknown[] = {
        "/",         "/v1",        "/v1/",        "/v1/info/",     "//v1/info",  "/v1//info",
        "/v1/entry", "/v1/entry/", "/V1/info",    "/v1/entry/1/x", "/v1/./info", "/v1/../v1/info",
        "/tile",     "/tile/",     "/etc/passwd", "/v1/info%2f",   "/v1%2finfo", "v1/info",
        "",          "/v1/list"};
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        is_refused(aw_ask(w, &(aw_ask_t){.method = HTTP_GET, .path = unknown[i]}), 404, "ERR_NOT_FOUND");
    aw_answer_t a = aw_ask(w, &(aw_ask_t){.method = HTTP_POST, .path = "/v1/info"});
    assert_string_equal(a.allow, "GET, HEAD");
    is_refused(a, 405, "ERR_USAGE");
    a = aw_ask(w, &(aw_ask_t){.method = HTTP_GET, .path = "/v1/submit"});
    assert_string_equal(a.allow, "POST");
    is_refused(a, 405, "ERR_USAGE");
    is_refused(aw_ask(w, &(aw_ask_t){.method = HTTP_HEAD, .path = "/v1/submit"}), 405, "ERR_USAGE");
    is_refused(aw_ask(w, &(aw_ask_t){.method = HTTP_OTHER, .path = "/v1/info"}), 405, "ERR_USAGE");
    is_refused(aw_ask(w, &(aw_ask_t){.method = HTTP_OTHER, .path = "/nothing"}), 404, "ERR_NOT_FOUND");
    a = aw_ask(w, &(aw_ask_t){.method = HTTP_HEAD, .path = "/v1/list/parties", .signer = auditor()});
    is_status(a, 200);
}

static void parameters_are_read_strictly(void **state)
{
    static const char *const wrong[] = {
        "/v1/entry/x",
        "/v1/entry/-1",
        "/v1/entry/01",
        "/v1/entry/18446744073709551616",
        "/v1/entry/1%2",
        "/v1/entry/1%zz",
        "/v1/entry/1%00",
        "/v1/entry/1?index=2",
        "/v1/entry/1?x=2",
        "/v1/entry/1?x",
        "/v1/entry/1?=",
        "/v1/list/part%2fies",
        "/v1/list/%ff",
        "/v1/list/par\x7fties",
        "/v1/list/p arties",
        "/v1/list/\"parties\"",
        "/v1/list/parties?of=a&of=b",
        "/v1/list/versions?of=cohort-a&of=cohort-a",
        "/v1/list/versions?of=cohort-a&%6ff=cohort-a",
        "/v1/proof/consistency?from=1&to=2&to=2",
        "/v1/list/versions?of=",
        "/v1/list/versions?of=cohort-a&",
        "/v1/list/versions?&of=cohort-a",
        "/v1/list/nothing",
        "/v1/list/parties?of=cohort-a",
        "/v1/proof/consistency?from=1",
        "/v1/proof/consistency?to=1",
        "/v1/proof/consistency?from=2&to=1",
        "/v1/proof/inclusion",
        "/v1/state?key=6",
        "/v1/state?key=zz",
        "/v1/find?id=abcdefg",
        "/v1/sequence?key=00",
        "/v1/subject?dataset=cohort-a",
        "/v1/subject?dataset=cohort-a&subject=0&person=a00",
        "/v1/subject?subject=0",
        "/v1/records?from=999999",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        aw_answer_t a = get(wrong[i]);
        if (a.status != 400) fail_msg("%s: %d %s", wrong[i], a.status, a.text);
        is_refused(a, 400, "ERR_USAGE");
    }
    is_status(get("/v1/list/versions?of=cohort%2Da"), 200);
    is_status(get("/v1/list/%70arties"), 200);
    is_status(get("/v1/proof/consistency?to=2&from=1"), 200);
    is_refused(get("/v1/entry/999999"), 404, "ERR_NOT_FOUND");
    is_refused(get("/v1/subject?dataset=cohort-a&subject=4294967296"), 404, "ERR_NOT_FOUND");
    is_refused(get("/v1/find?id=00000000000000000000000000000000"), 404, "ERR_NOT_FOUND");
}

static void long_paths_and_many_pairs_are_refused(void **state)
{
    static char path[HTTP_PATH_MAX + 64];
    (void)state;
    snprintf(path, sizeof path, "/v1/list/versions?of=");
    memset(path + strlen(path), 'x', HTTP_PATH_MAX - strlen(path));
    is_refused(aw_get(w, path, NULL), 401, "ERR_KEY"); /* long enough, and still read */
    path[strlen(path)] = 'x';
    path[HTTP_PATH_MAX + 1] = 'x';
    is_refused(aw_get(w, path, NULL), 414, "ERR_LIMIT");
    is_refused(get("/v1/list/versions?a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1&l=1&m=1&n=1&o=1&p=1&q=1"), 400,
               "ERR_USAGE");
}

static void bodies_have_the_right_type(void **state)
{
    (void)state;
    vch_slice_t body = vch_str("{\"what\":\"consent\",\"id\":\"cohort-a/0\"}");
    is_refused(post("/v1/bundle", "text/plain", body), 415, "ERR_USAGE");
    is_refused(post("/v1/bundle", NULL, body), 415, "ERR_USAGE");
    is_refused(post("/v1/bundle", "application/jsonx", body), 415, "ERR_USAGE");
    is_status(post("/v1/bundle", "application/json; charset=utf-8", body), 200);
    is_refused(post("/v1/bundle", "application/json", vch_str("")), 400, "ERR_FORMAT");
    is_refused(post("/v1/bundle", "application/json", vch_str("[]")), 400, "ERR_FORMAT");
    is_refused(post("/v1/bundle", "application/json", vch_str("{\"what\":\"consent\"}")), 400, "ERR_FORMAT");
    is_refused(post("/v1/bundle", "application/json", vch_str("{\"what\":\"consent\",\"id\":7}")), 400, "ERR_FORMAT");
    is_refused(post("/v1/bundle", "application/json", vch_str("{\"what\":\"x\",\"id\":\"y\",\"z\":1}")), 400,
               "ERR_FORMAT");
    is_refused(post("/v1/bundle", "application/json", vch_str("{\"what\":\"magic\",\"id\":\"y\"}")), 400, "ERR_USAGE");
    is_refused(post("/v1/bundle", "application/json", vch_str("{\"what\":\"row\",\"id\":\"y\"}")), 400, "ERR_USAGE");
    is_refused(post("/v1/submit", "application/json", vch_str("{}")), 415, "ERR_USAGE");
    aw_answer_t a = aw_ask(w, &(aw_ask_t){.method = HTTP_GET, .path = "/v1/info", .body = "x", .body_n = 1});
    is_refused(a, 400, "ERR_USAGE");
}

static void every_result_has_its_status(void **state)
{
    (void)state;
    aw_answer_t doc = get("/openapi.json");
    aw_free(&doc);
    for (int rc = VCH_OK; rc < VCH_RC_COUNT; rc++) {
        char line[80];
        vch_buf_t text;
        vch_buf_init(&text, 1u << 20);
        assert_int_equal(api_markdown(&text), VCH_OK);
        assert_int_equal(vch_buf_u8(&text, 0), VCH_OK);
        const char *at = strstr((const char *)text.p, "## Results and statuses");
        snprintf(line, sizeof line, " %s", vch_rc_name((vch_rc)rc));
        if (!at || !strstr(at, line)) fail_msg("%s has no status", vch_rc_name((vch_rc)rc));
        vch_buf_free(&text);
    }
}

/* ---- answers are what the table says ---------------------------------------------------------- */

/* The members that `gives` names before a semicolon are all there. */
static void has_members(const char *path, const vch_json_t *o, const char *gives)
{
    char name[64];
    for (const char *p = gives; *p && *p != ';' && *p != ']';) {
        size_t n = strcspn(p, ",;]");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        if (!vch_json_get(o, name)) fail_msg("%s has no \"%s\"", path, name);
        p += n;
        while (*p == ',' || *p == ' ') p++;
    }
}

static void answers_have_the_members_that_are_promised(void **state)
{
    static const char *const ask[] = {"/v1/info",
                                      "/v1/health/live",
                                      "/v1/health/ready",
                                      "/openapi.json",
                                      "/v1/sequence?key=",
                                      "/v1/entry/0",
                                      "/v1/entry/0/statements",
                                      "/v1/find?id=",
                                      "/v1/list/consents?of=cohort-a",
                                      "/v1/list/parties",
                                      "/v1/list/batches",
                                      "/v1/state?key=67",
                                      "/v1/proof/consistency?from=1&to=2",
                                      "/v1/trace?decision=ward-3/0",
                                      "/v1/subject?dataset=cohort-a&subject=5"};
    (void)state;
    for (size_t i = 0; i < sizeof ask / sizeof *ask; i++) {
        char path[256], hex[65] = "";
        vch_arena_t arena;
        const vch_json_t *o;
        vch_keyid_t id = vch_pubkey_id(vch_signer_public(auditor()));
        if (strstr(ask[i], "key=") && ask[i][strlen(ask[i]) - 1] == '=') vch_hex(hex, id.b, 32);
        snprintf(path, sizeof path, "%s%s", ask[i], strstr(ask[i], "id=") ? w->model : hex);
        http_request_t req = {.method = HTTP_GET, .path = vch_slice(path, strcspn(path, "?"))};
        const api_route_t *route = api_route_of(&req);
        assert_non_null(route);
        aw_answer_t a = get(path);
        if (a.status != 200) fail_msg("%s: %s", path, a.text);
        assert_string_equal(a.type, route->answer);
        vch_arena_init(&arena, 16u << 20);
        assert_int_equal(vch_json_parse(&arena, &o, vch_slice(a.text, a.n), NULL), VCH_OK);
        bool list = *route->gives == '[';
        assert_int_equal(o->type, list ? VCH_JSON_ARRAY : VCH_JSON_OBJECT);
        assert_true(o->count > 0);
        has_members(path, list ? o->first : o, route->gives + list);
        vch_arena_free(&arena);
        aw_free(&a);
    }
}

/* ---- the log as files --------------------------------------------------------------------------- */

static void tiles_are_those_of_the_log(void **state)
{
    char path[64];
    uint64_t size = 0;
    vch_buf_t note;
    (void)state;
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    assert_int_equal(vch_log_head(w->l->log, &note, &size, NULL), VCH_OK);
    aw_answer_t a = get("/checkpoint");
    assert_true(a.n == note.n && memcmp(a.text, note.p, a.n) == 0);
    assert_string_equal(a.type, "text/plain; charset=utf-8");
    assert_string_equal(a.cache, "public, max-age=1");
    aw_free(&a);
    vch_buf_free(&note);

    snprintf(path, sizeof path, "/tile/0/000.p/%u", (unsigned)size);
    a = get(path);
    assert_int_equal(a.n, size * 32);
    assert_string_equal(a.type, "application/octet-stream");
    assert_string_equal(a.cache, "private, max-age=31536000, immutable");
    vch_hash_t root, want, *leaf = malloc(a.n);
    memcpy(leaf, a.text, a.n);
    vch_tree_root_in_place(&root, leaf, size);
    assert_int_equal(vch_log_root(w->l->log, size, &want, NULL), VCH_OK);
    assert_memory_equal(root.b, want.b, 32);
    free(leaf);
    aw_free(&a);
}

static void names_that_are_no_tiles_are_not_found(void **state)
{
    static const char *const wrong[] = {"/tile/0/000",
                                        "/tile/0/001",
                                        "/tile/1/000.p/1",
                                        "/tile/0/000.p/0",
                                        "/tile/0/000.p/256",
                                        "/tile/0/000.p/01",
                                        "/tile/00/000",
                                        "/tile/64/000",
                                        "/tile/-1/000",
                                        "/tile/0/x000/000",
                                        "/tile/0/0000",
                                        "/tile/0/00",
                                        "/tile/0/000.p/",
                                        "/tile/0/000.p/1/2",
                                        "/tile/0/000.p",
                                        "/tile/entries/000",
                                        "/tile/0/../000",
                                        "/tile/8/0/000",
                                        "/tile/0/x999/x999/x999/x999/x999/x999/999",
                                        "/tile/data/000",
                                        "/tile/0/%30%30%30",
                                        "/tile/entries//000",
                                        "/tile/0/000/",
                                        "/tile/0/x00/000",
                                        "/tile/0/000.p/1.p/1"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        aw_answer_t a = get(wrong[i]);
        if (a.status != 404) fail_msg("%s: %d", wrong[i], a.status);
        is_refused(a, 404, "ERR_NOT_FOUND");
    }
    /* Close to the name of one that is there. */
    static const char *const nearly[] = {"/tile/0/000.p/%ux",     "/tile/0/000.p/0%u",    "/tile/00/000.p/%u",
                                         "/tile/0/x000/000.p/%u", "/tile/0/0000.p/%u",    "/tile/0/000.p//%u",
                                         "/tile/0/000.p/%u/",     "/tile/0/000.p/%u.p/1", "/tile/0/00.p/%u"};
    char path[64];
    vch_ledger_info_t info;
    assert_int_equal(vch_ledger_info(w->l, &info, NULL), VCH_OK);
    unsigned size = (unsigned)info.checkpoint_size;
    for (size_t i = 0; i < sizeof nearly / sizeof *nearly; i++) {
        const char *mark = strstr(nearly[i], "%u");
        snprintf(path, sizeof path, "%.*s%u%s", (int)(mark - nearly[i]), nearly[i], size, mark + 2);
        is_refused(get(path), 404, "ERR_NOT_FOUND");
    }
    snprintf(path, sizeof path, "/tile/0/000.p/%u", size);
    is_status(get(path), 200);
    snprintf(path, sizeof path, "/tile/0/000.p/%u", size + 1); /* nothing signed it */
    is_refused(get(path), 404, "ERR_NOT_FOUND");
}

/* Entries behind their lengths, as the log has them. */
static void check_bundle(const aw_answer_t *a, uint64_t first, unsigned width)
{
    size_t at = 0;
    vch_arena_t arena;
    vch_arena_init(&arena, 16u << 20);
    for (unsigned i = 0; i < width; i++) {
        vch_log_entry_t e;
        assert_true(a->n - at >= 2);
        size_t n = vch_get_u16((const uint8_t *)a->text + at);
        assert_int_equal(vch_log_read(w->l->log, first + i, &arena, &e, NULL), VCH_OK);
        assert_int_equal(n, e.record.entry.n);
        assert_memory_equal(a->text + at + 2, e.record.entry.p, n);
        at += 2 + n;
    }
    assert_int_equal(at, a->n);
    vch_arena_free(&arena);
}

static void models(unsigned n)
{
    vch_receipt_t r;
    static unsigned number = 1000;
    for (unsigned i = 0; i < n; i++) LH_OK(lh_submit(w->l, w->party[AW_LAB], number++, &r, &lh_err));
}

static void bundles_are_made_from_the_log_when_their_file_is_gone(void **state)
{
    char path[64];
    vch_ledger_info_t info;
    (void)state;
    assert_int_equal(vch_ledger_info(w->l, &info, NULL), VCH_OK);
    uint64_t small = info.checkpoint_size;
    models(300);
    assert_int_equal(vch_ledger_checkpoint(w->l, NULL, NULL), VCH_OK);
    assert_int_equal(vch_ledger_info(w->l, &info, NULL), VCH_OK);
    for (unsigned round = 0; round < 2; round++) {
        aw_answer_t a = get("/tile/entries/000");
        assert_int_equal(a.status, 200);
        check_bundle(&a, 0, 256);
        aw_free(&a);
        snprintf(path, sizeof path, "/tile/entries/001.p/%u", (unsigned)(info.checkpoint_size - 256));
        a = get(path);
        assert_int_equal(a.status, 200);
        check_bundle(&a, 256, (unsigned)(info.checkpoint_size - 256));
        aw_free(&a);
        snprintf(path, sizeof path, "/tile/entries/000.p/%u", (unsigned)small); /* of an older checkpoint */
        a = get(path);
        assert_int_equal(a.status, 200);
        check_bundle(&a, 0, (unsigned)small);
        aw_free(&a);
        is_refused(get("/tile/entries/000.p/255"), 404, "ERR_NOT_FOUND"); /* of no checkpoint */
        is_status(get("/tile/0/000"), 200);
        is_status(get("/tile/1/000.p/1"), 200);
        char folder[96];
        snprintf(folder, sizeof folder, "%s/l/tlog/tile/entries", w->dir);
        assert_int_equal(tree_remove(folder), 0);
    }
    /* A tile that was cut short is damage, and nobody is told where. */
    (void)aw_file(w, "l/tlog/tile/0/000", "short");
    is_refused(get("/tile/0/000"), 500, "ERR_CORRUPT");
    uint64_t findings;
    assert_int_equal(vch_ledger_check(w->ledger, 0, 1, NULL, NULL, &findings, &w->err), VCH_OK);
    is_status(get("/tile/0/000"), 200);
}

/* ---- submissions ----------------------------------------------------------------------------------- */

/* A transaction for the ledger `network`: a model of this number. */
static vch_buf_t transaction_for(const vch_hash_t *network, unsigned number, uint64_t sequence,
                                 const vch_signer_t *signer)
{
    char json[200];
    vch_arena_t arena;
    const vch_json_t *o;
    vch_buf_t fields, statement, entry, tx;
    uint8_t salt[VCH_SALT_LEN] = {(uint8_t)number, (uint8_t)(number >> 8), 1};
    const vch_schema_t *schema = vch_schema(VCH_KIND_MODEL);
    vch_entry_head_t head = {.network = *network, .kind = VCH_KIND_MODEL, .sequence = sequence};
    snprintf(json, sizeof json, "{\"name\":\"m%u\",\"digest\":\"%064x\"}", number, number);
    vch_arena_init(&arena, 1u << 16);
    vch_buf_init(&fields, 4096);
    vch_buf_init(&statement, 4096);
    vch_buf_init(&entry, 4096);
    vch_buf_init(&tx, 1u << 16);
    LH_OK(vch_json_parse(&arena, &o, vch_str(json), &lh_err));
    LH_OK(vch_fields_from_json(&fields, schema->field, schema->fields, o, &lh_err));
    LH_OK(vch_statement_put(&statement, VCH_KIND_MODEL, salt, vch_buf_slice(&fields)));
    vch_slice_t one = vch_buf_slice(&statement);
    LH_OK(vch_entry_sign(&entry, &head, &one, 1, signer, &lh_err));
    LH_OK(vch_tx_put(&tx, &(vch_tx_t){vch_buf_slice(&entry), &one, 1}));
    vch_buf_free(&fields);
    vch_buf_free(&statement);
    vch_buf_free(&entry);
    vch_arena_free(&arena);
    return tx;
}

static vch_buf_t transaction(unsigned number, uint64_t sequence, const vch_signer_t *signer)
{
    return transaction_for(&w->l->network, number, sequence, signer);
}

static uint64_t next_sequence(const vch_signer_t *signer)
{
    char path[128], hex[65];
    vch_keyid_t id = vch_pubkey_id(vch_signer_public(signer));
    vch_hex(hex, id.b, 32);
    snprintf(path, sizeof path, "/v1/sequence?key=%s", hex);
    aw_answer_t a = get(path);
    assert_int_equal(a.status, 200);
    uint64_t n = number_in(&a, "sequence");
    aw_free(&a);
    return n;
}

/* Anybody may carry it: it proves itself. */
static aw_answer_t submit(const vch_buf_t *tx)
{
    return aw_ask(
        w, &(aw_ask_t){
               .method = HTTP_POST, .path = "/v1/submit", .type = "application/cbor", .body = tx->p, .body_n = tx->n});
}

static void is_promised(const aw_answer_t *a, uint64_t index)
{
    vch_arena_t arena;
    const vch_json_t *o;
    vch_promise_t p;
    vch_trust_t *trust = malloc(sizeof *trust);
    vch_promise_finding_t f;
    vch_buf_t policy;
    char path[160];
    vch_arena_init(&arena, 1u << 20);
    vch_buf_init(&policy, 1u << 16);
    LH_OK(vch_json_parse(&arena, &o, vch_slice(a->text, a->n), &lh_err));
    const vch_json_t *file = vch_json_get(o, "receipt");
    assert_non_null(file);
    LH_OK(vch_promise_get(&p, file->text));
    assert_int_equal(p.index, index);
    assert_int_equal(p.by_ms, aw_wall + 5000);
    snprintf(path, sizeof path, "%s/l/trust.policy", w->dir);
    LH_OK(vch_read_all(vch_port_real(), &policy, path, 1u << 16, &lh_err));
    LH_OK(vch_trust_get(trust, vch_buf_slice(&policy), &lh_err));
    LH_OK(vch_ledger_checkpoint(w->l, NULL, &lh_err));
    vch_text_t proof;
    LH_OK(vch_prove_inclusion(w->l, index, &proof, &lh_err));
    LH_OK(vch_promise_judge(&p, trust, vch_slice(proof.p, proof.n), &f));
    assert_int_equal(f.verdict, VCH_PROMISE_KEPT);
    vch_text_free(&proof);
    vch_buf_free(&policy);
    vch_arena_free(&arena);
    free(trust);
}

static void a_submission_gets_its_place_and_a_promise(void **state)
{
    (void)state;
    uint64_t sequence = next_sequence(w->party[AW_LAB]);
    vch_buf_t tx = transaction(1, sequence, w->party[AW_LAB]);
    aw_answer_t a = submit(&tx);
    assert_int_equal(a.status, 200);
    uint64_t index = number_in(&a, "index");
    assert_int_equal(number_in(&a, "statements"), 1);
    assert_int_equal(number_in(&a, "time ms"), aw_wall);
    assert_null(strstr(a.text, "already there"));
    is_promised(&a, index);
    aw_free(&a);
    assert_int_equal(next_sequence(w->party[AW_LAB]), sequence + 1);
    a = submit(&tx); /* again: the old place */
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "\"already there\":true"));
    assert_int_equal(number_in(&a, "index"), index);
    is_promised(&a, index);
    aw_free(&a);
    tx.p[tx.n - 1] ^= 1;
    aw_answer_t other = submit(&tx); /* another statement than the one signed */
    assert_true(other.status == 422 || other.status == 400);
    aw_free(&other);
    vch_buf_free(&tx);
}

/* Well signed, by a party of this ledger, for one of another name. */
static void what_was_signed_for_another_network_is_refused(void **state)
{
    (void)state;
    vch_hash_t network = w->l->network;
    uint64_t sequence = next_sequence(w->party[AW_LAB]), size = vch_log_size(w->l->log);
    network.b[31] ^= 1;
    vch_buf_t tx = transaction_for(&network, 2, sequence, w->party[AW_LAB]);
    aw_answer_t a = submit(&tx);
    assert_int_equal(a.status, 422);
    assert_non_null(strstr(a.text, "ERR_NETWORK"));
    assert_int_equal(vch_log_size(w->l->log), size);
    assert_int_equal(next_sequence(w->party[AW_LAB]), sequence);
    aw_free(&a);
    vch_buf_free(&tx);
    tx = transaction(2, sequence, w->party[AW_LAB]); /* the same for this one */
    a = submit(&tx);
    assert_int_equal(a.status, 200);
    aw_free(&a);
    vch_buf_free(&tx);
}

static void an_access_request_shows_its_outcome(void **state)
{
    char json[512], hex[65];
    (void)state;
    vch_id_t version;
    LH_OK(vch_ledger_read_begin(w->l, &lh_err));
    LH_OK(vch_resolve(w->l, 'v', "cohort-a", &version, &lh_err));
    vch_ledger_read_end(w->l);
    vch_hex(hex, version.b, 32);
    const vch_pubkey_t *key = vch_signer_public(w->party[AW_LAB]);
    char key_hex[80];
    vch_hex(key_hex, key->b, key->n);
    snprintf(json, sizeof json,
             "{\"kind\":\"access\",\"signer\":\"%s\",\"statements\":[{\"version\":\"%s\",\"purpose\":\"" AW_PURPOSE
             "\",\"processing\":\"" AW_PROCESSING "\",\"groups\":[0]}]}",
             key_hex, hex);
    aw_answer_t draft = post("/v1/prepare", "application/json", vch_str(json));
    assert_int_equal(draft.status, 200);
    vch_arena_t arena;
    const vch_json_t *o;
    vch_arena_init(&arena, 1u << 20);
    LH_OK(vch_json_parse(&arena, &o, vch_slice(draft.text, draft.n), &lh_err));
    vch_buf_t to_sign = base64_in(vch_json_get(o, "sign")), entry = base64_in(vch_json_get(o, "entry"));
    vch_buf_t statement = base64_in(vch_json_get(o, "statements")->first), tx;
    for (size_t i = 0; i < 64; i++) assert_int_equal(entry.p[entry.n - 64 + i], 0);
    assert_int_equal(vch_signer_sign(w->party[AW_LAB], entry.p + entry.n - 64, vch_buf_slice(&to_sign)), VCH_OK);
    vch_buf_init(&tx, 1u << 16);
    vch_slice_t one = vch_buf_slice(&statement);
    LH_OK(vch_tx_put(&tx, &(vch_tx_t){vch_buf_slice(&entry), &one, 1}));
    aw_answer_t a = submit(&tx);
    if (a.status != 200) fail_msg("%s", a.text);
    assert_non_null(strstr(a.text, "\"permit\":true"));
    assert_int_equal(number_in(&a, "rows"), 5);
    assert_true(number_in(&a, "expires ms") > aw_wall);
    aw_free(&a);
    aw_free(&draft);
    vch_arena_free(&arena);
    vch_buf_free(&to_sign);
    vch_buf_free(&entry);
    vch_buf_free(&statement);
    vch_buf_free(&tx);
}

static void drafts_are_refused_with_reasons(void **state)
{
    char good[256], json[512];
    (void)state;
    const vch_pubkey_t *key = vch_signer_public(w->party[AW_LAB]);
    vch_hex(good, key->b, key->n);
    static const struct {
        const char *body;
        int status;
        const char *error;
    } wrong[] = {
        {"{}", 400, "ERR_FORMAT"},
        {"{\"kind\":\"model\",\"signer\":\"%s\"}", 400, "ERR_FORMAT"},
        {"{\"kind\":\"model\",\"signer\":\"00\",\"statements\":[]}", 422, "ERR_KEY"},
        {"{\"kind\":\"model\",\"signer\":\"%s\",\"statements\":[]}", 413, "ERR_LIMIT"},
        {"{\"kind\":\"magic\",\"signer\":\"%s\",\"statements\":{}}", 422, "ERR_UNSUPPORTED"},
        {"{\"kind\":\"genesis\",\"signer\":\"%s\",\"statements\":{}}", 422, "ERR_UNSUPPORTED"},
        {"{\"kind\":\"model\",\"signer\":\"%s\",\"statements\":{\"name\":\"m\"}}", 400, "ERR_FORMAT"},
        {"{\"kind\":\"model\",\"signer\":\"%s\",\"statements\":[1]}", 400, "ERR_FORMAT"},
        {"{\"kind\":\"model\",\"signer\":\"%s\",\"statements\":{},\"x\":1}", 400, "ERR_FORMAT"},
        {"{\"kind\":7,\"signer\":\"%s\",\"statements\":{}}", 400, "ERR_FORMAT"},
        {"{\"kind\":\"access\",\"signer\":\"%s\",\"statements\":[{},{}]}", 413, "ERR_LIMIT"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *mark = strstr(wrong[i].body, "%s");
        if (mark)
            snprintf(json, sizeof json, "%.*s%s%s", (int)(mark - wrong[i].body), wrong[i].body, good, mark + 2);
        else
            snprintf(json, sizeof json, "%s", wrong[i].body);
        is_refused(post("/v1/prepare", "application/json", vch_str(json)), wrong[i].status, wrong[i].error);
    }
    vch_hex(good, vch_signer_public(w->stranger)->b, 34);
    snprintf(json, sizeof json,
             "{\"kind\":\"model\",\"signer\":\"%s\",\"statements\":{\"name\":\"m\",\"digest\":\"%064d\"}}", good, 1);
    is_refused(post("/v1/prepare", "application/json", vch_str(json)), 422, "ERR_KEY");
}

#define BATCH 6u

/* Each of a batch gets its own answer. */
static void a_batch_tells_each_its_own_fate(void **state)
{
    (void)state;
    uint64_t sequence = next_sequence(w->party[AW_LAB]), other = next_sequence(w->party[AW_LATE]);
    vch_buf_t tx[BATCH] = {transaction(10, sequence, w->party[AW_LAB]),     transaction(11, sequence, w->party[AW_LAB]),
                           transaction(12, other, w->party[AW_LATE]),       transaction(13, 1, w->stranger),
                           transaction(14, sequence + 1, w->party[AW_LAB]), transaction(15, 5, w->party[AW_DEPOT])};
    tx[5].n = 20; /* cut off */
    static const struct {
        int status;
        const char *error;
    } want[BATCH + 2] = {{200, NULL}, {409, "ERR_REPLAY"}, {200, NULL},        {422, "ERR_KEY"},
                         {200, NULL}, {400, "ERR_FORMAT"}, {415, "ERR_USAGE"}, {400, "ERR_USAGE"}};
    http_request_t req[BATCH + 2];
    http_response_t res[BATCH + 2];
    const http_request_t *preq[BATCH + 2];
    http_response_t *pres[BATCH + 2];
    for (unsigned i = 0; i < BATCH + 2; i++) {
        req[i] = (http_request_t){.method = HTTP_POST,
                                  .path = vch_str("/v1/submit"),
                                  .content_type = vch_str(i == BATCH ? "text/plain" : "application/cbor"),
                                  .query = i == BATCH + 1 ? vch_str("x=1") : vch_slice(NULL, 0),
                                  .body = vch_buf_slice(&tx[i < BATCH ? i : 0])};
        res[i] = (http_response_t){.status = 0};
        vch_buf_init(&res[i].body, AW_ANSWER_MAX);
        preq[i] = &req[i];
        pres[i] = &res[i];
        assert_true(w->service.joins(w->service.ctx, &req[i]));
    }
    w->service.batch(w->service.ctx, preq, pres, BATCH + 2);
    uint64_t index = 0;
    for (unsigned i = 0; i < BATCH + 2; i++) {
        aw_answer_t a = aw_take(&res[i]);
        if (want[i].error) {
            is_refused(a, want[i].status, want[i].error);
            continue;
        }
        if (a.status != 200) fail_msg("%u: %s", i, a.text);
        assert_true(number_in(&a, "index") > index);
        index = number_in(&a, "index");
        is_promised(&a, index);
        aw_free(&a);
    }
    for (unsigned i = 0; i < BATCH; i++) vch_buf_free(&tx[i]);
    assert_false(
        w->service.joins(w->service.ctx, &(http_request_t){.method = HTTP_GET, .path = vch_str("/v1/submit")}));
    assert_false(w->service.joins(w->service.ctx, &(http_request_t){.method = HTTP_POST, .path = vch_str("/v1/info")}));
}

/* ---- readiness and full disks ------------------------------------------------------------------------ */

static void a_full_disk_refuses_writes_and_not_reads(void **state)
{
    (void)state;
    vch_buf_t tx = transaction(20, next_sequence(w->party[AW_LAB]), w->party[AW_LAB]);
    is_status(get("/v1/health/ready"), 200);
    aw_free_bytes = 1u << 20;
    aw_answer_t a = submit(&tx);
    assert_int_equal(a.retry_after_s, 5);
    is_refused(a, 503, "ERR_FULL");
    is_refused(get("/v1/health/ready"), 503, "ERR_FULL");
    is_status(get("/v1/health/live"), 200);
    is_status(get("/v1/list/parties"), 200);
    is_status(get("/v1/proof/inclusion?index=1"), 200);
    aw_free_bytes = UINT64_MAX;
    is_status(get("/v1/health/ready"), 200);
    is_status(submit(&tx), 200); /* and no restart was needed */
    vch_buf_free(&tx);
}

static void what_the_daemon_says_decides_first(void **state)
{
    (void)state;
    vch_buf_t tx = transaction(21, next_sequence(w->party[AW_LAB]), w->party[AW_LAB]);
    api_set_ready(w->api, false, "2 of 3 witnesses have been silent for 10 minutes");
    aw_answer_t a = get("/v1/health/ready");
    assert_non_null(strstr(a.text, "2 of 3 witnesses"));
    is_refused(a, 503, "ERR_UNREACHABLE");
    is_refused(submit(&tx), 503, "ERR_UNREACHABLE");
    is_status(get("/v1/health/live"), 200);
    api_set_ready(w->api, true, NULL);
    is_status(submit(&tx), 200);
    vch_buf_free(&tx);
}

static void a_quorum_that_stays_away_is_told(void **state)
{
    (void)state;
    vch_buf_t tx = transaction(22, next_sequence(w->party[AW_LAB]), w->party[AW_LAB]);
    api_set_witnesses(w->api, 3, 1, false);
    aw_pass(599999);
    is_status(get("/v1/health/ready"), 200);
    api_set_witnesses(w->api, 3, 1, false);
    aw_pass(1);
    aw_answer_t a = get("/v1/health/ready");
    assert_non_null(strstr(a.text, "10 minutes 1 of 3 witnesses"));
    is_refused(a, 503, "ERR_QUORUM");
    is_status(submit(&tx), 200); /* durable and promised all the same */
    api_set_witnesses(w->api, 3, 2, true);
    is_status(get("/v1/health/ready"), 200);
    aw_pass(3600000);
    is_status(get("/v1/health/ready"), 200); /* an idle log asks nobody */
    w->api->gathered = false;
    vch_buf_free(&tx);
}

static void a_clock_that_jumped_is_told(void **state)
{
    (void)state;
    uint64_t before = aw_wall;
    aw_wall += 3600000; /* and the boot clock doesn't */
    is_refused(aw_ask(w, &(aw_ask_t){.method = HTTP_GET, .path = "/v1/health/ready"}), 503, "ERR_CLOCK");
    aw_wall = before;
    is_status(get("/v1/health/ready"), 200);
}

/* ---- signed requests ------------------------------------------------------------------------------------ */

static char *header_for(const vch_signer_t *signer, const char *method, const char *path, const char *body,
                        uint64_t time_ms, uint8_t nonce_byte)
{
    vch_buf_t b;
    uint8_t nonce[16] = {0xee, nonce_byte};
    vch_buf_init(&b, HTTP_HEADER_MAX);
    assert_int_equal(api_authorization_put(&b, signer, method, path, vch_str(body), time_ms, nonce, NULL), VCH_OK);
    assert_int_equal(vch_buf_u8(&b, 0), VCH_OK);
    return (char *)b.p;
}

static aw_answer_t with_header(const char *path, const char *header)
{
    return aw_ask(w, &(aw_ask_t){.method = HTTP_GET, .path = path, .header = header});
}

static aw_answer_t with_token(const char *path, const char *token)
{
    return aw_ask(w, &(aw_ask_t){.method = HTTP_GET, .path = path, .token = token});
}

static void a_signed_request_is_good_once(void **state)
{
    (void)state;
    char *h = header_for(auditor(), "GET", "/v1/list/parties", "", aw_wall, 1);
    is_status(with_header("/v1/list/parties", h), 200);
    is_refused(with_header("/v1/list/parties", h), 401, "ERR_REPLAY");
    aw_pass(59000);
    is_refused(with_header("/v1/list/parties", h), 401, "ERR_REPLAY");
    aw_pass(20000);
    is_refused(with_header("/v1/list/parties", h), 401, "ERR_EXPIRED");
    aw_wall -= 79000; /* the clock is set back: block time, or what was forgotten, still says no */
    is_refused(with_header("/v1/list/parties", h), 401, "ERR_REPLAY");
    aw_boot += 200000;
    aw_answer_t a = with_header("/v1/list/parties", h);
    assert_int_equal(a.status, 401);
    aw_free(&a);
    aw_wall += 279000;
    vch_free(h);
}

static void a_stolen_request_is_good_for_nothing_else(void **state)
{
    static const char *const elsewhere[] = {"/v1/list/datasets", "/v1/list/parties?of=x", "/v1/records?from=0",
                                            "/v1/list/partie%73"};
    (void)state;
    char *h = header_for(auditor(), "GET", "/v1/list/parties", "", aw_wall, 2);
    for (size_t i = 0; i < 4; i++) is_refused(with_header(elsewhere[i], h), 401, "ERR_SIGNATURE");
    is_refused(aw_ask(w, &(aw_ask_t){.method = HTTP_HEAD, .path = "/v1/list/parties", .header = h}), 401,
               "ERR_SIGNATURE");
    is_status(with_header("/v1/list/parties", h), 200); /* what was refused didn't use it up */
    vch_free(h);
    const char *body = "{\"what\":\"consent\",\"id\":\"cohort-a/0\"}",
               *worse = "{\"what\":\"consent\",\"id\":\"cohort-a/1\"}";
    h = header_for(auditor(), "POST", "/v1/bundle", body, aw_wall, 3);
    aw_ask_t q = {.method = HTTP_POST, .path = "/v1/bundle", .type = "application/json", .body = worse, .header = h};
    q.body_n = strlen(worse);
    is_refused(aw_ask(w, &q), 401, "ERR_SIGNATURE");
    q.body = body;
    q.body_n = strlen(body);
    is_status(aw_ask(w, &q), 200);
    vch_free(h);
}

static void a_request_has_its_time(void **state)
{
    static const struct {
        int64_t off;
        int status;
    } when[] = {{0, 200},    {-59999, 200}, {-60000, 200}, {-60001, 401},
                {9999, 200}, {10000, 200},  {10001, 401},  {86400000, 401}};
    (void)state;
    aw_pass(200000);
    for (uint8_t i = 0; i < sizeof when / sizeof *when; i++) {
        char *h =
            header_for(auditor(), "GET", "/v1/list/parties", "", aw_wall + (uint64_t)when[i].off, (uint8_t)(10 + i));
        is_status(with_header("/v1/list/parties", h), when[i].status);
        vch_free(h);
    }
    char *h = header_for(auditor(), "GET", "/v1/list/parties", "", UINT64_MAX, 30);
    is_status(with_header("/v1/list/parties", h), 401);
    vch_free(h);
}

/* A node that was started again remembers no nonce, so it takes nothing older. */
static void a_restart_forgets_no_replay(void **state)
{
    api_options_t options = {.version = "test"};
    api_t *again;
    (void)state;
    char *h = header_for(auditor(), "GET", "/v1/list/parties", "", aw_wall, 40);
    is_status(with_header("/v1/list/parties", h), 200);
    aw_pass(10);
    LH_OK(api_new(&again, w->l, &options, &lh_err));
    http_service_t before = w->service;
    w->service = api_service(again);
    is_refused(with_header("/v1/list/parties", h), 401, "ERR_EXPIRED");
    vch_free(h);
    is_status(get("/v1/list/parties"), 200);
    w->service = before;
    api_free(again);
}

static void damaged_headers_are_refused(void **state)
{
    (void)state;
    char *h = header_for(auditor(), "GET", "/v1/list/parties", "", aw_wall, 50);
    size_t n = strlen(h);
    for (size_t i = 0; i < n; i++) {
        char old = h[i];
        h[i] = old == 'A' ? 'B' : 'A';
        aw_answer_t a = with_header("/v1/list/parties", h);
        if (a.status != 401) fail_msg("byte %zu changed: %d", i, a.status);
        aw_free(&a);
        h[i] = old;
    }
    for (size_t cut = 1; cut < n; cut += 7) {
        char *part = strndup(h, n - cut);
        is_status(with_header("/v1/list/parties", part), 401);
        free(part);
    }
    is_status(with_header("/v1/list/parties", h), 200);
    vch_free(h);
    static const char *const other[] = {"Basic YTpi", "Bearer",   "Bearer ",
                                        "Vouch",      "Vouch ",   "vouch x",
                                        "x",          "Bearer x", "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) is_status(with_header("/v1/list/parties", other[i]), 401);
    is_status(with_header("/v1/info", "Basic YTpi"), 200); /* open routes look at no credentials */
}

/* A key of no party leaves nothing behind, as often as it asks. */
static void strangers_fill_no_memory(void **state)
{
    (void)state;
    char *h = header_for(w->stranger, "GET", "/v1/list/parties", "", aw_wall, 60);
    is_refused(with_header("/v1/list/parties", h), 403, "ERR_ROLE");
    is_refused(with_header("/v1/list/parties", h), 403, "ERR_ROLE");
    vch_free(h);
    h = header_for(w->subject_a0, "GET", "/v1/list/consents?of=cohort-a/0", "", aw_wall, 61);
    is_status(with_header("/v1/list/consents?of=cohort-a/0", h), 200);
    is_refused(with_header("/v1/list/consents?of=cohort-a/0", h), 401, "ERR_REPLAY");
    vch_free(h);
}

/* Whoever signs more than can be remembered must wait: nothing is forgotten early. */
static void more_nonces_than_room_are_pushed_back(void **state)
{
    (void)state;
    aw_pass(300000);
    w->api->nonces.max = 40;
    char *first = header_for(auditor(), "GET", "/v1/list/parties", "", aw_wall, 80);
    is_status(with_header("/v1/list/parties", first), 200);
    for (unsigned i = 1; i < 40; i++) is_status(get("/v1/entry/0"), 200);
    aw_answer_t a = get("/v1/entry/0");
    assert_true(a.retry_after_s > 0);
    is_refused(a, 429, "ERR_LIMIT");
    is_refused(with_header("/v1/list/parties", first), 401, "ERR_REPLAY");
    is_status(with_token("/v1/entry/0", w->token[0].text), 200); /* others go on */
    aw_pass(76000);
    is_status(get("/v1/entry/0"), 200);
    w->api->nonces.max = 1u << 17;
    vch_free(first);
}

/* Twice as many as one generation holds, over two of its lives. */
static void nonces_are_remembered_and_forgotten(void **state)
{
    (void)state;
    char *first = header_for(auditor(), "GET", "/v1/list/parties", "", aw_wall, 70);
    is_status(with_header("/v1/list/parties", first), 200);
    for (unsigned i = 0; i < 3000; i++) is_status(get("/v1/find?id=0000000000000000000000000000000000000000"), 404);
    is_refused(with_header("/v1/list/parties", first), 401, "ERR_REPLAY");
    aw_pass(30000);
    is_refused(with_header("/v1/list/parties", first), 401, "ERR_REPLAY");
    vch_free(first);
    aw_pass(300000);
    for (unsigned i = 0; i < 1000; i++) is_status(get("/v1/find?id=0000000000000000000000000000000000000000"), 404);
}

/* Questions that cost much are answered one at a time. */
static void costly_questions_are_pushed_back(void **state)
{
    static const char *const heavy[] = {"/v1/trace?decision=ward-3/0", "/v1/affected"};
    static const char *const strange[] = {"/v1/list/consents?of=cohort-a/5", "/v1/subject?dataset=cohort-a&person=a05"};
    (void)state;
    pthread_mutex_lock(&w->api->heavy);
    pthread_mutex_lock(&w->api->strangers);
    for (unsigned i = 0; i < 2; i++) {
        aw_answer_t a = get(heavy[i]);
        assert_true(a.retry_after_s > 0);
        is_refused(a, 429, "ERR_LIMIT");
        is_refused(aw_get(w, strange[i], w->subject_a5), 429, "ERR_LIMIT");
        is_status(get(strange[i]), 200); /* who is known needn't wait */
    }
    is_refused(aw_get(w, heavy[0], NULL), 401, "ERR_KEY"); /* who may not know isn't told of it either */
    pthread_mutex_unlock(&w->api->strangers);
    pthread_mutex_unlock(&w->api->heavy);
    for (unsigned i = 0; i < 2; i++) {
        is_status(get(heavy[i]), 200);
        is_status(aw_get(w, strange[i], w->subject_a5), 200);
    }
}

/* An entry that speaks of several subjects is none of theirs alone. */
static void one_of_several_subjects_sees_only_itself(void **state)
{
    char path[64];
    (void)state;
    is_status(aw_get(w, "/v1/list/consents?of=cohort-a/1", w->subject_a1), 200);
    snprintf(path, sizeof path, "/v1/entry/%llu/statements", (unsigned long long)w->at_consent_a123);
    is_refused(aw_get(w, path, w->subject_a1), 403, "ERR_ROLE");
    snprintf(path, sizeof path, "/v1/entry/%llu/statements", (unsigned long long)w->at_consent_a0);
    is_refused(aw_get(w, path, w->subject_a1), 403, "ERR_ROLE");
    is_status(aw_get(w, path, w->subject_a0), 200);
}

/* Every kind of asker at every class; with [ledger] read = parties. */
static void classes_let_in_whom_they_name(void **state)
{
    static const struct {
        api_asker_t who;
        const char *expect; /* open, read, party, entitled, auditor, operator */
    } people[] = {
        {{.kind = API_NOBODY}, "y-----"},
        {{.kind = API_NOBODY, .local = true}, "yy----"},
        {{.kind = API_NOBODY, .local = true, .is_operator = true, .reads_all = true}, "yy----"},
        {{.kind = API_KEY}, "y--y--"},
        {{.kind = API_KEY, .local = true, .is_operator = true}, "yy-y--"},
        {{.kind = API_MEMBER}, "yyyy--"},
        {{.kind = API_MEMBER, .local = true}, "yyyy--"},
        {{.kind = API_MEMBER, .reads_all = true}, "yyyyy-"},
        {{.kind = API_MEMBER, .is_operator = true}, "yyyy--"},
        {{.kind = API_MEMBER, .is_operator = true, .local = true}, "yyyyyy"},
        {{.kind = API_TOKEN, .scope = VCH_SCOPE_READ}, "yyy---"},
        {{.kind = API_TOKEN, .scope = VCH_SCOPE_READ, .local = true}, "yyy---"},
        {{.kind = API_TOKEN, .scope = VCH_SCOPE_STATEMENTS}, "yyyy--"},
        {{.kind = API_TOKEN, .scope = VCH_SCOPE_OPERATOR}, "yyyyyy"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof people / sizeof *people; i++)
        for (int class = API_OPEN; class <= API_OPERATOR; class ++) {
            static api_call_t c;
            c = (api_call_t){.api = w->api, .l = w->l, .who = people[i].who};
            vch_rc rc = api_admit(&c, (api_who_t) class);
            bool in = people[i].expect[class] == 'y';
            if (in != (rc == VCH_OK)) fail_msg("asker %zu, class %d: %s", i, class, vch_rc_name(rc));
            if (!in) assert_int_equal(c.status, people[i].who.kind == API_NOBODY ? 401 : 403);
        }
}

/* ---- tokens ---------------------------------------------------------------------------------------------- */

static void tokens_come_and_go(void **state)
{
    vch_token_t t, u;
    vch_text_t list;
    struct stat st;
    char path[160], bytes[8192] = "";
    (void)state;
    LH_OK(vch_token_new(w->l, "robot-7", "read", 30, &t, &lh_err));
    LH_OK(vch_token_new(w->l, "robot-8", "read", 30, &u, &lh_err));
    assert_int_equal(strlen(t.text), 43);
    assert_int_equal(strspn(t.text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
    assert_string_not_equal(t.text, u.text);
    is_status(with_token("/v1/list/parties", t.text), 200);
    LH_IS(VCH_ERR_CONFLICT, vch_token_new(w->l, "robot-7", "read", 30, &u, &lh_err));
    LH_IS(VCH_ERR_USAGE, vch_token_new(w->l, "no blanks", "read", 30, &u, &lh_err));
    LH_IS(VCH_ERR_USAGE, vch_token_new(w->l, "-x", "read", 30, &u, &lh_err));
    LH_IS(VCH_ERR_USAGE, vch_token_new(w->l, "x", "write", 30, &u, &lh_err));
    LH_IS(VCH_ERR_USAGE, vch_token_new(w->l, "x", "read", 0, &u, &lh_err));
    LH_IS(VCH_ERR_USAGE, vch_token_new(w->l, "x", "read", 4000, &u, &lh_err));
    snprintf(path, sizeof path, "%s/l/tokens", w->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    FILE *f = fopen(path, "rb");
    assert_true(fread(bytes, 1, sizeof bytes - 1, f) > 0);
    fclose(f);
    assert_null(strstr(bytes, t.text)); /* only its hash is kept */
    LH_OK(vch_token_list(w->l, &list, &lh_err));
    assert_non_null(strstr(list.p, "\"name\":\"robot-7\",\"scope\":\"read\""));
    assert_non_null(strstr(list.p, "\"expired\":true")); /* "old" of the set-up */
    assert_null(strstr(list.p, t.text));
    vch_text_free(&list);
    LH_OK(vch_token_revoke(w->l, "robot-7", &lh_err));
    is_refused(with_token("/v1/list/parties", t.text), 401, "ERR_KEY");
    LH_IS(VCH_ERR_NOT_FOUND, vch_token_revoke(w->l, "robot-7", &lh_err));
    is_status(with_token("/v1/list/parties", w->token[0].text), 200); /* the others stay */
    t.text[0] = t.text[0] == 'A' ? 'B' : 'A';
    is_refused(with_token("/v1/list/parties", t.text), 401, "ERR_KEY");
}

static void a_damaged_list_of_tokens_lets_nobody_in(void **state)
{
    char path[160], good[8192] = "";
    uint64_t findings;
    (void)state;
    snprintf(path, sizeof path, "%s/l/tokens", w->dir);
    FILE *f = fopen(path, "rb");
    size_t n = fread(good, 1, sizeof good - 1, f);
    fclose(f);
    for (size_t i = 0; i < n + 4; i += i < n - 4 ? 5 : 1) {
        char old = good[i];
        size_t cut = i < n ? n : n - (i - n + 1); /* each fifth byte changed, then cut off at the end */
        if (i < n) good[i] ^= 1;
        char kept = good[cut];
        good[cut] = 0;
        (void)aw_file(w, "l/tokens", good);
        is_refused(with_token("/v1/list/parties", w->token[0].text), 500, "ERR_CORRUPT");
        vch_token_t t;
        LH_IS(VCH_ERR_CORRUPT, vch_token_new(w->l, "more", "read", 1, &t, &lh_err));
        good[cut] = kept;
        if (i < n) good[i] = old;
    }
    LH_IS(VCH_ERR_CORRUPT, vch_ledger_check(w->ledger, 0, 0, NULL, NULL, &findings, &lh_err));
    (void)aw_file(w, "l/tokens", "");
    is_refused(with_token("/v1/list/parties", w->token[0].text), 401, "ERR_KEY");
    good[n] = 0;
    (void)aw_file(w, "l/tokens", good);
    is_status(with_token("/v1/list/parties", w->token[0].text), 200);
}

/* ---- which row is whose --------------------------------------------------------------------------------------- */

static uint64_t find_kind(const char *kind)
{
    char want[64];
    vch_ledger_info_t info;
    LH_OK(vch_ledger_info(w->l, &info, &lh_err));
    snprintf(want, sizeof want, "\"kind\":\"%s\"", kind);
    for (uint64_t i = info.size; i-- > 0;) {
        vch_text_t text;
        LH_OK(vch_entry_show(w->l, i, &text, &lh_err));
        bool is = strstr(text.p, want) != NULL;
        vch_text_free(&text);
        if (is) return i;
    }
    fail_msg("no entry of kind %s", kind);
    return 0;
}

/* A column of rows' subjects names no dataset, but it is about one. */
static void whose_rows_are_whose_is_for_the_custodian(void **state)
{
    char path[64];
    vch_receipt_t r;
    vch_ingest_t in;
    const struct {
        const vch_signer_t *who;
        int status;
    } people[] = {{w->party[AW_CLINIC_A], 200},
                  {auditor(), 200},
                  {w->party[AW_CLINIC_B], 403},
                  {w->party[AW_LAB], 403},
                  {w->party[AW_DEPOT], 403},
                  {w->subject_a0, 403},
                  {NULL, 401}};
    (void)state;
    const char *csv = aw_file(w, "visits", "visit,patient,age\n1,x2,5\n2,x1,6\n3,x2,7\n4,x3,8\n");
    vch_dataset_spec_t spec = {.name = "visits", .header_csv = csv, .subject_col = "patient", .key_col = "visit"};
    LH_OK(vch_dataset_create(w->l, w->party[AW_CLINIC_A], &spec, &r, &lh_err));
    LH_OK(vch_dataset_add(w->l, w->party[AW_CLINIC_A], "visits", csv, NULL, NULL, NULL, &in, &lh_err));
    snprintf(path, sizeof path, "/v1/entry/%llu/statements", (unsigned long long)find_kind("subjects"));
    for (size_t i = 0; i < sizeof people / sizeof *people; i++)
        is_status(aw_get(w, path, people[i].who), people[i].status);
    is_status(with_token(path, w->token[0].text), 403);
    is_status(with_token(path, w->token[1].text), 200);
    uint64_t count;
    const char *paper = aw_file(w, "paper.csv", "x1,Research,2079-01-01,give\n");
    LH_OK(vch_consent_record(w->l, w->party[AW_CLINIC_A], "visits", paper, &count, &lh_err));
    LH_OK(vch_access_request(w->l, w->party[AW_LAB], "visits", AW_PURPOSE, AW_PROCESSING, NULL, 0, &r, &lh_err));
    assert_true(r.permit);
    is_status(aw_get(w, path, w->party[AW_LAB]), 200); /* a grant on that dataset now lives */
    is_status(aw_get(w, path, w->party[AW_LATE]), 403);
}

/* ---- what the custodian's files hold --------------------------------------------------------------------------- */

/* An ingest that was cut off leaves subjects behind that never were. */
static void subjects_that_never_were_have_no_key(void **state)
{
    static const vch_hash_t id;
    char hex[65];
    cwriter_t file;
    vch_buf_t record;
    (void)state;
    vch_keyid_t key = vch_pubkey_id(vch_signer_public(w->stranger));
    vch_hex(hex, w->dataset_a.b, 32);
    vch_buf_init(&record, 256);
    LH_OK(vch_buf_put(&record, key.b, 32));
    LH_OK(vch_buf_put(&record, "ghost", 5));
    LH_OK(cw_open(&file, w->l, hex, CF_SUBJECTS, AW_ROWS, &id, 0, &lh_err));
    LH_OK(cw_put(&file, vch_buf_slice(&record), &lh_err));
    LH_OK(cw_finish(&file, &lh_err));
    vch_buf_free(&record);
    LH_OK(vch_subject_given_key(w->l, &w->dataset_a, AW_ROWS, &key, &lh_err)); /* it is there to be found */
    is_refused(aw_get(w, "/v1/subject?dataset=cohort-a&subject=6", w->stranger), 403, "ERR_ROLE");
    is_refused(aw_get(w, "/v1/list/consents?of=cohort-a/6", w->stranger), 403, "ERR_ROLE");
}

/* Where a file should lie is not told to those who ask. */
static void missing_files_are_not_named(void **state)
{
    char there[160], away[160];
    (void)state;
    snprintf(there, sizeof there, "%s/l/trust.policy", w->dir);
    snprintf(away, sizeof away, "%s/away", w->dir);
    assert_int_equal(rename(there, away), 0);
    is_refused(get("/v1/trace?decision=ward-3/0"), 404, "ERR_NOT_FOUND"); /* looks for paths in the text */
    assert_int_equal(rename(away, there), 0);
    is_status(get("/v1/trace?decision=ward-3/0"), 200);
}

/* ---- evidence, records ---------------------------------------------------------------------------------------- */

static void bundles_verify_offline(void **state)
{
    char body[256], path[160];
    const struct {
        const char *what, *id;
    } kind[] = {{"decision", "ward-3/1"}, {"access", w->grant}, {"consent", "cohort-a/0"}, {"lineage", w->model}};
    vch_buf_t policy;
    vch_report_t report;
    const size_t arena_n = (size_t)VCH_BUNDLE_BYTES_MAX + (16u << 20);
    void *arena = malloc(arena_n);
    (void)state;
    vch_buf_init(&policy, 1u << 16);
    snprintf(path, sizeof path, "%s/l/trust.policy", w->dir);
    LH_OK(vch_read_all(vch_port_real(), &policy, path, 1u << 16, &lh_err));
    for (size_t i = 0; i < 4; i++) {
        snprintf(body, sizeof body, "{\"id\":\"%s\",\"what\":\"%s\"}", kind[i].id, kind[i].what);
        aw_answer_t a = post("/v1/bundle", "application/json", vch_str(body));
        assert_int_equal(a.status, 200);
        assert_string_equal(a.type, "application/cbor");
        LH_OK(vch_bundle_verify(&report, (const uint8_t *)a.text, a.n, (const char *)policy.p, policy.n, NULL, arena,
                                arena_n, &lh_err));
        assert_int_equal(report.status, VCH_VERIFY_OK);
        aw_free(&a);
    }
    vch_buf_free(&policy);
    free(arena);
}

static void records_are_the_log(void **state)
{
    vch_ledger_info_t info;
    (void)state;
    assert_int_equal(vch_ledger_info(w->l, &info, NULL), VCH_OK);
    aw_answer_t a = get("/v1/records?from=3&to=9");
    assert_string_equal(a.type, "application/cbor-seq");
    vch_cbor_t c = vch_cbor_over(vch_slice(a.text, a.n));
    for (uint64_t i = 3; i < 9; i++) {
        vch_arena_t arena;
        vch_log_entry_t e;
        uint64_t parts, index, height, time, count;
        vch_slice_t entry, statement;
        vch_arena_init(&arena, 16u << 20);
        LH_OK(vch_log_read(w->l->log, i, &arena, &e, &lh_err));
        LH_OK(vch_cbor_get_array(&c, &parts));
        assert_int_equal(parts, 5);
        LH_OK(vch_cbor_get_uint(&c, &index));
        LH_OK(vch_cbor_get_uint(&c, &height));
        LH_OK(vch_cbor_get_uint(&c, &time));
        LH_OK(vch_cbor_get_bytes(&c, &entry));
        LH_OK(vch_cbor_get_array(&c, &count));
        assert_true(index == i && height == e.height && time == e.time.ms && count == e.record.count);
        assert_true(vch_slice_eq(entry, e.record.entry));
        for (uint64_t k = 0; k < count; k++) {
            LH_OK(vch_cbor_get_bytes(&c, &statement));
            assert_true(vch_slice_eq(statement, e.record.statements[k]));
        }
        vch_arena_free(&arena);
    }
    assert_true(vch_cbor_done(&c));
    aw_free(&a);
    char path[64];
    snprintf(path, sizeof path, "/v1/records?from=%llu", (unsigned long long)info.size);
    a = get(path); /* nothing is there yet */
    assert_true(a.status == 200 && a.n == 0);
    aw_free(&a);
}

/* Whoever knows a model sees whom it must forget, and nobody else's. */
static void affected_models_are_told_to_those_they_concern(void **state)
{
    const uint32_t subject[] = {2}, owner[] = {2};
    vch_receipt_t r;
    (void)state;
    aw_answer_t a = aw_get(w, "/v1/affected", w->party[AW_CLINIC_A]);
    assert_string_equal(a.text, "[]");
    aw_free(&a);
    LH_OK(
        vch_consent_withdraw(w->l, w->party[AW_CLINIC_A], w->wallet, "cohort-a", subject, owner, 1, NULL, &r, &lh_err));
    const struct {
        const vch_signer_t *who;
        bool sees;
    } people[] = {
        {w->party[AW_CLINIC_A], true}, {w->party[AW_LAB], true}, {auditor(), true}, {w->party[AW_CLINIC_B], false}};
    for (size_t i = 0; i < 4; i++) {
        a = aw_get(w, "/v1/affected", people[i].who);
        assert_int_equal(a.status, 200);
        assert_true((strstr(a.text, w->model) != NULL) == people[i].sees);
        assert_true((strstr(a.text, "\"subjects\":[2]") != NULL) == people[i].sees);
        aw_free(&a);
    }
}

/* ---- metrics --------------------------------------------------------------------------------------------------------
 */

static uint64_t metric(const aw_answer_t *a, const char *line)
{
    char want[200];
    snprintf(want, sizeof want, "\n%s ", line);
    const char *at = strstr(a->text, want);
    if (!at) fail_msg("no %s in\n%s", line, a->text);
    return strtoull(at + strlen(want), NULL, 10);
}

/* Every line is a comment, or a name with a number behind it. */
static void check_exposition(const char *text)
{
    for (const char *p = text; *p; p = strchr(p, '\n') + 1) {
        const char *end = strchr(p, '\n');
        assert_non_null(end);
        if (*p == '#') continue;
        assert_int_equal(strncmp(p, "vouchsafe_", 10), 0);
        const char *blank = end;
        while (blank > p && *blank != ' ') blank--;
        char *stop;
        (void)strtod(blank + 1, &stop);
        assert_ptr_equal(stop, end);
    }
}

static void metrics_count_what_happens(void **state)
{
    (void)state;
    aw_answer_t a = get("/metrics"), b;
    assert_string_equal(a.type, "text/plain; version=0.0.4; charset=utf-8");
    check_exposition(a.text);
    is_status(get("/v1/list/parties"), 200);
    is_status(aw_get(w, "/v1/list/parties", NULL), 401);
    is_status(get("/nothing"), 404);
    vch_buf_t tx = transaction(30, next_sequence(w->party[AW_LAB]), w->party[AW_LAB]);
    is_status(submit(&tx), 200);
    vch_buf_free(&tx);
    b = get("/metrics");
    static const struct {
        const char *line;
        uint64_t more;
    } grown[] = {
        {"vouchsafe_requests_total{route=\"/v1/list/{what}\",method=\"GET\",status=\"200\"}", 1},
        {"vouchsafe_requests_total{route=\"/v1/list/{what}\",method=\"GET\",status=\"401\"}", 1},
        {"vouchsafe_requests_total{route=\"none\",method=\"none\",status=\"404\"}", 1},
        {"vouchsafe_submissions_total{outcome=\"OK\"}", 1},
        {"vouchsafe_refused_requests_total{reason=\"missing\"}", 1},
        {"vouchsafe_submit_batch_seconds_count", 1},
        {"vouchsafe_entries", 1},
    };
    for (size_t i = 0; i < sizeof grown / sizeof *grown; i++) {
        uint64_t before = metric(&a, grown[i].line), after = metric(&b, grown[i].line);
        if (after < before + grown[i].more)
            fail_msg("%s: %llu, then %llu", grown[i].line, (unsigned long long)before, (unsigned long long)after);
    }
    assert_int_equal(metric(&b, "vouchsafe_ready"), 1);
    assert_null(strstr(b.text, "vouchsafe_witness"));
    assert_int_equal(metric(&b, "vouchsafe_unsequenced_entries"), 0);
    aw_free(&a);
    aw_free(&b);
    api_set_witnesses(w->api, 3, 2, true);
    a = get("/metrics");
    check_exposition(a.text);
    assert_int_equal(metric(&a, "vouchsafe_witnesses"), 3);
    assert_int_equal(metric(&a, "vouchsafe_witnesses_cosigned"), 2);
    assert_int_equal(metric(&a, "vouchsafe_witness_quorum"), 1);
    aw_free(&a);
}

static void the_age_of_the_checkpoint_is_told(void **state)
{
    (void)state;
    LH_OK(vch_ledger_checkpoint(w->l, NULL, &lh_err));
    vch_ledger_info_t info;
    LH_OK(vch_ledger_info(w->l, &info, &lh_err));
    uint64_t age = (aw_wall - info.time.ms) / 1000;
    aw_answer_t a = get("/metrics");
    assert_int_equal(metric(&a, "vouchsafe_checkpoint_age_seconds"), age);
    assert_int_equal(metric(&a, "vouchsafe_unsigned_age_seconds"), 0);
    aw_free(&a);
    aw_pass(7000);
    a = get("/metrics");
    assert_int_equal(metric(&a, "vouchsafe_checkpoint_age_seconds"), age + 7);
    aw_free(&a);
}

/* Names, keys, tokens and numbers that were asked for with must not come back
 * in what an operator's tools collect. */
static void metrics_name_nobody(void **state)
{
    static const char *const canary[] = {"canary-7f3a", "a00", "a01", "cohort-a", "ward-3", "robot", "clinic", "lab"};
    (void)state;
    is_status(get("/v1/subject?dataset=canary-7f3a&person=canary-7f3a"), 404);
    is_status(get("/v1/canary-7f3a"), 404);
    is_status(get("/v1/list/canary-7f3a?of=canary-7f3a"), 400);
    is_status(get("/v1/subject?dataset=cohort-a&person=a00"), 200);
    is_status(with_token("/v1/list/parties", "canary-7f3a"), 401);
    is_status(with_header("/v1/list/parties", "canary-7f3a"), 401);
    is_refused(post("/v1/bundle", "application/json", vch_str("{\"what\":\"lineage\",\"id\":\"canary-7f3a\"}")), 404,
               "ERR_NOT_FOUND");
    aw_answer_t a = get("/metrics");
    for (size_t i = 0; i < sizeof canary / sizeof *canary; i++)
        if (strstr(a.text, canary[i])) fail_msg("%s is in\n%s", canary[i], a.text);
    for (unsigned i = 0; i < 3; i++) assert_null(strstr(a.text, w->token[i].text));
    aw_free(&a);
    /* A log names the route. */
    http_request_t req = {.method = HTTP_GET, .path = vch_str("/v1/subject"), .query = vch_str("person=canary-7f3a")};
    assert_string_equal(api_route_of(&req)->path, "/v1/subject");
    req.path = vch_str("/v1/canary-7f3a");
    assert_null(api_route_of(&req));
}

/* ---- many at once
 * ----------------------------------------------------------------------------------------------------- */

#define THREADS 6u
#define ROUNDS 25u

typedef struct {
    unsigned number, good, pushed_back;
    vch_buf_t tx[ROUNDS];
} worker_t;

static void *hammer(void *ctx)
{
    static const char *const path[] = {"/v1/list/parties",
                                       "/metrics",
                                       "/v1/list/consents?of=cohort-a",
                                       "/v1/proof/inclusion?index=2",
                                       "/checkpoint",
                                       "/v1/entry/3/statements",
                                       "/v1/trace?decision=ward-3/0",
                                       "/v1/state?key=67",
                                       "/v1/subject?dataset=cohort-a&subject=5"};
    worker_t *t = ctx;
    for (unsigned i = 0; i < ROUNDS; i++) {
        aw_answer_t a = aw_get(w, path[(t->number + i) % 9], i % 3 ? auditor() : w->party[AW_CLINIC_A]);
        t->good += a.status == 200;
        t->pushed_back += a.status == 429;
        if (a.status != 200 && a.status != 429) print_error("%s: %s\n", path[(t->number + i) % 9], a.text);
        aw_free(&a);
        if (t->number % 2) continue;
        a = submit(&t->tx[i]);
        t->good += a.status == 200;
        if (a.status != 200) print_error("%s\n", a.text);
        aw_free(&a);
        if (i % 8 == 0 && api_reload(w->api, NULL) != VCH_OK) t->good -= 1000;
    }
    return NULL;
}

static void many_ask_at_once(void **state)
{
    static worker_t t[THREADS];
    pthread_t thread[THREADS];
    unsigned good = 0, pushed_back = 0;
    (void)state;
    uint64_t sequence = next_sequence(w->party[AW_LAB]);
    for (unsigned i = 0; i < THREADS; i++) {
        t[i].number = i;
        for (unsigned k = 0; i % 2 == 0 && k < ROUNDS; k++)
            t[i].tx[k] = transaction(2000 + i * ROUNDS + k, sequence++, w->party[AW_LAB]);
    }
    for (unsigned i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, hammer, &t[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        good += t[i].good;
        pushed_back += t[i].pushed_back;
        for (unsigned k = 0; k < ROUNDS; k++) vch_buf_free(&t[i].tx[k]);
    }
    assert_int_equal(good + pushed_back, THREADS * ROUNDS + THREADS / 2 * ROUNDS);
}

/* ---- set-up
 * ------------------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    w = api_world_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    api_world_free(w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_paths_and_methods_are_refused),
        cmocka_unit_test(parameters_are_read_strictly),
        cmocka_unit_test(long_paths_and_many_pairs_are_refused),
        cmocka_unit_test(bodies_have_the_right_type),
        cmocka_unit_test(every_result_has_its_status),
        cmocka_unit_test(answers_have_the_members_that_are_promised),
        cmocka_unit_test(tiles_are_those_of_the_log),
        cmocka_unit_test(names_that_are_no_tiles_are_not_found),
        cmocka_unit_test(a_submission_gets_its_place_and_a_promise),
        cmocka_unit_test(what_was_signed_for_another_network_is_refused),
        cmocka_unit_test(an_access_request_shows_its_outcome),
        cmocka_unit_test(drafts_are_refused_with_reasons),
        cmocka_unit_test(a_batch_tells_each_its_own_fate),
        cmocka_unit_test(a_full_disk_refuses_writes_and_not_reads),
        cmocka_unit_test(what_the_daemon_says_decides_first),
        cmocka_unit_test(a_quorum_that_stays_away_is_told),
        cmocka_unit_test(a_clock_that_jumped_is_told),
        cmocka_unit_test(a_signed_request_is_good_once),
        cmocka_unit_test(a_stolen_request_is_good_for_nothing_else),
        cmocka_unit_test(a_request_has_its_time),
        cmocka_unit_test(a_restart_forgets_no_replay),
        cmocka_unit_test(damaged_headers_are_refused),
        cmocka_unit_test(strangers_fill_no_memory),
        cmocka_unit_test(nonces_are_remembered_and_forgotten),
        cmocka_unit_test(more_nonces_than_room_are_pushed_back),
        cmocka_unit_test(costly_questions_are_pushed_back),
        cmocka_unit_test(one_of_several_subjects_sees_only_itself),
        cmocka_unit_test(classes_let_in_whom_they_name),
        cmocka_unit_test(tokens_come_and_go),
        cmocka_unit_test(a_damaged_list_of_tokens_lets_nobody_in),
        cmocka_unit_test(whose_rows_are_whose_is_for_the_custodian),
        cmocka_unit_test(subjects_that_never_were_have_no_key),
        cmocka_unit_test(missing_files_are_not_named),
        cmocka_unit_test(bundles_verify_offline),
        cmocka_unit_test(records_are_the_log),
        cmocka_unit_test(affected_models_are_told_to_those_they_concern),
        cmocka_unit_test(metrics_count_what_happens),
        cmocka_unit_test(the_age_of_the_checkpoint_is_told),
        cmocka_unit_test(metrics_name_nobody),
        cmocka_unit_test(many_ask_at_once),
        cmocka_unit_test(bundles_are_made_from_the_log_when_their_file_is_gone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
