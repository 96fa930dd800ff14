package logcache_test

import (
	"fmt"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
)

// TestClockPanics: a clock that panics, at whichever call of it, leaves no lock taken: the panic goes on to the
// caller, and the next call works.
func TestClockPanics(t *testing.T) {
	calls, bad := 0, -1
	clock := func() uint32 {
		if calls++; calls == bad {
			panic("no time")
		}
		return 100
	}
	c, err := logcache.Create(shm.NewRegion(logcache.BytesOf(make([]uint64, 1<<17))), self(1), logcache.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	key := func(i int) []byte { return []byte(fmt.Sprint("key ", i)) }
	value := make([]byte, 1000)
	panics := func(f func()) (did bool) {
		defer func() { did = recover() != nil }()
		f()
		return false
	}
	for i := range 3000 { // more than there is room for, so that the cleaner looks at the clock
		must(t, c.Set(ctx, key(i), value, uint32(50+i%3*100)))
	}
	met := 0
	for round := range 300 {
		bad = calls + 1 + round%7
		for i := range 20 {
			if panics(func() { _ = c.Set(ctx, key(round*20+i), value, 200) }) {
				met++
			}
			if panics(func() { _, _ = c.Delete(ctx, key(round)) }) {
				met++
			}
			if panics(func() { _, _, _ = c.Get(key(round+i), nil) }) {
				met++
			}
		}
		bad = -1
		for i := range 20 {
			must(t, c.Set(ctx, key(i), value, 200))
			if _, found, err := c.Get(key(i), nil); !found || err != nil {
				t.Fatalf("round %d: found %v, %v", round, found, err)
			}
		}
	}
	if met < 100 {
		t.Errorf("the clock panicked %d times only", met)
	}
	r, err := c.Verify(ctx)
	if err != nil || len(r.Wrong) > 0 {
		t.Errorf("%v, %v", r.Wrong, err)
	}
}
