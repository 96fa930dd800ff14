package mq

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/fault"
)

// The end that sends.
//
// A message is a frame: its length as a word, its bytes, and up to 7 bytes that mean nothing, so that the next frame
// begins at a word. A frame may be cut by the ring's end, at a word. The sender writes to the ring between its own
// position and the receiver's, plus the ring's size, and nowhere else; it stores its position after the bytes. So a
// receiver never sees bytes that are not there, and a sender that dies leaves what it has published and nothing of
// the rest.
//
// What is sent is seen by the receiver when it is published, not before. Nothing says that a message has been
// received.

// Sender is the end that sends. Its methods are for one goroutine at a time, but Detach of the segment or the end of
// the session may come at any moment.
//
// Messages are published in batches, as a bufio.Writer writes: the receiver is sure to see them, and to be woken,
// when Flush is called, when a quarter of the ring or 64 KiB have come together, and when the sender waits.
type Sender struct {
	end
	// written is this end's position, published or not.
	written uint64
	// read is the receiver's position as it was seen last; there is at least as much room as it shows.
	read uint64
	// begun is how many bytes of a frame are in the ring, if it is there in part; 0 if none is.
	begun uint64
	// frame is that frame's length in bytes.
	frame uint64
}

// frameSize returns how many bytes a message of n bytes takes in the ring.
func frameSize(n int) uint64 { return word + (uint64(n)+word-1)&^(word-1) }

// Send puts a message into the queue, and waits for room if there is none. A message may be empty, and longer than
// the ring. It is copied.
//
// The error is ErrDetached if the receiver has detached, and ErrPeerDied if there is no room and the receiver's
// process died. If ctx is over it is the cause of that: then a message that takes up to half the ring has not been
// sent. Of a longer one a part may be in the ring; it must be sent on, by a call with the same bytes, before another
// one, or the end detached. A message of more than MaxMessage bytes is ErrSize.
func (s *Sender) Send(ctx context.Context, b []byte) error {
	if !s.self.Checked && s.fits(len(b)) {
		s.putBytes(b)
		if s.ended.Load() {
			return errEnded
		}
		return nil
	}
	return s.sendOne(ctx, b)
}

// sendOne sends a message in the long way: with a look at the receiver's position, and a wait if need be.
func (s *Sender) sendOne(ctx context.Context, b []byte) error {
	parts := [1][]byte{b}
	return s.sendContained(ctx, true, parts[:])
}

// sendContained sends in such a way that a fault is an error. In checked mode, where the bytes become inaccessible at
// the end of their view, there is no other.
func (s *Sender) sendContained(ctx context.Context, block bool, parts [][]byte) (err error) {
	defer s.answer(&err)
	defer fault.Return(&err, fault.Catch())
	return s.send(ctx, block, parts)
}

// SendV sends a message whose bytes are those of the parts, one after another. See Send.
func (s *Sender) SendV(ctx context.Context, parts ...[]byte) error {
	return s.sendContained(ctx, true, parts)
}

// TrySend sends a message as SendV does, but does not wait: without room it is ErrWouldBlock. WaitAny waits for room.
// A message that takes up to half the ring has not been sent then; of a longer one a part may be in the ring: call
// again with the same arguments until that succeeds. A truncated segment ends the process, unless that is inside
// Session.Contain of package dsm.
func (s *Sender) TrySend(parts ...[]byte) error {
	if s.self.Checked {
		return s.sendContained(context.Background(), false, parts)
	}
	err := s.send(context.Background(), false, parts)
	s.answer(&err)
	return err
}

// Flush publishes what has been sent, and wakes the receiver if it sleeps. It does not wait. What is published is not
// lost, even if this process is killed. It is ErrDetached if the receiver has detached.
func (s *Sender) Flush() (err error) {
	if s.self.Checked {
		defer s.answer(&err)
		defer fault.Return(&err, fault.Catch())
	}
	if err := s.errIfUnusable(); err != nil {
		return err
	}
	if s.other.hasLeft() {
		return s.errEndedWith(ErrDetached)
	}
	if s.written != s.published {
		s.publish(s.written)
	}
	if s.ended.Load() {
		return errEnded
	}
	return nil
}

// Detach flushes and ends this end: the receiver gets what was sent, then ErrDetached. A message that is in the ring
// in part is never seen. To detach twice is harmless.
func (s *Sender) Detach() {
	if s.ended.Load() {
		return
	}
	defer s.close()
	defer fault.Ignore(fault.Catch())
	if s.fault == nil && s.written != s.published {
		s.publish(s.written)
	}
}

// fits reports whether a message of n bytes can be put at once, as far as is known without looking at the receiver's
// position.
func (s *Sender) fits(n int) bool {
	return n <= MaxMessage && frameSize(n) <= s.size-(s.written-s.read) && frameSize(n) <= s.size/2 &&
		s.begun == 0 && !s.ended.Load() && s.fault == nil && !s.other.hasLeft()
}

