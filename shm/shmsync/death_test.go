//go:build linux && failpoint

package shmsync_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/testing/proctest"
	"github.com/godsm/godsm/shm/shmsync"
)

func init() { proctest.Register("actor", actor) }

// acts are what an actor can be told to do.
type acts map[string]func() error

// actor does what it is told: DIR ROW.
func actor(c *proctest.Child) error {
	s, me, _, err := onStage(c)
	if err != nil {
		return err
	}
	all := acts{}
	for _, some := range []acts{lockActs(s, me), mutexActs(s, me), latchActs(s, me), condActs(s), barrierActs(s, me),
		mailboxActs(s, me)} {
		maps.Copy(all, some)
	}
	c.Say("ready")
	for {
		line, ok := c.Hear()
		if !ok {
			return nil
		}
		do, ok := all[line]
		if !ok {
			return fmt.Errorf("no act %q", line)
		}
		if err := do(); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		c.Say("done")
	}
}

// TestKilledInside kills a process at every step of everything here; the others go on.
func TestKilledInside(t *testing.T) {
	var list []proctest.Scenario
	for _, some := range []struct {
		about  string
		rounds rounds
		judge  func(d *drama, died bool)
	}{
		{"lwlock", lockRounds, judgeLock}, {"mutex", mutexRounds, judgeMutex}, {"latch", latchRounds, judgeLatch},
		{"cond", condRounds, judgeCond}, {"barrier", barrierRounds, judgeBarrier},
		{"mailbox", mailboxRounds, judgeMailbox},
	} {
		for _, name := range slices.Sorted(maps.Keys(some.rounds)) {
			list = append(list, proctest.Scenario{
				Name: some.about + "/" + name,
				Play: func(t *testing.T, v *proctest.Victim) { play(t, v, some.rounds[name], some.judge) },
			})
		}
	}
	proctest.Deaths(t, ".", list)
}

// rounds are what a victim and those who live on do together, by name. A round is played twice, while the victim lives.
type rounds map[string]func(d *drama)

// drama is one play: the victim is row 1, and this process three sessions that live on.
type drama struct {
	*testing.T
	s      *stage
	victim *proctest.Victim
	peer   shmsync.Peer // the victim's
	a, b   shmsync.Self
	third  shmsync.Self // looks what a stopped victim keeps from others
	ghost  shmsync.Self // of a session that died long ago
	locks  [2]*shmsync.LWLock
	mutex  *shmsync.Mutex
	mail   *shmsync.Mailbox
	ghosts uint64 // that have died with a lock
	wg     sync.WaitGroup
}

func play(t *testing.T, v *proctest.Victim, round func(*drama), judge func(*drama, bool)) {
	dir, s, me := newStage(t)
	d := &drama{T: t, s: s, victim: v, a: me}
	for row, self := range map[int]*shmsync.Self{2: &d.b, 3: &d.third} {
		other, roll, err := proctest.Enter(filepath.Join(dir, "members"), row, s.Rows[:])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(roll.Close)
		*self = other
	}
	d.ghost = shmsync.Self{Peer: shmsync.Peer{Row: 9, Incarnation: 1}, Alive: me.Alive}
	d.locks = [2]*shmsync.LWLock{shmsync.NewLWLock(&s.Lock, d.a), shmsync.NewLWLock(&s.Lock, d.b)}
	d.mutex = shmsync.NewMutex(&s.Mutex, d.a)
	d.mail = shmsync.NewMailbox(s.Mail[:], nil, d.a)
	v.While = func() { d.whileStopped() }
	v.Start("actor", dir, strconv.Itoa(1))
	d.peer = shmsync.Peer{Row: 1, Incarnation: s.Rows[1].Load()}
	for n := 0; n < 2 && !v.Dead(); n++ {
		round(d)
	}
	died := v.End()
	d.wg.Wait()
	judge(d, died)
}

// bounded is the context of those who live on: it ends only if they are kept waiting. It has no deadline, at which
// a wait would look by itself.
func bounded() (context.Context, context.CancelFunc) {
	c, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(20*time.Second, func() { cancel(errors.New("kept waiting")) })
	return c, func() { timer.Stop(); cancel(nil) }
}

// whileStopped: a stopped process is alive, and what it holds is its own.
func (d *drama) whileStopped() {
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	holds := slices.Contains(lockHeld, d.victim.Point) || slices.Contains(lockRead, d.victim.Point)
	g, err := shmsync.NewLWLock(&d.s.Lock, d.third).Lock(short)
	if err == nil {
		d.s.repair(g)
		g.Unlock()
	}
	d.kept(err, holds)
	m, err := shmsync.NewMutex(&d.s.Mutex, d.third).Lock(short)
	if err == nil {
		d.s.noteOwner(m)
		m.Unlock()
	}
	d.kept(err, slices.Contains(mutexHeld, d.victim.Point))
}

// kept reports whether what a stopped victim holds was taken from it.
func (d *drama) kept(err error, holds bool) {
	d.Helper()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) || err == nil && holds {
		d.Errorf("a stopped process holds it: %v; another one's Lock: %v", holds, err)
	}
}

// left says that as many locks were found abandoned as were: each ghost's, and the victim's if it held one. (At
// heir it has taken a ghost's over, and not told yet.)
func (d *drama) left(died bool, held []string, heir string) {
	d.Helper()
	want := d.ghosts
	if died && slices.Contains(held, d.victim.Point) && d.victim.Point != heir {
		want++
	}
	if got := d.s.Repairs.Load(); got != want {
		d.Errorf("%d locks were abandoned, and it was noticed %d times", want, got)
	}
}
