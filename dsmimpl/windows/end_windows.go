package windows

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/dsmimpl"
	"golang.org/x/sys/windows"
)

// The end of a view: the handle, and with it the name, may go before the bytes.

func (backend) Detach(m dsmimpl.Mapping) error {
	err := os.NewSyscallError("UnmapViewOfFile", unmapView(m.Bytes))
	if m.Token == 0 {
		return err
	}
	return errors.Join(err, os.NewSyscallError("CloseHandle", windows.CloseHandle(windows.Handle(m.Token))))
}

// Loosen closes the handle. The view works without.
func (backend) Loosen(m dsmimpl.Mapping) dsmimpl.Mapping {
	if m.Token != 0 {
		_ = windows.CloseHandle(windows.Handle(m.Token))
	}
	return dsmimpl.Mapping{Bytes: m.Bytes}
}

// DetachGuarded makes the view inaccessible, in one step.
func (backend) DetachGuarded(m dsmimpl.Mapping) error { return protect(m.Bytes, windows.PAGE_NOACCESS) }

func (b backend) Unguard(m dsmimpl.Mapping) error { return b.Detach(m) }

// swapper is the backend where PAGE_WRITECOPY means what it says: a store to a page of the view copies that first, for
// this process alone. Wine 8 accepts it and goes on sharing.
type swapper struct{ backend }

// Swap makes pages private with the next store to each. Until then loads find what others store in them.
func (swapper) Swap(m dsmimpl.Mapping, from, to int) error {
	return protect(m.Bytes[from:to], windows.PAGE_WRITECOPY)
}

func (s swapper) Unswap(m dsmimpl.Mapping) error { return s.Detach(m) }

func protect(b []byte, protection uint32) error {
	if len(b) == 0 {
		return nil
	}
	var old uint32
	return os.NewSyscallError("VirtualProtect", windows.VirtualProtect(address(b), uintptr(len(b)), protection, &old))
}

// copiesOnWrite tries whether a store to a view is private after PAGE_WRITECOPY.
var copiesOnWrite = sync.OnceValue(func() bool {
	h, err := windows.CreateFileMapping(windows.InvalidHandle, nil, windows.PAGE_READWRITE, 0, 8, nil)
	if err != nil {
		return false
	}
	defer windows.CloseHandle(h)
	mine, err := mapView(h, 0, 8, windows.FILE_MAP_WRITE)
	if err != nil {
		return false
	}
	defer unmapView(mine)
	theirs, err := mapView(h, 0, 8, windows.FILE_MAP_WRITE)
	if err != nil {
		return false
	}
	defer unmapView(theirs)
	if protect(mine, windows.PAGE_WRITECOPY) != nil {
		return false
	}
	atomic.AddUint64(word(mine), 1)
	return atomic.LoadUint64(word(mine)) == 1 && atomic.LoadUint64(word(theirs)) == 0
})
