package dsm

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/shm"
)

// TestRangesStay: the newest ranges stay, by number and by size, and older ones as long as their view is in use.
func TestRangesStay(t *testing.T) {
	var q ranges
	var given atomic.Int64
	give := func(dsmimpl.Mapping) error { given.Add(1); return nil }
	add := func(v *shm.View, size int) {
		t.Helper()
		if err := q.add(&formerRange{mapping: dsmimpl.Mapping{Bytes: make([]byte, size)}, give: give}, v); err != nil {
			t.Fatal(err)
		}
	}
	given1 := func(n int64) {
		t.Helper()
		if got := given.Load(); got != n {
			t.Fatalf("%d ranges were given back, want %d", got, n)
		}
	}
	used := shm.NewView(nil)
	dropped := shm.NewView(nil)
	add(used, 0)
	add(dropped, 0)
	for range maxRanges - 2 {
		add(nil, 0)
	}
	given1(0)
	child := dropped.Sub() // what a structure holds
	dropped = nil
	add(nil, 0)
	add(nil, 0)
	add(nil, 0)
	given1(1) // neither of the first two: both are in use
	runtime.GC()
	runtime.KeepAlive(child)
	child = nil
	for end := time.Now().Add(time.Minute); given.Load() != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the range of a view that was dropped stays")
		}
		runtime.GC()
	}
	runtime.KeepAlive(used)
	if used.End(); given.Load() != 2 {
		t.Fatal("the end of a view is not the end of its use")
	}
	q.makeRoom()
	given1(2 + maxRanges)

	q.mu.Lock()
	q.bytes = maxRangeBytes // as if they were that large
	q.mu.Unlock()
	before := given.Load()
	add(nil, 4096)
	given1(before + 1)
	runtime.KeepAlive(used)
}

// TestRangesThatTakeMemory: less of them stay, and one that has a view stays as long as that is in use.
func TestRangesThatTakeMemory(t *testing.T) {
	var q ranges
	var given atomic.Int64
	give := func(dsmimpl.Mapping) error { given.Add(1); return nil }
	add := func(v *shm.View, size int, old bool, want int64) {
		t.Helper()
		r := &formerRange{mapping: dsmimpl.Mapping{Bytes: make([]byte, size)}, give: give, holds: true, old: old}
		if err := q.add(r, v); err != nil {
			t.Fatal(err)
		}
		if got := given.Load(); got != want {
			t.Fatalf("%d ranges were given back, want %d", got, want)
		}
	}
	used, dropped := shm.NewView(nil), shm.NewView(nil)
	add(used, maxHeldBytes/2, false, 0)
	add(nil, maxHeldBytes/2, false, 0)
	add(nil, 1, false, 0) // in the place of the one that is in use
	add(nil, maxHeldBytes/2, false, 1)
	add(dropped, maxHeldBytes, true, 1)
	runtime.KeepAlive(dropped)
	dropped = nil
	for end := time.Now().Add(time.Minute); given.Load() != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("an old range of a view that was dropped stays")
		}
		runtime.GC()
	}
	q.makeRoom()
	if given.Load() != 4 || q.held != 0 || q.bytes != 0 {
		t.Errorf("%d were given back; %d bytes are held", given.Load(), q.held)
	}
	runtime.KeepAlive(used)
}

// TestRangesWhoseBackendPanics are not the end of the process, and keep no other from going.
func TestRangesWhoseBackendPanics(t *testing.T) {
	var q ranges
	given := 0
	for i := range 3 {
		_ = q.add(&formerRange{give: func(dsmimpl.Mapping) error {
			if given++; i == 1 {
				panic("no")
			}
			return nil
		}}, nil)
	}
	if q.makeRoom(); given != 3 {
		t.Errorf("%d of 3 were given back", given)
	}
}
