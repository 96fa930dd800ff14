package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/shm/shmsync"
)

// This file lets a worker join the instance, leave it, and join the next generation.

// join opens a session and finds the board. Both may have to be waited for: a generation ends,
// and the next has no board yet.
func (w *worker) join(ctx context.Context) (err error) {
	for {
		err = w.tryJoin(ctx)
		if err == nil || !gone(err) || ctx.Err() != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// gone reports whether an error is of a generation that ends, or has not quite begun.
func gone(err error) bool {
	return errors.Is(err, dsm.ErrStale) || errors.Is(err, dsm.ErrNotFound) || errors.Is(err, dsm.ErrNoInstance)
}

func (w *worker) tryJoin(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, w.leave())
		}
	}()
	if w.session, err = dsm.Open(ctx, w.cfg); err != nil {
		return err
	}
	if w.board, w.onBoard, err = findBoard(ctx, w.session, w.cfg.Dir); err != nil {
		return err
	}
	if w.books, err = look(ctx, w.cfg); err != nil {
		return err
	}
	p, ok := processOf(w.books, os.Getpid())
	if !ok {
		return dsm.ErrStale // the books are the next generation's
	}
	w.self = shmsync.Peer{Row: p.Row, Incarnation: p.Incarnation & shmsync.MutexIncarnationMask}
	w.mutex = shmsync.NewMutex(&w.board.lock, shmsync.Self{Peer: w.self, Alive: w.alive})
	return nil
}

// leave closes what join opened.
func (w *worker) leave() (err error) {
	if w.books != nil {
		w.books.Close()
	}
	if w.session != nil {
		err = w.session.Close()
	}
	w.session, w.books, w.board, w.held, w.owing = nil, nil, nil, nil, nil
	return err
}

// again joins the instance anew after ErrStale. It is an error if the generation is still the same: within one generation no
// call may return ErrStale.
func (w *worker) again(ctx context.Context) error {
	before := w.books.Record.Generation
	if err := w.leave(); err != nil {
		return err
	}
	if err := w.join(ctx); err != nil {
		return err
	}
	if now := w.books.Record.Generation; now == before {
		return fmt.Errorf("a living session was told that it is stale, in generation %d that goes on", now)
	}
	return nil
}

// alive reports whether the witness of a peer is held. Without books that can be read it takes the peer for alive.
func (w *worker) alive(h shmsync.Peer) bool {
	list, err := w.books.Table.Processes()
	if err != nil {
		return true
	}
	for _, p := range list {
		if p.Row == h.Row {
			return p.Incarnation&shmsync.MutexIncarnationMask == h.Incarnation && w.books.Roll.Held(p.Row)
		}
	}
	return false
}
