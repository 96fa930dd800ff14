package control

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// pageModel is what the map of pages is to say.
type pageModel struct {
	*world
	used []bool
}

func newPageModel(w *world) *pageModel {
	return &pageModel{w, make([]bool, pagesFor(w.Limits.Reserved))}
}

func (p *pageModel) use(e Entry)  { p.set(e, true) }
func (p *pageModel) free(e Entry) { p.set(e, false) }

func (p *pageModel) set(e Entry, used bool) {
	p.Helper()
	first, n := pagesOf(e.Page, uint64(e.Size))
	for i := first; i < first+n; i++ {
		if p.used[i] == used {
			p.Fatalf("page %d of %+v is used %v already", i, e, used)
		}
		p.used[i] = used
	}
}

func (p *pageModel) wantNoRoom(size int) {
	p.Helper()
	run := 0
	for i, used := range p.used {
		if run++; used {
			run = 0
		}
		if run >= int(pagesFor(uint64(size))) {
			p.Fatalf("no room for %d bytes, though %d pages up to %d are free", size, run, i)
		}
	}
}

// check compares each page's bits in both words, and those beyond the end.
func (p *pageModel) check() {
	p.Helper()
	for i := range 64 * len(p.pages) {
		w, bit := &p.pages[i/64], uint64(1)<<(i%64)
		exists := i < len(p.used)
		if used, free := w.used.Load()&bit != 0, w.free.Load()&bit != 0; used != (exists && p.used[i]) ||
			free != (exists && !p.used[i]) {
			p.Fatalf("page %d of %d: used %v, free %v", i, len(p.used), used, free)
		}
	}
}

func (p *pageModel) garble(rng *rand.Rand) {
	w := &p.pages[rng.IntN(len(p.pages))]
	w.used.Store(rng.Uint64() & rng.Uint64())
	w.free.Store(rng.Uint64())
}

var reserved = Limits{Processes: 5, Segments: 8, Reserved: 4 * PageSize, Memory: 1 << 20}

func (w *world) carve(m *Member, size int) Entry {
	w.Helper()
	e, ok, err := m.Carve(ctx, size, time.Now().UnixNano())
	if err != nil || !ok {
		w.Fatalf("Carve = %v, %v", ok, err)
	}
	if err := m.Publish(&e, nil); err != nil {
		w.Fatal(err)
	}
	return e
}

func (w *world) wantNoCarving(m *Member, size int) {
	w.Helper()
	if e, ok, err := m.Carve(ctx, size, 0); ok || err != nil {
		w.Errorf("Carve of %d bytes = %+v, %v, %v", size, e, ok, err)
	}
}

func TestCarve(t *testing.T) {
	w := newWorld(t, reserved)
	a, b := w.join(), w.join()
	e, ok, err := a.Carve(ctx, PageSize+1, 0)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if at, carved := e.Carved(); at != 0 || !carved {
		t.Errorf("it lies at %d, %v", at, carved)
	}
	if _, err := b.Ref(ctx, e.Handle); !errors.Is(err, ErrNotFound) {
		t.Errorf("Ref before Publish = %v", err)
	}
	if err := b.Publish(&e, nil); !errors.Is(err, ErrStale) {
		t.Errorf("Publish by another one = %v", err)
	}
	if err := a.Publish(&e, nil); err != nil {
		t.Fatal(err)
	}
	w.wantNoCarving(a, 2*PageSize+1)
	f := w.carve(a, 2*PageSize)
	w.wantNoCarving(a, 1)
	got, err := b.Ref(ctx, e.Handle)
	if err != nil || got != e {
		t.Errorf("Ref = %+v, %v, want %+v", got, err, e)
	}
	if rows, bytes, _ := w.Used(); rows != 2 || bytes != 3*PageSize+1 {
		t.Errorf("%d rows, %d bytes", rows, bytes)
	}
	if last, err := a.Unref(ctx, e); last || err != nil {
		t.Errorf("Unref = %v, %v", last, err)
	}
	w.wantNoCarving(a, 1)
	if last, err := b.Unref(ctx, e); last || err != nil { // nothing to destroy
		t.Errorf("the last Unref = %v, %v", last, err)
	}
	if err := a.Pin(ctx, f.Handle, false); err != nil {
		t.Fatal(err)
	}
	if !a.TryUnref(f) {
		t.Error("TryUnref has not")
	}
	if _, last, err := b.Unpin(ctx, f.Handle); last || err != nil {
		t.Errorf("Unpin = %v, %v", last, err)
	}
	w.wantEmpty()
	newPageModel(w).check()
	w.carve(a, 4*PageSize)
}

