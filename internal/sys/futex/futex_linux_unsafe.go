//go:build linux

package futex

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Not the private flavour: the word is shared between processes.
const (
	opWait = 0
	opWake = 1
)

// kernelWait sleeps in the kernel, on this thread.
func kernelWait(w *atomic.Uint32, val uint32, d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	// EAGAIN, EINTR and ETIMEDOUT all mean: look again.
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX,
		uintptr(unsafe.Pointer(w)), opWait, uintptr(val), uintptr(unsafe.Pointer(&ts)), 0, 0)
}

func wake(w *atomic.Uint32, n int) int {
	woken, _, errno := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), opWake, uintptr(n), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(woken)
}

// futex_waitv(2) takes up to 128 of these.
const (
	sysWaitv   = 449 // on every architecture
	maxVector  = 128
	sizeFutex2 = 2 // 32 bits, shared
)

type vector struct {
	val   uint64
	addr  uint64
	flags uint32
	_     uint32
}

// canWaitv asks the kernel once: an empty vector is EINVAL where the call exists.
var canWaitv = sync.OnceValue(func() bool {
	_, _, errno := unix.RawSyscall6(sysWaitv, 0, 0, 0, 0, 0, 0)
	return errno == unix.EINVAL
})

// kernelWaitAny sleeps in the kernel, on this thread, until one of the words is woken, whose index it returns, or -1.
func kernelWaitAny(words []Word, d time.Duration) int {
	var v [maxVector]vector
	for i, w := range words {
		v[i] = vector{val: uint64(w.Val), addr: uint64(uintptr(unsafe.Pointer(w.W))), flags: sizeFutex2}
	}
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	end := kernelTimespec{Sec: int64(now.Sec), Nsec: int64(now.Nsec) + d.Nanoseconds()} // absolute
	end.Sec, end.Nsec = end.Sec+end.Nsec/1e9, end.Nsec%1e9
	i, _, errno := unix.Syscall6(sysWaitv, uintptr(unsafe.Pointer(&v)), uintptr(len(words)), 0,
		uintptr(unsafe.Pointer(&end)), unix.CLOCK_MONOTONIC, 0)
	runtime.KeepAlive(words)
	if errno != 0 {
		return -1
	}
	return int(i)
}

// kernelTimespec has 64 bits on every architecture.
type kernelTimespec struct{ Sec, Nsec int64 }

// Many reports whether one thread can wait for many words here.
func Many() bool { return canWaitv() }
