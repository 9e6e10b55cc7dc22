/* SPDX-License-Identifier: Apache-2.0 */
/* ask_role URL#KEYID KEY.pem|- VERB HEX: one question to a role of the vault,
 * signed when a key is given; prints the result's name and the answer in hex. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/node_int.h"
#include "node/served_int.h"

int main(int argc, char **argv)
{
    char url[256], *hex;
    served_t s;
    vch_keyid_t id;
    vch_signer_t *key = NULL;
    vch_err_t err = {0};
    vch_buf_t body, ret;
    uint8_t *p;
    if (argc != 5 || vch_crypto_start() != VCH_OK) return 2;
    vch_buf_init(&body, VCH_ASKED_MAX);
    vch_buf_init(&ret, VCH_ASKED_MAX);
    size_t n = strlen(argv[4]) / 2;
    if (vch_served_url(url, &id, argv[1], &err) != VCH_OK || vch_buf_extend(&body, n, &p) != VCH_OK) return 2;
    if (n && !vch_unhex(p, n, argv[4], 2 * n)) return 2;
    if (strcmp(argv[2], "-") != 0 && nd_key_load(vch_port_real(), argv[2], NULL, &key, &err) != VCH_OK) return 2;
    const vch_signer_t *as = key;
    vch_rc rc = sv_open(&s, vch_port_real(), url, &id, &as, &err);
    if (rc == VCH_OK) {
        rc = sv_ask(&s, argv[3], vch_buf_slice(&body), 10000, &ret, &err);
        sv_close(&s);
    }
    hex = malloc(2 * ret.n + 1);
    if (!hex) return 2;
    vch_hex(hex, ret.p, ret.n);
    printf("%s\n%s\n%s\n", vch_rc_name(rc), hex, rc == VCH_OK ? "" : err.text);
    free(hex);
    vch_signer_free(key);
    vch_buf_free(&body);
    vch_buf_free(&ret);
    return 0;
}
