package endtest

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/locktable"
	"github.com/godsm/godsm/shm/dsa"
	"github.com/godsm/godsm/shm/toc"
)

// callback hands a function of the program's to the API, and has it called at once. What it returns is the API's error.
type callback func(w *world, f func() error) error

// callbacks are those that the test here tries every way out of.
var callbacks = map[string]callback{
	"dsm.Session.Contain": func(w *world, f func() error) error { return w.s.Contain(f) },
	"dsm.Segment.With":    func(w *world, f func() error) error { return w.seg.With(func([]byte) error { return f() }) },
	"dsm.Segment.OnDetach": func(w *world, f func() error) error {
		return w.fresh(func(g *dsm.Segment) error { g.OnDetach(func() { _ = f() }); return nil })
	},
	"dsm.Session.Root": func(w *world, f func() error) error { // the registry has made it
		_, err := w.s.Root(ctx, func(int) int { panic("called, though there is a root") })
		return errors.Join(err, f())
	},
	"shm.View.OnEnd": func(w *world, f func() error) error {
		return w.fresh(func(g *dsm.Segment) error { g.Region().View().OnEnd(func() { _ = f() }); return nil })
	},
	"shm.View.OnDrain": func(w *world, f func() error) error {
		return w.fresh(func(g *dsm.Segment) error { g.Region().View().OnDrain(func() { _ = f() }); return nil })
	},
	"shm.View.Drain": func(w *world, f func() error) error {
		return w.fresh(func(g *dsm.Segment) error { g.Region().View().Drain(func() { _ = f() }); return nil })
	},
	"dsa.Area.OnDetach": func(w *world, f func() error) error {
		a, err := dsa.Create(ctx, &dsa.Heap{}, w.s.Self(), dsa.Options{})
		if err != nil {
			return err
		}
		a.OnDetach(func() { _ = f() })
		return a.Detach()
	},
	"toc.Put": func(w *world, f func() error) error {
		t, err := w.freshToc()
		if err != nil {
			return err
		}
		_, err = toc.Put(t, 1, func(*uint64) error { return f() })
		return err
	},
	"toc.PutSlice": func(w *world, f func() error) error {
		t, err := w.freshToc()
		if err != nil {
			return err
		}
		_, err = toc.PutSlice(t, 1, 3, func([]uint64) error { return f() })
		return err
	},
	"shared.Codec.Append": func(w *world, f func() error) error { return throughCodec(w, f, true) },
	"shared.Codec.Parse":  func(w *world, f func() error) error { return throughCodec(w, f, false) },
	"cache.Cache.GetFunc": func(w *world, f func() error) (err error) {
		_, cerr := w.pages.GetFunc(key(1), func([]byte) { err = f() })
		return errors.Join(err, cerr)
	},
	"cache.Cache.GetMany": func(w *world, f func() error) (err error) {
		cerr := w.pages.GetMany([][]byte{key(1)}, func(int, []byte) { err = f() })
		return errors.Join(err, cerr)
	},
	"cache.Cache.Load": func(w *world, f func() error) error {
		_, err := w.pages.Load(ctx, key(1<<40+uint64(serial.Add(1))), nil, func(context.Context) ([]byte, error) { return value, f() })
		return err
	},
	"cache.Typed.Load": func(w *world, f func() error) error {
		_, err := w.typed().Load(ctx, 1<<40+uint64(serial.Add(1)), func(context.Context) (uint64, error) { return 1, f() })
		return err
	},
	"cache.Cache.All": func(w *world, f func() error) error {
		for _, err := range w.pages.All(ctx) {
			if err != nil {
				return err
			}
			return f()
		}
		return nil
	},
	"dshash.Table.Scan": func(w *world, f func() error) error { return first(w.table.Scan(ctx, true), f) },
	"dshash.Table.Update": func(w *world, f func() error) error {
		return w.table.Update(ctx, 3, func(*uint64, bool) error { return f() })
	},
	"dshash.Bytes.Update": func(w *world, f func() error) error {
		return w.bytes.Update(ctx, key(3), func([]byte, bool) ([]byte, error) { return value, f() })
	},
	"dshash.Table.All":  func(w *world, f func() error) error { return first(w.table.All(ctx), f) },
	"dshash.Table.Keys": func(w *world, f func() error) error { return first(w.table.Keys(ctx), f) },
	"dshash.Bytes.All":  func(w *world, f func() error) error { return first(w.bytes.All(ctx), f) },
	"dshash.Bytes.Keys": func(w *world, f func() error) error { return first(w.bytes.Keys(ctx), f) },
	"shmsync.LWLock.Do": func(w *world, f func() error) error { return w.lock.Do(ctx, f) },
	"mq.Receiver.All": func(w *world, f func() error) error {
		return errors.Join(w.alone[0].sender.Send(ctx, value), w.alone[0].sender.Flush(), first(w.alone[0].receiver.All(ctx), f))
	},
	"dshash.Bytes.Scan": func(w *world, f func() error) error { return first(w.bytes.Scan(ctx, true), f) },
}

