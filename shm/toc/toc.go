// Package toc is a table of contents at the start of a shared region: who has mapped it finds
// what is in it by 64-bit keys.
//
// It adds to shm the least that two processes must agree on: where things are. Memory is handed out from the
// region's end backwards and never taken back; entries are looked for one by one, so it is for a handful of
// keys. All calls are safe for concurrent use by any number of processes, none waits, and none leaves the table
// worse than it was if it is killed; memory that a dead process had allocated and not inserted yet is lost.
//
// PostgreSQL's namesake is shm_toc.
//
//	0   magic      the user's; written last by Create
//	8   form       bits 0-47 bytes in all, this header included; 48-63 the layout version. Written once
//	16  used       bits 0-31 entries claimed, bits 32-63 chunks of 64 bytes handed out; changed by compare-and-swap
//	24  entries    24 bytes each: key, offset, length. Written once; the offset last, 0 until then
package toc

import (
	"errors"
	"fmt"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/internal/sys/race"
	"github.com/godsm/godsm/shm"
)

// Kinds of failure. They match with errors.Is.
var (
	ErrNotFound = errkind.NotFound // no such key
	ErrExists   = errkind.Exists   // the key is there already
	ErrFull     = errkind.Full     // no room for it: estimate more
	ErrMagic    = errkind.Magic    // not the contents that were expected
	ErrVersion  = errkind.Version  // the table has another layout version; the text says which program to upgrade
	ErrCorrupt  = shm.ErrCorrupt
	ErrClosed   = shm.ErrClosed // the segment is detached, or the session closed
)

// Align is what chunks are aligned to, and rounded up to: a cache line. (Counted from the start
// of the region, which mapped bytes have at the start of a page.)
const Align = 64

const (
	headerSize = 24
	entrySize  = 24
	version    = 1 // tables of programs that knew no versions have 0
	sizeBits   = 48
	// maxChunks bounds what a table can hand out: 256 GiB.
	maxChunks  = 1<<32 - 1
	maxEntries = 1<<32 - 1
)

type header struct {
	_     structs.HostLayout
	magic atomic.Uint64
	form  atomic.Uint64
	used  atomic.Uint64
}

// Toc is a table of contents. When its segment is detached, or the session closed, calls are ErrClosed; a truncated
// segment is ErrCorrupt.
type Toc struct {
	r shm.Region
	h *header
}

// answer is deferred by what used bytes of a table: if its view has ended, that is the answer.
func (t *Toc) answer(err *error) { answerOfToc(err, t.r.View()) }

// Free returns how many bytes are left for chunks and entries.
func (t *Toc) Free() (n int, err error) {
	defer t.answer(&err)
	defer fault.Return(&err, fault.Catch())
	u, err := t.usageNow()
	if err != nil {
		return 0, err
	}
	return int(u.size - u.head(0) - u.chunks*Align), nil
}

// Allocate hands out n bytes, aligned to Align. They are never taken back. No process finds them before they are inserted.
func (t *Toc) Allocate(n int) (off shm.Offset, err error) {
	defer t.answer(&err)
	defer fault.Return(&err, fault.Catch())
	if n < 0 {
		return 0, errkind.As(errkind.Size, fmt.Errorf("table of contents: allocating %d bytes: the number is negative", n))
	}
	for {
		u, err := t.usageNow()
		if err != nil {
			return 0, err
		}
		want := tocChunks(n)
		if free := (u.size - u.head(0)) / Align; want > free-u.chunks {
			return 0, errFullToc("%d bytes were asked for, %d are left", n, (free-u.chunks)*Align)
		}
		failpoint.Hit("toc/allocate/looked")
		if t.h.used.CompareAndSwap(u.word, u.word+want<<32) {
			failpoint.Hit("toc/allocate/done")
			return shm.Offset(u.size - (u.chunks+want)*Align), nil
		}
	}
}

