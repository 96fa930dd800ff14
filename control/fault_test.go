package control

import (
	"errors"
	"strings"
	"testing"
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
