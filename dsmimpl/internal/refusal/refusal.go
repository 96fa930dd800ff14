// Package refusal is the backend that can do nothing: every operation is one and the same error. It stands for the
// setting "none" and for mechanisms that this system does not have.
package refusal

import (
	"context"
	"fmt"
	"runtime"

	"github.com/godsm/godsm/dsmimpl"
)

// Backend returns a backend that refuses everything with err.
func Backend(name string, err error) dsmimpl.Backend { return backend{name, err} }

// Unsupported returns the backend for a mechanism that this system lacks.
func Unsupported(name string) dsmimpl.Backend {
	return Backend(name, fmt.Errorf("backend %s on %s: %w", name, runtime.GOOS, dsmimpl.ErrUnsupported))
}

type backend struct {
	name string
	err  error
}

func (b backend) Name() string { return b.name }

func (b backend) Create(context.Context, dsmimpl.Object) (dsmimpl.Mapping, uint64, error) {
	return dsmimpl.Mapping{}, 0, b.err
}

func (b backend) Attach(context.Context, dsmimpl.Object, dsmimpl.Access) (dsmimpl.Mapping, error) {
	return dsmimpl.Mapping{}, b.err
}

func (b backend) Detach(dsmimpl.Mapping) error { return b.err }

func (b backend) Destroy(context.Context, dsmimpl.Object) error { return b.err }
