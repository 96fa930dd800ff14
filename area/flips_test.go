package area_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// Where locks lie: those of an area in its header, that of a partition in what Bytes gives of its table.
const (
	areaLock, growLock = 128, 384
	reserveAt          = 64 // behind the table's header
	partitionsAt       = reserveAt + 320
	partitionSize      = 384
	inPartition        = 40 // as in the reserve
	lockSize           = 256
)

// user is a session with an area and a table in it.
type user struct {
	s *dsm.Session
	a *dsa.Area
	t *dshash.Table[uint64, uint64]
	n uint64
}

// use needs each lock of the area, and that of each partition.
func (u *user) use(ctx context.Context) error {
	p, err := u.a.Alloc(300 << 10)
	if err != nil {
		return fmt.Errorf("alloc: %w", err)
	}
	if err := u.a.Free(p); err != nil {
		return fmt.Errorf("free: %w", err)
	}
	for range 4 {
		u.n++
		if err := u.t.Set(ctx, u.n%64, u.n); err != nil {
			return fmt.Errorf("set: %w", err)
		}
		if v, found, err := u.t.Get(ctx, u.n%64); err != nil || !found || v != u.n {
			return fmt.Errorf("get: %v, %v, %w", v, found, err)
		}
	}
	return nil
}

// grow needs the lock of those who add a segment.
func (u *user) grow() error {
	p, err := u.a.Alloc(8 << 20)
	if err != nil {
		return fmt.Errorf("alloc: %w", err)
	}
	return errors.Join(u.a.Free(p), u.a.Trim(ctx))
}

// TestEveryBitOfTheLocks flips each bit of the locks of an area, and of those of a table, that are free, and while an
// entry is held exclusively or shared. Three living sessions go on.
func TestEveryBitOfTheLocks(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	var users [3]*user
	for i := range users {
		users[i] = join(t, cfg, users[0])
	}
	for name, words := range locksOf(t, users[0]) {
		before := words[0].Load() + words[1].Load()
		for range 64 {
			usable(t, name, users)
		}
		if name == "growth" {
			growable(t, name, users)
		}
		if words[0].Load()+words[1].Load() == before && name != "reserve" {
			t.Errorf("%s: it is no lock, or is not used", name)
		}
		for bit := range lockSize * 8 {
			if testing.Short() && bit > 64 && bit%13 != 0 {
				continue
			}
			flip := func() {
				for w := &words[bit/32]; ; {
					if v := w.Load(); w.CompareAndSwap(v, v^1<<(bit%32)) {
						return
					}
				}
			}
			what := fmt.Sprintf("%s, bit %d", name, bit)
			flip()
			usable(t, what, users)
			if name == "growth" {
				growable(t, what, users)
			}
			if !strings.HasPrefix(name, "partition") {
				continue
			}
			for _, find := range []finder{users[0].t.FindExclusive, users[0].t.Find} {
				held := heldIn(t, words, find)
				flip()
				held.Release()
				usable(t, what+", of an entry that was held", users)
			}
		}
	}
}

func join(t *testing.T, cfg dsm.Config, first *user) *user {
	t.Helper()
	u := &user{s: instancetest.Open(t, cfg)}
	var err error
	if first == nil {
		if u.a, err = area.Create(ctx, u.s, u.s.Owner(), dsa.Options{}); err == nil {
			u.t, err = dshash.Create[uint64, uint64](u.a, dshash.Options{Partitions: 2})
		}
	} else if u.a, err = area.Attach(ctx, u.s, u.s.Owner(), area.Handle(first.a)); err == nil {
		u.t, err = dshash.Attach[uint64, uint64](u.a, first.t.Handle(), dshash.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// locksOf are the words of each lock.
func locksOf(t *testing.T, u *user) map[string][]atomic.Uint32 {
	t.Helper()
	g, err := u.s.Attach(ctx, u.s.Owner(), area.Handle(u.a))
	if err != nil {
		t.Fatal(err)
	}
	table, err := u.a.Bytes(u.t.Handle())
	if err != nil {
		t.Fatal(err)
	}
	at := shm.Offset(u.t.Handle()&(1<<31-1)) * 16
	head := (at+63)&^63 - at
	locks := map[string][]atomic.Uint32{}
	for name, x := range map[string]struct {
		r  shm.Region
		at shm.Offset
	}{
		"area": {g.Region(), areaLock}, "growth": {g.Region(), growLock},
		"reserve":     {shm.NewRegion(table), head + reserveAt + inPartition},
		"partition 0": {shm.NewRegion(table), head + partitionsAt + inPartition},
		"partition 1": {shm.NewRegion(table), head + partitionsAt + partitionSize + inPartition},
	} {
		if locks[name], err = shm.SliceOf[atomic.Uint32](x.r, x.at, lockSize/4); err != nil {
			t.Fatal(err)
		}
	}
	return locks
}

// finder is a way to hold an entry.
type finder func(context.Context, uint64) (dshash.Entry[uint64, uint64], bool, error)

// heldIn holds an entry of the partition whose lock that is.
func heldIn(t *testing.T, words []atomic.Uint32, find finder) dshash.Entry[uint64, uint64] {
	t.Helper()
	sum := func() (n uint32) {
		for i := range words {
			n = n*31 + words[i].Load()
		}
		return n
	}
	for key := uint64(0); ; key++ {
		before := sum()
		e, found, err := find(ctx, key%64)
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			continue
		}
		if sum() != before {
			return e
		}
		e.Release()
	}
}

func usable(t *testing.T, what string, users [3]*user) {
	t.Helper()
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for i, u := range users {
		if err := u.use(soon); err != nil {
			t.Fatalf("%s: session %d: %v", what, i, errors.Join(err, context.Cause(soon)))
		}
	}
}

func growable(t *testing.T, what string, users [3]*user) {
	t.Helper()
	for i, u := range users {
		if err := u.grow(); err != nil {
			t.Fatalf("%s: session %d: %v", what, i, err)
		}
	}
}
