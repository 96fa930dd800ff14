package batch

import (
	"log/slog"
	"time"
)

// Options are settings of an engine. The zero value works.
type Options struct {
	MaxRows  int           // commands in a flush; 0: 5,000
	MaxBytes int           // bytes in a flush, as Rules.Size counts them; 0: 8 MB. A larger command goes alone
	Queue    int           // commands that wait; 0: 4,096
	Full     Full          // what happens when the queue is full
	Linger   time.Duration // how long the first command waits for others; 0, the default, is best for callers that wait
	Budget   time.Duration // time of an interaction inside a shared transaction; 0: 100 ms
	Cache    int           // answers that Get keeps; 0: none
	Logger   *slog.Logger  // takes the progress of a Close that lasts longer than a second; nil: slog.Default()
}

// Full says what happens to a command that is handed in while the queue is full.
type Full int

const (
	Block Full = iota // it waits for room
	Fail              // it is refused with ErrFull
)

func (o Options) withDefaults() Options {
	o.MaxRows = positive(o.MaxRows, 5000)
	o.MaxBytes = positive(o.MaxBytes, 8<<20)
	o.Queue = positive(o.Queue, 4096)
	o.Budget = positive(o.Budget, 100*time.Millisecond)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// positive returns v, or the default if v is not positive.
func positive[T int | time.Duration](v, byDefault T) T {
	if v > 0 {
		return v
	}
	return byDefault
}
