package dshash_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestFaultInCopy: a value whose end is unmapped while a lookup without the lock copies it is left to one with the
// lock.
func TestFaultInCopy(t *testing.T) {
	page := unix.Getpagesize()
	if page > 4096 {
		t.Skip("skipped: no whole page is in half of the value")
	}
	b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	must(t, err)
	defer unix.Munmap(b)
	a, err := dsa.CreateInPlace(shm.NewRegion(b), nil, self(1), dsa.Options{Sessions: 2})
	must(t, err)
	tab, err := dshash.Create[uint64, [16 << 10]byte](a, dshash.Options{Partitions: 1})
	must(t, err)
	want := [16 << 10]byte(bytes.Repeat([]byte("a value!"), 2<<10))
	must(t, tab.Set(ctx, 1, want))
	if v, found, err := tab.Get(ctx, 1); !found || err != nil || v != want { // so that its array is known
		t.Fatal(found, err)
	}

	half := (bytes.Index(b, want[:]) + len(want)/2 + page - 1) &^ (page - 1)
	must(t, unix.Mprotect(b[half:half+page], unix.PROT_NONE)) // as if unmapped, and no other mapping gets the address
	_, _, ok := dshash.Glance(tab, 1)
	must(t, unix.Mprotect(b[half:half+page], unix.PROT_READ|unix.PROT_WRITE))
	if ok {
		t.Error("it is taken for read")
	}
	if v, found, ok := dshash.Glance(tab, 1); !found || !ok || v != want {
		t.Error(found, ok)
	}
	must(t, tab.Destroy(ctx))
	clean(t, a, 0)
	must(t, a.Detach())
}
