package dshash_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/tape"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// FuzzGarbled writes anything anywhere into tables, but for their locks, attaches them and uses them: errors,
// never a panic, a fault or a hang.
func FuzzGarbled(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{
		1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
		17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
	})
	for seed := range byte(30) { // so that an ordinary run tries something
		var b []byte
		for i := range byte(80) {
			b = append(b, (i+3)*(seed*7+1)^seed<<(i%5))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { garble(t, tape.New(data)) })
}

func garble(t *testing.T, tp *tape.Tape) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var h dsa.Heap
	h.Limit = 4 << 20
	a, err := dsa.Create(ctx, &h, self(1), dsa.Options{Initial: 400 << 10, Sessions: 4})
	must(t, err)
	defer func() { _ = a.Detach() }()
	tab, err := dshash.Create[uint64, sealed](a, dshash.Options{Partitions: 2})
	must(t, err)
	bs, err := dshash.CreateBytes(a, dshash.Options{Partitions: 2})
	must(t, err)
	for k := range uint64(40) {
		must(t, tab.Set(ctx, k, seal(k)))
		must(t, bs.Set(ctx, name(k), text(k)))
	}
	_, _ = tab.Delete(ctx, 3)
	_, _ = bs.Delete(ctx, name(4))
	objects := dshash.Objects(tab, bs)
	for n := 0; tp.More() && n < 12; n++ {
		i := tp.Below(256) % len(objects)
		if tp.Below(4) > 0 {
			i %= 2 // the tables
		}
		b, err := a.Bytes(objects[i])
		if err != nil {
			continue // garbled away
		}
		words, err := shm.SliceOf[atomic.Uint64](shm.NewRegion(b), 0, len(b)/8)
		must(t, err)
		at := int(tp.Word() % uint64(len(words)))
		if i < 2 && dshash.InLock(objects[i], at*8) {
			continue
		}
		switch tp.Below(4) {
		case 0:
			words[at].Store(tp.Word())
		case 1:
			words[at].Store(uint64(tp.Below(256)))
		case 2:
			words[at].Store(words[at].Load() ^ 1<<tp.Below(64))
		case 3:
			words[at].Store(uint64(objects[tp.Below(256)%len(objects)]))
		}
	}
	use := func(tab *dshash.Table[uint64, sealed], bs *dshash.Bytes) {
		for k := range uint64(50) {
			_, _, _ = tab.Get(ctx, k)
			_, _, _ = bs.Get(ctx, name(k), nil)
			if e, found, err := bs.Find(ctx, name(k)); found && err == nil {
				_, _ = e.Key(), e.Value()
				e.Release()
			}
			if e, _, err := bs.Insert(ctx, name(k), 3); err == nil {
				_, _ = e.Update(int(k) * 3)
				e.Release()
			}
			_ = tab.Set(ctx, k, seal(k))
			if k%3 == 0 {
				_, _ = tab.Delete(ctx, k)
				_, _ = bs.Delete(ctx, name(k))
			}
		}
		for e, err := range tab.Scan(ctx, true) {
			if err == nil && e.Key()%2 == 0 {
				_ = e.Delete()
			}
		}
		for e, err := range bs.Scan(ctx, false) {
			if err == nil {
				_, _ = e.Key(), e.Value()
			}
		}
		_ = tab.Dump(ctx, io.Discard)
		_, _ = bs.Verify(ctx)
	}
	if third, err := dshash.Attach[uint64, sealed](a, tab.Handle(), dshash.Options{}); err == nil {
		use(third, bs)
	}
	use(tab, bs)
	dshash.Dirty(tab, bs)
	use(tab, bs)
	_ = tab.Destroy(ctx)
	_ = bs.Destroy(ctx)
	if ctx.Err() != nil {
		t.Error("a call waited, or went round in circles")
	}
}
