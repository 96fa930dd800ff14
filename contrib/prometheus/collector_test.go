package prometheus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/godsm/godsm/cache"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/metrics"
	"github.com/godsm/godsm/internal/survey"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/web"
	"github.com/godsm/godsm/locktable"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v2"
)

var ctx = context.Background()

// world is an instance with a cache and a lock table, whose names are hostile.
func world(t *testing.T) dsm.Config {
	t.Helper()
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	app := cfg
	app.Application = "a\"\\\n\x01\xff{x=\"1\"} 2"
	s := instancetest.Open(t, app)
	c, err := cache.Open(ctx, s, "pages\"}\\ é", cache.Options{Limit: 1 << 20})
	noErr(t, err)
	l, err := locktable.Open(ctx, s, "storage", locktable.Options{})
	noErr(t, err)
	t.Cleanup(func() {
		l.Close()
		noErr(t, c.Close())
		noErr(t, s.Close())
	})
	return cfg
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func gather(t *testing.T, cfg dsm.Config) []*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewCollector(cfg))
	list, err := r.Gather()
	noErr(t, err)
	return list
}

// TestCollector: what a registry gathers keeps to the conventions, and is what the command's handler writes, in both formats.
func TestCollector(t *testing.T) {
	cfg := world(t)
	list := gather(t, cfg)
	problems, err := promlint.NewWithMetricFamilies(list).Lint()
	noErr(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	series := func(list []*dto.MetricFamily) (names []string) {
		for _, f := range list {
			for _, m := range f.Metric {
				one := []string{f.GetName() + " " + f.GetType().String()}
				for _, l := range m.Label {
					one = append(one, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
				}
				slices.Sort(one[1:])
				names = append(names, strings.Join(one, " "))
			}
		}
		slices.Sort(names)
		return names
	}
	s := httptest.NewServer(web.Handler(cfg, web.Options{}))
	defer s.Close()
	answer, err := http.Get(s.URL + "/metrics")
	noErr(t, err)
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	written, err := parser.TextToMetricFamilies(answer.Body)
	noErr(t, err)
	var other []*dto.MetricFamily
	for _, f := range written {
		if len(f.Metric) > 0 {
			other = append(other, f)
		}
	}
	if a, b := series(list), series(other); !slices.Equal(a, b) {
		t.Errorf("the collector has\n%s\nthe handler\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	open := string(metrics.Text(metrics.Families(survey.Take(ctx, cfg)), true))
	if !strings.HasSuffix(open, "\n# EOF\n") || !strings.Contains(open, "# TYPE dsm_creates counter\n") ||
		!strings.Contains(open, "\ndsm_creates_total ") {
		t.Errorf("not OpenMetrics: %s", open)
	}
}

// TestCollectorOfNothing: without an instance a scrape succeeds, and says so.
func TestCollectorOfNothing(t *testing.T) {
	list := gather(t, dsm.Config{Dir: t.TempDir()})
	if len(list) != 1 || list[0].GetName() != "dsm_up" || list[0].Metric[0].Gauge.GetValue() != 0 {
		t.Errorf("metrics %v", list)
	}
}

// TestPromhttp: the collector works behind the client library's handler.
func TestPromhttp(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(NewCollector(world(t)))
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "dsm_up 1\n") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

// TestNamedMetricsExist: each metric and label that the dashboard, the alerts and the documentation name is one that there is,
// and the documentation has them all.
func TestNamedMetricsExist(t *testing.T) {
	labels := map[string][]string{}
	for _, f := range metrics.Families(survey.Survey{}, nil) {
		labels[f.Name] = append(f.Labels, "instance", "job")
	}
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		noErr(t, err)
		return b
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	noErr(t, json.Unmarshal(read("dashboard.json"), &dashboard))
	var alerts struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	noErr(t, yaml.Unmarshal(read("alerts.yaml"), &alerts))
	metric, label := regexp.MustCompile(`\bdsm_[a-z0-9_]+`), regexp.MustCompile(`\{\{ *(?:\$labels\.)?(\w+) *\}\}`)
	check := func(where, expr, text string) {
		names := metric.FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s names no metric", where)
		}
		for _, n := range names {
			if labels[n] == nil {
				t.Errorf("%s: there is no metric %s", where, n)
			}
		}
		for _, l := range label.FindAllStringSubmatch(text, -1) {
			if len(names) > 0 && !slices.Contains(labels[names[0]], l[1]) {
				t.Errorf("%s: %s has no label %s", where, names[0], l[1])
			}
		}
	}
	n := 0
	for _, p := range dashboard.Panels {
		for _, x := range p.Targets {
			check("dashboard: "+p.Title, x.Expr, x.LegendFormat)
			n++
		}
	}
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			check("alert "+r.Alert, r.Expr, r.Annotations["summary"]+r.Annotations["description"])
			n++
		}
	}
	if n < 40 {
		t.Errorf("only %d expressions", n)
	}
	page := read("../../doc/metrics.md")
	for _, x := range metric.FindAllString(string(page), -1) {
		if labels[x] == nil {
			t.Errorf("doc/metrics.md: there is no metric %s", x)
		}
	}
	for name := range labels {
		if !bytes.Contains(page, []byte("`"+name+"`")) {
			t.Errorf("doc/metrics.md does not have %s", name)
		}
	}
}
