package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/shmsync"
)

const discardPatience = 20 * time.Second // dsm's own waits are shorter

// orphans makes rows of dead sessions, or of none, this session's to discard, and those that name this session
// though no call of it is at work on them. Those without a name only if all are wanted.
func (n *names) orphans(all bool) (list []sight) {
	for i := range n.words {
		w := n.words[i].Load()
		if s := stateOf(w); s != making && s != going {
			continue
		}
		p := peerOf(w)
		if p == n.self.Word() && n.works(i) || p != 0 && p != n.self.Word() && n.lives(p) || p == 0 && w == nameless && !all {
			continue
		}
		n.work(i, true)
		n.words[i].Store(wordOf(hashOf(w), going, n.self.Word()))
		failpoint.Hit("registry/orphan/adopted")
		list = append(list, n.sight(i))
	}
	return list
}

func (n *names) lives(peer uint64) bool {
	p := shmsync.PeerOf(peer)
	return p.Row >= 0 && p.Row < shmsync.MaxRows && n.self.Alive(p)
}

// works reports whether a call of this session is at work on the row.
func (n *names) works(row int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.working[row]
}

// work notes, before the row's word says so, that a call of this session is at work on it, or that it is no longer.
func (n *names) work(row int, begins bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if begins {
		n.working[row] = true
	} else {
		delete(n.working, row)
	}
}

// tend looks after what has been deleted and isn't gone: areas that others had attached, the last
// of whom removes them if it is not killed, and what could not be removed then.
func (n *names) tend(ctx context.Context) error {
	var orphans []sight
	err := n.section(ctx, func() error {
		orphans = n.orphans(true)
		return nil
	})
	if err == nil {
		_ = n.discard(ctx, orphans...) // what fails is tried again by the next one
	}
	return err
}

// discard removes what rows of this session stand for, and frees them. What isn't gone yet, or
// can't be removed now, has no name any more: its row waits for the next one to tend it.
func (n *names) discard(ctx context.Context, list ...sight) (err error) {
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardPatience)
	defer cancel()
	for _, s := range list {
		gone := false
		derr := n.hold(ctx, func(ctx context.Context) (err error) {
			gone, err = n.drop(ctx, &s.record)
			return err
		})
		failpoint.Hit("registry/discard/dropped")
		next, forget := uint64(0), func(*record) {}
		if !gone || derr != nil {
			next, forget = nameless, func(r *record) { clear(r.name[:]) }
		}
		if derr != nil {
			err = errors.Join(err, fmt.Errorf("the name is free, what it stood for can't be removed now: %w", derr))
		}
		err = errors.Join(err, n.set(ctx, s.row, next, forget))
		n.work(s.row, false) // what could not be stored is an orphan
	}
	return err
}

// disavow runs when another session waits for a row that names this one: a stray store may have written that.
func (n *names) disavow() {
	ctx, cancel := context.WithTimeout(n.over, time.Second)
	defer cancel()
	_ = n.tend(ctx)
}
