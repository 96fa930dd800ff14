package cache_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

var ctx = context.Background()

func TestMain(m *testing.M) { proctest.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// instance starts one, and opens a session.
func instance(t testing.TB) (dsm.Config, *dsm.Session) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	return cfg, instancetest.Open(t, cfg)
}

func open(t testing.TB, s *dsm.Session, name string, o cache.Options) *cache.Cache {
	t.Helper()
	if o.Limit == 0 {
		o.Limit = 1 << 20
	}
	c, err := cache.Open(ctx, s, name, o)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func get(t testing.TB, c *cache.Cache, key string) string {
	t.Helper()
	v, found, err := c.Get([]byte(key), nil)
	must(t, err)
	if !found {
		return "-"
	}
	return string(v)
}

// value is long enough to be in the cache as it would be in a program, and says whose it is.
func value(key string) string { return strings.Repeat(key+";", 12) }

func name(k int) string { return fmt.Sprintf("key%08d", k) }

func verify(t testing.TB, c *cache.Cache) {
	t.Helper()
	r, err := c.Verify(ctx)
	must(t, err)
	for _, w := range r.Wrong {
		t.Error(w)
	}
}
