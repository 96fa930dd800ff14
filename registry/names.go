package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/resowner"
	"github.com/godsm/godsm/shm/shmsync"
)

// names is the table as one session sees it, in the session's own memory. It is made by the session's first call that
// names something, and ends with the session. This file is how a session comes to the table and how it waits for news
// of it; what is done with rows is in resolve.go and orphans.go, what names stand for in make.go.
type names struct {
	// These are set once, by of.

	*table
	session *dsm.Session
	segment *dsm.Segment // the root segment
	lock    *shmsync.LWLock
	self    shmsync.Self
	item    resowner.Item
	unask   func()          // takes back what was given to OnAsk
	over    context.Context // ends the waits of calls in flight
	end     context.CancelCauseFunc

	mu       sync.Mutex         // guards what follows; taken under the table's lock, never the other way round
	idle     *sync.Cond         // calls went to 0
	calls    int                // that the session's end waits for
	ended    bool               // no more of those
	working  map[int]bool       // rows that are this session's, and that a call of it is at work on
	attached map[attachment]any // what this session has attached for its life
}

// sessions holds the names of each session that has any.
var sessions sync.Map // *dsm.Session -> *names

// namesOf returns a session's names, which it makes if this is the session's first call. With make it also makes the
// root segment if the instance has none; without, ErrNotFound says that there is none yet. Two goroutines that come at
// once get the same.
func namesOf(ctx context.Context, s *dsm.Session, make bool) (*names, error) {
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
	// Of two goroutines that come at once one is first. Only its names are released at the session's end; the other
	// ones hold nothing that would have to be.
	if is, loaded := sessions.LoadOrStore(s, n); loaded {
		return is.(*names), nil
	}
	// From here on the session's end calls Release.
	owner, err := s.Owner().Child("registry") // children end first: before anything that this session has attached
	if err == nil {
		err = owner.Remember(&n.item, n)
	}
	if err == nil && n.self.OnAsk != nil {
		n.unask = n.self.OnAsk(n.disavowOrphanRows)
	}
	if err != nil {
		return nil, errors.Join(err, n.Release())
	}
	return n, nil
}

// errEnded is the error of a call that comes after the session's end, or that waits when the session ends.
var errEnded = errkind.As(errkind.Closed, errors.New("the session has ended"))

// Release ends, for the session's owner, the waits of calls in flight, and waits for those calls. It runs once, at the
// end of the session, while the root segment is still mapped. A call that begins later is ErrClosed. What a caller runs
// to make its thing is no such call, so it may close the session itself.
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

// String returns the name by which the session's owner logs a failure to release this.
func (n *names) String() string { return "names" }

// withSession runs f with a context that ends with the session too. The session's end waits for f, so what f uses stays
// mapped. F must not wait for anything but with its context.
func (n *names) withSession(ctx context.Context, f func(ctx context.Context) error) error {
	return n.countedCall(func() error { return n.withSessionContext(ctx, f) })
}

