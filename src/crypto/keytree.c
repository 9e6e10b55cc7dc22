/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/keytree.h"

#include "crypto/sha256.h"

#define CHILD_PREFIX 0x02
#define CHILD_BYTES 33u /* b ‖ seed */
#define AT_ONCE 64u     /* messages hashed by one call */
#define HMAC_BLOCK 64u
#define LABEL "vouchsafe record key 1"
#define LABEL_N (sizeof LABEL - 1)

/* ---- places ---------------------------------------------------------------- */

bool vch_kt_valid(vch_kt_node_t n) { return n.level <= VCH_KT_LEAF_LEVEL && n.number >> n.level == 0; }

bool vch_kt_below(vch_kt_node_t n, vch_kt_node_t above)
{
    return n.level >= above.level && n.number >> (n.level - above.level) == above.number;
}

/* ---- seeds ----------------------------------------------------------------- */

/* Both children of seeds [0, n), in their place: ret[2i] and ret[2i + 1], read
 * from behind, so that nothing is overwritten before it was read. */
static void double_up(uint8_t *seed, size_t n)
{
    uint8_t message[AT_ONCE * CHILD_BYTES];
    vch_hash_t hash[AT_ONCE];
    for (size_t left = n, now; left; left -= now) {
        now = vch_min(left, AT_ONCE / 2);
        const uint8_t *from = seed + (left - now) * VCH_KT_KEY;
        for (size_t i = 0; i < 2 * now; i++) {
            message[i * CHILD_BYTES] = i & 1;
            memcpy(message + i * CHILD_BYTES + 1, from + i / 2 * VCH_KT_KEY, VCH_KT_KEY);
        }
        vch_sha256_fixed(hash, CHILD_PREFIX, message, CHILD_BYTES, CHILD_BYTES, 2 * now);
        memcpy(seed + 2 * (left - now) * VCH_KT_KEY, hash, 2 * now * sizeof *hash);
    }
    vch_wipe(message, sizeof message);
    vch_wipe(hash, sizeof hash);
}

static void child(uint8_t key[VCH_KT_KEY], unsigned b)
{
    uint8_t both[2 * VCH_KT_KEY];
    memcpy(both, key, VCH_KT_KEY);
    double_up(both, 1);
    memcpy(key, both + b * VCH_KT_KEY, VCH_KT_KEY);
    vch_wipe(both, sizeof both);
}

bool vch_kt_descend(vch_kt_seed_t *ret, const vch_kt_seed_t *from, vch_kt_node_t to)
{
    if (!vch_kt_valid(from->node) || !vch_kt_valid(to) || !vch_kt_below(to, from->node)) return false;
    vch_kt_seed_t at = *from;
    for (unsigned level = from->node.level; level < to.level; level++)
        child(at.key, to.number >> (to.level - 1 - level) & 1);
    at.node = to;
    *ret = at;
    vch_wipe(&at, sizeof at);
    return true;
}

/* The block that holds this leaf, or all that `from` has of it. */
static vch_kt_node_t block_of(vch_kt_node_t from, uint32_t leaf)
{
    const uint8_t level = VCH_KT_LEAF_LEVEL - 12;
    return from.level >= level ? from : (vch_kt_node_t){level, leaf / VCH_KT_BLOCK};
}

bool vch_kt_leaves(uint8_t *ret, const vch_kt_seed_t *from, uint32_t first, size_t n)
{
    uint8_t all[VCH_KT_BLOCK * VCH_KT_KEY];
    vch_kt_seed_t top;
    if (n == 0 || n > VCH_KT_BLOCK || !vch_kt_valid(from->node)) return false;
    vch_kt_node_t block = block_of(from->node, first);
    size_t count = vch_kt_count(block), skip = first - vch_kt_first(block);
    if (first < vch_kt_first(block) || skip > count || n > count - skip) return false;
    if (!vch_kt_descend(&top, from, block)) return false;
    memcpy(all, top.key, VCH_KT_KEY);
    for (size_t have = 1; have < count; have *= 2) double_up(all, have);
    memcpy(ret, all + skip * VCH_KT_KEY, n * VCH_KT_KEY);
    vch_wipe(all, count * VCH_KT_KEY);
    vch_wipe(&top, sizeof top);
    return true;
}

