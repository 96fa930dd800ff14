package dsm_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// words are what lies at the beginning of a segment; an area and a queue come behind.
type words struct {
	lock   [3]shmsync.LWLockWord
	mutex  shmsync.MutexWord
	latch  shmsync.LatchWord
	count  shmsync.EventCount
	handle uint64 // of the table
}

const (
	queueAt   = 16 << 10
	queueSize = 16 << 10
	areaAt    = 64 << 10
	sizeOfAll = 1 << 20
)

// things is what a session uses of a segment.
type things struct {
	s     *dsm.Session
	g     *dsm.Segment
	w     *words
	lock  [3]*shmsync.LWLock
	mutex *shmsync.Mutex
	latch *shmsync.Latch
	send  *mq.Sender
	area  *dsa.Area
	table *dshash.Table[uint64, [64]byte]
	ptr   dsa.Pointer
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func thingsIn(s *dsm.Session, g *dsm.Segment, fresh bool) *things {
	r := g.Region()
	x := &things{s: s, g: g, w: must(shm.At[words](r, 0))}
	for i := range x.lock {
		x.lock[i] = shmsync.NewLWLock(&x.w.lock[i], s.Self())
	}
	x.mutex = shmsync.NewMutex(&x.w.mutex, s.Self())
	x.latch = shmsync.NewLatch(&x.w.latch, s.Self())
	at := must(r.Sub(areaAt, sizeOfAll-areaAt))
	if !fresh {
		x.area = must(dsa.AttachInPlace(ctx, at, nil, s.Self()))
		x.table = must(dshash.Attach[uint64, [64]byte](x.area, dsa.Pointer(x.w.handle), dshash.Options{}))
		return x
	}
	q := must(mq.Create(must(r.Sub(queueAt, queueSize))))
	x.send = must(q.Sender(s.Self()))
	check(q.SetReceiver(s.Self().Peer))
	x.area = must(dsa.CreateInPlace(at, nil, s.Self(), dsa.Options{Sessions: 8}))
	x.table = must(dshash.Create[uint64, [64]byte](x.area, dshash.Options{Partitions: 2}))
	x.w.handle = uint64(x.table.Handle())
	for i := range uint64(16) {
		check(x.table.Set(ctx, i, [64]byte{byte(i)}))
	}
	x.ptr = must(x.area.Alloc(100))
	return x
}

// takeAll takes each lock there is, one after the other, and gives it back.
func (x *things) takeAll() error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, l := range x.lock {
		g, err := l.Lock(ctx)
		if err != nil {
			return err
		}
		g.MarkConsistent()
		g.Unlock()
	}
	m, err := x.mutex.Lock(ctx)
	if err != nil {
		return err
	}
	m.Unlock()
	for i := range uint64(16) {
		e, found, err := x.table.FindExclusive(ctx, i)
		if err != nil || !found {
			return errors.Join(err, errors.New("an entry is lost"))
		}
		e.Release()
	}
	p, err := x.area.Alloc(100)
	if err != nil {
		return err
	}
	return x.area.Free(p)
}

func init() {
	// taker DIR HANDLE takes each lock whenever it is told to.
	proctest.Register("contain-taker", func(c *proctest.Child) error {
		s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
		if err != nil {
			return err
		}
		defer s.Close()
		h, err := dsm.ParseHandle(c.Args[1])
		if err != nil {
			return err
		}
		g, err := s.Attach(ctx, s.Owner(), h)
		if err != nil {
			return err
		}
		x := thingsIn(s, g, false)
		defer x.area.Detach()
		for c.Say("ready"); ; c.Say("ready") {
			if _, ok := c.Hear(); !ok {
				return nil
			}
			if err := x.takeAll(); err != nil {
				return err
			}
		}
	})
}

// uses are what may meet a truncated segment inside Contain, with an error or a fault.
var containUses = map[string]func(gone *things, b []byte) error{
	"load":    func(_ *things, b []byte) error { sink = b[areaAt]; return nil },
	"store":   func(_ *things, b []byte) error { b[len(b)-1] = 1; return nil },
	"lock":    func(x *things, _ []byte) error { _, err := x.lock[0].Lock(ctx); return err },
	"rlock":   func(x *things, _ []byte) error { _, err := x.lock[0].RLock(ctx); return err },
	"trylock": func(x *things, _ []byte) error { _, _, err := x.lock[0].TryLock(); return err },
	"mutex":   func(x *things, _ []byte) error { _, err := x.mutex.Lock(ctx); return err },
	"latch":   func(x *things, _ []byte) error { x.latch.Set(); x.latch.Reset(); return nil },
	"is set":  func(x *things, _ []byte) error { x.latch.IsSet(); return nil },
	"count":   func(x *things, _ []byte) error { x.w.count.Set(); return nil },
	"send":    func(x *things, _ []byte) error { return x.send.TrySend([]byte("x")) },
	"alloc":   func(x *things, _ []byte) error { _, err := x.area.Alloc(100); return err },
	"large":   func(x *things, _ []byte) error { _, err := x.area.Alloc(40 << 10); return err },
	"free":    func(x *things, _ []byte) error { return x.area.Free(x.ptr) },
	"bytes": func(x *things, _ []byte) error {
		b, err := x.area.Bytes(x.ptr)
		if err == nil {
			b[0] = 1
		}
		return err
	},
	"get":  func(x *things, _ []byte) error { _, _, err := x.table.Get(ctx, 1); return err },
	"set":  func(x *things, _ []byte) error { return x.table.Set(ctx, 1, [64]byte{}) },
	"find": func(x *things, _ []byte) error { _, _, err := x.table.FindExclusive(ctx, 1); return err },
}

