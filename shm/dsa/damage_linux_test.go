package dsa_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
)

// TestRowGoneWithSpan: a row says that a segment went back in which this session has a span: the segment stays mapped,
// and all else goes on.
func TestRowGoneWithSpan(t *testing.T) {
	s := newStage(t)
	s.closes.Unmap = true
	var p dsa.Pointer
	for p = alloc(t, s.area, 3000); dsa.SegmentOf(p) == 0; p = alloc(t, s.area, 3000) {
	}
	b, err := s.area.Bytes(p)
	if err != nil {
		t.Fatal(err)
	}
	dsa.Gone(s.other, p)
	if err := s.area.Current(); err != nil {
		t.Error(err)
	}
	b[0] = 1
	for _, n := range []int{16, 3000, 30_000, 100_000} {
		for range 50 {
			if _, err := s.area.Alloc(n); err != nil && !errors.Is(err, dsa.ErrCorrupt) {
				t.Fatal(err)
			}
		}
	}
	rep, err := s.area.Verify(ctx)
	if err != nil || len(rep.Problems) == 0 {
		t.Errorf("%d problems, %v", len(rep.Problems), err)
	}
	dsa.Come(s.other, p)
	if err := errors.Join(s.area.Detach(), s.closes.Close()); err != nil {
		t.Error(err)
	}
	clean(t, s.other)
}

// TestTruncated: segments of an area are truncated: calls that are not the shortest are ErrCorrupt, and leave
// nothing locked.
func TestTruncated(t *testing.T) {
	for _, which := range []string{"first", "others"} {
		t.Run(which, func(t *testing.T) {
			s := newStage(t)
			s.memory.NeedAddresses(t)
			handles := s.memory.Handles()
			if which == "first" {
				handles = handles[:1]
			} else {
				handles = handles[1:]
			}
			for _, h := range handles {
				if err := s.memory.Truncate(h, 0); err != nil {
					t.Fatal(err)
				}
			}
			failed := false
			for _, use := range []struct {
				name string
				call func() error
			}{
				{"trim", func() error { return s.area.Trim(ctx) }},
				{"verify", func() error { _, err := s.area.Verify(ctx); return err }},
				{"recover", func() error { _, err := s.area.Recover(ctx); return err }},
				{"stats", func() error { _, err := s.area.Stats(ctx); return err }},
				{"dump", func() error { return s.area.Dump(ctx, io.Discard) }},
				{"pin", func() error { return errors.Join(s.area.Pin(ctx), s.area.Unpin(ctx)) }},
				{"limit", func() error { return s.area.SetLimit(ctx, 1<<30) }},
				{"total", func() error { _ = s.area.Total(); return nil }},
				{"other class", func() error { _, err := s.area.Alloc(700); return err }},
				{"bytes", func() error { _, err := s.area.Bytes(s.ps[1]); return err }},
				{"into", func() error {
					at, err := s.area.Place(s.ps[0], 8)
					if err != nil {
						return err
					}
					return errors.Join(s.area.AllocInto(30_000, at), s.area.FreeFrom(at))
				}},
				{"larger", func() error { _, err := s.area.Alloc(350_000); return err }},
				{"detach", s.area.Detach},
				{"close", s.closes.Close},
			} {
				err := use.call()
				if err != nil && !errors.Is(err, dsa.ErrCorrupt) {
					t.Errorf("%s: %v", use.name, err)
				}
				failed = failed || err != nil
				if !dsa.Idle(s.area) {
					t.Fatalf("%s leaves a stripe locked", use.name)
				}
			}
			if !failed {
				t.Error("nothing has failed")
			}
		})
	}
}