/* Both children of seeds [0, n) into to, which lies elsewhere. */
static void children(uint8_t *to, const uint8_t *from, size_t n)
{
    memcpy(to, from, n * VCH_KT_KEY);
    double_up(to, n);
}

bool vch_kt_tree(uint8_t *ret, const vch_kt_seed_t *from, uint32_t block)
{
    vch_kt_seed_t top;
    if (!vch_kt_descend(&top, from, (vch_kt_node_t){VCH_KT_BLOCK_LEVEL, block})) return false;
    memcpy(ret, top.key, VCH_KT_KEY);
    vch_wipe(&top, sizeof top);
    for (size_t n = 1; n < VCH_KT_BLOCK; n *= 2)
        children(ret + (2 * n - 1) * VCH_KT_KEY, ret + (n - 1) * VCH_KT_KEY, n);
    return true;
}

/* Seeds of one level, from the left: what was above them, and those given there. */
typedef struct {
    uint16_t number[VCH_KT_BLOCK]; /* within the block */
    uint8_t key[VCH_KT_BLOCK * VCH_KT_KEY];
    size_t n;
} row_t;

/* Those given at this level join the others in their order; from behind, so that
 * each moves once. */
static bool join(row_t *r, const vch_kt_seed_t *seed, size_t n, unsigned level, uint32_t block)
{
    size_t more = 0, left = r->n;
    for (size_t i = 0; i < n; i++) more += seed[i].node.level == level;
    if (more > VCH_KT_BLOCK - r->n) return false;
    r->n += more;
    for (size_t i = n, to = r->n; more && i-- > 0;) {
        if (seed[i].node.level != level) continue;
        uint16_t number = (uint16_t)(seed[i].node.number - (block << (level - VCH_KT_BLOCK_LEVEL)));
        for (; left && r->number[left - 1] > number; left--) {
            r->number[--to] = r->number[left - 1];
            memcpy(r->key + to * VCH_KT_KEY, r->key + (left - 1) * VCH_KT_KEY, VCH_KT_KEY);
        }
        r->number[--to] = number;
        memcpy(r->key + to * VCH_KT_KEY, seed[i].key, VCH_KT_KEY);
        more--;
    }
    return true;
}

static bool go_down(row_t *r)
{
    if (r->n > VCH_KT_BLOCK / 2) return false;
    double_up(r->key, r->n);
    for (size_t i = r->n; i-- > 0;) {
        r->number[2 * i + 1] = (uint16_t)(2 * r->number[i] + 1);
        r->number[2 * i] = (uint16_t)(2 * r->number[i]);
    }
    r->n *= 2;
    return true;
}

static bool in_block(const vch_kt_seed_t *seed, size_t n, uint32_t block)
{
    const vch_kt_node_t top = {VCH_KT_BLOCK_LEVEL, block};
    uint32_t end = 0;
    for (size_t i = 0; i < n; i++) {
        vch_kt_node_t node = seed[i].node;
        if (!vch_kt_valid(node) || !vch_kt_below(node, top) || (i && vch_kt_first(node) < end)) return false;
        end = vch_kt_first(node) + vch_kt_count(node);
    }
    return vch_kt_valid(top);
}

bool vch_kt_spread(uint8_t *ret, const vch_kt_seed_t *seed, size_t n, uint32_t block)
{
    row_t r;
    bool good = in_block(seed, n, block);
    r.n = 0;
    for (unsigned level = VCH_KT_BLOCK_LEVEL; good && level < VCH_KT_LEAF_LEVEL; level++)
        good = join(&r, seed, n, level, block) && go_down(&r);
    good = good && join(&r, seed, n, VCH_KT_LEAF_LEVEL, block);
    memset(ret, 0, (size_t)VCH_KT_BLOCK * VCH_KT_KEY);
    for (size_t i = 0; good && i < r.n; i++)
        memcpy(ret + (size_t)r.number[i] * VCH_KT_KEY, r.key + i * VCH_KT_KEY, VCH_KT_KEY);
    vch_wipe(&r, sizeof r);
    return good;
}

