package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/command/stdin"
)

// input is what is to be sorted: files whose sizes are known, which workers read themselves, or, if only one of them
// is no such file, streams, which are read here.
type input struct {
	files   []sortFile
	streams []io.Reader
	opened  []*os.File
	size    int // of the text, if there are no streams
}

// sortFile is a regular file and its place in the text. Every line of the text ends with a
// newline, so a file without a last one has a byte more there.
type sortFile struct {
	Path string // as it was given, for messages
	Link string // by which workers open it
	At   int
	Size int
}

func openInput(ctx context.Context, standard *os.File, paths []string) (*input, error) {
	in := &input{}
	if err := in.open(ctx, standard, paths); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *input) open(ctx context.Context, standard *os.File, paths []string) error {
	if len(paths) == 0 {
		paths = []string{"-"}
	}
	regular := true
	for _, p := range paths {
		if p == "-" {
			in.streams = append(in.streams, stdin.Reader(ctx, standard))
			regular = false
			continue
		}
		f, err := cli.Leaving(ctx, func() (*os.File, error) { return os.Open(p) })
		if err != nil {
			return err
		}
		in.opened = append(in.opened, f)
		in.streams = append(in.streams, stdin.Reader(ctx, f))
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if info.IsDir() {
			return fmt.Errorf("%s is a directory", p)
		}
		if !info.Mode().IsRegular() || !in.add(p, f, int(info.Size())) {
			regular = false
		}
	}
	if regular {
		in.streams = nil
	} else {
		in.files = nil
	}
	return nil
}

// add takes a file and reports whether it could: its end must be where its size says. It is not so in /proc and /sys, whose
// files are read as streams.
func (in *input) add(path string, f *os.File, size int) bool {
	last := [2]byte{1: '\n'}
	from := max(0, size-1)
	if n, err := f.ReadAt(last[:], int64(from)); err != io.EOF || n != size-from {
		return false
	}
	if size == 0 {
		return true
	}
	in.files = append(in.files, sortFile{path, link(f), in.size, size})
	in.size += size
	if last[0] != '\n' {
		in.size++
	}
	return true
}

// link returns a path by which this process's workers find an open file, whatever its own name means to them, as /dev/stdin.
func link(f *os.File) string {
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
	if _, err := os.Stat(path); err != nil {
		return f.Name()
	}
	return path
}

func (in *input) close() {
	for _, f := range in.opened {
		f.Close()
	}
}

// place makes a segment for the text. Files are left to the workers, streams are read into it. Nil means that there
// is nothing.
func (in *input) place(segment func(size int) (*dsm.Segment, error)) (*dsm.Segment, error) {
	if in.streams == nil {
		if in.size == 0 {
			return nil, nil
		}
		return segment(in.size)
	}
	g, err := segment(1 << 20)
	if err != nil {
		return nil, err
	}
	n, err := in.readStreams(g.Bytes(), func(b []byte) ([]byte, error) {
		larger, err := segment(2 * len(b))
		if err != nil {
			return nil, err
		}
		copy(larger.Bytes(), b)
		err = g.Detach()
		g = larger
		return g.Bytes(), err
	})
	if err != nil || n == 0 {
		return nil, err
	}
	// What is behind the text must not be sorted: a segment of the right size.
	exact, err := segment(n)
	if err != nil {
		return nil, err
	}
	copy(exact.Bytes(), g.Bytes())
	return exact, g.Detach()
}

// readStreams reads all into b, which grow enlarges, and returns how much there is.
func (in *input) readStreams(b []byte, grow func([]byte) ([]byte, error)) (n int, err error) {
	for _, r := range in.streams {
		for {
			if len(b)-n < 2 { // one for a newline
				if b, err = grow(b); err != nil {
					return n, err
				}
			}
			k, err := r.Read(b[n : len(b)-1])
			n += k
			if err == io.EOF {
				break
			}
			if err != nil {
				return n, err
			}
		}
		if n > 0 && b[n-1] != '\n' {
			b[n] = '\n'
			n++
		}
	}
	return n, nil
}

// readRange reads what of the files belongs into text[from:to].
func readRange(ctx context.Context, files []sortFile, text []byte, from, to int) error {
	for i, f := range files {
		end := len(text)
		if i+1 < len(files) {
			end = files[i+1].At
		}
		if end <= from || f.At >= to {
			continue
		}
		lo, hi := max(from, f.At), min(to, f.At+f.Size)
		if err := readFile(ctx, f, text, lo, hi); err != nil {
			return err
		}
		if end > f.At+f.Size && end <= to && end > from {
			text[end-1] = '\n'
		}
	}
	return nil
}

func readFile(ctx context.Context, f sortFile, text []byte, lo, hi int) error {
	if lo >= hi {
		return nil
	}
	r, err := os.Open(f.Link)
	if err != nil {
		return err
	}
	defer r.Close()
	for lo < hi {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := r.ReadAt(text[lo:min(hi, lo+1<<20)], int64(lo-f.At))
		lo += n
		if err != nil && (lo < hi || err != io.EOF) {
			return errors.Join(fmt.Errorf("%s: it changed while it was read", f.Path), err)
		}
	}
	return nil
}

// whole reads everything into private memory.
func (in *input) whole(ctx context.Context) ([]byte, error) {
	if in.streams == nil {
		b := make([]byte, in.size)
		return b, readRange(ctx, in.files, b, 0, len(b))
	}
	b := make([]byte, 1<<20)
	n, err := in.readStreams(b, func(old []byte) ([]byte, error) {
		b = append(old, make([]byte, len(old))...)
		return b, nil
	})
	return b[:n], err
}
