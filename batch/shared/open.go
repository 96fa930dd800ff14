package shared

import (
	"context"
	"errors"
	"fmt"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/shmsync"
)

// Kind is what package registry calls a queue.
const Kind = "batch"

// Open opens the queue of that name in the session's instance; the first caller makes it. rules and codecs are the same in
// all processes. A process with a driver may lead; one without only hands in commands. The queue must be closed before the
// session is.
func Open[Cmd, Res any, Group, Key comparable](ctx context.Context, s *dsm.Session, name string, commands Codec[Cmd], results Codec[Res],
	rules batch.Rules[Cmd, Res, Group, Key], driver Driver[Cmd, Res], o Options) (*Queue[Cmd, Res], error) {
	made := o.withDefaults()
	shape, err := made.shape()
	if err != nil {
		return nil, err
	}
	m, err := registry.InSegment(ctx, s, name, registry.Kind{Name: Kind, Layout: version}, shape.end,
		func(g *dsm.Segment) (*memory, error) { return create(g.Region(), s.Self(), made) },
		func(g *dsm.Segment) (*memory, error) { return attach(g.Region(), s.Self(), made) })
	if err != nil {
		return nil, err
	}
	return open(m, commands, results, rules, driver, o)
}

// open makes the queue of a memory.
func open[Cmd, Res any, Group, Key comparable](m *memory, commands Codec[Cmd], results Codec[Res], rules batch.Rules[Cmd, Res, Group, Key],
	driver Driver[Cmd, Res], o Options) (*Queue[Cmd, Res], error) {
	if m.self.Mailbox == nil {
		return nil, errors.New("batch/shared: the session has no mailbox")
	}
	if !m.open.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("batch/shared: %w", ErrOpen)
	}
	q := &Queue[Cmd, Res]{
		m: m, options: o.withDefaults(), commands: commands, results: results, driver: driver, split: rules.Split, written: rules.Written,
		ended: make(chan struct{}), own: &own{m: m, bits: map[int]shmsync.Bit{}},
	}
	q.buffers.New = func() any { b := make([]byte, 0, max(m.shape.command, m.shape.result)); return &b }
	q.start = func(l *leader[Cmd, Res]) *batch.Engine[item[Cmd], Res] {
		eo := q.options.Batch
		eo.Queue, eo.Full, eo.Cache, eo.Linger, eo.Logger = len(m.slots), batch.Block, 0, 0, q.options.Logger
		return batch.New(l.fence(), rulesOf(rules), eo)
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	if err := m.contained(q.takeSeat); err != nil {
		m.open.Store(false)
		return nil, err
	}
	end := func() {
		q.over.Store(true)
		q.cancel()
		q.own.close()
	}
	// The bytes may end before the session, with an owner: a command has no outcome then, and Close does not wait for one.
	session, bytes := m.self.View.OnEnd(end), m.view.OnEnd(end)
	q.unhook = func() { session(); bytes() }
	if driver == nil {
		close(q.ended)
	} else {
		go q.keepSteward(0)
	}
	return q, nil
}
