package dsm_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm"
)

// unable is a backend that can't swap.
type unable struct{ dsmimpl.Backend }

// loose is one that can't swap, but can let go of an object and keep the bytes.
type loose struct{ dsmimpl.Backend }

func (l *loose) Loosen(m dsmimpl.Mapping) dsmimpl.Mapping {
	if b, ok := l.Backend.(dsmimpl.Loosener); ok {
		return b.Loosen(m)
	}
	return m
}

// TestWithoutSwap: where nothing can be swapped, bytes with a view stay mapped as long as the view is in use, but to
// others they are gone at once. No segment is made in the region then, where other segments would come in its place;
// one that lies there already stays the session's as long.
func TestWithoutSwap(t *testing.T) {
	backends := map[string]func(dsmimpl.Backend) dsmimpl.Backend{
		"unable": func(b dsmimpl.Backend) dsmimpl.Backend { return &unable{b} },
		"loose":  func(b dsmimpl.Backend) dsmimpl.Backend { return &loose{b} },
	}
	for kind, wrap := range backends {
		for _, reserved := range []string{"0", "64kB"} {
			for _, by := range []string{"detach", "close"} {
				t.Run(fmt.Sprint(kind, "/", reserved, "/", by), func(t *testing.T) {
					endWithoutSwap(t, wrap, reserved, by)
				})
			}
		}
	}
}

func endWithoutSwap(t *testing.T, wrap func(dsmimpl.Backend) dsmimpl.Backend, reserved, by string) {
	real, err := catalog.New(catalog.Default(), "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := instancetest.Config(t, real.Name(), "min_dynamic_shared_memory", reserved)
	instancetest.Start(t, cfg)
	other := instancetest.Open(t, cfg)
	cfg.Backend = wrap(real)
	s := instancetest.Open(t, cfg)
	own := create(t, s, 4096)
	wantReserved(t, other, own, false)
	g := own
	if reserved != "0" {
		theirs := create(t, other, 4096)
		if i, _ := info(t, other, theirs.Handle()); !i.Reserved {
			t.Skip("skipped: no session here makes segments in the region")
		}
		g = attach(t, s, theirs.Handle())
		if err := theirs.Detach(); err != nil {
			t.Fatal(err)
		}
	}
	r := g.Region()
	b, _ := r.Bytes(0, 4096)
	if by == "detach" {
		err = g.Detach()
	} else {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	fill := bytes.Repeat([]byte{0x55}, 4096)
	var fresh []*dsm.Segment
	for range 20 {
		f := create(t, other, 4096)
		copy(f.Bytes(), fill)
		fresh = append(fresh, f)
	}
	if !r.View().Ended() {
		t.Error("the view has not ended")
	}
	copy(b, bytes.Repeat([]byte{0xee}, 4096))
	for _, f := range fresh {
		if !bytes.Equal(f.Bytes(), fill) {
			t.Fatal("a late store has reached another segment")
		}
	}
	i, there := info(t, other, g.Handle())
	if there != (reserved != "0") || there && i.Refs != 1 {
		t.Errorf("in use: %v, %+v", there, i)
	}
	sessions := func() int {
		list, err := other.Sessions(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n := sessions(); by == "close" && reserved == "0" && n != 1 {
		t.Errorf("%d sessions after Close", n)
	}
	r = shm.Region{}
	instancetest.Eventually(t, "what is in use no longer goes", func() bool {
		runtime.GC()
		_, there := info(t, other, g.Handle())
		return !there && (by == "detach" || sessions() == 1)
	})
}

// TestPlainBytesWithoutSwap: bytes that have no view are of use after Close as well, as long as there is room, where the
// object can be let go of.
func TestPlainBytesWithoutSwap(t *testing.T) {
	real, err := catalog.New(catalog.Default(), "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := instancetest.Config(t, real.Name())
	instancetest.Start(t, cfg)
	other := instancetest.Open(t, cfg)
	cfg.Backend = &loose{real}
	s := instancetest.Open(t, cfg)
	g := create(t, s, 4096)
	b := g.Bytes()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		create(t, other, 4096)
	}
	if b[4095]++; b[4095] != 1 {
		t.Error("other bytes are mapped there")
	}
	nothingLeft(t, other, g)
}
