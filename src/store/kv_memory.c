/* SPDX-License-Identifier: Apache-2.0 */
/* The index in memory: a treap ordered by key bytes, with priorities from a
 * hash of the key, so that its shape depends on nothing but its contents.  A
 * batch is applied at once; abort undoes nothing that was committed because
 * puts wait in a list until commit. */
#include "store/kv_impl.h"

typedef struct node node_t;
struct node {
    node_t *left, *right;
    uint32_t priority;
    uint8_t *value;
    size_t value_n, key_n;
    uint8_t key[];
};

typedef struct pending pending_t;
struct pending {
    pending_t *next;
    node_t *node;
};

typedef struct {
    vch_kv_t kv;
    node_t *root;
    pending_t *batch; /* newest first */
    bool open;
} mem_kv_t;

static int compare(vch_slice_t a, const node_t *b)
{
    size_t n = vch_min(a.n, b->key_n);
    int c = n ? memcmp(a.p, b->key, n) : 0;
    return c ? c : (a.n > b->key_n) - (a.n < b->key_n);
}

static void node_free(node_t *n)
{
    if (!n) return;
    vch_free(n->value);
    vch_free(n);
}

static node_t *node_new(vch_slice_t key, vch_slice_t value)
{
    node_t *n = vch_alloc(sizeof *n + key.n);
    if (!n) return NULL;
    n->value = vch_alloc(value.n ? value.n : 1);
    if (!n->value) {
        vch_free(n);
        return NULL;
    }
    memcpy(n->key, key.p, key.n);
    n->key_n = key.n;
    if (value.n) memcpy(n->value, value.p, value.n);
    n->value_n = value.n;
    n->priority = vch_crc32c(0x5eed, key.p, key.n);
    return n;
}

static const node_t *find(const node_t *n, vch_slice_t key)
{
    while (n) {
        int c = compare(key, n);
        if (c == 0) return n;
        n = c < 0 ? n->left : n->right;
    }
    return NULL;
}

/* Split by key into lower and higher; an equal node goes to *equal. */
static void split(node_t *n, vch_slice_t key, node_t **low, node_t **high, node_t **equal)
{
    *equal = NULL;
    while (n) {
        int c = compare(key, n);
        if (c == 0) {
            *low = n->left;
            *high = n->right;
            *equal = n;
            return;
        }
        if (c < 0) {
            *high = n;
            high = &n->left;
            n = n->left;
        } else {
            *low = n;
            low = &n->right;
            n = n->right;
        }
    }
    *low = *high = NULL;
}

static void insert(node_t **at, node_t *fresh)
{
    vch_slice_t key = vch_slice(fresh->key, fresh->key_n);
    node_t *old = NULL;
    for (; *at && (*at)->priority > fresh->priority;) {
        int c = compare(key, *at);
        if (c == 0) break;
        at = c < 0 ? &(*at)->left : &(*at)->right;
    }
    /* An equal key has an equal priority, so it stands here or below. */
    split(*at, key, &fresh->left, &fresh->right, &old);
    *at = fresh;
    node_free(old);
}

static vch_rc mem_get(vch_kv_t *kv, vch_slice_t key, vch_buf_t *ret)
{
    mem_kv_t *m = (mem_kv_t *)kv;
    for (pending_t *p = m->batch; p; p = p->next)
        if (compare(key, p->node) == 0) return vch_buf_put(ret, p->node->value, p->node->value_n);
    const node_t *n = find(m->root, key);
    return n ? vch_buf_put(ret, n->value, n->value_n) : VCH_ERR_NOT_FOUND;
}

static vch_rc mem_begin(vch_kv_t *kv, vch_err_t *err)
{
    mem_kv_t *m = (mem_kv_t *)kv;
    if (m->open) return vch_fail(err, VCH_ERR_CONFLICT, "index: a batch is open already");
    m->open = true;
    return VCH_OK;
}

