// Package mq is a message queue in shared memory: one process sends, one receives, and what lies in the shared
// bytes is a header and a ring. It knows nothing of segments: it works on any shm.Region, one of the heap too.
//
//	q, err := mq.Create(region)       // once; the others: mq.Attach(region)
//	s, err := q.Sender(self)          // in one process
//	r, err := q.Receiver(self)        // in another
//
//	err = s.Send(ctx, []byte("hello"))
//	err = s.Flush()                   // as with a bufio.Writer
//
//	msg, err := r.Receive(ctx)        // valid until the next call
//
// It adds to bytes that two processes have mapped: messages of any length, waits that end, and the news that the other
// process has detached or died. The ends may come in any order, and the receiver may come when the sender has gone. A
// message may be empty, and longer than the ring. Many receives from several queues, WaitAny waits for several ends of
// any kind, and Conn makes a pair of queues a net.Conn.
//
// PostgreSQL's namesake is shm_mq.
//
// # The end
//
// An end that detaches tells the other: what was sent still arrives, then ErrDetached. An end whose process dies
// tells no process, but the system tells the session of an end that waits for it (see internal/waits): what was
// published still arrives, then ErrPeerDied. Only an end that waits notices: TrySend and TryReceive do not know by
// themselves. A peer that has not attached yet is not asked for unless SetSender or SetReceiver has named it; the
// context bounds the wait for one that never comes.
//
// A queue is for one sender and one receiver in all its life. To begin again, clear the bytes when
// both have detached or died.
//
// When the segment is detached, or the session closed, both ends that this process has in it end: the other process
// notices as it does after Detach, but what was not flushed is not sent. Calls that wait end with ErrClosed, as do all
// from then on.
//
// # Waiting
//
// A wait begins with a short spin, which learns where it does not help; then the goroutine sleeps (see package
// shmsync on what that costs on which system). The other end makes a system call only if there is a process
// asleep.
//
// # Locks, and what a death leaves
//
// There is no lock in the shared bytes. Each end writes to its own words, and the sender alone to the ring; a position
// is stored after the bytes that it stands for. So a process may die at any instruction and leaves the queue in order,
// and nothing has to be repaired:
//
//	a process dies                        and leaves                            the other end
//	in Create                             bytes that are no queue               does not find one: ErrNotFound
//	attaching, after the end is taken     an end that is attached               gets ErrPeerDied once it waits
//	sending, before the position          bytes beyond it                       never reads them
//	sending a long message in part        the published pieces                  receives what came before, then ErrPeerDied
//	receiving                             an older position                     has less room, then ErrPeerDied
//	between a position and the wake-up    a sleeper that was not woken          is woken by the news of the death
//	detaching                             an end that is detached or dead       gets ErrDetached or ErrPeerDied
//
// In a process a Conn has mutexes; conn.go has their order. A Sender and a Receiver have none, and are for one goroutine
// at a time.
//
// # What is not promised
//
// Words that a neighbour garbled are ErrCorrupt, or garbled messages, never a fault or an endless loop; but a
// message in place can change while it is read. No process keeps a third process from writing the bytes. A segment that
// a neighbour truncates is ErrCorrupt for calls that wait and for a Conn; TrySend, TryReceive, Flush, and Send and
// Receive where they need not wait, end the process, unless they are called inside Session.Contain of package dsm.
//
// A receiver that dies has not said which messages it has worked on: what it had not published as read is lost with the
// queue.
package mq
