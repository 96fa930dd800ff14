package control

import (
	"math/bits"
	"syscall"
	"time"

	"github.com/godsm/godsm/shm/shmsync"
)

// What people and supervisors see. Nothing here takes the lock or needs a row: each word is loaded once and
// checked, and a row that changed meanwhile is marked. A Table over a read-only mapping is enough.

// ProcessInfo is one used row of the process table.
type ProcessInfo struct {
	Row         int
	Incarnation uint32
	Pid         int  // as the process sees itself
	Closing     bool // its session is closed, and keeps the row only as long as bytes are lent
	Application string
	Started     time.Time
	Segments    int    // references held
	Bytes       uint64 // sizes of the segments held
	Done        Done   // since it joined
}

// SegmentInfo is one row of the segment table that is not free.
type SegmentInfo struct {
	Entry
	State     SegmentState
	Pinned    bool // by the instance
	Root      bool // the root segment
	PinWanted bool // to be pinned, once the supervisor keeps the object open
	Created   time.Time
	Creator   string        // application name
	Holders   []int         // process rows that have a reference, in order; dead processes among them
	Errno     syscall.Errno // why the last attempt to remove the object failed; 0 if none did
	Changed   bool          // while it was read: the parts may not belong together
	Sound     bool          // its checksum is right
}

// processInfo copies one process row out, used or not. The row must exist. What it says of a user that is in its first
// section may be the predecessor's.
func (t *Table) processInfo(row int) ProcessInfo {
	p := &t.processes[row]
	pid := p.pid.Load()
	return ProcessInfo{
		Row:         row,
		Incarnation: incarnationOf(p.word.Load()),
		Pid:         int(pid &^ closingBit),
		Closing:     pid&closingBit != 0,
		Application: p.application.load(),
		Started:     time.Unix(0, p.started.Load()),
		Segments:    int(p.segments.Load()),
		Bytes:       p.bytes.Load(),
		Done:        t.doneOfRow(row),
	}
}

// Processes lists the used rows, dead processes among them: ask the witness. Its error is ErrCorrupt, if the books are
// gone.
func (t *Table) Processes() (list []ProcessInfo, err error) {
	err = contained(func() error {
		for i := range t.processes {
			if isUsed(t.processes[i].word.Load()) {
				list = append(list, t.processInfo(i))
			}
		}
		return nil
	})
	return list, err
}

// Users adds to list the users of all used rows, in the order of these. It is cheaper than Processes.
func (t *Table) Users(list []shmsync.Peer) ([]shmsync.Peer, error) {
	err := contained(func() error {
		for i := range t.processes {
			if w := t.processes[i].word.Load(); isUsed(w) {
				list = append(list, shmsync.Peer{Row: i, Incarnation: incarnationOf(w)})
			}
		}
		return nil
	})
	return list, err
}

// Process returns what a row says, used or not; nothing of a row that does not exist.
func (t *Table) Process(row int) (p ProcessInfo) {
	_ = contained(func() error {
		if row >= 0 && row < len(t.processes) {
			p = t.processInfo(row)
		}
		return nil
	})
	return p
}

// Segments lists the rows that are not free, in the order of the table. Its error is ErrCorrupt, if the books are gone.
// A row that is garbled is in the list all the same: Sound is false then.
func (t *Table) Segments() (list []SegmentInfo, err error) {
	err = contained(func() error {
		// Hostile value: a count of used rows beyond the table, for which too much memory would be asked.
		if used := t.header.usedRows.Load(); used > 0 {
			list = make([]SegmentInfo, 0, min(int(used), len(t.segments)))
		}
		for i := range t.segments {
			if info, ok := t.segmentInfo(i); ok {
				list = append(list, info)
			}
		}
		return nil
	})
	return list, err
}

// Segment returns the row of the segment with a handle, whatever state the row is in. It reads that row alone, so it
// costs the same however many segments there are.
//
// Without such a segment it returns ErrNotFound. A caller checks Sound before it uses the rest: a row whose checksum
// is wrong is returned, too, as Segments lists it.
func (t *Table) Segment(handle uint64) (info SegmentInfo, err error) {
	err = contained(func() error {
		// The row's number is part of the handle. The rest of it tells apart the segments that the row has had.
		if i := int(handle & 0xffff); i < len(t.segments) {
			if s, ok := t.segmentInfo(i); ok && s.Handle == handle {
				info = s
				return nil
			}
		}
		return ErrNotFound
	})
	return info, err
}

// segmentInfo copies one segment row out; ok is false for a free one. It loads the state first, and state and handle
// once more at the end, to find out that the row has changed in between.
func (t *Table) segmentInfo(i int) (info SegmentInfo, ok bool) {
	r := &t.segments[i]
	w := r.word.Load()
	if stateOf(w) == Free {
		return info, false
	}
	info = SegmentInfo{
		Entry:     t.entry(i),
		State:     stateOf(w),
		Pinned:    pinOf(r.pin.Load()) == pinned,
		PinWanted: pinOf(r.pin.Load()) == pinWanted,
		Root:      isRoot(r.pin.Load()),
		Created:   time.Unix(0, int64(r.created.Load())),
		Creator:   r.creator.load(),
		Errno:     syscall.Errno(r.errno.Load()),
		Sound:     t.isSound(i),
	}
	for k := range t.wordsPer {
		for set := t.bits[i*t.wordsPer+k].Load(); set != 0; set &= set - 1 {
			if p := 64*k + bits.TrailingZeros64(set); p < len(t.processes) {
				info.Holders = append(info.Holders, p)
			}
		}
	}
	info.Changed = r.word.Load() != w || r.handle.Load() != info.Handle
	return info, true
}

// Used returns how many segment rows are in use, and the sum of their sizes, as the header counts them. It takes no
// lock. A stray store makes both wrong until the table is repaired.
func (t *Table) Used() (rows int, bytes uint64, err error) {
	err = contained(func() error {
		rows, bytes = int(t.header.usedRows.Load()), t.header.usedBytes.Load()
		return nil
	})
	return rows, bytes, err
}

// LockHolder returns the process that holds the control lock now, if any does. By the time it returns another one may
// hold it. A garbled lock word that names a row that does not exist is not held.
func (t *Table) LockHolder() (p ProcessInfo, held bool, err error) {
	err = contained(func() error {
		h, ok := t.header.lock.Owner()
		if held = ok && h.Row < len(t.processes); held {
			p = t.processInfo(h.Row)
		}
		return nil
	})
	return p, held, err
}

// AwaitsKeeper reports whether a live segment is to be pinned, and no process keeps its object open yet. It takes no
// lock, and is cheap enough to be asked again and again. A handle that is not live is ErrNotFound.
func (t *Table) AwaitsKeeper(handle uint64) (is bool, err error) {
	err = contained(func() error {
		i, err := t.liveRow(handle)
		is = err == nil && pinOf(t.segments[i].pin.Load()) == pinWanted
		return err
	})
	return is, err
}

// RowState returns the state of a row now; Free for one that does not exist. Row comes from an Entry, and is not
// negative.
func (t *Table) RowState(row int) (s SegmentState) {
	if row < len(t.segments) {
		_ = contained(func() error { s = stateOf(t.segments[row].word.Load()); return nil })
	}
	return s
}
