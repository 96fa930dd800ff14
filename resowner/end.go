package resowner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/goid"
)

// ErrDeadlock says that the end of an owner would wait for the caller itself. It is the same value as dsm.ErrDeadlock.
var ErrDeadlock = errkind.Deadlock

// patience is how long a goroutine that comes second waits for one release of the first.
const patience = time.Second

// end is the end of one owner, for those that come second.
type end struct {
	by   *ender
	over chan struct{} // closed when the owner has ended
}

// ender is a goroutine that ends an owner and, with it, those below.
type ender struct {
	goroutine uint64 // 0 if there is nothing to release

	mu    sync.Mutex
	what  string    // is being released
	since time.Time // when that began
}

// MayEnd returns ErrDeadlock if the caller runs inside a release of o, or of an owner below it: the end of o would wait
// for the caller itself. Commit and Abort ask it; so does a caller for which the end of the owner is not the first step.
func (o *Owner) MayEnd() error {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	idle := o.end == nil && len(o.children) == 0
	o.mu.Unlock()
	if idle {
		return nil
	}
	if by := o.ending(goid.Current()); by != nil {
		what, _ := by.now()
		return errkind.As(ErrDeadlock, fmt.Errorf("owner %q can't be ended: the call comes from inside the release of %s, "+
			"which the end would wait for; end it after the release has returned", o.name, what))
	}
	return nil
}

// ending returns the ender of o, or of an owner below it, that is the goroutine; nil if there is none.
func (o *Owner) ending(goroutine uint64) *ender {
	if goroutine == 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != nil && o.end.by.goroutine == goroutine && !o.end.isOver() {
		return o.end.by
	}
	for _, c := range o.children {
		if by := c.ending(goroutine); by != nil {
			return by
		}
	}
	return nil
}

func (o *Owner) endOwner(commit bool) error {
	if err := o.MayEnd(); err != nil {
		return err
	}
	if o == nil {
		return nil
	}
	return o.endBy(&ender{what: "what it holds"}, commit)
}

// endBy ends o, or waits for the goroutine that does.
func (o *Owner) endBy(by *ender, commit bool) (err error) {
	first, e := o.begin(by)
	if !first {
		return o.await(e, by)
	}
	var errs []error
	returns := false
	defer func() {
		o.parent.drop(o)
		o.mu.Lock()
		stops := o.stops
		o.stops = nil
		o.mu.Unlock()
		for stop := range stops {
			(*stop)()
		}
		close(e.over)
		if err = errors.Join(errs...); err != nil && !returns { // no process gets it
			o.warn(err, "an owner whose release called runtime.Goexit could not release everything")
		}
	}()
	o.releaseAll(by, commit, &errs)
	returns = true
	return nil
}

// begin lets the first caller end o. From then on nothing new comes.
func (o *Owner) begin(by *ender) (first bool, e *end) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != nil {
		return false, o.end
	}
	if by.goroutine == 0 && (len(o.children) > 0 || o.items.next != &o.items) {
		by.goroutine = goid.Current()
	}
	o.ended.Store(true)
	o.end = &end{by: by, over: make(chan struct{})}
	return true, o.end
}

// releaseAll ends the children and releases what o holds. A release that calls runtime.Goexit ends this function, and
// its deferred call does the rest: the owner ends on the goroutine that ends it, and that goroutine ends as it would
// have without owners. (Releases on a goroutine of their own would cost each end a goroutine, and take from
// t.FailNow in a release that it ends the test.)
func (o *Owner) releaseAll(by *ender, commit bool, errs *[]error) {
	through := false
	defer func() {
		if !through {
			o.releaseAll(by, commit, errs)
		}
	}()
	for c := o.youngest(); c != nil; c = o.youngest() {
		err := c.endBy(by, commit)
		if o.drop(c) && err != nil { // it does so itself, unless it was waited for in vain
			err = fmt.Errorf("owner %q ends without waiting any longer for its child, whose resources are released "+
				"once that release returns, after those of %q: %w", o.name, o.name, err)
		}
		*errs = append(*errs, err)
	}
	for r, site := o.newest(); r != nil; r, site = o.newest() {
		what := resourceName(r)
		by.begin(what)
		if commit {
			o.leaked(what, site)
		}
		releaseResource(r, what, errs)
	}
	through = true
}

// await waits for another goroutine's end of o. If the caller is ending an owner itself, by tells that it waits.
func (o *Owner) await(e *end, by *ender) error {
	begun := time.Now()
	for {
		what, since := e.by.now()
		if since.Before(begun) {
			since = begun
		}
		left := time.Until(since.Add(patience))
		if left <= 0 {
			return errkind.As(ErrDeadlock, fmt.Errorf("owner %q has not ended: another goroutine has been releasing "+
				"%s for more than %v; a release must not wait for the end of its owner", o.name, what, patience))
		}
		by.begin(what)
		t := time.NewTimer(left)
		select {
		case <-e.over:
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// EndWith makes o abort when ctx is over, unless it has ended by then. What Abort returns is logged as a warning. Stop
// undoes that, as with context.AfterFunc; the end of the owner does so too.
func (o *Owner) EndWith(ctx context.Context) (stop func() bool) {
	if o == nil {
		return func() bool { return false }
	}
	undo := context.AfterFunc(ctx, func() {
		if o.ended.Load() {
			return // the goroutine that ends it has the errors
		}
		if err := o.Abort(); err != nil {
			o.warn(err, "an owner that ended with its context could not release everything")
		}
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended.Load() {
		undo()
		return undo
	}
	if o.stops == nil {
		o.stops = map[*func() bool]struct{}{}
	}
	o.stops[&undo] = struct{}{}
	return func() bool {
		o.mu.Lock()
		delete(o.stops, &undo)
		o.mu.Unlock()
		return undo()
	}
}

func (e *end) isOver() bool {
	select {
	case <-e.over:
		return true
	default:
		return false
	}
}

// begin notes what is being released from now on.
func (b *ender) begin(what string) {
	b.mu.Lock()
	b.what, b.since = what, time.Now()
	b.mu.Unlock()
}

func (b *ender) now() (what string, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.what, b.since
}
