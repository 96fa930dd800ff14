//go:build linux && failpoint

package cache_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func init() { proctest.Register("victim", victim) }

var small = cache.Options{Limit: 1 << 20, Max: 2 << 20}

// victim arms itself, opens a cache and works: DIR PLAN.
func victim(p *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := failpoint.Arm(p.Args[1]); err != nil {
		return err
	}
	c, err := cache.Open(ctx, s, "c", small)
	if err != nil {
		return err
	}
	return work(c)
}

// work calls all that changes a cache.
func work(c *cache.Cache) error {
	var errs []error
	no := func(err error) { errs = append(errs, err) }
	for k := range 3000 {
		key := []byte(name(k))
		no(c.Set(ctx, key, []byte(value(name(k)))))
		if k%50 > 0 {
			continue
		}
		for _, f := range []func(context.Context) ([]byte, error){
			func(context.Context) ([]byte, error) { return []byte(value(name(k))), nil },
			func(context.Context) ([]byte, error) { return nil, errors.New("no bread") },
		} {
			_, err := c.Delete(ctx, key)
			no(err)
			if _, err := c.Load(ctx, key, nil, f); err != nil && !strings.Contains(err.Error(), "no bread") {
				no(err)
			}
		}
		_, err := c.Incr(ctx, []byte("number"), 1)
		no(err)
		_, err = c.Touch(ctx, []byte(name(k-1)))
		no(err)
		if k%1000 == 0 {
			no(c.Resize(ctx, 2<<20))
			no(c.Resize(ctx, 1<<20))
			no(c.DeleteTag("tag"))
		}
	}
	no(c.Purge(ctx))
	_, err := c.Stats()
	no(err)
	return errors.Join(append(errs, c.Close())...)
}

// TestKilledInside kills a session at every point of this package and of those below that it comes to. What the survivor
// finds is right, and the cache works; nothing is left but the cache.
func TestKilledInside(t *testing.T) {
	points, err := failpoint.Points(".")
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{}
	at := proctest.Traced(t, "work", func(t *testing.T, plan string) { kill(t, plan) })
	for _, p := range at {
		if strings.HasPrefix(p, "cache/") {
			reached[p] = true
		} else if strings.HasPrefix(p, "logcache/displace/") { // a matter of chance here
			continue
		} else if testing.Short() || !strings.HasPrefix(p, "logcache/") && !strings.HasPrefix(p, "registry/") {
			continue
		}
		t.Run(p, func(t *testing.T) {
			t.Parallel()
			kill(t, p+"#1=kill")
		})
	}
	proctest.Reached(t, points, reached)
}

func kill(t *testing.T, plan string) {
	cfg, s := instance(t)
	v := proctest.Start(t, "victim", cfg.Dir, plan)
	must(t, v.Perish(plan, strings.Contains(plan, "#1=")))
	c := open(t, s, "c", small)
	verify(t, c)
	for k := range 3000 {
		v, found, err := c.Get([]byte(name(k)), nil)
		must(t, err)
		if found && string(v) != value(name(k)) {
			t.Errorf("%s is %q", name(k), v)
		}
	}
	must(t, work(c))
	c = open(t, s, "c", small)
	verify(t, c)
	st, err := c.Stats()
	must(t, err)
	if st.Total.Sets < 3000 {
		t.Errorf("%+v", st.Total)
	}
	must(t, c.Close())
	if err := c.Set(ctx, nil, nil); !errors.Is(err, cache.ErrClosed) {
		t.Error(err)
	}
}
