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
// It knows nothing of what the resources are. It does not wait for users of a resource, and an error in
// one release does not stop the others.
package resowner

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/rs/zerolog"
)

// ErrClosed says that the owner has ended. It is the same value as dsm.ErrClosed.
var ErrClosed = errkind.Closed

// Resource is what an Owner can release.
type Resource interface {
	// Release gives the resource up. It is called at most once for each Remember, after the owner has forgotten the
	// resource and with no lock held.
	Release() error
	// String names the resource in a warning about a leak.
	String() string
}

// Owner is a scope. Owners form a tree: one that ends ends its children first. All methods are safe for
// concurrent use.
type Owner struct {
	name  string
	log   zerolog.Logger
	sites bool // somebody will read where leaks were remembered

	mu       sync.Mutex
	parent   *Owner
	items    Item // head of a ring, oldest first
	children []*Owner
	ended    atomic.Bool // stored under mu
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

// Child returns a new owner that ends with o at the latest. ErrClosed if o has ended.
func (o *Owner) Child(name string) (*Owner, error) {
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

// EndWith makes o abort when ctx is over. Stop undoes that, as with context.AfterFunc.
func (o *Owner) EndWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		if err := o.Abort(); err != nil {
			o.log.Warn().Err(err).Str("owner", o.name).
				Msg("an owner that ended with its context could not release everything")
		}
	})
}

// Reserve is called before a resource is acquired: ErrClosed if the owner has ended, so that there is nothing to lose
// yet. It is no promise: an owner that ends afterwards refuses to Remember.
func (o *Owner) Reserve() error {
	if o.ended.Load() {
		return o.closed()
	}
	return nil
}

// Remember makes the owner release r when it ends. The item must not be in use, and must not move while it is.
// Skip says how many callers up the place is that a leak should be reported at; 0 is Remember's own caller. Its
// only error is ErrClosed: the owner has ended, and the caller releases r itself.
func (o *Owner) Remember(it *Item, r Resource, skip int) error {
	if o.sites {
		runtime.Callers(skip+2, it.site[:])
	}
	o.mu.Lock()
	if o.ended.Load() {
		o.mu.Unlock()
		return o.closed()
	}
	it.owner, it.resource = o, r
	it.prev, it.next = o.items.prev, &o.items
	it.prev.next, it.next.prev = it, it
	o.mu.Unlock()
	return nil
}

// Owner is who remembers the item, or last did; nil if nobody ever has.
func (it *Item) Owner() *Owner { return it.owner }

// Forget takes the item from its owner, which will not release it; false if it had none, as when the owner
// has ended or another goroutine was first. It must not run beside a Remember of the same item.
func (it *Item) Forget() bool {
	o := it.owner
	if o == nil {
		return false
	}
	o.mu.Lock()
	was := it.unlink()
	o.mu.Unlock()
	return was
}

// unlink is Forget under the owner's lock.
func (it *Item) unlink() bool {
	if it.next == nil {
		return false
	}
	it.prev.next, it.next.prev = it.next, it.prev
	it.prev, it.next, it.resource = nil, nil, nil
	return true
}

// Commit ends the owner after its work went well: then it should hold nothing any more, and what it does
// hold is reported as leaked before it is released. It returns the joined errors of releases. Ending twice is harmless.
func (o *Owner) Commit() error { return o.end(true) }

// Abort ends the owner after its work failed: children first, then what it holds, newest first. It returns the joined
// errors of releases. Ending twice is harmless.
func (o *Owner) Abort() error { return o.end(false) }

func (o *Owner) end(commit bool) error {
	o.mu.Lock()
	if o.ended.Load() {
		o.mu.Unlock()
		return nil
	}
	o.ended.Store(true) // nothing and nobody new from here on
	children := o.children
	o.children = nil
	o.mu.Unlock()

	var errs []error
	for i := len(children) - 1; i >= 0; i-- {
		errs = append(errs, children[i].end(commit))
	}
	for {
		r, site := o.newest()
		if r == nil {
			break
		}
		if commit {
			o.log.Warn().Str("owner", o.name).Str("resource", r.String()).Str("remembered_at", place(site)).
				Msg("a resource was not released before its owner committed")
		}
		errs = append(errs, release(r))
	}
	o.parent.drop(o)
	return errors.Join(errs...)
}

// newest forgets the item remembered last; nil if there is none.
func (o *Owner) newest() (r Resource, site uintptr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	it := o.items.prev
	if it == &o.items {
		return nil, 0
	}
	r, site = it.resource, it.site[0]
	it.unlink()
	return r, site
}

func (o *Owner) drop(child *Owner) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, c := range o.children {
		if c == child {
			o.children = append(o.children[:i], o.children[i+1:]...)
			return
		}
	}
}

// release survives a panic in a release function, which must not keep the rest from being released.
func release(r Resource) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("releasing %s: panic: %v", r, p)
		}
	}()
	return r.Release()
}

func (o *Owner) closed() error {
	return errkind.As(ErrClosed, fmt.Errorf("owner %q has ended", o.name))
}

// place is a program counter's file and line.
func place(pc uintptr) string {
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}
