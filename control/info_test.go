package control

import (
	"errors"
	"reflect"
	"testing"
)

// TestSegmentIsTheRowThatSegmentsLists compares what is found by handle with the list, and asks for handles that no
// row has.
func TestSegmentIsTheRowThatSegmentsLists(t *testing.T) {
	w := newWorld(t, small)
	a := w.join()
	first, second := w.create(a, 1), w.create(a, 2)
	list, err := w.Segments()
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, want := range list {
		if got, err := w.Segment(want.Handle); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	for name, handle := range map[string]uint64{
		"none": 0, "the row's next segment": first.Handle + 1<<16, "a free row": first.Handle + 7, "a row beyond the table": first.Handle | 0xffff,
		"all bits": ^uint64(0),
	} {
		if got, err := w.Segment(handle); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if last, err := a.Unref(ctx, first); !last || err != nil {
		t.Fatal(last, err)
	}
	w.segments[second.row()].check.Store(1)
	if got, err := w.Segment(second.Handle); err != nil || got.Sound {
		t.Errorf("a row whose checksum is wrong: %+v, %v", got, err)
	}
	w.segments[second.row()].handle.Store(^uint64(0))
	if _, err := w.Segment(second.Handle); !errors.Is(err, ErrNotFound) {
		t.Errorf("a row with another handle: %v", err)
	}
}
