/* SPDX-License-Identifier: Apache-2.0 */
/* What a node sends: HTTP that comes in any pieces, and the JSON of each answer.
 * The first byte says which.  However the bytes of HTTP are cut, the same comes
 * out; no answer leads a reader out of its bytes, and an error's words never
 * steer a terminal. */
#include <assert.h>
#include <stdlib.h>

#include "api/http_client_int.h"
#include "node/remote_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define BODY_MAX 4096u

typedef struct {
    http_reply_t reply;
    vch_buf_t body;
    vch_rc rc;
    size_t eaten;
} heard_t;

/* In pieces of `piece` bytes, as they would come over a line. */
static heard_t *hear(vch_slice_t in, size_t piece)
{
    heard_t *h = calloc(1, sizeof *h);
    assert(h);
    vch_buf_init(&h->body, BODY_MAX);
    http_reply_begin(&h->reply);
    while (h->rc == VCH_OK && h->eaten < in.n && !http_reply_done(&h->reply)) {
        size_t some = vch_min(piece, in.n - h->eaten), eaten = 0;
        h->rc = http_reply_feed(&h->reply, vch_slice(in.p + h->eaten, some), &eaten, &h->body, NULL);
        assert(eaten <= some && (h->rc != VCH_OK || eaten == some || http_reply_done(&h->reply)));
        h->eaten += eaten;
    }
    if (h->rc == VCH_OK) h->rc = http_reply_closed(&h->reply, NULL);
    return h;
}

static void heard_free(heard_t *h)
{
    vch_buf_free(&h->body);
    free(h);
}

static void check_http(vch_slice_t in)
{
    heard_t *whole = hear(in, in.n ? in.n : 1);
    assert(whole->body.n <= BODY_MAX);
    if (whole->rc == VCH_OK) assert(whole->reply.status >= 200 && whole->reply.status <= 999);
    for (size_t piece = 1; piece < 9; piece += 3) {
        heard_t *cut = hear(in, piece);
        assert(cut->rc == whole->rc);
        if (whole->rc == VCH_OK) {
            assert(cut->eaten == whole->eaten && cut->reply.status == whole->reply.status);
            assert(cut->reply.keep == whole->reply.keep && cut->reply.retry_after_s == whole->reply.retry_after_s);
            assert(vch_slice_eq(vch_buf_slice(&cut->body), vch_buf_slice(&whole->body)));
        }
        heard_free(cut);
    }
    heard_free(whole);
}

static void check_url(vch_slice_t in)
{
    char text[2048];
    http_url_t u;
    if (in.n >= sizeof text) return;
    if (in.n) memcpy(text, in.p, in.n);
    text[in.n] = 0;
    if (http_url_get(&u, text, NULL) != VCH_OK) return;
    assert(u.target.n > 0 && u.target.p[0] == '/' && (u.is_unix || u.port > 0));
    assert((const char *)u.target.p >= text && (const char *)u.target.p + u.target.n == text + strlen(text));
    for (size_t i = 0; u.authority[i]; i++) assert(u.authority[i] > ' ');
}

static void check_bundle(vch_slice_t in)
{
    if (in.n == 0) return;
    unsigned width = in.p[0] ? in.p[0] : 256;
    vch_slice_t bundle = vch_slice(in.p + 1, in.n - 1), entry;
    size_t sum = 0;
    for (unsigned i = 0; i < width; i++) {
        if (rm_bundle_get(&entry, bundle, width, i, NULL) != VCH_OK) {
            assert(i == 0); /* all of it is good, or none */
            return;
        }
        assert(entry.p >= bundle.p && entry.p + entry.n <= bundle.p + bundle.n);
        sum += 2 + entry.n;
    }
    assert(sum == bundle.n);
    vch_rc rc = rm_bundle_get(&entry, bundle, width, width, NULL);
    assert(rc != VCH_OK);
}

static void check_error(vch_slice_t in)
{
    vch_err_t err = {.rc = VCH_OK};
    int status = in.n ? 300 + in.p[0] : 400;
    vch_rc rc = rm_error_get(&err, status, in);
    assert(rc != VCH_OK && err.rc == rc && err.text[0]);
    for (const char *c = err.text; *c; c++) assert((uint8_t)*c >= ' ' && *c != 127);
    for (const char *c = err.hint; *c; c++) assert((uint8_t)*c >= ' ' && *c != 127);
}

static void check_receipt(vch_slice_t in)
{
    rm_receipt_t r;
    if (rm_receipt_get(&r, in, NULL) != VCH_OK) return;
    assert(memchr(r.receipt.rule, 0, sizeof r.receipt.rule));
    vch_buf_free(&r.promise);
}

static void check_state(vch_slice_t in)
{
    rm_state_t s;
    vch_buf_t value;
    vch_buf_init(&value, 65536);
    vch_rc rc = rm_state_get(&s, &value, vch_str("g"), in, NULL);
    assert(rc == VCH_OK || value.n == 0);
    vch_buf_free(&value);
}

/* A leaf of 64 bytes at most, then what is told of it. */
static void check_entry(vch_slice_t in)
{
    vch_err_t err = {.rc = VCH_OK};
    size_t n = in.n ? vch_min(in.p[0], in.n - 1) : 0;
    if (in.n == 0) return;
    vch_rc rc = rm_entry_check(3, vch_slice(in.p + 1, n), vch_slice(in.p + 1 + n, in.n - 1 - n), &err);
    assert(rc == VCH_OK || (err.rc == rc && err.text[0]));
}

static void check_rest(vch_slice_t in)
{
    rm_info_t info;
    rm_subject_t subject;
    rm_consistency_t c;
    rm_place_t place;
    uint64_t number;
    if (rm_info_get(&info, in, NULL) == VCH_OK)
        assert(memchr(info.origin, 0, sizeof info.origin) && memchr(info.vkey, 0, sizeof info.vkey));
    if (rm_subject_get(&subject, in, NULL) == VCH_OK) assert(subject.path_n <= VCH_PATH_HASHES_MAX);
    if (rm_consistency_get(&c, in, NULL) == VCH_OK) assert(c.n <= VCH_PATH_HASHES_MAX);
    if (rm_place_get(&place, in, NULL) == VCH_OK) assert(rm_number_get(&number, "index", in, NULL) == VCH_OK);
    vch_rc list = rm_json_check(in, VCH_JSON_ARRAY, NULL), object = rm_json_check(in, VCH_JSON_OBJECT, NULL);
    assert(list != VCH_OK || object != VCH_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static void (*const check[])(vch_slice_t) = {check_http,  check_url,     check_bundle, check_error,
                                                 check_state, check_receipt, check_rest,   check_entry};
    if (n == 0) return 0;
    check[data[0] % (sizeof check / sizeof *check)](vch_slice(data + 1, n - 1));
    return 0;
}
