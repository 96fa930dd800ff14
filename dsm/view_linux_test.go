package dsm_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

var lasting = []string{"posix", "sysv", "mmap"}

func init() {
	nattch = func(t *testing.T) (list []string) {
		t.Helper()
		text, err := os.ReadFile("/proc/sysvipc/shm")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 7 || f[4] != strconv.Itoa(os.Getpid()) {
				continue
			}
			list = append(list, fmt.Sprintf("shmid %s: %s attached", f[1], f[6]))
		}
		slices.Sort(list)
		return list
	}
}

// TestNoMappingStays: whichever Segments of one handle have a Region, and in which order, none of their mappings
// outlives the last of them.
func TestNoMappingStays(t *testing.T) {
	cfg := instancetest.Config(t, "posix")
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	for orders := range 64 { // each bit: whether a Segment's Region is asked for, and before or after the next Attach
		first := create(t, s, 4096)
		i, _ := info(t, s, first.Handle())
		all := []*dsm.Segment{first}
		for k := range 3 {
			g := all[k]
			if orders>>(2*k)&1 != 0 {
				g.Region()
			}
			all = append(all, attach(t, s, first.Handle()))
			if orders>>(2*k+1)&1 != 0 {
				g.Region()
			}
		}
		for k := range all {
			if err := all[(k+orders)%len(all)].Detach(); err != nil {
				t.Fatal(err)
			}
		}
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(maps), i.OSName); n != 0 {
			t.Errorf("order %06b: %d mappings of %s stay", orders, n, i.OSName)
		}
	}
}
