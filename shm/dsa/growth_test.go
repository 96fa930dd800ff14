package dsa_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/godsm/godsm/shm/dsa"
)

// stock is what a program has in an area.
type stock struct {
	t     testing.TB
	ps    []dsa.Pointer
	sizes []int
	bytes int // as asked for
}

// fill allocates until the first refusal, which it returns; the turn goes round among the sessions.
func (s *stock) fill(areas []*dsa.Area, size func() int) error {
	for i := 0; ; i++ {
		n := size()
		p, err := areas[i%len(areas)].Alloc(n)
		if err != nil {
			return err
		}
		s.ps, s.sizes, s.bytes = append(s.ps, p), append(s.sizes, n), s.bytes+n
	}
}

// free frees all but each keep-th object, by a session of the turn; keep 0 frees all.
func (s *stock) free(areas []*dsa.Area, keep int) {
	s.t.Helper()
	left := stock{t: s.t}
	for i, p := range s.ps {
		if keep > 0 && i%keep == 0 {
			left.ps, left.sizes, left.bytes = append(left.ps, p), append(left.sizes, s.sizes[i]), left.bytes+s.sizes[i]
		} else if err := areas[i%len(areas)].Free(p); err != nil {
			s.t.Fatal(err)
		}
	}
	*s = left
}

func of(n int) func() int { return func() int { return n } }

// TestOneSizeFillsLimit has an area with any limit filled with objects of one size: their blocks are nine tenths of the
// limit, and the refusal is the limit's.
func TestOneSizeFillsLimit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 5))
	limits := []int64{8, 9, 32, 64, 100, 180, 350, 700, 16 + rnd.Int64N(1000), 16 + rnd.Int64N(1000)}
	if testing.Short() {
		limits = limits[:6]
	}
	for _, limit := range limits {
		for _, size := range []int{64, 512, 2000, 8000, 1 + rnd.IntN(8192)} {
			if limit > 100 && size < 512 {
				continue // a matter of time alone
			}
			a := create(t, &dsa.Heap{}, 1, dsa.Options{Limit: limit << 20})
			s := stock{t: t}
			err := s.fill([]*dsa.Area{a}, of(size))
			if !errors.Is(err, dsa.ErrLimit) || !errors.Is(err, dsa.ErrNoMemory) || errors.Is(err, dsa.ErrFull) {
				t.Errorf("%d MiB of %d bytes: %v", limit, size, err)
			}
			rep := clean(t, a)
			if part := float64(rep.Used) / float64(limit<<20); part < 0.9 || rep.Segments > 128 {
				t.Errorf("%d MiB of %d bytes: %.1f %% is allocated, in %d segments", limit, size, 100*part, rep.Segments)
			}
		}
	}
}

// TestLargeObjectsFillLimit has an area filled with objects that have chunks of their own: growth leaves hardly a chunk
// over, whatever their number is in each.
func TestLargeObjectsFillLimit(t *testing.T) {
	const chunk = 64 << 10
	for _, limit := range []int{64 << 20, 256 << 20} {
		for _, size := range []int{300_000, 500_000, 1 << 20, 1<<20 + 14, 3 << 20, 5<<20 + 1} {
			a := create(t, &dsa.Heap{}, 1, dsa.Options{Limit: int64(limit)})
			s := stock{t: t}
			if err := s.fill([]*dsa.Area{a}, of(size)); !errors.Is(err, dsa.ErrLimit) {
				t.Errorf("%d MiB of %d bytes: %v", limit>>20, size, err)
			}
			chunks := len(s.ps) * ((size + chunk - 1) / chunk)
			part := float64(chunks*chunk) / float64(limit)
			t.Logf("%d MiB of %d bytes: %.1f %% are in their chunks, in %d segments",
				limit>>20, size, 100*part, clean(t, a).Segments)
			if bar := 0.95 - float64(size)/float64(limit); part < bar {
				t.Errorf("%d MiB of %d bytes: %.1f %% of the limit are in their chunks, not %.1f %%",
					limit>>20, size, 100*part, 100*bar)
			}
		}
	}
}

// TestRowsLastForRounds has an area filled, freed in part and filled again many times: it keeps to few segments.
func TestRowsLastForRounds(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for _, limited := range []bool{true, false} {
		t.Run(fmt.Sprint("limited ", limited), func(t *testing.T) {
			heap, o := dsa.Heap{}, dsa.Options{Limit: 64 << 20, Keep: -1}
			if !limited { // the source refuses instead
				heap.Limit, o.Limit = 64<<20, 0
			}
			a := create(t, &heap, 1, o)
			rnd := rand.New(rand.NewPCG(2, 5))
			s := stock{t: t}
			least := 1 << 30
			for range rounds {
				err := s.fill([]*dsa.Area{a}, func() int { return 500 + rnd.IntN(20_000) })
				if !errors.Is(err, dsa.ErrNoMemory) || errors.Is(err, dsa.ErrFull) {
					t.Fatal(err)
				}
				least = min(least, s.bytes)
				rnd.Shuffle(len(s.ps), func(i, j int) {
					s.ps[i], s.ps[j], s.sizes[i], s.sizes[j] = s.ps[j], s.ps[i], s.sizes[j], s.sizes[i]
				})
				s.free([]*dsa.Area{a}, 10)
			}
			rep := clean(t, a)
			t.Logf("%d segments, at least %d MiB at a refusal", rep.Segments, least>>20)
			if rep.Segments > 128 {
				t.Errorf("%d segments", rep.Segments)
			}
		})
	}
}
