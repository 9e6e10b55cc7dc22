// SPDX-License-Identifier: Apache-2.0

// Command xmod reads a log directory with nobody's code but Go's own
// golang.org/x/mod (the checksum database's client): the checkpoint as a
// signed note, each leaf's inclusion, and consistency with smaller sizes.
//
//	xmod FOLDER VKEY
//
// FOLDER (or a URL, "http://…") holds checkpoint and tile/, as C2SP tlog-tiles lays them out.  Prints
// "ok" and exits with 0, or says what is wrong and exits with 1.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

// folder serves tiles from a directory, or from a web server.
type folder string

func (folder) Height() int                     { return tileHeight }
func (folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f folder) read(path string) ([]byte, error) {
	if strings.HasPrefix(string(f), "http://") {
		return fetch(string(f) + "/" + path)
	}
	return os.ReadFile(filepath.Join(string(f), path))
}

func fetch(url string) ([]byte, error) {
	answer, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return io.ReadAll(answer.Body)
	case http.StatusNotFound:
		return nil, os.ErrNotExist
	}
	return nil, fmt.Errorf("%s: %s", url, answer.Status)
}

// tilePath leaves out the tile height, which x/mod writes as the second
// element of the path and tlog-tiles does not; "data" is called "entries".
func tilePath(t tlog.Tile) string {
	path := strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", t.H))
	if t.L < 0 {
		return "tile/entries/" + strings.TrimPrefix(path, "data/")
	}
	return "tile/" + path
}

// ReadTiles falls back to the full tile, since a partial one may be deleted
// as soon as the full one is there.
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, t := range tiles {
		data, err := f.readTile(t)
		if err != nil {
			return nil, err
		}
		all[i] = data
	}
	return all, nil
}

func (f folder) readTile(t tlog.Tile) ([]byte, error) {
	want := t.W * tlog.HashSize
	data, err := f.read(tilePath(t))
	if os.IsNotExist(err) && t.W < 1<<tileHeight {
		full := t
		full.W = 1 << tileHeight
		if data, err = f.read(tilePath(full)); err == nil && len(data) > want {
			data = data[:want]
		}
	}
	if err != nil {
		return nil, err
	}
	if len(data) != want {
		return nil, fmt.Errorf("%s: %d bytes, not %d", tilePath(t), len(data), want)
	}
	return data, nil
}

// bundle splits the entry bundle of tile n into its entries.
func (f folder) bundle(n int64, width int) ([][]byte, error) {
	path := tilePath(tlog.Tile{H: tileHeight, L: -1, N: n, W: width})
	data, err := f.read(path)
	if os.IsNotExist(err) && width < 1<<tileHeight {
		data, err = f.read(tilePath(tlog.Tile{H: tileHeight, L: -1, N: n, W: 1 << tileHeight}))
	}
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(entries) < width {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("%s: ends inside entry %d", path, len(entries))
		}
		size := int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:2+size])
		data = data[2+size:]
	}
	return entries, nil
}

// checkpoint opens the signed note.  ParseTree wants the checksum database's
// own first line, so that line is put in place of the origin, which is
// compared with the key's name here.
func checkpoint(f folder, vkey string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	message, err := f.read("checkpoint")
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(message, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if origin != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("origin %q, but the key is %q's", origin, verifier.Name())
	}
	return tlog.ParseTree([]byte("go.sum database tree\n" + rest))
}

// least is the smaller one; Debian 12's Go is older than the language's own min.
func least(a, b int64) int64 {
	if b < a {
		return b
	}
	return a
}

func verifyLeaves(f folder, tree tlog.Tree, hashes tlog.HashReader) error {
	for first := int64(0); first < tree.N; first += 1 << tileHeight {
		width := least(tree.N-first, 1<<tileHeight)
		entries, err := f.bundle(first>>tileHeight, int(width))
		if err != nil {
			return err
		}
		for i, entry := range entries {
			index := first + int64(i)
			proof, err := tlog.ProveRecord(tree.N, index, hashes)
			if err != nil {
				return fmt.Errorf("leaf %d: %w", index, err)
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
				return fmt.Errorf("leaf %d: %w", index, err)
			}
		}
	}
	return nil
}

// someSizes are all of a small tree, and of a large one those around its
// powers of two, its half and its end.
func someSizes(n int64) []int64 {
	var sizes []int64
	for i := int64(1); i <= least(n, 64); i++ {
		sizes = append(sizes, i)
	}
	for p := int64(128); p < n; p *= 2 {
		for _, size := range []int64{p - 1, p, p + 1} {
			if size <= n {
				sizes = append(sizes, size)
			}
		}
	}
	if n > 64 {
		sizes = append(sizes, n/2, n-1, n)
	}
	return sizes
}

func verifyConsistency(tree tlog.Tree, hashes tlog.HashReader) error {
	for _, size := range someSizes(tree.N) {
		old, err := tlog.TreeHash(size, hashes)
		if err != nil {
			return fmt.Errorf("size %d: %w", size, err)
		}
		proof, err := tlog.ProveTree(tree.N, size, hashes)
		if err != nil {
			return fmt.Errorf("size %d: %w", size, err)
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, size, old); err != nil {
			return fmt.Errorf("size %d: %w", size, err)
		}
	}
	return nil
}

func run(f folder, vkey string) error {
	tree, err := checkpoint(f, vkey)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if tree.N == 0 {
		return fmt.Errorf("the log is empty: nothing was verified")
	}
	hashes := tlog.TileHashReader(tree, f)
	if err := verifyLeaves(f, tree, hashes); err != nil {
		return err
	}
	return verifyConsistency(tree, hashes)
}

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 2 && args[0] == "ask":
		err = ask(args[1])
	case len(args) == 4 && args[0] == "cosigned":
		err = cosigned(args[1], args[2], args[3])
	case len(args) == 2:
		err = run(folder(args[0]), strings.TrimSpace(args[1]))
	default:
		fmt.Fprintln(os.Stderr, "usage: xmod FOLDER VKEY | ask FOLDER | cosigned NOTE LOG-VKEY WITNESS-VKEY")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "xmod:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}
