package doctor

import (
	"io"
	"io/fs"
	"strings"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/shm"
)

// Directories returns where the instances of this user live whose control segments are on the shm mount, as those say.
func (m Machine) Directories() (list []string) {
	entries, _ := fs.ReadDir(m.Root, "dev/shm")
	for _, e := range entries {
		_, _, handle, ok := dsmimpl.ParseName(e.Name())
		if !ok || handle != dsmimpl.ControlHandle || !e.Type().IsRegular() || m.owner(e) != m.UID {
			continue
		}
		if dir, _ := m.directoryOf([]string{"/dev/shm/" + e.Name()}); dir != "" {
			list = append(list, dir)
		}
	}
	return list
}

// directoryOf returns where the instance of these objects lives, or lived, by what its control segment says, and reports
// whether that directory lists their life. Empty if there is no control segment to be read.
func (m Machine) directoryOf(paths []string) (dir string, listed bool) {
	for _, path := range paths {
		_, _, handle, _ := dsmimpl.ParseName(strings.TrimPrefix(path, "/dev/shm/"))
		if handle != dsmimpl.ControlHandle {
			continue
		}
		f, err := m.Root.Open(strings.TrimPrefix(path, "/"))
		if err != nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(f, 64<<20))
		f.Close()
		if err != nil {
			continue
		}
		if t, err := control.Open(shm.NewRegion(b)); err == nil {
			return t.Dir, strings.Contains(m.text(strings.TrimPrefix(t.Dir, "/")+"/lives"), t.Life.String())
		}
	}
	return "", false
}