// TestContainTruncated has every kind of call meet a truncated segment while its goroutine holds every kind of lock in
// another segment: that is ErrCorrupt, and all goroutines and processes get the locks afterwards, but for what another
// goroutine holds.
func TestContainTruncated(t *testing.T) {
	for _, backend := range catalog.Native() {
		t.Run(backend, func(t *testing.T) {
			if !slices.Contains([]string{"posix", "mmap"}, backend) {
				t.Skipf("skipped: %s has no objects that can be truncated", backend)
			}
			for _, checked := range []string{"off", "on"} {
				t.Run("checked="+checked, func(t *testing.T) { containTruncated(t, backend, checked) })
			}
		})
	}
}

func containTruncated(t *testing.T, backend, checked string) {
	cfg := instancetest.Config(t, backend, "checked", checked)
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	x := thingsIn(s, create(t, s, sizeOfAll), true)
	taker := proctest.Start(t, "contain-taker", cfg.Dir, x.g.Handle().String())
	taker.Expect("ready")

	gone := thingsIn(s, create(t, s, sizeOfAll), true)
	held, _, err := gone.table.Find(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	i, _ := info(t, s, gone.g.Handle())
	if err := os.Truncate(i.OSName, 0); err != nil {
		t.Skipf("skipped: %s can't be truncated by its path: %v", i.OSName, err)
	}
	containUses["entry"] = func(*things, []byte) error { sink = held.Value()[0]; return nil }

	b := gone.g.Bytes()
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range containUses {
			if !yield(name) {
				return
			}
		}
	}) {
		use := containUses[name]
		t.Run(name, func(t *testing.T) {
			if err := s.Contain(func() error { return use(gone, b) }); !errors.Is(err, dsm.ErrCorrupt) {
				t.Errorf("Contain = %v, want ErrCorrupt", err)
			}
			other, err := x.lock[2].Lock(ctx) // by another goroutine than that of Contain
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error)
			var late []func()
			go func() {
				done <- s.Contain(func() error {
					late = x.holdAll()
					if err := use(gone, b); !errors.Is(err, dsm.ErrCorrupt) {
						return err
					}
					b[0] = 1 // the call has made an error of its fault
					return nil
				})
			}()
			err = <-done
			if !errors.Is(err, dsm.ErrCorrupt) {
				t.Errorf("Contain = %v, want ErrCorrupt", err)
			}
			if _, ok, _ := x.lock[2].TryLock(); ok {
				t.Error("what another goroutine holds was given back")
			}
			soon, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			g, err := x.lock[0].Lock(soon)
			if err != nil || !g.Abandoned() {
				t.Fatalf("the next Lock = %v, abandoned is %v", err, err == nil && g.Abandoned())
			}
			for _, f := range late { // do nothing
				f()
			}
			if _, ok, _ := x.lock[0].TryLock(); ok {
				t.Error("a late Unlock has given back what another goroutine holds")
			}
			g.MarkConsistent()
			g.Unlock()
			other.Unlock()
			if err := x.takeAll(); err != nil {
				t.Error("another goroutine:", err)
			}
			taker.Send("take")
			taker.Expect("ready")
		})
	}
	if err := taker.Close(); err != nil {
		t.Error(err)
	}
	if rep, err := x.table.Verify(ctx); err != nil || len(rep.Problems) > 0 {
		t.Error(rep.Problems, err)
	}
}

// holdAll takes locks of all kinds, and returns what gives them back.
func (x *things) holdAll() (late []func()) {
	late = append(late, must(x.lock[0].Lock(ctx)).Unlock, must(x.lock[1].RLock(ctx)).Unlock,
		must(x.mutex.Lock(ctx)).Unlock)
	e, _, err := x.table.FindExclusive(ctx, 1)
	check(err)
	e.Value()[0]++
	for i := uint64(0); ; i++ { // one that is in the other partition, so that both are held
		if i == 16 {
			return append(late, e.Release)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		f, found, err := x.table.Find(short, i)
		cancel()
		if err == nil && found {
			return append(late, e.Release, f.Release)
		}
	}
}
