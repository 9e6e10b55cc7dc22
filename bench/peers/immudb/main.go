// SPDX-License-Identifier: Apache-2.0

// Measures immudb's embedded store the way our own log is measured: CLIENTS
// goroutines, each committing a record of 200 bytes, synced, before the next.
//
//	immudb DIR CLIENTS SECONDS
//
// Prints records per second.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codenotary/immudb/embedded/logger"
	"github.com/codenotary/immudb/embedded/store"
)

const recordBytes = 200

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func commit(ctx context.Context, db *store.ImmuStore, serial uint64) error {
	tx, err := db.NewWriteOnlyTx(ctx)
	if err != nil {
		return err
	}
	key := binary.BigEndian.AppendUint64(nil, serial)
	if err := tx.Set(key, nil, make([]byte, recordBytes)); err != nil {
		return err
	}
	_, err = tx.AsyncCommit(ctx)
	return err
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: immudb DIR CLIENTS SECONDS")
	}
	ctx := context.Background()
	clients := int(must(strconv.ParseUint(os.Args[2], 10, 16)))
	seconds := must(strconv.ParseFloat(os.Args[3], 64))
	options := store.DefaultOptions().
		WithSynced(true).
		WithMaxConcurrency(clients + 1).
		WithMaxActiveTransactions(clients + 1).
		WithLogger(logger.NewSimpleLogger("immudb", io.Discard))
	db := must(store.Open(os.Args[1], options))

	var done, serial atomic.Uint64
	var group sync.WaitGroup
	start := time.Now()
	end := start.Add(time.Duration(seconds * float64(time.Second)))
	for range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Now().Before(end) {
				if err := commit(ctx, db, serial.Add(1)); err != nil {
					log.Fatal(err)
				}
				done.Add(1)
			}
		}()
	}
	group.Wait()
	fmt.Printf("%.6g\n", float64(done.Load())/time.Since(start).Seconds())
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
}
