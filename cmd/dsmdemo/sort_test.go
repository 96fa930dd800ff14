//go:build unix

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// sorted is what LC_ALL=C sort prints of these files: its own word where there is one, else ours.
func sorted(t *testing.T, files ...string) []byte {
	t.Helper()
	if path, err := exec.LookPath("sort"); err == nil {
		cmd := exec.Command(path, append([]string{"--"}, files...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var lines [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 {
			lines = append(lines, bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))...)
		}
	}
	slices.SortFunc(lines, bytes.Compare)
	var out []byte
	for _, l := range lines {
		out = append(append(out, l...), '\n')
	}
	return out
}

func randomText(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnop\n\n\x00\xff /"[rng.IntN(22)]
	}
	return b
}

func TestSort(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := file("text", randomText(1<<20))
	open := file("no newline at the end", []byte("b\na\nc"))
	bytes0 := file("nul and ff", []byte("\xff\n\x00\n\x00\x00\na\x00b\na\na\xff\n\n\n\xff\xff"))
	empty := file("empty", nil)
	newlines := file("newlines", []byte("\n\n\n"))
	long := file("one long line", append(bytes.Repeat([]byte("x"), 3<<20), '\n'))
	same := file("the same", bytes.Repeat([]byte("same\n"), 100_000))
	for _, c := range []struct {
		name  string
		files []string
		args  []string
	}{
		{"text", []string{text}, nil},
		{"five workers", []string{text}, []string{"--workers", "5"}},
		{"alone", []string{text}, []string{"--workers", "0"}},
		{"no newline", []string{open}, nil},
		{"nul and ff", []string{bytes0}, nil},
		{"empty", []string{empty}, nil},
		{"newlines", []string{newlines}, nil},
		{"long line", []string{long}, nil},
		{"the same", []string{same}, nil},
		{"several", []string{open, empty, bytes0, open, text, newlines}, []string{"--workers", "3"}},
		{"sysv", []string{text, open}, []string{"-c", "dynamic_shared_memory_type=sysv"}},
		{"mmap", []string{text, open}, []string{"-c", "dynamic_shared_memory_type=mmap"}},
		{"checked", []string{text, open}, []string{"-c", "checked=on"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			want := sorted(t, c.files...)
			out := filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(out, bytes.Repeat([]byte("what was there before "), 200_000), 0o600); err != nil {
				t.Fatal(err)
			}
			p.ok(append(append([]string{"sort", "-o", out}, c.args...), c.files...)...)
			if got, _ := os.ReadFile(out); !bytes.Equal(got, want) {
				t.Error("the output file differs from LC_ALL=C sort")
			}
			got, errs, status := p.run("", append(append([]string{"sort"}, c.args...), c.files...)...)
			if got != string(want) || status != 0 || errs != "" {
				t.Errorf("through a pipe: status %d, %s, or the output differs", status, errs)
			}
		})
	}
}

func TestSortNone(t *testing.T) {
	p := newPlace(t)
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, randomText(200_000), 0o600); err != nil {
		t.Fatal(err)
	}
	got, errs, status := p.run("", "sort", "-c", "dynamic_shared_memory_type=none", file)
	if got != string(sorted(t, file)) || status != 0 || !strings.Contains(errs, "sorting in private memory") {
		t.Errorf("status %d, %s, or the output differs", status, errs)
	}
}