// putBytes writes a message that fits, and publishes if enough has come together.
func (s *Sender) putBytes(b []byte) {
	binary.NativeEndian.PutUint64(s.ring[s.at:], uint64(len(b)))
	at := s.at + word
	if at == len(s.ring) {
		at = 0
	}
	// The rest goes on at the ring's beginning. There is room for it there, since fits has counted the whole frame.
	if n := copy(s.ring[at:], b); n < len(b) {
		copy(s.ring, b[n:])
	}
	s.advanceWritten(frameSize(len(b)))
}

// advanceWritten moves on by n bytes that are in the ring, and publishes if enough has come together. A process that
// dies before publish leaves bytes behind its position, which mean nothing.
func (s *Sender) advanceWritten(n uint64) {
	failpoint.Hit("mq/send/written")
	s.advance(n)
	s.written += n
	if s.written-s.published > s.batch {
		s.publish(s.written)
	}
}

// send sends a message in parts, in pieces if it is long. If block it waits for room, until ctx is over; otherwise it
// is ErrWouldBlock.
func (s *Sender) send(ctx context.Context, block bool, parts [][]byte) error {
	n := 0
	for _, p := range parts {
		// This refuses a sum that is too large, also one that overflows.
		if n += len(p); n > MaxMessage || n < 0 {
			return errkind.As(ErrSize, fmt.Errorf("a message of more than %d bytes can't be sent", MaxMessage))
		}
	}
	if err := s.errIfOver(); err != nil {
		return err
	}
	frame := frameSize(n)
	// The receiver has the length of the message that was begun, and takes what comes next for its bytes.
	if s.begun > 0 && frame != s.frame {
		return errors.New("a message has been sent in part: " +
			"the rest of it must come first, by a call with the same bytes")
	}
	s.frame = frame
	for s.begun < frame {
		need := frame - s.begun
		// A message of up to half the ring goes in whole, so that a call that ends early has sent nothing of it. A
		// longer one goes in as room comes.
		if frame > s.size/2 {
			need = word
		}
		room, err := s.waitRoom(ctx, block, need)
		if err != nil {
			return err
		}
		// The message goes in pieces, so that the receiver can take one while this end writes the next.
		piece := min(room, frame-s.begun, max(s.batch, word))
		s.writeFrame(parts, n, piece)
		s.begun += piece
		s.advanceWritten(piece)
	}
	s.begun = 0
	return nil
}

// waitRoom returns how many bytes there is room for, at least need. If block it waits for that until ctx is over;
// otherwise it is ErrWouldBlock. Before it waits it publishes: the receiver can make room of what it knows of alone.
func (s *Sender) waitRoom(ctx context.Context, block bool, need uint64) (uint64, error) {
	s.want = need
	for {
		if err := s.errIfOver(); err != nil {
			return 0, err
		}
		if room := s.size - (s.written - s.read); room >= need {
			return room, nil
		}
		room, err := s.roomThere()
		switch {
		case err != nil:
			return 0, err
		case room >= need:
			return room, nil
		case s.written != s.published:
			s.publish(s.written) // what the receiver is to make room of
			continue
		case !block:
			return 0, ErrWouldBlock
		}
		if _, err := wait(ctx, []End{s}); err != nil {
			return 0, err
		}
	}
}

// roomThere returns how much room there is by now. It refuses a position of the receiver that lies ahead of this
// end's, or so far back that more would be in the ring than it has: with such a one, bytes that were not received
// would be overwritten.
func (s *Sender) roomThere() (room uint64, err error) {
	read := s.otherPosition()
	if err := s.checkPosition(s.written - read); err != nil {
		return 0, err
	}
	s.read = read
	return s.size - (s.written - read), nil
}

// ready reports whether there is as much room as room waits for, or a reason to end the wait.
func (s *Sender) ready() bool {
	if s.halt.Load() || s.peer.InDoubt() || s.errIfOver() != nil {
		return true
	}
	room, err := s.roomThere()
	return room >= s.want || err != nil
}

// writeFrame copies the next piece of a frame, of which begun bytes have been written, to the ring: piece bytes, of the
// length n and the parts. There is room for them.
func (s *Sender) writeFrame(parts [][]byte, n int, piece uint64) {
	at, from := s.at, int(s.begun)-word
	left := int(piece)
	// The length comes first, in one piece, as positions are multiples of a word.
	if s.begun == 0 {
		binary.NativeEndian.PutUint64(s.ring[at:], uint64(n))
		if at += word; at == len(s.ring) {
			at = 0
		}
		from, left = 0, left-word
	}
	for _, p := range parts {
		if from >= len(p) {
			from -= len(p)
			continue
		}
		for p = p[from:min(len(p), from+left)]; len(p) > 0; {
			c := copy(s.ring[at:], p)
			p, left = p[c:], left-c
			if at += c; at == len(s.ring) {
				at = 0
			}
		}
		from = 0
		if left == 0 {
			return
		}
	}
}
