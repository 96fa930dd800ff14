package futex

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnmappedWord: a word that goes away under its sleeper wakes that, and leaves the sentry to the others.
func TestUnmappedWord(t *testing.T) {
	if !canWaitv() {
		t.Skip("skipped: no futex_waitv")
	}
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	gone := wordAt(b)
	var other atomic.Uint32
	done := make(chan string, 2)
	go func() { sleepOnChannel(context.Background(), long, []Word{{gone, 0}}); done <- "gone" }()
	for posted := 0; posted == 0; runtime.Gosched() {
		posted = sleepersNow()
	}
	defer unix.Munmap(b)
	if err := unix.Mprotect(b, unix.PROT_NONE); err != nil { // as if unmapped, and no other goroutine gets the address
		t.Fatal(err)
	}
	go func() { // its arrival makes the sentry look
		for other.Load() == 0 {
			sleepOnChannel(context.Background(), long, []Word{{&other, 0}})
		}
		done <- "other"
	}()
	if first := <-done; first != "gone" {
		t.Errorf("%s woke", first)
	}
	other.Store(1)
	Wake(&other, 1)
	<-done
}

func sleepersNow() (n int) {
	sentries.mu.Lock()
	defer sentries.mu.Unlock()
	for _, g := range sentries.all {
		g.mu.Lock()
		n += len(g.sleepers)
		g.mu.Unlock()
	}
	return n
}
