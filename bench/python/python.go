// Package python measures Python's multiprocessing.shared_memory, by a script.
package python

import (
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godsm/godsm/bench/debian"
	"github.com/godsm/godsm/bench/side"
)

//go:embed shm.py
var source string

// Script is the script. When it is wanted first Python 3 is looked for, and installed if it is missing and can be had.
type Script struct {
	once    sync.Once
	missing error
}

func (s *Script) find(ctx context.Context) {
	if _, err := exec.LookPath("python3"); err == nil {
		return
	}
	if err := debian.Install(ctx, "python3"); err != nil {
		s.missing = fmt.Errorf("no Python: %w", err)
	}
}

// Version returns Python's version, or why there is none.
func (s *Script) Version() string {
	if s.missing != nil {
		return s.missing.Error()
	}
	out, err := exec.Command("python3", "--version").Output()
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(out))
}

// Command returns the script, to do that kind of work (see shm.py).
func (s *Script) Command(ctx context.Context, kind string, pin side.Pin, target time.Duration,
	args ...int) (*exec.Cmd, error) {
	s.once.Do(func() { s.find(ctx) })
	list := []string{"-c", source, kind, string(pin), strconv.FormatInt(target.Nanoseconds(), 10)}
	for _, a := range args {
		list = append(list, strconv.Itoa(a))
	}
	return exec.Command("python3", list...), s.missing
}

// Open makes it ready to measure.
func (s *Script) Open(ctx context.Context, kind string, pin side.Pin, target time.Duration,
	args ...int) (*side.Program, error) {
	cmd, err := s.Command(ctx, kind, pin, target, args...)
	if err != nil {
		return nil, err
	}
	return side.Start(ctx, cmd)
}
