package locktable

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	scopes "github.com/godsm/godsm/internal/scope"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/roster"
	"github.com/godsm/godsm/shm/shmsync"
	"github.com/godsm/godsm/shm/waitqueue"
)

// Mode is how a lock is held.
type Mode = waitqueue.Mode

// The modes. Shared and Exclusive are what most programs use; the intent modes are what the parents of a path are held
// in, and SharedIntent is for one who reads all that is below a name and changes some of it.
const (
	IntentShared    = waitqueue.IntentShared
	IntentExclusive = waitqueue.IntentExclusive
	Shared          = waitqueue.Shared
	SharedIntent    = waitqueue.SharedIntent
	Exclusive       = waitqueue.Exclusive
)

// Options are this process's, of a table. Zeros mean the defaults.
type Options struct {
	// DeadlockAfter is how long a waiter waits before it looks for a cycle; 200 ms. Negative: it never looks.
	DeadlockAfter time.Duration
	// OnWait is called, in a goroutine of its own, when a wait has lasted for a second: with what is waited for and
	// who is in the way. Nil: nothing is called.
	OnWait func(WaitError)
	// Application is what others see of this process beside its pid: 40 bytes at most. Open has the session's by
	// default.
	Application string
}

// Table is a table of locks as one session sees it. Its methods are safe for concurrent use.
type Table struct {
	*Looker
	area   *dsa.Area
	self   shmsync.Self
	o      Options
	handle dsa.Pointer
	id     uint64
	seat   *seat
	parts  [partitions]local

	view    ends      // ends with the area, the session, or Close
	mapped  *shm.View // the area's
	unhook  []func()
	lost    chan struct{} // closed at the end
	close   sync.Once
	end     func()        // ends what Open has made; nil: there is nothing
	numbers atomic.Uint32 // of holds and records
	pool    sync.Pool     // *hold
	find    func(waitqueue.Ref) *waitqueue.Record

	mu      sync.RWMutex
	intents map[string]*intent
	crowded atomic.Bool // there are more intents than may be idle
	names   names
	asks    asks
}

// ends is the view of a table. The zero Table's has ended.
type ends struct{ *shm.View }

func (e ends) Ended() bool { return e.View == nil || e.View.Ended() }

// Create makes an empty table in the area and joins it. Others attach it by Handle.
func Create(a *dsa.Area, o Options) (t *Table, err error) {
	defer func() {
		if err != nil {
			err = a.View().Answer(err)
		}
	}()
	defer fault.Return(&err, fault.Catch())
	list, err := roster.Create[seat, waitqueue.Record](a)
	if err != nil {
		return nil, err
	}
	ref, h, err := dsa.New[root](a)
	if err != nil {
		return nil, fmt.Errorf("locktable: make a table: %w", err)
	}
	h.version.Store(version)
	h.id.Store(rand.Uint64())
	h.seed.Store(rand.Uint64())
	h.roster.Store(uint64(list.Handle()))
	failpoint.Hit("locktable/create/laid-out")
	h.magic.Store(magic)
	return attach(context.Background(), a, dsa.Pointer(ref), h, list, o)
}

// Attach finds the table that Create has made, and joins it. A session attaches a table once at a time.
func Attach(a *dsa.Area, handle dsa.Pointer, o Options) (*Table, error) {
	return attachIn(context.Background(), a, handle, o)
}

// attachIn does what Attach does, and ends with ctx: a process that is stopped may have the lock of a partition that
// is to be swept.
func attachIn(ctx context.Context, a *dsa.Area, handle dsa.Pointer, o Options) (*Table, error) {
	h, list, err := findTable(a, handle)
	if err != nil {
		return nil, err
	}
	return attach(ctx, a, handle, h, list, o)
}

// findTable returns a table's parts, without joining it.
func findTable(a *dsa.Area, handle dsa.Pointer) (h *root, list *roster.Roster[seat, waitqueue.Record], err error) {
	if h, err = rootIn(roster.In(a), handle); err != nil {
		return nil, nil, err
	}
	defer fault.Return(&err, fault.Catch())
	list, err = roster.Attach[seat, waitqueue.Record](a, dsa.Pointer(h.roster.Load()))
	return h, list, err
}

