package supervisor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/supervisor"
	"github.com/rs/zerolog"
)

// stuckLog blocks the first one that writes to it, until it is opened.
type stuckLog struct {
	once    sync.Once
	blocked chan struct{}
	open    chan struct{}
}

func (l *stuckLog) Write(b []byte) (int, error) {
	l.once.Do(func() { close(l.blocked) })
	<-l.open
	return len(b), nil
}

// TestCheck: it answers for a watcher that goes round, and for none that hangs or has ended.
func TestCheck(t *testing.T) {
	e := newEnv(t)
	log := &stuckLog{blocked: make(chan struct{}), open: make(chan struct{})}
	cfg := config(e.dir, nil)
	cfg.Logger = zerolog.New(log).Level(zerolog.WarnLevel)
	s, err := supervisor.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		noErr(t, s.Check(ctx))
	}
	noErr(t, os.Remove(filepath.Join(e.dir, "lives"))) // of which the watcher writes to its log
	<-log.blocked
	over, cancel := context.WithCancel(ctx)
	asked := make(chan error)
	go func() { asked <- s.Check(over) }()
	cancel()
	if err := <-asked; !errors.Is(err, context.Canceled) {
		t.Errorf("Check of a watcher that hangs: %v", err)
	}
	close(log.open)
	noErr(t, s.Check(ctx))
	noErr(t, s.Stop())
	if err := s.Check(ctx); !errors.Is(err, dsm.ErrNoInstance) {
		t.Errorf("Check after Stop: %v", err)
	}
	if err := new(supervisor.Supervisor).Check(ctx); !errors.Is(err, dsm.ErrNoInstance) {
		t.Errorf("Check of the zero Supervisor: %v", err)
	}
	e.noneLeft()
}
