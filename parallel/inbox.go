package parallel

import (
	"context"
	"errors"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// inbox is the leader's end of a worker's queue.
type inbox struct{ receiver *mq.Receiver }

// newInbox makes a queue in the bytes, which are there as long as it is used, for what the worker sends.
func newInbox(b []byte, self shmsync.Self, worker shmsync.Peer) (in inbox, err error) {
	q, err := mq.Create(shm.NewRegion(b))
	if err == nil {
		in.receiver, err = q.Receiver(self)
	}
	if err == nil {
		err = q.SetSender(worker)
	}
	return in, err
}

// listen hands on what the worker sends, until that detaches or dies, or ctx says that it has and all is heard. A
// session that was closed can't find out itself.
func (in inbox) listen(ctx context.Context, hear func(message []byte) error) error {
	for {
		message, err := in.receiver.Receive(ctx)
		switch {
		case errors.Is(err, mq.ErrDetached), errors.Is(err, mq.ErrPeerDied), err != nil && errors.Is(err, ctx.Err()):
			return nil // the pipe says how it ended
		case err != nil:
			return err
		}
		if err := hear(message); err != nil {
			return err
		}
	}
}
