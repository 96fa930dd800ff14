package sysv

import "golang.org/x/sys/unix"

const sysctlPrefix = "kern.sysv."

// kernelStat can't read an object's key here; it asks whether the wanted key leads to the object.
func kernelStat(id int, wanted int32) (status, error) {
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d); err != nil {
		return status{}, err
	}
	st := status{size: d.Segsz, uid: int(d.Perm.Cuid), creatorPid: int(d.Cpid),
		users: uint64(d.Nattch)}
	if found, err := shmget(wanted, 0, 0); err == nil && found == id {
		st.key = wanted
	}
	return st, nil
}