static bool is_right_of(const vch_kt_seed_t *seed, uint32_t leaf) { return vch_kt_first(seed->node) > leaf; }

/* The siblings come from the top; those right of the leaf belong behind the others, the lowest first. */
static void order_siblings(vch_kt_seed_t *seed, size_t n, uint32_t leaf)
{
    vch_kt_seed_t sorted[VCH_KT_LEAF_LEVEL];
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_right_of(&seed[i], leaf)) sorted[at++] = seed[i];
    for (size_t i = n; i-- > 0;)
        if (is_right_of(&seed[i], leaf)) sorted[at++] = seed[i];
    memcpy(seed, sorted, n * sizeof *seed);
    vch_wipe(sorted, sizeof sorted);
}

size_t vch_kt_puncture(vch_kt_seed_t *ret, const vch_kt_seed_t *from, uint32_t leaf)
{
    const vch_kt_node_t end = {VCH_KT_LEAF_LEVEL, leaf};
    size_t n = 0;
    if (!vch_kt_valid(from->node) || !vch_kt_valid(end) || !vch_kt_below(end, from->node)) return 0;
    vch_kt_seed_t at = *from;
    while (at.node.level < VCH_KT_LEAF_LEVEL) {
        unsigned down = VCH_KT_LEAF_LEVEL - 1u - at.node.level, b = leaf >> down & 1;
        vch_kt_node_t left = {(uint8_t)(at.node.level + 1), 2 * at.node.number};
        ret[n] = at;
        child(ret[n].key, !b);
        child(at.key, b);
        ret[n++].node = (vch_kt_node_t){left.level, left.number + !b};
        at.node = (vch_kt_node_t){left.level, left.number + b};
    }
    vch_wipe(&at, sizeof at);
    order_siblings(ret, n, leaf);
    return n;
}

const vch_kt_seed_t *vch_kt_find(const vch_kt_seed_t *seed, size_t n, vch_kt_node_t node)
{
    size_t low = 0, high = n;
    if (!vch_kt_valid(node)) return NULL;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (vch_kt_first(seed[mid].node) <= vch_kt_first(node))
            low = mid + 1;
        else
            high = mid;
    }
    return low && vch_kt_below(node, seed[low - 1].node) ? &seed[low - 1] : NULL;
}

/* ---- covers -------------------------------------------------------------------- */

static bool row_set(const uint8_t *bits, uint32_t row) { return bits[row / 8] >> (7 - row % 8) & 1; }

/* The end of the run of set rows that begins here. */
static uint32_t run_end(const uint8_t *bits, uint32_t rows, uint32_t row)
{
    while (row < rows && row_set(bits, row)) row += row % 8 == 0 && rows - row >= 8 && bits[row / 8] == 0xff ? 8 : 1;
    return row;
}

static uint32_t next_set(const uint8_t *bits, uint32_t rows, uint32_t row)
{
    while (row < rows && !row_set(bits, row)) row += row % 8 == 0 && rows - row >= 8 && bits[row / 8] == 0 ? 8 : 1;
    return row;
}

/* The largest subtree that begins here and ends no later than `end`. */
static unsigned height_at(uint32_t row, uint32_t end)
{
    unsigned height = 0;
    while (height < VCH_KT_ROW_BITS && row % (2u << height) == 0 && end - row >= 2u << height) height++;
    return height;
}

vch_rc vch_kt_cover(const uint8_t *bits, uint32_t rows, unsigned group, vch_kt_fn fn, void *ctx)
{
    if (rows > VCH_KT_ROWS_MAX || group >= VCH_KT_GROUPS_MAX) return VCH_ERR_LIMIT;
    for (uint32_t row = next_set(bits, rows, 0); row < rows; row = next_set(bits, rows, row)) {
        uint32_t end = run_end(bits, rows, row);
        for (unsigned height; row < end; row += 1u << height) {
            height = height_at(row, end);
            VCH_TRY(fn(ctx, (vch_kt_node_t){(uint8_t)(VCH_KT_LEAF_LEVEL - height), vch_kt_leaf(group, row) >> height}));
        }
    }
    return VCH_OK;
}

