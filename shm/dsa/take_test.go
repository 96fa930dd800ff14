package dsa_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
)

// sessions has so many sessions in an area; the first is its maker.
func sessions(t testing.TB, n int, o dsa.Options) (areas []*dsa.Area, heap *dsa.Heap) {
	t.Helper()
	heap = &dsa.Heap{}
	c := new(crowd)
	a, err := dsa.Create(ctx, heap, c.self(1), o)
	if err != nil {
		t.Fatal(err)
	}
	areas = append(areas, a)
	for i := 1; i < n; i++ {
		b, err := dsa.Attach(ctx, heap, c.self(i+1), a.Handle())
		if err != nil {
			t.Fatal(err)
		}
		areas = append(areas, b)
	}
	return areas, heap
}

// idle is a session that once allocated and freed one object of each size.
func idle(t testing.TB, a *dsa.Area) {
	t.Helper()
	dsa.OwnSpans(a)
	for _, n := range dsa.BlockSizes() {
		p, err := a.Alloc(n)
		if errors.Is(err, dsa.ErrNoMemory) {
			continue
		}
		if err == nil {
			err = a.Free(p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// owning has sessions share spans, or have them to themselves.
var owning = map[string]func(*dsa.Area){"shared": func(*dsa.Area) {}, "owned": dsa.OwnSpans}

// TestFreedByOthersIsHad has a session fill an area and another free all: that one gets as many, and so does the first
// again, whether anything was trimmed or not.
func TestFreedByOthersIsHad(t *testing.T) {
	for _, size := range []int{16, 64, 500, 2000, 8000, 30_000, 100_000, 300_000} {
		for own, is := range owning {
			for _, trim := range []bool{false, true} {
				t.Run(fmt.Sprint(size, " ", own, " trim ", trim), func(t *testing.T) {
					areas, _ := sessions(t, 2, dsa.Options{Limit: 4 << 20})
					a, b := areas[0], areas[1]
					is(a)
					is(b)
					s := stock{t: t}
					if err := s.fill([]*dsa.Area{a}, of(size)); !errors.Is(err, dsa.ErrLimit) {
						t.Fatal(err)
					}
					n := len(s.ps)
					for _, by := range []*dsa.Area{b, a, b} {
						s.free([]*dsa.Area{b}, 0)
						if trim {
							if err := b.Trim(ctx); err != nil {
								t.Fatal(err)
							}
						}
						if err := s.fill([]*dsa.Area{by}, of(size)); !errors.Is(err, dsa.ErrLimit) || len(s.ps) < n {
							t.Errorf("%d objects after %d were freed: %v", len(s.ps), n, err)
						}
					}
					s.free([]*dsa.Area{b}, 0)
					clean(t, a)
				})
			}
		}
	}
}

// TestIdleSessionsHoldNothing has sessions that once used each size, and are idle: an empty area gives its whole limit.
func TestIdleSessionsHoldNothing(t *testing.T) {
	for _, size := range []int{100, 100 << 10, 1 << 20, 8 << 20} {
		areas, heap := sessions(t, 8, dsa.Options{Limit: 32 << 20})
		for _, a := range areas[1:] {
			idle(t, a)
		}
		p, err := areas[0].Alloc(size)
		if err != nil {
			t.Errorf("%d bytes: %v", size, err)
		} else if err := areas[0].Free(p); err != nil {
			t.Error(err)
		}
		if err := areas[0].Trim(ctx); err != nil {
			t.Error(err)
		}
		if n, _ := heap.InUse(); clean(t, areas[0]).Segments != 1 {
			t.Errorf("%d segments are left of an area that is empty", n)
		}
		for _, a := range areas[1:] { // what they had in hand is no longer theirs
			idle(t, a)
		}
		clean(t, areas[0])
	}
}

// mixes are the sizes of objects of some program.
var mixes = map[string]func(*rand.Rand) int{
	"five sizes":  func(r *rand.Rand) int { return []int{64, 512, 2000, 8000, 100_000}[r.IntN(5)] },
	"small":       func(r *rand.Rand) int { return 16 + r.IntN(2000) },
	"pages":       func(r *rand.Rand) int { return 16 + r.IntN(8177) },
	"logarithmic": func(r *rand.Rand) int { return 16<<r.IntN(13) + r.IntN(16<<r.IntN(13)) },
	"large":       func(r *rand.Rand) int { return 8<<10 + r.IntN(240<<10) },
}

// TestMixFillsLimit has up to eight sessions, some idle, fill an area with objects of mixed sizes: most of the limit is
// allocated at the first refusal, and again when all is freed and the sizes are others, and when they are the first again.
func TestMixFillsLimit(t *testing.T) {
	limits := []int64{64, 256}
	if testing.Short() {
		limits = limits[:1]
	}
	for _, limit := range limits {
		for name, mix := range mixes {
			for _, n := range []int{1, 3, 8} {
				t.Run(fmt.Sprintf("%d MiB/%s/%d sessions", limit, name, n), func(t *testing.T) {
					rnd := rand.New(rand.NewPCG(uint64(limit), uint64(n)))
					areas, _ := sessions(t, n, dsa.Options{Limit: limit << 20})
					busy := areas[:(n+1)/2]
					for _, a := range areas[len(busy):] {
						idle(t, a)
					}
					bar := 0.9
					if limit < 256 {
						bar = 0.75
					}
					s := stock{t: t}
					for _, mix := range []func(*rand.Rand) int{mix, mixes["pages"], mix} {
						err := s.fill(busy, func() int { return mix(rnd) })
						if !errors.Is(err, dsa.ErrLimit) || errors.Is(err, dsa.ErrFull) {
							t.Error(err)
						}
						rep := clean(t, areas[0])
						part, asked := float64(rep.Used)/float64(limit<<20), float64(s.bytes)/float64(limit<<20)
						t.Logf("%.1f %% allocated, %.1f %% asked for, %d segments", 100*part, 100*asked, rep.Segments)
						if part < bar || rep.Segments > 128 {
							t.Errorf("%.1f %% is allocated, in %d segments", 100*part, rep.Segments)
						}
						s.free(areas, 0)
					}
				})
			}
		}
	}
}

// TestEmptiedGivesAllBack has one session fill a large area and another empty it: all comes back, of the area and of its
// source.
func TestEmptiedGivesAllBack(t *testing.T) {
	limit := int64(1 << 30)
	if testing.Short() {
		limit = 200 << 20
	}
	areas, heap := sessions(t, 3, dsa.Options{Limit: limit})
	sizes, i := []int{8000, 100_000, 600, 1 << 20, 30_000}, 0
	s := stock{t: t}
	err := s.fill(areas[:2], func() int { i++; return sizes[i%len(sizes)] })
	if rep := clean(t, areas[2]); !errors.Is(err, dsa.ErrLimit) || rep.Used < limit/10*9 {
		t.Errorf("%d of %d bytes: %v", rep.Used, limit, err)
	}
	s.free(areas[2:], 0)
	if err := areas[2].Trim(ctx); err != nil {
		t.Fatal(err)
	}
	if rep := clean(t, areas[2]); rep.Segments != 1 || rep.Free < rep.Total/2 || len(rep.Classes) != 0 {
		t.Errorf("%+v", rep.Stats)
	}
	for _, a := range areas {
		if err := a.Current(); err != nil {
			t.Error(err)
		}
	}
	if n, bytes := heap.InUse(); n != 1 || bytes > 2<<20 {
		t.Errorf("%d bytes in %d segments of the source are in use", bytes, n)
	}
}

// TestUnreachableSessionKeepsItsSpans has a session whose notes can't be relied on: nothing is taken from it, others go on.
func TestUnreachableSessionKeepsItsSpans(t *testing.T) {
	areas, _ := sessions(t, 2, dsa.Options{Limit: 2 << 20, Sessions: 8})
	a, b := areas[0], areas[1]
	dsa.Unreachable(a)
	dsa.OwnSpans(a)
	s := stock{t: t}
	_ = s.fill([]*dsa.Area{a}, of(2000))
	n := len(s.ps)
	s.free([]*dsa.Area{b}, 0)
	if err := s.fill([]*dsa.Area{b}, of(2000)); !errors.Is(err, dsa.ErrLimit) {
		t.Error(err)
	}
	if err := s.fill([]*dsa.Area{a}, of(2000)); !errors.Is(err, dsa.ErrLimit) || len(s.ps) < n {
		t.Errorf("%d objects, not %d: %v", len(s.ps), n, err)
	}
	clean(t, b)
}

// TestStragglers counts what few objects hold.
func TestStragglers(t *testing.T) {
	areas, _ := sessions(t, 1, dsa.Options{})
	s := stock{t: t}
	for range 4096 {
		p, err := areas[0].Alloc(1024)
		if err != nil {
			t.Fatal(err)
		}
		s.ps, s.sizes = append(s.ps, p), append(s.sizes, 1024)
	}
	if st := clean(t, areas[0]); st.Stragglers != 0 || st.Straggling != 0 {
		t.Errorf("full spans: %d stragglers hold %d bytes", st.Stragglers, st.Straggling)
	}
	s.free(areas, 32)
	if st := clean(t, areas[0]); st.Stragglers != 128 || st.Straggling < 3<<20 || st.Straggling > st.Free {
		t.Errorf("2 objects in each span: %d stragglers hold %d bytes", st.Stragglers, st.Straggling)
	}
}

// TestTakenUnderLoad has sessions allocate and free at random in an area that is full all the time, so that they take
// spans from each other: no object is in two hands.
func TestTakenUnderLoad(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds = 5_000
	}
	for _, mode := range []string{"fence", "exchange", "checked", "shared"} {
		areas, _ := sessions(t, 4, dsa.Options{Limit: 3 << 20, Sessions: 8, Keep: -1, Checked: mode == "checked"})
		if mode == "exchange" {
			for _, a := range areas {
				dsa.Swaps(a)
			}
		}
		gifts := make(chan dsa.Pointer, 64)
		var wg sync.WaitGroup
		for i, a := range areas[1:] {
			for g := range 2 {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(i), uint64(g)))
					var mine []dsa.Pointer
					free := func(p dsa.Pointer) {
						b, err := a.Bytes(p)
						if err != nil || binary.NativeEndian.Uint64(b) != uint64(p) ||
							binary.NativeEndian.Uint64(b[len(b)-8:]) != ^uint64(p) {
							t.Errorf("%v is another's: %v", p, err)
						}
						if err := a.Free(p); err != nil {
							t.Error(err)
						}
					}
					for range rounds {
						p, err := a.Alloc(16 + rnd.IntN(8<<rnd.IntN(12)))
						if err == nil {
							b, err := a.Bytes(p)
							if err != nil {
								t.Error(err)
								return
							}
							binary.NativeEndian.PutUint64(b, uint64(p))
							binary.NativeEndian.PutUint64(b[len(b)-8:], ^uint64(p))
							mine = append(mine, p)
						} else if !errors.Is(err, dsa.ErrNoMemory) {
							t.Error(err)
							return
						}
						for len(mine) > 0 && (err != nil && rnd.IntN(8) > 0 || rnd.IntN(3) == 0) {
							k := rnd.IntN(len(mine))
							p := mine[k]
							mine[k] = mine[len(mine)-1]
							mine = mine[:len(mine)-1]
							select {
							case gifts <- p:
							default:
								free(p)
							}
							select {
							case p := <-gifts:
								free(p)
							default:
							}
						}
						if rnd.IntN(100) == 0 && mode != "shared" {
							dsa.OwnSpans(a)
						}
						if rnd.IntN(500) == 0 {
							if err := a.Trim(ctx); err != nil {
								t.Error(err)
							}
						}
					}
					for _, p := range mine {
						free(p)
					}
				})
			}
		}
		wg.Wait()
		close(gifts)
		for p := range gifts {
			if err := areas[0].Free(p); err != nil {
				t.Error(err)
			}
		}
		if err := areas[0].Trim(ctx); err != nil {
			t.Fatal(err)
		}
		if rep := clean(t, areas[0]); rep.Objects != 0 || len(rep.Classes) != 0 || rep.Segments != 1 {
			t.Errorf("%+v", rep.Stats)
		}
	}
}
