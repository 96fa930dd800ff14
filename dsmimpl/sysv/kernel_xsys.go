//go:build linux || darwin

package sysv

import "golang.org/x/sys/unix"

const (
	ipcPrivate = unix.IPC_PRIVATE
	ipcCreat   = unix.IPC_CREAT
	ipcExcl    = unix.IPC_EXCL
)

func shmget(key int32, size, flags int) (int, error) { return unix.SysvShmGet(int(key), size, flags) }

func shmat(id int, readOnly bool) ([]byte, error) {
	flags := 0
	if readOnly {
		flags = unix.SHM_RDONLY
	}
	return unix.SysvShmAttach(id, 0, flags)
}

func shmdt(b []byte) error { return unix.SysvShmDetach(b) }

func kernelRemove(id int) error {
	_, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	return err
}
