package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/rs/zerolog"
)

// Cache is a cache as one caller of Open sees it. Its methods are safe for concurrent use. The zero Cache, and a nil
// one, is closed.
type Cache struct {
	name    string
	options Options
	off     bool // of Limit 0
	private bool
	engine  *logcache.Cache
	top     *top
	view    *shm.View // of the memory
	clock   *clock
	owner   *resowner.Owner // of the segment; nil if there is none
	counter counter
	record  *recorder
	log     zerolog.Logger
	buffers sync.Pool

	over    context.Context // ends loads in the background
	end     context.CancelCauseFunc
	closing sync.Once
	closed  error
}

// kindOf returns what names of caches stand for.
func kindOf() registry.Kind {
	return registry.Kind{Name: Kind, Type: "bytes", Layout: logcache.Version<<16 | headVersion}
}

// Open opens the cache of that name, as package registry has names. The first caller makes it, with all of its memory,
// so that there is nothing to run out of later: what the system or the instance can't give is ErrNoSpace or ErrQuota
// here. All others find it as it is, and filled. It is not walked, whatever its size. Each Open needs a Close, or the
// end of the session.
//
// Another kind or Version of the name is ErrMismatch: see OnMismatch.
func Open(ctx context.Context, s *dsm.Session, name string, o Options) (*Cache, error) {
	c := &Cache{name: name, options: o, off: o.Limit == 0}
	err := o.check()
	if err == nil {
		err = s.Err()
	}
	if err == nil && !c.off {
		err = c.open(ctx, s)
	}
	if err != nil {
		return nil, fmt.Errorf("cache: open %q: %w", name, err)
	}
	c.over, c.end = context.WithCancelCause(context.Background())
	c.record, c.log = newRecorder(o.Record), s.Config().Logger
	if c.view != nil {
		c.view.OnEnd(func() { c.end(errEnded) })
	}
	return c, nil
}

var errEnded = errkind.As(ErrClosed, errors.New("cache: the cache was closed, or its session has ended"))

func (c *Cache) open(ctx context.Context, s *dsm.Session) error {
	err := c.attach(ctx, s, c.name, c.options.Limit)
	if !errors.Is(err, ErrMismatch) || c.options.OnMismatch == Refuse {
		return err
	}
	switch deleted, derr := deleteUnused(ctx, s, c.name); {
	case derr != nil:
		return errors.Join(err, derr)
	case deleted:
		return c.attach(ctx, s, c.name, c.options.Limit)
	case c.options.OnMismatch == Beside:
		name := c.name + "@" + strconv.FormatUint(c.options.Version, 10)
		return c.attach(ctx, s, name, max(c.options.Limit/2, MinLimit))
	}
	log := s.Config().Logger
	log.Warn().Str("name", c.name).Err(err).Str("event", "cache-alone").Msg("cache: this process has a cache of its own")
	return c.makePrivate(s.Self())
}

// deleteUnused deletes a cache of that name that no session has attached.
func deleteUnused(ctx context.Context, s *dsm.Session, name string) (deleted bool, err error) {
	names, err := registry.List(ctx, s)
	if err != nil {
		return false, err
	}
	for _, x := range names {
		if x.Name == name && x.Kind == kindOf().Name && x.State == registry.StateReady && len(x.Sessions) == 0 {
			err := registry.Delete(ctx, s, name)
			return err == nil, err
		}
	}
	return false, nil
}

// attach opens the cache of a name, or makes it.
func (c *Cache) attach(ctx context.Context, s *dsm.Session, name string, limit int64) (err error) {
	owner, err := s.Owner().Child("cache " + name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, owner.Abort())
		}
	}()
	fresh := false
	create := func(g *dsm.Segment) (*dsm.Segment, error) {
		fresh = true
		return g, c.createEngine(ctx, g.Region(), s.Self(), int(limit))
	}
	find := func(g *dsm.Segment) (*dsm.Segment, error) { return g, nil }
	g, err := registry.InSegment(ctx, s, name, kindOf(), c.options.size(limit), create, find,
		registry.Options{Owner: owner, Version: c.options.Version})
	if err != nil {
		return err
	}
	failpoint.Hit("cache/open/found")
	if !fresh {
		if err := c.attachEngine(g.Region(), s.Self()); err != nil {
			return err
		}
	}
	c.owner, c.name = owner, name
	return fault.Contain(func() error { c.top.claim(); return nil })
}

// createEngine lays out an empty cache in r.
func (c *Cache) createEngine(ctx context.Context, r shm.Region, self shmsync.Self, limit int) (err error) {
	defer fault.Return(&err, fault.Catch())
	engine, err := c.openHead(r, self, true)
	if err != nil {
		return err
	}
	if c.engine, err = logcache.Create(engine, self, c.engineOptions()); err != nil {
		return err
	}
	if limit < r.Len() {
		return c.resize(ctx, int64(limit))
	}
	return nil
}

