//go:build linux

package viewtest

import (
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/godsm/godsm/shm"
	"golang.org/x/sys/unix"
)

// Bytes are shared bytes, mapped twice.
type Bytes struct {
	Region shm.Region // ends with View
	View   *shm.View
	Others shm.Region // the same bytes, for ever

	mine, others []byte
	ended        atomic.Bool
}

// New makes size bytes, all zero.
func New(t testing.TB, size int) *Bytes {
	t.Helper()
	fd, err := unix.MemfdCreate("viewtest", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.Fatal(err)
	}
	b := &Bytes{mine: mapped(t, fd, size), others: mapped(t, fd, size)}
	b.View = shm.NewView(b.mine)
	b.Region, b.Others = shm.NewRegion(b.mine).Under(b.View), shm.NewRegion(b.others)
	t.Cleanup(func() {
		b.End()
		shm.Forget(b.mine)
		_ = unix.Munmap(b.others)
		_ = unix.Munmap(b.mine)
	})
	return b
}

func mapped(t testing.TB, fd, size int) []byte {
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// End ends the view, and swaps the bytes when the last lease has left.
func (b *Bytes) End() { b.end(unix.PROT_READ | unix.PROT_WRITE) }

// EndChecked is End as in checked mode: the bytes become inaccessible.
func (b *Bytes) EndChecked() { b.end(unix.PROT_NONE) }

func (b *Bytes) end(access int) {
	if !b.ended.Swap(true) {
		b.View.End()
		b.View.Drain(func() { b.swap(access) })
	}
}

func (b *Bytes) swap(access int) {
	at := unsafe.Pointer(unsafe.SliceData(b.mine))
	got, err := unix.MmapPtr(-1, 0, at, uintptr(len(b.mine)), access, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED)
	if err != nil || got != at {
		panic(err)
	}
}
