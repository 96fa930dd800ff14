package otel_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/contrib/otel"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/supervisor"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A program reads the metrics of its instance. With an exporter in the place of the reader they go where the program's others go.
func ExampleObserve() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		reader := metric.NewManualReader()
		provider := metric.NewMeterProvider(metric.WithReader(reader))
		defer func() { _ = provider.Shutdown(ctx) }()
		registration, err := otel.Observe(provider, s.Config())
		if err != nil {
			return err
		}
		defer func() { _ = registration.Unregister() }()

		if _, err := s.Create(ctx, nil, 1000); err != nil {
			return err
		}
		var all metricdata.ResourceMetrics
		if err := reader.Collect(ctx, &all); err != nil {
			return err
		}
		for _, m := range all.ScopeMetrics[0].Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[float64]:
				if m.Name == "dsm.created" {
					fmt.Println(m.Name, d.DataPoints[0].Value, m.Unit)
				}
			case metricdata.Gauge[float64]:
				if m.Name == "dsm.up" {
					fmt.Println(m.Name, d.DataPoints[0].Value)
				}
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// dsm.up 1
	// dsm.created 1000 By
}

// A request that does not find what it wants in the cache has a span of the loader, and the loader's own spans are below it.
func ExampleTraceCache() {
	err := supervisor.Run(context.Background(), dsm.Config{}, func(ctx context.Context, s *dsm.Session) error {
		spans := tracetest.NewInMemoryExporter()
		provider := trace.NewTracerProvider(trace.WithSyncer(spans))
		c, err := cache.Open(ctx, s, "pages", cache.Options{Limit: 8 << 20, TTL: time.Hour})
		if err != nil {
			return err
		}
		defer c.Close()
		pages := otel.TraceCache(provider, c)

		request, span := provider.Tracer("shop").Start(ctx, "GET /home")
		_, err = pages.Load(request, []byte("home"), nil, func(ctx context.Context) ([]byte, error) {
			_, query := provider.Tracer("shop").Start(ctx, "SELECT")
			defer query.End()
			return []byte("<html>"), nil
		})
		span.End()
		for _, s := range spans.GetSpans() {
			fmt.Println(s.Name)
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// SELECT
	// dsm.cache.load
	// GET /home
}
