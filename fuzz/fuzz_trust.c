/* SPDX-License-Identifier: Apache-2.0 */
/* An accepted policy is a forest with members before their groups, without a
 * key listed twice; whatever it says, a note that no listed witness cosigned
 * meets no quorum. */
#include <assert.h>

#include "entry/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char lone_note[] = "example.org/log\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
                                "\n\xe2\x80\x94 example.org/log AAAAAAA=\n";

static void check_group(const vch_trust_t *t, size_t g)
{
    unsigned members = 0;
    for (size_t i = 0; i < t->nodes; i++) {
        if (t->node[i].parent != (int)g) continue;
        assert(i < g);
        members++;
    }
    assert(t->node[g].of == members && t->node[g].need >= 1 && t->node[g].need <= members);
}

static void check_nodes(const vch_trust_t *t)
{
    assert(t->nodes <= VCH_POLICY_NODES_MAX && t->logs <= VCH_POLICY_LOGS_MAX);
    assert(t->quorum >= -1 && t->quorum < (int)t->nodes);
    for (size_t i = 0; i < t->nodes; i++) {
        const vch_policy_node_t *a = &t->node[i];
        assert(a->parent == -1 || (a->parent < (int)t->nodes && t->node[a->parent].is_group));
        if (a->is_group) check_group(t, i);
        for (size_t j = 0; j < i; j++) {
            const vch_policy_node_t *b = &t->node[j];
            assert(!vch_slice_eq(a->name, b->name));
            assert(a->is_group || b->is_group || memcmp(a->vkey.key, b->vkey.key, 32) != 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static vch_trust_t t;
    vch_err_t err = {0};
    vch_note_t note;
    vch_checkpoint_t c;
    vch_trust_result_t r;
    if (vch_trust_get(&t, vch_slice(data, n), &err) != VCH_OK) {
        assert(err.rc != VCH_OK && strncmp(err.text, "line ", 5) == 0 && !strchr(err.text, '\n'));
        return 0;
    }
    check_nodes(&t);
    vch_rc rc = vch_note_get(&note, vch_str(lone_note));
    if (rc == VCH_OK) rc = vch_checkpoint_get(&c, note.text);
    if (rc == VCH_OK) rc = vch_trust_judge(&t, &note, &c, &r);
    assert(rc == VCH_OK);
    assert(!r.log_known && r.witnesses == 0 && r.quorum_time == 0 && r.wants_witness == (t.quorum >= 0));
    assert(r.quorum == !r.wants_witness);
    return 0;
}
