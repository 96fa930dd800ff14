package resowner_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/godsm/godsm/resowner"
)

// act is a resource that does something when it is released.
type act struct {
	resowner.Item
	name string
	do   func() error
}

func (a *act) String() string { return a.name }
func (a *act) Release() error { return a.do() }

func hold(t *testing.T, o *resowner.Owner, name string, do func() error) {
	t.Helper()
	a := &act{name: name, do: do}
	if err := o.Remember(&a.Item, a); err != nil {
		t.Fatal(err)
	}
}

// family is a root with two children, one of which has a child of its own.
type family struct{ root, elder, younger, grandchild *resowner.Owner }

func newFamily(t *testing.T, log zerolog.Logger) (f family) {
	t.Helper()
	f.root = resowner.New("root", log)
	f.elder = child(t, f.root, "elder")
	f.younger = child(t, f.root, "younger")
	f.grandchild = child(t, f.younger, "grandchild")
	return f
}

// journal is what was released, in order.
type journal struct {
	mu    sync.Mutex
	names []string
}

func (j *journal) add(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.names = append(j.names, name)
}

// wantOrder wants all of the names, each once, in an order in which the earlier of each pair comes first.
func (j *journal) wantOrder(t *testing.T, n int, pairs ...[2]string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if sorted := slices.Sorted(slices.Values(j.names)); len(slices.Compact(sorted)) != n || len(j.names) != n {
		t.Fatalf("released %v, want %d, each once", j.names, n)
	}
	for _, p := range pairs {
		if slices.Index(j.names, p[0]) > slices.Index(j.names, p[1]) {
			t.Fatalf("released %v, want %s before %s", j.names, p[0], p[1])
		}
	}
}

// TestEndedTwiceAtOnce: the caller of many that returns from the end of an owner finds all of it released, newest first, and
// the children's before that.
func TestEndedTwiceAtOnce(t *testing.T) {
	ways := map[string]func(f family) []func() error{
		"root twice":          func(f family) []func() error { return []func() error{f.root.Abort, f.root.Abort} },
		"root and child":      func(f family) []func() error { return []func() error{f.younger.Abort, f.root.Abort} },
		"root and grandchild": func(f family) []func() error { return []func() error{f.grandchild.Abort, f.root.Abort} },
		"all, twice": func(f family) []func() error {
			return []func() error{f.elder.Abort, f.younger.Commit, f.root.Abort, f.grandchild.Abort, f.root.Commit,
				f.younger.Abort, f.elder.Abort}
		},
	}
	const rounds, each = 500, 3 // of four ways: 2,000
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			for range rounds {
				f := newFamily(t, zerolog.Logger{})
				var j journal
				for _, o := range []struct {
					name  string
					owner *resowner.Owner
				}{{"r", f.root}, {"e", f.elder}, {"y", f.younger}, {"g", f.grandchild}} {
					for i := range each {
						name := fmt.Sprint(o.name, i)
						hold(t, o.owner, name, func() error { runtime.Gosched(); j.add(name); return nil })
					}
				}
				var wg sync.WaitGroup
				begin := make(chan struct{})
				for _, end := range way(f) {
					wg.Go(func() {
						<-begin
						if err := end(); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Go(func() { // and one that looks
					<-begin
					if err := f.root.Abort(); err != nil {
						t.Error(err)
					}
					j.wantOrder(t, 4*each, [2]string{"r2", "r1"}, [2]string{"r1", "r0"}, [2]string{"e2", "e1"},
						[2]string{"e1", "e0"}, [2]string{"y2", "y1"}, [2]string{"y1", "y0"}, [2]string{"g1", "g0"},
						[2]string{"g0", "y2"}, [2]string{"y0", "r2"}, [2]string{"e0", "r2"})
				})
				close(begin)
				wg.Wait()
			}
		})
	}
}

