/* SPDX-License-Identifier: Apache-2.0 */
/* The words that a new ledger starts with, and its genesis fields.
 *
 * Words of the Data Privacy Vocabulary 2.3 (W3C Data Privacy Vocabularies and
 * Controls Community Group) and of its AI extension.  Only their names and
 * which is the broader one are used.  A parent stands before its children. */
#include "node/node_int.h"

#include "codec/cbor.h"

#define DPV "https://w3id.org/dpv#"
#define AI "https://w3id.org/dpv/ai#"
#define EHDS "https://w3id.org/dpv/legal/eu/ehds#"
#define COUNT(a) (sizeof(a) / sizeof *(a))

typedef struct {
    const char *iri;
    int parent[2]; /* positions, -1: none */
} word_t;

static const word_t purposes[] = {
    {DPV "Purpose", {-1, -1}},                      /* 0 */
    {DPV "ResearchAndDevelopment", {0, -1}},        /* 1 */
    {DPV "AcademicResearch", {1, -1}},              /* 2 */
    {DPV "CommercialResearch", {1, -1}},            /* 3 */
    {DPV "NonCommercialResearch", {1, -1}},         /* 4 */
    {DPV "ScientificResearch", {1, -1}},            /* 5 */
    {EHDS "HealthcareScientificResearch", {5, -1}}, /* 6 */
    {DPV "PublicBenefit", {0, -1}},                 /* 7 */
    {DPV "ImproveHealthcare", {7, -1}},             /* 8 */
    {DPV "ServiceProvision", {0, -1}},              /* 9 */
    {DPV "ServiceOptimisation", {9, -1}},           /* 10 */
    {DPV "SellProducts", {9, -1}},                  /* 11 */
    {DPV "SellDataToThirdParties", {11, -1}},       /* 12 */
    {DPV "Marketing", {0, -1}},                     /* 13 */
    {DPV "Advertising", {13, -1}},                  /* 14 */
    {DPV "PersonalisedAdvertising", {14, -1}},      /* 15 */
    {DPV "EnforceSecurity", {0, -1}},               /* 16 */
    {DPV "MisusePreventionAndDetection", {16, -1}}, /* 17 */
    {DPV "FraudPreventionAndDetection", {17, -1}},  /* 18 */
    {DPV "FulfilmentOfObligation", {0, -1}},        /* 19 */
    {DPV "LegalCompliance", {19, -1}},              /* 20 */
};

static const word_t processings[] = {
    {DPV "Processing", {-1, -1}},     /* 0 */
    {DPV "Use", {0, -1}},             /* 1 */
    {DPV "Analyse", {1, -1}},         /* 2 */
    {DPV "Assess", {1, -1}},          /* 3 */
    {DPV "Consult", {1, -1}},         /* 4 */
    {DPV "Profiling", {1, -1}},       /* 5 */
    {DPV "Query", {4, -1}},           /* 6 */
    {DPV "Disclose", {0, -1}},        /* 7 */
    {DPV "MakeAvailable", {7, -1}},   /* 8 */
    {DPV "Share", {7, -1}},           /* 9 */
    {DPV "Transform", {0, -1}},       /* 10 */
    {DPV "Anonymise", {10, -1}},      /* 11 */
    {DPV "Pseudonymise", {10, -1}},   /* 12 */
    {DPV "Copy", {0, -1}},            /* 13 */
    {DPV "Store", {0, -1}},           /* 14 */
    {DPV "Collect", {0, -1}},         /* 15 */
    {DPV "Remove", {0, -1}},          /* 16 */
    {DPV "Erase", {16, -1}},          /* 17 */
    {AI "ModelTraining", {1, -1}},    /* 18 */
    {AI "ModelFineTuning", {18, -1}}, /* 19 */
    {AI "DataLabelling", {10, -1}},   /* 20 */
    {AI "DataCleaning", {10, -1}},    /* 21 */
    {AI "DataEnrichment", {10, -1}},  /* 22 */
};

static vch_rc put_text(vch_buf_t *b, const char *s) { return vch_cbor_text(b, s, strlen(s)); }

static vch_rc put_words(vch_buf_t *b, uint64_t key, const word_t *word, size_t n)
{
    VCH_TRY(vch_cbor_uint(b, key));
    VCH_TRY(vch_cbor_array(b, n));
    for (size_t i = 0; i < n; i++) {
        size_t parents = (word[i].parent[0] >= 0 ? 1u : 0u) + (word[i].parent[1] >= 0 ? 1u : 0u);
        VCH_TRY(vch_cbor_map(b, 2));
        VCH_TRY(vch_cbor_uint(b, VCH_F_WORD_IRI));
        VCH_TRY(put_text(b, word[i].iri));
        VCH_TRY(vch_cbor_uint(b, VCH_F_WORD_PARENTS));
        VCH_TRY(vch_cbor_array(b, parents));
        for (size_t p = 0; p < parents; p++) VCH_TRY(vch_cbor_uint(b, (uint64_t)word[i].parent[p]));
    }
    return VCH_OK;
}

#define OPERATOR_ROLES                                                                                                 \
    (VCH_ROLE_CUSTODIAN | VCH_ROLE_USER | VCH_ROLE_NODE | VCH_ROLE_TRUSTEE | VCH_ROLE_STORAGE | VCH_ROLE_AUDITOR)

static vch_rc put_operator(vch_buf_t *b, const char *name, const vch_pubkey_t *key)
{
    VCH_TRY(vch_cbor_uint(b, VCH_F_GENESIS_PARTIES));
    VCH_TRY(vch_cbor_array(b, 1));
    VCH_TRY(vch_cbor_map(b, 3));
    VCH_TRY(vch_cbor_uint(b, VCH_F_PARTY_NAME));
    VCH_TRY(put_text(b, name));
    VCH_TRY(vch_cbor_uint(b, VCH_F_PARTY_ROLES));
    VCH_TRY(vch_cbor_uint(b, OPERATOR_ROLES));
    VCH_TRY(vch_cbor_uint(b, VCH_F_PARTY_KEYS));
    VCH_TRY(vch_cbor_array(b, 1));
    return vch_cbor_bytes(b, key->b, key->n);
}

vch_rc nd_genesis_fields(vch_buf_t *ret, const vch_init_t *init, const vch_signer_t *operator_key)
{
    const vch_pubkey_t *key = vch_signer_public(operator_key);
    vch_keyid_t id = vch_pubkey_id(key);
    VCH_TRY(vch_cbor_map(ret, 7));
    VCH_TRY(vch_cbor_uint(ret, VCH_F_GENESIS_ORIGIN));
    VCH_TRY(put_text(ret, init->origin));
    VCH_TRY(vch_cbor_uint(ret, VCH_F_GENESIS_RULES));
    VCH_TRY(vch_cbor_uint(ret, 1));
    VCH_TRY(put_operator(ret, init->operator_name, key));
    VCH_TRY(vch_cbor_uint(ret, VCH_F_GENESIS_REGISTRARS));
    VCH_TRY(vch_cbor_array(ret, 1));
    VCH_TRY(vch_cbor_bytes(ret, id.b, 32));
    VCH_TRY(vch_cbor_uint(ret, VCH_F_GENESIS_GRANT_LIFE));
    VCH_TRY(vch_cbor_uint(ret, init->grant_life_ms ? init->grant_life_ms : 15 * 60 * 1000));
    VCH_TRY(put_words(ret, VCH_F_GENESIS_PURPOSES, purposes, COUNT(purposes)));
    return put_words(ret, VCH_F_GENESIS_PROCESSINGS, processings, COUNT(processings));
}
