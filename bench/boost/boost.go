// Package boost measures Boost.Interprocess, by a C++ program that is built when it is wanted.
package boost

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godsm/godsm/bench/debian"
	"github.com/godsm/godsm/bench/side"
)

//go:embed program/boost.cpp
var source []byte

const header = "boost/interprocess/managed_shared_memory.hpp"

// Program is the program, or why there is none.
type Program struct {
	path    string
	once    sync.Once
	built   bool
	missing error
}

// New returns the program. When it is wanted first it is built in dir, and what that needs is
// installed if it is missing and can be had.
func New(dir string) *Program { return &Program{path: filepath.Join(dir, "boost")} }

func (p *Program) build(ctx context.Context) error {
	if _, err := exec.LookPath("g++"); err != nil || !compiles(ctx, "#include <"+header+">\n") {
		if err := debian.Install(ctx, "g++", "libboost-dev"); err != nil {
			return fmt.Errorf("no Boost, or no C++ compiler: %w", err)
		}
	}
	if err := os.WriteFile(p.path+".cpp", source, 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "g++", "-O2", "-std=c++17", "-Wall", "-o", p.path, p.path+".cpp", "-lrt",
		"-lpthread").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building boost.cpp: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// compiles reports whether the preprocessor takes a text; the compiler proper is not asked.
func compiles(ctx context.Context, text string) bool {
	cmd := exec.CommandContext(ctx, "g++", "-x", "c++", "-E", "-o", os.DevNull, "-")
	cmd.Stdin = strings.NewReader(text)
	return cmd.Run() == nil
}

// Version returns Boost's version, or why there is none.
func (p *Program) Version() string {
	if p.missing != nil {
		return p.missing.Error()
	}
	if !p.built {
		return "not asked for"
	}
	cmd := exec.Command("g++", "-x", "c++", "-E", "-P", "-")
	cmd.Stdin = strings.NewReader("#include <boost/version.hpp>\nBOOST_LIB_VERSION\n")
	out, err := cmd.Output()
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return "Boost " + strings.ReplaceAll(strings.Trim(lines[len(lines)-1], `"`), "_", ".")
}

// Open makes it ready to measure that kind of work (see boost.cpp's open).
func (p *Program) Open(ctx context.Context, kind string, pin side.Pin, target time.Duration,
	args ...int) (*side.Program, error) {
	p.once.Do(func() {
		p.missing = p.build(ctx)
		p.built = p.missing == nil
	})
	if p.missing != nil {
		return nil, p.missing
	}
	list := []string{kind, string(pin), strconv.FormatInt(target.Nanoseconds(), 10)}
	for _, a := range args {
		list = append(list, strconv.Itoa(a))
	}
	return side.Start(ctx, exec.Command(p.path, list...))
}
