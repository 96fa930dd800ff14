// Package locktable has locks by name between the processes of an instance: any number of names, of 1 to 4 parts each,
// with no file, no descriptor and no configured maximum for any of them.
//
//	t, err := locktable.Open(ctx, session, "storage", locktable.Options{})
//	ctx, owner := t.As(ctx, "pull alpine:3.20")
//	defer owner.Done()
//	h, err := t.Lock(ctx, locktable.Exclusive, "layers", digest)
//	if err != nil { ... }                  // it names who holds the lock, since when, and what that one does
//	defer h.Unlock()
//	if d, ok := h.Recovered(); ok { ... }  // a holder died here: remove what it left, and say h.Repaired()
//
// A table guards what the processes of one instance do. Two containers with instances of their own, or two machines
// with one network file system, have two tables, which know nothing of each other.
//
// It adds to shm/waitqueue, which decides who has a lock, the names, and to shm/roster, which knows what each session
// has, the sessions. Only open.go knows an instance; all else runs over any dsa.Area.
//
// # What it promises
//
// Locks are fair by time: who waits longest is first, but for the first millisecond, and readers that are next to each
// other go together; neither side starves. A process that holds a lock, waits for it, or was just called to take it
// may be killed at any instruction, stopped, or be a zombie: nothing is granted twice, the queue goes on, and the next
// holder learns of a death. A wait ends with its context whatever other processes do, and names those in the way.
// Cycles of owners that wait for each other are found, and named. Looking (List, Holders, Waiters, Waits) takes no
// lock.
//
// # What it does not promise
//
// A lock keeps no process from writing what it guards. A lock without an owner (As) is not found in cycles. Outside
// Linux waits are naps of up to a millisecond. A path is not normalized: what it names is between its users.
//
// # Inside
//
// doc/locktable.md has the layout, the protocol and what each death leaves. Lock order: the partitions' locks by
// number, then the area's. Of the process: an owner's mutex or an intent's before a partition's lock; a hold's mutex
// after it. A function that runs under a partition's lock ends in Locked.
package locktable
