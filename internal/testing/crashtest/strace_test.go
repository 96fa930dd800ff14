//go:build linux

package crashtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
	"golang.org/x/sys/unix"
)

// straced are the scenarios whose victims strace has in hand.
var straced = []string{
	"session", "session among the dead, without a supervisor", "session that joins over a dead one",
	"supervisor's start and stop", "supervisor that stops", "supervisor that finds the dead",
	"supervisor that finds no control segment", "supervisor that adopts", "clean",
	"supervisor in a copied directory without its id",
	"private instance", "private instance that stops", "last session of a private instance",
	"next start after a private instance",
}

// killers are the calls that a victim dies at. One name may be several calls, of which a machine has one.
var killers = []string{"openat", "fallocate", "mmap", "munmap", "unlinkat", rename, "shmget", "shmat",
	"shmctl", "futex", "fcntl"}

// most is more calls of one kind than any victim makes: a run that -run leaves out does not tell that it was the last.
const most = 1000

const rename = "?renameat,?renameat2"

// refusals are the errors that a call is made to fail with.
var refusals = map[string][]unix.Errno{
	"openat":    {unix.EMFILE, unix.EACCES, unix.ENOSPC, unix.ENOMEM, unix.EINTR},
	"fallocate": {unix.ENOSPC, unix.ENOMEM, unix.EINTR},
	"mmap":      {unix.ENOMEM, unix.EACCES},
	"unlinkat":  {unix.EACCES, unix.ENOMEM, unix.EINTR},
	rename:      {unix.ENOSPC, unix.EACCES, unix.EINTR},
	"fcntl":     {unix.ENOMEM, unix.ENOLCK, unix.EINTR}, // EACCES says that another holds the lock
	"shmget":    {unix.ENOSPC, unix.ENOMEM},             // EACCES says that the object is another's
	"shmat":     {unix.ENOMEM, unix.EACCES},
	"shmctl":    {unix.ENOMEM},
}

// TestStraceKill kills the victim at its first, second, ... call of each kind, until it runs through.
func TestStraceKill(t *testing.T) {
	canTrace(t)
	var runs, kills, missed atomic.Int64
	eachStraced(t, killers, func(t *testing.T, s scenario, backend, call string, begin, step int) {
		for n := begin; n < most; n += step {
			through := false
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				for try := 1; ; try++ {
					r := s.trace(t, backend, call, fmt.Sprintf("signal=KILL:when=%d", n))
					runs.Add(1)
					if through = !r.dead; !through {
						kills.Add(1)
					}
					if call == "futex" || r.exact(n) {
						return
					}
					if try == 4 {
						missed.Add(1)
						t.Logf("others' calls came in between: %v, %s", r.threads, r.last)
						return
					}
				}
			})
			if through || t.Failed() {
				return
			}
		}
	})
	t.Logf("%d runs, %d kills; %d places where others' calls always came in between",
		runs.Load(), kills.Load(), missed.Load())
}

// TestStraceRefuse has the system refuse the victim's first, second, ... call of each kind, that
// one or it and all that follow.
func TestStraceRefuse(t *testing.T) {
	canTrace(t)
	var runs, refused, survived atomic.Int64
	calls := slices.DeleteFunc(slices.Clone(killers), func(c string) bool { return refusals[c] == nil })
	eachStraced(t, calls, func(t *testing.T, s scenario, backend, call string, begin, step int) {
		errnos := refusals[call]
		if !*full {
			errnos = errnos[begin%len(errnos):][:1]
		}
		for _, errno := range errnos {
			for _, more := range []string{"", "+"} {
				if errno == unix.EINTR && more != "" {
					more = "..%d" // for ever it may keep a process for ever
				}
				t.Run(unix.ErrnoName(errno)+strings.ReplaceAll(more, "%d", ""), func(t *testing.T) {
					for n := begin; n < most; n += step {
						through := false
						t.Run(fmt.Sprint(n), func(t *testing.T) {
							when := fmt.Sprint(n) + strings.ReplaceAll(more, "%d", fmt.Sprint(n+2))
							r := s.trace(t, backend, call, fmt.Sprintf("error=%s:when=%s", unix.ErrnoName(errno), when))
							runs.Add(1)
							if through = r.injected == 0; through {
								return
							}
							refused.Add(1)
							if r.judge(t, errno, more == "+") {
								survived.Add(1)
							}
						})
						if through || t.Failed() {
							return
						}
					}
				})
			}
		}
	})
	t.Logf("%d runs, %d with a refusal, of which %d the victim made up for",
		runs.Load(), refused.Load(), survived.Load())
}

// eachStraced runs f for each scenario, backend and call. In the short form it begins somewhere and takes long steps.
func eachStraced(t *testing.T, calls []string,
	f func(t *testing.T, s scenario, backend, call string, begin, step int)) {
	t.Run("all", func(t *testing.T) {
		at := 0
		for _, s := range scenarios {
			if !slices.Contains(straced, s.name) {
				continue
			}
			for b, backend := range catalog.Native() {
				for c, call := range calls {
					if strings.HasPrefix(call, "shm") != (backend == "sysv") &&
						(strings.HasPrefix(call, "shm") || call == "fallocate") {
						continue
					}
					at++
					begin, step := 1, 1
					if !*full {
						if (at+b+c)%5 != 0 {
							continue
						}
						begin, step = 1+at%5, 11
					}
					t.Run(s.name+"/"+backend+"/"+strings.Trim(call, "?"), func(t *testing.T) {
						t.Parallel()
						f(t, s, backend, call, begin, step)
					})
				}
			}
		}
	})
}

