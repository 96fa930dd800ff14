package logcache_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/godsm/godsm/internal/testing/viewtest"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/logcache"
)

// uses are the calls of a cache. Key k is there for k below 40, as set.
var uses = []struct {
	name string
	call func(c *logcache.Cache, n int) error
}{
	{"get", func(c *logcache.Cache, n int) error {
		v, found, err := c.Get(name(n%40), nil)
		if s := c.Stats(); err == nil && !found && s.Entries > 0 && s.Evicted == 0 {
			return errors.New("wrong: a key is missing")
		}
		if err == nil && found {
			err = check(n%40, v)
		}
		return err
	}},
	{"get of pieces", func(c *logcache.Cache, n int) error {
		v, found, err := c.Get(name(41), nil)
		if err == nil && found {
			err = check(41, v)
		}
		return err
	}},
	{"set", func(c *logcache.Cache, n int) error { return c.Set(ctx, name(n%40), text(n%40, n, 300), 0) }},
	{"set of pieces", func(c *logcache.Cache, n int) error { return c.Set(ctx, name(41), text(41, n, 9000), 0) }},
	{"many", func(c *logcache.Cache, n int) error {
		for k := range 200 {
			if err := c.Set(ctx, name(100+k+n%5*200), text(100+k+n%5*200, n, 200), 0); err != nil {
				return err
			}
		}
		return nil
	}},
	{"delete", func(c *logcache.Cache, n int) error { _, err := c.Delete(ctx, name(50+n%20)); return err }},
	{"verify", func(c *logcache.Cache, n int) error { _, err := c.Verify(ctx); return err }},
	{"stats", func(c *logcache.Cache, n int) error {
		if c.Stats().Window == 0 {
			return logcache.ErrClosed
		}
		return nil
	}},
}

// pair is a cache as two sessions of one memory see it; the bytes of the first end.
func pair(t testing.TB) (b *viewtest.Bytes, mine, others *logcache.Cache) {
	t.Helper()
	b = viewtest.New(t, 2<<20)
	var err error
	others, err = logcache.Create(b.Others, self(1), logcache.Options{})
	must(t, err)
	mine, err = logcache.Attach(b.Region, self(2), logcache.Options{Checked: true})
	must(t, err)
	for k := range 40 {
		must(t, others.Set(ctx, name(k), text(k, 1, 100), 0))
	}
	must(t, others.Set(ctx, name(41), text(41, 1, 9000), 0))
	return b, mine, others
}

// over: each call is ErrClosed, and the others find all in order and no lock held.
func over(t testing.TB, mine, others *logcache.Cache) {
	t.Helper()
	for _, use := range uses {
		if err := use.call(mine, 3); !errors.Is(err, logcache.ErrClosed) {
			t.Errorf("%s after the end: %v", use.name, err)
		}
	}
	clean(t, others)
	for _, use := range uses {
		must(t, use.call(others, 5))
	}
}

// TestEndBesideUse: goroutines use the cache while its bytes are swapped.
func TestEndBesideUse(t *testing.T) {
	for round := range 20 {
		b, mine, others := pair(t)
		var users sync.WaitGroup
		begun := make(chan bool, 4)
		for g := range 4 {
			users.Go(func() {
				for n := g*5 + round; ; n++ {
					use := uses[n%len(uses)]
					err := use.call(mine, n)
					if n == g*5+round {
						begun <- true
					}
					if errors.Is(err, logcache.ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("%s: %v", use.name, err)
						return
					}
				}
			})
		}
		for range 4 {
			<-begun
		}
		if round%2 == 0 {
			b.End()
		} else {
			b.EndChecked()
		}
		users.Wait()
		over(t, mine, others)
	}
}

// TestClose: of the cache or of its session, without an end of the bytes.
func TestClose(t *testing.T) {
	_, mine, others := pair(t)
	mine.Close()
	mine.Close()
	over(t, mine, others)

	session := new(shm.View)
	r := shm.NewRegion(logcache.BytesOf(make([]uint64, 1<<17)))
	me := self(1)
	me.View = session
	c, err := logcache.Create(r, me, logcache.Options{})
	must(t, err)
	must(t, c.Set(ctx, name(1), text(1, 1, 1), 0))
	session.End()
	if _, _, err := c.Get(name(1), nil); !errors.Is(err, logcache.ErrClosed) {
		t.Errorf("Get after the end of the session: %v", err)
	}
}
