package registry

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/waits"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm/shmsync"
)

// names is the table as one session sees it. It ends with the session.
type names struct {
	*table
	session *dsm.Session
	segment *dsm.Segment
	lock    *shmsync.LWLock
	self    shmsync.Self
	item    resowner.Item
	unask   func()          // takes back what was given to OnAsk
	over    context.Context // ends the waits of calls in flight
	end     context.CancelCauseFunc

	mu       sync.Mutex
	idle     *sync.Cond         // calls went to 0
	calls    int                // that the session's end waits for
	ended    bool               // no more of those
	working  map[int]bool       // rows that are this session's, and that a call of it is at work on
	attached map[attachment]any // for the session's life
}

// attachment is what attached is by: Go types of one layout have views of their own on one hash table.
type attachment struct {
	handle uint64
	typ    reflect.Type
}

// sessions holds the names of each session that has any.
var sessions sync.Map // *dsm.Session -> *names

// of finds a session's names. Unless they are to be made, ErrNotFound says that there are none yet.
func of(ctx context.Context, s *dsm.Session, make bool) (*names, error) {
	if n, ok := sessions.Load(s); ok {
		return n.(*names), nil
	}
	var size func(rows int) int
	if make {
		size = tableSize
	}
	g, err := s.Root(ctx, size)
	if err != nil {
		return nil, err
	}
	n := &names{session: s, segment: g, self: s.Self(), attached: map[attachment]any{}, working: map[int]bool{}}
	n.idle = sync.NewCond(&n.mu)
	n.over, n.end = context.WithCancelCause(context.Background())
	if err := g.With(func([]byte) (err error) { n.table, err = open(g.Region()); return err }); err != nil {
		return nil, err
	}
	// Its holders are in a With of the segment, so the end of the view has nothing to give back for them.
	n.lock = shmsync.NewLWLockUnder(g.Region().View(), &n.header.lock, n.self)
	if is, loaded := sessions.LoadOrStore(s, n); loaded {
		return is.(*names), nil
	}
	owner, err := s.Owner().Child("registry") // children end first: before anything that this session has attached
	if err == nil {
		err = owner.Remember(&n.item, n)
	}
	if err == nil && n.self.OnAsk != nil {
		n.unask = n.self.OnAsk(n.disavow)
	}
	if err != nil {
		return nil, errors.Join(err, n.Release())
	}
	return n, nil
}

var errEnded = errkind.As(errkind.Closed, errors.New("the session has ended"))

// Release ends, for the session's owner, the waits of calls in flight, and waits for those.
func (n *names) Release() error {
	sessions.Delete(n.session)
	if n.unask != nil {
		n.unask()
	}
	n.end(errEnded)
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.ended = true; n.calls > 0; {
		n.idle.Wait()
	}
	return nil
}

func (n *names) String() string { return "names" }

// hold runs f with a context that ends with the session too. The session's end waits for f, so
// what it has attached stays mapped.
func (n *names) hold(ctx context.Context, f func(ctx context.Context) error) error {
	return n.counted(func() error { return n.bounded(ctx, f) })
}

// counted runs f, for which the session's end waits.
func (n *names) counted(f func() error) error {
	n.mu.Lock()
	if n.ended {
		n.mu.Unlock()
		return errEnded
	}
	n.calls++
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.calls--; n.calls == 0 {
			n.idle.Broadcast()
		}
	}()
	return f()
}

// bounded runs f with a context that ends with the session too.
func (n *names) bounded(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(n.over, func() { cancel(errEnded) })()
	return f(ctx)
}

// touch does what hold does for code that touches the table: a fault is an error.
func (n *names) touch(ctx context.Context, f func(ctx context.Context) error) error {
	return n.hold(ctx, func(ctx context.Context) error {
		return n.segment.With(func([]byte) error { return f(ctx) })
	})
}

// section runs touch under the table's lock. Every change in it is the store of one word, before
// which nothing else counts: there is nothing to repair after one who died in it.
func (n *names) section(ctx context.Context, f func() error) error {
	return n.counted(func() error {
		return n.segment.With(func([]byte) error {
			g, ok, err := n.lock.TryLock() // a context for the wait costs as much as all the rest
			if !ok || err != nil {
				err = n.bounded(ctx, func(ctx context.Context) (err error) {
					g, err = n.lock.Recover(ctx) // poison is a stray store's: there is nothing to repair
					return err
				})
			}
			if err != nil {
				return err
			}
			defer g.Unlock()
			g.MarkConsistent()
			return f()
		})
	})
}

// sight is a row as it was in a section.
type sight struct {
	row    int // -1: none
	word   uint64
	record record
}

func (n *names) sight(row int) sight {
	if row < 0 {
		return sight{row: row}
	}
	return sight{row, n.words[row].Load(), n.records[row]}
}

// set changes a row that this session is at work on: first f its record, then its word.
func (n *names) set(ctx context.Context, row int, word uint64, f func(*record)) error {
	return n.section(ctx, func() error {
		w := n.words[row].Load()
		if s := stateOf(w); s != making && s != going || peerOf(w) != n.self.Word() {
			return errkind.As(errkind.Corrupt, fmt.Errorf("row %d of the names is not this session's any more", row))
		}
		f(&n.records[row])
		failpoint.Hit("registry/set/written")
		n.words[row].Store(word)
		if peerOf(word) != n.self.Word() {
			n.work(row, false)
		}
		failpoint.Hit("registry/set/stored")
		n.header.news.Broadcast()
		return nil
	})
}

