package dsmnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
)

// TestDialWaits: dialers that came before the listener are connected once it listens, and once the next one does.
func TestDialWaits(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	d := dsmnet.Dialer{Wait: true}
	for range 3 {
		_, err := dsmnet.Dial(ctx, b, "later")
		is(t, "Dial without waiting", err, syscall.ECONNREFUSED)
		const dialers = 5
		var wg sync.WaitGroup
		for range dialers {
			wg.Go(func() {
				c, err := d.Dial(ctx, b, "later")
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := io.ReadAll(c); string(got) != "welcome" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
				is(t, "close", c.Close(), nil)
			})
		}
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		_, err = d.Dial(short, b, "later")
		cancel()
		timedOut(t, "Dial that nobody answers", err)
		l := listen(t, a, "later")
		for range dialers {
			c := accept(t, l)
			if _, err := c.Write([]byte("welcome")); err != nil {
				t.Error(err)
			}
			is(t, "close", c.Close(), nil)
		}
		wg.Wait()
		is(t, "close", l.Close(), nil)
	}
	ended := make(chan error)
	go func() {
		_, err := d.Dial(ctx, b, "never")
		ended <- err
	}()
	for !named(t, a, "never") {
		time.Sleep(time.Millisecond)
	}
	is(t, "close", b.Close(), nil)
	closedBoth(t, "Dial that waits", <-ended)
	instancetest.OnlyRoot(t, cfg)
}

// named reports whether there is a name.
func named(t *testing.T, s *dsm.Session, name string) bool {
	t.Helper()
	list, err := registry.List(ctx, s)
	is(t, "list", err, nil)
	return slices.ContainsFunc(list, func(x registry.Info) bool { return x.Name == name })
}

// TestRing: a ring of the size that the dialer says; the listener takes what comes.
func TestRing(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	l := listen(t, s, "rings")
	for _, ring := range []int{-1, 1, 63, 1<<30 + 1} {
		_, err := dsmnet.Dialer{Ring: ring}.Dial(ctx, s, "rings")
		if _, ok := err.(*net.OpError); !ok || !errors.Is(err, dsm.ErrSize) {
			t.Errorf("a ring of %d bytes: %v", ring, err)
		}
	}
	for _, ring := range []int{64, 65, 1000, 4096, 1 << 20, 0} {
		c, err := dsmnet.Dialer{Ring: ring}.Dial(ctx, s, "rings")
		if err != nil {
			t.Fatal(err)
		}
		d := accept(t, l)
		size := ring
		if size == 0 {
			size = dsmnet.DefaultRing
		}
		for _, c := range []net.Conn{c, d} {
			_ = c.SetWriteDeadline(time.Now())
			if _, err := c.Write([]byte("x")); err == nil {
				t.Error("no deadline")
			}
			n := 0
			for last := -1; n > last || n == 0; { // nothing: its time was over before it began
				last = n
				_ = c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
				k, err := c.Write(make([]byte, 4<<20))
				timedOut(t, "Write", err)
				n += k
			}
			if n > size+8 || n < size/2 {
				t.Errorf("a ring of %d bytes took %d", size, n)
			}
		}
		is(t, "close", errors.Join(c.Close(), d.Close()), nil)
	}
	is(t, "close", l.Close(), nil)
}
