package parts

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/shm"
	"golang.org/x/sys/unix"
)

func init() {
	side.Register("locktable/LWLock", lwLockCPU)
	side.Register("locktable/pairs", tablePairs)
	side.Register("locktable/list", tableList)
	side.Register("locktable/two", tableTwo)
	side.Partner("lock pairs", lockPairs)
}

// cpuLoop makes the Run of a loop whose processor time counts.
func cpuLoop(f func(n int) error) func(n int) (time.Duration, error) {
	return func(n int) (time.Duration, error) {
		began := cpuTime()
		err := f(n)
		return cpuTime() - began, err
	}
}

func cpuTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

func lwLockCPU(side.Args) (*side.Work, error) {
	w, _, l, err := newLock()
	if err != nil {
		return nil, err
	}
	return &side.Work{Run: cpuLoop(lockLoop(l, "exclusive")), Close: w.end}, nil
}

// digest returns a name of 71 bytes, as layers of images have.
func digest(k int) string {
	return fmt.Sprintf("sha256:%016x%048x", uint64(k)*0x9e37_79b9_7f4a_7c15, k)
}

func pathOf(parts, k int) []string {
	if parts == 1 {
		return []string{digest(k)}
	}
	return []string{"layers", digest(k)}
}

func openTable() (*world, *locktable.Table, error) {
	w, err := newWorld(nil)
	if err != nil {
		return nil, nil, err
	}
	t, err := locktable.Open(ctx, w.Session, "bench", locktable.Options{})
	if err != nil {
		return nil, nil, errors.Join(err, w.end())
	}
	return w, t, nil
}

// tablePairs measures locks and unlocks of one process. Arguments: HOW PARTS.
func tablePairs(a side.Args) (*side.Work, error) {
	w, t, err := openTable()
	if err != nil {
		return nil, err
	}
	f, err := tableLoop(t, a.List[0], a.Int(1))
	if err != nil {
		return nil, errors.Join(err, w.end())
	}
	return &side.Work{Run: cpuLoop(f), Close: w.end}, nil
}

// tableLoop returns what is done n times with a table.
func tableLoop(t *locktable.Table, how string, parts int) (func(n int) error, error) {
	path := pathOf(parts, 1)
	pair := func() error { return unlocked(t.Lock(ctx, locktable.Exclusive, path...)) }
	switch how {
	case "kept":
		name, err := t.Name(ctx, path...)
		if err != nil {
			return nil, err
		}
		pair = func() error { return unlocked(name.Lock(ctx, locktable.Exclusive)) }
	case "new":
		const names = 1 << 13 // a name that comes again has been forgotten: a table keeps some 3,000 idle ones
		paths := make([][]string, names)
		for i := range paths {
			paths[i] = pathOf(parts, i)
		}
		k := 0
		pair = func() error {
			k++
			return unlocked(t.Lock(ctx, locktable.Exclusive, paths[k%names]...))
		}
	case "many":
		var wants []locktable.Want
		for i := range 40 {
			wants = append(wants, locktable.Want{Mode: locktable.Exclusive, Path: pathOf(parts, i)})
		}
		pair = func() error {
			hs, err := t.LockMany(ctx, wants...)
			if err != nil {
				return err
			}
			return hs.Unlock()
		}
	}
	return func(n int) error {
		for range n {
			if err := pair(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func unlocked(h locktable.Hold, err error) error {
	if err != nil {
		return err
	}
	return h.Unlock()
}

// tableList measures a list of locks that are held. Argument: HELD, how many.
func tableList(a side.Args) (*side.Work, error) {
	w, t, err := openTable()
	if err != nil {
		return nil, err
	}
	held := a.Int(0)
	for i := range held {
		if _, err := t.Lock(ctx, locktable.Exclusive, digest(i)); err != nil {
			return nil, errors.Join(err, w.end())
		}
	}
	return &side.Work{Close: w.end, Run: cpuLoop(func(n int) error {
		for range n {
			seen := 0
			for info := range t.List() {
				seen += len(info.Holders)
			}
			if seen != held {
				return fmt.Errorf("%d holders are listed, of %d", seen, held)
			}
		}
		return nil
	})}, nil
}

// counts are how many pairs each of two processes has done.
type counts struct {
	Lead    atomic.Uint64
	_       [120]byte
	Partner atomic.Uint64
}

// tableTwo lets two processes lock one name for a while. Arguments: SIDE DIR WHAT, where WHAT is the time for a pair of either ("rate"), or the
// percentage that the faster one has of all pairs ("share").
func tableTwo(a side.Args) (*side.Work, error) {
	f, b, err := sharedMemory(4096)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := shm.At[counts](shm.NewRegion(b), 0)
	if err != nil {
		return nil, err
	}
	name, dir, end := a.List[0], a.List[1], func() error { return nil }
	if name == figure.Ours {
		w, err := newWorld(nil)
		if err != nil {
			return nil, err
		}
		dir, end = w.dir, w.end
	}
	loop, done, err := openPairs(name, dir)
	if err != nil {
		return nil, errors.Join(err, end())
	}
	run, p, err := together("lock pairs", a, forTime(loop, &c.Lead), []string{name, dir}, f)
	if err != nil {
		return nil, errors.Join(err, done(), end())
	}
	return &side.Work{Close: func() error { return errors.Join(p.Close(), done(), end()) },
		Once: func() ([]float64, error) {
			took, err := run(int(4 * a.Target))
			lead, partner := c.Lead.Load(), c.Partner.Load()
			if a.List[2] == "share" {
				return []float64{100 * float64(max(lead, partner)) / float64(lead+partner)}, err
			}
			return []float64{float64(took) / float64(lead+partner)}, err
		}}, nil
}

// lockPairs runs the other process of tableTwo. Arguments: SIDE DIR.
func lockPairs(p *side.Peer) error {
	b, err := mapShared(os.NewFile(4, "counts"))
	if err != nil {
		return err
	}
	c, err := shm.At[counts](shm.NewRegion(b), 0)
	if err != nil {
		return err
	}
	loop, done, err := openPairs(p.List[0], p.List[1])
	if err != nil {
		return err
	}
	return errors.Join(serveTogether(p, forTime(loop, &c.Partner)), done())
}

// forTime does pairs for n nanoseconds, and stores how many it did.
func forTime(loop func(n int) error, done *atomic.Uint64) func(n int) error {
	return func(n int) error {
		const atOnce = 16
		count := uint64(0)
		for began := time.Now(); time.Since(began) < time.Duration(n); count += atOnce {
			if err := loop(atOnce); err != nil {
				return err
			}
		}
		done.Store(count)
		return nil
	}
}

// openPairs makes the loop of a side on a name that other processes use, too: ours in the instance of that dir, or a rival's on
// a file there.
func openPairs(name, dir string) (loop func(n int) error, done func() error, err error) {
	if name != figure.Ours {
		return openFileLock(name, dir)
	}
	s, err := dsm.Open(ctx, dsm.Config{Dir: dir})
	if err != nil {
		return nil, nil, err
	}
	t, err := locktable.Open(ctx, s, "bench", locktable.Options{})
	if err == nil {
		loop, err = tableLoop(t, "kept", 1)
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return loop, s.Close, nil
}
