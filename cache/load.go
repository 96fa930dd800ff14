package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/shm/logcache"
)

const loadTimeout = 30 * time.Second // if Options say nothing

// Load appends the value of key to dst and returns that, as Get does. If there is none it is what f returns, and is
// set; the package comment says how this goes when many want one key. The context that f is given is the caller's, or
// one that ends with the cache where f runs in the background. Load waits for the load of another until ctx is over.
//
// ErrNotFound says that there is no value; f returns it, or is known to have. An error of f is Load's, for all who wait,
// with its text and the kind that it has in this module. f must not ask for the key that it loads: that is ErrRecursive.
func (c *Cache) Load(ctx context.Context, key, dst []byte, f func(ctx context.Context) ([]byte, error), with ...With) ([]byte, error) {
	if err := c.errIfNotReady(); err != nil {
		return dst, err
	}
	if f == nil {
		return dst, c.cacheError("load into", errkind.As(fs.ErrInvalid, errors.New("the loader is nil")))
	}
	if c.off {
		value, err := f(ctx)
		return append(dst, value...), err
	}
	c.record.add(key)
	e, _, found, err := c.engine.Look(key, dst, false)
	if err != nil {
		return dst, c.cacheError("load into", err)
	}
	if found {
		switch now := c.clock.now(); {
		case e.Absent && !e.Stale(now):
			c.add(key, hits, 1)
			return dst, c.absent()
		case !e.Absent:
			c.add(key, hits, 1)
			if e.Stale(now) {
				c.add(key, stales, 1)
				c.refresh(ctx, key, f, with)
			} else if c.options.Refresh > 0 && c.endsSoon(&e) {
				c.refresh(ctx, key, f, with)
			}
			return e.Value, nil
		}
	}
	c.add(key, misses, 1)
	value, err := c.load(ctx, key, dst, f, with)
	if err != nil {
		return dst, err
	}
	return value, nil
}

func (c *Cache) absent() error {
	return fmt.Errorf("cache: the loader of a key of %q has found no value: %w", c.name, ErrNotFound)
}

// endsSoon reports whether an entry ends soon.
func (c *Cache) endsSoon(e *logcache.Entry) bool {
	until := e.Fresh
	if until == 0 || e.Idle != 0 {
		until = e.Expires
	}
	return until != 0 && c.clock.until(until) < c.options.Refresh
}

func (c *Cache) timeout() time.Duration {
	if c.options.LoadTimeout > 0 {
		return c.options.LoadTimeout
	}
	return loadTimeout
}

// loaderOf is a key of contexts that loaders have: the keys that are being loaded up the stack.
type loaderOf struct{}

type loading struct {
	cache string
	key   string
	above *loading
}

func (c *Cache) enterLoad(ctx context.Context, key []byte) context.Context {
	above, _ := ctx.Value(loaderOf{}).(*loading)
	return context.WithValue(ctx, loaderOf{}, &loading{c.name, string(key), above})
}

func (c *Cache) recursive(ctx context.Context, key []byte) bool {
	l, _ := ctx.Value(loaderOf{}).(*loading)
	for ; l != nil; l = l.above {
		if l.cache == c.name && l.key == string(key) {
			return true
		}
	}
	return false
}

// load runs f, or waits for another who does.
func (c *Cache) load(ctx context.Context, key, dst []byte, f func(context.Context) ([]byte, error), with []With) ([]byte, error) {
	if c.recursive(ctx, key) {
		return dst, c.cacheError("load into", errkind.As(ErrRecursive, errors.New("the loader of a key asks for the same key")))
	}
	for over := false; ; {
		claim, mine, err := c.engine.Claim(ctx, key, over)
		if err != nil {
			return dst, c.cacheError("load into", err)
		}
		if mine {
			return c.runLoader(ctx, claim, key, dst, f, with, !over)
		}
		over, err = c.engine.Await(ctx, claim, c.timeout())
		var failed *logcache.LoadError
		switch {
		case errors.As(err, &failed) && failed.Failure == logcache.TooLarge:
			value, err := f(c.enterLoad(ctx, key))
			return append(dst, value...), err
		case failed != nil:
			return dst, c.loadError(failed)
		case err != nil:
			return dst, c.cacheError("load into", err)
		case over:
			continue
		}
		if value, done, err := c.lookAgain(key, dst); done {
			return value, err
		}
	}
}

