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

// Kinds of failure. They match with errors.Is.
var (
	ErrDetached   = errors.New("the other end is detached")
	ErrWouldBlock = errors.New("it would block")
	ErrPeerDied   = errkind.PeerDied // the other end's process died
	ErrCorrupt    = shm.ErrCorrupt
	ErrExists     = errkind.Exists // that end, or that queue, is there already
	ErrNotFound   = errkind.NotFound
	ErrClosed     = errkind.Closed  // this end is detached
	ErrSize       = errkind.Size    // a message or a region of that size can't be
	ErrVersion    = errkind.Version // the queue has another layout version; the text says which program to upgrade
)

const (
	// HeaderSize is what a queue takes besides its ring.
	HeaderSize = 320
	// MaxMessage is the longest message, in bytes.
	MaxMessage = 1<<30 - 1
	// word is the length before each message, and what a message is rounded up to.
	word = 8
	// maxBatch keeps what is under way in the caches, however large the ring.
	maxBatch = 64 << 10
)

// Queue is a queue in shared memory. Its methods are safe for concurrent use. It is valid as long
// as the region's bytes are.
type Queue struct {
	h    *header
	ring []byte
	view *shm.View
}

var errUnmade = errkind.As(ErrClosed, errors.New("message queue: the zero Queue is none: Create or Attach makes one"))

// Size returns how many bytes a queue takes whose ring has n.
func Size(n int) int { return HeaderSize + n }

// Create makes an empty queue of all of r, whose bytes must be zero, as those of a new segment are. The ring is
// what is left of r after HeaderSize bytes, rounded down to 8, and at least that. A region in use is ErrExists,
// one too small ErrSize. If the maker dies inside Create, the bytes may stay neither: Attach is ErrNotFound and
// Create ErrExists until a process clears them.
func Create(r shm.Region) (q *Queue, err error) {
	defer answer(&err, r.View())
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
	h.size.Store(onebit.Word(uint64(size)))
	failpoint.Hit("mq/create/sized")
	h.magic.Store(magic)
	return Attach(r)
}

// Attach finds the queue that another call of Create has made in r. If there is none, or none yet, that is ErrNotFound;
// one of another layout version is ErrVersion.
func Attach(r shm.Region) (q *Queue, err error) {
	defer answer(&err, r.View())
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
	if size < word || size%word != 0 || size > uint64(r.Len()-HeaderSize) {
		return nil, corrupt("the ring's size is %d in a region of %d", size, r.Len())
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

func corrupt(format string, args ...any) error {
	return errkind.As(ErrCorrupt, fmt.Errorf("message queue: "+format, args...))
}

// SetSender says who is to send, before that one has attached, so that its death ends the receiver's wait. It is
// ErrExists if another process is known.
func (q *Queue) SetSender(p shmsync.Peer) error { return q.set("sender", p) }

// SetReceiver says who is to receive, as SetSender does.
func (q *Queue) SetReceiver(p shmsync.Peer) error {
	return q.set("receiver", p)
}

func (q *Queue) set(what string, p shmsync.Peer) (err error) {
	if q.h == nil {
		return errUnmade
	}
	l, err := q.view.Enter()
	if err != nil {
		return err
	}
	defer l.Leave()
	defer answer(&err, q.view)
	defer fault.Return(&err, fault.Catch())
	s, other := &q.h.sender, &q.h.receiver
	if what == "receiver" {
		s, other = other, s
	}
	if is := s.name(0, p.Word()); is != 0 && shmsync.PeerOf(is) != p {
		return errkind.As(ErrExists, fmt.Errorf("the %s is %v already", what, shmsync.PeerOf(is)))
	}
	failpoint.Hit("mq/set/named")
	other.wake()
	return nil
}

// Sender attaches this process as the one that sends. A queue has one sender in its life; a second one, in this
// process too, is ErrExists, and so is another one than SetSender has named.
func (q *Queue) Sender(self shmsync.Self) (*Sender, error) {
	s := &Sender{}
	if err := s.attach("sender", q, self); err != nil {
		return nil, err
	}
	s.written, s.read = s.published, s.first
	if err := s.checked(s.written - s.read); err != nil {
		return nil, err
	}
	return s, nil
}

// Receiver attaches this process as the one that receives, as Sender does.
func (q *Queue) Receiver(self shmsync.Self) (*Receiver, error) {
	r := &Receiver{length: -1}
	if err := r.attach("receiver", q, self); err != nil {
		return nil, err
	}
	r.read, r.written = r.published, r.published
	if err := r.checked(r.first - r.read); err != nil {
		return nil, err
	}
	return r, nil
}

// attach runs under a lease of the view: it takes the end and ensures that the end of the view gives it back.
func (e *end) attach(what string, q *Queue, self shmsync.Self) (err error) {
	if q.h == nil {
		return errUnmade
	}
	l, err := q.view.Enter()
	if err != nil {
		return err
	}
	defer l.Leave()
	defer answer(&err, q.view)
	defer answer(&err, self.View)
	defer fault.Return(&err, fault.Catch())
	if self.View.Ended() {
		return self.View.Err()
	}
	mine, other := &q.h.sender, &q.h.receiver
	if what == "receiver" {
		mine, other = other, mine
	}
	me := self.Peer.Word()
	if is := mine.name(me, me|taken); is != 0 {
		return errkind.As(ErrExists, fmt.Errorf("the %s is %v already", what, shmsync.PeerOf(is)))
	}
	failpoint.Hit("mq/attach/taken")
	e.ring, e.size = q.ring, uint64(len(q.ring))
	e.batch = min(e.size/4, maxBatch) &^ (word - 1)
	e.mine, e.other, e.self, e.want = mine, other, self, word
	e.peer.Waits, e.peer.Stay, e.peer.Wake, e.peer.Late = self.Waits, true, e.rouse, e.late
	e.published, e.first = mine.at(), other.at()
	e.at = int(e.published % e.size)
	if e.published%word != 0 {
		return corrupt("the position of the %s is %d", what, e.published)
	}
	e.views = [2]*shm.View{q.view, self.View}
	for _, v := range e.views {
		e.forget = append(e.forget, v.OnEnd(e.finish))
	}
	e.wakeOther()
	return nil
}

// answer is deferred by what used bytes of v: if v has ended, that is the answer.
func answer(err *error, v *shm.View) {
	if v.Ended() {
		*err = v.Answer(*err)
	}
}
