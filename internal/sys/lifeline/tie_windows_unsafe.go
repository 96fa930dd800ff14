//go:build windows

package lifeline

import (
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

// job is killed as a whole when its last handle, which this process has and no process inherits, is closed.
var job = sync.OnceValue(func() windows.Handle {
	h, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0
	}
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE |
		windows.JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK
	if _, err := windows.SetInformationJobObject(h, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))); err != nil {
		windows.CloseHandle(h)
		return 0
	}
	return h
})

func tie(child *os.Process) {
	if job() != 0 {
		_ = child.WithHandle(func(h uintptr) { _ = windows.AssignProcessToJobObject(job(), windows.Handle(h)) })
	}
}
