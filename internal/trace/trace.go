// Package trace reads traces of cache accesses: files, plain or compressed, in the formats in which others publish them.
package trace

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Trace is a list of accesses, in their order.
type Trace struct {
	Keys  []uint64
	Sizes []uint32 // of the value of each access; nil if the format has none
}

// Formats are the names of the formats:
//
//	be32   keys of 4 bytes, big-endian
//	be64   keys of 8 bytes, big-endian
//	lirs   text: a key on each line, a decimal number; a line with * is a mark
//	arc    text: start count ... on each line: so many keys, from start on
//	sized  text: time key size on each line
var Formats = []string{"be32", "be64", "lirs", "arc", "sized"}

// ErrFormat is the kind of error for a name that is none of Formats.
var ErrFormat = errors.New("no such format")

// perCheck is how many accesses are read between two looks at the context.
const perCheck = 1 << 16

// Read reads a trace of that format from r until its end. What r is compressed by, gzip or xz, is seen by its first bytes;
// xz needs the program of that name. Name is for messages.
func Read(ctx context.Context, name, format string, r io.Reader) (t Trace, err error) {
	if !slices.Contains(Formats, format) {
		return t, fmt.Errorf("%w %q: it is %s", ErrFormat, format, strings.Join(Formats, ", "))
	}
	in, err := decompress(ctx, r)
	if err == nil {
		err = t.read(ctx, format, bufio.NewReaderSize(in, 1<<16))
		err = errors.Join(err, in.Close())
	}
	if err != nil {
		return Trace{}, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func (t *Trace) read(ctx context.Context, format string, r *bufio.Reader) error {
	switch format {
	case "be32":
		return t.binary(ctx, r, 4)
	case "be64":
		return t.binary(ctx, r, 8)
	case "lirs":
		return t.lines(ctx, r, 1, func(f []uint64) error { return t.add(f[0]) })
	case "arc":
		return t.lines(ctx, r, 2, func(f []uint64) error { return t.addRange(ctx, f[0], f[1]) })
	}
	t.Sizes = []uint32{}
	return t.lines(ctx, r, 3, func(f []uint64) error {
		if f[2] > math.MaxInt32 {
			return fmt.Errorf("a size of %d bytes is too large", f[2])
		}
		t.Sizes = append(t.Sizes, uint32(f[2]))
		return t.add(f[1])
	})
}

func (t *Trace) add(key uint64) error {
	t.Keys = append(t.Keys, key)
	return nil
}

func (t *Trace) addRange(ctx context.Context, from, n uint64) error {
	if from+n < from {
		return fmt.Errorf("%d keys from %d on are more than there are", n, from)
	}
	for i := range n {
		if i%perCheck == perCheck-1 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t.Keys = append(t.Keys, from+i)
	}
	return nil
}

// binary reads keys of width bytes.
func (t *Trace) binary(ctx context.Context, r io.Reader, width int) error {
	b := make([]byte, width*perCheck)
	for {
		n, err := io.ReadFull(r, b)
		for i := 0; i+width <= n; i += width {
			if width == 4 {
				t.Keys = append(t.Keys, uint64(binary.BigEndian.Uint32(b[i:])))
			} else {
				t.Keys = append(t.Keys, binary.BigEndian.Uint64(b[i:]))
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			if n%width != 0 {
				return fmt.Errorf("it ends in the middle of a key of %d bytes, after %d keys", width, len(t.Keys))
			}
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}

// lines reads text, and calls line with the first n numbers of each line that has some. What follows them is ignored.
func (t *Trace) lines(ctx context.Context, r io.Reader, n int, line func(numbers []uint64) error) error {
	s, at := bufio.NewScanner(r), 0
	numbers := make([]uint64, n)
	for s.Scan() {
		if at++; at%perCheck == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		fields := strings.Fields(s.Text())
		if len(fields) == 0 || fields[0] == "*" {
			continue
		}
		if len(fields) < n {
			return fmt.Errorf("line %d: %q: %d numbers are wanted", at, s.Text(), n)
		}
		for i := range numbers {
			var err error
			if numbers[i], err = strconv.ParseUint(fields[i], 10, 64); err != nil {
				return fmt.Errorf("line %d: %q is not a number from 0 to %d", at, fields[i], uint64(math.MaxUint64))
			}
		}
		if err := line(numbers); err != nil {
			return fmt.Errorf("line %d: %w", at, err)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("line %d: %w", at+1, err)
	}
	return nil
}

// Unique returns how many different keys there are.
func Unique(list ...Trace) int {
	seen := map[uint64]struct{}{}
	for _, t := range list {
		for _, k := range t.Keys {
			seen[k] = struct{}{}
		}
	}
	return len(seen)
}
