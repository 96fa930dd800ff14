// Package dshash is a hash table in an area of shm/dsa, for all sessions that have the area attached. The table grows
// and shrinks with its contents.
//
// It adds to dsa a way to find objects again: a Table of any K and V that may lie in shared memory, and Bytes, whose
// keys and values are byte strings of any length.
//
//	tab, err := dshash.Create[uint64, Account](a, dshash.Options{})
//	err = tab.Set(ctx, 7, Account{Balance: 100})
//	send(tab.Handle()) // another process: dshash.Attach[uint64, Account](a, handle, dshash.Options{})
//
//	account, found, err := tab.Get(ctx, 7) // a copy, without a lock
//	err = tab.Update(ctx, 7, func(a *Account, existed bool) error {
//		a.Balance -= 30
//		return nil // now the others see it
//	})
//
// Find, FindExclusive and Insert hold an entry over several calls, and return it.
//
// PostgreSQL's namesake is dshash.
//
// # What it does not promise
//
//   - An order of entries.
//   - That several changes are seen together: each Set, Delete and Release is atomic by itself, and no more.
//   - That a deadlock is found. A goroutine that holds an entry and asks for another one waits until its context ends
//     if the other entry's partition is held by a goroutine that waits for it, or by itself.
//   - Progress of a partition while a session is stopped that holds an entry of it. Get alone goes on there, since it
//     takes no lock.
//
// # Partitions, lines, items
//
// A table is cut into partitions by hash. Each partition has a lock and an array of its own, so partitions grow one by
// one, and no call waits for the whole table. An array consists of lines of 64 bytes. A line has seven slots with
// pointers, for each of them a byte of its key's hash (the tag), and the number of entries that wanted this line and
// found it full (the overflow). A lookup reads the partition's words, nearly always one line of the array, and the item.
//
// A value that is a single word is changed by one store. Any other change is made in a copy of the item, and takes
// effect by the store of the slot. The earlier item is freed, or kept for the next change, after the partition's version
// has gone up. If there is no memory for a copy, and the new item is not longer than the object of the old one, the item
// is overwritten, while the version is odd (see reserve.go). So Get reads slot and item without a lock, and then
// validates what it has read: it is right if the version is even and has not changed since Get began.
//
// Arrays are replaced in steps, by calls that change something in their partition (see resize.go).
//
// # Lock order
//
//  1. The lock of a partition. A goroutine may hold several, one for each entry that it holds. There is no order among
//     them, and that is where a deadlock can come from.
//  2. The reserve's lock, of which a table has one. It is taken with the lock of a partition held, or with none.
//  3. The locks of the area, by the calls of package dsa.
//  4. core.last.mu, a mutex of this process, for a moment. No lock in shared memory is taken under it.
//
// The methods of entry, and the functions of hands.go, change.go, resize.go and repair.go, run with the partition's lock
// held exclusively by their caller, unless they say otherwise. Get and Len take no lock.
//
// # What a death leaves
//
// The slots decide what the table contains. Tags, overflow and counts follow from them, and a repair computes them anew.
// Each partition has two hands: words in shared memory that own an object which is in no slot yet, or no longer.
// dsa.Area.AllocInto and FreeFrom ensure that such an object belongs to the hand or to the allocator at every
// instruction. The process that takes a partition's lock over from a dead session has dsa recover the dead sessions first;
// then it frees what is in the hands, unless a slot leads to it.
//
//	a process dies                        and leaves                            the next holder of the lock
//	holding an entry shared               a count in the lock                   subtracts it; nothing was changed
//	holding one exclusively               the copy in a hand                    frees it: the entry is as before
//	inserting, before the slot is stored  the item in a hand, overflow counted  frees it, and counts anew
//	inserting, after it                   the item in a hand too, tag or count  leaves it where it is: the entry is
//	                                      missing                               there, and has a tag from now on
//	updating, before the slot is stored   the copy in a hand, the old item in   frees the copy only
//	                                      the other and in its slot
//	updating, after it                    the copy in a hand and in its slot,   frees the old one
//	                                      the old item in the other
//	deleting, before the slot is cleared  the item in a hand and in its slot    leaves it: the entry is there
//	deleting, after it                    the item in a hand, tag, overflow     frees it, and counts anew
//	                                      and count off
//	before the version goes up            the same                              makes it go up, before anything is
//	                                                                            freed
//	updating in place, before redo is     a new item in the reserve             nothing: the entry is as before
//	stored
//	updating in place, after it           redo, an odd version, an item that    copies the new item again: the entry
//	                                      is not whole                          is changed
//	making the reserve longer or shorter  an object in the place that is not    nothing: the process that makes it
//	                                      the reserve's                         anew next frees the object
//	with a reserve that is too long       longest or loose                      measures the partition, and makes the
//	                                                                            reserve shorter
//	growing or shrinking, before the      the new array in next, clear or not   frees the new one
//	array is stored
//	growing or shrinking, after it        some entries in old, and one or all   leaves them there, those in both in
//	                                      of them in array too                  the array
//	retiring the old array                it in next, and perhaps in old        frees it, or leaves it the old one
//	in AllocInto or FreeFrom for a hand   what dsa says: a hand that is empty,  nothing, or frees it
//	                                      or has the object
//	repairing                             a partition marked as dirty           repairs: each step is harmless twice
//	in Destroy                            a table with less in it               goes on as with any, or with Destroy
//	in Create                             an object that no process knows of    nothing: the program has lost it
//	in CreateInto                         the word with no table, or all of it  nothing: the word's owner knows of it
//
// A slot that leads nowhere, which takes a program that writes where it shouldn't, is ErrCorrupt for the call that finds
// it. The next call in the partition repairs it, and clears the slot; Verify reports how many entries were lost that way.
package dshash