func TestSortStreamsAndRedirections(t *testing.T) {
	p := newPlace(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	text := randomText(3 << 20)
	if err := os.WriteFile(path("in"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	want := string(sorted(t, path("in")))
	for _, args := range [][]string{{"sort"}, {"sort", "-"}} {
		if got, errs, status := p.run(string(text), args...); got != want || status != 0 {
			t.Errorf("%v: status %d, %s, or the output differs", args, status, errs)
		}
	}
	if got, _, _ := p.run("z\ny", "sort", "-", path("in")); got != string(sorted(t, path("in"), writeTemp(t, "z\ny"))) {
		t.Error("a stream and a file: the output differs")
	}
	for flags, want := range map[int]string{os.O_TRUNC: want, os.O_APPEND: "before\n" + want} {
		out := path("out")
		if err := os.WriteFile(out, []byte("before\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(out, os.O_WRONLY|flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := p.command("sort", path("in"))
		cmd.Stdout = f
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("after\n"); err != nil { // as the next command of a shell's list would
			t.Fatal(err)
		}
		f.Close()
		if got, _ := os.ReadFile(out); string(got) != want+"after\n" {
			t.Errorf("redirected with flags %#x: the output differs", flags)
		}
	}
	p.ok("sort", "-o", path("in"), path("in")) // onto its own input
	if got, _ := os.ReadFile(path("in")); string(got) != want {
		t.Error("sorted onto its input: the output differs")
	}
	p.fails(1, "no such file", "sort", path("missing"))
	p.fails(1, "directory", "sort", dir)
}

// TestSortFilesOfTheKernel: names that mean another file in another process, and sizes that are none.
func TestSortFilesOfTheKernel(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("skipped: needs /proc")
	}
	p := newPlace(t)
	text := writeTemp(t, string(randomText(1<<20)))
	out := filepath.Join(t.TempDir(), "out")
	files := make([]*os.File, 2)
	for i, open := range []func() (*os.File, error){
		func() (*os.File, error) { return os.Open(text) },
		func() (*os.File, error) { return os.Create(out) },
	} {
		f, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	want := string(sorted(t, text))
	cmd := p.command("sort", "/dev/stdin")
	cmd.Stdin = files[0]
	if got, err := cmd.Output(); err != nil || string(got) != want {
		t.Errorf("/dev/stdin: %v, or the output differs", err)
	}
	cmd = p.command("sort", "/dev/fd/3", "-o", "/dev/fd/4") // in a worker these are the pipes to its leader
	cmd.ExtraFiles = files
	if errs, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("/dev/fd: %v, %s", err, errs)
	}
	if got, _ := os.ReadFile(out); string(got) != want {
		t.Error("/dev/fd: the output differs")
	}
	// says that it is empty
	if got := p.ok("sort", "/proc/version", text); got != string(sorted(t, "/proc/version", text)) {
		t.Error("/proc/version: the output differs")
	}
	const page = "/sys/kernel/mm/transparent_hugepage/enabled" // says that it has a page
	if _, err := os.Stat(page); err == nil && p.ok("sort", page) != string(sorted(t, page)) {
		t.Errorf("%s: the output differs", page)
	}
}

func writeTemp(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSortReaderGone: a closed pipe on standard output is an error, after which nothing is left.
func TestSortReaderGone(t *testing.T) {
	p := newPlace(t)
	in := writeTemp(t, string(randomText(1<<20)))
	for _, args := range [][]string{{}, {"-c", "dynamic_shared_memory_type=none"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := p.command(append([]string{"sort", in}, args...)...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &errs
		err = cmd.Run()
		w.Close()
		if proctest.ExitCode(err) != 1 || !strings.Contains(errs.String(), "broken pipe") {
			t.Errorf("%v: %v, %s; want status 1 and a word of the broken pipe", args, err, &errs)
		}
	}
}

// TestSortInARunningInstance leaves nothing in it.
func TestSortInARunningInstance(t *testing.T) {
	p := newPlace(t)
	p.supervise()
	in := writeTemp(t, "b\na\n")
	if got := p.ok("sort", in); got != "a\nb\n" {
		t.Errorf("%q", got)
	}
	instancetest.Eventually(t, "all have left", func() bool {
		return p.ok("ls", "--json") == "[]\n" && p.ok("ps", "--json") == "[]\n"
	})
}

// workersOf lists the processes that a process has started.
func workersOf(pid int) (list []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for _, f := range strings.Fields(string(b)) {
			n, _ := strconv.Atoi(f)
			list = append(list, n)
		}
	}
	return list
}

// startSort starts a sort and waits until it has its workers.
func startSort(t *testing.T, p place) (cmd *exec.Cmd, errs *bytes.Buffer, workers []int) {
	t.Helper()
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, randomText(8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for {
		cmd, errs = p.command("sort", "-o", in+".out", "--workers", "2", in), &bytes.Buffer{}
		cmd.Stderr = errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		instancetest.Eventually(t, "it has workers", func() bool {
			workers = workersOf(cmd.Process.Pid)
			return len(workers) == 2 || zombie(cmd.Process.Pid)
		})
		if len(workers) == 2 {
			return cmd, errs, workers
		}
		if err := cmd.Wait(); err != nil { // a busy machine: it was done before we looked
			t.Fatalf("%v: %s", err, errs)
		}
	}
}

// TestSortWorkerKilled: a clear error and nothing left, whenever it is.
func TestSortWorkerKilled(t *testing.T) {
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("skipped: needs /proc to find the workers")
	}
	killed := 0
	for range 10 {
		p := newPlace(t)
		cmd, errs, workers := startSort(t, p)
		_ = syscall.Kill(workers[1], syscall.SIGKILL)
		err := cmd.Wait()
		if err == nil {
			continue // it was done before
		}
		killed++
		if proctest.ExitCode(err) != 1 || !strings.Contains(errs.String(), "killed") ||
			strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%v: %s", err, errs)
		}
	}
	if killed == 0 {
		t.Error("no worker was killed in time")
	}
}

// TestSortAllKilled: after kill -9 of all its processes at once, the next command leaves nothing.
func TestSortAllKilled(t *testing.T) {
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("skipped: needs /proc to find the workers")
	}
	p := newPlace(t)
	cmd, _, workers := startSort(t, p)
	_ = syscall.Kill(cmd.Process.Pid, syscall.SIGSTOP)
	dirs, _ := filepath.Glob(filepath.Join(filepath.Dir(p.dir), "dsm-private", "*"))
	if len(dirs) != 1 {
		t.Fatalf("private instances: %v", dirs)
	}
	lives := instancetest.Lives(t, dirs[0])
	for _, pid := range append(workers, cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = cmd.Wait()
	for _, pid := range workers { // they are init's children now
		instancetest.Eventually(t, "the worker is gone", func() bool {
			return syscall.Kill(pid, 0) != nil || zombie(pid)
		})
	}
	p.run("", "ls")
	if left := objectlist.Objects(lives); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func zombie(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return bytes.Contains(b, []byte(") Z "))
}

// TestSignalsEndWriting: a sort that writes to a pipe which no process reads ends by a signal, and leaves nothing.
func TestSignalsEndWriting(t *testing.T) {
	p := newPlace(t)
	in := writeTemp(t, string(randomText(1<<20))) // more than a pipe holds
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"stdout": {}, "none": {"-c", "dynamic_shared_memory_type=none"}, "fifo": {"-o", fifo},
	} {
		for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			t.Run(name+"/"+signal.String(), func(t *testing.T) {
				cmd := p.command(append([]string{"sort", in}, args...)...)
				var errs bytes.Buffer
				cmd.Stderr = &errs
				r, err := cmd.StdoutPipe()
				if err == nil {
					err = cmd.Start()
				}
				if err == nil && name == "fifo" {
					r, err = os.Open(fifo)
				}
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				if _, err := r.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Process.Signal(signal)
				if err := cmd.Wait(); proctest.ExitCode(err) != 1 || !strings.Contains(errs.String(), "signal") {
					t.Errorf("%v, %s; want status 1 and a word of the signal", err, &errs)
				}
			})
		}
	}
}
