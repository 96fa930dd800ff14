//go:build unix

package parallel_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/parallel"
)

// echo serves connections of one line each: it answers with its version, its pid and the line. "die" as line or as
// version has it die, "hang" never end, "mute" never say that it is ready.
var echo = parallel.Register("echo", func(ctx context.Context, w *parallel.Worker, version string) error {
	switch version {
	case "bad":
		return errors.New("this version can't begin")
	case "mute":
		<-ctx.Done()
		return ctx.Err()
	case "done":
		return nil
	}
	l, err := net.FileListener(w.Files[0])
	if err != nil {
		return err
	}
	served := make(chan struct{})
	var answering sync.WaitGroup
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answering.Go(func() {
				defer conn.Close()
				line, err := bufio.NewReader(conn).ReadString('\n')
				if err == nil && line == "die\n" {
					self, _ := os.FindProcess(os.Getpid())
					_ = self.Kill()
				}
				_, _ = fmt.Fprintf(conn, "%s %d %s", version, os.Getpid(), line)
			})
		}
	}()
	if err := errors.Join(w.Ready(), w.Ready()); err != nil {
		return err
	}
	<-ctx.Done()
	if version == "hang" {
		select {}
	}
	_ = l.Close()
	<-served
	answering.Wait()
	return ctx.Err()
})

// front is a listener that sets inherit, and who asks it.
type front struct {
	t       *testing.T
	session *dsm.Session
	address string
	files   []*os.File
}

func newFront(t *testing.T) front {
	t.Helper()
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	t.Cleanup(func() { file.Close() })
	return front{t, instancetest.Open(t, cfg), l.Addr().String(), []*os.File{file}}
}

func (f front) start(version string, workers int) *parallel.Set {
	f.t.Helper()
	set, err := echo.Start(ctx, f.session, f.options(workers), version)
	if err != nil {
		f.t.Fatal(err)
	}
	return set
}

func (f front) options(workers int) parallel.Options {
	return parallel.Options{Workers: workers, Retries: 3, Files: f.files, Grace: time.Minute}
}

// ask sends a line and returns the answer, without the line.
func (f front) ask(line string) (version, pid string, err error) {
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", "", err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", "", err
	}
	fields := strings.Fields(answer)
	if len(fields) != 3 || fields[2] != line {
		return "", "", fmt.Errorf("the answer to %q is %q", line, answer)
	}
	return fields[0], fields[1], nil
}

// TestSetIsReplaced: sets follow each other under connections, and none of these is lost.
func TestSetIsReplaced(t *testing.T) {
	f := newFront(t)
	set := f.start("v0", 2)
	var asked atomic.Int64
	stop := make(chan struct{})
	var askers sync.WaitGroup
	for range 8 {
		askers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := f.ask(fmt.Sprint("line", n)); err != nil {
					t.Errorf("lost: %v", err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for i := range 4 {
		for target := asked.Load() + 100; asked.Load() < target && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
		next := f.start(fmt.Sprint("v", i+1), 2)
		if err := set.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if version, _, err := f.ask("who"); err != nil || version != fmt.Sprint("v", i+1) {
			t.Errorf("after v%d has taken over %s answers, %v", i+1, version, err)
		}
		set = next
	}
	close(stop)
	askers.Wait()
	if err := errors.Join(set.Stop(), set.Stop()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	<-set.Done()
	t.Logf("%d connections over 4 replacements", asked.Load())
}

// TestSetThatCannotBegin: the one before it goes on.
func TestSetThatCannotBegin(t *testing.T) {
	f := newFront(t)
	set := f.start("old", 1)
	if _, err := echo.Start(ctx, f.session, f.options(2), "bad"); err == nil || !strings.Contains(err.Error(), "can't begin") {
		t.Errorf("a version that can't begin: %v", err)
	}
	if _, err := echo.Start(ctx, f.session, f.options(2), "done"); err == nil || !strings.Contains(err.Error(), "Worker.Ready") {
		t.Errorf("a version that returns at once: %v", err)
	}
	bounded, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := echo.Start(bounded, f.session, f.options(2), "mute"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a version that is never ready: %v", err)
	}
	if _, err := echo.Start(ctx, nil, f.options(2), "new"); err == nil {
		t.Error("a set without a session")
	}
	if version, _, err := f.ask("who"); err != nil || version != "old" {
		t.Errorf("%s answers, %v", version, err)
	}
	if err := set.Stop(); err != nil {
		t.Error(err)
	}
}

// TestSetWithDeaths: a worker that dies is replaced, and inherits; when none may be replaced any more, the set ends.
func TestSetWithDeaths(t *testing.T) {
	f := newFront(t)
	set := f.start("v", 1)
	_, last, err := f.ask("who")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // Options.Retries
		if _, _, err := f.ask("die"); err == nil {
			t.Error("a worker that is dead has answered")
		}
		_, pid, err := f.ask("who") // waits in the kernel's queue
		if err != nil || pid == last {
			t.Errorf("process %s answers after the death of %s, %v", pid, last, err)
		}
		last = pid
	}
	_, _, _ = f.ask("die")
	<-set.Done()
	var dead *parallel.Error
	if err := set.Stop(); !errors.As(err, &dead) {
		t.Errorf("Stop of a set whose worker has died: %v", err)
	}
}

// TestSetThatHangs: what does not drain is killed, and that is told.
func TestSetThatHangs(t *testing.T) {
	f := newFront(t)
	o := f.options(1)
	o.Grace = 100 * time.Millisecond
	set, err := echo.Start(ctx, f.session, o, "hang")
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Stop of a set that hangs: %v", err)
	}
}

// TestSetOfTheLeader: with no workers the leader serves itself.
func TestSetOfTheLeader(t *testing.T) {
	f := newFront(t)
	set := f.start("alone", 0)
	next := f.start("next", 1)
	if err := set.Stop(); err != nil {
		t.Error(err)
	}
	if version, _, err := f.ask("who"); err != nil || version != "next" {
		t.Errorf("%s answers, %v", version, err)
	}
	if err := next.Stop(); err != nil {
		t.Error(err)
	}
}

// TestSetEndsWithItsSession: a set is in an instance.
func TestSetEndsWithItsSession(t *testing.T) {
	f := newFront(t)
	set := f.start("v", 2)
	if err := f.session.Close(); err != nil {
		t.Error(err)
	}
	<-set.Done()
	if err := set.Stop(); !errors.Is(err, dsm.ErrClosed) {
		t.Errorf("Stop of a set whose session was closed: %v", err)
	}
}

func TestFiles(t *testing.T) {
	f := newFront(t)
	closed, err := os.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, c := range map[string]struct {
		files []*os.File
		kind  error
	}{
		"nil": {[]*os.File{f.files[0], nil}, fs.ErrInvalid}, "closed": {[]*os.File{closed}, fs.ErrClosed},
		"too many": {make([]*os.File, 1001), fs.ErrInvalid},
	} {
		o := f.options(1)
		o.Files = c.files
		if _, err := echo.Start(ctx, f.session, o, "v"); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := new(parallel.Worker).Ready(); err == nil {
		t.Error("the zero Worker is ready")
	}
	if err := new(parallel.Set).Stop(); err == nil {
		t.Error("the zero Set has stopped")
	}
}
