// Package otel brings an instance into OpenTelemetry: its metrics, and spans of what a program's calls waited for.
//
//	registration, err := otel.Observe(meterProvider, dsm.Config{Dir: dir})
//	locks := otel.TraceLocks(tracerProvider, table) // a *locktable.Table whose waits are spans
//
// The metrics are those of supervise --metrics, by the same code, with OpenTelemetry's names: doc/metrics.md lists them. A
// collection looks at the instance once; it joins nothing and takes no lock.
//
// A span is made of a call of this program that failed or took Least or longer, and of each run of a cache's loader. It does not
// promise spans of other processes: each traces its own calls.
//
// It is a module of its own and needs OpenTelemetry's API alone, so that the library needs neither.
package otel

import (
	"context"
	"maps"
	"strings"
	"sync"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/metrics"
	"github.com/godsm/godsm/internal/survey"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// scope is the name of the instrumentation.
const scope = "github.com/godsm/godsm/contrib/otel"

// Observe adds the metrics of the instance that runs in cfg.Dir, whichever that is when they are collected, to those of the
// provider, until the registration is undone. Without an instance dsm.up is 0, counters stay as they are, and the other metrics
// are missing.
//
// An exporter to Prometheus gives them the names and labels of doc/metrics.md. Other than there, a counter does not begin at 0
// with a new generation, or with a new cache of the same name: it goes on, since a sum of OpenTelemetry never falls.
func Observe(provider metric.MeterProvider, cfg dsm.Config) (metric.Registration, error) {
	o := &observer{cfg: cfg, instruments: map[string]metric.Float64Observable{}, sums: map[series]*sum{}}
	meter := provider.Meter(scope)
	var list []metric.Observable
	for _, f := range metrics.Families(survey.Survey{}, nil) { // all that there are, without samples
		x, err := instrument(meter, f)
		if err != nil {
			return nil, err
		}
		o.instruments[f.Name] = x
		list = append(list, x)
	}
	return meter.RegisterCallback(o.collect, list...)
}

// instrument makes the instrument of a family.
func instrument(meter metric.Meter, f metrics.Family) (metric.Float64Observable, error) {
	name, unit := nameOf(f)
	if f.Type == metrics.Counter {
		return meter.Float64ObservableCounter(name, metric.WithDescription(f.Help), metric.WithUnit(unit))
	}
	return meter.Float64ObservableGauge(name, metric.WithDescription(f.Help), metric.WithUnit(unit))
}

// things are the name spaces of metrics that belong to one of several, or to a part of the instance.
var things = []string{"application", "cache", "control_lock", "instance", "queue"}

// nameOf returns OpenTelemetry's name of a family, and its unit: dsm_cache_hits_total is dsm.cache.hits, and
// dsm_memory_bytes is dsm.memory in By.
func nameOf(f metrics.Family) (name, unit string) {
	name = strings.TrimSuffix(strings.TrimPrefix(f.Name, "dsm_"), "_total")
	for suffix, u := range map[string]string{"_bytes": "By", "_seconds": "s", "_ratio": "1"} {
		if rest, ok := strings.CutSuffix(name, suffix); ok {
			name, unit = rest, u
		}
	}
	for _, t := range things {
		if rest, ok := strings.CutPrefix(name, t+"_"); ok {
			return "dsm." + t + "." + rest, unit
		}
	}
	if name == "application" {
		name = "application.bytes" // without its unit it would be the name of a name space
	}
	return "dsm." + name, unit
}

// observer observes one instance.
type observer struct {
	cfg         dsm.Config
	instruments map[string]metric.Float64Observable // by the names of families

	mu   sync.Mutex // one collection at a time: an older look must not be taken for a counter that fell
	sums map[series]*sum
	life life // that the sums were last seen in
}

// life is what counters begin at 0 with.
type life struct {
	instance   string
	generation uint64
}

// series is a family and its labels' values.
type series struct {
	family     string
	attributes attribute.Distinct
}

// sum is a counter that goes on when what it counts begins anew, or is not there.
type sum struct {
	attributes  attribute.Set
	before, now float64 // of what has ended, and of what is there
	seen        bool    // in this collection
}

// maxSums bounds the memory that is kept of caches and queues that are not there any more.
const maxSums = 2000

// collect looks at the instance and observes all.
func (o *observer) collect(ctx context.Context, to metric.Observer) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, err := survey.Take(context.WithoutCancel(ctx), o.cfg) // a part of it would look as if the rest were not there
	for _, x := range o.sums {
		x.seen = false
	}
	if err == nil {
		o.liveLocked(life{s.Report.Status.Instance.String(), s.Report.Status.Generation})
	}
	for _, f := range metrics.Families(s, err) {
		for _, x := range f.Samples {
			if set := attributes(f.Labels, x.Values); f.Type == metrics.Counter {
				o.sumLocked(f.Name, set, x.Value)
			} else {
				to.ObserveFloat64(o.instruments[f.Name], x.Value, metric.WithAttributeSet(set))
			}
		}
	}
	o.forgetLocked()
	for of, x := range o.sums {
		to.ObserveFloat64(o.instruments[of.family], x.before+x.now, metric.WithAttributeSet(x.attributes))
	}
	return nil
}

// liveLocked notes which life the instance is in: in another one all counters begin at 0. The caller holds o.mu.
func (o *observer) liveLocked(now life) {
	if o.life != now {
		for _, x := range o.sums {
			x.before, x.now = x.before+x.now, 0
		}
	}
	o.life = now
}

// sumLocked adds what a counter has counted since it was looked at last. The caller holds o.mu.
func (o *observer) sumLocked(family string, set attribute.Set, value float64) {
	of := series{family, set.Equivalent()}
	x := o.sums[of]
	if x == nil {
		x = &sum{attributes: set}
		o.sums[of] = x
	}
	if value < x.now {
		x.before += x.now
	}
	x.now, x.seen = value, true
}

// forgetLocked forgets those sums that were not seen in this collection, if there are too many. The caller holds o.mu.
func (o *observer) forgetLocked() {
	if len(o.sums) > maxSums {
		maps.DeleteFunc(o.sums, func(_ series, x *sum) bool { return !x.seen })
	}
}

// attributes returns labels as attributes.
func attributes(labels, values []string) attribute.Set {
	list := make([]attribute.KeyValue, len(labels))
	for i, l := range labels {
		list[i] = attribute.String(l, values[i])
	}
	return attribute.NewSet(list...)
}
