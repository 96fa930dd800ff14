package batchtest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/godsm/godsm/batch"
)

// writtenOnly checks what Rules.Written is told: each command that was executed, once; no read, and none that is refused.
func writtenOnly(t *testing.T, db Database) {
	told, e := tells(t, db.Driver)
	for i, c := range []Command{{Op: Insert, Value: 1}, {Op: Insert, Value: Refused}, {Op: Select}, {Op: Add, Value: 1}, {Op: Delete}} {
		c.ID, c.Key = 10000+i, fmt.Sprint("only", c.Value == Refused)
		_, err := e.Do(t.Context(), c)
		want := 1
		if c.Value == Refused || c.Op == Select {
			want = 0
		}
		if n := told(c.ID); n != want || (err != nil) != (c.Value == Refused) {
			t.Errorf("%v, which ended with %v, was told %d times", c, err, n)
		}
	}
}

// written checks when Rules.Written is told: before the command's caller is answered, also where the answer to COMMIT is lost.
func written(t *testing.T, db Database) {
	told, e := tells(t, WithFaults(db.Driver, Faults{Seed: 3, Deadlock: 0.1, LostYes: 0.2, LostNo: 0.1, Settle: 0.3}))
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range 9 {
				c := Command{ID: 1 + caller*100 + i, Op: []Op{Add, Insert, Select}[i%3], Key: "hot", Value: 1}
				if c.Op == Insert {
					c.Key = fmt.Sprint("k", c.ID)
				}
				if _, err := e.Do(t.Context(), c); err != nil {
					t.Errorf("%v: %v", c, err)
				}
				if n := told(c.ID); (n == 0) != (c.Op == Select) {
					t.Errorf("%v was answered, and told %d times", c, n)
				}
			}
		})
	}
	wg.Wait()
}

// tells returns an engine with a Rules.Written, and what that has been told of a command: how often.
func tells(t *testing.T, d batch.Driver[Command, Result]) (told func(id int) int, e *batch.Engine[Command, Result]) {
	var mu sync.Mutex
	times := map[int]int{}
	rules := Rules()
	rules.Written = func(cmds []Command) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range cmds {
			times[c.ID]++
		}
		panic("as told")
	}
	e = batch.New(d, rules, batch.Options{Logger: quiet})
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return func(id int) int {
		mu.Lock()
		defer mu.Unlock()
		return times[id]
	}, e
}
