package proctest

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Of a long log people see the end. So the last that a test binary says is which of the tests with helpers have failed,
// or were running when its time was over, and how to run each again alone.
var blame struct {
	mu      sync.Mutex
	running []string // once for each helper
	failed  []string
	traced  map[string]bool // tests whose other subtests follow from their traces
	watch   sync.Once
}

// Blame has a test told of at the end if it fails before the cleanups that were registered earlier than this call. Who
// starts a helper calls it by that.
func Blame(t testing.TB) {
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, bounded := d.Deadline(); bounded {
			blame.watch.Do(func() { left := time.Until(end); time.AfterFunc(left-min(left/20, 10*time.Second), late) })
		}
	}
	name := t.Name()
	blame.mu.Lock()
	blame.running = append(blame.running, name)
	blame.mu.Unlock()
	t.Cleanup(func() {
		blame.mu.Lock()
		defer blame.mu.Unlock()
		i := slices.Index(blame.running, name)
		blame.running = slices.Delete(blame.running, i, i+1)
		if t.Failed() && !slices.Contains(blame.failed, name) {
			blame.failed = append(blame.failed, name)
		}
	})
}

// late ends a test binary shortly before package testing would, whose word on that ends in pages of stacks.
func late() {
	_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	tellBlame()
	blame.mu.Lock()
	slices.Sort(blame.running)
	tell("was running when the time (-timeout) was over", slices.Compact(blame.running))
	os.Exit(2)
}

func tellBlame() {
	blame.mu.Lock()
	defer blame.mu.Unlock()
	tell("failed", blame.failed)
}

const told = 8 // so that all of it is among the last lines

func tell(what string, names []string) {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { // because of a subtest
		return slices.ContainsFunc(names, func(other string) bool { return strings.HasPrefix(other, name+"/") })
	})
	for i, name := range names {
		if i == told {
			fmt.Printf("... and %d more\n", len(names)-told)
			break
		}
		fmt.Printf("%s: %s\n  again alone: %s\n", what, name, rerun(name))
	}
}

// rerun returns the command that runs one test again, in the way that this binary was built and told.
func rerun(name string) string {
	command := "go test"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "-tags":
				command += " -tags " + s.Value
			case s.Key == "-race" && s.Value == "true":
				command += " -race"
			}
		}
		command += " " + strings.TrimSuffix(info.Path, ".test")
	}
	pattern := exactly(name)
	for t := range blame.traced {
		if strings.HasPrefix(name, t+"/") {
			pattern += "|" + exactly(t+"/trace")
		}
	}
	command += " -count 1 -run '" + pattern + "'"
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") {
			command += fmt.Sprintf(" -%s=%s", f.Name, f.Value)
		}
	})
	return command
}

// exactly returns the pattern for -run that means this test alone, between the quotes of a shell.
func exactly(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + strings.ReplaceAll(regexp.QuoteMeta(p), "'", ".") + "$"
	}
	return strings.Join(parts, "/")
}

// Selected reports whether -run selects among the subtests of tests: then not all of them run.
func Selected() bool {
	f := flag.Lookup("test.run")
	return f != nil && strings.Contains(f.Value.String(), "/")
}
