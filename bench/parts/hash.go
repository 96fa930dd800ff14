package parts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

func init() {
	side.Register("hash/alone", hashAlone)
	side.Register("hash/two", hashTwo)
	side.Register("hash/bytes", hashBytes)
	side.Partner("hash", hashPartner)
}

// hashTable returns the figures of shm/dshash, with random keys of 8 bytes. PostgreSQL's find is one that copies the value
// out, too: that is how it is read there.
func hashTable(r Rivals) (list []figure.Figure) {
	add := func(shape string, pin side.Pin, sides ...figure.Contender) {
		list = append(list, figure.Figure{Part: "hash table", Shape: shape, Pin: pin, Sides: sides})
	}
	for _, n := range []int{1000, 100_000} {
		whyGet := whyGuards
		if n > 1000 {
			whyGet = whyMisses
		}
		among := fmt.Sprintf(", %d entries", n)
		add("get a value of 8 B"+among, "", goSide(figure.Ours, "hash/alone", "get 8", n),
			why(goal(r.postgres(postgres.Posix, "hash get", n, 8), 1), whyGet))
		add("find an entry, hold and release it"+among, "", goSide(figure.Ours, "hash/alone", "find 8", n),
			why(goal(r.postgres(postgres.Posix, "hash get", n, 8), 1), whyHold))
		add("get a value of 200 B"+among, "", goSide(figure.Ours, "hash/alone", "get 200", n),
			why(goal(r.postgres(postgres.Posix, "hash get", n, 200), 1), whyGet))
		add("delete+insert"+among, "", goSide(figure.Ours, "hash/alone", "delete+insert 8", n),
			why(goal(r.postgres(postgres.Posix, "hash delete+insert", n, 8), 1), whySteps))
		if len(pins()) > 1 {
			for _, op := range []string{"get", "find"} {
				reason := whyGetTwo
				if op == "find" {
					reason = whyHoldTwo
				}
				add(op+" 8 B, two processes at once"+among, side.Diff, goSide(figure.Ours, "hash/two", op+" 8", n),
					why(goal(r.postgres(postgres.Posix, "two hash get", n, 8), 1.0/2), reason))
			}
		}
	}
	const n = 100_000
	return append(list, figure.Figure{Part: "hash table",
		Shape: fmt.Sprintf("bytes for each entry beside key and value, %d entries", n), Unit: figure.Bytes, Max: 24,
		Sides: []figure.Contender{goSide(figure.Ours, "hash/bytes", n)}})
}

const (
	whyHold = "a hold is two locked instructions here as there, half of our time. The rest is what PostgreSQL does " +
		"without: it looks whether the last holder died, whether the array is still the one it knows, and whether " +
		"each pointer leads into what is mapped; who only wants the value takes no lock at all (get)"
	whyHoldTwo = "each reader's locked instructions are in a cache line of its own, so two take hardly longer than " +
		"one; but those two instructions alone take nearly half of PostgreSQL's time"
	whyGetTwo = "it executes no locked instruction and stores to no line that others read, so two take hardly longer " +
		"than one, which takes nine tenths of PostgreSQL's; and PostgreSQL's two, which share lines with locks, " +
		"take 1.4 times as long as its one, not twice"
	whySteps = "each change is a copy, a hand that owns it and one store that links it, in that order, so that a " +
		"death at any of them loses nothing; in their place PostgreSQL takes the allocator's lock twice"
	whyGuards = "it takes no lock, so each pointer is checked, and a fault is ready to be caught (a deferred call, " +
		"a sixth of a get): others may free and unmap during it. PostgreSQL trusts what it reads"
	whyMisses = "the tables are larger than the cache: what counts is how often memory is waited for, and that goes " +
		"by where each happens to lie"
)

type table[V any] = dshash.Table[uint64, V]

// newTable has the keys 0 to n-1.
func newTable[V any](heap *dsa.Area, n int) (*table[V], error) {
	t, err := dshash.Create[uint64, V](heap, dshash.Options{})
	var v V
	for i := range n {
		if err == nil {
			err = t.Set(ctx, uint64(i), v)
		}
	}
	return t, err
}

