/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json.h"

/* ---- reading --------------------------------------------------------------------- */

typedef struct {
    vch_arena_t *arena;
    vch_slice_t in;
    size_t at; /* next byte */
    vch_err_t *err;
} reader_t;

static vch_rc refuse(const reader_t *r, vch_rc rc, const char *why)
{
    return vch_fail(r->err, rc, "JSON, byte %zu: %s", r->at + 1, why);
}

static vch_rc arena_full(const reader_t *r) { return refuse(r, VCH_ERR_LIMIT, "the document needs too much memory"); }

/* The next byte, or -1 at the end. */
static int look(const reader_t *r) { return r->at < r->in.n ? r->in.p[r->at] : -1; }

static bool take(reader_t *r, char c)
{
    if (look(r) != (unsigned char)c) return false;
    r->at++;
    return true;
}

static void skip_space(reader_t *r)
{
    while (take(r, ' ') || take(r, '\t') || take(r, '\n') || take(r, '\r'))
        ;
}

static size_t take_digits(reader_t *r)
{
    size_t from = r->at;
    while (look(r) >= '0' && look(r) <= '9') r->at++;
    return r->at - from;
}

/* ---- numbers: [-] int [frac] [exp], RFC 8259 section 6 ---- */

static bool to_integer(vch_slice_t text, int64_t *ret)
{
    bool negative = text.p[0] == '-';
    int64_t v = 0;
    for (size_t i = negative; i < text.n; i++) {
        int64_t digit = text.p[i] - '0';
        if (__builtin_mul_overflow(v, 10, &v)) return false;
        if (__builtin_add_overflow(v, negative ? -digit : digit, &v)) return false;
    }
    *ret = v;
    return true;
}

static vch_rc read_number(reader_t *r, vch_json_t *node)
{
    size_t from = r->at;
    bool plain = true;
    take(r, '-');
    if (!take(r, '0') && take_digits(r) == 0) return refuse(r, VCH_ERR_FORMAT, "a value was expected");
    if (take(r, '.')) {
        plain = false;
        if (take_digits(r) == 0) return refuse(r, VCH_ERR_FORMAT, "a digit was expected");
    }
    if (take(r, 'e') || take(r, 'E')) {
        plain = false;
        if (!take(r, '+')) take(r, '-');
        if (take_digits(r) == 0) return refuse(r, VCH_ERR_FORMAT, "a digit was expected");
    }
    if (r->at - from > VCH_JSON_NUMBER_MAX) return refuse(r, VCH_ERR_LIMIT, "the number is too long");
    node->type = VCH_JSON_NUMBER;
    node->text = vch_slice(r->in.p + from, r->at - from);
    node->integral = plain && to_integer(node->text, &node->integer);
    return VCH_OK;
}

/* ---- strings ---- */

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_hex4(reader_t *r, uint32_t *ret)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(look(r));
        if (digit < 0) return false;
        v = v << 4 | (uint32_t)digit;
        r->at++;
    }
    *ret = v;
    return true;
}

static size_t utf8_encode(uint8_t *to, uint32_t c)
{
    if (c < 0x80) {
        to[0] = (uint8_t)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6) to[i] = (uint8_t)(0x80 | (c & 0x3f));
    to[0] = (uint8_t)(lead[n] | c);
    return n;
}

