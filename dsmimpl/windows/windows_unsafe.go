//go:build windows

package windows

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// x/sys has CreateFileMapping, but not the call that opens one.
var procOpenFileMapping = windows.NewLazySystemDLL("kernel32.dll").NewProc("OpenFileMappingW")

func openFileMapping(access uint32, name string) (windows.Handle, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	h, _, err := procOpenFileMapping.Call(uintptr(access), 0, uintptr(unsafe.Pointer(p)))
	if h == 0 {
		return 0, err
	}
	return windows.Handle(h), nil
}

// mapView maps size bytes from a byte that is a multiple of granularity, or with size 0 all there is, rounded up to pages.
func mapView(h windows.Handle, at, size int, access uint32) ([]byte, error) {
	addr, err := windows.MapViewOfFile(h, access, uint32(uint64(at)>>32), uint32(at), uintptr(size))
	if err != nil {
		return nil, err
	}
	if size == 0 {
		var info windows.MemoryBasicInformation
		if err := windows.VirtualQuery(addr, &info, unsafe.Sizeof(info)); err != nil {
			windows.UnmapViewOfFile(addr)
			return nil, err
		}
		size = int(info.RegionSize)
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), size), nil
}

func unmapView(b []byte) error { return windows.UnmapViewOfFile(address(b)) }

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func securityAttributes(sd *windows.SECURITY_DESCRIPTOR) *windows.SecurityAttributes {
	return &windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})),
		SecurityDescriptor: sd}
}

func word(b []byte) *uint64 { return (*uint64)(unsafe.Pointer(unsafe.SliceData(b))) }
