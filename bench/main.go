//go:build linux

// Command bench measures godsm and its rivals on this machine, in turns, and writes a report.
//
//	go run -C bench . [-quick] [-out DIR] [-only REGEXP] [-list]
//
// DIR (bench/report unless it is named; seen from bench) gets results.json, one object for each figure,
// machine.json, report.md and charts as SVG. What a rival needs is installed from Debian if this is root
// and apt works; a rival that can't be measured is skipped, and the report says why. The whole takes
// under 15 minutes, -quick under 2. The exit status is 0; 1 if a figure of ours could not be measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/godsm/godsm/bench/boost"
	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/machine"
	"github.com/godsm/godsm/bench/parts"
	"github.com/godsm/godsm/bench/postgres"
	"github.com/godsm/godsm/bench/python"
	"github.com/godsm/godsm/bench/render"
	"github.com/godsm/godsm/bench/round"
	"github.com/godsm/godsm/bench/server"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/parallel"
	"github.com/godsm/godsm/supervisor"
)

type options struct {
	quick, list bool
	out         string
	only        *regexp.Regexp
}

func main() {
	side.Main()
	parallel.Main()
	o := options{only: regexp.MustCompile("")}
	flag.BoolVar(&o.quick, "quick", false, "fewer shapes, shorter rounds, 3 repeats: to see that it works")
	flag.StringVar(&o.out, "out", "report", "where the report goes")
	flag.BoolVar(&o.list, "list", false, "name the figures and end")
	flag.Func("only", "measure only figures whose name this matches", func(s string) (err error) {
		o.only, err = regexp.Compile(s)
		return err
	})
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: %q: it takes no arguments\n", flag.Args())
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, o)
	var missing missingRivals
	switch {
	case errors.As(err, &missing):
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(exitMissing)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// exitMissing is the exit status of a run that measured us, but not all rivals.
const exitMissing = 3

// missingRivals is the error of a run whose report lacks rivals.
type missingRivals []figure.Missing

func (list missingRivals) Error() string {
	text := "the report is there, without these rivals, whose goals are not judged:"
	for _, m := range list {
		text += fmt.Sprintf("\n  %s (%d figures): %s", m.Rival, m.Count, m.Why)
	}
	return text
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "godsm-bench")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL's servers run as another user
		return err
	}
	rivals := parts.Rivals{Postgres: postgres.New(dir), Boost: boost.New(dir), Python: &python.Script{},
		Memcached: server.Memcached(), Redis: server.Redis(),
		Quick: o.quick, Dir: dir}
	defer func() { err = errors.Join(err, cleanUp(dir, rivals)) }()
	if err := os.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state")); err != nil { // where private instances live
		return err
	}
	var figures []figure.Figure
	for _, f := range parts.All(rivals) {
		if o.only.MatchString(f.Name()) {
			figures = append(figures, f)
		}
	}
	if len(figures) == 0 {
		return errors.New("no figure has such a name; -list names them")
	}
	if o.list {
		for _, f := range figures {
			fmt.Println(f.Name())
		}
		return nil
	}
	begin := time.Now()
	how := round.Options{Repeats: 7, Target: 12 * time.Millisecond, Patience: 3 * time.Minute,
		Log: func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
		}}
	if o.quick {
		how.Repeats, how.Target, how.Patience = 3, 3*time.Millisecond, 2*time.Second
	}
	rep, err := round.All(ctx, figures, how)
	if err != nil {
		return err
	}
	for i := range rep.Results {
		if rest, is := strings.CutPrefix(rep.Results[i].Rival, parts.Postgres); is {
			rep.Results[i].Rival = rivals.Postgres.Name() + rest
		}
	}
	about := machine.Describe()
	about.Quick, about.Repeats = o.quick, how.Repeats
	about.Took, about.Waited = time.Since(begin).Round(time.Second).String(), rep.Waited.Round(time.Second).String()
	about.Rivals = map[string]string{
		"PostgreSQL":                  rivals.Postgres.Version() + "; " + postgres.Settings,
		"Boost":                       rivals.Boost.Version(),
		"Python":                      rivals.Python.Version(),
		"memcached":                   rivals.Memcached.Version(),
		"Redis":                       rivals.Redis.Version(),
		"otter":                       machine.Module("github.com/maypok86/otter/v2"),
		"fastcache":                   machine.Module("github.com/VictoriaMetrics/fastcache"),
		"containers/storage lockfile": machine.Module("go.podman.io/storage") + "; on tmpfs, but for two processes",
		"shmipc-go": machine.Module("github.com/cloudwego/shmipc-go") +
			"; 32 MiB of buffers in a memfd, as by default",
		"pipe": "os.Pipe, as large as the rings of others; a write for each message",
		"unix": "a stream socket, its buffer as large as the rings of others as far as net.core.wmem_max lets " +
			"it; a write for each message",
	}
	if err := render.Write(o.out, about, rep.Results); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%4.0f s  the report is %s\n", time.Since(begin).Seconds(),
		filepath.Join(o.out, "report.md"))
	if len(rep.Failed) > 0 {
		return errors.Join(rep.Failed...)
	}
	if missing := figure.MissingRivals(rep.Results); len(missing) > 0 {
		return missingRivals(missing)
	}
	return nil
}

// cleanUp ends the clusters, and removes what sides that were killed have left.
func cleanUp(dir string, r parts.Rivals) error {
	errs := []error{r.Postgres.Stop()}
	// the next private instance removes what the last ones left
	if _, err := os.Stat(filepath.Join(dir, "state")); err == nil {
		nothing := func(context.Context, *dsm.Session) error { return nil }
		errs = append(errs, supervisor.Run(context.Background(), dsm.Config{}, nothing))
	}
	left, err := filepath.Glob("/dev/shm/" + side.Prefix() + "*")
	errs = append(errs, err)
	for _, path := range left {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(append(errs, os.RemoveAll(dir))...)
}
