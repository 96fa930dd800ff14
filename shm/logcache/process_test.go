package logcache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/logcache"
)

// made is a cache in a segment of an instance of its own; args are for found.
func made(t testing.TB, backend string, limit int) (c *logcache.Cache, s *dsm.Session, args []string) {
	t.Helper()
	cfg := instancetest.Config(t, backend)
	instancetest.Start(t, cfg)
	s = instancetest.Open(t, cfg)
	g, err := s.Create(ctx, s.Owner(), limit)
	must(t, err)
	c, err = logcache.Create(g.Region(), s.Self(), logcache.Options{})
	must(t, err)
	return c, s, []string{cfg.Dir, g.Handle().String()}
}

// found attaches what a test has made: DIR HANDLE.
func found(args []string, o logcache.Options) (c *logcache.Cache, s *dsm.Session, err error) {
	if s, err = dsm.Open(ctx, dsm.Config{Dir: args[0]}); err != nil {
		return nil, nil, err
	}
	h, err := dsm.ParseHandle(args[1])
	if err != nil {
		return nil, s, err
	}
	g, err := s.Attach(ctx, s.Owner(), h)
	if err != nil {
		return nil, s, err
	}
	c, err = logcache.Attach(g.Region(), s.Self(), o)
	return c, s, err
}

func init() {
	proctest.Register("stopper", stopper)
}

// stopper sets until it is stopped: DIR HANDLE.
func stopper(p *proctest.Child) error {
	c, s, err := found(p.Args, logcache.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	release, err := logcache.HoldLock(c, 0)
	if err != nil {
		return err
	}
	p.Say("holding")
	p.Hear()
	release()
	return nil
}

// TestStoppedHolder: a process that is stopped while it holds a shard's lock makes no Get wait, and a Set of that shard
// until its context ends, with an error that names the holder. Once it is killed no one waits for it.
func TestStoppedHolder(t *testing.T) {
	c, _, args := made(t, catalog.Default(), 16<<20) // two shards at least
	shard := func(k int) int { return logcache.ShardOf(c, name(k)) }
	mine, others := 0, 0
	for shard(mine) != 0 {
		mine++
	}
	for shard(others) == 0 {
		others++
	}
	must(t, c.Set(ctx, name(mine), text(mine, 1, 100), 0))
	p := proctest.Start(t, "stopper", args...)
	p.Expect("holding")
	if err := p.Stop(); err != nil {
		t.Skip("skipped:", err)
	}
	if logcache.Lockless {
		v, found, err := c.Get(name(mine), nil)
		must(t, err)
		if !found || check(mine, v) != nil {
			t.Error("Get does not find the entry while a holder of its shard's lock is stopped")
		}
	}
	must(t, c.Set(ctx, name(others), text(others, 1, 100), 0))
	short, cancel := context.WithTimeout(ctx, 20e6)
	defer cancel()
	err := c.Set(short, name(mine), text(mine, 2, 100), 0)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), fmt.Sprintf("(process %d, ", p.Pid)) {
		t.Error(err)
	}
	t.Log(err)
	p.Kill()
	must(t, c.Set(ctx, name(mine), text(mine, 3, 100), 0))
	clean(t, c)
	if c.Stats().Repaired == 0 {
		t.Error("the shard of the dead holder was not repaired")
	}
}
