package resowner_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/resowner"
	"github.com/rs/zerolog"
)

// thing is a resource that writes its name when it is released.
type thing struct {
	resowner.Item
	name string
	log  *[]string
	do   func() error
}

func (t *thing) String() string { return "thing " + t.name }

func (t *thing) Release() error {
	*t.log = append(*t.log, t.name)
	if t.do != nil {
		return t.do()
	}
	return nil
}

func remember(t *testing.T, o *resowner.Owner, log *[]string, names ...string) (things []*thing) {
	t.Helper()
	for _, n := range names {
		x := &thing{name: n, log: log}
		if err := o.Reserve(); err != nil {
			t.Fatal(err)
		}
		if err := o.Remember(&x.Item, x); err != nil {
			t.Fatal(err)
		}
		things = append(things, x)
	}
	return things
}

func child(t *testing.T, o *resowner.Owner, name string) *resowner.Owner {
	t.Helper()
	c, err := o.Child(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOrder(t *testing.T) {
	var log []string
	root := resowner.New("root", zerolog.Logger{})
	remember(t, root, &log, "r1", "r2")
	a, b := child(t, root, "a"), child(t, root, "b")
	remember(t, a, &log, "a1", "a2")
	remember(t, b, &log, "b1")
	remember(t, child(t, b, "bb"), &log, "bb1")
	remember(t, root, &log, "r3")
	if err := root.Abort(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"bb1", "b1", "a2", "a1", "r3", "r2", "r1"}; !slices.Equal(log, want) {
		t.Errorf("released %v, want %v", log, want)
	}
	if err := root.Abort(); err != nil || len(log) != 7 {
		t.Error("ending twice is not harmless")
	}
}

func TestForget(t *testing.T) {
	var log []string
	o := resowner.New("o", zerolog.Logger{})
	things := remember(t, o, &log, "1", "2", "3")
	if !things[1].Forget() || things[1].Forget() {
		t.Error("Forget must be true once")
	}
	if err := o.Remember(&things[1].Item, things[1]); err != nil { // an item can be used again
		t.Fatal(err)
	}
	things[0].Forget()
	_ = o.Abort()
	if want := []string{"2", "3"}; !slices.Equal(log, want) {
		t.Errorf("released %v, want %v", log, want)
	}
	if things[2].Forget() {
		t.Error("Forget after the release is true")
	}
}

func TestEnded(t *testing.T) {
	var log []string
	o := resowner.New("import", zerolog.Logger{})
	if err := o.Reserve(); err != nil {
		t.Fatal(err)
	}
	_ = o.Commit() // while the reservation is out
	x := &thing{name: "x", log: &log}
	for name, err := range map[string]error{
		"Remember": o.Remember(&x.Item, x),
		"Reserve":  o.Reserve(),
		"Child":    func() error { _, err := o.Child("c"); return err }(),
	} {
		if !errors.Is(err, resowner.ErrClosed) || !strings.Contains(err.Error(), `"import"`) {
			t.Errorf("%s = %v, want ErrClosed naming the owner", name, err)
		}
	}
	if len(log) != 0 {
		t.Error("something was released")
	}
}

func TestErrorsAndPanics(t *testing.T) {
	var log []string
	o := resowner.New("o", zerolog.Logger{})
	broken := errors.New("broken")
	things := remember(t, o, &log, "1", "2", "3", "4")
	things[1].do = func() error { panic("oops") }
	things[2].do = func() error { return broken }
	c := child(t, o, "c")
	remember(t, c, &log, "c1")[0].do = func() error { return errors.New("child's") }
	err := o.Abort()
	if !slices.Equal(log, []string{"c1", "4", "3", "2", "1"}) {
		t.Errorf("released %v", log)
	}
	if !errors.Is(err, broken) ||
		!strings.Contains(err.Error(), "releasing thing 2: panic: oops") ||
		!strings.Contains(err.Error(), "child's") {
		t.Errorf("error %v", err)
	}
}

func TestLeakAtCommitIsReported(t *testing.T) {
	var log []string
	var out bytes.Buffer
	o := resowner.New("query", zerolog.New(&out))
	things := remember(t, child(t, o, "sort"), &log, "kept", "given back")
	things[1].Forget()
	if err := o.Commit(); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Count(text, "\n") != 1 ||
		!strings.Contains(text, `"level":"warn"`) || !strings.Contains(text, `"owner":"sort"`) ||
		!strings.Contains(text, `"resource":"thing kept"`) || !strings.Contains(text, "resowner_test.go:") {
		t.Errorf("log: %s", text)
	}
	if !slices.Equal(log, []string{"kept"}) {
		t.Errorf("released %v", log)
	}
	out.Reset()
	p := resowner.New("query", zerolog.New(&out))
	remember(t, p, &log, "x")
	_ = p.Abort()
	if out.Len() != 0 {
		t.Errorf("an abort is no leak: %s", out.String())
	}
}

func TestEndWithContext(t *testing.T) {
	o := resowner.New("o", zerolog.Logger{})
	ctx, cancel := context.WithCancel(context.Background())
	o.EndWith(ctx)
	done := make(chan struct{})
	var log []string
	remember(t, o, &log, "x")[0].do = func() error { close(done); return nil }
	cancel()
	<-done
	if err := o.Reserve(); !errors.Is(err, resowner.ErrClosed) {
		t.Errorf("Reserve = %v", err)
	}
}

// counted is a resource for many goroutines.
type counted struct {
	resowner.Item
	released atomic.Int32
}

func (c *counted) String() string { return "counted" }
func (c *counted) Release() error { c.released.Add(1); return nil }

// TestMany: 100,000 resources of eight goroutines, with owners ending under their hands: each is refused, forgotten or
// released, once.
func TestMany(t *testing.T) {
	root := resowner.New("root", zerolog.Logger{})
	const workers, each = 8, 12500
	resources := make([]counted, workers*each)
	var wg sync.WaitGroup
	var others atomic.Int32 // forgotten or refused
	for w := range workers {
		wg.Go(func() {
			o, err := root.Child(fmt.Sprint(w))
			mine := resources[w*each : (w+1)*each]
			for i := range mine {
				switch {
				case err != nil || o.Remember(&mine[i].Item, &mine[i]) != nil:
					others.Add(1)
				case i%3 == 0 && mine[i].Forget():
					others.Add(1)
				}
				if w == 0 && i == each/2 {
					_ = root.Abort()
				}
			}
		})
	}
	wg.Wait()
	_ = root.Abort()
	released := 0
	for i := range resources {
		n := int(resources[i].released.Load())
		if n > 1 {
			t.Fatalf("resource %d was released %d times", i, n)
		}
		released += n
	}
	if released+int(others.Load()) != workers*each {
		t.Errorf("%d released and %d forgotten or refused, of %d", released, others.Load(), workers*each)
	}
}

func BenchmarkRememberForget(b *testing.B) {
	o := resowner.New("o", zerolog.Logger{})
	var c counted
	b.ReportAllocs()
	for b.Loop() {
		if err := o.Remember(&c.Item, &c); err != nil {
			b.Fatal(err)
		}
		c.Forget()
	}
}
