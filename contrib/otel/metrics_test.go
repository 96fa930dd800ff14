package otel

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/metrics"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/supervisor"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

var ctx = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is an instance with a session that has a cache and a lock table, whose names are hostile.
func world(t *testing.T) (dsm.Config, *cache.Cache) {
	t.Helper()
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	app := cfg
	app.Application = "a\"\\\n\x01\xff{x=\"1\"} 2"
	s := instancetest.Open(t, app)
	c, err := cache.Open(ctx, s, "pages\"}\\ é", cache.Options{Limit: 1 << 20})
	must(t, err)
	l, err := locktable.Open(ctx, s, "storage", locktable.Options{})
	must(t, err)
	t.Cleanup(func() {
		l.Close()
		must(t, c.Close())
		must(t, s.Close())
	})
	return cfg, c
}

// reading has the metrics of an instance read by hand.
func reading(t *testing.T, cfg dsm.Config, o ...metric.ManualReaderOption) func() []metricdata.Metrics {
	t.Helper()
	reader := metric.NewManualReader(o...)
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	registration, err := Observe(provider, cfg)
	must(t, err)
	t.Cleanup(func() {
		must(t, registration.Unregister())
		must(t, provider.Shutdown(ctx))
	})
	return func() []metricdata.Metrics {
		t.Helper()
		var all metricdata.ResourceMetrics
		must(t, reader.Collect(ctx, &all))
		for _, s := range all.ScopeMetrics {
			if s.Scope.Name == scope {
				return s.Metrics
			}
		}
		return nil
	}
}

// point is a value with its labels.
type point struct {
	attributes attribute.Set
	value      float64
}

func points(t *testing.T, m metricdata.Metrics) (list []point, kind metrics.Type) {
	t.Helper()
	var data []metricdata.DataPoint[float64]
	switch d := m.Data.(type) {
	case metricdata.Sum[float64]:
		if !d.IsMonotonic {
			t.Errorf("%s is a sum that may fall", m.Name)
		}
		data, kind = d.DataPoints, metrics.Counter
	case metricdata.Gauge[float64]:
		data, kind = d.DataPoints, metrics.Gauge
	default:
		t.Fatalf("%s is a %T", m.Name, m.Data)
	}
	for _, p := range data {
		list = append(list, point{p.Attributes, p.Value})
	}
	return list, kind
}

