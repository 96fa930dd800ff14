package dshash

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/hashing"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// What Table and Bytes have in common: the table as one process sees it, and how it is created and attached.
//
// A core is made once for each Create or Attach and never changes afterwards, but for what last, local and spared
// remember. What it keeps of the header (sizes, seed, number of partitions) was checked when it was made; so no later
// call trusts the header's bytes.

// Kinds of failure. They match with errors.Is. Errors of the area come through as they are: its limit, no space,
// detached.
var (
	// ErrCorrupt: bytes of the table are not what this package has written, or are gone.
	ErrCorrupt = shm.ErrCorrupt
	// ErrSize: a key, a value or a table can't have that size.
	ErrSize = errkind.Size
	// ErrNotFound: there is no table at that handle, or it is unfinished or destroyed.
	ErrNotFound = errkind.NotFound
	// ErrClosed: the area has ended, by Detach or with its session.
	ErrClosed = errkind.Closed

	// ErrMismatch: the table is there, but of another kind, of other types or of another Options.Version.
	ErrMismatch = errkind.Mismatch
	// ErrVersion: the table has another layout version; the text says which program to upgrade.
	ErrVersion = errkind.Version
	// ErrShared: the entry is held shared, or no longer, and can't be changed.
	ErrShared = errors.New("the entry is not held exclusively")
)

// Options are a table's. Zeros mean the defaults.
type Options struct {
	// Partitions is how many locks the table has, and so how many sessions can change it at the same time at best: a
	// power of two up to 65536; 0 means 128. Create reads it; a table keeps its number.
	Partitions int
	// Version is the program's own number of what it means by keys and values. Create stores it, and Attach of
	// another one is ErrMismatch.
	Version uint64
}

// core is a table of byte strings, or of items of one size, as this process sees it. It is safe for concurrent use.
type core struct {
	shape
	area *dsa.Area
	// ends is the area's view; see ended.go.
	ends *shm.View
	// last decides when the bytes may go after a Detach.
	last last
	// handle is the pointer of the table's object.
	handle dsa.Pointer
	// head is the header, in shared memory.
	head *header
	// seed is the header's.
	seed uint64
	// shift is by how many bits a hash is shifted to the right for the number of its partition, after a shift by 1:
	// so 63 suffices for a table with one partition.
	shift int
	// word is true if all keys have 8 bytes, as they do in a Table of such a K.
	word bool
	// long is the length in bytes of the longest item that is not a long one: see longest.go.
	long int
	// cell is true if a value is a word, or of no size: then one store changes it.
	cell bool
	// parts are the partitions, in shared memory.
	parts []partition
	// seen has the view of each partition's arrays that was made last; nil before the first. It is apart from local, since
	// a lookup without the lock needs nothing else of that, and so has more of the table in the processor's first cache.
	seen []atomic.Pointer[view]
	// local has what this process needs for each partition besides.
	local []local
	// spared is the reserve.
	spared spared
}

// unmade is what the zero Table and the zero Bytes are: an empty table whose area has ended. So their methods need no
// case of their own: each finds the end, and returns ErrClosed.
var unmade = func() *core {
	t := &core{area: &dsa.Area{}, shift: 63, parts: make([]partition, 1), local: make([]local, 1)}
	t.seen = make([]atomic.Pointer[view], 1)
	t.ends, t.local[0].t, t.local[0].lock = t.area.View(), t, &shmsync.LWLock{}
	return t
}()

// local is what this process needs for a partition besides the words in shared memory, and the view. Goroutines share it.
// After open spare and change alone change; they belong to the goroutine that holds the partition's lock exclusively.
//
// What most calls use comes first, and it has the length of five cache lines: an odd number, since with an even one the
// first lines of all partitions would share a part of the processor's first cache.
type local struct {
	t *core
	// lock is this process's handle on partition.lock.
	lock *shmsync.LWLock
	// i is the partition's number.
	i int
	// hands and next are the places that the partition's words of those names are.
	hands [2]dsa.Place
	// spare is what this process knows of an item in a hand; see hands.go.
	spare spare
	// change is what the holder of the exclusive lock is at.
	change change
	next   dsa.Place
	// scan is true of a local that the entries of a scan have: releasing them does not give the lock back.
	scan bool
	_    [96]byte
}

