package endtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/dshash"
)

// detached detaches one session's use of an area in the midst of calls of its table, while the session goes on. Another
// session then gets every lock of the table, and finds it whole.
func detached(cfg dsm.Config, _ string, rnd *rand.Rand) (err error) {
	keeper, err := dsm.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keeper.Close()) }()
	s, err := dsm.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	a, err := area.Create(ctx, keeper, keeper.Owner(), dsa.Options{Initial: 64 << 10})
	if err != nil {
		return err
	}
	t, err := dshash.Create[uint64, uint64](a, dshash.Options{Partitions: 4})
	if err != nil {
		return err
	}
	for range 20 {
		if err := detachOnce(s, a, t.Handle(), rnd); err != nil {
			return err
		}
		soon, cancel := context.WithTimeout(ctx, 20*time.Second)
		for k := range uint64(16) {
			if err := t.Set(soon, k, k); err != nil {
				cancel()
				return fmt.Errorf("another session after a Detach: %w", err)
			}
		}
		cancel()
	}
	rep, err := t.Verify(ctx)
	if err == nil && len(rep.Problems) > 0 {
		err = wrong("%v", rep.Problems)
	}
	return err
}

// detachOnce has more goroutines than there are processors use a table, and detaches its area.
func detachOnce(s *dsm.Session, of *dsa.Area, table dsa.Pointer, rnd *rand.Rand) error {
	a, err := area.Attach(ctx, s, s.Owner(), area.Handle(of))
	if err != nil {
		return err
	}
	t, err := dshash.Attach[uint64, uint64](a, table, dshash.Options{})
	if err != nil {
		return err
	}
	errs := make([]error, 3*runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for k := uint64(i); ; k++ {
				var err error
				switch k % 4 {
				case 0:
					err = t.Set(ctx, k%16, k)
				case 1:
					var e dshash.Entry[uint64, uint64]
					if e, _, err = t.Find(ctx, k%16); err == nil {
						e.Release()
					}
				case 2:
					var e dshash.Entry[uint64, uint64]
					if e, _, err = t.Insert(ctx, k%16); err == nil {
						e.Release()
					}
				case 3:
					_, _, err = t.Get(ctx, k%16)
				}
				if err != nil {
					errs[i] = unlessOver(err)
					return
				}
			}
		})
	}
	for range rnd.IntN(2000) {
		runtime.Gosched()
	}
	err = a.Detach()
	wg.Wait()
	return errors.Join(append(errs, err)...)
}
