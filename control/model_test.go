package control

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestModel runs random steps of several members, deaths and reclaims among them, beside a model, and
// compares the two after each.
func TestModel(t *testing.T) {
	type segment struct {
		entry  Entry
		refs   map[*Member]bool
		pinned bool
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	w := newWorld(t, Limits{Processes: 5, Segments: 12, Reserved: 130 * PageSize})
	var members []*Member
	model := map[uint64]*segment{}
	pages := newPageModel(w)
	// unheld takes a carved segment that nothing keeps from the model: no process has to do anything about it.
	unheld := func(s *segment) {
		if s.entry.Page != 0 && len(s.refs) == 0 && !s.pinned {
			pages.free(s.entry)
			delete(model, s.entry.Handle)
		}
	}
	pick := func() (*Member, *segment) {
		m := members[rng.IntN(len(members))]
		k := rng.IntN(len(model) + 1)
		for _, s := range model {
			if k--; k < 0 {
				return m, s
			}
		}
		return m, nil
	}
	gone := func(m *Member, entries ...Entry) {
		for _, e := range entries {
			if s := model[e.Handle]; s != nil && (len(s.refs) > 0 || s.pinned) {
				t.Fatalf("a segment in use is to be destroyed")
			}
			delete(model, e.Handle)
			if err := m.Destroyed(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 20000 {
		if len(members) == 0 || rng.IntN(20) == 0 {
			if m, err := w.Join(ctx, w.witness, w.who()); err == nil {
				members = append(members, m)
				gone(m, w.owed(m)...)
			} else if len(members) < 5 || !errors.Is(err, ErrTooManyProcesses) {
				t.Fatal(err)
			}
			continue
		}
		m, s := pick()
		switch step := rng.IntN(12); {
		case step < 3:
			if rng.IntN(2) == 0 {
				size := 1 + rng.IntN(PageSize<<rng.IntN(6))
				e, ok, err := m.Carve(ctx, size, 0)
				if ok {
					err = m.Publish(&e, nil)
					model[e.Handle] = &segment{entry: e, refs: map[*Member]bool{m: true}}
					pages.use(e)
				} else if err == nil {
					pages.wantNoRoom(size)
				}
				if err != nil && !(errors.Is(err, ErrTooManySegments) && len(model) == 12) {
					t.Fatal(err)
				}
				break
			}
			e, err := m.Create(ctx, 1+rng.IntN(100), time.Now())
			if errors.Is(err, ErrTooManySegments) && len(model) == 12 {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(4) == 0 {
				err = m.Abandon(ctx, e)
			} else {
				err = m.Created(ctx, e, rng.Uint64())
				model[e.Handle] = &segment{entry: e, refs: map[*Member]bool{m: true}}
			}
			if err != nil {
				t.Fatal(err)
			}
		case s == nil:
		case step < 5:
			if _, err := m.Ref(ctx, s.entry.Handle); err != nil {
				t.Fatal(err)
			}
			s.refs[m] = true
		case step < 8 && s.refs[m]:
			delete(s.refs, m)
			last, err := m.Unref(ctx, s.entry)
			if err != nil || last != (len(s.refs) == 0 && !s.pinned && s.entry.Page == 0) {
				t.Fatalf("Unref = %v, %v with %d references, pinned %v", last, err, len(s.refs), s.pinned)
			}
			if last {
				gone(m, s.entry)
			}
			unheld(s)
		case step == 8:
			s.pinned = true
			if err := m.Pin(ctx, s.entry.Handle, false); err != nil {
				t.Fatal(err)
			}
		case step == 9 && s.pinned:
			s.pinned = false
			_, last, err := m.Unpin(ctx, s.entry.Handle)
			if err != nil || last != (len(s.refs) == 0 && s.entry.Page == 0) {
				t.Fatal(last, err)
			}
			if last {
				gone(m, s.entry)
			}
			unheld(s)
		case step == 10 && len(members) > 1: // m dies, another one reclaims
			k := 0
			for members[k] != m {
				k++
			}
			members = append(members[:k], members[k+1:]...)
			if rng.IntN(2) == 0 {
				_, _ = m.enter(ctx, plain) // with the lock in hand
			}
			w.die(m)
			for _, s := range model {
				delete(s.refs, m)
				unheld(s)
			}
			by := members[rng.IntN(len(members))]
			if _, err := by.Reclaim(ctx, m.Row(), m.Incarnation()); err != nil {
				t.Fatal(err)
			}
			gone(by, w.owed(by)...)
		case step == 11 && rng.IntN(10) == 0:
			pages.garble(rng)
			if err := m.Retry(ctx); err != nil {
				t.Fatal(err)
			}
		}
		pages.check()
		list, _ := w.Segments()
		if len(list) != len(model) {
			t.Fatalf("%d rows, the model has %d", len(list), len(model))
		}
		var bytes uint64
		for _, info := range list {
			s := model[info.Handle]
			if s == nil || info.State != Live || len(info.Holders) != len(s.refs) ||
				info.Pinned != s.pinned || !info.Sound {
				t.Fatalf("row %+v, model %+v", info, s)
			}
			bytes += uint64(info.Size)
		}
		if rows, used, _ := w.Used(); rows != len(model) || used != bytes {
			t.Fatalf("counted %d rows, %d bytes; want %d, %d", rows, used, len(model), bytes)
		}
		ps, _ := w.Processes()
		for _, p := range ps {
			n, bytes := 0, uint64(0)
			for _, s := range model {
				for m := range s.refs {
					if m.Row() == p.Row {
						n, bytes = n+1, bytes+uint64(s.entry.Size)
					}
				}
			}
			if p.Segments != n || p.Bytes != bytes {
				t.Fatalf("row %d counts %d segments of %d bytes, want %d of %d", p.Row, p.Segments, p.Bytes, n, bytes)
			}
		}
	}
}

func TestConcurrentMembers(t *testing.T) {
	w := newWorld(t, Limits{Processes: 10, Segments: 64})
	var wg sync.WaitGroup
	for range 4 {
		m := w.join()
		for range 2 {
			wg.Go(func() {
				for range 500 {
					e, err := m.Create(ctx, 8, time.Now())
					if err == nil {
						err = m.Created(ctx, e, 0)
					}
					if err != nil {
						t.Error(err)
						return
					}
					if last, err := m.Unref(ctx, e); !last || err != nil {
						t.Error(last, err)
						return
					}
					if err := m.Destroyed(ctx, e); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	w.wantEmpty()
}
