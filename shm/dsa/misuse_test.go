package dsa_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

func TestMisuse(t *testing.T) {
	var heap dsa.Heap
	a := create(t, &heap, 1, small)
	p, err := a.Alloc(100)
	if err != nil {
		t.Fatal(err)
	}
	large, err := a.Alloc(600_000)
	if err != nil {
		t.Fatal(err)
	}
	medium, err := a.Alloc(200_000)
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]dsa.Pointer{
		"nil": 0, "inside": p + 1, "another segment": p + 1<<31, "another life": p + 1<<56, "another size": p + 30<<40,
		"never allocated": p + 7, "inside a large one": large + 5000, "a large one's size": large + 1<<40,
		"inside a medium one": medium + 1, "far away": p + 1<<30, "garbage": ^dsa.Pointer(0),
	} {
		if err := a.Free(q); !errors.Is(err, dsa.ErrPointer) {
			t.Errorf("%s: Free: %v", name, err)
		}
		if b, err := a.Bytes(q); !errors.Is(err, dsa.ErrPointer) || b != nil {
			t.Errorf("%s: Bytes: %v", name, err)
		}
	}
	for _, n := range []int{0, -1, math.MinInt, math.MaxInt} {
		if _, err := a.Alloc(n); !errors.Is(err, dsa.ErrSize) {
			t.Errorf("Alloc(%d): %v", n, err)
		}
	}
	if rep := clean(t, a); rep.Objects != 3 {
		t.Errorf("%d objects", rep.Objects)
	}

	// A pointer into a segment that went back stays wrong when the row is used again.
	if err := a.Free(large); err != nil {
		t.Fatal(err)
	}
	for range 600 {
		q, err := a.Alloc(600_000)
		if err != nil {
			t.Fatal(err)
		}
		if q == large {
			t.Fatal("the same pointer again, so soon")
		}
		if err := a.Free(large); !errors.Is(err, dsa.ErrPointer) {
			t.Fatal(err)
		}
		if err := a.Free(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Detach(); err != nil {
		t.Fatal(err)
	}
	_, errAlloc := a.Alloc(1)
	_, errLarge := a.Alloc(1 << 20)
	_, errBytes := a.Bytes(p)
	_, errVerify := a.Verify(ctx)
	for i, err := range []error{errAlloc, errLarge, errBytes, a.Free(p), a.Trim(ctx), a.Pin(ctx), errVerify} {
		if !errors.Is(err, dsa.ErrClosed) {
			t.Errorf("call %d after Detach: %v", i, err)
		}
	}
	if _, err := dsa.Attach(ctx, &heap, new(crowd).self(2), a.Handle()); !errors.Is(err, dsa.ErrNotFound) {
		t.Errorf("attach after the last Detach: %v", err)
	}
	if _, err := dsa.Create(ctx, &heap, new(crowd).self(1), dsa.Options{Sessions: 5000}); !errors.Is(err, dsa.ErrSize) {
		t.Error(err)
	}
}

// TestOverrun: in checked mode a byte written past an object's end is found, by Free and by
// Verify, wherever the end is.
func TestOverrun(t *testing.T) {
	o := small
	o.Checked = true
	for _, n := range []int{1, 7, 8, 9, 100, 8184, 8185, 9000, 65_529, 300_000, 1 << 20} {
		a := create(t, &dsa.Heap{}, 1, o)
		p, err := a.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := a.Bytes(p)
		b = b[:n:n]
		clean(t, a)
		beyond := dsa.Beyond(b)
		was := *beyond
		*beyond ^= 0x55
		if rep, err := a.Verify(ctx); err != nil || len(rep.Problems) != 1 ||
			!strings.Contains(rep.Problems[0], "past its end") {
			t.Errorf("%d bytes: %q, %v", n, rep.Problems, err)
		}
		if err := a.Free(p); !errors.Is(err, dsa.ErrOverrun) {
			t.Errorf("%d bytes: %v", n, err)
		}
		*beyond = was
		if err := a.Free(p); err != nil {
			t.Errorf("%d bytes, mended: %v", n, err)
		}
	}
}

func TestInPlace(t *testing.T) {
	r := shm.NewRegion(dsa.Aligned(96 << 10))
	o := dsa.Options{Sessions: 4}
	a, err := dsa.CreateInPlace(r, nil, new(crowd).self(1), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dsa.CreateInPlace(r, nil, new(crowd).self(2), o); err == nil {
		t.Error("made twice")
	}
	p, err := a.Alloc(1000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Alloc(1 << 20); !errors.Is(err, dsa.ErrFull) {
		t.Errorf("too much: %v", err)
	}
	b, err := dsa.AttachInPlace(ctx, r, nil, new(crowd).self(2))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Free(p); err != nil {
		t.Error(err)
	}
	for i := 3; ; i++ {
		if _, err := dsa.AttachInPlace(ctx, r, nil, new(crowd).self(i)); err != nil {
			if i != 5 || !errors.Is(err, dsa.ErrFull) {
				t.Errorf("session %d: %v", i, err)
			}
			break
		}
	}
	small := shm.NewRegion(dsa.Aligned(50 << 10))
	if _, err := dsa.CreateInPlace(small, nil, new(crowd).self(1), o); !errors.Is(err, dsa.ErrSize) {
		t.Error(err)
	}
	// With a source it grows.
	var heap dsa.Heap
	r = shm.NewRegion(dsa.Aligned(96 << 10))
	if a, err = dsa.CreateInPlace(r, &heap, new(crowd).self(1), o); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Alloc(1 << 20); err != nil {
		t.Error(err)
	}
	if err := a.Detach(); err != nil {
		t.Error(err)
	}
	if n, _ := heap.InUse(); n != 0 {
		t.Errorf("%d segments are left", n)
	}
}

// TestDeadSession: what a session had to itself when it died is the others' again, and its objects stay.
func TestDeadSession(t *testing.T) {
	var heap dsa.Heap
	var c crowd
	a, err := dsa.Create(ctx, &heap, c.self(1), small)
	if err != nil {
		t.Fatal(err)
	}
	b, err := dsa.Attach(ctx, &heap, c.self(2), a.Handle())
	if err != nil {
		t.Fatal(err)
	}
	var ps []dsa.Pointer
	for n := 1; n < 300_000; n += 1 + n/5 {
		p, err := b.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	c.kill(2)
	rep := clean(t, a)
	kept := 0
	for _, cl := range rep.Classes {
		kept += cl.Kept
	}
	if rep.Dead != 1 || rep.Lost != 0 || rep.Objects != len(ps) || kept != 0 || rep.Sessions != 1 {
		t.Errorf("%+v", rep)
	}
	for _, p := range ps {
		if err := a.Free(p); err != nil {
			t.Error(err)
		}
	}
	if err := a.Pin(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Detach(); err != nil {
		t.Fatal(err)
	}
	a, err = dsa.Attach(ctx, &heap, c.self(3), a.Handle()) // it was pinned
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Unpin(ctx), a.Detach()); err != nil {
		t.Error(err)
	}
}

// TestGoroutines: several goroutines of two sessions on one area; for the race detector too.
func TestGoroutines(t *testing.T) {
	var heap dsa.Heap
	var c crowd
	a, err := dsa.Create(ctx, &heap, c.self(1), small)
	if err != nil {
		t.Fatal(err)
	}
	b, err := dsa.Attach(ctx, &heap, c.self(2), a.Handle())
	if err != nil {
		t.Fatal(err)
	}
	pass := make(chan dsa.Pointer, 100)
	var wg sync.WaitGroup
	for i := range 6 {
		mine, other := a, b
		if i%2 == 1 {
			mine, other = b, a
		}
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 3))
			for range 4000 {
				p, err := mine.Alloc(1 + rnd.IntN(16<<rnd.IntN(14)))
				if err != nil {
					t.Error(err)
					return
				}
				s, err := mine.Bytes(p)
				if err != nil {
					t.Error(err)
					return
				}
				s[0], s[len(s)-1] = 1, 1
				select {
				case pass <- p:
				default:
					q := <-pass
					s, err := other.Bytes(q)
					if err != nil || s[0] != 1 || s[len(s)-1] != 1 {
						t.Error(err, s[0])
					}
					if err := other.Free(q); err != nil {
						t.Error(err)
					}
					if err := mine.Free(p); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			clean(t, a)
			if err := b.Trim(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	close(pass)
	for p := range pass {
		if err := a.Free(p); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(a.Trim(ctx), b.Detach(), a.Trim(ctx)); err != nil {
		t.Error(err)
	}
	if rep := clean(t, a); rep.Objects != 0 || rep.Segments != 1 {
		t.Errorf("%+v", rep)
	}
}
