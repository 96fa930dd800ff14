// Package prometheus has a collector of the metrics of an instance, for programs that serve metrics of their own:
//
//	registry.MustRegister(prometheus.NewCollector(dsm.Config{}))
//
// The metrics are those of supervise --metrics; doc/metrics.md lists them. A scrape joins nothing and takes no lock. The
// dashboard (dashboard.json, for Grafana) and the alerts (alerts.yaml) are beside this file.
//
// It is a module of its own, so that the library needs no client library.
package prometheus

import (
	"context"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/metrics"
	"github.com/godsm/godsm/internal/survey"
	"github.com/prometheus/client_golang/prometheus"
)

// NewCollector returns a collector for the instance that runs in cfg.Dir, whichever that is at the time of a scrape. Without
// one dsm_up is 0, and the other metrics are missing. It is safe for concurrent use.
func NewCollector(cfg dsm.Config) prometheus.Collector { return collector{cfg} }

type collector struct{ cfg dsm.Config }

// Describe sends nothing: what caches, tables and queues there are is known at a scrape. So the registry does not compare this
// collector with others, and refuses what they have in common when it gathers.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect looks at the instance and sends all metrics.
func (c collector) Collect(to chan<- prometheus.Metric) {
	for _, f := range metrics.Families(survey.Take(context.Background(), c.cfg)) {
		desc := prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
		kind := prometheus.GaugeValue
		if f.Type == metrics.Counter {
			kind = prometheus.CounterValue
		}
		for _, s := range f.Samples {
			m, err := prometheus.NewConstMetric(desc, kind, s.Value, s.Values...)
			if err != nil {
				m = prometheus.NewInvalidMetric(desc, err)
			}
			to <- m
		}
	}
}
