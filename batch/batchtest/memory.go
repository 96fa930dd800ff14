package batchtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/godsm/godsm/batch"
)

// Ways of a Memory, which databases have.
type Ways struct {
	Seed     uint64
	ByRow    bool // statements take one command each, and tell their errors apart
	Gone     bool // a row that is refused rolls back the transaction
	AtCommit bool // parents are looked for at commit only
}

var errRefused = errors.New("the row is refused")

// Memory is a driver without a database. Its statements are atomic, and execute their commands in any order.
type Memory struct {
	mu       sync.Mutex
	ways     Ways
	rand     *rand.Rand
	rows     map[string]Row
	executed []int
	flush    uint64
	nextID   int64
	trips    int
	gate     chan struct{} // while it is not nil, statements wait until it is closed
	waiting  bool          // one does
}

// NewMemory returns an empty one.
func NewMemory(w Ways) *Memory {
	return &Memory{ways: w, rand: rand.New(rand.NewPCG(w.Seed, 2)), rows: map[string]Row{}}
}

// State returns the rows, and the numbers of the commands in the order in which they were executed.
func (m *Memory) State() ([]int, map[string]Row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.executed), maps.Clone(m.rows)
}

// Trips returns how many calls have been made that would be round trips.
func (m *Memory) Trips() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trips
}

// Hold makes statements wait until the function that it returns is called.
func (m *Memory) Hold() (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gate := make(chan struct{})
	m.gate = gate
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.gate = nil
		close(gate)
	})
}

// Holding reports whether a statement waits.
func (m *Memory) Holding() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting
}

// passing notes whether a statement is at the gate, and returns the gate if it is closed.
func (m *Memory) passing(arrives bool) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = arrives && m.gate != nil
	return m.gate
}

// Begin returns the driver's.
func (m *Memory) Begin(_ context.Context, flush uint64) (batch.Tx[Command, Result], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memoryTx{m: m, flush: flush, rows: maps.Clone(m.rows), alive: true}, nil
}

// Settle returns the driver's.
func (m *Memory) Settle(_ context.Context, flush uint64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.flush >= flush, nil
}

// Class returns the driver's.
func (m *Memory) Class(err error) batch.Class {
	if errors.Is(err, errLost) {
		return batch.Lost
	}
	return batch.Row
}

// Close implements batch.Driver. It does nothing: the rows stay.
func (m *Memory) Close(context.Context) error { return nil }

type memoryTx struct {
	m        *Memory
	flush    uint64
	rows     map[string]Row
	executed []int
	orphans  int // rows whose parent is to be looked for at commit, and is not there
	alive    bool
}

// Run implements batch.Tx.
func (tx *memoryTx) Run(ctx context.Context, steps []batch.Step[Command, Result], guard bool) (int, int, error) {
	m := tx.m
	if gate := m.passing(true); gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			m.passing(false)
			return 0, 1, context.Cause(ctx)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = false
	m.trips++
	if !tx.alive {
		return 0, len(steps[0].Cmds), errors.New("batchtest: the transaction is used after its end")
	}
	rows, executed, orphans := maps.Clone(tx.rows), slices.Clone(tx.executed), tx.orphans
	lo := 0
	for _, s := range steps {
		if err := checkStep(s); err != nil {
			panic(err)
		}
		for _, x := range m.rand.Perm(len(s.Cmds)) {
			if m.ways.ByRow {
				x = len(s.Cmds) - 1 - x
			}
			r, err := tx.doLocked(s.Cmds[x])
			switch {
			case err == nil:
				s.Res[x] = r
			case errors.Is(err, errLost):
				tx.alive = false
				return lo, lo + len(s.Cmds), err
			case m.ways.Gone || s.Cmds[x].Value == Spoils:
				tx.alive = false
				return lo, lo + len(s.Cmds), err
			case m.ways.ByRow:
				s.Errs[x] = err
			case guard:
				tx.rows, tx.executed, tx.orphans = rows, executed, orphans
				return lo, lo + len(s.Cmds), err
			default:
				return lo, lo + len(s.Cmds), err
			}
		}
		lo += len(s.Cmds)
	}
	return 0, 0, nil
}

// doLocked executes a command, under the memory's mu.
func (tx *memoryTx) doLocked(c Command) (Result, error) {
	if c.Op == Insert && c.Value == Kills {
		return Result{}, errLost
	}
	late := c
	if tx.m.ways.AtCommit && c.Op == Insert {
		late.Parent = ""
	}
	r, err := Model(tx.rows).Do(late)
	if err != nil {
		return r, fmt.Errorf("%w: %v", errRefused, c)
	}
	if late.Parent != c.Parent && r.Affected > 0 && !slices.Contains(Parents, c.Parent) {
		tx.orphans++
	}
	if row, ok := tx.rows[c.Key]; ok && row.ID == 0 {
		tx.m.nextID++
		row.ID = tx.m.nextID
		tx.rows[c.Key] = row
		if c.Op == Insert {
			r.ID = row.ID
		}
	}
	if c.Op != Select {
		tx.executed = append(tx.executed, c.IDs()...)
	}
	return r, nil
}

// Interact implements batch.Tx. The program's code gets the *Memory's transaction as an Execer.
func (tx *memoryTx) Interact(ctx context.Context, do func(ctx context.Context, tx any) error) error {
	rows, executed := maps.Clone(tx.rows), slices.Clone(tx.executed)
	err := do(ctx, Execer(func(c Command) (Result, error) {
		tx.m.mu.Lock()
		defer tx.m.mu.Unlock()
		if !tx.alive {
			return Result{}, errLost
		}
		r, err := tx.doLocked(c)
		if err != nil && tx.m.ways.Gone {
			tx.alive = false
		}
		return r, err
	}))
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		tx.rows, tx.executed = rows, executed
	}
	return err
}

// Execer is what interactions over a Memory get: a function that executes a command.
type Execer func(Command) (Result, error)

// Alive implements batch.Tx: it reports whether the transaction can go on.
func (tx *memoryTx) Alive() bool { return tx.alive }

// Commit implements batch.Tx.
func (tx *memoryTx) Commit(context.Context) error {
	m := tx.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trips++
	switch {
	case !tx.alive:
		return errors.New("batchtest: a transaction that is gone is committed")
	case tx.orphans > 0:
		tx.alive = false
		return fmt.Errorf("%w: parent", errRefused)
	}
	m.rows, m.executed = tx.rows, append(m.executed, tx.executed...)
	m.flush = max(m.flush, tx.flush)
	tx.alive = false
	return nil
}

// Finish returns the driver's.
func (tx *memoryTx) Finish(ctx context.Context, steps []batch.Step[Command, Result]) (lo, hi int, ran bool, err error) {
	if lo, hi, err = tx.Run(ctx, steps, false); err != nil {
		return lo, hi, false, err
	}
	tx.m.mu.Lock()
	tx.m.trips--
	tx.m.mu.Unlock()
	return 0, count(steps), true, tx.Commit(ctx)
}

// Rollback implements batch.Tx.
func (tx *memoryTx) Rollback(context.Context) { tx.alive = false }
