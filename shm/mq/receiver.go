package mq

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
)

// The end that receives.
//
// A message is returned in place if it lies in one piece in the ring, and copied otherwise. In place it is the
// caller's until the next call: only then does the receiver's position move past it, and the sender may write there.
// The length of a message is in bytes that the sender can change at any time: each time that it is loaded, the local
// copy is checked against what has been published before a byte is read by it. So no length leads outside the ring;
// but nothing keeps a sender that breaks the rules from changing the bytes of a message while it is read.

// Receiver is the end that receives. Its methods are for one goroutine at a time, but Detach of the segment or the
// end of the session may come at any moment.
type Receiver struct {
	end
	// read is this end's position, published or not.
	read uint64
	// written is the sender's position as it was seen last; there is at least as much as it shows.
	written uint64
	// held is how many bytes the frame has that the caller has in place; 0 if it has none.
	held uint64
	// length is that of the message which is being copied; -1 if none is.
	length int
	// buf is what has been copied of it.
	buf []byte
	// smaller counts messages in a row that would not have needed so large a buf.
	smaller int
}

// A buffer of more than keptBuffer bytes is given up when enoughOf messages have come in a row that need no more than
// a quarter of it. So one long message does not take memory forever, and long ones in turn with short ones do not
// allocate each time. One of more than hugeBuffer bytes is given up at the first such message.
const (
	keptBuffer = 64 << 10
	hugeBuffer = 16 << 20
	enoughOf   = 16
)

// shrinkBuffer notes that a message came for which a smaller buffer would do, and gives the buffer up after enough of
// those, or at once if it is huge.
func (r *Receiver) shrinkBuffer() {
	if r.smaller++; r.smaller >= enoughOf || cap(r.buf) > hugeBuffer {
		r.buf, r.smaller = nil, 0
	}
}

// Receive waits for the next message and returns it: in place if it lies in one piece, copied otherwise. It is valid
// until the next call of any method of this Receiver. In place it is shared memory: a sender that breaks the rules
// could still change it, and when the segment is detached, or the session closed, it becomes zeros.
//
// When the sender has detached and all its messages have been received, the error is ErrDetached; if its process
// died, ErrPeerDied. Of a message that was sent in part nothing is returned. If ctx is over, the error is its cause;
// a message that is there wins over that.
func (r *Receiver) Receive(ctx context.Context) ([]byte, error) {
	if r.self.Checked {
		return r.receiveContained(ctx, true)
	}
	if b, ok := r.nextWhole(); ok {
		return b, nil
	}
	if r.errIfUnusable() == nil && r.length < 0 { // the sender may have published since
		if _, err := r.bytesThere(); err == nil {
			if b, ok := r.nextWhole(); ok {
				return b, nil
			}
		}
	}
	return r.receiveContained(ctx, true)
}

// receiveContained receives, and returns a fault of an access to the bytes as an error. In checked mode, where the bytes
// become inaccessible at the end of their view, every Receive comes here; otherwise Receive first tries without.
func (r *Receiver) receiveContained(ctx context.Context, block bool) (b []byte, err error) {
	defer r.answer(&err)
	defer fault.Return(&err, fault.Catch())
	if b, ok := r.nextWhole(); ok {
		return b, nil
	}
	return r.receive(ctx, block)
}

// All yields one message after the other, as Receive returns them: each is valid until the loop's body ends. The loop
// ends when the sender has detached and all its messages have been received. Any other error of Receive is yielded as
// the last. A loop that is left early goes on with the next call of All or Receive.
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

// TryReceive returns the next message as Receive does, but does not wait: if no whole message is there it is
// ErrWouldBlock. WaitAny waits for more. A message in pieces is copied as it comes, by one call after another.
func (r *Receiver) TryReceive() ([]byte, error) {
	if r.self.Checked {
		return r.receiveContained(context.Background(), false)
	}
	if b, ok := r.nextWhole(); ok {
		return b, nil
	}
	b, err := r.receive(context.Background(), false)
	r.answer(&err)
	return b, err
}

// Detach ends this end: the sender gets ErrDetached. What was sent and not received is lost. A message that was
// returned in place is not valid any more. To detach twice is harmless.
func (r *Receiver) Detach() {
	if !r.ended.Load() {
		r.close()
	}
}

// nextWhole returns the next message if that takes neither a wait nor a copy: it is known to be there, in one piece.
// Otherwise it reports false and changes nothing, but that the last message is released.
func (r *Receiver) nextWhole() ([]byte, bool) {
	if r.ended.Load() {
		return nil, false
	}
	r.releaseMessage()
	there := r.written - r.read
	if there < word || r.length >= 0 {
		return nil, false
	}
	// N may be any number. It is loaded once, and each test below bounds it before the next computes with it.
	n := binary.NativeEndian.Uint64(r.ring[r.at:])
	start := uint64(r.at + word)
	if start == r.size {
		start = 0
	}
	// This refuses a length that is more than has been published, before a sum of it could overflow, and a message
	// that is cut by the ring's end.
	if n > there || n+word > there || start+n > r.size {
		return nil, false
	}
	frame := frameSize(int(n))
	if frame > there {
		return nil, false
	}
	r.held = frame
	if cap(r.buf) > keptBuffer {
		r.shrinkBuffer()
	}
	return r.ring[start : start+n : start+n], !r.ended.Load()
}

