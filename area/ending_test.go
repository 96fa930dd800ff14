package area_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// moments are those at which an owner may end while an area takes a new segment into use.
var moments = []string{"made", "lent", "pin", "pinned", "hook", "hooked"}

// ending is a source of segments each of which has an owner that ends at a moment, armed beforehand.
type ending struct {
	session *dsm.Session
	moment  string
}

type endingSegment struct {
	dsa.Segment
	owner  *resowner.Owner
	moment string
}

func (e *ending) under(f func(dsa.SegmentSource) (dsa.Segment, error)) (dsa.Segment, error) {
	owner, err := e.session.Owner().Child("ending")
	if err != nil {
		return nil, err
	}
	g, err := f(area.Source(e.session, owner))
	if err != nil {
		return nil, err
	}
	x := endingSegment{g, owner, e.moment}
	x.is("made")
	return x, nil
}

func (e *ending) Create(ctx context.Context, size int) (dsa.Segment, error) {
	return e.under(func(s dsa.SegmentSource) (dsa.Segment, error) { return s.Create(ctx, size) })
}

func (e *ending) Attach(ctx context.Context, handle uint64) (dsa.Segment, error) {
	return e.under(func(s dsa.SegmentSource) (dsa.Segment, error) { return s.Attach(ctx, handle) })
}

func (e *ending) Unpin(ctx context.Context, handle uint64) error {
	return area.Source(e.session, nil).Unpin(ctx, handle)
}

func (g endingSegment) is(moment string) {
	if moment == g.moment {
		_ = g.owner.Abort()
	}
}

func (g endingSegment) With(f func([]byte) error) error {
	return g.Segment.With(func(b []byte) error {
		g.is("lent")
		return f(b)
	})
}

func (g endingSegment) Pin(ctx context.Context) error {
	g.is("pin")
	err := g.Segment.Pin(ctx)
	g.is("pinned")
	return err
}

func (g endingSegment) OnDetach(f func()) (cancel func() bool) {
	g.is("hook")
	cancel = g.Segment.OnDetach(f)
	g.is("hooked")
	return cancel
}

