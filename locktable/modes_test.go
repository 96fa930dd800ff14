package locktable_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/locktable"
)

// begin runs f in a goroutine and waits until n wait for the path.
func begin(t *testing.T, x *locktable.Table, n int, f func() error, path ...string) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	for len(collect(x.Waiters(path...))) < n {
		time.Sleep(time.Millisecond)
	}
	return done
}

func TestUpgradeGoesFirst(t *testing.T) {
	ts := new(world).tables(t, 3, locktable.Options{})
	a, b := lock(t, ts[0], ctx, locktable.Shared, "a"), lock(t, ts[1], ctx, locktable.Shared, "a")
	writer := begin(t, ts[2], 1, func() error {
		h, err := ts[2].Lock(ctx, locktable.Exclusive, "a")
		if err == nil {
			err = h.Unlock()
		}
		return err
	}, "a")
	up := begin(t, ts[0], 2, func() error { return a.Upgrade(ctx, locktable.Exclusive) }, "a")
	if err := b.Upgrade(ctx, locktable.Exclusive); !errors.Is(err, locktable.ErrUpgrade) {
		t.Fatal(err)
	}
	must(t, b.Unlock())
	must(t, <-up)
	select {
	case err := <-writer:
		t.Fatalf("the writer is in beside one who has upgraded: %v", err)
	default:
	}
	must(t, a.Downgrade(locktable.Shared))
	r, err := ts[1].TryLock(ctx, locktable.Shared, "a")
	if err == nil { // before the writer had its millisecond
		must(t, r.Unlock())
	}
	must(t, a.Unlock())
	must(t, <-writer)
	if err := a.Upgrade(ctx, locktable.Exclusive); !errors.Is(err, locktable.ErrNotHeld) {
		t.Error(err)
	}
}

// TestUpgradeOfAKeptName upgrades a hold of a name whose hold before was not taken in place.
func TestUpgradeOfAKeptName(t *testing.T) {
	ts := new(world).tables(t, 2, locktable.Options{})
	n, err := ts[0].Name(ctx, "a")
	must(t, err)
	other := lock(t, ts[1], ctx, locktable.Shared, "a")
	for range 3 {
		h, err := n.Lock(ctx, locktable.Shared)
		must(t, err)
		must(t, h.Unlock())
	}
	must(t, other.Unlock())
	h, err := n.Lock(ctx, locktable.Shared)
	must(t, err)
	must(t, h.Upgrade(ctx, locktable.Exclusive))
	if _, err := ts[1].TryLock(ctx, locktable.Shared, "a"); !errors.Is(err, locktable.ErrHeld) {
		t.Errorf("%v, want ErrHeld: the upgraded hold is exclusive", err)
	}
	must(t, h.Unlock())
	must(t, lock(t, ts[1], ctx, locktable.Exclusive, "a").Unlock())
}

func TestUpgradeEndsWithItsContext(t *testing.T) {
	ts := new(world).tables(t, 2, locktable.Options{})
	a, b := lock(t, ts[0], ctx, locktable.Shared, "a"), lock(t, ts[1], ctx, locktable.Shared, "a")
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	if err := a.Upgrade(short, locktable.Exclusive); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	must(t, b.Unlock())
	must(t, a.Upgrade(ctx, locktable.Exclusive))
	if _, err := ts[1].TryLock(ctx, locktable.Shared, "a"); !errors.Is(err, locktable.ErrHeld) {
		t.Error(err)
	}
	must(t, a.Unlock())
}

func TestParentExcludesWhatIsBelow(t *testing.T) {
	ts := new(world).tables(t, 3, locktable.Options{})
	child := lock(t, ts[0], ctx, locktable.Exclusive, "layers", "a")
	must(t, lock(t, ts[1], ctx, locktable.Exclusive, "layers", "b").Unlock()) // an idle intent stays, and is revoked
	for _, m := range []locktable.Mode{locktable.Shared, locktable.Exclusive} {
		if _, err := ts[2].TryLock(ctx, m, "layers"); !errors.Is(err, locktable.ErrHeld) {
			t.Fatal(m, err)
		}
	}
	all := begin(t, ts[2], 1, func() error {
		h, err := ts[2].Lock(ctx, locktable.Exclusive, "layers")
		if err != nil {
			return err
		}
		if _, err := ts[1].TryLock(ctx, locktable.Shared, "layers", "b"); !errors.Is(err, locktable.ErrHeld) {
			return fmt.Errorf("below an exclusive parent: %w", err)
		}
		return h.Unlock()
	}, "layers")
	must(t, child.Unlock())
	must(t, <-all)
	must(t, lock(t, ts[1], ctx, locktable.Shared, "layers", "b").Unlock())
}