// value returns a metric's value without labels, or with the only ones.
func value(t *testing.T, list []metricdata.Metrics, name string) float64 {
	t.Helper()
	for _, m := range list {
		if m.Name == name {
			if p, _ := points(t, m); len(p) == 1 {
				return p[0].value
			}
			t.Fatalf("%s has not one value: %v", name, m.Data)
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// TestMetricsArePrometheus: what an exporter to Prometheus makes of the metrics has the names, kinds and labels that supervise
// --metrics serves, so that one dashboard and one set of alerts are for both.
func TestMetricsArePrometheus(t *testing.T) {
	cfg, _ := world(t)
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	var got, want []string
	for _, m := range reading(t, cfg)() {
		list, kind := points(t, m)
		typed := otlptranslator.MetricType(otlptranslator.MetricTypeGauge)
		if kind == metrics.Counter {
			typed = otlptranslator.MetricTypeMonotonicCounter
		}
		name, err := namer.Build(otlptranslator.Metric{Name: m.Name, Unit: m.Unit, Type: typed})
		must(t, err)
		for _, p := range list {
			one := fmt.Sprintf("%s %s %q", name, kind, m.Description)
			for _, a := range p.attributes.ToSlice() {
				if !utf8.ValidString(a.Value.AsString()) {
					t.Errorf("%s: %q is no UTF-8", name, a.Value.AsString())
				}
				one += fmt.Sprintf(" %s=%q", a.Key, a.Value.AsString())
			}
			got = append(got, one)
		}
	}
	for _, f := range metrics.Families(survey.Take(ctx, cfg)) {
		for _, s := range f.Samples {
			one := fmt.Sprintf("%s %s %q", f.Name, f.Type, f.Help)
			set := attributes(f.Labels, s.Values)
			for _, a := range set.ToSlice() {
				one += fmt.Sprintf(" %s=%q", a.Key, a.Value.AsString())
			}
			want = append(want, one)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("OpenTelemetry has\n%s\nPrometheus\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestNames: a name is no other one's name space, none is there twice, and what is counted in a unit says so in the unit.
func TestNames(t *testing.T) {
	names := map[string]bool{}
	for _, f := range metrics.Families(survey.Survey{}, nil) {
		name, unit := nameOf(f)
		if names[name] {
			t.Errorf("%s is there twice", name)
		}
		names[name] = true
		if strings.Contains(name, "bytes") && name != "dsm.application.bytes" || strings.Contains(name, "seconds") || strings.Contains(name, "total") {
			t.Errorf("%s, in %q, has the unit or the kind in its name", name, unit)
		}
	}
	for name := range names {
		for other := range names {
			if strings.HasPrefix(other, name+".") {
				t.Errorf("%s is a metric, and the name space of %s", name, other)
			}
		}
	}
}

// TestValues: the values are those of the instance, and what is done between two collections is in the second one.
func TestValues(t *testing.T) {
	cfg, c := world(t)
	read := reading(t, cfg)
	must(t, c.Set(ctx, []byte("k"), []byte("v")))
	before := read()
	if value(t, before, "dsm.up") != 1 || value(t, before, "dsm.cache.limit") < 1<<20 || value(t, before, "dsm.generation") != 1 {
		t.Errorf("%v", before)
	}
	s := instancetest.Open(t, cfg)
	for range 3 {
		_, err := s.Create(ctx, s.Owner(), 1000)
		must(t, err)
	}
	after := read()
	for name, want := range map[string]float64{"dsm.creates": 3, "dsm.created": 3000, "dsm.joins": 1, "dsm.segments": 3, "dsm.memory": 3000} {
		if got := value(t, after, name) - value(t, before, name); got != want {
			t.Errorf("%s went up by %v, not %v", name, got, want)
		}
	}
	must(t, s.Close())
	if got := value(t, read(), "dsm.segments") - value(t, before, "dsm.segments"); got != 0 {
		t.Errorf("%v segments are left", got)
	}
}

// TestSumsGoOn: a counter does not fall when another generation or instance begins, neither in sums since the begin nor in
// differences, and of an instance that is away there are no gauges but dsm.up.
func TestSumsGoOn(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	read := reading(t, cfg)
	steps := reading(t, cfg, metric.WithTemporalitySelector(metric.DeltaTemporalitySelector))
	away := func(want float64) {
		t.Helper()
		for _, list := range [][]metricdata.Metrics{read(), steps()} {
			if value(t, list, "dsm.up") != 0 {
				t.Errorf("without an instance: %v", list)
			}
			for _, m := range list {
				if _, kind := points(t, m); kind == metrics.Gauge && m.Name != "dsm.up" {
					t.Errorf("without an instance there is %s", m.Name)
				}
			}
		}
		if got := value(t, read(), "dsm.creates"); got != want {
			t.Errorf("a sum of %v, not %v, without an instance", got, want)
		}
	}
	if list := read(); len(list) != 1 || value(t, list, "dsm.up") != 0 {
		t.Errorf("before there was an instance: %v", list)
	}
	for life, creates := range []int{5, 5, 2, 9} { // as many as before, fewer, more
		sup, err := supervisor.Start(ctx, cfg)
		must(t, err)
		s := instancetest.Open(t, cfg)
		for range creates {
			_, err := s.Create(ctx, s.Owner(), 1000)
			must(t, err)
		}
		if got := value(t, steps(), "dsm.creates"); got != float64(creates) {
			t.Errorf("life %d: a difference of %v, not %d", life, got, creates)
		}
		want := []float64{5, 10, 12, 21}[life]
		if got := value(t, read(), "dsm.creates"); got != want {
			t.Errorf("life %d: a sum of %v, not %v", life, got, want)
		}
		must(t, s.Close())
		must(t, sup.Stop())
		away(want)
	}
}

// TestSumsAreBounded: what is kept of caches that are not there any more does not grow without end.
func TestSumsAreBounded(t *testing.T) {
	o := &observer{sums: map[series]*sum{}}
	one := func(name string, value float64) series {
		set := attributes([]string{"cache"}, []string{name})
		o.sumLocked("dsm_cache_hits_total", set, value)
		return series{"dsm_cache_hits_total", set.Equivalent()}
	}
	for i := range 10 * maxSums {
		for _, x := range o.sums {
			x.seen = false
		}
		stays := one("stays", float64(i))
		one(fmt.Sprint("goes", i), 1)
		o.forgetLocked()
		if x := o.sums[stays]; x == nil || x.before+x.now != float64(i) {
			t.Fatalf("%+v, not %d", x, i)
		}
		if len(o.sums) > maxSums {
			t.Fatalf("%d sums are kept", len(o.sums))
		}
	}
}