var errNoName = errkind.As(ErrNotFound, errors.New("no such name"))

// A session that is at work on a name is waited for askFirst before it is asked whether it is, and then once in askEvery.
const (
	askFirst = 10 * time.Millisecond
	askEvery = time.Second
)

// await sleeps until there is news since the ticket, until short is over, for at most d. The end of ctx is an error.
func (n *names) await(ctx, short context.Context, ticket shmsync.Ticket, d time.Duration) error {
	short, cancel := context.WithTimeout(short, d)
	defer cancel()
	err := n.touch(short, func(short context.Context) error {
		_ = ticket.Sleep(short)
		return nil
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// resolve returns the name's row when it is ready. If there is none, it claims one for w; then
// claimed is true, and the row this session's to make. Without w that is ErrNotFound.
func (n *names) resolve(ctx context.Context, name string, w *wish) (s sight, claimed bool, err error) {
	if err := checkName(name); err != nil {
		return s, false, err
	}
	swept := false
	var asked time.Time
	wait := waits.Wait{Waits: n.self.Waits}
	defer wait.End()
	for asked = time.Now().Add(askFirst - askEvery); ; {
		var ticket shmsync.Ticket
		var orphans []sight
		err := n.section(ctx, func() error {
			i := n.find(name)
			if i < 0 || stateOf(n.words[i].Load()) != ready {
				ticket = n.header.news.Prepare()
				orphans = n.orphans(false)
			}
			if s = n.sight(i); i < 0 && w != nil {
				s, claimed = n.claimLocked(w)
			}
			return nil
		})
		if err != nil {
			return s, false, err
		}
		_ = n.discard(ctx, orphans...) // what fails is tried again by the next one who tends
		switch {
		case claimed, s.row >= 0 && stateOf(s.word) == ready:
			return s, claimed, nil
		case s.row < 0 && w == nil:
			return s, false, errNoName
		case s.row < 0 && !swept:
			swept = true
			if err := n.sweep(ctx); err != nil {
				return s, false, err
			}
			continue
		case s.row < 0:
			return s, false, errkind.As(ErrFull,
				fmt.Errorf("all %d rows for names (max_segments) are in use", len(n.words)))
		case slices.ContainsFunc(orphans, func(o sight) bool { return o.row == s.row }):
			continue
		}
		maker := peerOf(s.word)
		if now := time.Now(); now.Sub(asked) > askEvery && n.self.Ask != nil {
			asked = now
			n.self.Ask(shmsync.PeerOf(maker))
		}
		wait.Sleep(ctx, func(short context.Context, d time.Duration) { err = n.await(ctx, short, ticket, d) }, maker)
		if err != nil {
			return s, false, fmt.Errorf("it is being made or deleted by %s: %w", n.self.Name(shmsync.PeerOf(maker)), err)
		}
	}
}

// claimLocked writes a wish into a free row. The caller holds the table's lock.
func (n *names) claimLocked(w *wish) (s sight, ok bool) {
	i := n.free()
	if i < 0 {
		return sight{row: -1}, false
	}
	n.records[i] = *w.record()
	failpoint.Hit("registry/claim/written")
	n.work(i, true)
	n.words[i].Store(wordOf(hashName(w.name), making, n.self.Word()))
	failpoint.Hit("registry/claim/stored")
	return n.sight(i), true
}

// remove frees a ready row and what it stands for, if it is still the one that was seen.
func (n *names) remove(ctx context.Context, s sight) (ok bool, err error) {
	err = n.section(ctx, func() error {
		if ok = n.words[s.row].Load() == s.word && n.records[s.row].handle == s.record.handle; ok {
			n.work(s.row, true)
			n.words[s.row].Store(wordOf(hashOf(s.word), going, n.self.Word()))
			failpoint.Hit("registry/remove/stored")
		}
		return nil
	})
	if ok && err == nil {
		err = n.discard(ctx, s)
	}
	return ok, err
}

// delete takes a name away.
func (n *names) delete(ctx context.Context, name string) error {
	if err := n.tend(ctx); err != nil {
		return err
	}
	for {
		s, _, err := n.resolve(ctx, name, nil)
		if err != nil {
			return err
		}
		if ok, err := n.remove(ctx, s); ok || err != nil {
			return err
		}
	}
}

// sweep frees the rows whose segments have gone: those of the transient, and of what a process has
// removed behind our back.
func (n *names) sweep(ctx context.Context) error {
	var seen []sight // before the books are read: no handle is used again
	err := n.section(ctx, func() error {
		for i := range n.words {
			if stateOf(n.words[i].Load()) == ready {
				seen = append(seen, n.sight(i))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	there, err := n.session.Segments(ctx)
	if err != nil {
		return err
	}
	live := map[uint64]bool{}
	for _, g := range there {
		live[uint64(g.Handle)] = true
	}
	for _, s := range seen {
		if live[s.record.handle] {
			continue
		}
		if _, err := n.remove(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
