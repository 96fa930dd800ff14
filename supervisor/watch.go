package supervisor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/sys/liveness"
	"github.com/godsm/godsm/shm/shmsync"
)

const (
	// askEvery is how often a witness is asked for once there is a hint that its holder has died.
	askEvery = time.Millisecond
	// hintPatience is how long a hint is believed. Pids of other pid namespaces hint at another process's death; a
	// witness that is free later is found by the sweep.
	hintPatience = time.Second
	// reclaimPatience bounds one wait for the control lock, whose holder may be stopped.
	reclaimPatience = time.Second
	// tidyEvery is how often the things are done for which no process waits.
	tidyEvery = time.Second
)

// watch looks after one generation: it hears of joins and deaths, reclaims dead sessions, and keeps
// pinned objects open where the system needs that. Reclaiming gives references and rows back at
// once; the objects go in a goroutine of their own.
type watch struct {
	s *Supervisor
	m *instance.Member

	watched map[int]*session // by row
	dying   map[int]*session // those of which there is a hint
	hints   chan *session    // from the kernel
	news    chan struct{}    // from the books: a join, a wish for a pin
	owed    chan struct{}    // to the goroutine that destroys objects
	keeper  keeper

	reclaims uint32    // the books' count of them when it was looked at last
	looked   time.Time // when witnesses were asked for without a hint
	next     int       // row from which on they are asked for next
	rows     []shmsync.Peer
	others   bool // other lives may be listed
	ground   ground
}

// session is one incarnation of a row.
type session struct {
	control.ProcessInfo
	stop   func() // the kernel's watch; nil if there is none
	over   chan struct{}
	hinted time.Time // when the kernel or the witness said that it is dead
}

func newWatch(s *Supervisor, m *instance.Member) *watch {
	w := &watch{
		s: s, m: m, watched: map[int]*session{}, dying: map[int]*session{},
		hints: make(chan *session), news: make(chan struct{}, 1), owed: make(chan struct{}, 1), keeper: newKeeper(m),
		reclaims: m.Books.Table.Reclaims(), others: true,
	}
	w.ground = ground{w: w, told: map[string]bool{}}
	if s.reclaims != nil {
		w.reclaims, s.reclaims = *s.reclaims, nil
	}
	return w
}

// run watches until the supervisor is stopped, until there is a reason to begin the next generation, or until the
// instance must end, which is an error.
func (w *watch) run() (why string, err error) {
	ctx, over := context.WithCancel(context.Background())
	var helpers sync.WaitGroup
	helpers.Go(func() { w.listenToBooks(ctx) })
	helpers.Go(func() { w.destroyOwedLoop(ctx) })
	why, err = w.loop()
	over()
	helpers.Wait()
	for _, x := range w.watched {
		w.forgetSession(x)
	}
	w.keeper.releaseAllPins()
	if w.ground.moved && why != "" && err == nil {
		why, err = "", fmt.Errorf("%s, and %w", why, w.ground.errHomeless())
	}
	return why, err
}

func (w *watch) loop() (why string, err error) {
	ask := time.NewTicker(time.Hour)
	defer ask.Stop()
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	for {
		if w.lookForDead() && w.s.settings.OnCrash == "restart" {
			if _ = w.ground.checkPath(); !w.ground.moved {
				return "a session crashed, and on_crash is restart", nil
			}
		}
		if w.m.Books.Table.Closing() {
			_ = w.ground.checkPath()
			return "the control segment says that it is being closed, or is lost, and no process here has asked for that", nil
		}
		if w.m.Self.Owes() {
			wakeChannel(w.owed)
		}
		if len(w.dying) > 0 {
			ask.Reset(askEvery)
		} else {
			ask.Reset(time.Hour)
		}
		select {
		case <-w.s.stopping:
			return "", nil
		case <-w.s.checks: // which is the answer
		case answer := <-w.s.leaving:
			if err := w.handOver(); err != nil {
				answer <- err
				continue
			}
			w.s.left = true
			close(answer)
			return "", nil
		case x := <-w.hints:
			if w.watched[x.Row] == x {
				w.expectDeath(x)
			}
		case <-w.news:
			w.sweepDead()
			if !w.ground.lost.IsZero() && !w.ground.moved {
				if why := w.ground.restoreMembers(); why != "" {
					return why, nil
				}
			}
		case <-ask.C:
		case <-tidy.C:
			if why, err := w.upkeep(); why != "" || err != nil {
				return why, err
			}
		}
	}
}

// lookForDead asks for the witnesses of the sessions of whose death there is a hint, and reclaims those that are dead.
// It reports whether a session has crashed: another session, one that found the table full or the lock abandoned, may
// have been first to reclaim it.
func (w *watch) lookForDead() (crashed bool) {
	for _, x := range w.dying {
		switch {
		case !w.m.Books.Roll.Held(x.Row):
			w.reclaim(x)
		case time.Since(x.hinted) > hintPatience:
			delete(w.dying, x.Row)
		}
	}
	n := w.m.Books.Table.Reclaims()
	crashed = n != w.reclaims
	w.reclaims = n
	return crashed
}

// expectDeath has look ask for a session's witness until that is free.
func (w *watch) expectDeath(x *session) {
	x.hinted = time.Now()
	w.dying[x.Row] = x
}

// reclaim forgets a session that is no more. One that can't be reclaimed now is tried again.
func (w *watch) reclaim(x *session) {
	ctx, cancel := context.WithTimeout(context.Background(), reclaimPatience)
	defer cancel()
	failpoint.Hit("supervisor/reclaim/heard")
	_, err := w.m.Reclaim(ctx, x.ProcessInfo)
	if err != nil {
		w.s.log.Warn().Err(instance.Explain(err)).Int("pid", x.Pid).
			Str("event", "reclaim-refused").Msg("a dead process can't be reclaimed now; it is tried again")
		return
	}
	failpoint.Hit("supervisor/reclaim/done")
	w.forgetSession(x)
}