// rootIn returns the root of a table.
func rootIn(bytes roster.Bytes, handle dsa.Pointer) (h *root, err error) {
	defer fault.Return(&err, fault.Catch())
	b, err := bytes(handle, shm.Size[root]())
	if err == nil {
		h, err = shm.At[root](shm.NewRegion(b), 0)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("locktable: %w", err)
	case h.magic.Load() != magic:
		return nil, corrupt("the object begins with %#x and not with a table", h.magic.Load())
	case h.version.Load() != version:
		return nil, errkind.OtherVersion("locktable: the table", h.version.Load(), version, "the processes that have it attached")
	}
	return h, nil
}

func newTable(a *dsa.Area, view *shm.View, handle dsa.Pointer, h *root, list *roster.Roster[seat, waitqueue.Record], o Options) *Table {
	if o.DeadlockAfter == 0 {
		o.DeadlockAfter = 200 * time.Millisecond
	}
	t := &Table{
		Looker: &Looker{bytes: roster.In(a), over: a.View().Err, root: h, seed: h.seed.Load(), roster: list},
		area:   a,
		self:   a.Self(), o: o, handle: handle, id: h.id.Load(),
		view: ends{view}, mapped: a.View(), lost: make(chan struct{}), intents: map[string]*intent{},
	}
	t.find, t.names.seed = t.recordAt, maphash.MakeSeed()
	t.pool.New = func() any {
		h := &hold{t: t}
		h.count.Store(1)
		return h
	}
	t.numbers.Store(rand.Uint32())
	return t
}

var partType, headType = reflect.TypeFor[part](), reflect.TypeFor[head]()

func offsetOfField(t reflect.Type, field string) int {
	f, _ := t.FieldByName(field)
	return int(f.Offset)
}

var (
	partsAt   = offsetOfField(reflect.TypeFor[root](), "parts")
	partSize  = int(partType.Size())
	dirsAt    = offsetOfField(partType, "dirs")
	bucketsAt = offsetOfField(partType, "buckets")
	comingAt  = offsetOfField(partType, "coming")
	longAt    = offsetOfField(headType, "long")
	epitaphAt = offsetOfField(headType, "epitaph")
)

func attach(ctx context.Context, a *dsa.Area, handle dsa.Pointer, h *root, list *roster.Roster[seat, waitqueue.Record],
	o Options) (t *Table, err error) {
	view := a.View().Sub()
	defer func() {
		if err != nil {
			err = view.Answer(err)
			view.End()
		}
	}()
	defer fault.Return(&err, fault.Catch())
	t = newTable(a, view, handle, h, list, o)
	lost := t.lost
	t.unhook = append(t.unhook, view.OnEnd(func() { close(lost) }))
	for i := range t.parts {
		l := &t.parts[i]
		l.t, l.i, l.p, l.numbers = t, i, &h.parts[i], rand.Uint32()
		l.lock = shmsync.NewLWLockUnder(t.view.View, &l.p.lock, t.self)
	}
	if who, _, ok := list.Seat(t.self.Row); ok && who == t.self.Peer {
		return nil, errkind.As(errkind.InUse, errors.New("locktable: the session has joined this table already: a session has one Table"))
	}
	if t.seat, err = list.Join(func(dead shmsync.Peer) error { return t.sweep(ctx, dead) }); err != nil {
		return nil, fmt.Errorf("locktable: join: %w", err)
	}
	t.seat.pid.Store(uint64(os.Getpid()))
	storeText(t.seat.app[:], o.Application)
	if t.self.OnDeath != nil {
		t.unhook = append(t.unhook, t.self.OnDeath(t.sweepSoon))
	}
	var rows []int // of sessions that died while no one had the table open
	for row := range list.Rows() {
		rows = append(rows, row)
	}
	t.sweepDead(ctx, rows)
	// Of an area that is detached before Close was called, the bytes go when no goroutine uses them without a lease of
	// the area.
	t.unhook = append(t.unhook, a.OnDetach(func() { t.view.End(); t.waitRecordsUnused() }))
	return t, t.view.Answer(nil)
}

