package shared

import (
	"context"
	"errors"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/internal/failpoint"
)

// fence is the driver of a leader's engine: the program's, which stores in the slots what a transaction has executed before
// it is committed.
type fence[Cmd, Res any] struct {
	l        *leader[Cmd, Res]
	inner    batch.Driver[Cmd, Res]
	backend  string
	flush    uint64
	executed []executed[Cmd, Res] // in the transaction under way
	doubted  bool                 // its COMMIT has had no answer
	steps    []batch.Step[Cmd, Res]
	split    func(answer Res, cmds []Cmd, results []Res) bool
}

type executed[Cmd, Res any] struct {
	item item[Cmd]
	res  Res
}

func (l *leader[Cmd, Res]) fence() *fence[Cmd, Res] {
	return &fence[Cmd, Res]{l: l, inner: l.driver, split: l.q.split}
}

// Begin implements batch.Driver.
func (d *fence[Cmd, Res]) Begin(ctx context.Context, flush uint64) (batch.Tx[item[Cmd], Res], error) {
	d.l.bell.toll(d.l.m)
	if flush > mostFlush || d.l.isDeposed() {
		return nil, batch.ErrDeposed
	}
	tx, err := d.inner.Begin(ctx, flush)
	if err != nil {
		return nil, err
	}
	if b := d.l.fenced.Backend(); b != d.backend {
		d.backend = b
		_ = d.l.m.contained(func() error { d.l.m.head.backend.store(b); return nil })
	}
	failpoint.Hit("batch/flush/begun")
	clear(d.executed)
	d.flush, d.executed, d.doubted = flush, d.executed[:0], false
	return &fencedTx[Cmd, Res]{d, tx}, nil
}

// Settle implements batch.Driver.
func (d *fence[Cmd, Res]) Settle(ctx context.Context, flush uint64) (committed bool, err error) {
	if d.l.isDeposed() {
		return false, batch.ErrUnsettled
	}
	committed, err = d.inner.Settle(ctx, flush)
	if err == nil && !committed {
		d.demote()
	}
	return committed, err
}

// Class implements batch.Driver.
func (d *fence[Cmd, Res]) Class(err error) batch.Class {
	if errors.Is(err, batch.ErrDeposed) {
		return batch.Fatal
	}
	return d.inner.Class(err)
}

// Close implements batch.Driver.
func (d *fence[Cmd, Res]) Close(ctx context.Context) error { return d.inner.Close(ctx) }

