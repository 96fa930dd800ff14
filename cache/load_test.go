package cache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func init() {
	proctest.Register("load", loader)
	proctest.Register("hang", hanger)
}

// loader is one of the processes that want one key at the same time: DIR. It says how often it has loaded it.
func loader(p *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	c, err := cache.Open(ctx, s, "c", cache.Options{Limit: 1 << 20})
	if err != nil {
		return err
	}
	p.Say("ready")
	if _, ok := p.Hear(); !ok {
		return errors.New("the test has ended")
	}
	var loads atomic.Int64
	errs := make([]error, 64)
	var busy sync.WaitGroup
	for i := range errs {
		busy.Go(func() {
			b, err := c.Load(ctx, []byte("key"), nil, func(context.Context) ([]byte, error) {
				loads.Add(1)
				time.Sleep(20 * time.Millisecond) // the origin
				return []byte("value"), nil
			})
			if err != nil || string(b) != "value" {
				errs[i] = fmt.Errorf("%q, %w", b, err)
			}
		})
	}
	busy.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	p.Say("%d", loads.Load())
	return nil
}

// hanger loads a key and never returns: DIR.
func hanger(p *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: p.Args[0]})
	if err != nil {
		return err
	}
	c, err := cache.Open(ctx, s, "c", cache.Options{Limit: 1 << 20})
	if err != nil {
		return err
	}
	_, err = c.Load(ctx, []byte("key"), nil, func(context.Context) ([]byte, error) {
		p.Say("ready")
		select {}
	})
	return err
}

// TestOneLoader: of all goroutines of some processes that want one key, one loads it.
func TestOneLoader(t *testing.T) {
	cfg, s := instance(t)
	open(t, s, "c", cache.Options{})
	var list []*proctest.Process
	for range 8 {
		list = append(list, proctest.Start(t, "load", cfg.Dir))
	}
	for _, p := range list {
		p.Expect("ready")
	}
	for _, p := range list {
		p.Send("go")
	}
	total := 0
	for _, p := range list {
		n := 0
		if _, err := fmt.Sscan(p.Expect(""), &n); err != nil {
			t.Fatal(err)
		}
		total += n
		must(t, p.Close())
	}
	if total != 1 {
		t.Errorf("%d loads", total)
	}
}

// TestLoaderKilled: when the process that loads a key is killed, one that waits loads it.
func TestLoaderKilled(t *testing.T) {
	cfg, s := instance(t)
	c := open(t, s, "c", cache.Options{})
	p := proctest.Start(t, "hang", cfg.Dir)
	p.Expect("ready")
	began := make(chan time.Time, 1)
	done := make(chan error, 1)
	go func() {
		b, err := c.Load(ctx, []byte("key"), nil, func(context.Context) ([]byte, error) {
			began <- time.Now()
			return []byte("second"), nil
		})
		if err == nil && string(b) != "second" {
			err = fmt.Errorf("%q", b)
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("a load while another is under way: %v", err)
	case <-time.After(50 * time.Millisecond): // it waits
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	_, err := c.Load(short, []byte("key"), nil, func(context.Context) ([]byte, error) { return nil, errors.New("not here") })
	if cancel(); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), fmt.Sprintf("(process %d, ", p.Pid)) ||
		!strings.Contains(err.Error(), ", running)") {
		t.Errorf("a wait that ends: %v", err)
	}
	killed := time.Now()
	p.Kill()
	must(t, <-done)
	t.Logf("the next load began %v after the kill", (<-began).Sub(killed))
	if got := get(t, c, "key"); got != "second" {
		t.Errorf("%q", got)
	}
	verify(t, c)
}

// TestWaysOutOfLoader: whichever way out a loader takes, those who wait get a value or an error, and the next load
// works.
func TestWaysOutOfLoader(t *testing.T) {
	_, s := instance(t)
	c := open(t, s, "c", cache.Options{Negative: time.Hour})
	for way, x := range map[string]struct {
		f     func(ctx context.Context) ([]byte, error)
		is    error  // of one who waits
		says  string // the same
		again bool   // one who waits loads
	}{
		"fails":     {f: func(context.Context) ([]byte, error) { return nil, fmt.Errorf("no bread: %w", dsm.ErrQuota) }, is: dsm.ErrQuota, says: "no bread"},
		"absent":    {f: func(context.Context) ([]byte, error) { return nil, cache.ErrNotFound }, is: cache.ErrNotFound},
		"panics":    {f: func(context.Context) ([]byte, error) { panic("no oven") }, says: "panicked: no oven"},
		"nil":       {f: func(context.Context) ([]byte, error) { panic(nil) }, says: "panicked"},
		"goexit":    {f: func(context.Context) ([]byte, error) { runtime.Goexit(); return nil, nil }, again: true},
		"cancelled": {f: func(ctx context.Context) ([]byte, error) { return nil, ctx.Err() }, again: true},
		"too large": {f: func(context.Context) ([]byte, error) { return make([]byte, c.MaxValue()+1), nil }, again: true},
		"returns":   {f: func(context.Context) ([]byte, error) { return []byte("v"), nil }},
	} {
		t.Run(way, func(t *testing.T) {
			inside, waiting := make(chan struct{}), make(chan struct{})
			var out sync.WaitGroup
			own, cancel := context.WithCancel(ctx)
			out.Go(func() {
				defer func() { _ = recover() }()
				_, _ = c.Load(own, []byte(way), nil, func(ctx context.Context) ([]byte, error) {
					close(inside)
					<-waiting
					if way == "cancelled" {
						cancel()
					}
					return x.f(ctx)
				})
			})
			<-inside
			time.AfterFunc(20*time.Millisecond, func() { close(waiting) }) // about when the other one waits; if not, it loads
			again := false
			_, err := c.Load(ctx, []byte(way), nil, func(context.Context) ([]byte, error) { again = true; return []byte("2"), nil })
			out.Wait()
			cancel()
			switch {
			case again != x.again:
				t.Errorf("the one who waits loads: %v, %v", again, err)
			case x.is != nil && !errors.Is(err, x.is), !strings.Contains(fmt.Sprint(err), x.says), x.is == nil && x.says == "" && err != nil:
				t.Errorf("%v", err)
			}
			if _, err := c.Delete(ctx, []byte(way)); err != nil {
				t.Error(err)
			}
			if way == "absent" { // Delete has made it forget
				_, err = c.Load(ctx, []byte(way), nil, func(context.Context) ([]byte, error) { return []byte("there"), nil })
				must(t, err)
			}
		})
	}
	_, err := c.Load(ctx, []byte("a"), nil, func(ctx context.Context) ([]byte, error) {
		return c.Load(ctx, []byte("b"), nil, func(ctx context.Context) ([]byte, error) {
			return c.Load(ctx, []byte("a"), nil, func(context.Context) ([]byte, error) { return nil, nil })
		})
	})
	if !errors.Is(err, cache.ErrRecursive) {
		t.Errorf("a loader that asks for its key: %v", err)
	}
	verify(t, c)
}

