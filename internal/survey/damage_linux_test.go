package survey

import (
	"errors"
	"os"
	"testing"

	"github.com/godsm/godsm/dsm"
)

// TestTakeOfDamageSeesTheRest cuts off the bytes of one thing at a time: that has an error, and all else is seen.
func TestTakeOfDamageSeesTheRest(t *testing.T) {
	cfg, _ := crowd(t)
	before, err := Take(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for at, x := range before.Names {
		t.Run(x.Kind+" "+x.Name, func(t *testing.T) {
			name := ""
			for _, s := range before.Report.Segments {
				if s.Handle == x.Handle {
					name = s.OSName
				}
			}
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, 0); err != nil {
				t.Fatal(err)
			}
			got, err := Take(ctx, cfg)
			restore(t, name, content)
			if err != nil || got.Err != nil || len(got.Names) != len(before.Names) || len(got.Report.Segments) != len(before.Report.Segments) {
				t.Fatalf("%d names, %d segments, %v, %v", len(got.Names), len(got.Report.Segments), got.Err, err)
			}
			for k, seen := range faults(got) {
				if (seen != nil) != (k == before.Names[at].Name) || seen != nil && !errors.Is(seen, dsm.ErrCorrupt) {
					t.Errorf("%s was cut off; %s: %v", x.Name, k, seen)
				}
			}
		})
	}
}

// faults returns by name why something can't be read.
func faults(s Survey) map[string]error {
	list := map[string]error{}
	for _, c := range s.Caches {
		list[c.Name] = c.Err
	}
	for _, t := range s.Tables {
		list[t.Name] = t.Err
	}
	return list
}

// restore gives an object its size and its bytes back, so that the session can end its use.
func restore(t *testing.T, name string, content []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
}
