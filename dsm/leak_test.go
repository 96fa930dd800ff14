package dsm_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/resowner"
	"github.com/rs/zerolog"
)

// TestLeakIsReportedAtTheCall: the line in the report is the program's, whichever way the segment came.
func TestLeakIsReportedAtTheCall(t *testing.T) {
	for _, reserved := range []string{"0", "8MB"} {
		cfg := instancetest.Config(t, catalog.Default(), "min_dynamic_shared_memory", reserved)
		instancetest.Start(t, cfg)
		s := instancetest.Open(t, cfg)
		stays := create(t, s, 100)
		n, typed, err := dsm.New[uint64](ctx, s, nil)
		if err != nil || *n != 0 {
			t.Fatal(err)
		}
		other := instancetest.Open(t, cfg)
		for what, leak := range map[string]func(o *resowner.Owner) (int, error){
			"Create":      func(o *resowner.Owner) (int, error) { _, err := s.Create(ctx, o, 100); return here(), err },
			"Create, big": func(o *resowner.Owner) (int, error) { _, err := s.Create(ctx, o, 1<<20); return here(), err },
			"CreateFrom": func(o *resowner.Owner) (int, error) {
				_, err := s.CreateFrom(ctx, o, strings.NewReader("text"), 4)
				return here() - 1, err
			},
			"New": func(o *resowner.Owner) (int, error) { _, _, err := dsm.New[uint64](ctx, s, o); return here(), err },
			"Attach": func(o *resowner.Owner) (int, error) {
				_, err := other.Attach(ctx, o, stays.Handle())
				return here() - 1, err
			},
			"Attach, sharing": func(o *resowner.Owner) (int, error) { _, err := s.Attach(ctx, o, stays.Handle()); return here(), err },
			"AttachAs": func(o *resowner.Owner) (int, error) {
				_, _, err := dsm.AttachAs[uint64](ctx, s, o, typed.Handle())
				return here() - 1, err
			},
			"MoveTo": func(o *resowner.Owner) (int, error) {
				g := create(t, s, 100)
				err := g.MoveTo(o)
				return here() - 1, err
			},
		} {
			var log bytes.Buffer
			o := resowner.New("scope", zerolog.New(&log))
			at, err := leak(o)
			if err != nil {
				t.Fatal(err)
			}
			_ = o.Commit()
			if want := fmt.Sprint("leak_test.go:", at); !strings.Contains(log.String(), want) {
				t.Errorf("%s: the report does not name %s:\n%s", what, want, log.String())
			}
		}
	}
}

// here returns the line of its caller.
func here() int {
	_, _, n, _ := runtime.Caller(1)
	return n
}
