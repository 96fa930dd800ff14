package liveness

import (
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// Sweep is how often the living should be asked for without news.
const Sweep = 250 * time.Millisecond

// Watch calls gone, once, when the process has died: a hint. It occupies a thread. Stop ends the watch
// without a call, within a second.
func Watch(pid int, gone func()) (stop func(), err error) {
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return nil, os.NewSyscallError("OpenProcess", err)
	}
	stopped := make(chan struct{})
	go func() {
		defer windows.CloseHandle(h)
		for {
			event, err := windows.WaitForSingleObject(h, 1000)
			select {
			case <-stopped:
				return
			default:
			}
			if err != nil || event != uint32(windows.WAIT_TIMEOUT) {
				gone()
				return
			}
		}
	}()
	return func() { close(stopped) }, nil
}

// Stopped reports whether a process is stopped, as far as can be seen; for people.
func Stopped(int) bool { return false }
