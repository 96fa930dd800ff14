package roster

import (
	"fmt"

	"github.com/godsm/godsm/shm"
	"github.com/godsm/godsm/shm/dsa"
)

// page returns a page of records, nil if there is none yet.
func (r *Roster[S, R]) page(v *view[S, R], k int) ([]R, error) {
	if p := v.pages[k].Load(); p != nil {
		return *p, nil
	}
	at := dsa.Pointer(v.chair.pages[k].Load())
	if at == 0 {
		return nil, nil
	}
	b, err := r.bytes(at, shm.Size[R]()*firstPage<<k)
	if err != nil {
		return nil, fmt.Errorf("roster: a page of records: %w", err)
	}
	page, err := shm.SliceOf[R](shm.NewRegion(b), 0, firstPage<<k)
	if err != nil {
		return nil, err
	}
	v.pages[k].Store(&page)
	return page, nil
}
