package liveness

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Sweep is how often the living should be asked for without news. Here it is the second line: for processes of
// other pid namespaces, and when descriptors ran out.
const Sweep = 250 * time.Millisecond

// reserve is how many descriptors watches leave to the rest of the process: a death that no watch tells of is found out
// by asking, but a process without descriptors can't even ask.
const reserve = 8

// Watch calls gone, once, when the process has died or the watch has failed: a hint. It waits in the network
// poller and costs a descriptor, not a thread. Stop ends the watch without a call.
func Watch(pid int, gone func()) (stop func(), err error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && uint64(fd)+reserve >= limit.Cur {
		unix.Close(fd)
		return nil, os.NewSyscallError("pidfd_open", unix.EMFILE)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	go func() {
		err := conn.Read(func(fd uintptr) bool {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(p, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		f.Close()
		if err == nil {
			gone()
		}
	}()
	return func() { f.Close() }, nil
}

// Stopped reports whether a process is stopped, as far as can be seen; for people.
func Stopped(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return bytes.HasPrefix(rest, []byte("T")) || bytes.HasPrefix(rest, []byte("t"))
}
