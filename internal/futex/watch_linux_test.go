package futex

import (
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWatch: each change is told, more words than one call takes, and the threads end with the watches.
func TestWatch(t *testing.T) {
	if !canWaitv() {
		t.Skip("skipped: this kernel has no futex_waitv")
	}
	words := make([]atomic.Uint32, 3*maxVector)
	watches := make([]*Watch, len(words))
	for i := range words {
		watches[i] = NewWatch(&words[i])
	}
	for range 3 {
		for i := range words {
			words[i].Add(2)
			Wake(&words[i], 1)
			<-watches[i].C
		}
	}
	watches[5].Notify()
	watches[5].Notify() // the second one is not needed
	<-watches[5].C
	for _, x := range watches {
		x.Close()
		x.Close()
	}
	for running := true; running; {
		running = false
		watchers.mu.Lock()
		for _, g := range watchers.all {
			g.mu.Lock()
			running = running || g.running
			g.mu.Unlock()
		}
		watchers.mu.Unlock()
		runtime.Gosched()
	}
}

// TestWatchUnmapped: a word that goes away under its watch is told once and dropped, and the others go on.
func TestWatchUnmapped(t *testing.T) {
	if !canWaitv() {
		t.Skip("skipped: this kernel has no futex_waitv")
	}
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	w := wordAt(b)
	var other atomic.Uint32
	lost, kept := NewWatch(w), NewWatch(&other)
	if err := unix.Mprotect(b, unix.PROT_NONE); err != nil { // as if unmapped, and nobody else gets the address
		t.Fatal(err)
	}
	other.Add(2)
	Wake(&other, 1)
	<-kept.C
	<-lost.C
	other.Add(2)
	Wake(&other, 1)
	<-kept.C
	lost.Close()
	kept.Close()
}
