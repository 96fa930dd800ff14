package endtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/roster"
)

// locked hands f a lock that it alone has.
func (w *world) locked(c context.Context, i int, f func(h locktable.Hold) error) error {
	h, err := w.locks.Lock(c, locktable.Shared, "end", fmt.Sprint(w.name, i))
	if err != nil {
		return err
	}
	return errors.Join(f(h), h.Unlock())
}

// inLocks hands f a table of its own.
func (w *world) inLocks(f func(a *dsa.Area, t *locktable.Table) error) error {
	a, err := dsa.Create(ctx, &dsa.Heap{}, w.s.Self(), dsa.Options{})
	if err != nil {
		return err
	}
	t, err := locktable.Create(a, locktable.Options{})
	if err == nil {
		err = f(a, t)
		t.Close()
	}
	return errors.Join(err, a.Detach())
}

var usesOfLocks = map[string]use{
	"locktable.Open": func(w *world, i int) error {
		_, err := locktable.Open(ctx, w.s, "end locks", locktable.Options{})
		return err
	},
	"locktable.Create": func(w *world, i int) error {
		return w.inLocks(func(_ *dsa.Area, t *locktable.Table) error {
			h, err := t.Lock(ctx, locktable.Exclusive, "a")
			return errors.Join(err, h.Unlock())
		})
	},
	"locktable.Attach": func(w *world, i int) error {
		return w.inLocks(func(a *dsa.Area, t *locktable.Table) error {
			t.Close()
			t, err := locktable.Attach(a, t.Handle(), locktable.Options{})
			if err == nil {
				t.Close()
			}
			return err
		})
	},
	"locktable.Look": func(w *world, i int) error {
		return w.inLocks(func(a *dsa.Area, t *locktable.Table) error {
			l, err := locktable.Look(roster.In(a), t.Handle())
			if err == nil {
				for range l.List() {
				}
			}
			return err
		})
	},
	"locktable.Table.Close": func(w *world, i int) error {
		return w.inLocks(func(_ *dsa.Area, t *locktable.Table) error {
			t.Close()
			if _, err := t.Lock(ctx, locktable.Shared, "a"); !errors.Is(err, dsm.ErrClosed) {
				return wrong("a lock of a closed table: %v", err)
			}
			return nil
		})
	},
	"locktable.Table.Lock": func(w *world, i int) error {
		return w.locked(ctx, i, func(locktable.Hold) error { return nil })
	},
	"locktable.Table.TryLock": func(w *world, i int) error {
		h, err := w.locks.TryLock(ctx, locktable.Exclusive, fmt.Sprint(w.name, i))
		if errors.Is(err, locktable.ErrBusy) {
			return nil
		}
		if err == nil {
			err = h.Unlock()
		}
		return err
	},
	"locktable.Table.LockMany": func(w *world, i int) error {
		hs, err := w.locks.LockMany(ctx, wants(w, i)...)
		if err == nil {
			err = hs.Unlock()
		}
		return err
	},
	"locktable.Table.TryLockMany": func(w *world, i int) error {
		hs, err := w.locks.TryLockMany(ctx, wants(w, i)...)
		if errors.Is(err, locktable.ErrBusy) || errors.Is(err, locktable.ErrHeld) {
			return nil
		}
		return errors.Join(err, hs.Unlock())
	},
	"locktable.Holds.Unlock": func(w *world, i int) error {
		hs, err := w.locks.LockMany(ctx, wants(w, i)[:1]...)
		return errors.Join(err, hs.Unlock())
	},
	"locktable.Table.Name": func(w *world, i int) error {
		n, err := w.locks.Name(ctx, "name", fmt.Sprint(w.name, i))
		if err == nil {
			n.Release()
		}
		return err
	},
	"locktable.Table.As": func(w *world, i int) error {
		c, o := w.locks.As(ctx, "short")
		defer o.Done()
		return w.locked(c, i, func(locktable.Hold) error { return nil })
	},
	"locktable.Table.Ask": func(w *world, i int) error { _, err := w.locks.Ask(ctx, "nobody's"); return err },
	"locktable.Table.ChangedSince": func(w *world, i int) error {
		yes, err := w.locks.ChangedSince(ctx, locktable.Token{}, "nobody's")
		if err == nil && !yes {
			return wrong("nothing has changed since the token of no table")
		}
		return err
	},
	"locktable.Table.RepairedAll": func(w *world, i int) error { return w.locks.RepairedAll(ctx) },
	"locktable.Looker.List": func(w *world, i int) error {
		for range w.locks.List() {
		}
		return nil
	},
	"locktable.Looker.Holders": func(w *world, i int) error {
		for range w.locks.Holders("held", "x") {
		}
		return nil
	},
	"locktable.Looker.Waiters": func(w *world, i int) error {
		for range w.locks.Waiters("held", "x") {
		}
		return nil
	},
	"locktable.Looker.Waits": func(w *world, i int) error {
		for range w.locks.Waits() {
		}
		return nil
	},
	"locktable.Owner.Note": func(w *world, i int) error { w.owner.Note("still uses everything"); return nil },
	"locktable.Owner.Done": func(w *world, i int) error { _, o := w.locks.As(ctx, "none"); o.Done(); return nil },
	"locktable.Name.Lock": func(w *world, i int) error {
		h, err := w.alone[i].lock.Lock(ctx, locktable.Exclusive)
		return errors.Join(err, h.Unlock())
	},
	"locktable.Name.TryLock": func(w *world, i int) error {
		h, err := w.alone[i].lock.TryLock(ctx, locktable.Shared)
		if errors.Is(err, locktable.ErrBusy) {
			return nil
		}
		return errors.Join(err, h.Unlock())
	},
	"locktable.Name.Release": func(w *world, i int) error {
		n, err := w.locks.Name(ctx, fmt.Sprint("released ", w.name, i))
		if err == nil {
			n.Release()
		}
		return err
	},
	"locktable.Name.Locker":   func(w *world, i int) error { return useLocker(w, i) },
	"locktable.Name.RLocker":  func(w *world, i int) error { return useLocker(w, i) },
	"locktable.locker.Lock":   func(w *world, i int) error { return useLocker(w, i) },
	"locktable.locker.Unlock": func(w *world, i int) error { return useLocker(w, i) },
	"locktable.Hold.Unlock": func(w *world, i int) error {
		return w.locked(ctx, i, func(locktable.Hold) error { return nil })
	},
	"locktable.Hold.Upgrade": func(w *world, i int) error {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		return w.locked(ctx, i, func(h locktable.Hold) error { return h.Upgrade(short, locktable.Exclusive) })
	},
	"locktable.Hold.Downgrade": func(w *world, i int) error {
		return w.locked(ctx, i, func(h locktable.Hold) error { return h.Downgrade(locktable.IntentShared) })
	},
	"locktable.Hold.Under": func(w *world, i int) error {
		return w.locked(ctx, i, func(h locktable.Hold) error {
			return w.locked(h.Under(ctx), i, func(locktable.Hold) error { return nil })
		})
	},
	"locktable.Hold.Token":   func(w *world, i int) error { _, err := w.alone[i].hold.Token(); return err },
	"locktable.Hold.Changed": func(w *world, i int) error { _, err := w.alone[i].hold.Changed(); return err },
	"locktable.Hold.Recovered": func(w *world, i int) error {
		if _, yes := w.alone[i].hold.Recovered(); yes {
			return wrong("nobody has died")
		}
		return nil
	},
	"locktable.Hold.Repaired": func(w *world, i int) error { return w.alone[i].hold.Repaired() },
	"locktable.Hold.Asked":    func(w *world, i int) error { w.alone[i].hold.Asked(); return nil },
}

func wants(w *world, i int) []locktable.Want {
	return []locktable.Want{{Mode: locktable.Exclusive, Path: []string{"many", fmt.Sprint(w.name, i)}},
		{Mode: locktable.Shared, Path: []string{"many", w.name}}}
}

// useLocker locks and unlocks, and makes an error of the panic that a Locker has instead.
func useLocker(w *world, i int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			var is bool
			if err, is = r.(error); !is || !errors.Is(err, dsm.ErrClosed) && !errors.Is(err, dsm.ErrCorrupt) {
				panic(r)
			}
		}
	}()
	for _, l := range []sync.Locker{w.alone[i].lock.RLocker(ctx), w.alone[i].lock.Locker(ctx)} {
		func() {
			l.Lock()
			defer l.Unlock()
		}()
	}
	return nil
}
