//go:build windows

// Package windows is the backend windows: file mappings backed by the page file.
//
// Traps of the primitive. A mapping's name goes with the last handle to it, even while a view still works,
// so whoever attaches keeps its handle beside its view, and a pinned segment needs somebody to keep it
// open: the supervisor (dsmimpl.Pinner). There is nothing to destroy, and nothing that could be left behind: objects
// of dead processes are the kernel's to free. If the supervisor dies, pinned segments that nobody has
// mapped are gone. Views are whole pages; the true size stands in the control segment.
package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"golang.org/x/sys/windows"
)

// New returns the backend.
func New() dsmimpl.Backend { return backend{} }

type backend struct{}

func (backend) Name() string { return "windows" }

// name is in the session's own namespace: the global one wants a privilege.
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

// view maps o from h; the mapping owns h, which is closed on an error.
func view(h windows.Handle, o dsmimpl.Object, access uint32) (dsmimpl.Mapping, error) {
	b, err := mapView(h, o.Size, access)
	if err != nil {
		windows.CloseHandle(h)
		return dsmimpl.Mapping{}, classify(fmt.Sprintf("MapViewOfFile of %d bytes of", o.Size), o, err)
	}
	return dsmimpl.Mapping{Bytes: b, Token: uintptr(h)}, nil
}

func (backend) Detach(m dsmimpl.Mapping) error {
	return errors.Join(os.NewSyscallError("UnmapViewOfFile", unmapView(m.Bytes)),
		os.NewSyscallError("CloseHandle", windows.CloseHandle(windows.Handle(m.Token))))
}

// DetachGuarded leaves a range without access in the mapping's place. The system can't do both in
// one step: in between another mapping may come there, and then there is no guard.
func (b backend) DetachGuarded(m dsmimpl.Mapping) error {
	err := b.Detach(m)
	_, _ = windows.VirtualAlloc(address(m.Bytes), uintptr(len(m.Bytes)), windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	return err
}

func (backend) Unguard(m dsmimpl.Mapping) error {
	var info windows.MemoryBasicInformation
	if err := windows.VirtualQuery(address(m.Bytes), &info, sizeofInfo); err != nil ||
		info.State != windows.MEM_RESERVE || info.AllocationBase != address(m.Bytes) {
		return os.NewSyscallError("VirtualQuery", err) // there is no guard
	}
	return os.NewSyscallError("VirtualFree", windows.VirtualFree(address(m.Bytes), 0, windows.MEM_RELEASE))
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
