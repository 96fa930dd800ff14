// Package dshash is a hash table in an area of shm/dsa, for all sessions that have the area attached: it grows and
// shrinks with what is in it.
//
// It adds to dsa what finds things again: a Table of any K and V that may lie in shared memory, and Bytes, of
// byte strings of any length.
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
// What it does not promise: an order of entries, or that several changes are seen together. Nobody looks for
// deadlocks: who holds an entry and asks for another waits until his context ends, if that one's partition is held
// by one who waits for him, or by himself. A session that is stopped with an entry blocks its partition, and
// nobody else's lookup by Get. PostgreSQL's namesake is dshash.
//
// # Partitions, lines, items
//
// A table is cut into partitions by hash, each with a lock and an array of its own: so they grow one by one, and
// nobody waits for all. An array is lines of 64 bytes: seven slots with pointers, a byte of each one's hash, and
// how many entries wanted this line and found it full. A lookup reads the partition's line, nearly always one of
// the array's, and the item.
//
// A value that is a word is changed by one store. Any other change is made in a copy of the item, and is there when the
// slot is stored; what was there before is freed, or kept for the next change, after the partition's version has gone up.
// If there is no memory for a copy, and the new value is not longer, the item is written in place, while the version is
// odd. So Get reads slot and item without a lock and then looks whether the version is still what it was at first, and
// even.
//
// Arrays are replaced in steps, by calls that change something: see resize.go.
//
// # What a death leaves
//
// The slots are the truth; tags, overflow and counts follow from them. Each partition has two hands. An object
// that is not in a slot is in a hand, and dsa.Area.AllocInto and FreeFrom ensure that it is either the hand's
// or the allocator's, at every instruction. Whoever takes a partition's lock over from the dead has dsa recover
// the dead first, and then frees what is in the hands, unless a slot leads to it.
//
//	who dies                              leaves                                and the next in the partition
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
//	making the reserve longer             an object in the place that is not    nothing: who makes it longer next frees
//	                                      the reserve's                         it
//	growing or shrinking, before the      the new array in next, clear or not   frees the new one
//	array is stored
//	growing or shrinking, after it        some entries in old, at most one in   leaves them there, that one in the
//	                                      array too                             array
//	retiring the old array                it in next, and perhaps in old        frees it, or leaves it the old one
//	in AllocInto or FreeFrom for a hand   what dsa says: a hand that is empty,  nothing, or frees it
//	                                      or has the object
//	repairing                             a partition marked as dirty           repairs: each step is harmless twice
//	in Destroy                            a table with less in it               goes on as with any, or with Destroy
//	in Create                             an object that nobody knows of        nothing: it is the program's to lose
//	in CreateInto                         the word with no table, or all of it  nothing: who has the word knows
//
// A slot that leads nowhere, which takes a program that writes where it shouldn't, is ErrCorrupt for the call that finds
// it, and cleared by a repair, which the next call in the partition makes; Verify says how many were lost.
package dshash