// TestLockBits: each bit of the area's locks is turned by a stray store, poisoned among them: both sessions go on.
func TestLockBits(t *testing.T) {
	s := newStage(t)
	step := 1
	if testing.Short() {
		step = 29
	}
	words := dsa.LockWords(s.other)
	for bit := 0; bit < len(words)*64; bit += step {
		if bit%2048 >= 64 && bit%3 != 0 {
			continue // of the slots, each other one is as good
		}
		words[bit/64].Store(words[bit/64].Load() ^ 1<<(bit%64))
		for _, a := range []*dsa.Area{s.area, s.other} {
			p, err := a.Alloc(300_000)
			if err == nil {
				err = errors.Join(a.Free(p), a.Trim(ctx))
			}
			if err != nil {
				t.Fatalf("bit %d of word %d: %v", bit%64, bit/64, err)
			}
		}
	}
	clean(t, s.other)
	if err := errors.Join(s.area.Detach(), s.closes.Close(), s.other.Detach()); err != nil {
		t.Error(err)
	}
}

// TestAllocZeroedOfBytesThatAreGone allocates an object whose bytes are behind the end of a truncated segment, while its
// description is not: AllocZeroed fails, and the object is not allocated then.
func TestAllocZeroedOfBytesThatAreGone(t *testing.T) {
	for _, size := range []int{16, 3000} {
		s := newStage(t)
		s.memory.NeedAddresses(t)
		p := alloc(t, s.area, size) // there is a span with room
		if _, err := s.area.Bytes(p); err != nil {
			t.Fatal(err)
		}
		before, err := s.area.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range s.memory.Handles() {
			b, err := s.memory.Map(t, h)
			if err != nil {
				t.Fatal(err)
			}
			segment := 1
			if h == s.area.Handle() {
				segment = 0
			}
			if err := s.memory.Truncate(h, dsa.DataOf(segment, len(b), 8)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.area.AllocZeroed(size); !errors.Is(err, dsa.ErrCorrupt) {
			t.Errorf("AllocZeroed(%d): %v", size, err)
		}
		if after, err := s.area.Stats(ctx); err != nil || after.Objects != before.Objects {
			t.Errorf("%d objects, and %d before AllocZeroed(%d); %v", after.Objects, before.Objects, size, err)
		}
		if !dsa.Idle(s.area) {
			t.Error("a stripe is locked")
		}
		_ = errors.Join(s.area.Detach(), s.closes.Close(), s.other.Detach())
	}
}

// TestFreeFromOfBytesThatAreGone frees an object of a truncated segment whose stripe this session knows from an earlier
// call, so that the fault comes on the short way: FreeFrom fails, the word keeps the object, and no stripe stays locked.
func TestFreeFromOfBytesThatAreGone(t *testing.T) {
	s := newStage(t)
	s.memory.NeedAddresses(t)
	k := slices.IndexFunc(s.ps, func(p dsa.Pointer) bool { return dsa.SegmentOf(p) == 0 })
	if k < 0 {
		t.Fatal("the first segment has no object")
	}
	at, err := s.area.Place(s.ps[k], 8)
	if err != nil {
		t.Fatal(err)
	}
	for at.Clear(); dsa.SegmentOf(at.Pointer()) == 0; {
		at.Clear()
		if err := s.area.AllocInto(3000, at); err != nil {
			t.Fatal(err)
		}
	}
	alloc(t, s.area, 3000)                      // so the span stays
	if err := s.area.FreeFrom(at); err != nil { // notes the stripe
		t.Fatal(err)
	}
	if err := s.area.AllocInto(3000, at); err != nil || dsa.SegmentOf(at.Pointer()) == 0 {
		t.Fatal(at.Pointer(), err)
	}
	for _, h := range s.memory.Handles() {
		if h != s.area.Handle() {
			if err := s.memory.Truncate(h, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := at.Pointer()
	if err := s.area.FreeFrom(at); !errors.Is(err, dsa.ErrCorrupt) {
		t.Errorf("FreeFrom: %v", err)
	}
	if at.Pointer() != p {
		t.Errorf("the word reads %v, not %v", at.Pointer(), p)
	}
	if !dsa.Idle(s.area) {
		t.Error("a stripe is locked")
	}
	_ = errors.Join(s.area.Detach(), s.closes.Close(), s.other.Detach())
}
