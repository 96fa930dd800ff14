package mq

import (
	"errors"
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/onebit"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/shmsync"
)

// Queue: making and finding one in a region, and attaching to its ends.
//
// A queue is a header and a ring; layout.go has the words. What lies there is checked when a process attaches. What
// Queue does not know: whether the bytes are a segment's, a file's or the heap's, and who else has them.

// Kinds of failure. They match with errors.Is.
var (
	// ErrDetached: the other end is detached, and nothing more comes from it.
	ErrDetached = errors.New("the other end is detached")
	// ErrWouldBlock: a call that does not wait can get no further now.
	ErrWouldBlock = errors.New("it would block")
	// ErrPeerDied: the other end's process died, and nothing more comes from it. The error is a
	// *shmsync.PeerDiedError.
	ErrPeerDied = errkind.PeerDied
	// ErrCorrupt: the queue's bytes are not what this package has written, or are gone.
	ErrCorrupt = shm.ErrCorrupt
	// ErrExists: that end, or that queue, is there already.
	ErrExists = errkind.Exists
	// ErrNotFound: there is no queue in the region, or not yet.
	ErrNotFound = errkind.NotFound
	// ErrClosed: this end is detached, or its segment or session is.
	ErrClosed = errkind.Closed
	// ErrSize: a message or a region can't have that size.
	ErrSize = errkind.Size
	// ErrVersion: the queue has another layout version; the text says which program to upgrade.
	ErrVersion = errkind.Version
)

const (
	// HeaderSize is how many bytes a queue takes besides its ring.
	HeaderSize = 320
	// MaxMessage is the longest message, in bytes.
	MaxMessage = 1<<30 - 1
	// word is the length in bytes of what stands before each message, its own length, and what a message is rounded
	// up to. So each length is a word of its own in the ring, in one piece.
	word = 8
	// maxBatch keeps what is under way in the caches, however large the ring.
	maxBatch = 64 << 10
)

// Queue is a queue in shared memory, as one process sees it. Its methods are safe for concurrent use. It is valid as
// long as the region's bytes are.
type Queue struct {
	h    *header
	ring []byte
	view *shm.View
}

// errUnmade is the answer of the zero Queue.
var errUnmade = errkind.As(ErrClosed, errors.New("message queue: the zero Queue is none: Create or Attach makes one"))

// Size returns how many bytes a queue takes whose ring has n bytes.
func Size(n int) int { return HeaderSize + n }

// Create makes an empty queue of all of r, whose bytes must be zero, as those of a new segment are. The ring is what
// is left of r after HeaderSize bytes, rounded down to 8, and at least that. A region in use is ErrExists, one too
// small ErrSize. If the process dies inside Create, the bytes may be neither: then Attach is ErrNotFound, and Create
// ErrExists, until a process clears them. Two calls of Create at once are for the caller to prevent.
func Create(r shm.Region) (q *Queue, err error) {
	defer answerOfQueue(&err, r.View())
	defer fault.Return(&err, fault.Catch())
	if r.View().Ended() {
		return nil, r.View().Err()
	}
	size := (r.Len() - HeaderSize) &^ (word - 1)
	if size < word {
		return nil, errkind.As(ErrSize,
			fmt.Errorf("a message queue wants %d bytes or more, this is %d", Size(word), r.Len()))
	}
	h, err := shm.At[header](r, 0)
	if err != nil {
		return nil, err
	}
	if h.magic.Load() != 0 || h.size.Load() != 0 {
		return nil, errkind.As(ErrExists, errors.New("the region is in use already: Create wants zero bytes"))
	}
	// The size comes before magic: a process that sees magic finds a size. A death in between leaves a region that is
	// in use and has no queue.
	h.size.Store(onebit.Word(uint64(size)))
	failpoint.Hit("mq/create/sized")
	h.magic.Store(magic)
	return Attach(r)
}