// releaseMessage releases the message that was returned in place, if there is one.
func (r *Receiver) releaseMessage() {
	if r.held > 0 {
		r.advanceTaken(r.held)
		r.held = 0
	}
}

// advanceTaken moves on by n bytes, and publishes if enough has come together: then the sender has room for more.
func (r *Receiver) advanceTaken(n uint64) {
	r.advance(n)
	r.read += n
	failpoint.Hit("mq/receive/took")
	if r.read-r.published > r.batch {
		r.publish(r.read)
	}
}

// receive returns the next message in the long way: with a look at the sender's position, and copied if it is cut by
// the ring's end or longer than the ring. If block it waits until ctx is over; otherwise it is ErrWouldBlock, and
// what was copied is kept for the next call.
func (r *Receiver) receive(ctx context.Context, block bool) ([]byte, error) {
	if err := r.errIfUnusable(); err != nil {
		return nil, err
	}
	if r.length < 0 {
		if _, err := r.waitBytes(ctx, block, word); err != nil {
			return nil, err
		}
		n := binary.NativeEndian.Uint64(r.ring[r.at:])
		// This refuses a length that no sender has written.
		if n > MaxMessage {
			r.fault = errCorruptQueue("a message of %d bytes", n)
			return nil, r.fault
		}
		if start := (uint64(r.at) + word) % r.size; frameSize(int(n)) <= r.size && start+n <= r.size {
			if _, err := r.waitBytes(ctx, block, frameSize(int(n))); err != nil {
				return nil, err
			}
			if b, ok := r.nextWhole(); ok {
				return b, nil
			}
			// Next has loaded the length once more.
			r.fault = errCorruptQueue("the length of a message has changed")
			return nil, r.fault
		}
		// The message does not lie in one piece. Its length is taken, and its bytes follow as they come.
		r.advanceTaken(word)
		if cap(r.buf) <= max(keptBuffer, 4*int(n)) {
			r.smaller = 0
		} else {
			r.shrinkBuffer()
		}
		r.length, r.buf = int(n), r.buf[:0]
	}
	for len(r.buf) < r.length {
		there, err := r.waitBytes(ctx, block, word)
		if err != nil {
			return nil, err
		}
		r.copyBytes(int(min(there, max(r.batch, word))))
	}
	r.length = -1
	return r.buf, nil
}

// copyBytes takes up to n bytes of the message that is being copied: as many as are in one piece in the ring. The caller
// has seen that n bytes are there.
func (r *Receiver) copyBytes(n int) {
	n = min(n, r.length-len(r.buf), len(r.ring)-r.at)
	if free := cap(r.buf) - len(r.buf); free < n {
		// The buffer grows with what has come, at most to twice that, so that a wrong length costs no memory.
		grown := make([]byte, len(r.buf), min(r.length, max(2*(len(r.buf)+n), int(min(r.size, 1<<20)))))
		copy(grown, r.buf)
		r.buf = grown
	}
	r.buf = append(r.buf, r.ring[r.at:r.at+n]...)
	r.advanceTaken((uint64(n) + word - 1) &^ (word - 1))
}

// waitBytes returns how many bytes are there, at least need. If block it waits for that until ctx is over; otherwise it
// is ErrWouldBlock. Before it waits it publishes, as the sender may be waiting for room.
func (r *Receiver) waitBytes(ctx context.Context, block bool, need uint64) (uint64, error) {
	r.want = need
	for {
		if err := r.errIfUnusable(); err != nil {
			return 0, err
		}
		// Over is asked before the look: what was published before the end still counts, and is seen by a look after
		// it.
		over := r.errIfOver()
		there, err := r.bytesThere()
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

// bytesThere returns how much is there by now. It refuses a position of the sender that lies behind this end's, or so
// far ahead that the ring could not hold what is between: with such a one, bytes that were never sent would be read.
func (r *Receiver) bytesThere() (there uint64, err error) {
	written := r.otherPosition()
	if err := r.checkPosition(written - r.read); err != nil {
		return 0, err
	}
	r.written = written
	return written - r.read, nil
}

// ready reports whether there is as much as there waits for, or a reason to end the wait. A Conn's bell calls it too,
// from the goroutine that waits there.
func (r *Receiver) ready() bool {
	if r.halt.Load() || r.peer.InDoubt() || r.errIfOver() != nil {
		return true
	}
	want := r.want
	// The caller has a message in place; what it waits for is the next one.
	if r.held > 0 {
		want = r.held + word
	}
	there, err := r.bytesThere()
	return there >= want || err != nil
}
