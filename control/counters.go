package control

import "time"

// Done is what a session, or all of an instance, has done.
type Done struct {
	Creates      uint64        // segments made
	CreatedBytes uint64        // their sizes
	Attaches     uint64        // references taken to what another session made
	Detaches     uint64        // references given back
	LockWaits    uint64        // for the control lock
	LockWaited   time.Duration // all waits together
	Refused      Refused
}

// Refused counts what was refused, by reason.
type Refused struct {
	Rows    uint64 // max_segments
	Memory  uint64 // max_memory
	Session uint64 // max_memory_per_process, max_segments_per_process
	System  uint64 // the system had no memory, or gave another reason
}

// Counters are what was counted since the generation began. They are read without a lock, one word after the other, so
// two of them may be of different moments.
type Counters struct {
	Done
	Returned     uint64 // references that were given back for dead processes, or at the end of a session
	Joins        uint64 // sessions that have joined
	Reclaims     uint64 // processes that died and were reclaimed
	ReclaimTime  time.Duration
	LastReclaim  time.Time // zero if there was none
	NotFound     uint64    // attaches of a handle that was not live
	LockRefused  uint64    // waits for the control lock that were given up
	JoinsRefused uint64    // since the process table was full
	Events       uint64
}

// doneOf makes a Done of counters in the order of tallied.tallyWords.
func doneOf(v [10]uint64) Done {
	return Done{Creates: v[0], CreatedBytes: v[1], Attaches: v[2], Detaches: v[3], LockWaits: v[4],
		LockWaited: time.Duration(v[5]), Refused: Refused{Rows: v[6], Memory: v[7], Session: v[8], System: v[9]}}
}

// Counters sums up what was counted in all rows. It takes no lock. Its error is ErrCorrupt, if the books are gone.
func (t *Table) Counters() (c Counters, err error) {
	err = contained(func() error {
		var sum [10]uint64
		last := uint64(0)
		for row := range t.tallies {
			y := &t.tallies[row]
			for i, w := range y.tallyWords() {
				sum[i] += w.Load()
			}
			c.Returned += y.returned.Load()
			c.NotFound += y.refusedMissing.Load()
			c.LockRefused += y.lockRefused.Load()
			c.ReclaimTime += time.Duration(y.reclaimTime.Load())
			last = max(last, y.lastReclaim.Load())
			if row != SupervisorRow { // a row's incarnation counts its users
				c.Joins += uint64(wordIncarnation(t.processes[row].word.Load()))
			}
		}
		c.Done = doneOf(sum)
		if last != 0 {
			c.LastReclaim = time.Unix(0, int64(last))
		}
		h := t.header
		c.Reclaims, c.JoinsRefused, c.Events = uint64(h.reclaims.Load()), h.joinsRefused.Load(), h.events.Load()
		return nil
	})
	return c, err
}

// doneOfRow returns what the present user of a row has done: the difference to what the row's counters were when it
// joined. Before that user's first section it is its predecessor's.
func (t *Table) doneOfRow(row int) Done {
	y := &t.tallies[row]
	var v [10]uint64
	since := y.since.tallyWords()
	for i, w := range y.tallyWords() {
		v[i] = w.Load() - since[i].Load()
	}
	return doneOf(v)
}
