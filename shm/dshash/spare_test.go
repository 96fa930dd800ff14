package dshash_test

import (
	"bytes"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestSpare: who remembers the item that was left in a hand finds out, by the version, that it was freed there.
func TestSpare(t *testing.T) {
	a := heap(t, dsa.Options{})
	tab, err := dshash.CreateBytes(a, dshash.Options{Partitions: 1})
	must(t, err)
	other, err := dshash.AttachBytes(a, tab.Handle(), dshash.Options{}) // with a memory of its own
	must(t, err)
	key := []byte("key")
	set := func(tab *dshash.Bytes, n int) {
		t.Helper()
		want := bytes.Repeat([]byte{byte(n)}, n)
		must(t, tab.Set(ctx, key, want))
		if b, found, err := tab.Get(ctx, key, nil); !found || err != nil || !bytes.Equal(b, want) {
			t.Errorf("%d bytes: %x, %v, %v", n, b, found, err)
		}
	}
	remove := func(tab *dshash.Bytes) {
		t.Helper()
		if found, err := tab.Delete(ctx, key); !found || err != nil {
			t.Error(found, err)
		}
	}
	for n := 1; n < 200; n += 7 {
		set(tab, n)
		remove(tab) // and it is a spare
		before := dshash.Version(tab)
		set(other, n) // which is taken as it is
		if now := dshash.Version(tab); now != before {
			t.Errorf("%d bytes: the version goes from %d to %d, and nothing was taken out", n, before, now)
		}
		remove(other)
		before = dshash.Version(tab)
		set(other, n+1) // which it is too small for
		if dshash.Version(tab) == before {
			t.Errorf("%d bytes: a spare was freed, and the version is still %d", n, before)
		}
		set(tab, n)
		remove(tab)
	}
	must(t, tab.Destroy(ctx))
	clean(t, a, 0)
	must(t, a.Detach())
}
