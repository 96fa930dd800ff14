//go:build linux && failpoint

package mq_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/testing/viewtest"
	"github.com/godsm/godsm/shm/mq"
)

// TestEndAtEachPoint ends the view at each point of each method, in that very goroutine: the bytes are swapped between
// two of its instructions.
func TestEndAtEachPoint(t *testing.T) {
	for _, how := range []string{"idle", "fed", "full"} {
		for _, name := range append(slices.Sorted(maps.Keys(newEnding(t).calls())), "Sender.Detach", "Receiver.Detach") {
			points := endAt(t, how, name, "")
			for _, p := range points {
				endAt(t, how, name, p)
			}
			if len(points) == 0 && name == "Sender.Detach" {
				t.Errorf("%s, %s: it comes by no point", how, name)
			}
		}
	}
}

// endAt makes a call, ends the view when it comes to a point, and returns the points that it came to.
func endAt(t *testing.T, how, name, point string) (points []string) {
	t.Helper()
	e := newEnding(t)
	switch how {
	case "fed":
		e.feed(name == "Receiver.TryReceive")
	case "full":
		for e.s.TrySend(make([]byte, 100)) == nil {
		}
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	err := watched(e.Bytes, point, &points, func() error {
		switch name {
		case "Sender.Detach":
			e.s.Detach()
		case "Receiver.Detach":
			e.r.Detach()
		default:
			return e.calls()[name](short)
		}
		return nil
	})
	if !known(err) || point != "" && errors.Is(err, mq.ErrWouldBlock) {
		t.Errorf("%s, %s, the view ended at %s: %v", how, name, point, err)
	}
	e.End()
	e.told(t, how+", "+name+", the view ended at "+point)
	return points
}

func watched(b *viewtest.Bytes, point string, points *[]string, f func() error) error {
	var mu sync.Mutex
	var ended atomic.Bool
	defer failpoint.Watch(func(p string) {
		mu.Lock()
		if !slices.Contains(*points, p) {
			*points = append(*points, p)
		}
		mu.Unlock()
		if p == point && !ended.Swap(true) { // the end itself comes by points, too
			b.End()
		}
	})()
	return f()
}

// TestEndWhileAttaching: an end that is taken when the view ends is given back.
func TestEndWhileAttaching(t *testing.T) {
	for _, point := range []string{"mq/attach/taken", "mq/set/named", "mq/create/sized"} {
		b := viewtest.New(t, 1<<12)
		var points []string
		err := watched(b, point, &points, func() error {
			q, err := mq.Create(b.Region)
			if err != nil {
				return err
			}
			if err := q.SetReceiver(liver(2).Peer); err != nil {
				return err
			}
			_, err = q.Sender(liver(1))
			return err
		})
		if !errors.Is(err, mq.ErrClosed) {
			t.Errorf("ended at %s: %v", point, err)
		}
		if point == "mq/attach/taken" {
			r := must(must(mq.Attach(b.Others)).Receiver(liver(2)))
			if _, err := r.Receive(ctx); !errors.Is(err, mq.ErrDetached) {
				t.Errorf("the other end's Receive = %v", err)
			}
		}
	}
}
