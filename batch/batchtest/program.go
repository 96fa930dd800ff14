package batchtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/godsm/godsm/batch"
)

// A Program is what random callers do.
type Program struct {
	Seed     uint64
	Callers  int
	Commands int     // of each caller
	Keys     int     // few: they meet
	Bad      float64 // commands that the database refuses
	Kills    float64 // commands that end their connection
	Spoils   float64 // commands that roll back the transaction
	Panics   float64 // commands whose rules panic
	Leave    float64 // commands whose context ends early
	Get      bool    // reads may come from memory
}

// Play lets the program's callers hand in their commands, and returns when each of them has its outcome. The numbers of
// the commands begin at first. A caller either waits for each command, or hands in several and then waits for all, with
// or without an Ordered context.
func (p Program) Play(e *batch.Engine[Command, Result], h *History, first int) {
	var wg sync.WaitGroup
	for caller := range p.Callers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(p.Seed, uint64(caller)))
			ctx, ordered := context.Background(), r.IntN(2) == 0
			if ordered {
				ctx = batch.Ordered(ctx)
			}
			var waits []func()
			unsure := false // one of its commands may still be executed, which Get would not wait for
			for i := range p.Commands {
				c := p.command(r, first+caller*p.Commands+i)
				one, cancel := context.WithCancel(ctx)
				if r.Float64() < p.Leave {
					one, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(2000))*time.Microsecond)
				}
				kind := r.IntN(3)
				if kind == 1 && p.Get && !ordered { // Get does not know of this caller's other commands
					for _, wait := range waits {
						wait()
					}
					waits = waits[:0]
				}
				event := h.Begin(caller, ordered, c)
				switch kind {
				case 0:
					f := e.Submit(one, c)
					waits = append(waits, func() {
						result, err := f.Wait(context.Background())
						h.End(event, result, err)
						cancel()
					})
				case 1:
					do := e.Do
					if p.Get && c.Op == Select && (ordered || !unsure) {
						do = e.Get
					}
					result, err := do(one, c)
					unsure = unsure || batch.ExecutedOf(err) == batch.Maybe
					h.End(event, result, err)
					cancel()
				default:
					result, err := e.Do(one, c)
					unsure = unsure || batch.ExecutedOf(err) == batch.Maybe
					h.End(event, result, err)
					cancel()
				}
				if r.IntN(8) == 0 {
					for _, wait := range waits {
						wait()
					}
					waits = waits[:0]
				}
			}
			for _, wait := range waits {
				wait()
			}
		})
	}
	wg.Wait()
}

// command returns a random command.
func (p Program) command(r *rand.Rand, id int) Command {
	c := Command{ID: id, Op: Op(r.IntN(6)), Key: fmt.Sprint("k", r.IntN(p.Keys)), Value: int64(r.IntN(100))}
	if c.Op == Insert {
		switch r.IntN(6) {
		case 0:
			c.Second = fmt.Sprint("s", r.IntN(p.Keys))
		case 1:
			c.Parent = Parents[r.IntN(2)]
		case 2:
			if r.IntN(4) == 0 {
				c.Value = Skipped
			}
		}
	}
	switch x := r.Float64(); {
	case x < p.Bad && (c.Op == Update || c.Op == Upsert):
		c.Value = -1
	case x < p.Bad && c.Op == Add:
		c.Value = -int64(r.IntN(200))
	case x < p.Bad && c.Op == Insert:
		c.Value = []int64{-1, Refused}[r.IntN(2)]
		if r.IntN(3) == 0 {
			c.Value, c.Parent = 1, "nobody"
		}
	}
	switch x := r.Float64(); {
	case x < p.Kills:
		c.Op, c.Value = Insert, Kills
	case x < p.Kills+p.Spoils:
		c.Op, c.Value = Insert, Spoils
	case x < p.Kills+p.Spoils+p.Panics:
		c.Panics = true
	}
	return c
}
