package parallel

import (
	"context"
	"encoding/binary"
	"errors"
	"os"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/resowner"
	"github.com/rs/zerolog"
)

// Worker is what a function is told about the process that it runs in.
type Worker struct {
	Index   int             // from 0 to Count-1
	Count   int             // how many run
	Attempt int             // how many have died at this place before; see Options.Retries
	Session *dsm.Session    // this process's own
	Owner   *resowner.Owner // ends when the function returns
	Log     zerolog.Logger  // comes out of the leader's logger
	Files   []*os.File      // Options.Files, for this process

	ready    func() error
	send     func(ctx context.Context, b []byte) error
	progress func(done, total int64)
}

// Progress tells the leader's Options.Progress how far this worker is. It never waits; news that the leader is too slow
// for is dropped.
func (w *Worker) Progress(done, total int64) {
	if w.progress != nil {
		w.progress(done, total)
	}
}

// Ready tells the leader that this worker does its work now; Task.Start waits for that. Twice is harmless.
func (w *Worker) Ready() error {
	if w.ready == nil {
		return errors.New("parallel: the zero Worker has no leader")
	}
	return w.ready()
}

// Send sends a result to the leader's Options.Result, of any size, and returns when it is on its way: it waits while
// 64 KiB are on theirs. It is ErrClosed after the function has returned or has closed its session. Safe for
// concurrent use.
func (w *Worker) Send(ctx context.Context, b []byte) error {
	if w.send == nil {
		return errors.New("parallel: the zero Worker has no leader")
	}
	return w.send(ctx, b)
}

// connect gives a worker its way to the leader.
func (w *Worker) connect(send func(ctx context.Context, kind byte, b []byte) error) {
	w.send = func(ctx context.Context, b []byte) error { return send(ctx, resultMessage, b) }
	w.ready = func() error { return send(context.Background(), readyMessage, nil) }
	w.progress = func(done, total int64) {
		b := binary.LittleEndian.AppendUint64(nil, uint64(done))
		_ = send(context.Background(), progressMessage, binary.LittleEndian.AppendUint64(b, uint64(total)))
	}
}
