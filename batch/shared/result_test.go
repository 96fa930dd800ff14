package shared

import (
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/batch"
)

// TestFailureTakesItsRoom: the error of another process has the beginning and the end of a text that has no room, and
// its kind.
func TestFailureTakesItsRoom(t *testing.T) {
	long := "begin" + strings.Repeat("x", 1<<20) + "end"
	for _, size := range []int{8, 64, 192, 1024} {
		b := appendFailure(nil, &batch.Error{Executed: batch.Yes, Err: errors.Join(batch.ErrPanic, errors.New(long))}, size)
		if len(b) > size {
			t.Fatalf("%d bytes in a room of %d", len(b), size)
		}
		err := parseFailure(b)
		if !errors.Is(err, batch.ErrPanic) || batch.ExecutedOf(err) != batch.Yes {
			t.Errorf("room of %d: %v", size, err)
		}
		if says := err.Error(); size >= 192 && (!strings.Contains(says, "beginxx") || !strings.Contains(says, "xxend (executed: yes)") ||
			!strings.Contains(says, "bytes are left out")) {
			t.Errorf("room of %d: %v", size, err)
		}
		short := appendFailure(nil, errors.New("no"), size)
		if err := parseFailure(short); err.Error() != "batch: no" {
			t.Errorf("a short text in a room of %d: %v", size, err)
		}
	}
}
