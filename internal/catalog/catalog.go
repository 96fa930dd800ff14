// Package catalog turns the setting dynamic_shared_memory_type into a backend. It is the only place that names
// concrete backends.
package catalog

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/dsmimpl/mmapfile"
	"github.com/godsm/godsm/dsmimpl/none"
	"github.com/godsm/godsm/dsmimpl/posix"
	"github.com/godsm/godsm/dsmimpl/sysv"
	"github.com/godsm/godsm/dsmimpl/windows"
)

// Names are the values of dynamic_shared_memory_type.
var Names = []string{"posix", "sysv", "mmap", "windows", "none"}

// New returns the backend of that name. mmapDirectory is used by mmap alone. A name that this
// system has no mechanism for gives a backend whose every operation is ErrUnsupported.
func New(name, mmapDirectory string) (dsmimpl.Backend, error) {
	switch name {
	case "posix":
		return posix.New(), nil
	case "sysv":
		return sysv.New(), nil
	case "mmap":
		return mmapfile.New(mmapDirectory), nil
	case "windows":
		return windows.New(), nil
	case "none":
		return none.New(), nil
	}
	return nil, fmt.Errorf("dynamic_shared_memory_type: %q is not one of %s", name, strings.Join(Names, ", "))
}

// Native lists the backends that this system has, the default first.
func Native() []string {
	switch runtime.GOOS {
	case "linux", "darwin", "freebsd":
		return slices.Clone(Names[:3])
	case "windows":
		return []string{"windows"}
	}
	return []string{"none"}
}

// Default returns the platform's best backend.
func Default() string { return Native()[0] }