// Insert makes the n bytes at off known by key. What was stored in them before is seen by the process that finds them. A
// key that is there already is ErrExists. If several insert one key at the same time, more than one may succeed,
// and which one is found is settled only when all have returned: a caller that wants to be sure lets one process insert.
func (t *Toc) Insert(key uint64, off shm.Offset, n int) (err error) {
	defer t.answer(&err)
	defer fault.Return(&err, fault.Catch())
	u, err := t.usageNow()
	if err != nil {
		return err
	}
	if n < 0 || !u.allocated(uint64(off), uint64(n)) {
		return errkind.As(errkind.Size,
			fmt.Errorf("key %#x: %d bytes at offset %d have not been allocated", key, n, off))
	}
	e, err := t.claimEntry(key)
	if err != nil {
		return err
	}
	failpoint.Hit("toc/insert/claimed")
	race.Release(&t.h.used)
	e.key.Store(key)
	e.length.Store(uint64(n))
	e.offset.Store(uint64(off))
	return nil
}

// Lookup finds the bytes that were inserted by key. A key that is not there, or not yet, is ErrNotFound.
func (t *Toc) Lookup(key uint64) (r shm.Region, err error) {
	defer t.answer(&err)
	defer fault.Return(&err, fault.Catch())
	u, err := t.usageNow()
	if err != nil {
		return shm.Region{}, err
	}
	list, err := shm.SliceOf[entry](t.r, headerSize, int(u.entries))
	if err != nil {
		return shm.Region{}, err
	}
	for i := range list {
		e := &list[i]
		off := e.offset.Load()
		if off == 0 || e.key.Load() != key { // 0: claimed, and not written yet
			continue
		}
		failpoint.Hit("toc/lookup/found")
		n := e.length.Load()
		if !u.allocated(off, n) {
			return shm.Region{}, errCorruptToc("key %#x stands for %d bytes at offset %d", key, n, off)
		}
		race.Acquire(&t.h.used)
		return t.r.Sub(shm.Offset(off), int(n))
	}
	return shm.Region{}, errkind.As(ErrNotFound, fmt.Errorf("key %#x is not in the table of contents", key))
}

func answerOfToc(err *error, v *shm.View) {
	if v.Ended() {
		*err = v.Answer(*err)
	}
}

func tocChunks(n int) uint64 { return (uint64(n) + Align - 1) / Align }

// Create makes an empty table at the start of r, for memory in r, whose bytes must be zero, as
// those of a new segment are. Magic, not 0, says what kind of contents this is.
func Create(r shm.Region, magic uint64) (t *Toc, err error) {
	defer answerOfToc(&err, r.View())
	defer fault.Return(&err, fault.Catch())
	if r.View().Ended() {
		return nil, r.View().Err()
	}
	h, err := shm.At[header](r, 0)
	size := min(uint64(r.Len())/Align, maxChunks) * Align
	if err != nil || size == 0 || magic == 0 {
		return nil, errkind.As(errkind.Size,
			fmt.Errorf("a table of contents wants %d bytes or more, aligned to 8, and a magic number that is not 0; "+
				"this is %d bytes and magic %#x", Align, r.Len(), magic))
	}
	if h.magic.Load() != 0 || h.used.Load() != 0 {
		return nil, errkind.As(ErrExists, errors.New("the region is in use already: Create wants zero bytes"))
	}
	h.form.Store(version<<sizeBits | size)
	h.magic.Store(magic)
	return &Toc{r, h}, nil
}

// Attach finds the table that a process has created at the start of r. Contents of another magic,
// or none yet, are ErrMagic; a table of another layout version is ErrVersion.
func Attach(r shm.Region, magic uint64) (t *Toc, err error) {
	defer answerOfToc(&err, r.View())
	defer fault.Return(&err, fault.Catch())
	if r.View().Ended() {
		return nil, r.View().Err()
	}
	h, err := shm.At[header](r, 0)
	if err != nil {
		return nil, err
	}
	if got := h.magic.Load(); got != magic || magic == 0 {
		return nil, errkind.As(ErrMagic,
			fmt.Errorf("contents of magic %#x, not %#x: was this made by another program, or not yet?", got, magic))
	}
	if v := h.form.Load() >> sizeBits; v != version {
		return nil, errkind.OtherVersion("the table of contents", v, version, "the processes that have it attached")
	}
	t = &Toc{r, h}
	if _, err := t.usageNow(); err != nil {
		return nil, err
	}
	return t, nil
}
