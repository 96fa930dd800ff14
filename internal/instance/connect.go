package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/godsm/godsm/control"
	"github.com/godsm/godsm/dsmimpl"
	"github.com/godsm/godsm/internal/errkind"
	"github.com/godsm/godsm/internal/failpoint"
	"github.com/godsm/godsm/internal/settings"
	"github.com/rs/zerolog"
)

// How long a session waits for an instance that is being started, stopped or restarted, and for one whose books look
// wrong, which they may for a moment while they are written.
const (
	startPatience   = 5 * time.Second
	corruptPatience = time.Second
)

// Who returns this process, as others will see it. Without an application it is the program's name.
func Who(application string) control.Who {
	if application == "" {
		application = filepath.Base(os.Args[0])
	}
	return control.Who{Pid: os.Getpid(), Application: application, Since: time.Now()}
}

// Connect makes this process a member of the instance that runs in the directory.
func (d *Dir) Connect(ctx context.Context, b Backends, s *settings.Settings, who control.Who,
	log zerolog.Logger) (*Member, error) {
	for begin := time.Now(); ; {
		m, err := d.connect(ctx, b, s, who, log)
		patience := startPatience
		switch {
		case err == nil:
			return m, nil
		case errors.Is(err, errkind.Version):
			return nil, err
		case errors.Is(err, errMembers):
		case errors.Is(err, errkind.Corrupt):
			patience = corruptPatience
		case errors.Is(err, errkind.NotFound), errors.Is(err, errkind.Stale):
			if d.lifeIsInOtherMemory(ctx, b) {
				return nil, d.explainNoInstance(ctx, b, err)
			}
		default:
			return nil, err
		}
		if time.Since(begin) > patience || !d.HasHolder() {
			return nil, d.explainNoInstance(ctx, b, err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (d *Dir) connect(ctx context.Context, b Backends, s *settings.Settings, who control.Who,
	log zerolog.Logger) (*Member, error) {
	books, err := d.connectBooks(ctx, b, s, dsmimpl.ReadWrite)
	if err != nil {
		return nil, err
	}
	failpoint.Hit("instance/connect/mapped")
	m, err := books.join(ctx, who, log)
	if err != nil {
		books.Close()
		return nil, err
	}
	return m, nil
}

func (b *Books) join(ctx context.Context, who control.Who, log zerolog.Logger) (*Member, error) {
	if !b.Supervised() && b.Left().IsZero() {
		if n, err := b.Living(); n == 0 {
			return nil, errors.Join(err, NoInstance(b.Dir.Path,
				fmt.Sprintf("its supervisor, process %d, is dead and no session is left", b.SupervisorPid())))
		}
	}
	m, err := b.Join(ctx, who, log)
	if err != nil {
		return nil, err
	}
	failpoint.Hit("instance/connect/joined")
	if b.Dir.Stale(b.Record) {
		_ = m.Leave(ctx)
		return nil, errkind.Stale
	}
	return m, nil
}

// Look maps the books of the instance that runs in the directory for reading: no row, no lock,
// and it works beside a full table or a stopped holder of the lock.
func (d *Dir) Look(ctx context.Context, b Backends, s *settings.Settings) (*Books, error) {
	books, err := d.connectBooks(ctx, b, s, dsmimpl.ReadOnly)
	if errors.Is(err, errkind.NotFound) {
		return nil, d.explainNoInstance(ctx, b, err)
	}
	return books, err
}

func (d *Dir) connectBooks(ctx context.Context, b Backends, s *settings.Settings, access dsmimpl.Access) (*Books, error) {
	r, err := d.ReadRecord()
	if err != nil {
		return nil, err
	}
	if err := d.errOtherVersion(r); err != nil {
		if d.noSessionIsLiving(r) {
			return nil, NoInstance(d.Path, "the last one was of another version, and has ended")
		}
		return nil, err
	}
	if err := r.Disagreement(s); err != nil {
		return nil, err
	}
	backend, err := d.backend(b, r)
	if err != nil {
		return nil, errkind.As(errkind.Unsupported,
			fmt.Errorf("the instance in %s runs on a backend that this program does not have (Config.Backend): %w",
				d.Path, err))
	}
	return d.OpenBooks(ctx, r, backend, access)
}
