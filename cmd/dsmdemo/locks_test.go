//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/locktable"
)

// asLocker makes the test's binary one that holds a lock and waits for another: NOTE HELD WANTED, and Dir by DSM_DIR.
const asLocker = "DSMDEMO_TEST_LOCKER"

func init() {
	if args := os.Getenv(asLocker); args != "" {
		if err := locker(strings.Split(args, " ")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

func locker(args []string) error {
	s, err := dsm.Open(context.Background(), dsm.Config{Application: args[0]})
	if err != nil {
		return err
	}
	defer s.Close()
	t, err := locktable.Open(context.Background(), s, "storage", locktable.Options{DeadlockAfter: -1})
	if err != nil {
		return err
	}
	ctx, owner := t.As(context.Background(), "pull "+args[0])
	defer owner.Done()
	if _, err := t.Lock(ctx, locktable.Exclusive, "layers", args[1]); err != nil {
		return err
	}
	fmt.Println("in")
	if in := bufio.NewReader(os.Stdin); args[2] != "" {
		if _, err := in.ReadString('\n'); err != nil {
			return err
		}
	}
	_, err = t.Lock(ctx, locktable.Shared, "layers", args[2])
	return err
}

// TestLocksBesideStoppedHolders shows who holds what and who waits for whom while all of them are stopped.
func TestLocksBesideStoppedHolders(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	if got := p.ok("locks"); strings.Count(got, "\n") != 1 {
		t.Errorf("locks without a table: %q", got)
	}
	p.fails(1, "no lock table", "locks", "storage")
	start := func(args string) (*exec.Cmd, func()) {
		c := exec.Command(os.Args[0])
		c.Env = append(append([]string{}, p.env...), asLocker+"="+args)
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "in\n" {
			t.Fatalf("%q, %v", line, err)
		}
		return c, func() { fmt.Fprintln(in) }
	}
	one, goOne := start("alpine a b")
	two, goTwo := start("busybox b a")
	goOne()
	goTwo()
	var rows []lockRow
	for waiters := 0; waiters < 2; {
		rows, waiters = nil, 0
		if err := json.Unmarshal([]byte(p.ok("locks", "--json", "storage")), &rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			waiters += len(r.Waiters)
		}
	}
	for _, c := range []*exec.Cmd{one, two} {
		if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	got := p.ok("locks")
	for _, want := range []string{fmt.Sprintf("pid %d ", one.Process.Pid), `(alpine) "pull alpine"`, "layers/a", "layers/b", "holds", "waits", "exclusive"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	got = p.ok("locks", "--wait-graph")
	if strings.Count(got, "holds exclusive") != 2 {
		t.Errorf("the cycle is not in\n%s", got)
	}
	got = p.ok("locks", "--dot")
	if !strings.HasPrefix(got, "digraph") || strings.Count(got, "->") != 2 {
		t.Errorf("%s", got)
	}
	t.Log(got)
	// Both die with a lock below "layers", of which they had no more than an intent.
	for _, c := range []*exec.Cmd{one, two} {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	start("debian c d") // who opens the table sweeps it
	for got = ""; strings.Count(got, " died ") < 3; {
		got = p.ok("locks")
	}
	for _, want := range []string{`layers +2 died below it`, `layers/a +1 died with it`, `layers/b +1 died with it`} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
