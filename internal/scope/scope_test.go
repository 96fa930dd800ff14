package scope

import (
	"runtime/debug"
	"slices"
	"testing"
)

// lock is a Held that notes when it is given back.
type lock struct {
	name string
	over bool
	log  *[]string
}

func (l *lock) Over() bool { return l.over }

func (l *lock) Abandon() {
	if !l.over {
		*l.log = append(*l.log, l.name)
	}
}

func TestScopeGivesBackWhatIsHeld(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if Running() || Current() != nil {
		t.Fatal("there is a scope before the first")
	}
	var log []string
	outer := Begin()
	Current().Add(&lock{"outer", false, &log})
	inner := Begin()
	if !inner.Inner() || Current() != inner {
		t.Error("the inner scope is not the current one")
	}
	Current().Add(&lock{"first", false, &log})
	Current().Add(&lock{"second", false, &log})
	Current().Add(&lock{"over", true, &log})
	done := make(chan bool)
	go func() {
		defer close(done)
		debug.SetPanicOnFault(true)
		if Current() != nil {
			t.Error("another goroutine is in the scope")
		}
	}()
	<-done
	inner.Abandon()
	if want := []string{"second", "first"}; !slices.Equal(log, want) {
		t.Errorf("the inner scope has given back %v, want %v", log, want)
	}
	Current().Add(&lock{"late", false, &log})
	inner.End()
	outer.Abandon()
	outer.End()
	if want := []string{"second", "first", "late", "outer"}; !slices.Equal(log, want) {
		t.Errorf("both have given back %v, want %v", log, want)
	}
	if Running() || !Quiet() || Current() != nil {
		t.Error("a scope is left")
	}
}

func TestScopeForgetsWhatIsOver(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var log []string
	s := Begin()
	defer s.End()
	for range 10000 {
		s.Add(&lock{"", true, &log})
	}
	if len(s.held) > 100 {
		t.Errorf("it keeps %d locks that are over", len(s.held))
	}
}
