package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/godsm/godsm/bench/side"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

// Advisory is a client that takes an advisory lock and gives it back, by two prepared statements: the processor time of the
// client alone, which is this process.
func (s *Server) Advisory(ctx context.Context, target time.Duration) (side.Side, error) {
	c, err := s.cluster(ctx, Posix)
	if err != nil {
		return nil, err
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	for name, sql := range map[string]string{"take": "SELECT pg_advisory_lock(1)", "give": "SELECT pg_advisory_unlock(1)"} {
		if _, err := conn.Prepare(ctx, name, sql, nil); err != nil {
			return nil, errors.Join(err, conn.Close(ctx))
		}
	}
	return advisory{conn, target}, nil
}

type advisory struct {
	conn   *pgconn.PgConn
	target time.Duration
}

func (a advisory) Round(ctx context.Context) ([]float64, error) {
	pairs, used := 0, cpuTime()
	for began := time.Now(); time.Since(began) < a.target; pairs++ {
		for _, name := range []string{"take", "give"} {
			if r := a.conn.ExecPrepared(ctx, name, nil, nil, nil).Read(); r.Err != nil {
				return nil, r.Err
			}
		}
	}
	return []float64{float64(cpuTime()-used) / float64(pairs)}, nil
}

func (a advisory) Close() error { return a.conn.Close(context.Background()) }

func cpuTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}
