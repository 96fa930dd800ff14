// Package shmsync has what goroutines of several processes wait for: locks, latches, condition variables,
// barriers. They lie in shared bytes and hold neither addresses nor anything of an operating system; no process
// that is killed keeps the others waiting.
//
// What lies in shared memory is a word: a struct of fixed size without pointers, whose zero value is ready, placed
// as a field of one's own structs or by shm.At. What a process does with it goes through a handle of its own,
// bound to the word once and shared by its goroutines:
//
//	word         bytes  handle    for
//	LWLockWord   256    LWLock    one writer or many readers; a lock taken over from a dead writer says so
//	LatchWord    16     Latch     a flag that its one owner waits for and any process sets
//	BarrierWord  256    Barrier   phases that begin when all have arrived
//	Cond         4      itself    sleeping until a condition may have become true
//	Count        4      itself    a number that grows, and can be waited for
//	MailboxWord  192    Mailbox   goroutines of one session, woken by others through one word and a bit for each
//	MutexWord    4      Mutex     the control segment's own lock: 20 bits of incarnation, and the process that takes it
//	                              repairs at once
//
// Of processes it knows two small values: a Peer, which names a session, and Self, which is one's own Peer and the
// question: is that one alive? A dsm.Session has its Self; tests make their own.
//
// # Waiting
//
// Nothing waits without a context, and nothing takes a lock but the goroutine that asked. A wait begins with a
// short spin, which learns where it does not help; then the goroutine sleeps. A process uses one or two threads
// for that, however many goroutines sleep and on however many words (Linux from 5.16 on). On other systems the
// sleeper looks at growing intervals of up to a millisecond: a wake-up comes up to that much late, and each waiter
// costs some 1000 looks a second.
//
// A goroutine that waits for another session asks after 1, 2, 4 and 8 ms whether that is alive. From then on its session's
// watcher wakes it when that one has died (see internal/waits). So a death costs the others some milliseconds, and as long as the
// system takes to give back the dead one's witness. A Self without Waits has no watcher: then the goroutine asks every
// 8 ms. Nothing here looks for deadlocks: the context ends them.
//
// # The end
//
// When the segment is detached that a word lies in, or the session is closed, waits end, and each call from then on is
// ErrClosed or, without an error in its signature, does nothing. What a handle holds is given back first, if the
// session goes on: a lock as by a holder that died with it, a latch and a place in a barrier as if they had been left.
// Each call looks at the end between its load of a word and the swap of it, and the end changes every word that could
// be swapped so. Therefore nothing is acquired after it was given back.
//
// # What is not promised
//
// A lock keeps no process from writing what it guards, and does not restore it. Words that a neighbour garbled can
// make waits fail or last until their context is over, never end the process. One wrong bit in the word of a LWLock
// or a Mutex costs a wait of up to two seconds in sessions that call Disavow, as those of package dsm do, and may let a
// second holder in beside the first; one in a Latch, a Barrier or a Cond costs a wake-up. A segment that a
// neighbour truncates is another matter: Lock, RLock, TryLock, Unlock, Latch.Set, Latch.Reset, Latch.IsSet, and all of
// Count, end the process, unless they are called inside Session.Contain of package dsm, which has an error then and gives
// back what its goroutine has locked; what waits is ErrCorrupt.
package shmsync