// TestOwnerEndsMeanwhile: an owner that another goroutine ends takes no bytes away that are being
// made an area's. There is an error, and nothing is left.
func TestOwnerEndsMeanwhile(t *testing.T) {
	for _, moment := range moments {
		t.Run(moment, func(t *testing.T) {
			cfg := instancetest.Config(t, catalog.Default())
			instancetest.Start(t, cfg)
			s := instancetest.Open(t, cfg)
			e := &ending{session: s, moment: moment}
			if a, err := dsa.Create(ctx, e, s.Self(), dsa.Options{}); !errors.Is(err, dsa.ErrClosed) {
				t.Errorf("Create = %v, %v", a, err)
			}
			noneLeft(t, cfg)

			other := instancetest.Open(t, cfg)
			b, err := area.Create(ctx, other, other.Owner(), dsa.Options{Initial: 1, MaxSegment: 1})
			if err != nil {
				t.Fatal(err)
			}
			if moment != "pin" && moment != "pinned" {
				if a, err := dsa.Attach(ctx, e, s.Self(), b.Handle()); !errors.Is(err, dsa.ErrClosed) {
					t.Errorf("Attach = %v, %v", a, err)
				}
			}
			e.moment = ""
			a, err := dsa.Attach(ctx, e, s.Self(), b.Handle())
			if err != nil {
				t.Fatal(err)
			}
			if moment == "hooked" { // the area's detachment waits for the call
				return
			}
			e.moment = moment
			if p, err := a.Alloc(1 << 20); !errors.Is(err, dsa.ErrClosed) {
				t.Errorf("Alloc = %v, %v", p, err)
			}
			p, err := b.Alloc(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Bytes(p); !errors.Is(err, dsa.ErrClosed) && moment != "pin" && moment != "pinned" {
				t.Errorf("Bytes = %v", err)
			}
			if rep, err := a.Verify(ctx); !errors.Is(err, dsa.ErrClosed) && moment != "pin" && moment != "pinned" {
				t.Errorf("Verify = %v, %v", rep.Problems, err)
			}
			e.moment = ""
			if b, err := a.Bytes(p); err != nil || len(b) != 1<<20 {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			clean(t, a)
			clean(t, b)
			if err := errors.Join(a.Detach(), b.Detach()); err != nil {
				t.Error(err)
			}
			noneLeft(t, cfg)
		})
	}
}

// TestVerifyWhenOwnerHasEnded: what can't be looked at any more, since the owner has ended, is no problem of the table.
func TestVerifyWhenOwnerHasEnded(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	b, err := area.Create(ctx, other, other.Owner(), dsa.Options{Initial: 1, MaxSegment: 1})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := dshash.CreateBytes(b, dshash.Options{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	e := &ending{session: s}
	a, err := dsa.Attach(ctx, e, s.Self(), b.Handle())
	if err != nil {
		t.Fatal(err)
	}
	mine, err := dshash.AttachBytes(a, theirs.Handle(), dshash.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.Set(ctx, []byte("key"), make([]byte, 1<<20)); err != nil { // in a segment that a has not mapped
		t.Fatal(err)
	}
	e.moment = "made"
	if rep, err := mine.Verify(ctx); !errors.Is(err, dsa.ErrClosed) {
		t.Errorf("Verify = %v, %v", rep.Problems, err)
	}
	e.moment = ""
	if rep, err := mine.Verify(ctx); err != nil || len(rep.Problems) > 0 || rep.Entries != 1 {
		t.Errorf("Verify afterwards = %+v, %v", rep, err)
	}
}

// TestOwnerEndsBeside: so it is whenever the owner ends, and with an area that is in use.
func TestOwnerEndsBeside(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s, other := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	for round := range 150 {
		owner := child(t, s.Owner())
		var ends sync.WaitGroup
		ends.Go(func() {
			for range round * 20 {
				runtime.Gosched()
			}
			_ = owner.Abort()
		})
		a, err := area.Create(ctx, s, owner, dsa.Options{Initial: 1, MaxSegment: 1, Sessions: 2, Limit: 1 << 21})
		for err == nil || errors.Is(err, dsa.ErrLimit) {
			_, err = a.Alloc(1 << 15)
		}
		if !errors.Is(err, dsa.ErrClosed) {
			t.Error(err)
		}
		ends.Wait()
		b, err := area.Create(ctx, other, other.Owner(), dsa.Options{Sessions: 2})
		if err != nil {
			t.Fatal(err)
		}
		owner = child(t, s.Owner())
		ends.Go(func() { _ = owner.Abort() })
		if _, err := area.Attach(ctx, s, owner, area.Handle(b)); err != nil && !errors.Is(err, dsa.ErrClosed) {
			t.Error(err)
		}
		ends.Wait()
		if err := b.Detach(); err != nil {
			t.Error(err)
		}
	}
	noneLeft(t, cfg)
}

// TestAllOwnersEnd: an area goes with the last of its sessions, though none of them has all of it mapped.
func TestAllOwnersEnd(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	eye := instancetest.Open(t, cfg)
	options := dsa.Options{Initial: 1 << 16, MaxSegment: 1 << 16, Keep: -1, Sessions: 8}
	var owners [4]*resowner.Owner
	var areas [4]*dsa.Area
	for i := range owners {
		s := instancetest.Open(t, cfg)
		owners[i] = child(t, s.Owner())
		var err error
		if i == 0 {
			areas[i], err = area.Create(ctx, s, owners[i], options)
		} else {
			areas[i], err = area.Attach(ctx, s, owners[i], area.Handle(areas[0]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct{ who, size int }{{0, 16}, {3, 16}, {1, 60000}, {2, 60000}} {
		if _, err := areas[x.who].Alloc(x.size); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{3, 0, 1, 2} {
		_ = owners[i].Abort() // the last of them removes it, whatever the others could not do
	}
	noSegments(t, eye)
}

// TestCloseMeetsOwner: an area goes though its session is closed while the owner ends.
func TestCloseMeetsOwner(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	eye := instancetest.Open(t, cfg)
	for i := range 200 {
		s := instancetest.Open(t, cfg)
		o := child(t, s.Owner())
		if _, err := area.Create(ctx, s, o, dsa.Options{Initial: 200 << 10}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- o.Abort() }()
		for range i {
			runtime.Gosched()
		}
		if err := errors.Join(s.Close(), <-done); err != nil {
			t.Error(err)
		}
	}
	noSegments(t, eye)
}

// noSegments: at this moment the books have none.
func noSegments(t *testing.T, s *dsm.Session) {
	t.Helper()
	if list, err := s.Segments(ctx); err != nil || len(list) != 0 {
		t.Errorf("%d segments are left, %v", len(list), err)
	}
}
