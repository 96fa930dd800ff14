package endtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
	"github.com/godsm/godsm/shm/logcache"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/toc"
)

var ctx = context.Background()

// users is how many goroutines use a world at the same time. What only one may use at a time each of them has for itself.
const users = 4

// segmentSize is the size of each segment that a world makes itself.
const segmentSize = 64 << 10

// words lie in a segment.
type words struct {
	Lock    shmsync.LWLockWord
	Held    shmsync.LWLockWord // for those who keep a guard over the end
	Under   [users]shmsync.LWLockWord
	Latch   [users]shmsync.LatchWord
	Barrier [users]shmsync.BarrierWord
	Cond    shmsync.Cond
	Count   shmsync.EventCount
	Number  atomic.Uint64
}

// world is one of each structure, in one session.
type world struct {
	name      string // of its listeners
	s         *dsm.Session
	seg       *dsm.Segment
	words     *words
	lock      *shmsync.LWLock
	toc       *toc.Toc
	tocRegion shm.Region
	area      *dsa.Area
	table     *dshash.Table[uint64, uint64]
	bytes     *dshash.Bytes
	cache     *logcache.Cache
	pages     *cache.Cache
	locks     *locktable.Table
	owned     context.Context // with an owner of locks
	owner     *locktable.Owner
	batch     *queue
	named     *words
	alone     [users]alone
}

// alone is what one goroutine has for itself.
type alone struct {
	latch    *shmsync.Latch
	barrier  *shmsync.Barrier
	region   shm.Region
	queue    *mq.Queue
	sender   *mq.Sender
	receiver *mq.Receiver
	many     *mq.Many
	conn     *mq.Conn
	port     net.Listener
	dialed   net.Conn
	accepted net.Conn
	lock     *locktable.Name
	hold     locktable.Hold
}

// newWorld makes one of each in a session of its own. Name is for its listener.
func newWorld(cfg dsm.Config, name string) (w *world, err error) {
	w = &world{name: name}
	if w.s, err = dsm.Open(ctx, cfg); err != nil {
		return nil, err
	}
	if err = w.fill(); err != nil {
		return nil, errors.Join(err, w.s.Close())
	}
	return w, nil
}

func (w *world) segment() (*dsm.Segment, error) { return w.s.Create(ctx, w.s.Owner(), segmentSize) }

func (w *world) fill() (err error) {
	if w.seg, err = w.segment(); err != nil {
		return err
	}
	g, err := w.segment()
	if err != nil {
		return err
	}
	if w.words, err = shm.At[words](g.Region(), 0); err != nil {
		return err
	}
	w.lock = shmsync.NewLWLock(&w.words.Lock, w.s.Self())
	if g, err = w.segment(); err != nil {
		return err
	}
	w.tocRegion = g.Region()
	if w.toc, err = toc.Create(w.tocRegion, 1); err != nil {
		return err
	}
	if _, err = toc.Put(w.toc, 1, func(n *atomic.Uint64) error { n.Store(1); return nil }); err != nil {
		return err
	}
	if _, err = toc.PutSlice(w.toc, 2, 4, func([]uint64) error { return nil }); err != nil {
		return err
	}
	if w.area, err = area.Create(ctx, w.s, w.s.Owner(), dsa.Options{Initial: 64 << 10}); err != nil {
		return err
	}
	if w.table, err = dshash.Create[uint64, uint64](w.area, dshash.Options{Partitions: 4}); err != nil {
		return err
	}
	if w.bytes, err = dshash.CreateBytes(w.area, dshash.Options{Partitions: 4}); err != nil {
		return err
	}
	for k := range uint64(16) {
		if err = errors.Join(w.table.Set(ctx, k, k+100), w.bytes.Set(ctx, key(k), value)); err != nil {
			return err
		}
	}
	if g, err = w.s.Create(ctx, w.s.Owner(), logcache.MinLimit); err != nil {
		return err
	}
	if w.cache, err = logcache.Create(g.Region(), w.s.Self(), logcache.Options{}); err != nil {
		return err
	}
	if err = w.cache.Set(ctx, key(1), value, 0); err != nil {
		return err
	}
	if w.pages, err = cache.Open(ctx, w.s, "end cache", cache.Options{Limit: cache.MinLimit}); err != nil {
		return err
	}
	if err = w.pages.Set(ctx, key(1), value); err != nil {
		return err
	}
	if w.named, err = registry.Segment(ctx, w.s, "end", func(x *words) error { x.Number.Store(7); return nil }); err != nil {
		return err
	}
	if w.locks, err = locktable.Open(ctx, w.s, "end locks", locktable.Options{}); err != nil {
		return err
	}
	if w.batch, err = w.openQueue("end batch"); err != nil {
		return err
	}
	w.owned, w.owner = w.locks.As(ctx, "uses everything")
	for i := range w.alone {
		if err := w.fillAlone(i, fmt.Sprint(w.name, "-", i)); err != nil {
			return err
		}
	}
	return nil
}

func key(k uint64) []byte { return fmt.Append(nil, "key ", k) }

var value = []byte("a value of some bytes")

// pair makes a queue from the session to itself.
func (w *world) pair() (g *dsm.Segment, q *mq.Queue, s *mq.Sender, r *mq.Receiver, err error) {
	if g, err = w.segment(); err != nil {
		return
	}
	if q, err = mq.Create(g.Region()); err != nil {
		return
	}
	if s, err = q.Sender(w.s.Self()); err != nil {
		return
	}
	r, err = q.Receiver(w.s.Self())
	return
}

func (w *world) fillAlone(i int, name string) (err error) {
	a := &w.alone[i]
	if a.lock, err = w.locks.Name(ctx, "kept", name); err != nil {
		return err
	}
	if a.hold, err = w.locks.Lock(ctx, locktable.Exclusive, "held", name); err != nil {
		return err
	}
	a.latch = shmsync.NewLatch(&w.words.Latch[i], w.s.Self())
	if err = a.latch.Own(); err != nil {
		return err
	}
	a.barrier = shmsync.NewBarrier(&w.words.Barrier[i], w.s.Self())
	if _, err = a.barrier.Attach(); err != nil {
		return err
	}
	g, q, s, r, err := w.pair()
	if err != nil {
		return err
	}
	a.region, a.queue, a.sender, a.receiver = g.Region(), q, s, r
	_, _, _, r, err = w.pair()
	if err != nil {
		return err
	}
	a.many = mq.NewMany(r)
	if _, _, s, r, err = w.pair(); err != nil {
		return err
	}
	if a.conn, err = mq.NewConn(s, r); err != nil {
		return err
	}
	if a.port, err = dsmnet.Listen(ctx, w.s, name); err != nil {
		return err
	}
	dialed := make(chan error, 1)
	go func() {
		c, err := dsmnet.Dial(ctx, w.s, name)
		a.dialed = c
		dialed <- err
	}()
	a.accepted, err = a.port.Accept()
	return errors.Join(err, <-dialed)
}

// soon is a context for what waits for something that does not come.
func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 300*time.Microsecond)
}

// waits reports whether err says that soon is over.
func waits(err error) bool { return errors.Is(err, context.DeadlineExceeded) }
