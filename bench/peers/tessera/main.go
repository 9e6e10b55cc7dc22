// SPDX-License-Identifier: Apache-2.0

// Measures Tessera's POSIX log the way our own log is measured: CLIENTS
// goroutines, each adding a record of 200 bytes and waiting before the next.
//
//	tessera DIR CLIENTS SECONDS durable|integrated
//
// "durable" waits for the future, "integrated" until a published checkpoint
// covers the entry.  Batches as large as there are clients, aged at most 1 ms for
// one client and 20 ms for 1,024; a checkpoint each 100 ms.  Prints records per second.
package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

const recordBytes = 200

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func batchAge(clients uint) time.Duration {
	switch {
	case clients < 16:
		return time.Millisecond
	case clients < 1024:
		return 5 * time.Millisecond
	}
	return 20 * time.Millisecond
}

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: tessera DIR CLIENTS SECONDS durable|integrated")
	}
	ctx := context.Background()
	clients := uint(must(strconv.ParseUint(os.Args[2], 10, 16)))
	seconds := must(strconv.ParseFloat(os.Args[3], 64))
	private, _, err := note.GenerateKey(rand.Reader, "bench.example/log")
	if err != nil {
		log.Fatal(err)
	}
	driver := must(posix.New(ctx, posix.Config{Path: os.Args[1]}))
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(must(note.NewSigner(private))).
		WithBatching(clients, batchAge(clients)).
		WithCheckpointInterval(100 * time.Millisecond).
		WithPushback(4*clients + 4096)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		log.Fatal(err)
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 10*time.Millisecond)
	wait := os.Args[4] == "integrated"

	var done, serial atomic.Uint64
	var group sync.WaitGroup
	start := time.Now()
	end := start.Add(time.Duration(seconds * float64(time.Second)))
	for range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Now().Before(end) {
				record := make([]byte, recordBytes)
				binary.BigEndian.PutUint64(record, serial.Add(1))
				future := appender.Add(ctx, tessera.NewEntry(record))
				if wait {
					if _, _, err := awaiter.Await(ctx, future); err != nil {
						log.Fatal(err)
					}
				} else if _, err := future(); err != nil {
					log.Fatal(err)
				}
				done.Add(1)
			}
		}()
	}
	group.Wait()
	fmt.Printf("%.6g\n", float64(done.Load())/time.Since(start).Seconds())
	if err := shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