// hashLoop returns what is done with a random key: KIND is "get", "find" or "delete+insert", and the bytes of a value.
func hashLoop[V any](t *table[V], kind string, n int, rnd xorshift) func(int) error {
	missing := errors.New("a key is missing")
	switch op, _, _ := strings.Cut(kind, " "); op {
	case "get":
		return func(times int) error {
			for range times {
				if _, found, err := t.Get(ctx, uint64(rnd.below(n))); err != nil || !found {
					return errors.Join(err, missing)
				}
			}
			return nil
		}
	case "find":
		return func(times int) error {
			for range times {
				e, found, err := t.Find(ctx, uint64(rnd.below(n)))
				if err != nil || !found {
					return errors.Join(err, missing)
				}
				e.Release()
			}
			return nil
		}
	}
	return func(times int) error {
		var v V
		for range times {
			k := uint64(rnd.below(n))
			if found, err := t.Delete(ctx, k); err != nil || !found {
				return errors.Join(err, missing)
			}
			if err := t.Set(ctx, k, v); err != nil {
				return err
			}
		}
		return nil
	}
}

// hashAlone measures KIND on a table of ENTRIES that one process uses. Its arguments are KIND ENTRIES.
func hashAlone(a side.Args) (*side.Work, error) {
	w, heap, err := newArea()
	if err != nil {
		return nil, err
	}
	kind, n := a.List[0], a.Int(1)
	var loop func(int) error
	if kind == "get 200" {
		t, e := newTable[[200]byte](heap, n)
		loop, err = hashLoop(t, kind, n, seed), e
	} else {
		t, e := newTable[uint64](heap, n)
		loop, err = hashLoop(t, kind, n, seed), e
	}
	return &side.Work{Run: side.Loop(loop), Close: w.end}, err
}

// hashTwo measures KIND on a table of ENTRIES that two processes use at once. Its arguments are KIND ENTRIES.
func hashTwo(a side.Args) (*side.Work, error) {
	w, heap, err := newArea()
	if err != nil {
		return nil, err
	}
	t, err := newTable[uint64](heap, a.Int(1))
	if err != nil {
		return nil, err
	}
	run, p, err := together("hash", a, hashLoop(t, a.List[0], a.Int(1), seed),
		[]string{w.dir, area.Handle(heap).String(), strconv.FormatUint(uint64(t.Handle()), 10), a.List[0], a.List[1]})
	return &side.Work{Run: run, Close: func() error { return errors.Join(p.Close(), w.end()) }}, err
}

// hashPartner is called in the second process of hashTwo. Its arguments are DIR AREA TABLE KIND ENTRIES.
func hashPartner(p *side.Peer) error {
	s, heap, err := inArea(p)
	if err != nil {
		return err
	}
	defer s.Close()
	handle, err := strconv.ParseUint(p.List[2], 10, 64)
	if err != nil {
		return err
	}
	t, err := dshash.Attach[uint64, uint64](heap, dsa.Pointer(handle), dshash.Options{})
	if err != nil {
		return err
	}
	return serveTogether(p, hashLoop(t, p.List[3], p.Int(4), seed^0x9e3779b97f4a7c15))
}

// hashBytes measures what the table takes of its area, without keys and values, for each entry. Its argument is ENTRIES.
func hashBytes(a side.Args) (*side.Work, error) {
	w, heap, err := newArea()
	if err != nil {
		return nil, err
	}
	n := a.Int(0)
	return &side.Work{Once: func() ([]float64, error) {
		before, err := heap.Stats(ctx)
		if err != nil {
			return nil, err
		}
		t, err := newTable[uint64](heap, n)
		if err != nil {
			return nil, err
		}
		after, err := heap.Stats(ctx)
		if err != nil {
			return nil, err
		}
		return []float64{float64(after.Used-before.Used)/float64(n) - 16}, t.Destroy(ctx)
	}, Close: w.end}, nil
}
