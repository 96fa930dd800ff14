//go:build windows

package objectlist

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	ntdll          = windows.NewLazySystemDLL("ntdll.dll")
	openDirectory  = ntdll.NewProc("NtOpenDirectoryObject")
	queryDirectory = ntdll.NewProc("NtQueryDirectoryObject")
)

// objectsNamed lists the kernel's named objects of this logon session whose names begin so. If they can't be
// listed there is nothing to be seen, which would make every oracle content: then that is what it finds.
func objectsNamed(prefix string) (found []string) {
	var session uint32
	if err := windows.ProcessIdToSessionId(windows.GetCurrentProcessId(), &session); err != nil {
		return []string{err.Error()}
	}
	for _, dir := range []string{`\BaseNamedObjects`, fmt.Sprintf(`\Sessions\%d\BaseNamedObjects`, session)} {
		names, err := listUntilStable(dir, prefix)
		if err != nil {
			found = append(found, fmt.Sprintf("%s can't be listed: %v", dir, err))
		}
		for _, name := range names {
			found = append(found, dir+`\`+name)
		}
	}
	return found
}

// listUntilStable lists those of a directory that begin so, until they are three times the same: entries
// are asked for by number, and others that come and go move them.
func listUntilStable(dir, prefix string) (names []string, err error) {
	same := 0
	for range 100 {
		again, err := listDirectory(dir)
		if err != nil {
			return nil, err
		}
		again = slices.DeleteFunc(again, func(name string) bool { return !strings.HasPrefix(name, prefix) })
		if same++; !slices.Equal(again, names) {
			same = 1
		}
		if names = again; same == 3 {
			return names, nil
		}
	}
	return nil, errors.New("the list of objects changes faster than it can be read")
}

func listDirectory(dir string) (names []string, err error) {
	name, err := windows.NewNTUnicodeString(dir)
	if err != nil {
		return nil, err
	}
	attributes := windows.OBJECT_ATTRIBUTES{ObjectName: name}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	var h windows.Handle
	const query = 1
	status, _, _ := openDirectory.Call(uintptr(unsafe.Pointer(&h)), query, uintptr(unsafe.Pointer(&attributes)))
	if status != 0 {
		if windows.NTStatus(status) == windows.STATUS_OBJECT_PATH_NOT_FOUND ||
			windows.NTStatus(status) == windows.STATUS_OBJECT_NAME_NOT_FOUND {
			return nil, nil
		}
		return nil, windows.NTStatus(status)
	}
	defer windows.CloseHandle(h)
	type entry struct{ Name, Type windows.NTUnicodeString }
	buffer := make([]uint64, 512) // aligned
	for at := uint32(0); ; {
		const one = 1
		status, _, _ := queryDirectory.Call(uintptr(h), uintptr(unsafe.Pointer(&buffer[0])),
			uintptr(8*len(buffer)), one, 0, uintptr(unsafe.Pointer(&at)), 0)
		if windows.NTStatus(status) == windows.STATUS_NO_MORE_ENTRIES {
			return names, nil
		}
		if status != 0 {
			return nil, windows.NTStatus(status)
		}
		names = append(names, (*entry)(unsafe.Pointer(&buffer[0])).Name.String())
	}
}
