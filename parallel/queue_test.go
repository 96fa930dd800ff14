package parallel

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm/mq"
)

// TestProgressNeverWaits: a result that finds no room keeps no worker from telling how far it is.
func TestProgressNeverWaits(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g, err := s.Create(t.Context(), s.Owner(), mq.Size(ringSize))
	if err != nil {
		t.Fatal(err)
	}
	in, err := newInbox(g.Bytes(), s.Self(), s.Self().Peer)
	if err != nil {
		t.Fatal(err)
	}
	defer in.receiver.Detach()
	var box outbox
	if err := box.open(g, s.Self()); err != nil {
		t.Fatal(err)
	}
	defer box.shutSending()
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() { sent <- box.send(ctx, resultMessage, make([]byte, 2*ringSize)) }()
	for box.mu.TryLock() { // until the sender has it
		box.mu.Unlock()
		runtime.Gosched()
	}
	if err := box.send(t.Context(), progressMessage, make([]byte, 16)); err != mq.ErrWouldBlock {
		t.Errorf("progress beside a result that waits: %v", err)
	}
	cancel()
	if err := <-sent; !errors.Is(err, context.Canceled) {
		t.Errorf("the result: %v", err)
	}
}
