package registry

import (
	"context"
	"reflect"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/dsa"
)

// attachment is the key of names.attached. The type is a part of it, since Go types of one layout have views of their
// own on one hash table.
type attachment struct {
	handle uint64
	typ    reflect.Type
}

// attachArea attaches a name's area. The session's end waits for it, and ends its waits.
func (n *names) attachArea(ctx context.Context, w wish, r *record) (a *dsa.Area, err error) {
	err = n.withSession(ctx, func(ctx context.Context) error {
		a, err = area.Attach(ctx, n.session, w.owner, dsm.Handle(r.handle))
		return err
	})
	return a, err
}

// keepAttachment makes x what is kept and returns it. If another goroutine was faster, it returns that one's, and
// calls spare to let go of x, without n.mu. It keeps nothing for a caller that wants an attachment of its own.
func keepAttachment[X any](n *names, w wish, handle uint64, x X, spare func() error) X {
	if w.own {
		return x
	}
	at := attachment{handle, reflect.TypeFor[X]()}
	n.mu.Lock()
	is, ok := n.attached[at].(X)
	if !ok {
		n.attached[at] = x
	}
	n.mu.Unlock()
	if ok {
		_ = spare() // it may wait, so n.mu is free by now
		return is
	}
	return x
}

// keptAttachment returns what this session has attached for its life under that handle and type; ok is false if there
// is none, or if the caller wants an attachment of its own. It is all that a repeated call costs, besides the look at
// the row.
func keptAttachment[X any](n *names, w wish, handle uint64) (x X, ok bool) {
	if w.own {
		return x, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	x, ok = n.attached[attachment{handle, reflect.TypeFor[X]()}].(X)
	return x, ok
}
