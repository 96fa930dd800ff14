package locktable

import (
	"context"

	"github.com/godsm/godsm/internal/sys/fault"
)

// Token is a moment in the life of a table. The tokens of one table are in order: of two holders of a lock that
// exclude each other the later one's is the higher, so what the lock guards can refuse an earlier holder that comes
// late (a fencing token).
type Token struct {
	Table uint64 // which table: a random number
	N     uint64 // goes up with each token
}

// Before reports whether o is a later token of the same table. Tokens of two tables are not in order.
func (t Token) Before(o Token) bool { return t.Table == o.Table && t.N < o.N }

// Changed says that what the lock guards has changed, or is about to, and returns the token of the change. It is for a
// holder that excludes others.
func (x Hold) Changed() (Token, error) {
	return x.stamped(func(h *hold, n uint64) { h.head.changed.Store(n) })
}

// ChangedSince reports whether what a lock guards may have changed since a token: a holder has said Changed, or has died
// while it may have been writing. It may report a change that was none: of a name that was not used for a while, and of
// a token of another table. The caller holds the lock, or the answer may be over when it comes.
func (t *Table) ChangedSince(ctx context.Context, tok Token, path ...string) (yes bool, err error) {
	if t.view.Ended() {
		return false, t.closed()
	}
	k, err := encode(nil, path)
	if err != nil {
		return false, err
	}
	if tok.Table != t.id {
		return true, nil
	}
	ident := hash(k.b, t.seed)
	defer t.answer(&err, fault.Catch())
	u, err := t.enter(ctx, partOf(ident))
	if err != nil {
		return false, err
	}
	defer u.leave()
	h, _, err := u.lookupLocked(k.b, ident)
	if err != nil {
		return false, err
	}
	at := u.p.floor.Load()
	if h != nil {
		if c := h.changed.Load(); c != 0 {
			at = c
		}
	}
	u.markDone()
	return at > tok.N, nil
}

// Death is that a session died while it held a lock in a mode in which it may have been writing.
type Death struct {
	Pid         int // 0: not known any more
	Application string
	Note        string // what the owner was doing
	Times       int    // holders that died since the last Repaired, of which this was the first
	Below       bool   // all of them had the lock in an intent mode: what they wrote lies below the name
}