static void mem_abort(vch_kv_t *kv)
{
    mem_kv_t *m = (mem_kv_t *)kv;
    for (pending_t *p = m->batch, *next; p; p = next) {
        next = p->next;
        node_free(p->node);
        vch_free(p);
    }
    m->batch = NULL;
    m->open = false;
}

static vch_rc mem_put(vch_kv_t *kv, vch_slice_t key, vch_slice_t value, vch_err_t *err)
{
    mem_kv_t *m = (mem_kv_t *)kv;
    if (!m->open) return vch_fail(err, VCH_ERR_CONFLICT, "index: no batch is open");
    pending_t *p = vch_alloc(sizeof *p);
    node_t *n = p ? node_new(key, value) : NULL;
    if (!n) {
        vch_free(p);
        mem_abort(kv);
        return vch_fail(err, VCH_ERR_MEMORY, "index: out of memory");
    }
    *p = (pending_t){m->batch, n};
    m->batch = p;
    return VCH_OK;
}

static vch_rc mem_commit(vch_kv_t *kv, vch_err_t *err)
{
    mem_kv_t *m = (mem_kv_t *)kv;
    if (!m->open) return vch_fail(err, VCH_ERR_CONFLICT, "index: no batch is open");
    pending_t *oldest_first = NULL;
    for (pending_t *p = m->batch, *next; p; p = next) {
        next = p->next;
        p->next = oldest_first;
        oldest_first = p;
    }
    for (pending_t *p = oldest_first, *next; p; p = next) {
        next = p->next;
        insert(&m->root, p->node);
        vch_free(p);
    }
    m->batch = NULL;
    m->open = false;
    return VCH_OK;
}

/* The next node after `key` (or at it, when `at`), in byte order. */
static const node_t *after(const node_t *n, vch_slice_t key, bool at)
{
    const node_t *best = NULL;
    while (n) {
        int c = compare(key, n);
        if (c < 0 || (c == 0 && at)) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

static vch_rc mem_each(vch_kv_t *kv, vch_slice_t prefix, vch_kv_fn fn, void *ctx)
{
    mem_kv_t *m = (mem_kv_t *)kv;
    const node_t *n = after(m->root, prefix, true);
    while (n && n->key_n >= prefix.n && (prefix.n == 0 || memcmp(n->key, prefix.p, prefix.n) == 0)) {
        VCH_TRY(fn(ctx, vch_slice(n->key, n->key_n), vch_slice(n->value, n->value_n)));
        n = after(m->root, vch_slice(n->key, n->key_n), false);
    }
    return VCH_OK;
}

/* Take the treap apart without recursion: rotate left children away. */
static void drop_all(node_t *n)
{
    while (n) {
        if (n->left) {
            node_t *l = n->left;
            n->left = l->right;
            l->right = n;
            n = l;
        } else {
            node_t *right = n->right;
            node_free(n);
            n = right;
        }
    }
}

static vch_rc mem_clear(vch_kv_t *kv, vch_err_t *err)
{
    (void)err;
    mem_kv_t *m = (mem_kv_t *)kv;
    mem_abort(kv);
    drop_all(m->root);
    m->root = NULL;
    return VCH_OK;
}

static void mem_close(vch_kv_t *kv)
{
    (void)mem_clear(kv, NULL);
    vch_free(kv);
}

static const vch_kv_ops_t mem_ops = {mem_get,   mem_begin, mem_put,   mem_commit, mem_commit,
                                     mem_abort, mem_each,  mem_clear, mem_close};

vch_rc vch_kv_open_memory(vch_kv_t **ret, vch_err_t *err)
{
    mem_kv_t *m = vch_alloc(sizeof *m);
    if (!m) return vch_fail(err, VCH_ERR_MEMORY, "index: out of memory");
    m->kv.ops = &mem_ops;
    *ret = &m->kv;
    return VCH_OK;
}
