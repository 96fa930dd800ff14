package dshash

import (
	"context"
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

// Kinds of failure. They match with errors.Is. What the area says comes through: its limit, no space, detached.
var (
	ErrCorrupt  = shm.ErrCorrupt
	ErrSize     = errkind.Size     // not a size that a key, a value or a table can have
	ErrNotFound = errkind.NotFound // there is no table
	ErrClosed   = errkind.Closed   // after the end of the area, by Detach or with its session

	// ErrMismatch: the table is there, but of another kind, of other types or of another Options.Version.
	ErrMismatch = errkind.Mismatch
	ErrVersion  = errkind.Version // the table has another layout version; the text says which program to upgrade
	// ErrShared: the entry is held shared, or no longer, and can't be changed.
	ErrShared = errors.New("the entry is not held exclusively")
)

// Options are a table's. Zeros mean the defaults.
type Options struct {
	// Partitions is how many locks the table has, and how many sessions can change it at the same time at best: a
	// power of two, 128, at most 65536. For Create.
	Partitions int
	// Version is the program's own, of what it means by keys and values. Who attaches must name the same.
	Version uint64
}

// core is a table of bytes, as this process sees it: what Table and Bytes have in common.
type core struct {
	shape
	area   *dsa.Area
	ends   *shm.View // the area's
	last   last
	handle dsa.Pointer
	head   *header
	seed   uint64
	shift  int         // of a hash, for the partition, after one by 1
	word   bool        // keys are of 8 bytes, all of them
	cell   bool        // a value is a word, or nothing: one store changes it
	parts  []partition // in shared memory
	local  []local     // of each partition
	spared spared
}

// unmade is what the zero Table and the zero Bytes are: an empty table whose area has ended.
var unmade = func() *core {
	t := &core{area: &dsa.Area{}, shift: 63, parts: make([]partition, 1), local: make([]local, 1)}
	t.ends, t.local[0].t, t.local[0].lock = t.area.View(), t, &shmsync.LWLock{}
	return t
}()

// local is what this process needs for a partition beside its words.
type local struct {
	t      *core
	i      int // its number
	lock   *shmsync.LWLock
	seen   atomic.Pointer[view]
	hands  [2]dsa.Place
	next   dsa.Place
	spare  spare
	change change // of who holds the lock exclusively
	scan   bool   // this is what a scan's entries have, which do not give back the lock
}

// create makes a table, in the word at if there is one.
func create(a *dsa.Area, s shape, o Options, at dsa.Place) (*core, error) {
	if o.Partitions == 0 {
		o.Partitions = 128
	}
	if o.Partitions < 1 || o.Partitions > maxPartitions || o.Partitions&(o.Partitions-1) != 0 {
		return nil, errkind.As(ErrSize,
			fmt.Errorf("dshash: %d partitions: a table has a power of two up to %d", o.Partitions, maxPartitions))
	}
	p, free, err := blank(a, tableSize(o.Partitions), at)
	if err != nil {
		return nil, fmt.Errorf("dshash: create a table: %w", err)
	}
	failpoint.Hit("dshash/create/allocated")
	t := newCore(a, s, p)
	if err := t.contained(func() error { return t.layOut(o) }); err != nil {
		return nil, errors.Join(err, free())
	}
	return t, t.answer(nil)
}

func newCore(a *dsa.Area, s shape, p dsa.Pointer) *core {
	return &core{shape: s, area: a, ends: a.View(), handle: p}
}

// layOut makes an object that is all zero a table.
func (t *core) layOut(o Options) error {
	if err := t.bind(); err != nil {
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
	if err := t.open(o.Partitions); err != nil {
		return err
	}
	failpoint.Hit("dshash/create/laid-out")
	h.self.Store(uint64(t.handle))
	return nil
}

// blank is n zero bytes, in the word at if there is one.
func blank(a *dsa.Area, n int, at dsa.Place) (p dsa.Pointer, free func() error, err error) {
	if at == (dsa.Place{}) {
		p, err = a.AllocZeroed(n)
		return p, func() error { return a.Free(p) }, err
	}
	if err = a.AllocInto(n, at); err != nil {
		return 0, nil, err
	}
	p = at.Pointer()
	b, err := a.Bytes(p)
	clear(b)
	return p, func() error { return a.FreeFrom(at) }, err
}

func attach(a *dsa.Area, p dsa.Pointer, s shape, o Options) (*core, error) {
	t := newCore(a, s, p)
	err := t.contained(func() error { return t.meet(o) })
	if err = t.answer(err); err != nil {
		return nil, err
	}
	return t, nil
}

// meet finds a table that is laid out already.
func (t *core) meet(o Options) error {
	if err := t.bind(); err != nil {
		return err
	}
	h, p, s := t.head, t.handle, t.shape
	n := int(h.partitions.Load())
	b, err := t.area.Bytes(p)
	switch {
	case err != nil:
		return err
	case h.magic.Load() != magic:
		return corrupt("no table begins at %v", p)
	case h.form.Load()>>8 != version && h.form.Load() != 0:
		return errkind.OtherVersion(fmt.Sprintf("dshash: the table at %v", p), uint64(h.form.Load()>>8), version,
			"the processes that have it attached")
	case h.self.Load() != uint64(p):
		return errkind.As(ErrNotFound, fmt.Errorf("dshash: the table at %v is not finished yet, or destroyed", p))
	case h.check.Load() != h.sum() || n < 1 || n > maxPartitions || n&(n-1) != 0 || len(b) != tableSize(n):
		return corrupt("the header of the table at %v is garbled", p)
	}
	if err := h.agrees(s, o); err != nil {
		return fmt.Errorf("dshash: the table at %v: %w", p, err)
	}
	return t.open(n)
}

// VerifyAt is Verify of the table with that handle, whatever its types: for programs that know none.
func VerifyAt(ctx context.Context, a *dsa.Area, handle dsa.Pointer) (Report, error) {
	t := newCore(a, shape{}, handle)
	var s shape
	var o Options
	err := t.contained(func() error {
		if err := t.bind(); err != nil {
			return err
		}
		k, v := t.head.keySize.Load(), t.head.valueSize.Load()
		s = shape{
			kind: t.head.form.Load() & 0xff, keySize: k, valueSize: v, valueAt: int(k),
			size: int(k) + int(v), layout: t.head.layout.Load(),
		}
		o.Version = t.head.user.Load()
		return nil
	})
	if err = t.answer(err); err != nil {
		return Report{}, err
	}
	if s.kind != kindFixed && s.kind != kindBytes || s.keySize > maxFixed || s.valueSize > maxFixed {
		return Report{}, corrupt("no table begins at %v", handle)
	}
	if t, err = attach(a, handle, s, o); err != nil { // which checks all that
		return Report{}, err
	}
	return t.verify(ctx)
}

// agrees compares what the table is with what this program takes it for.
func (h *header) agrees(s shape, o Options) error {
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

// bind finds the header.
func (t *core) bind() error {
	b, err := t.area.Bytes(t.handle)
	if err != nil {
		return fmt.Errorf("dshash: %w", err)
	}
	t.head, err = shm.At[header](shm.NewRegion(b), 0)
	return err
}

// open finds the partitions.
func (t *core) open(n int) error {
	t.word = t.kind == kindFixed && t.keySize == 8
	t.cell = t.kind == kindFixed && isCell(int(t.valueSize), t.valueAt)
	t.seed, t.shift = t.head.seed.Load(), 63-bits.TrailingZeros(uint(n))
	b, err := t.area.Bytes(t.handle)
	if err != nil {
		return err
	}
	at := partitionsAt(t.handle)
	if t.parts, err = shm.SliceOf[partition](shm.NewRegion(b), shm.Offset(at), n); err != nil {
		return err
	}
	if err := t.openReserve(b); err != nil {
		return err
	}
	t.local = make([]local, n)
	self := t.area.Self()
	given := func() {
		if t.ends.Ended() {
			t.settleLast()
		}
	}
	for i := range t.local {
		l := &t.local[i]
		l.t, l.i = t, i
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
	t.watch()
	return nil
}

// part returns the partition of a hash.
func (t *core) part(h uint64) int { return int(h >> 1 >> (t.shift & 63)) }

// count returns how many entries there are; 0 after the end.
func (t *core) count() (n int) {
	err := t.contained(func() error {
		for i := range t.parts {
			n += int(t.parts[i].count.Load())
		}
		return nil
	})
	if t.answer(err) != nil {
		return 0
	}
	return n
}
