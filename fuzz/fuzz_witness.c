/* SPDX-License-Identifier: Apache-2.0 */
/* The body of add-checkpoint, to a witness on a simulated machine that knows
 * the seeds' log: one of the specification's answers, never a smaller tree than
 * before, and what is read is written again as the same bytes.
 *
 * An input that begins with "/" is a path and, behind a newline, a body, asked
 * of the service in each method: an answer of its list, and reading changes
 * nothing. */
#include <assert.h>
#include <string.h>

#include "api/witness_service.h"
#include "entry/note.h"
#include "node/witness.h"
#include "port/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define LOG "log.example/one+ab653337+AexMMEBubIGJB95vYRW1AlAnGeFN57wxgwjdJguoHw8Q"

static vch_witness_t *witness;
static http_service_t service;

static void start(void)
{
    static const char *const logs[] = {LOG};
    vch_sim_t *sim = NULL;
    vch_rc rc = vch_sim_new(&sim, 1);
    if (rc == VCH_OK) rc = vch_witness_init_on(vch_sim_port(sim), "/w", "w.example", logs, 1, NULL);
    if (rc == VCH_OK) rc = vch_witness_open_on(&witness, vch_sim_port(sim), "/w", false, NULL);
    assert(rc == VCH_OK);
    witness_service_t *s = witness_service_new(witness);
    assert(s);
    service = witness_service(s);
}

static void round_trip(vch_slice_t in)
{
    vch_witness_ask_t a;
    vch_buf_t b;
    if (vch_witness_ask_get(&a, in) != VCH_OK) return;
    vch_buf_init(&b, VCH_ASK_BYTES_MAX);
    vch_rc rc = vch_witness_ask_put(&b, a.old, a.path, a.n, a.note);
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&b), in));
    vch_buf_free(&b);
}

typedef struct {
    uint64_t size;
} top_t;

static void keep_size(void *ctx, const vch_witnessed_t *l) { ((top_t *)ctx)->size = l->size; }

static uint64_t size_now(void)
{
    top_t top = {0};
    vch_witness_list(witness, keep_size, &top);
    return top.size;
}

static void ask(http_method_t method, vch_slice_t path, vch_slice_t body)
{
    static const int list[] = {200, 400, 403, 404, 405, 409, 422};
    http_request_t q = {.method = method, .path = path, .body = body};
    http_response_t a = {.status = 0};
    uint64_t before = size_now();
    bool listed = false, adds = method == HTTP_POST && vch_slice_eq(path, vch_str("/add-checkpoint"));
    vch_buf_init(&a.body, 1u << 20);
    service.handle(service.ctx, &q, &a);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) listed |= list[i] == a.status;
    assert(listed && a.type && a.body.n > 0 && (a.status == 405) == (a.allow != NULL));
    assert(adds ? size_now() >= before : size_now() == before);
    vch_buf_free(&a.body);
}

static void ask_every_way(vch_slice_t in)
{
    static const http_method_t method[] = {HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OTHER};
    const uint8_t *end = memchr(in.p, '\n', in.n);
    size_t n = end ? (size_t)(end - in.p) : in.n, used = end ? n + 1 : n;
    for (size_t i = 0; i < sizeof method / sizeof *method; i++)
        ask(method[i], vch_slice(in.p, n), vch_slice(in.p + used, in.n - used));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static top_t before;
    top_t after = {0};
    int status = 0;
    vch_buf_t answer;
    if (!witness) start();
    if (n > 0 && *data == '/') ask_every_way(vch_slice(data, n));
    before.size = size_now();
    round_trip(vch_slice(data, n));
    vch_buf_init(&answer, 1u << 20);
    vch_rc rc = vch_witness_add(witness, vch_slice(data, n), &status, &answer, NULL);
    assert(rc == VCH_OK);
    assert(status == 200 || status == 400 || status == 403 || status == 404 || status == 409 || status == 422);
    assert((answer.n > 0) == (status == 200 || status == 409));
    vch_witness_list(witness, keep_size, &after);
    assert(after.size >= before.size && (status == 200 || after.size == before.size));
    before = after;
    vch_buf_free(&answer);
    return 0;
}
