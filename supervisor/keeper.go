package supervisor

import (
	"context"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/instance"
)

// keeper keeps pinned objects open, for backends whose objects vanish with the last process that
// has them open. A pin is pulled, not pushed: a session says that it is wanted, the supervisor
// opens the object and says that it is there, and closes what is not wanted any more.
type keeper struct {
	m      *instance.Member
	pinner dsmimpl.Pinner // nil if the backend needs no keeper
	tokens map[uint64]uintptr
}

func newKeeper(m *instance.Member) keeper {
	p, _ := m.Books.Backend.(dsmimpl.Pinner)
	return keeper{m: m, pinner: p, tokens: map[uint64]uintptr{}}
}

func (k *keeper) keepWanted() {
	if k.pinner == nil {
		return
	}
	list, err := k.m.Books.Table.Segments()
	if err != nil {
		return
	}
	wanted := map[uint64]bool{}
	for _, s := range list {
		if _, carved := s.Carved(); carved || (!s.PinWanted && !s.Pinned) || !s.Sound {
			continue // the region is mapped here
		}
		wanted[s.Handle] = true
		if _, kept := k.tokens[s.Handle]; kept && s.Pinned {
			continue
		}
		token, err := k.pinner.Keep(k.m.Books.Object(s.Entry))
		if err != nil {
			k.m.Log.Warn().Err(err).Str("event", "pin-unkept").Msg("could not keep a pinned segment open")
			continue
		}
		failpoint.Hit("supervisor/keeper/opened")
		k.releasePin(s.Handle)
		k.tokens[s.Handle] = token
		if still, err := k.m.Self.Kept(context.Background(), s.Handle); err != nil || !still {
			k.releasePin(s.Handle)
		}
	}
	for h := range k.tokens {
		if !wanted[h] {
			k.releasePin(h)
		}
	}
}

func (k *keeper) releasePin(h uint64) {
	if token, ok := k.tokens[h]; ok {
		_ = k.pinner.Release(token)
		delete(k.tokens, h)
	}
}

func (k *keeper) releaseAllPins() {
	for h := range k.tokens {
		k.releasePin(h)
	}
}
