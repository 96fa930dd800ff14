//go:build windows

// Package windows is the backend windows: file mappings backed by the page file.
//
// Traps of the primitive. A mapping's name goes with the last handle to it, even while a view still works,
// so a process that attaches keeps its handle beside its view, and a pinned segment needs a process to keep it
// open: the supervisor (dsmimpl.Pinner). There is nothing to destroy, and nothing that could be left behind: objects
// of dead processes are the kernel's to free. If the supervisor dies, pinned segments that no process has
// mapped are gone. Views are whole pages; the true size is in the control segment. A view can't be replaced by
// something else without a moment in which nothing is mapped there, but its protection can be changed in one step.
package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"golang.org/x/sys/windows"
)

// New returns the backend. It is a dsmimpl.Swapper where the system copies what is written to a protected view.
func New() dsmimpl.Backend {
	if copiesOnWrite() {
		return swapper{}
	}
	return backend{}
}

type backend struct{}

func (backend) Name() string { return "windows" }

// name lies in the session's own namespace: the global one wants a privilege.
func name(o dsmimpl.Object) string { return `Local\` + o.Name() }

func (backend) Create(ctx context.Context, o dsmimpl.Object) (dsmimpl.Mapping, uint64, error) {
	if err := dsmimpl.CheckSize(o.Size); err != nil {
		return dsmimpl.Mapping{}, 0, err
	}
	if ctx.Err() != nil {
		return dsmimpl.Mapping{}, 0, context.Cause(ctx)
	}
	sa, err := onlyThisUser()
	if err != nil {
		return dsmimpl.Mapping{}, 0, classify("security descriptor for", o, err)
	}
	p, err := windows.UTF16PtrFromString(name(o))
	if err != nil {
		return dsmimpl.Mapping{}, 0, classify("name", o, err)
	}
	h, err := windows.CreateFileMapping(windows.InvalidHandle, sa, windows.PAGE_READWRITE,
		uint32(uint64(o.Size)>>32), uint32(o.Size), p)
	switch {
	case err == windows.ERROR_ALREADY_EXISTS:
		windows.CloseHandle(h) // comes with a handle to the other object
		return dsmimpl.Mapping{}, 0, fs.ErrExist
	case err == windows.ERROR_ACCESS_DENIED, err == windows.ERROR_INVALID_HANDLE:
		return dsmimpl.Mapping{}, 0, fs.ErrExist // another user's object, or one of another kind
	case err == windows.ERROR_INVALID_PARAMETER: // all else is valid
		return dsmimpl.Mapping{}, 0, errkind.As(dsmimpl.ErrSize,
			fmt.Errorf("%d bytes are more than this system can map: %w", o.Size, err))
	case err != nil:
		return dsmimpl.Mapping{}, 0, classify("CreateFileMapping", o, err)
	}
	m, err := view(h, o, windows.FILE_MAP_WRITE)
	return m, 0, err
}

func (backend) Attach(_ context.Context, o dsmimpl.Object, a dsmimpl.Access) (dsmimpl.Mapping, error) {
	access := uint32(windows.FILE_MAP_WRITE)
	if a == dsmimpl.ReadOnly {
		access = windows.FILE_MAP_READ
	}
	h, err := openFileMapping(access, name(o))
	if err != nil {
		return dsmimpl.Mapping{}, classify("OpenFileMapping", o, err)
	}
	return view(h, o, access)
}

// granularity is what a view begins on. It is the same on all systems.
const granularity = 64 << 10

func (backend) AttachPart(_ context.Context, o dsmimpl.Object, at, size int) (m dsmimpl.Mapping, part []byte, err error) {
	h, err := openFileMapping(windows.FILE_MAP_WRITE, name(o))
	if err != nil {
		return m, nil, classify("OpenFileMapping", o, err)
	}
	head := at % granularity
	if m, err = viewPart(h, o, windows.FILE_MAP_WRITE, at-head, head+size); err != nil {
		return m, nil, err
	}
	return m, m.Bytes[head : head+size : head+size], nil
}

// view maps o from h; the mapping owns h, which is closed on an error.
func view(h windows.Handle, o dsmimpl.Object, access uint32) (dsmimpl.Mapping, error) {
	return viewPart(h, o, access, 0, o.Size)
}

func viewPart(h windows.Handle, o dsmimpl.Object, access uint32, at, size int) (dsmimpl.Mapping, error) {
	b, err := mapView(h, at, size, access)
	if err != nil {
		windows.CloseHandle(h)
		return dsmimpl.Mapping{}, classify(fmt.Sprintf("MapViewOfFile of %d bytes of", size), o, err)
	}
	return dsmimpl.Mapping{Bytes: b, Token: uintptr(h)}, nil
}

// InUse holds for every object that is there: the kernel frees one with its last user.
func (backend) InUse(_ context.Context, o dsmimpl.Object) (bool, error) {
	h, err := openFileMapping(windows.FILE_MAP_READ, name(o))
	if err != nil {
		return false, classify("OpenFileMapping", o, err)
	}
	_ = windows.CloseHandle(h)
	return true, nil
}

// Memory can't be told: names are of the login session.
func (backend) Memory() string { return "" }

// Destroy has nothing to do: the kernel frees a mapping with its last handle.
func (backend) Destroy(context.Context, dsmimpl.Object) error { return nil }

func (backend) Locate(o dsmimpl.Object) string { return name(o) }

func (backend) Keep(o dsmimpl.Object) (uintptr, error) {
	h, err := openFileMapping(windows.FILE_MAP_READ, name(o))
	if err != nil {
		return 0, classify("OpenFileMapping", o, err)
	}
	return uintptr(h), nil
}

func (backend) Release(token uintptr) error {
	return os.NewSyscallError("CloseHandle", windows.CloseHandle(windows.Handle(token)))
}

// onlyThisUser lets this user and the system in. Owner rights would be shorter, but not every Windows
// honours them.
func onlyThisUser() (*windows.SecurityAttributes, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, err
	}
	sd, err := windows.SecurityDescriptorFromString("D:P(A;;GA;;;" + user.User.Sid.String() + ")(A;;GA;;;SY)")
	if err != nil {
		return nil, err
	}
	return securityAttributes(sd), nil
}

func classify(op string, o dsmimpl.Object, err error) error {
	full := fmt.Errorf("%s %s: %w", op, name(o), err)
	switch err {
	case windows.ERROR_COMMITMENT_LIMIT, windows.ERROR_NOT_ENOUGH_MEMORY, windows.ERROR_DISK_FULL:
		return errkind.As(dsmimpl.ErrNoSpace, fmt.Errorf("%w; enlarge the page file or free memory", full))
	}
	return errkind.Classify(full)
}

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
