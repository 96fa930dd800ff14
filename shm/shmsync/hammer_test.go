package shmsync_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/shmsync"
)

func init() {
	proctest.Register("readwrite", readWriteHelper)
	proctest.Register("holder", holderHelper)
}

// readWriteHelper reads and writes by two goroutines for ever, and may be killed anywhere.
func readWriteHelper(c *proctest.Child) error {
	s, me, _, err := onStage(c)
	if err != nil {
		return err
	}
	l := shmsync.NewLWLock(&s.Lock, me)
	c.Say("ready")
	errs := make(chan error)
	for range 2 {
		go func() { errs <- readWrite(s, l) }()
	}
	return <-errs
}

func readWrite(s *stage, l *shmsync.LWLock) error {
	same := func() bool {
		for i := range s.Data {
			if s.Data[i].Load() != s.Data[0].Load() {
				return false
			}
		}
		return true
	}
	for s.Stop.Load() == 0 {
		write := rand.IntN(4) == 0
		lock := l.RLock
		if write {
			lock = l.Lock
		}
		g, err := lock(ctx)
		if err != nil {
			return err
		}
		if g.Abandoned() {
			s.Repairs.Add(1)
			for i := range s.Data {
				s.Data[i].Store(s.Data[0].Load())
			}
			write = true
			g.MarkConsistent()
		}
		if !same() {
			s.Wrong.Add(1)
		}
		if write {
			for i := range s.Data {
				s.Data[i].Add(1)
			}
		} else {
			s.Readers.Add(1)
			if !same() {
				s.Wrong.Add(1)
			}
		}
		s.Rounds.Add(1)
		g.Unlock()
	}
	return nil
}

// TestKilledReadersAndWriters: processes are killed at any instruction; the others go on, repair what a writer
// left, and never see it half-written.
func TestKilledReadersAndWriters(t *testing.T) {
	dir, s, me := newStage(t)
	procs := make([]*proctest.Process, 4)
	for i := range procs {
		procs[i] = startOnStage(t, "readwrite", dir, i+1)
	}
	for kill := range kills(150) {
		before := s.Rounds.Load()
		for s.Rounds.Load() < before+200 { // progress, whichever process died
			runtime.Gosched()
		}
		i := kill % len(procs)
		procs[i].Kill()
		procs[i] = startOnStage(t, "readwrite", dir, i+1)
	}
	s.Stop.Store(1)
	for _, p := range procs {
		if err := p.Wait(); err != nil {
			t.Errorf("a process that was not killed: %v", err)
		}
	}
	if n := s.Wrong.Load(); n != 0 {
		t.Errorf("%d times a half-written state was seen", n)
	}
	l := shmsync.NewLWLock(&s.Lock, me)
	g, err := l.Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	g.Unlock()
	if st := l.Status(); st.Exclusive != nil || st.Shared != nil || st.Waiting != nil || st.Poisoned {
		t.Errorf("left: %+v", st)
	}
	t.Logf("%d rounds, %d of them reading; %d repairs in %d kills",
		s.Rounds.Load(), s.Readers.Load(), s.Repairs.Load(), kills(150))
}

// holderHelper holds the lock as it is told, exclusively or shared, until it is killed.
func holderHelper(c *proctest.Child) error {
	s, me, _, err := onStage(c)
	if err != nil {
		return err
	}
	l := shmsync.NewLWLock(&s.Lock, me)
	c.Say("ready")
	for {
		mode, ok := c.Hear()
		if !ok {
			return nil
		}
		g, err := take(l, mode)
		if err != nil {
			return err
		}
		if g.Abandoned() {
			return errors.New("abandoned by nobody")
		}
		c.Say("holds")
	}
}

// TestDeathEndsTheWait: who waits for a process that is killed gets the lock, as one, as several processes'
// goroutines, for either use.
func TestDeathEndsTheWait(t *testing.T) {
	dir, s, me := newStage(t)
	var longest time.Duration
	for _, held := range []string{"exclusive", "shared"} {
		for _, wanted := range []string{"exclusive", "shared"} {
			if held == "shared" && wanted == "shared" {
				continue
			}
			for range 10 {
				p := startOnStage(t, "holder", dir, 1)
				p.Send("%s", held)
				p.Expect("holds")
				l := shmsync.NewLWLock(&s.Lock, me)
				var killed time.Time
				var mu sync.Mutex
				var wg sync.WaitGroup
				for i := range 3 {
					wg.Go(func() {
						g, err := take(l, wanted)
						if err != nil {
							t.Error(err)
							return
						}
						if g.Abandoned() {
							g.MarkConsistent()
						}
						mu.Lock()
						if d := time.Since(killed); i == 0 {
							longest = max(longest, d)
						}
						mu.Unlock()
						g.Unlock()
					})
				}
				waits := func() bool {
					st := l.Status()
					return len(st.Waiting) > 0 || held == "shared" && len(st.Exclusive) > 0
				}
				for !waits() {
					runtime.Gosched()
				}
				mu.Lock()
				killed = time.Now()
				p.Kill()
				mu.Unlock()
				wg.Wait()
			}
		}
	}
	t.Logf("longest wait beyond a kill: %v", longest)
}
