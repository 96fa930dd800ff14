package control

import "github.com/godsm/godsm/shm/shmsync"

// The witnesses are locks on the bytes of a file, the members file. If that is removed, another one comes in force in
// its place, by one store in the header that this file makes. It knows the files by their inodes alone, and opens
// none.

// Members returns the inode of the members file that is in force: what the constants say or, if that file was removed,
// the one of its successor. It takes no lock. A process that finds a row's byte free in another file than this one must
// not take the row's user for dead.
func (t *Table) Members() (ino uint64, err error) {
	err = contained(func() error { ino = t.header.members.Load(); return nil })
	return ino, err
}

// TellMembers has all sessions look for a successor of the members file. It returns at once; a session that it does not
// reach looks by itself after some time.
func (t *Table) TellMembers() { t.tellMailboxes(shmsync.NewsMembers) }
