package cli

import (
	"context"
	"errors"
	"testing"
	"time"
)

// slowReader takes what is written, but only after a while.
type slowReader struct{ pieces int }

func (r *slowReader) Write(p []byte) (int, error) {
	time.Sleep(lastWords / 8)
	r.pieces++
	return len(p), nil
}

// TestSlowReader: a reader that is slow, but never stops, keeps no command alive for long.
func TestSlowReader(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	over := errors.New("over")
	cancel(over)
	o := &output{ctx: ctx, w: &slowReader{}}
	n := 0
	for ; n < 1000; n++ {
		if _, err := o.Write(make([]byte, 1000)); err != nil {
			if err != over {
				t.Error(err)
			}
			return
		}
	}
	t.Errorf("%d writes", n)
}

// TestLeaving: a call that does not come back is left behind with its context, and one that does has its say.
func TestLeaving(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	over := errors.New("over")
	begun, end := make(chan bool), make(chan bool)
	defer close(end)
	go func() { <-begun; cancel(over) }()
	if _, err := Leaving(ctx, func() (int, error) { begun <- true; <-end; return 0, nil }); err != over {
		t.Errorf("left behind: %v", err)
	}
	if n, err := Leaving(ctx, func() (int, error) { return 7, nil }); n != 7 || err != nil {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}
