package shared

import (
	"context"

	"github.com/godsm/godsm/batch"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/registry"
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
