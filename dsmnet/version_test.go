package dsmnet

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/mq"
)

// TestOtherVersion: a name that a program with another version of ports listens on is ErrVersion, with both versions.
func TestOtherVersion(t *testing.T) {
	ctx := context.Background()
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	a, b := instancetest.Open(t, cfg), instancetest.Open(t, cfg)
	for _, c := range []struct {
		name    string
		version uint64
		says    string
	}{
		{"older", portVersion - 1, "version 3, from a program that is older than this one, which has version 4: " +
			"upgrade the program of"},
		{"newer", portVersion + 1, "version 5, from a program that is newer than this one, which has version 4: " +
			"upgrade this program, or stop"},
	} {
		_, err := registry.Segment[port](ctx, a, c.name, nil, registry.Options{Version: c.version, Transient: true})
		if err != nil {
			t.Fatal(err)
		}
		_, listening := Listen(ctx, b, c.name)
		_, dialing := Dial(ctx, b, c.name)
		for what, err := range map[string]error{"Listen": listening, "Dial": dialing} {
			if !errors.Is(err, dsm.ErrVersion) || errors.Is(err, registry.ErrMismatch) ||
				!strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %s = %v, want ErrVersion", c.name, what, err)
			}
		}
	}
}

// TestVersionCoversQueues: who changes the layout of queues changes that of connections, and so the version of ports.
func TestVersionCoversQueues(t *testing.T) {
	b := make([]byte, mq.Size(64))
	if _, err := mq.Create(shm.NewRegion(b)); err != nil {
		t.Fatal(err)
	}
	if queues := binary.NativeEndian.Uint64(b) >> 56; portVersion != 4 || queues != 3 {
		t.Errorf("ports have version %d and queues %d: raise portVersion if queues have changed, and this test",
			portVersion, queues)
	}
}
