//go:build failpoint && linux

package dsa_test

import (
	"errors"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/dsa"
)

// TestFaultInFreeUnlocksItsStripe has a free meet a fault after another goroutine has stored the stripe that the chunk had
// earlier: the stripe that the free has locked is the one that it unlocks.
func TestFaultInFreeUnlocksItsStripe(t *testing.T) {
	for n := range dsa.Stripes {
		s := newStage(t)
		s.memory.NeedAddresses(t)
		at, err := s.area.Place(s.ps[0], 8)
		if err != nil {
			t.Fatal(err)
		}
		at.Clear()
		if err := s.area.AllocInto(3000, at); err != nil {
			t.Fatal(err)
		}
		p := at.Pointer()
		stop := failpoint.Watch(func(point string) {
			if point == "dsa/free/intended" {
				dsa.RememberStripe(s.area, p, n)
				for _, h := range s.memory.Handles() {
					if err := s.memory.Truncate(h, 0); err != nil {
						t.Error(err)
					}
				}
			}
		})
		err = s.area.FreeFrom(at)
		stop()
		if !errors.Is(err, dsa.ErrCorrupt) {
			t.Errorf("FreeFrom: %v", err)
		}
		if !dsa.Idle(s.area) {
			t.Fatalf("with stripe %d remembered a stripe stays locked", n)
		}
		_ = errors.Join(s.area.Detach(), s.closes.Close(), s.other.Detach())
	}
}