// create makes an empty table of shape s, in the word at if there is one, and returns it. It allocates, and waits for
// the area's locks. If it fails nothing is left, unless in the word. A process that dies in it leaves an object that
// no process knows of, or one that the word owns, finished or not.
func create(a *dsa.Area, s shape, o Options, at dsa.Place) (*core, error) {
	if o.Partitions == 0 {
		o.Partitions = 128
	}
	if o.Partitions < 1 || o.Partitions > maxPartitions || o.Partitions&(o.Partitions-1) != 0 {
		return nil, errkind.As(ErrSize,
			fmt.Errorf("dshash: %d partitions: a table has a power of two up to %d", o.Partitions, maxPartitions))
	}
	p, free, err := allocate(a, tableSize(o.Partitions), at)
	if err != nil {
		return nil, fmt.Errorf("dshash: create a table: %w", err)
	}
	// Until self is stored, last of all, Attach does not take the object for a table.
	failpoint.Hit("dshash/create/allocated")
	t := newCore(a, s, p)
	if err := t.contained(func() error { return t.formatTable(o) }); err != nil {
		return nil, errors.Join(err, free())
	}
	return t, t.orClosed(nil)
}

// newCore returns a core that knows its area and its handle only.
func newCore(a *dsa.Area, s shape, p dsa.Pointer) *core {
	return &core{shape: s, area: a, ends: a.View(), handle: p}
}

// formatTable makes an object a table. No other process knows it yet, unless by the word that owns it.
func (t *core) formatTable(o Options) error {
	b, err := t.area.Bytes(t.handle)
	if err != nil {
		return err
	}
	clear(b)
	if err := t.findHeader(); err != nil {
		return err
	}
	h, s := t.head, t.shape
	h.magic.Store(magic)
	h.form.Store(version<<8 | s.kind)
	h.keySize.Store(s.keySize)
	h.valueSize.Store(s.valueSize)
	h.layout.Store(s.layout)
	h.user.Store(o.Version)
	h.seed.Store(rand.Uint64())
	h.partitions.Store(uint32(o.Partitions))
	h.check.Store(h.sum())
	if err := t.openParts(o.Partitions); err != nil {
		return err
	}
	failpoint.Hit("dshash/create/laid-out")
	// Self comes last: a process that attaches earlier, or after this one has died here, finds an unfinished table,
	// ErrNotFound.
	h.self.Store(uint64(t.handle))
	return nil
}

// allocate returns an object of n bytes, with any content, and how to free it. The object belongs to the word at if that
// is a place, and otherwise to no one but the caller.
func allocate(a *dsa.Area, n int, at dsa.Place) (p dsa.Pointer, free func() error, err error) {
	if at == (dsa.Place{}) {
		p, err = a.Alloc(n)
		return p, func() error { return a.Free(p) }, err
	}
	err = a.AllocInto(n, at)
	return at.Pointer(), func() error { return a.FreeFrom(at) }, err
}

// attach finds the table at p, which must have shape s and the version of o. It may attach a segment.
func attach(a *dsa.Area, p dsa.Pointer, s shape, o Options) (*core, error) {
	t := newCore(a, s, p)
	err := t.contained(func() error { return t.joinTable(o) })
	if err = t.orClosed(err); err != nil {
		return nil, err
	}
	return t, nil
}

// joinTable checks the header of a table that was laid out by another process, and makes t that table. The bytes may be
// anything: no field is used before the checks, which come in an order that gives each cause its own error.
func (t *core) joinTable(o Options) error {
	if err := t.findHeader(); err != nil {
		return err
	}
	h, p, s := t.head, t.handle, t.shape
	n := int(h.partitions.Load())
	// The object's length, which the allocator knows, must fit the number of partitions: so no partition lies outside
	// of it.
	b, err := t.area.Bytes(p)
	switch {
	case err != nil:
		return err
	// Another object than a table, or one whose creator died before it began.
	case h.magic.Load() != magic:
		return corrupt("no table begins at %v", p)
	case h.form.Load()>>8 != version && h.form.Load() != 0:
		return errkind.OtherVersion(fmt.Sprintf("dshash: the table at %v", p), uint64(h.form.Load()>>8), version,
			"the processes that have it attached")
	case h.self.Load() != uint64(p):
		return errkind.As(ErrNotFound, fmt.Errorf("dshash: the table at %v is not finished yet, or destroyed", p))
	// A stray store has hit the header, or a wrong number of partitions would lead outside the object.
	case h.check.Load() != h.sum() || n < 1 || n > maxPartitions || n&(n-1) != 0 || len(b) != tableSize(n):
		return corrupt("the header of the table at %v is garbled", p)
	}
	if err := h.checkOptions(s, o); err != nil {
		return fmt.Errorf("dshash: the table at %v: %w", p, err)
	}
	return t.openParts(n)
}

