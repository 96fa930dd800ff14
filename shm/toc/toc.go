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
	"math"
	"structs"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/fault"
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

type entry struct {
	_      structs.HostLayout
	key    atomic.Uint64
	offset atomic.Uint64
	length atomic.Uint64
}

// Toc is a table of contents. When its segment is detached, or the session closed, calls are ErrClosed; a truncated
// segment is ErrCorrupt.
type Toc struct {
	r shm.Region
	h *header
}

// answer is deferred by what used bytes of a table: if its view has ended, that is the answer.
func (t *Toc) answer(err *error) { answer(err, t.r.View()) }

func answer(err *error, v *shm.View) {
	if v.Ended() {
		*err = v.Answer(*err)
	}
}

// Estimator adds up how large a region has to be.
type Estimator struct {
	chunks   uint64
	keys     uint64
	overflow bool
}

// Chunk counts one allocation of n bytes.
func (e *Estimator) Chunk(n int) { e.Chunks(1, n) }

// Chunks counts several allocations of n bytes each.
func (e *Estimator) Chunks(count, n int) {
	if count < 0 || n < 0 || count > 0 && chunksOf(n) > maxChunks/uint64(count) {
		e.overflow = true
		return
	}
	e.chunks += uint64(count) * chunksOf(n)
	e.overflow = e.overflow || e.chunks > maxChunks
}

// Keys counts n insertions.
func (e *Estimator) Keys(n int) {
	if n < 0 || uint64(n) > maxEntries-e.keys {
		e.overflow = true
		return
	}
	e.keys += uint64(n)
}

// Size returns how many bytes all that takes; ErrFull if that is more than a table can hold.
func (e *Estimator) Size() (int, error) {
	head := (headerSize + e.keys*entrySize + Align - 1) / Align
	size := (head + e.chunks) * Align
	if e.overflow || size > math.MaxInt {
		return 0, errkind.As(ErrFull,
			fmt.Errorf("%d chunks of %d bytes and %d keys are more than a table of contents can hold",
				e.chunks, Align, e.keys))
	}
	return int(size), nil
}

func chunksOf(n int) uint64 { return (uint64(n) + Align - 1) / Align }

// Create makes an empty table at the start of r, for memory in r, whose bytes must be zero, as
// those of a new segment are. Magic, not 0, says what kind of contents this is.
func Create(r shm.Region, magic uint64) (t *Toc, err error) {
	defer answer(&err, r.View())
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
	defer answer(&err, r.View())
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
	if _, err := t.look(); err != nil {
		return nil, err
	}
	return t, nil
}
