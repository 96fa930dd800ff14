package resowner_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/godsm/godsm/resowner"
)

// TestReleaseGoexit: runtime.Goexit in releases, as by t.FailNow, ends the goroutine when the owner has ended.
func TestReleaseGoexit(t *testing.T) {
	for name, ender := range map[string]func(f family) func(){
		"root":    func(f family) func() { return func() { _ = f.root.Abort() } },
		"commit":  func(f family) func() { return func() { _ = f.root.Commit() } },
		"younger": func(f family) func() { return func() { _ = f.younger.Abort() } },
		"context": func(f family) func() {
			ctx, cancel := context.WithCancel(context.Background())
			f.root.EndWith(ctx)
			return cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			var mu sync.Mutex
			f := newFamily(t, zerolog.New(writer(func(b []byte) { mu.Lock(); out.Write(b); mu.Unlock() })))
			var j journal
			const n = 200
			made := 0
			for i := range n {
				for _, o := range []*resowner.Owner{f.root, f.younger, f.grandchild} {
					made++
					name := fmt.Sprintf("resource %d", made)
					hold(t, o, name, func() error {
						j.add(name)
						if i%2 == 0 {
							runtime.Goexit()
						}
						panic("oops")
					})
				}
			}
			left := make(chan bool)
			end := ender(f)
			go func() {
				on := false
				defer func() { left <- on }()
				end()
				on = true
			}()
			if on := <-left; on != (name == "context") {
				t.Errorf("the goroutine went on: %v", on)
			}
			done := make(chan struct{})
			go func() { // which waits for the context's goroutine, and may be ended by the root's resources
				defer close(done)
				_ = f.root.Abort()
			}()
			<-done
			j.wantOrder(t, 3*n)
			mu.Lock()
			defer mu.Unlock()
			for _, want := range []string{": it called runtime.Goexit", ": panic: oops", `"owner":"`} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the log does not say %q", want)
				}
			}
		})
	}
}

type writer func(b []byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

// TestReleaseCallsItsOwner: what a release may not do with its owner is ErrClosed, and what it may works.
func TestReleaseCallsItsOwner(t *testing.T) {
	f := newFamily(t, zerolog.Logger{})
	kept := &act{name: "kept", do: func() error { t.Error("released after Forget"); return nil }}
	if err := f.root.Remember(&kept.Item, kept); err != nil {
		t.Fatal(err)
	}
	hold(t, f.root, "caller", func() error {
		again := &act{name: "again", do: func() error { return nil }}
		_, err := f.root.Child("late")
		for _, err := range []error{err, f.root.Reserve(), f.root.Remember(&again.Item, again)} {
			if !errors.Is(err, resowner.ErrClosed) {
				t.Errorf("an owner that ends: %v", err)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		f.root.EndWith(ctx)()
		if !kept.Forget() {
			t.Error("Forget inside a release is false")
		}
		return nil
	})
	if err := f.root.Commit(); err != nil {
		t.Error(err)
	}
}

// TestEndWithIsUndoneByTheEnd: an owner that has ended leaves nothing with a context that lives on.
func TestEndWithIsUndoneByTheEnd(t *testing.T) {
	ctx := &counting{Context: context.Background(), done: make(chan struct{})}
	before := runtime.NumGoroutine()
	for range 100 {
		o := resowner.New("o", zerolog.Logger{})
		stop := o.EndWith(ctx)
		_ = o.Commit()
		if stop() {
			t.Fatal("the owner was still tied to the context after its end")
		}
		if o.EndWith(ctx)() {
			t.Fatal("an owner that has ended was tied to a context")
		}
	}
	for runtime.NumGoroutine() > before { // of contexts that package context doesn't know
		runtime.Gosched()
	}
}

// counting is a context of another package, for which AfterFunc needs a goroutine.
type counting struct {
	context.Context
	done chan struct{}
}

func (c *counting) Done() <-chan struct{} { return c.done }

func TestLoggerThatPanics(t *testing.T) {
	o := resowner.New("o", zerolog.New(writer(func([]byte) { panic("full") })))
	released := 0
	for range 3 {
		hold(t, o, "leaked", func() error { released++; return nil })
	}
	if err := o.Commit(); err != nil || released != 3 {
		t.Errorf("Commit = %v, %d of 3 released", err, released)
	}
}

func BenchmarkEnd(b *testing.B) {
	for _, n := range []int{0, 1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			root := resowner.New("root", zerolog.Logger{})
			c := make([]counted, n)
			b.ReportAllocs()
			for b.Loop() {
				o, err := root.Child("child")
				if err != nil {
					b.Fatal(err)
				}
				for i := range c {
					if err := o.Remember(&c[i].Item, &c[i]); err != nil {
						b.Fatal(err)
					}
				}
				_ = o.Abort()
			}
		})
	}
}