// checkOptions returns ErrMismatch, with a text that names the first difference, unless the table is what this program
// takes it for.
func (h *header) checkOptions(s shape, o Options) error {
	for _, x := range []struct {
		what       string
		is, wanted uint64
	}{
		{"kind (1 fixed size, 2 bytes)", uint64(h.form.Load() & 0xff), uint64(s.kind)},
		{"size of keys", uint64(h.keySize.Load()), uint64(s.keySize)},
		{"size of values", uint64(h.valueSize.Load()), uint64(s.valueSize)},
		{"layout of the types", h.layout.Load(), s.layout},
		{"Options.Version", h.user.Load(), o.Version},
	} {
		if x.is != x.wanted {
			return fmt.Errorf("its %s is %#x, and %#x is asked for: %w", x.what, x.is, x.wanted, ErrMismatch)
		}
	}
	return nil
}

// sum returns the hash of the header's fields that check has. It tells a stray store; it is no protection against
// intent.
func (h *header) sum() uint64 {
	sum := uint64(magic)
	for _, v := range []uint64{
		uint64(h.form.Load()), uint64(h.keySize.Load()), uint64(h.valueSize.Load()), h.layout.Load(), h.user.Load(),
		h.seed.Load(), uint64(h.partitions.Load()),
	} {
		sum = hashing.Mix(sum^hashing.Odd0, v^hashing.Odd1)
	}
	return sum
}

// findHeader finds the header of the table's object. An object that is too short for one is an error.
func (t *core) findHeader() error {
	b, err := t.area.Bytes(t.handle)
	if err != nil {
		return fmt.Errorf("dshash: %w", err)
	}
	t.head, err = shm.At[header](shm.NewRegion(b), 0)
	return err
}

// openParts finds the n partitions and the reserve, and prepares what this process needs besides. Meet or formatTable
// has checked n.
func (t *core) openParts(n int) error {
	t.word = t.kind == kindFixed && t.keySize == 8
	t.cell = t.kind == kindFixed && storedAtOnce(int(t.valueSize), t.valueAt)
	t.long = max(longItem, n*partCost)
	t.seed, t.shift = t.head.seed.Load(), 63-bits.TrailingZeros(uint(n))
	b, err := t.area.Bytes(t.handle)
	if err != nil {
		return err
	}
	at := partitionsOffset(t.handle)
	if t.parts, err = shm.SliceOf[partition](shm.NewRegion(b), shm.Offset(at), n); err != nil {
		return err
	}
	if err := t.openReserve(b); err != nil {
		return err
	}
	t.local, t.seen = make([]local, n), make([]atomic.Pointer[view], n)
	self := t.area.Self()
	// Inside Session.Contain a hold may be given back by a fault, past this package: then this may have been the last
	// one.
	given := func() {
		if t.ends.Ended() {
			t.releaseLast()
		}
	}
	for i := range t.local {
		l := &t.local[i]
		l.t, l.i = t, i
		// The locks end with the area's view, but what is held then is given back by its guards: see ended.go.
		l.lock = shmsync.NewLWLockWithin(t.ends, &t.parts[i].lock, self)
		l.lock.OnFault(given)
		for k := range l.hands {
			if l.hands[k], err = t.area.Place(t.handle, at+i*partitionSize+handsAt+k*8); err != nil {
				return err
			}
		}
		if l.next, err = t.area.Place(t.handle, at+i*partitionSize+nextAt); err != nil {
			return err
		}
	}
	// Last: from here on a Detach calls leaveArea, which goes through all of local.
	t.watchEnd()
	return nil
}

// partOf returns the number of the partition that has the keys with hash h.
func (t *core) partOf(h uint64) int { return int(h >> 1 >> (t.shift & 63)) }

// count returns how many entries there are, by the counts of the partitions, each of which may be another moment's; 0
// after the end.
func (t *core) count() (n int) {
	err := t.contained(func() error {
		for i := range t.parts {
			n += int(t.parts[i].count.Load())
		}
		return nil
	})
	if t.orClosed(err) != nil {
		return 0
	}
	return n
}