func init() {
	for name, walk := range map[string]func(l *locktable.Table, path string) iter.Seq[any]{
		"List":    func(l *locktable.Table, _ string) iter.Seq[any] { return anySeq(l.List()) },
		"Holders": func(l *locktable.Table, path string) iter.Seq[any] { return anySeq(l.Holders("held", path)) },
		"Waiters": func(l *locktable.Table, path string) iter.Seq[any] { return anySeq(l.Waiters("held", path)) },
		"Waits":   func(l *locktable.Table, _ string) iter.Seq[any] { return anySeq(l.Waits()) },
	} {
		callbacks["locktable.Looker."+name] = func(w *world, f func() error) error {
			path := fmt.Sprint(w.name, "-", 0)
			if strings.HasPrefix(name, "Wait") { // which yield nothing without a waiter
				wait, stop := context.WithCancel(ctx)
				over := make(chan struct{})
				defer func() { stop(); <-over }()
				go func() {
					defer close(over)
					_, _ = w.locks.Lock(wait, locktable.Shared, "held", path)
				}()
				for n := 0; n == 0 && w.s.Err() == nil; {
					for range w.locks.Waiters("held", path) {
						n++
					}
				}
			}
			for range walk(w.locks, path) {
				return f()
			}
			return w.s.Err()
		}
	}
}

func anySeq[T any](seq iter.Seq[T]) iter.Seq[any] {
	return func(yield func(any) bool) {
		for x := range seq {
			if !yield(x) {
				return
			}
		}
	}
}

// first calls f in the body of a loop, once.
func first[X any](seq iter.Seq2[X, error], f func() error) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
		return f()
	}
	return errors.New("the loop yields nothing")
}

// elsewhere are callbacks whose ways out another test tries: the file, and the test in it.
var elsewhere = map[string]string{
	"dsm.Session.OnDeath":       "supervisor/deaths_test.go TestOnDeathEndsInEveryWay",
	"registry.Segment":          "registry/ways_test.go TestEachWayOutOfInit",
	"registry.InSegment":        "registry/ways_test.go TestEachWayOutOfInit",
	"registry.InArea":           "registry/ways_test.go TestEachWayOutOfInit",
	"supervisor.Run":            "parallel/ways_run_test.go TestAllWaysOutOfRun",
	"parallel.Register":         "parallel/ways_test.go TestAllWaysOut",
	"parallel.Map":              "parallel/ways_test.go TestAllWaysOut",
	"parallel.Options.Result":   "parallel/ways_test.go TestAllWaysOut",
	"parallel.Options.Progress": "parallel/ways_test.go TestAllWaysOut",
	"locktable.Options.OnWait":  "locktable/wait_test.go TestOnWaitEndsInEveryWay",
	"dsm.Look":                  "dsm/look_test.go TestLookEndsInEveryWay",
	"dsm.Events":                "dsm/events_test.go TestEventsEndsInEveryWay",
	"cache.Read":                "cache/look_test.go TestReadEndsInEveryWay",
	"resowner.Resource.Release": "resowner/release_test.go TestReleaseGoexit",
}

// ours are functions that the library alone passes, each with the reason.
var ours = map[string]string{
	"dsa.Look":        "package locktable's users pass what dsm.Look hands out",
	"shm.View.Report": "package dsm passes it", "shm.Explain": "package dsm passes it",
	"logcache.Cache.Walk":   "package cache passes it, and no lock is held",
	"logcache.Room.Release": "package cache passes it", "logcache.Room.Reserve": "package cache passes it",
	"logcache.Options.Now":   "a clock; TestClockPanics of package logcache",
	"shmsync.FindLocks":      "package survey passes it, and no lock is held",
	"shmsync.LWLock.OnFault": "packages dsa and dshash pass it",
	"shmsync.Self.Alive":     "Session.Self makes it", "shmsync.Self.Who": "Session.Self makes it", "shmsync.Self.Ask": "Session.Self makes it",
	"shmsync.Self.OnAsk": "Session.Self makes it", "shmsync.Self.OnDeath": "Session.Self makes it",
}

func (w *world) freshToc() (*toc.Toc, error) {
	g, err := w.segment()
	if err != nil {
		return nil, err
	}
	return toc.Create(g.Region(), 1)
}

// outs are the ways out of a function.
var outs = map[string]func(s *dsm.Session) error{
	"return": func(*dsm.Session) error { return nil },
	"fail":   func(*dsm.Session) error { return errOut },
	"panic":  func(*dsm.Session) error { panic(errOut) },
	"nil":    func(*dsm.Session) error { panic(nil) },
	"goexit": func(*dsm.Session) error { runtime.Goexit(); return nil },
	"abort":  func(s *dsm.Session) error { return s.Owner().Abort() },
	"close": func(s *dsm.Session) error {
		if err := s.Close(); !errors.Is(err, dsm.ErrDeadlock) { // from inside a release
			return err
		}
		return nil
	},
}

var errOut = errors.New("the function failed")

