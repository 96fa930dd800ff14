package endtest

import (
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// guarded gives a guard back.
func guarded(g shmsync.Guard, err error) error {
	if err == nil {
		g.Unlock()
	}
	return err
}

func tried(g shmsync.Guard, ok bool, err error) error {
	if ok {
		g.Unlock()
	}
	return err
}

var usesOfSync = map[string]use{
	"shmsync.NewLWLock": func(w *world, i int) error {
		return guarded(shmsync.NewLWLock(&w.words.Lock, w.s.Self()).Lock(ctx))
	},
	"shmsync.NewLWLockUnder": func(w *world, i int) error {
		// The structure looks at its view itself.
		if err := w.seg.Region().View().Err(); err != nil {
			return err
		}
		return guarded(shmsync.NewLWLockUnder(w.s.Self().View, &w.words.Under[i], w.s.Self()).Lock(ctx))
	},
	"shmsync.NewLWLockWithin": func(w *world, i int) error {
		return guarded(shmsync.NewLWLockWithin(w.seg.Region().View(), &w.words.Under[i], w.s.Self()).Lock(ctx))
	},
	"shmsync.LWLock.Mine": func(w *world, i int) error {
		_ = shmsync.NewLWLockWithin(w.seg.Region().View(), &w.words.Under[i], w.s.Self()).Mine()
		return nil
	},
	"shmsync.LWLock.Bar": func(w *world, i int) error {
		l := shmsync.NewLWLockWithin(w.seg.Region().View(), &w.words.Under[i], w.s.Self())
		l.Bar()
		return guarded(l.Lock(ctx))
	},
	"shmsync.Disavow":         func(w *world, i int) error { shmsync.Disavow(); return nil },
	"shmsync.LWLock.Recover":  func(w *world, i int) error { return guarded(w.lock.Recover(ctx)) },
	"shmsync.LWLock.Lock":     func(w *world, i int) error { return guarded(w.lock.Lock(ctx)) },
	"shmsync.LWLock.Do":       func(w *world, i int) error { return w.lock.Do(ctx, func() error { return nil }) },
	"shmsync.LWLock.RLock":    func(w *world, i int) error { return guarded(w.lock.RLock(ctx)) },
	"shmsync.LWLock.TryLock":  func(w *world, i int) error { return tried(w.lock.TryLock()) },
	"shmsync.LWLock.TryRLock": func(w *world, i int) error { return tried(w.lock.TryRLock()) },
	"shmsync.LWLock.Status":   func(w *world, i int) error { _ = w.lock.Status(); return nil },
	"shmsync.Guard.Unlock": func(w *world, i int) error {
		g, err := w.lock.Lock(ctx)
		if err == nil {
			g.Unlock()
			g.Unlock()
		}
		return err
	},
	"shmsync.Guard.Abandoned": func(w *world, i int) error {
		g, err := w.lock.Lock(ctx)
		if err == nil {
			if g.Abandoned() && !w.over() {
				err = wrong("the lock was taken over from a dead session, and none has died")
			}
			g.Unlock()
		}
		return err
	},
	"shmsync.Guard.Exclusive": func(w *world, i int) error {
		g, err := w.lock.RLock(ctx)
		if err == nil {
			_ = g.Exclusive()
			g.Unlock()
		}
		return err
	},
	"shmsync.Guard.MarkConsistent": func(w *world, i int) error {
		g, err := w.lock.Lock(ctx)
		if err == nil {
			g.MarkConsistent()
			g.Unlock()
		}
		return err
	},
	"shmsync.NewLatch":    func(w *world, i int) error { shmsync.NewLatch(&w.words.Latch[i], w.s.Self()).Set(); return nil },
	"shmsync.Latch.Set":   func(w *world, i int) error { w.alone[i].latch.Set(); return nil },
	"shmsync.Latch.Reset": func(w *world, i int) error { w.alone[i].latch.Reset(); return nil },
	"shmsync.Latch.IsSet": func(w *world, i int) error { _ = w.alone[i].latch.IsSet(); return nil },
	"shmsync.Latch.Owner": func(w *world, i int) error { _, _ = w.alone[i].latch.Owner(); return nil },
	"shmsync.Latch.Own": func(w *world, i int) error {
		w.alone[i].latch.Disown()
		return w.alone[i].latch.Own()
	},
	"shmsync.Latch.Disown": func(w *world, i int) error {
		w.alone[i].latch.Disown()
		return w.alone[i].latch.Own()
	},
	"shmsync.Latch.Wait": func(w *world, i int) error {
		c, cancel := soon()
		defer cancel()
		w.alone[i].latch.Reset()
		return w.alone[i].latch.Wait(c)
	},
	"shmsync.WaitAny": func(w *world, i int) error {
		c, cancel := soon()
		defer cancel()
		w.alone[i].latch.Reset()
		_, err := shmsync.WaitAny(c, []*shmsync.Latch{w.alone[i].latch})
		return err
	},
	"shmsync.NewBarrier": func(w *world, i int) error { shmsync.NewBarrier(&w.words.Barrier[i], w.s.Self()); return nil },
	"shmsync.Barrier.Attach": func(w *world, i int) error {
		_, err := w.alone[i].barrier.Attach()
		if err == nil {
			_, err = w.alone[i].barrier.Detach()
		}
		return err
	},
	"shmsync.Barrier.Detach": func(w *world, i int) error {
		_, err := w.alone[i].barrier.Detach()
		if err == nil {
			_, err = w.alone[i].barrier.Attach()
		}
		return err
	},
	"shmsync.Barrier.ArriveAndDetach": func(w *world, i int) error {
		_, err := w.alone[i].barrier.ArriveAndDetach()
		if err == nil {
			_, err = w.alone[i].barrier.Attach()
		}
		return err
	},
	"shmsync.Barrier.ArriveAndWait": func(w *world, i int) error {
		_, err := w.alone[i].barrier.ArriveAndWait(ctx)
		return err
	},
	"shmsync.Barrier.Participants": func(w *world, i int) error { _ = w.alone[i].barrier.Participants(); return nil },
	"shmsync.Barrier.Phase":        func(w *world, i int) error { _ = w.alone[i].barrier.Phase(); return nil },
	"shmsync.Cond.Broadcast":       func(w *world, i int) error { w.words.Cond.Broadcast(); return nil },
	"shmsync.Cond.Signal":          func(w *world, i int) error { w.words.Cond.Signal(); return nil },
	"shmsync.Cond.Prepare":         func(w *world, i int) error { t := w.words.Cond.Prepare(); t.Cancel(); return nil },
	"shmsync.Ticket.Cancel":        func(w *world, i int) error { t := w.words.Cond.Prepare(); t.Cancel(); return nil },
	"shmsync.Ticket.Sleep": func(w *world, i int) error {
		c, cancel := soon()
		defer cancel()
		t := w.words.Cond.Prepare()
		return t.Sleep(c)
	},
	"shmsync.EventCount.Advance": func(w *world, i int) error { w.words.Count.Advance(); return nil },
	"shmsync.EventCount.Load":    func(w *world, i int) error { _ = w.words.Count.Load(); return nil },
	"shmsync.EventCount.WakeAll": func(w *world, i int) error { w.words.Count.WakeAll(); return nil },
	"shmsync.EventCount.Set":     func(w *world, i int) error { w.words.Count.Set(); return nil },
	"shmsync.EventCount.Await": func(w *world, i int) error {
		w.words.Count.Await(ctx, w.words.Count.Load(), 300*time.Microsecond)
		return nil
	},
}
