package logcache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/eviction"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/hashing"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// Kinds of failure. They match with errors.Is.
var (
	ErrCorrupt  = shm.ErrCorrupt
	ErrSize     = errkind.Size     // not a size that a region, a key or a value can have
	ErrNotFound = errkind.NotFound // there is no cache
	ErrClosed   = errkind.Closed   // after Close, or the end of the region or the session
	ErrMismatch = errkind.Mismatch // the cache is of another Options.Version
	ErrVersion  = errkind.Version  // the cache has another layout version
)

// Options are a cache's. Zeros mean the defaults.
type Options struct {
	// Version is the program's own, of what it means by keys and values. A program that attaches must name the same.
	Version uint64
	// Objects says that as many entries as possible should be hit: small ones are preferred to large ones. By default as
	// many bytes as possible are. For Create.
	Objects bool
	// Checked says that each Get compares the checksum: bytes that a neighbour garbled are then never returned. It is
	// this process's choice.
	Checked bool
	// Now returns the time in the unit of Set's expires. It is the same in all processes, never 0, and never goes
	// back. If it is nil nothing expires in this process.
	Now func() uint32
}

// Cache is a cache in a region, as one process sees it. Its methods are safe for concurrent use.
type Cache struct {
	shape
	seed     uint64
	head     *header
	shards   []shard
	lives    []atomic.Uint64 // of each extent, from 1 on: how often it has been given to a log. They only go up
	rows     []row           // of each extent, from 1 on
	lines    []line          // of each shard the first ones of its index
	grown    []line          // the extents, as lines
	sketch   []uint64
	ghost    []uint32
	tags     []atomic.Uint64 // versions, from 1 on
	loadKeys []atomic.Uint64 // of each shard's loads the hashes of their keys
	loads    []loadRow       // of each shard
	log      []byte          // the extents, from 1 on
	locks    []*shmsync.LWLock
	seats    []seat // of each shard
	objects  bool
	checked  bool
	now      func() uint32
	self     shmsync.Self
	view     ends      // ends with the bytes, the session, or Close
	bytes    *shm.View // the region's
	unhook   func()

	tuning struct {
		sync.Mutex
		tuner         *eviction.Tuner
		curve         [curvePoints]*eviction.Model
		warm          bool // the model of this cache's size has been full
		rate          int
		seen          int
		read, written uint64 // of the ring, when another process had last read it
	}
}

// Create makes an empty cache of all of r, which is zero and aligned to 8, better to 64, bytes. The size of r is the
// limit of the cache: nothing of it lies elsewhere but what each process keeps for itself. Self is the calling
// session. No other process may have attached r yet.
func Create(r shm.Region, self shmsync.Self, o Options) (*Cache, error) {
	s, err := shapeOf(r.Len())
	if err != nil {
		return nil, err
	}
	return open(r, self, o, s, func(c *Cache) error {
		h := c.head
		h.version.Store(version)
		h.user.Store(o.Version)
		h.seed.Store(rand.Uint64())
		h.limit.Store(uint64(s.limit))
		h.born.Store(rand.Uint64())
		if o.Objects {
			h.flags.Store(flagObjects)
		}
		h.tuning.Store(eviction.Untuned)
		h.check.Store(h.sum())
		for i := range c.shards {
			c.shards[i].free.Store(uint32(s.each))
			c.shards[i].number.Store(1)
		}
		failpoint.Hit("logcache/create/laid-out")
		h.magic.Store(magic)
		return nil
	})
}

// Attach finds the cache that Create has made in r. Nothing is walked, whatever the size.
func Attach(r shm.Region, self shmsync.Self, o Options) (*Cache, error) {
	s, err := shapeOf(r.Len())
	if err != nil {
		return nil, err
	}
	return open(r, self, o, s, func(c *Cache) error {
		h := c.head
		switch {
		case h.magic.Load() == 0:
			return errkind.As(ErrNotFound, errors.New("logcache: there is no cache in the region, or its Create is not through"))
		case h.magic.Load() != magic:
			return corrupt("the region begins with %#x and not with a cache", h.magic.Load())
		case h.version.Load() != version:
			return errkind.OtherVersion("logcache: the cache", h.version.Load(), version, "the processes that have it attached")
		case h.check.Load() != h.sum() || h.limit.Load() != uint64(s.limit):
			return corrupt("the header is garbled, or of a region of another size: it says %d bytes, and there are %d",
				h.limit.Load(), s.limit)
		case h.user.Load() != o.Version:
			return errkind.As(ErrMismatch, fmt.Errorf("logcache: the cache is of the program's version %d, not %d",
				h.user.Load(), o.Version))
		}
		return nil
	})
}

