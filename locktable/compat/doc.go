// Package compat lets programs that lock the parts of a store by a locktable.Table work beside older ones, which lock the
// whole store by one lock file, as containers/storage does: its package lockfile, in both generations.
//
// A process holds the lock file shared as long as it holds or waits for any lock of the table, so a reader among the older
// programs comes in at once, and a writer waits until all of the process's locks are given back. Whole locks the file
// exclusively, as such a writer does. Changed writes the file's last-writer token, so older programs read their index again.
//
// An older writer that waits comes in: when one is seen in /proc/locks, owners that hold nothing get no lock for up to a
// second, so the writer waits for the longest hold and a second in each process. Owners are told apart by Store.As; a call
// without an owner counts as one that holds nothing, and may so wait that second for itself. Where /proc/locks shows only a
// part of the system, in a pid namespace, the file is let go of once in ten seconds as well.
//
// # One store, one table
//
// A table guards a store only if all who use the store use that table, and two programs may share a disk but not /dev/shm,
// or be of two generations of an instance. So there is a second file beside the lock file, PATH.table, with the number of
// the table that guards the store now, which all who hold or wait for a lock hold shared. A process of another table finds
// that, and holds the lock file exclusively for each of its locks, or gets ErrOtherTable: there are never two writers. So
// do all processes on a network file system, where locks of files are not what they are elsewhere.
//
// # Descriptors
//
// A process opens the lock file once, and never closes it: closing any descriptor of a file drops all its POSIX locks of that
// process, those of the older library too. A child that is forked without exec inherits the descriptors, and holds what the
// process held for as long as it lives. The package is for Linux alone: others have no locks that belong to a descriptor.
package compat