// tracer is strace on a victim.
type tracer struct {
	call, inject string
	log          string
	cmd          *exec.Cmd
}

// canTrace skips a test where strace can't run.
func canTrace(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("skipped: no strace (apt-get install strace)")
	}
	w := newWorld(t, "none")
	x, p := &tracer{call: "openat", inject: "error=ENOSPC:when=1"}, w.helper("session")
	tell(p, "ready")
	why := x.start(t, p)
	p.Kill()
	if why != "" {
		t.Skipf("skipped: strace can't trace here: %s", why)
	}
}

func (x *tracer) attach(t *testing.T, p *proctest.Process) {
	t.Helper()
	tell(p, "ready")
	if why := x.start(t, p); why != "" {
		t.Fatalf("strace: %s", why)
	}
}

// start returns when all threads are traced; why not, if they can't be.
func (x *tracer) start(t *testing.T, p *proctest.Process) (why string) {
	t.Helper()
	x.log = filepath.Join(instancetest.TempDir(t), "strace")
	x.cmd = exec.Command("strace", "-f", "-p", fmt.Sprint(p.Pid), "-o", x.log, "-e", "signal=none",
		"-e", "trace="+x.call, "-e", "inject="+x.call+":"+x.inject)
	out, err := x.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		return err.Error()
	}
	t.Cleanup(func() { // the victim's end is strace's; it has been registered before
		p.Kill()
		_ = x.cmd.Wait()
	})
	r := bufio.NewReader(out)
	line, _ := r.ReadString('\n')
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if !strings.Contains(line, "attached") {
		return strings.TrimSpace(line)
	}
	return ""
}

// record is what became of a traced victim.
type record struct {
	*world
	calls    int            // that were counted
	injected int            // that were refused
	threads  map[string]int // calls by thread
	last     string         // the last call of the log, or the first that was refused
	runtime  bool           // one that was refused was not ours but the Go runtime's
}

var logged = regexp.MustCompile(`^\d+ +\w+\((.*)$`)

// trace plays the scenario with a victim under strace, and checks what is left, as far as that is the same for all.
func (s scenario) trace(t *testing.T, backend, call, inject string) *record {
	t.Helper()
	w := newWorld(t, backend, s.settings...)
	w.strace = &tracer{call: call, inject: inject}
	// few calls of the runtime's, and few changes of thread
	w.env = append(w.env, "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=8", "GOGC=off")
	s.play(w)
	if !w.dead && w.sup != nil && s.check == nil {
		w.atRest() // also beside a victim that lives
	}
	w.victim.Kill()
	_ = w.strace.cmd.Wait()
	r := w.record()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s of %s: %s; answers %q", inject, call, r.last, w.answers)
		}
	})
	if n := len(w.answers); n > 0 && (w.answers[n-1] == "ok stop" || w.answers[n-1] == "ok clean") && s.check == nil {
		w.noObject(w.dir) // of the files, what could not be looked at is left to the next start
	}
	if s.check != nil {
		s.check(w)
	} else {
		w.check()
	}
	return r
}

func (w *world) record() *record {
	r := &record{world: w, threads: map[string]int{}}
	text, err := os.ReadFile(w.strace.log)
	if err != nil {
		w.t.Fatal(err)
	}
	// By thread, a call's arguments; its result is in a later line if others come in between.
	begun := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		injected := strings.HasSuffix(lines.Text(), "(INJECTED)")
		thread, _, _ := strings.Cut(lines.Text(), " ")
		if m := logged.FindStringSubmatch(lines.Text()); m != nil {
			r.calls++
			r.threads[thread]++
			if r.injected == 0 {
				r.last = lines.Text()
			}
			begun[thread] = m[1]
		}
		if injected {
			r.injected++
			r.runtime = r.runtime || strings.Contains(begun[thread], "MAP_ANONYMOUS")
		}
	}
	return r
}

// exact reports whether the n-th call of the process was the n-th of its thread, or, of one that ran
// through, that there was none.
func (r *record) exact(n int) bool {
	if r.dead {
		return r.calls == n
	}
	return r.calls < n
}

// judge looks at what the victim made of a refusal, and reports whether it made up for it.
func (r *record) judge(t *testing.T, errno unix.Errno, always bool) bool {
	t.Helper()
	if r.dead {
		if !r.runtime {
			t.Errorf("the victim is dead: %s", r.victim.Stderr())
		}
		return false
	}
	well := true
	for _, a := range r.answers {
		if !strings.HasPrefix(a, "error") {
			continue
		}
		well = false
		clear := strings.Contains(a, errno.Error()) ||
			// where no process can be seen to be dead, all live
			strings.Contains(a, "file locks do not work here") ||
			r.strace.call == "fcntl" && strings.Contains(a, "rows for processes")
		if errno == unix.EINTR || !clear {
			t.Errorf("the victim says %q", a)
		}
	}
	return well
}
