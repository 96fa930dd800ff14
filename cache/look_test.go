package cache_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// TestReadWithoutJoining: a look at the memory finds the counts that Stats returns, and no session more; what is no
// cache is an error.
func TestReadWithoutJoining(t *testing.T) {
	ctx, cfg := context.Background(), instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	c, err := cache.Open(ctx, s, "pages", cache.Options{Limit: 4 << 20, Version: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Set(ctx, []byte("key"), []byte("value"), cache.With{}); err != nil {
		t.Fatal(err)
	}
	if _, found, err := c.Get([]byte("key"), nil); err != nil || !found {
		t.Fatal(found, err)
	}
	want, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	alive := func(shmsync.Peer) bool { return true }
	err = dsm.Look(ctx, cfg, func(r dsm.Report, bytes func(dsm.Handle) ([]byte, error)) error {
		names, err := registry.Names(r)
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		b, err := bytes(names[0].Handle)
		if err != nil {
			return err
		}
		got, _, err := cache.Read(shm.NewRegion(b), names[0].Version, alive)
		if err != nil {
			return err
		}
		if got.Total != want.Total || got.Entries != 1 || got.Limit != want.Limit || got.Used != want.Used || len(got.Sessions) != 1 {
			t.Errorf("%+v, want %+v", got, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, n := range []int{0, 8, 4096, 1 << 20, 4 << 20} {
		if _, _, err := cache.Read(shm.NewRegion(make([]byte, n)), 7, alive); err == nil {
			t.Errorf("%d zero bytes are a cache", n)
		} else if n == 4<<20 && !errors.Is(err, cache.ErrCorrupt) {
			t.Error(err)
		}
	}
}

// TestReadEndsInEveryWay has the function that Read is given leave it in each way: Read does no harm, and works again.
func TestReadEndsInEveryWay(t *testing.T) {
	ctx, cfg := context.Background(), instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	c, err := cache.Open(ctx, s, "pages", cache.Options{Limit: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out := errors.New("the function failed")
	err = dsm.Look(ctx, cfg, func(r dsm.Report, bytes func(dsm.Handle) ([]byte, error)) error {
		names, err := registry.Names(r)
		if err != nil {
			return err
		}
		b, err := bytes(names[0].Handle)
		if err != nil {
			return err
		}
		for _, way := range []func() bool{
			func() bool { return false }, func() bool { panic(out) }, func() bool { runtime.Goexit(); return true },
			func() bool { return true },
		} {
			done := make(chan any, 1)
			go func() {
				defer func() { done <- recover() }()
				_, _, err := cache.Read(shm.NewRegion(b), names[0].Version, func(shmsync.Peer) bool { return way() })
				if err != nil {
					t.Error(err)
				}
			}()
			if r := <-done; r != nil && r != any(out) {
				t.Error(r)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
