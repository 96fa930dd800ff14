//go:build !windows

package parallel

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

const inheritsFiles = true

// inheritPipes gives the new process both pipes, and files after them, and says under which numbers it has the pipes.
func inheritPipes(cmd *exec.Cmd, orders, reports *os.File, files []*os.File) (o, r uint64) {
	cmd.ExtraFiles = append([]*os.File{orders, reports}, files...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // signals of a terminal are the leader's
	return 3, 4
}

// inheritedPipes opens them there. What this process starts does not inherit them.
func inheritedPipes(t ticket) (orders, reports *os.File, err error) {
	for _, fd := range []int{int(t.Orders), int(t.Reports)} {
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
			return nil, nil, fmt.Errorf("the ticket was not made for this process: descriptor %d is no pipe", fd)
		}
		syscall.CloseOnExec(fd)
	}
	return os.NewFile(uintptr(t.Orders), "orders"), os.NewFile(uintptr(t.Reports), "reports"), nil
}
