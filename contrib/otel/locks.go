package otel

import (
	"context"
	"strings"
	"time"

	"github.com/godsm/godsm/locktable"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Locks is a lock table whose waits are traced: dsm.lock, with dsm.lock.name and dsm.lock.mode; of several at once
// dsm.lock_many, with dsm.lock.names. The error of a wait that failed names who holds the lock.
type Locks struct {
	*locktable.Table
	tracer tracer
}

// TraceLocks returns t with spans of Lock, LockMany, and the Lock of its names.
func TraceLocks(p trace.TracerProvider, t *locktable.Table) Locks { return Locks{t, newTracer(p)} }

// Lock does what locktable.Table.Lock does.
func (l Locks) Lock(ctx context.Context, m locktable.Mode, path ...string) (locktable.Hold, error) {
	begun := time.Now()
	h, err := l.Table.Lock(ctx, m, path...)
	l.tracer.locked(ctx, begun, err, m, path)
	return h, err
}

// LockMany does what locktable.Table.LockMany does.
func (l Locks) LockMany(ctx context.Context, wants ...locktable.Want) (locktable.Holds, error) {
	begun := time.Now()
	hs, err := l.Table.LockMany(ctx, wants...)
	l.tracer.span(ctx, "dsm.lock_many", begun, err, func() []attribute.KeyValue {
		names := make([]string, len(wants))
		for i, w := range wants {
			names[i] = clean(strings.Join(w.Path, "/"))
		}
		return []attribute.KeyValue{attribute.StringSlice("dsm.lock.names", names)}
	})
	return hs, err
}

// Name does what locktable.Table.Name does.
func (l Locks) Name(ctx context.Context, path ...string) (*Name, error) {
	n, err := l.Table.Name(ctx, path...)
	if err != nil {
		return nil, err
	}
	return &Name{n, l.tracer, path}, nil
}

// Name is a lock that this process has looked up, and whose waits are traced.
type Name struct {
	*locktable.Name
	tracer tracer
	path   []string
}

// Lock does what locktable.Name.Lock does.
func (n *Name) Lock(ctx context.Context, m locktable.Mode) (locktable.Hold, error) {
	begun := time.Now()
	h, err := n.Name.Lock(ctx, m)
	n.tracer.locked(ctx, begun, err, m, n.path)
	return h, err
}

func (t tracer) locked(ctx context.Context, begun time.Time, err error, m locktable.Mode, path []string) {
	t.span(ctx, "dsm.lock", begun, err, func() []attribute.KeyValue {
		return []attribute.KeyValue{attribute.String("dsm.lock.name", clean(strings.Join(path, "/"))), attribute.String("dsm.lock.mode", m.String())}
	})
}
