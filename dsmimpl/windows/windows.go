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
	"fmt"
	"io/fs"
	"os"

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
