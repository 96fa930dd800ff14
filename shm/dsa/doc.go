// Package dsa is a heap over as many segments as it takes, shared by processes that have them
// mapped at different addresses.
//
// It adds to shm what nobody can lay out beforehand: objects of any size that come and go, named by Pointers that
// are valid in every process. Segments come from a SegmentSource (package area has dsm's), grow with the area, and
// go back when they are empty: at once those beyond Options.Keep, all of them by Trim, and the other processes unmap
// them at their next call, or when they are asked, soon. What is free in any session's hands can be had by every session: it is taken back when the
// area can't grow, and by Trim. No failure to allocate is a panic. What it does not promise: that no program writes where
// it shouldn't (Options.Checked finds it), or that a program that dies frees what it had. PostgreSQL's namesake is dsa.
//
// # Memory that is refused
//
// What keeps an area from growing is ErrNoMemory, whatever it is: the area's limit, a quota of the instance, the system,
// or the number of segments. It says that all memory which any session has freed was tried first, so freeing objects is
// the answer to it, and what a cache evicts on. Free blocks serve objects of their own size until their whole span is free: a
// few objects that stay can hold many times their own bytes; Stats counts those as stragglers.
//
// # The end
//
// An Area ends for its session with Detach, or when the session is closed: View tells. From then on each call is
// ErrClosed, also one that is in flight and has found something, and what it still does reaches no other session.
//
// # Pointers that are kept too long
//
// A Pointer whose object was freed is ErrPointer for Free and Bytes while its block is free, when the chunk has become
// another size's and no block begins there, and when its segment went back. If the block has another object by then,
// normal mode takes the one for the other: Bytes are that object's, and Free frees it. In checked mode each
// object of a block has another generation, which is in its Pointer: a stale one is ErrPointer, but for every 65,536th.
//
// # Bytes that are gone
//
// If another program truncates a segment's object, Bytes and all calls that take more than some 100 ns are ErrCorrupt,
// and leave nothing locked. Alloc from a span that the session has, and Free into one, are shorter: there the fault ends
// the process, unless Options.Checked is set or the instance is in checked mode. Inside Session.Contain of package dsm they
// are ErrCorrupt too. Inside Segment.With alone a fault leaves the area of this process locked for objects of that size.
// Loads and stores in what Bytes returns are the program's own: Contain makes an error of their faults.
//
// # Chunks, spans, blocks
//
// A segment is a header and chunks of 64 KiB. Each chunk has a description in the header. A run
// of chunks is one large object, or a span: blocks of one size, with two bits for each in the
// description. A block is allocated if it is used and not freed.
//
// A session that allocates many objects of a size has spans of that size to itself: it alone sets and clears "used" there,
// by plain stores, under a mutex of its own process. So Alloc, and Free of what the session has allocated, touch nothing that
// another process touches. Few objects of a size, and all of more than 8 KiB, come from spans that are no session's, under
// the area's lock: so sessions do not keep spans that are mostly free from each other. A session that frees an object in another's span sets "freed", by one compare-and-swap, and
// the span's session collects that when it has no room left. A span that no session has is full, and then the first to free
// something in it makes it its own, or puts it into the list of its class; or has room, and is in that list. All else (lists,
// chunks, large objects, segments) is done under the area's lock, once for many objects.
//
// A session that can't get memory otherwise, or trims, takes spans from the sessions that have them and do not use
// them, be those idle or stopped: empty ones, and those of the size that it needs if they have room. No call of a
// session waits for that. take.go says how the two agree.
//
// # What a death leaves
//
// The truth is in few words, each changed by one store: a segment's row, a run's head, a block's
// bits. Bitmaps of chunks, counts and lists follow from those, and are made anew if a session
// died with the lock. Each call notes first, in a word of its session, the object in its hands.
//
//	who dies                                 leaves                            and who mends it, when
//	in Alloc or collecting, before that      a note on a span                  recovery: nothing to do
//	in Alloc, before "used" is stored        a note on a free block            recovery: nothing to do
//	in Alloc, after it                       a note on an allocated block      recovery frees it
//	in Free, own span, before the store      the same                          recovery frees it
//	in Free, other's span, before the stamp  the same                          recovery frees it: nobody else had it
//	in Free, stamped, before the swap        the note says so                  recovery frees it, if still stamped
//	in Free, after the swap                  the same note                     who gets the block removes the stamp
//	                                                                           first, so it is left alone
//	in AllocInto, before the word is stored  a note, and an allocated block    recovery frees it
//	in AllocInto, after it                   a note, and the word reads it     the word owns it: left alone
//	in FreeFrom, before the word is cleared  the same                          the same: nothing was freed
//	in FreeFrom, after it                    a note, and the word is clear     as in Free
//	collecting what others freed             bits freed and not used           they mean nothing; the next to collect
//	                                                                           clears them
//	in Alloc, in a shared span               the same, and the lock            the same, and lists are made anew
//	having emptied or opened a span          a span in the wrong place         recovery, Verify or Trim puts it right
//	taking a span, or giving one             a contested span                  the next to take spans, Trim or Verify
//	                                                                           puts it where it belongs
//	with spans to itself                     spans with its number             recovery makes them everybody's
//	with the lock                            lists, counts, bitmaps half done  who has the lock next makes them anew
//	before a run's head is stored            nothing                           the chunks are free still
//	while a segment comes                    no pin                            its source takes it back
//	                                         a row "coming"                    who has the lock next unpins it
//	while a segment goes                     a row "going"                     who locks next, or Verify, unpins it
//	in Detach, as the last one               an area that is gone, in part     who tries to attach it goes on
//	in recovery                              what it had not come to           the next one: a step does no harm twice
//
// Recovery is done, under the lock, by whoever attaches, needs a new segment, trims or verifies,
// for each session in the area's table that is dead. The last to detach needs none: it removes all.
// A session that closes can map nothing more: where it would have to, to put a span into a list, it
// leaves the lists to be made anew. If all sessions of an area die and nobody comes, its segments
// stay until the source ends.
package dsa