// TestTryBesideTheLock: what does not wait changes nothing while another process has the lock.
func TestTryBesideTheLock(t *testing.T) {
	w := newWorld(t, reserved)
	a, b := w.join(), w.join()
	e := w.carve(a, 1)
	s, err := b.enter(ctx, plain)
	if err != nil {
		t.Fatal(err)
	}
	if a.TryUnref(e) {
		t.Error("done without the lock")
	}
	if f, ok := a.TryCarve(1, 0); ok {
		t.Errorf("carved %+v without the lock", f)
	}
	s.leaveSection(&err)
	if f, ok := a.TryCarve(1, 0); !ok || a.Publish(&f, nil) != nil || !a.TryUnref(f) {
		t.Error("not carved with it")
	}
	if f, ok := a.TryCarve(4*PageSize, 0); ok {
		t.Errorf("carved %+v where there is no room", f)
	}
	if !a.TryUnref(e) {
		t.Error("not done with it")
	}
	if object := w.create(a, 1); a.TryUnref(object) {
		t.Error("done though there is an object to destroy")
	}
}

// TestCarveByTheDead: a process that dies before, in or after any of it holds no page for long.
func TestCarveByTheDead(t *testing.T) {
	for name, die := range map[string]func(w *world, m *Member){
		"carved":    func(w *world, m *Member) { _, _, _ = m.Carve(ctx, 1, 0) },
		"published": func(w *world, m *Member) { w.carve(m, 1) },
		"pages taken": func(w *world, m *Member) {
			_, _ = m.enter(ctx, plain)
			w.useRowPagesLocked(2, 1)
		},
		"row sealed, not live": func(w *world, m *Member) {
			e := w.carve(m, 1)
			_, _ = m.enter(ctx, plain)
			w.segments[e.row()].word.Store(segmentWord(Free, 0, 0))
		},
		"pages given back, row live": func(w *world, m *Member) {
			e := w.carve(m, 1)
			_, _ = m.enter(ctx, plain)
			w.freeRowPagesLocked(e.Page, uint64(e.Size))
		},
		"row free, its seal whole": func(w *world, m *Member) {
			e := w.carve(m, 1)
			_, _ = m.enter(ctx, plain)
			w.freeRowPagesLocked(e.Page, uint64(e.Size))
			w.clearBitsLocked(e.row())
			w.segments[e.row()].word.Store(segmentWord(Free, 0, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, reserved)
			m, other := w.join(), w.join()
			die(w, m)
			w.die(m)
			if _, err := other.Reclaim(ctx, m.Row(), m.Incarnation()); err != nil {
				t.Fatal(err)
			}
			if owed := w.owed(other); len(owed) != 0 {
				t.Errorf("owed: %+v", owed)
			}
			w.wantEmpty()
			newPageModel(w).check()
		})
	}
}

func TestCloseFreesCarved(t *testing.T) {
	w := newWorld(t, reserved)
	a, closer := w.join(), w.join()
	e := w.carve(a, 1)
	late, _, _ := a.Carve(ctx, 1, 0)
	if err := closer.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Publish(&late, nil); !errors.Is(err, ErrStale) {
		t.Errorf("Publish = %v", err)
	}
	for _, e := range []Entry{e, late} {
		if last, err := a.Unref(ctx, e); last || err != nil {
			t.Errorf("Unref = %v, %v", last, err)
		}
	}
	if _, _, err := a.Carve(ctx, 1, 0); !errors.Is(err, ErrStale) {
		t.Errorf("Carve = %v", err)
	}
	if n, err := w.Unfinished(); n != 0 || err != nil {
		t.Errorf("%d rows are waited for, %v", n, err)
	}
	w.wantEmpty()
}