// Handle names the table for Attach.
func (t *Table) Handle() dsa.Pointer { return t.handle }

// Lost returns a channel that is closed when what is held of the table is held no more: after Close, at the end of the
// session, of its generation, or of the area.
func (t *Table) Lost() <-chan struct{} {
	if t.lost == nil {
		over := make(chan struct{})
		close(over)
		return over
	}
	return t.lost
}

// Close ends this session's use of the table: waits end with ErrClosed, and what is still held is given back as by a
// holder that died with it, since what it guards may be half-written. Closing twice is harmless.
func (t *Table) Close() {
	if t.view.View == nil {
		return
	}
	if t.end != nil {
		t.end()
		return
	}
	t.closeTable()
}

// closeTable is Close for the table alone, without its area.
func (t *Table) closeTable() {
	t.close.Do(func() {
		for _, f := range t.unhook[1:] {
			f()
		}
		t.view.End()
		t.waitRecordsUnused()
		if t.releaseAll() == nil {
			_ = fault.Contain(func() error { t.roster.Leave(); return nil })
		}
	})
}

// withOwnRecords runs f, which uses records of this session, or heads that it holds, without a partition's lock. Close
// waits for its end; after that it is ErrClosed without a call of f, since they may be another session's. A fault ends
// f, and is an error. F is for some instructions, and for no call that blocks.
func (t *Table) withOwnRecords(f func()) (err error) {
	if t.view.View == nil {
		return t.closed()
	}
	lease, err := t.view.Enter()
	if err != nil {
		return t.closed()
	}
	defer lease.Leave()
	defer t.answer(&err, fault.Catch())
	failpoint.Hit("locktable/own/inside")
	f()
	return nil
}

// bare reports whether some instructions on a word that a record of this session keeps, which Close waits for, may run
// outside of a fault scope: they are a part of the quickest calls, and a scope would double what those cost. Without
// one a truncated object ends the process, as with a bare LWLock. In checked mode, and as long as a Session.Contain
// runs, they have a scope.
func (t *Table) bare() bool { return !t.self.Checked && scopes.Quiet() }

// contained reports whether f returns true: it is false, too, if f meets a fault.
func contained(f func() bool) (is bool) {
	_ = fault.Contain(func() error { is = f(); return nil })
	return is
}

// waitRecordsUnused waits, after the end of the view, until no goroutine uses records or heads without a partition's
// lock.
func (t *Table) waitRecordsUnused() {
	left := make(chan struct{})
	t.view.Drain(func() { close(left) })
	<-left
	t.names.waitHeadsUnused()
	t.mu.RLock()
	list := slices.Collect(maps.Values(t.intents))
	t.mu.RUnlock()
	for _, i := range list {
		i.releaseAtEnd()
	}
}

// releaseAll gives back what this session has of the table.
func (t *Table) releaseAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // others do the rest when the session has ended
	defer cancel()
	return t.sweep(ctx, t.self.Peer)
}

// answer ends the scope of a call that began with fault.Catch, and makes its answer: a fault, a pointer in shared
// memory that leads nowhere, or an object that was written past, is ErrCorrupt, and once the table has ended every error is ErrClosed, since bytes that were
// read after the end mean nothing.
func (t *Table) answer(err *error, was bool) {
	fault.Restore(err, was, recover())
	if errors.Is(*err, dsa.ErrPointer) || errors.Is(*err, dsa.ErrOverrun) { // an object of the table's own
		*err = errkind.As(ErrCorrupt, *err)
	}
	if *err != nil && t.view.Ended() && !errors.Is(*err, ErrClosed) {
		*err = t.closed()
	}
}

func (t *Table) closed() error {
	if err := t.view.Err(); err != nil && t.mapped.Err() != nil {
		return fmt.Errorf("locktable: %w", err)
	}
	return errkind.As(ErrClosed, errors.New("locktable: the table is closed"))
}

// number returns a number for one use of a hold, another one each time.
func (t *Table) number() uint32 { return t.numbers.Add(1) }
