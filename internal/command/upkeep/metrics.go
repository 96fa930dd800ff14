package upkeep

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/web"
	"github.com/spf13/cobra"
)

// pages is what supervise serves over HTTP.
type pages struct {
	address string // empty: nothing
	web.Options
}

func (p *pages) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.address, "metrics", "", "serve /metrics, /healthz and a page at `ADDR`, as HOST:PORT; without a host only to this machine\n"+
		"("+web.DefaultAddress+", say)")
	f.StringSliceVar(&p.Hosts, "metrics-host", nil, "a `NAME` under which --metrics may be asked, besides addresses and localhost; may be repeated")
	f.BoolVar(&p.Profile, "pprof", false, "serve the supervisor's profiles at --metrics, too: /debug/pprof")
}

// listen opens the address, so that one that is in use is an error before the instance starts. It returns nil if nothing is served.
func (p *pages) listen(ctx context.Context) (net.Listener, error) {
	if p.address == "" {
		if len(p.Hosts) > 0 || p.Profile {
			return nil, fmt.Errorf("%w: --metrics-host and --pprof are for --metrics", cli.ErrUsage)
		}
		return nil, nil
	}
	host, port, err := net.SplitHostPort(p.address)
	if err != nil {
		return nil, fmt.Errorf("%w: --metrics %q: it takes HOST:PORT: %w", cli.ErrUsage, p.address, err)
	}
	if n, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return nil, fmt.Errorf("%w: --metrics %q: %q is no port", cli.ErrUsage, p.address, port)
	} else {
		port = strconv.Itoa(n)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	network := "tcp"
	if ip := net.ParseIP(host); ip.To4() != nil {
		network = "tcp4" // of 0.0.0.0 tcp makes all addresses of IPv6, too
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, network, net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	return l, nil
}

// beyond reports whether processes of other machines may reach the listener.
func beyond(l net.Listener) bool {
	a, ok := l.Addr().(*net.TCPAddr)
	return ok && !a.IP.IsLoopback()
}

// serve answers at the listener for the instance in dir until stop is called, which waits for what is under way.
func (a *app) serve(l net.Listener, dir string, p pages) (stop func()) {
	if l == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	config, ended := a.Config, make(chan struct{})
	config.Dir = dir
	go func() {
		defer close(ended)
		if err := web.Serve(ctx, config, l, p.Options); err != nil && ctx.Err() == nil {
			a.Config.Logger.Error().Err(err).Str("address", l.Addr().String()).Msg("metrics are not served any more")
		}
	}()
	a.Config.Logger.Info().Str("address", l.Addr().String()).Msg("serves metrics")
	if beyond(l) {
		a.Config.Logger.Warn().Str("address", l.Addr().String()).
			Msg("metrics and the page can be read without a password by every machine that reaches this address")
	}
	return func() { cancel(); <-ended }
}