func TestOwnerDoesNotWaitForItself(t *testing.T) {
	x := new(world).tables(t, 1, locktable.Options{})[0]
	mine, o := x.As(ctx, "me")
	defer o.Done()
	h := lock(t, x, mine, locktable.Exclusive, "a")
	if _, err := x.Lock(mine, locktable.Shared, "a"); !errors.Is(err, locktable.ErrSelf) {
		t.Error(err)
	}
	in := lock(t, x, h.Under(mine), locktable.Shared, "a")
	must(t, h.Unlock())
	if _, err := x.TryLock(ctx, locktable.Shared, "a"); !errors.Is(err, locktable.ErrHeld) {
		t.Error("the inner hold does not count", err)
	}
	must(t, in.Unlock())
	must(t, lock(t, x, ctx, locktable.Exclusive, "a").Unlock())

	parent := lock(t, x, mine, locktable.Exclusive, "p")
	child := lock(t, x, mine, locktable.Exclusive, "p", "c")
	must(t, parent.Unlock()) // the child keeps it
	if _, err := x.TryLock(ctx, locktable.Shared, "p"); !errors.Is(err, locktable.ErrHeld) {
		t.Error(err)
	}
	must(t, child.Unlock())
	must(t, lock(t, x, ctx, locktable.Exclusive, "p").Unlock())

	s := lock(t, x, mine, locktable.Shared, "p")
	if _, err := x.Lock(mine, locktable.Exclusive, "p", "c"); !errors.Is(err, locktable.ErrSelf) {
		t.Error(err)
	}
	must(t, lock(t, x, mine, locktable.Shared, "p", "c").Unlock())
	must(t, s.Unlock())
	c := lock(t, x, mine, locktable.Exclusive, "p", "c")
	if _, err := x.Lock(mine, locktable.Shared, "p"); !errors.Is(err, locktable.ErrSelf) {
		t.Error(err)
	}
	must(t, c.Unlock())
}

func TestDeadlockIsNamed(t *testing.T) {
	for _, name := range []string{"same parent", "parent of the other"} {
		t.Run(name, func(t *testing.T) {
			ts := new(world).tables(t, 2, locktable.Options{DeadlockAfter: 20 * time.Millisecond})
			p, q := []string{"x", "a"}, []string{"x", "b"}
			wantsP := p
			if name == "parent of the other" {
				q, wantsP = []string{"y"}, []string{"x"}
			}
			one, o1 := ts[0].As(ctx, "one")
			two, o2 := ts[1].As(ctx, "two")
			defer o1.Done()
			defer o2.Done()
			hp, hq := lock(t, ts[0], one, locktable.Exclusive, p...), lock(t, ts[1], two, locktable.Exclusive, q...)
			first := begin(t, ts[0], 1, func() error {
				h, err := ts[0].Lock(one, locktable.Exclusive, q...)
				if err == nil {
					err = h.Unlock()
				}
				return err
			}, q...)
			_, err := ts[1].Lock(two, locktable.Exclusive, wantsP...)
			e, ok := errors.AsType[*locktable.WaitError](err)
			if !ok || !errors.Is(err, locktable.ErrDeadlock) || len(e.Cycle) != 2 {
				t.Fatal(err)
			}
			t.Log(err)
			if e.Cycle[0].Waiter.Note != "two" || e.Cycle[0].Holder.Note != "one" || e.Cycle[1].Waiter.Note != "one" {
				t.Errorf("%+v", e.Cycle)
			}
			must(t, hq.Unlock())
			must(t, <-first)
			must(t, hp.Unlock())
		})
	}
}