// TestGarbledCarved: what a stray store does to the row of a carved segment gives its pages to no process while it is
// held; when it is given back, by its holder, they can be used again.
func TestGarbledCarved(t *testing.T) {
	for name, c := range map[string]struct {
		garble  func(r *segmentRow)
		corrupt bool // to others, after the next Retry too
	}{
		"page":        {func(r *segmentRow) { r.page.Store(4) }, true},
		"page to 0":   {func(r *segmentRow) { r.page.Store(0) }, true},
		"page beyond": {func(r *segmentRow) { r.page.Store(5) }, true},
		"size":        {func(r *segmentRow) { r.size.Store(3 * PageSize) }, true},
		"word":        {func(r *segmentRow) { r.osWord.Store(1) }, true},
		"check":       {func(r *segmentRow) { r.check.Add(1) }, true},
		"free":        {func(r *segmentRow) { r.word.Store(0) }, false},
		"creating":    {func(r *segmentRow) { r.word.Store(segmentWord(Creating, 4, 9)) }, false},
		"destroying":  {func(r *segmentRow) { r.word.Store(segmentWord(Destroying, nobody, 0)) }, false},
		"unpublished": {func(r *segmentRow) { r.word.Store(segmentWord(Live, 4, 9)) }, false},
		"no state":    {func(r *segmentRow) { r.word.Store(0x42) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, reserved)
			m, other := w.join(), w.join()
			free := w.carve(other, PageSize)
			e := w.carve(m, 2*PageSize)
			rest := w.carve(other, PageSize)
			c.garble(&w.segments[e.row()])
			_ = other.TryUnref(free)
			_ = other.TryUnref(rest)
			for range 2 { // before the next Retry, and after it
				for range 3 {
					f, ok, err := other.Carve(ctx, PageSize, 0)
					if err != nil {
						t.Fatal(err)
					}
					if first, _ := pagesOf(f.Page, uint64(f.Size)); ok && first != 0 && first != 3 {
						t.Fatalf("page %d is given to another one", first)
					}
				}
				if err := other.ReleaseAll(ctx); err != nil {
					t.Fatal(err)
				}
				if err := other.Retry(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := other.Ref(ctx, e.Handle); c.corrupt != errors.Is(err, ErrCorrupt) || !c.corrupt && err != nil {
				t.Errorf("Ref = %v", err)
			}
			_, _ = other.Unref(ctx, e)
			last, err := m.Unref(ctx, e)
			if err != nil {
				t.Fatal(err)
			}
			if last {
				err = m.Destroyed(ctx, e)
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = other.Retry(ctx)
			w.wantEmpty()
			newPageModel(w).check()
		})
	}
}

// TestGarbledMap: a page that one of its two words says is used is given to no process; settling makes the map again.
func TestGarbledMap(t *testing.T) {
	for name, garble := range map[string]func(w *pageWord){
		"zeros":     func(w *pageWord) { w.used.Store(0); w.free.Store(0) },
		"ones":      func(w *pageWord) { w.used.Store(^uint64(0)); w.free.Store(^uint64(0)) },
		"all free":  func(w *pageWord) { w.free.Store(^uint64(0)) },
		"none used": func(w *pageWord) { w.used.Store(0) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Limits{Processes: 5, Segments: 8, Reserved: 8 * PageSize})
			m := w.join()
			e := w.carve(m, 2*PageSize)
			model := newPageModel(w)
			model.use(e)
			garble(&w.pages[0])
			for range 3 {
				if f, ok, err := m.Carve(ctx, 1, 0); err != nil || ok && f.Page <= 2 {
					t.Fatalf("Carve = %+v, %v, %v", f, ok, err)
				} else if ok {
					m.TryUnref(f)
				}
			}
			for range 7 { // no more than there are
				if f, ok, err := m.Carve(ctx, 1, 0); err != nil || ok && (f.Page <= 2 || f.Page > 8) {
					t.Fatalf("Carve = %+v, %v, %v", f, ok, err)
				} else if ok {
					model.use(f)
				}
			}
			if err := m.Retry(ctx); err != nil {
				t.Fatal(err)
			}
			model.check()
		})
	}
}

func TestReservedLimits(t *testing.T) {
	for _, n := range []uint64{1, PageSize + 1, 1 << 63} {
		if err := (Limits{Processes: 1, Segments: 1, Reserved: n}).Check(); err == nil ||
			!strings.Contains(err.Error(), "min_dynamic_shared_memory") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	w := newWorld(t, reserved)
	m := w.join()
	w.wantNoCarving(m, 5*PageSize)
	for range reserved.Segments {
		w.create(m, 1)
	}
	if _, ok, err := m.Carve(ctx, 1, 0); ok || !errors.Is(err, ErrTooManySegments) {
		t.Errorf("Carve with a full table = %v, %v", ok, err)
	}
	newPageModel(w).check()
}

// TestUnpublishedOfAPredecessor: no process can attach what its creator could not publish, not even while a newcomer
// has the creator's row.
func TestUnpublishedOfAPredecessor(t *testing.T) {
	w := newWorld(t, Limits{Processes: 2, Segments: 8, Reserved: 4 * PageSize})
	a, b := w.join(), w.join()
	e, ok, err := a.Carve(ctx, 100, time.Now().UnixNano())
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	w.die(a)
	newcomer := usedWord(a.incarnation + 1) // has not had the lock yet
	if ok, err := w.witness.Take(a.Row()); !ok || err != nil ||
		!w.processes[a.Row()].word.CompareAndSwap(usedWord(a.incarnation), newcomer) {
		t.Fatal("no newcomer", err)
	}
	if err := b.Retry(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Ref(ctx, e.Handle); !errors.Is(err, ErrNotFound) {
		t.Errorf("Ref = %v", err)
	}
	w.die(a) // the newcomer, whose row that is
	if w.join(); w.header.usedRows.Load() != 0 {
		t.Errorf("%d rows are used when somebody has reclaimed both", w.header.usedRows.Load())
	}
}
