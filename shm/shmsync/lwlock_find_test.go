package shmsync_test

import (
	"context"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestFindLocks finds the locks in bytes that hold up a session, whatever else lies there, and none that does not.
func TestFindLocks(t *testing.T) {
	const size = 1 << 16
	r := shm.NewRegion(make([]byte, size))
	var all world
	for row := 10; row < 2000; row++ { // 1 to 3 live
		all.kill(row)
	}
	live := func(p shmsync.Peer) bool {
		return p.Row < shmsync.MaxRows && p == all.self(p.Row).Peer && all.alive(p)
	}
	lockAt := func(at shm.Offset, row int) *shmsync.LWLock {
		return shmsync.NewLWLock(must(shm.At[shmsync.LWLockWord](r, at)), all.self(row))
	}
	find := func() []shmsync.LockAt { return must(shmsync.FindLocks(r, live)) }

	written, read, free, ofTheDead := shm.Offset(8), shm.Offset(4096), shm.Offset(8192), shm.Offset(size-256)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wait := func(lock func(context.Context) (shmsync.Guard, error)) {
		wg.Go(func() {
			if _, err := lock(ctx); err == nil {
				t.Error("a lock that is held was given")
			}
		})
	}
	defer must(lockAt(written, 1).Lock(ctx)).Unlock()
	defer must(lockAt(read, 2).RLock(ctx)).Unlock()
	defer must(lockAt(free, 3).Lock(ctx)).Unlock() // held, and no session waits
	all.kill(4)
	must(lockAt(ofTheDead, 4).Lock(ctx))
	// Numbers that look like peers, and rows of words that can be none.
	binary.NativeEndian.PutUint64(must(r.Bytes(1024, 8)), all.self(1).Peer.Word())
	for at := shm.Offset(16384); at < 20480; at += 8 {
		binary.NativeEndian.PutUint64(must(r.Bytes(at, 8)), all.self(1).Peer.Word())
	}
	if got := find(); len(got) != 0 {
		t.Errorf("no session waits, and this is found: %+v", got)
	}

	wait(lockAt(written, 2).RLock)
	wait(lockAt(read, 1).Lock)
	for len(find()) < 2 {
		runtime.Gosched()
	}
	got, one, two := find(), all.self(1).Peer, all.self(2).Peer
	if len(got) != 2 || got[0].Offset != written || got[1].Offset != read ||
		!slices.Equal(got[0].Exclusive, []shmsync.Peer{one}) || !slices.Equal(got[0].Waiting, []shmsync.Waiter{{Peer: two, Shared: true}}) ||
		!slices.Equal(got[1].Shared, []shmsync.Peer{two}) || !slices.Equal(got[1].Waiting, []shmsync.Waiter{{Peer: one}}) {
		t.Errorf("%+v", got)
	}
	withoutTwo := func(p shmsync.Peer) bool { return p != two && live(p) }
	if got := must(shmsync.FindLocks(r, withoutTwo)); len(got) != 0 {
		t.Errorf("the one that waits and the one that reads are dead, and this is found: %+v", got)
	}
	cancel()
	wg.Wait()
}

// TestFindLocksInAnyBytes: a region of any size and content has an answer.
func TestFindLocksInAnyBytes(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 255, 256, 257, 300} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i * 7)
		}
		if got, err := shmsync.FindLocks(shm.NewRegion(b), func(shmsync.Peer) bool { return true }); err != nil || len(got) > 0 {
			t.Errorf("%d bytes: %+v, %v", n, got, err)
		}
	}
}
