package endtest

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/shm/shmsync"
)

// held keeps what methods have handed out over Close, while another session fills fresh segments of the same sizes, and
// then uses it and gives it back. No byte of the other session changes.
func held(cfg dsm.Config, name string, rnd *rand.Rand) error {
	w, err := newWorld(cfg, name)
	if err != nil {
		return err
	}
	var late []func() error
	for _, name := range slices.Sorted(maps.Keys(holds)) {
		f, err := holds[name](w)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", name, err), w.s.Close())
		}
		late = append(late, func() error {
			if err := w.late(f); err != nil && !says(err) {
				return fmt.Errorf("%s, kept over Close: %w", name, err)
			}
			return nil
		})
	}
	errs := []error{w.s.Close()}
	other, err := dsm.Open(ctx, cfg)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	var segments [][]byte
	for i := range 64 {
		g, err := other.Create(ctx, other.Owner(), []int{segmentSize, 66 << 10, 130 << 10, 4096}[i%4])
		if err != nil {
			return errors.Join(append(errs, err, other.Close())...)
		}
		b := g.Bytes()
		for k := range b {
			b[k] = 0xa5
		}
		segments = append(segments, b)
	}
	rnd.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
	for _, f := range late {
		errs = append(errs, f())
	}
	for i, b := range segments {
		if n := len(b) - bytes.Count(b, []byte{0xa5}); n != 0 {
			errs = append(errs, fmt.Errorf("%d bytes of another session's segment %d of %d bytes have changed", n, i, len(b)))
		}
	}
	return errors.Join(append(errs, other.Close())...)
}

