package survey

import (
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/sys/fault"
	"github.com/godsm/godsm/registry"
	"github.com/godsm/godsm/shm/dsa"
)

// maxAreas bounds into how many areas a survey goes to learn which segments are theirs: each is mapped for that.
const maxAreas = 256

// Parts returns which segments belong to the areas that have names, the first ones included. It looks into at most the first areas of that
// number, and leaves out those that can't be read. Read is the function that dsm.Look hands out.
func Parts(names []registry.Info, areas int, read func(dsm.Handle) ([]byte, error)) map[dsm.Handle]registry.Info {
	parts := map[dsm.Handle]registry.Info{}
	for _, x := range names {
		if !x.InArea || x.State != registry.StateReady {
			continue
		}
		if areas--; areas < 0 {
			break
		}
		_ = fault.Contain(func() error {
			s, err := dsa.Look(uint64(x.Handle), func(h uint64) ([]byte, error) { return read(dsm.Handle(h)) })
			if err != nil {
				return err
			}
			for _, h := range s.Segments() {
				parts[dsm.Handle(h)] = x
			}
			return nil
		})
	}
	return parts
}