// TestEndInsideRelease: an end that would wait for its own caller is an error at once that names the resource, and the
// first end still releases everything.
func TestEndInsideRelease(t *testing.T) {
	other := resowner.New("other", zerolog.Logger{})
	for name, c := range map[string]struct {
		end   func(f family) func() error
		wrong bool
	}{
		"itself":            {func(f family) func() error { return f.younger.Abort }, true},
		"itself by Commit":  {func(f family) func() error { return f.younger.Commit }, true},
		"its parent":        {func(f family) func() error { return f.root.Abort }, true},
		"asked":             {func(f family) func() error { return f.root.MayEnd }, true},
		"its ended child":   {func(f family) func() error { return f.grandchild.Abort }, false},
		"a sibling":         {func(f family) func() error { return f.elder.Abort }, false},
		"an unrelated one":  {func(family) func() error { return other.Abort }, false},
		"through unrelated": {through(t, func(f family) func() error { return f.younger.Abort }), true},
	} {
		for _, first := range []string{"younger", "root"} {
			t.Run(name+"/"+first, func(t *testing.T) {
				f := newFamily(t, zerolog.Logger{})
				var j journal
				add := func(o *resowner.Owner, name string) { hold(t, o, name, func() error { j.add(name); return nil }) }
				add(f.root, "root's")
				add(f.elder, "elder's")
				add(f.grandchild, "grandchild's")
				add(f.younger, "older")
				var inside error
				hold(t, f.younger, "the resource", func() error {
					inside = c.end(f)()
					j.add("itself")
					return nil
				})
				add(f.younger, "newer")
				end := f.younger.Abort
				if first == "root" {
					end = f.root.Abort
				}
				if err := end(); err != nil {
					t.Error(err)
				}
				if c.wrong != (inside != nil) || c.wrong && (!errors.Is(inside, resowner.ErrDeadlock) ||
					!strings.Contains(inside.Error(), "release of the resource,")) {
					t.Errorf("inside the release: %v", inside)
				}
				if err := f.root.Abort(); err != nil {
					t.Error(err)
				}
				j.wantOrder(t, 6, [2]string{"newer", "itself"}, [2]string{"itself", "older"},
					[2]string{"older", "root's"}, [2]string{"elder's", "root's"}, [2]string{"grandchild's", "newer"})
			})
		}
	}
}

// through ends an unrelated owner whose release calls end.
func through(t *testing.T, end func(f family) func() error) func(f family) func() error {
	return func(f family) func() error {
		return func() (err error) {
			o := resowner.New("between", zerolog.Logger{})
			hold(t, o, "between", func() error { err = end(f)(); return nil })
			return errors.Join(o.Abort(), err)
		}
	}
}

// TestEndAwaitedByRelease: a release that waits for a goroutine which ends the owner gets it back with an error, and the
// first end still releases everything.
func TestEndAwaitedByRelease(t *testing.T) {
	for _, name := range []string{"younger", "root"} {
		for _, first := range []string{"younger", "root"} {
			t.Run(name+" inside "+first, func(t *testing.T) {
				f := newFamily(t, zerolog.Logger{})
				owners := map[string]*resowner.Owner{"younger": f.younger, "root": f.root}
				var j journal
				hold(t, f.root, "root's", func() error { j.add("root's"); return nil })
				hold(t, f.younger, "older", func() error { j.add("older"); return nil })
				var second error
				hold(t, f.younger, "the resource", func() error {
					done := make(chan struct{})
					go func() { second = owners[name].Abort(); close(done) }()
					<-done
					j.add("itself")
					return nil
				})
				if err := owners[first].Abort(); err != nil {
					t.Error(err)
				}
				if !errors.Is(second, resowner.ErrDeadlock) ||
					!strings.Contains(second.Error(), "releasing the resource for more than 1s") {
					t.Errorf("the second end: %v", second)
				}
				if err := f.root.Abort(); err != nil {
					t.Error(err)
				}
				ahead := name == "root" && first == "younger" // the root went on without its child
				if is := strings.Contains(second.Error(), `owner "root" ends without waiting any longer for its child, whose `+
					`resources are released once that release returns, after those of "root": owner "younger" has not ended`); is != ahead {
					t.Errorf("it is ahead of its child: %v, and it says: %v", ahead, second)
				}
				if ahead {
					j.wantOrder(t, 3, [2]string{"root's", "itself"}, [2]string{"itself", "older"})
				} else {
					j.wantOrder(t, 3, [2]string{"itself", "older"}, [2]string{"older", "root's"})
				}
			})
		}
	}
}

// TestEndsThatWaitForEachOther: two owners whose releases end the other one get errors, and both end.
func TestEndsThatWaitForEachOther(t *testing.T) {
	a, b := resowner.New("a", zerolog.Logger{}), resowner.New("b", zerolog.Logger{})
	both := make(chan struct{})
	hold(t, a, "a's", func() error { both <- struct{}{}; return b.Abort() })
	hold(t, b, "b's", func() error { <-both; return a.Abort() })
	errs := make(chan error, 2)
	go func() { errs <- a.Abort() }()
	go func() { errs <- b.Abort() }()
	failed := errors.Join(<-errs, <-errs)
	if !errors.Is(failed, resowner.ErrDeadlock) || !strings.Contains(failed.Error(), "more than 1s") {
		t.Errorf("the ends: %v", failed)
	}
}
