// Package dsa is a heap over as many segments as it takes, shared by processes that have them
// mapped at different addresses.
//
// Package shm lays out bytes whose shape is known beforehand. This package adds objects of any size that come and go,
// named by Pointers that are valid in every process. Segments come from a SegmentSource (package area has one over
// dsm), are added as the area grows, and go back when they are empty: those beyond Options.Keep at once, the others by
// Trim. The other processes unmap a segment that went back at a later call, or shortly after, when they are asked. A
// block that is free is free for every session, whichever session has it at hand: memory that a session keeps and does
// not use is taken from it when the area cannot grow, and by Trim. A failure to allocate is an error and never a panic.
// PostgreSQL's namesake is dsa.
//
// The package does not promise that no program writes where it should not; Options.Checked finds such writes. Nor does
// it free what a program had allocated when it died: an object stays until a session frees it, unless it was in the
// hands of a call at that moment.
//
// # Memory that is refused
//
// Every cause that keeps an area from growing matches ErrNoMemory: the area's limit, a quota of the instance, the
// system, or the number of segments. The error is returned after all memory that any session has freed was tried, so
// freeing objects is the answer to it, and a cache evicts when it sees it. Free blocks serve objects of their own size
// until their whole span is free, so a few objects that stay can hold many times their own bytes; Stats counts those as
// stragglers.
//
// # The end
//
// An Area ends for its session with Detach, or when the session is closed; its View ends then. From that moment on each
// call returns ErrClosed, including a call that is in flight and has found something. What such a call still stores
// reaches no other session.
//
// # Pointers that are kept too long
//
// Free and Bytes return ErrPointer for a Pointer whose object was freed in these cases: while the block is free; when
// the chunk belongs to another size and no block begins there; and when the segment went back. If the block has another
// object by then, normal mode takes that object for the first one: Bytes returns its bytes, and Free frees it. In
// checked mode each object of a block has another generation, which is in its Pointer: a stale Pointer is ErrPointer,
// except for one in 65,536, whose generation has come round.
//
// # Bytes that are gone
//
// If another program truncates a segment's object, Bytes and all calls that take more than some 100 ns return
// ErrCorrupt, and leave nothing locked. Alloc from a span that the session has, and Free into one, are shorter: there
// the fault ends the process, unless Options.Checked is set or the instance is in checked mode. Inside Session.Contain
// of package dsm these calls return ErrCorrupt too. Inside Segment.With alone a fault leaves the area of this process
// locked for objects of that size. Loads and stores in the slice that Bytes returned are the program's own; Contain
// makes errors of their faults.
//
// # Chunks, spans, blocks
//
// A segment is a header and chunks of 64 KiB. Each chunk has a description in the header. A run of chunks is one large
// object, or a span: blocks of one size, with two bits for each in the description. A block is allocated if it is used
// and not freed.
//
// A session that allocates many objects of a size has spans of that size to itself: it alone sets and clears "used"
// there, by plain stores, under a mutex of its own process. So Alloc, and Free of what the session has allocated, touch
// nothing that another process touches. Few objects of a size, and all of more than 8 KiB, come from spans that belong
// to no session, under the area's lock; so sessions do not keep spans that are mostly free from each other.
//
// A session that frees an object in another session's span sets "freed", by one compare-and-swap, and that session
// collects the block when it has no room left. A span that no session has is either full or has room. One that has room
// is in the list of its class. A full one is in no list; the first session that frees something in it makes it its own,
// or puts it into the list. All else (lists, chunks, large objects, segments) is done under the area's lock, once for
// many objects.
//
// A session that finds no memory otherwise, or that trims, takes spans from the sessions that have them and do not use
// them, whether those are idle or stopped: empty spans, and spans of the size that it needs if they have room. No call
// of the other session waits for that. The file take.go says how the two agree.
//
// # Locks
//
// A call takes locks in this order, and may skip any of them:
//
//  1. Stripes: mutexes of this process. There are 14 for the classes of blocks, which share them by their index, and
//     a last one for large objects and for all calls that belong to no class. A call takes one stripe. Trim, Detach and
//     the unmapping of segments take all, in the order of their index.
//  2. The lock for growth, in the area's header. It is held while the source makes a segment.
//  3. The area's lock, in the area's header. It guards rows, lists, chunks, large objects, and the state of every span,
//     except that a full span becomes owned, and an owned one full, by a compare-and-swap under a stripe alone.
//  4. Area.mapMu, a mutex of this process. It guards which segments are mapped, and is held while the source maps one.
//
// A function whose name ends in Locked runs under the area's lock (installLocked runs under mapMu, and those of Heap
// under that Heap's mutex). A function that needs a stripe says so in its comment. Locks 2 and 3 survive the death of
// their holder: the next session that takes the area's lock repairs what that guards, and the lock for growth guards
// nothing that this repair does not cover. A process that is stopped while it holds lock 2 or 3 makes the calls of
// others that need the lock fail after 10 seconds.
//
// # What a death leaves
//
// The truth is in few words, each changed by one store: a segment's row, a run's head, a block's bits. Bitmaps of
// chunks, counts and lists follow from those, and are derived anew if a session died with the lock. Each call first
// notes, in a word of its session, the object that it is about to allocate or free: the object "in its hands".
//
//	where the process dies                   what it leaves                    what mends it, and when
//	in Alloc or collecting, before that      a note on a span                  recovery: nothing to do
//	in Alloc, before "used" is stored        a note on a free block            recovery: nothing to do
//	in Alloc, after it                       a note on an allocated block      recovery frees it
//	in Free, own span, before the store      the same                          recovery frees it
//	in Free, other's span, before the stamp  the same                          recovery frees it: no other session had it
//	in Free, stamped, before the swap        the note says so                  recovery frees it, if still stamped
//	in Free, after the swap                  the same note                     the session that gets the block removes
//	                                                                           the stamp first, so it is left alone
//	in AllocInto, before the word is stored  a note, and an allocated block    recovery frees it
//	in AllocInto, after it                   a note, and the word reads it     the word owns it: left alone
//	in FreeFrom, before the word is cleared  the same                          the same: nothing was freed
//	in FreeFrom, after it                    a note, and the word is clear     as in Free
//	collecting what others freed             bits freed and not used           they mean nothing; the next session to
//	                                                                           harvestOwn clears them
//	in Alloc, in a shared span               the same, and the lock            the same, and lists are made anew
//	having emptied or opened a span          a span in the wrong place         recovery, Verify or Trim puts it right
//	taking a span, or giving one             a contested span                  the next session to take spans, Trim or
//	                                                                           Verify puts it where it belongs
//	with spans to itself                     spans with its number             recovery makes them every session's
//	with the lock                            lists, counts, bitmaps half done  the next session to lock makes them anew
//	before a run's head is stored            nothing                           the chunks are free still
//	while a segment comes                    no pin                            its source takes it back
//	                                         a row "coming"                    the next session to lock unpins it
//	while a segment goes                     a row "going"                     the next to lock, or Verify, unpins it
//	in Detach, as the last session           an area that is gone, in part     a session that tries to attach it goes on
//	in recovery                              what it had not come to           the next one: a step does no harm twice
//
// Recovery is done, under the lock, by a session that attaches, needs a new segment, trims or verifies, for each
// session in the area's table that is dead. The last session to detach needs none: it removes all. A session that
// closes can map nothing more: where it would have to, to put a span into a list, it leaves the lists to be made anew.
// If all sessions of an area die and no other attaches, its segments stay until the source ends.
package dsa
