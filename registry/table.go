package registry

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/fnv"
	"strings"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// The table of names is all of the root segment: a header, a word for each row, and the rows'
// records. There are as many rows as the instance can have segments, since each name stands for
// one. Zero bytes are an empty table, so no process has to make one.
//
// This file is the layout, and what can be said of it without a session: it takes no lock and waits for nothing. It
// does not promise that two rows have different names; the lock under which rows are claimed does that (names.go).
//
//	0     header
//	320   a word for each row
//	then  a record for each row
//
// Any change here bumps tableVersion.
const (
	tableMagic   = 0x6d616e64_00000000 // "dnam", and below it
	tableVersion = 3

	headerSize = 320
	wordSize   = 8
	recordSize = 224
)

// header begins the table.
type header struct {
	_ structs.HostLayout

	// version is tableMagic and tableVersion in one word. The first process that opens the table stores it, over 0, by
	// compare-and-swap and without the lock. Each process reads it once, when it opens the table.
	version atomic.Uint64

	// news is broadcast when a row has become ready or free, under the lock; a waiter takes its ticket under the lock
	// and sleeps without. A process that dies before the broadcast costs the waiters the time until they look by
	// themselves.
	news shmsync.Cond

	_ [52]byte

	// lock guards the words and the records. It is held for a search and a store, never while anything is made.
	lock shmsync.LWLockWord
}

// A row's word holds in bits 0-42 the session at work on it, in bits 43-44 its state, in bits 45-63 a hash of its name.
// 0 is free. It is stored under the lock, after the record, and is the only store of its section that counts: so a
// process that dies in a section leaves each row as it was before or as it is after. The legal moves:
//
//	free            -> making(session)   a session claims the row for a name
//	making(session) -> ready             the same session has made what the name stands for
//	making(session) -> free, nameless    it could not, and nothing is left, or something that can't be removed now
//	ready           -> going(session)    a session deletes the name, or has found that its segment has gone
//	making, going   -> going(session)    another session takes over from one that is dead
//	going(session)  -> free              what the name stood for is gone
//	going(session)  -> nameless          it is not
//	nameless        -> going(session)    a later call looks at it again
//
// Names reads the words of a copy, which was made without the lock: a stale word shows a name that has just gone, or
// lacks one that has just come.
const (
	making = 1 + iota // the session makes it
	ready
	going // the session deletes it, or clears up after one that died; no process: nameless

	stateShift = 43
	hashShift  = 45
	peerMask   = 1<<stateShift - 1
)

// tableWord packs a word. Peer is a session's, or 0.
func tableWord(hash uint64, state, peer uint64) uint64 {
	return hash<<hashShift | state<<stateShift | peer
}

// tableWordState returns the state in a word, where 0 is free.
func tableWordState(w uint64) uint64 { return w >> stateShift & 3 }

// tableWordPeer returns the session in a word, as shmsync.Peer.Word has it. A stray store can leave any row in it.
func tableWordPeer(w uint64) uint64 { return w & peerMask }

// tableWordHash returns the hash in a word: the 19 upper bits of tableHashOf's sum.
func tableWordHash(w uint64) uint64 { return w >> hashShift }

// nameless is the word of a row whose name was deleted and whose memory isn't gone: an area that other sessions have
// attached, or what could not be removed at the time. The row remembers the memory, since those sessions may all be
// killed. A later call that makes, deletes or lists names looks at it again, and frees it when the memory is gone.
var nameless = tableWord(tableHashOf(""), going, 0)

// tableHashOf returns the 19 bits of a name's hash that a word has room for. They spare most comparisons with names of
// other rows, and decide nothing alone.
func tableHashOf(name string) uint64 {
	sum := fnv.New64a()
	sum.Write([]byte(name))
	return sum.Sum64() >> hashShift
}

// What a name's memory is.
const (
	ownSegment = 1 + iota
	ownArea
)