func (w *watch) forgetSession(x *session) {
	if x.stop != nil {
		x.stop()
	}
	close(x.over)
	delete(w.watched, x.Row)
	delete(w.dying, x.Row)
}

// sweepDead compares the process table with the sessions that are watched: new ones get a watch of the kernel's. Those
// whose witness is free are dead, whatever the kernel has said: it asks for new ones, for those that the kernel does
// not watch, and for some of the others.
func (w *watch) sweepDead() {
	list, err := w.m.Books.Table.Users(w.rows[:0])
	if err != nil {
		w.s.log.Error().Err(err).Str("event", "control-unreadable").Msg("the control segment can't be read")
		return
	}
	w.rows = list
	due := len(list) <= askAtOnce || time.Since(w.looked) >= liveness.Sweep
	present := 0 // of those that are watched
	for _, p := range list {
		if p.Row == w.m.Self.Row() {
			continue
		}
		x := w.watched[p.Row]
		if x != nil && x.Incarnation != p.Incarnation {
			w.forgetSession(x) // it left, and another one has joined
			x = nil
		}
		fresh := x == nil
		if fresh {
			failpoint.Hit("supervisor/sweep/newcomer")
			x = w.followSession(w.m.Books.Table.Process(p.Row))
		}
		present++
		if (fresh || due && x.stop == nil) && !w.m.Books.Roll.Held(p.Row) {
			w.expectDeath(x)
		}
	}
	if present < len(w.watched) {
		w.forgetAbsent(list)
	}
	if due {
		w.looked = time.Now()
		w.askWitnesses(list)
	}
	w.keeper.keepWanted()
}

// forgetAbsent forgets the sessions that have left.
func (w *watch) forgetAbsent(list []shmsync.Peer) {
	present := map[int]bool{}
	for _, p := range list {
		present[p.Row] = true
	}
	for row, x := range w.watched {
		if !present[row] {
			w.forgetSession(x)
		}
	}
}

// askAtOnce bounds the questions for witnesses of which there is no hint: each takes up to 20 microseconds, where
// sessions are many. So of 2,000 sessions each is asked for every eight seconds; where there are no more than this,
// all are asked for whenever there is news.
const askAtOnce = 64

// askWitnesses asks for the witnesses of some of those that the kernel watches, too: a process may have become another
// program, or the one that it watches may be another process, of another pid namespace.
func (w *watch) askWitnesses(list []shmsync.Peer) {
	first, _ := slices.BinarySearchFunc(list, w.next, func(p shmsync.Peer, row int) int { return p.Row - row })
	for i := range min(askAtOnce, len(list)) {
		p := list[(first+i)%len(list)]
		w.next = p.Row + 1
		if x := w.watched[p.Row]; x != nil && !w.m.Books.Roll.Held(p.Row) {
			w.expectDeath(x)
		}
	}
}

// followSession has the kernel tell when a session's process dies. Where it can't, the sweep finds out.
func (w *watch) followSession(p control.ProcessInfo) *session {
	x := &session{ProcessInfo: p, over: make(chan struct{})}
	w.watched[p.Row] = x
	stop, err := liveness.Watch(p.Pid, func() {
		select {
		case w.hints <- x:
		case <-x.over:
		}
	})
	if err == nil {
		x.stop = stop
	}
	return x
}

// upkeep does that for which no process waits: failed removals are tried again, and earlier generations whose sessions
// live on are swept until the last of those is gone. It returns a reason to begin the next generation, if it comes upon
// one, or why the instance must end.
func (w *watch) upkeep() (why string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), reclaimPatience)
	defer cancel()
	if why, err := w.ground.checkGround(ctx); why != "" || err != nil {
		return why, err
	}
	if err := w.m.Self.Retry(ctx); groundIsLost(err) {
		return fmt.Sprintf("the supervisor can't work on the control segment (%v)", err), nil
	}
	if w.others && !w.ground.moved {
		w.others = w.s.dir.RemoveOldLives(ctx, w.s.backends, w.m.Books.Record, 0, w.s.who, w.s.log) > 0
	}
	return "", nil
}

// listenToBooks waits for news in the books, and looks for dead sessions from time to time without any.
func (w *watch) listenToBooks(ctx context.Context) {
	for seen := uint32(0); ctx.Err() == nil; {
		now, err := w.m.Books.Table.WaitNews(ctx, seen, liveness.Sweep)
		if err != nil { // the books are gone; nothing will ever come
			select {
			case <-time.After(liveness.Sweep):
			case <-ctx.Done():
			}
		}
		seen = now
		wakeChannel(w.news)
	}
}

// destroyOwedLoop destroys the objects that fell to the supervisor.
func (w *watch) destroyOwedLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.owed:
		}
		failpoint.Hit("supervisor/settle/begin")
		if err := w.m.Settle(context.Background()); err != nil {
			w.s.log.Warn().Err(instance.Explain(err)).Str("event", "settle-refused").Msg("removing the segments of a dead process is tried again")
		}
	}
}

// handOver makes the life one that is kept for the next supervisor. The watch goes on until that is written down.
func (w *watch) handOver() error {
	select {
	case <-w.s.stopping:
		return errStopped
	default:
	}
	if w.ground.checkPath() != nil || w.ground.moved {
		return fmt.Errorf("the directory %s was moved or removed: the next supervisor would not find the instance; stop it, "+
			"or move the directory back", w.s.dir.Path)
	}
	if w.s.private {
		return nil
	}
	return w.m.HandOver(w.s.who, w.reclaims)
}

func wakeChannel(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
