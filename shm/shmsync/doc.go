// Package shmsync has what goroutines of several processes wait for: locks, latches, condition variables,
// barriers. They lie in shared bytes and hold neither addresses nor anything of an operating system; no process
// that is killed keeps the others waiting. Over package shm, which lends bytes and ends the loan, it adds that a process
// sleeps until another one has changed a word, and that a dead process's share in a word is recognized and taken out.
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
//	EventCount   4      itself    a number that grows, and can be waited for
//	MailboxWord  192    Mailbox   goroutines of one session, woken by others through one word and a bit for each
//	MutexWord    4      Mutex     the control segment's own lock: 20 bits of incarnation, and the process that takes it
//	                              repairs at once
//	Slot         8      none      one more reader of a LWLock, or party of a Barrier: see there
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
// system takes to give back the dead session's witness. A Self without Waits has no watcher: then the goroutine asks every
// 8 ms. Nothing here looks for deadlocks: the context ends them.
//
// # How a word is changed
//
// Every word may be changed by any process at any moment, and by a stray store. So all of it is done by these rules, and
// a comment of a field or a function names the rule only where it departs from it:
//
//   - A method loads a word once into a local, judges the local, and swaps the word from the local to the next value. A
//     swap that fails begins again with a new load.
//   - What matters of a lock or a barrier is in words that one swap changes as a whole. So a process that dies between two
//     instructions leaves a state that has a meaning; the comment before the swap, or the failpoint behind it, tells which.
//   - The process that changes a word makes the change first and wakes those that sleep on it afterwards. If it dies
//     between the two, the sleepers look by themselves: see Waiting.
//   - Two words that two processes store and load crosswise are stored before they are loaded, by both. All accesses are
//     sequentially consistent, so at least one of the two processes sees the other's store.
//   - What belongs to a dead session is taken out by the process that it is in the way of, by a swap from the value in which
//     that process has found the dead session. If two processes find the same, one of the swaps fails, which is harmless.
//
// # Lock order
//
// A program that takes several locks of this package takes them in an order of its own: the package never takes a second
// shared lock while it holds one. Inside a process it has these locks, none of which is in shared memory:
//
//	table       view.go           what has been made on which word, and the views that end with two others
//	room        LWLock            one goroutine of the process at a time waits for the word; held during the wait
//	gate        Mutex             one goroutine of the process at a time has the word or waits for it
//	roll        disavow.go        the locks of the process, for Disavow
//	check.mu    LWLock            the guards of readers that have a number
//	Mailbox.mu  Mailbox           the seats; unlocked while the dealer or a waiter sleeps
//
// A goroutine that has table may take roll; one that has a room may take roll and check.mu; one that has roll may try
// a gate but does not wait for it. Below each of them may be taken the lock of a shm.View and that of a session's
// waits.Waits, which call nothing of this package while they are locked.
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
// A lock keeps no process from writing what it guards, and does not restore it. There is no order among those that wait,
// but for what LWLock says of starvation; nothing measures for how long a lock is held, and a process that is stopped,
// not dead, keeps what it holds. Words that a neighbour garbled can make waits fail or last until their context is
// over, never end the process. One wrong bit in the word of a LWLock or a Mutex costs a wait of up to two seconds in
// sessions that call Disavow, as those of package dsm do, and may let a second holder in beside the first; one in a
// Latch, a Barrier or a Cond costs a wake-up. A segment that a neighbour truncates is another matter: Lock, RLock,
// TryLock, Unlock, Latch.Set, Latch.Reset, Latch.IsSet, and all of Count, end the process, unless they are called
// inside Session.Contain of package dsm, which has an error then and gives back what its goroutine has locked; what
// waits is ErrCorrupt.
package shmsync
