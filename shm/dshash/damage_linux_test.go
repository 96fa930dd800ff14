package dshash_test

import (
	"errors"
	"io"
	"testing"

	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/testing/swaptest"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// TestTruncated: the segments of tables are truncated, before a call and while an entry is held: it is ErrCorrupt, and
// leaves nothing of this process locked.
func TestTruncated(t *testing.T) {
	s := newStage(t, 4)
	s.memory.NeedAddresses(t)
	held, _, err := s.second.tab.FindExclusive(ctx, 3)
	must(t, err)
	_, err = held.Update()
	must(t, err)
	shared, _, err := s.second.bs.Find(ctx, name(5))
	must(t, err)
	for _, h := range s.memory.Handles() {
		must(t, s.memory.Truncate(h, 0))
	}
	for range 2 {
		for _, use := range append(uses, own...) {
			if use.name == "len" { // is 0
				continue
			}
			if err := use.call(s.second, 1); !errors.Is(err, dshash.ErrCorrupt) {
				t.Errorf("%s: %v", use.name, err)
			}
		}
	}
	if _, err := held.Update(); err == nil {
		// the copy was there already
		held.Release()
	} else if !errors.Is(err, dshash.ErrCorrupt) {
		t.Error(err)
	}
	held.Release()
	if k, v := shared.Key(), shared.Value(); len(k)+len(v) != 0 {
		t.Errorf("%d and %d bytes", len(k), len(v))
	}
	_ = fault.Contain(func() error { // this alone is no scope
		shared.Release()
		return nil
	})
	if n := s.second.tab.Len(); n != 0 {
		t.Errorf("Len = %d", n)
	}
	if err := s.second.tab.Destroy(ctx); !errors.Is(err, dshash.ErrCorrupt) {
		t.Errorf("Destroy = %v", err)
	}
	if err := s.second.area.Detach(); err != nil && !errors.Is(err, dshash.ErrCorrupt) {
		t.Errorf("Detach = %v", err)
	}
	s.second.refused(t)
	must(t, s.closes.Close())
}

// TestGarbledIsRepaired: what a stray store has hit is ErrCorrupt once, at most; then the partition is in order,
// with what of it was not hit, and can be destroyed.
func TestGarbledIsRepaired(t *testing.T) {
	for _, what := range dshash.Garbles {
		t.Run(what.Name, func(t *testing.T) {
			a := heap(t, dsa.Options{})
			tab, err := dshash.CreateBytes(a, dshash.Options{Partitions: 1})
			must(t, err)
			for k := range uint64(50) {
				must(t, tab.Set(ctx, name(k), text(k)))
			}
			what.Garble(tab)
			failed := 0
			for range 3 {
				for k := range uint64(50) {
					if err := tab.Set(ctx, name(k), text(k)); err != nil {
						if failed++; !errors.Is(err, dshash.ErrCorrupt) {
							t.Fatal(err)
						}
					}
				}
			}
			if failed > 2 {
				t.Errorf("%d calls have failed", failed)
			}
			for k := range uint64(50) {
				if b, found, err := tab.Get(ctx, name(k), nil); err != nil || !found || checkText(b) != nil {
					t.Errorf("%s: %v, %v, %v", name(k), found, err, checkText(b))
				}
			}
			must(t, tab.Dump(ctx, io.Discard))
			must(t, tab.Destroy(ctx))
		})
	}
}

// TestLockBits: each bit of a partition's lock is turned by a stray store, poisoned among them: both sessions go on, and
// all entries stay.
func TestLockBits(t *testing.T) {
	s := newStage(t, 1)
	step := 1
	if testing.Short() {
		step = 29
	}
	words := dshash.Words(s.first.bs)
	for bit := 0; bit < len(words)*64; bit += step {
		if bit >= 64 && bit%3 != 0 {
			continue // of the slots, each other one is as good
		}
		words[bit/64].Store(words[bit/64].Load() ^ 1<<(bit%64))
		for _, w := range []world{s.second, s.first} {
			for _, use := range []string{"bytes set", "bytes find", "bytes get"} {
				for _, u := range uses {
					if u.name != use {
						continue
					}
					if err := u.call(w, uint64(bit)); err != nil {
						t.Fatalf("bit %d of word %d: %s: %v", bit%64, bit/64, use, err)
					}
				}
			}
		}
	}
	s.end(t)
}

// TestCreateIntoBytesThatAreGone makes a table in a word, in an object most of which is behind the end of a truncated
// segment: it is ErrCorrupt, the object is free again, and the word reads 0.
func TestCreateIntoBytesThatAreGone(t *testing.T) {
	m := swaptest.New(t)
	m.NeedAddresses(t)
	session := m.Session(1)
	a, err := dsa.Create(ctx, session, session.Self(), dsa.Options{Initial: 1 << 20})
	must(t, err)
	p, err := a.AllocZeroed(16)
	must(t, err)
	at, err := a.Place(p, 0)
	must(t, err)
	tab, err := dshash.CreateBytesInto(a, at, dshash.Options{})
	must(t, err)
	behind := len(a.Peek(tab.Handle()))
	must(t, errors.Join(a.FreeFrom(at), a.Trim(ctx))) // the next one comes into the same place
	before, err := a.Stats(ctx)
	must(t, err)
	b, err := m.Map(t, a.Handle())
	must(t, err)
	must(t, m.Truncate(a.Handle(), (len(b)-behind+2*4096-1)&^4095))
	_, err = dshash.CreateBytesInto(a, at, dshash.Options{})
	if !errors.Is(err, dshash.ErrCorrupt) {
		t.Errorf("CreateBytesInto: %v", err)
	}
	if at.Pointer() != 0 {
		t.Errorf("the word has %v", at.Pointer())
	}
	if after, err := a.Stats(ctx); err != nil || after.Objects != before.Objects {
		t.Errorf("%d objects, and %d before; %v", after.Objects, before.Objects, err)
	}
	_ = errors.Join(a.Detach(), session.Close())
}