// countedCall runs f, for which the session's end waits. After the end it is errEnded, and f does not run.
func (n *names) countedCall(f func() error) error {
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

// withSessionContext runs f with a context that ends with the session too, with errEnded as its cause.
func (n *names) withSessionContext(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(n.over, func() { cancel(errEnded) })()
	return f(ctx)
}

// contained does what hold does for code that touches the table: a fault, as of a root segment that was truncated, is an
// error.
func (n *names) contained(ctx context.Context, f func(ctx context.Context) error) error {
	return n.withSession(ctx, func(ctx context.Context) error {
		return n.segment.With(func([]byte) error { return f(ctx) })
	})
}

// withTableLock runs f under the table's lock, and faults in it are errors. It waits for the lock until ctx is over,
// or the session; a holder that is dead is noticed, and the lock taken over. Nothing is repaired then, since every
// change that a section makes is the store of one word, before which nothing else counts: a process that dies in a
// section has stored that word or has not. F must not wait.
func (n *names) withTableLock(ctx context.Context, f func() error) error {
	return n.countedCall(func() error {
		return n.segment.With(func([]byte) error {
			g, ok, err := n.lock.TryLock() // a context for the wait costs as much as all the rest
			if !ok || err != nil {
				err = n.withSessionContext(ctx, func(ctx context.Context) (err error) {
					// Recover also gets a lock that is poisoned. No holder leaves it so, since each says MarkConsistent
					// first: a stray store has set the bit, and there is nothing to repair.
					g, err = n.lock.Recover(ctx)
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

// sight is a copy of a row as it was in a section. By the time that it is used the row may be another one's; what acts
// on a sight compares it with the row again.
type sight struct {
	row    int // -1: none; then the rest is zero
	word   uint64
	record record
}

// sightLocked copies a row; -1 is none. The caller holds the table's lock.
func (n *names) sightLocked(row int) sight {
	if row < 0 {
		return sight{row: row}
	}
	return sight{row, n.words[row].Load(), n.records[row]}
}

// setRow changes a row that this session is at work on: first f its record, then its word, in one section. Then it wakes
// those that wait for news. A row that is not this session's any more, since a stray store has hit its word, is
// ErrCorrupt, and stays as it is.
func (n *names) setRow(ctx context.Context, row int, word uint64, f func(*record)) error {
	return n.withTableLock(ctx, func() error {
		// Hostile value: a word that names another session, or a state in which no session is at work. What it says may
		// be true by now, since another session adopts a row whose word a stray store has hit.
		w := n.words[row].Load()
		if s := tableWordState(w); s != making && s != going || tableWordPeer(w) != n.self.Word() {
			return errkind.As(errkind.Corrupt, fmt.Errorf("row %d of the names is not this session's any more", row))
		}
		// The record before the word: a process that dies in between leaves the row in its old state, with a record that
		// says at least as much of what there is to be removed.
		f(&n.records[row])
		failpoint.Hit("registry/set/written")
		n.words[row].Store(word)
		if tableWordPeer(word) != n.self.Word() {
			n.noteWork(row, false)
		}
		failpoint.Hit("registry/set/stored")
		n.header.news.Broadcast()
		return nil
	})
}

// errNoName is the ErrNotFound of a name that stands for nothing.
var errNoName = errkind.As(ErrNotFound, errors.New("no such name"))

// A session that is at work on a name is waited for askFirst before it is asked whether it really is, and then once in
// askEvery: a row that a stray store has hit may name a session that lives and knows nothing of it.
const (
	askFirst = 10 * time.Millisecond
	askEvery = time.Second
)

// await sleeps until there is news since the ticket, until short is over, for at most d. The end of ctx is an error,
// the end of short or of d is none. Every news wakes every waiter, whatever name it is of.
func (n *names) await(ctx, short context.Context, ticket shmsync.Ticket, d time.Duration) error {
	short, cancel := context.WithTimeout(short, d)
	defer cancel()
	err := n.contained(short, func(short context.Context) error {
		_ = ticket.Sleep(short)
		return nil
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// peerLives reports whether the session in a word lives. A word that a stray store has hit may name a row that does not
// exist, which is dead.
func (n *names) peerLives(peer uint64) bool {
	p := shmsync.PeerOf(peer)
	return p.Row >= 0 && p.Row < shmsync.MaxRows && n.self.Alive(p)
}

// isAtWork reports whether a call of this session is at work on the row. It takes n.mu, also under the table's lock.
func (n *names) isAtWork(row int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.working[row]
}

// noteWork notes, before the row's word says so, that a call of this session is at work on it, or that it is no
// longer. It takes n.mu, also under the table's lock.
func (n *names) noteWork(row int, begins bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if begins {
		n.working[row] = true
	} else {
		delete(n.working, row)
	}
}

// deleteName takes a name away. It first tends what earlier deletes have left, as making and listing do.
func (n *names) deleteName(ctx context.Context, name string) error {
	if err := n.collectDeletedOrphans(ctx); err != nil {
		return err
	}
	for {
		s, _, err := n.resolveOrClaim(ctx, name, nil)
		if err != nil {
			return err
		}
		// Between the look and the removal another session may delete the name, and a third one make it anew: then the
		// row is looked for again.
		if ok, err := n.freeReadyName(ctx, s); ok || err != nil {
			return err
		}
	}
}

// freeReadyName frees a ready row and what it stands for, if it is still the one that was seen; ok is false if it is not,
// and then nothing has changed. Word and handle are compared: of one name deleted and made anew the word is the same.
// A process that dies after the word is stored leaves a row that is going by a dead session, which the next call takes
// over.
func (n *names) freeReadyName(ctx context.Context, s sight) (ok bool, err error) {
	err = n.withTableLock(ctx, func() error {
		if ok = n.words[s.row].Load() == s.word && n.records[s.row].handle == s.record.handle; ok {
			n.noteWork(s.row, true)
			n.words[s.row].Store(tableWord(tableWordHash(s.word), going, n.self.Word()))
			failpoint.Hit("registry/remove/stored")
		}
		return nil
	})
	if ok && err == nil {
		err = n.removeOrphans(ctx, s)
	}
	return ok, err
}
