//go:build linux || darwin || freebsd

// Package sysv is the backend sysv: System V shared memory, shmget and its kin.
//
// Traps of the primitive. Objects have no names, only a 32-bit key that any program may use, so ours carry the
// life in what IPC_STAT shows without attaching: the key is 16 bits of the life and 16 that follow from
// the row and the generation (so no two rows of a control segment ever mean one key), and the exact size is
// the size asked for, rounded up to pages, plus 1, plus 12 bits of the life. An object is removed only if
// its key, exact size and creator's user are ours and, while no process has written down its shmid, its creating
// process is the row's, or dead: of a process in another pid namespace the kernel shows another pid than
// the process itself has seen. Memory is not reserved: the kernel's limits are checked at creation, its memory
// only when touched. The limits are small outside Linux.
package sysv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/sys/filemap"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// New returns the backend.
func New() dsmimpl.Backend { return backend{} }

type backend struct{}

// shmid returns the shmid that a word stands for. A word is the shmid plus one, so that 0 stays "not known".
func shmid(word uint64) int { return int(word) - 1 }

// word returns the word of a shmid.
func word(id int) uint64 { return uint64(id) + 1 }

// status is what the kernel says of an object to one who has not attached it.
type status struct {
	key        int32
	size       uint64
	uid        int
	creatorPid int
	users      uint64 // that have it attached
}

func (backend) Name() string { return "sysv" }

func (backend) Create(ctx context.Context, o dsmimpl.Object) (dsmimpl.Mapping, uint64, error) {
	if err := dsmimpl.CheckSize(o.Size); err != nil {
		return dsmimpl.Mapping{}, 0, err
	}
	if o.Size > math.MaxInt-(os.Getpagesize()+1<<13) {
		return dsmimpl.Mapping{}, 0, errkind.As(dsmimpl.ErrSize,
			fmt.Errorf("a segment of %d bytes is too large for this system", o.Size))
	}
	if ctx.Err() != nil {
		return dsmimpl.Mapping{}, 0, context.Cause(ctx)
	}
	k, size := key(o), exactSize(o)
	if k == ipcPrivate {
		return dsmimpl.Mapping{}, 0, fs.ErrExist // would make an object that no process finds
	}
	id, err := shmget(k, size, ipcCreat|ipcExcl|0o600)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return dsmimpl.Mapping{}, 0, err
		}
		return dsmimpl.Mapping{}, 0, refused(err, k, size)
	}
	failpoint.Hit("sysv/create/made")
	b, err := attach(id, false)
	if err != nil {
		failpoint.Hit("sysv/create/refused")
		_ = kernelRemove(id) // ours: IPC_EXCL made it
		return dsmimpl.Mapping{}, 0, errkind.Classify(fmt.Errorf("shmat of %d bytes: %w", size, filemap.NoRoom(err)))
	}
	return dsmimpl.Mapping{Bytes: b[:o.Size]}, word(id), nil
}

func (backend) Attach(_ context.Context, o dsmimpl.Object, a dsmimpl.Access) (dsmimpl.Mapping, error) {
	id, st, err := find(o)
	if err != nil {
		return dsmimpl.Mapping{}, err
	}
	size := o.Size
	if size == 0 {
		size = int(st.size) - mark(o)
	}
	if !ours(o, st) || size <= 0 || (o.Size != 0 && int(st.size) != exactSize(o)) {
		return dsmimpl.Mapping{}, errkind.As(dsmimpl.ErrNotFound,
			fmt.Errorf("shmid %d, key %#x: belongs to another process", id, uint32(st.key)))
	}
	failpoint.Hit("sysv/attach/found")
	b, err := attach(id, a == dsmimpl.ReadOnly)
	if err != nil {
		if err != unix.EACCES { // it is ours, as just seen
			err = gone(err)
		}
		return dsmimpl.Mapping{}, errkind.Classify(fmt.Errorf("shmat of shmid %d: %w", id, filemap.NoRoom(err)))
	}
	if len(b) < size {
		_ = shmdt(b)
		return dsmimpl.Mapping{}, errkind.As(dsmimpl.ErrNotFound,
			fmt.Errorf("shmid %d holds %d bytes, not %d", id, len(b), size))
	}
	return dsmimpl.Mapping{Bytes: b[:size]}, nil
}

func attach(id int, readOnly bool) ([]byte, error) {
	if err := failpoint.Err("sysv/shmat"); err != nil {
		return nil, err
	}
	return shmat(id, readOnly)
}

func (backend) Detach(m dsmimpl.Mapping) error {
	err := failpoint.Err("sysv/shmdt")
	if err == nil {
		err = shmdt(m.Bytes)
	}
	return os.NewSyscallError("shmdt", err)
}

