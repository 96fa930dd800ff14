package locktable

import (
	"context"
	"encoding/binary"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm/dsa"
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

// Token returns a new token, later than all before.
func (x Hold) Token() (Token, error) { return x.stamped(func(*hold, uint64) {}) }

// Changed says that what the lock guards has changed, or is about to, and returns the token of the change. It is for a
// holder that excludes others.
func (x Hold) Changed() (Token, error) {
	return x.stamped(func(h *hold, n uint64) { h.head.changed.Store(n) })
}

func (x Hold) stamped(f func(h *hold, n uint64)) (tok Token, err error) {
	err = x.withHold(func(h *hold) {
		tok = Token{h.t.id, h.t.root.stamp.Add(1)}
		failpoint.Hit("locktable/changed/stamped")
		f(h, tok.N)
	})
	return tok, err
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

// Recovered reports whether a session died while it held the lock in a mode that writes, and no one has said Repaired
// since: what the lock guards may be half-written.
func (x Hold) Recovered() (d Death, yes bool) {
	err := x.withHold(func(h *hold) {
		w := h.head.died.Load()
		if yes = w != 0; !yes {
			return
		}
		d.Times, d.Below = int(w>>48), w&below != 0
		b, err := h.t.area.Bytes(dsa.Pointer(h.head.epitaph.Load()))
		if err == nil && len(b) == 8+2*noteBytes {
			d.Pid = int(binary.LittleEndian.Uint64(b))
			d.Application, d.Note = clean(b[8:8+noteBytes]), clean(b[8+noteBytes:])
		}
	})
	if err != nil {
		return Death{}, false
	}
	return d, yes
}

// Repaired says that what the lock guards is whole again. It is for a holder that excludes others, and that Recovered
// has told of a death.
func (x Hold) Repaired() error {
	return x.withHold(func(h *hold) { h.head.died.Store(0) })
}

// RepairedAll notes that all that the table guards is whole again after every death so far: no lock tells of a death
// any more. It is for a caller that has looked at everything, and keeps others from holding anything while it looks.
// The table remembers some 6,000 names of which a holder died; once there were more, and until a call of RepairedAll,
// a lock that was not in use tells of a death of which nothing is known.
func (t *Table) RepairedAll(ctx context.Context) error {
	if t.view.Ended() {
		return t.closed()
	}
	for i := range t.parts {
		if err := t.repairedPart(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) repairedPart(ctx context.Context, i int) (err error) {
	defer t.answer(&err, fault.Catch())
	u, err := t.enter(ctx, i)
	if err != nil {
		return err
	}
	defer u.leave()
	u.p.lostAll.Store(0)
	for k := range u.p.lost {
		u.p.lost[k].Store(0)
	}
	err = u.eachLocked(func(_ uint32, h *head) error {
		if h.kind.Load() != 0 {
			h.died.Store(0)
		}
		return nil
	})
	u.p.notes.Store(0)
	if err == nil {
		u.markDone()
	}
	return err
}
