package locktable

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

// mayHaveLostNoteLocked reports whether the note of a name's death may have been forgotten. It runs under the
// partition's lock.
func (u *turn) mayHaveLostNoteLocked(ident uint64) bool {
	any, l := uint64(0), &u.p.lost
	for i := 0; i+5 < lostNotes; i += 6 { // seldom any, so that is asked first, for many at a time
		any |= l[i].Load() | l[i+1].Load() | l[i+2].Load() | l[i+3].Load() | l[i+4].Load() | l[i+5].Load()
	}
	if any == 0 {
		return u.p.lostAll.Load() != 0
	}
	if at := u.lostNoteLocked(ident); at != nil {
		at.Store(0)
		return true
	}
	return u.p.lostAll.Load() != 0
}

// remembersLostNoteLocked reports whether a new head of a name would be told that there may have been a death. It runs
// under the partition's lock.
func (u *turn) remembersLostNoteLocked(ident uint64) bool {
	return u.p.lostAll.Load() != 0 || u.lostNoteLocked(ident) != nil
}

// lostNoteLocked returns the place of the partition that remembers the hash of a name whose note of a death is forgotten,
// nil if none does. It runs under the partition's lock.
func (u *turn) lostNoteLocked(ident uint64) *atomic.Uint64 {
	for i := range u.p.lost {
		if at := &u.p.lost[i]; at.Load() == max(ident, 1) {
			return at
		}
	}
	return nil
}

// rememberLostNoteLocked remembers the hash of a name whose note of a death is forgotten. It runs under the
// partition's lock.
func (u *turn) rememberLostNoteLocked(ident uint64) {
	for i := range u.p.lost {
		if u.p.lost[i].Load() == 0 {
			u.p.lost[i].Store(max(ident, 1))
			return
		}
	}
	u.p.lostAll.Store(1)
}

// countNotesLocked counts the heads with a note of a death that no one has repaired. It runs under the partition's lock.
func (u *turn) countNotesLocked() error {
	notes := uint32(0)
	err := u.eachLocked(func(_ uint32, h *head) error {
		if died := h.died.Load(); h.kind.Load() != 0 && died != 0 && died != unknown {
			notes++
		}
		return nil
	})
	if err == nil {
		u.p.notes.Store(notes)
	}
	return err
}

// noteDeathLocked notes that a session died with a head's lock in a mode that writes. That counts as a change, too.
func (u *turn) noteDeathLocked(h *head, n uint32, dead shmsync.Peer, s *seat, owner uint32, m Mode) {
	h.changed.Store(u.t.root.stamp.Add(1))
	was := h.died.Load()
	if was == 0 || was == unknown {
		u.p.notes.Add(1)
		b := binary.LittleEndian.AppendUint64(nil, s.pid.Load())
		b = append(b, padText(loadText(s.app[:]))...)
		b = append(b, padText(u.t.noteOf(dead.Row, owner))...)
		_ = u.storeLocked(n, epitaphAt, b) // without room for it there is a note all the same
		if was == 0 {
			was = below
		}
		was |= dead.Word()
	}
	if m != IntentExclusive {
		was &^= below
	}
	h.died.Store(was&(1<<48-1) | min(was>>48+1, 1<<16-1)<<48)
	failpoint.Hit("locktable/mourn/noted")
	if u.p.notes.Load() > maxNotes && h.lock.Empty() {
		u.rememberLostNoteLocked(h.ident.Load()) // for the name's next head; this one tells of the death itself
		h.died.Store(unknown)
		u.p.notes.Add(^uint32(0))
	}
}
