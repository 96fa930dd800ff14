package otel

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/godsm/godsm/cache"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Cache is a cache whose loads are traced, with dsm.cache.name: dsm.cache.load is a run of the loader, whose context has the
// span, and dsm.cache.wait a wait for what another caller, here or in another process, loads. A hit makes no span.
//
// A loader that refreshes an entry in the background runs under the span of the call that began it, and may outlive that.
type Cache struct {
	*cache.Cache
	tracer tracer
}

// TraceCache returns c with spans of Load.
func TraceCache(p trace.TracerProvider, c *cache.Cache) Cache { return Cache{c, newTracer(p)} }

// Load does what cache.Cache.Load does.
func (c Cache) Load(ctx context.Context, key, dst []byte, f func(ctx context.Context) ([]byte, error), with ...cache.With) ([]byte, error) {
	if f == nil {
		return c.Cache.Load(ctx, key, dst, nil) // which says so
	}
	l := &loader[[]byte]{tracer: c.tracer, name: c.Name(), f: f, begun: time.Now()}
	v, err := c.Cache.Load(ctx, key, dst, l.load, with...)
	l.end(ctx, err)
	return v, err
}

// Typed is Cache for one of package cache's typed caches.
type Typed[K comparable, V any] struct {
	cache.Typed[K, V]
	name   string
	tracer tracer
}

// TraceTyped returns what cache.Of returns, with spans of Load.
func TraceTyped[K comparable, V any](p trace.TracerProvider, c *cache.Cache, codec cache.Codec[V]) (Typed[K, V], error) {
	t, err := cache.Of[K](c, codec)
	return Typed[K, V]{t, c.Name(), newTracer(p)}, err
}

// Load does what cache.Typed.Load does.
func (c Typed[K, V]) Load(ctx context.Context, k K, f func(ctx context.Context) (V, error), with ...cache.With) (V, error) {
	if f == nil {
		return c.Typed.Load(ctx, k, nil) // which says so
	}
	l := &loader[V]{tracer: c.tracer, name: c.name, f: f, begun: time.Now()}
	v, err := c.Typed.Load(ctx, k, l.load, with...)
	l.end(ctx, err)
	return v, err
}

// loader does what f does in a span, for one Load.
type loader[V any] struct {
	tracer tracer
	name   string
	f      func(context.Context) (V, error)
	begun  time.Time
	ran    atomic.Bool // f may run in the background
}

func (l *loader[V]) load(ctx context.Context) (V, error) {
	l.ran.Store(true)
	ctx, s := l.tracer.t.Start(ctx, "dsm.cache.load", trace.WithAttributes(l.about()...))
	defer s.End()
	v, err := l.f(ctx)
	found := !errors.Is(err, cache.ErrNotFound)
	s.SetAttributes(attribute.Bool("dsm.cache.found", found))
	if found {
		fail(s, err)
	}
	return v, err
}

// end makes the span of a Load whose loader has not run: it waited for another one.
func (l *loader[V]) end(ctx context.Context, err error) {
	if l.ran.Load() {
		return
	}
	if errors.Is(err, cache.ErrNotFound) {
		err = nil // which is an answer
	}
	l.tracer.span(ctx, "dsm.cache.wait", l.begun, err, l.about)
}

func (l *loader[V]) about() []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("dsm.cache.name", clean(l.name))}
}
