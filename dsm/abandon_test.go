//go:build unix

package dsm_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/tape"
	"github.com/rs/zerolog"
)

// The rehearsal of death with an operating system: several sessions of this process do what a program of bytes says,
// and are abandoned between calls or in the middle of one, beside a model of the references that each session holds.
// After each death, once the supervisor has reclaimed, references are the model's and objects are as many as rows. (Not
// on Windows, where an object goes by itself, with the handles of a process that here lives on.)

// mortal is a backend in whose hands a session's goroutine may die: before or after the system has done what was asked.
type mortal struct {
	dsmimpl.Backend
	death point
}

type point struct {
	call  string
	after bool
}

func (b *mortal) Create(ctx context.Context, o dsmimpl.Object) (m dsmimpl.Mapping, word uint64, err error) {
	b.at("create", false)
	if m, word, err = b.Backend.Create(ctx, o); err == nil && b.dies("create", true) {
		_ = b.Detach(m)
		b.at("create", true)
	}
	return m, word, err
}

func (b *mortal) Attach(ctx context.Context, o dsmimpl.Object, a dsmimpl.Access) (m dsmimpl.Mapping, err error) {
	b.at("attach", false)
	if m, err = b.Backend.Attach(ctx, o, a); err == nil && b.dies("attach", true) {
		_ = b.Detach(m)
		b.at("attach", true)
	}
	return m, err
}

func (b *mortal) Destroy(ctx context.Context, o dsmimpl.Object) error {
	b.at("destroy", false)
	err := b.Backend.Destroy(ctx, o)
	b.at("destroy", true)
	return err
}

func (b *mortal) dies(call string, after bool) bool { return b.death == point{call, after} }

func (b *mortal) at(call string, after bool) {
	if b.dies(call, after) {
		runtime.Goexit()
	}
}

type actor struct {
	session  *dsm.Session
	backend  *mortal
	segments []*dsm.Segment
}

type fact struct {
	holders map[*actor]bool
	pinned  bool
}

type rehearsal struct {
	*testing.T
	cfg    dsm.Config
	kind   string
	tape   *tape.Tape
	actors []*actor
	facts  map[dsm.Handle]*fact
}

func FuzzAbandon(f *testing.F) {
	f.Add(uint8(0), []byte{0, 0, 9, 1, 1, 0, 2, 1, 0, 5, 0, 3, 1, 0, 5, 1})
	f.Add(uint8(1), []byte{0, 0, 9, 3, 0, 0, 7, 0, 0, 0, 1, 7, 1, 1, 8, 0, 1, 0})
	f.Add(uint8(2), []byte{0, 2, 9, 8, 1, 0, 0, 9, 2, 1, 0, 6, 1, 4, 0, 0, 5, 2})
	f.Fuzz(func(t *testing.T, backend uint8, program []byte) {
		kinds := catalog.Native()
		rehearse(t, kinds[int(backend)%len(kinds)], program)
	})
}

// TestAbandon runs random programs, so that each run of the tests has some without fuzzing.
func TestAbandon(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		x := uint64(len(backend))
		for n := range 6 {
			b := make([]byte, 400+n)
			for i := range b {
				x = x*6364136223846793005 + 1442695040888963407
				b[i] = byte(x >> 33)
			}
			rehearse(t, backend, b)
		}
	})
}

func rehearse(t *testing.T, kind string, program []byte) {
	region := []string{"0", "32kB"}[len(program)%2]
	cfg := instancetest.Config(t, kind, "min_dynamic_shared_memory", region)
	cfg.Logger = zerolog.Nop()
	instancetest.Start(t, cfg)
	r := &rehearsal{T: t, cfg: cfg, kind: kind, tape: tape.New(program), facts: map[dsm.Handle]*fact{}}
	for range 3 {
		r.actors = append(r.actors, &actor{})
	}
	defer func() {
		for _, a := range r.actors {
			if a.session != nil {
				_ = a.session.Close()
			}
		}
	}()
	for n := 0; r.tape.More() && n < 150; n++ {
		r.step()
	}
	for _, a := range r.actors {
		r.close(a)
	}
	for h, f := range r.facts { // what is left is pinned
		if !f.pinned {
			r.Fatalf("%v is left, and nobody keeps it", h)
		}
		last := r.actors[0]
		r.open(last)
		if err := last.session.Unpin(ctx, h); err != nil {
			r.Fatal(err)
		}
		delete(r.facts, h)
	}
	r.close(r.actors[0])
	r.check()
}

func (r *rehearsal) open(a *actor) {
	if a.session != nil {
		return
	}
	real, err := catalog.New(r.kind, r.cfg.Dir+"/mmap")
	if err != nil {
		r.Fatal(err)
	}
	a.backend = &mortal{Backend: real}
	if a.session, err = dsm.Open(ctx,
		dsm.Config{Dir: r.cfg.Dir, Backend: a.backend, Application: "rehearsal"}); err != nil {
		r.Fatal(err)
	}
}

// close ends a session in order.
func (r *rehearsal) close(a *actor) {
	if a.session == nil {
		return
	}
	if err := a.session.Close(); err != nil {
		r.Fatalf("Close = %v", err)
	}
	r.gone(a)
}

