package linesort_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/godsm/godsm/cmd/dsmdemo/linesort"
)

// plan is how a sort is divided.
type plan struct{ parts, shares, buffer int }

var plans = []plan{{1, 1, 1 << 16}, {2, 2, 4096}, {3, 5, 7}, {16, 4, 1000}, {64, 3, 1 << 20}}

// sorted runs the steps as the command does, with a goroutine for each process.
func sorted(t testing.TB, text []byte, p plan) []byte {
	t.Helper()
	parts := indexed(t, text, p.parts)
	out := make([]byte, len(text))
	atOnce(t, p.shares, func(i int) error {
		from, to := share(text, parts, i, p.shares)
		m, err := linesort.Merge(text, parts, from, to)
		if err != nil {
			return err
		}
		at, end := linesort.Size(parts, from), linesort.Size(parts, to)
		for at < end {
			n, err := m.Read(out[at:min(end, at+int64(p.buffer))])
			if err != nil {
				return err
			}
			at += int64(n)
		}
		if n, err := m.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			return fmt.Errorf("after the share: %d, %v", n, err)
		}
		return nil
	})
	return out
}

func share(text []byte, parts [][]linesort.Entry, i, n int) (from, to []int) {
	return linesort.Cut(text, parts, int64(len(text)*i/n)), linesort.Cut(text, parts, int64(len(text)*(i+1)/n))
}

// indexed makes n sorted parts.
func indexed(t testing.TB, text []byte, n int) [][]linesort.Entry {
	t.Helper()
	counts, parts := make([]int, n), make([][]linesort.Entry, n)
	bound := func(i int) int { return len(text) * i / n }
	atOnce(t, n, func(i int) error {
		counts[i] = linesort.Count(text[bound(i):bound(i+1)])
		return nil
	})
	index := make([]linesort.Entry, linesort.Count(text))
	for i, c := range counts {
		parts[i], index = index[:c:c], index[c:]
	}
	atOnce(t, n, func(i int) error {
		if err := linesort.Fill(parts[i], text, bound(i), bound(i+1)); err != nil {
			return err
		}
		return linesort.Sort(text, parts[i])
	})
	return parts
}

func atOnce(t testing.TB, n int, f func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// naive is the same result in the simplest way.
func naive(text []byte) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	lines = lines[:len(lines)-1]
	slices.SortFunc(lines, func(a, b []byte) int { return bytes.Compare(a[:len(a)-1], b[:len(b)-1]) })
	return bytes.Join(lines, nil)
}

func check(t *testing.T, text []byte) {
	t.Helper()
	want := naive(text)
	for _, p := range plans {
		if got := sorted(t, text, p); !bytes.Equal(got, want) {
			i := 0
			for got[i] == want[i] {
				i++
			}
			from := max(0, i-20)
			t.Fatalf("%+v: from byte %d on\n got %.60q\nwant %.60q", p, from, got[from:], want[from:])
		}
	}
}

func TestEntryLayout(t *testing.T) {
	entry := reflect.TypeFor[linesort.Entry]()
	if n := entry.Size(); n != linesort.EntrySize {
		t.Errorf("an Entry has %d bytes, EntrySize is %d", n, linesort.EntrySize)
	}
	for name, offset := range map[string]uintptr{"key": 0, "ref": 8} {
		if f, ok := entry.FieldByName(name); !ok || f.Offset != offset || f.Type.Size() != 8 {
			t.Errorf("%s: %d bytes at %d, want 8 at %d", name, f.Type.Size(), f.Offset, offset)
		}
	}
}

func TestLines(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, lines := range map[string][]string{
		"no line":        {},
		"one empty line": {""},
		"empty lines":    {"", "b", "", "a", ""},
		"prefixes":       {"abc", "ab", "abcdefghij", "a", "abcdefgh", "abcdefg", "abcdefghi", "abcdefg"},
		"zeros": {"a\x00\x00", "a", "a\x00", "\x00", "", "\x00\x00",
			"a\x00\x00\x00\x00\x00\x00\x00\x00", "a\x00\x00\x00\x00\x00\x00", "a\x00\x00\x00\x00\x00\x00\x00"},
		"zeros behind a key": slices.Repeat([]string{
			"12345678\x00", "12345678", "12345678\x00\x00", "12345678\x00a"}, 20),
		"high bytes": {"\xff", "\x7f", "\x80", "\xff\xff\xff\xff\xff\xff\xff\xff",
			"\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\x00", "ä", "z"},
		"carriage returns":        {"b\r", "a\r", "", "a\n"[:1]},
		"bytes next to a newline": {"\x0b\x0b", "\x09\x0b", "\x0b", "\x09", "\x0b\x09\x0b\x09\x0b\x09\x0b\x09"},
		"one long line":           {long(200_000)},
		"lengths about 65535": {long(65535), long(65533), long(65536), long(65534), long(65537), long(65543),
			long(65542), long(65544), "y", ""},
		"long lines that differ late": slices.Repeat([]string{
			long(70_000) + "b", long(70_000) + "a", long(70_000), long(65_528) + "a",
			long(65_528) + "\x00", long(65_528), long(65_527), long(65_526) + "\x00", long(70_001)}, 9),
		"a long line between others": {"b", "c", long(300_000), "a", "", "z"},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, []byte(strings.Join(append(lines, ""), "\n")))
			slices.Reverse(lines)
			check(t, []byte(strings.Join(append(lines, ""), "\n")))
		})
	}
}

func TestUnfinishedLine(t *testing.T) {
	text := []byte("b\na\nthis has no end")
	index := make([]linesort.Entry, linesort.Count(text))
	if err := linesort.Fill(index, text, 0, len(text)); len(index) != 2 || err != nil {
		t.Errorf("%d lines, %v; want the 2 that end", len(index), err)
	}
}

