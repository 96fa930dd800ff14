package parts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/side"
)

// sorting returns the figures of dsmdemo sort beside those of coreutils, both from file to file.
func sorting(r Rivals) []figure.Figure {
	megabytes := 300
	if r.Quick {
		megabytes = 20
	}
	return []figure.Figure{sortBeside(&sorter{dir: r.Dir, bytes: megabytes << 20})}
}

func sortBeside(s *sorter) figure.Figure {
	return figure.Figure{
		Part: "sort", Shape: Size(s.bytes) + " of Go source, two processes or threads", Bytes: s.bytes,
		Sides: []figure.Contender{
			{Rival: figure.Ours, Open: s.open("ours", func() *exec.Cmd {
				return exec.Command(filepath.Join(s.dir, "dsmdemo"), "sort", "--workers", "2", "-o",
					s.file("ours"), s.file("text"))
			})},
			{Rival: "coreutils sort --parallel=2 -S 4G", Goal: 0.5, Open: s.open("theirs", func() *exec.Cmd {
				return exec.Command("sort", "--parallel=2", "-S", "4G", "-T", s.dir, "-o",
					s.file("theirs"), s.file("text"))
			})},
		},
	}
}

type sorter struct {
	dir    string
	bytes  int
	opened int
}

func (s *sorter) file(name string) string { return filepath.Join(s.dir, "sort-"+name) }

// open makes the text, and the program, for the first side.
func (s *sorter) open(name string,
	command func() *exec.Cmd) func(context.Context, side.Pin, time.Duration) (side.Side, error) {
	return func(ctx context.Context, _ side.Pin, _ time.Duration) (side.Side, error) {
		if s.opened == 0 {
			if err := errors.Join(writeSource(ctx, s.file("text"), s.bytes), buildDemo(ctx, s.dir)); err != nil {
				return nil, err
			}
		}
		if _, err := exec.LookPath(command().Path); err != nil {
			return nil, err
		}
		s.opened++
		return &sortSide{s, name, command}, nil
	}
}

type sortSide struct {
	*sorter
	name    string
	command func() *exec.Cmd
}

func (s *sortSide) Round(ctx context.Context) ([]float64, error) {
	cmd := s.command()
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	p := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	p.Env = cmd.Env
	p.Cancel = func() error { return p.Process.Signal(os.Interrupt) } // it cleans up
	p.WaitDelay = 10 * time.Second
	begin := time.Now()
	out, err := p.CombinedOutput()
	took := time.Since(begin)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return []float64{float64(took)}, nil
}

// Close compares the outputs if there are both, and removes the files with the last side.
func (s *sortSide) Close() (err error) {
	if s.name == "ours" {
		err = sameFiles(s.file("ours"), s.file("theirs"))
	}
	if s.opened--; s.opened == 0 {
		for _, name := range []string{"text", "ours", "theirs"} {
			_ = os.Remove(s.file(name))
		}
	}
	return err
}

func sameFiles(a, b string) error {
	x, errA := os.ReadFile(a)
	y, errB := os.ReadFile(b)
	if errors.Is(errA, fs.ErrNotExist) || errors.Is(errB, fs.ErrNotExist) {
		return nil // one of them was skipped
	}
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	if !bytes.Equal(x, y) {
		return errors.New("the outputs differ")
	}
	return nil
}

// writeSource writes that many bytes of text that every machine with Go has: its library, over and over.
func writeSource(ctx context.Context, path string, size int) error {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	left := size
	for left > 0 && err == nil {
		before := left
		err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(root)), "src"),
			func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
					return err
				}
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				n, err := f.Write(b[:min(left, len(b))])
				if left -= n; left == 0 && err == nil {
					return filepath.SkipAll
				}
				return errors.Join(err, ctx.Err())
			})
		if left == before && err == nil {
			err = errors.New("GOROOT has no source to sort")
		}
	}
	return err
}

// buildDemo builds dsmdemo in dir.
func buildDemo(ctx context.Context, dir string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/godsm/godsm").Output()
	if err != nil {
		return fmt.Errorf("finding the module's folder: %w", err)
	}
	out, err := exec.CommandContext(ctx, "go", "build", "-C", strings.TrimSpace(string(root)), "-o",
		filepath.Join(dir, "dsmdemo"), "./cmd/dsmdemo").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building dsmdemo: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
