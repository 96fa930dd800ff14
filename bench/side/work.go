package side

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godsm/godsm/bench/stat"
	"golang.org/x/sys/unix"
)

// Work is what a Go side measures, made ready; one of Run, Each and Once is set.
type Work struct {
	// Run does it n times, and says how long that took. How often is tried out first. The answer is ns for one.
	Run func(n int) (time.Duration, error)
	// Each does it len(ns) times and stores how long each took. The answer is the middle one and the 99th of 100.
	Each func(ns []time.Duration) error
	// Once measures in its own way.
	Once func() ([]float64, error)
	// Close undoes what making it ready did; nil if there is nothing.
	Close func() error
}

// Loop returns the Run of what needs no more than a loop.
func Loop(f func(n int) error) func(n int) (time.Duration, error) {
	return func(n int) (time.Duration, error) {
		begin := time.Now()
		err := f(n)
		return time.Since(begin), err
	}
}

// Args are what a work is told.
type Args struct {
	Pin    Pin
	Target time.Duration // how long a round should take, about
	List   []string
}

// Int returns the argument at i as a number.
func (a Args) Int(i int) int {
	n, err := strconv.Atoi(a.List[i])
	if err != nil {
		panic(err)
	}
	return n
}

var (
	works    = map[string]func(Args) (*Work, error){}
	partners = map[string]func(*Peer) error{}
)

// Register names a work, and Partner what the second process of one does. Call them before Main.
func Register(name string, open func(Args) (*Work, error)) { works[name] = open }

// Partner names what a second process does until it returns.
func Partner(name string, f func(*Peer) error) { partners[name] = f }

// Open starts this program again for a work.
func Open(ctx context.Context, name string, a Args) (*Program, error) {
	if works[name] == nil {
		return nil, fmt.Errorf("no work is called %q", name)
	}
	return Start(ctx, exec.Command(Self(), append([]string{workCommand, name, string(a.Pin), a.Target.String()},
		a.List...)...))
}

const (
	workCommand    = "bench-side"
	partnerCommand = "bench-partner"
)

// Main does the work, or the partner's part, that this process was started for, and does not return then. In any other
// process it does nothing. It is the first call in main and in TestMain.
func Main() {
	if len(os.Args) < 4 || os.Args[1] != workCommand && os.Args[1] != partnerCommand {
		return
	}
	command, name, pin, args := os.Args[1], os.Args[2], Pin(os.Args[3]), os.Args[4:]
	lead, partner := pin.CPUs()
	var err error
	if command == workCommand {
		target, perr := time.ParseDuration(args[0])
		if err = perr; err == nil {
			err = serve(works[name], lead, Args{Pin: pin, Target: target, List: args[1:]})
		}
	} else if err = PinTo(partner); err == nil {
		err = partners[name](&Peer{Args: Args{Pin: pin, List: args}, lines: bufio.NewScanner(os.Stdin)})
	}
	if err != nil {
		fmt.Printf("error %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
	os.Exit(0)
}

// serve measures whenever it hears a line.
func serve(open func(Args) (*Work, error), cpu int, a Args) error {
	w, err := open(a)
	if err != nil {
		return err
	}
	if err := PinTo(cpu); err != nil { // now, so that the partner has not inherited it
		return err
	}
	fmt.Println("ready")
	p := pace{target: a.Target}
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		var answer []float64
		runtime.GC() // what the last round left is not this one's
		switch {
		case w.Once != nil:
			answer, err = w.Once()
		case w.Each != nil:
			var ns []time.Duration
			p.n = max(p.n, 100)
			_, err = p.run(Loop(func(n int) error { ns = make([]time.Duration, n); return w.Each(ns) }))
			answer = Percentiles(ns, 0.5, 0.99)
		default:
			var took time.Duration
			took, err = p.run(w.Run)
			answer = []float64{float64(took) / float64(p.done)}
		}
		if err != nil {
			break
		}
		fmt.Println(strings.Trim(fmt.Sprint(answer), "[]"))
	}
	if w.Close != nil {
		if cerr := w.Close(); err == nil {
			err = cerr
		}
	}
	return err
}

// pace is how often a work is done in a round, so that the round takes about as long as it should.
type pace struct {
	target time.Duration
	n      int // for the next try
	done   int // in the round that counts
	warm   bool
}

// run returns one round: a try that is over too soon does not count, and is made again with more. (A disturbed try makes
// the next ones shorter, an undisturbed one longer: whatever the first one was, no round is a handful of operations.)
func (p *pace) run(do func(n int) (time.Duration, error)) (took time.Duration, err error) {
	p.n = max(p.n, 1)
	if !p.warm {
		p.warm = true
		if _, err = do(p.n); err != nil {
			return 0, err
		}
	}
	for {
		if took, err = do(p.n); err != nil {
			return 0, err
		}
		p.done = p.n
		if factor := float64(p.target) / float64(took+1); factor < 0.5 || factor > 2 {
			p.n = max(1, int(math.Ceil(float64(p.n)*min(factor, 8))))
		}
		if took >= p.target/2 {
			return took, nil
		}
	}
}

// Percentiles returns those quantiles of some times, in ns.
func Percentiles(ns []time.Duration, q ...float64) []float64 {
	x := make([]float64, len(ns))
	for i, d := range ns {
		x[i] = float64(d)
	}
	slices.Sort(x)
	answer := make([]float64, len(q))
	for i := range q {
		answer[i] = stat.Quantile(x, q[i])
	}
	return answer
}

// PinTo moves all threads of this process to a CPU; -1 leaves them free.
func PinTo(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	threads, err := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		tid, _ := strconv.Atoi(t.Name())
		if e := unix.SchedSetaffinity(tid, &set); e != nil && e != unix.ESRCH {
			return fmt.Errorf("pinning to CPU %d: %w", cpu, e)
		}
	}
	return err
}

// Peer is a partner's side of its lead.
type Peer struct {
	Args
	lines *bufio.Scanner
}

// Ready says that the partner is.
func (p *Peer) Ready() { fmt.Println("ready") }

// Hear waits for a line of the lead's; false when there will be none, and the partner is to end.
func (p *Peer) Hear() (string, bool) {
	ok := p.lines.Scan()
	return p.lines.Text(), ok
}

// Fellow is a lead's side of its partner.
type Fellow struct{ *Program }

// StartPartner starts this program again as a partner, and waits until it is ready. Files are its
// descriptors from 3 on.
func StartPartner(name string, pin Pin, files []*os.File, args ...string) (Fellow, error) {
	if partners[name] == nil {
		return Fellow{}, fmt.Errorf("no partner is called %q", name)
	}
	cmd := exec.Command(Self(), append([]string{partnerCommand, name, string(pin)}, args...)...)
	cmd.ExtraFiles = files
	p, err := Start(context.Background(), cmd)
	return Fellow{p}, err
}

// Say sends it a line.
func (f Fellow) Say(line string) error {
	_, err := fmt.Fprintln(f.in, line)
	return err
}

// Kill ends it by SIGKILL and reaps it.
func (f Fellow) Kill() {
	_ = f.cmd.Process.Kill()
	_ = f.Close()
}
