// Package quiet knows whether other programs disturb a measurement: from the processor time that
// the whole machine has spent and the part of it that this process and its descendants have.
package quiet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Limit is the share of one CPU that others may use.
const Limit = 0.10

const ticks = 100 // a second, in /proc: the same on all Linux systems that Go runs on

// Watch reads the machine's clocks. Its zero value reads /proc; tests have a folder of their own.
type Watch struct {
	Proc  string // the folder
	Root  int    // whose process tree is ours; 0 is this process
	Sleep func(context.Context, time.Duration) error
	Now   func() time.Time
}

// Reading is processor time at one moment.
type Reading struct {
	At    time.Time
	Busy  time.Duration // of all CPUs, time that the host took from us included
	Ours  time.Duration
	Known bool
}

func (w Watch) proc() string {
	if w.Proc == "" {
		return "/proc"
	}
	return w.Proc
}

// Read takes a reading.
func (w Watch) Read() (r Reading, err error) {
	now := w.Now
	if now == nil {
		now = time.Now
	}
	r = Reading{At: now(), Known: true}
	if r.Busy, err = w.busy(); err != nil {
		return Reading{}, err
	}
	r.Ours, err = w.ours()
	return r, err
}

// Others returns the share of one CPU that was used by others between two readings. Ticks are coarse:
// it means little below some tenths of a second.
func Others(a, b Reading) float64 {
	if !a.Known || !b.Known || !b.At.After(a.At) {
		return 0
	}
	return max(0, float64((b.Busy-a.Busy)-(b.Ours-a.Ours))/float64(b.At.Sub(a.At)))
}

// Wait returns when others have left the machine alone for a second, or when limit is over, and
// says how long it waited and whether it is quiet.
func (w Watch) Wait(ctx context.Context, limit time.Duration) (waited time.Duration, isQuiet bool, err error) {
	sleep := w.Sleep
	if sleep == nil {
		sleep = func(ctx context.Context, d time.Duration) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(d):
				return nil
			}
		}
	}
	first, err := w.Read()
	for last := first; err == nil; {
		if err = sleep(ctx, min(time.Second, limit)); err != nil {
			break
		}
		var r Reading
		if r, err = w.Read(); err != nil {
			break
		}
		waited = r.At.Sub(first.At)
		if Others(last, r) <= Limit {
			return waited, true, nil
		}
		if waited >= limit {
			return waited, false, nil
		}
		last = r
	}
	return waited, false, err
}

// busy adds up the first line of stat: user nice system idle iowait irq softirq steal.
func (w Watch) busy() (time.Duration, error) {
	b, err := os.ReadFile(w.proc() + "/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("%s/stat begins with %q: not a line of processor times", w.proc(), line)
	}
	var sum time.Duration
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s/stat: %w", w.proc(), err)
		}
		sum += time.Duration(n) * time.Second / ticks
	}
	return sum, nil
}

// ours adds up this process and its descendants, those that have been waited for included.
func (w Watch) ours() (time.Duration, error) {
	entries, err := os.ReadDir(w.proc())
	if err != nil {
		return 0, err
	}
	parent, used := map[int]int{}, map[int]time.Duration{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(w.proc() + "/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// behind the name: state ppid ...; times are 14 to 17
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) < 15 {
			continue
		}
		parent[pid], _ = strconv.Atoi(f[1])
		for _, s := range f[11:15] {
			n, _ := strconv.ParseInt(s, 10, 64)
			used[pid] += time.Duration(n) * time.Second / ticks
		}
	}
	root := w.Root
	if root == 0 {
		root = os.Getpid()
	}
	var sum time.Duration
	for pid := range parent {
		for p, steps := pid, 0; p != 0 && steps < 100; p, steps = parent[p], steps+1 {
			if p == root {
				sum += used[pid]
				break
			}
		}
	}
	return sum, nil
}
