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
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/shmsync"
)

// Kinds of failure. They match with errors.Is. What the area says comes through: its limit, no space, detached.
var (
	ErrCorrupt  = shm.ErrCorrupt
	ErrSize     = errkind.Size     // not a size that a key, a value or a table can have
	ErrNotFound = errkind.NotFound // there is no table

	// ErrMismatch: the table is there, but of another kind, of other types or of another Options.Version.
	ErrMismatch = errkind.Mismatch
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
	handle dsa.Pointer
	head   *header
	seed   uint64
	shift  int         // of a hash, for the partition, after one by 1
	word   bool        // keys are of 8 bytes, all of them
	parts  []partition // in shared memory
	local  []local     // of each partition
}

// local is what this process needs for a partition beside its words.
type local struct {
	t      *core
	i      int // its number
	lock   *shmsync.LWLock
	seen   atomic.Pointer[view]
	hands  [2]dsa.Place
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
	t := &core{shape: s, area: a, handle: p}
	if err := t.bind(); err != nil {
		return nil, errors.Join(err, free())
	}
	h := t.head
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
		return nil, errors.Join(err, free())
	}
	failpoint.Hit("dshash/create/laid-out")
	h.self.Store(uint64(p))
	return t, nil
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
	t := &core{shape: s, area: a, handle: p}
	if err := t.bind(); err != nil {
		return nil, err
	}
	h := t.head
	n := int(h.partitions.Load())
	b, err := a.Bytes(p)
	switch {
	case err != nil:
		return nil, err
	case h.magic.Load() != magic:
		return nil, corrupt("no table begins at %v", p)
	case h.self.Load() != uint64(p):
		return nil, errkind.As(ErrNotFound, fmt.Errorf("dshash: the table at %v is not finished yet, or destroyed", p))
	case h.form.Load()>>8 != version:
		return nil, fmt.Errorf("dshash: the table at %v is laid out by version %d, and this program knows %d: %w",
			p, h.form.Load()>>8, version, ErrMismatch)
	case h.check.Load() != h.sum() || n < 1 || n > maxPartitions || n&(n-1) != 0 || len(b) != tableSize(n):
		return nil, corrupt("the header of the table at %v is garbled", p)
	}
	if err := h.agrees(s, o); err != nil {
		return nil, fmt.Errorf("dshash: the table at %v: %w", p, err)
	}
	return t, t.open(n)
}

// VerifyAt is Verify of the table with that handle, whatever its types: for programs that know none.
func VerifyAt(ctx context.Context, a *dsa.Area, handle dsa.Pointer) (Report, error) {
	t := &core{area: a, handle: handle}
	if err := t.bind(); err != nil {
		return Report{}, err
	}
	k, v := t.head.keySize.Load(), t.head.valueSize.Load()
	s := shape{
		kind: t.head.form.Load() & 0xff, keySize: k, valueSize: v, valueAt: int(k),
		size: int(k) + int(v), layout: t.head.layout.Load(),
	}
	t, err := attach(a, handle, s, Options{Version: t.head.user.Load()}) // which checks all that
	if err != nil {
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
		sum = mix(sum^odd0, v^odd1)
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
	t.seed, t.shift = t.head.seed.Load(), 63-bits.TrailingZeros(uint(n))
	b, err := t.area.Bytes(t.handle)
	if err != nil {
		return err
	}
	at := partitionsAt(t.handle)
	if t.parts, err = shm.SliceOf[partition](shm.NewRegion(b), shm.Offset(at), n); err != nil {
		return err
	}
	t.local = make([]local, n)
	self, view := t.area.Self(), shm.ViewAt(&t.parts[0])
	for i := range t.local {
		l := &t.local[i]
		l.t, l.i = t, i
		l.lock = shmsync.NewLWLockUnder(view, &t.parts[i].lock, self)
		for k := range l.hands {
			if l.hands[k], err = t.area.Place(t.handle, at+i*partitionSize+handsAt+k*8); err != nil {
				return err
			}
		}
	}
	return nil
}

// part is the partition of a hash.
func (t *core) part(h uint64) int { return int(h >> 1 >> (t.shift & 63)) }

// count is how many entries there are.
func (t *core) count() (n int) {
	for i := range t.parts {
		n += int(t.parts[i].count.Load())
	}
	return n
}
