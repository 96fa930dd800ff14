// Package waitqueue is the part of a lock in shared memory that decides who has it: a word with the first holder in place,
// and a queue of records, of further holders and of those who wait.
//
// It adds to shmsync what its locks do not have: five modes, any number of holders of which each is named, and a queue that
// is fair by time. It knows nothing of names, sessions or sleeping. The caller keeps each Head and Record somewhere in
// shared memory, has a mutex for each Head under which all methods of Queue run (their names end in Locked), and rings the
// waiters that CallLocked has named.
//
// # The word
//
// A hold in place is one word: who, mode, owner, a number. It is taken from a word that is 0 and given back by one
// compare-and-swap each, without the mutex, so there is no instruction at which a lock is held by no one or freed by no
// one. The flag Slow says that there is more than the word: records of holders or waiters. It is set under the mutex before
// anyone looks whether the lock is held, and cleared under it when no such record is left. While it is set the word is
// still given back by a compare-and-swap, but taken only under the mutex.
//
// # The record
//
// A record's word says what it is; only the session that the record belongs to changes it, but for an idle hold, which
// anyone may revoke by compare-and-swap, and for records of sessions that died.
//
//	free ---> waiting ---> held ---> free
//	            |           |  ^
//	            v           v  |
//	          gone         idle ---> gone (revoked)
//
// The list of a head's records is derived from them: Relink makes it anew, in the order of tickets, after a death with the
// mutex. So there are no notes of steps, and a repair that is cut short is begun again.
//
// # Offers
//
// No process is given a lock. A waiter whose turn has come is called: the time of the call is put into its record, its session
// is rung, and when it runs it takes the lock itself, under the mutex. Until it has waited for its patience (a millisecond; a
// set of names longer) others who run may take the lock before it. From then on its call is an offer: no process may take what
// conflicts with it. A waiter that was called and has not come for 20 ms is passed over, keeping its place, until it runs;
// each time that this happens it is given twice as long, up to a second. So a waiter that is stopped, or dead, or busy,
// holds nothing up for longer than that, and nothing that is not running ever has the lock. A wait that ends takes back
// nothing: the waiter is not in.
//
// A waiter waits for the holds that are ahead of it, for its patience, and for one more hold, and each of those ahead for
// as long as it takes to run once called.
//
// # Deaths
//
//	who dies                                  leaves                      and then
//	holding in place                          the word                    SweepLocked frees it and reports its mode
//	with a record of any kind                 the record                  SweepLocked removes it, and reports the mode of a hold
//	called                                    the same; it holds nothing  the same; until then it is passed over
//	in a method, under the mutex              a list half made, Slow      the next one who has the mutex: Relink
//	having set Slow and nothing else          Slow                        CallLocked clears it
//	having given back, before CallLocked      waiters that are not called each waiter looks itself, at growing intervals
//
// Bytes that others have written over make locks wrong, but no method panics or walks for ever: a walk ends after as many
// records as there can be.
package waitqueue
