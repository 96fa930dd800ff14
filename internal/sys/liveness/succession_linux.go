package liveness

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/godsm/godsm/internal/failpoint"
	"golang.org/x/sys/unix"
)

// A members file that has been removed can't be given its name again, though the living have it open: another file
// comes in its place, in four steps.
//
//  1. The supervisor makes the successor, takes its own row's byte in it, and gives it the name (Renew).
//  2. Each session finds it under the name and takes its byte there, too (Follow). All still ask the old file.
//  3. The supervisor sees that all who hold a byte of the old one hold that of the new one (Succeeded), and has the books
//     say that the new one is in force, in one section of the control lock.
//  4. From then on the new one is asked, and newcomers may take rows in it.
//
// Who asks the old file in the moment of step 3 and finds a byte free looks at what is in force once more (Held).

// Heed gives the Roll what tells the inode of the file that is in force, as the books say it; not ok if they can't be
// read. It is called before the Roll is used by more than one goroutine.
func (r *Roll) Heed(inForce func() (ino uint64, ok bool)) { r.inForce = inForce }

// InForce reports whether the Roll's witnesses are those that are asked for.
func (r *Roll) InForce() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.inForce == nil {
		return true
	}
	ino, ok := r.inForce()
	return ok && (ino == r.now.id.Ino || r.next != nil && ino == r.next.id.Ino)
}

// named returns the identity of the regular file that has the name; zero if there is none.
func (r *Roll) named() (id Identity, err error) {
	var st unix.Stat_t
	err = r.dir.Use(func(at int) error { return unix.Fstatat(at, r.name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err == unix.ENOENT || err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return Identity{}, nil
	}
	return Identity{Dev: uint64(st.Dev), Ino: st.Ino}, err
}

// Renew makes a successor under the file's name, in the place of what has it.
func (r *Roll) Renew() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	made := r.name + ".new"
	if err := r.dir.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := CreateIn(r.dir, made); err != nil {
		return err
	}
	failpoint.Hit("liveness/renew/made")
	f, err := r.followLocked(made)
	if err != nil {
		return err
	}
	if err := r.dir.Rename(made, r.name); err != nil {
		f.close()
		_ = r.dir.Remove(made)
		return err
	}
	failpoint.Hit("liveness/renew/named")
	r.succeedBy(f)
	return nil
}

// Follow takes the Roll's rows in the successor, if there is one under the file's name, and forgets a file that is not in
// force any more.
func (r *Roll) Follow() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now.hold < 0 || r.inForce == nil {
		return nil // it is closed, or has no successor
	}
	if ino, ok := r.inForce(); ok && r.next != nil && ino == r.next.id.Ino {
		r.now.close()
		r.now, r.next = r.next, nil
	}
	id, err := r.named()
	if err != nil || id == (Identity{}) || id == r.now.id || r.next != nil && id == r.next.id {
		return err
	}
	f, err := r.followLocked(r.name)
	if err != nil {
		return err
	}
	failpoint.Hit("liveness/follow/taken")
	r.succeedBy(f)
	return nil
}

// followLocked opens a file and takes the Roll's rows in it. The caller holds the Roll's lock.
func (r *Roll) followLocked(name string) (*file, error) {
	f, err := openFile(r.dir, name)
	if err != nil {
		return nil, err
	}
	for row := range r.held {
		if took, err := f.take(row); !took {
			f.close()
			return nil, fmt.Errorf("row %d can't be locked in %s: %v", row, at(r.dir, name), err)
		}
	}
	return f, nil
}

func (r *Roll) succeedBy(f *file) {
	if r.next != nil {
		r.next.close()
	}
	r.next = f
}

// Successor returns the inode of the file that is to come in force.
func (r *Roll) Successor() (ino uint64, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.next == nil {
		return 0, false
	}
	return r.next.id.Ino, true
}

// Succeeded reports whether the successor has the row's witness, if its user lives.
func (r *Roll) Succeeded(row int) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.next != nil && (!r.now.isHeld(row) || r.next.isHeld(row))
}
