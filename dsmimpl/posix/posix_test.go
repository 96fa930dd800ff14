package posix_test

import (
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/dsmimpltest"
	"github.com/godsm/godsm/dsmimpl/posix"
)

func TestConformance(t *testing.T) {
	dsmimpltest.Run(t, func(*testing.T) dsmimpl.Backend { return posix.New() })
}
