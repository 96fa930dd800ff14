package parallel

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

const inheritsFiles = false

// inheritPipes gives the new process both pipes, and says under which numbers it has them.
func inheritPipes(cmd *exec.Cmd, orders, reports *os.File, _ []*os.File) (o, r uint64) {
	handles := []syscall.Handle{syscall.Handle(orders.Fd()), syscall.Handle(reports.Fd())}
	for _, h := range handles {
		_ = syscall.SetHandleInformation(h, syscall.HANDLE_FLAG_INHERIT, syscall.HANDLE_FLAG_INHERIT)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{ // a console's Ctrl-C is the leader's
		AdditionalInheritedHandles: handles, CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP,
	}
	return uint64(handles[0]), uint64(handles[1])
}

// inheritedPipes opens them there. What this process starts does not inherit them.
func inheritedPipes(t ticket) (orders, reports *os.File, err error) {
	for _, h := range []uint64{t.Orders, t.Reports} {
		kind, err := syscall.GetFileType(syscall.Handle(h))
		if err == nil && kind == syscall.FILE_TYPE_PIPE {
			err = syscall.SetHandleInformation(syscall.Handle(h), syscall.HANDLE_FLAG_INHERIT, 0)
		}
		if err != nil || kind != syscall.FILE_TYPE_PIPE {
			return nil, nil, fmt.Errorf("the ticket was not made for this process: handle %d is no pipe (%v)", h, err)
		}
	}
	return os.NewFile(uintptr(t.Orders), "orders"), os.NewFile(uintptr(t.Reports), "reports"), nil
}
