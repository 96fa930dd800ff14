package control

import (
	"bytes"
	"context"
	"math/bits"
	"syscall"

	"github.com/godsm/godsm/internal/failpoint"
)

// What a member owes are objects that fell to it: their rows are destroying, by it, since it reclaimed their agent or
// their last holder, closed the instance, or tries again where a destroy failed. The list is one bit for each row, in
// this process's own memory. It holds nothing that the rows do not say: a process that dies with it is reclaimed as the
// agent of those rows.

// addOwed notes that row i is this member's to destroy. The row's word has been stored before. It takes no lock.
func (m *Member) addOwed(i int) {
	// The bit before the flag, and Owed takes them the other way round: so a bit is never left without the flag.
	m.owed[i/64].Or(1 << (i % 64))
	m.hasOwed.Store(true)
}

// Owe puts an entry on the list of Owed: its object may be gone, but its row, which is destroying by this member, could
// not be freed or given up.
func (m *Member) Owe(e Entry) {
	if i := e.row(); i < len(m.t.segments) {
		m.addOwed(i)
	}
}

// Owes reports whether there is something for Owed to give. It takes no lock, and costs one load.
func (m *Member) Owes() bool { return m.hasOwed.Load() }

// Owed takes the list of objects that fell to this member: their rows are destroying, by it. For each the caller
// destroys the object and says Destroyed or DestroyFailed. Each object is given to one caller, and is not on the list
// any more. Without the control lock the list is as it was.
func (m *Member) Owed(ctx context.Context) (entries []Entry, err error) {
	if !m.Owes() {
		return nil, nil
	}
	entries = make([]Entry, 0, len(m.t.segments)) // before the section, which so does not wait for memory
	s, err := m.enter(ctx, plain)
	if err != nil {
		return nil, err
	}
	defer s.leaveSection(&err)
	m.hasOwed.Store(false)
	failpoint.Hit("control/owed/taking")
	for k := range m.owed {
		for set := m.owed[k].Swap(0); set != 0; set &= set - 1 {
			i := 64*k + bits.TrailingZeros64(set)
			r := &m.t.segments[i]
			if r.word.Load() != m.stampWord(Destroying) {
				continue
			}
			// Hostile value: a handle or a backend's word that leads to another object than this row's. No process can
			// tell which one it means; a sweep finds that by its name.
			if !m.t.isRowSound(i) {
				r.errno.Store(uint32(syscall.EILSEQ))
				r.word.Store(segmentWord(Destroying, nobody, 0))
				continue
			}
			entries = append(entries, m.t.entry(i))
		}
	}
	return entries, nil
}

// Retry takes over the rows whose destroy failed, for another try (see Owed). It also makes good what a
// neighbour's stray store has left and no section would find: it repairs the table, and stores the header's constants
// again if they differ from this process's copy. The supervisor calls it from time to time.
func (m *Member) Retry(ctx context.Context) (err error) {
	s, err := m.enter(ctx, plain)
	if err != nil {
		return err
	}
	defer s.leaveSection(&err)
	for i := range m.t.segments {
		m.adoptOwedLocked(i)
	}
	m.repairTableLocked()
	if !bytes.Equal(m.t.constant, m.t.copied) { // no process could join any more
		copy(m.t.constant, m.t.copied)
	}
	// Succeed stores both in one section, and while there is a supervisor no other process calls it. So the two differ
	// by a stray store alone.
	if ino := m.t.members.Load(); m.t.header.members.Load() != ino {
		m.t.header.members.Store(ino)
	}
	return nil
}

// adoptOwedLocked makes this member the agent of row i if a destroy of it has failed. A carved row is in
// that state by a stray store alone; repairTableLocked makes it live. The caller holds the control lock.
func (m *Member) adoptOwedLocked(i int) {
	r := &m.t.segments[i]
	if r.word.Load() == segmentWord(Destroying, nobody, 0) && !m.t.isCarved(i) {
		r.word.Store(m.stampWord(Destroying))
		failpoint.Hit("control/retry/adopted")
		m.addOwed(i)
	}
}
