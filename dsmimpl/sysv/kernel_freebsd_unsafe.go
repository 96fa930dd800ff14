//go:build freebsd

package sysv

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// From FreeBSD's sys/ipc.h and sys/shm.h; x/sys knows only the calls' numbers.
const (
	ipcPrivate = 0
	ipcCreat   = 0o1000
	ipcExcl    = 0o2000
	ipcRmid    = 0
	ipcStat    = 2
	shmRdonly  = 0o10000

	sysctlPrefix = "kern.ipc."
)

type shmidDs struct {
	cuid, cgid, uid, gid uint32
	mode, seq            uint16
	key                  int // a C long
	segsz                uintptr
	lpid, cpid           int32
	nattch               uint32
	_                    [3]int64 // times
}

func shmget(key int32, size, flags int) (int, error) {
	id, _, errno := unix.Syscall(unix.SYS_SHMGET, uintptr(key), uintptr(size), uintptr(flags))
	if errno != 0 {
		return -1, errno
	}
	return int(id), nil
}

func shmat(id int, readOnly bool) ([]byte, error) {
	var d shmidDs
	if err := shmctl(id, ipcStat, &d); err != nil {
		return nil, err
	}
	var flags uintptr
	if readOnly {
		flags = shmRdonly
	}
	addr, _, errno := unix.Syscall(unix.SYS_SHMAT, uintptr(id), 0, flags)
	if errno != 0 {
		return nil, errno
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), int(d.segsz)), nil
}

func shmdt(b []byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_SHMDT, uintptr(unsafe.Pointer(unsafe.SliceData(b))), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

func shmctl(id int, cmd uintptr, d *shmidDs) error {
	if _, _, errno := unix.Syscall(unix.SYS_SHMCTL, uintptr(id), cmd, uintptr(unsafe.Pointer(d))); errno != 0 {
		return errno
	}
	return nil
}

func kernelRemove(id int) error { return shmctl(id, ipcRmid, nil) }

func kernelStat(id int, _ int32) (status, error) {
	var d shmidDs
	err := shmctl(id, ipcStat, &d)
	return status{key: int32(d.key), size: uint64(d.segsz), uid: int(d.cuid), creatorPid: int(d.cpid),
		users: uint64(d.nattch)}, err
}