// random makes lines over an alphabet, each of which begins like an earlier one and goes on with
// up to length random bytes.
func random(r *rand.Rand, lines int, alphabet string, length int) []byte {
	all := []string{""}
	for len(all) < lines {
		line := all[r.IntN(len(all))]
		line = line[:min(len(line), r.IntN(60))]
		for range r.IntN(length + 1) {
			line += alphabet[r.IntN(len(alphabet)):][:1]
		}
		all = append(all, line)
	}
	return []byte(strings.Join(all, "\n") + "\n")
}

func TestRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, alphabet := range []string{"a", "ab", "a\x00", "\xff\x00\x0b\x09", "abcdefghijklmnopqrstuvwxyz ", "\t {}"} {
		for _, n := range []int{5, 100, 10_000} {
			for _, length := range []int{3, 20} {
				check(t, random(r, n, alphabet, length))
			}
		}
	}
}

// TestAgainstSort compares with the command whose result is the definition.
func TestAgainstSort(t *testing.T) {
	path, err := exec.LookPath("sort")
	if err != nil {
		t.Skip("no sort on this machine: ", err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for _, alphabet := range []string{"ab\x00\xff", "abcdefghijklmnopqrstuvwxyz \t"} {
		text := random(r, 20_000, alphabet, 30)
		c := exec.Command(path)
		c.Env, c.Stdin = []string{"LC_ALL=C"}, bytes.NewReader(text)
		want, err := c.Output()
		if err != nil {
			t.Skip("sort does not work here: ", err)
		}
		if !bytes.Equal(sorted(t, text, plan{4, 3, 5000}), want) {
			t.Errorf("not what sort makes of lines over %q", alphabet)
		}
	}
}

// TestBadInputs would take hours if the sort were quadratic in lines or in their length.
func TestBadInputs(t *testing.T) {
	lines := func(n int, line func(i int) string) []byte {
		var b bytes.Buffer
		for i := range n {
			b.WriteString(line(i))
			b.WriteByte('\n')
		}
		return b.Bytes()
	}
	megabyte := strings.Repeat("m", 1<<20)
	prefix := strings.Repeat("/usr/share/the/same/directory", 10)
	for name, text := range map[string][]byte{
		"the same line":        lines(150_000, func(int) string { return "the same line as the others" }),
		"empty lines":          lines(300_000, func(int) string { return "" }),
		"two lines":            lines(100_000, func(i int) string { return strings.Repeat("ab"[i%2:i%2+1], 20) }),
		"a long common prefix": lines(20_000, func(i int) string { return fmt.Sprint(prefix, i*7919%20_000) }),
		"sorted":               lines(100_000, func(i int) string { return fmt.Sprintf("%012d", i) }),
		"reversed":             lines(100_000, func(i int) string { return fmt.Sprintf("%012d", 100_000-i) }),
		"up and down": lines(100_000, func(i int) string {
			return fmt.Sprintf("%012d", min(i, 100_000-i))
		}),
		"the same megabyte":          lines(12, func(int) string { return megabyte }),
		"a megabyte, then the count": lines(12, func(i int) string { return fmt.Sprint(megabyte, 12-i) }),
		"each line 8 bytes longer":   lines(1000, func(i int) string { return megabyte[:8*i] }),
		"each line 8 bytes alike": lines(1000, func(i int) string {
			return megabyte[:8*i] + "n" + megabyte[:8000-8*i]
		}),
	} {
		t.Run(name, func(t *testing.T) {
			want := naive(text)
			for _, p := range []plan{{2, 2, 1 << 16}, {16, 3, 1 << 18}} {
				if !bytes.Equal(sorted(t, text, p), want) {
					t.Fatalf("%+v: wrong order", p)
				}
			}
		})
	}
}

func TestCut(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, alphabet := range []string{"a", "abc"} {
		text := random(r, 300, alphabet, 8)
		all := naive(text)
		parts := indexed(t, text, 5)
		before := make([]int, len(parts))
		for size := range int64(len(text)) + 2 {
			cut := linesort.Cut(text, parts, size)
			// The output up to the cut ends with the last line that fits.
			want := bytes.LastIndexByte(all[:min(size, int64(len(all)))], '\n') + 1
			if got := linesort.Size(parts, cut); got != int64(want) {
				t.Fatalf("the cut at %d leaves %d bytes before it, want %d", size, got, want)
			}
			for p := range cut {
				if cut[p] < before[p] {
					t.Fatalf("the cut %v at %d goes back from %v", cut, size, before)
				}
			}
			before = cut
		}
	}
	if cut := linesort.Cut(nil, nil, 0); len(cut) != 0 {
		t.Errorf("the cut of nothing is %v", cut)
	}
}

func TestReader(t *testing.T) {
	text := random(rand.New(rand.NewPCG(7, 8)), 300, "abcd\x00", 40)
	parts := indexed(t, text, 3)
	from, to := share(text, parts, 0, 1)
	m, err := linesort.Merge(text, parts, from, to)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(m, naive(text)); err != nil {
		t.Error(err)
	}
}

func TestEqualShares(t *testing.T) {
	text := bytes.Repeat([]byte("all the same\n"), 10_000)
	parts := indexed(t, text, 4)
	for i := range 8 {
		from, to := share(text, parts, i, 8)
		got, want := linesort.Size(parts, to)-linesort.Size(parts, from), int64(len(text)/8)
		if got < want-13 || got > want+13 {
			t.Errorf("share %d has %d bytes, want about %d", i, got, want)
		}
	}
}
