// Package liveness knows living processes from dead ones, without guessing.
//
// Each session of an instance holds a witness: a kernel lock that belongs to its row and that the kernel
// gives back when the process is dead and no call of it is in flight. That holds whatever the pid
// namespace, however soon the pid is used again, for zombies (dead) and stopped processes (alive). It errs to
// "alive" for some milliseconds after a death, never to "dead".
//
// Three things keep it so. The lock is held by a raw descriptor of its own that nothing but Close closes: the
// garbage collector closes an os.File that no process holds. Questions go through a second descriptor, since a
// descriptor's own locks read as free. And the file is the very one whose identity is recorded in the control
// segment: another file proves nothing about any process.
//
// News of a death (Watch) is only a hint; no process is reclaimed on a hint.
package liveness

import (
	"fmt"

	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/sys/folder"
)

// Identity is what tells one file from all others of a machine.
type Identity = folder.Identity

// Create makes the members file at a path, which must not exist yet.
func Create(path string) error { return CreateIn(nil, path) }

// Open opens an existing members file. Every Roll is its own holder, in one process too.
func Open(path string) (*Roll, error) { return OpenIn(nil, path) }

// Prove finds out by trying whether locks work on the roll's file system as they must: held is seen from another
// description, and free again after Drop. Row must be free.
func (r *Roll) Prove(row int) error {
	took, err := r.Take(row)
	if err != nil || !took {
		return unproven(fmt.Sprintf("a free byte can't be locked (%v)", err))
	}
	held := r.Held(row)
	err = r.Drop(row)
	if !held {
		return unproven("a lock is not seen through a second descriptor")
	}
	if err != nil || r.Held(row) {
		return unproven(fmt.Sprintf("a lock given back is still seen (%v)", err))
	}
	return nil
}

func unproven(what string) error {
	return errkind.As(errkind.Unsupported,
		fmt.Errorf("file locks do not work here: %s; choose a directory on a local file system", what))
}

// at returns where a file is, for messages.
func at(dir *folder.Folder, name string) string {
	if dir == nil {
		return name
	}
	return dir.Join(name)
}