// open makes the handle, and has ready lay the cache out or look whether it is one.
func open(r shm.Region, self shmsync.Self, o Options, s shape, ready func(*Cache) error) (c *Cache, err error) {
	defer fault.Return(&err, fault.Catch())
	if err := r.View().Err(); err != nil {
		return nil, err
	}
	c = &Cache{shape: s, checked: o.Checked, now: o.Now, self: self, view: ends{r.View().Sub()}, bytes: r.View()}
	if c.head, err = shm.At[header](r, 0); err != nil {
		return nil, err
	}
	for _, part := range []func() error{
		func() (err error) { c.shards, err = shm.SliceOf[shard](r, shardsAt, s.nshards); return err },
		func() (err error) {
			c.lives, err = shm.SliceOf[atomic.Uint64](r, shm.Offset(s.livesAt), s.extents())
			return err
		},
		func() (err error) { c.rows, err = shm.SliceOf[row](r, shm.Offset(s.rowsAt), s.extents()); return err },
		func() (err error) {
			c.lines, err = shm.SliceOf[line](r, shm.Offset(s.linesAt), s.nshards*s.nlines)
			return err
		},
		func() (err error) {
			c.sketch, err = shm.SliceOf[uint64](r, shm.Offset(s.sketAt), s.nshards*s.nsketch)
			return err
		},
		func() (err error) {
			c.ghost, err = shm.SliceOf[uint32](r, shm.Offset(s.ghostAt), s.nshards*s.nghost)
			return err
		},
		func() (err error) {
			c.grown, err = shm.SliceOf[line](r, shm.Offset(s.logAt), s.extents()*s.extent/lineSize)
			return err
		},
		func() (err error) {
			c.tags, err = shm.SliceOf[atomic.Uint64](r, shm.Offset(s.tagsAt), s.ntags)
			return err
		},
		func() (err error) {
			c.loadKeys, err = shm.SliceOf[atomic.Uint64](r, shm.Offset(s.keysAt), s.nshards*s.nloads)
			return err
		},
		func() (err error) {
			c.loads, err = shm.SliceOf[loadRow](r, shm.Offset(s.loadsAt), s.nshards*s.nloads)
			return err
		},
		func() (err error) { c.log, err = r.Bytes(shm.Offset(s.logAt), s.extents()*s.extent); return err },
	} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	if err := ready(c); err != nil {
		c.view.End()
		return nil, r.View().Answer(err)
	}
	c.seed, c.objects = c.head.seed.Load(), c.head.flags.Load()&flagObjects != 0
	c.unhook = self.View.OnEnd(c.view.End)
	c.seats = make([]seat, len(c.shards))
	for i := range c.shards {
		c.locks = append(c.locks, shmsync.NewLWLockUnder(c.view.View, &c.shards[i].lock, self))
	}
	return c, c.view.Answer(nil)
}

// ends is the view of a cache. The zero Cache's has ended.
type ends struct{ *shm.View }

func (e ends) Ended() bool { return e.View == nil || e.View.Ended() }

// sum returns the checksum of the constants.
func (h *header) sum() uint64 {
	x := uint64(magic)
	for _, w := range []*atomic.Uint64{&h.version, &h.user, &h.seed, &h.limit, &h.flags, &h.born} {
		x = hashing.Mix(x^w.Load(), hashing.Odd0) + hashing.Odd1
	}
	return x
}

// Close ends the use of the cache by this process: every call from then on is ErrClosed. The cache stays as it is. Calls
// under way go on. Closing twice is harmless.
func (c *Cache) Close() {
	if c.view.View == nil {
		return
	}
	c.unhook()
	c.view.End()
}

// MaxValue returns the length of the longest value: an eighth of the limit.
func (c *Cache) MaxValue() int { return c.limit / 8 }

// MaxKey returns the length of the longest key: a sixteenth of an extent, and so at least 1 KiB.
func (c *Cache) MaxKey() int { return min(c.maxKey(), 1<<16-1) }
