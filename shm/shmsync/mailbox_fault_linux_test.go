package shmsync_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
	"golang.org/x/sys/unix"
)

// TestMailboxTruncated: when the bytes are gone from under the mapping nothing dies, and who waits is told.
func TestMailboxTruncated(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "bytes"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 4096
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	words, err := shm.SliceOf[shmsync.MailboxWord](shm.NewRegion(b), 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	var w world
	me, other := shmsync.NewMailbox(words, nil, w.self(0)), shmsync.NewMailbox(words, nil, w.self(1))
	done := make(chan error)
	for range 3 {
		go func() { done <- wait(me.Take(), ctx, &atomic.Bool{}) }()
	}
	for !words[0].DealerSleeps() {
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	other.Ring(shmsync.Peer{Row: 0}, 0)
	me.Nudge()
	for range 3 {
		if err := <-done; !errors.Is(err, shm.ErrCorrupt) {
			t.Errorf("Wait = %v, want ErrCorrupt", err)
		}
	}
	x := me.Take()
	if x.Ready() {
		t.Error("rung by none")
	}
	x.Release()
}
