package dsm

import (
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/internal/settings"
	"github.com/rs/zerolog"
)

// Config says which instance is meant and how this process appears in it. The zero value is useful: the user's default
// instance, the program's name, no log.
type Config struct {
	// Dir is the instance's directory. Empty means $DSM_DIR, else dsm in the user's state directory ($XDG_STATE_HOME or
	// ~/.local/state; %LOCALAPPDATA% on Windows). It must be on a local file system, and no other user may be able to
	// write to it.
	Dir string

	// Application is how others see this process, cut at 32 bytes. Empty means the program's name.
	Application string

	// Settings are named and written as in DIR/dsm.conf ("max_memory": "64GB"). They win over the environment
	// (DSM_MAX_MEMORY), which wins over the file. Most hold for an instance's life and are the supervisor's to choose:
	// a session that names another value than the running one is refused.
	Settings map[string]string

	// Logger gets what can't be returned as an error, such as a failure after a call has returned. The zero Logger is
	// silent.
	Logger zerolog.Logger

	// Backend is a mechanism that the program provides. It is the default for a new instance, and is found where its
	// name is set or recorded. All processes of the instance must provide the same one.
	Backend dsmimpl.Backend
}

// resolve finds the directory's path, the backends and the settings in effect: those of the program, the environment
// and the file, in this order. A type of none is ErrDisabled. It makes nothing.
func (c Config) resolve() (path string, b instance.Backends, s *settings.Settings, err error) {
	return c.resolveBy(instance.Backends.Load)
}

// resolveToLook does what resolve does, for a process that only looks: a faulty dsm.conf does not keep it from that.
func (c Config) resolveToLook() (path string, b instance.Backends, s *settings.Settings, err error) {
	return c.resolveBy(instance.Backends.LoadToLook)
}

func (c Config) resolveBy(load func(b instance.Backends, dir string, program map[string]string) (*settings.Settings, error)) (
	path string, b instance.Backends, s *settings.Settings, err error) {
	b = instance.Backends{Custom: c.Backend}
	if path = c.Dir; path == "" {
		if path, err = instance.DefaultDir(); err != nil {
			return path, b, nil, err
		}
	}
	s, err = load(b, path, c.Settings)
	if err == nil && s.DynamicSharedMemoryType == "none" {
		err = ErrDisabled
	}
	return path, b, s, err
}