func (backend) Destroy(_ context.Context, o dsmimpl.Object) error {
	id, st, err := find(o)
	if errors.Is(err, dsmimpl.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if !ours(o, st) || (o.Size != 0 && int(st.size) != exactSize(o)) {
		return nil // another process's; ours is not there
	}
	if o.Word == 0 && o.CreatorPid != 0 && st.creatorPid != o.CreatorPid && alive(st.creatorPid) {
		return nil // the row's creator is dead, or this process
	}
	failpoint.Hit("sysv/destroy/found")
	if err = failpoint.Err("sysv/rmid"); err == nil {
		err = kernelRemove(id)
	}
	if err != nil && err != unix.EINVAL && err != unix.EIDRM { // those two: gone since
		return errkind.Classify(fmt.Errorf("IPC_RMID of shmid %d: %w", id, err))
	}
	return nil
}

func (backend) InUse(_ context.Context, o dsmimpl.Object) (bool, error) {
	_, st, err := find(o)
	if err != nil {
		return false, err
	}
	if !ours(o, st) {
		return false, errkind.As(dsmimpl.ErrNotFound, fmt.Errorf("key %#x: belongs to another program", uint32(st.key)))
	}
	return st.users > 0, nil
}

func (backend) Memory() string { return kernelNamespace() }

func (backend) Locate(o dsmimpl.Object) string {
	if o.Word == 0 {
		return fmt.Sprintf("key 0x%08x", uint32(key(o)))
	}
	return fmt.Sprintf("key 0x%08x shmid %d", uint32(key(o)), shmid(o.Word))
}

// find asks the kernel for the object that o's word, or else its key, means now.
func find(o dsmimpl.Object) (id int, st status, err error) {
	if o.Word != 0 {
		id = shmid(o.Word)
	} else if id, err = shmget(key(o), 0, 0); err != nil {
		return 0, st, errkind.Classify(fmt.Errorf("shmget of key 0x%08x: %w", uint32(key(o)), gone(err)))
	}
	if st, err = kernelStat(id, key(o)); err != nil {
		return 0, st, errkind.Classify(fmt.Errorf("IPC_STAT of shmid %d: %w", id, gone(err)))
	}
	return id, st, nil
}

// ours reports whether the object bears the marks of o's life, generation and row.
func ours(o dsmimpl.Object, st status) bool {
	return st.key == key(o) && st.uid == os.Geteuid() && marked(st.size, o.Life)
}

// gone maps what the kernel says of an object that was removed to fs.ErrNotExist. EACCES and EPERM say
// that the object is another user's, and so that ours is not there.
func gone(err error) error {
	switch err {
	case unix.EINVAL, unix.EIDRM, unix.EACCES, unix.EPERM:
		return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	}
	return err
}

// alive reports whether a process with that pid can be seen.
func alive(pid int) bool {
	if pid == 0 {
		return false // of a pid namespace that can't be seen from here
	}
	err := unix.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}

func key(o dsmimpl.Object) int32 {
	return int32(keyBase(o.Life) | uint32(uint16(o.Row())^salt(o)))
}

func keyBase(life uuid.UUID) uint32 { return uint32(dsmimpl.ShortID(life)>>12&0xffff) << 16 }

// salt lets the keys of one row differ between generations.
func salt(o dsmimpl.Object) uint16 {
	return uint16((o.Generation + dsmimpl.ShortID(o.Life)>>28) * 0x9e3779b97f4a7c15 >> 48)
}

func mark(o dsmimpl.Object) int { return 1 + int(dsmimpl.ShortID(o.Life)&0xfff) }

func exactSize(o dsmimpl.Object) int {
	page := os.Getpagesize()
	return (o.Size+page-1)/page*page + mark(o)
}

func marked(size uint64, life uuid.UUID) bool {
	m, page := uint64(mark(dsmimpl.Object{Life: life})), uint64(os.Getpagesize())
	return size > m && (size-m)%page == 0
}

func refused(err error, k int32, size int) error {
	err = fmt.Errorf("shmget of %d bytes with key 0x%08x: %w", size, uint32(k), err)
	switch {
	case errors.Is(err, unix.EINVAL):
		return errkind.As(dsmimpl.ErrNoSpace,
			fmt.Errorf("%w; the kernel's limit for one segment is %s", err, kernelLimit("shmmax")))
	case errors.Is(err, unix.ENOSPC):
		return errkind.As(dsmimpl.ErrNoSpace, fmt.Errorf("%w; %s", err, kernelUsedUp(size)))
	case errors.Is(err, unix.ENOMEM):
		return errkind.As(dsmimpl.ErrNoSpace,
			fmt.Errorf("%w; the kernel allows %s pages in all, or has no memory left", err, kernelLimit("shmall")))
	}
	return errkind.Classify(err)
}
