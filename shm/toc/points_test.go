//go:build linux && failpoint

package toc_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/shm/toc"
)

// TestEndAtEachPoint ends the view between two instructions of each call.
func TestEndAtEachPoint(t *testing.T) {
	b, c := newTable(t)
	for name := range tocCalls(b, c) {
		var points []string
		for _, point := range append([]string{""}, "toc/allocate/looked", "toc/allocate/done", "toc/insert/claimed",
			"toc/lookup/found") {
			b, c := newTable(t)
			stop := failpoint.Watch(func(p string) {
				points = append(points, p)
				if p == point {
					b.End()
				}
			})
			err := tocCalls(b, c)[name]()
			stop()
			if err != nil && !errors.Is(err, toc.ErrClosed) || err == nil && b.View.Ended() {
				t.Errorf("%s, the view ended at %s: %v", name, point, err)
			}
		}
		if name == "Get" && !slices.Contains(points, "toc/lookup/found") {
			t.Error("Get comes by no point")
		}
	}
}
