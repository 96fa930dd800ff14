package parts

import (
	"errors"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/supervisor"
)

// world is a private instance and a session of it in this process.
type world struct {
	sup *supervisor.Supervisor
	dir string
	*dsm.Session
}

func newWorld(settings map[string]string) (*world, error) {
	sup, err := supervisor.StartPrivate(ctx, dsm.Config{Settings: settings})
	if err != nil {
		return nil, err
	}
	w := &world{sup: sup}
	st, err := sup.Status(ctx)
	if err == nil {
		w.dir = st.Dir
		w.Session, err = w.join()
	}
	if err != nil {
		return nil, errors.Join(err, sup.Stop())
	}
	return w, nil
}

// ofType makes a world whose segments are of that type.
func ofType(backend string) (*world, error) {
	return newWorld(map[string]string{"dynamic_shared_memory_type": backend})
}

// join opens another session of the instance.
func (w *world) join() (*dsm.Session, error) { return dsm.Open(ctx, dsm.Config{Dir: w.dir}) }

func (w *world) end() error { return errors.Join(w.Session.Close(), w.sup.Stop()) }
