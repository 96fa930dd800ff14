package control

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

type fault struct{}

func (fault) Error() string {
	return "runtime error: invalid memory address or nil pointer dereference"
}
func (fault) Addr() uintptr { return 4096 }

// TestFaultsAreNamed: the runtime's words for a fault are for people who look for a nil pointer.
func TestFaultsAreNamed(t *testing.T) {
	err := contained(func() error { panic(fault{}) })
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "truncated") ||
		strings.Contains(err.Error(), "nil pointer") {
		t.Errorf("a fault is %v", err)
	}
}

// TestFaultAfterTheWaitLosesNoLock: a member that has waited for the lock counts that in its tally. If those bytes are gone
// the call fails, and the lock is free again, also for this process.
func TestFaultAfterTheWaitLosesNoLock(t *testing.T) {
	w := newWorld(t, small)
	a, b := w.join(), w.join()
	mine := b.tally
	for corrupt := false; !corrupt; { // until b has waited
		s, err := a.enter(ctx, plain)
		if err != nil {
			t.Fatal(err)
		}
		b.tally = nil
		done := make(chan error)
		go func() {
			s, err := b.enter(ctx, plain)
			if err == nil {
				s.leaveSection(&err)
			}
			done <- err
		}()
		time.Sleep(time.Millisecond)
		s.leaveSection(&err)
		corrupt = errors.Is(<-done, ErrCorrupt)
	}
	b.tally = mine
	for _, m := range []*Member{a, b} {
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		s, err := m.enter(short, plain)
		if err != nil {
			t.Fatal(err)
		}
		s.leaveSection(&err)
		cancel()
	}
}
