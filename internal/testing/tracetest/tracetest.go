// Package tracetest reads traces of cache accesses for tests, from a folder beside the project, and makes Zipf draws. The
// files are in no repository of ours: a test that finds none skips.
package tracetest

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/godsm/godsm/internal/trace"
)

// Access is one access of a trace: the key's hash and, in a trace that has sizes, the value's size.
type Access struct {
	Hash uint64
	Size int
}

// Trace is a trace to be read.
type Trace struct {
	Name string
	read func(t testing.TB) []Access
}

// Traces are the traces to work with: files, then draws.
var Traces = []Trace{
	file("web07", "cache2k-web07.trace.xz", "be32"),
	file("gli", "lirs-gli.trace.gz", "lirs"),
	file("multi2", "lirs-multi2.trace.gz", "lirs"),
	file("oltp", "arc-oltp.gz", "arc"),
	file("scarab", "scarab-scarab-recs.trace.xz", "be64"),
	file("orm-busy", "cache2k-orm-busy.trace.xz", "be32"),
	file("adapt", "adapt_size-request.trace.xz", "sized"),
	{"zipf101", func(testing.TB) []Access { return Zipf(1.01, 1_000_000, 5_000_000) }},
	{"zipf08", func(testing.TB) []Access { return Zipf(0.8, 1_000_000, 5_000_000) }},
}

// Accesses returns the accesses of a trace, or skips the test.
func (tr Trace) Accesses(t testing.TB) []Access {
	t.Helper()
	return tr.read(t)
}

// Unique returns how many keys there are, and the sum of their sizes.
func Unique(list []Access) (keys, size int) {
	seen := make(map[uint64]struct{}, len(list)/4)
	for _, a := range list {
		if _, ok := seen[a.Hash]; !ok {
			seen[a.Hash] = struct{}{}
			size += a.Size
		}
	}
	return len(seen), size
}

// Sized returns the same accesses with sizes that are log-normal by key: a median of 150, a mean of about 310.
func Sized(list []Access) []Access {
	out := make([]Access, len(list))
	for i, a := range list {
		r := rand.New(rand.NewPCG(a.Hash, 7))
		out[i] = Access{a.Hash, max(1, int(math.Exp(math.Log(150)+1.2*r.NormFloat64()))) + 40}
	}
	return out
}

// Hash mixes a number.
func Hash(n uint64) uint64 {
	hi, lo := bits.Mul64(n^0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93)
	hi, lo = bits.Mul64(hi^lo^0xa076_1d64_78bd_642f, 0x9e37_79b9_7f4a_7c15)
	return hi ^ lo
}

// Zipf returns n draws from so many keys, of which key k has a weight of k to the power of -a.
func Zipf(a float64, keys, n int) []Access {
	sums := make([]float64, keys)
	sum := 0.0
	for k := range sums {
		sum += math.Pow(float64(k+1), -a)
		sums[k] = sum
	}
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]Access, n)
	for i := range out {
		x := r.Float64() * sum
		lo, hi := 0, keys-1
		for lo < hi {
			if mid := (lo + hi) / 2; sums[mid] < x {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		out[i] = Access{Hash(uint64(lo)), 1}
	}
	return out
}

var cached struct {
	sync.Mutex
	name string
	list []Access
}

func file(name, path, format string) Trace {
	return Trace{name, func(t testing.TB) []Access {
		t.Helper()
		cached.Lock()
		defer cached.Unlock()
		if cached.name == name {
			return cached.list
		}
		dir := os.Getenv(Variable)
		if dir == "" {
			t.Skipf("skipped: no trace: %s names no folder of traces", Variable)
		}
		f, err := os.Open(filepath.Join(dir, path))
		if err != nil {
			t.Skip("skipped: no trace:", err)
		}
		defer f.Close()
		tr, err := trace.Read(t.Context(), path, format, f)
		if err != nil {
			t.Fatal(err)
		}
		list := make([]Access, len(tr.Keys))
		for i, k := range tr.Keys {
			list[i] = Access{Hash(k), 1}
			if tr.Sizes != nil {
				list[i].Size = max(1, int(tr.Sizes[i]))
			}
		}
		cached.name, cached.list = name, list
		return list
	}}
}

// Variable is the environment variable that names the folder with the traces' files.
const Variable = "GODSM_TRACES"
