/* SPDX-License-Identifier: Apache-2.0 */
/* How a trustee's root key is kept: the settings that people write, and what an
 * altered root file asks the passphrase's guard for.  The first byte of the
 * input says which: 0 settings, 1 a wrapped key.
 *
 * Accepted settings say all that their guard needs and end in a zero; a refusal
 * names the file and leaves what was there.  No wrapped key asks for more than
 * the limits. */
#include <assert.h>
#include <string.h>

#include "node/guard_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool ends(const char *text, size_t room) { return memchr(text, 0, room) != NULL; }

static void settings(vch_slice_t text)
{
    gd_conf_t c, before;
    vch_err_t err = {.rc = VCH_OK};
    memset(&c, 0xff, sizeof c);
    before = c;
    vch_rc rc = gd_conf_get(&c, text, "guard.conf", &err);
    if (rc != VCH_OK) {
        assert(rc == VCH_ERR_FORMAT && strncmp(err.text, "guard.conf", 10) == 0);
        assert(memcmp(&c, &before, sizeof c) == 0);
        return;
    }
    assert(ends(c.secret_file, sizeof c.secret_file) && ends(c.module, sizeof c.module) &&
           ends(c.token, sizeof c.token));
    assert(c.kind <= VCH_GUARD_TOKEN);
    assert((c.kind != VCH_GUARD_FILE) == (c.secret_file[0] != 0));
    assert((c.kind == VCH_GUARD_TOKEN) == (c.module[0] != 0 && c.token[0] != 0));
}

static void wrapped(vch_slice_t in)
{
    gd_cost_t cost;
    vch_err_t err = {.rc = VCH_OK};
    vch_rc rc = gd_pass_get(&cost, in, &err);
    assert(rc == VCH_OK || rc == VCH_ERR_KEY || rc == VCH_ERR_CORRUPT);
    assert((rc == VCH_ERR_KEY) == !gd_is(VCH_GUARD_PASSPHRASE, in));
    if (rc != VCH_OK) return;
    assert(cost.passes >= 1 && cost.passes <= GD_PASSES_MAX && cost.kib >= 8 && cost.kib <= GD_KIB_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) return 0;
    if (data[0] & 1)
        wrapped(vch_slice(data + 1, n - 1));
    else
        settings(vch_slice(data + 1, n - 1));
    return 0;
}
