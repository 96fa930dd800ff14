// Package leaktest makes a test fail that leaves something behind.
package leaktest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/objectlist"
	"github.com/google/uuid"
)

// None makes the test fail at its end if an object of that life is left then.
func None(t testing.TB, life uuid.UUID, dirs ...string) {
	t.Helper()
	t.Cleanup(func() {
		if left := objectlist.Objects([]uuid.UUID{life}, dirs...); len(left) > 0 {
			t.Errorf("left behind: %s", strings.Join(left, ", "))
		}
	})
}

// Usage is what this process holds of the kernel.
type Usage struct{ Descriptors, Mappings int }

// Now counts this process's open descriptors and mapped shared-memory objects; zeros where the system doesn't tell.
// Pidfds don't count: a supervisor in this process opens and closes them in its own time.
func Now() Usage {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	maps, _ := os.ReadFile("/proc/self/maps")
	var u Usage
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && to != "anon_inode:[pidfd]" {
			u.Descriptors++
		}
	}
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "rw-s") || strings.Contains(line, "r--s") {
			u.Mappings++
		}
	}
	return u
}