// loadError returns the error of a load by another caller, made of what that one has left.
func (c *Cache) loadError(l *logcache.LoadError) error {
	kind, text, _ := strings.Cut(l.Text, "\x00")
	switch l.Failure {
	case logcache.Missing:
		return c.absent()
	case logcache.Panicked:
		text = "its loader panicked: " + text
	}
	err := errors.New("another has loaded the key: " + text)
	if k := errkind.Named(kind); k != nil {
		err = errkind.As(k, err)
	}
	return c.cacheError("load into", err)
}

// runLoader calls f under a claim, stores its result for all that wait for the key, and returns it. Look says that the
// key may have been loaded just before the claim was claimed.
func (c *Cache) runLoader(ctx context.Context, claim logcache.LoadClaim, key, dst []byte, f func(context.Context) ([]byte, error),
	with []With, look bool) (value []byte, err error) {
	returned, ended := false, false
	var end context.Context // one for all that is done after f, so that it takes LoadTimeout at most
	cancel := func() {}
	defer func() {
		if end == nil {
			end, cancel = c.endingContext(ctx)
		}
		defer cancel()
		if returned {
			if !ended {
				err = errors.Join(err, c.engine.Abandon(end, claim))
			}
			return
		}
		c.add(key, failures, 1)
		if r := recover(); r != nil {
			_ = c.engine.Fail(end, claim, logcache.Panicked, "\x00"+excerpt.Print(r))
			panic(r)
		}
		_ = c.engine.Abandon(end, claim) // the goroutine ends
	}()
	if look {
		if value, done, err := c.lookAgain(key, dst); done {
			returned = true
			return value, err
		}
	}
	e, err := c.entry(nil, with) // its tags are those of now: a DeleteTag while f runs counts
	if err != nil {
		returned = true
		return dst, err
	}
	c.add(key, loads, 1)
	value, err = f(c.enterLoad(ctx, key))
	returned = true
	end, cancel = c.endingContext(ctx)
	if err == nil {
		fresh, _ := c.entry(value, nil) // its lifetime begins when it is there
		if len(with) > 0 {
			w := with[0]
			w.Tags = nil
			fresh, _ = c.entry(value, []With{w})
		}
		fresh.Tags = e.Tags
		_, perr := c.store(end, key, fresh, logcache.During(claim))
		switch {
		case perr == nil:
			ended = true
		case errors.Is(perr, ErrSize):
			ended = c.engine.Fail(end, claim, logcache.TooLarge, "") == nil
		}
		return append(dst, value...), nil
	}
	c.add(key, failures, 1)
	switch {
	case errors.Is(err, ErrNotFound):
		if c.options.Negative > 0 {
			_, perr := c.engine.Put(end, key, logcache.Entry{
				Absent: true, Tags: e.Tags, Expires: c.clock.after(c.options.Negative)}, logcache.During(claim))
			ended = perr == nil
		} else {
			ended = c.engine.Fail(end, claim, logcache.Missing, "") == nil
		}
	case ctx.Err() != nil: // those who wait may have time
	default:
		ended = c.engine.Fail(end, claim, logcache.Failed, errkind.Name(err)+"\x00"+err.Error()) == nil
	}
	return dst, err
}

// endPatience is how long beyond the end of its context a caller of Load waits to store, or to give up, what it loads.
const endPatience = time.Second

// endingContext returns a context for what has to be done after a load, also if ctx is over. What a stopped process
// keeps from being done others do after LoadTimeout.
func (c *Cache) endingContext(ctx context.Context) (context.Context, context.CancelFunc) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout())
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(endPatience, cancel) })
	return end, func() { stop(); cancel() }
}

// claimPatience bounds how long Load waits to claim a load in the background.
const claimPatience = 5 * time.Millisecond

// refresh loads a key in the background, unless another does.
func (c *Cache) refresh(ctx context.Context, key []byte, f func(context.Context) ([]byte, error), with []With) {
	if c.recursive(ctx, key) {
		return
	}
	short, cancel := context.WithTimeout(ctx, claimPatience)
	claim, mine, err := c.engine.Claim(short, key, false)
	cancel()
	if err != nil || !mine {
		return
	}
	key = append([]byte(nil), key...)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout())
		defer cancel()
		defer context.AfterFunc(c.over, cancel)()
		defer func() {
			if r := recover(); r != nil { // the caller of Load has returned
				c.log.Warn().Str("cache", c.name).Str("panic", excerpt.Print(r)).Str("event", "cache-loader-panicked").Msg("cache: a loader in the background panicked")
			}
		}()
		_, _ = c.runLoader(ctx, claim, key, nil, f, with, false)
	}()
}
