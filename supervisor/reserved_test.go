package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/posix"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/supervisor"
)

// TestReservedRegion: what happens to processes happens in an instance with a reserved region too.
func TestReservedRegion(t *testing.T) {
	t.Setenv("DSM_MIN_DYNAMIC_SHARED_MEMORY", "256kB")
	for name, f := range map[string]func(*testing.T){
		"TestSupervisorKilled":        TestSupervisorKilled,
		"TestRestartOnCrash":          TestRestartOnCrash,
		"TestStopWaitsForSessions":    TestStopWaitsForSessions,
		"TestOtherBackendAtNextStart": TestOtherBackendAtNextStart,
	} {
		t.Run(name, f)
	}
}

func regionPath(t *testing.T, dir string, generation uint64) string {
	o := dsmimpl.Object{Life: instancetest.Life(t, dir), Generation: generation, Handle: dsmimpl.RegionHandle}
	return "/dev/shm/" + o.Name()
}

// scant is posix on a system that has room for so many regions.
type scant struct {
	dsmimpl.Backend
	dsmimpl.Swapper // else nothing is carved
	regions         *atomic.Int32
}

func (s scant) Create(ctx context.Context, o dsmimpl.Object) (dsmimpl.Mapping, uint64, error) {
	if o.Handle == dsmimpl.RegionHandle && s.regions.Add(-1) < 0 {
		return dsmimpl.Mapping{}, 0, fmt.Errorf("the region: %w", dsmimpl.ErrNoSpace)
	}
	return s.Backend.Create(ctx, o)
}

// TestReservedRegionIsRemoved: no session could attach what is in it any more, so the next generation
// begins; without a region, if there is no room for one. A start is refused then.
func TestReservedRegionIsRemoved(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the region is a file on Linux alone")
	}
	cfg := instancetest.Config(t, "posix", "min_dynamic_shared_memory", "256kB")
	regions := &atomic.Int32{}
	regions.Store(2)
	cfg.Backend = scant{posix.New(), posix.New().(dsmimpl.Swapper), regions}
	s := instancetest.Start(t, cfg)
	for generation, reserved := range []uint64{256 << 10, 256 << 10, 0} {
		session := instancetest.Open(t, cfg)
		g, err := session.Create(ctx, session.Owner(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := s.Status(ctx); err != nil || st.Generation != uint64(generation+1) || st.Reserved != reserved ||
			st.ReservedUsed != min(reserved, 4096) {
			t.Errorf("%+v, %v; want generation %d, %d bytes", st, err, generation+1, reserved)
		}
		if reserved == 0 {
			break
		}
		if err := os.Remove(regionPath(t, cfg.Dir, uint64(generation+1))); err != nil {
			t.Fatal(err)
		}
		<-session.Done()
		g.Bytes()[99] = 1 // it keeps what it has mapped
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := supervisor.Start(ctx, cfg); !errors.Is(err, dsm.ErrNoSpace) ||
		!strings.Contains(err.Error(), "min_dynamic_shared_memory") {
		t.Errorf("Start without room for the region = %v", err)
	}
}
