package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/dsmnet"
	"github.com/godsm/godsm/internal/testing/proctest"
)

// echo is a service without generated code: of one answer to a message, and of a stream both ways.
var echo = grpc.ServiceDesc{
	ServiceName: "echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(_ any, ctx context.Context, dec func(any) error,
		_ grpc.UnaryServerInterceptor) (any, error) {
		m := new(wrapperspb.BytesValue)
		if err := dec(m); err != nil {
			return nil, err
		}
		if string(m.Value) == "wait" { // for the caller's deadline
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return m, nil
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Talk", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error {
			m := new(wrapperspb.BytesValue)
			for {
				if err := s.RecvMsg(m); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				if err := s.SendMsg(m); err != nil {
					return err
				}
			}
		}}},
}

func serveGRPC(c *proctest.Child) error {
	l, err := listen(c)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	server.RegisterService(&echo, nil)
	healthpb.RegisterHealthServer(server, health.NewServer())
	c.Say("serves")
	go func() {
		c.Hear() // until the test wants no more
		server.GracefulStop()
	}()
	return server.Serve(l)
}

// client has one connection over s.
func client(t *testing.T, s *dsm.Session) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///api", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, name string) (net.Conn, error) {
			return dsmnet.Dialer{Wait: true}.Dial(ctx, s, name)
		}), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func say(ctx context.Context, c *grpc.ClientConn, text string) error {
	got := new(wrapperspb.BytesValue)
	err := c.Invoke(ctx, "/echo/Say", wrapperspb.Bytes([]byte(text)), got)
	if err == nil && string(got.Value) != text {
		return fmt.Errorf("the answer has %d bytes, want %d", len(got.Value), len(text))
	}
	return err
}

// TestGRPC: single calls, streams both ways, large messages, deadlines, cancelled calls.
func TestGRPC(t *testing.T) {
	s, p := start(t, "grpc server")
	c := client(t, s)
	h, err := healthpb.NewHealthClient(c).Check(ctx, &healthpb.HealthCheckRequest{})
	is(t, "health", err, nil)
	if h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Error(h)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 200 {
				is(t, "a call", say(ctx, c, fmt.Sprint("caller ", i, " call ", k)), nil)
			}
		})
	}
	for range 2 {
		wg.Go(func() { is(t, "a stream", talk(c, 2000), nil) })
		wg.Go(func() { is(t, "a large message", say(ctx, c, strings.Repeat("0123456789", 800<<10)), nil) })
	}
	wg.Wait()

	late, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	err = say(late, c, "wait")
	cancel()
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("past its deadline: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := say(cancelled, c, "wait"); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	is(t, "the connection after that", say(ctx, c, "still here"), nil)
	p.Send("stop")
	is(t, "the server", p.Wait(), nil)
}

// talk sends n messages and reads them back.
func talk(c *grpc.ClientConn, n int) error {
	s, err := c.NewStream(ctx, &echo.Streams[0], "/echo/Talk")
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < n && err == nil; i++ {
			err = s.SendMsg(wrapperspb.Bytes([]byte(fmt.Sprint("message ", i))))
		}
		sent <- errors.Join(err, s.CloseSend())
	}()
	m := new(wrapperspb.BytesValue)
	for i := range n {
		if err := s.RecvMsg(m); err != nil {
			return err
		}
		if want := fmt.Sprint("message ", i); string(m.Value) != want {
			return fmt.Errorf("%q came, want %q", m.Value, want)
		}
	}
	if err := s.RecvMsg(m); err != io.EOF {
		return fmt.Errorf("after the last message: %w", err)
	}
	return <-sent
}

// TestGRPCServerKilled: a call of a server that is killed is Unavailable, and the next server is found.
func TestGRPCServerKilled(t *testing.T) {
	s, p := start(t, "grpc server")
	c := client(t, s)
	is(t, "a call", say(ctx, c, "hello"), nil)
	waits := make(chan error)
	stream, err := c.NewStream(ctx, &echo.Streams[0], "/echo/Talk")
	is(t, "a stream", err, nil)
	is(t, "send", stream.SendMsg(wrapperspb.Bytes([]byte("hello"))), nil)
	is(t, "receive", stream.RecvMsg(new(wrapperspb.BytesValue)), nil)
	go func() { waits <- stream.RecvMsg(new(wrapperspb.BytesValue)) }()
	p.Kill()
	if err := <-waits; status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ends with %v", err)
	}
	next := proctest.Start(t, "grpc server", s.Config().Dir)
	next.Expect("serves")
	got := new(wrapperspb.BytesValue)
	err = c.Invoke(ctx, "/echo/Say", wrapperspb.Bytes([]byte("hello again")), got, grpc.WaitForReady(true))
	is(t, "a call of the next server", err, nil)
	next.Send("stop")
	is(t, "the next server", next.Wait(), nil)
}
