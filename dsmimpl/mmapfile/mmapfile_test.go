package mmapfile_test

import (
	"testing"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/dsmimpltest"
	"github.com/godsm/godsm/dsmimpl/mmapfile"
)

func TestConformance(t *testing.T) {
	dsmimpltest.Run(t, func(t *testing.T) dsmimpl.Backend { return mmapfile.New(t.TempDir() + "/made by Create") })
}
