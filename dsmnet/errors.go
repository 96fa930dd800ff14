package dsmnet

import (
	"context"
	"errors"
	"net"
	"os"
	"reflect"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/registry"
)

// timeout is an error of which net.OpError knows that it is one.
type timeout struct{ error }

// opError returns err as package net has it. Ctx is that of the call: what ended with its deadline is a timeout.
func opError(ctx context.Context, op, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, dsm.ErrClosed):
		err = errkind.As(net.ErrClosed, err)
	case errors.Is(err, context.DeadlineExceeded),
		errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.Cause(ctx)):
		err = timeout{err}
	}
	return &net.OpError{Op: op, Net: network, Addr: Addr(name), Err: err}
}

// errForeign returns err, unless that is a mismatch because the name stands for a port of another version: then it is
// ErrVersion.
func errForeign(ctx context.Context, s *dsm.Session, name string, err error) error {
	if !errors.Is(err, registry.ErrMismatch) {
		return err
	}
	list, failed := registry.List(ctx, s)
	if failed != nil {
		return err
	}
	for _, x := range list {
		if x.Name == name && x.Type == reflect.TypeFor[port]().String() && x.Version != portVersion {
			return errkind.OtherVersion("the port", x.Version, portVersion, "the processes that listen and dial there")
		}
	}
	return err
}

func (t timeout) Unwrap() error { return t.error }

func (t timeout) Is(target error) bool { return target == os.ErrDeadlineExceeded }

func (timeout) Timeout() bool { return true }

func (timeout) Temporary() bool { return true }
