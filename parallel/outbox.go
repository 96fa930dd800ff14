package parallel

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
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
