package side

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func init() {
	Register("counts", func(a Args) (*Work, error) {
		// 1 µs each, by its own clock
		return &Work{Run: func(n int) (time.Duration, error) { return time.Duration(n) * 1000, nil }}, nil
	})
	Register("each", func(a Args) (*Work, error) {
		return &Work{Each: func(ns []time.Duration) error {
			for i := range ns {
				ns[i] = time.Duration(i * 100 / len(ns)) // 0 to 99 ns, in equal parts
			}
			time.Sleep(time.Duration(len(ns)) * time.Microsecond)
			return nil
		}}, nil
	})
	Register("args", func(a Args) (*Work, error) {
		return &Work{Once: func() ([]float64, error) {
			return []float64{float64(a.Int(0)), float64(a.Target), 3}, nil
		}}, nil
	})
	Register("refuses", func(Args) (*Work, error) { return nil, errors.New("not today") })
	Register("breaks", func(Args) (*Work, error) {
		return &Work{Once: func() ([]float64, error) { return nil, errors.New("it broke\nin two lines") }}, nil
	})
	Register("panics", func(Args) (*Work, error) {
		return &Work{Once: func() ([]float64, error) { panic("aargh") }}, nil
	})
	Register("closes badly", func(Args) (*Work, error) {
		return &Work{
			Once:  func() ([]float64, error) { return []float64{1}, nil },
			Close: func() error { return errors.New("something is left") },
		}, nil
	})
	Register("pinned", func(a Args) (*Work, error) {
		f, err := StartPartner("pinned", a.Pin, nil, "an argument")
		return &Work{Once: func() ([]float64, error) {
			if err := f.Say("well?"); err != nil {
				return nil, err
			}
			line, err := f.answer(context.Background())
			theirs, _ := strconv.ParseFloat(line, 64)
			return []float64{cpus(), theirs}, err
		}, Close: f.Close}, err
	})
	Partner("pinned", func(p *Peer) error {
		if p.List[0] != "an argument" {
			return fmt.Errorf("arguments: %q", p.List)
		}
		p.Ready()
		for {
			if _, ok := p.Hear(); !ok {
				return nil
			}
			fmt.Println(cpus())
		}
	})
}

// cpus are those that this thread may run on, as a number with a bit for each.
func cpus() float64 {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return -1
	}
	return float64(set[0])
}

func open(t *testing.T, name string, a Args) *Program {
	t.Helper()
	if a.Target == 0 {
		a.Target = time.Millisecond
	}
	p, err := Open(t.Context(), name, a)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRounds(t *testing.T) {
	for _, c := range []struct {
		work string
		args []string
		want string
	}{
		{"counts", nil, "[1000]"},
		{"args", []string{"7"}, "[7 1e+06 3]"},
	} {
		p := open(t, c.work, Args{List: c.args})
		for range 2 {
			if numbers, err := p.Round(t.Context()); err != nil || fmt.Sprint(numbers) != c.want {
				t.Errorf("%s: %v, %v; want %s", c.work, numbers, err, c.want)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	p := open(t, "each", Args{})
	if q, err := p.Round(t.Context()); err != nil || q[0] < 48 || q[0] > 51 || q[1] < 97 || q[1] > 99 {
		t.Errorf("the median and the 99th of 100 are %v, %v", q, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestPace: a stall while the pace is sought makes no round a handful of operations, and a slow
// round does not make all later ones long.
func TestPace(t *testing.T) {
	p := pace{target: time.Millisecond}
	var tries []int
	each := 1000 * time.Nanosecond
	do := func(n int) (time.Duration, error) {
		tries = append(tries, n)
		if len(tries) <= 2 {
			return 400 * time.Microsecond, nil // stalled
		}
		return time.Duration(n) * each, nil
	}
	for range 3 {
		took, err := p.run(do)
		if err != nil || took < p.target/2 || took > 4*p.target || time.Duration(p.done)*each != took {
			t.Errorf("a round of %d took %v (%v), tries %v", p.done, took, err, tries)
		}
	}
	each *= 100
	if _, err := p.run(do); err != nil {
		t.Fatal(err)
	}
	if took, err := p.run(do); err != nil || took > 4*p.target {
		t.Errorf("a round after a slow one took %v (%v), tries %v", took, err, tries)
	}
	if _, err := p.run(func(int) (time.Duration, error) { return 0, errors.New("no") }); err == nil {
		t.Error("an error is lost")
	}
}

func TestPinned(t *testing.T) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil || !all.IsSet(0) || !all.IsSet(1) {
		t.Skip("skipped: this machine, or what we may use of it, has no CPUs 0 and 1")
	}
	for pin, want := range map[Pin]string{Same: "[1 1]", Diff: "[1 2]",
		Free: fmt.Sprint([]float64{float64(all[0]), float64(all[0])})} {
		p := open(t, "pinned", Args{Pin: pin})
		if numbers, err := p.Round(t.Context()); err != nil || fmt.Sprint(numbers) != want {
			t.Errorf("%s: CPUs %v, %v; want %s", pin, numbers, err, want)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFailuresSayWhy(t *testing.T) {
	if _, err := Open(t.Context(), "nonsense", Args{}); err == nil {
		t.Error("a work that is not there is opened")
	}
	if _, err := Open(t.Context(), "refuses", Args{}); err == nil || !strings.HasPrefix(err.Error(), "not today") {
		t.Errorf("%v, want the work's own words", err)
	}
	for work, want := range map[string]string{"breaks": "it broke; in two lines", "panics": "ended"} {
		p := open(t, work, Args{})
		if _, err := p.Round(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", work, err, want)
		}
		if err := p.Close(); err == nil {
			t.Errorf("%s: its status is 0", work)
		}
	}
	p := open(t, "closes badly", Args{})
	if _, err := p.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err == nil {
		t.Error("a failure at the end is not seen")
	}
}

func TestPrograms(t *testing.T) {
	shell := func(script string) (*Program, error) { return Start(t.Context(), exec.Command("sh", "-c", script)) }
	if _, err := shell("echo hello"); err == nil || !strings.Contains(err.Error(), `"hello"`) {
		t.Errorf("%v, want what it said instead of ready", err)
	}
	if _, err := shell("echo no such library >&2; exit 3"); err == nil ||
		!strings.Contains(err.Error(), "no such library") {
		t.Errorf("%v, want what it wrote", err)
	}
	p, err := shell("echo ready; read x; echo 1 two")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Round(t.Context()); err == nil {
		t.Error("what is not a number is taken for one")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	p, err = shell("echo ready; read x; read y")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := p.Round(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's end", err)
	}
	_ = p.Close() // its input ends, and so does it
	if err := unix.Kill(-p.Pid(), 0); err != unix.ESRCH {
		t.Errorf("its process group is still there: %v", err)
	}
}