// TestLockManyNeverDeadlocks has owners lock sets of names in any order, beside others that lock single ones.
func TestLockManyNeverDeadlocks(t *testing.T) {
	ts := new(world).tables(t, 3, locktable.Options{})
	var wg sync.WaitGroup
	var in [6]sync.Mutex
	for g := range 6 {
		x := ts[g%3]
		wg.Add(1)
		go func() {
			defer wg.Done()
			c, o := x.As(ctx, fmt.Sprint("owner ", g))
			defer o.Done()
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 300 {
				var wants []locktable.Want
				names := map[int]bool{}
				for range 1 + r.IntN(4) {
					k := r.IntN(len(in))
					names[k] = true
					wants = append(wants, locktable.Want{Mode: locktable.Exclusive, Path: []string{"p", fmt.Sprint(k)}})
				}
				if g == 5 {
					wants = wants[:1]
					names = map[int]bool{}
				}
				hs, err := x.LockMany(c, wants...)
				if err != nil {
					t.Error(err)
					return
				}
				for k := range names {
					if !in[k].TryLock() {
						t.Error("two are in")
					}
				}
				for k := range names {
					in[k].Unlock()
				}
				if err := hs.Unlock(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	for i := range ts[0].List() {
		t.Errorf("%s %+v", i.Name(), i)
	}
}

func TestLockManyIsAllOrNothing(t *testing.T) {
	ts := new(world).tables(t, 2, locktable.Options{})
	b := lock(t, ts[0], ctx, locktable.Shared, "b")
	want := []locktable.Want{{locktable.Exclusive, []string{"c"}}, {locktable.Exclusive, []string{"b"}}, {locktable.Shared, []string{"a"}},
		{locktable.Exclusive, []string{"c", "d"}}, {locktable.Shared, []string{"c"}}}
	if _, err := ts[1].TryLockMany(ctx, want...); !errors.Is(err, locktable.ErrHeld) {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	if _, err := ts[1].LockMany(short, want...); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	done := begin(t, ts[0], 1, func() error {
		hs, err := ts[1].LockMany(ctx, want...)
		if err != nil {
			return err
		}
		if len(hs) != len(want) {
			return fmt.Errorf("%d holds", len(hs))
		}
		if _, err := ts[0].TryLock(ctx, locktable.Shared, "c"); !errors.Is(err, locktable.ErrHeld) {
			return err
		}
		return hs.Unlock()
	}, "b")
	must(t, lock(t, ts[0], ctx, locktable.Exclusive, "a").Unlock()) // it holds nothing while it waits
	must(t, lock(t, ts[0], ctx, locktable.Exclusive, "c").Unlock())
	must(t, b.Unlock())
	must(t, <-done)
	for i := range ts[0].List() {
		t.Errorf("%s %+v", i.Name(), i)
	}
}

func TestTokens(t *testing.T) {
	ts := new(world).tables(t, 2, locktable.Options{})
	h := lock(t, ts[0], ctx, locktable.Exclusive, "index")
	first, err := h.Changed()
	must(t, err)
	must(t, h.Unlock())
	h = lock(t, ts[1], ctx, locktable.Shared, "index")
	if yes, err := ts[1].ChangedSince(ctx, first, "index"); err != nil || yes {
		t.Error(yes, err)
	}
	must(t, h.Unlock())
	h = lock(t, ts[1], ctx, locktable.Exclusive, "index")
	second, err := h.Changed()
	must(t, err)
	must(t, h.Unlock())
	if yes, _ := ts[0].ChangedSince(ctx, first, "index"); !yes || !first.Before(second) || second.Before(first) {
		t.Error(first, second)
	}
	if yes, _ := ts[0].ChangedSince(ctx, locktable.Token{}, "index"); !yes {
		t.Error("a token of no table")
	}
	if yes, _ := ts[0].ChangedSince(ctx, second, "absent"); yes {
		t.Error("a name that nobody has changed has changed")
	}
}

func TestAsked(t *testing.T) {
	ts := new(world).tables(t, 2, locktable.Options{})
	h := lock(t, ts[0], ctx, locktable.Exclusive, "a")
	asked := h.Asked()
	select {
	case <-asked:
		t.Fatal("nobody has asked")
	default:
	}
	n, err := ts[1].Ask(ctx, "a")
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	<-asked
	must(t, h.Unlock())
	h = lock(t, ts[0], ctx, locktable.Exclusive, "a")
	select {
	case <-h.Asked():
		t.Error("the next hold was not asked")
	default:
	}
	must(t, h.Unlock())
}

func TestCloseGivesAllBack(t *testing.T) {
	ts := new(world).tables(t, 2, locktable.Options{})
	h := lock(t, ts[0], ctx, locktable.Exclusive, "a")
	r := lock(t, ts[0], ctx, locktable.Shared, "b")
	n, err := ts[0].Name(ctx, "k")
	must(t, err)
	k, err := n.Lock(ctx, locktable.Exclusive)
	must(t, err)
	done := begin(t, ts[1], 1, func() error {
		h, err := ts[1].Lock(ctx, locktable.Exclusive, "a")
		if err != nil {
			return err
		}
		if _, ok := h.Recovered(); !ok {
			return errors.New("nothing is told of a hold that was open at Close")
		}
		return h.Unlock()
	}, "a")
	waits := begin(t, ts[1], 2, func() error { _, err := ts[0].Lock(ctx, locktable.Exclusive, "a"); return err }, "a")
	ts[0].Close()
	<-ts[0].Lost()
	must(t, <-done)
	if err := <-waits; !errors.Is(err, locktable.ErrClosed) {
		t.Error(err)
	}
	for _, h := range []locktable.Hold{h, r, k} {
		if err := h.Unlock(); !errors.Is(err, locktable.ErrClosed) {
			t.Error(err)
		}
	}
	if _, err := n.Lock(ctx, locktable.Shared); !errors.Is(err, locktable.ErrClosed) {
		t.Error(err)
	}
	must(t, lock(t, ts[1], ctx, locktable.Exclusive, "b").Unlock())
	must(t, lock(t, ts[1], ctx, locktable.Exclusive, "k").Unlock())
	ts[0].Close()
}
