/* SPDX-License-Identifier: Apache-2.0 */
/* A key file: what is accepted is written again and read as the same key; what
 * is refused says why. */
#include <assert.h>

#include "crypto/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_signer_t *key = NULL, *again = NULL;
    vch_err_t err = {0};
    vch_buf_t pem;
    if (vch_crypto_start() != VCH_OK) return 0;
    if (vch_signer_from_pem(&key, vch_slice(data, n), NULL, &err) != VCH_OK) {
        assert(err.text[0] && !key);
        return 0;
    }
    vch_buf_init(&pem, 1u << 16);
    vch_rc rc = vch_signer_to_pem(key, &pem, NULL, &err);
    assert(rc == VCH_OK);
    rc = vch_signer_from_pem(&again, vch_buf_slice(&pem), NULL, &err);
    const vch_pubkey_t *a = vch_signer_public(key), *b = vch_signer_public(again);
    assert(rc == VCH_OK && a->n == b->n && memcmp(a->b, b->b, a->n) == 0);
    vch_buf_free(&pem);
    vch_signer_free(again);
    vch_signer_free(key);
    return 0;
}