/* \uXXXX, or a pair of them for what lies beyond the basic plane. */
static vch_rc read_unicode(reader_t *r, uint8_t **to)
{
    uint32_t c, low;
    if (!read_hex4(r, &c)) return refuse(r, VCH_ERR_FORMAT, "four hex digits were expected");
    if (c >= 0xdc00 && c <= 0xdfff) return refuse(r, VCH_ERR_FORMAT, "a lone surrogate");
    if (c >= 0xd800 && c <= 0xdbff) {
        if (!take(r, '\\') || !take(r, 'u') || !read_hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
            return refuse(r, VCH_ERR_FORMAT, "a lone surrogate");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    *to += utf8_encode(*to, c);
    return VCH_OK;
}

static vch_rc read_escape(reader_t *r, uint8_t **to)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (take(r, 'u')) return read_unicode(r, to);
    int c = look(r);
    const char *found = c > 0 ? strchr(names, c) : NULL;
    if (!found) return refuse(r, VCH_ERR_FORMAT, "an unknown escape");
    r->at++;
    *(*to)++ = (uint8_t)values[found - names];
    return VCH_OK;
}

/* Find the closing quote; the bytes between still carry their escapes. */
static vch_rc scan_string(reader_t *r, vch_slice_t *ret_raw, bool *ret_escaped)
{
    size_t from = r->at;
    bool escaped = false;
    for (;; r->at++) {
        int c = look(r);
        if (c == '"') break;
        if (c < 0) return refuse(r, VCH_ERR_FORMAT, "the input ends inside a string");
        if (c < 0x20) return refuse(r, VCH_ERR_FORMAT, "a control character in a string");
        if (c != '\\') continue;
        escaped = true;
        if (++r->at == r->in.n) return refuse(r, VCH_ERR_FORMAT, "the input ends inside a string");
    }
    *ret_raw = vch_slice(r->in.p + from, r->at - from);
    *ret_escaped = escaped;
    return VCH_OK;
}

static vch_rc unescape(reader_t *r, vch_slice_t raw, vch_slice_t *ret)
{
    uint8_t *out = vch_arena_alloc(r->arena, raw.n), *to = out; /* an escape is never shorter than its bytes */
    if (!out) return arena_full(r);
    reader_t in = *r;
    in.in.n = (size_t)(raw.p - r->in.p) + raw.n;
    in.at = (size_t)(raw.p - r->in.p);
    while (in.at < in.in.n) {
        uint8_t c = in.in.p[in.at++];
        if (c == '\\')
            VCH_TRY(read_escape(&in, &to));
        else
            *to++ = c;
    }
    *ret = vch_slice(out, (size_t)(to - out));
    return VCH_OK;
}

static vch_rc read_string(reader_t *r, vch_slice_t *ret)
{
    vch_slice_t raw;
    bool escaped = false;
    if (!take(r, '"')) return refuse(r, VCH_ERR_FORMAT, "a string was expected");
    VCH_TRY(scan_string(r, &raw, &escaped));
    if (!vch_utf8_valid(raw)) return refuse(r, VCH_ERR_FORMAT, "this string is not UTF-8");
    if (escaped) VCH_TRY(unescape(r, raw, &raw));
    r->at++;
    *ret = raw;
    return VCH_OK;
}

/* ---- containers ---- */

/* RFC 8785 section 3.2.3 sorts by UTF-16 code units.  That is the order of the
 * UTF-8 bytes, but for U+E000..U+FFFF (lead bytes EE, EF), which come after
 * the surrogates of what lies beyond the basic plane (lead bytes F0..F4). */
static int unit_rank(uint8_t c) { return c == 0xee || c == 0xef ? c + 0x10 : c; }

static int name_order(vch_slice_t a, vch_slice_t b)
{
    size_t n = vch_min(a.n, b.n), i = 0;
    while (i < n && a.p[i] == b.p[i]) i++;
    if (i < n) return unit_rank(a.p[i]) - unit_rank(b.p[i]);
    return a.n < b.n ? -1 : a.n > b.n;
}

static void sift_down(const vch_json_t **heap, size_t root, size_t n)
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && name_order(heap[child]->name, heap[child + 1]->name) < 0) child++;
        if (name_order(heap[root]->name, heap[child]->name) >= 0) return;
        const vch_json_t *tmp = heap[root];
        heap[root] = heap[child];
        heap[child] = tmp;
    }
}

/* Heap sort: no memory of its own and no quadratic worst case to attack. */
static void sort_members(const vch_json_t **m, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sift_down(m, i, n);
    for (size_t end = n; end-- > 1;) {
        const vch_json_t *tmp = m[0];
        m[0] = m[end];
        m[end] = tmp;
        sift_down(m, 0, end);
    }
}

