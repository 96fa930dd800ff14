package dsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/leaktest"
)

func TestOpenErrors(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	_, err := dsm.Open(ctx, dsm.Config{Dir: cfg.Dir})
	wantErr(t, "Open where nothing runs", err, dsm.ErrNoInstance)
	if want := "start one with: dsmctl supervise --dir " + cfg.Dir; !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %q", err, want)
	}
	_, err = dsm.Open(ctx, dsm.Config{Dir: cfg.Dir + "/missing"})
	wantErr(t, "Open of a missing directory", err, dsm.ErrNoInstance)
	sup := instancetest.Start(t, cfg)
	set := func(name, value string) dsm.Config {
		return dsm.Config{Dir: cfg.Dir, Settings: map[string]string{name: value}}
	}
	_, err = dsm.Open(ctx, set("dynamic_shared_memory_type", "none"))
	wantErr(t, "Open with type none", err, dsm.ErrDisabled)
	_, err = dsm.Open(ctx, set("dynamic_shared_memory_type", "sysv"))
	if err == nil || !strings.Contains(err.Error(), "sysv, but the running instance has "+catalog.Default()) {
		t.Errorf("Open with another type = %v", err)
	}
	_, err = dsm.Open(ctx, set("max_segments", "7"))
	if err == nil || !strings.Contains(err.Error(), "max_segments = 7, but the running instance has 100") {
		t.Errorf("Open with another max_segments = %v", err)
	}
	_, err = dsm.Open(ctx, set("max_segment", "7"))
	if err == nil || !strings.Contains(err.Error(), `no setting "max_segment"`) {
		t.Errorf("Open with an unknown setting = %v", err)
	}
	if s, err := dsm.Open(ctx, dsm.Config{Dir: cfg.Dir}); err != nil { // needs to know nothing
		t.Error(err)
	} else {
		s.Close()
	}
	if err := sup.Stop(); err != nil {
		t.Fatal(err)
	}
	_, err = dsm.Open(ctx, dsm.Config{Dir: cfg.Dir})
	wantErr(t, "Open after the stop", err, dsm.ErrNoInstance)
}

// TestNoResidue: 10,000 create and detach cycles end where they began.
func TestNoResidue(t *testing.T) {
	instancetest.Each(t, func(t *testing.T, backend string) {
		cfg := instancetest.Config(t, backend)
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		cycle := func() {
			g := create(t, s, 4096)
			h := attach(t, s, g.Handle())
			_ = g.Detach()
			if err := h.Detach(); err != nil {
				t.Fatal(err)
			}
		}
		cycle()
		before := leaktest.Now()
		for range 10000 {
			cycle()
		}
		if after := leaktest.Now(); after != before {
			t.Errorf("went from %+v to %+v", before, after)
		}
		if n := instancetest.Objects(t, cfg.Dir); n != 0 {
			t.Errorf("%d objects are left", n)
		}
	})
}

// TestConcurrent has goroutines of two sessions create, attach, write, read, pin and detach the same
// few segments in all orders.
func TestConcurrent(t *testing.T) {
	for _, checked := range []string{"off", "on"} {
		t.Run("checked="+checked, func(t *testing.T) {
			cfg := instancetest.Config(t, catalog.Default(), "checked", checked)
			instancetest.Start(t, cfg)
			sessions := []*dsm.Session{instancetest.Open(t, cfg), instancetest.Open(t, cfg)}
			var handles [4]struct {
				sync.Mutex
				h dsm.Handle
			}
			var wg sync.WaitGroup
			for w := range 8 {
				s := sessions[w%2]
				wg.Go(func() {
					for range 300 {
						slot := &handles[rand.IntN(len(handles))]
						slot.Lock()
						h := slot.h
						slot.Unlock()
						g, err := s.Attach(ctx, s.Owner(), h)
						if errors.Is(err, dsm.ErrNotFound) {
							if g, err = s.Create(ctx, s.Owner(), 64); err == nil {
								copy(g.Bytes(), fmt.Sprintf("%d", g.Handle()))
								slot.Lock()
								slot.h = g.Handle()
								slot.Unlock()
							}
						}
						if err != nil {
							t.Error(err)
							return
						}
						err = g.With(func(b []byte) error {
							if want := fmt.Sprintf("%d", g.Handle()); !bytes.HasPrefix(b, []byte(want)) {
								return fmt.Errorf("bytes %q of segment %s", b, want)
							}
							return nil
						})
						if err == nil && rand.IntN(3) == 0 {
							if err = g.Pin(ctx); err == nil {
								if err = g.Unpin(ctx); errors.Is(err, dsm.ErrNotFound) {
									err = nil // another one's Unpin came first
								}
							}
						}
						if err = errors.Join(err, g.Detach()); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			list, err := sessions[0].Segments(ctx)
			if err != nil || len(list) != 0 {
				t.Errorf("left: %+v, %v", list, err)
			}
		})
	}
}

func TestCloseBesideCalls(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	for range 20 {
		s := instancetest.Open(t, cfg)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					g, err := s.Create(ctx, s.Owner(), 100)
					if errors.Is(err, dsm.ErrClosed) {
						return
					}
					if errors.Is(err, dsm.ErrTooManySegments) {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					g.OnDetach(func() {})
				}
			})
		}
		for n := 0; n < 5; {
			list, err := s.Segments(ctx)
			if err != nil {
				t.Fatal(err)
			}
			n = len(list)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
	if n := instancetest.Objects(t, cfg.Dir); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}
