package linesort_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/godsm/godsm/cmd/dsmdemo/linesort"
)

// texts are small likenesses of what is sorted: source files with many identical lines, a log
// whose lines begin alike, and numbers.
func texts() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	repeat := func(n int, line func() string) []byte {
		var b bytes.Buffer
		for range n {
			b.WriteString(line() + "\n")
		}
		return b.Bytes()
	}
	common := []string{"", "\t}", "}", "\t\treturn err", "\t// TODO", "import ("}
	return map[string][]byte{
		"source": repeat(200_000, func() string {
			if r.IntN(2) == 0 {
				return common[r.IntN(len(common))]
			}
			return strings.Repeat("\t", r.IntN(5)) + fmt.Sprintf("if err := call%d(ctx, %d); err != nil {",
				r.IntN(300), r.IntN(1000))
		}),
		"log": repeat(100_000, func() string {
			return fmt.Sprintf("2024-05-17T10:%02d:%02dZ host example.com/frontend: request %08x took %d us",
				r.IntN(60), r.IntN(60), r.Uint32(), r.IntN(1e6))
		}),
		"numbers": repeat(400_000, func() string { return fmt.Sprint(r.Uint32()) }),
	}
}

func perLine(b *testing.B, text []byte) {
	b.SetBytes(int64(len(text)))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*linesort.Count(text)), "ns/line")
}

func BenchmarkFill(b *testing.B) {
	for name, text := range texts() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				index := make([]linesort.Entry, linesort.Count(text))
				if err := linesort.Fill(index, text, 0, len(text)); err != nil {
					b.Fatal(err)
				}
			}
			perLine(b, text)
		})
	}
}

func BenchmarkSort(b *testing.B) {
	for name, text := range texts() {
		b.Run(name, func(b *testing.B) {
			filled := make([]linesort.Entry, linesort.Count(text))
			if err := linesort.Fill(filled, text, 0, len(text)); err != nil {
				b.Fatal(err)
			}
			index := make([]linesort.Entry, len(filled))
			for b.Loop() {
				copy(index, filled)
				if err := linesort.Sort(text, index); err != nil {
					b.Fatal(err)
				}
			}
			perLine(b, text)
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	for name, text := range texts() {
		for _, n := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/%d parts", name, n), func(b *testing.B) {
				parts := indexed(b, text, n)
				from, to := share(text, parts, 0, 1)
				buffer := make([]byte, 256<<10)
				for b.Loop() {
					m, err := linesort.Merge(text, parts, from, to)
					for err == nil {
						_, err = m.Read(buffer)
					}
					if err != io.EOF {
						b.Fatal(err)
					}
				}
				perLine(b, text)
			})
		}
	}
}
