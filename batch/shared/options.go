package shared

import (
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/internal/errkind"
)

// A Codec says how commands or results lie in shared memory. Bytes that Parse gets may be of another version of the
// program, or garbled: it returns an error then. A panic is such an error. Append of results, which a goroutine of the
// leader's calls, must not call runtime.Goexit.
type Codec[T any] struct {
	Append func(b []byte, v T) ([]byte, error)
	Parse  func(b []byte) (T, error) // it does not keep b
}

// Options are settings of a queue. The zero value works.
type Options struct {
	// The process that makes the queue says these; for all others they do not count.
	Slots   int  // commands that are under way or wait, a multiple of 64; 0: 2,048. One session has at most half of them
	Command int  // bytes of a command at most, a multiple of 8; 0: 512
	Result  int  // bytes of a result or of an error's text at most, a multiple of 8; 0: 192
	Keep    bool // commands of a process that has died are executed, too, if they were accepted

	// Version is the program's own, of commands and results as they lie in memory. Another one is ErrMismatch.
	Version uint64

	Full   batch.Full    // what happens to a command while there is no room for it
	Lease  time.Duration // after how long without a beat another process leads; 0: 5 s
	Batch  batch.Options // of the leader's engine; Queue, Full, Cache, Linger and Logger do not count
	Logger *slog.Logger  // takes changes of the leader, and the progress of a Close that lasts longer than a second; nil: slog.Default()
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		v         *int
		byDefault int
	}{{&o.Slots, 2048}, {&o.Command, 512}, {&o.Result, 192}} {
		if *d.v == 0 {
			*d.v = d.byDefault
		}
	}
	if o.Lease <= 0 {
		o.Lease = 5 * time.Second
	}
	if o.Batch.MaxRows <= 0 {
		o.Batch.MaxRows = 5000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// shape checks the sizes.
func (o Options) shape() (shape, error) {
	if o.Slots < 64 || o.Slots > mostSlots || o.Slots%64 != 0 || o.Command < 16 || o.Command > 1<<20 || o.Result < 64 || o.Result > 1<<20 ||
		o.Command%8 != 0 || o.Result%8 != 0 {
		return shape{}, errkind.As(fs.ErrInvalid, fmt.Errorf("batch/shared: %d slots of %d and %d bytes: a queue has 64 to %d slots, "+
			"a multiple of 64, commands of 16 bytes to 1 MB and results of 64 bytes to 1 MB, both multiples of 8", o.Slots, o.Command, o.Result, mostSlots))
	}
	return shapeOf(o.Slots, o.Command, o.Result), nil
}
