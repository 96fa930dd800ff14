package shmsync_test

import (
	"os"
	"testing"

	"github.com/godsm/godsm/internal/sys/futex"
)

// threads is how many this process has, as far as can be seen, where they can be few.
func threads(t *testing.T) int {
	t.Helper()
	if !futex.Many() {
		t.Skip("skipped: no futex_waitv here")
	}
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	return len(list)
}
