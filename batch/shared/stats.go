package shared

import (
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// Stats are figures of a queue since it was made. They are those of all leaders, and up to a tenth of Options.Lease old.
type Stats struct {
	Slots     int // of which these are
	Waiting   int // ready
	Flushing  int // in the leader's flush
	Answered  int // done, and not yet read
	Oldest    time.Duration
	Sessions  int // that own slots
	Epoch     uint64
	Leader    shmsync.Peer // Row is -1 if none leads
	Commands  uint64       // these and the next as in batch.Stats
	Failed    uint64
	Commits   uint64
	Steps     uint64
	Merged    uint64
	Bisected  uint64
	Retries   uint64
	Lost      uint64
	Settled   uint64 // commits, and commands of earlier leaders, that the database was asked about
	Unsettled uint64
	Takeovers uint64
	Dropped   uint64 // commands of dead processes
	Poisoned  uint64
	P50, P99  time.Duration
	Trouble   string // why the flush under way is tried again; "" if it is not
	Since     time.Duration
}

// Stats returns the figures. It takes no lock and does not wait.
func (q *Queue[Cmd, Res]) Stats() (s Stats, err error) {
	if q.m == nil { // the zero Queue
		return s, errClosed
	}
	err = q.m.contained(func() error { s = q.m.stats(); return nil })
	return s, err
}

func (m *memory) stats() (s Stats) {
	st := &m.head.stats
	w := leadWord(m.head.lead.Load())
	s = Stats{
		Slots: len(m.slots), Epoch: w.epoch(), Leader: shmsync.Peer{Row: w.row()},
		Commands: st.commands.Load(), Failed: st.failed.Load(), Commits: st.commits.Load(), Steps: st.steps.Load(),
		Merged: st.merged.Load(), Bisected: st.bisected.Load(), Retries: st.retries.Load(), Lost: st.lost.Load(),
		Settled: st.settled.Load(), Unsettled: st.unsettled.Load(), Takeovers: st.takeovers.Load(),
		Dropped: st.dropped.Load(), Poisoned: st.poisoned.Load(),
		P50: time.Duration(st.p50.Load()), P99: time.Duration(st.p99.Load()),
	}
	if row := w.row(); row >= 0 && row < len(m.seats) {
		s.Leader.Incarnation = m.seats[row].incarnation.Load()
	}
	now := time.Now()
	if at := st.troubled.Load(); at != 0 {
		s.Trouble, s.Since = printable(m.head.trouble.load()), now.Sub(time.Unix(0, at))
	}
	for i := range m.slots {
		slot := &m.slots[i]
		switch slot.load().state() {
		case ready:
			s.Waiting++
		case claimed, tentative:
			s.Flushing++
		case done:
			s.Answered++
			continue
		default:
			continue
		}
		if age := now.Sub(time.Unix(0, slot.since.Load())); age > s.Oldest && age < 1000*time.Hour {
			s.Oldest = age
		}
	}
	owners := map[shmsync.Peer]bool{}
	for i := range m.blocks {
		if p := peerOf(m.blocks[i].owner.Load()); p.Row >= 0 {
			owners[p] = true
		}
	}
	s.Sessions = len(owners)
	return s
}

// Read returns the figures of the queue in a region, for a process that has nothing to do with it: it stores nothing.
func Read(r shm.Region) (Stats, error) {
	h, err := shm.At[header](r, 0)
	if err != nil {
		return Stats{}, err
	}
	m, err := attach(r, shmsync.Self{Peer: shmsync.Peer{Row: -1}, Alive: func(shmsync.Peer) bool { return true }}, Options{Version: h.layout.Load()})
	if err != nil {
		return Stats{}, err
	}
	var s Stats
	err = m.contained(func() error { s = m.stats(); return nil })
	return s, err
}

// String returns the figures as people read them.
func (s Stats) String() string {
	leader := "no session leads"
	if s.Leader.Row >= 0 {
		leader = fmt.Sprintf("session %v leads", s.Leader)
	}
	per := func(n uint64) float64 { return float64(n) / float64(max(s.Commits, 1)) }
	text := fmt.Sprintf("%s, epoch %d, %d take-overs\nqueue: %d wait, %d in a flush, %d answered and not read; %d of %d slots by %d sessions; the oldest for %v\n"+
		"flushes: %d, of %.1f commands in %.1f statements; p50 %v, p99 %v\n"+
		"commands: %d, %d of them failed, %d merged, %d dropped with their processes, %d poison\n"+
		"faults: %d retries, %d bisections, %d connections lost; unknown commits: %d settled, %d not",
		leader, s.Epoch, s.Takeovers, s.Waiting, s.Flushing, s.Answered, s.Waiting+s.Flushing+s.Answered, s.Slots, s.Sessions, s.Oldest.Round(time.Millisecond),
		s.Commits, per(s.Commands), per(s.Steps), s.P50.Round(10*time.Microsecond), s.P99.Round(10*time.Microsecond),
		s.Commands, s.Failed, s.Merged, s.Dropped, s.Poisoned, s.Retries, s.Bisected, s.Lost, s.Settled, s.Unsettled)
	if s.Trouble != "" {
		text += fmt.Sprintf("\nstuck for %v: %s", s.Since.Round(time.Millisecond), s.Trouble)
	}
	return text
}

// printable returns a text of shared memory without what a terminal would obey.
func printable(s string) string {
	b := []rune(s)
	for i, r := range b {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			b[i] = ' '
		}
	}
	return string(b)
}

// publish adds what the engine has counted since the last call to the shared figures. It runs at the shared bytes.
func (l *leader[Cmd, Res]) publish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == nil {
		return
	}
	e, st := l.engine.Stats(), &l.m.head.stats
	for i, c := range []struct {
		to  interface{ Add(uint64) uint64 }
		now uint64
	}{{&st.commands, e.Commands}, {&st.failed, e.Failed}, {&st.commits, e.Commits}, {&st.steps, e.Steps}, {&st.merged, e.Merged},
		{&st.bisected, e.Bisected}, {&st.retries, e.Retries}, {&st.lost, e.Lost}, {&st.settled, e.Settled}, {&st.unsettled, e.Unsettled}} {
		c.to.Add(c.now - l.before[i])
		l.before[i] = c.now
	}
	st.p50.Store(int64(e.P50))
	st.p99.Store(int64(e.P99))
	switch {
	case e.Trouble == nil:
		st.troubled.Store(0)
	case st.troubled.Load() == 0:
		l.m.head.trouble.store(excerpt.Of(e.Trouble.Error(), textSize))
		st.troubled.Store(time.Now().Add(-e.Since).UnixNano())
	}
}

// publishTrouble publishes why nothing goes on; nil: it goes on.
func (l *leader[Cmd, Res]) publishTrouble(err error) {
	_ = l.m.contained(func() error {
		st := &l.m.head.stats
		if err == nil {
			st.troubled.Store(0)
			return nil
		}
		st.troubled.CompareAndSwap(0, time.Now().UnixNano())
		l.m.head.trouble.store(excerpt.Of(err.Error(), textSize))
		return nil
	})
}
