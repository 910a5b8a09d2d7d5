// A Go program that works in a directory and verifies itself: goroutines, a map, a lock, appended
// records, files made and renamed, directories made and removed. Prints a number per round; ends
// with its input.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const workers = 16

var done [workers]int64
var over int32

func must(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func check(holds bool, what string, number int) {
	if !holds {
		fmt.Println("wrong:", what, "of", number)
		os.Exit(1)
	}
}

func work(folder string, number int, group *sync.WaitGroup) {
	defer group.Done()
	log, err := os.OpenFile(filepath.Join(folder, fmt.Sprintf("log-%d", number)),
		os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	must(err)
	defer log.Close()
	must(syscall.Flock(int(log.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	table, err := os.Create(filepath.Join(folder, fmt.Sprintf("map-%d", number)))
	must(err)
	must(table.Truncate(1 << 16))
	shared, err := syscall.Mmap(int(table.Fd()), 0, 1<<16,
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(err)
	must(table.Close())
	record := make([]byte, 8)
	for round := uint64(0); atomic.LoadInt32(&over) == 0; round++ {
		binary.LittleEndian.PutUint64(record, round)
		_, err := log.Write(record)
		must(err)
		place := (round % (1 << 13)) * 8
		copy(shared[place:place+8], record)
		shown := make([]byte, 8)
		_, err = log.ReadAt(shown, int64(round)*8)
		must(err)
		check(string(shown) == string(record), "the log", number)
		check(binary.LittleEndian.Uint64(shared[place:]) == round, "the map", number)
		if round%50 == 0 {
			must(log.Sync())
			made := filepath.Join(folder, fmt.Sprintf("tree-%d", number), "a", "b")
			must(os.MkdirAll(made, 0o755))
			must(os.WriteFile(filepath.Join(made, "file"), record, 0o644))
			must(os.Rename(filepath.Join(made, "file"), filepath.Join(made, "renamed")))
			must(os.RemoveAll(filepath.Join(folder, fmt.Sprintf("tree-%d", number))))
		}
		atomic.StoreInt64(&done[number], int64(round)+1)
		time.Sleep(4 * time.Millisecond)
	}
	data, err := os.ReadFile(log.Name())
	must(err)
	check(int64(len(data)) == done[number]*8, "how many records", number)
	for round := 0; round < len(data)/8; round++ {
		check(binary.LittleEndian.Uint64(data[round*8:]) == uint64(round), "a record", number)
	}
}

func all() (sum int64) {
	for number := range done {
		sum += atomic.LoadInt64(&done[number])
	}
	return
}

func main() {
	var group sync.WaitGroup
	group.Add(workers)
	for number := 0; number < workers; number++ {
		go work(os.Args[1], number, &group)
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		atomic.StoreInt32(&over, 1)
	}()
	for round := 1; atomic.LoadInt32(&over) == 0; round++ {
		before := all()
		for atomic.LoadInt32(&over) == 0 && all() < before+4*workers {
			time.Sleep(time.Millisecond)
		}
		if atomic.LoadInt32(&over) == 0 {
			fmt.Println(round)
		}
	}
	group.Wait()
	fmt.Println("verified")
}
