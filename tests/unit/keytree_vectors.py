#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Known answers for the key tree, from docs/formats/vault-keys.md and hashlib
alone.  Prints tests/unit/keytree_vectors.h; the test compares it with the one
that is kept."""

import hashlib
import hmac


def child(seed, b):
    return hashlib.sha256(bytes([2, b]) + seed).digest()


def node(seed, level, number):
    for i in range(level - 1, -1, -1):
        seed = child(seed, number >> i & 1)
    return seed


def record_key(roots, extent, leaf):
    total = bytes(32)
    for root in roots:
        total = bytes(a ^ b for a, b in zip(total, node(root, 24, leaf)))
    text = b"vouchsafe record key 1" + extent + leaf.to_bytes(4, "big")
    return hmac.new(total, text, hashlib.sha256).digest()


def tree(leaves):
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + tree(leaves[:k]) + tree(leaves[k:])).digest()


def key_root(root, counts):
    groups = [tree([node(root, 24, g << 20 | r) for r in range(n)]) for g, n in enumerate(counts)]
    return tree(groups)


def seed(i):
    return hashlib.sha256(b"seed %d" % i).digest()


def main():
    extent = hashlib.sha256(b"extent").digest()
    roots = [seed(i) for i in range(3)]
    places = [(0, 0), (1, 1), (4, 9), (12, 2741), (24, 0), (24, (15 << 20) | 0xFFFFF), (24, (3 << 20) | 70001)]
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* Made by keytree_vectors.py. */")
    print("static const struct {\n    unsigned level;\n    uint32_t number;\n    const char *seed;\n} kat_node[] = {")
    for level, number in places:
        print(f"    {{{level}, {number}u, \"{node(roots[0], level, number).hex()}\"}},")
    print("};\nstatic const struct {\n    uint32_t leaf;\n    const char *key;\n} kat_record[] = {")
    for leaf in (0, 1, 4095, 4096, (2 << 20) | 12345, (15 << 20) | 0xFFFFF):
        print(f"    {{{leaf}u, \"{record_key(roots, extent, leaf).hex()}\"}},")
    print("};\nstatic const struct {\n    unsigned groups;\n    uint32_t count[3];\n    const char *root;\n} kat_root[] = {")
    for counts in ([1], [1, 1], [7, 7, 7], [569, 569]):
        padded = (counts + [0, 0, 0])[:3]
        print(f"    {{{len(counts)}, {{{padded[0]}, {padded[1]}, {padded[2]}}}, \"{key_root(roots[0], counts).hex()}\"}},")
    print("};")


if __name__ == "__main__":
    main()
