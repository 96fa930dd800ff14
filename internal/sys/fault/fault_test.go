package fault

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/internal/errkind"
)

// gone is what the runtime panics with at a fault.
type gone struct{ error }

func (gone) Addr() uintptr { return 4096 }

func TestContain(t *testing.T) {
	own := errors.New("own")
	if err := Contain(func() error { return own }); err != own {
		t.Errorf("an error of f's own = %v", err)
	}
	if err := Contain(func() error { panic(gone{own}) }); !errors.Is(err, errkind.Corrupt) {
		t.Errorf("a fault = %v", err)
	}
	func() {
		defer Ignore(Catch())
		panic(gone{own})
	}()
	defer func() {
		if r := recover(); r != "own" {
			t.Errorf("a panic of f's own = %v", r)
		}
		if Catch() {
			t.Error("faults are still panics")
		}
	}()
	_ = Contain(func() error { panic("own") })
}