// TestEveryWayOutOfCallbacks: whichever way out a function takes, the session works or has ended, closes, and leaves
// nothing.
func TestEveryWayOutOfCallbacks(t *testing.T) {
	for _, checked := range []string{"off", "on"} {
		cfg := instancetest.Config(t, catalog.Default(), "max_segments", "400", "checked", checked)
		instancetest.Start(t, cfg)
		for name, hand := range callbacks {
			for way, out := range outs {
				t.Run(strings.Join([]string{checked, name, way}, "/"), func(t *testing.T) { tryOut(t, cfg, hand, out, way) })
			}
		}
	}
}

func tryOut(t *testing.T, cfg dsm.Config, hand callback, out func(*dsm.Session) error, way string) {
	w, err := newWorld(cfg, strings.TrimPrefix(t.Name(), "TestEveryWayOutOf"))
	if err != nil {
		t.Fatal(err)
	}
	outcome := make(chan error, 1)
	go func() {
		err := errors.New("the goroutine has ended")
		defer func() {
			if r := recover(); r != nil {
				err = errors.New("a panic")
			}
			outcome <- err
		}()
		err = hand(w, func() error { return out(w.s) })
	}()
	select {
	case err = <-outcome:
	case <-time.After(time.Minute):
		t.Fatal("the call does not return")
	}
	t.Log(err)
	if err == nil && (way == "panic" || way == "nil" || way == "goexit") {
		t.Error("the function did not return, and the call says nothing")
	}
	if way != "close" && way != "abort" { // the session goes on, and nothing is locked
		done := make(chan error, 1)
		go func() {
			done <- errors.Join(w.table.Set(ctx, 3, 4), w.bytes.Set(ctx, key(3), value), guarded(w.lock.Lock(ctx)),
				w.seg.With(func([]byte) error { return nil }), w.s.Err())
		}()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("afterwards: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("afterwards a call waits for ever")
		}
	}
	if err := w.s.Close(); err != nil && way != "close" && way != "abort" {
		t.Errorf("Close: %v", err)
	}
	<-w.s.Done()
	noneHeld(t, cfg)
}

// TestEveryCallbackIsKnown: each parameter and field of the API that is a function of the program's has a test.
func TestEveryCallbackIsKnown(t *testing.T) {
	found := functionsWanted(t)
	if len(found) < 20 {
		t.Fatalf("only %d were found", len(found))
	}
	for _, name := range found {
		if callbacks[name] == nil && elsewhere[name] == "" && ours[name] == "" {
			t.Errorf("%s takes a function: try its ways out here, or say in which test that is done", name)
		}
	}
	known := []string{"resowner.Resource.Release"} // a method of an interface
	known = append(known, found...)
	check := func(name string) {
		if !slices.Contains(known, name) {
			t.Errorf("there is no %s", name)
		}
	}
	for name := range callbacks {
		check(name)
	}
	for name := range ours {
		check(name)
	}
	for name, where := range elsewhere {
		check(name)
		file, test, _ := strings.Cut(where, " ")
		if text, err := os.ReadFile(filepath.Join("../../..", filepath.FromSlash(file))); err != nil ||
			!strings.Contains(string(text), "\nfunc "+test+"(t *testing.T)") {
			t.Errorf("%s: there is no %s, %v", name, where, err)
		}
	}
}

// functionsWanted are the exported functions and methods that take a function or return an iterator, and the exported
// fields that are functions.
func functionsWanted(t *testing.T) (names []string) {
	err := declarations(zeroPackages, func(pkg string, d ast.Decl) {
		for _, name := range wantedBy(d) {
			names = append(names, pkg+"."+name)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func wantedBy(d ast.Decl) (names []string) {
	if f, is := d.(*ast.FuncDecl); is && f.Name.IsExported() {
		on := receiver(f)
		if on != "" && !ast.IsExported(on) {
			return nil
		}
		wants := f.Type.Results != nil && slices.ContainsFunc(f.Type.Results.List, func(r *ast.Field) bool { return iterates(r.Type) })
		for _, p := range f.Type.Params.List {
			wants = wants || isFunction(p.Type)
		}
		if wants {
			names = append(names, on+f.Name.Name)
		}
	}
	g, is := d.(*ast.GenDecl)
	if !is || g.Tok != token.TYPE {
		return names
	}
	for _, s := range g.Specs {
		s := s.(*ast.TypeSpec)
		fields, is := s.Type.(*ast.StructType)
		if !is || !s.Name.IsExported() {
			continue
		}
		for _, field := range fields.Fields.List {
			for _, name := range field.Names {
				if name.IsExported() && isFunction(field.Type) {
					names = append(names, s.Name.Name+"."+name.Name)
				}
			}
		}
	}
	return names
}

func isFunction(x ast.Expr) bool {
	if many, is := x.(*ast.Ellipsis); is {
		x = many.Elt
	}
	_, is := x.(*ast.FuncType)
	return is
}

func iterates(x ast.Expr) bool {
	switch t := x.(type) {
	case *ast.IndexExpr:
		return iterates(t.X)
	case *ast.IndexListExpr:
		return iterates(t.X)
	case *ast.SelectorExpr:
		return strings.HasPrefix(t.Sel.Name, "Seq")
	}
	return false
}
