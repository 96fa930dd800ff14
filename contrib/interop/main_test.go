package interop

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/testing/instancetest"
	"github.com/godsm/godsm/internal/testing/proctest"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	proctest.Register("grpc server", serveGRPC)
	proctest.Register("http server", serveHTTP)
	proctest.Main(m)
}

// start starts an instance and a server in a process of its own, and opens a session beside it.
func start(t *testing.T, server string) (*dsm.Session, *proctest.Process) {
	t.Helper()
	cfg := instancetest.Config(t, catalog.Default())
	instancetest.Start(t, cfg)
	p := proctest.Start(t, server, cfg.Dir)
	p.Expect("serves")
	return instancetest.Open(t, cfg), p
}

// listen is a server's: it opens a session and listens.
func listen(c *proctest.Child) (net.Listener, error) {
	s, err := dsm.Open(ctx, dsm.Config{Dir: c.Args[0]})
	if err != nil {
		return nil, err
	}
	return dsmnet.Listen(ctx, s, "api")
}

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
