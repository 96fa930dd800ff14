package dsa_test

import (
	"testing"

	"github.com/godsm/godsm/internal/testing/tape"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// FuzzGarbled writes anything anywhere into an area with objects in it, attaches it and uses it:
// errors, never a panic or a hang.
func FuzzGarbled(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
		25, 26, 27, 28, 29, 30, 31, 32})
	f.Fuzz(func(t *testing.T, data []byte) {
		garble(t, tape.New(data))
	})
}

func garble(t *testing.T, tp *tape.Tape) {
	b := dsa.Aligned(800 << 10)
	a, err := dsa.CreateInPlace(shm.NewRegion(b), nil, new(crowd).self(1), dsa.Options{Sessions: 4})
	if err != nil {
		t.Fatal(err)
	}
	var ps []dsa.Pointer
	for _, n := range []int{16, 100, 1000, 3000, 3000, 8000, 70_000} {
		p, err := a.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	for range 30 {
		p, _ := a.Alloc(3000)
		ps = append(ps, p)
	}
	_ = a.Free(ps[4])
	var c crowd
	second, err := dsa.AttachInPlace(ctx, shm.NewRegion(b), nil, c.self(2))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; tp.More() && n < 20; n++ {
		places := dsa.Places(b)
		at := places[int(tp.Word()%uint64(len(places)))]
		switch tp.Below(3) {
		case 0:
			dsa.Put(b, at, tp.Word())
		case 1:
			dsa.Put(b, at, uint64(tp.Below(256)))
		case 2:
			dsa.Put(b, at, dsa.Get(b, at)^1<<tp.Below(64))
		}
	}
	use := func(a *dsa.Area) {
		for _, p := range ps {
			_, _ = a.Bytes(p)
			_ = a.Free(p)
		}
		for _, n := range []int{16, 3000, 20_000, 70_000} {
			_, _ = a.Alloc(n)
		}
		_ = a.Trim(ctx)
		_, _ = a.Verify(ctx)
	}
	if third, err := dsa.AttachInPlace(ctx, shm.NewRegion(b), nil, c.self(3)); err == nil {
		use(third)
	}
	use(second)
	_ = second.Detach()
}