/* ---- record keys ----------------------------------------------------------------- */

void vch_kt_add(uint8_t *acc, const uint8_t *leaf, size_t n)
{
    for (size_t i = 0; i < n * VCH_KT_KEY; i++) acc[i] ^= leaf[i];
}

/* RFC 2104, with keys shorter than a block. */
static void pad_keys(uint8_t (*ret)[HMAC_BLOCK], const uint8_t *key, size_t n, uint8_t pad)
{
    memset(ret, pad, n * sizeof *ret);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < VCH_KT_KEY; k++) ret[i][k] ^= key[i * VCH_KT_KEY + k];
}

typedef struct {
    uint8_t pad[AT_ONCE][HMAC_BLOCK], text[AT_ONCE][LABEL_N + 36];
    vch_hash_t inner[AT_ONCE], outer[AT_ONCE];
    vch_sha256_msg_t msg[AT_ONCE];
} kdf_t;

static void kdf_run(kdf_t *k, uint8_t *ret, const uint8_t *sum, const vch_hash_t *extent, uint32_t first, size_t n)
{
    pad_keys(k->pad, sum, n, 0x36);
    for (size_t i = 0; i < n; i++) {
        memcpy(k->text[i], LABEL, LABEL_N);
        memcpy(k->text[i] + LABEL_N, extent->b, 32);
        vch_put_u32(k->text[i] + LABEL_N + 32, first + (uint32_t)i);
        k->msg[i] =
            (vch_sha256_msg_t){.part = {vch_slice(k->pad[i], HMAC_BLOCK), vch_slice(k->text[i], sizeof k->text[i])}};
    }
    vch_sha256_many(k->inner, k->msg, n);
    pad_keys(k->pad, sum, n, 0x5c);
    for (size_t i = 0; i < n; i++) k->msg[i].part[1] = vch_slice(k->inner[i].b, sizeof k->inner[i].b);
    vch_sha256_many(k->outer, k->msg, n);
    memcpy(ret, k->outer, n * VCH_KT_KEY);
}

void vch_kt_record_keys(uint8_t *ret, const uint8_t *sum, const vch_hash_t *extent, uint32_t first, size_t n)
{
    kdf_t k;
    for (size_t at = 0, now; at < n; at += now) {
        now = vch_min(n - at, AT_ONCE);
        kdf_run(&k, ret + at * VCH_KT_KEY, sum + at * VCH_KT_KEY, extent, first + (uint32_t)at, now);
    }
    vch_wipe(&k, sizeof k);
}

/* ---- the sets T --------------------------------------------------------------------- */

static unsigned choose(unsigned n, unsigned k)
{
    uint64_t c = 1;
    for (unsigned i = 1; i <= k && c <= VCH_KT_SETS_MAX; i++) c = c * (n - k + i) / i;
    return c <= VCH_KT_SETS_MAX ? (unsigned)c : VCH_KT_SETS_MAX + 1;
}

unsigned vch_kt_sets(unsigned n, unsigned t)
{
    if (t < 2 || n > VCH_KT_SETS_MAX || n < 2 * t - 1) return 0;
    unsigned sets = choose(n, t - 1);
    return sets <= VCH_KT_SETS_MAX ? sets : 0;
}

uint64_t vch_kt_set(unsigned n, unsigned t, unsigned k)
{
    uint64_t set = 0;
    if (k >= vch_kt_sets(n, t)) return 0;
    for (unsigned trustee = 0, left = t - 1; left; trustee++) {
        unsigned with = choose(n - trustee - 1, left - 1); /* sets that go on with this trustee */
        if (k < with) {
            set |= UINT64_C(1) << trustee;
            left--;
        } else {
            k -= with;
        }
    }
    return set;
}
