package parts

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/side"
	"github.com/godsm/godsm/parallel"
)

func TestMain(m *testing.M) {
	side.Main()
	parallel.Main()
	os.Exit(m.Run())
}

func TestFigures(t *testing.T) {
	all, quick := All(Rivals{}), All(Rivals{Quick: true})
	if len(quick) >= len(all) || len(quick) < 30 {
		t.Errorf("%d figures, %d of them quick", len(all), len(quick))
	}
	for _, list := range [][]figure.Figure{all, quick} {
		seen := map[string]bool{}
		for _, f := range list {
			if seen[f.Name()] {
				t.Errorf("two figures are called %s", f.Name())
			}
			seen[f.Name()] = true
			if len(f.Sides) == 0 || f.Sides[0].Rival != figure.Ours {
				t.Errorf("%s: the first side is not ours", f.Name())
			}
			rivals := map[string]bool{}
			for _, c := range f.Sides {
				if c.Open == nil || rivals[c.Rival] {
					t.Errorf("%s: %q is there twice, or can't be opened", f.Name(), c.Rival)
				}
				rivals[c.Rival] = true
			}
		}
	}
}

// TestGoSides measures each work that is written in Go once, for a moment.
func TestGoSides(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	left := shmFiles(t)
	dir := t.TempDir()
	for _, c := range []struct {
		work string
		pin  side.Pin
		args []string
		n    int
	}{
		{"segments/create", side.Alone, []string{"posix", "4096"}, 1},
		{"segments/reserved", side.Alone, []string{"4096", "5"}, 1},
		{"segments/attach", side.Alone, []string{"mmap", "4096"}, 1},
		{"raw/create", side.Alone, []string{"posix", "4096", dir}, 1},
		{"raw/create", side.Alone, []string{"sysv", "4096", dir}, 1},
		{"raw/create", side.Alone, []string{"mmap", "4096", dir}, 1},
		{"raw/attach", side.Alone, []string{"posix", "4096", dir}, 1},
		{"raw/attach", side.Alone, []string{"sysv", "4096", dir}, 1},
		{"messages/one way", side.Free, []string{"mq", "1024", "65536"}, 1},
		{"messages/one way", side.Free, []string{"ring", "1024", "65536"}, 1},
		{"messages/one way", side.Free, []string{"pipe", "1024", "65536"}, 1},
		{"messages/one way", side.Free, []string{"unix", "1024", "65536"}, 1},
		{"messages/one way", side.Free, []string{"shmipc", "1024", "65536"}, 1},
		{"messages/round trip", side.Same, []string{"mq", "8", "65536"}, 2},
		{"messages/round trip", side.Same, []string{"futex", "8", "65536"}, 2},
		{"messages/round trip", side.Free, []string{"shmipc", "8", "65536"}, 2},
		{"locks/alone", side.Alone, []string{"shared"}, 1},
		{"locks/two", side.Free, []string{"exclusive"}, 1},
		{"locks/cas", side.Alone, nil, 1},
		{"locks/cas two", side.Free, nil, 1},
		{"locks/sync.RWMutex", side.Alone, []string{"exclusive"}, 1},
		{"locktable/LWLock", side.Alone, nil, 1},
		{"locktable/pairs", side.Alone, []string{"kept", "2"}, 1},
		{"locktable/pairs", side.Alone, []string{"named", "1"}, 1},
		{"locktable/pairs", side.Alone, []string{"new", "1"}, 1},
		{"locktable/pairs", side.Alone, []string{"many", "1"}, 1},
		{"locktable/list", side.Alone, []string{"100"}, 1},
		{"locktable/two", side.Free, []string{"godsm", dir, "rate"}, 1},
		{"locktable/two", side.Free, []string{lockFile, dir, "share"}, 1},
		{"lockfile/pairs", side.Alone, []string{"flock", dir}, 1},
		{"lockfile/pairs", side.Alone, []string{"OFD", dir}, 1},
		{"lockfile/pairs", side.Alone, []string{"a file for each name", dir}, 1},
		{"allocator/pair", side.Alone, []string{"64"}, 1},
		{"allocator/batch", side.Alone, []string{"1024"}, 1},
		{"allocator/mixed", side.Alone, nil, 1},
		{"allocator/two", side.Free, []string{"64"}, 1},
		{"allocator/overhead", side.Alone, []string{"2", "all"}, 1},
		{"hash/alone", side.Alone, []string{"get 200", "100"}, 1},
		{"hash/alone", side.Alone, []string{"find 8", "100"}, 1},
		{"hash/alone", side.Alone, []string{"delete+insert 8", "100"}, 1},
		{"hash/two", side.Free, []string{"get 8", "100"}, 1},
		{"hash/bytes", side.Alone, []string{"100"}, 1},
		{"cache/get", side.Alone, []string{"godsm", "100"}, 1},
		{"cache/get", side.Alone, []string{"dshash.Bytes", "100"}, 1},
		{"cache/get", side.Alone, []string{"otter", "100"}, 1},
		{"cache/get", side.Alone, []string{"fastcache", "100"}, 1},
		{"cache/two", side.Free, []string{"100"}, 1},
		{"cache/get beside sets", side.Free, []string{"1", "5000"}, 2},
		{"cache/set", side.Alone, []string{"godsm", "2097152"}, 1},
		{"cache/set timed", side.Alone, []string{"godsm", "2097152"}, 2},
		{"cache/overhead", side.Alone, []string{"16", "200", "2097152"}, 1},
		{"cache/waste", side.Alone, []string{"2097152"}, 7},
		{"cache/attach", side.Alone, []string{"8388608"}, 2},
		{"growth/segments", side.Alone, []string{"list", "5"}, 1},
		{"growth/segments", side.Alone, []string{"attach", "5"}, 1},
		{"growth/sessions", side.Alone, []string{"list", "5"}, 1},
		{"growth/raw", side.Alone, []string{"create", "5"}, 1},
		{"reclaim/kills", side.Alone, []string{"2"}, 3},
		{"reclaim/raw", side.Alone, []string{"2"}, 3},
		{"http/mq", side.Free, []string{"4"}, 1},
		{"http/unix", side.Free, []string{"4"}, 1},
		{"parallel/start", side.Alone, nil, 1},
		{"parallel/exec", side.Alone, nil, 1},
		{"parallel/map", side.Alone, []string{"2", "1000"}, 1},
	} {
		t.Run(c.work+" "+strings.Join(c.args, " "), func(t *testing.T) {
			p, err := side.Open(t.Context(), c.work, side.Args{Pin: c.pin,
				Target: 100 * time.Microsecond, List: c.args})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				numbers, err := p.Round(t.Context())
				if err != nil || len(numbers) != c.n || numbers[0] <= 0 {
					t.Errorf("%v, %v", numbers, err)
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for name := range shmFiles(t) {
		if !left[name] && strings.HasPrefix(name, side.Prefix()) {
			t.Errorf("left on the mount: %s", name)
		}
	}
	if private, _ := os.ReadDir(os.Getenv("XDG_STATE_HOME") + "/dsm-private"); len(private) > 0 {
		t.Errorf("private instances are left: %v", private)
	}
}

func shmFiles(t *testing.T) map[string]bool {
	entries, err := os.ReadDir("/dev/shm")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names
}

// TestSorting: both sides sort, the outputs are compared, and no file is left but the program.
func TestSorting(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	dir := t.TempDir()
	s := &sorter{dir: dir, bytes: 100_000}
	f := sortBeside(s)
	var sides []side.Side
	for _, c := range f.Sides {
		p, err := c.Open(t.Context(), f.Pin, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		sides = append(sides, p)
	}
	if st, err := os.Stat(s.file("ours")); err != nil || st.Size() < 100_000 {
		t.Errorf("nothing was sorted: %v", err)
	}
	for _, p := range sides {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "dsmdemo" {
		t.Errorf("left: %v", left)
	}
	if err := os.WriteFile(s.file("ours"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file("theirs"), []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if sameFiles(s.file("ours"), s.file("theirs")) == nil {
		t.Error("outputs that differ are the same")
	}
}

func TestSizesAreDrawnAsSaid(t *testing.T) {
	x, powers := seed, map[int]int{}
	for range 90_000 {
		n := x.size()
		if n < 16 || n > 8191 {
			t.Fatalf("a size of %d", n)
		}
		e := 0
		for n>>e > 1 {
			e++
		}
		powers[e]++
	}
	for e := 4; e <= 12; e++ {
		if powers[e] < 9_000 || powers[e] > 11_000 {
			t.Errorf("%d of 90,000 sizes are from 2^%d on", powers[e], e)
		}
	}
}
