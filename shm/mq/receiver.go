package mq

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
)

// Receiver is the end that receives. Its methods are for one goroutine at a time.
type Receiver struct {
	end
	read    uint64 // our position, published or not
	written uint64 // the sender's, as last seen
	held    uint64 // bytes of the frame that the caller has in place
	length  int    // of the message that is being copied; -1 if none is
	buf     []byte // what has been copied of it
	smaller int    // messages in a row that would not have needed so large a buf
}

// A buffer of more than keptBuffer bytes is dropped when so many messages have come that a quarter of it would do for.
const (
	keptBuffer = 64 << 10
	enoughOf   = 16
)

// shrink notes that a message came that a small buffer would do for.
func (r *Receiver) shrink() {
	if r.smaller++; r.smaller >= enoughOf {
		r.buf, r.smaller = nil, 0
	}
}

// Receive waits for the next message and returns it: in place if it lies in one piece, copied otherwise. It is
// valid until the next call of any method of this Receiver. In place it is shared memory: a sender that breaks the
// rules could still change it, and when the segment is detached, or the session closed, it becomes zeros.
//
// When the sender has detached and all its messages have been received, err is ErrDetached; if its process died,
// ErrPeerDied. Of a message that was sent in part no more than that is ever seen. If ctx is over, err is its
// cause; a message that is there wins over that.
func (r *Receiver) Receive(ctx context.Context) ([]byte, error) {
	if r.self.Checked {
		return r.receiveContained(ctx, true)
	}
	if b, ok := r.next(); ok {
		return b, nil
	}
	if r.usable() == nil && r.length < 0 { // the sender may have published since
		if _, err := r.look(); err == nil {
			if b, ok := r.next(); ok {
				return b, nil
			}
		}
	}
	return r.receiveContained(ctx, true)
}

// receiveContained returns the way on which a fault is an error. In checked mode, where the bytes become inaccessible at the
// end of their view, there is no other.
func (r *Receiver) receiveContained(ctx context.Context, block bool) (b []byte, err error) {
	defer r.answer(&err)
	defer fault.Return(&err, fault.Catch())
	if b, ok := r.next(); ok {
		return b, nil
	}
	return r.receive(ctx, block)
}

// All yields one message after the other, as Receive returns them: each is valid until the loop's body ends. The loop ends
// when the sender has detached and all its messages have been received. Any other error of Receive is yielded as the last.
// A loop that is left early goes on with the next call of All or Receive.
func (r *Receiver) All(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			b, err := r.Receive(ctx)
			if errors.Is(err, ErrDetached) || !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// TryReceive is Receive that does not wait: if no whole message is there it is ErrWouldBlock. WaitAny waits for more.
func (r *Receiver) TryReceive() ([]byte, error) {
	if r.self.Checked {
		return r.receiveContained(context.Background(), false)
	}
	if b, ok := r.next(); ok {
		return b, nil
	}
	b, err := r.receive(context.Background(), false)
	r.answer(&err)
	return b, err
}

// Detach ends this end: the sender gets ErrDetached. Detaching twice is harmless.
func (r *Receiver) Detach() {
	if !r.ended.Load() {
		r.close()
	}
}

// next returns the way without waiting and copying: a message in one piece, known to be there. Otherwise it changes
// nothing but that the last message is released.
func (r *Receiver) next() ([]byte, bool) {
	if r.ended.Load() {
		return nil, false
	}
	if r.held > 0 {
		r.took(r.held)
		r.held = 0
	}
	there := r.written - r.read
	if there < word || r.length >= 0 {
		return nil, false
	}
	n := binary.NativeEndian.Uint64(r.ring[r.at:])
	start := uint64(r.at + word)
	if start == r.size {
		start = 0
	}
	if n > there || n+word > there || start+n > r.size {
		return nil, false
	}
	frame := frameSize(int(n))
	if frame > there {
		return nil, false
	}
	r.held = frame
	if cap(r.buf) > keptBuffer {
		r.shrink()
	}
	return r.ring[start : start+n : start+n], !r.ended.Load()
}

// took moves on by n bytes, and publishes if enough has come together.
func (r *Receiver) took(n uint64) {
	r.advance(n)
	r.read += n
	failpoint.Hit("mq/receive/took")
	if r.read-r.published > r.batch {
		r.publish(r.read)
	}
}

func (r *Receiver) receive(ctx context.Context, block bool) ([]byte, error) {
	if err := r.usable(); err != nil {
		return nil, err
	}
	if r.length < 0 {
		if _, err := r.there(ctx, block, word); err != nil {
			return nil, err
		}
		n := binary.NativeEndian.Uint64(r.ring[r.at:])
		if n > MaxMessage {
			r.fault = corrupt("a message of %d bytes", n)
			return nil, r.fault
		}
		if start := (uint64(r.at) + word) % r.size; frameSize(int(n)) <= r.size && start+n <= r.size {
			if _, err := r.there(ctx, block, frameSize(int(n))); err != nil {
				return nil, err
			}
			if b, ok := r.next(); ok {
				return b, nil
			}
			r.fault = corrupt("the length of a message has changed")
			return nil, r.fault
		}
		r.took(word)
		if cap(r.buf) <= max(keptBuffer, 4*int(n)) {
			r.smaller = 0
		} else {
			r.shrink()
		}
		r.length, r.buf = int(n), r.buf[:0]
	}
	for len(r.buf) < r.length {
		there, err := r.there(ctx, block, word)
		if err != nil {
			return nil, err
		}
		r.copy(int(min(there, max(r.batch, word))))
	}
	r.length = -1
	return r.buf, nil
}

// copy takes up to n bytes of the message that is being copied.
func (r *Receiver) copy(n int) {
	n = min(n, r.length-len(r.buf), len(r.ring)-r.at)
	if free := cap(r.buf) - len(r.buf); free < n {
		// No more than what has come, so that a wrong length costs no memory.
		grown := make([]byte, len(r.buf), min(r.length, max(2*(len(r.buf)+n), int(min(r.size, 1<<20)))))
		copy(grown, r.buf)
		r.buf = grown
	}
	r.buf = append(r.buf, r.ring[r.at:r.at+n]...)
	r.took((uint64(n) + word - 1) &^ (word - 1))
}

// there waits until need bytes are there, and says how many are.
func (r *Receiver) there(ctx context.Context, block bool, need uint64) (uint64, error) {
	r.want = need
	for {
		if err := r.usable(); err != nil {
			return 0, err
		}
		over := r.over() // before the look: what was published before the end still counts
		there, err := r.look()
		switch {
		case err != nil:
			return 0, err
		case there >= need:
			return there, nil
		case over != nil:
			return 0, over
		case r.read != r.published:
			r.publish(r.read) // what the sender may be waiting for
			continue
		case !block:
			return 0, ErrWouldBlock
		}
		if _, err := wait(ctx, []End{r}); err != nil {
			return 0, err
		}
	}
}

// look looks how much is there by now.
func (r *Receiver) look() (there uint64, err error) {
	written := r.theirs()
	if err := r.checked(written - r.read); err != nil {
		return 0, err
	}
	r.written = written
	return written - r.read, nil
}

func (r *Receiver) ready() bool {
	if r.halt.Load() || r.peer.InDoubt() || r.over() != nil {
		return true
	}
	want := r.want
	if r.held > 0 { // the next message
		want = r.held + word
	}
	there, err := r.look()
	return there >= want || err != nil
}
