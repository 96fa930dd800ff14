package proctest

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

var suspend = syscall.NewLazyDLL("ntdll.dll").NewProc("NtSuspendProcess")

func stop(p *os.Process) (err error) {
	return errors.Join(p.WithHandle(func(h uintptr) {
		if status, _, _ := suspend.Call(h); status != 0 {
			err = fmt.Errorf("NtSuspendProcess: status %#x", status)
		}
	}), err)
}
