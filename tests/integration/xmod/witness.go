// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// grown is a log in memory: tlog stores its hashes here.
type grown []tlog.Hash

func (g grown) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = g[x]
	}
	return out, nil
}

func (g *grown) add(n, branch int64) error {
	hashes, err := tlog.StoredHashes(n, []byte(fmt.Sprintf("record %d of %d", n, branch)), *g)
	*g = append(*g, hashes...)
	return err
}

// request is the body of add-checkpoint from size old to size n.
func request(g grown, origin string, signer note.Signer, old, n int64) ([]byte, error) {
	var body bytes.Buffer
	root, err := tlog.TreeHash(n, g)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&body, "old %d\n", old)
	if old > 0 && old < n {
		proof, err := tlog.ProveTree(n, old, g)
		if err != nil {
			return nil, err
		}
		for _, h := range proof {
			fmt.Fprintln(&body, base64.StdEncoding.EncodeToString(h[:]))
		}
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, n, root)}, signer)
	body.WriteByte('\n')
	body.Write(signed)
	return body.Bytes(), err
}

// ask makes a log and the requests to cosign it: vkey, and OLD-NEW for some
// sizes, fork-OLD-NEW of another log under the same key.
func ask(folder string) error {
	const origin = "log.example/outside"
	var log, fork grown
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	for n := int64(0); n < 300; n++ {
		branch := int64(1)
		if n < 5 {
			branch = 0
		}
		if err := log.add(n, 0); err != nil {
			return err
		}
		if err := fork.add(n, branch); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "vkey"), []byte(vkey), 0o600); err != nil {
		return err
	}
	for _, step := range [][2]int64{{0, 1}, {1, 2}, {2, 7}, {7, 7}, {7, 256}, {256, 300}} {
		for name, g := range map[string]grown{"": log, "fork-": fork} {
			body, err := request(g, origin, signer, step[0], step[1])
			if err != nil {
				return err
			}
			name = fmt.Sprintf("%s%d-%d", name, step[0], step[1])
			if err := os.WriteFile(filepath.Join(folder, name), body, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// cosigner verifies tlog-cosignature v1 (Ed25519) signatures, written from the
// specification.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }
func (c cosigner) Verify(message, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(sig)
	signed := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", time)), message...)
	return time != 0 && ed25519.Verify(c.key, signed, sig[8:])
}

func newCosigner(vkey string) (cosigner, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return cosigner{}, fmt.Errorf("%q is no verifier key", vkey)
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return cosigner{}, fmt.Errorf("%q is no cosigner's key", vkey)
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	hash := binary.BigEndian.Uint32(sum[:])
	if fmt.Sprintf("%08x", hash) != parts[1] {
		return cosigner{}, fmt.Errorf("%q has another hash", vkey)
	}
	return cosigner{parts[0], hash, key[1:]}, nil
}

// cosigned reads a checkpoint that must be signed by a log and by a witness.
func cosigned(file, logKey, witnessKey string) error {
	message, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	log, err := note.NewVerifier(logKey)
	if err != nil {
		return err
	}
	witness, err := newCosigner(witnessKey)
	if err != nil {
		return err
	}
	opened, err := note.Open(message, note.VerifierList(log, witness))
	if err != nil {
		return err
	}
	if len(opened.Sigs) != 2 {
		return fmt.Errorf("%d good signatures, not 2", len(opened.Sigs))
	}
	return nil
}