// each calls f for each slot of the transaction under way, with its result.
func (d *fence[Cmd, Res]) each(f func(slot int, res Res) error) error {
	for _, x := range d.executed {
		if len(x.item.parts) == 0 {
			if err := f(x.item.slot, x.res); err != nil {
				return err
			}
			continue
		}
		cmds, results := make([]Cmd, len(x.item.parts)), make([]Res, len(x.item.parts))
		for i, p := range x.item.parts {
			cmds[i] = p.cmd
		}
		if !d.split(x.res, cmds, results) {
			return errors.New("Rules.Split has given two answers")
		}
		for i, p := range x.item.parts {
			if err := f(p.slot, results[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// promote stores all results, and makes the slots tentative.
func (d *fence[Cmd, Res]) promote() error {
	l := d.l
	return l.m.contained(func() error {
		return d.each(func(slot int, res Res) error {
			s := &l.m.slots[slot]
			if s.load() != term(claimed, l.epoch, 0) {
				return batch.ErrDeposed
			}
			failpoint.Hit("batch/flush/storing")
			l.storeResult(slot, res)
			failpoint.Hit("batch/flush/stored")
			if !s.move(term(claimed, l.epoch, 0), term(tentative, l.epoch, d.flush)) {
				return batch.ErrDeposed
			}
			failpoint.Hit("batch/flush/tentative")
			return nil
		})
	})
}

// demote makes the slots claimed again: the transaction was not committed.
func (d *fence[Cmd, Res]) demote() {
	l := d.l
	_ = l.m.contained(func() error {
		return d.each(func(slot int, _ Res) error {
			l.m.slots[slot].move(term(tentative, l.epoch, d.flush), term(claimed, l.epoch, 0))
			failpoint.Hit("batch/flush/demoted")
			return nil
		})
	})
	d.executed = d.executed[:0]
}

// fencedTx is the transaction of a fence.
type fencedTx[Cmd, Res any] struct {
	d  *fence[Cmd, Res]
	tx batch.Tx[Cmd, Res]
}

// Run implements batch.Tx.
func (t *fencedTx[Cmd, Res]) Run(ctx context.Context, steps []batch.Step[item[Cmd], Res], guard bool) (lo, hi int, err error) {
	d := t.d
	clear(d.steps)
	d.steps = d.steps[:0]
	for _, s := range steps {
		cmds := make([]Cmd, len(s.Cmds))
		for i, it := range s.Cmds {
			cmds[i] = it.cmd
		}
		d.steps = append(d.steps, batch.Step[Cmd, Res]{Cmds: cmds, Res: s.Res, Errs: s.Errs})
	}
	failpoint.Hit("batch/flush/running")
	if lo, hi, err = t.tx.Run(ctx, d.steps, guard); err != nil {
		return lo, hi, err
	}
	for _, s := range steps {
		for i, it := range s.Cmds {
			if s.Errs[i] == nil {
				d.executed = append(d.executed, executed[Cmd, Res]{it, s.Res[i]})
			}
		}
	}
	return lo, hi, nil
}

// Interact implements batch.Tx. There are no interactions between processes.
func (t *fencedTx[Cmd, Res]) Interact(ctx context.Context, do func(ctx context.Context, tx any) error) error {
	return t.tx.Interact(ctx, do)
}

// Alive implements batch.Tx: it reports whether the driver's own transaction can go on.
func (t *fencedTx[Cmd, Res]) Alive() bool { return t.tx.Alive() }

// Commit implements batch.Tx.
func (t *fencedTx[Cmd, Res]) Commit(ctx context.Context) error {
	d := t.d
	if d.flush > 0 {
		if err := d.promote(); err != nil {
			return err
		}
	}
	failpoint.Hit("batch/flush/committing")
	err := t.tx.Commit(ctx)
	failpoint.Hit("batch/flush/committed")
	d.doubted = err == nil || d.Class(err) == batch.Lost || ctx.Err() != nil
	return err
}

// Rollback implements batch.Tx. After a COMMIT without an answer the slots stay tentative until that is settled.
func (t *fencedTx[Cmd, Res]) Rollback(ctx context.Context) {
	t.tx.Rollback(ctx)
	if !t.d.doubted && t.d.flush > 0 {
		t.d.demote()
	}
}

// rulesOf returns the rules for items.
func rulesOf[Cmd, Res any, Group, Key comparable](r batch.Rules[Cmd, Res, Group, Key]) batch.Rules[item[Cmd], Res, Group, Key] {
	var w batch.Rules[item[Cmd], Res, Group, Key]
	if r.Group != nil {
		w.Group = func(it item[Cmd]) Group { return r.Group(it.cmd) }
	}
	if r.Key != nil {
		w.Key = func(it item[Cmd]) (Key, bool) { return r.Key(it.cmd) }
	}
	w.Rank = r.Rank
	if r.Compare != nil {
		w.Compare = func(a, b item[Cmd]) int { return r.Compare(a.cmd, b.cmd) }
	}
	if r.Read != nil {
		w.Read = func(it item[Cmd]) bool { return r.Read(it.cmd) }
	}
	if r.Merge != nil && r.Split != nil {
		w.Merge = func(a, b item[Cmd]) (item[Cmd], bool) {
			m, ok := r.Merge(a.cmd, b.cmd)
			if !ok {
				return a, false
			}
			parts := a.parts
			if parts == nil {
				parts = append(parts, part[Cmd]{a.slot, a.cmd})
			}
			return item[Cmd]{slot: a.slot, cmd: m, parts: append(parts, part[Cmd]{b.slot, b.cmd})}, true
		}
		w.Split = func(answer Res, items []item[Cmd], results []Res) bool {
			cmds := make([]Cmd, len(items))
			for i, it := range items {
				cmds[i] = it.cmd
			}
			return r.Split(answer, cmds, results)
		}
	}
	if r.Written != nil {
		w.Written = func(items []item[Cmd]) {
			cmds := make([]Cmd, len(items))
			for i, it := range items {
				cmds[i] = it.cmd
			}
			r.Written(cmds)
		}
	}
	if r.Size != nil {
		w.Size = func(it item[Cmd]) int { return r.Size(it.cmd) }
	}
	return w
}