// Attach finds the queue that another call of Create has made in r. It does not wait, and may be called by any number
// of processes: the ends are taken by Sender and Receiver. If there is no queue, or not yet, that is ErrNotFound; one
// of another layout version is ErrVersion, and one whose size does not fit r is ErrCorrupt.
func Attach(r shm.Region) (q *Queue, err error) {
	defer answerOfQueue(&err, r.View())
	defer fault.Return(&err, fault.Catch())
	if r.View().Ended() {
		return nil, r.View().Err()
	}
	h, err := shm.At[header](r, 0)
	if err != nil {
		return nil, err
	}
	got := h.magic.Load()
	if got&(1<<56-1) == kind && got != magic {
		return nil, errkind.OtherVersion("the message queue", got>>56, version, "the process at its other end")
	}
	if got != magic {
		return nil, errkind.As(ErrNotFound, fmt.Errorf("no message queue, or none yet: the magic number is %#x", got))
	}
	size := onebit.Of(h.size.Load())
	// This refuses a size that reaches beyond the region, or at which a length could be in two pieces at the ring's
	// end.
	if size < word || size%word != 0 || size > uint64(r.Len()-HeaderSize) {
		return nil, errCorruptQueue("the ring's size is %d in a region of %d", size, r.Len())
	}
	ring, err := r.Bytes(HeaderSize, int(size))
	if err != nil {
		return nil, err
	}
	if err := r.View().Err(); err != nil {
		return nil, err
	}
	return &Queue{h, ring, r.View()}, nil
}

// SetSender names the session that is to send, before that has attached, so that its death ends the receiver's wait.
// It is ErrExists if another session has been named, or has attached. It wakes a receiver that waits, so that it
// notices.
func (q *Queue) SetSender(p shmsync.Peer) error { return q.setPeer("sender", p) }

// SetReceiver names the session that is to receive, as SetSender does.
func (q *Queue) SetReceiver(p shmsync.Peer) error {
	return q.setPeer("receiver", p)
}

// setPeer names the session of one end, and wakes the other end. It holds a lease of the view, since the store must
// reach other processes.
func (q *Queue) setPeer(what string, p shmsync.Peer) (err error) {
	if q.h == nil {
		return errUnmade
	}
	l, err := q.view.Enter()
	if err != nil {
		return err
	}
	defer l.Leave()
	defer answerOfQueue(&err, q.view)
	defer fault.Return(&err, fault.Catch())
	s, other := &q.h.sender, &q.h.receiver
	if what == "receiver" {
		s, other = other, s
	}
	if is := s.nameUser(0, p.Word()); is != 0 && shmsync.PeerOf(is) != p {
		return errkind.As(ErrExists, fmt.Errorf("the %s is %v already", what, shmsync.PeerOf(is)))
	}
	failpoint.Hit("mq/set/named")
	// The name is there before the other end is woken. A process that dies in between leaves that asleep until its
	// next beat.
	other.wakeSleeper()
	return nil
}

// Sender attaches this session as the one that sends. A queue has one sender in its life; a second one, in this
// process too, is ErrExists, and so is another one than SetSender has named. It does not wait for the receiver. The
// Sender is valid until Detach, or until the end of the region or of the session.
func (q *Queue) Sender(self shmsync.Self) (*Sender, error) {
	s := &Sender{}
	if err := s.attach("sender", q, self); err != nil {
		return nil, err
	}
	// This refuses positions that are farther apart than the ring is long, or out of step with words.
	s.written, s.read = s.published, s.first
	if err := s.checkPosition(s.written - s.read); err != nil {
		return nil, err
	}
	return s, nil
}

// Receiver attaches this session as the one that receives, as Sender does.
func (q *Queue) Receiver(self shmsync.Self) (*Receiver, error) {
	r := &Receiver{length: -1}
	if err := r.attach("receiver", q, self); err != nil {
		return nil, err
	}
	r.read, r.written = r.published, r.published
	if err := r.checkPosition(r.first - r.read); err != nil {
		return nil, err
	}
	return r, nil
}

// answerOfQueue is called by defer in what has used bytes of v: if v has ended, what was read means nothing, and the error
// is ErrClosed.
func answerOfQueue(err *error, v *shm.View) {
	if v.Ended() {
		*err = v.Answer(*err)
	}
}
