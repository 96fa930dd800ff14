package instance

import (
	"fmt"

	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/catalog"
	"github.com/godsm/godsm/internal/excerpt"
	"github.com/godsm/godsm/internal/settings"
	"github.com/godsm/godsm/internal/sys/folder"
)

// Backends finds the backend for a setting. Custom is one that the program plugs in; it is meant
// wherever its name stands.
type Backends struct{ Custom dsmimpl.Backend }

// housed is implemented by backends whose objects may be files of a directory in the instance's own.
type housedBackend interface {
	In(dir *folder.Folder, name string) dsmimpl.Backend
	Close() error
}

// Types returns what dynamic_shared_memory_type may be, the default first.
func (b Backends) Types() []string {
	types := []string{catalog.Default()}
	if b.Custom != nil {
		types = []string{b.Custom.Name()}
	}
	return append(types, catalog.Names...)
}

// Of returns the backend of that name.
func (b Backends) Of(name, mmapDirectory string) (dsmimpl.Backend, error) {
	if b.Custom != nil && b.Custom.Name() == name {
		return b.Custom, nil
	}
	return catalog.New(name, mmapDirectory)
}

// Load resolves the settings of the instance in dir.
func (b Backends) Load(dir string, program map[string]string) (*settings.Settings, error) {
	return settings.Load(dir, b.Types(), program)
}

// LoadToLook resolves the settings for a process that only looks: see settings.LoadToLook.
func (b Backends) LoadToLook(dir string, program map[string]string) (*settings.Settings, error) {
	return settings.LoadToLook(dir, b.Types(), program)
}

// BackendOf returns the backend of a life of the instance in this directory.
func (d *Dir) BackendOf(b Backends, r Record) (dsmimpl.Backend, error) { return d.backend(b, r) }

func (d *Dir) backend(b Backends, r Record) (dsmimpl.Backend, error) {
	backend, err := b.Of(r.Backend, r.MmapDirectory)
	if h, ok := backend.(housedBackend); ok && r.recordIsInOwnDirectory() {
		backend = h.In(d.Folder, r.MmapDirectory)
	}
	return backend, err
}

func (b *Books) containBackend(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the backend's %s panicked: %s", what, excerpt.Print(p))
		}
	}()
	return f()
}
