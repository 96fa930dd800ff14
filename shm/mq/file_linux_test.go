package mq_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// newFile makes memory that has a name only as long as this process lives: a file on a disk would be written back
// in the background, which makes stores slow.
func newFile(t testing.TB, path string, size int) {
	t.Helper()
	fd, err := unix.MemfdCreate("stage", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), path); err != nil {
		t.Fatal(err)
	}
}
