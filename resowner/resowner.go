// Package resowner ties the life of resources to scopes: what an Owner remembers is released when it ends, however
// that comes about. It is PostgreSQL's ResourceOwner without phases, priorities and a current owner, and for many
// goroutines.
//
//	owner, err := session.Owner().Child("import")
//	if err != nil { ... }
//	defer owner.Abort()
//	...
//	return owner.Commit()
//
// It knows nothing of what the resources are. It does not wait for users of a resource. An error or a panic in one
// release does not stop the others, and neither does runtime.Goexit.
//
// Locks: an owner's mutex before its children's; no lock is held while a release runs.
package resowner

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/leaksite"
	"github.com/rs/zerolog"
)

// ErrClosed says that the owner has ended. It is the same value as dsm.ErrClosed.
var ErrClosed = errkind.Closed

// Resource is what an Owner can release.
type Resource interface {
	// Release gives the resource up. It is called at most once for each Remember, after the owner has forgotten the
	// resource and with no lock held, by the goroutine that ends the owner. A panic in it is an error. If it calls
	// runtime.Goexit, that goroutine ends as it would anywhere, once the owner has ended.
	Release() error
	// String names the resource in warnings and errors. It is called before Release.
	String() string
}

// Owner is a scope. Owners form a tree: one that ends ends its children first. All methods are safe for
// concurrent use. The zero Owner is one without a parent; a nil one, as of a Session that was not opened, has ended.
type Owner struct {
	name  string
	log   zerolog.Logger
	sites bool // a process will read where leaks were remembered

	parent *Owner
	ended  atomic.Bool // the end has begun; stored under mu

	mu       sync.Mutex
	items    Item // head of a ring, oldest first
	children []*Owner
	stops    map[*func() bool]struct{} // of EndWith
	end      *end                      // nil until the end begins
}

// Item is an Owner's memory of one resource. It is made to be a field of the resource, so that remembering
// allocates nothing. The zero Item is ready; one that was forgotten may be used again.
type Item struct {
	prev, next *Item
	owner      *Owner
	resource   Resource
	site       [1]uintptr
}

// New returns an owner without a parent. Leaks are reported to log as warnings; a zero Logger is silent.
func New(name string, log zerolog.Logger) *Owner {
	o := &Owner{name: name, log: log, sites: log.Warn().Enabled()}
	o.items.prev, o.items.next = &o.items, &o.items
	return o
}

// Child returns a new owner that ends when o ends, or earlier. ErrClosed if o has ended.
func (o *Owner) Child(name string) (*Owner, error) {
	if o == nil {
		return nil, o.closed()
	}
	c := New(name, o.log)
	c.parent = o
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended.Load() {
		return nil, o.closed()
	}
	o.children = append(o.children, c)
	return c, nil
}

// Reserve is called before a resource is acquired: ErrClosed if the owner has ended, so that there is nothing to lose
// yet. It is no promise: an owner that ends afterwards refuses to Remember.
func (o *Owner) Reserve() error {
	if o == nil || o.ended.Load() {
		return o.closed()
	}
	return nil
}

// Remember makes the owner release r when it ends. The item must not be in use, and must not move while it is. A leak
// is reported at the line that calls Remember. Its only error is ErrClosed: the owner has ended, and the caller releases r
// itself.
func (o *Owner) Remember(it *Item, r Resource) error { return o.remember(it, r, 1) }

func init() {
	leaksite.Remember = func(owner, item, resource any, up int) error {
		return owner.(*Owner).remember(item.(*Item), resource.(Resource), up+1)
	}
}

// remember does what Remember does, for a leak that is reported so many callers above its own caller.
func (o *Owner) remember(it *Item, r Resource, up int) error {
	if o == nil {
		return o.closed()
	}
	if o.sites {
		runtime.Callers(up+2, it.site[:])
	}
	o.mu.Lock()
	if o.ended.Load() {
		o.mu.Unlock()
		return o.closed()
	}
	if o.items.prev == nil { // the zero Owner
		o.items.prev, o.items.next = &o.items, &o.items
	}
	it.owner, it.resource = o, r
	it.prev, it.next = o.items.prev, &o.items
	it.prev.next, it.next.prev = it, it
	o.mu.Unlock()
	return nil
}

