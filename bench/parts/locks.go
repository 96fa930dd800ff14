package parts

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

func init() {
	side.Register("locks/alone", lockAlone)
	side.Register("locks/two", lockTwo)
	side.Register("locks/cas", casAlone)
	side.Register("locks/cas two", casTwo)
	side.Register("locks/sync.RWMutex", rwMutex)
	side.Partner("locker", locker)
	side.Partner("cas", casPartner)
}

const (
	casLock  = "a word and CAS"
	oneWord  = "the limit: one word, which a dead holder keeps for ever"
	noDeaths = "a holder that is killed leaves all others waiting"
)

func locks(r Rivals) (list []figure.Figure) {
	for _, mode := range []string{"exclusive", "shared"} {
		f := figure.Figure{Part: "locks", Shape: fmt.Sprintf("LWLock %s, lock+unlock, alone", mode),
			Sides: []figure.Contender{
				goSide(figure.Ours, "locks/alone", mode),
				why(goal(r.postgres(postgres.Posix, "lock "+mode), 1), "it writes down who holds it, so that a death gives it back"),
				why(r.boost("lock "+mode), noDeaths),
				why(goSide("sync.RWMutex of Go", "locks/sync.RWMutex", mode), "it knows one process only"),
			}}
		if mode == "exclusive" {
			f.Sides = append(f.Sides, why(goSide(casLock, "locks/cas"), oneWord))
		}
		list = append(list, f)
	}
	for _, mode := range []string{"exclusive", "shared"} {
		f := figure.Figure{Part: "locks", Shape: fmt.Sprintf("LWLock %s, two processes at once", mode), Pin: side.Diff,
			Sides: []figure.Contender{
				goSide(figure.Ours, "locks/two", mode),
				goal(r.postgres(postgres.Posix, "two lock "+mode), 1/1.5),
			}}
		if mode == "exclusive" {
			f.Sides = append(f.Sides, why(goSide(casLock, "locks/cas two"), oneWord))
		}
		if len(pins()) > 1 {
			list = append(list, f)
		}
	}
	return list
}

func lockLoop(l *shmsync.LWLock, mode string) func(int) error {
	if mode == "shared" {
		return func(n int) error {
			for range n {
				g, err := l.RLock(ctx)
				if err != nil {
					return err
				}
				g.Unlock()
			}
			return nil
		}
	}
	return func(n int) error {
		for range n {
			g, err := l.Lock(ctx)
			if err != nil {
				return err
			}
			g.Unlock()
		}
		return nil
	}
}

// lockIn returns the lock in a segment, as a session sees it.
func lockIn(s *dsm.Session, g *dsm.Segment) (*shmsync.LWLock, error) {
	word, err := shm.At[shmsync.LWLockWord](g.Region(), 0)
	if err != nil {
		return nil, err
	}
	return shmsync.NewLWLock(word, s.Self()), nil
}

func newLock() (*world, *dsm.Segment, *shmsync.LWLock, error) {
	w, err := newWorld(nil)
	if err != nil {
		return nil, nil, nil, err
	}
	g, err := w.Create(ctx, w.Owner(), 256)
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := lockIn(w.Session, g)
	return w, g, l, err
}

// lockAlone measures a lock that one process takes. Its argument is MODE.
func lockAlone(a side.Args) (*side.Work, error) {
	w, _, l, err := newLock()
	if err != nil {
		return nil, err
	}
	return &side.Work{Run: side.Loop(lockLoop(l, a.List[0])), Close: w.end}, nil
}

// lockTwo measures a lock that two processes take at once. Its argument is MODE.
func lockTwo(a side.Args) (*side.Work, error) {
	w, g, l, err := newLock()
	if err != nil {
		return nil, err
	}
	run, p, err := together("locker", a, lockLoop(l, a.List[0]), []string{w.dir, g.Handle().String(), a.List[0]})
	return &side.Work{Run: run, Close: func() error { return errors.Join(p.Close(), w.end()) }}, err
}

// locker takes the lock in the second process of lockTwo. Its arguments are DIR HANDLE MODE.
func locker(p *side.Peer) error {
	s, g, err := joinSegment(p.List[0], p.List[1])
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := lockIn(s, g)
	if err != nil {
		return err
	}
	return serveTogether(p, lockLoop(l, p.List[2]))
}

// casLoop takes a word by compare-and-swap, spinning, and gives it back by a store.
func casLoop(word *atomic.Uint32) func(int) error {
	return func(n int) error {
		for range n {
			for !word.CompareAndSwap(0, 1) {
			}
			word.Store(0)
		}
		return nil
	}
}

func casAlone(side.Args) (*side.Work, error) {
	return &side.Work{Run: side.Loop(casLoop(new(atomic.Uint32)))}, nil
}

func casTwo(a side.Args) (*side.Work, error) {
	f, b, err := sharedMemory(4096)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	word, err := shm.At[atomic.Uint32](shm.NewRegion(b), 0)
	if err != nil {
		return nil, err
	}
	run, p, err := together("cas", a, casLoop(word), nil, f)
	return &side.Work{Run: run, Close: p.Close}, err
}

func casPartner(p *side.Peer) error {
	b, err := mapShared(os.NewFile(4, "word"))
	if err != nil {
		return err
	}
	word, err := shm.At[atomic.Uint32](shm.NewRegion(b), 0)
	if err != nil {
		return err
	}
	return serveTogether(p, casLoop(word))
}

// rwMutex measures a sync.RWMutex. Its argument is MODE.
func rwMutex(a side.Args) (*side.Work, error) {
	mu := new(sync.RWMutex)
	lock, unlock := mu.Lock, mu.Unlock
	if a.List[0] == "shared" {
		lock, unlock = mu.RLock, mu.RUnlock
	}
	return &side.Work{Run: side.Loop(func(n int) error {
		for range n {
			lock()
			unlock()
		}
		return nil
	})}, nil
}
