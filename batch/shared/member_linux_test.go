package shared

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

func init() { proctest.Register("member", member) }

var options = Options{Slots: 256, Lease: 300 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}

// join opens the queue of the instance in dir, over the journal beside it.
func join(s *dsm.Session, path string, leads bool) (*Queue[command, uint64], *journal, error) {
	j := &journal{path: path}
	var d Driver[command, uint64]
	if leads {
		d = func() (batch.Driver[command, uint64], error) { return j, nil }
	}
	q, err := Open(ctx, s, "queue", commands, numbers, rules, d, options)
	return q, j, err
}

// member is a process with the queue open: DIR JOURNAL ACKNOWLEDGED FIRST PLAN WAYS... Told "go N" it hands in that many
// commands, numbered from FIRST on, and adds the number of each to the file ACKNOWLEDGED before it goes on.
func member(c *proctest.Child) error {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := failpointArm(c.Args[4]); err != nil {
		return err
	}
	ways := map[string]bool{}
	for _, w := range c.Args[5:] {
		ways[w] = true
	}
	q, j, err := join(s, c.Args[1], ways["leads"])
	if err != nil {
		return err
	}
	if ways["faults"] {
		n := 0
		j.fail = func(op string) error {
			if op == "commit" || op == "committed" {
				if n++; n%5 == 0 {
					return errLost
				}
			}
			return nil
		}
	}
	acknowledged, err := os.OpenFile(c.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer acknowledged.Close()
	if ways["withdraws"] {
		short, cancel := context.WithCancel(ctx)
		f := q.Submit(short, command{id: 1 << 30})
		cancel()
		if _, err := f.Wait(ctx); batch.ExecutedOf(err) == batch.Yes {
			return errors.New("a command was executed though nobody led")
		}
	}
	c.Say("ready")
	first, _ := strconv.ParseUint(c.Args[3], 10, 64)
	var next atomic.Uint64
	for {
		line, ok := c.Hear()
		if !ok {
			break
		}
		var n uint64
		fmt.Sscanf(line, "go %d", &n)
		if err := submit(q, first, &next, n, acknowledged); err != nil {
			return err
		}
		c.Say("done")
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return q.Close(short)
}

// submit hands in n commands by eight callers.
func submit(q *Queue[command, uint64], first uint64, next *atomic.Uint64, n uint64, acknowledged *os.File) error {
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	end := next.Load() + n
	for range 8 {
		wg.Go(func() {
			for {
				k := next.Add(1)
				if k > end {
					return
				}
				id := first + k
				res, err := q.Do(ctx, command{id: id, add: 7})
				if err == nil && res != id+7 {
					err = fmt.Errorf("command %d returned %d", id, res)
				}
				if err == nil {
					_, err = fmt.Fprintln(acknowledged, id)
				} else if errors.Is(err, ErrResult) || batch.ExecutedOf(err) == batch.Maybe { // honest, and rare
					err = nil
				}
				if err != nil {
					errs <- fmt.Errorf("command %d: %w", id, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// A stage is an instance with a queue, and the files of its members.
type stage struct {
	*testing.T
	cfg     dsm.Config
	s       *dsm.Session
	journal string

	mu   sync.Mutex
	n    int
	acks []string
}

// files returns the file for what the next one that hands in is told, and what its numbers begin at.
func (s *stage) files() (acks string, first uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	acks = fmt.Sprint(s.journal, ".", s.n)
	s.acks = append(s.acks, acks)
	return acks, uint64(s.n) * 1000000
}

func newStage(t *testing.T, backend string) *stage {
	cfg := instancetest.Config(t, backend)
	instancetest.Start(t, cfg)
	return &stage{T: t, cfg: cfg, s: instancetest.Open(t, cfg), journal: t.TempDir() + "/journal"}
}

// start starts a member.
func (s *stage) start(plan string, ways ...string) *proctest.Process {
	acks, first := s.files()
	v := proctest.Start(s, "member", append([]string{s.cfg.Dir, s.journal, acks, fmt.Sprint(first), plan}, ways...)...)
	s.wakes(v)
	return v
}

// join opens the queue in this process.
func (s *stage) join(leads bool) *Queue[command, uint64] {
	s.Helper()
	q, _, err := join(s.s, s.journal, leads)
	if err != nil {
		s.Fatal(err)
	}
	return q
}

// own hands in commands of this process.
func (s *stage) own(q *Queue[command, uint64], n uint64) {
	s.Helper()
	acks, first := s.files()
	f, err := os.Create(acks)
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	if err := submit(q, first, new(atomic.Uint64), n, f); err != nil {
		s.Error(err)
	}
}

// judge checks that all that was acknowledged was executed, that nothing was executed twice, and that the slots of all the
// dead come back. It closes the queue of this process.
func (s *stage) judge(q *Queue[command, uint64]) (executed, told int) {
	s.Helper()
	m := q.m
	if _, err := q.Do(ctx, command{id: 1}); err != nil {
		s.Error(err)
	}
	instancetest.Eventually(s, "the blocks of the dead are free", func() bool {
		for i := range m.blocks {
			if p := peerOf(m.blocks[i].owner.Load()); p.Row >= 0 && p != s.s.Self().Peer {
				return false
			}
		}
		return true
	})
	if err := q.Close(ctx); err != nil {
		s.Error(err)
	}
	for i := range m.slots {
		if st := m.slots[i].load().state(); st != free {
			s.Errorf("slot %d is %v", i, st)
		}
	}
	times := executions(s, s.journal)
	for id, n := range times {
		if n != 1 {
			s.Errorf("%d was executed %d times", id, n)
		}
	}
	for _, path := range s.acks {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it was killed before
		}
		for _, id := range numbersIn(b) {
			told++
			if times[id] != 1 {
				s.Errorf("%d was acknowledged, and executed %d times", id, times[id])
			}
		}
	}
	return len(times), told
}

// numbersIn returns the numbers of whole lines.
func numbersIn(b []byte) (list []uint64) {
	n := uint64(0)
	for _, c := range b {
		if c == '\n' {
			list = append(list, n)
			n = 0
			continue
		}
		n = 10*n + uint64(c-'0')
	}
	return list
}

// wakes continues a process that has been stopped for two leases, whenever it is.
func (s *stage) wakes(v *proctest.Process) {
	ended := make(chan struct{})
	s.Cleanup(func() { close(ended) })
	go func() {
		for t := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-ended:
				t.Stop()
				return
			case <-t.C:
			}
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.Cmd.Process.Pid))
			if err != nil {
				continue
			}
			if _, state, _ := strings.Cut(string(b), ") "); strings.HasPrefix(state, "T") {
				time.Sleep(2 * options.Lease)
				_ = v.Cmd.Process.Signal(syscall.SIGCONT)
			}
		}
	}()
}
