package instancetest

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// Stranger is the number of a user who has nothing.
const Stranger = 12345

// OtherUsers reports whether files can be given to other users: only root can, unless its user namespace has no other process.
func OtherUsers() bool { return whyAlone() == "" }

// NeedOtherUsers skips the test without OtherUsers.
func NeedOtherUsers(t testing.TB) {
	t.Helper()
	if why := whyAlone(); why != "" {
		t.Skip("skipped: files can't be given to another user: " + why)
	}
}

var whyAlone = sync.OnceValue(func() string {
	if os.Geteuid() != 0 {
		return "this is not root"
	}
	f, err := os.CreateTemp("", "dsm")
	if err == nil {
		defer os.Remove(f.Name())
		defer f.Close()
		err = os.Chown(f.Name(), Stranger, Stranger)
	}
	if err != nil {
		return fmt.Sprint(err)
	}
	return ""
})