// Owner returns who remembers the item, or last did; nil if no process ever has.
func (it *Item) Owner() *Owner { return it.owner }

// Forget takes the item from its owner, which will not release it any more. It reports whether the item had an owner: it has
// none if that has ended, or if another goroutine was first. Forget must not run at the same time as a Remember of the same
// item.
func (it *Item) Forget() bool {
	o := it.owner
	if o == nil {
		return false
	}
	o.mu.Lock()
	was := it.unlinkLocked()
	o.mu.Unlock()
	return was
}

// unlinkLocked takes the item out of its owner's list, and reports whether it was in one. The caller holds Owner.mu.
func (it *Item) unlinkLocked() bool {
	if it.next == nil {
		return false
	}
	it.prev.next, it.next.prev = it.next, it.prev
	it.prev, it.next, it.resource = nil, nil, nil
	return true
}

// newest forgets the item remembered last; nil if there is none.
func (o *Owner) newest() (r Resource, site uintptr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	it := o.items.prev
	if it == nil || it == &o.items {
		return nil, 0
	}
	r, site = it.resource, it.site[0]
	it.unlinkLocked()
	return r, site
}

// youngest returns the child made last; nil if there is none.
func (o *Owner) youngest() *Owner {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.children) == 0 {
		return nil
	}
	return o.children[len(o.children)-1]
}

// drop forgets a child, and reports whether it was one still.
func (o *Owner) drop(child *Owner) bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := len(o.children) - 1; i >= 0; i-- {
		if o.children[i] == child {
			o.children = append(o.children[:i], o.children[i+1:]...)
			return true
		}
	}
	return false
}

func (o *Owner) closed() error {
	if o == nil {
		return errkind.As(ErrClosed, errors.New("a nil owner has ended: it is that of a session that was not opened"))
	}
	return errkind.As(ErrClosed, fmt.Errorf("owner %q has ended", o.name))
}

// Commit ends the owner after its work went well: then it should hold nothing any more, and what it does hold is
// reported as leaked before it is released. Children end first, the youngest before its elders; then what the owner
// holds is released, newest first. Commit returns the joined errors of releases.
//
// Ending twice is harmless: the second call waits until the first one is through and returns nil. Two calls would wait
// for ever; they return ErrDeadlock with the name of the resource instead. A call from inside a release of the owner,
// or of an owner below it, does so at once and changes nothing. A call of another goroutine does so after it has waited
// a second for one release, since that release may wait for the caller. The end of an owner whose child is being
// ended by another goroutine waits as long for the child, then goes on without it, and the error says so: what the owner
// holds is released then before what its child holds yet, which is the one exception from that order. The goroutine that
// ends the child releases that once its release has returned.
func (o *Owner) Commit() error { return o.endOwner(true) }

// Abort ends the owner after its work failed, as Commit does but for the reports of leaks.
func (o *Owner) Abort() error { return o.endOwner(false) }

// leaked reports what an owner still holds when it commits. A logger that panics keeps nothing from being released.
func (o *Owner) leaked(what string, site uintptr) {
	defer func() { _ = recover() }()
	o.log.Warn().Str("owner", o.name).Str("resource", what).Str("remembered_at", place(site)).
		Str("event", "resource-leaked").Msg("a resource was not released before its owner committed")
}

// warn tells what can't be returned.
func (o *Owner) warn(err error, message string) {
	defer func() { _ = recover() }()
	o.log.Warn().Err(err).Str("owner", o.name).Str("event", "owner-release").Msg(message)
}

// place returns a program counter's file and line.
func place(pc uintptr) string {
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}

// releaseResource releases r and adds its error. Neither a panic nor runtime.Goexit in it keeps its error from being known.
func releaseResource(r Resource, what string, errs *[]error) {
	err := errors.New("it called runtime.Goexit")
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil {
			*errs = append(*errs, fmt.Errorf("releasing %s: %w", what, err))
		}
	}()
	err = r.Release()
}

// resourceName returns the resource's, whatever its String does.
func resourceName(r Resource) string { return fmt.Sprint(r) }