// record is what a row says beside its word: what the name stands for. Its fields are plain, since all of it is read
// and written under the lock. Only two write it: the session that claims a free row, before the row's word, and then
// the session that the word names. In a free row it is whatever the last name left. Names reads a copy that was made
// without the lock, whose fields need not belong together.
type record struct {
	_         structs.HostLayout
	handle    uint64   // the segment, or the area's; 0: not yet. Stored before the segment is pinned
	table     uint64   // of what is in an area of its own: the dsa.Pointer by which it is found. Stored with ready
	size      uint64   // of a segment: bytes
	layout    uint64   // digest of what the users of the name must agree on
	version   uint64   // as the program that made it says
	memory    uint32   // ownSegment, ownArea
	transient uint32   // 1: it is not pinned
	name      [64]byte // ends with a zero
	kind      [32]byte // ends with a zero
	typ       [80]byte // for people; may be cut
}

// record returns what a row says that is claimed for the wish. Name and kind have been checked, so both end with a zero.
func (w wish) record() *record {
	r := &record{size: w.size, layout: w.kind.Layout, memory: w.memory, version: w.version}
	if w.transient {
		r.transient = 1
	}
	copy(r.name[:MaxName], w.name)
	copy(r.kind[:MaxKind], w.kind.Name)
	copy(r.typ[:], w.kind.Type)
	return r
}

// tableText returns b up to its first zero byte; all of it if there is none, as a stray store may leave it.
func tableText(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

// describe returns what a record stands for, for the text of an error.
func (r *record) describe() string {
	s := "a " + tableText(r.kind[:])
	if strings.ContainsRune("aeiou", rune(r.kind[0])) {
		s = "an " + tableText(r.kind[:])
	}
	if typ := tableText(r.typ[:]); typ != "" {
		s += " of " + typ
	}
	if r.size > 0 {
		s += fmt.Sprintf(", %d bytes", r.size)
	}
	return fmt.Sprintf("%s, version %d", s, r.version)
}

// table is typed windows on a root segment. They are valid as long as its mapping.
type table struct {
	header  *header
	words   []atomic.Uint64
	records []record
}

// tableSize returns the bytes of a table with so many rows.
func tableSize(rows int) int { return headerSize + rows*(wordSize+recordSize) }

// open finds the table in r. One of another version is ErrVersion, and a segment that is too short for a row, or that
// begins with anything else, is ErrCorrupt. The number of rows follows from the length of r, which no stray store can
// change.
func open(r shm.Region) (*table, error) {
	// Hostile value: a root segment that is no table, whose length leaves no room for a row.
	rows := (r.Len() - headerSize) / (wordSize + recordSize)
	h, err := shm.At[header](r, 0)
	if err != nil || rows < 1 {
		return nil, cmp.Or(err, errCorruptNames("the table has %d bytes", r.Len()))
	}
	t := &table{header: h}
	if t.words, err = shm.SliceOf[atomic.Uint64](r, headerSize, rows); err != nil {
		return nil, err
	}
	if t.records, err = shm.SliceOf[record](r, shm.Offset(headerSize+rows*wordSize), rows); err != nil {
		return nil, err
	}
	// Over 0 alone: the first process makes an empty table of its own version, and all others find that. In a copy of
	// the bytes, as Names has it, the store reaches no other process.
	h.version.CompareAndSwap(0, tableMagic|tableVersion)
	if v := h.version.Load(); v != tableMagic|tableVersion {
		if v>>32 != tableMagic>>32 {
			return nil, errCorruptNames("the root segment does not hold the names: it begins with %#x", v)
		}
		return nil, errkind.OtherVersion("the table of names", uint64(uint32(v)), tableVersion,
			"the instance's other sessions")
	}
	return t, nil
}

// findLocked returns the row of a name; -1 if there is none. The caller holds the table's lock. It compares words,
// which lie side by side, and reads a record only where the hash fits.
func (t *table) findLocked(name string) int {
	hash := tableHashOf(name)
	for i := range t.words {
		if w := t.words[i].Load(); tableWordState(w) != 0 && tableWordHash(w) == hash && tableText(t.records[i].name[:]) == name {
			return i
		}
	}
	return -1
}

// freeLocked returns a free row; -1 if there is none. The caller holds the table's lock.
func (t *table) freeLocked() int {
	for i := range t.words {
		if tableWordState(t.words[i].Load()) == 0 {
			return i
		}
	}
	return -1
}
