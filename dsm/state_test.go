package dsm_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// TestStatesAreTexts: a state compares with a text, and reads the same for people and in JSON.
func TestStatesAreTexts(t *testing.T) {
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	g := create(t, s, 100)
	i, _ := info(t, s, g.Handle())
	if i.State != dsm.SegmentLive || fmt.Sprint(i.State) != "live" {
		t.Errorf("a segment's state is %q", i.State)
	}
	if i.State != "live" {
		t.Error("a state does not compare with a text")
	}
	all, err := s.Sessions(ctx)
	if err != nil || len(all) != 1 || all[0].State != dsm.SessionRunning {
		t.Fatalf("%+v, %v", all, err)
	}
	for x, want := range map[any]string{i.State: `"live"`, all[0].State: `"running"`} {
		if b, err := json.Marshal(x); string(b) != want || err != nil {
			t.Errorf("%v in JSON is %s, %v", x, b, err)
		}
	}
}