static vch_rc order_members(reader_t *r, vch_json_t *object)
{
    object->order = vch_arena_array(r->arena, object->count, sizeof(vch_json_t *));
    if (!object->order) return arena_full(r);
    size_t n = 0;
    for (const vch_json_t *m = object->first; m; m = m->next) object->order[n++] = m;
    sort_members(object->order, n);
    for (size_t i = 1; i < n; i++)
        if (name_order(object->order[i - 1]->name, object->order[i]->name) == 0)
            return refuse(r, VCH_ERR_FORMAT, "this object uses a name twice");
    return VCH_OK;
}

static vch_rc read_value(reader_t *r, vch_json_t *node, unsigned depth);

static vch_rc read_member_name(reader_t *r, vch_slice_t *ret)
{
    VCH_TRY(read_string(r, ret));
    skip_space(r);
    return take(r, ':') ? VCH_OK : refuse(r, VCH_ERR_FORMAT, "a colon was expected");
}

/* Elements up to `close`; depth counts this container. */
static vch_rc read_container(reader_t *r, vch_json_t *node, vch_json_type_t type, char close, unsigned depth)
{
    if (depth > VCH_JSON_DEPTH_MAX) return refuse(r, VCH_ERR_LIMIT, "nested too deep");
    node->type = type;
    const vch_json_t **link = &node->first;
    skip_space(r);
    if (take(r, close)) return VCH_OK;
    do {
        vch_json_t *child = vch_arena_alloc(r->arena, sizeof *child);
        if (!child) return arena_full(r);
        skip_space(r);
        if (type == VCH_JSON_OBJECT) VCH_TRY(read_member_name(r, &child->name));
        VCH_TRY(read_value(r, child, depth));
        *link = child;
        link = &child->next;
        node->count++;
        skip_space(r);
    } while (take(r, ','));
    if (!take(r, close)) return refuse(r, VCH_ERR_FORMAT, "a comma or the container's end was expected");
    return type == VCH_JSON_OBJECT ? order_members(r, node) : VCH_OK;
}

static bool take_word(reader_t *r, const char *word)
{
    size_t n = strlen(word);
    if (r->in.n - r->at < n || memcmp(r->in.p + r->at, word, n) != 0) return false;
    r->at += n;
    return true;
}

/* Calls itself through read_container, at most VCH_JSON_DEPTH_MAX deep. */
static vch_rc read_value(reader_t *r, vch_json_t *node, unsigned depth)
{
    skip_space(r);
    if (take(r, '{')) return read_container(r, node, VCH_JSON_OBJECT, '}', depth + 1);
    if (take(r, '[')) return read_container(r, node, VCH_JSON_ARRAY, ']', depth + 1);
    if (look(r) == '"') {
        node->type = VCH_JSON_STRING;
        return read_string(r, &node->text);
    }
    if (take_word(r, "null")) return VCH_OK; /* the node is zeroed: VCH_JSON_NULL */
    if (take_word(r, "true") || take_word(r, "false")) {
        node->type = VCH_JSON_BOOL;
        node->boolean = r->in.p[r->at - 2] == 'u';
        return VCH_OK;
    }
    return read_number(r, node);
}

vch_rc vch_json_parse(vch_arena_t *arena, const vch_json_t **ret, vch_slice_t text, vch_err_t *err)
{
    reader_t r = {arena, text, 0, err};
    vch_json_t *root = vch_arena_alloc(arena, sizeof *root);
    if (!root) return arena_full(&r);
    VCH_TRY(read_value(&r, root, 0));
    skip_space(&r);
    if (r.at != text.n) return refuse(&r, VCH_ERR_FORMAT, "something follows the value");
    *ret = root;
    return VCH_OK;
}

const vch_json_t *vch_json_get(const vch_json_t *object, const char *name)
{
    if (!object || object->type != VCH_JSON_OBJECT) return NULL;
    vch_slice_t wanted = vch_str(name);
    for (size_t low = 0, high = object->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = name_order(object->order[middle]->name, wanted);
        if (order == 0) return object->order[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