// attachEngine opens the cache that is in r.
func (c *Cache) attachEngine(r shm.Region, self shmsync.Self) (err error) {
	defer fault.Return(&err, fault.Catch())
	engine, err := c.openHead(r, self, false)
	if err != nil {
		return err
	}
	c.engine, err = logcache.Attach(engine, self, c.engineOptions())
	return err
}

func (c *Cache) openHead(r shm.Region, self shmsync.Self, fresh bool) (engine shm.Region, err error) {
	if c.top, engine, err = topOf(r, self, fresh); err != nil {
		return engine, err
	}
	c.view = r.View()
	c.clock = newClock(c.top.bornAt())
	return engine, nil
}

func (c *Cache) engineOptions() logcache.Options {
	o := c.options
	return logcache.Options{Version: o.Version, Objects: o.Objects, Checked: o.Checked, Now: c.clock.now}
}

// makePrivate makes a cache in ordinary memory.
func (c *Cache) makePrivate(self shmsync.Self) error {
	c.private = true
	b := make([]byte, c.options.size(c.options.Limit))
	if err := c.createEngine(context.Background(), shm.NewRegion(b).Under(self.View.Sub()), self, int(c.options.Limit)); err != nil {
		return err
	}
	c.top.claim()
	return nil
}

// Close ends the use of the cache by this caller: each call from then on is ErrClosed. Calls under way end, loads in the
// background are told to. The cache stays. Closing twice is harmless. It returns what Options.Record's writer has
// refused.
func (c *Cache) Close() error {
	if c == nil || c.end == nil {
		return nil
	}
	c.closing.Do(func() {
		c.end(errEnded)
		c.flush()
		c.closed = c.record.close()
		if c.engine != nil {
			c.engine.Close()
		}
		if c.owner != nil {
			c.closed = errors.Join(c.closed, c.owner.Abort())
		}
	})
	return c.closed
}

// errIfNotReady returns why the cache cannot be used.
func (c *Cache) errIfNotReady() error {
	switch {
	case c == nil || c.end == nil:
		return errEnded
	case c.off && c.over.Err() != nil:
		return errEnded
	}
	return nil
}

// Name returns the name in the registry: with OnMismatch Beside it may be another than Open was called with.
func (c *Cache) Name() string {
	if c == nil {
		return ""
	}
	return c.name
}

// Shared reports whether other processes see the cache: it is neither off nor private.
func (c *Cache) Shared() bool { return c.errIfNotReady() == nil && !c.off && !c.private }

// MaxKey returns the length of the longest key, and MaxValue that of the longest value.
func (c *Cache) MaxKey() int {
	if c.errIfNotReady() != nil || c.off {
		return 0
	}
	return c.engine.MaxKey()
}

// MaxValue returns the length of the longest value.
func (c *Cache) MaxValue() int {
	if c.errIfNotReady() != nil || c.off {
		return 0
	}
	if n := c.options.MaxValue; n > 0 {
		return min(n, c.engine.MaxValue())
	}
	return c.engine.MaxValue()
}

// cacheError says which cache an error is of.
func (c *Cache) cacheError(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cache: %s %q: %w", what, c.name, err)
}

// entry makes an entry of a value.
func (c *Cache) entry(value []byte, with []With) (e logcache.Entry, err error) {
	if err := c.errIfNotReady(); err != nil || c.off {
		return e, err
	}
	var w With
	switch {
	case len(with) > 1:
		return e, c.cacheError("use", errkind.As(fs.ErrInvalid, fmt.Errorf("%d With were given: give one, with all that is wanted", len(with))))
	case len(with) == 1:
		w = with[0]
	}
	if len(w.Tags) > MaxTags {
		return e, c.cacheError("use", errkind.As(ErrSize, fmt.Errorf("%d tags: an entry can have %d", len(w.Tags), MaxTags)))
	}
	o := &c.options
	e.Value = value
	ttl, idle, stale := firstNonZero(w.TTL, o.TTL), firstNonZero(w.Idle, o.Idle), firstNonZero(w.Stale, o.Stale)
	if ttl > 0 && o.Jitter > 0 {
		ttl -= time.Duration(rand.Float64() * o.Jitter * float64(ttl))
	}
	if ttl > 0 {
		e.Expires = c.clock.after(ttl)
	}
	switch {
	case idle > 0 && ticks(idle) < 1<<31:
		e.Idle, e.Fresh = uint32(ticks(idle)), c.clock.after(idle)
		if e.Expires != 0 {
			e.Fresh = min(e.Fresh, e.Expires)
		}
	case e.Expires != 0 && stale > 0:
		e.Fresh, e.Expires = e.Expires, c.clock.after(ttl+stale)
	}
	for i, name := range w.Tags {
		if e.Tags[i], err = c.engine.TagOf([]byte(name)); err != nil {
			return e, c.cacheError("use", err)
		}
	}
	return e, nil
}
