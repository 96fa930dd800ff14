//go:build linux && failpoint

package locktable_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/locktable"
)

// TestNameEndsBesideLock ends a Name, by Release or by Close, while a Lock of it stands before the instruction that
// takes the lock. The head stays the name's own until then, so no other name is ever locked, whatever names others
// make.
func TestNameEndsBesideLock(t *testing.T) {
	for what, end := range map[string]func(x *locktable.Table, n *locktable.Name){
		"Release": func(_ *locktable.Table, n *locktable.Name) { n.Release() },
		"Close":   func(x *locktable.Table, _ *locktable.Name) { x.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			ts := new(world).tables(t, 2, locktable.Options{})
			x, other := ts[0], ts[1]
			n, err := x.Name(ctx, "a")
			must(t, err)
			var once atomic.Bool
			at, on := make(chan struct{}), make(chan struct{})
			stop := failpoint.Watch(func(p string) {
				if p == "locktable/name/taking" && once.CompareAndSwap(false, true) {
					close(at)
					<-on
				}
			})
			defer stop()
			got := make(chan locktable.Hold, 1)
			go func() {
				h, err := n.Lock(ctx, locktable.Exclusive)
				if err != nil && !errors.Is(err, locktable.ErrClosed) {
					t.Error(err)
				}
				got <- h
			}()
			<-at
			ended := make(chan struct{})
			go func() { end(x, n); close(ended) }()
			for over := false; !over; over = n.Ends() {
				runtime.Gosched()
			}
			must(t, other.Collect()) // what is not pinned loses its name, and others get its head
			for k := range 4000 {
				must(t, lock(t, other, ctx, locktable.Exclusive, fmt.Sprint("other ", k)).Unlock())
			}
			close(on)
			h := <-got
			for i := range other.List() {
				if i.Name() != "a" {
					t.Errorf("%s is held: %+v", i.Name(), i.Holders)
				}
			}
			<-ended
			if err := h.Unlock(); err != nil && !errors.Is(err, locktable.ErrClosed) && !errors.Is(err, locktable.ErrNotHeld) {
				t.Error(err)
			}
			h = lock(t, other, ctx, locktable.Exclusive, "a") // nothing of it is left
			must(t, h.Unlock())
			must(t, other.Collect())
			for i := range other.List() {
				if i.Died == 0 || len(i.Holders) > 0 { // Close tells of a hold that was open
					t.Errorf("%s is left: %+v", i.Name(), i)
				}
			}
		})
	}
}
