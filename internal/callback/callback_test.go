package callback_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/godsm/godsm/internal/callback"
)

func panics() { panic("no") }
func exits()  { runtime.Goexit() }

// TestAllAreCalled, whatever the others do; those that are bad are named, and what has no report goes on.
func TestAllAreCalled(t *testing.T) {
	for _, reported := range []bool{true, false} {
		for _, bad := range []func(){panics, exits} {
			var told []string
			ran := 0
			var report func(error)
			if reported {
				report = func(err error) { told = append(told, err.Error()) }
			}
			good := callback.Call{F: func() { ran++ }, Report: report}
			ended := make(chan any, 1)
			go func() {
				var how any = "goexit"
				defer func() {
					if r := recover(); r != nil {
						how = r
					}
					ended <- how
				}()
				callback.All([]callback.Call{good, {F: bad, Report: report}, good, {F: bad, Report: report}, good})
				how = "returned"
			}()
			want := map[bool]any{true: "returned", false: "no"}[reported]
			text := "callback_test.panics (callback_test.go:11) panicked: no"
			if strings.HasSuffix(callback.Name(bad), "exits (callback_test.go:12)") {
				want, text = "goexit", "callback_test.exits (callback_test.go:12) ended its goroutine"
			}
			if got := <-ended; got != want || ran != 3 {
				t.Errorf("%s, reported %v: it ended by %v, want %v; %d others ran", callback.Name(bad), reported, got, want, ran)
			}
			if reported && (len(told) != 2 || !strings.Contains(told[0], text)) {
				t.Errorf("told %q, want %q twice", told, text)
			}
		}
	}
}
