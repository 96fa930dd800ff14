package parallel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
	"github.com/godsm/godsm/shm/shmsync"
)

// Each worker has a queue in a segment of its own, through which its results, its progress and its log come to the
// leader: a byte that says which, then the content. How it ended comes through the pipe, which ends with the process.
const (
	resultMessage   = 'r'
	progressMessage = 'p' // two numbers of 8 bytes: done, total
	logMessage      = 'l' // a line of JSON
	readyMessage    = 'y'
)

const ringSize = 64 << 10

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

// outbox is the worker's end. Before it is open and after it is shut it keeps log lines for the report.
type outbox struct {
	detached context.Context // over when the queue's segment is detached: the function has closed its session
	detach   context.CancelFunc

	mu     sync.Mutex
	sender *mq.Sender
	lines  []string // not sent
}

var (
	errReturned = errkind.As(dsm.ErrClosed, errors.New("parallel: the function has returned"))
	errLeft     = errkind.As(dsm.ErrClosed, errors.New("parallel: the worker has closed its session, or ended its owner"))
)

const maxLines = 1000 // kept

func (o *outbox) open(g *dsm.Segment, self shmsync.Self) error {
	q, err := mq.Attach(g.Region())
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sender, err = q.Sender(self); err != nil {
		return err
	}
	o.detached, o.detach = context.WithCancel(context.Background())
	g.OnDetach(o.detachSender)
	for _, l := range o.lines {
		if err := o.sendLocked(context.Background(), logMessage, []byte(l)); err != nil {
			return err
		}
	}
	o.lines = nil
	return nil
}

// detachSender shuts the box when the queue's segment is detached. A send that is under way ends by itself.
func (o *outbox) detachSender() {
	o.detach()
	if o.mu.TryLock() {
		defer o.mu.Unlock()
		o.shutSendingLocked()
	}
}

func (o *outbox) shutSending() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shutSendingLocked()
}

// shutSendingLocked does what shut does. The caller holds mu.
func (o *outbox) shutSendingLocked() {
	if o.sender != nil {
		o.sender.Detach()
		o.sender = nil
	}
}

func (o *outbox) send(ctx context.Context, kind byte, content []byte) error {
	if kind == progressMessage { // news that may be dropped, if the leader is behind or a result on its way
		if !o.mu.TryLock() {
			return mq.ErrWouldBlock
		}
	} else {
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	return o.sendLocked(ctx, kind, content)
}

// sendLocked does what send does. The caller holds mu.
func (o *outbox) sendLocked(ctx context.Context, kind byte, content []byte) error {
	switch {
	case o.detached != nil && o.detached.Err() != nil:
		return errLeft
	case o.sender == nil:
		return errReturned
	}
	err := o.sender.TrySend([]byte{kind}, content)
	if err == mq.ErrWouldBlock && kind != progressMessage {
		ctx, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(o.detached, cancel)
		err = o.sender.SendV(ctx, []byte{kind}, content)
		stop()
		cancel()
	}
	if err == nil {
		err = o.sender.Flush()
	}
	switch {
	case err != nil && o.detached.Err() != nil:
		return errLeft
	case errors.Is(err, mq.ErrDetached):
		return fmt.Errorf("parallel: the leader takes no more: %w", err)
	}
	return err
}

// Write takes a line of the log.
func (o *outbox) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sender == nil || o.sendLocked(context.Background(), logMessage, line) != nil {
		if len(o.lines) < maxLines {
			o.lines = append(o.lines, string(line))
		}
	}
	return len(line), nil
}

// unsent takes the lines that were kept.
func (o *outbox) unsent() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := o.lines
	o.lines = nil
	return lines
}

// handleMessage handles, in the leader, what workers send, one message at a time. If a callback calls runtime.Goexit,
// left gets the error that says so, since hear doesn't return then.
func (c *crew) handleMessage(worker int, message []byte, left *error) error {
	if len(message) == 0 {
		return nil
	}
	c.hearing.Lock()
	defer c.hearing.Unlock()
	if c.over {
		return errReturned
	}
	content := message[1:]
	switch message[0] {
	case resultMessage:
		if c.options.Result != nil {
			return callFunction("result", worker, "Options.Result", left,
				func() error { return c.options.Result(worker, content) })
		}
	case progressMessage:
		if c.options.Progress != nil && len(content) == 16 {
			return callFunction("progress", worker, "Options.Progress", left, func() error {
				c.options.Progress(worker, int64(binary.LittleEndian.Uint64(content)),
					int64(binary.LittleEndian.Uint64(content[8:])))
				return nil
			})
		}
	case readyMessage:
		c.ready(worker, max(1, len(c.memberList())))
	case logMessage:
		return callFunction("log", worker, "the logger", left, func() error {
			relayLog(c.session.Config().Logger, worker, content)
			return nil
		})
	}
	return nil
}
