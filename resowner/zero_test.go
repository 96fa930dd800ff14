package resowner_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/resowner"
)

type noted func()

func (f noted) Release() error { f(); return nil }
func (noted) String() string   { return "a thing" }

// TestZeroOwner: the zero Owner works, and a nil one has ended.
func TestZeroOwner(t *testing.T) {
	var zero resowner.Owner
	if err := errors.Join(zero.Reserve(), zero.Abort(), zero.Abort()); err != nil {
		t.Error(err)
	}
	var o resowner.Owner
	var it resowner.Item
	n := 0
	if err := errors.Join(o.Remember(&it, noted(func() { n++ })), o.Commit()); err != nil || n != 1 {
		t.Errorf("released %d times, %v", n, err)
	}
	var none *resowner.Owner
	if _, err := none.Child("x"); !errors.Is(err, resowner.ErrClosed) {
		t.Errorf("Child of nil = %v", err)
	}
	if err := none.Remember(new(resowner.Item), noted(nil)); !errors.Is(err, resowner.ErrClosed) {
		t.Errorf("Remember of nil = %v", err)
	}
	if err := errors.Join(none.Abort(), none.Commit(), none.MayEnd()); err != nil || !errors.Is(none.Reserve(), resowner.ErrClosed) {
		t.Errorf("the end of nil = %v", err)
	}
}
