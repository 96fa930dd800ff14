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
