package control

import "time"

// What people and supervisors see of processes and segments takes no lock and needs no row: each word is loaded once and
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

// processInfo copies one process row out, used or not. The row must exist. What it says of a user that is in its first
// section may be the predecessor's.
func (t *Table) processInfo(row int) ProcessInfo {
	p := &t.processes[row]
	pid := p.pid.Load()
	return ProcessInfo{
		Row:         row,
		Incarnation: wordIncarnation(p.word.Load()),
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
			if isUsedWord(t.processes[i].word.Load()) {
				list = append(list, t.processInfo(i))
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