// gone is what the end of a session, in order or not, does to the model.
func (r *rehearsal) gone(a *actor) {
	for h, f := range r.facts {
		delete(f.holders, a)
		if len(f.holders) == 0 && !f.pinned {
			delete(r.facts, h)
		}
	}
	*a = actor{}
}

// dies lets f end in the middle, if it comes to that point, and abandons the session.
func (r *rehearsal) dies(a *actor, p point, f func()) {
	a.backend.death = p
	over := make(chan struct{})
	go func() { defer close(over); f() }()
	<-over
	r.abandon(a)
}

func (r *rehearsal) abandon(a *actor) {
	dsm.Abandon(a.session)
	r.gone(a)
	r.check()
}

func (r *rehearsal) pick() (dsm.Handle, *fact) {
	handles := make([]dsm.Handle, 0, len(r.facts))
	for h := range r.facts {
		handles = append(handles, h)
	}
	slices.SortFunc(handles, func(a, b dsm.Handle) int { return int(a&0xffff) - int(b&0xffff) })
	if len(handles) == 0 {
		return 0, nil
	}
	h := handles[r.tape.Below(len(handles))]
	return h, r.facts[h]
}

func (r *rehearsal) step() {
	a := r.actors[r.tape.Below(len(r.actors))]
	r.open(a)
	s := a.session
	after := r.tape.Below(2) == 1
	switch what := r.tape.Below(10); what {
	case 0:
		if len(r.facts) < 20 {
			g, err := s.Create(ctx, s.Owner(), 1+r.tape.Below(256))
			if err != nil {
				r.Fatal(err)
			}
			a.segments = append(a.segments, g)
			r.facts[g.Handle()] = &fact{holders: map[*actor]bool{a: true}}
		}
	case 5:
		r.abandon(a)
	case 6:
		r.close(a)
	case 7:
		r.dies(a, point{"create", after}, func() { _, _ = s.Create(ctx, s.Owner(), 10) })
	default:
		if h, f := r.pick(); f != nil {
			r.segment(a, what, after, h, f)
		}
	}
}

// segment is a step of a with one segment, if it can be taken now.
func (r *rehearsal) segment(a *actor, what int, after bool, h dsm.Handle, f *fact) {
	s := a.session
	i := slices.IndexFunc(a.segments, func(g *dsm.Segment) bool { return g.Handle() == h })
	switch what {
	case 1:
		g, err := s.Attach(ctx, s.Owner(), h)
		if err != nil {
			r.Fatal(err)
		}
		a.segments = append(a.segments, g)
		f.holders[a] = true
	case 2:
		if i < 0 {
			break
		}
		if err := a.segments[i].Detach(); err != nil {
			r.Fatal(err)
		}
		a.segments = slices.Delete(a.segments, i, i+1)
		if !slices.ContainsFunc(a.segments, func(g *dsm.Segment) bool { return g.Handle() == h }) {
			r.forgo(a, h, f)
		}
	case 3:
		if i >= 0 {
			if err := a.segments[i].Pin(ctx); err != nil {
				r.Fatal(err)
			}
			f.pinned = true
		}
	case 4:
		err := s.Unpin(ctx, h)
		if !f.pinned {
			if !errors.Is(err, dsm.ErrNotFound) {
				r.Fatalf("Unpin of what is not pinned = %v", err)
			}
			break
		}
		if err != nil {
			r.Fatal(err)
		}
		f.pinned = false
		r.forgo(nil, h, f)
	case 8:
		r.dies(a, point{"attach", after}, func() { _, _ = s.Attach(ctx, s.Owner(), h) })
	case 9:
		if i >= 0 {
			r.dies(a, point{"destroy", after}, func() { _ = a.segments[i].Detach() })
		}
	}
}

func (r *rehearsal) forgo(a *actor, h dsm.Handle, f *fact) {
	delete(f.holders, a)
	if len(f.holders) == 0 && !f.pinned {
		delete(r.facts, h)
	}
}

// check waits until the dead are reclaimed and compares what there is with the model.
func (r *rehearsal) check() {
	r.Helper()
	living := 0
	for _, a := range r.actors {
		if a.session != nil {
			living++
		}
	}
	var report dsm.Report
	instancetest.Eventually(r, "the dead are reclaimed", func() bool {
		var err error
		if report, err = dsm.Inspect(ctx, dsm.Config{Dir: r.cfg.Dir}); err != nil {
			r.Fatal(err)
		}
		return len(report.Sessions) == living && !slices.ContainsFunc(report.Segments, func(s dsm.SegmentInfo) bool {
			return s.State != "live"
		})
	})
	if len(report.Segments) != len(r.facts) {
		r.Fatalf("%d segments, the model has %d", len(report.Segments), len(r.facts))
	}
	own := 0
	for _, s := range report.Segments {
		if !s.Reserved {
			own++
		}
		f := r.facts[s.Handle]
		if f == nil {
			r.Fatalf("%+v is not in the model", s)
		}
		if len(s.Holders) != len(f.holders) || s.Pinned != f.pinned {
			r.Fatalf("%+v, the model has %d holders, pinned %v", s, len(f.holders), f.pinned)
		}
	}
	if n := instancetest.Objects(r, r.cfg.Dir); n != own {
		r.Fatalf("%d objects, %d rows that have one", n, own)
	}
}
