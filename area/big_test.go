//go:build linux

package area_test

import (
	"os"
	"testing"

	"github.com/godsm/godsm/area"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/shm/dsa"
	"golang.org/x/sys/unix"
)

// TestBig fills an area with objects of all sizes and empties it: all memory comes back. The area has 96 MB in
// files, or 8 GiB on the shm mount if DSM_TEST_BIG is set, since that takes the memory for a while; in either case
// no more than half of what is free.
func TestBig(t *testing.T) {
	want, backend, mount := uint64(8<<30), "posix", "/dev/shm"
	if os.Getenv("DSM_TEST_BIG") == "" {
		want, backend, mount = 96<<20, "mmap", os.TempDir()
		t.Log("96 MB only: DSM_TEST_BIG is not set")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(mount, &st); err != nil {
		t.Skip("skipped:", err)
	}
	if free := st.Bavail * uint64(st.Bsize); free/2 < want {
		t.Skipf("skipped: %d bytes are free on %s, and half of that is not %d", free, mount, want)
	}
	cfg := instancetest.Config(t, backend)
	instancetest.Start(t, cfg)
	s := instancetest.Open(t, cfg)
	a, err := area.Create(ctx, s, s.Owner(), dsa.Options{Limit: int64(want)})
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{64, 1000, 8000, 60_000, 1 << 20, 9 << 20}
	var all []dsa.Pointer
	for full := uint64(0); full < want*3/4; {
		n := sizes[len(all)%len(sizes)]
		p, err := a.Alloc(n)
		if err != nil {
			t.Fatalf("after %d bytes of %d: %v", full, want, err)
		}
		all = append(all, p)
		full += uint64(n)
	}
	rep := clean(t, a)
	t.Logf("%d objects, %d bytes in %d segments", rep.Objects, rep.Total, rep.Segments)
	for _, p := range all {
		if err := a.Free(p); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d bytes of them are kept until Trim", a.Total())
	if err := a.Trim(ctx); err != nil {
		t.Fatal(err)
	}
	if rep := clean(t, a); rep.Objects != 0 || rep.Segments != 1 || rep.Total > 2<<20 {
		t.Errorf("emptied: %+v", rep.Stats)
	}
	if err := a.Detach(); err != nil {
		t.Error(err)
	}
}
