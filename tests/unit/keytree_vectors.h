/* SPDX-License-Identifier: Apache-2.0 */
/* Made by keytree_vectors.py. */
static const struct {
    unsigned level;
    uint32_t number;
    const char *seed;
} kat_node[] = {
    {0, 0u, "2f5c36ed794f639044eb85ca9d72d419045ab90d9db3cf19c7c9855cda3c0c1e"},
    {1, 1u, "e2b1d05e16cbd51b4d0b80b3af7e7673fdd728ef2a3cc78e62a42bb408093310"},
    {4, 9u, "b813d0ff042165bd047683be5997c653f90f3dbc225261ea681896745d4be24d"},
    {12, 2741u, "c83097b0193c75535d89f4d64f21fcf5f75ecfaa9b2052fe3e29f1ab9ccac275"},
    {24, 0u, "4ea9e5782e66fab742597c179cf7dad3a12049a2d4297f3555012091db7896bb"},
    {24, 16777215u, "5c2a71caf2a4b16f1e08355a1ee8d9e6eb9eee458150cfb3587cafc4414eef35"},
    {24, 3215729u, "b6e30fa1bce242dde902d4086e7154af1d205ae54e5595d28614b03369bcb9f1"},
};
static const struct {
    uint32_t leaf;
    const char *key;
} kat_record[] = {
    {0u, "b672820a87235c4bb4d1b695fd85cf9c3be1dba516f184052024555296ef6f66"},
    {1u, "cd5453e16bde207fea74624753457a7e56111e1ce1ed55102421be080541da3a"},
    {4095u, "40320cf554bdd2ae8367945b687fa16765bfe1c98de004f727d32ca72c0a2efb"},
    {4096u, "2e3662a5dc3624df20b0af9921cfed2b73c4c98e08ea19ea2b80782e4dc89eac"},
    {2109497u, "06b4391349846920e7523a45c90f03e7c3a5ce9959c2e0d5805880393174d52c"},
    {16777215u, "0e8e680e921e11236eafb763b1a65b71ced7682b541749b28e7c58846577e424"},
};
static const struct {
    unsigned groups;
    uint32_t count[3];
    const char *root;
} kat_root[] = {
    {1, {1, 0, 0}, "9a6a653c79a47d9bd1f0496f4b8a84f16b9a36129f623af93b99a38f74dd19ef"},
    {2, {1, 1, 0}, "ff98bdea75af2023886648dfd82de102cf5f8321dde55f75bc2420b689a429e7"},
    {3, {7, 7, 7}, "93be296bcdd451793da14acf2cdae1742042b5852212cc3042921dd709dac862"},
    {2, {569, 569, 0}, "fab098b3b0715f6b2eb81cbf70e14ffb779cab478726eef2def90a640447eb07"},
};
