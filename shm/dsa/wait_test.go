package dsa_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/shm/dsa"
)

// gate is a heap in which the session that gives a segment back waits, with the area's lock, as if it were stopped.
type gate struct {
	dsa.Heap
	come, pass chan bool
}

func (g *gate) Unpin(ctx context.Context, handle uint64) error {
	g.come <- true
	<-g.pass
	return g.Heap.Unpin(ctx, handle)
}

// TestSetWait: a call without a context waits for a stopped session as long as the bound says, and works afterwards.
func TestSetWait(t *testing.T) {
	g := gate{come: make(chan bool, 9), pass: make(chan bool)}
	a := create(t, &g, 1, dsa.Options{Sessions: 2})
	b, err := dsa.Attach(ctx, &g, new(crowd).self(2), a.Handle())
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Alloc(2 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Free(p); err != nil {
		t.Fatal(err)
	}
	trimmed := make(chan error)
	go func() { trimmed <- b.Trim(ctx) }()
	<-g.come
	for _, most := range []time.Duration{time.Millisecond, 30 * time.Millisecond} {
		a.SetWait(most)
		_, err := a.Alloc(1 << 20)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), most.String()) {
			t.Errorf("Alloc with a bound of %v: %v", most, err)
		}
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := a.Pin(over); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is over: %v", err)
	}
	a.SetWait(-1) // the default again
	close(g.pass)
	if err := <-trimmed; err != nil {
		t.Error(err)
	}
	if p, err = a.Alloc(1 << 20); err != nil {
		t.Fatal(err)
	}
	if err := a.Free(p); err != nil {
		t.Error(err)
	}
	if err := b.Detach(); err != nil {
		t.Error(err)
	}
	clean(t, a)
}
