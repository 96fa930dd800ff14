// Package parts has the figures of the bench, a file for each part, and the loops that are measured:
// ours, and those of rivals that are written in Go. Rivals in other languages have packages of their own.
package parts

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/godsm/godsm/bench/boost"
	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/python"
	"github.com/godsm/godsm/bench/server"
	"github.com/godsm/godsm/bench/side"
)

var ctx = context.Background() // of a process that measures: it ends with its input

// Rivals are those that are not written in Go.
type Rivals struct {
	Postgres *postgres.Server
	Boost    *boost.Program
	Python   *python.Script
	// The servers that caches are compared with.
	Memcached, Redis *server.Program
	Quick            bool   // fewer shapes and smaller studies
	Dir              string // for files, on an ordinary disk
}

// All are the figures, part by part.
func All(r Rivals) []figure.Figure {
	return slices.Concat(segments(r), reserved(r), messages(r), locks(r), lockTable(r), allocator(r), hashTable(r), growth(r),
		reclaim(r), httpOver(r), crew(r), sorting(r), caches(r))
}

// Postgres begins the names of PostgreSQL's sides, before its version is known.
const Postgres = "PostgreSQL"

// goSide is a side that is a work of this program.
func goSide(rival, work string, list ...any) figure.Contender {
	var args []string
	for _, a := range list {
		args = append(args, fmt.Sprint(a))
	}
	return figure.Contender{Rival: rival,
		Open: func(ctx context.Context, pin side.Pin, target time.Duration) (side.Side, error) {
			return asSide(side.Open(ctx, work, side.Args{Pin: pin, Target: target, List: args}))
		}}
}

// asSide keeps a nil pointer from being a Side.
func asSide(p *side.Program, err error) (side.Side, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (r Rivals) postgres(world postgres.World, kind string, args ...int) figure.Contender {
	return figure.Contender{Rival: Postgres,
		Open: func(ctx context.Context, pin side.Pin, target time.Duration) (side.Side, error) {
			return r.Postgres.Open(ctx, world, kind, pin, target, args...)
		}}
}

func (r Rivals) boost(kind string, args ...int) figure.Contender {
	return figure.Contender{Rival: "Boost",
		Open: func(ctx context.Context, pin side.Pin, target time.Duration) (side.Side, error) {
			return asSide(r.Boost.Open(ctx, kind, pin, target, args...))
		}}
}

func (r Rivals) python(kind string, args ...int) figure.Contender {
	return figure.Contender{Rival: "Python",
		Open: func(ctx context.Context, pin side.Pin, target time.Duration) (side.Side, error) {
			return asSide(r.Python.Open(ctx, kind, pin, target, args...))
		}}
}

// goal is c with a goal.
func goal(c figure.Contender, atMost float64) figure.Contender {
	c.Goal = atMost
	return c
}

// why is c with what keeps us from catching up with it.
func why(c figure.Contender, text string) figure.Contender {
	c.Why = text
	return c
}

// pins are the modes that this machine has.
func pins() []side.Pin {
	if runtime.NumCPU() < 2 {
		return []side.Pin{side.Same}
	}
	return []side.Pin{side.Same, side.Diff, side.Free}
}

// Size writes a number of bytes.
func Size(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
