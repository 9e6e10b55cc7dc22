/* SPDX-License-Identifier: Apache-2.0 */
/* A request's head and its chunks: what is accepted stays inside its bytes, and
 * it makes no difference how the bytes were cut. */
#include <assert.h>

#include "api/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool inside(vch_slice_t s, const uint8_t *data, size_t n)
{
    return s.n == 0 || (s.p >= data && s.p + s.n <= data + n);
}

static void check_head(const uint8_t *data, size_t end)
{
    http_head_t h;
    const char *why = NULL;
    int status = http_head_read(&h, vch_slice(data, end), &why);
    assert(why);
    if (status) return;
    assert(inside(h.path, data, end) && inside(h.query, data, end) && inside(h.host, data, end));
    assert(inside(h.authorization, data, end) && inside(h.content_type, data, end));
    assert(h.path.n > 0 && h.path.n <= HTTP_PATH_MAX && h.path.p[0] == '/');
    assert(h.authorization.n <= HTTP_HEADER_MAX && !(h.chunked && h.length));
    for (size_t i = 0; i + 1 < h.path.n; i++) assert(h.path.p[i] > ' ' && h.path.p[i] < 127);
}

/* Everything at once, then byte by byte. */
static size_t find_end(const uint8_t *data, size_t n, int *ret_status)
{
    size_t seen = 0, end = 0, slow_seen = 0, slow_end = 0;
    *ret_status = http_head_end(data, n, &seen, &end);
    int slow = 0;
    for (size_t i = 0; i <= n && !slow && !slow_end; i++) slow = http_head_end(data, i, &slow_seen, &slow_end);
    if (*ret_status == 0) assert(slow == 0 && slow_end == end);
    return *ret_status ? 0 : end;
}

static int chunks(const uint8_t *data, size_t n, size_t piece, vch_buf_t *body, bool *ret_done)
{
    http_chunks_t c = {.done = false};
    int status = 0;
    vch_buf_init(body, 1000);
    for (size_t at = 0; at < n && !status && !c.done;) {
        size_t used = 0;
        status = http_chunks_take(&c, data + at, vch_min(piece, n - at), &used, body);
        assert(used <= vch_min(piece, n - at));
        at += used;
    }
    *ret_done = c.done;
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int status;
    bool whole_done, slow_done;
    vch_buf_t whole, slow;
    size_t end = find_end(data, n, &status);
    if (end) check_head(data, end);
    int a = chunks(data + end, n - end, SIZE_MAX, &whole, &whole_done);
    int b = chunks(data + end, n - end, 1, &slow, &slow_done);
    assert(a == b && whole_done == slow_done && whole.n <= 1000);
    assert(a || vch_slice_eq(vch_buf_slice(&whole), vch_buf_slice(&slow)));
    vch_buf_free(&whole);
    vch_buf_free(&slow);
    return 0;
}
