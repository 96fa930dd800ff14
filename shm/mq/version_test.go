package mq_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
)

// TestOtherVersion: a queue of another layout version is ErrVersion, with both versions; what is no queue is
// ErrNotFound.
func TestOtherVersion(t *testing.T) {
	b := make([]byte, mq.Size(64))
	must(mq.Create(shm.NewRegion(b)))
	kind := binary.NativeEndian.Uint64(b) &^ (0xff << 56)
	for _, c := range []struct {
		magic uint64
		want  error
		says  string
	}{
		{kind | 1<<56, mq.ErrVersion, "layout version 1, from a program that is older than this one, which has version 3: upgrade the program of"},
		{kind | 4<<56, mq.ErrVersion, "layout version 4, from a program that is newer than this one, which has version 3: upgrade this program, or stop"},
		{kind ^ 1 | 3<<56, mq.ErrNotFound, "no message queue"},
		{0, mq.ErrNotFound, "none yet"},
	} {
		binary.NativeEndian.PutUint64(b, c.magic)
		if _, err := mq.Attach(shm.NewRegion(b)); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Attach of %#x = %v, want %v", c.magic, err, c.want)
		}
	}
}