// TestChangedWhileLoading: a change of the key while it is loaded keeps the loaded value out.
func TestChangedWhileLoading(t *testing.T) {
	_, s := instance(t)
	c := open(t, s, "c", cache.Options{})
	key := []byte("key")
	for what, change := range map[string]func() error{
		"Set":       func() error { return c.Set(ctx, key, []byte("new")) },
		"Delete":    func() error { _, err := c.Delete(ctx, key); return err },
		"DeleteTag": func() error { return c.DeleteTag("tag") },
		"Purge":     func() error { return c.Purge(ctx) },
		"nothing":   func() error { return nil },
	} {
		must(t, c.Purge(ctx))
		b, err := c.Load(ctx, key, nil, func(context.Context) ([]byte, error) { return []byte("old"), change() }, cache.With{Tags: []string{"tag"}})
		if string(b) != "old" || err != nil {
			t.Errorf("%s: %q, %v", what, b, err)
		}
		want := map[string]string{"Set": "new", "nothing": "old"}[what]
		if want == "" {
			want = "-"
		}
		if got := get(t, c, "key"); got != want {
			t.Errorf("%s: afterwards %q", what, got)
		}
	}
}

// TestStaleAndRefresh: Load returns an entry that is beyond its TTL, or near its end, and one loads it in the
// background.
func TestStaleAndRefresh(t *testing.T) {
	_, s := instance(t)
	for what, o := range map[string]cache.Options{
		"stale":   {Limit: 1 << 20, TTL: time.Minute, Stale: time.Hour},
		"refresh": {Limit: 1 << 20, TTL: time.Hour, Refresh: 59*time.Minute + 30*time.Second},
	} {
		c := open(t, s, "c", o)
		must(t, c.Set(ctx, []byte("key"), []byte("old")))
		cache.Pass(c, 5*time.Minute)
		loaded, let := make(chan struct{}), make(chan struct{})
		f := func(ctx context.Context) ([]byte, error) {
			close(loaded) // twice is a panic: one loads
			<-let
			return []byte("new"), ctx.Err()
		}
		for range 3 {
			if b, err := c.Load(ctx, []byte("key"), nil, f); string(b) != "old" || err != nil {
				t.Errorf("%s: %q, %v", what, b, err)
			}
		}
		<-loaded
		close(let)
		for {
			b, err := c.Load(ctx, []byte("key"), nil, f)
			must(t, err)
			if string(b) == "new" {
				break
			}
			time.Sleep(time.Millisecond)
		}
		must(t, c.Purge(ctx))
		must(t, c.Close())
	}
}

// TestHungLoader: after LoadTimeout another loads, and what the first one has loaded then is its own.
func TestHungLoader(t *testing.T) {
	cfg, s := instance(t)
	other := instancetest.Open(t, cfg)
	a, b := open(t, s, "c", cache.Options{}), open(t, other, "c", cache.Options{LoadTimeout: 30 * time.Millisecond})
	inside, let, done := make(chan struct{}), make(chan struct{}), make(chan string)
	go func() {
		v, err := a.Load(ctx, []byte("key"), nil, func(context.Context) ([]byte, error) {
			close(inside)
			<-let
			return []byte("late"), nil
		})
		done <- fmt.Sprintf("%s %v", v, err)
	}()
	<-inside
	v, err := b.Load(ctx, []byte("key"), nil, func(context.Context) ([]byte, error) { return []byte("second"), nil })
	if string(v) != "second" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	close(let)
	if got := <-done; got != "late <nil>" {
		t.Errorf("the late one: %s", got)
	}
	if got := get(t, a, "key"); got != "second" {
		t.Errorf("what stays is %q", got)
	}
}
