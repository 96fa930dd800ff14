package endtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/shm/dsa"
)

// What else a program keeps over the end of its session.
func init() {
	for name, hold := range map[string]func(w *world) (func() error, error){
		"locks by name": func(w *world) (func() error, error) {
			h, err := w.locks.Lock(w.owned, locktable.Exclusive, "kept over", w.name)
			return func() error {
				_, err := h.Token()
				return errors.Join(err, h.Upgrade(ctx, locktable.Exclusive), h.Unlock(), w.alone[0].hold.Unlock())
			}, err
		},
		"a loop over names": func(w *world) (func() error, error) {
			next, stop := iter.Pull(w.locks.List())
			next()
			return func() error { defer stop(); next(); next(); return nil }, nil
		},
		"a loop over a cache": func(w *world) (func() error, error) {
			next, stop := iter.Pull2(w.pages.All(ctx))
			next()
			return func() error {
				defer stop()
				_, err, _ := next()
				return err
			}, nil
		},
		"a claim to load": func(w *world) (func() error, error) {
			l, _, err := w.cache.Claim(ctx, key(77), true)
			return func() error { return w.cache.Abandon(ctx, l) }, err
		},
		"a place": func(w *world) (func() error, error) {
			p, err := w.area.Alloc(64)
			if err != nil {
				return nil, err
			}
			at, err := w.area.Place(p, 8)
			if err == nil {
				at.Clear()
			}
			return func() error {
				at.Set(dsa.Pointer(12345))
				at.Clear()
				_ = at.Pointer()
				return w.area.AllocInto(100, at)
			}, err
		},
		"a new value": func(w *world) (func() error, error) {
			x, g, err := dsm.New[[500]uint64](ctx, w.s, nil)
			return func() error {
				for i := range x {
					x[i] = ^uint64(0)
				}
				return g.Detach()
			}, err
		},
		"a value in an area": func(w *world) (func() error, error) {
			r, x, err := dsa.New[[40]uint64](w.area)
			return func() error {
				for i := range x {
					x[i] = ^uint64(0)
				}
				return r.Free(w.area)
			}, err
		},
		"a command under way": func(w *world) (func() error, error) {
			f := w.batch.Submit(ctx, put(1))
			return func() error {
				_, err := f.Wait(ctx)
				return errors.Join(unlessRow(err), w.batch.Close(ctx))
			}, nil
		},
	} {
		holds[name] = hold
	}
	ways["entangled"] = entangled
}

// entangled ends sessions in functions that other ends call, and in places that no goroutine of the program waits for.
func entangled(cfg dsm.Config, name string, rnd *rand.Rand) (err error) {
	a, err := newWorld(cfg, name+" a")
	if err != nil {
		return err
	}
	b, err := newWorld(cfg, name+" b")
	if err != nil {
		return errors.Join(err, a.s.Close())
	}
	switch way := rnd.IntN(5); way {
	case 0: // each closes the other in a hook, at the same time
		for _, x := range []struct{ mine, other *world }{{a, b}, {b, a}} {
			x.mine.seg.OnDetach(func() { _ = x.other.s.Close() })
		}
		ended := make(chan error, 1)
		go func() { ended <- a.s.Close() }()
		_ = b.s.Close() // one of them may say that it would wait for itself
		<-ended
	case 1: // a hook closes another session, whose locks and entries it then uses
		e, _, ferr := b.table.FindExclusive(ctx, 4)
		g, lerr := b.lock.Lock(ctx)
		a.seg.OnDetach(func() {
			_ = b.s.Close()
			e.Release()
			g.Unlock()
		})
		err = errors.Join(ferr, lerr, a.s.Close())
	case 2: // a cleanup of the garbage collector closes it
		x := &struct{ b [64]byte }{}
		runtime.AddCleanup(x, func(s *dsm.Session) { _ = s.Close() }, b.s)
		runtime.KeepAlive(x)
		for b.s.Err() == nil {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
		err = errors.Join(b.s.Close(), a.s.Close())
	case 3: // inside a With inside a With of the other one
		err = a.seg.With(func(x []byte) error {
			return b.seg.With(func(y []byte) error {
				err := errors.Join(a.s.Close(), b.s.Close())
				copy(x, y)
				y[0], y[len(y)-1] = 1, x[len(x)-1]
				return err
			})
		})
	case 4: // while goroutines attach, and loops over entries break
		stop, cancel := context.WithCancel(ctx)
		done := make(chan error, users)
		for i := range users {
			go func() {
				var err error
				for stop.Err() == nil && err == nil {
					var g *dsm.Segment
					if g, err = b.s.Attach(ctx, b.s.Owner(), a.seg.Handle()); err == nil {
						r := g.Region()
						r.View().OnEnd(func() {
							if x, rerr := r.Bytes(0, 8); rerr == nil {
								x[i] = 1
							}
						})
						for range b.table.Keys(ctx) {
							break
						}
						err = g.Detach()
					}
				}
				done <- err
			}()
		}
		time.Sleep(time.Duration(rnd.IntN(3000)) * time.Microsecond) // any moment will do
		err = b.s.Close()
		cancel()
		for range users {
			if uerr := <-done; uerr != nil && !says(uerr) {
				err = errors.Join(err, fmt.Errorf("attach during Close: %w", uerr))
			}
		}
		err = errors.Join(err, a.s.Close())
	}
	<-a.s.Done()
	<-b.s.Done()
	return err
}
