package dsm_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/posix"
	"github.com/godsm/godsm/internal/objectlist"
	"github.com/godsm/godsm/internal/testing/instancetest"
)

// garbling is posix, but a neighbour garbles the row's handle while the object is made.
type garbling struct {
	dsmimpl.Backend
	control string
}

func (g *garbling) Create(ctx context.Context, o dsmimpl.Object) (dsmimpl.Mapping, uint64, error) {
	m, word, err := g.Backend.Create(ctx, o)
	f, ferr := os.OpenFile(g.control, os.O_WRONLY, 0)
	if ferr == nil {
		const rows = 2048 + 21*64 // max_processes is 20
		_, ferr = f.WriteAt([]byte{0xee, 0xee}, int64(rows+96*o.Row()+8+4))
		f.Close()
	}
	return m, word, errors.Join(err, ferr)
}

// TestRowGarbledWhileCreating: an object whose row names another one is removed by the session that has just made it.
func TestRowGarbledWhileCreating(t *testing.T) {
	cfg := instancetest.Config(t, "posix", "min_dynamic_shared_memory", "0")
	instancetest.Start(t, cfg)
	control := objectlist.Objects(instancetest.Lives(t, cfg.Dir))
	if len(control) != 1 || !strings.HasSuffix(control[0], "zzz") {
		t.Fatal(control)
	}
	s := instancetest.Open(t, dsm.Config{Dir: cfg.Dir, Backend: &garbling{posix.New(), control[0]}})
	if _, err := s.Create(ctx, s.Owner(), 100); !errors.Is(err, dsm.ErrCorrupt) {
		t.Errorf("Create = %v, want ErrCorrupt", err)
	}
	if n := instancetest.Objects(t, cfg.Dir); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}
