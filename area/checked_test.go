package area_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestCheckedInstance: an area that is made in an instance in checked mode is checked without being told so, in each session
// that attaches it too: a stale pointer is found.
func TestCheckedInstance(t *testing.T) {
	for checked, finds := range map[string]bool{"off": false, "on": true} {
		cfg := instancetest.Config(t, catalog.Default(), "checked", checked)
		instancetest.Start(t, cfg)
		s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
		made, err := area.Create(ctx, s, s.Owner(), dsa.Options{})
		if err != nil {
			t.Fatal(err)
		}
		attached, err := area.Attach(ctx, other, other.Owner(), area.Handle(made))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []*dsa.Area{made, attached} {
			stale, err := a.Alloc(100)
			if err == nil {
				err = a.Free(stale)
			}
			if err != nil {
				t.Fatal(err)
			}
			next, err := a.Alloc(100)
			const place = 1<<40 - 1
			for n := 0; err == nil && (next^stale)&place != 0 && n < 10_000; n++ { // until the block has another object
				next, err = a.Alloc(100)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err = a.Bytes(stale); errors.Is(err, dsa.ErrPointer) != finds {
				t.Errorf("checked = %s: the bytes of a stale pointer: %v", checked, err)
			}
			if _, err = a.Bytes(next); err != nil {
				t.Error(err)
			}
		}
		clean(t, made)
		h, err := dshash.Create[uint64, uint64](made, dshash.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for k := range uint64(5000) {
			if err := h.Set(ctx, k, k); err != nil {
				t.Fatal(err)
			}
		}
		if rep, err := h.Verify(ctx); err != nil || len(rep.Problems) > 0 || rep.Entries != 5000 {
			t.Errorf("checked = %s: a table in the area: %+v, %v", checked, rep, err)
		}
		clean(t, attached)
	}
}