// holds has what outlives its call. Each acquires something, and returns what uses it and gives it back.
var holds = map[string]func(w *world) (func() error, error){
	"an entry": func(w *world) (func() error, error) {
		t, _, err := w.tables()
		if err != nil {
			return nil, err
		}
		e, is, err := t.Find(ctx, 5)
		return func() error { _, _ = e.Key(), e.Value(); e.Release(); return nil }, found(is, err)
	},
	"an exclusive entry": func(w *world) (func() error, error) {
		t, _, err := w.tables()
		if err != nil {
			return nil, err
		}
		e, is, err := t.FindExclusive(ctx, 5)
		return func() error {
			v, err := e.Update()
			if v != nil {
				*v = 1
			}
			e.Release()
			return err
		}, found(is, err)
	},
	"an updated entry": func(w *world) (func() error, error) {
		t, _, err := w.tables()
		if err != nil {
			return nil, err
		}
		e, _, err := t.Insert(ctx, 1001)
		v, uerr := e.Update()
		return func() error {
			if v != nil {
				*v = 0x1111111111111111
			}
			err := e.Delete()
			e.Release()
			return err
		}, errors.Join(err, uerr)
	},
	"an entry of bytes": func(w *world) (func() error, error) {
		_, t, err := w.tables()
		if err != nil {
			return nil, err
		}
		e, is, err := t.FindExclusive(ctx, key(5))
		b, uerr := e.Update(40)
		return func() error {
			for i := range b {
				b[i] = 1
			}
			_ = len(e.Key()) + len(e.Value())
			e.Release()
			return nil
		}, errors.Join(found(is, err), uerr)
	},
	"an inserted entry of bytes": func(w *world) (func() error, error) {
		_, t, err := w.tables()
		if err != nil {
			return nil, err
		}
		e, _, err := t.Insert(ctx, key(1002), 30)
		return func() error { err := e.Delete(); e.Release(); return err }, err
	},
	"a scan": func(w *world) (func() error, error) {
		t, _, err := w.tables()
		if err != nil {
			return nil, err
		}
		next, stop := iter.Pull2(t.Scan(ctx, true))
		_, err, _ = next()
		return func() error {
			defer stop()
			for e, err, more := next(); more; e, err, more = next() {
				if err != nil {
					return err
				}
				_ = e.Key()
			}
			return nil
		}, err
	},
	"the bytes of an object": func(w *world) (func() error, error) {
		p, err := w.area.Alloc(300)
		if err != nil {
			return nil, err
		}
		b, err := w.area.Bytes(p)
		return func() error { clear(b); return w.area.Free(p) }, err
	},
	"an exclusive guard": func(w *world) (func() error, error) {
		g, err := shmsync.NewLWLock(&w.words.Held, w.s.Self()).Lock(ctx)
		return func() error {
			_, _ = g.Abandoned(), g.Exclusive()
			g.MarkConsistent()
			g.Unlock()
			g.Unlock()
			return nil
		}, err
	},
	"a shared guard": func(w *world) (func() error, error) {
		g, err := w.lock.RLock(ctx)
		return func() error { g.Unlock(); return nil }, err
	},
	"a message in place": func(w *world) (func() error, error) {
		if err := sendHello(w.alone[0].sender); err != nil {
			return nil, err
		}
		b, err := w.alone[0].receiver.Receive(ctx)
		return func() error { clear(b); _, err := w.alone[0].receiver.TryReceive(); return err }, err
	},
	"queues": func(w *world) (func() error, error) {
		return func() error {
			w.alone[1].sender.Detach()
			w.alone[1].receiver.Detach()
			return w.alone[1].conn.Close()
		}, nil
	},
	"connections": func(w *world) (func() error, error) {
		if err := echo(w.alone[2].dialed, w.alone[2].accepted); err != nil {
			return nil, err
		}
		return func() error {
			_, werr := w.alone[2].dialed.Write([]byte("late"))
			_, rerr := w.alone[2].accepted.Read(make([]byte, 10))
			if werr == nil || rerr == nil {
				return wrong("a connection works after Close: %v, %v", werr, rerr)
			}
			return errors.Join(unlessOver(werr), unlessOver(rerr), unlessOver(w.alone[2].dialed.Close()),
				unlessOver(w.alone[2].accepted.Close()), unlessOver(w.alone[2].port.Close()))
		}, nil
	},
	"a pointer into a segment": func(w *world) (func() error, error) {
		return func() error {
			w.words.Number.Store(1)
			if private() { // else it reaches what others look up by its name
				w.named.Number.Store(1)
			}
			return nil
		}, nil
	},
	"a slice of a segment": func(w *world) (func() error, error) {
		b, err := w.seg.Region().Bytes(0, segmentSize)
		return func() error { clear(b); return nil }, err
	},
	"a latch and a barrier": func(w *world) (func() error, error) {
		return func() error {
			w.alone[3].latch.Set()
			w.alone[3].latch.Disown()
			_, err := w.alone[3].barrier.Detach()
			return err
		}, nil
	},
	"a ticket": func(w *world) (func() error, error) {
		t := w.words.Cond.Prepare()
		return func() error { t.Cancel(); w.words.Cond.Broadcast(); return nil }, nil
	},
	"a bit of the mailbox": func(w *world) (func() error, error) {
		b := w.s.Self().Mailbox.Take()
		return func() error {
			w.s.Self().Mailbox.Ring(w.s.Self().Peer, b.Number())
			w.s.Self().Ask(w.s.Self().Peer)
			_ = b.Ready()
			err := b.Wait(ctx)
			b.Release()
			return err
		}, nil
	},
	"an area": func(w *world) (func() error, error) {
		return func() error { return errors.Join(w.area.Detach(), w.area.Detach()) }, nil
	},
	"a segment": func(w *world) (func() error, error) {
		return func() error { return errors.Join(w.seg.Detach(), w.seg.Detach()) }, nil
	},
}

// private reports whether late stores reach no other process here. Wine can't make them so.
func private() bool {
	b, err := catalog.New(catalog.Default(), "")
	_, swaps := b.(dsmimpl.Swapper)
	return err == nil && swaps
}

// tables makes a table of each kind for one hold alone, with an entry for 5.
func (w *world) tables() (*dshash.Table[uint64, uint64], *dshash.Bytes, error) {
	t, err := dshash.Create[uint64, uint64](w.area, dshash.Options{Partitions: 2})
	if err != nil {
		return nil, nil, err
	}
	b, err := dshash.CreateBytes(w.area, dshash.Options{Partitions: 2})
	if err != nil {
		return nil, nil, err
	}
	return t, b, errors.Join(t.Set(ctx, 5, 105), b.Set(ctx, key(5), value))
}

// unlessOver returns nil for an error that says that the session has ended.
func unlessOver(err error) error {
	if err == nil || says(err) {
		return nil
	}
	return err
}

// noneHeld waits until the instance has no session, and no segment but those that are pinned.
func noneHeld(t *testing.T, cfg dsm.Config) {
	t.Helper()
	instancetest.Eventually(t, "no session is left, and no segment that is not pinned", func() bool {
		r, err := dsm.Inspect(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		loose := slices.ContainsFunc(r.Segments, func(g dsm.SegmentInfo) bool { return !g.Pinned })
		return r.Status.Sessions == 0 && !loose
	})
}
