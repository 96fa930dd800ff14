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

// header: version is stored by the first process that comes.
type header struct {
	_       structs.HostLayout
	version atomic.Uint64
	news    shmsync.Cond // a row has become ready or free
	_       [52]byte
	lock    shmsync.LWLockWord // of all the rest
}

// A row's word: bits 0-42 the session at work on it, 43-44 its state, 45-63 a hash of its name. 0
// is free. It is stored last.
const (
	making = 1 + iota // the session makes it
	ready
	going // the session deletes it, or clears up after one that died; no process: nameless

	stateShift = 43
	hashShift  = 45
	peerMask   = 1<<stateShift - 1
)

func wordOf(hash uint64, state, peer uint64) uint64 {
	return hash<<hashShift | state<<stateShift | peer
}
func stateOf(w uint64) uint64 { return w >> stateShift & 3 }
func peerOf(w uint64) uint64  { return w & peerMask }
func hashOf(w uint64) uint64  { return w >> hashShift }

// nameless is the word of what has been deleted and isn't gone: an area that others have attached,
// who may all be killed, or what could not be removed then. There is such a row until it is gone.
var nameless = wordOf(hashName(""), going, 0)

func hashName(name string) uint64 {
	sum := fnv.New64a()
	sum.Write([]byte(name))
	return sum.Sum64() >> hashShift
}

// What a name's memory is.
const (
	ownSegment = 1 + iota
	ownArea
)

// record is what a row says beside its word, whose session alone writes it, under the lock. It is read under the lock.
type record struct {
	_         structs.HostLayout
	handle    uint64 // the segment, or the area's; 0: not yet
	table     uint64 // of what is in an area of its own: where
	size      uint64 // of a segment: bytes
	layout    uint64
	version   uint64
	memory    uint32 // ownSegment, ownArea
	transient uint32
	name      [64]byte // ends with a zero
	kind      [32]byte // ends with a zero
	typ       [80]byte // for people; may be cut
}

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

func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

func (r *record) describe() string {
	s := "a " + text(r.kind[:])
	if strings.ContainsRune("aeiou", rune(r.kind[0])) {
		s = "an " + text(r.kind[:])
	}
	if typ := text(r.typ[:]); typ != "" {
		s += " of " + typ
	}
	if r.size > 0 {
		s += fmt.Sprintf(", %d bytes", r.size)
	}
	return fmt.Sprintf("%s, version %d", s, r.version)
}

// table is typed windows on a root segment.
type table struct {
	header  *header
	words   []atomic.Uint64
	records []record
}

// tableSize returns the bytes of a table with so many rows.
func tableSize(rows int) int { return headerSize + rows*(wordSize+recordSize) }

// open finds the table in r. One of another version is ErrVersion.
func open(r shm.Region) (*table, error) {
	rows := (r.Len() - headerSize) / (wordSize + recordSize)
	h, err := shm.At[header](r, 0)
	if err != nil || rows < 1 {
		return nil, cmp.Or(err, corrupt("the table has %d bytes", r.Len()))
	}
	t := &table{header: h}
	if t.words, err = shm.SliceOf[atomic.Uint64](r, headerSize, rows); err != nil {
		return nil, err
	}
	if t.records, err = shm.SliceOf[record](r, shm.Offset(headerSize+rows*wordSize), rows); err != nil {
		return nil, err
	}
	h.version.CompareAndSwap(0, tableMagic|tableVersion)
	if v := h.version.Load(); v != tableMagic|tableVersion {
		if v>>32 != tableMagic>>32 {
			return nil, corrupt("the root segment does not hold the names: it begins with %#x", v)
		}
		return nil, errkind.OtherVersion("the table of names", uint64(uint32(v)), tableVersion,
			"the instance's other sessions")
	}
	return t, nil
}

// find returns the row of a name; -1 if there is none.
func (t *table) find(name string) int {
	hash := hashName(name)
	for i := range t.words {
		if w := t.words[i].Load(); stateOf(w) != 0 && hashOf(w) == hash && text(t.records[i].name[:]) == name {
			return i
		}
	}
	return -1
}

// free returns a free row; -1 if there is none.
func (t *table) free() int {
	for i := range t.words {
		if stateOf(t.words[i].Load()) == 0 {
			return i
		}
	}
	return -1
}

func corrupt(format string, args ...any) error {
	return errkind.As(shm.ErrCorrupt, fmt.Errorf("registry: "+format, args...))
}
